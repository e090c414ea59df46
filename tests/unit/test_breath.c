/* The direct path asks of many blocks whether anything touches them, and other threads get the
 * device's lock meanwhile. */
#include "base/base.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS = 4096, EACH = 16, AT_ONCE = 64 };

static _Atomic unsigned yields;

/* Stands for the C library's, which the lock is given up with. */
int sched_yield(void)
{
    atomic_fetch_add(&yields, 1);
    return 0;
}

struct fixture {
    ferry_device *device;
    ferry_buffer *buffer;
    struct ferry_external work; /* on bytes between the blocks, and it does not end */
    struct ferry_block blocks[BLOCKS];
    unsigned char host[BLOCKS * EACH];
};

static int set_up(void **state)
{
    static struct fixture fixture;
    const struct ferry_buffer_params params = {.size = 2 * BLOCKS * EACH};
    if (ferry_device_open(&(struct ferry_device_params){.name = "host"}, &fixture.device) ||
        ferry_buffer_create(fixture.device, &params, &fixture.buffer))
        return -1;
    const struct ferry_use use = {.buffer = fixture.buffer,
                                  .access = FERRY_ACCESS_WRITE,
                                  .offset = BLOCKS * EACH + EACH,
                                  .size = EACH};
    for (size_t i = 0; i < BLOCKS; i++)
        fixture.blocks[i] = (struct ferry_block){2 * i * EACH, i * EACH, EACH};
    memset(fixture.host, 0x5A, sizeof fixture.host);
    *state = &fixture;
    return ferry_external_begin(fixture.device, &use, 1, &fixture.work) ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    const enum ferry_status status =
        ferry_external_end(fixture->device, fixture->work.ticket, FERRY_OK);
    ferry_buffer_destroy(fixture->buffer);
    ferry_device_close(fixture->device);
    return status ? -1 : 0;
}

static void test_many_blocks(void **state)
{
    struct fixture *fixture = *state;
    unsigned char byte = 0;
    atomic_store(&yields, 0);
    assert_int_equal(
        ferry_copy_blocks_from_host(fixture->buffer, fixture->host, fixture->blocks, BLOCKS),
        FERRY_OK);
    assert_true(atomic_load(&yields) >= BLOCKS / AT_ONCE);
    assert_int_equal(ferry_copy_to_host(fixture->buffer, &byte, 1, 2 * (BLOCKS - 1) * EACH),
                     FERRY_OK);
    assert_int_equal(byte, 0x5A);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_blocks, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
