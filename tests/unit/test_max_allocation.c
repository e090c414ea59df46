/* A device whose allocations are small: whatever memory Ferry takes for a transfer is such, too. */
#define _GNU_SOURCE
#include <ferry/ferry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 250000 };

struct world {
    ferry_device *device, *other;
    ferry_buffer *buffer, *far;
    unsigned char bytes[SIZE], got[SIZE];
};

static int open_world(void **state)
{
    static struct world world;
    const struct ferry_device_params params = {.name = "host", .map_private = FERRY_MAP_NEVER};
    const struct ferry_buffer_params size = {.size = SIZE};
    setenv("FERRY_HOST", "max_allocation=256K,no_import", 1);
    for (size_t i = 0; i < SIZE; i++)
        world.bytes[i] = (unsigned char)(i * 7 + i / 251);
    memset(world.got, 0, SIZE);
    *state = &world;
    return ferry_device_open(&params, &world.device) || ferry_device_open(&params, &world.other) ||
           ferry_buffer_create(world.device, &size, &world.buffer) ||
           ferry_buffer_create(world.other, &size, &world.far);
}

static int close_world(void **state)
{
    struct world *world = *state;
    ferry_buffer_destroy(world->buffer);
    ferry_buffer_destroy(world->far);
    ferry_device_close(world->device);
    ferry_device_close(world->other);
    unsetenv("FERRY_HOST");
    return 0;
}

static void ok(enum ferry_status status)
{
    if (status)
        fail_msg("%s: %s", ferry_status_name(status), ferry_last_error());
}

static void staging(void **state)
{
    struct world *world = *state;
    ok(ferry_copy_from_host(world->buffer, world->bytes, SIZE, 0));
    ok(ferry_copy_to_host(world->buffer, world->got, SIZE, 0));
    assert_memory_equal(world->bytes, world->got, SIZE);
}

static void files(void **state)
{
    struct world *world = *state;
    FILE *in = tmpfile(), *out = tmpfile();
    assert_true(in && out && fwrite(world->bytes, 1, SIZE, in) == SIZE && !fflush(in));
    ok(ferry_copy_from_file(world->buffer, fileno(in), 0, SIZE, 0));
    ok(ferry_copy_to_file(world->buffer, fileno(out), 0, SIZE, 0));
    assert_int_equal(pread(fileno(out), world->got, SIZE, 0), SIZE);
    assert_memory_equal(world->bytes, world->got, SIZE);
    fclose(in);
    fclose(out);
}

static void bridges(void **state)
{
    struct world *world = *state;
    ok(ferry_copy_from_host(world->buffer, world->bytes, SIZE, 0));
    ok(ferry_copy_buffer(world->far, world->buffer, SIZE - 3, 1, 2));
    ok(ferry_copy_to_host(world->far, world->got, SIZE - 3, 1));
    assert_memory_equal(world->bytes + 2, world->got, SIZE - 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(staging, open_world, close_world),
        cmocka_unit_test_setup_teardown(files, open_world, close_world),
        cmocka_unit_test_setup_teardown(bridges, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
