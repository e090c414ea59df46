/* Batches: effects as if one after another, one submission, one ticket. */
#include "suite.h"

#include <unistd.h>

static ferry_batch *make_batch(ferry_device *device)
{
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(device, &batch));
    return batch;
}

static void submit_and_wait(ferry_device *device, ferry_batch *batch)
{
    ferry_ticket ticket = 0;
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
}

static void run_batch(ferry_device *device, ferry_batch *batch)
{
    (void)device;
    OK(ferry_batch_run(batch));
}

/* Each kind after each other kind on the same bytes. */
static void mixed(struct fixture *fixture, void (*carry_out)(ferry_device *, ferry_batch *))
{
    struct mirror a = make_mirror(fixture->device, 10000, FERRY_STORAGE_PRIVATE, 1);
    struct mirror b = make_mirror(fixture->device, 10000, FERRY_STORAGE_SHARED, 2);
    unsigned char *source = scribbled(9000, 3), *got = xmalloc(8000), *want = xmalloc(8000);
    ferry_batch *batch = make_batch(fixture->device);

    OK(ferry_batch_copy_from_host(batch, a.buffer, source, 9000, 17));
    memcpy(a.bytes + 17, source, 9000);
    OK(ferry_batch_fill_buffer(batch, a.buffer, 501, 99, "mix", 3));
    model_fill(a.bytes, 501, 99, "mix", 3);
    OK(ferry_batch_copy_buffer(batch, b.buffer, a.buffer, 5000, 3, 44));
    memcpy(b.bytes + 3, a.bytes + 44, 5000);
    OK(ferry_batch_copy_to_host(batch, b.buffer, got, 8000, 1));
    memcpy(want, b.bytes + 1, 8000);
    OK(ferry_batch_zero_buffer(batch, b.buffer));
    memset(b.bytes, 0, b.size);
    OK(ferry_batch_copy_from_host(batch, b.buffer, source + 5, 4097, 31));
    memcpy(b.bytes + 31, source + 5, 4097);
    OK(ferry_batch_copy_buffer(batch, a.buffer, b.buffer, 4000, 7, 0));
    memcpy(a.bytes + 7, b.bytes, 4000);

    carry_out(fixture->device, batch);
    expect_bytes(got, want, 8000, "the download in the batch");
    expect_mirror(&a);
    expect_mirror(&b);
    ferry_batch_destroy(batch);
    free(source);
    free(got);
    free(want);
    drop_mirror(&a);
    drop_mirror(&b);
}

static void test_mixed(void **state)
{
    mixed(*state, submit_and_wait);
}

/* The waiting form: the same bytes; empty at once; again and again; refused where it cannot be
 * submitted, with its operations. */
static void test_run(void **state)
{
    struct fixture *fixture = *state;
    unsigned char bytes[33], got[33];
    mixed(fixture, run_batch);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_batch_run(NULL));
    ferry_batch *batch = make_batch(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 40, FERRY_STORAGE_PRIVATE, 4);
    OK(ferry_batch_run(batch));
    for (unsigned i = 0; i < 100; i++) {
        memset(bytes, (int)i, sizeof bytes);
        OK(ferry_batch_copy_from_host(batch, mirror.buffer, bytes, sizeof bytes, i % 7));
        OK(ferry_batch_copy_to_host(batch, mirror.buffer, got, sizeof got, i % 7));
        memcpy(mirror.bytes + i % 7, bytes, sizeof bytes);
        OK(ferry_batch_run(batch));
        expect_bytes(got, bytes, sizeof got, "what went up and came down");
    }
    OK(ferry_batch_run(batch));
    expect_mirror(&mirror);
    ferry_batch_destroy(batch);
    drop_mirror(&mirror);
}

static void test_reuse(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 5000, FERRY_STORAGE_PRIVATE, 4);
    ferry_batch *batch = make_batch(fixture->device);
    ferry_ticket tickets[20];
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned j = 0; j <= i; j++) {
            OK(ferry_batch_fill_buffer(batch, mirror.buffer, 100 + i, i * 50 + j, &j, 1));
            model_fill(mirror.bytes, 100 + i, i * 50 + j, &j, 1);
        }
        OK(ferry_batch_submit(batch, NULL, NULL, &tickets[i]));
    }
    ferry_batch_destroy(batch);
    for (unsigned i = 0; i < 20; i++)
        OK(ferry_wait(fixture->device, tickets[i], FERRY_FOREVER));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_empty(void **state)
{
    struct fixture *fixture = *state;
    struct note note;
    note_init(&note);
    ferry_batch *batch = make_batch(fixture->device);
    ferry_ticket ticket = UINT64_MAX;
    OK(ferry_batch_submit(batch, note_callback, &note, &ticket));
    OK(ferry_wait(fixture->device, ticket, 0));
    OK(ferry_wait_idle(fixture->device));
    assert_int_equal(note.calls, 1);
    assert_int_equal(note.status, FERRY_OK);
    assert_true(note.ticket == ticket);
    ferry_batch_destroy(batch);
    ferry_batch_destroy(NULL);
}

/* What is refused leaves the batch as it was. */
static void test_refused(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *second = open_second();
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 5);
    struct mirror foreign = make_mirror(second, 100, FERRY_STORAGE_PRIVATE, 6);
    unsigned char bytes[200] = {0};
    ferry_batch *batch = make_batch(fixture->device);
    OK(ferry_batch_fill_buffer(batch, mirror.buffer, 10, 5, "k", 1));
    model_fill(mirror.bytes, 10, 5, "k", 1);
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_batch_fill_buffer(batch, mirror.buffer, 101, 0, "k", 1));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_batch_copy_from_host(batch, mirror.buffer, bytes, 2, 99));
    IS(FERRY_ERROR_OUT_OF_RANGE,
       ferry_batch_copy_to_host(batch, mirror.buffer, bytes, SIZE_MAX, 1));
    IS(FERRY_ERROR_OUT_OF_RANGE,
       ferry_batch_copy_buffer(batch, mirror.buffer, mirror.buffer, 50, 0, 51));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_batch_copy_from_host(batch, mirror.buffer, NULL, 10, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_batch_fill_buffer(batch, mirror.buffer, 10, 0, bytes, 17));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_batch_zero_buffer(batch, foreign.buffer));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_batch_copy_buffer(batch, mirror.buffer, foreign.buffer, 10, 0, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_batch_copy_from_host(batch, foreign.buffer, bytes, 10, 0));
    OK(ferry_batch_fill_buffer(batch, mirror.buffer, 10, 50, "l", 1));
    model_fill(mirror.bytes, 10, 50, "l", 1);
    submit_and_wait(fixture->device, batch);
    expect_mirror(&mirror);
    expect_mirror(&foreign);
    ferry_batch_destroy(batch);
    drop_mirror(&mirror);
    drop_mirror(&foreign);
    ferry_device_close(second);
}

/* 1000 small uploads are one submission, or none where the CPU writes them itself. */
static void test_one_submission(void **state)
{
    struct fixture *fixture = *state;
    enum { MANY = 1000, PART = 256 };
    struct mirror mirror = make_mirror(fixture->device, MANY * PART, FERRY_STORAGE_PRIVATE, 7);
    scribble(mirror.bytes, mirror.size, 8);
    ferry_batch *batch = make_batch(fixture->device);
    for (size_t i = 0; i < MANY; i++)
        OK(ferry_batch_copy_from_host(batch, mirror.buffer, mirror.bytes + i * PART, PART,
                                      i * PART));
    ferry_device_reset_stats(fixture->device);
    submit_and_wait(fixture->device, batch);
    struct ferry_stats stats = read_stats(fixture->device);
    ferry_batch_destroy(batch);
    expect_mirror(&mirror);
    drop_mirror(&mirror);

    uint64_t budget = suite->params.staging_budget;
    uint64_t direct = stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT].operations;
    assert_int_equal(count_operations(&stats, FERRY_OPERATION_UPLOAD), MANY);
    assert_int_equal(count_bytes(&stats, FERRY_OPERATION_UPLOAD), MANY * PART);
    assert_int_equal(stats.batches, 1);
    if (direct == MANY)
        assert_int_equal(stats.submissions, 0);
    else
        assert_int_equal(stats.submissions, 1 + stats.batch_splits);
    if (budget == 0 || budget >= MANY * PART)
        assert_int_equal(stats.batch_splits, 0);
    else if (stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_STAGED].operations == MANY)
        assert_true(stats.batch_splits >= MANY * PART / budget - 1 &&
                    stats.batch_splits <= 4 * MANY * PART / budget);
}

/* Several times the staging budget, in both directions. */
static void test_beyond_budget(void **state)
{
    struct fixture *fixture = *state;
    uint64_t budget = suite->params.staging_budget;
    size_t part = budget != 0 ? 3000 : 300000;
    enum { PARTS = 40 };
    struct mirror mirror = make_mirror(fixture->device, PARTS * part, FERRY_STORAGE_PRIVATE, 9);
    unsigned char *got = xmalloc(mirror.size);
    scribble(mirror.bytes, mirror.size, 10);
    ferry_batch *batch = make_batch(fixture->device);
    for (size_t i = 0; i < PARTS; i++) {
        OK(ferry_batch_copy_from_host(batch, mirror.buffer, mirror.bytes + i * part, part,
                                      i * part));
        OK(ferry_batch_copy_to_host(batch, mirror.buffer, got + i * part, part, i * part));
    }
    submit_and_wait(fixture->device, batch);
    expect_bytes(got, mirror.bytes, mirror.size, "what the batch read");
    expect_mirror(&mirror);
    ferry_batch_destroy(batch);
    free(got);
    drop_mirror(&mirror);
}

/* A batch takes its place when it is submitted, not when its operations are added. */
static void test_place_at_submit(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 11);
    ferry_batch *first = make_batch(fixture->device);
    ferry_batch *second = make_batch(fixture->device);
    OK(ferry_batch_fill_buffer(first, mirror.buffer, 60, 0, "1", 1));
    OK(ferry_batch_fill_buffer(second, mirror.buffer, 60, 30, "2", 1));
    OK(ferry_fill_buffer_async(mirror.buffer, 100, 0, "0", 1, NULL, NULL, NULL));
    OK(ferry_batch_submit(second, NULL, NULL, NULL));
    OK(ferry_batch_submit(first, NULL, NULL, NULL));
    model_fill(mirror.bytes, 100, 0, "0", 1);
    model_fill(mirror.bytes, 60, 30, "2", 1);
    model_fill(mirror.bytes, 60, 0, "1", 1);
    expect_mirror(&mirror);
    ferry_batch_destroy(first);
    ferry_batch_destroy(second);
    drop_mirror(&mirror);
}

/* Buffers and the batch may be destroyed while recorded and while in flight. */
static void test_destroyed_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    struct mirror kept = make_mirror(fixture->device, 3000, FERRY_STORAGE_PRIVATE, 12);
    for (unsigned round = 0; round < 20; round++) {
        struct mirror gone = make_mirror(fixture->device, 3000, FERRY_STORAGE_PRIVATE, 13 + round);
        ferry_batch *batch = make_batch(fixture->device);
        OK(ferry_batch_fill_buffer(batch, gone.buffer, 2000, 7, "gone", 4));
        model_fill(gone.bytes, 2000, 7, "gone", 4);
        OK(ferry_batch_copy_buffer(batch, kept.buffer, gone.buffer, 2990, 3, 1));
        memcpy(kept.bytes + 3, gone.bytes + 1, 2990);
        drop_mirror(&gone);
        struct mirror newer = make_mirror(fixture->device, 3000, FERRY_STORAGE_PRIVATE, 99);
        OK(ferry_batch_submit(batch, NULL, NULL, NULL));
        ferry_batch_destroy(batch);
        expect_mirror(&newer);
        drop_mirror(&newer);
        expect_mirror(&kept);
    }
    drop_mirror(&kept);
}

static void test_destroyed_unsubmitted(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 14);
    struct mirror gone = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 15);
    ferry_batch *batch = make_batch(fixture->device);
    OK(ferry_batch_zero_buffer(batch, mirror.buffer));
    OK(ferry_batch_zero_buffer(batch, gone.buffer));
    drop_mirror(&gone);
    ferry_batch_destroy(batch);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Behind work that is held, batches wait as one operation, and are done in order. */
static void test_parked(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror a = make_mirror(fixture->device, 4000, FERRY_STORAGE_PRIVATE, 16);
    struct mirror b = make_mirror(fixture->device, 4000, FERRY_STORAGE_PRIVATE, 17);
    ferry_ticket ticket = 0;
    ferry_batch *batch = make_batch(fixture->device);
    struct ferry_external held = hold(fixture->device, a.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_batch_fill_buffer(batch, b.buffer, 100, 0, "b", 1));
    OK(ferry_batch_copy_buffer(batch, b.buffer, a.buffer, 500, 50, 0));
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_fill_buffer_async(b.buffer, 20, 40, "c", 1, NULL, NULL, NULL));
    IS(FERRY_PENDING, ferry_poll(fixture->device, ticket));
    release(fixture->device, &held);
    model_fill(b.bytes, 100, 0, "b", 1);
    memcpy(b.bytes + 50, a.bytes, 500);
    model_fill(b.bytes, 20, 40, "c", 1);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    expect_mirror(&b);
    ferry_batch_destroy(batch);
    drop_mirror(&a);
    drop_mirror(&b);
}

/* Reads and writes of the same source and destination bytes, interleaved many times. */
static void test_ping_pong(void **state)
{
    struct fixture *fixture = *state;
    struct mirror a = make_mirror(fixture->device, 1000, FERRY_STORAGE_PRIVATE, 18);
    struct mirror b = make_mirror(fixture->device, 1000, FERRY_STORAGE_PRIVATE, 19);
    ferry_batch *batch = make_batch(fixture->device);
    for (unsigned i = 0; i < 100; i++) {
        struct mirror *to = i % 2 ? &a : &b, *from = i % 2 ? &b : &a;
        size_t size = 300 + i, dst = i * 3 % 100, src = i * 7 % 200;
        OK(ferry_batch_copy_buffer(batch, to->buffer, from->buffer, size, dst, src));
        memcpy(to->bytes + dst, from->bytes + src, size);
        OK(ferry_batch_fill_buffer(batch, from->buffer, 9, src, &i, 1));
        model_fill(from->bytes, 9, src, &i, 1);
    }
    submit_and_wait(fixture->device, batch);
    expect_mirror(&a);
    expect_mirror(&b);
    ferry_batch_destroy(batch);
    drop_mirror(&a);
    drop_mirror(&b);
}

/* What lies end to end on both sides is one command; what does not, or the other way round, is not. */
static void test_joined(void **state)
{
    (void)state;
    enum { PART = 256, PARTS = 8 };
    struct ferry_device_params params = suite->params;
    params.path = FERRY_PATH_STAGED;
    params.map_private = FERRY_MAP_NEVER;
    ferry_device *device = open_with(NULL, &params);
    struct mirror a = make_mirror(device, 2 * PART * PARTS, FERRY_STORAGE_PRIVATE, 1);
    struct mirror b = make_mirror(device, 2 * PART * PARTS, FERRY_STORAGE_PRIVATE, 2);
    unsigned char *source = scribbled(PART * PARTS, 3);
    ferry_batch *batch = make_batch(device);
    static const struct {
        bool upload, backwards;
        size_t stride, commands;
    } cases[] = {
        {true, false, PART, 1},  {true, false, 2 * PART, PARTS},  {true, true, PART, PARTS},
        {false, false, PART, 1}, {false, false, 2 * PART, PARTS}, {false, true, PART, PARTS},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (size_t i = 0; i < PARTS; i++) {
            const size_t at = (cases[c].backwards ? PARTS - 1 - i : i) * cases[c].stride;
            const unsigned char *from = cases[c].upload ? source + i * PART : b.bytes + at;
            if (cases[c].upload)
                OK(ferry_batch_copy_from_host(batch, a.buffer, from, PART, at));
            else
                OK(ferry_batch_copy_buffer(batch, a.buffer, b.buffer, PART, at, at));
            memcpy(a.bytes + at, from, PART);
        }
        ferry_device_reset_stats(device);
        submit_and_wait(device, batch);
        const struct ferry_stats stats = read_stats(device);
        assert_int_equal(stats.submissions, 1);
        assert_int_equal(stats.submitted_operations, PARTS);
        assert_int_equal(stats.submitted_commands, cases[c].commands);
        expect_mirror(&a);
    }
    ferry_batch_destroy(batch);
    free(source);
    drop_mirror(&a);
    drop_mirror(&b);
    ferry_device_close(device);
}

enum { PAGES = 3, LANDINGS = 24 };

/* Where downloads land, of which the device may reach the middle page: some are written there by
 * it, some by the host, and some of a list's blocks so and some so. */
struct landing {
    unsigned char *pages, *want;
    size_t page;
    struct mirror *from;
};

static size_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (size_t)(*seed >> 33);
}

static void land_range(ferry_batch *batch, const struct landing *landing, uint64_t *seed)
{
    const bool inside = next_random(seed) % 2;
    const size_t room = inside ? landing->page : PAGES * landing->page;
    const size_t size = 1 + next_random(seed) % (room / 2);
    const size_t at = (inside ? landing->page : 0) + next_random(seed) % (room - size + 1);
    const size_t from = next_random(seed) % (landing->from->size - size + 1);
    OK(ferry_batch_copy_to_host(batch, landing->from->buffer, landing->pages + at, size, from));
    memcpy(landing->want + at, landing->from->bytes + from, size);
}

static void land_list(ferry_batch *batch, const struct landing *landing, uint64_t *seed)
{
    enum { BLOCKS = 12 };
    struct ferry_block list[BLOCKS];
    const bool apart = next_random(seed) % 2;
    const size_t room = PAGES * landing->page, each = room / BLOCKS;
    for (size_t i = 0; i < BLOCKS; i++) {
        const size_t size = 1 + next_random(seed) % each;
        const size_t at = apart ? i * each : next_random(seed) % (room - size + 1);
        list[i] = (struct ferry_block){
            .dst_offset = at, .src_offset = next_random(seed) % 999, .size = size};
        memcpy(landing->want + at, landing->from->bytes + list[i].src_offset, size);
    }
    OK(ferry_batch_copy_blocks_to_host(batch, landing->from->buffer, landing->pages, list, BLOCKS));
}

/* Of downloads that overlap in host memory, the later one's bytes stay, whichever way each goes. */
static void test_landings(void **state)
{
    struct fixture *fixture = *state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct mirror from = make_mirror(fixture->device, PAGES * page, FERRY_STORAGE_PRIVATE, 20);
    struct landing landing = {.pages = aligned_alloc(page, PAGES * page),
                              .want = scribbled(PAGES * page, 21),
                              .page = page,
                              .from = &from};
    memcpy(landing.pages, landing.want, PAGES * page);
    OK(ferry_host_register(fixture->device, landing.pages + page, page, 0));
    ferry_batch *batch = make_batch(fixture->device);
    for (uint64_t round = 1; round <= 30; round++) {
        uint64_t seed = round * UINT64_C(0x9e3779b97f4a7c15);
        for (unsigned i = 0; i < LANDINGS; i++)
            (next_random(&seed) % 4 ? land_range : land_list)(batch, &landing, &seed);
        submit_and_wait(fixture->device, batch);
        expect_bytes(landing.pages, landing.want, PAGES * page, "where downloads landed");
    }
    ferry_batch_destroy(batch);
    OK(ferry_host_unregister(fixture->device, landing.pages + page));
    free(landing.pages);
    free(landing.want);
    drop_mirror(&from);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_mixed),
    SUITE_TEST(test_run),
    SUITE_TEST(test_reuse),
    SUITE_TEST(test_empty),
    SUITE_TEST(test_refused),
    SUITE_TEST(test_one_submission),
    SUITE_TEST(test_beyond_budget),
    SUITE_TEST(test_place_at_submit),
    SUITE_TEST(test_destroyed_meanwhile),
    SUITE_TEST(test_destroyed_unsubmitted),
    SUITE_TEST(test_parked),
    SUITE_TEST(test_ping_pong),
    SUITE_TEST(test_joined),
    SUITE_TEST(test_landings),
};

SUITE_GROUP(batches);
