#include "calls.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

struct ferry__triton_calls ferry__triton;

static const struct call {
    const char *name;
    size_t offset;
    bool optional;
} calls[] = {
#define TRITON_CALL(returns, name, parameters) \
    {#name, offsetof(struct ferry__triton_calls, name), false},
#define TRITON_OPTIONAL(returns, name, parameters) \
    {#name, offsetof(struct ferry__triton_calls, name), true},
#include <ferry/triton_api/calls.inc>
#undef TRITON_CALL
#undef TRITON_OPTIONAL
};
enum { CALLS = sizeof calls / sizeof *calls };

static _Thread_local char why[160];

/* The library that has both halves of the API; it stays open, for its functions are kept. */
static bool is_server(const char *path, void *user)
{
    void **out_library = user;
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (!library)
        return false;
    if (dlsym(library, "TRITONSERVER_ErrorNew") && dlsym(library, "TRITONBACKEND_ApiVersion")) {
        *out_library = library;
        return true;
    }
    dlclose(library);
    return false;
}

static const char *find_all(void *library)
{
    for (size_t i = 0; i < CALLS; i++) {
        void *symbol = dlsym(library, calls[i].name);
        if (!symbol && !calls[i].optional) {
            snprintf(why, sizeof why, "the server in this process has no function %s",
                     calls[i].name);
            return why;
        }
        *(void **)((char *)&ferry__triton + calls[i].offset) = symbol;
    }
    return NULL;
}

/* The major versions must be equal: across them a name may mean another function. */
static const char *check_versions(void)
{
    uint32_t server = 0, backend = 0, minor = 0;
    TRITONSERVER_Error *error = ferry__triton.TRITONSERVER_ApiVersion(&server, &minor);
    if (!error)
        error = ferry__triton.TRITONBACKEND_ApiVersion(&backend, &minor);
    if (error) {
        ferry__triton.TRITONSERVER_ErrorDelete(error);
        return "the server in this process does not report its API version";
    }
    if (server == FERRY_TRITON_SERVER_MAJOR && backend == FERRY_TRITON_BACKEND_MAJOR)
        return NULL;
    snprintf(why, sizeof why,
             "the server in this process has TRITONSERVER API %u and TRITONBACKEND API %u, "
             "Ferry needs %d and %d",
             server, backend, FERRY_TRITON_SERVER_MAJOR, FERRY_TRITON_BACKEND_MAJOR);
    return why;
}

static const char *find(void)
{
    void *library = RTLD_DEFAULT;
    if (!dlsym(RTLD_DEFAULT, "TRITONBACKEND_ApiVersion")) {
        library = NULL;
        if (!ferry__triton_each_library(is_server, &library))
            return "no host memory to look for the server";
        if (!library)
            return "there is no Triton server in this process";
    }
    const char *problem = find_all(library);
    return problem ? problem : check_versions();
}

const char *ferry__triton_find(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the search */
    static atomic_bool found;
    if (atomic_load_explicit(&found, memory_order_acquire))
        return NULL;
    pthread_mutex_lock(&lock);
    const char *problem = atomic_load(&found) ? NULL : find();
    if (!problem)
        atomic_store_explicit(&found, true, memory_order_release);
    pthread_mutex_unlock(&lock);
    return problem;
}
