#include "internal.h"

#include <string.h>

/*
 * The front door of the five operations: checks, the direct path, the choice of path. What cannot be
 * done inside the call goes to the engine as an op.
 */

/* Asynchronous direct copies block their caller: not for longer than a staging chunk would. */
enum { ASYNC_DIRECT_MAX = 2 << 20, IMPORT_CALL_MIN = 64 << 10 };

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

void ferry__item_finish(struct ferry_device *device, struct ferry__item *item)
{
    if (item->dst)
        ferry__buffer_unref(item->dst);
    if (item->src)
        ferry__buffer_unref(item->src);
    ferry__region_unref(device, item->region);
    ferry__file_item_finish(item);
}

/* --- the direct path -------------------------------------------------------------------------- */

static inline bool idle(const ferry_buffer *buffer)
{
    return atomic_load_explicit(&buffer->word, memory_order_acquire) == 0;
}

/* The CPU does at most this much; above it the queue is faster. */
static uint64_t direct_max(const struct ferry__item *item)
{
    const struct ferry_device *device = (item->dst ? item->dst : item->src)->device;
    if (item->operation >= FERRY_OPERATION_COPY)
        return device->info.thresholds.direct_copy_max;
    if (item->operation == FERRY_OPERATION_DOWNLOAD || device->path == FERRY_PATH_DIRECT)
        return UINT64_MAX;
    return device->info.thresholds.direct_write_max;
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
    if (FERRY__LIKELY(idle(buffer)))
        return true;
    const struct ferry__range range = ferry__footprint(buffer, write, offset, size);
    ferry__lock(&buffer->device->lock);
    const bool apart = !ferry__order_busy(&buffer->order, write, range.begin, range.end) &&
                       (write || !ferry__failed_find(&buffer->failures, offset, offset + size));
    ferry__unlock(&buffer->device->lock);
    return apart;
}

bool ferry__item_direct_ok(const struct ferry__item *item, uint64_t max)
{
    return may_be_direct(item, max) &&
           (!item->dst || bytes_idle(item->dst, true, item->dst_offset, item->size)) &&
           (!item->src || bytes_idle(item->src, false, item->src_offset, item->size));
}

/* Would the device read or write registered memory sooner than the CPU copies? */
static bool goes_imported(struct ferry_device *device, const struct ferry__item *item)
{
    if (item->operation >= FERRY_OPERATION_COPY ||
        item->size <= device->info.thresholds.direct_registered_max ||
        device->path != FERRY_PATH_AUTO)
        return false;
    struct ferry__region *region = ferry__region_find(device, item->host, item->size);
    const bool upload = item->operation == FERRY_OPERATION_UPLOAD;
    const bool imported = region && region->imported && (upload || !region->read_only);
    ferry__region_unref(device, region);
    return imported;
}

/* How many writes of the buffer have failed, where bytes of it are failed now; else 0. */
static uint64_t failures_seen(struct ferry_buffer *buffer)
{
    if (!buffer || FERRY__LIKELY(!(atomic_load_explicit(&buffer->word, memory_order_relaxed) &
                                   FERRY__BUFFER_FAILED)))
        return 0;
    ferry__lock(&buffer->device->lock);
    const uint64_t seen = buffer->failures.count;
    ferry__unlock(&buffer->device->lock);
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
    ferry__lock(&item->dst->device->lock);
    ferry__buffer_covered(item->dst, item->dst_offset, item->size, seen);
    ferry__unlock(&item->dst->device->lock);
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
        ferry__count(&device->metrics, item->operation, path, item->size);
        return;
    }
    const uint64_t start = ferry__now_ns();
    carry_out(item);
    if (timed)
        ferry__count_timed(&device->metrics, item->operation, path, item->size, FERRY_OK,
                           ferry__now_ns() - start);
    else
        ferry__count(&device->metrics, item->operation, path, item->size);
    trace_direct(device, item, path, FERRY_OK, ticket, start);
}

/* --- the choice of path ----------------------------------------------------------------------- */

static enum ferry_status take_region(struct ferry_device *device, struct ferry__item *item,
                                     struct ferry__path_question *question)
{
    const bool upload = item->operation == FERRY_OPERATION_UPLOAD;
    enum ferry_status status = FERRY_OK;
    item->region = ferry__region_find(device, item->host, item->size);
    if (!item->region)
        status = ferry__region_look(device, item->host, item->size, &item->region);
    if (status)
        return status;
    if (item->region)
        question->registered = item->region->imported && (upload || !item->region->read_only);
    /* What the copy command could not carry from there goes through staging, whose phase is ours. */
    struct ferry__span spans[3];
    const uint64_t buffer_offset =
        upload ? item->dst->offset + item->dst_offset : item->src->offset + item->src_offset;
    if (!ferry__plan_copy_spans(&device->limits, buffer_offset, (uintptr_t)item->host, item->size,
                                spans))
        question->registered = question->import_ok = false;
    return FERRY_OK;
}

static enum ferry_status import_for_call(struct ferry_device *device, struct ferry__item *item,
                                         const struct ferry__path_question *question)
{
    struct ferry__region *region = NULL;
    const bool upload = item->operation == FERRY_OPERATION_UPLOAD;
    ferry__error_begin();
    const enum ferry_status status =
        ferry__region_import(device, item->host, item->size, upload, &region);
    const char *why = ferry_last_error();
    ferry__error_end(FERRY_OK);
    if (status) {
        item->path = item->size <= question->chunk ? FERRY_PATH_STAGED : FERRY_PATH_PIPELINED;
        return ferry__fallback(device, &device->metrics.now.fallback_import,
                               "%llu bytes are staged: %s", (unsigned long long)item->size, why);
    }
    ferry__region_unref(device, item->region);
    item->region = region;
    return FERRY_OK;
}

/* The path of a transfer between host and device. */
static enum ferry_status plan_transfer(struct ferry_device *device, struct ferry__item *item)
{
    struct ferry__path_question question = {
        .forced = device->path,
        .size = item->size,
        .import_ok = device->limits.import_granularity != 0,
        .import_cheap = item->size >= device->info.thresholds.import_from,
        .chunk = device->upload.chunk_size,
        .budget = device->upload.budget,
    };
    bool fallback;
    enum ferry_status status = take_region(device, item, &question);
    if (status)
        return status;
    item->path = ferry__plan_path(&question, &fallback);
    if (fallback) {
        status = ferry__fallback(device, &device->metrics.now.fallback_path,
                                 "path %s cannot carry %llu bytes now; %s does",
                                 ferry_path_name(device->path), (unsigned long long)item->size,
                                 ferry_path_name(item->path));
        if (status)
            return status;
    }
    if (item->path == FERRY_PATH_IMPORTED && !question.registered)
        return import_for_call(device, item, &question);
    return FERRY_OK;
}

/* Does it write parts of words, which the device does not, and the host must merge? */
static bool bounces(const struct ferry_device *device, const struct ferry__item *item)
{
    const struct ferry__limits *limits = &device->limits;
    const uint64_t dst = item->dst ? item->dst->offset + item->dst_offset : 0;
    const uint64_t src = item->src ? item->src->offset + item->src_offset : 0;
    struct ferry__span spans[3];
    switch (item->operation) {
    case FERRY_OPERATION_UPLOAD:
        return item->path != FERRY_PATH_IMPORTED &&
               !ferry__plan_copy_spans(limits, dst, dst, item->size, spans);
    case FERRY_OPERATION_COPY: {
        const bool same = item->dst->memory->native == item->src->memory->native;
        return !(same && dst == src) &&
               ferry__plan_copy(limits, dst, src, item->size, same) == FERRY__COPY_BOUNCE;
    }
    case FERRY_OPERATION_FILL:
        return ferry__plan_fill(limits, dst, item->size, item->pattern_size) == FERRY__FILL_BOUNCE;
    case FERRY_OPERATION_DOWNLOAD: /* whole words are read */
    case FERRY_OPERATION_COUNT: break;
    }
    return false;
}

enum ferry_status ferry__note_bounce(struct ferry_device *device, uint64_t size)
{
    const enum ferry_status status = ferry__fallback(
        device, &device->metrics.now.fallback_unaligned,
        "%llu bytes go through the host: the device writes multiples of %u bytes only",
        (unsigned long long)size, device->limits.copy_alignment);
    if (!status)
        FERRY__ADD(&device->metrics, bounced, 1);
    return status;
}

enum ferry_status ferry__item_plan(struct ferry_device *device, struct ferry__item *item)
{
    enum ferry_status status = FERRY_OK;
    if (item->size == 0)
        item->path = FERRY_PATH_NONE;
    else if (item->operation >= FERRY_OPERATION_COPY)
        item->path = FERRY_PATH_DEVICE;
    else if (item->file)
        item->path =
            item->size <= device->upload.chunk_size ? FERRY_PATH_STAGED : FERRY_PATH_PIPELINED;
    else
        status = plan_transfer(device, item);
    if (status || !item->size || !bounces(device, item))
        return status;
    return ferry__note_bounce(device, item->size);
}

/* --- from items to ops ------------------------------------------------------------------------ */

/* What the caller of an asynchronous operation gave, or nothing. */
struct reply {
    bool waiting;
    ferry_callback callback;
    void *user;
    ferry_ticket *out_ticket;
};

static enum ferry_status submit_item(struct ferry__item *item, const struct reply *reply)
{
    struct ferry_device *device = (item->dst ? item->dst : item->src)->device;
    struct ferry__op *op = ferry__op_create(device, FERRY__OP_ITEMS);
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

/* An operation that is done inside its call has a ticket all the same, and a callback to run. */
static enum ferry_status run_inside_call(const struct ferry__item *item, const struct reply *reply)
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

static enum ferry_status run_waiting(struct ferry__item *item)
{
    struct ferry_device *device = (item->dst ? item->dst : item->src)->device;
    if (!item->size || (ferry__item_direct_ok(item, UINT64_MAX) && !goes_imported(device, item)))
        return run_inside_call(item, &(struct reply){0});
    if (item->operation == FERRY_OPERATION_COPY && item->dst->device != item->src->device)
        return ferry__bridge_submit(item, true, NULL, NULL, NULL);
    return submit_item(item, &(struct reply){.waiting = true});
}

static enum ferry_status run_async(struct ferry__item *item, const struct reply *reply)
{
    struct ferry_device *device = (item->dst ? item->dst : item->src)->device;
    if (!item->size ||
        (ferry__item_direct_ok(item, ASYNC_DIRECT_MAX) && !goes_imported(device, item)))
        return run_inside_call(item, reply);
    if (item->operation == FERRY_OPERATION_COPY && item->dst->device != item->src->device)
        return ferry__bridge_submit(item, false, reply->callback, reply->user, reply->out_ticket);
    return submit_item(item, reply);
}

enum ferry_status ferry__item_wait(struct ferry__item *item)
{
    return run_waiting(item);
}

enum ferry_status ferry__item_submit(struct ferry__item *item, ferry_callback cb, void *user,
                                     ferry_ticket *out_ticket)
{
    return run_async(item, &(struct reply){false, cb, user, out_ticket});
}

/* --- the operations that wait ------------------------------------------------------------------ */

/* A small transfer of a reachable, idle buffer: nothing but the checks, the copy and the counts. */
static inline bool is_small_direct(const ferry_buffer *buffer, bool allowed, uint64_t size,
                                   uint64_t offset)
{
    return FERRY__LIKELY(allowed && size && size <= FERRY__SMALL_DIRECT &&
                         ferry__in_range(offset, size, buffer->size) && idle(buffer) &&
                         !atomic_load_explicit(&buffer->device->dead, memory_order_relaxed) &&
                         !buffer->device->trace && !ferry__inside_callback());
}

enum ferry_status ferry_copy_from_host(ferry_buffer *dst, const void *src, size_t size,
                                       size_t dst_offset)
{
    if (dst && is_small_direct(dst, dst->direct_write && src, size, dst_offset)) {
        memcpy(dst->host + dst_offset, src, size);
        ferry__count(&dst->device->metrics, FERRY_OPERATION_UPLOAD, FERRY_PATH_DIRECT, size);
        return FERRY_OK;
    }
    struct ferry__item item;
    enum ferry_status status = ferry__in_callback("ferry_copy_from_host");
    if (status || (status = ferry__item_upload(&item, dst, src, size, dst_offset)))
        return status;
    return run_waiting(&item);
}

enum ferry_status ferry_copy_to_host(ferry_buffer *src, void *dst, size_t size, size_t src_offset)
{
    if (src && is_small_direct(src, src->direct_read && dst, size, src_offset)) {
        memcpy(dst, src->host + src_offset, size);
        ferry__count(&src->device->metrics, FERRY_OPERATION_DOWNLOAD, FERRY_PATH_DIRECT, size);
        return FERRY_OK;
    }
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

/* --- the operations that do not wait ----------------------------------------------------------- */

enum ferry_status ferry_copy_from_host_async(ferry_buffer *dst, const void *src, size_t size,
                                             size_t dst_offset, ferry_callback cb, void *user,
                                             ferry_ticket *out_ticket)
{
    struct ferry__item item;
    enum ferry_status status = ferry__item_upload(&item, dst, src, size, dst_offset);
    return status ? status : run_async(&item, &(struct reply){false, cb, user, out_ticket});
}

enum ferry_status ferry_copy_to_host_async(ferry_buffer *src, void *dst, size_t size,
                                           size_t src_offset, ferry_callback cb, void *user,
                                           ferry_ticket *out_ticket)
{
    struct ferry__item item;
    enum ferry_status status = ferry__item_download(&item, src, dst, size, src_offset);
    return status ? status : run_async(&item, &(struct reply){false, cb, user, out_ticket});
}

enum ferry_status ferry_copy_buffer_async(ferry_buffer *dst, ferry_buffer *src, size_t size,
                                          size_t dst_offset, size_t src_offset, ferry_callback cb,
                                          void *user, ferry_ticket *out_ticket)
{
    struct ferry__item item;
    enum ferry_status status = ferry__item_copy(&item, dst, src, size, dst_offset, src_offset);
    return status ? status : run_async(&item, &(struct reply){false, cb, user, out_ticket});
}

enum ferry_status ferry_fill_buffer_async(ferry_buffer *buffer, size_t size, size_t offset,
                                          const void *pattern, size_t pattern_size,
                                          ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    struct ferry__item item;
    enum ferry_status status = ferry__item_fill(&item, buffer, size, offset, pattern, pattern_size);
    return status ? status : run_async(&item, &(struct reply){false, cb, user, out_ticket});
}

enum ferry_status ferry_zero_buffer_async(ferry_buffer *buffer, ferry_callback cb, void *user,
                                          ferry_ticket *out_ticket)
{
    return ferry_fill_buffer_async(buffer, buffer ? buffer->size : 0, 0, "", 1, cb, user,
                                   out_ticket);
}
