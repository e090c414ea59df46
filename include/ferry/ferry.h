/*
 * Ferry: moves bytes between host memory and GPU-private buffers.
 *
 * This header is the manual. Read it from top to bottom. Sizes and offsets are in bytes, times in
 * nanoseconds. Every function may be called from any thread at any time unless its comment says
 * otherwise. Handles are opaque; a function that can fail returns a status and writes its outputs
 * only on success; the reason, in words and with the numbers, is in ferry_last_error(). A thread that
 * is cancelled (pthread_cancel) inside a call of Ferry's ends once that call is done.
 *
 * The promises:
 *   - Any size, any offset, any alignment, any overlap that fits the buffer. Overlapping ranges of
 *     one buffer behave as memmove. Bytes outside a range are not changed.
 *   - Order is automatic, and by bytes. Two operations of which one writes bytes that the other
 *     touches take effect in the order of their calls, whether they wait or not: X is before Y if X's
 *     call returned before Y's began. Two such calls that overlap in time have no order: each byte is
 *     from one or the other. Operations that share no byte have no order, also inside one buffer: a
 *     later ticket or callback says nothing of earlier operations on other bytes.
 *   - Nothing is silent: a fallback to a slower way is counted (ferry_device_get_stats), and an
 *     error where the device was opened with no_fallback.
 *   - Every driver behaves the same; it differs in speed only.
 */
#ifndef FERRY_FERRY_H
#define FERRY_FERRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FERRY_VERSION_MAJOR 0
#define FERRY_VERSION_MINOR 1
#define FERRY_VERSION_PATCH 0
#define FERRY_VERSION \
    ((FERRY_VERSION_MAJOR << 16) | (FERRY_VERSION_MINOR << 8) | FERRY_VERSION_PATCH)

#if defined(__GNUC__)
#define FERRY_API __attribute__((visibility("default")))
#define FERRY_CHECK __attribute__((visibility("default"), warn_unused_result))
#else
#define FERRY_API
#define FERRY_CHECK
#endif

/* Every buffer starts at a multiple of this: its contents pointer and its native offset. */
#define FERRY_BUFFER_ALIGNMENT 256

/* A timeout that never ends. */
#define FERRY_FOREVER UINT64_MAX

/* ---------------------------------------------------------------------------------------------
 * Status
 * --------------------------------------------------------------------------------------------- */

/* FERRY_OK is 0, FERRY_PENDING is 1 (ferry_poll only), the rest are errors. */
enum ferry_status {
#define FERRY_STATUS(value, name, text) FERRY_##name = (value),
#include <ferry/status.inc>
#undef FERRY_STATUS
};

/* "FERRY_ERROR_OUT_OF_RANGE". A static string, never NULL: "FERRY_ERROR_UNKNOWN" for no status. */
FERRY_API const char *ferry_status_name(enum ferry_status status);

/* What a status means, in a few words. A static string, never NULL. */
FERRY_API const char *ferry_status_text(enum ferry_status status);

/*
 * Why the last call on this thread that failed did so, in words and with the numbers; inside a
 * callback, why that operation failed. Never NULL; "" when nothing failed yet. The string is this
 * thread's own and lives until its next failing call.
 */
FERRY_API const char *ferry_last_error(void);

enum ferry_log_level {
    FERRY_LOG_NONE = 0,
    FERRY_LOG_ERROR,
    FERRY_LOG_WARN,
    FERRY_LOG_INFO,
    FERRY_LOG_DEBUG,
};

/* message is one line without a line feed and lives until the function returns. */
typedef void (*ferry_log_fn)(enum ferry_log_level level, const char *message, void *user);

/*
 * Sends messages of this level and the more urgent ones to fn; NULL: to stderr. The default is WARN
 * to stderr. fn may be called from any thread, also several at once, and under no lock of Ferry's;
 * it must not wait for a thread that sets the log, and what it logs itself comes back to it.
 * Once this returns the function set before does not run any more, and is not called again: so it
 * waits for calls on other threads, unless it is called in a log function.
 */
FERRY_API void ferry_set_log(ferry_log_fn fn, void *user, enum ferry_log_level level);

/*
 * The FERRY_VERSION of the library in use, which may differ from this header's; and the same as
 * text: "0.1.0".
 *
 * The binary interface: before 1.0 a change of a public struct's layout, or of a function's
 * parameters, raises the number in the library's name (SONAME), and programs must be rebuilt. Within
 * one SONAME functions are only added; structs keep their sizes, and grow into their reserved words,
 * which callers leave zero (struct ferry_stats alone grows at its end: its reader passes a size);
 * values may be added to enums, so a program must expect ones it does not know. From 1.0 on the
 * SONAME changes with the major version only.
 */
FERRY_API uint32_t ferry_version(void);
FERRY_API const char *ferry_version_string(void);

/* The drivers in this build, the best first, "vulkan host", and the libraries that it uses,
 * "liburing 2.3" or "". Static strings, never NULL. */
FERRY_API const char *ferry_build_drivers(void);
FERRY_API const char *ferry_build_libraries(void);

/* ---------------------------------------------------------------------------------------------
 * Devices
 * --------------------------------------------------------------------------------------------- */

typedef struct ferry_device ferry_device;
typedef struct ferry_buffer ferry_buffer;
typedef struct ferry_batch ferry_batch;

/*
 * How bytes travel between host and device (docs/transfers.md). The caller may force AUTO, DIRECT,
 * STAGED, PIPELINED or IMPORTED; the others are there to be counted.
 */
enum ferry_path {
    FERRY_PATH_AUTO = 0,
    FERRY_PATH_DIRECT,    /* the CPU copies: memory that the host can reach, nothing in flight */
    FERRY_PATH_STAGED,    /* one piece of staging memory and one device copy */
    FERRY_PATH_PIPELINED, /* in chunks: copying one into staging while the device copies another */
    FERRY_PATH_IMPORTED,  /* the device reads or writes the caller's memory itself */
    FERRY_PATH_DEVICE,    /* between buffers of one device, and fills */
    FERRY_PATH_BRIDGED,   /* between buffers of two devices */
    FERRY_PATH_NONE,      /* size 0: nothing to do */
    FERRY_PATH_BLOCKS,    /* scattered blocks and rows, by one kernel over a list of them */
    FERRY_PATH_PEER,      /* between two devices that reach each other, without the host's memory */
    FERRY_PATH_COUNT
};

/* "auto", "direct", ... A static string, never NULL. */
FERRY_API const char *ferry_path_name(enum ferry_path path);

/* May Ferry reach private memory by the CPU, where the device lets it? */
enum ferry_map {
    /* Coherent memory to write; cached memory, or a little, to read. On a discrete GPU of Vulkan no
     * allocation of more than 16 GiB, which takes long to map. */
    FERRY_MAP_AUTO = 0,
    FERRY_MAP_NEVER,  /* private buffers are reached through the device only */
    FERRY_MAP_ALWAYS, /* wherever it can be had; on Metal private buffers get shared storage */
};

enum ferry_device_kind {
    FERRY_DEVICE_HOST = 0,   /* no GPU: host memory, a thread as the copy engine */
    FERRY_DEVICE_SOFTWARE,   /* a GPU interface that a CPU carries out */
    FERRY_DEVICE_INTEGRATED, /* a GPU that shares the host's memory */
    FERRY_DEVICE_DISCRETE,   /* a GPU with memory of its own */
    FERRY_DEVICE_VIRTUAL,    /* a virtual machine's view of a GPU */
};

/* "host", "software", ... A static string, never NULL. */
FERRY_API const char *ferry_device_kind_name(enum ferry_device_kind kind);

/* The sizes at which one way is taken instead of another (docs/transfers.md). UINT64_MAX means always
 * for a largest size, and never for a smallest. */
struct ferry_thresholds {
#define FERRY_THRESHOLD(name, help) uint64_t name;
#include <ferry/thresholds.inc>
#undef FERRY_THRESHOLD
};

struct ferry_device_params {
    /*
     * "host", "host:1", "vulkan" (its best device, software included), "vulkan:1", "metal", ...
     * NULL: the environment's FERRY_DEVICE, else the best: metal, cuda, hardware vulkan, host. A
     * device that is there and cannot be used or opened is passed over with a warning; with
     * no_fallback, and where memory is short, that is the failure.
     */
    const char *name;
    /* Forces a path, for transfers between host and device only. AUTO: the environment's
     * FERRY_PATH, else the planner's choice. What the forced path cannot carry takes the next one
     * that can, and is counted as a fallback. */
    enum ferry_path path;
    enum ferry_map map_private;
    uint64_t staging_budget; /* staging memory at most, per direction; 0: 64 MiB; at least 4096 */
    uint64_t pool_budget;    /* freed memory kept for reuse at most; 0: 256 MiB; 1: none */
    bool no_fallback;        /* a fallback to a slower way is FERRY_ERROR_UNSUPPORTED */
    bool no_staging_wait;    /* a waiting operation returns POOL_EXHAUSTED rather than wait for
                                staging that other operations hold */
    bool no_measuring;       /* thresholds are the defaults: nothing is measured */
    uint32_t queues;         /* queues to use at most; 0: what the driver finds best */
    /* Each that is not 0 replaces what is measured when a GPU is opened, or the default. Where it
     * is 0 the environment's FERRY_THRESHOLDS counts: "default", or "import_from=1M,...". */
    struct ferry_thresholds thresholds;
    /* Operations that wait for others before they go to the device, at most; those of a batch count
     * one by one, and so do the blocks of a list; rows count as one. 0: 4,194,304. An asynchronous
     * call beyond it is POOL_EXHAUSTED. */
    uint64_t parked_max;
    /* Every buffer of the device and its memory of ferry_host_alloc hold zeros at first, as a buffer
     * made with zeroed does: nobody sees what an earlier one held. Memory that was in use before is
     * filled, which takes its time. */
    bool zeroed;
    /* Use kernels only for what no copy or fill command of the device can do (bytes that are not
     * aligned, long patterns), since they take compute units from your own. Lists of blocks then
     * use none. */
    bool no_kernel;
    uint64_t reserved[1]; /* zero */
};

struct ferry_device_info {
    char name[32];         /* what ferry_device_open takes: "vulkan:0" */
    char driver[16];       /* "host", "vulkan", "metal", "cuda" */
    char description[128]; /* the device's own name, and its driver's */
    char reason[160];      /* of an open device: why this one was chosen */
    enum ferry_device_kind kind;
    bool unified;                /* host and device share one memory */
    uint8_t uuid[16];            /* zero where there is none; software devices may share one */
    uint64_t total_memory;       /* bytes of device memory */
    uint64_t max_buffer_size;    /* the largest ferry_buffer_create can serve */
    uint64_t max_allocation;     /* the driver's largest single allocation */
    uint64_t import_granularity; /* host memory is imported in multiples of this; 0: never */
    uint32_t paths;              /* bit 1 << path for each path that works on this device; that of
                                    blocks on an open one only */
    uint32_t queues;             /* queues in use (open device), queues there are (list) */
    /* Of an open device: */
    struct ferry_thresholds thresholds;
    uint64_t measured;      /* bit i: the i-th threshold was measured */
    uint64_t measuring_ns;  /* how long that took; 0: nothing was measured */
    uint8_t role_queues[4]; /* which of the queues has uploads, downloads, copies and fills on the
                               device, lists of blocks by kernels */
    uint32_t reserved[1];
};

struct ferry_memory_info {
    uint64_t total;              /* bytes of device memory */
    uint64_t available;          /* bytes that can still be allocated, as far as the driver knows */
    uint64_t in_use;             /* requested bytes of live buffers */
    uint64_t pooled;             /* freed memory kept for reuse */
    uint64_t peak;               /* the most in_use ever was, since the last reset */
    uint64_t total_allocated;    /* requested bytes of all buffers made, since the last reset */
    uint64_t total_freed;        /* requested bytes of all buffers destroyed since then */
    uint64_t allocation_count;   /* buffers made, since the last reset */
    uint64_t deallocation_count; /* buffers destroyed since then */
    uint64_t reserved[8];
};

/*
 * Lists the devices, the best first. Like snprintf: writes at most capacity entries, and the number
 * there are to *out_count. infos may be NULL if capacity is 0. Opens nothing, but loads every driver:
 * where CUDA is that calls cuInit, after which a forked child has no CUDA and CUDA_VISIBLE_DEVICES is
 * not read again. Opening a device by its name loads its driver only. Opening the default device asks
 * the drivers in the order of ferry_device_params.name until one has a device: CUDA before Vulkan and
 * the host.
 */
FERRY_CHECK enum ferry_status ferry_device_list(struct ferry_device_info *infos, size_t capacity,
                                                size_t *out_count);

struct ferry_driver_info {
    char name[16];
    char reason[160];      /* why it has no device; "" where it has some */
    bool built_in;         /* in this build of the library */
    uint32_t device_count; /* of ferry_device_list */
    uint64_t reserved[4];
};

/* Lists the drivers, and says for each one without a device why it has none. Otherwise like
 * ferry_device_list. */
FERRY_CHECK enum ferry_status ferry_driver_list(struct ferry_driver_info *infos, size_t capacity,
                                                size_t *out_count);

/*
 * Opens a device. NULL params: all zero. Opening the same one twice gives two independent devices,
 * each with its own memory, order and threads; a process usually needs one. A GPU is measured for some
 * ms (see no_measuring). An unknown name is NO_DEVICE, with the names there are in
 * ferry_last_error(). A driver that is short of memory is reported as that, not as NO_DEVICE. After
 * fork() the child's devices are DEVICE_LOST.
 */
FERRY_CHECK enum ferry_status ferry_device_open(const struct ferry_device_params *params,
                                                ferry_device **out_device);

/*
 * Waits for all work and its callbacks, then closes. NULL is allowed. No other call on the device
 * may be running. Buffers that are still alive are good for ferry_buffer_destroy only; anything
 * else on them is DEVICE_LOST. Memory of ferry_host_alloc goes with the device. In a callback it is
 * logged, and done after the callback returns.
 */
FERRY_API void ferry_device_close(ferry_device *device);

FERRY_API void ferry_device_get_info(const ferry_device *device,
                                     struct ferry_device_info *out_info);

FERRY_CHECK enum ferry_status ferry_device_get_memory(ferry_device *device,
                                                      struct ferry_memory_info *out_info);

/* Gives pooled memory and idle staging back to the device. Waits for the operations in flight, so that
 * memory of buffers destroyed while in use is free, but for none that depends on external work, nor
 * for copies between devices: what those use is given back by a later call. In a callback:
 * IN_CALLBACK. */
FERRY_CHECK enum ferry_status ferry_device_trim(ferry_device *device);

/* ---------------------------------------------------------------------------------------------
 * Buffers
 * --------------------------------------------------------------------------------------------- */

enum ferry_storage {
    FERRY_STORAGE_PRIVATE, /* the device's own memory; the API gives no pointer to it */
    FERRY_STORAGE_SHARED,  /* memory that both reach; always coherent */
};

struct ferry_buffer_params {
    size_t size; /* bytes, over 0 */
    enum ferry_storage storage;
    const char *label; /* for messages and debuggers; copied; NULL: none */
    bool zeroed;       /* all bytes are 0 at first; else they are undefined, and may be those of an
                          earlier buffer of this process */
    uint64_t flags;    /* FERRY_BUFFER_X */
    uint64_t reserved[3];
};

/* Private memory in an allocation of its own, which ferry_buffer_export can share. The host driver has
 * it on Linux, CUDA and Vulkan where the device can export descriptors (CUDA rounds up to its granule,
 * 2 MiB on today's GPUs); elsewhere UNSUPPORTED. */
enum ferry_buffer_flag { FERRY_BUFFER_EXPORTABLE = 1 };

/*
 * Makes a buffer. Size 0 is INVALID_ARGUMENT; a size above the device's largest, or above what is
 * free, is OUT_OF_DEVICE_MEMORY and names both. Does not wait for the device, but on CUDA after
 * transfers on FERRY_PATH_IMPORTED: no memory is had while theirs is not unregistered.
 */
FERRY_CHECK enum ferry_status ferry_buffer_create(ferry_device *device,
                                                  const struct ferry_buffer_params *params,
                                                  ferry_buffer **out_buffer);

/* NULL is allowed. Safe while operations on it are in flight or recorded in a batch: its memory is
 * freed after the last of them. No other call on the buffer may be running. Does not wait. */
FERRY_API void ferry_buffer_destroy(ferry_buffer *buffer);

FERRY_API size_t ferry_buffer_size(const ferry_buffer *buffer);
FERRY_API enum ferry_storage ferry_buffer_storage(const ferry_buffer *buffer);
FERRY_API ferry_device *ferry_buffer_device(const ferry_buffer *buffer);

/* The kind of file descriptor by which other processes and APIs get memory. */
enum ferry_handle {
    FERRY_HANDLE_OPAQUE_FD = 1, /* the driver's own kind: for devices of the same driver; CUDA's
                                   and Vulkan's take each other's, of the same GPU */
    FERRY_HANDLE_DMA_BUF = 2,   /* Linux's kind, where the driver has it */
};

/*
 * A new descriptor of the memory of a buffer that was made EXPORTABLE, for the caller to close. The
 * buffer is its size bytes from out_offset on; the memory has out_size bytes, and lives until all who
 * have it release it. Order between processes is the caller's: Ferry's operations on either side know
 * nothing of the other's. A buffer that is not exportable, or not as this kind: UNSUPPORTED. A buffer
 * that was imported can be exported only as the kind it came as. Not in a forked child.
 */
FERRY_CHECK enum ferry_status ferry_buffer_export(ferry_buffer *buffer, enum ferry_handle handle,
                                                  int *out_fd, size_t *out_size,
                                                  size_t *out_offset);

struct ferry_import_params {
    enum ferry_handle handle;
    int fd;             /* stays the caller's */
    size_t memory_size; /* of the memory, as its owner says */
    size_t offset;      /* of the buffer in it: a multiple of FERRY_BUFFER_ALIGNMENT */
    size_t size;        /* of the buffer; 0: to the memory's end */
    const char *label;  /* as of a new buffer */
    uint64_t reserved[4];
};

/*
 * Makes a private buffer of memory that another process, or another device, has exported: the same
 * bytes. The device is the exporter's, or one that reaches its memory. Size and offset are as the
 * exporter says. A descriptor of anything else is INVALID_ARGUMENT, as far as can be told; UNSUPPORTED
 * where the driver imports none of that kind.
 */
FERRY_CHECK enum ferry_status ferry_buffer_import(ferry_device *device,
                                                  const struct ferry_import_params *params,
                                                  ferry_buffer **out_buffer);

/*
 * The address of a shared buffer's bytes: the same for the buffer's life. A private buffer has none:
 * UNSUPPORTED. Waits for all operations on the buffer; call it again after the last asynchronous
 * operation on the buffer and before touching the bytes. Fails with the status of a failed write
 * whose bytes no later write has covered. In a callback: IN_CALLBACK.
 */
FERRY_CHECK enum ferry_status ferry_buffer_contents(ferry_buffer *buffer, void **out_contents);

/* Waits until all operations on the buffer that were submitted before this call are done. OK, also
 * when they failed; TIMEOUT; in a callback IN_CALLBACK. */
FERRY_CHECK enum ferry_status ferry_buffer_wait(ferry_buffer *buffer, uint64_t timeout_ns);

/* ---------------------------------------------------------------------------------------------
 * Operations that wait
 *
 * The range [offset, offset + size) must lie in the buffer, also for size 0, else OUT_OF_RANGE. A
 * NULL host pointer is INVALID_ARGUMENT unless size is 0. In a callback: IN_CALLBACK. One that
 * could not be begun (its arguments, no host memory, no staging) has changed nothing. When one that
 * writes fails on its way, its range holds no valid data: reading it (copying it to the host,
 * copying from it, contents) fails with the same status until writes have covered it, which may be
 * in parts. What lies between failed writes is good.
 * --------------------------------------------------------------------------------------------- */

FERRY_CHECK enum ferry_status ferry_copy_from_host(ferry_buffer *dst, const void *src, size_t size,
                                                   size_t dst_offset);

/* From the buffer to host memory. MIND THE ORDER: the buffer comes first, THEN the host memory that is
 * written. Alone among its siblings, in all its forms (_async, ferry_batch_), it has the source before
 * the destination. */
FERRY_CHECK enum ferry_status ferry_copy_to_host(ferry_buffer *src, void *dst, size_t size,
                                                 size_t src_offset);

/* Any pair of buffers: also the same one (as memmove), also on two devices. */
FERRY_CHECK enum ferry_status ferry_copy_buffer(ferry_buffer *dst, ferry_buffer *src, size_t size,
                                                size_t dst_offset, size_t src_offset);
FERRY_CHECK enum ferry_status ferry_zero_buffer(ferry_buffer *buffer);

/* Repeats a pattern of 1 to 16 bytes from offset on, cut off at the end. The pattern is copied. */
FERRY_CHECK enum ferry_status ferry_fill_buffer(ferry_buffer *buffer, size_t size, size_t offset,
                                                const void *pattern, size_t pattern_size);

/* ---------------------------------------------------------------------------------------------
 * Scattered blocks and rows (docs/blocks.md)
 *
 * Many pieces between the same two places as one operation: one place in the order, one ticket, and,
 * where the driver can, one kernel for thousands of them. Each form does what the operation of
 * one piece does (ferry_copy_from_host, ferry_copy_to_host, ferry_copy_buffer), block by block:
 * blocks that overlap take effect in the order listed. Sizes may differ and may be 0, offsets may be
 * any. All of the list is checked before anything moves: a block outside its buffer is OUT_OF_RANGE,
 * an address or a sum that wraps is INVALID_ARGUMENT. The list itself lies in host memory and is
 * copied at the call. When one fails, all that it writes holds no valid data. Two lists that share no
 * byte have no order, however their blocks interleave.
 *
 * The host's offsets count from the pointer that is given. Where that is NULL they are addresses, so
 * that one list may span several regions of host memory. Registered memory (ferry_host_alloc,
 * ferry_host_register) is the fastest; blocks are fast where both of their offsets are the same
 * modulo 16.
 * --------------------------------------------------------------------------------------------- */

struct ferry_block {
    size_t dst_offset, src_offset, size;
};

FERRY_CHECK enum ferry_status ferry_copy_blocks_from_host(ferry_buffer *dst, const void *src,
                                                          const struct ferry_block *blocks,
                                                          size_t count);
/* The buffer comes first, as in ferry_copy_to_host. */
FERRY_CHECK enum ferry_status ferry_copy_blocks_to_host(ferry_buffer *src, void *dst,
                                                        const struct ferry_block *blocks,
                                                        size_t count);
/* Any pair of buffers. Within one a block may overlap itself, as memmove, and others, in order. */
FERRY_CHECK enum ferry_status ferry_copy_blocks(ferry_buffer *dst, ferry_buffer *src,
                                                const struct ferry_block *blocks, size_t count);

/* Rows of a matrix, or a part of one: the i-th goes from src_offset + i * src_stride to dst_offset + i
 * * dst_stride. Strides may be anything, also 0. */
struct ferry_rows {
    size_t rows, row_size; /* how many, and the bytes of each */
    size_t dst_offset, dst_stride, src_offset, src_stride;
};

FERRY_CHECK enum ferry_status ferry_copy_rows_from_host(ferry_buffer *dst, const void *src,
                                                        const struct ferry_rows *rows);
FERRY_CHECK enum ferry_status ferry_copy_rows_to_host(ferry_buffer *src, void *dst,
                                                      const struct ferry_rows *rows);
FERRY_CHECK enum ferry_status ferry_copy_rows(ferry_buffer *dst, ferry_buffer *src,
                                              const struct ferry_rows *rows);

/* ---------------------------------------------------------------------------------------------
 * Operations that do not wait
 *
 * Arguments are checked at the call: a call that returns an error has done nothing, has no ticket
 * and no callback. Otherwise the operation completes later, without any further call.
 *
 * Host memory is the caller's again when the operation is done. Until then nobody may write the
 * source of an upload or touch the destination of a download. A fill's pattern is copied at the
 * call. The ticket and the callback report the operation's result: OK, OUT_OF_HOST_MEMORY,
 * OUT_OF_DEVICE_MEMORY, DEVICE_LOST, EXECUTION_FAILED, IO or INTERNAL. A failure with neither
 * ticket nor callback is logged at ERROR.
 * --------------------------------------------------------------------------------------------- */

/* A number that stands for an operation: nothing to destroy. 0 is always done. */
typedef uint64_t ferry_ticket;

/*
 * Called exactly once for an operation that was submitted with it, when it is done: on a thread of
 * the device's own, never the caller's; one at a time per device; after the callbacks of what the
 * operation depended on. ferry_last_error() holds the reason of a failure. All functions but those
 * that wait may be called; those return IN_CALLBACK.
 */
typedef void (*ferry_callback)(enum ferry_status status, ferry_ticket ticket, void *user);

/* cb and out_ticket may be NULL. */
FERRY_CHECK enum ferry_status ferry_copy_from_host_async(ferry_buffer *dst, const void *src,
                                                         size_t size, size_t dst_offset,
                                                         ferry_callback cb, void *user,
                                                         ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_copy_to_host_async(ferry_buffer *src, void *dst, size_t size,
                                                       size_t src_offset, ferry_callback cb,
                                                       void *user, ferry_ticket *out_ticket);
/* Between two devices: the ticket and the callback are of dst's device. */
FERRY_CHECK enum ferry_status ferry_copy_buffer_async(ferry_buffer *dst, ferry_buffer *src,
                                                      size_t size, size_t dst_offset,
                                                      size_t src_offset, ferry_callback cb,
                                                      void *user, ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_zero_buffer_async(ferry_buffer *buffer, ferry_callback cb,
                                                      void *user, ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_fill_buffer_async(ferry_buffer *buffer, size_t size,
                                                      size_t offset, const void *pattern,
                                                      size_t pattern_size, ferry_callback cb,
                                                      void *user, ferry_ticket *out_ticket);
/* Scattered blocks and rows: as those that wait, and the list is copied at the call. */
FERRY_CHECK enum ferry_status ferry_copy_blocks_from_host_async(ferry_buffer *dst, const void *src,
                                                                const struct ferry_block *blocks,
                                                                size_t count, ferry_callback cb,
                                                                void *user,
                                                                ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_copy_blocks_to_host_async(ferry_buffer *src, void *dst,
                                                              const struct ferry_block *blocks,
                                                              size_t count, ferry_callback cb,
                                                              void *user, ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_copy_blocks_async(ferry_buffer *dst, ferry_buffer *src,
                                                      const struct ferry_block *blocks,
                                                      size_t count, ferry_callback cb, void *user,
                                                      ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_copy_rows_from_host_async(ferry_buffer *dst, const void *src,
                                                              const struct ferry_rows *rows,
                                                              ferry_callback cb, void *user,
                                                              ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_copy_rows_to_host_async(ferry_buffer *src, void *dst,
                                                            const struct ferry_rows *rows,
                                                            ferry_callback cb, void *user,
                                                            ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_copy_rows_async(ferry_buffer *dst, ferry_buffer *src,
                                                    const struct ferry_rows *rows,
                                                    ferry_callback cb, void *user,
                                                    ferry_ticket *out_ticket);

/*
 * Waits until the operation is done: its bytes are at their destination and host memory is the
 * caller's again. Returns the operation's own status, however often and however late it is asked;
 * TIMEOUT; INVALID_ARGUMENT for a ticket of another device or one never issued, as far as its number
 * shows: one with this device's mark and below the latest number of the process counts as done. Its
 * callback may not have run yet (see ferry_wait_idle). In a callback: IN_CALLBACK, unless timeout_ns
 * is 0.
 */
FERRY_CHECK enum ferry_status ferry_wait(ferry_device *device, ferry_ticket ticket,
                                         uint64_t timeout_ns);

/*
 * One ticket for all that is in flight on [offset, offset + size) of a buffer (size 0: to its end),
 * whoever started it; 0 if nothing is. It is done when all of that is done, and its status is that of the
 * first of them, by ticket, that fails; what is called later does not count. Does not wait. Asking
 * again while nothing changed gives the same ticket, and allocates nothing. Past the end:
 * OUT_OF_RANGE.
 */
FERRY_CHECK enum ferry_status ferry_buffer_ticket(ferry_buffer *buffer, size_t offset, size_t size,
                                                  ferry_ticket *out_ticket);

/*
 * Several tickets of one device at once, waited for under one timeout. A ticket of another device is
 * INVALID_ARGUMENT before any wait. In a callback: IN_CALLBACK, unless timeout_ns is 0.
 *
 * wait_all waits for all; TIMEOUT, or else the status of the first that failed, in the order given,
 * with its reason. No tickets: OK. wait_any waits until one is done, whether well or not (ferry_poll
 * tells), and writes which to *out_index, the first of several. No tickets: INVALID_ARGUMENT.
 */
FERRY_CHECK enum ferry_status ferry_wait_all(ferry_device *device, const ferry_ticket *tickets,
                                             size_t count, uint64_t timeout_ns);
FERRY_CHECK enum ferry_status ferry_wait_any(ferry_device *device, const ferry_ticket *tickets,
                                             size_t count, uint64_t timeout_ns, size_t *out_index);

/*
 * OK, PENDING, the operation's error, or INVALID_ARGUMENT. Never waits. A failure is reported as long
 * as the device is open, however late; its reason is kept while it is among the latest 4096, and
 * after that ferry_last_error() says that it is no longer kept.
 */
FERRY_CHECK enum ferry_status ferry_poll(ferry_device *device, ferry_ticket ticket);

/* Waits until all operations submitted before this call are done and their callbacks have returned.
 * Failures are reported by their tickets, not here. In a callback: IN_CALLBACK. */
FERRY_CHECK enum ferry_status ferry_wait_idle(ferry_device *device);

/* ---------------------------------------------------------------------------------------------
 * Batches: many operations, one submission, one ticket
 *
 * Effects are as if the operations were done one after another in the order added. A batch holds
 * buffers of one device, and takes its place in the order when it is submitted. Uploads may read
 * their source any time from submit until done; downloads are there when it is done. One batch is
 * used by one thread at a time. An operation that is refused leaves the batch as it was. A buffer
 * in a batch may be destroyed; the batch keeps what it needs.
 * --------------------------------------------------------------------------------------------- */

FERRY_CHECK enum ferry_status ferry_batch_create(ferry_device *device, ferry_batch **out_batch);
FERRY_API void ferry_batch_destroy(ferry_batch *batch); /* NULL allowed; submitted work goes on */
FERRY_CHECK enum ferry_status ferry_batch_copy_from_host(ferry_batch *batch, ferry_buffer *dst,
                                                         const void *src, size_t size,
                                                         size_t dst_offset);
FERRY_CHECK enum ferry_status ferry_batch_copy_to_host(ferry_batch *batch, ferry_buffer *src,
                                                       void *dst, size_t size, size_t src_offset);
FERRY_CHECK enum ferry_status ferry_batch_copy_buffer(ferry_batch *batch, ferry_buffer *dst,
                                                      ferry_buffer *src, size_t size,
                                                      size_t dst_offset, size_t src_offset);
FERRY_CHECK enum ferry_status ferry_batch_zero_buffer(ferry_batch *batch, ferry_buffer *buffer);
FERRY_CHECK enum ferry_status ferry_batch_fill_buffer(ferry_batch *batch, ferry_buffer *buffer,
                                                      size_t size, size_t offset,
                                                      const void *pattern, size_t pattern_size);
/* Scattered blocks and rows. Lists that are added one after another, between the same two places, go
 * as one where they touch nothing of each other's; so do 16 and more copies of at most 64 KiB. */
FERRY_CHECK enum ferry_status ferry_batch_copy_blocks_from_host(ferry_batch *batch,
                                                                ferry_buffer *dst, const void *src,
                                                                const struct ferry_block *blocks,
                                                                size_t count);
FERRY_CHECK enum ferry_status ferry_batch_copy_blocks_to_host(ferry_batch *batch, ferry_buffer *src,
                                                              void *dst,
                                                              const struct ferry_block *blocks,
                                                              size_t count);
FERRY_CHECK enum ferry_status ferry_batch_copy_blocks(ferry_batch *batch, ferry_buffer *dst,
                                                      ferry_buffer *src,
                                                      const struct ferry_block *blocks,
                                                      size_t count);
FERRY_CHECK enum ferry_status ferry_batch_copy_rows_from_host(ferry_batch *batch, ferry_buffer *dst,
                                                              const void *src,
                                                              const struct ferry_rows *rows);
FERRY_CHECK enum ferry_status ferry_batch_copy_rows_to_host(ferry_batch *batch, ferry_buffer *src,
                                                            void *dst,
                                                            const struct ferry_rows *rows);
FERRY_CHECK enum ferry_status ferry_batch_copy_rows(ferry_batch *batch, ferry_buffer *dst,
                                                    ferry_buffer *src,
                                                    const struct ferry_rows *rows);

/* Submits, and leaves the batch empty, ready for reuse; on failure it keeps its operations. An
 * empty batch is done at once. Does not wait. */
FERRY_CHECK enum ferry_status ferry_batch_submit(ferry_batch *batch, ferry_callback cb, void *user,
                                                 ferry_ticket *out_ticket);

/* Submits, and waits until all of it is done: the calling thread does the engine's work meanwhile, so
 * that no other thread is woken. The status is what ferry_wait would return. The batch is empty then,
 * also if an operation failed; it keeps its operations if it could not be submitted. In a callback:
 * IN_CALLBACK. */
FERRY_CHECK enum ferry_status ferry_batch_run(ferry_batch *batch);

/* ---------------------------------------------------------------------------------------------
 * Files
 *
 * Operations like the others: [file_offset, file_offset + size) of an open file to or from
 * [offset, offset + size) of the buffer. A file is read straight into memory that the device copies
 * from, or into the buffer's own where the host reaches that, in several pieces at once and while
 * the device copies others; no operation waits for a disk but those on the same buffer.
 *
 * fd is borrowed: it must stay open until the operation is done. Its own position is neither used
 * nor moved. It must be a regular file or a block device; anything else (a folder, a pipe, a socket,
 * a terminal, an event) is UNSUPPORTED. A number that is not an open file, a file that is not open
 * for reading (or writing), or one to be written that is open for appending, is INVALID_ARGUMENT. If
 * fd was opened for direct I/O (O_DIRECT), the bytes are moved that way, at any offset and size; only
 * the parts of blocks at the ends of what is written go through the system's cache. Files share the
 * staging that they are moved through: reads of one that does not answer may hold up operations on
 * other files, and nothing else.
 *
 * IO: the file ends before file_offset + size (at the call, where that is known then), or cannot be
 * read or written: ferry_last_error() names the place and the reason. After a failed write the
 * range in the file may hold anything. A file is not tracked: while an operation reads a part of it
 * nobody may write there, and while one writes a part nobody may read or write there, other
 * operations included.
 * Nothing is synced (fsync).
 * --------------------------------------------------------------------------------------------- */

FERRY_CHECK enum ferry_status ferry_copy_from_file(ferry_buffer *buffer, int fd,
                                                   uint64_t file_offset, size_t size,
                                                   size_t offset);
FERRY_CHECK enum ferry_status ferry_copy_to_file(ferry_buffer *buffer, int fd, uint64_t file_offset,
                                                 size_t size, size_t offset);
FERRY_CHECK enum ferry_status ferry_copy_from_file_async(ferry_buffer *buffer, int fd,
                                                         uint64_t file_offset, size_t size,
                                                         size_t offset, ferry_callback cb,
                                                         void *user, ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_copy_to_file_async(ferry_buffer *buffer, int fd,
                                                       uint64_t file_offset, size_t size,
                                                       size_t offset, ferry_callback cb, void *user,
                                                       ferry_ticket *out_ticket);
/* Small items of a batch that lie near each other in one file are read as one. */
FERRY_CHECK enum ferry_status ferry_batch_copy_from_file(ferry_batch *batch, ferry_buffer *buffer,
                                                         int fd, uint64_t file_offset, size_t size,
                                                         size_t offset);
FERRY_CHECK enum ferry_status ferry_batch_copy_to_file(ferry_batch *batch, ferry_buffer *buffer,
                                                       int fd, uint64_t file_offset, size_t size,
                                                       size_t offset);

/* ---------------------------------------------------------------------------------------------
 * Host memory that the device can reach at full speed
 * --------------------------------------------------------------------------------------------- */

/* Page-aligned, cached, coherent host memory, until ferry_host_free or ferry_device_close. Transfers
 * from and to it need no staging. Its bytes are undefined, and may be old ones of this process, unless
 * the device was opened with zeroed. */
FERRY_CHECK enum ferry_status ferry_host_alloc(ferry_device *device, size_t size,
                                               void **out_memory);

/* NULL is allowed. Memory that operations still use is freed after them. */
FERRY_API void ferry_host_free(ferry_device *device, void *memory);

enum ferry_host_flag {
    FERRY_HOST_READ_ONLY = 1, /* the memory may not be written: it is a source of uploads only */
};

/*
 * Tells the device of host memory that many transfers will use, so that they need no staging. Any
 * address and size. Where the device cannot import it this succeeds all the same, is counted as a
 * fallback, and transfers are staged. Ranges that overlap a registered one are INVALID_ARGUMENT.
 */
FERRY_CHECK enum ferry_status ferry_host_register(ferry_device *device, void *memory, size_t size,
                                                  unsigned flags);

/* memory: the exact address that was registered. Waits for the operations on it; in a callback
 * IN_CALLBACK. Do not free the memory until this returns. */
FERRY_CHECK enum ferry_status ferry_host_unregister(ferry_device *device, void *memory);

/* ---------------------------------------------------------------------------------------------
 * External work: your own GPU work on Ferry's buffers, as one more operation in Ferry's order
 *
 *   begin  ->  your queue waits for each of waits, works, signals signal  ->  end, once submitted
 *
 * Where the driver has no events (signal.event is 0): ferry_wait(ready), work, then end, when the
 * work is done. Later operations on those bytes wait for it, on the device where that is possible.
 * They wait in their queue, so what is behind them there waits too, even if it uses other bytes.
 * If your work failed or is never submitted, end it with the error: Ferry signals the event itself,
 * and what reads bytes that it writes fails.
 * --------------------------------------------------------------------------------------------- */

enum ferry_access { FERRY_ACCESS_READ = 1, FERRY_ACCESS_WRITE = 2 };

/* A part of a buffer that external work uses: [offset, offset + size), in bytes. A size of 0 means to
 * the buffer's end, so with offset 0 all of it. */
struct ferry_use {
    ferry_buffer *buffer;
    unsigned access; /* FERRY_ACCESS_READ, FERRY_ACCESS_WRITE or both */
    size_t offset, size;
};

/* Metal: id<MTLSharedEvent>; Vulkan: a timeline VkSemaphore; host, CUDA (but see
 * ferry/cuda.h): event 0. Borrowed until the external work's ticket is done: then Ferry uses it
 * again, with greater values. */
struct ferry_sync {
    uint64_t event, value;
};

struct ferry_external {
    ferry_ticket ready;  /* done when all that the work depends on is done; its failure, if so */
    ferry_ticket ticket; /* done when the work is done */
    size_t wait_count;
    struct ferry_sync waits[4], signal;
};

/*
 * Begins external work on these parts of buffers. Returns once all that it depends on has been handed
 * to the device; in a callback IN_CALLBACK. Until it has ended those bytes are busy, and no others.
 * A part that exceeds its buffer is OUT_OF_RANGE. WRITE without READ promises that the work writes all
 * of the part: if it ends well, failed writes before it are forgotten there.
 */
FERRY_CHECK enum ferry_status ferry_external_begin(ferry_device *device,
                                                   const struct ferry_use *uses, size_t count,
                                                   struct ferry_external *out_external);

/*
 * Ends it: ticket as begin gave it, status OK, EXECUTION_FAILED, DEVICE_LOST, IO or INTERNAL. Any
 * other, and a second end, is INVALID_ARGUMENT. A lost device ends it by itself: then this is
 * DEVICE_LOST.
 */
FERRY_CHECK enum ferry_status ferry_external_end(ferry_device *device, ferry_ticket ticket,
                                                 enum ferry_status status);

/* ---------------------------------------------------------------------------------------------
 * Metrics
 * --------------------------------------------------------------------------------------------- */

enum ferry_operation {
    FERRY_OPERATION_UPLOAD,
    FERRY_OPERATION_DOWNLOAD,
    FERRY_OPERATION_COPY,
    FERRY_OPERATION_FILL,
    FERRY_OPERATION_COUNT
};

/* "upload", "download", ... A static string, never NULL. */
FERRY_API const char *ferry_operation_name(enum ferry_operation operation);

/* Bucket i counts the operations that took at most FERRY_TIME_BUCKET_NS << (2 * i), the last all. */
#define FERRY_TIME_BUCKETS 12
#define FERRY_TIME_BUCKET_NS 1000

/* One operation on one path. Direct operations of at most 64 KiB are counted but not timed. */
struct ferry_operation_stats {
    uint64_t operations, bytes, errors;
    uint64_t timed, time_ns;              /* how many were timed, and their time together */
    uint64_t buckets[FERRY_TIME_BUCKETS]; /* of the timed ones; not cumulative */
};

/* Bucket i counts the submissions of at most 1 << (2 * i) operations, the last all. */
#define FERRY_COUNT_BUCKETS 8

enum { FERRY_OPERATIONS_MAX = 8, FERRY_PATHS_MAX = 16 }; /* what there is room for */

/* Grows at its end only: pass sizeof *out to ferry_device_get_stats. docs/metrics.md lists it. */
struct ferry_stats {
    struct ferry_operation_stats operations[FERRY_OPERATIONS_MAX][FERRY_PATHS_MAX];
#define FERRY_STAT(field, kind, unit, help) uint64_t field;
#define FERRY_STAT_HISTOGRAM(field, sum, help) uint64_t field[FERRY_COUNT_BUCKETS];
#include <ferry/stats.inc>
#undef FERRY_STAT
};

/* Copies at most size bytes: a program built against an older header gets what it knows. */
FERRY_API void ferry_device_get_stats(ferry_device *device, struct ferry_stats *out_stats,
                                      size_t size);

/* Counters start from 0 again, peaks from the value now. */
FERRY_API void ferry_device_reset_stats(ferry_device *device);

enum ferry_stats_format { FERRY_STATS_PROMETHEUS, FERRY_STATS_JSON };

/* Like snprintf: writes at most capacity bytes with the closing 0, and the length without it to
 * *out_size. out may be NULL if capacity is 0. */
FERRY_CHECK enum ferry_status ferry_stats_format(const struct ferry_stats *stats,
                                                 enum ferry_stats_format format, char *out,
                                                 size_t capacity, size_t *out_size);

/* The statistics of a device, and the name that tells it from others. */
struct ferry_named_stats {
    const char *name; /* any text */
    const struct ferry_stats *stats;
};

/* Several devices in one text, as one answer to Prometheus has to be: each sample has the label
 * device, the name, which no two should share. The JSON is an array of objects that begin with
 * "device". Else like ferry_stats_format. */
FERRY_CHECK enum ferry_status ferry_stats_format_named(const struct ferry_named_stats *named,
                                                       size_t count, enum ferry_stats_format format,
                                                       char *out, size_t capacity,
                                                       size_t *out_size);

/* ---------------------------------------------------------------------------------------------
 * What would happen (docs/blocks.md)
 * --------------------------------------------------------------------------------------------- */

struct ferry_explanation {
    enum ferry_path path;
    char engine[16];           /* what carries it out: "cpu", "copy", "kernel", "none" */
    uint64_t bytes_per_second; /* what such operations reached here so far; 0: not known */
    char reason[256];          /* why; where a slower way is taken, which condition is missing */
    uint64_t reserved[8];
};

/* Which path count blocks of block_size bytes would take, as a list, or as a batch of that many copies
 * between the same two places (count 1: one range), if nothing in flight touches the bytes. buffer
 * NULL: an ordinary private one. host: where the first block lies; NULL: in ordinary host memory.
 * Nothing is moved. */
FERRY_CHECK enum ferry_status ferry_explain(ferry_device *device, const ferry_buffer *buffer,
                                            enum ferry_operation operation, const void *host,
                                            size_t block_size, size_t count,
                                            struct ferry_explanation *out);

#ifdef __cplusplus
}
#endif

#endif
