#include "base/alloc.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/device.h"
#include "engine/transfer.h"
#include "paths/blocks.h"
#include "paths/choose.h"

#include <ferry/ferry.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Batches of many small copies: those that follow each other, of one kind and between the same two
 * places, are carried out as if one list had been added, where a kernel takes lists and they touch
 * nothing of each other's. So are lists. Each counts as the operation that it is.
 */

enum {
    BLOCKS_LEAST = 16,    /* fewer are as fast each by itself */
    SMALL_MAX = 64 << 10, /* a longer copy is left to a command of its own */
    BESIDE = 64,          /* bytes of staging that a block takes beside its own, at most */
};

static bool may_merge(const struct ferry__transfer *transfer)
{
    if (transfer->operation == FERRY_OPERATION_FILL || transfer->with == FERRY__WITH_STREAM ||
        !transfer->size)
        return false;
    return transfer->with == FERRY__WITH_BLOCKS ? (bool)transfer->blocks->list
                                                : transfer->size <= SMALL_MAX;
}

/* Some that follow each other. */
struct run {
    struct ferry__transfer *transfers;
    size_t count, blocks;
};

static struct run run_from(struct ferry__transfer *transfers, size_t count)
{
    struct run run = {transfers, 0, 0};
    while (run.count < count) {
        const struct ferry__transfer *transfer = &transfers[run.count];
        if (!may_merge(transfer) || transfer->operation != transfers->operation ||
            transfer->dst != transfers->dst || transfer->src != transfers->src)
            break;
        run.blocks += ferry__transfer_parts(transfer);
        run.count++;
    }
    return run;
}

/* The host's side by addresses, since each has a pointer of its own. */
static void list_run(const struct run *run, struct ferry_block *list)
{
    for (size_t i = 0; i < run->count; i++) {
        const struct ferry__transfer *transfer = &run->transfers[i];
        const size_t dst_base = transfer->dst ? 0 : (uintptr_t)transfer->host;
        const size_t src_base = transfer->src ? 0 : (uintptr_t)transfer->host;
        const size_t parts = ferry__transfer_parts(transfer);
        for (size_t p = 0; p < parts; p++) {
            const struct ferry_block part = ferry__transfer_part(transfer, p);
            *list++ = (struct ferry_block){dst_base + part.dst_offset, src_base + part.src_offset,
                                           part.size};
        }
    }
}

/* The operations themselves, for a trace. */
static void list_operations(const struct run *run, struct ferry_block *list)
{
    for (size_t i = 0; i < run->count; i++) {
        const struct ferry__transfer *transfer = &run->transfers[i];
        const struct ferry__blocks *blocks = ferry__blocks_of(transfer);
        const struct ferry_block one = {transfer->dst_offset, transfer->src_offset, transfer->size};
        const struct ferry_block *from = blocks && blocks->merged ? blocks->merged_as : &one;
        const size_t count = ferry__transfer_operations(transfer);
        for (size_t k = 0; from && k < count; k++)
            list[k] = from[k];
        list += count;
    }
}

static struct ferry__blocks *blocks_of(const struct run *run, bool traced)
{
    struct ferry__blocks *blocks = ferry__alloc(sizeof *blocks);
    struct ferry_block *list = ferry__alloc_unset(run->blocks * sizeof *list);
    if (!blocks || !list) {
        ferry__free(blocks);
        ferry__free(list);
        return NULL;
    }
    list_run(run, list);
    *blocks =
        (struct ferry__blocks){.count = run->blocks, .list = list, .kept = true, .owned = true};
    for (size_t i = 0; i < run->count; i++)
        blocks->merged += ferry__transfer_operations(&run->transfers[i]);
    if (traced && (blocks->merged_as = ferry__alloc(blocks->merged * sizeof *list)))
        list_operations(run, blocks->merged_as);
    return blocks;
}

/* What of the batch may go through staging. */
static uint64_t staged_by(const struct ferry__transfer *transfers, size_t count)
{
    uint64_t staged = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ferry__transfer *transfer = &transfers[i];
        const bool by_host = transfer->operation == FERRY_OPERATION_UPLOAD ||
                             transfer->operation == FERRY_OPERATION_DOWNLOAD;
        if (by_host)
            staged += transfer->size + ferry__transfer_parts(transfer) * BESIDE;
    }
    return staged;
}

/* A list ends its submission where a chunk of staging is full: a batch that is larger, and is
 * carried in one submission as copies, stays as it is. */
static bool splits(struct ferry_device *device, const struct ferry__transfer *whole,
                   uint64_t staged)
{
    return whole->operation != FERRY_OPERATION_COPY && staged > device->gpu.upload.chunk_size &&
           !ferry__blocks_in_region(device, whole);
}

/* The first of the run becomes all of it. False: it stays as it is. */
static bool merge(struct ferry_device *device, const struct run *run, uint64_t staged)
{
    struct ferry__blocks *blocks = blocks_of(run, device->trace);
    if (!blocks)
        return false;
    struct ferry__transfer whole = *run->transfers;
    whole.host = NULL;
    whole.with = FERRY__WITH_BLOCKS;
    whole.blocks = blocks;
    whole.size = ferry__blocks_measure(blocks);
    whole.dst_offset = blocks->dst_begin;
    whole.src_offset = blocks->src_begin;
    if (splits(device, &whole, staged) || !ferry__blocks_go_by_list(device, &whole)) {
        ferry__blocks_free(blocks);
        return false;
    }
    ferry__blocks_free(ferry__blocks_of(run->transfers));
    ferry__transfers_finish(device, run->transfers + 1, run->count - 1);
    *run->transfers = whole;
    return true;
}

size_t ferry__transfers_merge(struct ferry_device *device, struct ferry__transfer *transfers,
                              size_t count)
{
    size_t kept = 0;
    /* A list goes through staging by itself; the other paths are no way for one. */
    const bool by_list = device->path == FERRY_PATH_AUTO || device->path == FERRY_PATH_STAGED;
    if (!device->gpu.limits.blocks_max || !by_list)
        return count;
    const uint64_t staged = staged_by(transfers, count);
    for (size_t i = 0, times; i < count; i += times) {
        const struct run run = run_from(transfers + i, count - i);
        times = run.count ? run.count : 1;
        const bool merged = times > 1 && run.blocks >= BLOCKS_LEAST && merge(device, &run, staged);
        const size_t left = merged ? 1 : times;
        if (kept != i)
            memmove(transfers + kept, transfers + i, left * sizeof *transfers);
        kept += left;
    }
    return kept;
}
