/* Operations whose host's side is a stream of the test's own: threads that fill and take chunks late,
 * in any order, in any size, that fail, or never come. */
#include "suite.h"

#include <ferry/stream.h>
#include <pthread.h>
#include <sched.h>

enum { ROOM = 70000, HELD_MAX = 32 };

/* --- the stream ---------------------------------------------------------------------------------- */

struct tap {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool source, quiet, alone; /* quiet: wants nothing; alone: answers inside chunk() */
    bool random_order, scribbles;
    unsigned seed, failing; /* failing: this many chunks are good, the next fails; 0: none */
    size_t size, chunk_max;
    unsigned char *bytes; /* what a source gives, and a sink got */
    uint32_t block;

    ferry_stream *stream;
    const struct ferry_stream_chunk *chunks[HELD_MAX];
    unsigned held_count, answered;
    uint64_t next_at; /* of a source's next chunk */
    bool out_of_order, misplaced;
    bool stop;
    unsigned begun, cancelled, ended;
    enum ferry_status end_status;
    char why[256];
    pthread_t thread;
    bool running;
};

static size_t next_size(struct tap *tap)
{
    tap->seed = tap->seed * 1103515245u + 12345u;
    return 1 + (tap->seed >> 8) % tap->chunk_max;
}

static void want_one(struct tap *tap)
{
    if (!tap->quiet && ferry_stream_want(tap->stream, next_size(tap)) != FERRY_OK)
        tap->misplaced = true;
}

static void move_bytes(struct tap *tap, const struct ferry_stream_chunk *chunk)
{
    if (!tap->source) {
        memcpy(tap->bytes + chunk->at, chunk->memory, chunk->size);
        return;
    }
    if (tap->scribbles && chunk->allocation != NULL) { /* what lies round it is the stream's, too */
        const size_t lead = chunk->at % tap->block;
        const size_t end = (lead + chunk->size + tap->block - 1) / tap->block * tap->block;
        memset((unsigned char *)chunk->memory - lead, 0xEE, end);
    }
    memcpy(chunk->memory, tap->bytes + chunk->at, chunk->size);
}

static void answer(struct tap *tap, const struct ferry_stream_chunk *chunk, bool fails)
{
    struct ferry_stream_chunk copy = *chunk;
    move_bytes(tap, &copy);
    if (fails)
        ferry_stream_done(tap->stream, chunk, copy.size, FERRY_ERROR_IO, "the tap is broken");
    else
        ferry_stream_done(tap->stream, chunk, copy.size, FERRY_OK, NULL);
}

/* Takes one of those that are held; the last or any. */
static void *work(void *arg)
{
    struct tap *tap = arg;
    pthread_mutex_lock(&tap->lock);
    while (!tap->stop || tap->held_count > 0) {
        if (tap->held_count == 0) {
            pthread_cond_wait(&tap->changed, &tap->lock);
            continue;
        }
        unsigned at = tap->random_order ? (unsigned)(next_size(tap) % tap->held_count) : 0;
        const struct ferry_stream_chunk *chunk = tap->chunks[at];
        tap->held_count--;
        for (unsigned i = at; i < tap->held_count; i++)
            tap->chunks[i] = tap->chunks[i + 1];
        const bool fails = tap->failing != 0 && ++tap->answered == tap->failing;
        pthread_mutex_unlock(&tap->lock);
        for (unsigned i = 0; i < 3; i++)
            sched_yield();
        want_one(tap);
        answer(tap, chunk, fails);
        pthread_mutex_lock(&tap->lock);
    }
    pthread_mutex_unlock(&tap->lock);
    return NULL;
}

static void tap_begin(void *user, ferry_stream *stream)
{
    struct tap *tap = user;
    pthread_mutex_lock(&tap->lock);
    tap->stream = stream;
    pthread_mutex_unlock(&tap->lock);
    want_one(tap);
    want_one(tap);
    pthread_mutex_lock(&tap->lock);
    tap->begun++;
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

static void tap_chunk(void *user, ferry_stream *stream, const struct ferry_stream_chunk *chunk)
{
    struct tap *tap = user;
    pthread_mutex_lock(&tap->lock);
    if (stream != tap->stream || chunk->size == 0 || chunk->size > tap->size ||
        chunk->at > tap->size - chunk->size ||
        ((uintptr_t)chunk->memory - chunk->at) % tap->block != 0)
        tap->misplaced = true;
    if (tap->source && chunk->at != tap->next_at)
        tap->out_of_order = true;
    tap->next_at = chunk->at + chunk->size;
    if (!tap->alone) {
        tap->chunks[tap->held_count++] = chunk;
        pthread_cond_broadcast(&tap->changed);
    }
    pthread_mutex_unlock(&tap->lock);
    if (!tap->alone)
        return;
    want_one(tap);
    answer(tap, chunk, tap->failing != 0 && ++tap->answered == tap->failing);
}

static void tap_cancel(void *user, ferry_stream *stream, enum ferry_status status, const char *why)
{
    struct tap *tap = user;
    (void)status;
    pthread_mutex_lock(&tap->lock);
    tap->cancelled++;
    if (stream != tap->stream || !ferry_stream_over(stream))
        tap->misplaced = true;
    snprintf(tap->why, sizeof tap->why, "%s", why);
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

static void tap_end(void *user, enum ferry_status status)
{
    struct tap *tap = user;
    pthread_mutex_lock(&tap->lock);
    tap->ended++;
    tap->end_status = status;
    if (tap->held_count > 0)
        tap->misplaced = true;
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

static struct ferry_stream_methods methods_of(const struct tap *tap)
{
    return (struct ferry_stream_methods){.version = FERRY_STREAM_VERSION,
                                         .depth = 4,
                                         .block = tap->block,
                                         .begin = tap_begin,
                                         .chunk = tap_chunk,
                                         .cancel = tap_cancel,
                                         .end = tap_end};
}

static struct tap *make_tap(bool source, size_t size, unsigned seed)
{
    struct tap *tap = xmalloc(sizeof *tap);
    *tap = (struct tap){.source = source,
                        .seed = seed,
                        .size = size,
                        .chunk_max = 1 + size / 3,
                        .block = 1,
                        .bytes = scribbled(size + 1, seed)};
    pthread_mutex_init(&tap->lock, NULL);
    pthread_cond_init(&tap->changed, NULL);
    return tap;
}

static void run_tap(struct tap *tap)
{
    tap->running = pthread_create(&tap->thread, NULL, work, tap) == 0;
    assert_true(tap->running);
}

static void wait_ended(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    while (tap->ended == 0)
        pthread_cond_wait(&tap->changed, &tap->lock);
    pthread_mutex_unlock(&tap->lock);
}

static void wait_begun(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    while (tap->begun == 0)
        pthread_cond_wait(&tap->changed, &tap->lock);
    pthread_mutex_unlock(&tap->lock);
}

static void wait_held(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    while (tap->held_count == 0)
        pthread_cond_wait(&tap->changed, &tap->lock);
    pthread_mutex_unlock(&tap->lock);
}

/* It ended so, having begun so often. */
static void drop_tap(struct tap *tap, enum ferry_status status, unsigned begun)
{
    wait_ended(tap);
    pthread_mutex_lock(&tap->lock);
    tap->stop = true;
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
    if (tap->running)
        pthread_join(tap->thread, NULL);
    assert_int_equal(tap->ended, 1);
    assert_int_equal(tap->end_status, status);
    assert_int_equal(tap->begun, begun);
    assert_false(tap->misplaced);
    assert_false(tap->out_of_order);
    pthread_cond_destroy(&tap->changed);
    pthread_mutex_destroy(&tap->lock);
    free(tap->bytes);
    free(tap);
}

static ferry_ticket start(struct tap *tap, ferry_buffer *buffer, size_t offset)
{
    const struct ferry_stream_methods methods = methods_of(tap);
    ferry_ticket ticket = 0;
    if (tap->source)
        OK(ferry_stream_receive(buffer, tap->size, offset, &methods, tap, NULL, NULL, &ticket));
    else
        OK(ferry_stream_send(buffer, tap->size, offset, &methods, tap, NULL, NULL, &ticket));
    return ticket;
}

/* --- bytes --------------------------------------------------------------------------------------- */

struct way {
    uint32_t block;
    bool alone, random_order;
};

static void there_and_back(ferry_device *device, struct mirror *mirror, size_t size, size_t offset,
                           const struct way *way, unsigned seed)
{
    for (int back = 0; back < 2; back++) {
        struct tap *tap = make_tap(!back, size, seed + (unsigned)back);
        tap->block = way->block;
        tap->alone = way->alone;
        tap->random_order = way->random_order;
        tap->scribbles = true;
        run_tap(tap);
        if (!back)
            memcpy(mirror->bytes + offset, tap->bytes, size);
        else
            memset(tap->bytes, 0, size);
        OK(ferry_wait(device, start(tap, mirror->buffer, offset), FERRY_FOREVER));
        wait_ended(tap);
        if (back)
            expect_bytes(tap->bytes, mirror->bytes + offset, size, "what the sink got");
        drop_tap(tap, FERRY_OK, size > 0);
        expect_mirror(mirror);
    }
}

static void test_sizes(void **state)
{
    static const struct way ways[] = {
        {1, false, false}, {1, true, false}, {4096, false, true}, {512, false, false}};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 2; i++) {
        struct mirror mirror = make_mirror(fixture->device, ROOM, suite_storages[i], 1);
        for (size_t s = 0; s < suite_size_count; s++)
            for (size_t o = 0; o < suite_offset_count; o += 2)
                there_and_back(fixture->device, &mirror, suite_sizes[s],
                               suite_offsets[(o + s) % suite_offset_count], &ways[(o + s) % 4],
                               (unsigned)(s * 31 + o));
        drop_mirror(&mirror);
    }
}

/* Longer than all staging together, in chunks as large as they come. */
static void test_long(void **state)
{
    enum { LONG = 5 << 20 };
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, LONG + 100, FERRY_STORAGE_PRIVATE, 3);
    const size_t most = ferry_stream_chunk_max(fixture->device);
    assert_true(most > 0);
    for (int back = 0; back < 2; back++) {
        struct tap *tap = make_tap(!back, LONG, 5);
        tap->random_order = true;
        tap->chunk_max = 2 * most; /* some are shorter than is wanted */
        run_tap(tap);
        if (!back)
            memcpy(mirror.bytes + 33, tap->bytes, LONG);
        OK(ferry_wait(fixture->device, start(tap, mirror.buffer, 33), FERRY_FOREVER));
        wait_ended(tap);
        expect_bytes(tap->bytes, mirror.bytes + 33, LONG, "the stream");
        drop_tap(tap, FERRY_OK, 1);
    }
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Nothing is wanted: everything is there, and may go straight into the buffer. */
static void test_eager(void **state)
{
    static const uint32_t flags[] = {FERRY_STREAM_EAGER,
                                     FERRY_STREAM_EAGER | FERRY_STREAM_STRAIGHT};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 4; i++) {
        struct mirror mirror = make_mirror(fixture->device, ROOM, suite_storages[i / 2], 3);
        for (int back = 0; back < 2; back++) {
            struct tap *tap = make_tap(!back, ROOM - 10, 7);
            struct ferry_stream_methods methods = methods_of(tap);
            ferry_ticket ticket = 0;
            methods.flags = flags[i % 2];
            methods.depth = 100;
            methods.block = 0;
            tap->quiet = true;
            run_tap(tap);
            if (!back)
                memcpy(mirror.bytes + 3, tap->bytes, tap->size);
            OK((back ? ferry_stream_send : ferry_stream_receive)(
                mirror.buffer, tap->size, 3, &methods, tap, NULL, NULL, &ticket));
            OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
            wait_ended(tap);
            expect_bytes(tap->bytes, mirror.bytes + 3, tap->size, "the stream");
            drop_tap(tap, FERRY_OK, 1);
        }
        expect_mirror(&mirror);
        drop_mirror(&mirror);
    }
}

/* --- order --------------------------------------------------------------------------------------- */

/* A stream that does not come holds its own bytes, and no others; nor staging. */
static void test_hangs(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    struct tap *tap = make_tap(true, 1000, 9);
    const struct ferry_stats before = read_stats(fixture->device);
    unsigned char *late = xmalloc(1000);
    ferry_ticket reading = 0;
    tap->quiet = true;
    run_tap(tap);
    const ferry_ticket ticket = start(tap, mirror.buffer, 4000);
    OK(ferry_copy_to_host_async(mirror.buffer, late, 1000, 4000, NULL, NULL, &reading));
    OK(ferry_copy_from_host(mirror.buffer, "0123456789", 10, 20000));
    memcpy(mirror.bytes + 20000, "0123456789", 10);
    assert_int_equal(ferry_poll(fixture->device, ticket), FERRY_PENDING);
    assert_int_equal(ferry_poll(fixture->device, reading), FERRY_PENDING);
    assert_int_equal(read_stats(fixture->device).staging_upload_bytes, before.staging_upload_bytes);
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, reading, 1000));
    wait_begun(tap);
    tap->quiet = false;
    want_one(tap);
    OK(ferry_wait(fixture->device, reading, FERRY_FOREVER));
    expect_bytes(late, tap->bytes, 1000, "what followed the stream");
    memcpy(mirror.bytes + 4000, tap->bytes, 1000);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    drop_tap(tap, FERRY_OK, 1);
    expect_mirror(&mirror);
    free(late);
    drop_mirror(&mirror);
}

/* --- failures ------------------------------------------------------------------------------------ */

static enum ferry_status read_at(struct mirror *mirror, size_t size, size_t offset)
{
    unsigned char *got = xmalloc(size);
    enum ferry_status status = ferry_copy_to_host(mirror->buffer, got, size, offset);
    if (status == FERRY_OK)
        expect_bytes(got, mirror->bytes + offset, size, "the buffer");
    free(got);
    return status;
}

/* The bytes of a source that failed have failed, those round them are as they were (R9). */
static void expect_failed(struct mirror *mirror, size_t size, size_t offset)
{
    IS(FERRY_ERROR_IO, read_at(mirror, size, offset));
    OK(read_at(mirror, offset & ~(size_t)255, 0));
    OK(read_at(mirror, mirror->size - offset - size - 256, offset + size + 256));
    OK(ferry_copy_from_host(mirror->buffer, mirror->bytes, mirror->size, 0));
    expect_mirror(mirror);
}

static void test_failing(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 8; i++) {
        const bool back = i % 2;
        struct tap *tap = make_tap(!back, 30000, 11 + i);
        static struct note note;
        const struct ferry_stream_methods methods = methods_of(tap);
        ferry_ticket ticket = 0;
        tap->chunk_max = 3000;
        tap->failing = 1 + i;
        tap->alone = i >= 4;
        tap->random_order = true;
        note_init(&note);
        run_tap(tap);
        OK((back ? ferry_stream_send : ferry_stream_receive)(
            mirror.buffer, tap->size, 1000, &methods, tap, note_callback, &note, &ticket));
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_words("the tap is broken");
        wait_ended(tap);
        OK(ferry_wait_idle(fixture->device));
        assert_true(note.calls == 1 && note.status == FERRY_ERROR_IO);
        assert_non_null(strstr(note.error, "the tap is broken"));
        assert_true(tap->cancelled <= 1);
        drop_tap(tap, FERRY_ERROR_IO, 1);
        if (!back)
            expect_failed(&mirror, 30000, 1000);
        expect_mirror(&mirror);
    }
    drop_mirror(&mirror);
}

/* It says itself that no more will come, holding chunks or not. */
static void test_fails_itself(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 4; i++) {
        struct tap *tap = make_tap(i % 2 == 0, 30000, 21 + i);
        tap->quiet = true;
        const ferry_ticket ticket = start(tap, mirror.buffer, 1000);
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes + 60000, 10, 60000));
        wait_begun(tap);
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_want(tap->stream, 0));
        if (i >= 2) {
            OK(ferry_stream_want(tap->stream, 5000));
            wait_held(tap);
        }
        ferry_stream_fail(tap->stream, FERRY_ERROR_INVALID_ARGUMENT, "unequal sizes");
        if (i >= 2) { /* it holds a chunk, so the stream is still there */
            assert_true(ferry_stream_over(tap->stream));
            ferry_stream_fail(tap->stream, FERRY_ERROR_IO, "too late");
        }
        run_tap(tap);
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_words("unequal sizes");
        wait_ended(tap);
        assert_int_equal(tap->cancelled, 0);
        drop_tap(tap, FERRY_ERROR_INVALID_ARGUMENT, 1);
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, ROOM, 0));
        expect_mirror(&mirror);
    }
    drop_mirror(&mirror);
}

static void test_cancelled(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 4; i++) {
        struct tap *tap = make_tap(i % 2 == 0, 30000, 31 + i);
        static struct note note;
        const struct ferry_stream_methods methods = methods_of(tap);
        ferry_ticket ticket = 0;
        tap->quiet = true;
        note_init(&note);
        OK((tap->source ? ferry_stream_receive : ferry_stream_send)(
            mirror.buffer, 30000, 1000, &methods, tap, note_callback, &note, &ticket));
        if (i >= 2) {
            wait_begun(tap);
            OK(ferry_stream_want(tap->stream, 5000));
        }
        OK(ferry_stream_cancel(fixture->device, ticket, i ? "no longer wanted" : NULL));
        run_tap(tap);
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_words(i ? "no longer wanted" : "cancelled");
        OK(ferry_wait_idle(fixture->device));
        assert_true(note.calls == 1 && note.status == FERRY_ERROR_IO);
        OK(ferry_stream_cancel(fixture->device, ticket, NULL));
        wait_ended(tap);
        assert_int_equal(tap->cancelled, tap->begun);
        drop_tap(tap, FERRY_ERROR_IO, tap->begun);
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, ROOM, 0));
        expect_mirror(&mirror);
    }
    drop_mirror(&mirror);
}

/* Its turn has not come: it never begins, and ends at once. Its place in the order stays: what comes
 * after it waits for what is before it. */
static void test_cancelled_early(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    for (unsigned i = 0; i < 4; i++) {
        struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
        struct tap *tap = make_tap(i % 2 == 0, 30000, 41 + i);
        struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
        static struct note note;
        const struct ferry_stream_methods methods = methods_of(tap);
        ferry_ticket ticket = 0, before = 0, after = 0;
        note_init(&note);
        OK((tap->source ? ferry_stream_receive
                        : ferry_stream_send)(mirror.buffer, 30000, 1000, &methods, tap,
                                             i < 2 ? note_callback : NULL, &note, &ticket));
        OK(ferry_copy_to_host_async(mirror.buffer, mirror.bytes, 10, 0, NULL, NULL, &before));
        OK(ferry_fill_buffer_async(mirror.buffer, 30000, 1000, "f", 1, NULL, NULL, &after));
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_cancel(fixture->device, before, NULL));
        expect_words("no stream");
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_cancel(fixture->device, UINT64_MAX, NULL));
        assert_int_equal(ferry_poll(fixture->device, ticket), FERRY_PENDING);
        OK(ferry_stream_cancel(fixture->device, ticket, "never mind"));
        IS(FERRY_ERROR_IO, ferry_poll(fixture->device, ticket));
        expect_words("never mind");
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        IS(FERRY_ERROR_IO, ferry_wait_all(fixture->device, &ticket, 1, FERRY_FOREVER));
        OK(ferry_stream_cancel(fixture->device, ticket, "again"));
        assert_int_equal(tap->ended, 1);
        drop_tap(tap, FERRY_ERROR_IO, 0); /* nothing of it is touched from here on */
        while (i < 2 && !note.calls)
            sched_yield();
        assert_int_equal(ferry_poll(fixture->device, after), FERRY_PENDING);
        release(fixture->device, &held);
        OK(ferry_wait(fixture->device, before, FERRY_FOREVER));
        OK(ferry_wait(fixture->device, after, FERRY_FOREVER));
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_words("never mind");
        OK(ferry_wait_idle(fixture->device));
        assert_int_equal(note.calls, i < 2);
        model_fill(mirror.bytes, 30000, 1000, "f", 1);
        expect_mirror(&mirror);
        drop_mirror(&mirror);
    }
}

/* Of many that wait behind each other each can be ended; those between them go on. Bytes that one of
 * them was to write have failed, once their turn has come. */
static void test_cancelled_between(void **state)
{
    enum { COUNT = 9 };
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    struct tap *taps[COUNT];
    ferry_ticket tickets[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        taps[i] = make_tap(i != 4, 5000, 51 + i);
        run_tap(taps[i]);
        tickets[i] = start(taps[i], mirror.buffer, 1000 * (size_t)i);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        OK(ferry_stream_cancel(fixture->device, tickets[i], "one of two"));
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, tickets[i], FERRY_FOREVER));
        drop_tap(taps[i], FERRY_ERROR_IO, 0);
    }
    release(fixture->device, &held);
    for (unsigned i = 1; i < COUNT; i += 2) {
        OK(ferry_wait(fixture->device, tickets[i], FERRY_FOREVER));
        memcpy(mirror.bytes + 1000 * (size_t)i, taps[i]->bytes, 5000);
        drop_tap(taps[i], FERRY_OK, 1);
    }
    IS(FERRY_ERROR_IO, read_at(&mirror, 1000, 12000)); /* the last one's alone */
    OK(read_at(&mirror, ROOM - 13000, 13000));
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, ROOM, 0));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

struct canceller {
    pthread_t thread;
    ferry_device *device;
    ferry_ticket ticket;
    enum ferry_status status;
};

static void *cancel_it(void *arg)
{
    struct canceller *canceller = arg;
    canceller->status = ferry_stream_cancel(canceller->device, canceller->ticket, "just now");
    return NULL;
}

/* While its turn comes it is cancelled: it ends once, begun or not, and what follows it goes on. */
static void test_cancelled_at_its_turn(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 60; i++) {
        struct tap *tap = make_tap(i % 2 == 0, 3000, 71 + i);
        struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
        struct canceller canceller = {.device = fixture->device};
        tap->alone = true;
        canceller.ticket = start(tap, mirror.buffer, 1000);
        assert_int_equal(pthread_create(&canceller.thread, NULL, cancel_it, &canceller), 0);
        for (unsigned k = 0; k < i % 8; k++)
            sched_yield();
        release(fixture->device, &held);
        const enum ferry_status status =
            ferry_wait(fixture->device, canceller.ticket, FERRY_FOREVER);
        pthread_join(canceller.thread, NULL);
        OK(canceller.status);
        assert_true(status == FERRY_OK || status == FERRY_ERROR_IO);
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, ROOM, 0));
        wait_ended(tap);
        assert_true(tap->cancelled <= tap->begun && tap->begun <= 1);
        assert_true(tap->begun || status);
        drop_tap(tap, status, tap->begun);
    }
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Closing a device ends what is in flight first. */
static void test_closing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        ferry_device *device = open_with(NULL, &suite->params);
        ferry_buffer *buffer = make_buffer(device, ROOM, FERRY_STORAGE_PRIVATE);
        struct tap *tap = make_tap(i % 2 == 0, 30000, 51 + i), *second = make_tap(true, 30000, 52);
        static struct note note;
        const struct ferry_stream_methods methods = methods_of(tap);
        note_init(&note);
        tap->quiet = second->quiet = true;
        OK((tap->source ? ferry_stream_receive : ferry_stream_send)(
            buffer, 30000, 1000, &methods, tap, note_callback, &note, NULL));
        (void)start(second, buffer, 1000);
        if (i >= 2) {
            wait_begun(tap);
            OK(ferry_stream_want(tap->stream, 5000));
            run_tap(tap);
        }
        ferry_device_close(device);
        assert_true(note.calls == 1 && note.status == FERRY_ERROR_IO);
        assert_non_null(strstr(note.error, "closed"));
        drop_tap(tap, FERRY_ERROR_IO, tap->begun);
        drop_tap(second, FERRY_ERROR_IO, second->begun);
        ferry_buffer_destroy(buffer);
    }
}

static void test_lost(void **state)
{
    (void)state;
    suite_skip_unless(suite->knobs_variable != NULL, "this driver has no test knobs");
    unsigned losses = 0;
    for (unsigned n = 1; n <= 5; n++) {
        char knobs[64];
        snprintf(knobs, sizeof knobs, "lose_at=%u", n);
        ferry_device *device = open_queued(knobs);
        ferry_buffer *buffer = make_buffer(device, ROOM, FERRY_STORAGE_PRIVATE);
        ferry_buffer *other = make_buffer(device, ROOM, FERRY_STORAGE_PRIVATE);
        struct tap *taps[4];
        for (unsigned i = 0; i < 4; i++) {
            const struct ferry_stream_methods methods =
                methods_of(taps[i] = make_tap(i % 2 == 0, 30000, 61 + i));
            taps[i]->chunk_max = 4000;
            taps[i]->quiet = i == 2; /* it would never end by itself */
            run_tap(taps[i]);
            if ((taps[i]->source ? ferry_stream_receive : ferry_stream_send)(
                    i == 2 ? other : buffer, 30000, 1000 * i, &methods, taps[i], NULL, NULL,
                    NULL) != FERRY_OK)
                tap_end(taps[i], FERRY_ERROR_DEVICE_LOST);
        }
        unsigned char byte = 0;
        for (unsigned i = 0; i < 2 * n; i++)
            (void)!ferry_copy_from_host(buffer, &byte, 1, ROOM - 1);
        for (unsigned i = 0; i < 4; i++) {
            wait_ended(taps[i]);
            losses += taps[i]->end_status == FERRY_ERROR_DEVICE_LOST;
            drop_tap(taps[i], taps[i]->end_status, taps[i]->begun);
        }
        ferry_buffer_destroy(buffer);
        ferry_buffer_destroy(other);
        ferry_device_close(device);
    }
    assert_true(losses > 0);
}

/* The device fails what it was to copy: a stream that waits for the next chunk hears that none will
 * come. Which submission is the stream's is not known. */
static void test_device_fails(void **state)
{
    static const char *const knobs_of[] = {"fail_exec", "fail_submit"};
    unsigned told[2][2] = {{0}};
    (void)state;
    suite_skip_unless(suite->knobs_variable != NULL, "this driver has no test knobs");
    for (unsigned i = 0; i < 24; i++) {
        const unsigned fault = i % 2, back = i / 2 % 2;
        char knobs[64];
        snprintf(knobs, sizeof knobs, "%s=%u", knobs_of[fault], 1 + i / 4);
        ferry_device *device = open_queued(knobs);
        ferry_buffer *buffer = make_buffer(device, ROOM, FERRY_STORAGE_PRIVATE);
        struct tap *tap = make_tap(!back, 30000, 71 + i);
        tap->chunk_max = 3000;
        tap->alone = true;
        const enum ferry_status status =
            ferry_wait(device, start(tap, buffer, 1000), FERRY_FOREVER);
        wait_ended(tap);
        assert_true(tap->cancelled <= (status != FERRY_OK));
        told[fault][back] += tap->cancelled;
        drop_tap(tap, status, 1);
        ferry_buffer_destroy(buffer);
        ferry_device_close(device);
    }
    assert_true(told[0][1] > 0 && told[1][1] > 0); /* a source may have given all before */
}

/* --- arguments ----------------------------------------------------------------------------------- */

static void test_arguments(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = make_buffer(fixture->device, ROOM, FERRY_STORAGE_PRIVATE);
    struct tap *tap = make_tap(true, 10, 1);
    const struct ferry_stream_methods good = methods_of(tap);
    struct ferry_stream_methods bad[7];
    for (size_t i = 0; i < 7; i++)
        bad[i] = good;
    bad[0].chunk = NULL;
    bad[1].cancel = NULL;
    bad[2].flags = 1u << 31;
    bad[3].reserved[3] = 1;
    bad[4].block = 3;
    bad[5].block = 8192;
    bad[6].version = 2;
    for (size_t i = 0; i < 7; i++)
        IS(i < 6 ? FERRY_ERROR_INVALID_ARGUMENT : FERRY_ERROR_UNSUPPORTED,
           ferry_stream_receive(buffer, 10, 0, &bad[i], tap, NULL, NULL, NULL));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_send(NULL, 10, 0, &good, tap, NULL, NULL, NULL));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_send(buffer, 10, 0, NULL, tap, NULL, NULL, NULL));
    IS(FERRY_ERROR_OUT_OF_RANGE,
       ferry_stream_receive(buffer, 10, ROOM - 9, &good, tap, NULL, NULL, NULL));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_cancel(NULL, 1, NULL));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_want(NULL, 1));
    assert_int_equal(tap->ended + tap->begun, 0);
    assert_int_equal(ferry_stream_chunk_max(NULL), 0);
    IS(FERRY_ERROR_IO, ferry_stream_error(FERRY_ERROR_IO, "no route"));
    expect_words("no route");
    tap->size = 0;
    OK(ferry_wait(fixture->device, start(tap, buffer, 0), FERRY_FOREVER));
    drop_tap(tap, FERRY_OK, 0);
    ferry_buffer_destroy(buffer);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_sizes),
    SUITE_TEST(test_long),
    SUITE_TEST(test_eager),
    SUITE_TEST(test_hangs),
    SUITE_TEST(test_failing),
    SUITE_TEST(test_fails_itself),
    SUITE_TEST(test_cancelled),
    SUITE_TEST(test_cancelled_early),
    SUITE_TEST(test_cancelled_between),
    SUITE_TEST(test_cancelled_at_its_turn),
    SUITE_TEST(test_closing),
    SUITE_TEST(test_lost),
    SUITE_TEST(test_arguments),
    SUITE_TEST(test_device_fails),
};

SUITE_GROUP(streams);
