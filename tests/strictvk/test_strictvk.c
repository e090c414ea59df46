/* Each rule of the strict Vulkan, broken on purpose, and the driver on devices that fail. */
#include "drivers/vulkan/vk.h"
#include "strictvk.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct ferry__driver ferry__vulkan_driver;

static const struct ferry__driver *const driver = &ferry__vulkan_driver;
static strictvk_set_fn set;
static strictvk_reports_fn reports;
static strictvk_calls_fn calls;

enum { SIZE = 65536 };

struct fixture {
    struct vulkan *v; /* the driver's state, to call Vulkan past the driver */
    struct ferry__limits limits;
    uint64_t value[FERRY__QUEUES_MAX];
    struct ferry__record record;
    char why[FERRY__WHY_MAX];
};

static void open_with(struct fixture *f, const char *options) {
    *f = (struct fixture){0};
    assert_int_equal(set(options), 0);
    void *state;
    if (driver->open(&(struct ferry__open_params){0}, &state, &f->limits, f->why) != FERRY_OK)
        fail_msg("%s", f->why);
    f->v = state;
}

/* No rule but this one was broken; returns how often it was. */
static unsigned only(enum strictvk_rule rule) {
    for (int i = 0; i < STRICTVK_RULE_COUNT; i++)
        if (i != (int)rule)
            assert_int_equal(reports((enum strictvk_rule)i), 0);
    return reports(rule);
}

static struct ferry__memory alloc(struct fixture *f, enum ferry__use use, uint64_t size) {
    struct ferry__memory memory;
    if (driver->memory_alloc(f->v, use, size, "", &memory, f->why) != FERRY_OK)
        fail_msg("%s", f->why);
    return memory;
}

static unsigned queue_for(const struct fixture *f, unsigned role) {
    for (unsigned i = 0; i < f->limits.queue_count; i++)
        if (f->limits.queues[i].roles & role)
            return i;
    fail_msg("no queue with the role %u", role);
    return 0;
}

static struct ferry_sync submit(struct fixture *f, unsigned role,
                                const struct ferry__command *commands, size_t count,
                                const struct ferry_sync *wait) {
    unsigned queue = queue_for(f, role);
    const struct ferry__submission_info info = {
        .queue = queue, .commands = commands, .count = count, .waits = wait,
        .wait_count = wait ? 1 : 0, .value = ++f->value[queue], .record = &f->record};
    if (driver->submit(f->v, &info, f->why) != FERRY_OK)
        fail_msg("%s", f->why);
    return (struct ferry_sync){f->limits.queues[queue].event, info.value};
}

static void wait_for(struct fixture *f, struct ferry_sync point) {
    while (driver->completed(f->v, point.event) < point.value)
        driver->wait_any(f->v, &point, 1, FERRY_FOREVER);
}

static struct ferry__command copy(const struct ferry__memory *dst, uint64_t to,
                                  const struct ferry__memory *src, uint64_t from, uint64_t size) {
    return (struct ferry__command){.kind = FERRY__COPY, .dst = dst, .dst_offset = to, .src = src,
                                   .src_offset = from, .size = size};
}

/* --- barriers --------------------------------------------------------------------------------- */

/* Two commands, the second touching what the first does: reported without a barrier, not with. */
static void barrier_case(uint64_t to, uint64_t from, bool barrier, unsigned expected) {
    struct fixture f;
    open_with(&f, "collect=1");
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__command commands[] = {copy(&a, 0, &b, 0, 100), copy(&b, to, &a, from, 100)};
    commands[1].barrier = barrier;
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, commands, 2, NULL));
    assert_int_equal(only(STRICTVK_BARRIER), expected);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

static void test_barrier(void **unused) {
    (void)unused;
    barrier_case(200, 99, false, 1);  /* reads what was written */
    barrier_case(99, 200, false, 1);  /* writes what was read */
    barrier_case(99, 99, false, 2);   /* both */
    barrier_case(100, 100, false, 0); /* beside it */
    barrier_case(99, 99, true, 0);
}

/* A command buffer of the test's own; the driver's always begin and end with barriers. */
static VkCommandBuffer begin(struct fixture *f, VkCommandPool *out_pool) {
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

static void end(struct fixture *f, VkCommandBuffer commands, VkCommandPool pool) {
    const struct vulkan_functions *vk = &f->v->vk;
    assert_int_equal(vk->EndCommandBuffer(commands), VK_SUCCESS);
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .commandBufferCount = 1,
        .pCommandBuffers = &commands,
    };
    assert_int_equal(vk->QueueSubmit(f->v->queues[0].handle, 1, &info, VK_NULL_HANDLE),
                     VK_SUCCESS);
    assert_int_equal(vk->DeviceWaitIdle(f->v->device), VK_SUCCESS);
    vk->DestroyCommandPool(f->v->device, pool, NULL);
}

static VkBuffer native(const struct ferry__memory *memory) {
    return ((struct vulkan_memory *)memory->native)->buffer;
}

static void test_host(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,memory=private");
    struct ferry__memory seen = alloc(&f, FERRY__USE_READBACK, SIZE);
    struct ferry__memory unseen = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    VkCommandPool pool;
    VkCommandBuffer commands = begin(&f, &pool);
    f.v->vk.CmdFillBuffer(commands, native(&unseen), 0, 64, 7);
    end(&f, commands, pool);
    assert_int_equal(only(STRICTVK_HOST), 0);
    commands = begin(&f, &pool);
    f.v->vk.CmdFillBuffer(commands, native(&seen), 0, 64, 7);
    end(&f, commands, pool);
    assert_int_equal(only(STRICTVK_HOST), 1);
    assert_int_equal(set("collect=1"), 0); /* the test never asked whether its work was done */
    driver->memory_free(f.v, &seen);
    driver->memory_free(f.v, &unseen);
    driver->close(f.v);
}

static void test_overlap(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1");
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    /* Two commands that touch each other, with no barrier: the driver may make one of them. */
    struct ferry__command commands[] = {copy(&a, 0, &b, 0, 100), copy(&a, 99, &b, 500, 100)};
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, commands, 2, NULL));
    assert_int_equal(only(STRICTVK_OVERLAP), 1);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

/* --- kernels ---------------------------------------------------------------------------------- */

static void open_kernels(struct fixture *f, const char *options) {
    setenv("FERRY_VULKAN_ENGINE", "kernel", 1);
    open_with(f, options);
    unsetenv("FERRY_VULKAN_ENGINE");
    assert_true(f->limits.has_kernel);
}

/* barrier: which commands have one; names: the driver's barriers speak of kernels. */
static void kernel_case(const bool kernel[2], bool barrier, bool names, unsigned expected) {
    struct fixture f;
    open_kernels(&f, "collect=1");
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__command commands[] = {copy(&a, 0, &b, 0, 100), copy(&b, 1000, &a, 99, 100)};
    commands[1].barrier = barrier;
    for (int i = 0; i < 2; i++)
        commands[i].engine = kernel[i] ? FERRY__ENGINE_KERNEL : FERRY__ENGINE_COPY;
    f.v->queues[0].runs_kernels = names;
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, commands, 2, NULL));
    assert_int_equal(reports(STRICTVK_BARRIER), expected);
    f.v->queues[0].runs_kernels = true;
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

/* The second command reads the last byte that the first one writes. */
static void test_kernel_barrier(void **unused) {
    (void)unused;
    static const bool pairs[3][2] = {{true, true}, {true, false}, {false, true}};
    for (int i = 0; i < 3; i++) {
        kernel_case(pairs[i], false, true, 1);
        kernel_case(pairs[i], true, false, 1); /* a barrier, but for commands alone */
        kernel_case(pairs[i], true, true, 0);
    }
}

static void test_kernel_reach(void **unused) {
    (void)unused;
    struct fixture f;
    open_kernels(&f, "collect=1");
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    VkCommandPool pool;
    VkCommandBuffer commands = begin(&f, &pool);
    struct ferry__command command = copy(&a, 7, &b, 0, SIZE - 7);
    ferry__vulkan_kernel_put(f.v, commands, &command);
    assert_int_equal(only(STRICTVK_KERNEL), 0);
    command.size++; /* never submitted */
    ferry__vulkan_kernel_put(f.v, commands, &command);
    assert_int_equal(only(STRICTVK_KERNEL), 1);
    f.v->vk.DestroyCommandPool(f.v->device, pool, NULL);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

/* Copy engines run no kernels, and know no barriers that name them. */
static void test_kernel_family(void **unused) {
    (void)unused;
    struct fixture f;
    open_kernels(&f, "collect=1,kind=discrete,memory=private,transfer=1");
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__command command = copy(&a, 0, &b, 0, 100);
    wait_for(&f, submit(&f, FERRY__ROLE_UPLOAD, &command, 1, NULL));
    assert_int_equal(only(STRICTVK_KERNEL), 0);
    command.engine = FERRY__ENGINE_KERNEL;
    wait_for(&f, submit(&f, FERRY__ROLE_UPLOAD, &command, 1, NULL));
    assert_int_equal(reports(STRICTVK_KERNEL), 1);
    f.v->queues[queue_for(&f, FERRY__ROLE_UPLOAD)].runs_kernels = true;
    command.engine = FERRY__ENGINE_COPY;
    wait_for(&f, submit(&f, FERRY__ROLE_UPLOAD, &command, 1, NULL));
    assert_true(reports(STRICTVK_KERNEL) > 1);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

/* --- queues ----------------------------------------------------------------------------------- */

static void queue_case(bool wait, unsigned expected) {
    struct fixture f;
    open_with(&f, "collect=1,kind=discrete,memory=private,transfer=2");
    assert_int_equal(f.limits.queue_count, 3);
    struct ferry__memory a = alloc(&f, FERRY__USE_UPLOAD, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory c = alloc(&f, FERRY__USE_READBACK, SIZE);
    struct ferry__command up = copy(&b, 0, &a, 0, 100), down = copy(&c, 0, &b, 0, 100);
    struct ferry_sync first = submit(&f, FERRY__ROLE_UPLOAD, &up, 1, NULL);
    struct ferry_sync second = submit(&f, FERRY__ROLE_DOWNLOAD, &down, 1, wait ? &first : NULL);
    assert_int_equal(only(STRICTVK_QUEUE), expected);
    wait_for(&f, first);
    wait_for(&f, second);
    /* What the host has seen to be done needs no wait. */
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &down, 1, NULL));
    assert_int_equal(only(STRICTVK_QUEUE), expected);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->memory_free(f.v, &c);
    driver->close(f.v);
}

static void test_queue(void **unused) {
    (void)unused;
    queue_case(false, 1);
    queue_case(true, 0);
}

/* Queues that run late: without the wait the bytes are the old ones. */
static void test_delay(void **unused) {
    (void)unused;
    bool stale = false;
    for (int wait = 1; wait >= 0; wait--)
        for (int i = 0; i < 20; i++) {
            struct fixture f;
            open_with(&f, "collect=1,kind=discrete,memory=private,transfer=2,delay=50");
            struct ferry__memory a = alloc(&f, FERRY__USE_UPLOAD, SIZE);
            struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
            struct ferry__memory c = alloc(&f, FERRY__USE_READBACK, SIZE);
            a.host[0] = 0;
            struct ferry__command up = copy(&b, 0, &a, 0, 1), down = copy(&c, 0, &b, 0, 1);
            struct ferry_sync first = {0};
            for (int k = 0; k < 3; k++)
                first = submit(&f, FERRY__ROLE_UPLOAD, &up, 1, NULL);
            wait_for(&f, first);
            a.host[0] = 1;
            for (int k = 0; k < 3; k++)
                first = submit(&f, FERRY__ROLE_UPLOAD, &up, 1, NULL);
            wait_for(&f, submit(&f, FERRY__ROLE_DOWNLOAD, &down, 1, wait ? &first : NULL));
            wait_for(&f, first);
            if (wait)
                assert_int_equal(c.host[0], 1);
            stale = stale || c.host[0] == 0;
            driver->memory_free(f.v, &a);
            driver->memory_free(f.v, &b);
            driver->memory_free(f.v, &c);
            driver->close(f.v);
        }
    assert_true(stale);
}

static void test_sharing(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,kind=discrete,memory=private,transfer=1");
    uint32_t families = f.v->family_count;
    f.v->family_count = 1; /* as if the driver forgot the copy engines */
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    f.v->family_count = families;
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__command command = copy(&a, 0, &b, 0, 100);
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
    assert_int_equal(only(STRICTVK_SHARING), 0);
    wait_for(&f, submit(&f, FERRY__ROLE_UPLOAD, &command, 1, NULL));
    assert_int_equal(only(STRICTVK_SHARING), 1);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

static void test_in_use(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1");
    uint64_t event;
    assert_int_equal(driver->event_create(f.v, &event, f.why), FERRY_OK);
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__command command = copy(&a, 0, &b, 0, 100);
    struct ferry_sync point =
        submit(&f, FERRY__ROLE_COPY, &command, 1, &(struct ferry_sync){event, 1});
    /* Freeing it now would be too early: the rule is asked, the memory is freed later. */
    driver->event_signal(f.v, event, 1);
    f.v->vk.DeviceWaitIdle(f.v->device);
    assert_int_equal(only(STRICTVK_IN_USE), 0);
    driver->memory_free(f.v, &a); /* done, but nobody looked */
    assert_true(only(STRICTVK_IN_USE) > 0);
    wait_for(&f, point);
    assert_int_equal(set("collect=1"), 0);
    driver->memory_free(f.v, &b);
    assert_int_equal(only(STRICTVK_IN_USE), 0);
    driver->event_destroy(f.v, event);
    driver->close(f.v);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void test_map(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,memory=private");
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    assert_null(a.host);
    void *host;
    assert_int_equal(f.v->vk.MapMemory(f.v->device, ((struct vulkan_memory *)a.native)->memory, 0,
                                       VK_WHOLE_SIZE, 0, &host),
                     VK_ERROR_MEMORY_MAP_FAILED);
    assert_int_equal(only(STRICTVK_MAP), 1);
    driver->memory_free(f.v, &a);
    driver->close(f.v);
}

/* A missing flush loses what the host wrote, a missing invalidate what the device did. */
static void test_shadow(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,memory=noncoherent,coherent=4096,atom=64");
    struct ferry__memory up = alloc(&f, FERRY__USE_UPLOAD, SIZE);
    struct ferry__memory down = alloc(&f, FERRY__USE_READBACK, SIZE);
    assert_false(up.coherent);
    assert_false(down.coherent);
    assert_true(down.cached);
    struct ferry__command command = copy(&down, 0, &up, 0, 256);
    memset(up.host, 1, 256);
    assert_int_equal(driver->flush(f.v, &up, 0, 256), FERRY_OK);
    memset(up.host, 2, 128); /* not flushed */
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
    memset(down.host, 3, 256);
    assert_int_equal(down.host[0], 3); /* not invalidated */
    assert_int_equal(driver->invalidate(f.v, &down, 0, 192), FERRY_OK);
    assert_int_equal(down.host[0], 1);
    assert_int_equal(down.host[191], 1);
    assert_int_equal(down.host[192], 3);
    assert_int_equal(driver->flush(f.v, &up, 0, 128), FERRY_OK);
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
    assert_int_equal(driver->invalidate(f.v, &down, 0, 256), FERRY_OK);
    assert_int_equal(down.host[127], 2);
    assert_int_equal(down.host[128], 1);
    assert_int_equal(only(STRICTVK_ATOM), 0);
    assert_int_equal(driver->flush(f.v, &up, 32, 64), FERRY_OK);
    assert_int_equal(driver->invalidate(f.v, &down, 0, 65), FERRY_OK);
    assert_int_equal(only(STRICTVK_ATOM), 2);
    driver->memory_free(f.v, &up);
    driver->memory_free(f.v, &down);
    driver->close(f.v);
}

static void test_types_by_use(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "kind=discrete,memory=bar");
    struct ferry__memory memory = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    assert_non_null(memory.host); /* written by the host, never read */
    assert_true(memory.coherent);
    assert_false(memory.cached);
    driver->memory_free(f.v, &memory);
    memory = alloc(&f, FERRY__USE_SHARED, SIZE);
    assert_true(memory.coherent && memory.cached);
    driver->memory_free(f.v, &memory);
    memory = alloc(&f, FERRY__USE_UPLOAD, SIZE);
    assert_true(memory.coherent);
    driver->memory_free(f.v, &memory);
    memory = alloc(&f, FERRY__USE_READBACK, SIZE);
    assert_true(memory.coherent && memory.cached);
    driver->memory_free(f.v, &memory);
    driver->close(f.v);
}

static void test_import_limits(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "import=strict,granularity=65536");
    assert_int_equal(f.limits.import_granularity, 65536);
    unsigned char *host = aligned_alloc(65536, 4 * 65536);
    struct ferry__memory first, second;
    assert_int_equal(driver->host_import(f.v, host, 3 * 65536, false, &first, f.why), FERRY_OK);
    assert_int_equal(driver->host_import(f.v, host + 2 * 65536, 65536, false, &second, f.why),
                     FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(f.why, "VK_ERROR_INVALID_EXTERNAL_HANDLE"));
    assert_int_equal(driver->host_import(f.v, host + 3 * 65536, 65536, false, &second, f.why),
                     FERRY_OK);
    driver->memory_free(f.v, &first);
    driver->memory_free(f.v, &second);
    free(host);
    driver->close(f.v);
    open_with(&f, "import=none");
    assert_int_equal(f.limits.import_granularity, 0);
    driver->close(f.v);
}

static void test_allocation_limits(void **unused) {
    (void)unused;
    struct fixture f;
    struct ferry__memory a, b;
    open_with(&f, "count=1");
    a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    assert_int_equal(driver->memory_alloc(f.v, FERRY__USE_PRIVATE, SIZE, "", &b, f.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    driver->memory_free(f.v, &a);
    a = alloc(&f, FERRY__USE_PRIVATE, SIZE); /* and it can be had again */
    driver->memory_free(f.v, &a);
    driver->close(f.v);

    /* The largest allocation is no hard limit: it is tried. This device means it. */
    open_with(&f, "allocation=100000");
    assert_true(f.limits.max_allocation > 100000);
    assert_int_equal(driver->memory_alloc(f.v, FERRY__USE_PRIVATE, 100001, "", &b, f.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(f.why, "1000"));
    driver->close(f.v);

    open_with(&f, "heap=1048576,budget=1,memory=private");
    assert_int_equal(f.limits.total_memory, 1048576);
    assert_int_equal(driver->memory_available(f.v), 1048576);
    a = alloc(&f, FERRY__USE_PRIVATE, 1000000);
    assert_true(driver->memory_available(f.v) <= 48576);
    assert_int_equal(driver->memory_alloc(f.v, FERRY__USE_PRIVATE, SIZE, "", &b, f.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(f.why, "1048576"));
    driver->memory_free(f.v, &a);
    driver->close(f.v);
}

/* --- semaphores and messages ------------------------------------------------------------------ */

static void test_value(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1");
    uint64_t event;
    assert_int_equal(driver->event_create(f.v, &event, f.why), FERRY_OK);
    driver->event_signal(f.v, event, 5);
    driver->event_signal(f.v, event, 5); /* the driver knows better */
    assert_int_equal(only(STRICTVK_VALUE), 0);
    const VkSemaphoreSignalInfo signal = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO,
        .semaphore = ferry_vulkan_semaphore((struct ferry_sync){.event = event}),
        .value = 5,
    };
    f.v->vk.SignalSemaphore(f.v->device, &signal);
    assert_int_equal(reports(STRICTVK_VALUE), 1);
    driver->event_destroy(f.v, event);
    driver->close(f.v);
}

/* The validation layer is there, and what it says arrives. */
static void test_validation(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "validate=1,collect=1"); /* the first to open: the instance is made so */
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    VkCommandPool pool;
    VkCommandBuffer commands = begin(&f, &pool);
    const VkBufferCopy past_the_end = {.srcOffset = SIZE - 1, .size = 100};
    f.v->vk.CmdCopyBuffer(commands, native(&a), native(&b), 1, &past_the_end);
    assert_true(only(STRICTVK_VALIDATION) > 0); /* never submitted */
    f.v->vk.DestroyCommandPool(f.v->device, pool, NULL);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

/* --- failures --------------------------------------------------------------------------------- */

/* A little of everything. Whatever fails, it ends, and in words. */
static enum ferry_status work(char *why) {
    void *state;
    struct ferry__limits limits;
    enum ferry_status status =
        driver->open(&(struct ferry__open_params){0}, &state, &limits, why);
    if (status != FERRY_OK)
        return status;
    struct ferry__memory memory[2];
    size_t made = 0;
    while (made < 2 && status == FERRY_OK) {
        enum ferry__use use = made ? FERRY__USE_PRIVATE : FERRY__USE_READBACK;
        status = driver->memory_alloc(state, use, SIZE, "", &memory[made], why);
        made += status == FERRY_OK;
    }
    uint64_t event = 0;
    if (status == FERRY_OK)
        status = driver->event_create(state, &event, why);
    for (uint64_t value = 1; value <= 3 && status == FERRY_OK; value++) {
        struct ferry__record record = {.status = FERRY_PENDING};
        struct ferry__command command = copy(&memory[0], 0, &memory[1], 0, SIZE);
        const struct ferry_sync wait = {event, value};
        const struct ferry__submission_info info = {
            .commands = &command, .count = 1, .waits = &wait, .wait_count = 1, .value = value,
            .record = &record};
        status = driver->submit(state, &info, why);
        driver->event_signal(state, event, value);
        const struct ferry_sync point = {limits.queues[0].event, value};
        while (status == FERRY_OK && driver->completed(state, point.event) < value)
            driver->wait_any(state, &point, 1, FERRY_FOREVER);
        if (status == FERRY_OK) {
            assert_int_not_equal(record.status, FERRY_PENDING);
            status = record.status;
            if (status != FERRY_OK)
                snprintf(why, FERRY__WHY_MAX, "%s", record.why);
        }
    }
    if (status == FERRY_OK)
        status = driver->invalidate(state, &memory[0], 0, SIZE);
    if (status == FERRY_OK)
        status = driver->flush(state, &memory[0], 0, SIZE);
    if (event)
        driver->event_destroy(state, event);
    while (made)
        driver->memory_free(state, &memory[--made]);
    driver->close(state);
    return status;
}

static void test_every_call_fails(void **unused) {
    (void)unused;
    static const struct {
        const char *result;
        enum ferry_status status;
    } kinds[] = {
        {"host", FERRY_ERROR_OUT_OF_HOST_MEMORY},
        {"device", FERRY_ERROR_OUT_OF_DEVICE_MEMORY},
        {"lost", FERRY_ERROR_DEVICE_LOST},
        {"unknown", FERRY_ERROR_INTERNAL},
    };
    char why[FERRY__WHY_MAX], options[128];
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        unsigned failed = 0;
        for (unsigned n = 1;; n++) {
            snprintf(options, sizeof options, "kind=discrete,memory=private,fail=any:%u:%s", n,
                     kinds[kind].result);
            assert_int_equal(set(options), 0);
            snprintf(why, sizeof why, "nothing");
            enum ferry_status status = work(why);
            if (calls() < n)
                break;
            failed += status != FERRY_OK;
            /* Some failures do not matter (a query pool, one look at a counter, a signal that is
             * tried again). Without the list there is no device. Nothing else comes of it. */
            if (status == kinds[kind].status || status == FERRY_ERROR_NO_DEVICE)
                assert_string_not_equal(why, "nothing");
            else
                assert_int_equal(status, FERRY_OK);
            assert_true(n < 1000);
        }
        assert_true(failed > 15);
    }
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    assert_int_equal(set(""), 0);
    assert_int_equal(work(why), FERRY_OK);
}

/* The call that loses the device, and the call whose work is lost. */
static void test_loss(void **unused) {
    (void)unused;
    struct fixture f;
    open_with(&f, "lose=2,kind=discrete");
    struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__command command = copy(&a, 0, &b, 0, 100);
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
    assert_int_equal(driver->status(f.v), FERRY_OK);
    const struct ferry__submission_info info = {
        .commands = &command, .count = 1, .value = 2, .record = &f.record};
    assert_int_equal(driver->submit(f.v, &info, f.why), FERRY_ERROR_DEVICE_LOST);
    assert_int_equal(driver->status(f.v), FERRY_ERROR_DEVICE_LOST);
    assert_int_equal(driver->submit(f.v, &info, f.why), FERRY_ERROR_DEVICE_LOST);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

static void test_loss_while_waiting(void **unused) {
    (void)unused;
    static const char *const options[] = {"drop=2", "drop=2,kind=discrete"};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        open_with(&f, options[i]);
        struct ferry__memory a = alloc(&f, FERRY__USE_PRIVATE, SIZE);
        struct ferry__memory b = alloc(&f, FERRY__USE_PRIVATE, SIZE);
        struct ferry__command command = copy(&a, 0, &b, 0, 100);
        wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
        assert_int_equal(f.record.status, FERRY_OK);
        wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL)); /* must not hang */
        assert_int_equal(f.record.status, FERRY_ERROR_DEVICE_LOST);
        assert_true(strlen(f.record.why) > 0);
        assert_int_equal(driver->status(f.v), FERRY_ERROR_DEVICE_LOST);
        struct ferry_sync never = {f.limits.queues[0].event, 1000};
        driver->wait_any(f.v, &never, 1, FERRY_FOREVER); /* nor this */
        driver->memory_free(f.v, &a);
        driver->memory_free(f.v, &b);
        driver->close(f.v);
    }
}

static void test_unknown_option(void **unused) {
    (void)unused;
    assert_int_equal(set("colour=blue"), -1);
    assert_int_equal(set("kind=purple"), -1);
    assert_int_equal(set(""), 0);
}

/* --- running ---------------------------------------------------------------------------------- */

static void *symbol(void *library, const char *name) {
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) {
        fprintf(stderr, "no strict Vulkan: %s\n", dlerror());
        exit(1);
    }
    return found;
}

int main(void) {
    setenv("FERRY_VULKAN_LIBRARY", STRICTVK_LIBRARY, 1);
    void *library = dlopen(STRICTVK_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void *found = symbol(library, "strictvk_set");
    memcpy(&set, &found, sizeof set);
    found = symbol(library, "strictvk_reports");
    memcpy(&reports, &found, sizeof reports);
    found = symbol(library, "strictvk_calls");
    memcpy(&calls, &found, sizeof calls);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_kernel_barrier),
        cmocka_unit_test(test_kernel_reach),
        cmocka_unit_test(test_kernel_family),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_in_use),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_shadow),
        cmocka_unit_test(test_types_by_use),
        cmocka_unit_test(test_import_limits),
        cmocka_unit_test(test_allocation_limits),
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_loss_while_waiting),
        cmocka_unit_test(test_unknown_option),
    };
    return cmocka_run_group_tests_name("strictvk", tests, NULL, NULL);
}
