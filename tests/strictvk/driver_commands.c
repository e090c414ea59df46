/* Copies, fills, and what comes after what. */
#include "vulkan_driver.h"

/* --- copies and fills ------------------------------------------------------------------------- */

enum { SLACK = 4096 };

static const uint64_t sizes[] = {1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};
static const uint64_t offsets[] = {0, 1, 3, 4, 7, 17, 31};

static void copy_case(struct fixture *f, unsigned role, const struct ferry__memory *dst,
                      const struct ferry__memory *src, uint64_t at, uint64_t from, uint64_t size)
{
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

static void test_copies(void **state)
{
    struct fixture *f = *state;
    const uint64_t whole = 65537 + SLACK;
    struct ferry__memory src = alloc(f, FERRY__MEMORY_PRIVATE, whole);
    struct ferry__memory dst = alloc(f, FERRY__MEMORY_PRIVATE, whole);
    unsigned char *bytes = malloc(whole);
    for (uint64_t i = 0; i < whole; i++)
        bytes[i] = byte_at(i);
    put(f, &src, bytes, whole);
    const size_t n = sizeof offsets / sizeof *offsets;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t o = 0; o < n; o++)
            copy_case(f, 1u << (s + o) % 3, &dst, &src, offsets[o], offsets[(o + s) % n], sizes[s]);
    assert_bytes(f, &src, bytes, whole);
    free(bytes);
    release(f, &src);
    release(f, &dst);
}

static void test_fills(void **state)
{
    struct fixture *f = *state;
    const uint64_t whole = 8192;
    struct ferry__memory memory = alloc(f, FERRY__MEMORY_PRIVATE, whole);
    unsigned char model[8192];
    for (unsigned pattern = 1; pattern <= 4; pattern *= 2) {
        static const uint64_t at[] = {0, 4, 32, 4092}, length[] = {4, 36, 4096, 4100};
        for (size_t i = 0; i < 4; i++) {
            struct ferry__command command = {.kind = FERRY__FILL,
                                             .dst = &memory,
                                             .dst_offset = at[i],
                                             .size = length[i],
                                             .pattern_size = (uint8_t)pattern,
                                             .pattern = {0x11, 0x22, 0x33, 0x44}};
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
static void test_many_regions(void **state)
{
    enum { COUNT = 1000, EACH = 33 };
    struct fixture *f = *state;
    struct ferry__memory src = alloc(f, FERRY__MEMORY_UPLOAD, COUNT * EACH);
    struct ferry__memory dst = alloc(f, FERRY__MEMORY_PRIVATE, COUNT * EACH);
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
static void test_barriers(void **state)
{
    enum { SIZE = 4096, STEPS = 64 };
    struct fixture *f = *state;
    struct ferry__memory a = alloc(f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(f, FERRY__MEMORY_PRIVATE, SIZE);
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
static void test_barriers_in_one_buffer(void **state)
{
    enum { SIZE = 512, STEPS = 40 };
    struct fixture *f = *state;
    struct ferry__memory memory = alloc(f, FERRY__MEMORY_PRIVATE, SIZE * (STEPS + 1));
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
static void test_submissions_in_order(void **state)
{
    enum { STEPS = 48, SIZE = 1024 };
    struct fixture *f = *state;
    struct ferry__memory memory = alloc(f, FERRY__MEMORY_PRIVATE, STEPS * SIZE + SIZE);
    unsigned char *model = calloc(1, STEPS * SIZE + SIZE);
    for (size_t i = 0; i < SIZE; i++)
        model[i] = byte_at(i);
    put(f, &memory, model, STEPS * SIZE + SIZE);
    static const unsigned roles[] = {FERRY__ROLE_UPLOAD, FERRY__ROLE_UPLOAD, FERRY__ROLE_COPY,
                                     FERRY__ROLE_DOWNLOAD};
    struct ferry__result records[STEPS];
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

static void test_device_time(void **state)
{
    struct fixture *f = *state;
    struct ferry__memory src = alloc(f, FERRY__MEMORY_PRIVATE, 16 * MIB);
    struct ferry__memory dst = alloc(f, FERRY__MEMORY_PRIVATE, 16 * MIB);
    struct ferry__command command = copy(&dst, 0, &src, 0, 16 * MIB);
    struct ferry__result result;
    uint64_t start = ferry__now_ns();
    wait_for(f, submit(f, FERRY__ROLE_COPY, &command, 1, NULL, 0, &result));
    uint64_t took = ferry__now_ns() - start;
    assert_int_equal(result.status, FERRY_OK);
    assert_true(result.device_ns > 0);
    assert_true(result.device_ns <= took);
    release(f, &src);
    release(f, &dst);
}

static const struct CMUnitTest tests[] = {
    ON_DEVICE(test_copies),
    ON_DEVICE(test_fills),
    ON_DEVICE(test_many_regions),
    UNMAPPED(test_barriers),
    ON_DEVICE(test_barriers_in_one_buffer),
    ON_DEVICE(test_submissions_in_order),
    ON_DEVICE(test_device_time),
};

GROUP(commands);
