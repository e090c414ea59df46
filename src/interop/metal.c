/* ferry/metal.h: what Ferry's objects are made of, and Ferry's objects made of the user's own. */
#include "drivers/metal/state.h"

#include "api/device.h"
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"

#include <stdio.h>

/* The device is of this driver, and alive. */
static enum ferry_status check_device(const struct ferry_device *device, const char *function)
{
    if (device->gpu.driver != &ferry__metal_driver)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: %s is not a Metal device", function,
                           device->gpu.info.name);
    return ferry__device_dead(device, function);
}

static enum ferry_status is_null(const char *function, const char *what)
{
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %s is NULL", function, what);
}

/* The same GPU may be seen through two objects. */
static bool is_device(mtl_id device, mtl_id same)
{
    if (device == same || !device || !MTL_RESPONDS(device, registry_id))
        return device == same;
    return mtl_registry_id(device) == mtl_registry_id(same);
}

/* --- devices ---------------------------------------------------------------------------------- */

static enum ferry_status check_wrapped_device(const struct ferry_metal_device *wrapped)
{
    static const char function[] = "ferry_metal_device_wrap";
    if (!wrapped || !wrapped->device)
        return is_null(function, wrapped ? "the MTLDevice" : "wrapped");
    if (!ferry__all_zero(wrapped->reserved, sizeof wrapped->reserved))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: a reserved word is not 0", function);
    const enum ferry_status status = ferry__mtl_load();
    if (status)
        return ferry__fail(status, "%s: %s", function, ferry__mtl_why());
    void *pool = mtl_pool_push();
    bool own = !wrapped->queue || is_device(mtl_owner_device(wrapped->queue), wrapped->device);
    mtl_pool_pop(pool);
    return own ? FERRY_OK
               : ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: the queue is another device's",
                             function);
}

enum ferry_status ferry_metal_device_wrap(const struct ferry_metal_device *wrapped,
                                          const struct ferry_device_params *params,
                                          ferry_device **out_device)
{
    static const struct ferry_device_params defaults;
    if (!out_device)
        return is_null("ferry_metal_device_wrap", "out_device");
    enum ferry_status status = check_wrapped_device(wrapped);
    if (status)
        return status;
    params = params ? params : &defaults;
    struct ferry_device_info info;
    void *pool = mtl_pool_push();
    ferry__metal_describe(wrapped->device, &info);
    mtl_pool_pop(pool);
    snprintf(info.name, sizeof info.name, "metal:wrapped");
    snprintf(info.reason, sizeof info.reason, "the caller's own MTLDevice");
    const struct ferry__open_params open = {.map_private = params->map_private,
                                            .queues = params->queues,
                                            .no_kernel = params->no_kernel,
                                            .wrapped = wrapped};
    return ferry__device_open_as(&ferry__metal_driver, &open, &info, params, out_device);
}

enum ferry_status ferry_metal_device_get(ferry_device *device,
                                         struct ferry_metal_device *out_device)
{
    static const char function[] = "ferry_metal_device_get";
    if (!device || !out_device)
        return is_null(function, device ? "out_device" : "device");
    enum ferry_status status = check_device(device, function);
    if (status)
        return status;
    const struct metal_state *state = device->gpu.state;
    unsigned copies = 0;
    while (!(device->gpu.limits.queues[copies].roles & FERRY__ROLE_COPY))
        copies++;
    *out_device = (struct ferry_metal_device){
        .device = state->device,
        .queue = state->queues[copies].queue,
    };
    return FERRY_OK;
}

/* --- buffers ---------------------------------------------------------------------------------- */

enum ferry_status ferry_metal_buffer_get(ferry_buffer *buffer,
                                         struct ferry_metal_buffer *out_buffer)
{
    static const char function[] = "ferry_metal_buffer_get";
    if (!buffer || !out_buffer)
        return is_null(function, buffer ? "out_buffer" : "buffer");
    enum ferry_status status = check_device(buffer->device, function);
    if (status)
        return status;
    const struct metal_memory *native = buffer->memory->native;
    *out_buffer = (struct ferry_metal_buffer){
        .buffer = native->buffer,
        .offset = (size_t)(buffer->memory->offset + buffer->offset),
        .size = buffer->size,
    };
    return FERRY_OK;
}

/* What stands behind a wrapped buffer for its life. */
struct wrapped {
    struct ferry__memory memory;
    struct metal_memory native;
    void (*release)(void *user);
    void *user;
};

static void discard(struct wrapped *wrapped)
{
    void *pool = mtl_pool_push();
    mtl_release(wrapped->native.buffer);
    mtl_pool_pop(pool);
    ferry__free(wrapped);
}

static void unwrap(void *user)
{
    struct wrapped *wrapped = user;
    void (*release)(void *) = wrapped->release;
    void *release_user = wrapped->user;
    discard(wrapped);
    if (release)
        release(release_user);
}

/* What is said of hazards may be what was asked for: by default a heap's buffers are not
 * tracked. */
static bool is_tracked(mtl_id buffer)
{
    uint64_t mode =
        MTL_RESPONDS(buffer, hazard_tracking) ? mtl_hazard_tracking(buffer) : MTL_HAZARDS_DEFAULT;
    bool in_heap = MTL_RESPONDS(buffer, buffer_heap) && mtl_buffer_heap(buffer);
    return mode == MTL_HAZARDS_TRACKED || (mode == MTL_HAZARDS_DEFAULT && !in_heap);
}

/* In a pool. */
static enum ferry_status check_native(const struct metal_state *state,
                                      const struct ferry_metal_buffer *wrapped,
                                      const char *function)
{
    mtl_id buffer = wrapped->buffer;
    uint64_t length = mtl_buffer_length(buffer);
    if (!is_device(mtl_owner_device(buffer), state->device))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: the MTLBuffer is another device's",
                           function);
    if (wrapped->size > length || wrapped->offset > length - wrapped->size)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "%s: size %zu at offset %zu exceeds the MTLBuffer (%llu)", function,
                           wrapped->size, wrapped->offset, (unsigned long long)length);
    if (!is_tracked(buffer))
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "%s: Metal does not track the hazards of this MTLBuffer", function);
    return FERRY_OK;
}

static enum ferry_status check_wrapped_buffer(ferry_device *device,
                                              const struct ferry_metal_buffer *wrapped)
{
    static const char function[] = "ferry_metal_buffer_wrap";
    enum ferry_status status = check_device(device, function);
    if (status)
        return status;
    if (!wrapped->buffer)
        return is_null(function, "the MTLBuffer");
    if (!wrapped->size || wrapped->offset % FERRY_BUFFER_ALIGNMENT ||
        !ferry__all_zero(wrapped->reserved, sizeof wrapped->reserved))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: size %zu must not be 0, offset %zu must be a multiple of %d, "
                           "reserved words must be 0",
                           function, wrapped->size, wrapped->offset, FERRY_BUFFER_ALIGNMENT);
    void *pool = mtl_pool_push();
    status = check_native(device->gpu.state, wrapped, function);
    mtl_pool_pop(pool);
    /* Without the kernels the last word would be written whole, and what lies behind is not
     * ours. */
    if (!status && wrapped->size % device->gpu.limits.copy_alignment &&
        !ferry__kernels_needed(&device->gpu, true))
        status = ferry__fail(FERRY_ERROR_UNSUPPORTED,
                             "%s: %zu bytes are not a multiple of %u, and there are no kernels",
                             function, wrapped->size, device->gpu.limits.copy_alignment);
    return status;
}

enum ferry_status ferry_metal_buffer_wrap(ferry_device *device,
                                          const struct ferry_metal_buffer *wrapped,
                                          void (*release)(void *user), void *user,
                                          ferry_buffer **out_buffer)
{
    if (!device || !wrapped || !out_buffer)
        return is_null("ferry_metal_buffer_wrap", "device, wrapped or out_buffer");
    enum ferry_status status = check_wrapped_buffer(device, wrapped);
    if (status)
        return status;
    struct wrapped *mine = ferry__alloc(sizeof *mine);
    if (!mine)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a wrapped buffer");
    mine->native.buffer = mtl_retain(wrapped->buffer);
    mine->memory = (struct ferry__memory){
        .native = &mine->native, .offset = wrapped->offset, .size = wrapped->size};
    mine->release = release;
    mine->user = user;
    status = ferry__buffer_wrap(device, &mine->memory, wrapped->size, unwrap, mine, out_buffer);
    if (status)
        discard(mine); /* nothing was borrowed: no release */
    return status;
}
