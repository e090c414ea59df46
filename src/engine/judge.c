#include "engine/judge.h"

#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/engine.h"
#include "engine/failure.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "engine/order.h"
#include "engine/reason.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

/* What became of an op: failed writes mark their bytes, reads of those fail (R9). The lock is given
 * up on the way where they are many: until op has left its place nobody else touches them. */

/* --- failures (R9) ---------------------------------------------------------------------------- */

static void mark_failed(struct ferry_buffer *buffer, uint64_t begin, uint64_t end,
                        enum ferry_status status, struct ferry__reason *why)
{
    ferry__failed_add(&buffer->failures, begin, end, status, why);
    if (ferry__failed_any(&buffer->failures))
        atomic_fetch_or(&buffer->word, FERRY__BUFFER_FAILED);
}

void ferry__buffer_covered(struct ferry_buffer *buffer, uint64_t offset, uint64_t size,
                           uint64_t up_to)
{
    if (!ferry__failed_any(&buffer->failures))
        return;
    ferry__failed_cover(&buffer->failures, offset, offset + size, up_to);
    if (!ferry__failed_any(&buffer->failures))
        atomic_fetch_and(&buffer->word, ~FERRY__BUFFER_FAILED);
}

static void fail_op(struct ferry__op *op, enum ferry_status status, struct ferry__reason *why)
{
    if (op->status)
        return;
    op->status = status;
    if (why != ferry__op_why(op))
        ferry__op_set_why(op, why);
}

/* Where the device itself has failed, what it may have touched beside the bytes is not to be
 * trusted either. */
static void mark_transfer(const struct ferry__transfer *transfer, bool by_device,
                          struct ferry__reason *why)
{
    const size_t parts = ferry__transfer_parts(transfer);
    for (size_t i = 0; i < parts; i++) {
        const struct ferry_block part = ferry__transfer_part(transfer, i);
        uint64_t begin = part.dst_offset, end = begin + part.size;
        ferry__breathe_each(transfer->dst->device, i, FERRY__RANGES_AT_ONCE);
        if (!part.size)
            continue;
        if (by_device && transfer->begun && transfer->status != FERRY_ERROR_IO) {
            const struct ferry__range range = ferry__footprint_write(transfer, begin, part.size);
            begin = range.begin;
            end = range.end;
        }
        mark_failed(transfer->dst, begin, end, transfer->status, why);
    }
}

/* Of what a transfer reads, the first that has failed; NULL: all is well. */
static const struct ferry__failed *find_failed(const struct ferry__transfer *transfer)
{
    const struct ferry__failed *failed = NULL;
    if (!transfer->src || !ferry__failed_any(&transfer->src->failures))
        return NULL;
    const size_t parts = ferry__transfer_parts(transfer);
    for (size_t i = 0; i < parts && !failed; i++) {
        const struct ferry_block part = ferry__transfer_part(transfer, i);
        ferry__breathe_each(transfer->src->device, i, FERRY__RANGES_AT_ONCE);
        if (part.size)
            failed = ferry__failed_find(&transfer->src->failures, part.src_offset,
                                        part.src_offset + part.size);
    }
    return failed;
}

static void cover_transfer(const struct ferry__transfer *transfer)
{
    if (!transfer->dst || !ferry__failed_any(&transfer->dst->failures))
        return;
    const size_t parts = ferry__transfer_parts(transfer);
    for (size_t i = 0; i < parts; i++) {
        const struct ferry_block part = ferry__transfer_part(transfer, i);
        if (part.size)
            ferry__buffer_covered(transfer->dst, part.dst_offset, part.size, UINT64_MAX);
        ferry__breathe_each(transfer->dst->device, i, FERRY__RANGES_AT_ONCE);
    }
}

/* Of operations that were merged each fails by itself: those that read what has failed. */
static void judge_merged(struct ferry__op *op, struct ferry__transfer *transfer)
{
    const size_t parts = ferry__transfer_parts(transfer);
    for (size_t i = 0; i < parts; i++) {
        const struct ferry_block part = ferry__transfer_part(transfer, i);
        const uint64_t src_end = part.src_offset + part.size, dst_end = part.dst_offset + part.size;
        ferry__breathe_each(op->device, i, FERRY__RANGES_AT_ONCE);
        if (!part.size)
            continue;
        const struct ferry__failed *failed =
            ferry__failed_find(&transfer->src->failures, part.src_offset, src_end);
        if (failed) {
            transfer->status = failed->status;
            fail_op(op, failed->status, failed->reason);
        }
        if (failed && transfer->dst)
            mark_failed(transfer->dst, part.dst_offset, dst_end, failed->status, ferry__op_why(op));
        else if (transfer->dst)
            ferry__buffer_covered(transfer->dst, part.dst_offset, part.size, UINT64_MAX);
    }
}

void ferry__judge_transfers(struct ferry__op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        struct ferry__transfer *transfer = &ferry__op_transfers(op)[i];
        struct ferry__reason *why = ferry__op_why(op);
        ferry__breathe_each(op->device, i, FERRY__TRANSFERS_AT_ONCE);
        if (!transfer->size)
            continue;
        const struct ferry__failed *failed = transfer->status ? NULL : find_failed(transfer);
        if (failed && ferry__transfer_operations(transfer) > 1) {
            judge_merged(op, transfer);
            continue;
        }
        if (failed) {
            transfer->status = failed->status;
            why = failed->reason;
        }
        if (transfer->status) {
            fail_op(op, transfer->status, why);
            if (transfer->dst && !transfer->untouched)
                mark_transfer(transfer, !failed, ferry__op_why(op));
        } else {
            cover_transfer(transfer);
        }
    }
}

void ferry__judge_uses(struct ferry__op *op)
{
    for (size_t i = 0; i < op->use_count && !op->status; i++) {
        const struct ferry_use *use = &op->uses[i];
        const struct ferry__failed *failed =
            ferry__failed_find(&use->buffer->failures, use->offset, use->offset + use->size);
        if ((use->access & FERRY_ACCESS_READ) && failed)
            fail_op(op, failed->status, failed->reason);
        ferry__breathe_each(op->device, i, FERRY__RANGES_AT_ONCE);
    }
    if (op->type->kind == FERRY__OP_JOIN)
        return;
    for (size_t i = 0; i < op->use_count; i++) {
        const struct ferry_use *use = &op->uses[i];
        ferry__breathe_each(op->device, i, FERRY__RANGES_AT_ONCE);
        if (!(use->access & FERRY_ACCESS_WRITE))
            continue;
        if (op->status)
            mark_failed(use->buffer, use->offset, use->offset + use->size, op->status,
                        ferry__op_why(op));
        else if (!(use->access & FERRY_ACCESS_READ))
            ferry__buffer_covered(use->buffer, use->offset, use->size, UINT64_MAX);
    }
}
