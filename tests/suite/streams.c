/* Operations whose host side is a stream: the bytes, and their place in the order. */
#include "tap.h"

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
        OK(ferry_wait(device, tap_start(tap, mirror->buffer, offset), FERRY_FOREVER));
        tap_wait_ended(tap);
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
        OK(ferry_wait(fixture->device, tap_start(tap, mirror.buffer, 33), FERRY_FOREVER));
        tap_wait_ended(tap);
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
            struct ferry_stream_methods methods = tap_methods(tap);
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
            tap_wait_ended(tap);
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
    const ferry_ticket ticket = tap_start(tap, mirror.buffer, 4000);
    OK(ferry_copy_to_host_async(mirror.buffer, late, 1000, 4000, NULL, NULL, &reading));
    OK(ferry_copy_from_host(mirror.buffer, "0123456789", 10, 20000));
    memcpy(mirror.bytes + 20000, "0123456789", 10);
    assert_int_equal(ferry_poll(fixture->device, ticket), FERRY_PENDING);
    assert_int_equal(ferry_poll(fixture->device, reading), FERRY_PENDING);
    assert_int_equal(read_stats(fixture->device).staging_upload_bytes, before.staging_upload_bytes);
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, reading, 1000));
    tap_wait_begun(tap);
    tap->quiet = false;
    tap_want(tap);
    OK(ferry_wait(fixture->device, reading, FERRY_FOREVER));
    expect_bytes(late, tap->bytes, 1000, "what followed the stream");
    memcpy(mirror.bytes + 4000, tap->bytes, 1000);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    drop_tap(tap, FERRY_OK, 1);
    expect_mirror(&mirror);
    free(late);
    drop_mirror(&mirror);
}

/* --- arguments ----------------------------------------------------------------------------------- */

static void test_arguments(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = make_buffer(fixture->device, ROOM, FERRY_STORAGE_PRIVATE);
    struct tap *tap = make_tap(true, 10, 1);
    const struct ferry_stream_methods good = tap_methods(tap);
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
    OK(ferry_wait(fixture->device, tap_start(tap, buffer, 0), FERRY_FOREVER));
    drop_tap(tap, FERRY_OK, 0);
    ferry_buffer_destroy(buffer);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_sizes), SUITE_TEST(test_long),      SUITE_TEST(test_eager),
    SUITE_TEST(test_hangs), SUITE_TEST(test_arguments),
};

SUITE_GROUP(streams);
