/* DLPack on a Metal device: private memory out and in, as the MTLBuffer itself. */
#include <ferry/dlpack.h>
#include <ferry/metal.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

enum { SIZE = 4097, WHOLE = 8192 };

static ferry_device *device;
static unsigned char bytes[WHOLE], back[WHOLE];

static ferry_buffer *make_filled(enum ferry_storage storage)
{
    ferry_buffer *buffer = NULL;
    const struct ferry_buffer_params params = {.size = WHOLE, .storage = storage};
    assert_int_equal(ferry_buffer_create(device, &params, &buffer), FERRY_OK);
    for (size_t i = 0; i < WHOLE; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251 + 1);
    assert_int_equal(ferry_copy_from_host_async(buffer, bytes, WHOLE, 0, NULL, NULL, NULL),
                     FERRY_OK);
    return buffer;
}

static struct ferry_dlpack_managed *export_at(ferry_buffer *buffer, size_t offset)
{
    const int64_t shape[] = {SIZE};
    const struct ferry_dlpack_view view = {
        .offset = offset, .type = {FERRY_DLPACK_UINT, 8, 1}, .rank = 1, .shape = shape};
    struct ferry_dlpack_managed *managed = NULL;
    assert_int_equal(ferry_dlpack_export(buffer, &view, &managed), FERRY_OK);
    return managed;
}

static void test_export_names_the_native_buffer(void **state)
{
    (void)state;
    ferry_buffer *buffer = make_filled(FERRY_STORAGE_PRIVATE);
    struct ferry_metal_buffer native;
    assert_int_equal(ferry_metal_buffer_get(buffer, &native), FERRY_OK);
    struct ferry_dlpack_managed *managed = export_at(buffer, 33);
    assert_int_equal(managed->tensor.device.type, FERRY_DLPACK_METAL);
    assert_int_equal(managed->tensor.device.id, 0);
    assert_ptr_equal(managed->tensor.data, native.buffer);
    assert_int_equal(managed->tensor.byte_offset, native.offset + 33);
    assert_int_equal(managed->tensor.shape[0], SIZE);
    managed->deleter(managed);
    ferry_buffer_destroy(buffer);
}

static void test_shared_is_cpu_memory(void **state)
{
    (void)state;
    ferry_buffer *buffer = make_filled(FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed *managed = export_at(buffer, 33);
    assert_int_equal(managed->tensor.device.type, FERRY_DLPACK_CPU);
    assert_int_equal(managed->tensor.byte_offset, 0);
    assert_memory_equal(managed->tensor.data, bytes + 33, SIZE);
    managed->deleter(managed);
    ferry_buffer_destroy(buffer);
}

/* The tensor's maker goes first; the buffer that wraps it still has its bytes, and when that goes
 * the tensor is deleted. */
static void test_import_wraps(void **state)
{
    (void)state;
    ferry_buffer *buffer = make_filled(FERRY_STORAGE_PRIVATE), *wrapped = NULL;
    struct ferry_metal_buffer native, again;
    assert_int_equal(ferry_metal_buffer_get(buffer, &native), FERRY_OK);
    struct ferry_dlpack_managed *managed = export_at(buffer, 512);
    ferry_buffer_destroy(buffer);
    assert_int_equal(ferry_dlpack_import(device, managed, FERRY_STORAGE_PRIVATE, &wrapped),
                     FERRY_OK);
    assert_int_equal(ferry_dlpack_exports(device), 1);
    assert_int_equal(ferry_buffer_size(wrapped), SIZE);
    assert_int_equal(ferry_metal_buffer_get(wrapped, &again), FERRY_OK);
    assert_ptr_equal(again.buffer, native.buffer);
    assert_int_equal(again.offset, native.offset + 512);
    assert_int_equal(ferry_copy_to_host(wrapped, back, SIZE, 0), FERRY_OK);
    assert_memory_equal(back, bytes + 512, SIZE);
    ferry_buffer_destroy(wrapped);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(ferry_dlpack_exports(device), 0);
}

/* Refused: the tensor is the caller's still. */
static void test_import_refuses(void **state)
{
    (void)state;
    ferry_buffer *buffer = make_filled(FERRY_STORAGE_PRIVATE), *wrapped = NULL;
    struct ferry_dlpack_managed *odd = export_at(buffer, 33), *even = export_at(buffer, 256);
    ferry_device *host = NULL;
    assert_int_equal(ferry_dlpack_import(device, odd, FERRY_STORAGE_PRIVATE, &wrapped),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_dlpack_import(device, even, FERRY_STORAGE_SHARED, &wrapped),
                     FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ferry_last_error(), "private buffer"));
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &host),
                     FERRY_OK);
    assert_int_equal(ferry_dlpack_import(host, even, FERRY_STORAGE_PRIVATE, &wrapped),
                     FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ferry_last_error(), "(Metal)"));
    ferry_device_close(host);
    assert_null(wrapped);
    assert_int_equal(ferry_dlpack_exports(device), 2);
    odd->deleter(odd);
    even->deleter(even);
    ferry_buffer_destroy(buffer);
}

/* Wrapped it could be written; a copy of it in host memory may be. */
static void test_import_of_read_only(void **state)
{
    (void)state;
    ferry_buffer *buffer = make_filled(FERRY_STORAGE_PRIVATE), *taken = NULL;
    ferry_buffer *shared = make_filled(FERRY_STORAGE_SHARED);
    struct ferry_dlpack_managed_versioned *managed = NULL;
    assert_int_equal(ferry_dlpack_export_versioned(buffer, NULL, &managed), FERRY_OK);
    managed->flags = FERRY_DLPACK_READ_ONLY;
    assert_int_equal(ferry_dlpack_import_versioned(device, managed, FERRY_STORAGE_PRIVATE, &taken),
                     FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ferry_last_error(), "read-only"));
    assert_null(taken);
    managed->deleter(managed);
    assert_int_equal(ferry_dlpack_export_versioned(shared, NULL, &managed), FERRY_OK);
    managed->flags = FERRY_DLPACK_READ_ONLY;
    assert_int_equal(ferry_dlpack_import_versioned(device, managed, FERRY_STORAGE_PRIVATE, &taken),
                     FERRY_OK);
    ferry_buffer_destroy(taken);
    ferry_buffer_destroy(shared);
    ferry_buffer_destroy(buffer);
}

static int set_up(void **state)
{
    (void)state;
    const struct ferry_device_params params = {.name = "metal", .map_private = FERRY_MAP_NEVER};
    return ferry_device_open(&params, &device) != FERRY_OK;
}

static int tear_down(void **state)
{
    (void)state;
    ferry_device_close(device);
    return 0;
}

int main(void)
{
    ferry_set_log(NULL, NULL, FERRY_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_names_the_native_buffer),
        cmocka_unit_test(test_shared_is_cpu_memory),
        cmocka_unit_test(test_import_wraps),
        cmocka_unit_test(test_import_refuses),
        cmocka_unit_test(test_import_of_read_only),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
