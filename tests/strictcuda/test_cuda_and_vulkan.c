/* A card that CUDA and Vulkan both show, on the strict ones: which is the default, and what becomes
 * of it where CUDA's cannot be opened. */
#include "client.h"

#include <ferry/ferry.h>
#include <stdio.h>

static unsigned warned, vulkan_opened;
static char told[512];

static void note(enum ferry_log_level level, const char *text, void *user)
{
    (void)user;
    vulkan_opened += strncmp(text, "opened vulkan:", 14) == 0;
    if (level != FERRY_LOG_WARN)
        return;
    warned++;
    snprintf(told, sizeof told, "%s", text);
}

static int set_up(void **state)
{
    (void)state;
    warned = vulkan_opened = 0;
    ferry_set_log(note, NULL, FERRY_LOG_INFO);
    return setenv("STRICTCUDA", "", 1);
}

static int tear_down(void **state)
{
    (void)state;
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    assert_int_equal(strictcuda_live(), 0);
    return 0;
}

static struct ferry_device_info opened(const char *name)
{
    struct ferry_device_info info;
    ferry_device *device = NULL;
    if (ferry_device_open(&(struct ferry_device_params){.name = name}, &device))
        fail_msg("%s", ferry_last_error());
    ferry_device_get_info(device, &info);
    ferry_device_close(device);
    return info;
}

static void both_are_listed_and_cuda_is_first(void **state)
{
    (void)state;
    struct ferry_device_info infos[8];
    size_t count = 0;
    assert_int_equal(ferry_device_list(infos, 8, &count), FERRY_OK);
    assert_true(count >= 3 && count <= 8);
    assert_string_equal(infos[0].name, "cuda:0");
    assert_string_equal(infos[1].name, "vulkan:0");
    assert_int_equal(infos[1].kind, FERRY_DEVICE_DISCRETE);
    assert_string_equal(infos[2].name, "host:0");
}

static void the_default_is_cuda(void **state)
{
    (void)state;
    assert_string_equal(opened(NULL).name, "cuda:0");
    assert_int_equal(vulkan_opened, 0);
    assert_string_equal(opened("vulkan").name, "vulkan:0");
    setenv("FERRY_DEVICE", "vulkan", 1);
    assert_string_equal(opened(NULL).name, "vulkan:0");
    unsetenv("FERRY_DEVICE");
    assert_int_equal(warned, 0);
}

static void vulkan_stands_in_for_a_cuda_that_fails(void **state)
{
    (void)state;
    strictcuda_fail("cuDevicePrimaryCtxRetain", CU_ERROR_DEVICE_UNAVAILABLE, 1);
    const struct ferry_device_info info = opened(NULL);
    assert_string_equal(info.name, "vulkan:0");
    assert_int_equal(warned, 1);
    assert_non_null(strstr(told, "opening cuda:0: cuDevicePrimaryCtxRetain: "));
    assert_non_null(strstr(info.reason, "opening cuda:0: cuDevicePrimaryCtxRetain: "));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(both_are_listed_and_cuda_is_first),
                                       TEST(the_default_is_cuda),
                                       TEST(vulkan_stands_in_for_a_cuda_that_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
