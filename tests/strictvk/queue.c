/* Families and queues that are not there, submissions held back, semaphores, loss. */
#include "strict.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct queue *queues[QUEUES_MAX]; /* guarded by lock, like all below */
static uint64_t submissions, random_state;
static _Atomic bool lost;

bool device_lost(void)
{
    return lost;
}

/* A lost device touches nothing any more: what it was given already ends here. */
void lose_device(void)
{
    lost = true;
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        if (queues[i])
            real.QueueWaitIdle(queues[i]->handle);
}

void queue_reset(void)
{
    submissions = 0;
    random_state = 1;
    lost = false;
}

/* --- families --------------------------------------------------------------------------------- */

static _Atomic uint32_t computing = 1u << REAL_FAMILY; /* families, as bits */

bool family_computes(uint32_t family)
{
    return family < 32 && (computing >> family & 1);
}

static void read_families(VkPhysicalDevice device, uint32_t *count,
                          VkQueueFamilyProperties *families)
{
    real.GetPhysicalDeviceQueueFamilyProperties(device, count, families);
    for (uint32_t i = 0; families && i < *count && i < 32; i++)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT)
            computing |= 1u << i;
}

/* Whatever the families, all run on the one queue of the first. */
VKAPI_ATTR void VKAPI_CALL strict_GetPhysicalDeviceQueueFamilyProperties(
    VkPhysicalDevice device, uint32_t *count, VkQueueFamilyProperties *families)
{
    if (!config.queues && !config.transfer) {
        read_families(device, count, families);
        return;
    }
    uint32_t there = config.transfer ? 2 : 1, one = 1;
    if (!families) {
        *count = there;
        return;
    }
    VkQueueFamilyProperties first;
    real.GetPhysicalDeviceQueueFamilyProperties(device, &one, &first);
    if (config.queues)
        first.queueCount = (uint32_t)config.queues;
    *count = *count < there ? *count : there;
    if (*count > 0)
        families[0] = first;
    if (*count > 1) {
        families[1] = first;
        families[1].queueFlags = VK_QUEUE_TRANSFER_BIT;
        families[1].queueCount = (uint32_t)config.transfer;
        families[1].timestampValidBits = 36;
    }
}

VKAPI_ATTR VkResult VKAPI_CALL strict_CreateDevice(VkPhysicalDevice physical,
                                                   const VkDeviceCreateInfo *info,
                                                   const VkAllocationCallbacks *allocator,
                                                   VkDevice *device)
{
    VkResult result;
    if (fails("vkCreateDevice", &result))
        return result;
    static const float priority = 1.0f;
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = REAL_FAMILY,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    VkDeviceCreateInfo mine = *info;
    mine.queueCreateInfoCount = 1;
    mine.pQueueCreateInfos = &queue;
    const char *names[16];
    uint32_t used = 0;
    bool import = !config.reads; /* which takes imports, whether the driver wants them or not */
    for (uint32_t i = 0; i < info->enabledExtensionCount && used < 15; i++) {
        const char *name = info->ppEnabledExtensionNames[i];
        if ((!config.budget || strcmp(name, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME)) &&
            (!config.dmabuf || strcmp(name, VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME)))
            names[used++] = name;
        import |= strcmp(name, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME) == 0;
    }
    if (!import)
        names[used++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    mine.enabledExtensionCount = used;
    mine.ppEnabledExtensionNames = names;
    return real.CreateDevice(physical, &mine, allocator, device);
}

static void free_held(struct held *held)
{
    free(held->waits);
    free(held->signals);
    free(held->wait_values);
    free(held->signal_values);
    free(held->commands);
    free(held);
}

VKAPI_ATTR void VKAPI_CALL strict_DestroyDevice(VkDevice device,
                                                const VkAllocationCallbacks *allocator)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < QUEUES_MAX; i++) {
        struct queue *queue = queues[i];
        if (!queue || queue->device != device)
            continue;
        if (queue->first && !lost)
            report(STRICTVK_IN_USE, "vkDestroyDevice: queue %u has work", i);
        while (queue->first) {
            struct held *next = queue->first->next;
            free_held(queue->first);
            queue->first = next;
        }
        order_queue_gone(queue->id);
        free(queue);
        queues[i] = NULL;
    }
    pthread_mutex_unlock(&lock);
    real.DestroyDevice(device, allocator);
}

VKAPI_ATTR void VKAPI_CALL strict_GetDeviceQueue(VkDevice device, uint32_t family, uint32_t index,
                                                 VkQueue *out)
{
    pthread_mutex_lock(&lock);
    unsigned free_id = QUEUES_MAX;
    *out = NULL;
    for (unsigned i = 0; i < QUEUES_MAX; i++) {
        struct queue *queue = queues[i];
        if (!queue)
            free_id = free_id < i ? free_id : i;
        else if (queue->device == device && queue->family == family && queue->index == index)
            *out = (VkQueue)queue;
    }
    if (!*out && free_id < QUEUES_MAX) {
        struct queue *queue = calloc(1, sizeof *queue);
        queue->device = device;
        queue->family = family;
        queue->index = index;
        queue->id = free_id;
        queue->last = &queue->first;
        real.GetDeviceQueue(device, REAL_FAMILY, 0, &queue->handle);
        queues[free_id] = queue;
        *out = (VkQueue)queue;
    }
    if (!*out)
        report(STRICTVK_OTHER, "more than %d queues", QUEUES_MAX);
    pthread_mutex_unlock(&lock);
}

bool queue_holds(VkBuffer buffer)
{
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        for (struct held *held = queues[i] ? queues[i]->first : NULL; held; held = held->next)
            for (uint32_t k = 0; k < held->command_count; k++)
                if (!buffer || order_uses(held->commands[k], buffer))
                    return true;
    return false;
}

/* --- submitting ------------------------------------------------------------------------------- */

static const VkTimelineSemaphoreSubmitInfo *values_of(const VkSubmitInfo *info)
{
    const VkBaseInStructure *next = info->pNext;
    while (next && next->sType != VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO)
        next = next->pNext;
    return (const VkTimelineSemaphoreSubmitInfo *)next;
}

static void *copy_of(const void *from, size_t size)
{
    void *copy = malloc(size ? size : 1);
    if (size && from)
        memcpy(copy, from, size);
    return copy;
}

static void hold(struct queue *queue, const VkSubmitInfo *info, VkFence fence)
{
    const VkTimelineSemaphoreSubmitInfo *values = values_of(info);
    struct held *held = calloc(1, sizeof *held);
    held->wait_count = info->waitSemaphoreCount;
    held->signal_count = info->signalSemaphoreCount;
    held->command_count = info->commandBufferCount;
    held->waits = copy_of(info->pWaitSemaphores, held->wait_count * sizeof *held->waits);
    held->signals = copy_of(info->pSignalSemaphores, held->signal_count * sizeof *held->signals);
    held->commands = copy_of(info->pCommandBuffers, held->command_count * sizeof *held->commands);
    held->wait_values = copy_of(values ? values->pWaitSemaphoreValues : NULL,
                                held->wait_count * sizeof *held->wait_values);
    held->signal_values = copy_of(values ? values->pSignalSemaphoreValues : NULL,
                                  held->signal_count * sizeof *held->signal_values);
    held->fence = fence;
    order_host_clock(held->host_clock);
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    held->looks = config.delay ? (random_state >> 33) % (config.delay + 1) : 0;
    *queue->last = held;
    queue->last = &held->next;
}

static void hand_over(struct queue *queue, const struct held *held)
{
    order_run(queue, held);
    const VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .signalSemaphoreValueCount = held->signal_count,
        .pSignalSemaphoreValues = held->signal_values,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &values,
        .commandBufferCount = held->command_count,
        .pCommandBuffers = held->commands,
        .signalSemaphoreCount = held->signal_count,
        .pSignalSemaphores = held->signals,
    };
    VkResult result = real.QueueSubmit(queue->handle, 1, &info, held->fence);
    if (result != VK_SUCCESS)
        report(STRICTVK_OTHER, "the real vkQueueSubmit gave %d", result);
}

static bool ready(const struct queue *queue, struct held *held)
{
    for (uint32_t i = 0; i < held->wait_count; i++) {
        uint64_t value = 0;
        real.GetSemaphoreCounterValue(queue->device, held->waits[i], &value);
        if (value < held->wait_values[i])
            return false;
    }
    if (held->looks == 0)
        return true;
    held->looks--;
    return false;
}

void pump(void)
{
    for (unsigned i = 0; i < QUEUES_MAX && !lost; i++) {
        struct queue *queue = queues[i];
        while (queue && queue->first && ready(queue, queue->first)) {
            struct held *held = queue->first;
            hand_over(queue, held);
            queue->first = held->next;
            if (!queue->first)
                queue->last = &queue->first;
            free_held(held);
        }
    }
}

static VkResult submit(struct queue *queue, uint32_t count, const VkSubmitInfo *infos,
                       VkFence fence)
{
    submissions++;
    watch_again();
    if (config.lose && submissions == config.lose)
        lose_device();
    if (lost)
        return VK_ERROR_DEVICE_LOST;
    for (uint32_t i = 0; i < count; i++)
        hold(queue, &infos[i], i + 1 == count ? fence : VK_NULL_HANDLE);
    if (config.drop && submissions == config.drop)
        lose_device();
    pump();
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_QueueSubmit(VkQueue handle, uint32_t count,
                                                  const VkSubmitInfo *infos, VkFence fence)
{
    VkResult result;
    if (fails("vkQueueSubmit", &result))
        return result;
    pthread_mutex_lock(&lock);
    result = submit((struct queue *)handle, count, infos, fence);
    pthread_mutex_unlock(&lock);
    return result;
}

/* --- idle ------------------------------------------------------------------------------------- */

static void nap(void)
{
    const struct timespec time = {.tv_nsec = 20000};
    nanosleep(&time, NULL);
}

static bool holds(VkDevice device, const struct queue *one)
{
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        if (queues[i] && queues[i]->first && (!one || queues[i] == one) &&
            (!device || queues[i]->device == device))
            return true;
    return false;
}

static void drain(VkDevice device, const struct queue *one)
{
    pthread_mutex_lock(&lock);
    for (pump(); holds(device, one) && !lost; pump()) {
        pthread_mutex_unlock(&lock);
        nap();
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_DeviceWaitIdle(VkDevice device)
{
    drain(device, NULL);
    return real.DeviceWaitIdle(device);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_QueueWaitIdle(VkQueue handle)
{
    struct queue *queue = (struct queue *)handle;
    drain(NULL, queue);
    return real.QueueWaitIdle(queue->handle);
}

/* --- semaphores ------------------------------------------------------------------------------- */

struct semaphore {
    VkSemaphore handle;
    VkDevice device;
    struct semaphore *next;
};

static struct semaphore *semaphores; /* guarded by lock */

VKAPI_ATTR VkResult VKAPI_CALL strict_CreateSemaphore(VkDevice device,
                                                      const VkSemaphoreCreateInfo *info,
                                                      const VkAllocationCallbacks *allocator,
                                                      VkSemaphore *semaphore)
{
    VkResult result;
    if (fails("vkCreateSemaphore", &result))
        return result;
    result = real.CreateSemaphore(device, info, allocator, semaphore);
    if (result != VK_SUCCESS)
        return result;
    struct semaphore *s = calloc(1, sizeof *s);
    *s = (struct semaphore){.handle = *semaphore, .device = device};
    pthread_mutex_lock(&lock);
    s->next = semaphores;
    semaphores = s;
    pthread_mutex_unlock(&lock);
    return result;
}

VKAPI_ATTR void VKAPI_CALL strict_DestroySemaphore(VkDevice device, VkSemaphore semaphore,
                                                   const VkAllocationCallbacks *allocator)
{
    pthread_mutex_lock(&lock);
    struct semaphore **at = &semaphores;
    while (*at && (*at)->handle != semaphore)
        at = &(*at)->next;
    struct semaphore *s = *at;
    if (s)
        *at = s->next;
    pthread_mutex_unlock(&lock);
    free(s);
    real.DestroySemaphore(device, semaphore, allocator);
}

static bool find_semaphore(uint64_t event, struct semaphore *out)
{
    pthread_mutex_lock(&lock);
    struct semaphore *s = semaphores;
    while (s && (uint64_t)(uintptr_t)s->handle != event)
        s = s->next;
    if (s)
        *out = *s;
    pthread_mutex_unlock(&lock);
    return s != NULL;
}

static VkResult look(VkDevice device, VkSemaphore semaphore, uint64_t *value)
{
    if (lost)
        return VK_ERROR_DEVICE_LOST;
    watch_again();
    VkResult result = real.GetSemaphoreCounterValue(device, semaphore, value);
    if (result == VK_SUCCESS)
        order_observed(semaphore, *value);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_GetSemaphoreCounterValue(VkDevice device,
                                                               VkSemaphore semaphore,
                                                               uint64_t *value)
{
    VkResult result;
    if (fails("vkGetSemaphoreCounterValue", &result))
        return result;
    pthread_mutex_lock(&lock);
    pump();
    result = look(device, semaphore, value);
    pthread_mutex_unlock(&lock);
    return result;
}

static VkResult look_at_all(VkDevice device, const VkSemaphoreWaitInfo *info)
{
    uint32_t reached = 0;
    for (uint32_t i = 0; i < info->semaphoreCount; i++) {
        uint64_t value;
        VkResult result = look(device, info->pSemaphores[i], &value);
        if (result != VK_SUCCESS)
            return result;
        reached += value >= info->pValues[i];
    }
    bool any = info->flags & VK_SEMAPHORE_WAIT_ANY_BIT;
    return (any ? reached > 0 : reached == info->semaphoreCount) ? VK_SUCCESS : VK_TIMEOUT;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_WaitSemaphores(VkDevice device,
                                                     const VkSemaphoreWaitInfo *info,
                                                     uint64_t timeout_ns)
{
    VkResult result;
    if (fails("vkWaitSemaphores", &result))
        return result;
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        pthread_mutex_lock(&lock);
        pump();
        result = look_at_all(device, info);
        pthread_mutex_unlock(&lock);
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t passed =
            (now.tv_sec - start.tv_sec) * INT64_C(1000000000) + (now.tv_nsec - start.tv_nsec);
        if (result != VK_TIMEOUT || (uint64_t)passed >= timeout_ns)
            return result;
        nap();
    }
}

VKAPI_ATTR VkResult VKAPI_CALL strict_SignalSemaphore(VkDevice device,
                                                      const VkSemaphoreSignalInfo *info)
{
    VkResult result;
    if (fails("vkSignalSemaphore", &result))
        return result;
    pthread_mutex_lock(&lock);
    uint64_t value = 0;
    result = look(device, info->semaphore, &value);
    if (result == VK_SUCCESS && value >= info->value)
        report(STRICTVK_VALUE, "signalled to %llu, at %llu", (unsigned long long)info->value,
               (unsigned long long)value);
    if (result == VK_SUCCESS) {
        order_host_signal(info->semaphore, info->value);
        result = real.SignalSemaphore(device, info);
    }
    pump();
    pthread_mutex_unlock(&lock);
    return result;
}

/* --- kernels ---------------------------------------------------------------------------------- */

VKAPI_ATTR VkResult VKAPI_CALL strict_CreateShaderModule(VkDevice device,
                                                         const VkShaderModuleCreateInfo *info,
                                                         const VkAllocationCallbacks *allocator,
                                                         VkShaderModule *module)
{
    VkResult result;
    return fails("vkCreateShaderModule", &result)
               ? result
               : real.CreateShaderModule(device, info, allocator, module);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_CreatePipelineLayout(VkDevice device,
                                                           const VkPipelineLayoutCreateInfo *info,
                                                           const VkAllocationCallbacks *allocator,
                                                           VkPipelineLayout *layout)
{
    VkResult result;
    return fails("vkCreatePipelineLayout", &result)
               ? result
               : real.CreatePipelineLayout(device, info, allocator, layout);
}

VKAPI_ATTR VkResult VKAPI_CALL
strict_CreateComputePipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                              const VkComputePipelineCreateInfo *infos,
                              const VkAllocationCallbacks *allocator, VkPipeline *pipelines)
{
    VkResult result;
    if (!fails("vkCreateComputePipelines", &result))
        return real.CreateComputePipelines(device, cache, count, infos, allocator, pipelines);
    memset(pipelines, 0, count * sizeof *pipelines);
    return result;
}

/* --- queries ---------------------------------------------------------------------------------- */

VKAPI_ATTR VkResult VKAPI_CALL strict_CreateQueryPool(VkDevice device,
                                                      const VkQueryPoolCreateInfo *info,
                                                      const VkAllocationCallbacks *allocator,
                                                      VkQueryPool *pool)
{
    VkResult result;
    return fails("vkCreateQueryPool", &result)
               ? result
               : real.CreateQueryPool(device, info, allocator, pool);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_GetQueryPoolResults(VkDevice device, VkQueryPool pool,
                                                          uint32_t first, uint32_t count,
                                                          size_t size, void *data,
                                                          VkDeviceSize stride,
                                                          VkQueryResultFlags flags)
{
    VkResult result;
    return fails("vkGetQueryPoolResults", &result)
               ? result
               : real.GetQueryPoolResults(device, pool, first, count, size, data, stride, flags);
}

/* --- the user's own Vulkan -------------------------------------------------------------------- */

EXPORT bool strictvk_event_signal(uint64_t event, uint64_t value)
{
    struct semaphore semaphore;
    if (!find_semaphore(event, &semaphore))
        return false;
    const VkSemaphoreSignalInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO,
        .semaphore = semaphore.handle,
        .value = value,
    };
    return strict_SignalSemaphore(semaphore.device, &info) == VK_SUCCESS;
}

EXPORT bool strictvk_event_wait(uint64_t event, uint64_t value)
{
    struct semaphore semaphore;
    if (!find_semaphore(event, &semaphore))
        return false;
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &semaphore.handle,
        .pValues = &value,
    };
    return strict_WaitSemaphores(semaphore.device, &info, UINT64_MAX) == VK_SUCCESS;
}
