/* Each rule of the strict Vulkan, broken on purpose, and the driver on devices that fail. */
#include "strict_driver.h"

/* The validation layer is there, and what it says arrives. */
static void test_validation(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "validate=1,collect=1"); /* the first to open: the instance is made so */
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
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

static void test_unknown_option(void **unused)
{
    (void)unused;
    assert_int_equal(set("colour=blue"), -1);
    assert_int_equal(set("kind=purple"), -1);
    assert_int_equal(set(""), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_validation), /* the first to open: the instance is made so */
    cmocka_unit_test(test_unknown_option),
};

static GROUP(messages);
extern const struct group group_order, group_kernels, group_memory, group_share, group_failures;

int main(void)
{
    const struct group *const groups[] = {&group_messages, &group_order, &group_kernels,
                                          &group_memory,   &group_share, &group_failures};
    int failed = 0;
    find_strictvk();
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        failed += _cmocka_run_group_tests(groups[i]->name, groups[i]->tests, groups[i]->count, NULL,
                                          NULL);
    return failed;
}
