#include "paths/launch.h"

#include "driver.h"
#include "engine/commands.h"
#include "engine/device.h"
#include "paths/record.h"

/* 0 where blocks have offsets. */
static uint64_t begin_of(const struct ferry_device *device, const struct ferry__memory *memory)
{
    const struct ferry__driver *driver = device->gpu.driver;
    return memory && driver->address ? driver->address(memory) : 0;
}

struct ferry__ends ferry__ends_locate(const struct ferry_device *device, struct ferry__ends ends)
{
    ends.dst_at = begin_of(device, ends.dst);
    ends.src_at = begin_of(device, ends.src);
    ends.dst_base += ends.dst_at;
    ends.src_base += ends.src_at;
    return ends;
}

enum ferry_status ferry__launch_open(struct ferry__submission *sub,
                                     const struct ferry__memory *memory, uint64_t offset,
                                     uint64_t capacity, const struct ferry__ends *ends)
{
    if (!FERRY__RESERVE(sub, command))
        return ferry__no_memory();
    sub->launch = (struct ferry__launch){
        .memory = memory,
        .offset = offset,
        .entries = (struct ferry__block_entry *)(void *)(memory->host + offset),
        .capacity = (uint32_t)capacity,
        .dst = ends->dst,
        .src = ends->src,
        .dst_at = ends->dst_at,
        .src_at = ends->src_at,
        .hull = {.dst_begin = UINT64_MAX, .src_begin = UINT64_MAX}};
    return FERRY_OK;
}

/* What was gathered into staging, or is scattered from there, lies there end to end: where it does
 * so on the device's side, too, it is one copy. */
static bool is_one_copy(const struct ferry_device *device, const struct ferry__launch *launch)
{
    const struct ferry__launch_hull *hull = &launch->hull;
    if (!launch->staged || device->gpu.limits.copy_alignment != 1 ||
        hull->bytes > device->gpu.limits.max_copy ||
        hull->dst_end - hull->dst_begin != hull->bytes ||
        hull->src_end - hull->src_begin != hull->bytes)
        return false;
    for (uint32_t i = 0; i < launch->count; i++)
        if (launch->entries[i].dst - hull->dst_begin != launch->entries[i].src - hull->src_begin)
            return false;
    return true;
}

void ferry__launch_close(const struct ferry_device *device, struct ferry__submission *sub)
{
    struct ferry__launch *launch = &sub->launch;
    const struct ferry__launch_hull *hull = &launch->hull;
    struct ferry__command command = {.kind = FERRY__BLOCKS,
                                     .engine = FERRY__ENGINE_KERNEL,
                                     .dst = launch->dst,
                                     .src = launch->src,
                                     .dst_offset = hull->dst_begin - launch->dst_at,
                                     .src_offset = hull->src_begin - launch->src_at,
                                     .size = hull->bytes,
                                     .list = {.memory = launch->memory,
                                              .offset = launch->offset,
                                              .count = launch->count,
                                              .dst_span = hull->dst_end - hull->dst_begin,
                                              .src_span = hull->src_end - hull->src_begin}};
    if (!launch->entries)
        return;
    if (launch->count && is_one_copy(device, launch)) {
        command.kind = FERRY__COPY;
        command.engine = FERRY__ENGINE_COPY;
        command.list = (struct ferry__block_list){0};
    }
    if (launch->count)
        (void)ferry__add_command(device, sub, command); /* there is room: ferry__launch_open */
    launch->entries = NULL;
    launch->goes_on = !launch->staged && device->gpu.driver->address;
}

enum ferry_status ferry__launch_flush(struct ferry_device *device, struct ferry__launch *launch,
                                      uint32_t first)
{
    const uint64_t each = sizeof *launch->entries;
    const enum ferry_status status =
        ferry__memory_flush(&device->gpu, launch->memory, launch->offset + first * each,
                            (launch->count - first) * each);
    if (status)
        launch->count = first;
    return status;
}
