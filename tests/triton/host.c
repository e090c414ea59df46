#include "host.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void (*host_on_response)(void);

void host_open(struct host *host, const char *backends)
{
    TRITONSERVER_ServerOptions *options = NULL;
    snprintf(host->repository, sizeof host->repository, "/tmp/ferry-triton-XXXXXX");
    assert_non_null(mkdtemp(host->repository));
    succeed(TRITONSERVER_ServerOptionsNew(&options));
    succeed(TRITONSERVER_ServerOptionsSetModelRepositoryPath(options, host->repository));
    succeed(TRITONSERVER_ServerOptionsSetBackendDirectory(options, backends));
    succeed(TRITONSERVER_ServerOptionsSetModelControlMode(options,
                                                          TRITONSERVER_MODEL_CONTROL_EXPLICIT));
    succeed(TRITONSERVER_ServerOptionsSetModelLoadRetryCount(options, 0));
    succeed(TRITONSERVER_ServerOptionsSetEnablePeerAccess(options, false));
    succeed(TRITONSERVER_ServerNew(&host->server, options));
    succeed(TRITONSERVER_ServerOptionsDelete(options));
}

void host_close(struct host *host)
{
    char command[128];
    succeed(TRITONSERVER_ServerStop(host->server));
    succeed(TRITONSERVER_ServerDelete(host->server));
    snprintf(command, sizeof command, "rm -r '%s'", host->repository);
    assert_int_equal(system(command), 0);
}

TRITONSERVER_Error *host_load(struct host *host, const char *name, const char *config)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", host->repository, name);
    (void)mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/1", host->repository, name);
    (void)mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/config.pbtxt", host->repository, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(config, file);
    fclose(file);
    return TRITONSERVER_ServerLoadModel(host->server, name);
}

void host_unload(struct host *host, const char *name)
{
    succeed(TRITONSERVER_ServerUnloadModel(host->server, name));
    standin_wait_unloaded(host->server);
}

/* --- memory of the host's --------------------------------------------------------------------- */

static TRITONSERVER_Error *give(TRITONSERVER_ResponseAllocator *allocator, const char *name,
                                size_t size, TRITONSERVER_MemoryType type, int64_t id, void *userp,
                                void **buffer, void **buffer_userp,
                                TRITONSERVER_MemoryType *actual_type, int64_t *actual_id)
{
    (void)allocator;
    (void)name;
    (void)type;
    (void)id;
    (void)userp;
    *buffer = size ? malloc(size) : NULL;
    *buffer_userp = NULL;
    *actual_type = TRITONSERVER_MEMORY_CPU;
    *actual_id = 0;
    return NULL;
}

static TRITONSERVER_Error *take_back(TRITONSERVER_ResponseAllocator *allocator, void *buffer,
                                     void *buffer_userp, size_t size, TRITONSERVER_MemoryType type,
                                     int64_t id)
{
    (void)allocator;
    (void)buffer_userp;
    (void)size;
    (void)type;
    (void)id;
    free(buffer);
    return NULL;
}

static TRITONSERVER_ResponseAllocator *own_allocator(void)
{
    static TRITONSERVER_ResponseAllocator *made;
    if (!made)
        succeed(TRITONSERVER_ResponseAllocatorNew(&made, give, take_back, NULL));
    return made;
}

/* --- a call ----------------------------------------------------------------------------------- */

static void on_release(TRITONSERVER_InferenceRequest *request, const uint32_t flags, void *userp)
{
    struct call *call = userp;
    (void)flags;
    for (size_t i = 0; i < call->copy_count; i++)
        free(call->copies[i]); /* nobody reads it now */
    call->copy_count = 0;
    TRITONSERVER_ErrorDelete(TRITONSERVER_InferenceRequestDelete(request));
    pthread_mutex_lock(&call->lock);
    call->releases++;
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
}

static void on_response(TRITONSERVER_InferenceResponse *response, const uint32_t flags, void *userp)
{
    struct call *call = userp;
    (void)flags;
    if (host_on_response)
        host_on_response();
    pthread_mutex_lock(&call->lock);
    call->responses++;
    call->response = response;
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
}

/* In two pieces of which one may be empty: as a server's network side gives them. */
static void add_copy(struct call *call, const struct tensor_data *input)
{
    uint8_t *copy = malloc(input->size ? input->size : 1);
    if (input->size)
        memcpy(copy, input->bytes, input->size);
    call->copies[call->copy_count++] = copy;
    add_data(call->request, input->name, copy, input->size / 3);
    add_data(call->request, input->name, copy + input->size / 3, input->size - input->size / 3);
}

void call_start(struct call *call, struct host *host, const char *model,
                const struct tensor_data *inputs, size_t input_count, const char *const *outputs,
                TRITONSERVER_ResponseAllocator *allocator, void *userp)
{
    memset(call, 0, sizeof *call);
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->changed, NULL);
    succeed(TRITONSERVER_InferenceRequestNew(&call->request, host->server, model, -1));
    for (size_t i = 0; i < input_count; i++) {
        succeed(TRITONSERVER_InferenceRequestAddInput(call->request, inputs[i].name,
                                                      inputs[i].datatype ? inputs[i].datatype
                                                                         : TRITONSERVER_TYPE_UINT8,
                                                      inputs[i].shape, inputs[i].dims));
        if (inputs[i].type == TRITONSERVER_MEMORY_GPU)
            add_memory(call->request, inputs[i].name, inputs[i].bytes, inputs[i].size,
                       inputs[i].type, 0);
        else
            add_copy(call, &inputs[i]);
    }
    for (; *outputs; outputs++)
        succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(call->request, *outputs));
    succeed(TRITONSERVER_InferenceRequestSetReleaseCallback(call->request, on_release, call));
    succeed(TRITONSERVER_InferenceRequestSetResponseCallback(
        call->request, allocator ? allocator : own_allocator(), userp, on_response, call));
    succeed(TRITONSERVER_ServerInferAsync(host->server, call->request, NULL));
}

void call_wait(struct call *call)
{
    pthread_mutex_lock(&call->lock);
    while (!call->responses || !call->releases)
        pthread_cond_wait(&call->changed, &call->lock);
    assert_int_equal(call->responses, 1);
    assert_int_equal(call->releases, 1);
    pthread_mutex_unlock(&call->lock);
}

void call_expect(struct call *call, const char *output, const void *bytes, size_t size,
                 const int64_t *shape, uint32_t dims)
{
    const char *name;
    TRITONSERVER_DataType datatype;
    const int64_t *got_shape;
    uint64_t dim_count;
    const void *base;
    size_t got_size;
    TRITONSERVER_MemoryType type;
    int64_t id;
    void *userp;
    uint32_t count = 0;
    TRITONSERVER_Error *error = TRITONSERVER_InferenceResponseError(call->response);
    if (error)
        fail_msg("the response is an error: %s", TRITONSERVER_ErrorMessage(error));
    succeed(TRITONSERVER_InferenceResponseOutputCount(call->response, &count));
    for (uint32_t i = 0; i < count; i++) {
        succeed(TRITONSERVER_InferenceResponseOutput(call->response, i, &name, &datatype,
                                                     &got_shape, &dim_count, &base, &got_size,
                                                     &type, &id, &userp));
        if (strcmp(name, output))
            continue;
        assert_int_equal(got_size, size);
        assert_int_equal(dim_count, dims);
        assert_memory_equal(got_shape, shape, dims * sizeof *shape);
        if (type == TRITONSERVER_MEMORY_GPU) {
            ferry_buffer *buffer = NULL;
            size_t offset = 0;
            uint8_t *got = malloc(size);
            succeed(ferry_triton_resolve(base, &buffer, &offset));
            assert_int_equal(ferry_copy_to_host(buffer, got, size, offset), FERRY_OK);
            assert_memory_equal(got, bytes, size);
            free(got);
        } else if (size) {
            assert_memory_equal(base, bytes, size);
        }
        return;
    }
    fail_msg("there is no output \"%s\"", output);
}

void call_expect_error(struct call *call, TRITONSERVER_Error_Code code, const char *words)
{
    TRITONSERVER_Error *error = TRITONSERVER_InferenceResponseError(call->response);
    if (!error)
        fail_msg("the response is good, not an error with \"%s\"", words);
    if (TRITONSERVER_ErrorCode(error) != code || !strstr(TRITONSERVER_ErrorMessage(error), words))
        fail_msg("%s: %s; expected \"%s\"", TRITONSERVER_ErrorCodeString(error),
                 TRITONSERVER_ErrorMessage(error), words);
}

void call_finish(struct call *call)
{
    succeed(TRITONSERVER_InferenceResponseDelete(call->response));
    pthread_cond_destroy(&call->changed);
    pthread_mutex_destroy(&call->lock);
}
