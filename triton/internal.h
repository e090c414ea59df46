/* What the files of libferry_triton share. Only ferry.h of the library below it is used. */
#ifndef FERRY_TRITON_INTERNAL_H
#define FERRY_TRITON_INTERNAL_H

#include "calls.h"

#include <ferry/triton.h>
#include <pthread.h>
#include <stdatomic.h>

#define FERRY_TRITON_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* --- errors (error.c) ------------------------------------------------------------------------- */

/* An error in words; the fixed one if there is no server. Never NULL. */
TRITONSERVER_Error *ferry__triton_fail(TRITONSERVER_Error_Code code, const char *format, ...)
    FERRY_TRITON_PRINTF(2, 3);

/* "WHAT: ferry_last_error()"; NULL for FERRY_OK. */
TRITONSERVER_Error *ferry__triton_status(enum ferry_status status, const char *format, ...)
    FERRY_TRITON_PRINTF(2, 3);

TRITONSERVER_Error *ferry__triton_no_memory(size_t bytes);

/* NULL is allowed. */
void ferry__triton_delete(TRITONSERVER_Error *error);

/* Words of a public struct that are for later: a caller of a later version may have set them. */
static inline bool ferry__triton_is_unused(const uint64_t *reserved, size_t count)
{
    uint64_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= reserved[i];
    return !any;
}

#define FERRY_TRITON_COUNT(array) (sizeof(array) / sizeof *(array))

/* NULL, or the error that there is no server. */
TRITONSERVER_Error *ferry__triton_need(void);

/* --- metrics (stats.c, metrics.c) ------------------------------------------------------------- */

struct ferry__triton_counters {
#define FERRY_TRITON_STAT(field, help) _Atomic uint64_t field;
#include <ferry/triton_stats.inc>
#undef FERRY_TRITON_STAT
};

extern struct ferry__triton_counters ferry__triton_counters;

#define FERRY_TRITON_ADD(field, n)                                                 \
    ((void)atomic_fetch_add_explicit(&ferry__triton_counters.field, (uint64_t)(n), \
                                     memory_order_relaxed))

/* A device's last numbers are told before it is closed; its counters begin from 0 when it is opened
 * again. */
void ferry__triton_metrics_close(const char *name, const struct ferry_stats *last);

/* --- devices (device.c) ----------------------------------------------------------------------- */

/* Calls visit for each open device. Under the registry's lock. */
void ferry__triton_each_device(void (*visit)(const char *name, ferry_device *device, void *user),
                               void *user);

/* How the moves of a kind travel on a device, as the first of them showed. */
enum ferry__triton_way {
    FERRY_TRITON_UNKNOWN,
    FERRY_TRITON_DIRECT,    /* the CPU does it, in the call */
    FERRY_TRITON_SUBMITTED, /* it is submitted: several are better done as one batch */
};

/* By the move's kind; NULL: the device is not of the registry. Valid as long as the device is. */
atomic_uchar *ferry__triton_ways(const ferry_device *device);

/* --- handles (table.c) ------------------------------------------------------------------------ */

struct ferry__triton_range {
    uintptr_t base;
    size_t size;
    ferry_buffer *buffer;
    bool is_gpu; /* base is a handle, or an address of CUDA's; else the host's */
};

/* Adds the buffer as a range at base, or, if base is 0, at numbers that are no addresses; the base,
 * or 0: no memory. */
uintptr_t ferry__triton_table_add(uintptr_t base, ferry_buffer *buffer, bool is_gpu);
bool ferry__triton_table_remove(uintptr_t base);

/* The range that holds base; false: none does. */
bool ferry__triton_table_find(uintptr_t base, struct ferry__triton_range *out);

/* Is it one of the numbers that stand for buffers? */
bool ferry__triton_is_handle(uintptr_t base);

/* --- moves (plan.c): what a gather or scatter submits ----------------------------------------- */

enum ferry__triton_move_kind {
    FERRY_TRITON_UP,
    FERRY_TRITON_DOWN,
    FERRY_TRITON_COPY,
    FERRY_TRITON_ZERO,
    FERRY_TRITON_HOST, /* from host memory to host memory, by the thread that submits */
    FERRY_TRITON_MOVE_COUNT
};

struct ferry__triton_move {
    enum ferry__triton_move_kind kind;
    ferry_buffer *dst, *src;
    void *host;       /* of UP and DOWN; not written by UP. HOST: the destination */
    const void *from; /* of HOST */
    size_t size;
    /* In the buffer; where its kind has one that is NULL, an address of CUDA's, to be wrapped. */
    size_t dst_offset, src_offset;
    uint32_t response; /* of a scatter: whose it is */
};

enum { FERRY_TRITON_FEW_MOVES = 8 };

/* A short plan, that of one request, takes no memory. */
struct ferry__triton_plan {
    ferry_device *device;
    bool is_asked; /* cuda says which of CUDA's devices it is; -1: none */
    int64_t cuda;
    ferry_buffer **wraps; /* of CUDA's memory; the plan's own, until it is submitted */
    size_t wrap_count;
    struct ferry__triton_move *moves; /* few, or malloc'd */
    size_t count, capacity;
    struct ferry__triton_move few[FERRY_TRITON_FEW_MOVES];
};

void ferry__triton_plan_init(struct ferry__triton_plan *plan, ferry_device *device);

/* NULL, or an error: no memory. Moves of 0 bytes are left out. */
TRITONSERVER_Error *ferry__triton_plan_add(struct ferry__triton_plan *plan,
                                           const struct ferry__triton_move *move);

/* Is memory of this device of CUDA's the plan's device's? */
bool ferry__triton_plan_is_on(struct ferry__triton_plan *plan, int64_t cuda);

/* Wraps a part of CUDA's memory for this plan, which keeps it. NULL: error says why. */
ferry_buffer *ferry__triton_plan_wrap(struct ferry__triton_plan *plan, uintptr_t address,
                                      size_t size, TRITONSERVER_Error **out_error);

/*
 * Wraps what is left to be, many parts in one range where they have room between them, so that they
 * go as few lists. Only the ends of a range are checked. False: there would be too many ranges, there
 * is no memory, or an end is not this device's; then none of what is read, or of what is written, has
 * its buffer.
 */
bool ferry__triton_plan_wrap_all(struct ferry__triton_plan *plan);

/* How a gather or a scatter ends: by a callback and a ticket, by waiting, or in a batch. */
struct ferry__triton_end {
    const char *what; /* for errors: "gathering" */
    bool wait;
    ferry_batch *batch; /* it is put behind what is there; wait: and all of that is carried out */
    ferry_callback cb;
    void *user;
    ferry_ticket *out_ticket;
};

/* Submits all of it as one batch and one ticket; copies between devices are joined into that, and are
 * submitted apart from the caller's batch. */
TRITONSERVER_Error *ferry__triton_plan_submit(struct ferry__triton_plan *plan,
                                              const struct ferry__triton_end *end);
void ferry__triton_plan_finish(struct ferry__triton_plan *plan);

#endif
