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
    cmocka_unit_test(test_kernel_family),
};

GROUP(kernels);
