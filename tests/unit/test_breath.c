/* Where the device's lock is given up in the middle of long work: that it is, and what ends
 * meanwhile. */
#include "base/base.h"
#include "host.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS = 4096, EACH = 16, AT_ONCE = 64 };

static _Atomic unsigned yields;
static void (*_Atomic meanwhile)(void); /* called once, by the next that yields; or each time */
static _Atomic bool each_time;

/* Stands for the C library's, which the lock is given up with. */
int sched_yield(void)
{
    static _Thread_local bool inside;
    atomic_fetch_add(&yields, 1);
    if (inside)
        return 0;
    void (*const now)(void) =
        atomic_load(&each_time) ? atomic_load(&meanwhile) : atomic_exchange(&meanwhile, NULL);
    inside = true;
    if (now)
        now();
    inside = false;
    return 0;
}

struct fixture {
    ferry_device *device;
    ferry_buffer *buffer;
    struct ferry_external work; /* on bytes between the blocks, and it does not end */
    struct ferry_block blocks[BLOCKS];
    unsigned char host[BLOCKS * EACH];
};

static int set_up(void **state)
{
    static struct fixture fixture;
    const struct ferry_buffer_params params = {.size = 2 * BLOCKS * EACH};
    if (ferry_device_open(&(struct ferry_device_params){.name = "host"}, &fixture.device) ||
        ferry_buffer_create(fixture.device, &params, &fixture.buffer))
        return -1;
    const struct ferry_use use = {.buffer = fixture.buffer,
                                  .access = FERRY_ACCESS_WRITE,
                                  .offset = BLOCKS * EACH + EACH,
                                  .size = EACH};
    for (size_t i = 0; i < BLOCKS; i++)
        fixture.blocks[i] = (struct ferry_block){2 * i * EACH, i * EACH, EACH};
    memset(fixture.host, 0x5A, sizeof fixture.host);
    *state = &fixture;
    return ferry_external_begin(fixture.device, &use, 1, &fixture.work) ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    const enum ferry_status status =
        ferry_external_end(fixture->device, fixture->work.ticket, FERRY_OK);
    ferry_buffer_destroy(fixture->buffer);
    ferry_device_close(fixture->device);
    return status ? -1 : 0;
}

/* The direct path asks of many blocks whether anything touches them. */
static void test_many_blocks(void **state)
{
    struct fixture *fixture = *state;
    unsigned char byte = 0;
    atomic_store(&yields, 0);
    assert_int_equal(
        ferry_copy_blocks_from_host(fixture->buffer, fixture->host, fixture->blocks, BLOCKS),
        FERRY_OK);
    assert_true(atomic_load(&yields) >= BLOCKS / AT_ONCE);
    assert_int_equal(ferry_copy_to_host(fixture->buffer, &byte, 1, 2 * (BLOCKS - 1) * EACH),
                     FERRY_OK);
    assert_int_equal(byte, 0x5A);
}

/* --- joins ------------------------------------------------------------------------------------ */

enum { USED = 100, CROWD = 20, SIZE = 64 };

static struct {
    ferry_device *device;
    ferry_buffer *buffers[USED];
    struct ferry_external work;
    unsigned char host[SIZE];
} parked;

static int compare_addresses(const void *a, const void *b)
{
    const uintptr_t x = (uintptr_t) * (ferry_buffer *const *)a;
    const uintptr_t y = (uintptr_t) * (ferry_buffer *const *)b;
    return (x > y) - (x < y);
}

/* In the first buffer, behind work that is held: a write of some bytes, behind many reads of them
 * and more, which are one join now. */
static int set_up_join(void **state)
{
    (void)state;
    const struct ferry_buffer_params params = {.size = SIZE};
    setenv("FERRY_HOST", "no_map", 1);
    if (ferry_device_open(&(struct ferry_device_params){.name = "host"}, &parked.device))
        return -1;
    for (size_t i = 0; i < USED; i++)
        if (ferry_buffer_create(parked.device, &params, &parked.buffers[i]))
            return -1;
    qsort(parked.buffers, USED, sizeof *parked.buffers, compare_addresses);
    const struct ferry_use use = {.buffer = parked.buffers[0], .access = FERRY_ACCESS_WRITE};
    if (ferry_external_begin(parked.device, &use, 1, &parked.work))
        return -1;
    for (size_t i = 0; i < CROWD; i++)
        if (ferry_copy_to_host_async(parked.buffers[0], parked.host, SIZE, 0, NULL, NULL, NULL))
            return -1;
    return ferry_copy_from_host_async(parked.buffers[0], parked.host, 1, 0, NULL, NULL, NULL) ? -1
                                                                                              : 0;
}

static int tear_down_join(void **state)
{
    (void)state;
    for (size_t i = 0; i < USED; i++)
        ferry_buffer_destroy(parked.buffers[i]);
    ferry_device_close(parked.device);
    unsetenv("FERRY_HOST");
    return 0;
}

static void end_all(void)
{
    assert_int_equal(ferry_external_end(parked.device, parked.work.ticket, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_wait_idle(parked.device), FERRY_OK);
    assert_int_equal(ferry_device_trim(parked.device), FERRY_OK); /* and they are let go */
}

/* What takes its place in pieces has found the join, which is over before it comes to follow it. */
static void test_a_join_ends(void **state)
{
    (void)state;
    struct ferry_use uses[USED];
    struct ferry_external later;
    for (size_t i = 0; i < USED; i++)
        uses[i] = (struct ferry_use){.buffer = parked.buffers[i], .access = FERRY_ACCESS_WRITE};
    atomic_store(&meanwhile, end_all);
    assert_int_equal(ferry_external_begin(parked.device, uses, USED, &later), FERRY_OK);
    assert_null(atomic_load(&meanwhile));
    assert_int_equal(ferry_wait(parked.device, later.ready, FERRY_FOREVER), FERRY_OK);
    assert_int_equal(ferry_external_end(parked.device, later.ticket, FERRY_OK), FERRY_OK);
}

/* --- ops that are let go ---------------------------------------------------------------------- */

static ferry_buffer *apart;

static int set_up_chain(void **state)
{
    (void)state;
    const struct ferry_buffer_params params = {.size = SIZE};
    setenv("FERRY_HOST", "no_map,events", 1);
    if (ferry_device_open(&(struct ferry_device_params){.name = "host"}, &parked.device))
        return -1;
    for (size_t i = 0; i < USED; i++)
        if (ferry_buffer_create(parked.device, &params, &parked.buffers[i]))
            return -1;
    return ferry_buffer_create(parked.device, &params, &apart) ? -1 : 0;
}

static int tear_down_chain(void **state)
{
    ferry_buffer_destroy(apart);
    return tear_down_join(state);
}

/* Work on so many buffers, which was ended: it is over once what is before it is. */
static struct ferry_external ended_work(size_t count)
{
    struct ferry_use uses[USED];
    struct ferry_external work;
    for (size_t i = 0; i < count; i++)
        uses[i] = (struct ferry_use){.buffer = parked.buffers[i], .access = FERRY_ACCESS_WRITE};
    assert_int_equal(ferry_external_begin(parked.device, uses, count, &work), FERRY_OK);
    assert_int_equal(ferry_external_end(parked.device, work.ticket, FERRY_OK), FERRY_OK);
    return work;
}

static void signal_work(const struct ferry_external *work)
{
    ferry__host_event_signal(work->signal.event, work->signal.value);
}

/* An operation that shares nothing with the others: whoever submits lets go what is over. */
static void let_go(void)
{
    assert_int_equal(ferry_copy_from_host_async(apart, parked.host, SIZE, 0, NULL, NULL, NULL),
                     FERRY_OK);
}

/* With which all others end, and are let go as soon as they may be. */
static void end_chain(const struct ferry_external *first, const struct ferry_external *last)
{
    atomic_store(&yields, 0);
    atomic_store(&each_time, true);
    atomic_store(&meanwhile, let_go);
    signal_work(first);
    assert_int_equal(ferry_wait(parked.device, last->ticket, FERRY_FOREVER), FERRY_OK);
    atomic_store(&meanwhile, NULL);
    atomic_store(&each_time, false);
    assert_true(atomic_load(&yields) > 0);
}

/* The end of the first is the end of the others, whose uses are many: meanwhile the first goes. */
static void test_the_first_of_a_chain_goes(void **state)
{
    (void)state;
    const struct ferry_external first = ended_work(1), second = ended_work(1),
                                last = ended_work(USED);
    signal_work(&second);
    signal_work(&last);
    assert_int_equal(ferry_wait(parked.device, last.ticket, 1000 * 1000), FERRY_ERROR_TIMEOUT);
    end_chain(&first, &last);
}

/* Likewise an operation, while its submission is taken apart. */
static void test_the_op_of_a_submission_goes(void **state)
{
    (void)state;
    const struct ferry_external first = ended_work(1);
    ferry_ticket ticket;
    assert_int_equal(
        ferry_copy_from_host_async(parked.buffers[0], parked.host, SIZE, 0, NULL, NULL, &ticket),
        FERRY_OK);
    const struct ferry_external last = ended_work(USED);
    signal_work(&last);
    assert_int_equal(ferry_wait(parked.device, last.ticket, 1000 * 1000), FERRY_ERROR_TIMEOUT);
    assert_int_equal(ferry_poll(parked.device, ticket), FERRY_PENDING);
    end_chain(&first, &last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_join_ends, set_up_join, tear_down_join),
        cmocka_unit_test_setup_teardown(test_the_first_of_a_chain_goes, set_up_chain,
                                        tear_down_chain),
        cmocka_unit_test_setup_teardown(test_the_op_of_a_submission_goes, set_up_chain,
                                        tear_down_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
