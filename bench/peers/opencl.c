/* OpenCL through the ICD loader: one queue, in order, on the device with that UUID, or on a CPU. */
#include "peer.h"

#define CL_TARGET_OPENCL_VERSION 200
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <stdlib.h>
#include <string.h>

enum { PLATFORMS_MAX = 8, DEVICES_MAX = 16 };

struct functions {
    __typeof__(clGetPlatformIDs) *get_platforms;
    __typeof__(clGetDeviceIDs) *get_devices;
    __typeof__(clGetDeviceInfo) *get_info;
    __typeof__(clCreateContext) *create_context;
    __typeof__(clReleaseContext) *release_context;
    __typeof__(clCreateCommandQueueWithProperties) *create_queue;
    __typeof__(clReleaseCommandQueue) *release_queue;
    __typeof__(clCreateBuffer) *create_buffer;
    __typeof__(clReleaseMemObject) *release_buffer;
    __typeof__(clEnqueueWriteBuffer) *write;
    __typeof__(clEnqueueReadBuffer) *read;
    __typeof__(clEnqueueCopyBuffer) *copy;
    __typeof__(clEnqueueFillBuffer) *fill;
    __typeof__(clFinish) *finish;
};

#define SYMBOL(name, member)                      \
    {                                             \
#name, offsetof(struct functions, member) \
    }

static const struct peer_symbol symbols[] = {
    SYMBOL(clGetPlatformIDs, get_platforms),
    SYMBOL(clGetDeviceIDs, get_devices),
    SYMBOL(clGetDeviceInfo, get_info),
    SYMBOL(clCreateContext, create_context),
    SYMBOL(clReleaseContext, release_context),
    SYMBOL(clCreateCommandQueueWithProperties, create_queue),
    SYMBOL(clReleaseCommandQueue, release_queue),
    SYMBOL(clCreateBuffer, create_buffer),
    SYMBOL(clReleaseMemObject, release_buffer),
    SYMBOL(clEnqueueWriteBuffer, write),
    SYMBOL(clEnqueueReadBuffer, read),
    SYMBOL(clEnqueueCopyBuffer, copy),
    SYMBOL(clEnqueueFillBuffer, fill),
    SYMBOL(clFinish, finish),
};

struct device {
    struct functions cl;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
};

static const char *why(cl_int error)
{
    switch (error) {
    case CL_SUCCESS: return NULL;
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_RESOURCES:
    case CL_INVALID_BUFFER_SIZE: return "out of OpenCL's memory";
    case CL_OUT_OF_HOST_MEMORY: return "out of host memory";
    default: return "an OpenCL call failed";
    }
}

/* A CPU under another interface has another UUID, or none. */
static bool suits(const struct device *device, const struct peer_wish *wish, cl_device_id id)
{
    unsigned char uuid[CL_UUID_SIZE_KHR];
    cl_device_type type = 0;
    if (device->cl.get_info(id, CL_DEVICE_UUID_KHR, sizeof uuid, uuid, NULL) == CL_SUCCESS &&
        memcmp(uuid, wish->uuid, sizeof uuid) == 0)
        return true;
    return wish->cpu &&
           device->cl.get_info(id, CL_DEVICE_TYPE, sizeof type, &type, NULL) == CL_SUCCESS &&
           (type & CL_DEVICE_TYPE_CPU) != 0;
}

static const char *find_device(struct device *device, const struct peer_wish *wish)
{
    cl_platform_id platforms[PLATFORMS_MAX];
    cl_uint platform_count = 0;
    if (device->cl.get_platforms(PLATFORMS_MAX, platforms, &platform_count) != CL_SUCCESS)
        platform_count = 0;
    for (cl_uint i = 0; i < platform_count && i < PLATFORMS_MAX; i++) {
        cl_device_id ids[DEVICES_MAX];
        cl_uint count = 0;
        if (device->cl.get_devices(platforms[i], CL_DEVICE_TYPE_ALL, DEVICES_MAX, ids, &count) !=
            CL_SUCCESS)
            continue;
        for (cl_uint k = 0; k < count && k < DEVICES_MAX; k++) {
            device->id = ids[k];
            if (suits(device, wish, ids[k]))
                return NULL;
        }
    }
    return "OpenCL does not drive the device";
}

static void opencl_close(void *state)
{
    struct device *device = state;
    if (device->queue)
        device->cl.release_queue(device->queue);
    if (device->context)
        device->cl.release_context(device->context);
    free(device);
}

static const char *set_up(struct device *device, const struct peer_wish *wish)
{
    cl_int error = CL_SUCCESS;
    const char *failed =
        peer_library("libOpenCL.so.1", symbols, sizeof symbols / sizeof *symbols, &device->cl);
    if (!failed)
        failed = find_device(device, wish);
    if (failed)
        return failed;
    device->context = device->cl.create_context(NULL, 1, &device->id, NULL, NULL, &error);
    if (error == CL_SUCCESS)
        device->queue = device->cl.create_queue(device->context, device->id, NULL, &error);
    return why(error);
}

static const char *opencl_open(const struct peer_wish *wish, void **out_device)
{
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        return "out of host memory";
    const char *failed = set_up(device, wish);
    if (failed)
        opencl_close(device);
    else
        *out_device = device;
    return failed;
}

static const char *opencl_make(void *state, size_t size, void **out_buffer)
{
    struct device *device = state;
    cl_int error = CL_SUCCESS;
    cl_mem buffer =
        device->cl.create_buffer(device->context, CL_MEM_READ_WRITE, size, NULL, &error);
    if (error == CL_SUCCESS)
        *out_buffer = buffer;
    return why(error);
}

static void opencl_destroy(void *state, void *buffer)
{
    const struct device *device = state;
    device->cl.release_buffer(buffer);
}

static const char *opencl_upload(void *state, void *to, size_t offset, const void *from,
                                 size_t size)
{
    const struct device *device = state;
    return why(device->cl.write(device->queue, to, CL_FALSE, offset, size, from, 0, NULL, NULL));
}

static const char *opencl_download(void *state, void *to, void *from, size_t offset, size_t size)
{
    const struct device *device = state;
    return why(device->cl.read(device->queue, from, CL_FALSE, offset, size, to, 0, NULL, NULL));
}

static const char *opencl_copy(void *state, void *to, void *from, size_t offset, size_t size)
{
    const struct device *device = state;
    return why(device->cl.copy(device->queue, from, to, offset, offset, size, 0, NULL, NULL));
}

static const char *opencl_fill(void *state, void *to, size_t offset, size_t size,
                               const unsigned char *pattern)
{
    const struct device *device = state;
    return why(
        device->cl.fill(device->queue, to, pattern, PEER_PATTERN, offset, size, 0, NULL, NULL));
}

static const char *opencl_finish(void *state)
{
    const struct device *device = state;
    return why(device->cl.finish(device->queue));
}

const struct peer peer_opencl = {
    .name = "opencl",
    .open = opencl_open,
    .close = opencl_close,
    .make = opencl_make,
    .destroy = opencl_destroy,
    .upload = opencl_upload,
    .download = opencl_download,
    .copy = opencl_copy,
    .fill = opencl_fill,
    .finish = opencl_finish,
};
