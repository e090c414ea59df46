/* Order by bytes: what shares no byte has no order, also inside one buffer. External work holds a part
 * of a buffer; whoever waits for other bytes of it returns meanwhile, or the test hangs. */
#include "suite.h"

enum { SIZE = 4096, HALF = SIZE / 2 };

/* Holds the first half; without events the work is the host's, and nothing of it is submitted. */
static struct ferry_external hold_half(ferry_device *device, ferry_buffer *buffer, unsigned access)
{
    struct ferry_external held;
    const struct ferry_use use = {.buffer = buffer, .access = access, .size = HALF};
    OK(ferry_external_begin(device, &use, 1, &held));
    return held;
}

static void every_operation_on(struct mirror *mirror, struct mirror *other, size_t from)
{
    unsigned char got[HALF], bytes[500];
    memset(bytes, 0x5a, sizeof bytes);
    OK(ferry_copy_from_host(mirror->buffer, bytes, sizeof bytes, from + 3));
    memcpy(mirror->bytes + from + 3, bytes, sizeof bytes);
    OK(ferry_fill_buffer(mirror->buffer, 700, from + 600, "abc", 3));
    model_fill(mirror->bytes, 700, from + 600, "abc", 3);
    OK(ferry_copy_buffer(mirror->buffer, other->buffer, 300, from + 1400, 11));
    memcpy(mirror->bytes + from + 1400, other->bytes + 11, 300);
    OK(ferry_copy_buffer(mirror->buffer, mirror->buffer, 400, from + 1600, from + 1));
    memcpy(mirror->bytes + from + 1600, mirror->bytes + from + 1, 400);
    OK(ferry_copy_to_host(mirror->buffer, got, HALF, from));
    assert_memory_equal(got, mirror->bytes + from, HALF);
}

static void test_other_half(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    for (unsigned access = FERRY_ACCESS_READ; access <= 3; access++) {
        struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, access);
        struct mirror other = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 9);
        struct ferry_external held = hold_half(fixture->device, mirror.buffer, access);
        every_operation_on(&mirror, &other, HALF);
        IS(FERRY_PENDING, ferry_poll(fixture->device, held.ticket));
        release(fixture->device, &held);
        OK(ferry_wait(fixture->device, held.ticket, FERRY_FOREVER));
        every_operation_on(&mirror, &other, 0);
        expect_mirror(&mirror);
        drop_mirror(&mirror);
        drop_mirror(&other);
    }
}

/* A batch takes its place as a whole, and only on its own bytes. */
static void test_batch(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 21);
    struct ferry_external held = hold_half(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    ferry_batch *batch = NULL;
    ferry_ticket apart = 0, across = 0;
    OK(ferry_batch_create(fixture->device, &batch));
    for (unsigned i = 0; i < 20; i++) {
        OK(ferry_batch_fill_buffer(batch, mirror.buffer, 32, HALF + 64 * i, "q", 1));
        model_fill(mirror.bytes, 32, HALF + 64 * i, "q", 1);
    }
    OK(ferry_batch_submit(batch, NULL, NULL, &apart));
    OK(ferry_wait(fixture->device, apart, FERRY_FOREVER));
    OK(ferry_batch_fill_buffer(batch, mirror.buffer, 32, HALF + 40, "r", 1));
    OK(ferry_batch_fill_buffer(batch, mirror.buffer, 32, HALF - 16, "s", 1));
    model_fill(mirror.bytes, 32, HALF + 40, "r", 1);
    OK(ferry_batch_submit(batch, NULL, NULL, &across));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, across, 2000000));
    release(fixture->device, &held);
    OK(ferry_wait(fixture->device, across, FERRY_FOREVER));
    model_fill(mirror.bytes, 32, HALF - 16, "s", 1);
    expect_mirror(&mirror);
    ferry_batch_destroy(batch);
    drop_mirror(&mirror);
}

/* Readers of all of a buffer, then writes of its parts, then readers again: each sees what was called
 * before it. */
static void test_many_and_many(void **state)
{
    struct fixture *fixture = *state;
    enum { READERS = 20, PARTS = 32, PART = SIZE / PARTS };
    static unsigned char before[READERS][SIZE], after[READERS][SIZE];
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 22);
    unsigned char old[SIZE], parts[PARTS][PART];
    memcpy(old, mirror.bytes, SIZE);
    for (unsigned i = 0; i < READERS; i++)
        OK(ferry_copy_to_host_async(mirror.buffer, before[i], SIZE, 0, NULL, NULL, NULL));
    for (unsigned i = 0; i < PARTS; i++) {
        const unsigned at = i * 13 % PARTS * PART;
        memset(parts[i], (int)(i + 1), PART);
        memset(mirror.bytes + at, (int)(i + 1), PART);
        OK(ferry_copy_from_host_async(mirror.buffer, parts[i], PART, at, NULL, NULL, NULL));
    }
    for (unsigned i = 0; i < READERS; i++)
        OK(ferry_copy_to_host_async(mirror.buffer, after[i], SIZE, 0, NULL, NULL, NULL));
    OK(ferry_wait_idle(fixture->device));
    for (unsigned i = 0; i < READERS; i++) {
        assert_memory_equal(before[i], old, SIZE);
        assert_memory_equal(after[i], mirror.bytes, SIZE);
    }
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_bad_uses(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 23);
    const size_t bad[][2] = {{0, 101}, {1, 100}, {100, 0}, {101, 0}, {50, SIZE_MAX}, {SIZE_MAX, 2}};
    struct ferry_external none = {.ticket = 77};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct ferry_use use = {.buffer = mirror.buffer,
                                      .access = FERRY_ACCESS_WRITE,
                                      .offset = bad[i][0],
                                      .size = bad[i][1]};
        IS(FERRY_ERROR_OUT_OF_RANGE, ferry_external_begin(fixture->device, &use, 1, &none));
        assert_int_equal(none.ticket, 77);
    }
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void expect_number(size_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%zu", number);
    expect_words(text);
}

/* One bad use among good ones: it is named, with its numbers, and none of them is held. */
static void test_bad_use_among_good(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = fixture->device;
    require_hold(device);
    struct mirror mirror = make_mirror(device, SIZE, FERRY_STORAGE_PRIVATE, 25);
    ferry_ticket behind = 0;
    struct ferry_external held = hold_half(device, mirror.buffer, FERRY_ACCESS_WRITE), none = {0};
    OK(ferry_zero_buffer_async(mirror.buffer, NULL, NULL, &behind));
    struct ferry_use uses[] = {
        {.buffer = mirror.buffer, .access = FERRY_ACCESS_WRITE, .offset = 7, .size = 11},
        {.buffer = mirror.buffer, .access = FERRY_ACCESS_READ, .offset = 5, .size = SIZE_MAX - 2},
        {.buffer = mirror.buffer, .access = FERRY_ACCESS_WRITE, .offset = HALF}};
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_external_begin(device, uses, 3, &none));
    expect_words("use 1");
    expect_words("offset 5 ");
    expect_number(SIZE_MAX - 2);
    expect_number(SIZE);
    uses[1].size = SIZE - 5 + 1;
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_external_begin(device, uses, 3, &none));
    expect_number(SIZE - 5 + 1);
    /* More than there can be are not looked at: the first of them is good. */
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_begin(device, uses, SIZE_MAX, &none));
    expect_number(SIZE_MAX);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_external_begin(device, NULL, SIZE_MAX, &none));
    expect_number(SIZE_MAX);
    assert_true(!none.ticket && !none.ready);
    IS(FERRY_PENDING, ferry_poll(device, behind));
    release(device, &held);
    OK(ferry_wait(device, behind, FERRY_FOREVER)); /* or it hangs: something is still held */
    memset(mirror.bytes, 0, SIZE);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Work that only writes its part has written all of it when it ends well; work that reads it too may
 * not have. */
static void test_written_by_work(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 24);
    unsigned char got[SIZE];
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    release_failed(fixture->device, &held);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(mirror.buffer, got, 1, HALF));
    held = hold_half(fixture->device, mirror.buffer, FERRY_ACCESS_WRITE);
    release(fixture->device, &held);
    OK(ferry_copy_to_host(mirror.buffer, got, HALF, 0));
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(mirror.buffer, got, 1, HALF));
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, SIZE, 0));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* --- several tickets ----------------------------------------------------------------------------- */

static void test_wait_any_and_all(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_device *device = fixture->device;
    struct mirror mirror = make_mirror(device, SIZE, FERRY_STORAGE_PRIVATE, 25);
    ferry_ticket tickets[3] = {0};
    size_t index = 99;
    struct ferry_external held = hold_half(device, mirror.buffer, FERRY_ACCESS_WRITE);
    tickets[0] = held.ticket;
    OK(ferry_fill_buffer_async(mirror.buffer, 8, 0, "x", 1, NULL, NULL, &tickets[1]));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait_any(device, tickets, 2, 0, &index));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait_any(device, tickets, 2, 1000000, &index));
    assert_int_equal(index, 99);
    OK(ferry_fill_buffer_async(mirror.buffer, 8, HALF, "y", 1, NULL, NULL, &tickets[2]));
    OK(ferry_wait_any(device, tickets, 3, FERRY_FOREVER, &index));
    assert_int_equal(index, 2);
    IS(FERRY_ERROR_TIMEOUT, ferry_wait_all(device, tickets, 3, 1000000));
    release(device, &held);
    OK(ferry_wait_all(device, tickets, 3, FERRY_FOREVER));
    OK(ferry_wait_any(device, tickets, 3, 0, &index));
    assert_int_equal(index, 0);
    model_fill(mirror.bytes, 8, 0, "x", 1);
    model_fill(mirror.bytes, 8, HALF, "y", 1);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_wait_all_fails(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_device *device = fixture->device;
    struct mirror mirror = make_mirror(device, 100, FERRY_STORAGE_PRIVATE, 26);
    unsigned char got[100];
    ferry_ticket tickets[3] = {0};
    size_t index = 99;
    struct ferry_external held = hold(device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_to_host_async(mirror.buffer, got, 100, 0, NULL, NULL, &tickets[1]));
    OK(ferry_fill_buffer_async(mirror.buffer, 100, 0, "z", 1, NULL, NULL, &tickets[2]));
    release_failed(device, &held);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait_all(device, tickets, 3, FERRY_FOREVER));
    assert_true(ferry_last_error()[0] != 0);
    OK(ferry_wait_any(device, &tickets[1], 1, FERRY_FOREVER, &index)); /* done, though not well */
    assert_int_equal(index, 0);
    OK(ferry_wait_all(device, &tickets[2], 1, FERRY_FOREVER));
    drop_mirror(&mirror);
}

static void test_bad_lists(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = fixture->device;
    const ferry_ticket bad[] = {0, UINT64_MAX};
    size_t index = 99;
    OK(ferry_wait_all(device, NULL, 0, FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_any(device, NULL, 0, FERRY_FOREVER, &index));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_all(device, NULL, 1, FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_any(device, bad, 1, FERRY_FOREVER, NULL));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_all(device, bad, 2, FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_any(device, bad, 2, FERRY_FOREVER, &index));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_all(NULL, bad, 1, FERRY_FOREVER));
    assert_int_equal(index, 99);
    OK(ferry_wait_any(device, bad, 1, FERRY_FOREVER, &index));
    assert_int_equal(index, 0);
}

/* A ticket of another device is refused before any wait, wherever it is in the list. */
static void test_lists_of_two_devices(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = fixture->device, *second = open_second();
    require_hold(device);
    struct mirror mirror = make_mirror(device, SIZE, FERRY_STORAGE_PRIVATE, 26);
    struct mirror foreign = make_mirror(second, SIZE, FERRY_STORAGE_PRIVATE, 27);
    ferry_ticket tickets[3] = {0};
    size_t index = 99;
    struct ferry_external held = hold(device, mirror.buffer, FERRY_ACCESS_WRITE);
    OK(ferry_zero_buffer_async(mirror.buffer, NULL, NULL, &tickets[0]));
    OK(ferry_zero_buffer_async(foreign.buffer, NULL, NULL, &tickets[2]));
    OK(ferry_wait(second, tickets[2], FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(device, tickets[2], FERRY_FOREVER));
    expect_number((size_t)tickets[2]);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_all(device, tickets, 3, FERRY_FOREVER));
    expect_number((size_t)tickets[2]);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_any(device, tickets, 3, FERRY_FOREVER, &index));
    expect_number((size_t)tickets[2]);
    /* More than there can be are not looked at: the first of them is good. */
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_all(device, tickets, SIZE_MAX, FERRY_FOREVER));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_any(device, tickets, SIZE_MAX, 0, &index));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_all(device, NULL, SIZE_MAX, FERRY_FOREVER));
    expect_number(SIZE_MAX);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait_any(device, NULL, SIZE_MAX, 0, &index));
    expect_number(SIZE_MAX);
    assert_int_equal(index, 99);
    IS(FERRY_PENDING, ferry_poll(device, tickets[0]));
    release(device, &held);
    OK(ferry_wait_all(device, tickets, 2, FERRY_FOREVER));
    memset(mirror.bytes, 0, SIZE);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
    drop_mirror(&foreign);
    ferry_device_close(second);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_other_half),         SUITE_TEST(test_batch),
    SUITE_TEST(test_many_and_many),      SUITE_TEST(test_bad_uses),
    SUITE_TEST(test_written_by_work),    SUITE_TEST(test_wait_any_and_all),
    SUITE_TEST(test_wait_all_fails),     SUITE_TEST(test_bad_lists),
    SUITE_TEST(test_bad_use_among_good), SUITE_TEST(test_lists_of_two_devices),
};

SUITE_GROUP(bytes);
