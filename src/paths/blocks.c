#include "paths/blocks.h"

#include "base/alloc.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/footprint.h"
#include "engine/op.h"
#include "engine/submission.h"
#include "memory/host_memory.h"
#include "paths/choose.h"
#include "paths/record.h"

#include <ferry/ferry.h>
#include <stdbool.h>

/*
 * Scattered blocks. By lists that a kernel carries out, where the driver has one, nothing overlaps
 * and the blocks are not so large that copy commands are faster: straight from or to registered
 * memory, else through staging, into which the host gathers them. Or each as a transfer by itself,
 * in the order listed, which every device can do.
 */

/* --- the choice ------------------------------------------------------------------------------- */

static bool usable(const struct ferry__transfer *transfer, const struct ferry__region *region)
{
    return region->imported &&
           (transfer->operation == FERRY_OPERATION_UPLOAD || !region->read_only);
}

/* The known region that holds a block; or one that is found now. FERRY__BLOCK_STAGED: none does. */
static unsigned find_region(struct ferry_device *device, const struct ferry__transfer *transfer,
                            uintptr_t host, uint64_t size, unsigned last)
{
    struct ferry__blocks *blocks = transfer->blocks;
    for (unsigned i = 0; i < blocks->region_count; i++) {
        const unsigned at = (last + i) % blocks->region_count;
        const struct ferry__region *region = blocks->regions[at];
        if (ferry__in_range(host - (uintptr_t)region->base, size, region->size))
            return at;
    }
    if (blocks->region_count == FERRY__BLOCK_REGIONS_MAX)
        return FERRY__BLOCK_STAGED;
    struct ferry__region *region = ferry__region_find(&device->gpu, (void *)host, size);
    if (region && usable(transfer, region)) {
        blocks->regions[blocks->region_count] = region;
        return blocks->region_count++;
    }
    ferry__region_unref(&device->gpu, region);
    return FERRY__BLOCK_STAGED;
}

bool ferry__blocks_in_region(struct ferry_device *device, const struct ferry__transfer *transfer)
{
    const struct ferry__blocks *blocks = transfer->blocks;
    const bool upload = transfer->operation == FERRY_OPERATION_UPLOAD;
    const uint64_t begin = upload ? blocks->src_begin : blocks->dst_begin;
    const uint64_t size = (upload ? blocks->src_end : blocks->dst_end) - begin;
    void *host = (void *)((uintptr_t)transfer->host + begin);
    struct ferry__region *region = ferry__region_find(&device->gpu, host, size);
    if (!region && ferry__region_look(&device->gpu, host, size, &region))
        return false;
    const bool held = region && usable(transfer, region);
    ferry__region_unref(&device->gpu, region);
    return held;
}

/* Which of the blocks lie in registered memory. */
static enum ferry_status find_regions(struct ferry_device *device, struct ferry__transfer *transfer)
{
    struct ferry__blocks *blocks = transfer->blocks;
    const bool upload = transfer->operation == FERRY_OPERATION_UPLOAD;
    const bool forced = device->path == FERRY_PATH_STAGED || device->path == FERRY_PATH_PIPELINED;
    const uint64_t begin = upload ? blocks->src_begin : blocks->dst_begin;
    const uint64_t end = upload ? blocks->src_end : blocks->dst_end;
    const uintptr_t host = (uintptr_t)transfer->host + begin;
    blocks->kinds = 1u << FERRY__BLOCK_REGIONS_MAX;
    if (forced)
        return FERRY_OK;
    if (find_region(device, transfer, host, end - begin, 0) != FERRY__BLOCK_STAGED) {
        blocks->kinds = 1;
        return FERRY_OK;
    }
    struct ferry__region *region = NULL;
    const enum ferry_status status =
        ferry__region_look(&device->gpu, (void *)host, end - begin, &region);
    if (status)
        return status;
    if (region && usable(transfer, region)) {
        blocks->regions[blocks->region_count++] = region;
        blocks->kinds = 1;
        return FERRY_OK;
    }
    ferry__region_unref(&device->gpu, region);
    if (end == begin || !ferry__regions_meet(&device->gpu, (void *)host, end - begin))
        return FERRY_OK; /* all are staged */
    blocks->kinds = 0;
    if (!(blocks->region_of = ferry__alloc(blocks->count)))
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu blocks",
                           blocks->count);
    unsigned last = 0;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct ferry_block block = ferry__blocks_at(blocks, i);
        const unsigned at =
            find_region(device, transfer, ferry__block_host(transfer, block), block.size, last);
        blocks->region_of[i] = (uint8_t)at;
        last = at == FERRY__BLOCK_STAGED ? last : at;
        if (block.size)
            blocks->kinds |= 1u << (at == FERRY__BLOCK_STAGED ? FERRY__BLOCK_REGIONS_MAX : at);
    }
    return FERRY_OK;
}

void ferry__blocks_unplan(struct ferry_device *device, struct ferry__blocks *blocks)
{
    if (!blocks)
        return;
    while (blocks->region_count)
        ferry__region_unref(&device->gpu, blocks->regions[--blocks->region_count]);
    ferry__free(blocks->region_of);
    blocks->region_of = NULL;
    blocks->kinds = 0;
}

static bool lists_reach(const struct ferry__memory *memory)
{
    return !memory->no_kernel || memory->by_list;
}

static bool kernels_reach(const struct ferry__transfer *transfer)
{
    if ((transfer->dst && !lists_reach(transfer->dst->memory)) ||
        (transfer->src && !lists_reach(transfer->src->memory)))
        return false;
    for (unsigned i = 0; i < transfer->blocks->region_count; i++)
        if (!lists_reach(&transfer->blocks->regions[i]->memory))
            return false;
    return true;
}

static bool are_apart(const struct ferry__transfer *transfer)
{
    const struct ferry_buffer *dst = transfer->dst, *src = transfer->src;
    const bool native = dst && src && dst->memory->native == src->memory->native;
    struct ferry__blocks *blocks = transfer->blocks;
    if (!blocks->apart)
        blocks->apart = ferry__blocks_are_apart(blocks, native, native ? dst->offset : 0,
                                                native ? src->offset : 0);
    return blocks->apart;
}

/* Copy commands are faster for long blocks. Within the device a command costs as much, and moves
 * its bytes sooner, so that they have to be longer still. */
static bool are_long(const struct ferry__limits *limits, const struct ferry__transfer *transfer)
{
    enum { WITHIN_TIMES = 8 };
    const bool within = transfer->operation == FERRY_OPERATION_COPY;
    const uint64_t from = limits->blocks_copy_from * (within ? WITHIN_TIMES : 1);
    return from && transfer->size / transfer->blocks->count >= from;
}

bool ferry__blocks_go_by_list(struct ferry_device *device, const struct ferry__transfer *transfer)
{
    const struct ferry__limits *limits = &device->gpu.limits;
    const size_t count = transfer->blocks->count;
    const bool there = ferry__limits_now(&device->gpu)->blocks_max ||
                       (limits->blocks_max && ferry__kernels_needed(&device->gpu, false));
    return there && count > 1 && kernels_reach(transfer) && !are_long(limits, transfer) &&
           are_apart(transfer);
}

/* The transfer that a block is by itself. It borrows all that it has. */
static void set_now(struct ferry_device *device, const struct ferry__transfer *transfer, size_t i)
{
    struct ferry__blocks *blocks = transfer->blocks;
    const struct ferry_block block = ferry__blocks_at(blocks, i);
    struct ferry__transfer *now = &blocks->now;
    unsigned region = FERRY__BLOCK_STAGED;
    if (blocks->region_count)
        region = blocks->region_of ? blocks->region_of[i] : 0;
    *now = (struct ferry__transfer){.operation = transfer->operation,
                                    .dst = transfer->dst,
                                    .src = transfer->src,
                                    .dst_offset = transfer->dst ? block.dst_offset : 0,
                                    .src_offset = transfer->src ? block.src_offset : 0,
                                    .size = block.size};
    if (ferry__blocks_by_host(transfer))
        now->host = (unsigned char *)ferry__block_host(transfer, block);
    if (region != FERRY__BLOCK_STAGED)
        now->region = blocks->regions[region];
    ferry__transfer_plan_block(device, now);
}

/* How each block goes by itself: are all imported, and must the host merge words for one? */
static void look_at_each(struct ferry_device *device, const struct ferry__transfer *transfer,
                         bool *out_imported, bool *out_rmw)
{
    struct ferry__blocks *blocks = transfer->blocks;
    *out_imported = true;
    *out_rmw = false;
    for (size_t i = 0; i < blocks->count; i++) {
        set_now(device, transfer, i);
        *out_imported &= !blocks->now.size || blocks->now.path == FERRY_PATH_IMPORTED;
        *out_rmw |= blocks->now.way == FERRY__WAY_RMW;
    }
}

static enum ferry_status plan_each(struct ferry_device *device, struct ferry__transfer *transfer)
{
    bool imported, rmw;
    look_at_each(device, transfer, &imported, &rmw);
    /* The device writes imported memory before the host empties staging: where blocks overlap
     * there, all go one way. */
    if (transfer->operation == FERRY_OPERATION_DOWNLOAD && !imported &&
        transfer->blocks->region_count && !are_apart(transfer))
        ferry__blocks_unplan(device, transfer->blocks);
    transfer->way = FERRY__WAY_EACH;
    transfer->by_words = ferry__by_words(device);
    transfer->path = FERRY_PATH_DEVICE;
    if (ferry__blocks_by_host(transfer) && imported)
        transfer->path = FERRY_PATH_IMPORTED;
    else if (ferry__blocks_by_host(transfer))
        transfer->path =
            device->path == FERRY_PATH_PIPELINED || transfer->size > device->gpu.upload.chunk_size
                ? FERRY_PATH_PIPELINED
                : FERRY_PATH_STAGED;
    return rmw ? ferry__note_rmw(device, transfer->size) : FERRY_OK;
}

static enum ferry_status choose_way(struct ferry_device *device, struct ferry__transfer *transfer)
{
    if (!ferry__blocks_go_by_list(device, transfer))
        return plan_each(device, transfer);
    transfer->way = FERRY__WAY_LIST;
    transfer->path = FERRY_PATH_BLOCKS;
    return FERRY_OK;
}

enum ferry_status ferry__blocks_plan(struct ferry_device *device, struct ferry__transfer *transfer)
{
    enum ferry_status status = FERRY_OK;
    if (device->path == FERRY_PATH_DIRECT && ferry__blocks_by_host(transfer))
        status = ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_path,
                                 "path direct cannot carry %zu blocks of %llu bytes now",
                                 transfer->blocks->count, (unsigned long long)transfer->size);
    if (!status && ferry__blocks_by_host(transfer))
        status = find_regions(device, transfer);
    else
        transfer->blocks->kinds = 1;
    if (!status && device->path == FERRY_PATH_IMPORTED && ferry__blocks_by_host(transfer) &&
        transfer->blocks->kinds >> FERRY__BLOCK_REGIONS_MAX)
        status = ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_path,
                                 "path imported cannot carry %zu blocks: some lie in host memory "
                                 "that is not registered",
                                 transfer->blocks->count);
    if (!status)
        status = choose_way(device, transfer);
    if (status)
        ferry__blocks_unplan(device, transfer->blocks);
    return status;
}

enum ferry_status ferry__blocks_plan_staged(struct ferry_device *device,
                                            struct ferry__transfer *transfer)
{
    ferry__blocks_unplan(device, transfer->blocks);
    transfer->blocks->kinds = 1u << FERRY__BLOCK_REGIONS_MAX;
    return choose_way(device, transfer);
}

bool ferry__block_is_imported(struct ferry_device *device, const struct ferry__transfer *transfer,
                              size_t i)
{
    const struct ferry__blocks *blocks = transfer->blocks;
    if (!blocks->region_count)
        return false;
    if (transfer->way == FERRY__WAY_LIST)
        return !blocks->region_of || blocks->region_of[i] != FERRY__BLOCK_STAGED;
    set_now(device, transfer, i);
    return blocks->now.path == FERRY_PATH_IMPORTED;
}

/* --- each by itself --------------------------------------------------------------------------- */

enum ferry__emitted ferry__emit_each(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__op *op, struct ferry__transfer *transfer,
                                     enum ferry_status *out_status)
{
    struct ferry__blocks *blocks = transfer->blocks;
    const bool pipelined = transfer->path == FERRY_PATH_PIPELINED && !op->batch;
    while (blocks->next < blocks->count) {
        if (sub->command_count >= FERRY__COMMANDS_MAX ||
            (pipelined && sub->staged >= device->gpu.upload.chunk_size))
            return FERRY__EMIT_MORE;
        if (!op->transfer_done && !op->rmw_merged)
            set_now(device, transfer, blocks->next);
        const enum ferry__emitted result =
            ferry__emit_transfer(device, sub, op, &blocks->now, out_status);
        if (result != FERRY__EMIT_DONE)
            return result;
        blocks->next++;
        op->transfer_done = 0;
    }
    return FERRY__EMIT_DONE;
}
