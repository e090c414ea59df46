#include "vk.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    VkResult result;
    enum ferry_status status;
    const char *name;
} results[] = {
#define RESULT(name, status) {name, FERRY_ERROR_##status, #name}
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

enum ferry_status ferry__vulkan_result(VkResult result, const char *call, char *why) {
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
                              VkDevice device, char *why) {
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

enum ferry_status ferry__vulkan_load(struct vulkan_functions *vk, char *why) {
    const char *name = getenv("FERRY_VULKAN_LIBRARY");
    if (!name || !*name)
        name = "libvulkan.so.1";
    /* Never closed: drivers and layers leave threads and exit handlers behind. */
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(why, FERRY__WHY_MAX, "no Vulkan loader: %s", dlerror());
        return FERRY_ERROR_NO_DEVICE;
    }
    void *symbol = dlsym(library, "vkGetInstanceProcAddr");
    if (!symbol) {
        snprintf(why, FERRY__WHY_MAX, "%s has no vkGetInstanceProcAddr", name);
        return FERRY_ERROR_NO_DEVICE;
    }
    memcpy(&vk->GetInstanceProcAddr, &symbol, sizeof symbol);
    return load(vk, KIND_GLOBAL, NULL, NULL, why);
}

enum ferry_status ferry__vulkan_load_instance(struct vulkan_functions *vk, VkInstance instance,
                                              char *why) {
    return load(vk, KIND_INSTANCE, instance, NULL, why);
}

enum ferry_status ferry__vulkan_load_device(struct vulkan_functions *vk, VkDevice device,
                                            char *why) {
    enum ferry_status status = load(vk, KIND_DEVICE, NULL, device, why);
    return status == FERRY_OK ? load(vk, KIND_OPTIONAL, NULL, device, why) : status;
}

enum ferry_status ferry__vulkan_instance(struct vulkan_functions *vk, VkInstance *out_instance,
                                         uint32_t *out_api_version, char *why) {
    enum ferry_status status = ferry__vulkan_load(vk, why);
    if (status != FERRY_OK)
        return status;
    uint32_t version = VK_API_VERSION_1_0;
    VkResult result = vk->EnumerateInstanceVersion(&version);
    if (result != VK_SUCCESS)
        return ferry__vulkan_result(result, "vkEnumerateInstanceVersion", why);
    if (version < VK_API_VERSION_1_2) {
        snprintf(why, FERRY__WHY_MAX, "the Vulkan loader is version %u.%u; 1.2 is needed",
                 VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
        return FERRY_ERROR_UNSUPPORTED;
    }
    *out_api_version = version < VK_API_VERSION_1_3 ? VK_API_VERSION_1_2 : VK_API_VERSION_1_3;
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pEngineName = "ferry",
        .engineVersion = FERRY_VERSION,
        .apiVersion = *out_api_version,
    };
    const VkInstanceCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &application,
    };
    VkInstance instance;
    result = vk->CreateInstance(&create, NULL, &instance);
    if (result != VK_SUCCESS)
        return ferry__vulkan_result(result, "vkCreateInstance", why);
    status = ferry__vulkan_load_instance(vk, instance, why);
    if (status != FERRY_OK) {
        if (vk->DestroyInstance)
            vk->DestroyInstance(instance, NULL);
        return status;
    }
    *out_instance = instance;
    return FERRY_OK;
}
