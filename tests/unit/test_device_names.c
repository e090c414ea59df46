/* Opening by name: which drivers are asked, and what is said where none has such a device. The
 * libraries of the others are named wrongly, so that asking them would be told to the log. */
#include "base/base.h"
#include "driver.h"

#include <ferry/ferry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned said; /* of drivers that found nothing */
static unsigned warned;
static char warning[256];

static void note(enum ferry_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == FERRY_LOG_WARN) {
        warned++;
        snprintf(warning, sizeof warning, "%s", text);
    }
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
    said = warned = 0;
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

/* Drivers but the host's. */
static unsigned others(void)
{
    unsigned count = 0;
    for (const struct ferry__driver *const *driver = ferry__drivers; *driver; driver++)
        count += strcmp((*driver)->name, "host") != 0;
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
    assert_int_equal(said, 2 * others());
    size_t count = 0;
    assert_int_equal(ferry_device_list(NULL, 0, &count), FERRY_OK);
    assert_true(count >= 2);
    assert_int_equal(said, 3 * others());
}

/* The libraries are there, and are others: each driver that has one is named in a warning. */
static void what_is_broken_is_passed_over(void **state)
{
    (void)state;
    static const char *const variables[][2] = {{"cuda", "FERRY_CUDA_LIBRARY"},
                                               {"vulkan", "FERRY_VULKAN_LIBRARY"}};
    for (size_t i = 0; i < 2; i++) {
        if (!strstr(ferry_build_drivers(), variables[i][0]))
            continue;
        setenv(variables[i][1], "libm.so.6", 1);
        char reason[64];
        snprintf(reason, sizeof reason, "passed over: %s: libm.so.6 has no ", variables[i][0]);
        char before[512];
        snprintf(before, sizeof before, "%s", ferry_last_error());
        warned = 0;
        const struct ferry_device_info info = opened(NULL);
        assert_string_equal(info.name, "host:0");
        assert_memory_equal(info.reason, reason, strlen(reason));
        assert_int_equal(warned, 1);
        assert_non_null(strstr(warning, reason));
        assert_string_equal(ferry_last_error(), before);
        ferry_device *device = NULL;
        const struct ferry_device_params strict = {.no_fallback = true};
        assert_int_equal(ferry_device_open(&strict, &device), FERRY_ERROR_UNSUPPORTED);
        assert_null(device);
        assert_non_null(strstr(ferry_last_error(), strchr(reason, ':') + 2));
        assert_int_equal(warned, 1);
        setenv(variables[i][1], "libnothing.so", 1);
    }
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
    const struct CMUnitTest tests[] = {
        TEST(a_name_asks_its_driver_only), TEST(no_name_asks_all_once),
        TEST(what_is_broken_is_passed_over), TEST(nothing_has_that_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
