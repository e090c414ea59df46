#include "paths/stream.h"

#include "base/log.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "engine/retire.h"
#include "engine/submission.h"
#include "paths/direct.h"
#include "paths/record.h"

#include <ferry/ferry.h>
#include <ferry/stream.h>
#include <stdatomic.h>
#include <string.h>

/*
 * From an op's streams to commands. A source is asked for pieces ahead of the op's cursor, in the
 * transfers' order: up to its depth of them are filled while others are copied by the device.
 * Small transfers that lie near each other in one stream are one piece. An op whose next piece is
 * not there leaves its queue, and is resumed when it is: no other work waits for a stream. What
 * goes to a sink is copied to staging by the device, and handed on once that is done.
 */

static bool is_read(const struct ferry__transfer *transfer)
{
    return transfer->with == FERRY__WITH_STREAM && transfer->size &&
           transfer->operation == FERRY_OPERATION_UPLOAD;
}

static unsigned depth_of(const struct ferry__transfer *transfer)
{
    return transfer->side->methods.depth;
}

static uint64_t block_of(const struct ferry__transfer *transfer)
{
    return transfer->side->methods.block;
}

static bool is_full(const struct ferry__submission *sub)
{
    return sub->command_count >= FERRY__COMMANDS_MAX;
}

/* --- reading ahead ---------------------------------------------------------------------------- */

/* Moves on to what is to be read next. False: nothing. */
static bool find_ahead(struct ferry__op *op)
{
    struct ferry_stream *stream = op->stream;
    if (stream->ahead_transfer < op->next_transfer) { /* a transfer failed, and is left out */
        stream->ahead_transfer = op->next_transfer;
        stream->ahead_done = 0;
    }
    while (stream->ahead_transfer < op->count) {
        const struct ferry__transfer *transfer = &ferry__op_transfers(op)[stream->ahead_transfer];
        if (is_read(transfer) && stream->ahead_done < transfer->size)
            return true;
        stream->ahead_transfer++;
        stream->ahead_done = 0;
    }
    return false;
}

/* Bytes of a piece that begins at this place of a stream; a cut is at the end of a block. */
static uint64_t cut(uint64_t at, uint64_t left, uint64_t most, uint64_t block)
{
    const uint64_t end = ferry__round_down(at + most, block);
    if (left <= most)
        return left;
    return end > at ? end - at : most;
}

/* The same where the device takes whole words: parts of words are pieces of their own. */
static uint64_t cut_words(uint64_t dst, uint64_t size, uint64_t align, bool *out_edge)
{
    const uint64_t head = -dst & (align - 1);
    *out_edge = head || size < align;
    return head ? ferry__least(head, size) : size < align ? size : ferry__round_down(size, align);
}

/* Transfers that follow in the stream, and fit, are read along. */
static void read_along(struct ferry__op *op, struct ferry__stream_piece *piece, uint64_t most)
{
    struct ferry_stream *stream = op->stream;
    for (size_t i = stream->ahead_transfer + 1; i < op->count; i++) {
        const struct ferry__transfer *transfer = &ferry__op_transfers(op)[i];
        const uint64_t end = piece->chunk.at + piece->chunk.size;
        if (!is_read(transfer))
            continue;
        if (ferry__side_of(transfer) != piece->side || ferry__side_offset(transfer) < end ||
            ferry__side_offset(transfer) - end > transfer->side->gap ||
            ferry__side_offset(transfer) + transfer->size - piece->chunk.at > most)
            return;
        piece->chunk.size = ferry__side_offset(transfer) + transfer->size - piece->chunk.at;
        stream->ahead_transfer = i;
        stream->ahead_done = transfer->size;
    }
}

/* Takes what the next piece is to hold, most bytes at most, and says where. */
static void plan_ahead(struct ferry__op *op, struct ferry__stream_piece *piece, uint64_t most)
{
    struct ferry_stream *stream = op->stream;
    const struct ferry__transfer *transfer = &ferry__op_transfers(op)[stream->ahead_transfer];
    const uint64_t dst = transfer->dst->offset + transfer->dst_offset + stream->ahead_done;
    const uint64_t left = transfer->size - stream->ahead_done, block = block_of(transfer);
    const uint64_t align = op->device->gpu.limits.copy_alignment, base = piece->slot->base;
    const bool words = transfer->by_words;
    piece->stream = stream;
    piece->side = transfer->side;
    piece->transfer = stream->ahead_transfer;
    piece->write = piece->edge = false;
    piece->chunk.at = ferry__side_offset(transfer) + stream->ahead_done;
    piece->chunk.size = cut(piece->chunk.at, left, most, block);
    if (words)
        piece->chunk.size = cut_words(dst, piece->chunk.size, align, &piece->edge);
    stream->ahead_done += piece->chunk.size;
    if (!words && piece->chunk.size == left && transfer->side->gap)
        read_along(op, piece, most);
    piece->end_transfer = stream->ahead_transfer;
    piece->end_done = stream->ahead_done;
    const uint64_t in_block = base + piece->chunk.at % block, in_word = base + (dst & (align - 1));
    piece->skip = block > 1 && !words ? in_block : in_word;
    piece->chunk.memory = piece->slot->memory.host + (block > 1 ? in_block : in_word);
}

/* Asks for as many pieces as there is room for. OK, also if that is none: op is resumed then. */
static enum ferry_status read_ahead(struct ferry__op *op)
{
    struct ferry_stream *stream = op->stream;
    while (find_ahead(op)) {
        const struct ferry__transfer *transfer = &ferry__op_transfers(op)[stream->ahead_transfer];
        const size_t wanted = ferry__stream_wanted(stream, transfer->side);
        if (stream->count >= depth_of(transfer) || !wanted)
            return FERRY_OK;
        struct ferry__stream_piece *piece =
            &stream->reads[(stream->first + stream->count) % FERRY__STREAM_DEPTH];
        const enum ferry_status status = ferry__slot_take(stream, false, &piece->slot);
        if (status == FERRY_ERROR_POOL_EXHAUSTED)
            return FERRY_OK;
        if (status)
            return status;
        plan_ahead(op, piece, ferry__least(wanted, op->device->slots->slot_size));
        stream->count++;
        ferry__stream_want_met(stream, transfer->side);
        ferry__piece_begin(piece);
    }
    return FERRY_OK;
}

static void due_slot(struct ferry_device *device, struct ferry__submission *sub,
                     const struct ferry__due *due)
{
    struct ferry__stream_slot *slot = due->what;
    if (sub->result.status)
        ferry__stream_stop(slot->stream, sub->result.status, sub->result.why);
    ferry__slot_give(device, slot);
}

/* --- from pieces that were read to commands --------------------------------------------------- */

/* Lets the pieces go that the cursor has passed; their slots come back when the submission is done.
 * False: one of them is still being read. */
static bool let_pass(struct ferry__op *op, struct ferry__submission *sub)
{
    struct ferry_stream *stream = op->stream;
    while (stream->count) {
        struct ferry__stream_piece *piece = &stream->reads[stream->first];
        if (piece->end_transfer > op->next_transfer ||
            (piece->end_transfer == op->next_transfer && piece->end_done > op->transfer_done))
            return true;
        if (atomic_load(&piece->state) == FERRY__PIECE_MOVING)
            return false;
        ferry__due_add(sub, (struct ferry__due){.run = due_slot, .what = piece->slot});
        piece->slot = NULL;
        atomic_store(&piece->state, FERRY__PIECE_FREE);
        stream->first = (stream->first + 1) % FERRY__STREAM_DEPTH;
        stream->count--;
    }
    return true;
}

/* The host merges these bytes into the words round them. */
static enum ferry__emitted emit_edge(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__op *op, struct ferry__transfer *transfer,
                                     const struct ferry__stream_piece *piece,
                                     enum ferry_status *out_status)
{
    const uint64_t at = piece->chunk.at - ferry__side_offset(transfer);
    memcpy(op->stream->edge, piece->slot->memory.host + piece->skip, piece->chunk.size);
    transfer->host = (unsigned char *)((uintptr_t)op->stream->edge - at);
    return ferry__emit_rmw(device, sub, op, transfer, at + piece->chunk.size, out_status);
}

static enum ferry__emitted emit_piece(struct ferry_device *device, struct ferry__submission *sub,
                                      struct ferry__op *op, struct ferry__transfer *transfer,
                                      const struct ferry__stream_piece *piece,
                                      enum ferry_status *out_status)
{
    const uint64_t at = ferry__side_offset(transfer) + op->transfer_done - piece->chunk.at;
    const uint64_t size = ferry__least(transfer->size - op->transfer_done, piece->chunk.size - at);
    if (piece->status && piece->moved < at + size) { /* its words are the op's */
        *out_status = piece->status;
        return FERRY__EMIT_FAILED;
    }
    if (piece->edge)
        return emit_edge(device, sub, op, transfer, piece, out_status);
    *out_status = ferry__emit_copy(device, sub, transfer->dst->memory,
                                   transfer->dst->offset + transfer->dst_offset + op->transfer_done,
                                   &piece->slot->memory, piece->skip + at, size);
    if (*out_status)
        return FERRY__EMIT_FAILED;
    op->transfer_done += size;
    return FERRY__EMIT_DONE;
}

static enum ferry__emitted emit_read(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__op *op, struct ferry__transfer *transfer,
                                     enum ferry_status *out_status)
{
    struct ferry_stream *stream = op->stream;
    for (;;) {
        if (!ferry__due_room(sub, FERRY__STREAM_DEPTH)) {
            *out_status = ferry__no_memory();
            return FERRY__EMIT_FAILED;
        }
        if (!let_pass(op, sub))
            return FERRY__EMIT_WAITS;
        const enum ferry_status status = read_ahead(op);
        if (op->transfer_done == transfer->size)
            return FERRY__EMIT_DONE;
        if (status && !stream->count) {
            *out_status = status;
            return FERRY__EMIT_FAILED;
        }
        const struct ferry__stream_piece *piece = &stream->reads[stream->first];
        if (!stream->count || atomic_load(&piece->state) == FERRY__PIECE_MOVING)
            return FERRY__EMIT_WAITS;
        if (is_full(sub))
            return FERRY__EMIT_MORE;
        const enum ferry__emitted result = emit_piece(device, sub, op, transfer, piece, out_status);
        if (result != FERRY__EMIT_DONE)
            return result;
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

static void due_write(struct ferry_device *device, struct ferry__submission *sub,
                      const struct ferry__due *due);

/* Where in a slot whole words that begin at this one go, so that the bytes wanted of them lie as in
 * the stream's blocks, if that can be. */
static uint64_t place_words(const struct ferry__stream_piece *piece, uint64_t block, uint64_t align,
                            uint64_t word, uint64_t before)
{
    const uint64_t base = piece->slot->base + FERRY__STREAM_BLOCK;
    const uint64_t to = base + piece->chunk.at % block - before;
    return block > 1 && (to & (align - 1)) == (word & (align - 1)) ? to
                                                                   : base + (word & (align - 1));
}

static enum ferry_status emit_write_piece(struct ferry_device *device,
                                          struct ferry__submission *sub, struct ferry__op *op,
                                          struct ferry__transfer *transfer,
                                          struct ferry__stream_piece *piece, uint64_t most)
{
    const uint64_t align = device->gpu.limits.copy_alignment, block = block_of(transfer);
    piece->stream = op->stream;
    piece->side = transfer->side;
    piece->transfer = op->next_transfer;
    piece->write = true;
    piece->chunk.at = ferry__side_offset(transfer) + op->transfer_done;
    piece->chunk.size = cut(piece->chunk.at, transfer->size - op->transfer_done, most, block);
    /* Whole words, as for downloads to host memory. */
    const struct ferry__memory *memory = transfer->src->memory;
    const uint64_t from = transfer->src->offset + transfer->src_offset + op->transfer_done;
    const uint64_t word = ferry__word(device);
    uint64_t begin = ferry__round_down(from, word);
    uint64_t size = ferry__round_up(from + piece->chunk.size, word) - begin;
    if (begin + size > memory->size) {
        begin = from;
        size = piece->chunk.size;
    }
    const uint64_t to = place_words(piece, block, align, begin, from - begin);
    piece->skip = to + (from - begin);
    return ferry__emit_copy(device, sub, &piece->slot->memory, to, memory, begin, size);
}

static enum ferry__emitted emit_write(struct ferry_device *device, struct ferry__submission *sub,
                                      struct ferry__op *op, struct ferry__transfer *transfer,
                                      enum ferry_status *out_status)
{
    struct ferry_stream *stream = op->stream;
    while (op->transfer_done < transfer->size) {
        if (atomic_load(&stream->broken) == op->next_transfer + 1)
            break; /* the rest is in vain */
        if (is_full(sub))
            return FERRY__EMIT_MORE;
        if (!ferry__due_room(sub, FERRY__STREAM_DEPTH)) {
            *out_status = ferry__no_memory();
            return FERRY__EMIT_FAILED;
        }
        const size_t wanted = ferry__stream_wanted(stream, transfer->side);
        struct ferry__stream_piece *piece = ferry__piece_find_free(stream, depth_of(transfer));
        if (!piece || !wanted)
            return FERRY__EMIT_WAITS;
        *out_status = ferry__slot_take(stream, true, &piece->slot);
        if (*out_status == FERRY_ERROR_POOL_EXHAUSTED)
            return FERRY__EMIT_WAITS;
        if (*out_status)
            return FERRY__EMIT_FAILED;
        *out_status = emit_write_piece(device, sub, op, transfer, piece,
                                       ferry__least(wanted, device->slots->slot_size));
        if (*out_status) {
            ferry__due_add(sub, (struct ferry__due){.run = due_slot, .what = piece->slot});
            piece->slot = NULL;
            return FERRY__EMIT_FAILED;
        }
        ferry__stream_want_met(stream, transfer->side);
        atomic_store(&piece->state, FERRY__PIECE_AWAY);
        ferry__due_add(sub, (struct ferry__due){.run = due_write, .what = piece});
        op->transfer_done += piece->chunk.size;
    }
    return FERRY__EMIT_DONE;
}

/* Where the device could not put it where its block has it, the host does. The device hears of
 * that, since it synchronizes the slot again. */
static enum ferry_status align_piece(struct ferry_device *device, struct ferry__stream_piece *piece)
{
    const uint64_t block = piece->side->methods.block;
    const uint64_t skip = piece->slot->base + piece->chunk.at % block;
    if ((piece->skip - piece->slot->base) % block == piece->chunk.at % block)
        return FERRY_OK;
    memmove(piece->slot->memory.host + skip, piece->slot->memory.host + piece->skip,
            piece->chunk.size);
    piece->skip = skip;
    return ferry__memory_flush(&device->gpu, &piece->slot->memory, piece->skip, piece->chunk.size);
}

/* The device has copied a piece, or not: on to the sink. */
static void write_out(struct ferry_device *device, struct ferry__stream_piece *piece,
                      enum ferry_status status, const char *why)
{
    struct ferry_stream *stream = piece->stream;
    if (status) /* the sink waits for a piece that will not come */
        ferry__stream_stop(stream, status, why);
    const bool over = atomic_load(&stream->over);
    if (!status && !over) {
        status = ferry__memory_invalidate(&device->gpu, &piece->slot->memory, piece->skip,
                                          piece->chunk.size);
        if (!status)
            status = align_piece(device, piece);
        if (status)
            ferry__piece_tell(piece, status, "reading staging memory back failed");
    }
    if (!status && !over) {
        piece->chunk.memory = piece->slot->memory.host + piece->skip;
        ferry__piece_begin(piece);
        return;
    }
    struct ferry__op *op = stream->op;
    ferry__slot_give(device, piece->slot);
    piece->slot = NULL;
    atomic_store(&piece->state, FERRY__PIECE_FREE);
    ferry__device_lock(device);
    ferry__stream_resume(op);
    ferry__device_unlock(device);
}

static void due_write(struct ferry_device *device, struct ferry__submission *sub,
                      const struct ferry__due *due)
{
    write_out(device, due->what, sub->result.status, sub->result.why);
}

/* --- straight into and out of the buffers' memory --------------------------------------------- */

static void plan_straight(struct ferry__op *op, const struct ferry__transfer *transfer,
                          struct ferry__stream_piece *piece, uint64_t most)
{
    const bool write = transfer->operation == FERRY_OPERATION_DOWNLOAD;
    unsigned char *memory = write ? transfer->src->host + transfer->src_offset
                                  : transfer->dst->host + transfer->dst_offset;
    piece->stream = op->stream;
    piece->side = transfer->side;
    piece->transfer = op->next_transfer;
    piece->write = write;
    piece->chunk.at = ferry__side_offset(transfer) + op->transfer_done;
    piece->chunk.size =
        cut(piece->chunk.at, transfer->size - op->transfer_done, most, FERRY__STREAM_BLOCK);
    piece->chunk.memory = memory + op->transfer_done;
}

static enum ferry__emitted emit_straight(struct ferry__op *op, struct ferry__transfer *transfer)
{
    struct ferry_stream *stream = op->stream;
    struct ferry_device *device = op->device;
    transfer->path = FERRY_PATH_DIRECT;
    while (op->transfer_done < transfer->size) {
        if (atomic_load(&stream->broken) == op->next_transfer + 1)
            op->transfer_done = transfer->size;
        if (op->transfer_done == transfer->size)
            break;
        const size_t wanted = ferry__stream_wanted(stream, transfer->side);
        struct ferry__stream_piece *piece = ferry__piece_find_free(stream, depth_of(transfer));
        if (!piece || !wanted)
            return FERRY__EMIT_WAITS;
        plan_straight(op, transfer, piece, ferry__least(wanted, device->slots->slot_size));
        transfer->begun = true;
        op->transfer_done += piece->chunk.size;
        ferry__stream_want_met(stream, transfer->side);
        ferry__piece_begin(piece);
    }
    if (op->next_transfer + 1 < op->count)
        return FERRY__EMIT_DONE;
    ferry__device_lock(device);
    const bool moving = op->moving;
    ferry__device_unlock(device);
    return moving ? FERRY__EMIT_WAITS : FERRY__EMIT_DONE;
}

/* May the stream reach the memory itself, at these addresses? Not a window into a device's memory,
 * and for what takes whole blocks ordinary memory only: direct I/O may know no pages for what a
 * driver mapped. */
static bool reaches(const struct ferry__transfer *transfer)
{
    const bool write = transfer->operation == FERRY_OPERATION_DOWNLOAD;
    const struct ferry_buffer *buffer = write ? transfer->src : transfer->dst;
    if (!(transfer->side->methods.flags & FERRY_STREAM_STRAIGHT) ||
        !ferry__direct_reaches(transfer) || !buffer->memory->cached)
        return false;
    if (!transfer->side->whole_blocks)
        return true;
    const uintptr_t address =
        (uintptr_t)buffer->host + (write ? transfer->src_offset : transfer->dst_offset);
    return buffer->device->gpu.info.kind == FERRY_DEVICE_HOST &&
           (address | ferry__side_offset(transfer) | transfer->size) % FERRY__STREAM_BLOCK == 0;
}

/* Pieces are moved in any order then: all that op depends on must be done, and its writes be apart.
 * That is seen where they go upwards, one buffer after another. */
static bool may_go_straight(struct ferry__op *op)
{
    const struct ferry__transfer *transfers = ferry__op_transfers(op);
    size_t runs = 0;
    if (op->device->path > FERRY_PATH_DIRECT)
        return false;
    for (size_t i = 0; i < op->count; i++) {
        const struct ferry__transfer *transfer = &transfers[i],
                                     *before = i ? &transfers[i - 1] : NULL;
        if (transfer->with != FERRY__WITH_STREAM || !transfer->size ||
            transfer->operation != transfers[0].operation || !reaches(transfer))
            return false;
        if (before && before->dst == transfer->dst && transfer->dst &&
            transfer->dst_offset < before->dst_offset + before->size)
            return false;
        runs += !before || before->dst != transfer->dst;
    }
    if (transfers[0].operation == FERRY_OPERATION_UPLOAD && runs != ferry__footprint_buffers(op))
        return false;
    ferry__device_lock(op->device);
    const bool first = !op->deps_undone;
    ferry__device_unlock(op->device);
    return first;
}

/* --- one transfer ----------------------------------------------------------------------------- */

static enum ferry__emitted emit(struct ferry_device *device, struct ferry__submission *sub,
                                struct ferry__op *op, struct ferry__transfer *transfer,
                                enum ferry_status *out_status)
{
    struct ferry_stream *stream = op->stream;
    if (!stream->looked)
        stream->straight = may_go_straight(op);
    stream->looked = true;
    if (!ferry__stream_begin(stream, transfer)) {
        ferry__set_error(stream->why);
        *out_status = stream->status;
        return FERRY__EMIT_FAILED;
    }
    if (stream->straight)
        return emit_straight(op, transfer);
    const enum ferry__emitted result = transfer->operation == FERRY_OPERATION_UPLOAD
                                           ? emit_read(device, sub, op, transfer, out_status)
                                           : emit_write(device, sub, op, transfer, out_status);
    ferry__slot_had_turn(stream);
    return result;
}

enum ferry__emitted ferry__stream_emit(struct ferry_device *device, struct ferry__submission *sub,
                                       struct ferry__op *op, struct ferry__transfer *transfer,
                                       enum ferry_status *out_status)
{
    if (!op->stream && !ferry__stream_create(op)) {
        *out_status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
        return FERRY__EMIT_FAILED;
    }
    const enum ferry__emitted result = emit(device, sub, op, transfer, out_status);
    if (result == FERRY__EMIT_FAILED)
        ferry__stream_stop(op->stream, *out_status, ferry_last_error());
    return result;
}
