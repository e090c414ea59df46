/*
 * What the driver uses of CUDA's driver API: types, numbers and functions, declared here so that
 * nothing of CUDA is needed to build. A test compares all of it with a real cuda.h where there is
 * one (tests/strictcuda/compare.c).
 */
#ifndef FERRY_DRIVERS_CUDA_CU_H
#define FERRY_DRIVERS_CUDA_CU_H

#include <stddef.h>
#include <stdint.h>

typedef unsigned cu_result;
typedef int cu_device;
typedef unsigned long long cu_address;
typedef unsigned cu_attribute, cu_pointer_attribute, cu_capture_mode, cu_capture_status,
    cu_jit_option, cu_query_result, cu_handle_type, cu_granularity, cu_range_handle;
typedef unsigned long long cu_memory;
typedef struct CUextMemory_st *cu_external;
typedef struct CUctx_st *cu_context;
typedef struct CUstream_st *cu_stream;
typedef struct CUevent_st *cu_event;
typedef struct CUmod_st *cu_module;
typedef struct CUfunc_st *cu_function;

typedef struct {
    char bytes[16];
} cu_uuid;

struct cu_location {
    unsigned type;
    int id;
};

/* Of a run of copies in one cuMemcpyBatchAsync. */
struct cu_copy_attributes {
    unsigned source_order;
    struct cu_location source, destination;
    unsigned flags;
};

/* Memory that is made apart from its address. */
struct cu_memory_prop {
    unsigned type, handles;
    struct cu_location location;
    void *win32;
    struct {
        unsigned char compression, rdma;
        unsigned short usage;
        unsigned char reserved[4];
    } flags;
};

struct cu_access {
    struct cu_location location;
    unsigned flags;
};

/* Another API's memory, and a buffer in it. */
struct cu_external_memory {
    unsigned type;
    union {
        int fd;
        struct {
            void *handle;
            const void *name;
        } win32;
    } handle;
    unsigned long long size;
    unsigned flags, reserved[16];
};

struct cu_external_buffer {
    unsigned long long offset, size;
    unsigned flags, reserved[16];
};

/* Everything below is NAME(value): cu.h and the comparison expand it. */
#define CU_RESULTS(RESULT)                            \
    RESULT(SUCCESS, 0)                                \
    RESULT(ERROR_INVALID_VALUE, 1)                    \
    RESULT(ERROR_OUT_OF_MEMORY, 2)                    \
    RESULT(ERROR_NOT_INITIALIZED, 3)                  \
    RESULT(ERROR_DEINITIALIZED, 4)                    \
    RESULT(ERROR_STUB_LIBRARY, 34)                    \
    RESULT(ERROR_DEVICE_UNAVAILABLE, 46)              \
    RESULT(ERROR_NO_DEVICE, 100)                      \
    RESULT(ERROR_INVALID_DEVICE, 101)                 \
    RESULT(ERROR_DEVICE_NOT_LICENSED, 102)            \
    RESULT(ERROR_INVALID_CONTEXT, 201)                \
    RESULT(ERROR_NO_BINARY_FOR_GPU, 209)              \
    RESULT(ERROR_ECC_UNCORRECTABLE, 214)              \
    RESULT(ERROR_UNSUPPORTED_LIMIT, 215)              \
    RESULT(ERROR_INVALID_PTX, 218)                    \
    RESULT(ERROR_NVLINK_UNCORRECTABLE, 220)           \
    RESULT(ERROR_JIT_COMPILER_NOT_FOUND, 221)         \
    RESULT(ERROR_UNSUPPORTED_PTX_VERSION, 222)        \
    RESULT(ERROR_JIT_COMPILATION_DISABLED, 223)       \
    RESULT(ERROR_OPERATING_SYSTEM, 304)               \
    RESULT(ERROR_INVALID_HANDLE, 400)                 \
    RESULT(ERROR_NOT_FOUND, 500)                      \
    RESULT(ERROR_NOT_READY, 600)                      \
    RESULT(ERROR_ILLEGAL_ADDRESS, 700)                \
    RESULT(ERROR_LAUNCH_OUT_OF_RESOURCES, 701)        \
    RESULT(ERROR_LAUNCH_TIMEOUT, 702)                 \
    RESULT(ERROR_PEER_ACCESS_ALREADY_ENABLED, 704)    \
    RESULT(ERROR_CONTEXT_IS_DESTROYED, 709)           \
    RESULT(ERROR_ASSERT, 710)                         \
    RESULT(ERROR_HOST_MEMORY_ALREADY_REGISTERED, 712) \
    RESULT(ERROR_HOST_MEMORY_NOT_REGISTERED, 713)     \
    RESULT(ERROR_HARDWARE_STACK_ERROR, 714)           \
    RESULT(ERROR_ILLEGAL_INSTRUCTION, 715)            \
    RESULT(ERROR_MISALIGNED_ADDRESS, 716)             \
    RESULT(ERROR_INVALID_ADDRESS_SPACE, 717)          \
    RESULT(ERROR_INVALID_PC, 718)                     \
    RESULT(ERROR_LAUNCH_FAILED, 719)                  \
    RESULT(ERROR_NOT_PERMITTED, 800)                  \
    RESULT(ERROR_NOT_SUPPORTED, 801)                  \
    RESULT(ERROR_SYSTEM_NOT_READY, 802)               \
    RESULT(ERROR_SYSTEM_DRIVER_MISMATCH, 803)         \
    RESULT(ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, 804) \
    RESULT(ERROR_STREAM_CAPTURE_UNSUPPORTED, 900)     \
    RESULT(ERROR_STREAM_CAPTURE_INVALIDATED, 901)     \
    RESULT(ERROR_STREAM_CAPTURE_IMPLICIT, 906)        \
    RESULT(ERROR_EXTERNAL_DEVICE, 911)                \
    RESULT(ERROR_UNKNOWN, 999)

enum {
#define CU_RESULT(name, value) CU_##name = (value),
    CU_RESULTS(CU_RESULT)
#undef CU_RESULT
};

/* Numbers other than results: ours, CUDA's name, value. */
#define CU_NUMBERS(NUMBER)                                                                         \
    NUMBER(CU_ATTRIBUTE_UNITS, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 16)                       \
    NUMBER(CU_ATTRIBUTE_INTEGRATED, CU_DEVICE_ATTRIBUTE_INTEGRATED, 18)                            \
    NUMBER(CU_ATTRIBUTE_COMPUTE_MODE, CU_DEVICE_ATTRIBUTE_COMPUTE_MODE, 20)                        \
    NUMBER(CU_ATTRIBUTE_PCI_BUS, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, 33)                               \
    NUMBER(CU_ATTRIBUTE_PCI_DEVICE, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, 34)                         \
    NUMBER(CU_ATTRIBUTE_PCI_DOMAIN, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, 50)                         \
    NUMBER(CU_ATTRIBUTE_UNIFIED_ADDRESSING, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 41)            \
    NUMBER(CU_ATTRIBUTE_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 75)                   \
    NUMBER(CU_ATTRIBUTE_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 76)                   \
    NUMBER(CU_ATTRIBUTE_HOST_REGISTER, CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 99)            \
    NUMBER(CU_ATTRIBUTE_READ_ONLY_HOST_REGISTER,                                                   \
           CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED, 113)                             \
    NUMBER(CU_ATTRIBUTE_VIRTUAL_MEMORY, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,   \
           102)                                                                                    \
    NUMBER(CU_ATTRIBUTE_FD_HANDLES,                                                                \
           CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 103)                   \
    NUMBER(CU_ATTRIBUTE_VIRTUAL_RDMA, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED, \
           110)                                                                                    \
    NUMBER(CU_ATTRIBUTE_DMA_BUF, CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED, 124)                       \
    NUMBER(CU_ATTRIBUTE_WRITE_VALUE, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 122)       \
    NUMBER(CU_MEMORY_PINNED, CU_MEM_ALLOCATION_TYPE_PINNED, 1)                                     \
    NUMBER(CU_LOCATION_DEVICE, CU_MEM_LOCATION_TYPE_DEVICE, 1)                                     \
    NUMBER(CU_HANDLE_FD, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 1)                              \
    NUMBER(CU_GRANULARITY_MINIMUM, CU_MEM_ALLOC_GRANULARITY_MINIMUM, 0)                            \
    NUMBER(CU_ACCESS_READ_WRITE, CU_MEM_ACCESS_FLAGS_PROT_READWRITE, 3)                            \
    NUMBER(CU_EXTERNAL_OPAQUE_FD, CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD, 1)                     \
    NUMBER(CU_RANGE_DMA_BUF, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 1)                               \
    NUMBER(CU_POINTER_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, 2)                            \
    NUMBER(CU_POINTER_ORDINAL, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, 9)                             \
    NUMBER(CU_POINTER_IS_MANAGED, CU_POINTER_ATTRIBUTE_IS_MANAGED, 8)                              \
    NUMBER(CU_POINTER_RANGE_START, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, 11)                      \
    NUMBER(CU_POINTER_RANGE_SIZE, CU_POINTER_ATTRIBUTE_RANGE_SIZE, 12)                             \
    NUMBER(CU_MEMORY_HOST, CU_MEMORYTYPE_HOST, 1)                                                  \
    NUMBER(CU_MEMORY_DEVICE, CU_MEMORYTYPE_DEVICE, 2)                                              \
    NUMBER(CU_HOST_ALLOC_PORTABLE, CU_MEMHOSTALLOC_PORTABLE, 1)                                    \
    NUMBER(CU_HOST_ALLOC_DEVICE_MAP, CU_MEMHOSTALLOC_DEVICEMAP, 2)                                 \
    NUMBER(CU_HOST_REGISTER_PORTABLE, CU_MEMHOSTREGISTER_PORTABLE, 1)                              \
    NUMBER(CU_HOST_REGISTER_DEVICE_MAP, CU_MEMHOSTREGISTER_DEVICEMAP, 2)                           \
    NUMBER(CU_HOST_REGISTER_READ_ONLY, CU_MEMHOSTREGISTER_READ_ONLY, 8)                            \
    NUMBER(CU_STREAM_DOES_NOT_BLOCK, CU_STREAM_NON_BLOCKING, 1)                                    \
    NUMBER(CU_EVENT_NO_TIMING, CU_EVENT_DISABLE_TIMING, 2)                                         \
    NUMBER(CU_CAPTURE_GLOBAL, CU_STREAM_CAPTURE_MODE_GLOBAL, 0)                                    \
    NUMBER(CU_CAPTURE_THREAD_LOCAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, 1)                        \
    NUMBER(CU_CAPTURE_RELAXED, CU_STREAM_CAPTURE_MODE_RELAXED, 2)                                  \
    NUMBER(CU_CAPTURE_NONE, CU_STREAM_CAPTURE_STATUS_NONE, 0)                                      \
    NUMBER(CU_MODE_PROHIBITED, CU_COMPUTEMODE_PROHIBITED, 2)                                       \
    NUMBER(CU_LOAD_DEFAULT, CU_GET_PROC_ADDRESS_DEFAULT, 0)                                        \
    NUMBER(CU_SOURCE_ORDER_STREAM, CU_MEMCPY_SRC_ACCESS_ORDER_STREAM, 1)

enum {
#define CU_NUMBER(name, cuda, value) name = (value),
    CU_NUMBERS(CU_NUMBER)
#undef CU_NUMBER
};

/* The type of each function, by its version. */
#define FUNCTION(name, version, parameters) typedef cu_result(*cu_##name##_##version) parameters;
#define NEEDED FUNCTION
#define OPTIONAL FUNCTION
#include "functions.inc"
#undef NEEDED
#undef OPTIONAL
#undef FUNCTION

typedef cu_result (*cu_get_proc_address)(const char *name, void **function, int version,
                                         unsigned long long flags, cu_query_result *found);

/* cuX of version V is name_V in the table: NULL where the driver has none. */
struct cuda_functions {
#define FUNCTION(name, version, parameters) cu_##name##_##version name##_##version;
#define NEEDED(name, version, parameters) cu_##name##_##version name;
#define OPTIONAL FUNCTION
#include "functions.inc"
#undef NEEDED
#undef OPTIONAL
#undef FUNCTION
};

#endif
