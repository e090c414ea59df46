/* Which command comes after which, as far as barriers, semaphores and the host's waits say. */
#include "strict.h"

#include "driver.h"
#include "drivers/vulkan/kernel.h"

#include <stdlib.h>
#include <string.h>

/* --- recording -------------------------------------------------------------------------------- */

struct commands {
    VkCommandBuffer handle;
    VkCommandPool pool;
    struct recorded *list;
    size_t count, capacity;
    uint32_t calls;
    struct vulkan_kernel_arguments arguments; /* of the next dispatch */
    struct vulkan_blocks_arguments blocks;    /* or, where that has a count, of a list */
    struct commands *next;
};

/* What the device has been given to read or write, and has not been seen to be done with. */
struct access {
    VkBuffer buffer;
    uint64_t begin, end;
    uint64_t imported; /* buffer_imported */
    bool write, kernel;
    unsigned queue; /* its id */
    uint64_t submission;
    bool fenced[2]; /* a barrier of its queue is behind it: for commands, for kernels */
    bool to_host;   /* a barrier to the host is */
};

/* A value that some submission raises a semaphore to, and what comes before that. */
struct signal {
    VkSemaphore semaphore;
    uint64_t value, clock[QUEUES_MAX];
    bool observed; /* by the host */
    struct signal *next;
};

static struct commands *all_commands; /* guarded by lock, like all below */
static struct access *accesses;
static size_t access_count, access_capacity;
static struct signal *signals;
static uint64_t host_clock[QUEUES_MAX]; /* what the host has seen to be done */

static void take_maximum(uint64_t *clock, const uint64_t *other)
{
    for (unsigned i = 0; i < QUEUES_MAX; i++)
        if (other[i] > clock[i])
            clock[i] = other[i];
}

void order_reset(void)
{
    access_count = 0;
    while (signals) {
        struct signal *next = signals->next;
        free(signals);
        signals = next;
    }
    memset(host_clock, 0, sizeof host_clock);
}

static struct commands *find_commands(VkCommandBuffer handle)
{
    struct commands *c = all_commands;
    while (c && c->handle != handle)
        c = c->next;
    return c;
}

static struct recorded *add(struct commands *c)
{
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 64;
        c->list = realloc(c->list, c->capacity * sizeof *c->list);
    }
    struct recorded *r = &c->list[c->count++];
    *r = (struct recorded){.call = c->calls};
    return r;
}

VKAPI_ATTR VkResult VKAPI_CALL strict_CreateCommandPool(VkDevice device,
                                                        const VkCommandPoolCreateInfo *info,
                                                        const VkAllocationCallbacks *allocator,
                                                        VkCommandPool *pool)
{
    VkResult result;
    if (fails("vkCreateCommandPool", &result))
        return result;
    VkCommandPoolCreateInfo mine = *info;
    mine.queueFamilyIndex = REAL_FAMILY;
    return real.CreateCommandPool(device, &mine, allocator, pool);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_AllocateCommandBuffers(
    VkDevice device, const VkCommandBufferAllocateInfo *info, VkCommandBuffer *handles)
{
    VkResult result;
    if (fails("vkAllocateCommandBuffers", &result))
        return result;
    result = real.AllocateCommandBuffers(device, info, handles);
    if (result != VK_SUCCESS)
        return result;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < info->commandBufferCount; i++) {
        struct commands *c = calloc(1, sizeof *c);
        c->handle = handles[i];
        c->pool = info->commandPool;
        c->next = all_commands;
        all_commands = c;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

VKAPI_ATTR void VKAPI_CALL strict_DestroyCommandPool(VkDevice device, VkCommandPool pool,
                                                     const VkAllocationCallbacks *allocator)
{
    pthread_mutex_lock(&lock);
    for (struct commands **at = &all_commands; *at;) {
        struct commands *c = *at;
        if (c->pool != pool) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        free(c->list);
        free(c);
    }
    pthread_mutex_unlock(&lock);
    real.DestroyCommandPool(device, pool, allocator);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_ResetCommandPool(VkDevice device, VkCommandPool pool,
                                                       VkCommandPoolResetFlags flags)
{
    VkResult result;
    return fails("vkResetCommandPool", &result) ? result
                                                : real.ResetCommandPool(device, pool, flags);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_BeginCommandBuffer(VkCommandBuffer handle,
                                                         const VkCommandBufferBeginInfo *info)
{
    VkResult result;
    if (fails("vkBeginCommandBuffer", &result))
        return result;
    pthread_mutex_lock(&lock);
    struct commands *c = find_commands(handle);
    if (c)
        c->count = 0;
    pthread_mutex_unlock(&lock);
    return real.BeginCommandBuffer(handle, info);
}

VKAPI_ATTR VkResult VKAPI_CALL strict_EndCommandBuffer(VkCommandBuffer handle)
{
    VkResult result;
    return fails("vkEndCommandBuffer", &result) ? result : real.EndCommandBuffer(handle);
}

VKAPI_ATTR void VKAPI_CALL strict_CmdCopyBuffer(VkCommandBuffer handle, VkBuffer src, VkBuffer dst,
                                                uint32_t count, const VkBufferCopy *regions)
{
    pthread_mutex_lock(&lock);
    struct commands *c = find_commands(handle);
    for (uint32_t i = 0; c && i < count; i++) {
        struct recorded *r = add(c);
        r->kind = RECORDED_COPY;
        r->src = src;
        r->dst = dst;
        r->src_offset = regions[i].srcOffset;
        r->dst_offset = regions[i].dstOffset;
        r->size = regions[i].size;
    }
    if (c)
        c->calls++;
    pthread_mutex_unlock(&lock);
    real.CmdCopyBuffer(handle, src, dst, count, regions);
}

VKAPI_ATTR void VKAPI_CALL strict_CmdFillBuffer(VkCommandBuffer handle, VkBuffer dst,
                                                VkDeviceSize offset, VkDeviceSize size,
                                                uint32_t data)
{
    pthread_mutex_lock(&lock);
    struct commands *c = find_commands(handle);
    if (c) {
        struct recorded *r = add(c);
        r->kind = RECORDED_FILL;
        r->dst = dst;
        r->dst_offset = offset;
        r->size = size;
        c->calls++;
    }
    pthread_mutex_unlock(&lock);
    real.CmdFillBuffer(handle, dst, offset, size, data);
}

/* As dependencies, barriers of single buffers are not counted: Ferry makes those that pass memory on
 * only. */
VKAPI_ATTR void VKAPI_CALL strict_CmdPipelineBarrier(
    VkCommandBuffer handle, VkPipelineStageFlags src_stages, VkPipelineStageFlags dst_stages,
    VkDependencyFlags flags, uint32_t memory_count, const VkMemoryBarrier *memories,
    uint32_t buffer_count, const VkBufferMemoryBarrier *of_buffers, uint32_t image_count,
    const VkImageMemoryBarrier *images)
{
    pthread_mutex_lock(&lock);
    struct commands *c = find_commands(handle);
    for (uint32_t i = 0; c && i < memory_count; i++) {
        struct recorded *r = add(c);
        r->kind = RECORDED_BARRIER;
        r->src_stages = src_stages;
        r->dst_stages = dst_stages;
        r->src_access = memories[i].srcAccessMask;
        r->dst_access = memories[i].dstAccessMask;
    }
    for (uint32_t i = 0; c && i < buffer_count; i++) {
        struct recorded passed = {.call = c->calls};
        if (share_passes(&of_buffers[i], &passed))
            *add(c) = passed;
    }
    if (c)
        c->calls++;
    pthread_mutex_unlock(&lock);
    VkBufferMemoryBarrier *mine = share_barriers(of_buffers, buffer_count);
    real.CmdPipelineBarrier(handle, src_stages, dst_stages, flags, memory_count, memories,
                            buffer_count, mine, image_count, images);
    free(mine);
}

VKAPI_ATTR void VKAPI_CALL strict_CmdPushConstants(VkCommandBuffer handle, VkPipelineLayout layout,
                                                   VkShaderStageFlags stages, uint32_t offset,
                                                   uint32_t size, const void *values)
{
    pthread_mutex_lock(&lock);
    struct commands *c = find_commands(handle);
    if (c && offset == 0)
        c->blocks.count = 0;
    if (c && offset == 0 && size == sizeof c->arguments)
        memcpy(&c->arguments, values, size);
    if (c && offset == 0 && size == sizeof c->blocks)
        memcpy(&c->blocks, values, size);
    pthread_mutex_unlock(&lock);
    real.CmdPushConstants(handle, layout, stages, offset, size, values);
}

/* What Ferry's own kernels do; another's dispatch has no arguments that are known. */
static void record_kernel(struct commands *c)
{
    const struct vulkan_kernel_arguments *arguments = &c->arguments;
    if (!arguments->dst)
        return;
    struct recorded *r = add(c);
    r->kernel = true;
    r->size = arguments->end - arguments->begin;
    r->kind = arguments->src ? RECORDED_COPY : RECORDED_FILL;
    r->dst = buffer_at(arguments->dst + arguments->begin, r->size, &r->dst_offset);
    if (r->kind == RECORDED_COPY)
        r->src = buffer_at(arguments->src + arguments->phase + arguments->begin, r->size,
                           &r->src_offset);
    if (!r->dst || (r->kind == RECORDED_COPY && !r->src))
        report(STRICTVK_KERNEL, "%llu bytes of no buffer", (unsigned long long)r->size);
    c->calls++;
}

/* Each block of a list is a region of one command; the list itself is read. */
static void record_list(struct commands *c)
{
    const struct vulkan_blocks_arguments *list = &c->blocks;
    const uint64_t size = list->count * sizeof(struct ferry__block_entry);
    const struct ferry__block_entry *entries = bytes_at(list->list, size);
    if (!entries) {
        report(STRICTVK_KERNEL, "a list of %u blocks in no mapped buffer", list->count);
        return;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        struct recorded *r = add(c);
        r->kernel = true;
        r->kind = RECORDED_COPY;
        r->size = entries[i].size;
        r->dst = buffer_at(list->dst + entries[i].dst, r->size, &r->dst_offset);
        r->src = buffer_at(list->src + entries[i].src, r->size, &r->src_offset);
        if (!r->dst || !r->src || entries[i].zero)
            report(STRICTVK_KERNEL, "block %u of %llu bytes of no buffer", i,
                   (unsigned long long)r->size);
    }
    c->calls++;
}

VKAPI_ATTR void VKAPI_CALL strict_CmdDispatch(VkCommandBuffer handle, uint32_t x, uint32_t y,
                                              uint32_t z)
{
    pthread_mutex_lock(&lock);
    struct commands *c = find_commands(handle);
    if (c && c->blocks.count)
        record_list(c);
    else if (c)
        record_kernel(c);
    pthread_mutex_unlock(&lock);
    real.CmdDispatch(handle, x, y, z);
}

/* --- judging ---------------------------------------------------------------------------------- */

static bool conflict(const struct access *a, const struct access *b)
{
    return a->buffer == b->buffer && a->begin < b->end && b->begin < a->end &&
           (a->write || b->write);
}

/* The same pages, imported twice: a barrier is not known to order what goes there by both. */
static bool is_alias(const struct access *a, const struct access *b)
{
    return a->imported && b->imported && a->buffer != b->buffer && (a->write || b->write) &&
           a->imported + a->begin < b->imported + b->end &&
           b->imported + b->begin < a->imported + a->end;
}

static void judge(const struct queue *queue, const struct access *now)
{
    for (size_t i = 0; i < access_count; i++) {
        const struct access *before = &accesses[i];
        if (is_alias(before, now) && queue->waited[before->queue] < before->submission)
            report(STRICTVK_ALIAS,
                   "bytes %llu to %llu of an import, by submission %llu of queue %u",
                   (unsigned long long)now->begin, (unsigned long long)now->end,
                   (unsigned long long)now->submission, queue->id);
        if (!conflict(before, now))
            continue;
        bool same = before->queue == queue->id;
        bool ordered = (same && before->fenced[now->kernel]) ||
                       queue->waited[before->queue] >= before->submission;
        if (!ordered)
            report(same ? STRICTVK_BARRIER : STRICTVK_QUEUE,
                   "bytes %llu to %llu %s by submission %llu of queue %u, then %s by %llu of %u",
                   (unsigned long long)now->begin, (unsigned long long)now->end,
                   before->write ? "written" : "read", (unsigned long long)before->submission,
                   before->queue, now->write ? "written" : "read",
                   (unsigned long long)now->submission, queue->id);
    }
}

static void remember(const struct access *access)
{
    if (access_count == access_capacity) {
        access_capacity = access_capacity ? 2 * access_capacity : 256;
        accesses = realloc(accesses, access_capacity * sizeof *accesses);
    }
    accesses[access_count++] = *access;
}

/* What a barrier names to speak of commands, and of kernels. */
static const struct {
    VkPipelineStageFlags stage;
    VkAccessFlags read, write;
} doers[2] = {
    {VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_READ_BIT, VK_ACCESS_TRANSFER_WRITE_BIT},
    {VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT, VK_ACCESS_SHADER_WRITE_BIT},
};

/* The access comes before the barrier, and what it wrote is made available. */
static bool is_behind(const struct recorded *barrier, const struct access *access)
{
    const VkPipelineStageFlags stage = doers[access->kernel].stage;
    const VkAccessFlags write = doers[access->kernel].write;
    return barrier->src_stages & (stage | VK_PIPELINE_STAGE_ALL_COMMANDS_BIT) &&
           (!access->write || barrier->src_access & (write | VK_ACCESS_MEMORY_WRITE_BIT));
}

/* Reads and writes by commands, or by kernels, come after the barrier and see what was written. */
static bool is_before(const struct recorded *barrier, bool kernel)
{
    return barrier->dst_stages & (doers[kernel].stage | VK_PIPELINE_STAGE_ALL_COMMANDS_BIT) &&
           barrier->dst_access & (doers[kernel].read | VK_ACCESS_MEMORY_READ_BIT) &&
           barrier->dst_access & (doers[kernel].write | VK_ACCESS_MEMORY_WRITE_BIT);
}

static void fence(const struct queue *queue, const struct recorded *barrier)
{
    const bool to_host = (barrier->dst_stages & VK_PIPELINE_STAGE_HOST_BIT) &&
                         (barrier->dst_access & VK_ACCESS_HOST_READ_BIT);
    if (!family_computes(queue->family) &&
        (barrier->src_stages | barrier->dst_stages) & VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT)
        report(STRICTVK_KERNEL, "a barrier of family %u names kernels", queue->family);
    for (size_t i = 0; i < access_count; i++) {
        struct access *access = &accesses[i];
        if (access->queue != queue->id || !is_behind(barrier, access))
            continue;
        for (int kernel = 0; kernel < 2; kernel++)
            access->fenced[kernel] |= is_before(barrier, kernel);
        access->to_host |= to_host;
    }
}

static void judge_sharing(const struct queue *queue, VkBuffer buffer)
{
    if (!buffer_shared_with(buffer, queue->family))
        report(STRICTVK_SHARING, "family %u uses a buffer that it does not share", queue->family);
}

/* One command: its regions are judged against what came before, then remembered together. */
static size_t judge_call(const struct queue *queue, const struct recorded *list, size_t count)
{
    size_t regions = 0;
    for (; regions < count && list[regions].call == list->call; regions++)
        ;
    size_t own = access_count;
    if (list->kernel && !family_computes(queue->family))
        report(STRICTVK_KERNEL, "a dispatch on family %u", queue->family);
    for (size_t i = 0; i < regions; i++) {
        const struct recorded *r = &list[i];
        struct access write = {.buffer = r->dst,
                               .imported = buffer_imported(r->dst),
                               .begin = r->dst_offset,
                               .end = r->dst_offset + r->size,
                               .write = true,
                               .kernel = r->kernel,
                               .queue = queue->id,
                               .submission = queue->submitted};
        struct access read = write;
        read.buffer = r->src;
        read.imported = buffer_imported(r->src);
        read.begin = r->src_offset;
        read.end = r->src_offset + r->size;
        read.write = false;
        for (size_t k = own; k < access_count; k++)
            if (conflict(&accesses[k], &write) ||
                (r->kind == RECORDED_COPY && conflict(&accesses[k], &read)))
                report(STRICTVK_OVERLAP, "region %zu at %llu, size %llu", i,
                       (unsigned long long)r->dst_offset, (unsigned long long)r->size);
        size_t all = access_count;
        access_count = own; /* this command's own regions were judged above */
        judge(queue, &write);
        if (r->kind == RECORDED_COPY)
            judge(queue, &read);
        access_count = all;
        judge_sharing(queue, r->dst);
        remember(&write);
        if (r->kind == RECORDED_COPY) {
            judge_sharing(queue, r->src);
            remember(&read);
        }
    }
    return regions;
}

static void judge_commands(const struct queue *queue, const struct commands *c)
{
    share_judge(queue, c->list, c->count);
    for (size_t i = 0; i < c->count;)
        if (c->list[i].kind == RECORDED_BARRIER)
            fence(queue, &c->list[i++]);
        else if (c->list[i].kind == RECORDED_ACQUIRE || c->list[i].kind == RECORDED_RELEASE)
            i++;
        else
            i += judge_call(queue, &c->list[i], c->count - i);
    for (size_t i = 0; i < access_count; i++) {
        const struct access *a = &accesses[i];
        if (a->queue == queue->id && a->submission == queue->submitted && a->write && !a->to_host &&
            buffer_host_reaches(a->buffer))
            report(STRICTVK_HOST, "bytes %llu to %llu", (unsigned long long)a->begin,
                   (unsigned long long)a->end);
    }
}

/* All that is known to be done once the semaphore has reached the value. */
static void add_clock_of(uint64_t *clock, VkSemaphore semaphore, uint64_t value)
{
    for (struct signal *s = signals; s; s = s->next)
        if (s->semaphore == semaphore && s->value <= value)
            take_maximum(clock, s->clock);
}

static void add_signal(VkSemaphore semaphore, uint64_t value, const uint64_t *clock)
{
    struct signal *s = calloc(1, sizeof *s);
    s->semaphore = semaphore;
    s->value = value;
    memcpy(s->clock, clock, sizeof s->clock);
    s->next = signals;
    signals = s;
}

void order_host_clock(uint64_t *out_clock)
{
    memcpy(out_clock, host_clock, sizeof host_clock);
}

/* What the host has seen to be done is done before it signals. */
void order_host_signal(VkSemaphore semaphore, uint64_t value)
{
    add_signal(semaphore, value, host_clock);
}

void order_run(struct queue *queue, const struct held *held)
{
    queue->submitted++;
    take_maximum(queue->waited, held->host_clock);
    for (uint32_t i = 0; i < held->wait_count; i++)
        add_clock_of(queue->waited, held->waits[i], held->wait_values[i]);
    take_maximum(queue->clock, queue->waited);
    queue->clock[queue->id] = queue->submitted;
    for (uint32_t i = 0; i < held->command_count; i++) {
        struct commands *c = find_commands(held->commands[i]);
        if (c)
            judge_commands(queue, c);
    }
    for (uint32_t i = 0; i < held->signal_count; i++)
        add_signal(held->signals[i], held->signal_values[i], queue->clock);
}

bool order_uses(VkCommandBuffer handle, VkBuffer buffer)
{
    struct commands *c = find_commands(handle);
    for (size_t i = 0; c && i < c->count; i++)
        if (c->list[i].kind != RECORDED_BARRIER &&
            (c->list[i].dst == buffer || c->list[i].src == buffer))
            return true;
    return false;
}

/* --- what is over ----------------------------------------------------------------------------- */

static void forget(bool (*gone)(const struct access *, const void *), const void *what)
{
    size_t kept = 0;
    for (size_t i = 0; i < access_count; i++)
        if (!gone(&accesses[i], what))
            accesses[kept++] = accesses[i];
    access_count = kept;
}

static bool is_over(const struct access *access, const void *unused)
{
    (void)unused;
    return access->submission <= host_clock[access->queue];
}

/* Submissions that wait their turn are judged by what the host had seen when it submitted them: as
 * long as there are any, nothing is forgotten. */
static void forget_what_is_over(void)
{
    if (queue_holds(VK_NULL_HANDLE))
        return;
    for (struct signal **at = &signals; *at;) {
        struct signal *s = *at;
        if (!s->observed) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        free(s);
    }
    forget(is_over, NULL);
}

void order_observed(VkSemaphore semaphore, uint64_t value)
{
    bool any = false;
    for (struct signal *s = signals; s; s = s->next)
        if (s->semaphore == semaphore && s->value <= value && !s->observed) {
            take_maximum(host_clock, s->clock);
            s->observed = any = true;
        }
    if (any)
        forget_what_is_over();
}

static bool is_of_queue(const struct access *access, const void *id)
{
    return access->queue == *(const unsigned *)id;
}

void order_queue_gone(unsigned id)
{
    forget(is_of_queue, &id);
    host_clock[id] = 0;
    for (struct signal *s = signals; s; s = s->next)
        s->clock[id] = 0;
}

static bool is_of_buffer(const struct access *access, const void *buffer)
{
    return access->buffer == *(const VkBuffer *)buffer;
}

void order_buffer_gone(VkBuffer buffer, const char *what)
{
    if (!device_lost() && queue_holds(buffer))
        report(STRICTVK_IN_USE, "%s: a submission that uses it has not begun", what);
    for (size_t i = 0; i < access_count && !device_lost(); i++)
        if (accesses[i].buffer == buffer && !is_over(&accesses[i], NULL)) {
            report(STRICTVK_IN_USE, "%s: submission %llu of queue %u has not been seen to end",
                   what, (unsigned long long)accesses[i].submission, accesses[i].queue);
            break;
        }
    forget(is_of_buffer, &buffer);
}
