#include "internal.h"

#include <string.h>

/* One call of ferry_triton_scatter. */
struct scatter {
    ferry_device *device;
    const struct ferry_triton_output *outputs;
    size_t output_count;
    struct ferry__triton_plan plan;
    uint64_t bytes; /* of the responses that go on */
};

/* Without a request all are: it was released, and the caller knows what it wanted. */
static TRITONSERVER_Error *is_asked_for(TRITONBACKEND_Request *request, const char *name,
                                        bool *out_asked)
{
    uint32_t count = 0;
    *out_asked = true;
    if (!request)
        return NULL;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_RequestOutputCount(request, &count);
    *out_asked = false;
    for (uint32_t i = 0; i < count && !error && !*out_asked; i++) {
        const char *asked = NULL;
        error = ferry__triton.TRITONBACKEND_RequestOutputName(request, i, &asked);
        if (!error && asked)
            *out_asked = strcmp(asked, name) == 0;
    }
    return error;
}

/* The memory that the host would like to have an output in; CPU where it does not say. */
static void ask_preference(TRITONBACKEND_Request *request, const char *name, size_t size,
                           TRITONSERVER_MemoryType *out_type, int64_t *out_id)
{
    *out_type = TRITONSERVER_MEMORY_CPU;
    *out_id = 0;
    if (!request)
        return;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_RequestOutputBufferProperties(
        request, name, &size, out_type, out_id);
    if (!error)
        return;
    ferry__triton_delete(error);
    *out_type = TRITONSERVER_MEMORY_CPU;
    *out_id = 0;
}

static TRITONSERVER_Error *refuse(const char *name, size_t size, const void *buffer, int64_t id)
{
    FERRY_TRITON_ADD(foreign, 1);
    return ferry__triton_fail(TRITONSERVER_ERROR_UNSUPPORTED,
                              "output \"%s\": %zu bytes of GPU memory at %p of device %lld are "
                              "not Ferry's, nor CUDA's on this device",
                              name, size, buffer, (long long)id);
}

/* GPU memory: Ferry's by a handle, or CUDA's own, which is wrapped later. False: neither. */
static bool find_destination(struct scatter *scatter, uintptr_t number, int64_t id,
                             struct ferry__triton_move *move)
{
    struct ferry__triton_range range;
    if (ferry__triton_table_find(number, &range) && range.is_gpu &&
        move->size <= range.size - (number - range.base)) {
        move->dst = range.buffer;
        move->dst_offset = number - range.base;
        return true;
    }
    move->dst_offset = number;
    return !ferry__triton_is_handle(number) && ferry__triton_plan_is_on(&scatter->plan, id);
}

/* The move from src to what the host gave. */
static TRITONSERVER_Error *add_move(struct scatter *scatter,
                                    const struct ferry_triton_output *output,
                                    const struct ferry_triton_part *part, uint32_t response,
                                    void *buffer, TRITONSERVER_MemoryType type, int64_t id)
{
    struct ferry__triton_move move = {.kind = FERRY_TRITON_DOWN,
                                      .src = output->src,
                                      .host = buffer,
                                      .size = part->size,
                                      .src_offset = part->offset,
                                      .response = response};
    if (output->host) {
        move.kind = FERRY_TRITON_HOST;
        move.from = (const uint8_t *)output->host + part->offset;
    }
    if (!buffer)
        return ferry__triton_fail(TRITONSERVER_ERROR_INTERNAL,
                                  "output \"%s\": the allocator gave no buffer for %zu bytes",
                                  output->name, part->size);
    if (type == TRITONSERVER_MEMORY_GPU) {
        if (!find_destination(scatter, (uintptr_t)buffer, id, &move))
            return refuse(output->name, part->size, buffer, id);
        move.kind = output->host ? FERRY_TRITON_UP : FERRY_TRITON_COPY;
        move.host = (void *)move.from;
    }
    return ferry__triton_plan_add(&scatter->plan, &move);
}

/* What is said to be CUDA's memory is not, in one response or in several: they are left out. */
static void wrap_each(struct scatter *scatter, TRITONSERVER_Error **errors_out, uint32_t *going_on)
{
    struct ferry__triton_plan *plan = &scatter->plan;
    size_t left = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct ferry__triton_move *move = &plan->moves[i];
        const uintptr_t number = move->dst_offset;
        TRITONSERVER_Error *error = NULL, **kept = &errors_out[move->response];
        if (move->dst || (move->kind != FERRY_TRITON_UP && move->kind != FERRY_TRITON_COPY))
            continue;
        move->dst = ferry__triton_plan_wrap(plan, number, move->size, &error);
        move->dst_offset = 0;
        ferry__triton_delete(error);
        if (move->dst || *kept)
            continue;
        *kept = refuse("of a response", move->size, (void *)number, plan->cuda);
        FERRY_TRITON_ADD(scatter_errors, 1);
        *going_on -= 1;
    }
    for (size_t i = 0; i < plan->count; i++)
        if (errors_out[plan->moves[i].response])
            scatter->bytes -= plan->moves[i].size;
        else
            plan->moves[left++] = plan->moves[i];
    plan->count = left;
}

static TRITONSERVER_Error *add_output(struct scatter *scatter, TRITONBACKEND_Request *request,
                                      TRITONBACKEND_Response *response,
                                      const struct ferry_triton_output *output, uint32_t index)
{
    const struct ferry_triton_part *part = &output->parts[index];
    const size_t size = output->src ? ferry_buffer_size(output->src) : 0;
    TRITONBACKEND_Output *made = NULL;
    TRITONSERVER_MemoryType asked, type;
    int64_t asked_id, id;
    void *buffer = NULL;
    if (part->size && !output->host && (part->offset > size || part->size > size - part->offset))
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "output \"%s\": %zu bytes at offset %zu exceed the buffer of %zu",
                                  output->name, part->size, part->offset, size);
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ResponseOutput(
        response, &made, output->name, (TRITONSERVER_DataType)output->datatype, part->shape,
        part->dims);
    if (error)
        return error;
    ask_preference(request, output->name, part->size, &asked, &asked_id);
    type = asked;
    id = asked_id;
    error = ferry__triton.TRITONBACKEND_OutputBuffer(made, &buffer, part->size, &type, &id);
    if (error || !part->size)
        return error;
    if (type != asked || id != asked_id)
        FERRY_TRITON_ADD(other_memory, 1);
    error = add_move(scatter, output, part, index, buffer, type, id);
    if (!error)
        scatter->bytes += part->size;
    return error;
}

/* A response goes on with all its outputs or is left out; what it was given stays in it. */
static TRITONSERVER_Error *add_response(struct scatter *scatter, TRITONBACKEND_Request *request,
                                        TRITONBACKEND_Response *response, uint32_t index)
{
    const size_t moves = scatter->plan.count;
    const uint64_t bytes = scatter->bytes;
    TRITONSERVER_Error *error = NULL;
    for (size_t i = 0; i < scatter->output_count && !error; i++) {
        const struct ferry_triton_output *output = &scatter->outputs[i];
        bool asked = false;
        error = is_asked_for(request, output->name, &asked);
        if (!error && asked)
            error = add_output(scatter, request, response, output, index);
    }
    if (!error)
        return NULL;
    scatter->plan.count = moves;
    scatter->bytes = bytes;
    FERRY_TRITON_ADD(scatter_errors, 1);
    return error;
}

static TRITONSERVER_Error *check(const ferry_device *device, const void *responses, uint32_t count,
                                 const struct ferry_triton_output *outputs, size_t output_count,
                                 const void *errors_out)
{
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    if (!device || (count && (!responses || !errors_out)) || (output_count && !outputs))
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_scatter: device %p, responses %p, count %u, "
                                  "outputs %p, output_count %zu, errors_out %p",
                                  (const void *)device, responses, count, (const void *)outputs,
                                  output_count, errors_out);
    for (size_t i = 0; i < output_count; i++) {
        const struct ferry_triton_output *output = &outputs[i];
        if (!output->name || (count && !output->parts))
            return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                      "ferry_triton_scatter: output %zu: name %p, parts %p", i,
                                      (const void *)output->name, (const void *)output->parts);
        if (!ferry__triton_is_unused(output->reserved, FERRY_TRITON_COUNT(output->reserved)))
            return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                      "ferry_triton_scatter: output \"%s\": reserved is not 0",
                                      output->name);
        if (output->src && output->host)
            return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                      "ferry_triton_scatter: output \"%s\" has both src and host",
                                      output->name);
        if (output->src && ferry_buffer_device(output->src) != device)
            return ferry__triton_fail(
                TRITONSERVER_ERROR_INVALID_ARG,
                "ferry_triton_scatter: the buffer of output \"%s\" belongs to "
                "another device",
                output->name);
    }
    return NULL;
}

static TRITONSERVER_Error *run(ferry_device *device, TRITONBACKEND_Request *const *requests,
                               TRITONBACKEND_Response *const *responses, uint32_t count,
                               const struct ferry_triton_output *outputs, size_t output_count,
                               TRITONSERVER_Error **errors_out, const struct ferry__triton_end *end)
{
    struct scatter scatter;
    uint32_t going_on = 0;
    TRITONSERVER_Error *error = check(device, responses, count, outputs, output_count, errors_out);
    if (error)
        return error;
    scatter.device = device;
    scatter.outputs = outputs;
    scatter.output_count = output_count;
    scatter.bytes = 0;
    ferry__triton_plan_init(&scatter.plan, device);
    for (uint32_t i = 0; i < count; i++) {
        const bool there = responses[i] && (!requests || requests[i]);
        TRITONBACKEND_Request *request = requests ? requests[i] : NULL;
        errors_out[i] = there ? add_response(&scatter, request, responses[i], i) : NULL;
        going_on += there && !errors_out[i];
    }
    if (!ferry__triton_plan_wrap_all(&scatter.plan))
        wrap_each(&scatter, errors_out, &going_on);
    error = ferry__triton_plan_submit(&scatter.plan, end);
    for (uint32_t i = 0; i < count && error; i++) {
        ferry__triton_delete(errors_out[i]);
        errors_out[i] = NULL;
    }
    if (!error) {
        FERRY_TRITON_ADD(scatters, 1);
        FERRY_TRITON_ADD(scattered_responses, going_on);
        FERRY_TRITON_ADD(scattered_bytes, scatter.bytes);
    }
    ferry__triton_plan_finish(&scatter.plan);
    return error;
}

TRITONSERVER_Error *ferry_triton_scatter(ferry_device *device,
                                         TRITONBACKEND_Request *const *requests,
                                         TRITONBACKEND_Response *const *responses, uint32_t count,
                                         const struct ferry_triton_output *outputs,
                                         size_t output_count, TRITONSERVER_Error **errors_out,
                                         ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    const struct ferry__triton_end end = {
        .what = "scattering the outputs", .cb = cb, .user = user, .out_ticket = out_ticket};
    return run(device, requests, responses, count, outputs, output_count, errors_out, &end);
}

TRITONSERVER_Error *ferry_triton_scatter_wait(ferry_device *device,
                                              TRITONBACKEND_Request *const *requests,
                                              TRITONBACKEND_Response *const *responses,
                                              uint32_t count,
                                              const struct ferry_triton_output *outputs,
                                              size_t output_count, TRITONSERVER_Error **errors_out)
{
    const struct ferry__triton_end end = {.what = "scattering the outputs", .wait = true};
    return run(device, requests, responses, count, outputs, output_count, errors_out, &end);
}

TRITONSERVER_Error *ferry_triton_scatter_run(ferry_device *device, ferry_batch *batch,
                                             TRITONBACKEND_Request *const *requests,
                                             TRITONBACKEND_Response *const *responses,
                                             uint32_t count,
                                             const struct ferry_triton_output *outputs,
                                             size_t output_count, TRITONSERVER_Error **errors_out)
{
    const struct ferry__triton_end end = {
        .what = "scattering the outputs", .wait = true, .batch = batch};
    if (!batch)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_scatter_run: batch is NULL");
    return run(device, requests, responses, count, outputs, output_count, errors_out, &end);
}
