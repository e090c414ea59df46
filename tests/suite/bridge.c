/* Two devices: copies between them, in order, in both directions at once, in constant memory. */
#include "suite.h"

struct pair {
    ferry_device *a, *b;
};

static struct pair pair_of(void **state)
{
    struct fixture *fixture = *state;
    return (struct pair){fixture->device, open_second()};
}

static void test_ranges(void **state)
{
    struct pair pair = pair_of(state);
    for (size_t s = 0; s < 4; s++) {
        for (size_t i = 0; i < suite_size_count; i++) {
            for (size_t j = 0; j < suite_offset_count; j += 2) {
                size_t size = suite_sizes[i], from = suite_offsets[j],
                       to = suite_offsets[(i + j) % suite_offset_count];
                struct mirror src =
                    make_mirror(pair.a, size + from + 9, suite_storages[s % 2], (unsigned)i);
                struct mirror dst =
                    make_mirror(pair.b, size + to + 9, suite_storages[s / 2], (unsigned)j + 50);
                OK(ferry_copy_buffer(dst.buffer, src.buffer, size, to, from));
                memcpy(dst.bytes + to, src.bytes + from, size);
                expect_mirror(&dst);
                expect_mirror(&src);
                drop_mirror(&src);
                drop_mirror(&dst);
            }
        }
    }
    ferry_device_close(pair.b);
}

static void test_ticket_is_of_destination(void **state)
{
    struct pair pair = pair_of(state);
    struct mirror src = make_mirror(pair.a, 50000, FERRY_STORAGE_PRIVATE, 1);
    struct mirror dst = make_mirror(pair.b, 50000, FERRY_STORAGE_PRIVATE, 2);
    struct note note;
    note_init(&note);
    ferry_ticket ticket = 0;
    OK(ferry_copy_buffer_async(dst.buffer, src.buffer, 50000, 0, 0, note_callback, &note, &ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(pair.a, ticket, FERRY_FOREVER));
    OK(ferry_wait(pair.b, ticket, FERRY_FOREVER));
    OK(ferry_wait_idle(pair.b));
    assert_int_equal(note.calls, 1);
    assert_true(note.ticket == ticket);
    memcpy(dst.bytes, src.bytes, 50000);
    expect_mirror(&dst);
    drop_mirror(&src);
    drop_mirror(&dst);
    ferry_device_close(pair.b);
}

/* Order holds across devices: a chain that crosses again and again, without a wait. */
static void test_chain(void **state)
{
    struct pair pair = pair_of(state);
    struct mirror a = make_mirror(pair.a, 9000, FERRY_STORAGE_PRIVATE, 3);
    struct mirror b = make_mirror(pair.b, 9000, FERRY_STORAGE_PRIVATE, 4);
    for (unsigned i = 0; i < 30; i++) {
        OK(ferry_fill_buffer_async(a.buffer, 100, i * 10, &i, 1, NULL, NULL, NULL));
        model_fill(a.bytes, 100, i * 10, &i, 1);
        OK(ferry_copy_buffer_async(b.buffer, a.buffer, 8000, i, 3, NULL, NULL, NULL));
        memcpy(b.bytes + i, a.bytes + 3, 8000);
        OK(ferry_fill_buffer_async(b.buffer, 50, i * 30, "b", 1, NULL, NULL, NULL));
        model_fill(b.bytes, 50, i * 30, "b", 1);
        OK(ferry_copy_buffer_async(a.buffer, b.buffer, 7000, 500, i, NULL, NULL, NULL));
        memcpy(a.bytes + 500, b.bytes + i, 7000);
    }
    expect_mirror(&a);
    expect_mirror(&b);
    drop_mirror(&a);
    drop_mirror(&b);
    ferry_device_close(pair.b);
}

/* Both directions at once: neither holds what the other needs. */
static void test_both_directions(void **state)
{
    struct pair pair = pair_of(state);
    enum { EACH = 4, SIZE = 500001 };
    struct mirror a[EACH], b[EACH], c[EACH], d[EACH];
    for (unsigned i = 0; i < EACH; i++) {
        a[i] = make_mirror(pair.a, SIZE, FERRY_STORAGE_PRIVATE, 10 + i);
        b[i] = make_mirror(pair.b, SIZE, FERRY_STORAGE_PRIVATE, 20 + i);
        c[i] = make_mirror(pair.b, SIZE, FERRY_STORAGE_PRIVATE, 30 + i);
        d[i] = make_mirror(pair.a, SIZE, FERRY_STORAGE_PRIVATE, 40 + i);
    }
    for (unsigned i = 0; i < EACH; i++) {
        OK(ferry_copy_buffer_async(b[i].buffer, a[i].buffer, SIZE - 5, 2, 3, NULL, NULL, NULL));
        OK(ferry_copy_buffer_async(d[i].buffer, c[i].buffer, SIZE - 5, 4, 1, NULL, NULL, NULL));
        memcpy(b[i].bytes + 2, a[i].bytes + 3, SIZE - 5);
        memcpy(d[i].bytes + 4, c[i].bytes + 1, SIZE - 5);
    }
    OK(ferry_wait_idle(pair.a));
    OK(ferry_wait_idle(pair.b));
    for (unsigned i = 0; i < EACH; i++) {
        expect_mirror(&b[i]);
        expect_mirror(&d[i]);
        drop_mirror(&a[i]);
        drop_mirror(&b[i]);
        drop_mirror(&c[i]);
        drop_mirror(&d[i]);
    }
    ferry_device_close(pair.b);
}

/* However long the copy, what it holds for it does not grow. */
static void test_constant_memory(void **state)
{
    struct pair pair = pair_of(state);
    uint64_t peaks[2][2];
    /* The half of it is more than both chunks hold, so that the sizes differ in nothing else. */
    size_t large = suite->params.staging_budget ? 3u << 20
                   : suite_sanitised()          ? 12u << 20
                                                : 48u << 20;
    struct fixture *fixture = *state;
    if (fixture->info.total_memory < 64u << 20)
        large = 2u << 20;
    for (unsigned i = 0; i < 2; i++) {
        size_t size = i == 0 ? large / 2 : large;
        ferry_buffer *src = make_buffer(pair.a, size, FERRY_STORAGE_PRIVATE);
        ferry_buffer *dst = make_buffer(pair.b, size, FERRY_STORAGE_PRIVATE);
        OK(ferry_fill_buffer(src, size, 0, "constant", 8));
        ferry_device_reset_stats(pair.a);
        ferry_device_reset_stats(pair.b);
        OK(ferry_copy_buffer(dst, src, size, 0, 0));
        struct ferry_stats a = read_stats(pair.a), b = read_stats(pair.b);
        peaks[i][0] = a.staging_readback_peak_bytes + a.staging_upload_peak_bytes;
        peaks[i][1] = b.staging_readback_peak_bytes + b.staging_upload_peak_bytes;
        /* Where the CPU reaches both buffers it copies. */
        const struct ferry_operation_stats *copies = b.operations[FERRY_OPERATION_COPY];
        const struct ferry_operation_stats *direct = &copies[FERRY_PATH_DIRECT];
        const struct ferry_operation_stats *bridged = &copies[FERRY_PATH_BRIDGED];
        const struct ferry_operation_stats *peer = &copies[FERRY_PATH_PEER];
        assert_int_equal(bridged->operations + direct->operations + peer->operations, 1);
        assert_int_equal(bridged->bytes + direct->bytes + peer->bytes, size);
        unsigned char got[16];
        OK(ferry_copy_to_host(dst, got, 16, size - 16));
        expect_bytes(got, "constantconstant", 16, "the end of the copy");
        ferry_buffer_destroy(src);
        ferry_buffer_destroy(dst);
    }
    assert_int_equal(peaks[0][0], peaks[1][0]);
    assert_int_equal(peaks[0][1], peaks[1][1]);
    ferry_device_close(pair.b);
}

/* A source held on one device parks the copy on the other, and blocks nothing else there. */
static void test_parked(void **state)
{
    struct pair pair = pair_of(state);
    require_hold(pair.a);
    struct mirror src = make_mirror(pair.a, 5000, FERRY_STORAGE_PRIVATE, 5);
    struct mirror dst = make_mirror(pair.b, 5000, FERRY_STORAGE_PRIVATE, 6);
    struct mirror free_one = make_mirror(pair.b, 5000, FERRY_STORAGE_PRIVATE, 7);
    ferry_ticket ticket = 0;
    struct ferry_external held = hold(pair.a, src.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_buffer_async(dst.buffer, src.buffer, 5000, 0, 0, NULL, NULL, &ticket));
    OK(ferry_fill_buffer_async(dst.buffer, 10, 10, "d", 1, NULL, NULL, NULL));
    IS(FERRY_PENDING, ferry_poll(pair.b, ticket));
    OK(ferry_zero_buffer(free_one.buffer));
    memset(free_one.bytes, 0, 5000);
    expect_mirror(&free_one);
    release(pair.a, &held);
    OK(ferry_wait(pair.b, ticket, FERRY_FOREVER));
    memcpy(dst.bytes, src.bytes, 5000);
    model_fill(dst.bytes, 10, 10, "d", 1);
    expect_mirror(&dst);
    drop_mirror(&src);
    drop_mirror(&dst);
    drop_mirror(&free_one);
    ferry_device_close(pair.b);
}

/* A failed source fails the copy and its destination, on the other device too. */
static void test_failed_source(void **state)
{
    struct pair pair = pair_of(state);
    require_hold(pair.a);
    struct mirror src = make_mirror(pair.a, 5000, FERRY_STORAGE_PRIVATE, 8);
    struct mirror dst = make_mirror(pair.b, 5000, FERRY_STORAGE_PRIVATE, 9);
    unsigned char got[5000];
    ferry_ticket ticket = 0;
    struct ferry_external held = hold(pair.a, src.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_buffer_async(dst.buffer, src.buffer, 100, 50, 0, NULL, NULL, &ticket));
    release_failed(pair.a, &held);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(pair.b, ticket, FERRY_FOREVER));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(dst.buffer, got, 5000, 0));
    OK(ferry_copy_to_host(dst.buffer, got, 50, 0));
    OK(ferry_copy_from_host(dst.buffer, dst.bytes + 50, 100, 50));
    expect_mirror(&dst);
    drop_mirror(&src);
    drop_mirror(&dst);
    ferry_device_close(pair.b);
}

/* Buffers destroyed, and the destination's device closed, with the copy in flight. */
static void test_close_destination(void **state)
{
    struct fixture *fixture = *state;
    struct mirror src = make_mirror(fixture->device, 300000, FERRY_STORAGE_PRIVATE, 10);
    for (unsigned round = 0; round < 10; round++) {
        ferry_device *second = open_second();
        ferry_buffer *dst = make_buffer(second, 300000, FERRY_STORAGE_PRIVATE);
        struct note note;
        note_init(&note);
        for (unsigned i = 0; i < 5; i++)
            OK(ferry_copy_buffer_async(dst, src.buffer, 300000 - round, round, 0,
                                       i == 4 ? note_callback : NULL, &note, NULL));
        ferry_buffer_destroy(dst);
        ferry_device_close(second);
        assert_int_equal(note.calls, 1);
        assert_int_equal(note.status, FERRY_OK);
    }
    expect_mirror(&src);
    drop_mirror(&src);
}

/* The same with the source's device: what it gave arrives all the same. */
static void test_close_source(void **state)
{
    struct fixture *fixture = *state;
    struct mirror dst = make_mirror(fixture->device, 300000, FERRY_STORAGE_PRIVATE, 11);
    for (unsigned round = 0; round < 10; round++) {
        ferry_device *second = open_second();
        struct mirror src = make_mirror(second, 300000, FERRY_STORAGE_PRIVATE, 12 + round);
        OK(ferry_copy_buffer_async(dst.buffer, src.buffer, 300000 - round, round, 0, NULL, NULL,
                                   NULL));
        memcpy(dst.bytes + round, src.bytes, 300000 - round);
        if (round % 2) {
            drop_mirror(&src);
            ferry_device_close(second);
        } else {
            ferry_device_close(second);
            drop_mirror(&src);
        }
        expect_mirror(&dst);
    }
    drop_mirror(&dst);
}

static void test_counts(void **state)
{
    struct pair pair = pair_of(state);
    struct mirror src = make_mirror(pair.a, 5000, FERRY_STORAGE_SHARED, 11);
    struct mirror dst = make_mirror(pair.b, 5000, FERRY_STORAGE_SHARED, 12);
    ferry_device_reset_stats(pair.a);
    ferry_device_reset_stats(pair.b);
    for (unsigned i = 0; i < 10; i++)
        OK(ferry_copy_buffer(dst.buffer, src.buffer, 100, i, 0));
    struct ferry_stats a = read_stats(pair.a), b = read_stats(pair.b);
    assert_int_equal(count_operations(&b, FERRY_OPERATION_COPY), 10);
    assert_int_equal(count_bytes(&b, FERRY_OPERATION_COPY), 1000);
    assert_int_equal(count_operations(&a, FERRY_OPERATION_COPY), 0);
    drop_mirror(&src);
    drop_mirror(&dst);
    ferry_device_close(pair.b);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_ranges),          SUITE_TEST(test_ticket_is_of_destination),
    SUITE_TEST(test_chain),           SUITE_TEST(test_both_directions),
    SUITE_TEST(test_constant_memory), SUITE_TEST(test_parked),
    SUITE_TEST(test_failed_source),   SUITE_TEST(test_close_destination),
    SUITE_TEST(test_close_source),    SUITE_TEST(test_counts),
};

SUITE_GROUP(bridge);
