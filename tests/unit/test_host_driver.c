/* The host driver through struct ferry__driver alone: what it does, and its knobs. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "host_world.h"
#include "list_count.h"

#include <sys/mman.h>

static void number_bytes(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251 + 1);
}

static const uint64_t sizes[] = {1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537, 3 << 20};
static const uint64_t offsets[] = {0, 1, 3, 4, 7, 17, 31};
enum { SIZES = sizeof sizes / sizeof *sizes, OFFSETS = sizeof offsets / sizeof *offsets };
enum { ROOM = (3 << 20) + 128 };

/* --- what every driver does ------------------------------------------------------------------- */

static void test_list(void **state)
{
    (void)state;
    struct ferry_device_info infos[4] = {0};
    char why[FERRY__WHY_MAX] = "";
    unsetenv("FERRY_HOST");
    assert_int_equal(list_count(driver, NULL, 0, why), 2);
    assert_int_equal(list_count(driver, infos, 1, why), 2);
    assert_string_equal(infos[0].driver, "host");
    assert_true(infos[0].unified && infos[0].total_memory > 0 && infos[0].queues == 4);
    assert_string_equal(infos[1].driver, "");
    setenv("FERRY_HOST", "devices=3,memory=5K,max_allocation=1K,no_import", 1);
    assert_int_equal(list_count(driver, infos, 4, why), 3);
    assert_int_equal(infos[2].total_memory, 5120);
    assert_int_equal(infos[2].max_allocation, 1024);
    assert_int_equal(infos[2].import_granularity, 0);
    unsetenv("FERRY_HOST");
}

static void test_standard_limits(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    assert_int_equal(world.limits.copy_alignment, 1);
    assert_int_equal(world.limits.fill_alignment, 1);
    assert_int_equal(world.limits.fill_pattern, 16);
    assert_true(world.limits.max_copy == UINT64_MAX);
    assert_int_equal(world.limits.queue_count, 1);
    assert_int_equal(world.limits.queues[0].roles, 15); /* it runs lists of blocks */
    assert_int_equal(world.limits.blocks_max, 1 << 20);
    assert_int_equal(world.limits.block_size_max, 1 << 20);
    assert_true(world.limits.import_granularity > 0 && world.limits.import_cheap);
    assert_false(world.limits.has_kernel || world.limits.has_events);
    close_world(&world);
}

/* Every size at every offset; the bytes round the range stay. */
static void test_copy(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    struct ferry__memory src = alloc(&world, FERRY__MEMORY_UPLOAD, ROOM);
    struct ferry__memory dst = alloc(&world, FERRY__MEMORY_PRIVATE, ROOM);
    unsigned char *want = test_malloc(ROOM);
    number_bytes(src.host, ROOM);
    for (size_t s = 0; s < SIZES; s++) {
        for (size_t o = 0; o < OFFSETS; o++) {
            uint64_t to = 32 + offsets[o];
            uint64_t from = offsets[(o + s) % OFFSETS];
            memset(dst.host, 0xEE, ROOM);
            memset(want, 0xEE, ROOM);
            memcpy(want + to, src.host + from, sizes[s]);
            struct ferry__command command = copy(&dst, to, &src, from, sizes[s]);
            assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
            assert_memory_equal(dst.host, want, ROOM);
        }
    }
    test_free(want);
    driver->memory_free(world.state, &src);
    driver->memory_free(world.state, &dst);
    close_world(&world);
}

static void test_fill(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "kernel");
    struct ferry__memory dst = alloc(&world, FERRY__MEMORY_SHARED, ROOM);
    unsigned char *want = test_malloc(ROOM);
    for (uint8_t pattern = 1; pattern <= 16; pattern++) {
        for (size_t s = 0; s < SIZES; s++) {
            uint64_t to = 32 + offsets[s % OFFSETS];
            struct ferry__command command = fill(&dst, to, sizes[s], pattern);
            command.engine = 16 % pattern ? FERRY__ENGINE_KERNEL : FERRY__ENGINE_COPY;
            memset(dst.host, 0xEE, ROOM);
            memset(want, 0xEE, ROOM);
            for (uint64_t i = 0; i < sizes[s]; i++)
                want[to + i] = command.pattern[i % pattern];
            assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
            assert_memory_equal(dst.host, want, ROOM);
        }
    }
    test_free(want);
    driver->memory_free(world.state, &dst);
    close_world(&world);
}

/* The memory's own offset is added to a command's; a barrier keeps the order. */
/* Every size, from every offset to every other; the bytes round the blocks stay. */
static void test_blocks(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "no_map");
    enum { COUNT = (SIZES - 1) * OFFSETS, STEP = 70 << 10 };
    struct ferry__memory from = alloc(&world, FERRY__MEMORY_UPLOAD, (uint64_t)COUNT * STEP);
    struct ferry__memory to = alloc(&world, FERRY__MEMORY_READBACK, (uint64_t)COUNT * STEP);
    struct ferry__memory list = alloc(&world, FERRY__MEMORY_UPLOAD, 4096);
    struct ferry__block_entry *entries = (void *)(list.host + 16);
    unsigned char *expected = malloc(to.size);
    assert_non_null(expected);
    number_bytes(from.host, from.size);
    memset(expected, 0xEE, to.size);
    memset(to.host, 0xEE, to.size);
    uint64_t total = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        entries[i] = (struct ferry__block_entry){
            .dst = 3 + (uint64_t)i * STEP + offsets[i % OFFSETS],
            .src = 5 + (uint64_t)(COUNT - 1 - i) * STEP + offsets[i / 2 % OFFSETS],
            .size = (uint32_t)sizes[i / OFFSETS]};
        memcpy(expected + entries[i].dst, from.host + entries[i].src, entries[i].size);
        entries[i].dst += driver->address(&to);
        entries[i].src += driver->address(&from);
        total += entries[i].size;
    }
    struct ferry__command command = copy(&to, 3, &from, 5, total);
    command.kind = FERRY__BLOCKS;
    command.engine = FERRY__ENGINE_KERNEL;
    command.list = (struct ferry__block_list){.memory = &list,
                                              .offset = 16,
                                              .count = COUNT,
                                              .dst_span = to.size - 3,
                                              .src_span = from.size - 5};
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    assert_memory_equal(to.host, expected, to.size);
    free(expected);
    driver->memory_free(world.state, &from);
    driver->memory_free(world.state, &to);
    driver->memory_free(world.state, &list);
    close_world(&world);
}

static void test_offsets_and_barriers(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    struct ferry__memory all = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    struct ferry__memory part = {
        .native = all.native, .offset = 512, .size = 1024, .host = all.host + 512};
    for (int round = 0; round < 50; round++) {
        memset(all.host, 0, 4096);
        struct ferry__command commands[] = {
            fill(&part, 0, 100, 1),
            copy(&part, 200, &part, 0, 100),
            copy(&part, 400, &part, 200, 100),
            fill(&part, 0, 100, 2),
        };
        commands[1].barrier = commands[2].barrier = commands[3].barrier = true;
        assert_int_equal(run(&world, commands, 4).status, FERRY_OK);
        assert_int_equal(all.host[511], 0);
        assert_int_equal(all.host[512 + 1], 0x38);
        assert_int_equal(all.host[512 + 400], 0x31);
        assert_int_equal(all.host[512 + 499], 0x31);
        assert_int_equal(all.host[512 + 500], 0);
    }
    driver->memory_free(world.state, &all);
    close_world(&world);
}

/* Longer than 4 GiB: committed only where it is touched. */
static void test_over_4_gib(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "memory=16G");
    uint64_t far = 5ull << 30;
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_PRIVATE, far + 4096);
    assert_true(memory.zeroed);
    struct ferry__command commands[] = {fill(&memory, far + 7, 100, 1),
                                        copy(&memory, 3, &memory, far, 200)};
    commands[1].barrier = true;
    assert_int_equal(run(&world, commands, 2).status, FERRY_OK);
    assert_int_equal(memory.host[far + 6], 0);
    assert_int_equal(memory.host[far + 106], 0x31);
    assert_int_equal(memory.host[3 + 7], 0x31);
    assert_int_equal(memory.host[3 + 107], 0);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

static void test_import(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    uint64_t size = 2 * world.limits.import_granularity;
    unsigned char *pages =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    number_bytes(pages, size);
    struct ferry__memory import;
    struct ferry__memory dst = alloc(&world, FERRY__MEMORY_PRIVATE, size);
    assert_int_equal(driver->host_import(world.state, pages, size, true, &import, world.why),
                     FERRY_OK);
    assert_ptr_equal(import.host, pages);
    assert_true(import.coherent);
    struct ferry__command command = copy(&dst, 0, &import, 0, size);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    assert_memory_equal(dst.host, pages, size);
    command = fill(&import, 0, 1, 1);
    assert_int_equal(run(&world, &command, 1).status, FERRY_ERROR_INTERNAL);
    assert_non_null(strstr(logged, "host driver: contract: command 0 writes an import"));
    logged[0] = 0;
    driver->memory_free(world.state, &import);
    driver->memory_free(world.state, &dst);
    assert_int_equal(pages[1], 32);
    munmap(pages, size);
    close_world(&world);
}

/* --- waits ------------------------------------------------------------------------------------ */

static void test_waits(void **state)
{
    (void)state;
    struct world world;
    open_with(&world, "", (struct ferry__open_params){.queues = 2});
    assert_int_equal(world.limits.queue_count, 2);
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 4096);
    struct ferry_sync gate = {0, 7};
    assert_int_equal(driver->event_create(world.state, &gate.event, world.why), FERRY_OK);
    struct ferry__result records[2] = {{.status = FERRY_PENDING}, {.status = FERRY_PENDING}};
    struct ferry__command first = fill(&memory, 0, 4096, 1);
    struct ferry__command second = fill(&memory, 1, 1, 2);
    assert_int_equal(submit(&world, 0, &first, 1, &gate, 1, &records[0]), FERRY_OK);
    struct ferry_sync after = point_of(&world, 0);
    assert_int_equal(submit(&world, 1, &second, 1, &after, 1, &records[1]), FERRY_OK);
    driver->event_signal(world.state, gate.event, 6);
    assert_int_equal(driver->completed(world.state, gate.event), 6);
    struct ferry_sync last = point_of(&world, 1);
    driver->wait_any(world.state, &last, 1, 1000000);
    assert_int_equal(driver->completed(world.state, after.event), 0);
    assert_int_equal(driver->completed(world.state, last.event), 0);
    driver->event_signal(world.state, gate.event, 9);
    wait_for(&world, last);
    assert_int_equal(driver->completed(world.state, after.event), 1);
    assert_int_equal(records[0].status, FERRY_OK);
    assert_int_equal(records[1].status, FERRY_OK);
    assert_true(records[0].device_ns > 0);
    assert_int_equal(memory.host[0], 0x31);
    driver->event_destroy(world.state, gate.event);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

static void *wake_up(void *state)
{
    driver->wake(state);
    return NULL;
}

/* A wake is kept for who waits next. Without it this test would not end. */
static void test_wake(void **state)
{
    (void)state;
    struct world world;
    pthread_t thread;
    open_world(&world, "");
    driver->wake(world.state);
    driver->wait_any(world.state, NULL, 0, FERRY_FOREVER);
    assert_int_equal(pthread_create(&thread, NULL, wake_up, world.state), 0);
    driver->wait_any(world.state, NULL, 0, FERRY_FOREVER);
    pthread_join(thread, NULL);
    driver->wait_any(world.state, NULL, 0, 0);
    close_world(&world);
}

/* Both wait for the same event, so that both are ready at once: the newer one goes first,
 * though it takes longer. */
static void test_out_of_order(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "queues=2,out_of_order");
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 8 << 20);
    struct ferry_sync gate = {0, 1};
    assert_int_equal(driver->event_create(world.state, &gate.event, world.why), FERRY_OK);
    struct ferry__result records[2];
    struct ferry__command older = fill(&memory, 0, 4096, 1);
    struct ferry__command newer = fill(&memory, 0, 8 << 20, 2);
    assert_int_equal(submit(&world, 0, &older, 1, &gate, 1, &records[0]), FERRY_OK);
    assert_int_equal(submit(&world, 1, &newer, 1, &gate, 1, &records[1]), FERRY_OK);
    driver->event_signal(world.state, gate.event, 1);
    wait_for(&world, point_of(&world, 0));
    assert_int_equal(driver->completed(world.state, world.limits.queues[1].event), 1);
    assert_int_equal(memory.host[1], 0x31);
    driver->event_destroy(world.state, gate.event);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

/* --- knobs ------------------------------------------------------------------------------------ */

static void test_bad_knobs(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"aling=4", "\"aling\""},
        {"no_map,bogus", "\"bogus\""},
        {"align", "takes a number"},
        {"align=3", "power of 2"},
        {"align=512", "from 1 to 256"},
        {"memory=4X", "takes a number"},
        {"memory=", "takes a number"},
        {"memory=99999999999999999999", "takes a number"},
        {"memory=99999999999G", "takes a number"},
        {"no_map=1", "takes no value"},
        {"align=8,max_copy=7", "less than align"},
        {"memory=all", "takes a number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *device = NULL;
        struct ferry__limits limits;
        char why[FERRY__WHY_MAX] = "";
        setenv("FERRY_HOST", bad[i][0], 1);
        assert_int_equal(driver->open(&(struct ferry__open_params){0}, &device, &limits, why),
                         FERRY_ERROR_INVALID_ARGUMENT);
        if (!strstr(why, bad[i][1]))
            fail_msg("\"%s\" says: %s", bad[i][0], why);
        assert_null(device);
    }
    unsetenv("FERRY_HOST");
}

static void test_refused_opens(void **state)
{
    (void)state;
    void *device = NULL;
    struct ferry__limits limits;
    char why[FERRY__WHY_MAX] = "";
    unsetenv("FERRY_HOST");
    assert_int_equal(driver->open(&(struct ferry__open_params){.index = 2}, &device, &limits, why),
                     FERRY_ERROR_NO_DEVICE);
    assert_int_equal(
        driver->open(&(struct ferry__open_params){.wrapped = why}, &device, &limits, why),
        FERRY_ERROR_UNSUPPORTED);
    ferry__alloc_fail_at(1);
    assert_int_equal(driver->open(&(struct ferry__open_params){0}, &device, &limits, why),
                     FERRY_ERROR_OUT_OF_HOST_MEMORY);
}

static void test_limits_by_knobs(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "align=4,fill_pattern=4,max_copy=1M,kernel,kernel_from=2K,queues=3,"
                       "import_costly,noncoherent,events,max_allocation=8M,memory=1G");
    assert_int_equal(world.limits.copy_alignment, 4);
    assert_int_equal(world.limits.fill_alignment, 4);
    assert_int_equal(world.limits.fill_pattern, 4);
    assert_int_equal(world.limits.max_copy, 1 << 20);
    assert_true(world.limits.has_kernel && world.limits.has_events);
    assert_int_equal(world.limits.kernel_copy_from, 2048);
    assert_false(world.limits.import_cheap);
    assert_int_equal(world.limits.atom, 64);
    assert_int_equal(world.limits.max_allocation, 8 << 20);
    assert_int_equal(world.limits.queue_count, 3);
    assert_int_equal(world.limits.queues[0].roles, FERRY__ROLE_UPLOAD);
    assert_int_equal(world.limits.queues[1].roles, FERRY__ROLE_DOWNLOAD);
    assert_int_equal(world.limits.queues[2].roles, FERRY__ROLE_COPY | FERRY__ROLE_KERNEL);
    close_world(&world);
}

static void test_no_map(void **state)
{
    (void)state;
    static const struct {
        const char *knobs;
        enum ferry_map map;
    } ways[] = {{"no_map", FERRY_MAP_ALWAYS}, {"", FERRY_MAP_NEVER}};
    for (size_t i = 0; i < 2; i++) {
        struct world world;
        open_with(&world, ways[i].knobs, (struct ferry__open_params){.map_private = ways[i].map});
        struct ferry__memory hidden = alloc(&world, FERRY__MEMORY_PRIVATE, 100);
        struct ferry__memory seen = alloc(&world, FERRY__MEMORY_READBACK, 100);
        assert_null(hidden.host);
        assert_non_null(seen.host);
        struct ferry__command commands[] = {fill(&hidden, 0, 100, 1),
                                            copy(&seen, 0, &hidden, 0, 100)};
        commands[1].barrier = true;
        assert_int_equal(run(&world, commands, 2).status, FERRY_OK);
        assert_int_equal(seen.host[99], 0x31);
        driver->memory_free(world.state, &hidden);
        driver->memory_free(world.state, &seen);
        close_world(&world);
    }
}

/* Without a flush the device does not see what the host wrote, nor the reverse. */
static void test_noncoherent(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "noncoherent");
    struct ferry__memory up = alloc(&world, FERRY__MEMORY_UPLOAD, 200);
    struct ferry__memory down = alloc(&world, FERRY__MEMORY_READBACK, 256);
    struct ferry__memory shared = alloc(&world, FERRY__MEMORY_SHARED, 256);
    struct ferry__memory private = alloc(&world, FERRY__MEMORY_PRIVATE, 256);
    assert_int_equal(up.size, 256);
    assert_false(up.coherent || down.coherent || private.coherent);
    assert_true(shared.coherent);
    memset(up.host, 0x77, 256);
    assert_int_equal(driver->flush(world.state, &up, 64, 64), FERRY_OK);
    struct ferry__command commands[] = {copy(&shared, 0, &up, 0, 256), copy(&down, 0, &up, 0, 256)};
    assert_int_equal(run(&world, commands, 2).status, FERRY_OK);
    assert_int_equal(shared.host[63], 0);
    assert_int_equal(shared.host[64], 0x77);
    assert_int_equal(shared.host[127], 0x77);
    assert_int_equal(shared.host[128], 0);
    assert_int_equal(down.host[64], 0);
    assert_int_equal(driver->invalidate(world.state, &down, 64, 128), FERRY_OK);
    assert_int_equal(down.host[64], 0x77);
    assert_int_equal(down.host[128], 0);
    static const uint64_t wrong[][2] = {
        {1, 64}, {0, 65}, {0, 320}, {256, 64}, {UINT64_MAX - 63, 64}};
    for (size_t i = 0; i < 5; i++) {
        logged[0] = 0;
        assert_int_equal(driver->flush(world.state, &up, wrong[i][0], wrong[i][1]),
                         FERRY_ERROR_INTERNAL);
        assert_memory_equal(logged, "host driver: contract:", 22);
    }
    assert_int_equal(driver->invalidate(world.state, &shared, 0, 64), FERRY_ERROR_INTERNAL);
    logged[0] = 0;
    driver->memory_free(world.state, &up);
    driver->memory_free(world.state, &down);
    driver->memory_free(world.state, &shared);
    driver->memory_free(world.state, &private);
    close_world(&world);
}

static void test_tiny_memory(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "memory=64K,max_allocation=48K");
    struct ferry__memory other;
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_PRIVATE, 40 << 10);
    assert_int_equal(driver->memory_available(world.state), 24 << 10);
    assert_int_equal(driver->memory_alloc(world.state, FERRY__MEMORY_SHARED, (24 << 10) + 1, NULL,
                                          &other, world.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(world.why, "24577 bytes are over the 24576 of 65536"));
    other = alloc(&world, FERRY__MEMORY_SHARED, 24 << 10);
    driver->memory_free(world.state, &other);
    other = alloc(&world, FERRY__MEMORY_UPLOAD, 48 << 10);
    driver->memory_free(world.state, &other);
    driver->memory_free(world.state, &memory);
    assert_int_equal(driver->memory_available(world.state), 64 << 10);
    assert_int_equal(driver->memory_alloc(world.state, FERRY__MEMORY_PRIVATE, (48 << 10) + 1, NULL,
                                          &other, world.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    close_world(&world);
}

static void test_zero_off(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "zero_off");
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_PRIVATE, 4097);
    assert_false(memory.zeroed);
    assert_int_equal(memory.host[0], 0xA5);
    assert_int_equal(memory.host[4096], 0xA5);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

static void test_events_of_the_user(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "events");
    struct ferry__memory memory = alloc(&world, FERRY__MEMORY_SHARED, 100);
    struct ferry_sync work = {0, 1};
    assert_int_equal(driver->event_create(world.state, &work.event, world.why), FERRY_OK);
    struct ferry__result result;
    struct ferry__command before = fill(&memory, 0, 100, 1);
    struct ferry__command after = copy(&memory, 50, &memory, 0, 10);
    assert_int_equal(submit(&world, 0, &before, 1, NULL, 0, &result), FERRY_OK);
    assert_true(ferry__host_event_wait(world.limits.queues[0].event, 1));
    struct ferry__result second;
    assert_int_equal(submit(&world, 0, &after, 1, &work, 1, &second), FERRY_OK);
    memset(memory.host, 0x99, 10);
    ferry__host_event_signal(work.event, 1);
    wait_for(&world, point_of(&world, 0));
    assert_int_equal(ferry__host_event_value(work.event), 1);
    assert_int_equal(memory.host[50], 0x99);
    assert_int_equal(memory.host[60], 0x31);
    driver->event_destroy(world.state, work.event);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_standard_limits),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_offsets_and_barriers),
        cmocka_unit_test(test_over_4_gib),
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_out_of_order),
        cmocka_unit_test(test_bad_knobs),
        cmocka_unit_test(test_refused_opens),
        cmocka_unit_test(test_limits_by_knobs),
        cmocka_unit_test(test_no_map),
        cmocka_unit_test(test_noncoherent),
        cmocka_unit_test(test_tiny_memory),
        cmocka_unit_test(test_zero_off),
        cmocka_unit_test(test_events_of_the_user),
    };
    return cmocka_run_group_tests_name("host driver", tests, NULL, NULL);
}
