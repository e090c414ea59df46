#include "support.h"

/* A host's allocator of a test's own making: what it gives is told by place, one per request. */
struct place {
    enum { GIVE_CPU, GIVE_PINNED, GIVE_HANDLE, GIVE_FOREIGN, GIVE_NOTHING, REFUSE } what;
    void *handle;   /* GIVE_HANDLE */
    bool wants_gpu; /* what query says */
    int64_t id;
    uint8_t *memory; /* what was given last, with guard bytes */
    size_t size, allocations, releases;
};

enum { GUARD = 16 };

static TRITONSERVER_Error *give(TRITONSERVER_ResponseAllocator *allocator, const char *name,
                                size_t size, TRITONSERVER_MemoryType type, int64_t id, void *userp,
                                void **buffer, void **buffer_userp,
                                TRITONSERVER_MemoryType *actual_type, int64_t *actual_id)
{
    struct place *place = userp;
    (void)allocator;
    (void)name;
    (void)type;
    (void)id;
    *buffer_userp = place;
    *actual_id = place->id;
    place->size = size;
    *actual_type = place->what == GIVE_PINNED ? TRITONSERVER_MEMORY_CPU_PINNED
                   : place->what == GIVE_CPU  ? TRITONSERVER_MEMORY_CPU
                                              : TRITONSERVER_MEMORY_GPU;
    if (place->what == REFUSE)
        return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "pool exhausted");
    *buffer = NULL;
    if (!size || place->what == GIVE_NOTHING)
        return NULL;
    place->allocations++;
    if (place->what == GIVE_HANDLE)
        *buffer = place->handle;
    else if (place->what == GIVE_FOREIGN)
        *buffer = (void *)0x4321;
    else {
        place->memory = malloc(size + 2 * GUARD);
        memset(place->memory, 0xab, size + 2 * GUARD);
        *buffer = place->memory + GUARD;
    }
    return NULL;
}

static TRITONSERVER_Error *take_back(TRITONSERVER_ResponseAllocator *allocator, void *buffer,
                                     void *buffer_userp, size_t size, TRITONSERVER_MemoryType type,
                                     int64_t id)
{
    struct place *place = buffer_userp;
    (void)allocator;
    (void)buffer;
    (void)type;
    (void)id;
    place->releases++;
    if (place->memory) {
        for (size_t i = 0; i < GUARD; i++) {
            assert_int_equal(place->memory[i], 0xab);
            assert_int_equal(place->memory[GUARD + size + i], 0xab);
        }
        free(place->memory);
        place->memory = NULL;
    }
    return NULL;
}

static TRITONSERVER_Error *prefer(TRITONSERVER_ResponseAllocator *allocator, void *userp,
                                  const char *name, size_t *size, TRITONSERVER_MemoryType *type,
                                  int64_t *id)
{
    const struct place *place = userp;
    (void)allocator;
    (void)name;
    (void)size;
    *type = place->wants_gpu ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU;
    *id = place->id;
    return NULL;
}

static TRITONSERVER_ResponseAllocator *allocator;

/* A request that asks for these outputs, NULL the end, and its response. */
static void make_pair(struct place *place, const char *const *outputs,
                      TRITONBACKEND_Request **out_request, TRITONBACKEND_Response **out_response)
{
    TRITONSERVER_InferenceRequest *made = make_request();
    for (; *outputs; outputs++)
        succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(made, *outputs));
    succeed(TRITONSERVER_InferenceRequestSetResponseCallback(made, allocator, place, drop_response,
                                                             NULL));
    *out_request = standin_hand_over(made);
    succeed(TRITONBACKEND_ResponseNew(out_response, *out_request));
}

static void finish_pair(TRITONBACKEND_Request *request, TRITONBACKEND_Response *response)
{
    succeed(TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, NULL));
    succeed(TRITONBACKEND_RequestRelease(request, TRITONSERVER_REQUEST_RELEASE_ALL));
}

static const char *const only_y[] = {"y", NULL};
static const int64_t shape[] = {1, -1};

static const size_t sizes[] = {0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};

/* Strings are bytes like any other. */
static void unpacks_all_sizes(void **state)
{
    enum { N = COUNT(sizes) };
    struct place places[N] = {{0}};
    TRITONBACKEND_Request *requests[N];
    TRITONBACKEND_Response *responses[N];
    TRITONSERVER_Error *errors[N];
    struct ferry_triton_part parts[N];
    size_t total = 0;
    ferry_ticket ticket;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        places[i].what = i % 2 ? GIVE_PINNED : GIVE_CPU;
        make_pair(&places[i], only_y, &requests[i], &responses[i]);
        parts[i] = (struct ferry_triton_part){shape, 2, 7 + total, sizes[i]};
        total += sizes[i];
    }
    uint8_t *bytes = make_bytes(total + 7, 6);
    ferry_buffer *src = make_buffer(device, total + 7);
    assert_int_equal(ferry_copy_from_host(src, bytes, total + 7, 0), FERRY_OK);
    const struct ferry_triton_output output = {
        .name = "y", .datatype = TRITONSERVER_TYPE_BYTES, .src = src, .parts = parts};
    const uint64_t before = submissions(device), scattered = triton_stats().scattered_bytes;
    succeed(ferry_triton_scatter(device, requests, responses, N, &output, 1, errors, NULL, NULL,
                                 &ticket));
    wait_for(ticket);
    assert_int_equal(submissions(device) - before, 1);
    assert_int_equal(triton_stats().scattered_bytes - scattered, total);
    for (size_t i = 0; i < N; i++) {
        assert_null(errors[i]);
        assert_int_equal(places[i].size, sizes[i]);
        if (sizes[i])
            assert_memory_equal(places[i].memory + GUARD, bytes + parts[i].offset, sizes[i]);
        finish_pair(requests[i], responses[i]);
        assert_int_equal(places[i].releases, sizes[i] ? 1 : 0);
    }
    ferry_buffer_destroy(src);
    free(bytes);
}

/* Each way in which a response may fail leaves the others as they are. */
static void leaves_out_what_fails(void **state)
{
    enum { GOOD, REFUSED, FOREIGN, EMPTY_HANDED, OUTSIDE, NO_RESPONSE, SECOND_FAILS, ALSO_GOOD, N };
    static const char *const both[] = {"y", "z", NULL};
    struct place places[N] = {[REFUSED] = {.what = REFUSE},
                              [FOREIGN] = {.what = GIVE_FOREIGN},
                              [EMPTY_HANDED] = {.what = GIVE_NOTHING}};
    TRITONBACKEND_Request *requests[N];
    TRITONBACKEND_Response *responses[N];
    TRITONSERVER_Error *errors[N];
    struct ferry_triton_part y[N], z[N];
    ferry_ticket ticket;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        make_pair(&places[i], i == SECOND_FAILS ? both : only_y, &requests[i], &responses[i]);
        y[i] = (struct ferry_triton_part){shape, 2, 10 * i, 10};
        z[i] = (struct ferry_triton_part){shape, 2, 90, i == SECOND_FAILS ? 11 : 1};
    }
    y[OUTSIDE].offset = SIZE_MAX - 3;
    TRITONBACKEND_Response *spared = responses[NO_RESPONSE];
    responses[NO_RESPONSE] = NULL;
    uint8_t *bytes = make_bytes(100, 7);
    ferry_buffer *src = make_buffer(device, 100);
    assert_int_equal(ferry_copy_from_host(src, bytes, 100, 0), FERRY_OK);
    const struct ferry_triton_output outputs[] = {
        {.name = "y", .datatype = TRITONSERVER_TYPE_UINT8, .src = src, .parts = y},
        {.name = "z", .datatype = TRITONSERVER_TYPE_UINT8, .src = src, .parts = z},
    };
    const uint64_t before = submissions(device);
    succeed(ferry_triton_scatter(device, requests, responses, N, outputs, 2, errors, NULL, NULL,
                                 &ticket));
    wait_for(ticket);
    assert_int_equal(submissions(device) - before, 1);
    assert_null(errors[GOOD]);
    assert_null(errors[ALSO_GOOD]);
    assert_null(errors[NO_RESPONSE]);
    expect_error(errors[REFUSED], TRITONSERVER_ERROR_UNAVAILABLE, "pool exhausted");
    expect_error(errors[FOREIGN], TRITONSERVER_ERROR_UNSUPPORTED, "\"y\": 10 bytes of GPU memory");
    expect_error(errors[EMPTY_HANDED], TRITONSERVER_ERROR_INTERNAL, "no buffer for 10 bytes");
    expect_error(errors[OUTSIDE], TRITONSERVER_ERROR_INVALID_ARG, "exceed the buffer of 100");
    expect_error(errors[SECOND_FAILS], TRITONSERVER_ERROR_INVALID_ARG, "\"z\": 11 bytes");
    assert_memory_equal(places[GOOD].memory + GUARD, bytes, 10);
    assert_memory_equal(places[ALSO_GOOD].memory + GUARD, bytes + 10 * ALSO_GOOD, 10);
    for (size_t i = 0; i < 10; i++) /* no byte for what was left out */
        assert_int_equal(places[SECOND_FAILS].memory[GUARD + i], 0xab);
    assert_int_equal(places[NO_RESPONSE].allocations, 0);
    responses[NO_RESPONSE] = spared;
    for (size_t i = 0; i < N; i++) {
        if (i == FOREIGN)
            places[i].memory = NULL;
        finish_pair(requests[i], responses[i]);
    }
    ferry_buffer_destroy(src);
    free(bytes);
}

/* Only what was asked for is made, in the order of the outputs. */
static void makes_what_is_asked_for(void **state)
{
    static const char *const none[] = {NULL};
    struct place places[2] = {{0}};
    TRITONBACKEND_Request *requests[2];
    TRITONBACKEND_Response *responses[2];
    TRITONSERVER_Error *errors[2];
    uint32_t count = 0;
    ferry_ticket ticket;
    (void)state;
    make_pair(&places[0], only_y, &requests[0], &responses[0]);
    make_pair(&places[1], none, &requests[1], &responses[1]);
    ferry_buffer *src = make_buffer(device, 16);
    fill(src, 0x5a);
    const struct ferry_triton_part parts[2] = {{shape, 2, 0, 16}, {shape, 2, 0, 16}};
    const struct ferry_triton_output outputs[] = {{.name = "x", .src = src, .parts = parts},
                                                  {.name = "y", .src = src, .parts = parts}};
    succeed(ferry_triton_scatter(device, requests, responses, 2, outputs, 2, errors, NULL, NULL,
                                 &ticket));
    wait_for(ticket);
    for (size_t i = 0; i < 2; i++) {
        assert_null(errors[i]);
        succeed(TRITONSERVER_InferenceResponseOutputCount(
            (TRITONSERVER_InferenceResponse *)responses[i], &count));
        assert_int_equal(count, i == 0);
        finish_pair(requests[i], responses[i]);
    }
    ferry_buffer_destroy(src);
}

/* Responses whose requests were released: all outputs are made, and no request is touched. */
static void without_requests(void **state)
{
    struct place place = {.wants_gpu = true};
    TRITONBACKEND_Request *request;
    TRITONBACKEND_Response *response;
    TRITONSERVER_Error *error;
    ferry_ticket ticket;
    (void)state;
    make_pair(&place, only_y, &request, &response);
    ferry_buffer *src = make_buffer(device, 16);
    fill(src, 0x5a);
    const struct ferry_triton_part part = {shape, 2, 3, 13};
    const struct ferry_triton_output output = {.name = "y", .src = src, .parts = &part};
    const uint64_t other = triton_stats().other_memory;
    succeed(
        ferry_triton_scatter(device, NULL, &response, 1, &output, 1, &error, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_null(error);
    assert_int_equal(place.size, 13);
    assert_int_equal(place.memory[GUARD], 0x5a);
    assert_int_equal(triton_stats().other_memory, other); /* CPU was asked for, and given */
    finish_pair(request, response);
    ferry_buffer_destroy(src);
}

/* Into handles: of this device by a copy there, of another one bridged; one ticket for both. */
static void into_handles(void **state)
{
    ferry_device *other = NULL;
    void *near_base = NULL, *far_base = NULL;
    uint8_t *bytes = make_bytes(70000, 11);
    TRITONBACKEND_Request *requests[3];
    TRITONBACKEND_Response *responses[3];
    TRITONSERVER_Error *errors[3];
    ferry_ticket ticket;
    (void)state;
    succeed(ferry_triton_device("host:1", &other));
    ferry_buffer *src = make_buffer(device, 70000);
    ferry_buffer *near = make_buffer(device, 70000), *far = make_buffer(other, 70000);
    assert_int_equal(ferry_copy_from_host(src, bytes, 70000, 0), FERRY_OK);
    fill(near, 0x12);
    fill(far, 0x34);
    succeed(ferry_triton_handle_create(near, &near_base));
    succeed(ferry_triton_handle_create(far, &far_base));
    struct place places[] = {
        {.what = GIVE_HANDLE,
         .handle = (uint8_t *)near_base + 5,
         .wants_gpu = true,
         .id = ferry_triton_device_id(device)},
        {.what = GIVE_HANDLE,
         .handle = (uint8_t *)far_base + 17,
         .id = ferry_triton_device_id(other)},
        {.what = GIVE_CPU},
    };
    for (size_t i = 0; i < 3; i++)
        make_pair(&places[i], only_y, &requests[i], &responses[i]);
    const struct ferry_triton_part parts[] = {
        {shape, 2, 1, 4097}, {shape, 2, 3, 65537}, {shape, 2, 69000, 1000}};
    const struct ferry_triton_output output = {.name = "y", .src = src, .parts = parts};
    const struct ferry_triton_stats before = triton_stats();
    succeed(ferry_triton_scatter(device, requests, responses, 3, &output, 1, errors, NULL, NULL,
                                 &ticket));
    wait_for(ticket);
    for (size_t i = 0; i < 3; i++)
        assert_null(errors[i]);
    assert_int_equal(triton_stats().bridged - before.bridged, 1);
    assert_int_equal(triton_stats().other_memory - before.other_memory, 1); /* the second */
    expect_bytes(near, (struct expected[]){{5, 4097, bytes + 1}}, 1, 0x12);
    expect_bytes(far, (struct expected[]){{17, 65537, bytes + 3}}, 1, 0x34);
    assert_memory_equal(places[2].memory + GUARD, bytes + 69000, 1000);
    for (size_t i = 0; i < 3; i++)
        finish_pair(requests[i], responses[i]);
    ferry_triton_handle_destroy(near_base);
    ferry_triton_handle_destroy(far_base);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(near);
    ferry_buffer_destroy(far);
    ferry_triton_device_release(other);
    free(bytes);
}

/* A copy to another device that fails there makes this device's ticket fail. */
static void bridge_that_fails(void **state)
{
    ferry_device *other = NULL;
    void *base = NULL;
    TRITONBACKEND_Request *request;
    TRITONBACKEND_Response *response;
    TRITONSERVER_Error *error;
    ferry_ticket ticket;
    (void)state;
    setenv("FERRY_HOST", "no_map,fail_exec=2", 1); /* after far's zeros */
    succeed(ferry_triton_device("host:1", &other));
    setenv("FERRY_HOST", "no_map", 1);
    ferry_buffer *src = make_buffer(device, 64), *far = make_buffer(other, 64);
    fill(src, 1);
    succeed(ferry_triton_handle_create(far, &base));
    struct place place = {.what = GIVE_HANDLE, .handle = base};
    make_pair(&place, only_y, &request, &response);
    const struct ferry_triton_part part = {shape, 2, 0, 64};
    const struct ferry_triton_output output = {.name = "y", .src = src, .parts = &part};
    succeed(ferry_triton_scatter(device, &request, &response, 1, &output, 1, &error, NULL, NULL,
                                 &ticket));
    assert_null(error);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_ERROR_EXECUTION_FAILED);
    finish_pair(request, response);
    ferry_triton_handle_destroy(base);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(far);
    ferry_triton_device_release(other);
}

static void refuses_bad_calls(void **state)
{
    struct place place = {0};
    TRITONBACKEND_Request *request;
    TRITONBACKEND_Response *response;
    TRITONSERVER_Error *error;
    ferry_device *other = NULL;
    (void)state;
    succeed(ferry_triton_device("host:1", &other));
    ferry_buffer *far = make_buffer(other, 16);
    make_pair(&place, only_y, &request, &response);
    const struct ferry_triton_part part = {shape, 2, 0, 16};
    const struct ferry_triton_output bad[] = {{.parts = &part},
                                              {.name = "y"},
                                              {.name = "y", .src = far, .parts = &part},
                                              {.name = "y", .parts = &part, .reserved = {1}}};
    static const char *const words[] = {"name", "parts", "another device", "reserved"};
    for (size_t i = 0; i < COUNT(bad); i++)
        expect_error(ferry_triton_scatter(device, &request, &response, 1, &bad[i], 1, &error, NULL,
                                          NULL, NULL),
                     TRITONSERVER_ERROR_INVALID_ARG, words[i]);
    expect_error(
        ferry_triton_scatter(device, &request, NULL, 1, &bad[0], 1, &error, NULL, NULL, NULL),
        TRITONSERVER_ERROR_INVALID_ARG, "responses");
    finish_pair(request, response);
    ferry_buffer_destroy(far);
    ferry_triton_device_release(other);
}

static int open_all(void **state)
{
    succeed(TRITONSERVER_ResponseAllocatorNew(&allocator, give, take_back, NULL));
    succeed(TRITONSERVER_ResponseAllocatorSetQueryFunction(allocator, prefer));
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
        TEST(unpacks_all_sizes), TEST(leaves_out_what_fails), TEST(makes_what_is_asked_for),
        TEST(into_handles),      TEST(bridge_that_fails),     TEST(refuses_bad_calls),
        TEST(without_requests),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
