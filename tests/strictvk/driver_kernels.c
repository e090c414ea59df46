/* The compute kernels: any offset, any size, any pattern, and nothing outside the range. */
#include "vulkan_driver.h"

enum { ROOM = 16 << 10, LARGE = 5 * MIB };

static int open_kernels(void **out)
{
    setenv("FERRY_VULKAN_ENGINE", "kernel", 1);
    int failed = open_unmapped(out);
    unsetenv("FERRY_VULKAN_ENGINE");
    return failed;
}

#define ON_KERNELS(test) cmocka_unit_test_setup_teardown(test, open_kernels, close_it)

static struct ferry__command by_kernel(struct ferry__command command)
{
    command.engine = FERRY__ENGINE_KERNEL;
    return command;
}

static struct ferry__command fill(const struct ferry__memory *dst, uint64_t offset, uint64_t size,
                                  unsigned pattern_size)
{
    struct ferry__command command = {.kind = FERRY__FILL,
                                     .dst = dst,
                                     .dst_offset = offset,
                                     .size = size,
                                     .pattern_size = (uint8_t)pattern_size};
    for (unsigned i = 0; i < pattern_size; i++)
        command.pattern[i] = (uint8_t)(17 * i + 5);
    return command;
}

/* A memory of size bytes and what it holds. */
struct filled {
    struct ferry__memory memory;
    unsigned char *bytes;
    uint64_t size;
};

static struct filled make(struct fixture *f, uint64_t size, unsigned seed)
{
    struct filled filled = {alloc(f, FERRY__MEMORY_PRIVATE, size), malloc(size), size};
    for (uint64_t i = 0; i < size; i++)
        filled.bytes[i] = byte_at(i + seed);
    put(f, &filled.memory, filled.bytes, size);
    return filled;
}

static void drop(struct fixture *f, struct filled *filled)
{
    release(f, &filled->memory);
    free(filled->bytes);
}

static void check_copy(struct fixture *f, struct filled *dst, const struct filled *src, uint64_t to,
                       uint64_t from, uint64_t size)
{
    const struct ferry__command command =
        by_kernel(copy(&dst->memory, to, &src->memory, from, size));
    run(f, FERRY__ROLE_KERNEL, &command, 1);
    memcpy(dst->bytes + to, src->bytes + from, size);
    assert_bytes(f, &dst->memory, dst->bytes, dst->size);
}

static void check_fill(struct fixture *f, struct filled *dst, uint64_t at, uint64_t size,
                       unsigned pattern_size)
{
    const struct ferry__command command = by_kernel(fill(&dst->memory, at, size, pattern_size));
    run(f, FERRY__ROLE_KERNEL, &command, 1);
    for (uint64_t i = 0; i < size; i++)
        dst->bytes[at + i] = command.pattern[i % pattern_size];
    assert_bytes(f, &dst->memory, dst->bytes, dst->size);
}

static const uint64_t sizes[] = {1, 2, 3, 13, 15, 16, 17, 31, 32, 33, 48, 255, 4095, 4096, 4097};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* Every phase of the destination with every phase of the source; the sizes take turns. */
static void test_copies(void **state)
{
    struct fixture *f = *state;
    struct filled src = make(f, ROOM, 0), dst = make(f, ROOM, 100);
    for (unsigned to = 0; to < 16; to++)
        for (unsigned from = 0; from < 16; from++)
            check_copy(f, &dst, &src, 64 + to, 32 + from, sizes[(to * 7 + from) % SIZES]);
    for (unsigned i = 0; i < SIZES; i++) { /* up to both ends of the memory */
        check_copy(f, &dst, &src, 0, ROOM - sizes[i], sizes[i]);
        check_copy(f, &dst, &src, ROOM - sizes[i], 0, sizes[i]);
    }
    assert_bytes(f, &src.memory, src.bytes, ROOM);
    drop(f, &src);
    drop(f, &dst);
}

static void test_large(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t to, from, size;
    } cases[] = {{0, 0, LARGE},
                 {16, 0, LARGE - 16},
                 {5, 21, LARGE - 40},
                 {0, 4, LARGE - 4},
                 {3, 14, LARGE - 17}};
    struct filled src = make(f, LARGE, 0), dst = make(f, LARGE, 100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_copy(f, &dst, &src, cases[i].to, cases[i].from, cases[i].size);
        check_fill(f, &dst, cases[i].to, cases[i].size, 16 - 3 * (unsigned)i);
    }
    drop(f, &src);
    drop(f, &dst);
}

/* More groups than are dispatched in a row of them: looked at at both ends and near the second. */
static void test_rows(void **state)
{
    enum { PERIOD = 7, AT = 5, WINDOW = 3 * PERIOD * 1024 };
    const uint64_t row = 128 * MIB, size = row + MIB - 3;
    const uint64_t windows[] = {AT, AT + (row - AT) / PERIOD * PERIOD - WINDOW / 3,
                                AT + (size - WINDOW) / PERIOD * PERIOD};
    struct fixture *f = *state;
    struct ferry__memory large = alloc(f, FERRY__MEMORY_PRIVATE, size + 2 * AT);
    struct filled dst = make(f, WINDOW, 0);
    struct ferry__command command = by_kernel(fill(&large, AT, size, PERIOD));
    run(f, FERRY__ROLE_KERNEL, &command, 1);
    for (unsigned i = 0; i < WINDOW; i++)
        dst.bytes[i] = command.pattern[i % PERIOD];
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        const struct ferry__command look = copy(&dst.memory, 0, &large, windows[i], WINDOW);
        run(f, FERRY__ROLE_COPY, &look, 1);
        assert_bytes(f, &dst.memory, dst.bytes, WINDOW);
    }
    drop(f, &dst);
    release(f, &large);
}

static void test_fills(void **state)
{
    struct fixture *f = *state;
    struct filled dst = make(f, ROOM, 100);
    for (unsigned pattern = 1; pattern <= FERRY__PATTERN_MAX; pattern++)
        for (unsigned at = 0; at < 16; at++)
            check_fill(f, &dst, 16 + at, sizes[(pattern * 7 + at) % SIZES], pattern);
    drop(f, &dst);
}

/* Kernels and commands in turn, each of which reads what the one before wrote. */
static void test_barriers(void **state)
{
    enum { SIZE = 3000, STEPS = 48 };
    struct fixture *f = *state;
    struct filled dst = make(f, ROOM, 0);
    struct ferry__command commands[STEPS];
    for (unsigned i = 0; i < STEPS; i++) {
        const uint64_t to = i % 2 ? 1 : 4096, from = i % 2 ? 4096 : 1;
        commands[i] = after(copy(&dst.memory, to + i % 7, &dst.memory, from, SIZE));
        memcpy(dst.bytes + to + i % 7, dst.bytes + from, SIZE);
        if (i % 3)
            commands[i] = by_kernel(commands[i]);
    }
    run(f, FERRY__ROLE_KERNEL, commands, STEPS);
    assert_bytes(f, &dst.memory, dst.bytes, ROOM);
    /* And in submissions of their own, without waits. */
    struct ferry__result records[STEPS];
    struct ferry_sync last = {0};
    for (unsigned i = 0; i < STEPS; i++) {
        last = submit(f, FERRY__ROLE_KERNEL, &commands[i], 1, NULL, 0, &records[i]);
        memcpy(dst.bytes + commands[i].dst_offset, dst.bytes + commands[i].src_offset, SIZE);
    }
    wait_for(f, last);
    assert_bytes(f, &dst.memory, dst.bytes, ROOM);
    drop(f, &dst);
}

/* Every phase of a block's destination with every phase of its source, sizes of up to several words
 * for each invocation; one list, from memory across a link. */
static void test_lists(void **state)
{
    struct fixture *f = *state;
    static const uint32_t lengths[] = {1, 2, 15, 16, 17, 31, 33, 100, 511, 2111, 4500};
    enum { LENGTHS = sizeof lengths / sizeof *lengths, PHASES = 16, STEP = 4608 };
    enum { COUNT = PHASES * PHASES * LENGTHS, SPAN = COUNT * STEP };
    struct filled dst = make(f, SPAN, 3);
    struct ferry__memory src = alloc(f, FERRY__MEMORY_UPLOAD, SPAN);
    struct ferry__memory list =
        alloc(f, FERRY__MEMORY_UPLOAD, COUNT * sizeof(struct ferry__block_entry) + 16);
    struct ferry__block_entry *entries = (void *)(list.host + 16);
    uint64_t total = 0;
    for (uint64_t i = 0; i < SPAN; i++)
        src.host[i] = byte_at(i + 77);
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint64_t to = (uint64_t)(i * 7 % COUNT) * STEP + i % PHASES + PHASES;
        const uint64_t from = (uint64_t)i * STEP + i / PHASES % PHASES + PHASES;
        const uint32_t size = lengths[i / PHASES / PHASES];
        entries[i] = (struct ferry__block_entry){.dst = to, .src = from, .size = size};
        memcpy(dst.bytes + to, src.host + from, size);
        entries[i].dst += driver->address(&dst.memory);
        entries[i].src += driver->address(&src);
        total += size;
    }
    flush(f, &src);
    flush(f, &list);
    struct ferry__command command = by_kernel(copy(&dst.memory, 0, &src, 0, total));
    command.kind = FERRY__BLOCKS;
    command.list = (struct ferry__block_list){&list, 16, COUNT, SPAN, SPAN};
    run(f, FERRY__ROLE_KERNEL, &command, 1);
    assert_bytes(f, &dst.memory, dst.bytes, dst.size);
    drop(f, &dst);
    release(f, &src);
    release(f, &list);
}

/* What kernels do not reach says so; what they reach has a queue that runs them. */
static void test_reach(void **state)
{
    struct fixture *f = *state;
    static const bool never[FERRY__MEMORY_COUNT] = {
        [FERRY__MEMORY_UPLOAD] = true, [FERRY__MEMORY_READBACK] = true};
    for (int use = 0; use < FERRY__MEMORY_COUNT; use++) {
        struct ferry__memory memory = alloc(f, (enum ferry__memory_kind)use, ROOM);
        if (use == FERRY__MEMORY_PRIVATE || never[use])
            assert_int_equal(memory.no_kernel, never[use]);
        assert_true(memory.by_list);
        release(f, &memory);
    }
    const unsigned roles = f->limits.queues[queue_for(f, FERRY__ROLE_COPY)].roles;
    assert_true(roles & FERRY__ROLE_KERNEL);
}

static void test_engines(void **unused)
{
    (void)unused;
    static const struct {
        const char *engine;
        bool forced, none;
    } cases[] = {{"kernel", true, false},
                 {"copy", false, true},
                 {"auto", false, false},
                 {"", false, false},
                 {"magic", false, false}};
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *state;
        setenv("FERRY_VULKAN_ENGINE", cases[i].engine, 1);
        assert_int_equal(open_default(&state), 0);
        const struct ferry__limits *limits = &((struct fixture *)state)->limits;
        assert_true(limits->has_kernel || !cases[i].forced);
        assert_true(!limits->has_kernel || !cases[i].none);
        assert_int_equal(limits->kernel_copy_from == 1, cases[i].forced);
        close_it(&state);
    }
    unsetenv("FERRY_VULKAN_ENGINE");
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

static const struct CMUnitTest tests[] = {
    ON_KERNELS(test_copies), ON_KERNELS(test_large),         ON_KERNELS(test_rows),
    ON_KERNELS(test_fills),  ON_KERNELS(test_barriers),      ON_KERNELS(test_reach),
    ON_KERNELS(test_lists),  cmocka_unit_test(test_engines),
};

GROUP(kernels);
