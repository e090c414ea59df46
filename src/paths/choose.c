#include "paths/choose.h"

#include "base/compiler.h"
#include "base/metrics.h"
#include "base/status.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "memory/host_memory.h"
#include "paths/blocks.h"
#include "paths/plan.h"
#include "paths/record.h"
#include "paths/stream.h"

#include <ferry/ferry.h>

/* Which path a transfer takes, and how it is written down there: asked once, before it takes its
 * place in the order. */

void ferry__transfer_drop_region(struct ferry_device *device, struct ferry__transfer *transfer)
{
    ferry__blocks_unplan(device, ferry__blocks_of(transfer));
    if (!ferry__region_of(transfer))
        return;
    ferry__region_unref(&device->gpu, transfer->region);
    transfer->region = NULL;
}

/* References to one buffer that are given back together. */
struct tab {
    struct ferry_buffer *buffer;
    unsigned count;
};

static void give_back(const struct tab *tab)
{
    if (tab->buffer)
        ferry__buffer_unref_times(tab->buffer, tab->count);
}

static inline void put_on(struct tab *tab, struct ferry_buffer *buffer)
{
    if (FERRY__LIKELY(buffer == tab->buffer)) {
        tab->count++;
        return;
    }
    give_back(tab);
    *tab = (struct tab){buffer, 1};
}

static FERRY__COLD void finish_rest(struct ferry_device *device, struct ferry__transfer *transfer)
{
    ferry__transfer_drop_region(device, transfer);
    ferry__blocks_free(ferry__blocks_of(transfer));
    ferry__side_unref(ferry__side_of(transfer));
    transfer->with = FERRY__WITH_REGION;
    transfer->region = NULL;
}

void ferry__transfers_finish(struct ferry_device *device, struct ferry__transfer *transfers,
                             size_t count)
{
    struct tab dst = {0}, src = {0};
    for (size_t i = 0; i < count; i++) {
        struct ferry__transfer *transfer = &transfers[i];
        put_on(&dst, transfer->dst);
        put_on(&src, transfer->src);
        if (!FERRY__LIKELY(transfer->with == FERRY__WITH_REGION && !ferry__region_of(transfer)))
            finish_rest(device, transfer);
    }
    give_back(&dst);
    give_back(&src);
}

/* --- the choice of path ----------------------------------------------------------------------- */

static enum ferry_status take_region(struct ferry_device *device, struct ferry__transfer *transfer,
                                     struct ferry__path_question *question)
{
    const bool upload = transfer->operation == FERRY_OPERATION_UPLOAD;
    enum ferry_status status = FERRY_OK;
    transfer->region = ferry__region_find(&device->gpu, transfer->host, transfer->size);
    if (!transfer->region)
        status =
            ferry__region_look(&device->gpu, transfer->host, transfer->size, &transfer->region);
    if (status)
        return status;
    if (transfer->region)
        question->registered =
            transfer->region->imported && (upload || !transfer->region->read_only);
    if (!question->registered && !question->import_ok)
        return FERRY_OK;
    /* What the copy command could not carry from there goes through staging, whose phase is
     * ours. */
    struct ferry__span spans[3];
    const uint64_t buffer_offset = upload ? transfer->dst->offset + transfer->dst_offset
                                          : transfer->src->offset + transfer->src_offset;
    const uintptr_t host = (uintptr_t)transfer->host;
    if (!ferry__plan_copy_spans(ferry__limits_now(&device->gpu), buffer_offset, host,
                                transfer->size, spans) &&
        !ferry__kernels_needed(&device->gpu, false))
        question->registered = question->import_ok = false;
    return FERRY_OK;
}

static enum ferry_status import_for_call(struct ferry_device *device,
                                         struct ferry__transfer *transfer,
                                         const struct ferry__path_question *question)
{
    struct ferry__region *region = NULL;
    const bool upload = transfer->operation == FERRY_OPERATION_UPLOAD;
    ferry__error_begin();
    const enum ferry_status status =
        ferry__region_import(&device->gpu, transfer->host, transfer->size, upload, &region);
    const char *why = ferry_last_error();
    ferry__error_end(FERRY_OK);
    if (status) {
        transfer->path =
            transfer->size <= question->chunk ? FERRY_PATH_STAGED : FERRY_PATH_PIPELINED;
        return ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_import,
                               "%llu bytes go through staging memory: %s",
                               (unsigned long long)transfer->size, why);
    }
    ferry__region_unref(&device->gpu, transfer->region);
    transfer->region = region;
    return FERRY_OK;
}

/* The path of a transfer between host and device. */
static enum ferry_status plan_transfer(struct ferry_device *device,
                                       struct ferry__transfer *transfer)
{
    struct ferry__path_question question = {
        .forced = device->path,
        .size = transfer->size,
        .import_ok = device->gpu.limits.import_granularity != 0,
        .import_cheap = transfer->size >= device->gpu.info.thresholds.import_from,
        .chunk = device->gpu.upload.chunk_size,
        .budget = device->gpu.upload.budget,
    };
    bool fallback;
    enum ferry_status status = take_region(device, transfer, &question);
    if (status)
        return status;
    transfer->path = ferry__plan_path(&question, &fallback);
    if (fallback) {
        status = ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_path,
                                 "path %s cannot carry %llu bytes now; %s does",
                                 ferry_path_name(device->path), (unsigned long long)transfer->size,
                                 ferry_path_name(transfer->path));
        if (status)
            return status;
    }
    if (transfer->path == FERRY_PATH_IMPORTED && !question.registered)
        return import_for_call(device, transfer, &question);
    return FERRY_OK;
}

/* How it is written down, within these limits. */
static enum ferry__way way_within(const struct ferry__limits *limits,
                                  const struct ferry__transfer *transfer)
{
    const uint64_t dst = transfer->dst ? transfer->dst->offset + transfer->dst_offset : 0;
    const uint64_t src = transfer->src ? transfer->src->offset + transfer->src_offset : 0;
    struct ferry__span spans[3];
    switch (transfer->operation) {
    case FERRY_OPERATION_UPLOAD: /* staging has the destination's phase */
        return transfer->path == FERRY_PATH_IMPORTED ||
                       ferry__plan_copy_spans(limits, dst, dst, transfer->size, spans)
                   ? FERRY__WAY_COMMANDS
                   : FERRY__WAY_RMW;
    case FERRY_OPERATION_COPY: {
        const bool same = transfer->dst->memory->native == transfer->src->memory->native;
        return same && dst == src ? FERRY__WAY_NOTHING
                                  : ferry__plan_copy(limits, dst, src, transfer->size, same);
    }
    case FERRY_OPERATION_FILL:
        return ferry__plan_fill(limits, dst, transfer->size, transfer->pattern_size);
    case FERRY_OPERATION_DOWNLOAD: /* whole words are read */
    case FERRY_OPERATION_COUNT: break;
    }
    return FERRY__WAY_COMMANDS;
}

/* Where the kernels are still to be compiled, and would carry it better, that begins; what is
 * planned meanwhile does without. */
static enum ferry__way choose_way(struct ferry_device *device, struct ferry__transfer *transfer)
{
    struct ferry__gpu *gpu = &device->gpu;
    const struct ferry__memory *dst = transfer->dst ? transfer->dst->memory : NULL;
    const bool out_of_reach = transfer->operation == FERRY_OPERATION_FILL && dst->no_kernel;
    const bool preferred = transfer->operation == FERRY_OPERATION_COPY &&
                           gpu->limits.kernel_copy_from &&
                           transfer->size >= gpu->limits.kernel_copy_from;
    transfer->by_words = ferry__by_words(device);
    const struct ferry__limits *limits =
        out_of_reach ? &gpu->limits_no_kernel : ferry__limits_now(gpu);
    const enum ferry__way way = way_within(limits, transfer);
    if (limits->has_kernel || out_of_reach ||
        (!preferred && way != FERRY__WAY_RMW && way != FERRY__WAY_TILE) ||
        !ferry__kernels_needed(gpu, false))
        return way;
    transfer->by_words = false;
    return way_within(&gpu->limits, transfer);
}

void ferry__transfer_plan_block(struct ferry_device *device, struct ferry__transfer *block)
{
    struct ferry__span spans[3];
    const struct ferry_buffer *buffer = block->dst ? block->dst : block->src;
    const uint64_t offset = block->dst ? block->dst_offset : block->src_offset;
    const bool copy = block->operation == FERRY_OPERATION_COPY;
    if (!block->size)
        block->path = FERRY_PATH_NONE;
    else if (copy)
        block->path = FERRY_PATH_DEVICE;
    else if (ferry__region_of(block) &&
             ferry__plan_copy_spans(ferry__limits_now(&device->gpu), buffer->offset + offset,
                                    (uint64_t)(block->host - block->region->memory_base),
                                    block->size, spans))
        block->path = FERRY_PATH_IMPORTED;
    else
        block->path =
            block->size <= device->gpu.upload.chunk_size ? FERRY_PATH_STAGED : FERRY_PATH_PIPELINED;
    block->way = block->size ? choose_way(device, block) : FERRY__WAY_NOTHING;
}

enum ferry_status ferry__note_rmw(struct ferry_device *device, uint64_t size)
{
    const enum ferry_status status = ferry__fallback(
        &device->gpu, &device->gpu.metrics.now.fallback_unaligned,
        "%llu bytes go through the host: the device writes multiples of %u bytes only",
        (unsigned long long)size, device->gpu.limits.copy_alignment);
    if (!status)
        FERRY__ADD(&device->gpu.metrics, bounced, 1);
    return status;
}

enum ferry_status ferry__transfer_plan(struct ferry_device *device,
                                       struct ferry__transfer *transfer)
{
    enum ferry_status status = FERRY_OK;
    if (transfer->with == FERRY__WITH_BLOCKS && transfer->size)
        return ferry__blocks_plan(device, transfer);
    if (transfer->size == 0)
        transfer->path = FERRY_PATH_NONE;
    else if (transfer->operation >= FERRY_OPERATION_COPY)
        transfer->path = FERRY_PATH_DEVICE;
    else if (transfer->with == FERRY__WITH_STREAM)
        transfer->path = transfer->size <= device->gpu.upload.chunk_size ? FERRY_PATH_STAGED
                                                                         : FERRY_PATH_PIPELINED;
    else
        status = plan_transfer(device, transfer);
    if (status || !transfer->size)
        return status;
    transfer->way = choose_way(device, transfer);
    return transfer->way == FERRY__WAY_RMW ? ferry__note_rmw(device, transfer->size) : FERRY_OK;
}
