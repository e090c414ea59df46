/* How the functions are found, what every call begins with, and the failures that tests ask for. */
#include "sim.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct function {
    const char *name;
    int version;
    const void *address;
    uint64_t calls;
} functions[] = {
#define SIM(name, version, parameters) \
    {"cu" #name, version, (const void *)sim_##name##_##version, 0},
#define NEEDED SIM
#define OPTIONAL SIM
#include "drivers/cuda/functions.inc"
#undef NEEDED
#undef OPTIONAL
#undef SIM
};

enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* --- failures ---------------------------------------------------------------------------------- */

static struct {
    char function[64];
    cu_result error;
    uint64_t left;
    bool failed;
} failing;

void strictcuda_fail(const char *function, unsigned error, uint64_t n)
{
    pthread_mutex_lock(&sim.lock);
    snprintf(failing.function, sizeof failing.function, "%s", function);
    failing.error = error;
    failing.left = n;
    failing.failed = false;
    pthread_mutex_unlock(&sim.lock);
}

bool strictcuda_failed(void)
{
    pthread_mutex_lock(&sim.lock);
    const bool failed = failing.failed;
    pthread_mutex_unlock(&sim.lock);
    return failed;
}

static void count(const char *name)
{
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (!strcmp(functions[i].name, name)) {
            functions[i].calls++;
            return;
        }
}

uint64_t strictcuda_calls(const char *name)
{
    uint64_t calls = 0;
    pthread_mutex_lock(&sim.lock);
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (!strcmp(functions[i].name, name))
            calls += functions[i].calls;
    pthread_mutex_unlock(&sim.lock);
    return calls;
}

static cu_result asked_for(const char *name)
{
    if (!failing.left || strcmp(failing.function, name) != 0 || --failing.left)
        return CU_SUCCESS;
    failing.failed = true;
    return failing.error;
}

/* --- every call -------------------------------------------------------------------------------- */

cu_context sim_current(void)
{
    return sim_own.depth ? sim_own.stack[sim_own.depth - 1] : NULL;
}

static cu_result check(const char *function, unsigned needs)
{
    const cu_context context = sim_current();
    if ((needs & NEEDS_INIT) && (!sim.initialised || sim.process != (long)getpid())) {
        sim_breach(STRICTCUDA_INIT, "%s: cuInit was not called in this process", function);
        return CU_ERROR_NOT_INITIALIZED;
    }
    if ((needs & NEEDS_CONTEXT) && !context) {
        sim_breach(STRICTCUDA_CONTEXT, "%s: no context is current", function);
        return CU_ERROR_INVALID_CONTEXT;
    }
    if ((needs & NEEDS_CONTEXT) && !context->retained) {
        sim_breach(STRICTCUDA_RETAIN, "%s: the context was released", function);
        return CU_ERROR_CONTEXT_IS_DESTROYED;
    }
    if ((needs & IS_UNSAFE) && sim.capture && sim_own.mode != CU_CAPTURE_RELAXED) {
        sim_breach(STRICTCUDA_CAPTURE, "%s while another thread captures", function);
        return CU_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return (needs & TELLS_FAULT) && context ? context->sticky : CU_SUCCESS;
}

cu_result sim_begin(const char *function, unsigned needs)
{
    pthread_mutex_lock(&sim.lock);
    count(function);
    cu_result result = check(function, needs);
    if (!result)
        result = asked_for(function);
    if (result)
        pthread_mutex_unlock(&sim.lock);
    return result;
}

cu_result sim_end(cu_result result)
{
    pthread_mutex_unlock(&sim.lock);
    return result;
}

/* --- finding them ------------------------------------------------------------------------------ */

STRICTCUDA_API cu_result cuDriverGetVersion(int *version);
STRICTCUDA_API cu_result cuGetProcAddress_v2(const char *name, void **function, int version,
                                             unsigned long long flags, cu_query_result *found);

cu_result cuDriverGetVersion(int *version)
{
    return sim_DriverGetVersion_2020(version);
}

/* As the real one: the newest form that is no newer than asked for. */
cu_result cuGetProcAddress_v2(const char *name, void **function, int version,
                              unsigned long long flags, cu_query_result *found)
{
    const struct options options = sim_options();
    const struct function *best = NULL;
    for (size_t i = 0; i < FUNCTIONS; i++) {
        const struct function *at = &functions[i];
        if (!strcmp(at->name, name) && at->version <= version &&
            at->version <= (int)options.version && (!best || at->version > best->version))
            best = at;
    }
    if (options.nobatch && !strcmp(name, "cuMemcpyBatchAsync"))
        best = NULL;
    if (found)
        *found = best ? 0 : 1;
    *function = NULL;
    if (flags || !best)
        return CU_ERROR_NOT_FOUND;
    memcpy(function, &best->address, sizeof best->address);
    return CU_SUCCESS;
}
