#include "base/copy_host.h"
#include "base/range.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/commands.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/submission.h"
#include "memory/staging.h"
#include "paths/plan.h"
#include "paths/record.h"

#include <ferry/ferry.h>

/* Copies between buffers, and fills, by the device alone. */

static enum ferry_status emit_fill_span(struct ferry_device *device, struct ferry__submission *sub,
                                        const struct ferry__transfer *transfer,
                                        const struct ferry__span *span)
{
    const uint64_t offset = transfer->dst->offset + transfer->dst_offset,
                   end = span->at + span->size;
    for (uint64_t at = span->at; at < end; at += device->gpu.limits.max_copy) {
        const uint64_t left = end - at;
        struct ferry__command command = {
            .kind = FERRY__FILL,
            .engine = span->engine,
            .pattern_size = transfer->pattern_size,
            .dst = transfer->dst->memory,
            .dst_offset = offset + at,
            .size = left < device->gpu.limits.max_copy ? left : device->gpu.limits.max_copy};
        for (unsigned i = 0; i < transfer->pattern_size; i++)
            command.pattern[i] = transfer->pattern[(at + i) % transfer->pattern_size];
        const enum ferry_status status = ferry__add_command(device, sub, command);
        if (status)
            return status;
        if (left <= device->gpu.limits.max_copy)
            break;
    }
    return FERRY_OK;
}

/* --- copies between buffers, and fills -------------------------------------------------------- */

static enum ferry__emitted emit_pieces(struct ferry_device *device, struct ferry__submission *sub,
                                       struct ferry__op *op, const struct ferry__transfer *transfer,
                                       enum ferry_status *out_status)
{
    const uint64_t dst = transfer->dst->offset + transfer->dst_offset;
    const uint64_t src = transfer->src->offset + transfer->src_offset;
    const struct ferry__memory *memory = transfer->dst->memory;
    const bool scratch = transfer->way == FERRY__WAY_SCRATCH;
    struct ferry__slice slice = {0};
    uint64_t most = dst < src ? src - dst : dst - src;
    if (scratch) {
        const uint64_t align = device->gpu.limits.copy_alignment;
        const enum ferry_status status = ferry__take_upload(
            device, sub, device->gpu.upload.chunk_size, FERRY__STAGING_MIN / 4, 0, &slice);
        if (status)
            return ferry__emit_result(status, out_status);
        most = ferry__round_down(slice.size, align);
    }
    while (op->transfer_done < transfer->size) {
        if (sub->command_count >= FERRY__COMMANDS_MAX)
            return FERRY__EMIT_MORE;
        const struct ferry__piece piece = ferry__plan_piece(
            &device->gpu.limits, dst, src, transfer->size, op->transfer_done, most);
        enum ferry_status status = FERRY_OK;
        if (scratch)
            status = ferry__emit_copy(device, sub, &slice.chunk->memory, slice.offset, memory,
                                      src + piece.at, piece.size);
        if (!status)
            status = ferry__emit_copy(device, sub, memory, dst + piece.at,
                                      scratch ? &slice.chunk->memory : memory,
                                      scratch ? slice.offset : src + piece.at, piece.size);
        if (status)
            return ferry__emit_result(status, out_status);
        op->transfer_done += piece.size;
    }
    return FERRY__EMIT_DONE;
}

enum ferry__emitted ferry__emit_device_copy(struct ferry_device *device,
                                            struct ferry__submission *sub, struct ferry__op *op,
                                            struct ferry__transfer *transfer,
                                            enum ferry_status *out_status)
{
    const uint64_t dst = transfer->dst->offset + transfer->dst_offset;
    const uint64_t src = transfer->src->offset + transfer->src_offset;
    if (transfer->way != FERRY__WAY_COMMANDS)
        return emit_pieces(device, sub, op, transfer, out_status);
    return ferry__emit_result(ferry__emit_copy(device, sub, transfer->dst->memory, dst,
                                               transfer->src->memory, src, transfer->size),
                              out_status);
}

/* Puts size bytes of the pattern, from at on, into a slice of staging. */
static enum ferry_status take_tile(struct ferry_device *device, struct ferry__submission *sub,
                                   const struct ferry__transfer *transfer, uint64_t at,
                                   uint64_t size, struct ferry__slice *out)
{
    const enum ferry_status status = ferry__take_upload(device, sub, size, size, 0, out);
    if (status)
        return status;
    ferry__fill_host(ferry__slice_host(out), size, transfer->pattern, transfer->pattern_size,
                     at % transfer->pattern_size);
    return ferry__flush_slice(device, out, size);
}

static enum ferry_status emit_fill_command(struct ferry_device *device,
                                           struct ferry__submission *sub,
                                           const struct ferry__transfer *transfer)
{
    struct ferry__fill_span spans[3];
    const uint64_t offset = transfer->dst->offset + transfer->dst_offset;
    const size_t count =
        ferry__plan_fill_spans(ferry__limits_for(device, transfer->dst->memory, NULL), offset,
                               transfer->size, transfer->pattern_size, spans);
    enum ferry_status status = FERRY_OK;
    for (size_t i = 0; i < count && !status; i++) { /* first what may starve */
        struct ferry__slice tile;
        const struct ferry__span *span = &spans[i].span;
        if (!spans[i].tile)
            continue;
        status = take_tile(device, sub, transfer, span->at, span->size, &tile);
        if (!status)
            status = ferry__emit_copy(device, sub, transfer->dst->memory, offset + span->at,
                                      &tile.chunk->memory, tile.offset, span->size);
    }
    for (size_t i = 0; i < count && !status; i++)
        if (!spans[i].tile)
            status = emit_fill_span(device, sub, transfer, &spans[i].span);
    return status;
}

/* A tile, then what is filled is copied behind itself, twice as much each time. */
static enum ferry_status emit_fill_tile(struct ferry_device *device, struct ferry__submission *sub,
                                        const struct ferry__transfer *transfer)
{
    enum { TILE_PATTERNS = 128 };
    const struct ferry__memory *memory = transfer->dst->memory;
    const uint64_t offset = transfer->dst->offset + transfer->dst_offset;
    const uint64_t tile_size = (uint64_t)transfer->pattern_size * TILE_PATTERNS;
    uint64_t filled = transfer->size < tile_size ? transfer->size : tile_size;
    struct ferry__slice tile;
    enum ferry_status status = take_tile(device, sub, transfer, 0, filled, &tile);
    if (!status)
        status =
            ferry__emit_copy(device, sub, memory, offset, &tile.chunk->memory, tile.offset, filled);
    while (!status && filled < transfer->size) {
        const uint64_t left = transfer->size - filled, n = filled < left ? filled : left;
        status = ferry__emit_copy(device, sub, memory, offset + filled, memory, offset, n);
        filled += n;
    }
    return status;
}

enum ferry__emitted ferry__emit_fill(struct ferry_device *device, struct ferry__submission *sub,
                                     const struct ferry__transfer *transfer,
                                     enum ferry_status *out_status)
{
    return ferry__emit_result(transfer->way == FERRY__WAY_TILE
                                  ? emit_fill_tile(device, sub, transfer)
                                  : emit_fill_command(device, sub, transfer),
                              out_status);
}
