/*
 * A first driver, to be copied: docs/drivers.md explains it block by block. Its device is host
 * memory behind limits of its own; where it copies and fills, yours calls your device.
 */
#include "base/base.h"
#include "driver.h"

#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 4, MEMORY = 1 << 28 };

struct device {
    pthread_mutex_t lock; /* guards used and the wakes */
    pthread_cond_t changed;
    uint64_t used;
    uint64_t wakes, wakes_seen;
    _Atomic uint64_t done; /* the value of the only queue's event */
};

static enum ferry_status template_list(struct ferry_device_info *infos, size_t capacity,
                                       size_t *out_count, char *why)
{
    (void)why;
    if (capacity > 0) {
        snprintf(infos->driver, sizeof infos->driver, "template");
        snprintf(infos->description, sizeof infos->description, "the device of a first driver");
        infos->kind = FERRY_DEVICE_HOST;
        infos->total_memory = infos->max_allocation = infos->max_buffer_size = MEMORY;
        infos->queues = 1;
    }
    *out_count = 1;
    return FERRY_OK;
}

static enum ferry_status refuse(enum ferry_status status, const char *reason, char *why)
{
    snprintf(why, FERRY__WHY_MAX, "%s", reason);
    return status;
}

static enum ferry_status template_open(const struct ferry__open_params *params, void **out_state,
                                       struct ferry__limits *out_limits, char *why)
{
    if (params->wrapped)
        return refuse(FERRY_ERROR_UNSUPPORTED, "there is no device of the user's to wrap", why);
    if (params->index > 0)
        return refuse(FERRY_ERROR_NO_DEVICE, "there is one device", why);
    struct device *device = ferry__alloc(sizeof *device);
    if (!device)
        return refuse(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a device", why);
    if (pthread_mutex_init(&device->lock, NULL))
        goto free_device;
    if (ferry__cond_init(&device->changed))
        goto destroy_lock;
    *out_state = device;
    *out_limits = (struct ferry__limits){
        .copy_alignment = ALIGNMENT,
        .fill_alignment = ALIGNMENT,
        .fill_pattern = ALIGNMENT,
        .max_copy = 1 << 20,
        .max_allocation = MEMORY,
        .total_memory = MEMORY,
        .atom = 1,
        .queue_count = 1,
        .queues[0] = {.event = (uint64_t)(uintptr_t)&device->done,
                      .roles = FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD | FERRY__ROLE_COPY},
    };
    return FERRY_OK;

destroy_lock:
    pthread_mutex_destroy(&device->lock);
free_device:
    ferry__free(device);
    return refuse(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a device's locks", why);
}

static void template_close(void *state)
{
    struct device *device = state;
    pthread_cond_destroy(&device->changed);
    pthread_mutex_destroy(&device->lock);
    ferry__free(device);
}

static enum ferry_status template_status(void *state)
{
    (void)state;
    return FERRY_OK; /* host memory is never lost; a device that is says DEVICE_LOST from then on */
}

/* Takes bytes from the device's memory, or gives them back. False: there are not so many. */
static bool account(struct device *device, uint64_t take, uint64_t give)
{
    pthread_mutex_lock(&device->lock);
    const bool fits = take <= MEMORY - device->used;
    if (fits)
        device->used = device->used + take - give;
    pthread_mutex_unlock(&device->lock);
    return fits;
}

static enum ferry_status template_memory_alloc(void *state, enum ferry__memory_kind use,
                                               uint64_t size, const char *label,
                                               struct ferry__memory *out_memory, char *why)
{
    (void)label; /* for the names that tools of the device show */
    if (size > MEMORY || !account(state, size, 0)) {
        snprintf(why, FERRY__WHY_MAX, "%llu bytes are over what is free of %d",
                 (unsigned long long)size, MEMORY);
        return FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    unsigned char *native = ferry__alloc(size + FERRY_BUFFER_ALIGNMENT);
    if (!native) {
        account(state, 0, size);
        return refuse(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for the device's", why);
    }
    const uint64_t past = (uintptr_t)native % FERRY_BUFFER_ALIGNMENT;
    const uint64_t offset = past ? FERRY_BUFFER_ALIGNMENT - past : 0;
    *out_memory = (struct ferry__memory){
        .native = native,
        .offset = offset,
        .size = size,
        .host = use == FERRY__MEMORY_PRIVATE ? NULL : native + offset,
        .coherent = true,
        .cached = true,
        .zeroed = true,
    };
    return FERRY_OK;
}

static void template_memory_free(void *state, struct ferry__memory *memory)
{
    account(state, 0, memory->size);
    ferry__free(memory->native);
}

static unsigned char *bytes(const struct ferry__memory *memory, uint64_t offset)
{
    return (unsigned char *)memory->native + memory->offset + offset;
}

static void run(const struct ferry__command *command)
{
    unsigned char *to = bytes(command->dst, command->dst_offset);
    if (command->kind == FERRY__COPY)
        memcpy(to, bytes(command->src, command->src_offset), command->size);
    else
        for (uint64_t i = 0; i < command->size; i++)
            to[i] = command->pattern[i % command->pattern_size];
}

static enum ferry_status template_submit(void *state, const struct ferry__submission_info *info,
                                         char *why)
{
    struct device *device = state;
    (void)why;
    for (size_t i = 0; i < info->count; i++) /* in order, so each barrier is kept */
        run(&info->commands[i]);
    *info->result = (struct ferry__result){.status = FERRY_OK};
    pthread_mutex_lock(&device->lock);
    atomic_store_explicit(&device->done, info->value, memory_order_release);
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
    return FERRY_OK;
}

static uint64_t template_completed(void *state, uint64_t event)
{
    (void)state;
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)event, memory_order_acquire);
}

static bool any_reached(void *state, const struct ferry_sync *points, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (template_completed(state, points[i].event) >= points[i].value)
            return true;
    return false;
}

static void template_wait_any(void *state, const struct ferry_sync *points, size_t count,
                              uint64_t timeout_ns)
{
    struct device *device = state;
    const uint64_t deadline = ferry__deadline(timeout_ns);
    pthread_mutex_lock(&device->lock);
    const uint64_t seen = device->wakes_seen; /* a wake while nobody waits counts for the next */
    while (device->wakes == seen && !any_reached(device, points, count) &&
           ferry__cond_wait_until(&device->changed, &device->lock, deadline)) {
    }
    device->wakes_seen = device->wakes;
    pthread_mutex_unlock(&device->lock);
}

static void template_wake(void *state)
{
    struct device *device = state;
    pthread_mutex_lock(&device->lock);
    device->wakes++;
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
}

extern const struct ferry__driver ferry__template_driver;
const struct ferry__driver ferry__template_driver = {
    .name = "template",
    .list = template_list,
    .open = template_open,
    .close = template_close,
    .status = template_status,
    .memory_alloc = template_memory_alloc,
    .memory_free = template_memory_free,
    .submit = template_submit,
    .completed = template_completed,
    .wait_any = template_wait_any,
    .wake = template_wake,
};
