#include "support.h"

static const size_t sizes[] = {0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};

/* Every awkward size, each in up to three pieces, after each other from an odd offset. */
static void packs_all_sizes(void **state)
{
    enum { N = COUNT(sizes) };
    TRITONBACKEND_Request *requests[N];
    TRITONSERVER_Error *errors[N];
    struct ferry_triton_span spans[N];
    struct expected parts[N];
    uint8_t *bytes[N];
    size_t total = 0, size = 0;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        bytes[i] = make_bytes(sizes[i], (unsigned)i + 1);
        TRITONSERVER_InferenceRequest *request = make_request();
        add_input(request, "x");
        const size_t a = sizes[i] / 3, b = sizes[i] / 2;
        add_data(request, "x", bytes[i], a);
        add_data(request, "x", bytes[i] + a, b - a);
        add_data(request, "x", bytes[i] + b, sizes[i] - b);
        requests[i] = standin_hand_over(request);
        parts[i] = (struct expected){17 + total, sizes[i], bytes[i]};
        total += sizes[i];
    }
    ferry_buffer *dst = make_buffer(device, total + 64);
    fill(dst, 0xee);
    const struct ferry_triton_input input = {.name = "x", .dst = dst, .offset = 17};
    succeed(ferry_triton_gather_size(requests, N, &input, &size));
    assert_int_equal(size, total);

    const uint64_t before = submissions(device);
    ferry_ticket ticket;
    succeed(
        ferry_triton_gather(device, requests, N, &input, 1, spans, errors, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_int_equal(submissions(device) - before, 1);
    for (size_t i = 0; i < N; i++) {
        assert_null(errors[i]);
        assert_ptr_equal(spans[i].buffer, dst);
        assert_int_equal(spans[i].offset, parts[i].offset);
        assert_int_equal(spans[i].size, sizes[i]);
        finish_request(requests[i]);
    }
    expect_bytes(dst, parts, N, 0xee);
    for (size_t i = 0; i < N; i++)
        free(bytes[i]);
    ferry_buffer_destroy(dst);
}

static void aligns_and_strides(void **state)
{
    enum { N = 3 };
    uint8_t *bytes = make_bytes(40, 5);
    static const uint8_t zeros[64];
    TRITONBACKEND_Request *requests[N];
    TRITONSERVER_Error *errors[N];
    struct ferry_triton_span spans[2 * N];
    ferry_ticket ticket;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        TRITONSERVER_InferenceRequest *request = make_request();
        add_input(request, "a");
        add_data(request, "a", bytes + i, 5 + i);
        add_input(request, "b");
        add_data(request, "b", bytes + 10 * i, 10);
        requests[i] = standin_hand_over(request);
    }
    ferry_buffer *a = make_buffer(device, 256), *b = make_buffer(device, 256);
    fill(a, 0x11);
    fill(b, 0x22);
    const struct ferry_triton_input inputs[] = {
        {.name = "a", .dst = a, .offset = 3, .align = 24},
        {.name = "b", .dst = b, .offset = 7, .stride = 33},
    };
    const uint64_t before = submissions(device);
    succeed(
        ferry_triton_gather(device, requests, N, inputs, 2, spans, errors, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_int_equal(submissions(device) - before, 1);
    struct expected in_a[N], in_b[2 * N];
    for (size_t i = 0; i < N; i++) {
        assert_null(errors[i]);
        assert_int_equal(spans[i].offset, 24 * (i + 1));
        assert_int_equal(spans[N + i].offset, 7 + 33 * i);
        assert_int_equal(spans[N + i].size, 10);
        in_a[i] = (struct expected){24 * (i + 1), 5 + i, bytes + i};
        in_b[2 * i] = (struct expected){7 + 33 * i, 10, bytes + 10 * i};
        in_b[2 * i + 1] = (struct expected){17 + 33 * i, 23, zeros};
        finish_request(requests[i]);
    }
    expect_bytes(a, in_a, N, 0x11);
    expect_bytes(b, in_b, 2 * N, 0x22);
    ferry_buffer_destroy(a);
    ferry_buffer_destroy(b);
    free(bytes);
}

/* Each way in which a request may fail leaves the others as they are, and takes no place. */
enum { CANCELLED, GOOD, SHORT, LONG, MISSING, FOREIGN, NOTHING, ALSO_GOOD, TOO_BIG, N };

/* One request of each kind. */
static void make_kinds(TRITONBACKEND_Request **requests, uint8_t *bytes)
{
    for (size_t i = 0; i < N; i++) {
        if (i == NOTHING)
            continue;
        TRITONSERVER_InferenceRequest *request = make_request();
        add_input(request, "x");
        add_data(request, "x", bytes + i, i == TOO_BIG ? 150 : 31);
        if (i != MISSING) {
            add_input(request, "y");
            if (i == FOREIGN)
                add_memory(request, "y", (void *)0x1234, 8, TRITONSERVER_MEMORY_GPU, 0);
            else
                add_data(request, "y", bytes + 100 + i, 7);
        }
        requests[i] = standin_hand_over(request);
    }
    standin_cancel(requests[CANCELLED]);
    standin_claim_size(requests[SHORT], "y", 8);
    standin_claim_size(requests[LONG], "y", 6);
}

static void leaves_out_what_fails(void **state)
{
    uint8_t *bytes = make_bytes(200, 9);
    TRITONBACKEND_Request *requests[N] = {NULL};
    TRITONSERVER_Error *errors[N];
    struct ferry_triton_span spans[2 * N];
    ferry_ticket ticket;
    (void)state;
    make_kinds(requests, bytes);
    ferry_buffer *dst = make_buffer(device, 128);
    fill(dst, 0x33);
    const struct ferry_triton_input inputs[] = {
        {.name = "x", .dst = dst, .capacity = 64},
        {.name = "y", .dst = dst, .offset = 65, .capacity = 40},
    };
    const uint64_t before = submissions(device);
    succeed(
        ferry_triton_gather(device, requests, N, inputs, 2, spans, errors, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_int_equal(submissions(device) - before, 1);
    assert_null(errors[GOOD]);
    assert_null(errors[ALSO_GOOD]);
    assert_null(errors[NOTHING]);
    expect_error(errors[CANCELLED], TRITONSERVER_ERROR_CANCELLED, "cancelled");
    expect_error(errors[SHORT], TRITONSERVER_ERROR_INVALID_ARG, "hold 7 of its 8 bytes");
    expect_error(errors[LONG], TRITONSERVER_ERROR_INVALID_ARG, "of which 6 are left");
    expect_error(errors[MISSING], TRITONSERVER_ERROR_INVALID_ARG, "\"y\"");
    expect_error(errors[FOREIGN], TRITONSERVER_ERROR_UNSUPPORTED, "\"y\"");
    expect_error(errors[TOO_BIG], TRITONSERVER_ERROR_INVALID_ARG, "150 bytes at offset 62");
    const struct expected parts[] = {
        {0, 31, bytes + GOOD},
        {31, 31, bytes + ALSO_GOOD},
        {65, 7, bytes + 100 + GOOD},
        {72, 7, bytes + 100 + ALSO_GOOD},
    };
    expect_bytes(dst, parts, COUNT(parts), 0x33);
    for (size_t i = 0; i < N; i++) {
        const bool good = i == GOOD || i == ALSO_GOOD;
        assert_int_equal(spans[i].size, good ? 31 : 0);
        assert_ptr_equal(spans[N + i].buffer, good ? dst : NULL);
        if (requests[i])
            finish_request(requests[i]);
    }
    ferry_buffer_destroy(dst);
    free(bytes);
}

/* Nothing to copy: no buffer is needed, nothing is submitted, and yet there is a callback. */
static void takes_nothing(void **state)
{
    TRITONBACKEND_Request *request = simple("", 0);
    TRITONSERVER_Error *error;
    struct ferry_triton_span span;
    struct called called = {0};
    ferry_ticket ticket;
    (void)state;
    const struct ferry_triton_input input = {.name = "x"};
    const uint64_t before = submissions(device);
    succeed(
        ferry_triton_gather(device, &request, 1, &input, 1, &span, &error, note, &called, &ticket));
    wait_for(ticket);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(called.calls, 1);
    assert_int_equal(called.status, FERRY_OK);
    assert_null(error);
    assert_int_equal(span.size, 0);
    succeed(ferry_triton_gather(device, NULL, 0, NULL, 0, NULL, NULL, note, &called, &ticket));
    wait_for(ticket);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(called.calls, 2);
    assert_int_equal(submissions(device), before);
    finish_request(request);
}

/* A byte, and nowhere to put it. */
static void wants_a_buffer(void **state)
{
    TRITONBACKEND_Request *request = simple("a", 1);
    TRITONSERVER_Error *error;
    struct ferry_triton_span span;
    ferry_ticket ticket;
    (void)state;
    const struct ferry_triton_input input = {.name = "x"};
    succeed(
        ferry_triton_gather(device, &request, 1, &input, 1, &span, &error, NULL, NULL, &ticket));
    wait_for(ticket);
    expect_error(error, TRITONSERVER_ERROR_INVALID_ARG, "1 bytes at offset 0");
    finish_request(request);
}

static void optional_inputs(void **state)
{
    TRITONBACKEND_Request *request = simple("abc", 3);
    TRITONSERVER_Error *error;
    struct ferry_triton_span spans[2];
    ferry_ticket ticket;
    static const uint8_t zeros[16];
    (void)state;
    ferry_buffer *dst = make_buffer(device, 32);
    fill(dst, 0x44);
    const struct ferry_triton_input inputs[] = {
        {.name = "x", .dst = dst},
        {.name = "gone", .dst = dst, .offset = 16, .stride = 16, .optional = true},
    };
    succeed(
        ferry_triton_gather(device, &request, 1, inputs, 2, spans, &error, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_null(error);
    assert_int_equal(spans[1].size, 0);
    expect_bytes(dst, (struct expected[]){{0, 3, "abc"}, {16, 16, zeros}}, 2, 0x44);
    finish_request(request);
    ferry_buffer_destroy(dst);
}

static void refuses_bad_calls(void **state)
{
    TRITONBACKEND_Request *request = simple("abc", 3);
    TRITONSERVER_Error *error;
    struct ferry_triton_span span;
    ferry_device *other = NULL;
    size_t size = 0;
    (void)state;
    succeed(ferry_triton_device("host:1", &other));
    ferry_buffer *far = make_buffer(other, 16);
    const struct ferry_triton_input bad[] = {
        {.name = NULL},
        {.name = "x", .dst = far},
        {.name = "x", .align = 8, .stride = 12},
        {.name = "x", .reserved = {[1] = 1}},
    };
    static const char *const words[] = {"no name", "another device", "not a multiple", "reserved"};
    for (size_t i = 0; i < COUNT(bad); i++)
        expect_error(
            ferry_triton_gather(device, &request, 1, &bad[i], 1, &span, &error, NULL, NULL, NULL),
            TRITONSERVER_ERROR_INVALID_ARG, words[i]);
    expect_error(
        ferry_triton_gather(NULL, &request, 1, &bad[0], 1, &span, &error, NULL, NULL, NULL),
        TRITONSERVER_ERROR_INVALID_ARG, "ferry_triton_gather: device");
    expect_error(ferry_triton_gather(device, NULL, 1, &bad[0], 1, &span, &error, NULL, NULL, NULL),
                 TRITONSERVER_ERROR_INVALID_ARG, "ferry_triton_gather: device");
    expect_error(ferry_triton_gather_size(&request, 1, NULL, &size), TRITONSERVER_ERROR_INVALID_ARG,
                 "ferry_triton_gather_size: requests");
    /* Sizes that wrap. */
    standin_claim_size(request, "x", UINT64_MAX);
    const struct ferry_triton_input huge = {.name = "x", .offset = 16};
    expect_error(ferry_triton_gather_size(&request, 1, &huge, &size),
                 TRITONSERVER_ERROR_INVALID_ARG, "too many");
    finish_request(request);
    ferry_buffer_destroy(far);
    ferry_triton_device_release(other);
}

/* What is submitted after the gather sees its bytes, though nobody waited. */
static void is_ordered(void **state)
{
    uint8_t *bytes = make_bytes(4096, 8), got[4096];
    TRITONBACKEND_Request *request = simple(bytes, 4096);
    TRITONSERVER_Error *error;
    struct ferry_triton_span span;
    (void)state;
    ferry_buffer *dst = make_buffer(device, 4096), *next = make_buffer(device, 4096);
    const struct ferry_triton_input input = {.name = "x", .dst = dst};
    succeed(ferry_triton_gather(device, &request, 1, &input, 1, &span, &error, NULL, NULL, NULL));
    assert_int_equal(
        ferry_copy_buffer_async(next, span.buffer, span.size, 0, span.offset, NULL, NULL, NULL),
        FERRY_OK);
    assert_int_equal(ferry_copy_to_host(next, got, sizeof got, 0), FERRY_OK);
    assert_memory_equal(got, bytes, sizeof got);
    finish_request(request);
    ferry_buffer_destroy(dst);
    ferry_buffer_destroy(next);
    free(bytes);
}

/* A batch above the staging budget is split by Ferry, and is right all the same. */
static void above_the_budget(void **state)
{
    enum { N = 24, SIZE = 4097 };
    ferry_device *small = NULL;
    TRITONBACKEND_Request *requests[N];
    TRITONSERVER_Error *errors[N];
    struct ferry_triton_span spans[N];
    struct expected parts[N];
    ferry_ticket ticket;
    struct ferry_stats stats;
    (void)state;
    succeed(ferry_triton_device_open(
        &(struct ferry_device_params){.name = "host:1", .staging_budget = 16384}, &small));
    uint8_t *bytes = make_bytes(N * SIZE, 2);
    ferry_buffer *dst = make_buffer(small, N * SIZE);
    for (size_t i = 0; i < N; i++) {
        requests[i] = simple(bytes + i * SIZE, SIZE);
        parts[i] = (struct expected){i * SIZE, SIZE, bytes + i * SIZE};
    }
    const struct ferry_triton_input input = {.name = "x", .dst = dst};
    succeed(ferry_triton_gather(small, requests, N, &input, 1, spans, errors, NULL, NULL, &ticket));
    assert_int_equal(ferry_wait(small, ticket, FERRY_FOREVER), FERRY_OK);
    ferry_device_get_stats(small, &stats, sizeof stats);
    assert_int_equal(stats.batch_splits + 2, stats.submissions); /* one more for dst's zeros */
    assert_true(stats.batch_splits > 0);
    expect_bytes(dst, parts, N, 0);
    for (size_t i = 0; i < N; i++)
        finish_request(requests[i]);
    ferry_buffer_destroy(dst);
    ferry_triton_device_release(small);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(packs_all_sizes),   TEST(aligns_and_strides), TEST(leaves_out_what_fails),
        TEST(takes_nothing),     TEST(wants_a_buffer),     TEST(optional_inputs),
        TEST(refuses_bad_calls), TEST(is_ordered),         TEST(above_the_budget),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
