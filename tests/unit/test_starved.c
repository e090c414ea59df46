/* no_staging_wait: nobody waits for staging, not even behind work that does. */
#include "internal.h"

#include <setjmp.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct ferry__driver *real;
static _Atomic bool held;

/* While it is held the device is done with nothing. */
static uint64_t spy_completed(void *state, uint64_t event)
{
    return held ? 0 : real->completed(state, event);
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
    real = device->driver;
    struct ferry__driver driver = *real;
    driver.completed = spy_completed;
    device->driver = &driver;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(ferry_buffer_create(
                             device, &(struct ferry_buffer_params){.size = 65536}, &buffers[i]),
                         FERRY_OK);
    held = true;
    assert_int_equal(
        ferry_copy_from_host_async(buffers[0], bytes, 65536, 0, NULL, NULL, &ticket), FERRY_OK);
    do { /* until it is starved */
        usleep(100);
        ferry_device_get_stats(device, &stats, sizeof stats);
    } while (stats.staging_waits == 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ferry_copy_from_host(buffers[1], bytes, 4096, 0),
                         FERRY_ERROR_POOL_EXHAUSTED);
    held = false;
    device->driver->wake(device->state);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
    assert_int_equal(ferry_copy_from_host(buffers[1], bytes, 4096, 0), FERRY_OK);
    for (size_t i = 0; i < 2; i++)
        ferry_buffer_destroy(buffers[i]);
    ferry_device_close(device);
}

int main(void)
{
    alarm(120);
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
