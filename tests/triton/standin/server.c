#include "core.h"

#include <dlfcn.h>

/* --- options ---------------------------------------------------------------------------------- */

TRITONSERVER_Error *TRITONSERVER_ServerOptionsNew(TRITONSERVER_ServerOptions **options)
{
    *options = calloc(1, sizeof **options);
    (*options)->mode = TRITONSERVER_MODEL_CONTROL_POLL;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ServerOptionsDelete(TRITONSERVER_ServerOptions *options)
{
    free(options);
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetModelRepositoryPath(TRITONSERVER_ServerOptions *options,
                                                 const char *model_repository_path)
{
    snprintf(options->repository, PATH_SIZE, "%s", model_repository_path);
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetBackendDirectory(TRITONSERVER_ServerOptions *options,
                                              const char *backend_dir)
{
    snprintf(options->backends, PATH_SIZE, "%s", backend_dir);
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetModelControlMode(TRITONSERVER_ServerOptions *options,
                                              TRITONSERVER_ModelControlMode mode)
{
    options->mode = mode;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetStrictModelConfig(TRITONSERVER_ServerOptions *options, bool strict)
{
    (void)options;
    (void)strict;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetModelLoadRetryCount(TRITONSERVER_ServerOptions *options,
                                                 unsigned int retry_count)
{
    options->has_retry_count = retry_count == 0;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_ServerOptionsSetEnablePeerAccess(TRITONSERVER_ServerOptions *options,
                                              bool enable_peer_access)
{
    (void)enable_peer_access;
    options->has_peer_access = true;
    return NULL;
}

/* The server logs to stdout, among whatever its process prints there. */
static void say(const char *what)
{
    printf("I0000 00:00:00.000000 1 standin.c:1] \"%s\"\n", what);
    fflush(stdout);
}

TRITONSERVER_Error *TRITONSERVER_ServerNew(TRITONSERVER_Server **server,
                                           TRITONSERVER_ServerOptions *options)
{
    if (!options->has_retry_count || !options->has_peer_access)
        violate("ServerNew: options that the server leaves uninitialised were not set");
    if (options->mode != TRITONSERVER_MODEL_CONTROL_EXPLICIT)
        violate("ServerNew: the stand-in loads models when it is asked to only");
    say("Started the server");
    *server = calloc(1, sizeof **server);
    (*server)->options = *options;
    pthread_mutex_init(&(*server)->lock, NULL);
    pthread_cond_init(&(*server)->changed, NULL);
    return NULL;
}

/* --- backends --------------------------------------------------------------------------------- */

static void close_backend(struct TRITONBACKEND_Backend *backend)
{
    if (backend->calls.TRITONBACKEND_Finalize)
        TRITONSERVER_ErrorDelete(backend->calls.TRITONBACKEND_Finalize(backend));
    dlclose(backend->library);
    free(backend);
}

/* Only Execute must be there. */
static TRITONSERVER_Error *open_library(struct TRITONBACKEND_Backend *backend)
{
    static const struct {
        const char *name;
        size_t offset;
    } wanted[] = {
#define TRITON_CALL(returns, name, parameters) {#name, offsetof(struct entry_points, name)},
#include <ferry/triton_api/backend.inc>
#undef TRITON_CALL
    };
    backend->library = dlopen(backend->path, RTLD_NOW | RTLD_LOCAL);
    if (!backend->library)
        return fail(TRITONSERVER_ERROR_NOT_FOUND, "unable to load the backend: %s", dlerror());
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *symbol = dlsym(backend->library, wanted[i].name);
        if (!symbol && !strcmp(wanted[i].name, "TRITONBACKEND_ModelInstanceExecute")) {
            dlclose(backend->library);
            return fail(TRITONSERVER_ERROR_INVALID_ARG, "%s has no %s", backend->path,
                        wanted[i].name);
        }
        *(void **)((char *)&backend->calls + wanted[i].offset) = symbol;
    }
    return NULL;
}

/* One that fails to initialize is finalized as well. */
static TRITONSERVER_Error *open_backend(struct TRITONBACKEND_Backend *backend)
{
    TRITONSERVER_Error *error = open_library(backend);
    if (error) {
        free(backend);
        return error;
    }
    if (backend->calls.TRITONBACKEND_Initialize)
        error = backend->calls.TRITONBACKEND_Initialize(backend);
    if (error)
        close_backend(backend);
    return error;
}

TRITONSERVER_Error *find_backend(TRITONSERVER_Server *server, const char *name,
                                 struct TRITONBACKEND_Backend **out_backend)
{
    struct TRITONBACKEND_Backend *backend = calloc(1, sizeof *backend), *known = server->backends;
    if (!backend)
        abort();
    const int length = snprintf(backend->path, sizeof backend->path, "%s/%s/libtriton_%s.so",
                                server->options.backends, name, name);
    if ((size_t)length >= sizeof backend->path)
        abort();
    while (known && strcmp(known->path, backend->path))
        known = known->next;
    if (known) {
        free(backend);
        *out_backend = known;
        return NULL;
    }
    TRITONSERVER_Error *error = open_backend(backend);
    if (error)
        return error;
    backend->next = server->backends;
    *out_backend = server->backends = backend;
    return NULL;
}

/* --- models ----------------------------------------------------------------------------------- */

struct leaving {
    TRITONSERVER_Server *server;
    struct model *model;
};

static void *leave(void *arg)
{
    const struct leaving leaving = *(struct leaving *)arg;
    free(arg);
    model_unload(leaving.model);
    pthread_mutex_lock(&leaving.server->lock);
    leaving.server->unloading--;
    pthread_cond_broadcast(&leaving.server->changed);
    pthread_mutex_unlock(&leaving.server->lock);
    return NULL;
}

/* A model goes in a thread of its own, and nobody waits for it. Under the lock. */
static void begin_unload(TRITONSERVER_Server *server, size_t index)
{
    pthread_t thread;
    struct leaving *leaving = malloc(sizeof *leaving);
    if (!leaving)
        abort();
    *leaving = (struct leaving){server, server->models[index]};
    server->models[index] = server->models[--server->model_count];
    server->unloading++;
    if (pthread_create(&thread, NULL, leave, leaving))
        abort();
    pthread_detach(thread);
}

/* The index of a model, or the count. Under the lock. */
static size_t find(const TRITONSERVER_Server *server, const char *name)
{
    size_t i = 0;
    while (i < server->model_count && strcmp(server->models[i]->name, name))
        i++;
    return i;
}

/* One that is loaded already serves until the new one is ready, and longer if that fails. */
TRITONSERVER_Error *TRITONSERVER_ServerLoadModel(TRITONSERVER_Server *server,
                                                 const char *model_name)
{
    struct model *model = NULL;
    TRITONSERVER_Error *error = model_load(server, model_name, &model);
    if (error)
        return error;
    pthread_mutex_lock(&server->lock);
    const size_t old = find(server, model_name);
    if (old < server->model_count)
        begin_unload(server, old);
    if (server->model_count == MODELS_MAX)
        abort();
    server->models[server->model_count++] = model;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ServerUnloadModel(TRITONSERVER_Server *server,
                                                   const char *model_name)
{
    pthread_mutex_lock(&server->lock);
    const size_t index = find(server, model_name);
    const bool found = index < server->model_count;
    if (found)
        begin_unload(server, index);
    pthread_mutex_unlock(&server->lock);
    return found ? NULL : fail(TRITONSERVER_ERROR_NOT_FOUND, "no model \"%s\"", model_name);
}

TRITONSERVER_Error *TRITONSERVER_ServerModelIsReady(TRITONSERVER_Server *server,
                                                    const char *model_name,
                                                    const int64_t model_version, bool *ready)
{
    (void)model_version;
    pthread_mutex_lock(&server->lock);
    *ready = find(server, model_name) < server->model_count;
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static void print_duration(FILE *out, const char *name, uint64_t count, uint64_t ns)
{
    fprintf(out, "%s\"%s\":{\"count\":%llu,\"ns\":%llu}", strcmp(name, "success") ? "," : "", name,
            (unsigned long long)count, (unsigned long long)ns);
}

static char *print_statistics(const char *name, const struct totals *t)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fprintf(out,
            "{\"model_stats\":[{\"name\":\"%s\",\"version\":\"1\",\"inference_count\":%llu,"
            "\"execution_count\":%llu,\"inference_stats\":{",
            name, (unsigned long long)t->rows, (unsigned long long)t->executions);
    print_duration(out, "success", t->success, t->queue + t->input + t->infer + t->output);
    print_duration(out, "fail", t->failure, 0);
    print_duration(out, "queue", t->success, t->queue);
    print_duration(out, "compute_input", t->success, t->input);
    print_duration(out, "compute_infer", t->success, t->infer);
    print_duration(out, "compute_output", t->success, t->output);
    fprintf(out, "},\"memory_usage\":[{\"type\":\"%s\",\"id\":%lld,\"byte_size\":%llu}]}]}",
            t->memory_type == TRITONSERVER_MEMORY_GPU ? "GPU" : "CPU", (long long)t->memory_id,
            (unsigned long long)t->memory);
    fclose(out);
    return text;
}

TRITONSERVER_Error *TRITONSERVER_ServerModelStatistics(TRITONSERVER_Server *server,
                                                       const char *model_name,
                                                       const int64_t model_version,
                                                       TRITONSERVER_Message **model_stats)
{
    struct totals totals = {0};
    (void)model_version;
    if (getenv("STANDIN_NO_STATISTICS"))
        return fail(TRITONSERVER_ERROR_UNSUPPORTED, "statistics not supported");
    pthread_mutex_lock(&server->lock);
    const size_t index = find(server, model_name);
    const bool found = index < server->model_count;
    if (found) {
        struct model *model = server->models[index];
        pthread_mutex_lock(&model->lock);
        totals = model->totals;
        for (size_t i = 0; i < model->instance_count; i++) {
            totals.memory += model->instances[i].memory;
            totals.memory_type = model->instances[i].memory_type;
            totals.memory_id = model->instances[i].memory_id;
        }
        pthread_mutex_unlock(&model->lock);
    }
    pthread_mutex_unlock(&server->lock);
    if (!found)
        return fail(TRITONSERVER_ERROR_NOT_FOUND, "no model \"%s\"", model_name);
    *model_stats = calloc(1, sizeof **model_stats);
    (*model_stats)->json = print_statistics(model_name, &totals);
    return NULL;
}

/* --- the end ---------------------------------------------------------------------------------- */

void standin_wait_unloaded(TRITONSERVER_Server *server)
{
    pthread_mutex_lock(&server->lock);
    while (server->unloading)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

/* With STANDIN_CRASH it dies as a server does that has a fault in its end. */
TRITONSERVER_Error *TRITONSERVER_ServerStop(TRITONSERVER_Server *server)
{
    say("Stopping the server");
    if (getenv("STANDIN_CRASH"))
        abort();
    pthread_mutex_lock(&server->lock);
    while (server->model_count)
        begin_unload(server, 0);
    pthread_mutex_unlock(&server->lock);
    standin_wait_unloaded(server);
    return NULL;
}

/* Backends go with the server, when it has no models any more. */
TRITONSERVER_Error *TRITONSERVER_ServerDelete(TRITONSERVER_Server *server)
{
    TRITONSERVER_ErrorDelete(TRITONSERVER_ServerStop(server));
    while (server->backends) {
        struct TRITONBACKEND_Backend *backend = server->backends;
        server->backends = backend->next;
        close_backend(backend);
    }
    if (getenv("STANDIN_NEW_ERRORS") && standin_live_errors())
        violate("%ld errors were not deleted", standin_live_errors());
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
    return NULL;
}
