/* Scattered blocks and rows: every list does what its blocks would do one after another. */
#include "suite.h"

#include <time.h>

enum way { WAIT, ASYNC, BATCH, WAYS };

/* --- one list, in any way, and on the model ---------------------------------------------------- */

struct list {
    enum ferry_operation operation;
    struct mirror *dst, *src; /* NULL: the host's side */
    unsigned char *host;      /* NULL: offsets are addresses */
    const struct ferry_block *blocks;
    size_t count;
};

static void model(const struct list *list)
{
    unsigned char *dst = list->dst ? list->dst->bytes : list->host;
    const unsigned char *src = list->src ? list->src->bytes : list->host;
    for (size_t i = 0; i < list->count; i++) {
        const struct ferry_block block = list->blocks[i];
        memmove((unsigned char *)((uintptr_t)dst + block.dst_offset),
                (const unsigned char *)((uintptr_t)src + block.src_offset), block.size);
    }
}

static enum ferry_status start(const struct list *list, ferry_ticket *out)
{
    const struct ferry_block *blocks = list->blocks;
    switch (list->operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_copy_blocks_from_host_async(list->dst->buffer, list->host, blocks, list->count,
                                                 NULL, NULL, out);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_copy_blocks_to_host_async(list->src->buffer, list->host, blocks, list->count,
                                               NULL, NULL, out);
    default:
        return ferry_copy_blocks_async(list->dst->buffer, list->src->buffer, blocks, list->count,
                                       NULL, NULL, out);
    }
}

static enum ferry_status move_waiting(const struct list *list)
{
    const struct ferry_block *blocks = list->blocks;
    switch (list->operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_copy_blocks_from_host(list->dst->buffer, list->host, blocks, list->count);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_copy_blocks_to_host(list->src->buffer, list->host, blocks, list->count);
    default: return ferry_copy_blocks(list->dst->buffer, list->src->buffer, blocks, list->count);
    }
}

static enum ferry_status add(ferry_batch *batch, const struct list *list)
{
    const struct ferry_block *blocks = list->blocks;
    switch (list->operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_batch_copy_blocks_from_host(batch, list->dst->buffer, list->host, blocks,
                                                 list->count);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_batch_copy_blocks_to_host(batch, list->src->buffer, list->host, blocks,
                                               list->count);
    default:
        return ferry_batch_copy_blocks(batch, list->dst->buffer, list->src->buffer, blocks,
                                       list->count);
    }
}

/* The list that is given is overwritten while it is under way: it was copied. */
static void run(ferry_device *device, const struct list *list, enum way way)
{
    struct list given = *list;
    const size_t bytes = list->count * sizeof *list->blocks;
    struct ferry_block *blocks = xmalloc(bytes + 1);
    ferry_ticket ticket = 0;
    memcpy(blocks, list->blocks, bytes);
    given.blocks = blocks;
    if (way == WAIT) {
        OK(move_waiting(&given));
    } else if (way == ASYNC) {
        OK(start(&given, &ticket));
    } else {
        ferry_batch *batch = NULL;
        OK(ferry_batch_create(device, &batch));
        OK(add(batch, &given));
        memset(blocks, 0xA5, bytes);
        OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
        ferry_batch_destroy(batch);
    }
    memset(blocks, 0x5A, bytes);
    free(blocks);
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
}

/* Host memory with a model of what it holds. */
struct twin {
    unsigned char *bytes, *want;
    size_t size;
};

static struct twin make_twin(size_t size, unsigned seed)
{
    return (struct twin){scribbled(size, seed), scribbled(size, seed), size};
}

static void drop_twin(struct twin *twin)
{
    expect_bytes(twin->bytes, twin->want, twin->size, "host memory");
    free(twin->bytes);
    free(twin->want);
}

static void run_on_host(ferry_device *device, struct list list, struct twin *twin, enum way way)
{
    list.host = twin->bytes;
    run(device, &list, way);
    list.host = twin->want;
    model(&list);
}

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
        run_on_host(fixture->device, list, &twin, (enum way)(i % WAYS));
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

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

enum { ARENA = 1 << 18, MANY = 300 };

/* Apart: each in a place of its own, in any order; else anywhere. All sizes and phases. */
static size_t random_list(struct ferry_block *blocks, bool apart, uint32_t seed)
{
    static const size_t sizes[] = {1, 3, 4, 5, 16, 31, 33, 0, 64, 255, 256, 500, 800};
    enum { SIZES = sizeof sizes / sizeof *sizes, ROOM = ARENA / MANY };
    for (size_t i = 0; i < MANY; i++) {
        const size_t size = sizes[next(&seed) % SIZES];
        const size_t slack = ROOM - size;
        blocks[i] = (struct ferry_block){i * ROOM + next(&seed) % slack,
                                         i * ROOM + next(&seed) % slack, size};
        if (!apart) {
            blocks[i].dst_offset = next(&seed) % (ARENA / 16);
            blocks[i].src_offset = next(&seed) % (ARENA / 16);
        }
    }
    for (size_t i = MANY; i > 1; i--) {
        const size_t other = next(&seed) % i;
        const struct ferry_block last = blocks[i - 1];
        blocks[i - 1] = blocks[other];
        blocks[other] = last;
        const size_t offset = blocks[i - 1].src_offset;
        if (blocks[i - 1].size == last.size) { /* sources in another order than destinations */
            blocks[i - 1].src_offset = last.src_offset;
            blocks[other].src_offset = offset;
        }
    }
    return MANY;
}

static void random_lists(struct fixture *fixture, bool apart, bool shared)
{
    const enum ferry_storage storage = shared ? FERRY_STORAGE_SHARED : FERRY_STORAGE_PRIVATE;
    struct mirror a = make_mirror(fixture->device, ARENA, storage, 1);
    struct mirror b = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 2);
    struct twin twin = make_twin(ARENA, 3);
    struct ferry_block blocks[MANY];
    for (uint32_t seed = 1; seed <= 8; seed++) {
        const size_t count = random_list(blocks, apart, seed);
        const struct list lists[] = {{FERRY_OPERATION_UPLOAD, &a, NULL, NULL, blocks, count},
                                     {FERRY_OPERATION_COPY, &b, &a, NULL, blocks, count},
                                     {FERRY_OPERATION_COPY, &b, &b, NULL, blocks, count},
                                     {FERRY_OPERATION_DOWNLOAD, NULL, &b, NULL, blocks, count}};
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
            run_on_host(fixture->device, lists[i], &twin, (enum way)((seed + i) % WAYS));
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
        run_on_host(fixture->device, up, &twin, way);
        expect_mirror(&mirror);
        run_on_host(fixture->device, down, &twin, way);
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
    run_on_host(fixture->device, up, &twin, ASYNC);
    expect_mirror(&mirror);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){i * SIZE, i * 104729 % COUNT * STEP + 1, SIZE};
    const struct list down = {FERRY_OPERATION_DOWNLOAD, NULL, &mirror, NULL, blocks, COUNT};
    run_on_host(fixture->device, down, &twin, WAIT);
    free(blocks);
    drop_mirror(&mirror);
    drop_twin(&twin);
}

/* --- rows -------------------------------------------------------------------------------------- */

struct shape {
    struct ferry_rows rows;
    const char *words;
};

static const struct shape shapes[] = {
    {{7, 33, 1, 64, 3, 40}, "a part of each row"},
    {{100, 16, 0, 16, 0, 16}, "rows without gaps"},
    {{5, 9, 2, 4, 0, 9}, "rows that overlap"},
    {{6, 5, 100, 0, 1, 50}, "all to one place"},
    {{6, 5, 100, 7, 11, 0}, "all from one place"},
    {{1, 77, 3, 9999999, 5, 9999999}, "one row"},
    {{0, 77, 3, 1, 5, 1}, "no rows"},
    {{9, 0, 3, 1, 5, 1}, "empty rows"},
};

static enum ferry_status run_rows(ferry_device *device, const struct list *list,
                                  const struct ferry_rows *rows, enum way way)
{
    ferry_buffer *dst = list->dst ? list->dst->buffer : NULL;
    ferry_buffer *src = list->src ? list->src->buffer : NULL;
    ferry_ticket ticket = 0;
    ferry_batch *batch = NULL;
    enum ferry_status status;
    if (way == BATCH)
        OK(ferry_batch_create(device, &batch));
    if (!src)
        status = way == WAIT ? ferry_copy_rows_from_host(dst, list->host, rows)
                 : way == ASYNC
                     ? ferry_copy_rows_from_host_async(dst, list->host, rows, NULL, NULL, &ticket)
                     : ferry_batch_copy_rows_from_host(batch, dst, list->host, rows);
    else if (!dst)
        status = way == WAIT ? ferry_copy_rows_to_host(src, list->host, rows)
                 : way == ASYNC
                     ? ferry_copy_rows_to_host_async(src, list->host, rows, NULL, NULL, &ticket)
                     : ferry_batch_copy_rows_to_host(batch, src, list->host, rows);
    else
        status = way == WAIT    ? ferry_copy_rows(dst, src, rows)
                 : way == ASYNC ? ferry_copy_rows_async(dst, src, rows, NULL, NULL, &ticket)
                                : ferry_batch_copy_rows(batch, dst, src, rows);
    if (batch && !status)
        status = ferry_batch_submit(batch, NULL, NULL, &ticket);
    ferry_batch_destroy(batch);
    return status ? status : ferry_wait(device, ticket, FERRY_FOREVER);
}

static void test_blocks_rows(void **state)
{
    struct fixture *fixture = *state;
    enum { SIZE = 4096 };
    struct mirror a = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 8);
    struct mirror b = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 9);
    struct twin twin = make_twin(SIZE, 10);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes * WAYS; i++) {
        const struct ferry_rows *rows = &shapes[i / WAYS].rows;
        struct ferry_block blocks[100];
        for (size_t row = 0; row < rows->rows; row++)
            blocks[row] =
                (struct ferry_block){rows->dst_offset + row * rows->dst_stride,
                                     rows->src_offset + row * rows->src_stride, rows->row_size};
        struct list lists[] = {{FERRY_OPERATION_UPLOAD, &a, NULL, NULL, blocks, rows->rows},
                               {FERRY_OPERATION_COPY, &b, &a, NULL, blocks, rows->rows},
                               {FERRY_OPERATION_COPY, &b, &b, NULL, blocks, rows->rows},
                               {FERRY_OPERATION_DOWNLOAD, NULL, &b, NULL, blocks, rows->rows}};
        for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
            lists[l].host = twin.bytes;
            OK(run_rows(fixture->device, &lists[l], rows, (enum way)(i % WAYS)));
            lists[l].host = twin.want;
            model(&lists[l]);
        }
        expect_mirror(&a);
        expect_mirror(&b);
    }
    drop_mirror(&a);
    drop_mirror(&b);
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
    run(fixture->device, &list, ASYNC);
    model(&list);
    expect_mirror(&mirror);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){(uintptr_t)twin.bytes + i * 37 % COUNT * STEP,
                                         i * STEP + 3, i % (STEP - 3)};
    list = (struct list){FERRY_OPERATION_DOWNLOAD, NULL, &mirror, NULL, blocks, COUNT};
    run(fixture->device, &list, WAIT);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i].dst_offset += (size_t)(twin.want - twin.bytes);
    model(&list);
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
        random_list(blocks, seed % 2, seed);
        struct list list = {FERRY_OPERATION_UPLOAD, &mirror, NULL, host, blocks, MANY};
        run(fixture->device, &list, ASYNC);
        model(&list);
        expect_mirror(&mirror);
        random_list(blocks, seed % 2, seed + 100);
        list = (struct list){FERRY_OPERATION_DOWNLOAD, NULL, &mirror, host, blocks, MANY};
        run(fixture->device, &list, WAIT);
        list.host = want;
        model(&list);
        expect_bytes(host, want, ARENA, "host memory");
    }
    free(want);
    ferry_host_free(fixture->device, host);
    drop_mirror(&mirror);
}

/* Kernels may have to be compiled first; this waits for them. False: there will be none. */
static bool kernels_come(ferry_device *device)
{
    const struct timespec nap = {.tv_nsec = 5000000};
    struct ferry_explanation told;
    for (int naps = 0; naps < 400; naps++) {
        OK(ferry_explain(device, NULL, FERRY_OPERATION_UPLOAD, NULL, 48, 100, &told));
        if (!strstr(told.reason, "to be compiled"))
            return true;
        nanosleep(&nap, NULL);
    }
    return false;
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
    bool lists = (info.paths >> FERRY_PATH_BLOCKS & 1) && kernels_come(device);
    for (int i = 0; i < 100 && lists; i++) {
        run(device, &list, ASYNC);
        const struct ferry_stats stats = read_stats(device);
        lists = !stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_BLOCKS].operations;
        assert_int_equal(count_operations(&stats, FERRY_OPERATION_UPLOAD) > 1, true);
    }
    assert_false(lists);
    run(device, &list, WAIT);
    model(&list);
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
    (void)kernels_come(fixture->device);
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

/* --- batches, and order ------------------------------------------------------------------------ */

/* Lists and other operations in one batch: as if one after another. */
static void test_blocks_batch(void **state)
{
    struct fixture *fixture = *state;
    struct mirror a = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 15);
    struct mirror b = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 16);
    unsigned char *host = scribbled(ARENA, 17);
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    OK(ferry_batch_create(fixture->device, &batch));
    for (uint32_t i = 0; i < 12; i++) {
        struct ferry_block blocks[MANY];
        random_list(blocks, i % 4 != 3, 30 + i);
        const struct list lists[] = {{FERRY_OPERATION_UPLOAD, &a, NULL, host, blocks, MANY},
                                     {FERRY_OPERATION_COPY, &b, &a, NULL, blocks, MANY},
                                     {FERRY_OPERATION_UPLOAD, &b, NULL, host, blocks, MANY / 2}};
        OK(add(batch, &lists[i % 3]));
        model(&lists[i % 3]);
        if (i % 5 == 4) {
            OK(ferry_batch_fill_buffer(batch, a.buffer, 1000, 50 * i, "xyz", 3));
            model_fill(a.bytes, 1000, 50 * i, "xyz", 3);
        }
    }
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    ferry_batch_destroy(batch);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    free(host);
    expect_mirror(&a);
    expect_mirror(&b);
    drop_mirror(&a);
    drop_mirror(&b);
}

/* Lists of one batch write the same bytes, from memory that needs no staging: the later one wins,
 * also where the earlier one needed fewer entries than it has blocks. */
static void test_blocks_batch_again(void **state)
{
    enum { LISTS = 40, COUNT = 24, SIZE = 64 };
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 18);
    void *host = NULL;
    OK(ferry_host_alloc(fixture->device, ARENA, &host));
    for (size_t i = 0; i < ARENA; i++)
        ((unsigned char *)host)[i] = (unsigned char)(i * 31 + i / 251);
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    OK(ferry_batch_create(fixture->device, &batch));
    for (size_t i = 0; i < LISTS; i++) {
        struct ferry_block blocks[COUNT];
        for (size_t k = 0; k < COUNT; k++)
            blocks[k] = (struct ferry_block){k * SIZE + i % 3, (i * 7 + k * 5) % (ARENA - SIZE),
                                             k % 4 == i % 4 ? 0 : SIZE};
        const struct list list = {FERRY_OPERATION_UPLOAD, &mirror, NULL, host, blocks, COUNT};
        OK(add(batch, &list));
        model(&list);
    }
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    ferry_batch_destroy(batch);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    expect_mirror(&mirror);
    ferry_host_free(fixture->device, host);
    drop_mirror(&mirror);
}

/* Lists that share bytes take effect in the order of their calls, though nobody waits between. */
static void test_blocks_order(void **state)
{
    struct fixture *fixture = *state;
    enum { LISTS = 24 };
    struct mirror a = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 18);
    struct mirror b = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 19);
    unsigned char *host[LISTS];
    ferry_ticket ticket = 0;
    for (uint32_t i = 0; i < LISTS; i++) {
        struct ferry_block blocks[MANY];
        host[i] = scribbled(ARENA, 40 + i);
        random_list(blocks, i % 3 != 0, 50 + i);
        const struct list lists[] = {{FERRY_OPERATION_UPLOAD, &a, NULL, host[i], blocks, MANY},
                                     {FERRY_OPERATION_COPY, &b, &a, NULL, blocks, MANY},
                                     {FERRY_OPERATION_COPY, &a, &b, NULL, blocks, MANY}};
        OK(start(&lists[i % 3], &ticket));
        model(&lists[i % 3]);
    }
    expect_mirror(&a);
    expect_mirror(&b);
    OK(ferry_wait_idle(fixture->device));
    for (uint32_t i = 0; i < LISTS; i++)
        free(host[i]);
    drop_mirror(&a);
    drop_mirror(&b);
}

/* Two lists in one arena that lie between each other share no byte: the second does not wait for work
 * that the first waits for. */
static void test_blocks_interleaved(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 64, SIZE = 64 };
    require_hold(fixture->device);
    struct mirror mirror =
        make_mirror(fixture->device, (size_t)COUNT * 2 * SIZE, FERRY_STORAGE_PRIVATE, 20);
    struct ferry_block even[COUNT], odd[COUNT];
    unsigned char *host = scribbled((size_t)COUNT * SIZE, 21);
    for (size_t i = 0; i < COUNT; i++) {
        even[i] = (struct ferry_block){2 * i * SIZE, i * SIZE, SIZE};
        odd[i] = (struct ferry_block){(2 * i + 1) * SIZE, i * SIZE, SIZE};
    }
    const struct ferry_use use = {mirror.buffer, FERRY_ACCESS_WRITE, 0, SIZE};
    struct ferry_external external;
    OK(ferry_external_begin(fixture->device, &use, 1, &external));
    struct list first = {FERRY_OPERATION_UPLOAD, &mirror, NULL, host, even, COUNT};
    struct list second = {FERRY_OPERATION_UPLOAD, &mirror, NULL, host, odd, COUNT};
    ferry_ticket ticket = 0;
    OK(start(&first, &ticket));
    model(&first);
    OK(move_waiting(&second)); /* it would hang */
    model(&second);
    IS(FERRY_PENDING, ferry_poll(fixture->device, ticket));
    release(fixture->device, &external);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    free(host);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* --- two devices ------------------------------------------------------------------------------- */

static void test_blocks_two_devices(void **state)
{
    struct fixture *fixture = *state;
    ferry_device *second = open_second();
    struct mirror a = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 22);
    struct mirror b = make_mirror(second, ARENA, FERRY_STORAGE_PRIVATE, 23);
    struct ferry_block blocks[MANY];
    for (uint32_t seed = 60; seed < 64; seed++) {
        random_list(blocks, seed % 2, seed);
        const struct list list = {FERRY_OPERATION_COPY,
                                  seed % 4 < 2 ? &b : &a,
                                  seed % 4 < 2 ? &a : &b,
                                  NULL,
                                  blocks,
                                  MANY};
        run(ferry_buffer_device(list.dst->buffer), &list, seed % 2 ? WAIT : ASYNC);
        model(&list);
        expect_mirror(&a);
        expect_mirror(&b);
    }
    drop_mirror(&a);
    drop_mirror(&b);
    ferry_device_close(second);
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

static void test_blocks_row_arguments(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 4096, FERRY_STORAGE_PRIVATE, 25);
    unsigned char host[64] = {0};
    const struct {
        struct ferry_rows rows;
        enum ferry_status status;
    } rows[] = {
        {{2, 8, 0, 4089, 0, 8}, FERRY_ERROR_OUT_OF_RANGE},
        {{SIZE_MAX, 8, 0, 0, 0, 0}, FERRY_ERROR_INVALID_ARGUMENT},
        {{3, 8, 0, SIZE_MAX / 2 + 1, 0, 0}, FERRY_ERROR_INVALID_ARGUMENT},
        {{SIZE_MAX, 1, 1, SIZE_MAX, 0, 0}, FERRY_ERROR_INVALID_ARGUMENT},
        {{2, 8, 0, 8, SIZE_MAX - 8, 8}, FERRY_ERROR_INVALID_ARGUMENT},
        {{2, 8, 4090, 0, 0, 0}, FERRY_ERROR_OUT_OF_RANGE},
        {{3, 0, 4095, 1, 0, 0}, FERRY_ERROR_OUT_OF_RANGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        IS(rows[i].status, ferry_copy_rows_from_host(mirror.buffer, host, &rows[i].rows));
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* --- failures ---------------------------------------------------------------------------------- */

/* A failed list marks its blocks, and nothing between them; lists that cover them make them well. */
static void test_blocks_failures(void **state)
{
    (void)state;
    enum { COUNT = 12, SIZE = 32 };
    ferry_device *device = open_queued("fail_exec=2");
    struct mirror mirror = make_mirror(device, (size_t)COUNT * 2 * SIZE, FERRY_STORAGE_PRIVATE, 26);
    struct ferry_block blocks[COUNT];
    unsigned char *host = scribbled((size_t)COUNT * SIZE, 27), out[SIZE];
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){2 * i * SIZE, i * SIZE, SIZE};
    struct list list = {FERRY_OPERATION_UPLOAD, &mirror, NULL, host, blocks, COUNT};
    enum ferry_status status = FERRY_OK;
    for (int i = 0; i < 4 && !status; i++) /* make_mirror has had some of its own */
        status = move_waiting(&list);
    assert_int_equal(status, FERRY_ERROR_EXECUTION_FAILED);
    assert_true(ferry_last_error()[0] != 0);
    for (size_t i = 0; i < COUNT; i++) {
        IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(mirror.buffer, out, 1, 2 * i * SIZE));
        OK(ferry_copy_to_host(mirror.buffer, out, SIZE, (2 * i + 1) * SIZE));
    }
    const struct ferry_block reads[] = {{0, SIZE, 4}, {8, 2 * SIZE + 4, 4}};
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_blocks_to_host(mirror.buffer, out, reads, 2));
    OK(ferry_copy_blocks_to_host(mirror.buffer, out, reads, 1));
    OK(move_waiting(&list));
    model(&list);
    free(host);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
    ferry_device_close(device);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_blocks_small_uploads),
    SUITE_TEST(test_blocks_small_downloads),
    SUITE_TEST(test_blocks_small_copies),
    SUITE_TEST(test_blocks_small_moves),
    SUITE_TEST(test_blocks_random_apart),
    SUITE_TEST(test_blocks_random_overlapping),
    SUITE_TEST(test_blocks_random_shared),
    SUITE_TEST(test_blocks_mixed_sizes),
    SUITE_TEST(test_blocks_many),
    SUITE_TEST(test_blocks_rows),
    SUITE_TEST(test_blocks_several_regions),
    SUITE_TEST(test_blocks_page_locked),
    SUITE_TEST(test_blocks_path),
    SUITE_TEST(test_blocks_explain),
    SUITE_TEST(test_blocks_batch),
    SUITE_TEST(test_blocks_batch_again),
    SUITE_TEST(test_blocks_order),
    SUITE_TEST(test_blocks_interleaved),
    SUITE_TEST(test_blocks_two_devices),
    SUITE_TEST(test_blocks_arguments),
    SUITE_TEST(test_blocks_row_arguments),
    SUITE_TEST(test_blocks_failures),
};
SUITE_GROUP(blocks);
