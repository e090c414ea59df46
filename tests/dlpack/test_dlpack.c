/* ferry/dlpack.h: layouts, what is exported and imported, who frees what and when. */
#include <ferry/dlpack.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#if defined(__has_include)
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#define HAS_DLPACK 1
#define SAME(ours, theirs, our_field, their_field) \
    _Static_assert(offsetof(struct ours, our_field) == offsetof(theirs, their_field), #our_field)
_Static_assert(sizeof(struct ferry_dlpack_tensor) == sizeof(DLTensor), "DLTensor");
_Static_assert(sizeof(struct ferry_dlpack_type) == sizeof(DLDataType), "DLDataType");
SAME(ferry_dlpack_tensor, DLTensor, rank, ndim);
SAME(ferry_dlpack_tensor, DLTensor, type, dtype);
SAME(ferry_dlpack_tensor, DLTensor, shape, shape);
SAME(ferry_dlpack_tensor, DLTensor, strides, strides);
SAME(ferry_dlpack_tensor, DLTensor, byte_offset, byte_offset);
_Static_assert(sizeof(struct ferry_dlpack_managed) == sizeof(DLManagedTensor), "DLManagedTensor");
SAME(ferry_dlpack_managed, DLManagedTensor, manager, manager_ctx);
SAME(ferry_dlpack_managed, DLManagedTensor, deleter, deleter);
_Static_assert((int)FERRY_DLPACK_CPU == (int)kDLCPU && (int)FERRY_DLPACK_METAL == (int)kDLMetal &&
                   (int)FERRY_DLPACK_VULKAN == (int)kDLVulkan,
               "DLDeviceType");
#ifdef DLPACK_MAJOR_VERSION
_Static_assert(sizeof(struct ferry_dlpack_managed_versioned) == sizeof(DLManagedTensorVersioned),
               "DLManagedTensorVersioned");
SAME(ferry_dlpack_managed_versioned, DLManagedTensorVersioned, manager, manager_ctx);
SAME(ferry_dlpack_managed_versioned, DLManagedTensorVersioned, deleter, deleter);
SAME(ferry_dlpack_managed_versioned, DLManagedTensorVersioned, flags, flags);
SAME(ferry_dlpack_managed_versioned, DLManagedTensorVersioned, tensor, dl_tensor);
#endif
#endif
#endif

enum { SIZE = 4097 };

static const struct ferry_dlpack_type f32 = {FERRY_DLPACK_FLOAT, 32, 1};
static ferry_device *device;

static ferry_buffer *make(ferry_device *owner, size_t size, enum ferry_storage storage)
{
    ferry_buffer *buffer = NULL;
    const struct ferry_buffer_params params = {.size = size, .storage = storage, .label = "tensor"};
    assert_int_equal(ferry_buffer_create(owner, &params, &buffer), FERRY_OK);
    return buffer;
}

static unsigned char byte_of(size_t i)
{
    return (unsigned char)(i * 7 + i / 251 + 3);
}

static ferry_buffer *make_filled(size_t size, enum ferry_storage storage)
{
    ferry_buffer *buffer = make(device, size, storage);
    unsigned char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_of(i);
    assert_int_equal(ferry_copy_from_host(buffer, bytes, size, 0), FERRY_OK);
    free(bytes);
    return buffer;
}

static ferry_device *open_host(const char *knobs)
{
    ferry_device *opened = NULL;
    const struct ferry_device_params params = {.name = "host", .map_private = FERRY_MAP_NEVER};
    setenv("FERRY_HOST", knobs, 1);
    assert_int_equal(ferry_device_open(&params, &opened), FERRY_OK);
    unsetenv("FERRY_HOST");
    return opened;
}

/* --- export ------------------------------------------------------------------------------------ */

static void test_export_all(void **state)
{
    (void)state;
    ferry_buffer *buffer = make_filled(SIZE, FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed *managed = NULL;
    assert_int_equal(ferry_dlpack_export(buffer, NULL, &managed), FERRY_OK);
    const struct ferry_dlpack_tensor *tensor = &managed->tensor;
    unsigned char *data = tensor->data, back = 0;
    assert_int_equal(tensor->device.type, FERRY_DLPACK_CPU);
    assert_int_equal(tensor->device.id, 0);
    assert_int_equal(tensor->rank, 1);
    assert_int_equal(tensor->type.code, FERRY_DLPACK_UINT);
    assert_int_equal(tensor->type.bits, 8);
    assert_int_equal(tensor->type.lanes, 1);
    assert_int_equal(tensor->shape[0], SIZE);
    assert_int_equal(tensor->strides[0], 1);
    assert_int_equal(tensor->byte_offset, 0);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(data[i], byte_of(i));
    data[SIZE - 1] ^= 0xff; /* the same memory: no copy */
    assert_int_equal(ferry_copy_to_host(buffer, &back, 1, SIZE - 1), FERRY_OK);
    assert_int_equal(back, byte_of(SIZE - 1) ^ 0xff);
    managed->deleter(managed);
    ferry_buffer_destroy(buffer);
}

static void test_export_view(void **state)
{
    (void)state;
    const int64_t shape[] = {3, 1, 5, 7};
    const struct ferry_dlpack_view view = {.offset = 33, .type = f32, .rank = 4, .shape = shape};
    ferry_buffer *buffer = make_filled(33 + 3 * 5 * 7 * 4, FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed_versioned *managed = NULL;
    assert_int_equal(ferry_dlpack_export_versioned(buffer, &view, &managed), FERRY_OK);
    assert_int_equal(managed->major, 1);
    assert_int_equal(managed->flags, 0);
    const struct ferry_dlpack_tensor *tensor = &managed->tensor;
    const int64_t strides[] = {35, 35, 7, 1};
    assert_memory_equal(tensor->shape, shape, sizeof shape);
    assert_true(tensor->shape != shape);
    assert_memory_equal(tensor->strides, strides, sizeof strides);
    assert_memory_equal(&tensor->type, &f32, sizeof f32);
    const unsigned char *data = (unsigned char *)tensor->data + tensor->byte_offset;
    for (size_t i = 0; i < sizeof(float) * 105; i++)
        assert_int_equal(data[i], byte_of(33 + i));
    managed->deleter(managed);
    ferry_buffer_destroy(buffer);
}

static void test_export_refuses(void **state)
{
    (void)state;
    const int64_t five[] = {5}, huge[] = {INT64_MAX, INT64_MAX}, negative[] = {-1},
                  none[] = {0, INT64_MAX};
    const struct {
        struct ferry_dlpack_view view;
        enum ferry_status status;
    } cases[] = {
        {{.type = f32, .rank = 1, .shape = five}, FERRY_OK},
        {{.type = f32, .rank = 0}, FERRY_OK},
        {{.type = f32, .rank = 2, .shape = none, .offset = 20}, FERRY_OK},
        {{.type = f32, .rank = 1, .shape = five, .offset = 1}, FERRY_ERROR_OUT_OF_RANGE},
        {{.type = f32, .rank = 2, .shape = none, .offset = 21}, FERRY_ERROR_OUT_OF_RANGE},
        {{.type = f32, .rank = 0, .offset = SIZE_MAX}, FERRY_ERROR_OUT_OF_RANGE},
        {{.type = f32, .rank = 2, .shape = huge}, FERRY_ERROR_OUT_OF_RANGE},
        {{.type = f32, .rank = 1, .shape = negative}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.type = f32, .rank = 1}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.type = f32, .reserved = {0, 0, 1}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.type = f32, .rank = -1, .shape = five}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.type = f32, .rank = 65, .shape = five}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.type = {FERRY_DLPACK_INT, 4, 1}, .rank = 1, .shape = five}, FERRY_ERROR_UNSUPPORTED},
        {{.type = {FERRY_DLPACK_INT, 8, 0}, .rank = 1, .shape = five}, FERRY_ERROR_UNSUPPORTED},
        {{.type = {FERRY_DLPACK_INT, 4, 2}, .rank = 1, .shape = five}, FERRY_OK},
    };
    ferry_buffer *buffer = make_filled(20, FERRY_STORAGE_SHARED);
    ferry_buffer *hidden = make_filled(20, FERRY_STORAGE_PRIVATE);
    struct ferry_dlpack_managed *managed = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        managed = NULL;
        const enum ferry_status status = ferry_dlpack_export(buffer, &cases[i].view, &managed);
        if (status != cases[i].status)
            fail_msg("case %zu: %s: %s", i, ferry_status_name(status), ferry_last_error());
        assert_true((managed != NULL) == (status == FERRY_OK));
        if (managed != NULL)
            managed->deleter(managed);
    }
    managed = NULL;
    assert_int_equal(ferry_dlpack_export(NULL, NULL, &managed), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_dlpack_export(buffer, NULL, NULL), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_dlpack_export(hidden, NULL, &managed), FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ferry_last_error(), "\"tensor\""));
    assert_non_null(strstr(ferry_last_error(), "private memory of host:0"));
    assert_null(managed);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(hidden);
}

static void test_counts_exports(void **state)
{
    (void)state;
    ferry_device *other = open_host("");
    ferry_buffer *buffer = make(device, SIZE, FERRY_STORAGE_SHARED);
    ferry_buffer *far = make(other, SIZE, FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed *managed[4], *last = NULL;
    assert_int_equal(ferry_dlpack_exports(device), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ferry_dlpack_export(buffer, NULL, &managed[i]), FERRY_OK);
        assert_int_equal(ferry_dlpack_exports(device), i + 1);
    }
    assert_int_equal(ferry_dlpack_export(far, NULL, &last), FERRY_OK);
    assert_int_equal(ferry_dlpack_exports(other), 1);
    static const int order[] = {1, 3, 0, 2};
    for (int i = 0; i < 4; i++) {
        managed[order[i]]->deleter(managed[order[i]]);
        assert_int_equal(ferry_dlpack_exports(device), 3 - i);
    }
    last->deleter(last);
    assert_int_equal(ferry_dlpack_exports(other), 0);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(far);
    ferry_device_close(other);
}

/* The buffer goes first; others come and are written; the tensor's bytes stay. */
static void test_tensor_keeps_memory(void **state)
{
    (void)state;
    ferry_buffer *buffer = make_filled(SIZE, FERRY_STORAGE_SHARED), *others[32];
    struct ferry_dlpack_managed *managed = NULL;
    assert_int_equal(ferry_dlpack_export(buffer, NULL, &managed), FERRY_OK);
    ferry_buffer_destroy(buffer);
    assert_int_equal(ferry_device_trim(device), FERRY_OK);
    for (size_t i = 0; i < 32; i++) {
        others[i] = make(device, SIZE, FERRY_STORAGE_SHARED);
        assert_int_equal(ferry_zero_buffer(others[i]), FERRY_OK);
    }
    const unsigned char *data = managed->tensor.data;
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(data[i], byte_of(i));
    managed->deleter(managed);
    for (size_t i = 0; i < 32; i++)
        ferry_buffer_destroy(others[i]);
}

static void test_deleter_after_close(void **state)
{
    (void)state;
    ferry_device *other = open_host("");
    ferry_buffer *buffer = make(other, SIZE, FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed *managed = NULL;
    assert_int_equal(ferry_dlpack_export(buffer, NULL, &managed), FERRY_OK);
    ferry_device_close(other);
    ferry_buffer_destroy(buffer);
    managed->deleter(managed);
}

static void test_export_waits(void **state)
{
    (void)state;
    ferry_device *slow = open_host("delay_us=50000");
    ferry_buffer *source = make(slow, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_buffer *buffer = make(slow, SIZE, FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed *managed = NULL;
    const unsigned char nine = 9;
    assert_int_equal(ferry_fill_buffer(source, SIZE, 0, &nine, 1), FERRY_OK);
    assert_int_equal(ferry_copy_buffer_async(buffer, source, SIZE, 0, 0, NULL, NULL, NULL),
                     FERRY_OK);
    assert_int_equal(ferry_dlpack_export(buffer, NULL, &managed), FERRY_OK);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(((unsigned char *)managed->tensor.data)[i], 9);
    managed->deleter(managed);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(source);
    ferry_device_close(slow);
}

static void test_export_of_failed_write(void **state)
{
    (void)state;
    ferry_device *failing = open_host("fail_exec=all");
    ferry_buffer *source = make(failing, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_buffer *buffer = make(failing, SIZE, FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed *managed = NULL;
    assert_int_equal(ferry_copy_buffer(buffer, source, SIZE, 0, 0), FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(ferry_dlpack_export(buffer, NULL, &managed), FERRY_ERROR_EXECUTION_FAILED);
    assert_null(managed);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(source);
    ferry_device_close(failing);
}

static void try_in_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    (void)status, (void)ticket;
    struct ferry_dlpack_managed *managed = NULL;
    assert_int_equal(ferry_dlpack_export(*(ferry_buffer **)user, NULL, &managed),
                     FERRY_ERROR_IN_CALLBACK);
    *(ferry_buffer **)user = NULL;
}

static void test_in_callback(void **state)
{
    (void)state;
    ferry_buffer *buffer = make(device, SIZE, FERRY_STORAGE_SHARED), *seen = buffer;
    assert_int_equal(ferry_zero_buffer_async(buffer, try_in_callback, &seen, NULL), FERRY_OK);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_null(seen);
    ferry_buffer_destroy(buffer);
}

/* --- import ------------------------------------------------------------------------------------ */

static int deleted;

static void count_plain(struct ferry_dlpack_managed *self)
{
    (void)self;
    deleted++;
}

static void count_versioned(struct ferry_dlpack_managed_versioned *self)
{
    (void)self;
    deleted++;
}

static unsigned char memory[256];

static struct ferry_dlpack_tensor tensor_of(int32_t rank, int64_t *shape, int64_t *strides)
{
    for (size_t i = 0; i < sizeof memory; i++)
        memory[i] = byte_of(i);
    return (struct ferry_dlpack_tensor){.data = memory,
                                        .device = {FERRY_DLPACK_CPU, 0},
                                        .rank = rank,
                                        .type = f32,
                                        .shape = shape,
                                        .strides = strides,
                                        .byte_offset = 3};
}

static void expect_imported(ferry_buffer *buffer, size_t size, enum ferry_storage storage)
{
    unsigned char bytes[256];
    assert_int_equal(ferry_buffer_size(buffer), size);
    assert_int_equal(ferry_buffer_storage(buffer), storage);
    assert_int_equal(ferry_copy_to_host(buffer, bytes, size, 0), FERRY_OK);
    assert_memory_equal(bytes, memory + 3, size);
    ferry_buffer_destroy(buffer);
}

static void test_import(void **state)
{
    (void)state;
    int64_t shape[] = {3, 1, 4}, strides[] = {4, 99, 1};
    for (int storage = FERRY_STORAGE_PRIVATE; storage <= FERRY_STORAGE_SHARED; storage++) {
        struct ferry_dlpack_managed plain = {tensor_of(3, shape, NULL), NULL, count_plain};
        struct ferry_dlpack_managed_versioned versioned = {
            1, 3, NULL, count_versioned, 1, tensor_of(3, shape, strides)};
        ferry_buffer *buffer = NULL;
        deleted = 0;
        assert_int_equal(ferry_dlpack_import(device, &plain, storage, &buffer), FERRY_OK);
        assert_int_equal(deleted, 1);
        expect_imported(buffer, 48, storage);
        assert_int_equal(ferry_dlpack_import_versioned(device, &versioned, storage, &buffer),
                         FERRY_OK);
        assert_int_equal(deleted, 2);
        expect_imported(buffer, 48, storage);
    }
}

static void test_import_without_deleter(void **state)
{
    (void)state;
    struct ferry_dlpack_managed plain = {tensor_of(0, NULL, NULL), NULL, NULL};
    ferry_buffer *buffer = NULL;
    plain.tensor.device.type = FERRY_DLPACK_CUDA_HOST;
    assert_int_equal(ferry_dlpack_import(device, &plain, FERRY_STORAGE_PRIVATE, &buffer), FERRY_OK);
    expect_imported(buffer, 4, FERRY_STORAGE_PRIVATE);
}

/* Refused: the tensor is the caller's still, and there is no buffer. */
/* Both forms of the tensor are refused so, and stay the caller's. */
static void expect_refused(size_t i, const struct ferry_dlpack_tensor *tensor,
                           enum ferry_status wanted, const char *words)
{
    struct ferry_dlpack_managed plain = {*tensor, NULL, count_plain};
    struct ferry_dlpack_managed_versioned versioned = {1, 0, NULL, count_versioned, 0, *tensor};
    ferry_buffer *buffer = NULL;
    const enum ferry_status status =
        ferry_dlpack_import(device, &plain, FERRY_STORAGE_PRIVATE, &buffer);
    if (status != wanted || strstr(ferry_last_error(), words) == NULL)
        fail_msg("case %zu: %s: %s", i, ferry_status_name(status), ferry_last_error());
    assert_int_equal(
        ferry_dlpack_import_versioned(device, &versioned, FERRY_STORAGE_PRIVATE, &buffer), wanted);
    assert_null(buffer);
}

static void test_import_refuses(void **state)
{
    (void)state;
    int64_t shape[] = {3, 4}, columns[] = {1, 3}, gaps[] = {5, 1}, empty[] = {0, 4},
            negative[] = {3, -4}, huge[] = {INT64_MAX, INT64_MAX}, large[] = {INT64_MAX / 8, 1};
    struct ferry_dlpack_tensor base = tensor_of(2, shape, NULL);
    struct {
        struct ferry_dlpack_tensor tensor;
        enum ferry_status status;
        const char *words;
    } cases[] = {
        {base, FERRY_ERROR_UNSUPPORTED, "type 2 (CUDA)"},
        {base, FERRY_ERROR_UNSUPPORTED, "type 7 (Vulkan)"},
        {base, FERRY_ERROR_UNSUPPORTED, "type 8 (Metal)"},
        {base, FERRY_ERROR_UNSUPPORTED, "type -5,"},
        {base, FERRY_ERROR_UNSUPPORTED, "type 999,"},
        {base, FERRY_ERROR_UNSUPPORTED, "contiguous"},
        {base, FERRY_ERROR_UNSUPPORTED, "contiguous"},
        {base, FERRY_ERROR_INVALID_ARGUMENT, "empty"},
        {base, FERRY_ERROR_INVALID_ARGUMENT, "dimension 1 is -4"},
        {base, FERRY_ERROR_OUT_OF_RANGE, "2^64"},
        {base, FERRY_ERROR_OUT_OF_DEVICE_MEMORY, "exceeds"},
        {base, FERRY_ERROR_INVALID_ARGUMENT, "without a shape"},
        {base, FERRY_ERROR_INVALID_ARGUMENT, "-1 dimensions"},
        {base, FERRY_ERROR_INVALID_ARGUMENT, "65 dimensions"},
        {base, FERRY_ERROR_INVALID_ARGUMENT, "data is NULL"},
        {base, FERRY_ERROR_UNSUPPORTED, "whole bytes"},
        {base, FERRY_ERROR_UNSUPPORTED, "whole bytes"},
    };
    cases[0].tensor.device.type = 2;
    cases[1].tensor.device.type = 7;
    cases[2].tensor.device.type = 8;
    cases[3].tensor.device.type = -5;
    cases[4].tensor.device.type = 999;
    cases[5].tensor.strides = columns;
    cases[6].tensor.strides = gaps;
    cases[7].tensor.shape = empty;
    cases[8].tensor.shape = negative;
    cases[9].tensor.shape = huge;
    cases[10].tensor.shape = large;
    cases[11].tensor.shape = NULL;
    cases[12].tensor.rank = -1;
    cases[13].tensor.rank = 65;
    cases[14].tensor.data = NULL;
    cases[15].tensor.type.bits = 0;
    cases[16].tensor.type.bits = 6;
    deleted = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(i, &cases[i].tensor, cases[i].status, cases[i].words);
    assert_int_equal(deleted, 0);
}

static void test_import_refuses_calls(void **state)
{
    (void)state;
    int64_t shape[] = {3, 4};
    struct ferry_dlpack_tensor base = tensor_of(2, shape, NULL);
    deleted = 0;
    struct ferry_dlpack_managed plain = {base, NULL, count_plain};
    struct ferry_dlpack_managed_versioned next = {2, 0, NULL, count_versioned, 0, base};
    ferry_buffer *buffer = NULL;
    const enum ferry_status invalid = FERRY_ERROR_INVALID_ARGUMENT;
    assert_int_equal(ferry_dlpack_import_versioned(device, &next, FERRY_STORAGE_PRIVATE, &buffer),
                     FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ferry_last_error(), "version 2.0"));
    assert_int_equal(ferry_dlpack_import(NULL, &plain, FERRY_STORAGE_PRIVATE, &buffer), invalid);
    assert_int_equal(ferry_dlpack_import(device, NULL, FERRY_STORAGE_PRIVATE, &buffer), invalid);
    assert_int_equal(ferry_dlpack_import(device, &plain, FERRY_STORAGE_PRIVATE, NULL), invalid);
    assert_int_equal(deleted, 0);
    assert_null(buffer);
}

/* Out and in again: what Ferry exports it imports. */
static void test_round_trip(void **state)
{
    (void)state;
    ferry_buffer *buffer = make_filled(SIZE, FERRY_STORAGE_SHARED), *copy = NULL;
    struct ferry_dlpack_managed_versioned *managed = NULL;
    unsigned char bytes[SIZE];
    assert_int_equal(ferry_dlpack_export_versioned(buffer, NULL, &managed), FERRY_OK);
    ferry_buffer_destroy(buffer);
    assert_int_equal(ferry_dlpack_import_versioned(device, managed, FERRY_STORAGE_PRIVATE, &copy),
                     FERRY_OK);
    assert_int_equal(ferry_copy_to_host(copy, bytes, SIZE, 0), FERRY_OK);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(bytes[i], byte_of(i));
    ferry_buffer_destroy(copy);
}

static int set_up(void **state)
{
    (void)state;
#ifdef HAS_DLPACK
    printf("layouts compared with the system's dlpack.h\n");
#endif
    return ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device) != FERRY_OK;
}

static int tear_down(void **state)
{
    (void)state;
    ferry_device_close(device);
    return 0;
}

int main(void)
{
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_all),
        cmocka_unit_test(test_export_view),
        cmocka_unit_test(test_export_refuses),
        cmocka_unit_test(test_counts_exports),
        cmocka_unit_test(test_tensor_keeps_memory),
        cmocka_unit_test(test_deleter_after_close),
        cmocka_unit_test(test_export_waits),
        cmocka_unit_test(test_export_of_failed_write),
        cmocka_unit_test(test_in_callback),
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_import_without_deleter),
        cmocka_unit_test(test_import_refuses),
        cmocka_unit_test(test_import_refuses_calls),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
