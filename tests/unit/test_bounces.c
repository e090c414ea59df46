/* A device that writes whole words only, and has no kernel, or none so far: what the host merges for it is a
 * fallback, counted, and an error where fallbacks are forbidden. */
#include <ferry/ferry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 256 };

struct world {
    ferry_device *device, *other;
    ferry_buffer *buffer, *from, *others;
    unsigned char bytes[SIZE];
};

static ferry_buffer *make(ferry_device *device)
{
    ferry_buffer *buffer;
    struct ferry_buffer_params params = {.size = SIZE, .zeroed = true};
    assert_int_equal(ferry_buffer_create(device, &params, &buffer), FERRY_OK);
    return buffer;
}

static struct world make_world_of(const char *knobs, bool no_fallback)
{
    struct world world = {0};
    struct ferry_device_params params = {
        .name = "host", .map_private = FERRY_MAP_NEVER, .no_fallback = no_fallback};
    setenv("FERRY_HOST", knobs, 1);
    ferry_set_log(NULL, NULL, FERRY_LOG_ERROR);
    assert_int_equal(ferry_device_open(&params, &world.device), FERRY_OK);
    unsetenv("FERRY_HOST");
    params.no_fallback = false;
    assert_int_equal(ferry_device_open(&params, &world.other), FERRY_OK);
    world.buffer = make(world.device);
    world.from = make(world.device);
    world.others = make(world.other);
    memset(world.bytes, 7, SIZE);
    return world;
}

static struct world make_world(bool no_fallback)
{
    return make_world_of("align=4,fill_pattern=4,no_kernel", no_fallback);
}

static void drop_world(struct world *world)
{
    ferry_buffer_destroy(world->buffer);
    ferry_buffer_destroy(world->from);
    ferry_buffer_destroy(world->others);
    ferry_device_close(world->device);
    ferry_device_close(world->other);
}

static struct ferry_stats stats_of(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats;
}

/* What the device can do by itself. */
static void whole_words(struct world *world)
{
    ferry_buffer *buffer = world->buffer;
    assert_int_equal(ferry_copy_from_host(buffer, world->bytes, 8, 4), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(buffer, world->bytes, 8, 4), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(buffer, world->bytes, 3, 5), FERRY_OK); /* words are read */
    assert_int_equal(ferry_copy_buffer(buffer, world->from, 8, 16, 4), FERRY_OK);
    assert_int_equal(ferry_copy_buffer(buffer, buffer, 3, 1, 1), FERRY_OK); /* onto itself */
    assert_int_equal(ferry_copy_buffer(buffer, world->others, 8, 4, 1), FERRY_OK);
    assert_int_equal(ferry_fill_buffer(buffer, 8, 4, "abc", 3), FERRY_OK);
    assert_int_equal(ferry_fill_buffer(buffer, 8, 4, "abcd", 4), FERRY_OK);
    assert_int_equal(ferry_copy_from_host(buffer, NULL, 0, 3), FERRY_OK);
}

static enum ferry_status batched(struct world *world, size_t offset)
{
    ferry_batch *batch;
    ferry_ticket ticket;
    assert_int_equal(ferry_batch_create(world->device, &batch), FERRY_OK);
    assert_int_equal(ferry_batch_fill_buffer(batch, world->buffer, 4, 4, "a", 1), FERRY_OK);
    assert_int_equal(ferry_batch_fill_buffer(batch, world->buffer, 3, offset, "a", 1), FERRY_OK);
    enum ferry_status status = ferry_batch_submit(batch, NULL, NULL, &ticket);
    if (status == FERRY_OK)
        assert_int_equal(ferry_wait(world->device, ticket, FERRY_FOREVER), FERRY_OK);
    ferry_batch_destroy(batch);
    return status;
}

static enum ferry_status later(struct world *world)
{
    ferry_ticket ticket;
    enum ferry_status status =
        ferry_copy_from_host_async(world->buffer, world->bytes, 3, 1, NULL, NULL, &ticket);
    if (status == FERRY_OK)
        assert_int_equal(ferry_wait(world->device, ticket, FERRY_FOREVER), FERRY_OK);
    return status;
}

enum { PARTS = 6 };

/* Each writes a part of a word. */
static void parts_of_words(struct world *world, enum ferry_status expected)
{
    ferry_buffer *buffer = world->buffer;
    assert_int_equal(ferry_copy_from_host(buffer, world->bytes, 3, 1), expected);
    assert_int_equal(ferry_copy_buffer(buffer, world->from, 8, 1, 4), expected);
    assert_int_equal(ferry_fill_buffer(buffer, 3, 1, "a", 1), expected);
    assert_int_equal(ferry_copy_buffer(buffer, world->others, 3, 1, 0), expected);
    assert_int_equal(batched(world, 1), expected);
    assert_int_equal(later(world), expected);
}

static void counted(void **state)
{
    (void)state;
    struct world world = make_world(false);
    whole_words(&world);
    assert_int_equal(stats_of(world.device).bounced, 0);
    assert_int_equal(stats_of(world.device).fallback_unaligned, 0);
    parts_of_words(&world, FERRY_OK);
    assert_int_equal(stats_of(world.device).bounced, PARTS);
    assert_int_equal(stats_of(world.device).fallback_unaligned, PARTS);
    assert_int_equal(stats_of(world.other).bounced, 0);
    drop_world(&world);
}

static void forbidden(void **state)
{
    (void)state;
    struct world world = make_world(true);
    unsigned char before[SIZE], after[SIZE];
    whole_words(&world);
    assert_int_equal(ferry_copy_to_host(world.buffer, before, SIZE, 0), FERRY_OK);
    parts_of_words(&world, FERRY_ERROR_UNSUPPORTED);
    assert_int_equal(ferry_copy_to_host(world.buffer, after, SIZE, 0), FERRY_OK);
    assert_memory_equal(before, after, SIZE);
    assert_int_equal(stats_of(world.device).bounced, 0);
    assert_int_equal(stats_of(world.device).fallback_unaligned, PARTS);
    drop_world(&world);
}

/* A kernel that is compiled meanwhile: what needs it goes through the host until it is there. */
static void late(void **state)
{
    (void)state;
    struct world world = make_world_of("align=4,fill_pattern=4,kernel,late_kernel=3", false);
    parts_of_words(&world, FERRY_OK);
    const uint64_t bounced = stats_of(world.device).bounced;
    assert_true(bounced > 0 && bounced < PARTS);
    assert_int_equal(stats_of(world.device).fallback_unaligned, bounced);
    parts_of_words(&world, FERRY_OK);
    assert_int_equal(stats_of(world.device).bounced, bounced);
    drop_world(&world);
}

/* Where that is forbidden it is waited for. */
static void late_and_forbidden(void **state)
{
    (void)state;
    struct world world = make_world_of("align=4,fill_pattern=4,kernel,late_kernel=all", true);
    parts_of_words(&world, FERRY_OK);
    assert_int_equal(stats_of(world.device).bounced, 0);
    drop_world(&world);
}

/* And where the CPU reaches the memory: it may write beside what the host would merge. */
static void late_and_mapped(void **state)
{
    (void)state;
    struct world world = make_world_of("align=4,fill_pattern=4,kernel,late_kernel=all", false);
    struct ferry_buffer_params params = {.size = SIZE, .storage = FERRY_STORAGE_SHARED};
    ferry_buffer *shared;
    assert_int_equal(ferry_buffer_create(world.device, &params, &shared), FERRY_OK);
    const struct ferry_stats before = stats_of(world.device);
    assert_int_equal(ferry_copy_from_host(shared, world.bytes, 3, 1), FERRY_OK);
    const struct ferry_stats after = stats_of(world.device);
    assert_int_equal(after.submissions, before.submissions);
    assert_int_equal(after.bounced, 0);
    ferry_buffer_destroy(shared);
    drop_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counted),
        cmocka_unit_test(forbidden),
        cmocka_unit_test(late),
        cmocka_unit_test(late_and_forbidden),
        cmocka_unit_test(late_and_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
