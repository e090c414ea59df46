/*
 * Ferry and your own CUDA: hands out the pointers that Ferry's buffers are made of, wraps a context
 * and device memory of yours, and puts your streams into Ferry's order. Read ferry/ferry.h first;
 * docs/cuda.md shows the whole.
 *
 * Needs nothing of CUDA to build. The handles are CUDA's own: a CUcontext, a CUstream (the
 * runtime's cudaStream_t), a CUdeviceptr. Handles that Ferry gives are borrowed: valid as long as
 * the Ferry object that gave them. Each function may be called from any thread, and leaves the
 * thread's current context as it was.
 */
#ifndef FERRY_CUDA_H
#define FERRY_CUDA_H

#include <ferry/ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUctx_st;    /* CUcontext is a pointer to it */
struct CUstream_st; /* CUstream, and cudaStream_t */

/* ---------------------------------------------------------------------------------------------
 * Devices
 * --------------------------------------------------------------------------------------------- */

/*
 * What a Ferry device is made of: its CUDA ordinal, which depends on CUDA_VISIBLE_DEVICES, and its
 * context. The context is the device's primary one, which CUDA's runtime uses too, unless you
 * wrapped another. Either pointer may be NULL. UNSUPPORTED on another driver's device.
 */
FERRY_CHECK enum ferry_status ferry_cuda_device_get(ferry_device *device, int *out_ordinal,
                                                    struct CUctx_st **out_context);

/*
 * Opens a Ferry device on your own context, which is borrowed until ferry_device_close has
 * returned. params: as for ferry_device_open, but its name is ignored; NULL: all zero. For a
 * primary context, ferry_device_open will do. INVALID_ARGUMENT: it is not a context. NO_DEVICE:
 * there is no CUDA.
 */
FERRY_CHECK enum ferry_status ferry_cuda_device_wrap(struct CUctx_st *context,
                                                     const struct ferry_device_params *params,
                                                     ferry_device **out_device);

/* ---------------------------------------------------------------------------------------------
 * Buffers
 * --------------------------------------------------------------------------------------------- */

/*
 * The address of a buffer's first byte, as a CUdeviceptr. Private memory is the device's; a shared
 * buffer is page-locked host memory that kernels reach at the same address. Valid until the buffer
 * is destroyed. Take your place in Ferry's order before your work touches it (below). UNSUPPORTED
 * on another driver's buffer.
 */
FERRY_CHECK enum ferry_status ferry_cuda_buffer_get(ferry_buffer *buffer,
                                                    unsigned long long *out_pointer);

/*
 * Makes a private Ferry buffer from device memory of yours: size bytes at any address, from
 * cuMemAlloc, cudaMalloc or a memory pool, or mapped by cuMemMap. The memory is borrowed until the
 * Ferry buffer is destroyed and idle. Then release, if given, is called once, with user; it must
 * not call Ferry. INVALID_ARGUMENT: the memory belongs to another device, or is not CUDA's.
 * OUT_OF_RANGE: past its end. UNSUPPORTED: managed memory.
 */
FERRY_CHECK enum ferry_status ferry_cuda_buffer_wrap(ferry_device *device,
                                                     unsigned long long pointer, size_t size,
                                                     void (*release)(void *user), void *user,
                                                     ferry_buffer **out_buffer);

/* ---------------------------------------------------------------------------------------------
 * External work: kernels of yours, in a stream of yours, with no wait on the host
 *
 *   begin  ->  enqueue your work in the stream  ->  end
 * --------------------------------------------------------------------------------------------- */

/*
 * As ferry_external_begin, and the stream waits for everything that the work depends on: whatever
 * you enqueue in it from now on comes after that. stream must belong to the device's context; NULL
 * is the legacy stream. UNSUPPORTED: the stream is capturing a graph. out_external->ready and
 * ticket are as ferry.h says; its waits and signal are empty.
 */
FERRY_CHECK enum ferry_status ferry_cuda_external_begin(ferry_device *device,
                                                        const struct ferry_use *uses, size_t count,
                                                        struct CUstream_st *stream,
                                                        struct ferry_external *out_external);

/*
 * Ends the work once all of it is in the stream: later operations on those bytes wait, on the
 * device, for what is in the stream now. You may use another stream than begin's if its work comes
 * after that stream's. If this function fails, the work is still in progress. UNSUPPORTED: the
 * stream is capturing a graph. INVALID_ARGUMENT: it belongs to another context. To end work that
 * was not enqueued, or only in part, call ferry_external_end with the error; ferry_external_end
 * with FERRY_OK says that the work is done.
 */
FERRY_CHECK enum ferry_status ferry_cuda_external_end(ferry_device *device, ferry_ticket ticket,
                                                      struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif

#endif
