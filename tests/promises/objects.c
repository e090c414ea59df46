/* Devices and buffers. */
#include "promises.h"

enum { SIZE = 4096 };

/* "Like snprintf: writes at most capacity entries, and the number there are to *out_count. infos may
 * be NULL if capacity is 0." */
static void test_list(void **state)
{
    (void)state;
    struct ferry_device_info one[2];
    size_t all = 0, again = 0;
    OK(ferry_device_list(NULL, 0, &all));
    assert_true(all > 0);
    memset(one, 0x5A, sizeof one);
    OK(ferry_device_list(one, 1, &again));
    assert_int_equal(again, all);
    assert_true(one[0].name[0] != 0x5A && one[1].name[0] == 0x5A);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_list(NULL, 1, &again));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_list(one, 1, NULL));
}

/* "An unknown name is NO_DEVICE, with the names there are in ferry_last_error()"; outputs are written
 * on success only. */
static void test_open_unknown(void **state)
{
    (void)state;
    ferry_device *device = (ferry_device *)&device, *same = device;
    IS(FERRY_ERROR_NO_DEVICE,
       ferry_device_open(&(struct ferry_device_params){.name = "abacus"}, &device));
    expect_words("host:0");
    assert_ptr_equal(device, same);
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_device_open(&(struct ferry_device_params){.name = "host", .reserved = {1}}, &device));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_device_open(&(struct ferry_device_params){.name = "host", .staging_budget = 4095},
                         &device));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_device_open(&(struct ferry_device_params){.name = "host", .path = FERRY_PATH_BRIDGED},
                         &device));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(NULL, NULL));
    assert_ptr_equal(device, same);
}

/* "Opening the same one twice gives two independent devices" */
static void test_two_worlds(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *other = open_with(NULL, &suite->params);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_ticket ticket = 0;
    struct ferry_memory_info memory;
    OK(ferry_zero_buffer_async(buffer, NULL, NULL, &ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(other, ticket, FERRY_FOREVER));
    OK(ferry_device_get_memory(other, &memory));
    assert_int_equal(memory.in_use, 0);
    ferry_device_close(other);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    ferry_buffer_destroy(buffer);
}

/* "ferry_device_close: NULL is allowed", and of the other functions that take NULL. */
static void test_null(void **state)
{
    (void)state;
    ferry_device_close(NULL);
    ferry_buffer_destroy(NULL);
    ferry_batch_destroy(NULL);
    ferry_host_free(NULL, NULL);
    assert_int_equal(ferry_buffer_size(NULL), 0);
}

/* "Every buffer starts at a multiple of this: its contents pointer" */
static void test_alignment(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffers[20];
    for (size_t i = 0; i < 20; i++) {
        void *contents = NULL;
        buffers[i] = make_buffer(fixture->device, 1 + 37 * i, FERRY_STORAGE_SHARED);
        OK(ferry_buffer_contents(buffers[i], &contents));
        assert_int_equal((uintptr_t)contents % FERRY_BUFFER_ALIGNMENT, 0);
    }
    for (size_t i = 0; i < 20; i++)
        ferry_buffer_destroy(buffers[i]);
}

/* "Size 0 is INVALID_ARGUMENT; a size above the device's largest [...] is OUT_OF_DEVICE_MEMORY and
 * names both." */
static void test_create_refused(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = NULL;
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_create(fixture->device, &(struct ferry_buffer_params){0}, &buffer));
    const size_t size = (size_t)fixture->info.max_buffer_size + 1;
    char number[32];
    IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
       ferry_buffer_create(fixture->device, &(struct ferry_buffer_params){.size = size}, &buffer));
    snprintf(number, sizeof number, "%zu", size);
    expect_words(number);
    snprintf(number, sizeof number, "%zu", size - 1);
    expect_words(number);
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_create(fixture->device,
                           &(struct ferry_buffer_params){.size = 1, .reserved = {[2] = 1}},
                           &buffer));
    assert_null(buffer);
}

/* "label: for messages and debuggers; copied" */
static void test_label(void **state)
{
    struct fixture *fixture = *state;
    char label[] = "weights", byte = 0;
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(fixture->device,
                           &(struct ferry_buffer_params){.size = 10, .label = label}, &buffer));
    memset(label, 'x', sizeof label - 1);
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_host(buffer, &byte, 1, 10));
    expect_words("weights");
    ferry_buffer_destroy(buffer);
}

/* "zeroed: all bytes are 0 at first", also where the memory was another's. */
static void test_zeroed(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 4; round++) {
        ferry_buffer *buffer = NULL;
        unsigned char got[SIZE], zeros[SIZE] = {0};
        OK(ferry_buffer_create(fixture->device,
                               &(struct ferry_buffer_params){.size = SIZE,
                                                             .zeroed = true,
                                                             .storage = suite_storages[round % 2]},
                               &buffer));
        OK(ferry_copy_to_host(buffer, got, SIZE, 0));
        expect_bytes(got, zeros, SIZE, "a zeroed buffer");
        OK(ferry_fill_buffer(buffer, SIZE, 0, "dirt", 4));
        ferry_buffer_destroy(buffer);
    }
}

/* "The address of a shared buffer's bytes: the same for the buffer's life. A private buffer has none:
 * UNSUPPORTED." "Fails with the status of a failed write whose bytes no later write has covered." */
static void test_contents(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *shared = make_buffer(fixture->device, SIZE, FERRY_STORAGE_SHARED);
    ferry_buffer *hidden = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    void *first = NULL, *second = NULL, *none = &none;
    OK(ferry_buffer_contents(shared, &first));
    OK(ferry_fill_buffer_async(shared, SIZE, 0, "abc", 3, NULL, NULL, NULL));
    OK(ferry_buffer_contents(shared, &second));
    assert_ptr_equal(first, second);
    assert_memory_equal(first, "abcabc", 6);
    IS(FERRY_ERROR_UNSUPPORTED, ferry_buffer_contents(hidden, &none));
    assert_ptr_equal(none, &none);
    ferry_buffer_destroy(hidden);
    require_hold(fixture->device);
    struct ferry_external held = hold(fixture->device, shared, FERRY_ACCESS_WRITE);
    release_failed(fixture->device, &held);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_buffer_contents(shared, &second));
    OK(ferry_zero_buffer(shared));
    OK(ferry_buffer_contents(shared, &second));
    ferry_buffer_destroy(shared);
}

/* "in_use: requested bytes of live buffers" and the other counts. */
static void test_memory_info(void **state)
{
    struct fixture *fixture = *state;
    struct ferry_memory_info info;
    ferry_device_reset_stats(fixture->device);
    ferry_buffer *a = make_buffer(fixture->device, 1001, FERRY_STORAGE_PRIVATE);
    ferry_buffer *b = make_buffer(fixture->device, 500, FERRY_STORAGE_SHARED);
    ferry_buffer_destroy(a);
    OK(ferry_device_get_memory(fixture->device, &info));
    assert_int_equal(info.in_use, 500);
    assert_int_equal(info.peak, 1501);
    assert_int_equal(info.total_allocated, 1501);
    assert_int_equal(info.total_freed, 1001);
    assert_int_equal(info.allocation_count, 2);
    assert_int_equal(info.deallocation_count, 1);
    ferry_buffer_destroy(b);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_list),        SUITE_TEST(test_open_unknown), SUITE_TEST(test_two_worlds),
    SUITE_TEST(test_null),        SUITE_TEST(test_alignment),    SUITE_TEST(test_create_refused),
    SUITE_TEST(test_label),       SUITE_TEST(test_zeroed),       SUITE_TEST(test_contents),
    SUITE_TEST(test_memory_info),
};

SUITE_GROUP(objects);
