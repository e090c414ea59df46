#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Order. Each buffer knows its last write and the reads since; an op depends on those of them that it
 * must follow. An edge counts twice in its op: as unhanded until the other is handed to the device
 * (R3), as undone until it is done.
 */

/* --- the buffers of an op --------------------------------------------------------------------- */

struct access {
    struct ferry_buffer *buffer;
    unsigned access;
};

static int by_buffer(const void *a, const void *b)
{
    const struct access *left = a, *right = b;
    if (left->buffer != right->buffer)
        return (uintptr_t)left->buffer < (uintptr_t)right->buffer ? -1 : 1;
    return 0;
}

static size_t merge_accesses(struct access *list, size_t count)
{
    size_t kept = 0;
    qsort(list, count, sizeof *list, by_buffer);
    for (size_t i = 0; i < count; i++)
        if (kept && list[kept - 1].buffer == list[i].buffer)
            list[kept - 1].access |= list[i].access;
        else
            list[kept++] = list[i];
    return kept;
}

static size_t list_accesses(const struct ferry__op *op, struct access *list)
{
    size_t count = 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct ferry__item *item = &op->items[i];
        if (!item->size)
            continue;
        if (item->dst)
            list[count++] = (struct access){item->dst, FERRY_ACCESS_WRITE};
        if (item->src)
            list[count++] = (struct access){item->src, FERRY_ACCESS_READ};
    }
    return merge_accesses(list, count);
}

static enum ferry_status set_uses(struct ferry__op *op, const struct access *list, size_t count)
{
    if (count > 2) {
        struct ferry__use_node *uses = ferry__alloc(count * sizeof *uses);
        if (!uses)
            return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu buffers",
                               count);
        op->uses = uses;
    }
    for (size_t i = 0; i < count; i++)
        op->uses[i] =
            (struct ferry__use_node){.buffer = list[i].buffer, .op = op, .access = list[i].access};
    op->use_count = count;
    return FERRY_OK;
}

/* Room for so many accesses; NULL: none. few is enough for most. */
static struct access *access_room(struct access few[2], size_t count)
{
    struct access *list = count <= 2 ? few : ferry__alloc(count * sizeof *list);
    if (!list)
        (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu buffers", count);
    return list;
}

enum ferry_status ferry__uses_gather(struct ferry__op *op)
{
    struct access few[2], *list = access_room(few, 2 * op->count);
    if (!list)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    const enum ferry_status status = set_uses(op, list, list_accesses(op, list));
    if (list != few)
        ferry__free(list);
    return status;
}

enum ferry_status ferry__uses_set(struct ferry__op *op, const struct ferry_use *uses, size_t count)
{
    struct access few[2], *list = access_room(few, count);
    if (!list)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    for (size_t i = 0; i < count; i++)
        list[i] = (struct access){uses[i].buffer, uses[i].access};
    const enum ferry_status status = set_uses(op, list, merge_accesses(list, count));
    if (list != few)
        ferry__free(list);
    if (status)
        return status;
    for (size_t i = 0; i < op->use_count; i++)
        ferry__buffer_ref(op->uses[i].buffer);
    op->holds_buffers = true;
    return FERRY_OK;
}

/* --- taking a place in the order -------------------------------------------------------------- */

/* Visits what a use depends on; with edges it makes them, without it counts. */
static size_t visit(struct ferry__op *op, struct ferry__op *from, struct ferry__edge *edges,
                    size_t count)
{
    if (!from || from->mark == op->ticket || from == op)
        return count;
    if (op->after && from->ticket < op->after->ticket)
        return count;
    if (!edges)
        return count + 1; /* an upper bound: the marks are not set */
    from->mark = op->ticket;
    struct ferry__edge *edge = &edges[count];
    const bool same_queue = from->kind != FERRY__OP_EXTERNAL && from->queue == op->queue &&
                            op->kind != FERRY__OP_EXTERNAL;
    struct ferry__edge *last = from->dependents;
    *edge = (struct ferry__edge){.op = op, .from = from, .next = last ? last->next : edge};
    edge->open = !(from->handed || (from->followed && same_queue));
    if (last)
        last->next = edge;
    from->dependents = edge;
    const ferry_ticket behind = from->kind == FERRY__OP_EXTERNAL ? from->ticket : from->behind;
    if (behind > op->behind)
        op->behind = behind;
    ferry__op_ref(from);
    op->undone++;
    op->unhanded += edge->open;
    return count + 1;
}

static size_t visit_uses(struct ferry__op *op, struct ferry__edge *edges)
{
    size_t count = visit(op, op->after, edges, 0);
    for (size_t i = 0; i < op->use_count; i++) {
        const struct ferry__use_node *use = &op->uses[i];
        count = visit(op, use->buffer->last_write, edges, count);
        if (!(use->access & FERRY_ACCESS_WRITE))
            continue;
        for (struct ferry__use_node *read = use->buffer->reads; read; read = read->next)
            count = visit(op, read->op, edges, count);
    }
    return count;
}

static void unlink_read(struct ferry__use_node *use)
{
    if (!use->linked)
        return;
    if (use->previous)
        use->previous->next = use->next;
    else
        use->buffer->reads = use->next;
    if (use->next)
        use->next->previous = use->previous;
    use->linked = false;
}

static void link_read(struct ferry__use_node *use)
{
    use->previous = NULL;
    use->next = use->buffer->reads;
    if (use->next)
        use->next->previous = use;
    use->buffer->reads = use;
    use->linked = true;
}

/* From now on what uses the buffers depends on op. */
static void take_place(struct ferry__op *op)
{
    for (size_t i = 0; i < op->use_count; i++) {
        struct ferry__use_node *use = &op->uses[i];
        atomic_fetch_add(&use->buffer->word, 1);
        use->buffer->last_use = op->ticket;
        if (use->access & FERRY_ACCESS_WRITE) {
            while (use->buffer->reads)
                unlink_read(use->buffer->reads);
            use->buffer->last_write = op;
        } else {
            link_read(use);
        }
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
    const size_t most = visit_uses(op, NULL);
    if (most && !(op->edges = ferry__alloc(most * sizeof *op->edges)))
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu dependencies",
                           most);
    op->edge_count = visit_uses(op, op->edges);
    if (op->kind != FERRY__OP_READY)
        take_place(op);
    ferry__table_add(device, op);
    live_push(op);
    ferry__op_ref(op); /* the engine's, until it is done */
    device->last_ticket = ticket;
    FERRY__ADD(&device->metrics, operations_in_flight, 1);
    return FERRY_OK;
}

/* --- handing over ----------------------------------------------------------------------------- */

static void edge_close(struct ferry__edge *edge)
{
    if (!edge->open)
        return;
    edge->open = false;
    if (--edge->op->unhanded == 0)
        ferry__ready_push(edge->op);
}

/* Each of what depends on op, by ticket. */
#define FOR_DEPENDENTS(edge, op)                                                      \
    for (struct ferry__edge *edge = (op)->dependents ? (op)->dependents->next : NULL, \
                            *last_ = (op)->dependents;                                \
         edge; edge = edge == last_ ? NULL : edge->next)

static bool may_follow(const struct ferry__edge *edge)
{
    return edge->op->queue == edge->from->queue && edge->op->kind != FERRY__OP_EXTERNAL;
}

enum ferry_status ferry__may_park(const struct ferry_device *device, uint64_t count)
{
    if (count <= device->parked_max && device->parked <= device->parked_max - count)
        return FERRY_OK;
    return ferry__fail(
        FERRY_ERROR_POOL_EXHAUSTED,
        "%llu operations of %s are parked, and no more than %llu may be: no room for "
        "%llu more",
        (unsigned long long)device->parked, device->info.name,
        (unsigned long long)device->parked_max, (unsigned long long)count);
}

void ferry__park(struct ferry__op *op)
{
    if (op->handed)
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

/* Gives up the lock on the way where they are many: op, which is pending, is not done meanwhile, and
 * who comes to depend on it finds its state. */
static void close_edges(struct ferry__op *op, bool all)
{
    unsigned seen = 0;
    op->pending++;
    FOR_DEPENDENTS(edge, op)
    {
        if (all || may_follow(edge))
            edge_close(edge);
        if (++seen % FERRY__AT_ONCE == 0)
            ferry__breathe(op->device);
    }
    op->pending--;
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
    if (!edge->open && may_follow(edge) && !edge->op->gathered) {
        edge->open = true;
        edge->op->unhanded++;
        ferry__ready_remove(edge->op);
    }
}

void ferry__op_handed(struct ferry__op *op)
{
    op->gathered = op->handed = true;
    unpark(op);
    close_edges(op, true);
}

/* --- failures (R9) ---------------------------------------------------------------------------- */

bool ferry__failed_touch(const struct ferry_buffer *buffer, uint64_t begin, uint64_t size)
{
    const struct ferry__failure *failure = &buffer->failure;
    return failure->status && begin < failure->end && failure->begin < begin + size;
}

void ferry__failed_add(struct ferry_buffer *buffer, uint64_t begin, uint64_t size,
                       enum ferry_status status, const char *why)
{
    struct ferry__failure *failure = &buffer->failure;
    if (!size)
        return;
    failure->count++;
    if (!failure->status) {
        failure->begin = begin;
        failure->end = begin + size;
        failure->status = status;
        snprintf(failure->why, sizeof failure->why, "%s", why);
        atomic_fetch_or(&buffer->word, FERRY__BUFFER_FAILED);
        return;
    }
    if (begin < failure->begin)
        failure->begin = begin;
    if (begin + size > failure->end)
        failure->end = begin + size;
}

void ferry__failed_cover(struct ferry_buffer *buffer, uint64_t begin, uint64_t size)
{
    struct ferry__failure *failure = &buffer->failure;
    if (!failure->status || begin > failure->begin || begin + size < failure->end)
        return;
    failure->status = FERRY_OK;
    atomic_fetch_and(&buffer->word, ~FERRY__BUFFER_FAILED);
}

static void fail_op(struct ferry__op *op, enum ferry_status status, const char *why)
{
    if (op->status)
        return;
    op->status = status;
    if (why != op->why)
        snprintf(op->why, sizeof op->why, "%s", why);
}

/* One operation after another, as if they had been done in that order. */
static void judge_items(struct ferry__op *op)
{
    for (size_t i = 0; i < op->count; i++) {
        struct ferry__item *item = &op->items[i];
        const char *why = op->why;
        if (!item->size)
            continue;
        if (!item->status && item->src &&
            ferry__failed_touch(item->src, item->src_offset, item->size)) {
            item->status = item->src->failure.status;
            why = item->src->failure.why;
        }
        if (item->status) {
            fail_op(op, item->status, why);
            if (item->dst && !item->untouched)
                ferry__failed_add(item->dst, item->dst_offset, item->size, item->status, why);
        } else if (item->dst) {
            ferry__failed_cover(item->dst, item->dst_offset, item->size);
        }
    }
}

/* The user's work: its uses are whole buffers. */
static void judge_uses(struct ferry__op *op)
{
    for (size_t i = 0; i < op->use_count && !op->status; i++) {
        const struct ferry_buffer *buffer = op->uses[i].buffer;
        if ((op->uses[i].access & FERRY_ACCESS_READ) && buffer->failure.status)
            fail_op(op, buffer->failure.status, buffer->failure.why);
    }
    if (op->kind == FERRY__OP_READY)
        return;
    for (size_t i = 0; i < op->use_count; i++) {
        struct ferry_buffer *buffer = op->uses[i].buffer;
        if (!(op->uses[i].access & FERRY_ACCESS_WRITE))
            continue;
        if (op->status)
            ferry__failed_add(buffer, 0, buffer->size, op->status, op->why);
    }
}

/* --- done ------------------------------------------------------------------------------------- */

static void leave_place(struct ferry__op *op)
{
    if (op->kind == FERRY__OP_READY)
        return;
    for (size_t i = 0; i < op->use_count; i++) {
        struct ferry__use_node *use = &op->uses[i];
        unlink_read(use);
        if (use->buffer->last_write == op)
            use->buffer->last_write = NULL;
        atomic_fetch_sub_explicit(&use->buffer->word, 1, memory_order_release);
    }
}

static void count_op(struct ferry__op *op)
{
    struct ferry__metrics *metrics = &op->device->metrics;
    const uint64_t now = ferry__now_ns(), taken = now - op->start_ns;
    /* Of a bridge the writing half counts; external work has no operations of ours. */
    const bool counts = op->kind == FERRY__OP_ITEMS || op->kind == FERRY__OP_BRIDGE_WRITE;
    for (size_t i = 0; i < op->count && counts; i++) {
        const struct ferry__item *item = &op->items[i];
        ferry__count_timed(metrics, item->operation, item->path, item->size, item->status, taken);
    }
    if (op->device->trace)
        ferry__trace_op(op, now);
    atomic_fetch_sub(&metrics->now.operations_in_flight, 1);
}

static void call_back(struct ferry__op *op)
{
    if (!op->callback) {
        if (op->status && !op->keep && !op->waiting)
            ferry__log(FERRY_LOG_ERROR, "operation %llu failed, and nobody asks: %s",
                       (unsigned long long)op->ticket, op->why);
        return;
    }
    struct ferry__call *call = op->call;
    op->call = NULL;
    call->callback = op->callback;
    call->user = op->user;
    call->ticket = op->ticket;
    call->status = op->status;
    memcpy(call->why, op->why, sizeof call->why);
    ferry__caller_push(op->device, call);
}

static void finish(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    if (op->kind == FERRY__OP_EXTERNAL || op->kind == FERRY__OP_READY)
        judge_uses(op);
    else
        judge_items(op);
    if (op->unsignalled)
        device->driver->event_signal(device->state, op->event, op->value);
    if (op->own_event) {
        op->own_event->aside = op->status != FERRY_OK;
        ferry__work_event_give(device, op->own_event);
    }
    unpark(op);
    leave_place(op);
    live_remove(op);
    count_op(op);
    if (op->status && (op->keep || op->callback))
        ferry__op_ref(op); /* the table keeps it */
    else
        ferry__table_remove(device, op);
    call_back(op);
    op->handed = op->gathered = true;
    atomic_store_explicit(&op->done, true, memory_order_release);
    op->work_next = device->dead_ops;
    device->dead_ops = op;
}

/* Completes op if nothing is outstanding. What depends on it hears of that by tell_some. */
static bool finish_if_over(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    if (atomic_load(&op->done) || op->pending || op->undone || op->moving || !op->gathered ||
        (op->kind == FERRY__OP_EXTERNAL && !op->ended))
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
        if (--edge->op->undone == 0)
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
