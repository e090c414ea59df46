/* Copies of a batch that are carried out as one list, unasked: they do what they would do one after
 * another, and count as what they are. */
#include "suite.h"

enum { COUNT = 48, SIZE = 96, ARENA = COUNT * 4 * SIZE };

/* The i-th place, in no order. */
static size_t place(size_t i)
{
    return i * 29 % COUNT * 4 * SIZE;
}

static struct fixture *with_kernels(void **state)
{
    struct fixture *fixture = *state;
    (void)suite_kernels_come(fixture->device);
    return fixture;
}

static bool takes_lists(const struct fixture *fixture)
{
    const enum ferry_path path = suite->params.path;
    return fixture->info.paths & 1u << FERRY_PATH_BLOCKS &&
           (path == FERRY_PATH_AUTO || path == FERRY_PATH_STAGED) &&
           suite_kernels_come(fixture->device);
}

/* What was counted of an operation: on all paths, and as lists. */
struct counted {
    uint64_t all, listed, commands, submissions;
};

static struct counted count(ferry_device *device, enum ferry_operation operation)
{
    struct ferry_stats stats;
    struct counted counted = {0};
    ferry_device_get_stats(device, &stats, sizeof stats);
    for (size_t path = 0; path < FERRY_PATH_COUNT; path++)
        counted.all += stats.operations[operation][path].operations;
    counted.listed = stats.operations[operation][FERRY_PATH_BLOCKS].operations;
    counted.commands = stats.submitted_commands;
    counted.submissions = stats.submissions;
    return counted;
}

static void submit(ferry_device *device, ferry_batch *batch)
{
    ferry_ticket ticket = 0;
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    ferry_batch_destroy(batch);
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
}

/* All are counted, none twice; by lists where the device takes them and the CPU did not do it. A
 * batch that a chunk of a small staging budget does not hold may stay as copies. */
static void expect_counts(const struct fixture *fixture, enum ferry_operation operation,
                          struct counted before, uint64_t operations)
{
    const struct counted now = count(fixture->device, operation);
    assert_true(now.all - before.all == operations);
    if (now.commands == before.commands)
        return;
    const uint64_t listed = now.listed - before.listed;
    if (operation != FERRY_OPERATION_COPY && suite->params.staging_budget)
        assert_true(listed == 0 || listed == operations);
    else
        assert_true(listed == (takes_lists(fixture) ? operations : 0));
}

static void test_blocks_batch_uploads(void **state)
{
    struct fixture *fixture = with_kernels(state);
    struct mirror mirror = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 61);
    unsigned char *host = scribbled(ARENA, 62);
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(fixture->device, &batch));
    for (size_t i = 0; i < COUNT; i++) {
        OK(ferry_batch_copy_from_host(batch, mirror.buffer, host + i * SIZE, SIZE - i % 3,
                                      place(i) + i % 2));
        memcpy(mirror.bytes + place(i) + i % 2, host + i * SIZE, SIZE - i % 3);
    }
    const struct counted before = count(fixture->device, FERRY_OPERATION_UPLOAD);
    submit(fixture->device, batch);
    expect_counts(fixture, FERRY_OPERATION_UPLOAD, before, COUNT);
    free(host);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

static void test_blocks_batch_downloads(void **state)
{
    struct fixture *fixture = with_kernels(state);
    struct mirror mirror = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 63);
    unsigned char *out = scribbled(ARENA, 64), *want = scribbled(ARENA, 64);
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(fixture->device, &batch));
    for (size_t i = 0; i < COUNT; i++) {
        OK(ferry_batch_copy_to_host(batch, mirror.buffer, out + place(i), SIZE, i * 2 * SIZE));
        memcpy(want + place(i), mirror.bytes + i * 2 * SIZE, SIZE);
    }
    const struct counted before = count(fixture->device, FERRY_OPERATION_DOWNLOAD);
    submit(fixture->device, batch);
    expect_counts(fixture, FERRY_OPERATION_DOWNLOAD, before, COUNT);
    expect_bytes(out, want, ARENA, "host memory");
    free(out);
    free(want);
    drop_mirror(&mirror);
}

/* Within one buffer: from odd places to even ones. */
static void test_blocks_batch_copies(void **state)
{
    struct fixture *fixture = with_kernels(state);
    struct mirror mirror = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 65);
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(fixture->device, &batch));
    for (size_t i = 0; i < COUNT; i++) {
        const size_t from = place(COUNT - 1 - i) + 2 * SIZE;
        OK(ferry_batch_copy_buffer(batch, mirror.buffer, mirror.buffer, SIZE, place(i), from));
        memcpy(mirror.bytes + place(i), mirror.bytes + from, SIZE);
    }
    const struct counted before = count(fixture->device, FERRY_OPERATION_COPY);
    submit(fixture->device, batch);
    expect_counts(fixture, FERRY_OPERATION_COPY, before, COUNT);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* What shares bytes stays in its order, and what lies between keeps its place. */
static void test_blocks_batch_in_order(void **state)
{
    struct fixture *fixture = with_kernels(state);
    struct mirror mirror = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 66);
    unsigned char *host = scribbled(ARENA, 67), *out = scribbled(SIZE, 68), want[SIZE];
    for (size_t round = 0; round < 4; round++) {
        ferry_batch *batch = NULL;
        OK(ferry_batch_create(fixture->device, &batch));
        for (size_t i = 0; i < COUNT; i++) { /* each begins in the one before it */
            const size_t at = 100 + i * SIZE / 2 + round;
            OK(ferry_batch_copy_from_host(batch, mirror.buffer, host + (i + round) * SIZE, SIZE,
                                          at));
            memcpy(mirror.bytes + at, host + (i + round) * SIZE, SIZE);
            if (i == COUNT / 2) {
                OK(ferry_batch_copy_to_host(batch, mirror.buffer, out, SIZE, at - 7));
                memcpy(want, mirror.bytes + at - 7, SIZE);
            }
            if (i == COUNT / 3) {
                OK(ferry_batch_fill_buffer(batch, mirror.buffer, 4 * SIZE, at + 3, "ab", 2));
                model_fill(mirror.bytes, 4 * SIZE, at + 3, "ab", 2);
            }
        }
        for (size_t i = 0; i < COUNT; i++) { /* each is read by the one after it */
            OK(ferry_batch_copy_buffer(batch, mirror.buffer, mirror.buffer, SIZE, (i + 1) * SIZE,
                                       i * SIZE + 5));
            memmove(mirror.bytes + (i + 1) * SIZE, mirror.bytes + i * SIZE + 5, SIZE);
        }
        submit(fixture->device, batch);
        expect_bytes(out, want, SIZE, "host memory");
        expect_mirror(&mirror);
    }
    free(host);
    free(out);
    drop_mirror(&mirror);
}

/* Lists with pointers of their own between the same two places; they count as the lists that they
 * are. */
static void test_blocks_batch_lists(void **state)
{
    enum { LISTS = 6, EACH = COUNT / LISTS };
    struct fixture *fixture = with_kernels(state);
    struct mirror mirror = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 69);
    unsigned char *host = scribbled(ARENA, 70);
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(fixture->device, &batch));
    for (size_t l = 0; l < LISTS; l++) {
        struct ferry_block blocks[EACH];
        for (size_t i = 0; i < EACH; i++) {
            const size_t size = i == 3 ? 0 : SIZE;
            blocks[i] = (struct ferry_block){place(l * EACH + i), i * SIZE, size};
            memcpy(mirror.bytes + blocks[i].dst_offset, host + l * 1000 + i * SIZE, size);
        }
        OK(ferry_batch_copy_blocks_from_host(batch, mirror.buffer, host + l * 1000, blocks, EACH));
    }
    const struct counted before = count(fixture->device, FERRY_OPERATION_UPLOAD);
    submit(fixture->device, batch);
    const struct counted now = count(fixture->device, FERRY_OPERATION_UPLOAD);
    assert_true(now.all - before.all == LISTS);
    if (takes_lists(fixture) && !suite->params.staging_budget)
        assert_true(now.commands - before.commands < LISTS);
    free(host);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
}

/* Some read what has failed: they fail, and make what they write failed. The others are well. */
static void test_blocks_batch_failed(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_device *device = fixture->device;
    struct mirror a = make_mirror(device, ARENA, FERRY_STORAGE_PRIVATE, 71);
    struct mirror b = make_mirror(device, ARENA, FERRY_STORAGE_PRIVATE, 72);
    struct ferry_use use = {a.buffer, FERRY_ACCESS_WRITE, 5 * 2 * SIZE, SIZE};
    struct ferry_external work;
    ferry_ticket ticket = 0;
    unsigned char out[SIZE];
    OK(ferry_external_begin(device, &use, 1, &work));
    release_failed(device, &work);
    ferry_batch *batch = NULL;
    OK(ferry_batch_create(device, &batch));
    for (size_t i = 0; i < COUNT; i++)
        OK(ferry_batch_copy_buffer(batch, b.buffer, a.buffer, SIZE, place(i), i * 2 * SIZE));
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    ferry_batch_destroy(batch);
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_wait(device, ticket, FERRY_FOREVER));
    for (size_t i = 0; i < COUNT; i++) {
        IS(i == 5 ? FERRY_ERROR_EXECUTION_FAILED : FERRY_OK,
           ferry_copy_to_host(b.buffer, out, SIZE, place(i)));
        if (i != 5)
            expect_bytes(out, a.bytes + i * 2 * SIZE, SIZE, "a copy");
    }
    OK(ferry_copy_from_host(a.buffer, a.bytes, ARENA, 0));
    OK(ferry_copy_from_host(b.buffer, b.bytes, ARENA, 0));
    drop_mirror(&a);
    drop_mirror(&b);
}

/* With no_kernel no list goes by a kernel, and every byte arrives. */
static void test_blocks_no_kernel(void **state)
{
    (void)state;
    struct ferry_device_params params = suite->params;
    struct ferry_device_info info;
    struct ferry_explanation told;
    params.no_kernel = true;
    ferry_device *device = open_with(NULL, &params);
    ferry_device_get_info(device, &info);
    assert_false(info.paths & 1u << FERRY_PATH_BLOCKS);
    struct mirror mirror = make_mirror(device, ARENA, FERRY_STORAGE_PRIVATE, 73);
    unsigned char *host = scribbled(ARENA, 74);
    struct ferry_block blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = (struct ferry_block){place(i) + i % 5, i * SIZE + i % 7, SIZE - i % 3};
        memcpy(mirror.bytes + blocks[i].dst_offset, host + blocks[i].src_offset, blocks[i].size);
    }
    OK(ferry_copy_blocks_from_host(mirror.buffer, host, blocks, COUNT));
    expect_mirror(&mirror);
    struct counted counted = count(device, FERRY_OPERATION_UPLOAD);
    assert_true(counted.listed == 0);
    OK(ferry_explain(device, mirror.buffer, FERRY_OPERATION_UPLOAD, NULL, SIZE, COUNT, &told));
    assert_true(told.path != FERRY_PATH_BLOCKS);
    if (told.path != FERRY_PATH_DIRECT)
        assert_non_null(strstr(told.reason, "no_kernel"));
    free(host);
    drop_mirror(&mirror);
    ferry_device_close(device);
}

/* A list for each layer, of a buffer of its own: 2048 blocks first, and then as many as there were
 * before, whatever list they are in. */
static void test_blocks_batch_layers(void **state)
{
    enum { LAYERS = 64, EACH = 128, BUFFERS = 4, BYTES = LAYERS / BUFFERS * EACH * 2 * SIZE };
    struct fixture *fixture = with_kernels(state);
    struct mirror mirrors[BUFFERS];
    ferry_batch *batch = NULL;
    void *host;
    OK(ferry_host_alloc(fixture->device, (size_t)LAYERS * EACH * SIZE, &host));
    for (size_t i = 0; i < (size_t)LAYERS * EACH * SIZE; i++)
        ((unsigned char *)host)[i] = (unsigned char)(i * 7 + i / 251);
    for (size_t i = 0; i < BUFFERS; i++)
        mirrors[i] = make_mirror(fixture->device, BYTES, FERRY_STORAGE_PRIVATE, 75);
    OK(ferry_batch_create(fixture->device, &batch));
    for (size_t layer = 0; layer < LAYERS; layer++) {
        struct mirror *mirror = &mirrors[layer % BUFFERS];
        struct ferry_block blocks[EACH];
        for (size_t i = 0; i < EACH; i++) {
            blocks[i] =
                (struct ferry_block){(layer / BUFFERS * EACH + i * 29 % EACH) * 2 * SIZE + i % 2,
                                     (layer * EACH + i) * SIZE, SIZE};
            memcpy(mirror->bytes + blocks[i].dst_offset,
                   (unsigned char *)host + blocks[i].src_offset, SIZE);
        }
        OK(ferry_batch_copy_blocks_from_host(batch, mirror->buffer, host, blocks, EACH));
    }
    const struct counted before = count(fixture->device, FERRY_OPERATION_UPLOAD);
    submit(fixture->device, batch);
    const struct counted now = count(fixture->device, FERRY_OPERATION_UPLOAD);
    assert_true(now.all - before.all == LAYERS);
    if (now.listed - before.listed == LAYERS && !suite->params.staging_budget)
        assert_true(now.submissions - before.submissions == 3);
    for (size_t i = 0; i < BUFFERS; i++) {
        expect_mirror(&mirrors[i]);
        drop_mirror(&mirrors[i]);
    }
    ferry_host_free(fixture->device, host);
}

/* Behind a list that has room for little more, another one is one command all the same. */
static void test_blocks_batch_two_kinds(void **state)
{
    struct fixture *fixture = with_kernels(state);
    struct mirror a = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 76);
    struct mirror b = make_mirror(fixture->device, ARENA, FERRY_STORAGE_PRIVATE, 76);
    unsigned char *pageable = scribbled(ARENA, 77), *want = scribbled(ARENA, 77);
    struct ferry_block blocks[COUNT];
    ferry_batch *batch = NULL;
    void *host;
    OK(ferry_host_alloc(fixture->device, ARENA, &host));
    memcpy(host, pageable, ARENA);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = (struct ferry_block){i * SIZE, place(i) + i % 2, SIZE - i % 3};
        memcpy(want + blocks[i].dst_offset, a.bytes + blocks[i].src_offset, blocks[i].size);
    }
    OK(ferry_batch_create(fixture->device, &batch));
    OK(ferry_batch_copy_blocks_to_host(batch, a.buffer, host, blocks, COUNT));
    OK(ferry_batch_copy_blocks_to_host(batch, b.buffer, pageable, blocks, COUNT));
    const struct counted before = count(fixture->device, FERRY_OPERATION_DOWNLOAD);
    submit(fixture->device, batch);
    const struct counted now = count(fixture->device, FERRY_OPERATION_DOWNLOAD);
    if (now.listed - before.listed == 2 && !suite->params.staging_budget)
        assert_true(now.commands - before.commands == 2);
    expect_bytes(host, want, ARENA, "page-locked memory");
    expect_bytes(pageable, want, ARENA, "host memory");
    expect_mirror(&b);
    ferry_host_free(fixture->device, host);
    free(pageable);
    free(want);
    drop_mirror(&a);
    drop_mirror(&b);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_blocks_batch_uploads),   SUITE_TEST(test_blocks_batch_downloads),
    SUITE_TEST(test_blocks_batch_copies),    SUITE_TEST(test_blocks_batch_in_order),
    SUITE_TEST(test_blocks_batch_lists),     SUITE_TEST(test_blocks_batch_failed),
    SUITE_TEST(test_blocks_no_kernel),       SUITE_TEST(test_blocks_batch_layers),
    SUITE_TEST(test_blocks_batch_two_kinds),
};
SUITE_GROUP(blocks_batch);
