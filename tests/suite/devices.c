/* Devices: the list, names, the environment, what an open one says of itself. */
#include "suite.h"

static void test_list(void **state)
{
    (void)state;
    size_t count = 0, again = 0;
    OK(ferry_device_list(NULL, 0, &count));
    assert_true(count >= 1);
    struct ferry_device_info *infos = xmalloc((count + 1) * sizeof *infos);
    memset(infos, 0xEE, (count + 1) * sizeof *infos);
    OK(ferry_device_list(infos, count + 1, &again));
    assert_int_equal(again, count);
    const unsigned char *past = (const unsigned char *)&infos[count];
    for (size_t i = 0; i < sizeof *infos; i++)
        assert_int_equal(past[i], 0xEE);
    for (size_t i = 0; i < count; i++) {
        assert_true(strlen(infos[i].name) > 0 && strlen(infos[i].driver) > 0);
        assert_true(strncmp(infos[i].name, infos[i].driver, strlen(infos[i].driver)) == 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(infos[i].name, infos[j].name);
    }
    memset(infos, 0xEE, (count + 1) * sizeof *infos);
    OK(ferry_device_list(infos, 1, &again));
    assert_int_equal(again, count);
    past = (const unsigned char *)&infos[1];
    for (size_t i = 0; i < sizeof *infos; i++)
        assert_int_equal(past[i], 0xEE);
    free(infos);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_list(NULL, 1, &count));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_list(NULL, 0, NULL));
}

/* Every listed device can be named; what it says when open is what the list said. */
static void test_each_listed(void **state)
{
    (void)state;
    struct ferry_device_info infos[8];
    size_t count = 0;
    OK(ferry_device_list(infos, 8, &count));
    for (size_t i = 0; i < count && i < 8; i++) {
        if (strcmp(infos[i].driver, infos[0].driver) != 0)
            continue; /* other drivers have configurations of their own */
        struct ferry_device_params params = suite->params;
        params.name = infos[i].name;
        ferry_device *device = open_with(NULL, &params);
        struct ferry_device_info info;
        ferry_device_get_info(device, &info);
        assert_string_equal(info.name, infos[i].name);
        assert_string_equal(info.driver, infos[i].driver);
        struct mirror mirror = make_mirror(device, 1000, FERRY_STORAGE_PRIVATE, 1);
        expect_mirror(&mirror);
        drop_mirror(&mirror);
        ferry_device_close(device);
    }
}

static void test_unknown_names(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {
        "",        "nosuch", "host:99999", "host:",   "host:x",
        "host:-1", "hosts",  ":0",         "host:0x", "host:18446744073709551616"};
    char longest[5000];
    memset(longest, 'h', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i <= sizeof names / sizeof names[0]; i++) {
        const char *name = i < sizeof names / sizeof names[0] ? names[i] : longest;
        ferry_device *device = fixture->device;
        IS(FERRY_ERROR_NO_DEVICE,
           ferry_device_open(&(struct ferry_device_params){.name = name}, &device));
        assert_ptr_equal(device, fixture->device);
        expect_words(fixture->info.driver);
    }
}

static void test_environment(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = NULL;
    struct ferry_device_info info;
    struct ferry_device_params params = suite->params;
    params.name = NULL;
    setenv("FERRY_DEVICE", fixture->info.name, 1);
    OK(ferry_device_open(&params, &device));
    ferry_device_get_info(device, &info);
    assert_string_equal(info.name, fixture->info.name);
    assert_non_null(strstr(info.reason, "FERRY_DEVICE"));
    ferry_device_close(device);

    setenv("FERRY_DEVICE", "nosuch", 1);
    IS(FERRY_ERROR_NO_DEVICE, ferry_device_open(&params, &device));
    expect_words("nosuch");
    params.name = fixture->info.name; /* the name given goes before the environment */
    OK(ferry_device_open(&params, &device));
    ferry_device_close(device);
    unsetenv("FERRY_DEVICE");
}

static void test_path_of_environment(void **state)
{
    struct fixture *fixture = *state;
    struct ferry_device_params params = suite->params;
    suite_skip_unless((fixture->info.paths >> FERRY_PATH_STAGED & 1) != 0, "nothing is staged");
    params.path = FERRY_PATH_AUTO;
    setenv("FERRY_PATH", "staged", 1);
    ferry_device *device = open_with(NULL, &params);
    unsetenv("FERRY_PATH");
    struct mirror mirror = make_mirror(device, 1000, FERRY_STORAGE_PRIVATE, 2);
    struct ferry_stats stats = read_stats(device);
    assert_int_equal(stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_STAGED].operations, 1);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
    ferry_device_close(device);
    setenv("FERRY_PATH", "sideways", 1);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&params, &device));
    expect_words("sideways");
    unsetenv("FERRY_PATH");
}

static void test_bad_params(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *device = fixture->device;
    struct ferry_device_params params = suite->params;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&params, NULL));
    params.path = FERRY_PATH_BRIDGED;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&params, &device));
    params.path = (enum ferry_path)77;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&params, &device));
    params = suite->params;
    params.map_private = (enum ferry_map)77;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&params, &device));
    params = suite->params;
    params.staging_budget = 4095;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&params, &device));
    params = suite->params;
    params.reserved[0] = 1;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_device_open(&params, &device));
    assert_ptr_equal(device, fixture->device);
}

static void test_info(void **state)
{
    struct fixture *fixture = *state;
    const struct ferry_device_info *info = &fixture->info;
    assert_true(strlen(info->description) > 0);
    assert_true(strlen(info->reason) > 0);
    assert_true(info->queues >= 1);
    assert_true(info->total_memory > 0);
    assert_true(info->max_buffer_size > 0 && info->max_buffer_size <= info->max_allocation);
    assert_true((info->paths >> FERRY_PATH_DEVICE & 1) != 0);
    assert_true((info->paths >> FERRY_PATH_STAGED & 1) != 0);
    assert_int_equal((info->paths >> FERRY_PATH_IMPORTED & 1) != 0, info->import_granularity != 0);
    assert_int_equal(info->reserved[0], 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(ferry_status_name(FERRY_OK), "FERRY_OK");
    assert_string_equal(ferry_status_name(FERRY_ERROR_OUT_OF_RANGE), "FERRY_ERROR_OUT_OF_RANGE");
    assert_string_equal(ferry_status_name((enum ferry_status)999), "FERRY_ERROR_UNKNOWN");
    assert_non_null(ferry_status_text((enum ferry_status)999));
    assert_string_equal(ferry_path_name(FERRY_PATH_PIPELINED), "pipelined");
    assert_non_null(ferry_path_name((enum ferry_path)999));
    assert_int_equal(ferry_version(), FERRY_VERSION);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_list),
    SUITE_TEST(test_each_listed),
    SUITE_TEST(test_unknown_names),
    SUITE_TEST(test_environment),
    SUITE_TEST(test_path_of_environment),
    SUITE_TEST(test_bad_params),
    SUITE_TEST(test_info),
    SUITE_TEST(test_names),
};

SUITE_GROUP(devices);
