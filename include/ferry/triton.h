/*
 * Ferry in the Triton Inference Server: gathers the inputs of a batch of requests into private
 * buffers, scatters outputs back into responses, and allocates response memory. For backends and
 * for hosts of the server, in C and in C++. docs/triton.md is the guide; triton/backend/ is the
 * example.
 *
 * Works with stock servers only. The server's functions are found in the running process; nothing
 * is linked. Triton's handles are passed through unchanged: include its headers or not, as you
 * like.
 *
 * A function that can fail returns NULL, or a TRITONSERVER_Error that the caller must delete;
 * outputs are written only on success. If there is no Triton in the process, it returns a fixed
 * error object that need not be deleted, and says why on stderr. Arrays and parameters are read
 * until the call returns; reserved words must be 0, else INVALID_ARG. Sizes and offsets are in
 * bytes. Every function may be called from any thread; none may be called from a Ferry callback
 * unless its comment allows it.
 */
#ifndef FERRY_TRITON_H
#define FERRY_TRITON_H

#include <ferry/ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

struct TRITONSERVER_Error;
struct TRITONSERVER_ResponseAllocator;
struct TRITONBACKEND_Request;
struct TRITONBACKEND_Response;

/* ---------------------------------------------------------------------------------------------
 * Devices
 *
 * There is one ferry_device per physical device in the whole process, shared by model instances,
 * the response allocator and the host. It is reference-counted: each successful call needs one
 * release. Each device is opened with zeroed: requests of one model never see bytes of another's.
 * --------------------------------------------------------------------------------------------- */

/* The device of this name, as ferry_device_open names devices (NULL: the best). Opens it with the
 * defaults unless it is already open; opening takes time. NOT_FOUND: there is no such device. */
FERRY_CHECK struct TRITONSERVER_Error *ferry_triton_device(const char *name,
                                                           ferry_device **out_device);

/*
 * The same, opened with these parameters. INVALID_ARG, with an explanation, if the device is
 * already open with other parameters: a shared device has one set, that of the first to open it.
 */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_device_open(const struct ferry_device_params *params, ferry_device **out_device);

/* Releases one ferry_triton_device. The last release closes the device, after waiting for its
 * work. */
FERRY_API void ferry_triton_device_release(ferry_device *device);

/* The device as Triton's memory_type_id for memory of type GPU: the number that CUDA gives a device
 * of CUDA's; for all others their index in ferry_device_list. -1 for a device that is not from
 * ferry_triton_device. Allowed in callbacks. */
FERRY_API int64_t ferry_triton_device_id(const ferry_device *device);

/* ---------------------------------------------------------------------------------------------
 * Handles: private buffers where Triton wants an address
 *
 * A handle stands for a buffer as the base of GPU memory. It is a range of numbers that are not
 * addresses, are never those of another live buffer, and never NULL. A number inside a handle's
 * range means that offset. Handles are never dereferenced, so you may ask about any pointer.
 * --------------------------------------------------------------------------------------------- */

/* Makes a handle for a buffer of a device from ferry_triton_device, for example to append it as an
 * input: base, memory type GPU, memory_type_id ferry_triton_device_id. The buffer stays the
 * caller's; destroy the handle before the buffer. */
FERRY_CHECK struct TRITONSERVER_Error *ferry_triton_handle_create(ferry_buffer *buffer,
                                                                  void **out_base);

/* NULL is allowed. No tensor in the server may still use the handle. Allowed in callbacks. */
FERRY_API void ferry_triton_handle_destroy(void *base);

/*
 * The buffer behind a handle, or behind a pointer that the response allocator gave out. NOT_FOUND
 * for all other pointers. The buffer is borrowed: it lives as long as the handle or the response.
 * Read private outputs with ferry_copy_to_host. Allowed in callbacks.
 */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_resolve(const void *base, ferry_buffer **out_buffer, size_t *out_offset);

/* ---------------------------------------------------------------------------------------------
 * Gather: input tensors of many requests into buffers
 * --------------------------------------------------------------------------------------------- */

/* Where the parts of one input tensor go: one for each request that goes on, in request order. */
struct ferry_triton_input {
    const char *name;  /* of the input tensor */
    ferry_buffer *dst; /* may be NULL if there are no bytes to put there */
    size_t offset;     /* where the first part may begin in dst */
    size_t capacity;   /* bytes that may be used from offset on; 0: to the end of dst */
    size_t align;      /* each part begins at a multiple of this in dst; 0: 1. The bytes between the
                          parts are left untouched */
    size_t stride;     /* 0: packed; else fixed slots of this many bytes (a multiple of align), each
                          padded with zeros */
    bool optional;     /* a request without this input has a part of 0 bytes */
    bool pass_through; /* if there is only one request, and this input of it is already one range of
                          a Ferry buffer on this device: hand out that range and copy nothing. The
                          same for memory of CUDA's own, if wrapped is set */
    /* If there is only one request, and this input of it is one range of host memory, its address
     * is written here and nothing is copied; otherwise NULL is written. This is for work by the
     * CPU: read the input there until the request is released. NULL: always copy. */
    const void **in_place;
    /* If the input is passed through and is memory of CUDA's own, the buffer that wraps it is
     * written here, and is the caller's to destroy, before the request is released; otherwise NULL
     * is written. NULL: memory of CUDA's own is always copied. */
    ferry_buffer **wrapped;
    uint64_t reserved[2];
};

/* Where the part of one request is. NULL and 0 for a request that did not go on. */
struct ferry_triton_span {
    ferry_buffer *buffer; /* dst; with pass_through maybe the tensor's own: borrowed until the
                             request is released, or *wrapped; NULL if the input was left in_place */
    size_t offset, size;
};

/*
 * The bytes from `offset` on that the parts of this input take if all requests go on: dst must have
 * room for them. A NULL request, or one that lacks the input, counts as nothing.
 */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_gather_size(struct TRITONBACKEND_Request *const *requests, uint32_t count,
                         const struct ferry_triton_input *input, size_t *out_size);

/*
 * Copies the inputs of all requests, as one submission on device, and does not wait: later calls on
 * those buffers are ordered after it. Sizes come from the server's buffers, never from shape times
 * type, so strings and ragged batches are bytes like any other.
 *
 * spans_out[input * count + request] says where each part is. errors_out[request] is NULL, or says
 * why that request did not go on: INVALID_ARG if its buffers do not add up to its byte size, it
 * does not fit, or it lacks an input; CANCELLED; UNSUPPORTED if an input is GPU memory that is
 * neither Ferry's nor CUDA's on this device. Memory of CUDA's own must be ready to be read, as
 * Triton requires of inputs; that it is CUDA's, the server is trusted to know. A request that does
 * not go on takes no place in any input. Both arrays are the caller's, with input_count * count and
 * count entries; the caller must delete the errors in errors_out. A NULL request is skipped. If the
 * call itself fails, all errors_out are NULL and there is neither ticket nor callback. Copies from
 * other devices may have begun by then, in the order of their buffers.
 *
 * Do not release the requests before the ticket is done: their memory is read until then.
 * Releasing, responding and statistics are up to the caller. cb and out_ticket may be NULL; both
 * belong to device, and fail if one of the copies fails, including copies between devices.
 */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_gather(ferry_device *device, struct TRITONBACKEND_Request *const *requests,
                    uint32_t count, const struct ferry_triton_input *inputs, size_t input_count,
                    struct ferry_triton_span *spans_out, struct TRITONSERVER_Error **errors_out,
                    ferry_callback cb, void *user, ferry_ticket *out_ticket);

/*
 * The same, but waits on the calling thread until the bytes are there: for batches that are done
 * before another thread would wake. What the CPU copies is copied part by part. What is submitted
 * is one submission, except for the first of its kind on a device, which shows which of the two it
 * is. If a copy fails, the call fails. In a Ferry callback the call fails, with nothing in flight.
 */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_gather_wait(ferry_device *device, struct TRITONBACKEND_Request *const *requests,
                         uint32_t count, const struct ferry_triton_input *inputs,
                         size_t input_count, struct ferry_triton_span *spans_out,
                         struct TRITONSERVER_Error **errors_out);

/*
 * The same, but only adds the copies to batch, which belongs to device: then one submission carries
 * them, what the caller adds behind them, and a scatter (ferry_triton_scatter_run), with one wait. The
 * inputs are read until the batch is done. Copies from another device's buffers do not go in a batch:
 * with them the gather is submitted at once. If the call fails, destroy the batch: it may hold part
 * of the copies.
 */
FERRY_CHECK struct TRITONSERVER_Error *ferry_triton_gather_add(
    ferry_device *device, ferry_batch *batch, struct TRITONBACKEND_Request *const *requests,
    uint32_t count, const struct ferry_triton_input *inputs, size_t input_count,
    struct ferry_triton_span *spans_out, struct TRITONSERVER_Error **errors_out);

/* ---------------------------------------------------------------------------------------------
 * Scatter: buffers into output tensors of many responses
 * --------------------------------------------------------------------------------------------- */

/* One response's part of an output. */
struct ferry_triton_part {
    const int64_t *shape; /* borrowed until the call returns */
    uint32_t dims;
    size_t offset, size; /* in src */
};

struct ferry_triton_output {
    const char *name;
    int datatype;                          /* a TRITONSERVER_DataType */
    ferry_buffer *src;                     /* may be NULL if all parts are of 0 bytes */
    const struct ferry_triton_part *parts; /* as many as there are responses */
    const void *host; /* instead of src: the bytes are in host memory from here on, and stay there
                         until the scatter is done */
    uint64_t reserved[3];
};

/*
 * Creates in each response the outputs that its request asked for, and copies their bytes there, as
 * one submission on device. Does not wait: the responses may be sent when the ticket is done.
 *
 * Asks for the memory that the request's host prefers (CPU if it does not say) and accepts what it
 * is given: CPU memory, memory of CUDA's own on this device, or a Ferry handle, also on another
 * device. errors_out[response] is NULL or says why that response does not have all its outputs: the
 * error of the server's allocator, UNSUPPORTED if the allocator gave other GPU memory, INVALID_ARG
 * for a part outside src. The others go on. requests[i] belongs to responses[i]; if either is NULL,
 * both are skipped. requests itself may be NULL, for requests that were already released (a
 * ResponseFactory made the responses): then all outputs are made, in CPU memory if the host has it.
 * If the call itself fails, all errors_out are NULL and there is neither ticket nor callback;
 * responses may already have outputs then, and should be sent with an error.
 *
 * Sending, deleting and releasing are up to the caller. cb and out_ticket as in
 * ferry_triton_gather.
 */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_scatter(ferry_device *device, struct TRITONBACKEND_Request *const *requests,
                     struct TRITONBACKEND_Response *const *responses, uint32_t count,
                     const struct ferry_triton_output *outputs, size_t output_count,
                     struct TRITONSERVER_Error **errors_out, ferry_callback cb, void *user,
                     ferry_ticket *out_ticket);

/* The same, but waits on the calling thread until the responses may be sent. If a copy fails, the
 * call fails. In a Ferry callback the call fails. */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_scatter_wait(ferry_device *device, struct TRITONBACKEND_Request *const *requests,
                          struct TRITONBACKEND_Response *const *responses, uint32_t count,
                          const struct ferry_triton_output *outputs, size_t output_count,
                          struct TRITONSERVER_Error **errors_out);

/* The same, behind what is in batch (ferry_triton_gather_add, and the caller's own operations): all
 * of it is carried out as one submission, and waited for. If anything in it fails, the call fails.
 * Copies to another device's buffers follow when the rest is done. */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_scatter_run(ferry_device *device, ferry_batch *batch,
                         struct TRITONBACKEND_Request *const *requests,
                         struct TRITONBACKEND_Response *const *responses, uint32_t count,
                         const struct ferry_triton_output *outputs, size_t output_count,
                         struct TRITONSERVER_Error **errors_out);

/* ---------------------------------------------------------------------------------------------
 * Response allocator: for hosts that run the server in their own process
 * --------------------------------------------------------------------------------------------- */

typedef struct ferry_triton_allocator ferry_triton_allocator;

struct ferry_triton_allocator_params {
    ferry_device *device; /* from ferry_triton_device; must outlive the allocator */
    /* The models whose outputs get private memory, as GPU memory: on a device of CUDA's by its
     * address, for any backend that uses CUDA; on all others as a handle: there, list those whose
     * backend can handle it (ferry_triton_scatter). Models that are not listed get shared memory, as
     * CPU pointers. */
    const char *const *private_models;
    size_t private_model_count;
    uint64_t limit; /* most bytes given out at a time; 0: what the device has */
    /* When private memory is exhausted: use shared memory; when that is exhausted too: plain host
     * memory. Both are counted. Without this, exhausted memory is UNAVAILABLE. */
    bool fallback;
    uint64_t reserved[4];
};

FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_allocator_create(const struct ferry_triton_allocator_params *params,
                              ferry_triton_allocator **out_allocator);

/* UNAVAILABLE, and nothing is destroyed, while responses hold its buffers. NULL is allowed. */
FERRY_CHECK struct TRITONSERVER_Error *
ferry_triton_allocator_destroy(ferry_triton_allocator *allocator);

/* For TRITONSERVER_InferenceRequestSetResponseCallback: the allocator and its userp, for requests
 * to this model. With userp NULL the model counts as not listed. Both live as long as the
 * allocator; do not delete them. Allowed in callbacks. */
FERRY_API struct TRITONSERVER_ResponseAllocator *
ferry_triton_allocator_get(const ferry_triton_allocator *allocator);
FERRY_API void *ferry_triton_allocator_userp(const ferry_triton_allocator *allocator,
                                             const char *model);

/* ---------------------------------------------------------------------------------------------
 * Errors, log and metrics
 * --------------------------------------------------------------------------------------------- */

/* NULL, or why Ferry cannot work with the Triton of this process: there is none, it has another
 * major version, or it lacks a function. The text lives until this thread's next call. */
FERRY_API const char *ferry_triton_problem(void);

/* A Ferry status as a Triton error, "WHAT: " and ferry_last_error(). NULL for FERRY_OK. Allowed in
 * callbacks. */
FERRY_CHECK struct TRITONSERVER_Error *ferry_triton_error(enum ferry_status status,
                                                          const char *what);

/* Sends Ferry's log, from this level on, to the server's. A process has one destination: the last
 * call of this or of ferry_set_log decides. */
FERRY_CHECK struct TRITONSERVER_Error *ferry_triton_log(enum ferry_log_level level);

/*
 * Brings Triton's custom metrics up to date with Ferry's: ferry_*, labelled with the device, and
 * ferry_triton_*. They are created at first use, once per process. Call it from time to time: the
 * server has no hook for it. On a server without metrics it succeeds and does nothing. Allowed in
 * callbacks.
 */
FERRY_CHECK struct TRITONSERVER_Error *ferry_triton_metrics_update(void);

/* New fields are added only at the end. */
struct ferry_triton_stats {
#define FERRY_TRITON_STAT(field, help) uint64_t field;
#include <ferry/triton_stats.inc>
#undef FERRY_TRITON_STAT
};

/* Copies at most size bytes. Counts since the process began. Allowed in callbacks. */
FERRY_API void ferry_triton_get_stats(struct ferry_triton_stats *out_stats, size_t size);

#ifdef __cplusplus
}
#endif

#endif
