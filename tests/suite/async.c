/* Operations that do not wait: each form, in order, alone and in bursts. */
#include "suite.h"

#include <unistd.h>

static void test_each_form(void **state)
{
    struct fixture *fixture = *state;
    enum { FORMS = 5, SIZE = 70001 };
    struct mirror a = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 1);
    struct mirror b = make_mirror(fixture->device, SIZE, FERRY_STORAGE_SHARED, 2);
    struct note notes[FORMS];
    ferry_ticket tickets[FORMS];
    unsigned char *source = scribbled(SIZE, 3), *got = xmalloc(SIZE);
    for (unsigned i = 0; i < FORMS; i++)
        note_init(&notes[i]);

    OK(ferry_zero_buffer_async(a.buffer, note_callback, &notes[0], &tickets[0]));
    OK(ferry_copy_from_host_async(a.buffer, source, SIZE - 9, 5, note_callback, &notes[1],
                                  &tickets[1]));
    OK(ferry_fill_buffer_async(a.buffer, 777, 333, "ferry", 5, note_callback, &notes[2],
                               &tickets[2]));
    OK(ferry_copy_buffer_async(b.buffer, a.buffer, SIZE - 20, 7, 3, note_callback, &notes[3],
                               &tickets[3]));
    OK(ferry_copy_to_host_async(b.buffer, got, SIZE, 0, note_callback, &notes[4], &tickets[4]));
    memset(a.bytes, 0, SIZE);
    memcpy(a.bytes + 5, source, SIZE - 9);
    model_fill(a.bytes, 777, 333, "ferry", 5);
    memcpy(b.bytes + 7, a.bytes + 3, SIZE - 20);

    for (unsigned i = FORMS; i-- > 0;)
        OK(ferry_wait(fixture->device, tickets[i], FERRY_FOREVER));
    expect_bytes(got, b.bytes, SIZE, "the download");
    OK(ferry_wait_idle(fixture->device));
    for (unsigned i = 0; i < FORMS; i++) {
        assert_int_equal(notes[i].calls, 1);
        assert_int_equal(notes[i].status, FERRY_OK);
        assert_true(notes[i].ticket == tickets[i]);
        assert_false(notes[i].same_thread);
        assert_true(tickets[i] != 0);
        assert_true(i == 0 || tickets[i] > tickets[i - 1]);
        assert_true(i == 0 || notes[i].place > notes[i - 1].place);
    }
    expect_mirror(&a);
    free(source);
    free(got);
    drop_mirror(&a);
    drop_mirror(&b);
}

static void test_neither_callback_nor_ticket(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 5000, FERRY_STORAGE_PRIVATE, 4);
    unsigned char *source = scribbled(5000, 5), *got = xmalloc(5000);
    OK(ferry_copy_from_host_async(mirror.buffer, source, 5000, 0, NULL, NULL, NULL));
    OK(ferry_copy_to_host_async(mirror.buffer, got, 5000, 0, NULL, NULL, NULL));
    OK(ferry_zero_buffer_async(mirror.buffer, NULL, NULL, NULL));
    OK(ferry_wait_idle(fixture->device));
    expect_bytes(got, source, 5000, "the download");
    memset(mirror.bytes, 0, 5000);
    expect_mirror(&mirror);
    free(source);
    free(got);
    drop_mirror(&mirror);
}

/* upload -> copy -> fill -> download, many rounds, never a wait between. */
static void test_chains(void **state)
{
    struct fixture *fixture = *state;
    enum { ROUNDS = 30, SIZE = 9001 };
    struct mirror a = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 6);
    struct mirror b = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 7);
    unsigned char *sources[ROUNDS], *got[ROUNDS], *want[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        sources[i] = scribbled(SIZE, 100 + i);
        got[i] = xmalloc(SIZE);
        want[i] = xmalloc(SIZE);
        OK(ferry_copy_from_host_async(a.buffer, sources[i], SIZE - i, i, NULL, NULL, NULL));
        OK(ferry_copy_buffer_async(b.buffer, a.buffer, SIZE - i, 0, i, NULL, NULL, NULL));
        OK(ferry_fill_buffer_async(b.buffer, 50 + i, i, "xyz", 3, NULL, NULL, NULL));
        OK(ferry_copy_to_host_async(b.buffer, got[i], SIZE, 0, NULL, NULL, NULL));
        memcpy(a.bytes + i, sources[i], SIZE - i);
        memcpy(b.bytes, a.bytes + i, SIZE - i);
        model_fill(b.bytes, 50 + i, i, "xyz", 3);
        memcpy(want[i], b.bytes, SIZE);
    }
    OK(ferry_wait_idle(fixture->device));
    for (unsigned i = 0; i < ROUNDS; i++) {
        expect_bytes(got[i], want[i], SIZE, "a round's download");
        free(sources[i]);
        free(got[i]);
        free(want[i]);
    }
    drop_mirror(&a);
    drop_mirror(&b);
}

/* Waiting operations take their place after the asynchronous ones before them. */
static void test_waiting_after_async(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 20000, FERRY_STORAGE_PRIVATE, 8);
    unsigned char *source = scribbled(20000, 9);
    for (unsigned i = 0; i < 20; i++) {
        OK(ferry_copy_from_host_async(mirror.buffer, source, 19000, i, NULL, NULL, NULL));
        memcpy(mirror.bytes + i, source, 19000);
        OK(ferry_fill_buffer(mirror.buffer, 10, 5 + i, &(char){'a'}, 1));
        model_fill(mirror.bytes, 10, 5 + i, &(char){'a'}, 1);
        expect_mirror(&mirror);
    }
    free(source);
    drop_mirror(&mirror);
}

/* Many submissions at once: more than any queue holds, more than any budget. */
static void test_burst(void **state)
{
    struct fixture *fixture = *state;
    enum { BURST = 1000, PART = 97 };
    struct mirror mirror = make_mirror(fixture->device, BURST * PART, FERRY_STORAGE_PRIVATE, 10);
    unsigned char *got = xmalloc(BURST * PART);
    scribble(mirror.bytes, mirror.size, 11);
    for (size_t i = 0; i < BURST; i++)
        OK(ferry_copy_from_host_async(mirror.buffer, mirror.bytes + i * PART, PART, i * PART, NULL,
                                      NULL, NULL));
    for (size_t i = BURST; i-- > 0;)
        OK(ferry_copy_to_host_async(mirror.buffer, got + i * PART, PART, i * PART, NULL, NULL,
                                    NULL));
    OK(ferry_wait_idle(fixture->device));
    expect_bytes(got, mirror.bytes, mirror.size, "what the burst read");
    expect_mirror(&mirror);
    free(got);
    drop_mirror(&mirror);
}

/* Large ones in flight together, each beyond the budget where that is small. */
static void test_large_together(void **state)
{
    struct fixture *fixture = *state;
    enum { TOGETHER = 6, SIZE = 300001 };
    struct mirror mirrors[TOGETHER];
    unsigned char *got[TOGETHER];
    for (unsigned i = 0; i < TOGETHER; i++) {
        mirrors[i] = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 12 + i);
        got[i] = xmalloc(SIZE);
        scribble(mirrors[i].bytes, SIZE, 50 + i);
    }
    for (unsigned i = 0; i < TOGETHER; i++)
        OK(ferry_copy_from_host_async(mirrors[i].buffer, mirrors[i].bytes, SIZE, 0, NULL, NULL,
                                      NULL));
    for (unsigned i = 0; i < TOGETHER; i++)
        OK(ferry_copy_to_host_async(mirrors[i].buffer, got[i], SIZE, 0, NULL, NULL, NULL));
    OK(ferry_wait_idle(fixture->device));
    for (unsigned i = 0; i < TOGETHER; i++) {
        expect_bytes(got[i], mirrors[i].bytes, SIZE, "a large download");
        free(got[i]);
        drop_mirror(&mirrors[i]);
    }
}

/* A size of 0 has its ticket and its callback like any other. */
static void test_size_zero(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 13);
    struct note notes[4];
    ferry_ticket tickets[4];
    for (unsigned i = 0; i < 4; i++)
        note_init(&notes[i]);
    OK(ferry_copy_from_host_async(mirror.buffer, NULL, 0, 100, note_callback, &notes[0],
                                  &tickets[0]));
    OK(ferry_copy_to_host_async(mirror.buffer, NULL, 0, 100, note_callback, &notes[1],
                                &tickets[1]));
    OK(ferry_copy_buffer_async(mirror.buffer, mirror.buffer, 0, 100, 0, note_callback, &notes[2],
                               &tickets[2]));
    OK(ferry_fill_buffer_async(mirror.buffer, 0, 100, "a", 1, note_callback, &notes[3],
                               &tickets[3]));
    for (unsigned i = 0; i < 4; i++)
        OK(ferry_wait(fixture->device, tickets[i], FERRY_FOREVER));
    OK(ferry_wait_idle(fixture->device));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(notes[i].calls, 1);
        assert_int_equal(notes[i].status, FERRY_OK);
    }
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Reads do not wait for reads. */
static void test_reads_together(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 5000, FERRY_STORAGE_PRIVATE, 14);
    struct mirror other = make_mirror(fixture->device, 5000, FERRY_STORAGE_PRIVATE, 15);
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_READ);
    expect_mirror(&mirror);
    OK(ferry_copy_buffer(other.buffer, mirror.buffer, 5000, 0, 0));
    memcpy(other.bytes, mirror.bytes, 5000);
    expect_mirror(&other);
    release(fixture->device, &held);
    drop_mirror(&mirror);
    drop_mirror(&other);
}

/* A read in flight keeps a later write away; a write in flight keeps all away. */
static void test_hazards(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, 100, FERRY_STORAGE_PRIVATE, 16);
    unsigned char got[100];
    ferry_ticket write = 0, read = 0;
    struct ferry_external held = hold(fixture->device, mirror.buffer, FERRY_ACCESS_READ);
    OK(ferry_fill_buffer_async(mirror.buffer, 50, 0, "w", 1, NULL, NULL, &write));
    OK(ferry_copy_to_host_async(mirror.buffer, got, 100, 0, NULL, NULL, &read));
    model_fill(mirror.bytes, 50, 0, "w", 1);
    IS(FERRY_PENDING, ferry_poll(fixture->device, write));
    IS(FERRY_PENDING, ferry_poll(fixture->device, read));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, read, 2000000));
    release(fixture->device, &held);
    OK(ferry_wait(fixture->device, read, FERRY_FOREVER));
    OK(ferry_poll(fixture->device, write));
    expect_bytes(got, mirror.bytes, 100, "the read after the write");
    drop_mirror(&mirror);
}

/* Work needs no further call: it is done though nobody waits. */
static void test_progress_alone(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 200000, FERRY_STORAGE_PRIVATE, 17);
    struct note note;
    note_init(&note);
    unsigned char *got = xmalloc(mirror.size);
    for (unsigned i = 0; i < 10; i++)
        OK(ferry_fill_buffer_async(mirror.buffer, 100, i * 100, "p", 1, NULL, NULL, NULL));
    model_fill(mirror.bytes, 1000, 0, "p", 1);
    OK(ferry_copy_to_host_async(mirror.buffer, got, mirror.size, 0, note_callback, &note, NULL));
    while (note.calls == 0)
        usleep(200);
    expect_bytes(got, mirror.bytes, mirror.size, "the download nobody waited for");
    free(got);
    drop_mirror(&mirror);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_each_form), SUITE_TEST(test_neither_callback_nor_ticket),
    SUITE_TEST(test_chains),    SUITE_TEST(test_waiting_after_async),
    SUITE_TEST(test_burst),     SUITE_TEST(test_large_together),
    SUITE_TEST(test_size_zero), SUITE_TEST(test_reads_together),
    SUITE_TEST(test_hazards),   SUITE_TEST(test_progress_alone),
};

SUITE_GROUP(async);
