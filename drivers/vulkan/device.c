#include "vk.h"

#include <stdio.h>
#include <string.h>

enum { SOFTWARE_TIMED_FROM = 8 << 20 };

/* On an H200 8 GiB are made in 34 ms, and in 12 where the host does not reach them: that small
 * transfers are faster shall not cost more than 50. */
static const uint64_t MAPPED_MAX = UINT64_C(16) << 30;

/* --- loss ------------------------------------------------------------------------------------- */

void ferry__vulkan_lose(struct vulkan *v)
{
    if (!atomic_exchange(&v->lost, true))
        ferry__vulkan_wake(v);
}

enum ferry_status ferry__vulkan_fail(struct vulkan *v, VkResult result, const char *call, char *why)
{
    enum ferry_status status = ferry__vulkan_result(result, call, why);
    if (status == FERRY_ERROR_DEVICE_LOST)
        ferry__vulkan_lose(v);
    return status;
}

enum ferry_status ferry__vulkan_status(void *state)
{
    struct vulkan *v = state;
    return atomic_load(&v->lost) ? FERRY_ERROR_DEVICE_LOST : FERRY_OK;
}

/* --- making the device ------------------------------------------------------------------------ */

static enum ferry_status choose(struct vulkan *v, const struct vulkan_instance *instance,
                                unsigned index, char *why)
{
    size_t count;
    struct vulkan_physical *all;
    const enum ferry_status status = ferry__vulkan_physical_all(instance, &all, &count, why);
    if (status)
        return status;
    if (index < count)
        v->physical = all[index];
    else
        snprintf(why, FERRY__WHY_MAX, "there is no Vulkan device %u: there are %zu", index, count);
    ferry__free(all);
    return index < count ? FERRY_OK : FERRY_ERROR_NO_DEVICE;
}

/* One entry for each family; returns how many. */
static uint32_t queue_infos(const struct vulkan_queue_plan *plan, uint32_t count,
                            VkDeviceQueueCreateInfo *out)
{
    static const float priorities[VULKAN__QUEUES_MAX] = {1.0f, 1.0f, 1.0f};
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = 0;
        while (at < used && out[at].queueFamilyIndex != plan[i].family)
            at++;
        if (at == used)
            out[used++] = (VkDeviceQueueCreateInfo){
                .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                .queueFamilyIndex = plan[i].family,
                .pQueuePriorities = priorities,
            };
        out[at].queueCount++;
    }
    return used;
}

static enum ferry_status make_device(struct vulkan *v, const struct vulkan_queue_plan *plan,
                                     uint32_t plan_count, char *why)
{
    VkDeviceQueueCreateInfo queues[VULKAN__QUEUES_MAX];
    const char *extensions[4];
    uint32_t extension_count = 0;
    if (v->physical.import_granularity)
        extensions[extension_count++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    if (v->physical.budget)
        extensions[extension_count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (v->physical.exports | v->physical.imports)
        extensions[extension_count++] = VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME;
    if (v->physical.dma_bufs)
        extensions[extension_count++] = VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME;
    v->address = v->physical.address;
    v->query_reset = v->physical.query_reset;
    v->byte_storage = v->physical.byte_storage;
    VkPhysicalDeviceVulkan12Features features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .timelineSemaphore = VK_TRUE,
        .bufferDeviceAddress = v->address,
        .hostQueryReset = v->query_reset,
        .storageBuffer8BitAccess = v->byte_storage,
    };
    const VkDeviceCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features,
        .queueCreateInfoCount = queue_infos(plan, plan_count, queues),
        .pQueueCreateInfos = queues,
        .enabledExtensionCount = extension_count,
        .ppEnabledExtensionNames = extensions,
    };
    VkDevice device;
    VkResult result = v->vk.CreateDevice(v->physical.handle, &create, NULL, &device);
    if (result != VK_SUCCESS)
        return ferry__vulkan_result(result, "vkCreateDevice", why);
    enum ferry_status status = ferry__vulkan_load_device(&v->vk, device, why);
    if (!status)
        v->device = device;
    else if (v->vk.DestroyDevice)
        v->vk.DestroyDevice(device, NULL);
    return status;
}

static void add_family(struct vulkan *v, uint32_t family)
{
    for (uint32_t i = 0; i < v->family_count; i++)
        if (v->families[i] == family)
            return;
    if (v->family_count < sizeof v->families / sizeof *v->families)
        v->families[v->family_count++] = family;
}

static enum ferry_status make_queues(struct vulkan *v, const struct vulkan_queue_plan *plan,
                                     uint32_t count, char *why)
{
    for (uint32_t i = 0; i < count; i++) {
        add_family(v, plan[i].family);
        enum ferry_status status =
            ferry__vulkan_queue_init(v, &v->queues[v->queue_count], &plan[i], why);
        if (status)
            return status;
        v->queue_count++;
    }
    return FERRY_OK;
}

static enum ferry_status open_own(struct vulkan *v, const struct ferry__open_params *params,
                                  char *why)
{
    struct vulkan_instance instance;
    enum ferry_status status = ferry__vulkan_instance(&instance, why);
    if (status)
        return status;
    v->vk = instance.vk;
    v->instance = instance.handle;
    status = choose(v, &instance, params->index, why);
    if (status)
        return status;
    struct vulkan_queue_plan plan[VULKAN__QUEUES_MAX];
    uint32_t count = ferry__vulkan_plan_queues(&v->physical, params->queues, plan);
    status = make_device(v, plan, count, why);
    return !status ? make_queues(v, plan, count, why) : status;
}

/* --- the user's own device -------------------------------------------------------------------- */

struct enabled {
    bool timeline, address, query_reset, byte_storage;
};

/* The features live in one structure of version 1.2 or in one of their own each. */
static struct enabled read_enabled(const VkPhysicalDeviceFeatures2 *features)
{
    struct enabled on = {0};
    const VkBaseInStructure *next = (const VkBaseInStructure *)features;
    for (; next; next = next->pNext) {
        if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES) {
            const VkPhysicalDeviceVulkan12Features *all = (const void *)next;
            on.timeline |= all->timelineSemaphore != 0;
            on.address |= all->bufferDeviceAddress != 0;
            on.query_reset |= all->hostQueryReset != 0;
            on.byte_storage |= all->storageBuffer8BitAccess != 0;
        } else if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES) {
            const VkPhysicalDeviceTimelineSemaphoreFeatures *one = (const void *)next;
            on.timeline |= one->timelineSemaphore != 0;
        } else if (next->sType ==
                   VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES) {
            const VkPhysicalDeviceBufferDeviceAddressFeatures *one = (const void *)next;
            on.address |= one->bufferDeviceAddress != 0;
        } else if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_HOST_QUERY_RESET_FEATURES) {
            const VkPhysicalDeviceHostQueryResetFeatures *one = (const void *)next;
            on.query_reset |= one->hostQueryReset != 0;
        } else if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES) {
            const VkPhysicalDevice8BitStorageFeatures *one = (const void *)next;
            on.byte_storage |= one->storageBuffer8BitAccess != 0;
        }
    }
    return on;
}

static bool user_has(const struct ferry_vulkan_device *user, const char *name)
{
    for (uint32_t i = 0; i < user->extension_count; i++)
        if (strcmp(user->extensions[i], name) == 0)
            return true;
    return false;
}

/* What was made without an extension does not have what it brings. */
static void forget_extensions(const struct ferry_vulkan_device *user,
                              struct vulkan_physical *physical)
{
    if (!user_has(user, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME))
        physical->import_granularity = 0;
    if (!user_has(user, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME))
        physical->budget = false;
    if (!user_has(user, VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME))
        physical->exports = physical->imports = 0;
    if (user_has(user, VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME))
        return;
    physical->exports &= ~(VkExternalMemoryHandleTypeFlags)VULKAN__DMA_BUF;
    physical->imports &= ~(VkExternalMemoryHandleTypeFlags)VULKAN__DMA_BUF;
}

static enum ferry_status check_physical(const struct ferry_vulkan_device *user,
                                        const struct vulkan_physical *physical, char *why)
{
    if (physical->api_version < VK_API_VERSION_1_2) {
        snprintf(why, FERRY__WHY_MAX, "the wrapped device is of Vulkan %u.%u; 1.2 is needed",
                 VK_API_VERSION_MAJOR(physical->api_version),
                 VK_API_VERSION_MINOR(physical->api_version));
        return FERRY_ERROR_UNSUPPORTED;
    }
    if (user->queue_family >= physical->family_count ||
        user->queue_index >= physical->families[user->queue_family].queueCount) {
        snprintf(why, FERRY__WHY_MAX, "the wrapped device has no queue %u of family %u",
                 user->queue_index, user->queue_family);
        return FERRY_ERROR_INVALID_ARGUMENT;
    }
    if (!(physical->families[user->queue_family].queueFlags &
          (VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT))) {
        snprintf(why, FERRY__WHY_MAX, "queue family %u has neither compute nor graphics",
                 user->queue_family);
        return FERRY_ERROR_UNSUPPORTED;
    }
    return FERRY_OK;
}

enum ferry_status ferry__vulkan_read_user(const struct ferry_vulkan_device *user,
                                          struct vulkan_functions *out_vk,
                                          struct vulkan_physical *out_physical, char *why)
{
    if (!user->instance || !user->physical_device || !user->device ||
        !user->lock_queue != !user->unlock_queue ||
        user->sharing_family_count >= VULKAN__SHARING_MAX) {
        snprintf(why, FERRY__WHY_MAX,
                 "the wrapped device lacks its instance, physical device, device, or one of "
                 "lock_queue and unlock_queue, or shares with over %d families",
                 VULKAN__SHARING_MAX - 1);
        return FERRY_ERROR_INVALID_ARGUMENT;
    }
    if (!read_enabled(user->features).timeline) {
        snprintf(why, FERRY__WHY_MAX, "the wrapped device was made without timelineSemaphore");
        return FERRY_ERROR_UNSUPPORTED;
    }
    enum ferry_status status = FERRY_OK;
    out_vk->GetInstanceProcAddr = user->get_instance_proc_addr;
    if (!out_vk->GetInstanceProcAddr)
        status = ferry__vulkan_load(out_vk, why);
    if (!status)
        status = ferry__vulkan_load_instance(out_vk, user->instance, why);
    if (!status)
        status = ferry__vulkan_load_device(out_vk, user->device, why);
    if (status)
        return status;
    status = ferry__vulkan_physical_read(out_vk, user->physical_device, user->api_version,
                                         out_physical, why);
    if (status)
        return status;
    forget_extensions(user, out_physical);
    return check_physical(user, out_physical, why);
}

static enum ferry_status open_wrapped(struct vulkan *v, const struct ferry_vulkan_device *user,
                                      char *why)
{
    v->borrowed = true;
    enum ferry_status status = ferry__vulkan_read_user(user, &v->vk, &v->physical, why);
    if (status)
        return status;
    const struct enabled on = read_enabled(user->features);
    v->user = (struct ferry_vulkan_device){
        .lock_queue = user->lock_queue, .unlock_queue = user->unlock_queue, .user = user->user};
    v->instance = user->instance;
    v->device = user->device;
    v->address = on.address;
    v->query_reset = on.query_reset;
    v->byte_storage = on.byte_storage;
    for (uint32_t i = 0; i < user->sharing_family_count; i++)
        add_family(v, user->sharing_families[i]);
    const struct vulkan_queue_plan plan = {
        .family = user->queue_family,
        .index = user->queue_index,
        .roles = FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD | FERRY__ROLE_COPY,
    };
    return make_queues(v, &plan, 1, why);
}

/* --- kernels ---------------------------------------------------------------------------------- */

static const char *kernels_refusal(const struct vulkan *v)
{
    const VkQueueFlags flags = v->physical.families[v->queues[0].family].queueFlags;
    if (!v->address)
        return "the device has no bufferDeviceAddress";
    if (!v->byte_storage)
        return "the device has no storageBuffer8BitAccess";
    if (!(flags & VK_QUEUE_COMPUTE_BIT))
        return "the queue for copies has no compute";
    return v->physical.kernel_groups ? NULL : "the device's groups are too small";
}

/* On a GPU the copy command may be a copy engine's, which is slower than the memory. A software
 * device copies by memcpy. Without kernels all is done by commands, so they may fail, but for those
 * who asked for them. */
static enum ferry_status make_kernels(struct vulkan *v, char *why)
{
    enum { DISCRETE_COPY_FROM = 256 << 10 };
    const enum vulkan_engine engine = ferry__vulkan_engine();
    const enum ferry_device_kind kind = v->physical.kind;
    if (engine == VULKAN_ENGINE_COPY ||
        (engine == VULKAN_ENGINE_AUTO && kind == FERRY_DEVICE_SOFTWARE))
        return FERRY_OK;
    if (engine == VULKAN_ENGINE_KERNEL)
        v->kernel_copy_from = 1;
    else if (kind == FERRY_DEVICE_DISCRETE)
        v->kernel_copy_from = DISCRETE_COPY_FROM;
    const char *refusal = kernels_refusal(v);
    if (refusal)
        snprintf(why, FERRY__WHY_MAX, "no kernels: %s", refusal);
    enum ferry_status status =
        refusal ? FERRY_ERROR_UNSUPPORTED : ferry__vulkan_kernels_make(v, why);
    v->queues[0].runs_kernels = !status;
    if (!status || status == FERRY_ERROR_DEVICE_LOST || engine == VULKAN_ENGINE_KERNEL)
        return status;
    ferry__log(FERRY_LOG_INFO, "vulkan: %s", why);
    return FERRY_OK;
}

/* --- open and close --------------------------------------------------------------------------- */

static void describe_limits(const struct vulkan *v, struct ferry__limits *out)
{
    const struct vulkan_physical *physical = &v->physical;
    *out = (struct ferry__limits){
        .copy_alignment = 1,
        .fill_alignment = 4,
        .fill_pattern = 4,
        .max_copy = VULKAN__MAX_COPY,
        .max_allocation = ferry__vulkan_buffer_max(physical),
        .total_memory = ferry__vulkan_heap_total(physical),
        .import_granularity =
            v->vk.GetMemoryHostPointerPropertiesEXT ? physical->import_granularity : 0,
        /* A GPU's driver locks the pages; a CPU's takes the pointer. */
        .import_cheap = physical->kind == FERRY_DEVICE_SOFTWARE,
        .has_kernel = v->kernel_layout != VK_NULL_HANDLE,
        .kernel_copy_from = v->kernel_copy_from,
        .blocks_max = v->kernel_layout ? VULKAN__BLOCKS_MAX : 0,
        .block_size_max = VULKAN__BLOCK_SIZE_MAX,
        .kernel_decided = ferry__vulkan_engine() != VULKAN_ENGINE_AUTO,
        .atom = physical->atom,
        .has_events = true,
        .queue_count = v->queue_count,
    };
    memcpy(out->pci, physical->pci, sizeof out->pci);
    for (uint32_t i = 0; i < v->queue_count; i++) {
        const struct vulkan_queue *queue = &v->queues[i];
        out->queues[i].event = vulkan_event(queue->event);
        out->queues[i].roles = queue->roles | (queue->runs_kernels ? FERRY__ROLE_KERNEL : 0u);
    }
}

static enum ferry_status open_any(struct vulkan *v, const struct ferry__open_params *params,
                                  char *why)
{
    enum ferry_status status =
        params->wrapped ? open_wrapped(v, params->wrapped, why) : open_own(v, params, why);
    if (!status)
        status = ferry__vulkan_semaphore(v, &v->wake.semaphore, why);
    return !status ? make_kernels(v, why) : status;
}

enum ferry_status ferry__vulkan_open(const struct ferry__open_params *params, void **out_state,
                                     struct ferry__limits *out_limits, char *why)
{
    struct vulkan *v = ferry__alloc(sizeof *v);
    if (!v) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for the device");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    v->map_private = params->map_private;
    v->mapped_max = MAPPED_MAX;
    enum ferry_status status = ferry__vulkan_wake_init(v, why);
    if (status) {
        ferry__free(v);
        return status;
    }
    status = open_any(v, params, why);
    if (status) {
        ferry__vulkan_close(v);
        return status;
    }
    /* Software devices wait for any of several semaphores by asking in a loop, and a timestamp
     * costs them more (50 us, Mesa 22.3) than all else of a small submission. */
    v->any_blocks = v->physical.kind != FERRY_DEVICE_SOFTWARE;
    v->timed_from = v->physical.kind == FERRY_DEVICE_SOFTWARE ? SOFTWARE_TIMED_FROM : 0;
    describe_limits(v, out_limits);
    if (params->wrapped) /* not before: a device that could not be wrapped was not borrowed */
        v->user.release = ((const struct ferry_vulkan_device *)params->wrapped)->release;
    *out_state = v;
    return FERRY_OK;
}

void ferry__vulkan_close(void *state)
{
    struct vulkan *v = state;
    for (uint32_t i = 0; i < v->queue_count; i++)
        ferry__vulkan_queue_finish(v, &v->queues[i]);
    ferry__vulkan_wake_finish(v);
    ferry__vulkan_kernels_free(v);
    if (!v->borrowed && v->device)
        v->vk.DestroyDevice(v->device, NULL);
    if (v->user.release)
        v->user.release(v->user.user);
    ferry__free(v);
}

const struct ferry__driver ferry__vulkan_driver = {
    .name = "vulkan",
    .list = ferry__vulkan_list,
    .open = ferry__vulkan_open,
    .close = ferry__vulkan_close,
    .status = ferry__vulkan_status,
    .memory_alloc = ferry__vulkan_memory_alloc,
    .memory_free = ferry__vulkan_memory_free,
    .host_import = ferry__vulkan_host_import,
    .sharing = &ferry__vulkan_sharing,
    .address = ferry__vulkan_kernel_address,
    .flush = ferry__vulkan_flush,
    .invalidate = ferry__vulkan_invalidate,
    .submit = ferry__vulkan_submit,
    .completed = ferry__vulkan_completed,
    .wait_any = ferry__vulkan_wait_any,
    .wake = ferry__vulkan_wake,
    .event_create = ferry__vulkan_event_create,
    .event_destroy = ferry__vulkan_event_destroy,
    .event_signal = ferry__vulkan_event_signal,
    .memory_available = ferry__vulkan_memory_available,
};
