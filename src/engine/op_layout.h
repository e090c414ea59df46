/* How an op lies in memory. There may be a million: what is never needed at the same time shares
 * its place, and what can be told from elsewhere is not kept. */
#ifndef FERRY_ENGINE_OP_LAYOUT_H
#define FERRY_ENGINE_OP_LAYOUT_H

#include "base/list.h"
#include "base/tree.h"
#include "engine/op_type.h"
#include "engine/order.h"
#include "engine/transfer.h"

#include <assert.h>
#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__blocks;
struct ferry__bridge;
struct ferry__call;
struct ferry__join;
struct ferry__reason;
struct ferry__work_event;
struct ferry_device;
struct ferry_stream;

/* An op depends on from. The op is found by where this lies: see ferry__edge_op. */
struct ferry__edge {
    struct ferry__op *from;
    struct ferry__edge *next; /* of from->dependents, by op's ticket; the last one's is the first */
    uint32_t at;              /* which of the op's it is */
    bool lone;                /* it lies in the op, else in its ferry__edges */
    bool open;                /* counted in op->deps_unsubmitted */
    /* Not counted, though from is not handed over: both are of one queue, and it has followed. */
    bool early;
};

/* All of an op's, where they may be more than one. */
struct ferry__edges {
    struct ferry__op *op;
    uint32_t count;
    struct ferry__edge list[];
};

/* Where an op is on its way. External work is OPEN instead of READY to RECORDED, joins are nothing
 * of that. Changed by ferry__op_become alone, under device->lock. */
enum ferry__op_state {
    FERRY__STATE_PARKED,    /* something that it depends on is not handed over */
    FERRY__STATE_READY,     /* in its queue's list: a submission may take it */
    FERRY__STATE_RECORDING, /* likewise, and a thread writes its commands down */
    FERRY__STATE_BLOCKED,   /* out of the list until a submission with a part of it is done */
    FERRY__STATE_SUSPENDED, /* out of the list until it is resumed */
    FERRY__STATE_OPEN,      /* all before it is handed over: the user's turn */
    FERRY__STATE_RECORDED,  /* wholly in submissions, or given up */
    FERRY__STATE_SUBMITTED, /* and those were handed to the driver; external work: it was ended */
    FERRY__STATE_DONE,
    FERRY__STATE_COUNT
};

/* Under device->lock, but for what never changes and what says so. There may be a million of them:
 * what a type alone needs is in the union. */
struct ferry__op {
    struct ferry_device *device;
    const struct ferry__op_type *type;
    union {
        struct ferry__node living; /* of device->living; once it is done, and kept: of those */
        struct {
            struct ferry__node *living_links[3];
            ferry_ticket ticket; /* its key */
        };
    };
    _Atomic unsigned refs; /* the engine's one until it is done, waiters', edges' */
    _Atomic bool done;
    enum ferry__op_state state : 8;
    uint8_t queue; /* does not change while it lives, nor does room */
    enum ferry_status status : 8;
    bool has_waiter; /* a thread, or another op, waits for it, and tells of its failure */
    uint8_t room : 4, own_count : 4; /* of own_ranges; see ferry__op_range_count */
    bool batch;
    bool rmw_merged; /* the chunk that was read is merged, and to be written; the builder's */
    bool many_edges; /* room for more than one was made */
    /* Done; or it has failed, and is known to, ahead of its place in the order. */
    _Atomic bool told;
    /* One place to the threads, as bit-fields side by side are: read and written under the lock
     * only, also the first time. */
    bool kept : 1;    /* done, and so it is: it is found until the last reference goes */
    bool parked : 1;  /* counted in device->parked */
    bool held_up : 1; /* behind external work: set and read within ferry_device_trim */
    bool carried : 1; /* a submission with a part of it was accepted */
    /* All of it is in submissions, the last with commands: what depends on it may join that. */
    bool followed : 1;
    bool holds : 1; /* staging, for an rmw's write: it is built before others, that may need that */
    bool awaited : 1; /* its end is counted in device->awaited_done */
    bool resumed : 1; /* bridges, streams: there is something to do since it was last looked at */
    /* A half that failed while the other device reads its source: until that is over it is not
     * done, nor does anything count it as submitted. */
    bool stays : 1;
    bool registers : 1; /* it has its ticket, and not yet all that it depends on */
    bool keep : 1;      /* its ticket was given out: a failure is remembered */
    bool has_call : 1;  /* made with it, for its callback, which has not had its turn */
    unsigned count;     /* its transfers; 0: of another type */
    unsigned deps_unsubmitted, deps_undone;
    uint16_t in_flight;  /* submissions with parts of it; what it is not done meanwhile */
    uint16_t moving;     /* pieces that a stream has, and calls of it */
    unsigned starved_us; /* traced: it waits for staging since then, from its start on; 0: no */
    uint32_t mark;       /* where it is in the latest answer that it is in */
    /* The latest external work that it waits for, itself or by others, came so many tickets before
     * it; 0: none that is known. */
    uint32_t behind_by;
    unsigned next_transfer; /* of the cursor, below */
    union {
        struct ferry__edge one_edge;
        struct ferry__edges *edges; /* where they may be more: see ferry__op_edges */
    };
    struct ferry__edge *dependents; /* the last of them; NULL: none */
    union {
        struct ferry__node ready;       /* READY, RECORDING: in its queue's list */
        uint64_t value;                 /* SUBMITTED: the queue's, once all of it is done */
        struct {                        /* DONE */
            struct ferry__link closing; /* of device->closing */
            struct ferry__link dead;    /* of device->dead_ops */
        };
    };
    uint64_t start_ns;
    union { /* see ferry__op_why */
        struct ferry__call *call;
        struct ferry__reason *why;
    };
    union {
        struct {                    /* transfers, and halves of copies between devices */
            uint64_t transfer_done; /* the cursor: owned by whoever builds its queue */
            union {
                struct ferry__rmw *rmw;        /* a transfer's; NULL: none yet */
                struct ferry__op *resume_next; /* a half's */
            };
            union {
                struct ferry_stream *stream;  /* a transfer's; NULL: none yet */
                struct ferry__bridge *bridge; /* a half's */
            };
            union {
                struct ferry__transfer one;
                struct { /* a batch's */
                    struct ferry__transfer *many;
                    uint64_t park_count; /* while it is parked */
                };
            };
        };
        struct {                    /* external work, and joins */
            struct ferry_use *uses; /* it holds their buffers */
            size_t use_count;
            struct ferry__join *join; /* a join's, until it is done */
            struct ferry__op *after;  /* a join that stands for all that is older than it; NULL */
            struct ferry__work_event *own_event; /* NULL: the device has none */
            uint64_t event, raised;              /* its handle, and the value that ends this */
            struct ferry__link work;             /* among those of its state */
            bool ended;                          /* by the user, or by the device's loss */
            bool unsignalled;                    /* it failed: its event is Ferry's to raise */
        };
    };
    struct ferry__range own_ranges[];
};

static_assert(offsetof(struct ferry__op, ticket) == offsetof(struct ferry__op, living.key),
              "an op's ticket is its key");

#endif
