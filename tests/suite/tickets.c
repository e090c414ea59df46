/* Tickets: numbers to wait for and to ask about, however often and however late. */
#include "suite.h"

static void test_zero_is_done(void **state)
{
    struct fixture *fixture = *state;
    OK(ferry_wait(fixture->device, 0, FERRY_FOREVER));
    OK(ferry_wait(fixture->device, 0, 0));
    OK(ferry_poll(fixture->device, 0));
}

static void test_never_issued(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 1);
    ferry_ticket ticket = 0;
    OK(ferry_zero_buffer_async(mirror.buffer, NULL, NULL, &ticket));
    const ferry_ticket never[] = {UINT64_MAX, UINT64_MAX / 2, ticket + 1000000};
    for (size_t i = 0; i < 3; i++) {
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(fixture->device, never[i], FERRY_FOREVER));
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_poll(fixture->device, never[i]));
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_end(fixture->device, never[i], FERRY_OK));
    }
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    drop_mirror(&mirror);
}

static void test_other_device(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *second = open_second();
    struct mirror mirror = make_mirror(second, 100, FERRY_STORAGE_PRIVATE, 2);
    ferry_ticket ticket = 0;
    OK(ferry_zero_buffer_async(mirror.buffer, NULL, NULL, &ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_poll(fixture->device, ticket));
    OK(ferry_wait(second, ticket, FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_poll(fixture->device, ticket));
    drop_mirror(&mirror);
    ferry_device_close(second);
}

static void test_asked_again(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 5000, FERRY_STORAGE_PRIVATE, 3);
    ferry_ticket tickets[300];
    for (unsigned i = 0; i < 300; i++)
        OK(ferry_fill_buffer_async(mirror.buffer, 5000, 0, &i, 1, NULL, NULL, &tickets[i]));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 300; i++) {
            OK(ferry_wait(fixture->device, tickets[299 - i], FERRY_FOREVER));
            OK(ferry_wait(fixture->device, tickets[i], 0));
            OK(ferry_poll(fixture->device, tickets[i]));
        }
    }
    drop_mirror(&mirror);
}

/* A failed ticket says so for ever, after much other work. */
static void test_failed_asked_late(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 4);
    struct mirror other = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 5);
    unsigned char got[20][100];
    ferry_ticket failed[20];
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    for (unsigned i = 0; i < 20; i++)
        OK(ferry_copy_to_host_async(mirror.buffer, got[i], 100, 0, NULL, NULL, &failed[i]));
    release_failed(fixture->device, &held);
    for (unsigned i = 0; i < 2000; i++)
        OK(ferry_fill_buffer_async(other.buffer, 100, 0, "f", 1, NULL, NULL, NULL));
    OK(ferry_wait_idle(fixture->device));
    for (unsigned round = 0; round < 3; round++) {
        IS(FERRY_ERROR_EXECUTION_FAILED, ferry_poll(fixture->device, held.ticket));
        for (unsigned i = 0; i < 20; i++) {
            IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(fixture->device, failed[i], FERRY_FOREVER));
            IS(FERRY_ERROR_EXECUTION_FAILED, ferry_poll(fixture->device, failed[i]));
        }
    }
    drop_mirror(&mirror);
    drop_mirror(&other);
}

static void test_timeouts(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 6);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    IS(FERRY_PENDING, ferry_poll(fixture->device, held.ticket));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, held.ticket, 0));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, held.ticket, 1));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, held.ticket, 3000000));
    release(fixture->device, &held);
    OK(ferry_wait(fixture->device, held.ticket, FERRY_FOREVER));
    OK(ferry_wait(fixture->device, held.ticket, 0));
    drop_mirror(&mirror);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_zero_is_done),      SUITE_TEST(test_never_issued),
    SUITE_TEST(test_other_device),      SUITE_TEST(test_asked_again),
    SUITE_TEST(test_failed_asked_late), SUITE_TEST(test_timeouts),
};

SUITE_GROUP(tickets);
