/* The Metal driver through struct ferry__driver alone, on each of the simulated machines: devices,
 * memory, copies and imports. test_metal_queues.c has submissions and events. */
#include "list_count.h"
#include "metal_machines.h"

#include "drivers/metal/objc.h"

#include <sys/mman.h>

static const uint64_t sizes[] = {1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537, 3 << 20};
static const uint64_t offsets[] = {0, 1, 3, 4, 7, 17, 31};
enum { SIZES = sizeof sizes / sizeof *sizes, OFFSETS = sizeof offsets / sizeof *offsets };
enum { ROOM = (3 << 20) + 256 };

/* --- devices ---------------------------------------------------------------------------------- */

static void test_list(void **unused)
{
    (void)unused;
    static const enum ferry_device_kind kinds[MACHINES] = {
        FERRY_DEVICE_INTEGRATED, FERRY_DEVICE_INTEGRATED, FERRY_DEVICE_DISCRETE,
        FERRY_DEVICE_VIRTUAL, FERRY_DEVICE_VIRTUAL};
    for (int i = 0; i < MACHINES; i++) {
        struct metalsim_config config = machines[i].config;
        config.devices = 2;
        start_machine(&config);
        struct ferry_device_info infos[3];
        memset(infos, 0, sizeof infos);
        char why[FERRY__WHY_MAX] = "";
        assert_int_equal(list_count(driver, NULL, 0, why), 2);
        assert_int_equal(list_count(driver, infos, 1, why), 2);
        assert_string_equal(infos[1].driver, "");
        assert_int_equal(list_count(driver, infos, 3, why), 2);
        assert_string_equal(infos[1].driver, "metal");
        assert_int_equal(infos[0].kind, kinds[i]);
        assert_int_equal(infos[0].unified, config.machine != METALSIM_AMD);
        assert_true(infos[0].total_memory == 8ull << 30);
        assert_true(infos[0].max_allocation == 4ull << 30);
        assert_memory_not_equal(infos[0].uuid, infos[1].uuid, 16);
        assert_non_null(strstr(infos[0].description, i >= 3 ? "Paravirtual" : "simulated"));
    }
}

static void limits(struct world *world, const struct machine *machine)
{
    const struct ferry__limits *l = &world->limits;
    bool apple = machine->config.machine == METALSIM_APPLE;
    assert_int_equal(l->copy_alignment, 4);
    assert_int_equal(l->fill_pattern, 1);
    assert_true(l->max_copy == 1u << 31);
    assert_true(l->has_kernel && l->has_events);
    assert_int_equal(l->kernel_copy_from, apple ? 1 : 0);
    assert_true(l->kernel_decided);
    assert_int_equal(l->import_granularity != 0, machine->imports);
    assert_int_equal(l->import_cheap,
                     machine->imports && machine->config.machine != METALSIM_PARAVIRTUAL);
    assert_int_equal(l->queue_count, 1);
    assert_int_equal(l->queues[0].roles, 15);
    assert_int_equal(driver->status(world->state), FERRY_OK);
}

static void test_limits(void **unused)
{
    (void)unused;
    on_machines(limits);
}

static char warned[256];

static void note(enum ferry_log_level level, const char *message, void *user)
{
    (void)level, (void)user;
    snprintf(warned, sizeof warned, "%s", message);
}

/* FERRY_METAL_CLASS overrides what the device looks like; any other word is told, and ignored. */
static void test_forced_class(void **unused)
{
    (void)unused;
    struct world world;
    struct ferry_device_info info;
    setenv("FERRY_METAL_CLASS", "intel", 1);
    open_world(&world, (struct metalsim_config){.machine = METALSIM_APPLE});
    assert_int_equal(world.limits.kernel_copy_from, 0);
    struct ferry__memory up = alloc(&world, FERRY__MEMORY_UPLOAD, 64);
    assert_false(up.cached);
    give(&world, &up);
    setenv("FERRY_METAL_CLASS", "discrete", 1);
    assert_int_equal(list_count(driver, &info, 1, world.why), 1);
    assert_int_equal(info.kind, FERRY_DEVICE_DISCRETE);
    setenv("FERRY_METAL_CLASS", "nvidia", 1);
    ferry_set_log(note, NULL, FERRY_LOG_WARN);
    assert_int_equal(list_count(driver, &info, 1, world.why), 1);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    unsetenv("FERRY_METAL_CLASS");
    assert_int_equal(info.kind, FERRY_DEVICE_INTEGRATED);
    assert_string_equal(warned, "metal: FERRY_METAL_CLASS=nvidia is not known, and is ignored");
    close_world(&world);
}

static void test_no_such_device(void **unused)
{
    (void)unused;
    start_machine(&(struct metalsim_config){.devices = 2});
    struct ferry__limits l;
    void *opened = NULL;
    char why[FERRY__WHY_MAX] = "";
    assert_int_equal(driver->open(&(struct ferry__open_params){.index = 2}, &opened, &l, why),
                     FERRY_ERROR_NO_DEVICE);
    assert_string_equal(why, "Metal has 2 devices, no number 2");
    assert_null(opened);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void memory(struct world *world, const struct machine *machine)
{
    bool discrete = machine->config.machine == METALSIM_AMD;
    for (int use = 0; use < FERRY__MEMORY_COUNT; use++) {
        struct ferry__memory m = alloc(world, (enum ferry__memory_kind)use, 1000);
        assert_int_equal(m.host != NULL, use != FERRY__MEMORY_PRIVATE);
        assert_int_equal(m.coherent, !(use == FERRY__MEMORY_READBACK && discrete));
        assert_true(m.cached || use == FERRY__MEMORY_UPLOAD);
        assert_false(m.zeroed);
        assert_true(driver->memory_available(world->state) < 8ull << 30);
        give(world, &m);
    }
    assert_true(driver->memory_available(world->state) == 8ull << 30);
    struct ferry__memory none;
    assert_int_equal(driver->memory_alloc(world->state, FERRY__MEMORY_PRIVATE, 5ull << 30, NULL,
                                          &none, world->why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_string_equal(world->why, "Metal gave no buffer of 5368709120 bytes");
}

static void test_memory(void **unused)
{
    (void)unused;
    on_machines(memory);
}

/* A discrete GPU that has no shared memory: upload memory is managed then. */
static void test_no_shared_memory(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){.machine = METALSIM_AMD, .no_shared = true});
    struct ferry__memory up = alloc(&world, FERRY__MEMORY_UPLOAD, 4096);
    struct ferry__memory down = alloc(&world, FERRY__MEMORY_READBACK, 4096);
    assert_false(up.coherent || down.coherent);
    number_bytes(up.host, 4096);
    struct ferry__command command = copy(&down, 0, &up, 0, 4096);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    assert_memory_not_equal(down.host, up.host, 4096); /* not flushed */
    flush(&world, &up);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    assert_memory_equal(down.host, up.host, 4096);
    struct ferry__memory none;
    assert_int_equal(
        driver->memory_alloc(world.state, FERRY__MEMORY_SHARED, 4096, NULL, &none, world.why),
        FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    give(&world, &up);
    give(&world, &down);
    close_world(&world);
}

static void test_private_backed_by_shared(void **unused)
{
    (void)unused;
    for (int i = 0; i < MACHINES; i++) {
        struct world world;
        start_machine(&machines[i].config);
        open_with(&world, (struct ferry__open_params){.map_private = FERRY_MAP_ALWAYS});
        struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
        assert_int_equal(m.host != NULL, machines[i].config.machine != METALSIM_AMD);
        give(&world, &m);
        close_world(&world);
    }
}

/* --- copies and fills ------------------------------------------------------------------------- */

/* Every size at every offset, up, across and down; the bytes round the range stay. */
static void copies(struct world *world, const struct machine *machine)
{
    (void)machine;
    struct ferry__memory up = alloc(world, FERRY__MEMORY_UPLOAD, ROOM);
    struct ferry__memory middle = alloc(world, FERRY__MEMORY_PRIVATE, ROOM);
    struct ferry__memory down = alloc(world, FERRY__MEMORY_READBACK, ROOM);
    unsigned char *want = test_malloc(ROOM), *numbers = test_malloc(ROOM);
    number_bytes(numbers, ROOM);
    memcpy(up.host, numbers, ROOM);
    flush(world, &up);
    for (size_t s = 0; s < SIZES; s++) {
        for (size_t o = 0; o < OFFSETS; o++) {
            uint64_t to = 32 + offsets[o], from = offsets[(o + s) % OFFSETS], size = sizes[s];
            struct ferry__command commands[] = {
                fill(&middle, 0, ROOM, 1),
                by_kernel(copy(&middle, to, &up, from, size)),
                copy(&down, 0, &middle, 0, ROOM),
            };
            memset(want, 0x31, ROOM);
            memcpy(want + to, numbers + from, size);
            assert_int_equal(run(world, commands, 3).status, FERRY_OK);
            invalidate(world, &down);
            assert_memory_equal(down.host, want, ROOM);
        }
    }
    test_free(want);
    test_free(numbers);
    give(world, &up);
    give(world, &middle);
    give(world, &down);
}

static void test_copies(void **unused)
{
    (void)unused;
    on_machines(copies);
}

static void fills(struct world *world, const struct machine *machine)
{
    (void)machine;
    enum { SMALL = 8192 };
    struct ferry__memory dst = alloc(world, FERRY__MEMORY_PRIVATE, SMALL);
    unsigned char want[SMALL], got[SMALL];
    for (uint8_t pattern = 1; pattern <= 16; pattern++) {
        for (size_t s = 0; s < SIZES - 2; s++) {
            uint64_t to = 32 + offsets[s % OFFSETS];
            struct ferry__command commands[] = {fill(&dst, 0, SMALL, 1),
                                                by_kernel(fill(&dst, to, sizes[s], pattern))};
            commands[0].pattern[0] = 0xEE;
            memset(want, 0xEE, SMALL);
            for (uint64_t i = 0; i < sizes[s]; i++)
                want[to + i] = commands[1].pattern[i % pattern];
            assert_int_equal(run(world, commands, 2).status, FERRY_OK);
            peek(&dst, 0, got, SMALL);
            assert_memory_equal(got, want, SMALL);
        }
    }
    give(world, &dst);
}

static void test_fills(void **unused)
{
    (void)unused;
    on_machines(fills);
}

/* The memory's own offset is added to a command's. */
static void parts(struct world *world, const struct machine *machine)
{
    (void)machine;
    struct ferry__memory all = alloc(world, FERRY__MEMORY_PRIVATE, 4096);
    struct ferry__memory part = {.native = all.native, .offset = 512, .size = 1024};
    struct ferry__command commands[] = {
        fill(&all, 0, 4096, 1),
        fill(&part, 0, 100, 1),
        copy(&part, 200, &part, 0, 100),
        by_kernel(copy(&part, 401, &part, 200, 100)),
        by_kernel(fill(&part, 0, 100, 2)),
    };
    commands[0].pattern[0] = 0;
    unsigned char got[4096];
    assert_int_equal(run(world, commands, 5).status, FERRY_OK);
    peek(&all, 0, got, sizeof got);
    assert_int_equal(got[511], 0);
    assert_int_equal(got[512 + 1], 0x38);
    assert_int_equal(got[512 + 200], 0x31);
    assert_int_equal(got[512 + 400], 0);
    assert_int_equal(got[512 + 500], 0x31);
    assert_int_equal(got[512 + 501], 0);
    give(world, &all);
}

static void test_parts(void **unused)
{
    (void)unused;
    on_machines(parts);
}

/* --- imports ---------------------------------------------------------------------------------- */

static void imports(struct world *world, const struct machine *machine)
{
    size_t page = 16384;
    unsigned char *space =
        mmap(NULL, 5 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *host = space + page - (uintptr_t)space % page;
    struct ferry__memory m = {0};
    enum ferry_status status =
        driver->host_import(world->state, host, 3 * page, false, &m, world->why);
    /* What is not believed at open may well be accepted. */
    const bool refused = machine->config.machine == METALSIM_AMD;
    assert_int_equal(status, refused ? FERRY_ERROR_UNSUPPORTED : FERRY_OK);
    if (!status && machine->imports) {
        number_bytes(host, page);
        assert_true(m.host == host && m.coherent && m.cached && m.size == 3 * page);
        struct ferry__command command = by_kernel(copy(&m, 2 * page - 5, &m, 3, 4097));
        assert_int_equal(run(world, &command, 1).status, FERRY_OK);
        assert_memory_equal(host + 2 * page - 5, host + 3, 4097);
        give(world, &m);
    } else if (!status) {
        give(world, &m);
    } else {
        assert_non_null(strstr(world->why, "refused"));
    }
    munmap(space, 5 * page);
}

static void test_imports(void **unused)
{
    (void)unused;
    on_machines(imports);
}

/* A device that gives a buffer of another length: refused as well. */
static void test_import_of_wrong_length(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){.import = METALSIM_IMPORT_LENGTH_0});
    assert_int_equal(world.limits.import_granularity, 0);
    close_world(&world);
    open_world(&world, (struct metalsim_config){.import = METALSIM_IMPORT_NIL});
    assert_int_equal(world.limits.import_granularity, 0);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_forced_class),
        cmocka_unit_test(test_no_such_device),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_no_shared_memory),
        cmocka_unit_test(test_private_backed_by_shared),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_fills),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_imports),
        cmocka_unit_test(test_import_of_wrong_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
