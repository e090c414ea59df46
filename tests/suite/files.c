/* Transfers from and to files. */
#define _GNU_SOURCE
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef O_DIRECT
#define DIRECT O_DIRECT
#else
#define DIRECT 0
#endif

enum { ROOM = 70000 };

static int unnamed(int flags)
{
    char path[256];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/ferry-suite-XXXXXX", folder != NULL ? folder : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    if (flags != 0) {
        int again = open(path, O_RDWR | O_CLOEXEC | flags);
        close(fd);
        fd = again;
    }
    unlink(path);
    return fd;
}

static void write_all(int fd, const unsigned char *bytes, size_t size, off_t at)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, size, at);
        assert_true(n > 0);
        bytes += n;
        size -= (size_t)n;
        at += n;
    }
}

int make_file(const void *bytes, size_t size, int flags)
{
    int fd = unnamed(flags & ~DIRECT);
    assert_true(fd >= 0);
    write_all(fd, bytes, size, 0);
    return fd;
}

static void expect_file_at(int fd, const void *bytes, size_t size, off_t at)
{
    unsigned char *got = xmalloc(size);
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, got + done, size - done, at + (off_t)done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    expect_bytes(got, bytes, size, "the file");
    free(got);
}

void expect_file(int fd, const void *bytes, size_t size)
{
    struct stat about;
    assert_int_equal(fstat(fd, &about), 0);
    assert_int_equal(about.st_size, size);
    expect_file_at(fd, bytes, size, 0);
}

/* --- every size and offset --------------------------------------------------------------------- */

static void move_through(ferry_device *device, int fd, int plain, unsigned char *model,
                         enum ferry_storage storage)
{
    struct mirror mirror = make_mirror(device, ROOM, storage, 1);
    unsigned char *bytes = xmalloc(ROOM);
    for (size_t s = 0; s < suite_size_count; s++) {
        for (size_t o = 0; o < suite_offset_count; o++) {
            size_t size = suite_sizes[s], offset = suite_offsets[o];
            size_t at = suite_offsets[(o * 3 + s) % suite_offset_count];
            OK(ferry_copy_from_file(mirror.buffer, fd, at, size, offset));
            memcpy(mirror.bytes + offset, model + at, size);
            expect_mirror(&mirror);

            scribble(bytes, size, (unsigned)(s * 10 + o));
            OK(ferry_copy_from_host(mirror.buffer, bytes, size, offset));
            memcpy(mirror.bytes + offset, bytes, size);
            OK(ferry_copy_to_file(mirror.buffer, fd, at + 4, size, offset));
            memcpy(model + at + 4, bytes, size);
            expect_file(plain, model, ROOM);
        }
    }
    free(bytes);
    drop_mirror(&mirror);
}

static void test_sizes(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *model = scribbled(ROOM, 2);
    int fd = make_file(model, ROOM, 0);
    for (size_t i = 0; i < 2; i++)
        move_through(fixture->device, fd, fd, model, suite_storages[i]);
    close(fd);
    free(model);
}

/* Direct I/O asks for blocks at addresses of blocks; the caller need not. */
static void test_direct_io(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *model = scribbled(ROOM, 2);
    int fd = DIRECT != 0 ? unnamed(DIRECT) : -1;
    if (fd < 0) {
        free(model);
        suite_skip("no direct I/O in the folder for temporary files");
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int plain = open(path, O_RDWR | O_CLOEXEC);
    assert_true(plain >= 0);
    write_all(plain, model, ROOM, 0);
    for (size_t i = 0; i < 2; i++)
        move_through(fixture->device, fd, plain, model, suite_storages[i]);
    close(fd);
    close(plain);
    free(model);
}

/* --- more than fits ---------------------------------------------------------------------------- */

static void check_large(ferry_device *device, size_t size, int flags)
{
    const size_t at = 4099, offset = 7;
    unsigned char *bytes = scribbled(size + at, 3);
    int fd = make_file(bytes, size + at, flags);
    int out = unnamed(0);
    struct mirror mirror = make_mirror(device, size + 20, FERRY_STORAGE_PRIVATE, 4);
    OK(ferry_copy_from_file(mirror.buffer, fd, at, size, offset));
    memcpy(mirror.bytes + offset, bytes + at, size);
    expect_mirror(&mirror);
    ferry_device_reset_stats(device);
    OK(ferry_copy_to_file(mirror.buffer, out, 5, size + 20, 0));
    expect_file_at(out, mirror.bytes, size + 20, 5);
    struct ferry_stats stats = read_stats(device);
    assert_int_equal(stats.file_write_bytes, size + 20);
    assert_true(stats.file_writes > 0);
    assert_int_equal(count_bytes(&stats, FERRY_OPERATION_DOWNLOAD), size + 20);
    drop_mirror(&mirror);
    close(fd);
    close(out);
    free(bytes);
}

static void test_large(void **state)
{
    struct fixture *fixture = *state;
    check_large(fixture->device, 3 * 1024 * 1024 + 5, 0);
}

/* Without io_uring, as where the system has none. */
static void test_threads(void **state)
{
    (void)state;
    setenv("FERRY_FILE_IO", "threads", 1);
    ferry_device *device = open_with(NULL, &suite->params);
    check_large(device, 2 * 1024 * 1024 + 1, 0);
    unsetenv("FERRY_FILE_IO");
    ferry_device_close(device);
}

/* Offsets beyond 4 GiB, in a file with a hole. */
static void test_far(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t far = UINT64_C(5) << 30;
    struct mirror mirror = make_mirror(fixture->device, 10000, FERRY_STORAGE_PRIVATE, 5);
    int fd = unnamed(0);
    unsigned char zeros[5000] = {0};
    if (ftruncate(fd, (off_t)far + 20000) != 0) {
        close(fd);
        suite_skip("no files of 5 GiB here");
    }
    OK(ferry_copy_to_file(mirror.buffer, fd, far + 7, 10000, 0));
    expect_file_at(fd, mirror.bytes, 10000, (off_t)far + 7);
    OK(ferry_copy_from_file(mirror.buffer, fd, far + 10007, 5000, 3));
    memcpy(mirror.bytes + 3, zeros, 5000);
    OK(ferry_copy_from_file(mirror.buffer, fd, far + 1000, 1000, 9000));
    memcpy(mirror.bytes + 9000, mirror.bytes + 993 + 0, 0);
    unsigned char got[1000];
    assert_int_equal(pread(fd, got, 1000, (off_t)far + 1000), 1000);
    memcpy(mirror.bytes + 9000, got, 1000);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
    close(fd);
}

/* --- order ------------------------------------------------------------------------------------- */

/* Nothing is waited for until the end. */
static void test_order(void **state)
{
    struct fixture *fixture = *state;
    enum { SIZE = 300000 };
    unsigned char *bytes = scribbled(SIZE, 6), *got = xmalloc(SIZE);
    int fd = make_file(bytes, SIZE, 0), out = unnamed(0);
    for (size_t i = 0; i < 2; i++) {
        struct mirror mirror = make_mirror(fixture->device, SIZE, suite_storages[i], 7);
        ferry_buffer *other = make_buffer(fixture->device, SIZE, suite_storages[i]);
        ferry_buffer *b = mirror.buffer;
        OK(ferry_fill_buffer_async(b, SIZE, 0, "a", 1, NULL, NULL, NULL));
        OK(ferry_copy_from_file_async(b, fd, 11, 100001, 5, NULL, NULL, NULL));
        OK(ferry_fill_buffer_async(b, 1001, 50000, "bc", 2, NULL, NULL, NULL));
        OK(ferry_copy_to_file_async(b, out, 0, SIZE, 0, NULL, NULL, NULL));
        OK(ferry_copy_buffer_async(other, b, SIZE, 0, 0, NULL, NULL, NULL));
        OK(ferry_copy_from_file_async(b, fd, 100000, 200000, 3, NULL, NULL, NULL));
        OK(ferry_copy_from_host_async(b, "last", 4, 100, NULL, NULL, NULL));
        OK(ferry_copy_to_host_async(other, got, SIZE, 0, NULL, NULL, NULL));
        ferry_buffer_destroy(other);
        OK(ferry_wait_idle(fixture->device));
        model_fill(mirror.bytes, SIZE, 0, "a", 1);
        memcpy(mirror.bytes + 5, bytes + 11, 100001);
        model_fill(mirror.bytes, 1001, 50000, "bc", 2);
        expect_bytes(got, mirror.bytes, SIZE, "the copy");
        expect_file(out, mirror.bytes, SIZE);
        memcpy(mirror.bytes + 3, bytes + 100000, 200000);
        memcpy(mirror.bytes + 100, "last", 4);
        expect_mirror(&mirror);
        drop_mirror(&mirror);
    }
    close(fd);
    close(out);
    free(bytes);
    free(got);
}

/* --- batches ----------------------------------------------------------------------------------- */

/* Items of memory and of files, which overlap: as if one after another. */
static void test_batch(void **state)
{
    struct fixture *fixture = *state;
    enum { SIZE = 200000 };
    unsigned char *bytes = scribbled(SIZE, 8), *got = xmalloc(SIZE);
    int fd = make_file(bytes, SIZE, 0), out = unnamed(0);
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 9);
    ferry_buffer *b = mirror.buffer;
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    OK(ferry_batch_create(fixture->device, &batch));
    for (size_t i = 0; i < 300; i++) { /* near each other, then far, then backwards */
        const size_t at = i < 200 ? i * 103 : i < 250 ? i * 700 : (300 - i) * 300;
        const size_t offset = (i * 257) % (SIZE - 200), size = 100 + i % 7;
        OK(ferry_batch_copy_from_file(batch, b, fd, at, size, offset));
        memcpy(mirror.bytes + offset, bytes + at, size);
        if (i % 50 != 0)
            continue;
        OK(ferry_batch_copy_from_host(batch, b, bytes + i, 100, offset + 50));
        memcpy(mirror.bytes + offset + 50, bytes + i, 100);
        OK(ferry_batch_fill_buffer(batch, b, 9, offset + 70, "x", 1));
        model_fill(mirror.bytes, 9, offset + 70, "x", 1);
        OK(ferry_batch_copy_from_file(batch, b, fd, 1, 0, 5));
    }
    OK(ferry_batch_copy_to_file(batch, b, out, 0, SIZE, 0));
    OK(ferry_batch_copy_from_file(batch, b, fd, 10, 150001, 20));
    OK(ferry_batch_copy_to_host(batch, b, got, SIZE, 0));
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    expect_file(out, mirror.bytes, SIZE);
    memcpy(mirror.bytes + 20, bytes + 10, 150001);
    expect_bytes(got, mirror.bytes, SIZE, "the download");
    expect_mirror(&mirror);
    ferry_batch_destroy(batch);
    drop_mirror(&mirror);
    close(fd);
    close(out);
    free(bytes);
    free(got);
}

/* Files alone, apart in their buffers: where the host reaches those nothing is staged. */
static void test_batch_of_files(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 40, PART = 30011 };
    unsigned char *bytes = scribbled(COUNT * PART, 10);
    int fd = make_file(bytes, COUNT * PART, 0), out = unnamed(0);
    struct mirror mirror = make_mirror(fixture->device, COUNT * PART, FERRY_STORAGE_PRIVATE, 11);
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    OK(ferry_batch_create(fixture->device, &batch));
    for (size_t i = 0; i < COUNT; i++) {
        const size_t from = (COUNT - 1 - i) * PART;
        OK(ferry_batch_copy_from_file(batch, mirror.buffer, fd, from, PART - 3, i * PART + 1));
        memcpy(mirror.bytes + i * PART + 1, bytes + from, PART - 3);
    }
    OK(ferry_batch_submit(batch, NULL, NULL, NULL));
    for (size_t i = 0; i < COUNT; i++)
        OK(ferry_batch_copy_to_file(batch, mirror.buffer, out, i * PART, PART, i * PART));
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    expect_mirror(&mirror);
    expect_file(out, mirror.bytes, COUNT * PART);
    ferry_batch_destroy(batch);
    drop_mirror(&mirror);
    close(fd);
    close(out);
    free(bytes);
}

/* --- many at once ------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 12, SHARE = 40000 };

struct worker {
    pthread_t thread;
    ferry_device *device;
    int fd, out;
    unsigned number;
    const unsigned char *bytes;
    bool good;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    const uint64_t at = worker->number * SHARE;
    ferry_buffer *buffer = NULL;
    unsigned char *got = malloc(SHARE);
    worker->good = got != NULL &&
                   ferry_buffer_create(worker->device, &(struct ferry_buffer_params){.size = SHARE},
                                       &buffer) == FERRY_OK;
    for (unsigned i = 0; i < ROUNDS && worker->good; i++) {
        ferry_ticket ticket = 0;
        const size_t size = SHARE - i;
        worker->good =
            ferry_copy_from_file_async(buffer, worker->fd, at, size, 0, NULL, NULL, &ticket) ==
                FERRY_OK &&
            (i % 2 == 0 || ferry_wait(worker->device, ticket, FERRY_FOREVER) == FERRY_OK) &&
            ferry_copy_to_file(buffer, worker->out, at, size, 0) == FERRY_OK &&
            ferry_copy_to_host(buffer, got, size, 0) == FERRY_OK &&
            memcmp(got, worker->bytes + at, size) == 0;
    }
    ferry_buffer_destroy(buffer);
    free(got);
    return NULL;
}

static void test_concurrent(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *bytes = scribbled(THREADS * SHARE, 12);
    int fd = make_file(bytes, THREADS * SHARE, 0), out = unnamed(0);
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){
            .device = fixture->device, .fd = fd, .out = out, .number = i, .bytes = bytes};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        assert_true(workers[i].good);
    expect_file_at(out, bytes, THREADS * SHARE, 0);
    close(fd);
    close(out);
    free(bytes);
}

/* A device is closed with all of it in flight: everything is done, and calls back, first. */
static void test_close(void **state)
{
    (void)state;
    enum { COUNT = 30, SIZE = 100000 };
    static struct note notes[2 * COUNT];
    unsigned char *bytes = scribbled(SIZE, 13);
    int fd = make_file(bytes, SIZE, 0), out = unnamed(0);
    ferry_device *device = open_with(NULL, &suite->params);
    for (unsigned i = 0; i < COUNT; i++) {
        ferry_buffer *buffer = make_buffer(device, SIZE, FERRY_STORAGE_PRIVATE);
        note_init(&notes[2 * i]);
        note_init(&notes[2 * i + 1]);
        OK(ferry_copy_from_file_async(buffer, fd, 0, SIZE, 0, note_callback, &notes[2 * i], NULL));
        OK(ferry_copy_to_file_async(buffer, out, (uint64_t)i * SIZE, SIZE, 0, note_callback,
                                    &notes[2 * i + 1], NULL));
        ferry_buffer_destroy(buffer);
    }
    ferry_device_close(device);
    for (unsigned i = 0; i < 2 * COUNT; i++)
        assert_true(notes[i].calls == 1 && notes[i].status == FERRY_OK);
    for (unsigned i = 0; i < COUNT; i++)
        expect_file_at(out, bytes, SIZE, (off_t)i * SIZE);
    close(fd);
    close(out);
    free(bytes);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_sizes),      SUITE_TEST(test_direct_io),
    SUITE_TEST(test_large),      SUITE_TEST(test_threads),
    SUITE_TEST(test_far),        SUITE_TEST(test_order),
    SUITE_TEST(test_batch),      SUITE_TEST(test_batch_of_files),
    SUITE_TEST(test_concurrent), SUITE_TEST(test_close),
};

SUITE_GROUP(files);
