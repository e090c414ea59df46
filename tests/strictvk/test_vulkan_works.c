/*
 * Many short external works on a real Vulkan device: two threads, four in flight, 64 bytes. Making
 * and destroying a semaphore for each crashed Mesa's software driver after 20,000 to 340,000 of them;
 * ALL=1 runs 500,000.
 */
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 64, IN_FLIGHT = 4, SHORT = 5000, LONG = 500000 };

static ferry_device *device;
static struct ferry_sync points[IN_FLIGHT];
static _Atomic uint64_t begun, raised;
static uint64_t works;

/* The user's GPU, which is done some time. */
static void *raise_all(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < works; i++) {
        while (atomic_load(&begun) <= i)
            sched_yield();
        const struct ferry_sync point = points[i % IN_FLIGHT];
        atomic_store(&raised, i + 1);
        device->gpu.driver->event_signal(device->gpu.state, point.event, point.value);
    }
    return NULL;
}

static void many_short_works(void **state)
{
    (void)state;
    ferry_buffer *buffer;
    ferry_ticket tickets[IN_FLIGHT] = {0};
    unsigned char bytes[IN_FLIGHT][SIZE], back[SIZE];
    pthread_t thread;
    const char *all = getenv("ALL");
    works = all && strcmp(all, "1") == 0 ? LONG : SHORT;
    const struct ferry_device_params params = {.name = "vulkan", .path = FERRY_PATH_STAGED};
    assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer),
        FERRY_OK);
    assert_int_equal(pthread_create(&thread, NULL, raise_all, NULL), 0);
    for (uint64_t i = 0; i < works; i++) {
        struct ferry_external work;
        const struct ferry_use use = {.buffer = buffer,
                                      .access = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
        assert_int_equal(ferry_wait(device, tickets[i % IN_FLIGHT], FERRY_FOREVER), FERRY_OK);
        while (i >= IN_FLIGHT && atomic_load(&raised) <= i - IN_FLIGHT)
            sched_yield();
        assert_int_equal(ferry_external_begin(device, &use, 1, &work), FERRY_OK);
        points[i % IN_FLIGHT] = work.signal;
        atomic_store(&begun, i + 1);
        assert_int_equal(ferry_external_end(device, work.ticket, FERRY_OK), FERRY_OK);
        unsigned char *own = bytes[i % IN_FLIGHT];
        memset(own, (int)i, SIZE);
        assert_int_equal(
            ferry_copy_from_host_async(buffer, own, SIZE, 0, NULL, NULL, &tickets[i % IN_FLIGHT]),
            FERRY_OK);
        if (i % 64 == 0) {
            assert_int_equal(ferry_copy_to_host(buffer, back, SIZE, 0), FERRY_OK);
            assert_memory_equal(back, own, SIZE);
        }
    }
    pthread_join(thread, NULL);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_short_works)};
    return cmocka_run_group_tests_name("vulkan_works", tests, NULL, NULL);
}
