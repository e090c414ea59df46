/* Offsets and sizes beyond 4 GiB. Memory is committed lazily: only few pages are touched, but for
 * the one test that moves more than 4 GiB in one call. */
#include "suite.h"

#include <sys/mman.h>

static const uint64_t four = UINT64_C(1) << 32;

static ferry_buffer *huge_buffer(struct fixture *fixture, uint64_t size)
{
    suite_skip_unless(!suite_sanitised(), "a sanitised build commits too much memory");
    suite_skip_unless(fixture->info.max_buffer_size >= size, "no buffer may be this large here");
    struct ferry_memory_info memory;
    OK(ferry_device_get_memory(fixture->device, &memory));
    suite_skip_unless(memory.available >= size, "the device has not this much memory free");
    return make_buffer(fixture->device, (size_t)size, FERRY_STORAGE_PRIVATE);
}

static void expect_at(ferry_buffer *buffer, const unsigned char *want, size_t size, uint64_t offset)
{
    unsigned char got[8192];
    assert_true(size <= sizeof got);
    memset(got, 0xA5, sizeof got);
    OK(ferry_copy_to_host(buffer, got, size, (size_t)offset));
    expect_bytes(got, want, size, "the part beyond 4 GiB");
}

static void test_offsets(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = huge_buffer(fixture, four + 65536);
    static const uint64_t from_four[] = {0, 1, 3, 4096, 65536 - 4097};
    unsigned char *bytes = scribbled(4097, 1);
    for (size_t i = 0; i < sizeof from_four / sizeof from_four[0]; i++) {
        uint64_t offset = four + from_four[i];
        OK(ferry_copy_from_host(buffer, bytes, 4097, (size_t)offset));
        expect_at(buffer, bytes, 4097, offset);
        OK(ferry_copy_from_host(buffer, bytes, 4097, (size_t)offset - 4096 - from_four[i]));
        expect_at(buffer, bytes, 4097, offset - 4096 - from_four[i]);
        OK(ferry_copy_buffer(buffer, buffer, 4097, 17, (size_t)(four - 4096)));
        expect_at(buffer, bytes, 4097, 17);
    }
    free(bytes);
    ferry_buffer_destroy(buffer);
}

static void test_fill_across(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = huge_buffer(fixture, four + 65536);
    unsigned char want[1024];
    memset(want, 0x77, sizeof want);
    OK(ferry_copy_from_host(buffer, want, sizeof want, (size_t)(four - 500)));
    model_fill(want, 601, 100, "abc", 3);
    OK(ferry_fill_buffer(buffer, 601, (size_t)(four - 400), "abc", 3));
    expect_at(buffer, want, sizeof want, four - 500);
    ferry_buffer_destroy(buffer);
}

static void test_bounds(void **state)
{
    struct fixture *fixture = *state;
    uint64_t size = four + 65536;
    ferry_buffer *buffer = huge_buffer(fixture, size);
    unsigned char byte = 1;
    assert_true(ferry_buffer_size(buffer) == size);
    OK(ferry_copy_from_host(buffer, &byte, 1, (size_t)size - 1));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_host(buffer, &byte, 1, (size_t)size));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_to_host(buffer, &byte, (size_t)four, 65537));
    ferry_buffer_destroy(buffer);
}

/* A file of little memory seen again and again: more than 4 GiB to read from. The period divides no
 * power of 2, so an address that lost its upper bits shows. */
enum { PERIOD = 48 << 20, PERIODS = 86 };

static unsigned char *map_repeated(const unsigned char *bytes)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, PERIOD, file), PERIOD);
    assert_int_equal(fflush(file), 0);
    unsigned char *memory = mmap(NULL, (size_t)PERIOD * PERIODS, PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(memory != MAP_FAILED);
    for (size_t i = 0; i < PERIODS; i++)
        assert_true(mmap(memory + i * PERIOD, PERIOD, PROT_READ, MAP_SHARED | MAP_FIXED,
                         fileno(file), 0) != MAP_FAILED);
    fclose(file);
    return memory;
}

static void test_one_upload(void **state)
{
    struct fixture *fixture = *state;
    suite_skip_unless(suite->big, "this configuration does not move 4 GiB");
    uint64_t size = (uint64_t)PERIOD * PERIODS - 5;
    assert_true(size > four);
    ferry_buffer *buffer = huge_buffer(fixture, size);
    unsigned char *bytes = scribbled(PERIOD, 3);
    unsigned char *memory = map_repeated(bytes);
    OK(ferry_copy_from_host(buffer, memory, (size_t)size, 0));
    munmap(memory, (size_t)PERIOD * PERIODS);
    for (uint64_t at = 1000; at + 5000 < size; at += (37u << 20) + 4097)
        if (at % PERIOD + 4097 <= PERIOD)
            expect_at(buffer, bytes + at % PERIOD, 4097, at);
    expect_at(buffer, bytes + PERIOD - 105, 100, size - 100);
    free(bytes);
    ferry_buffer_destroy(buffer);
}

static void test_one_download(void **state)
{
    struct fixture *fixture = *state;
    suite_skip_unless(suite->big, "this configuration does not move 4 GiB");
    uint64_t size = four + 4097;
    ferry_buffer *buffer = NULL;
    ferry_buffer_destroy(huge_buffer(fixture, size));
    OK(ferry_buffer_create(fixture->device,
                           &(struct ferry_buffer_params){.size = (size_t)size, .zeroed = true},
                           &buffer));
    static const uint64_t marks[] = {0, 1, 4095, 1u << 31, 0xFFFFFFFF, 0x100000000, 0x100001000};
    enum { MARKS = sizeof marks / sizeof marks[0] };
    for (unsigned i = 0; i < MARKS; i++) {
        unsigned char mark = (unsigned char)(i + 1);
        OK(ferry_copy_from_host(buffer, &mark, 1, (size_t)marks[i]));
    }
    unsigned char *memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(memory != MAP_FAILED);
#ifdef MADV_HUGEPAGE
    madvise(memory, (size_t)size, MADV_HUGEPAGE); /* a fault for each page took most of the time */
#endif
    OK(ferry_copy_to_host(buffer, memory, (size_t)size, 0));
    for (unsigned i = 0; i < MARKS; i++)
        assert_int_equal(memory[marks[i]], i + 1);
    for (uint64_t i = 4096 * 3 + 5; i < size - 4098; i += 1 << 20)
        assert_int_equal(memory[i], 0);
    munmap(memory, (size_t)size);
    ferry_buffer_destroy(buffer);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_offsets),    SUITE_TEST(test_fill_across),  SUITE_TEST(test_bounds),
    SUITE_TEST(test_one_upload), SUITE_TEST(test_one_download),
};

SUITE_GROUP(large);
