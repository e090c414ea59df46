/* A copy between two devices: what it is made of, and how both halves take their places. */
#include "paths/bridge.h"

#include "base/alloc.h"
#include "base/range.h"
#include "base/sharing.h"
#include "base/status.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "engine/reason.h"
#include "engine/waiter.h"
#include "paths/bridge_memory.h"
#include "paths/choose.h"
#include "paths/plan.h"
#include "paths/record.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

static struct ferry__op *make_half(struct ferry__bridge *bridge,
                                   const struct ferry__transfer *transfer, enum ferry__op_kind kind)
{
    const bool read = kind == FERRY__OP_BRIDGE_READ;
    struct ferry__op *op =
        ferry__op_create(read ? bridge->source : bridge->destination,
                         read ? &ferry__bridge_read_type : &ferry__bridge_write_type, 1);
    if (!op)
        return NULL;
    op->one = (struct ferry__transfer){.operation = FERRY_OPERATION_COPY,
                                       .path = bridge->peer ? FERRY_PATH_PEER : FERRY_PATH_BRIDGED,
                                       .size = transfer->size};
    if (read) {
        op->one.src = transfer->src;
        op->one.src_offset = transfer->src_offset;
    } else {
        op->one.dst = transfer->dst;
        op->one.dst_offset = transfer->dst_offset;
    }
    op->one.by_words = read ? ferry__by_words(bridge->source) : bridge->by_words;
    op->one.with = transfer->with;
    op->one.blocks = ferry__blocks_of(transfer);
    if (op->one.blocks && !ferry__blocks_keep(&op->one, true)) {
        ferry__op_unref(op);
        return NULL;
    }
    ferry__buffer_ref(read ? transfer->src : transfer->dst);
    op->count = 1;
    op->has_waiter = read; /* its failure is told by the other half */
    op->bridge = bridge;
    atomic_fetch_add(&bridge->refs, 1);
    if (!ferry__footprint_transfers(op))
        return op;
    ferry__op_unref(op);
    return NULL;
}

/* Memory of the library's own, on two devices of one driver that copy any bytes, and reach each
 * other. What others have made or have too need not be reached from elsewhere. */
static bool are_peers(const struct ferry__transfer *transfer)
{
    const struct ferry__gpu *source = &transfer->src->device->gpu;
    const struct ferry__gpu *destination = &transfer->dst->device->gpu;
    const struct ferry__block *block = transfer->src->place.block;
    const struct ferry__sharing *sharing = destination->driver->sharing;
    return sharing && sharing->reaches && source->driver == destination->driver && block &&
           !block->shared && transfer->src->storage == FERRY_STORAGE_PRIVATE &&
           source->limits.copy_alignment == 1 && destination->limits.copy_alignment == 1 &&
           sharing->reaches(destination->state, source->state);
}

static struct ferry__bridge *make_bridge(const struct ferry__transfer *transfer)
{
    struct ferry__bridge *bridge = ferry__alloc(sizeof *bridge);
    if (!bridge) {
        (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *bridge);
        return NULL;
    }
    atomic_init(&bridge->refs, 1);
    pthread_mutex_init(&bridge->lock, NULL);
    bridge->source = transfer->src->device;
    bridge->destination = transfer->dst->device;
    ferry__device_ref(bridge->source);
    ferry__device_ref(bridge->destination);
    const bool whole = transfer->with == FERRY__WITH_BLOCKS;
    bridge->src = transfer->src->offset + (whole ? 0 : transfer->src_offset);
    bridge->dst = transfer->dst->offset + (whole ? 0 : transfer->dst_offset);
    bridge->size = transfer->size;
    struct ferry__gpu *gpu = &bridge->destination->gpu;
    const size_t parts = ferry__transfer_parts(transfer);
    bridge->by_words = ferry__by_words(bridge->destination);
    for (size_t i = 0; i < parts && bridge->by_words && !bridge->merges; i++) {
        const struct ferry_block part = ferry__transfer_part(transfer, i);
        const uint64_t dst = transfer->dst->offset + part.dst_offset;
        struct ferry__span spans[3];
        bridge->merges = part.size && !ferry__plan_copy_spans(&gpu->limits_no_kernel, dst, dst,
                                                              part.size, spans);
    }
    if (bridge->merges && ferry__kernels_needed(gpu, false))
        bridge->merges = bridge->by_words = false;
    if (are_peers(transfer)) {
        bridge->peer = true;
        bridge->foreign = *transfer->src->memory;
        bridge->foreign.no_kernel = true; /* of the destination's device */
    }
    ferry__bridge_measure(bridge);
    return bridge;
}

/* Registers both halves in one step. */
static enum ferry_status enter(struct ferry__bridge *bridge, ferry_ticket *out_ticket)
{
    struct ferry__op *read = bridge->read, *write = bridge->write;
    ferry__choose_queue(read);
    ferry__choose_queue(write);
    ferry__bridge_lock_in_turn(bridge);
    enum ferry_status status = FERRY_OK;
    if (!write->has_waiter) {
        status = ferry__may_park(bridge->source, ferry__park_count(read));
        if (!status)
            status = ferry__may_park(bridge->destination, ferry__park_count(write));
    }
    if (!status)
        status = ferry__enqueue(read);
    if (!status) {
        bridge->held = true;
        bridge->source->bridges++;
        bridge->destination->bridges++;
        ferry__op_ref(read);
        ferry__op_ref(write);
        write->deps_undone++; /* it is judged after the other */
        status = ferry__enqueue(write);
        if (status) { /* the source's half ends at once */
            ferry__bridge_fail(bridge, status, "the other half could not be made");
            atomic_store(&bridge->alone, true);
            write->bridge = NULL;
            atomic_fetch_sub(&bridge->refs, 1);
        }
    }
    if (!status && !write->has_waiter) {
        ferry__park(read, ferry__park_count(read));
        ferry__park(write, ferry__park_count(write));
    }
    if (!status && out_ticket)
        *out_ticket = write->ticket;
    ferry__kick(bridge->source);
    ferry__kick(bridge->destination);
    ferry__bridge_unlock_both(bridge);
    return status;
}

static enum ferry_status wait_for(struct ferry__op *write)
{
    struct ferry_device *device = write->device;
    ferry__device_lock(device);
    (void)ferry__wait_until(device, ferry__op_is_done, write, FERRY_FOREVER);
    const enum ferry_status status = write->status;
    if (status)
        ferry__set_error(ferry__reason_text(ferry__op_why(write)));
    ferry__device_unlock(device);
    return status;
}

enum ferry_status ferry__bridge_submit(struct ferry__transfer *transfer, bool waiting,
                                       ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    enum ferry_status status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    struct ferry__bridge *bridge = make_bridge(transfer);
    struct ferry__op *read = NULL, *write = NULL;
    if (!bridge)
        return status;
    if (bridge->merges && (status = ferry__note_rmw(bridge->destination, transfer->size)))
        goto release;
    status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (!(read = make_half(bridge, transfer, FERRY__OP_BRIDGE_READ)) ||
        !(write = make_half(bridge, transfer, FERRY__OP_BRIDGE_WRITE)))
        goto release;
    bridge->read = read;
    bridge->write = write;
    write->has_waiter = waiting;
    write->keep = out_ticket != NULL;
    if ((status = ferry__engine_start(bridge->source)) ||
        (status = ferry__engine_start(bridge->destination)) ||
        (status = ferry__op_set_call(write, cb, user)))
        goto release;
    status = enter(bridge, out_ticket);
    if (!status && waiting)
        status = wait_for(write);
release:
    if (write)
        ferry__op_unref(write);
    if (read)
        ferry__op_unref(read);
    ferry__bridge_unref(bridge);
    return status;
}
