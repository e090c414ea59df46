/* One random step of a lane. */
#include "schedule.h"

#include <string.h>

static bool is_held(const struct lane *lane, const struct model *model)
{
    return lane->held != NULL && model != NULL &&
           (lane->held->ops[0].dst == model || lane->held->ops[0].src == model);
}

/* In an arena mostly the one that is held, which then has thousands of intervals. */
static struct model *some_model(struct lane *lane)
{
    const bool arena = lane->run->config->arena && lane->held != NULL;
    for (unsigned i = 0; i < LANE_BUFFERS && arena && !one_in(&lane->random, 6); i++)
        if (is_held(lane, lane->models[i]))
            return lane->models[i];
    return lane->models[below(&lane->random, LANE_BUFFERS)];
}

/* Ranges that meet each other often: at the ends, small, or all. */
static void some_range(struct lane *lane, size_t limit, size_t *size, size_t *offset)
{
    if (lane->run->config->arena) {
        *size = one_in(&lane->random, 500) ? limit : below(&lane->random, 60);
        *offset = below(&lane->random, limit - *size + 1);
        return;
    }
    *size = one_in(&lane->random, 6)   ? limit
            : one_in(&lane->random, 3) ? below(&lane->random, limit + 1)
                                       : below(&lane->random, limit < 80 ? limit + 1 : 80);
    *offset = one_in(&lane->random, 5) ? limit - *size : below(&lane->random, limit - *size + 1);
}

/* Now and then a list of blocks within the range, with gaps that share words with them. */
static void some_list(struct lane *lane, struct op *op)
{
    if (!one_in(&lane->random, 4))
        return;
    const size_t block = 1 + below(&lane->random, 12), gap = below(&lane->random, 9);
    const size_t fit = (op->size + gap) / (block + gap),
                 most = 1 + below(&lane->random, BLOCKS_MAX);
    op->blocks = fit < most ? fit : most;
    if (!op->blocks)
        return;
    op->block = block;
    op->gap = gap;
    op->size = op->blocks * block;
}

/* false: no buffer for it. A batch's buffers are all of one device. */
static bool some_op(struct lane *lane, struct op *op, bool one_device, unsigned device)
{
    struct model *a = some_model(lane), *b = some_model(lane);
    if (a == NULL || b == NULL || (one_device && a->device != device))
        return false;
    if (one_device && b->device != device)
        b = a;
    *op = (struct op){.kind = (enum kind)below(&lane->random, ZERO + 1)};
    if (op->kind == ZERO && lane->run->config->arena && !one_in(&lane->random, 500))
        op->kind = FILL;
    switch (op->kind) {
    case UPLOAD:
        op->dst = a;
        some_range(lane, a->size, &op->size, &op->dst_offset);
        some_list(lane, op);
        op_write_from(lane, op);
        if (!op->blocks && one_in(&lane->random, 4))
            op_use_file(op);
        break;
    case DOWNLOAD:
        op->src = a;
        some_range(lane, a->size, &op->size, &op->src_offset);
        some_list(lane, op);
        op_read_into(lane, op);
        if (!op->blocks && one_in(&lane->random, 4))
            op_use_file(op);
        break;
    case COPY:
        op->dst = a;
        op->src = one_in(&lane->random, 3) ? a : b;
        some_range(lane, a->size < op->src->size ? a->size : op->src->size, &op->size,
                   &op->dst_offset);
        op->dst_offset = below(&lane->random, a->size - op->size + 1);
        op->src_offset = below(&lane->random, op->src->size - op->size + 1);
        some_list(lane, op); /* also within one buffer, where blocks may read what others wrote */
        break;
    case FILL:
        op->dst = a;
        some_range(lane, a->size, &op->size, &op->dst_offset);
        op->pattern_size = 1 + below(&lane->random, PATTERN_MAX);
        scribble(op->pattern, op->pattern_size, next_random(&lane->random));
        break;
    default:
        op->kind = ZERO;
        op->dst = a;
        op->size = a->size;
        op->pattern_size = 1;
        break;
    }
    return true;
}

static void step_single(struct lane *lane)
{
    struct op op;
    if (!some_op(lane, &op, false, 0))
        return;
    struct task *task = lane_add(lane);
    task->ops[0] = op;
    task->count = 1;
    bool may_wait = !lane->in_callbacks && !(lane->held != NULL && op_is_stuck(&op));
    lane_issue(lane, task, may_wait && one_in(&lane->random, 4));
}

static void step_batch(struct lane *lane)
{
    unsigned device = (unsigned)below(&lane->random, lane->run->device_count);
    struct task *task = lane_add(lane);
    size_t wanted = 1 + below(&lane->random, BATCH_MAX);
    task->batch = true;
    for (size_t i = 0; i < wanted; i++)
        task->count += some_op(lane, &task->ops[task->count], true, device);
    if (task->count == 0)
        lane_drop_last(lane);
    else
        lane_issue(lane, task, false);
}

static bool any_stuck(const struct model *model)
{
    for (size_t i = 0; i < model->size; i++)
        if (model->stuck[i] != 0)
            return true;
    return false;
}

static void step_contents(struct lane *lane)
{
    struct model *model = some_model(lane);
    void *contents = NULL;
    if (lane->in_callbacks || model == NULL || model->storage != FERRY_STORAGE_SHARED ||
        any_stuck(model))
        return;
    enum ferry_status status = ferry_buffer_contents(model->buffer, &contents);
    struct task *task = lane_add(lane);
    task->count = 1;
    task->waited = true;
    task->status = status;
    struct op *op = &task->ops[0];
    *op = (struct op){.kind = CONTENTS, .src = model, .size = model->size};
    op_read_into(lane, op);
    if (status != FERRY_OK)
        return;
    memcpy(op->host, contents, op->size);
    if (one_in(&lane->random, 2))
        return;
    task = lane_add(lane);
    task->count = 1;
    task->waited = true;
    op = &task->ops[0];
    *op = (struct op){.kind = POKE, .dst = model};
    some_range(lane, model->size, &op->size, &op->dst_offset);
    op_write_from(lane, op);
    memcpy((unsigned char *)contents + op->dst_offset, op->host, op->size);
}

static void step_wait(struct lane *lane)
{
    if (lane->count == 0)
        return;
    struct task *task = lane->tasks[below(&lane->random, lane->count)];
    if (task->waited || task->refused || task == lane->held)
        return;
    bool forever = !lane->in_callbacks && !task->stuck && one_in(&lane->random, 2);
    uint64_t timeout = forever ? FERRY_FOREVER : lane->in_callbacks ? 0 : 1000;
    enum ferry_status status = ferry_wait(task->device, task->ticket, timeout);
    if (status == FERRY_ERROR_TIMEOUT && !forever)
        return;
    task->asked = true;
    task->answered = status;
}

static void step_hold(struct lane *lane)
{
    struct model *model = some_model(lane);
    struct ferry_external external;
    if (lane->in_callbacks || lane->held != NULL || model == NULL)
        return;
    if (lane->run->config->backlog != 0 && lane->count != 0)
        return; /* one backlog a round */
    unsigned access = 1 + (unsigned)below(&lane->random, 3);
    if (lane->run->config->backlog)
        access |= FERRY_ACCESS_WRITE; /* all that touches it is behind it */
    struct ferry_use use = {.buffer = model->buffer, .access = access};
    if (lane->run->config->backlog == 0)
        some_range(lane, model->size, &use.size, &use.offset);
    if (use.offset == model->size)
        use.offset = 0;
    size_t size = use.size != 0 ? use.size : model->size - use.offset; /* 0: to the end */
    struct task *task = lane_add(lane);
    task->device = lane->run->devices[model->device];
    task->count = 1;
    task->ops[0] = (struct op){.kind = EXTERNAL,
                               .size = size,
                               .dst_offset = use.offset,
                               .src_offset = use.offset,
                               .dst = access & FERRY_ACCESS_WRITE ? model : NULL,
                               .src = access & FERRY_ACCESS_READ ? model : NULL};
    enum ferry_status status = ferry_external_begin(task->device, &use, 1, &external);
    if (status != FERRY_OK) {
        if (!may_refuse(lane->run, status))
            wrong(lane->run, "ferry_external_begin: %s: %s", ferry_status_name(status),
                  ferry_last_error());
        lane_drop_last(lane);
        return;
    }
    task->ticket = external.ticket;
    lane_hold(lane, task);
    lane->external = external;
    lane->held_for = (unsigned)below(&lane->random, 12);
    if (lane->run->config->backlog)
        lane->held_for = lane->run->config->backlog - 100;
}

static void end_held(struct lane *lane)
{
    struct task *task = lane->held;
    if (task == NULL)
        return;
    lane_check_bound(lane);
    bool has_event = lane->external.signal.event != 0;
    /* An event is ours until the ticket is done, and a loss may have done it. */
    bool fails = one_in(&lane->random, 3) || (has_event && lane->run->config->losing);
    task->ended = fails ? FERRY_ERROR_EXECUTION_FAILED : FERRY_OK;
    if (has_event && !fails)
        (lane->run->config->work ? lane->run->config->work : vulkan_work)(&lane->external);
    enum ferry_status status = ferry_external_end(task->device, task->ticket, task->ended);
    if (status != FERRY_OK && !lane->run->config->losing)
        wrong(lane->run, "ferry_external_end: %s: %s", ferry_status_name(status),
              ferry_last_error());
    lane_release(lane);
}

/* What is refused changes nothing: the comparisons afterwards tell. */
static void step_refused(struct lane *lane)
{
    struct model *model = some_model(lane);
    unsigned char bytes[8] = {0};
    if (model == NULL || lane->run->config->losing)
        return;
    size_t past = model->size + 1 + below(&lane->random, 100);
    const enum ferry_status seen[] = {
        ferry_copy_from_host_async(model->buffer, bytes, past, 0, NULL, NULL, NULL),
        ferry_copy_to_host_async(model->buffer, bytes, 1, past, NULL, NULL, NULL),
        ferry_fill_buffer_async(model->buffer, SIZE_MAX, 1, bytes, 1, NULL, NULL, NULL),
        ferry_copy_buffer_async(model->buffer, model->buffer, 0, past, 0, NULL, NULL, NULL),
    };
    for (unsigned i = 0; i < 4; i++)
        if (seen[i] != FERRY_ERROR_OUT_OF_RANGE)
            wrong(lane->run, "a range past the end: %s", ferry_status_name(seen[i]));
}

static void step_odds(struct lane *lane)
{
    ferry_device *device = lane->run->devices[below(&lane->random, lane->run->device_count)];
    struct ferry_stats stats;
    bool may_wait = !lane->in_callbacks && lane->held == NULL;
    if (may_wait && one_in(&lane->random, 4) && lane->run->config->threads == 0)
        (void)!ferry_device_trim(device);
    else if (may_wait && one_in(&lane->random, 2) && lane->run->config->threads == 0)
        (void)!ferry_wait_idle(device);
    else
        ferry_device_get_stats(device, &stats, sizeof stats);
}

static void step_replace(struct lane *lane)
{
    const size_t which = below(&lane->random, LANE_BUFFERS);
    if (lane->run->config->backlog == 0 || !is_held(lane, lane->models[which]))
        lane_replace(lane, which); /* else no backlog would come of it */
}

/* How often each step is taken, of all together. */
static const struct {
    unsigned weight;
    void (*take)(struct lane *lane);
} steps[] = {
    {60, step_single}, {15, step_batch},  {8, step_wait},    {6, step_contents},
    {4, step_hold},    {3, step_replace}, {2, step_refused}, {2, step_odds},
};

static void step(struct lane *lane)
{
    size_t point = below(&lane->random, 100);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (point < steps[i].weight) {
            steps[i].take(lane);
            return;
        }
        point -= steps[i].weight;
    }
}

void lane_steps(struct lane *lane, size_t count)
{
    for (unsigned i = 0; i < LANE_BUFFERS && lane->run->config->backlog; i++)
        step_hold(lane); /* until one is held */
    for (size_t i = 0; i < count; i++) {
        if (lane->held != NULL && lane->held_for-- == 0)
            end_held(lane);
        step(lane);
    }
    end_held(lane);
}

void lane_nested_step(struct lane *lane)
{
    enum { PER_ROUND = 30 };
    if (lane->count < PER_ROUND)
        step(lane);
    lane->run->nested++; /* after it: who has read this number has waited for the step */
}
