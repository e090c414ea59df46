/* Submissions: commands of one or more ops. */
#ifndef FERRY_ENGINE_SUBMISSION_H
#define FERRY_ENGINE_SUBMISSION_H

#include "base/interval.h"
#include "base/list.h"
#include "base/tree.h"
#include "driver.h"
#include "memory/staging.h"

#include <ferry/ferry.h>

struct ferry__op;
struct ferry__work_event;
struct ferry_device;

enum {
    FERRY__IN_FLIGHT_MAX = 2,   /* submissions on a queue before more work is parked (R7) */
    FERRY__COMMANDS_MAX = 8192, /* commands of one submission */
    FERRY__PARTS_MAX = 8192,    /* operations in one: their commands may have become few */
    /* What is seen to before the lock is given up: ops, ranges in their places, transfers. */
    FERRY__AT_ONCE = 32,
    FERRY__RANGES_AT_ONCE = 64,
    FERRY__TRANSFERS_AT_ONCE = 512,
    FERRY__SMALL_DIRECT = 64 << 10, /* direct operations up to this are not timed */
};

/* One submission: commands of one or more ops. */
struct ferry__part {
    struct ferry__op *op;
    size_t first, last;                /* transfers, both included */
    size_t added_before, waits_before; /* what the submission had of both without it */
    bool blocks;                       /* an rmw: the op goes on when this is copied out */
    bool continued; /* the first transfer, or bridge, has begun in an earlier submission */
};

struct ferry__submission;

/* What is due when the device is done with a submission. run is called under no lock, also where
 * the submission has failed: then it only gives back. */
struct ferry__due {
    void (*run)(struct ferry_device *device, struct ferry__submission *sub,
                const struct ferry__due *due);
    bool reads; /* the host reads the slice, which has to be made visible first */
    struct ferry__slice slice;
    unsigned char *dst;
    uint64_t skip; /* bytes of the slice before those wanted */
    uint64_t size;
    uint64_t whole; /* of the transfer that this is a part of */
    unsigned count; /* upload staging: slices of this chunk; the slice has the sum of them */
    void *what;     /* the op, the piece of a file, or the slot */
};

/* A list of blocks that is being written into a slice of staging: a command once it is closed. It
 * is open only while one op is recorded. */
struct ferry__launch {
    struct ferry__block_entry *entries; /* NULL: none is open */
    uint32_t count, capacity;
    const struct ferry__memory *memory; /* that the list lies in, and where */
    uint64_t offset;
    const struct ferry__memory *dst, *src;
    uint64_t dst_at, src_at; /* where these begin, as blocks have it */
    struct ferry__launch_hull {
        uint64_t dst_begin, dst_end, src_begin, src_end, bytes;
    } hull;       /* what its blocks lie in, and the sum of them */
    bool staged;  /* one side of it is staging */
    bool goes_on; /* it is closed; the next may lie end to end with it, in what it left free */
};

enum { FERRY__HULLS_MAX = 32 };

struct ferry__submission {
    struct ferry__link link; /* of queue->flying, or of device->free_subs */
    unsigned queue;
    uint64_t value;
    struct ferry__result result;
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
    struct ferry__due *dues;
    size_t due_count, due_capacity;
    bool copies_out; /* one of them copies much to the host */
    bool follows;    /* a part's op may have dues in an earlier submission, which come first */
    uint64_t staged; /* bytes of upload and readback staging */
    uint64_t transfers;
    struct ferry__launch launch;
    uint64_t blocks, blocks_max, block_bytes; /* of its lists; blocks_max 0: it has none yet */
    uint64_t submitted_ns;                    /* traced: when it was */
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
    struct ferry__tree ready;  /* may be built: what holds staging first, then by ticket */
    struct ferry__list flying; /* submissions, in order */
    unsigned in_flight;
    unsigned retiring; /* submissions that threads see to: their dues run under no lock */
    bool building;     /* a thread is filling or handing over a submission */
    bool starved;      /* the first op waits for staging */
};

/* The submission that ends next; NULL: none is with the device. */
static inline struct ferry__submission *ferry__flying_first(const struct ferry__queue *queue)
{
    struct ferry__link *link = queue->flying.first;
    return link ? FERRY__OF_LINK(link, struct ferry__submission, link) : NULL;
}

/* Whether its first submission may be taken apart. The bytes of one op come to the host in order,
 * whichever threads bring them: a list's blocks may overlap there, and a stream is told of its
 * chunks one after the other. */
static inline bool ferry__queue_is_next(const struct ferry__queue *queue)
{
    const struct ferry__submission *sub = ferry__flying_first(queue);
    return sub && !(sub->follows && queue->retiring);
}

/* Builds and submits one submission of a queue. Under device->lock; gives it up on the way. */
bool ferry__build(struct ferry_device *device, unsigned queue);
void ferry__submissions_free(struct ferry_device *device);

void ferry__submission_give(struct ferry_device *device, struct ferry__submission *sub);

#endif
