/*
 * What the files of the strict CUDA share.
 *
 * config.c  options, breaches, what is asked for by tests
 * entry.c   the table of functions, and what every call begins with
 * context.c devices and contexts
 * memory.c  allocations, page-locked memory, what an address is
 * virtual.c memory apart from its address, with descriptors; other APIs' memory
 * work.c    streams and their threads, events, order
 * enqueue.c copies, fills, batches and launches
 * kernel.c  the driver's kernels as C
 * list.c    what the one that copies by a list touches
 * users.c   CUDA's functions by their names, for clients of Ferry's: what they make is the user's
 */
#ifndef STRICTCUDA_SIM_H
#define STRICTCUDA_SIM_H

#include "strictcuda.h"

#include "drivers/cuda/cu.h"
#include "drivers/cuda/kernel.h"

#include <pthread.h>

enum { DEVICES_MAX = 4, STREAMS_MAX = 64, STACK_MAX = 8, BATCH_LIMIT = 4096 };

/* --- options (config.c) ------------------------------------------------------------------------ */

struct options {
    uint64_t devices, delay, memory, version, seed;
    uint64_t nobatch, nowrite, nojit, noregister, noreadonly, noshare, nopeers, badpeers,
        prohibited, pageable;
    uint64_t fail_alloc, import_fail, fail_submit, fail_exec, fail_every, lose_at;
};

/* --- contexts (context.c) ---------------------------------------------------------------------- */

struct CUctx_st {
    unsigned retained;
    cu_device device;
    cu_result sticky;
    uint64_t used;    /* bytes of device memory */
    unsigned current; /* on how many stacks it lies */
    unsigned users;   /* of them the user's own */
    unsigned peers;   /* bits: whose memory it was let reach */
};

/* Of a thread. */
struct own {
    cu_context stack[STACK_MAX];
    cu_capture_mode entered[STACK_MAX]; /* the mode when it was pushed */
    unsigned depth;
    cu_capture_mode mode;
    bool user; /* within a call of the user's: what is made is his */
};
extern _Thread_local struct own sim_own;

/* --- memory (memory.c) ------------------------------------------------------------------------- */

enum range_kind { RANGE_DEVICE, RANGE_VIRTUAL, RANGE_HOST, RANGE_REGISTERED, RANGE_MANAGED };

struct range {
    struct range *next;
    enum range_kind kind;
    cu_context context;
    cu_address base;
    size_t size;
    unsigned char *bytes; /* the store: not at base where the host is kept out */
    bool read_only;
    bool users;                      /* strictcuda_alloc's */
    bool reached;                    /* of virtual memory: cuMemSetAccess was called */
    struct allocation *allocation;   /* of virtual memory */
    struct CUextMemory_st *external; /* another API's; NULL: it is not */
    unsigned in_use;                 /* by work that has not ended */
};

/* The range that holds the address; NULL: none. */
struct range *sim_range(cu_address address);
struct range *sim_range_add(enum range_kind kind, cu_context context, size_t size);
void sim_range_drop(struct range *range);
void *sim_map(size_t size, int protection);
bool sim_has_room(cu_context context, size_t size);
bool sim_range_is_device(const struct range *range); /* no memory of the host's */

/* --- virtual memory (virtual.c) ---------------------------------------------------------------- */

void sim_allocation_unmapped(struct allocation *allocation);
/* How much of it is left; forgets all of it. */
size_t sim_virtual_left(cu_context context);
void sim_drop_virtual(cu_context context);

/* --- work (work.c) ----------------------------------------------------------------------------- */

/* One recording of an event. */
struct record {
    unsigned refs;
    bool done;
    uint64_t time_ns;
    uint64_t clock[STREAMS_MAX];
};

struct CUevent_st {
    struct CUevent_st *next;
    cu_context context;
    unsigned flags;
    struct record *record; /* NULL: never recorded */
    unsigned waited;       /* streams that wait for it and have not come that far */
};

/* A span of bytes that work touches. */
struct span {
    struct range *range; /* NULL: pageable */
    unsigned char *bytes;
    cu_address address;
    size_t size;
};

enum work_kind {
    WORK_COPY,
    WORK_FILL,
    WORK_KERNEL,
    WORK_USERS_KERNEL,
    WORK_RECORD,
    WORK_WRITE,
    WORK_WAIT,
    WORK_FAULT
};

enum { KERNEL_COPY, KERNEL_FILL, KERNEL_LIST, KERNELS }; /* as kernel.c numbers them */
enum { UNITS = 40 };                                     /* of a device */

struct work {
    struct work *next;
    enum work_kind kind;
    bool races; /* without order beside another stream's: told, and not carried out */
    struct span dst, src;
    unsigned char *copied; /* pageable memory that was read at the call */
    unsigned word, word_size;
    uint64_t value; /* written to dst */
    int kernel;     /* its number; arguments with addresses of the store */
    struct cuda_kernel_arguments arguments;
    struct cuda_list_arguments list;
    struct span listed;        /* where the list lies */
    struct cuda_piece *pieces; /* the list, as it was at the launch */
    struct cuda_piece *stored; /* the same with addresses of the store */
    struct range **ranges;     /* what its pieces lie in */
    size_t range_count;
    struct record *record;
    cu_event event;
    cu_result fault;
    uint64_t clock[STREAMS_MAX];
};

struct CUstream_st {
    struct CUstream_st *next;
    cu_context context;
    unsigned number;
    struct work *first, **last; /* the first is at work */
    uint64_t clock[STREAMS_MAX];
    pthread_t thread;
    bool closing, users;
    uintptr_t special; /* the handle that stands for it: NULL, the legacy or the thread's */
    bool hidden;       /* it is such a one */
    bool capturing;
    bool fresh; /* no work since the last recording: the next is a submission's first */
};

struct CUmod_st {
    struct CUmod_st *next;
    cu_context context;
    bool users;
    struct CUfunc_st {
        struct CUmod_st *module;
        int kernel;
    } functions[KERNELS];
};

/* --- all of it --------------------------------------------------------------------------------- */

struct sim {
    pthread_mutex_t lock; /* guards all of it */
    pthread_cond_t changed;
    bool initialised;
    long process;
    struct options options;
    uint64_t random;
    struct CUctx_st contexts[DEVICES_MAX];
    struct range *ranges;
    uint64_t unmapped; /* registrations that ended after their memory */
    cu_event events;
    cu_stream streams;
    cu_module modules;
    bool hold, pause, capture;
    unsigned waiting;
    size_t numbers_used[STREAMS_MAX];
};
extern struct sim sim;

uint64_t sim_random(void); /* under the lock */
/* Counts down an option: is it this one that fails? */
bool sim_fires(uint64_t *option);
/* Under the lock. */
void sim_breach(enum strictcuda_rule rule, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct options sim_options(void);

/* What a call needs. */
enum {
    NEEDS_NOTHING = 0,
    NEEDS_INIT = 1,
    NEEDS_CONTEXT = 2,
    IS_UNSAFE = 4,   /* forbidden while others capture */
    TELLS_FAULT = 8, /* says what stuck */
};
/* Every function begins with it. CU_SUCCESS: the lock is taken, and given up by sim_end. */
cu_result sim_begin(const char *function, unsigned needs);
cu_result sim_end(cu_result result);
cu_context sim_current(void);

/* Functions, as functions.inc has them. */
#define SIM(name, version, parameters) cu_result sim_##name##_##version parameters;
#define NEEDED SIM
#define OPTIONAL SIM
#include "drivers/cuda/functions.inc"
#undef NEEDED
#undef OPTIONAL
#undef SIM

/* work.c: appends to a stream; checks order against all other work. The work is its own from then on. */
cu_result sim_append(cu_stream stream, struct work *work);
/* What says how far the stream is: no part of a submission, so that no luck is tried. */
void sim_append_mark(cu_stream stream, struct work *work);
cu_stream sim_stream(cu_stream stream, const char *function); /* NULL: a breach was told */
/* Likewise, and the legacy stream is one. */
cu_stream sim_any_stream(cu_stream stream, const char *function);
/* Waits until no work of the context that is there now is left, nor any of the user's. */
void sim_wait_idle(cu_context context);
void sim_fault(cu_context context, cu_result error);
/* What is left of a context that has faulted, when it is released. */
void sim_drop_work(cu_context context);
void sim_drop_ranges(cu_context context);
void sim_drop_modules(cu_context context);

/* enqueue.c: where bytes lie; false, and a breach: not in one allocation. */
bool sim_find_span(const char *function, cu_address address, size_t size, bool written,
                   struct span *out);
/* Likewise, of that context. */
bool sim_find_span_of(cu_context context, const char *function, cu_address address, size_t size,
                      bool written, struct span *out);

/* kernel.c */
int sim_kernel_number(const char *name); /* -1: none */
bool sim_kernel_known(const void *image);
bool sim_kernel_is_users(const void *image); /* that of examples/cuda_external.c */
enum { USERS_KERNEL = 100 };                 /* its number */
void sim_kernel_add_one(unsigned char *words, size_t size);
void sim_kernel_run(const struct work *work);

/* list.c: lists of pieces */
/* What a launch by a list touches, into work; false, and a breach: it is none. */
bool sim_list_take(struct work *work, const struct cuda_list_arguments *from, unsigned groups);
/* Do two pieces of work touch the same bytes, one of them writing, piece by piece? */
bool sim_lists_conflict(const struct work *a, const struct work *b);
/* The host has left the list alone since the launch. */
bool sim_list_is_kept(const struct work *work);
void sim_list_drop(struct work *work); /* of work that is no list's: nothing */

#endif
