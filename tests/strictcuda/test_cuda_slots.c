/* Slots that files are read into: huge pages of Ferry's that CUDA registers, or CUDA's own memory
 * where it refuses; the bytes arrive either way, and nothing is left over. */
#include "client.h"

#include "base/pages.h"

#include <ferry/ferry.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BYTES = 11 * 1024 * 1024 + 77, ROUNDS = 8, MOST = 12 };

static unsigned char bytes[BYTES], got[BYTES];

#define OK(call) assert_int_equal((call), FERRY_OK)

static bool has_huge_pages(void)
{
    bool huge = false;
    void *pages = ferry__pages_map(FERRY__HUGE_PAGE, &huge);
    if (pages)
        munmap(pages, FERRY__HUGE_PAGE);
    return huge;
}

static int make_file(void)
{
    char path[] = "/tmp/ferry-slots-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 4096);
    assert_int_equal(pwrite(fd, bytes, BYTES, 0), BYTES);
    return fd;
}

static ferry_device *open_device(void)
{
    ferry_device *device = NULL;
    setenv("STRICTCUDA", "delay=0", 1);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &device));
    return device;
}

/* A file to private memory and back into another. */
static enum ferry_status move(ferry_device *device, int fd)
{
    ferry_buffer *buffer = NULL;
    FILE *out = tmpfile();
    assert_non_null(out);
    enum ferry_status status =
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = BYTES}, &buffer);
    if (!status)
        status = ferry_copy_from_file(buffer, fd, 0, BYTES, 0);
    if (!status)
        status = ferry_copy_to_file(buffer, fileno(out), 0, BYTES, 0);
    if (!status) {
        memset(got, 0, BYTES);
        assert_int_equal(pread(fileno(out), got, BYTES, 0), BYTES);
        assert_memory_equal(got, bytes, BYTES);
    }
    ferry_buffer_destroy(buffer);
    fclose(out);
    return status;
}

/* Devices follow each other, so that addresses come again whose registration ends meanwhile. */
static void test_registered(void **state)
{
    const int fd = make_file();
    const uint64_t unmapped = strictcuda_unmapped();
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        ferry_device *device = open_device();
        const uint64_t registers = strictcuda_calls("cuMemHostRegister");
        const uint64_t allocs = strictcuda_calls("cuMemHostAlloc");
        OK(move(device, fd));
        const bool registered = strictcuda_calls("cuMemHostRegister") > registers;
        const bool allocated = strictcuda_calls("cuMemHostAlloc") > allocs;
        assert_int_equal(registered, has_huge_pages());
        assert_int_equal(allocated, !has_huge_pages());
        ferry_device_close(device);
        assert_int_equal(strictcuda_live(), 0);
    }
    assert_int_equal(strictcuda_unmapped(), unmapped);
    close(fd);
}

/* CUDA refuses, each call in turn: the slot is memory of its own. */
static void test_refused(void **state)
{
    const int fd = make_file();
    unsigned refused = 0;
    (void)state;
    for (uint64_t n = 1; n <= MOST; n++) {
        ferry_device *device = open_device();
        const uint64_t allocs = strictcuda_calls("cuMemHostAlloc");
        strictcuda_fail("cuMemHostRegister", CU_ERROR_INVALID_VALUE, n);
        OK(move(device, fd));
        if (strictcuda_failed()) {
            refused++;
            assert_true(strictcuda_calls("cuMemHostAlloc") > allocs);
        }
        strictcuda_fail("cuMemHostRegister", 0, 0);
        ferry_device_close(device);
        assert_int_equal(strictcuda_live(), 0);
    }
    assert_int_equal(refused > 0, has_huge_pages());
    close(fd);
}

int main(void)
{
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registered),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("CUDA slots", tests, NULL, NULL);
}
