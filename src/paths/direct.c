#include "paths/direct.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "base/copy_host.h"
#include "base/log.h"
#include "base/metrics.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
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

/* The direct path: what the CPU does inside the call. */

/* The CPU does at most this much; above it the queue is faster. */
static uint64_t direct_max(const struct ferry__item *item)
{
    const struct ferry_device *device = (item->dst ? item->dst : item->src)->device;
    if (item->operation >= FERRY_OPERATION_COPY)
        return device->gpu.info.thresholds.direct_copy_max;
    if (item->operation == FERRY_OPERATION_DOWNLOAD || device->path == FERRY_PATH_DIRECT)
        return UINT64_MAX;
    return device->gpu.info.thresholds.direct_write_max;
}

/* Does the CPU reach all of it, and is it no slower? */
static bool may_be_direct(const struct ferry__item *item, uint64_t max)
{
    if (item->file || item->size > max || item->size > direct_max(item))
        return false;
    switch (item->operation) {
    case FERRY_OPERATION_UPLOAD: return item->dst->direct_write;
    case FERRY_OPERATION_DOWNLOAD: return item->src->direct_read;
    case FERRY_OPERATION_COPY: return item->dst->cpu && item->src->cpu;
    case FERRY_OPERATION_FILL: return item->dst->cpu;
    case FERRY_OPERATION_COUNT: break;
    }
    return false;
}

/* Nothing in flight touches these bytes, and none that are to be read have failed. */
static bool bytes_idle(struct ferry_buffer *buffer, bool write, uint64_t offset, uint64_t size)
{
    if (FERRY__LIKELY(ferry__buffer_is_idle(buffer)))
        return true;
    const struct ferry__range range = ferry__footprint(buffer, write, offset, size);
    ferry__device_lock(buffer->device);
    const bool apart = !ferry__order_busy(&buffer->order, write, range.begin, range.end) &&
                       (write || !ferry__failed_find(&buffer->failures, offset, offset + size));
    ferry__device_unlock(buffer->device);
    return apart;
}

bool ferry__item_direct_ok(const struct ferry__item *item, uint64_t max)
{
    return may_be_direct(item, max) &&
           (!item->dst || bytes_idle(item->dst, true, item->dst_offset, item->size)) &&
           (!item->src || bytes_idle(item->src, false, item->src_offset, item->size));
}

bool ferry__item_goes_imported(struct ferry_device *device, const struct ferry__item *item)
{
    if (item->operation >= FERRY_OPERATION_COPY ||
        item->size <= device->gpu.info.thresholds.direct_registered_max ||
        device->path != FERRY_PATH_AUTO)
        return false;
    struct ferry__region *region = ferry__region_find(&device->gpu, item->host, item->size);
    const bool upload = item->operation == FERRY_OPERATION_UPLOAD;
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

static void move_bytes(const struct ferry__item *item)
{
    switch (item->operation) {
    case FERRY_OPERATION_UPLOAD:
        ferry__copy_host(item->dst->host + item->dst_offset, item->host, item->size);
        break;
    case FERRY_OPERATION_DOWNLOAD:
        ferry__copy_host(item->host, item->src->host + item->src_offset, item->size);
        break;
    case FERRY_OPERATION_COPY:
        ferry__move_host(item->dst->host + item->dst_offset, item->src->host + item->src_offset,
                         item->size);
        break;
    case FERRY_OPERATION_FILL:
        ferry__fill_host(item->dst->host + item->dst_offset, item->size, item->pattern,
                         item->pattern_size, 0);
        break;
    case FERRY_OPERATION_COUNT: break;
    }
}

/* What has failed before it began is well where it wrote; what fails meanwhile is not for it to
 * clear. */
static void carry_out(const struct ferry__item *item)
{
    if (!item->size)
        return;
    const uint64_t seen = failures_seen(item->dst);
    move_bytes(item);
    if (FERRY__LIKELY(!seen))
        return;
    ferry__device_lock(item->dst->device);
    ferry__buffer_covered(item->dst, item->dst_offset, item->size, seen);
    ferry__device_unlock(item->dst->device);
}

static void trace_direct(struct ferry_device *device, const struct ferry__item *item,
                         enum ferry_path path, enum ferry_status status, ferry_ticket ticket,
                         uint64_t start_ns)
{
    struct ferry__item done = *item;
    done.path = path;
    done.status = status;
    if (device->trace)
        ferry__trace_item(device, &done, ticket, start_ns);
}

void ferry__item_direct(const struct ferry__item *item, ferry_ticket ticket)
{
    struct ferry_device *device = (item->dst ? item->dst : item->src)->device;
    const enum ferry_path path = item->size ? FERRY_PATH_DIRECT : FERRY_PATH_NONE;
    const bool timed = item->size > FERRY__SMALL_DIRECT;
    if (FERRY__LIKELY(!timed && !device->trace)) {
        carry_out(item);
        ferry__count(&device->gpu.metrics, item->operation, path, item->size);
        return;
    }
    const uint64_t start = ferry__now_ns();
    carry_out(item);
    if (timed)
        ferry__count_timed(&device->gpu.metrics, item->operation, path, item->size, FERRY_OK,
                           ferry__now_ns() - start);
    else
        ferry__count(&device->gpu.metrics, item->operation, path, item->size);
    trace_direct(device, item, path, FERRY_OK, ticket, start);
}

enum ferry_status ferry__item_run_inside(const struct ferry__item *item,
                                         const struct ferry__reply *reply)
{
    struct ferry_device *device = (item->dst ? item->dst : item->src)->device;
    struct ferry__call *call = NULL;
    const enum ferry_status status =
        ferry__call_prepare(device, reply->callback, reply->user, &call);
    if (status)
        return status;
    const ferry_ticket ticket = call || reply->out_ticket ? ferry__ticket_next(device) : 0;
    ferry__item_direct(item, ticket);
    if (reply->out_ticket)
        *reply->out_ticket = ticket;
    ferry__call_done(device, call, ticket);
    return FERRY_OK;
}
