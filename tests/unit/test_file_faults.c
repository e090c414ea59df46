/* Reading a file where the system refuses, interrupts, shortens or fails its calls: the bytes arrive,
 * or the operation says why not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ferry/ferry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef __linux__

#include <sys/syscall.h>
#include <sys/uio.h>

enum { SIZE = 5 << 20, AT = 1234, LENGTH = SIZE - 5000 };

/* What the calls below do instead of the system. */
static struct {
    _Atomic int nowait_error, direct_open_error, direct_error, plain_error; /* 0: as ever */
    _Atomic unsigned interrupts; /* so many calls more are interrupted */
    _Atomic unsigned short_by;   /* no call moves more than this; 0: as ever */
    _Atomic unsigned fail_at;    /* the n-th call from here fails with EIO; 0: none */
    _Atomic unsigned calls, direct_reads, cached_reads;
} faults;

static int fault(int error)
{
    const unsigned calls = atomic_fetch_add(&faults.calls, 1) + 1;
    if (faults.fail_at && calls == faults.fail_at)
        return EIO;
    unsigned left = atomic_load(&faults.interrupts);
    while (left > 0 && !atomic_compare_exchange_weak(&faults.interrupts, &left, left - 1))
        ;
    return left > 0 ? EINTR : error;
}

static size_t shortened(size_t size)
{
    return faults.short_by && size > faults.short_by ? faults.short_by : size;
}

/* The linker takes these for the C library's. */
ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    const int error = fault(faults.nowait_error);
    if (error) {
        errno = error;
        return -1;
    }
    const struct iovec part = {parts->iov_base, shortened(parts->iov_len)};
    const ssize_t got = syscall(SYS_preadv2, fd, &part, (long)count, (long)offset, 0L, (long)flags);
    if (got > 0)
        atomic_fetch_add(&faults.cached_reads, 1);
    return got;
}

ssize_t pread(int fd, void *memory, size_t size, off_t offset)
{
    const bool direct = fcntl(fd, F_GETFL) & O_DIRECT;
    const int error = fault(direct ? faults.direct_error : faults.plain_error);
    if (error) {
        errno = error;
        return -1;
    }
    atomic_fetch_add(&faults.direct_reads, direct);
    return syscall(SYS_pread64, fd, memory, direct ? size : shortened(size), (long)offset);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    if ((flags & O_DIRECT) && faults.direct_open_error) {
        errno = faults.direct_open_error;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* What the C library's headers make of them where they check sizes. */
int __open_2(const char *path, int flags);
ssize_t __pread_chk(int fd, void *memory, size_t size, off_t offset, size_t room);

int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

ssize_t __pread_chk(int fd, void *memory, size_t size, off_t offset, size_t room)
{
    (void)room;
    return pread(fd, memory, size, offset);
}

/* --- a file, and a device whose memory the CPU reaches, or not --------------------------------- */

/* Where it reaches that, files are read straight into it: the test says where. */
static enum ferry_map map_private;

struct world {
    ferry_device *device;
    ferry_buffer *buffer;
    unsigned char *bytes, *got;
    int fd;
};

static struct world make_world(void)
{
    struct world world = {.bytes = malloc(SIZE), .got = malloc(SIZE)};
    char path[] = "/tmp/ferry-faults-XXXXXX";
    memset(&faults, 0, sizeof faults);
    for (size_t i = 0; i < SIZE; i++)
        world.bytes[i] = (unsigned char)(i * 13 + i / 4096);
    world.fd = mkostemp(path, O_CLOEXEC);
    assert_true(world.fd >= 0);
    unlink(path);
    assert_int_equal(pwrite(world.fd, world.bytes, SIZE, 0), SIZE);
    assert_int_equal(
        ferry_device_open(&(struct ferry_device_params){.name = "host", .map_private = map_private},
                          &world.device),
        FERRY_OK);
    assert_int_equal(ferry_buffer_create(world.device, &(struct ferry_buffer_params){.size = SIZE},
                                         &world.buffer),
                     FERRY_OK);
    return world;
}

static void drop_world(struct world *world)
{
    memset(&faults, 0, sizeof faults);
    ferry_buffer_destroy(world->buffer);
    ferry_device_close(world->device);
    close(world->fd);
    free(world->bytes);
    free(world->got);
}

static void forget(const struct world *world)
{
    assert_int_equal(fdatasync(world->fd), 0);
    assert_int_equal(posix_fadvise(world->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static void expect_bytes(struct world *world)
{
    memset(world->got, 0, SIZE);
    assert_int_equal(ferry_zero_buffer(world->buffer), FERRY_OK);
    assert_int_equal(ferry_copy_from_file(world->buffer, world->fd, AT, LENGTH, 77), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(world->buffer, world->got, LENGTH, 77), FERRY_OK);
    assert_memory_equal(world->got, world->bytes + AT, LENGTH);
}

static struct ferry_stats read_stats(const struct world *world)
{
    struct ferry_stats stats;
    ferry_device_get_stats(world->device, &stats, sizeof stats);
    return stats;
}

static void cached(void **state)
{
    struct world world = make_world();
    (void)state;
    expect_bytes(&world);
    assert_true(faults.cached_reads > 0);
    assert_int_equal(faults.direct_reads, 0);
    assert_int_equal(read_stats(&world).file_read_bytes, LENGTH);
    assert_int_equal(read_stats(&world).file_read_direct_bytes, 0);
    drop_world(&world);
}

static bool takes_direct_io(const struct world *world)
{
    enum { BLOCK = 4096 };
    char path[32];
    void *memory = NULL;
    snprintf(path, sizeof path, "/proc/self/fd/%d", world->fd);
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECT | O_CLOEXEC, 0);
    assert_int_equal(posix_memalign(&memory, BLOCK, BLOCK), 0);
    const bool takes = fd >= 0 && syscall(SYS_pread64, fd, memory, (size_t)BLOCK, 0L) == BLOCK;
    free(memory);
    if (fd >= 0)
        close(fd);
    return takes;
}

/* Nothing is said to be cached, whether it is or not: all comes past the cache. */
static void cold(void **state)
{
    struct world world = make_world();
    (void)state;
    faults.nowait_error = EAGAIN;
    forget(&world);
    expect_bytes(&world);
    const bool direct = takes_direct_io(&world);
    assert_int_equal(faults.direct_reads > 0, direct);
    const struct ferry_stats stats = read_stats(&world);
    assert_int_equal(stats.file_read_bytes, LENGTH);
    assert_int_equal(stats.file_read_direct_bytes, direct ? LENGTH : 0);
    drop_world(&world);
    world = make_world();
    faults.nowait_error = EAGAIN;
    faults.direct_open_error = EINVAL;
    expect_bytes(&world);
    assert_int_equal(read_stats(&world).file_read_direct_bytes, 0);
    drop_world(&world);
    if (!direct) {
        print_message("no direct I/O here\n");
        skip();
    }
}

/* What is not cached is read through the cache where the environment says so: cold, in part, short
 * and interrupted. */
static void through_cache(void **state)
{
    (void)state;
    setenv("FERRY_FILE_IO", "cache", 1);
    struct world world = make_world();
    faults.nowait_error = EAGAIN;
    for (unsigned short_by = 0; short_by < 100000; short_by += 33333) {
        faults.interrupts = 100;
        faults.short_by = short_by;
        forget(&world);
        expect_bytes(&world);
    }
    faults.nowait_error = 0;
    forget(&world);
    assert_int_equal(syscall(SYS_pread64, world.fd, world.got, (size_t)SIZE / 2, 0L), SIZE / 2);
    expect_bytes(&world);
    assert_int_equal(faults.direct_reads, 0);
    assert_int_equal(read_stats(&world).file_read_direct_bytes, 0);
    assert_int_equal(read_stats(&world).file_read_bytes, 5 * LENGTH);
    drop_world(&world);
    setenv("FERRY_FILE_IO", "threads", 1);
}

static void refused(void **state)
{
    static const int errors[] = {EINVAL, EOPNOTSUPP, EFAULT, EIO};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct world world = make_world();
        faults.nowait_error = EAGAIN;
        faults.direct_error = errors[i];
        expect_bytes(&world);
        faults.nowait_error = errors[i] == EFAULT ? EIO : EOPNOTSUPP;
        expect_bytes(&world);
        faults.direct_error = 0;
        faults.direct_open_error = errors[i];
        faults.nowait_error = EAGAIN;
        expect_bytes(&world);
        drop_world(&world);
    }
}

static void interrupted_and_short(void **state)
{
    struct world world = make_world();
    (void)state;
    for (unsigned short_by = 0; short_by < 100000; short_by = short_by * 7 + 4099) {
        faults.interrupts = 200;
        faults.short_by = short_by;
        expect_bytes(&world);
        faults.nowait_error = EOPNOTSUPP;
        faults.interrupts = 200;
        expect_bytes(&world);
        faults.nowait_error = 0;
    }
    drop_world(&world);
}

/* Each call in turn fails for good: of what is read through the cache that is told, and where. */
static void failing(void **state)
{
    struct world world = make_world();
    unsigned failures = 0;
    (void)state;
    faults.nowait_error = EOPNOTSUPP;
    for (unsigned n = 1; n < 12; n++) {
        faults.calls = 0;
        faults.fail_at = n;
        const enum ferry_status status =
            ferry_copy_from_file(world.buffer, world.fd, AT, LENGTH, 77);
        failures += status == FERRY_ERROR_IO;
        assert_true(status == FERRY_OK || status == FERRY_ERROR_IO);
        if (status)
            assert_non_null(strstr(ferry_last_error(), "reading file"));
    }
    faults.fail_at = 0;
    assert_true(failures > 0);
    expect_bytes(&world);
    drop_world(&world);
}

/* Half of it is cached; holes; and a file that is replaced or grows is the one that was opened. */
static void halves(void **state)
{
    struct world world = make_world();
    (void)state;
    forget(&world);
    assert_int_equal(syscall(SYS_pread64, world.fd, world.got, (size_t)SIZE / 2, 0L), SIZE / 2);
    expect_bytes(&world);
    assert_int_equal(ftruncate(world.fd, SIZE + (1 << 20)), 0);
    expect_bytes(&world);
    assert_int_equal(ferry_copy_from_file(world.buffer, world.fd, SIZE, 1 << 20, 0), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(world.buffer, world.got, 1 << 20, 0), FERRY_OK);
    for (size_t i = 0; i < 1 << 20; i++)
        assert_int_equal(world.got[i], 0);
    drop_world(&world);
}

/* Into memory that the CPU reaches, whatever its address: past the cache, or through it where there
 * is no memory to read into on the way, and in no more staging than there may be. */
static void anywhere(void **state)
{
    const struct ferry_device_params params = {.name = "host", .staging_budget = 1 << 20};
    struct world world = make_world();
    (void)state;
    faults.nowait_error = EAGAIN;
    for (size_t at = 0; at < 3; at++) {
        const size_t to[] = {AT, AT % 4096, AT + 1};
        faults.direct_reads = 0;
        assert_int_equal(ferry_zero_buffer(world.buffer), FERRY_OK);
        assert_int_equal(ferry_copy_from_file(world.buffer, world.fd, AT, LENGTH, to[at]),
                         FERRY_OK);
        assert_int_equal(faults.direct_reads > 0, takes_direct_io(&world));
        assert_int_equal(ferry_copy_to_host(world.buffer, world.got, SIZE, 0), FERRY_OK);
        assert_memory_equal(world.got + to[at], world.bytes + AT, LENGTH);
        for (size_t i = 0; i < SIZE; i++)
            if (i < to[at] || i >= to[at] + LENGTH)
                assert_int_equal(world.got[i], 0);
    }
    const struct ferry_stats stats = read_stats(&world);
    assert_int_equal(stats.staging_upload_bytes, 0);
    ferry_buffer_destroy(world.buffer);
    ferry_device_close(world.device);
    assert_int_equal(ferry_device_open(&params, &world.device), FERRY_OK);
    assert_int_equal(ferry_buffer_create(world.device, &(struct ferry_buffer_params){.size = SIZE},
                                         &world.buffer),
                     FERRY_OK);
    expect_bytes(&world);
    assert_true(read_stats(&world).staging_upload_peak_bytes <= params.staging_budget);
    drop_world(&world);
}

static int without_map(void **state)
{
    (void)state;
    map_private = FERRY_MAP_NEVER;
    return 0;
}

static int with_map(void **state)
{
    (void)state;
    map_private = FERRY_MAP_ALWAYS;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cached),
        cmocka_unit_test(cold),
        cmocka_unit_test(through_cache),
        cmocka_unit_test(refused),
        cmocka_unit_test(interrupted_and_short),
        cmocka_unit_test(failing),
        cmocka_unit_test(halves),
        cmocka_unit_test(anywhere),
    };
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    setenv("FERRY_FILE_IO", "threads", 1); /* so that the calls above are asked */
    const int failed =
        cmocka_run_group_tests_name("reached by the device", tests, without_map, NULL);
    return failed + cmocka_run_group_tests_name("reached by the CPU", tests, with_map, NULL);
}

#else

int main(void)
{
    printf("these calls are Linux's\n");
    return 0;
}

#endif
