#include "cuda_internal.h"

#include "base/env.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- results in words ------------------------------------------------------------------------- */

/* sticky: every later call says so again, and all work is over. */
static const struct {
    cu_result result;
    enum ferry_status status;
    bool sticky;
} results[] = {
    {CU_ERROR_OUT_OF_MEMORY, FERRY_ERROR_OUT_OF_DEVICE_MEMORY, false},
    {CU_ERROR_LAUNCH_OUT_OF_RESOURCES, FERRY_ERROR_OUT_OF_DEVICE_MEMORY, false},
    {CU_ERROR_OPERATING_SYSTEM, FERRY_ERROR_OUT_OF_HOST_MEMORY, false},
    {CU_ERROR_NOT_INITIALIZED, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_STUB_LIBRARY, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_DEVICE_UNAVAILABLE, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_NO_DEVICE, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_INVALID_DEVICE, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_DEVICE_NOT_LICENSED, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_SYSTEM_NOT_READY, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_SYSTEM_DRIVER_MISMATCH, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, FERRY_ERROR_NO_DEVICE, false},
    {CU_ERROR_NO_BINARY_FOR_GPU, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_INVALID_PTX, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_JIT_COMPILER_NOT_FOUND, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_UNSUPPORTED_PTX_VERSION, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_JIT_COMPILATION_DISABLED, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_NOT_FOUND, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_NOT_SUPPORTED, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_NOT_PERMITTED, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_HOST_MEMORY_ALREADY_REGISTERED, FERRY_ERROR_UNSUPPORTED, false},
    {CU_ERROR_DEINITIALIZED, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_ECC_UNCORRECTABLE, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_NVLINK_UNCORRECTABLE, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_ILLEGAL_ADDRESS, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_LAUNCH_TIMEOUT, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_CONTEXT_IS_DESTROYED, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_ASSERT, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_HARDWARE_STACK_ERROR, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_ILLEGAL_INSTRUCTION, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_MISALIGNED_ADDRESS, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_INVALID_ADDRESS_SPACE, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_INVALID_PC, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_LAUNCH_FAILED, FERRY_ERROR_DEVICE_LOST, true},
    {CU_ERROR_EXTERNAL_DEVICE, FERRY_ERROR_DEVICE_LOST, true},
};

enum { RESULTS = sizeof results / sizeof *results };

static size_t find_result(cu_result result)
{
    size_t i = 0;
    while (i < RESULTS && results[i].result != result)
        i++;
    return i;
}

bool ferry__cuda_is_sticky(cu_result result)
{
    const size_t i = find_result(result);
    return i < RESULTS && results[i].sticky;
}

enum ferry_status ferry__cuda_result(const struct cuda_functions *cu, cu_result result,
                                     const char *call, char *why)
{
    const char *name = NULL, *text = NULL;
    const size_t i = find_result(result);
    if (why && (cu->GetErrorName(result, &name) || !name))
        snprintf(why, FERRY__WHY_MAX, "%s: CUDA error %u", call, result);
    else if (why && (cu->GetErrorString(result, &text) || !text))
        snprintf(why, FERRY__WHY_MAX, "%s: %s", call, name);
    else if (why)
        snprintf(why, FERRY__WHY_MAX, "%s: %s (%s)", call, name, text);
    return i < RESULTS ? results[i].status : FERRY_ERROR_INTERNAL;
}

/* --- finding the functions -------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t offset;
    int version;
    bool needed;
} functions[] = {
#define NEEDED(name, version, parameters) \
    {"cu" #name, offsetof(struct cuda_functions, name), version, true},
#define OPTIONAL(name, version, parameters) \
    {"cu" #name, offsetof(struct cuda_functions, name##_##version), version, false},
#include "functions.inc"
#undef NEEDED
#undef OPTIONAL
};

static enum ferry_status too_old(int version, char *why)
{
    snprintf(why, FERRY__WHY_MAX, "the CUDA driver is version %d.%d; %d.%d is needed",
             version / 1000, version % 1000 / 10, CUDA__VERSION_NEEDED / 1000,
             CUDA__VERSION_NEEDED % 1000 / 10);
    return FERRY_ERROR_UNSUPPORTED;
}

/* The one function that is found by its plain name, and asks for the others by their versions. */
static enum ferry_status find_finder(void *library, const char *name, cu_get_proc_address *out_find,
                                     int *out_version, char *why)
{
    cu_result (*get_version)(int *version);
    void *symbol = dlsym(library, "cuDriverGetVersion");
    if (!symbol) {
        snprintf(why, FERRY__WHY_MAX, "%s has no cuDriverGetVersion", name);
        return FERRY_ERROR_UNSUPPORTED;
    }
    memcpy(&get_version, &symbol, sizeof symbol);
    symbol = dlsym(library, "cuGetProcAddress_v2");
    const cu_result result = get_version(out_version);
    if (result) {
        snprintf(why, FERRY__WHY_MAX, "%s: cuDriverGetVersion: CUDA error %u", name, result);
        return FERRY_ERROR_UNSUPPORTED;
    }
    if (!symbol || *out_version < CUDA__VERSION_NEEDED)
        return too_old(*out_version, why);
    memcpy(out_find, &symbol, sizeof symbol);
    return FERRY_OK;
}

static enum ferry_status find_functions(cu_get_proc_address find, int version,
                                        struct cuda_functions *cu, char *why)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = NULL;
        cu_query_result how = 0;
        const bool there =
            functions[i].version <= version &&
            !find(functions[i].name, &found, functions[i].version, CU_LOAD_DEFAULT, &how);
        if ((!there || !found) && functions[i].needed) {
            snprintf(why, FERRY__WHY_MAX, "the CUDA driver (version %d.%d) has no %s",
                     version / 1000, version % 1000 / 10, functions[i].name);
            return FERRY_ERROR_UNSUPPORTED;
        }
        if (!there)
            found = NULL;
        memcpy((char *)cu + functions[i].offset, &found, sizeof found);
    }
    return FERRY_OK;
}

/* --- the library ------------------------------------------------------------------------------ */

static const char *library_name(void)
{
    const char *name = ferry__env("FERRY_CUDA_LIBRARY");
    return name && *name ? name : "libcuda.so.1";
}

static enum ferry_status open_library(const char *name, void **out_library, char *why)
{
    /* Never closed: libcuda leaves threads and exit handlers behind. */
    const enum ferry_status status = ferry__library_open(name, out_library, why, FERRY__WHY_MAX);
    if (status != FERRY_ERROR_NO_DEVICE)
        return status;
    /* What is not found may also be a library that it needs. */
    if (!strstr(why, "No such file") || strncmp(why, name, strlen(name)) != 0)
        return FERRY_ERROR_UNSUPPORTED;
    snprintf(why, FERRY__WHY_MAX, "%s: not found", name);
    return status;
}

/* No card, or a stand-in for where there is none, is no device; all else is something wrong. */
static enum ferry_status start(const struct cuda_functions *cu, char *why)
{
    const cu_result result = cu->Init(0);
    if (!result)
        return FERRY_OK;
    const enum ferry_status status = ferry__cuda_result(cu, result, "cuInit", why);
    if (result == CU_ERROR_NO_DEVICE)
        snprintf(why, FERRY__WHY_MAX, "no device");
    else if (result != CU_ERROR_STUB_LIBRARY && status == FERRY_ERROR_NO_DEVICE)
        return FERRY_ERROR_UNSUPPORTED;
    return status;
}

static enum ferry_status initialise(const char *name, struct cuda_functions *cu, char *why)
{
    void *library;
    cu_get_proc_address find;
    int version = 0;
    enum ferry_status status = open_library(name, &library, why);
    if (!status)
        status = find_finder(library, name, &find, &version, why);
    if (!status)
        status = find_functions(find, version, cu, why);
    if (status)
        return status;
    return start(cu, why);
}

/* One table for the process: CUDA is initialised once, and cannot be in a forked child. */
enum ferry_status ferry__cuda_load(struct cuda_functions *out_cu, char *why)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct cuda_functions kept;
    static char kept_library[256];
    static long kept_process;
    const char *name = library_name();
    enum ferry_status status = FERRY_OK;
    pthread_mutex_lock(&lock);
    if (kept_process && kept_process != (long)getpid()) {
        snprintf(why, FERRY__WHY_MAX, "CUDA was initialised before fork(); a child cannot use it");
        status = FERRY_ERROR_UNSUPPORTED;
    } else if (!kept_process || strcmp(kept_library, name)) {
        struct cuda_functions fresh = {0};
        status = initialise(name, &fresh, why);
        if (!status) {
            kept = fresh;
            kept_process = (long)getpid();
            snprintf(kept_library, sizeof kept_library, "%s", name);
        }
    }
    if (!status)
        *out_cu = kept;
    pthread_mutex_unlock(&lock);
    return status;
}
