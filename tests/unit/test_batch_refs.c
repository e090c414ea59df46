/* A batch's references to its buffers: it has them while it needs them, and gives all back, however
 * many operations it has on one buffer, and whether others lie between them. */
#include "engine/buffer.h"

#include <ferry/ferry.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), FERRY_OK)

enum { SIZE = 64 };

static const unsigned counts[] = {1, 2, 3, 63, 64, 65, 66, 200};
enum { COUNTS = sizeof counts / sizeof *counts };

/* Both in turn, or each where it always is. */
struct world {
    ferry_device *device;
    ferry_buffer *pair[2];
    ferry_batch *batch;
    unsigned char host[4];
    bool turns;
};

static unsigned refs(const struct world *world, unsigned which)
{
    return atomic_load(&world->pair[which]->refs);
}

static void open_world(struct world *world, enum ferry_map map)
{
    const struct ferry_device_params params = {.name = "host", .map_private = map};
    OK(ferry_device_open(&params, &world->device));
    for (unsigned i = 0; i < 2; i++)
        OK(ferry_buffer_create(world->device,
                               &(struct ferry_buffer_params){.size = SIZE, .zeroed = true},
                               &world->pair[i]));
    OK(ferry_batch_create(world->device, &world->batch));
    OK(ferry_wait_idle(world->device));
}

/* Three uses of one of the pair and one of the other. */
static void add(struct world *world, unsigned number)
{
    const unsigned turn = world->turns && number % 2;
    ferry_buffer *one = world->pair[turn], *other = world->pair[!turn];
    OK(ferry_batch_copy_from_host(world->batch, one, world->host, sizeof world->host, 1));
    OK(ferry_batch_fill_buffer(world->batch, one, 9, 20, "f", 1));
    OK(ferry_batch_copy_buffer(world->batch, one, other, 5, 40, 30));
}

/* Its user has the one that is left. */
static void expect_given_back(const struct world *world)
{
    for (unsigned i = 0; i < 2; i++)
        while (refs(world, i) != 1) /* an operation's are given back soon after it is done */
            sched_yield();
}

static void run(enum ferry_map map, bool submit, bool refused)
{
    struct world world = {.host = "abc"};
    for (size_t i = 0; i < 2 * COUNTS; i++) {
        world.turns = i & 1;
        open_world(&world, map);
        const unsigned count = counts[i / 2];
        for (unsigned n = 0; n < count; n++)
            add(&world, n);
        assert_true(refs(&world, 0) + refs(&world, 1) >= 2 + 4 * count);
        assert_true(refs(&world, 1) >= 1 + count);
        if (refused)
            assert_int_equal(
                ferry_batch_copy_from_host(world.batch, world.pair[0], world.host, SIZE, 1),
                FERRY_ERROR_OUT_OF_RANGE);
        if (submit) {
            OK(ferry_batch_submit(world.batch, NULL, NULL, NULL));
            OK(ferry_wait_idle(world.device));
            expect_given_back(&world);
        }
        ferry_batch_destroy(world.batch);
        expect_given_back(&world);
        ferry_buffer_destroy(world.pair[0]);
        ferry_buffer_destroy(world.pair[1]);
        ferry_device_close(world.device);
    }
}

static void unsubmitted(void **state)
{
    (void)state;
    run(FERRY_MAP_AUTO, false, false);
    run(FERRY_MAP_NEVER, false, true);
}

static void inside_the_call(void **state)
{
    (void)state;
    run(FERRY_MAP_AUTO, true, false);
    run(FERRY_MAP_AUTO, true, true);
}

static void by_the_queue(void **state)
{
    (void)state;
    run(FERRY_MAP_NEVER, true, false);
    run(FERRY_MAP_NEVER, true, true);
}

int main(void)
{
    setenv("FERRY_THRESHOLDS", "default", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsubmitted),
        cmocka_unit_test(inside_the_call),
        cmocka_unit_test(by_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
