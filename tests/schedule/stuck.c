/* What is behind external work that is held: what may be, so that nobody waits for it, and what
 * must be. */
#include "schedule.h"

#include <string.h>

/* The words that a range lies in, as a device may touch them. */
static void widen(const struct model *model, size_t *begin, size_t *end)
{
    *begin -= *begin % WORD_MAX;
    *end = (*end + WORD_MAX - 1) / WORD_MAX * WORD_MAX;
    if (*end > model->size)
        *end = model->size;
}

static bool any(const struct model *model, size_t offset, size_t size, unsigned bits, bool words)
{
    size_t begin = offset, end = offset + size;
    if (model == NULL || size == 0)
        return false;
    if (words)
        widen(model, &begin, &end);
    for (size_t i = begin; i < end; i++)
        if (model->stuck[i] & bits)
            return true;
    return false;
}

static void set(struct model *model, size_t offset, size_t size, unsigned bit, bool words)
{
    size_t begin = offset, end = offset + size;
    if (model == NULL || size == 0)
        return;
    if (words)
        widen(model, &begin, &end);
    for (size_t i = begin; i < end; i++)
        model->stuck[i] |= (unsigned char)bit;
}

/* Reads follow writes, and writes both. */
static bool meets(const struct op *op, unsigned reads, unsigned writes, bool words)
{
    for (size_t i = 0; i < op_parts(op); i++) {
        const struct op part = op_part(op, i);
        if (any(part.dst, part.dst_offset, part.size, reads | writes, words) ||
            any(part.src, part.src_offset, part.size, writes, words))
            return true;
    }
    return false;
}

static void mark(const struct op *op, unsigned reads, unsigned writes, bool words)
{
    for (size_t i = 0; i < op_parts(op); i++) {
        const struct op part = op_part(op, i);
        set(part.dst, part.dst_offset, part.size, writes, words);
        set(part.src, part.src_offset, part.size, reads, words);
    }
}

bool op_is_stuck(const struct op *op)
{
    return meets(op, STUCK_READ, STUCK_WRITE, true);
}

static void mark_task(const struct task *task)
{
    for (unsigned i = 0; i < task->count && task->stuck; i++)
        mark(&task->ops[i], STUCK_READ, STUCK_WRITE, true);
    for (unsigned i = 0; i < task->count && task->bound; i++)
        mark(&task->ops[i], BOUND_READ, BOUND_WRITE, false);
}

/* A batch takes its place as a whole: all of it is behind what one operation is behind. */
void lane_note_stuck(const struct lane *lane, struct task *task)
{
    for (unsigned i = 0; i < task->count && lane->held != NULL && !task->refused; i++) {
        task->stuck |= op_is_stuck(&task->ops[i]);
        task->bound |= meets(&task->ops[i], BOUND_READ, BOUND_WRITE, false);
    }
    mark_task(task);
}

void lane_hold(struct lane *lane, struct task *task)
{
    lane->held = task;
    task->stuck = task->bound = true;
    mark_task(task);
}

void lane_release(struct lane *lane)
{
    lane->held = NULL;
    for (size_t i = 0; i < lane->count; i++)
        lane->tasks[i]->stuck = lane->tasks[i]->bound = false;
    for (size_t i = 0; i < LANE_BUFFERS; i++)
        if (lane->models[i] != NULL)
            memset(lane->models[i]->stuck, 0, lane->models[i]->size);
}

/* In a backlog many are: it is as long as it is meant to be. */
void lane_check_bound(const struct lane *lane)
{
    const struct run *run = lane->run;
    size_t bound = 0;
    for (size_t i = 0; i < lane->count && !run->config->losing; i++) {
        const struct task *task = lane->tasks[i];
        if (!task->bound)
            continue;
        bound++;
        const enum ferry_status status = ferry_poll(task->device, task->ticket);
        if (status != FERRY_PENDING)
            wrong(run, "ticket %llu is behind work that is held, of ticket %llu, and is %s",
                  (unsigned long long)task->ticket, (unsigned long long)lane->held->ticket,
                  ferry_status_name(status));
    }
    if (bound < run->config->backlog / 4)
        wrong(run, "of %zu operations %zu are behind work that is held", lane->count, bound);
}
