/* Everything of Metal's that can fail, failing: a clear status, nothing leaked, nothing hung, and
 * later work right. */
#include "list_count.h"
#include "metal_world.h"

#include "drivers/metal/objc.h"

#include <sched.h>
#include <sys/mman.h>

/* --- constructors ----------------------------------------------------------------------------- */

struct use {
    struct world world;
    struct ferry__memory up, middle, down, import;
    uint64_t event;
    unsigned char *host;
};

static enum ferry_status get_all(struct use *use)
{
    struct world *w = &use->world;
    enum ferry_status status =
        driver->memory_alloc(w->state, FERRY__MEMORY_UPLOAD, 4096, "up", &use->up, w->why);
    if (!status)
        status = driver->memory_alloc(w->state, FERRY__MEMORY_PRIVATE, 4096, "middle", &use->middle,
                                      w->why);
    if (!status)
        status = driver->memory_alloc(w->state, FERRY__MEMORY_READBACK, 4096, "down", &use->down,
                                      w->why);
    if (!status && w->limits.import_granularity)
        status = driver->host_import(w->state, use->host, 16384, false, &use->import, w->why);
    if (!status)
        status = driver->event_create(w->state, &use->event, w->why);
    return status;
}

static enum ferry_status move(struct use *use)
{
    struct ferry__command commands[] = {
        copy(&use->middle, 0, &use->up, 0, 4096),
        by_kernel(copy(&use->middle, 5, &use->middle, 1030, 1001)),
        copy(&use->down, 0, &use->middle, 0, 4096),
    };
    /* Without its kernels the driver says so, and the engine asks for none. */
    size_t skip = use->world.limits.has_kernel ? 0 : 1;
    if (skip)
        commands[1] = commands[2];
    number_bytes(use->up.host, 4096);
    flush(&use->world, &use->up);
    enum ferry_status status = run(&use->world, commands, 3 - skip).status;
    if (status)
        return status;
    invalidate(&use->world, &use->down);
    unsigned char want[4096];
    memcpy(want, use->up.host, 4096);
    if (!skip)
        memcpy(want + 5, use->up.host + 1030, 1001);
    assert_memory_equal(use->down.host, want, 4096);
    return FERRY_OK;
}

static void put_back(struct use *use)
{
    struct world *w = &use->world;
    struct ferry__memory *all[] = {&use->up, &use->middle, &use->down, &use->import};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->native)
            driver->memory_free(w->state, all[i]);
    if (use->event)
        driver->event_destroy(w->state, use->event);
    driver->close(w->state);
}

/* Opens, gets, moves, and puts all back, as far as it goes. */
static enum ferry_status live(unsigned char *host, char *why)
{
    struct use use = {.host = host};
    struct world *w = &use.world;
    why[0] = 0;
    enum ferry_status status =
        driver->open(&(struct ferry__open_params){0}, &w->state, &w->limits, w->why);
    if (!status) {
        w->limits.has_kernel = driver->kernels(w->state, UINT64_MAX);
        status = get_all(&use);
        if (!status)
            status = move(&use);
        /* Whatever failed, failed once: the same again works. */
        if (status && use.up.native && use.middle.native && use.down.native)
            assert_int_equal(move(&use), FERRY_OK);
        put_back(&use);
    }
    memcpy(why, w->why, FERRY__WHY_MAX);
    return status;
}

static void constructors_of(const struct metalsim_config *config, unsigned char *host)
{
    char why[FERRY__WHY_MAX];
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        start_machine(config);
        metalsim_fail_constructor(n);
        enum ferry_status status = live(host, why);
        if (counts().constructors < n)
            break;
        failures += status != FERRY_OK;
        bool normal = status == FERRY_OK || status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY ||
                      status == FERRY_ERROR_NO_DEVICE || status == FERRY_ERROR_UNSUPPORTED;
        if (!normal || (status && !why[0]))
            fail_msg("constructor %d: %s: \"%s\"", (int)n, ferry_status_name(status), why);
        assert_int_equal(live(host, why), FERRY_OK);
    }
    assert_true(failures >= 8);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

static void test_constructors(void **unused)
{
    (void)unused;
    size_t size = 2 * 16384;
    unsigned char *space =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *host = space + (16384 - (uintptr_t)space % 16384) % 16384;
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE); /* the kernels that are missing */
    for (int m = 0; m < METALSIM_MACHINES; m++)
        constructors_of(&(struct metalsim_config){.machine = (enum metalsim_machine)m}, host);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    munmap(space, size);
}

/* --- our own memory --------------------------------------------------------------------------- */

static void test_host_memory(void **unused)
{
    (void)unused;
    unsigned char *host =
        mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *page = host + (16384 - (uintptr_t)host % 16384) % 16384;
    char why[FERRY__WHY_MAX];
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE); /* the kernels that are missing */
    for (uint64_t n = 1;; n++) {
        start_machine(&(struct metalsim_config){0});
        ferry__alloc_fail_at(n);
        enum ferry_status status = live(page, why);
        if (ferry__alloc_fail_at(0) < n)
            break;
        if (status != FERRY_OK)
            assert_int_equal(status, FERRY_ERROR_OUT_OF_HOST_MEMORY);
        assert_int_equal(live(page, why), FERRY_OK);
    }
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
    munmap(host, 65536);
}

/* --- kernels that do not compile -------------------------------------------------------------- */

static char warned[256];

static void note(enum ferry_log_level level, const char *message, void *user)
{
    (void)level, (void)user;
    snprintf(warned, sizeof warned, "%s", message);
}

static void test_no_kernels(void **unused)
{
    (void)unused;
    struct world world;
    ferry_set_log(note, NULL, FERRY_LOG_WARN);
    open_world(&world, (struct metalsim_config){.bad_kernels = true});
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    assert_false(driver->kernels(world.state, UINT64_MAX));
    assert_non_null(strstr(warned, "program_source:1:1: error: simulated"));
    close_world(&world);
}

/* --- methods that an old Metal does not have -------------------------------------------------- */

static void test_old_metal(void **unused)
{
    (void)unused;
    static const struct metalsim_config olds[] = {
        {.machine = METALSIM_INTEL,
         .hidden = {"hasUnifiedMemory", "supportsFamily:", "registryID", "GPUStartTime"}},
        {.machine = METALSIM_AMD,
         .hidden = {"hasUnifiedMemory", "maxBufferLength", "currentAllocatedSize", "GPUEndTime"}},
    };
    for (int i = 0; i < 2; i++) {
        struct world world;
        open_world(&world, olds[i]);
        struct ferry_device_info info;
        assert_int_equal(list_count(driver, &info, 1, world.why), 1);
        assert_int_equal(info.unified, i == 0);
        struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 64);
        struct ferry__command command = fill(&m, 0, 64, 1);
        struct ferry__result result = run(&world, &command, 1);
        assert_int_equal(result.status, FERRY_OK);
        assert_int_equal(result.device_ns, 0);
        assert_true(driver->memory_available(world.state) > 0);
        give(&world, &m);
        close_world(&world);
    }
    start_machine(&(struct metalsim_config){.hidden = {"newSharedEvent"}});
    struct world world = {0};
    assert_int_equal(
        driver->open(&(struct ferry__open_params){0}, &world.state, &world.limits, world.why),
        FERRY_ERROR_UNSUPPORTED);
    assert_string_equal(world.why, "this Metal has no newSharedEvent");
}

/* --- command buffers -------------------------------------------------------------------------- */

static const struct {
    int code;
    enum ferry_status status;
    const char *words;
} codes[] = {
    {MTL_ERROR_INTERNAL, FERRY_ERROR_INTERNAL, "Internal Error"},
    {MTL_ERROR_TIMEOUT, FERRY_ERROR_EXECUTION_FAILED, "GPU Timeout"},
    {MTL_ERROR_PAGE_FAULT, FERRY_ERROR_EXECUTION_FAILED, "Address Fault"},
    {MTL_ERROR_ACCESS_REVOKED, FERRY_ERROR_DEVICE_LOST, "revoked"},
    {MTL_ERROR_NOT_PERMITTED, FERRY_ERROR_EXECUTION_FAILED, "Not Permitted"},
    {MTL_ERROR_OUT_OF_MEMORY, FERRY_ERROR_OUT_OF_DEVICE_MEMORY, "Insufficient Memory"},
    {MTL_ERROR_INVALID_RESOURCE, FERRY_ERROR_EXECUTION_FAILED, "Invalid Resource"},
    {MTL_ERROR_DEVICE_REMOVED, FERRY_ERROR_DEVICE_LOST, "Removed"},
    {MTL_ERROR_STACK_OVERFLOW, FERRY_ERROR_EXECUTION_FAILED, "Stack Overflow"},
    {99, FERRY_ERROR_EXECUTION_FAILED, "MTLCommandBufferErrorDomain 99"},
};
enum { CODES = sizeof codes / sizeof *codes, WORK = 6 };

/* The third of six fails, and the one after it as a victim; the rest is right, nothing hangs, and a
 * command buffer of another queue that waits for the failed value goes on. None begins before all are
 * there: else what repairs the third could be the one after it. */
static void fail_one(int c, bool disorder)
{
    struct world world;
    start_machine(&(struct metalsim_config){.disorder = disorder, .seed = 1 + (unsigned)c});
    open_with(&world, (struct ferry__open_params){.queues = 2});
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    struct ferry__result records[WORK], other = {.status = FERRY_PENDING};
    uint64_t event = 0;
    assert_int_equal(driver->event_create(world.state, &event, world.why), FERRY_OK);
    struct ferry_sync go = {event, 1};
    metalsim_fail_commands(3, codes[c].code, 1);
    for (unsigned i = 0; i < WORK; i++) {
        struct ferry__command command = fill(&m, 512 * i, 512, 1);
        records[i].status = FERRY_PENDING;
        assert_int_equal(submit(&world, 0, &command, 1, &go, 1, &records[i]), FERRY_OK);
    }
    struct ferry__command command = fill(&m, 3584, 512, 1);
    struct ferry_sync wait = {world.limits.queues[0].event, 3};
    assert_int_equal(submit(&world, 1, &command, 1, &wait, 1, &other), FERRY_OK);
    driver->event_signal(world.state, event, 1);
    wait_value(&world, 0, WORK);
    wait_value(&world, 1, 1);
    assert_int_equal(other.status, FERRY_OK);
    for (unsigned i = 0; i < WORK; i++) {
        bool failed = i == 2 || i == 3;
        assert_int_equal(records[i].status, failed ? codes[c].status : FERRY_OK);
        if (failed && !strstr(records[i].why, codes[c].words))
            fail_msg("code %d: \"%s\"", codes[c].code, records[i].why);
    }
    assert_int_equal(driver->status(world.state), FERRY_OK);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    driver->event_destroy(world.state, event);
    give(&world, &m);
    close_world(&world);
}

static void test_failing_commands(void **unused)
{
    (void)unused;
    for (int c = 0; c < CODES; c++)
        for (int disorder = 0; disorder < 2; disorder++)
            if (codes[c].status != FERRY_ERROR_DEVICE_LOST)
                fail_one(c, disorder);
}

/* What is to tell another queue of a failure fails as well, some times. */
static void test_failing_repair(void **unused)
{
    (void)unused;
    struct world world;
    start_machine(&(struct metalsim_config){0});
    open_with(&world, (struct ferry__open_params){.queues = 2});
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    struct ferry__command command = fill(&m, 0, 4096, 1);
    struct ferry__result records[2] = {{.status = FERRY_PENDING}, {.status = FERRY_PENDING}};
    uint64_t event = 0;
    assert_int_equal(driver->event_create(world.state, &event, world.why), FERRY_OK);
    struct ferry_sync go = {event, 1}, first = {world.limits.queues[0].event, 1};
    metalsim_fail_commands(1, MTL_ERROR_PAGE_FAULT, 0);
    assert_int_equal(submit(&world, 0, &command, 1, &go, 1, &records[0]), FERRY_OK);
    assert_int_equal(submit(&world, 1, &command, 1, &first, 1, &records[1]), FERRY_OK);
    metalsim_fail_commands(1, MTL_ERROR_INTERNAL, 5);
    driver->event_signal(world.state, event, 1);
    wait_value(&world, 1, 1);
    assert_int_equal(records[0].status, FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(records[1].status, FERRY_OK);
    assert_int_equal(driver->status(world.state), FERRY_OK);
    driver->event_destroy(world.state, event);
    give(&world, &m);
    close_world(&world);
}

/* Of another domain the code 11 is not that of a device that was removed. */
static void test_foreign_error(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){.foreign_errors = true});
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    struct ferry__command command = fill(&m, 0, 4096, 1);
    metalsim_fail_commands(1, MTL_ERROR_DEVICE_REMOVED, 0);
    struct ferry__result result = run(&world, &command, 1);
    assert_int_equal(result.status, FERRY_ERROR_EXECUTION_FAILED);
    assert_non_null(strstr(result.why, "IOGPUCommandQueueErrorDomain 11"));
    assert_int_equal(driver->status(world.state), FERRY_OK);
    give(&world, &m);
    close_world(&world);
}

/* The last one fails, with nothing after it that could signal a higher value. */
static void test_event_of_the_last(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){0});
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    struct ferry__command command = fill(&m, 0, 4096, 1);
    metalsim_fail_commands(1, MTL_ERROR_PAGE_FAULT, 0);
    assert_int_equal(run(&world, &command, 1).status, FERRY_ERROR_EXECUTION_FAILED);
    uint64_t value = 0;
    while (value < 1) { /* the event may follow the report */
        void *pool = mtl_pool_push();
        value = mtl_event_value((mtl_id)(uintptr_t)world.limits.queues[0].event);
        mtl_pool_pop(pool);
    }
    assert_int_equal(value, 1);
    give(&world, &m);
    close_world(&world);
}

/* A device may be closed as soon as the last of its work is seen to be done, though the handler that
 * said so has more to do. The nap is for a driver that does not wait for it, which shows itself. */
static void test_close_at_once(void **unused)
{
    (void)unused;
    for (int external = 0; external < 2; external++) {
        struct world world;
        uint64_t event = 0;
        open_world(&world, (struct metalsim_config){0});
        struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
        struct ferry__command command = fill(&m, 0, 4096, 1);
        if (external)
            assert_int_equal(driver->event_create(world.state, &event, world.why), FERRY_OK);
        else
            metalsim_fail_commands(1, MTL_ERROR_PAGE_FAULT, 0);
        metalsim_slow_retain(20000);
        struct ferry__result result;
        assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &result), FERRY_OK);
        while (driver->completed(world.state, world.limits.queues[0].event) < 1)
            sched_yield(); /* a wait would wait for the handler's lock */
        give(&world, &m);
        driver->close(world.state);
        metalsim_slow_retain(0);
        assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
    }
}

/* Lost for ever: all that was submitted has ended, all that comes is refused, all can be closed. */
static void lose(int code)
{
    struct world world;
    start_machine(&(struct metalsim_config){.delay_us = 1000});
    open_with(&world, (struct ferry__open_params){.queues = 2});
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    struct ferry__command commands[2] = {fill(&m, 0, 2048, 1), fill(&m, 2048, 2048, 1)};
    struct ferry__result records[WORK], seen[WORK];
    metalsim_fail_commands(2, code, 0);
    unsigned submitted = 0;
    for (unsigned i = 0; i < WORK; i++) {
        enum ferry_status status = submit(&world, i % 2, &commands[i % 2], 1, NULL, 0, &records[i]);
        if (status)
            assert_int_equal(status, FERRY_ERROR_DEVICE_LOST);
        submitted += status == FERRY_OK;
    }
    while (driver->status(world.state) == FERRY_OK)
        driver->wait_any(world.state, NULL, 0, 1000000);
    assert_true(submitted >= 2);
    for (unsigned q = 0; q < 2; q++)
        wait_value(&world, q, world.values[q]);
    memcpy(seen, records, sizeof seen);
    assert_int_equal(records[1].status, FERRY_ERROR_DEVICE_LOST);
    assert_non_null(strstr(records[1].why, "MTLCommandBufferErrorDomain"));
    assert_int_equal(submit(&world, 0, commands, 1, NULL, 0, &records[0]), FERRY_ERROR_DEVICE_LOST);
    driver->wait_any(world.state, NULL, 0, UINT64_MAX); /* does not wait any more */
    give(&world, &m);
    close_world(&world);
    for (unsigned i = 1; i < submitted; i++) /* what runs on to its end writes no record any more */
        assert_int_equal(records[i].status, seen[i].status);
}

static void test_loss(void **unused)
{
    (void)unused;
    for (int round = 0; round < 20; round++) {
        lose(MTL_ERROR_DEVICE_REMOVED);
        lose(MTL_ERROR_ACCESS_REVOKED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constructors),     cmocka_unit_test(test_host_memory),
        cmocka_unit_test(test_no_kernels),       cmocka_unit_test(test_old_metal),
        cmocka_unit_test(test_failing_commands), cmocka_unit_test(test_foreign_error),
        cmocka_unit_test(test_failing_repair),   cmocka_unit_test(test_event_of_the_last),
        cmocka_unit_test(test_close_at_once),    cmocka_unit_test(test_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
