/*
 * What the files of the CUDA driver share. libcuda is opened at run time, so every call goes
 * through one table of functions; nothing links to it.
 *
 * loader.c  finds the functions, puts results into words
 * list.c    the devices there are
 * device.c  open and close, the context of every entry, loss
 * memory.c  allocations, registered memory, others' memory, freeing
 * share.c   memory for other processes, and theirs and Vulkan's
 * peers.c   which devices reach each other
 * queue.c   submitting, seeing that a submission has ended
 * event.c   waiting and waking
 * external.c the user's streams: waits and events of his work
 * kernel.c  the kernels that copy, fill, and copy by a list
 */
#ifndef FERRY_DRIVERS_CUDA_CUDA_INTERNAL_H
#define FERRY_DRIVERS_CUDA_CUDA_INTERNAL_H

#include "base/base.h"
#include "base/pace.h"
#include "cu.h"
#include "driver.h"

enum {
    CUDA__VERSION_NEEDED = 12000,
    CUDA__QUEUES_MAX = 3,   /* upload, download, copy */
    CUDA__DEVICES_MAX = 64, /* devices beyond are not looked at */
    CUDA__BATCH_MAX = 4096, /* copies of one cuMemcpyBatchAsync: far larger ones crash */
    CUDA__KERNELS = 3,      /* by enum ferry__command_kind */
};

/* --- loader.c --------------------------------------------------------------------------------- */

/* Opens libcuda, once, and calls cuInit; FERRY_CUDA_LIBRARY names another library. */
enum ferry_status ferry__cuda_load(struct cuda_functions *out_cu, char *why);

/* The status that a result amounts to; why: "cuX: CUDA_ERROR_Y (in CUDA's words)". why may be
 * NULL. */
enum ferry_status ferry__cuda_result(const struct cuda_functions *cu, cu_result result,
                                     const char *call, char *why);

/* Is the context of no more use, whatever is called? */
bool ferry__cuda_is_sticky(cu_result result);

/* --- list.c ----------------------------------------------------------------------------------- */

enum ferry_status ferry__cuda_list(struct ferry_device_info *infos, size_t capacity,
                                   size_t *out_count, char *why);

/* What was found of a device. */
struct cuda_found {
    cu_device device;
    int ordinal;
    struct ferry_device_info info;
};

/* The device with this number in the list. */
enum ferry_status ferry__cuda_find(const struct cuda_functions *cu, unsigned index,
                                   struct cuda_found *out, char *why);
/* The one that the user's context is of. */
enum ferry_status ferry__cuda_find_wrapped(const struct cuda_functions *cu, cu_context context,
                                           struct cuda_found *out, char *why);

/* --- device.c --------------------------------------------------------------------------------- */

/* One submission, and the events that say when it began and ended. */
struct cuda_slot {
    struct cuda_slot *next;
    cu_event begin, end, done; /* begin and end have times, done has none and costs less */
    cu_event mark;             /* end or done: recorded last; NULL: the stream itself is asked */
    bool timed;
    bool written;  /* the device writes its value to the queue's word */
    unsigned kind; /* for the pace: of its first command */
    uint64_t value;
    uint64_t bytes;
    uint64_t expected_ns;     /* when it should end, as far as can be told */
    enum ferry_status status; /* of a submission that was handed over in part */
    char why[FERRY__WHY_MAX];
    struct ferry__result *result;
};

/* The first member of what the handle of an event is the address of. */
struct cuda_point {
    bool external; /* an event of external work, else a queue */
};

/* Of external work: an event, and for which value it was recorded in the user's stream. */
struct cuda_event {
    struct cuda_point point;
    cu_event event;
    _Atomic uint64_t recorded, reached;
    _Atomic unsigned query_errors; /* in a row */
};

struct cuda_queue {
    struct cuda_point point;
    cu_stream stream;
    unsigned roles;
    pthread_mutex_t lock;    /* guards all below, but for what is atomic */
    struct cuda_slot *free;  /* LIFO */
    struct cuda_slot *first; /* in flight, oldest first */
    struct cuda_slot **last;
    struct ferry__pace pace;    /* by kinds of command, kernels apart */
    unsigned query_errors;      /* in a row */
    uint64_t asked_ns;          /* when CUDA was last asked for an end */
    _Atomic uint64_t *word;     /* that the device writes values to; NULL: it does not */
    _Atomic uint64_t submitted; /* the last value handed to the device */
    _Atomic uint64_t retired;   /* records up to this value are written */
    struct cuda_batch *batch;   /* of the thread that submits; NULL: not needed so far */
};

struct cuda {
    struct cuda_functions cu;
    cu_device device;
    int ordinal;        /* CUDA's number of it */
    cu_context context; /* the device's primary one, retained, or the user's; NULL: none yet */
    bool wrapped;       /* it is the user's */
    long process;       /* that opened it: a forked child has no CUDA */
    bool read_only_registers;
    bool shares, shares_rdma; /* memory has descriptors; that others' devices reach directly */
    uint32_t queue_count;
    struct cuda_queue queues[CUDA__QUEUES_MAX];
    struct cuda_word *words; /* of the queues: page-locked; NULL: the device writes none */

    struct {
        pthread_t thread; /* that compiles */
        bool started;
        enum ferry_status status;
        char why[FERRY__WHY_MAX];
        cu_module module; /* NULL: there are no kernels */
        cu_function functions[CUDA__KERNELS];
        unsigned units; /* that the device has */
        bool copies;    /* they may do what commands can */
    } kernels;

    uint64_t serial; /* of all that were opened */
    struct {
        pthread_mutex_t lock;                /* guards all of it */
        uint64_t serials[CUDA__DEVICES_MAX]; /* who was asked about, by its ordinal */
        bool reached[CUDA__DEVICES_MAX];
    } peers;

    _Atomic bool lost;
    struct {
        pthread_mutex_t lock; /* guards all of it */
        pthread_cond_t cond;
        _Atomic uint64_t calls; /* of wake; written under the lock */
        uint64_t seen;
        char lost_why[FERRY__WHY_MAX];
    } wake;

    struct {
        pthread_mutex_t lock; /* guards all of it */
        pthread_cond_t work, idle;
        struct cuda_memory *first; /* to be freed */
        pthread_t thread;
        bool started, busy, closing;
        _Atomic uint64_t given_back; /* how often */
    } freeing;
};

enum ferry_status ferry__cuda_open(const struct ferry__open_params *params, void **out_state,
                                   struct ferry__limits *out_limits, char *why);
void ferry__cuda_close(void *state);
enum ferry_status ferry__cuda_status(void *state);

/* Every call of CUDA's stands between enter and leave: the device's context is the thread's, and
 * what another thread captures forbids nothing. What the thread had before comes back. */
struct cuda_scope {
    cu_capture_mode mode;
};
enum ferry_status ferry__cuda_enter(struct cuda *c, struct cuda_scope *out_scope, char *why);
void ferry__cuda_leave(struct cuda *c, struct cuda_scope *scope);

/* As ferry__cuda_result; a device that is lost stays lost, and whoever waits is woken. */
enum ferry_status ferry__cuda_fail(struct cuda *c, cu_result result, const char *call, char *why);

/* Why the device is lost. */
void ferry__cuda_lost_why(struct cuda *c, char *why);
void ferry__cuda_lose(struct cuda *c, const char *why);

/* Is this another process than the one that opened the device? */
bool ferry__cuda_forked(const struct cuda *c);

/* --- memory.c --------------------------------------------------------------------------------- */

enum cuda_kind {
    CUDA_DEVICE,
    CUDA_HOST,
    CUDA_REGISTERED,
    CUDA_OTHERS,
    CUDA_VIRTUAL, /* mapped: for other processes, or theirs */
    CUDA_EXTERNAL /* Vulkan's */
};

/* ferry__memory's native object. */
struct cuda_memory {
    struct cuda_memory *next;            /* to be freed */
    struct cuda_memory *registered_next; /* of what the driver has registered */
    uint64_t leaving;                    /* 0: it is not to be unregistered yet */
    void *pages;                         /* of Ferry's, to be unmapped then; NULL: none */
    uint64_t pages_size;
    enum cuda_kind kind;
    cu_context context; /* that it is of */
    cu_address address; /* for copies, fills and kernels */
    void *host;         /* NULL: the host does not reach it */
    uint64_t size;      /* of virtual and external memory */
    cu_memory memory;
    cu_external external;
    int kept; /* of what was imported: its descriptor and 1; 0: none */
};

enum ferry_status ferry__cuda_memory_alloc(void *state, enum ferry__memory_kind use, uint64_t size,
                                           const char *label, struct ferry__memory *out_memory,
                                           char *why);
void ferry__cuda_memory_free(void *state, struct ferry__memory *memory);
void ferry__cuda_memory_free_pages(void *state, struct ferry__memory *memory, void *pages,
                                   uint64_t size);
void ferry__cuda_memory_settle(void *state);
/* Before an address is had of CUDA: nothing else may be registered there still. */
void ferry__cuda_registered_settle(void);
enum ferry_status ferry__cuda_host_import(void *state, void *host, uint64_t size, bool read_only,
                                          struct ferry__memory *out_memory, char *why);
enum ferry_status ferry__cuda_host_find(void *state, const void *host, uint64_t size,
                                        struct ferry__memory *out_memory, char *why);
/* Device memory that is the user's, as it is. INVALID_ARGUMENT: it is none of this device. */
enum ferry_status ferry__cuda_memory_wrap(void *state, cu_address address, uint64_t size,
                                          struct ferry__memory *out_memory, char *why);
uint64_t ferry__cuda_memory_available(void *state);
int ferry__cuda_freeing_init(struct cuda *c); /* 0, or an errno */
void ferry__cuda_freeing_finish(struct cuda *c);

/* --- share.c ---------------------------------------------------------------------------------- */

extern const struct ferry__sharing ferry__cuda_sharing;
/* Within enter and leave: what the device can share. */
void ferry__cuda_share_init(struct cuda *c);
/* Within enter and leave: gives virtual or external memory back. */
cu_result ferry__cuda_share_drop(struct cuda *c, const struct cuda_memory *memory,
                                 const char **out_call);

/* --- peers.c ---------------------------------------------------------------------------------- */

int ferry__cuda_peers_init(struct cuda *c); /* 0, or an errno */
void ferry__cuda_peers_finish(struct cuda *c);
bool ferry__cuda_reaches(void *state, void *other);

/* --- queue.c ---------------------------------------------------------------------------------- */

/* Within enter and leave, like all below. */
enum ferry_status ferry__cuda_queue_init(struct cuda *c, struct cuda_queue *queue, unsigned roles,
                                         char *why);
/* Words for the queues, where the device can write them; without, CUDA is asked for each end. */
void ferry__cuda_words_init(struct cuda *c);
void ferry__cuda_words_finish(struct cuda *c);
void ferry__cuda_queue_finish(struct cuda *c, struct cuda_queue *queue);
/* Writes the records of what has ended; returns the value up to which they are written. */
uint64_t ferry__cuda_queue_retire(struct cuda *c, struct cuda_queue *queue);
/* When value should be reached; 0: not known. */
uint64_t ferry__cuda_queue_expected(struct cuda_queue *queue, uint64_t value);

/* Has the stream wait until the queue has come that far. */
cu_result ferry__cuda_queue_wait(struct cuda *c, cu_stream stream, struct cuda_queue *queue,
                                 uint64_t value);
/* Was it reached, by what a query of its event says? An error that sticks says that nothing ends
 * any more; so does one that does not go away. *errors counts those, in a row. */
bool ferry__cuda_query_tells(struct cuda *c, cu_result result, unsigned *errors, const char *call);

enum ferry_status ferry__cuda_submit(void *state, const struct ferry__submission_info *info,
                                     char *why);

/* --- kernel.c --------------------------------------------------------------------------------- */

/* Begins to compile, on a thread of its own. */
void ferry__cuda_kernels_start(struct cuda *c);
/* Are there kernels? Waits for that thread. */
bool ferry__cuda_kernels_join(struct cuda *c);
void ferry__cuda_kernels_free(struct cuda *c);
/* Does this copy command go by the kernel, where none of another device's is in it? */
bool ferry__cuda_kernel_copies(const struct cuda *c, const struct ferry__command *command,
                               bool changes);
/* Do commands of one submission go different ways: up, down, within the device? */
bool ferry__cuda_changes_engines(const struct ferry__command *commands, size_t count);
uint64_t ferry__cuda_kernel_address(const struct ferry__memory *memory);
/* Launches the first of the commands, and those behind it that are one launch with it: how many,
 * all ENGINE_KERNEL. */
cu_result ferry__cuda_kernel_launch(struct cuda *c, cu_stream stream,
                                    const struct ferry__command *commands, size_t count,
                                    size_t *out_taken);

/* --- event.c ---------------------------------------------------------------------------------- */

int ferry__cuda_wake_init(struct cuda *c); /* 0, or an errno */
void ferry__cuda_wake_finish(struct cuda *c);
uint64_t ferry__cuda_completed(void *state, uint64_t event);
void ferry__cuda_wait_any(void *state, const struct ferry_sync *points, size_t count,
                          uint64_t timeout_ns);
void ferry__cuda_wake(void *state);

/* --- external.c ------------------------------------------------------------------------------- */

enum ferry_status ferry__cuda_event_create(void *state, uint64_t *out_event, char *why);
void ferry__cuda_event_destroy(void *state, uint64_t event);
void ferry__cuda_event_signal(void *state, uint64_t event, uint64_t value);
/* Within enter and leave: the value that it has reached. */
uint64_t ferry__cuda_event_reached(struct cuda *c, struct cuda_event *event);
/* Within enter and leave: has the stream wait for a queue or an event of external work. */
cu_result ferry__cuda_put_wait(struct cuda *c, cu_stream stream, const struct ferry_sync *wait);

/* UNSUPPORTED, in words, where the user's stream captures a graph. */
enum ferry_status ferry__cuda_stream_check(struct cuda *c, cu_stream stream, char *why);
/* Puts waits, or the recording of an event, into the user's stream. */
enum ferry_status ferry__cuda_stream_wait(struct cuda *c, cu_stream stream,
                                          const struct ferry_sync *waits, size_t count, char *why);
enum ferry_status ferry__cuda_stream_record(struct cuda *c, cu_stream stream,
                                            const struct ferry_sync *sync, char *why);

/* NULL: it is an event of external work. */
static inline struct cuda_queue *cuda_queue_of(uint64_t event)
{
    struct cuda_point *point = (struct cuda_point *)(uintptr_t)event;
    return point->external ? NULL : (struct cuda_queue *)point;
}

static inline struct cuda_event *cuda_event_of(uint64_t event)
{
    return (struct cuda_event *)(uintptr_t)event;
}

/* Where a command's bytes begin. */
static inline cu_address cuda_address(const struct ferry__memory *memory, uint64_t offset)
{
    return ((const struct cuda_memory *)memory->native)->address + memory->offset + offset;
}

#endif
