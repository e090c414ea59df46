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

/* Files as streams: everything is there from the beginning, in blocks where direct I/O wants it. */

enum { GAP_MAX = 16 << 10 }; /* bytes between two transfers that are read along */

/* --- what becomes of a request ---------------------------------------------------------------- */

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
    const struct ferry_stream_chunk *chunk = request->chunk;
    const unsigned long long at = request->offset + request->moved, from = chunk->at;
    if (request->error == ECANCELED) {
        snprintf(why, FERRY__WHY_MAX, "the device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (request->error)
        snprintf(why, FERRY__WHY_MAX, "%s file %d at byte %llu, in %zu bytes from %llu on: %s",
                 request->write ? "writing" : "reading", request->file->fd, at, chunk->size, from,
                 strerror(request->error));
    else
        snprintf(why, FERRY__WHY_MAX, "file %d ends at byte %llu: %zu bytes from %llu on were %s",
                 request->file->fd, at, chunk->size, from, request->write ? "to go" : "asked for");
    return ferry__status_of_errno(request->error);
}

/* --- from chunks to requests ------------------------------------------------------------------ */

/* The same file, opened to write through the system's cache; -1, with errno: cannot be had. */
static int cached_fd(struct ferry__file *file)
{
    int fd = atomic_load(&file->cached_fd), none = -1;
    if (fd >= 0)
        return fd;
    if ((fd = ferry__file_reopen(file->fd)) < 0)
        return -1;
    if (atomic_compare_exchange_strong(&file->cached_fd, &none, fd))
        return fd;
    close(fd); /* another thread was faster */
    return none;
}

/* Direct I/O reads whole blocks: those round the chunk. */
static void plan_read(struct ferry__file_request *request)
{
    const struct ferry_stream_chunk *chunk = request->chunk;
    const uint64_t lead = request->direct ? chunk->at % FERRY__FILE_BLOCK : 0;
    request->offset = chunk->at - lead;
    request->memory = (unsigned char *)chunk->memory - lead;
    request->size =
        request->direct ? ferry__round_up(lead + chunk->size, FERRY__FILE_BLOCK) : chunk->size;
}

/* Direct I/O writes whole blocks; the parts of blocks at the ends go through the cache, so that
 * nothing else in the block is written. 0, or an errno. */
static int plan_write(struct ferry__file *file, struct ferry__file_request *request)
{
    const struct ferry_stream_chunk *chunk = request->chunk;
    const uint64_t at = chunk->at + request->before, left = chunk->size - request->before;
    const uint64_t head = -at & (FERRY__FILE_BLOCK - 1);
    request->offset = at;
    request->memory = (unsigned char *)chunk->memory + request->before;
    request->size = left;
    request->fd = file->fd;
    request->direct = file->direct && !head && left >= FERRY__FILE_BLOCK;
    if (request->direct)
        request->size = ferry__round_down(left, FERRY__FILE_BLOCK);
    else if (file->direct && head)
        request->size = ferry__least(head, left);
    if (request->direct || !file->direct)
        return 0;
    request->fd = cached_fd(file);
    return request->fd < 0 ? errno : 0;
}

static void answer(struct ferry__file_request *request)
{
    const uint64_t moved = arrived(request);
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status = FERRY_OK;
    if (moved < request->chunk->size)
        status = explain(request, why);
    ferry_stream *stream = request->stream;
    const struct ferry_stream_chunk *chunk = request->chunk;
    ferry__free(request);
    ferry_stream_done(stream, chunk, (size_t)moved, status, why);
}

/* Begins what is next of the chunk. */
static void go_on(struct ferry__file *file, struct ferry__file_request *request)
{
    int error = 0;
    request->moved = 0;
    request->error = 0;
    if (request->write)
        error = plan_write(file, request);
    else
        plan_read(request);
    if (!error) {
        ferry__file_begin(file->device->files, request);
        return;
    }
    char why[FERRY__WHY_MAX];
    snprintf(
        why, sizeof why,
        "file %d is open for direct I/O, and cannot be opened again for the parts of blocks in "
        "%zu bytes from %llu on: %s",
        file->fd, request->chunk->size, (unsigned long long)request->chunk->at, strerror(error));
    ferry_stream_done(request->stream, request->chunk, (size_t)request->before,
                      ferry__status_of_errno(error), why);
    ferry__free(request);
}

void ferry__file_done(struct ferry__file_io *io, struct ferry__file_request *request)
{
    count(io->device, request);
    const uint64_t moved = arrived(request);
    if (!request->write || moved == request->chunk->size || request->moved < request->size) {
        answer(request);
        return;
    }
    request->before = moved;
    go_on((struct ferry__file *)(uintptr_t)request->file, request);
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
    *request = (struct ferry__file_request){.file = file,
                                            .stream = stream,
                                            .chunk = chunk,
                                            .fd = file->fd,
                                            .write = file->write,
                                            .direct = file->direct};
    go_on(file, request);
}

/* --- files ------------------------------------------------------------------------------------ */

static void release(struct ferry__stream_side *side)
{
    struct ferry__file *file = (struct ferry__file *)side;
    const int fd = atomic_load(&file->cached_fd);
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
    atomic_init(&file->cached_fd, -1);
    file->side.methods = (struct ferry_stream_methods){
        .version = FERRY_STREAM_VERSION,
        .flags = FERRY_STREAM_EAGER | FERRY_STREAM_STRAIGHT,
        .depth = FERRY__FILE_DEPTH,
        .block = file->direct ? FERRY__FILE_BLOCK : 1,
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
