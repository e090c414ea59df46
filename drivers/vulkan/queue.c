#include "vk.h"

#include <stdio.h>
#include <string.h>

/* --- slots ------------------------------------------------------------------------------------ */

static void slot_destroy(struct vulkan *v, struct vulkan_slot *slot)
{
    if (slot->times)
        v->vk.DestroyQueryPool(v->device, slot->times, NULL);
    if (slot->pool)
        v->vk.DestroyCommandPool(v->device, slot->pool, NULL);
    ferry__vulkan_shares_finish(&slot->shares);
    ferry__free(slot);
}

static VkResult slot_init(struct vulkan *v, const struct vulkan_queue *queue,
                          struct vulkan_slot *slot, const char **out_call)
{
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
        .queueFamilyIndex = queue->family,
    };
    *out_call = "vkCreateCommandPool";
    VkResult result = v->vk.CreateCommandPool(v->device, &pool, NULL, &slot->pool);
    if (result != VK_SUCCESS)
        return result;
    const VkCommandBufferAllocateInfo commands = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = slot->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    *out_call = "vkAllocateCommandBuffers";
    result = v->vk.AllocateCommandBuffers(v->device, &commands, &slot->commands);
    if (result != VK_SUCCESS || !queue->timestamp_bits)
        return result;
    const VkQueryPoolCreateInfo times = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = 2,
    };
    /* Timestamps are for the metrics only: without a pool the time is not known. */
    if (v->vk.CreateQueryPool(v->device, &times, NULL, &slot->times) != VK_SUCCESS)
        slot->times = VK_NULL_HANDLE;
    return VK_SUCCESS;
}

static struct vulkan_slot *slot_free(struct vulkan_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct vulkan_slot *slot = queue->free;
    if (slot)
        queue->free = slot->next;
    pthread_mutex_unlock(&queue->lock);
    return slot;
}

static struct vulkan_slot *slot_take(struct vulkan *v, struct vulkan_queue *queue,
                                     enum ferry_status *out_status, char *why)
{
    struct vulkan_slot *slot = queue->next ? queue->next : slot_free(queue);
    queue->next = NULL;
    if (slot)
        return slot;
    slot = ferry__alloc(sizeof *slot);
    if (!slot) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a submission");
        *out_status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    const char *call;
    VkResult result = slot_init(v, queue, slot, &call);
    if (result == VK_SUCCESS)
        return slot;
    slot_destroy(v, slot);
    *out_status = ferry__vulkan_fail(v, result, call, why);
    return NULL;
}

static void slot_give(struct vulkan_queue *queue, struct vulkan_slot *slot)
{
    pthread_mutex_lock(&queue->lock);
    slot->next = queue->free;
    queue->free = slot;
    pthread_mutex_unlock(&queue->lock);
}

static enum ferry_status slot_begin(struct vulkan *v, struct vulkan_slot *slot, char *why)
{
    const VkCommandBufferBeginInfo begin = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    if (slot->begun)
        return FERRY_OK;
    VkResult result = v->vk.ResetCommandPool(v->device, slot->pool, 0);
    if (result != VK_SUCCESS)
        return ferry__vulkan_fail(v, result, "vkResetCommandPool", why);
    result = v->vk.BeginCommandBuffer(slot->commands, &begin);
    slot->begun = result == VK_SUCCESS;
    return slot->begun ? FERRY_OK : ferry__vulkan_fail(v, result, "vkBeginCommandBuffer", why);
}

/* Begins the next slot now: who waits for this submission has the time. */
static void slot_prepare(struct vulkan *v, struct vulkan_queue *queue)
{
    char why[FERRY__WHY_MAX];
    enum ferry_status status;
    struct vulkan_slot *slot = slot_take(v, queue, &status, why);
    if (!slot)
        return;
    slot->next = NULL;
    if (slot_begin(v, slot, why))
        slot_give(queue, slot);
    else
        queue->next = slot;
}

/* --- queues ----------------------------------------------------------------------------------- */

enum ferry_status ferry__vulkan_queue_init(struct vulkan *v, struct vulkan_queue *queue,
                                           const struct vulkan_queue_plan *plan, char *why)
{
    *queue = (struct vulkan_queue){
        .family = plan->family,
        .index = plan->index,
        .roles = plan->roles,
        /* The host resets the queries: a copy engine's queue cannot. */
        .timestamp_bits =
            v->query_reset ? v->physical.families[plan->family].timestampValidBits : 0,
    };
    queue->last = &queue->first;
    v->vk.GetDeviceQueue(v->device, plan->family, plan->index, &queue->handle);
    enum ferry_status status = ferry__vulkan_semaphore(v, &queue->event, why);
    if (status)
        return status;
    if (pthread_mutex_init(&queue->use, NULL)) {
        status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
        goto destroy_event;
    }
    if (pthread_mutex_init(&queue->lock, NULL)) {
        status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
        goto destroy_use;
    }
    return FERRY_OK;

destroy_use:
    pthread_mutex_destroy(&queue->use);
destroy_event:
    snprintf(why, FERRY__WHY_MAX, "no host memory for a queue's locks");
    v->vk.DestroySemaphore(v->device, queue->event, NULL);
    return status;
}

static void destroy_slots(struct vulkan *v, struct vulkan_slot *slot)
{
    while (slot) {
        struct vulkan_slot *next = slot->next;
        slot_destroy(v, slot);
        slot = next;
    }
}

void ferry__vulkan_queue_finish(struct vulkan *v, struct vulkan_queue *queue)
{
    destroy_slots(v, queue->first); /* of a lost device only: all else is done */
    destroy_slots(v, queue->free);
    destroy_slots(v, queue->next);
    v->vk.DestroySemaphore(v->device, queue->event, NULL);
    pthread_mutex_destroy(&queue->lock);
    pthread_mutex_destroy(&queue->use);
}

/* --- recording -------------------------------------------------------------------------------- */

#define TRANSFER VK_PIPELINE_STAGE_TRANSFER_BIT
#define COMPUTE VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT
#define HOST VK_PIPELINE_STAGE_HOST_BIT
#define COMMAND_WRITE VK_ACCESS_TRANSFER_WRITE_BIT
#define COMMAND_BOTH (VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT)
#define KERNEL_WRITE VK_ACCESS_SHADER_WRITE_BIT
#define KERNEL_BOTH (VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT)
#define HOST_BOTH (VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT)

struct barrier {
    VkPipelineStageFlags src_stages, dst_stages;
    VkAccessFlags src_access, dst_access;
};

/* Before the first command: the host and earlier submissions have written. Between: what barrier
 * asks for. After the last: the host will read, where something was written that it reaches. */
enum barrier_place { BEFORE_FIRST, BETWEEN, AFTER_LAST };

/* By whether the queue runs kernels. */
static const struct barrier barriers[2][3] = {
    {
        [BEFORE_FIRST] = {TRANSFER | HOST, TRANSFER, COMMAND_WRITE | VK_ACCESS_HOST_WRITE_BIT,
                          COMMAND_BOTH},
        [BETWEEN] = {TRANSFER, TRANSFER, COMMAND_WRITE, COMMAND_BOTH},
        [AFTER_LAST] = {TRANSFER, HOST, COMMAND_WRITE, HOST_BOTH},
    },
    {
        [BEFORE_FIRST] = {TRANSFER | COMPUTE | HOST, TRANSFER | COMPUTE,
                          COMMAND_WRITE | KERNEL_WRITE | VK_ACCESS_HOST_WRITE_BIT,
                          COMMAND_BOTH | KERNEL_BOTH},
        [BETWEEN] = {TRANSFER | COMPUTE, TRANSFER | COMPUTE, COMMAND_WRITE | KERNEL_WRITE,
                     COMMAND_BOTH | KERNEL_BOTH},
        [AFTER_LAST] = {TRANSFER | COMPUTE, HOST, COMMAND_WRITE | KERNEL_WRITE, HOST_BOTH},
    },
};

static void put_barrier(const struct vulkan *v, const struct vulkan_queue *queue,
                        VkCommandBuffer to, enum barrier_place place)
{
    const struct barrier *barrier = &barriers[queue->runs_kernels][place];
    const VkMemoryBarrier memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = barrier->src_access,
        .dstAccessMask = barrier->dst_access,
    };
    v->vk.CmdPipelineBarrier(to, barrier->src_stages, barrier->dst_stages, 0, 1, &memory, 0, NULL,
                             0, NULL);
}

static VkBuffer buffer_of(const struct ferry__memory *memory)
{
    return ((const struct vulkan_memory *)memory->native)->buffer;
}

static void put_fill(const struct vulkan *v, VkCommandBuffer to,
                     const struct ferry__command *command)
{
    uint32_t word;
    for (size_t i = 0; i < sizeof word; i++)
        ((unsigned char *)&word)[i] = command->pattern[i % command->pattern_size];
    v->vk.CmdFillBuffer(to, buffer_of(command->dst), command->dst->offset + command->dst_offset,
                        command->size, word);
}

/* Copies that follow each other without a barrier touch nothing of each other's, so those between
 * the same two buffers are regions of one command. Returns how many it took. */
static size_t put_copies(const struct vulkan *v, VkCommandBuffer to,
                         const struct ferry__command *commands, size_t count)
{
    VkBufferCopy regions[VULKAN__REGIONS_MAX];
    VkBuffer src = buffer_of(commands->src), dst = buffer_of(commands->dst);
    size_t taken = 0;
    while (taken < count && taken < VULKAN__REGIONS_MAX) {
        const struct ferry__command *command = &commands[taken];
        if (taken && (command->barrier || command->kind != FERRY__COPY ||
                      command->engine != FERRY__ENGINE_COPY || buffer_of(command->src) != src ||
                      buffer_of(command->dst) != dst))
            break;
        regions[taken++] = (VkBufferCopy){
            .srcOffset = command->src->offset + command->src_offset,
            .dstOffset = command->dst->offset + command->dst_offset,
            .size = command->size,
        };
    }
    v->vk.CmdCopyBuffer(to, src, dst, (uint32_t)taken, regions);
    return taken;
}

static void put_commands(const struct vulkan *v, const struct vulkan_queue *queue,
                         VkCommandBuffer to, const struct ferry__command *commands, size_t count)
{
    for (size_t i = 0; i < count;) {
        if (i && commands[i].barrier)
            put_barrier(v, queue, to, BETWEEN);
        if (commands[i].engine == FERRY__ENGINE_KERNEL)
            i += ferry__vulkan_kernel_put(v, to, &commands[i], count - i);
        else if (commands[i].kind == FERRY__COPY)
            i += put_copies(v, to, &commands[i], count - i);
        else
            put_fill(v, to, &commands[i++]);
    }
}

/* How much it is, and of what kind most of it is. */
static void weigh(struct vulkan_slot *slot, const struct ferry__submission_info *info)
{
    uint64_t of[FERRY__PACE_KINDS] = {0};
    slot->bytes = 0;
    slot->kind = 0;
    for (size_t i = 0; i < info->count; i++) {
        const unsigned kind = info->commands[i].kind;
        slot->bytes += info->commands[i].size;
        of[kind] += info->commands[i].size;
        slot->kind = of[kind] > of[slot->kind] ? kind : slot->kind;
    }
}

/* Others may have mapped the user's own buffers. */
static bool host_reads(const struct ferry__submission_info *info)
{
    for (size_t i = 0; i < info->count; i++) {
        const struct ferry__memory *dst = info->commands[i].dst;
        if (dst->host || ((const struct vulkan_memory *)dst->native)->borrowed)
            return true;
    }
    return false;
}

static bool is_timed(const struct vulkan *v, struct vulkan_queue *queue,
                     const struct vulkan_slot *slot)
{
    if (!slot->times || slot->bytes < v->timed_from)
        return false;
    pthread_mutex_lock(&queue->lock);
    const bool timed = ferry__pace_samples(&queue->pace, slot->kind, slot->bytes);
    pthread_mutex_unlock(&queue->lock);
    return timed;
}

static enum ferry_status record(struct vulkan *v, struct vulkan_queue *queue,
                                struct vulkan_slot *slot, const struct ferry__submission_info *info,
                                char *why)
{
    if (!ferry__vulkan_shares_find(&slot->shares, info->commands, info->count)) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for what is shared with others");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    const enum ferry_status status = slot_begin(v, slot, why);
    if (status)
        return status;
    slot->begun = false;
    weigh(slot, info);
    slot->timed = is_timed(v, queue, slot);
    if (slot->timed)
        v->vk.ResetQueryPool(v->device, slot->times, 0, 2);
    put_barrier(v, queue, slot->commands, BEFORE_FIRST);
    ferry__vulkan_shares_acquire(v, queue->family, slot->commands, &slot->shares);
    const VkPipelineStageFlagBits work =
        queue->runs_kernels ? VK_PIPELINE_STAGE_ALL_COMMANDS_BIT : TRANSFER;
    /* After the barrier, so that the time of earlier submissions does not count. */
    if (slot->timed)
        v->vk.CmdWriteTimestamp(slot->commands, work, slot->times, 0);
    put_commands(v, queue, slot->commands, info->commands, info->count);
    if (slot->timed)
        v->vk.CmdWriteTimestamp(slot->commands, work, slot->times, 1);
    if (host_reads(info))
        put_barrier(v, queue, slot->commands, AFTER_LAST);
    ferry__vulkan_shares_release(v, queue->family, slot->commands, &slot->shares);
    const VkResult result = v->vk.EndCommandBuffer(slot->commands);
    return result == VK_SUCCESS ? FERRY_OK
                                : ferry__vulkan_fail(v, result, "vkEndCommandBuffer", why);
}

/* --- submitting ------------------------------------------------------------------------------- */

enum { WAITS_HERE = 8 };

/* The waits in Vulkan's own shape; many of them need memory. */
struct waits {
    uint32_t count;
    VkSemaphore *semaphores;
    uint64_t *values;
    VkPipelineStageFlags *stages;
    VkSemaphore semaphores_here[WAITS_HERE];
    uint64_t values_here[WAITS_HERE];
    VkPipelineStageFlags stages_here[WAITS_HERE];
};

/* Reached already, or reached by the queue's own order. */
static bool needless(const struct vulkan *v, const struct vulkan_queue *queue,
                     const struct ferry_sync *wait)
{
    for (uint32_t i = 0; i < v->queue_count; i++) {
        const struct vulkan_queue *other = &v->queues[i];
        if (wait->event == vulkan_event(other->event))
            return other == queue || atomic_load(&other->retired) >= wait->value;
    }
    return wait->value == 0;
}

static bool waits_init(struct waits *waits, const struct vulkan *v,
                       const struct vulkan_queue *queue, const struct ferry_sync *from,
                       size_t count)
{
    waits->count = 0;
    waits->semaphores = waits->semaphores_here;
    waits->values = waits->values_here;
    waits->stages = waits->stages_here;
    if (count > WAITS_HERE) {
        size_t each = sizeof *waits->semaphores + sizeof *waits->values + sizeof *waits->stages;
        char *memory = ferry__alloc(count * each);
        if (!memory)
            return false;
        waits->values = (uint64_t *)memory;
        waits->semaphores = (VkSemaphore *)(waits->values + count);
        waits->stages = (VkPipelineStageFlags *)(waits->semaphores + count);
    }
    for (size_t i = 0; i < count; i++) {
        if (needless(v, queue, &from[i]))
            continue;
        waits->semaphores[waits->count] = ferry_vulkan_semaphore(from[i]);
        waits->values[waits->count] = from[i].value;
        waits->stages[waits->count++] = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    }
    return true;
}

static void waits_finish(struct waits *waits)
{
    if (waits->values != waits->values_here)
        ferry__free(waits->values);
}

static VkResult hand_over(struct vulkan *v, struct vulkan_queue *queue,
                          const struct vulkan_slot *slot, const struct waits *waits)
{
    const VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = waits->count,
        .pWaitSemaphoreValues = waits->values,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &slot->value,
    };
    const VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &values,
        .waitSemaphoreCount = waits->count,
        .pWaitSemaphores = waits->semaphores,
        .pWaitDstStageMask = waits->stages,
        .commandBufferCount = 1,
        .pCommandBuffers = &slot->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &queue->event,
    };
    ferry__vulkan_queue_lock(v, queue);
    VkResult result = v->vk.QueueSubmit(queue->handle, 1, &submit, VK_NULL_HANDLE);
    ferry__vulkan_queue_unlock(v, queue);
    return result;
}

static enum ferry_status submit_slot(struct vulkan *v, struct vulkan_queue *queue,
                                     struct vulkan_slot *slot,
                                     const struct ferry__submission_info *info, char *why)
{
    enum ferry_status status = record(v, queue, slot, info, why);
    if (status)
        return status;
    struct waits waits;
    if (!waits_init(&waits, v, queue, info->waits, info->wait_count)) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for %zu waits", info->wait_count);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    slot->value = info->value;
    slot->result = info->result;
    slot->next = NULL;
    VkResult result = hand_over(v, queue, slot, &waits);
    waits_finish(&waits);
    if (result != VK_SUCCESS)
        return ferry__vulkan_fail(v, result, "vkQueueSubmit", why);
    /* The device may have ended it already: nobody is told so before it is in the list. */
    const uint64_t now = ferry__now_ns();
    pthread_mutex_lock(&queue->lock);
    const bool idle = !queue->first;
    slot->alone_ns = idle ? now : 0;
    slot->expected_ns = ferry__pace_expect(&queue->pace, slot->kind, slot->bytes, now, idle);
    *queue->last = slot;
    queue->last = &slot->next;
    queue->submitted = info->value;
    pthread_mutex_unlock(&queue->lock);
    return FERRY_OK;
}

enum ferry_status ferry__vulkan_submit(void *state, const struct ferry__submission_info *info,
                                       char *why)
{
    struct vulkan *v = state;
    if (atomic_load(&v->lost)) {
        snprintf(why, FERRY__WHY_MAX, "the device was lost earlier");
        return FERRY_ERROR_DEVICE_LOST;
    }
    struct vulkan_queue *queue = &v->queues[info->queue];
    enum ferry_status status = FERRY_ERROR_INTERNAL;
    struct vulkan_slot *slot = slot_take(v, queue, &status, why);
    if (!slot)
        return status;
    status = submit_slot(v, queue, slot, info, why);
    if (status)
        slot_give(queue, slot);
    else
        slot_prepare(v, queue);
    return status;
}

void ferry__vulkan_queue_lock(struct vulkan *v, struct vulkan_queue *queue)
{
    if (v->user.lock_queue)
        v->user.lock_queue(v->user.user, queue->family, queue->index);
    else
        pthread_mutex_lock(&queue->use);
}

void ferry__vulkan_queue_unlock(struct vulkan *v, struct vulkan_queue *queue)
{
    if (v->user.unlock_queue)
        v->user.unlock_queue(v->user.user, queue->family, queue->index);
    else
        pthread_mutex_unlock(&queue->use);
}

/* --- ending ----------------------------------------------------------------------------------- */

static uint64_t device_ns(struct vulkan *v, const struct vulkan_queue *queue,
                          const struct vulkan_slot *slot)
{
    uint64_t ticks[2];
    if (!slot->timed || v->vk.GetQueryPoolResults(v->device, slot->times, 0, 2, sizeof ticks, ticks,
                                                  sizeof *ticks, VK_QUERY_RESULT_64_BIT))
        return 0;
    uint64_t mask =
        queue->timestamp_bits < 64 ? ((uint64_t)1 << queue->timestamp_bits) - 1 : UINT64_MAX;
    return (uint64_t)((double)((ticks[1] - ticks[0]) & mask) * v->physical.timestamp_period);
}

/* The queue is locked. Without a time of the device's, that until somebody saw the end will do: the
 * fastest counts. Where there is one it counts: who sleeps until the end that is expected sees it
 * no sooner, and would learn what was expected. */
static void end_slot(struct vulkan *v, struct vulkan_queue *queue, struct vulkan_slot *slot,
                     bool reached)
{
    struct ferry__result *result = slot->result;
    result->status = reached ? FERRY_OK : FERRY_ERROR_DEVICE_LOST;
    result->device_ns = reached ? device_ns(v, queue, slot) : 0;
    snprintf(result->why, sizeof result->why, "%s",
             reached ? "" : "the Vulkan device was lost before this ended");
    slot->result = NULL;
    if (result->device_ns || slot->alone_ns)
        ferry__pace_learn(&queue->pace, slot->kind, slot->bytes,
                          result->device_ns ? result->device_ns : ferry__now_ns() - slot->alone_ns);
}

uint64_t ferry__vulkan_queue_expected(struct vulkan_queue *queue, uint64_t value)
{
    pthread_mutex_lock(&queue->lock);
    const struct vulkan_slot *slot = queue->first;
    while (slot && slot->value < value)
        slot = slot->next;
    const uint64_t expected = slot ? slot->expected_ns : 0;
    pthread_mutex_unlock(&queue->lock);
    return expected;
}

uint64_t ferry__vulkan_queue_retire(struct vulkan *v, struct vulkan_queue *queue)
{
    uint64_t reached;
    bool known = ferry__vulkan_counter(v, queue->event, &reached);
    bool lost = atomic_load(&v->lost);
    uint64_t retired = atomic_load_explicit(&queue->retired, memory_order_acquire);
    if (!lost && reached <= retired)
        return retired;
    pthread_mutex_lock(&queue->lock);
    /* A lost device may report any value: what was not seen to end before the loss has not. */
    if (lost || !known)
        reached = atomic_load(&queue->retired);
    while (queue->first && (lost || queue->first->value <= reached)) {
        struct vulkan_slot *slot = queue->first;
        end_slot(v, queue, slot, slot->value <= reached);
        atomic_store_explicit(&queue->retired, slot->value, memory_order_release);
        queue->first = slot->next;
        if (!queue->first)
            queue->last = &queue->first;
        slot->next = queue->free;
        queue->free = slot;
    }
    retired = atomic_load(&queue->retired);
    pthread_mutex_unlock(&queue->lock);
    return retired;
}
