#include "interop/dlpack_native.h"

#include <ferry/cuda.h>

enum ferry_status ferry__dlpack_cuda_export(ferry_buffer *buffer,
                                            struct ferry_dlpack_tensor *tensor)
{
    unsigned long long pointer;
    int ordinal;
    enum ferry_status status = ferry_cuda_buffer_get(buffer, &pointer);
    if (!status)
        status = ferry_cuda_device_get(buffer->device, &ordinal, NULL);
    if (status)
        return status;
    tensor->data = (void *)(uintptr_t)pointer;
    tensor->device = (struct ferry_dlpack_device){FERRY_DLPACK_CUDA, ordinal};
    return FERRY_OK;
}

enum ferry_status ferry__dlpack_cuda_import(ferry_device *device,
                                            const struct ferry_dlpack_tensor *tensor, size_t size,
                                            void (*release)(void *user), void *user,
                                            ferry_buffer **out_buffer)
{
    int ordinal;
    const enum ferry_status status = ferry_cuda_device_get(device, &ordinal, NULL);
    if (status)
        return status;
    if (tensor->device.id != ordinal)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_dlpack_import: the tensor lies on CUDA's device %d, and %s is %d",
                           (int)tensor->device.id, device->gpu.info.name, ordinal);
    return ferry_cuda_buffer_wrap(device, (uintptr_t)tensor->data + tensor->byte_offset, size,
                                  release, user, out_buffer);
}
