/* Freed memory is kept for reuse, but not once it is old. */
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"

#include <setjmp.h>

#include <cmocka.h>

static ferry_buffer *make(ferry_device *device, size_t size)
{
    ferry_buffer *buffer;
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = size}, &buffer),
        FERRY_OK);
    return buffer;
}

static uint64_t frees(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats.device_frees;
}

/* The block that lies idle has been so for 11 s longer. */
static void grow_old(ferry_device *device)
{
    struct ferry__block *block =
        FERRY__OF_LINK(device->gpu.pool.idle.first, struct ferry__block, link);
    block->idle_ns -= UINT64_C(11) * 1000 * 1000 * 1000;
}

static void old_blocks_go(void **state)
{
    (void)state;
    ferry_device *device;
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device),
                     FERRY_OK);
    ferry_buffer *small = make(device, 256); /* has its block */
    ferry_buffer_destroy(make(device, 4 << 20));
    assert_non_null(device->gpu.pool.idle.first);
    ferry_buffer *young = make(device, 256);
    assert_non_null(device->gpu.pool.idle.first);
    assert_int_equal(frees(device), 0);

    grow_old(device);
    ferry_buffer *wanted = make(device, 4 << 20); /* old, but wanted */
    assert_int_equal(frees(device), 0);
    ferry_buffer_destroy(wanted);

    grow_old(device);
    ferry_buffer *other = make(device, 256); /* nothing is freed, and it goes all the same */
    assert_null(device->gpu.pool.idle.first);
    assert_int_equal(frees(device), 1);
    ferry_buffer_destroy(other);
    ferry_buffer_destroy(young);
    ferry_buffer_destroy(small);
    ferry_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(old_blocks_go)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
