/* Lists of blocks among other work: in batches, in order, between two devices, and failing. */
#include "lists.h"

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
        list_random(blocks, i % 4 != 3, 30 + i);
        const struct list lists[] = {{FERRY_OPERATION_UPLOAD, &a, NULL, host, blocks, MANY},
                                     {FERRY_OPERATION_COPY, &b, &a, NULL, blocks, MANY},
                                     {FERRY_OPERATION_UPLOAD, &b, NULL, host, blocks, MANY / 2}};
        OK(list_add(batch, &lists[i % 3]));
        list_model(&lists[i % 3]);
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
        OK(list_add(batch, &list));
        list_model(&list);
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
        list_random(blocks, i % 3 != 0, 50 + i);
        const struct list lists[] = {{FERRY_OPERATION_UPLOAD, &a, NULL, host[i], blocks, MANY},
                                     {FERRY_OPERATION_COPY, &b, &a, NULL, blocks, MANY},
                                     {FERRY_OPERATION_COPY, &a, &b, NULL, blocks, MANY}};
        OK(list_start(&lists[i % 3], &ticket));
        list_model(&lists[i % 3]);
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
    OK(list_start(&first, &ticket));
    list_model(&first);
    OK(list_wait(&second)); /* it would hang */
    list_model(&second);
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
        list_random(blocks, seed % 2, seed);
        const struct list list = {FERRY_OPERATION_COPY,
                                  seed % 4 < 2 ? &b : &a,
                                  seed % 4 < 2 ? &a : &b,
                                  NULL,
                                  blocks,
                                  MANY};
        list_run(ferry_buffer_device(list.dst->buffer), &list, seed % 2 ? WAIT : ASYNC);
        list_model(&list);
        expect_mirror(&a);
        expect_mirror(&b);
    }
    drop_mirror(&a);
    drop_mirror(&b);
    ferry_device_close(second);
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
        status = list_wait(&list);
    assert_int_equal(status, FERRY_ERROR_EXECUTION_FAILED);
    assert_true(ferry_last_error()[0] != 0);
    for (size_t i = 0; i < COUNT; i++) {
        IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_to_host(mirror.buffer, out, 1, 2 * i * SIZE));
        OK(ferry_copy_to_host(mirror.buffer, out, SIZE, (2 * i + 1) * SIZE));
    }
    const struct ferry_block reads[] = {{0, SIZE, 4}, {8, 2 * SIZE + 4, 4}};
    IS(FERRY_ERROR_EXECUTION_FAILED, ferry_copy_blocks_to_host(mirror.buffer, out, reads, 2));
    OK(ferry_copy_blocks_to_host(mirror.buffer, out, reads, 1));
    OK(list_wait(&list));
    list_model(&list);
    free(host);
    expect_mirror(&mirror);
    drop_mirror(&mirror);
    ferry_device_close(device);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_blocks_batch),       SUITE_TEST(test_blocks_batch_again),
    SUITE_TEST(test_blocks_order),       SUITE_TEST(test_blocks_interleaved),
    SUITE_TEST(test_blocks_two_devices), SUITE_TEST(test_blocks_failures),
};
SUITE_GROUP(block_order);
