/* Ids of devices come round again after 4095 opens: two that are open never have the same. */
#include <ferry/ferry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { IDS = 4095 };

static ferry_device *open_host(void)
{
    ferry_device *device = NULL;
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device),
                     FERRY_OK);
    return device;
}

static ferry_buffer *fill_buffer(ferry_device *device, ferry_ticket *out_ticket)
{
    ferry_buffer *buffer = NULL;
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 64}, &buffer), FERRY_OK);
    assert_int_equal(ferry_zero_buffer_async(buffer, NULL, NULL, out_ticket), FERRY_OK);
    return buffer;
}

static void ids_come_round(void **state)
{
    (void)state;
    ferry_ticket first_ticket, last_ticket;
    ferry_device *first = open_host(), *last = open_host();
    for (unsigned i = 2; i <= IDS; i++) {
        ferry_device_close(last);
        last = open_host();
    }
    ferry_buffer *first_buffer = fill_buffer(first, &first_ticket);
    ferry_buffer *last_buffer = fill_buffer(last, &last_ticket);
    assert_int_equal(ferry_poll(first, last_ticket), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_poll(last, first_ticket), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_wait(first, first_ticket, FERRY_FOREVER), FERRY_OK);
    ferry_buffer_destroy(first_buffer);
    ferry_buffer_destroy(last_buffer);
    ferry_device_close(first);
    ferry_device_close(last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids_come_round)};
    return cmocka_run_group_tests_name("device_ids", tests, NULL, NULL);
}
