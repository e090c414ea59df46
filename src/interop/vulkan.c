/* ferry/vulkan.h: what Ferry's objects are made of, and Ferry's objects made of the user's own. */
#include "drivers/vulkan/vk.h"

#include "api/device.h"
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "interop/wrapped.h"

#include <stdio.h>

extern const struct ferry__driver ferry__vulkan_driver;

static enum ferry_status invalid(const char *function, const char *what)
{
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %s", function, what);
}

/* The device is of this driver, and alive. */
static enum ferry_status check_device(const struct ferry_device *device, const char *function)
{
    if (device->gpu.driver != &ferry__vulkan_driver)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "%s: %s is not a Vulkan device: open \"vulkan\"", function,
                           device->gpu.info.name);
    return ferry__device_dead(device, function);
}

/* --- devices ---------------------------------------------------------------------------------- */

static enum ferry_status describe_user(const struct ferry_vulkan_device *user,
                                       struct ferry_device_info *out_info)
{
    char why[FERRY__WHY_MAX] = "";
    struct vulkan_functions vk = {0};
    struct vulkan_physical physical;
    enum ferry_status status = ferry__vulkan_read_user(user, &vk, &physical, why);
    if (status)
        return ferry__fail(status, "ferry_vulkan_device_wrap: %s", why);
    ferry__vulkan_describe(&physical, out_info);
    snprintf(out_info->name, sizeof out_info->name, "vulkan:wrapped");
    snprintf(out_info->reason, sizeof out_info->reason, "the caller's own Vulkan device");
    return FERRY_OK;
}

enum ferry_status ferry_vulkan_device_wrap(const struct ferry_vulkan_device *wrapped,
                                           const struct ferry_device_params *params,
                                           ferry_device **out_device)
{
    static const struct ferry_device_params defaults;
    if (!wrapped || !out_device)
        return invalid("ferry_vulkan_device_wrap",
                       wrapped ? "out_device is NULL" : "wrapped is NULL");
    if (!params)
        params = &defaults;
    struct ferry_device_info info;
    enum ferry_status status = describe_user(wrapped, &info);
    if (status)
        return status;
    const struct ferry__open_params open = {
        .map_private = params->map_private, .no_kernel = params->no_kernel, .wrapped = wrapped};
    return ferry__device_open_as(&ferry__vulkan_driver, &open, &info, params, out_device);
}

static struct vulkan_queue *find_queue(struct vulkan *v, uint32_t family, uint32_t index)
{
    for (uint32_t i = 0; i < v->queue_count; i++)
        if (v->queues[i].family == family && v->queues[i].index == index)
            return &v->queues[i];
    return NULL;
}

static void lock_own(void *user, uint32_t family, uint32_t index)
{
    struct vulkan_queue *queue = find_queue(user, family, index);
    if (queue)
        pthread_mutex_lock(&queue->use);
}

static void unlock_own(void *user, uint32_t family, uint32_t index)
{
    struct vulkan_queue *queue = find_queue(user, family, index);
    if (queue)
        pthread_mutex_unlock(&queue->use);
}

enum ferry_status ferry_vulkan_device_get(ferry_device *device,
                                          struct ferry_vulkan_device *out_device)
{
    static const char function[] = "ferry_vulkan_device_get";
    if (!device || !out_device)
        return invalid(function, device ? "out_device is NULL" : "device is NULL");
    enum ferry_status status = check_device(device, function);
    if (status)
        return status;
    struct vulkan *v = device->gpu.state;
    const struct vulkan_queue *copies = &v->queues[0];
    *out_device = (struct ferry_vulkan_device){
        .instance = v->instance,
        .physical_device = v->physical.handle,
        .device = v->device,
        .get_instance_proc_addr = v->vk.GetInstanceProcAddr,
        .api_version = v->physical.api_version,
        .queue_family = copies->family,
        .queue_index = copies->index,
        .lock_queue = v->borrowed ? v->user.lock_queue : lock_own,
        .unlock_queue = v->borrowed ? v->user.unlock_queue : unlock_own,
        .user = v->borrowed ? v->user.user : v,
    };
    return FERRY_OK;
}

/* --- buffers ---------------------------------------------------------------------------------- */

enum ferry_status ferry_vulkan_buffer_get(ferry_buffer *buffer,
                                          struct ferry_vulkan_buffer *out_buffer)
{
    static const char function[] = "ferry_vulkan_buffer_get";
    if (!buffer || !out_buffer)
        return invalid(function, buffer ? "out_buffer is NULL" : "buffer is NULL");
    enum ferry_status status = check_device(buffer->device, function);
    if (status)
        return status;
    const struct vulkan_memory *native = buffer->memory->native;
    *out_buffer = (struct ferry_vulkan_buffer){
        .buffer = native->buffer,
        .offset = buffer->memory->offset + buffer->offset,
        .size = buffer->size,
        .address = native->address,
    };
    return FERRY_OK;
}

static enum ferry_status check_wrap(ferry_device *device, const struct ferry_vulkan_buffer *wrapped,
                                    ferry_buffer **out_buffer)
{
    static const char function[] = "ferry_vulkan_buffer_wrap";
    if (!device || !wrapped || !out_buffer)
        return invalid(function, "device, wrapped or out_buffer is NULL");
    enum ferry_status status = check_device(device, function);
    if (status)
        return status;
    if (!wrapped->buffer || !wrapped->size || wrapped->size > SIZE_MAX / 2 ||
        wrapped->offset % FERRY_BUFFER_ALIGNMENT || wrapped->address % VULKAN__KERNEL_ALIGNMENT)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: one of these is not valid: VkBuffer%s, offset %llu (a multiple of "
                           "%d is), size %llu, address 0x%llx (a multiple of %d is)",
                           function, wrapped->buffer ? "" : " VK_NULL_HANDLE",
                           (unsigned long long)wrapped->offset, FERRY_BUFFER_ALIGNMENT,
                           (unsigned long long)wrapped->size, (unsigned long long)wrapped->address,
                           VULKAN__KERNEL_ALIGNMENT);
    return FERRY_OK;
}

enum ferry_status ferry_vulkan_buffer_wrap(ferry_device *device,
                                           const struct ferry_vulkan_buffer *wrapped,
                                           void (*release)(void *user), void *user,
                                           ferry_buffer **out_buffer)
{
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status = check_wrap(device, wrapped, out_buffer);
    if (status)
        return status;
    struct ferry__memory memory;
    status = ferry__vulkan_memory_wrap(device->gpu.state, wrapped, &memory, why);
    return status ? ferry__fail(status, "ferry_vulkan_buffer_wrap: %s", why)
                  : ferry__wrap_native(device, &memory, wrapped->size, release, user, out_buffer);
}
