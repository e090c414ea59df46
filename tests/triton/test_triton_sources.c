/* Where the bytes that a gather reads may lie: pinned memory, handles of this device and of others. */
#include "support.h"

/* Pinned memory is a pointer; a handle of ours, also from its middle, is a copy on the device. */
static void all_kinds_of_memory(void **state)
{
    uint8_t *bytes = make_bytes(300, 3);
    void *base = NULL;
    TRITONSERVER_Error *error;
    struct ferry_triton_span span;
    ferry_ticket ticket;
    (void)state;
    ferry_buffer *src = make_buffer(device, 300), *dst = make_buffer(device, 400);
    assert_int_equal(ferry_copy_from_host(src, bytes, 300, 0), FERRY_OK);
    fill(dst, 0x55);
    succeed(ferry_triton_handle_create(src, &base));
    TRITONSERVER_InferenceRequest *made = make_request();
    add_input(made, "x");
    add_memory(made, "x", bytes + 100, 33, TRITONSERVER_MEMORY_CPU_PINNED, 0);
    add_memory(made, "x", (uint8_t *)base + 17, 65, TRITONSERVER_MEMORY_GPU,
               ferry_triton_device_id(device));
    TRITONBACKEND_Request *request = standin_hand_over(made);
    const struct ferry_triton_input input = {.name = "x", .dst = dst, .offset = 1};
    const uint64_t before = submissions(device);
    succeed(
        ferry_triton_gather(device, &request, 1, &input, 1, &span, &error, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_null(error);
    assert_int_equal(submissions(device) - before, 1);
    expect_bytes(dst, (struct expected[]){{1, 33, bytes + 100}, {34, 65, bytes + 17}}, 2, 0x55);
    finish_request(request);

    /* One byte more than the handle's buffer has. */
    made = make_request();
    add_input(made, "x");
    add_memory(made, "x", (uint8_t *)base + 299, 2, TRITONSERVER_MEMORY_GPU, 0);
    request = standin_hand_over(made);
    succeed(
        ferry_triton_gather(device, &request, 1, &input, 1, &span, &error, NULL, NULL, &ticket));
    expect_error(error, TRITONSERVER_ERROR_UNSUPPORTED, "2 bytes of GPU memory");
    wait_for(ticket);
    finish_request(request);
    ferry_triton_handle_destroy(base);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
    free(bytes);
}

/* Memory of another device is bridged, and done when the ticket is. */
static void from_another_device(void **state)
{
    uint8_t *bytes = make_bytes(70000, 4);
    ferry_device *other = NULL;
    void *base = NULL;
    TRITONSERVER_Error *errors[2];
    struct ferry_triton_span spans[2];
    struct called called = {0};
    ferry_ticket ticket;
    (void)state;
    succeed(ferry_triton_device("host:1", &other));
    ferry_buffer *src = make_buffer(other, 70000), *dst = make_buffer(device, 71000);
    assert_int_equal(ferry_copy_from_host(src, bytes, 70000, 0), FERRY_OK);
    fill(dst, 0x66);
    succeed(ferry_triton_handle_create(src, &base));
    TRITONSERVER_InferenceRequest *made = make_request();
    add_input(made, "x");
    add_memory(made, "x", (uint8_t *)base + 3, 69997, TRITONSERVER_MEMORY_GPU,
               ferry_triton_device_id(other));
    TRITONBACKEND_Request *requests[] = {standin_hand_over(made), simple(bytes, 31)};
    const struct ferry_triton_input input = {
        .name = "x", .dst = dst, .offset = 7, .pass_through = true};
    const uint64_t before = triton_stats().bridged;
    succeed(
        ferry_triton_gather(device, requests, 2, &input, 1, spans, errors, note, &called, &ticket));
    wait_for(ticket);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(called.calls, 1);
    assert_int_equal(called.ticket, ticket);
    assert_null(errors[0]);
    assert_null(errors[1]);
    assert_int_equal(triton_stats().bridged - before, 1);
    expect_bytes(dst, (struct expected[]){{7, 69997, bytes + 3}, {70004, 31, bytes}}, 2, 0x66);
    finish_request(requests[0]);
    finish_request(requests[1]);
    ferry_triton_handle_destroy(base);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
    ferry_triton_device_release(other);
    free(bytes);
}

/* One input in pieces of the host's, of this device and of another one, and a second request whose
 * input is on both devices too: one ticket for all. */
static void pieces_from_everywhere(void **state)
{
    enum { SIZE = 5000 };
    uint8_t *bytes = make_bytes(4 * SIZE, 12);
    ferry_device *other = NULL;
    void *near_base = NULL, *far_base = NULL;
    TRITONBACKEND_Request *requests[2];
    TRITONSERVER_Error *errors[2];
    struct ferry_triton_span spans[2];
    struct called called = {0};
    ferry_ticket ticket;
    (void)state;
    succeed(ferry_triton_device("host:1", &other));
    ferry_buffer *near = make_buffer(device, 4 * SIZE), *far = make_buffer(other, 4 * SIZE);
    ferry_buffer *dst = make_buffer(device, 4 * SIZE);
    assert_int_equal(ferry_copy_from_host(near, bytes, 4 * SIZE, 0), FERRY_OK);
    assert_int_equal(ferry_copy_from_host(far, bytes, 4 * SIZE, 0), FERRY_OK);
    fill(dst, 0x77);
    succeed(ferry_triton_handle_create(near, &near_base));
    succeed(ferry_triton_handle_create(far, &far_base));
    for (size_t i = 0; i < 2; i++) {
        TRITONSERVER_InferenceRequest *made = make_request();
        const size_t at = 2 * SIZE * i;
        add_input(made, "x");
        add_data(made, "x", bytes + at, 31);
        add_memory(made, "x", (uint8_t *)far_base + at + 31, SIZE, TRITONSERVER_MEMORY_GPU,
                   ferry_triton_device_id(other));
        add_memory(made, "x", (uint8_t *)near_base + at + 31 + SIZE, 33, TRITONSERVER_MEMORY_GPU,
                   ferry_triton_device_id(device));
        requests[i] = standin_hand_over(made);
    }
    const struct ferry_triton_input input = {.name = "x", .dst = dst, .offset = 3};
    const uint64_t bridged = triton_stats().bridged, before = triton_stats().gathered_bytes;
    succeed(
        ferry_triton_gather(device, requests, 2, &input, 1, spans, errors, note, &called, &ticket));
    wait_for(ticket);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(called.calls, 1);
    assert_int_equal(triton_stats().bridged - bridged, 2);
    assert_int_equal(triton_stats().gathered_bytes - before, 2 * (SIZE + 64));
    const struct expected parts[] = {{3, SIZE + 64, bytes},
                                     {3 + SIZE + 64, SIZE + 64, bytes + 2 * SIZE}};
    expect_bytes(dst, parts, 2, 0x77);
    for (size_t i = 0; i < 2; i++) {
        assert_null(errors[i]);
        finish_request(requests[i]);
    }
    ferry_triton_handle_destroy(near_base);
    ferry_triton_handle_destroy(far_base);
    ferry_buffer_destroy(near);
    ferry_buffer_destroy(far);
    ferry_buffer_destroy(dst);
    ferry_triton_device_release(other);
    free(bytes);
}

/* A copy between devices that fails makes the ticket and the callback fail. */
static void bridge_that_fails(void **state)
{
    ferry_device *other = NULL;
    void *base = NULL;
    TRITONSERVER_Error *error;
    struct ferry_triton_span span;
    struct called called = {0};
    ferry_ticket ticket;
    (void)state;
    setenv("FERRY_HOST", "no_map,fail_exec=3", 1);
    succeed(ferry_triton_device("host:1", &other));
    setenv("FERRY_HOST", "no_map", 1);
    ferry_buffer *src = make_buffer(other, 64), *dst = make_buffer(device, 64);
    fill(src, 1); /* the second submission there, after src's zeros; the third is the bridge's */
    succeed(ferry_triton_handle_create(src, &base));
    TRITONSERVER_InferenceRequest *made = make_request();
    add_input(made, "x");
    add_memory(made, "x", base, 64, TRITONSERVER_MEMORY_GPU, 0);
    TRITONBACKEND_Request *request = standin_hand_over(made);
    const struct ferry_triton_input input = {.name = "x", .dst = dst};
    succeed(
        ferry_triton_gather(device, &request, 1, &input, 1, &span, &error, note, &called, &ticket));
    assert_null(error);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(called.calls, 1);
    assert_int_equal(called.status, FERRY_ERROR_EXECUTION_FAILED);
    finish_request(request);
    ferry_triton_handle_destroy(base);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
    ferry_triton_device_release(other);
}

/* One request, one range of ours: handed through. Two requests: copied. */
static void passes_through(void **state)
{
    void *base = NULL;
    TRITONSERVER_Error *errors[2];
    struct ferry_triton_span spans[2];
    TRITONBACKEND_Request *requests[2];
    ferry_ticket ticket;
    (void)state;
    ferry_buffer *src = make_buffer(device, 128), *dst = make_buffer(device, 256);
    fill(src, 0x77);
    fill(dst, 0x11);
    succeed(ferry_triton_handle_create(src, &base));
    for (size_t i = 0; i < 2; i++) {
        TRITONSERVER_InferenceRequest *made = make_request();
        add_input(made, "x");
        add_memory(made, "x", (uint8_t *)base + 32, 64, TRITONSERVER_MEMORY_GPU, 0);
        requests[i] = standin_hand_over(made);
    }
    const uint64_t before = submissions(device), passed = triton_stats().passed_through;
    struct ferry_triton_input input = {.name = "x", .align = 32, .pass_through = true};
    succeed(
        ferry_triton_gather(device, requests, 1, &input, 1, spans, errors, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_null(errors[0]);
    assert_ptr_equal(spans[0].buffer, src);
    assert_int_equal(spans[0].offset, 32);
    assert_int_equal(spans[0].size, 64);
    assert_int_equal(submissions(device), before);
    assert_int_equal(triton_stats().passed_through - passed, 1);

    input = (struct ferry_triton_input){.name = "x", .dst = dst, .pass_through = true};
    succeed(
        ferry_triton_gather(device, requests, 2, &input, 1, spans, errors, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_ptr_equal(spans[0].buffer, dst);
    assert_int_equal(submissions(device) - before, 1);

    input = (struct ferry_triton_input){
        .name = "x", .dst = dst, .align = 128, .pass_through = true}; /* 32 is no multiple of 128 */
    succeed(
        ferry_triton_gather(device, requests, 1, &input, 1, spans, errors, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_ptr_equal(spans[0].buffer, dst);
    assert_int_equal(triton_stats().passed_through - passed, 1);
    finish_request(requests[0]);
    finish_request(requests[1]);
    ferry_triton_handle_destroy(base);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_kinds_of_memory), TEST(from_another_device), TEST(pieces_from_everywhere),
        TEST(bridge_that_fails),   TEST(passes_through),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
