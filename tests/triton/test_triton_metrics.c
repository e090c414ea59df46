#include "support.h"

static double value(const char *family, const char *labels)
{
    succeed(ferry_triton_metrics_update());
    return standin_metric(family, labels);
}

/* In a process of its own: what is not there is done without, for good, and that is no error. */
static void absent(void **state)
{
    (void)state;
    standin_without_metrics(true);
    succeed(ferry_triton_metrics_update());
    standin_without_metrics(false);
    succeed(ferry_triton_metrics_update());
    assert_true(standin_metric("ferry_submissions_total", "device=\"host:0\"") < 0);
    assert_true(standin_metric("ferry_triton_gathers_total", "") < 0);
}

static void follow_the_device(void **state)
{
    uint8_t bytes[4096] = {0};
    char label[64], labels[128];
    struct ferry_device_info info;
    (void)state;
    ferry_device_get_info(device, &info);
    snprintf(label, sizeof label, "device=\"%s\"", info.name);
    snprintf(labels, sizeof labels, "%s,operation=\"upload\",path=\"staged\"", label);
    ferry_buffer *buffer = make_buffer(device, sizeof bytes);
    assert_int_equal(ferry_copy_from_host(buffer, bytes, sizeof bytes, 0), FERRY_OK);
    const double operations = value("ferry_operations_total", labels);
    const double sent = value("ferry_operation_bytes_total", labels);
    assert_true(operations >= 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ferry_copy_from_host(buffer, bytes, sizeof bytes, 0), FERRY_OK);
    assert_true(value("ferry_operations_total", labels) == operations + 3);
    assert_true(value("ferry_operation_bytes_total", labels) == sent + 3 * 4096);
    assert_true(value("ferry_operation_duration_seconds_sum", labels) > 0);
    char bound[192];
    snprintf(bound, sizeof bound, "%s,le=\"+Inf\"", labels);
    assert_true(value("ferry_operation_duration_seconds_bucket", bound) ==
                value("ferry_operation_duration_seconds_count", labels));
    assert_true(value("ferry_memory_in_use_bytes", label) == 4096);
    assert_true(value("ferry_device_time_seconds_total", label) >= 0);
    ferry_buffer_destroy(buffer);
    assert_true(value("ferry_memory_in_use_bytes", label) == 0);
    /* A reset makes Ferry's counters fall; Triton's go on. */
    const double before = value("ferry_submissions_total", label);
    ferry_device_reset_stats(device);
    assert_true(value("ferry_submissions_total", label) == before);
    buffer = make_buffer(device, 64);
    fill(buffer, 1);
    assert_true(value("ferry_submissions_total", label) ==
                before + 2); /* its zeros, and the fill */
    ferry_buffer_destroy(buffer);
}

/* A device that is closed tells its last numbers; opened anew it goes on from there. */
static void outlive_the_device(void **state)
{
    const char *label = "device=\"host:1\"";
    ferry_device *other = NULL;
    (void)state;
    for (int round = 1; round <= 3; round++) {
        succeed(ferry_triton_device("host:1", &other));
        succeed(ferry_triton_metrics_update());
        ferry_buffer *buffer = make_buffer(other, 64);
        fill(buffer, 1);
        ferry_buffer_destroy(buffer);
        ferry_triton_device_release(other);
        assert_true(standin_metric("ferry_submissions_total", label) == 2 * round);
    }
}

static void follow_the_layer(void **state)
{
    (void)state;
    const double before = value("ferry_triton_gathers_total", "");
    ferry_ticket ticket;
    succeed(ferry_triton_gather(device, NULL, 0, NULL, 0, NULL, NULL, NULL, NULL, &ticket));
    assert_true(value("ferry_triton_gathers_total", "") == before + 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {TEST(follow_the_device), TEST(outlive_the_device),
                                       TEST(follow_the_layer)};
    const struct CMUnitTest without[] = {TEST(absent)};
    if (argc > 1 && !strcmp(argv[1], "absent"))
        return cmocka_run_group_tests(without, open_device, close_device);
    return cmocka_run_group_tests(tests, open_device, close_device);
}
