/* io_uring that a sandbox forbids once it is set up: reads and writes go on by threads, or say so. */
#define _GNU_SOURCE
#include "hang.h"

#include <errno.h>
#include <fcntl.h>
#include <ferry/ferry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef __linux__

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { SIZE = 6 << 20, SKIPPED = 77 };

/* From now on, on all threads, this system call fails with this errno. */
static int forbid(unsigned call, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

static ferry_device *open_device(bool no_fallback)
{
    ferry_device *device = NULL;
    const struct ferry_device_params params = {
        .name = "host", .map_private = FERRY_MAP_NEVER, .no_fallback = no_fallback};
    return ferry_device_open(&params, &device) ? NULL : device;
}

/* The ring is for direct I/O. -1: not there, or not in this file system. */
static int make_file(const unsigned char *bytes)
{
    char path[256];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/ferry-ring-XXXXXX", folder ? folder : "/tmp");
    const int fd = mkostemp(path, O_CLOEXEC);
    const bool whole = fd >= 0 && write(fd, bytes, SIZE) == SIZE;
    const int direct = whole ? open(path, O_RDWR | O_DIRECT | O_CLOEXEC) : -1;
    unlink(path);
    close(fd);
    return direct;
}

/* 0: the bytes of the file arrive, and what was refused is counted. */
static int goes_on(ferry_device *device, ferry_buffer *buffer, int fd, const unsigned char *bytes,
                   bool counted)
{
    struct ferry_stats stats;
    unsigned char *got = calloc(1, SIZE);
    ferry_ticket tickets[40];
    for (int round = 0; round < 3; round++) {
        memset(got, 0, SIZE);
        if (ferry_zero_buffer(buffer) || ferry_copy_from_file(buffer, fd, 0, SIZE, 0) ||
            ferry_copy_to_host(buffer, got, SIZE, 0) || memcmp(got, bytes, SIZE))
            return 1;
    }
    for (int i = 0; i < 40; i++)
        if (ferry_copy_to_file_async(buffer, fd, (uint64_t)i * 100000, 90000, (size_t)i * 100000,
                                     NULL, NULL, &tickets[i]))
            return 2;
    for (int i = 0; i < 40; i++)
        if (ferry_wait(device, tickets[i], FERRY_FOREVER))
            return 3;
    ferry_device_get_stats(device, &stats, sizeof stats);
    free(got);
    if (stats.file_read_direct_bytes != stats.file_read_bytes || !stats.file_write_direct_bytes ||
        stats.file_write_direct_bytes >= stats.file_write_bytes)
        return 6; /* whole blocks are read, and most of what is written are */
    return !stats.fallback_file_io == !counted ? 0 : 4;
}

struct trial {
    long call;
    int error;
    bool warm;        /* the ring has been used before */
    bool early;       /* there is none: the system refuses to set it up */
    bool no_fallback; /* then what is refused is told as IO */
};

/* In a process of its own: a filter stays. */
static int try_one(const struct trial *trial)
{
    unsigned char *bytes = malloc(SIZE);
    ferry_buffer *buffer = NULL;
    ferry_device *device = open_device(trial->no_fallback);
    int result = 0;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 4096);
    const int fd = make_file(bytes);
    if (fd < 0)
        return SKIPPED;
    if (!device ||
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer))
        return 10;
    if (!trial->early && ferry_copy_from_file(buffer, fd, 0, trial->warm ? SIZE : 0, 0))
        return 10;
    if (forbid((unsigned)trial->call, trial->error))
        return SKIPPED;
    if (trial->no_fallback)
        result = ferry_copy_from_file(buffer, fd, 0, SIZE, 0) == FERRY_ERROR_IO ? 0 : 5;
    else
        result = goes_on(device, buffer, fd, bytes, !trial->early);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    free(bytes);
    return result;
}

static void try_all(const struct trial *trials, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(HANG_SECONDS);
            ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
            _exit(try_one(&trials[i]));
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
            print_message("no filters of system calls here, or no direct I/O\n");
            skip();
        }
        if (status)
            fail_msg("trial %zu ended with 0x%x", i, (unsigned)status);
    }
}

static void enter_refused(void **state)
{
    static const struct trial trials[] = {
        {SYS_io_uring_enter, EPERM, .warm = false},
        {SYS_io_uring_enter, EPERM, .warm = true},
        {SYS_io_uring_enter, ENOSYS, .warm = true},
        {SYS_io_uring_enter, EAGAIN, .warm = true},
        {SYS_io_uring_enter, EINTR, .warm = true},
        {SYS_io_uring_enter, EPERM, .warm = true, .no_fallback = true},
    };
    (void)state;
    try_all(trials, sizeof trials / sizeof *trials);
}

/* There never is a ring: that is no fallback, threads read and write. */
static void setup_refused(void **state)
{
    static const struct trial trials[] = {
        {SYS_io_uring_setup, EPERM, .early = true},
        {SYS_io_uring_setup, ENOSYS, .early = true},
        {SYS_io_uring_setup, ENOMEM, .early = true},
        {SYS_eventfd2, EMFILE, .early = true},
    };
    (void)state;
    try_all(trials, sizeof trials / sizeof *trials);
}

/* --- the bell ------------------------------------------------------------------------------------ */

/* While the ring's thread is in the kernel, what another thread begins rings the bell: of many
 * operations at once some find it there. */
static int ring_mute(void)
{
    unsigned char *bytes = calloc(1, SIZE);
    ferry_buffer *buffers[8];
    ferry_device *device = open_device(false);
    ferry_ticket tickets[8];
    const int fd = make_file(bytes);
    if (fd < 0)
        return SKIPPED;
    if (!device)
        return 10;
    for (int i = 0; i < 8; i++)
        if (ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffers[i]) ||
            ferry_copy_from_file(buffers[i], fd, 0, SIZE, 0))
            return 11;
    if (forbid(SYS_write, EPERM))
        return SKIPPED;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 8; i++)
            if (ferry_copy_from_file_async(buffers[i], fd, 0, SIZE, 0, NULL, NULL, &tickets[i]))
                return 12;
        for (int i = 0; i < 8; i++)
            if (ferry_wait(device, tickets[i], FERRY_FOREVER))
                return 13;
    }
    for (int i = 0; i < 8; i++)
        ferry_buffer_destroy(buffers[i]);
    ferry_device_close(device);
    free(bytes);
    return 0;
}

static void bell_refused(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(HANG_SECONDS);
        ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
        _exit(ring_mute());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enter_refused),
        cmocka_unit_test(setup_refused),
        cmocka_unit_test(bell_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    printf("no io_uring here\n");
    return 0;
}

#endif
