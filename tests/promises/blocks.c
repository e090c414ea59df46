/* Scattered blocks and rows. */
#include "promises.h"

enum { SIZE = 4096, EACH = 64, COUNT = SIZE / EACH / 2 };

/* Every other place of a buffer, the host's bytes one behind the other. */
static void list_places(struct ferry_block blocks[COUNT], size_t first)
{
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = (struct ferry_block){(2 * i + first) * EACH, i * EACH, EACH};
}

static void model_upload(struct mirror *mirror, const unsigned char *host,
                         const struct ferry_block *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memcpy(mirror->bytes + blocks[i].dst_offset, host + blocks[i].src_offset, blocks[i].size);
}

/* "blocks that overlap take effect in the order listed. Sizes may differ and may be 0, offsets may be
 * any." */
static void test_blocks_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 41);
    unsigned char *host = scribbled(SIZE, 42);
    const struct ferry_block blocks[] = {{10, 0, 300},    {5, 999, 7}, {SIZE, 3, 0}, {300, 1, 33},
                                         {11, 2000, 298}, {0, 0, 0},   {12, 5, 1}};
    OK(ferry_copy_blocks_from_host(mirror.buffer, host, blocks, 7));
    model_upload(&mirror, host, blocks, 7);
    expect_mirror(&mirror);
    free(host);
    drop_mirror(&mirror);
}

/* "All of the list is checked before anything moves: a block outside its buffer is OUT_OF_RANGE, an
 * address or a sum that wraps is INVALID_ARGUMENT." */
static void test_blocks_checked_whole(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 43);
    unsigned char *host = scribbled(SIZE, 44);
    const struct ferry_block last[] = {
        {SIZE - EACH + 1, 0, EACH}, {SIZE_MAX, 0, 2}, {0, SIZE_MAX, EACH}};
    const enum ferry_status want[] = {FERRY_ERROR_OUT_OF_RANGE, FERRY_ERROR_OUT_OF_RANGE,
                                      FERRY_ERROR_INVALID_ARGUMENT};
    for (size_t i = 0; i < 3; i++) {
        struct ferry_block blocks[COUNT];
        ferry_batch *batch = NULL;
        ferry_ticket ticket = 4242;
        list_places(blocks, 0);
        blocks[COUNT - 1] = last[i];
        IS(want[i], ferry_copy_blocks_from_host(mirror.buffer, host, blocks, COUNT));
        IS(want[i], ferry_copy_blocks_from_host_async(mirror.buffer, host, blocks, COUNT, NULL,
                                                      NULL, &ticket));
        OK(ferry_batch_create(fixture->device, &batch));
        IS(want[i], ferry_batch_copy_blocks_from_host(batch, mirror.buffer, host, blocks, COUNT));
        OK(ferry_batch_submit(batch, NULL, NULL, NULL));
        ferry_batch_destroy(batch);
        assert_true(ticket == 4242);
    }
    OK(ferry_wait_idle(fixture->device));
    expect_mirror(&mirror);
    free(host);
    drop_mirror(&mirror);
}

/* "The list itself lies in host memory and is copied at the call." */
static void test_list_copied(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_device *device = queued_device();
    struct mirror mirror = make_mirror(device, SIZE, FERRY_STORAGE_PRIVATE, 45);
    unsigned char *host = scribbled(SIZE, 46);
    struct ferry_block blocks[COUNT];
    ferry_ticket ticket = 0;
    list_places(blocks, 1);
    struct ferry_external held = hold(device, mirror.buffer, FERRY_ACCESS_READ);
    OK(ferry_copy_blocks_from_host_async(mirror.buffer, host, blocks, COUNT, NULL, NULL, &ticket));
    model_upload(&mirror, host, blocks, COUNT);
    memset(blocks, 0x7E, sizeof blocks);
    release(device, &held);
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
    expect_mirror(&mirror);
    free(host);
    drop_mirror(&mirror);
    ferry_device_close(device);
}

/* "When one fails, all that it writes holds no valid data." */
static void test_list_fails(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror a = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 47);
    struct mirror b = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 48);
    struct ferry_block blocks[COUNT];
    unsigned char out[EACH];
    list_places(blocks, 0);
    struct ferry_external held = hold(fixture->device, a.buffer, FERRY_ACCESS_WRITE);
    release_failed(fixture->device, &held);
    OK(ferry_copy_from_host(a.buffer, a.bytes, EACH, 0)); /* the first block's source is well */
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_blocks(b.buffer, a.buffer, blocks, COUNT));
    for (size_t i = 0; i < COUNT; i++) {
        IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(b.buffer, out, 1, 2 * i * EACH));
        OK(ferry_copy_to_host(b.buffer, out, EACH, (2 * i + 1) * EACH));
    }
    OK(ferry_copy_from_host(a.buffer, a.bytes, SIZE, 0));
    OK(ferry_copy_from_host(b.buffer, b.bytes, SIZE, 0));
    drop_mirror(&a);
    drop_mirror(&b);
}

/* "Two lists that share no byte have no order, however their blocks interleave." */
static void test_lists_between(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 49);
    unsigned char *host = scribbled(SIZE, 50);
    struct ferry_block even[COUNT], odd[COUNT];
    struct ferry_use uses[COUNT];
    struct ferry_external work;
    ferry_ticket ticket = 0;
    list_places(even, 0);
    list_places(odd, 1);
    for (size_t i = 0; i < COUNT; i++)
        uses[i] = (struct ferry_use){mirror.buffer, FERRY_ACCESS_READ | FERRY_ACCESS_WRITE,
                                     even[i].dst_offset, EACH};
    OK(ferry_external_begin(fixture->device, uses, COUNT, &work));
    OK(ferry_copy_blocks_from_host_async(mirror.buffer, host, even, COUNT, NULL, NULL, &ticket));
    /* The others do not wait, while those do. */
    OK(ferry_copy_blocks_from_host(mirror.buffer, host, odd, COUNT));
    IS(FERRY_ERROR_TIMEOUT, ferry_wait(fixture->device, ticket, 0));
    release(fixture->device, &work);
    OK(ferry_wait(fixture->device, ticket, FERRY_FOREVER));
    model_upload(&mirror, host, even, COUNT);
    model_upload(&mirror, host, odd, COUNT);
    expect_mirror(&mirror);
    free(host);
    drop_mirror(&mirror);
}

/* "Where that is NULL they are addresses, so that one list may span several regions of host memory." */
static void test_addresses(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 51);
    unsigned char *one = scribbled(EACH, 52), *other = scribbled(EACH, 53), back[2 * EACH];
    const struct ferry_block up[] = {{7, (size_t)one, EACH}, {500, (size_t)other, EACH}};
    const struct ferry_block down[] = {{(size_t)back + EACH, 7, EACH}, {(size_t)back, 500, EACH}};
    OK(ferry_copy_blocks_from_host(mirror.buffer, NULL, up, 2));
    OK(ferry_copy_blocks_to_host(mirror.buffer, NULL, down, 2));
    expect_bytes(back + EACH, one, EACH, "the first");
    expect_bytes(back, other, EACH, "the second");
    memcpy(mirror.bytes + 7, one, EACH);
    memcpy(mirror.bytes + 500, other, EACH);
    expect_mirror(&mirror);
    free(one);
    free(other);
    drop_mirror(&mirror);
}

/* "the i-th goes from src_offset + i * src_stride to dst_offset + i * dst_stride. Strides may be
 * anything, also 0." */
static void test_rows(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, SIZE, FERRY_STORAGE_PRIVATE, 54);
    unsigned char *host = scribbled(SIZE, 55);
    static const struct ferry_rows all[] = {{9, 33, 5, 100, 1, 33},
                                            {9, 33, 2000, 10, 7, 0},
                                            {5, 10, 3000, 0, 0, 50},
                                            {0, 9, 1, 1, 1, 1}};
    for (size_t i = 0; i < 4; i++) {
        const struct ferry_rows *rows = &all[i];
        OK(ferry_copy_rows_from_host(mirror.buffer, host, rows));
        for (size_t r = 0; r < rows->rows; r++)
            memcpy(mirror.bytes + rows->dst_offset + r * rows->dst_stride,
                   host + rows->src_offset + r * rows->src_stride, rows->row_size);
        expect_mirror(&mirror);
    }
    free(host);
    drop_mirror(&mirror);
}

/* "Use kernels only for what no copy or fill command of the device can do [...] Lists of blocks then use
 * none." */
static void test_no_kernel(void **state)
{
    (void)state;
    struct ferry_device_params params = suite->params;
    struct ferry_explanation told;
    params.no_kernel = true;
    params.map_private = FERRY_MAP_NEVER;
    ferry_device *device = open_with(NULL, &params);
    OK(ferry_explain(device, NULL, FERRY_OPERATION_COPY, NULL, 4096, 1000, &told));
    assert_true(told.path != FERRY_PATH_BLOCKS && strcmp(told.engine, "kernel") != 0);
    ferry_device_close(device);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_blocks_in_order),
    SUITE_TEST(test_blocks_checked_whole),
    SUITE_TEST(test_list_copied),
    SUITE_TEST(test_list_fails),
    SUITE_TEST(test_lists_between),
    SUITE_TEST(test_addresses),
    SUITE_TEST(test_rows),
    SUITE_TEST(test_no_kernel),
};

SUITE_GROUP(scattered);
