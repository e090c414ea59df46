/* Streams that fail, are cancelled, or lose their device. */
#include "tap.h"

#include <sched.h>

static enum ferry_status read_at(struct mirror *mirror, size_t size, size_t offset)
{
    unsigned char *got = xmalloc(size);
    enum ferry_status status = ferry_copy_to_host(mirror->buffer, got, size, offset);
    if (status == FERRY_OK)
        expect_bytes(got, mirror->bytes + offset, size, "the buffer");
    free(got);
    return status;
}

/* The bytes of a source that failed have failed, those round them are as they were (R9). */
static void expect_failed(struct mirror *mirror, size_t size, size_t offset)
{
    IS(FERRY_ERROR_IO, read_at(mirror, size, offset));
    OK(read_at(mirror, offset & ~(size_t)255, 0));
    OK(read_at(mirror, mirror->size - offset - size - 256, offset + size + 256));
    OK(ferry_copy_from_host(mirror->buffer, mirror->bytes, mirror->size, 0));
    expect_mirror(mirror);
}

static void test_failing(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 8; i++) {
        const bool back = i % 2;
        struct tap *tap = make_tap(!back, 30000, 11 + i);
        static struct note note;
        const struct ferry_stream_methods methods = tap_methods(tap);
        ferry_ticket ticket = 0;
        tap->chunk_max = 3000;
        tap->failing = 1 + i;
        tap->alone = i >= 4;
        tap->random_order = true;
        note_init(&note);
        run_tap(tap);
        OK((back ? ferry_stream_send : ferry_stream_receive)(
            mirror.buffer, tap->size, 1000, &methods, tap, note_callback, &note, &ticket));
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_words("the tap is broken");
        tap_wait_ended(tap);
        OK(ferry_wait_idle(fixture->device));
        assert_true(note.calls == 1 && note.status == FERRY_ERROR_IO);
        assert_non_null(strstr(note.error, "the tap is broken"));
        assert_true(tap->cancelled <= 1);
        drop_tap(tap, FERRY_ERROR_IO, 1);
        if (!back)
            expect_failed(&mirror, 30000, 1000);
        expect_mirror(&mirror);
    }
    drop_mirror(&mirror);
}

/* It says itself that no more will come, holding chunks or not. */
static void test_fails_itself(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 4; i++) {
        struct tap *tap = make_tap(i % 2 == 0, 30000, 21 + i);
        tap->quiet = true;
        const ferry_ticket ticket = tap_start(tap, mirror.buffer, 1000);
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes + 60000, 10, 60000));
        tap_wait_begun(tap);
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_want(tap->stream, 0));
        if (i >= 2) {
            OK(ferry_stream_want(tap->stream, 5000));
            tap_wait_held(tap);
        }
        ferry_stream_fail(tap->stream, FERRY_ERROR_INVALID_ARGUMENT, "unequal sizes");
        if (i >= 2) { /* it holds a chunk, so the stream is still there */
            assert_true(ferry_stream_over(tap->stream));
            ferry_stream_fail(tap->stream, FERRY_ERROR_IO, "too late");
        }
        run_tap(tap);
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_words("unequal sizes");
        tap_wait_ended(tap);
        assert_int_equal(tap->cancelled, 0);
        drop_tap(tap, FERRY_ERROR_INVALID_ARGUMENT, 1);
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, ROOM, 0));
        expect_mirror(&mirror);
    }
    drop_mirror(&mirror);
}

static void test_cancelled(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 4; i++) {
        struct tap *tap = make_tap(i % 2 == 0, 30000, 31 + i);
        static struct note note;
        const struct ferry_stream_methods methods = tap_methods(tap);
        ferry_ticket ticket = 0;
        tap->quiet = true;
        note_init(&note);
        OK((tap->source ? ferry_stream_receive : ferry_stream_send)(
            mirror.buffer, 30000, 1000, &methods, tap, note_callback, &note, &ticket));
        if (i >= 2) {
            tap_wait_begun(tap);
            OK(ferry_stream_want(tap->stream, 5000));
        }
        OK(ferry_stream_cancel(fixture->device, ticket, i ? "no longer wanted" : NULL));
        run_tap(tap);
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_words(i ? "no longer wanted" : "cancelled");
        OK(ferry_wait_idle(fixture->device));
        assert_true(note.calls == 1 && note.status == FERRY_ERROR_IO);
        OK(ferry_stream_cancel(fixture->device, ticket, NULL));
        tap_wait_ended(tap);
        assert_int_equal(tap->cancelled, tap->begun);
        drop_tap(tap, FERRY_ERROR_IO, tap->begun);
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, ROOM, 0));
        expect_mirror(&mirror);
    }
    drop_mirror(&mirror);
}

/* Its turn has not come: it never begins, and ends at once. Its place in the order stays: what comes
 * after it waits for what is before it. */
static void test_cancelled_early(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    for (unsigned i = 0; i < 4; i++) {
        struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
        struct tap *tap = make_tap(i % 2 == 0, 30000, 41 + i);
        struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
        static struct note note;
        const struct ferry_stream_methods methods = tap_methods(tap);
        ferry_ticket ticket = 0, before = 0, after = 0;
        note_init(&note);
        OK((tap->source ? ferry_stream_receive
                        : ferry_stream_send)(mirror.buffer, 30000, 1000, &methods, tap,
                                             i < 2 ? note_callback : NULL, &note, &ticket));
        OK(ferry_copy_to_host_async(mirror.buffer, mirror.bytes, 10, 0, NULL, NULL, &before));
        OK(ferry_fill_buffer_async(mirror.buffer, 30000, 1000, "f", 1, NULL, NULL, &after));
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_cancel(fixture->device, before, NULL));
        expect_words("does not belong to a stream");
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_stream_cancel(fixture->device, UINT64_MAX, NULL));
        assert_int_equal(ferry_poll(fixture->device, ticket), FERRY_PENDING);
        OK(ferry_stream_cancel(fixture->device, ticket, "never mind"));
        IS(FERRY_ERROR_IO, ferry_poll(fixture->device, ticket));
        expect_words("never mind");
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        IS(FERRY_ERROR_IO, ferry_wait_all(fixture->device, &ticket, 1, FERRY_FOREVER));
        OK(ferry_stream_cancel(fixture->device, ticket, "again"));
        assert_int_equal(tap->ended, 1);
        drop_tap(tap, FERRY_ERROR_IO, 0); /* nothing of it is touched from here on */
        while (i < 2 && !note.calls)
            sched_yield();
        assert_int_equal(ferry_poll(fixture->device, after), FERRY_PENDING);
        release(fixture->device, &held);
        OK(ferry_wait(fixture->device, before, FERRY_FOREVER));
        OK(ferry_wait(fixture->device, after, FERRY_FOREVER));
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, ticket, FERRY_FOREVER));
        expect_words("never mind");
        OK(ferry_wait_idle(fixture->device));
        assert_int_equal(note.calls, i < 2);
        model_fill(mirror.bytes, 30000, 1000, "f", 1);
        expect_mirror(&mirror);
        drop_mirror(&mirror);
    }
}

/* Of many that wait behind each other each can be ended; those between them go on. Bytes that one of
 * them was to write have failed, once their turn has come. */
static void test_cancelled_between(void **state)
{
    enum { COUNT = 9 };
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    struct tap *taps[COUNT];
    ferry_ticket tickets[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        taps[i] = make_tap(i != 4, 5000, 51 + i);
        run_tap(taps[i]);
        tickets[i] = tap_start(taps[i], mirror.buffer, 1000 * (size_t)i);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        OK(ferry_stream_cancel(fixture->device, tickets[i], "one of two"));
        IS(FERRY_ERROR_IO, ferry_wait(fixture->device, tickets[i], FERRY_FOREVER));
        drop_tap(taps[i], FERRY_ERROR_IO, 0);
    }
    release(fixture->device, &held);
    for (unsigned i = 1; i < COUNT; i += 2) {
        OK(ferry_wait(fixture->device, tickets[i], FERRY_FOREVER));
        memcpy(mirror.bytes + 1000 * (size_t)i, taps[i]->bytes, 5000);
        drop_tap(taps[i], FERRY_OK, 1);
    }
    IS(FERRY_ERROR_IO, read_at(&mirror, 1000, 12000)); /* the last one's alone */
    OK(read_at(&mirror, ROOM - 13000, 13000));
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, ROOM, 0));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

struct canceller {
    pthread_t thread;
    ferry_device *device;
    ferry_ticket ticket;
    enum ferry_status status;
};

static void *cancel_it(void *arg)
{
    struct canceller *canceller = arg;
    canceller->status = ferry_stream_cancel(canceller->device, canceller->ticket, "just now");
    return NULL;
}

/* While its turn comes it is cancelled: it ends once, begun or not, and what follows it goes on. */
static void test_cancelled_at_its_turn(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, ROOM, FERRY_STORAGE_PRIVATE, 3);
    for (unsigned i = 0; i < 60; i++) {
        struct tap *tap = make_tap(i % 2 == 0, 3000, 71 + i);
        struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
        struct canceller canceller = {.device = fixture->device};
        tap->alone = true;
        canceller.ticket = tap_start(tap, mirror.buffer, 1000);
        assert_int_equal(pthread_create(&canceller.thread, NULL, cancel_it, &canceller), 0);
        for (unsigned k = 0; k < i % 8; k++)
            sched_yield();
        release(fixture->device, &held);
        const enum ferry_status status =
            ferry_wait(fixture->device, canceller.ticket, FERRY_FOREVER);
        pthread_join(canceller.thread, NULL);
        OK(canceller.status);
        assert_true(status == FERRY_OK || status == FERRY_ERROR_IO);
        OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, ROOM, 0));
        tap_wait_ended(tap);
        assert_true(tap->cancelled <= tap->begun && tap->begun <= 1);
        assert_true(tap->begun || status);
        drop_tap(tap, status, tap->begun);
    }
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Closing a device ends what is in flight first. */
static void test_closing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        ferry_device *device = open_with(NULL, &suite->params);
        ferry_buffer *buffer = make_buffer(device, ROOM, FERRY_STORAGE_PRIVATE);
        struct tap *tap = make_tap(i % 2 == 0, 30000, 51 + i), *second = make_tap(true, 30000, 52);
        static struct note note;
        const struct ferry_stream_methods methods = tap_methods(tap);
        note_init(&note);
        tap->quiet = second->quiet = true;
        OK((tap->source ? ferry_stream_receive : ferry_stream_send)(
            buffer, 30000, 1000, &methods, tap, note_callback, &note, NULL));
        (void)tap_start(second, buffer, 1000);
        if (i >= 2) {
            tap_wait_begun(tap);
            OK(ferry_stream_want(tap->stream, 5000));
            run_tap(tap);
        }
        ferry_device_close(device);
        assert_true(note.calls == 1 && note.status == FERRY_ERROR_IO);
        assert_non_null(strstr(note.error, "closed"));
        drop_tap(tap, FERRY_ERROR_IO, tap->begun);
        drop_tap(second, FERRY_ERROR_IO, second->begun);
        ferry_buffer_destroy(buffer);
    }
}

static void test_lost(void **state)
{
    (void)state;
    suite_skip_unless(suite->knobs_variable != NULL, "this driver has no test knobs");
    unsigned losses = 0;
    for (unsigned n = 1; n <= 5; n++) {
        char knobs[64];
        snprintf(knobs, sizeof knobs, "lose_at=%u", n);
        ferry_device *device = open_queued(knobs);
        ferry_buffer *buffer = make_buffer(device, ROOM, FERRY_STORAGE_PRIVATE);
        ferry_buffer *other = make_buffer(device, ROOM, FERRY_STORAGE_PRIVATE);
        struct tap *taps[4];
        for (unsigned i = 0; i < 4; i++) {
            const struct ferry_stream_methods methods =
                tap_methods(taps[i] = make_tap(i % 2 == 0, 30000, 61 + i));
            taps[i]->chunk_max = 4000;
            taps[i]->quiet = i == 2; /* it would never end by itself */
            run_tap(taps[i]);
            if ((taps[i]->source ? ferry_stream_receive : ferry_stream_send)(
                    i == 2 ? other : buffer, 30000, 1000 * i, &methods, taps[i], NULL, NULL,
                    NULL) != FERRY_OK)
                tap_end(taps[i], FERRY_ERROR_DEVICE_LOST);
        }
        unsigned char byte = 0;
        for (unsigned i = 0; i < 2 * n; i++)
            (void)!ferry_copy_from_host(buffer, &byte, 1, ROOM - 1);
        for (unsigned i = 0; i < 4; i++) {
            tap_wait_ended(taps[i]);
            losses += taps[i]->end_status == FERRY_ERROR_DEVICE_LOST;
            drop_tap(taps[i], taps[i]->end_status, taps[i]->begun);
        }
        ferry_buffer_destroy(buffer);
        ferry_buffer_destroy(other);
        ferry_device_close(device);
    }
    assert_true(losses > 0);
}

/* The device fails what it was to copy: a stream that waits for the next chunk hears that none will
 * come. Which submission is the stream's is not known. */
static void test_device_fails(void **state)
{
    static const char *const knobs_of[] = {"fail_exec", "fail_submit"};
    unsigned told[2][2] = {{0}};
    (void)state;
    suite_skip_unless(suite->knobs_variable != NULL, "this driver has no test knobs");
    for (unsigned i = 0; i < 24; i++) {
        const unsigned fault = i % 2, back = i / 2 % 2;
        char knobs[64];
        snprintf(knobs, sizeof knobs, "%s=%u", knobs_of[fault], 1 + i / 4);
        ferry_device *device = open_queued(knobs);
        ferry_buffer *buffer = make_buffer(device, ROOM, FERRY_STORAGE_PRIVATE);
        struct tap *tap = make_tap(!back, 30000, 71 + i);
        tap->chunk_max = 3000;
        tap->alone = true;
        const enum ferry_status status =
            ferry_wait(device, tap_start(tap, buffer, 1000), FERRY_FOREVER);
        tap_wait_ended(tap);
        assert_true(tap->cancelled <= (status != FERRY_OK));
        told[fault][back] += tap->cancelled;
        drop_tap(tap, status, 1);
        ferry_buffer_destroy(buffer);
        ferry_device_close(device);
    }
    assert_true(told[0][1] > 0 && told[1][1] > 0); /* a source may have given all before */
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_failing),           SUITE_TEST(test_fails_itself),
    SUITE_TEST(test_cancelled),         SUITE_TEST(test_cancelled_early),
    SUITE_TEST(test_cancelled_between), SUITE_TEST(test_cancelled_at_its_turn),
    SUITE_TEST(test_closing),           SUITE_TEST(test_lost),
    SUITE_TEST(test_device_fails),
};

SUITE_GROUP(stream_failures);
