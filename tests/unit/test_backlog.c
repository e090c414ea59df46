/*
 * Long backlogs: 100,000 operations in flight behind external work, and a waiter with a small stack.
 * What walked a chain of operations, or recursed along it, took the stack or minutes: then this
 * crashes, or the alarm ends it.
 */
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "hang.h"
#include "host.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 100000, PIECE = 64, STACK = 64 << 10 };

static ferry_device *device;
static ferry_buffer *buffer;
static unsigned char *memory;
static ferry_ticket last;

static int set_up(void **state)
{
    (void)state;
    setenv("FERRY_HOST", "no_map,events,queues=3", 1);
    if (ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device) ||
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = N * PIECE}, &buffer))
        return -1;
    void *given;
    if (ferry_host_alloc(device, N * PIECE, &given))
        return -1;
    memory = given;
    for (size_t i = 0; i < N * PIECE; i++)
        memory[i] = (unsigned char)(i * 7 + i / 251);
    alarm(HANG_SECONDS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ferry_buffer_destroy(buffer);
    ferry_host_free(device, memory);
    ferry_device_close(device);
    alarm(0);
    unsetenv("FERRY_HOST");
    return 0;
}

static struct ferry_external begin(void)
{
    struct ferry_external work;
    const struct ferry_use use = {.buffer = buffer,
                                  .access = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
    assert_int_equal(ferry_external_begin(device, &use, 1, &work), FERRY_OK);
    return work;
}

static void end(const struct ferry_external *work, enum ferry_status status)
{
    if (!status)
        ferry__host_event_signal(work->signal.event, work->signal.value);
    assert_int_equal(ferry_external_end(device, work->ticket, status), FERRY_OK);
}

static void *wait_for_last(void *arg)
{
    *(enum ferry_status *)arg = ferry_wait(device, last, FERRY_FOREVER);
    return NULL;
}

/* The engine's own thread is kept out of it: the waiter does the work. */
static enum ferry_status wait_on_a_small_stack(const struct ferry_external *work)
{
    enum ferry_status status = FERRY_PENDING;
    pthread_attr_t attributes;
    pthread_t thread;
    const size_t stack = STACK < PTHREAD_STACK_MIN ? (size_t)PTHREAD_STACK_MIN : STACK;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, stack), 0);
    assert_int_equal(pthread_create(&thread, &attributes, wait_for_last, &status), 0);
    pthread_attr_destroy(&attributes);
    for (bool there = false; !there;) {
        pthread_mutex_lock(&device->lock);
        there = device->waiters > 0;
        pthread_mutex_unlock(&device->lock);
    }
    end(work, FERRY_OK);
    pthread_join(thread, NULL);
    return status;
}

static void uploads_end_to_end(void **state)
{
    (void)state;
    const struct ferry_external work = begin();
    for (size_t i = 0; i < N; i++)
        assert_int_equal(ferry_copy_from_host_async(buffer, memory + i * PIECE, PIECE, i * PIECE,
                                                    NULL, NULL, &last),
                         FERRY_OK);
    assert_int_equal(wait_on_a_small_stack(&work), FERRY_OK);
    unsigned char *back = malloc(N * PIECE);
    assert_non_null(back);
    assert_int_equal(ferry_copy_to_host(buffer, back, N * PIECE, 0), FERRY_OK);
    assert_memory_equal(back, memory, N * PIECE);
    free(back);
}

/* A copy of bytes onto themselves needs nothing of the device, and still has its place. */
static void copies_that_come_to_nothing(void **state)
{
    (void)state;
    unsigned char bytes[PIECE];
    const struct ferry_external work = begin();
    for (size_t i = 0; i < N; i++)
        assert_int_equal(ferry_copy_buffer_async(buffer, buffer, PIECE, 0, 0, NULL, NULL, &last),
                         FERRY_OK);
    assert_int_equal(ferry_copy_from_host_async(buffer, memory, PIECE, 0, NULL, NULL, &last),
                     FERRY_OK);
    assert_int_equal(wait_on_a_small_stack(&work), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(buffer, bytes, PIECE, 0), FERRY_OK);
    assert_memory_equal(bytes, memory, PIECE);
}

/* Half of them behind one write and half behind another, which end in turn: the lists that are put
 * together interleave. */
static void reads_behind_two_writes(void **state)
{
    (void)state;
    ferry_buffer *other;
    static unsigned char bytes[N];
    assert_int_equal(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = N}, &other),
                     FERRY_OK);
    const struct ferry_use use = {.buffer = other, .access = FERRY_ACCESS_WRITE};
    struct ferry_external work = begin(), second;
    assert_int_equal(ferry_external_begin(device, &use, 1, &second), FERRY_OK);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(
            ferry_copy_to_host_async(i % 2 ? buffer : other, &bytes[i], 1, i, NULL, NULL, &last),
            FERRY_OK);
    end(&second, FERRY_OK);
    assert_int_equal(wait_on_a_small_stack(&work), FERRY_OK);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    ferry_buffer_destroy(other);
}

/* All of them end with the work that they follow: one after another, without recursion. */
static void a_chain_behind_work_that_fails(void **state)
{
    (void)state;
    const struct ferry_external work = begin();
    for (size_t i = 0; i < N; i++)
        assert_int_equal(
            ferry_copy_buffer_async(buffer, buffer, PIECE, PIECE, 0, NULL, NULL, &last), FERRY_OK);
    end(&work, FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(ferry_wait(device, last, FERRY_FOREVER), FERRY_ERROR_EXECUTION_FAILED);
}

/* Asked all the time, at the end of the chain: no answer walks it. */
static void asked_at_the_end(void **state)
{
    (void)state;
    const struct ferry_external work = begin();
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(ferry_copy_from_host_async(buffer, memory, PIECE, 0, NULL, NULL, &last),
                         FERRY_OK);
        assert_int_equal(ferry_poll(device, last), FERRY_PENDING);
        assert_int_equal(ferry_wait(device, last, 0), FERRY_ERROR_TIMEOUT);
        assert_non_null(strstr(ferry_last_error(), "external work"));
    }
    assert_int_equal(wait_on_a_small_stack(&work), FERRY_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(uploads_end_to_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copies_that_come_to_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_behind_two_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_chain_behind_work_that_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asked_at_the_end, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("backlog", tests, NULL, NULL);
}
