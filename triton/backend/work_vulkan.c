#include "backend.h"

#include <ferry/vulkan.h>
#include <stdlib.h>

/*
 * External work on Vulkan, as a backend with a kernel does it: a command buffer of its own on the
 * queue that Ferry uses, which waits for the semaphores of begin and signals the one it gave. Here
 * the commands are copies; a dispatch takes their place.
 */

#define FUNCTIONS(X)          \
    X(GetDeviceQueue)         \
    X(CreateCommandPool)      \
    X(DestroyCommandPool)     \
    X(ResetCommandPool)       \
    X(AllocateCommandBuffers) \
    X(BeginCommandBuffer)     \
    X(EndCommandBuffer)       \
    X(CmdPipelineBarrier)     \
    X(CmdCopyBuffer)          \
    X(QueueSubmit)

enum { WAITS_MAX = sizeof((struct ferry_external *)0)->waits / sizeof(struct ferry_sync) };

/* What a slot has. One batch at a time uses it. */
struct native {
    struct ferry_vulkan_device of;
    VkQueue queue;
    VkCommandPool pool;
    VkCommandBuffer commands;
#define X(name) PFN_vk##name name;
    FUNCTIONS(X)
#undef X
};

bool vulkan_work_is_there(void)
{
    return true;
}

static bool find_functions(struct native *native)
{
    PFN_vkGetDeviceProcAddr get = (PFN_vkGetDeviceProcAddr)native->of.get_instance_proc_addr(
        native->of.instance, "vkGetDeviceProcAddr");
    if (!get)
        return false;
#define X(name) native->name = (PFN_vk##name)get(native->of.device, "vk" #name);
    FUNCTIONS(X)
#undef X
#define X(name) native->name &&
    return FUNCTIONS(X) true;
#undef X
}

static bool make_commands(struct native *native)
{
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = native->of.queue_family,
    };
    if (native->CreateCommandPool(native->of.device, &pool, NULL, &native->pool))
        return false;
    const VkCommandBufferAllocateInfo commands = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = native->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    if (!native->AllocateCommandBuffers(native->of.device, &commands, &native->commands))
        return true;
    native->DestroyCommandPool(native->of.device, native->pool, NULL);
    return false;
}

static enum ferry_status open_native(struct slot *slot)
{
    if (slot->native)
        return FERRY_OK;
    struct native *native = calloc(1, sizeof *native);
    if (!native)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    enum ferry_status status = ferry_vulkan_device_get(slot->instance->device, &native->of);
    if (!status && !find_functions(native))
        status = FERRY_ERROR_UNSUPPORTED;
    if (!status && !make_commands(native))
        status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (status) {
        free(native);
        return status;
    }
    native->GetDeviceQueue(native->of.device, native->of.queue_family, native->of.queue_index,
                           &native->queue);
    slot->native = native;
    return FERRY_OK;
}

void vulkan_work_finish(struct slot *slot)
{
    struct native *native = slot->native;
    if (!native)
        return;
    native->DestroyCommandPool(native->of.device, native->pool, NULL);
    free(native);
    slot->native = NULL;
}

static enum ferry_status record_copies(struct slot *slot, const struct native *native)
{
    struct ferry_vulkan_buffer from, to;
    enum ferry_status status = ferry_vulkan_buffer_get(slot->out.buffer, &to);
    for (size_t i = 0; i < slot->instance->model->input_count && !status; i++) {
        const struct work_copy copy = work_copy_of(slot, i);
        if (!copy.size)
            continue;
        status = ferry_vulkan_buffer_get(copy.from, &from);
        const VkBufferCopy region = {from.offset + copy.from_offset, to.offset + copy.to_offset,
                                     copy.size};
        if (!status)
            native->CmdCopyBuffer(native->commands, from.buffer, to.buffer, 1, &region);
    }
    return status;
}

static void barrier(const struct native *native, VkPipelineStageFlags to, VkAccessFlags access)
{
    const VkMemoryBarrier memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = access,
    };
    native->CmdPipelineBarrier(native->commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, to, 0, 1,
                               &memory, 0, NULL, 0, NULL);
}

/* Before the copies a barrier for what is done already, and so is not among the waits; after them
 * one for the host, which may reach the memory. */
static enum ferry_status record(struct slot *slot, const struct native *native)
{
    const VkCommandBufferBeginInfo begin = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    if (native->ResetCommandPool(native->of.device, native->pool, 0) ||
        native->BeginCommandBuffer(native->commands, &begin))
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    barrier(native, VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
    const enum ferry_status status = record_copies(slot, native);
    barrier(native, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
    if (native->EndCommandBuffer(native->commands))
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    return status;
}

static enum ferry_status submit(const struct slot *slot, const struct native *native)
{
    const struct ferry_external *work = &slot->work;
    VkSemaphore waits[WAITS_MAX];
    uint64_t values[WAITS_MAX];
    VkPipelineStageFlags stages[WAITS_MAX];
    for (size_t i = 0; i < work->wait_count; i++) {
        waits[i] = ferry_vulkan_semaphore(work->waits[i]);
        values[i] = work->waits[i].value;
        stages[i] = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    }
    const VkSemaphore signal = ferry_vulkan_semaphore(work->signal);
    const VkTimelineSemaphoreSubmitInfo timeline = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = (uint32_t)work->wait_count,
        .pWaitSemaphoreValues = values,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &work->signal.value,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &timeline,
        .waitSemaphoreCount = (uint32_t)work->wait_count,
        .pWaitSemaphores = waits,
        .pWaitDstStageMask = stages,
        .commandBufferCount = 1,
        .pCommandBuffers = &native->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &signal,
    };
    const struct ferry_vulkan_device *of = &native->of;
    if (of->lock_queue)
        of->lock_queue(of->user, of->queue_family, of->queue_index);
    const VkResult result = native->QueueSubmit(native->queue, 1, &info, VK_NULL_HANDLE);
    if (of->unlock_queue)
        of->unlock_queue(of->user, of->queue_family, of->queue_index);
    if (!result)
        return FERRY_OK;
    return result == VK_ERROR_DEVICE_LOST ? FERRY_ERROR_DEVICE_LOST : FERRY_ERROR_EXECUTION_FAILED;
}

/* The buffers that the work reads, and the one that it writes; how many. On Vulkan no input is left
 * in place: each has a buffer. */
static size_t list_uses(const struct slot *slot, struct ferry_use *uses)
{
    size_t count = 0;
    uses[count++] = (struct ferry_use){.buffer = slot->out.buffer, .access = FERRY_ACCESS_WRITE};
    for (size_t i = 0; i < slot->instance->model->input_count; i++) {
        const struct work_copy copy = work_copy_of(slot, i);
        size_t same = 0;
        while (same < count && uses[same].buffer != copy.from)
            same++;
        if (same == count)
            uses[count++] = (struct ferry_use){.buffer = copy.from, .access = FERRY_ACCESS_READ};
    }
    return count;
}

enum ferry_status vulkan_work_submit(struct slot *slot)
{
    ferry_device *device = slot->instance->device;
    enum ferry_status status = open_native(slot);
    if (status)
        return status;
    struct ferry_use *uses = calloc(slot->instance->model->input_count + 1, sizeof *uses);
    if (!uses)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    const size_t count = list_uses(slot, uses);
    status = ferry_external_begin(device, uses, count, &slot->work);
    free(uses);
    if (status)
        return status;
    status = record(slot, slot->native);
    if (!status)
        status = submit(slot, slot->native);
    const enum ferry_status ended = ferry_external_end(device, slot->work.ticket, status);
    return status ? status : ended;
}
