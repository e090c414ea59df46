#include "engine/register.h"

#include "base/alloc.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/thread.h"
#include "engine/buffer.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
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

/* --- turns ------------------------------------------------------------------------------------ */

static bool in_pieces(const struct ferry__op *op)
{
    return ferry__op_range_count(op) > FERRY__RANGES_AT_ONCE ||
           (op->type->kind == FERRY__OP_EXTERNAL && op->use_count > FERRY__RANGES_AT_ONCE);
}

/* Has it a range of this buffer? They are sorted by buffers. */
static bool uses_buffer(const struct ferry__op *op, const struct ferry_buffer *buffer)
{
    const struct ferry__range *ranges = ferry__op_ranges(op);
    const size_t count = ferry__op_range_count(op);
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if ((uintptr_t)ranges[middle].buffer < (uintptr_t)buffer)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ranges[low].buffer == buffer;
}

bool ferry__is_claimed(const struct ferry__op *op)
{
    const struct ferry__claim *claim = op->device->claims;
    if (!claim || in_pieces(op)) /* to compare many with many would take long itself */
        return claim;
    for (; claim; claim = claim->next)
        for (size_t i = 0; i < ferry__op_range_count(op); i++)
            if (uses_buffer(claim->op, ferry__op_ranges(op)[i].buffer))
                return true;
    return false;
}

void ferry__await_turn(const struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    if (!device->claims)
        return;
    const int cancel = ferry__cancel_off();
    while (ferry__is_claimed(op))
        ferry__cond_wait(&device->turn, &device->lock);
    ferry__cancel_on(cancel);
}

static void claim_end(struct ferry_device *device, const struct ferry__claim *claim)
{
    struct ferry__claim **link = &device->claims;
    while (*link != claim)
        link = &(*link)->next;
    *link = claim->next;
    pthread_cond_broadcast(&device->turn);
}

/* --- what is followed ------------------------------------------------------------------------- */

/* A question to the order, and its answer: follows, from first on. */
struct question {
    struct ferry__follows *follows;
    const struct ferry__op *after; /* NULL, or what stands for all that is older than it */
    size_t first;
};

static struct question ask_anew(struct ferry__follows *follows)
{
    return (struct question){.follows = follows, .first = follows->count};
}

/* Each is noted once: its mark is where. */
static void note_follows(void *arg, struct ferry__op *from)
{
    const struct question *question = arg;
    struct ferry__follows *follows = question->follows;
    if (from->mark >= question->first && from->mark < follows->count &&
        follows->list[from->mark] == from)
        return;
    if (question->after && from->ticket < question->after->ticket)
        return;
    if (!ferry__reserve((void **)&follows->list, &follows->capacity, follows->count,
                        sizeof(struct ferry__op *))) {
        follows->short_of_memory = true;
        return;
    }
    from->mark = (uint32_t)follows->count;
    follows->list[follows->count++] = from;
    if (follows->held)
        ferry__op_ref(from);
}

/* Out of the breath in which they were noted they may be done, and nobody else's. */
static void follows_cut(struct ferry_device *device, struct ferry__follows *follows, size_t first)
{
    const bool one_breath = device->in_one_breath;
    if (!follows->held)
        follows->count = first;
    if (follows->count == first)
        return;
    if (!one_breath)
        ferry__device_unlock(device);
    while (follows->count > first) {
        struct ferry__op *op = follows->list[--follows->count];
        if (one_breath)
            ferry__op_unref_locked(op);
        else
            ferry__op_unref(op);
    }
    if (!one_breath)
        ferry__device_lock(device);
}

/* A long list takes long to free. */
static void follows_finish(struct ferry_device *device, struct ferry__follows *follows)
{
    const bool one_breath = device->in_one_breath;
    follows_cut(device, follows, 0);
    if (!one_breath)
        ferry__device_unlock(device);
    ferry__free(follows->list);
    if (!one_breath)
        ferry__device_lock(device);
}

/* And to grow: so it has room for what is noted until the next breath. */
static void follows_breathe(struct ferry_device *device, struct ferry__follows *follows)
{
    if (!device->in_one_breath && follows->count + FERRY__RANGES_AT_ONCE >= follows->capacity) {
        ferry__device_unlock(device);
        (void)!ferry__reserve((void **)&follows->list, &follows->capacity, follows->capacity,
                              sizeof(struct ferry__op *));
        ferry__device_lock(device);
    }
    ferry__breathe(device);
}

/* Gives up the lock on the way where it is much. */
static void ask_range(struct ferry_device *device, struct question *question,
                      const struct ferry__range *range)
{
    if (!question->follows->held || !ferry__order_is_much(range, FERRY__RANGES_AT_ONCE)) {
        ferry__order_ask_range(range, note_follows, question);
        return;
    }
    struct ferry__order_parts parts = {.range = range};
    while (ferry__order_ask_some(&parts, FERRY__RANGES_AT_ONCE, note_follows, question))
        follows_breathe(device, question->follows);
}

/* How many tickets before op's another one came; 0: too many. */
static uint32_t behind_by(const struct ferry__op *op, ferry_ticket behind)
{
    const uint64_t by = (op->ticket - behind) >> FERRY__DEVICE_BITS;
    return by <= UINT32_MAX ? (uint32_t)by : 0;
}

static void add_edge(struct ferry__op *op, struct ferry__op *from)
{
    const uint32_t at = op->many_edges ? op->edges->count++ : 0;
    struct ferry__edge *edge = &ferry__op_edges(op)[at];
    const bool same_queue = from->type->kind != FERRY__OP_EXTERNAL && from->queue == op->queue &&
                            op->type->kind != FERRY__OP_EXTERNAL;
    struct ferry__edge *last = from->dependents;
    *edge = (struct ferry__edge){
        .from = from, .next = last ? last->next : edge, .at = at, .lone = !op->many_edges};
    if (from->state < FERRY__STATE_SUBMITTED) {
        edge->early = from->followed && same_queue;
        edge->open = !edge->early;
    }
    if (last)
        last->next = edge;
    from->dependents = edge;
    const ferry_ticket behind =
        from->type->kind == FERRY__OP_EXTERNAL ? from->ticket : ferry__op_behind(from);
    if (behind > ferry__op_behind(op))
        op->behind_by = behind_by(op, behind);
    ferry__op_ref(from);
    op->deps_undone++;
    op->deps_unsubmitted += edge->open;
    if (ferry__op_is_join(op))
        op->join->early += edge->early;
}

/* Much memory may take the allocator long: so it is made out of the lock, where that may be given
 * up. */
static struct ferry__edges *edges_make(struct ferry_device *device,
                                       const struct ferry__follows *follows, size_t count)
{
    struct ferry__edges *edges;
    const bool breathes = follows->held && !device->in_one_breath && count > FERRY__RANGES_AT_ONCE;
    if (breathes)
        ferry__device_unlock(device);
    edges = ferry__alloc_unset(sizeof *edges + count * sizeof *edges->list);
    if (breathes)
        ferry__device_lock(device);
    return edges;
}

/* op is to follow what there is from first on: all that can fail in that. */
static bool edges_reserve(struct ferry__op *op, const struct ferry__follows *follows, size_t first)
{
    const size_t count = follows->count - first;
    if (follows->short_of_memory)
        return false;
    if (count > 1) {
        struct ferry__edges *edges = edges_make(op->device, follows, count);
        if (!edges)
            return false;
        *edges = (struct ferry__edges){.op = op};
        op->edges = edges;
        op->many_edges = true;
    }
    struct ferry__op *const *list = count ? follows->list + first : NULL;
    return !ferry__op_is_join(op) || ferry__join_note(op, list, count);
}

/* Nothing fails any more: op has its ticket, follows those, and is found by others. It does not
 * begin, nor end, before begin is called. */
static void come_to_life(struct ferry__op *op, const struct ferry__follows *follows, size_t first)
{
    struct ferry_device *device = op->device;
    op->ticket = ferry__ticket_next(device);
    op->deps_unsubmitted++;
    op->deps_undone++;
    op->registers = true;
    ferry__tree_add(&device->living, &op->living);
    ferry__op_ref(op); /* the engine's, until it is done */
    device->last_ticket = op->ticket;
    if (!ferry__op_is_join(op))
        FERRY__ADD(&device->gpu.metrics, operations_in_flight, 1);
    for (size_t i = first; i < follows->count; i++) {
        if (!atomic_load(&follows->list[i]->done))
            add_edge(op, follows->list[i]);
        ferry__breathe_each(device, i, FERRY__RANGES_AT_ONCE);
    }
}

static void begin(struct ferry__op *op)
{
    op->deps_unsubmitted--;
    op->deps_undone--;
    op->registers = false;
    if (ferry__op_is_join(op))
        ferry__join_begin(op);
}

/* A join of what there is from first on, in its place there: its range, which has taken no place
 * yet. Where the lock is given up on the way it may be done by then. NULL: no host memory, and
 * nothing is done. */
static struct ferry__range *join_crowd(struct ferry_device *device, struct ferry__follows *follows,
                                       size_t first, const struct ferry__range *range,
                                       enum ferry__range_kind kind)
{
    struct ferry__op *join = ferry__join_create(device, &ferry__join_type);
    if (!join || !edges_reserve(join, follows, first)) {
        if (join)
            ferry__op_unref(join);
        return NULL;
    }
    *join->own_ranges = *range;
    join->own_ranges->op = join;
    join->own_ranges->kind = kind;
    join->own_count = 1;
    ferry__buffer_ref(range->buffer);
    come_to_life(join, follows, first);
    begin(join);
    follows_cut(device, follows, first);
    join->mark = (uint32_t)first;
    follows->list[follows->count++] = join;
    if (!follows->held)
        ferry__op_unref_locked(join); /* the engine's is left */
    return join->own_ranges;
}

/* The readers of a group that are not done. breathes: the lock is given up on the way. */
static void note_readers(struct ferry_device *device, struct question *question,
                         const struct ferry__read_group *group, bool breathes)
{
    struct ferry__range *reader = group->first, *next = NULL;
    struct ferry__range ***walk = &reader->buffer->order.walk;
    if (breathes)
        *walk = &next;
    for (size_t i = 0; reader; i++, reader = next) {
        next = reader->read.next;
        if (!atomic_load(&reader->op->done))
            note_follows(question, reader->op);
        if (breathes && i % FERRY__RANGES_AT_ONCE == FERRY__RANGES_AT_ONCE - 1)
            follows_breathe(device, question->follows);
    }
    if (breathes)
        *walk = NULL;
}

/* The joint of a crowd, NULL where most of it is done. False: no host memory. */
static bool join_group(struct ferry_device *device, struct ferry__follows *follows,
                       const struct ferry__read_group *group, const struct ferry__range *bytes,
                       bool breathes, struct ferry__range **out_joint)
{
    struct question question = ask_anew(follows);
    const size_t first = follows->count;
    *out_joint = NULL;
    device->in_one_breath += !breathes; /* what was asked is still so */
    note_readers(device, &question, group, breathes);
    const bool is_crowd = follows->count - first > FERRY__CROWD;
    if (is_crowd)
        *out_joint = join_crowd(device, follows, first, bytes, FERRY__RANGE_READ);
    if (!*out_joint)
        follows_cut(device, follows, first);
    device->in_one_breath -= !breathes;
    return *out_joint || !is_crowd;
}

/* Gives up the lock on the way where groups are many. */
static struct ferry__read_group *next_crowd(struct ferry_device *device,
                                            const struct ferry__range *range,
                                            struct ferry__order_crowds *crowds)
{
    for (;;) {
        struct ferry__read_group *group =
            ferry__order_crowd_some(range, crowds, FERRY__CROWD, FERRY__RANGES_AT_ONCE);
        if (group || !crowds->more)
            return group;
        ferry__breathe(device);
    }
}

/* Each crowd of readers that a write would have to follow becomes a join: so many writes behind so
 * many readers have no more edges than there are of both. */
static bool join_readers(struct ferry_device *device, struct ferry__follows *follows,
                         const struct ferry__range *range)
{
    struct ferry__order_crowds crowds = {0};
    struct ferry__read_group *group = follows->held ? next_crowd(device, range, &crowds)
                                                    : ferry__order_crowd(range, NULL, FERRY__CROWD);
    bool enough = true;
    while (group && enough) {
        const bool breathes = follows->held && !group->first->spans;
        const uint64_t begin = group->interval.begin, end = group->interval.end;
        const struct ferry__range bytes = {.buffer = range->buffer, .begin = begin, .end = end};
        struct ferry__range *joint;
        enough = join_group(device, follows, group, &bytes, breathes, &joint);
        if (breathes) /* the group may be gone, or lie elsewhere */
            group = ferry__order_group(&range->buffer->order, begin, end);
        if (group && joint && !atomic_load(&joint->op->done)) {
            ferry__order_join_reads(group, joint);
            atomic_fetch_add(&range->buffer->word, 1);
            group = joint->read.group;
        }
        group = follows->held ? next_crowd(device, range, &crowds)
                              : ferry__order_crowd(range, group, FERRY__CROWD);
    }
    if (follows->held)
        range->buffer->order.list_walk = NULL;
    return enough;
}

/* The writes that a read has to follow become a join, if they are many: later readers of the same
 * bytes ask that. */
static bool join_writers(struct ferry_device *device, struct ferry__follows *follows,
                         struct ferry__range *range)
{
    struct question question = ask_anew(follows);
    ask_range(device, &question, range);
    if (follows->count - question.first <= FERRY__CROWD) /* by now */
        return true;
    const struct ferry__range bytes = {.buffer = range->buffer};
    range->read.joint = join_crowd(device, follows, question.first, &bytes, FERRY__RANGE_AFTER);
    return range->read.joint;
}

/* The piece that a write cuts in two, if one is, is two then. Also of one that has left when it
 * does. */
static bool make_spare(struct ferry__range *range)
{
    if (range->kind != FERRY__RANGE_WRITE || range->spans ||
        !ferry__order_splits(&range->buffer->order, range->begin, range->end))
        return true;
    return (range->write.own.next = ferry__alloc(sizeof *range->write.own.next)) != NULL;
}

/* Finds what op's ranges must follow. Crowds of it are joined on the way, which changes nothing
 * else: also where op comes to nothing then. after: NULL, or what stands for all that is older. */
static bool ask_order(struct ferry__op *op, struct ferry__follows *follows, struct ferry__op *after)
{
    struct ferry_device *device = op->device;
    struct question question = ask_anew(follows);
    struct ferry__range *ranges = ferry__op_ranges(op);
    const size_t count = ferry__op_range_count(op);
    bool enough = true;
    if (after && !atomic_load(&after->done)) {
        question.after = after;
        note_follows(&question, after);
    }
    for (size_t i = 0; i < count && enough; i++) {
        struct ferry__range *range = &ranges[i];
        const size_t before = follows->count;
        if (range->kind == FERRY__RANGE_WRITE)
            enough = join_readers(device, follows, range);
        ask_range(device, &question, range);
        if (enough && range->kind == FERRY__RANGE_READ && !ferry__op_is_join(op) &&
            follows->count - before > FERRY__CROWD) {
            follows_cut(device, follows, before);
            enough = join_writers(device, follows, range);
        }
        if (enough && !ferry__op_is_join(op))
            enough = make_spare(range);
        ferry__breathe_each(device, i, FERRY__RANGES_AT_ONCE);
    }
    return enough && !follows->short_of_memory;
}

/* Are its ranges few, and none of them is in anybody's way? */
static bool is_alone(const struct ferry__op *op)
{
    if (in_pieces(op) || ferry__op_is_join(op))
        return false;
    const struct ferry__range *ranges = ferry__op_ranges(op);
    const size_t count = ferry__op_range_count(op);
    for (size_t i = 0; i < count; i++)
        if (!ferry__order_alone(&ranges[i]))
            return false;
    return true;
}

/* All that can fail in taking a place, of op and of who follows what it must. */
static enum ferry_status prepare(struct ferry__op *op, struct ferry__op *follower,
                                 struct ferry__follows *follows)
{
    if (ask_order(op, follows, ferry__op_is_join(op) ? op->after : NULL) &&
        edges_reserve(follower, follows, 0))
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu dependencies",
                       follows->count);
}

/* From now on what touches the bytes depends on op. */
static void take_place(struct ferry__op *op, bool alone)
{
    struct ferry__range *ranges = ferry__op_ranges(op);
    const size_t count = ferry__op_range_count(op);
    for (size_t i = 0; i < count; i++) {
        struct ferry__range *range = &ranges[i];
        atomic_fetch_add(&range->buffer->word, 1);
        if (alone) {
            ferry__order_enter_alone(range);
            continue;
        }
        struct ferry__range *joint = range->kind == FERRY__RANGE_READ ? range->read.joint : NULL;
        struct ferry__order_parts lists = {.range = range};
        while (ferry__order_enter_some(range, FERRY__RANGES_AT_ONCE))
            ferry__breathe(op->device);
        while (ferry__order_cover_some(&lists, FERRY__RANGES_AT_ONCE))
            ferry__breathe(op->device);
        if (joint && !atomic_load(&joint->op->done)) {
            atomic_fetch_add(&range->buffer->word, 1);
            ferry__order_join_writes(range, joint);
        }
        ferry__breathe_each(op->device, i, FERRY__RANGES_AT_ONCE);
    }
}

/* op takes its place; follower, which is op or comes just before it, follows all that op must. */
static enum ferry_status enter(struct ferry__op *op, struct ferry__op *follower,
                               struct ferry__follows *follows, bool alone)
{
    const enum ferry_status status = alone ? FERRY_OK : prepare(op, follower, follows);
    if (status)
        return status;
    come_to_life(follower, follows, 0);
    if (follower != op) {
        struct ferry__follows one = {.list = &follower, .count = 1};
        begin(follower);
        come_to_life(op, &one, 0);
    }
    if (!ferry__op_is_join(op))
        take_place(op, alone);
    return FERRY_OK;
}

/* Who asked for a ticket of all on these bytes, before op had taken its place on them, has a larger
 * one. */
static void note_late(struct ferry__op *op)
{
    for (size_t i = 0; i < ferry__op_range_count(op); i++) {
        ferry__op_ranges(op)[i].buffer->order.late = op->device->last_ticket;
        ferry__breathe_each(op->device, i, FERRY__RANGES_AT_ONCE);
    }
}

/* alone: as is_alone says, of an op that is its own follower. */
static enum ferry_status register_both(struct ferry__op *op, struct ferry__op *follower,
                                       bool pieces, bool alone)
{
    struct ferry_device *device = op->device;
    struct ferry__follows many = {.held = true};
    struct ferry__claim claim = {op, device->claims};
    device->follows.count = 0;
    device->follows.short_of_memory = false;
    if (pieces)
        device->claims = &claim;
    else
        device->in_one_breath++;
    const enum ferry_status status = enter(op, follower, pieces ? &many : &device->follows, alone);
    if (pieces) {
        follows_finish(device, &many);
        if (!status)
            note_late(op);
        claim_end(device, &claim);
    }
    if (!status)
        begin(op);
    if (!pieces)
        device->in_one_breath--;
    return status;
}

/* Has it few ranges, and many others to follow? Then it does that by a join. */
static bool follows_many(const struct ferry__op *op)
{
    if (in_pieces(op) || ferry__op_is_join(op) || op->device->in_one_breath)
        return false;
    const struct ferry__range *ranges = ferry__op_ranges(op);
    const size_t count = ferry__op_range_count(op);
    for (size_t i = 0; i < count; i++) {
        const struct ferry__range *range = &ranges[i];
        const struct ferry__order *order = &range->buffer->order;
        const uint64_t word = atomic_load_explicit(&range->buffer->word, memory_order_relaxed);
        const bool many = (word & ~FERRY__BUFFER_FAILED) >= FERRY__RANGES_AT_ONCE;
        if ((many || order->list_writes.root || order->list_reads.root) &&
            ferry__order_is_much(range, FERRY__RANGES_AT_ONCE))
            return true;
    }
    return false;
}

enum ferry_status ferry__register(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    const bool alone = is_alone(op);
    if (alone || !follows_many(op))
        return register_both(op, op, in_pieces(op), alone);
    struct ferry__op *join = ferry__join_create(device, &ferry__join_type);
    if (!join)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    join->start_ns = op->start_ns;
    const enum ferry_status status = register_both(op, join, true, false);
    ferry__device_unlock(device);
    ferry__op_unref(join);
    ferry__device_lock(device);
    return status;
}

enum ferry_status ferry__register_behind(struct ferry__op *join, struct ferry__op *op)
{
    return register_both(op, join, in_pieces(op) || follows_many(op), false);
}
