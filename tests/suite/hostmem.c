/* Host memory: allocated by Ferry, registered by the user, at any address and of any size. */
#include "suite.h"

#include <sys/mman.h>
#include <unistd.h>

static void round_trip(ferry_device *device, unsigned char *memory, size_t size)
{
    struct mirror mirror = make_mirror(device, size + 20, FERRY_STORAGE_PRIVATE, 1);
    scribble(memory, size, 2);
    memcpy(mirror.bytes + 7, memory, size);
    OK(ferry_copy_from_host(mirror.buffer, memory, size, 7));
    expect_mirror(&mirror);
    memset(memory, 0, size);
    OK(ferry_copy_to_host(mirror.buffer, memory, size, 7));
    expect_bytes(memory, mirror.bytes + 7, size, "host memory");
    drop_mirror(&mirror);
}

static void test_alloc(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 1; i < suite_size_count; i++) {
        void *memory = NULL;
        OK(ferry_host_alloc(fixture->device, suite_sizes[i], &memory));
        assert_int_equal((uintptr_t)memory % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
        round_trip(fixture->device, memory, suite_sizes[i]);
        ferry_host_free(fixture->device, memory);
    }
    ferry_host_free(fixture->device, NULL);
}

/* Parts of an allocation at awkward places, with a guard round each. */
static void test_parts(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *memory = NULL, *want = scribbled(80000, 3);
    struct mirror mirror = make_mirror(fixture->device, 70000, FERRY_STORAGE_PRIVATE, 4);
    OK(ferry_host_alloc(fixture->device, 80000, (void **)&memory));
    memcpy(memory, want, 80000);
    for (size_t i = 0; i < suite_size_count; i++) {
        for (size_t j = 0; j < suite_offset_count; j++) {
            size_t size = suite_sizes[i], at = 4093 + suite_offsets[j];
            memcpy(want + at, mirror.bytes + suite_offsets[j], size);
            OK(ferry_copy_to_host(mirror.buffer, memory + at, size, suite_offsets[j]));
            expect_bytes(memory, want, 80000, "the allocation");
            memcpy(mirror.bytes + 3, want + at - 1, size);
            OK(ferry_copy_from_host(mirror.buffer, memory + at - 1, size, 3));
        }
    }
    expect_mirror(&mirror);
    ferry_host_free(fixture->device, memory);
    free(want);
    drop_mirror(&mirror);
}

static void test_free_in_flight(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 70000, FERRY_STORAGE_PRIVATE, 5);
    void *memory = NULL;
    OK(ferry_host_alloc(fixture->device, 70000, &memory));
    scribble(memory, 70000, 6);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_from_host_async(mirror.buffer, memory, 70000, 0, NULL, NULL, NULL));
    ferry_host_free(fixture->device, memory);
    release(fixture->device, &held);
    scribble(mirror.bytes, 70000, 6);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_register(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 1; i < suite_size_count; i++) {
        for (size_t j = 0; j < suite_offset_count; j++) {
            size_t size = suite_sizes[i];
            unsigned char *memory = xmalloc(size + 64);
            memset(memory, 0xC3, size + 64);
            unsigned char *base = memory + suite_offsets[j];
            OK(ferry_host_register(fixture->device, base, size, 0));
            round_trip(fixture->device, base, size);
            OK(ferry_host_unregister(fixture->device, base));
            round_trip(fixture->device, base, size);
            for (size_t k = size; k < size + 64 - suite_offsets[j]; k++)
                assert_int_equal(base[k], 0xC3);
            free(memory);
        }
    }
}

/* Transfers inside, across the edges of, and round a registered range. */
static void test_straddling(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *memory = xmalloc(60000);
    OK(ferry_host_register(fixture->device, memory + 20003, 20001, 0));
    round_trip(fixture->device, memory + 20003, 20001);
    round_trip(fixture->device, memory + 20010, 5000);
    round_trip(fixture->device, memory + 19000, 5000);
    round_trip(fixture->device, memory + 39000, 5000);
    round_trip(fixture->device, memory + 1, 59990);
    OK(ferry_host_unregister(fixture->device, memory + 20003));
    free(memory);
}

static void test_registered_twice(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *memory = xmalloc(10000);
    OK(ferry_host_register(fixture->device, memory + 1000, 1000, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, memory + 1000, 1000, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, memory + 1999, 10, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, memory, 1001, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, memory, 10000, 0));
    OK(ferry_host_register(fixture->device, memory, 1000, 0));
    OK(ferry_host_register(fixture->device, memory + 2000, 1, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_unregister(fixture->device, memory + 1001));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_unregister(fixture->device, memory + 5000));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_unregister(fixture->device, NULL));
    OK(ferry_host_unregister(fixture->device, memory));
    OK(ferry_host_unregister(fixture->device, memory + 1000));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_unregister(fixture->device, memory + 1000));
    OK(ferry_host_unregister(fixture->device, memory + 2000));
    free(memory);
}

/* Memory that may only be read is a source of uploads. */
static void test_read_only(void **state)
{
    struct fixture *fixture = *state;
    size_t size = 5 * (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    scribble(memory, size, 7);
    assert_int_equal(mprotect(memory, size, PROT_READ), 0);
    struct mirror mirror = make_mirror(fixture->device, size, FERRY_STORAGE_PRIVATE, 8);
    OK(ferry_host_register(fixture->device, memory, size, FERRY_HOST_READ_ONLY));
    OK(ferry_copy_from_host(mirror.buffer, memory + 3, size - 5, 1));
    memcpy(mirror.bytes + 1, memory + 3, size - 5);
    expect_mirror(&mirror);
    OK(ferry_host_unregister(fixture->device, memory));
    OK(ferry_copy_from_host(mirror.buffer, memory, size, 0));
    memcpy(mirror.bytes, memory, size);
    expect_mirror(&mirror);
    munmap(memory, size);
    drop_mirror(&mirror);
}

/* Unregister waits for what uses the memory: afterwards it may be freed. */
static void test_unregister_waits(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 200000, FERRY_STORAGE_PRIVATE, 9);
    for (unsigned round = 0; round < 5; round++) {
        unsigned char *memory = scribbled(200000, 10 + round);
        OK(ferry_host_register(fixture->device, memory, 200000, 0));
        memcpy(mirror.bytes, memory, 200000);
        for (unsigned i = 0; i < 8; i++)
            OK(ferry_copy_from_host_async(mirror.buffer, memory + i * 25000, 25000, i * 25000, NULL,
                                          NULL, NULL));
        OK(ferry_host_unregister(fixture->device, memory));
        memset(memory, 0xEE, 200000);
        free(memory);
        expect_mirror(&mirror);
    }
    drop_mirror(&mirror);
}

static void test_bad_input(void **state)
{
    struct fixture *fixture = *state;
    unsigned char byte[10];
    void *out = &byte;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_alloc(NULL, 10, &out));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_alloc(fixture->device, 0, &out));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_alloc(fixture->device, 10, NULL));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(NULL, byte, 10, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, NULL, 10, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, byte, 0, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, byte, 10, 64));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_register(fixture->device, byte, SIZE_MAX, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_host_unregister(NULL, byte));
    IS(FERRY_ERROR_OUT_OF_HOST_MEMORY, ferry_host_alloc(fixture->device, SIZE_MAX, &out));
    IS(FERRY_ERROR_OUT_OF_HOST_MEMORY, ferry_host_alloc(fixture->device, SIZE_MAX - 4095, &out));
    IS(FERRY_ERROR_OUT_OF_HOST_MEMORY, ferry_host_alloc(fixture->device, SIZE_MAX / 2, &out));
    assert_ptr_equal(out, &byte);
}

/* Where the device cannot import, registering works, and is counted. */
static void test_no_import_is_counted(void **state)
{
    struct fixture *fixture = *state;
    unsigned char *memory = xmalloc(100000);
    ferry_device_reset_stats(fixture->device);
    OK(ferry_host_register(fixture->device, memory, 100000, 0));
    struct ferry_stats stats = read_stats(fixture->device);
    if (fixture->info.import_granularity == 0)
        assert_int_equal(stats.fallback_register, 1);
    assert_true(stats.imports + stats.fallback_register <= 1);
    round_trip(fixture->device, memory, 100000);
    OK(ferry_host_unregister(fixture->device, memory));
    free(memory);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_alloc),          SUITE_TEST(test_parts),
    SUITE_TEST(test_free_in_flight), SUITE_TEST(test_register),
    SUITE_TEST(test_straddling),     SUITE_TEST(test_registered_twice),
    SUITE_TEST(test_read_only),      SUITE_TEST(test_unregister_waits),
    SUITE_TEST(test_bad_input),      SUITE_TEST(test_no_import_is_counted),
};

SUITE_GROUP(hostmem);
