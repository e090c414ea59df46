/* What values and builds are called. */
#include <ferry/ferry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void test_version(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", FERRY_VERSION_MAJOR, FERRY_VERSION_MINOR,
             FERRY_VERSION_PATCH);
    assert_string_equal(ferry_version_string(), text);
    assert_non_null(strstr(ferry_build_drivers(), "host"));
    assert_non_null(ferry_build_libraries());
}

static void test_values(void **state)
{
    (void)state;
    assert_string_equal(ferry_operation_name(FERRY_OPERATION_UPLOAD), "upload");
    assert_string_equal(ferry_operation_name(FERRY_OPERATION_FILL), "fill");
    assert_string_equal(ferry_device_kind_name(FERRY_DEVICE_HOST), "host");
    assert_string_equal(ferry_device_kind_name(FERRY_DEVICE_VIRTUAL), "virtual");
    for (int value = 0; value < FERRY_OPERATION_COUNT; value++)
        assert_string_not_equal(ferry_operation_name((enum ferry_operation)value), "unknown");
    static const int wrong[] = {-1, 99, 1 << 30};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_string_equal(ferry_operation_name((enum ferry_operation)wrong[i]), "unknown");
        assert_string_equal(ferry_device_kind_name((enum ferry_device_kind)wrong[i]), "unknown");
    }
}

/* Every driver of the build has a device or a reason; the counts are those of the devices' list. */
static void test_drivers(void **state)
{
    (void)state;
    struct ferry_driver_info drivers[16];
    struct ferry_device_info devices[64];
    size_t count = 0, device_count = 0;
    bool host = false;
    assert_int_equal(ferry_driver_list(drivers, 16, &count), FERRY_OK);
    assert_int_equal(ferry_device_list(devices, 64, &device_count), FERRY_OK);
    for (size_t i = 0; i < count; i++) {
        uint32_t listed = 0;
        for (size_t k = 0; k < device_count; k++)
            listed += !strcmp(devices[k].driver, drivers[i].name);
        assert_int_equal(drivers[i].device_count, listed);
        assert_int_equal(!drivers[i].reason[0], listed > 0);
        assert_int_equal(!!strstr(ferry_build_drivers(), drivers[i].name), drivers[i].built_in);
        host = host || (!strcmp(drivers[i].name, "host") && listed > 0);
    }
    assert_true(host);
    size_t again = 0;
    assert_int_equal(ferry_driver_list(NULL, 0, &again), FERRY_OK);
    assert_int_equal(again, count);
    assert_int_equal(ferry_driver_list(NULL, 1, &again), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_driver_list(drivers, 1, NULL), FERRY_ERROR_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_drivers),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
