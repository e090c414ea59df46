/* Scattered blocks: every list does what its blocks would do one after another. */
#include "lists.h"

#include <time.h>

/* --- small lists, all of them ------------------------------------------------------------------ */

static const size_t places[] = {0, 1, 4, 7}, spots[] = {0, 3, 4}, lengths[] = {0, 1, 4, 9};
enum { PLACES = 4, SPOTS = 3, LENGTHS = 4, BLOCKS = PLACES * SPOTS * LENGTHS, SMALL = 24 };

static struct ferry_block small_block(size_t i)
{
    return (struct ferry_block){places[i % PLACES], spots[i / PLACES % SPOTS],
                                lengths[i / PLACES / SPOTS]};
}

/* Each list of two small blocks, and of three that begin with it. */
static void each_small(struct fixture *fixture, enum ferry_operation operation, bool same)
{
    struct mirror a = make_mirror(fixture->device, SMALL, FERRY_STORAGE_PRIVATE, 1);
    struct mirror b = make_mirror(fixture->device, SMALL, FERRY_STORAGE_PRIVATE, 2);
    struct twin twin = make_twin(SMALL, 3);
    for (size_t i = 0; i < (size_t)BLOCKS * BLOCKS; i++) {
        const struct ferry_block blocks[] = {small_block(i % BLOCKS), small_block(i / BLOCKS),
                                             small_block((i * 7 + 5) % BLOCKS)};
        struct list list = {operation, &a, same ? &a : &b, NULL, blocks, 2 + i % 2};
        if (operation == FERRY_OPERATION_UPLOAD)
            list.src = NULL;
        if (operation == FERRY_OPERATION_DOWNLOAD)
            list.dst = NULL;
        scribble(twin.bytes, SMALL, (unsigned)i);
        memcpy(twin.want, twin.bytes, SMALL);
        list_run_on_host(fixture->device, list, &twin, (enum way)(i % WAYS));
        expect_bytes(twin.bytes, twin.want, SMALL, "host memory");
        if (operation != FERRY_OPERATION_DOWNLOAD && i % 5 == 0)
            expect_mirror(&a);
    }
    expect_mirror(&a);
    drop_mirror(&a);
    drop_mirror(&b);
    drop_twin(&twin);
}

static void test_blocks_small_uploads(void **state)
{
    each_small(*state, FERRY_OPERATION_UPLOAD, false);
}

static void test_blocks_small_downloads(void **state)
{
    each_small(*state, FERRY_OPERATION_DOWNLOAD, false);
}

static void test_blocks_small_copies(void **state)
{
    each_small(*state, FERRY_OPERATION_COPY, false);
}

static void test_blocks_small_moves(void **state)
{
    each_small(*state, FERRY_OPERATION_COPY, true);
}

/* --- larger lists ------------------------------------------------------------------------------ */

static void random_lists(struct fixture *fixture, bool apart, bool shared)
{
    const enum ferry_storage storage = shared ? FERRY_STORAGE_SHARED : FERRY_STORAGE_PRIVATE;
    struct mirror a = make_mirror(fixture->device, ARENA, storage, 1);
    struct mirror b = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 2);
    struct twin twin = make_twin(ARENA, 3);
    struct ferry_block blocks[MANY];
    for (uint32_t seed = 1; seed <= 8; seed++) {
        const size_t count = list_random(blocks, apart, seed);
        const struct list lists[] = {{FERRY_OPERATION_UPLOAD, &a, NULL, NULL, blocks, count},
                                     {FERRY_OPERATION_COPY, &b, &a, NULL, blocks, count},
                                     {FERRY_OPERATION_COPY, &b, &b, NULL, blocks, count},
                                     {FERRY_OPERATION_DOWNLOAD, NULL, &b, NULL, blocks, count}};
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
            list_run_on_host(fixture->device, lists[i], &twin, (enum way)((seed + i) % WAYS));
        expect_mirror(&a);
        expect_mirror(&b);
        scribble(twin.bytes, ARENA, seed);
        memcpy(twin.want, twin.bytes, ARENA);
    }
    drop_mirror(&a);
    drop_mirror(&b);
    drop_twin(&twin);
}

static void test_blocks_random_apart(void **state)
{
    random_lists(*state, true, false);
}

static void test_blocks_random_overlapping(void **state)
{
    random_lists(*state, false, false);
}

static void test_blocks_random_shared(void **state)
{
    random_lists(*state, true, true);
}

/* From one byte to all that is left, in one list; more than a chunk of staging. */
static void test_blocks_mixed_sizes(void **state)
{
    struct fixture *fixture = *state;
    enum { BIG = 5 << 20 };
    const size_t size = suite->params.staging_budget ? 100000 : BIG;
    struct mirror mirror = make_mirror(fixture->device, size, FERRY_STORAGE_PRIVATE, 4);
    struct twin twin = make_twin(size, 5);
    const struct ferry_block blocks[] = {
        {1, 0, 1},
        {5, 2, 3},
        {size - 7, size - 9, 7},
        {16, 33, size / 2},
        {size / 2 + 99, 7, 4097},
        {size / 2 + 9999, size / 2, size / 4},
    };
    const size_t count = sizeof blocks / sizeof *blocks;
    const struct list up = {FERRY_OPERATION_UPLOAD, &mirror, NULL, NULL, blocks, count};
    const struct list down = {FERRY_OPERATION_DOWNLOAD, NULL, &mirror, NULL, blocks, count};
    for (enum way way = WAIT; way < WAYS; way++) {
        list_run_on_host(fixture->device, up, &twin, way);
        expect_mirror(&mirror);
        list_run_on_host(fixture->device, down, &twin, way);
        expect_bytes(twin.bytes, twin.want, size, "host memory");
    }
    drop_mirror(&mirror);
    drop_twin(&twin);
}

/* More than one launch: 2048 are the first. */
static void test_blocks_many(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 20000, STEP = 48, SIZE = 33 };
    struct mirror mirror =
        make_mirror(fixture->device, (size_t)COUNT * STEP, FERRY_STORAGE_PRIVATE, 6);
    struct twin twin = make_twin((size_t)COUNT * SIZE, 7);
    struct ferry_block *blocks = xmalloc(COUNT * sizeof *blocks);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){i * 7919 % COUNT * STEP + 5, i * SIZE, SIZE};
    const struct list up = {FERRY_OPERATION_UPLOAD, &mirror, NULL, NULL, blocks, COUNT};
    list_run_on_host(fixture->device, up, &twin, ASYNC);
    expect_mirror(&mirror);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){i * SIZE, i * 104729 % COUNT * STEP + 1, SIZE};
    const struct list down = {FERRY_OPERATION_DOWNLOAD, NULL, &mirror, NULL, blocks, COUNT};
    list_run_on_host(fixture->device, down, &twin, WAIT);
    free(blocks);
    drop_mirror(&mirror);
    drop_twin(&twin);
}

/* --- host memory ------------------------------------------------------------------------------- */

/* One list from addresses in registered regions, beside them and across their ends. */
static void test_blocks_several_regions(void **state)
{
    struct fixture *fixture = *state;
    enum { REGION = 8192, REGIONS = 4, ALL = REGION * REGIONS, STEP = 100, COUNT = ALL / STEP };
    struct mirror mirror = make_mirror(fixture->device, ALL, FERRY_STORAGE_PRIVATE, 11);
    struct twin twin = make_twin(ALL, 12);
    struct ferry_block blocks[COUNT];
    for (size_t i = 0; i < REGIONS; i += 2) /* every second one */
        OK(ferry_host_register(fixture->device, twin.bytes + i * REGION, REGION, 0));
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] =
            (struct ferry_block){i * STEP, (uintptr_t)twin.bytes + i * 37 % COUNT * STEP, i % STEP};
    struct list list = {FERRY_OPERATION_UPLOAD, &mirror, NULL, NULL, blocks, COUNT};
    list_run(fixture->device, &list, ASYNC);
    list_model(&list);
    expect_mirror(&mirror);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){(uintptr_t)twin.bytes + i * 37 % COUNT * STEP,
                                         i * STEP + 3, i % (STEP - 3)};
    list = (struct list){FERRY_OPERATION_DOWNLOAD, NULL, &mirror, NULL, blocks, COUNT};
    list_run(fixture->device, &list, WAIT);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i].dst_offset += (size_t)(twin.want - twin.bytes);
    list_model(&list);
    for (size_t i = 0; i < REGIONS; i += 2)
        OK(ferry_host_unregister(fixture->device, twin.bytes + i * REGION));
    drop_mirror(&mirror);
    drop_twin(&twin);
}

/* All in memory that needs no staging, both ways. */
static void test_blocks_page_locked(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 13);
    struct ferry_block blocks[MANY];
    void *host = NULL;
    unsigned char *want = scribbled(ARENA, 14);
    OK(ferry_host_alloc(fixture->device, ARENA, &host));
    memcpy(host, want, ARENA);
    for (uint32_t seed = 20; seed < 24; seed++) {
        list_random(blocks, seed % 2, seed);
        struct list list = {FERRY_OPERATION_UPLOAD, &mirror, NULL, host, blocks, MANY};
        list_run(fixture->device, &list, ASYNC);
        list_model(&list);
        expect_mirror(&mirror);
        list_random(blocks, seed % 2, seed + 100);
        list = (struct list){FERRY_OPERATION_DOWNLOAD, NULL, &mirror, host, blocks, MANY};
        list_run(fixture->device, &list, WAIT);
        list.host = want;
        list_model(&list);
        expect_bytes(host, want, ARENA, "host memory");
    }
    free(want);
    ferry_host_free(fixture->device, host);
    drop_mirror(&mirror);
}

/* Where the device takes lists, a list that could go by the kernel did. */
static void test_blocks_path(void **state)
{
    (void)state;
    enum { COUNT = 100, SIZE = 48 };
    ferry_device *device = open_queued(NULL);
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    struct mirror mirror = make_mirror(device, (size_t)COUNT * SIZE, FERRY_STORAGE_PRIVATE, 28);
    struct ferry_block blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){i * 37 % COUNT * SIZE, i * SIZE, SIZE};
    unsigned char *host = scribbled((size_t)COUNT * SIZE, 29);
    const struct list list = {FERRY_OPERATION_UPLOAD, &mirror, NULL, host, blocks, COUNT};
    bool lists = (info.paths >> FERRY_PATH_BLOCKS & 1) && suite_kernels_come(device);
    for (int i = 0; i < 100 && lists; i++) {
        list_run(device, &list, ASYNC);
        const struct ferry_stats stats = read_stats(device);
        lists = !stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_BLOCKS].operations;
        assert_int_equal(count_operations(&stats, FERRY_OPERATION_UPLOAD) > 1, true);
    }
    assert_false(lists);
    list_run(device, &list, WAIT);
    list_model(&list);
    free(host);
    expect_mirror(&mirror);
    const struct ferry_stats stats = read_stats(device);
    const struct ferry_operation_stats *by_list =
        &stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_BLOCKS];
    assert_int_equal(by_list->bytes, by_list->operations * COUNT * SIZE);
    drop_mirror(&mirror);
    ferry_device_close(device);
}

/* The path that is told before is the one that is taken. */
static void test_blocks_explain(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        size_t size, count;
    } cases[] = {{0, 1}, {64, 1}, {70000, 1}, {48, 100}, {4096, 40}};
    struct mirror mirror = make_mirror(fixture->device, 1 << 18, FERRY_STORAGE_PRIVATE, 30);
    void *locked = NULL;
    unsigned char *pageable = scribbled(1 << 18, 31);
    OK(ferry_host_alloc(fixture->device, 1 << 18, &locked));
    (void)suite_kernels_come(fixture->device);
    for (size_t i = 0; i < sizeof cases / sizeof *cases * 4; i++) {
        const size_t size = cases[i / 4].size, count = cases[i / 4].count;
        void *host = i % 2 ? locked : (void *)pageable;
        const enum ferry_operation operation =
            i / 2 % 2 ? FERRY_OPERATION_DOWNLOAD : FERRY_OPERATION_UPLOAD;
        const struct ferry_rows rows = {count, size, 0, size + 16, 0, size + 16};
        struct ferry_explanation told;
        memset(&told, 0xA5, sizeof told);
        OK(ferry_explain(fixture->device, mirror.buffer, operation, host, size, count, &told));
        assert_true(told.reason[0] && told.engine[0]);
        const struct ferry_stats before = read_stats(fixture->device);
        enum ferry_status status;
        if (operation == FERRY_OPERATION_UPLOAD)
            status = count > 1 ? ferry_copy_rows_from_host(mirror.buffer, host, &rows)
                               : ferry_copy_from_host(mirror.buffer, host, size, 0);
        else
            status = count > 1 ? ferry_copy_rows_to_host(mirror.buffer, host, &rows)
                               : ferry_copy_to_host(mirror.buffer, host, size, 0);
        OK(status);
        const struct ferry_stats after = read_stats(fixture->device);
        if (after.operations[operation][told.path].operations !=
            before.operations[operation][told.path].operations + 1)
            fail_msg("%zu x %zu, case %zu: not by %s: %s", count, size, i,
                     ferry_path_name(told.path), told.reason);
    }
    struct ferry_explanation told;
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_explain(fixture->device, NULL, FERRY_OPERATION_UPLOAD, NULL, SIZE_MAX, 2, &told));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_explain(NULL, NULL, FERRY_OPERATION_UPLOAD, NULL, 1, 1, &told));
    OK(ferry_explain(fixture->device, NULL, FERRY_OPERATION_COPY, NULL, 4096, 1000, &told));
    free(pageable);
    ferry_host_free(fixture->device, locked);
    drop_mirror(&mirror);
}

/* --- errors ------------------------------------------------------------------------------------ */

static void test_blocks_arguments(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 4096, FERRY_STORAGE_PRIVATE, 24);
    ferry_buffer *buffer = mirror.buffer;
    unsigned char host[64];
    memset(host, 0x77, sizeof host);
    const struct {
        struct ferry_block block;
        enum ferry_status status;
        const char *words;
    } rows[] = {
        {{4096, 0, 1}, FERRY_ERROR_OUT_OF_RANGE, "block 1, dst: size 1 at offset 4096"},
        {{4097, 0, 0}, FERRY_ERROR_OUT_OF_RANGE, "size 0 at offset 4097"},
        {{SIZE_MAX, 0, 2}, FERRY_ERROR_OUT_OF_RANGE, "block 1"},
        {{0, SIZE_MAX, 2}, FERRY_ERROR_INVALID_ARGUMENT, "past the end of all addresses"},
        {{0, SIZE_MAX - 4, 4}, FERRY_ERROR_INVALID_ARGUMENT, "block 1, src"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct ferry_block blocks[] = {{0, 0, 8}, rows[i].block};
        ferry_ticket ticket = 99;
        IS(rows[i].status, ferry_copy_blocks_from_host(buffer, host, blocks, 2));
        expect_words(rows[i].words);
        IS(rows[i].status,
           ferry_copy_blocks_from_host_async(buffer, host, blocks, 2, NULL, NULL, &ticket));
        assert_int_equal(ticket, 99);
    }
    const struct ferry_block null = {0, 0, 8}, far = {0, 4090, 8}, big = {8, 0, SIZE_MAX / 2};
    const struct ferry_block bigs[] = {big, big, big};
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_blocks_from_host(buffer, NULL, &null, 1));
    expect_words("the host address is NULL");
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_blocks_from_host(NULL, host, &null, 1));
    expect_words("dst is NULL");
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_blocks_to_host(NULL, host, &null, 1));
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_blocks_to_host(buffer, host, NULL, 1));
    expect_words("the list is NULL");
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_rows_to_host(buffer, host, NULL));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_blocks(buffer, buffer, &far, 1));
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_blocks(buffer, buffer, bigs, 3));
    OK(ferry_copy_blocks_from_host(buffer, NULL, NULL, 0));
    OK(ferry_copy_blocks(buffer, buffer, NULL, 0));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* One of many, all of one size, is wrong: it is told which, and nothing moves. */
static void test_blocks_one_of_many(void **state)
{
    enum { COUNT = 300, AT = 200, SIZE = 16 };
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, COUNT * SIZE, FERRY_STORAGE_PRIVATE, 26);
    unsigned char host[COUNT * SIZE];
    struct ferry_block blocks[COUNT];
    const struct {
        struct ferry_block block;
        enum ferry_status status;
    } rows[] = {
        {{COUNT * SIZE - SIZE + 1, 0, SIZE}, FERRY_ERROR_OUT_OF_RANGE},
        {{SIZE_MAX - SIZE + 1, 0, SIZE}, FERRY_ERROR_OUT_OF_RANGE},
        {{COUNT * SIZE + 1, 0, 0}, FERRY_ERROR_OUT_OF_RANGE},
        {{0, SIZE_MAX - SIZE + 1, SIZE}, FERRY_ERROR_INVALID_ARGUMENT},
        {{0, 0, SIZE_MAX}, FERRY_ERROR_OUT_OF_RANGE},
    };
    memset(host, 0x55, sizeof host);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){(COUNT - 1 - i) * SIZE, i * SIZE, SIZE};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        blocks[AT] = rows[i].block;
        IS(rows[i].status, ferry_copy_blocks_from_host(mirror.buffer, host, blocks, COUNT));
        expect_words("block 200, ");
        expect_mirror(&mirror);
    }
    blocks[AT] = (struct ferry_block){COUNT * SIZE, 0, 0};
    for (size_t i = 0; i < COUNT; i++)
        if (i != AT)
            memset(mirror.bytes + blocks[i].dst_offset, 0x55, SIZE);
    OK(ferry_copy_blocks_from_host(mirror.buffer, host, blocks, COUNT));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_blocks_small_uploads), SUITE_TEST(test_blocks_small_downloads),
    SUITE_TEST(test_blocks_small_copies),  SUITE_TEST(test_blocks_small_moves),
    SUITE_TEST(test_blocks_random_apart),  SUITE_TEST(test_blocks_random_overlapping),
    SUITE_TEST(test_blocks_random_shared), SUITE_TEST(test_blocks_mixed_sizes),
    SUITE_TEST(test_blocks_many),          SUITE_TEST(test_blocks_several_regions),
    SUITE_TEST(test_blocks_page_locked),   SUITE_TEST(test_blocks_path),
    SUITE_TEST(test_blocks_explain),       SUITE_TEST(test_blocks_arguments),
    SUITE_TEST(test_blocks_one_of_many),
};
SUITE_GROUP(blocks);
