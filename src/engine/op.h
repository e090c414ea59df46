/* Operations: what the engine orders and carries out. */
#ifndef FERRY_ENGINE_OP_H
#define FERRY_ENGINE_OP_H

#include "base/list.h"
#include "base/tree.h"
#include "engine/op_layout.h"
#include "engine/op_type.h"
#include "engine/order.h"
#include "engine/ticket.h"
#include "engine/transfer.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__call;
struct ferry__reason;
struct ferry_device;

/* The op of a node of device->living; NULL: of none. */
static inline struct ferry__op *ferry__living(struct ferry__node *node)
{
    return node ? FERRY__OF_NODE(node, struct ferry__op, living) : NULL;
}

static inline unsigned ferry__op_edge_count(const struct ferry__op *op)
{
    return op->many_edges ? op->edges->count : op->one_edge.from ? 1 : 0;
}

/* So many of them. */
static inline struct ferry__edge *ferry__op_edges(struct ferry__op *op)
{
    return op->many_edges ? op->edges->list : &op->one_edge;
}

/* What op depends on by its edge i. */
static inline struct ferry__op *ferry__op_from(const struct ferry__op *op, size_t i)
{
    return (op->many_edges ? op->edges->list : &op->one_edge)[i].from;
}

static inline struct ferry__op *ferry__edge_op(struct ferry__edge *edge)
{
    if (edge->lone)
        return FERRY__OF_LINK(edge, struct ferry__op, one_edge);
    return FERRY__OF_LINK(edge - edge->at, struct ferry__edges, list)->op;
}

/* op->count of them. */
static inline struct ferry__transfer *ferry__op_transfers(const struct ferry__op *op)
{
    return op->batch ? op->many : (struct ferry__transfer *)(uintptr_t)&op->one;
}

/* Its footprint: by buffer, kind and begin. */
static inline struct ferry__range *ferry__op_ranges(const struct ferry__op *op)
{
    return op->own_ranges->kind == FERRY__RANGE_FAR
               ? op->own_ranges->far.list
               : (struct ferry__range *)(uintptr_t)op->own_ranges;
}

static inline size_t ferry__op_range_count(const struct ferry__op *op)
{
    return op->own_ranges->kind == FERRY__RANGE_FAR ? op->own_ranges->far.count : op->own_count;
}

/* In place of its own, with room for some; it frees them. */
static inline void ferry__op_set_ranges(struct ferry__op *op, struct ferry__range *ranges)
{
    *op->own_ranges = (struct ferry__range){.kind = FERRY__RANGE_FAR, .far = {.list = ranges}};
}

static inline void ferry__op_set_range_count(struct ferry__op *op, size_t count)
{
    if (op->own_ranges->kind == FERRY__RANGE_FAR)
        op->own_ranges->far.count = (uint32_t)count;
    else
        op->own_count = (uint8_t)(count & 15);
}

/* The latest external work that op is known to wait for, itself or by others; 0: none. */
static inline ferry_ticket ferry__op_behind(const struct ferry__op *op)
{
    return op->behind_by ? op->ticket - ((ferry_ticket)op->behind_by << FERRY__DEVICE_BITS) : 0;
}

/* Its callback, before it is registered; NULL: it has none. */
enum ferry_status ferry__op_set_call(struct ferry__op *op, ferry_callback callback, void *user);

/* The call, which it has, is the caller's: why it failed is left to op. */
struct ferry__call *ferry__op_take_call(struct ferry__op *op);

/* Why it failed; NULL: it has not. Under device->lock. */
struct ferry__reason *ferry__op_why(const struct ferry__op *op);
void ferry__op_set_why(struct ferry__op *op, struct ferry__reason *why);

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
