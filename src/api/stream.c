#include "paths/stream.h"
#include "api/transfer.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/range.h"
#include "base/status.h"
#include "base/words.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/traced.h"

#include <ferry/ferry.h>
#include <ferry/stream.h>
#include <stdatomic.h>

/* The front door of streams. */

static void free_side(struct ferry__stream_side *side)
{
    ferry__free(side);
}

static enum ferry_status check_methods(const struct ferry_stream_methods *methods, const char *what)
{
    const unsigned flags = FERRY_STREAM_EAGER | FERRY_STREAM_STRAIGHT;
    if (!methods || !methods->chunk || !methods->cancel)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %s is NULL", what,
                           !methods          ? "methods"
                           : !methods->chunk ? "methods->chunk"
                                             : "methods->cancel");
    if (methods->version != FERRY_STREAM_VERSION)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "%s: the methods are of version %u; this library knows version %d", what,
                           (unsigned)methods->version, FERRY_STREAM_VERSION);
    if ((methods->flags & ~flags) || !ferry__all_zero(methods->reserved, sizeof methods->reserved))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: unknown flags 0x%x, or reserved words that are not 0", what,
                           (unsigned)methods->flags);
    if (methods->block > FERRY__STREAM_BLOCK || (methods->block & (methods->block - 1)))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: block %u is not a power of two of at most %d", what,
                           (unsigned)methods->block, FERRY__STREAM_BLOCK);
    return FERRY_OK;
}

static struct ferry__stream_side *make_side(const struct ferry_stream_methods *methods, void *user)
{
    struct ferry__stream_side *side = ferry__alloc(sizeof *side);
    if (!side) {
        (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *side);
        return NULL;
    }
    side->methods = *methods;
    if (!side->methods.block)
        side->methods.block = 1;
    if (!side->methods.depth)
        side->methods.depth = FERRY__STREAM_DEPTH_USUAL;
    if (side->methods.depth > FERRY__STREAM_DEPTH)
        side->methods.depth = FERRY__STREAM_DEPTH;
    side->user = user;
    side->release = free_side;
    atomic_init(&side->refs, 1);
    return side;
}

static enum ferry_status submit(struct ferry__transfer *transfer, ferry_buffer *buffer,
                                size_t offset, const struct ferry_stream_methods *methods,
                                void *stream_user, ferry_callback cb, void *user,
                                ferry_ticket *out_ticket)
{
    const char *what = transfer->operation == FERRY_OPERATION_UPLOAD ? "ferry_stream_receive"
                                                                     : "ferry_stream_send";
    enum ferry_status status;
    if (!buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: buffer is NULL", what);
    if ((status = check_methods(methods, what)) ||
        (status = ferry__range(buffer, what, offset, transfer->size)) ||
        (status = ferry__device_dead(buffer->device, what)) ||
        (status = ferry__slots_start(buffer->device)))
        return status;
    struct ferry__stream_side *side = make_side(methods, stream_user);
    if (!side)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    transfer->with = FERRY__WITH_STREAM;
    transfer->side = side;
    status = ferry__transfer_submit(transfer, cb, user, out_ticket);
    if (!status && !transfer->size && methods->end)
        methods->end(stream_user, FERRY_OK);
    ferry__side_unref(side);
    return status;
}

enum ferry_status ferry_stream_receive(ferry_buffer *dst, size_t size, size_t offset,
                                       const struct ferry_stream_methods *methods,
                                       void *stream_user, ferry_callback cb, void *user,
                                       ferry_ticket *out_ticket)
{
    struct ferry__transfer transfer = {
        .operation = FERRY_OPERATION_UPLOAD, .dst = dst, .dst_offset = offset, .size = size};
    return submit(&transfer, dst, offset, methods, stream_user, cb, user, out_ticket);
}

enum ferry_status ferry_stream_send(ferry_buffer *src, size_t size, size_t offset,
                                    const struct ferry_stream_methods *methods, void *stream_user,
                                    ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    struct ferry__transfer transfer = {
        .operation = FERRY_OPERATION_DOWNLOAD, .src = src, .src_offset = offset, .size = size};
    return submit(&transfer, src, offset, methods, stream_user, cb, user, out_ticket);
}

/* --- for libraries that carry streams --------------------------------------------------------- */

size_t ferry_stream_chunk_max(ferry_device *device)
{
    if (!device || ferry__slots_start(device))
        return 0;
    return (size_t)atomic_load(&device->slots)->slot_size;
}

enum ferry_status ferry_stream_error(enum ferry_status status, const char *why)
{
    return ferry__fail(status, "%s", why ? why : "");
}

enum ferry_status ferry_stream_in_callback(const char *what)
{
    return ferry__in_callback(what ? what : "");
}

void ferry_stream_log(enum ferry_log_level level, const char *words)
{
    ferry__log(level, "%s", words ? words : "");
}

bool ferry_stream_traced(ferry_device *device)
{
    return device && device->trace;
}

void ferry_stream_trace(ferry_device *device, const struct ferry_stream_event *event)
{
    if (event && ferry_stream_traced(device) && event->begin_ns <= event->end_ns)
        ferry__trace_stream(device, event);
}
