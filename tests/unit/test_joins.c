/*
 * Joins: many readers and many writers of their parts have about as many edges as there are of both,
 * not as many as there are pairs. Edges and submissions are counted, not time.
 */
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/join.h"
#include "engine/op.h"
#include "engine/submission.h"
#include "engine/ticket.h"
#include "host.h"
#include "host_buffer.h"

#include <stdlib.h>
#include <string.h>

enum { N = 10000, PIECE = 4, SIZE = N * PIECE, CROWD = 20 };

static const struct ferry_device_params queues = {.queues = 3};

static int set_up(void **state)
{
    (void)state;
    return open_host_buffer("no_map,events,queues=3", &queues, SIZE);
}

static int set_up_one_queue(void **state)
{
    (void)state;
    return open_host_buffer("no_map,events,queues=1", &queues, SIZE);
}

/* All edges of what is in flight, and the most that one operation has. */
static size_t count_edges(size_t *most)
{
    size_t count = 0;
    *most = 0;
    pthread_mutex_lock(&device->lock);
    for (struct ferry__node *node = device->living.first; node; node = ferry__tree_next(node)) {
        const struct ferry__op *op = ferry__living(node);
        count += ferry__op_edge_count(op);
        if (!op->join && ferry__op_edge_count(op) > *most)
            *most = ferry__op_edge_count(op);
    }
    pthread_mutex_unlock(&device->lock);
    return count;
}

static uint64_t submissions(void)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats.submissions;
}

static void upload_piece(size_t i, const unsigned char *bytes)
{
    assert_int_equal(
        ferry_copy_from_host_async(buffer, bytes + i * PIECE, PIECE, i * PIECE, NULL, NULL, NULL),
        FERRY_OK);
}

static unsigned char *bytes_of(unsigned seed)
{
    unsigned char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(seed + i * 31 + i / 255);
    return bytes;
}

/* All of it is read many times, then each piece is written: every read sees what was there. */
static void many_readers_then_part_writers(void **state)
{
    (void)state;
    enum { SHOWN = 8 };
    unsigned char *old = bytes_of(1), *new = bytes_of(99), *back = malloc(SIZE);
    unsigned char *seen = malloc((size_t)N * SHOWN);
    assert_true(back && seen);
    assert_int_equal(ferry_copy_from_host(buffer, old, SIZE, 0), FERRY_OK);
    const struct ferry_external work = begin_work(FERRY_ACCESS_READ | FERRY_ACCESS_WRITE, 0, 0);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(
            ferry_copy_to_host_async(buffer, seen + i * SHOWN, SHOWN, 0, NULL, NULL, NULL),
            FERRY_OK);
    for (size_t i = 0; i < SHOWN; i++) /* single bytes, several times each */
        for (size_t k = 0; k < N / SHOWN; k++)
            assert_int_equal(ferry_copy_from_host_async(buffer, &new[i], 1, i, NULL, NULL, NULL),
                             FERRY_OK);
    size_t most;
    assert_true(count_edges(&most) <= 4 * N);
    assert_true(most <= FERRY__CROWD + 2);
    signal_work(&work);
    end_work(&work);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    for (size_t i = 0; i < N; i++)
        assert_memory_equal(seen + i * SHOWN, old, SHOWN);
    assert_int_equal(ferry_copy_to_host(buffer, back, SIZE, 0), FERRY_OK);
    assert_memory_equal(back, new, SHOWN);
    assert_memory_equal(back + SHOWN, old + SHOWN, SIZE - SHOWN);
    free(old);
    free(new);
    free(back);
    free(seen);
}

/* Each piece is written, then all of it is used many times. */
static void part_writers_then_many_readers(void **state)
{
    (void)state;
    unsigned char *bytes = bytes_of(7), *back = malloc(SIZE);
    ferry_buffer *other;
    assert_non_null(back);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &other), FERRY_OK);
    const struct ferry_external work = begin_work(FERRY_ACCESS_READ | FERRY_ACCESS_WRITE, 0, 0);
    for (size_t i = 0; i < N; i++)
        upload_piece(i, bytes);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(ferry_copy_buffer_async(other, buffer, SIZE, 0, 0, NULL, NULL, NULL),
                         FERRY_OK);
    size_t most;
    assert_true(count_edges(&most) <= 6 * N);
    assert_true(most <= FERRY__CROWD + 2);
    signal_work(&work);
    end_work(&work);
    assert_int_equal(ferry_copy_to_host(other, back, SIZE, 0), FERRY_OK);
    assert_memory_equal(back, bytes, SIZE);
    ferry_buffer_destroy(other);
    free(bytes);
    free(back);
}

/* Readers and writers in turns: a chain of joins, which nothing walks. */
static void crowds_in_turn(void **state)
{
    (void)state;
    unsigned char seen[CROWD][PIECE], *bytes = bytes_of(3);
    const struct ferry_external work = begin_work(FERRY_ACCESS_READ | FERRY_ACCESS_WRITE, 0, 0);
    for (size_t i = 0; i < N / CROWD; i++) {
        for (size_t k = 0; k < CROWD; k++)
            assert_int_equal(ferry_copy_to_host_async(buffer, seen[k], PIECE, 0, NULL, NULL, NULL),
                             FERRY_OK);
        assert_int_equal(
            ferry_copy_from_host_async(buffer, &bytes[i % PIECE], 1, i % PIECE, NULL, NULL, NULL),
            FERRY_OK);
    }
    size_t most;
    assert_true(count_edges(&most) <= 8 * N);
    signal_work(&work);
    end_work(&work);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    free(bytes);
}

/* What follows a crowd is handed over before the crowd is done: the device waits, not the host. */
static void no_host_step_behind_a_crowd(void **state)
{
    (void)state;
    unsigned char seen[CROWD][PIECE], back[PIECE];
    static const unsigned char zeros[PIECE], ones[PIECE] = {1, 1, 1, 1};
    assert_int_equal(ferry_copy_from_host(buffer, zeros, PIECE, 0), FERRY_OK);
    const struct ferry_external work = begin_work(FERRY_ACCESS_READ | FERRY_ACCESS_WRITE, 0, 0);
    end_work(&work); /* its event is not reached yet */
    const uint64_t before = submissions();
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(ferry_copy_to_host_async(buffer, seen[i], PIECE, 0, NULL, NULL, NULL),
                         FERRY_OK);
    assert_int_equal(ferry_copy_from_host_async(buffer, ones, PIECE, 0, NULL, NULL, NULL),
                     FERRY_OK);
    /* Two submissions of downloads may be in flight: those that are parked end with them. */
    struct ferry_external reads[CROWD];
    assert_true(submissions() > before);
    signal_work(&work);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    for (size_t i = 0; i < CROWD; i++)
        assert_memory_equal(seen[i], zeros, PIECE);
    /* Works of the user that read, all ended and none done, and a write behind them. */
    for (size_t i = 0; i < CROWD; i++) {
        reads[i] = begin_work(FERRY_ACCESS_READ, 0, 0);
        end_work(&reads[i]);
    }
    const uint64_t between = submissions();
    ferry_ticket ticket;
    assert_int_equal(ferry_copy_from_host_async(buffer, zeros, PIECE, 0, NULL, NULL, &ticket),
                     FERRY_OK);
    assert_int_equal(submissions(), between + 1);
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(ferry_poll(device, ticket), FERRY_PENDING);
        signal_work(&reads[i]);
    }
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(buffer, back, PIECE, 0), FERRY_OK);
    assert_memory_equal(back, zeros, PIECE);
}

/* On one queue what follows a crowd is in its submission, as if it followed one operation. */
static void one_submission_behind_a_crowd(void **state)
{
    (void)state;
    unsigned char seen[CROWD][PIECE];
    static const unsigned char zeros[PIECE], ones[PIECE] = {1, 1, 1, 1};
    assert_int_equal(ferry_copy_from_host(buffer, zeros, PIECE, 0), FERRY_OK);
    const struct ferry_external work = begin_work(FERRY_ACCESS_READ | FERRY_ACCESS_WRITE, 0, 0);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(ferry_copy_to_host_async(buffer, seen[i], PIECE, 0, NULL, NULL, NULL),
                         FERRY_OK);
    assert_int_equal(ferry_copy_from_host_async(buffer, ones, PIECE, 0, NULL, NULL, NULL),
                     FERRY_OK);
    const uint64_t before = submissions();
    signal_work(&work);
    end_work(&work);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(submissions(), before + 1);
    for (size_t i = 0; i < CROWD; i++)
        assert_memory_equal(seen[i], zeros, PIECE);
    assert_int_equal(ferry_copy_to_host(buffer, seen[0], PIECE, 0), FERRY_OK);
    assert_memory_equal(seen[0], ones, PIECE);
}

/* A buffer goes while a join of its readers is being told. */
static void a_buffer_goes_with_its_crowd(void **state)
{
    (void)state;
    unsigned char seen[CROWD];
    ferry_buffer *other;
    for (size_t round = 0; round < 50; round++) {
        assert_int_equal(
            ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &other),
            FERRY_OK);
        for (size_t i = 0; i < CROWD; i++)
            assert_int_equal(ferry_copy_to_host_async(other, &seen[i], 1, 0, NULL, NULL, NULL),
                             FERRY_OK);
        assert_int_equal(ferry_copy_from_host_async(other, "", 1, 0, NULL, NULL, NULL), FERRY_OK);
        ferry_buffer_destroy(other);
    }
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
}

/* --- one of a crowd's waits cannot be noted ---------------------------------------------------- */

static bool is_recorded(ferry_ticket ticket)
{
    const struct ferry__op *op = ferry__ticket_find(device, ticket);
    return !op || op->state >= FERRY__STATE_RECORDED;
}

/* Two downloads behind a crowd of works are in submissions, or have failed: how many waits has the
 * submission that has the fewest? */
static size_t fewest_waits(const ferry_ticket tickets[2])
{
    size_t fewest = SIZE_MAX;
    bool recorded = false;
    while (!recorded) {
        sched_yield();
        pthread_mutex_lock(&device->lock);
        recorded = is_recorded(tickets[0]) && is_recorded(tickets[1]);
        for (unsigned q = 0; q < device->gpu.limits.queue_count; q++) {
            const struct ferry__submission *sub = ferry__flying_first(&device->queues[q]);
            recorded = recorded && !device->queues[q].building;
            if (sub && sub->wait_count < fewest)
                fewest = sub->wait_count;
        }
        pthread_mutex_unlock(&device->lock);
    }
    return fewest;
}

/* With the n-th allocation failing. False: there were not so many. */
static bool waits_for_all_or_fails(uint64_t n)
{
    struct ferry_external works[CROWD + 1];
    unsigned char *back = malloc((size_t)2 * SIZE);
    ferry_ticket tickets[2];
    assert_non_null(back);
    assert_int_equal(open_host_buffer("no_map,events,queues=3", &queues, SIZE), 0);
    for (size_t i = 0; i <= CROWD; i++)
        works[i] = begin_work(FERRY_ACCESS_READ | FERRY_ACCESS_WRITE, i * PIECE, PIECE);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            ferry_copy_to_host_async(buffer, back + i * SIZE, SIZE, 0, NULL, NULL, &tickets[i]),
            FERRY_OK);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(ferry_external_end(device, works[i].ticket, FERRY_OK), FERRY_OK);
    ferry__alloc_fail_at(n);
    assert_int_equal(ferry_external_end(device, works[CROWD].ticket, FERRY_OK), FERRY_OK);
    const size_t fewest = fewest_waits(tickets);
    const bool failed = ferry__alloc_fail_at(0) >= n;
    for (size_t i = 0; i <= CROWD; i++)
        ferry__host_event_signal(works[i].signal.event, works[i].signal.value);
    (void)!ferry_wait_idle(device);
    assert_true(fewest > CROWD);
    (void)close_host_buffer(NULL);
    free(back);
    return failed;
}

/* Of two that follow the crowd in one submission the first fails for want of memory, when a part of
 * its waits is noted: the second waits for all of it nevertheless. */
static void each_waits_for_all_of_a_crowd(void **state)
{
    (void)state;
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    for (uint64_t n = 1; waits_for_all_or_fails(n); n++)
        ;
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_readers_then_part_writers, set_up, close_host_buffer),
        cmocka_unit_test_setup_teardown(part_writers_then_many_readers, set_up, close_host_buffer),
        cmocka_unit_test_setup_teardown(crowds_in_turn, set_up, close_host_buffer),
        cmocka_unit_test_setup_teardown(no_host_step_behind_a_crowd, set_up, close_host_buffer),
        cmocka_unit_test_setup_teardown(one_submission_behind_a_crowd, set_up_one_queue,
                                        close_host_buffer),
        cmocka_unit_test_setup_teardown(a_buffer_goes_with_its_crowd, set_up, close_host_buffer),
        cmocka_unit_test(each_waits_for_all_of_a_crowd),
    };
    return cmocka_run_group_tests_name("joins", tests, NULL, NULL);
}
