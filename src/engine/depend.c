#include "engine/depend.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/join.h"
#include "engine/judge.h"
#include "engine/op.h"
#include "engine/order.h"
#include "engine/question.h"
#include "engine/reason.h"
#include "engine/submission.h"
#include "engine/ticket.h"
#include "engine/traced.h"
#include "memory/host_memory.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

/* The external work of this ticket, if it is not done; NULL: it is, or there is none. */
static const struct ferry__op *external_undone(struct ferry_device *device, ferry_ticket ticket)
{
    const struct ferry__op *op = ticket ? ferry__ticket_find(device, ticket) : NULL;
    return op && !atomic_load(&op->done) ? op : NULL;
}

/* The latest that op is behind: where that is done, one of those that it depends on may still be
 * behind another. No more of them are asked than a message is worth. */
const struct ferry__op *ferry__external_before(const struct ferry__op *op)
{
    enum { ASKED_MAX = 16 };
    if (op->type->kind == FERRY__OP_EXTERNAL)
        return op;
    const struct ferry__op *external = external_undone(op->device, ferry__op_behind(op));
    for (size_t i = 0; i < ferry__op_edge_count(op) && i < ASKED_MAX && !external && op->behind_by;
         i++) {
        const struct ferry__op *from = ferry__op_from(op, i);
        if (atomic_load(&from->done))
            continue;
        external = from->type->kind == FERRY__OP_EXTERNAL ? from
                   : ferry__op_is_join(from)              ? ferry__join_work(from)
                                                          : NULL;
        if (!external)
            external = external_undone(op->device, ferry__op_behind(from));
    }
    return external;
}

/*
 * An edge counts twice in its op: as unsubmitted until the other is handed to the device (R3), as
 * undone until it is done. What follows in the queue of the other hears early, once all of the
 * other is in the submission being built.
 */

/* --- handing over ----------------------------------------------------------------------------- */

static bool finish_if_over(struct ferry__op *op);

/* How far a join is has changed: what depends on it hears of that by joins_tell. */
static void join_list(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    if (op->join->listed)
        return;
    op->join->listed = true;
    op->join->next = device->joins;
    device->joins = op;
    op->in_flight++; /* it is not done meanwhile */
}

/* early: what depends on edge->from may follow in its queue, and not elsewhere. */
static void edge_close(struct ferry__edge *edge, bool early)
{
    struct ferry__op *op = ferry__edge_op(edge);
    const bool was_open = edge->open, was_early = edge->early;
    if (!was_open && (early || !was_early))
        return;
    edge->open = false;
    edge->early = early;
    if (ferry__op_is_join(op))
        op->join->early += (unsigned)early - (unsigned)was_early;
    op->deps_unsubmitted -= was_open;
    if (op->deps_unsubmitted)
        return;
    if (ferry__op_is_join(op))
        join_list(op);
    else if (was_open)
        ferry__unpark(op);
}

/* Each of what depends on op, by ticket. */
#define FOR_DEPENDENTS(edge, op)                                                      \
    for (struct ferry__edge *edge = (op)->dependents ? (op)->dependents->next : NULL, \
                            *last_ = (op)->dependents;                                \
         edge; edge = edge == last_ ? NULL : edge->next)

static bool may_follow(struct ferry__edge *edge)
{
    const struct ferry__op *op = ferry__edge_op(edge);
    return op->queue == edge->from->queue && op->type->kind != FERRY__OP_EXTERNAL;
}

uint64_t ferry__park_count(const struct ferry__op *op)
{
    uint64_t count = op->count;
    for (size_t i = 0; i < op->count; i++) {
        const struct ferry__blocks *blocks = ferry__blocks_of(&ferry__op_transfers(op)[i]);
        if (blocks && blocks->list && blocks->count)
            count += blocks->count - 1;
    }
    return count;
}

enum ferry_status ferry__may_park(const struct ferry_device *device, uint64_t count)
{
    if (count <= device->parked_max && device->parked <= device->parked_max - count)
        return FERRY_OK;
    return ferry__fail(
        FERRY_ERROR_POOL_EXHAUSTED,
        "%llu operations and blocks of %s are parked, and no more than %llu may be: no room for "
        "%llu more",
        (unsigned long long)device->parked, device->gpu.info.name,
        (unsigned long long)device->parked_max, (unsigned long long)count);
}

void ferry__park(struct ferry__op *op, uint64_t count)
{
    if (op->state >= FERRY__STATE_SUBMITTED)
        return;
    op->parked = true;
    op->device->parked += count;
    if (op->batch)
        op->park_count = count;
}

static void unpark(struct ferry__op *op)
{
    if (op->parked)
        op->device->parked -= op->batch ? op->park_count : ferry__park_count(op);
    op->parked = false;
}

/* Of many edges and joins, whosever they are: so many ops with few each are many, too. */
static void breathe_at_times(struct ferry_device *device)
{
    if (++device->closed % FERRY__AT_ONCE == 0)
        ferry__breathe(device);
}

/* Gives up the lock on the way where they are many: op, which is pending, is not done meanwhile,
 * and who comes to depend on it finds its state. Nor does it go on where meanwhile it was told that
 * nothing follows. */
static void close_edges(struct ferry__op *op, bool early)
{
    FOR_DEPENDENTS(edge, op)
    {
        if (early && !op->followed)
            break;
        if (!early || may_follow(edge))
            edge_close(edge, early);
        breathe_at_times(op->device);
    }
}

/* All that a join follows is handed over, or in the submission being built. */
static void join_advance(struct ferry__op *op)
{
    const bool early = op->join->early;
    if (op->state != FERRY__STATE_PARKED || op->deps_unsubmitted || (early && op->followed))
        return;
    if (early) {
        op->followed = true;
    } else {
        ferry__join_sum_up(op);
        ferry__op_become(op, FERRY__STATE_SUBMITTED);
    }
    close_edges(op, early);
}

void ferry__join_begin(struct ferry__op *op)
{
    join_advance(op);
    (void)finish_if_over(op);
}

/* A chain of joins is as long as it likes: one after another, not one within another. */
static void joins_tell(struct ferry_device *device)
{
    while (device->joins) {
        struct ferry__op *op = device->joins;
        device->joins = op->join->next;
        op->join->listed = false;
        join_advance(op);
        op->in_flight--; /* of join_list */
        (void)finish_if_over(op);
        breathe_at_times(device);
    }
}

void ferry__op_followed(struct ferry__op *op)
{
    if (op->stays)
        return;
    op->followed = true;
    op->in_flight++;
    close_edges(op, true);
    joins_tell(op->device);
    op->in_flight--;
}

/* Opens an edge again that was closed early. */
static void edge_open(struct ferry__edge *edge, struct ferry__op **joins)
{
    struct ferry__op *op = ferry__edge_op(edge);
    if (!edge->early || op->state >= FERRY__STATE_RECORDED)
        return;
    edge->early = false;
    edge->open = true;
    op->deps_unsubmitted++;
    if (op->state == FERRY__STATE_READY)
        ferry__ready_remove(op, FERRY__STATE_PARKED);
    /* The other half of a copy between devices may look meanwhile, and find that this one has to
     * wait: so it goes on when the edge is closed, resumed or not. */
    if (op->state == FERRY__STATE_SUSPENDED)
        ferry__op_become(op, FERRY__STATE_PARKED);
    if (!ferry__op_is_join(op))
        return;
    op->join->early--;
    if (!op->followed)
        return;
    op->followed = false;
    op->join->next_to_undo = *joins;
    *joins = op;
}

void ferry__op_unfollowed(struct ferry__op *op)
{
    if (!op->followed)
        return;
    op->followed = false;
    struct ferry__op *joins = NULL;
    while (op) {
        FOR_DEPENDENTS(edge, op)
        edge_open(edge, &joins);
        op = joins;
        if (op)
            joins = op->join->next_to_undo;
    }
}

void ferry__op_submitted(struct ferry__op *op)
{
    if (op->stays) /* no queue has what is still to come: what follows waits until op is done */
        return;
    if (op->state != FERRY__STATE_SUBMITTED)
        ferry__op_become(op, FERRY__STATE_SUBMITTED);
    op->value = op->device->queues[op->queue].value;
    unpark(op);
    op->in_flight++;
    close_edges(op, false);
    joins_tell(op->device);
    op->in_flight--;
}

/* --- done ------------------------------------------------------------------------------------- */

static void live_remove(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    for (struct ferry__walk *walk = device->walks; walk; walk = walk->outer)
        if (walk->next == op)
            walk->next = ferry__living(ferry__tree_next(&op->living));
    ferry__tree_remove(&device->living, &op->living);
    if (op->kept)
        ferry__tree_add(&device->tickets.held, &op->living);
}

/* Nobody follows an op that is done: so it may leave in pieces. */
static void leave_place(struct ferry__op *op)
{
    struct ferry__range *ranges = ferry__op_ranges(op);
    const size_t count = ferry__op_range_count(op);
    for (size_t i = 0; i < count; i++) {
        struct ferry__range *range = &ranges[i];
        if (range->entered) {
            while (ferry__order_leave_some(range, FERRY__RANGES_AT_ONCE))
                ferry__breathe(op->device);
            atomic_fetch_sub_explicit(&range->buffer->word, 1, memory_order_release);
        }
        ferry__breathe_each(op->device, i, FERRY__RANGES_AT_ONCE);
    }
}

static void count_op(struct ferry__op *op)
{
    struct ferry__metrics *metrics = &op->device->gpu.metrics;
    const uint64_t now = ferry__now_ns(), taken = now - op->start_ns;
    /* Of a bridge the writing half counts; external work has no operations of ours. */
    const bool counts =
        op->type->kind == FERRY__OP_TRANSFER || op->type->kind == FERRY__OP_BRIDGE_WRITE;
    for (size_t i = 0; i < op->count && counts; i++) {
        const struct ferry__transfer *transfer = &ferry__op_transfers(op)[i];
        ferry__count_timed_many(metrics, transfer->operation, transfer->path,
                                ferry__transfer_operations(transfer), transfer->size,
                                transfer->status, taken);
        ferry__breathe_each(op->device, i, FERRY__TRANSFERS_AT_ONCE);
    }
    if (op->device->trace)
        ferry__trace_op(op, now);
    if (!ferry__op_is_join(op))
        atomic_fetch_sub(&metrics->now.operations_in_flight, 1);
}

static void call_back(struct ferry__op *op)
{
    struct ferry__call *call = op->has_call ? ferry__op_take_call(op) : NULL;
    if (!call) {
        if (op->status && !op->keep && !op->has_waiter)
            ferry__log(FERRY_LOG_ERROR, "operation %llu failed, and nobody waits for it: %s",
                       (unsigned long long)op->ticket, ferry__reason_text(op->why));
        return;
    }
    call->ticket = op->ticket;
    call->status = op->status;
    call->why = ferry__reason_ref(op->why);
    ferry__callbacks_push(op->device, call);
}

static void set_told(struct ferry__op *op)
{
    atomic_store_explicit(&op->told, true, memory_order_release);
    op->device->awaited_done += op->awaited;
    op->awaited = false;
}

/* Imports for one transfer end before it does: once it is done its user may unmap the memory. Gives
 * up the lock for them. */
static void end_imports(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    if (op->type->kind != FERRY__OP_TRANSFER)
        return;
    for (size_t i = 0; i < op->count; i++) {
        struct ferry__transfer *transfer = &ferry__op_transfers(op)[i];
        struct ferry__region *region = ferry__region_of(transfer);
        ferry__breathe_each(device, i, FERRY__TRANSFERS_AT_ONCE);
        if (!region || !region->for_call)
            continue;
        transfer->region = NULL;
        ferry__device_unlock(device);
        ferry__region_unref(&device->gpu, region);
        ferry__device_lock(device);
    }
}

/* What walks over many gives up the lock on the way. All see op become done at once. */
static void finish(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    op->in_flight++; /* it is done once */
    end_imports(op);
    op->type->judge(op);
    if (op->status)
        ferry__questions_tell(op);
    unpark(op);
    count_op(op);
    op->in_flight--;
    op->kept = op->kept || (op->status && (op->keep || op->has_call));
    if (!atomic_load(&op->told))
        call_back(op);
    ferry__op_become(op, FERRY__STATE_DONE);
    set_told(op);
    atomic_store_explicit(&op->done, true, memory_order_release);
    if (ferry__op_range_count(op) > FERRY__RANGES_AT_ONCE)
        ferry__changed(device);
    leave_place(op);
    live_remove(op);
    ferry__list_push(&device->dead_ops, &op->dead);
}

void ferry__op_tell(struct ferry__op *op)
{
    op->kept = op->keep || op->has_call;
    call_back(op);
    set_told(op);
    ferry__changed(op->device);
}

/* Completes op if nothing is outstanding. What depends on it hears of that by tell_some. */
static bool finish_if_over(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    if (atomic_load(&op->done) || op->in_flight || op->deps_undone || (op->count && op->moving) ||
        (op->type->record && op->state < FERRY__STATE_RECORDED) ||
        (op->type->kind == FERRY__OP_EXTERNAL && !op->ended) ||
        (ferry__op_is_join(op) && op->state < FERRY__STATE_SUBMITTED))
        return false;
    finish(op);
    if (op->dependents)
        ferry__list_push(&device->closing, &op->closing);
    return true;
}

/* The first of what depends on the first op that is done and has not told all. */
static struct ferry__edge *next_to_tell(struct ferry_device *device)
{
    struct ferry__op *from = FERRY__OF_LINK(device->closing.first, struct ferry__op, closing);
    struct ferry__edge *edge = from->dependents->next;
    if (edge == from->dependents) {
        from->dependents = NULL;
        (void)ferry__list_pop(&device->closing);
    } else {
        from->dependents->next = edge->next;
    }
    return edge;
}

bool ferry__tell_some(struct ferry_device *device)
{
    bool any = false;
    for (unsigned i = 0; i < FERRY__AT_ONCE && device->closing.first; i++) {
        struct ferry__edge *edge = next_to_tell(device);
        any = true;
        edge_close(edge, false);
        struct ferry__op *op = ferry__edge_op(edge);
        if (--op->deps_undone == 0)
            (void)finish_if_over(op);
        joins_tell(device);
    }
    return any;
}

void ferry__op_try_done(struct ferry__op *op)
{
    struct ferry_device *device = op->device; /* op may be gone by the time all is told */
    const bool over = finish_if_over(op);
    if (ferry__tell_some(device) || over)
        ferry__changed(device);
}
