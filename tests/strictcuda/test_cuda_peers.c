/* Copies between two devices of CUDA's: by peers where they reach each other, else by the host. */
#include "client.h"

#include <ferry/ferry.h>

enum { BYTES = 300007, AT = 13 };

struct two {
    ferry_device *a, *b;
    ferry_buffer *src, *dst;
};

static ferry_device *open_cuda(const char *name)
{
    ferry_device *device = NULL;
    if (ferry_device_open(&(struct ferry_device_params){.name = name}, &device))
        fail_msg("%s", ferry_last_error());
    return device;
}

static ferry_buffer *make(ferry_device *device, uint64_t flags)
{
    ferry_buffer *buffer = NULL;
    assert_int_equal(
        ferry_buffer_create(
            device, &(struct ferry_buffer_params){.size = BYTES + 64, .flags = flags}, &buffer),
        FERRY_OK);
    return buffer;
}

static struct two begin(const char *options, uint64_t flags)
{
    struct two t;
    setenv("STRICTCUDA", options, 1);
    strictcuda_record(true);
    strictcuda_forget();
    t.a = open_cuda("cuda:0");
    t.b = open_cuda("cuda:1");
    t.src = make(t.a, flags);
    t.dst = make(t.b, 0);
    return t;
}

static void end(struct two *t)
{
    ferry_buffer_destroy(t->src);
    ferry_buffer_destroy(t->dst);
    ferry_device_close(t->a);
    ferry_device_close(t->b);
    assert_broken(0, 0);
    assert_int_equal(strictcuda_live(), 0);
}

/* Copies, and says how often it was by that path. */
static uint64_t copy(struct two *t, ferry_buffer *dst, ferry_buffer *src, enum ferry_path path)
{
    static unsigned char bytes[BYTES], got[BYTES];
    struct ferry_stats stats;
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (unsigned char)(i * 7 + (dst == t->dst));
    ferry_device_reset_stats(ferry_buffer_device(dst));
    assert_int_equal(ferry_copy_from_host(src, bytes, BYTES, AT), FERRY_OK);
    assert_int_equal(ferry_copy_buffer(dst, src, BYTES, 3, AT), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(dst, got, BYTES, 3), FERRY_OK);
    assert_memory_equal(bytes, got, BYTES);
    ferry_device_get_stats(ferry_buffer_device(dst), &stats, sizeof stats);
    assert_true(stats.operations[FERRY_OPERATION_COPY][path].bytes % BYTES == 0);
    return stats.operations[FERRY_OPERATION_COPY][path].operations;
}

static void test_both_ways(void **unused)
{
    (void)unused;
    struct two t = begin("devices=2", 0);
    struct ferry_device_info info;
    ferry_device_get_info(t.a, &info);
    assert_true(info.paths & 1u << FERRY_PATH_PEER);
    const uint64_t before = strictcuda_calls("cuMemcpyPeerAsync");
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_PEER), 1);
    const uint64_t first = strictcuda_calls("cuMemcpyPeerAsync");
    assert_int_equal(first - before, 3); /* a page there and back, and the copy */
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_PEER), 1);
    assert_int_equal(strictcuda_calls("cuMemcpyPeerAsync") - first, 1);
    assert_int_equal(copy(&t, t.src, t.dst, FERRY_PATH_PEER), 1);
    end(&t);
}

/* Copies make no page-locked memory each: what one has used the next one takes. A thread that lets a
 * copy go may be late, so there may be as many as there are threads. */
static void test_no_memory_each(void **unused)
{
    (void)unused;
    enum { COPIES = 60, THREADS = 5 };
    struct two t = begin("devices=2", 0);
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_PEER), 1);
    const uint64_t made = strictcuda_calls("cuMemHostAlloc");
    const uint64_t given = strictcuda_calls("cuMemFreeHost");
    for (size_t i = 0; i < COPIES; i++)
        assert_int_equal(ferry_copy_buffer(t.dst, t.src, 4096, i, AT), FERRY_OK);
    assert_true(strictcuda_calls("cuMemHostAlloc") - made <= THREADS);
    assert_int_equal(strictcuda_calls("cuMemFreeHost"), given);
    end(&t);
}

/* What is kept for the next copy is given back when asked for: once a thread has let the copy go. */
static void test_trim(void **unused)
{
    (void)unused;
    struct two t = begin("devices=2", 0);
    assert_int_equal(ferry_copy_buffer(t.dst, t.src, 4096, 0, AT), FERRY_OK);
    const uint64_t given = strictcuda_calls("cuMemFreeHost");
    while (strictcuda_calls("cuMemFreeHost") == given)
        assert_int_equal(ferry_device_trim(t.a), FERRY_OK);
    end(&t);
}

/* One device was closed and opened again: its context is a new one. */
static void test_opened_again(void **unused)
{
    (void)unused;
    struct two t = begin("devices=2", 0);
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_PEER), 1);
    ferry_buffer_destroy(t.src);
    ferry_device_close(t.a);
    t.a = open_cuda("cuda:0");
    t.src = make(t.a, 0);
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_PEER), 1);
    assert_int_equal(copy(&t, t.src, t.dst, FERRY_PATH_PEER), 1);
    end(&t);
}

static void bridged(const char *options, uint64_t flags)
{
    struct two t = begin(options, flags);
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_BRIDGED), 1);
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_BRIDGED), 1);
    end(&t);
}

static void test_bridged(void **unused)
{
    (void)unused;
    bridged("devices=2,nopeers", 0);
    bridged("devices=2,badpeers", 0); /* what CUDA says is not what it does */
    bridged("devices=2", FERRY_BUFFER_EXPORTABLE);
}

/* The trial has no memory: by the host for once, and by peers when there is some. */
static void test_trial_without_memory(void **unused)
{
    (void)unused;
    struct two t = begin("devices=2", 0);
    static const char *const calls[] = {"cuMemAlloc", "cuStreamCreate"};
    for (size_t i = 0; i < 2; i++) {
        strictcuda_fail(calls[i], CU_ERROR_OUT_OF_MEMORY, 1);
        assert_true(copy(&t, t.dst, t.src, FERRY_PATH_BRIDGED) <= 1);
        assert_true(strictcuda_failed());
    }
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_PEER), 1);
    end(&t);
}

/* The source is written again, and let go, while the copy waits its turn. */
static void test_order(void **unused)
{
    (void)unused;
    struct two t = begin("devices=2,delay=300", 0);
    static unsigned char got[BYTES];
    assert_int_equal(copy(&t, t.dst, t.src, FERRY_PATH_PEER), 1);
    for (int i = 0; i < 20; i++) {
        const unsigned char was = (unsigned char)i, is = (unsigned char)(i + 100);
        ferry_ticket ticket;
        assert_int_equal(ferry_fill_buffer_async(t.src, BYTES, 0, &was, 1, NULL, NULL, NULL),
                         FERRY_OK);
        assert_int_equal(ferry_copy_buffer_async(t.dst, t.src, BYTES, 0, 0, NULL, NULL, &ticket),
                         FERRY_OK);
        assert_int_equal(ferry_fill_buffer_async(t.src, BYTES, 0, &is, 1, NULL, NULL, NULL),
                         FERRY_OK);
        assert_int_equal(ferry_copy_to_host(t.dst, got, BYTES, 0), FERRY_OK);
        for (size_t at = 0; at < BYTES; at++)
            if (got[at] != was)
                fail_msg("round %d: byte %zu is %d", i, at, got[at]);
        assert_int_equal(ferry_copy_to_host(t.src, got, 1, BYTES - 1), FERRY_OK);
        assert_int_equal(got[0], is);
    }
    assert_int_equal(ferry_copy_buffer_async(t.dst, t.src, BYTES, 0, 0, NULL, NULL, NULL),
                     FERRY_OK);
    ferry_buffer_destroy(t.src);
    t.src = NULL;
    assert_int_equal(ferry_copy_to_host(t.dst, got, BYTES, 0), FERRY_OK);
    assert_int_equal(got[BYTES - 1], 119);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),      cmocka_unit_test(test_opened_again),
        cmocka_unit_test(test_no_memory_each), cmocka_unit_test(test_trim),
        cmocka_unit_test(test_bridged),        cmocka_unit_test(test_trial_without_memory),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests_name("CUDA's peers", tests, NULL, NULL);
}
