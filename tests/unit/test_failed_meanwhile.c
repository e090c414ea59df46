/* R9: a write that fails within another's copy stays failed, though the other covers the same bytes.
 * The copy stops at a page of its source that cannot be read; the fault's handler does the rest. */
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "host.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { SIZE = 3 << 20, PAGE = 4096 }; /* more than an asynchronous call copies itself */

static ferry_device *device;
static ferry_buffer *buffer;
static unsigned char *source, *other;
static enum ferry_status meanwhile;

static enum ferry_status fail_a_write(void)
{
    ferry_ticket ticket;
    ferry__host_set(device->gpu.state, "fail_exec", 1);
    const enum ferry_status status =
        ferry_copy_from_host_async(buffer, other, SIZE, 0, NULL, NULL, &ticket);
    return status != FERRY_OK ? status : ferry_wait(device, ticket, FERRY_FOREVER);
}

static void at_the_page(int signal_number)
{
    (void)signal_number;
    meanwhile = fail_a_write();
    (void)mprotect(source, PAGE, PROT_READ | PROT_WRITE);
}

static void a_newer_failure_stays(void **state)
{
    (void)state;
    unsigned char byte;
    struct sigaction action = {.sa_handler = at_the_page}, before;
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device),
                     FERRY_OK);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer),
        FERRY_OK);
    other = calloc(1, SIZE);
    source = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_non_null(other);
    assert_true(source != MAP_FAILED);

    assert_int_equal(fail_a_write(), FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(ferry_copy_to_host(buffer, &byte, 1, 0), FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(mprotect(source, PAGE, PROT_NONE), 0);
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    assert_int_equal(ferry_copy_from_host(buffer, source, SIZE, 0), FERRY_OK);
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    assert_int_equal(meanwhile, FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(ferry_copy_to_host(buffer, &byte, 1, 0), FERRY_ERROR_EXECUTION_FAILED);

    assert_int_equal(ferry_copy_from_host(buffer, source, SIZE, 0), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(buffer, &byte, 1, 0), FERRY_OK);
    munmap(source, SIZE);
    free(other);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_newer_failure_stays)};
    return cmocka_run_group_tests_name("failed_meanwhile", tests, NULL, NULL);
}
