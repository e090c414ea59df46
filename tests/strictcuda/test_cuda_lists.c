/* Copies by a list: the kernel's text as C, over every phase of both sides; and launches that break
 * the rules of the strict CUDA. */
#include "client.h"

#include <string.h>

static unsigned long long thread_number;
#define KERNEL static __attribute__((unused)) void
#define LIST_KERNEL static void
#define DEVICE static
#define THREAD_OF(group) thread_number
#include "drivers/cuda/kernel.cu"

static const char ptx[] =
#include "drivers/cuda/kernel.inc"
    ;

/* --- the kernel's text ------------------------------------------------------------------------- */

enum { PHASES = 16, LENGTH_MAX = 80, ROOM = 24 << 10, WARPS = 2 };

static _Alignas(16) unsigned char src[ROOM], dst[ROOM], want[ROOM];

static void run(const struct cuda_piece *pieces, unsigned count, unsigned warps, unsigned shares)
{
    const struct cuda_list_arguments arguments = {(unsigned long long)(uintptr_t)dst,
                                                  (unsigned long long)(uintptr_t)src,
                                                  (unsigned long long)(uintptr_t)pieces,
                                                  count,
                                                  warps,
                                                  shares};
    for (thread_number = warps * CUDA__WARP; thread_number-- > 0;)
        ferry_list(arguments);
}

/* Whole, and in any number of shares. */
static void check(const struct cuda_piece *pieces, unsigned count, unsigned warps)
{
    static const unsigned shares[] = {1, 2, 3, 64};
    memset(want, 0xEE, ROOM);
    for (unsigned i = 0; i < count; i++)
        memcpy(want + pieces[i].dst, src + pieces[i].src, pieces[i].size);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        memset(dst, 0xEE, ROOM);
        run(pieces, count, warps, shares[i]);
        if (memcmp(dst, want, ROOM))
            fail_msg("%u pieces in %u shares, the first %u bytes from %llu to %llu", count,
                     shares[i], pieces[0].size, pieces[0].src, pieces[0].dst);
    }
}

static void number_source(void)
{
    for (unsigned i = 0; i < ROOM; i++)
        src[i] = (unsigned char)(i * 37 + i / 251 + 11);
}

static void test_phases(void **unused)
{
    (void)unused;
    static const unsigned longer[] = {511, 512, 513, 1024, 1111, 2048, 4096, 4111, 8192, 8225};
    number_source();
    for (unsigned to = 0; to < PHASES; to++)
        for (unsigned from = 0; from < PHASES; from++) {
            for (unsigned size = 1; size <= LENGTH_MAX; size++)
                check(&(struct cuda_piece){32 + to, 48 + from, size, 0}, 1, 1);
            for (size_t i = 0; i < sizeof longer / sizeof *longer; i++)
                check(&(struct cuda_piece){32 + to, 48 + from, longer[i], 0}, 1, WARPS);
        }
}

/* Every number of pieces around the number of warps, each piece taken once. */
static void test_counts(void **unused)
{
    (void)unused;
    struct cuda_piece pieces[70];
    number_source();
    for (unsigned i = 0; i < 70; i++)
        pieces[i] =
            (struct cuda_piece){i * 131 + i % 16, (69 - i) * 140 + i % 7, 1 + i * 97 % 113, 0};
    for (unsigned count = 1; count <= 70; count++)
        for (unsigned warps = 1; warps <= 64; warps *= 2)
            check(pieces, count, warps);
}

/* --- launches ---------------------------------------------------------------------------------- */

struct launch {
    struct client c;
    cu_module module;
    cu_function list;
    struct cuda_piece *pieces;
    struct cuda_list_arguments arguments;
};

static struct launch begin(const char *options)
{
    struct launch l = {.c = client_begin(options)};
    void *pieces;
    assert_int_equal(l.c.cu.ModuleLoadDataEx(&l.module, ptx, 0, NULL, NULL), CU_SUCCESS);
    assert_int_equal(l.c.cu.ModuleGetFunction(&l.list, l.module, "ferry_list"), CU_SUCCESS);
    assert_int_equal(l.c.cu.MemHostAlloc(&pieces, 4096, CU_HOST_ALLOC_DEVICE_MAP), CU_SUCCESS);
    l.pieces = pieces;
    l.pieces[0] = (struct cuda_piece){3, 100, 50, 0};
    l.pieces[1] = (struct cuda_piece){53, 20, 33, 0};
    l.arguments = (struct cuda_list_arguments){
        l.c.memory, client_address(l.c.host), client_address(pieces), 2, 32, 1};
    return l;
}

static cu_result launch(struct launch *l, unsigned groups, unsigned threads)
{
    void *parameters[] = {&l->arguments};
    return l->c.cu.LaunchKernel(l->list, groups, 1, 1, threads, 1, 1, 0, l->c.stream, parameters,
                                NULL);
}

static void end(struct launch *l)
{
    client_finish(&l->c);
    assert_int_equal(l->c.cu.MemFreeHost(l->pieces), CU_SUCCESS);
    assert_int_equal(l->c.cu.ModuleUnload(l->module), CU_SUCCESS);
    client_end(&l->c);
}

static void test_launch(void **unused)
{
    (void)unused;
    struct launch l = begin("");
    unsigned char *host = l.c.host;
    for (unsigned i = 0; i < 200; i++)
        host[i] = (unsigned char)(i + 1);
    assert_int_equal(launch(&l, 1, CUDA__LIST_GROUP), CU_SUCCESS);
    client_finish(&l.c);
    const unsigned char *bytes = strictcuda_bytes(l.c.memory);
    assert_memory_equal(bytes + 3, host + 100, 50);
    assert_memory_equal(bytes + 53, host + 20, 33);
    assert_broken(0, 0);
    end(&l);
}

static void test_launches_that_are_wrong(void **unused)
{
    (void)unused;
    struct launch l = begin("");
    assert_int_equal(launch(&l, 1, 256), CU_ERROR_INVALID_VALUE);
    assert_int_equal(launch(&l, 2, CUDA__LIST_GROUP), CU_ERROR_INVALID_VALUE); /* 64 warps */
    l.arguments.warps = 6 * 32;
    assert_int_equal(launch(&l, 6, CUDA__LIST_GROUP), CU_ERROR_INVALID_VALUE); /* of 40 units */
    l.arguments.warps = 32;
    l.pieces[1].size = 0;
    assert_int_equal(launch(&l, 1, CUDA__LIST_GROUP), CU_ERROR_INVALID_VALUE);
    l.pieces[1].size = 33;
    assert_broken(STRICTCUDA_LAUNCH, 4);
    l.pieces[1].dst = SIZE - 32;
    assert_int_equal(launch(&l, 1, CUDA__LIST_GROUP), CU_ERROR_INVALID_VALUE);
    l.pieces[1].dst = 53;
    assert_true(strictcuda_breaches(STRICTCUDA_RANGE) == 1);
    strictcuda_forget();
    end(&l);
}

/* Pieces that touch each other, and lists that do. Beside each other there is no order to keep. */
static void test_pieces_that_race(void **unused)
{
    (void)unused;
    struct launch l = begin("");
    l.pieces[1].dst = 52;
    assert_int_equal(launch(&l, 1, CUDA__LIST_GROUP), CU_SUCCESS);
    assert_broken(STRICTCUDA_RACE, 1);
    client_finish(&l.c);
    l.pieces[1].dst = 100; /* between the two */
    cu_stream other;
    assert_int_equal(l.c.cu.StreamCreate(&other, CU_STREAM_DOES_NOT_BLOCK), CU_SUCCESS);
    strictcuda_pause(true);
    assert_int_equal(launch(&l, 1, CUDA__LIST_GROUP), CU_SUCCESS);
    assert_int_equal(l.c.cu.MemsetD8Async(l.c.memory + 53, 1, 47, other), CU_SUCCESS);
    assert_broken(0, 0);
    assert_int_equal(l.c.cu.MemsetD8Async(l.c.memory + 60, 1, 41, other), CU_SUCCESS);
    assert_broken(STRICTCUDA_RACE, 1);
    strictcuda_pause(false);
    client_finish(&l.c);
    while (l.c.cu.StreamQuery(other))
        ;
    assert_int_equal(l.c.cu.StreamDestroy(other), CU_SUCCESS);
    end(&l);
}

static void test_list_that_changes(void **unused)
{
    (void)unused;
    struct launch l = begin("");
    strictcuda_pause(true);
    assert_int_equal(launch(&l, 1, CUDA__LIST_GROUP), CU_SUCCESS);
    l.pieces[0].size = 49;
    strictcuda_pause(false);
    client_finish(&l.c);
    assert_broken(STRICTCUDA_LAUNCH, 1);
    end(&l);
}

/* --- through the driver ------------------------------------------------------------------------ */

extern const struct ferry__driver ferry__cuda_driver;
static const struct ferry__driver *const driver = &ferry__cuda_driver;

enum { BLOCKS = 300, SPACE = 64 << 10 };

struct world {
    void *state;
    struct ferry__limits limits;
    struct ferry__memory up, down, list, arena;
    uint64_t values[FERRY__QUEUES_MAX];
    char why[FERRY__WHY_MAX];
};

static struct ferry__memory get(struct world *w, enum ferry__memory_kind kind)
{
    struct ferry__memory memory = {0};
    if (driver->memory_alloc(w->state, kind, SPACE, "test", &memory, w->why))
        fail_msg("%s", w->why);
    return memory;
}

static struct ferry__command list_of(struct world *w, const struct ferry__memory *to,
                                     const struct ferry__memory *from, uint64_t bytes)
{
    return (struct ferry__command){
        .kind = FERRY__BLOCKS,
        .engine = FERRY__ENGINE_KERNEL,
        .dst = to,
        .src = from,
        .size = bytes,
        .list = {.memory = &w->list, .count = BLOCKS, .dst_span = SPACE, .src_span = SPACE},
    };
}

/* The entries have offsets, which become addresses. */
static void address_list(struct ferry__block_entry *list, uint32_t count,
                         const struct ferry__memory *to, const struct ferry__memory *from)
{
    for (uint32_t i = 0; i < count; i++) {
        list[i].dst += driver->address(to);
        list[i].src += driver->address(from);
    }
}

static void submit(struct world *w, unsigned queue, const struct ferry__command *commands,
                   size_t count)
{
    struct ferry__result result = {0};
    const struct ferry__submission_info info = {.queue = queue,
                                                .commands = commands,
                                                .count = count,
                                                .value = ++w->values[queue],
                                                .result = &result};
    if (driver->submit(w->state, &info, w->why))
        fail_msg("%s", w->why);
    const struct ferry_sync point = {w->limits.queues[queue].event, info.value};
    while (driver->completed(w->state, point.event) < point.value)
        driver->wait_any(w->state, &point, 1, UINT64_MAX);
    assert_int_equal(result.status, FERRY_OK);
}

static void submit_list(struct world *w, unsigned queue, const struct ferry__memory *to,
                        const struct ferry__memory *from, uint64_t bytes)
{
    struct ferry__block_entry *list = (struct ferry__block_entry *)(void *)w->list.host;
    struct ferry__block_entry kept[BLOCKS];
    const struct ferry__command command = list_of(w, to, from, bytes);
    memcpy(kept, list, sizeof kept);
    address_list(list, BLOCKS, to, from);
    submit(w, queue, &command, 1);
    memcpy(list, kept, sizeof kept);
}

static struct world open_world(void)
{
    struct world w = {0};
    setenv("STRICTCUDA", "", 1);
    assert_int_equal(driver->open(&(struct ferry__open_params){0}, &w.state, &w.limits, w.why),
                     FERRY_OK);
    w.up = get(&w, FERRY__MEMORY_UPLOAD);
    w.down = get(&w, FERRY__MEMORY_READBACK);
    w.list = get(&w, FERRY__MEMORY_UPLOAD);
    w.arena = get(&w, FERRY__MEMORY_PRIVATE);
    for (unsigned i = 0; i < SPACE; i++)
        w.up.host[i] = (unsigned char)(i * 37 + i / 251 + 11);
    memset(w.down.host, 0xEE, SPACE);
    return w;
}

static void close_world(struct world *w)
{
    driver->memory_free(w->state, &w->up);
    driver->memory_free(w->state, &w->down);
    driver->memory_free(w->state, &w->list);
    driver->memory_free(w->state, &w->arena);
    driver->close(w->state);
}

/* Odd blocks scattered into an arena, moved within it, and gathered again. */
static void test_driver(void **unused)
{
    (void)unused;
    struct world w = open_world();
    assert_true(w.limits.blocks_max >= BLOCKS && w.limits.block_size_max >= 4096);
    for (uint32_t q = 0; q < w.limits.queue_count; q++)
        assert_true(w.limits.queues[q].roles & FERRY__ROLE_KERNEL);
    assert_true(w.up.by_list && w.down.by_list && !w.arena.no_kernel);
    struct ferry__block_entry *list = (struct ferry__block_entry *)(void *)w.list.host;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        list[i] = (struct ferry__block_entry){i * 100 + i % 9, (BLOCKS - 1 - i) * 101 + i % 5,
                                              1 + i * 7 % 90, 0};
        bytes += list[i].size;
    }
    submit_list(&w, 0, &w.arena, &w.up, bytes);
    for (uint32_t i = 0; i < BLOCKS; i++) { /* in the arena, and back to where they were */
        const uint64_t at = list[i].src;
        list[i].src = list[i].dst;
        list[i].dst = SPACE / 2 + at;
    }
    submit_list(&w, w.limits.queue_count - 1, &w.arena, &w.arena, bytes);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        list[i].src = list[i].dst;
        list[i].dst -= SPACE / 2;
    }
    submit_list(&w, w.limits.queue_count > 1, &w.down, &w.arena, bytes);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        assert_memory_equal(w.down.host + list[i].dst, w.up.host + list[i].dst, list[i].size);
        memset(w.down.host + list[i].dst, 0xEE, list[i].size);
    }
    for (unsigned i = 0; i < SPACE; i++)
        assert_int_equal(w.down.host[i], 0xEE); /* and nothing else was written */
    close_world(&w);
}

enum { LISTS = 6, EACH = 7, LENGTH = 60 };

/* Six lists of seven blocks end to end, each into a buffer of its own; and one gap, barrier or other
 * direction that keeps two of them apart. How many launches. */
static uint64_t launches_of(struct world *w, bool barrier, bool gap, bool inside)
{
    struct ferry__memory buffers[LISTS];
    struct ferry__command commands[LISTS];
    struct ferry__block_entry *list = (struct ferry__block_entry *)(void *)w->list.host;
    for (uint32_t l = 0; l < LISTS; l++) {
        const bool moved = l >= LISTS / 2;
        const struct ferry__memory *from = inside && moved ? &w->arena : &w->up;
        const uint32_t first = l * EACH + (gap && moved);
        buffers[l] = get(w, FERRY__MEMORY_PRIVATE);
        commands[l] = list_of(w, &buffers[l], from, (uint64_t)EACH * LENGTH);
        commands[l].list.count = EACH;
        commands[l].list.offset = first * sizeof *list;
        commands[l].barrier = barrier && l == LISTS / 2;
        for (uint32_t i = 0; i < EACH; i++)
            list[first + i] =
                (struct ferry__block_entry){l + i * 200, (l * EACH + i) * LENGTH, LENGTH, 0};
        address_list(list + first, EACH, &buffers[l], from);
    }
    const uint64_t before = strictcuda_calls("cuLaunchKernel");
    submit(w, 0, commands, LISTS);
    const uint64_t launches = strictcuda_calls("cuLaunchKernel") - before;
    for (uint32_t l = 0; l < LISTS; l++) {
        const unsigned char *bytes = strictcuda_bytes(driver->address(&buffers[l]));
        for (uint32_t i = 0; i < EACH && !inside; i++)
            assert_memory_equal(bytes + l + i * (size_t)200,
                                w->up.host + (l * EACH + i) * (size_t)LENGTH, LENGTH);
        driver->memory_free(w->state, &buffers[l]);
    }
    return launches;
}

static void test_lists_end_to_end(void **unused)
{
    (void)unused;
    struct world w = open_world();
    assert_int_equal(launches_of(&w, false, false, false), 1);
    assert_int_equal(launches_of(&w, true, false, false), 2);
    assert_int_equal(launches_of(&w, false, true, false), 2);
    assert_int_equal(launches_of(&w, false, false, true), 2); /* other units are for those */
    close_world(&w);
}

/* --- through the library ----------------------------------------------------------------------- */

enum { LAYERS = 60, LAYER_BLOCKS = 100, LAYER = 64 << 10, BLOCK_MAX = 96 };

/* A layer's blocks, at odd places of its buffer, and one behind the other in what all share. */
static void list_layer(struct ferry_block *blocks, size_t layer, bool up)
{
    for (size_t i = 0; i < LAYER_BLOCKS; i++) {
        const size_t place = i * 37 % LAYER_BLOCKS * 600 + i % 5 + layer % 3;
        const size_t slot = (layer * LAYER_BLOCKS + i) * BLOCK_MAX;
        blocks[i] = (struct ferry_block){up ? place : slot, up ? slot : place, BLOCK_MAX - i % 4};
    }
}

struct layers {
    ferry_device *device;
    ferry_buffer *buffers[LAYERS], *arena;
    unsigned char *host;
};

/* A batch with a list for each layer, to or from what they share: how many launches it takes. */
static uint64_t move_layers(struct layers *layers, enum ferry_operation operation)
{
    struct ferry_block blocks[LAYER_BLOCKS];
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    const uint64_t before = strictcuda_calls("cuLaunchKernel");
    assert_int_equal(ferry_batch_create(layers->device, &batch), FERRY_OK);
    for (size_t i = 0; i < LAYERS; i++) {
        enum ferry_status status;
        list_layer(blocks, i, operation == FERRY_OPERATION_UPLOAD);
        if (operation == FERRY_OPERATION_UPLOAD)
            status = ferry_batch_copy_blocks_from_host(batch, layers->buffers[i], layers->host,
                                                       blocks, LAYER_BLOCKS);
        else if (operation == FERRY_OPERATION_DOWNLOAD)
            status = ferry_batch_copy_blocks_to_host(batch, layers->buffers[i], layers->host,
                                                     blocks, LAYER_BLOCKS);
        else
            status = ferry_batch_copy_blocks(batch, layers->arena, layers->buffers[i], blocks,
                                             LAYER_BLOCKS);
        assert_int_equal(status, FERRY_OK);
    }
    assert_int_equal(ferry_batch_submit(batch, NULL, NULL, &ticket), FERRY_OK);
    assert_int_equal(ferry_wait(layers->device, ticket, FERRY_FOREVER), FERRY_OK);
    ferry_batch_destroy(batch);
    return strictcuda_calls("cuLaunchKernel") - before;
}

/* What came back is what went, block by block, and nothing else of the host's memory has changed. */
static void expect_layers(const unsigned char *host, const unsigned char *want)
{
    for (size_t at = 0; at < (size_t)LAYERS * LAYER_BLOCKS * BLOCK_MAX; at++) {
        const size_t i = at / BLOCK_MAX % LAYER_BLOCKS;
        const bool moved = at % BLOCK_MAX < BLOCK_MAX - i % 4;
        assert_int_equal(host[at], moved ? want[at] : 0xEE);
    }
}

/* A buffer for each layer: 2048 blocks first, and then as many as went before, whatever buffers they
 * are in. */
static void test_layers(void **unused)
{
    (void)unused;
    enum { BYTES = LAYERS * LAYER_BLOCKS * BLOCK_MAX };
    struct layers layers = {0};
    unsigned char *const want = malloc(BYTES);
    void *host = NULL;
    setenv("STRICTCUDA", "", 1);
    assert_non_null(want);
    assert_int_equal(
        ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &layers.device), FERRY_OK);
    for (size_t i = 0; i < LAYERS + 1; i++)
        assert_int_equal(
            ferry_buffer_create(layers.device,
                                &(struct ferry_buffer_params){.size = i < LAYERS ? LAYER : BYTES},
                                i < LAYERS ? &layers.buffers[i] : &layers.arena),
            FERRY_OK);
    assert_int_equal(ferry_host_alloc(layers.device, BYTES, &host), FERRY_OK);
    layers.host = host;
    for (size_t i = 0; i < BYTES; i++)
        layers.host[i] = want[i] = (unsigned char)(i * 37 + i / 251 + 11);
    assert_int_equal(move_layers(&layers, FERRY_OPERATION_UPLOAD), 3);
    memset(layers.host, 0xEE, BYTES);
    assert_int_equal(move_layers(&layers, FERRY_OPERATION_DOWNLOAD), 3);
    expect_layers(layers.host, want);
    assert_int_equal(move_layers(&layers, FERRY_OPERATION_COPY), 3);
    assert_int_equal(ferry_copy_to_host(layers.arena, layers.host, BYTES, 0), FERRY_OK);
    for (size_t i = 0; i < BYTES; i++)
        if (i % BLOCK_MAX >= BLOCK_MAX - i / BLOCK_MAX % LAYER_BLOCKS % 4)
            layers.host[i] = 0xEE; /* nothing was written there */
    expect_layers(layers.host, want);
    ferry_host_free(layers.device, host);
    for (size_t i = 0; i < LAYERS; i++)
        ferry_buffer_destroy(layers.buffers[i]);
    ferry_buffer_destroy(layers.arena);
    ferry_device_close(layers.device);
    free(want);
}

/* Blocks of any memory that lie end to end in the buffer, in the order listed, are one copy; with a
 * gap, or in another order, they are a launch. */
static void test_end_to_end(void **unused)
{
    (void)unused;
    enum { N = 40, EACH = 1001 };
    static unsigned char from[2 * N * EACH], to[2 * N * EACH];
    struct ferry_block up[N], down[N];
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    setenv("STRICTCUDA", "", 1);
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &device),
                     FERRY_OK);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 2 * N * EACH}, &buffer),
        FERRY_OK);
    for (int how = 0; how < 3; how++) {
        for (size_t i = 0; i < N; i++) {
            const size_t at = (how == 2 ? N - 1 - i : i) * EACH + (how == 1 && i > 5) + 3;
            up[i] = (struct ferry_block){at, 2 * i * EACH, EACH};
            down[i] = (struct ferry_block){2 * i * EACH, at, EACH};
        }
        for (size_t i = 0; i < sizeof from; i++)
            from[i] = (unsigned char)(i * 31 + i / 251 + (size_t)how);
        memset(to, 0, sizeof to);
        const uint64_t before = strictcuda_calls("cuLaunchKernel");
        const uint64_t copies = strictcuda_calls("cuMemcpyAsync");
        assert_int_equal(ferry_copy_blocks_from_host(buffer, from, up, N), FERRY_OK);
        assert_int_equal(ferry_copy_blocks_to_host(buffer, to, down, N), FERRY_OK);
        assert_int_equal(strictcuda_calls("cuLaunchKernel") - before, how ? 2 : 0);
        assert_int_equal(strictcuda_calls("cuMemcpyAsync") - copies, how ? 0 : 2);
        for (size_t i = 0; i < N; i++)
            assert_memory_equal(to + 2 * i * EACH, from + 2 * i * EACH, EACH);
    }
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

/* Long blocks within the device, at odd places, are shared out: none of their bytes is left. */
static void test_shares(void **unused)
{
    (void)unused;
    enum { N = 5, EACH = 70001, ROW = 3 * EACH };
    unsigned char *bytes = malloc(N * ROW), *got = calloc(1, N * ROW);
    struct ferry_block blocks[N];
    ferry_device *device = NULL;
    ferry_buffer *to = NULL, *from = NULL;
    const struct ferry_buffer_params params = {.size = N * ROW};
    setenv("STRICTCUDA", "", 1);
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &device),
                     FERRY_OK);
    assert_int_equal(ferry_buffer_create(device, &params, &to), FERRY_OK);
    assert_int_equal(ferry_buffer_create(device, &params, &from), FERRY_OK);
    for (size_t i = 0; i < N * ROW; i++)
        bytes[i] = (unsigned char)(i * 29 + i / 253 + 1);
    for (size_t i = 0; i < N; i++)
        blocks[i] = (struct ferry_block){i * ROW + 3 * i, i * ROW + 7 + i, EACH + i * EACH / N};
    assert_int_equal(ferry_copy_from_host(from, bytes, N * ROW, 0), FERRY_OK);
    assert_int_equal(ferry_zero_buffer(to), FERRY_OK);
    assert_int_equal(ferry_copy_blocks(to, from, blocks, N), FERRY_OK);
    assert_int_equal(ferry_copy_to_host(to, got, N * ROW, 0), FERRY_OK);
    for (size_t i = 0, end = 0; i < N; i++) {
        for (; end < blocks[i].dst_offset; end++)
            assert_int_equal(got[end], 0);
        assert_memory_equal(got + end, bytes + blocks[i].src_offset, blocks[i].size);
        end += blocks[i].size;
    }
    ferry_buffer_destroy(to);
    ferry_buffer_destroy(from);
    ferry_device_close(device);
    free(bytes);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases),           cmocka_unit_test(test_counts),
        cmocka_unit_test(test_launch),           cmocka_unit_test(test_launches_that_are_wrong),
        cmocka_unit_test(test_pieces_that_race), cmocka_unit_test(test_list_that_changes),
        cmocka_unit_test(test_driver),           cmocka_unit_test(test_lists_end_to_end),
        cmocka_unit_test(test_layers),           cmocka_unit_test(test_end_to_end),
        cmocka_unit_test(test_shares),
    };
    return cmocka_run_group_tests_name("lists on strict CUDA", tests, NULL, NULL);
}
