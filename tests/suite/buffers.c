/* Buffers: what they say of themselves, contents, zeroed memory, waiting for one. */
#include "suite.h"

static void test_properties(void **state)
{
    struct fixture *fixture = *state;
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 1; i < suite_size_count; i++) {
            ferry_buffer *buffer = make_buffer(fixture->device, suite_sizes[i], suite_storages[s]);
            assert_int_equal(ferry_buffer_size(buffer), suite_sizes[i]);
            assert_int_equal(ferry_buffer_storage(buffer), suite_storages[s]);
            assert_ptr_equal(ferry_buffer_device(buffer), fixture->device);
            ferry_buffer_destroy(buffer);
        }
    }
}

static void expect_zeroed(ferry_device *device, enum ferry_storage storage, size_t size, bool asked)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(
        device, &(struct ferry_buffer_params){.size = size, .storage = storage, .zeroed = asked},
        &buffer));
    struct mirror mirror = {buffer, calloc(1, size), size};
    assert_non_null(mirror.bytes);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* On memory that another buffer left full of bytes. */
static void expect_all_zeroed(ferry_device *device, bool asked)
{
    for (unsigned round = 0; round < 3; round++) {
        for (size_t s = 0; s < 2; s++) {
            for (size_t i = 1; i < suite_size_count; i++) {
                struct mirror old = make_mirror(device, suite_sizes[i], suite_storages[s], round);
                drop_mirror(&old);
                expect_zeroed(device, suite_storages[s], suite_sizes[i], asked);
            }
        }
    }
}

static void test_zeroed(void **state)
{
    struct fixture *fixture = *state;
    expect_all_zeroed(fixture->device, true);
}

/* Everything that such a device hands out, whatever it was before. */
static void test_zeroed_device(void **state)
{
    (void)state;
    struct ferry_device_params params = suite->params;
    params.zeroed = true;
    ferry_device *device = open_with(NULL, &params);
    expect_all_zeroed(device, false);
    for (unsigned round = 0; round < 8; round++) {
        const size_t size = suite_sizes[1 + round % (suite_size_count - 1)];
        unsigned char *memory = NULL;
        OK(ferry_host_alloc(device, size, (void **)&memory));
        for (size_t i = 0; i < size; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xA5, size);
        ferry_host_free(device, memory);
    }
    ferry_device_close(device);
}

static void test_contents(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 1; i < suite_size_count; i++) {
        size_t size = suite_sizes[i];
        struct mirror mirror = make_mirror(fixture->device, size, FERRY_STORAGE_SHARED, 1);
        void *contents = NULL, *again = NULL;
        OK(ferry_buffer_contents(mirror.buffer, &contents));
        assert_int_equal((uintptr_t)contents % FERRY_BUFFER_ALIGNMENT, 0);
        expect_bytes(contents, mirror.bytes, size, "contents");
        scribble(contents, size, 2);
        scribble(mirror.bytes, size, 2);
        expect_mirror(&mirror);
        OK(ferry_buffer_contents(mirror.buffer, &again));
        assert_ptr_equal(contents, again);
        drop_mirror(&mirror);
    }
}

static void test_private_has_no_contents(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = make_buffer(fixture->device, 64, FERRY_STORAGE_PRIVATE);
    void *contents = &buffer;
    IS(FERRY_ERROR_UNSUPPORTED, ferry_buffer_contents(buffer, &contents));
    assert_ptr_equal(contents, &buffer);
    ferry_buffer_destroy(buffer);
}

/* What the CPU writes through contents, the device reads; and the other way round. */
static void test_contents_and_copies(void **state)
{
    struct fixture *fixture = *state;
    struct mirror shared = make_mirror(fixture->device, 70000, FERRY_STORAGE_SHARED, 3);
    struct mirror private = make_mirror(fixture->device, 70000, FERRY_STORAGE_PRIVATE, 4);
    unsigned char *contents = NULL;
    for (unsigned round = 0; round < 10; round++) {
        OK(ferry_buffer_contents(shared.buffer, (void **)&contents));
        scribble(contents, shared.size, 10 + round);
        OK(ferry_copy_buffer_async(private.buffer, shared.buffer, 69000, 3, 5, NULL, NULL, NULL));
        scribble(shared.bytes, shared.size, 10 + round);
        memcpy(private.bytes + 3, shared.bytes + 5, 69000);
        OK(ferry_fill_buffer_async(shared.buffer, 100, 50, "xyz", 3, NULL, NULL, NULL));
        model_fill(shared.bytes, 100, 50, "xyz", 3);
        OK(ferry_buffer_contents(shared.buffer, (void **)&contents));
        expect_bytes(contents, shared.bytes, shared.size, "contents");
        expect_mirror(&private);
    }
    drop_mirror(&shared);
    drop_mirror(&private);
}

static void test_wait_for_buffer(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 5);
    OK(ferry_buffer_wait(mirror.buffer, 0));
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(mirror.buffer, 0));
    IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(mirror.buffer, 1000000));
    release(fixture->device, &held);
    OK(ferry_buffer_wait(mirror.buffer, FERRY_FOREVER));
    held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    release_failed(fixture->device, &held);
    OK(ferry_buffer_wait(mirror.buffer, FERRY_FOREVER));
    drop_mirror(&mirror);
}

/* Waiting for one buffer does not wait for another's work. */
static void test_wait_for_one(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror busy = make_mirror(fixture->device, 100, FERRY_STORAGE_SHARED, 6);
    struct mirror idle = make_mirror(fixture->device, 100, FERRY_STORAGE_SHARED, 7);
    struct ferry_external held = hold(fixture->device, busy.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_fill_buffer_async(busy.buffer, 10, 0, "a", 1, NULL, NULL, NULL));
    OK(ferry_fill_buffer_async(idle.buffer, 10, 0, "b", 1, NULL, NULL, NULL));
    model_fill(busy.bytes, 10, 0, "a", 1);
    model_fill(idle.bytes, 10, 0, "b", 1);
    OK(ferry_buffer_wait(idle.buffer, FERRY_FOREVER));
    void *contents = NULL;
    OK(ferry_buffer_contents(idle.buffer, &contents));
    expect_bytes(contents, idle.bytes, idle.size, "contents");
    release(fixture->device, &held);
    expect_mirror(&busy);
    drop_mirror(&busy);
    drop_mirror(&idle);
}

static void test_many(void **state)
{
    struct fixture *fixture = *state;
    enum { MANY = 200 };
    struct mirror mirrors[MANY];
    for (unsigned i = 0; i < MANY; i++)
        mirrors[i] = make_mirror(fixture->device, 1 + i * 7, suite_storages[i % 2], i);
    for (unsigned i = 0; i < MANY; i += 3)
        drop_mirror(&mirrors[i]);
    for (unsigned i = 0; i < MANY; i += 3)
        mirrors[i] = make_mirror(fixture->device, 1 + i * 5, suite_storages[i % 2], i);
    for (unsigned i = 0; i < MANY; i++) {
        expect_mirror(&mirrors[i]);
        drop_mirror(&mirrors[i]);
    }
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_properties),
    SUITE_TEST(test_zeroed),
    SUITE_TEST(test_zeroed_device),
    SUITE_TEST(test_contents),
    SUITE_TEST(test_private_has_no_contents),
    SUITE_TEST(test_contents_and_copies),
    SUITE_TEST(test_wait_for_buffer),
    SUITE_TEST(test_wait_for_one),
    SUITE_TEST(test_many),
};

SUITE_GROUP(buffers);
