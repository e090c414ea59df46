/* ferry/vulkan.h: the user's own device, queue and buffers, and GPU work of the user's in Ferry's
 * order, on queues that run late unless semaphores say otherwise. */
#include "drivers/vulkan/vk.h"
#include "strictvk.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 65536 };

static strictvk_set_fn set;
static strictvk_reports_fn reports;

/* --- the user's Vulkan ------------------------------------------------------------------------ */

struct user {
    struct vulkan_instance instance; /* the table is the driver's; all else the user makes */
    struct vulkan_functions vk;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue; /* the second one: Ferry has the first */
    VkPhysicalDeviceVulkan12Features enabled;
    VkPhysicalDeviceFeatures2 features;
    _Atomic unsigned locks, unlocks, releases;
    bool wrong_queue;
};

static void lock_queue(void *user, uint32_t family, uint32_t index)
{
    struct user *u = user;
    u->wrong_queue |= family != 0 || index != 0;
    atomic_fetch_add(&u->locks, 1);
}

static void unlock_queue(void *user, uint32_t family, uint32_t index)
{
    struct user *u = user;
    u->wrong_queue |= family != 0 || index != 0;
    atomic_fetch_add(&u->unlocks, 1);
}

static void released(void *user)
{
    atomic_fetch_add(&((struct user *)user)->releases, 1);
}

/* kernels: with the features that Ferry's kernels need. */
static void user_init_with(struct user *u, const char *options, bool kernels)
{
    char why[FERRY__WHY_MAX];
    memset(u, 0, sizeof *u);
    assert_int_equal(set(options), 0);
    if (ferry__vulkan_instance(&u->instance, why) != FERRY_OK)
        fail_msg("%s", why);
    u->vk = u->instance.vk;
    uint32_t one = 1;
    VkResult result = u->vk.EnumeratePhysicalDevices(u->instance.handle, &one, &u->physical);
    assert_true(result == VK_SUCCESS || result == VK_INCOMPLETE);
    u->enabled = (VkPhysicalDeviceVulkan12Features){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .timelineSemaphore = VK_TRUE,
        .bufferDeviceAddress = kernels,
        .storageBuffer8BitAccess = kernels,
    };
    u->features = (VkPhysicalDeviceFeatures2){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .pNext = &u->enabled,
    };
    static const float priorities[2] = {1.0f, 1.0f};
    const VkDeviceQueueCreateInfo queues = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueCount = 2,
        .pQueuePriorities = priorities,
    };
    const VkDeviceCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &u->features,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queues,
    };
    assert_int_equal(u->vk.CreateDevice(u->physical, &create, NULL, &u->device), VK_SUCCESS);
    assert_int_equal(ferry__vulkan_load_device(&u->vk, u->device, why), FERRY_OK);
    u->vk.GetDeviceQueue(u->device, 0, 1, &u->queue);
}

static void user_init(struct user *u, const char *options)
{
    user_init_with(u, options, false);
}

static void user_finish(struct user *u)
{
    assert_int_equal(u->locks, u->unlocks);
    assert_false(u->wrong_queue);
    u->vk.DestroyDevice(u->device, NULL);
}

static struct ferry_vulkan_device description(struct user *u)
{
    return (struct ferry_vulkan_device){
        .instance = u->instance.handle,
        .physical_device = u->physical,
        .device = u->device,
        .get_instance_proc_addr = u->vk.GetInstanceProcAddr,
        .api_version = u->instance.version,
        .features = &u->features,
        .lock_queue = lock_queue,
        .unlock_queue = unlock_queue,
        .release = released,
        .user = u,
    };
}

static ferry_device *wrap(struct user *u)
{
    ferry_device *device;
    struct ferry_vulkan_device mine = description(u);
    if (ferry_vulkan_device_wrap(&mine, NULL, &device) != FERRY_OK)
        fail_msg("%s", ferry_last_error());
    return device;
}

#define OK(call)                                           \
    do {                                                   \
        if ((call) != FERRY_OK)                            \
            fail_msg("%s: %s", #call, ferry_last_error()); \
    } while (0)

static ferry_buffer *make_buffer(ferry_device *device)
{
    ferry_buffer *buffer;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer));
    return buffer;
}

#define PLAIN "kind=discrete,memory=private,queues=2"

/* --- wrapping --------------------------------------------------------------------------------- */

static void test_device(void **unused)
{
    (void)unused;
    struct user u;
    user_init(&u, PLAIN);
    ferry_device *device = wrap(&u);
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    assert_string_equal(info.driver, "vulkan");
    assert_int_equal(info.kind, FERRY_DEVICE_DISCRETE);
    assert_int_equal(info.queues, 1);
    assert_int_equal(info.import_granularity, 0); /* made without the extension */
    ferry_buffer *buffer = make_buffer(device);
    unsigned char up[1000], down[1000];
    memset(up, 7, sizeof up);
    OK(ferry_copy_from_host(buffer, up, sizeof up, 33));
    OK(ferry_copy_to_host(buffer, down, sizeof down, 33));
    assert_memory_equal(up, down, sizeof up);
    assert_true(u.locks >= 2);
    struct ferry_vulkan_device got;
    OK(ferry_vulkan_device_get(device, &got));
    assert_ptr_equal(got.instance, u.instance.handle);
    assert_ptr_equal(got.physical_device, u.physical);
    assert_ptr_equal(got.device, u.device);
    assert_true(got.lock_queue == lock_queue && got.user == &u);
    ferry_buffer_destroy(buffer);
    assert_int_equal(u.releases, 0);
    ferry_device_close(device);
    assert_int_equal(u.releases, 1);
    user_finish(&u);
}

static void refused(struct user *u, const struct ferry_vulkan_device *mine,
                    enum ferry_status status, const char *words)
{
    ferry_device *device = NULL;
    assert_int_equal(ferry_vulkan_device_wrap(mine, NULL, &device), status);
    if (!strstr(ferry_last_error(), words))
        fail_msg("\"%s\" does not say \"%s\"", ferry_last_error(), words);
    assert_null(device);
    assert_int_equal(u->releases, 0);
}

static void test_refusals(void **unused)
{
    (void)unused;
    struct user u;
    user_init(&u, PLAIN ",transfer=1");
    const enum ferry_status invalid = FERRY_ERROR_INVALID_ARGUMENT;
    struct ferry_vulkan_device mine = description(&u);
    refused(&u, NULL, invalid, "NULL");
    mine.instance = NULL;
    refused(&u, &mine, invalid, "instance");
    mine = description(&u);
    mine.unlock_queue = NULL;
    refused(&u, &mine, invalid, "unlock_queue");
    mine = description(&u);
    mine.queue_index = 2;
    refused(&u, &mine, invalid, "queue 2 of family 0");
    mine = description(&u);
    mine.queue_family = 1;
    refused(&u, &mine, FERRY_ERROR_UNSUPPORTED, "neither compute nor graphics");
    mine = description(&u);
    mine.api_version = VK_API_VERSION_1_1;
    refused(&u, &mine, FERRY_ERROR_UNSUPPORTED, "1.2 is needed");
    mine = description(&u);
    mine.features = NULL;
    refused(&u, &mine, FERRY_ERROR_UNSUPPORTED, "timelineSemaphore");
    u.enabled.timelineSemaphore = VK_FALSE;
    mine = description(&u);
    refused(&u, &mine, FERRY_ERROR_UNSUPPORTED, "timelineSemaphore");
    /* The feature's own structure counts as well. */
    const VkPhysicalDeviceTimelineSemaphoreFeatures alone = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
        .timelineSemaphore = VK_TRUE,
    };
    u.features.pNext = (void *)&alone;
    ferry_device_close(wrap(&u));
    user_finish(&u);
}

/* The user's own VkBuffer, and its memory; that kernels reach by an address? */
static VkBuffer user_buffer(struct user *u, VkDeviceMemory *out_memory, bool addressed)
{
    const VkBufferCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = SIZE + 4096,
        .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                 (addressed ? VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT : 0),
    };
    const VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    VkBuffer buffer;
    assert_int_equal(u->vk.CreateBuffer(u->device, &create, NULL, &buffer), VK_SUCCESS);
    VkMemoryRequirements needs;
    u->vk.GetBufferMemoryRequirements(u->device, buffer, &needs);
    const VkMemoryAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = addressed ? &flags : NULL,
        .allocationSize = needs.size,
    };
    assert_int_equal(u->vk.AllocateMemory(u->device, &allocate, NULL, out_memory), VK_SUCCESS);
    assert_int_equal(u->vk.BindBufferMemory(u->device, buffer, *out_memory, 0), VK_SUCCESS);
    return buffer;
}

static void test_buffer(void **unused)
{
    (void)unused;
    struct user u;
    user_init(&u, PLAIN);
    ferry_device *device = wrap(&u);
    VkDeviceMemory memory;
    struct ferry_vulkan_buffer mine = {
        .buffer = user_buffer(&u, &memory, false), .offset = 512, .size = SIZE};
    ferry_buffer *buffer = NULL, *other = make_buffer(device);
    OK(ferry_vulkan_buffer_wrap(device, &mine, released, &u, &buffer));
    assert_int_equal(ferry_buffer_size(buffer), SIZE);
    assert_int_equal(ferry_buffer_storage(buffer), FERRY_STORAGE_PRIVATE);
    struct ferry_vulkan_buffer got;
    OK(ferry_vulkan_buffer_get(buffer, &got));
    assert_true(got.buffer == mine.buffer && got.offset == 512 && got.size == SIZE);
    unsigned char *up = malloc(SIZE), *down = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        up[i] = (unsigned char)(i * 3);
    OK(ferry_copy_from_host(buffer, up, SIZE, 0));
    OK(ferry_copy_buffer(other, buffer, SIZE - 5, 5, 0));
    OK(ferry_copy_to_host(other, down, SIZE - 5, 5));
    assert_memory_equal(up, down, SIZE - 5);
    assert_int_equal(ferry_copy_from_host(buffer, up, 1, SIZE), FERRY_ERROR_OUT_OF_RANGE);

    /* Destroyed while in use: released when that is over. */
    OK(ferry_copy_to_host_async(buffer, down, SIZE, 0, NULL, NULL, NULL));
    ferry_buffer_destroy(buffer);
    OK(ferry_wait_idle(device));
    OK(ferry_device_trim(device));
    assert_int_equal(u.releases, 1);
    assert_memory_equal(up, down, SIZE);

    mine.offset = 128;
    assert_int_equal(ferry_vulkan_buffer_wrap(device, &mine, released, &u, &buffer),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(ferry_last_error(), "128"));
    mine.offset = 512;
    mine.address = 8;
    assert_int_equal(ferry_vulkan_buffer_wrap(device, &mine, released, &u, &buffer),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(ferry_last_error(), "0x8 (a multiple of 16 is)"));
    assert_int_equal(u.releases, 1);
    free(up);
    free(down);
    ferry_buffer_destroy(other);
    ferry_device_close(device);
    u.vk.DestroyBuffer(u.device, mine.buffer, NULL);
    u.vk.FreeMemory(u.device, memory, NULL);
    user_finish(&u);
}

static uint64_t commands_of(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats.submitted_commands;
}

/* Copies and fills of the user's own buffer, whose kernels have its address if that is given. */
static void kernels_case(bool addressed)
{
    struct user u;
    user_init_with(&u, PLAIN ",collect=1", true);
    ferry_device *device = wrap(&u);
    VkDeviceMemory memory;
    struct ferry_vulkan_buffer own = {
        .buffer = user_buffer(&u, &memory, addressed), .offset = 256, .size = SIZE - 3};
    const VkBufferDeviceAddressInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                            .buffer = own.buffer};
    if (addressed)
        own.address = u.vk.GetBufferDeviceAddress(u.device, &info);
    ferry_buffer *wrapped, *a = make_buffer(device), *b = make_buffer(device);
    OK(ferry_vulkan_buffer_wrap(device, &own, NULL, NULL, &wrapped));
    struct ferry_vulkan_buffer got;
    OK(ferry_vulkan_buffer_get(wrapped, &got));
    assert_true(got.address == own.address && !got.address == !addressed);
    unsigned char *model = malloc(SIZE), *down = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        model[i] = (unsigned char)("abc"[i % 3]);
    OK(ferry_fill_buffer(a, SIZE, 0, "abc", 3));
    OK(ferry_copy_buffer(b, a, SIZE, 0, 0));
    OK(ferry_copy_buffer(wrapped, b, SIZE - 3, 0, 0));
    const uint64_t before = commands_of(device);
    OK(ferry_fill_buffer(wrapped, 5001, 5, "xyzxy", 5));
    const uint64_t commands = commands_of(device) - before;
    if ((commands == 1) != addressed) /* else by a tile's copies */
        fail_msg("%llu commands", (unsigned long long)commands);
    for (size_t i = 0; i < 5001; i++)
        model[5 + i] = (unsigned char)("xyzxy"[i % 5]);
    OK(ferry_copy_buffer(a, wrapped, SIZE - 3 - 4, 1, 4));
    OK(ferry_copy_to_host(wrapped, down, SIZE - 3, 0));
    assert_memory_equal(down, model, SIZE - 3);
    OK(ferry_copy_to_host(a, down, SIZE - 3 - 4, 1));
    assert_memory_equal(down, model + 4, SIZE - 3 - 4);
    for (int i = 0; i < STRICTVK_RULE_COUNT; i++)
        assert_int_equal(reports((enum strictvk_rule)i), 0);
    free(model);
    free(down);
    ferry_buffer_destroy(wrapped);
    ferry_buffer_destroy(a);
    ferry_buffer_destroy(b);
    ferry_device_close(device);
    u.vk.DestroyBuffer(u.device, own.buffer, NULL);
    u.vk.FreeMemory(u.device, memory, NULL);
    user_finish(&u);
}

/* Kernels where the user enabled what they need. */
static void test_kernels(void **unused)
{
    (void)unused;
    struct user u;
    setenv("FERRY_VULKAN_ENGINE", "kernel", 1);
    user_init(&u, PLAIN);
    struct ferry_vulkan_device mine = description(&u);
    refused(&u, &mine, FERRY_ERROR_UNSUPPORTED, "bufferDeviceAddress");
    user_finish(&u);
    kernels_case(false);
    kernels_case(true);
    unsetenv("FERRY_VULKAN_ENGINE");
}

/* The features' own structures count as well. */
static void test_kernel_features(void **unused)
{
    (void)unused;
    struct user u;
    setenv("FERRY_VULKAN_ENGINE", "kernel", 1);
    user_init_with(&u, PLAIN, true);
    VkPhysicalDevice8BitStorageFeatures bytes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES,
        .storageBuffer8BitAccess = VK_TRUE,
    };
    VkPhysicalDeviceBufferDeviceAddressFeatures address = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES,
        .pNext = &bytes,
        .bufferDeviceAddress = VK_TRUE,
    };
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
        .pNext = &address,
        .timelineSemaphore = VK_TRUE,
    };
    u.features.pNext = &timeline;
    ferry_device_close(wrap(&u));
    bytes.storageBuffer8BitAccess = VK_FALSE;
    u.releases = 0;
    const struct ferry_vulkan_device mine = description(&u);
    refused(&u, &mine, FERRY_ERROR_UNSUPPORTED, "storageBuffer8BitAccess");
    user_finish(&u);
    unsetenv("FERRY_VULKAN_ENGINE");
}

static void test_other_drivers(void **unused)
{
    (void)unused;
    ferry_device *device;
    OK(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device));
    ferry_buffer *buffer = make_buffer(device), *none = NULL;
    struct ferry_vulkan_device of_device;
    struct ferry_vulkan_buffer of_buffer = {.buffer = (VkBuffer)8, .size = 256};
    assert_int_equal(ferry_vulkan_device_get(device, &of_device), FERRY_ERROR_UNSUPPORTED);
    assert_int_equal(ferry_vulkan_buffer_wrap(device, &of_buffer, NULL, NULL, &none),
                     FERRY_ERROR_UNSUPPORTED);
    assert_int_equal(ferry_vulkan_buffer_get(buffer, &of_buffer), FERRY_ERROR_UNSUPPORTED);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

/* --- external work ---------------------------------------------------------------------------- */

/* The user's work: fills a part of the buffer on the user's own queue. */
struct work {
    VkCommandPool pool;
    VkCommandBuffer commands;
};

static struct work record(struct user *u, const struct ferry_vulkan_buffer *buffer)
{
    struct work work;
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    assert_int_equal(u->vk.CreateCommandPool(u->device, &pool, NULL, &work.pool), VK_SUCCESS);
    const VkCommandBufferAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = work.pool,
        .commandBufferCount = 1,
    };
    assert_int_equal(u->vk.AllocateCommandBuffers(u->device, &allocate, &work.commands),
                     VK_SUCCESS);
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    assert_int_equal(u->vk.BeginCommandBuffer(work.commands, &begin), VK_SUCCESS);
    u->vk.CmdFillBuffer(work.commands, buffer->buffer, buffer->offset + 1024, 2048, 0x09090909);
    assert_int_equal(u->vk.EndCommandBuffer(work.commands), VK_SUCCESS);
    return work;
}

static void submit(struct user *u, const struct work *work, const struct ferry_external *external,
                   bool wait)
{
    VkSemaphore waits[4], signal = ferry_vulkan_semaphore(external->signal);
    uint64_t values[4];
    VkPipelineStageFlags stages[4];
    const uint32_t count = wait ? (uint32_t)external->wait_count : 0;
    for (uint32_t i = 0; i < count; i++) {
        waits[i] = ferry_vulkan_semaphore(external->waits[i]);
        values[i] = external->waits[i].value;
        stages[i] = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    }
    const VkTimelineSemaphoreSubmitInfo timeline = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = count,
        .pWaitSemaphoreValues = values,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &external->signal.value,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &timeline,
        .waitSemaphoreCount = count,
        .pWaitSemaphores = waits,
        .pWaitDstStageMask = stages,
        .commandBufferCount = 1,
        .pCommandBuffers = &work->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &signal,
    };
    assert_int_equal(u->vk.QueueSubmit(u->queue, 1, &info, VK_NULL_HANDLE), VK_SUCCESS);
}

static void signal_from_host(struct user *u, struct ferry_sync sync)
{
    const VkSemaphoreSignalInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO,
        .semaphore = ferry_vulkan_semaphore(sync),
        .value = sync.value,
    };
    assert_int_equal(u->vk.SignalSemaphore(u->device, &info), VK_SUCCESS);
}

/* Upload, the user's work, readback, with no wait of the host's between. True: every byte is right
 * and no rule was broken. */
static bool in_order(const char *options, bool wait)
{
    struct user u;
    user_init(&u, options);
    ferry_device *device = wrap(&u);
    ferry_buffer *buffer = make_buffer(device);
    struct ferry_vulkan_buffer native;
    OK(ferry_vulkan_buffer_get(buffer, &native));
    unsigned char *up = malloc(SIZE), *down = calloc(1, SIZE);
    memset(up, 5, SIZE);
    struct work work = record(&u, &native);
    struct ferry_external first, external;
    const struct ferry_use use = {.buffer = buffer, .access = FERRY_ACCESS_WRITE};
    /* Other work of the user's, still going on: the upload is handed over, and waits for it. */
    OK(ferry_external_begin(device, &use, 1, &first));
    OK(ferry_external_end(device, first.ticket, FERRY_OK));
    OK(ferry_copy_from_host_async(buffer, up, SIZE, 0, NULL, NULL, NULL));
    OK(ferry_external_begin(device, &use, 1, &external));
    assert_int_not_equal(external.signal.event, 0);
    assert_true(external.wait_count > 0);
    submit(&u, &work, &external, wait);
    signal_from_host(&u, first.signal);
    OK(ferry_external_end(device, external.ticket, FERRY_OK));
    ferry_ticket ticket;
    OK(ferry_copy_to_host_async(buffer, down, SIZE, 0, NULL, NULL, &ticket));
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
    OK(ferry_wait(device, external.ticket, FERRY_FOREVER));
    memset(up + 1024, 9, 2048);
    bool right = memcmp(up, down, SIZE) == 0;
    for (int i = 0; i < STRICTVK_RULE_COUNT; i++)
        right = right && reports((enum strictvk_rule)i) == 0;
    OK(ferry_wait_idle(device));
    u.vk.DestroyCommandPool(u.device, work.pool, NULL);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    user_finish(&u);
    free(up);
    free(down);
    return right;
}

static void test_external(void **unused)
{
    (void)unused;
    static const char *const options[] = {PLAIN ",collect=1", PLAIN ",collect=1,delay=30"};
    for (int i = 0; i < 2; i++)
        for (int round = 0; round < 5; round++) {
            assert_true(in_order(options[i], true));
            assert_false(in_order(options[i], false)); /* the wait left out */
        }
}

/* Work that failed or was never submitted: what it would have written cannot be read. */
static void test_never_submitted(void **unused)
{
    (void)unused;
    struct user u;
    user_init(&u, PLAIN ",delay=5");
    ferry_device *device = wrap(&u);
    ferry_buffer *buffer = make_buffer(device);
    unsigned char *bytes = calloc(1, SIZE);
    struct ferry_external external;
    ferry_ticket ticket;
    OK(ferry_copy_from_host_async(buffer, bytes, SIZE, 0, NULL, NULL, NULL));
    OK(ferry_external_begin(
        device, &(struct ferry_use){.buffer = buffer, .access = FERRY_ACCESS_WRITE}, 1, &external));
    OK(ferry_copy_to_host_async(buffer, bytes, SIZE, 0, NULL, NULL, &ticket));
    OK(ferry_external_end(device, external.ticket, FERRY_ERROR_EXECUTION_FAILED));
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_ERROR_EXECUTION_FAILED);
    OK(ferry_copy_from_host(buffer, bytes, SIZE, 0));
    OK(ferry_copy_to_host(buffer, bytes, SIZE, 0));
    free(bytes);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    user_finish(&u);
}

/* --- running ---------------------------------------------------------------------------------- */

static void *symbol(const char *name)
{
    void *library = dlopen(STRICTVK_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) {
        fprintf(stderr, "no strict Vulkan: %s\n", dlerror());
        exit(1);
    }
    return found;
}

int main(void)
{
    setenv("FERRY_VULKAN_LIBRARY", STRICTVK_LIBRARY, 1);
    void *found = symbol("strictvk_set");
    memcpy(&set, &found, sizeof set);
    found = symbol("strictvk_reports");
    memcpy(&reports, &found, sizeof reports);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device),          cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_buffer),          cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_kernel_features), cmocka_unit_test(test_other_drivers),
        cmocka_unit_test(test_external),        cmocka_unit_test(test_never_submitted),
    };
    return cmocka_run_group_tests_name("vulkan.h", tests, NULL, NULL);
}
