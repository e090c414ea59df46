#include "paths/file_piece.h"

#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "driver.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "paths/file.h"

#include <errno.h>
#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What becomes of a piece of a file. */

struct ferry__file_piece *ferry__piece_find_free(struct ferry__files *files)
{
    for (unsigned i = 0; i < FERRY__FILE_DEPTH; i++)
        if (atomic_load(&files->moves[i].state) == FERRY__PIECE_FREE)
            return &files->moves[i];
    return NULL;
}

void ferry__piece_begin(struct ferry__file_piece *piece)
{
    struct ferry_device *device = piece->op->device;
    atomic_store(&piece->state, FERRY__PIECE_MOVING);
    ferry__device_lock(device);
    piece->op->moving++;
    ferry__device_unlock(device);
    ferry__file_begin(device->files, &piece->request);
}

/* --- what becomes of a request
 * ----------------------------------------------------------------- */

enum ferry_status ferry__piece_explain(const struct ferry__file_piece *piece,
                                       const struct ferry__transfer *transfer, char *why)
{
    const struct ferry__file_request *request = &piece->request;
    const unsigned long long at = request->offset + request->moved;
    if (request->error == ECANCELED) {
        snprintf(why, FERRY__WHY_MAX, "the device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (request->error)
        snprintf(why, FERRY__WHY_MAX, "%s file %d at byte %llu, in %llu bytes from %llu on: %s",
                 request->write ? "writing" : "reading", request->fd, at,
                 (unsigned long long)transfer->size, (unsigned long long)transfer->file_offset,
                 strerror(request->error));
    else
        snprintf(why, FERRY__WHY_MAX, "file %d ends at byte %llu: %llu bytes from %llu on were %s",
                 request->fd, at, (unsigned long long)transfer->size,
                 (unsigned long long)transfer->file_offset, request->write ? "to go" : "asked for");
    return FERRY_ERROR_IO;
}

void ferry__piece_tell(struct ferry__file_piece *piece, enum ferry_status status, const char *why)
{
    struct ferry__op *op = piece->op;
    struct ferry__transfer *transfer = &op->transfers[piece->transfer];
    ferry__device_lock(op->device);
    if (!transfer->status)
        transfer->status = status;
    ferry__op_explain(op, why);
    ferry__device_unlock(op->device);
    atomic_store(&op->files->broken, piece->transfer + 1);
}

uint64_t ferry__piece_arrived(const struct ferry__file_piece *piece)
{
    const uint64_t lead = piece->file_offset - piece->request.offset;
    return piece->request.moved > lead ? ferry__least(piece->request.moved - lead, piece->size) : 0;
}

/* A piece is read: what direct I/O put elsewhere goes where the device can copy it. */
static void settle_read(struct ferry_device *device, struct ferry__file_piece *piece)
{
    unsigned char *wanted = piece->slot->memory.host + piece->skip;
    const unsigned char *there =
        piece->request.memory + (piece->file_offset - piece->request.offset);
    const uint64_t size = ferry__piece_arrived(piece);
    if (wanted != there && size)
        memmove(wanted, there, size);
    piece->status =
        ferry__memory_flush(&device->gpu, &piece->slot->memory, piece->skip, piece->size);
}

static void count(struct ferry_device *device, const struct ferry__file_request *request)
{
    if (request->write) {
        FERRY__ADD(&device->gpu.metrics, file_writes, 1);
        FERRY__ADD(&device->gpu.metrics, file_write_bytes, request->moved);
    } else {
        FERRY__ADD(&device->gpu.metrics, file_reads, 1);
        FERRY__ADD(&device->gpu.metrics, file_read_bytes, request->moved);
    }
}

void ferry__file_done(struct ferry__file_io *io, struct ferry__file_request *request)
{
    struct ferry__file_piece *piece = (struct ferry__file_piece *)request;
    struct ferry_device *device = io->device;
    struct ferry__op *op = piece->op;
    const bool comes_again = piece->slot && !request->write; /* the cursor comes to it */
    count(device, request);
    if (comes_again) {
        settle_read(device, piece);
    } else {
        char why[FERRY__WHY_MAX];
        if (ferry__piece_arrived(piece) < piece->size)
            ferry__piece_tell(
                piece, ferry__piece_explain(piece, &op->transfers[piece->transfer], why), why);
        if (piece->slot)
            ferry__file_slot_give(device, piece->slot);
        piece->slot = NULL;
    }
    atomic_store(&piece->state, comes_again ? FERRY__PIECE_HERE : FERRY__PIECE_FREE);
    ferry__device_lock(device);
    op->moving--;
    ferry__file_resume(op);
    ferry__op_try_done(op);
    ferry__kick(device);
    ferry__device_unlock(device);
}
