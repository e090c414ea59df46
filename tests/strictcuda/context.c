/* Devices, contexts, and the words of errors. */
#include "sim.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Thread_local struct own sim_own;

/* --- the driver -------------------------------------------------------------------------------- */

/* A child finds the lock free, whatever streams were at. */
static void before_fork(void)
{
    pthread_mutex_lock(&sim.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&sim.lock);
}

cu_result sim_Init_2000(unsigned flags)
{
    cu_result result = sim_begin("cuInit", NEEDS_NOTHING);
    if (result)
        return result;
    if (flags)
        return sim_end(CU_ERROR_INVALID_VALUE);
    if (sim.initialised && sim.process != (long)getpid())
        return sim_end(CU_ERROR_NOT_INITIALIZED);
    if (!sim.initialised)
        pthread_atfork(before_fork, after_fork, after_fork);
    sim.options = sim_options();
    sim.random = sim.options.seed;
    sim.initialised = true;
    sim.process = (long)getpid();
    return sim_end(sim.options.devices ? CU_SUCCESS : CU_ERROR_NO_DEVICE);
}

cu_result sim_DriverGetVersion_2020(int *version)
{
    const cu_result result = sim_begin("cuDriverGetVersion", NEEDS_NOTHING);
    if (result)
        return result;
    *version = (int)sim_options().version;
    return sim_end(CU_SUCCESS);
}

static const struct {
    cu_result result;
    const char *name;
} results[] = {
#define RESULT(name, value) {value, "CUDA_" #name},
    CU_RESULTS(RESULT)
#undef RESULT
};

static cu_result find_name(cu_result error, const char **text)
{
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].result == error) {
            *text = results[i].name;
            return CU_SUCCESS;
        }
    *text = NULL;
    return CU_ERROR_INVALID_VALUE;
}

cu_result sim_GetErrorName_6000(cu_result error, const char **text)
{
    const cu_result result = sim_begin("cuGetErrorName", NEEDS_NOTHING);
    return result ? result : sim_end(find_name(error, text));
}

cu_result sim_GetErrorString_6000(cu_result error, const char **text)
{
    const cu_result result = sim_begin("cuGetErrorString", NEEDS_NOTHING);
    if (result)
        return result;
    const char *name;
    *text = error == CU_ERROR_OUT_OF_MEMORY ? "out of memory" : "in the strict CUDA's words";
    return sim_end(find_name(error, &name));
}

/* --- devices ----------------------------------------------------------------------------------- */

cu_result sim_DeviceGetCount_2000(int *out)
{
    const cu_result result = sim_begin("cuDeviceGetCount", NEEDS_INIT);
    if (result)
        return result;
    *out = (int)sim_options().devices;
    return sim_end(CU_SUCCESS);
}

/* A device's handle is not its ordinal. */
enum { FIRST_DEVICE = 40 };

static bool is_device(cu_device device)
{
    return device >= FIRST_DEVICE && device < FIRST_DEVICE + (int)sim_options().devices;
}

cu_result sim_DeviceGet_2000(cu_device *device, int ordinal)
{
    const cu_result result = sim_begin("cuDeviceGet", NEEDS_INIT);
    if (result)
        return result;
    *device = FIRST_DEVICE + ordinal;
    return sim_end(is_device(*device) ? CU_SUCCESS : CU_ERROR_INVALID_DEVICE);
}

cu_result sim_DeviceGetName_2000(char *name, int size, cu_device device)
{
    const cu_result result = sim_begin("cuDeviceGetName", NEEDS_INIT);
    if (result)
        return result;
    snprintf(name, (size_t)size, "Strict CUDA %d", device - FIRST_DEVICE);
    return sim_end(is_device(device) ? CU_SUCCESS : CU_ERROR_INVALID_DEVICE);
}

cu_result sim_DeviceGetUuid_11040(cu_uuid *uuid, cu_device device)
{
    const cu_result result = sim_begin("cuDeviceGetUuid", NEEDS_INIT);
    if (result)
        return result;
    memset(uuid->bytes, 0x5C, sizeof uuid->bytes);
    uuid->bytes[15] = (char)device;
    return sim_end(is_device(device) ? CU_SUCCESS : CU_ERROR_INVALID_DEVICE);
}

cu_result sim_DeviceTotalMem_3020(size_t *bytes, cu_device device)
{
    const cu_result result = sim_begin("cuDeviceTotalMem", NEEDS_INIT);
    if (result)
        return result;
    *bytes = sim_options().memory;
    return sim_end(is_device(device) ? CU_SUCCESS : CU_ERROR_INVALID_DEVICE);
}

cu_result sim_DeviceGetAttribute_2000(int *value, cu_attribute attribute, cu_device device)
{
    const cu_result result = sim_begin("cuDeviceGetAttribute", NEEDS_INIT);
    if (result)
        return result;
    const struct options options = sim_options();
    if (!is_device(device))
        return sim_end(CU_ERROR_INVALID_DEVICE);
    switch (attribute) {
    case CU_ATTRIBUTE_UNITS: *value = UNITS; break;
    case CU_ATTRIBUTE_UNIFIED_ADDRESSING: *value = 1; break;
    case CU_ATTRIBUTE_HOST_REGISTER: *value = !options.noregister; break;
    case CU_ATTRIBUTE_READ_ONLY_HOST_REGISTER: *value = !options.noreadonly; break;
    case CU_ATTRIBUTE_VIRTUAL_MEMORY:
    case CU_ATTRIBUTE_FD_HANDLES:
    case CU_ATTRIBUTE_VIRTUAL_RDMA:
    case CU_ATTRIBUTE_DMA_BUF: *value = !options.noshare; break;
    case CU_ATTRIBUTE_WRITE_VALUE: *value = !options.nowrite; break;
    case CU_ATTRIBUTE_COMPUTE_MODE:
        *value = device - FIRST_DEVICE < (int)options.prohibited ? CU_MODE_PROHIBITED : 0;
        break;
    default: *value = 0;
    }
    return sim_end(CU_SUCCESS);
}

/* --- peers ------------------------------------------------------------------------------------- */

cu_result sim_DeviceCanAccessPeer_4000(int *can, cu_device device, cu_device peer)
{
    const cu_result result = sim_begin("cuDeviceCanAccessPeer", NEEDS_INIT);
    if (result)
        return result;
    *can = device != peer && !sim_options().nopeers;
    return sim_end(is_device(device) && is_device(peer) ? CU_SUCCESS : CU_ERROR_INVALID_DEVICE);
}

cu_result sim_CtxEnablePeerAccess_4000(cu_context peer, unsigned flags)
{
    const cu_result result =
        sim_begin("cuCtxEnablePeerAccess", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    const cu_context context = sim_current();
    if (flags || !peer || !peer->retained || peer == context || sim_options().nopeers)
        return sim_end(CU_ERROR_INVALID_CONTEXT);
    const unsigned bit = 1u << (peer - sim.contexts);
    const bool before = context->peers & bit;
    context->peers |= bit;
    return sim_end(before ? CU_ERROR_PEER_ACCESS_ALREADY_ENABLED : CU_SUCCESS);
}

/* --- contexts ---------------------------------------------------------------------------------- */

/* Options hold from when a context is retained. Those of an open one do not change under it. */
static void take_options(void)
{
    const struct options fresh = sim_options();
    const uint64_t random = sim.random;
    sim.options = fresh;
    sim.random = random ^ fresh.seed;
}

cu_result sim_DevicePrimaryCtxRetain_7000(cu_context *context, cu_device device)
{
    const cu_result result = sim_begin("cuDevicePrimaryCtxRetain", NEEDS_INIT);
    if (result)
        return result;
    if (!is_device(device))
        return sim_end(CU_ERROR_INVALID_DEVICE);
    take_options();
    *context = &sim.contexts[device - FIRST_DEVICE];
    if (!(*context)->retained++) { /* a new one: what was let reach the old one has to be anew */
        (*context)->sticky = CU_SUCCESS;
        (*context)->peers = 0;
        for (int i = 0; i < DEVICES_MAX; i++)
            sim.contexts[i].peers &= ~(1u << (device - FIRST_DEVICE));
    }
    (*context)->device = device;
    return sim_end(CU_SUCCESS);
}

/* What is left of a context that nobody holds any more. */
static void check_leaks(cu_context context)
{
    size_t ranges = 0, streams = 0, events = 0, modules = 0;
    for (const struct range *range = sim.ranges; range; range = range->next)
        ranges += range->context == context && !range->users;
    for (cu_stream stream = sim.streams; stream; stream = stream->next)
        streams += stream->context == context && !stream->users;
    for (cu_event event = sim.events; event; event = event->next)
        events += event->context == context;
    for (cu_module module = sim.modules; module; module = module->next)
        modules += module->context == context && !module->users;
    ranges += sim_virtual_left(context);
    if (ranges + streams + events + modules)
        sim_breach(STRICTCUDA_LEAK, "left: %zu allocations, %zu streams, %zu events, %zu modules",
                   ranges, streams, events, modules);
    if (context->current > context->users)
        sim_breach(STRICTCUDA_BALANCE, "a context is released and current on %u stacks",
                   context->current);
}

cu_result sim_DevicePrimaryCtxRelease_11000(cu_device device)
{
    const cu_result result = sim_begin("cuDevicePrimaryCtxRelease", NEEDS_INIT);
    if (result)
        return result;
    if (!is_device(device) || !sim.contexts[device - FIRST_DEVICE].retained) {
        sim_breach(STRICTCUDA_RETAIN, "cuDevicePrimaryCtxRelease of what is not retained");
        return sim_end(CU_ERROR_INVALID_CONTEXT);
    }
    const cu_context context = &sim.contexts[device - FIRST_DEVICE];
    if (context->retained == 1 && !context->sticky)
        check_leaks(context);
    if (context->retained == 1 && context->sticky) {
        sim_drop_work(context);
        sim_drop_modules(context);
        sim_drop_ranges(context);
        sim_drop_virtual(context);
    }
    context->retained--;
    return sim_end(CU_SUCCESS);
}

void strictcuda_reset(void)
{
    pthread_mutex_lock(&sim.lock);
    for (int i = 0; i < DEVICES_MAX; i++) {
        const cu_context context = &sim.contexts[i];
        sim_drop_work(context);
        sim_drop_modules(context);
        sim_drop_ranges(context);
        sim_drop_virtual(context);
        context->retained = context->current = 0;
        context->sticky = CU_SUCCESS;
    }
    sim.hold = sim.pause = sim.capture = false;
    sim_own = (struct own){0};
    pthread_mutex_unlock(&sim.lock);
}

cu_result sim_CtxPushCurrent_4000(cu_context context)
{
    const cu_result result = sim_begin("cuCtxPushCurrent", NEEDS_INIT);
    if (result)
        return result;
    if (!context || !context->retained || sim_own.depth == STACK_MAX) {
        sim_breach(STRICTCUDA_RETAIN, "cuCtxPushCurrent of what is not retained, or too often");
        return sim_end(CU_ERROR_INVALID_CONTEXT);
    }
    context->users += sim_own.user;
    sim_own.entered[sim_own.depth] = sim_own.mode;
    sim_own.stack[sim_own.depth++] = context;
    context->current++;
    return sim_end(CU_SUCCESS);
}

cu_result sim_CtxGetDevice_2000(cu_device *device)
{
    const cu_result result = sim_begin("cuCtxGetDevice", NEEDS_INIT | NEEDS_CONTEXT);
    if (result)
        return result;
    *device = sim_current()->device;
    return sim_end(CU_SUCCESS);
}

cu_result sim_CtxPopCurrent_4000(cu_context *context)
{
    const cu_result result = sim_begin("cuCtxPopCurrent", NEEDS_INIT);
    if (result)
        return result;
    if (!sim_own.depth) {
        sim_breach(STRICTCUDA_BALANCE, "cuCtxPopCurrent with no context current");
        return sim_end(CU_ERROR_INVALID_CONTEXT);
    }
    *context = sim_own.stack[--sim_own.depth];
    (*context)->current--;
    (*context)->users -= sim_own.user;
    if (sim_own.mode != sim_own.entered[sim_own.depth])
        sim_breach(STRICTCUDA_MODE, "a thread leaves with capture mode %u, and came with %u",
                   sim_own.mode, sim_own.entered[sim_own.depth]);
    return sim_end(CU_SUCCESS);
}

cu_result sim_ThreadExchangeStreamCaptureMode_10010(cu_capture_mode *mode)
{
    const cu_result result = sim_begin("cuThreadExchangeStreamCaptureMode", NEEDS_INIT);
    if (result)
        return result;
    if (*mode > CU_CAPTURE_RELAXED)
        return sim_end(CU_ERROR_INVALID_VALUE);
    const cu_capture_mode before = sim_own.mode;
    sim_own.mode = *mode;
    *mode = before;
    return sim_end(CU_SUCCESS);
}
