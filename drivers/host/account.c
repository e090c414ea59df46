/*
 * What may be allocated, and what is: a budget, as a device has that is smaller than the host (knob
 * "memory"), and a list, so that what is freed too early, or never, is seen.
 */
#include "host_internal.h"

#include <stdio.h>

enum ferry_status ferry__host_memory_admit(struct host_device *device, uint64_t size, char *why)
{
    if (size == 0) {
        snprintf(why, FERRY__WHY_MAX, "memory of 0 bytes was asked for");
        return ferry__host_breach(why);
    }
    if (atomic_load(&device->lost)) {
        snprintf(why, FERRY__WHY_MAX, "the host device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (size > device->limits.max_allocation) {
        snprintf(why, FERRY__WHY_MAX, "%llu bytes are over the largest allocation, %llu",
                 (unsigned long long)size, (unsigned long long)device->limits.max_allocation);
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    if (ferry__host_fires(device, HOST_FAIL_ALLOC)) {
        snprintf(why, FERRY__WHY_MAX, "an allocation of %llu bytes fails by a knob",
                 (unsigned long long)size);
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    return FERRY_OK;
}

enum ferry_status ferry__host_import_admit(struct host_device *device, const void *host,
                                           uint64_t size, char *why)
{
    const uint64_t granularity = device->limits.import_granularity;
    if (granularity == 0) {
        snprintf(why, FERRY__WHY_MAX, "this host device cannot import memory");
        return FERRY_ERROR_UNSUPPORTED;
    }
    if (size == 0 || size % granularity != 0 || (uintptr_t)host % granularity != 0) {
        snprintf(why, FERRY__WHY_MAX, "import of %llu bytes at %p: not multiples of %llu",
                 (unsigned long long)size, host, (unsigned long long)granularity);
        return ferry__host_breach(why);
    }
    if (atomic_load(&device->lost)) {
        snprintf(why, FERRY__WHY_MAX, "the host device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (ferry__host_fires(device, HOST_IMPORT_FAIL)) {
        snprintf(why, FERRY__WHY_MAX, "an import of %llu bytes fails by a knob",
                 (unsigned long long)size);
        return FERRY_ERROR_UNSUPPORTED;
    }
    return FERRY_OK;
}

bool ferry__host_memory_enter(struct host_device *device, struct host_memory *memory, char *why)
{
    pthread_mutex_lock(&device->lock);
    const uint64_t left = device->limits.total_memory - device->used;
    const bool fits = !memory->budgeted || memory->size <= left;
    if (fits) {
        device->used += memory->budgeted ? memory->size : 0;
        memory->references = 1;
        memory->device = device;
        ferry__list_insert(&device->memories, NULL, &memory->link);
    }
    pthread_mutex_unlock(&device->lock);
    if (!fits)
        snprintf(why, FERRY__WHY_MAX, "%llu bytes are over the %llu of %llu that are free",
                 (unsigned long long)memory->size, (unsigned long long)left,
                 (unsigned long long)device->limits.total_memory);
    return fits;
}

/* Gives up a reference; the lock is held. */
static void drop(struct host_device *device, struct host_memory *memory)
{
    if (--memory->references > 0)
        return;
    ferry__list_remove(&device->memories, &memory->link);
    device->used -= memory->budgeted ? memory->size : 0;
    ferry__host_memory_release(memory);
}

void ferry__host_memory_leave(struct host_device *device, struct host_memory *memory)
{
    char why[FERRY__WHY_MAX];
    pthread_mutex_lock(&device->lock);
    const bool busy = (memory->references > 1 && !atomic_load(&device->lost)) ||
                      atomic_load(&memory->borrowed) > 0;
    if (busy)
        snprintf(why, sizeof why, "memory \"%s\" of %llu bytes is freed while commands use it",
                 memory->label, (unsigned long long)memory->size);
    drop(device, memory);
    pthread_mutex_unlock(&device->lock);
    if (busy)
        ferry__host_breach(why);
}

void ferry__host_memory_hold(struct host_submission *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct host_command *command = &s->commands[i];
        command->dst->references++;
        if (command->src && command->src->device == command->dst->device)
            command->src->references++;
        else if (command->src) /* a peer's, whose references are under the peer's lock */
            ferry__host_borrow(command);
        if (command->list)
            command->list->references++;
    }
}

void ferry__host_memory_let_go(struct host_device *device, struct host_submission *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct host_command *command = &s->commands[i];
        if (command->src && command->src->device == device)
            drop(device, command->src);
        else if (command->src)
            ferry__host_give_back(command);
        drop(device, command->dst);
        if (command->list)
            drop(device, command->list);
    }
}

uint64_t ferry__host_memory_available(void *state)
{
    struct host_device *device = state;
    pthread_mutex_lock(&device->lock);
    uint64_t left = device->limits.total_memory - device->used;
    pthread_mutex_unlock(&device->lock);
    return left;
}

void ferry__host_memory_finish(struct host_device *device)
{
    uint64_t count = 0, bytes = 0;
    for (struct ferry__link *link; (link = device->memories.first) != NULL;) {
        struct host_memory *memory = FERRY__OF_LINK(link, struct host_memory, link);
        count++;
        bytes += memory->size;
        memory->references = 1;
        drop(device, memory);
    }
    ferry__host_check_left("memories", count, bytes);
}
