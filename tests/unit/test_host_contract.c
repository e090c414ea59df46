/* The host driver through struct ferry__driver alone: failures, and breaches of the contract. */
#include "host_world.h"

/* --- failures --------------------------------------------------------------------------------- */

static void test_failing_calls(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "fail_alloc=2,fail_submit=2,fail_exec=2,import_fail=all,delay_us=10");
    struct ferry__memory none;
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    assert_int_equal(
        driver->memory_alloc(world.state, FERRY__MEMORY_SHARED, 1, NULL, &none, world.why),
        FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(driver->host_import(world.state, memory.host,
                                             world.limits.import_granularity, false, &none,
                                             world.why),
                         FERRY_ERROR_UNSUPPORTED);
    }
    struct ferry__result result;
    struct ferry__command command = fill(&memory, 0, 4096, 1);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &result),
                     FERRY_ERROR_OUT_OF_HOST_MEMORY);
    command = fill(&memory, 0, 4096, 2);
    command.pattern[0] = 0x11;
    result = run(&world, &command, 1);
    assert_int_equal(result.status, FERRY_ERROR_EXECUTION_FAILED);
    assert_non_null(strstr(result.why, "2048 of 4096"));
    assert_int_equal(memory.host[2046], 0x11);
    assert_int_equal(memory.host[2048], 0x31);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    assert_int_equal(memory.host[4094], 0x11);
    assert_true(ferry__host_set(world.state, "fail_exec", 1));
    assert_int_equal(run(&world, &command, 1).status, FERRY_ERROR_EXECUTION_FAILED);
    assert_false(ferry__host_set(world.state, "align", 4));
    assert_false(ferry__host_set(world.state, "bogus", 4));
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

/* Half of two fills is one of them: now the first, now the second. */
static void test_order_is_random(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "fail_exec=all");
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 64);
    int first = 0;
    for (int round = 0; round < 32; round++) {
        memset(memory.host, 0, 64);
        struct ferry__command commands[] = {fill(&memory, 0, 32, 1), fill(&memory, 32, 32, 1)};
        assert_int_equal(run(&world, commands, 2).status, FERRY_ERROR_EXECUTION_FAILED);
        assert_int_equal(memory.host[0] + memory.host[32], 0x31);
        first += memory.host[0] != 0;
        commands[1].barrier = true;
        memset(memory.host, 0, 64);
        assert_int_equal(run(&world, commands, 2).status, FERRY_ERROR_EXECUTION_FAILED);
        assert_int_equal(memory.host[0], 0x31);
        assert_int_equal(memory.host[32], 0);
    }
    assert_true(first >= 1 && first <= 31);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

/* The same seed fails the same calls; not all of them, and not none. */
static void test_fail_every(void **state)
{
    (void)state;
    char failed[2][65] = {"", ""};
    for (int round = 0; round < 2; round++) {
        struct world world;
        open_world(&world, "fail_every=4,seed=5");
        for (int i = 0; i < 64; i++) {
            struct ferry__memory memory;
            enum ferry_status status = driver->memory_alloc(world.state, FERRY__MEMORY_PRIVATE, 64,
                                                            NULL, &memory, world.why);
            failed[round][i] = status == FERRY_OK ? '.' : 'x';
            if (status == FERRY_OK)
                driver->memory_free(world.state, &memory);
        }
        close_world(&world);
    }
    assert_string_equal(failed[0], failed[1]);
    assert_non_null(strchr(failed[0], 'x'));
    assert_non_null(strchr(failed[0], '.'));
}

static void test_host_memory_runs_out(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 1 << 20);
    struct ferry__memory none;
    struct ferry__result result;
    uint64_t event;
    /* Downwards, and too far from each other for a bitmap: they are sorted. */
    struct ferry__command commands[] = {fill(&memory, (1 << 20) - 11, 10, 1),
                                        fill(&memory, 1, 10, 1)};
    assert_int_equal(run(&world, commands, 2).status, FERRY_OK);
    for (uint64_t n = 1; n <= 2; n++) {
        ferry__alloc_fail_at(n);
        assert_int_equal(submit(&world, 0, commands, 2, NULL, 0, &result),
                         FERRY_ERROR_OUT_OF_HOST_MEMORY);
    }
    ferry__alloc_fail_at(1);
    assert_int_equal(
        driver->memory_alloc(world.state, FERRY__MEMORY_SHARED, 1, NULL, &none, world.why),
        FERRY_ERROR_OUT_OF_HOST_MEMORY);
    ferry__alloc_fail_at(1);
    assert_int_equal(driver->event_create(world.state, &event, world.why),
                     FERRY_ERROR_OUT_OF_HOST_MEMORY);
    ferry__alloc_fail_at(0);
    assert_int_equal(run(&world, commands, 2).status, FERRY_OK);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

/* One list of so many blocks, shuffled; which of them goes to, or comes from, where another is
 * written. */
static enum ferry_status run_shuffled(struct world *world, size_t count, size_t meets, bool reads)
{
    const size_t unit = 8, size = 4 * count * unit;
    struct ferry__memory memory = alloc(world, FERRY__MEMORY_SHARED, size);
    struct ferry__memory list = alloc(world, FERRY__MEMORY_UPLOAD, count * 32);
    struct ferry__block_entry *entries = (void *)list.host;
    struct ferry__command command = {.kind = FERRY__BLOCKS,
                                     .engine = FERRY__ENGINE_KERNEL,
                                     .dst = &memory,
                                     .src = &memory,
                                     .size = count * unit};
    for (size_t i = 0; i < count; i++) /* written: even ones; read: odd ones */
        entries[i] = (struct ferry__block_entry){
            (i * 7 % count) * 4 * unit, ((i * 5 % count) * 4 + 2) * unit, (uint32_t)unit, 0};
    for (size_t i = 0; i < count; i++) {
        entries[i].dst += driver->address(&memory);
        entries[i].src += driver->address(&memory);
    }
    if (meets && reads)
        entries[meets].src = entries[meets - 1].dst + unit / 2;
    else if (meets)
        entries[meets].dst = entries[0].dst + unit - 1;
    command.list = (struct ferry__block_list){&list, 0, (uint32_t)count, size, size};
    const enum ferry_status status = run(world, &command, 1).status;
    driver->memory_free(world->state, &memory);
    driver->memory_free(world->state, &list);
    return status;
}

static void test_blocks_shuffled(void **state)
{
    (void)state;
    enum { COUNT = 1009 }; /* a prime */
    struct world world;
    open_world(&world, "");
    assert_int_equal(run_shuffled(&world, COUNT, 0, false), FERRY_OK);
    for (size_t meets = 1; meets < COUNT; meets += 56)
        for (int reads = 0; reads < 2; reads++) {
            logged[0] = 0;
            assert_int_equal(run_shuffled(&world, COUNT, meets, reads), FERRY_ERROR_INTERNAL);
            assert_non_null(strstr(logged, "two blocks touch"));
        }
    logged[0] = 0;
    close_world(&world);
}

static void test_loss(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "queues=2,lose_at=2");
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    struct ferry_sync never = {0, 1};
    assert_int_equal(driver->event_create(world.state, &never.event, world.why), FERRY_OK);
    struct ferry__result records[4];
    struct ferry__command command = fill(&memory, 0, 4096, 1);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &records[0]), FERRY_OK);
    wait_for(&world, point_of(&world, 0));
    assert_int_equal(records[0].status, FERRY_OK);
    assert_int_equal(driver->status(world.state), FERRY_OK);
    struct ferry_sync gate = {0, 1};
    assert_int_equal(driver->event_create(world.state, &gate.event, world.why), FERRY_OK);
    assert_int_equal(submit(&world, 0, &command, 1, &gate, 1, &records[1]), FERRY_OK);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &records[2]), FERRY_OK);
    assert_int_equal(submit(&world, 1, &command, 1, &never, 1, &records[3]), FERRY_OK);
    driver->event_signal(world.state, gate.event, 1);
    while (driver->status(world.state) == FERRY_OK)
        driver->wait_any(world.state, &never, 1, FERRY_FOREVER);
    for (int i = 1; i < 4; i++)
        assert_int_equal(records[i].status, FERRY_ERROR_DEVICE_LOST);
    assert_int_equal(driver->completed(world.state, world.limits.queues[0].event), 3);
    assert_int_equal(driver->completed(world.state, world.limits.queues[1].event), 1);
    driver->wait_any(world.state, &never, 1, FERRY_FOREVER);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &records[0]), FERRY_ERROR_DEVICE_LOST);
    assert_int_equal(driver->status(world.state), FERRY_ERROR_DEVICE_LOST);
    assert_false(ferry__host_event_wait(never.event, 1));
    driver->event_destroy(world.state, never.event);
    driver->event_destroy(world.state, gate.event);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

/* A loss while it copies: once it is told, nothing touches the memory any more. */
static void test_loss_in_a_copy(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    uint64_t size = 64 << 20;
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, size);
    struct ferry__result result = {.status = FERRY_PENDING};
    struct ferry__command command = fill(&memory, 0, size, 1);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &result), FERRY_OK);
    ferry__host_lose(world.state);
    wait_for(&world, point_of(&world, 0));
    assert_true(result.status == FERRY_ERROR_DEVICE_LOST || result.status == FERRY_OK);
    memset(memory.host, 0, size); /* a race, if the thread were still at it */
    driver->memory_free(world.state, &memory);
    while (driver->status(world.state) == FERRY_OK)
        driver->wait_any(world.state, NULL, 0, FERRY_FOREVER);
    close_world(&world);
}

/* --- the contract ----------------------------------------------------------------------------- */

static void breaks(struct world *world, const struct ferry__command *commands, size_t count,
                   const char *words)
{
    logged[0] = 0;
    struct ferry__result result = run(world, commands, count);
    assert_int_equal(result.status, FERRY_ERROR_INTERNAL);
    if (!strstr(result.why, words))
        fail_msg("expected \"%s\", got \"%s\"", words, result.why);
    assert_memory_equal(logged, "host driver: contract: ", 23);
    assert_non_null(strstr(logged, result.why));
    logged[0] = 0;
}

static void test_broken_commands(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "align=4,fill_pattern=4,max_copy=1K");
    struct ferry__memory a = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    struct ferry__memory b = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    const struct {
        struct ferry__command command;
        const char *words;
    } rows[] = {
        {copy(&a, 0, &b, 0, 0), "of 0 bytes"},
        {copy(&a, 0, &b, 0, 1028), "not from 1 to 1024"},
        {copy(&a, 2, &b, 0, 4), "not multiples of 4"},
        {copy(&a, 0, &b, 3, 4), "not multiples of 4"},
        {copy(&a, 0, &b, 0, 5), "not multiples of 4"},
        {copy(&a, 4096, &b, 0, 4), "exceeds \"test\" of 4096"},
        {copy(&a, 0, &b, 4000, 100), "source of 100 bytes at 4000 exceeds"},
        {copy(&a, UINT64_MAX - 3, &b, 0, 8), "exceeds"},
        {copy(&a, 0, NULL, 0, 8), "no source"},
        {copy(NULL, 0, &a, 0, 8), "no destination"},
        {copy(&a, 0, &a, 8, 12), "overlaps itself"},
        {fill(&a, 0, 8, 0), "pattern of 0"},
        {fill(&a, 0, 8, 17), "pattern of 17"},
        {fill(&a, 0, 8, 3), "pattern of 3 bytes, where 4"},
        {fill(&a, 0, 8, 8), "pattern of 8 bytes, where 4"},
        {fill(&a, 1, 8, 4), "not multiples of 4"},
        {(struct ferry__command){.kind = 9, .dst = &a, .size = 4}, "kind 9"},
        {(struct ferry__command){.engine = 9, .dst = &a, .src = &b, .size = 4}, "engine 9"},
        {(struct ferry__command){.engine = FERRY__ENGINE_KERNEL, .dst = &a, .src = &b, .size = 4},
         "a kernel on a queue"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        breaks(&world, &rows[i].command, 1, rows[i].words);
    struct ferry__memory wrong = a;
    wrong.size = 8192;
    struct ferry__command command = fill(&wrong, 4096, 8, 4);
    breaks(&world, &command, 1, "8192 bytes at 0 of \"test\" of 4096");
    command = fill(&a, 4088, 8, 4);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    driver->memory_free(world.state, &a);
    driver->memory_free(world.state, &b);
    close_world(&world);
}

static void test_broken_lists(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "blocks=4,block_size=16");
    struct ferry__memory a = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    struct ferry__memory list = alloc(&world, FERRY__MEMORY_UPLOAD, 4096);
    struct ferry__block_entry *entries = (void *)list.host;
    enum { OFFSET = 4080 };
    const struct {
        struct ferry__block_entry entries[2];
        uint64_t offset, size;
        uint32_t count;
        enum ferry__engine engine;
        const char *words; /* NULL: it is good */
    } rows[] = {
        {{{8, 64, 16, 0}, {24, 80, 1, 0}}, 0, 17, 2, FERRY__ENGINE_KERNEL, NULL},
        {{{8, 64, 16, 0}, {24, 64, 16, 0}}, 0, 32, 2, FERRY__ENGINE_KERNEL, NULL},
        {{{8, 64, 16, 0}, {23, 80, 1, 0}}, 0, 17, 2, FERRY__ENGINE_KERNEL, "two blocks touch"},
        {{{8, 64, 16, 0}, {72, 32, 4, 0}}, 0, 20, 2, FERRY__ENGINE_KERNEL, "two blocks touch"},
        {{{40, 32, 16, 0}}, 0, 16, 1, FERRY__ENGINE_KERNEL, "two blocks touch"},
        {{{8, 64, 17, 0}}, 0, 17, 1, FERRY__ENGINE_KERNEL, "outside its limits"},
        {{{8, 64, 0, 0}, {17, 70, 8, 0}}, 0, 8, 2, FERRY__ENGINE_KERNEL, "outside its limits"},
        {{{8, 64, 8, 1}}, 0, 8, 1, FERRY__ENGINE_KERNEL, "outside its limits"},
        {{{2008, 64, 8, 0}}, 0, 8, 1, FERRY__ENGINE_KERNEL, "outside its limits"},
        {{{8, 2073, 8, 0}}, 0, 8, 1, FERRY__ENGINE_KERNEL, "outside its limits"},
        {{{UINT64_MAX - 3, 0, 8, 0}}, 0, 8, 1, FERRY__ENGINE_KERNEL, "outside its limits"},
        {{{7, 64, 8, 0}}, 0, 8, 1, FERRY__ENGINE_KERNEL, "outside its limits"},
        {{{8, 31, 8, 0}}, 0, 8, 1, FERRY__ENGINE_KERNEL, "outside its limits"},
        {{{8, 64, 8, 0}}, 0, 9, 1, FERRY__ENGINE_KERNEL, "are 8 bytes, not 9"},
        {{{8, 64, 8, 0}}, 0, 8, 1, FERRY__ENGINE_COPY, "is for the kernel"},
        {{{8, 64, 8, 0}}, 4, 8, 1, FERRY__ENGINE_KERNEL, "not from 1 to 4, at 4"},
        {{{8, 64, 8, 0}}, 0, 8, 0, FERRY__ENGINE_KERNEL, "0 blocks"},
        {{{8, 64, 8, 0}}, 0, 8, 5, FERRY__ENGINE_KERNEL, "5 blocks"},
        {{{8, 64, 8, 0}}, OFFSET, 8, 4, FERRY__ENGINE_KERNEL, "list of 96 bytes at 4080"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(entries, rows[i].entries, sizeof rows[i].entries);
        for (size_t b = 0; b < sizeof rows[i].entries / sizeof *entries; b++) {
            entries[b].dst += driver->address(&a);
            entries[b].src += driver->address(&a);
        }
        struct ferry__command command = copy(&a, 8, &a, 32, rows[i].size);
        command.kind = FERRY__BLOCKS;
        command.engine = rows[i].engine;
        command.list = (struct ferry__block_list){&list, rows[i].offset, rows[i].count, 2000, 2048};
        if (rows[i].words)
            breaks(&world, &command, 1, rows[i].words);
        else
            assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    }
    driver->memory_free(world.state, &a);
    driver->memory_free(world.state, &list);
    close_world(&world);
}

static void test_missing_barriers(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    struct ferry__memory a = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    struct ferry__memory b = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    const struct {
        struct ferry__command commands[3];
        bool good;
    } rows[] = {
        {{fill(&a, 0, 10, 1), fill(&b, 0, 10, 1), fill(&a, 9, 10, 1)}, false},     /* writes meet */
        {{fill(&a, 0, 10, 1), fill(&b, 90, 10, 1), copy(&b, 0, &a, 9, 1)}, false}, /* read after */
        {{copy(&b, 0, &a, 0, 10), fill(&b, 90, 1, 1), fill(&a, 5, 1, 1)}, false},  /* write after */
        {{fill(&a, 0, 100, 1), fill(&a, 200, 1, 1), fill(&a, 50, 1, 1)}, false},   /* inside */
        {{copy(&b, 0, &a, 0, 99), copy(&b, 99, &a, 9, 1), fill(&a, 50, 1, 1)}, false},
        {{fill(&a, 0, 10, 1), fill(&a, 10, 10, 1), copy(&b, 0, &a, 20, 10)}, true},
        {{copy(&b, 0, &a, 0, 10), copy(&b, 10, &a, 5, 10), copy(&b, 20, &a, 0, 9)}, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ferry__command commands[3];
        memcpy(commands, rows[i].commands, sizeof commands);
        if (rows[i].good)
            assert_int_equal(run(&world, commands, 3).status, FERRY_OK);
        else
            breaks(&world, commands, 3, "without a barrier");
        commands[1].barrier = true;
        commands[2].barrier = true;
        assert_int_equal(run(&world, commands, 3).status, FERRY_OK);
    }
    driver->memory_free(world.state, &a);
    driver->memory_free(world.state, &b);
    close_world(&world);
}

static void test_broken_order(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "queues=2");
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 64);
    struct ferry__command command = fill(&memory, 0, 10, 1);
    struct ferry__result result;
    struct ferry_sync early = {world.limits.queues[1].event, 1};
    assert_int_equal(submit(&world, 0, &command, 1, &early, 1, &result), FERRY_OK);
    wait_for(&world, point_of(&world, 0));
    assert_int_equal(result.status, FERRY_ERROR_INTERNAL);
    assert_non_null(strstr(logged, "not submitted yet"));
    world.values[0] += 1;
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &result), FERRY_OK);
    wait_for(&world, point_of(&world, 0));
    assert_int_equal(result.status, FERRY_ERROR_INTERNAL);
    assert_non_null(strstr(logged, "grow by 1"));
    world.values[0] -= 1;
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &result), FERRY_ERROR_INTERNAL);
    world.values[0] += 1;
    assert_int_equal(submit(&world, 0, &command, 0, NULL, 0, &result), FERRY_ERROR_INTERNAL);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, NULL), FERRY_ERROR_INTERNAL);
    assert_int_equal(submit(&world, 7, &command, 1, NULL, 0, &result), FERRY_ERROR_INTERNAL);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    logged[0] = 0;
    driver->event_signal(world.state, world.limits.queues[0].event, 99);
    assert_non_null(strstr(logged, "event_signal"));
    assert_int_equal(driver->completed(world.state, world.limits.queues[0].event), 4);
    logged[0] = 0;
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

/* Freed, closed and destroyed too early: told, and nothing breaks. */
static void test_too_early(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 64);
    struct ferry__memory forgotten = alloc(&world, FERRY__MEMORY_PRIVATE, 64);
    assert_non_null(forgotten.native);
    struct ferry_sync never = {0, 1};
    assert_int_equal(driver->event_create(world.state, &never.event, world.why), FERRY_OK);
    struct ferry__command command = fill(&memory, 0, 10, 1);
    struct ferry__result result;
    assert_int_equal(submit(&world, 0, &command, 1, &never, 1, &result), FERRY_OK);
    driver->memory_free(world.state, &memory);
    assert_non_null(strstr(logged, "is freed while commands use it"));
    driver->event_destroy(world.state, never.event);
    assert_non_null(strstr(logged, "while a submission waits for the event"));
    driver->close(world.state);
    assert_non_null(strstr(logged, "close while 1 memories of 64 bytes"));
    unsetenv("FERRY_HOST");
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

/* --- all at once ------------------------------------------------------------------------------- */

enum { WORKERS = 3, ROUNDS = 60 };

/* Each thread has a queue and memory of its own, and writes the number of each round into its own slot. */
struct worker {
    struct world *world;
    struct ferry__memory memory;
    unsigned queue;
    unsigned failed;
};

static void *submit_many(void *arg)
{
    struct worker *worker = arg;
    struct world *world = worker->world;
    struct ferry__result records[ROUNDS];
    struct ferry_sync neighbour = {world->limits.queues[(worker->queue + 1) % WORKERS].event, 0};
    for (int i = 0; i < ROUNDS; i++) {
        char why[FERRY__WHY_MAX];
        struct ferry__command command = fill(&worker->memory, 4 * (uint64_t)i, 4, 4);
        command.pattern[0] = (uint8_t)i;
        neighbour.value = driver->completed(world->state, neighbour.event);
        struct ferry__submission_info info = {
            .queue = worker->queue,
            .commands = &command,
            .count = 1,
            .waits = &neighbour,
            .wait_count = 1,
            .value = world->values[worker->queue] + 1,
            .result = &records[i],
        };
        while (driver->submit(world->state, &info, why) != FERRY_OK)
            worker->failed++;
        world->values[worker->queue]++;
    }
    wait_for(world, point_of(world, worker->queue));
    for (int i = 0; i < ROUNDS; i++) {
        worker->failed += records[i].status == FERRY_ERROR_EXECUTION_FAILED;
        if (records[i].status == FERRY_OK && worker->memory.host[4 * i] != i)
            worker->failed = UINT32_MAX / 2;
    }
    return NULL;
}

static void test_queues_at_once(void **state)
{
    (void)state;
    static const char *const knobs[] = {"queues=3", "queues=3,align=4,delay_us=20,out_of_order",
                                        "queues=3,fail_every=7,zero_off,out_of_order"};
    for (size_t k = 0; k < sizeof knobs / sizeof *knobs; k++) {
        struct world world;
        struct worker workers[WORKERS];
        pthread_t threads[WORKERS];
        open_world(&world, knobs[k]);
        uint64_t every = strstr(knobs[k], "fail_every") ? 7 : 0;
        ferry__host_set(world.state, "fail_every", 0);
        for (unsigned i = 0; i < WORKERS; i++) {
            workers[i] = (struct worker){.world = &world, .queue = i};
            workers[i].memory = alloc(&world, FERRY__MEMORY_SHARED, 4 * ROUNDS);
        }
        ferry__host_set(world.state, "fail_every", every);
        for (unsigned i = 0; i < WORKERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &workers[i]), 0);
        for (unsigned i = 0; i < WORKERS; i++) {
            pthread_join(threads[i], NULL);
            assert_true(workers[i].failed <= (every ? 10 * ROUNDS : 0));
            driver->memory_free(world.state, &workers[i].memory);
        }
        close_world(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_calls),   cmocka_unit_test(test_order_is_random),
        cmocka_unit_test(test_fail_every),      cmocka_unit_test(test_host_memory_runs_out),
        cmocka_unit_test(test_blocks_shuffled), cmocka_unit_test(test_loss),
        cmocka_unit_test(test_loss_in_a_copy),  cmocka_unit_test(test_broken_commands),
        cmocka_unit_test(test_broken_lists),    cmocka_unit_test(test_missing_barriers),
        cmocka_unit_test(test_broken_order),    cmocka_unit_test(test_too_early),
        cmocka_unit_test(test_queues_at_once),
    };
    return cmocka_run_group_tests_name("host driver: failures and contract", tests, NULL, NULL);
}
