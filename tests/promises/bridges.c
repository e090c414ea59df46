/* Copies between devices, and devices that close while others work. */
#include "promises.h"

#include <unistd.h>

struct pair {
    ferry_device *a, *b;
};

static struct pair open_pair(uint64_t staging_budget)
{
    struct ferry_device_params params = suite->params;
    params.map_private = FERRY_MAP_NEVER;
    params.staging_budget = staging_budget;
    if (params.path == FERRY_PATH_DIRECT)
        params.path = FERRY_PATH_STAGED;
    ferry_device *a = open_with(NULL, &params);
    return (struct pair){a, open_second_with(params)};
}

static void close_pair(struct pair pair)
{
    ferry_device_close(pair.a);
    ferry_device_close(pair.b);
}

static uint64_t upload_and_readback_peak(ferry_device *device, uint64_t *out_each)
{
    const struct ferry_stats stats = read_stats(device);
    *out_each = stats.staging_upload_peak_bytes > stats.staging_readback_peak_bytes
                    ? stats.staging_upload_peak_bytes
                    : stats.staging_readback_peak_bytes;
    return stats.staging_upload_peak_bytes + stats.staging_readback_peak_bytes;
}

/* "staging_budget: staging memory at most, per direction", of copies between devices, too, on both,
 * however many are in flight. */
static void test_staging_budget(void **state)
{
    enum { COPIES = 60, SIZE = 300000, BUDGET = 1 << 20 };
    (void)state;
    struct pair pair = open_pair(BUDGET);
    ferry_buffer *src = make_buffer(pair.a, SIZE, FERRY_STORAGE_PRIVATE), *dst[COPIES];
    unsigned char *bytes = scribbled(SIZE, 1), *got = xmalloc(SIZE);
    OK(ferry_copy_from_host(src, bytes, SIZE, 0));
    for (unsigned i = 0; i < COPIES; i++)
        dst[i] = make_buffer(pair.b, SIZE, FERRY_STORAGE_PRIVATE);
    OK(ferry_device_trim(pair.a));
    OK(ferry_device_trim(pair.b));
    ferry_device_reset_stats(pair.a);
    ferry_device_reset_stats(pair.b);
    for (unsigned i = 0; i < COPIES; i++)
        OK(ferry_copy_buffer_async(dst[i], src, SIZE - 3, 2, 1, NULL, NULL, NULL));
    OK(ferry_wait_idle(pair.b));
    uint64_t a, b;
    assert_true(upload_and_readback_peak(pair.a, &a) > 0);
    assert_true(upload_and_readback_peak(pair.b, &b) > 0);
    assert_true(a >= 1 && a <= BUDGET);
    assert_true(b >= 1 && b <= BUDGET);
    for (unsigned i = 0; i < COPIES; i += 7) {
        OK(ferry_copy_to_host(dst[i], got, SIZE - 3, 2));
        expect_bytes(got, bytes + 1, SIZE - 3, "the copy");
    }
    for (unsigned i = 0; i < COPIES; i++)
        ferry_buffer_destroy(dst[i]);
    ferry_buffer_destroy(src);
    free(bytes);
    free(got);
    close_pair(pair);
}

/* The same in both directions at once, under the smallest budget there is, beside other transfers:
 * nobody sleeps holding what another waits for. */
static void test_smallest_budget(void **state)
{
    enum { ROUNDS = 40, SIZE = 20000 };
    (void)state;
    struct pair pair = open_pair(4096);
    struct mirror a = make_mirror(pair.a, SIZE, FERRY_STORAGE_PRIVATE, 3);
    struct mirror b = make_mirror(pair.b, SIZE, FERRY_STORAGE_PRIVATE, 4);
    struct mirror c = make_mirror(pair.a, SIZE, FERRY_STORAGE_PRIVATE, 5);
    struct mirror d = make_mirror(pair.b, SIZE, FERRY_STORAGE_PRIVATE, 6);
    unsigned char *up = scribbled(SIZE, 7), *down = xmalloc(SIZE);
    for (unsigned i = 0; i < ROUNDS; i++) {
        OK(ferry_copy_buffer_async(b.buffer, a.buffer, SIZE - 9, i % 5, 3, NULL, NULL, NULL));
        memcpy(b.bytes + i % 5, a.bytes + 3, SIZE - 9);
        OK(ferry_copy_buffer_async(c.buffer, d.buffer, SIZE - 9, 1, i % 7, NULL, NULL, NULL));
        memcpy(c.bytes + 1, d.bytes + i % 7, SIZE - 9);
        OK(ferry_copy_from_host_async(a.buffer, up, SIZE - i, i, NULL, NULL, NULL));
        memcpy(a.bytes + i, up, SIZE - i);
        OK(ferry_copy_to_host_async(b.buffer, down, SIZE, 0, NULL, NULL, NULL));
        OK(ferry_copy_to_host_async(d.buffer, down, 100, i, NULL, NULL, NULL));
        OK(ferry_wait_idle(i % 2 ? pair.a : pair.b)); /* down has one writer at a time */
        OK(ferry_wait_idle(i % 2 ? pair.b : pair.a));
    }
    expect_mirror(&a);
    expect_mirror(&b);
    expect_mirror(&c);
    expect_mirror(&d);
    drop_mirror(&a);
    drop_mirror(&b);
    drop_mirror(&c);
    drop_mirror(&d);
    free(up);
    free(down);
    close_pair(pair);
}

/* A copy that cannot begin yet holds no staging of the other device. */
static void test_parked_holds_nothing(void **state)
{
    enum { COPIES = 20, SIZE = 300000, BUDGET = 1 << 20 };
    (void)state;
    struct pair pair = open_pair(BUDGET);
    require_hold(pair.a);
    struct mirror src = make_mirror(pair.a, SIZE, FERRY_STORAGE_PRIVATE, 8);
    ferry_buffer *dst[COPIES];
    ferry_ticket tickets[COPIES];
    for (unsigned i = 0; i < COPIES; i++)
        dst[i] = make_buffer(pair.b, SIZE, FERRY_STORAGE_PRIVATE);
    struct ferry_external held = hold(pair.a, src.buffer, FERRY_ACCESS_WRITE);
    for (unsigned i = 0; i < COPIES; i++)
        OK(ferry_copy_buffer_async(dst[i], src.buffer, SIZE, 0, 0, NULL, NULL, &tickets[i]));
    struct mirror other = make_mirror(pair.b, SIZE, FERRY_STORAGE_PRIVATE, 9);
    OK(ferry_fill_buffer(other.buffer, 100, 7, "o", 1));
    model_fill(other.bytes, 100, 7, "o", 1);
    expect_mirror(&other); /* goes on, with all the staging there is */
    const struct ferry_stats stats = read_stats(pair.b);
    assert_int_equal(stats.staging_upload_bytes + stats.staging_readback_bytes, 0);
    IS(FERRY_PENDING, ferry_poll(pair.b, tickets[COPIES - 1]));
    release(pair.a, &held);
    for (unsigned i = 0; i < COPIES; i++) {
        OK(ferry_wait(pair.b, tickets[i], FERRY_FOREVER));
        ferry_buffer_destroy(dst[i]);
    }
    drop_mirror(&other);
    drop_mirror(&src);
    close_pair(pair);
}

/* "no_staging_wait: a waiting operation returns POOL_EXHAUSTED rather than wait for staging that other
 * operations hold", and "one that could not be begun (its arguments, no host memory, no staging) has
 * changed nothing". */
static void test_no_staging_wait(void **state)
{
    enum { SIZE = 300000 };
    (void)state;
    struct ferry_device_params params = suite->params;
    params.map_private = FERRY_MAP_NEVER;
    params.path = FERRY_PATH_STAGED;
    params.no_staging_wait = true;
    ferry_device *a = open_with(NULL, &params), *b = open_second_with(params);
    struct mirror src = make_mirror(a, SIZE, FERRY_STORAGE_PRIVATE, 10);
    struct mirror dst = make_mirror(b, SIZE, FERRY_STORAGE_PRIVATE, 11);
    OK(ferry_copy_buffer(dst.buffer, src.buffer, SIZE, 0, 0)); /* nobody holds any */
    memcpy(dst.bytes, src.bytes, SIZE);
    expect_mirror(&dst);
    drop_mirror(&src);
    drop_mirror(&dst);
    ferry_device_close(a);
    ferry_device_close(b);
}

/* --- closing ------------------------------------------------------------------------------------- */

struct closer {
    ferry_device *other;
    _Atomic bool called;
    _Atomic bool *partner_called;
};

static void close_other(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct closer *closer = user;
    (void)status;
    (void)ticket;
    closer->called = true;
    while (!*closer->partner_called) /* so that both close at once */
        usleep(100);
    ferry_device_close(closer->other);
}

struct closing {
    struct closer closers[2];
    ferry_buffer *buffers[2];
};

/* "In a callback it is logged, and done after the callback returns", also where two devices' callbacks
 * close each other's device. */
static void test_close_each_other(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        static struct closing closing;
        struct pair pair = open_pair(0);
        closing.closers[0] = (struct closer){pair.b, false, &closing.closers[1].called};
        closing.closers[1] = (struct closer){pair.a, false, &closing.closers[0].called};
        closing.buffers[0] = make_buffer(pair.a, 100, FERRY_STORAGE_PRIVATE);
        closing.buffers[1] = make_buffer(pair.b, 100, FERRY_STORAGE_PRIVATE);
        for (int i = 0; i < 2; i++)
            OK(ferry_zero_buffer_async(closing.buffers[i], close_other, &closing.closers[i], NULL));
        for (int i = 0; i < 2; i++) { /* the watchdog bounds it */
            while (ferry_buffer_wait(closing.buffers[i], 0) != FERRY_ERROR_DEVICE_LOST)
                usleep(1000);
            ferry_buffer_destroy(closing.buffers[i]);
        }
    }
}

/* A device may be closed as soon as its copies are done, though the other's half is still told so. */
static void test_close_while_told(void **state)
{
    (void)state;
    struct pair pair = open_pair(0);
    for (unsigned i = 0; i < 60; i++) {
        ferry_device *brief =
            i % 2 ? open_second_with(suite->params) : open_with(NULL, &suite->params);
        struct mirror here = make_mirror(pair.a, 5000, FERRY_STORAGE_PRIVATE, i);
        struct mirror there = make_mirror(brief, 5000, FERRY_STORAGE_PRIVATE, i + 100);
        ferry_ticket ticket = 0;
        if (i % 4 < 2)
            OK(ferry_copy_buffer_async(here.buffer, there.buffer, 4000, 3, 1, NULL, NULL, &ticket));
        else
            OK(ferry_copy_buffer_async(there.buffer, here.buffer, 4000, 3, 1, NULL, NULL, &ticket));
        if (i % 3 == 0)
            OK(ferry_wait(i % 4 < 2 ? pair.a : brief, ticket, FERRY_FOREVER));
        ferry_device_close(brief);
        if (i % 4 < 2) {
            memcpy(here.bytes + 3, there.bytes + 1, 4000);
            OK(ferry_wait(pair.a, ticket, FERRY_FOREVER));
        }
        expect_mirror(&here);
        drop_mirror(&here);
        drop_mirror(&there);
    }
    close_pair(pair);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_staging_budget),       SUITE_TEST(test_smallest_budget),
    SUITE_TEST(test_parked_holds_nothing), SUITE_TEST(test_no_staging_wait),
    SUITE_TEST(test_close_while_told),     SUITE_TEST(test_close_each_other),
};

SUITE_GROUP(bridges);
