/* Callbacks: exactly once, in order, on another thread, and what may be called in one. */
#include "suite.h"

#include <unistd.h>

static void test_once_each(void **state)
{
    struct fixture *fixture = *state;
    enum { MANY = 500 };
    struct mirror mirror = make_mirror(fixture->device, 1000, FERRY_STORAGE_PRIVATE, 1);
    struct note *notes = xmalloc(MANY * sizeof *notes);
    for (unsigned i = 0; i < MANY; i++) {
        note_init(&notes[i]);
        OK(ferry_fill_buffer_async(mirror.buffer, 1 + i, 0, "c", 1, note_callback, &notes[i],
                                   NULL));
    }
    OK(ferry_wait_idle(fixture->device));
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(notes[i].calls, 1);
        assert_int_equal(notes[i].status, FERRY_OK);
        assert_false(notes[i].same_thread);
        assert_int_equal(notes[i].place, i + 1); /* each depends on the one before */
    }
    free(notes);
    drop_mirror(&mirror);
}

static void test_refused_has_none(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 2);
    struct note note;
    note_init(&note);
    ferry_ticket ticket = 12345;
    IS(FERRY_ERROR_OUT_OF_RANGE,
       ferry_fill_buffer_async(mirror.buffer, 101, 0, "c", 1, note_callback, &note, &ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_copy_from_host_async(mirror.buffer, NULL, 1, 0, note_callback, &note, &ticket));
    OK(ferry_wait_idle(fixture->device));
    assert_int_equal(note.calls, 0);
    assert_true(ticket == 12345);
    drop_mirror(&mirror);
}

/* One at a time: a callback sees no other running. */
struct alone {
    _Atomic int running;
    _Atomic unsigned calls, together;
};

static void alone_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct alone *alone = user;
    (void)status;
    (void)ticket;
    if (++alone->running > 1)
        alone->together++;
    for (volatile int i = 0; i < 2000; i++)
        ;
    alone->running--;
    alone->calls++;
}

static void test_one_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    struct alone alone = {0};
    struct mirror mirrors[4];
    for (unsigned i = 0; i < 4; i++)
        mirrors[i] = make_mirror(fixture->device, 1000, suite_storages[i % 2], i);
    for (unsigned i = 0; i < 400; i++)
        OK(ferry_zero_buffer_async(mirrors[i % 4].buffer, alone_callback, &alone, NULL));
    OK(ferry_wait_idle(fixture->device));
    assert_int_equal(alone.calls, 400);
    assert_int_equal(alone.together, 0);
    for (unsigned i = 0; i < 4; i++)
        drop_mirror(&mirrors[i]);
}

/* Every function that waits, asked in a callback. */
enum { WAITING = 12 };

struct waiting {
    ferry_device *device, *other;
    ferry_buffer *buffer, *shared;
    void *memory;
    ferry_ticket ticket;
    unsigned char bytes[16];
    enum ferry_status seen[WAITING], later, polled;
    _Atomic unsigned calls;
};

static void waiting_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct waiting *w = user;
    void *contents = NULL;
    struct ferry_external external;
    (void)status;
    w->seen[0] = ferry_copy_from_host(w->buffer, w->bytes, 16, 0);
    w->seen[1] = ferry_copy_to_host(w->buffer, w->bytes, 16, 0);
    w->seen[2] = ferry_copy_buffer(w->buffer, w->shared, 16, 0, 0);
    w->seen[3] = ferry_zero_buffer(w->buffer);
    w->seen[4] = ferry_fill_buffer(w->buffer, 16, 0, "f", 1);
    w->seen[5] = ferry_wait(w->device, ticket, FERRY_FOREVER);
    w->seen[6] = ferry_wait_idle(w->device);
    w->seen[7] = ferry_buffer_contents(w->shared, &contents);
    w->seen[8] = ferry_buffer_wait(w->buffer, FERRY_FOREVER);
    w->seen[9] = ferry_host_unregister(w->device, w->memory);
    w->seen[10] = ferry_device_trim(w->device);
    w->seen[11] = ferry_external_begin(
        w->device, &(struct ferry_use){.buffer = w->buffer, .access = FERRY_ACCESS_READ}, 1,
        &external);
    w->later = ferry_wait_idle(w->other);
    w->polled = ferry_wait(w->device, ticket, 0);
    w->calls++;
}

static void test_waiting_is_refused(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *second = open_second();
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 3);
    struct mirror shared = make_mirror(fixture->device, 100, FERRY_STORAGE_SHARED, 4);
    unsigned char memory[5000];
    OK(ferry_host_register(fixture->device, memory, sizeof memory, 0));
    struct waiting w = {.device = fixture->device,
                        .other = second,
                        .buffer = mirror.buffer,
                        .shared = shared.buffer,
                        .memory = memory};
    OK(ferry_fill_buffer_async(mirror.buffer, 10, 3, "z", 1, waiting_callback, &w, NULL));
    model_fill(mirror.bytes, 10, 3, "z", 1);
    OK(ferry_wait_idle(fixture->device));
    assert_int_equal(w.calls, 1);
    for (unsigned i = 0; i < WAITING; i++)
        if (w.seen[i] != FERRY_ERROR_IN_CALLBACK)
            fail_msg("call %u in a callback: %s", i, ferry_status_name(w.seen[i]));
    assert_int_equal(w.later, FERRY_ERROR_IN_CALLBACK);
    assert_int_equal(w.polled, FERRY_OK);
    expect_mirror(&mirror);
    OK(ferry_host_unregister(fixture->device, memory));
    drop_mirror(&mirror);
    drop_mirror(&shared);
    ferry_device_close(second);
}

/* What does not wait may be called: here each callback submits the next operation. */
struct relay {
    ferry_device *device;
    ferry_buffer *buffer;
    unsigned left;
    _Atomic int worst;
    _Atomic unsigned calls;
};

static void relay_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct relay *relay = user;
    (void)ticket;
    if (status != FERRY_OK)
        relay->worst = (int)status;
    relay->calls++;
    if (relay->left == 0)
        return;
    unsigned offset = relay->left--;
    status = ferry_fill_buffer_async(relay->buffer, 3, offset * 3, &offset, 1, relay_callback,
                                     relay, NULL);
    if (status != FERRY_OK)
        relay->worst = (int)status;
}

static void test_submitting_in_one(void **state)
{
    struct fixture *fixture = *state;
    enum { RELAYS = 60 };
    struct mirror mirror = make_mirror(fixture->device, 3 * RELAYS + 3, FERRY_STORAGE_PRIVATE, 5);
    struct relay relay = {.device = fixture->device, .buffer = mirror.buffer, .left = RELAYS};
    OK(ferry_fill_buffer_async(mirror.buffer, 3, 0, "\0", 1, relay_callback, &relay, NULL));
    for (unsigned i = 0; i <= RELAYS; i++)
        model_fill(mirror.bytes, 3, i * 3, &i, 1);
    while (relay.calls <= RELAYS)
        OK(ferry_wait_idle(fixture->device));
    assert_int_equal(relay.worst, FERRY_OK);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Create, destroy, batch, statistics, poll: all allowed in a callback. */
struct busy {
    ferry_device *device;
    enum ferry_status worst;
    ferry_ticket ticket;
    _Atomic unsigned calls;
};

static void keep_worst(enum ferry_status *worst, enum ferry_status status)
{
    if (status != FERRY_OK && *worst == FERRY_OK)
        *worst = status;
}

static void busy_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct busy *busy = user;
    ferry_buffer *buffer = NULL;
    ferry_batch *batch = NULL;
    void *memory = NULL;
    struct ferry_stats stats;
    struct ferry_memory_info info;
    keep_worst(&busy->worst, status);
    keep_worst(&busy->worst, ferry_poll(busy->device, ticket));
    keep_worst(
        &busy->worst,
        ferry_buffer_create(busy->device, &(struct ferry_buffer_params){.size = 300}, &buffer));
    keep_worst(&busy->worst, ferry_batch_create(busy->device, &batch));
    keep_worst(&busy->worst, ferry_batch_zero_buffer(batch, buffer));
    keep_worst(&busy->worst, ferry_batch_submit(batch, NULL, NULL, &busy->ticket));
    keep_worst(&busy->worst, ferry_host_alloc(busy->device, 100, &memory));
    keep_worst(&busy->worst, ferry_device_get_memory(busy->device, &info));
    ferry_device_get_stats(busy->device, &stats, sizeof stats);
    ferry_device_reset_stats(busy->device);
    ferry_host_free(busy->device, memory);
    ferry_batch_destroy(batch);
    ferry_buffer_destroy(buffer);
    busy->calls++;
}

static void test_allowed_in_one(void **state)
{
    struct fixture *fixture = *state;
    struct busy busy = {.device = fixture->device};
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 6);
    OK(ferry_zero_buffer_async(mirror.buffer, busy_callback, &busy, NULL));
    OK(ferry_wait_idle(fixture->device));
    OK(ferry_wait(fixture->device, busy.ticket, FERRY_FOREVER));
    assert_int_equal(busy.calls, 1);
    OK(busy.worst);
    drop_mirror(&mirror);
}

struct closing {
    ferry_device *device;
    ferry_buffer *buffer;
    _Atomic bool go; /* the calls on the device have returned: it may be closed */
    _Atomic int status;
    _Atomic unsigned calls;
};

static void closing_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct closing *closing = user;
    (void)status;
    (void)ticket;
    while (!closing->go)
        usleep(100);
    ferry_device_close(closing->device);
}

static void last_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct closing *closing = user;
    (void)ticket;
    ferry_buffer_destroy(closing->buffer);
    closing->status = (int)status;
    closing->calls++;
}

/* Close in a callback is done after it, and after all that was submitted and its callbacks. */
static void test_close_in_one(void **state)
{
    (void)state;
    ferry_device *device = open_with(NULL, &suite->params);
    struct closing closing = {.device = device, .status = -1};
    closing.buffer = make_buffer(device, 100, FERRY_STORAGE_PRIVATE);
    OK(ferry_zero_buffer_async(closing.buffer, closing_callback, &closing, NULL));
    OK(ferry_zero_buffer_async(closing.buffer, last_callback, &closing, NULL));
    closing.go = true;
    while (closing.calls == 0)
        usleep(100);
    assert_int_equal(closing.status, FERRY_OK);
}

/* In the callback of a failed operation the last error is its reason. */
static void test_reason_in_one(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 7);
    unsigned char got[100];
    struct note note;
    note_init(&note);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_to_host_async(mirror.buffer, got, 100, 0, note_callback, &note, NULL));
    release_failed(fixture->device, &held);
    OK(ferry_wait_idle(fixture->device));
    assert_int_equal(note.calls, 1);
    assert_int_equal(note.status, FERRY_ERROR_EXECUTION_FAILED);
    assert_true(note.error[0] != '\0');
    drop_mirror(&mirror);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_once_each),         SUITE_TEST(test_refused_has_none),
    SUITE_TEST(test_one_at_a_time),     SUITE_TEST(test_waiting_is_refused),
    SUITE_TEST(test_submitting_in_one), SUITE_TEST(test_allowed_in_one),
    SUITE_TEST(test_close_in_one),      SUITE_TEST(test_reason_in_one),
};

SUITE_GROUP(callbacks);
