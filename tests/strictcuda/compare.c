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
