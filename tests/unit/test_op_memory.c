/*
 * What a parked operation costs of the allocator, all that it needs while it waits counted: the
 * op, its place in the order, its edge, and where it is found by its ticket.
 */
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "hang.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* 0: the allocator does not tell, as other C libraries' and the sanitizers' do not. */
#if defined __GLIBC__ && __GLIBC__ == 2 && __GLIBC_MINOR__ >= 33
#include <malloc.h>

static size_t allocated(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}
#else
static size_t allocated(void)
{
    return 0;
}
#endif

enum { OPS = 8192, LOTS = 8, SLOT = 64, SIZE = 12 * OPS * SLOT };

/* Bytes of the allocator, its own words for each allocation counted. */
enum { ONE_RANGE = 400, TWO_RANGES = 528, CALLBACK = 64, BATCHED = 96 };

static ferry_device *device;
static ferry_buffer *buffer, *other;
static unsigned char bytes[SLOT];
static struct ferry_external work;

static int set_up(void **state)
{
    (void)state;
    const struct ferry_device_params params = {.name = "host", .path = FERRY_PATH_STAGED};
    const struct ferry_buffer_params whole = {.size = SIZE};
    setenv("FERRY_HOST", "no_map,events", 1);
    alarm(HANG_SECONDS);
    if (ferry_device_open(&params, &device) || ferry_buffer_create(device, &whole, &buffer) ||
        ferry_buffer_create(device, &whole, &other))
        return -1;
    const struct ferry_use uses[] = {{.buffer = buffer, .access = FERRY_ACCESS_WRITE},
                                     {.buffer = other, .access = FERRY_ACCESS_WRITE}};
    return ferry_external_begin(device, uses, 2, &work) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    const enum ferry_status ended = ferry_external_end(device, work.ticket, FERRY_ERROR_IO);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(other);
    ferry_device_close(device);
    alarm(0);
    unsetenv("FERRY_HOST");
    return ended ? -1 : 0;
}

static void nothing(enum ferry_status status, ferry_ticket ticket, void *user)
{
    (void)status;
    (void)ticket;
    (void)user;
}

typedef enum ferry_status begin(size_t offset, ferry_callback callback, ferry_ticket *out_ticket);

static enum ferry_status upload(size_t offset, ferry_callback callback, ferry_ticket *out_ticket)
{
    return ferry_copy_from_host_async(buffer, bytes, SLOT, offset, callback, NULL, out_ticket);
}

static enum ferry_status download(size_t offset, ferry_callback callback, ferry_ticket *out_ticket)
{
    return ferry_copy_to_host_async(buffer, bytes, SLOT, offset, callback, NULL, out_ticket);
}

static enum ferry_status fill(size_t offset, ferry_callback callback, ferry_ticket *out_ticket)
{
    return ferry_fill_buffer_async(buffer, SLOT, offset, "abcd", 4, callback, NULL, out_ticket);
}

static enum ferry_status copy(size_t offset, ferry_callback callback, ferry_ticket *out_ticket)
{
    return ferry_copy_buffer_async(other, buffer, SLOT, offset, offset, callback, NULL, out_ticket);
}

static size_t in_use(void)
{
    const size_t bytes = allocated();
    if (!bytes)
        skip();
    return bytes;
}

/* Bytes an operation, for operations at slots of their own from the given one on: in that lot of
 * them in which the allocator gave least for anything else. */
static size_t cost(begin *one, size_t first, ferry_callback callback)
{
    size_t least = SIZE_MAX;
    ferry_ticket ticket = 0;
    for (size_t lot = 0; lot < LOTS; lot++) {
        const size_t before = in_use();
        for (size_t i = 0; i < OPS / LOTS; i++)
            assert_int_equal(one(first++ * SLOT, callback, &ticket), FERRY_OK);
        const size_t each = (in_use() - before) / (OPS / LOTS);
        least = each < least ? each : least;
    }
    assert_int_equal(ferry_poll(device, ticket), FERRY_PENDING);
    return least;
}

static void a_parked_operation_is_small(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        begin *one;
        size_t most;
    } operations[] = {{"upload", upload, ONE_RANGE},
                      {"download", download, ONE_RANGE},
                      {"fill", fill, ONE_RANGE},
                      {"copy", copy, TWO_RANGES}};
    (void)cost(upload, 0, nothing); /* starts the threads */
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        const size_t plain = cost(operations[i].one, (2 * i + 1) * OPS, NULL);
        const size_t called = cost(operations[i].one, (2 * i + 2) * OPS, nothing);
        printf("%s: %zu bytes, %zu with a callback\n", operations[i].name, plain, called);
        assert_true(plain >= 1 && plain <= operations[i].most);
        assert_true(called >= plain && called <= plain + CALLBACK);
    }
}

static void so_is_one_of_a_batch(void **state)
{
    (void)state;
    ferry_batch *batch;
    const size_t before = in_use();
    assert_int_equal(ferry_batch_create(device, &batch), FERRY_OK);
    for (size_t i = 0; i < OPS; i++)
        assert_int_equal(ferry_batch_copy_from_host(batch, buffer, bytes, SLOT, 2 * i * SLOT),
                         FERRY_OK);
    assert_int_equal(ferry_batch_submit(batch, NULL, NULL, NULL), FERRY_OK);
    const size_t each = (in_use() - before) / OPS;
    ferry_batch_destroy(batch);
    printf("one of a batch: %zu bytes\n", each);
    assert_true(each >= 1 && each <= BATCHED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_parked_operation_is_small, set_up, tear_down),
        cmocka_unit_test_setup_teardown(so_is_one_of_a_batch, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
