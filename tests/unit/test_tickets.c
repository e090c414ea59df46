/*
 * Tickets of what failed (R11): none is ever said to be well, however late, however many there are,
 * and though there is no host memory.
 */
#include "base/alloc.h"
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/ticket.h"
#include "host_buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 1 << 16, MANY = 100000, WORKS = 6000 };

static unsigned char bytes[SIZE];
static ferry_ticket tickets[MANY];

static int set_up(void **state)
{
    static const struct ferry_device_params staged = {.path = FERRY_PATH_STAGED};
    (void)state;
    return open_host_buffer("no_map", &staged, SIZE);
}

static ferry_ticket begin(size_t offset, size_t size)
{
    return begin_work(FERRY_ACCESS_WRITE, offset, size).ticket;
}

/* Every other download is of the failed half. */
static bool is_bad(size_t i)
{
    return i % 2;
}

static void read_both_halves(void)
{
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(ferry_copy_to_host_async(buffer, bytes, 1, is_bad(i) ? SIZE / 2 : 0, NULL,
                                                  NULL, &tickets[i]),
                         FERRY_OK);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
}

static void they_are_kept_however_many(void **state)
{
    (void)state;
    const ferry_ticket work = begin(SIZE / 2, SIZE / 2);
    assert_int_equal(ferry_external_end(device, work, FERRY_ERROR_EXECUTION_FAILED), FERRY_OK);
    read_both_halves();
    for (int round = 0; round < 2; round++)
        for (size_t n = 0; n < MANY; n++) {
            const size_t i = n * 7919 % MANY;
            assert_int_equal(ferry_poll(device, tickets[i]),
                             is_bad(i) ? FERRY_ERROR_EXECUTION_FAILED : FERRY_OK);
            if (is_bad(i))
                assert_non_null(strstr(ferry_last_error(), "external work"));
        }
    assert_int_equal(ferry_wait(device, tickets[1], FERRY_FOREVER), FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(ferry_wait_all(device, tickets, MANY, 0), FERRY_ERROR_EXECUTION_FAILED);
    /* Nobody holds the ops: what is left of each is a few words. */
    assert_null(device->living.first);
    assert_null(device->tickets.held.first);
    size_t pages = 0;
    for (struct ferry__node *node = device->tickets.failed.first; node;
         node = ferry__tree_next(node))
        pages++;
    assert_true(pages * (sizeof(struct ferry__op) + sizeof(struct ferry__range)) <
                (MANY / 2 + 1) * 24);
}

/* They fail in another order than that of their tickets. */
static void reasons_are_kept_of_the_latest(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKS; i++)
        tickets[i] = begin(i, 1);
    for (size_t n = 0; n < WORKS; n++) {
        const ferry_ticket ticket = tickets[n * 7919 % WORKS];
        assert_int_equal(ferry_external_end(device, ticket, FERRY_ERROR_IO), FERRY_OK);
    }
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    size_t forgotten = 0;
    for (size_t n = 0; n < WORKS; n++) {
        char number[32];
        const ferry_ticket ticket = tickets[n * 7919 % WORKS];
        snprintf(number, sizeof number, "%llu", (unsigned long long)ticket);
        assert_int_equal(ferry_poll(device, ticket), FERRY_ERROR_IO);
        assert_non_null(strstr(ferry_last_error(), number));
        const bool told = strstr(ferry_last_error(), "no longer kept");
        forgotten += told;
        assert_true(told == (n < forgotten)); /* the first of them, no others */
    }
    assert_int_equal(forgotten, WORKS - FERRY__REASONS_KEPT);
}

/* From its failure on, the n-th allocation fails, whichever it is. */
static void no_failure_is_lost_without_memory(void **state)
{
    (void)state;
    bool more = true;
    for (uint64_t n = 1; more; n++) {
        ferry_ticket reads[8];
        const ferry_ticket work = begin(0, SIZE);
        for (size_t i = 0; i < 8; i++)
            assert_int_equal(ferry_copy_to_host_async(buffer, bytes, 1, i, NULL, NULL, &reads[i]),
                             FERRY_OK);
        ferry__alloc_fail_at(n);
        assert_int_equal(ferry_external_end(device, work, FERRY_ERROR_IO), FERRY_OK);
        assert_int_equal(ferry_wait_idle(device), FERRY_OK);
        more = ferry__alloc_fail_at(0) >= n;
        for (size_t i = 0; i < 8; i++) {
            const enum ferry_status status = ferry_poll(device, reads[i]);
            assert_true(status == FERRY_ERROR_IO || status == FERRY_ERROR_OUT_OF_HOST_MEMORY);
            assert_true(ferry_last_error()[0]);
        }
        assert_int_equal(ferry_poll(device, work), FERRY_ERROR_IO);
        assert_int_equal(ferry_copy_from_host(buffer, bytes, SIZE, 0), FERRY_OK);
    }
}

/* A thread that waits for an op holds it while it fails. */
static void who_waits_is_told(void **state)
{
    (void)state;
    const ferry_ticket work = begin(0, SIZE);
    assert_int_equal(ferry_wait(device, work, 1000), FERRY_ERROR_TIMEOUT);
    assert_int_equal(ferry_copy_to_host_async(buffer, bytes, 1, 0, NULL, NULL, &tickets[0]),
                     FERRY_OK);
    assert_int_equal(ferry_external_end(device, work, FERRY_ERROR_EXECUTION_FAILED), FERRY_OK);
    assert_int_equal(ferry_wait(device, tickets[0], FERRY_FOREVER), FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(ferry_poll(device, tickets[0]), FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(ferry_poll(device, work), FERRY_ERROR_EXECUTION_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_are_kept_however_many, set_up, close_host_buffer),
        cmocka_unit_test_setup_teardown(reasons_are_kept_of_the_latest, set_up, close_host_buffer),
        cmocka_unit_test_setup_teardown(no_failure_is_lost_without_memory, set_up,
                                        close_host_buffer),
        cmocka_unit_test_setup_teardown(who_waits_is_told, set_up, close_host_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
