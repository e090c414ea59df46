/*
 * Memory that is not coherent: the host has a view of its own, and flush and invalidate copy
 * between the two.
 */
#include "host_internal.h"

#include <stdio.h>
#include <string.h>

bool ferry__host_view_make(struct host_device *device, struct host_memory *memory, bool may)
{
    if (may && ferry__host_knob(&device->knobs, HOST_NONCOHERENT)) {
        memory->view = ferry__host_map(memory->mapped);
        if (!memory->view)
            return false;
    }
    if (ferry__host_knob(&device->knobs, HOST_ZERO_OFF)) {
        memset(memory->bytes, 0xA5, memory->mapped);
        if (memory->view)
            memset(memory->view, 0xA5, memory->mapped);
    }
    return true;
}

/* Checks what flush and invalidate are asked for; NULL: not for such memory. */
static struct host_memory *viewed(struct host_device *device, const char *what,
                                  const struct ferry__memory *handle, uint64_t offset,
                                  uint64_t size)
{
    struct host_memory *memory = handle->native;
    uint64_t atom = device->limits.atom;
    char why[FERRY__WHY_MAX];
    if (!memory->view) {
        snprintf(why, sizeof why, "%s of memory \"%s\", which is coherent or not mapped", what,
                 memory->label);
    } else if ((handle->offset + offset) % atom != 0 || size % atom != 0) {
        snprintf(why, sizeof why, "%s of %llu bytes at %llu: not multiples of the atom %llu", what,
                 (unsigned long long)size, (unsigned long long)(handle->offset + offset),
                 (unsigned long long)atom);
    } else if (offset > handle->size || size > handle->size - offset ||
               handle->offset > memory->size || handle->size > memory->size - handle->offset) {
        snprintf(why, sizeof why, "%s of %llu bytes at %llu exceeds memory \"%s\" of %llu", what,
                 (unsigned long long)size, (unsigned long long)offset, memory->label,
                 (unsigned long long)handle->size);
    } else {
        return memory;
    }
    ferry__host_breach(why);
    return NULL;
}

enum ferry_status ferry__host_flush(void *state, const struct ferry__memory *handle,
                                    uint64_t offset, uint64_t size)
{
    struct host_memory *memory = viewed(state, "flush", handle, offset, size);
    if (!memory)
        return FERRY_ERROR_INTERNAL;
    uint64_t start = handle->offset + offset;
    memcpy(memory->bytes + start, memory->view + start, size);
    return FERRY_OK;
}

enum ferry_status ferry__host_invalidate(void *state, const struct ferry__memory *handle,
                                         uint64_t offset, uint64_t size)
{
    struct host_memory *memory = viewed(state, "invalidate", handle, offset, size);
    if (!memory)
        return FERRY_ERROR_INTERNAL;
    uint64_t start = handle->offset + offset;
    memcpy(memory->view + start, memory->bytes + start, size);
    return FERRY_OK;
}
