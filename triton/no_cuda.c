#include "cuda.h"

int64_t ferry__triton_cuda_ordinal(ferry_device *device)
{
    (void)device;
    return -1;
}

enum ferry_status ferry__triton_cuda_wrap(ferry_device *device, uintptr_t address, size_t size,
                                          ferry_buffer **out_buffer)
{
    (void)device;
    (void)address;
    (void)size;
    (void)out_buffer;
    return FERRY_ERROR_UNSUPPORTED;
}

uintptr_t ferry__triton_cuda_address(ferry_buffer *buffer)
{
    (void)buffer;
    return 0;
}
