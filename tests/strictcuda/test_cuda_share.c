/* Memory that others have too, on CUDA: Vulkan's taken in, and what becomes of it when a call fails.
 * The bytes are the suite's (share) and test_share's. */
#define _GNU_SOURCE /* F_DUPFD_CLOEXEC */
#include "client.h"

#include <fcntl.h>
#include <ferry/ferry.h>
#include <unistd.h>

enum { BYTES = 100003, FDS = 512 };

static ferry_device *open_cuda(const char *options)
{
    ferry_device *device = NULL;
    setenv("STRICTCUDA", options, 1);
    strictcuda_record(true);
    strictcuda_forget();
    if (ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &device))
        fail_msg("%s", ferry_last_error());
    return device;
}

static void close_cuda(ferry_device *device)
{
    ferry_device_close(device);
    assert_broken(0, 0);
    assert_int_equal(strictcuda_live(), 0);
}

static enum ferry_status make(ferry_device *device, ferry_buffer **out)
{
    return ferry_buffer_create(
        device, &(struct ferry_buffer_params){.size = BYTES, .flags = FERRY_BUFFER_EXPORTABLE},
        out);
}

static enum ferry_status take(ferry_device *device, int fd, size_t size, ferry_buffer **out)
{
    return ferry_buffer_import(device,
                               &(struct ferry_import_params){
                                   .handle = FERRY_HANDLE_OPAQUE_FD, .fd = fd, .memory_size = size},
                               out);
}

static size_t open_fds(void)
{
    size_t count = 0;
    for (int fd = 0; fd < FDS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void round_trip(ferry_buffer *to, ferry_buffer *from, unsigned char seed)
{
    static unsigned char bytes[BYTES], got[BYTES];
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (unsigned char)(i * 3 + seed);
    assert_int_equal(ferry_copy_from_host(to, bytes, BYTES, 0), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(from, got, BYTES, 0), FERRY_OK);
    assert_memory_equal(bytes, got, BYTES);
}

/* Vulkan's memory, of a size that is no granule's and of one that is. */
static void test_external(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {100096, 4 << 20};
    ferry_device *device = open_cuda("");
    const size_t before = open_fds();
    for (size_t i = 0; i < 2; i++) {
        const int fd = strictcuda_external(sizes[i]);
        ferry_buffer *first = NULL, *second = NULL, *third = NULL;
        assert_int_equal(take(device, fd, sizes[i], &first), FERRY_OK);
        assert_int_equal(take(device, fd, sizes[i], &second), FERRY_OK);
        assert_int_equal(take(device, fd, sizes[i] + 256, &third), FERRY_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(ferry_last_error(), "cuImportExternalMemory"));
        close(fd);
        round_trip(first, second, 1);
        int on = -1;
        size_t size, offset;
        assert_int_equal(ferry_buffer_export(first, FERRY_HANDLE_OPAQUE_FD, &on, &size, &offset),
                         FERRY_OK);
        assert_int_equal(size, sizes[i]);
        assert_int_equal(take(device, on, size, &third), FERRY_OK);
        close(on);
        ferry_buffer_destroy(first);
        round_trip(third, second, 2);
        ferry_buffer_destroy(second);
        ferry_buffer_destroy(third);
    }
    assert_int_equal(ferry_device_trim(device), FERRY_OK);
    assert_int_equal(open_fds(), before);
    close_cuda(device);
}

static void test_dma_buf(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("");
    ferry_buffer *buffer = NULL, *none = NULL;
    int fd = -1;
    size_t size, offset;
    assert_int_equal(make(device, &buffer), FERRY_OK);
    assert_int_equal(ferry_buffer_export(buffer, FERRY_HANDLE_DMA_BUF, &fd, &size, &offset),
                     FERRY_OK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(
        ferry_buffer_import(device,
                            &(struct ferry_import_params){
                                .handle = FERRY_HANDLE_DMA_BUF, .fd = fd, .memory_size = size},
                            &none),
        FERRY_ERROR_UNSUPPORTED);
    close(fd);
    assert_int_equal(ferry_buffer_export(buffer, FERRY_HANDLE_OPAQUE_FD, &fd, &size, &offset),
                     FERRY_OK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    ferry_buffer_destroy(buffer);
    close_cuda(device);
}

static void test_no_descriptors(void **unused)
{
    (void)unused;
    ferry_device *device = open_cuda("noshare");
    ferry_buffer *buffer = NULL;
    assert_int_equal(make(device, &buffer), FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ferry_last_error(), "by descriptors"));
    close_cuda(device);
}

/* Each call of CUDA's fails once: nothing is left of what was being made, and the next attempt goes
 * well. */
static void test_failing_calls(void **unused)
{
    (void)unused;
    static const struct {
        const char *call;
        bool import, external, goes_on; /* goes_on: another way is left */
    } cases[] = {
        {"cuMemGetAllocationGranularity", false, false, false},
        {"cuMemCreate", false, false, false},
        {"cuMemAddressReserve", false, false, false},
        {"cuMemMap", false, false, false},
        {"cuMemSetAccess", false, false, false},
        {"cuMemImportFromShareableHandle", true, false, false},
        {"cuMemAddressReserve", true, false, false},
        {"cuMemMap", true, false, false},
        {"cuMemSetAccess", true, false, false},
        {"cuMemImportFromShareableHandle", true, true, true},
        {"cuImportExternalMemory", true, true, false},
        {"cuExternalMemoryGetMappedBuffer", true, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ferry_device *device = open_cuda("");
        ferry_buffer *source = NULL, *buffer = NULL;
        size_t size = 4 << 20, offset = 0;
        int fd = -1;
        assert_int_equal(make(device, &source), FERRY_OK);
        if (cases[i].external)
            fd = strictcuda_external(size);
        else
            assert_int_equal(
                ferry_buffer_export(source, FERRY_HANDLE_OPAQUE_FD, &fd, &size, &offset), FERRY_OK);
        const size_t before = open_fds(), live = strictcuda_live();
        strictcuda_fail(cases[i].call, CU_ERROR_OPERATING_SYSTEM, 1);
        const enum ferry_status status =
            cases[i].import ? take(device, fd, size, &buffer) : make(device, &buffer);
        assert_true(strictcuda_failed());
        if (!cases[i].goes_on != (status != FERRY_OK))
            fail_msg("%s: %d: %s", cases[i].call, (int)status, ferry_last_error());
        ferry_buffer_destroy(buffer);
        assert_int_equal(ferry_device_trim(device), FERRY_OK);
        assert_int_equal(open_fds(), before);
        assert_int_equal(strictcuda_live(), live);
        assert_int_equal(cases[i].import ? take(device, fd, size, &buffer) : make(device, &buffer),
                         FERRY_OK);
        round_trip(buffer, buffer, 3);
        ferry_buffer_destroy(buffer);
        close(fd);
        ferry_buffer_destroy(source);
        close_cuda(device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_external),
        cmocka_unit_test(test_dma_buf),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_failing_calls),
    };
    return cmocka_run_group_tests_name("CUDA's sharing", tests, NULL, NULL);
}
