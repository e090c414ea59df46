/* Submissions: commands of one or more ops. */
#ifndef FERRY_ENGINE_SUBMISSION_H
#define FERRY_ENGINE_SUBMISSION_H

#include "base/interval.h"
#include "base/tree.h"
#include "driver.h"
#include "memory/staging.h"

#include <ferry/ferry.h>

struct ferry__file_piece;
struct ferry__file_slot;
struct ferry__op;
struct ferry__work_event;
struct ferry_device;

enum {
    FERRY__IN_FLIGHT_MAX = 2,       /* submissions on a queue before more work is parked (R7) */
    FERRY__COMMANDS_MAX = 8192,     /* commands of one submission */
    FERRY__PARTS_MAX = 8192,        /* operations in one: their commands may have become few */
    FERRY__AT_ONCE = 64,            /* ops that are seen to before the lock is given up */
    FERRY__SMALL_DIRECT = 64 << 10, /* direct operations up to this are not timed */
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

struct ferry__queue {
    uint64_t event, value;
    struct ferry__tree ready; /* may be built: what holds staging first, then by ticket */
    struct ferry__sub *flying_first, *flying_last;
    unsigned in_flight;
    bool building; /* a thread is filling or handing over a submission */
    bool starved;  /* the first op waits for staging */
};

/* Builds and submits one submission of a queue. Under device->lock; gives it up on the way. */
bool ferry__build(struct ferry_device *device, unsigned queue);
void ferry__subs_free(struct ferry_device *device);

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
void ferry__sub_give(struct ferry_device *device, struct ferry__sub *sub);

#endif
