/*
 * Fairness (R7a): an operation that fills submissions does not keep back those that do not depend on
 * it. The driver's submissions are counted, not time.
 */
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "hang.h"
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BUDGET = 1 << 16, LARGE = 16 * BUDGET, SMALL = 8, SMALLS = 20 };

static ferry_device *device;
static ferry_buffer *large, *small;
static const struct ferry__driver *real;
static unsigned submissions, first_small,
    last_small; /* the first and the last that had a small one */
static unsigned char bytes[LARGE], back[LARGE];

static enum ferry_status submit(void *state, const struct ferry__submission_info *info, char *why)
{
    submissions++;
    for (size_t i = 0; i < info->count; i++)
        if (info->commands[i].dst == small->memory &&
            info->commands[i].dst_offset - small->offset < SMALLS * SMALL) {
            first_small = first_small ? first_small : submissions;
            last_small = submissions;
        }
    return real->submit(state, info, why);
}

static int set_up(void **state)
{
    static struct ferry__driver hooked;
    (void)state;
    setenv("FERRY_HOST", "no_map,events,queues=1", 1);
    const struct ferry_device_params params = {
        .name = "host", .staging_budget = BUDGET, .path = FERRY_PATH_STAGED};
    if (ferry_device_open(&params, &device) ||
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = LARGE}, &large) ||
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = LARGE}, &small))
        return -1;
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (unsigned char)(i * 3 + i / 256);
    real = device->gpu.driver;
    hooked = *real;
    hooked.submit = submit;
    device->gpu.driver = &hooked;
    submissions = first_small = last_small = 0;
    alarm(HANG_SECONDS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ferry_buffer_destroy(large);
    ferry_buffer_destroy(small);
    ferry_device_close(device);
    alarm(0);
    unsetenv("FERRY_HOST");
    return 0;
}

static struct ferry_external hold(void)
{
    struct ferry_external work;
    const struct ferry_use uses[] = {{.buffer = large, .access = FERRY_ACCESS_WRITE},
                                     {.buffer = small, .access = FERRY_ACCESS_WRITE}};
    assert_int_equal(ferry_external_begin(device, uses, 2, &work), FERRY_OK);
    return work;
}

static void release(const struct ferry_external *work)
{
    ferry__host_event_signal(work->signal.event, work->signal.value);
    assert_int_equal(ferry_external_end(device, work->ticket, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
}

static void small_ones(void)
{
    for (size_t i = 0; i < SMALLS; i++)
        assert_int_equal(ferry_copy_from_host_async(small, bytes + i * SMALL, SMALL, i * SMALL,
                                                    NULL, NULL, NULL),
                         FERRY_OK);
}

static void small_ones_pass_a_large_one(void **state)
{
    (void)state;
    const struct ferry_external work = hold();
    assert_int_equal(ferry_copy_from_host_async(large, bytes, LARGE, 0, NULL, NULL, NULL),
                     FERRY_OK);
    small_ones();
    release(&work);
    assert_true(submissions > 8); /* or the large one was none */
    assert_true(first_small >= 2 && last_small <= 3);
    assert_int_equal(ferry_copy_to_host(large, back, LARGE, 0), FERRY_OK);
    assert_memory_equal(back, bytes, LARGE);
    assert_int_equal(ferry_copy_to_host(small, back, SMALLS * SMALL, 0), FERRY_OK);
    assert_memory_equal(back, bytes, SMALLS * SMALL);
}

/* Two large ones take turns. */
static void large_ones_take_turns(void **state)
{
    (void)state;
    const struct ferry_external work = hold();
    assert_int_equal(ferry_copy_from_host_async(large, bytes, LARGE, 0, NULL, NULL, NULL),
                     FERRY_OK);
    assert_int_equal(ferry_copy_from_host_async(small, bytes, LARGE, 0, NULL, NULL, NULL),
                     FERRY_OK);
    release(&work);
    assert_int_equal(first_small, 2);
    assert_int_equal(ferry_copy_to_host(small, back, LARGE, 0), FERRY_OK);
    assert_memory_equal(back, bytes, LARGE);
}

/* What depends on the large one is behind it all the same. */
static void dependents_stay_behind(void **state)
{
    (void)state;
    const struct ferry_external work = hold();
    assert_int_equal(ferry_copy_from_host_async(large, bytes, LARGE, 0, NULL, NULL, NULL),
                     FERRY_OK);
    assert_int_equal(
        ferry_copy_buffer_async(small, large, SMALL, 0, LARGE - SMALL, NULL, NULL, NULL), FERRY_OK);
    release(&work);
    assert_true(first_small > 8);
    assert_int_equal(ferry_copy_to_host(small, back, SMALL, 0), FERRY_OK);
    assert_memory_equal(back, bytes + LARGE - SMALL, SMALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_ones_pass_a_large_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_ones_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dependents_stay_behind, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("fair", tests, NULL, NULL);
}
