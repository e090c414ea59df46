/* Statistics: every operation is counted once, with its bytes, on the path it took. */
#include "suite.h"

static void expect_count(const struct ferry_stats *stats, enum ferry_operation operation,
                         uint64_t operations, uint64_t bytes)
{
    assert_int_equal(count_operations(stats, operation), operations);
    assert_int_equal(count_bytes(stats, operation), bytes);
}

static void test_counts(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 70000, FERRY_STORAGE_PRIVATE, 1);
    ferry_batch *batch = NULL;
    unsigned char *got = xmalloc(70000);
    uint64_t bytes = 0, operations = 0;
    OK(ferry_batch_create(fixture->device, &batch));
    ferry_device_reset_stats(fixture->device);
    for (size_t i = 0; i < suite_size_count; i++) {
        size_t size = suite_sizes[i];
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, size, 3));
        OK(ferry_copy_from_host_async(mirror.buffer, mirror.bytes, size, 3, NULL, NULL, NULL));
        OK(ferry_batch_copy_from_host(batch, mirror.buffer, mirror.bytes, size, 3));
        OK(ferry_copy_to_host(mirror.buffer, got, size, 3));
        OK(ferry_copy_to_host_async(mirror.buffer, got, size, 3, NULL, NULL, NULL));
        OK(ferry_batch_copy_to_host(batch, mirror.buffer, got, size, 3));
        OK(ferry_copy_buffer(mirror.buffer, mirror.buffer, size, 0, 5));
        OK(ferry_copy_buffer_async(mirror.buffer, mirror.buffer, size, 0, 5, NULL, NULL, NULL));
        OK(ferry_batch_copy_buffer(batch, mirror.buffer, mirror.buffer, size, 0, 5));
        OK(ferry_fill_buffer(mirror.buffer, size, 7, "abc", 3));
        OK(ferry_fill_buffer_async(mirror.buffer, size, 7, "abc", 3, NULL, NULL, NULL));
        OK(ferry_batch_fill_buffer(batch, mirror.buffer, size, 7, "abc", 3));
        OK(ferry_batch_submit(batch, NULL, NULL, NULL));
        OK(ferry_wait_idle(fixture->device));
        bytes += 3 * size;
        operations += 3;
    }
    OK(ferry_zero_buffer(mirror.buffer));
    struct ferry_stats stats = read_stats(fixture->device);
    expect_count(&stats, FERRY_OPERATION_UPLOAD, operations, bytes);
    expect_count(&stats, FERRY_OPERATION_DOWNLOAD, operations, bytes);
    expect_count(&stats, FERRY_OPERATION_COPY, operations, bytes);
    expect_count(&stats, FERRY_OPERATION_FILL, operations + 1, bytes + 70000);
    assert_int_equal(stats.batches, suite_size_count);
    assert_int_equal(stats.operations_in_flight, 0);
    for (int op = 0; op < FERRY_OPERATION_COUNT; op++) {
        assert_int_equal(stats.operations[op][FERRY_PATH_NONE].bytes, 0);
        assert_true(stats.operations[op][FERRY_PATH_NONE].operations >= 3);
        for (int path = 0; path < FERRY_PATH_COUNT; path++) {
            const struct ferry_operation_stats *one = &stats.operations[op][path];
            uint64_t timed = 0;
            for (int i = 0; i < FERRY_TIME_BUCKETS; i++)
                timed += one->buckets[i];
            assert_true(one->timed == timed && timed <= one->operations);
            assert_int_equal(one->errors, 0);
        }
    }
    free(got);
    ferry_batch_destroy(batch);
    drop_mirror(&mirror);
}

/* The planner's own paths: between buffers it is the device, and nothing is nothing. */
static void test_paths(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 9000, FERRY_STORAGE_PRIVATE, 2);
    ferry_device_reset_stats(fixture->device);
    OK(ferry_copy_from_host(mirror.buffer, NULL, 0, 0));
    OK(ferry_copy_buffer(mirror.buffer, mirror.buffer, 4096, 4096, 0));
    struct ferry_stats stats = read_stats(fixture->device);
    assert_int_equal(stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_NONE].operations, 1);
    const struct ferry_operation_stats *copies = stats.operations[FERRY_OPERATION_COPY];
    assert_int_equal(copies[FERRY_PATH_DEVICE].operations + copies[FERRY_PATH_DIRECT].operations,
                     1);
    assert_int_equal(copies[FERRY_PATH_DEVICE].bytes + copies[FERRY_PATH_DIRECT].bytes, 4096);
    drop_mirror(&mirror);
}

static void test_reset(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 9000, FERRY_STORAGE_PRIVATE, 3);
    expect_mirror(&mirror);
    assert_true(read_stats(fixture->device).allocations == 1);
    ferry_device_reset_stats(fixture->device);
    struct ferry_stats stats = read_stats(fixture->device);
    for (int op = 0; op < FERRY_OPERATION_COUNT; op++) {
        assert_int_equal(count_operations(&stats, (enum ferry_operation)op), 0);
        assert_int_equal(count_bytes(&stats, (enum ferry_operation)op), 0);
    }
    assert_int_equal(stats.submissions, 0);
    assert_int_equal(stats.submitted_commands, 0);
    assert_int_equal(stats.allocations, 0);
    assert_int_equal(stats.memory_in_use_bytes, 9000);
    assert_int_equal(stats.memory_peak_bytes, 9000);
    assert_int_equal(stats.staging_upload_bytes, stats.staging_upload_peak_bytes);
    drop_mirror(&mirror);
}

/* A program built against an older header gets what it knows, and no byte more. */
static void test_size(void **state)
{
    struct fixture *fixture = *state;
    struct ferry_stats stats;
    unsigned char *bytes = (unsigned char *)&stats;
    static const size_t sizes[] = {0, 1, 8, 100, sizeof stats - 8};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(&stats, 0xEE, sizeof stats);
        ferry_device_get_stats(fixture->device, &stats, sizes[i]);
        for (size_t k = sizes[i]; k < sizeof stats; k++)
            assert_int_equal(bytes[k], 0xEE);
    }
}

static void test_format(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 9000, FERRY_STORAGE_PRIVATE, 4);
    struct ferry_stats stats = read_stats(fixture->device);
    static const enum ferry_stats_format formats[] = {FERRY_STATS_PROMETHEUS, FERRY_STATS_JSON};
    for (size_t i = 0; i < 2; i++) {
        size_t size = 0, again = 0;
        OK(ferry_stats_format(&stats, formats[i], NULL, 0, &size));
        assert_true(size > 100);
        char *text = xmalloc(size + 2), *part = xmalloc(size + 2);
        memset(text, 0x7F, size + 2);
        OK(ferry_stats_format(&stats, formats[i], text, size + 1, &again));
        assert_int_equal(again, size);
        assert_int_equal(strlen(text), size);
        assert_int_equal(text[size + 1], 0x7F);
        assert_non_null(strstr(text, "submissions"));
        memset(part, 0x7F, size + 2);
        OK(ferry_stats_format(&stats, formats[i], part, 50, &again));
        assert_int_equal(again, size);
        assert_int_equal(part[49], '\0');
        assert_int_equal(part[50], 0x7F);
        assert_memory_equal(part, text, 49);
        free(text);
        free(part);
    }
    drop_mirror(&mirror);
}

static void test_external_and_callbacks(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 5);
    struct note notes[3];
    ferry_device_reset_stats(fixture->device);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    for (unsigned i = 0; i < 3; i++) {
        note_init(&notes[i]);
        OK(ferry_zero_buffer_async(mirror.buffer, note_callback, &notes[i], NULL));
    }
    assert_true(read_stats(fixture->device).operations_in_flight >= 3);
    release(fixture->device, &held);
    OK(ferry_wait_idle(fixture->device));
    struct ferry_stats stats = read_stats(fixture->device);
    assert_int_equal(stats.external_works, 1);
    assert_int_equal(stats.callbacks, 3);
    assert_int_equal(stats.parked, 3);
    assert_int_equal(stats.operations_in_flight, 0);
    drop_mirror(&mirror);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_counts), SUITE_TEST(test_paths),  SUITE_TEST(test_reset),
    SUITE_TEST(test_size),   SUITE_TEST(test_format), SUITE_TEST(test_external_and_callbacks),
};

SUITE_GROUP(stats);
