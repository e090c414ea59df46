/* What the files of the Metal driver share. docs/metal.md tells how it works. */
#ifndef FERRY_METAL_STATE_H
#define FERRY_METAL_STATE_H

#include "base/base.h"
#include "driver.h"
#include "objc.h"

#include <ferry/metal.h>

/* What kind of GPU it is: decided once, at open. */
enum metal_class {
    METAL_APPLE,       /* Apple's own: unified memory; kernels copy faster than the blit engine */
    METAL_INTEL,       /* integrated: unified memory */
    METAL_DISCRETE,    /* with memory of its own; host-visible memory may have to be managed */
    METAL_PARAVIRTUAL, /* a virtual machine's view of an Apple GPU */
    METAL_CLASS_COUNT
};

enum {
    METAL_QUEUES_MAX = 3,
    METAL_DEVICES_MAX = 16,
    METAL_COMMANDS_MAX = 256,  /* command buffers of a queue; commandBuffer blocks at that number */
    METAL_COMMANDS_OURS = 240, /* how many we let be in flight: less, so that it never blocks */
    METAL_COMMANDS_WRAPPED = 32, /* in the user's queue, which others use too */
};

enum metal_kernel { METAL_KERNEL_COPY, METAL_KERNEL_FILL, METAL_KERNEL_LIST, METAL_KERNEL_COUNT };

/* One buffer: ferry__memory.native. */
struct metal_memory {
    mtl_id buffer;
    bool managed, resident;        /* resident: in the set */
    bool read_back;                /* managed, and the host reads what the device writes there */
    _Atomic uint64_t synchronized; /* the number of the last submission that synchronizes it */
};

/* One command buffer on its way. Alive as long as submit, the queue's list or a block holds it. */
struct metal_submission {
    struct metal_queue *queue;
    struct metal_submission *next; /* in the queue's list */
    struct ferry__result *result;  /* NULL: nobody waits for it any more */
    uint64_t value;
    uint64_t waits[METAL_QUEUES_MAX]; /* values of our queues that it waited for */
    bool done;
    atomic_int references;
};

struct metal_queue {
    struct metal_state *state;
    mtl_id queue;
    mtl_id event; /* shared: the user's; signalled once there is external work */
    mtl_id own;   /* what our other queues wait for; NULL: there are none */
    struct metal_submission *first, *last; /* in flight, in the order of their values */
    unsigned in_flight, limit;
    atomic_bool failed; /* some command buffer did: its events may have to be raised by us */
    _Atomic uint64_t completed;
};

/* An event for external work. */
struct metal_event {
    mtl_id event;
    uint64_t notified; /* the value that we asked to be told of last */
    uint64_t asked;    /* the highest of them */
    struct metal_event *next;
};

struct metal_state {
    atomic_int references; /* open's own, and one for each live submission and notification */
    mtl_id device;
    enum metal_class class;
    bool unified, map_always;
    mtl_id label;                /* of command buffers */
    void (*release)(void *user); /* of what was wrapped; NULL: none */
    void *release_user;
    uint64_t import_page;                 /* 0: no imports */
    bool all_kernels;                     /* kernels carry out what blits could */
    mtl_id pipelines[METAL_KERNEL_COUNT]; /* and group_threads: once kernels_compiled */
    uint64_t group_threads;
    atomic_bool kernels_compiled, kernels_on; /* on: compiled, and used from now on */
    atomic_bool kernels_missed;               /* that they are not there was told */
    mtl_id listener;
    unsigned queue_count;
    struct metal_queue queues[METAL_QUEUES_MAX];
    mtl_id repair;                /* a queue that only signals; NULL: there is one queue */
    atomic_int repairs_failed;    /* in a row */
    atomic_bool external;         /* somebody else may look at the queues' shared events */
    _Atomic uint64_t submissions; /* numbers for metal_memory.synchronized */
    atomic_bool lost;

    pthread_mutex_t kernels_lock;          /* a leaf: the two below */
    struct metal_compilation *compilation; /* NULL: not begun */
    bool kernels_taken;
    pthread_mutex_t residency_lock; /* a leaf: the set */
    pthread_mutex_t raise_lock;     /* a leaf: raising events, so that none is lowered; closed */
    bool closed;
    pthread_mutex_t lock; /* the queues' lists and counts, the events, all below */
    pthread_cond_t changed;
    struct metal_event *events;
    uint64_t changes;  /* grows with everything that a wait may be waiting for */
    unsigned blitting; /* submissions that are written down as blits, where kernels are to be all */
    bool woken;
    mtl_id residency; /* a set of all our memory; NULL: none */
    bool drained;     /* the wait for a lost device's work was made, and is not made again */
};

/* list.c: all in a pool, but for the last */
enum metal_class ferry__metal_class(mtl_id device);
const char *ferry__metal_class_name(enum metal_class class);
bool ferry__metal_is_unified(mtl_id device);
bool ferry__metal_is_macos(int64_t major); /* or newer */
uint64_t ferry__metal_page_size(mtl_id device);
uint64_t ferry__metal_max_buffer(mtl_id device);
void ferry__metal_describe(mtl_id device, struct ferry_device_info *out_info);
/* The devices, the best first: at most METAL_DEVICES_MAX, each retained. */
size_t ferry__metal_copy_devices(mtl_id *out_devices, char *why);
enum ferry_status ferry__metal_list(struct ferry_device_info *infos, size_t capacity,
                                    size_t *out_count, char *why);
/* The index of the environment variable's value among names; count: unset, or none of them. */
int ferry__metal_choice(const char *variable, const char *const *names, int count);

/* device.c */
extern const struct ferry__driver ferry__metal_driver;

/* compile.c */
/* The driver's kernels(): begins to compile them where nobody has. */
bool ferry__metal_kernels(void *opened, uint64_t timeout_ns);
/* Under the state's lock: are they used from now on? */
bool ferry__metal_kernels_turn_on(struct metal_state *state);
/* Waits for what is being compiled; a compiler that hangs is left to itself. In a pool. */
void ferry__metal_kernels_close(struct metal_state *state);

/* kernel.c: encodes a command. Kernels are on. */
void ferry__metal_kernel_copy(const struct metal_state *state, mtl_id encoder,
                              const struct ferry__command *command);
void ferry__metal_kernel_fill(const struct metal_state *state, mtl_id encoder,
                              const struct ferry__command *command);
void ferry__metal_kernel_list(const struct metal_state *state, mtl_id encoder,
                              const struct ferry__command *command);

/* calibrate.c: copies by each engine and compares their times. Waits; at open only, in a pool. */
enum metal_faster { METAL_FASTER_UNKNOWN, METAL_FASTER_BLIT, METAL_FASTER_KERNEL };
enum metal_faster ferry__metal_calibrate(struct metal_state *state);

/* imports.c: whether the GPU sees the memory that it imports. Moves bytes, and waits; at open only,
 * in a pool. */
bool ferry__metal_can_import(struct metal_state *state, uint64_t page);

/* memory.c */
enum ferry_status ferry__metal_memory_alloc(void *state, enum ferry__memory_kind use, uint64_t size,
                                            const char *label, struct ferry__memory *out_memory,
                                            char *why);
void ferry__metal_memory_free(void *state, struct ferry__memory *memory);
enum ferry_status ferry__metal_host_import(void *state, void *host, uint64_t size, bool read_only,
                                           struct ferry__memory *out_memory, char *why);
enum ferry_status ferry__metal_flush(void *state, const struct ferry__memory *memory,
                                     uint64_t offset, uint64_t size);
enum ferry_status ferry__metal_invalidate(void *state, const struct ferry__memory *memory,
                                          uint64_t offset, uint64_t size);
uint64_t ferry__metal_memory_available(void *state);

/* residency.c: what is in the set stays resident while the queues run, and need not be made so for
 * each command buffer. All in a pool. */
void ferry__metal_residency_open(struct metal_state *state, bool foreign_queue);
void ferry__metal_residency_close(struct metal_state *state);
void ferry__metal_residency_add(struct metal_state *state, mtl_id buffer);
void ferry__metal_residency_remove(struct metal_state *state, mtl_id buffer);

/* queue.c */
/* count queues, or the one that is wrapped. */
enum ferry_status ferry__metal_queues_open(struct metal_state *state, unsigned count,
                                           mtl_id wrapped, char *why);
void ferry__metal_queue_close(struct metal_queue *queue);
enum ferry_status ferry__metal_submit(void *state, const struct ferry__submission_info *info,
                                      char *why);

/* completion.c */
void ferry__metal_lose(struct metal_state *state, const char *why); /* in a pool */
void ferry__metal_submission_release(struct metal_submission *submission);
struct mtl_closure ferry__metal_completed_closure(struct metal_submission *submission);
/* After a loss: waits a few seconds for what is still running to end. */
void ferry__metal_drain(struct metal_state *state);

/* event.c */
/* Raises a shared event to the value. In a pool, as the next. */
void ferry__metal_raise(struct metal_state *state, mtl_id event, uint64_t value);
/* Has the GPU signal what command buffers that failed did not, between our queues. */
void ferry__metal_repair(struct metal_state *state);
struct metal_queue *ferry__metal_queue_of(struct metal_state *state, uint64_t event);
uint64_t ferry__metal_completed(void *state, uint64_t event);
void ferry__metal_wait_any(void *state, const struct ferry_sync *points, size_t count,
                           uint64_t timeout_ns);
void ferry__metal_wake(void *state);
enum ferry_status ferry__metal_event_create(void *state, uint64_t *out_event, char *why);
void ferry__metal_event_destroy(void *state, uint64_t event);
void ferry__metal_event_signal(void *state, uint64_t event, uint64_t value);
void ferry__metal_changed_locked(struct metal_state *state);

void ferry__metal_state_release(struct metal_state *state);

/* Writes to why, in FERRY__WHY_MAX bytes, and returns status. */
enum ferry_status ferry__metal_why(enum ferry_status status, char *why, const char *format, ...)
    FERRY__PRINTF(3, 4) FERRY__COLD;

#endif
