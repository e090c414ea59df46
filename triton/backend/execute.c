#include "backend.h"

#include <string.h>

/*
 * A batch: gather, the work, scatter, and the responses.
 *
 * The short way is for a batch that is over before another thread would wake: where the CPU does
 * everything, or there is little to move. Execute's thread does all of it, and answers. Where there
 * is no work, the gather and the scatter of it are one submission, and waited for once.
 *
 * The long way: Execute's thread submits the gather and the work and returns, so that the next batch
 * is gathered while the device is busy with this one. The sender thread does the rest.
 */

/* What the device moves in about the time that a thread takes to wake; and, where gather and scatter
 * are one submission, what it does not pay to share between two threads. What is in the device's own
 * memory does not count there: the device copies it many times as fast. */
enum { SHORT_BYTES = 256 << 10, AT_ONCE_BYTES = 4 << 20 };

/* The whole batch failed, by an error of Triton's. */
static void fail_with(struct slot *slot, TRITONSERVER_Error *error)
{
    for (uint32_t i = 0; i < slot->count; i++)
        if (!slot->errors[i])
            slot->errors[i] = backend_fail(ferry__triton.TRITONSERVER_ErrorCode(error), "%s",
                                           ferry__triton.TRITONSERVER_ErrorMessage(error));
    ferry__triton.TRITONSERVER_ErrorDelete(error);
    slot->failed = true;
}

/* --- where the parts go ----------------------------------------------------------------------- */

/* Is the input one range of host memory, in however many buffers? And how much of it is in host
 * memory. */
static bool is_one_range(TRITONBACKEND_Input *input, uint32_t buffers, size_t *out_host)
{
    const uint8_t *next = NULL;
    bool is_one = true;
    *out_host = 0;
    for (uint32_t i = 0; i < buffers; i++) {
        const void *base = NULL;
        uint64_t size = 0;
        TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
        int64_t id = 0;
        TRITONSERVER_Error *error =
            ferry__triton.TRITONBACKEND_InputBuffer(input, i, &base, &size, &type, &id);
        ferry__triton.TRITONSERVER_ErrorDelete(error);
        if (error || type == TRITONSERVER_MEMORY_GPU || (next && base != next))
            is_one = false;
        if (!error && type != TRITONSERVER_MEMORY_GPU)
            *out_host += size;
        next = (const uint8_t *)base + size;
    }
    return is_one;
}

/* What one request adds to input k; its shape is also that of output k. Whatever is wrong with it
 * the gather will tell. */
static size_t look_at(struct slot *slot, size_t k, uint32_t request, bool *out_stays)
{
    const struct model *model = slot->instance->model;
    struct ferry_triton_part *part =
        k < model->output_count ? &slot->parts[k * slot->count + request] : NULL;
    struct ferry_triton_part shape = {.dims = 0};
    TRITONBACKEND_Input *input = NULL;
    uint64_t size = 0;
    size_t host = 0;
    uint32_t buffers = 0;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_RequestInput(
        slot->requests[request], model->inputs[k].name, &input);
    if (!error)
        error = ferry__triton.TRITONBACKEND_InputProperties(input, NULL, NULL, &shape.shape,
                                                            &shape.dims, &size, &buffers);
    if (error) {
        ferry__triton.TRITONSERVER_ErrorDelete(error);
        size = 0;
    }
    if (part)
        *part = shape;
    const bool is_one = !error && is_one_range(input, buffers, &host);
    *out_stays = slot->count == 1 && size && slot->instance->by_cpu && is_one;
    slot->from_host += host;
    return (size_t)size;
}

/* One input behind the other, with room for the parts of all requests; and how much of that is
 * needed, if what stays where it is needs none. */
static TRITONSERVER_Error *lay_out(struct slot *slot, size_t *out_needed)
{
    const struct model *model = slot->instance->model;
    size_t at = 0;
    *out_needed = slot->size = slot->from_host = 0;
    for (size_t k = 0; k < model->input_count; k++) {
        bool stays = false;
        size_t end = at;
        for (uint32_t i = 0; i < slot->count; i++)
            if (__builtin_add_overflow(end, look_at(slot, k, i, &stays), &end))
                end = SIZE_MAX;
        slot->inputs[k] = (struct ferry_triton_input){
            .name = model->inputs[k].name,
            .offset = at,
            .pass_through = true,
            .in_place = slot->instance->by_cpu ? &slot->in_place[k] : NULL,
            .wrapped = &slot->wrapped[k]};
        slot->sizes[k] = end - at;
        if (end > at)
            slot->size = end;
        if (end > at && !stays)
            *out_needed = end;
        if (__builtin_add_overflow(end, FERRY_BUFFER_ALIGNMENT - 1, &at))
            return backend_fail(TRITONSERVER_ERROR_INVALID_ARG, "the inputs are too large");
        at &= ~(size_t)(FERRY_BUFFER_ALIGNMENT - 1);
    }
    return NULL;
}

/* --- to the device ---------------------------------------------------------------------------- */

/* Keeps what a gather or scatter said of the requests; how many go on. */
static uint32_t keep_errors(struct slot *slot)
{
    uint32_t going_on = 0;
    for (uint32_t i = 0; i < slot->count; i++) {
        if (!slot->errors[i])
            slot->errors[i] = slot->fresh[i];
        else if (slot->fresh[i])
            ferry__triton.TRITONSERVER_ErrorDelete(slot->fresh[i]);
        going_on += !slot->errors[i];
    }
    return going_on;
}

static void on_gathered(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct slot *slot = user;
    (void)ticket;
    slot->compute_start_ns = backend_now_ns();
    slot_fail(slot, status, "gathering the inputs");
    instance_note_gather(slot);
}

static TRITONSERVER_Error *gather(struct slot *slot)
{
    const struct instance *instance = slot->instance;
    const size_t inputs = instance->model->input_count;
    TRITONSERVER_Error *error = NULL;
    for (size_t k = 0; k < inputs; k++)
        slot->inputs[k].dst = slot->in.buffer;
    if (slot->is_long) {
        instance_expect_gather(slot);
        error = ferry_triton_gather(instance->device, slot->requests, slot->count, slot->inputs,
                                    inputs, slot->spans, slot->fresh, on_gathered, slot, NULL);
        if (error)
            instance_note_gather(slot);
        return error;
    }
    if (slot->at_once && !slot->batch)
        error = ferry_triton_error(ferry_batch_create(instance->device, &slot->batch),
                                   "a batch of copies");
    if (slot->at_once)
        return error ? error
                     : ferry_triton_gather_add(instance->device, slot->batch, slot->requests,
                                               slot->count, slot->inputs, inputs, slot->spans,
                                               slot->fresh);
    error = ferry_triton_gather_wait(instance->device, slot->requests, slot->count, slot->inputs,
                                     inputs, slot->spans, slot->fresh);
    slot->compute_start_ns = backend_now_ns();
    return error;
}

/* The output of input k: where its bytes are. */
static void point_output(struct slot *slot, size_t k)
{
    const struct model *model = slot->instance->model;
    const bool is_input = slot->instance->work == WORK_NONE;
    struct ferry_triton_output *output = &slot->outputs[k];
    *output = (struct ferry_triton_output){.name = model->outputs[k].name,
                                           .datatype = model->outputs[k].datatype,
                                           .src = is_input ? NULL : slot->out.buffer,
                                           .parts = &slot->parts[k * slot->count],
                                           .host = is_input ? slot->in_place[k] : NULL};
    for (uint32_t i = 0; i < slot->count; i++) {
        const struct ferry_triton_span *span = &slot->spans[k * slot->count + i];
        struct ferry_triton_part *part = &slot->parts[k * slot->count + i];
        if (slot->errors[i])
            continue;
        part->size = span->size;
        part->offset =
            span->buffer && span->buffer == slot->in.buffer ? span->offset : slot->inputs[k].offset;
        if (!is_input)
            continue;
        part->offset = span->offset;
        if (!output->host)
            output->src = span->buffer;
    }
}

/* And carries out the gather, where that is part of it. */
static TRITONSERVER_Error *scatter(struct slot *slot)
{
    const struct instance *instance = slot->instance;
    const size_t outputs = instance->model->output_count;
    for (size_t k = 0; k < outputs; k++)
        point_output(slot, k);
    for (uint32_t i = 0; i < slot->count; i++)
        slot->good[i] = slot->errors[i] ? NULL : slot->responses[i];
    TRITONSERVER_Error *error =
        slot->at_once
            ? ferry_triton_scatter_run(instance->device, slot->batch, slot->requests, slot->good,
                                       slot->count, slot->outputs, outputs, slot->fresh)
            : ferry_triton_scatter_wait(instance->device, slot->requests, slot->good, slot->count,
                                        slot->outputs, outputs, slot->fresh);
    if (slot->at_once)
        slot->compute_start_ns = slot->compute_end_ns = backend_now_ns();
    if (!error)
        (void)keep_errors(slot);
    return error;
}

/* All of it up to the work. After an error something may be under way: finish waits for that. */
static TRITONSERVER_Error *begin(struct slot *slot)
{
    const struct instance *instance = slot->instance;
    size_t needed = 0;
    TRITONSERVER_Error *error = lay_out(slot, &needed);
    slot->at_once = instance->at_once && slot->from_host <= AT_ONCE_BYTES;
    slot->is_long = !instance->by_cpu && !slot->at_once && slot->size > SHORT_BYTES;
    if (!error)
        error = ferry_triton_error(
            slot_make_buffers(slot, needed, instance->work == WORK_NONE ? 0 : slot->size),
            "memory for the batch");
    if (!error)
        error = gather(slot);
    if (error || !keep_errors(slot))
        return error;
    return slot->size ? ferry_triton_error(work_begin(slot), "the device-side operation") : NULL;
}

static void make_responses(struct slot *slot)
{
    for (uint32_t i = 0; i < slot->count; i++) {
        slot->responses[i] = NULL;
        slot->errors[i] =
            ferry__triton.TRITONBACKEND_ResponseNew(&slot->responses[i], slot->requests[i]);
    }
}

TRITONSERVER_Error *execute(struct instance *instance, TRITONBACKEND_Request **requests,
                            uint32_t count)
{
    const uint64_t start = backend_now_ns();
    struct slot *slot = instance_take_slot(instance);
    if (!slot_reserve(slot, count)) {
        instance_give_slot(slot);
        return backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory for %u requests",
                            count);
    }
    slot->status = FERRY_OK;
    slot->failed = false;
    slot->exec_start_ns = start;
    slot->compute_start_ns = slot->compute_end_ns = slot->exec_end_ns = 0;
    slot->count = count;
    memcpy(slot->requests, requests, count * sizeof(TRITONBACKEND_Request *));
    make_responses(slot);
    TRITONSERVER_Error *error = begin(slot);
    if (error)
        fail_with(slot, error);
    if (slot->is_long)
        instance_send_later(slot);
    else
        finish(slot);
    return NULL;
}

/* --- and back --------------------------------------------------------------------------------- */

/* The times in the order that statistics want, whatever did not come to pass. */
static void order_times(struct slot *slot)
{
    uint64_t *times[] = {&slot->exec_start_ns, &slot->compute_start_ns, &slot->compute_end_ns,
                         &slot->exec_end_ns};
    for (size_t i = 1; i < sizeof times / sizeof *times; i++)
        if (*times[i] < *times[i - 1])
            *times[i] = *times[i - 1];
}

/* The rows of the requests that succeeded: what statistics call the batch size. */
static uint64_t count_rows(const struct slot *slot)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < slot->count; i++) {
        const struct ferry_triton_part *first = &slot->parts[i]; /* of output 0, as of input 0 */
        const bool has_rows = slot->instance->model->batching && first->dims && first->shape[0] > 0;
        if (!slot->errors[i])
            rows += has_rows ? (uint64_t)first->shape[0] : 1;
    }
    return rows;
}

static void send(struct slot *slot, uint32_t i)
{
    if (slot->responses[i])
        backend_log(TRITONSERVER_LOG_ERROR, "sending a response",
                    ferry__triton.TRITONBACKEND_ResponseSend(
                        slot->responses[i], TRITONSERVER_RESPONSE_COMPLETE_FINAL, slot->errors[i]));
}

/* Reports, then releases: what the request is asked for ends with it. */
static void release(struct slot *slot, uint32_t i)
{
    const struct instance *instance = slot->instance;
    backend_log(TRITONSERVER_LOG_ERROR, "statistics",
                ferry__triton.TRITONBACKEND_ModelInstanceReportStatistics(
                    instance->triton, slot->requests[i], !slot->errors[i], slot->exec_start_ns,
                    slot->compute_start_ns, slot->compute_end_ns, slot->exec_end_ns));
    if (slot->errors[i])
        ferry__triton.TRITONSERVER_ErrorDelete(slot->errors[i]);
    backend_log(TRITONSERVER_LOG_ERROR, "releasing a request",
                ferry__triton.TRITONBACKEND_RequestRelease(slot->requests[i],
                                                           TRITONSERVER_REQUEST_RELEASE_ALL));
}

/* All responses first: clients wait for them, and a batcher that sees one request released makes
 * its next batch of what is there. */
static void answer(struct slot *slot)
{
    const uint64_t rows = count_rows(slot);
    order_times(slot);
    for (uint32_t i = 0; i < slot->count; i++)
        send(slot, i);
    if (rows)
        backend_log(TRITONSERVER_LOG_ERROR, "statistics",
                    ferry__triton.TRITONBACKEND_ModelInstanceReportBatchStatistics(
                        slot->instance->triton, rows, slot->exec_start_ns, slot->compute_start_ns,
                        slot->compute_end_ns, slot->exec_end_ns));
    for (uint32_t i = 0; i < slot->count; i++)
        release(slot, i);
}

static bool any_good(const struct slot *slot)
{
    uint32_t i = 0;
    while (i < slot->count && slot->errors[i])
        i++;
    return i < slot->count && !slot->status;
}

/* It may hold what is not to be carried out. */
static void drop_batch(struct slot *slot)
{
    ferry_batch_destroy(slot->batch);
    slot->batch = NULL;
}

static void drop_wrapped(struct slot *slot)
{
    for (size_t k = 0; k < slot->instance->model->input_count; k++) {
        ferry_buffer_destroy(slot->wrapped[k]);
        slot->wrapped[k] = NULL;
    }
}

void finish(struct slot *slot)
{
    TRITONSERVER_Error *error = NULL;
    if (slot->is_long)
        instance_await_gather(slot);
    if (slot->has_work) {
        work_finish(slot);
        slot->compute_end_ns = backend_now_ns();
    } else {
        slot->compute_end_ns = slot->compute_start_ns;
    }
    const bool goes_on = any_good(slot);
    if (goes_on)
        error = scatter(slot);
    if (slot->at_once && (error || !goes_on))
        drop_batch(slot);
    slot->exec_end_ns = backend_now_ns();
    if (error)
        fail_with(slot, error);
    if (slot->status)
        fail_with(slot, backend_fail(TRITONSERVER_ERROR_INTERNAL, "%s", slot->why));
    if (slot->failed)
        slot_drop_buffers(slot); /* what they hold may count as failed */
    drop_wrapped(slot);
    instance_touch_metrics(slot->instance);
    answer(slot);
    instance_give_slot(slot);
}
