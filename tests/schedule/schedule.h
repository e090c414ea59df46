/*
 * The schedule checker: random schedules of operations against a model of the engine's promises
 * about order and failure (docs/order.md).
 *
 * A lane is one thread's own buffers and the list of what it did with them, in the order of its
 * calls. Nothing is compared while the schedule runs: each operation that reads does so into memory
 * of its own. When all is done the model does the same operations one after another, takes from each
 * ticket whether it was done or failed, and checks that this and every byte agree.
 */
#ifndef FERRY_TESTS_SCHEDULE_H
#define FERRY_TESTS_SCHEDULE_H

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DEVICES_MAX = 2,
    LANES_MAX = 8,
    LANE_BUFFERS = 6,
    BATCH_MAX = 12,
    PATTERN_MAX = 16,
    OLD_MAX = 64,
};

/* --- configurations (configs.c) --------------------------------------------------------------- */

struct config {
    const char *name;
    const char *knobs;        /* FERRY_HOST */
    const char *second_knobs; /* of the second device; NULL: there is none */
    const char *strict;       /* Vulkan seen through the strict one with these options, instead */
    const char *engine;       /* FERRY_VULKAN_ENGINE; NULL: as it is */
    struct ferry_device_params params;
    unsigned threads; /* 0: one, the main thread */
    unsigned backlog; /* a lane's steps of a round, most of them behind external work; 0: few */
    size_t arena;     /* the size of all buffers, of which operations touch small parts; 0: any */
    bool failing;     /* submissions fail by knobs: any operation may */
    bool losing;      /* the device is lost some time */
    bool shared;      /* the threads write the same buffers: shared.c */
    void (*work)(const struct ferry_external *external); /* NULL: vulkan_work */
    bool metal; /* on simulated Metal; the knobs are METALSIM, and one for both devices */
    bool cuda;  /* on the strict CUDA; the knobs are STRICTCUDA's */
};

extern const struct config configs[];
extern const size_t config_count;

/* --- events (vulkan.c, metal.c) --------------------------------------------------------------- */

/* What the user's own Vulkan or Metal would do: waits for the waits, works, signals the signal. */
void vulkan_work(const struct ferry_external *external);
void metal_work(const struct ferry_external *external); /* where there is simulated Metal */
/* Names the strict Vulkan, with these options, in the environment; engine may be NULL. */
void vulkan_set(const char *options, const char *engine);

/* --- luck (run.c) ---------------------------------------------------------------------------- */

uint64_t next_random(uint64_t *state);
size_t below(uint64_t *state, size_t limit); /* 0 where limit is 0 */
bool one_in(uint64_t *state, size_t n);
void scribble(void *memory, size_t size, uint64_t seed);

/* --- the run (run.c) ------------------------------------------------------------------------- */

struct run {
    const struct config *config;
    uint64_t seed;
    size_t steps;
    ferry_device *devices[DEVICES_MAX];
    unsigned device_count;
    unsigned round;
    bool refusing;        /* calls may be refused for want of memory (inject.c) */
    const char *injected; /* what fails, for wrong(); NULL: nothing */
    uint64_t injected_at;
    _Atomic unsigned nested; /* steps taken in callbacks */
};

/* Says what is wrong, and how to see it again; ends the program. */
void wrong(const struct run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* SIGALRM: says that the run hangs. */
void hung(int signal_number);
void told_wrong(const char *message); /* of the run that is going on */

/* Opens the devices, takes about run->steps steps in rounds, compares after each, closes. */
void run_all(struct run *run);

/* Opens with more knobs for the first device (NULL: none). false: refused for want of memory. */
bool run_open(struct run *run, const char *more_knobs);
void run_close(struct run *run);

/* Lanes for every thread and device; rounds of steps until as many were taken. */
struct lanes;
struct lanes *lanes_create(struct run *run);
void lanes_rounds(struct run *run, struct lanes *lanes, size_t steps);
void lanes_destroy(struct run *run, struct lanes *lanes);

/* --- failures in turn (inject.c) -------------------------------------------------------------- */

/* what: "allocations", or a knob that counts: "fail_exec"; the first fails, then each every-th.
 * false: no such thing. */
bool inject(const char *what, uint64_t every, uint64_t seed, size_t steps);

/* --- the model (model.c) ---------------------------------------------------------------------- */

/* What a buffer holds. Bytes that are not known are not compared. For each byte the statuses, as bits,
 * with which reading it must fail, and those with which it may. */
struct model {
    ferry_buffer *buffer; /* NULL: destroyed */
    unsigned device;
    enum ferry_storage storage;
    size_t size;
    unsigned char *bytes, *known;
    unsigned *must, *may;
    unsigned char *stuck; /* bytes with operations behind external work that is held: STUCK_ */
    unsigned number;
};

enum kind { UPLOAD, DOWNLOAD, COPY, FILL, ZERO, CONTENTS, POKE, EXTERNAL, KIND_COUNT };

struct op {
    enum kind kind;
    struct model *dst, *src; /* NULL: none */
    size_t size, dst_offset, src_offset;
    unsigned char *host;       /* what was uploaded, or read */
    size_t blocks, block, gap; /* 0: no list; else so many blocks, the host's without gaps */
    bool file;                 /* from or to the lanes' file */
    uint64_t file_offset;
    unsigned char *given; /* a read's host memory with a guard at both ends */
    size_t pattern_size;
    unsigned char pattern[PATTERN_MAX];
};

/* One call: one operation, or a batch of them. */
struct task {
    struct op ops[BATCH_MAX];
    unsigned count;
    bool stuck; /* it may be behind external work that is held: nobody may wait for it */
    bool bound; /* it is, and pending until that has ended */
    bool batch, waited, refused; /* refused: the call itself failed, and nothing was done */
    bool with_callback;
    bool asked; /* answered: what ferry_wait said */
    enum ferry_status answered, status;
    enum ferry_status ended; /* of external work: what it was ended with */
    ferry_device *device;
    ferry_ticket ticket;
    _Atomic unsigned calls; /* of the callback */
    _Atomic int called_status;
    struct lane *nest; /* the lane that the callback may go on with; NULL: none */
};

/* The parts of an operation: of a list its blocks, in the order listed, else all of it. */
size_t op_parts(const struct op *op);
struct op op_part(const struct op *op, size_t index);
size_t op_span(const struct op *op); /* on the device, gaps too */

enum { BLOCKS_MAX = 40 };
enum { GUARD = 16, GUARD_BYTE = 0xC7, WORD_MAX = 16 /* of any device */ };

struct model *model_create(const struct run *run, unsigned device, size_t size,
                           enum ferry_storage storage, bool zeroed);
void model_free(struct model *model);

/* Does the task on the model, and checks its status and what it read. */
void model_do(const struct run *run, const struct task *task);

/* --- lanes (lane.c, steps.c) ------------------------------------------------------------------ */

/* Host memory of one operation: malloc'ed, registered too, or of a device. */
struct memory {
    void *bytes;
    ferry_device *device;
    bool registered;
};

/* A ticket of an earlier round: asked again and again, it says the same. */
struct old {
    ferry_device *device;
    ferry_ticket ticket;
    enum ferry_status status;
};

struct lane {
    struct run *run;
    unsigned number;
    uint64_t random;
    struct model *models[LANE_BUFFERS];
    struct model **gone; /* destroyed in this round */
    size_t gone_count;
    struct task **tasks;
    size_t count, capacity;
    struct memory *memory; /* host memory of this round */
    size_t memory_count;
    bool quiet;         /* its callbacks submit nothing */
    bool in_callbacks;  /* its calls are made in callbacks: none may wait */
    struct lane *nests; /* by device: what callbacks on it may go on with */
    struct old old[OLD_MAX];
    size_t old_next;
    struct task *held;              /* external work that has not ended */
    struct ferry_external external; /* that held stands for */
    unsigned held_for;              /* steps until it ends */
    unsigned made;                  /* models made so far */
};

void lane_init(struct lane *lane, struct run *run, unsigned number, bool in_callbacks);
void lane_finish(struct lane *lane);

/* After all is done: asks every ticket, does all on the model, frees this round's memory. */
void lane_check(struct lane *lane);

/* Reads all that can be read, and that what cannot says so; fixes some of it. */
void lane_verify(struct lane *lane);

struct task *lane_add(struct lane *lane);
void lane_drop_last(struct lane *lane);
void *lane_memory(struct lane *lane, size_t size);
void lane_replace(struct lane *lane, size_t index);

/* Issues the task that was added last: its operation, or all in a batch. */
void lane_issue(struct lane *lane, struct task *task, bool waiting);

/* --- what is behind external work that is held (stuck.c) -------------------------------------- */

/* Of a byte: an operation that may be behind it, as far as the order demands, reads it, or writes
 * it; one that is. A device touches whole words; those of the same bytes alone are surely bound. */
enum { STUCK_READ = 1, STUCK_WRITE = 2, BOUND_READ = 4, BOUND_WRITE = 8 };

/* From now on external work is held: the lane's threads may wait for other bytes only. */
void lane_hold(struct lane *lane, struct task *task);
void lane_release(struct lane *lane);
/* Notes where a task is that was issued, or refused. */
void lane_note_stuck(const struct lane *lane, struct task *task);
bool op_is_stuck(const struct op *op); /* it would be */
/* All that is bound is pending. */
void lane_check_bound(const struct lane *lane);

/* May a call be refused with this status? */
bool may_refuse(const struct run *run, enum ferry_status status);

/* An operation's ranges and host memory. */
void op_read_into(struct lane *lane, struct op *op);
void op_write_from(struct lane *lane, struct op *op);

/* Has an upload or a download go by a part of a file that no other uses. */
void op_use_file(struct op *op);
/* What a download wrote to the file comes to op->host. */
void op_fetch_file(const struct op *op);

/* Some random steps (steps.c), external work that is still going on ended at last. */
void lane_steps(struct lane *lane, size_t steps);

/* One more operation, made in a callback. */
void lane_nested_step(struct lane *lane);

/* --- threads on the same buffers (shared.c) --------------------------------------------------- */

void shared_rounds(struct run *run);

#endif
