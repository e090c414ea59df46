#include "engine/join.h"

#include "base/alloc.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/engine.h"
#include "engine/op.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__op *ferry__join_create(struct ferry_device *device, const struct ferry__op_type *type)
{
    struct ferry__op *op = ferry__op_create(device, type, 1);
    if (!op)
        return NULL;
    op->queue = FERRY__NO_QUEUE;
    if ((op->join = ferry__alloc(sizeof *op->join)))
        return op;
    (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                       sizeof *op->join);
    ferry__op_unref(op);
    return NULL;
}

/* of_join: a struct ferry__join. */
static bool note_work(void *of_join, struct ferry__op *work)
{
    struct ferry__join *join = of_join;
    if (!join->works || join->works->count == FERRY__WORKS_EACH) {
        struct ferry__works *works = ferry__alloc_unset(sizeof *works);
        if (!works)
            return false;
        works->next = join->works;
        works->count = 0;
        join->works = works;
    }
    join->works->list[join->works->count++] = work;
    join->work_count++;
    ferry__op_ref(work);
    return true;
}

bool ferry__join_each_work(const struct ferry__op *op,
                           bool (*call)(void *arg, struct ferry__op *work), void *arg)
{
    const struct ferry__works *works = op->join->works;
    while (works) {
        for (size_t i = 0; i < works->count; i++)
            if (!atomic_load(&works->list[i]->done) && !call(arg, works->list[i]))
                return false;
        if (!works->next)
            break;
        ferry__breathe(op->device);
        if (atomic_load(&op->done)) /* it has let them go, or is about to */
            break;
        works = works->next;
    }
    return true;
}

bool ferry__join_note(struct ferry__op *op, struct ferry__op *const *follows, size_t count)
{
    bool enough = true;
    op->queue = FERRY__NO_QUEUE;
    for (size_t i = 0; i < count && enough; i++) {
        struct ferry__op *from = follows[i];
        ferry__breathe_each(op->device, i, FERRY__RANGES_AT_ONCE);
        const bool external = from->type->kind == FERRY__OP_EXTERNAL;
        const unsigned queue = external ? FERRY__NO_QUEUE : from->queue;
        op->queue = !i || op->queue == queue ? queue : FERRY__NO_QUEUE;
        if (atomic_load(&from->done)) /* since it was asked: a join has nothing left */
            continue;
        if (external)
            enough = note_work(op->join, from);
        else if (ferry__op_is_join(from))
            enough = ferry__join_each_work(from, note_work, op->join);
    }
    return enough;
}

static void note_value(uint64_t *latest, uint64_t value)
{
    if (*latest < value)
        *latest = value;
}

void ferry__join_sum_up(struct ferry__op *op)
{
    uint64_t *latest = op->join->latest;
    for (size_t i = 0; i < ferry__op_edge_count(op); i++) {
        const struct ferry__op *from = ferry__op_from(op, i);
        ferry__breathe_each(op->device, i, FERRY__RANGES_AT_ONCE);
        if (atomic_load(&from->done) || from->type->kind == FERRY__OP_EXTERNAL)
            continue;
        if (!ferry__op_is_join(from))
            note_value(&latest[from->queue], from->value);
        else
            for (size_t q = 0; q < FERRY__QUEUES_MAX; q++)
                note_value(&latest[q], from->join->latest[q]);
    }
}

const struct ferry__op *ferry__join_work(const struct ferry__op *op)
{
    enum { ASKED_MAX = 16 };
    const struct ferry__works *works = op->join->works;
    for (size_t i = 0; works && i < works->count && i < ASKED_MAX; i++)
        if (!atomic_load(&works->list[i]->done))
            return works->list[i];
    return NULL;
}

void ferry__join_release(struct ferry__op *op)
{
    struct ferry__join *join = op->join;
    for (struct ferry__works *works; join && (works = join->works);) {
        join->works = works->next;
        while (works->count)
            ferry__op_unref(works->list[--works->count]);
        ferry__free(works);
    }
    ferry__free(join);
    op->join = NULL;
}

/* It holds its bytes' buffer, where it has a place. */
static void release_crowd(struct ferry__op *op)
{
    ferry__join_release(op);
    if (op->own_count)
        ferry__buffer_unref(op->own_ranges->buffer);
    ferry__free(op->own_ranges->spans);
    op->own_ranges->spans = NULL;
    op->own_count = 0;
}

/* Nothing of its own can fail. */
static void judge_nothing(struct ferry__op *op)
{
    (void)op;
}

const struct ferry__op_type ferry__join_type = {
    .kind = FERRY__OP_JOIN,
    .judge = judge_nothing,
    .release = release_crowd,
};
