/* Tensors in a GPU's own memory: CUDA's and Metal's, the kinds whose data all agree on. dlpack_x.c
 * where the driver is in the build, else dlpack_x_none.c. */
#ifndef FERRY_INTEROP_DLPACK_NATIVE_H
#define FERRY_INTEROP_DLPACK_NATIVE_H

#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"

#include <ferry/dlpack.h>

/* Sets data (the id<MTLBuffer>), device and byte_offset (of the buffer's first byte). */
enum ferry_status ferry__dlpack_metal_export(ferry_buffer *buffer,
                                             struct ferry_dlpack_tensor *tensor);

/* Sets data and device; byte_offset is 0. */
enum ferry_status ferry__dlpack_cuda_export(ferry_buffer *buffer,
                                            struct ferry_dlpack_tensor *tensor);

/* Wraps size bytes; release is called, with user, when the buffer is gone. */
enum ferry_status ferry__dlpack_metal_import(ferry_device *device,
                                             const struct ferry_dlpack_tensor *tensor, size_t size,
                                             void (*release)(void *user), void *user,
                                             ferry_buffer **out_buffer);
enum ferry_status ferry__dlpack_cuda_import(ferry_device *device,
                                            const struct ferry_dlpack_tensor *tensor, size_t size,
                                            void (*release)(void *user), void *user,
                                            ferry_buffer **out_buffer);

#endif
