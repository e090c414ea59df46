/* The host driver through struct ferry__driver alone. */
#define _DEFAULT_SOURCE
#include "base.h"
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static const struct ferry__driver *const driver = &ferry__host_driver;

/* One open device and what a test wants of it. */
struct world {
    void *state;
    struct ferry__limits limits;
    uint64_t values[FERRY__QUEUES_MAX];
    char why[FERRY__WHY_MAX];
};

static char logged[512]; /* the last message at ERROR; written by the thread that submits */

static void note(enum ferry_log_level level, const char *message, void *user)
{
    (void)user;
    if (level == FERRY_LOG_ERROR) {
        snprintf(logged, sizeof logged, "%s", message);
    }
}

static void open_with(struct world *world, const char *knobs, struct ferry__open_params params)
{
    *world = (struct world){0};
    logged[0] = 0;
    ferry_set_log(note, NULL, FERRY_LOG_ERROR);
    setenv("FERRY_HOST", knobs, 1);
    if (driver->open(&params, &world->state, &world->limits, world->why) != FERRY_OK) {
        fail_msg("open with \"%s\": %s", knobs, world->why);
    }
}

static void open_world(struct world *world, const char *knobs)
{
    open_with(world, knobs, (struct ferry__open_params){0});
}

/* Nothing may have been said that the test did not take note of. */
static void close_world(struct world *world)
{
    driver->close(world->state);
    assert_string_equal(logged, "");
    unsetenv("FERRY_HOST");
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

static struct ferry__memory alloc(struct world *world, enum ferry__use use, uint64_t size)
{
    struct ferry__memory memory;
    if (driver->memory_alloc(world->state, use, size, "test", &memory, world->why) != FERRY_OK) {
        fail_msg("alloc of %llu: %s", (unsigned long long)size, world->why);
    }
    assert_true(memory.size >= size);
    assert_int_equal(memory.offset % FERRY_BUFFER_ALIGNMENT, 0);
    return memory;
}

static enum ferry_status submit(struct world *world, unsigned queue,
                                const struct ferry__command *commands, size_t count,
                                const struct ferry_sync *waits, size_t wait_count,
                                struct ferry__record *record)
{
    struct ferry__submission_info info = {
        .queue = queue,
        .commands = commands,
        .count = count,
        .waits = waits,
        .wait_count = wait_count,
        .value = world->values[queue] + 1,
        .record = record,
    };
    enum ferry_status status = driver->submit(world->state, &info, world->why);
    world->values[queue] += status == FERRY_OK;
    return status;
}

static struct ferry_sync point_of(const struct world *world, unsigned queue)
{
    return (struct ferry_sync){world->limits.queues[queue].event, world->values[queue]};
}

static void wait_for(struct world *world, struct ferry_sync point)
{
    while (driver->completed(world->state, point.event) < point.value) {
        driver->wait_any(world->state, &point, 1, FERRY_FOREVER);
    }
}

/* Submits to queue 0 and waits for it to end. */
static struct ferry__record run(struct world *world, const struct ferry__command *commands,
                                size_t count)
{
    struct ferry__record record = {.status = FERRY_PENDING};
    assert_int_equal(submit(world, 0, commands, count, NULL, 0, &record), FERRY_OK);
    wait_for(world, point_of(world, 0));
    return record;
}

static struct ferry__command copy(const struct ferry__memory *dst, uint64_t dst_offset,
                                  const struct ferry__memory *src, uint64_t src_offset,
                                  uint64_t size)
{
    return (struct ferry__command){.kind = FERRY__COPY,
                                   .dst = dst,
                                   .src = src,
                                   .dst_offset = dst_offset,
                                   .src_offset = src_offset,
                                   .size = size};
}

static struct ferry__command fill(const struct ferry__memory *dst, uint64_t offset, uint64_t size,
                                  uint8_t pattern_size)
{
    struct ferry__command command = {.kind = FERRY__FILL,
                                     .dst = dst,
                                     .dst_offset = offset,
                                     .size = size,
                                     .pattern_size = pattern_size};
    for (uint8_t i = 0; i < sizeof command.pattern; i++) {
        command.pattern[i] = (uint8_t)(0x31 + 7 * i);
    }
    return command;
}

static void number_bytes(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(i * 31 + i / 251 + 1);
    }
}

static const uint64_t sizes[] = {1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537, 3 << 20};
static const uint64_t offsets[] = {0, 1, 3, 4, 7, 17, 31};
enum { SIZES = sizeof sizes / sizeof *sizes, OFFSETS = sizeof offsets / sizeof *offsets };
enum { ROOM = (3 << 20) + 128 };

/* --- what every driver does -------------------------------------------------------------------- */

static void test_list(void **state)
{
    (void)state;
    struct ferry_device_info infos[4] = {0};
    char why[FERRY__WHY_MAX] = "";
    unsetenv("FERRY_HOST");
    assert_int_equal(driver->list(NULL, 0, why), 2);
    assert_int_equal(driver->list(infos, 1, why), 2);
    assert_string_equal(infos[0].driver, "host");
    assert_true(infos[0].unified && infos[0].total_memory > 0 && infos[0].queues == 4);
    assert_string_equal(infos[1].driver, "");
    setenv("FERRY_HOST", "devices=3,memory=5K,max_allocation=1K,no_import", 1);
    assert_int_equal(driver->list(infos, 4, why), 3);
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
    assert_int_equal(world.limits.queues[0].roles, 7);
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
    struct ferry__memory src = alloc(&world, FERRY__USE_UPLOAD, ROOM);
    struct ferry__memory dst = alloc(&world, FERRY__USE_PRIVATE, ROOM);
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
    struct ferry__memory dst = alloc(&world, FERRY__USE_SHARED, ROOM);
    unsigned char *want = test_malloc(ROOM);
    for (uint8_t pattern = 1; pattern <= 16; pattern++) {
        for (size_t s = 0; s < SIZES; s++) {
            uint64_t to = 32 + offsets[s % OFFSETS];
            struct ferry__command command = fill(&dst, to, sizes[s], pattern);
            command.engine = 16 % pattern ? FERRY__ENGINE_KERNEL : FERRY__ENGINE_COPY;
            memset(dst.host, 0xEE, ROOM);
            memset(want, 0xEE, ROOM);
            for (uint64_t i = 0; i < sizes[s]; i++) {
                want[to + i] = command.pattern[i % pattern];
            }
            assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
            assert_memory_equal(dst.host, want, ROOM);
        }
    }
    test_free(want);
    driver->memory_free(world.state, &dst);
    close_world(&world);
}

/* The memory's own offset is added to a command's; a barrier keeps the order. */
static void test_offsets_and_barriers(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    struct ferry__memory all = alloc(&world, FERRY__USE_SHARED, 4096);
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
    struct ferry__memory memory = alloc(&world, FERRY__USE_PRIVATE, far + 4096);
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
    struct ferry__memory dst = alloc(&world, FERRY__USE_PRIVATE, size);
    assert_int_equal(
        driver->host_import(world.state, pages, size, true, &import, world.why), FERRY_OK);
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

/* --- waits ------------------------------------------------------------------------------------- */

static void test_waits(void **state)
{
    (void)state;
    struct world world;
    open_with(&world, "", (struct ferry__open_params){.queues = 2});
    assert_int_equal(world.limits.queue_count, 2);
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, 4096);
    struct ferry_sync gate = {0, 7};
    assert_int_equal(driver->event_create(world.state, &gate.event, world.why), FERRY_OK);
    struct ferry__record records[2] = {{.status = FERRY_PENDING}, {.status = FERRY_PENDING}};
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

/* Both wait for the same event, so that both are ready at once: the newer one goes first. */
static void test_out_of_order(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "queues=2,out_of_order");
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, 4096);
    struct ferry_sync gate = {0, 1};
    assert_int_equal(driver->event_create(world.state, &gate.event, world.why), FERRY_OK);
    struct ferry__record records[2];
    struct ferry__command older = fill(&memory, 0, 4096, 1);
    struct ferry__command newer = fill(&memory, 0, 4096, 2);
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

/* --- knobs ------------------------------------------------------------------------------------- */

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
        if (!strstr(why, bad[i][1])) {
            fail_msg("\"%s\" says: %s", bad[i][0], why);
        }
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
    assert_int_equal(
        driver->open(&(struct ferry__open_params){.index = 2}, &device, &limits, why),
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
        struct ferry__memory hidden = alloc(&world, FERRY__USE_PRIVATE, 100);
        struct ferry__memory seen = alloc(&world, FERRY__USE_READBACK, 100);
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
    struct ferry__memory up = alloc(&world, FERRY__USE_UPLOAD, 200);
    struct ferry__memory down = alloc(&world, FERRY__USE_READBACK, 256);
    struct ferry__memory shared = alloc(&world, FERRY__USE_SHARED, 256);
    struct ferry__memory private = alloc(&world, FERRY__USE_PRIVATE, 256);
    assert_int_equal(up.size, 256);
    assert_false(up.coherent || down.coherent || private.coherent);
    assert_true(shared.coherent);
    memset(up.host, 0x77, 256);
    assert_int_equal(driver->flush(world.state, &up, 64, 64), FERRY_OK);
    struct ferry__command commands[] = {copy(&shared, 0, &up, 0, 256),
                                        copy(&down, 0, &up, 0, 256)};
    assert_int_equal(run(&world, commands, 2).status, FERRY_OK);
    assert_int_equal(shared.host[63], 0);
    assert_int_equal(shared.host[64], 0x77);
    assert_int_equal(shared.host[127], 0x77);
    assert_int_equal(shared.host[128], 0);
    assert_int_equal(down.host[64], 0);
    assert_int_equal(driver->invalidate(world.state, &down, 64, 128), FERRY_OK);
    assert_int_equal(down.host[64], 0x77);
    assert_int_equal(down.host[128], 0);
    static const uint64_t wrong[][2] = {{1, 64}, {0, 65}, {0, 320}, {256, 64}, {UINT64_MAX - 63, 64}};
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
    struct ferry__memory memory = alloc(&world, FERRY__USE_PRIVATE, 40 << 10);
    assert_int_equal(driver->memory_available(world.state), 24 << 10);
    assert_int_equal(driver->memory_alloc(world.state, FERRY__USE_SHARED, (24 << 10) + 1, NULL,
                                          &other, world.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(world.why, "24577 bytes are over the 24576 of 65536"));
    other = alloc(&world, FERRY__USE_SHARED, 24 << 10);
    driver->memory_free(world.state, &other);
    other = alloc(&world, FERRY__USE_UPLOAD, 48 << 10);
    driver->memory_free(world.state, &other);
    driver->memory_free(world.state, &memory);
    assert_int_equal(driver->memory_available(world.state), 64 << 10);
    assert_int_equal(driver->memory_alloc(world.state, FERRY__USE_PRIVATE, (48 << 10) + 1, NULL,
                                          &other, world.why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    close_world(&world);
}

static void test_zero_off(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "zero_off");
    struct ferry__memory memory = alloc(&world, FERRY__USE_PRIVATE, 4097);
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
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, 100);
    struct ferry_sync work = {0, 1};
    assert_int_equal(driver->event_create(world.state, &work.event, world.why), FERRY_OK);
    struct ferry__record record;
    struct ferry__command before = fill(&memory, 0, 100, 1);
    struct ferry__command after = copy(&memory, 50, &memory, 0, 10);
    assert_int_equal(submit(&world, 0, &before, 1, NULL, 0, &record), FERRY_OK);
    assert_true(ferry__host_event_wait(world.limits.queues[0].event, 1));
    struct ferry__record second;
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

/* --- failures ---------------------------------------------------------------------------------- */

static void test_failing_calls(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "fail_alloc=2,fail_submit=2,fail_exec=2,import_fail=all,delay_us=10");
    struct ferry__memory none;
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, 4096);
    assert_int_equal(
        driver->memory_alloc(world.state, FERRY__USE_SHARED, 1, NULL, &none, world.why),
        FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(driver->host_import(world.state, memory.host,
                                             world.limits.import_granularity, false, &none,
                                             world.why),
                         FERRY_ERROR_UNSUPPORTED);
    }
    struct ferry__record record;
    struct ferry__command command = fill(&memory, 0, 4096, 1);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &record),
                     FERRY_ERROR_OUT_OF_HOST_MEMORY);
    command = fill(&memory, 0, 4096, 2);
    command.pattern[0] = 0x11;
    record = run(&world, &command, 1);
    assert_int_equal(record.status, FERRY_ERROR_EXECUTION_FAILED);
    assert_non_null(strstr(record.why, "2048 of 4096"));
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
            enum ferry_status status = driver->memory_alloc(world.state, FERRY__USE_PRIVATE, 64,
                                                            NULL, &memory, world.why);
            failed[round][i] = status == FERRY_OK ? '.' : 'x';
            if (status == FERRY_OK) {
                driver->memory_free(world.state, &memory);
            }
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
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, 4096);
    struct ferry__memory none;
    struct ferry__record record;
    uint64_t event;
    struct ferry__command commands[] = {fill(&memory, 0, 10, 1), fill(&memory, 10, 10, 1)};
    assert_int_equal(run(&world, commands, 2).status, FERRY_OK);
    for (uint64_t n = 1; n <= 2; n++) {
        ferry__alloc_fail_at(n);
        assert_int_equal(submit(&world, 0, commands, 2, NULL, 0, &record),
                         FERRY_ERROR_OUT_OF_HOST_MEMORY);
    }
    ferry__alloc_fail_at(1);
    assert_int_equal(
        driver->memory_alloc(world.state, FERRY__USE_SHARED, 1, NULL, &none, world.why),
        FERRY_ERROR_OUT_OF_HOST_MEMORY);
    ferry__alloc_fail_at(1);
    assert_int_equal(driver->event_create(world.state, &event, world.why),
                     FERRY_ERROR_OUT_OF_HOST_MEMORY);
    ferry__alloc_fail_at(0);
    assert_int_equal(run(&world, commands, 2).status, FERRY_OK);
    driver->memory_free(world.state, &memory);
    close_world(&world);
}

static void test_loss(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "queues=2,lose_at=2");
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, 4096);
    struct ferry_sync never = {0, 1};
    assert_int_equal(driver->event_create(world.state, &never.event, world.why), FERRY_OK);
    struct ferry__record records[4];
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
    while (driver->status(world.state) == FERRY_OK) {
        driver->wait_any(world.state, &never, 1, FERRY_FOREVER);
    }
    for (int i = 1; i < 4; i++) {
        assert_int_equal(records[i].status, FERRY_ERROR_DEVICE_LOST);
    }
    assert_int_equal(driver->completed(world.state, world.limits.queues[0].event), 3);
    assert_int_equal(driver->completed(world.state, world.limits.queues[1].event), 1);
    driver->wait_any(world.state, &never, 1, FERRY_FOREVER);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &records[0]),
                     FERRY_ERROR_DEVICE_LOST);
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
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, size);
    struct ferry__record record = {.status = FERRY_PENDING};
    struct ferry__command command = fill(&memory, 0, size, 1);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &record), FERRY_OK);
    ferry__host_lose(world.state);
    wait_for(&world, point_of(&world, 0));
    assert_true(record.status == FERRY_ERROR_DEVICE_LOST || record.status == FERRY_OK);
    memset(memory.host, 0, size); /* a race, if the thread were still at it */
    driver->memory_free(world.state, &memory);
    while (driver->status(world.state) == FERRY_OK) {
        driver->wait_any(world.state, NULL, 0, FERRY_FOREVER);
    }
    close_world(&world);
}

/* --- the contract ------------------------------------------------------------------------------ */

static void breaks(struct world *world, const struct ferry__command *commands, size_t count,
                   const char *words)
{
    logged[0] = 0;
    struct ferry__record record = run(world, commands, count);
    assert_int_equal(record.status, FERRY_ERROR_INTERNAL);
    if (!strstr(record.why, words)) {
        fail_msg("expected \"%s\", got \"%s\"", words, record.why);
    }
    assert_memory_equal(logged, "host driver: contract: ", 23);
    assert_non_null(strstr(logged, record.why));
    logged[0] = 0;
}

static void test_broken_commands(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "align=4,fill_pattern=4,max_copy=1K");
    struct ferry__memory a = alloc(&world, FERRY__USE_SHARED, 4096);
    struct ferry__memory b = alloc(&world, FERRY__USE_PRIVATE, 4096);
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
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        breaks(&world, &rows[i].command, 1, rows[i].words);
    }
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

static void test_missing_barriers(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, "");
    struct ferry__memory a = alloc(&world, FERRY__USE_SHARED, 4096);
    struct ferry__memory b = alloc(&world, FERRY__USE_SHARED, 4096);
    const struct {
        struct ferry__command commands[3];
        bool good;
    } rows[] = {
        {{fill(&a, 0, 10, 1), fill(&b, 0, 10, 1), fill(&a, 9, 10, 1)}, false},   /* writes meet */
        {{fill(&a, 0, 10, 1), fill(&b, 90, 10, 1), copy(&b, 0, &a, 9, 1)}, false}, /* read after */
        {{copy(&b, 0, &a, 0, 10), fill(&b, 90, 1, 1), fill(&a, 5, 1, 1)}, false}, /* write after */
        {{fill(&a, 0, 100, 1), fill(&a, 200, 1, 1), fill(&a, 50, 1, 1)}, false},  /* inside */
        {{copy(&b, 0, &a, 0, 99), copy(&b, 99, &a, 9, 1), fill(&a, 50, 1, 1)}, false},
        {{fill(&a, 0, 10, 1), fill(&a, 10, 10, 1), copy(&b, 0, &a, 20, 10)}, true},
        {{copy(&b, 0, &a, 0, 10), copy(&b, 10, &a, 5, 10), copy(&b, 20, &a, 0, 9)}, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ferry__command commands[3];
        memcpy(commands, rows[i].commands, sizeof commands);
        if (rows[i].good) {
            assert_int_equal(run(&world, commands, 3).status, FERRY_OK);
        } else {
            breaks(&world, commands, 3, "without a barrier");
        }
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
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, 64);
    struct ferry__command command = fill(&memory, 0, 10, 1);
    struct ferry__record record;
    struct ferry_sync early = {world.limits.queues[1].event, 1};
    assert_int_equal(submit(&world, 0, &command, 1, &early, 1, &record), FERRY_OK);
    wait_for(&world, point_of(&world, 0));
    assert_int_equal(record.status, FERRY_ERROR_INTERNAL);
    assert_non_null(strstr(logged, "not submitted yet"));
    world.values[0] += 1;
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &record), FERRY_OK);
    wait_for(&world, point_of(&world, 0));
    assert_int_equal(record.status, FERRY_ERROR_INTERNAL);
    assert_non_null(strstr(logged, "grow by 1"));
    world.values[0] -= 1;
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, &record), FERRY_ERROR_INTERNAL);
    world.values[0] += 1;
    assert_int_equal(submit(&world, 0, &command, 0, NULL, 0, &record), FERRY_ERROR_INTERNAL);
    assert_int_equal(submit(&world, 0, &command, 1, NULL, 0, NULL), FERRY_ERROR_INTERNAL);
    assert_int_equal(submit(&world, 7, &command, 1, NULL, 0, &record), FERRY_ERROR_INTERNAL);
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
    struct ferry__memory memory = alloc(&world, FERRY__USE_SHARED, 64);
    struct ferry__memory forgotten = alloc(&world, FERRY__USE_PRIVATE, 64);
    assert_non_null(forgotten.native);
    struct ferry_sync never = {0, 1};
    assert_int_equal(driver->event_create(world.state, &never.event, world.why), FERRY_OK);
    struct ferry__command command = fill(&memory, 0, 10, 1);
    struct ferry__record record;
    assert_int_equal(submit(&world, 0, &command, 1, &never, 1, &record), FERRY_OK);
    driver->memory_free(world.state, &memory);
    assert_non_null(strstr(logged, "is freed while commands use it"));
    driver->event_destroy(world.state, never.event);
    assert_non_null(strstr(logged, "while a submission waits for the event"));
    driver->close(world.state);
    assert_non_null(strstr(logged, "close while 1 memories of 64 bytes"));
    unsetenv("FERRY_HOST");
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_standard_limits),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_fill),
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
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_fail_every),
        cmocka_unit_test(test_host_memory_runs_out),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_loss_in_a_copy),
        cmocka_unit_test(test_broken_commands),
        cmocka_unit_test(test_missing_barriers),
        cmocka_unit_test(test_broken_order),
        cmocka_unit_test(test_too_early),
    };
    return cmocka_run_group_tests_name("host driver", tests, NULL, NULL);
}
