/* Our declarations of CUDA's driver API beside CUDA's own: that this compiles is the test. */
#include "drivers/cuda/cu.h"

#include <assert.h>
#include <cuda.h>
#include <cudaTypedefs.h>

#define RESULT(name, value) static_assert(CUDA_##name == (value), #name);
CU_RESULTS(RESULT)
#undef RESULT

#define NUMBER(name, cuda, value) static_assert((unsigned)(cuda) == (value), #name);
CU_NUMBERS(NUMBER)
#undef NUMBER

static_assert(sizeof(cu_uuid) == sizeof(CUuuid), "cu_uuid");
static_assert(sizeof(struct cu_location) == sizeof(CUmemLocation_v1), "cu_location");
static_assert(offsetof(struct cu_location, id) == offsetof(CUmemLocation_v1, id), "id");

static_assert(sizeof(struct cu_memory_prop) == sizeof(CUmemAllocationProp_v1), "memory");
static_assert(offsetof(struct cu_memory_prop, handles) ==
                  offsetof(CUmemAllocationProp_v1, requestedHandleTypes),
              "handles");
static_assert(offsetof(struct cu_memory_prop, location) ==
                  offsetof(CUmemAllocationProp_v1, location),
              "location");
static_assert(offsetof(struct cu_memory_prop, flags.rdma) ==
                  offsetof(CUmemAllocationProp_v1, allocFlags.gpuDirectRDMACapable),
              "rdma");
static_assert(sizeof(struct cu_access) == sizeof(CUmemAccessDesc_v1), "access");
static_assert(offsetof(struct cu_access, flags) == offsetof(CUmemAccessDesc_v1, flags), "flags");
static_assert(sizeof(struct cu_external_memory) == sizeof(CUDA_EXTERNAL_MEMORY_HANDLE_DESC_v1),
              "external memory");
static_assert(offsetof(struct cu_external_memory, handle.fd) ==
                  offsetof(CUDA_EXTERNAL_MEMORY_HANDLE_DESC_v1, handle.fd),
              "fd");
static_assert(offsetof(struct cu_external_memory, size) ==
                  offsetof(CUDA_EXTERNAL_MEMORY_HANDLE_DESC_v1, size),
              "size");
static_assert(sizeof(struct cu_external_buffer) == sizeof(CUDA_EXTERNAL_MEMORY_BUFFER_DESC_v1),
              "external buffer");
static_assert(offsetof(struct cu_external_buffer, size) ==
                  offsetof(CUDA_EXTERNAL_MEMORY_BUFFER_DESC_v1, size),
              "size");

#define MEMBER(ours, theirs)                                   \
    static_assert(offsetof(struct cu_copy_attributes, ours) == \
                      offsetof(CUmemcpyAttributes_v1, theirs), \
                  #ours)
MEMBER(source_order, srcAccessOrder);
MEMBER(source, srcLocHint);
MEMBER(destination, dstLocHint);
MEMBER(flags, flags);
static_assert(sizeof(struct cu_copy_attributes) == sizeof(CUmemcpyAttributes_v1), "attributes");
#undef MEMBER

/* Structures, compared above, are CUDA's own in what follows: else no two of them are compatible. */
#define cu_uuid CUuuid
#define cu_copy_attributes CUmemcpyAttributes_st
#define cu_memory_prop CUmemAllocationProp_st
#define cu_access CUmemAccessDesc_st
#define cu_external_memory CUDA_EXTERNAL_MEMORY_HANDLE_DESC_st
#define cu_external_buffer CUDA_EXTERNAL_MEMORY_BUFFER_DESC_st
#define FUNCTION(name, version, parameters)                     \
    typedef cu_result(*ours_##name##_##version) parameters;     \
    extern ours_##name##_##version function_##name##_##version; \
    extern PFN_cu##name##_v##version function_##name##_##version;
#define NEEDED FUNCTION
#define OPTIONAL FUNCTION
#include "drivers/cuda/functions.inc"

int main(void)
{
    return 0;
}
