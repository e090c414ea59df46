#include "support.h"

static ferry_triton_allocator *make_allocator(const struct ferry_triton_allocator_params *params)
{
    ferry_triton_allocator *allocator = NULL;
    succeed(ferry_triton_allocator_create(params, &allocator));
    return allocator;
}

static const int64_t shape[] = {1};

static TRITONSERVER_InferenceResponse *kept_response;

static void keep_response(TRITONSERVER_InferenceResponse *response, const uint32_t flags,
                          void *userp)
{
    (void)flags;
    (void)userp;
    kept_response = response;
}

/* A request to the model, and an open response to it. */
static TRITONBACKEND_Response *respond(ferry_triton_allocator *allocator, void *userp,
                                       TRITONBACKEND_Request **out_request)
{
    TRITONBACKEND_Response *response = NULL;
    TRITONSERVER_InferenceRequest *made = make_request();
    succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(made, "y"));
    succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(made, "z"));
    succeed(TRITONSERVER_InferenceRequestSetResponseCallback(
        made, ferry_triton_allocator_get(allocator), userp, keep_response, NULL));
    *out_request = standin_hand_over(made);
    succeed(TRITONBACKEND_ResponseNew(&response, *out_request));
    return response;
}

static TRITONSERVER_Error *allocate(TRITONBACKEND_Response *response, const char *name, size_t size,
                                    void **out_buffer, TRITONSERVER_MemoryType *out_type,
                                    int64_t *out_id)
{
    TRITONBACKEND_Output *output = NULL;
    succeed(
        TRITONBACKEND_ResponseOutput(response, &output, name, TRITONSERVER_TYPE_UINT8, shape, 1));
    *out_type = TRITONSERVER_MEMORY_CPU;
    *out_id = 0;
    return TRITONBACKEND_OutputBuffer(output, out_buffer, size, out_type, out_id);
}

/* Sends, releases, and deletes the response: the buffers are given back. */
static void finish(TRITONBACKEND_Request *request, TRITONBACKEND_Response *response)
{
    succeed(TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, NULL));
    succeed(TRITONBACKEND_RequestRelease(request, TRITONSERVER_REQUEST_RELEASE_ALL));
    succeed(TRITONSERVER_InferenceResponseDelete(kept_response));
}

static const char *const listed[] = {"private model", "another"};

/* Private memory for the models that the host lists, as GPU; shared for the others, as CPU. */
static void by_model(void **state)
{
    ferry_triton_allocator *allocator = make_allocator(&(struct ferry_triton_allocator_params){
        .device = device, .private_models = listed, .private_model_count = 2});
    (void)state;
    static const struct {
        const char *model;
        bool is_private;
    } cases[] = {{"private model", true}, {"another", true}, {"a third", false}, {NULL, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        TRITONBACKEND_Request *request;
        TRITONSERVER_MemoryType type;
        ferry_buffer *buffer = NULL;
        void *base = NULL, *contents = NULL;
        int64_t id;
        size_t offset = 1;
        void *userp =
            cases[i].model ? ferry_triton_allocator_userp(allocator, cases[i].model) : NULL;
        TRITONBACKEND_Response *response = respond(allocator, userp, &request);
        succeed(TRITONBACKEND_RequestOutputBufferProperties(request, "y", NULL, &type, &id));
        assert_int_equal(type,
                         cases[i].is_private ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU);
        succeed(allocate(response, "y", 4097, &base, &type, &id));
        succeed(ferry_triton_resolve(base, &buffer, &offset));
        assert_int_equal(offset, 0);
        assert_int_equal(ferry_buffer_size(buffer), 4097);
        assert_ptr_equal(ferry_buffer_device(buffer), device);
        if (cases[i].is_private) {
            assert_int_equal(type, TRITONSERVER_MEMORY_GPU);
            assert_int_equal(id, ferry_triton_device_id(device));
            assert_int_equal(ferry_buffer_storage(buffer), FERRY_STORAGE_PRIVATE);
        } else {
            assert_int_equal(type, TRITONSERVER_MEMORY_CPU);
            assert_int_equal(ferry_buffer_storage(buffer), FERRY_STORAGE_SHARED);
            assert_int_equal(ferry_buffer_contents(buffer, &contents), FERRY_OK);
            assert_ptr_equal(contents, base);
            memset(base, 7, 4097);
        }
        expect_error(ferry_triton_allocator_destroy(allocator), TRITONSERVER_ERROR_UNAVAILABLE,
                     "hold 1 buffers");
        finish(request, response);
        expect_error(ferry_triton_resolve(base, &buffer, &offset), TRITONSERVER_ERROR_NOT_FOUND,
                     "not Ferry's memory");
    }
    succeed(ferry_triton_allocator_destroy(allocator));
}

/* No bytes: no buffer, and nothing to release. */
static void zero_bytes(void **state)
{
    ferry_triton_allocator *allocator = make_allocator(&(struct ferry_triton_allocator_params){
        .device = device, .private_models = listed, .private_model_count = 1});
    TRITONBACKEND_Request *request;
    TRITONSERVER_MemoryType type;
    int64_t id;
    void *base = (void *)1;
    (void)state;
    TRITONBACKEND_Response *response =
        respond(allocator, ferry_triton_allocator_userp(allocator, listed[0]), &request);
    succeed(allocate(response, "y", 0, &base, &type, &id));
    assert_null(base);
    finish(request, response);
    succeed(ferry_triton_allocator_destroy(allocator));
}

/* The limit counts what is given out, and is free again when it comes back. */
static void limit(void **state)
{
    ferry_triton_allocator *allocator =
        make_allocator(&(struct ferry_triton_allocator_params){.device = device, .limit = 100});
    TRITONSERVER_MemoryType type;
    int64_t id;
    void *base = NULL;
    (void)state;
    for (int round = 0; round < 3; round++) {
        TRITONBACKEND_Request *request;
        TRITONBACKEND_Response *response = respond(allocator, NULL, &request);
        succeed(allocate(response, "y", 60, &base, &type, &id));
        expect_error(allocate(response, "z", 41, &base, &type, &id), TRITONSERVER_ERROR_UNAVAILABLE,
                     "41 bytes exceed the limit of 100");
        finish(request, response);
    }
    succeed(ferry_triton_allocator_destroy(allocator));
}

static void expect_exhaustion(ferry_device *small, bool fallback)
{
    ferry_triton_allocator *allocator = make_allocator(&(struct ferry_triton_allocator_params){
        .device = small, .private_models = listed, .private_model_count = 1, .fallback = fallback});
    const struct ferry_triton_stats before = triton_stats();
    TRITONBACKEND_Request *request;
    TRITONSERVER_MemoryType type;
    int64_t id;
    void *base = NULL;
    TRITONBACKEND_Response *response =
        respond(allocator, ferry_triton_allocator_userp(allocator, listed[0]), &request);
    TRITONSERVER_Error *error = allocate(response, "y", 8 << 20, &base, &type, &id);
    if (fallback) {
        succeed(error);
        assert_int_equal(type, TRITONSERVER_MEMORY_CPU);
        memset(base, 1, 8 << 20);
        assert_int_equal(triton_stats().fallback_plain - before.fallback_plain, 1);
    } else {
        expect_error(error, TRITONSERVER_ERROR_UNAVAILABLE, "\"y\": 8388608 bytes");
        assert_int_equal(triton_stats().allocations_refused - before.allocations_refused, 1);
    }
    finish(request, response);
    succeed(ferry_triton_allocator_destroy(allocator));
}

/* A device that is full: an error, or where that is allowed a fallback, which is counted. */
static void exhausted(void **state)
{
    ferry_device *small = NULL;
    (void)state;
    setenv("FERRY_HOST", "no_map,memory=4M", 1);
    succeed(ferry_triton_device("host:1", &small));
    setenv("FERRY_HOST", "no_map", 1);
    expect_exhaustion(small, false);
    expect_exhaustion(small, true);
    ferry_triton_device_release(small);
}

static void refuses_bad_calls(void **state)
{
    static const char *const with_null[] = {"a", NULL};
    ferry_triton_allocator *allocator = NULL;
    ferry_device *own = NULL;
    (void)state;
    expect_error(ferry_triton_allocator_create(NULL, &allocator), TRITONSERVER_ERROR_INVALID_ARG,
                 "params");
    expect_error(
        ferry_triton_allocator_create(&(struct ferry_triton_allocator_params){0}, &allocator),
        TRITONSERVER_ERROR_INVALID_ARG, "device");
    expect_error(ferry_triton_allocator_create(
                     &(struct ferry_triton_allocator_params){
                         .device = device, .private_models = with_null, .private_model_count = 2},
                     &allocator),
                 TRITONSERVER_ERROR_INVALID_ARG, "model 1");
    expect_error(
        ferry_triton_allocator_create(
            &(struct ferry_triton_allocator_params){.device = device, .reserved = {[1] = 1}},
            &allocator),
        TRITONSERVER_ERROR_INVALID_ARG, "reserved");
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &own),
                     FERRY_OK);
    expect_error(ferry_triton_allocator_create(
                     &(struct ferry_triton_allocator_params){.device = own}, &allocator),
                 TRITONSERVER_ERROR_INVALID_ARG, "not from ferry_triton_device");
    ferry_device_close(own);
    succeed(ferry_triton_allocator_destroy(NULL));
    assert_null(ferry_triton_allocator_get(NULL));
}

/* From gather to a private output and to the host, by handles all the way. */
static void end_to_end(void **state)
{
    ferry_triton_allocator *allocator = make_allocator(&(struct ferry_triton_allocator_params){
        .device = device, .private_models = listed, .private_model_count = 1});
    uint8_t *bytes = make_bytes(4097, 1), got[4097];
    TRITONBACKEND_Request *request;
    TRITONSERVER_Error *error = NULL;
    ferry_ticket ticket;
    (void)state;
    TRITONBACKEND_Response *response =
        respond(allocator, ferry_triton_allocator_userp(allocator, listed[0]), &request);
    ferry_buffer *src = make_buffer(device, 5000), *found = NULL;
    assert_int_equal(ferry_copy_from_host(src, bytes, 4097, 3), FERRY_OK);
    const struct ferry_triton_part part = {shape, 1, 3, 4097};
    const struct ferry_triton_output output = {
        .name = "y", .datatype = TRITONSERVER_TYPE_UINT8, .src = src, .parts = &part};
    const uint64_t other = triton_stats().other_memory;
    succeed(ferry_triton_scatter(device, &request, &response, 1, &output, 1, &error, NULL, NULL,
                                 &ticket));
    assert_null(error);
    assert_int_equal(triton_stats().other_memory, other); /* it asked for what it was given */
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
    succeed(TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, NULL));
    succeed(TRITONBACKEND_RequestRelease(request, TRITONSERVER_REQUEST_RELEASE_ALL));

    const char *name;
    TRITONSERVER_DataType datatype;
    const int64_t *dims;
    uint64_t dim_count;
    const void *base;
    size_t size, offset;
    TRITONSERVER_MemoryType type;
    int64_t id;
    void *userp;
    succeed(TRITONSERVER_InferenceResponseOutput(kept_response, 0, &name, &datatype, &dims,
                                                 &dim_count, &base, &size, &type, &id, &userp));
    assert_int_equal(type, TRITONSERVER_MEMORY_GPU);
    assert_int_equal(size, 4097);
    succeed(ferry_triton_resolve(base, &found, &offset));
    assert_int_equal(ferry_copy_to_host(found, got, size, offset), FERRY_OK);
    assert_memory_equal(got, bytes, size);
    succeed(TRITONSERVER_InferenceResponseDelete(kept_response));
    succeed(ferry_triton_allocator_destroy(allocator));
    ferry_buffer_destroy(src);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(by_model),  TEST(zero_bytes),        TEST(limit),
        TEST(exhausted), TEST(refuses_bad_calls), TEST(end_to_end),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
