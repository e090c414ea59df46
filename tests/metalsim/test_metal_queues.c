/* The Metal driver's submissions and events, through struct ferry__driver alone. */
#include "metal_machines.h"

#include "drivers/metal/objc.h"

/* --- submissions ------------------------------------------------------------------------------ */

enum { MANY = 1000 };

/* More than the queue has command buffers; each result is there when its value is. */
static void many(struct world *world, const struct machine *machine)
{
    (void)machine;
    struct ferry__memory m = alloc(world, FERRY__MEMORY_PRIVATE, 4096);
    static struct ferry__result records[MANY];
    uint64_t event = world->limits.queues[0].event, seen = 0;
    struct ferry__command command = fill(&m, 0, 4096, 1);
    for (int i = 0; i < MANY; i++) {
        records[i].status = FERRY_PENDING;
        assert_int_equal(submit(world, 0, &command, 1, NULL, 0, &records[i]), FERRY_OK);
    }
    while (seen < MANY) {
        driver->wait_any(world->state, &(struct ferry_sync){event, seen + 1}, 1, UINT64_MAX);
        uint64_t now = driver->completed(world->state, event);
        for (; seen < now; seen++)
            assert_int_equal(records[seen].status, FERRY_OK);
    }
    assert_true(records[0].device_ns > 0);
    assert_true(counts().most_out <= 240); /* of 256: the others are the user's */
    give(world, &m);
}

static void test_many(void **unused)
{
    (void)unused;
    on_machines(many);
}

/* What the work costs: one command buffer, one encoder for all commands of one engine. */
static void test_costs(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){.machine = METALSIM_AMD});
    struct ferry__memory src = alloc(&world, FERRY__MEMORY_UPLOAD, 4000);
    struct ferry__memory dst = alloc(&world, FERRY__MEMORY_READBACK, 4000);
    static struct ferry__command commands[1000];
    for (int i = 0; i < 1000; i++)
        commands[i] = copy(&dst, 4 * (unsigned)i, &src, 4 * (unsigned)i, 4);
    struct metalsim_counts before = counts();
    assert_int_equal(run(&world, commands, 1000).status, FERRY_OK);
    struct metalsim_counts after = counts();
    assert_int_equal(after.commits - before.commits, 1);
    assert_int_equal(after.blit_encoders - before.blit_encoders, 1);
    assert_int_equal(after.compute_encoders - before.compute_encoders, 0);
    assert_int_equal(after.copies - before.copies, 1000);
    assert_int_equal(after.synchronizes - before.synchronizes, 1);
    assert_int_equal(after.signals - before.signals, 0); /* nobody waits for it on the GPU */
    assert_int_equal(after.plain_signals - before.plain_signals, 0);
    give(&world, &src);
    give(&world, &dst);
    close_world(&world);
}

static uint64_t shared_value(uint64_t event)
{
    void *pool = mtl_pool_push();
    uint64_t value = mtl_event_value((mtl_id)(uintptr_t)event);
    mtl_pool_pop(pool);
    return value;
}

/* --- events ----------------------------------------------------------------------------------- */

static void external(struct world *world, const struct machine *machine)
{
    (void)machine;
    uint64_t event = 0;
    assert_int_equal(driver->event_create(world->state, &event, world->why), FERRY_OK);
    assert_true(event != 0);
    assert_int_equal(driver->completed(world->state, event), 0);
    struct ferry__memory m = alloc(world, FERRY__MEMORY_SHARED, 64);
    struct ferry__result result = {.status = FERRY_PENDING};
    struct ferry__command command = fill(&m, 0, 64, 1);
    memset(m.host, 0, 64);
    struct ferry_sync point = {event, 5};
    assert_int_equal(submit(world, 0, &command, 1, &point, 1, &result), FERRY_OK);
    driver->wait_any(world->state, &point, 1, 1000000);
    assert_int_equal(driver->completed(world->state, world->limits.queues[0].event), 0);
    driver->event_signal(world->state, event, 4);
    driver->wait_any(world->state, &point, 1, 1000000);
    assert_int_equal(m.host[0], 0);
    driver->event_signal(world->state, event, 5);
    while (driver->completed(world->state, event) < 5)
        driver->wait_any(world->state, &point, 1, UINT64_MAX);
    wait_value(world, 0, 1);
    assert_int_equal(result.status, FERRY_OK);
    assert_int_equal(m.host[63], 0x31);
    driver->event_destroy(world->state, event);
    give(world, &m);
}

static void test_external_events(void **unused)
{
    (void)unused;
    on_machines(external);
}

/* Between our queues the GPU's own events order the work; the shared ones, which cost more, are
 * signalled from when somebody else may look, and have then reached what went before. */
static void test_shared_events(void **unused)
{
    (void)unused;
    struct world world;
    start_machine(&(struct metalsim_config){0});
    open_with(&world, (struct ferry__open_params){.queues = 2});
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    struct ferry__command command = fill(&m, 0, 4096, 1);
    struct ferry__result records[3];
    struct ferry_sync wait = {world.limits.queues[0].event, 1};
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &records[0]), FERRY_OK);
    assert_int_equal(submit(&world, 1, &command, 1, &wait, 1, &records[1]), FERRY_OK);
    wait_value(&world, 1, 1);
    assert_int_equal(counts().plain_signals, 2);
    assert_int_equal(counts().plain_waits, 1);
    assert_int_equal(counts().signals + counts().waits, 0);
    assert_int_equal(shared_value(wait.event), 0);
    /* One is on its way, and does not signal the shared event; one comes after. */
    assert_int_equal(driver->event_create(world.state, &world.values[2], world.why), FERRY_OK);
    assert_int_equal(shared_value(wait.event), 1);
    struct ferry_sync user = {world.values[2], 1};
    assert_int_equal(submit(&world, 0, &command, 1, &user, 1, &records[2]), FERRY_OK);
    assert_int_equal(counts().signals, 1);
    assert_int_equal(counts().waits, 1);
    driver->event_signal(world.state, world.values[2], 1);
    wait_value(&world, 0, 2);
    assert_int_equal(shared_value(wait.event), 2);
    driver->event_destroy(world.state, world.values[2]);
    give(&world, &m);
    close_world(&world);
}

/* What was submitted before there was external work, and ends after. */
static void test_shared_event_later(void **unused)
{
    (void)unused;
    for (unsigned round = 1; round <= 20; round++) {
        struct world world;
        open_world(&world, (struct metalsim_config){.delay_us = 500, .seed = round});
        struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
        struct ferry__command command = fill(&m, 0, 4096, 1);
        struct ferry__result result;
        uint64_t event = 0;
        assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &result), FERRY_OK);
        assert_int_equal(driver->event_create(world.state, &event, world.why), FERRY_OK);
        while (shared_value(world.limits.queues[0].event) < 1)
            driver->wait_any(world.state, NULL, 0, 100000);
        driver->event_destroy(world.state, event);
        give(&world, &m);
        close_world(&world);
    }
}

/* wait_any is told of an event that another thread raises; one never raised leaks nothing. */
static void *raise_event(void *argument)
{
    struct world *world = argument;
    driver->event_signal(world->state, world->values[1], 7);
    return NULL;
}

static void test_waiting_for_events(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){.delay_us = 20000}); /* answers come late */
    uint64_t never = 0;
    assert_int_equal(driver->event_create(world.state, &world.values[1], world.why), FERRY_OK);
    assert_int_equal(driver->event_create(world.state, &never, world.why), FERRY_OK);
    struct ferry_sync points[] = {{never, 1}, {world.values[1], 7}};
    pthread_t thread;
    pthread_create(&thread, NULL, raise_event, &world);
    while (driver->completed(world.state, world.values[1]) < 7)
        driver->wait_any(world.state, points, 2, UINT64_MAX);
    pthread_join(thread, NULL);
    driver->event_destroy(world.state, world.values[1]);
    close_world(&world); /* destroys never */
}

static void *wake(void *argument)
{
    driver->wake(((struct world *)argument)->state);
    return NULL;
}

static void test_wake(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){0});
    driver->wake(world.state);
    driver->wait_any(world.state, NULL, 0, UINT64_MAX); /* woken before */
    pthread_t thread;
    pthread_create(&thread, NULL, wake, &world);
    driver->wait_any(world.state, NULL, 0, UINT64_MAX); /* woken meanwhile */
    pthread_join(thread, NULL);
    driver->wait_any(world.state, NULL, 0, 1000); /* the time is over */
    close_world(&world);
}

/* Three queues, each with its roles; one waits for another on the device. */
static void test_queues(void **unused)
{
    (void)unused;
    struct world world;
    start_machine(&(struct metalsim_config){.disorder = true});
    open_with(&world, (struct ferry__open_params){.queues = 9});
    assert_int_equal(world.limits.queue_count, 3);
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    for (uint64_t round = 1; round <= 50; round++) {
        struct ferry__result records[3] = {{0}};
        for (unsigned q = 0; q < 3; q++) {
            struct ferry__command command =
                q ? copy(&m, 512 * q, &m, 512 * (q - 1), 512) : fill(&m, 0, 512, 1);
            command.pattern[0] = (uint8_t)round;
            struct ferry_sync wait = {world.limits.queues[(q + 2) % 3].event,
                                      q ? round : round - 1};
            assert_int_equal(submit(&world, q, &command, 1, &wait, 1, &records[q]), FERRY_OK);
        }
        wait_value(&world, 2, round);
        wait_value(&world, 1, round);
        wait_value(&world, 0, round);
        assert_int_equal(m.host[2 * 512 + 511], round);
    }
    give(&world, &m);
    close_world(&world);
}

/* A copy by the kernel loads whole words, and so bytes beside its own, while another queue writes
 * them. */
static void test_beside(void **unused)
{
    (void)unused;
    enum { BESIDE = 64 * 1024 + 3, SIZE = 256 * 1024 };
    struct world world;
    struct ferry__result records[2] = {{0}};
    uint64_t event = 0;
    start_machine(&(struct metalsim_config){0});
    open_with(&world, (struct ferry__open_params){.queues = 2});
    struct ferry__memory from = alloc(&world, FERRY__MEMORY_SHARED, BESIDE + SIZE);
    struct ferry__memory to = alloc(&world, FERRY__MEMORY_SHARED, SIZE);
    number_bytes(from.host, BESIDE + SIZE);
    assert_int_equal(driver->event_create(world.state, &event, world.why), FERRY_OK);
    for (uint64_t round = 1; round <= 8; round++) {
        const struct ferry__command commands[] = {
            by_kernel(copy(&to, 0, &from, BESIDE, SIZE)),
            by_kernel(fill(&from, 0, BESIDE, 1)),
        };
        const struct ferry_sync begin = {event, round};
        for (unsigned q = 0; q < 2; q++)
            assert_int_equal(submit(&world, q, &commands[q], 1, &begin, 1, &records[q]), FERRY_OK);
        driver->event_signal(world.state, event, round);
        wait_value(&world, 0, round);
        wait_value(&world, 1, round);
        assert_memory_equal(to.host, from.host + BESIDE, SIZE);
        assert_int_equal(from.host[BESIDE - 1], commands[1].pattern[0]);
    }
    driver->event_destroy(world.state, event);
    give(&world, &from);
    give(&world, &to);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_external_events),
        cmocka_unit_test(test_shared_events),
        cmocka_unit_test(test_shared_event_later),
        cmocka_unit_test(test_waiting_for_events),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
