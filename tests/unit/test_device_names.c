/* Opening by name: which drivers are asked, and what is said where none has such a device. The
 * libraries of the others are named wrongly, so that asking them would be told to the log. */
#include "base/base.h"
#include "driver.h"

#include <ferry/ferry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned said; /* of drivers that found nothing */

static void note(enum ferry_log_level level, const char *text, void *user)
{
    (void)level, (void)user;
    said += strncmp(text, "vulkan: ", 8) == 0 || strncmp(text, "metal: ", 7) == 0 ||
            strncmp(text, "cuda: ", 6) == 0;
}

static int set_up(void **state)
{
    (void)state;
    setenv("FERRY_VULKAN_LIBRARY", "libnothing.so", 1);
    setenv("FERRY_METAL_LIBRARIES", "libnothing.so", 1);
    setenv("FERRY_CUDA_LIBRARY", "libnothing.so", 1);
    unsetenv("FERRY_DEVICE");
    said = 0;
    ferry_set_log(note, NULL, FERRY_LOG_INFO);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unsetenv("FERRY_DEVICE");
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    return 0;
}

/* Drivers but the host's; default_only: without those whose devices are opened by name only. */
static unsigned others(bool default_only)
{
    unsigned count = 0;
    for (const struct ferry__driver *const *driver = ferry__drivers; *driver; driver++)
        count += strcmp((*driver)->name, "host") != 0 && !(default_only && (*driver)->by_name_only);
    return count;
}

/* The name of the device that is opened as this, and why it was. */
static struct ferry_device_info opened(const char *name)
{
    ferry_device *device = NULL;
    struct ferry_device_info info;
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = name}, &device),
                     FERRY_OK);
    ferry_device_get_info(device, &info);
    ferry_device_close(device);
    return info;
}

static void a_name_asks_its_driver_only(void **state)
{
    (void)state;
    assert_string_equal(opened("host").name, "host:0");
    assert_string_equal(opened("host:1").name, "host:1");
    assert_string_equal(opened("host:1").reason, "asked for as \"host:1\"");
    setenv("FERRY_DEVICE", "host:1", 1);
    assert_string_equal(opened(NULL).name, "host:1");
    assert_string_equal(opened(NULL).reason, "FERRY_DEVICE is \"host:1\"");
    assert_string_equal(opened("host").name, "host:0");
    assert_int_equal(said, 0);
}

static void no_name_asks_all_once(void **state)
{
    (void)state;
    setenv("FERRY_DEVICE", "", 1);
    assert_string_equal(opened(NULL).name, "host:0");
    assert_string_equal(opened(NULL).reason, "no GPU was found");
    assert_int_equal(said, 2 * others(true));
    size_t count = 0;
    assert_int_equal(ferry_device_list(NULL, 0, &count), FERRY_OK);
    assert_true(count >= 2);
    assert_int_equal(said, 2 * others(true) + others(false));
}

static void nothing_has_that_name(void **state)
{
    (void)state;
    static const char *const names[] = {"host:77", "host:", "hostess", "hos", "nothing", ""};
    ferry_device *device = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(
            ferry_device_open(&(struct ferry_device_params){.name = names[i]}, &device),
            FERRY_ERROR_NO_DEVICE);
        assert_non_null(strstr(ferry_last_error(), "there are: host:0, host:1"));
        assert_null(device);
    }
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "vulkan:0"}, &device),
                     FERRY_ERROR_NO_DEVICE);
    assert_non_null(strstr(ferry_last_error(), "there are: host:0, host:1"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_name_asks_its_driver_only),
                                       TEST(no_name_asks_all_once), TEST(nothing_has_that_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
