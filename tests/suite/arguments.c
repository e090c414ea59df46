/* Bad input: refused with words and numbers, outputs untouched, nothing changed. */
#include "suite.h"

static void test_null_handles(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = fixture->device;
    ferry_buffer *buffer = NULL, *good = make_buffer(device, 100, FERRY_STORAGE_SHARED);
    ferry_batch *batch = NULL;
    unsigned char bytes[16];
    void *contents = NULL;
    struct ferry_memory_info info;
    const struct ferry_buffer_params params = {.size = 16};
    const enum ferry_status seen[] = {
        ferry_buffer_create(NULL, &params, &buffer),
        ferry_buffer_create(device, NULL, &buffer),
        ferry_buffer_create(device, &params, NULL),
        ferry_buffer_contents(NULL, &contents),
        ferry_buffer_contents(good, NULL),
        ferry_buffer_wait(NULL, 0),
        ferry_copy_from_host(NULL, bytes, 16, 0),
        ferry_copy_to_host(NULL, bytes, 16, 0),
        ferry_copy_buffer(NULL, good, 16, 0, 0),
        ferry_copy_buffer(good, NULL, 16, 0, 0),
        ferry_zero_buffer(NULL),
        ferry_fill_buffer(NULL, 16, 0, "a", 1),
        ferry_copy_from_host_async(NULL, bytes, 16, 0, NULL, NULL, NULL),
        ferry_copy_to_host_async(NULL, bytes, 16, 0, NULL, NULL, NULL),
        ferry_copy_buffer_async(NULL, good, 16, 0, 0, NULL, NULL, NULL),
        ferry_zero_buffer_async(NULL, NULL, NULL, NULL),
        ferry_fill_buffer_async(NULL, 16, 0, "a", 1, NULL, NULL, NULL),
        ferry_batch_create(NULL, &batch),
        ferry_batch_create(device, NULL),
        ferry_batch_copy_from_host(NULL, good, bytes, 16, 0),
        ferry_batch_zero_buffer(NULL, good),
        ferry_batch_submit(NULL, NULL, NULL, NULL),
        ferry_wait(NULL, 0, 0),
        ferry_poll(NULL, 0),
        ferry_wait_idle(NULL),
        ferry_device_trim(NULL),
        ferry_device_get_memory(NULL, &info),
        ferry_device_get_memory(device, NULL),
        ferry_stats_format(NULL, FERRY_STATS_JSON, NULL, 0, NULL),
    };
    for (unsigned i = 0; i < sizeof seen / sizeof seen[0]; i++)
        if (seen[i] != FERRY_ERROR_INVALID_ARGUMENT)
            fail_msg("NULL call %u: %s", i, ferry_status_name(seen[i]));
    assert_null(buffer);
    assert_null(batch);
    assert_null(contents);
    ferry_buffer_destroy(good);
}

/* What returns nothing takes NULL and does nothing. */
static void test_null_to_void(void **state)
{
    struct fixture *fixture = *state;
    struct ferry_stats stats;
    struct ferry_device_info info;
    memset(&info, 0xEE, sizeof info);
    ferry_device_get_info(NULL, &info);
    ferry_device_get_info(fixture->device, NULL);
    ferry_device_get_stats(NULL, &stats, sizeof stats);
    ferry_device_get_stats(fixture->device, NULL, sizeof stats);
    ferry_device_reset_stats(NULL);
    ferry_host_free(NULL, NULL);
    assert_int_equal(ferry_buffer_size(NULL), 0);
    assert_null(ferry_buffer_device(NULL));
}

static void test_null_host_pointers(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 1);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_from_host(mirror.buffer, NULL, 1, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_to_host(mirror.buffer, NULL, 1, 0));
    OK(ferry_copy_from_host(mirror.buffer, NULL, 0, 0));
    OK(ferry_copy_to_host(mirror.buffer, NULL, 0, 100));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Past the end, by one byte, by much, and by wrapping; also for size 0. */
static void test_ranges(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        size_t size, offset;
    } bad[] = {{101, 0},
               {1, 100},
               {100, 1},
               {0, 101},
               {2, 99},
               {SIZE_MAX, 0},
               {SIZE_MAX, 1},
               {1, SIZE_MAX},
               {0, SIZE_MAX},
               {SIZE_MAX, 50},
               {SIZE_MAX - 49, 50},
               {SIZE_MAX / 2 + 1, SIZE_MAX / 2}};
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 2);
    struct mirror other = make_mirror(fixture->device, 100, FERRY_STORAGE_SHARED, 3);
    unsigned char bytes[100];
    memset(bytes, 0x5A, sizeof bytes);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t size = bad[i].size, offset = bad[i].offset;
        enum ferry_status want = FERRY_ERROR_OUT_OF_RANGE;
        IS(want, ferry_copy_from_host(mirror.buffer, bytes, size, offset));
        IS(want, ferry_copy_to_host(mirror.buffer, bytes, size, offset));
        IS(want, ferry_fill_buffer(mirror.buffer, size, offset, "a", 1));
        IS(want, ferry_copy_buffer(mirror.buffer, other.buffer, size, offset, 0));
        IS(want, ferry_copy_buffer(mirror.buffer, other.buffer, size, 0, offset));
        IS(want, ferry_copy_buffer(mirror.buffer, mirror.buffer, size, 0, offset));
        IS(want, ferry_copy_from_host(mirror.buffer, NULL, size, offset));
        IS(want, ferry_copy_to_host_async(mirror.buffer, bytes, size, offset, NULL, NULL, NULL));
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], 0x5A);
    expect_mirror(&mirror);
    expect_mirror(&other);
    drop_mirror(&mirror);
    drop_mirror(&other);
}

static void test_words(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = NULL;
    unsigned char byte = 0;
    OK(ferry_buffer_create(
        fixture->device, &(struct ferry_buffer_params){.size = 4096, .label = "weights"}, &buffer));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_host(buffer, &byte, 4097, 12));
    expect_words("4097");
    expect_words("12");
    expect_words("4096");
    expect_words("weights");
    ferry_buffer_destroy(buffer);
}

static void test_patterns(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 4);
    unsigned char pattern[32] = {0};
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_fill_buffer(mirror.buffer, 10, 0, pattern, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_fill_buffer(mirror.buffer, 10, 0, pattern, 17));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_fill_buffer(mirror.buffer, 10, 0, pattern, SIZE_MAX));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_fill_buffer(mirror.buffer, 10, 0, NULL, 1));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_fill_buffer_async(mirror.buffer, 10, 0, pattern, 17, NULL, NULL, NULL));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_buffers(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = NULL;
    static const size_t absurd[] = {SIZE_MAX, SIZE_MAX - 255, SIZE_MAX - 4096, SIZE_MAX / 2 + 1,
                                    (size_t)1 << 50};
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_create(fixture->device, &(struct ferry_buffer_params){.size = 0}, &buffer));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_create(
           fixture->device,
           &(struct ferry_buffer_params){.size = 10, .storage = (enum ferry_storage)9}, &buffer));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_create(fixture->device,
                           &(struct ferry_buffer_params){.size = 10, .reserved = {1}}, &buffer));
    for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        for (size_t s = 0; s < 2; s++)
            IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
               ferry_buffer_create(fixture->device,
                                   &(struct ferry_buffer_params){.size = absurd[i],
                                                                 .storage = suite_storages[s],
                                                                 .zeroed = i % 2},
                                   &buffer));
    }
    assert_null(buffer);
}

/* A label may be long or strange; what is said of it stays one line. */
static void test_labels(void **state)
{
    struct fixture *fixture = *state;
    char label[1000];
    memset(label, 'L', sizeof label);
    label[sizeof label - 1] = '\0';
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(fixture->device,
                           &(struct ferry_buffer_params){.size = 10, .label = label}, &buffer));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_fill_buffer(buffer, 11, 0, "a", 1));
    expect_words("LLLL");
    ferry_buffer_destroy(buffer);
    OK(ferry_buffer_create(fixture->device,
                           &(struct ferry_buffer_params){.size = 10, .label = "%s%n"}, &buffer));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_fill_buffer(buffer, 11, 0, "a", 1));
    ferry_buffer_destroy(buffer);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_null_handles),
    SUITE_TEST(test_null_to_void),
    SUITE_TEST(test_null_host_pointers),
    SUITE_TEST(test_ranges),
    SUITE_TEST(test_words),
    SUITE_TEST(test_patterns),
    SUITE_TEST(test_buffers),
    SUITE_TEST(test_labels),
};

SUITE_GROUP(arguments);
