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

/* "A thread that is cancelled (pthread_cancel) inside Ferry ends after that call, which is done." */
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
    SUITE_TEST(test_buffer_wait_then_destroy),
    SUITE_TEST(test_trim_beside_external_work),
    SUITE_TEST(test_cancel),
};

SUITE_GROUP(waits);
