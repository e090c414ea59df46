/* DLPack on the strict CUDA: private memory out and in, by its address. */
#include "client.h"

#include <ferry/cuda.h>
#include <ferry/dlpack.h>
#include <stdio.h>

enum { WHOLE = 8192 };

#define OK(call) assert_int_equal((call), FERRY_OK)
#define IS(status, call) assert_int_equal((call), (status))

static unsigned char bytes[WHOLE], back[WHOLE];

static void words(const char *text)
{
    if (!strstr(ferry_last_error(), text))
        fail_msg("\"%s\" does not say \"%s\"", ferry_last_error(), text);
}

static int begin(void **state)
{
    ferry_device *device = NULL;
    setenv("STRICTCUDA", "devices=2", 1);
    strictcuda_forget();
    OK(ferry_device_open(&(struct ferry_device_params){.name = "cuda:1"}, &device));
    for (size_t i = 0; i < WHOLE; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251 + 1);
    *state = device;
    return 0;
}

static int end(void **state)
{
    ferry_device_close(*state);
    assert_broken(0, 0);
    return 0;
}

static ferry_buffer *make(ferry_device *device, enum ferry_storage storage)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = WHOLE, .storage = storage},
                           &buffer));
    return buffer;
}

static struct ferry_dlpack_view view_of(const int64_t *shape, size_t offset)
{
    return (struct ferry_dlpack_view){
        .offset = offset, .type = {FERRY_DLPACK_UINT, 8, 1}, .rank = 1, .shape = shape};
}

static void test_export(void **state)
{
    ferry_buffer *buffer = make(*state, FERRY_STORAGE_PRIVATE);
    struct ferry_dlpack_managed *managed = NULL;
    unsigned long long pointer = 0;
    const int64_t shape[] = {100};
    struct ferry_dlpack_view view = view_of(shape, 33);
    OK(ferry_copy_from_host_async(buffer, bytes, WHOLE, 0, NULL, NULL, NULL));
    OK(ferry_dlpack_export(buffer, &view, &managed));
    OK(ferry_cuda_buffer_get(buffer, &pointer));
    assert_int_equal(managed->tensor.device.type, FERRY_DLPACK_CUDA);
    assert_int_equal(managed->tensor.device.id, 1);
    assert_int_equal((uintptr_t)managed->tensor.data, pointer + 33);
    assert_int_equal(managed->tensor.byte_offset, 0);
    assert_memory_equal(strictcuda_bytes(pointer) + 33, bytes + 33, 100); /* it has waited */
    ferry_buffer_destroy(buffer);                                         /* the tensor keeps it */
    assert_memory_equal(strictcuda_bytes(pointer) + 33, bytes + 33, 100);
    managed->deleter(managed);
}

static void test_no_wait(void **state)
{
    ferry_buffer *buffer = make(*state, FERRY_STORAGE_PRIVATE);
    ferry_buffer *shared = make(*state, FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed *managed = NULL;
    const int64_t shape[] = {100};
    struct ferry_dlpack_view view = view_of(shape, 0);
    ferry_ticket ticket;
    view.flags = FERRY_DLPACK_NO_WAIT;
    strictcuda_pause(true);
    OK(ferry_copy_from_host_async(buffer, bytes, WHOLE, 0, NULL, NULL, &ticket));
    OK(ferry_dlpack_export(buffer, &view, &managed));
    IS(FERRY_PENDING, ferry_poll(*state, ticket));
    strictcuda_pause(false);
    managed->deleter(managed);
    IS(FERRY_ERROR_UNSUPPORTED, ferry_dlpack_export(shared, &view, &managed));
    words("NO_WAIT");
    view.flags = 2;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_dlpack_export(buffer, &view, &managed));
    ferry_buffer_destroy(shared);
    ferry_buffer_destroy(buffer);
}

/* Shared memory is the CPU's, and page-locked where that is asked for. */
static void test_device_types(void **state)
{
    static const struct {
        enum ferry_storage storage;
        int32_t asked;
        enum ferry_status status;
        int32_t got, id;
    } cases[] = {
        {FERRY_STORAGE_SHARED, 0, FERRY_OK, FERRY_DLPACK_CPU, 0},
        {FERRY_STORAGE_SHARED, FERRY_DLPACK_CPU, FERRY_OK, FERRY_DLPACK_CPU, 0},
        {FERRY_STORAGE_SHARED, FERRY_DLPACK_CUDA_HOST, FERRY_OK, FERRY_DLPACK_CUDA_HOST, 0},
        {FERRY_STORAGE_SHARED, FERRY_DLPACK_CUDA, FERRY_ERROR_UNSUPPORTED, 0, 0},
        {FERRY_STORAGE_PRIVATE, FERRY_DLPACK_CUDA, FERRY_OK, FERRY_DLPACK_CUDA, 1},
        {FERRY_STORAGE_PRIVATE, FERRY_DLPACK_CUDA_HOST, FERRY_ERROR_UNSUPPORTED, 0, 0},
        {FERRY_STORAGE_PRIVATE, FERRY_DLPACK_CPU, FERRY_ERROR_UNSUPPORTED, 0, 0},
    };
    const int64_t shape[] = {100};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ferry_buffer *buffer = make(*state, cases[i].storage);
        struct ferry_dlpack_managed *managed = NULL;
        struct ferry_dlpack_view view = view_of(shape, 7);
        view.device = cases[i].asked;
        IS(cases[i].status, ferry_dlpack_export(buffer, &view, &managed));
        if (managed) {
            assert_int_equal(managed->tensor.device.type, cases[i].got);
            assert_int_equal(managed->tensor.device.id, cases[i].id);
            managed->deleter(managed);
        }
        ferry_buffer_destroy(buffer);
    }
}

static int deleted;

static void note_deleted(struct ferry_dlpack_managed *self)
{
    (void)self;
    deleted++;
}

static void note_deleted_versioned(struct ferry_dlpack_managed_versioned *self)
{
    (void)self;
    deleted++;
}

static struct ferry_dlpack_tensor tensor_at(unsigned long long pointer, int32_t id, int64_t *shape)
{
    return (struct ferry_dlpack_tensor){.data = (void *)(uintptr_t)pointer,
                                        .device = {FERRY_DLPACK_CUDA, id},
                                        .rank = 1,
                                        .type = {FERRY_DLPACK_UINT, 8, 1},
                                        .shape = shape,
                                        .byte_offset = 5};
}

static void test_import(void **state)
{
    ferry_buffer *buffer = make(*state, FERRY_STORAGE_PRIVATE), *wrapped = NULL;
    unsigned long long pointer = 0, again = 0;
    int64_t shape[] = {1000};
    deleted = 0;
    OK(ferry_cuda_buffer_get(buffer, &pointer));
    struct ferry_dlpack_managed managed = {.tensor = tensor_at(pointer, 1, shape),
                                           .deleter = note_deleted};
    OK(ferry_dlpack_import(*state, &managed, FERRY_STORAGE_PRIVATE, &wrapped));
    OK(ferry_cuda_buffer_get(wrapped, &again));
    assert_int_equal(again, pointer + 5);
    assert_int_equal(ferry_buffer_size(wrapped), 1000);
    OK(ferry_zero_buffer(buffer));
    OK(ferry_copy_from_host(wrapped, bytes, 1000, 0));
    OK(ferry_copy_to_host(buffer, back, WHOLE, 0));
    assert_memory_equal(back + 5, bytes, 1000);
    assert_int_equal(back[4] | back[1005], 0);
    assert_int_equal(deleted, 0);
    ferry_buffer_destroy(wrapped);
    assert_int_equal(deleted, 1);
    ferry_buffer_destroy(buffer);
}

static void test_import_refuses(void **state)
{
    ferry_buffer *buffer = make(*state, FERRY_STORAGE_PRIVATE), *wrapped = NULL;
    unsigned long long pointer = 0;
    int64_t shape[] = {1000}, large[] = {1 << 30};
    deleted = 0;
    OK(ferry_cuda_buffer_get(buffer, &pointer));
    struct ferry_dlpack_managed managed = {.tensor = tensor_at(pointer, 0, shape),
                                           .deleter = note_deleted};
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_dlpack_import(*state, &managed, FERRY_STORAGE_PRIVATE, &wrapped));
    words("on CUDA's device 0, and cuda:1 is 1");
    managed.tensor.device.id = 1;
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_dlpack_import(*state, &managed, FERRY_STORAGE_SHARED, &wrapped));
    words("a CUDA tensor becomes a private buffer");
    managed.tensor.shape = large;
    IS(FERRY_ERROR_OUT_OF_RANGE,
       ferry_dlpack_import(*state, &managed, FERRY_STORAGE_PRIVATE, &wrapped));
    managed.tensor = tensor_at((uintptr_t)bytes, 1, shape);
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_dlpack_import(*state, &managed, FERRY_STORAGE_PRIVATE, &wrapped));
    struct ferry_dlpack_managed_versioned versioned = {.major = 1,
                                                       .deleter = note_deleted_versioned,
                                                       .flags = FERRY_DLPACK_READ_ONLY,
                                                       .tensor = tensor_at(pointer, 1, shape)};
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_dlpack_import_versioned(*state, &versioned, FERRY_STORAGE_PRIVATE, &wrapped));
    words("read-only");
    assert_int_equal(deleted, 0);
    ferry_buffer_destroy(buffer);
}

/* Page-locked memory of others is host memory: copied, and its maker has it back at once. */
static void test_import_page_locked(void **state)
{
    int64_t shape[] = {1000};
    const uint64_t locked = strictcuda_alloc(STRICTCUDA_HOST, 70000);
    ferry_buffer *buffer = NULL;
    deleted = 0;
    memcpy((void *)(uintptr_t)locked, bytes, WHOLE);
    struct ferry_dlpack_managed managed = {.tensor = tensor_at(locked, 0, shape),
                                           .deleter = note_deleted};
    managed.tensor.device.type = FERRY_DLPACK_CUDA_HOST;
    OK(ferry_dlpack_import(*state, &managed, FERRY_STORAGE_PRIVATE, &buffer));
    assert_int_equal(deleted, 1);
    OK(ferry_copy_to_host(buffer, back, 1000, 0));
    assert_memory_equal(back, bytes + 5, 1000);
    ferry_buffer_destroy(buffer);
    strictcuda_free(locked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_export, begin, end),
        cmocka_unit_test_setup_teardown(test_no_wait, begin, end),
        cmocka_unit_test_setup_teardown(test_device_types, begin, end),
        cmocka_unit_test_setup_teardown(test_import, begin, end),
        cmocka_unit_test_setup_teardown(test_import_refuses, begin, end),
        cmocka_unit_test_setup_teardown(test_import_page_locked, begin, end),
    };
    return cmocka_run_group_tests_name("cuda dlpack", tests, NULL, NULL);
}
