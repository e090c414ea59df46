/* The library's own structures: what a device, a buffer, an operation and a submission are made of.
 *
 * Locks, in the order in which they may be taken: device->lock (of two devices: the one with the
 * lower id first), then staging->lock, memory->lock, host_lock or a trace's, which are leaves. None is held
 * across a driver's wait, a submission, a copy of bytes or a callback.
 */
#ifndef FERRY_INTERNAL_H
#define FERRY_INTERNAL_H

#include "base.h"
#include "driver.h"
#include "failure.h"
#include "interval.h"
#include "order.h"
#include "plan.h"
#include "tree.h"

struct ferry__op;
struct ferry__sub;
struct ferry__files;
struct ferry__file_io;
struct ferry__file_slot;
struct ferry__file_piece;

enum {
    FERRY__IN_FLIGHT_MAX = 2,       /* submissions on a queue before more work is parked (R7) */
    FERRY__COMMANDS_MAX = 8192,     /* commands of one submission */
    FERRY__PARTS_MAX = 8192,        /* operations in one: their commands may have become few */
    FERRY__AT_ONCE = 64,            /* ops that are seen to before the lock is given up */
    FERRY__SMALL_DIRECT = 64 << 10, /* direct operations up to this are not timed */
    FERRY__STAGING_MIN = 4096,      /* the smallest staging budget and chunk */
};

/* --- native memory (memory.c) ----------------------------------------------------------------- */

/* One native allocation that buffers live in. */
struct ferry__block {
    struct ferry__memory memory;
    struct ferry__arena *arena; /* NULL: of one buffer alone */
    enum ferry__use use;
    bool fresh;       /* no buffer has lived here yet */
    uint64_t idle_ns; /* since when it has been empty */
    struct ferry__block *next, *previous;
};

struct ferry__memory_pool {
    pthread_mutex_t lock;                  /* guards all below */
    struct ferry__block *blocks[2];        /* with arenas, by storage */
    struct ferry__block *idle, *idle_last; /* empty ones, the latest first */
    uint64_t idle_bytes, budget;
    uint64_t next_block[2]; /* size of the next arena block, by storage */
    uint64_t allocated;     /* bytes asked of the driver and not given back */
};

struct ferry__place {
    struct ferry__block *block;
    void *range; /* in its arena */
    uint64_t offset;
    bool zeroed; /* known to hold zeros */
};

void ferry__memory_init(struct ferry_device *device, uint64_t budget);
void ferry__memory_finish(struct ferry_device *device);
enum ferry_status ferry__memory_take(struct ferry_device *device, enum ferry_storage storage,
                                     uint64_t size, const char *label,
                                     struct ferry__place *out_place);
void ferry__memory_give(struct ferry_device *device, const struct ferry__place *place);
bool ferry__memory_trim(struct ferry_device *device); /* false: nothing lay idle */

/* --- staging (staging.c) ---------------------------------------------------------------------- */

struct ferry__chunk {
    struct ferry__memory memory;
    const void *owner; /* of all its slices, where that matters */
    uint64_t used;
    unsigned slices;
    struct ferry__chunk *next;
};

struct ferry__staging {
    enum ferry__use use;
    uint64_t budget, chunk_size;
    pthread_mutex_t lock; /* guards all below */
    struct ferry__chunk *chunks;
    uint64_t limit; /* the budget, or less once memory was short */
    uint64_t allocated, in_use;
};

struct ferry__slice {
    struct ferry__chunk *chunk;
    uint64_t offset, size; /* as asked for, in chunk->memory */
    uint64_t taken;        /* with padding */
};

int ferry__staging_init(struct ferry__staging *staging, enum ferry__use use, uint64_t budget,
                        bool by_cpu);
void ferry__staging_finish(struct ferry_device *device, struct ferry__staging *staging);
/* A slice of min to want bytes whose offset is phase modulo copy_alignment. POOL_EXHAUSTED: nothing
 * is free now. Anything else but OK: none can be had at all. Where readback memory is given to the
 * host whole (limits.whole_readback), only slices of one owner are in a chunk together. */
enum ferry_status ferry__staging_take(struct ferry_device *device, struct ferry__staging *staging,
                                      const void *owner, uint64_t want, uint64_t min,
                                      uint64_t phase, struct ferry__slice *out_slice);
void ferry__staging_give(struct ferry_device *device, struct ferry__staging *staging,
                         const struct ferry__slice *slice);
void ferry__staging_trim(struct ferry_device *device, struct ferry__staging *staging);

/* Takes bytes out of the budget for memory that is not the staging's own, and gives them back. False:
 * there are not as many now; where nothing is in use any number may be had. */
bool ferry__staging_reserve(struct ferry_device *device, struct ferry__staging *staging,
                            uint64_t bytes);
void ferry__staging_unreserve(struct ferry_device *device, struct ferry__staging *staging,
                              uint64_t bytes);

static inline unsigned char *ferry__slice_host(const struct ferry__slice *slice)
{
    return slice->chunk->memory.host + slice->offset;
}

/* --- host memory (host.c) --------------------------------------------------------------------- */

/* Host memory that is registered, or imported for one transfer. */
struct ferry__region {
    _Atomic unsigned refs; /* the table's one, and one for each operation in flight */
    unsigned char *base;
    uint64_t size;
    bool imported, read_only, allocated;
    struct ferry__node node;     /* of the device's table, if it is in that */
    struct ferry__memory memory; /* if imported */
    unsigned char *memory_base;  /* the address that memory begins at */
};

/* The registered region that holds all of [host, host + size), with a reference; NULL: none. */
struct ferry__region *ferry__region_find(struct ferry_device *device, const void *host,
                                         uint64_t size);
/* Looks at memory that is not in the table: others may have made it known to the device (a region, at
 * *out_region), and what is no host memory is refused. Leaves *out_region as it is otherwise. */
enum ferry_status ferry__region_look(struct ferry_device *device, const void *host, uint64_t size,
                                     struct ferry__region **out_region);

/* Imports the pages of a range for one transfer. */
enum ferry_status ferry__region_import(struct ferry_device *device, const void *host, uint64_t size,
                                       bool read_only, struct ferry__region **out_region);
void ferry__region_unref(struct ferry_device *device, struct ferry__region *region);
void ferry__host_finish(struct ferry_device *device);

/* --- buffers ---------------------------------------------------------------------------------- */

#define FERRY__BUFFER_FAILED (UINT64_C(1) << 62)

struct ferry_buffer {
    /* Operations in flight, plus FERRY__BUFFER_FAILED. Zero: the direct path may be taken. Written
     * under device->lock. */
    _Atomic uint64_t word;
    unsigned char *host;            /* where the CPU reaches it, NULL: nowhere */
    bool direct_write, direct_read; /* transfers may take the direct path */
    bool cpu;                       /* copies and fills may */
    size_t size;
    struct ferry_device *device;
    const struct ferry__memory *memory;
    uint64_t offset; /* in memory */
    enum ferry_storage storage;
    _Atomic unsigned refs;
    struct ferry__place place;
    char *label;
    /* Under device->lock: */
    struct ferry__order order; /* of the operations in flight */
    struct ferry__failures failures;
    struct ferry__op *marker; /* done when all that was in flight at its ticket is; NULL: none */
    ferry_ticket last_use;    /* the latest op's that took its place here */
    struct ferry_buffer *next, *previous; /* of the device */
    bool zombie;                          /* the device is closed: good for destroy only */
    void (*release)(void *user);          /* of a wrapped native buffer */
    void *release_user;
};

const char *ferry__label(const struct ferry_buffer *buffer);
/* A private buffer of a part of the user's own native buffer: memory lives until release is called,
 * with user, when the buffer is destroyed and idle. */
enum ferry_status ferry__buffer_wrap(struct ferry_device *device,
                                     const struct ferry__memory *memory, uint64_t size,
                                     void (*release)(void *user), void *user,
                                     ferry_buffer **out_buffer);
/* The status of the first bytes of it that have failed, with their reason; OK: none have. */
enum ferry_status ferry__buffer_well(struct ferry_buffer *buffer);
void ferry__buffer_ref(struct ferry_buffer *buffer);
void ferry__buffer_unref(struct ferry_buffer *buffer); /* not under device->lock */

/* --- operations ------------------------------------------------------------------------------- */

/* One operation of the API: an op has one, or a batch's many. */
struct ferry__item {
    enum ferry_operation operation;
    enum ferry_path path;
    enum ferry_status status; /* of its own device work */
    bool untouched;           /* it failed before it could write anything */
    bool internal;            /* the library's own: not counted among what is parked */
    bool begun;               /* commands for it went into a submission */
    uint8_t pattern_size;     /* its period */
    uint8_t pattern[FERRY__PATTERN_MAX];
    struct ferry_buffer *dst, *src; /* NULL: the host, or nothing */
    uint64_t dst_offset, src_offset, size;
    unsigned char *host;
    struct ferry__region *region; /* that holds host; NULL: none */
    bool file;                    /* the host's side is a file */
    bool direct_io;               /* that was opened for it */
    bool reopened;                /* cached_fd is to be closed */
    int fd, cached_fd;
    uint64_t file_offset;
};

/* op depends on from. */
struct ferry__edge {
    struct ferry__op *op, *from;
    struct ferry__edge *next; /* of from->dependents, by op's ticket; the last one's is the first */
    bool open;                /* counted in op->unhanded */
};

enum ferry__op_kind {
    FERRY__OP_ITEMS,
    FERRY__OP_EXTERNAL,     /* the user's own work */
    FERRY__OP_READY,        /* done when all that external work depends on is done */
    FERRY__OP_BRIDGE_READ,  /* the half of a bridged copy on the source's device */
    FERRY__OP_BRIDGE_WRITE, /* the half on the destination's */
};

/*
 * parked -> handed over -> device done -> copied out -> done. An op is parked while unhanded > 0 or
 * its queue is full; handed over when gathered into submissions that were all submitted; done when
 * pending and undone are 0.
 */
struct ferry__op {
    struct ferry_device *device;
    ferry_ticket ticket;
    _Atomic unsigned refs; /* the engine's one until it is done, waiters', edges' */
    enum ferry__op_kind kind;
    unsigned queue;
    struct ferry__item *items, one;
    size_t count;
    struct ferry__range *ranges, one_range; /* its footprint: by buffer, kind and begin */
    size_t range_count;
    struct ferry_use *uses; /* external work's: it holds their buffers */
    size_t use_count;
    struct ferry__edge *edges;
    size_t edge_count;
    uint64_t start_ns;
    uint64_t starved_ns; /* traced: since when it waits for staging; 0: it does not */
    ferry_callback callback;
    void *user;
    bool keep;    /* its ticket was given out: a failure is remembered */
    bool waiting; /* a thread waits inside the call that made it */
    bool batch;

    /* The cursor: owned by whoever builds its queue. */
    size_t next_item;
    uint64_t item_done;
    bool bounce_ready; /* the chunk that was read is merged, and to be written */
    struct ferry__slice bounce;
    struct ferry__piece bounce_piece;
    struct ferry__files *files; /* NULL: none yet */

    /* Under device->lock: */
    struct ferry__edge *dependents; /* the last of them; NULL: none */
    unsigned unhanded, undone, pending, submissions;
    bool in_ready;
    bool gathered; /* wholly in submissions, or nothing of it needs one */
    bool followed; /* and the last of those has commands: what depends on it may be in it, too */
    bool handed;
    bool holds; /* staging, for a bounce's write: it is built before others, that may need that */
    ferry_ticket
        behind;     /* the latest external work that it waits for, itself or by others; 0: none */
    uint64_t value; /* the queue's, or the external event's, that its last submission raises */
    uint64_t event;
    uint64_t mark;           /* the ticket of the op that was last found to depend on it */
    struct ferry__op *after; /* READY: stands for all that is older than it; NULL: none does */
    bool held_up;            /* behind external work: set and read within ferry_device_trim */
    bool parked;             /* counted in device->parked */
    bool ended;              /* external work: by the user, or by the device's loss */
    bool unsignalled;        /* it failed: its event is Ferry's to raise */
    struct ferry__work_event *own_event;        /* external work's; NULL: the device has none */
    struct ferry__op *work_before, *work_after; /* external work: among those of its state */
    struct ferry__bridge *bridge;
    bool poked;     /* bridges, files: there is something to do since it was last looked at */
    bool waits;     /* it has left its queue until it is poked */
    uint8_t hungry; /* for a slot of files' staging: 1 to read, 2 to write */
    bool offered;   /* it was poked for one: who is hungry next gets what it leaves */
    struct ferry__op *hungry_before, *hungry_after;
    unsigned moving; /* pieces that are read or written */
    struct ferry__op *poke_next;
    struct ferry__node ready; /* in its queue's list */
    struct ferry__op *closing_next;
    struct ferry__op *live_next, *live_previous; /* all that are not done, by ticket */
    struct ferry__op *hash_next;
    struct ferry__op *work_next; /* of device->dead_ops */
    struct ferry__call *call;    /* made with the op, for its callback */
    enum ferry_status status;
    _Atomic bool done;
    char why[FERRY__WHY_MAX];
};

/* One submission: commands of one or more ops. */
struct ferry__part {
    struct ferry__op *op;
    size_t first, last;  /* items, both included */
    size_t added, waits; /* of the submission before it */
    bool blocks;         /* a bounce: the op goes on when this is copied out */
    bool continued;      /* the first item, or bridge, has begun in an earlier submission */
};

struct ferry__copy_out { /* when the device is done: staging to host, or the step of a bridge */
    unsigned char *dst;
    struct ferry__slice slice;
    uint64_t skip; /* bytes of the slice before those wanted */
    uint64_t size;
    uint64_t whole;           /* of the transfer that this is a part of */
    struct ferry__op *bounce; /* merge instead of copying out */
};

enum { FERRY__HULLS_MAX = 8 };

struct ferry__sub {
    struct ferry__sub *next;
    unsigned queue;
    uint64_t value;
    struct ferry__record record;
    struct ferry__command *commands;
    size_t command_count, command_capacity;
    uint64_t added; /* commands before they were joined */
    struct ferry__part *parts;
    size_t part_count, part_capacity;
    struct ferry_sync *waits;
    struct ferry__work_event **keeps; /* for each of them that is of external work; else NULL */
    size_t wait_count, wait_capacity, keep_capacity;
    size_t wait_of[FERRY__QUEUES_MAX]; /* 1 + which of them is for a queue; 0: none */
    uint64_t number;                   /* of the device's */
    struct ferry__slice *uploads;      /* to give back */
    size_t upload_count, upload_capacity;
    struct ferry__copy_out *outs;
    size_t out_count, out_capacity;
    uint64_t staged; /* bytes of upload and readback staging */
    uint64_t items;
    bool bridges;                     /* a part is a bridge's half */
    uint64_t submitted_ns;            /* traced: when it was */
    struct ferry__file_slot *slots;   /* to give back */
    struct ferry__file_piece *pieces; /* to write to files */
    /* The commands since the last barrier: where they begin, and what they touch at most. */
    size_t run;
    struct ferry__hull {
        const void *space; /* the host's addresses, or a native allocation */
        uint64_t write_begin, write_end, read_begin, read_end;
        struct ferry__intervals written, read; /* exactly, by the commands that are indexed */
    } hulls[FERRY__HULLS_MAX];
    size_t hull_count, indexed;
    struct ferry__interval_pool intervals;
};

/* An event of external work (work_event.c). Under device->lock. */
struct ferry__work_event {
    struct ferry__work_event *all_next, *free_next;
    uint64_t handle;
    uint64_t value;  /* that its latest work raises */
    uint64_t waited; /* the submission that was last found to wait for it */
    unsigned users;  /* its work until that is done, and submissions that wait */
    bool aside;      /* a work of it ended with an error */
};

struct ferry__works {
    struct ferry__op *first, *last;
    size_t count;
};

struct ferry__queue {
    uint64_t event, value;
    struct ferry__tree ready; /* may be built: what holds staging first, then by ticket */
    struct ferry__sub *flying_first, *flying_last;
    unsigned in_flight;
    bool building; /* a thread is filling or handing over a submission */
    bool starved;  /* the first op waits for staging */
};

/* --- callbacks and tickets (completion.c) ----------------------------------------------------- */

struct ferry__call {
    struct ferry__call *next;
    ferry_callback callback;
    void *user;
    ferry_ticket ticket;
    enum ferry_status status;
    char why[FERRY__WHY_MAX];
};

struct ferry__caller { /* the thread that runs the user's functions, and its list */
    pthread_t thread;
    pthread_cond_t work, idle;
    bool started, stop;
    bool closing; /* a callback closed the device: the thread has left its list, and does so */
    struct ferry__call *first, *last;
    uint64_t pushed, returned;
};

/* The device id is in a ticket's low bits, a process-wide counter above it. */
enum { FERRY__DEVICE_BITS = 12 };

/* --- device ----------------------------------------------------------------------------------- */

struct ferry_device {
    const struct ferry__driver *driver;
    void *state;
    struct ferry__limits limits;
    struct ferry__limits limits_no_kernel; /* for memory that kernels do not reach */
    struct ferry_device_info info;
    struct ferry__metrics metrics;
    struct ferry__trace *trace; /* NULL: none is written */
    unsigned id;
    _Atomic unsigned refs; /* the user's, and one for each buffer */
    _Atomic int dead;      /* FERRY__ALIVE, or why not */
    enum ferry_path path;
    enum ferry_map map;
    bool no_fallback, no_staging_wait, zeroed;
    unsigned cpus_taken; /* by the device itself: 1 where a CPU carries it out */
    struct ferry__memory_pool memory;
    struct ferry__staging upload, readback;

    pthread_mutex_t lock;       /* guards all below, and what says so above */
    pthread_cond_t changed;     /* something is done, or a waiter must take over */
    pthread_cond_t engine_work; /* wakes the engine thread */
    struct ferry__queue queues[FERRY__QUEUES_MAX];
    unsigned role_queue[4]; /* by log2 of the role */
    struct ferry__op *live_first, *live_last;
    struct ferry__op **table; /* in flight and failed, by ticket */
    size_t table_size, table_count;
    ferry_ticket first_ticket, last_ticket;
    uint64_t parked_max, parked; /* operations of ops that were not handed over; internal ones and
                                    those that wait inside their call are not counted */
    uint64_t sub_number;         /* of the latest submission that was begun */
    struct ferry_buffer *buffers;
    pthread_t engine;
    bool engine_started, engine_stop, polling;
    uint32_t polled;              /* a bit for each queue that the poller waits for */
    bool (*poll_done)(void *arg); /* what it wants, NULL: the engine, to whom kick speaks */
    void *poll_arg;
    unsigned waiters;
    struct ferry__works open_works; /* external work that was not ended */
    struct ferry__works works;      /* was ended, and not done: their events are waited for */
    bool look_at_all;               /* of those */
    struct ferry__work_event *events, *events_free; /* all, and those that are to be used again */
    struct ferry__op *dead_ops;                     /* done, to be let go without the lock */
    struct ferry__op *closing;  /* done, with dependents that have not heard of it */
    struct ferry__op **follows; /* what an op that registers depends on */
    size_t follow_count, follow_capacity;
    bool follow_short; /* of memory for them */
    struct ferry__op *closing_last;
    struct ferry__op *pokes;                 /* halves of bridges on other devices, likewise */
    unsigned bridges;                        /* copies between this device and another */
    struct ferry__bridge_wait *bridge_first; /* those that wait for staging, by ticket */
    struct ferry__bridge_wait *bridge_last;
    unsigned reaping; /* threads that are letting ops go */
    struct ferry__sub *free_subs;
    uint64_t staging_returns; /* counts the times that staging came back */
    struct ferry__caller caller;
    _Atomic(struct ferry__file_io *) files; /* NULL: none were moved yet */

    pthread_mutex_t host_lock;  /* guards the regions */
    struct ferry__tree regions; /* by address */
    _Atomic bool regions_any;
    pthread_cond_t region_freed;

    struct ferry_device *all_next;   /* of the process */
    struct ferry_device *close_next; /* to be closed after a callback */
};

/* device->dead: later ones replace earlier ones. */
enum { FERRY__ALIVE, FERRY__LOST, FERRY__CLOSED, FERRY__FORKED };

/* DEVICE_LOST, in words, unless the device is alive. */
enum ferry_status ferry__device_dead(const struct ferry_device *device, const char *what);
uint32_t ferry__device_paths(uint64_t import_granularity);
/* Opens a driver's device, or the user's own (open_params->wrapped). */
enum ferry_status ferry__device_open_as(const struct ferry__driver *driver,
                                        const struct ferry__open_params *open_params,
                                        const struct ferry_device_info *info,
                                        const struct ferry_device_params *params,
                                        ferry_device **out_device);
void ferry__device_ref(struct ferry_device *device);
void ferry__device_unref(struct ferry_device *device);
/* Latches the loss of the device, under device->lock or not. */
void ferry__device_lose(struct ferry_device *device);
enum ferry_status ferry__in_callback(const char *what); /* OK outside one */
enum ferry_status ferry__range(const struct ferry_buffer *buffer, const char *name, uint64_t offset,
                               uint64_t size);
/* Reserved words of a parameter struct are zero, so that they may mean something some day. */
static inline bool ferry__all_zero(const uint64_t *words, size_t size)
{
    uint64_t any = 0;
    for (size_t i = 0; i < size / sizeof *words; i++)
        any |= words[i];
    return !any;
}

/* Counts a fallback, logs it once; UNSUPPORTED where the user forbade them. */
enum ferry_status ferry__fallback(struct ferry_device *device, _Atomic uint64_t *count,
                                  const char *format, ...) FERRY__PRINTF(3, 4) FERRY__COLD;

/* --- thresholds (thresholds.c): in device->info ------------------------------------------------ */

struct ferry__threshold_choice {
    struct ferry_thresholds given; /* 0: not */
    enum { FERRY__MEASURE_GPU, FERRY__MEASURE_ALWAYS, FERRY__MEASURE_NEVER } measure;
};

/* What the parameters and the environment say. */
enum ferry_status ferry__thresholds_choose(const struct ferry_device_params *params,
                                           struct ferry__threshold_choice *out_choice);
void ferry__thresholds_default(struct ferry_device *device,
                               const struct ferry__threshold_choice *choice);
/* Two ways to move bytes, and what a size takes by each; 0: not known. */
struct ferry__race {
    uint64_t (*time)(void *arg, bool second, uint64_t size);
    void *arg;
    uint64_t smallest, largest;
};

/* The size from which on the second way is clearly faster, at all sizes asked above it, too;
 * UINT64_MAX: it is not. Asks for the largest, its half, and so on. False: not known. */
bool ferry__crossover(const struct ferry__race *race, uint64_t *out_from);
/* Measures those that are not given, on an open device that nobody else has yet. */
void ferry__thresholds_measure(struct ferry_device *device,
                               const struct ferry__threshold_choice *choice);

/* --- from operations to items (transfer.c) ---------------------------------------------------- */

/* Checks and fills an item: takes references to buffers. The checks are those of the API. */
enum ferry_status ferry__item_upload(struct ferry__item *item, ferry_buffer *dst, const void *src,
                                     uint64_t size, uint64_t dst_offset);
enum ferry_status ferry__item_download(struct ferry__item *item, ferry_buffer *src, void *dst,
                                       uint64_t size, uint64_t src_offset);
enum ferry_status ferry__item_copy(struct ferry__item *item, ferry_buffer *dst, ferry_buffer *src,
                                   uint64_t size, uint64_t dst_offset, uint64_t src_offset);
enum ferry_status ferry__item_fill(struct ferry__item *item, ferry_buffer *dst, uint64_t size,
                                   uint64_t offset, const void *pattern, size_t pattern_size);
/* May the CPU do it now, inside the call? */
bool ferry__item_direct_ok(const struct ferry__item *item, uint64_t max);
/* Does it, and counts it; the ticket, or 0, is for the trace. */
void ferry__item_direct(const struct ferry__item *item, ferry_ticket ticket);
/* Counts an operation that the host merges into words: a fallback, which may be forbidden. */
enum ferry_status ferry__note_bounce(struct ferry_device *device, uint64_t size);
/* Carries out an item that was checked, as its function's caller wants it. */
enum ferry_status ferry__item_wait(struct ferry__item *item);
enum ferry_status ferry__item_submit(struct ferry__item *item, ferry_callback cb, void *user,
                                     ferry_ticket *out_ticket);
enum ferry_status ferry__batch_add(ferry_batch *batch, const char *what,
                                   const struct ferry__item *item);
/* Chooses the path; takes a region where there is one. */
enum ferry_status ferry__item_plan(struct ferry_device *device, struct ferry__item *item);
void ferry__item_finish(struct ferry_device *device, struct ferry__item *item);

/* --- hazards (hazard.c): all under device->lock ------------------------------------------------ */

/* What op touches, into op->ranges (footprint.c). The items' paths are chosen. Not under the lock. */
enum ferry_status ferry__footprint_items(struct ferry__op *op);
/* The same of external work, which holds the buffers from now on. */
enum ferry_status ferry__footprint_uses(struct ferry__op *op, const struct ferry_use *uses,
                                        size_t count);
void ferry__footprint_free(struct ferry__op *op);
size_t ferry__footprint_buffers(const struct ferry__op *op); /* distinct ones */
/* Of one transfer; no op's. */
struct ferry__range ferry__footprint(struct ferry_buffer *buffer, bool write, uint64_t offset,
                                     uint64_t size);
/* Gives the ticket, finds what op depends on, and takes its place on all its buffers. On failure
 * (OUT_OF_HOST_MEMORY) nothing has changed. */
enum ferry_status ferry__register(struct ferry__op *op, ferry_ticket ticket);
/* op is wholly in the submission being built, which has commands: what depends on it may follow in
 * the same queue. */
void ferry__op_followed(struct ferry__op *op);
/* That submission was refused: what has not followed yet waits until op is done. */
void ferry__op_unfollowed(struct ferry__op *op);
/* May so many more operations be parked? POOL_EXHAUSTED. */
enum ferry_status ferry__may_park(const struct ferry_device *device, uint64_t count);
/* Counts a registered op as parked until it is handed over. */
void ferry__park(struct ferry__op *op);
/* op is wholly handed to the device. Both may give up the lock on the way. */
void ferry__op_handed(struct ferry__op *op);
/* Completes op, and whatever that completes, if nothing is outstanding. What is much is left to
 * ferry__step. */
void ferry__op_try_done(struct ferry__op *op);
/* Goes on with that, FERRY__AT_ONCE at a time. False: there was nothing. */
bool ferry__tell_some(struct ferry_device *device);
/* Bytes were written that may have failed before, when no more than up_to writes had. */
void ferry__buffer_covered(struct ferry_buffer *buffer, uint64_t offset, uint64_t size,
                           uint64_t up_to);

/* --- the engine (engine.c, build.c) ------------------------------------------------------------ */

struct ferry__op *ferry__op_create(struct ferry_device *device, enum ferry__op_kind kind);
void ferry__op_ref(struct ferry__op *op);
void ferry__op_unref(struct ferry__op *op);        /* not under device->lock */
void ferry__op_unref_locked(struct ferry__op *op); /* under it: never the last reference */
ferry_ticket ferry__ticket_next(const struct ferry_device *device);

/* Lets go what finished ops hold. Under device->lock, which it gives up on the way. */
void ferry__reap(struct ferry_device *device);
/* Registers op; if it depends on nothing that is not handed over it may be built. Under the lock. */
enum ferry_status ferry__enter(struct ferry__op *op);
/* Registers op and hands over what can be. For asynchronous ops *out_ticket, if not NULL. */
enum ferry_status ferry__submit(struct ferry__op *op, ferry_ticket *out_ticket);
/* Submits, waits, returns the op's status, with its reason. Eats the reference. */
enum ferry_status ferry__submit_and_wait(struct ferry__op *op);
enum ferry_status ferry__engine_start(struct ferry_device *device);
bool ferry__op_is_done(void *op); /* for ferry__wait_until */
/* Is ticket one of this device's that was given out? */
bool ferry__ticket_issued(const struct ferry_device *device, ferry_ticket ticket);
void ferry__engine_finish(struct ferry_device *device); /* waits for all, stops the thread */
/* Puts an op that may be built on its queue's list. Under device->lock. */
void ferry__ready_push(struct ferry__op *op); /* nothing for external work */
void ferry__ready_remove(struct ferry__op *op);
/* The first op that its queue may build; NULL: none. */
static inline struct ferry__op *ferry__ready_first(const struct ferry__queue *queue)
{
    struct ferry__node *node = queue->ready.first;
    return node ? FERRY__OF_NODE(node, struct ferry__op, ready) : NULL;
}
/* Somebody must look: work came in that no thread waits for. Under device->lock. */
void ferry__kick(struct ferry_device *device);
/* What a thread in ferry__wait_until waits for may have come true: it is woken where it sleeps, on
 * the condition or in the driver. After every such change, under device->lock. */
void ferry__changed(struct ferry_device *device);
/* Lets other threads have the lock, in the middle of long work under it. */
void ferry__breathe(struct ferry_device *device);
/* Runs one step, under device->lock, which it gives up on the way. False: nothing to do now. */
bool ferry__step(struct ferry_device *device);
/* Waits, helping, until done(arg) under device->lock. False: the deadline came first. */
bool ferry__wait_until(struct ferry_device *device, bool (*done)(void *arg), void *arg,
                       uint64_t deadline_ns);
/* Builds and submits one submission of a queue. Under device->lock; gives it up on the way. */
bool ferry__build(struct ferry_device *device, unsigned queue);
/* The device is done with a submission: copies out, gives back, completes. Under device->lock;
 * gives it up on the way. Eats the submission. */
void ferry__sub_done(struct ferry_device *device, struct ferry__sub *sub);
void ferry__subs_free(struct ferry_device *device);
/* Staging has come back: what waits for it may be built. Under device->lock. */
void ferry__staging_returned(struct ferry_device *device);

/* --- one submission's commands (emit.c): by the thread that builds it, without device->lock ---- */

enum ferry__emitted {
    FERRY__EMIT_DONE,    /* all of the op is in submissions */
    FERRY__EMIT_MORE,    /* the submission is full */
    FERRY__EMIT_STARVED, /* no staging is free */
    FERRY__EMIT_BLOCKED, /* the op goes on when this submission is done (or, a bridge, is told to) */
    FERRY__EMIT_WAITS,   /* the op goes on when it is poked */
    FERRY__EMIT_FAILED,  /* the item at the cursor cannot be carried out: ferry_last_error() */
};
/* On FAILED *out_status says why. */
enum ferry__emitted ferry__emit(struct ferry_device *device, struct ferry__sub *sub,
                                struct ferry__op *op, enum ferry_status *out_status);
/* The host's part of a bounce: what was read and what is to be written, in op->bounce. */
void ferry__bounce_merge(struct ferry_device *device, struct ferry__op *op);
/* Adds a command, with a barrier before it where it needs one (barrier.c). */
void ferry__run_begin(struct ferry__sub *sub); /* what comes next follows a barrier, or nothing */
enum ferry_status ferry__add_command(const struct ferry_device *device, struct ferry__sub *sub,
                                     struct ferry__command command);
/* Adds the commands of a copy whose ranges do not overlap. */
enum ferry_status ferry__emit_copy(struct ferry_device *device, struct ferry__sub *sub,
                                   const struct ferry__memory *dst, uint64_t dst_offset,
                                   const struct ferry__memory *src, uint64_t src_offset,
                                   uint64_t size);
/* A part of an item, up to end, whose bytes the host merges into the words round them. */
enum ferry__emitted ferry__emit_bounce(struct ferry_device *device, struct ferry__sub *sub,
                                       struct ferry__op *op, struct ferry__item *item, uint64_t end,
                                       enum ferry_status *out_status);
/* Grows an array to hold one more. False: no host memory. */
bool ferry__reserve(void **array, size_t *capacity, size_t count, size_t size);

/* Ends external work. Under device->lock, which it gives up on the way. */
void ferry__external_end(struct ferry__op *work, enum ferry_status status, const char *why);
/* Lists of external work. */
void ferry__works_add(struct ferry__works *list, struct ferry__op *work);
void ferry__works_remove(struct ferry__works *list, struct ferry__op *work);

/* --- work_event.c ----------------------------------------------------------------------------------- */

/* An event whose value is that which work shall raise, with one user. Not under the lock. */
enum ferry_status ferry__work_event_take(struct ferry_device *device,
                                         struct ferry__work_event **out_event);
/* A user less. Under the lock. */
void ferry__work_event_give(struct ferry_device *device, struct ferry__work_event *event);
void ferry__work_events_finish(struct ferry_device *device);

/* --- completion.c ------------------------------------------------------------------------------ */

enum ferry_status ferry__caller_start(struct ferry_device *device); /* the callback thread */
void ferry__caller_finish(struct ferry_device *device);
/* Waits until all callbacks have returned, or runs them, on their own thread. False: there were
 * none. Under device->lock, which it gives up on the way. */
bool ferry__caller_drain(struct ferry_device *device);
void ferry__caller_push(struct ferry_device *device, struct ferry__call *call); /* under the lock */
/* What can fail before an operation that is done inside its call; NULL callback: *out_call stays. */
enum ferry_status ferry__call_prepare(struct ferry_device *device, ferry_callback callback,
                                      void *user, struct ferry__call **out_call);
/* Gives the callback, if there is one, its turn. */
void ferry__call_done(struct ferry_device *device, struct ferry__call *call, ferry_ticket ticket);
bool ferry__inside_callback(void);
/* Closes the device after the callback that runs on this thread. */
void ferry__close_later(struct ferry_device *device);
void ferry__device_close_now(struct ferry_device *device);

/* External work that op, which is not done, waits for or is; NULL: none that it is known to. Under
 * device->lock. */
const struct ferry__op *ferry__external_before(const struct ferry__op *op);

/* The table of tickets, under device->lock. */
void ferry__table_add(struct ferry_device *device, struct ferry__op *op);
void ferry__table_finish(struct ferry_device *device);
void ferry__table_remove(struct ferry_device *device, struct ferry__op *op);
struct ferry__op *ferry__table_find(struct ferry_device *device, ferry_ticket ticket);

/* --- trace.c: FERRY_TRACE; all but the first only where device->trace is not NULL --------------- */

/* Sets device->trace where the environment asks for one. What is wrong with it is logged. */
void ferry__trace_open(struct ferry_device *device);
void ferry__trace_close(struct ferry_device *device);
/* One event each; those without an end end now. */
void ferry__trace_item(const struct ferry_device *device, const struct ferry__item *item,
                       ferry_ticket ticket, uint64_t begin_ns);
void ferry__trace_op(struct ferry__op *op, uint64_t end_ns); /* and each item of it */
void ferry__trace_submission(const struct ferry_device *device, const struct ferry__sub *sub,
                             uint64_t end_ns);
void ferry__trace_wait(struct ferry__op *op); /* since op->starved_ns, which becomes 0 */
void ferry__trace_callback(const struct ferry_device *device, const struct ferry__call *call,
                           uint64_t begin_ns);

/* --- files (file.c, file_pieces.c, file_io.c) -------------------------------------------------- */

enum ferry__emitted ferry__file_emit(struct ferry_device *device, struct ferry__sub *sub,
                                     struct ferry__op *op, struct ferry__item *item,
                                     enum ferry_status *out_status);
/* A submission with pieces of files is done on the device. Under no lock. */
void ferry__file_sub_done(struct ferry_device *device, struct ferry__sub *sub);
void ferry__file_item_finish(struct ferry__item *item);
void ferry__files_free(struct ferry__op *op);
enum ferry_status ferry__files_start(struct ferry_device *device);
void ferry__files_trim(struct ferry_device *device);
void ferry__files_finish(struct ferry_device *device);

/* --- bridge.c ---------------------------------------------------------------------------------- */

enum ferry__emitted ferry__bridge_emit(struct ferry_device *device, struct ferry__sub *sub,
                                       struct ferry__op *op, enum ferry_status *out_status);
/* A submission of a bridge's half is done on the device. Under no lock. */
void ferry__bridge_copy_out(struct ferry__op *half, const struct ferry__sub *sub);
/* The half is done. Under no lock. */
void ferry__bridge_half_done(struct ferry__op *half);
/* The half will not be carried out: its partner is put on the device's list to be poked. Under the
 * half's device's lock. */
void ferry__bridge_give_up(struct ferry__op *half, enum ferry_status status, const char *why);
void ferry__bridge_poke_all(struct ferry__op *list); /* under no lock */
/* A half has let go of the bridge. */
void ferry__bridge_unref(struct ferry__bridge *bridge);
/* A copy between two devices; as ferry__submit. Takes over the item. */
enum ferry_status ferry__bridge_submit(struct ferry__item *item, bool waiting, ferry_callback cb,
                                       void *user, ferry_ticket *out_ticket);
struct ferry__bridge;
struct ferry__bridge_wait;

/* Staging of the device has come back: the first that waits for it looks again. Under its lock. */
void ferry__bridge_wake(struct ferry_device *device);

#endif
