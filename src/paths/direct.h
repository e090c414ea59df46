/* The direct path: what the CPU does inside the call. */
#ifndef FERRY_PATHS_DIRECT_H
#define FERRY_PATHS_DIRECT_H

#include "base/compiler.h"
#include "base/metrics.h"
#include "base/range.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/submission.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <string.h>

struct ferry__transfer;

/* Sets which direct ways a buffer has: once, when it has its memory. */
void ferry__direct_reach(struct ferry_buffer *buffer);

/* Does the CPU reach the buffers of a transfer, and is it no slower than the device? Says nothing
 * of who else uses them. */
bool ferry__direct_reaches(const struct ferry__transfer *transfer);

/* May the CPU carry it out now, at most max bytes? */
bool ferry__direct_ok(const struct ferry__transfer *transfer, uint64_t max);

/* What the caller gave, and is told. */
struct ferry__reply {
    bool waiting;
    ferry_callback callback;
    void *user;
    ferry_ticket *out_ticket;
};

/* Carries a transfer out inside the call where that may be, or where it is empty. False: it may
 * not, and nothing was done. */
bool ferry__direct_try(const struct ferry__transfer *transfer, const struct ferry__reply *reply,
                       enum ferry_status *out_status);

/* Likewise all of a batch's, where that takes a few microseconds. */
bool ferry__direct_try_all(struct ferry_device *device, const struct ferry__transfer *transfers,
                           size_t count, const struct ferry__reply *reply,
                           enum ferry_status *out_status);

/* Zeroes a new buffer, which nobody else knows. False: the CPU does not reach it. */
bool ferry__direct_zero(struct ferry_buffer *buffer);

static inline bool ferry__buffer_is_idle(const ferry_buffer *buffer)
{
    return atomic_load_explicit(&buffer->word, memory_order_acquire) == 0;
}

static inline bool ferry__direct_is_small(const ferry_buffer *buffer, bool allowed, uint64_t size,
                                          uint64_t offset)
{
    return FERRY__LIKELY(allowed && size && size <= FERRY__SMALL_DIRECT &&
                         ferry__in_range(offset, size, buffer->size) &&
                         ferry__buffer_is_idle(buffer) &&
                         !atomic_load_explicit(&buffer->device->dead, memory_order_relaxed) &&
                         !buffer->device->trace && !ferry__inside_callback());
}

/* A small transfer of a reachable, idle buffer: nothing but the checks, the copy and the counts.
 * False: it is another, or something about it is wrong. */
static inline bool ferry__direct_upload(ferry_buffer *dst, const void *src, size_t size,
                                        size_t offset)
{
    if (!dst || !ferry__direct_is_small(dst, dst->direct_write && src, size, offset))
        return false;
    memcpy(dst->host + offset, src, size);
    ferry__count(&dst->device->gpu.metrics, FERRY_OPERATION_UPLOAD, FERRY_PATH_DIRECT, size);
    return true;
}

static inline bool ferry__direct_download(ferry_buffer *src, void *dst, size_t size, size_t offset)
{
    if (!src || !ferry__direct_is_small(src, src->direct_read && dst, size, offset))
        return false;
    memcpy(dst, src->host + offset, size);
    ferry__count(&src->device->gpu.metrics, FERRY_OPERATION_DOWNLOAD, FERRY_PATH_DIRECT, size);
    return true;
}

#endif
