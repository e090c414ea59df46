#include "core.h"

/* --- the host's side -------------------------------------------------------------------------- */

static bool is_of_host(const TRITONSERVER_InferenceRequest *request, const char *what)
{
    if (atomic_load(&request->owner) == OF_HOST)
        return true;
    violate("%s: the request is not the host's", what);
    return false;
}

TRITONSERVER_Error *TRITONSERVER_InferenceRequestNew(TRITONSERVER_InferenceRequest **request,
                                                     TRITONSERVER_Server *server,
                                                     const char *model_name,
                                                     const int64_t model_version)
{
    (void)model_version;
    TRITONSERVER_InferenceRequest *made = keep(sizeof *made);
    made->server = server;
    *request = made;
    if (!server)
        return NULL;
    bool ready = false;
    snprintf(made->model_name, NAME_SIZE, "%s", model_name);
    TRITONSERVER_Error *error = TRITONSERVER_ServerModelIsReady(server, model_name, -1, &ready);
    if (error || ready)
        return error;
    return fail(TRITONSERVER_ERROR_NOT_FOUND, "unknown model \"%s\"", model_name);
}

/* Names and shapes of its inputs are no more: who kept a pointer to them finds nonsense. */
TRITONSERVER_Error *TRITONSERVER_InferenceRequestDelete(TRITONSERVER_InferenceRequest *request)
{
    if (!is_of_host(request, "InferenceRequestDelete"))
        return NULL;
    memset(request->inputs, 0xdd, sizeof request->inputs);
    atomic_store(&request->owner, RELEASED);
    return NULL;
}

static TRITONBACKEND_Input *find_input(TRITONSERVER_InferenceRequest *request, const char *name)
{
    for (uint32_t i = 0; i < request->input_count; i++)
        if (!strcmp(request->inputs[i].name, name))
            return &request->inputs[i];
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_InferenceRequestAddInput(TRITONSERVER_InferenceRequest *request,
                                                          const char *name,
                                                          const TRITONSERVER_DataType datatype,
                                                          const int64_t *shape, uint64_t dim_count)
{
    (void)is_of_host(request, "InferenceRequestAddInput");
    if (find_input(request, name))
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "input \"%s\" is there already", name);
    if (request->input_count == INPUTS_MAX || dim_count > DIMS_MAX)
        abort();
    TRITONBACKEND_Input *input = &request->inputs[request->input_count++];
    input->request = request;
    snprintf(input->name, sizeof input->name, "%s", name);
    input->datatype = datatype;
    memcpy(input->shape, shape, dim_count * sizeof *shape);
    input->dims = (uint32_t)dim_count;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_InferenceRequestAppendInputData(
    TRITONSERVER_InferenceRequest *request, const char *name, const void *base, size_t byte_size,
    TRITONSERVER_MemoryType memory_type, int64_t memory_type_id)
{
    if (!is_of_host(request, "InferenceRequestAppendInputData"))
        return NULL;
    TRITONBACKEND_Input *input = find_input(request, name);
    if (!input)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "no input \"%s\"", name);
    if (input->chunk_count == BUFFERS_MAX)
        abort();
    input->chunks[input->chunk_count++] =
        (struct chunk){base, byte_size, memory_type, memory_type_id};
    input->byte_size += byte_size;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_InferenceRequestAddRequestedOutput(TRITONSERVER_InferenceRequest *request,
                                                const char *name)
{
    (void)is_of_host(request, "InferenceRequestAddRequestedOutput");
    if (request->output_count == OUTPUTS_MAX)
        abort();
    snprintf(request->outputs[request->output_count++], NAME_SIZE, "%s", name);
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_InferenceRequestSetReleaseCallback(
    TRITONSERVER_InferenceRequest *request,
    TRITONSERVER_InferenceRequestReleaseFn_t request_release_fn, void *request_release_userp)
{
    request->on_release = request_release_fn;
    request->release_userp = request_release_userp;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_InferenceRequestSetResponseCallback(
    TRITONSERVER_InferenceRequest *request, TRITONSERVER_ResponseAllocator *response_allocator,
    void *response_allocator_userp, TRITONSERVER_InferenceResponseCompleteFn_t response_fn,
    void *response_userp)
{
    request->allocator = response_allocator;
    request->allocator_userp = response_allocator_userp;
    request->on_response = response_fn;
    request->response_userp = response_userp;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ServerInferAsync(TRITONSERVER_Server *server,
                                                  TRITONSERVER_InferenceRequest *request,
                                                  TRITONSERVER_InferenceTrace *trace)
{
    (void)trace;
    (void)server;
    if (!is_of_host(request, "ServerInferAsync") || !request->on_release || !request->on_response)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "the request is not ready to be sent");
    return enqueue(request);
}

TRITONBACKEND_Request *standin_hand_over(TRITONSERVER_InferenceRequest *request)
{
    atomic_store(&request->owner, OF_BACKEND);
    return (TRITONBACKEND_Request *)request;
}

void standin_cancel(TRITONBACKEND_Request *request)
{
    atomic_store(&((TRITONSERVER_InferenceRequest *)request)->cancelled, true);
}

void standin_claim_size(TRITONBACKEND_Request *request, const char *input, uint64_t byte_size)
{
    find_input((TRITONSERVER_InferenceRequest *)request, input)->byte_size = byte_size;
}

/* --- the backend's side ----------------------------------------------------------------------- */

bool is_with_backend(const TRITONSERVER_InferenceRequest *request, const char *what)
{
    if (!request) {
        violate("%s: the request is NULL", what);
        return false;
    }
    if (atomic_load(&request->owner) == OF_BACKEND)
        return true;
    violate("%s: the request is not the backend's: it was released, or is from an old array", what);
    return false;
}

static TRITONSERVER_Error *gone(void)
{
    return fail(TRITONSERVER_ERROR_INTERNAL, "a rule of the API was broken");
}

TRITONSERVER_Error *TRITONBACKEND_RequestIsCancelled(TRITONBACKEND_Request *backend_request,
                                                     bool *is_cancelled)
{
    TRITONSERVER_InferenceRequest *request = (TRITONSERVER_InferenceRequest *)backend_request;
    if (!is_with_backend(request, "RequestIsCancelled"))
        return gone();
    *is_cancelled = atomic_load(&request->cancelled);
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_RequestInput(TRITONBACKEND_Request *backend_request,
                                               const char *name, TRITONBACKEND_Input **input)
{
    TRITONSERVER_InferenceRequest *request = (TRITONSERVER_InferenceRequest *)backend_request;
    if (!is_with_backend(request, "RequestInput"))
        return gone();
    *input = find_input(request, name);
    if (*input)
        return NULL;
    return fail(TRITONSERVER_ERROR_INVALID_ARG, "the request has no input \"%s\"", name);
}

TRITONSERVER_Error *TRITONBACKEND_InputProperties(TRITONBACKEND_Input *input, const char **name,
                                                  TRITONSERVER_DataType *datatype,
                                                  const int64_t **shape, uint32_t *dims_count,
                                                  uint64_t *byte_size, uint32_t *buffer_count)
{
    if (!is_with_backend(input->request, "InputProperties"))
        return gone();
    if (name)
        *name = input->name;
    if (datatype)
        *datatype = input->datatype;
    if (shape)
        *shape = input->shape;
    if (dims_count)
        *dims_count = input->dims;
    if (byte_size)
        *byte_size = input->byte_size;
    if (buffer_count)
        *buffer_count = input->chunk_count;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_InputBuffer(TRITONBACKEND_Input *input, const uint32_t index,
                                              const void **buffer, uint64_t *buffer_byte_size,
                                              TRITONSERVER_MemoryType *memory_type,
                                              int64_t *memory_type_id)
{
    if (!is_with_backend(input->request, "InputBuffer"))
        return gone();
    if ((unsigned)*memory_type > TRITONSERVER_MEMORY_GPU)
        violate("InputBuffer: memory type %d does not exist", (int)*memory_type);
    if (index >= input->chunk_count) {
        violate("InputBuffer: index %u of %u", index, input->chunk_count);
        return gone();
    }
    const struct chunk *chunk = &input->chunks[index];
    *buffer = chunk->base;
    *buffer_byte_size = chunk->size;
    *memory_type = chunk->type;
    *memory_type_id = chunk->id;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_RequestOutputCount(TRITONBACKEND_Request *backend_request,
                                                     uint32_t *count)
{
    TRITONSERVER_InferenceRequest *request = (TRITONSERVER_InferenceRequest *)backend_request;
    if (!is_with_backend(request, "RequestOutputCount"))
        return gone();
    *count = request->output_count;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_RequestOutputName(TRITONBACKEND_Request *backend_request,
                                                    const uint32_t index, const char **output_name)
{
    TRITONSERVER_InferenceRequest *request = (TRITONSERVER_InferenceRequest *)backend_request;
    if (!is_with_backend(request, "RequestOutputName") || index >= request->output_count)
        return gone();
    *output_name = request->outputs[index];
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_RequestOutputBufferProperties(
    TRITONBACKEND_Request *backend_request, const char *name, size_t *byte_size,
    TRITONSERVER_MemoryType *memory_type, int64_t *memory_type_id)
{
    TRITONSERVER_InferenceRequest *request = (TRITONSERVER_InferenceRequest *)backend_request;
    if (!is_with_backend(request, "RequestOutputBufferProperties"))
        return gone();
    if (!request->allocator || !request->allocator->query)
        return fail(TRITONSERVER_ERROR_UNAVAILABLE, "the allocator has no query function");
    return request->allocator->query(request->allocator, request->allocator_userp, name, byte_size,
                                     memory_type, memory_type_id);
}

TRITONSERVER_Error *TRITONBACKEND_RequestRelease(TRITONBACKEND_Request *backend_request,
                                                 uint32_t release_flags)
{
    TRITONSERVER_InferenceRequest *request = (TRITONSERVER_InferenceRequest *)backend_request;
    if (!is_with_backend(request, "RequestRelease"))
        return gone();
    if (release_flags != TRITONSERVER_REQUEST_RELEASE_ALL)
        violate("RequestRelease: flags %u", release_flags);
    if (atomic_load(&request->finals) != 1)
        violate("RequestRelease: the request had %d final responses, not 1",
                atomic_load(&request->finals));
    TRITONSERVER_InferenceRequestReleaseFn_t on_release = request->on_release;
    void *userp = request->release_userp;
    atomic_store(&request->owner, RELEASED);
    note_released(request);
    /* The host may delete it, or send it anew. */
    if (on_release) {
        atomic_store(&request->owner, OF_HOST);
        on_release(request, release_flags, userp);
    }
    return NULL;
}

void refuse_request(TRITONSERVER_InferenceRequest *request, TRITONSERVER_Error *error)
{
    TRITONBACKEND_Response *response = NULL;
    TRITONSERVER_Error *none =
        TRITONBACKEND_ResponseNew(&response, (TRITONBACKEND_Request *)request);
    if (!none)
        none = TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, error);
    if (!none)
        none = TRITONBACKEND_RequestRelease((TRITONBACKEND_Request *)request,
                                            TRITONSERVER_REQUEST_RELEASE_ALL);
    TRITONSERVER_ErrorDelete(none);
}
