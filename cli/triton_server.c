#include "common/env.h"
#include "triton.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct triton_calls triton;

static const struct call {
    const char *name;
    size_t offset;
    bool optional;
} calls[] = {
#define TRITON_CALL(returns, name, parameters) {#name, offsetof(struct triton_calls, name), false},
#define TRITON_OPTIONAL(returns, name, parameters) \
    {#name, offsetof(struct triton_calls, name), true},
#include <ferry/triton_api/calls.inc>
#include <ferry/triton_api/host.inc>
#undef TRITON_CALL
#undef TRITON_OPTIONAL
};

bool triton_good(TRITONSERVER_Error *error, const char *what, char *why)
{
    if (!error)
        return true;
    snprintf(why, CLI_WHY_MAX, "%s: %s: %s", what, triton.TRITONSERVER_ErrorCodeString(error),
             triton.TRITONSERVER_ErrorMessage(error));
    triton.TRITONSERVER_ErrorDelete(error);
    return false;
}

/* The library stays open: it has threads and exit handlers of its own. */
bool triton_server_open(struct triton_server *server, const char *path, char *why)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(why, CLI_WHY_MAX, "cannot open the server library: %s", dlerror());
        return false;
    }
    const char *problem = ferry_triton_problem();
    if (problem) {
        snprintf(why, CLI_WHY_MAX, "%s: %s", path, problem);
        return false;
    }
    for (size_t i = 0; i < CLI_COUNT(calls); i++) {
        void *symbol = dlsym(library, calls[i].name);
        if (!symbol && !calls[i].optional) {
            snprintf(why, CLI_WHY_MAX, "%s has no function %s", path, calls[i].name);
            return false;
        }
        *(void **)((char *)&triton + calls[i].offset) = symbol;
    }
    return triton_good(triton.TRITONSERVER_ApiVersion(&server->major, &server->minor),
                       "asking for the API version", why);
}

/* --- the model repository --------------------------------------------------------------------- */

static const char config[] = "name: \"" TRITON_MODEL "\"\n"
                             "backend: \"ferry\"\n"
                             "max_batch_size: 64\n"
                             "input { name: \"INPUT\" data_type: TYPE_UINT8 dims: [ %llu ] }\n"
                             "output { name: \"OUTPUT\" data_type: TYPE_UINT8 dims: [ %llu ] }\n"
                             "dynamic_batching { }\n";

static const char device_config[] =
    "parameters { key: \"device\" value: { string_value: \"%s\" } }\n";

/* Without gpus a server may load a model of KIND_GPU with no instance at all. */
static void write_instance(FILE *file, const char *kind, int64_t device_id)
{
    if (strcmp(kind, "gpu") == 0)
        fprintf(file, "instance_group { kind: KIND_GPU count: 1 gpus: [ %lld ] }\n",
                (long long)device_id);
    else
        fprintf(file, "instance_group { kind: %s count: 1 }\n",
                strcmp(kind, "model") == 0 ? "KIND_MODEL" : "KIND_CPU");
}

static bool write_config(const char *path, const struct triton_options *options, int64_t device_id)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    fprintf(file, config, (unsigned long long)options->bytes, (unsigned long long)options->bytes);
    write_instance(file, options->kind, device_id);
    if (options->device)
        fprintf(file, device_config, options->device);
    bool good = ferror(file) == 0;
    return fclose(file) == 0 && good;
}

static bool write_repository(struct triton_server *server, const struct triton_options *options,
                             int64_t device_id, char *why)
{
    const char *folder = ferry__env("TMPDIR");
    char name[REPOSITORY_MAX], path[REPOSITORY_MAX + 64];
    int length = snprintf(name, sizeof name, "%s/ferry-triton-XXXXXX",
                          folder && folder[0] != 0 ? folder : "/tmp");
    if ((size_t)length >= sizeof name)
        errno = ENAMETOOLONG;
    else if (mkdtemp(name)) {
        memcpy(server->repository, name, sizeof name);
        snprintf(path, sizeof path, "%s/" TRITON_MODEL, name);
        if (mkdir(path, 0755) == 0) {
            snprintf(path, sizeof path, "%s/" TRITON_MODEL "/1", name);
            if (mkdir(path, 0755) == 0) {
                snprintf(path, sizeof path, "%s/" TRITON_MODEL "/config.pbtxt", name);
                if (write_config(path, options, device_id))
                    return true;
            }
        }
    }
    snprintf(why, CLI_WHY_MAX, "writing a model repository in %s: %s", name, strerror(errno));
    return false;
}

/* What was written, the innermost first; the server adds nothing. */
static void remove_repository(const struct triton_server *server)
{
    static const char *const names[] = {"/" TRITON_MODEL "/config.pbtxt", "/" TRITON_MODEL "/1",
                                        /* clang takes two pieces for a missing comma */
                                        ("/" TRITON_MODEL), ""};
    char path[REPOSITORY_MAX + 64];
    for (size_t i = 0; i < CLI_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s%s", server->repository, names[i]);
        remove(path);
    }
}

/* --- the server ------------------------------------------------------------------------------- */

/* Also what is uninitialised in the server's options unless it is set: how often a load is tried
 * anew, and peer access, which older servers do not have. */
static bool set_options(const struct triton_server *server, const struct triton_options *given,
                        TRITONSERVER_ServerOptions *options, char *why)
{
    TRITONSERVER_Error *error =
        triton.TRITONSERVER_ServerOptionsSetModelRepositoryPath(options, server->repository);
    if (!error)
        error = triton.TRITONSERVER_ServerOptionsSetBackendDirectory(options, given->backends);
    if (!error)
        error = triton.TRITONSERVER_ServerOptionsSetModelControlMode(
            options, TRITONSERVER_MODEL_CONTROL_EXPLICIT);
    if (!error)
        error = triton.TRITONSERVER_ServerOptionsSetStrictModelConfig(options, true);
    if (!error)
        error = triton.TRITONSERVER_ServerOptionsSetModelLoadRetryCount(options, 0);
    if (!error && triton.TRITONSERVER_ServerOptionsSetEnablePeerAccess)
        error = triton.TRITONSERVER_ServerOptionsSetEnablePeerAccess(options, false);
    return triton_good(error, "the server's options", why);
}

static bool start(struct triton_server *server, const struct triton_options *given, char *why)
{
    TRITONSERVER_ServerOptions *options = NULL;
    bool ready = false;
    if (!triton_good(triton.TRITONSERVER_ServerOptionsNew(&options), "the server's options", why))
        return false;
    bool good = set_options(server, given, options, why) &&
                triton_good(triton.TRITONSERVER_ServerNew(&server->server, options),
                            "starting the server", why);
    triton.TRITONSERVER_ErrorDelete(triton.TRITONSERVER_ServerOptionsDelete(options));
    if (!good || !triton_good(triton.TRITONSERVER_ServerLoadModel(server->server, TRITON_MODEL),
                              "loading the model", why))
        return false;
    server->loaded = true;
    if (!triton_good(
            triton.TRITONSERVER_ServerModelIsReady(server->server, TRITON_MODEL, -1, &ready),
            "the model", why))
        return false;
    if (!ready)
        snprintf(why, CLI_WHY_MAX, "the model is loaded but not ready");
    return ready;
}

bool triton_server_start(struct triton_server *server, const struct triton_options *options,
                         int64_t device_id, char *why)
{
    return write_repository(server, options, device_id, why) && start(server, options, why);
}

bool triton_server_close(struct triton_server *server, char *why)
{
    bool good = true;
    if (server->loaded)
        good = triton_good(triton.TRITONSERVER_ServerUnloadModel(server->server, TRITON_MODEL),
                           "unloading the model", why);
    if (server->server) {
        good = triton_good(triton.TRITONSERVER_ServerStop(server->server), "stopping the server",
                           why) &&
               good;
        good = triton_good(triton.TRITONSERVER_ServerDelete(server->server), "deleting the server",
                           why) &&
               good;
    }
    if (server->repository[0] != 0)
        remove_repository(server);
    return good;
}

/* --- what it tells ---------------------------------------------------------------------------- */

bool triton_statistics(const struct triton_server *server, char **out_text, char *why)
{
    TRITONSERVER_Message *message = NULL;
    const char *text = NULL;
    size_t size = 0;
    TRITONSERVER_Error *error =
        triton.TRITONSERVER_ServerModelStatistics(server->server, TRITON_MODEL, -1, &message);
    *out_text = NULL;
    if (error && triton.TRITONSERVER_ErrorCode(error) == TRITONSERVER_ERROR_UNSUPPORTED) {
        triton.TRITONSERVER_ErrorDelete(error);
        return true;
    }
    if (!triton_good(error, "the model's statistics", why))
        return false;
    bool good = triton_good(triton.TRITONSERVER_MessageSerializeToJson(message, &text, &size),
                            "the model's statistics", why);
    if (good && !(*out_text = strndup(text, size))) {
        snprintf(why, CLI_WHY_MAX, "no host memory for the model's statistics");
        good = false;
    }
    triton.TRITONSERVER_ErrorDelete(triton.TRITONSERVER_MessageDelete(message));
    return good;
}

char *triton_metrics(const struct triton_server *server)
{
    TRITONSERVER_Metrics *metrics = NULL;
    const char *text = NULL;
    char *copy = NULL;
    char why[CLI_WHY_MAX];
    size_t size = 0;
    if (!triton.TRITONSERVER_ServerMetrics || !triton.TRITONSERVER_MetricsFormatted ||
        !triton.TRITONSERVER_MetricsDelete)
        return NULL;
    if (!triton_good(ferry_triton_metrics_update(), "metrics", why) ||
        !triton_good(triton.TRITONSERVER_ServerMetrics(server->server, &metrics), "metrics", why))
        return NULL;
    if (triton_good(triton.TRITONSERVER_MetricsFormatted(metrics, TRITONSERVER_METRIC_PROMETHEUS,
                                                         &text, &size),
                    "metrics", why))
        copy = strndup(text, size);
    triton.TRITONSERVER_ErrorDelete(triton.TRITONSERVER_MetricsDelete(metrics));
    return copy;
}
