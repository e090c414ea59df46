/*
 * What is parked has a bound, and costs little; what was refused has written nothing.
 */
#include "base/base.h"
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

enum { SIZE = 256, MAX = 10 };

static ferry_device *device, *other;
static ferry_buffer *buffer, *far;
static unsigned char bytes[SIZE];
static struct ferry_external work;

static int open_with(const char *knobs, uint64_t parked_max)
{
    const struct ferry_device_params params = {
        .name = "host", .path = FERRY_PATH_STAGED, .parked_max = parked_max};
    const struct ferry_buffer_params whole = {.size = SIZE};
    setenv("FERRY_HOST", knobs, 1);
    alarm(HANG_SECONDS);
    return ferry_device_open(&params, &device) || ferry_buffer_create(device, &whole, &buffer) ||
                   ferry_device_open(&params, &other) || ferry_buffer_create(other, &whole, &far)
               ? -1
               : 0;
}

static int few(void **state)
{
    (void)state;
    return open_with("no_map,events", MAX);
}

static int usual(void **state)
{
    (void)state;
    return open_with("no_map,events", 0);
}

static int tear_down(void **state)
{
    (void)state;
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(far);
    ferry_device_close(device);
    ferry_device_close(other);
    alarm(0);
    unsetenv("FERRY_HOST");
    return 0;
}

static void hold(ferry_buffer *which)
{
    const struct ferry_use use = {.buffer = which,
                                  .access = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
    assert_int_equal(ferry_external_begin(ferry_buffer_device(which), &use, 1, &work), FERRY_OK);
}

static void let_go(ferry_device *of)
{
    ferry__host_event_signal(work.signal.event, work.signal.value);
    assert_int_equal(ferry_external_end(of, work.ticket, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_wait_idle(of), FERRY_OK);
}

static enum ferry_status upload(void)
{
    return ferry_copy_from_host_async(buffer, bytes, SIZE, 0, NULL, NULL, NULL);
}

static ferry_batch *make_batch(size_t count)
{
    ferry_batch *batch;
    assert_int_equal(ferry_batch_create(device, &batch), FERRY_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ferry_batch_copy_from_host(batch, buffer, bytes, 1, i), FERRY_OK);
    return batch;
}

static void *upload_and_wait(void *arg)
{
    *(enum ferry_status *)arg = ferry_copy_from_host(buffer, bytes, SIZE, 0);
    return NULL;
}

static void beyond_the_bound(void **state)
{
    (void)state;
    enum ferry_status waited = FERRY_PENDING;
    pthread_t thread;
    hold(buffer);
    ferry_batch *batch = make_batch(3), *large = make_batch(MAX + 1);
    assert_int_equal(ferry_batch_submit(large, NULL, NULL, NULL), FERRY_ERROR_POOL_EXHAUSTED);
    assert_int_equal(ferry_batch_submit(batch, NULL, NULL, NULL), FERRY_OK);
    for (unsigned i = 3; i < MAX; i++)
        assert_int_equal(upload(), FERRY_OK);
    assert_int_equal(upload(), FERRY_ERROR_POOL_EXHAUSTED);
    assert_non_null(strstr(ferry_last_error(), "10 operations and blocks of "));
    assert_non_null(strstr(ferry_last_error(), "no more than 10 may be"));
    /* One between two devices counts on both. */
    assert_int_equal(ferry_copy_buffer_async(far, buffer, SIZE, 0, 0, NULL, NULL, NULL),
                     FERRY_ERROR_POOL_EXHAUSTED);
    assert_int_equal(ferry_copy_buffer_async(buffer, far, SIZE, 0, 0, NULL, NULL, NULL),
                     FERRY_ERROR_POOL_EXHAUSTED);
    /* Who waits is not counted, nor what the library does for itself. */
    assert_int_equal(pthread_create(&thread, NULL, upload_and_wait, &waited), 0);
    const struct ferry_buffer_params zeroed = {.size = SIZE, .zeroed = true};
    ferry_buffer *third;
    assert_int_equal(ferry_buffer_create(device, &zeroed, &third), FERRY_OK);
    let_go(device);
    pthread_join(thread, NULL);
    assert_int_equal(waited, FERRY_OK);
    assert_int_equal(device->parked, 0);
    assert_int_equal(other->parked, 0);
    assert_int_equal(upload(), FERRY_OK); /* there is room again */
    ferry_buffer_destroy(third);
    ferry_batch_destroy(batch);
    ferry_batch_destroy(large); /* it keeps its operations */
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
}

/* Blocks count one by one, in a batch and on both sides of a copy between devices too. Rows, of which
 * nothing is kept but their shape, count as one. */
static void blocks_count(void **state)
{
    (void)state;
    struct ferry_block blocks[MAX + 1];
    const struct ferry_rows rows = {
        .dst_stride = 2, .src_stride = 2, .row_size = 1, .rows = 4 * MAX};
    for (size_t i = 0; i <= MAX; i++)
        blocks[i] = (struct ferry_block){2 * i, 2 * i, 1};
    hold(buffer);
    assert_int_equal(
        ferry_copy_blocks_from_host_async(buffer, bytes, blocks, MAX + 1, NULL, NULL, NULL),
        FERRY_ERROR_POOL_EXHAUSTED);
    assert_non_null(strstr(ferry_last_error(), "no room for 11 more"));
    assert_int_equal(ferry_copy_blocks_async(far, buffer, blocks, MAX + 1, NULL, NULL, NULL),
                     FERRY_ERROR_POOL_EXHAUSTED);
    assert_int_equal(device->parked, 0);
    assert_int_equal(ferry_copy_blocks_async(far, buffer, blocks, 4, NULL, NULL, NULL), FERRY_OK);
    assert_int_equal(device->parked, 4);
    assert_int_equal(other->parked, 4);
    ferry_batch *batch = make_batch(1);
    assert_int_equal(ferry_batch_copy_blocks_from_host(batch, buffer, bytes, blocks, 4), FERRY_OK);
    assert_int_equal(ferry_batch_submit(batch, NULL, NULL, NULL), FERRY_OK);
    assert_int_equal(device->parked, 9);
    ferry_batch_destroy(batch);
    batch = make_batch(1);
    assert_int_equal(ferry_batch_copy_blocks_from_host(batch, buffer, bytes, blocks, 4), FERRY_OK);
    assert_int_equal(ferry_batch_submit(batch, NULL, NULL, NULL), FERRY_ERROR_POOL_EXHAUSTED);
    assert_non_null(strstr(ferry_last_error(), "no room for 5 more"));
    assert_int_equal(ferry_copy_rows_from_host_async(buffer, bytes, &rows, NULL, NULL, NULL),
                     FERRY_OK);
    assert_int_equal(device->parked, MAX);
    let_go(device);
    assert_int_equal(ferry_wait_idle(other), FERRY_OK);
    assert_int_equal(device->parked, 0);
    assert_int_equal(other->parked, 0);
    ferry_batch_destroy(batch);
}

static void count_call(enum ferry_status status, ferry_ticket ticket, void *user)
{
    (void)ticket;
    assert_int_equal(status, FERRY_OK);
    ++*(_Atomic unsigned *)user;
}

/* What was refused is told with its numbers, and takes nothing of what was accepted with it. */
static void accepted_ones_complete(void **state)
{
    (void)state;
    static _Atomic unsigned calls, refused_calls;
    unsigned char sources[MAX], got[SIZE], refused_byte = 0xee;
    ferry_ticket tickets[MAX], none = 4242;
    calls = refused_calls = 0;
    memset(bytes, 0, SIZE);
    assert_int_equal(ferry_copy_from_host(buffer, bytes, SIZE, 0), FERRY_OK);
    hold(buffer);
    for (unsigned i = 0; i < MAX; i++) {
        sources[i] = (unsigned char)(i + 1);
        assert_int_equal(ferry_copy_from_host_async(buffer, &sources[i], 1, 2 * i, count_call,
                                                    &calls, &tickets[i]),
                         FERRY_OK);
    }
    ferry_batch *batch = make_batch(3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ferry_copy_from_host_async(buffer, &refused_byte, 1, 2 * i, count_call,
                                                    &refused_calls, &none),
                         FERRY_ERROR_POOL_EXHAUSTED);
        assert_non_null(strstr(ferry_last_error(), "no room for 1 more"));
        assert_int_equal(ferry_batch_submit(batch, count_call, &refused_calls, &none),
                         FERRY_ERROR_POOL_EXHAUSTED);
        assert_non_null(strstr(ferry_last_error(), "no room for 3 more"));
    }
    assert_int_equal(none, 4242);
    let_go(device);
    assert_int_equal(ferry_wait_all(device, tickets, MAX, FERRY_FOREVER), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(buffer, got, SIZE, 0), FERRY_OK);
    for (unsigned i = 0; i < SIZE; i++)
        assert_int_equal(got[i], i < 2 * MAX && i % 2 == 0 ? i / 2 + 1 : 0);
    ferry_batch_destroy(batch);
    ferry_buffer_destroy(buffer);
    buffer = NULL;
    ferry_device_close(device); /* runs the callbacks that are left */
    device = NULL;
    assert_int_equal(calls, MAX);
    assert_int_equal(refused_calls, 0);
}

/* A submission that the driver refused has written nothing, and its bytes are as they were (R9). */
static void of_one_refused_nothing_stays(void **state)
{
    (void)state;
    ferry_ticket ticket;
    ferry__host_set(device->gpu.state, "fail_submit", 1);
    assert_int_equal(ferry_copy_from_host_async(buffer, bytes, SIZE, 0, NULL, NULL, &ticket),
                     FERRY_OK);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_ERROR_OUT_OF_HOST_MEMORY);
    ferry__host_set(device->gpu.state, "fail_submit", 0);
    assert_int_equal(ferry_copy_to_host(buffer, bytes, SIZE, 0), FERRY_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(beyond_the_bound, few, tear_down),
        cmocka_unit_test_setup_teardown(blocks_count, few, tear_down),
        cmocka_unit_test_setup_teardown(accepted_ones_complete, few, tear_down),
        cmocka_unit_test_setup_teardown(of_one_refused_nothing_stays, usual, tear_down),
    };
    return cmocka_run_group_tests_name("parked", tests, NULL, NULL);
}
