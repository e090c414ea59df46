#include "strict_driver.h"

#include <dlfcn.h>

const struct ferry__driver *const driver = &ferry__vulkan_driver;
strictvk_set_fn set;
strictvk_reports_fn reports;
strictvk_calls_fn calls;

static void *symbol(void *library, const char *name)
{
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) {
        fprintf(stderr, "no strict Vulkan: %s\n", dlerror());
        exit(1);
    }
    return found;
}

void find_strictvk(void)
{
    setenv("FERRY_VULKAN_LIBRARY", STRICTVK_LIBRARY, 1);
    void *library = dlopen(STRICTVK_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void *found = symbol(library, "strictvk_set");
    memcpy(&set, &found, sizeof set);
    found = symbol(library, "strictvk_reports");
    memcpy(&reports, &found, sizeof reports);
    found = symbol(library, "strictvk_calls");
    memcpy(&calls, &found, sizeof calls);
}

void open_with(struct fixture *f, const char *options)
{
    *f = (struct fixture){0};
    assert_int_equal(set(options), 0);
    void *state;
    if (driver->open(&(struct ferry__open_params){0}, &state, &f->limits, f->why) != FERRY_OK)
        fail_msg("%s", f->why);
    f->v = state;
}

unsigned only(enum strictvk_rule rule)
{
    for (int i = 0; i < STRICTVK_RULE_COUNT; i++)
        if (i != (int)rule && reports((enum strictvk_rule)i))
            fail_msg("rule %d was broken, too", i);
    return reports(rule);
}

struct ferry__memory alloc(struct fixture *f, enum ferry__memory_kind use, uint64_t size)
{
    struct ferry__memory memory;
    if (driver->memory_alloc(f->v, use, size, "", &memory, f->why) != FERRY_OK)
        fail_msg("%s", f->why);
    return memory;
}

unsigned queue_for(const struct fixture *f, unsigned role)
{
    for (unsigned i = 0; i < f->limits.queue_count; i++)
        if (f->limits.queues[i].roles & role)
            return i;
    fail_msg("no queue with the role %u", role);
    return 0;
}

struct ferry_sync submit(struct fixture *f, unsigned role, const struct ferry__command *commands,
                         size_t count, const struct ferry_sync *wait)
{
    unsigned queue = queue_for(f, role);
    const struct ferry__submission_info info = {.queue = queue,
                                                .commands = commands,
                                                .count = count,
                                                .waits = wait,
                                                .wait_count = wait ? 1 : 0,
                                                .value = ++f->value[queue],
                                                .result = &f->result};
    if (driver->submit(f->v, &info, f->why) != FERRY_OK)
        fail_msg("%s", f->why);
    return (struct ferry_sync){f->limits.queues[queue].event, info.value};
}

void wait_for(struct fixture *f, struct ferry_sync point)
{
    while (driver->completed(f->v, point.event) < point.value)
        driver->wait_any(f->v, &point, 1, FERRY_FOREVER);
}

struct ferry__command copy(const struct ferry__memory *dst, uint64_t to,
                           const struct ferry__memory *src, uint64_t from, uint64_t size)
{
    return (struct ferry__command){.kind = FERRY__COPY,
                                   .dst = dst,
                                   .dst_offset = to,
                                   .src = src,
                                   .src_offset = from,
                                   .size = size};
}

VkCommandBuffer begin(struct fixture *f, VkCommandPool *out_pool)
{
    const struct vulkan_functions *vk = &f->v->vk;
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    assert_int_equal(vk->CreateCommandPool(f->v->device, &pool, NULL, out_pool), VK_SUCCESS);
    const VkCommandBufferAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = *out_pool,
        .commandBufferCount = 1,
    };
    VkCommandBuffer commands;
    assert_int_equal(vk->AllocateCommandBuffers(f->v->device, &allocate, &commands), VK_SUCCESS);
    const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    assert_int_equal(vk->BeginCommandBuffer(commands, &info), VK_SUCCESS);
    return commands;
}

void end(struct fixture *f, VkCommandBuffer commands, VkCommandPool pool)
{
    const struct vulkan_functions *vk = &f->v->vk;
    assert_int_equal(vk->EndCommandBuffer(commands), VK_SUCCESS);
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .commandBufferCount = 1,
        .pCommandBuffers = &commands,
    };
    assert_int_equal(vk->QueueSubmit(f->v->queues[0].handle, 1, &info, VK_NULL_HANDLE), VK_SUCCESS);
    assert_int_equal(vk->DeviceWaitIdle(f->v->device), VK_SUCCESS);
    vk->DestroyCommandPool(f->v->device, pool, NULL);
}

VkBuffer native(const struct ferry__memory *memory)
{
    return ((struct vulkan_memory *)memory->native)->buffer;
}
