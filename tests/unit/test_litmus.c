/*
 * Message passing through a buffer: one thread writes it, another is told and reads it directly.
 * What tells is a flag of the user's, a ticket, or a callback. Every read must see the whole of the
 * latest message; ThreadSanitizer sees in each, too, whether there is an edge of C11's from the
 * write to the read. docs/engine.md has the argument.
 */
#include "base/base.h"
#include "engine/buffer.h"
#include "hang.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORDS = 64, ROUNDS = 1500 };

/* How a message comes to the buffer, and from there to the reader. */
enum tell { TELL_FLAG, TELL_TICKET, TELL_CALLBACK, TELL_WORD };

struct shape {
    bool queued;    /* the upload is the device's, not the caller's */
    enum tell tell; /* WORD: that the call was made; whether it is done, only the buffer says */
    bool copy;      /* the reader copies to another buffer, and reads that */
    bool download;  /* the writer's queue brings it to host memory, which the reader reads */
    bool beside;    /* other bytes of the buffer are busy all the while: its word is never 0 */
};

struct litmus {
    const struct shape *shape;
    ferry_device *device;
    ferry_buffer *buffer, *copy;
    uint32_t message[WORDS], landed[WORDS];
    ferry_ticket ticket;              /* written before told */
    _Atomic uint32_t told, read, bad; /* rounds */
};

static void await(const _Atomic uint32_t *round, uint32_t wanted)
{
    while (atomic_load_explicit(round, memory_order_acquire) < wanted)
        sched_yield();
}

static void tell(struct litmus *litmus)
{
    atomic_fetch_add_explicit(&litmus->told, 1, memory_order_release);
}

static void tell_from_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct litmus *litmus = user;
    (void)ticket;
    if (status)
        atomic_fetch_add(&litmus->bad, 1);
    tell(litmus);
}

static enum ferry_status write_message(struct litmus *litmus)
{
    const struct shape *shape = litmus->shape;
    const ferry_callback callback = shape->tell == TELL_CALLBACK ? tell_from_callback : NULL;
    const size_t size = sizeof litmus->message;
    enum ferry_status status = FERRY_OK;
    if (!shape->queued && shape->tell == TELL_FLAG)
        return ferry_copy_from_host(litmus->buffer, litmus->message, size, 0);
    status = ferry_copy_from_host_async(litmus->buffer, litmus->message, size, 0,
                                        shape->download ? NULL : callback, litmus, &litmus->ticket);
    if (!status && shape->download)
        status = ferry_copy_to_host_async(litmus->buffer, litmus->landed, size, 0, callback, litmus,
                                          &litmus->ticket);
    if (!status && shape->tell == TELL_FLAG)
        status = ferry_wait(litmus->device, litmus->ticket, FERRY_FOREVER);
    return status;
}

static void *writer(void *arg)
{
    struct litmus *litmus = arg;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        for (size_t i = 0; i < WORDS; i++)
            litmus->message[i] = round;
        const enum ferry_status status = write_message(litmus);
        if (status)
            atomic_fetch_add(&litmus->bad, 1);
        if (status || litmus->shape->tell != TELL_CALLBACK)
            tell(litmus);
        await(&litmus->read, round); /* so that nothing is overwritten while it is read */
    }
    return NULL;
}

static enum ferry_status read_message(struct litmus *litmus, uint32_t got[WORDS])
{
    const size_t size = sizeof litmus->message;
    if (litmus->shape->tell == TELL_TICKET) {
        const enum ferry_status status = ferry_wait(litmus->device, litmus->ticket, FERRY_FOREVER);
        if (status)
            return status;
    }
    /* Relaxed, which is no edge: that is what the library's own look at the word has to be. */
    while (litmus->shape->tell == TELL_WORD &&
           atomic_load_explicit(&litmus->buffer->word, memory_order_relaxed))
        sched_yield();
    if (litmus->shape->download) {
        memcpy(got, litmus->landed, size);
        return FERRY_OK;
    }
    if (!litmus->shape->copy)
        return ferry_copy_to_host(litmus->buffer, got, size, 0);
    const enum ferry_status status = ferry_copy_buffer(litmus->copy, litmus->buffer, size, 0, 0);
    return status ? status : ferry_copy_to_host(litmus->copy, got, size, 0);
}

static void *reader(void *arg)
{
    struct litmus *litmus = arg;
    uint32_t got[WORDS];
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        await(&litmus->told, round);
        memset(got, 0, sizeof got);
        unsigned wrong = read_message(litmus, got) != FERRY_OK;
        for (size_t i = 0; i < WORDS; i++)
            wrong += got[i] != round;
        if (wrong)
            atomic_fetch_add(&litmus->bad, 1);
        atomic_store_explicit(&litmus->read, round, memory_order_release);
    }
    return NULL;
}

/* How many operations went directly, of a kind. */
static uint64_t direct_ones(ferry_device *device, enum ferry_operation operation)
{
    struct ferry_stats *stats = calloc(1, sizeof *stats);
    assert_non_null(stats);
    ferry_device_get_stats(device, stats, sizeof *stats);
    const uint64_t count = stats->operations[operation][FERRY_PATH_DIRECT].operations;
    free(stats);
    return count;
}

static void pass_messages(const struct shape *shape)
{
    struct litmus *litmus = calloc(1, sizeof *litmus);
    assert_non_null(litmus);
    struct ferry_device_params params = {.name = "host", .no_measuring = true};
    params.thresholds.direct_write_max = shape->queued ? 1 : 0;
    const size_t size = sizeof litmus->message;
    const struct ferry_buffer_params whole = {.size = 2 * size};
    struct ferry_external work;
    pthread_t threads[2];
    litmus->shape = shape;
    assert_int_equal(ferry_device_open(&params, &litmus->device), FERRY_OK);
    assert_int_equal(ferry_buffer_create(litmus->device, &whole, &litmus->buffer), FERRY_OK);
    assert_int_equal(ferry_buffer_create(litmus->device, &whole, &litmus->copy), FERRY_OK);
    const struct ferry_use beside = {
        .buffer = litmus->buffer, .access = FERRY_ACCESS_WRITE, .offset = size, .size = size};
    if (shape->beside)
        assert_int_equal(ferry_external_begin(litmus->device, &beside, 1, &work), FERRY_OK);
    alarm(HANG_SECONDS);
    assert_int_equal(pthread_create(&threads[0], NULL, writer, litmus), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, reader, litmus), 0);
    assert_int_equal(pthread_join(threads[0], NULL), 0);
    assert_int_equal(pthread_join(threads[1], NULL), 0);
    alarm(0);
    if (shape->beside)
        assert_int_equal(ferry_external_end(litmus->device, work.ticket, FERRY_OK), FERRY_OK);
    assert_int_equal(litmus->bad, 0);
    /* It was about what it says. */
    assert_int_equal(direct_ones(litmus->device, FERRY_OPERATION_UPLOAD),
                     shape->queued ? 0 : ROUNDS);
    assert_int_equal(direct_ones(litmus->device, FERRY_OPERATION_COPY), shape->copy ? ROUNDS : 0);
    if (!shape->download) /* that one is queued or not, as the upload is done or not */
        assert_int_equal(direct_ones(litmus->device, FERRY_OPERATION_DOWNLOAD), ROUNDS);
    ferry_buffer_destroy(litmus->copy);
    ferry_buffer_destroy(litmus->buffer);
    ferry_device_close(litmus->device);
    free(litmus);
}

static void direct_then_direct(void **state)
{
    (void)state;
    pass_messages(&(struct shape){.tell = TELL_FLAG});
    pass_messages(&(struct shape){.tell = TELL_FLAG, .copy = true});
    pass_messages(&(struct shape){.tell = TELL_TICKET});
    pass_messages(&(struct shape){.tell = TELL_CALLBACK});
}

static void queued_then_direct(void **state)
{
    (void)state;
    pass_messages(&(struct shape){.queued = true, .tell = TELL_FLAG});
    pass_messages(&(struct shape){.queued = true, .tell = TELL_TICKET});
    pass_messages(&(struct shape){.queued = true, .tell = TELL_CALLBACK});
    pass_messages(&(struct shape){.queued = true, .tell = TELL_CALLBACK, .copy = true});
}

/* Nobody waits, and nothing else tells: the reader finds the buffer's word 0. */
static void the_word_alone(void **state)
{
    (void)state;
    pass_messages(&(struct shape){.queued = true, .tell = TELL_WORD});
    pass_messages(&(struct shape){.queued = true, .tell = TELL_WORD, .copy = true});
}

static void under_the_lock(void **state)
{
    (void)state;
    pass_messages(&(struct shape){.tell = TELL_FLAG, .beside = true});
    pass_messages(&(struct shape){.queued = true, .tell = TELL_TICKET, .beside = true});
    pass_messages(&(struct shape){.queued = true, .tell = TELL_CALLBACK, .beside = true});
}

static void to_host_memory(void **state)
{
    (void)state;
    pass_messages(&(struct shape){.queued = true, .tell = TELL_TICKET, .download = true});
    pass_messages(&(struct shape){.queued = true, .tell = TELL_CALLBACK, .download = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(direct_then_direct), cmocka_unit_test(queued_then_direct),
        cmocka_unit_test(the_word_alone),     cmocka_unit_test(under_the_lock),
        cmocka_unit_test(to_host_memory),
    };
    return cmocka_run_group_tests_name("litmus", tests, NULL, NULL);
}
