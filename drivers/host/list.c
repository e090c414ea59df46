#include "base/env.h"
#include "host_internal.h"

#include <stdio.h>
#include <unistd.h>

enum ferry_status ferry__host_list(struct ferry_device_info *infos, size_t capacity,
                                   size_t *out_count, char *why)
{
    struct host_knobs knobs;
    ferry__host_knobs_default(&knobs);
    if (!ferry__host_knobs_parse(&knobs, ferry__env("FERRY_HOST"), why))
        ferry__host_knobs_default(&knobs); /* the devices are there all the same; open tells */
    size_t count = (size_t)ferry__host_knob(&knobs, HOST_DEVICES);
    for (size_t i = 0; i < count && i < capacity; i++) {
        struct ferry_device_info *info = &infos[i];
        uint64_t memory = ferry__host_memory_of(&knobs);
        snprintf(info->driver, sizeof info->driver, "host");
        snprintf(info->description, sizeof info->description, "host memory, %ld processors",
                 sysconf(_SC_NPROCESSORS_ONLN));
        info->kind = FERRY_DEVICE_HOST;
        info->unified = true;
        info->total_memory = memory;
        info->max_allocation = ferry__host_allocation_max(&knobs);
        info->max_buffer_size = info->max_allocation;
        info->import_granularity =
            ferry__host_knob(&knobs, HOST_NO_IMPORT) ? 0 : (uint64_t)sysconf(_SC_PAGESIZE);
        info->queues = ferry__host_queues_of(&knobs);
    }
    *out_count = count;
    return FERRY_OK;
}
