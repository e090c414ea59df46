#include "cuda.h"

#include <ferry/cuda.h>
#include <string.h>

int64_t ferry__triton_cuda_ordinal(ferry_device *device)
{
    int ordinal = -1;
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    if (strcmp(info.driver, "cuda") || ferry_cuda_device_get(device, &ordinal, NULL))
        return -1;
    return ordinal;
}

enum ferry_status ferry__triton_cuda_wrap(ferry_device *device, uintptr_t address, size_t size,
                                          ferry_buffer **out_buffer)
{
    return ferry_cuda_buffer_wrap(device, address, size, NULL, NULL, out_buffer);
}

uintptr_t ferry__triton_cuda_address(ferry_buffer *buffer)
{
    unsigned long long pointer = 0;
    if (ferry__triton_cuda_ordinal(ferry_buffer_device(buffer)) < 0 ||
        ferry_buffer_wait(buffer, FERRY_FOREVER) || ferry_cuda_buffer_get(buffer, &pointer))
        return 0;
    return (uintptr_t)pointer;
}
