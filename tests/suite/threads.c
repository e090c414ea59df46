/* Threads: disjoint ranges, own buffers, bytes that two write at once, waits of several. */
#include "suite.h"

#include <ferry/stream.h>
#include <pthread.h>
#include <unistd.h>

enum { THREADS = 8, PART = 30001, ROUNDS = 40 };

struct worker {
    pthread_t thread;
    ferry_device *device;
    ferry_buffer *buffer, *other;
    unsigned number;
    unsigned char *mine; /* what its part of the buffer holds at the end */
    enum ferry_status worst;
    const char *wrong;
};

static void keep(struct worker *worker, enum ferry_status status)
{
    if (status != FERRY_OK && worker->worst == FERRY_OK)
        worker->worst = status;
}

static void run(struct worker *workers, void *(*body)(void *))
{
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, body, &workers[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        OK(workers[i].worst);
        if (workers[i].wrong != NULL)
            fail_msg("thread %u: %s", i, workers[i].wrong);
    }
}

/* Each thread has its own part of one buffer: no wait of one is answered by another's bytes. */
static void *disjoint(void *arg)
{
    struct worker *w = arg;
    size_t base = (size_t)w->number * PART;
    unsigned char *got = malloc(PART);
    for (unsigned i = 0; i < ROUNDS && got != NULL; i++) {
        size_t size = PART - i * 7, at = i * 3;
        ferry_ticket ticket = 0;
        scribble(w->mine + at, size, w->number * 1000 + i);
        if (i % 3 == 0) {
            keep(w, ferry_copy_from_host_async(w->buffer, w->mine + at, size, base + at, NULL, NULL,
                                               &ticket));
            keep(w, ferry_wait(w->device, ticket, FERRY_FOREVER));
        } else {
            keep(w, ferry_copy_from_host(w->buffer, w->mine + at, size, base + at));
        }
        keep(w, ferry_fill_buffer(w->buffer, 11, base + i, &i, 1));
        memset(w->mine + i, (int)(i & 0xFF), 11);
        keep(w, ferry_copy_to_host(w->buffer, got, PART, base));
        if (memcmp(got, w->mine, PART) != 0)
            w->wrong = "its part of the buffer is not what it wrote";
    }
    free(got);
    return NULL;
}

static void disjoint_in(void **state, enum ferry_storage storage)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, (size_t)THREADS * PART, storage, 1);
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        workers[i] = (struct worker){.device = fixture->device,
                                     .buffer = mirror.buffer,
                                     .number = i,
                                     .mine = mirror.bytes + (size_t)i * PART};
    run(workers, disjoint);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_disjoint_private(void **state)
{
    disjoint_in(state, FERRY_STORAGE_PRIVATE);
}

static void test_disjoint_shared(void **state)
{
    disjoint_in(state, FERRY_STORAGE_SHARED);
}

/* Each thread makes, uses and destroys buffers and batches of its own. */
static void *own(void *arg)
{
    struct worker *w = arg;
    unsigned char *bytes = malloc(5000), *got = malloc(5000);
    for (unsigned i = 0; i < ROUNDS && bytes != NULL && got != NULL; i++) {
        ferry_buffer *a = NULL, *b = NULL;
        ferry_batch *batch = NULL;
        ferry_ticket ticket = 0;
        scribble(bytes, 5000, w->number * 100 + i);
        keep(w, ferry_buffer_create(w->device, &(struct ferry_buffer_params){.size = 5000}, &a));
        keep(w, ferry_buffer_create(
                    w->device,
                    &(struct ferry_buffer_params){.size = 6000, .storage = suite_storages[i % 2]},
                    &b));
        keep(w, ferry_batch_create(w->device, &batch));
        keep(w, ferry_batch_copy_from_host(batch, a, bytes, 5000, 0));
        keep(w, ferry_batch_copy_buffer(batch, b, a, 5000, 17, 0));
        keep(w, ferry_batch_submit(batch, NULL, NULL, &ticket));
        ferry_buffer_destroy(a);
        keep(w, ferry_copy_to_host(b, got, 5000, 17));
        keep(w, ferry_poll(w->device, ticket));
        if (memcmp(got, bytes, 5000) != 0)
            w->wrong = "its own buffer is not what it wrote";
        ferry_batch_destroy(batch);
        ferry_buffer_destroy(b);
    }
    free(bytes);
    free(got);
    return NULL;
}

static void test_own_buffers(void **state)
{
    struct fixture *fixture = *state;
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        workers[i] = (struct worker){.device = fixture->device, .number = i};
    run(workers, own);
}

/* All write the same bytes at once: each byte is from one of them. */
static void *shared_writer(void *arg)
{
    struct worker *w = arg;
    unsigned char byte = (unsigned char)(1 + w->number);
    unsigned char part[2000];
    memset(part, byte, sizeof part);
    for (unsigned i = 0; i < ROUNDS; i++)
        if (i % 3 == 0)
            keep(w, ferry_fill_buffer(w->buffer, 3000, 500, &byte, 1));
        else if (i % 3 == 1)
            keep(w, ferry_copy_from_host(w->buffer, part, sizeof part, 1001));
        else
            keep(w, ferry_copy_buffer(w->other, w->buffer, 3000, 500, 500));
    return NULL;
}

static void test_same_bytes(void **state)
{
    struct fixture *fixture = *state;
    suite_skip_unless(!suite_watches_races() || suite->params.map_private == FERRY_MAP_NEVER,
                      "to ThreadSanitizer two copies to the same bytes are wrong");
    ferry_buffer *a = NULL, *b = NULL;
    const struct ferry_buffer_params params = {.size = 4000, .zeroed = true};
    OK(ferry_buffer_create(fixture->device, &params, &a));
    OK(ferry_buffer_create(fixture->device, &params, &b));
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        workers[i] =
            (struct worker){.device = fixture->device, .buffer = a, .other = b, .number = i};
    run(workers, shared_writer);
    unsigned char got[2][4000];
    OK(ferry_copy_to_host(a, got[0], 4000, 0));
    OK(ferry_copy_to_host(b, got[1], 4000, 0));
    for (unsigned which = 0; which < 2; which++) {
        for (unsigned i = 0; i < 4000; i++) {
            bool inside = i >= 500 && i < 3500;
            assert_true(inside ? got[which][i] >= 1 && got[which][i] <= THREADS
                               : got[which][i] == 0);
        }
    }
    ferry_buffer_destroy(a);
    ferry_buffer_destroy(b);
}

/* Several wait for one ticket, one buffer and the whole device at once. */
static void *waiter(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        ferry_ticket ticket = 0;
        keep(w, ferry_fill_buffer_async(w->buffer, PART, (size_t)w->number * PART, &w->number, 1,
                                        NULL, NULL, &ticket));
        if (i % 4 == 0)
            keep(w, ferry_wait_idle(w->device));
        else if (i % 4 == 1)
            keep(w, ferry_buffer_wait(w->buffer, FERRY_FOREVER));
        else
            keep(w, ferry_wait(w->device, ticket, FERRY_FOREVER));
        keep(w, ferry_poll(w->device, ticket));
    }
    return NULL;
}

static void test_waiting_together(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer =
        make_buffer(fixture->device, (size_t)PART * THREADS, FERRY_STORAGE_PRIVATE);
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        workers[i] = (struct worker){.device = fixture->device, .buffer = buffer, .number = i};
    run(workers, waiter);
    ferry_buffer_destroy(buffer);
}

/* Counts of many threads add up. */
static void *counter(void *arg)
{
    struct worker *w = arg;
    unsigned char bytes[100] = {0};
    for (unsigned i = 0; i < 500; i++)
        keep(w, ferry_copy_from_host(w->buffer, bytes, 100, (size_t)w->number * 100));
    return NULL;
}

static void test_counts(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = make_buffer(fixture->device, 100 * THREADS, FERRY_STORAGE_PRIVATE);
    struct worker workers[THREADS];
    ferry_device_reset_stats(fixture->device);
    for (unsigned i = 0; i < THREADS; i++)
        workers[i] = (struct worker){.device = fixture->device, .buffer = buffer, .number = i};
    run(workers, counter);
    struct ferry_stats stats = read_stats(fixture->device);
    assert_int_equal(count_operations(&stats, FERRY_OPERATION_UPLOAD), 500 * THREADS);
    assert_int_equal(count_bytes(&stats, FERRY_OPERATION_UPLOAD), 500 * THREADS * 100);
    ferry_buffer_destroy(buffer);
}

/* One byte, written again and again while transfers beside it, in the same word, come and go: what
 * was written is read back, whoever reads and merges words. */
struct beside {
    ferry_buffer *buffer;
    _Atomic bool stop;
    enum ferry_status status;
    bool lost;
};

static void *write_beside(void *arg)
{
    struct beside *beside = arg;
    for (unsigned char byte = 0; !beside->stop && !beside->status; byte++) {
        unsigned char got = 0;
        beside->status = ferry_copy_from_host(beside->buffer, &byte, 1, 1);
        if (!beside->status)
            beside->status = ferry_copy_to_host(beside->buffer, &got, 1, 1);
        beside->lost |= got != byte && !beside->status;
    }
    return NULL;
}

static void test_beside(void **state)
{
    enum { SIZE = (2 << 20) + 64 }; /* too long to be done inside the call */
    struct fixture *fixture = *state;
    suite_skip_unless(!suite_watches_races(), "bytes of one word are written by two threads");
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_SHARED, 40);
    struct beside beside = {.buffer = mirror.buffer};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_beside, &beside), 0);
    enum ferry_status status = FERRY_OK;
    for (unsigned i = 0; i < 10 && !status; i++) {
        status = ferry_copy_from_host_async(mirror.buffer, mirror.bytes + 2, SIZE - 5, 2, NULL,
                                            NULL, NULL);
        if (!status)
            status = ferry_buffer_wait(mirror.buffer, FERRY_FOREVER);
    }
    beside.stop = true;
    pthread_join(thread, NULL);
    OK(status);
    OK(beside.status);
    assert_false(beside.lost);
    OK(ferry_copy_to_host(mirror.buffer, mirror.bytes + 1, 1, 1));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Pieces of one operation come to the host one after the other, whichever threads bring them. */
struct pieces {
    ferry_device *device;
    _Atomic unsigned inside;
    _Atomic bool together, ended;
    unsigned char *bytes;
    size_t size;
};

static void piece_begin(void *user, ferry_stream *stream)
{
    (void)user;
    (void)stream;
}

static void piece_chunk(void *user, ferry_stream *stream, const struct ferry_stream_chunk *chunk)
{
    struct pieces *pieces = user;
    const size_t size = chunk->size;
    if (atomic_fetch_add(&pieces->inside, 1))
        pieces->together = true;
    usleep(1000); /* long enough for another to come */
    memcpy(pieces->bytes + chunk->at, chunk->memory, size);
    atomic_fetch_sub(&pieces->inside, 1);
    ferry_stream_done(stream, chunk, size, FERRY_OK, NULL);
}

static void piece_cancel(void *user, ferry_stream *stream, enum ferry_status status,
                         const char *why)
{
    (void)user;
    (void)stream;
    (void)status;
    (void)why;
}

static void piece_end(void *user, enum ferry_status status)
{
    (void)status;
    ((struct pieces *)user)->ended = true;
}

static void *idle(void *arg)
{
    struct worker *w = arg;
    keep(w, ferry_wait_idle(w->device));
    return NULL;
}

static void test_pieces_in_turn(void **state)
{
    enum { SIZE = 400000 };
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 41);
    struct pieces pieces = {.device = fixture->device, .bytes = xmalloc(SIZE), .size = SIZE};
    const struct ferry_stream_methods methods = {.version = FERRY_STREAM_VERSION,
                                                 .depth = 8,
                                                 .begin = piece_begin,
                                                 .chunk = piece_chunk,
                                                 .cancel = piece_cancel,
                                                 .end = piece_end,
                                                 .flags = FERRY_STREAM_EAGER};
    struct worker workers[THREADS];
    OK(ferry_stream_send(mirror.buffer, SIZE, 0, &methods, &pieces, NULL, NULL, NULL));
    for (unsigned i = 0; i < THREADS; i++)
        workers[i] = (struct worker){.device = fixture->device, .number = i};
    run(workers, idle);
    while (!pieces.ended)
        sched_yield();
    assert_false(pieces.together);
    assert_memory_equal(pieces.bytes, mirror.bytes, SIZE);
    free(pieces.bytes);
    drop_mirror(&mirror);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_disjoint_private), SUITE_TEST(test_disjoint_shared),
    SUITE_TEST(test_own_buffers),      SUITE_TEST(test_same_bytes),
    SUITE_TEST(test_waiting_together), SUITE_TEST(test_counts),
    SUITE_TEST(test_beside),           SUITE_TEST(test_pieces_in_turn),
};

SUITE_GROUP(threads);
