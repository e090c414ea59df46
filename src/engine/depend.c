#include "engine/depend.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/judge.h"
#include "engine/op.h"
#include "engine/order.h"
#include "engine/reason.h"
#include "engine/submission.h"
#include "engine/ticket.h"
#include "engine/traced.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

/* The external work of this ticket, if it is not done; NULL: it is, or there is none. */
static const struct ferry__op *external_undone(struct ferry_device *device, ferry_ticket ticket)
{
    const struct ferry__op *op = ticket ? ferry__table_find(device, ticket) : NULL;
    return op && !atomic_load(&op->done) ? op : NULL;
}

/* The latest that op is behind: where that is done, one of those that it depends on may still be
 * behind another. No more of them are asked than a message is worth. */
const struct ferry__op *ferry__external_before(const struct ferry__op *op)
{
    enum { ASKED_MAX = 16 };
    if (op->type->kind == FERRY__OP_EXTERNAL)
        return op;
    const struct ferry__op *external = external_undone(op->device, op->behind);
    for (size_t i = 0; i < op->edge_count && i < ASKED_MAX && !external && op->behind; i++) {
        const struct ferry__op *from = op->edges[i].from;
        if (!atomic_load(&from->done))
            external = from->type->kind == FERRY__OP_EXTERNAL
                           ? from
                           : external_undone(op->device, from->behind);
    }
    return external;
}

/*
 * Order. Each buffer knows its last write and the reads since; an op depends on those of them that
 * it must follow. An edge counts twice in its op: as unsubmitted until the other is handed to the
 * device (R3), as undone until it is done.
 */

/* --- taking a place in the order -------------------------------------------------------------- */

/* Notes that op follows another, once. */
static void note_follows(void *arg, struct ferry__op *from)
{
    struct ferry__op *op = arg;
    struct ferry_device *device = op->device;
    if (from == op || from->mark == op->ticket)
        return;
    if (op->after && from->ticket < op->after->ticket)
        return;
    from->mark = op->ticket;
    if (ferry__reserve((void **)&device->follows, &device->follow_capacity, device->follow_count,
                       sizeof(struct ferry__op *)))
        device->follows[device->follow_count++] = from;
    else
        device->follow_short = true;
}

static void ask_order(struct ferry__op *op)
{
    op->device->follow_count = 0;
    op->device->follow_short = false;
    if (op->after)
        note_follows(op, op->after);
    for (size_t i = 0; i < op->range_count; i++) {
        const struct ferry__range *range = &op->ranges[i];
        ferry__order_ask(range->order, range->kind == FERRY__RANGE_WRITE, range->begin, range->end,
                         note_follows, op);
    }
}

static void add_edge(struct ferry__op *op, struct ferry__op *from)
{
    struct ferry__edge *edge = &op->edges[op->edge_count++];
    const bool same_queue = from->type->kind != FERRY__OP_EXTERNAL && from->queue == op->queue &&
                            op->type->kind != FERRY__OP_EXTERNAL;
    struct ferry__edge *last = from->dependents;
    *edge = (struct ferry__edge){.op = op, .from = from, .next = last ? last->next : edge};
    edge->open = !(from->state >= FERRY__STATE_SUBMITTED || (from->followed && same_queue));
    if (last)
        last->next = edge;
    from->dependents = edge;
    const ferry_ticket behind =
        from->type->kind == FERRY__OP_EXTERNAL ? from->ticket : from->behind;
    if (behind > op->behind)
        op->behind = behind;
    ferry__op_ref(from);
    op->deps_undone++;
    op->deps_unsubmitted += edge->open;
}

/* All that can fail in taking a place. */
static enum ferry_status prepare(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    ask_order(op);
    bool enough = !device->follow_short;
    for (size_t i = 0; i < op->range_count && enough && op->type->kind != FERRY__OP_MARKER; i++) {
        struct ferry__range *range = &op->ranges[i];
        if (range->kind == FERRY__RANGE_WRITE &&
            ferry__order_splits(range->order, range->begin, range->end))
            enough = (range->write.spare = ferry__alloc(sizeof *range->write.spare)) != NULL;
    }
    if (enough && device->follow_count)
        enough = (op->edges = ferry__alloc(device->follow_count * sizeof *op->edges)) != NULL;
    return enough ? FERRY_OK
                  : ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY,
                                "no host memory for %zu dependencies", device->follow_count);
}

/* From now on what touches the bytes depends on op. */
static void take_place(struct ferry__op *op)
{
    for (size_t i = 0; i < op->range_count; i++) {
        atomic_fetch_add(&op->ranges[i].buffer->word, 1);
        op->ranges[i].buffer->last_use = op->ticket;
        ferry__order_enter(&op->ranges[i]);
    }
}

static void live_push(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    op->live_previous = device->live_last;
    *(device->live_last ? &device->live_last->live_next : &device->live_first) = op;
    device->live_last = op;
}

static void live_remove(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    *(op->live_previous ? &op->live_previous->live_next : &device->live_first) = op->live_next;
    *(op->live_next ? &op->live_next->live_previous : &device->live_last) = op->live_previous;
}

enum ferry_status ferry__register(struct ferry__op *op, ferry_ticket ticket)
{
    struct ferry_device *device = op->device;
    op->ticket = ticket;
    const enum ferry_status status = prepare(op);
    if (status)
        return status;
    for (size_t i = 0; i < device->follow_count; i++)
        add_edge(op, device->follows[i]);
    if (op->type->kind != FERRY__OP_MARKER)
        take_place(op);
    ferry__table_add(device, op);
    live_push(op);
    ferry__op_ref(op); /* the engine's, until it is done */
    device->last_ticket = ticket;
    FERRY__ADD(&device->gpu.metrics, operations_in_flight, 1);
    return FERRY_OK;
}

/* --- handing over ----------------------------------------------------------------------------- */

static void edge_close(struct ferry__edge *edge)
{
    if (!edge->open)
        return;
    edge->open = false;
    if (--edge->op->deps_unsubmitted == 0)
        ferry__ready_push(edge->op);
}

/* Each of what depends on op, by ticket. */
#define FOR_DEPENDENTS(edge, op)                                                      \
    for (struct ferry__edge *edge = (op)->dependents ? (op)->dependents->next : NULL, \
                            *last_ = (op)->dependents;                                \
         edge; edge = edge == last_ ? NULL : edge->next)

static bool may_follow(const struct ferry__edge *edge)
{
    return edge->op->queue == edge->from->queue && edge->op->type->kind != FERRY__OP_EXTERNAL;
}

enum ferry_status ferry__may_park(const struct ferry_device *device, uint64_t count)
{
    if (count <= device->parked_max && device->parked <= device->parked_max - count)
        return FERRY_OK;
    return ferry__fail(
        FERRY_ERROR_POOL_EXHAUSTED,
        "%llu operations of %s are parked, and no more than %llu may be: no room for "
        "%llu more",
        (unsigned long long)device->parked, device->gpu.info.name,
        (unsigned long long)device->parked_max, (unsigned long long)count);
}

void ferry__park(struct ferry__op *op)
{
    if (op->state >= FERRY__STATE_SUBMITTED)
        return;
    op->parked = true;
    op->device->parked += op->count;
}

static void unpark(struct ferry__op *op)
{
    if (op->parked)
        op->device->parked -= op->count;
    op->parked = false;
}

/* Gives up the lock on the way where they are many: op, which is pending, is not done meanwhile,
 * and who comes to depend on it finds its state. */
static void close_edges(struct ferry__op *op, bool all)
{
    unsigned seen = 0;
    op->in_flight++;
    FOR_DEPENDENTS(edge, op)
    {
        if (all || may_follow(edge))
            edge_close(edge);
        if (++seen % FERRY__AT_ONCE == 0)
            ferry__breathe(op->device);
    }
    op->in_flight--;
}

void ferry__op_followed(struct ferry__op *op)
{
    op->followed = true;
    close_edges(op, false);
}

void ferry__op_unfollowed(struct ferry__op *op)
{
    if (!op->followed)
        return;
    op->followed = false;
    FOR_DEPENDENTS(edge, op)
    if (!edge->open && may_follow(edge) && edge->op->state < FERRY__STATE_RECORDED) {
        edge->open = true;
        edge->op->deps_unsubmitted++;
        if (edge->op->state == FERRY__STATE_READY)
            ferry__ready_remove(edge->op, FERRY__STATE_PARKED);
    }
}

void ferry__op_submitted(struct ferry__op *op)
{
    if (op->state != FERRY__STATE_SUBMITTED)
        ferry__op_become(op, FERRY__STATE_SUBMITTED);
    unpark(op);
    close_edges(op, true);
}

/* --- done ------------------------------------------------------------------------------------- */

static void leave_place(struct ferry__op *op)
{
    if (op->type->kind == FERRY__OP_MARKER)
        return;
    for (size_t i = 0; i < op->range_count; i++) {
        ferry__order_leave(&op->ranges[i]);
        atomic_fetch_sub_explicit(&op->ranges[i].buffer->word, 1, memory_order_release);
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
        const struct ferry__transfer *transfer = &op->transfers[i];
        ferry__count_timed(metrics, transfer->operation, transfer->path, transfer->size,
                           transfer->status, taken);
    }
    if (op->device->trace)
        ferry__trace_op(op, now);
    atomic_fetch_sub(&metrics->now.operations_in_flight, 1);
}

static void call_back(struct ferry__op *op)
{
    struct ferry__call *call = op->call;
    if (!call) {
        if (op->status && !op->keep && !op->waiting)
            ferry__log(FERRY_LOG_ERROR, "operation %llu failed, and nobody asks: %s",
                       (unsigned long long)op->ticket, ferry__reason_text(op->why));
        return;
    }
    op->call = NULL;
    call->ticket = op->ticket;
    call->status = op->status;
    call->why = ferry__reason_ref(op->why);
    ferry__callbacks_push(op->device, call);
}

static void finish(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    op->type->judge(op);
    unpark(op);
    leave_place(op);
    live_remove(op);
    count_op(op);
    if (op->status && (op->keep || op->call))
        ferry__op_ref(op); /* the table keeps it */
    else
        ferry__table_remove(device, op);
    call_back(op);
    ferry__op_become(op, FERRY__STATE_DONE);
    atomic_store_explicit(&op->done, true, memory_order_release);
    op->dead_next = device->dead_ops;
    device->dead_ops = op;
}

/* Completes op if nothing is outstanding. What depends on it hears of that by tell_some. */
static bool finish_if_over(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    if (atomic_load(&op->done) || op->in_flight || op->deps_undone || (op->count && op->moving) ||
        (op->type->record && op->state < FERRY__STATE_RECORDED) ||
        (op->type->kind == FERRY__OP_EXTERNAL && !op->ended))
        return false;
    finish(op);
    op->closing_next = NULL;
    if (op->dependents) {
        *(device->closing ? &device->closing_last->closing_next : &device->closing) = op;
        device->closing_last = op;
    }
    return true;
}

/* The first of what depends on the first op that is done and has not told all. */
static struct ferry__edge *next_to_tell(struct ferry_device *device)
{
    struct ferry__op *from = device->closing;
    struct ferry__edge *edge = from->dependents->next;
    if (edge == from->dependents) {
        from->dependents = NULL;
        device->closing = from->closing_next;
    } else {
        from->dependents->next = edge->next;
    }
    return edge;
}

bool ferry__tell_some(struct ferry_device *device)
{
    bool any = false;
    for (unsigned i = 0; i < FERRY__AT_ONCE && device->closing; i++) {
        struct ferry__edge *edge = next_to_tell(device);
        any = true;
        edge_close(edge);
        if (--edge->op->deps_undone == 0)
            (void)finish_if_over(edge->op);
    }
    return any;
}

void ferry__op_try_done(struct ferry__op *op)
{
    const bool over = finish_if_over(op);
    if (ferry__tell_some(op->device) || over)
        ferry__changed(op->device);
}
