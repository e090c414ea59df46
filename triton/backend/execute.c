#include "backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A batch: gather, the work, scatter. All is submitted before Execute returns; Ferry keeps the
 * order between the three. The callbacks, on Ferry's thread, only note the time and hand over;
 * responses are sent by the instance's sender thread.
 */

void slot_fail(struct slot *slot, enum ferry_status status, const char *what)
{
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    if (!slot->status) {
        slot->status = status;
        snprintf(slot->why, sizeof slot->why, "%s: %.200s", what, ferry_last_error());
    }
    pthread_mutex_unlock(&instance->lock);
}

/* The whole batch failed, by an error of Triton's. */
static void fail_with(struct slot *slot, TRITONSERVER_Error *error)
{
    for (uint32_t i = 0; i < slot->count; i++)
        if (!slot->errors[i])
            slot->errors[i] = backend_fail(ferry__triton.TRITONSERVER_ErrorCode(error), "%s",
                                           ferry__triton.TRITONSERVER_ErrorMessage(error));
    ferry__triton.TRITONSERVER_ErrorDelete(error);
}

/* --- memory ----------------------------------------------------------------------------------- */

static bool grow(void **array, size_t count, size_t size)
{
    void *larger = realloc(*array, count * size);
    if (larger)
        *array = larger;
    return larger != NULL;
}

static bool reserve(struct slot *slot, uint32_t count)
{
    const struct model *model = slot->instance->model;
    if (count <= slot->capacity)
        return true;
    if (!grow((void **)&slot->requests, count, sizeof *slot->requests) ||
        !grow((void **)&slot->responses, count, sizeof *slot->responses) ||
        !grow((void **)&slot->good, count, sizeof *slot->good) ||
        !grow((void **)&slot->errors, count, sizeof *slot->errors) ||
        !grow((void **)&slot->fresh, count, sizeof *slot->fresh) ||
        !grow((void **)&slot->spans, count * model->input_count, sizeof *slot->spans) ||
        !grow((void **)&slot->parts, count * model->output_count, sizeof *slot->parts))
        return false;
    slot->capacity = count;
    return true;
}

static void drop_buffers(struct slot *slot)
{
    ferry_buffer_destroy(slot->in);
    ferry_buffer_destroy(slot->out);
    slot->in = slot->out = NULL;
    slot->out_bytes = NULL;
}

/* Buffers large enough for the batch. */
static enum ferry_status make_buffers(struct slot *slot)
{
    const struct instance *instance = slot->instance;
    const enum ferry_storage storage = work_storage(instance->device, instance->model->operation);
    const size_t size = slot->size;
    void *bytes = NULL;
    if (!size || (slot->in && ferry_buffer_size(slot->in) >= size))
        return FERRY_OK;
    drop_buffers(slot);
    enum ferry_status status = ferry_buffer_create(
        instance->device, &(struct ferry_buffer_params){.size = size, .label = "inputs"},
        &slot->in);
    if (!status)
        status = ferry_buffer_create(
            instance->device,
            &(struct ferry_buffer_params){.size = size, .storage = storage, .label = "outputs"},
            &slot->out);
    if (!status && storage == FERRY_STORAGE_SHARED)
        status = ferry_buffer_contents(slot->out, &bytes);
    slot->out_bytes = bytes;
    if (status)
        drop_buffers(slot);
    return status;
}

/* --- to the device ---------------------------------------------------------------------------- */

/* One input behind the other, with room for the parts of all requests. */
static TRITONSERVER_Error *lay_out(struct slot *slot)
{
    const struct model *model = slot->instance->model;
    TRITONSERVER_Error *error = NULL;
    size_t at = 0;
    for (size_t i = 0; i < model->input_count && !error; i++) {
        size_t size = 0;
        slot->inputs[i] = (struct ferry_triton_input){
            .name = model->inputs[i].name, .offset = at, .pass_through = true};
        error = ferry_triton_gather_size(slot->requests, slot->count, &slot->inputs[i], &size);
        if (error)
            break;
        size_t end = at;
        if (__builtin_add_overflow(at, size, &end) ||
            __builtin_add_overflow(end, FERRY_BUFFER_ALIGNMENT - 1, &at))
            return backend_fail(TRITONSERVER_ERROR_INVALID_ARG, "the inputs are too large");
        at &= ~(size_t)(FERRY_BUFFER_ALIGNMENT - 1);
        slot->size = end;
    }
    return error;
}

/* Keeps what a gather or scatter said of the requests; how many go on. */
static uint32_t keep_errors(struct slot *slot)
{
    uint32_t going_on = 0;
    for (uint32_t i = 0; i < slot->count; i++) {
        if (!slot->errors[i])
            slot->errors[i] = slot->fresh[i];
        else
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
    if (status)
        slot_fail(slot, status, "gathering the inputs");
    instance_leave(slot);
}

static void on_scattered(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct slot *slot = user;
    (void)ticket;
    slot->exec_end_ns = backend_now_ns();
    if (status)
        slot_fail(slot, status, "scattering the outputs");
    instance_leave(slot);
}

/* The part of one request in an output: where its input's bytes are in out. */
static TRITONSERVER_Error *make_part(struct slot *slot, uint32_t request, size_t output)
{
    const struct model *model = slot->instance->model;
    const struct ferry_triton_span *span = &slot->spans[output * slot->count + request];
    struct ferry_triton_part *part = &slot->parts[output * slot->count + request];
    TRITONBACKEND_Input *input = NULL;
    *part = (struct ferry_triton_part){
        .offset = span->buffer == slot->in ? span->offset : slot->inputs[output].offset,
        .size = span->size};
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_RequestInput(
        slot->requests[request], model->inputs[output].name, &input);
    if (error)
        return error;
    return ferry__triton.TRITONBACKEND_InputProperties(input, NULL, NULL, &part->shape, &part->dims,
                                                       NULL, NULL);
}

static TRITONSERVER_Error *scatter(struct slot *slot)
{
    const struct instance *instance = slot->instance;
    const struct model *model = instance->model;
    for (size_t k = 0; k < model->output_count; k++)
        slot->outputs[k] = (struct ferry_triton_output){.name = model->outputs[k].name,
                                                        .datatype = model->outputs[k].datatype,
                                                        .src = slot->out,
                                                        .parts = &slot->parts[k * slot->count]};
    for (uint32_t i = 0; i < slot->count; i++) {
        for (size_t k = 0; k < model->output_count && !slot->errors[i]; k++)
            slot->errors[i] = make_part(slot, i, k);
        slot->good[i] = slot->errors[i] ? NULL : slot->responses[i];
    }
    TRITONSERVER_Error *error = ferry_triton_scatter(
        instance->device, slot->requests, slot->good, slot->count, slot->outputs,
        model->output_count, slot->fresh, on_scattered, slot, NULL);
    if (!error)
        (void)keep_errors(slot);
    return error;
}

static TRITONSERVER_Error *gather(struct slot *slot)
{
    const struct instance *instance = slot->instance;
    const size_t inputs = instance->model->input_count;
    for (size_t i = 0; i < inputs; i++)
        slot->inputs[i].dst = slot->in;
    instance_expect(slot);
    TRITONSERVER_Error *error =
        ferry_triton_gather(instance->device, slot->requests, slot->count, slot->inputs, inputs,
                            slot->spans, slot->fresh, on_gathered, slot, NULL);
    if (error)
        instance_leave(slot);
    return error;
}

/* Submits all of it. If an error comes back, scatter's callback does not come. */
static TRITONSERVER_Error *submit(struct slot *slot)
{
    TRITONSERVER_Error *error = lay_out(slot);
    if (!error)
        error = ferry_triton_error(make_buffers(slot), "memory for the batch");
    if (!error)
        error = gather(slot);
    if (error)
        return error;
    if (keep_errors(slot) && slot->size)
        error = ferry_triton_error(work_submit(slot), "the device-side operation");
    return error ? error : scatter(slot);
}

/* Not all could be submitted: what was is waited for, since it reads the requests' memory. */
static void submit_failed(struct slot *slot, TRITONSERVER_Error *error)
{
    ferry_device *device = slot->instance->device;
    if (slot->has_work)
        (void)!ferry_external_end(device, slot->work.ticket, FERRY_ERROR_INTERNAL);
    slot->has_work = false;
    (void)!ferry_wait_idle(device);
    fail_with(slot, error);
    slot->exec_end_ns = backend_now_ns();
    instance_leave(slot); /* for the scatter, which does not come */
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
    if (!reserve(slot, count)) {
        instance_give_slot(slot);
        return backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory for %u requests",
                            count);
    }
    slot->status = FERRY_OK;
    slot->exec_start_ns = start;
    slot->compute_start_ns = slot->compute_end_ns = slot->exec_end_ns = 0;
    slot->count = count;
    memcpy(slot->requests, requests, count * sizeof(TRITONBACKEND_Request *));
    make_responses(slot);
    TRITONSERVER_Error *error = submit(slot);
    if (error)
        submit_failed(slot, error);
    instance_leave(slot);
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

/* The rows of a request: what statistics call its batch size. */
static uint64_t rows_of(const struct slot *slot, uint32_t request)
{
    const struct model *model = slot->instance->model;
    const int64_t *shape = NULL;
    TRITONBACKEND_Input *input = NULL;
    uint32_t dims = 0;
    if (!model->batching)
        return 1;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_RequestInput(
        slot->requests[request], model->inputs[0].name, &input);
    if (!error)
        error = ferry__triton.TRITONBACKEND_InputProperties(input, NULL, NULL, &shape, &dims, NULL,
                                                            NULL);
    backend_log(TRITONSERVER_LOG_WARN, "the batch size of a request", error);
    return shape && dims && shape[0] > 0 ? (uint64_t)shape[0] : 1;
}

/* Responds, reports and releases, in this order: what the request is asked for ends with it. */
static void answer_one(struct slot *slot, uint32_t i)
{
    const struct instance *instance = slot->instance;
    TRITONSERVER_Error *error = slot->errors[i];
    slot->errors[i] = NULL;
    if (slot->responses[i])
        backend_log(TRITONSERVER_LOG_ERROR, "sending a response",
                    ferry__triton.TRITONBACKEND_ResponseSend(
                        slot->responses[i], TRITONSERVER_RESPONSE_COMPLETE_FINAL, error));
    backend_log(TRITONSERVER_LOG_ERROR, "statistics",
                ferry__triton.TRITONBACKEND_ModelInstanceReportStatistics(
                    instance->triton, slot->requests[i], !error, slot->exec_start_ns,
                    slot->compute_start_ns, slot->compute_end_ns, slot->exec_end_ns));
    ferry__triton.TRITONSERVER_ErrorDelete(error);
    backend_log(TRITONSERVER_LOG_ERROR, "releasing a request",
                ferry__triton.TRITONBACKEND_RequestRelease(slot->requests[i],
                                                           TRITONSERVER_REQUEST_RELEASE_ALL));
}

void answer(struct slot *slot)
{
    uint64_t rows = 0;
    if (slot->status) {
        fail_with(slot, backend_fail(TRITONSERVER_ERROR_INTERNAL, "%s", slot->why));
        drop_buffers(slot); /* what they hold counts as failed */
    }
    order_times(slot);
    for (uint32_t i = 0; i < slot->count; i++)
        if (!slot->errors[i])
            rows += rows_of(slot, i);
    if (rows)
        backend_log(TRITONSERVER_LOG_ERROR, "statistics",
                    ferry__triton.TRITONBACKEND_ModelInstanceReportBatchStatistics(
                        slot->instance->triton, rows, slot->exec_start_ns, slot->compute_start_ns,
                        slot->compute_end_ns, slot->exec_end_ns));
    for (uint32_t i = 0; i < slot->count; i++)
        answer_one(slot, i);
}
