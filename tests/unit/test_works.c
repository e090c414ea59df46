/*
 * External work: its events are used again, it ends with what can become of work on a device, and
 * with the device.
 */
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "host_buffer.h"

#include <stdlib.h>
#include <string.h>

enum { SIZE = 64, WORKS = 1000, IN_FLIGHT = 4, USES = 1000 };

static struct ferry__driver hooked;
static const struct ferry__driver *real;
static unsigned made, destroyed;

static enum ferry_status event_create(void *state, uint64_t *out_event, char *why)
{
    made++;
    return real->event_create(state, out_event, why);
}

static void event_destroy(void *state, uint64_t event)
{
    destroyed++;
    real->event_destroy(state, event);
}

static int open_with(const char *knobs)
{
    if (open_host_buffer(knobs, NULL, SIZE))
        return -1;
    real = device->gpu.driver;
    hooked = *real;
    hooked.event_create = event_create;
    hooked.event_destroy = event_destroy;
    device->gpu.driver = &hooked;
    made = destroyed = 0;
    return 0;
}

static int with_events(void **state)
{
    (void)state;
    return open_with("no_map,events");
}

static int without_events(void **state)
{
    (void)state;
    return open_with("no_map");
}

static int tear_down(void **state)
{
    (void)close_host_buffer(state);
    return made == destroyed ? 0 : -1;
}

static struct ferry_external begin(void)
{
    return begin_work(FERRY_ACCESS_WRITE, 0, 0);
}

static void signal_and_end(const struct ferry_external *work)
{
    signal_work(work);
    end_work(work);
}

static void events_are_used_again(void **state)
{
    (void)state;
    unsigned char bytes[SIZE] = {0};
    struct ferry_external works[IN_FLIGHT] = {0};
    uint64_t latest = 0;
    for (size_t i = 0; i < WORKS; i++) {
        struct ferry_external *work = &works[i % IN_FLIGHT];
        if (i >= IN_FLIGHT)
            assert_int_equal(ferry_wait(device, work->ticket, FERRY_FOREVER), FERRY_OK);
        const struct ferry_sync before = work->signal;
        *work = begin();
        if (before.event == work->signal.event)
            assert_true(work->signal.value > before.value);
        if (work->signal.value > latest)
            latest = work->signal.value;
        signal_and_end(work);
        assert_int_equal(ferry_copy_from_host_async(buffer, bytes, SIZE, 0, NULL, NULL, NULL),
                         FERRY_OK);
    }
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_true(latest > 1);
    /* As many as there were at once: the works, and what the submissions in flight wait for. */
    assert_true(made >= 1 && made <= 64);
}

/* The user's own GPU may raise it yet. */
static void an_event_of_failed_work_is_kept_aside(void **state)
{
    (void)state;
    const struct ferry_external failed = begin();
    assert_int_equal(ferry_external_end(device, failed.ticket, FERRY_ERROR_EXECUTION_FAILED),
                     FERRY_OK);
    assert_int_equal(ferry_wait(device, failed.ticket, FERRY_FOREVER),
                     FERRY_ERROR_EXECUTION_FAILED);
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        const struct ferry_external work = begin();
        assert_true(work.signal.event != failed.signal.event);
        signal_and_end(&work);
        assert_int_equal(ferry_wait(device, work.ticket, FERRY_FOREVER), FERRY_OK);
    }
}

static void it_ends_with_what_becomes_of_work(void **state)
{
    (void)state;
    for (int status = FERRY_OK; status <= (int)FERRY_ERROR_INTERNAL + 1; status++) {
        const struct ferry_external work = begin();
        const bool may = status == FERRY_OK || status == FERRY_ERROR_EXECUTION_FAILED ||
                         status == FERRY_ERROR_DEVICE_LOST || status == FERRY_ERROR_IO ||
                         status == FERRY_ERROR_INTERNAL;
        const enum ferry_status ended =
            ferry_external_end(device, work.ticket, (enum ferry_status)status);
        assert_int_equal(ended, may ? FERRY_OK : FERRY_ERROR_INVALID_ARGUMENT);
        if (!may)
            assert_int_equal(ferry_external_end(device, work.ticket, FERRY_OK), FERRY_OK);
        if (!may || !status)
            ferry__host_event_signal(work.signal.event, work.signal.value);
        assert_int_equal(ferry_wait(device, work.ticket, FERRY_FOREVER), may ? status : FERRY_OK);
    }
}

static void *lose(void *arg)
{
    (void)arg;
    for (bool there = false; !there;) {
        pthread_mutex_lock(&device->lock);
        there = device->waiters > 0;
        pthread_mutex_unlock(&device->lock);
        usleep(100);
    }
    ferry__host_lose(device->gpu.state);
    return NULL;
}

/* The one who would end it need not come: who waits for it, or for what follows it, is told. */
static void it_ends_with_the_device(void **state)
{
    (void)state;
    unsigned char bytes[SIZE] = {0};
    ferry_ticket after;
    pthread_t thread;
    const struct ferry_external open = begin();
    assert_int_equal(ferry_copy_from_host_async(buffer, bytes, SIZE, 0, NULL, NULL, &after),
                     FERRY_OK);
    assert_int_equal(pthread_create(&thread, NULL, lose, NULL), 0);
    assert_int_equal(ferry_wait(device, after, FERRY_FOREVER), FERRY_ERROR_DEVICE_LOST);
    pthread_join(thread, NULL);
    assert_int_equal(ferry_wait(device, open.ticket, FERRY_FOREVER), FERRY_ERROR_DEVICE_LOST);
    assert_int_equal(ferry_external_end(device, open.ticket, FERRY_OK), FERRY_ERROR_DEVICE_LOST);
}

/* Whatever their order, and more than once: one buffer has one place, and is held until the end. */
static void many_uses(void **state)
{
    (void)state;
    static struct ferry_use uses[3 * USES];
    static ferry_buffer *buffers[USES];
    struct ferry_external work;
    for (size_t i = 0; i < USES; i++) {
        assert_int_equal(
            ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffers[i]),
            FERRY_OK);
        for (size_t again = 0; again < 3; again++)
            uses[(i * 7 + again * 1000) % (3 * USES)] =
                (struct ferry_use){.buffer = buffers[i], .access = 1 + again % 2};
    }
    for (size_t i = 0; i < 3 * USES; i++)
        if (!uses[i].buffer)
            uses[i] = (struct ferry_use){.buffer = buffers[i % USES], .access = FERRY_ACCESS_READ};
    assert_int_equal(ferry_external_begin(device, uses, 3 * USES, &work), FERRY_OK);
    for (size_t i = 0; i < USES; i++) {
        assert_int_equal(ferry_buffer_wait(buffers[i], 0), FERRY_ERROR_TIMEOUT);
        ferry_buffer_destroy(buffers[i]);
    }
    if (work.signal.event)
        ferry__host_event_signal(work.signal.event, work.signal.value);
    assert_int_equal(ferry_external_end(device, work.ticket, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_wait(device, work.ticket, FERRY_FOREVER), FERRY_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_are_used_again, with_events, tear_down),
        cmocka_unit_test_setup_teardown(an_event_of_failed_work_is_kept_aside, with_events,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_ends_with_what_becomes_of_work, with_events, tear_down),
        cmocka_unit_test_setup_teardown(it_ends_with_the_device, with_events, tear_down),
        cmocka_unit_test_setup_teardown(it_ends_with_the_device, without_events, tear_down),
        cmocka_unit_test_setup_teardown(many_uses, with_events, tear_down),
        cmocka_unit_test_setup_teardown(many_uses, without_events, tear_down),
    };
    return cmocka_run_group_tests_name("works", tests, NULL, NULL);
}
