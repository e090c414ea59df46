#include "core.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODELS_MAX = 16, INSTANCES_MAX = 16, BATCH_MAX = 1024, PATH_SIZE = 4096 };

struct TRITONSERVER_ServerOptions {
    char repository[PATH_SIZE], backends[PATH_SIZE];
    TRITONSERVER_ModelControlMode mode;
    bool has_retry_count, has_peer_access;
};

struct entry_points {
#define TRITON_CALL(returns, name, parameters) returns(*name) parameters;
#include "triton/backend.inc"
#undef TRITON_CALL
};

struct TRITONBACKEND_Backend {
    int unused;
};

struct TRITONBACKEND_ModelInstance {
    struct model *model;
    char name[NAME_SIZE + 32];
    TRITONSERVER_InstanceGroupKind kind;
    int32_t device_id;
    void *state;
    pthread_t thread;
    bool initialized;
};

struct totals {
    uint64_t success, failure, queue, input, infer, output, executions;
};

struct model {
    char name[NAME_SIZE], *json;
    void *library;
    struct entry_points calls;
    struct TRITONBACKEND_Backend backend;
    void *state;
    bool initialized;
    struct TRITONBACKEND_ModelInstance instances[INSTANCES_MAX];
    size_t instance_count;
    unsigned max_batch; /* requests of one execution */
    uint64_t delay_ns;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct TRITONSERVER_InferenceRequest *first, *last;
    unsigned queued;
    bool stop;
    struct totals totals;
    unsigned outstanding;
};

struct TRITONSERVER_Server {
    struct TRITONSERVER_ServerOptions options;
    struct model *models[MODELS_MAX];
    size_t model_count;
};

static atomic_bool has_gpu;
static _Atomic unsigned outstanding, largest_batch;

void standin_with_gpu(bool there) { atomic_store(&has_gpu, there); }
unsigned standin_outstanding(void) { return atomic_load(&outstanding); }
unsigned standin_largest_batch(void) { return atomic_exchange(&largest_batch, 0); }

/* --- options ---------------------------------------------------------------------------------- */

TRITONSERVER_Error *TRITONSERVER_ServerOptionsNew(TRITONSERVER_ServerOptions **options) {
    *options = calloc(1, sizeof **options);
    (*options)->mode = TRITONSERVER_MODEL_CONTROL_POLL;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ServerOptionsDelete(TRITONSERVER_ServerOptions *options) {
    free(options);
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetModelRepositoryPath(TRITONSERVER_ServerOptions *options,
                                                 const char *model_repository_path) {
    snprintf(options->repository, PATH_SIZE, "%s", model_repository_path);
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetBackendDirectory(TRITONSERVER_ServerOptions *options,
                                              const char *backend_dir) {
    snprintf(options->backends, PATH_SIZE, "%s", backend_dir);
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetModelControlMode(TRITONSERVER_ServerOptions *options,
                                              TRITONSERVER_ModelControlMode mode) {
    options->mode = mode;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetStrictModelConfig(TRITONSERVER_ServerOptions *options, bool strict) {
    (void)options;
    (void)strict;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetModelLoadRetryCount(TRITONSERVER_ServerOptions *options,
                                                 unsigned int retry_count) {
    options->has_retry_count = retry_count == 0;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetEnablePeerAccess(TRITONSERVER_ServerOptions *options,
                                              bool enable_peer_access) {
    (void)enable_peer_access;
    options->has_peer_access = true;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ServerNew(TRITONSERVER_Server **server,
                                           TRITONSERVER_ServerOptions *options) {
    if (!options->has_retry_count || !options->has_peer_access)
        violate("ServerNew: options that the server leaves uninitialised were not set");
    if (options->mode != TRITONSERVER_MODEL_CONTROL_EXPLICIT)
        violate("ServerNew: the stand-in loads models when it is asked to only");
    *server = calloc(1, sizeof **server);
    (*server)->options = *options;
    return NULL;
}

/* --- what a backend asks about its model and instance ----------------------------------------- */

TRITONSERVER_Error *TRITONBACKEND_ModelName(TRITONBACKEND_Model *model, const char **name) {
    *name = ((struct model *)model)->name;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelConfig(TRITONBACKEND_Model *model,
                                              const uint32_t config_version,
                                              TRITONSERVER_Message **model_config) {
    if (config_version != 1) return fail(TRITONSERVER_ERROR_INVALID_ARG, "config version");
    *model_config = calloc(1, sizeof **model_config);
    (*model_config)->json = strdup(((struct model *)model)->json);
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelState(TRITONBACKEND_Model *model, void **state) {
    *state = ((struct model *)model)->state;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelSetState(TRITONBACKEND_Model *model, void *state) {
    ((struct model *)model)->state = state;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceModel(TRITONBACKEND_ModelInstance *instance,
                                                     TRITONBACKEND_Model **model) {
    *model = (TRITONBACKEND_Model *)instance->model;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceName(TRITONBACKEND_ModelInstance *instance,
                                                    const char **name) {
    *name = instance->name;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceKind(TRITONBACKEND_ModelInstance *instance,
                                                    TRITONSERVER_InstanceGroupKind *kind) {
    *kind = instance->kind;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceDeviceId(TRITONBACKEND_ModelInstance *instance,
                                                        int32_t *device_id) {
    *device_id = instance->device_id;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceState(TRITONBACKEND_ModelInstance *instance,
                                                     void **state) {
    *state = instance->state;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceSetState(TRITONBACKEND_ModelInstance *instance,
                                                        void *state) {
    instance->state = state;
    return NULL;
}

/* --- execution -------------------------------------------------------------------------------- */

TRITONSERVER_Error *enqueue(struct TRITONSERVER_InferenceRequest *request) {
    struct model *model = NULL;
    for (size_t i = 0; i < request->server->model_count; i++)
        if (!strcmp(request->server->models[i]->name, request->outputs[OUTPUTS_MAX - 1]))
            model = request->server->models[i];
    if (!model) return fail(TRITONSERVER_ERROR_NOT_FOUND, "the model was unloaded");
    request->model = model;
    request->next = NULL;
    atomic_store(&request->finals, 0);
    atomic_store(&request->responses, 0);
    atomic_store(&request->reports, 0);
    pthread_mutex_lock(&model->lock);
    const bool stop = model->stop;
    if (!stop) {
        request->queued_ns = now_ns();
        atomic_store(&request->owner, OF_SERVER);
        *(model->last ? &model->last->next : &model->first) = request;
        model->last = request;
        model->queued++;
        pthread_cond_broadcast(&model->changed);
    }
    pthread_mutex_unlock(&model->lock);
    return stop ? fail(TRITONSERVER_ERROR_UNAVAILABLE, "the model is being unloaded") : NULL;
}

void note_released(struct TRITONSERVER_InferenceRequest *request) {
    struct model *model = request->model;
    if (!model) return;
    pthread_mutex_lock(&model->lock);
    model->outstanding--;
    pthread_cond_broadcast(&model->changed);
    pthread_mutex_unlock(&model->lock);
    atomic_fetch_sub(&outstanding, 1);
}

void note_report(struct TRITONBACKEND_ModelInstance *instance, bool success, uint64_t exec_start,
                 uint64_t compute_start, uint64_t compute_end, uint64_t exec_end) {
    if (!instance) return;
    struct model *model = instance->model;
    pthread_mutex_lock(&model->lock);
    *(success ? &model->totals.success : &model->totals.failure) += 1;
    model->totals.input += compute_start - exec_start;
    model->totals.infer += compute_end - compute_start;
    model->totals.output += exec_end - compute_end;
    pthread_mutex_unlock(&model->lock);
}

static void wait_until(struct model *model, uint64_t when) {
    const struct timespec at = {(time_t)(when / 1000000000u), (long)(when % 1000000000u)};
    pthread_cond_timedwait(&model->changed, &model->lock, &at);
}

/* Takes what is queued, up to a batch, waiting a little for it to fill. Under the lock. */
static uint32_t take_batch(struct model *model, TRITONBACKEND_Request **out) {
    while (!model->first && !model->stop) pthread_cond_wait(&model->changed, &model->lock);
    const uint64_t until = model->first ? model->first->queued_ns + model->delay_ns : 0;
    while (model->queued && model->queued < model->max_batch && !model->stop && now_ns() < until)
        wait_until(model, until);
    uint32_t count = 0;
    while (model->first && count < model->max_batch) {
        struct TRITONSERVER_InferenceRequest *request = model->first;
        model->first = request->next;
        if (!model->first) model->last = NULL;
        model->queued--;
        model->outstanding++;
        atomic_fetch_add(&outstanding, 1);
        model->totals.queue += now_ns() - request->queued_ns;
        atomic_store(&request->owner, OF_BACKEND);
        out[count++] = (TRITONBACKEND_Request *)request;
    }
    model->totals.executions += count > 0;
    return count;
}

/* The array is the server's again when Execute returns: it points to a released request then. */
static void execute(struct TRITONBACKEND_ModelInstance *instance, TRITONBACKEND_Request **requests,
                    uint32_t count) {
    static struct TRITONSERVER_InferenceRequest stale = {.owner = RELEASED};
    TRITONBACKEND_Request **array = keep(count * sizeof(TRITONBACKEND_Request *));
    memcpy(array, requests, count * sizeof(TRITONBACKEND_Request *));
    unsigned before = atomic_load(&largest_batch);
    while (before < count && !atomic_compare_exchange_weak(&largest_batch, &before, count))
        continue;
    TRITONSERVER_Error *error =
        instance->model->calls.TRITONBACKEND_ModelInstanceExecute(instance, array, count);
    for (uint32_t i = 0; i < count; i++) array[i] = (TRITONBACKEND_Request *)&stale;
    for (uint32_t i = 0; i < count && error; i++)
        refuse_request((struct TRITONSERVER_InferenceRequest *)requests[i], error);
    TRITONSERVER_ErrorDelete(error);
}

static void *run_instance(void *arg) {
    struct TRITONBACKEND_ModelInstance *instance = arg;
    struct model *model = instance->model;
    TRITONBACKEND_Request *requests[BATCH_MAX];
    for (;;) {
        pthread_mutex_lock(&model->lock);
        const uint32_t count = take_batch(model, requests);
        pthread_mutex_unlock(&model->lock);
        if (!count) return NULL;
        execute(instance, requests, count);
    }
}

/* --- loading ---------------------------------------------------------------------------------- */

/* The number behind "name": in the JSON. */
static long number(const char *json, const char *name, long otherwise) {
    char key[NAME_SIZE + 4];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = json ? strstr(json, key) : NULL;
    if (!at) return otherwise;
    at += strlen(key);
    return atol(*at == '[' ? at + 1 : at);
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    char *text = calloc(1, 65536);
    const size_t length = fread(text, 1, 65535, file);
    text[length] = 0;
    fclose(file);
    return text;
}

static TRITONSERVER_Error *read_config(struct TRITONSERVER_Server *server, struct model *model) {
    char path[PATH_SIZE + 128], why[256] = "";
    struct stat status;
    snprintf(path, sizeof path, "%s/%s/1", server->options.repository, model->name);
    if (stat(path, &status) || !S_ISDIR(status.st_mode))
        return fail(TRITONSERVER_ERROR_NOT_FOUND, "there is no folder %s", path);
    snprintf(path, sizeof path, "%s/%s/config.pbtxt", server->options.repository, model->name);
    char *text = read_file(path);
    if (!text) return fail(TRITONSERVER_ERROR_NOT_FOUND, "cannot read %s", path);
    model->json = config_to_json(text, why, sizeof why);
    free(text);
    if (!model->json) return fail(TRITONSERVER_ERROR_INVALID_ARG, "%s", why);
    const long batch = number(model->json, "max_batch_size", 0);
    const bool dynamic = strstr(model->json, "\"dynamic_batching\"") != NULL;
    model->max_batch = batch > 0 && dynamic ? (unsigned)batch : 1;
    model->delay_ns = (uint64_t)number(model->json, "max_queue_delay_microseconds", 0) * 1000;
    return NULL;
}

static TRITONSERVER_Error *open_backend(struct TRITONSERVER_Server *server, struct model *model) {
    static const struct {
        const char *name;
        size_t offset;
    } wanted[] = {
#define TRITON_CALL(returns, name, parameters) {#name, offsetof(struct entry_points, name)},
#include "triton/backend.inc"
#undef TRITON_CALL
    };
    char path[PATH_SIZE + 256], backend[NAME_SIZE] = "";
    const char *at = strstr(model->json, "\"backend\":\"");
    if (at) sscanf(at + strlen("\"backend\":\""), "%60[^\"]", backend);
    snprintf(path, sizeof path, "%s/%s/libtriton_%s.so", server->options.backends, backend,
             backend);
    model->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!model->library)
        return fail(TRITONSERVER_ERROR_NOT_FOUND, "unable to load the backend: %s", dlerror());
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        *(void **)((char *)&model->calls + wanted[i].offset) =
            dlsym(model->library, wanted[i].name);
    if (!model->calls.TRITONBACKEND_ModelInstanceExecute)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "%s is no backend", path);
    return model->calls.TRITONBACKEND_Initialize(&model->backend);
}

static TRITONSERVER_Error *start_instances(struct model *model) {
    const char *group = strstr(model->json, "\"instance_group\":");
    const long count = number(group, "count", 1);
    TRITONSERVER_InstanceGroupKind kind = TRITONSERVER_INSTANCEGROUPKIND_CPU;
    if (group && strstr(group, "KIND_MODEL")) kind = TRITONSERVER_INSTANCEGROUPKIND_MODEL;
    if (group && strstr(group, "KIND_GPU")) kind = TRITONSERVER_INSTANCEGROUPKIND_GPU;
    if (kind == TRITONSERVER_INSTANCEGROUPKIND_GPU && !atomic_load(&has_gpu))
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "the server does not support GPUs");
    for (long i = 0; i < count && i < INSTANCES_MAX; i++) {
        struct TRITONBACKEND_ModelInstance *instance = &model->instances[model->instance_count++];
        instance->model = model;
        instance->kind = kind;
        instance->device_id =
            kind == TRITONSERVER_INSTANCEGROUPKIND_GPU ? (int32_t)number(group, "gpus", 0) : 0;
        char name[NAME_SIZE];
        memcpy(name, model->name, sizeof name);
        snprintf(instance->name, sizeof instance->name, "%s_%ld", name, i);
        TRITONSERVER_Error *error =
            model->calls.TRITONBACKEND_ModelInstanceInitialize(instance);
        if (error) return error;
        instance->initialized = true;
        if (pthread_create(&instance->thread, NULL, run_instance, instance)) abort();
    }
    return NULL;
}

/* Triton asks a backend's Finalize functions as well after an Initialize that failed. */
static void finalize(struct model *model) {
    TRITONSERVER_Error *error = NULL;
    pthread_mutex_lock(&model->lock);
    model->stop = true;
    pthread_cond_broadcast(&model->changed);
    pthread_mutex_unlock(&model->lock);
    for (size_t i = 0; i < model->instance_count; i++) {
        struct TRITONBACKEND_ModelInstance *instance = &model->instances[i];
        if (!instance->initialized) continue;
        pthread_join(instance->thread, NULL);
    }
    for (size_t i = 0; i < model->instance_count; i++) {
        if (!model->instances[i].initialized) continue;
        error = model->calls.TRITONBACKEND_ModelInstanceFinalize(&model->instances[i]);
        if (error) violate("ModelInstanceFinalize: %s", error->message);
        TRITONSERVER_ErrorDelete(error);
    }
    pthread_mutex_lock(&model->lock);
    const unsigned left = model->outstanding;
    pthread_mutex_unlock(&model->lock);
    if (left) violate("the instances are finalized while %u requests are not released", left);
    if (model->initialized) {
        TRITONSERVER_ErrorDelete(
            model->calls.TRITONBACKEND_ModelFinalize((TRITONBACKEND_Model *)model));
        TRITONSERVER_ErrorDelete(model->calls.TRITONBACKEND_Finalize(&model->backend));
    }
    if (model->library) dlclose(model->library);
    free(model->json);
    pthread_cond_destroy(&model->changed);
    pthread_mutex_destroy(&model->lock);
    free(model);
}

static struct model *make_model(const char *name) {
    struct model *model = calloc(1, sizeof *model);
    pthread_condattr_t attributes;
    snprintf(model->name, sizeof model->name, "%s", name);
    pthread_mutex_init(&model->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&model->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return model;
}

TRITONSERVER_Error *TRITONSERVER_ServerLoadModel(TRITONSERVER_Server *server,
                                                 const char *model_name) {
    struct model *model = make_model(model_name);
    TRITONSERVER_Error *error = read_config(server, model);
    if (!error) error = open_backend(server, model);
    if (!error) {
        error = model->calls.TRITONBACKEND_ModelInitialize((TRITONBACKEND_Model *)model);
        model->initialized = !error;
        if (error) TRITONSERVER_ErrorDelete(model->calls.TRITONBACKEND_Finalize(&model->backend));
    }
    if (!error) error = start_instances(model);
    if (error) finalize(model);
    else server->models[server->model_count++] = model;
    return error;
}

TRITONSERVER_Error *TRITONSERVER_ServerUnloadModel(TRITONSERVER_Server *server,
                                                   const char *model_name) {
    for (size_t i = 0; i < server->model_count; i++) {
        if (strcmp(server->models[i]->name, model_name)) continue;
        struct model *model = server->models[i];
        server->models[i] = server->models[--server->model_count];
        finalize(model);
        return NULL;
    }
    return fail(TRITONSERVER_ERROR_NOT_FOUND, "no model \"%s\"", model_name);
}

TRITONSERVER_Error *TRITONSERVER_ServerModelIsReady(TRITONSERVER_Server *server,
                                                    const char *model_name,
                                                    const int64_t model_version, bool *ready) {
    (void)model_version;
    *ready = false;
    for (size_t i = 0; i < server->model_count; i++)
        *ready = *ready || !strcmp(server->models[i]->name, model_name);
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ServerModelStatistics(TRITONSERVER_Server *server,
                                                       const char *model_name,
                                                       const int64_t model_version,
                                                       TRITONSERVER_Message **model_stats) {
    (void)model_version;
    for (size_t i = 0; i < server->model_count; i++) {
        struct model *model = server->models[i];
        if (strcmp(model->name, model_name)) continue;
        char json[1024];
        pthread_mutex_lock(&model->lock);
        const struct totals t = model->totals;
        pthread_mutex_unlock(&model->lock);
        snprintf(json, sizeof json,
                 "{\"model_stats\":[{\"name\":\"%s\",\"inference_count\":%llu,"
                 "\"execution_count\":%llu,\"inference_stats\":{\"success\":{\"count\":%llu,"
                 "\"ns\":%llu},\"fail\":{\"count\":%llu,\"ns\":0},\"queue\":{\"count\":%llu,"
                 "\"ns\":%llu},\"compute_input\":{\"count\":%llu,\"ns\":%llu},\"compute_infer\":"
                 "{\"count\":%llu,\"ns\":%llu},\"compute_output\":{\"count\":%llu,\"ns\":%llu}}}]}",
                 model->name, (unsigned long long)t.success, (unsigned long long)t.executions,
                 (unsigned long long)t.success,
                 (unsigned long long)(t.queue + t.input + t.infer + t.output),
                 (unsigned long long)t.failure, (unsigned long long)t.success,
                 (unsigned long long)t.queue, (unsigned long long)t.success,
                 (unsigned long long)t.input, (unsigned long long)t.success,
                 (unsigned long long)t.infer, (unsigned long long)t.success,
                 (unsigned long long)t.output);
        *model_stats = calloc(1, sizeof **model_stats);
        (*model_stats)->json = strdup(json);
        return NULL;
    }
    return fail(TRITONSERVER_ERROR_NOT_FOUND, "no model \"%s\"", model_name);
}

TRITONSERVER_Error *TRITONSERVER_ServerStop(TRITONSERVER_Server *server) {
    while (server->model_count) finalize(server->models[--server->model_count]);
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ServerDelete(TRITONSERVER_Server *server) {
    free(server);
    return NULL;
}
