/* Operations: what the engine orders and carries out. */
#ifndef FERRY_ENGINE_OP_H
#define FERRY_ENGINE_OP_H

#include "base/list.h"
#include "base/tree.h"
#include "engine/op_type.h"
#include "engine/order.h"
#include "engine/transfer.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

struct ferry__blocks;
struct ferry__bridge;
struct ferry__call;
struct ferry__join;
struct ferry__reason;
struct ferry__work_event;
struct ferry_device;
struct ferry_stream;

/* op depends on from. */
struct ferry__edge {
    struct ferry__op *op, *from;
    struct ferry__edge *next; /* of from->dependents, by op's ticket; the last one's is the first */
    bool open;                /* counted in op->deps_unsubmitted */
    /* Not counted, though from is not handed over: both are of one queue, and it has followed. */
    bool early;
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
    ferry_ticket ticket;
    _Atomic unsigned refs; /* the engine's one until it is done, waiters', edges' */
    _Atomic bool done;
    enum ferry__op_state state : 8;
    uint8_t queue : 4, room : 4; /* neither changes while it lives; room: of own_ranges */
    enum ferry_status status : 8;
    bool keep;       /* its ticket was given out: a failure is remembered */
    bool has_waiter; /* a thread, or another op, waits for it, and tells of its failure */
    bool batch;
    bool rmw_merged; /* the chunk that was read is merged, and to be written; the builder's */
    bool many_edges; /* room for more than one was made */
    /* Done; or it has failed, and is known to, ahead of its place in the order. */
    _Atomic bool told;
    /* Read and written under the lock only, also the first time. */
    bool kept : 1;    /* done, and so it is: the table has it until the last reference goes */
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
    bool registers : 1;   /* it has its ticket, and not yet all that it depends on */
    unsigned count;       /* its transfers; 0: of another type */
    unsigned range_count; /* its footprint: by buffer, kind and begin */
    unsigned edge_count;
    unsigned deps_unsubmitted, deps_undone;
    unsigned in_flight;  /* submissions with parts of it */
    unsigned starved_us; /* traced: it waits for staging since then, from its start on; 0: no */
    struct ferry__range *ranges;
    union {
        struct ferry__edge one_edge;
        struct ferry__edge *edges; /* where they may be more: see ferry__op_edges */
    };
    struct ferry__edge *dependents; /* the last of them; NULL: none */
    ferry_ticket behind; /* the latest external work that it waits for, itself or by others; 0 */
    uint64_t value;      /* the queue's, or the external event's, that its last submission raises */
    uint32_t mark;       /* where it is in the latest answer that it is in */
    struct ferry__link live; /* of device->living */
    struct ferry__op *hash_next;
    union {
        struct ferry__node ready;       /* READY, RECORDING: in its queue's list */
        struct {                        /* DONE */
            struct ferry__link closing; /* of device->closing */
            struct ferry__link dead;    /* of device->dead_ops */
        };
    };
    uint64_t start_ns;
    struct ferry__call *call;  /* made with the op, for its callback; NULL: it has none */
    struct ferry__reason *why; /* it failed */
    union {
        struct { /* transfers, and halves of copies between devices */
            struct ferry__transfer *transfers;
            /* The cursor: owned by whoever builds its queue. */
            uint64_t transfer_done;
            unsigned next_transfer;
            unsigned moving; /* pieces that a stream has, and calls of it */
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
                uint64_t park_count; /* a batch's, while it is parked */
            };
        };
        struct {                    /* external work, and joins */
            struct ferry_use *uses; /* it holds their buffers */
            size_t use_count;
            struct ferry__join *join; /* a join's, until it is done */
            struct ferry__op *after;  /* a join that stands for all that is older than it; NULL */
            struct ferry__work_event *own_event; /* NULL: the device has none */
            uint64_t event;                      /* its handle */
            struct ferry__link work;             /* among those of its state */
            bool ended;                          /* by the user, or by the device's loss */
            bool unsignalled;                    /* it failed: its event is Ferry's to raise */
        };
    };
    struct ferry__range own_ranges[];
};

/* The op of a link of device->living; NULL: of none. */
static inline struct ferry__op *ferry__living(struct ferry__link *link)
{
    return link ? FERRY__OF_LINK(link, struct ferry__op, live) : NULL;
}

/* op->edge_count of them. */
static inline struct ferry__edge *ferry__op_edges(struct ferry__op *op)
{
    return op->many_edges ? op->edges : &op->one_edge;
}

/* What op depends on by its edge i. */
static inline struct ferry__op *ferry__op_from(const struct ferry__op *op, size_t i)
{
    return (op->many_edges ? op->edges : &op->one_edge)[i].from;
}

static inline bool ferry__op_is_half(const struct ferry__op *op)
{
    return op->type->kind == FERRY__OP_BRIDGE_READ || op->type->kind == FERRY__OP_BRIDGE_WRITE;
}

static inline bool ferry__op_is_join(const struct ferry__op *op)
{
    return op->type->kind == FERRY__OP_JOIN;
}

/* With room in it for 1 to 15 ranges. */
struct ferry__op *ferry__op_create(struct ferry_device *device, const struct ferry__op_type *type,
                                   unsigned room);
void ferry__op_ref(struct ferry__op *op);
void ferry__op_unref(struct ferry__op *op);        /* not under device->lock */
void ferry__op_unref_locked(struct ferry__op *op); /* under it: never the last reference */

/* It has failed for this, unless it has a reason. Under device->lock. */
void ferry__op_explain(struct ferry__op *op, const char *text);

void ferry__op_become(struct ferry__op *op, enum ferry__op_state state);

/* There is something to do for op again, which waits for it out of its queue. Under no lock. */
void ferry__op_resume(struct ferry__op *op);

/* Lets go what finished ops hold. Under device->lock, which it gives up on the way. */
void ferry__reap(struct ferry_device *device);
bool ferry__op_is_done(void *op); /* for ferry__wait_until */
bool ferry__op_is_told(void *op); /* likewise, for the user */

#endif
