#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "engine/ticket.h"
#include "engine/waiter.h"
#include "memory/pool.h"
#include "memory/staging.h"
#include "paths/bridge.h"
#include "paths/stream.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <string.h>

/* What is asked of an open device. */

/* --- asking ----------------------------------------------------------------------------------- */

void ferry_device_get_info(const ferry_device *device, struct ferry_device_info *out_info)
{
    if (device && out_info)
        *out_info = device->gpu.info;
}

enum ferry_status ferry_device_get_memory(ferry_device *device, struct ferry_memory_info *out_info)
{
    if (!device || !out_info)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_device_get_memory: %s is NULL",
                           device ? "out_info" : "device");
    const enum ferry_status status = ferry__device_dead(device, "ferry_device_get_memory");
    if (status)
        return status;
    ferry__lock_as(&device->gpu.pool.lock, FERRY__LOCK_POOL);
    const uint64_t allocated = device->gpu.pool.allocated, total = device->gpu.info.total_memory;
    ferry__unlock(&device->gpu.pool.lock);
    uint64_t available = allocated < total ? total - allocated : 0;
    if (device->gpu.driver->memory_available)
        available = device->gpu.driver->memory_available(device->gpu.state);
    struct ferry__metrics *metrics = &device->gpu.metrics;
    pthread_mutex_lock(&metrics->lock);
    *out_info = (struct ferry_memory_info){
        .total = total,
        .available = available,
        .in_use = FERRY__READ(metrics, memory_in_use_bytes),
        .pooled = FERRY__READ(metrics, memory_pooled_bytes),
        .peak = FERRY__READ(metrics, memory_peak_bytes),
        .total_allocated = FERRY__READ(metrics, memory_allocated_bytes),
        .total_freed = FERRY__READ(metrics, memory_freed_bytes),
        .allocation_count = FERRY__READ(metrics, allocations),
        .deallocation_count = FERRY__READ(metrics, deallocations),
    };
    pthread_mutex_unlock(&metrics->lock);
    return FERRY_OK;
}

/* Does op wait for what the user holds? That is external work, and, of a bridge, what the other
 * device may wait for; and what registers just now, whose call is not over. All before it were
 * asked already. */
static bool is_held_up(const struct ferry__op *op)
{
    if (op->type->kind == FERRY__OP_EXTERNAL || ferry__op_is_half(op) || op->registers)
        return true;
    for (size_t i = 0; i < ferry__op_edge_count(op); i++) {
        const struct ferry__op *from = ferry__op_from(op, i);
        if (!atomic_load(&from->done) && from->held_up)
            return true;
    }
    return false;
}

struct trim_question {
    struct ferry_device *device;
    ferry_ticket last;  /* later ones do not count */
    ferry_ticket until; /* of those that will end, the last; 0: there is none */
};

/* The last that will end without the user; 0: there is none. The lock is given up on the way: who
 * leaves the list meanwhile moves the place in it on. */
static ferry_ticket last_to_end(const struct trim_question *question)
{
    struct ferry_device *device = question->device;
    struct ferry__walk walk = {ferry__living(device->living.first), device->walks};
    ferry_ticket last = 0;
    device->walks = &walk;
    for (size_t i = 0; walk.next && walk.next->ticket <= question->last; i++) {
        struct ferry__op *op = walk.next;
        walk.next = ferry__living(ferry__tree_next(&op->living));
        op->held_up = is_held_up(op);
        if (!op->held_up)
            last = op->ticket;
        ferry__breathe_each(device, i, FERRY__RANGES_AT_ONCE);
    }
    struct ferry__walk **link = &device->walks;
    while (*link != &walk)
        link = &(*link)->outer;
    *link = walk.outer;
    return last;
}

static bool is_over(void *arg)
{
    const struct trim_question *question = arg;
    const struct ferry_device *device = question->device;
    const struct ferry__op *op = NULL;
    if (!question->until)
        return !device->dead_ops.first && !device->reaping;
    op = ferry__ticket_find(device, question->until);
    return !op || atomic_load(&op->done);
}

/* Looks through all only when the last of them is done, for most are then. */
static void await_ends(struct trim_question *question)
{
    do {
        question->until = last_to_end(question);
        (void)ferry__wait_until(question->device, is_over, question, FERRY_FOREVER);
    } while (question->until);
}

enum ferry_status ferry_device_trim(ferry_device *device)
{
    enum ferry_status status = ferry__in_callback("ferry_device_trim");
    if (status)
        return status;
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_device_trim: device is NULL");
    if ((status = ferry__device_dead(device, "ferry_device_trim")))
        return status;
    ferry__device_lock(device);
    struct trim_question question = {device, device->last_ticket, 0};
    await_ends(&question);
    ferry__device_unlock(device);
    (void)ferry__memory_trim(&device->gpu);
    ferry__staging_trim(&device->gpu, &device->gpu.upload);
    ferry__staging_trim(&device->gpu, &device->gpu.readback);
    ferry__slots_trim(device);
    ferry__bridge_trim(device);
    ferry__memory_settle(&device->gpu);
    return FERRY_OK;
}

void ferry_device_get_stats(ferry_device *device, struct ferry_stats *out_stats, size_t size)
{
    if (!device || !out_stats)
        return;
    if (atomic_load(&device->dead) == FERRY__FORKED)
        memset(out_stats, 0, size);
    else
        ferry__metrics_read(&device->gpu.metrics, out_stats, size);
}

void ferry_device_reset_stats(ferry_device *device)
{
    if (device && atomic_load(&device->dead) != FERRY__FORKED)
        ferry__metrics_reset(&device->gpu.metrics);
}
