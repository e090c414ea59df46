#include "base/copy_host.h"
#include "base/range.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "engine/retire.h"
#include "engine/submission.h"
#include "memory/staging.h"
#include "paths/record.h"

#include <ferry/ferry.h>

/* Uploads and downloads through staging memory, a chunk at a time. */

/* --- staging ---------------------------------------------------------------------------------- */

enum ferry_status ferry__flush_slice(struct ferry_device *device, const struct ferry__slice *slice,
                                     uint64_t size)
{
    return ferry__memory_flush(&device->gpu, &slice->chunk->memory, slice->offset, size);
}

enum ferry_status ferry__take_upload(struct ferry_device *device, struct ferry__submission *sub,
                                     uint64_t want, uint64_t min, uint64_t phase,
                                     struct ferry__slice *out)
{
    if (!ferry__due_room(sub, 1))
        return ferry__no_memory();
    const enum ferry_status status =
        ferry__staging_take(&device->gpu, &device->gpu.upload, NULL, want, min, phase, out);
    if (status)
        return status;
    struct ferry__due *last = sub->due_count ? &sub->dues[sub->due_count - 1] : NULL;
    if (last && last->run == ferry__due_upload && last->slice.chunk == out->chunk) {
        last->slice.taken += out->taken;
        last->count++;
    } else {
        ferry__due_add(sub,
                       (struct ferry__due){.run = ferry__due_upload, .slice = *out, .count = 1});
    }
    sub->staged += out->taken;
    return FERRY_OK;
}

bool ferry__submission_is_full(const struct ferry_device *device,
                               const struct ferry__submission *sub, const struct ferry__op *op,
                               const struct ferry__transfer *transfer)
{
    if (sub->command_count >= FERRY__COMMANDS_MAX)
        return true;
    return !op->batch && transfer->path == FERRY_PATH_PIPELINED &&
           sub->staged >= device->gpu.upload.chunk_size;
}

/* So many of n bytes at offset that what follows them is aligned. */
static uint64_t aligned_part(uint64_t offset, uint64_t n, uint64_t left, uint64_t align)
{
    if (n >= left)
        return left;
    const uint64_t end = ferry__round_down(offset + n, align);
    return end > offset ? end - offset : n;
}

enum ferry__emitted ferry__emit_staged_upload(struct ferry_device *device,
                                              struct ferry__submission *sub, struct ferry__op *op,
                                              struct ferry__transfer *transfer,
                                              enum ferry_status *out_status)
{
    while (op->transfer_done < transfer->size) {
        if (ferry__submission_is_full(device, sub, op, transfer))
            return FERRY__EMIT_MORE;
        struct ferry__slice slice;
        const uint64_t offset = transfer->dst->offset + transfer->dst_offset + op->transfer_done;
        const uint64_t left = transfer->size - op->transfer_done,
                       align = device->gpu.limits.copy_alignment;
        enum ferry_status status =
            ferry__take_upload(device, sub, left, left < align ? left : align, offset, &slice);
        if (status)
            return ferry__emit_result(status, out_status);
        const uint64_t n = aligned_part(offset, slice.size, left, align);
        ferry__copy_chunk(ferry__slice_host(&slice), transfer->host + op->transfer_done, n, 0,
                          n * (op->count - 1 - op->next_transfer), device->cpus_taken);
        status = ferry__flush_slice(device, &slice, n);
        if (!status)
            status = ferry__emit_copy(device, sub, transfer->dst->memory, offset,
                                      &slice.chunk->memory, slice.offset, n);
        if (status)
            return ferry__emit_result(status, out_status);
        op->transfer_done += n;
    }
    return FERRY__EMIT_DONE;
}

static enum ferry_status take_readback(struct ferry_device *device, struct ferry__submission *sub,
                                       uint64_t want, uint64_t min, uint64_t phase,
                                       struct ferry__due *due)
{
    if (!ferry__due_room(sub, 1))
        return ferry__no_memory();
    const enum ferry_status status =
        ferry__staging_take(&device->gpu, &device->gpu.readback, &device->queues[sub->queue], want,
                            min, phase, &due->slice);
    if (status)
        return status;
    ferry__due_add(sub, *due); /* gives the slice back, whatever comes */
    sub->staged += due->slice.taken;
    return FERRY_OK;
}

enum ferry__emitted ferry__emit_staged_download(struct ferry_device *device,
                                                struct ferry__submission *sub, struct ferry__op *op,
                                                struct ferry__transfer *transfer,
                                                enum ferry_status *out_status)
{
    const uint64_t align = device->gpu.limits.copy_alignment;
    const uint64_t word = ferry__word(device);
    while (op->transfer_done < transfer->size) {
        if (ferry__submission_is_full(device, sub, op, transfer))
            return FERRY__EMIT_MORE;
        const uint64_t offset = transfer->src->offset + transfer->src_offset + op->transfer_done;
        const uint64_t left = transfer->size - op->transfer_done;
        /* Where no kernel copies bytes whole words are read, also those that only end or begin in
         * the range. Where the memory ends within a word, the bytes alone. */
        uint64_t begin = ferry__round_down(offset, word);
        uint64_t want = ferry__round_up(offset + left, word) - begin;
        if (begin + want > transfer->src->memory->size) {
            begin = offset;
            want = left;
        }
        struct ferry__due due = {.run = ferry__due_readback,
                                 .dst = transfer->host + op->transfer_done,
                                 .skip = offset - begin,
                                 .whole = transfer->size};
        enum ferry_status status =
            take_readback(device, sub, want, want < 2 * align ? want : 2 * align, begin, &due);
        if (status)
            return ferry__emit_result(status, out_status);
        const uint64_t read =
            due.slice.size < want ? ferry__round_down(begin + due.slice.size, align) - begin : want;
        const uint64_t n = read - due.skip < left ? read - due.skip : left;
        status = ferry__emit_copy(device, sub, &due.slice.chunk->memory, due.slice.offset,
                                  transfer->src->memory, begin, read);
        if (status)
            return ferry__emit_result(status, out_status);
        sub->dues[sub->due_count - 1].size = n;
        sub->dues[sub->due_count - 1].reads = sub->copies_out = true;
        op->transfer_done += n;
    }
    return FERRY__EMIT_DONE;
}
