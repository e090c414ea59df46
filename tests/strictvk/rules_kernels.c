/* What kernels may do. Broken on purpose. */
#include "strict_driver.h"

static void open_kernels(struct fixture *f, const char *options)
{
    setenv("FERRY_VULKAN_ENGINE", "kernel", 1);
    open_with(f, options);
    unsetenv("FERRY_VULKAN_ENGINE");
    assert_true(f->limits.has_kernel);
}

/* barrier: which commands have one; names: the driver's barriers speak of kernels. */
static void kernel_case(const bool kernel[2], bool barrier, bool names, unsigned expected)
{
    struct fixture f;
    open_kernels(&f, "collect=1");
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
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
static void test_kernel_barrier(void **unused)
{
    (void)unused;
    static const bool pairs[3][2] = {{true, true}, {true, false}, {false, true}};
    for (int i = 0; i < 3; i++) {
        kernel_case(pairs[i], false, true, 1);
        kernel_case(pairs[i], true, false, 1); /* a barrier, but for commands alone */
        kernel_case(pairs[i], true, true, 0);
    }
}

static void test_kernel_reach(void **unused)
{
    (void)unused;
    struct fixture f;
    open_kernels(&f, "collect=1");
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    VkCommandPool pool;
    VkCommandBuffer commands = begin(&f, &pool);
    struct ferry__command command = copy(&a, 7, &b, 0, SIZE - 7);
    (void)ferry__vulkan_kernel_put(f.v, commands, &command, 1);
    assert_int_equal(only(STRICTVK_KERNEL), 0);
    command.size++; /* never submitted */
    (void)ferry__vulkan_kernel_put(f.v, commands, &command, 1);
    assert_int_equal(only(STRICTVK_KERNEL), 1);
    f.v->vk.DestroyCommandPool(f.v->device, pool, NULL);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

/* Lists that lie end to end are one dispatch, whatever buffers they are for: how many commands it
 * takes. */
static void test_lists_end_to_end(void **unused)
{
    (void)unused;
    enum { LISTS = 4, EACH = 5, LENGTH = 50 };
    struct fixture f;
    open_kernels(&f, "collect=1");
    struct ferry__memory from = alloc(&f, FERRY__MEMORY_UPLOAD, SIZE), to[LISTS];
    struct ferry__memory list = alloc(&f, FERRY__MEMORY_UPLOAD, SIZE);
    struct ferry__block_entry *entries = (struct ferry__block_entry *)(void *)list.host;
    struct ferry__command commands[LISTS];
    for (uint32_t l = 0; l < LISTS; l++) {
        to[l] = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
        commands[l] = copy(&to[l], 0, &from, 0, (uint64_t)EACH * LENGTH);
        commands[l].engine = FERRY__ENGINE_KERNEL;
        commands[l].kind = FERRY__BLOCKS;
        commands[l].list = (struct ferry__block_list){&list, (uint64_t)l * EACH * sizeof *entries,
                                                      EACH, SIZE, SIZE};
        for (uint32_t i = 0; i < EACH; i++)
            entries[l * EACH + i] = (struct ferry__block_entry){
                driver->address(&to[l]) + i * 61 + l,
                driver->address(&from) + (l * EACH + i) * LENGTH, LENGTH, 0};
    }
    VkCommandPool pool;
    VkCommandBuffer put = begin(&f, &pool);
    assert_int_equal(ferry__vulkan_kernel_put(f.v, put, commands, LISTS), LISTS);
    assert_int_equal(ferry__vulkan_kernel_put(f.v, put, commands, 3), 3);
    commands[2].barrier = true;
    assert_int_equal(ferry__vulkan_kernel_put(f.v, put, commands, LISTS), 2);
    commands[2].barrier = false;
    commands[3].list.offset += sizeof *entries;
    assert_int_equal(ferry__vulkan_kernel_put(f.v, put, commands, LISTS), 3);
    assert_int_equal(only(STRICTVK_KERNEL), 0);
    commands[3].list.offset -= sizeof *entries;
    wait_for(&f, submit(&f, FERRY__ROLE_KERNEL, commands, LISTS, NULL));
    assert_int_equal(only(STRICTVK_KERNEL), 0);
    f.v->vk.DestroyCommandPool(f.v->device, pool, NULL);
    for (uint32_t l = 0; l < LISTS; l++)
        driver->memory_free(f.v, &to[l]);
    driver->memory_free(f.v, &from);
    driver->memory_free(f.v, &list);
    driver->close(f.v);
}

/* Copy engines run no kernels, and know no barriers that name them. */
static void test_kernel_family(void **unused)
{
    (void)unused;
    struct fixture f;
    open_kernels(&f, "collect=1,kind=discrete,memory=private,transfer=1");
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_kernel_barrier),
    cmocka_unit_test(test_kernel_reach),
    cmocka_unit_test(test_lists_end_to_end),
    cmocka_unit_test(test_kernel_family),
};

GROUP(kernels);
