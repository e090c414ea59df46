#include "base/log.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "paths/stream.h"

#include <ferry/ferry.h>
#include <ferry/stream.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What becomes of a piece of a stream. */

struct ferry__stream_piece *ferry__piece_find_free(struct ferry_stream *stream, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        if (atomic_load(&stream->moves[i].state) == FERRY__PIECE_FREE)
            return &stream->moves[i];
    return NULL;
}

void ferry__chunk_whole(const struct ferry_stream_chunk *chunk, uint64_t *out_size,
                        uint64_t *out_offset)
{
    const struct ferry__stream_piece *piece = (const struct ferry__stream_piece *)chunk;
    const struct ferry__transfer *transfer =
        &ferry__op_transfers(piece->stream->op)[piece->transfer];
    *out_size = transfer->size;
    *out_offset = ferry__side_offset(transfer);
}

void ferry__piece_begin(struct ferry__stream_piece *piece)
{
    struct ferry__op *op = piece->stream->op;
    const struct ferry__stream_side *side = piece->side;
    piece->status = FERRY_OK;
    piece->moved = 0;
    piece->chunk.allocation = piece->slot ? piece->slot->memory.host : NULL;
    piece->chunk.allocation_size = piece->slot ? (size_t)piece->slot->memory.size : 0;
    piece->chunk.allocation_id = piece->slot ? piece->slot->id : 0;
    atomic_store(&piece->state, FERRY__PIECE_MOVING);
    ferry__device_lock(op->device);
    op->moving++;
    ferry__device_unlock(op->device);
    side->methods.chunk(side->user, piece->stream, &piece->chunk);
}

void ferry__piece_tell(struct ferry__stream_piece *piece, enum ferry_status status, const char *why)
{
    struct ferry_stream *stream = piece->stream;
    struct ferry__op *op = stream->op;
    struct ferry__transfer *transfer = &ferry__op_transfers(op)[piece->transfer];
    ferry__device_lock(op->device);
    if (!transfer->status)
        transfer->status = status;
    ferry__op_explain(op, why);
    ferry__device_unlock(op->device);
    atomic_store(&stream->broken, piece->transfer + 1);
}

/* The first words are the op's: what fails later does so for the same reason. */
static void note_words(struct ferry__op *op, const char *why)
{
    ferry__device_lock(op->device);
    ferry__op_explain(op, why);
    ferry__device_unlock(op->device);
}

/* A source has filled a piece: what lies elsewhere, for its blocks, goes where the device can copy
 * it. */
static void show_device(struct ferry_device *device, struct ferry__stream_piece *piece)
{
    unsigned char *wanted = piece->slot->memory.host + piece->skip;
    if (wanted != piece->chunk.memory && piece->moved)
        memmove(wanted, piece->chunk.memory, piece->moved);
    const enum ferry_status status =
        ferry__memory_flush(&device->gpu, &piece->slot->memory, piece->skip, piece->chunk.size);
    if (!status)
        return;
    note_words(piece->stream->op, "the device cannot be shown what was put into staging memory");
    piece->status = status;
    piece->moved = 0;
}

/* Nothing of it is left to do. */
static void end_piece(struct ferry_device *device, struct ferry__stream_piece *piece,
                      const char *why)
{
    if (piece->status)
        ferry__piece_tell(piece, piece->status, why);
    if (piece->slot)
        ferry__slot_give(device, piece->slot);
    piece->slot = NULL;
}

void ferry_stream_done(ferry_stream *stream, const struct ferry_stream_chunk *chunk, size_t moved,
                       enum ferry_status status, const char *why)
{
    if (!stream || !chunk)
        return;
    struct ferry__stream_piece *piece = (struct ferry__stream_piece *)(uintptr_t)chunk;
    struct ferry__op *op = stream->op;
    struct ferry_device *device = op->device;
    if (atomic_load(&piece->state) != FERRY__PIECE_MOVING) {
        ferry__log(
            FERRY_LOG_ERROR,
            "ferry_stream_done: the chunk at %llu is not the stream's any more, or never was",
            (unsigned long long)chunk->at);
        return;
    }
    const bool comes_again = piece->slot && !piece->write; /* the cursor comes to it */
    const bool told = piece->side->methods.cancel;
    if (status && told)
        status = ferry__stream_status(status);
    piece->moved = ferry__least(moved, chunk->size);
    piece->status = status || piece->moved == chunk->size ? status : FERRY_ERROR_IO;
    if (piece->status && !(why && why[0]))
        why = "the stream has failed";
    if (piece->status)
        note_words(op, why);
    if (comes_again)
        show_device(device, piece);
    else
        end_piece(device, piece, why);
    if (piece->status && told)
        ferry__stream_stop(stream, piece->status, why);
    atomic_store(&piece->state, comes_again ? FERRY__PIECE_HERE : FERRY__PIECE_FREE);
    ferry__device_lock(device);
    op->moving--;
    ferry__stream_resume(op);
    ferry__op_try_done(op);
    ferry__kick(device);
    ferry__device_unlock(device);
}
