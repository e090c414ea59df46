/* Memory of a buffer that others have too: exported, imported, refused. Two processes: test_share. */
#define _POSIX_C_SOURCE 200809L /* fcntl's and pipe's names */
#include "suite.h"

#include <fcntl.h>
#include <unistd.h>

enum { SIZE = 100003, FDS = 1024 };

static const struct ferry_buffer_params shared = {
    .size = SIZE, .flags = FERRY_BUFFER_EXPORTABLE, .label = "ours"};

/* Skips the test where the device has no memory to share. First in a test: nothing is open yet. */
static void require_sharing(ferry_device *device)
{
    ferry_buffer *buffer = NULL;
    const enum ferry_status status = ferry_buffer_create(device, &shared, &buffer);
    suite_skip_unless(status != FERRY_ERROR_UNSUPPORTED, "the device shares no memory");
    OK(status);
    ferry_buffer_destroy(buffer);
}

static ferry_buffer *make_shared(ferry_device *device, size_t size)
{
    ferry_buffer *buffer = NULL;
    struct ferry_buffer_params params = shared;
    params.size = size;
    OK(ferry_buffer_create(device, &params, &buffer));
    return buffer;
}

struct given {
    int fd;
    size_t size, offset;
};

static struct given give(ferry_buffer *buffer)
{
    struct given given = {.fd = -1};
    OK(ferry_buffer_export(buffer, FERRY_HANDLE_OPAQUE_FD, &given.fd, &given.size, &given.offset));
    assert_true(given.fd >= 0);
    assert_true(given.size >= given.offset + ferry_buffer_size(buffer));
    return given;
}

static struct ferry_import_params params_of(struct given given, size_t size)
{
    return (struct ferry_import_params){.handle = FERRY_HANDLE_OPAQUE_FD,
                                        .fd = given.fd,
                                        .memory_size = given.size,
                                        .offset = given.offset,
                                        .size = size,
                                        .label = "theirs"};
}

static ferry_buffer *take(ferry_device *device, struct given given, size_t size)
{
    ferry_buffer *buffer = NULL;
    const struct ferry_import_params params = params_of(given, size);
    OK(ferry_buffer_import(device, &params, &buffer));
    assert_true(fcntl(given.fd, F_GETFD) >= 0); /* it stays the caller's */
    return buffer;
}

/* Scattered blocks, from the host and then within the memory; bytes is what it holds. */
static void write_blocks(ferry_buffer *one, ferry_buffer *other, unsigned char *bytes)
{
    enum { BLOCKS = 40, BLOCK = 77 };
    struct ferry_block up[BLOCKS], within[BLOCKS];
    unsigned char *host = scribbled(BLOCKS * BLOCK, 17);
    for (size_t i = 0; i < BLOCKS; i++) {
        up[i] = (struct ferry_block){501 + i * 1009, i * BLOCK, BLOCK};
        within[i] = (struct ferry_block){60003 + i * 333, 501 + i * 1009, BLOCK};
        memcpy(bytes + up[i].dst_offset, host + up[i].src_offset, BLOCK);
        memcpy(bytes + within[i].dst_offset, bytes + within[i].src_offset, BLOCK);
    }
    OK(ferry_copy_blocks_from_host(one, host, up, BLOCKS));
    OK(ferry_copy_blocks(other, other, within, BLOCKS));
    free(host);
}

/* Writes by one, and finds it by the other: all of it, and parts at awkward places. */
static void expect_same_memory(ferry_buffer *one, ferry_buffer *other, unsigned seed)
{
    static const struct {
        size_t offset, size;
    } parts[] = {{0, 1}, {3, 4097}, {4095, 33}, {SIZE - 5, 5}, {65537, 31}};
    unsigned char *bytes = scribbled(SIZE, seed), *got = xmalloc(SIZE);
    OK(ferry_copy_from_host(one, bytes, SIZE, 0));
    OK(ferry_copy_to_host(other, got, SIZE, 0));
    expect_bytes(got, bytes, SIZE, "all of it");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const size_t at = parts[i].offset, size = parts[i].size;
        memset(bytes + at, (int)(i + seed), size);
        OK(ferry_copy_from_host(i % 2 ? one : other, bytes + at, size, at));
        OK(ferry_copy_to_host(i % 2 ? other : one, got, SIZE, 0));
        expect_bytes(got, bytes, SIZE, "a part");
    }
    OK(ferry_fill_buffer(other, 5001, 7, "abc", 3));
    model_fill(bytes, 5001, 7, "abc", 3);
    OK(ferry_copy_buffer(one, one, 60001, 11, 3));
    memmove(bytes + 11, bytes + 3, 60001);
    OK(ferry_copy_to_host(other, got, SIZE, 0));
    expect_bytes(got, bytes, SIZE, "filled and moved");
    write_blocks(one, other, bytes);
    OK(ferry_copy_to_host(other, got, SIZE, 0));
    expect_bytes(got, bytes, SIZE, "blocks");
    free(bytes);
    free(got);
}

static void test_two_devices(void **state)
{
    struct fixture *fixture = *state;
    require_sharing(fixture->device);
    ferry_device *second = open_with(NULL, &suite->params);
    ferry_buffer *ours = make_shared(fixture->device, SIZE);
    const struct given given = give(ours);
    ferry_buffer *theirs = take(second, given, SIZE);
    assert_int_equal(ferry_buffer_size(theirs), SIZE);
    close(given.fd); /* whoever has the memory has it without */
    expect_same_memory(ours, theirs, 1);
    expect_same_memory(theirs, ours, 2);
    ferry_buffer_destroy(theirs);
    expect_same_memory(ours, ours, 3);
    ferry_buffer_destroy(ours);
    ferry_device_close(second);
}

/* The exporter's end is not the memory's, which no other buffer gets meanwhile. */
static void test_outlives_exporter(void **state)
{
    struct fixture *fixture = *state;
    require_sharing(fixture->device);
    ferry_device *first = open_with(NULL, &suite->params);
    ferry_buffer *ours = make_shared(first, SIZE);
    unsigned char *bytes = scribbled(SIZE, 9), *got = xmalloc(SIZE);
    const struct given given = give(ours);
    OK(ferry_copy_from_host(ours, bytes, SIZE, 0));
    ferry_buffer *theirs = take(fixture->device, given, SIZE);
    ferry_buffer_destroy(ours);
    for (int i = 0; i < 4; i++) {
        ferry_buffer *next =
            i % 2 ? make_shared(first, SIZE) : make_buffer(first, SIZE, FERRY_STORAGE_PRIVATE);
        OK(ferry_fill_buffer(next, SIZE, 0, "n", 1));
        ferry_buffer_destroy(next);
    }
    ferry_device_close(first);
    OK(ferry_copy_to_host(theirs, got, SIZE, 0));
    expect_bytes(got, bytes, SIZE, "what the first device wrote");
    ferry_buffer_destroy(theirs);
    theirs = take(fixture->device, given, SIZE); /* the descriptor has it too */
    OK(ferry_copy_to_host(theirs, got, SIZE, 0));
    expect_bytes(got, bytes, SIZE, "what the descriptor is of");
    ferry_buffer_destroy(theirs);
    close(given.fd);
    free(bytes);
    free(got);
}

/* A part of the memory, and what was taken in given on. */
static void test_part_and_again(void **state)
{
    struct fixture *fixture = *state;
    require_sharing(fixture->device);
    ferry_buffer *ours = make_shared(fixture->device, SIZE), *none = NULL;
    struct given given = give(ours);
    const size_t whole = given.size;
    given.offset += 4096;
    ferry_buffer *part = take(fixture->device, given, 0);
    assert_int_equal(ferry_buffer_size(part), whole - given.offset);
    close(given.fd);
    given = give(part);
    assert_int_equal(given.offset, 4096);
    assert_int_equal(given.size, whole);
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_buffer_export(part, FERRY_HANDLE_DMA_BUF, &given.fd, &given.size, &given.offset));
    ferry_buffer *again = take(fixture->device, given, 777);
    unsigned char *bytes = scribbled(777, 4), got[777];
    OK(ferry_copy_from_host(again, bytes, 777, 0));
    OK(ferry_copy_to_host(ours, got, 777, 4096));
    expect_bytes(got, bytes, 777, "through the third");
    ferry_buffer_destroy(ours);
    ferry_buffer_destroy(part);
    OK(ferry_copy_to_host(again, got, 777, 0));
    expect_bytes(got, bytes, 777, "through the last");
    ferry_buffer_destroy(again);
    assert_null(none);
    close(given.fd);
    free(bytes);
}

static void test_zeroed(void **state)
{
    struct fixture *fixture = *state;
    require_sharing(fixture->device);
    ferry_buffer *first = make_shared(fixture->device, SIZE), *buffer = NULL;
    unsigned char *zeros = calloc(1, SIZE), *got = xmalloc(SIZE);
    OK(ferry_fill_buffer(first, SIZE, 0, "x", 1));
    ferry_buffer_destroy(first);
    OK(ferry_buffer_create(fixture->device,
                           &(struct ferry_buffer_params){
                               .size = SIZE, .zeroed = true, .flags = FERRY_BUFFER_EXPORTABLE},
                           &buffer));
    OK(ferry_copy_to_host(buffer, got, SIZE, 0));
    expect_bytes(got, zeros, SIZE, "a new buffer");
    ferry_buffer_destroy(buffer);
    free(zeros);
    free(got);
}

static size_t open_fds(void)
{
    size_t count = 0;
    for (int fd = 0; fd < FDS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_no_descriptor_is_left(void **state)
{
    struct fixture *fixture = *state;
    require_sharing(fixture->device);
    ferry_buffer *none = NULL;
    ferry_buffer_destroy(make_shared(fixture->device, SIZE)); /* what a driver keeps, it has now */
    OK(ferry_device_trim(fixture->device));
    const size_t before = open_fds();
    for (int i = 0; i < 10; i++) {
        ferry_buffer *ours = make_shared(fixture->device, SIZE);
        const struct given given = give(ours);
        ferry_buffer *theirs = take(fixture->device, given, SIZE);
        struct ferry_import_params wrong = params_of(given, SIZE);
        wrong.memory_size = given.size + (1 << 20);
        assert_true(ferry_buffer_import(fixture->device, &wrong, &none) != FERRY_OK);
        close(given.fd);
        ferry_buffer_destroy(i % 2 ? ours : theirs);
        ferry_buffer_destroy(i % 2 ? theirs : ours);
    }
    OK(ferry_device_trim(fixture->device));
    assert_int_equal(open_fds(), before);
}

static void test_refused(void **state)
{
    struct fixture *fixture = *state;
    require_sharing(fixture->device);
    ferry_device *device = fixture->device;
    ferry_buffer *buffer = make_shared(device, SIZE), *none = NULL;
    ferry_buffer *ordinary = make_buffer(device, SIZE, FERRY_STORAGE_PRIVATE);
    const struct given given = give(buffer);
    const int fd = given.fd;
    const size_t size = given.size;
    size_t out_size, out_offset;
    int out = -1, pipes[2];
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_buffer_export(ordinary, FERRY_HANDLE_OPAQUE_FD, &out, &out_size, &out_offset));
    expect_words("FERRY_BUFFER_EXPORTABLE");
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_export(buffer, (enum ferry_handle)3, &out, &out_size, &out_offset));
    assert_int_equal(out, -1);
    assert_int_equal(pipe(pipes), 0);
    const struct {
        struct ferry_import_params params;
        enum ferry_status status;
    } cases[] = {
        {{FERRY_HANDLE_OPAQUE_FD, fd, size, 100, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, fd, 0, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, -1, size, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{(enum ferry_handle)0, fd, size, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, fd, size, 0, 0, NULL, {1}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, fd, size, 256, size, NULL, {0}}, FERRY_ERROR_OUT_OF_RANGE},
        {{FERRY_HANDLE_OPAQUE_FD, fd, size + (1 << 20), 0, 0, NULL, {0}},
         FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, pipes[0], 4096, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, 9999, 4096, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (ferry_buffer_import(device, &cases[i].params, &none) != cases[i].status)
            fail_msg("case %zu: %s", i, ferry_last_error());
    assert_null(none);
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    const struct ferry_import_params null = {
        FERRY_HANDLE_OPAQUE_FD, nothing, 4096, 0, 0, NULL, {0}};
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_buffer_import(device, &null, &none));
    expect_same_memory(buffer, buffer, 5); /* nothing of it harmed it */
    close(nothing);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(ordinary);
}

/* The second device may be of another kind: then it is the same memory, or none, in words. */
static void test_second(void **state)
{
    struct fixture *fixture = *state;
    require_sharing(fixture->device);
    ferry_device *second = open_second();
    ferry_buffer *ours = make_shared(fixture->device, SIZE), *theirs = NULL;
    const struct given given = give(ours);
    const struct ferry_import_params params = params_of(given, SIZE);
    const enum ferry_status status = ferry_buffer_import(second, &params, &theirs);
    if (!status)
        expect_same_memory(ours, theirs, 6);
    else if (status != FERRY_ERROR_INVALID_ARGUMENT && status != FERRY_ERROR_UNSUPPORTED)
        OK(status);
    else
        expect_words("ferry_buffer_import: ");
    ferry_buffer_destroy(theirs);
    ferry_buffer_destroy(ours);
    close(given.fd);
    ferry_device_close(second);
}

/* What lies idle in the pool is given back before memory for others is refused. */
static void test_idle_makes_room(void **state)
{
    enum { MUCH = 5 << 20 };
    struct fixture *fixture = *state;
    require_sharing(fixture->device);
    ferry_device *device = open_with("memory=8M", &suite->params);
    ferry_buffer *buffer = make_buffer(device, MUCH, FERRY_STORAGE_PRIVATE);
    ferry_buffer_destroy(buffer);
    buffer = make_shared(device, MUCH);
    const struct given given = give(buffer);
    struct ferry_stats stats = read_stats(device);
    assert_int_equal(stats.memory_in_use_bytes, MUCH);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(make_shared(device, MUCH));
    stats = read_stats(device);
    assert_int_equal(stats.memory_in_use_bytes, 0);
    close(given.fd);
    ferry_device_close(device);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_two_devices),
    SUITE_TEST(test_outlives_exporter),
    SUITE_TEST(test_part_and_again),
    SUITE_TEST(test_zeroed),
    SUITE_TEST(test_no_descriptor_is_left),
    SUITE_TEST(test_refused),
    SUITE_TEST(test_second),
    SUITE_TEST(test_idle_makes_room),
};

SUITE_GROUP(share);
