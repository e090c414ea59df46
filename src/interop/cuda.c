/* ferry/cuda.h: what Ferry's objects are made of, Ferry's objects made of the user's own, and the
 * user's streams in Ferry's order. */
#include "drivers/cuda/cuda_internal.h"

#include "api/device.h"
#include "api/external.h"
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "interop/wrapped.h"

#include <ferry/cuda.h>

#include <stdio.h>

extern const struct ferry__driver ferry__cuda_driver;

static enum ferry_status invalid(const char *function, const char *what)
{
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %s", function, what);
}

/* The device is of this driver, and alive. */
static enum ferry_status check_device(const struct ferry_device *device, const char *function)
{
    if (device->gpu.driver != &ferry__cuda_driver)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: %s is not a CUDA device: open \"cuda\"",
                           function, device->gpu.info.name);
    return ferry__device_dead(device, function);
}

/* --- devices ---------------------------------------------------------------------------------- */

enum ferry_status ferry_cuda_device_get(ferry_device *device, int *out_ordinal,
                                        struct CUctx_st **out_context)
{
    static const char function[] = "ferry_cuda_device_get";
    if (!device)
        return invalid(function, "device is NULL");
    const enum ferry_status status = check_device(device, function);
    if (status)
        return status;
    const struct cuda *c = device->gpu.state;
    if (out_ordinal)
        *out_ordinal = c->ordinal;
    if (out_context)
        *out_context = c->context;
    return FERRY_OK;
}

static enum ferry_status describe_user(struct CUctx_st *context, struct ferry_device_info *out_info)
{
    char why[FERRY__WHY_MAX] = "";
    struct cuda_functions cu;
    struct cuda_found found = {0};
    enum ferry_status status = ferry__cuda_load(&cu, why);
    if (!status)
        status = ferry__cuda_find_wrapped(&cu, context, &found, why);
    if (status)
        return ferry__fail(status, "ferry_cuda_device_wrap: %s", why);
    *out_info = found.info;
    snprintf(out_info->driver, sizeof out_info->driver, "cuda");
    snprintf(out_info->name, sizeof out_info->name, "cuda:wrapped");
    snprintf(out_info->reason, sizeof out_info->reason, "the caller's own CUDA context");
    return FERRY_OK;
}

enum ferry_status ferry_cuda_device_wrap(struct CUctx_st *context,
                                         const struct ferry_device_params *params,
                                         ferry_device **out_device)
{
    static const struct ferry_device_params defaults;
    if (!context || !out_device)
        return invalid("ferry_cuda_device_wrap",
                       context ? "out_device is NULL" : "context is NULL");
    if (!params)
        params = &defaults;
    struct ferry_device_info info;
    const enum ferry_status status = describe_user(context, &info);
    if (status)
        return status;
    const struct ferry__open_params open = {.map_private = params->map_private,
                                            .queues = params->queues,
                                            .no_kernel = params->no_kernel,
                                            .wrapped = context};
    return ferry__device_open_as(&ferry__cuda_driver, &open, &info, params, out_device);
}

/* --- buffers ---------------------------------------------------------------------------------- */

enum ferry_status ferry_cuda_buffer_get(ferry_buffer *buffer, unsigned long long *out_pointer)
{
    static const char function[] = "ferry_cuda_buffer_get";
    if (!buffer || !out_pointer)
        return invalid(function, buffer ? "out_pointer is NULL" : "buffer is NULL");
    const enum ferry_status status = check_device(buffer->device, function);
    if (status)
        return status;
    *out_pointer = cuda_address(buffer->memory, buffer->offset);
    return FERRY_OK;
}

static enum ferry_status check_wrap(const ferry_device *device, unsigned long long pointer,
                                    size_t size, ferry_buffer **out_buffer)
{
    static const char function[] = "ferry_cuda_buffer_wrap";
    if (!device || !out_buffer)
        return invalid(function, device ? "out_buffer is NULL" : "device is NULL");
    const enum ferry_status status = check_device(device, function);
    if (status)
        return status;
    if (pointer && size && size <= SIZE_MAX / 2 && pointer <= UINT64_MAX - size)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %zu bytes at 0x%llx", function, size,
                       pointer);
}

enum ferry_status ferry_cuda_buffer_wrap(ferry_device *device, unsigned long long pointer,
                                         size_t size, void (*release)(void *user), void *user,
                                         ferry_buffer **out_buffer)
{
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status = check_wrap(device, pointer, size, out_buffer);
    if (status)
        return status;
    struct ferry__memory memory;
    status = ferry__cuda_memory_wrap(device->gpu.state, pointer, size, &memory, why);
    return status ? ferry__fail(status, "ferry_cuda_buffer_wrap: %s", why)
                  : ferry__wrap_native(device, &memory, size, release, user, out_buffer);
}

/* --- external work ---------------------------------------------------------------------------- */

static enum ferry_status check_stream(ferry_device *device, struct CUstream_st *stream)
{
    static const char function[] = "ferry_cuda_external_begin";
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status = check_device(device, function);
    if (status)
        return status;
    status = ferry__cuda_stream_check(device->gpu.state, stream, why);
    return status ? ferry__fail(status, "%s: %s", function, why) : FERRY_OK;
}

enum ferry_status ferry_cuda_external_begin(ferry_device *device, const struct ferry_use *uses,
                                            size_t count, struct CUstream_st *stream,
                                            struct ferry_external *out_external)
{
    char why[FERRY__WHY_MAX] = "";
    struct ferry_external work;
    enum ferry_status status = device ? check_stream(device, stream) : FERRY_OK;
    if (!status)
        status = ferry__external_begin(device, uses, count, true, out_external ? &work : NULL);
    if (status)
        return status;
    status = ferry__cuda_stream_wait(device->gpu.state, stream, work.waits, work.wait_count, why);
    if (status) {
        (void)!ferry_external_end(device, work.ticket, FERRY_ERROR_EXECUTION_FAILED);
        return ferry__fail(status, "ferry_cuda_external_begin: %s", why);
    }
    *out_external = (struct ferry_external){.ready = work.ready, .ticket = work.ticket};
    return FERRY_OK;
}

struct recording {
    struct cuda *cuda;
    struct CUstream_st *stream;
};

static enum ferry_status record(void *user, struct ferry_sync sync)
{
    const struct recording *recording = user;
    char why[FERRY__WHY_MAX] = "";
    const enum ferry_status status =
        ferry__cuda_stream_record(recording->cuda, recording->stream, &sync, why);
    return status ? ferry__fail(status, "ferry_cuda_external_end: %s", why) : FERRY_OK;
}

enum ferry_status ferry_cuda_external_end(ferry_device *device, ferry_ticket ticket,
                                          struct CUstream_st *stream)
{
    static const char function[] = "ferry_cuda_external_end";
    if (!device)
        return invalid(function, "device is NULL");
    enum ferry_status status = check_device(device, function);
    if (status)
        return status;
    struct recording recording = {device->gpu.state, stream};
    status = ferry__external_record(device, ticket, record, &recording);
    return status ? status : ferry_external_end(device, ticket, FERRY_OK);
}
