/* What waits, for what, and for how long. */
#include "promises.h"

#include "base/base.h"
#include <pthread.h>
#include <unistd.h>

enum { SIZE = 4096 };

/* "Waits until all operations on the buffer that were submitted before this call are done. OK, also
 * when they failed; TIMEOUT" */
static void test_buffer_wait(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_ticket ticket = 0;
    struct ferry_external held = hold(fixture->device, buffer, FERRY_ACCESS_WRITE);
    OK(ferry_fill_buffer_async(buffer, 10, 0, "a", 1, NULL, NULL, &ticket));
    IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(buffer, 0));
    IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(buffer, 1000000));
    expect_words("external work");
    release_failed(fixture->device, &held);
    OK(ferry_buffer_wait(buffer, FERRY_FOREVER));
    OK(ferry_poll(fixture->device, ticket));
    OK(ferry_buffer_wait(buffer, 0));
    ferry_buffer_destroy(buffer);
}

/* The same, of a buffer that is asked again and again: it takes no more memory, whatever is in flight,
 * and what comes in between is waited for, too. */
static void test_buffer_wait_polled(void **state)
{
    struct fixture *fixture = *state;
    enum { READS = 300, POLLS = 2000 };
    require_hold(fixture->device);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_buffer *other = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    struct ferry_external held = hold(fixture->device, buffer, FERRY_ACCESS_WRITE);
    for (unsigned i = 0; i < READS; i++)
        OK(ferry_copy_buffer_async(other, buffer, 1, i, i, NULL, NULL, NULL));
    IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(buffer, 0));
    (void)ferry__alloc_fail_at(0);
    for (unsigned i = 0; i < POLLS; i++)
        IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(buffer, 0));
    assert_int_equal(ferry__alloc_fail_at(0), 0);
    /* Polled beside new work: nothing for what is old. */
    ferry_ticket last = 0;
    for (unsigned i = 0; i < 100; i++) {
        OK(ferry_copy_buffer_async(other, buffer, 1, i, i, NULL, NULL, &last));
        IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(buffer, 0));
    }
    release(fixture->device, &held);
    OK(ferry_buffer_wait(buffer, FERRY_FOREVER));
    OK(ferry_poll(fixture->device, last));
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(other);
}

/* "Submits, and waits until all of it is done [...] The status is what ferry_wait would return. The
 * batch is empty then, also if an operation failed" */
static void test_batch_run(void **state)
{
    struct fixture *fixture = *state;
    unsigned char byte[4];
    require_hold(fixture->device);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(fixture->device, &batch));
    struct ferry_external held = hold(fixture->device, buffer, FERRY_ACCESS_WRITE);
    release_failed(fixture->device, &held);
    OK(ferry_batch_copy_to_host(batch, buffer, byte, sizeof byte, 0));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_batch_run(batch));
    OK(ferry_batch_run(batch));
    OK(ferry_batch_fill_buffer(batch, buffer, SIZE, 0, "a", 1));
    OK(ferry_batch_copy_to_host(batch, buffer, byte, sizeof byte, 0));
    OK(ferry_batch_run(batch));
    assert_memory_equal(byte, "aaaa", sizeof byte);
    ferry_batch_destroy(batch);
    ferry_buffer_destroy(buffer);
}

static ferry_ticket ticket_of(ferry_buffer *buffer, size_t offset, size_t size)
{
    ferry_ticket ticket = 99;
    OK(ferry_buffer_ticket(buffer, offset, size, &ticket));
    return ticket;
}

/* "One ticket for all that is in flight on [offset, offset + size) of a buffer (size 0: to its end),
 * whoever started it; 0 if nothing is. It is done when all of that is done [...] what is called later
 * does not count." */
static void test_buffer_ticket(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = fixture->device;
    require_hold(device);
    ferry_buffer *buffer = make_buffer(device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_ticket fill = 0;
    assert_int_equal(ticket_of(buffer, 0, 0), 0);
    assert_int_equal(ticket_of(buffer, SIZE, 0), 0);
    const struct ferry_use use = {.buffer = buffer, .access = FERRY_ACCESS_WRITE, .size = 64};
    struct ferry_external held, later;
    OK(ferry_external_begin(device, &use, 1, &held));
    OK(ferry_fill_buffer_async(buffer, 64, 32, "a", 1, NULL, NULL, &fill));
    assert_int_equal(ticket_of(buffer, 96, 0), 0);
    assert_int_equal(ticket_of(buffer, 96, 1000), 0);
    const ferry_ticket work = ticket_of(buffer, 0, 1), both = ticket_of(buffer, 0, 0);
    const ferry_ticket tail = ticket_of(buffer, 95, 1);
    assert_true(work && both && tail && work != both);
    IS(FERRY_PENDING, ferry_poll(device, work));
    const struct ferry_use again = {.buffer = buffer, .access = FERRY_ACCESS_READ, .offset = 2048};
    OK(ferry_external_begin(device, &again, 1, &later));
    release(device, &held);
    OK(ferry_wait(device, work, FERRY_FOREVER));
    OK(ferry_wait(device, both, FERRY_FOREVER));
    OK(ferry_wait(device, tail, FERRY_FOREVER));
    OK(ferry_poll(device, fill));
    assert_int_equal(ticket_of(buffer, 0, 2048), 0);
    assert_true(ticket_of(buffer, 0, 2049));
    release(device, &later);
    OK(ferry_buffer_wait(buffer, FERRY_FOREVER));
    assert_int_equal(ticket_of(buffer, 0, 0), 0);
    OK(ferry_wait(device, both, FERRY_FOREVER));
    ferry_buffer_destroy(buffer);
}

/* "its status is that of the first of them, by ticket, that fails" also where a later operation has
 * written the same bytes well; an older or a later failure is not its own. */
static void test_buffer_ticket_fails(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = fixture->device;
    require_hold(device);
    ferry_buffer *buffer = make_buffer(device, SIZE, FERRY_STORAGE_PRIVATE);
    unsigned char got[SIZE];
    struct ferry_external first = hold(device, buffer, FERRY_ACCESS_WRITE);
    const ferry_ticket before = ticket_of(buffer, 0, 0);
    OK(ferry_copy_to_host_async(buffer, got, 10, 0, NULL, NULL, NULL));
    const ferry_ticket beside = ticket_of(buffer, 100, 10);
    OK(ferry_fill_buffer_async(buffer, SIZE, 0, "a", 1, NULL, NULL, NULL));
    const ferry_ticket all = ticket_of(buffer, 0, 0);
    release_failed(device, &first);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(device, all, FERRY_FOREVER));
    expect_words("external work");
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(device, before, FERRY_FOREVER));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(device, beside, FERRY_FOREVER));
    OK(ferry_buffer_wait(buffer, FERRY_FOREVER));
    /* What has failed before is no failure of what is in flight. */
    struct ferry_external third = hold(device, buffer, FERRY_ACCESS_READ);
    const ferry_ticket well = ticket_of(buffer, 0, 0);
    release(device, &third);
    OK(ferry_wait(device, well, FERRY_FOREVER));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_poll(device, all));
    ferry_buffer_destroy(buffer);
}

/* "Asking again while nothing changed gives the same ticket, and allocates nothing." */
static void test_buffer_ticket_again(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = fixture->device;
    enum { RANGES = 50 };
    require_hold(device);
    ferry_buffer *buffer = make_buffer(device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_ticket tickets[RANGES];
    struct ferry_external held = hold(device, buffer, FERRY_ACCESS_WRITE);
    for (size_t i = 0; i < RANGES; i++)
        tickets[i] = ticket_of(buffer, i % 2, 1 + i / 2);
    (void)ferry__alloc_fail_at(0);
    for (size_t i = 0; i < 10 * RANGES; i++)
        assert_true(ticket_of(buffer, i % RANGES % 2, 1 + i % RANGES / 2) == tickets[i % RANGES]);
    assert_int_equal(ferry__alloc_fail_at(0), 0);
    /* Something new on other bytes changes nothing; on these it does, and older ones hold. */
    OK(ferry_fill_buffer_async(buffer, 10, 1000, "a", 1, NULL, NULL, NULL));
    assert_true(ticket_of(buffer, 0, 1) == tickets[0]);
    OK(ferry_fill_buffer_async(buffer, 1, 0, "a", 1, NULL, NULL, NULL));
    const ferry_ticket newer = ticket_of(buffer, 0, 1);
    assert_true(newer > tickets[0]);
    release(device, &held);
    OK(ferry_wait_all(device, tickets, RANGES, FERRY_FOREVER));
    OK(ferry_wait(device, newer, FERRY_FOREVER));
    ferry_buffer_destroy(buffer);
}

/* "Past the end: OUT_OF_RANGE", with the numbers, and nothing is written. */
static void test_buffer_ticket_refuses(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_ticket ticket = 99;
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_buffer_ticket(buffer, SIZE, 1, &ticket));
    expect_words("size 1 at offset 4096");
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_buffer_ticket(buffer, 1, SIZE_MAX, &ticket));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_buffer_ticket(buffer, SIZE_MAX, 0, &ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_buffer_ticket(NULL, 0, 0, &ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_buffer_ticket(buffer, 0, 0, NULL));
    assert_int_equal(ticket, 99);
    ferry_buffer_destroy(buffer);
}

/* "ferry_buffer_destroy: Safe while operations on it are in flight" also after a wait that ran out. */
static void test_buffer_wait_then_destroy(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    struct ferry_external held = hold(fixture->device, buffer, FERRY_ACCESS_WRITE);
    OK(ferry_zero_buffer_async(buffer, NULL, NULL, NULL));
    IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(buffer, 0));
    ferry_buffer_destroy(buffer);
    release(fixture->device, &held);
    OK(ferry_wait_idle(fixture->device));
}

/* "Waits for the operations in flight, so that memory of buffers destroyed while in use is free, but
 * for none that depends on external work": so that whoever holds some may call it. */
static void test_trim_beside_external_work(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_buffer *other = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_ticket behind = 0, beside = 0;
    struct ferry_memory_info before, after;
    struct ferry_external held = hold(fixture->device, buffer, FERRY_ACCESS_WRITE);
    OK(ferry_zero_buffer_async(buffer, NULL, NULL, NULL));
    OK(ferry_copy_buffer_async(other, buffer, 10, 0, 0, NULL, NULL, &behind));
    OK(ferry_device_trim(fixture->device));
    ferry_buffer *gone = make_buffer(fixture->device, 1 << 20, FERRY_STORAGE_PRIVATE);
    OK(ferry_fill_buffer_async(gone, 1 << 20, 0, "g", 1, NULL, NULL, &beside));
    ferry_buffer_destroy(gone);
    OK(ferry_device_get_memory(fixture->device, &before));
    OK(ferry_device_trim(fixture->device));
    OK(ferry_poll(fixture->device, beside));
    IS(FERRY_PENDING, ferry_poll(fixture->device, behind));
    OK(ferry_device_get_memory(fixture->device, &after));
    assert_int_equal(after.pooled, 0);
    release(fixture->device, &held);
    OK(ferry_wait(fixture->device, behind, FERRY_FOREVER));
    OK(ferry_device_trim(fixture->device));
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(other);
}

/* --- cancellation ------------------------------------------------------------------------------- */

struct victim {
    ferry_device *device;
    ferry_buffer *buffer;
    ferry_ticket ticket;
    int way;
    _Atomic bool begun;
};

static void *wait_in_vain(void *arg)
{
    struct victim *victim = arg;
    victim->begun = true;
    switch (victim->way) {
    case 0: (void)!ferry_wait(victim->device, victim->ticket, FERRY_FOREVER); break;
    case 1: (void)!ferry_wait_idle(victim->device); break;
    case 2: (void)!ferry_buffer_wait(victim->buffer, FERRY_FOREVER); break;
    default: (void)!ferry_zero_buffer(victim->buffer); break;
    }
    pthread_testcancel();
    return NULL;
}

/* "A thread that is cancelled (pthread_cancel) inside a call of Ferry's ends once that call is done." */
static void test_cancel(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    for (int way = 0; way < 4; way++) {
        struct victim victim = {.device = fixture->device, .way = way};
        pthread_t thread;
        void *result = NULL;
        victim.buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
        struct ferry_external held = hold(fixture->device, victim.buffer, FERRY_ACCESS_WRITE);
        OK(ferry_zero_buffer_async(victim.buffer, NULL, NULL, &victim.ticket));
        assert_int_equal(pthread_create(&thread, NULL, wait_in_vain, &victim), 0);
        while (!victim.begun)
            usleep(1000);
        usleep(20000); /* most likely it sleeps by now */
        assert_int_equal(pthread_cancel(thread), 0);
        usleep(20000);
        release(fixture->device, &held);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_true(result == PTHREAD_CANCELED);
        OK(ferry_wait_idle(fixture->device)); /* no lock is held */
        ferry_buffer_destroy(victim.buffer);
    }
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_buffer_wait),
    SUITE_TEST(test_buffer_wait_polled),
    SUITE_TEST(test_batch_run),
    SUITE_TEST(test_buffer_ticket),
    SUITE_TEST(test_buffer_ticket_fails),
    SUITE_TEST(test_buffer_ticket_again),
    SUITE_TEST(test_buffer_ticket_refuses),
    SUITE_TEST(test_buffer_wait_then_destroy),
    SUITE_TEST(test_trim_beside_external_work),
    SUITE_TEST(test_cancel),
};

SUITE_GROUP(waits);
