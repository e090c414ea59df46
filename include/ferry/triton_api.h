/*
 * Triton's C API as far as a backend on Ferry and a host of the server need it: for programs that
 * are built where Triton's own headers are not. Include it instead of them, not with them. The
 * declarations are Ferry's own, of TRITONSERVER API 1.x and TRITONBACKEND API 1.x; what each means
 * is told by Triton's headers. The functions are the server's: nothing here defines them.
 *
 * The lists are for those who look the functions up in a library:
 *   TRITON_CALL(returns, name, parameters)      every server has it
 *   TRITON_OPTIONAL(returns, name, parameters)  a server may lack it
 * in calls.inc (what Ferry's library and backend call), host.inc (what a host calls) and
 * backend.inc (what a backend defines).
 */
#ifndef FERRY_TRITON_API_H
#define FERRY_TRITON_API_H

#include <ferry/triton.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TRITON_TYPE(name) typedef struct name name;
#include <ferry/triton_api/types.inc>
#undef TRITON_TYPE

#define TRITON_ENUM(type) typedef enum type {
#define TRITON_VALUE(name, value) name = (value),
#define TRITON_ENUM_END(type) \
    }                         \
    type;
#include <ferry/triton_api/enums.inc>
#undef TRITON_ENUM
#undef TRITON_VALUE
#undef TRITON_ENUM_END

typedef TRITONSERVER_Error *(*TRITONSERVER_ResponseAllocatorAllocFn_t)(
    TRITONSERVER_ResponseAllocator *allocator, const char *tensor_name, size_t byte_size,
    TRITONSERVER_MemoryType memory_type, int64_t memory_type_id, void *userp, void **buffer,
    void **buffer_userp, TRITONSERVER_MemoryType *actual_memory_type,
    int64_t *actual_memory_type_id);
typedef TRITONSERVER_Error *(*TRITONSERVER_ResponseAllocatorReleaseFn_t)(
    TRITONSERVER_ResponseAllocator *allocator, void *buffer, void *buffer_userp, size_t byte_size,
    TRITONSERVER_MemoryType memory_type, int64_t memory_type_id);
typedef TRITONSERVER_Error *(*TRITONSERVER_ResponseAllocatorStartFn_t)(
    TRITONSERVER_ResponseAllocator *allocator, void *userp);
typedef TRITONSERVER_Error *(*TRITONSERVER_ResponseAllocatorQueryFn_t)(
    TRITONSERVER_ResponseAllocator *allocator, void *userp, const char *tensor_name,
    size_t *byte_size, TRITONSERVER_MemoryType *memory_type, int64_t *memory_type_id);
typedef void (*TRITONSERVER_InferenceRequestReleaseFn_t)(TRITONSERVER_InferenceRequest *request,
                                                         const uint32_t flags, void *userp);
typedef void (*TRITONSERVER_InferenceResponseCompleteFn_t)(TRITONSERVER_InferenceResponse *response,
                                                           const uint32_t flags, void *userp);

#define TRITON_CALL(returns, name, parameters) returns name parameters;
#define TRITON_OPTIONAL TRITON_CALL
#include <ferry/triton_api/calls.inc>
#include <ferry/triton_api/host.inc>
#undef TRITON_CALL
#undef TRITON_OPTIONAL

#define TRITON_CALL(returns, name, parameters) \
    __attribute__((visibility("default"))) returns name parameters;
#include <ferry/triton_api/backend.inc>
#undef TRITON_CALL

#ifdef __cplusplus
}
#endif

#endif
