/* Which CUDA devices there are, and what becomes the default, on the strict CUDA. */
#include "client.h"

#include <ferry/ferry.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK(call) assert_int_equal((call), FERRY_OK)
#define IS(status, call) assert_int_equal((call), (status))

static void words(const char *text)
{
    if (!strstr(ferry_last_error(), text))
        fail_msg("\"%s\" does not say \"%s\"", ferry_last_error(), text);
}

/* --- which devices there are ------------------------------------------------------------------- */

static void refused(const char *text)
{
    ferry_device *device = NULL;
    IS(FERRY_ERROR_NO_DEVICE,
       ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &device));
    assert_null(device);
    words(text);
}

/* Another name for the same library: it is loaded anew. */
static void reload(const char *library)
{
    setenv("FERRY_CUDA_LIBRARY", library, 1);
}

static void test_why_none(void **unused)
{
    (void)unused;
    char again[4096];
    const char *library = getenv("FERRY_CUDA_LIBRARY");
    snprintf(again, sizeof again, "%s", library);
    reload("libnothing.so.1");
    refused("libnothing.so.1: not found");
    reload("libm.so.6");
    refused("libm.so.6 has no cuDriverGetVersion");
    char other[4200];
    snprintf(other, sizeof other, "%.*s/./%s", (int)(strrchr(again, '/') - again), again,
             strrchr(again, '/') + 1);
    reload(other);
    setenv("STRICTCUDA", "version=11040", 1);
    refused("the CUDA driver is version 11.4; 12.0 is needed");
    setenv("STRICTCUDA", "devices=0", 1);
    refused("no device");
    reload(again);
    setenv("STRICTCUDA", "prohibited=1", 1);
    refused("its compute mode is prohibited");
}

static void test_devices(void **unused)
{
    (void)unused;
    struct ferry_device_info infos[8];
    size_t count = 0, cuda = 0;
    setenv("STRICTCUDA", "devices=3,prohibited=1", 1);
    OK(ferry_device_list(infos, 8, &count));
    for (size_t i = 0; i < count; i++)
        cuda += !strcmp(infos[i].driver, "cuda");
    assert_int_equal(cuda, 2);                    /* the first is not to be used */
    assert_string_equal(infos[0].name, "cuda:0"); /* the best there is */
    ferry_device *device = NULL;
    OK(ferry_device_open(&(struct ferry_device_params){.name = "cuda:1"}, &device));
    ferry_device_get_info(device, &infos[0]);
    assert_string_equal(infos[0].description, "Strict CUDA 2");
    ferry_device_close(device);
    IS(FERRY_ERROR_NO_DEVICE,
       ferry_device_open(&(struct ferry_device_params){.name = "cuda:2"}, &device));
}

/* --- the default ------------------------------------------------------------------------------- */

static unsigned warned;
static char told[512];

static void note(enum ferry_log_level level, const char *text, void *user)
{
    (void)user;
    if (level != FERRY_LOG_WARN)
        return;
    warned++;
    snprintf(told, sizeof told, "%s", text);
}

/* What is opened where nobody asks for one by its name. */
static struct ferry_device_info open_default(const char *options)
{
    struct ferry_device_info info;
    ferry_device *device = NULL;
    setenv("STRICTCUDA", options, 1);
    warned = 0;
    ferry_set_log(note, NULL, FERRY_LOG_WARN);
    if (ferry_device_open(NULL, &device))
        fail_msg("%s", ferry_last_error());
    ferry_device_get_info(device, &info);
    ferry_device_close(device);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    return info;
}

/* Others load no libcuda, and as the default it is the one driver that is loaded. */
static void test_default(void **unused)
{
    (void)unused;
    static const char *const names[] = {"host", "vulkan"};
    setenv("STRICTCUDA", "", 1);
    const uint64_t calls = strictcuda_calls("cuDeviceGetCount");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ferry_device *device = NULL;
        if (!ferry_device_open(&(struct ferry_device_params){.name = names[i]}, &device))
            ferry_device_close(device);
    }
    assert_int_equal(strictcuda_calls("cuDeviceGetCount"), calls);
    const struct ferry_device_info info = open_default("devices=2");
    assert_string_equal(info.name, "cuda:0");
    assert_string_equal(info.reason, "the best GPU that was found");
    assert_int_equal(warned, 0);
    assert_string_not_equal(open_default("devices=0").driver, "cuda");
    assert_int_equal(warned, 0);
}

/* The next one is opened, and a warning and its reason say why it is not the first. */
static void expect_passed_over(const struct ferry_device_info *info, const char *what)
{
    assert_int_equal(warned, 1);
    if (!strstr(told, what) || !strstr(info->reason, what))
        fail_msg("neither \"%s\" nor \"%s\" may lack \"%s\"", told, info->reason, what);
}

static void test_default_that_fails(void **unused)
{
    (void)unused;
    strictcuda_fail("cuDevicePrimaryCtxRetain", CU_ERROR_DEVICE_UNAVAILABLE, 1);
    struct ferry_device_info info = open_default("devices=2");
    assert_string_equal(info.name, "cuda:1");
    expect_passed_over(&info, "opening cuda:0: cuDevicePrimaryCtxRetain: ");
    strictcuda_fail("cuStreamCreate", CU_ERROR_LAUNCH_FAILED, 1);
    info = open_default("");
    assert_string_not_equal(info.driver, "cuda");
    expect_passed_over(&info, "opening cuda:0: cuStreamCreate");
    info = open_default("prohibited=1");
    assert_string_not_equal(info.driver, "cuda");
    expect_passed_over(&info, "cuda: CUDA's device 0 is not used: its compute mode is prohibited");
    strictcuda_fail("cuDeviceGetCount", CU_ERROR_UNKNOWN, 1);
    info = open_default("");
    assert_string_not_equal(info.driver, "cuda");
    expect_passed_over(&info, "cuda: cuDeviceGetCount: ");
    assert_int_equal(strictcuda_live(), 0);
}

/* The device after it would be no cure, or is not wanted. */
static void test_default_that_has_to_be(void **unused)
{
    (void)unused;
    ferry_device *device = NULL;
    setenv("STRICTCUDA", "devices=2", 1);
    strictcuda_fail("cuDevicePrimaryCtxRetain", CU_ERROR_OUT_OF_MEMORY, 1);
    IS(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, ferry_device_open(NULL, &device));
    words("opening cuda:0: cuDevicePrimaryCtxRetain: ");
    const struct ferry_device_params strict = {.no_fallback = true};
    strictcuda_fail("cuDevicePrimaryCtxRetain", CU_ERROR_DEVICE_UNAVAILABLE, 1);
    IS(FERRY_ERROR_NO_DEVICE, ferry_device_open(&strict, &device));
    words("opening cuda:0: cuDevicePrimaryCtxRetain: ");
    const struct ferry_device_params wrong = {.staging_budget = 1};
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&wrong, &device));
    words("staging_budget 1 is below");
    assert_null(device);
    assert_int_equal(strictcuda_live(), 0);
}

static void test_fork(void **unused)
{
    (void)unused;
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    setenv("STRICTCUDA", "", 1);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &device));
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer));
    OK(ferry_zero_buffer(buffer));
    const pid_t child = fork();
    if (!child) {
        ferry_device *other = NULL;
        int wrong = ferry_zero_buffer(buffer) != FERRY_ERROR_DEVICE_LOST;
        ferry_buffer_destroy(buffer);
        ferry_device_close(device);
        wrong |= ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &other) !=
                 FERRY_ERROR_NO_DEVICE;
        wrong |= !strstr(ferry_last_error(), "fork()");
        const struct ferry_device_info info = open_default("");
        wrong |= !strcmp(info.driver, "cuda") || warned != 1 || !strstr(told, "fork()");
        _exit(wrong);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    OK(ferry_zero_buffer(buffer));
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    assert_int_equal(strictcuda_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_why_none),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_default_that_fails),
        cmocka_unit_test(test_default_that_has_to_be),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests_name("CUDA devices", tests, NULL, NULL);
}
