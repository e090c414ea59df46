#include "api/transfer.h"
#include "base/alloc.h"
#include "base/compiler.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "engine/ticket.h"
#include "memory/host_memory.h"
#include "paths/blocks.h"
#include "paths/choose.h"
#include "paths/direct.h"
#include "paths/landing.h"
#include "paths/record.h"
#include "paths/stream.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <string.h>

/* References to a buffer taken ahead, for operations that are to come: one atomic step for many. */
struct purse {
    ferry_buffer *buffer;
    unsigned left;
};

struct ferry_batch {
    struct ferry_device *device;
    struct ferry__transfer *transfers; /* with references to their buffers */
    size_t count, capacity;
    struct purse dst, src;
};

static enum ferry_status check_batch(const ferry_batch *batch, const char *what)
{
    if (batch)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: batch is NULL", what);
}

enum ferry_status ferry_batch_create(ferry_device *device, ferry_batch **out_batch)
{
    if (!device || !out_batch)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_batch_create: %s is NULL",
                           device ? "out_batch" : "device");
    const enum ferry_status status = ferry__device_dead(device, "ferry_batch_create");
    if (status)
        return status;
    struct ferry_batch *batch = ferry__alloc(sizeof *batch);
    if (!batch)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *batch);
    batch->device = device;
    ferry__device_ref(device);
    *out_batch = batch;
    return FERRY_OK;
}

const struct ferry__transfer *ferry__batch_last(const ferry_batch *batch)
{
    return batch && batch->count ? &batch->transfers[batch->count - 1] : NULL;
}

/* --- adding ----------------------------------------------------------------------------------- */

static void give_back(struct purse *purse)
{
    if (purse->left)
        ferry__buffer_unref_times(purse->buffer, purse->left);
    *purse = (struct purse){0};
}

static FERRY__COLD void fill(struct purse *purse, ferry_buffer *buffer)
{
    enum { AHEAD = 63 };
    const unsigned ahead = buffer == purse->buffer ? AHEAD : 0; /* not where buffers take turns */
    give_back(purse);
    ferry__buffer_ref_times(buffer, 1 + ahead);
    *purse = (struct purse){buffer, ahead};
}

static inline void take_ref(struct purse *purse, ferry_buffer *buffer)
{
    if (FERRY__LIKELY(buffer == purse->buffer && purse->left))
        purse->left--;
    else if (buffer)
        fill(purse, buffer);
}

/* Where the next transfer goes; NULL: there is no room, or no batch. */
static struct ferry__transfer *find_room(ferry_batch *batch, const char *what,
                                         enum ferry_status *out_status)
{
    if ((*out_status = check_batch(batch, what)))
        return NULL;
    if (FERRY__LIKELY(ferry__reserve((void **)&batch->transfers, &batch->capacity, batch->count,
                                     sizeof *batch->transfers)))
        return &batch->transfers[batch->count];
    *out_status = ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu operations",
                              batch->count + 1);
    return NULL;
}

static enum ferry_status check_owner(const ferry_batch *batch, const ferry_buffer *buffer)
{
    if (FERRY__LIKELY(!buffer || buffer->device == batch->device))
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s belongs to %s, the batch to %s",
                       ferry__label(buffer), buffer->device->gpu.info.name,
                       batch->device->gpu.info.name);
}

/* The transfer that was checked and written where there is room becomes the batch's. */
static enum ferry_status add(ferry_batch *batch)
{
    const struct ferry__transfer *transfer = &batch->transfers[batch->count];
    enum ferry_status status = check_owner(batch, transfer->dst);
    if (status || (status = check_owner(batch, transfer->src)))
        return status;
    take_ref(&batch->dst, transfer->dst);
    take_ref(&batch->src, transfer->src);
    if (transfer->with == FERRY__WITH_STREAM)
        ferry__side_ref(transfer->side);
    batch->count++;
    return FERRY_OK;
}

enum ferry_status ferry__batch_add(ferry_batch *batch, const char *what,
                                   const struct ferry__transfer *transfer)
{
    enum ferry_status status;
    struct ferry__transfer *room = find_room(batch, what, &status);
    if (!room)
        return status;
    *room = *transfer;
    return add(batch);
}

enum ferry_status ferry_batch_copy_from_host(ferry_batch *batch, ferry_buffer *dst, const void *src,
                                             size_t size, size_t dst_offset)
{
    enum ferry_status status;
    struct ferry__transfer *room = find_room(batch, "ferry_batch_copy_from_host", &status);
    if (room)
        status = ferry__transfer_upload(room, dst, src, size, dst_offset);
    return status ? status : add(batch);
}

enum ferry_status ferry_batch_copy_to_host(ferry_batch *batch, ferry_buffer *src, void *dst,
                                           size_t size, size_t src_offset)
{
    enum ferry_status status;
    struct ferry__transfer *room = find_room(batch, "ferry_batch_copy_to_host", &status);
    if (room)
        status = ferry__transfer_download(room, src, dst, size, src_offset);
    return status ? status : add(batch);
}

enum ferry_status ferry_batch_copy_buffer(ferry_batch *batch, ferry_buffer *dst, ferry_buffer *src,
                                          size_t size, size_t dst_offset, size_t src_offset)
{
    enum ferry_status status;
    struct ferry__transfer *room = find_room(batch, "ferry_batch_copy_buffer", &status);
    if (room)
        status = ferry__transfer_copy(room, dst, src, size, dst_offset, src_offset);
    return status ? status : add(batch);
}

enum ferry_status ferry_batch_fill_buffer(ferry_batch *batch, ferry_buffer *buffer, size_t size,
                                          size_t offset, const void *pattern, size_t pattern_size)
{
    enum ferry_status status;
    struct ferry__transfer *room = find_room(batch, "ferry_batch_fill_buffer", &status);
    if (room)
        status = ferry__transfer_fill(room, buffer, size, offset, pattern, pattern_size);
    return status ? status : add(batch);
}

enum ferry_status ferry_batch_zero_buffer(ferry_batch *batch, ferry_buffer *buffer)
{
    return ferry_batch_fill_buffer(batch, buffer, buffer ? buffer->size : 0, 0, "", 1);
}

/* --- the end of it ---------------------------------------------------------------------------- */

static void give_back_both(ferry_batch *batch)
{
    give_back(&batch->dst);
    give_back(&batch->src);
}

static void empty(ferry_batch *batch)
{
    ferry__transfers_finish(batch->device, batch->transfers, batch->count);
    batch->count = 0;
}

void ferry_batch_destroy(ferry_batch *batch)
{
    if (!batch)
        return;
    struct ferry_device *device = batch->device;
    if (atomic_load(&device->dead) != FERRY__FORKED) {
        give_back_both(batch);
        empty(batch);
        ferry__device_unref(device);
    }
    ferry__free(batch->transfers);
    ferry__free(batch);
}

/* How many blocks of lists that need no staging come behind each list. */
static void count_after(struct ferry__transfer *transfers, size_t count)
{
    uint64_t after = 0;
    for (size_t i = count; i-- > 0;) {
        struct ferry__blocks *blocks = transfers[i].blocks;
        if (transfers[i].way != FERRY__WAY_LIST || blocks->kinds >> FERRY__BLOCK_REGIONS_MAX)
            continue;
        blocks->after = after;
        after += blocks->count;
    }
}

/* Chooses the transfers' paths; on a failure gives their regions back. */
static enum ferry_status plan(ferry_batch *batch)
{
    enum ferry_status status = FERRY_OK;
    uint64_t blocks = 0;
    size_t i;
    for (i = 0; i < batch->count && !status; i++) {
        struct ferry__transfer *transfer = &batch->transfers[i];
        if (transfer->with == FERRY__WITH_BLOCKS) {
            transfer->blocks->before = blocks;
            blocks += transfer->blocks->count;
        }
        status = ferry__transfer_plan(batch->device, transfer);
    }
    if (!status)
        status = ferry__landings_plan(batch->device, batch->transfers, batch->count);
    if (!status) {
        count_after(batch->transfers, batch->count);
        return FERRY_OK;
    }
    while (i--)
        ferry__transfer_drop_region(batch->device, &batch->transfers[i]);
    return status;
}

/* The batch's transfers as an op, to which they belong then, and to the batch again if it fails. */
static enum ferry_status make_op(ferry_batch *batch, struct ferry__op **out_op)
{
    struct ferry_device *device = batch->device;
    batch->count = ferry__transfers_merge(device, batch->transfers, batch->count);
    struct ferry__op *op = ferry__op_create(device, &ferry__transfer_type, 1);
    if (!op)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    const enum ferry_status status = plan(batch);
    if (status) {
        ferry__op_unref(op);
        return status;
    }
    op->batch = true;
    op->many = batch->transfers;
    op->count = batch->count;
    *out_op = op;
    return FERRY_OK;
}

/* The transfers are the op's, or, if it has never taken its place, the batch's again. */
static void part_with(ferry_batch *batch, struct ferry__op *op, bool is_submitted)
{
    struct ferry_device *device = batch->device;
    if (is_submitted) {
        FERRY__ADD(&device->gpu.metrics, batches, 1);
        *batch = (struct ferry_batch){.device = device};
    } else {
        for (size_t i = 0; i < op->count; i++)
            ferry__transfer_drop_region(device, &ferry__op_transfers(op)[i]);
        op->many = NULL;
        op->count = 0;
    }
    ferry__op_unref(op);
}

static enum ferry_status start(ferry_batch *batch, const struct ferry__reply *reply)
{
    struct ferry_device *device = batch->device;
    struct ferry__op *op;
    enum ferry_status status;
    give_back_both(batch);
    if (ferry__direct_try_all(device, batch->transfers, batch->count, reply, &status)) {
        if (!status) {
            FERRY__ADD(&device->gpu.metrics, batches, 1);
            empty(batch);
        }
        return status;
    }
    if ((status = make_op(batch, &op)))
        return status;
    ferry__op_ref(op);
    bool is_submitted = false;
    if ((status = ferry__footprint_transfers(op)))
        ferry__op_unref(op);
    else if (reply->waiting)
        status = ferry__submit_and_wait(op, &is_submitted);
    else
        is_submitted =
            !(status = ferry__submit(op, reply->callback, reply->user, reply->out_ticket));
    part_with(batch, op, is_submitted);
    return status;
}

enum ferry_status ferry_batch_submit(ferry_batch *batch, ferry_callback cb, void *user,
                                     ferry_ticket *out_ticket)
{
    enum ferry_status status = check_batch(batch, "ferry_batch_submit");
    if (status || (status = ferry__device_dead(batch->device, "ferry_batch_submit")))
        return status;
    return start(batch, &(struct ferry__reply){false, cb, user, out_ticket});
}

enum ferry_status ferry_batch_run(ferry_batch *batch)
{
    enum ferry_status status = ferry__in_callback("ferry_batch_run");
    if (status || (status = check_batch(batch, "ferry_batch_run")) ||
        (status = ferry__device_dead(batch->device, "ferry_batch_run")))
        return status;
    return start(batch, &(struct ferry__reply){.waiting = true});
}
