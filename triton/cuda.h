/* Memory of CUDA's own in requests and responses (cuda.c; no_cuda.c: a build without CUDA). */
#ifndef FERRY_TRITON_CUDA_H
#define FERRY_TRITON_CUDA_H

#include <ferry/ferry.h>

/* The number by which CUDA, and so Triton, knows the device; -1: it is not one of CUDA's. */
int64_t ferry__triton_cuda_ordinal(ferry_device *device);

/* A private buffer made of memory of CUDA's: it borrows it. */
enum ferry_status ferry__triton_cuda_wrap(ferry_device *device, uintptr_t address, size_t size,
                                          ferry_buffer **out_buffer);

/* Where the buffer is, for CUDA's other users, once nothing is under way on it; 0: it is not
 * CUDA's. Waits. */
uintptr_t ferry__triton_cuda_address(ferry_buffer *buffer);

#endif
