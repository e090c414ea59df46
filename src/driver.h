/*
 * What a driver does: gets memory, runs lists of copies and fills, says how each submission ended.
 * docs/drivers.md tells how to write one. The layers above check, count, stage and track hazards.
 *
 * Threads: open and close of a device run alone; devices are opened, closed and listed by several
 * threads at once, submit by one thread at a time for each queue, all else from any at any time.
 */
#ifndef FERRY_DRIVER_H
#define FERRY_DRIVER_H

#include "base/block_list.h"

#include <ferry/ferry.h>

enum { FERRY__QUEUES_MAX = 8, FERRY__PATTERN_MAX = 16, FERRY__WHY_MAX = 160 };

enum ferry__memory_kind {
    FERRY__MEMORY_PRIVATE,  /* fastest for the device */
    FERRY__MEMORY_SHARED,   /* host pointer, coherent; cached where there is a choice */
    FERRY__MEMORY_UPLOAD,   /* host pointer, written by the host; need not be cached */
    FERRY__MEMORY_READBACK, /* host pointer, read by the host: cached */
    FERRY__MEMORY_COUNT
};

/* One native allocation, or an import of the caller's memory. */
struct ferry__memory {
    void *native;    /* the driver's own */
    uint64_t offset; /* in the native object (imports: 0); a multiple of FERRY_BUFFER_ALIGNMENT */
    uint64_t size;
    unsigned char *host;     /* where the CPU reaches it, for its whole life; NULL: it cannot */
    bool coherent;           /* no flush or invalidate needed */
    bool cached;             /* the CPU reads it at full speed */
    bool zeroed;             /* it is known to hold zeros */
    bool no_kernel, by_list; /* kernels do not reach it, or by lists only; not with words */
};

/* What a queue is for. Each can copy and fill; the engine picks the first with the role. */
enum ferry__role {
    FERRY__ROLE_UPLOAD = 1,
    FERRY__ROLE_DOWNLOAD = 2,
    FERRY__ROLE_COPY = 4,   /* copies between buffers, and fills */
    FERRY__ROLE_KERNEL = 8, /* runs FERRY__ENGINE_KERNEL commands */
};

enum ferry__engine {
    FERRY__ENGINE_COPY,   /* the copy or fill command, within its alignments and pattern */
    FERRY__ENGINE_KERNEL, /* a compute kernel: any alignment, any pattern; only if has_kernel */
};

struct ferry__limits {
    uint32_t copy_alignment; /* offsets and size of a copy are multiples of it; a power of 2 */
    uint32_t fill_alignment; /* likewise of a fill */
    uint32_t fill_pattern;   /* longest pattern of a fill, a power of 2; 0: no fill command */
    uint64_t max_copy;       /* longest single copy or fill: a multiple of both alignments */
    uint64_t max_allocation; /* longest single allocation, as far as is known */
    uint64_t total_memory;
    uint64_t import_granularity;       /* 0: no imports */
    bool import_cheap, import_lasting; /* pays for one transfer; for what is kept */
    bool has_kernel, kernels_later;    /* kernels() is to be asked for them first */
    uint64_t kernel_copy_from; /* aligned copies of this many bytes go by the kernel; 0: none */
    bool kernel_decided;       /* by the user, or by the driver's measuring: the engine does not */
    uint32_t blocks_max, block_size_max; /* of a FERRY__BLOCKS; 0: none come; a power of 2 */
    uint64_t blocks_copy_from;           /* longer blocks are faster by copy commands; 0: none */
    uint32_t atom;                       /* flush and invalidate ranges are multiples of it */
    bool whole_readback;   /* the host gets all of readback memory, where it is not coherent */
    bool has_events;       /* queue and event handles mean something to the user's own API */
    bool polls;            /* wait_any asks all the time: who waits there submits for others, too */
    bool events_by_stream; /* no, but ferry/cuda.h records them: nothing is waited for before */
    char pci[16];          /* its address as sysfs has it, "0000:3b:00.0"; "": not known */
    uint32_t queue_count;
    struct {
        uint64_t event; /* the handle whose value each submission raises */
        unsigned roles;
    } queues[FERRY__QUEUES_MAX];
};

enum ferry__command_kind { FERRY__COPY, FERRY__FILL, FERRY__BLOCKS };
enum { FERRY__BLOCKS_BYTES_MAX = 256 << 20 };

/* One copy or fill: in bounds, within the limits of its engine, never overlapping itself. */
struct ferry__command {
    enum ferry__command_kind kind;
    enum ferry__engine engine;
    bool barrier; /* sees all that commands before it wrote, and they have read what it writes;
                     commands without a barrier between them touch nothing of each other's */
    uint8_t pattern_size;
    uint8_t pattern[FERRY__PATTERN_MAX]; /* begins at dst_offset */
    const struct ferry__memory *dst, *src;
    uint64_t dst_offset, src_offset; /* in the ferry__memory, whose own offset is to be added */
    uint64_t size;                   /* of a list the sum, at most FERRY__BLOCKS_BYTES_MAX */
    struct ferry__block_list list;
};

/* How a submission ended. The driver writes it before completed() reports the value. */
struct ferry__result {
    enum ferry_status status; /* OK, OUT_OF_*_MEMORY, DEVICE_LOST, EXECUTION_FAILED, INTERNAL */
    uint64_t device_ns;       /* time the device worked on it; 0: not known */
    char why[FERRY__WHY_MAX]; /* the reason of a failure */
};

struct ferry__submission_info {
    unsigned queue;
    const struct ferry__command *commands; /* live until submit returns */
    size_t count;                          /* over 0 */
    const struct ferry_sync *waits;        /* reached before the first command, by us or the user */
    size_t wait_count;
    uint64_t value; /* to raise the queue's event to, when done or failed; grows by 1 */
    struct ferry__result *result; /* lives until the value is reached, or close */
};

struct ferry__open_params {
    unsigned index; /* in the driver's list */
    enum ferry_map map_private;
    uint32_t queues;     /* at most; 0: the driver's choice */
    bool no_kernel;      /* kernels do only what commands cannot */
    const void *wrapped; /* the user's own device (ferry/vulkan.h, ferry/metal.h); NULL: none */
};

/* Failing functions write the reason to why, of FERRY__WHY_MAX bytes. */
struct ferry__driver {
    const char *name;
    /* Writes at most capacity entries, the best first, and how many there are; fills in all but
     * name, reason and paths. None: NO_DEVICE where there is nothing of its kind, OUT_OF_*_MEMORY
     * where it could not look, else what is wrong with what there is. */
    enum ferry_status (*list)(struct ferry_device_info *infos, size_t capacity, size_t *out_count,
                              char *why);
    enum ferry_status (*open)(const struct ferry__open_params *params, void **out_state,
                              struct ferry__limits *out_limits, char *why);
    void (*close)(void *state); /* all is done, all memory is freed */

    /* OK, or DEVICE_LOST for ever. Before anybody is told of a loss, here or by a refusal, every
     * submission has ended, touches memory no more, and has its result; completed tells each. */
    enum ferry_status (*status)(void *state);

    /* out_memory->size is at least size. OUT_OF_DEVICE_MEMORY and OUT_OF_HOST_MEMORY are normal. */
    enum ferry_status (*memory_alloc)(void *state, enum ferry__memory_kind use, uint64_t size,
                                      const char *label, struct ferry__memory *out_memory,
                                      char *why);
    /* Imports too. What may wait for the device is left to a thread of the driver's. */
    void (*memory_free)(void *state, struct ferry__memory *memory);

    /* As memory_free for an import of pages that Ferry mapped, which are unmapped once the device
     * knows them no more. Optional: NULL where that is when memory_free returns. */
    void (*memory_free_pages)(void *state, struct ferry__memory *memory, void *pages,
                              uint64_t size);

    /* Waits until all that memory_free was given is given back. Optional: where that is at once. */
    void (*memory_settle)(void *state);

    /* host and size are multiples of import_granularity. Every refusal is a normal outcome.
     * Optional: NULL if import_granularity is 0. */
    enum ferry_status (*host_import)(void *state, void *host, uint64_t size, bool read_only,
                                     struct ferry__memory *out_memory, char *why);

    /* Host memory that others have made known to the device. OK: the device reaches all of it as it
     * is, and memory_free leaves it so. INVALID_ARGUMENT: it is no host memory at all. UNSUPPORTED:
     * neither, or out_memory is NULL. Optional. */
    enum ferry_status (*host_find)(void *state, const void *host, uint64_t size,
                                   struct ferry__memory *out_memory, char *why);

    const struct ferry__sharing *sharing; /* with others; NULL: none */

    /* Where memory begins for the blocks of lists, which hold addresses then: lists that lie end to
     * end, without a barrier between, may be one. Optional. */
    uint64_t (*address)(const struct ferry__memory *memory);
    /* For memory that is not coherent, in multiples of atom. Optional. */
    enum ferry_status (*flush)(void *state, const struct ferry__memory *memory, uint64_t offset,
                               uint64_t size);
    enum ferry_status (*invalidate)(void *state, const struct ferry__memory *memory,
                                    uint64_t offset, uint64_t size);
    /* Has a thread compile the kernels, if none does. True: they are there, for ever. Optional. */
    bool (*kernels)(void *state, uint64_t timeout_ns);
    /* Runs after all earlier submissions of the queue, as if in order. Does not wait. On an error
     * nothing was submitted and the value is not used up. */
    enum ferry_status (*submit)(void *state, const struct ferry__submission_info *info, char *why);
    uint64_t (*completed)(void *state, uint64_t event); /* its value: cheap */

    /* Waits until one of the points is reached, the device is lost, wake was called (since the last
     * return), or the time is over. May return early for no reason. count may be 0. */
    void (*wait_any)(void *state, const struct ferry_sync *points, size_t count,
                     uint64_t timeout_ns);
    void (*wake)(void *state);

    /* Events for external work, starting at 0; event_signal raises one from the host, if it is
     * below. NULL where has_events is false. */
    enum ferry_status (*event_create)(void *state, uint64_t *out_event, char *why);
    void (*event_destroy)(void *state, uint64_t event);
    void (*event_signal)(void *state, uint64_t event, uint64_t value);

    uint64_t (*memory_available)(void *state); /* bytes that can be allocated. Optional */
};

/* The drivers of this build, the best first; NULL ends it. */
extern const struct ferry__driver *const ferry__drivers[];
extern const char *const ferry__driver_names[];
#endif
