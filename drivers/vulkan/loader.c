#include "base/env.h"
#include "vk.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const struct {
    VkResult result;
    enum ferry_status status;
    const char *name;
} results[] = {
#define RESULT(name, status)              \
    {                                     \
        name, FERRY_ERROR_##status, #name \
    }
    RESULT(VK_ERROR_OUT_OF_HOST_MEMORY, OUT_OF_HOST_MEMORY),
    RESULT(VK_ERROR_OUT_OF_DEVICE_MEMORY, OUT_OF_DEVICE_MEMORY),
    RESULT(VK_ERROR_OUT_OF_POOL_MEMORY, OUT_OF_DEVICE_MEMORY),
    RESULT(VK_ERROR_TOO_MANY_OBJECTS, OUT_OF_DEVICE_MEMORY),
    RESULT(VK_ERROR_FRAGMENTATION, OUT_OF_DEVICE_MEMORY),
    RESULT(VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS, OUT_OF_DEVICE_MEMORY),
    RESULT(VK_ERROR_MEMORY_MAP_FAILED, OUT_OF_HOST_MEMORY),
    RESULT(VK_ERROR_DEVICE_LOST, DEVICE_LOST),
    RESULT(VK_ERROR_INITIALIZATION_FAILED, NO_DEVICE),
    RESULT(VK_ERROR_INCOMPATIBLE_DRIVER, NO_DEVICE),
    RESULT(VK_ERROR_LAYER_NOT_PRESENT, UNSUPPORTED),
    RESULT(VK_ERROR_EXTENSION_NOT_PRESENT, UNSUPPORTED),
    RESULT(VK_ERROR_FEATURE_NOT_PRESENT, UNSUPPORTED),
    RESULT(VK_ERROR_INVALID_EXTERNAL_HANDLE, UNSUPPORTED),
    RESULT(VK_ERROR_UNKNOWN, INTERNAL),
#undef RESULT
};

enum ferry_status ferry__vulkan_result(VkResult result, const char *call, char *why)
{
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        if (results[i].result != result)
            continue;
        if (why)
            snprintf(why, FERRY__WHY_MAX, "%s: %s", call, results[i].name);
        return results[i].status;
    }
    if (why)
        snprintf(why, FERRY__WHY_MAX, "%s: VkResult %d", call, (int)result);
    return FERRY_ERROR_INTERNAL;
}

/* How a function is to be found, and where it goes in the table. */
enum kind { KIND_GLOBAL, KIND_INSTANCE, KIND_DEVICE, KIND_OPTIONAL };

static const struct {
    const char *name;
    size_t offset;
    enum kind kind;
} functions[] = {
#define FUNCTION(name, kind) {"vk" #name, offsetof(struct vulkan_functions, name), kind},
#define GLOBAL(name) FUNCTION(name, KIND_GLOBAL)
#define INSTANCE(name) FUNCTION(name, KIND_INSTANCE)
#define DEVICE(name) FUNCTION(name, KIND_DEVICE)
#define OPTIONAL(name) FUNCTION(name, KIND_OPTIONAL)
#include "functions.inc"
#undef GLOBAL
#undef INSTANCE
#undef DEVICE
#undef OPTIONAL
#undef FUNCTION
};

static enum ferry_status load(struct vulkan_functions *vk, enum kind kind, VkInstance instance,
                              VkDevice device, char *why)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (functions[i].kind != kind)
            continue;
        PFN_vkVoidFunction found = device ? vk->GetDeviceProcAddr(device, functions[i].name)
                                          : vk->GetInstanceProcAddr(instance, functions[i].name);
        if (!found && kind != KIND_OPTIONAL) {
            snprintf(why, FERRY__WHY_MAX, "the Vulkan driver has no %s (Vulkan 1.2 is needed)",
                     functions[i].name);
            return FERRY_ERROR_UNSUPPORTED;
        }
        memcpy((char *)vk + functions[i].offset, &found, sizeof found);
    }
    return FERRY_OK;
}

static const char *library_name(void)
{
    const char *name = ferry__env("FERRY_VULKAN_LIBRARY");
    return name && *name ? name : "libvulkan.so.1";
}

enum ferry_status ferry__vulkan_load(struct vulkan_functions *vk, char *why)
{
    const char *name = library_name();
    /* Never closed: drivers and layers leave threads and exit handlers behind. */
    char words[FERRY__WHY_MAX];
    void *library;
    const enum ferry_status status = ferry__library_open(name, &library, words, sizeof words);
    if (status) {
        snprintf(why, FERRY__WHY_MAX, "no Vulkan loader: %.140s", words);
        return status;
    }
    void *symbol = dlsym(library, "vkGetInstanceProcAddr");
    if (!symbol) {
        snprintf(why, FERRY__WHY_MAX, "%s has no vkGetInstanceProcAddr", name);
        return FERRY_ERROR_UNSUPPORTED;
    }
    memcpy(&vk->GetInstanceProcAddr, &symbol, sizeof symbol);
    return load(vk, KIND_GLOBAL, NULL, NULL, why);
}

enum ferry_status ferry__vulkan_load_instance(struct vulkan_functions *vk, VkInstance instance,
                                              char *why)
{
    return load(vk, KIND_INSTANCE, instance, NULL, why);
}

enum ferry_status ferry__vulkan_load_device(struct vulkan_functions *vk, VkDevice device, char *why)
{
    enum ferry_status status = load(vk, KIND_DEVICE, NULL, device, why);
    return !status ? load(vk, KIND_OPTIONAL, NULL, device, why) : status;
}

/* --- the instance ----------------------------------------------------------------------------- */

static enum ferry_status instance_version(const struct vulkan_functions *vk, uint32_t *out_version,
                                          char *why)
{
    uint32_t version = VK_API_VERSION_1_0;
    VkResult result = vk->EnumerateInstanceVersion(&version);
    if (result != VK_SUCCESS)
        return ferry__vulkan_result(result, "vkEnumerateInstanceVersion", why);
    if (version < VK_API_VERSION_1_2) {
        snprintf(why, FERRY__WHY_MAX, "the Vulkan loader is version %u.%u; 1.2 is needed",
                 VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
        return FERRY_ERROR_UNSUPPORTED;
    }
    *out_version = version < VK_API_VERSION_1_3 ? VK_API_VERSION_1_2 : VK_API_VERSION_1_3;
    return FERRY_OK;
}

static enum ferry_status make_instance(struct vulkan_instance *out, char *why)
{
    enum ferry_status status = ferry__vulkan_load(&out->vk, why);
    if (!status)
        status = instance_version(&out->vk, &out->version, why);
    if (status)
        return status;
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pEngineName = "ferry",
        .engineVersion = FERRY_VERSION,
        .apiVersion = out->version,
    };
    const VkInstanceCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &application,
    };
    VkResult result = out->vk.CreateInstance(&create, NULL, &out->handle);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER) {
        snprintf(why, FERRY__WHY_MAX,
                 "the Vulkan loader found no driver for a GPU, nor a software one");
        return FERRY_ERROR_NO_DEVICE;
    }
    if (result != VK_SUCCESS)
        return ferry__vulkan_result(result, "vkCreateInstance", why);
    status = ferry__vulkan_load_instance(&out->vk, out->handle, why);
    if (status && out->vk.DestroyInstance)
        out->vk.DestroyInstance(out->handle, NULL);
    return status;
}

/* One for each library that was named, never destroyed: that would unload the drivers, which leave
 * threads and exit handlers behind. */
struct kept {
    struct vulkan_instance instance;
    const struct kept *next;
    char library[];
};

/* Held while an instance is made, so that there is one only. */
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static const struct kept *_Atomic kept_first;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* Whoever was making one is not there. A driver may fork itself while it is made: so the lock is
 * not taken before a fork, but new after it. */
static void after_fork_in_child(void)
{
    kept_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

static const struct kept *find_kept(const char *library)
{
    const struct kept *kept = atomic_load(&kept_first);
    while (kept && strcmp(kept->library, library))
        kept = kept->next;
    return kept;
}

/* Under the lock. */
static enum ferry_status keep_new(const char *library, const struct kept **out_kept, char *why)
{
    const size_t length = strlen(library) + 1;
    struct kept *kept = ferry__alloc(sizeof *kept + length);
    if (!kept) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a Vulkan instance");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    const enum ferry_status status = make_instance(&kept->instance, why);
    if (status) {
        ferry__free(kept);
        return status;
    }
    memcpy(kept->library, library, length);
    kept->next = atomic_load(&kept_first);
    atomic_store(&kept_first, kept);
    *out_kept = kept;
    return FERRY_OK;
}

enum ferry_status ferry__vulkan_instance(struct vulkan_instance *out_instance, char *why)
{
    const char *library = library_name();
    const struct kept *kept = find_kept(library);
    enum ferry_status status = FERRY_OK;
    if (!kept) {
        pthread_once(&fork_once, watch_forks);
        pthread_mutex_lock(&kept_lock);
        kept = find_kept(library);
        if (!kept)
            status = keep_new(library, &kept, why);
        pthread_mutex_unlock(&kept_lock);
    }
    if (!status)
        *out_instance = kept->instance;
    return status;
}
