#include "base/metrics.h"
#include "base/range.h"
#include "base/sharing.h"
#include "base/status.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "memory/host_memory.h"
#include "paths/direct.h"
#include "paths/plan.h"

#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>

/* What an operation would do, by the same conditions as the choice itself (paths/choose.c,
 * paths/blocks.c), without making one. */

struct question {
    ferry_device *device;
    ferry_buffer *buffer;
    enum ferry_operation operation;
    const void *host;
    uint64_t block_size, size; /* of all blocks */
    size_t count;
    const struct ferry__region *region; /* of host; NULL: none */
};

static bool by_host(const struct question *q)
{
    return q->operation == FERRY_OPERATION_UPLOAD || q->operation == FERRY_OPERATION_DOWNLOAD;
}

static bool lists_reach(const struct ferry__memory *memory)
{
    return !memory->no_kernel || memory->by_list;
}

static void tell(struct ferry_explanation *out, enum ferry_path path, const char *engine,
                 const char *reason)
{
    out->path = path;
    snprintf(out->engine, sizeof out->engine, "%s", engine);
    snprintf(out->reason, sizeof out->reason, "%s", reason);
}

/* Would the CPU do it inside the call, if nothing in flight touches the bytes? */
static bool is_direct(const struct question *q)
{
    const struct ferry_device *device = q->device;
    const struct ferry__transfer transfer = {
        .operation = q->operation,
        .dst = q->operation == FERRY_OPERATION_DOWNLOAD ? NULL : q->buffer,
        .src = q->operation == FERRY_OPERATION_UPLOAD || q->operation == FERRY_OPERATION_FILL
                   ? NULL
                   : q->buffer,
        .size = q->size,
    };
    const bool imported = by_host(q) && q->region && device->path == FERRY_PATH_AUTO &&
                          q->size > device->gpu.info.thresholds.direct_registered_max;
    return ferry__direct_reaches(&transfer) && !imported;
}

/* NULL: a kernel takes the list; else the condition that is missing. */
static const char *list_refusal(const struct question *q)
{
    const struct ferry__limits *limits = &q->device->gpu.limits;
    if (q->device->no_kernel)
        return "no kernel may (no_kernel)";
    if (!limits->blocks_max)
        return "the device takes no lists of blocks";
    if (!ferry__limits_now(&q->device->gpu)->blocks_max &&
        !ferry__kernels_needed(&q->device->gpu, false))
        return "its kernels are still to be compiled";
    if (!lists_reach(q->buffer->memory) || (q->region && !lists_reach(&q->region->memory)))
        return "kernels do not reach this memory";
    if (limits->blocks_copy_from && q->block_size >= limits->blocks_copy_from)
        return "blocks of this size are faster by copy commands";
    return NULL;
}

static void explain_list(const struct question *q, struct ferry_explanation *out)
{
    const char *reason = "a kernel goes through a list of the blocks, within the device";
    if (by_host(q) && q->region)
        reason = "a kernel goes through a list of the blocks, straight in registered host memory";
    else if (by_host(q) && q->operation == FERRY_OPERATION_UPLOAD)
        reason = "the CPU gathers the blocks into staging, and a kernel takes them from there: "
                 "missing for the straight way is registered host memory (ferry_host_register)";
    else if (by_host(q))
        reason = "a kernel puts the blocks into staging, and the CPU takes them from there: "
                 "missing for the straight way is registered host memory (ferry_host_register)";
    tell(out, FERRY_PATH_BLOCKS, "kernel", reason);
}

/* One range, or each block as one. */
static void explain_each(const struct question *q, const char *refusal,
                         struct ferry_explanation *out)
{
    const struct ferry__gpu *gpu = &q->device->gpu;
    const struct ferry__limits *limits = ferry__limits_now(gpu);
    const char *engine = limits->has_kernel && limits->kernel_copy_from &&
                                 q->block_size >= limits->kernel_copy_from && !by_host(q)
                             ? "kernel"
                             : "copy";
    const struct ferry__path_question path = {
        .forced = q->device->path,
        .size = q->count > 1 ? q->size : q->block_size,
        .registered = q->region,
        .import_ok = q->count == 1 && gpu->limits.import_granularity,
        .import_cheap = q->block_size >= gpu->info.thresholds.import_from,
        .chunk = gpu->upload.chunk_size,
        .budget = gpu->upload.budget,
    };
    bool fallback = false;
    const enum ferry_path taken =
        by_host(q) ? ferry__plan_path(&path, &fallback) : FERRY_PATH_DEVICE;
    static const char *const reasons[FERRY_PATH_COUNT] = {
        [FERRY_PATH_STAGED] =
            "through one piece of staging: the CPU does not reach the buffer, or "
            "the device is faster; missing for one copy is registered host memory",
        [FERRY_PATH_PIPELINED] =
            "through staging, chunk by chunk: missing for one copy is registered "
            "host memory (ferry_host_register)",
        [FERRY_PATH_IMPORTED] = "the device reads or writes the host memory itself",
        [FERRY_PATH_DEVICE] = "by the device, within its own memory",
    };
    tell(out, taken, engine, reasons[taken] ? reasons[taken] : "as it was forced");
    if (q->operation == FERRY_OPERATION_COPY && gpu->driver->sharing &&
        gpu->driver->sharing->reaches)
        tell(out, taken, engine,
             "by the device, within its own memory; from another device of this driver by peer, "
             "where it reaches that memory, else bridged");
    const size_t length = strlen(out->reason);
    if (refusal)
        snprintf(out->reason + length, sizeof out->reason - length, "; each block by itself: %s",
                 refusal);
    else if (fallback)
        snprintf(out->reason + length, sizeof out->reason - length, "; path %s cannot carry it",
                 ferry_path_name(q->device->path));
}

/* What operations of this kind reached on that path so far; 0: none were timed. */
static uint64_t rate_of(ferry_device *device, enum ferry_operation operation, enum ferry_path path)
{
    struct ferry_operation_stats one;
    if (atomic_load(&device->dead) == FERRY__FORKED)
        return 0;
    ferry__metrics_read_one(&device->gpu.metrics, operation, path, &one);
    if (!one.timed || !one.time_ns || one.timed < one.operations)
        return 0;
    return (uint64_t)((double)one.bytes * 1e9 / (double)one.time_ns);
}

static void answer(struct question *q, struct ferry_explanation *out)
{
    const char *refusal = q->count > 1 ? list_refusal(q) : NULL;
    *out = (struct ferry_explanation){.path = FERRY_PATH_NONE};
    if (!q->size)
        tell(out, FERRY_PATH_NONE, "none", "there is nothing to move");
    else if (is_direct(q))
        tell(out, FERRY_PATH_DIRECT, "cpu",
             "the CPU reaches the buffer, and copies inside the call where nothing in flight "
             "touches the bytes");
    else if (q->count > 1 && !refusal && q->operation != FERRY_OPERATION_FILL)
        explain_list(q, out);
    else
        explain_each(q, refusal, out);
    if (q->size)
        out->bytes_per_second = rate_of(q->device, q->operation, out->path);
}

static enum ferry_status check(ferry_device *device, const ferry_buffer *buffer,
                               enum ferry_operation operation, size_t block_size, size_t count,
                               const struct ferry_explanation *out)
{
    if (!device || !out)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_explain: %s is NULL",
                           device ? "out" : "device");
    if (buffer && buffer->device != device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_explain: %s belongs to %s, not %s",
                           ferry__label(buffer), buffer->device->gpu.info.name,
                           device->gpu.info.name);
    if ((unsigned)operation >= FERRY_OPERATION_COUNT)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_explain: there is no operation %u",
                           (unsigned)operation);
    if (count && block_size > SIZE_MAX / count)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_explain: %zu blocks of %zu bytes are more than 2^64 bytes", count,
                           block_size);
    return ferry__device_dead(device, "ferry_explain");
}

enum ferry_status ferry_explain(ferry_device *device, const ferry_buffer *buffer,
                                enum ferry_operation operation, const void *host, size_t block_size,
                                size_t count, struct ferry_explanation *out)
{
    ferry_buffer *ordinary = NULL;
    enum ferry_status status = check(device, buffer, operation, block_size, count, out);
    if (!status && !buffer)
        status = ferry_buffer_create(
            device, &(struct ferry_buffer_params){.size = 1, .label = "explained"}, &ordinary);
    if (status)
        return status;
    struct question q = {
        .device = device,
        .buffer = ordinary ? ordinary : (ferry_buffer *)(uintptr_t)buffer,
        .operation = operation,
        .host = host,
        .block_size = block_size,
        .size = (uint64_t)block_size * count,
        .count = count,
    };
    struct ferry__region *region = NULL;
    if (host && by_host(&q))
        region = ferry__region_find(&device->gpu, host, block_size);
    const bool upload = operation == FERRY_OPERATION_UPLOAD;
    q.region = region && region->imported && (upload || !region->read_only) ? region : NULL;
    answer(&q, out);
    ferry__region_unref(&device->gpu, region);
    ferry_buffer_destroy(ordinary);
    return FERRY_OK;
}
