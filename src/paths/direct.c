#include "paths/direct.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "base/copy_host.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/window.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/failure.h"
#include "engine/footprint.h"
#include "engine/judge.h"
#include "engine/op.h"
#include "engine/order.h"
#include "engine/submission.h"
#include "engine/ticket.h"
#include "engine/traced.h"
#include "memory/host_memory.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <string.h>

/* The direct path: what the CPU does inside the call. */

/* An asynchronous direct copy blocks its caller: not for longer than a staging chunk would. */
enum { ASYNC_MAX = 2 << 20 };

/* Writing needs coherent memory, reading more than a little cached memory too. */
void ferry__direct_reach(struct ferry_buffer *buffer)
{
    struct ferry_device *device = buffer->device;
    const struct ferry__memory *memory = buffer->memory;
    const bool may = buffer->storage == FERRY_STORAGE_SHARED || device->map != FERRY_MAP_NEVER;
    const bool transfers = device->path == FERRY_PATH_AUTO || device->path == FERRY_PATH_DIRECT;
    buffer->host = memory->host && may ? memory->host + buffer->offset : NULL;
    /* Where the device writes whole words only, bytes beside a transfer are read and written back:
     * a direct write that overlaps it in time would be undone, and a direct read would race. */
    const bool reach =
        buffer->host && memory->coherent &&
        (device->gpu.limits.copy_alignment == 1 || ferry__kernels_needed(&device->gpu, true));
    const bool small = device->gpu.info.thresholds.direct_write_max >= FERRY__SMALL_DIRECT;
    buffer->direct_write = reach && transfers && (small || device->path == FERRY_PATH_DIRECT);
    buffer->direct_read = reach && transfers && memory->cached;
    buffer->window = reach && transfers && !memory->cached;
    buffer->cpu = reach && memory->cached;
}

static struct ferry_device *device_of(const struct ferry__transfer *transfer)
{
    return (transfer->dst ? transfer->dst : transfer->src)->device;
}

static uint64_t window_max(const struct ferry_device *device)
{
    enum { LEAST = 16 };
    const uint64_t max = device->gpu.info.thresholds.direct_read_max;
    return max < LEAST ? 0 : max;
}

/* The CPU does at most this much; above it the queue is faster. */
static uint64_t direct_max(const struct ferry__transfer *transfer)
{
    const struct ferry_device *device = device_of(transfer);
    if (transfer->operation >= FERRY_OPERATION_COPY)
        return device->gpu.info.thresholds.direct_copy_max;
    if (transfer->operation == FERRY_OPERATION_DOWNLOAD && transfer->src->window)
        return window_max(device);
    if (transfer->operation == FERRY_OPERATION_DOWNLOAD || device->path == FERRY_PATH_DIRECT)
        return UINT64_MAX;
    return device->gpu.info.thresholds.direct_write_max;
}

bool ferry__direct_reaches(const struct ferry__transfer *transfer)
{
    if (transfer->size > direct_max(transfer))
        return false;
    switch (transfer->operation) {
    case FERRY_OPERATION_UPLOAD: return transfer->dst->direct_write;
    case FERRY_OPERATION_DOWNLOAD: return transfer->src->direct_read || transfer->src->window;
    case FERRY_OPERATION_COPY: return transfer->dst->cpu && transfer->src->cpu;
    case FERRY_OPERATION_FILL: return transfer->dst->cpu;
    case FERRY_OPERATION_COUNT: break;
    }
    return false;
}

static bool part_idle(struct ferry_buffer *buffer, bool write, uint64_t offset, uint64_t size)
{
    const struct ferry__range range = ferry__footprint(buffer, write, offset, size);
    return !ferry__order_busy(&buffer->order, write, range.begin, range.end) &&
           (write || !ferry__failed_find(&buffer->failures, offset, offset + size));
}

/* Nothing in flight touches the bytes of this side, and none that are to be read have failed. Of
 * blocks, all that they lie within is asked first. What comes while the lock is free has no order
 * with this call. */
static bool bytes_idle(const struct ferry__transfer *transfer, struct ferry_buffer *buffer,
                       bool write)
{
    if (FERRY__LIKELY(!buffer || ferry__buffer_is_idle(buffer)))
        return true;
    const struct ferry__blocks *blocks = ferry__blocks_of(transfer);
    const uint64_t offset = write ? transfer->dst_offset : transfer->src_offset;
    uint64_t size = transfer->size;
    if (blocks)
        size = write ? blocks->dst_end - blocks->dst_begin : blocks->src_end - blocks->src_begin;
    ferry__device_lock(buffer->device);
    bool idle = part_idle(buffer, write, offset, size);
    if (!idle && blocks) {
        idle = true;
        for (size_t i = 0; i < blocks->count && idle; i++) {
            const struct ferry_block block = ferry__blocks_at(blocks, i);
            if (block.size)
                idle = part_idle(buffer, write, write ? block.dst_offset : block.src_offset,
                                 block.size);
            ferry__breathe_each(buffer->device, i, FERRY__RANGES_AT_ONCE);
        }
    }
    ferry__device_unlock(buffer->device);
    return idle;
}

bool ferry__direct_ok(const struct ferry__transfer *transfer, uint64_t max)
{
    return transfer->with != FERRY__WITH_STREAM && transfer->size <= max &&
           ferry__direct_reaches(transfer) && bytes_idle(transfer, transfer->dst, true) &&
           bytes_idle(transfer, transfer->src, false);
}

/* Would the device read or write registered memory sooner than the CPU copies? */
static bool goes_imported(const struct ferry__transfer *transfer)
{
    struct ferry_device *device = device_of(transfer);
    if (transfer->operation >= FERRY_OPERATION_COPY ||
        transfer->size <= device->gpu.info.thresholds.direct_registered_max ||
        device->path != FERRY_PATH_AUTO)
        return false;
    const bool upload = transfer->operation == FERRY_OPERATION_UPLOAD;
    const struct ferry__blocks *blocks = ferry__blocks_of(transfer);
    uintptr_t host = (uintptr_t)transfer->host;
    uint64_t size = transfer->size;
    if (blocks) {
        host += upload ? blocks->src_begin : blocks->dst_begin;
        size = upload ? blocks->src_end - blocks->src_begin : blocks->dst_end - blocks->dst_begin;
    }
    struct ferry__region *region = ferry__region_find(&device->gpu, (void *)host, size);
    const bool imported = region && region->imported && (upload || !region->read_only);
    ferry__region_unref(&device->gpu, region);
    return imported;
}

/* How many writes of the buffer have failed, where bytes of it are failed now; else 0. */
static uint64_t failures_seen(struct ferry_buffer *buffer)
{
    if (!buffer || FERRY__LIKELY(!(atomic_load_explicit(&buffer->word, memory_order_relaxed) &
                                   FERRY__BUFFER_FAILED)))
        return 0;
    ferry__device_lock(buffer->device);
    const uint64_t seen = buffer->failures.count;
    ferry__device_unlock(buffer->device);
    return seen;
}

/* One after another, in the order listed. */
static void move_blocks(const struct ferry__transfer *transfer)
{
    const struct ferry__blocks *blocks = ferry__blocks_of(transfer);
    unsigned char *dst = transfer->dst ? transfer->dst->host : transfer->host;
    const unsigned char *src = transfer->src ? transfer->src->host : transfer->host;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct ferry_block block = ferry__blocks_at(blocks, i);
        unsigned char *to = (unsigned char *)((uintptr_t)dst + block.dst_offset);
        const unsigned char *from = (const unsigned char *)((uintptr_t)src + block.src_offset);
        if (block.size >= FERRY__SMALL_DIRECT)
            ferry__move_host(to, from, block.size);
        else if (block.size)
            memmove(to, from, block.size);
    }
}

static void move_bytes(const struct ferry__transfer *transfer)
{
    if (transfer->with == FERRY__WITH_BLOCKS) {
        move_blocks(transfer);
        return;
    }
    switch (transfer->operation) {
    case FERRY_OPERATION_UPLOAD:
        ferry__copy_host(transfer->dst->host + transfer->dst_offset, transfer->host,
                         transfer->size);
        break;
    case FERRY_OPERATION_DOWNLOAD:
        (transfer->src->window ? ferry__copy_window : ferry__copy_host)(
            transfer->host, transfer->src->host + transfer->src_offset, transfer->size);
        break;
    case FERRY_OPERATION_COPY:
        ferry__move_host(transfer->dst->host + transfer->dst_offset,
                         transfer->src->host + transfer->src_offset, transfer->size);
        break;
    case FERRY_OPERATION_FILL:
        ferry__fill_host(transfer->dst->host + transfer->dst_offset, transfer->size,
                         transfer->pattern, transfer->pattern_size, 0);
        break;
    case FERRY_OPERATION_COUNT: break;
    }
}

/* What has failed before it began is well where it wrote; what fails meanwhile is not for it to
 * clear. */
static void carry_out(const struct ferry__transfer *transfer)
{
    if (!transfer->size)
        return;
    const uint64_t seen = failures_seen(transfer->dst);
    move_bytes(transfer);
    if (FERRY__LIKELY(!seen))
        return;
    const size_t parts = ferry__transfer_parts(transfer);
    ferry__device_lock(transfer->dst->device);
    for (size_t i = 0; i < parts; i++) {
        const struct ferry_block part = ferry__transfer_part(transfer, i);
        if (part.size)
            ferry__buffer_covered(transfer->dst, part.dst_offset, part.size, seen);
        ferry__breathe_each(transfer->dst->device, i, FERRY__RANGES_AT_ONCE);
    }
    ferry__device_unlock(transfer->dst->device);
}

static void trace_direct(struct ferry_device *device, const struct ferry__transfer *transfer,
                         enum ferry_path path, enum ferry_status status, ferry_ticket ticket,
                         uint64_t start_ns)
{
    struct ferry__transfer done = *transfer;
    done.path = path;
    done.status = status;
    if (device->trace)
        ferry__trace_transfer(device, &done, ticket, start_ns);
}

/* Does it, and counts it; the ticket, or 0, is for the trace. */
static void run(const struct ferry__transfer *transfer, ferry_ticket ticket)
{
    struct ferry_device *device = device_of(transfer);
    const enum ferry_path path = transfer->size ? FERRY_PATH_DIRECT : FERRY_PATH_NONE;
    const bool timed = transfer->size > FERRY__SMALL_DIRECT;
    if (FERRY__LIKELY(!timed && !device->trace)) {
        carry_out(transfer);
        ferry__count(&device->gpu.metrics, transfer->operation, path, transfer->size);
        return;
    }
    const uint64_t start = ferry__now_ns();
    carry_out(transfer);
    if (timed)
        ferry__count_timed(&device->gpu.metrics, transfer->operation, path, transfer->size,
                           FERRY_OK, ferry__now_ns() - start);
    else
        ferry__count(&device->gpu.metrics, transfer->operation, path, transfer->size);
    trace_direct(device, transfer, path, FERRY_OK, ticket, start);
}

/* Small, of a reachable, idle buffer: a copy and nothing else, as in ferry__direct_upload. */
static inline bool is_plain(const struct ferry__transfer *transfer)
{
    if (transfer->size > FERRY__SMALL_DIRECT || !transfer->size ||
        transfer->with != FERRY__WITH_REGION)
        return false;
    if (transfer->operation == FERRY_OPERATION_UPLOAD)
        return transfer->dst->direct_write && ferry__buffer_is_idle(transfer->dst);
    return transfer->operation == FERRY_OPERATION_DOWNLOAD && transfer->src->direct_read &&
           ferry__buffer_is_idle(transfer->src);
}

static inline void run_plain(const struct ferry__transfer *transfer)
{
    if (transfer->operation == FERRY_OPERATION_UPLOAD)
        memcpy(transfer->dst->host + transfer->dst_offset, transfer->host, transfer->size);
    else
        memcpy(transfer->host, transfer->src->host + transfer->src_offset, transfer->size);
}

/* In the order given. The plain ones are counted together, at the end. */
static void run_each(struct ferry_device *device, const struct ferry__transfer *transfers,
                     size_t count, ferry_ticket ticket)
{
    struct {
        uint64_t operations, bytes;
    } plain[FERRY_OPERATION_COPY] = {{0}};
    const bool traced = device->trace;
    for (size_t i = 0; i < count; i++) {
        const struct ferry__transfer *transfer = &transfers[i];
        if (!FERRY__LIKELY(!traced && is_plain(transfer))) {
            run(transfer, ticket);
            continue;
        }
        run_plain(transfer);
        plain[transfer->operation].operations++;
        plain[transfer->operation].bytes += transfer->size;
    }
    for (unsigned i = 0; i < FERRY_OPERATION_COPY; i++)
        if (plain[i].operations)
            ferry__count_many(&device->gpu.metrics, (enum ferry_operation)i, FERRY_PATH_DIRECT,
                              plain[i].operations, plain[i].bytes);
}

/* An operation that is done inside its call has a ticket all the same, and a callback to run. */
static enum ferry_status run_all(struct ferry_device *device,
                                 const struct ferry__transfer *transfers, size_t count,
                                 const struct ferry__reply *reply)
{
    struct ferry__call *call = NULL;
    const enum ferry_status status =
        ferry__call_prepare(device, reply->callback, reply->user, &call);
    if (status)
        return status;
    const ferry_ticket ticket = call || reply->out_ticket ? ferry__ticket_next(device) : 0;
    run_each(device, transfers, count, ticket);
    if (reply->out_ticket)
        *reply->out_ticket = ticket;
    ferry__call_done(device, call, ticket);
    return FERRY_OK;
}

bool ferry__direct_try(const struct ferry__transfer *transfer, const struct ferry__reply *reply,
                       enum ferry_status *out_status)
{
    const uint64_t max = reply->waiting ? UINT64_MAX : ASYNC_MAX;
    if (transfer->size && (!ferry__direct_ok(transfer, max) || goes_imported(transfer)))
        return false;
    *out_status = run_all(device_of(transfer), transfer, 1, reply);
    return true;
}

bool ferry__direct_try_all(struct ferry_device *device, const struct ferry__transfer *transfers,
                           size_t count, const struct ferry__reply *reply,
                           enum ferry_status *out_status)
{
    uint64_t left = device->gpu.upload.chunk_size;
    for (size_t i = 0; i < count; i++) {
        const struct ferry__transfer *transfer = &transfers[i];
        if (transfer->size > left)
            return false;
        if (!FERRY__LIKELY(is_plain(transfer)) && transfer->size &&
            !ferry__direct_ok(transfer, left))
            return false;
        left -= transfer->size;
    }
    *out_status = run_all(device, transfers, count, reply);
    return true;
}

bool ferry__direct_zero(struct ferry_buffer *buffer)
{
    if (!buffer->cpu)
        return false;
    memset(buffer->host, 0, buffer->size);
    return true;
}
