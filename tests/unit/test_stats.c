/* Metrics: shards of many threads, and resets. */
#include "base/base.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- counting --------------------------------------------------------------------------------- */

static struct ferry__metrics metrics;
static struct ferry_stats stats;

static int set_up(void **state)
{
    (void)state;
    return ferry__metrics_init(&metrics);
}

static int tear_down(void **state)
{
    (void)state;
    ferry__metrics_finish(&metrics);
    return 0;
}

static bool all_zero(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void counts_land_where_they_belong(void **state)
{
    (void)state;
    memset(&stats, 0xA5, sizeof stats);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    assert_true(all_zero(&stats, sizeof stats));
    for (unsigned o = 0; o < FERRY_OPERATION_COUNT; o++)
        for (unsigned p = 0; p < FERRY_PATH_COUNT; p++)
            ferry__count_many(&metrics, (enum ferry_operation)o, (enum ferry_path)p, p + 1,
                              100 * o + p + 1);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    for (unsigned o = 0; o < FERRY_OPERATION_COUNT; o++) {
        for (unsigned p = 0; p < FERRY_PATH_COUNT; p++) {
            struct ferry_operation_stats expected = {.operations = p + 1, .bytes = 100 * o + p + 1};
            assert_memory_equal(&stats.operations[o][p], &expected, sizeof expected);
        }
    }
}

/* Programs built against another header have another size: they get what both know. */
static void as_many_bytes_as_asked_for(void **state)
{
    (void)state;
    enum { MORE = 24 };
    static _Alignas(8) unsigned char out[sizeof stats + MORE];
    ferry__count_many(&metrics, FERRY_OPERATION_COPY, FERRY_PATH_STAGED, 3, 7);
    FERRY__ADD(&metrics, parked, 5);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    for (size_t size = 0; size <= sizeof stats; size += 52) {
        memset(out, 0xA5, sizeof out);
        ferry__metrics_read(&metrics, (struct ferry_stats *)(void *)out, size);
        assert_memory_equal(out, &stats, size);
        for (size_t i = 0; i < MORE; i++)
            assert_int_equal(out[size + i], 0xA5);
    }
    ferry__metrics_read(&metrics, (struct ferry_stats *)(void *)out, sizeof out);
    assert_memory_equal(out, &stats, sizeof stats);
    assert_true(all_zero(out + sizeof stats, MORE));
    struct ferry_operation_stats one;
    ferry__metrics_read_one(&metrics, FERRY_OPERATION_COPY, FERRY_PATH_STAGED, &one);
    assert_memory_equal(&one, &stats.operations[FERRY_OPERATION_COPY][FERRY_PATH_STAGED],
                        sizeof one);
    assert_true(one.operations >= 3);
}

static void times_land_in_their_buckets(void **state)
{
    (void)state;
    struct ferry_operation_stats expected = {0};
    for (unsigned i = 0; i < FERRY_TIME_BUCKETS; i++) {
        uint64_t limit = (uint64_t)FERRY_TIME_BUCKET_NS << (2 * i);
        for (int more = 0; more <= 1; more++) { /* at the limit, and one beyond it */
            ferry__count_timed(&metrics, FERRY_OPERATION_COPY, FERRY_PATH_DEVICE, 10, FERRY_OK,
                               limit + (unsigned)more);
            unsigned bucket = i + (unsigned)more;
            expected.buckets[bucket < FERRY_TIME_BUCKETS ? bucket : FERRY_TIME_BUCKETS - 1]++;
            expected.operations++;
            expected.timed++;
            expected.bytes += 10;
            expected.time_ns += limit + (unsigned)more;
        }
    }
    ferry__count_timed(&metrics, FERRY_OPERATION_COPY, FERRY_PATH_DEVICE, 10, FERRY_ERROR_IO, 0);
    expected.operations++;
    expected.errors++;
    expected.timed++;
    expected.buckets[0]++;
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    assert_memory_equal(&stats.operations[FERRY_OPERATION_COPY][FERRY_PATH_DEVICE], &expected,
                        sizeof expected);
}

enum { THREADS = 16, COUNTS = 5000 };

static void *count_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < COUNTS; i++) {
        ferry__count(&metrics, FERRY_OPERATION_UPLOAD, FERRY_PATH_DIRECT, 3);
        ferry__count_timed(&metrics, FERRY_OPERATION_FILL, FERRY_PATH_DEVICE, 5, FERRY_OK, 7);
        FERRY__ADD(&metrics, submissions, 2);
        ferry__raise(&metrics.now.memory_peak_bytes, i);
    }
    return NULL;
}

static void run_threads(unsigned count, void *(*run)(void *), void *arg)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, arg), 0);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void expect_many(uint64_t threads)
{
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    const struct ferry_operation_stats *upload =
        &stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT];
    const struct ferry_operation_stats *fill =
        &stats.operations[FERRY_OPERATION_FILL][FERRY_PATH_DEVICE];
    assert_int_equal(upload->operations, threads * COUNTS);
    assert_int_equal(upload->bytes, threads * COUNTS * 3);
    assert_int_equal(fill->timed, threads * COUNTS);
    assert_int_equal(fill->time_ns, threads * COUNTS * 7);
    assert_int_equal(fill->buckets[0], threads * COUNTS);
    assert_int_equal(stats.submissions, threads * COUNTS * 2);
    assert_int_equal(stats.memory_peak_bytes, COUNTS - 1);
}

static void many_threads(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 3; i++) { /* the shards of ended threads are taken over */
        run_threads(THREADS, count_many, NULL);
        expect_many(i * THREADS);
    }
}

/* Without memory for shards all threads count in the shared one. */
static void *count_without_memory(void *arg)
{
    for (unsigned i = 0; i < COUNTS; i++) {
        ferry__alloc_fail_at(1);
        ferry__count(&metrics, FERRY_OPERATION_UPLOAD, FERRY_PATH_DIRECT, 3);
    }
    return arg;
}

static void no_memory_for_a_shard(void **state)
{
    (void)state;
    count_without_memory(NULL);
    ferry__alloc_fail_at(0);
    unsigned number = ferry__thread_number();
    assert_true(number < FERRY__THREADS_MAX);
    assert_null(metrics.shards[number]);
    ferry__count(&metrics, FERRY_OPERATION_UPLOAD, FERRY_PATH_DIRECT, 3);
    assert_non_null(metrics.shards[number]);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    assert_int_equal(stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT].operations,
                     COUNTS + 1);
    assert_int_equal(stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT].bytes,
                     (COUNTS + 1) * 3);
    struct ferry__metrics none;
    ferry__alloc_fail_at(1);
    assert_int_equal(ferry__metrics_init(&none), ENOMEM);
    ferry__alloc_fail_at(0);
}

/* --- resets ----------------------------------------------------------------------------------- */

static void reset(void **state)
{
    (void)state;
    ferry__count(&metrics, FERRY_OPERATION_UPLOAD, FERRY_PATH_DIRECT, 3);
    FERRY__ADD(&metrics, submissions, 5);
    FERRY__ADD(&metrics, operations_in_flight, 4);
    FERRY__ADD(&metrics, staging_upload_bytes, 10);
    FERRY__ADD(&metrics, staging_readback_bytes, 20);
    FERRY__ADD(&metrics, memory_in_use_bytes, 30);
    ferry__raise(&metrics.now.staging_upload_peak_bytes, 100);
    ferry__raise(&metrics.now.staging_readback_peak_bytes, 200);
    ferry__raise(&metrics.now.memory_peak_bytes, 300);
    ferry__raise(&metrics.now.memory_peak_bytes, 299);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    assert_int_equal(stats.memory_peak_bytes, 300);
    ferry__metrics_reset(&metrics);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    struct ferry_stats expected = {.operations_in_flight = 4,
                                   .staging_upload_bytes = 10,
                                   .staging_upload_peak_bytes = 10,
                                   .staging_readback_bytes = 20,
                                   .staging_readback_peak_bytes = 20,
                                   .memory_in_use_bytes = 30,
                                   .memory_peak_bytes = 30};
    assert_memory_equal(&stats, &expected, sizeof stats);
    FERRY__ADD(&metrics, submissions, 1);
    FERRY__ADD(&metrics, operations_in_flight, -1);
    ferry__count(&metrics, FERRY_OPERATION_UPLOAD, FERRY_PATH_DIRECT, 4);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    assert_int_equal(stats.submissions, 1);
    assert_int_equal(stats.operations_in_flight, 3);
    assert_int_equal(stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT].operations, 1);
    assert_int_equal(stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT].bytes, 4);
}

/* What is read after a reset never exceeds what was counted: nothing is taken off twice. */
static void *reset_many(void *arg)
{
    bool *right = arg;
    struct ferry_stats now;
    for (unsigned i = 0; i < 200; i++) {
        ferry__metrics_reset(&metrics);
        ferry__metrics_read(&metrics, &now, sizeof now);
        *right = *right && now.submissions <= 4 * COUNTS * 2 &&
                 now.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT].operations <= 4 * COUNTS;
    }
    return NULL;
}

static void reset_while_counting(void **state)
{
    (void)state;
    bool right = true;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, reset_many, &right), 0);
    run_threads(4, count_many, NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(right);
    ferry__metrics_reset(&metrics);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    stats.memory_peak_bytes = 0;
    assert_true(all_zero(&stats, sizeof stats));
}

static void submissions(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 2, 4, 5, 4096, 4097, UINT64_MAX / 2};
    static const unsigned buckets[] = {0, 0, 1, 1, 2, 6, 7, 7};
    struct ferry_stats expected = {0};
    for (int round = 0; round < 2; round++) { /* the second after a reset */
        memset(&expected, 0, sizeof expected);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            ferry__count_submission(&metrics, sizes[i], 3);
            expected.submissions++;
            expected.submitted_operations += sizes[i];
            expected.submitted_commands += 3;
            expected.submission_operations[buckets[i]]++;
        }
        ferry__metrics_read(&metrics, &stats, sizeof stats);
        assert_memory_equal(&stats, &expected, sizeof stats);
        ferry__metrics_reset(&metrics);
    }
}

int main(void)
{
#define WITH_METRICS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_METRICS(counts_land_where_they_belong),
        WITH_METRICS(as_many_bytes_as_asked_for),
        WITH_METRICS(times_land_in_their_buckets),
        WITH_METRICS(many_threads),
        WITH_METRICS(no_memory_for_a_shard),
        WITH_METRICS(submissions),
        WITH_METRICS(reset),
        WITH_METRICS(reset_while_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
