#include "paths/record.h"

#include "base/alloc.h"
#include "base/status.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/commands.h"
#include "engine/device.h"
#include "engine/judge.h"
#include "engine/op.h"
#include "engine/submission.h"
#include "paths/blocks.h"
#include "paths/choose.h"
#include "paths/launch.h"
#include "paths/plan.h"
#include "paths/stream.h"

#include <ferry/ferry.h>

/*
 * From operations to commands: what the planner chose is written down for the driver, and staging
 * is filled. One thread at a time does this for a queue, without the device's lock.
 */

enum ferry_status ferry__no_memory(void)
{
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a submission");
}

/* --- copies and fills within the limits ------------------------------------------------------- */

const struct ferry__limits *ferry__limits_for(const struct ferry_device *device,
                                              const struct ferry__memory *dst,
                                              const struct ferry__memory *src)
{
    return dst->no_kernel || (src && src->no_kernel) ? &device->gpu.limits_no_kernel
                                                     : ferry__limits_now(&device->gpu);
}

enum ferry_status ferry__emit_copy(struct ferry_device *device, struct ferry__submission *sub,
                                   const struct ferry__memory *dst, uint64_t dst_offset,
                                   const struct ferry__memory *src, uint64_t src_offset,
                                   uint64_t size)
{
    struct ferry__span spans[3];
    const size_t count = ferry__plan_copy_spans(ferry__limits_for(device, dst, src), dst_offset,
                                                src_offset, size, spans);
    if (!count)
        return ferry__fail(FERRY_ERROR_INTERNAL, "%llu bytes from %llu to %llu cannot be copied",
                           (unsigned long long)size, (unsigned long long)src_offset,
                           (unsigned long long)dst_offset);
    for (size_t i = 0; i < count; i++) {
        const uint64_t end = spans[i].at + spans[i].size;
        for (uint64_t at = spans[i].at; at < end; at += device->gpu.limits.max_copy) {
            const uint64_t left = end - at;
            const enum ferry_status status = ferry__add_command(
                device, sub,
                (struct ferry__command){.kind = FERRY__COPY,
                                        .engine = spans[i].engine,
                                        .dst = dst,
                                        .src = src,
                                        .dst_offset = dst_offset + at,
                                        .src_offset = src_offset + at,
                                        .size = left < device->gpu.limits.max_copy
                                                    ? left
                                                    : device->gpu.limits.max_copy});
            if (status)
                return status;
            if (left <= device->gpu.limits.max_copy)
                break; /* max_copy may be near UINT64_MAX */
        }
    }
    return FERRY_OK;
}

enum ferry__emitted ferry__emit_result(enum ferry_status status, enum ferry_status *out_status)
{
    if (!status)
        return FERRY__EMIT_DONE;
    if (status == FERRY_ERROR_POOL_EXHAUSTED)
        return FERRY__EMIT_STARVED;
    *out_status = status;
    return FERRY__EMIT_FAILED;
}

/* --- one transfer, one op --------------------------------------------------------------------- */

enum ferry__emitted ferry__emit_transfer(struct ferry_device *device, struct ferry__submission *sub,
                                         struct ferry__op *op, struct ferry__transfer *transfer,
                                         enum ferry_status *out_status)
{
    if (!transfer->size || transfer->way == FERRY__WAY_NOTHING)
        return FERRY__EMIT_DONE;
    /* What comes behind a list is behind it, another list too: within one nothing has an order. */
    ferry__launch_close(device, sub);
    if (transfer->way == FERRY__WAY_LIST)
        return ferry__emit_list(device, sub, transfer, out_status);
    if (transfer->way == FERRY__WAY_EACH)
        return ferry__emit_each(device, sub, op, transfer, out_status);
    if (transfer->with == FERRY__WITH_STREAM)
        return ferry__stream_emit(device, sub, op, transfer, out_status);
    if (transfer->path == FERRY_PATH_IMPORTED)
        return ferry__emit_imported(device, sub, transfer, out_status);
    if (transfer->way == FERRY__WAY_RMW)
        return ferry__emit_rmw(device, sub, op, transfer, transfer->size, out_status);
    switch (transfer->operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry__emit_staged_upload(device, sub, op, transfer, out_status);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry__emit_staged_download(device, sub, op, transfer, out_status);
    case FERRY_OPERATION_COPY:
        return ferry__emit_device_copy(device, sub, op, transfer, out_status);
    case FERRY_OPERATION_FILL: return ferry__emit_fill(device, sub, transfer, out_status);
    case FERRY_OPERATION_COUNT: break;
    }
    return FERRY__EMIT_DONE;
}

static enum ferry__emitted record_all(struct ferry_device *device, struct ferry__submission *sub,
                                      struct ferry__op *op, enum ferry_status *out_status)
{
    while (op->next_transfer < op->count) {
        struct ferry__transfer *transfer = &ferry__op_transfers(op)[op->next_transfer];
        const uint64_t before = sub->added;
        const enum ferry__emitted result =
            ferry__emit_transfer(device, sub, op, transfer, out_status);
        if (sub->added > before) {
            transfer->begun = true;
            transfer->untouched = false; /* though an earlier submission was refused */
        }
        if (result != FERRY__EMIT_DONE)
            return result;
        op->next_transfer++;
        op->transfer_done = 0;
        sub->transfers += ferry__transfer_operations(transfer);
        if (sub->command_count >= FERRY__COMMANDS_MAX && op->next_transfer < op->count)
            return FERRY__EMIT_MORE;
    }
    return FERRY__EMIT_DONE;
}

static enum ferry__emitted record(struct ferry_device *device, struct ferry__submission *sub,
                                  struct ferry__op *op, enum ferry_status *out_status)
{
    const enum ferry__emitted result = record_all(device, sub, op, out_status);
    ferry__launch_close(device, sub);
    return result;
}

void ferry__transfers_release(struct ferry__op *op)
{
    ferry__transfers_finish(op->device, ferry__op_transfers(op), op->count);
    if (op->batch)
        ferry__free(op->many);
    op->batch = false;
    op->count = 0;
}

static void release(struct ferry__op *op)
{
    ferry__stream_free(op);
    ferry__transfers_release(op);
    ferry__free(op->rmw);
    op->rmw = NULL;
}

const struct ferry__op_type ferry__transfer_type = {
    .kind = FERRY__OP_TRANSFER,
    .record = record,
    .abandon = ferry__stream_abandon,
    .judge = ferry__judge_transfers,
    .done = ferry__stream_done,
    .release = release,
};
