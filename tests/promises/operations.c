/* Operations that wait, those that do not, their tickets and callbacks, and batches. */
#include "promises.h"

#include <pthread.h>

enum { SIZE = 4096 };

/* "The range [offset, offset + size) must lie in the buffer, also for size 0, else OUT_OF_RANGE. A NULL
 * host pointer is INVALID_ARGUMENT unless size is 0." */
static void test_ranges(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 1);
    char byte = 0;
    OK(ferry_copy_from_host(mirror.buffer, NULL, 0, SIZE));
    OK(ferry_copy_to_host(mirror.buffer, NULL, 0, 0));
    OK(ferry_fill_buffer(mirror.buffer, 0, SIZE, "a", 1));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_host(mirror.buffer, &byte, 0, SIZE + 1));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_host(mirror.buffer, &byte, SIZE_MAX, 1));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_buffer(mirror.buffer, mirror.buffer, 1, 0, SIZE));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_fill_buffer(mirror.buffer, 2, SIZE - 1, "a", 1));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_from_host(mirror.buffer, NULL, 1, 0));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* "Repeats a pattern of 1 to 16 bytes from offset on, cut off at the end. The pattern is copied." */
static void test_pattern(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 2);
    for (size_t size = 1; size <= 16; size++) {
        char pattern[16] = "0123456789abcdef";
        OK(ferry_fill_buffer_async(mirror.buffer, 100, size * 3, pattern, size, NULL, NULL, NULL));
        model_fill(mirror.bytes, 100, size * 3, pattern, size);
        memset(pattern, 'x', sizeof pattern);
    }
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_fill_buffer(mirror.buffer, 1, 0, "a", 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_fill_buffer(mirror.buffer, 1, 0, mirror.bytes, 17));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_fill_buffer(mirror.buffer, 1, 0, NULL, 1));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* "Overlapping ranges of one buffer behave as memmove. Bytes outside a range are not changed." */
static void test_overlap(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 3);
    static const size_t shifts[][2] = {{1, 0}, {0, 1}, {7, 4}, {4, 7}, {100, 0}, {3, 103}};
    for (size_t i = 0; i < 6; i++) {
        OK(ferry_copy_buffer(mirror.buffer, mirror.buffer, 3001, shifts[i][0], shifts[i][1]));
        memmove(mirror.bytes + shifts[i][0], mirror.bytes + shifts[i][1], 3001);
    }
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* "Two operations of which one writes bytes that the other touches take effect in the order of their
 * calls, whether they wait or not" */
static void test_order(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 4);
    unsigned char got[60][8];
    for (unsigned i = 0; i < 60; i++) {
        if (i % 5)
            OK(ferry_fill_buffer_async(mirror.buffer, 8, 0, &i, 1, NULL, NULL, NULL));
        else
            OK(ferry_fill_buffer(mirror.buffer, 8, 0, &i, 1));
        OK(ferry_copy_to_host_async(mirror.buffer, got[i], 8, 0, NULL, NULL, NULL));
    }
    OK(ferry_wait_idle(fixture->device));
    for (unsigned i = 0; i < 60; i++)
        assert_true(got[i][0] == i && got[i][7] == i);
    drop_mirror(&mirror);
}

/* "its range holds no valid data: reading it [...] fails with the same status until writes have
 * covered it, which may be in parts." */
static void test_failed_range(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 5);
    struct mirror other = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 6);
    unsigned char got[SIZE];
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    release_failed(fixture->device, &held);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(mirror.buffer, got, 1, 9));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_buffer(other.buffer, mirror.buffer, 10, 20, 30));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(other.buffer, got, 1, 25));
    OK(ferry_copy_to_host(other.buffer, got, 20, 0));
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, SIZE, 0));
    OK(ferry_copy_from_host(other.buffer, other.bytes, SIZE, 0));
    expect_mirror(&mirror);
    expect_mirror(&other);
    drop_mirror(&mirror);
    drop_mirror(&other);
}

/* --- tickets --------------------------------------------------------------------------------------- */

/* "Arguments are checked at the call: a call that returns an error has done nothing, has no ticket and
 * no callback." */
static void test_async_refused(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 7);
    static struct note note;
    ferry_ticket ticket = 4242;
    note_init(&note);
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_host_async(mirror.buffer, mirror.bytes, SIZE, 1,
                                                            note_callback, &note, &ticket));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_copy_to_host_async(mirror.buffer, NULL, SIZE, 0, note_callback, &note, &ticket));
    OK(ferry_wait_idle(fixture->device));
    assert_true(ticket == 4242 && note.calls == 0);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* "0 is always done." "Returns the operation's own status, however often and however late it is asked;
 * TIMEOUT; INVALID_ARGUMENT for a ticket of another device or one never issued". */
static void test_tickets(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_device *device = fixture->device;
    struct mirror mirror = make_mirror(device, SIZE, FERRY_STORAGE_PRIVATE, 8);
    ferry_ticket failed = 0, good = 0;
    unsigned char got[SIZE];
    OK(ferry_wait(device, 0, 0));
    OK(ferry_poll(device, 0));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_poll(device, UINT64_MAX));
    struct ferry_external held = hold(device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_to_host_async(mirror.buffer, got, SIZE, 0, NULL, NULL, &failed));
    OK(ferry_zero_buffer_async(mirror.buffer, NULL, NULL, &good));
    IS(FERRY_PENDING, ferry_poll(device, failed));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(device, good, 0));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(device, good, 100000));
    release_failed(device, &held);
    OK(ferry_wait(device, good, FERRY_FOREVER));
    for (unsigned i = 0; i < 200; i++) {
        OK(ferry_fill_buffer_async(mirror.buffer, 1, 0, "n", 1, NULL, NULL, NULL));
        IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(device, failed, FERRY_FOREVER));
        IS(FERRY_ERROR_EXECUTION_FAILED, ferry_poll(device, failed));
        OK(ferry_poll(device, good));
    }
    drop_mirror(&mirror);
}

/* --- callbacks ------------------------------------------------------------------------------------- */

static struct {
    struct fixture *fixture;
    ferry_buffer *buffer;
    ferry_batch *batch;
    void *registered;
    _Atomic int waiting[13], waits, allowed[7];
} inside;

static void try_all(enum ferry_status status, ferry_ticket ticket, void *user)
{
    ferry_device *device = inside.fixture->device;
    ferry_buffer *b = inside.buffer, *made = NULL;
    char byte[4] = {0};
    void *contents;
    struct ferry_external external;
    struct ferry_memory_info memory;
    ferry_ticket all;
    int n = 0;
    (void)status;
    (void)user;
    inside.waiting[n++] = (int)ferry_copy_from_host(b, byte, 1, 0);
    inside.waiting[n++] = (int)ferry_copy_to_host(b, byte, 1, 0);
    inside.waiting[n++] = (int)ferry_copy_buffer(b, b, 1, 0, 1);
    inside.waiting[n++] = (int)ferry_zero_buffer(b);
    inside.waiting[n++] = (int)ferry_fill_buffer(b, 1, 0, "a", 1);
    inside.waiting[n++] = (int)ferry_wait(device, ticket, 1);
    inside.waiting[n++] = (int)ferry_wait_idle(device);
    inside.waiting[n++] = (int)ferry_buffer_contents(b, &contents);
    inside.waiting[n++] = (int)ferry_buffer_wait(b, 0);
    inside.waiting[n++] = (int)ferry_host_unregister(device, inside.registered);
    inside.waiting[n++] = (int)ferry_device_trim(device);
    inside.waiting[n++] = (int)ferry_external_begin(
        device, &(struct ferry_use){.buffer = b, .access = FERRY_ACCESS_READ}, 1, &external);
    inside.waiting[n++] = (int)ferry_batch_run(inside.batch);
    inside.waits = n;
    inside.allowed[0] = (int)ferry_zero_buffer_async(b, NULL, NULL, NULL);
    inside.allowed[1] = (int)ferry_wait(device, 0, 0);
    inside.allowed[2] =
        (int)ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 9}, &made);
    ferry_buffer_destroy(made);
    inside.allowed[3] = (int)ferry_device_get_memory(device, &memory);
    inside.allowed[4] = (int)ferry_poll(device, 0);
    inside.allowed[5] = (int)ferry_device_list(NULL, 0, &(size_t){0});
    inside.allowed[6] = (int)ferry_buffer_ticket(b, 0, 0, &all);
}

/* "All functions but those that wait may be called; those return IN_CALLBACK." */
static void test_in_callback(void **state)
{
    struct fixture *fixture = *state;
    static char registered[8192];
    inside.fixture = fixture;
    inside.buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_SHARED);
    inside.registered = registered;
    OK(ferry_batch_create(fixture->device, &inside.batch));
    const bool can = !ferry_host_register(fixture->device, registered, sizeof registered, 0);
    OK(ferry_zero_buffer_async(inside.buffer, try_all, NULL, NULL));
    OK(ferry_wait_idle(fixture->device));
    for (int i = 0; i < inside.waits; i++)
        assert_int_equal(inside.waiting[i], FERRY_ERROR_IN_CALLBACK);
    for (int i = 0; i < 6; i++)
        assert_int_equal(inside.allowed[i], FERRY_OK);
    assert_int_equal(inside.waits, 13);
    ferry_batch_destroy(inside.batch);
    if (can)
        OK(ferry_host_unregister(fixture->device, registered));
    ferry_buffer_destroy(inside.buffer);
}

static struct {
    _Atomic int running, most;
} overlap;

static void count_running(enum ferry_status status, ferry_ticket ticket, void *user)
{
    note_callback(status, ticket, user);
    const int now = ++overlap.running;
    if (now > overlap.most)
        overlap.most = now;
    overlap.running--;
}

/* "Called exactly once [...] on a thread of the device's own, never the caller's; one at a time per
 * device; after the callbacks of what the operation depended on." */
static void test_callbacks(void **state)
{
    enum { MANY = 50 };
    struct fixture *fixture = *state;
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    static struct note notes[MANY];
    ferry_ticket tickets[MANY];
    overlap.most = 0;
    for (unsigned i = 0; i < MANY; i++) {
        note_init(&notes[i]);
        OK(ferry_fill_buffer_async(buffer, 10, 0, "c", 1, count_running, &notes[i], &tickets[i]));
    }
    OK(ferry_wait_idle(fixture->device));
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(notes[i].calls, 1);
        assert_true(notes[i].ticket == tickets[i]);
        assert_false(notes[i].same_thread);
        assert_true(!i || notes[i].place > notes[i - 1].place);
    }
    assert_int_equal(overlap.most, 1);
    ferry_buffer_destroy(buffer);
}

/* --- batches --------------------------------------------------------------------------------------- */

/* "Effects are as if the operations were done one after another in the order added." "Submits, and
 * leaves the batch empty, ready for reuse" "An empty batch is done at once." "An operation that is
 * refused leaves the batch as it was. A buffer in a batch may be destroyed". */
static void test_batches(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 9);
    ferry_buffer *gone = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    unsigned char got[10];
    OK(ferry_batch_create(fixture->device, &batch));
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    OK(ferry_batch_fill_buffer(batch, mirror.buffer, 10, 0, "1", 1));
    OK(ferry_batch_copy_to_host(batch, mirror.buffer, got, 10, 0));
    OK(ferry_batch_fill_buffer(batch, mirror.buffer, 10, 0, "2", 1));
    OK(ferry_batch_zero_buffer(batch, gone));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_batch_fill_buffer(batch, mirror.buffer, 10, SIZE, "3", 1));
    ferry_buffer_destroy(gone);
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    assert_memory_equal(got, "1111111111", 10);
    model_fill(mirror.bytes, 10, 0, "2", 1);
    expect_mirror(&mirror);
    OK(ferry_batch_submit(batch, NULL, NULL, NULL)); /* empty again */
    expect_mirror(&mirror);
    ferry_batch_destroy(batch);
    drop_mirror(&mirror);
}

/* "A batch holds buffers of one device" */
static void test_batch_of_another(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *other = open_with(NULL, &suite->params);
    ferry_buffer *theirs = make_buffer(other, SIZE, FERRY_STORAGE_PRIVATE);
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(fixture->device, &batch));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_batch_zero_buffer(batch, theirs));
    ferry_batch_destroy(batch);
    ferry_buffer_destroy(theirs);
    ferry_device_close(other);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_ranges),  SUITE_TEST(test_pattern),          SUITE_TEST(test_overlap),
    SUITE_TEST(test_order),   SUITE_TEST(test_failed_range),     SUITE_TEST(test_async_refused),
    SUITE_TEST(test_tickets), SUITE_TEST(test_in_callback),      SUITE_TEST(test_callbacks),
    SUITE_TEST(test_batches), SUITE_TEST(test_batch_of_another),
};

SUITE_GROUP(operations);
