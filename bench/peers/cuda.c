/*
 * The CUDA driver, by the few of its functions that move bytes: one stream, on the primary context.
 * Declared here, so that no CUDA is needed to build: numbers and types are those of its ABI.
 */
#include "cuda.h"

#include <stdlib.h>
#include <string.h>

#define SYMBOL(name, member)                     \
    {                                            \
        name, offsetof(struct functions, member) \
    }

static const struct peer_symbol symbols[] = {
    SYMBOL("cuInit", init),
    SYMBOL("cuGetErrorString", error_string),
    SYMBOL("cuDeviceGetCount", device_count),
    SYMBOL("cuDeviceGet", device_get),
    SYMBOL("cuDeviceGetUuid", device_uuid),
    SYMBOL("cuDevicePrimaryCtxRetain", context_retain),
    SYMBOL("cuDevicePrimaryCtxRelease_v2", context_release),
    SYMBOL("cuCtxSetCurrent", context_use),
    SYMBOL("cuStreamCreate", stream_create),
    SYMBOL("cuStreamDestroy_v2", stream_destroy),
    SYMBOL("cuStreamSynchronize", stream_wait),
    SYMBOL("cuMemAlloc_v2", memory_alloc),
    SYMBOL("cuMemFree_v2", memory_free),
    SYMBOL("cuMemAllocHost_v2", host_alloc),
    SYMBOL("cuMemFreeHost", host_free),
    SYMBOL("cuMemcpyHtoDAsync_v2", upload),
    SYMBOL("cuMemcpyDtoHAsync_v2", download),
    SYMBOL("cuMemcpyDtoDAsync_v2", copy),
    SYMBOL("cuMemsetD32Async", fill),
};

enum { STREAM_NON_BLOCKING = 1 };

const char *peer_cuda_why(const struct device *device, int error)
{
    const char *text = NULL;
    if (error == 0)
        return NULL;
    return device->cuda.error_string(error, &text) == 0 && text ? text : "unknown error";
}

static const char *find_device(struct device *device, const struct peer_wish *wish)
{
    static const uint8_t none[sizeof wish->uuid];
    uint8_t uuid[sizeof wish->uuid];
    int count = 0;
    if (memcmp(wish->uuid, none, sizeof none) == 0)
        return "the device has no UUID, so it is none of CUDA's";
    int error = device->cuda.device_count(&count);
    for (int i = 0; i < count && error == 0; i++) {
        error = device->cuda.device_get(&device->device, i);
        if (error == 0)
            error = device->cuda.device_uuid(uuid, device->device);
        if (error == 0 && memcmp(uuid, wish->uuid, sizeof uuid) == 0)
            return NULL;
    }
    return error != 0 ? peer_cuda_why(device, error) : "no CUDA device has the UUID of the device";
}

static void cuda_close(void *state)
{
    struct device *device = state;
    peer_cuda_blocks_close(device);
    if (device->stream)
        device->cuda.stream_destroy(device->stream);
    if (device->other)
        device->cuda.stream_destroy(device->other);
    if (device->context)
        device->cuda.context_release(device->device);
    free(device);
}

static const char *set_up(struct device *device, const struct peer_wish *wish)
{
    const char *failed =
        peer_library("libcuda.so.1", symbols, sizeof symbols / sizeof *symbols, &device->cuda);
    if (!failed)
        failed = peer_cuda_why(device, device->cuda.init(0));
    if (!failed)
        failed = find_device(device, wish);
    if (!failed)
        failed =
            peer_cuda_why(device, device->cuda.context_retain(&device->context, device->device));
    if (!failed)
        failed = peer_cuda_why(device, device->cuda.context_use(device->context));
    if (!failed)
        failed =
            peer_cuda_why(device, device->cuda.stream_create(&device->stream, STREAM_NON_BLOCKING));
    return failed;
}

static const char *cuda_open(const struct peer_wish *wish, void **out_device)
{
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        return "out of host memory";
    const char *failed = set_up(device, wish);
    if (failed)
        cuda_close(device);
    else
        *out_device = device;
    return failed;
}

static const char *cuda_make(void *state, size_t size, void **out_buffer)
{
    const struct device *device = state;
    struct buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return "out of host memory";
    const char *failed = peer_cuda_why(device, device->cuda.memory_alloc(&buffer->address, size));
    if (failed)
        free(buffer);
    else
        *out_buffer = buffer;
    return failed;
}

static void cuda_destroy(void *state, void *buffer)
{
    const struct device *device = state;
    device->cuda.memory_free(((struct buffer *)buffer)->address);
    free(buffer);
}

static const char *cuda_upload(void *state, void *to, size_t offset, const void *from, size_t size)
{
    const struct device *device = state;
    uint64_t address = ((struct buffer *)to)->address + offset;
    return peer_cuda_why(device, device->cuda.upload(address, from, size, device->stream));
}

static const char *cuda_download(void *state, void *to, void *from, size_t offset, size_t size)
{
    const struct device *device = state;
    uint64_t address = ((struct buffer *)from)->address + offset;
    return peer_cuda_why(device, device->cuda.download(to, address, size, device->stream));
}

static const char *cuda_copy(void *state, void *to, void *from, size_t offset, size_t size)
{
    const struct device *device = state;
    return peer_cuda_why(device, device->cuda.copy(((struct buffer *)to)->address + offset,
                                                   ((struct buffer *)from)->address + offset, size,
                                                   device->stream));
}

static const char *cuda_fill(void *state, void *to, size_t offset, size_t size,
                             const unsigned char *pattern)
{
    const struct device *device = state;
    unsigned word;
    memcpy(&word, pattern, sizeof word);
    return peer_cuda_why(device, device->cuda.fill(((struct buffer *)to)->address + offset, word,
                                                   size / sizeof word, device->stream));
}

/* Both streams are waited for, whatever fails. */
static const char *cuda_both(void *state, void *buffer, const void *up, size_t offset, void *down,
                             size_t size)
{
    const uint64_t address = ((struct buffer *)buffer)->address;
    struct device *device = state;
    const struct functions *cuda = &device->cuda;
    int error = 0;
    if (!device->other)
        error = cuda->stream_create(&device->other, STREAM_NON_BLOCKING);
    if (error != 0)
        return peer_cuda_why(device, error);
    error = cuda->upload(address, up, size, device->stream);
    if (error == 0)
        error = cuda->download(down, address + offset, size, device->other);
    const int first = cuda->stream_wait(device->stream), second = cuda->stream_wait(device->other);
    return peer_cuda_why(device, error != 0 ? error : first != 0 ? first : second);
}

static const char *cuda_finish(void *state)
{
    const struct device *device = state;
    return peer_cuda_why(device, device->cuda.stream_wait(device->stream));
}

static const char *cuda_host_alloc(void *state, size_t size, void **out_memory)
{
    const struct device *device = state;
    return peer_cuda_why(device, device->cuda.host_alloc(out_memory, size));
}

static void cuda_host_free(void *state, void *memory)
{
    const struct device *device = state;
    device->cuda.host_free(memory);
}

const struct peer peer_cuda = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .make = cuda_make,
    .destroy = cuda_destroy,
    .upload = cuda_upload,
    .download = cuda_download,
    .copy = cuda_copy,
    .fill = cuda_fill,
    .both = cuda_both,
    .blocks = peer_cuda_blocks,
    .finish = cuda_finish,
    .host_alloc = cuda_host_alloc,
    .host_free = cuda_host_free,
};
