/*
 * Tensors to and from other libraries, by DLPack. The structures below have the fixed layouts of
 * dlpack.h (DLManagedTensor and DLManagedTensorVersioned of version 1), under names of their own,
 * so that both headers can be included: cast pointers from one to the other.
 *
 * Shared buffers are exported as CPU memory, private ones of CUDA as CUDA's, private ones of Metal as
 * Metal's: `data` is then the id<MTLBuffer>, and the place in it is in byte_offset. None is copied.
 * Private memory of other drivers is UNSUPPORTED, in words: of Vulkan no two consumers agree what
 * `data` is. Tensors in host memory are imported by a copy; a CUDA device wraps a CUDA tensor's
 * memory, a Metal device the buffer of a Metal tensor.
 *
 * Synchronisation: export and import wait for what Ferry has in flight on the buffer, and know
 * nothing of what others do. As with ferry_buffer_contents: while a consumer works on an exported
 * tensor, no Ferry operation may be in flight on its bytes, and before Ferry touches them again the
 * consumer's work must be done. A producer's work must be done before its tensor is imported. On CUDA
 * all that can be had by streams, without a wait: FERRY_DLPACK_NO_WAIT, and ferry/cuda.h.
 */
#ifndef FERRY_DLPACK_H
#define FERRY_DLPACK_H

#include <ferry/ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

/* DLDeviceType: those that are met here. */
enum {
    FERRY_DLPACK_CPU = 1,
    FERRY_DLPACK_CUDA = 2,
    FERRY_DLPACK_CUDA_HOST = 3, /* page-locked host memory */
    FERRY_DLPACK_VULKAN = 7,
    FERRY_DLPACK_METAL = 8,
    FERRY_DLPACK_ROCM_HOST = 11, /* page-locked host memory */
};

/* DLDataTypeCode: those that are most used. */
enum {
    FERRY_DLPACK_INT = 0,
    FERRY_DLPACK_UINT = 1,
    FERRY_DLPACK_FLOAT = 2,
    FERRY_DLPACK_BFLOAT = 4,
    FERRY_DLPACK_COMPLEX = 5,
    FERRY_DLPACK_BOOL = 6,
};

struct ferry_dlpack_device { /* DLDevice */
    int32_t type, id;
};

struct ferry_dlpack_type { /* DLDataType */
    uint8_t code, bits;
    uint16_t lanes; /* 1, but for vectors */
};

struct ferry_dlpack_tensor { /* DLTensor */
    void *data;
    struct ferry_dlpack_device device;
    int32_t rank;
    struct ferry_dlpack_type type;
    int64_t *shape;
    int64_t *strides; /* in elements; NULL: row-major without gaps */
    uint64_t byte_offset;
};

struct ferry_dlpack_managed { /* DLManagedTensor */
    struct ferry_dlpack_tensor tensor;
    void *manager;
    void (*deleter)(
        struct ferry_dlpack_managed *self); /* call it once, when done with the tensor */
};

enum { FERRY_DLPACK_READ_ONLY = 1 }; /* a flag of the next: nobody may write the tensor */

struct ferry_dlpack_managed_versioned { /* DLManagedTensorVersioned */
    uint32_t major, minor;
    void *manager;
    void (*deleter)(struct ferry_dlpack_managed_versioned *self);
    uint64_t flags;
    struct ferry_dlpack_tensor tensor;
};

/* A flag of the next: export does not wait. The caller has the consumer's stream wait
 * (ferry_cuda_external_begin and _end), or the consumer does so. Private memory of CUDA only. */
enum { FERRY_DLPACK_NO_WAIT = 1 };

/* Which part of a buffer, seen as what: row-major without gaps from offset on. */
struct ferry_dlpack_view {
    size_t offset; /* bytes */
    struct ferry_dlpack_type type;
    int32_t rank;
    const int64_t *shape; /* rank many; copied */
    uint32_t flags;
    int32_t device; /* DLDeviceType to export as; 0: as above. A shared buffer of CUDA may also be
                       FERRY_DLPACK_CUDA_HOST, which not all consumers take. */
    uint64_t reserved[3];
};

/*
 * Exports a buffer. NULL view: all of it, as bytes. Waits for all operations on the buffer, and
 * fails, as ferry_buffer_contents does, with the status of a failed write. The tensor keeps the
 * memory: the buffer may be destroyed before it. Its device must stay open until the deleter has
 * been called; the deleter itself may come later, and on any thread. A view that exceeds the buffer
 * is OUT_OF_RANGE. The work of a consumer's GPU queue takes its place in Ferry's order by
 * ferry_external_begin, as long as the buffer is there.
 */
FERRY_CHECK enum ferry_status ferry_dlpack_export(ferry_buffer *buffer,
                                                  const struct ferry_dlpack_view *view,
                                                  struct ferry_dlpack_managed **out_managed);
FERRY_CHECK enum ferry_status
ferry_dlpack_export_versioned(ferry_buffer *buffer, const struct ferry_dlpack_view *view,
                              struct ferry_dlpack_managed_versioned **out_managed);

/* How many exported tensors of a device have not been deleted yet: 0 before it may be closed. */
FERRY_API size_t ferry_dlpack_exports(const ferry_device *device);

/*
 * Makes a buffer of a tensor. One in host memory is copied, into a buffer of the given storage, and
 * waited for; then its deleter is called. A CUDA tensor of the same device is wrapped, at any address,
 * as ferry_cuda_buffer_wrap does. A Metal tensor is wrapped by a device of Metal's, as a
 * private buffer (as ferry_metal_buffer_wrap does: its byte_offset must be a multiple of 256);
 * its deleter is called when the buffer is destroyed and idle, and must not call Ferry. On failure
 * the tensor is as before, and the caller's. UNSUPPORTED: another device; strides that are not
 * row-major without gaps; elements that are not whole bytes; a version other than 1; to wrap a
 * read-only tensor.
 */
FERRY_CHECK enum ferry_status ferry_dlpack_import(ferry_device *device,
                                                  struct ferry_dlpack_managed *managed,
                                                  enum ferry_storage storage,
                                                  ferry_buffer **out_buffer);
FERRY_CHECK enum ferry_status
ferry_dlpack_import_versioned(ferry_device *device, struct ferry_dlpack_managed_versioned *managed,
                              enum ferry_storage storage, ferry_buffer **out_buffer);

#ifdef __cplusplus
}
#endif

#endif
