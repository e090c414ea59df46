#include "support.h"

/* Batches of a server's size, and sizes that need more than 32 bits. */

enum { MOST = 512 };

static const struct {
    uint32_t count;
    size_t size;
} batches[] = {{8, 4096}, {64, 4096}, {512, 4096}, {8, 262144}, {64, 262144}, {512, 262144}};

static TRITONBACKEND_Request *requests[MOST];
static TRITONBACKEND_Response *responses[MOST];
static TRITONSERVER_Error *errors[MOST];
static struct ferry_triton_span spans[MOST];
static struct ferry_triton_part parts[MOST];
static uint8_t *places[MOST];

static TRITONSERVER_Error *give(TRITONSERVER_ResponseAllocator *allocator, const char *name,
                                size_t size, TRITONSERVER_MemoryType type, int64_t id, void *userp,
                                void **buffer, void **buffer_userp,
                                TRITONSERVER_MemoryType *actual_type, int64_t *actual_id)
{
    (void)allocator;
    (void)name;
    (void)type;
    (void)id;
    uint8_t **place = userp;
    *buffer = *place = malloc(size);
    *buffer_userp = NULL;
    *actual_type = TRITONSERVER_MEMORY_CPU;
    *actual_id = 0;
    return NULL;
}

static TRITONSERVER_Error *take_back(TRITONSERVER_ResponseAllocator *allocator, void *buffer,
                                     void *buffer_userp, size_t size, TRITONSERVER_MemoryType type,
                                     int64_t id)
{
    (void)allocator;
    (void)buffer_userp;
    (void)size;
    (void)type;
    (void)id;
    free(buffer);
    return NULL;
}

static void make_requests(TRITONSERVER_ResponseAllocator *allocator, const uint8_t *bytes,
                          uint32_t count, size_t size)
{
    static const int64_t shape[] = {1};
    for (uint32_t i = 0; i < count; i++) {
        TRITONSERVER_InferenceRequest *made = make_request();
        add_input(made, "x");
        add_data(made, "x", bytes + i * size, size);
        succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(made, "y"));
        succeed(TRITONSERVER_InferenceRequestSetResponseCallback(made, allocator, &places[i],
                                                                 drop_response, NULL));
        requests[i] = standin_hand_over(made);
        succeed(TRITONBACKEND_ResponseNew(&responses[i], requests[i]));
        parts[i] = (struct ferry_triton_part){shape, 1, i * size, size};
    }
}

/* What one call may submit: once, and once more for each time that its batch was split because it
 * is larger than the staging budget. */
static void wait_for_one(ferry_ticket ticket, const struct ferry_stats *before, size_t bytes)
{
    struct ferry_stats after;
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
    ferry_device_get_stats(device, &after, sizeof after);
    const uint64_t splits = after.batch_splits - before->batch_splits;
    assert_int_equal(after.submissions - before->submissions, 1 + splits);
    if (bytes <= 16 << 20)
        assert_int_equal(splits, 0);
    assert_int_equal(after.batches - before->batches, 1);
}

static void one_submission_however_many(void **state)
{
    TRITONSERVER_ResponseAllocator *allocator = NULL;
    const size_t most = (size_t)MOST * 262144;
    struct ferry_stats before;
    ferry_ticket ticket;
    (void)state;
    succeed(TRITONSERVER_ResponseAllocatorNew(&allocator, give, take_back, NULL));
    uint8_t *bytes = make_bytes(most, 1);
    ferry_buffer *buffer = make_buffer(device, most);
    for (size_t b = 0; b < COUNT(batches); b++) {
        const uint32_t count = batches[b].count;
        const size_t size = batches[b].size;
        const struct ferry_triton_input input = {.name = "x", .dst = buffer};
        const struct ferry_triton_output output = {
            .name = "y", .datatype = TRITONSERVER_TYPE_UINT8, .src = buffer, .parts = parts};
        make_requests(allocator, bytes, count, size);
        ferry_device_get_stats(device, &before, sizeof before);
        succeed(ferry_triton_gather(device, requests, count, &input, 1, spans, errors, NULL, NULL,
                                    &ticket));
        wait_for_one(ticket, &before, count * size);
        ferry_device_get_stats(device, &before, sizeof before);
        succeed(ferry_triton_scatter(device, requests, responses, count, &output, 1, errors, NULL,
                                     NULL, &ticket));
        wait_for_one(ticket, &before, count * size);
        for (uint32_t i = 0; i < count; i++) {
            assert_null(errors[i]);
            assert_memory_equal(places[i], bytes + i * size, size);
            succeed(TRITONBACKEND_ResponseSend(responses[i], TRITONSERVER_RESPONSE_COMPLETE_FINAL,
                                               NULL));
            succeed(TRITONBACKEND_RequestRelease(requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
        }
        standin_reset();
    }
    ferry_buffer_destroy(buffer);
    free(bytes);
    succeed(TRITONSERVER_ResponseAllocatorDelete(allocator));
}

/* Two inputs of each request in one buffer, and zeros between the parts of the second. *out_uploads:
 * as how many operations their count of parts with bytes went up. */
static void gather_two(const size_t *sizes, size_t size_count, size_t *out_parts,
                       uint64_t *out_uploads)
{
    enum { N = 300, STRIDE = 101, SECOND = 13 << 20, ROOM = SECOND + N * STRIDE + 5 };
    static struct ferry_triton_span both[2 * N];
    struct ferry_stats before, after;
    ferry_ticket ticket;
    uint8_t *bytes = make_bytes(300000, 7), *wanted = calloc(1, ROOM), *got = malloc(ROOM);
    ferry_buffer *buffer = make_buffer(device, ROOM);
    const struct ferry_triton_input inputs[] = {
        {.name = "a", .dst = buffer, .offset = 3},
        {.name = "b", .dst = buffer, .offset = SECOND, .stride = STRIDE},
    };
    size_t at = 3;
    *out_parts = 0;
    for (size_t i = 0; i < N; i++) {
        const size_t size = sizes[i % size_count];
        TRITONSERVER_InferenceRequest *made = make_request();
        add_input(made, "a");
        add_data(made, "a", bytes + i, size);
        add_input(made, "b");
        add_data(made, "b", bytes + 2 * i, 1 + i % STRIDE);
        requests[i] = standin_hand_over(made);
        memcpy(wanted + at, bytes + i, size);
        memcpy(wanted + SECOND + i * STRIDE, bytes + 2 * i, 1 + i % STRIDE);
        at += size;
        *out_parts += (size > 0) + 1;
    }
    assert_true(at < SECOND);
    ferry_device_get_stats(device, &before, sizeof before);
    succeed(ferry_triton_gather(device, requests, N, inputs, 2, both, errors, NULL, NULL, &ticket));
    wait_for_one(ticket, &before, at + N * STRIDE);
    ferry_device_get_stats(device, &after, sizeof after);
    *out_uploads = 0;
    for (size_t path = 0; path < FERRY_PATHS_MAX; path++)
        *out_uploads += after.operations[FERRY_OPERATION_UPLOAD][path].operations -
                        before.operations[FERRY_OPERATION_UPLOAD][path].operations;
    assert_int_equal(ferry_copy_to_host(buffer, got, ROOM, 0), FERRY_OK);
    assert_memory_equal(got, wanted, ROOM);
    for (size_t i = 0; i < N; i++) {
        assert_null(errors[i]);
        succeed(TRITONBACKEND_RequestRelease(requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
    }
    standin_reset();
    ferry_buffer_destroy(buffer);
    free(bytes);
    free(wanted);
    free(got);
}

/* Short parts of one buffer go as one list; where some are long, or all together are, each goes by
 * itself: still one submission. */
static void short_and_long(void **state)
{
    static const size_t small[] = {4096, 0, 1, 33, 4097, 31, 100, 5001};
    static const size_t large[] = {4096, 65536, 65537, 0, 1, 33, 4097, 200000};
    size_t count = 0;
    uint64_t uploads = 0;
    (void)state;
    gather_two(small, COUNT(small), &count, &uploads);
    assert_int_equal(uploads, 1);
    gather_two(large, COUNT(large), &count, &uploads);
    assert_int_equal(uploads, count);
}

/* Sums beyond 4 GiB are what they are. */
static void sizes_of_64_bits(void **state)
{
    const size_t each = (size_t)3 << 30;
    size_t size = 0;
    (void)state;
    for (int i = 0; i < 2; i++) {
        TRITONSERVER_InferenceRequest *made = make_request();
        add_input(made, "x");
        add_data(made, "x", "abc", 3);
        requests[i] = standin_hand_over(made);
        standin_claim_size(requests[i], "x", each);
    }
    const struct ferry_triton_input input = {.name = "x", .align = 4096};
    succeed(ferry_triton_gather_size(requests, 2, &input, &size));
    assert_true(size == 2 * each);
    for (int i = 0; i < 2; i++)
        finish_request(requests[i]);
}

/* Parts behind the first 4 GiB of a buffer, of which few pages are touched. */
static void offsets_of_64_bits(void **state)
{
    enum { N = 3 };
    const size_t slot = (size_t)2 << 30;
    ferry_buffer *dst = NULL;
    ferry_ticket ticket;
    uint8_t got[5];
    (void)state;
    const enum ferry_status status = ferry_buffer_create(
        device, &(struct ferry_buffer_params){.size = 2 * slot + 64, .label = "large"}, &dst);
    if (status)
        fail_msg("%s", ferry_last_error());
    for (int i = 0; i < N; i++) {
        TRITONSERVER_InferenceRequest *made = make_request();
        add_input(made, "x");
        add_data(made, "x", &"abcdefghijklmno"[5 * i], 5);
        requests[i] = standin_hand_over(made);
    }
    const struct ferry_triton_input input = {.name = "x", .dst = dst, .offset = 7, .align = slot};
    succeed(
        ferry_triton_gather(device, requests, N, &input, 1, spans, errors, NULL, NULL, &ticket));
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
    assert_null(errors[0]);
    assert_null(errors[1]);
    expect_error(errors[2], TRITONSERVER_ERROR_INVALID_ARG, "5 bytes at offset 6442450944");
    assert_true(spans[1].offset == 2 * slot);
    assert_int_equal(ferry_copy_to_host(dst, got, 5, 2 * slot), FERRY_OK);
    assert_memory_equal(got, "fghij", 5);
    for (int i = 0; i < N; i++)
        finish_request(requests[i]);
    ferry_buffer_destroy(dst);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(one_submission_however_many), TEST(short_and_long),
                                       TEST(sizes_of_64_bits), TEST(offsets_of_64_bits)};
    return cmocka_run_group_tests(tests, open_device, close_device);
}
