/*
 * Ferry and your own CUDA: hands out what Ferry's buffers are made of, wraps a context and device
 * memory of yours, and puts your streams into Ferry's order. Read ferry/ferry.h first; docs/cuda.md
 * shows the whole.
 *
 * Needs nothing of CUDA to build. The handles are CUDA's own: a CUcontext, a CUstream (the runtime's
 * cudaStream_t), a CUdeviceptr. What Ferry gives is borrowed: good as long as the Ferry object that
 * gave it. Each function may be called from any thread, and leaves the thread's current context as it
 * was.
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
 * What a Ferry device is made of: CUDA's ordinal of it, which CUDA_VISIBLE_DEVICES has an effect on,
 * and the context: the device's primary one, which CUDA's runtime uses too, unless you wrapped
 * another. Either may be NULL. UNSUPPORTED on another driver's device.
 */
FERRY_CHECK enum ferry_status ferry_cuda_device_get(ferry_device *device, int *out_ordinal,
                                                    struct CUctx_st **out_context);

/*
 * Opens a Ferry device on your own context, borrowed until ferry_device_close has returned. params: as
 * for ferry_device_open; its name is ignored; NULL: all zero. For a primary context ferry_device_open
 * will do. What is no context is INVALID_ARGUMENT; NO_DEVICE where there is no CUDA.
 */
FERRY_CHECK enum ferry_status ferry_cuda_device_wrap(struct CUctx_st *context,
                                                     const struct ferry_device_params *params,
                                                     ferry_device **out_device);

/* ---------------------------------------------------------------------------------------------
 * Buffers
 * --------------------------------------------------------------------------------------------- */

/*
 * Where a buffer begins, as a CUdeviceptr: private memory is the device's, a shared buffer is
 * page-locked host memory that kernels reach at the same address. Good until the buffer is destroyed.
 * Take your place in Ferry's order before your work touches it (below). UNSUPPORTED on another
 * driver's buffer.
 */
FERRY_CHECK enum ferry_status ferry_cuda_buffer_get(ferry_buffer *buffer,
                                                    unsigned long long *out_pointer);

/*
 * Makes a private Ferry buffer of device memory of yours: size bytes at any address, of cuMemAlloc,
 * cudaMalloc, a memory pool or mapped by cuMemMap. Borrowed until the Ferry buffer is destroyed and
 * idle: then release, if any, is called once, with user; it must not call Ferry. Memory of another
 * device, or none of CUDA's: INVALID_ARGUMENT; past its end: OUT_OF_RANGE; managed: UNSUPPORTED.
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
 * As ferry_external_begin, and the stream waits for all that the work depends on: what you enqueue
 * in it from now on comes after that. stream: of the device's context; NULL is the legacy stream. One
 * that captures a graph is UNSUPPORTED. out_external->ready and ticket are as ferry.h says; its waits
 * and signal are empty.
 */
FERRY_CHECK enum ferry_status ferry_cuda_external_begin(ferry_device *device,
                                                        const struct ferry_use *uses, size_t count,
                                                        struct CUstream_st *stream,
                                                        struct ferry_external *out_external);

/*
 * Ends it once all of it is in the stream: later operations on those bytes wait, on the device, for
 * what is there now. Another stream than begin's is fine if it comes after that. The work is still in
 * progress when this fails: a stream that captures a graph is UNSUPPORTED, one of another context
 * INVALID_ARGUMENT. Work that was not, or not wholly, enqueued is ended by ferry_external_end with the
 * error; ferry_external_end with FERRY_OK says that it is done.
 */
FERRY_CHECK enum ferry_status ferry_cuda_external_end(ferry_device *device, ferry_ticket ticket,
                                                      struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif

#endif
