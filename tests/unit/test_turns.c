/*
 * External work on many buffers takes its place in pieces, and other threads run meanwhile: each is
 * wholly before another, or wholly behind.
 */
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "hang.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BUFFERS = 1000, SIZE = 64, ROUNDS = 150, FEW = 3, THREADS = 6 };

static ferry_device *device;
static ferry_buffer *buffers[BUFFERS];
static _Atomic int users[BUFFERS];
static _Atomic int collisions, failures;

static int set_up(void **state)
{
    (void)state;
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE); /* work that is ended as failed says so */
    alarm(HANG_SECONDS);                       /* a cycle of operations waits for ever */
    atomic_store(&collisions, 0);
    atomic_store(&failures, 0);
    if (ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device))
        return -1;
    for (size_t i = 0; i < BUFFERS; i++)
        if (ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffers[i]))
            return -1;
    return 0;
}

static int with_events(void **state)
{
    setenv("FERRY_HOST", "no_map,events", 1);
    return set_up(state);
}

static int without_events(void **state)
{
    setenv("FERRY_HOST", "no_map", 1);
    return set_up(state);
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < BUFFERS; i++)
        ferry_buffer_destroy(buffers[i]);
    ferry_device_close(device);
    alarm(0);
    unsetenv("FERRY_HOST");
    return 0;
}

static unsigned next(unsigned *seed)
{
    return (*seed = *seed * 1103515245 + 12345) >> 16;
}

/* Nobody else uses the buffers between READY and the end. */
static void work_on(const size_t *which, size_t count)
{
    static _Thread_local struct ferry_use uses[BUFFERS];
    struct ferry_external work;
    for (size_t i = 0; i < count; i++)
        uses[i] = (struct ferry_use){.buffer = buffers[which[i]], .access = FERRY_ACCESS_WRITE};
    if (ferry_external_begin(device, uses, count, &work) ||
        ferry_wait(device, work.ready, FERRY_FOREVER)) {
        atomic_fetch_add(&failures, 1);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (atomic_fetch_add(&users[which[i]], 1))
            atomic_fetch_add(&collisions, 1);
    for (size_t i = 0; i < count; i++)
        atomic_fetch_sub(&users[which[i]], 1);
    /* What never ran on a GPU ends as failed: its event is the library's to raise. */
    const enum ferry_status end = work.signal.event ? FERRY_ERROR_EXECUTION_FAILED : FERRY_OK;
    if (ferry_external_end(device, work.ticket, end))
        atomic_fetch_add(&failures, 1);
}

static void *many_each(void *arg)
{
    size_t which[BUFFERS];
    unsigned seed = 1 + (unsigned)*(size_t *)arg;
    for (int round = 0; round < ROUNDS; round++) {
        const size_t from = next(&seed) % BUFFERS, count = BUFFERS / 2 + next(&seed) % 64;
        for (size_t i = 0; i < count; i++)
            which[i] = (from + i) % BUFFERS;
        work_on(which, count);
    }
    return NULL;
}

static void *few_each(void *arg)
{
    unsigned seed = 1 + (unsigned)*(size_t *)arg;
    for (int round = 0; round < 20 * ROUNDS; round++) {
        size_t which[FEW];
        const size_t from = next(&seed) % BUFFERS;
        for (size_t i = 0; i < FEW; i++)
            which[i] = (from + i * (BUFFERS / FEW)) % BUFFERS;
        work_on(which, FEW);
    }
    return NULL;
}

static void *transfers(void *arg)
{
    unsigned char bytes[SIZE] = {0};
    unsigned seed = 1 + (unsigned)*(size_t *)arg;
    for (int round = 0; round < 20 * ROUNDS; round++)
        if (ferry_copy_buffer_async(buffers[next(&seed) % (BUFFERS / 2)],
                                    buffers[BUFFERS / 2 + next(&seed) % (BUFFERS / 2)], SIZE, 0, 0,
                                    NULL, NULL, NULL) ||
            ferry_copy_from_host_async(buffers[next(&seed) % BUFFERS], bytes, SIZE, 0, NULL, NULL,
                                       NULL))
            atomic_fetch_add(&failures, 1);
    return NULL;
}

/* Asks what the library walks over while others' places are taken. */
static void *questions(void *arg)
{
    unsigned seed = 1 + (unsigned)*(size_t *)arg;
    for (int round = 0; round < ROUNDS; round++) {
        ferry_ticket tickets[2] = {0};
        size_t index;
        if (ferry_buffer_ticket(buffers[next(&seed) % BUFFERS], 0, SIZE, &tickets[0]) ||
            ferry_buffer_ticket(buffers[next(&seed) % BUFFERS], 0, SIZE, &tickets[1]) ||
            ferry_wait_any(device, tickets, 2, FERRY_FOREVER, &index) || ferry_device_trim(device))
            atomic_fetch_add(&failures, 1);
        (void)!ferry_wait_all(device, tickets, 2, FERRY_FOREVER); /* it tells what failed */
    }
    return NULL;
}

static void each_has_its_turn(void **state)
{
    (void)state;
    void *(*const bodies[THREADS])(void *) = {many_each, many_each, few_each,
                                              few_each,  transfers, questions};
    pthread_t threads[THREADS];
    size_t numbers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], &numbers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(atomic_load(&collisions), 0);
    /* They have all left: a direct look says so, and destroying does not wait. */
    for (size_t i = 0; i < BUFFERS; i++)
        assert_int_equal(atomic_load(&buffers[i]->word) & ~FERRY__BUFFER_FAILED, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_has_its_turn, with_events, tear_down),
        cmocka_unit_test_setup_teardown(each_has_its_turn, without_events, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
