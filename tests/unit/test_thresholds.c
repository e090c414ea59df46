/* What is made of times, and that a threshold picks the engine of a copy. */
#include "api/calibrate.h"
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

/* A way takes some time to begin and some for each KiB; disturbed: every so many times. */
struct world {
    uint64_t start[2], per_kib[2];
    unsigned asked, unknown_at, disturbed_every;
};

static uint64_t fake_time(void *arg, bool second, uint64_t size)
{
    struct world *world = arg;
    world->asked++;
    if (world->asked == world->unknown_at)
        return 0;
    uint64_t time = world->start[second] + world->per_kib[second] * (size / KIB);
    bool disturbed = world->disturbed_every != 0 && world->asked % world->disturbed_every == 0;
    return disturbed ? 50 * time : time;
}

static bool race(struct world *world, uint64_t *out_from)
{
    const struct ferry__race race = {fake_time, world, 64 * KIB, 4 * MIB};
    return ferry__crossover(&race, out_from);
}

static void crossovers(void **state)
{
    (void)state;
    uint64_t from = 1;
    struct world world = {.start = {1, 100}, .per_kib = {1, 1}};
    assert_true(race(&world, &from));
    assert_true(from == UINT64_MAX); /* never faster */
    assert_true(world.asked >= 2 && world.asked <= 6);
    world = (struct world){.start = {2, 1}, .per_kib = {2, 1}};
    assert_true(race(&world, &from));
    assert_int_equal(from, 64 * KIB); /* always */
    world = (struct world){.start = {0, 400}, .per_kib = {2, 1}};
    assert_true(race(&world, &from));
    assert_int_equal(from, 1 * MIB); /* 512 KiB: 1024 against 912, an eighth and no more */
    world = (struct world){.start = {0, 0}, .per_kib = {100, 95}};
    assert_true(race(&world, &from));
    assert_true(from == UINT64_MAX); /* not clear */
}

static void times_are_unknown(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 20; at++) {
        uint64_t from = 77;
        struct world world = {.start = {2, 1}, .per_kib = {2, 1}, .unknown_at = at};
        assert_false(race(&world, &from));
        assert_int_equal(from, 77);
    }
}

/* What else the machine does makes times longer: whenever, the answer does not get worse than one
 * of those within bounds, and a first way that is faster stays. */
static void times_are_disturbed(void **state)
{
    (void)state;
    for (unsigned every = 2; every < 12; every++) {
        uint64_t from;
        struct world world = {.start = {1, 100}, .per_kib = {10, 30}, .disturbed_every = every};
        assert_true(race(&world, &from));
        assert_true(from == UINT64_MAX || every == 2); /* of every 2 it is always the same way */
        world = (struct world){.start = {2, 1}, .per_kib = {2, 1}, .disturbed_every = every};
        assert_true(race(&world, &from));
        assert_true(from == UINT64_MAX || (from >= 64 * KIB && from <= 4 * MIB));
    }
}

static const struct ferry__driver *real;
static unsigned engines[2];

static enum ferry_status spy_submit(void *state, const struct ferry__submission_info *info,
                                    char *why)
{
    for (size_t i = 0; i < info->count; i++)
        engines[info->commands[i].engine]++;
    return real->submit(state, info, why);
}

static void kernel_from(void **state)
{
    (void)state;
    ferry_device *device;
    ferry_buffer *buffers[2];
    const struct ferry_device_params params = {.name = "host",
                                               .map_private = FERRY_MAP_NEVER,
                                               .thresholds = {.kernel_copy_from = 8 * KIB}};
    setenv("FERRY_HOST", "align=4,kernel,kernel_from=1", 1); /* what the driver finds best */
    assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
    unsetenv("FERRY_HOST");
    struct ferry__driver driver = *(real = device->gpu.driver);
    driver.submit = spy_submit;
    device->gpu.driver = &driver;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            ferry_buffer_create(device, &(struct ferry_buffer_params){.size = MIB}, &buffers[i]),
            FERRY_OK);
    assert_int_equal(ferry_copy_buffer(buffers[0], buffers[1], 8 * KIB - 4, 0, 0), FERRY_OK);
    assert_int_equal(engines[FERRY__ENGINE_COPY], 1);
    assert_int_equal(engines[FERRY__ENGINE_KERNEL], 0);
    assert_int_equal(ferry_copy_buffer(buffers[0], buffers[1], 8 * KIB, 0, 0), FERRY_OK);
    assert_int_equal(engines[FERRY__ENGINE_COPY], 1);
    assert_int_equal(engines[FERRY__ENGINE_KERNEL], 1);
    for (size_t i = 0; i < 2; i++)
        ferry_buffer_destroy(buffers[i]);
    ferry_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crossovers),
        cmocka_unit_test(times_are_unknown),
        cmocka_unit_test(times_are_disturbed),
        cmocka_unit_test(kernel_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
