/* Device memory: what is counted, kept for reuse, given back, and refused. */
#include "suite.h"

static struct ferry_memory_info memory_of(ferry_device *device)
{
    struct ferry_memory_info info;
    OK(ferry_device_get_memory(device, &info));
    return info;
}

static void test_numbers(void **state)
{
    struct fixture *fixture = *state;
    struct ferry_memory_info info = memory_of(fixture->device);
    assert_true(info.total > 0 && info.total == fixture->info.total_memory);
    assert_true(info.available <= info.total);
    assert_int_equal(info.in_use, 0);
    ferry_buffer *a = make_buffer(fixture->device, 1000, FERRY_STORAGE_PRIVATE);
    ferry_buffer *b = make_buffer(fixture->device, 70001, FERRY_STORAGE_SHARED);
    info = memory_of(fixture->device);
    assert_int_equal(info.in_use, 71001);
    assert_int_equal(info.peak, 71001);
    assert_int_equal(info.total_allocated, 71001);
    assert_int_equal(info.allocation_count, 2);
    assert_int_equal(info.total_freed, 0);
    ferry_buffer_destroy(b);
    info = memory_of(fixture->device);
    assert_int_equal(info.in_use, 1000);
    assert_int_equal(info.peak, 71001);
    assert_int_equal(info.total_freed, 70001);
    assert_int_equal(info.deallocation_count, 1);
    ferry_device_reset_stats(fixture->device);
    info = memory_of(fixture->device);
    assert_int_equal(info.peak, 1000);
    assert_int_equal(info.total_allocated, 0);
    assert_int_equal(info.allocation_count, 0);
    ferry_buffer_destroy(a);
    info = memory_of(fixture->device);
    assert_int_equal(info.in_use, 0);
    assert_int_equal(info.deallocation_count, 1);
}

/* A refused buffer counts for nothing. */
static void test_refused_counts_nothing(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = (ferry_buffer *)fixture;
    struct ferry_memory_info before = memory_of(fixture->device);
    IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
       ferry_buffer_create(fixture->device, &(struct ferry_buffer_params){.size = SIZE_MAX / 4},
                           &buffer));
    struct ferry_memory_info after = memory_of(fixture->device);
    assert_ptr_equal(buffer, fixture);
    assert_int_equal(before.in_use, after.in_use);
    assert_int_equal(before.allocation_count, after.allocation_count);
}

/* A buffer destroyed leaves its memory for the next of its kind; trim gives it back. */
static void test_pool(void **state)
{
    struct fixture *fixture = *state;
    size_t size = fixture->info.total_memory < 64u << 20 ? 300000 : 3000000;
    struct mirror mirror = make_mirror(fixture->device, size, FERRY_STORAGE_PRIVATE, 1);
    drop_mirror(&mirror);
    OK(ferry_wait_idle(fixture->device));
    assert_true(memory_of(fixture->device).pooled > 0);
    ferry_device_reset_stats(fixture->device);
    for (unsigned i = 0; i < 20; i++) {
        mirror = make_mirror(fixture->device, size, FERRY_STORAGE_PRIVATE, 2 + i);
        expect_mirror(&mirror);
        drop_mirror(&mirror);
    }
    struct ferry_stats stats = read_stats(fixture->device);
    assert_int_equal(stats.pool_hits, 20);
    assert_int_equal(stats.pool_misses, 0);
    OK(ferry_device_trim(fixture->device));
    assert_int_equal(memory_of(fixture->device).pooled, 0);
    mirror = make_mirror(fixture->device, size, FERRY_STORAGE_PRIVATE, 3);
    expect_mirror(&mirror);
    OK(ferry_device_trim(fixture->device));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* pool_budget 1 keeps none. */
static void test_no_pool(void **state)
{
    (void)state;
    struct ferry_device_params params = suite->params;
    params.pool_budget = 1;
    ferry_device *device = open_with(NULL, &params);
    for (unsigned i = 0; i < 5; i++) {
        struct mirror mirror = make_mirror(device, 1000000, FERRY_STORAGE_PRIVATE, i);
        expect_mirror(&mirror);
        drop_mirror(&mirror);
    }
    OK(ferry_wait_idle(device));
    assert_int_equal(memory_of(device).pooled, 0);
    ferry_device_close(device);
}

/* Trim waits for memory of buffers destroyed in flight. */
static void test_trim_waits(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 10; i++) {
        struct mirror mirror = make_mirror(fixture->device, 200000, FERRY_STORAGE_PRIVATE, i);
        OK(ferry_fill_buffer_async(mirror.buffer, 200000, 0, "t", 1, NULL, NULL, NULL));
        OK(ferry_copy_buffer_async(mirror.buffer, mirror.buffer, 100000, 0, 50001, NULL, NULL,
                                   NULL));
        drop_mirror(&mirror);
        OK(ferry_device_trim(fixture->device));
        assert_int_equal(memory_of(fixture->device).pooled, 0);
        assert_int_equal(memory_of(fixture->device).in_use, 0);
    }
}

/* Full: refused in words with the size, all that was there still good, and room again later. */
static void test_full(void **state)
{
    struct fixture *fixture = *state;
    suite_skip_unless(fixture->info.total_memory <= 64u << 20, "this device's memory is too large");
    enum { MANY = 300 };
    struct mirror mirrors[MANY];
    for (unsigned round = 0; round < 3; round++) {
        size_t size = round == 1 ? 250000 : 1000000;
        unsigned count = 0;
        enum ferry_status status = FERRY_OK;
        while (count < MANY) {
            ferry_buffer *buffer = NULL;
            status = ferry_buffer_create(fixture->device,
                                         &(struct ferry_buffer_params){.size = size}, &buffer);
            if (status != FERRY_OK)
                break;
            mirrors[count] = (struct mirror){buffer, scribbled(size, count), size};
            OK(ferry_copy_from_host(buffer, mirrors[count].bytes, size, 0));
            count++;
        }
        IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, status);
        expect_words("free");
        assert_true(count * size > fixture->info.total_memory / 4);
        for (unsigned i = 0; i < count; i++) {
            expect_mirror(&mirrors[i]);
            drop_mirror(&mirrors[i]);
        }
    }
}

/* Staging finds no memory while some lies in the pool: that is given back first. */
static void test_pool_yields(void **state)
{
    struct fixture *fixture = *state;
    const size_t size = fixture->info.total_memory < 64u << 20 ? 300000 : 3000000;
    unsigned yielded = 0;
    for (unsigned n = 1; n <= 6; n++) {
        char knobs[64];
        snprintf(knobs, sizeof knobs, "fail_alloc=%u", n);
        ferry_device *device = open_queued(knobs);
        struct ferry_buffer_params params = {.size = size};
        ferry_buffer *buffers[2] = {NULL, NULL};
        unsigned char byte = 7;
        for (unsigned i = 0; i < 2; i++) /* it fails once only */
            if (ferry_buffer_create(device, &params, &buffers[i]) != FERRY_OK)
                OK(ferry_buffer_create(device, &params, &buffers[i]));
        ferry_buffer_destroy(buffers[0]);
        uint64_t pooled = memory_of(device).pooled;
        if (pooled > 0) {
            OK(ferry_copy_from_host(buffers[1], &byte, 1, 0));
            yielded += memory_of(device).pooled < pooled;
        }
        ferry_buffer_destroy(buffers[1]);
        ferry_device_close(device);
    }
    if (suite->params.path != FERRY_PATH_IMPORTED && !suite->retries_memory)
        assert_true(yielded > 0);
}

/* Above the largest buffer: both sizes are named. */
static void test_above_largest(void **state)
{
    struct fixture *fixture = *state;
    uint64_t largest = fixture->info.max_buffer_size;
    suite_skip_unless(largest < SIZE_MAX / 2, "every size might do");
    ferry_buffer *buffer = NULL;
    char words[32];
    IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
       ferry_buffer_create(fixture->device,
                           &(struct ferry_buffer_params){.size = (size_t)largest + 1}, &buffer));
    snprintf(words, sizeof words, "%llu", (unsigned long long)largest + 1);
    expect_words(words);
    snprintf(words, sizeof words, "%llu", (unsigned long long)largest);
    expect_words(words);
    assert_null(buffer);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_numbers),       SUITE_TEST(test_refused_counts_nothing),
    SUITE_TEST(test_pool),          SUITE_TEST(test_no_pool),
    SUITE_TEST(test_trim_waits),    SUITE_TEST(test_full),
    SUITE_TEST(test_above_largest), SUITE_TEST(test_pool_yields),
};

SUITE_GROUP(memory);
