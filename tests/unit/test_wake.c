/*
 * Nobody sleeps whose operation is done, or who has something to do: a thread that waits inside the
 * driver is woken when another one finishes what it waits for. The driver's functions are replaced
 * by ones that stop where the threads have to meet. A wake-up that is lost is a test that hangs:
 * the alarm ends it.
 */
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "hang.h"
#include "host.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 4096 };

static ferry_device *device;
static ferry_buffer *first, *second;
static const struct ferry__driver *real;
static _Atomic bool hold; /* the next one to copy out stops */
static _Atomic unsigned held,
    waiting; /* threads that stopped, and that entered the driver's wait */

static void wait_any(void *state, const struct ferry_sync *points, size_t count,
                     uint64_t timeout_ns)
{
    atomic_fetch_add(&waiting, 1);
    real->wait_any(state, points, count, timeout_ns);
}

static enum ferry_status invalidate(void *state, const struct ferry__memory *memory,
                                    uint64_t offset, uint64_t size)
{
    if (atomic_load(&hold)) {
        atomic_fetch_add(&held, 1);
        while (atomic_load(&hold))
            sched_yield();
    }
    return real->invalidate(state, memory, offset, size);
}

static int set_up(void **state)
{
    static struct ferry__driver hooked;
    (void)state;
    setenv("FERRY_HOST", "no_map,noncoherent,events,queues=2", 1);
    if (ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device))
        return -1;
    const struct ferry_buffer_params params = {.size = SIZE};
    if (ferry_buffer_create(device, &params, &first) ||
        ferry_buffer_create(device, &params, &second))
        return -1;
    real = device->gpu.driver;
    hooked = *real;
    hooked.wait_any = wait_any;
    hooked.invalidate = invalidate;
    device->gpu.driver = &hooked;
    alarm(HANG_SECONDS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ferry_buffer_destroy(first);
    ferry_buffer_destroy(second);
    ferry_device_close(device);
    alarm(0);
    unsetenv("FERRY_HOST");
    return 0;
}

static struct ferry_external begin(ferry_buffer *buffer)
{
    struct ferry_external work;
    const struct ferry_use use = {.buffer = buffer,
                                  .access = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
    assert_int_equal(ferry_external_begin(device, &use, 1, &work), FERRY_OK);
    return work;
}

static bool one_sleeps(void)
{
    ferry__device_lock(device);
    const bool sleeps = device->waiters && device->polling;
    ferry__device_unlock(device);
    return sleeps;
}

/* A thread enters the driver's wait for something that never comes; or the engine's thread was there
 * before, and it waits for that. */
static void until_one_waits(unsigned before)
{
    while (atomic_load(&waiting) == before && !one_sleeps())
        sched_yield();
}

struct asked {
    ferry_ticket ticket;
    enum ferry_status status;
};

static void *ask(void *arg)
{
    struct asked *asked = arg;
    asked->status = ferry_wait(device, asked->ticket, FERRY_FOREVER);
    return NULL;
}

/* One thread has taken the submission apart and copies it out; the other, whose operation that is,
 * finds nothing of its own to wait for, and sleeps in the driver on somebody else's event. */
static void done_by_another_thread(void **state)
{
    (void)state;
    unsigned char bytes[SIZE];
    struct asked asked = {0};
    pthread_t thread;
    const struct ferry_external never = begin(first);
    assert_int_equal(ferry_external_end(device, never.ticket, FERRY_OK), FERRY_OK);

    atomic_store(&hold, true);
    assert_int_equal(ferry_copy_to_host_async(second, bytes, SIZE, 0, NULL, NULL, &asked.ticket),
                     FERRY_OK);
    while (!atomic_load(&held))
        sched_yield();
    const unsigned before = atomic_load(&waiting);
    assert_int_equal(pthread_create(&thread, NULL, ask, &asked), 0);
    until_one_waits(before);
    atomic_store(&hold, false);
    pthread_join(thread, NULL);
    assert_int_equal(asked.status, FERRY_OK);
    ferry__host_event_signal(never.signal.event, never.signal.value);
    assert_int_equal(ferry_wait(device, never.ticket, FERRY_FOREVER), FERRY_OK);
}

static void *ask_begin(void *arg)
{
    *(struct ferry_external *)arg = begin(second);
    return NULL;
}

/* The same of one that waits until what comes before its external work is handed over. */
static void handed_over_by_another_thread(void **state)
{
    (void)state;
    unsigned char bytes[SIZE];
    pthread_t thread;
    struct ferry_external mine;
    ferry_ticket ticket;
    const struct ferry_external never = begin(first), failed = begin(second);
    assert_int_equal(ferry_external_end(device, never.ticket, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_copy_to_host_async(second, bytes, SIZE, 0, NULL, NULL, &ticket),
                     FERRY_OK);
    const unsigned before = atomic_load(&waiting);
    assert_int_equal(pthread_create(&thread, NULL, ask_begin, &mine), 0);
    until_one_waits(before);
    assert_int_equal(ferry_external_end(device, failed.ticket, FERRY_ERROR_IO), FERRY_OK);
    pthread_join(thread, NULL);
    ferry__host_event_signal(mine.signal.event, mine.signal.value);
    ferry__host_event_signal(never.signal.event, never.signal.value);
    assert_int_equal(ferry_external_end(device, mine.ticket, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_ERROR_IO);
    assert_int_equal(ferry_wait(device, never.ticket, FERRY_FOREVER), FERRY_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(done_by_another_thread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(handed_over_by_another_thread, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("wake", tests, NULL, NULL);
}
