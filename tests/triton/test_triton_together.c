#include "support.h"

/* Gather, what the caller puts between, and scatter as one submission, with one wait. */

enum { REQUESTS = 20, SIZE = 4097 };

static const int64_t shape[] = {SIZE};

/* Where an output goes: a handle, or, without one, bytes. */
struct place {
    void *handle;
    uint8_t bytes[SIZE];
};

static TRITONSERVER_ResponseAllocator *allocator;

static TRITONSERVER_Error *give(TRITONSERVER_ResponseAllocator *of, const char *name, size_t size,
                                TRITONSERVER_MemoryType type, int64_t id, void *userp,
                                void **buffer, void **buffer_userp,
                                TRITONSERVER_MemoryType *actual_type, int64_t *actual_id)
{
    struct place *place = userp;
    (void)of;
    (void)name;
    (void)type;
    (void)id;
    assert_true(size <= SIZE);
    *buffer = place->handle ? place->handle : place->bytes;
    *buffer_userp = NULL;
    *actual_type = place->handle ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU;
    *actual_id = 0;
    return NULL;
}

/* A batch of requests with an input "x" and an output "y". */
struct flock {
    TRITONBACKEND_Request *requests[REQUESTS];
    TRITONBACKEND_Response *responses[REQUESTS];
    TRITONSERVER_Error *errors[REQUESTS];
    struct ferry_triton_span spans[REQUESTS];
    struct ferry_triton_part parts[REQUESTS];
    struct place places[REQUESTS];
    uint8_t *bytes;
    uint32_t count;
};

static void flock_make(struct flock *flock, uint32_t count, void *const *sources)
{
    flock->count = count;
    flock->bytes = make_bytes(REQUESTS * SIZE, count);
    for (uint32_t i = 0; i < count; i++) {
        TRITONSERVER_InferenceRequest *made = make_request();
        add_input(made, "x");
        if (sources && sources[i])
            add_memory(made, "x", sources[i], SIZE, TRITONSERVER_MEMORY_GPU, 0);
        else
            add_data(made, "x", flock->bytes + (size_t)i * SIZE, SIZE);
        succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(made, "y"));
        succeed(TRITONSERVER_InferenceRequestSetResponseCallback(made, allocator, &flock->places[i],
                                                                 drop_response, NULL));
        flock->requests[i] = standin_hand_over(made);
        succeed(TRITONBACKEND_ResponseNew(&flock->responses[i], flock->requests[i]));
        flock->places[i].handle = NULL;
        memset(flock->places[i].bytes, 0, SIZE);
    }
}

static TRITONSERVER_Error *add(struct flock *flock, ferry_batch *batch, ferry_buffer *dst)
{
    const struct ferry_triton_input input = {.name = "x", .dst = dst, .offset = 3};
    return ferry_triton_gather_add(device, batch, flock->requests, flock->count, &input, 1,
                                   flock->spans, flock->errors);
}

static TRITONSERVER_Error *run(struct flock *flock, ferry_batch *batch, ferry_buffer *src)
{
    const struct ferry_triton_output output = {.name = "y", .src = src, .parts = flock->parts};
    for (uint32_t i = 0; i < flock->count; i++)
        flock->parts[i] =
            (struct ferry_triton_part){shape, 1, flock->spans[i].offset, flock->spans[i].size};
    return ferry_triton_scatter_run(device, batch, flock->requests, flock->responses, flock->count,
                                    &output, 1, flock->errors);
}

static void flock_finish(struct flock *flock)
{
    for (uint32_t i = 0; i < flock->count; i++) {
        succeed(TRITONBACKEND_ResponseSend(flock->responses[i],
                                           TRITONSERVER_RESPONSE_COMPLETE_FINAL, NULL));
        succeed(TRITONBACKEND_RequestRelease(flock->requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
    }
    free(flock->bytes);
}

static void expect_answers(const struct flock *flock)
{
    for (uint32_t i = 0; i < flock->count; i++)
        if (!flock->places[i].handle)
            assert_memory_equal(flock->places[i].bytes, flock->bytes + (size_t)i * SIZE, SIZE);
}

static ferry_batch *make_batch(void)
{
    ferry_batch *batch = NULL;
    assert_int_equal(ferry_batch_create(device, &batch), FERRY_OK);
    return batch;
}

/* With a copy of the caller's between; the same batch again and again. */
static void one_submission(void **state)
{
    static struct flock flock;
    ferry_batch *batch = make_batch();
    ferry_buffer *in = make_buffer(device, REQUESTS * SIZE + 3);
    ferry_buffer *out = make_buffer(device, REQUESTS * SIZE + 3);
    (void)state;
    for (uint32_t count = 0; count <= REQUESTS; count += count < 3 ? 1 : 8) {
        flock_make(&flock, count, NULL);
        const uint64_t before = submissions(device);
        succeed(add(&flock, batch, in));
        assert_int_equal(submissions(device), before);
        assert_int_equal(ferry_batch_copy_buffer(batch, out, in, count * SIZE, 3, 3), FERRY_OK);
        succeed(run(&flock, batch, out));
        assert_int_equal(submissions(device) - before, count > 0);
        expect_answers(&flock);
        flock_finish(&flock);
    }
    ferry_batch_destroy(batch);
    ferry_buffer_destroy(in);
    ferry_buffer_destroy(out);
}

/* No batch holds copies between devices: both ways the bytes come all the same, in order. */
static void between_devices(void **state)
{
    static struct flock flock;
    uint8_t got[SIZE];
    void *sources[2] = {NULL}, *target = NULL;
    ferry_device *other = NULL;
    (void)state;
    succeed(ferry_triton_device("host:1", &other));
    ferry_buffer *far = make_buffer(other, SIZE), *back = make_buffer(other, SIZE);
    ferry_buffer *in = make_buffer(device, 2 * SIZE + 3);
    ferry_batch *batch = make_batch();
    succeed(ferry_triton_handle_create(far, &sources[1]));
    succeed(ferry_triton_handle_create(back, &target));
    for (int i = 0; i < 3; i++) {
        flock_make(&flock, 2, i == 1 ? NULL : sources);
        assert_int_equal(ferry_copy_from_host(far, flock.bytes + SIZE, SIZE, 0), FERRY_OK);
        fill(back, 0);
        flock.places[0].handle = i ? target : NULL;
        succeed(add(&flock, batch, in));
        succeed(run(&flock, batch, in));
        expect_answers(&flock);
        assert_int_equal(ferry_copy_to_host(back, got, SIZE, 0), FERRY_OK);
        if (i)
            assert_memory_equal(got, flock.bytes, SIZE);
        flock_finish(&flock);
    }
    ferry_triton_handle_destroy(sources[1]);
    ferry_triton_handle_destroy(target);
    ferry_batch_destroy(batch);
    ferry_buffer_destroy(in);
    ferry_buffer_destroy(far);
    ferry_buffer_destroy(back);
    ferry_triton_device_release(other);
}

/* A request that does not fit is left out of both; a batch of the wrong device, or none, is refused,
 * and of a destroyed one nothing is carried out. */
static void what_does_not_go(void **state)
{
    static struct flock flock;
    ferry_batch *batch = make_batch(), *others = NULL;
    ferry_device *other = NULL;
    ferry_buffer *in = make_buffer(device, SIZE + 3);
    (void)state;
    succeed(ferry_triton_device("host:1", &other));
    assert_int_equal(ferry_batch_create(other, &others), FERRY_OK);
    fill(in, 0x33);
    flock_make(&flock, 2, NULL);
    expect_error(add(&flock, NULL, in), TRITONSERVER_ERROR_INVALID_ARG, "batch is NULL");
    expect_error(run(&flock, NULL, in), TRITONSERVER_ERROR_INVALID_ARG, "batch is NULL");
    expect_error(add(&flock, others, in), TRITONSERVER_ERROR_INVALID_ARG, "batch");
    assert_null(flock.errors[0]);
    succeed(add(&flock, batch, in));
    expect_error(flock.errors[1], TRITONSERVER_ERROR_INVALID_ARG, "exceed the room");
    ferry_batch_destroy(batch);
    expect_bytes(in, NULL, 0, 0x33);
    batch = make_batch();
    succeed(add(&flock, batch, in));
    expect_error(flock.errors[1], TRITONSERVER_ERROR_INVALID_ARG, "exceed the room");
    TRITONBACKEND_Response *kept = flock.responses[1];
    flock.responses[1] = NULL;
    succeed(run(&flock, batch, in));
    flock.responses[1] = kept;
    assert_memory_equal(flock.places[0].bytes, flock.bytes, SIZE);
    flock_finish(&flock);
    ferry_batch_destroy(batch);
    ferry_batch_destroy(others);
    ferry_buffer_destroy(in);
    ferry_triton_device_release(other);
}

static int begin(void **state)
{
    if (begin_test(state))
        return -1;
    succeed(TRITONSERVER_ResponseAllocatorNew(&allocator, give, keep_memory, NULL));
    return 0;
}

static int end(void **state)
{
    succeed(TRITONSERVER_ResponseAllocatorDelete(allocator));
    return end_test(state);
}

#define TOGETHER_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOGETHER_TEST(one_submission),
        TOGETHER_TEST(between_devices),
        TOGETHER_TEST(what_does_not_go),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
