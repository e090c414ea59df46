#include "api/transfer.h"

#include "base/compiler.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/blocks.h"
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
#include "paths/stream.h"

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

/* --- transfers ------------------------------------------------------------------------------- */

enum ferry_status ferry__transfer_upload(struct ferry__transfer *transfer, ferry_buffer *dst,
                                         const void *src, uint64_t size, uint64_t dst_offset)
{
    enum ferry_status status;
    if ((status = check_buffer(dst, "copy from host", "dst")) ||
        (status = ferry__range(dst, "copy from host", dst_offset, size)) ||
        (status = check_host(src, size, "copy from host")) ||
        (status = check_alive(dst, "copy from host")))
        return status;
    *transfer = (struct ferry__transfer){.operation = FERRY_OPERATION_UPLOAD,
                                         .dst = dst,
                                         .dst_offset = dst_offset,
                                         .size = size,
                                         .host = (unsigned char *)(uintptr_t)src};
    return FERRY_OK;
}

enum ferry_status ferry__transfer_download(struct ferry__transfer *transfer, ferry_buffer *src,
                                           void *dst, uint64_t size, uint64_t src_offset)
{
    enum ferry_status status;
    if ((status = check_buffer(src, "copy to host", "src")) ||
        (status = ferry__range(src, "copy to host", src_offset, size)) ||
        (status = check_host(dst, size, "copy to host")) ||
        (status = check_alive(src, "copy to host")))
        return status;
    *transfer = (struct ferry__transfer){.operation = FERRY_OPERATION_DOWNLOAD,
                                         .src = src,
                                         .src_offset = src_offset,
                                         .size = size,
                                         .host = dst};
    return FERRY_OK;
}

enum ferry_status ferry__transfer_copy(struct ferry__transfer *transfer, ferry_buffer *dst,
                                       ferry_buffer *src, uint64_t size, uint64_t dst_offset,
                                       uint64_t src_offset)
{
    enum ferry_status status;
    if ((status = check_buffer(dst, "copy buffer", "dst")) ||
        (status = check_buffer(src, "copy buffer", "src")) ||
        (status = ferry__range(dst, "copy buffer: dst", dst_offset, size)) ||
        (status = ferry__range(src, "copy buffer: src", src_offset, size)) ||
        (status = check_alive(dst, "copy buffer")) || (status = check_alive(src, "copy buffer")))
        return status;
    *transfer = (struct ferry__transfer){.operation = FERRY_OPERATION_COPY,
                                         .dst = dst,
                                         .src = src,
                                         .dst_offset = dst_offset,
                                         .src_offset = src_offset,
                                         .size = size};
    return FERRY_OK;
}

enum ferry_status ferry__transfer_fill(struct ferry__transfer *transfer, ferry_buffer *dst,
                                       uint64_t size, uint64_t offset, const void *pattern,
                                       size_t pattern_size)
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
    *transfer = (struct ferry__transfer){
        .operation = FERRY_OPERATION_FILL, .dst = dst, .dst_offset = offset, .size = size};
    memcpy(transfer->pattern, pattern, pattern_size);
    transfer->pattern_size =
        (uint8_t)ferry__pattern_period(transfer->pattern, (unsigned)pattern_size);
    return FERRY_OK;
}

static enum ferry_status submit_transfer(struct ferry__transfer *transfer,
                                         const struct ferry__reply *reply)
{
    struct ferry_device *device = (transfer->dst ? transfer->dst : transfer->src)->device;
    struct ferry__op *op =
        ferry__op_create(device, &ferry__transfer_type, transfer->dst && transfer->src ? 2 : 1);
    if (!op) {
        ferry__blocks_free(ferry__blocks_of(transfer));
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    op->has_waiter = reply->waiting;
    op->one = *transfer;
    op->count = 1;
    if (transfer->dst)
        ferry__buffer_ref(transfer->dst);
    if (transfer->src)
        ferry__buffer_ref(transfer->src);
    if (transfer->with == FERRY__WITH_STREAM)
        ferry__side_ref(transfer->side);
    enum ferry_status status = ferry__stream_prepare(op);
    if (!status)
        status = ferry__transfer_plan(device, &op->one);
    if (!status)
        status = ferry__footprint_transfers(op);
    if (status) {
        ferry__op_unref(op);
        return status;
    }
    bool is_submitted;
    if (reply->waiting)
        return ferry__submit_and_wait(op, &is_submitted);
    return ferry__submit(op, reply->callback, reply->user, reply->out_ticket);
}

static enum ferry_status run(struct ferry__transfer *transfer, const struct ferry__reply *reply)
{
    enum ferry_status status;
    if (ferry__direct_try(transfer, reply, &status))
        return status;
    if (transfer->operation == FERRY_OPERATION_COPY &&
        transfer->dst->device != transfer->src->device)
        return ferry__bridge_submit(transfer, reply->waiting, reply->callback, reply->user,
                                    reply->out_ticket);
    if (transfer->with == FERRY__WITH_BLOCKS && !ferry__blocks_keep(transfer, !reply->waiting))
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu blocks",
                           transfer->blocks->count);
    return submit_transfer(transfer, reply);
}

static enum ferry_status run_waiting(struct ferry__transfer *transfer)
{
    return run(transfer, &(struct ferry__reply){.waiting = true});
}

static enum ferry_status run_async(struct ferry__transfer *transfer, ferry_callback cb, void *user,
                                   ferry_ticket *out_ticket)
{
    return run(transfer, &(struct ferry__reply){false, cb, user, out_ticket});
}

enum ferry_status ferry__transfer_wait(struct ferry__transfer *transfer)
{
    return run_waiting(transfer);
}

enum ferry_status ferry__transfer_submit(struct ferry__transfer *transfer, ferry_callback cb,
                                         void *user, ferry_ticket *out_ticket)
{
    return run_async(transfer, cb, user, out_ticket);
}

/* Apart from what is direct and small, which has no need of their stacks. */
static FERRY__NOINLINE enum ferry_status upload(ferry_buffer *dst, const void *src, size_t size,
                                                size_t dst_offset)
{
    struct ferry__transfer transfer;
    enum ferry_status status = ferry__in_callback("ferry_copy_from_host");
    if (status || (status = ferry__transfer_upload(&transfer, dst, src, size, dst_offset)))
        return status;
    return run_waiting(&transfer);
}

static FERRY__NOINLINE enum ferry_status download(ferry_buffer *src, void *dst, size_t size,
                                                  size_t src_offset)
{
    struct ferry__transfer transfer;
    enum ferry_status status = ferry__in_callback("ferry_copy_to_host");
    if (status || (status = ferry__transfer_download(&transfer, src, dst, size, src_offset)))
        return status;
    return run_waiting(&transfer);
}

enum ferry_status ferry_copy_from_host(ferry_buffer *dst, const void *src, size_t size,
                                       size_t dst_offset)
{
    if (ferry__direct_upload(dst, src, size, dst_offset))
        return FERRY_OK;
    return upload(dst, src, size, dst_offset);
}

enum ferry_status ferry_copy_to_host(ferry_buffer *src, void *dst, size_t size, size_t src_offset)
{
    if (ferry__direct_download(src, dst, size, src_offset))
        return FERRY_OK;
    return download(src, dst, size, src_offset);
}

enum ferry_status ferry_copy_buffer(ferry_buffer *dst, ferry_buffer *src, size_t size,
                                    size_t dst_offset, size_t src_offset)
{
    struct ferry__transfer transfer;
    enum ferry_status status = ferry__in_callback("ferry_copy_buffer");
    if (status ||
        (status = ferry__transfer_copy(&transfer, dst, src, size, dst_offset, src_offset)))
        return status;
    return run_waiting(&transfer);
}

enum ferry_status ferry_fill_buffer(ferry_buffer *buffer, size_t size, size_t offset,
                                    const void *pattern, size_t pattern_size)
{
    struct ferry__transfer transfer;
    enum ferry_status status = ferry__in_callback("ferry_fill_buffer");
    if (status ||
        (status = ferry__transfer_fill(&transfer, buffer, size, offset, pattern, pattern_size)))
        return status;
    return run_waiting(&transfer);
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
    struct ferry__transfer transfer;
    enum ferry_status status = ferry__transfer_upload(&transfer, dst, src, size, dst_offset);
    return status ? status : run_async(&transfer, cb, user, out_ticket);
}

enum ferry_status ferry_copy_to_host_async(ferry_buffer *src, void *dst, size_t size,
                                           size_t src_offset, ferry_callback cb, void *user,
                                           ferry_ticket *out_ticket)
{
    struct ferry__transfer transfer;
    enum ferry_status status = ferry__transfer_download(&transfer, src, dst, size, src_offset);
    return status ? status : run_async(&transfer, cb, user, out_ticket);
}

enum ferry_status ferry_copy_buffer_async(ferry_buffer *dst, ferry_buffer *src, size_t size,
                                          size_t dst_offset, size_t src_offset, ferry_callback cb,
                                          void *user, ferry_ticket *out_ticket)
{
    struct ferry__transfer transfer;
    enum ferry_status status =
        ferry__transfer_copy(&transfer, dst, src, size, dst_offset, src_offset);
    return status ? status : run_async(&transfer, cb, user, out_ticket);
}

enum ferry_status ferry_fill_buffer_async(ferry_buffer *buffer, size_t size, size_t offset,
                                          const void *pattern, size_t pattern_size,
                                          ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    struct ferry__transfer transfer;
    enum ferry_status status =
        ferry__transfer_fill(&transfer, buffer, size, offset, pattern, pattern_size);
    return status ? status : run_async(&transfer, cb, user, out_ticket);
}

enum ferry_status ferry_zero_buffer_async(ferry_buffer *buffer, ferry_callback cb, void *user,
                                          ferry_ticket *out_ticket)
{
    return ferry_fill_buffer_async(buffer, buffer ? buffer->size : 0, 0, "", 1, cb, user,
                                   out_ticket);
}
