/* The smallest Triton backend: INPUT to private memory, your kernel, OUTPUT. See docs/triton.md. */
#include <ferry/triton_api.h>
enum { BATCH_MAX = 64, FINAL = TRITONSERVER_RESPONSE_COMPLETE_FINAL };
static ferry_device *device; /* the process's own: it stays open */

TRITONSERVER_Error *TRITONBACKEND_Initialize(TRITONBACKEND_Backend *backend)
{
    return backend ? ferry_triton_device(NULL, &device) : NULL; /* the best that is there */
}

static void answer(TRITONBACKEND_Request **requests, uint32_t count, ferry_buffer *src,
                   const struct ferry_triton_span *spans, TRITONSERVER_Error **errors)
{
    TRITONBACKEND_Response *made[BATCH_MAX] = {NULL}, *good[BATCH_MAX];
    TRITONSERVER_Error *late[BATCH_MAX] = {NULL}, *all = NULL;
    struct ferry_triton_part parts[BATCH_MAX];
    for (uint32_t i = 0; i < count; i++) {
        TRITONBACKEND_Input *input = NULL;
        parts[i] = (struct ferry_triton_part){.offset = spans[i].offset, .size = spans[i].size};
        TRITONSERVER_ErrorDelete(TRITONBACKEND_ResponseNew(&made[i], requests[i]));
        TRITONSERVER_ErrorDelete(TRITONBACKEND_RequestInput(requests[i], "INPUT", &input));
        if (input)
            TRITONSERVER_ErrorDelete(TRITONBACKEND_InputProperties(
                input, NULL, NULL, &parts[i].shape, &parts[i].dims, NULL, NULL));
        good[i] = errors[i] ? NULL : made[i];
    }
    const struct ferry_triton_output output = {
        .name = "OUTPUT", .datatype = TRITONSERVER_TYPE_FP32, .src = src, .parts = parts};
    all = ferry_triton_scatter_wait(device, requests, good, count, &output, 1, late);
    for (uint32_t i = 0; i < count; i++) {
        TRITONSERVER_Error *own = errors[i] ? errors[i] : late[i];
        if (made[i])
            TRITONSERVER_ErrorDelete(TRITONBACKEND_ResponseSend(made[i], FINAL, own ? own : all));
        TRITONSERVER_ErrorDelete(own);
        TRITONSERVER_ErrorDelete(
            TRITONBACKEND_RequestRelease(requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
    }
    TRITONSERVER_ErrorDelete(all);
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance *instance,
                                                       TRITONBACKEND_Request **requests,
                                                       const uint32_t count)
{
    struct ferry_triton_input input = {.name = "INPUT"};
    struct ferry_buffer_params memory = {.label = "a batch"};
    struct ferry_triton_span spans[BATCH_MAX];
    TRITONSERVER_Error *errors[BATCH_MAX], *error;
    if (!instance || count > BATCH_MAX)
        return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNSUPPORTED, "max_batch_size is over 64");
    error = ferry_triton_gather_size(requests, count, &input, &memory.size);
    if (!error && memory.size)
        error = ferry_triton_error(ferry_buffer_create(device, &memory, &input.dst), "a batch");
    if (!error)
        error = ferry_triton_gather_wait(device, requests, count, &input, 1, spans, errors);
    if (!error) /* your kernel, on input.dst, goes before this */
        answer(requests, count, input.dst, spans, errors);
    ferry_buffer_destroy(input.dst);
    return error; /* an error's requests stay the server's, which tells it to the clients */
}
