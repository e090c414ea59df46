#include "paths/landing.h"

#include "base/interval.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/blocks.h"
#include "engine/device.h"
#include "engine/transfer.h"
#include "memory/host_memory.h"
#include "paths/blocks.h"
#include "paths/choose.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The device writes imported memory while a submission is on its way; what is staged the host puts
 * there afterwards. So a staged download would undo an imported one that comes behind it: where
 * they share a byte, both are staged. Those that are staged are emptied one after another, and the
 * device's commands have barriers between them.
 *
 * A barrier orders what goes through one import. Pages that are imported twice, registered and for
 * one transfer, are written in another order than the commands' by an NVIDIA H200 under Vulkan
 * (driver 580.159.04), whatever barrier is between: so no byte goes through two imports.
 */

enum way { STAGED, REGISTERED, FOR_CALL, WAYS };

/* Bytes of host memory that the transfers so far write, by the way they go. */
struct landed {
    struct ferry__intervals by[WAYS];
    struct ferry__interval_pool pool;
    bool unknown; /* host memory was short: any byte may be */
};

struct part {
    uint64_t begin, end;
    enum way way;
};

/* What an imported one must not share a byte with. */
static const bool undoes[WAYS][WAYS] = {
    [REGISTERED] = {[STAGED] = true, [FOR_CALL] = true},
    [FOR_CALL] = {[STAGED] = true, [REGISTERED] = true, [FOR_CALL] = true},
};

static enum way way_of(const struct ferry__transfer *transfer)
{
    if (transfer->path != FERRY_PATH_IMPORTED)
        return STAGED;
    return ferry__region_of(transfer)->for_call ? FOR_CALL : REGISTERED;
}

static struct part part_of(struct ferry_device *device, const struct ferry__transfer *transfer,
                           size_t i)
{
    const struct ferry_block block = ferry__transfer_part(transfer, i);
    const bool listed = transfer->with == FERRY__WITH_BLOCKS;
    const uint64_t begin = (uint64_t)(uintptr_t)transfer->host + (listed ? block.dst_offset : 0);
    enum way way;
    if (listed)
        way = ferry__block_is_imported(device, transfer, i) ? REGISTERED : STAGED;
    else
        way = way_of(transfer);
    return (struct part){begin, begin + block.size, way};
}

static bool writes_host(const struct ferry__transfer *transfer)
{
    return transfer->operation == FERRY_OPERATION_DOWNLOAD && transfer->size &&
           transfer->with != FERRY__WITH_STREAM;
}

/* Do they go by ways that undo each other, so that there is something to look at? */
static bool are_mixed(const struct ferry__transfer *transfers, size_t count)
{
    size_t by[WAYS] = {0};
    for (size_t i = 0; i < count; i++) {
        if (!writes_host(&transfers[i]))
            continue;
        const struct ferry__blocks *blocks = ferry__blocks_of(&transfers[i]);
        if (blocks && blocks->region_count)
            by[REGISTERED]++;
        by[blocks ? STAGED : way_of(&transfers[i])]++;
        if ((by[STAGED] && by[REGISTERED] + by[FOR_CALL]) ||
            (by[FOR_CALL] && by[REGISTERED] + by[FOR_CALL] > 1))
            return true;
    }
    return false;
}

static bool is_undone(struct ferry_device *device, const struct ferry__transfer *transfer,
                      const struct landed *landed)
{
    const size_t parts = ferry__transfer_parts(transfer);
    for (size_t i = 0; i < parts; i++) {
        const struct part part = part_of(device, transfer, i);
        for (int way = 0; part.begin < part.end && way < WAYS; way++)
            if (undoes[part.way][way] &&
                (landed->unknown || ferry__intervals_meet(&landed->by[way], part.begin, part.end)))
                return true;
    }
    return false;
}

static void note_landed(struct ferry_device *device, const struct ferry__transfer *transfer,
                        struct landed *landed)
{
    const size_t parts = ferry__transfer_parts(transfer);
    for (size_t i = 0; i < parts && !landed->unknown; i++) {
        const struct part part = part_of(device, transfer, i);
        if (part.begin < part.end)
            landed->unknown =
                !ferry__intervals_add(&landed->by[part.way], &landed->pool, part.begin, part.end);
    }
}

static enum ferry_status stage(struct ferry_device *device, struct ferry__transfer *transfer)
{
    if (device->path == FERRY_PATH_IMPORTED) {
        const enum ferry_status status =
            ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_path,
                            "path imported cannot carry %llu bytes: before them in the batch "
                            "others land in the same "
                            "memory by another way",
                            (unsigned long long)transfer->size);
        if (status)
            return status;
    }
    if (transfer->with == FERRY__WITH_BLOCKS)
        return ferry__blocks_plan_staged(device, transfer);
    ferry__transfer_drop_region(device, transfer);
    transfer->path =
        transfer->size <= device->gpu.upload.chunk_size ? FERRY_PATH_STAGED : FERRY_PATH_PIPELINED;
    return FERRY_OK;
}

enum ferry_status ferry__landings_plan(struct ferry_device *device,
                                       struct ferry__transfer *transfers, size_t count)
{
    struct landed landed = {0};
    enum ferry_status status = FERRY_OK;
    if (!are_mixed(transfers, count))
        return FERRY_OK;
    for (size_t i = 0; i < count && !status; i++) {
        if (!writes_host(&transfers[i]))
            continue;
        if (is_undone(device, &transfers[i], &landed))
            status = stage(device, &transfers[i]);
        note_landed(device, &transfers[i], &landed);
    }
    ferry__interval_pool_finish(&landed.pool);
    return status;
}
