/* Copies by a list: one list is one dispatch, right at any phase, on every machine. */
#include "metal_world.h"

enum { BLOCKS = 300, SPACE = 64 << 10 };

static struct ferry__command listed(const struct ferry__memory *dst,
                                    const struct ferry__memory *src,
                                    const struct ferry__memory *list, uint32_t count)
{
    const struct ferry__block_entry *entries =
        (const struct ferry__block_entry *)(const void *)list->host;
    struct ferry__command command = copy(dst, 0, src, 0, 0);
    command.kind = FERRY__BLOCKS;
    command.list = (struct ferry__block_list){
        .memory = list, .count = count, .dst_span = SPACE, .src_span = SPACE};
    for (uint32_t i = 0; i < count; i++)
        command.size += entries[i].size;
    return by_kernel(command);
}

/* Odd blocks, in no order: to where they lie in dst from where they lie in src. */
static void write_list(const struct ferry__memory *list, bool back, uint64_t arena)
{
    struct ferry__block_entry *entries = (struct ferry__block_entry *)(void *)list->host;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const uint64_t scattered = arena + i * 100 + i % 9;
        const uint64_t gathered = (BLOCKS - 1 - (uint64_t)i) * 101 + i % 5;
        entries[i] = (struct ferry__block_entry){back ? gathered : scattered,
                                                 back ? scattered : gathered, 1 + i * 7 % 90, 0};
    }
}

static void run_list(struct world *world, const struct ferry__memory *dst,
                     const struct ferry__memory *src, const struct ferry__memory *list)
{
    const uint64_t before = counts().dispatches;
    flush(world, list);
    const struct ferry__command command = listed(dst, src, list, BLOCKS);
    assert_int_equal(run(world, &command, 1).status, FERRY_OK);
    assert_int_equal(counts().dispatches, before + 1);
}

static void scatter_and_gather(struct metalsim_config config)
{
    struct world world;
    open_world(&world, config);
    assert_true(world.limits.blocks_max >= BLOCKS && world.limits.block_size_max >= 4096);
    struct ferry__memory up = alloc(&world, FERRY__MEMORY_UPLOAD, SPACE);
    struct ferry__memory down = alloc(&world, FERRY__MEMORY_READBACK, SPACE);
    struct ferry__memory list = alloc(&world, FERRY__MEMORY_UPLOAD, SPACE);
    struct ferry__memory arena = alloc(&world, FERRY__MEMORY_PRIVATE, SPACE);
    number_bytes(up.host, SPACE);
    flush(&world, &up);
    memset(down.host, 0xEE, SPACE);
    flush(&world, &down);
    write_list(&list, false, 0);
    run_list(&world, &arena, &up, &list);
    struct ferry__block_entry *entries = (struct ferry__block_entry *)(void *)list.host;
    for (uint32_t i = 0; i < BLOCKS; i++) /* within the arena, to its other half */
        entries[i] = (struct ferry__block_entry){entries[i].dst + SPACE / 2, entries[i].dst,
                                                 entries[i].size, 0};
    run_list(&world, &arena, &arena, &list);
    write_list(&list, true, SPACE / 2);
    run_list(&world, &down, &arena, &list);
    invalidate(&world, &down);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        assert_memory_equal(down.host + entries[i].dst, up.host + entries[i].dst, entries[i].size);
        memset(down.host + entries[i].dst, 0xEE, entries[i].size);
    }
    for (unsigned i = 0; i < SPACE; i++)
        assert_int_equal(down.host[i], 0xEE); /* and nothing else was written */
    struct ferry__memory *const all[] = {&up, &down, &list, &arena};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        give(&world, all[i]);
    close_world(&world);
}

static void test_machines(void **unused)
{
    (void)unused;
    for (int m = 0; m < METALSIM_MACHINES; m++)
        scatter_and_gather((struct metalsim_config){.machine = (enum metalsim_machine)m});
    scatter_and_gather((struct metalsim_config){.machine = METALSIM_AMD, .no_shared = true});
}

/* What a list may not say. */
static void test_lists_that_are_wrong(void **unused)
{
    (void)unused;
    static const struct {
        enum metalsim_rule rule;
        struct ferry__block_entry second;
    } wrong[] = {
        {METALSIM_OVERLAP, {29, 200, 10, 0}}, /* the last byte of the first */
        {METALSIM_RANGE, {SPACE - 5, 0, 6, 0}},
        {METALSIM_RANGE, {100, SPACE, 1, 0}},
        {METALSIM_RANGE, {100, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct world world;
        open_world(&world, (struct metalsim_config){.record = true});
        struct ferry__memory up = alloc(&world, FERRY__MEMORY_UPLOAD, SPACE);
        struct ferry__memory list = alloc(&world, FERRY__MEMORY_UPLOAD, SPACE);
        struct ferry__memory arena = alloc(&world, FERRY__MEMORY_PRIVATE, SPACE);
        struct ferry__block_entry *entries = (struct ferry__block_entry *)(void *)list.host;
        entries[0] = (struct ferry__block_entry){10, 0, 20, 0};
        entries[1] = wrong[i].second;
        const struct ferry__command command = listed(&arena, &up, &list, 2);
        (void)run(&world, &command, 1);
        assert_int_equal(counts().breaches[wrong[i].rule], 1);
        give(&world, &up);
        give(&world, &list);
        give(&world, &arena);
        close_world(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machines),
        cmocka_unit_test(test_lists_that_are_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
