/* CUDA's functions by the names that libcuda exports, for programs that use CUDA beside Ferry: they
 * do as they like in the legacy stream, and what they leave behind is no leak of Ferry's. */
#include "sim.h"

#define USERS(name, parameters, call)         \
    STRICTCUDA_API cu_result name parameters; \
    cu_result name parameters                 \
    {                                         \
        sim_own.user = true;                  \
        const cu_result result = call;        \
        sim_own.user = false;                 \
        return result;                        \
    }

USERS(cuInit, (unsigned flags), sim_Init_2000(flags))
USERS(cuDeviceGet, (cu_device * device, int ordinal), sim_DeviceGet_2000(device, ordinal))
USERS(cuDevicePrimaryCtxRetain, (cu_context * context, cu_device device),
      sim_DevicePrimaryCtxRetain_7000(context, device))
USERS(cuDevicePrimaryCtxRelease_v2, (cu_device device), sim_DevicePrimaryCtxRelease_11000(device))
USERS(cuCtxPushCurrent_v2, (cu_context context), sim_CtxPushCurrent_4000(context))
USERS(cuCtxPopCurrent_v2, (cu_context * context), sim_CtxPopCurrent_4000(context))
USERS(cuStreamCreate, (cu_stream * stream, unsigned flags), sim_StreamCreate_2000(stream, flags))
USERS(cuStreamDestroy_v2, (cu_stream stream), sim_StreamDestroy_4000(stream))
USERS(cuStreamQuery, (cu_stream stream), sim_StreamQuery_2000(stream))
USERS(cuMemcpyAsync, (cu_address dst, cu_address src, size_t size, cu_stream stream),
      sim_MemcpyAsync_4000(dst, src, size, stream))
USERS(cuMemsetD8Async, (cu_address dst, unsigned char value, size_t count, cu_stream stream),
      sim_MemsetD8Async_3020(dst, value, count, stream))
USERS(cuModuleLoadData, (cu_module * module, const void *image),
      sim_ModuleLoadDataEx_2010(module, image, 0, NULL, NULL))
USERS(cuModuleUnload, (cu_module module), sim_ModuleUnload_2000(module))
USERS(cuModuleGetFunction, (cu_function * function, cu_module module, const char *name),
      sim_ModuleGetFunction_2000(function, module, name))
USERS(cuLaunchKernel,
      (cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
       unsigned block_y, unsigned block_z, unsigned shared_bytes, cu_stream stream,
       void **parameters, void **extra),
      sim_LaunchKernel_4000(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                            shared_bytes, stream, parameters, extra))
