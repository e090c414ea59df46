/* Lanes: lists of calls, the host memory they use, issuing them, and checking them afterwards. */
#include "schedule.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t some_size(struct lane *lane)
{
    if (lane->run->config->arena)
        return lane->run->config->arena;
    if (lane->run->config->backlog)
        return 1 + below(&lane->random, 300); /* each of so many keeps what it moves */
    if (one_in(&lane->random, 20))
        return 1 + below(&lane->random, 150000);
    if (one_in(&lane->random, 3))
        return 1 + below(&lane->random, 6000);
    return 1 + below(&lane->random, 300);
}

void lane_replace(struct lane *lane, size_t index)
{
    struct model *old = lane->models[index];
    if (old != NULL) {
        ferry_buffer_destroy(old->buffer);
        old->buffer = NULL;
        lane->gone = realloc(lane->gone, (lane->gone_count + 1) * sizeof *lane->gone);
        lane->gone[lane->gone_count++] = old;
    }
    unsigned device = (unsigned)below(&lane->random, lane->run->device_count);
    bool zeroed = !lane->run->config->failing && one_in(&lane->random, 2);
    enum ferry_storage storage =
        one_in(&lane->random, 3) ? FERRY_STORAGE_SHARED : FERRY_STORAGE_PRIVATE;
    struct model *model = model_create(lane->run, device, some_size(lane), storage, zeroed);
    if (model != NULL)
        model->number = lane->number * 1000 + lane->made++;
    lane->models[index] = model;
}

void lane_init(struct lane *lane, struct run *run, unsigned number, bool in_callbacks)
{
    *lane = (struct lane){.run = run, .number = number, .in_callbacks = in_callbacks};
    lane->random = run->seed * 0x9e3779b97f4a7c15u + number + 1;
    for (size_t i = 0; i < LANE_BUFFERS; i++)
        lane_replace(lane, i);
}

void lane_finish(struct lane *lane)
{
    for (size_t i = 0; i < LANE_BUFFERS; i++) {
        if (lane->models[i] != NULL)
            ferry_buffer_destroy(lane->models[i]->buffer);
        model_free(lane->models[i]);
    }
    free(lane->gone);
    free(lane->tasks);
    free(lane->memory);
}

struct task *lane_add(struct lane *lane)
{
    if (lane->count == lane->capacity) {
        lane->capacity = lane->capacity * 2 + 16;
        lane->tasks = realloc(lane->tasks, lane->capacity * sizeof *lane->tasks);
    }
    struct task *task = calloc(1, sizeof *task);
    lane->tasks[lane->count++] = task;
    return task;
}

void lane_drop_last(struct lane *lane)
{
    free(lane->tasks[--lane->count]);
}

/* --- host memory ------------------------------------------------------------------------------ */

void *lane_memory(struct lane *lane, size_t size)
{
    struct memory memory = {0};
    ferry_device *device = lane->run->devices[below(&lane->random, lane->run->device_count)];
    if (one_in(&lane->random, 6) && ferry_host_alloc(device, size, &memory.bytes) == FERRY_OK) {
        memory.device = device;
    } else {
        memory.bytes = malloc(size);
        if (one_in(&lane->random, 6) &&
            ferry_host_register(device, memory.bytes, size, 0) == FERRY_OK) {
            memory.device = device;
            memory.registered = true;
        }
    }
    lane->memory = realloc(lane->memory, (lane->memory_count + 1) * sizeof *lane->memory);
    lane->memory[lane->memory_count++] = memory;
    return memory.bytes;
}

static void free_memory(struct lane *lane)
{
    for (size_t i = 0; i < lane->memory_count; i++) {
        struct memory *memory = &lane->memory[i];
        if (memory->registered) {
            enum ferry_status status = ferry_host_unregister(memory->device, memory->bytes);
            if (status != FERRY_OK && !lane->run->config->losing)
                wrong(lane->run, "ferry_host_unregister: %s: %s", ferry_status_name(status),
                      ferry_last_error());
        }
        if (memory->device != NULL && !memory->registered)
            ferry_host_free(memory->device, memory->bytes);
        else
            free(memory->bytes);
    }
    lane->memory_count = 0;
}

void op_read_into(struct lane *lane, struct op *op)
{
    size_t shift = below(&lane->random, 8);
    unsigned char *memory = lane_memory(lane, shift + op->size + 2 * GUARD);
    op->given = memory + shift;
    op->host = op->given + GUARD;
    memset(op->given, GUARD_BYTE, op->size + 2 * GUARD);
}

void op_write_from(struct lane *lane, struct op *op)
{
    size_t shift = below(&lane->random, 8);
    op->host = (unsigned char *)lane_memory(lane, shift + op->size + 1) + shift;
    scribble(op->host, op->size, next_random(&lane->random));
}

/* --- the file --------------------------------------------------------------------------------- */

static int lanes_file = -1; /* has no name; of the process */
static pthread_once_t file_once = PTHREAD_ONCE_INIT;
static _Atomic uint64_t file_end;

static void make_file(void)
{
    FILE *file = tmpfile();
    lanes_file = file != NULL ? dup(fileno(file)) : -1;
    if (file != NULL)
        fclose(file);
}

void op_use_file(struct op *op)
{
    pthread_once(&file_once, make_file);
    uint64_t offset = atomic_fetch_add(&file_end, op->size + 5);
    if (op->kind == UPLOAD &&
        pwrite(lanes_file, op->host, op->size, (off_t)offset) != (ssize_t)op->size)
        return;
    op->file = lanes_file >= 0;
    op->file_offset = offset;
}

void op_fetch_file(const struct op *op)
{
    if (op->file &&
        pread(lanes_file, op->host, op->size, (off_t)op->file_offset) != (ssize_t)op->size)
        memset(op->host, GUARD_BYTE, op->size); /* which is seen to differ */
}

/* --- issuing ---------------------------------------------------------------------------------- */

static void task_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct task *task = user;
    (void)ticket;
    task->called_status = (int)status;
    if (task->nest != NULL)
        lane_nested_step(task->nest);
    task->calls++;
}

static size_t list_of(const struct op *op, struct ferry_block list[BLOCKS_MAX])
{
    for (size_t i = 0; i < op->blocks; i++) {
        const struct op part = op_part(op, i);
        list[i] =
            (struct ferry_block){.dst_offset = op->dst != NULL ? part.dst_offset : i * op->block,
                                 .src_offset = op->src != NULL ? part.src_offset : i * op->block,
                                 .size = op->block};
    }
    return op->blocks;
}

static enum ferry_status list_waiting(const struct op *op)
{
    struct ferry_block list[BLOCKS_MAX];
    const size_t count = list_of(op, list);
    if (op->kind == UPLOAD)
        return ferry_copy_blocks_from_host(op->dst->buffer, op->host, list, count);
    if (op->kind == DOWNLOAD)
        return ferry_copy_blocks_to_host(op->src->buffer, op->host, list, count);
    return ferry_copy_blocks(op->dst->buffer, op->src->buffer, list, count);
}

static enum ferry_status list_async(const struct op *op, ferry_callback cb, void *user,
                                    ferry_ticket *ticket)
{
    struct ferry_block list[BLOCKS_MAX];
    const size_t count = list_of(op, list);
    if (op->kind == UPLOAD)
        return ferry_copy_blocks_from_host_async(op->dst->buffer, op->host, list, count, cb, user,
                                                 ticket);
    if (op->kind == DOWNLOAD)
        return ferry_copy_blocks_to_host_async(op->src->buffer, op->host, list, count, cb, user,
                                               ticket);
    return ferry_copy_blocks_async(op->dst->buffer, op->src->buffer, list, count, cb, user, ticket);
}

static enum ferry_status list_record(ferry_batch *batch, const struct op *op)
{
    struct ferry_block list[BLOCKS_MAX];
    const size_t count = list_of(op, list);
    if (op->kind == UPLOAD)
        return ferry_batch_copy_blocks_from_host(batch, op->dst->buffer, op->host, list, count);
    if (op->kind == DOWNLOAD)
        return ferry_batch_copy_blocks_to_host(batch, op->src->buffer, op->host, list, count);
    return ferry_batch_copy_blocks(batch, op->dst->buffer, op->src->buffer, list, count);
}

static enum ferry_status call_waiting(const struct op *op)
{
    ferry_buffer *dst = op->dst != NULL ? op->dst->buffer : NULL;
    ferry_buffer *src = op->src != NULL ? op->src->buffer : NULL;
    if (op->blocks)
        return list_waiting(op);
    switch (op->kind) {
    case UPLOAD:
        if (op->file)
            return ferry_copy_from_file(dst, lanes_file, op->file_offset, op->size, op->dst_offset);
        return ferry_copy_from_host(dst, op->host, op->size, op->dst_offset);
    case DOWNLOAD:
        if (op->file)
            return ferry_copy_to_file(src, lanes_file, op->file_offset, op->size, op->src_offset);
        return ferry_copy_to_host(src, op->host, op->size, op->src_offset);
    case COPY: return ferry_copy_buffer(dst, src, op->size, op->dst_offset, op->src_offset);
    case FILL:
        return ferry_fill_buffer(dst, op->size, op->dst_offset, op->pattern, op->pattern_size);
    case ZERO: return ferry_zero_buffer(dst);
    case CONTENTS:
    case POKE:
    case EXTERNAL:
    case KIND_COUNT: break;
    }
    return FERRY_ERROR_INTERNAL;
}

static enum ferry_status call_async(const struct op *op, ferry_callback cb, void *user,
                                    ferry_ticket *ticket)
{
    ferry_buffer *dst = op->dst != NULL ? op->dst->buffer : NULL;
    ferry_buffer *src = op->src != NULL ? op->src->buffer : NULL;
    if (op->blocks)
        return list_async(op, cb, user, ticket);
    switch (op->kind) {
    case UPLOAD:
        if (op->file)
            return ferry_copy_from_file_async(dst, lanes_file, op->file_offset, op->size,
                                              op->dst_offset, cb, user, ticket);
        return ferry_copy_from_host_async(dst, op->host, op->size, op->dst_offset, cb, user,
                                          ticket);
    case DOWNLOAD:
        if (op->file)
            return ferry_copy_to_file_async(src, lanes_file, op->file_offset, op->size,
                                            op->src_offset, cb, user, ticket);
        return ferry_copy_to_host_async(src, op->host, op->size, op->src_offset, cb, user, ticket);
    case COPY:
        return ferry_copy_buffer_async(dst, src, op->size, op->dst_offset, op->src_offset, cb, user,
                                       ticket);
    case FILL:
        return ferry_fill_buffer_async(dst, op->size, op->dst_offset, op->pattern, op->pattern_size,
                                       cb, user, ticket);
    case ZERO: return ferry_zero_buffer_async(dst, cb, user, ticket);
    case CONTENTS:
    case POKE:
    case EXTERNAL:
    case KIND_COUNT: break;
    }
    return FERRY_ERROR_INTERNAL;
}

static enum ferry_status record(ferry_batch *batch, const struct op *op)
{
    ferry_buffer *dst = op->dst != NULL ? op->dst->buffer : NULL;
    ferry_buffer *src = op->src != NULL ? op->src->buffer : NULL;
    if (op->blocks)
        return list_record(batch, op);
    switch (op->kind) {
    case UPLOAD:
        if (op->file)
            return ferry_batch_copy_from_file(batch, dst, lanes_file, op->file_offset, op->size,
                                              op->dst_offset);
        return ferry_batch_copy_from_host(batch, dst, op->host, op->size, op->dst_offset);
    case DOWNLOAD:
        if (op->file)
            return ferry_batch_copy_to_file(batch, src, lanes_file, op->file_offset, op->size,
                                            op->src_offset);
        return ferry_batch_copy_to_host(batch, src, op->host, op->size, op->src_offset);
    case COPY:
        return ferry_batch_copy_buffer(batch, dst, src, op->size, op->dst_offset, op->src_offset);
    case FILL:
        return ferry_batch_fill_buffer(batch, dst, op->size, op->dst_offset, op->pattern,
                                       op->pattern_size);
    case ZERO: return ferry_batch_zero_buffer(batch, dst);
    case CONTENTS:
    case POKE:
    case EXTERNAL:
    case KIND_COUNT: break;
    }
    return FERRY_ERROR_INTERNAL;
}

static enum ferry_status submit_batch(struct task *task, ferry_callback cb)
{
    ferry_batch *batch = NULL;
    enum ferry_status status = ferry_batch_create(task->device, &batch);
    for (unsigned i = 0; i < task->count && status == FERRY_OK; i++)
        status = record(batch, &task->ops[i]);
    if (status == FERRY_OK)
        status = ferry_batch_submit(batch, cb, task, &task->ticket);
    ferry_batch_destroy(batch);
    return status;
}

bool may_refuse(const struct run *run, enum ferry_status status)
{
    bool memory =
        status == FERRY_ERROR_OUT_OF_HOST_MEMORY || status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    bool refusing = run->refusing || run->config->failing; /* by knobs allocations fail too */
    return (refusing && memory && ferry_last_error()[0] != '\0') ||
           (run->config->losing && status == FERRY_ERROR_DEVICE_LOST);
}

/* --- issuing, in the end ------------------------------------------------------------------------ */

void lane_issue(struct lane *lane, struct task *task, bool waiting)
{
    const struct op *op = &task->ops[0];
    const struct model *owner = op->dst != NULL ? op->dst : op->src;
    task->device = lane->run->devices[owner->device];
    if (waiting && !task->batch) {
        task->waited = true;
        task->status = call_waiting(op);
        return;
    }
    task->with_callback = one_in(&lane->random, 2);
    if (task->with_callback && !lane->quiet && one_in(&lane->random, 3))
        task->nest = &lane->nests[owner->device];
    ferry_callback cb = task->with_callback ? task_callback : NULL;
    enum ferry_status status =
        task->batch ? submit_batch(task, cb) : call_async(op, cb, task, &task->ticket);
    task->refused = status != FERRY_OK;
    lane_note_stuck(lane, task);
    if (task->refused && task->ticket != 0)
        wrong(lane->run, "a call that was refused wrote its ticket");
    if (task->refused && !may_refuse(lane->run, status))
        wrong(lane->run, "an asynchronous call was refused: %s: %s", ferry_status_name(status),
              ferry_last_error());
}

/* --- afterwards ------------------------------------------------------------------------------- */

static void ask(struct lane *lane, struct task *task)
{
    unsigned long long ticket = task->ticket;
    if (!task->waited) {
        task->status = ferry_poll(task->device, task->ticket);
        if (task->status == FERRY_PENDING)
            wrong(lane->run, "ticket %llu is pending after wait_idle", ticket);
        if (task->asked && task->answered != task->status)
            wrong(lane->run, "ticket %llu: ferry_wait said %s, ferry_poll says %s", ticket,
                  ferry_status_name(task->answered), ferry_status_name(task->status));
        struct old *old = &lane->old[lane->old_next++ % OLD_MAX];
        *old = (struct old){task->device, task->ticket, task->status};
    }
    if (task->with_callback && task->calls != 1)
        wrong(lane->run, "ticket %llu called back %u times", ticket, task->calls);
    if (task->with_callback && (enum ferry_status)task->called_status != task->status)
        wrong(lane->run, "ticket %llu: the callback said %s, ferry_poll says %s", ticket,
              ferry_status_name((enum ferry_status)task->called_status),
              ferry_status_name(task->status));
}

void lane_check(struct lane *lane)
{
    for (size_t i = 0; i < lane->count; i++) {
        if (!lane->tasks[i]->refused)
            ask(lane, lane->tasks[i]);
        model_do(lane->run, lane->tasks[i]);
    }
    for (size_t i = 0; i < OLD_MAX && lane->old[i].device != NULL; i++) {
        const struct old *old = &lane->old[i];
        enum ferry_status status = ferry_wait(old->device, old->ticket, FERRY_FOREVER);
        if (status != old->status)
            wrong(lane->run, "ticket %llu was %s, and is %s later", (unsigned long long)old->ticket,
                  ferry_status_name(old->status), ferry_status_name(status));
    }
    for (size_t i = 0; i < lane->count; i++)
        free(lane->tasks[i]);
    lane->count = 0;
    for (size_t i = 0; i < lane->gone_count; i++)
        model_free(lane->gone[i]);
    lane->gone_count = 0;
    free_memory(lane);
}

static void read_part(struct lane *lane, struct model *model, size_t size, size_t offset)
{
    if (size == 0)
        return;
    struct task *task = lane_add(lane);
    task->count = 1;
    task->ops[0] = (struct op){.kind = DOWNLOAD, .src = model, .size = size, .src_offset = offset};
    op_read_into(lane, &task->ops[0]);
    lane_issue(lane, task, one_in(&lane->random, 2));
}

/* The first few runs of bytes that are alike: good ones between failed ones must be readable. */
static void read_runs(struct lane *lane, struct model *model)
{
    enum { RUNS_MAX = 6 };
    size_t begin = 0;
    for (unsigned run = 0; run < RUNS_MAX && begin < model->size; run++) {
        size_t end = begin + 1;
        while (end < model->size && model->may[end] == model->may[begin] &&
               model->must[end] == model->must[begin])
            end++;
        read_part(lane, model, end - begin, begin);
        begin = end;
    }
}

void lane_verify(struct lane *lane)
{
    lane->quiet = true;
    for (size_t i = 0; i < LANE_BUFFERS; i++) {
        struct model *model = lane->models[i];
        if (model == NULL)
            continue;
        read_part(lane, model, model->size, 0);
        size_t from = 0, to = model->size;
        while (from < to && model->may[from] == 0)
            from++;
        while (to > from && model->may[to - 1] == 0)
            to--;
        if (from == to)
            continue;
        read_part(lane, model, from, 0);
        read_part(lane, model, model->size - to, to);
        read_runs(lane, model);
        if (one_in(&lane->random, 2))
            continue;
        struct task *task = lane_add(lane);
        task->count = 1;
        task->ops[0] =
            (struct op){.kind = UPLOAD, .dst = model, .dst_offset = from, .size = to - from};
        op_write_from(lane, &task->ops[0]);
        lane_issue(lane, task, one_in(&lane->random, 2));
    }
    lane->quiet = false;
}
