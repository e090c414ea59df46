#include "base/alloc.h"
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
#include "paths/file.h"
#include "paths/file_op.h"
#include "paths/file_piece.h"
#include "paths/record.h"

#include <errno.h>
#include <ferry/ferry.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/*
 * The pieces of an op's files. Reading runs ahead of the op's cursor, in the transfers' order: up to
 * FERRY__FILE_DEPTH pieces are read while others are copied by the device. Small transfers that lie
 * near each other in a file are one piece. An op whose next piece is not there leaves its queue,
 * and is resumed when it is: no other work waits for a file. A written transfer's pieces are copied to
 * staging by the device, and written once that is done.
 */

enum { GAP_MAX = 16 << 10 }; /* bytes between two transfers that are read along */

static bool is_read(const struct ferry__transfer *transfer)
{
    return transfer->file && transfer->size && transfer->operation == FERRY_OPERATION_UPLOAD;
}

static bool is_full(const struct ferry__submission *sub)
{
    return sub->command_count >= FERRY__COMMANDS_MAX;
}

/* --- reading ahead
 * ----------------------------------------------------------------------------- */

/* Moves on to what is to be read next. False: nothing. */
static bool find_ahead(struct ferry__op *op)
{
    struct ferry__files *files = op->files;
    if (files->ahead_transfer < op->next_transfer) { /* a transfer failed, and is left out */
        files->ahead_transfer = op->next_transfer;
        files->ahead_done = 0;
    }
    while (files->ahead_transfer < op->count) {
        const struct ferry__transfer *transfer = &op->transfers[files->ahead_transfer];
        if (is_read(transfer) && files->ahead_done < transfer->size)
            return true;
        files->ahead_transfer++;
        files->ahead_done = 0;
    }
    return false;
}

/* Bytes of a piece that begins at an offset of a file; a cut is at the end of a block. */
static uint64_t cut(uint64_t file_offset, uint64_t left, uint64_t most)
{
    if (left <= most)
        return left;
    return ferry__round_down(file_offset + most, FERRY__FILE_BLOCK) - file_offset;
}

/* The same where the device takes whole words: parts of words are pieces of their own. */
static uint64_t cut_words(uint64_t dst, uint64_t size, uint64_t align, bool *out_edge)
{
    const uint64_t head = -dst & (align - 1);
    *out_edge = head || size < align;
    return head ? ferry__least(head, size) : size < align ? size : ferry__round_down(size, align);
}

/* Transfers that follow in the file, and fit, are read along. */
static void read_along(struct ferry__op *op, struct ferry__file_piece *piece, uint64_t most)
{
    struct ferry__files *files = op->files;
    for (size_t i = files->ahead_transfer + 1; i < op->count; i++) {
        const struct ferry__transfer *transfer = &op->transfers[i];
        const uint64_t end = piece->file_offset + piece->size;
        if (!is_read(transfer))
            continue;
        if (transfer->fd != piece->request.fd || transfer->file_offset < end ||
            transfer->file_offset - end > GAP_MAX ||
            transfer->file_offset + transfer->size - piece->file_offset > most)
            return;
        piece->size = transfer->file_offset + transfer->size - piece->file_offset;
        files->ahead_transfer = i;
        files->ahead_done = transfer->size;
    }
}

/* Takes what the next piece is to hold, and says where. */
static void plan_ahead(struct ferry__op *op, struct ferry__file_piece *piece)
{
    struct ferry__files *files = op->files;
    const struct ferry__transfer *transfer = &op->transfers[files->ahead_transfer];
    const uint64_t dst = transfer->dst->offset + transfer->dst_offset + files->ahead_done;
    const uint64_t left = transfer->size - files->ahead_done, most = op->device->files->slot_size;
    const uint64_t align = op->device->gpu.limits.copy_alignment, base = piece->slot->base;
    const bool words = transfer->by_words;
    piece->op = op;
    piece->transfer = files->ahead_transfer;
    piece->file_offset = transfer->file_offset + files->ahead_done;
    piece->size = cut(piece->file_offset, left, most);
    piece->edge = false;
    if (words)
        piece->size = cut_words(dst, piece->size, align, &piece->edge);
    piece->request =
        (struct ferry__file_request){.fd = transfer->fd, .direct = transfer->direct_io};
    files->ahead_done += piece->size;
    if (!words && piece->size == left)
        read_along(op, piece, most);
    piece->end_transfer = files->ahead_transfer;
    piece->end_done = files->ahead_done;
    const uint64_t lead = transfer->direct_io ? piece->file_offset % FERRY__FILE_BLOCK : 0;
    const uint64_t phase = dst & (align - 1);
    piece->request.offset = piece->file_offset - lead;
    piece->request.size =
        transfer->direct_io ? ferry__round_up(lead + piece->size, FERRY__FILE_BLOCK) : piece->size;
    piece->skip = base + (transfer->direct_io && !words ? lead : phase);
    piece->request.memory = piece->slot->memory.host + (transfer->direct_io ? base : piece->skip);
}

/* Begins to read as much as there is room for. OK, also if that is nothing: op is resumed then. */
static enum ferry_status read_ahead(struct ferry__op *op)
{
    struct ferry__files *files = op->files;
    while (files->count < FERRY__FILE_DEPTH && find_ahead(op)) {
        struct ferry__file_piece *piece =
            &files->reads[(files->first + files->count) % FERRY__FILE_DEPTH];
        const enum ferry_status status = ferry__file_slot_take(op, false, &piece->slot);
        if (status == FERRY_ERROR_POOL_EXHAUSTED)
            return FERRY_OK;
        if (status)
            return status;
        plan_ahead(op, piece);
        files->count++;
        ferry__piece_begin(piece);
    }
    return FERRY_OK;
}

static void due_slot(struct ferry_device *device, struct ferry__submission *sub,
                     const struct ferry__due *due)
{
    (void)sub;
    ferry__file_slot_give(device, due->what);
}

/* --- from pieces that were read to commands
 * ---------------------------------------------------- */

/* Lets the pieces go that the cursor has passed; their slots come back when the submission is done.
 * False: one of them is still being read. */
static bool let_pass(struct ferry__op *op, struct ferry__submission *sub)
{
    struct ferry__files *files = op->files;
    while (files->count) {
        struct ferry__file_piece *piece = &files->reads[files->first];
        if (piece->end_transfer > op->next_transfer ||
            (piece->end_transfer == op->next_transfer && piece->end_done > op->transfer_done))
            return true;
        if (atomic_load(&piece->state) == FERRY__PIECE_MOVING)
            return false;
        ferry__due_add(sub, (struct ferry__due){.run = due_slot, .what = piece->slot});
        piece->slot = NULL;
        atomic_store(&piece->state, FERRY__PIECE_FREE);
        files->first = (files->first + 1) % FERRY__FILE_DEPTH;
        files->count--;
    }
    return true;
}

/* The host merges these bytes into the words round them. */
static enum ferry__emitted emit_edge(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__op *op, struct ferry__transfer *transfer,
                                     const struct ferry__file_piece *piece,
                                     enum ferry_status *out_status)
{
    const uint64_t at = piece->file_offset - transfer->file_offset;
    memcpy(op->files->edge, piece->slot->memory.host + piece->skip, piece->size);
    transfer->host = (unsigned char *)((uintptr_t)op->files->edge - at);
    return ferry__emit_rmw(device, sub, op, transfer, at + piece->size, out_status);
}

static enum ferry__emitted emit_piece(struct ferry_device *device, struct ferry__submission *sub,
                                      struct ferry__op *op, struct ferry__transfer *transfer,
                                      const struct ferry__file_piece *piece,
                                      enum ferry_status *out_status)
{
    const uint64_t at = transfer->file_offset + op->transfer_done - piece->file_offset;
    const uint64_t size = ferry__least(transfer->size - op->transfer_done, piece->size - at);
    char why[FERRY__WHY_MAX];
    *out_status = piece->status;
    if (!*out_status && ferry__piece_arrived(piece) < at + size) {
        *out_status = ferry__piece_explain(piece, transfer, why);
        ferry__set_error(why);
    }
    if (*out_status)
        return FERRY__EMIT_FAILED;
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
    struct ferry__files *files = op->files;
    for (;;) {
        if (!ferry__due_room(sub, FERRY__FILE_DEPTH)) {
            *out_status = ferry__no_memory();
            return FERRY__EMIT_FAILED;
        }
        if (!let_pass(op, sub))
            return FERRY__EMIT_WAITS;
        const enum ferry_status status = read_ahead(op);
        if (op->transfer_done == transfer->size)
            return FERRY__EMIT_DONE;
        if (status && !files->count) {
            *out_status = status;
            return FERRY__EMIT_FAILED;
        }
        const struct ferry__file_piece *piece = &files->reads[files->first];
        if (!files->count || atomic_load(&piece->state) == FERRY__PIECE_MOVING)
            return FERRY__EMIT_WAITS;
        if (is_full(sub))
            return FERRY__EMIT_MORE;
        const enum ferry__emitted result = emit_piece(device, sub, op, transfer, piece, out_status);
        if (result != FERRY__EMIT_DONE)
            return result;
    }
}

/* --- writing
 * ----------------------------------------------------------------------------------- */

static void due_write(struct ferry_device *device, struct ferry__submission *sub,
                      const struct ferry__due *due);

/* Direct I/O writes whole blocks; the parts of blocks at a transfer's ends go through the cache, so
 * that nothing else in the block is written. */
static enum ferry_status plan_write(struct ferry__transfer *transfer,
                                    struct ferry__file_piece *piece, uint64_t left, uint64_t most)
{
    const uint64_t head = -piece->file_offset & (FERRY__FILE_BLOCK - 1);
    piece->request = (struct ferry__file_request){.fd = transfer->fd,
                                                  .write = true,
                                                  .direct = transfer->direct_io,
                                                  .offset = piece->file_offset};
    piece->size = cut(piece->file_offset, left, most);
    if (transfer->direct_io) {
        piece->request.direct = !head && piece->size >= FERRY__FILE_BLOCK;
        if (head)
            piece->size = ferry__least(head, piece->size);
        else if (piece->request.direct)
            piece->size = ferry__round_down(piece->size, FERRY__FILE_BLOCK);
    }
    piece->request.size = piece->size;
    if (piece->request.direct || !transfer->direct_io)
        return FERRY_OK;
    if (!transfer->reopened) {
        const int fd = ferry__file_reopen(transfer->fd);
        if (fd < 0)
            return ferry__fail(FERRY_ERROR_IO,
                               "file %d is open for direct I/O, and cannot be opened again for the "
                               "parts of blocks in %llu bytes from %llu on: %s",
                               transfer->fd, (unsigned long long)transfer->size,
                               (unsigned long long)transfer->file_offset, strerror(errno));
        transfer->reopened = true;
        transfer->cached_fd = fd;
    }
    piece->request.fd = transfer->cached_fd;
    return FERRY_OK;
}

static enum ferry_status emit_write_piece(struct ferry_device *device,
                                          struct ferry__submission *sub, struct ferry__op *op,
                                          struct ferry__transfer *transfer,
                                          struct ferry__file_piece *piece)
{
    const uint64_t align = device->gpu.limits.copy_alignment, base = piece->slot->base;
    piece->op = op;
    piece->transfer = op->next_transfer;
    piece->file_offset = transfer->file_offset + op->transfer_done;
    enum ferry_status status =
        plan_write(transfer, piece, transfer->size - op->transfer_done, device->files->slot_size);
    if (status)
        return status;
    /* Whole words, as for downloads to host memory. */
    const struct ferry__memory *memory = transfer->src->memory;
    const uint64_t from = transfer->src->offset + transfer->src_offset + op->transfer_done;
    const uint64_t word = ferry__word(device);
    uint64_t begin = ferry__round_down(from, word);
    uint64_t size = ferry__round_up(from + piece->size, word) - begin;
    if (begin + size > memory->size) {
        begin = from;
        size = piece->size;
    }
    const uint64_t to = base + (begin & (align - 1));
    piece->skip = to + (from - begin);
    return ferry__emit_copy(device, sub, &piece->slot->memory, to, memory, begin, size);
}

static enum ferry__emitted emit_write(struct ferry_device *device, struct ferry__submission *sub,
                                      struct ferry__op *op, struct ferry__transfer *transfer,
                                      enum ferry_status *out_status)
{
    struct ferry__files *files = op->files;
    while (op->transfer_done < transfer->size) {
        if (atomic_load(&files->broken) == op->next_transfer + 1)
            break; /* the rest is in vain */
        if (is_full(sub))
            return FERRY__EMIT_MORE;
        if (!ferry__due_room(sub, FERRY__FILE_DEPTH)) {
            *out_status = ferry__no_memory();
            return FERRY__EMIT_FAILED;
        }
        struct ferry__file_piece *piece = ferry__piece_find_free(files);
        if (!piece)
            return FERRY__EMIT_WAITS;
        *out_status = ferry__file_slot_take(op, true, &piece->slot);
        if (*out_status == FERRY_ERROR_POOL_EXHAUSTED)
            return FERRY__EMIT_WAITS;
        if (*out_status)
            return FERRY__EMIT_FAILED;
        *out_status = emit_write_piece(device, sub, op, transfer, piece);
        if (*out_status) {
            ferry__due_add(sub, (struct ferry__due){.run = due_slot, .what = piece->slot});
            piece->slot = NULL;
            return FERRY__EMIT_FAILED;
        }
        atomic_store(&piece->state, FERRY__PIECE_AWAY);
        ferry__due_add(sub, (struct ferry__due){.run = due_write, .what = piece});
        op->transfer_done += piece->size;
    }
    return FERRY__EMIT_DONE;
}

/* Direct I/O writes from the start of a block. The device hears of what is moved there, since it
 * synchronizes the slot again. */
static enum ferry_status align_slot(struct ferry_device *device, struct ferry__file_piece *piece)
{
    const unsigned char *there = piece->request.memory;
    piece->request.memory = piece->slot->memory.host + piece->slot->base;
    if (piece->request.memory == there)
        return FERRY_OK;
    memmove(piece->request.memory, there, piece->size);
    piece->skip = piece->slot->base;
    return ferry__memory_flush(&device->gpu, &piece->slot->memory, piece->skip, piece->size);
}

/* The device has copied a piece, or not: on to the file. */
static void write_out(struct ferry_device *device, struct ferry__file_piece *piece,
                      enum ferry_status status)
{
    piece->request.memory = piece->slot->memory.host + piece->skip;
    if (!status) {
        status =
            ferry__memory_invalidate(&device->gpu, &piece->slot->memory, piece->skip, piece->size);
        if (!status && piece->request.direct)
            status = align_slot(device, piece);
        if (status)
            ferry__piece_tell(piece, status, "reading staging memory back failed");
    }
    if (!status) {
        ferry__piece_begin(piece);
        return;
    }
    struct ferry__op *op = piece->op;
    ferry__file_slot_give(device, piece->slot);
    piece->slot = NULL;
    atomic_store(&piece->state, FERRY__PIECE_FREE);
    ferry__device_lock(device);
    ferry__file_resume(op);
    ferry__device_unlock(device);
}

static void due_write(struct ferry_device *device, struct ferry__submission *sub,
                      const struct ferry__due *due)
{
    write_out(device, due->what, sub->result.status);
}

/* --- straight into and out of the buffers' memory
 * ---------------------------------------------- */

static enum ferry__emitted emit_straight(struct ferry__op *op, struct ferry__transfer *transfer)
{
    struct ferry__files *files = op->files;
    struct ferry_device *device = op->device;
    const bool write = transfer->operation == FERRY_OPERATION_DOWNLOAD;
    unsigned char *memory = write ? transfer->src->host + transfer->src_offset
                                  : transfer->dst->host + transfer->dst_offset;
    transfer->path = FERRY_PATH_DIRECT;
    while (op->transfer_done < transfer->size) {
        if (atomic_load(&files->broken) == op->next_transfer + 1)
            op->transfer_done = transfer->size;
        if (op->transfer_done == transfer->size)
            break;
        struct ferry__file_piece *piece = ferry__piece_find_free(files);
        if (!piece)
            return FERRY__EMIT_WAITS;
        const uint64_t at = transfer->file_offset + op->transfer_done;
        const uint64_t size = cut(at, transfer->size - op->transfer_done, device->files->slot_size);
        piece->op = op;
        piece->transfer = op->next_transfer;
        piece->file_offset = at;
        piece->size = size;
        piece->request = (struct ferry__file_request){.fd = transfer->fd,
                                                      .write = write,
                                                      .direct = transfer->direct_io,
                                                      .memory = memory + op->transfer_done,
                                                      .size = size,
                                                      .offset = at};
        transfer->begun = true;
        ferry__piece_begin(piece);
        op->transfer_done += size;
    }
    if (op->next_transfer + 1 < op->count)
        return FERRY__EMIT_DONE;
    ferry__device_lock(device);
    const bool moving = op->moving;
    ferry__device_unlock(device);
    return moving ? FERRY__EMIT_WAITS : FERRY__EMIT_DONE;
}

/* May the system read and write the memory itself, at these addresses? Not a window into a device's
 * memory, and for direct I/O ordinary memory only: it may know no pages for what a driver
 * mapped. */
static bool reaches(const struct ferry__transfer *transfer)
{
    const bool write = transfer->operation == FERRY_OPERATION_DOWNLOAD;
    const struct ferry_buffer *buffer = write ? transfer->src : transfer->dst;
    if (!ferry__direct_reaches(transfer) || !buffer->memory->cached)
        return false;
    if (!transfer->direct_io)
        return true;
    const uintptr_t address =
        (uintptr_t)buffer->host + (write ? transfer->src_offset : transfer->dst_offset);
    return buffer->device->gpu.info.kind == FERRY_DEVICE_HOST &&
           (address | transfer->file_offset | transfer->size) % FERRY__FILE_BLOCK == 0;
}

/* Pieces are moved in any order then: all that op depends on must be done, and its writes be apart.
 * That is seen where they go upwards, one buffer after another. */
static bool may_go_straight(struct ferry__op *op)
{
    const struct ferry__transfer *transfers = op->transfers;
    size_t runs = 0;
    if (op->device->path > FERRY_PATH_DIRECT)
        return false;
    for (size_t i = 0; i < op->count; i++) {
        const struct ferry__transfer *transfer = &transfers[i],
                                     *before = i ? &transfers[i - 1] : NULL;
        if (!transfer->file || !transfer->size || transfer->operation != transfers[0].operation ||
            !reaches(transfer))
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

/* --- one transfer
 * ---------------------------------------------------------------------------------- */

enum ferry__emitted ferry__file_emit(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__op *op, struct ferry__transfer *transfer,
                                     enum ferry_status *out_status)
{
    if (!op->files) {
        op->files = ferry__alloc(sizeof *op->files);
        if (!op->files) {
            *out_status = ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY,
                                      "no host memory for %zu bytes", sizeof *op->files);
            return FERRY__EMIT_FAILED;
        }
        op->files->straight = may_go_straight(op);
    }
    if (op->files->straight)
        return emit_straight(op, transfer);
    const enum ferry__emitted result = transfer->operation == FERRY_OPERATION_UPLOAD
                                           ? emit_read(device, sub, op, transfer, out_status)
                                           : emit_write(device, sub, op, transfer, out_status);
    ferry__file_had_turn(op);
    return result;
}

void ferry__files_free(struct ferry__op *op)
{
    if (!op->files)
        return;
    for (unsigned i = 0; i < FERRY__FILE_DEPTH; i++)
        if (op->files->reads[i].slot)
            ferry__file_slot_give(op->device, op->files->reads[i].slot);
    ferry__file_sated(op);
    ferry__free(op->files);
    op->files = NULL;
}

void ferry__file_transfer_finish(struct ferry__transfer *transfer)
{
    if (transfer->reopened)
        close(transfer->cached_fd);
}
