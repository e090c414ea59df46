/* The Vulkan driver through struct ferry__driver alone, on the first device the loader has. */
#include "list_count.h"
#include "vulkan_driver.h"

static void test_list(void **unused)
{
    (void)unused;
    struct ferry_device_info infos[16];
    char why[FERRY__WHY_MAX] = "";
    size_t count = list_count(driver, infos, 16, why);
    if (count == 0)
        fail_msg("no Vulkan device: %s", why);
    assert_int_equal(list_count(driver, NULL, 0, why), count);
    bool software = false;
    for (size_t i = 0; i < count && i < 16; i++) {
        assert_string_equal(infos[i].driver, "vulkan");
        assert_true(strlen(infos[i].description) > 0);
        assert_true(infos[i].total_memory > 0);
        assert_true(infos[i].max_buffer_size > 0);
        assert_true(infos[i].max_buffer_size <= infos[i].total_memory);
        assert_true(infos[i].queues > 0);
        /* Software comes last. */
        assert_false(software && infos[i].kind != FERRY_DEVICE_SOFTWARE);
        software = infos[i].kind == FERRY_DEVICE_SOFTWARE;
    }
}

static void test_no_such_device(void **unused)
{
    (void)unused;
    void *state = NULL;
    struct ferry__limits limits;
    char why[FERRY__WHY_MAX];
    assert_int_equal(
        driver->open(&(struct ferry__open_params){.index = 4711}, &state, &limits, why),
        FERRY_ERROR_NO_DEVICE);
    assert_non_null(strstr(why, "4711"));
    assert_null(state);
}

static void test_no_loader(void **unused)
{
    (void)unused;
    char *before = getenv("FERRY_VULKAN_LIBRARY");
    before = before ? strdup(before) : NULL;
    setenv("FERRY_VULKAN_LIBRARY", "/nowhere/libvulkan.so.1", 1);
    char why[FERRY__WHY_MAX] = "";
    void *state = NULL;
    struct ferry__limits limits;
    assert_int_equal(list_count(driver, NULL, 0, why), 0);
    assert_non_null(strstr(why, "/nowhere/libvulkan.so.1"));
    why[0] = 0;
    assert_int_equal(driver->open(&(struct ferry__open_params){0}, &state, &limits, why),
                     FERRY_ERROR_NO_DEVICE);
    assert_non_null(strstr(why, "/nowhere/libvulkan.so.1"));
    /* A library, but none of Vulkan. */
    setenv("FERRY_VULKAN_LIBRARY", "libm.so.6", 1);
    assert_int_equal(list_count(driver, NULL, 0, why), 0);
    assert_non_null(strstr(why, "vkGetInstanceProcAddr"));
    if (before)
        setenv("FERRY_VULKAN_LIBRARY", before, 1);
    else
        unsetenv("FERRY_VULKAN_LIBRARY");
    free(before);
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    const struct ferry__limits *limits = &f->limits;
    assert_int_equal(driver->status(f->state), FERRY_OK);
    assert_int_equal(limits->copy_alignment, 1);
    assert_int_equal(limits->fill_alignment, 4);
    assert_int_equal(limits->fill_pattern, 4);
    assert_int_equal(limits->max_copy % 4, 0);
    assert_true(limits->atom > 0);
    assert_true(limits->has_events);
    unsigned roles = limits->has_kernel ? 0 : FERRY__ROLE_KERNEL;
    for (unsigned i = 0; i < limits->queue_count; i++) {
        roles |= limits->queues[i].roles;
        assert_int_not_equal(limits->queues[i].event, 0);
        assert_int_equal(driver->completed(f->state, limits->queues[i].event), 0);
    }
    assert_int_equal(roles, FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD | FERRY__ROLE_COPY |
                                FERRY__ROLE_KERNEL);
}

/* Where the device is on the bus, in sysfs's own words: what the strict Vulkan was told, if so. */
static void test_bus(void **state)
{
    struct fixture *f = *state;
    const char *options = getenv("STRICTVK");
    const char *told = options ? strstr(options, "pci=") : NULL;
    char expected[16] = "";
    if (told)
        assert_int_equal(sscanf(told, "pci=%15[^,]", expected), 1);
    if (told || strstr(getenv("FERRY_VULKAN_LIBRARY"), "strictvk"))
        assert_string_equal(f->limits.pci, expected);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_list),
    cmocka_unit_test(test_no_such_device),
    cmocka_unit_test(test_no_loader),
    ON_DEVICE(test_limits),
    ON_DEVICE(test_bus),
};

static GROUP(opening);
extern const struct group group_memory, group_commands, group_kernels, group_events;

int main(void)
{
    const struct group *const groups[] = {&group_opening, &group_memory, &group_commands,
                                          &group_kernels, &group_events};
    int failed = 0;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        failed += _cmocka_run_group_tests(groups[i]->name, groups[i]->tests, groups[i]->count, NULL,
                                          NULL);
    return failed;
}
