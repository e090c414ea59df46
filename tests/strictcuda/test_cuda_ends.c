/* How the driver sees that a submission has ended, and by which engines one goes that changes
 * between them. */
#include "client.h"

#include <ferry/ferry.h>
#include <stdio.h>

enum { KIB = 1024, TIMES = 20, MOST = 512 * KIB };

#define OK(call) assert_int_equal((call), FERRY_OK)

static unsigned char bytes[MOST], got[MOST];

static ferry_device *open_with(const char *options, bool no_kernel)
{
    ferry_device *device = NULL;
    setenv("STRICTCUDA", options, 1);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "cuda", .no_kernel = no_kernel},
                         &device));
    for (size_t i = 0; i < MOST; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251 + 1);
    return device;
}

static ferry_buffer *make(ferry_device *device)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = MOST}, &buffer));
    return buffer;
}

static void close_all(ferry_device *device, ferry_buffer *buffer)
{
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    assert_int_equal(strictcuda_live(), 0);
}

/* --- ends -------------------------------------------------------------------------------------- */

/* So many small transfers that are waited for; how many values the device was to write. */
static uint64_t pass(ferry_buffer *buffer, size_t times)
{
    const uint64_t before = strictcuda_calls("cuStreamWriteValue64");
    for (size_t i = 0; i < times; i++) {
        OK(ferry_copy_from_host(buffer, bytes + i, 256, 0));
        memset(got, 0, 256);
        OK(ferry_copy_to_host(buffer, got, 256, 0));
        assert_memory_equal(got, bytes + i, 256);
    }
    return strictcuda_calls("cuStreamWriteValue64") - before;
}

static void test_written(void **unused)
{
    (void)unused;
    static const struct {
        const char *options;
        bool writes;
    } ways[] = {{"", true}, {"delay=200", true}, {"nowrite", false}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        ferry_device *device = open_with(ways[i].options, false);
        ferry_buffer *buffer = make(device);
        assert_int_equal(pass(buffer, TIMES), ways[i].writes ? 2 * TIMES : 0);
        close_all(device, buffer);
    }
}

/* Where there is no memory for the words, or a value cannot be written, CUDA is asked. */
static void test_not_written(void **unused)
{
    (void)unused;
    strictcuda_fail("cuMemHostAlloc", CU_ERROR_OUT_OF_MEMORY, 1);
    ferry_device *device = open_with("", false);
    assert_true(strictcuda_failed());
    ferry_buffer *buffer = make(device);
    assert_int_equal(pass(buffer, TIMES), 0);
    close_all(device, buffer);

    device = open_with("", false);
    buffer = make(device);
    for (uint64_t n = 1; n <= 4; n++) {
        strictcuda_fail("cuStreamWriteValue64", CU_ERROR_NOT_SUPPORTED, n);
        assert_int_equal(pass(buffer, 2), 4);
        assert_true(strictcuda_failed());
    }
    close_all(device, buffer);
}

/* A fault ends no copy, and no value comes. */
static void test_lost(void **unused)
{
    (void)unused;
    ferry_device *device = open_with("delay=0", false);
    ferry_buffer *buffer = make(device);
    ferry_ticket ticket;
    assert_int_equal(pass(buffer, 1), 2);
    strictcuda_pause(true);
    OK(ferry_copy_from_host_async(buffer, bytes, 256, 0, NULL, NULL, &ticket));
    strictcuda_fault(CU_ERROR_ECC_UNCORRECTABLE);
    strictcuda_pause(false);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_ERROR_DEVICE_LOST);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

/* --- changes of engine ------------------------------------------------------------------------- */

struct calls {
    uint64_t copies, launches;
};

static struct calls calls_now(void)
{
    return (struct calls){strictcuda_calls("cuMemcpyAsync"), strictcuda_calls("cuLaunchKernel")};
}

/* Up and down again in one submission; what that took. */
static struct calls turn(ferry_device *device, ferry_buffer *buffer, size_t size)
{
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(device, &batch));
    OK(ferry_batch_copy_from_host(batch, buffer, bytes, size, 0));
    OK(ferry_batch_copy_to_host(batch, buffer, got, size, 0));
    memset(got, 0, size);
    const struct calls before = calls_now();
    OK(ferry_batch_run(batch));
    const struct calls after = calls_now();
    assert_memory_equal(got, bytes, size);
    ferry_batch_destroy(batch);
    return (struct calls){after.copies - before.copies, after.launches - before.launches};
}

static void test_changes(void **unused)
{
    (void)unused;
    static const struct {
        size_t size;
        bool by_kernel;
    } sizes[] = {{256, false},         {16 * KIB, false}, {16 * KIB + 1, true},
                 {32 * KIB + 5, true}, {256 * KIB, true}, {256 * KIB + 1, false}};
    for (int no_kernel = 0; no_kernel < 2; no_kernel++) {
        ferry_device *device = open_with("", no_kernel);
        ferry_buffer *buffer = make(device);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const struct calls calls = turn(device, buffer, sizes[i].size);
            const bool by_kernel = sizes[i].by_kernel && !no_kernel;
            assert_int_equal(calls.launches, by_kernel ? 2 : 0);
            assert_int_equal(calls.copies, by_kernel ? 0 : 2);
        }
        /* Nor is the user's own memory touched by kernels that read more than its bytes. */
        OK(ferry_host_register(device, bytes, MOST, 0));
        assert_int_equal(turn(device, buffer, 32 * KIB).launches, no_kernel ? 0 : 1);
        OK(ferry_host_unregister(device, bytes));
        /* One way alone changes nothing. */
        const struct calls before = calls_now();
        OK(ferry_copy_from_host(buffer, bytes, 32 * KIB, 1));
        OK(ferry_copy_to_host(buffer, got, 32 * KIB, 1));
        assert_memory_equal(got, bytes, 32 * KIB);
        const struct calls after = calls_now();
        assert_int_equal(after.launches, before.launches);
        assert_int_equal(after.copies, before.copies + 2);
        close_all(device, buffer);
    }
}

int main(void)
{
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_not_written),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_changes),
    };
    return cmocka_run_group_tests_name("CUDA ends", tests, NULL, NULL);
}
