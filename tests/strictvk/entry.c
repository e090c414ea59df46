/* What the driver finds instead of libvulkan.so.1: vkGetInstanceProcAddr, the instance, and what a
 * physical device says of itself. */
#include "strict.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct real real;

/* --- finding functions ------------------------------------------------------------------------ */

static const struct {
    const char *name;
    PFN_vkVoidFunction function;
} wrapped[] = {
#define WRAPPED(name) {"vk" #name, (PFN_vkVoidFunction)strict_##name},
#include "wrapped.inc"
#undef WRAPPED
};

static const struct {
    const char *name;
    size_t offset;
} reals[] = {
#define REAL(name) {"vk" #name, offsetof(struct real, name)},
#include "real.inc"
#undef REAL
};

static void load_real(VkInstance instance)
{
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        PFN_vkVoidFunction function = real.GetInstanceProcAddr(instance, reals[i].name);
        if (function)
            memcpy((char *)&real + reals[i].offset, &function, sizeof function);
    }
}

static pthread_once_t opened = PTHREAD_ONCE_INIT;

static void open_loader(void)
{
    config_init();
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, "vkGetInstanceProcAddr") : NULL;
    if (!symbol) {
        fprintf(stderr, "strictvk: %s\n", dlerror());
        return;
    }
    memcpy(&real.GetInstanceProcAddr, &symbol, sizeof symbol);
    load_real(NULL);
}

static PFN_vkVoidFunction find_wrapped(const char *name)
{
    for (size_t i = 0; i < sizeof wrapped / sizeof *wrapped; i++)
        if (strcmp(wrapped[i].name, name) == 0)
            return wrapped[i].function;
    return NULL;
}

static PFN_vkGetDeviceProcAddr real_device_proc;

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device_proc(VkDevice device, const char *name)
{
    PFN_vkVoidFunction function = real_device_proc(device, name);
    PFN_vkVoidFunction mine = function ? find_wrapped(name) : NULL;
    return mine ? mine : function;
}

EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance,
                                                                      const char *name)
{
    pthread_once(&opened, open_loader);
    if (!real.GetInstanceProcAddr)
        return NULL;
    PFN_vkVoidFunction function = real.GetInstanceProcAddr(instance, name);
    if (!function)
        return NULL;
    if (strcmp(name, "vkGetDeviceProcAddr") == 0) {
        real_device_proc = (PFN_vkGetDeviceProcAddr)function;
        return (PFN_vkVoidFunction)get_device_proc;
    }
    PFN_vkVoidFunction mine = find_wrapped(name);
    return mine ? mine : function;
}

/* --- the instance ----------------------------------------------------------------------------- */

VKAPI_ATTR VkResult VKAPI_CALL strict_EnumerateInstanceVersion(uint32_t *version)
{
    VkResult result;
    return fails("vkEnumerateInstanceVersion", &result) ? result
                                                        : real.EnumerateInstanceVersion(version);
}

static VKAPI_ATTR VkBool32 VKAPI_CALL message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                              VkDebugUtilsMessageTypeFlagsEXT types,
                                              const VkDebugUtilsMessengerCallbackDataEXT *data,
                                              void *user)
{
    (void)severity;
    (void)types;
    (void)user;
    if (!device_lost()) /* which the layer does not know of */
        report(STRICTVK_VALIDATION, "%s", data->pMessage);
    return VK_FALSE;
}

/* With the validation layer in between, which must be there, and its messages coming here. */
static VkResult create_validated(const VkInstanceCreateInfo *info,
                                 const VkAllocationCallbacks *allocator, VkInstance *instance)
{
    static const char *const layer = "VK_LAYER_KHRONOS_validation";
    static const char *const extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    static const VkValidationFeatureEnableEXT synchronisation =
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    const VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = info->pNext,
        .enabledValidationFeatureCount = config.validate > 1,
        .pEnabledValidationFeatures = &synchronisation,
    };
    VkInstanceCreateInfo mine = *info;
    mine.pNext = &features;
    mine.enabledLayerCount = 1;
    mine.ppEnabledLayerNames = &layer;
    mine.enabledExtensionCount = 1;
    mine.ppEnabledExtensionNames = &extension;
    VkResult result = real.CreateInstance(&mine, allocator, instance);
    if (result != VK_SUCCESS)
        return result;
    load_real(*instance);
    const VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = message,
    };
    VkDebugUtilsMessengerEXT unused; /* as long as the instance */
    return real.CreateDebugUtilsMessengerEXT(*instance, &messenger, NULL, &unused);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_CreateInstance(const VkInstanceCreateInfo *info,
                                                     const VkAllocationCallbacks *allocator,
                                                     VkInstance *instance)
{
    VkResult result;
    if (fails("vkCreateInstance", &result))
        return result;
    if (config.validate)
        return create_validated(info, allocator, instance);
    result = real.CreateInstance(info, allocator, instance);
    if (result == VK_SUCCESS)
        load_real(*instance);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_EnumeratePhysicalDevices(VkInstance instance, uint32_t *count,
                                                               VkPhysicalDevice *devices)
{
    VkResult result;
    return fails("vkEnumeratePhysicalDevices", &result)
               ? result
               : real.EnumeratePhysicalDevices(instance, count, devices);
}

/* --- properties ------------------------------------------------------------------------------- */

static void change_properties(VkPhysicalDeviceProperties *properties)
{
    if (config.kind >= 0)
        properties->deviceType = (VkPhysicalDeviceType)config.kind;
    if (config.atom)
        properties->limits.nonCoherentAtomSize = config.atom;
    if (config.count)
        properties->limits.maxMemoryAllocationCount = (uint32_t)config.count;
}

VKAPI_ATTR void VKAPI_CALL
strict_GetPhysicalDeviceProperties(VkPhysicalDevice device, VkPhysicalDeviceProperties *properties)
{
    real.GetPhysicalDeviceProperties(device, properties);
    change_properties(properties);
}

static void tell_bus(VkPhysicalDevicePCIBusInfoPropertiesEXT *bus)
{
    if (config.pci[0])
        sscanf(config.pci, "%x:%x:%x.%x", &bus->pciDomain, &bus->pciBus, &bus->pciDevice,
               &bus->pciFunction);
}

VKAPI_ATTR void VKAPI_CALL strict_GetPhysicalDeviceProperties2(
    VkPhysicalDevice device, VkPhysicalDeviceProperties2 *properties)
{
    real.GetPhysicalDeviceProperties2(device, properties);
    change_properties(&properties->properties);
    VkBaseOutStructure *next = properties->pNext;
    for (; next; next = next->pNext) {
        if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES &&
            config.allocation)
            ((VkPhysicalDeviceVulkan11Properties *)next)->maxMemoryAllocationSize =
                config.allocation;
        if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT &&
            config.granularity)
            ((VkPhysicalDeviceExternalMemoryHostPropertiesEXT *)next)
                ->minImportedHostPointerAlignment = config.granularity;
        if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT)
            tell_bus((VkPhysicalDevicePCIBusInfoPropertiesEXT *)next);
    }
}

VKAPI_ATTR VkResult VKAPI_CALL strict_EnumerateDeviceExtensionProperties(
    VkPhysicalDevice device, const char *layer, uint32_t *count, VkExtensionProperties *extensions)
{
    VkResult result;
    if (fails("vkEnumerateDeviceExtensionProperties", &result))
        return result;
    uint32_t room = *count;
    result = real.EnumerateDeviceExtensionProperties(device, layer, count, extensions);
    if (!extensions) {
        *count += 3; /* for those that may be added */
        return result;
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i < *count; i++) {
        const char *name = extensions[i].extensionName;
        if (config.import == IMPORT_NONE &&
            strcmp(name, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME) == 0)
            continue;
        extensions[used++] = extensions[i];
    }
    if (config.budget && used < room)
        snprintf(extensions[used++].extensionName, VK_MAX_EXTENSION_NAME_SIZE, "%s",
                 VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    if (config.pci[0] && used < room)
        snprintf(extensions[used++].extensionName, VK_MAX_EXTENSION_NAME_SIZE, "%s",
                 VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
    if (config.dmabuf && used < room)
        snprintf(extensions[used++].extensionName, VK_MAX_EXTENSION_NAME_SIZE, "%s",
                 VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME);
    *count = used;
    return result;
}
