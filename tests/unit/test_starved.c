/* Too little staging. no_staging_wait: nobody waits for it, not even behind work that does. Without
 * memory for more, what there is must do, unless fallbacks are forbidden. */
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "hang.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct ferry__driver *real;
static _Atomic bool held, short_of_memory;

/* While it is held the device is done with nothing. */
static uint64_t spy_completed(void *state, uint64_t event)
{
    return held ? 0 : real->completed(state, event);
}

static enum ferry_status spy_alloc(void *state, enum ferry__memory_kind use, uint64_t size,
                                   const char *label, struct ferry__memory *out_memory, char *why)
{
    if (!short_of_memory)
        return real->memory_alloc(state, use, size, label, out_memory, why);
    snprintf(why, FERRY__WHY_MAX, "a spy keeps it");
    return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
}

static void refused_at_once(void **state)
{
    (void)state;
    static unsigned char bytes[65536];
    ferry_device *device;
    ferry_buffer *buffers[2];
    ferry_ticket ticket;
    struct ferry_stats stats;
    const struct ferry_device_params params = {.name = "host",
                                               .path = FERRY_PATH_PIPELINED,
                                               .map_private = FERRY_MAP_NEVER,
                                               .staging_budget = 4096,
                                               .no_staging_wait = true};
    assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
    real = device->gpu.driver;
    struct ferry__driver driver = *real;
    driver.completed = spy_completed;
    device->gpu.driver = &driver;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 65536}, &buffers[i]),
            FERRY_OK);
    held = true;
    assert_int_equal(ferry_copy_from_host_async(buffers[0], bytes, 65536, 0, NULL, NULL, &ticket),
                     FERRY_OK);
    do { /* until it is starved */
        usleep(100);
        ferry_device_get_stats(device, &stats, sizeof stats);
    } while (stats.staging_waits == 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ferry_copy_from_host(buffers[1], bytes, 4096, 0),
                         FERRY_ERROR_POOL_EXHAUSTED);
    held = false;
    device->gpu.driver->wake(device->gpu.state);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
    assert_int_equal(ferry_copy_from_host(buffers[1], bytes, 4096, 0), FERRY_OK);
    for (size_t i = 0; i < 2; i++)
        ferry_buffer_destroy(buffers[i]);
    ferry_device_close(device);
}

static struct ferry_stats stats_of(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats;
}

/* The first upload has the one chunk there is while the second, of another buffer, asks for more. */
static enum ferry_status upload_two(ferry_device *device, ferry_buffer *const *buffers,
                                    const unsigned char *bytes, size_t size)
{
    ferry_ticket tickets[2];
    const struct ferry_stats before = stats_of(device);
    held = true;
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            ferry_copy_from_host_async(buffers[i], bytes, size, 0, NULL, NULL, &tickets[i]),
            FERRY_OK);
    struct ferry_stats now = before; /* until the second was submitted, or could not be */
    for (; now.submissions < before.submissions + 2 && now.staging_waits == before.staging_waits &&
           now.fallback_staging == before.fallback_staging;
         now = stats_of(device))
        usleep(100);
    held = false;
    device->gpu.driver->wake(device->gpu.state);
    assert_int_equal(ferry_wait(device, tickets[0], FERRY_FOREVER), FERRY_OK);
    return ferry_wait(device, tickets[1], FERRY_FOREVER);
}

static void short_of_staging(void **state)
{
    (void)state;
    enum { CHUNK = 4096 };
    static unsigned char bytes[CHUNK], got[CHUNK];
    for (size_t i = 0; i < CHUNK; i++)
        bytes[i] = (unsigned char)(i * 7 + 1);
    for (int forbidden = 0; forbidden < 2; forbidden++) {
        ferry_device *device;
        ferry_buffer *buffers[2];
        const struct ferry_device_params params = {.name = "host",
                                                   .path = FERRY_PATH_PIPELINED,
                                                   .map_private = FERRY_MAP_NEVER,
                                                   .staging_budget = 4 * CHUNK,
                                                   .no_fallback = forbidden};
        assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
        real = device->gpu.driver;
        struct ferry__driver driver = *real;
        driver.completed = spy_completed;
        driver.memory_alloc = spy_alloc;
        device->gpu.driver = &driver;
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(ferry_buffer_create(
                                 device, &(struct ferry_buffer_params){.size = CHUNK}, &buffers[i]),
                             FERRY_OK);
        assert_int_equal(ferry_copy_from_host(buffers[0], got, CHUNK, 0), FERRY_OK);

        short_of_memory = true;
        const enum ferry_status status = upload_two(device, buffers, bytes, CHUNK);
        short_of_memory = false;
        assert_int_equal(status, forbidden ? FERRY_ERROR_OUT_OF_DEVICE_MEMORY : FERRY_OK);
        assert_int_equal(stats_of(device).fallback_staging, 1);
        assert_int_equal(stats_of(device).staging_upload_peak_bytes, CHUNK);

        /* Forbidden, it was refused and not settled for: now there is memory. */
        assert_int_equal(upload_two(device, buffers, bytes, CHUNK), FERRY_OK);
        assert_int_equal(stats_of(device).fallback_staging, 1);
        assert_int_equal(stats_of(device).staging_upload_peak_bytes, forbidden ? 2 * CHUNK : CHUNK);
        for (size_t i = 0; i < 2; i++) {
            memset(got, 0, CHUNK);
            assert_int_equal(ferry_copy_to_host(buffers[i], got, CHUNK, 0), FERRY_OK);
            assert_memory_equal(got, bytes, CHUNK);
            ferry_buffer_destroy(buffers[i]);
        }
        ferry_device_close(device);
    }
}

int main(void)
{
    alarm(HANG_SECONDS);
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused_at_once),
                                       cmocka_unit_test(short_of_staging)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
