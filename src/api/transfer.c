#include "api/transfer.h"

#include "base/compiler.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "engine/order.h"
#include "paths/bridge.h"
#include "paths/choose.h"
#include "paths/direct.h"
#include "paths/plan.h"
#include "paths/record.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <string.h>

/*
 * The front door of the five operations: checks, then the direct path; what cannot be done inside
 * the call goes to the engine as an op.
 */

static enum ferry_status check_buffer(const ferry_buffer *buffer, const char *what,
                                      const char *name)
{
    if (!FERRY__LIKELY(buffer))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %s is NULL", what, name);
    return FERRY_OK;
}

static enum ferry_status check_host(const void *host, uint64_t size, const char *what)
{
    if (!FERRY__LIKELY(host || !size))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: the host pointer is NULL and the size is %llu", what,
                           (unsigned long long)size);
    return FERRY_OK;
}

enum ferry_status ferry__range(const struct ferry_buffer *buffer, const char *what, uint64_t offset,
                               uint64_t size)
{
    if (FERRY__LIKELY(ferry__in_range(offset, size, buffer->size)))
        return FERRY_OK;
    return ferry__fail(
        FERRY_ERROR_OUT_OF_RANGE, "%s: size %llu at offset %llu exceeds %s (%zu bytes)", what,
        (unsigned long long)size, (unsigned long long)offset, ferry__label(buffer), buffer->size);
}

static inline enum ferry_status check_alive(const ferry_buffer *buffer, const char *what)
{
    if (FERRY__LIKELY(!atomic_load_explicit(&buffer->device->dead, memory_order_relaxed)))
        return FERRY_OK;
    return ferry__device_dead(buffer->device, what);
}

/* --- items ------------------------------------------------------------------------------------ */

enum ferry_status ferry__item_upload(struct ferry__item *item, ferry_buffer *dst, const void *src,
                                     uint64_t size, uint64_t dst_offset)
{
    enum ferry_status status;
    if ((status = check_buffer(dst, "copy from host", "dst")) ||
        (status = ferry__range(dst, "copy from host", dst_offset, size)) ||
        (status = check_host(src, size, "copy from host")) ||
        (status = check_alive(dst, "copy from host")))
        return status;
    *item = (struct ferry__item){.operation = FERRY_OPERATION_UPLOAD,
                                 .dst = dst,
                                 .dst_offset = dst_offset,
                                 .size = size,
                                 .host = (unsigned char *)(uintptr_t)src};
    return FERRY_OK;
}

enum ferry_status ferry__item_download(struct ferry__item *item, ferry_buffer *src, void *dst,
                                       uint64_t size, uint64_t src_offset)
{
    enum ferry_status status;
    if ((status = check_buffer(src, "copy to host", "src")) ||
        (status = ferry__range(src, "copy to host", src_offset, size)) ||
        (status = check_host(dst, size, "copy to host")) ||
        (status = check_alive(src, "copy to host")))
        return status;
    *item = (struct ferry__item){.operation = FERRY_OPERATION_DOWNLOAD,
                                 .src = src,
                                 .src_offset = src_offset,
                                 .size = size,
                                 .host = dst};
    return FERRY_OK;
}

enum ferry_status ferry__item_copy(struct ferry__item *item, ferry_buffer *dst, ferry_buffer *src,
                                   uint64_t size, uint64_t dst_offset, uint64_t src_offset)
{
    enum ferry_status status;
    if ((status = check_buffer(dst, "copy buffer", "dst")) ||
        (status = check_buffer(src, "copy buffer", "src")) ||
        (status = ferry__range(dst, "copy buffer: dst", dst_offset, size)) ||
        (status = ferry__range(src, "copy buffer: src", src_offset, size)) ||
        (status = check_alive(dst, "copy buffer")) || (status = check_alive(src, "copy buffer")))
        return status;
    *item = (struct ferry__item){.operation = FERRY_OPERATION_COPY,
                                 .dst = dst,
                                 .src = src,
                                 .dst_offset = dst_offset,
                                 .src_offset = src_offset,
                                 .size = size};
    return FERRY_OK;
}

enum ferry_status ferry__item_fill(struct ferry__item *item, ferry_buffer *dst, uint64_t size,
                                   uint64_t offset, const void *pattern, size_t pattern_size)
{
    enum ferry_status status;
    if ((status = check_buffer(dst, "fill", "buffer")) ||
        (status = ferry__range(dst, "fill", offset, size)))
        return status;
    if (!pattern)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "fill: the pattern is NULL");
    if (pattern_size < 1 || pattern_size > FERRY__PATTERN_MAX)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "fill: the pattern has %zu bytes; 1 to %d are allowed", pattern_size,
                           FERRY__PATTERN_MAX);
    if ((status = check_alive(dst, "fill")))
        return status;
    *item = (struct ferry__item){
        .operation = FERRY_OPERATION_FILL, .dst = dst, .dst_offset = offset, .size = size};
    memcpy(item->pattern, pattern, pattern_size);
    item->pattern_size = (uint8_t)ferry__pattern_period(item->pattern, (unsigned)pattern_size);
    return FERRY_OK;
}

static enum ferry_status submit_item(struct ferry__item *item, const struct ferry__reply *reply)
{
    struct ferry_device *device = (item->dst ? item->dst : item->src)->device;
    struct ferry__op *op = ferry__op_create(device, &ferry__transfer_type);
    if (!op)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    op->callback = reply->callback;
    op->user = reply->user;
    op->waiting = reply->waiting;
    op->one = *item;
    op->items = &op->one;
    op->count = 1;
    if (item->dst)
        ferry__buffer_ref(item->dst);
    if (item->src)
        ferry__buffer_ref(item->src);
    enum ferry_status status = ferry__item_plan(device, &op->one);
    if (!status)
        status = ferry__footprint_items(op);
    if (status) {
        ferry__op_unref(op);
        return status;
    }
    return reply->waiting ? ferry__submit_and_wait(op) : ferry__submit(op, reply->out_ticket);
}

static enum ferry_status run(struct ferry__item *item, const struct ferry__reply *reply)
{
    enum ferry_status status;
    if (ferry__direct_try(item, reply, &status))
        return status;
    if (item->operation == FERRY_OPERATION_COPY && item->dst->device != item->src->device)
        return ferry__bridge_submit(item, reply->waiting, reply->callback, reply->user,
                                    reply->out_ticket);
    return submit_item(item, reply);
}

static enum ferry_status run_waiting(struct ferry__item *item)
{
    return run(item, &(struct ferry__reply){.waiting = true});
}

static enum ferry_status run_async(struct ferry__item *item, ferry_callback cb, void *user,
                                   ferry_ticket *out_ticket)
{
    return run(item, &(struct ferry__reply){false, cb, user, out_ticket});
}

enum ferry_status ferry__item_wait(struct ferry__item *item)
{
    return run_waiting(item);
}

enum ferry_status ferry__item_submit(struct ferry__item *item, ferry_callback cb, void *user,
                                     ferry_ticket *out_ticket)
{
    return run_async(item, cb, user, out_ticket);
}

enum ferry_status ferry_copy_from_host(ferry_buffer *dst, const void *src, size_t size,
                                       size_t dst_offset)
{
    if (ferry__direct_upload(dst, src, size, dst_offset))
        return FERRY_OK;
    struct ferry__item item;
    enum ferry_status status = ferry__in_callback("ferry_copy_from_host");
    if (status || (status = ferry__item_upload(&item, dst, src, size, dst_offset)))
        return status;
    return run_waiting(&item);
}

enum ferry_status ferry_copy_to_host(ferry_buffer *src, void *dst, size_t size, size_t src_offset)
{
    if (ferry__direct_download(src, dst, size, src_offset))
        return FERRY_OK;
    struct ferry__item item;
    enum ferry_status status = ferry__in_callback("ferry_copy_to_host");
    if (status || (status = ferry__item_download(&item, src, dst, size, src_offset)))
        return status;
    return run_waiting(&item);
}

enum ferry_status ferry_copy_buffer(ferry_buffer *dst, ferry_buffer *src, size_t size,
                                    size_t dst_offset, size_t src_offset)
{
    struct ferry__item item;
    enum ferry_status status = ferry__in_callback("ferry_copy_buffer");
    if (status || (status = ferry__item_copy(&item, dst, src, size, dst_offset, src_offset)))
        return status;
    return run_waiting(&item);
}

enum ferry_status ferry_fill_buffer(ferry_buffer *buffer, size_t size, size_t offset,
                                    const void *pattern, size_t pattern_size)
{
    struct ferry__item item;
    enum ferry_status status = ferry__in_callback("ferry_fill_buffer");
    if (status || (status = ferry__item_fill(&item, buffer, size, offset, pattern, pattern_size)))
        return status;
    return run_waiting(&item);
}

enum ferry_status ferry_zero_buffer(ferry_buffer *buffer)
{
    return ferry_fill_buffer(buffer, buffer ? buffer->size : 0, 0, "", 1);
}

/* --- the operations that do not wait ---------------------------------------------------------- */

enum ferry_status ferry_copy_from_host_async(ferry_buffer *dst, const void *src, size_t size,
                                             size_t dst_offset, ferry_callback cb, void *user,
                                             ferry_ticket *out_ticket)
{
    struct ferry__item item;
    enum ferry_status status = ferry__item_upload(&item, dst, src, size, dst_offset);
    return status ? status : run_async(&item, cb, user, out_ticket);
}

enum ferry_status ferry_copy_to_host_async(ferry_buffer *src, void *dst, size_t size,
                                           size_t src_offset, ferry_callback cb, void *user,
                                           ferry_ticket *out_ticket)
{
    struct ferry__item item;
    enum ferry_status status = ferry__item_download(&item, src, dst, size, src_offset);
    return status ? status : run_async(&item, cb, user, out_ticket);
}

enum ferry_status ferry_copy_buffer_async(ferry_buffer *dst, ferry_buffer *src, size_t size,
                                          size_t dst_offset, size_t src_offset, ferry_callback cb,
                                          void *user, ferry_ticket *out_ticket)
{
    struct ferry__item item;
    enum ferry_status status = ferry__item_copy(&item, dst, src, size, dst_offset, src_offset);
    return status ? status : run_async(&item, cb, user, out_ticket);
}

enum ferry_status ferry_fill_buffer_async(ferry_buffer *buffer, size_t size, size_t offset,
                                          const void *pattern, size_t pattern_size,
                                          ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    struct ferry__item item;
    enum ferry_status status = ferry__item_fill(&item, buffer, size, offset, pattern, pattern_size);
    return status ? status : run_async(&item, cb, user, out_ticket);
}

enum ferry_status ferry_zero_buffer_async(ferry_buffer *buffer, ferry_callback cb, void *user,
                                          ferry_ticket *out_ticket)
{
    return ferry_fill_buffer_async(buffer, buffer ? buffer->size : 0, 0, "", 1, cb, user,
                                   out_ticket);
}
