/*
 * Many ranges of one buffer take one place in its order, and no byte more than they have: lists that
 * interleave in one arena have no order between them, and what waits for neither returns while
 * another's work is held. Places and edges are counted, not time.
 */
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "hang.h"
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 1000, BLOCK = 64, SIZE = 2 * N * BLOCK };

static ferry_device *device;
static ferry_buffer *arena;
static unsigned char bytes[SIZE], back[SIZE];

static int set_up(void **state)
{
    (void)state;
    setenv("FERRY_HOST", "no_map,queues=3", 1);
    const struct ferry_device_params params = {.name = "host", .queues = 3};
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 13 + i / 256);
    alarm(HANG_SECONDS);
    return ferry_device_open(&params, &device) ||
           ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &arena) ||
           ferry_zero_buffer(arena);
}

static int tear_down(void **state)
{
    (void)state;
    ferry_buffer_destroy(arena);
    ferry_device_close(device);
    alarm(0);
    unsetenv("FERRY_HOST");
    return 0;
}

/* The i-th even or odd block, in no order of their own. */
static size_t block(size_t i, bool odd)
{
    return (i * 389 % N * 2 + odd) * BLOCK;
}

static ferry_ticket hold(bool odd, size_t size)
{
    static struct ferry_use uses[N];
    struct ferry_external work;
    for (size_t i = 0; i < N; i++)
        uses[i] = (struct ferry_use){arena, FERRY_ACCESS_WRITE, block(i, odd), size};
    assert_int_equal(ferry_external_begin(device, uses, N, &work), FERRY_OK);
    return work.ticket;
}

static ferry_batch *batch_of(bool odd, size_t size, bool upload)
{
    ferry_batch *batch;
    assert_int_equal(ferry_batch_create(device, &batch), FERRY_OK);
    for (size_t i = 0; i < N; i++) {
        const size_t at = block(i, odd);
        assert_int_equal(upload ? ferry_batch_copy_from_host(batch, arena, bytes + at, size, at)
                                : ferry_batch_copy_to_host(batch, arena, back + at, size, at),
                         FERRY_OK);
    }
    return batch;
}

static ferry_ticket submit(ferry_batch *batch)
{
    ferry_ticket ticket;
    assert_int_equal(ferry_batch_submit(batch, NULL, NULL, &ticket), FERRY_OK);
    ferry_batch_destroy(batch);
    return ticket;
}

static unsigned places(ferry_ticket ticket, unsigned *edges)
{
    unsigned count = 0;
    pthread_mutex_lock(&device->lock);
    for (struct ferry__node *node = device->living.first; node; node = ferry__tree_next(node))
        if (ferry__living(node)->ticket == ticket) {
            count = ferry__op_range_count(ferry__living(node));
            *edges = ferry__op_edge_count(ferry__living(node));
        }
    pthread_mutex_unlock(&device->lock);
    return count;
}

static void lists_interleave(void **state)
{
    (void)state;
    unsigned edges = 0;
    const ferry_ticket held = hold(false, BLOCK);
    assert_int_equal(places(held, &edges), 1);
    /* The other blocks are nobody's: written, read and waited for while the work is held. */
    assert_int_equal(ferry_wait(device, submit(batch_of(true, BLOCK, true)), FERRY_FOREVER),
                     FERRY_OK);
    assert_int_equal(ferry_wait(device, submit(batch_of(true, BLOCK, false)), FERRY_FOREVER),
                     FERRY_OK);
    for (size_t i = 0; i < N; i++) {
        assert_memory_equal(back + block(i, true), bytes + block(i, true), BLOCK);
        assert_int_equal(ferry_copy_to_host(arena, back, BLOCK, block(i, true)), FERRY_OK);
    }
    /* The first and the last byte of a block that is held are not. */
    const size_t ends[] = {block(0, false), block(7, false) + BLOCK - 1, block(N - 1, false)};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        ferry_ticket ticket;
        assert_int_equal(ferry_copy_to_host_async(arena, back + i, 1, ends[i], NULL, NULL, &ticket),
                         FERRY_OK);
        assert_int_equal(places(ticket, &edges), 1);
        assert_int_equal(edges, 1);
        assert_int_equal(ferry_poll(device, ticket), FERRY_PENDING);
    }
    const ferry_ticket behind = submit(batch_of(false, BLOCK, true));
    assert_int_equal(places(behind, &edges), 1);
    assert_true(edges >= 1 && edges <= 4); /* the work, and those three readers */
    assert_int_equal(ferry_external_end(device, held, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_wait(device, behind, FERRY_FOREVER), FERRY_OK);
    assert_int_equal(back[0] | back[1] | back[2], 0); /* they saw what was before it */
    assert_int_equal(ferry_copy_to_host(arena, back, SIZE, 0), FERRY_OK);
    assert_memory_equal(back, bytes, SIZE);
}

/* Blocks that touch are one range; those with a gap of one byte leave it free. */
static void gaps_are_nobodys(void **state)
{
    (void)state;
    unsigned edges = 0;
    ferry_ticket held = hold(false, 2 * BLOCK);
    assert_int_equal(places(held, &edges), 1);
    assert_int_equal(ferry_external_end(device, held, FERRY_OK), FERRY_OK);
    held = hold(false, 2 * BLOCK - 1);
    for (size_t i = 0; i < N; i += 97)
        assert_int_equal(ferry_copy_from_host(arena, bytes, 1, block(i, false) + 2 * BLOCK - 1),
                         FERRY_OK);
    assert_int_equal(ferry_external_end(device, held, FERRY_OK), FERRY_OK);
    /* Few enough to be ranges of their own. */
    struct ferry_use uses[3];
    struct ferry_external work;
    for (size_t i = 0; i < 3; i++)
        uses[i] = (struct ferry_use){arena, FERRY_ACCESS_WRITE, (2 - i) * BLOCK, BLOCK - 1};
    assert_int_equal(ferry_external_begin(device, uses, 3, &work), FERRY_OK);
    assert_int_equal(places(work.ticket, &edges), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(ferry_copy_from_host(arena, bytes, 1, (i + 1) * BLOCK - 1), FERRY_OK);
    assert_int_equal(ferry_external_end(device, work.ticket, FERRY_OK), FERRY_OK);
}

/* The same list again and again: each follows the one before it, and not all of them. */
static void the_latest_covers_the_others(void **state)
{
    (void)state;
    enum { TIMES = 100 };
    unsigned edges = 0;
    ferry_ticket last = 0;
    const ferry_ticket held = hold(false, BLOCK);
    for (size_t i = 0; i < TIMES; i++) {
        last = submit(batch_of(false, BLOCK, true));
        assert_int_equal(places(last, &edges), 1);
        assert_int_equal(edges, 1);
    }
    /* Many readers of the list, then writers of its blocks: a join between them. */
    for (size_t i = 0; i < TIMES; i++)
        (void)submit(batch_of(false, BLOCK, false));
    for (size_t i = 0; i < TIMES; i++) {
        assert_int_equal(ferry_copy_from_host_async(arena, bytes + block(i, false), BLOCK,
                                                    block(i, false), NULL, NULL, &last),
                         FERRY_OK);
        (void)places(last, &edges);
        assert_int_equal(edges, 2); /* the last writer, and the join */
    }
    assert_int_equal(ferry_external_end(device, held, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(arena, back, BLOCK, block(5, false)), FERRY_OK);
    assert_memory_equal(back, bytes + block(5, false), BLOCK);
}

/* Many buffers, few ranges of each, and many of one. */
static void many_buffers_at_once(void **state)
{
    (void)state;
    enum { BUFFERS = 100, EACH = 3 };
    static ferry_buffer *buffers[BUFFERS];
    ferry_batch *batch = batch_of(true, BLOCK, true);
    unsigned edges = 0;
    for (size_t b = 0; b < BUFFERS; b++)
        assert_int_equal(
            ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 1024}, &buffers[b]),
            FERRY_OK);
    for (size_t i = 0; i < EACH; i++)
        for (size_t b = 0; b < BUFFERS; b++) {
            assert_int_equal(ferry_batch_copy_from_host(batch, buffers[b], bytes, 8, 16 * i),
                             FERRY_OK);
            assert_int_equal(ferry_batch_copy_to_host(batch, buffers[b], back + b, 1, 16 * i),
                             FERRY_OK);
        }
    const struct ferry_use use = {buffers[BUFFERS / 2], FERRY_ACCESS_WRITE, 0, 0};
    struct ferry_external work;
    assert_int_equal(ferry_external_begin(device, &use, 1, &work), FERRY_OK);
    const ferry_ticket ticket = submit(batch);
    assert_int_equal(places(ticket, &edges), 1 + 2 * EACH * BUFFERS);
    assert_int_equal(edges, 1);
    assert_int_equal(ferry_external_end(device, work.ticket, FERRY_OK), FERRY_OK);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
    for (size_t b = 0; b < BUFFERS; b++) {
        assert_int_equal(back[b], bytes[0]);
        ferry_buffer_destroy(buffers[b]);
    }
}

/* Each allocation fails in turn: the call or the ticket says so, and what is done then is whole. */
static void without_memory(void **state)
{
    (void)state;
    const ferry_ticket held = hold(true, BLOCK);
    uint64_t n = 0;
    for (bool done = false; !done;) {
        ferry_batch *batch = batch_of(false, BLOCK, true);
        ferry_ticket ticket = 0;
        ferry__alloc_fail_at(++n);
        enum ferry_status status = ferry_batch_submit(batch, NULL, NULL, &ticket);
        if (!status)
            status = ferry_wait(device, ticket, FERRY_FOREVER);
        done = ferry__alloc_fail_at(0) < n;
        assert_int_equal(status, done ? FERRY_OK : status);
        assert_true(!status || status == FERRY_ERROR_OUT_OF_HOST_MEMORY);
        ferry_batch_destroy(batch);
    }
    assert_true(n > 5);
    assert_int_equal(ferry_external_end(device, held, FERRY_OK), FERRY_OK);
    for (size_t i = 0; i < N; i += 31) {
        assert_int_equal(ferry_copy_to_host(arena, back, BLOCK, block(i, false)), FERRY_OK);
        assert_memory_equal(back, bytes + block(i, false), BLOCK);
    }
}

/* A million blocks in one call, in no order, up and down again. */
static void a_million_blocks(void **state)
{
    (void)state;
    enum { MILLION = 1000000, EACH = 8 };
    const size_t size = (size_t)2 * MILLION * EACH;
    unsigned char *up = malloc(size), *down = calloc(1, size);
    struct ferry_block *blocks = malloc(MILLION * sizeof *blocks);
    ferry_buffer *buffer;
    assert_true(up && down && blocks);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = size}, &buffer),
        FERRY_OK);
    for (size_t i = 0; i < size; i++)
        up[i] = (unsigned char)(i * 7 + i / 251);
    for (size_t i = 0; i < MILLION; i++) /* 7919 has no divisor in common with a million */
        blocks[i] = (struct ferry_block){i * 7919 % MILLION * 2 * EACH, i * 2 * EACH, 1 + i % EACH};
    assert_int_equal(ferry_copy_blocks_from_host(buffer, up, blocks, MILLION), FERRY_OK);
    for (size_t i = 0; i < MILLION; i++)
        blocks[i] =
            (struct ferry_block){blocks[i].src_offset, blocks[i].dst_offset, blocks[i].size};
    assert_int_equal(ferry_copy_blocks_to_host(buffer, down, blocks, MILLION), FERRY_OK);
    for (size_t i = 0; i < MILLION; i++) {
        const size_t at = blocks[i].dst_offset, end = at + blocks[i].size;
        assert_memory_equal(down + at, up + at, blocks[i].size);
        for (size_t k = end; k < at + 2 * EACH; k++)
            assert_int_equal(down[k], 0);
    }
    ferry_buffer_destroy(buffer);
    free(blocks);
    free(up);
    free(down);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_interleave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gaps_are_nobodys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_latest_covers_the_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_buffers_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_million_blocks, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("lists", tests, NULL, NULL);
}
