/* Mapping, flushing, limits, imports, reads by the CPU. Broken on purpose. */
#include "strict_driver.h"

#include "api/device.h"
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"

static void test_map(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,memory=private");
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    assert_null(a.host);
    void *host;
    assert_int_equal(f.v->vk.MapMemory(f.v->device, ((struct vulkan_memory *)a.native)->memory, 0,
                                       VK_WHOLE_SIZE, 0, &host),
                     VK_ERROR_MEMORY_MAP_FAILED);
    assert_int_equal(only(STRICTVK_MAP), 1);
    driver->memory_free(f.v, &a);
    driver->close(f.v);
}

/* Ferry's own memory is for one buffer each, and a user's is not. */
static void test_alone(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1");
    struct ferry__memory memory = alloc(&f, FERRY__MEMORY_PRIVATE, 4 << 20);
    assert_int_equal(only(STRICTVK_ALONE), 0);
    driver->memory_free(f.v, &memory);
    for (uint64_t size = 1 << 19; size <= 1 << 20; size *= 2) {
        const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .allocationSize = size};
        VkDeviceMemory any;
        assert_int_equal(f.v->vk.AllocateMemory(f.v->device, &info, NULL, &any), VK_SUCCESS);
        f.v->vk.FreeMemory(f.v->device, any, NULL);
    }
    assert_int_equal(only(STRICTVK_ALONE), 1);
    driver->close(f.v);
}

/* A missing flush loses what the host wrote, a missing invalidate what the device did. */
static void test_shadow(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,memory=noncoherent,coherent=4096,atom=64");
    struct ferry__memory up = alloc(&f, FERRY__MEMORY_UPLOAD, SIZE);
    struct ferry__memory down = alloc(&f, FERRY__MEMORY_READBACK, SIZE);
    assert_false(up.coherent);
    assert_false(down.coherent);
    assert_true(down.cached);
    struct ferry__command command = copy(&down, 0, &up, 0, 256);
    memset(up.host, 1, 256);
    assert_int_equal(driver->flush(f.v, &up, 0, 256), FERRY_OK);
    memset(up.host, 2, 128); /* not flushed */
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
    memset(down.host, 3, 256);
    assert_int_equal(down.host[0], 3); /* not invalidated */
    assert_int_equal(driver->invalidate(f.v, &down, 0, 192), FERRY_OK);
    assert_int_equal(down.host[0], 1);
    assert_int_equal(down.host[191], 1);
    assert_int_equal(down.host[192], 3);
    assert_int_equal(driver->flush(f.v, &up, 0, 128), FERRY_OK);
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
    assert_int_equal(driver->invalidate(f.v, &down, 0, 256), FERRY_OK);
    assert_int_equal(down.host[127], 2);
    assert_int_equal(down.host[128], 1);
    assert_int_equal(only(STRICTVK_ATOM), 0);
    assert_int_equal(driver->flush(f.v, &up, 32, 64), FERRY_OK);
    assert_int_equal(driver->invalidate(f.v, &down, 0, 65), FERRY_OK);
    assert_int_equal(only(STRICTVK_ATOM), 2);
    driver->memory_free(f.v, &up);
    driver->memory_free(f.v, &down);
    driver->close(f.v);
}

static void test_types_by_use(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "kind=discrete,memory=bar");
    struct ferry__memory memory = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    assert_non_null(memory.host); /* written by the host, never read */
    assert_true(memory.coherent);
    assert_false(memory.cached);
    driver->memory_free(f.v, &memory);
    f.v->mapped_max = SIZE;
    memory = alloc(&f, FERRY__MEMORY_PRIVATE, 2 * SIZE); /* mapping it takes too long */
    assert_null(memory.host);
    driver->memory_free(f.v, &memory);
    memory = alloc(&f, FERRY__MEMORY_SHARED, SIZE);
    assert_true(memory.coherent && memory.cached);
    driver->memory_free(f.v, &memory);
    memory = alloc(&f, FERRY__MEMORY_UPLOAD, SIZE);
    assert_true(memory.coherent);
    driver->memory_free(f.v, &memory);
    memory = alloc(&f, FERRY__MEMORY_READBACK, SIZE);
    assert_true(memory.coherent && memory.cached);
    driver->memory_free(f.v, &memory);
    driver->close(f.v);
}

static void test_import_limits(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "import=strict,granularity=65536");
    assert_int_equal(f.limits.import_granularity, 65536);
    unsigned char *host = aligned_alloc(65536, 4 * 65536);
    struct ferry__memory first, second;
    assert_int_equal(driver->host_import(f.v, host, 3 * 65536, false, &first, f.why), FERRY_OK);
    assert_int_equal(driver->host_import(f.v, host + 2 * 65536, 65536, false, &second, f.why),
                     FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(f.why, "VK_ERROR_INVALID_EXTERNAL_HANDLE"));
    assert_int_equal(driver->host_import(f.v, host + 3 * 65536, 65536, false, &second, f.why),
                     FERRY_OK);
    driver->memory_free(f.v, &first);
    driver->memory_free(f.v, &second);
    free(host);
    driver->close(f.v);
    open_with(&f, "import=none");
    assert_int_equal(f.limits.import_granularity, 0);
    driver->close(f.v);
}

static void test_allocation_limits(void **unused)
{
    (void)unused;
    struct fixture f;
    struct ferry__memory a, b;
    open_with(&f, "count=1");
    a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    assert_int_equal(driver->memory_alloc(f.v, FERRY__MEMORY_PRIVATE, SIZE, "", &b, f.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    driver->memory_free(f.v, &a);
    a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE); /* and it can be had again */
    driver->memory_free(f.v, &a);
    driver->close(f.v);

    /* The largest allocation is no hard limit: it is tried. This device means it. */
    open_with(&f, "allocation=100000");
    assert_true(f.limits.max_allocation > 100000);
    assert_int_equal(driver->memory_alloc(f.v, FERRY__MEMORY_PRIVATE, 100001, "", &b, f.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(f.why, "1000"));
    driver->close(f.v);

    open_with(&f, "heap=1048576,budget=1,memory=private");
    assert_int_equal(f.limits.total_memory, 1048576);
    assert_int_equal(driver->memory_available(f.v), 1048576);
    a = alloc(&f, FERRY__MEMORY_PRIVATE, 1000000);
    assert_true(driver->memory_available(f.v) <= 48576);
    assert_int_equal(driver->memory_alloc(f.v, FERRY__MEMORY_PRIVATE, SIZE, "", &b, f.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(f.why, "1048576"));
    driver->memory_free(f.v, &a);
    driver->close(f.v);
}

/* --- reads ------------------------------------------------------------------------------------ */

#define WINDOW "collect=1,kind=discrete,memory=bar,reads=1"

/* Writes of the host's reach the device, and are no reports; one read is one. */
static void test_read(void **unused)
{
    (void)unused;
    if (!STRICTVK_TELLS_READS)
        skip();
    struct fixture f;
    open_with(&f, WINDOW);
    struct ferry__memory window = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory down = alloc(&f, FERRY__MEMORY_READBACK, SIZE);
    for (int round = 1; round < 3; round++) {
        memset(window.host, round, SIZE);
        struct ferry__command command = copy(&down, 0, &window, 0, SIZE);
        wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
        for (size_t i = 0; i < SIZE; i++)
            assert_int_equal(down.host[i], round);
    }
    assert_int_equal(only(STRICTVK_READ), 0);
    assert_int_equal(((volatile unsigned char *)window.host)[4097], 2);
    assert_int_equal(only(STRICTVK_READ), 1);
    driver->memory_free(f.v, &window);
    driver->memory_free(f.v, &down);
    driver->close(f.v);
}

static enum ferry_status alloc_cached(void *state, enum ferry__memory_kind use, uint64_t size,
                                      const char *label, struct ferry__memory *out, char *why)
{
    enum ferry_status status = driver->memory_alloc(state, use, size, label, out, why);
    if (status == FERRY_OK)
        out->cached = true; /* which it is not */
    return status;
}

/* The engine reads nothing by the CPU, unless it takes the memory for cached. */
static void engine_case(bool lie, bool expected)
{
    struct ferry__driver told = *driver;
    if (lie)
        told.memory_alloc = alloc_cached;
    assert_int_equal(set(WINDOW), 0);
    ferry_device *device;
    ferry_buffer *buffer;
    struct ferry_device_info info = {.name = "vulkan"};
    unsigned char *bytes = calloc(1, SIZE);
    assert_int_equal(ferry__device_open_as(&told, &(struct ferry__open_params){0}, &info,
                                           &(struct ferry_device_params){0}, &device),
                     FERRY_OK);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer),
        FERRY_OK);
    assert_int_equal(ferry_copy_from_host(buffer, bytes, SIZE, 0), FERRY_OK);
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    assert_int_equal(stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT].operations, 1);
    assert_int_equal(ferry_copy_to_host(buffer, bytes, SIZE, 0), FERRY_OK);
    assert_int_equal(only(STRICTVK_READ) > 0, expected);
    free(bytes);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

static void test_engine_reads(void **unused)
{
    (void)unused;
    if (!STRICTVK_TELLS_READS)
        skip();
    engine_case(false, false);
    engine_case(true, true);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_map),           cmocka_unit_test(test_alone),
    cmocka_unit_test(test_read),          cmocka_unit_test(test_engine_reads),
    cmocka_unit_test(test_shadow),        cmocka_unit_test(test_types_by_use),
    cmocka_unit_test(test_import_limits), cmocka_unit_test(test_allocation_limits),
};

GROUP(memory);
