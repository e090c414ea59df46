/* Host memory that is short while an operation of many ranges is registered: it is refused, or
 * registered with all that it touches and nothing else. */
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/order.h"

#include <ferry/ferry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), FERRY_OK)

enum { RANGES = 40, STRIDE = 64, PART = 24, BUFFERS = 3 };

struct world {
    ferry_device *device;
    ferry_buffer *buffers[BUFFERS];
    struct ferry_external work;
};

/* Work that holds all buffers' first byte, so that what touches it stays where it is. */
static void open_world(struct world *world)
{
    struct ferry_use uses[BUFFERS];
    OK(ferry_device_open(
        &(struct ferry_device_params){.name = "host", .map_private = FERRY_MAP_NEVER},
        &world->device));
    for (unsigned i = 0; i < BUFFERS; i++) {
        const struct ferry_buffer_params params = {.size = (size_t)RANGES * STRIDE, .zeroed = true};
        OK(ferry_buffer_create(world->device, &params, &world->buffers[i]));
        uses[i] = (struct ferry_use){
            .buffer = world->buffers[i], .access = FERRY_ACCESS_WRITE, .size = 1};
    }
    OK(ferry_wait_idle(world->device));
    OK(ferry_external_begin(world->device, uses, BUFFERS, &world->work));
}

static void close_world(struct world *world)
{
    OK(ferry_external_end(world->device, world->work.ticket, FERRY_OK));
    OK(ferry_wait_idle(world->device));
    for (unsigned i = 0; i < BUFFERS; i++)
        ferry_buffer_destroy(world->buffers[i]);
    ferry_device_close(world->device);
}

static bool is_busy(const struct world *world, unsigned which, bool write, size_t at, size_t size)
{
    ferry__device_lock(world->device);
    const bool busy = ferry__order_busy(&world->buffers[which]->order, write, at, at + size);
    ferry__device_unlock(world->device);
    return busy;
}

/* Of each buffer this part of every stride is written, or read: writes are busy to readers too. */
static void expect_registered(const struct world *world, const bool *writes)
{
    for (unsigned which = 0; which < BUFFERS; which++)
        for (size_t i = 0; i < RANGES; i++) {
            const size_t at = i * STRIDE;
            assert_true(is_busy(world, which, true, at, 1));
            assert_true(is_busy(world, which, true, at + PART - 1, 1));
            assert_int_equal(is_busy(world, which, false, at + 1, PART - 1), writes[which]);
            assert_false(is_busy(world, which, true, at + PART, STRIDE - PART));
        }
}

/* Turn by turn, so that each buffer's ranges lie among the others'. */
static enum ferry_status submit_batch(const struct world *world, const unsigned char *host)
{
    ferry_batch *batch = NULL;
    enum ferry_status status = ferry_batch_create(world->device, &batch);
    for (size_t i = 0; i < RANGES && !status; i++) {
        const size_t at = (i * 7) % RANGES * STRIDE;
        status = ferry_batch_copy_buffer(batch, world->buffers[0], world->buffers[1], PART, at, at);
        if (!status)
            status = ferry_batch_copy_from_host(batch, world->buffers[2], host, PART, at);
    }
    if (!status)
        status = ferry_batch_submit(batch, NULL, NULL, NULL);
    ferry_batch_destroy(batch);
    return status;
}

/* Ascending, and not. */
static enum ferry_status submit_list(const struct world *world, bool ascending)
{
    struct ferry_block list[RANGES];
    for (size_t i = 0; i < RANGES; i++) {
        const size_t at = (ascending ? i : i * 7 % RANGES) * STRIDE;
        list[i] = (struct ferry_block){.dst_offset = at, .src_offset = at, .size = PART};
    }
    const enum ferry_status status = ferry_copy_blocks_async(world->buffers[0], world->buffers[1],
                                                             list, RANGES, NULL, NULL, NULL);
    return status ? status
                  : ferry_copy_blocks_async(world->buffers[2], world->buffers[1], list, RANGES,
                                            NULL, NULL, NULL);
}

/* Fails the n-th allocation, from the first on until none is left that fails. */
static void each_allocation(enum ferry_status (*submit)(const struct world *world))
{
    static const bool writes[BUFFERS] = {true, false, true};
    uint64_t refused = 0;
    bool reached = true;
    for (uint64_t n = 1; reached; n++) {
        struct world world;
        open_world(&world);
        ferry__alloc_fail_at(n);
        const enum ferry_status status = submit(&world);
        reached = ferry__alloc_fail_at(0) >= n;
        refused += status != FERRY_OK;
        if (status)
            assert_int_equal(status, FERRY_ERROR_OUT_OF_HOST_MEMORY);
        else
            expect_registered(&world, writes);
        close_world(&world);
    }
    assert_true(refused > 2);
}

static enum ferry_status as_batch(const struct world *world)
{
    static const unsigned char host[PART];
    return submit_batch(world, host);
}

static enum ferry_status as_list(const struct world *world)
{
    return submit_list(world, true);
}

static enum ferry_status as_list_at_random(const struct world *world)
{
    return submit_list(world, false);
}

static void batches(void **state)
{
    (void)state;
    each_allocation(as_batch);
}

static void lists(void **state)
{
    (void)state;
    each_allocation(as_list);
    each_allocation(as_list_at_random);
}

int main(void)
{
    setenv("FERRY_THRESHOLDS", "default", 1);
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    const struct CMUnitTest tests[] = {cmocka_unit_test(batches), cmocka_unit_test(lists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
