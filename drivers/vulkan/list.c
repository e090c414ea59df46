#include "vk.h"

#include <stdio.h>
#include <string.h>

static enum ferry_device_kind kind_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return FERRY_DEVICE_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return FERRY_DEVICE_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return FERRY_DEVICE_SOFTWARE;
    default: return FERRY_DEVICE_VIRTUAL;
    }
}

/* The order of the list. */
static int rank_of(enum ferry_device_kind kind)
{
    static const int ranks[] = {
        [FERRY_DEVICE_DISCRETE] = 0, [FERRY_DEVICE_INTEGRATED] = 1, [FERRY_DEVICE_VIRTUAL] = 2,
        [FERRY_DEVICE_SOFTWARE] = 3, [FERRY_DEVICE_HOST] = 4,
    };
    return ranks[kind];
}

/* --- reading ---------------------------------------------------------------------------------- */

static enum ferry_status no_memory(char *why)
{
    snprintf(why, FERRY__WHY_MAX, "no host memory for the list of devices");
    return FERRY_ERROR_OUT_OF_HOST_MEMORY;
}

/* OK for any result but a want of memory. */
static enum ferry_status memory_status(VkResult result, const char *call, char *why)
{
    const bool memory =
        result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return memory ? ferry__vulkan_result(result, call, why) : FERRY_OK;
}

static bool has_extension(const VkExtensionProperties *extensions, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(extensions[i].extensionName, name) == 0)
            return true;
    return false;
}

/* Can a buffer of this use be made from imported host memory? */
static bool imports_buffers(const struct vulkan_functions *vk, VkPhysicalDevice handle,
                            VkBufferUsageFlags usage)
{
    const VkPhysicalDeviceExternalBufferInfo info = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
        .usage = usage,
        .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
    };
    VkExternalBufferProperties properties = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES,
    };
    vk->GetPhysicalDeviceExternalBufferProperties(handle, &info, &properties);
    return properties.externalMemoryProperties.externalMemoryFeatures &
           VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
}

struct has {
    bool import, fd;
};

/* All of them are optional: but for want of memory, a device without its list has none. */
static enum ferry_status read_extensions(const struct vulkan_functions *vk,
                                         struct vulkan_physical *out, struct has *has, char *why)
{
    const char *call = "vkEnumerateDeviceExtensionProperties";
    *has = (struct has){0};
    uint32_t count = 0;
    VkResult result = vk->EnumerateDeviceExtensionProperties(out->handle, NULL, &count, NULL);
    if (result != VK_SUCCESS)
        return memory_status(result, call, why);
    VkExtensionProperties *extensions = ferry__alloc(count * sizeof *extensions);
    if (!extensions)
        return no_memory(why);
    result = vk->EnumerateDeviceExtensionProperties(out->handle, NULL, &count, extensions);
    if (result == VK_SUCCESS || result == VK_INCOMPLETE) {
        out->budget = has_extension(extensions, count, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
        has->import = has_extension(extensions, count, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
        has->fd = has_extension(extensions, count, VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME);
        out->dma_bufs = has->fd && has_extension(extensions, count,
                                                 VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME);
        out->bus = has_extension(extensions, count, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
    }
    ferry__free(extensions);
    return memory_status(result, call, why);
}

static void read_properties(const struct vulkan_functions *vk, struct vulkan_physical *out,
                            bool import)
{
    VkPhysicalDeviceMaintenance4Properties sizes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES,
    };
    VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT,
    };
    VkPhysicalDeviceVulkan11Properties core11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
    };
    VkPhysicalDeviceVulkan12Properties core12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES,
        .pNext = &core11,
    };
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .pNext = &core12,
    };
    if (import) {
        host.pNext = properties.pNext;
        properties.pNext = &host;
    }
    if (out->api_version >= VK_API_VERSION_1_3) {
        sizes.pNext = properties.pNext;
        properties.pNext = &sizes;
    }
    vk->GetPhysicalDeviceProperties2(out->handle, &properties);

    const VkPhysicalDeviceLimits *limits = &properties.properties.limits;
    out->kind = kind_of(properties.properties.deviceType);
    snprintf(out->name, sizeof out->name, "%s", properties.properties.deviceName);
    snprintf(out->driver, sizeof out->driver, "%s %s", core12.driverName, core12.driverInfo);
    memcpy(out->uuid, core11.deviceUUID, sizeof out->uuid);
    out->max_memory_allocation = core11.maxMemoryAllocationSize;
    out->max_buffer = sizes.maxBufferSize ? sizes.maxBufferSize : UINT64_MAX;
    out->max_allocation_count = limits->maxMemoryAllocationCount;
    out->atom = limits->nonCoherentAtomSize ? (uint32_t)limits->nonCoherentAtomSize : 1;
    out->timestamp_period = limits->timestampPeriod;
    out->kernel_groups = limits->maxComputeWorkGroupInvocations >= VULKAN__KERNEL_GROUP &&
                         limits->maxComputeWorkGroupSize[0] >= VULKAN__KERNEL_GROUP;
    const VkBufferUsageFlags copies =
        VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    if (import && imports_buffers(vk, out->handle, copies))
        out->import_granularity = host.minImportedHostPointerAlignment;
    out->import_addresses =
        out->import_granularity && imports_buffers(vk, out->handle, copies | VULKAN__BY_ADDRESS);
}

/* Where it is on the bus: host memory near it is found by that. */
static void read_bus(const struct vulkan_functions *vk, struct vulkan_physical *out)
{
    VkPhysicalDevicePCIBusInfoPropertiesEXT bus = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT,
    };
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .pNext = &bus,
    };
    if (!out->bus)
        return;
    vk->GetPhysicalDeviceProperties2(out->handle, &properties);
    snprintf(out->pci, sizeof out->pci, "%04x:%02x:%02x.%x", bus.pciDomain & 0xffff,
             bus.pciBus & 0xff, bus.pciDevice & 0x1f, bus.pciFunction & 7);
}

static void read_features(const struct vulkan_functions *vk, struct vulkan_physical *out)
{
    VkPhysicalDeviceVulkan12Features core12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
    };
    VkPhysicalDeviceFeatures2 features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .pNext = &core12,
    };
    vk->GetPhysicalDeviceFeatures2(out->handle, &features);
    out->timeline = core12.timelineSemaphore;
    out->address = core12.bufferDeviceAddress;
    out->query_reset = core12.hostQueryReset;
    out->byte_storage = core12.storageBuffer8BitAccess;
}

static void read_memory(const struct vulkan_functions *vk, struct vulkan_physical *out)
{
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
    };
    vk->GetPhysicalDeviceMemoryProperties2(out->handle, &memory);
    out->memory = memory.memoryProperties;
    out->unified = out->kind != FERRY_DEVICE_DISCRETE;
    for (uint32_t i = 0; i < out->memory.memoryHeapCount; i++)
        if (!(out->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT))
            out->unified = false;
}

enum ferry_status ferry__vulkan_physical_read(const struct vulkan_functions *vk,
                                              VkPhysicalDevice handle, uint32_t instance_version,
                                              struct vulkan_physical *out_physical, char *why)
{
    *out_physical = (struct vulkan_physical){.handle = handle};
    VkPhysicalDeviceProperties basic;
    vk->GetPhysicalDeviceProperties(handle, &basic);
    snprintf(out_physical->name, sizeof out_physical->name, "%s", basic.deviceName);
    out_physical->api_version =
        basic.apiVersion < instance_version ? basic.apiVersion : instance_version;
    out_physical->kind = kind_of(basic.deviceType);
    if (out_physical->api_version < VK_API_VERSION_1_2)
        return FERRY_OK; /* the structures of 1.2 mean nothing to it; it is refused */
    struct has has;
    const enum ferry_status status = read_extensions(vk, out_physical, &has, why);
    if (status)
        return status;
    read_properties(vk, out_physical, has.import);
    read_bus(vk, out_physical);
    read_features(vk, out_physical);
    if (has.fd)
        ferry__vulkan_share_read(vk, out_physical);
    read_memory(vk, out_physical);
    out_physical->family_count = VULKAN__FAMILIES_MAX;
    vk->GetPhysicalDeviceQueueFamilyProperties(handle, &out_physical->family_count,
                                               out_physical->families);
    return FERRY_OK;
}

/* --- what follows from it --------------------------------------------------------------------- */

uint64_t ferry__vulkan_heap_largest(const struct vulkan_physical *physical)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < physical->memory.memoryHeapCount; i++) {
        const VkMemoryHeap *heap = &physical->memory.memoryHeaps[i];
        if ((heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) && heap->size > largest)
            largest = heap->size;
    }
    return largest;
}

uint64_t ferry__vulkan_heap_total(const struct vulkan_physical *physical)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < physical->memory.memoryHeapCount; i++)
        if (physical->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            total += physical->memory.memoryHeaps[i].size;
    return total;
}

uint64_t ferry__vulkan_buffer_max(const struct vulkan_physical *physical)
{
    uint64_t heap = ferry__vulkan_heap_largest(physical);
    uint64_t most = heap < physical->max_buffer ? heap : physical->max_buffer;
    return most & ~(uint64_t)(FERRY_BUFFER_ALIGNMENT - 1);
}

static const VkQueueFlags graphics = VK_QUEUE_GRAPHICS_BIT, compute = VK_QUEUE_COMPUTE_BIT;

static bool find_family(const struct vulkan_physical *physical, VkQueueFlags any, VkQueueFlags none,
                        uint32_t *out_family)
{
    for (uint32_t i = 0; i < physical->family_count; i++) {
        const VkQueueFamilyProperties *family = &physical->families[i];
        if (family->queueCount && (family->queueFlags & any) && !(family->queueFlags & none)) {
            *out_family = i;
            return true;
        }
    }
    return false;
}

uint32_t ferry__vulkan_plan_queues(const struct vulkan_physical *physical, uint32_t limit,
                                   struct vulkan_queue_plan *out_plan)
{
    enum { UP = FERRY__ROLE_UPLOAD, DOWN = FERRY__ROLE_DOWNLOAD, COPY = FERRY__ROLE_COPY };
    uint32_t main;
    /* A family without graphics starts work sooner: on an NVIDIA H100 by 4 us. */
    if (!find_family(physical, compute, graphics, &main) &&
        !find_family(physical, compute | graphics, 0, &main))
        return 0;
    /* Copy engines do nothing else. Video families can copy too, but are there for video. */
    uint32_t engine;
    const VkQueueFlags video = VK_QUEUE_VIDEO_DECODE_BIT_KHR | (VkQueueFlags)0x40 /* encode */;
    bool engines = limit != 1 && find_family(physical, VK_QUEUE_TRANSFER_BIT,
                                             graphics | compute | video, &engine);
    uint32_t count = 0;
    out_plan[count++] =
        (struct vulkan_queue_plan){.family = main, .roles = engines ? COPY : UP | DOWN | COPY};
    if (!engines)
        return count;
    bool two = limit != 2 && physical->families[engine].queueCount > 1;
    out_plan[count++] = (struct vulkan_queue_plan){.family = engine, .roles = two ? UP : UP | DOWN};
    if (two)
        out_plan[count++] = (struct vulkan_queue_plan){.family = engine, .index = 1, .roles = DOWN};
    return count;
}

const char *ferry__vulkan_physical_refusal(const struct vulkan_physical *physical)
{
    if (physical->api_version < VK_API_VERSION_1_2)
        return "Vulkan 1.2 is needed";
    if (!physical->timeline)
        return "it has no timeline semaphores";
    struct vulkan_queue_plan plan[VULKAN__QUEUES_MAX];
    if (!ferry__vulkan_plan_queues(physical, 0, plan))
        return "it has no queue for compute or graphics";
    return NULL;
}

/* --- the list --------------------------------------------------------------------------------- */

/* Stable: devices of one kind stay in the loader's order. */
static void sort(struct vulkan_physical *all, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && rank_of(all[j].kind) < rank_of(all[j - 1].kind); j--) {
            struct vulkan_physical swap = all[j];
            all[j] = all[j - 1];
            all[j - 1] = swap;
        }
}

static enum ferry_status read_all(const struct vulkan_instance *instance,
                                  const VkPhysicalDevice *handles, uint32_t found,
                                  struct vulkan_physical *all, size_t *out_count, char *why)
{
    size_t count = 0;
    for (uint32_t i = 0; i < found; i++) {
        const enum ferry_status status = ferry__vulkan_physical_read(
            &instance->vk, handles[i], instance->version, &all[count], why);
        if (status)
            return status;
        const char *refusal = ferry__vulkan_physical_refusal(&all[count]);
        if (refusal)
            snprintf(why, FERRY__WHY_MAX, "%.80s: %s", all[count].name, refusal);
        else
            count++;
    }
    sort(all, count);
    *out_count = count;
    return count ? FERRY_OK : FERRY_ERROR_NO_DEVICE;
}

enum ferry_status ferry__vulkan_physical_all(const struct vulkan_instance *instance,
                                             struct vulkan_physical **out_all, size_t *out_count,
                                             char *why)
{
    const char *call = "vkEnumeratePhysicalDevices";
    uint32_t found = 0;
    VkResult result = instance->vk.EnumeratePhysicalDevices(instance->handle, &found, NULL);
    if (result != VK_SUCCESS)
        return ferry__vulkan_result(result, call, why);
    if (!found) {
        snprintf(why, FERRY__WHY_MAX, "the Vulkan loader found no devices");
        return FERRY_ERROR_NO_DEVICE;
    }
    VkPhysicalDevice *handles = ferry__alloc(found * sizeof *handles);
    struct vulkan_physical *all = ferry__alloc(found * sizeof *all);
    enum ferry_status status = handles && all ? FERRY_OK : no_memory(why);
    if (!status) {
        result = instance->vk.EnumeratePhysicalDevices(instance->handle, &found, handles);
        if (result != VK_SUCCESS && result != VK_INCOMPLETE)
            status = ferry__vulkan_result(result, call, why);
    }
    if (!status)
        status = read_all(instance, handles, found, all, out_count, why);
    ferry__free(handles);
    if (status)
        ferry__free(all);
    else
        *out_all = all;
    return status;
}

void ferry__vulkan_describe(const struct vulkan_physical *physical,
                            struct ferry_device_info *out_info)
{
    *out_info = (struct ferry_device_info){
        .driver = "vulkan",
        .kind = physical->kind,
        .unified = physical->unified,
        .total_memory = ferry__vulkan_heap_total(physical),
        .max_buffer_size = ferry__vulkan_buffer_max(physical),
        .max_allocation = physical->max_memory_allocation,
        .import_granularity = physical->import_granularity,
    };
    snprintf(out_info->description, sizeof out_info->description, "%.70s, %.50s", physical->name,
             physical->driver);
    memcpy(out_info->uuid, physical->uuid, sizeof out_info->uuid);
    struct vulkan_queue_plan plan[VULKAN__QUEUES_MAX];
    out_info->queues = ferry__vulkan_plan_queues(physical, 0, plan);
}

enum ferry_status ferry__vulkan_list(struct ferry_device_info *infos, size_t capacity,
                                     size_t *out_count, char *why)
{
    struct vulkan_instance instance;
    struct vulkan_physical *all;
    enum ferry_status status = ferry__vulkan_instance(&instance, why);
    if (!status)
        status = ferry__vulkan_physical_all(&instance, &all, out_count, why);
    if (status)
        return status;
    for (size_t i = 0; i < *out_count && i < capacity; i++)
        ferry__vulkan_describe(&all[i], &infos[i]);
    ferry__free(all);
    return FERRY_OK;
}
