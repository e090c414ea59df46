#include "support.h"

/* The forms of gather and scatter that wait, and tensors that stay in host memory. */

static const int64_t shape[] = {1, -1};
static const char *const only_y[] = {"y", NULL};

/* --- gather ----------------------------------------------------------------------------------- */

/* One request and many, of awkward sizes: the bytes are there when the call returns. */
static void gathers_before_it_returns(void **state)
{
    enum { N = 11 };
    static const size_t sizes[N] = {0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};
    uint8_t *bytes = make_bytes(70000, 1);
    ferry_buffer *dst = make_buffer(device, 1 << 18);
    (void)state;
    for (uint32_t count = 1; count <= N; count++) {
        TRITONBACKEND_Request *requests[N];
        TRITONSERVER_Error *errors[N];
        struct ferry_triton_span spans[N];
        struct expected parts[N];
        fill(dst, 0x11);
        size_t at = 7;
        for (uint32_t i = 0; i < count; i++) {
            const size_t size = sizes[(i + count) % N];
            requests[i] = simple(bytes + i, size);
            parts[i] = (struct expected){at, size, bytes + i};
            at += size;
        }
        const struct ferry_triton_input input = {.name = "x", .dst = dst, .offset = 7};
        const uint64_t before = submissions(device);
        succeed(ferry_triton_gather_wait(device, requests, count, &input, 1, spans, errors));
        assert_int_equal(submissions(device) - before, 1);
        expect_bytes(dst, parts, count, 0x11);
        for (uint32_t i = 0; i < count; i++) {
            assert_null(errors[i]);
            assert_int_equal(spans[i].offset, parts[i].offset);
            finish_request(requests[i]);
        }
    }
    ferry_buffer_destroy(dst);
    free(bytes);
}

/* Where the CPU reaches the memory nothing is submitted, and no batch made. The first upload of all
 * and the first fill tell; where it does not they are submissions of their own. */
static void goes_by_the_cpu_where_it_can(void **state)
{
    static const char *const knobs[] = {"", "no_map"};
    uint8_t *bytes = make_bytes(3000, 3);
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ferry_device *other = NULL;
        setenv("FERRY_HOST", knobs[i], 1);
        succeed(ferry_triton_device("host:1", &other));
        setenv("FERRY_HOST", "no_map", 1);
        ferry_buffer *dst = make_buffer(other, 3000);
        for (int round = 0; round < 2; round++) {
            TRITONBACKEND_Request *requests[3];
            TRITONSERVER_Error *errors[3];
            struct ferry_triton_span spans[3];
            struct ferry_stats before, after;
            for (size_t k = 0; k < 3; k++)
                requests[k] = simple(bytes + 1000 * k, 900);
            const struct ferry_triton_input input = {.name = "x", .dst = dst, .stride = 1000};
            fill(dst, 0x22);
            ferry_device_get_stats(other, &before, sizeof before);
            succeed(ferry_triton_gather_wait(other, requests, 3, &input, 1, spans, errors));
            ferry_device_get_stats(other, &after, sizeof after);
            assert_int_equal(after.submissions - before.submissions, i ? 1 + (round ? 0 : 2) : 0);
            assert_int_equal(after.batches - before.batches, i);
            static const uint8_t zeros[100];
            const struct expected parts[] = {{0, 900, bytes},           {900, 100, zeros},
                                             {1000, 900, bytes + 1000}, {1900, 100, zeros},
                                             {2000, 900, bytes + 2000}, {2900, 100, zeros}};
            expect_bytes(dst, parts, COUNT(parts), 0);
            for (size_t k = 0; k < 3; k++)
                finish_request(requests[k]);
        }
        ferry_buffer_destroy(dst);
        ferry_triton_device_release(other);
    }
    free(bytes);
}

/* Only one request, whose input is one range of host memory, is left where it is. */
static void stays_in_place(void **state)
{
    static uint8_t bytes[64];
    ferry_buffer *dst = make_buffer(device, 256);
    void *handle = NULL;
    (void)state;
    succeed(ferry_triton_handle_create(dst, &handle));
    static const struct {
        const char *what;
        size_t pieces, gap, requests, stride, align;
        bool gpu, stays;
    } cases[] = {
        {"one piece", 1, 0, 1, 0, 0, false, true},
        {"pieces side by side", 3, 0, 1, 0, 0, false, true},
        {"pieces apart", 3, 1, 1, 0, 0, false, false},
        {"two requests", 1, 0, 2, 0, 0, false, false},
        {"a slot as large", 1, 0, 1, 8, 0, false, true},
        {"a larger slot", 1, 0, 1, 32, 0, false, false},
        {"an odd address", 1, 0, 1, 0, 4096, false, false},
        {"a handle", 1, 0, 1, 0, 0, true, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        TRITONBACKEND_Request *requests[2];
        TRITONSERVER_Error *errors[2];
        struct ferry_triton_span spans[2];
        const uint8_t *from = bytes + 1;
        const void *place = bytes;
        for (size_t k = 0; k < cases[i].requests; k++) {
            TRITONSERVER_InferenceRequest *made = make_request();
            add_input(made, "x");
            for (size_t piece = 0; piece < cases[i].pieces; piece++)
                add_memory(made, "x",
                           cases[i].gpu ? (uint8_t *)handle + 128
                                        : from + piece * (8 + cases[i].gap),
                           8, cases[i].gpu ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU,
                           cases[i].gpu ? ferry_triton_device_id(device) : 0);
            requests[k] = standin_hand_over(made);
        }
        const struct ferry_triton_input input = {.name = "x",
                                                 .dst = dst,
                                                 .stride = cases[i].stride,
                                                 .align = cases[i].align ? 8 : 0,
                                                 .in_place = &place};
        const uint64_t before = submissions(device), in_place = triton_stats().in_place;
        succeed(ferry_triton_gather_wait(device, requests, (uint32_t)cases[i].requests, &input, 1,
                                         spans, errors));
        if (cases[i].stays != (place == from) || (!cases[i].stays && place))
            fail_msg("%s: %p, not %p", cases[i].what, place, cases[i].stays ? from : NULL);
        assert_int_equal(submissions(device) - before, cases[i].stays ? 0 : 1);
        assert_int_equal(triton_stats().in_place - in_place, cases[i].stays);
        assert_ptr_equal(spans[0].buffer, cases[i].stays ? NULL : dst);
        assert_int_equal(spans[0].size, 8 * cases[i].pieces);
        for (size_t k = 0; k < cases[i].requests; k++) {
            assert_null(errors[k]);
            finish_request(requests[k]);
        }
    }
    ferry_triton_handle_destroy(handle);
    ferry_buffer_destroy(dst);
}

/* Of a request that does not go on nothing is left in place. */
static void nothing_stays_of_what_fails(void **state)
{
    static uint8_t bytes[8];
    TRITONBACKEND_Request *request = simple(bytes, 8);
    TRITONSERVER_Error *error;
    struct ferry_triton_span spans[2];
    const void *place = bytes;
    const struct ferry_triton_input inputs[] = {{.name = "x", .in_place = &place}, {.name = "z"}};
    (void)state;
    succeed(ferry_triton_gather_wait(device, &request, 1, inputs, 2, spans, &error));
    expect_error(error, TRITONSERVER_ERROR_INVALID_ARG, "\"z\"");
    assert_null(place);
    assert_int_equal(spans[0].size, 0);
    finish_request(request);
}

/* --- scatter ---------------------------------------------------------------------------------- */

static TRITONSERVER_ResponseAllocator *allocator;
static uint8_t given[2][4096];
static void *given_handle; /* for response 1; NULL: host memory */
static int allocations;

static TRITONSERVER_Error *give(TRITONSERVER_ResponseAllocator *of, const char *name, size_t size,
                                TRITONSERVER_MemoryType type, int64_t id, void *userp,
                                void **buffer, void **buffer_userp,
                                TRITONSERVER_MemoryType *actual_type, int64_t *actual_id)
{
    const bool second = allocations++ == 1;
    (void)of;
    (void)name;
    (void)type;
    (void)id;
    (void)userp;
    assert_true(size <= sizeof *given);
    *buffer = second && given_handle ? given_handle : given[second];
    *buffer_userp = NULL;
    *actual_type = second && given_handle ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU;
    *actual_id = 0;
    return NULL;
}

struct pair {
    TRITONBACKEND_Request *requests[2];
    TRITONBACKEND_Response *responses[2];
};

static void make_pairs(struct pair *pair)
{
    allocations = 0;
    memset(given, 0xab, sizeof given);
    for (size_t i = 0; i < 2; i++) {
        TRITONSERVER_InferenceRequest *made = make_request();
        succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(made, only_y[0]));
        succeed(TRITONSERVER_InferenceRequestSetResponseCallback(made, allocator, NULL,
                                                                 drop_response, NULL));
        pair->requests[i] = standin_hand_over(made);
        succeed(TRITONBACKEND_ResponseNew(&pair->responses[i], pair->requests[i]));
    }
}

static void finish_pairs(const struct pair *pair)
{
    for (size_t i = 0; i < 2; i++) {
        succeed(TRITONBACKEND_ResponseSend(pair->responses[i], TRITONSERVER_RESPONSE_COMPLETE_FINAL,
                                           NULL));
        succeed(TRITONBACKEND_RequestRelease(pair->requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
    }
}

/* From a buffer in one submission, or from host memory in none; to host memory and to a handle. */
static void scatters_before_it_returns(void **state)
{
    uint8_t *bytes = make_bytes(4096, 2);
    ferry_buffer *src = make_buffer(device, 4096), *far = make_buffer(device, 2048);
    (void)state;
    assert_int_equal(ferry_copy_from_host(src, bytes, 4096, 0), FERRY_OK);
    const struct ferry_triton_part parts[2] = {{shape, 2, 3, 1000}, {shape, 2, 1500, 2001}};
    for (int to_handle = 0; to_handle < 2; to_handle++) {
        for (int from_host = 0; from_host < 2; from_host++) {
            struct pair pair;
            TRITONSERVER_Error *errors[2];
            given_handle = NULL;
            fill(far, 0x44);
            if (to_handle)
                succeed(ferry_triton_handle_create(far, &given_handle));
            make_pairs(&pair);
            const struct ferry_triton_output output = {.name = "y",
                                                       .datatype = TRITONSERVER_TYPE_UINT8,
                                                       .src = from_host ? NULL : src,
                                                       .host = from_host ? bytes : NULL,
                                                       .parts = parts};
            const uint64_t before = submissions(device), sum = triton_stats().scattered_bytes;
            succeed(ferry_triton_scatter_wait(device, pair.requests, pair.responses, 2, &output, 1,
                                              errors));
            /* The first download of a device goes alone: it tells how they travel. */
            const unsigned first = !from_host && !to_handle;
            assert_int_equal(submissions(device) - before, from_host && !to_handle ? 0 : 1 + first);
            assert_int_equal(triton_stats().scattered_bytes - sum, 3001);
            assert_null(errors[0]);
            assert_null(errors[1]);
            assert_memory_equal(given[0], bytes + 3, 1000);
            assert_int_equal(given[0][1000], 0xab);
            if (to_handle)
                expect_bytes(far, (struct expected[]){{0, 2001, bytes + 1500}}, 1, 0x44);
            else
                assert_memory_equal(given[1], bytes + 1500, 2001);
            finish_pairs(&pair);
            ferry_triton_handle_destroy(given_handle);
        }
    }
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(far);
    free(bytes);
}

/* --- failures --------------------------------------------------------------------------------- */

/* What the device fails is the call's error; no request has one then. */
static void failures_are_the_calls(void **state)
{
    static uint8_t bytes[64];
    ferry_device *other = NULL;
    struct ferry_triton_span spans[2];
    (void)state;
    for (uint32_t count = 1; count <= 2; count++) {
        TRITONBACKEND_Request *requests[] = {simple(bytes, 31), simple(bytes + 31, 33)};
        TRITONSERVER_Error *errors[2] = {(TRITONSERVER_Error *)(void *)bytes, NULL};
        setenv("FERRY_HOST", "no_map,fail_exec=2", 1); /* after the zeros of dst */
        succeed(ferry_triton_device("host:1", &other));
        setenv("FERRY_HOST", "no_map", 1);
        ferry_buffer *dst = make_buffer(other, 64);
        const struct ferry_triton_input input = {.name = "x", .dst = dst};
        expect_error(ferry_triton_gather_wait(other, requests, count, &input, 1, spans, errors),
                     TRITONSERVER_ERROR_INTERNAL, "gathering the inputs");
        assert_null(errors[0]);
        ferry_buffer_destroy(dst);
        finish_request(requests[0]);
        finish_request(requests[1]);
        ferry_triton_device_release(other);
    }
}

struct gather_call {
    TRITONBACKEND_Request *requests[2];
    const struct ferry_triton_input *input;
    uint32_t count;
    TRITONSERVER_Error *error;
};

static void call_it(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct gather_call *call = user;
    TRITONSERVER_Error *errors[2];
    struct ferry_triton_span spans[2];
    (void)status;
    (void)ticket;
    call->error = ferry_triton_gather_wait(device, call->requests, call->count, call->input, 1,
                                           spans, errors);
}

/* It cannot wait there, and has begun nothing. */
static void not_in_a_callback(void **state)
{
    static uint8_t bytes[64];
    ferry_buffer *dst = make_buffer(device, 64);
    const struct ferry_triton_input input = {.name = "x", .dst = dst};
    (void)state;
    fill(dst, 0x55);
    for (uint32_t count = 1; count <= 2; count++) {
        struct gather_call call = {.requests = {simple(bytes, 31), simple(bytes + 31, 33)},
                                   .input = &input,
                                   .count = count};
        const uint64_t before = submissions(device);
        assert_int_equal(ferry_copy_from_host_async(dst, NULL, 0, 0, call_it, &call, NULL),
                         FERRY_OK);
        assert_int_equal(ferry_wait_idle(device), FERRY_OK);
        expect_error(call.error, TRITONSERVER_ERROR_INTERNAL, "callback");
        assert_int_equal(submissions(device), before);
        finish_request(call.requests[0]);
        finish_request(call.requests[1]);
    }
    expect_bytes(dst, NULL, 0, 0x55);
    ferry_buffer_destroy(dst);
}

static void refuses_bad_calls(void **state)
{
    struct pair pair;
    TRITONSERVER_Error *errors[2];
    ferry_buffer *src = make_buffer(device, 16);
    const struct ferry_triton_part parts[2] = {{shape, 2, 0, 1}, {shape, 2, 0, 1}};
    const struct ferry_triton_output both = {
        .name = "y", .src = src, .host = parts, .parts = parts};
    (void)state;
    given_handle = NULL;
    make_pairs(&pair);
    expect_error(
        ferry_triton_scatter_wait(device, pair.requests, pair.responses, 2, &both, 1, errors),
        TRITONSERVER_ERROR_INVALID_ARG, "both src and host");
    finish_pairs(&pair);
    ferry_buffer_destroy(src);
}

static int open_all(void **state)
{
    succeed(TRITONSERVER_ResponseAllocatorNew(&allocator, give, keep_memory, NULL));
    return open_device(state);
}

static int close_all(void **state)
{
    succeed(TRITONSERVER_ResponseAllocatorDelete(allocator));
    return close_device(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gathers_before_it_returns),
        TEST(goes_by_the_cpu_where_it_can),
        TEST(stays_in_place),
        TEST(nothing_stays_of_what_fails),
        TEST(scatters_before_it_returns),
        TEST(failures_are_the_calls),
        TEST(not_in_a_callback),
        TEST(refuses_bad_calls),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
