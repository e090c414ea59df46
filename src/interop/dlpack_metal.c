#include "interop/dlpack_native.h"

#include <ferry/metal.h>

enum ferry_status ferry__dlpack_metal_export(ferry_buffer *buffer,
                                             struct ferry_dlpack_tensor *tensor)
{
    struct ferry_metal_buffer native;
    const enum ferry_status status = ferry_metal_buffer_get(buffer, &native);
    if (status)
        return status;
    tensor->data = native.buffer;
    tensor->device = (struct ferry_dlpack_device){FERRY_DLPACK_METAL, 0};
    tensor->byte_offset = native.offset;
    return FERRY_OK;
}

enum ferry_status ferry__dlpack_metal_import(ferry_device *device,
                                             const struct ferry_dlpack_tensor *tensor, size_t size,
                                             void (*release)(void *user), void *user,
                                             ferry_buffer **out_buffer)
{
    const struct ferry_metal_buffer native = {
        .buffer = tensor->data, .offset = (size_t)tensor->byte_offset, .size = size};
    return ferry_metal_buffer_wrap(device, &native, release, user, out_buffer);
}
