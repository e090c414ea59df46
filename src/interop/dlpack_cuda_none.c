/* Instead of dlpack_cuda.c in a build without the CUDA driver. */
#include "interop/dlpack_native.h"

enum ferry_status ferry__dlpack_cuda_export(ferry_buffer *buffer,
                                            struct ferry_dlpack_tensor *tensor)
{
    (void)tensor;
    return ferry__fail(FERRY_ERROR_UNSUPPORTED, "ferry_dlpack_export: %s: this build has no CUDA",
                       ferry__label(buffer));
}

enum ferry_status ferry__dlpack_cuda_import(ferry_device *device,
                                            const struct ferry_dlpack_tensor *tensor, size_t size,
                                            void (*release)(void *user), void *user,
                                            ferry_buffer **out_buffer)
{
    (void)device, (void)tensor, (void)size, (void)release, (void)user, (void)out_buffer;
    return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                       "ferry_dlpack_import: the tensor lies on a device of type 2 (CUDA), and "
                       "this build has no CUDA");
}
