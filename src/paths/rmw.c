#include "base/copy_host.h"
#include "base/range.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/retire.h"
#include "engine/submission.h"
#include "memory/staging.h"
#include "paths/plan.h"
#include "paths/record.h"

#include <ferry/ferry.h>

/* Read, modify, write: the host merges what the device cannot write alone into the words round
 * it. */

/* The words that a piece of the destination lies in, and for copies those of its source. */
struct rmw {
    uint64_t dst, dst_begin, dst_size;
    uint64_t src, src_begin, src_size;
};

static struct rmw rmw_ranges(const struct ferry_device *device,
                             const struct ferry__transfer *transfer, struct ferry__piece piece)
{
    const uint64_t align = device->gpu.limits.copy_alignment;
    struct rmw b = {.dst = transfer->dst->offset + transfer->dst_offset + piece.at};
    b.dst_begin = ferry__round_down(b.dst, align);
    b.dst_size = ferry__round_up(b.dst + piece.size, align) - b.dst_begin;
    if (transfer->operation == FERRY_OPERATION_COPY) {
        b.src = transfer->src->offset + transfer->src_offset + piece.at;
        b.src_begin = ferry__round_down(b.src, align);
        b.src_size = ferry__round_up(b.src + piece.size, align) - b.src_begin;
    }
    return b;
}

static void merge(struct ferry_device *device, struct ferry__op *op)
{
    const struct ferry__transfer *transfer = ferry__transfer_now(op);
    const struct ferry__piece piece = op->rmw->piece;
    const struct rmw b = rmw_ranges(device, transfer, piece);
    unsigned char *words = ferry__slice_host(&op->rmw->slice);
    unsigned char *to = words + (b.dst - b.dst_begin);
    if (transfer->operation == FERRY_OPERATION_UPLOAD)
        ferry__copy_host(to, transfer->host + piece.at, piece.size);
    else if (transfer->operation == FERRY_OPERATION_FILL)
        ferry__fill_host(to, piece.size, transfer->pattern, transfer->pattern_size,
                         piece.at % transfer->pattern_size);
    else
        ferry__copy_host(to, words + b.dst_size + (b.src - b.src_begin), piece.size);
}

/* The words are on the host: they keep their slice, and are written by what comes next. */
static void due_merge(struct ferry_device *device, struct ferry__submission *sub,
                      const struct ferry__due *due)
{
    if (sub->result.status)
        ferry__staging_give(&device->gpu, &device->gpu.readback, &due->slice);
    else
        merge(device, due->what);
}

/* Reads the words at the piece's ends, and its source. */
static enum ferry_status rmw_read(struct ferry_device *device, struct ferry__submission *sub,
                                  struct ferry__op *op, const struct ferry__transfer *transfer,
                                  bool *out_any)
{
    const uint64_t align = device->gpu.limits.copy_alignment;
    const struct rmw b = rmw_ranges(device, transfer, op->rmw->piece);
    const struct ferry__memory *words = &op->rmw->slice.chunk->memory;
    const uint64_t at = op->rmw->slice.offset, last = b.dst_size - align;
    const bool head = b.dst != b.dst_begin;
    const bool tail = b.dst + op->rmw->piece.size != b.dst_begin + b.dst_size;
    enum ferry_status status = FERRY_OK;
    *out_any = head || tail || b.src_size;
    if (head || (tail && !last))
        status =
            ferry__emit_copy(device, sub, words, at, transfer->dst->memory, b.dst_begin, align);
    if (!status && tail && last)
        status = ferry__emit_copy(device, sub, words, at + last, transfer->dst->memory,
                                  b.dst_begin + last, align);
    if (!status && b.src_size)
        status = ferry__emit_copy(device, sub, words, at + b.dst_size, transfer->src->memory,
                                  b.src_begin, b.src_size);
    return status;
}

static enum ferry_status rmw_write(struct ferry_device *device, struct ferry__submission *sub,
                                   struct ferry__op *op, const struct ferry__transfer *transfer)
{
    const struct rmw b = rmw_ranges(device, transfer, op->rmw->piece);
    enum ferry_status status = ferry__flush_slice(device, &op->rmw->slice, b.dst_size);
    if (!status)
        status = ferry__emit_copy(device, sub, transfer->dst->memory, b.dst_begin,
                                  &op->rmw->slice.chunk->memory, op->rmw->slice.offset, b.dst_size);
    op->transfer_done += op->rmw->piece.size;
    return status;
}

/* The next piece of an rmw: one chunk of staging holds its words. */
static enum ferry_status rmw_begin(struct ferry_device *device, struct ferry__submission *sub,
                                   struct ferry__op *op, const struct ferry__transfer *transfer,
                                   uint64_t end)
{
    const bool copy = transfer->operation == FERRY_OPERATION_COPY;
    const uint64_t align = device->gpu.limits.copy_alignment;
    const uint64_t most = device->gpu.readback.chunk_size / (copy ? 2 : 1) - 4 * align;
    const uint64_t from = copy ? transfer->src->offset + transfer->src_offset : UINT64_MAX;
    if (!op->rmw && !(op->rmw = ferry__alloc(sizeof *op->rmw)))
        return ferry__no_memory();
    op->rmw->piece =
        ferry__plan_piece(&device->gpu.limits, transfer->dst->offset + transfer->dst_offset, from,
                          end, op->transfer_done, most);
    const struct rmw b = rmw_ranges(device, transfer, op->rmw->piece);
    if (!ferry__due_room(sub, 1))
        return ferry__no_memory();
    const uint64_t size = b.dst_size + b.src_size;
    return ferry__staging_take(&device->gpu, &device->gpu.readback, op, size, size, 0,
                               &op->rmw->slice);
}

enum ferry__emitted ferry__emit_rmw(struct ferry_device *device, struct ferry__submission *sub,
                                    struct ferry__op *op, struct ferry__transfer *transfer,
                                    uint64_t end, enum ferry_status *out_status)
{
    enum ferry_status status;
    while (op->transfer_done < end) {
        if (ferry__submission_is_full(device, sub, op, transfer))
            return FERRY__EMIT_MORE;
        bool reads = false;
        if (!op->rmw_merged) {
            if ((status = rmw_begin(device, sub, op, transfer, end)))
                return ferry__emit_result(status, out_status);
            status = rmw_read(device, sub, op, transfer, &reads);
            if (!status && !reads)
                merge(device, op);
        } else {
            if (!ferry__due_room(sub, 1))
                return ferry__emit_result(ferry__no_memory(), out_status);
            status = FERRY_OK;
        }
        op->rmw_merged = false;
        sub->staged += op->rmw->slice.taken;
        const bool merges = reads && !status;
        ferry__due_add(sub, (struct ferry__due){.run = merges ? due_merge : ferry__due_readback,
                                                .slice = op->rmw->slice,
                                                .reads = merges,
                                                .what = op});
        sub->copies_out = true;
        if (status)
            return ferry__emit_result(status, out_status);
        if (reads)
            return FERRY__EMIT_BLOCKED;
        if ((status = rmw_write(device, sub, op, transfer)))
            return ferry__emit_result(status, out_status);
    }
    return FERRY__EMIT_DONE;
}
