#include "core.h"

#include <stdlib.h>

static bool is_open(const TRITONSERVER_InferenceResponse *response, const char *what)
{
    if (response && !atomic_load(&response->sent))
        return true;
    violate("%s: the response was sent, or is NULL", what);
    return false;
}

static TRITONSERVER_Error *gone(void)
{
    return fail(TRITONSERVER_ERROR_INTERNAL, "a rule of the API was broken");
}

TRITONSERVER_Error *TRITONBACKEND_ResponseNew(TRITONBACKEND_Response **response,
                                              TRITONBACKEND_Request *backend_request)
{
    TRITONSERVER_InferenceRequest *request = (TRITONSERVER_InferenceRequest *)backend_request;
    if (!is_with_backend(request, "ResponseNew"))
        return gone();
    TRITONSERVER_InferenceResponse *made = keep(sizeof *made);
    made->request = request;
    if (atomic_fetch_add(&request->responses, 1))
        violate("ResponseNew: a second response to a request of a model that is not decoupled");
    TRITONSERVER_ResponseAllocator *allocator = request->allocator;
    if (allocator && allocator->start)
        TRITONSERVER_ErrorDelete(allocator->start(allocator, request->allocator_userp));
    *response = (TRITONBACKEND_Response *)made;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ResponseOutput(TRITONBACKEND_Response *backend_response,
                                                 TRITONBACKEND_Output **output, const char *name,
                                                 const TRITONSERVER_DataType datatype,
                                                 const int64_t *shape, const uint32_t dims_count)
{
    TRITONSERVER_InferenceResponse *response = (TRITONSERVER_InferenceResponse *)backend_response;
    if (!is_open(response, "ResponseOutput"))
        return gone();
    bool asked = false;
    for (uint32_t i = 0; i < response->request->output_count; i++)
        asked = asked || !strcmp(response->request->outputs[i], name);
    if (!asked)
        violate("ResponseOutput: \"%s\" was not asked for", name);
    if (response->output_count == OUTPUTS_MAX || dims_count > DIMS_MAX)
        abort();
    TRITONBACKEND_Output *made = &response->outputs[response->output_count++];
    made->response = response;
    snprintf(made->name, sizeof made->name, "%s", name);
    made->datatype = datatype;
    if (dims_count)
        memcpy(made->shape, shape, dims_count * sizeof *shape);
    made->dims = dims_count;
    *output = made;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_OutputBuffer(TRITONBACKEND_Output *output, void **buffer,
                                               const uint64_t buffer_byte_size,
                                               TRITONSERVER_MemoryType *memory_type,
                                               int64_t *memory_type_id)
{
    if (!is_open(output->response, "OutputBuffer"))
        return gone();
    if ((unsigned)*memory_type > TRITONSERVER_MEMORY_GPU)
        violate("OutputBuffer: memory type %d does not exist", (int)*memory_type);
    if (output->allocated) {
        violate("OutputBuffer: twice for \"%s\"", output->name);
        return gone();
    }
    TRITONSERVER_InferenceRequest *request = output->response->request;
    output->type = *memory_type;
    output->id = *memory_type_id;
    TRITONSERVER_Error *error =
        request->allocator->alloc(request->allocator, output->name, buffer_byte_size, *memory_type,
                                  *memory_type_id, request->allocator_userp, &output->buffer,
                                  &output->buffer_userp, &output->type, &output->id);
    if (error) {
        output->buffer = *buffer = NULL; /* whatever the allocator wrote there */
        return error;
    }
    if ((unsigned)output->type > TRITONSERVER_MEMORY_GPU)
        violate("an allocator gave memory of type %d", (int)output->type);
    output->allocated = true;
    output->size = buffer_byte_size;
    *buffer = output->buffer;
    *memory_type = output->type;
    *memory_type_id = output->id;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ResponseSend(TRITONBACKEND_Response *backend_response,
                                               const uint32_t send_flags, TRITONSERVER_Error *error)
{
    TRITONSERVER_InferenceResponse *response = (TRITONSERVER_InferenceResponse *)backend_response;
    if (!is_open(response, "ResponseSend"))
        return gone();
    TRITONSERVER_InferenceRequest *request = response->request;
    atomic_store(&response->sent, true);
    if (error)
        response->error =
            TRITONSERVER_ErrorNew(TRITONSERVER_ErrorCode(error), TRITONSERVER_ErrorMessage(error));
    if (!(send_flags & TRITONSERVER_RESPONSE_COMPLETE_FINAL))
        violate("ResponseSend: not final, by a model that is not decoupled");
    else if (atomic_fetch_add(&request->finals, 1))
        violate("ResponseSend: a second final response to a request");
    request->on_response((TRITONSERVER_InferenceResponse *)response, send_flags,
                         request->response_userp);
    return NULL;
}

/* --- the host's side -------------------------------------------------------------------------- */

/* The header says that the error is the response's; with STANDIN_NEW_ERRORS each call makes a new
 * one, which is the caller's to delete, as the real core does. */
TRITONSERVER_Error *TRITONSERVER_InferenceResponseError(TRITONSERVER_InferenceResponse *response)
{
    TRITONSERVER_Error *error = response->error;
    if (!error || !getenv("STANDIN_NEW_ERRORS"))
        return error;
    return TRITONSERVER_ErrorNew(TRITONSERVER_ErrorCode(error), TRITONSERVER_ErrorMessage(error));
}

TRITONSERVER_Error *
TRITONSERVER_InferenceResponseOutputCount(TRITONSERVER_InferenceResponse *response, uint32_t *count)
{
    *count = response->output_count;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_InferenceResponseOutput(
    TRITONSERVER_InferenceResponse *response, const uint32_t index, const char **name,
    TRITONSERVER_DataType *datatype, const int64_t **shape, uint64_t *dim_count, const void **base,
    size_t *byte_size, TRITONSERVER_MemoryType *memory_type, int64_t *memory_type_id, void **userp)
{
    if (index >= response->output_count)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "output %u of %u", index,
                    response->output_count);
    const TRITONBACKEND_Output *output = &response->outputs[index];
    *name = output->name;
    *datatype = output->datatype;
    *shape = output->shape;
    *dim_count = output->dims;
    *base = output->buffer;
    *byte_size = output->size;
    *memory_type = output->type;
    *memory_type_id = output->id;
    *userp = output->buffer_userp;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_InferenceResponseDelete(TRITONSERVER_InferenceResponse *response)
{
    if (atomic_exchange(&response->deleted, true)) {
        violate("InferenceResponseDelete: twice");
        return gone();
    }
    TRITONSERVER_ResponseAllocator *allocator = response->request->allocator;
    for (uint32_t i = 0; i < response->output_count; i++) {
        TRITONBACKEND_Output *output = &response->outputs[i];
        if (!output->buffer)
            continue;
        TRITONSERVER_Error *error =
            allocator->release(allocator, output->buffer, output->buffer_userp, output->size,
                               output->type, output->id);
        if (error)
            violate("an allocator does not release: %s", error->message);
        TRITONSERVER_ErrorDelete(error);
    }
    TRITONSERVER_ErrorDelete(response->error);
    response->error = NULL;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ResponseAllocatorNew(TRITONSERVER_ResponseAllocator **allocator,
                                  TRITONSERVER_ResponseAllocatorAllocFn_t alloc_fn,
                                  TRITONSERVER_ResponseAllocatorReleaseFn_t release_fn,
                                  TRITONSERVER_ResponseAllocatorStartFn_t start_fn)
{
    *allocator = calloc(1, sizeof **allocator);
    if (!*allocator)
        abort();
    **allocator = (TRITONSERVER_ResponseAllocator){
        .alloc = alloc_fn, .release = release_fn, .start = start_fn};
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ResponseAllocatorSetQueryFunction(TRITONSERVER_ResponseAllocator *allocator,
                                               TRITONSERVER_ResponseAllocatorQueryFn_t query_fn)
{
    allocator->query = query_fn;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ResponseAllocatorDelete(TRITONSERVER_ResponseAllocator *allocator)
{
    free(allocator);
    return NULL;
}
