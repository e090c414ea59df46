/* The model: a plain byte array for each buffer, and how reading each byte may fail. */
#include "schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How an asynchronous operation may fail by itself. */
enum {
    OWN_FAILURES = 1u << FERRY_ERROR_OUT_OF_HOST_MEMORY | 1u << FERRY_ERROR_OUT_OF_DEVICE_MEMORY |
                   1u << FERRY_ERROR_DEVICE_LOST | 1u << FERRY_ERROR_EXECUTION_FAILED |
                   1u << FERRY_ERROR_IO | 1u << FERRY_ERROR_INTERNAL
};

static const char *const kinds[KIND_COUNT] = {
    [UPLOAD] = "upload", [DOWNLOAD] = "download", [COPY] = "copy", [FILL] = "fill",
    [ZERO] = "zero",     [CONTENTS] = "contents", [POKE] = "poke", [EXTERNAL] = "external",
};

struct model *model_create(const struct run *run, unsigned device, size_t size,
                           enum ferry_storage storage, bool zeroed)
{
    ferry_buffer *buffer = NULL;
    enum ferry_status status = ferry_buffer_create(
        run->devices[device],
        &(struct ferry_buffer_params){.size = size, .storage = storage, .zeroed = zeroed}, &buffer);
    if (status != FERRY_OK && may_refuse(run, status))
        return NULL;
    if (status != FERRY_OK)
        wrong(run, "ferry_buffer_create of %zu bytes: %s: %s", size, ferry_status_name(status),
              ferry_last_error());
    struct model *model = calloc(1, sizeof *model);
    *model = (struct model){.buffer = buffer, .device = device, .size = size, .storage = storage};
    model->bytes = calloc(1, size);
    model->known = malloc(size);
    memset(model->known, zeroed, size);
    model->must = calloc(size, sizeof *model->must);
    model->may = calloc(size, sizeof *model->may);
    model->stuck = calloc(1, size);
    return model;
}

void model_free(struct model *model)
{
    if (model == NULL)
        return;
    free(model->bytes);
    free(model->known);
    free(model->must);
    free(model->may);
    free(model->stuck);
    free(model);
}

size_t op_parts(const struct op *op)
{
    return op->blocks ? op->blocks : 1;
}

struct op op_part(const struct op *op, size_t index)
{
    struct op part = *op;
    if (!op->blocks)
        return part;
    part.blocks = 0;
    part.size = op->block;
    part.dst_offset += index * (op->block + op->gap);
    part.src_offset += index * (op->block + op->gap);
    if (op->host)
        part.host += index * op->block;
    return part;
}

size_t op_span(const struct op *op)
{
    return op->blocks ? op->blocks * (op->block + op->gap) - op->gap : op->size;
}

/* A write that fails may take the rest of its words with it, where a device writes whole words. */
static bool has_words(const struct run *run)
{
    const struct config *config = run->config;
    return config->metal || config->strict != NULL || strstr(config->knobs, "align") != NULL ||
           (config->second_knobs != NULL && strstr(config->second_knobs, "align") != NULL);
}

/* A write that failed, or may have (sure: it has). */
static void mark(const struct run *run, struct model *model, size_t offset, size_t size,
                 unsigned statuses, bool sure)
{
    if (model == NULL || size == 0)
        return;
    for (size_t i = offset; i < offset + size; i++) {
        model->must[i] = sure ? statuses : 0; /* else it may have been written well */
        model->may[i] = sure ? statuses : model->may[i] | statuses;
        model->known[i] = 0;
    }
    if (!has_words(run))
        return;
    size_t begin = offset - offset % WORD_MAX;
    size_t end = (offset + size + WORD_MAX - 1) / WORD_MAX * WORD_MAX;
    for (size_t i = begin; i < end && i < model->size; i++) {
        model->may[i] |= statuses;
        model->must[i] |= model->must[i] != 0 ? statuses : 0;
    }
}

/* A write that was done. */
static void cover(struct model *model, size_t offset, size_t size)
{
    memset(model->must + offset, 0, size * sizeof *model->must);
    memset(model->may + offset, 0, size * sizeof *model->may);
}

static unsigned all_of(const unsigned *statuses, size_t offset, size_t size)
{
    unsigned all = 0;
    for (size_t i = offset; i < offset + size; i++)
        all |= statuses[i];
    return all;
}

static void describe(char *text, size_t capacity, const struct op *op)
{
    snprintf(text, capacity, "%s of %zu bytes", kinds[op->kind], op->size);
    size_t length = strlen(text);
    if (op->dst != NULL) {
        snprintf(text + length, capacity - length, " to buffer %u (%zu bytes, %s) at %zu",
                 op->dst->number, op->dst->size, op->dst->storage ? "shared" : "private",
                 op->dst_offset);
        length = strlen(text);
    }
    if (op->src != NULL)
        snprintf(text + length, capacity - length, " from buffer %u (%zu bytes, %s) at %zu",
                 op->src->number, op->src->size, op->src->storage ? "shared" : "private",
                 op->src_offset);
}

static void compare(const struct run *run, const struct task *task, const struct op *op)
{
    char text[200];
    const unsigned char *want = op->src->bytes + op->src_offset;
    const unsigned char *known = op->src->known + op->src_offset;
    if (memcmp(op->host, want, op->size) == 0)
        return;
    for (size_t i = 0; i < op->size; i++) {
        if (known[i] && op->host[i] != want[i]) {
            describe(text, sizeof text, op);
            wrong(run, "%s, ticket %llu%s: byte %zu is 0x%02x, not 0x%02x", text,
                  (unsigned long long)task->ticket, task->batch ? ", in a batch" : "", i,
                  op->host[i], want[i]);
        }
    }
}

/* Nothing round a read's host memory changes, done or failed. */
static void check_guards(const struct run *run, const struct op *op)
{
    char text[200];
    if (op->given == NULL)
        return;
    for (size_t i = 0; i < GUARD; i++) {
        if (op->given[i] != GUARD_BYTE || op->host[op->size + i] != GUARD_BYTE) {
            describe(text, sizeof text, op);
            wrong(run, "%s changed host memory outside its range", text);
        }
    }
}

static void apply_part(const struct run *run, const struct task *task, const struct op *op)
{
    struct model *dst = op->dst, *src = op->src;
    switch (op->kind) {
    case DOWNLOAD:
        op_fetch_file(op);
        compare(run, task, op);
        return;
    case CONTENTS: compare(run, task, op); return;
    case EXTERNAL: /* our external work writes nothing, but what it says it wrote may be read */
        if (dst != NULL && src == NULL)
            cover(dst, op->dst_offset, op->size);
        return;
    case COPY:
        memmove(dst->bytes + op->dst_offset, src->bytes + op->src_offset, op->size);
        memmove(dst->known + op->dst_offset, src->known + op->src_offset, op->size);
        break;
    case UPLOAD:
    case POKE:
        memcpy(dst->bytes + op->dst_offset, op->host, op->size);
        memset(dst->known + op->dst_offset, 1, op->size);
        break;
    case FILL:
    case ZERO:
        for (size_t i = 0; i < op->size; i++)
            dst->bytes[op->dst_offset + i] = op->pattern[i % op->pattern_size];
        memset(dst->known + op->dst_offset, 1, op->size);
        break;
    case KIND_COUNT: return;
    }
    cover(dst, op->dst_offset, op->size);
}

static void apply(const struct run *run, const struct task *task, const struct op *op)
{
    for (size_t i = 0; i < op_parts(op); i++) {
        const struct op part = op_part(op, i);
        apply_part(run, task, &part);
    }
}

static void mark_op(const struct run *run, const struct op *op, unsigned statuses, bool sure)
{
    for (size_t i = 0; i < op_parts(op); i++) {
        const struct op part = op_part(op, i);
        mark(run, part.dst, part.dst_offset, part.size, statuses, sure);
    }
}

static unsigned all_of_source(const unsigned *statuses, const struct op *op)
{
    unsigned all = 0;
    for (size_t i = 0; i < op_parts(op); i++) {
        const struct op part = op_part(op, i);
        all |= all_of(statuses, part.src_offset, part.size);
    }
    return all;
}

/* The statuses with which reading must fail; 0: it need not. */
static unsigned must_fail(const struct op *op)
{
    const struct model *src = op->src;
    if (src == NULL)
        return 0;
    return all_of_source(src->must, op);
}

static unsigned may_fail(const struct run *run, const struct task *task, const struct op *op)
{
    unsigned statuses = run->config->failing ? OWN_FAILURES : 0;
    if (op->kind == EXTERNAL)
        statuses |= 1u << task->ended;
    if (op->src != NULL)
        statuses |= all_of_source(op->src->may, op);
    return statuses;
}

static void do_one(const struct run *run, const struct task *task)
{
    const struct op *op = &task->ops[0];
    unsigned must = must_fail(op), may = may_fail(run, task, op);
    char text[200];
    describe(text, sizeof text, op);
    if (task->status == FERRY_OK) {
        if (must != 0 || task->ended != FERRY_OK)
            wrong(run,
                  "%s, ticket %llu: done, though it reads bytes whose write failed, "
                  "or was ended with %s",
                  text, (unsigned long long)task->ticket, ferry_status_name(task->ended));
        apply(run, task, op);
        return;
    }
    if (((must | may) >> task->status & 1) == 0)
        wrong(run, "%s, ticket %llu: %s, which nothing explains", text,
              (unsigned long long)task->ticket, ferry_status_name(task->status));
    /* For want of memory a waiting operation may not even have begun, and a submission that is
     * refused writes nothing. */
    bool memory = task->status == FERRY_ERROR_OUT_OF_HOST_MEMORY ||
                  task->status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    bool sure = !((task->waited || memory) && (run->refusing || run->config->failing));
    /* Nor a copy to another device, whose source may fail before it writes anything. */
    if (task->waited && op->kind == COPY && op->src->device != op->dst->device)
        sure = false;
    mark_op(run, op, 1u << task->status, sure);
}

/* A batch's status is the first failing operation's; only failing ones mark. Where submissions fail
 * by knobs, which of its operations were in them is not known. */
static void do_batch(const struct run *run, const struct task *task)
{
    unsigned first = 0; /* how the first that fails may have failed */
    /* Of those that were in a submission that was refused nothing was written. */
    bool sure = !run->refusing && !run->config->failing;
    for (unsigned i = 0; i < task->count; i++) {
        const struct op *op = &task->ops[i];
        unsigned must = must_fail(op), may = may_fail(run, task, op);
        if (must != 0 && task->status == FERRY_OK)
            wrong(run,
                  "batch of ticket %llu: done, though operation %u reads bytes whose write "
                  "failed",
                  (unsigned long long)task->ticket, i);
        if (task->status == FERRY_OK || (must | may) == 0) {
            apply(run, task, op);
            continue;
        }
        unsigned statuses = must | may;
        first |= statuses;
        mark_op(run, op, statuses, sure && must != 0);
    }
    if (task->status != FERRY_OK && (first >> task->status & 1) == 0)
        wrong(run, "batch of ticket %llu: %s, which nothing explains",
              (unsigned long long)task->ticket, ferry_status_name(task->status));
}

void model_do(const struct run *run, const struct task *task)
{
    if (task->refused)
        return;
    for (unsigned i = 0; i < task->count; i++)
        check_guards(run, &task->ops[i]);
    if (task->batch)
        do_batch(run, task);
    else
        do_one(run, task);
}
