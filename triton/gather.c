#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { FEW_INPUTS = 8 };

/* One call of ferry_triton_gather. */
struct gather {
    ferry_device *device;
    const struct ferry_triton_input *inputs;
    size_t input_count;
    bool alone; /* there is one request: an input may be passed through */
    bool each;  /* memory of CUDA's is checked and wrapped part by part */
    struct ferry__triton_plan plan;
    size_t *at;                           /* by input: where the next part may begin */
    size_t *next;                         /* likewise, if the request at hand goes on */
    uint64_t bytes, passed, in_place;     /* of the requests that go on */
    uint64_t cancelled, foreign, refused; /* of the others */
    size_t few[2 * FEW_INPUTS];           /* at and next of a model with few inputs */
};

/* What the server says of a request's input. */
struct tensor {
    TRITONBACKEND_Input *input; /* NULL: optional, and not there */
    size_t size;
    uint32_t buffers;
};

static TRITONSERVER_Error *look_up(TRITONBACKEND_Request *request,
                                   const struct ferry_triton_input *input, struct tensor *out)
{
    uint64_t size = 0;
    *out = (struct tensor){0};
    TRITONSERVER_Error *error =
        ferry__triton.TRITONBACKEND_RequestInput(request, input->name, &out->input);
    if (error && input->optional) {
        ferry__triton_delete(error);
        out->input = NULL;
        return NULL;
    }
    if (!error)
        error = ferry__triton.TRITONBACKEND_InputProperties(out->input, NULL, NULL, NULL, NULL,
                                                            &size, &out->buffers);
    out->size = (size_t)size;
    return error;
}

/* Rounded up to a multiple, any number; false: it wraps. */
static bool round_up(size_t *at, size_t align)
{
    const size_t rest = align > 1 ? *at % align : 0;
    return !rest || !__builtin_add_overflow(*at, align - rest, at);
}

/* Where a part of this size goes and where the next one may begin; false: it does not fit. */
static bool place(const struct ferry_triton_input *input, size_t end, size_t size, size_t *at,
                  size_t *next)
{
    if (input->stride && size > input->stride)
        return false;
    if (!round_up(at, input->align))
        return false;
    return !__builtin_add_overflow(*at, input->stride ? input->stride : size, next) && *next <= end;
}

/* The end of what the input may use of its dst. */
static size_t end_of(const struct ferry_triton_input *input)
{
    const size_t size = input->dst ? ferry_buffer_size(input->dst) : 0;
    size_t end;
    if (!input->capacity || __builtin_add_overflow(input->offset, input->capacity, &end))
        return size;
    return end < size ? end : size;
}

static TRITONSERVER_Error *does_not_fit(const struct ferry_triton_input *input, size_t size,
                                        size_t at)
{
    if (input->stride && size > input->stride)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "input \"%s\": %zu bytes do not fit a slot of %zu", input->name,
                                  size, input->stride);
    return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                              "input \"%s\": %zu bytes at offset %zu exceed the room for it, which "
                              "ends at %zu",
                              input->name, input->stride ? input->stride : size, at, end_of(input));
}

/* Buffers of an input that lie one behind the other are one. */
static TRITONSERVER_Error *add_move(struct gather *gather, size_t first_move,
                                    const struct ferry__triton_move *move)
{
    struct ferry__triton_plan *plan = &gather->plan;
    struct ferry__triton_move *last =
        plan->count > first_move ? &plan->moves[plan->count - 1] : NULL;
    if (!last || last->kind != FERRY_TRITON_UP || move->kind != FERRY_TRITON_UP ||
        (const uint8_t *)last->host + last->size != move->host)
        return ferry__triton_plan_add(plan, move);
    last->size += move->size;
    return NULL;
}

/* If that fails, nothing has changed: it will fail again where it is told. */
static void wrap_source(struct gather *gather, struct ferry__triton_move *move)
{
    TRITONSERVER_Error *error = NULL;
    move->src = ferry__triton_plan_wrap(&gather->plan, move->src_offset, move->size, &error);
    ferry__triton_delete(error);
    if (move->src)
        move->src_offset = 0;
}

static bool is_last_wrap(const struct ferry__triton_plan *plan, const ferry_buffer *buffer)
{
    return plan->wrap_count && plan->wraps[plan->wrap_count - 1] == buffer;
}

/* A part that is GPU memory: Ferry's by a handle, or CUDA's own, which is wrapped later with all
 * others of the plan; or by itself, if that failed. */
static TRITONSERVER_Error *find_source(struct gather *gather, const char *name, const void *base,
                                       size_t size, int64_t id, struct ferry__triton_move *move)
{
    struct ferry__triton_range range;
    const uintptr_t number = (uintptr_t)base;
    move->kind = FERRY_TRITON_COPY;
    move->src_offset = number;
    if (ferry__triton_table_find(number, &range) && range.is_gpu &&
        size <= range.size - (number - range.base)) {
        move->src = range.buffer;
        move->src_offset = number - range.base;
        return NULL;
    }
    if (!ferry__triton_is_handle(number) && ferry__triton_plan_is_on(&gather->plan, id)) {
        if (!gather->each)
            return NULL;
        wrap_source(gather, move);
        if (move->src)
            return NULL;
    }
    gather->foreign++;
    return ferry__triton_fail(TRITONSERVER_ERROR_UNSUPPORTED,
                              "input \"%s\": %zu bytes of GPU memory at %p of device %lld are "
                              "not Ferry's, nor CUDA's on this device",
                              name, size, base, (long long)id);
}

/* One buffer of an input, as a move to dst; its bytes must be at least left. */
static TRITONSERVER_Error *add_buffer(struct gather *gather, const struct ferry_triton_input *input,
                                      const struct tensor *tensor, uint32_t index, size_t at,
                                      size_t first_move, size_t *left)
{
    const void *base = NULL;
    uint64_t size = 0;
    TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
    int64_t id = 0;
    TRITONSERVER_Error *error =
        ferry__triton.TRITONBACKEND_InputBuffer(tensor->input, index, &base, &size, &type, &id);
    if (error || !size)
        return error;
    if (size > *left || !base)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "input \"%s\": buffer %u of %llu bytes at %p: the input is of "
                                  "%zu bytes, of which %zu are left",
                                  input->name, index, (unsigned long long)size, base, tensor->size,
                                  *left);
    *left -= size;
    struct ferry__triton_move move = {.kind = FERRY_TRITON_UP,
                                      .dst = input->dst,
                                      .host = (void *)base,
                                      .size = size,
                                      .dst_offset = at};
    if (type == TRITONSERVER_MEMORY_GPU)
        error = find_source(gather, input->name, base, size, id, &move);
    return error ? error : add_move(gather, first_move, &move);
}

/* All of an input is what the last move copies, from a buffer of this device: take that instead. */
static bool pass_through(struct gather *gather, const struct ferry_triton_input *input,
                         size_t first_move, size_t size, struct ferry_triton_span *out_span)
{
    struct ferry__triton_move *move = &gather->plan.moves[first_move];
    if (!input->pass_through || !gather->alone || gather->plan.count != first_move + 1 ||
        move->kind != FERRY_TRITON_COPY || (input->stride && input->stride != size) ||
        (input->align > 1 && move->src_offset % input->align))
        return false;
    if (!move->src && input->wrapped)
        wrap_source(gather, move);
    if (!move->src || ferry_buffer_device(move->src) != gather->device)
        return false;
    if (is_last_wrap(&gather->plan, move->src)) {
        if (!input->wrapped)
            return false;
        *input->wrapped = move->src;
        gather->plan.wrap_count--;
    }
    *out_span = (struct ferry_triton_span){move->src, move->src_offset, size};
    gather->plan.count = first_move;
    return true;
}

/* Likewise from host memory, for work by the CPU. */
static bool leave_in_place(struct gather *gather, const struct ferry_triton_input *input,
                           size_t first_move, size_t size, struct ferry_triton_span *out_span)
{
    const struct ferry__triton_move *move = &gather->plan.moves[first_move];
    if (!input->in_place || !gather->alone || gather->plan.count != first_move + 1 ||
        move->kind != FERRY_TRITON_UP || (input->stride && input->stride != size) ||
        (input->align > 1 && (uintptr_t)move->host % input->align))
        return false;
    *input->in_place = move->host;
    *out_span = (struct ferry_triton_span){.size = size};
    gather->plan.count = first_move;
    return true;
}

/* An input of a request: its span, and its moves into the plan. */
static TRITONSERVER_Error *add_input(struct gather *gather, TRITONBACKEND_Request *request,
                                     size_t index, struct ferry_triton_span *out_span)
{
    const struct ferry_triton_input *input = &gather->inputs[index];
    const size_t first_move = gather->plan.count;
    struct tensor tensor;
    size_t at = gather->at[index];
    TRITONSERVER_Error *error = look_up(request, input, &tensor);
    if (error)
        return error;
    const bool fits = place(input, end_of(input), tensor.size, &at, &gather->next[index]);
    size_t left = tensor.size;
    for (uint32_t i = 0; i < tensor.buffers && !error; i++)
        error = add_buffer(gather, input, &tensor, i, at + (tensor.size - left), first_move, &left);
    if (error)
        return error;
    if (left)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "input \"%s\": its %u buffers hold %zu of its %zu bytes",
                                  input->name, tensor.buffers, tensor.size - left, tensor.size);
    gather->bytes += tensor.size;
    const bool passed = pass_through(gather, input, first_move, tensor.size, out_span);
    if (passed || leave_in_place(gather, input, first_move, tensor.size, out_span)) {
        gather->next[index] = gather->at[index];
        *(passed ? &gather->passed : &gather->in_place) += 1;
        return NULL;
    }
    const size_t taken = input->stride ? input->stride : tensor.size;
    if (taken && !fits)
        return does_not_fit(input, tensor.size, at);
    *out_span = (struct ferry_triton_span){input->dst, at, tensor.size};
    return ferry__triton_plan_add(&gather->plan,
                                  &(struct ferry__triton_move){.kind = FERRY_TRITON_ZERO,
                                                               .dst = input->dst,
                                                               .size = taken - tensor.size,
                                                               .dst_offset = at + tensor.size});
}

/* What was written of where the only request's input is. */
static void forget_source(const struct ferry_triton_input *input)
{
    if (input->in_place)
        *input->in_place = NULL;
    if (!input->wrapped)
        return;
    ferry_buffer_destroy(*input->wrapped);
    *input->wrapped = NULL;
}

/* A request goes on with all its inputs or with none. */
static TRITONSERVER_Error *add_request(struct gather *gather, TRITONBACKEND_Request *request,
                                       struct ferry_triton_span *spans, size_t span_step)
{
    const size_t moves = gather->plan.count;
    const uint64_t bytes = gather->bytes, passed = gather->passed, in_place = gather->in_place;
    bool cancelled = false;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_RequestIsCancelled(request, &cancelled);
    if (!error && cancelled) {
        gather->cancelled++;
        return ferry__triton_fail(TRITONSERVER_ERROR_CANCELLED, "the request was cancelled");
    }
    for (size_t i = 0; i < gather->input_count && !error; i++)
        error = add_input(gather, request, i, &spans[i * span_step]);
    if (!error) {
        memcpy(gather->at, gather->next, gather->input_count * sizeof *gather->at);
        return NULL;
    }
    gather->plan.count = moves;
    gather->bytes = bytes;
    gather->passed = passed;
    gather->in_place = in_place;
    for (size_t i = 0; i < gather->input_count; i++) {
        spans[i * span_step] = (struct ferry_triton_span){0};
        forget_source(&gather->inputs[i]);
    }
    gather->refused++;
    return error;
}

static TRITONSERVER_Error *check_input(const ferry_device *device,
                                       const struct ferry_triton_input *input, size_t index)
{
    if (!input->name)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_gather: input %zu has no name", index);
    if (!ferry__triton_is_unused(input->reserved, FERRY_TRITON_COUNT(input->reserved)))
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_gather: input \"%s\": reserved is not 0",
                                  input->name);
    if (input->dst && ferry_buffer_device(input->dst) != device)
        return ferry__triton_fail(
            TRITONSERVER_ERROR_INVALID_ARG,
            "ferry_triton_gather: the buffer for input \"%s\" belongs to another "
            "device",
            input->name);
    if (input->align > 1 && input->stride % input->align)
        return ferry__triton_fail(
            TRITONSERVER_ERROR_INVALID_ARG,
            "ferry_triton_gather: input \"%s\": stride %zu is not a multiple of "
            "align %zu",
            input->name, input->stride, input->align);
    return NULL;
}

static TRITONSERVER_Error *check(const ferry_device *device, const void *requests, uint32_t count,
                                 const struct ferry_triton_input *inputs, size_t input_count,
                                 const void *spans_out, const void *errors_out)
{
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    if (!device || (count && (!requests || !errors_out)) || (input_count && !inputs) ||
        (count && input_count && !spans_out))
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_gather: device %p, requests %p, count %u, inputs "
                                  "%p, input_count %zu, spans_out %p, errors_out %p",
                                  (const void *)device, requests, count, (const void *)inputs,
                                  input_count, spans_out, errors_out);
    for (size_t i = 0; i < input_count && !error; i++)
        error = check_input(device, &inputs[i], i);
    return error;
}

static void count_done(const struct gather *gather, uint32_t requests)
{
    FERRY_TRITON_ADD(gathers, 1);
    FERRY_TRITON_ADD(gathered_requests, requests);
    FERRY_TRITON_ADD(gathered_bytes, gather->bytes);
    if (gather->passed)
        FERRY_TRITON_ADD(passed_through, gather->passed);
    if (gather->in_place)
        FERRY_TRITON_ADD(in_place, gather->in_place);
}

static void count_refused(const struct gather *gather)
{
    if (gather->cancelled)
        FERRY_TRITON_ADD(cancelled, gather->cancelled);
    if (gather->foreign)
        FERRY_TRITON_ADD(foreign, gather->foreign);
    if (gather->refused)
        FERRY_TRITON_ADD(gather_errors, gather->refused);
}

/* Where the next parts begin: nothing is there yet. */
static void begin(struct gather *gather)
{
    gather->bytes = gather->passed = gather->in_place = 0;
    gather->cancelled = gather->foreign = gather->refused = 0;
    gather->plan.count = 0;
    for (size_t i = 0; i < gather->input_count; i++)
        gather->at[i] = gather->next[i] = gather->inputs[i].offset;
}

static void forget_errors(TRITONSERVER_Error **errors, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ferry__triton_delete(errors[i]);
        errors[i] = NULL;
    }
}

/* All requests into the plan; how many go on. */
static uint32_t add_requests(struct gather *gather, TRITONBACKEND_Request *const *requests,
                             uint32_t count, struct ferry_triton_span *spans_out,
                             TRITONSERVER_Error **errors_out)
{
    uint32_t going_on = 0;
    begin(gather);
    if (gather->input_count && count)
        memset(spans_out, 0, gather->input_count * count * sizeof *spans_out);
    for (uint32_t i = 0; i < count; i++) {
        struct ferry_triton_span *spans = gather->input_count ? &spans_out[i] : NULL;
        errors_out[i] = requests[i] ? add_request(gather, requests[i], spans, count) : NULL;
        going_on += requests[i] && !errors_out[i];
    }
    return going_on;
}

/* Where what is said to be CUDA's memory is not, all is done once more, to see whose it is. */
static TRITONSERVER_Error *gather_all(struct gather *gather, TRITONBACKEND_Request *const *requests,
                                      uint32_t count, struct ferry_triton_span *spans_out,
                                      TRITONSERVER_Error **errors_out,
                                      const struct ferry__triton_end *end)
{
    uint32_t going_on = add_requests(gather, requests, count, spans_out, errors_out);
    if (!ferry__triton_plan_wrap_all(&gather->plan)) {
        forget_errors(errors_out, count);
        for (size_t i = 0; i < gather->input_count; i++)
            forget_source(&gather->inputs[i]);
        gather->each = true;
        going_on = add_requests(gather, requests, count, spans_out, errors_out);
    }
    TRITONSERVER_Error *error = ferry__triton_plan_submit(&gather->plan, end);
    count_refused(gather);
    if (!error) {
        count_done(gather, going_on);
        return NULL;
    }
    forget_errors(errors_out, count);
    for (size_t i = 0; i < gather->input_count; i++)
        forget_source(&gather->inputs[i]);
    return error;
}

static TRITONSERVER_Error *run(ferry_device *device, TRITONBACKEND_Request *const *requests,
                               uint32_t count, const struct ferry_triton_input *inputs,
                               size_t input_count, struct ferry_triton_span *spans_out,
                               TRITONSERVER_Error **errors_out, const struct ferry__triton_end *end)
{
    struct gather gather;
    uint32_t there = 0;
    TRITONSERVER_Error *error =
        check(device, requests, count, inputs, input_count, spans_out, errors_out);
    if (error)
        return error;
    gather = (struct gather){.device = device, .inputs = inputs, .input_count = input_count};
    gather.at = input_count <= FEW_INPUTS ? gather.few : calloc(2 * input_count, sizeof(size_t));
    if (!gather.at)
        return ferry__triton_no_memory(2 * input_count * sizeof(size_t));
    gather.next = gather.at + input_count;
    for (uint32_t i = 0; i < count; i++)
        there += requests[i] != NULL;
    gather.alone = there == 1;
    for (size_t i = 0; i < input_count; i++) {
        if (inputs[i].in_place)
            *inputs[i].in_place = NULL;
        if (inputs[i].wrapped)
            *inputs[i].wrapped = NULL;
    }
    ferry__triton_plan_init(&gather.plan, device);
    error = gather_all(&gather, requests, count, spans_out, errors_out, end);
    if (gather.at != gather.few)
        free(gather.at);
    ferry__triton_plan_finish(&gather.plan);
    return error;
}

TRITONSERVER_Error *ferry_triton_gather(ferry_device *device,
                                        TRITONBACKEND_Request *const *requests, uint32_t count,
                                        const struct ferry_triton_input *inputs, size_t input_count,
                                        struct ferry_triton_span *spans_out,
                                        TRITONSERVER_Error **errors_out, ferry_callback cb,
                                        void *user, ferry_ticket *out_ticket)
{
    const struct ferry__triton_end end = {
        .what = "gathering the inputs", .cb = cb, .user = user, .out_ticket = out_ticket};
    return run(device, requests, count, inputs, input_count, spans_out, errors_out, &end);
}

TRITONSERVER_Error *ferry_triton_gather_wait(ferry_device *device,
                                             TRITONBACKEND_Request *const *requests, uint32_t count,
                                             const struct ferry_triton_input *inputs,
                                             size_t input_count,
                                             struct ferry_triton_span *spans_out,
                                             TRITONSERVER_Error **errors_out)
{
    const struct ferry__triton_end end = {.what = "gathering the inputs", .wait = true};
    return run(device, requests, count, inputs, input_count, spans_out, errors_out, &end);
}

TRITONSERVER_Error *ferry_triton_gather_add(ferry_device *device, ferry_batch *batch,
                                            TRITONBACKEND_Request *const *requests, uint32_t count,
                                            const struct ferry_triton_input *inputs,
                                            size_t input_count, struct ferry_triton_span *spans_out,
                                            TRITONSERVER_Error **errors_out)
{
    const struct ferry__triton_end end = {.what = "gathering the inputs", .batch = batch};
    if (!batch)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_gather_add: batch is NULL");
    return run(device, requests, count, inputs, input_count, spans_out, errors_out, &end);
}

TRITONSERVER_Error *ferry_triton_gather_size(TRITONBACKEND_Request *const *requests, uint32_t count,
                                             const struct ferry_triton_input *input,
                                             size_t *out_size)
{
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    if ((count && !requests) || !input || !input->name || !out_size)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_gather_size: requests %p, input %p, out_size %p",
                                  (const void *)requests, (const void *)input, (void *)out_size);
    size_t next = input->offset;
    for (uint32_t i = 0; i < count; i++) {
        struct tensor tensor;
        if (!requests[i])
            continue;
        error = look_up(requests[i], input, &tensor);
        ferry__triton_delete(error); /* the gather will tell that request's */
        size_t at = next;
        if (error || (input->stride && tensor.size > input->stride))
            continue;
        if (!place(input, SIZE_MAX, tensor.size, &at, &next))
            return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                      "input \"%s\": %zu bytes at offset %zu are too many",
                                      input->name, tensor.size, at);
    }
    *out_size = next - input->offset;
    return NULL;
}
