#include "engine/judge.h"

#include "engine/buffer.h"
#include "engine/failure.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "engine/order.h"
#include "engine/reason.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

/* What became of an op: failed writes mark their bytes, reads of those fail (R9). */

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
    if (why == op->why)
        return;
    ferry__reason_unref(op->why);
    op->why = ferry__reason_ref(why);
}

/* Where the device itself has failed, what it may have touched beside the bytes is not to be
 * trusted either. */
static void mark_transfer(const struct ferry__transfer *transfer, bool by_device,
                          struct ferry__reason *why)
{
    uint64_t begin = transfer->dst_offset, end = begin + transfer->size;
    if (by_device && transfer->begun && transfer->status != FERRY_ERROR_IO) {
        const struct ferry__range range = ferry__footprint_write(transfer);
        begin = range.begin;
        end = range.end;
    }
    mark_failed(transfer->dst, begin, end, transfer->status, why);
}

void ferry__judge_transfers(struct ferry__op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        struct ferry__transfer *transfer = &op->transfers[i];
        struct ferry__reason *why = op->why;
        if (!transfer->size)
            continue;
        const struct ferry__failed *failed = NULL;
        if (!transfer->status && transfer->src)
            failed = ferry__failed_find(&transfer->src->failures, transfer->src_offset,
                                        transfer->src_offset + transfer->size);
        if (failed) {
            transfer->status = failed->status;
            why = failed->reason;
        }
        if (transfer->status) {
            fail_op(op, transfer->status, why);
            if (transfer->dst && !transfer->untouched)
                mark_transfer(transfer, !failed, op->why);
        } else if (transfer->dst) {
            ferry__buffer_covered(transfer->dst, transfer->dst_offset, transfer->size, UINT64_MAX);
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
    }
    if (op->type->kind == FERRY__OP_JOIN)
        return;
    for (size_t i = 0; i < op->use_count; i++) {
        const struct ferry_use *use = &op->uses[i];
        if (!(use->access & FERRY_ACCESS_WRITE))
            continue;
        if (op->status)
            mark_failed(use->buffer, use->offset, use->offset + use->size, op->status, op->why);
        else if (!(use->access & FERRY_ACCESS_READ))
            ferry__buffer_covered(use->buffer, use->offset, use->size, UINT64_MAX);
    }
}
