/*
 * Triton's C API, as far as it is used here: the opaque types, the callbacks and the enums. Our own
 * declarations, so that a build needs no Triton. With -DTRITON_INCLUDE_DIR, check.c compares them
 * with the real headers.
 */
#ifndef FERRY_TRITON_TYPES_H
#define FERRY_TRITON_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The real tritonbackend.h uses these names without "struct", which is C++; with the typedefs first
 * it is C as well. */
#define TRITON_TYPE(name) typedef struct name name;
#include "opaque.inc"
#undef TRITON_TYPE

#ifdef FERRY_TRITON_REAL_HEADERS
#include <triton/core/tritonbackend.h>
#include <triton/core/tritonserver.h>
#else

#define TRITON_ENUM(type) typedef enum type {
#define TRITON_VALUE(name, value) name = (value),
#define TRITON_ENUM_END(type) \
    }                         \
    type;
#include "enums.inc"
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

#endif

/* The versions that all this is of: the major ones must be equal, see ferry__triton_load. */
#define FERRY_TRITON_SERVER_MAJOR 1
#define FERRY_TRITON_BACKEND_MAJOR 1

#endif
