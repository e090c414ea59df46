/* One list of blocks, as it is written for the device. */
#ifndef FERRY_PATHS_LAUNCH_H
#define FERRY_PATHS_LAUNCH_H

#include "driver.h"
#include "engine/submission.h"

#include <ferry/ferry.h>
#include <stdint.h>

struct ferry_device;

/* The two memories of a list, where they begin, and what is to be added to a block's offsets. */
struct ferry__ends {
    const struct ferry__memory *dst, *src;
    uint64_t dst_at, src_at;
    uint64_t dst_base, src_base;
};

/* Where the driver has them begin; the bases count from there. Only once. */
struct ferry__ends ferry__ends_locate(const struct ferry_device *device, struct ferry__ends ends);

/* Begins a list in upload staging. */
enum ferry_status ferry__launch_open(struct ferry__submission *sub,
                                     const struct ferry__memory *memory, uint64_t offset,
                                     uint64_t capacity, const struct ferry__ends *ends);

/* The list that is being written becomes a command; where there is none, nothing. */
void ferry__launch_close(const struct ferry_device *device, struct ferry__submission *sub);

/* The device shall see the entries from first on. What it cannot see is taken back. */
enum ferry_status ferry__launch_flush(struct ferry_device *device, struct ferry__launch *launch,
                                      uint32_t first);

static inline void ferry__hull_add(struct ferry__launch_hull *hull, uint64_t dst, uint64_t src,
                                   uint64_t size)
{
    hull->dst_begin = dst < hull->dst_begin ? dst : hull->dst_begin;
    hull->dst_end = dst + size > hull->dst_end ? dst + size : hull->dst_end;
    hull->src_begin = src < hull->src_begin ? src : hull->src_begin;
    hull->src_end = src + size > hull->src_end ? src + size : hull->src_end;
    hull->bytes += size;
}

static inline void ferry__launch_add(struct ferry__launch *launch, uint64_t dst, uint64_t src,
                                     uint64_t size)
{
    launch->entries[launch->count++] =
        (struct ferry__block_entry){.dst = dst, .src = src, .size = (uint32_t)size};
    ferry__hull_add(&launch->hull, dst, src, size);
}

#endif
