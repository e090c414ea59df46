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
 */

/* Bytes of host memory that are written from staging, of the transfers so far. */
struct staged {
    struct ferry__intervals bytes;
    struct ferry__interval_pool pool;
    bool unknown; /* host memory was short: any byte may be */
};

struct part {
    uint64_t begin, end;
    bool imported;
};

static struct part part_of(struct ferry_device *device, const struct ferry__transfer *transfer,
                           size_t i)
{
    const struct ferry_block block = ferry__transfer_part(transfer, i);
    const uint64_t begin = (uint64_t)(uintptr_t)transfer->host +
                           (transfer->with == FERRY__WITH_BLOCKS ? block.dst_offset : 0);
    return (struct part){begin, begin + block.size,
                         transfer->with == FERRY__WITH_BLOCKS
                             ? ferry__block_is_imported(device, transfer, i)
                             : transfer->path == FERRY_PATH_IMPORTED};
}

static bool writes_host(const struct ferry__transfer *transfer)
{
    return transfer->operation == FERRY_OPERATION_DOWNLOAD && transfer->size &&
           transfer->with != FERRY__WITH_STREAM;
}

/* Both ways, so that there is something to look at? */
static bool are_mixed(const struct ferry__transfer *transfers, size_t count)
{
    bool imported = false, staged = false;
    for (size_t i = 0; i < count && !(imported && staged); i++) {
        if (!writes_host(&transfers[i]))
            continue;
        const struct ferry__blocks *blocks = ferry__blocks_of(&transfers[i]);
        const bool some = blocks ? blocks->region_count : transfers[i].path == FERRY_PATH_IMPORTED;
        imported |= some;
        staged |= blocks || !some;
    }
    return imported && staged;
}

static bool is_undone(struct ferry_device *device, const struct ferry__transfer *transfer,
                      const struct staged *staged)
{
    const size_t parts = ferry__transfer_parts(transfer);
    for (size_t i = 0; i < parts; i++) {
        const struct part part = part_of(device, transfer, i);
        if (part.imported && part.begin < part.end &&
            (staged->unknown || ferry__intervals_meet(&staged->bytes, part.begin, part.end)))
            return true;
    }
    return false;
}

static void note_staged(struct ferry_device *device, const struct ferry__transfer *transfer,
                        struct staged *staged)
{
    const size_t parts = ferry__transfer_parts(transfer);
    for (size_t i = 0; i < parts && !staged->unknown; i++) {
        const struct part part = part_of(device, transfer, i);
        if (!part.imported && part.begin < part.end)
            staged->unknown =
                !ferry__intervals_add(&staged->bytes, &staged->pool, part.begin, part.end);
    }
}

static enum ferry_status stage(struct ferry_device *device, struct ferry__transfer *transfer)
{
    if (device->path == FERRY_PATH_IMPORTED) {
        const enum ferry_status status = ferry__fallback(
            &device->gpu, &device->gpu.metrics.now.fallback_path,
            "path imported cannot carry %llu bytes: what is staged before them in the batch lands "
            "in the same memory",
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
    struct staged staged = {0};
    enum ferry_status status = FERRY_OK;
    if (!are_mixed(transfers, count))
        return FERRY_OK;
    for (size_t i = 0; i < count && !status; i++) {
        if (!writes_host(&transfers[i]))
            continue;
        if (is_undone(device, &transfers[i], &staged))
            status = stage(device, &transfers[i]);
        note_staged(device, &transfers[i], &staged);
    }
    ferry__interval_pool_finish(&staged.pool);
    return status;
}
