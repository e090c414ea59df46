/* What can go wrong with a file. */
#define _GNU_SOURCE
#include "suite.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#endif

enum { SIZE = 20000 };

/* The same file, opened otherwise. */
static int open_again(int fd, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static void test_arguments(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *bytes = scribbled(SIZE, 1);
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 2);
    ferry_buffer *b = mirror.buffer;
    int fd = make_file(bytes, SIZE, 0), pipes[2];
    int folder = open("/", O_RDONLY | O_CLOEXEC);
    int readable = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    int writable = open_again(fd, O_WRONLY);
    suite_skip_unless(readable >= 0 && writable >= 0, "no /proc");
    assert_int_equal(pipe(pipes), 0);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_from_file(NULL, fd, 0, 1, 0));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_file(b, fd, 0, 2, SIZE - 1));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_to_file(b, fd, 0, SIZE_MAX, 1));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_to_file(b, fd, UINT64_MAX - 2, 10, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_from_file(b, -1, 0, 1, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_to_file(b, 99999, 0, 1, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_from_file(b, writable, 0, 1, 0));
    expect_words("reading");
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_to_file(b, readable, 0, 1, 0));
    expect_words("writing");
    IS(FERRY_ERROR_UNSUPPORTED, ferry_copy_from_file(b, pipes[0], 0, 1, 0));
    IS(FERRY_ERROR_UNSUPPORTED, ferry_copy_to_file(b, pipes[1], 0, 1, 0));
    IS(FERRY_ERROR_UNSUPPORTED, ferry_copy_from_file(b, folder, 0, 1, 0));
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_to_file(b, fd, 0, 1, 0));
    expect_words("appending");
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    OK(ferry_copy_from_file(b, fd, SIZE + 5, 0, SIZE));
    OK(ferry_copy_to_file(b, fd, SIZE + 5, 0, SIZE));
    expect_mirror(&mirror);
    expect_file(fd, bytes, SIZE);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    close(fd);
    close(folder);
    close(readable);
    close(writable);
    close(pipes[0]);
    close(pipes[1]);
    free(bytes);
    drop_mirror(&mirror);
}

/* A file that is too short when it is asked for: nothing has changed. */
static void test_short(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 3);
    unsigned char *bytes = scribbled(1000, 4);
    int fd = make_file(bytes, 1000, 0);
    ferry_ticket ticket = 77;
    IS(FERRY_ERROR_IO, ferry_copy_from_file(mirror.buffer, fd, 0, 1001, 0));
    expect_words("ends at byte 1000");
    expect_words("1001");
    IS(FERRY_ERROR_IO, ferry_copy_from_file(mirror.buffer, fd, 1000, 1, 0));
    IS(FERRY_ERROR_IO,
       ferry_copy_from_file_async(mirror.buffer, fd, 2000, 1, 0, NULL, NULL, &ticket));
    assert_int_equal(ticket, 77);
    expect_mirror(&mirror);
    OK(ferry_copy_from_file(mirror.buffer, fd, 999, 1, 8));
    mirror.bytes[8] = bytes[999];
    expect_mirror(&mirror);
    close(fd);
    free(bytes);
    drop_mirror(&mirror);
}

static ferry_batch *batch_of(struct fixture *fixture)
{
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(fixture->device, &batch));
    return batch;
}

static enum ferry_status read_at(struct mirror *mirror, size_t size, size_t offset)
{
    unsigned char got[SIZE];
    enum ferry_status status = ferry_copy_to_host(mirror->buffer, got, size, offset);
    if (status == FERRY_OK)
        expect_bytes(got, mirror->bytes + offset, size, "the buffer");
    return status;
}

/* A file that is cut short on the way: what it still has arrives, the rest has failed (R9). */
static void check_truncated(struct fixture *fixture, enum ferry_storage storage)
{
    struct mirror mirror = make_mirror(fixture->device, SIZE, storage, 5);
    unsigned char *bytes = scribbled(SIZE, 6);
    int fd = make_file(bytes, SIZE, 0);
    ferry_batch *batch = batch_of(fixture);
    ferry_ticket ticket = 0;
    static struct note note;
    note_init(&note);
    OK(ferry_batch_copy_from_file(batch, mirror.buffer, fd, 0, 1000, 100));
    OK(ferry_batch_copy_from_file(batch, mirror.buffer, fd, 1500, 1000, 2000));
    OK(ferry_batch_fill_buffer(batch, mirror.buffer, 50, 5000, "f", 1));
    OK(ferry_batch_copy_from_file(batch, mirror.buffer, fd, 40, 500, 6001));
    assert_int_equal(ftruncate(fd, 2000), 0);
    OK(ferry_batch_submit(batch, note_callback, &note, &ticket));
    IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    expect_words("ends at byte 2000");
    OK(ferry_wait_idle(fixture->device));
    assert_true(note.calls == 1 && note.status == FERRY_ERROR_IO);
    assert_non_null(strstr(note.error, "ends at byte 2000"));
    memcpy(mirror.bytes + 100, bytes, 1000);
    model_fill(mirror.bytes, 50, 5000, "f", 1);
    memcpy(mirror.bytes + 6001, bytes + 40, 500);
    OK(read_at(&mirror, 2000, 0));
    OK(read_at(&mirror, SIZE - 3000, 3000));
    IS(FERRY_ERROR_IO, read_at(&mirror, 1, 2000));
    IS(FERRY_ERROR_IO, read_at(&mirror, 1, 2999));
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes + 2000, 1000, 2000));
    expect_mirror(&mirror);
    ferry_batch_destroy(batch);
    close(fd);
    free(bytes);
    drop_mirror(&mirror);
}

static void test_truncated(void **state)
{
    for (size_t i = 0; i < 2; i++)
        check_truncated(*state, suite_storages[i]);
}

/* Closed between the call and the reading: told by the ticket. */
static void test_closed(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 7);
    unsigned char *bytes = scribbled(SIZE, 8);
    int fd = make_file(bytes, SIZE, 0);
    ferry_batch *batch = batch_of(fixture);
    ferry_ticket ticket = 0;
    OK(ferry_batch_copy_from_file(batch, mirror.buffer, fd, 0, 1000, 100));
    OK(ferry_batch_copy_to_file(batch, mirror.buffer, fd, 0, 1000, 3000));
    close(fd);
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    expect_words("Bad file descriptor");
    OK(read_at(&mirror, SIZE - 1100, 1100));
    IS(FERRY_ERROR_IO, read_at(&mirror, 1, 100));
    ferry_batch_destroy(batch);
    free(bytes);
    drop_mirror(&mirror);
}

/* --- files that are no files -------------------------------------------------------------------- */

/* Says what it is, whether it is read or written, and closes it. */
static void refuse(ferry_buffer *buffer, int fd, const char *words)
{
    ferry_ticket ticket = 77;
    assert_true(fd >= 0);
    IS(FERRY_ERROR_UNSUPPORTED, ferry_copy_from_file(buffer, fd, 0, 8, 0));
    expect_words(words);
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_copy_from_file_async(buffer, fd, 0, 8, 0, NULL, NULL, &ticket));
    IS(FERRY_ERROR_UNSUPPORTED, ferry_copy_from_file(buffer, fd, 0, 0, 0));
    assert_int_equal(ticket, 77);
    close(fd);
}

/* "It must be a regular file or a block device; all else [...] is UNSUPPORTED." In some of these one
 * can seek, and reading them may never end. */
static void test_no_files(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 20);
    int sockets[2], pipes[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    assert_int_equal(pipe(pipes), 0);
    refuse(mirror.buffer, sockets[0], "a socket");
    refuse(mirror.buffer, pipes[0], "a pipe");
    refuse(mirror.buffer, open("/", O_RDONLY | O_CLOEXEC), "a folder");
    refuse(mirror.buffer, open("/dev/null", O_RDWR | O_CLOEXEC), "character device");
    refuse(mirror.buffer, open("/dev/ptmx", O_RDWR | O_CLOEXEC | O_NOCTTY), "a terminal");
    close(sockets[1]);
    close(pipes[1]);
#ifdef __linux__
    refuse(mirror.buffer, eventfd(0, EFD_CLOEXEC), "the kernel's own");
    refuse(mirror.buffer, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "the kernel's own");
    refuse(mirror.buffer, inotify_init1(IN_CLOEXEC), "the kernel's own");
    refuse(mirror.buffer, epoll_create1(EPOLL_CLOEXEC), "the kernel's own");
#endif
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* --- a full disk --------------------------------------------------------------------------------- */

/* A file may not grow any more: as a full disk, without one. */
static void test_full(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before, limit;
    int fd = make_file("x", 1, 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 5;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t i = 0; i < 2; i++) {
        struct mirror mirror = make_mirror(fixture->device, SIZE, suite_storages[i], 9);
        ferry_ticket ticket = 0;
        IS(FERRY_ERROR_IO, ferry_copy_to_file(mirror.buffer, fd, 10, SIZE - 10, 10));
        expect_words("too large");
        expect_words("from 10 on");
        OK(ferry_copy_to_file_async(mirror.buffer, fd, 0, SIZE, 0, NULL, NULL, &ticket));
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_mirror(&mirror);
        drop_mirror(&mirror);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    close(fd);
}

/* The system itself cannot read there. */
static void test_unreadable(void **state)
{
    struct fixture *fixture = *state;
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    suite_skip_unless(fd >= 0, "no /proc/self/mem");
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 10);
    IS(FERRY_ERROR_IO, ferry_copy_from_file(mirror.buffer, fd, 0, 1000, 100));
    expect_words("reading");
    OK(read_at(&mirror, 100, 0));
    OK(read_at(&mirror, SIZE - 1100, 1100));
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes + 100, 1000, 100));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
    close(fd);
}

/* Several pieces, the first of which fails: the others do not hide it. */
static void test_long_truncated(void **state)
{
    struct fixture *fixture = *state;
    enum { LONG = 5 << 20 };
    struct mirror mirror = make_mirror(fixture->device, LONG, FERRY_STORAGE_PRIVATE, 11);
    unsigned char *bytes = scribbled(LONG, 12);
    int fd = make_file(bytes, LONG, 0);
    ferry_batch *batch = batch_of(fixture);
    ferry_ticket ticket = 0;
    OK(ferry_batch_copy_from_file(batch, mirror.buffer, fd, 1, LONG - 11, 10));
    assert_int_equal(ftruncate(fd, LONG / 2), 0);
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    OK(read_at(&mirror, 10, 0));
    IS(FERRY_ERROR_IO, read_at(&mirror, 2, 9));
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, LONG, 0));
    expect_mirror(&mirror);
    ferry_batch_destroy(batch);
    close(fd);
    free(bytes);
    drop_mirror(&mirror);
}

/* --- the device fails ---------------------------------------------------------------------------- */

/* Every allocation of the device refused in turn. */
static void test_allocations(void **state)
{
    (void)state;
    suite_skip_unless(suite->knobs_variable != NULL, "this driver has no test knobs");
    unsigned char *bytes = scribbled(SIZE, 15);
    int fd = make_file(bytes, SIZE, 0);
    for (unsigned n = 1; n <= 12; n++) {
        char knobs[64];
        snprintf(knobs, sizeof knobs, "fail_alloc=%u", n);
        ferry_device *device = open_queued(knobs);
        struct mirror mirror = {NULL, scribbled(SIZE, n), SIZE};
        if (ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE},
                                &mirror.buffer) != FERRY_OK)
            mirror.buffer = make_buffer(device, SIZE, FERRY_STORAGE_PRIVATE);
        enum ferry_status status = ferry_copy_from_file(mirror.buffer, fd, 0, SIZE, 0);
        if (status != FERRY_OK) {
            IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, status);
            OK(ferry_copy_from_file(mirror.buffer, fd, 0, SIZE, 0));
        }
        memcpy(mirror.bytes, bytes, SIZE);
        status = ferry_copy_to_file(mirror.buffer, fd, 0, SIZE, 0);
        if (status != FERRY_OK)
            IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, status);
        status = ferry_copy_to_file(mirror.buffer, fd, 0, SIZE, 0);
        OK(status);
        expect_file(fd, bytes, SIZE);
        drop_mirror(&mirror);
        ferry_device_close(device);
    }
    close(fd);
    free(bytes);
}

/* A lost device: all is told, nothing hangs. */
static void test_lost(void **state)
{
    (void)state;
    suite_skip_unless(suite->knobs_variable != NULL, "this driver has no test knobs");
    unsigned char *bytes = scribbled(SIZE, 16);
    int fd = make_file(bytes, SIZE, 0), out = make_file(bytes, 1, 0);
    unsigned losses = 0;
    for (unsigned n = 1; n <= 6; n++) {
        static struct note notes[40];
        bool lost = false;
        char knobs[64];
        snprintf(knobs, sizeof knobs, "lose_at=%u", n);
        ferry_device *device = open_queued(knobs);
        ferry_buffer *buffer = make_buffer(device, SIZE, FERRY_STORAGE_PRIVATE);
        for (unsigned i = 0; i < 40; i++) {
            enum ferry_status status;
            note_init(&notes[i]);
            if (i % 2 == 0)
                status = ferry_copy_from_file_async(buffer, fd, i, SIZE - 100, i, note_callback,
                                                    &notes[i], NULL);
            else
                status = ferry_copy_to_file_async(buffer, out, 0, SIZE, 0, note_callback, &notes[i],
                                                  NULL);
            if (status != FERRY_OK)
                notes[i].calls = 1;
        }
        enum ferry_status status = ferry_wait_idle(device);
        assert_true(status == FERRY_OK || status == FERRY_ERROR_DEVICE_LOST);
        for (unsigned i = 0; i < 40; i++) {
            assert_int_equal(notes[i].calls, 1);
            lost = lost || notes[i].status == FERRY_ERROR_DEVICE_LOST;
        }
        status = ferry_copy_from_file(buffer, fd, 0, 1, 0);
        assert_true(status == FERRY_ERROR_DEVICE_LOST || (status == FERRY_OK && !lost));
        losses += lost;
        ferry_buffer_destroy(buffer);
        ferry_device_close(device);
    }
    assert_true(losses > 0);
    close(fd);
    close(out);
    free(bytes);
}

static struct {
    ferry_buffer *buffer;
    int fd;
    _Atomic int from, to;
} inside;

static void try_inside(enum ferry_status status, ferry_ticket ticket, void *user)
{
    (void)status;
    (void)ticket;
    (void)user;
    inside.from = (int)ferry_copy_from_file(inside.buffer, inside.fd, 0, 1, 0);
    inside.to = (int)ferry_copy_to_file(inside.buffer, inside.fd, 0, 1, 0);
}

static void test_in_callback(void **state)
{
    struct fixture *fixture = *state;
    inside.buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    inside.fd = make_file("abc", 3, 0);
    OK(ferry_copy_from_file_async(inside.buffer, inside.fd, 0, 3, 0, try_inside, NULL, NULL));
    OK(ferry_wait_idle(fixture->device));
    assert_int_equal(inside.from, FERRY_ERROR_IN_CALLBACK);
    assert_int_equal(inside.to, FERRY_ERROR_IN_CALLBACK);
    ferry_buffer_destroy(inside.buffer);
    close(inside.fd);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_arguments),      SUITE_TEST(test_short),       SUITE_TEST(test_truncated),
    SUITE_TEST(test_closed),         SUITE_TEST(test_full),        SUITE_TEST(test_unreadable),
    SUITE_TEST(test_long_truncated), SUITE_TEST(test_allocations), SUITE_TEST(test_lost),
    SUITE_TEST(test_in_callback),    SUITE_TEST(test_no_files),
};

SUITE_GROUP(file_errors);
