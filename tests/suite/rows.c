/* Rows of a matrix, of any strides: what their blocks would do one after another. */
#include "lists.h"

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
            list_model(&lists[l]);
        }
        expect_mirror(&a);
        expect_mirror(&b);
    }
    drop_mirror(&a);
    drop_mirror(&b);
    drop_twin(&twin);
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

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_blocks_rows),
    SUITE_TEST(test_blocks_row_arguments),
};
SUITE_GROUP(rows);
