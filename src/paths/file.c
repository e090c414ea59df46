#include "paths/file.h"

#include "base/alloc.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/device.h"

#include <errno.h>
#include <ferry/ferry.h>
#include <ferry/stream.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * Files as streams. A chunk that is read comes from the system's cache as far as it is there, by a
 * thread; the rest is read past the cache, many chunks at once, since nothing else keeps a disk
 * busy and leaves the cache to what was in it. Where that cannot be, a thread waits for it.
 */

enum {
    GAP_MAX = 16 << 10,    /* bytes between two transfers that are read along */
    DIRECT_MIN = 64 << 10, /* less is read through the cache */
};

static bool is_direct_error(int error)
{
    return error == EINVAL || error == EOPNOTSUPP || error == EFAULT;
}

/* --- what becomes of a request ---------------------------------------------------------------- */

static void count(const struct ferry__file_request *request, uint64_t moved)
{
    struct ferry__metrics *metrics = &request->file->device->gpu.metrics;
    if (request->write) {
        FERRY__ADD(metrics, file_writes, 1);
        FERRY__ADD(metrics, file_write_bytes, moved);
    } else {
        FERRY__ADD(metrics, file_reads, 1);
        FERRY__ADD(metrics, file_read_bytes, moved);
    }
}

/* A part of a chunk is over: what of it went past the cache. */
static void count_direct(const struct ferry__file_request *request, uint64_t moved)
{
    struct ferry__metrics *metrics = &request->file->device->gpu.metrics;
    if (!ferry__file_is_past(request->way) || moved <= request->before)
        return;
    if (request->write)
        FERRY__ADD(metrics, file_write_direct_bytes, moved - request->before);
    else
        FERRY__ADD(metrics, file_read_direct_bytes, moved - request->before);
}

/* Bytes of the chunk that are moved, now that the request is over. */
static uint64_t arrived(const struct ferry__file_request *request)
{
    const uint64_t begin = request->chunk->at + request->before;
    const uint64_t lead = begin - request->offset;
    const uint64_t now = request->moved > lead ? request->moved - lead : 0;
    return ferry__least(request->before + now, request->chunk->size);
}

static enum ferry_status explain(const struct ferry__file_request *request, char *why)
{
    const unsigned long long at = request->offset + request->moved;
    const int fd = request->file->fd;
    uint64_t size, offset;
    ferry__chunk_whole(request->chunk, &size, &offset);
    if (request->error == ECANCELED) {
        snprintf(why, FERRY__WHY_MAX, "the device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (request->error)
        snprintf(why, FERRY__WHY_MAX, "%s file %d at byte %llu, in %llu bytes from %llu on: %s",
                 request->write ? "writing" : "reading", fd, at, (unsigned long long)size,
                 (unsigned long long)offset, strerror(request->error));
    else
        snprintf(why, FERRY__WHY_MAX, "file %d ends at byte %llu: %llu bytes from %llu on were %s",
                 fd, at, (unsigned long long)size, (unsigned long long)offset,
                 request->write ? "to go" : "asked for");
    return ferry__status_of_errno(request->error);
}

static void answer(struct ferry__file_request *request)
{
    const uint64_t moved = arrived(request);
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status = FERRY_OK;
    count(request, moved);
    if (moved < request->chunk->size)
        status = explain(request, why);
    ferry_stream *stream = request->stream;
    const struct ferry_stream_chunk *chunk = request->chunk;
    ferry__free(request);
    ferry_stream_done(stream, chunk, (size_t)moved, status, why);
}

/* --- from chunks to requests ------------------------------------------------------------------ */

/* The same file, opened by us; -1, with errno: cannot be had. */
static int again_fd(struct ferry__file *file)
{
    int fd = atomic_load(&file->again_fd), none = -1;
    if (fd >= 0)
        return fd;
    if ((fd = ferry__file_reopen(file->fd, file->write)) < 0)
        return -1;
    if (atomic_compare_exchange_strong(&file->again_fd, &none, fd))
        return fd;
    close(fd); /* another thread was faster */
    return none;
}

/* What is left of the chunk, as it is. */
static void plan_rest(struct ferry__file_request *request, enum ferry__file_way way)
{
    const struct ferry_stream_chunk *chunk = request->chunk;
    request->way = way;
    request->fd = request->file->fd;
    request->offset = chunk->at + request->before;
    request->memory = (unsigned char *)chunk->memory + request->before;
    request->size = chunk->size - request->before;
}

/* What is left in whole blocks: those round it, or, where the memory is not ours to write beside,
 * those in it. False: there are none. */
static bool plan_blocks(struct ferry__file_request *request)
{
    const struct ferry_stream_chunk *chunk = request->chunk;
    const uint64_t at = chunk->at + request->before, end = chunk->at + chunk->size;
    const bool room = chunk->allocation;
    const uint64_t from = room ? ferry__round_down(at, FERRY__FILE_BLOCK) : at;
    const uint64_t to =
        room ? ferry__round_up(end, FERRY__FILE_BLOCK) : ferry__round_down(end, FERRY__FILE_BLOCK);
    if (from >= to || from % FERRY__FILE_BLOCK ||
        ((uintptr_t)chunk->memory - chunk->at) % FERRY__FILE_BLOCK)
        return false;
    plan_rest(request, FERRY__FILE_DIRECT);
    request->memory -= at - from;
    request->offset = from;
    request->size = to - from;
    return true;
}

/* The same, round it, into memory that whoever carries it out lends: the disk has as much to do as
 * if the chunk's own memory lay right. */
static void plan_aside(struct ferry__file_request *request)
{
    plan_rest(request, FERRY__FILE_ASIDE);
    const uint64_t end = request->offset + request->size;
    request->memory = NULL;
    request->offset = ferry__round_down(request->offset, FERRY__FILE_BLOCK);
    request->size = ferry__round_up(end, FERRY__FILE_BLOCK) - request->offset;
}

void ferry__file_plainly(struct ferry__file_request *request)
{
    plan_rest(request, FERRY__FILE_PLAIN);
}

void ferry__file_from_aside(const struct ferry__file_request *request)
{
    const uint64_t at = request->chunk->at + request->before;
    const uint64_t size = arrived(request) - request->before;
    if (size)
        memcpy((unsigned char *)request->chunk->memory + request->before,
               request->memory + (at - request->offset), size);
}

/* The way that what is left of a chunk is read: the next of it is not in the cache. */
static void plan_read_on(struct ferry__file_request *request)
{
    struct ferry__file *file = request->file;
    plan_rest(request, FERRY__FILE_PLAIN);
    if (file->device->files->through_cache || atomic_load(&file->no_direct_io) ||
        request->size < DIRECT_MIN)
        return;
    if (!plan_blocks(request))
        plan_aside(request);
    if ((request->fd = again_fd(file)) >= 0)
        return;
    atomic_store(&file->no_direct_io, true);
    plan_rest(request, FERRY__FILE_PLAIN);
}

static void plan_read(struct ferry__file_request *request)
{
    if (request->file->direct && plan_blocks(request))
        return;
    plan_rest(request,
              atomic_load(&request->file->no_nowait) ? FERRY__FILE_PLAIN : FERRY__FILE_CACHED);
}

/* Direct I/O writes whole blocks; the parts of blocks at the ends go through the cache, so that
 * nothing else in the block is written. 0, or an errno. */
static int plan_write(struct ferry__file_request *request)
{
    struct ferry__file *file = request->file;
    plan_rest(request, FERRY__FILE_PLAIN);
    if (!file->direct)
        return 0;
    const uint64_t head = -request->offset & (FERRY__FILE_BLOCK - 1);
    if (!head && request->size >= FERRY__FILE_BLOCK) {
        request->way = FERRY__FILE_DIRECT;
        request->size = ferry__round_down(request->size, FERRY__FILE_BLOCK);
        return 0;
    }
    if (head)
        request->size = ferry__least(head, request->size);
    request->fd = again_fd(file);
    return request->fd < 0 ? errno : 0;
}

static void cannot_reopen(struct ferry__file_request *request, int error)
{
    char why[FERRY__WHY_MAX];
    snprintf(
        why, sizeof why,
        "file %d is open for direct I/O, and cannot be opened again for the parts of blocks in "
        "%zu bytes from %llu on: %s",
        request->file->fd, request->chunk->size, (unsigned long long)request->chunk->at,
        strerror(error));
    ferry_stream_done(request->stream, request->chunk, (size_t)request->before,
                      ferry__status_of_errno(error), why);
    ferry__free(request);
}

/* What comes after a part that was read, and not wholly. False: nothing, it is over. */
static bool read_on(struct ferry__file_request *request)
{
    struct ferry__file *file = request->file;
    const int error = request->error;
    const enum ferry__file_way way = request->way;
    request->before = arrived(request);
    const bool past = ferry__file_is_past(way);
    const bool ended = past && !error && request->moved < request->size;
    if (error == ECANCELED || request->refused || way == FERRY__FILE_PLAIN || ended ||
        (past && error && file->direct))
        return false;
    if (way == FERRY__FILE_CACHED && error == EOPNOTSUPP)
        atomic_store(&file->no_nowait, true);
    if (past && is_direct_error(error))
        atomic_store(&file->no_direct_io, true);
    if (way == FERRY__FILE_CACHED && error == EAGAIN)
        plan_read_on(request);
    else
        plan_rest(request, FERRY__FILE_PLAIN); /* a part of a block; or it tells what is wrong */
    request->moved = 0;
    request->error = 0;
    return true;
}

bool ferry__file_over(struct ferry__file_request *request)
{
    const uint64_t moved = arrived(request);
    bool more = false;
    count_direct(request, moved);
    if (moved < request->chunk->size && !request->write) {
        more = read_on(request);
    } else if (moved < request->chunk->size && request->moved == request->size) {
        request->before = moved;
        request->moved = 0;
        const int error = plan_write(request);
        if (error) {
            cannot_reopen(request, error);
            return false;
        }
        more = true;
    }
    if (!more)
        answer(request);
    return more;
}

static void move_chunk(void *user, ferry_stream *stream, const struct ferry_stream_chunk *chunk)
{
    struct ferry__file *file = user;
    struct ferry__file_request *request = ferry__alloc(sizeof *request);
    if (!request) {
        ferry_stream_done(stream, chunk, 0, FERRY_ERROR_OUT_OF_HOST_MEMORY,
                          "no host memory to read or write a file");
        return;
    }
    int error = 0;
    *request = (struct ferry__file_request){
        .file = file, .stream = stream, .chunk = chunk, .write = file->write};
    if (file->write)
        error = plan_write(request);
    else
        plan_read(request);
    if (error)
        cannot_reopen(request, error);
    else
        ferry__file_begin(file->device->files, request);
}

/* --- files ------------------------------------------------------------------------------------ */

/* Two thirds of the slots are read into while the device copies from the others. */
static unsigned depth_of(const struct ferry_device *device)
{
    const unsigned slots = atomic_load(&device->slots)->slots_max;
    return slots < 3 ? slots : slots * 2 / 3;
}

static void release(struct ferry__stream_side *side)
{
    struct ferry__file *file = (struct ferry__file *)side;
    const int fd = atomic_load(&file->again_fd);
    if (fd >= 0)
        close(fd);
    ferry__free(file);
}

struct ferry__stream_side *ferry__file_side(struct ferry_device *device, int fd, int flags,
                                            bool write)
{
    struct ferry__file *file = ferry__alloc(sizeof *file);
    if (!file) {
        (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *file);
        return NULL;
    }
    file->device = device;
    file->fd = fd;
    file->write = write;
    file->direct = ferry__file_is_direct(flags);
    atomic_init(&file->again_fd, -1);
    file->side.methods = (struct ferry_stream_methods){
        .version = FERRY_STREAM_VERSION,
        .flags = FERRY_STREAM_EAGER | FERRY_STREAM_STRAIGHT,
        .depth = depth_of(device),
        .block = file->direct || !write ? FERRY__FILE_BLOCK : 1,
        .chunk = move_chunk,
    };
    file->side.user = file;
    file->side.gap = write ? 0 : GAP_MAX;
    file->side.whole_blocks = file->direct;
    file->side.release = release;
    atomic_init(&file->side.refs, 1);
    return &file->side;
}

bool ferry__file_is(const struct ferry__stream_side *side, int fd, int flags, bool write)
{
    const struct ferry__file *file = (const struct ferry__file *)side;
    return side && side->release == release && file->fd == fd && file->write == write &&
           file->direct == ferry__file_is_direct(flags);
}
