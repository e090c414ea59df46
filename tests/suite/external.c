/* External work: the user's own work takes its place in Ferry's order. */
#include "suite.h"

#include <pthread.h>
#include <sched.h>

/* What the user's queue does before its work: waits for the events, or, without, for ready. */
static void wait_for(ferry_device *device, const struct ferry_external *work, bool by_events)
{
    if (work->signal.event == 0 || !by_events) {
        OK(ferry_wait(device, work->ready, FERRY_FOREVER));
        return;
    }
    for (size_t i = 0; i < work->wait_count; i++)
        assert_true(suite->event_wait(work->waits[i].event, work->waits[i].value));
}

static void test_order(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 5000, FERRY_STORAGE_SHARED, 1);
    unsigned char *contents = NULL;
    OK(ferry_buffer_contents(mirror.buffer, (void **)&contents));
    for (unsigned i = 0; i < 20; i++) {
        struct ferry_external work = {0};
        OK(ferry_fill_buffer_async(mirror.buffer, 100, i, "a", 1, NULL, NULL, NULL));
        model_fill(mirror.bytes, 100, i, "a", 1);
        OK(ferry_external_begin(
            fixture->device,
            &(struct ferry_use){.buffer = mirror.buffer,
                                .access = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE},
            1, &work));
        OK(ferry_fill_buffer_async(mirror.buffer, 10, 3000 + i, "z", 1, NULL, NULL, NULL));
        wait_for(fixture->device, &work, i % 2);
        /* The work: here the CPU, which reads what came before and writes. */
        expect_bytes(contents, mirror.bytes, 2000, "what the external work sees");
        memset(contents + 2000, (int)i, 1500);
        memset(mirror.bytes + 2000, (int)i, 1500);
        release(fixture->device, &work);
        model_fill(mirror.bytes, 10, 3000 + i, "z", 1);
        OK(ferry_wait(fixture->device, work.ticket, FERRY_FOREVER));
        expect_mirror(&mirror);
    }
    drop_mirror(&mirror);
}

static void test_tickets(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 2);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_poll(fixture->device, held.ready));
    IS(FERRY_PENDING, ferry_poll(fixture->device, held.ticket));
    release(fixture->device, &held);
    OK(ferry_wait(fixture->device, held.ticket, FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_end(fixture->device, held.ticket, FERRY_OK));
    drop_mirror(&mirror);
}

/* Work that failed, or is never submitted: what it would have written cannot be read. */
static void test_failed(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 3);
    struct mirror other = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 4);
    unsigned char got[100];
    ferry_ticket reader = 0, copier = 0, writer = 0;
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_to_host_async(mirror.buffer, got, 100, 0, NULL, NULL, &reader));
    OK(ferry_copy_buffer_async(other.buffer, mirror.buffer, 50, 10, 0, NULL, NULL, &copier));
    OK(ferry_copy_from_host_async(mirror.buffer, mirror.bytes, 100, 0, NULL, NULL, &writer));
    release_failed(fixture->device, &held);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(fixture->device, held.ticket, FERRY_FOREVER));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(fixture->device, reader, FERRY_FOREVER));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(fixture->device, copier, FERRY_FOREVER));
    OK(ferry_wait(fixture->device, writer, FERRY_FOREVER));
    expect_mirror(&mirror);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(other.buffer, got, 1, 10));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(other.buffer, got, 100, 0));
    OK(ferry_copy_to_host(other.buffer, got, 10, 0));
    OK(ferry_copy_to_host(other.buffer, got, 40, 60));
    OK(ferry_copy_from_host(other.buffer, other.bytes + 10, 50, 10));
    expect_mirror(&other);
    drop_mirror(&mirror);
    drop_mirror(&other);
}

/* Reading work that failed leaves the buffer good. */
static void test_failed_reader(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 5);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_READ);
    release_failed(fixture->device, &held);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(fixture->device, held.ticket, FERRY_FOREVER));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* The ready ticket tells that what the work would read has failed. */
static void test_ready_fails(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 6);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    release_failed(fixture->device, &held);
    struct ferry_external work = {0};
    OK(ferry_external_begin(
        fixture->device, &(struct ferry_use){.buffer = mirror.buffer, .access = FERRY_ACCESS_READ},
        1, &work));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(fixture->device, work.ready, FERRY_FOREVER));
    OK(ferry_external_end(fixture->device, work.ticket, FERRY_ERROR_EXECUTION_FAILED));
    drop_mirror(&mirror);
}

static void test_several_buffers(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    enum { MANY = 10 };
    struct mirror mirrors[MANY];
    struct ferry_use uses[MANY];
    ferry_ticket tickets[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        mirrors[i] = make_mirror(fixture->device, 100 + i, FERRY_STORAGE_PRIVATE, 7 + i);
        uses[i] = (struct ferry_use){.buffer = mirrors[i].buffer,
                                     .access = i % 2 ? FERRY_ACCESS_READ : FERRY_ACCESS_WRITE};
    }
    struct ferry_external work = {0};
    OK(ferry_external_begin(fixture->device, uses, MANY, &work));
    for (unsigned i = 0; i < MANY; i++) {
        OK(ferry_fill_buffer_async(mirrors[i].buffer, 50, i, "m", 1, NULL, NULL, &tickets[i]));
        model_fill(mirrors[i].bytes, 50, i, "m", 1);
        IS(FERRY_PENDING, ferry_poll(fixture->device, tickets[i]));
    }
    release(fixture->device, &work);
    for (unsigned i = 0; i < MANY; i++) {
        OK(ferry_wait(fixture->device, tickets[i], FERRY_FOREVER));
        expect_mirror(&mirrors[i]);
        drop_mirror(&mirrors[i]);
    }
}

static void test_destroyed_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 5000, FERRY_STORAGE_SHARED, 8);
    unsigned char *contents = NULL;
    OK(ferry_buffer_contents(mirror.buffer, (void **)&contents));
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    drop_mirror(&mirror);
    struct mirror newer = make_mirror(fixture->device, 5000, FERRY_STORAGE_SHARED, 9);
    memset(contents, 0xDD, 5000); /* the work goes on in the buffer's memory */
    expect_mirror(&newer);
    release(fixture->device, &held);
    OK(ferry_wait(fixture->device, held.ticket, FERRY_FOREVER));
    expect_mirror(&newer);
    drop_mirror(&newer);
}

/* A wait that ends on the external work says so. */
static void test_timeout_names_it(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 10);
    ferry_ticket ticket = 0;
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_zero_buffer_async(mirror.buffer, NULL, NULL, &ticket));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, ticket, 1000000));
    expect_words("external");
    IS(FERRY_ERROR_TIMEOUT, ferry_buffer_wait(mirror.buffer, 1000000));
    expect_words("external");
    release(fixture->device, &held);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    drop_mirror(&mirror);
}

/* With events: ended means submitted, and done only when the signal comes. */
static void test_done_by_signal(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 5000, FERRY_STORAGE_PRIVATE, 14);
    struct mirror other = make_mirror(fixture->device, 5000, FERRY_STORAGE_PRIVATE, 15);
    ferry_ticket ticket = 0;
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    if (held.signal.event == 0) {
        release(fixture->device, &held);
        drop_mirror(&mirror);
        drop_mirror(&other);
        suite_skip("this driver has no events");
    }
    OK(ferry_external_end(fixture->device, held.ticket, FERRY_OK));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_end(fixture->device, held.ticket, FERRY_OK));
    OK(ferry_fill_buffer_async(mirror.buffer, 100, 7, "s", 1, NULL, NULL, &ticket));
    model_fill(mirror.bytes, 100, 7, "s", 1);
    OK(ferry_copy_buffer_async(other.buffer, mirror.buffer, 500, 0, 0, NULL, NULL, NULL));
    memcpy(other.bytes, mirror.bytes, 500);
    IS(FERRY_PENDING, ferry_poll(fixture->device, held.ticket));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, ticket, 2000000));
    suite->event_signal(held.signal.event, held.signal.value);
    OK(ferry_wait(fixture->device, held.ticket, FERRY_FOREVER));
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    expect_mirror(&mirror);
    expect_mirror(&other);
    drop_mirror(&mirror);
    drop_mirror(&other);
}

static void test_bad_input(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *second = open_second();
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 11);
    struct mirror foreign = make_mirror(second, 100, FERRY_STORAGE_PRIVATE, 12);
    struct ferry_external out = {.ticket = 77};
    struct ferry_use use = {.buffer = mirror.buffer, .access = FERRY_ACCESS_READ};
    ferry_device *device = fixture->device;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_begin(NULL, &use, 1, &out));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_begin(device, NULL, 1, &out));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_begin(device, &use, 1, NULL));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_external_begin(device, &(struct ferry_use){.buffer = mirror.buffer, .access = 0}, 1,
                            &out));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_external_begin(device, &(struct ferry_use){.buffer = mirror.buffer, .access = 8}, 1,
                            &out));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_external_begin(
           device, &(struct ferry_use){.buffer = NULL, .access = FERRY_ACCESS_READ}, 1, &out));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_external_begin(
           device, &(struct ferry_use){.buffer = foreign.buffer, .access = FERRY_ACCESS_READ}, 1,
           &out));
    assert_true(out.ticket == 77);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_end(device, 0, FERRY_OK));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_end(NULL, 1, FERRY_OK));
    ferry_ticket ticket = 0;
    OK(ferry_zero_buffer_async(mirror.buffer, NULL, NULL, &ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_end(device, ticket, FERRY_OK));
    memset(mirror.bytes, 0, mirror.size);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
    drop_mirror(&foreign);
    ferry_device_close(second);
}

/* Begin waits for nothing but the hand-over of what it depends on; another thread may end that. */
struct ender {
    ferry_device *device;
    struct ferry_external held;
    enum ferry_status status;
};

static void *end_from_thread(void *arg)
{
    struct ender *ender = arg;
    ender->status = ferry_external_end(ender->device, ender->held.ticket, FERRY_OK);
    if (ender->held.signal.event != 0)
        suite->event_signal(ender->held.signal.event, ender->held.signal.value);
    return NULL;
}

static void test_ended_by_another_thread(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 13);
    struct ender ender = {.device = fixture->device};
    ender.held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_fill_buffer_async(mirror.buffer, 5, 0, "t", 1, NULL, NULL, NULL));
    model_fill(mirror.bytes, 5, 0, "t", 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, end_from_thread, &ender), 0);
    struct ferry_external next = {0};
    OK(ferry_external_begin(
        fixture->device, &(struct ferry_use){.buffer = mirror.buffer, .access = FERRY_ACCESS_READ},
        1, &next));
    OK(ferry_wait(fixture->device, next.ready, FERRY_FOREVER));
    release(fixture->device, &next);
    pthread_join(thread, NULL);
    OK(ender.status);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* More works than the engine waits for at once: the last of them to end is seen all the same, while
 * none of the others ends and nobody waits. */
static void test_many(void **state)
{
    struct fixture *fixture = *state;
    enum { MANY = 20 };
    ferry_buffer *buffers[MANY];
    struct ferry_external works[MANY] = {0};
    suite_skip_unless(suite->event_signal != NULL, "there are no events to signal");
    for (unsigned i = 0; i < MANY; i++) {
        buffers[i] = make_buffer(fixture->device, 64, FERRY_STORAGE_PRIVATE);
        OK(ferry_external_begin(
            fixture->device,
            &(struct ferry_use){.buffer = buffers[i], .access = FERRY_ACCESS_WRITE}, 1, &works[i]));
    }
    for (unsigned i = 0; i < MANY; i++)
        OK(ferry_external_end(fixture->device, works[i].ticket, FERRY_OK));
    for (unsigned i = MANY; i-- > 0;) {
        enum ferry_status status;
        suite->event_signal(works[i].signal.event, works[i].signal.value);
        do
            status = ferry_poll(fixture->device, works[i].ticket);
        while (status == FERRY_PENDING && sched_yield() == 0);
        OK(status);
    }
    for (unsigned i = 0; i < MANY; i++)
        ferry_buffer_destroy(buffers[i]);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_order),
    SUITE_TEST(test_tickets),
    SUITE_TEST(test_failed),
    SUITE_TEST(test_failed_reader),
    SUITE_TEST(test_ready_fails),
    SUITE_TEST(test_several_buffers),
    SUITE_TEST(test_destroyed_meanwhile),
    SUITE_TEST(test_timeout_names_it),
    SUITE_TEST(test_done_by_signal),
    SUITE_TEST(test_bad_input),
    SUITE_TEST(test_ended_by_another_thread),
    SUITE_TEST(test_many),
};

SUITE_GROUP(external);
