/* The Vulkan driver through struct ferry__driver alone, on the first device the loader has. No
 * device: these tests fail, and say why. */
#include "base.h"
#include "driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct ferry__driver ferry__vulkan_driver;

static const struct ferry__driver *const driver = &ferry__vulkan_driver;

enum { MIB = 1 << 20, SLACK = 4096 };

struct fixture {
    void *state;
    struct ferry__limits limits;
    uint64_t value[FERRY__QUEUES_MAX];
    char why[FERRY__WHY_MAX];
};

static int open_as(void **out, const struct ferry__open_params *params) {
    struct fixture *f = calloc(1, sizeof *f);
    enum ferry_status status = driver->open(params, &f->state, &f->limits, f->why);
    if (status != FERRY_OK) {
        fprintf(stderr, "no Vulkan device: %s\n", f->why);
        free(f);
        return -1;
    }
    *out = f;
    return 0;
}

static int open_default(void **out) {
    return open_as(out, &(struct ferry__open_params){0});
}

static int open_unmapped(void **out) {
    return open_as(out, &(struct ferry__open_params){.map_private = FERRY_MAP_NEVER});
}

static int close_it(void **out) {
    struct fixture *f = *out;
    driver->close(f->state);
    free(f);
    return 0;
}

/* --- memory and submissions ------------------------------------------------------------------- */

static struct ferry__memory alloc(struct fixture *f, enum ferry__use use, uint64_t size) {
    struct ferry__memory memory;
    enum ferry_status status = driver->memory_alloc(f->state, use, size, "test", &memory, f->why);
    if (status != FERRY_OK)
        fail_msg("%llu bytes: %s", (unsigned long long)size, f->why);
    assert_true(memory.size >= size);
    assert_int_equal(memory.offset % FERRY_BUFFER_ALIGNMENT, 0);
    assert_int_equal((uintptr_t)memory.host % FERRY_BUFFER_ALIGNMENT, 0);
    return memory;
}

static void release(struct fixture *f, struct ferry__memory *memory) {
    driver->memory_free(f->state, memory);
}

/* What the host wrote is for the device, and the other way round. */
static void flush(struct fixture *f, const struct ferry__memory *memory) {
    uint64_t size = (memory->size + f->limits.atom - 1) / f->limits.atom * f->limits.atom;
    if (!memory->coherent)
        assert_int_equal(driver->flush(f->state, memory, 0, size), FERRY_OK);
}

static void invalidate(struct fixture *f, const struct ferry__memory *memory) {
    uint64_t size = (memory->size + f->limits.atom - 1) / f->limits.atom * f->limits.atom;
    if (!memory->coherent)
        assert_int_equal(driver->invalidate(f->state, memory, 0, size), FERRY_OK);
}

static unsigned queue_for(const struct fixture *f, unsigned role) {
    for (unsigned i = 0; i < f->limits.queue_count; i++)
        if (f->limits.queues[i].roles & role)
            return i;
    fail_msg("no queue with the role %u", role);
    return 0;
}

static struct ferry_sync submit(struct fixture *f, unsigned role,
                                const struct ferry__command *commands, size_t count,
                                const struct ferry_sync *waits, size_t wait_count,
                                struct ferry__record *record) {
    unsigned queue = queue_for(f, role);
    const struct ferry__submission_info info = {
        .queue = queue,
        .commands = commands,
        .count = count,
        .waits = waits,
        .wait_count = wait_count,
        .value = f->value[queue] + 1,
        .record = record,
    };
    record->status = FERRY_PENDING;
    if (driver->submit(f->state, &info, f->why) != FERRY_OK)
        fail_msg("submit: %s", f->why);
    f->value[queue]++;
    return (struct ferry_sync){f->limits.queues[queue].event, f->value[queue]};
}

static void wait_for(struct fixture *f, struct ferry_sync point) {
    while (driver->completed(f->state, point.event) < point.value)
        driver->wait_any(f->state, &point, 1, FERRY_FOREVER);
}

static void run(struct fixture *f, unsigned role, const struct ferry__command *commands,
                size_t count) {
    struct ferry__record record;
    wait_for(f, submit(f, role, commands, count, NULL, 0, &record));
    assert_int_equal(record.status, FERRY_OK);
    assert_string_equal(record.why, "");
}

static struct ferry__command copy(const struct ferry__memory *dst, uint64_t dst_offset,
                                  const struct ferry__memory *src, uint64_t src_offset,
                                  uint64_t size) {
    return (struct ferry__command){.kind = FERRY__COPY, .dst = dst, .dst_offset = dst_offset,
                                   .src = src, .src_offset = src_offset, .size = size};
}

static struct ferry__command after(struct ferry__command command) {
    command.barrier = true;
    return command;
}

static unsigned char byte_at(size_t i) { return (unsigned char)(i * 7 + (i >> 8) * 3 + 1); }

/* Writes bytes by way of upload staging, reads them by way of readback staging. */
static void put(struct fixture *f, const struct ferry__memory *dst, const void *bytes,
                uint64_t size) {
    struct ferry__memory staging = alloc(f, FERRY__USE_UPLOAD, size);
    memcpy(staging.host, bytes, size);
    flush(f, &staging);
    const struct ferry__command command = copy(dst, 0, &staging, 0, size);
    run(f, FERRY__ROLE_UPLOAD, &command, 1);
    release(f, &staging);
}

static void get(struct fixture *f, const struct ferry__memory *src, void *bytes, uint64_t size) {
    struct ferry__memory staging = alloc(f, FERRY__USE_READBACK, size);
    const struct ferry__command command = copy(&staging, 0, src, 0, size);
    run(f, FERRY__ROLE_DOWNLOAD, &command, 1);
    invalidate(f, &staging);
    memcpy(bytes, staging.host, size);
    release(f, &staging);
}

static void assert_bytes(struct fixture *f, const struct ferry__memory *memory,
                         const unsigned char *expected, uint64_t size) {
    unsigned char *found = malloc(size);
    get(f, memory, found, size);
    assert_memory_equal(found, expected, size);
    free(found);
}

/* --- the list and opening --------------------------------------------------------------------- */

static void test_list(void **unused) {
    (void)unused;
    struct ferry_device_info infos[16];
    char why[FERRY__WHY_MAX] = "";
    size_t count = driver->list(infos, 16, why);
    if (count == 0)
        fail_msg("no Vulkan device: %s", why);
    assert_int_equal(driver->list(NULL, 0, why), count);
    bool software = false;
    for (size_t i = 0; i < count && i < 16; i++) {
        assert_string_equal(infos[i].driver, "vulkan");
        assert_true(strlen(infos[i].description) > 0);
        assert_true(infos[i].total_memory > 0);
        assert_true(infos[i].max_buffer_size > 0);
        assert_true(infos[i].max_buffer_size <= infos[i].total_memory);
        assert_true(infos[i].queues > 0);
        /* Software comes last. */
        assert_false(software && infos[i].kind != FERRY_DEVICE_SOFTWARE);
        software = infos[i].kind == FERRY_DEVICE_SOFTWARE;
    }
}

static void test_no_such_device(void **unused) {
    (void)unused;
    void *state = NULL;
    struct ferry__limits limits;
    char why[FERRY__WHY_MAX];
    assert_int_equal(driver->open(&(struct ferry__open_params){.index = 4711}, &state, &limits,
                                  why),
                     FERRY_ERROR_NO_DEVICE);
    assert_non_null(strstr(why, "4711"));
    assert_null(state);
}

static void test_no_loader(void **unused) {
    (void)unused;
    char *before = getenv("FERRY_VULKAN_LIBRARY");
    before = before ? strdup(before) : NULL;
    setenv("FERRY_VULKAN_LIBRARY", "/nowhere/libvulkan.so.1", 1);
    char why[FERRY__WHY_MAX] = "";
    void *state = NULL;
    struct ferry__limits limits;
    assert_int_equal(driver->list(NULL, 0, why), 0);
    assert_non_null(strstr(why, "/nowhere/libvulkan.so.1"));
    why[0] = 0;
    assert_int_equal(driver->open(&(struct ferry__open_params){0}, &state, &limits, why),
                     FERRY_ERROR_NO_DEVICE);
    assert_non_null(strstr(why, "/nowhere/libvulkan.so.1"));
    /* A library, but none of Vulkan. */
    setenv("FERRY_VULKAN_LIBRARY", "libm.so.6", 1);
    assert_int_equal(driver->list(NULL, 0, why), 0);
    assert_non_null(strstr(why, "vkGetInstanceProcAddr"));
    if (before)
        setenv("FERRY_VULKAN_LIBRARY", before, 1);
    else
        unsetenv("FERRY_VULKAN_LIBRARY");
    free(before);
}

static void test_limits(void **state) {
    struct fixture *f = *state;
    const struct ferry__limits *limits = &f->limits;
    assert_int_equal(driver->status(f->state), FERRY_OK);
    assert_int_equal(limits->copy_alignment, 1);
    assert_int_equal(limits->fill_alignment, 4);
    assert_int_equal(limits->fill_pattern, 4);
    assert_int_equal(limits->max_copy % 4, 0);
    assert_true(limits->atom > 0);
    assert_true(limits->has_events);
    assert_false(limits->has_kernel);
    unsigned roles = 0;
    for (unsigned i = 0; i < limits->queue_count; i++) {
        roles |= limits->queues[i].roles;
        assert_int_not_equal(limits->queues[i].event, 0);
        assert_int_equal(driver->completed(f->state, limits->queues[i].event), 0);
    }
    assert_int_equal(roles, FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD | FERRY__ROLE_COPY);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void test_uses(void **state) {
    struct fixture *f = *state;
    static const uint64_t sizes[] = {256, 4096, 65536, 3 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ferry__memory memory = alloc(f, FERRY__USE_SHARED, sizes[i]);
        assert_non_null(memory.host);
        assert_true(memory.coherent);
        memset(memory.host, 0x5a, sizes[i]);
        release(f, &memory);
        memory = alloc(f, FERRY__USE_UPLOAD, sizes[i]);
        assert_non_null(memory.host);
        release(f, &memory);
        memory = alloc(f, FERRY__USE_READBACK, sizes[i]);
        assert_non_null(memory.host);
        assert_true(memory.cached);
        release(f, &memory);
    }
}

static void test_never_mapped(void **state) {
    struct fixture *f = *state;
    struct ferry__memory memory = alloc(f, FERRY__USE_PRIVATE, 4096);
    assert_null(memory.host);
    release(f, &memory);
}

static void test_too_large(void **state) {
    struct fixture *f = *state;
    struct ferry__memory memory;
    uint64_t size = (uint64_t)1 << 50;
    assert_int_equal(driver->memory_alloc(f->state, FERRY__USE_PRIVATE, size, NULL, &memory,
                                          f->why),
                     FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_non_null(strstr(f->why, "1125899906842624"));
}

static void test_available(void **state) {
    struct fixture *f = *state;
    uint64_t before = driver->memory_available(f->state);
    assert_true(before > 0);
    assert_true(before <= f->limits.total_memory);
    struct ferry__memory memory = alloc(f, FERRY__USE_PRIVATE, 64 * MIB);
    assert_true(driver->memory_available(f->state) <= before - 64 * MIB);
    release(f, &memory);
    assert_int_equal(driver->memory_available(f->state), before);
}

/* --- copies and fills ------------------------------------------------------------------------- */

static const uint64_t sizes[] = {1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};
static const uint64_t offsets[] = {0, 1, 3, 4, 7, 17, 31};

static void copy_case(struct fixture *f, unsigned role, const struct ferry__memory *dst,
                      const struct ferry__memory *src, uint64_t at, uint64_t from,
                      uint64_t size) {
    const uint64_t whole = 65537 + SLACK;
    unsigned char *model = malloc(whole);
    memset(model, 0xee, whole);
    put(f, dst, model, whole);
    struct ferry__command command = copy(dst, at, src, from, size);
    run(f, role, &command, 1);
    for (uint64_t i = 0; i < size; i++)
        model[at + i] = byte_at(from + i);
    assert_bytes(f, dst, model, whole);
    free(model);
}

static void test_copies(void **state) {
    struct fixture *f = *state;
    const uint64_t whole = 65537 + SLACK;
    struct ferry__memory src = alloc(f, FERRY__USE_PRIVATE, whole);
    struct ferry__memory dst = alloc(f, FERRY__USE_PRIVATE, whole);
    unsigned char *bytes = malloc(whole);
    for (uint64_t i = 0; i < whole; i++)
        bytes[i] = byte_at(i);
    put(f, &src, bytes, whole);
    const size_t n = sizeof offsets / sizeof *offsets;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t o = 0; o < n; o++)
            copy_case(f, 1u << (s + o) % 3, &dst, &src, offsets[o], offsets[(o + s) % n],
                      sizes[s]);
    assert_bytes(f, &src, bytes, whole);
    free(bytes);
    release(f, &src);
    release(f, &dst);
}

static void test_fills(void **state) {
    struct fixture *f = *state;
    const uint64_t whole = 8192;
    struct ferry__memory memory = alloc(f, FERRY__USE_PRIVATE, whole);
    unsigned char model[8192];
    for (unsigned pattern = 1; pattern <= 4; pattern *= 2) {
        static const uint64_t at[] = {0, 4, 32, 4092}, length[] = {4, 36, 4096, 4100};
        for (size_t i = 0; i < 4; i++) {
            struct ferry__command command = {
                .kind = FERRY__FILL, .dst = &memory, .dst_offset = at[i], .size = length[i],
                .pattern_size = (uint8_t)pattern, .pattern = {0x11, 0x22, 0x33, 0x44}};
            memset(model, 0xee, whole);
            put(f, &memory, model, whole);
            run(f, FERRY__ROLE_COPY, &command, 1);
            for (uint64_t k = 0; k < length[i]; k++)
                model[at[i] + k] = command.pattern[k % pattern];
            assert_bytes(f, &memory, model, whole);
        }
    }
    release(f, &memory);
}

/* More copies than fit one command, each to a place of its own, in no order of places. */
static void test_many_regions(void **state) {
    enum { COUNT = 1000, EACH = 33 };
    struct fixture *f = *state;
    struct ferry__memory src = alloc(f, FERRY__USE_UPLOAD, COUNT * EACH);
    struct ferry__memory dst = alloc(f, FERRY__USE_PRIVATE, COUNT * EACH);
    struct ferry__command *commands = calloc(COUNT, sizeof *commands);
    unsigned char *model = malloc(COUNT * EACH);
    for (size_t i = 0; i < COUNT * EACH; i++)
        src.host[i] = byte_at(i);
    flush(f, &src);
    for (size_t i = 0; i < COUNT; i++) {
        size_t to = i * 7 % COUNT;
        commands[i] = copy(&dst, to * EACH, &src, i * EACH, EACH);
        for (size_t k = 0; k < EACH; k++)
            model[to * EACH + k] = byte_at(i * EACH + k);
    }
    run(f, FERRY__ROLE_UPLOAD, commands, COUNT);
    assert_bytes(f, &dst, model, COUNT * EACH);
    free(model);
    free(commands);
    release(f, &src);
    release(f, &dst);
}

/* Each command reads what the one before wrote, and overwrites what it read. */
static void test_barriers(void **state) {
    enum { SIZE = 4096, STEPS = 64 };
    struct fixture *f = *state;
    struct ferry__memory a = alloc(f, FERRY__USE_PRIVATE, SIZE);
    struct ferry__memory b = alloc(f, FERRY__USE_PRIVATE, SIZE);
    unsigned char model[SIZE], next[SIZE];
    for (size_t i = 0; i < SIZE; i++)
        model[i] = byte_at(i);
    put(f, &a, model, SIZE);
    put(f, &b, model, SIZE);
    struct ferry__command commands[STEPS];
    for (size_t i = 0; i < STEPS; i++) {
        struct ferry__memory *dst = i % 2 ? &a : &b, *src = i % 2 ? &b : &a;
        commands[i] = after(copy(dst, i % 2 ? 0 : 5, src, i % 2 ? 3 : 0, SIZE - 5));
    }
    run(f, FERRY__ROLE_COPY, commands, STEPS);
    unsigned char *pa = malloc(SIZE), *pb = malloc(SIZE);
    memcpy(pa, model, SIZE);
    memcpy(pb, model, SIZE);
    for (size_t i = 0; i < STEPS; i++) {
        unsigned char *dst = i % 2 ? pa : pb, *src = i % 2 ? pb : pa;
        memcpy(next, src, SIZE);
        memcpy(dst + (i % 2 ? 0 : 5), next + (i % 2 ? 3 : 0), SIZE - 5);
    }
    assert_bytes(f, &a, pa, SIZE);
    assert_bytes(f, &b, pb, SIZE);
    free(pa);
    free(pb);
    release(f, &a);
    release(f, &b);
}

/* The same two buffers throughout: a barrier keeps commands from becoming one. */
static void test_barriers_in_one_buffer(void **state) {
    enum { SIZE = 512, STEPS = 40 };
    struct fixture *f = *state;
    struct ferry__memory memory = alloc(f, FERRY__USE_PRIVATE, SIZE * (STEPS + 1));
    unsigned char *model = calloc(1, SIZE * (STEPS + 1));
    for (size_t i = 0; i < SIZE; i++)
        model[i] = byte_at(i);
    put(f, &memory, model, SIZE * (STEPS + 1));
    struct ferry__command commands[STEPS];
    for (size_t i = 0; i < STEPS; i++) {
        commands[i] = after(copy(&memory, (i + 1) * SIZE, &memory, i * SIZE, SIZE));
        memcpy(model + (i + 1) * SIZE, model, SIZE);
    }
    run(f, FERRY__ROLE_COPY, commands, STEPS);
    assert_bytes(f, &memory, model, SIZE * (STEPS + 1));
    free(model);
    release(f, &memory);
}

/* Submissions of one queue run in order without waits; of other queues by waits. */
static void test_submissions_in_order(void **state) {
    enum { STEPS = 48, SIZE = 1024 };
    struct fixture *f = *state;
    struct ferry__memory memory = alloc(f, FERRY__USE_PRIVATE, STEPS * SIZE + SIZE);
    unsigned char *model = calloc(1, STEPS * SIZE + SIZE);
    for (size_t i = 0; i < SIZE; i++)
        model[i] = byte_at(i);
    put(f, &memory, model, STEPS * SIZE + SIZE);
    static const unsigned roles[] = {FERRY__ROLE_UPLOAD, FERRY__ROLE_UPLOAD, FERRY__ROLE_COPY,
                                     FERRY__ROLE_DOWNLOAD};
    struct ferry__record records[STEPS];
    struct ferry_sync last = {f->limits.queues[0].event, 0};
    for (size_t i = 0; i < STEPS; i++) {
        struct ferry__command command = copy(&memory, (i + 1) * SIZE, &memory, i * SIZE, SIZE);
        last = submit(f, roles[i % 4], &command, 1, &last, 1, &records[i]);
        memcpy(model + (i + 1) * SIZE, model, SIZE);
    }
    wait_for(f, last);
    for (size_t i = 0; i < STEPS; i++) {
        /* All are done; those of other queues than the last one's are told when asked. */
        for (unsigned q = 0; q < f->limits.queue_count; q++)
            driver->completed(f->state, f->limits.queues[q].event);
        assert_int_equal(records[i].status, FERRY_OK);
    }
    assert_bytes(f, &memory, model, STEPS * SIZE + SIZE);
    free(model);
    release(f, &memory);
}

static void test_device_time(void **state) {
    struct fixture *f = *state;
    struct ferry__memory src = alloc(f, FERRY__USE_PRIVATE, 16 * MIB);
    struct ferry__memory dst = alloc(f, FERRY__USE_PRIVATE, 16 * MIB);
    struct ferry__command command = copy(&dst, 0, &src, 0, 16 * MIB);
    struct ferry__record record;
    uint64_t start = ferry__now_ns();
    wait_for(f, submit(f, FERRY__ROLE_COPY, &command, 1, NULL, 0, &record));
    uint64_t took = ferry__now_ns() - start;
    assert_int_equal(record.status, FERRY_OK);
    assert_true(record.device_ns > 0);
    assert_true(record.device_ns <= took);
    release(f, &src);
    release(f, &dst);
}

/* --- the caller's memory ---------------------------------------------------------------------- */

static void test_import(void **state) {
    struct fixture *f = *state;
    uint64_t unit = f->limits.import_granularity;
    if (unit == 0) {
        struct ferry_device_info info;
        assert_true(driver->list(&info, 1, f->why) > 0);
        assert_int_equal(info.import_granularity, 0);
        return;
    }
    uint64_t size = 16 * unit;
    unsigned char *host = aligned_alloc(unit, size);
    for (size_t i = 0; i < size; i++)
        host[i] = byte_at(i);
    struct ferry__memory mine, memory = alloc(f, FERRY__USE_PRIVATE, size);
    for (int read_only = 1; read_only >= 0; read_only--) {
        assert_int_equal(driver->host_import(f->state, host, size, read_only, &mine, f->why),
                         FERRY_OK);
        assert_ptr_equal(mine.host, host);
        struct ferry__command up = copy(&memory, 5, &mine, 1, size - 5);
        run(f, FERRY__ROLE_UPLOAD, &up, 1);
        if (read_only)
            release(f, &mine);
    }
    unsigned char *model = malloc(size);
    memcpy(model, host, size);
    struct ferry__command down = copy(&mine, 3, &memory, 5, size - 5);
    run(f, FERRY__ROLE_DOWNLOAD, &down, 1);
    memmove(model + 3, model + 1, size - 5);
    assert_memory_equal(host, model, size);
    release(f, &mine);
    release(f, &memory);
    free(model);
    free(host);
}

/* --- events and waiting ----------------------------------------------------------------------- */

static void test_events(void **state) {
    struct fixture *f = *state;
    uint64_t event;
    assert_int_equal(driver->event_create(f->state, &event, f->why), FERRY_OK);
    assert_int_equal(driver->completed(f->state, event), 0);
    struct ferry__memory memory = alloc(f, FERRY__USE_SHARED, 4096);
    memset(memory.host, 1, 4096);
    struct ferry__command fill = {.kind = FERRY__FILL, .dst = &memory, .size = 4096,
                                  .pattern_size = 1, .pattern = {9}};
    struct ferry__record record;
    struct ferry_sync point = submit(f, FERRY__ROLE_COPY, &fill, 1,
                                     &(struct ferry_sync){event, 3}, 1, &record);
    driver->wait_any(f->state, &point, 1, 2000000);
    driver->event_signal(f->state, event, 2);
    assert_int_equal(driver->completed(f->state, event), 2);
    driver->wait_any(f->state, &point, 1, 2000000);
    assert_int_equal(driver->completed(f->state, point.event), point.value - 1);
    assert_int_equal(record.status, FERRY_PENDING);
    assert_int_equal(memory.host[17], 1);
    driver->event_signal(f->state, event, 3);
    wait_for(f, point);
    assert_int_equal(record.status, FERRY_OK);
    assert_int_equal(memory.host[17], 9);
    driver->event_signal(f->state, event, 2); /* an older value changes nothing */
    assert_int_equal(driver->completed(f->state, event), 3);
    driver->event_destroy(f->state, event);
    release(f, &memory);
}

/* More waits than the driver keeps on its stack. */
static void test_many_waits(void **state) {
    enum { COUNT = 40 };
    struct fixture *f = *state;
    struct ferry_sync waits[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        waits[i].value = i % 3 + 1;
        assert_int_equal(driver->event_create(f->state, &waits[i].event, f->why), FERRY_OK);
    }
    struct ferry__memory memory = alloc(f, FERRY__USE_SHARED, 4096);
    struct ferry__command fill = {.kind = FERRY__FILL, .dst = &memory, .size = 4096,
                                  .pattern_size = 1, .pattern = {9}};
    struct ferry__record record;
    struct ferry_sync point = submit(f, FERRY__ROLE_COPY, &fill, 1, waits, COUNT, &record);
    /* Each is waited for: the last to come is in the middle. */
    for (size_t i = 0; i < COUNT; i++)
        if (i != COUNT / 2)
            driver->event_signal(f->state, waits[i].event, waits[i].value);
    driver->wait_any(f->state, &point, 1, 2000000);
    assert_int_equal(driver->completed(f->state, point.event), point.value - 1);
    /* So is each of many points: one of the last alone is reached here. */
    struct ferry_sync points[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        points[i] = (struct ferry_sync){waits[COUNT / 2].event, 1 + i};
    points[COUNT - 1] = waits[0];
    driver->wait_any(f->state, points, COUNT, FERRY_FOREVER);
    driver->event_signal(f->state, waits[COUNT / 2].event, 3);
    wait_for(f, point);
    for (size_t i = 0; i < COUNT; i++)
        driver->event_destroy(f->state, waits[i].event);
    release(f, &memory);
}

struct sleeper {
    struct fixture *f;
    struct ferry_sync point;
    size_t count;
};

static void *sleep_for_ever(void *arg) {
    struct sleeper *s = arg;
    driver->wait_any(s->f->state, &s->point, s->count, FERRY_FOREVER);
    return NULL;
}

static void test_wake(void **state) {
    struct fixture *f = *state;
    struct sleeper s = {.f = f};
    s.point.value = 1;
    assert_int_equal(driver->event_create(f->state, &s.point.event, f->why), FERRY_OK);
    /* Called before the wait: it still counts, once. */
    driver->wake(f->state);
    driver->wake(f->state);
    driver->wait_any(f->state, &s.point, 1, FERRY_FOREVER);
    uint64_t start = ferry__now_ns();
    driver->wait_any(f->state, &s.point, 1, 5000000);
    driver->wait_any(f->state, NULL, 0, 5000000);
    assert_true(ferry__now_ns() - start >= 10000000);
    /* While asleep, with points and without. A lost wake hangs here. */
    for (s.count = 0; s.count <= 1; s.count++)
        for (int i = 0; i < 20; i++) {
            pthread_t thread;
            assert_int_equal(ferry__thread_start(&thread, "sleeper", sleep_for_ever, &s), 0);
            struct timespec nap = {.tv_nsec = i * 50000};
            nanosleep(&nap, NULL);
            driver->wake(f->state);
            pthread_join(thread, NULL);
        }
    driver->event_destroy(f->state, s.point.event);
}

/* --- threads ---------------------------------------------------------------------------------- */

struct worker {
    struct fixture *f;
    unsigned queue;
    uint64_t value;
    struct ferry__record *records;
    struct ferry__memory memory;
    _Atomic bool stop;
};

enum { ROUNDS = 200 };

static void *look_on(void *arg) {
    struct worker *w = arg;
    uint64_t event = w->f->limits.queues[w->queue].event, last = 0;
    while (!atomic_load(&w->stop)) {
        uint64_t value = driver->completed(w->f->state, event);
        assert_true(value >= last);
        for (uint64_t i = last; i < value; i++)
            if (w->records[i].status != FERRY_OK)
                abort(); /* an assertion of another thread than the test's own */
        last = value;
        struct ferry_sync next = {event, value + 1};
        driver->wait_any(w->f->state, &next, 1, 1000000);
    }
    return NULL;
}

/* One thread submits, others look on: no value is seen before its record is written. */
static void test_records_come_first(void **state) {
    struct fixture *f = *state;
    struct worker w = {.f = f, .queue = queue_for(f, FERRY__ROLE_COPY)};
    w.records = calloc(ROUNDS, sizeof *w.records);
    w.memory = alloc(f, FERRY__USE_PRIVATE, 65536);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(ferry__thread_start(&threads[i], "look-on", look_on, &w), 0);
    struct ferry_sync last = {0};
    for (int i = 0; i < ROUNDS; i++) {
        struct ferry__command command = copy(&w.memory, 32768, &w.memory, 0, 32768);
        last = submit(f, FERRY__ROLE_COPY, &command, 1, NULL, 0, &w.records[i]);
    }
    wait_for(f, last);
    atomic_store(&w.stop, true);
    driver->wake(f->state);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(w.records[i].status, FERRY_OK);
    release(f, &w.memory);
    free(w.records);
}

/* --- failing host memory ---------------------------------------------------------------------- */

/* Whatever host allocation fails: an error in words, nothing leaked, and it works the next time. */
static void test_out_of_host_memory(void **unused) {
    (void)unused;
    struct ferry__limits limits;
    void *state = NULL;
    char why[FERRY__WHY_MAX];
    for (uint64_t n = 1;; n++) {
        ferry__alloc_fail_at(n);
        why[0] = 0;
        enum ferry_status status =
            driver->open(&(struct ferry__open_params){0}, &state, &limits, why);
        bool failed = ferry__alloc_fail_at(0) >= n;
        if (status == FERRY_OK) {
            driver->close(state);
            if (!failed)
                break;
        } else {
            assert_true(failed);
            assert_true(strlen(why) > 0);
        }
        assert_true(n < 100);
    }
}

static void test_submit_without_memory(void **state) {
    struct fixture *f = *state;
    struct ferry__memory memory = alloc(f, FERRY__USE_PRIVATE, 4096);
    struct ferry__command command = copy(&memory, 2048, &memory, 0, 2048);
    struct ferry__record record;
    const struct ferry__submission_info info = {
        .commands = &command, .count = 1, .value = 1, .record = &record};
    ferry__alloc_fail_at(1);
    assert_int_equal(driver->submit(f->state, &info, f->why), FERRY_ERROR_OUT_OF_HOST_MEMORY);
    assert_true(strlen(f->why) > 0);
    ferry__alloc_fail_at(1);
    struct ferry__memory none;
    assert_int_equal(driver->memory_alloc(f->state, FERRY__USE_PRIVATE, 4096, NULL, &none, f->why),
                     FERRY_ERROR_OUT_OF_HOST_MEMORY);
    ferry__alloc_fail_at(0);
    /* The value was not used up. */
    run(f, FERRY__ROLE_COPY, &command, 1);
    release(f, &memory);
}

#define ON_DEVICE(test) cmocka_unit_test_setup_teardown(test, open_default, close_it)
#define UNMAPPED(test) cmocka_unit_test_setup_teardown(test, open_unmapped, close_it)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_no_such_device),
        cmocka_unit_test(test_no_loader),
        ON_DEVICE(test_limits),
        ON_DEVICE(test_uses),
        UNMAPPED(test_never_mapped),
        ON_DEVICE(test_too_large),
        ON_DEVICE(test_available),
        ON_DEVICE(test_copies),
        ON_DEVICE(test_fills),
        ON_DEVICE(test_many_regions),
        UNMAPPED(test_barriers),
        ON_DEVICE(test_barriers_in_one_buffer),
        ON_DEVICE(test_submissions_in_order),
        ON_DEVICE(test_device_time),
        ON_DEVICE(test_import),
        ON_DEVICE(test_events),
        ON_DEVICE(test_many_waits),
        ON_DEVICE(test_wake),
        UNMAPPED(test_records_come_first),
        cmocka_unit_test(test_out_of_host_memory),
        ON_DEVICE(test_submit_without_memory),
    };
    return cmocka_run_group_tests_name("vulkan driver", tests, NULL, NULL);
}
