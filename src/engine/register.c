#include "engine/register.h"

#include "base/alloc.h"
#include "base/metrics.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/join.h"
#include "engine/op.h"
#include "engine/order.h"
#include "engine/ticket.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

/*
 * Order. Each buffer knows its last writes and the reads since; an op depends on those of them that
 * it must follow. Where they are many a join stands between.
 */

/* Who is to follow what: a question to the order, and its answer, device->follows from first on. */
struct question {
    struct ferry_device *device;
    const struct ferry__op *after; /* NULL, or what stands for all that is older than it */
    uint64_t number;
    size_t first;
};

static struct question ask_anew(struct ferry_device *device, size_t first)
{
    device->follow_count = first;
    return (struct question){.device = device, .number = ++device->questions, .first = first};
}

/* Each is noted once. */
static void note_follows(void *arg, struct ferry__op *from)
{
    const struct question *question = arg;
    struct ferry_device *device = question->device;
    if (from->mark == question->number)
        return;
    if (question->after && from->ticket < question->after->ticket)
        return;
    from->mark = question->number;
    if (ferry__reserve((void **)&device->follows, &device->follow_capacity, device->follow_count,
                       sizeof(struct ferry__op *)))
        device->follows[device->follow_count++] = from;
    else
        device->follow_short = true;
}

static void ask_range(struct question *question, const struct ferry__range *range)
{
    ferry__order_ask_range(range, note_follows, question);
}

static void add_edge(struct ferry__op *op, struct ferry__op *from)
{
    struct ferry__edge *edge = &op->edges[op->edge_count++];
    const bool same_queue = from->type->kind != FERRY__OP_EXTERNAL && from->queue == op->queue &&
                            op->type->kind != FERRY__OP_EXTERNAL;
    struct ferry__edge *last = from->dependents;
    *edge = (struct ferry__edge){.op = op, .from = from, .next = last ? last->next : edge};
    if (from->state < FERRY__STATE_SUBMITTED) {
        edge->early = from->followed && same_queue;
        edge->open = !edge->early;
    }
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
    if (ferry__op_is_join(op))
        op->join->early += edge->early;
}

/* op is to follow what device->follows has from first on: all that can fail in that. */
static bool edges_reserve(struct ferry__op *op, size_t first)
{
    struct ferry_device *device = op->device;
    const size_t count = device->follow_count - first;
    if (device->follow_short)
        return false;
    if (count > 1 && !(op->edges = ferry__alloc(count * sizeof *op->edges)))
        return false;
    struct ferry__op *const *follows = count ? device->follows + first : NULL;
    return !ferry__op_is_join(op) || ferry__join_note(op, follows, count);
}

static void live_push(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    op->live_previous = device->live_last;
    *(device->live_last ? &device->live_last->live_next : &device->live_first) = op;
    device->live_last = op;
}

/* Nothing fails any more: op has its ticket, follows those, and is found by others. */
static void come_to_life(struct ferry__op *op, size_t first)
{
    struct ferry_device *device = op->device;
    op->ticket = ferry__ticket_next(device);
    for (size_t i = first; i < device->follow_count; i++)
        add_edge(op, device->follows[i]);
    ferry__ticket_add(device, op);
    live_push(op);
    ferry__op_ref(op); /* the engine's, until it is done */
    device->last_ticket = op->ticket;
    if (ferry__op_is_join(op))
        ferry__join_begin(op);
    else
        FERRY__ADD(&device->gpu.metrics, operations_in_flight, 1);
}

/* A join of what device->follows has from first on, in its place there: its range, which has taken
 * no place yet. NULL: no host memory, and nothing is done. */
static struct ferry__range *join_crowd(struct ferry_device *device, size_t first,
                                       const struct ferry__range *range,
                                       enum ferry__range_kind kind)
{
    struct ferry__op *join = ferry__join_create(device, &ferry__join_type);
    if (!join || !edges_reserve(join, first)) {
        if (join)
            ferry__op_unref(join);
        return NULL;
    }
    come_to_life(join, first);
    *join->ranges = *range;
    join->ranges->op = join;
    join->ranges->kind = kind;
    join->range_count = 1;
    ferry__buffer_ref(range->buffer);
    device->follows[first] = join;
    device->follow_count = first + 1;
    ferry__op_unref_locked(join); /* the engine's is left */
    return join->ranges;
}

/* Each crowd of readers that a write would have to follow becomes a join: so many writes behind so
 * many readers have no more edges than there are of both. */
static bool join_readers(struct ferry_device *device, const struct ferry__range *range)
{
    struct ferry__read_group *group = NULL;
    while ((group = ferry__order_crowd(range, group, FERRY__CROWD))) {
        struct question question = ask_anew(device, device->follow_count);
        for (struct ferry__range *reader = group->first; reader; reader = reader->read.next)
            if (!atomic_load(&reader->op->done))
                note_follows(&question, reader->op);
        const struct ferry__range bytes = {
            .buffer = range->buffer, .begin = group->interval.begin, .end = group->interval.end};
        if (device->follow_count - question.first <= FERRY__CROWD) { /* the others are done */
            device->follow_count = question.first;
            continue;
        }
        struct ferry__range *joint = join_crowd(device, question.first, &bytes, FERRY__RANGE_READ);
        device->follow_count = question.first;
        if (!joint)
            return false;
        ferry__order_join_reads(group, joint);
        atomic_fetch_add(&range->buffer->word, 1);
        group = joint->read.group;
    }
    return true;
}

/* The writes that a read has to follow become a join, if they are many: later readers of the same
 * bytes ask that. */
static bool join_writers(struct ferry_device *device, struct ferry__range *range)
{
    const size_t first = device->follow_count;
    struct question question = ask_anew(device, first);
    ask_range(&question, range);
    if (device->follow_count - first <= FERRY__CROWD) {
        device->follow_count = first;
        return true;
    }
    const struct ferry__range bytes = {.buffer = range->buffer};
    range->read.joint = join_crowd(device, first, &bytes, FERRY__RANGE_AFTER);
    return range->read.joint;
}

/* Finds what op follows. Crowds of them are joined on the way, which changes nothing else: also
 * where op comes to nothing then. */
static bool ask_order(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    bool enough = true;
    device->follow_count = 0;
    device->follow_short = false;
    for (size_t i = 0; i < op->range_count && enough; i++)
        if (op->ranges[i].kind == FERRY__RANGE_WRITE)
            enough = join_readers(device, &op->ranges[i]);
    struct question question = ask_anew(device, 0);
    if (ferry__op_is_join(op) && op->after) {
        question.after = op->after;
        if (!atomic_load(&op->after->done))
            note_follows(&question, op->after);
    }
    for (size_t i = 0; i < op->range_count && enough; i++) {
        struct ferry__range *range = &op->ranges[i];
        const size_t before = device->follow_count;
        ask_range(&question, range);
        if (ferry__op_is_join(op) || range->kind != FERRY__RANGE_READ ||
            device->follow_count - before <= FERRY__CROWD)
            continue;
        device->follow_count = before;
        enough = join_writers(device, range);
    }
    return enough && !device->follow_short;
}

/* All that can fail in taking a place. */
static enum ferry_status prepare(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    bool enough = ask_order(op);
    for (size_t i = 0; i < op->range_count && enough && !ferry__op_is_join(op); i++) {
        struct ferry__range *range = &op->ranges[i];
        if (range->kind == FERRY__RANGE_WRITE && !range->spans &&
            ferry__order_splits(&range->buffer->order, range->begin, range->end))
            enough = (range->write.spare = ferry__alloc(sizeof *range->write.spare)) != NULL;
    }
    if (enough && edges_reserve(op, 0))
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu dependencies",
                       device->follow_count);
}

/* From now on what touches the bytes depends on op. */
static void take_place(struct ferry__op *op)
{
    for (size_t i = 0; i < op->range_count; i++) {
        struct ferry__range *range = &op->ranges[i];
        atomic_fetch_add(&range->buffer->word, 1);
        struct ferry__range *joint = range->kind == FERRY__RANGE_READ ? range->read.joint : NULL;
        ferry__order_enter(range);
        if (!joint)
            continue;
        atomic_fetch_add(&range->buffer->word, 1);
        ferry__order_join_writes(range, joint);
    }
}

enum ferry_status ferry__register(struct ferry__op *op)
{
    const enum ferry_status status = prepare(op);
    if (status)
        return status;
    come_to_life(op, 0);
    if (!ferry__op_is_join(op))
        take_place(op);
    return FERRY_OK;
}
