/* Files, host memory, external work, metrics, forks, closed devices. */
#include "promises.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 20000 };

/* --- files ----------------------------------------------------------------------------------------- */

static int file_of(const void *bytes, size_t size)
{
    char name[] = "/tmp/ferry-promise-XXXXXX";
    const int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(write(fd, bytes, size), size);
    return fd;
}

/* "Its own position is neither used nor moved." "IO: the file ends before file_offset + size". */
static void test_files(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 1);
    unsigned char *bytes = scribbled(SIZE, 2), *got = xmalloc(SIZE);
    const int fd = file_of(bytes, SIZE);
    lseek(fd, 77, SEEK_SET);
    OK(ferry_copy_from_file(mirror.buffer, fd, 100, 5000, 3));
    memcpy(mirror.bytes + 3, bytes + 100, 5000);
    expect_mirror(&mirror);
    OK(ferry_copy_to_file(mirror.buffer, fd, 11000, 600, 5));
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 77);
    assert_int_equal(pread(fd, got, 600, 11000), 600);
    expect_bytes(got, mirror.bytes + 5, 600, "the file");
    IS(FERRY_ERROR_IO, ferry_copy_from_file(mirror.buffer, fd, SIZE - 5, 6, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_from_file(mirror.buffer, -1, 0, 1, 0));
    expect_mirror(&mirror);
    close(fd);
    free(bytes);
    free(got);
    drop_mirror(&mirror);
}

/* --- host memory ----------------------------------------------------------------------------------- */

/* "Page-aligned [...] host memory"; "Memory that operations still use is freed after them." */
static void test_host_alloc(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 3);
    void *memory = NULL;
    OK(ferry_host_alloc(fixture->device, SIZE, &memory));
    assert_int_equal((uintptr_t)memory % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
    scribble(memory, SIZE, 4);
    scribble(mirror.bytes, SIZE, 4);
    OK(ferry_copy_from_host_async(mirror.buffer, memory, SIZE, 0, NULL, NULL, NULL));
    ferry_host_free(fixture->device, memory);
    expect_mirror(&mirror);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_alloc(fixture->device, 0, &memory));
    drop_mirror(&mirror);
}

/* "Any address and size. Where the device cannot import it this succeeds all the same, is counted as a
 * fallback [...]. Ranges that overlap a registered one are INVALID_ARGUMENT."; "memory: the exact
 * address that was registered." */
static void test_register(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 5);
    unsigned char *memory = scribbled(2 * SIZE, 6);
    ferry_device_reset_stats(fixture->device);
    OK(ferry_host_register(fixture->device, memory + 13, SIZE, 0));
    if (!fixture->info.import_granularity)
        assert_int_equal(read_stats(fixture->device).fallback_register, 1);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, memory, 14, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_host_register(fixture->device, memory + 13 + SIZE - 1, 5, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, memory, 5, 8));
    OK(ferry_host_register(fixture->device, memory + 13 + SIZE, 5, FERRY_HOST_READ_ONLY));
    OK(ferry_copy_from_host(mirror.buffer, memory + 20, 1000, 1));
    memcpy(mirror.bytes + 1, memory + 20, 1000);
    expect_mirror(&mirror);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_unregister(fixture->device, memory + 14));
    OK(ferry_host_unregister(fixture->device, memory + 13));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_unregister(fixture->device, memory + 13));
    OK(ferry_host_unregister(fixture->device, memory + 13 + SIZE));
    free(memory);
    drop_mirror(&mirror);
}

/* --- external work --------------------------------------------------------------------------------- */

/* "ready: done when all that the work depends on is done"; "Until it has ended those bytes are busy,
 * and no others."; "Any other, and a second end, is INVALID_ARGUMENT."; "Where the driver
 * has no events (signal.event is 0)". */
static void test_external(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    struct ferry_external work = {0}, none = {0};
    ferry_ticket before = 0, after = 0;
    OK(ferry_fill_buffer_async(buffer, SIZE, 0, "b", 1, NULL, NULL, &before));
    OK(ferry_external_begin(fixture->device,
                            &(struct ferry_use){.buffer = buffer, .access = FERRY_ACCESS_WRITE}, 1,
                            &work));
    OK(ferry_wait(fixture->device, work.ready, FERRY_FOREVER));
    OK(ferry_poll(fixture->device, before));
    OK(ferry_fill_buffer_async(buffer, SIZE, 0, "a", 1, NULL, NULL, &after));
    IS(FERRY_PENDING, ferry_poll(fixture->device, work.ticket));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, after, 1000000));
    release(fixture->device, &work);
    OK(ferry_wait(fixture->device, after, FERRY_FOREVER));
    OK(ferry_poll(fixture->device, work.ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_end(fixture->device, work.ticket, FERRY_OK));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_end(fixture->device, after, FERRY_OK));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_external_begin(fixture->device, &(struct ferry_use){.buffer = buffer, .access = 0}, 1,
                            &none));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_external_begin(fixture->device, &(struct ferry_use){.buffer = NULL, .access = 1}, 1,
                            &none));
    assert_true(none.ticket == 0);
    ferry_buffer_destroy(buffer);
}

/* --- metrics --------------------------------------------------------------------------------------- */

/* "Copies at most size bytes: a program built against an older header gets what it knows."; "Counters
 * start from 0 again, peaks from the value now." */
static void test_stats(void **state)
{
    struct fixture *fixture = *state;
    struct ferry_stats stats;
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    OK(ferry_zero_buffer(buffer));
    memset(&stats, 0x5A, sizeof stats);
    ferry_device_get_stats(fixture->device, &stats, sizeof stats.operations);
    assert_int_equal(count_operations(&stats, FERRY_OPERATION_FILL), 1);
    assert_int_equal(stats.submissions, UINT64_C(0x5A5A5A5A5A5A5A5A));
    ferry_device_reset_stats(fixture->device);
    stats = read_stats(fixture->device);
    assert_int_equal(count_operations(&stats, FERRY_OPERATION_FILL), 0);
    assert_int_equal(stats.memory_peak_bytes, SIZE);
    ferry_buffer_destroy(buffer);
}

/* "Like snprintf: writes at most capacity bytes with the closing 0, and the length without it to
 * *out_size. out may be NULL if capacity is 0." */
static void test_stats_format(void **state)
{
    struct fixture *fixture = *state;
    const struct ferry_stats stats = read_stats(fixture->device);
    for (int format = FERRY_STATS_PROMETHEUS; format <= FERRY_STATS_JSON; format++) {
        size_t size = 0, again = 0;
        OK(ferry_stats_format(&stats, (enum ferry_stats_format)format, NULL, 0, &size));
        char *text = xmalloc(size + 1);
        OK(ferry_stats_format(&stats, (enum ferry_stats_format)format, text, size + 1, &again));
        assert_int_equal(again, size);
        assert_int_equal(strlen(text), size);
        char cut[11];
        OK(ferry_stats_format(&stats, (enum ferry_stats_format)format, cut, sizeof cut, &again));
        assert_int_equal(again, size);
        assert_int_equal(strlen(cut), 10);
        assert_memory_equal(cut, text, 10);
        free(text);
    }
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_stats_format(NULL, FERRY_STATS_JSON, NULL, 0, &(size_t){0}));
}

/* --- after the device ------------------------------------------------------------------------------ */

/* "Buffers that are still alive are good for ferry_buffer_destroy only; anything else on them is
 * DEVICE_LOST. Memory of ferry_host_alloc goes with the device." */
static void test_closed(void **state)
{
    (void)state;
    ferry_device *device = open_with(NULL, &suite->params);
    ferry_buffer *buffer = make_buffer(device, SIZE, FERRY_STORAGE_SHARED);
    void *memory = NULL;
    char byte = 0;
    OK(ferry_host_alloc(device, SIZE, &memory));
    ferry_device_close(device);
    IS(FERRY_ERROR_DEVICE_LOST, ferry_copy_from_host(buffer, &byte, 1, 0));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_buffer_contents(buffer, &memory));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_zero_buffer_async(buffer, NULL, NULL, NULL));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_copy_to_file(buffer, 0, 0, 1, 0));
    assert_int_equal(ferry_buffer_size(buffer), SIZE);
    ferry_buffer_destroy(buffer);
}

static int forked(void *arg)
{
    struct fixture *fixture = arg;
    char byte = 0;
    ferry_buffer *buffer = NULL;
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    const bool lost = ferry_buffer_create(fixture->device, &(struct ferry_buffer_params){.size = 1},
                                          &buffer) == FERRY_ERROR_DEVICE_LOST &&
                      ferry_wait_idle(fixture->device) == FERRY_ERROR_DEVICE_LOST &&
                      ferry_poll(fixture->device, 1) == FERRY_ERROR_DEVICE_LOST &&
                      ferry_device_trim(fixture->device) == FERRY_ERROR_DEVICE_LOST &&
                      ferry_host_register(fixture->device, &byte, 1, 0) == FERRY_ERROR_DEVICE_LOST;
    ferry_device_close(fixture->device);
    return lost ? 0 : 1;
}

/* "After fork() the child's devices are DEVICE_LOST." */
static void test_forked(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    OK(ferry_zero_buffer_async(buffer, NULL, NULL, NULL));
    in_child(forked, fixture);
    OK(ferry_zero_buffer(buffer));
    ferry_buffer_destroy(buffer);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_files),    SUITE_TEST(test_host_alloc), SUITE_TEST(test_register),
    SUITE_TEST(test_external), SUITE_TEST(test_stats),      SUITE_TEST(test_stats_format),
    SUITE_TEST(test_closed),   SUITE_TEST(test_forked),
};

SUITE_GROUP(rest);
