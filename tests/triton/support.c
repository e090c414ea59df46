#include "support.h"

ferry_device *device;

int open_device(void **state)
{
    (void)state;
    setenv("FERRY_HOST", "no_map", 1);
    succeed(ferry_triton_device("host", &device));
    return 0;
}

int close_device(void **state)
{
    (void)state;
    ferry_triton_device_release(device);
    return 0;
}

int begin_test(void **state)
{
    (void)state;
    standin_reset();
    return 0;
}

int end_test(void **state)
{
    (void)state;
    if (standin_violations())
        fail_msg("a rule was broken: %s", standin_last_violation());
    assert_int_equal(standin_live_errors(), 0);
    standin_reset();
    return 0;
}

void succeed(TRITONSERVER_Error *error)
{
    if (!error)
        return;
    fail_msg("%s: %s", TRITONSERVER_ErrorCodeString(error), TRITONSERVER_ErrorMessage(error));
}

void expect_error(TRITONSERVER_Error *error, TRITONSERVER_Error_Code code, const char *words)
{
    if (!error)
        fail_msg("success, not an error with \"%s\"", words);
    if (TRITONSERVER_ErrorCode(error) != code || !strstr(TRITONSERVER_ErrorMessage(error), words))
        fail_msg("%s: %s; expected \"%s\"", TRITONSERVER_ErrorCodeString(error),
                 TRITONSERVER_ErrorMessage(error), words);
    TRITONSERVER_ErrorDelete(error);
}

ferry_buffer *make_buffer(ferry_device *of, size_t size)
{
    ferry_buffer *buffer = NULL;
    assert_int_equal(ferry_buffer_create(
                         of, &(struct ferry_buffer_params){.size = size, .label = "test"}, &buffer),
                     FERRY_OK);
    return buffer;
}

void fill(ferry_buffer *buffer, uint8_t byte)
{
    assert_int_equal(ferry_fill_buffer(buffer, ferry_buffer_size(buffer), 0, &byte, 1), FERRY_OK);
}

void expect_bytes(ferry_buffer *buffer, const struct expected *parts, size_t count, uint8_t byte)
{
    const size_t size = ferry_buffer_size(buffer);
    uint8_t *wanted = malloc(size), *got = malloc(size);
    memset(wanted, byte, size);
    for (size_t i = 0; i < count; i++) {
        assert_true(parts[i].offset + parts[i].size <= size);
        if (parts[i].size)
            memcpy(wanted + parts[i].offset, parts[i].bytes, parts[i].size);
    }
    assert_int_equal(ferry_copy_to_host(buffer, got, size, 0), FERRY_OK);
    for (size_t i = 0; i < size; i++)
        if (got[i] != wanted[i])
            fail_msg("byte %zu of %zu is 0x%02x, not 0x%02x", i, size, got[i], wanted[i]);
    free(wanted);
    free(got);
}

uint8_t *make_bytes(size_t size, unsigned seed)
{
    uint8_t *bytes = malloc(size ? size : 1);
    uint32_t x = seed * 2654435761u + 12345u;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
    return bytes;
}

TRITONSERVER_InferenceRequest *make_request(void)
{
    TRITONSERVER_InferenceRequest *request = NULL;
    succeed(TRITONSERVER_InferenceRequestNew(&request, NULL, "test", -1));
    return request;
}

void add_input(TRITONSERVER_InferenceRequest *request, const char *name)
{
    const int64_t shape[] = {-7, 3}; /* nothing may be made of it */
    succeed(TRITONSERVER_InferenceRequestAddInput(request, name, TRITONSERVER_TYPE_BYTES, shape,
                                                  COUNT(shape)));
}

void add_data(TRITONSERVER_InferenceRequest *request, const char *name, const void *base,
              size_t size)
{
    add_memory(request, name, base, size, TRITONSERVER_MEMORY_CPU, 0);
}

void add_memory(TRITONSERVER_InferenceRequest *request, const char *name, const void *base,
                size_t size, TRITONSERVER_MemoryType type, int64_t id)
{
    succeed(TRITONSERVER_InferenceRequestAppendInputData(request, name, base, size, type, id));
}

TRITONBACKEND_Request *simple(const void *bytes, size_t size)
{
    TRITONSERVER_InferenceRequest *request = make_request();
    add_input(request, "x");
    add_data(request, "x", bytes, size);
    return standin_hand_over(request);
}

void drop_response(TRITONSERVER_InferenceResponse *response, const uint32_t flags, void *userp)
{
    (void)flags;
    (void)userp;
    succeed(TRITONSERVER_InferenceResponseDelete(response));
}

TRITONSERVER_Error *keep_memory(TRITONSERVER_ResponseAllocator *of, void *buffer,
                                void *buffer_userp, size_t size, TRITONSERVER_MemoryType type,
                                int64_t id)
{
    (void)of;
    (void)buffer;
    (void)buffer_userp;
    (void)size;
    (void)type;
    (void)id;
    return NULL;
}

void finish_request(TRITONBACKEND_Request *request)
{
    TRITONBACKEND_Response *response = NULL;
    succeed(TRITONSERVER_InferenceRequestSetResponseCallback(
        (TRITONSERVER_InferenceRequest *)request, NULL, NULL, drop_response, NULL));
    succeed(TRITONBACKEND_ResponseNew(&response, request));
    succeed(TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, NULL));
    succeed(TRITONBACKEND_RequestRelease(request, TRITONSERVER_REQUEST_RELEASE_ALL));
}

void wait_for(ferry_ticket ticket)
{
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
}

void note(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct called *called = user;
    called->status = (int)status;
    called->ticket = ticket;
    called->calls++;
}

uint64_t submissions(ferry_device *of)
{
    struct ferry_stats stats;
    ferry_device_get_stats(of, &stats, sizeof stats);
    return stats.submissions;
}

struct ferry_triton_stats triton_stats(void)
{
    struct ferry_triton_stats stats;
    ferry_triton_get_stats(&stats, sizeof stats);
    return stats;
}
