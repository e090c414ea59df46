/* Memory of CUDA's own in requests and responses, on the strict CUDA: gathered, scattered, passed
 * through, and refused where it is not. */
#include "host.h"

#include "tests/strictcuda/strictcuda.h"

#include <ferry/cuda.h>
#include <stdio.h>

static ferry_device *cuda;

enum { REQUESTS = 40, ROOM = 1 << 20 };

static int open_cuda(void **state)
{
    (void)state;
    succeed(ferry_triton_device("cuda:0", &cuda));
    device = cuda;
    return 0;
}

static int close_cuda(void **state)
{
    (void)state;
    ferry_triton_device_release(cuda);
    assert_int_equal(strictcuda_live(), 0);
    return 0;
}

/* Memory of the user's with these bytes in it. */
static uint64_t place(const void *bytes, size_t size)
{
    const uint64_t address = strictcuda_alloc(STRICTCUDA_DEVICE, size);
    assert_true(address);
    memcpy(strictcuda_bytes(address), bytes, size);
    return address;
}

static void add_cuda(TRITONSERVER_InferenceRequest *made, uint64_t address, size_t size, int64_t id)
{
    add_memory(made, "x", (void *)(uintptr_t)address, size, TRITONSERVER_MEMORY_GPU, id);
}

static TRITONBACKEND_Request *of_cuda(uint64_t address, size_t size, int64_t id)
{
    TRITONSERVER_InferenceRequest *made = make_request();
    add_input(made, "x");
    add_cuda(made, address, size, id);
    return standin_hand_over(made);
}

/* CUDA numbers its devices by itself, whatever else there is. */
static void has_cudas_number(void **state)
{
    int ordinal = -1;
    (void)state;
    assert_int_equal(ferry_cuda_device_get(cuda, &ordinal, NULL), FERRY_OK);
    assert_int_equal(ferry_triton_device_id(cuda), ordinal);
}

/* Each in memory of its own, which is only looked at at the ends of all of it. */
static void gather_many(bool waits)
{
    static const size_t sizes[] = {1, 33, 4096, 4097, 65537};
    TRITONBACKEND_Request *requests[REQUESTS];
    TRITONSERVER_Error *errors[REQUESTS];
    struct ferry_triton_span spans[REQUESTS];
    struct expected parts[REQUESTS];
    uint64_t addresses[REQUESTS];
    uint8_t *bytes = make_bytes(ROOM, 7);
    ferry_buffer *dst = make_buffer(cuda, ROOM);
    ferry_ticket ticket = 0;
    size_t at = 5;
    fill(dst, 0x11);
    for (size_t i = 0; i < REQUESTS; i++) {
        const size_t size = sizes[i % COUNT(sizes)];
        addresses[i] = place(bytes + at, size + 3);
        requests[i] = i % 8 == 7 ? simple(bytes + at, size) : of_cuda(addresses[i], size, 0);
        parts[i] = (struct expected){at, size, bytes + at};
        at += size;
    }
    const struct ferry_triton_input input = {.name = "x", .dst = dst, .offset = 5};
    const uint64_t before = submissions(cuda);
    const uint64_t asked = strictcuda_calls("cuPointerGetAttributes");
    if (waits)
        succeed(ferry_triton_gather_wait(cuda, requests, REQUESTS, &input, 1, spans, errors));
    else
        succeed(ferry_triton_gather(cuda, requests, REQUESTS, &input, 1, spans, errors, NULL, NULL,
                                    &ticket));
    if (!waits) {
        wait_for(ticket);
        assert_int_equal(submissions(cuda) - before, 1);
        assert_true(strictcuda_calls("cuPointerGetAttributes") - asked < REQUESTS);
    }
    for (size_t i = 0; i < REQUESTS; i++) {
        assert_null(errors[i]);
        assert_int_equal(spans[i].offset, parts[i].offset);
        finish_request(requests[i]);
        strictcuda_free(addresses[i]);
    }
    expect_bytes(dst, parts, REQUESTS, 0x11);
    ferry_buffer_destroy(dst);
    free(bytes);
}

static void gather_of_all_kinds(void **state)
{
    (void)state;
    gather_many(false);
}

static void gather_and_wait(void **state)
{
    (void)state;
    gather_many(true);
    gather_many(true);
}

/* Beside a handle and host memory, in one request. */
static void mixed_in_a_request(void **state)
{
    uint8_t *bytes = make_bytes(300, 3);
    void *base = NULL;
    TRITONSERVER_Error *error;
    struct ferry_triton_span span;
    ferry_ticket ticket;
    (void)state;
    const uint64_t mine = place(bytes + 200, 100);
    ferry_buffer *src = make_buffer(cuda, 300), *dst = make_buffer(cuda, 400);
    assert_int_equal(ferry_copy_from_host(src, bytes, 300, 0), FERRY_OK);
    fill(dst, 0x55);
    succeed(ferry_triton_handle_create(src, &base));
    TRITONSERVER_InferenceRequest *made = make_request();
    add_input(made, "x");
    add_memory(made, "x", (uint8_t *)base + 17, 65, TRITONSERVER_MEMORY_GPU, 0);
    add_cuda(made, mine + 1, 99, 0);
    add_data(made, "x", bytes + 100, 33);
    add_cuda(made, mine, 3, 0);
    TRITONBACKEND_Request *request = standin_hand_over(made);
    const struct ferry_triton_input input = {
        .name = "x", .dst = dst, .offset = 1, .pass_through = true};
    const uint64_t before = submissions(cuda);
    succeed(ferry_triton_gather(cuda, &request, 1, &input, 1, &span, &error, NULL, NULL, &ticket));
    wait_for(ticket);
    assert_null(error);
    assert_int_equal(submissions(cuda) - before, 1);
    const struct expected parts[] = {
        {1, 65, bytes + 17}, {66, 99, bytes + 201}, {165, 33, bytes + 100}, {198, 3, bytes + 200}};
    expect_bytes(dst, parts, COUNT(parts), 0x55);
    finish_request(request);
    ferry_triton_handle_destroy(base);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
    strictcuda_free(mine);
    free(bytes);
}

/* What is said to be the device's and is not: its request alone is left out, and takes no place. */
static void refuses_what_is_not_cudas(void **state)
{
    uint8_t *bytes = make_bytes(4096, 9), here[64];
    const uint64_t good[] = {place(bytes, 100), place(bytes + 100, 100)};
    const uint64_t managed = strictcuda_alloc(STRICTCUDA_MANAGED, 64);
    const struct {
        uint64_t address;
        int64_t id;
    } bad[] = {{(uintptr_t)here, 0}, {1, 0}, {managed, 0}, {good[0], 1}, {(uint64_t)1 << 54, 0}};
    ferry_buffer *dst = make_buffer(cuda, 4096);
    const struct ferry_triton_input input = {.name = "x", .dst = dst};
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        TRITONBACKEND_Request *requests[] = {of_cuda(bad[i].address, 50, bad[i].id),
                                             of_cuda(good[0], 100, 0), of_cuda(good[1], 100, 0)};
        TRITONSERVER_Error *errors[3];
        struct ferry_triton_span spans[3];
        const struct ferry_triton_stats before = triton_stats();
        fill(dst, 0x21);
        succeed(ferry_triton_gather_wait(cuda, requests, 3, &input, 1, spans, errors));
        expect_error(errors[0], TRITONSERVER_ERROR_UNSUPPORTED, "50 bytes of GPU memory");
        assert_null(errors[1]);
        assert_null(errors[2]);
        assert_null(spans[0].buffer);
        assert_int_equal(triton_stats().foreign - before.foreign, 1);
        assert_int_equal(triton_stats().gather_errors - before.gather_errors, 1);
        assert_int_equal(triton_stats().gathered_requests - before.gathered_requests, 2);
        assert_int_equal(triton_stats().gathered_bytes - before.gathered_bytes, 200);
        expect_bytes(dst, (struct expected[]){{0, 200, bytes}}, 1, 0x21);
        for (size_t k = 0; k < 3; k++)
            finish_request(requests[k]);
    }
    ferry_buffer_destroy(dst);
    strictcuda_free(good[0]);
    strictcuda_free(good[1]);
    strictcuda_free(managed);
    free(bytes);
}

/* One request: the tensor itself is handed out as a buffer, if the caller takes that over. */
static void passes_through(void **state)
{
    uint8_t *bytes = make_bytes(5000, 4), got[5000];
    const uint64_t mine = place(bytes, 5000);
    ferry_buffer *dst = make_buffer(cuda, 8192), *wrapped = (ferry_buffer *)(uintptr_t)1;
    struct ferry_triton_input input = {.name = "x", .dst = dst, .pass_through = true};
    struct ferry_triton_span span;
    TRITONSERVER_Error *error;
    (void)state;
    for (int i = 0; i < 2; i++) {
        TRITONBACKEND_Request *request = of_cuda(mine + 7, 4993, 0);
        const uint64_t before = submissions(cuda), passed = triton_stats().passed_through;
        const uint64_t asked = strictcuda_calls("cuPointerGetAttributes");
        input.wrapped = i ? &wrapped : NULL;
        succeed(ferry_triton_gather_wait(cuda, &request, 1, &input, 1, &span, &error));
        assert_null(error);
        assert_int_equal(submissions(cuda) - before, !i);
        assert_int_equal(strictcuda_calls("cuPointerGetAttributes") - asked, 1);
        assert_int_equal(triton_stats().passed_through - passed, i);
        assert_ptr_equal(span.buffer, i ? wrapped : dst);
        assert_int_equal(span.size, 4993);
        assert_int_equal(ferry_copy_to_host(span.buffer, got, 4993, span.offset), FERRY_OK);
        assert_memory_equal(got, bytes + 7, 4993);
        if (i)
            ferry_buffer_destroy(wrapped);
        finish_request(request);
    }
    /* Not of two, nor of what is not CUDA's; and nothing is left over if another input is missing. */
    TRITONBACKEND_Request *two[] = {of_cuda(mine, 10, 0), of_cuda(mine + 10, 10, 0)};
    struct ferry_triton_span spans[2];
    TRITONSERVER_Error *errors[2];
    succeed(ferry_triton_gather_wait(cuda, two, 2, &input, 1, spans, errors));
    assert_null(wrapped);
    assert_ptr_equal(spans[1].buffer, dst);
    finish_request(two[0]);
    finish_request(two[1]);
    two[0] = of_cuda((uintptr_t)got, 10, 0);
    succeed(ferry_triton_gather_wait(cuda, two, 1, &input, 1, spans, errors));
    expect_error(errors[0], TRITONSERVER_ERROR_UNSUPPORTED, "10 bytes of GPU memory");
    assert_null(wrapped);
    finish_request(two[0]);
    const struct ferry_triton_input both[] = {input, {.name = "absent", .dst = dst}};
    two[0] = of_cuda(mine, 10, 0);
    succeed(ferry_triton_gather_wait(cuda, two, 1, both, 2, spans, errors));
    expect_error(errors[0], TRITONSERVER_ERROR_INVALID_ARG, "absent");
    assert_null(wrapped);
    assert_null(spans[0].buffer);
    finish_request(two[0]);
    ferry_buffer_destroy(dst);
    strictcuda_free(mine);
    free(bytes);
}

/* The same memory in many requests, and memory that overlaps: few ranges are looked at. */
static void overlap(void **state)
{
    enum { SIZE = 1000 };
    TRITONBACKEND_Request *requests[REQUESTS];
    TRITONSERVER_Error *errors[REQUESTS];
    struct ferry_triton_span spans[REQUESTS];
    struct expected parts[REQUESTS];
    uint8_t *bytes = make_bytes(REQUESTS * SIZE, 14);
    const uint64_t mine = place(bytes, REQUESTS * SIZE);
    ferry_buffer *dst = make_buffer(cuda, REQUESTS * SIZE);
    const struct ferry_triton_input input = {.name = "x", .dst = dst};
    (void)state;
    for (size_t step = 0; step <= SIZE; step += SIZE / 4) {
        for (size_t i = 0; i < REQUESTS; i++) {
            const size_t at = (REQUESTS - 1 - i) * step;
            requests[i] = of_cuda(mine + at, SIZE, 0);
            parts[i] = (struct expected){i * SIZE, SIZE, bytes + at};
        }
        fill(dst, 0x66);
        const uint64_t asked = strictcuda_calls("cuPointerGetAttributes");
        succeed(ferry_triton_gather_wait(cuda, requests, REQUESTS, &input, 1, spans, errors));
        assert_true(strictcuda_calls("cuPointerGetAttributes") - asked <= 6);
        for (size_t i = 0; i < REQUESTS; i++) {
            assert_null(errors[i]);
            finish_request(requests[i]);
        }
        expect_bytes(dst, parts, REQUESTS, 0x66);
    }
    ferry_buffer_destroy(dst);
    strictcuda_free(mine);
    free(bytes);
}

/* --- responses -------------------------------------------------------------------------------- */

/* Where a response's output goes: CUDA's memory at an address, or the host's. */
struct where {
    uint64_t address;
    int64_t id;
    uint8_t *memory; /* where address is 0 */
};

static TRITONSERVER_Error *give(TRITONSERVER_ResponseAllocator *allocator, const char *name,
                                size_t size, TRITONSERVER_MemoryType type, int64_t id, void *userp,
                                void **buffer, void **buffer_userp,
                                TRITONSERVER_MemoryType *actual_type, int64_t *actual_id)
{
    const struct where *where = userp;
    (void)allocator;
    (void)name;
    (void)size;
    (void)type;
    (void)id;
    *buffer = where->address ? (void *)(uintptr_t)where->address : where->memory;
    *buffer_userp = NULL;
    *actual_type = where->address ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU;
    *actual_id = where->id;
    return NULL;
}

static TRITONSERVER_ResponseAllocator *allocator;

static void make_pair(struct where *where, TRITONBACKEND_Request **out_request,
                      TRITONBACKEND_Response **out_response)
{
    TRITONSERVER_InferenceRequest *made = make_request();
    succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(made, "y"));
    succeed(TRITONSERVER_InferenceRequestSetResponseCallback(made, allocator, where, drop_response,
                                                             NULL));
    *out_request = standin_hand_over(made);
    succeed(TRITONBACKEND_ResponseNew(out_response, *out_request));
}

static void finish_pair(TRITONBACKEND_Request *request, TRITONBACKEND_Response *response)
{
    succeed(TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, NULL));
    succeed(TRITONBACKEND_RequestRelease(request, TRITONSERVER_REQUEST_RELEASE_ALL));
}

/* Scatters size bytes to each of the places, of which those in bad are to be refused. */
static void scatter_to(struct where *places, size_t count, size_t size, size_t bad, bool from_host)
{
    TRITONBACKEND_Request *requests[REQUESTS];
    TRITONBACKEND_Response *responses[REQUESTS];
    TRITONSERVER_Error *errors[REQUESTS];
    struct ferry_triton_part parts[REQUESTS];
    const int64_t shape[] = {(int64_t)size};
    uint8_t *bytes = make_bytes(count * size + 1, 12);
    ferry_buffer *src = make_buffer(cuda, count * size + 1);
    ferry_ticket ticket;
    assert_int_equal(ferry_copy_from_host(src, bytes, count * size + 1, 0), FERRY_OK);
    for (size_t i = 0; i < count; i++) {
        make_pair(&places[i], &requests[i], &responses[i]);
        parts[i] = (struct ferry_triton_part){shape, 1, 1 + i * size, size};
    }
    const struct ferry_triton_output output = {.name = "y",
                                               .src = from_host ? NULL : src,
                                               .parts = parts,
                                               .host = from_host ? bytes : NULL};
    const uint64_t before = submissions(cuda), foreign = triton_stats().foreign;
    const struct ferry_triton_stats stats = triton_stats();
    succeed(ferry_triton_scatter(cuda, requests, responses, (uint32_t)count, &output, 1, errors,
                                 NULL, NULL, &ticket));
    wait_for(ticket);
    assert_int_equal(submissions(cuda) - before, 1);
    assert_int_equal(triton_stats().foreign - foreign, bad < count);
    assert_int_equal(triton_stats().scattered_bytes - stats.scattered_bytes,
                     (count - (bad < count)) * size);
    for (size_t i = 0; i < count; i++) {
        if (i == bad) {
            expect_error(errors[i], TRITONSERVER_ERROR_UNSUPPORTED, "bytes of GPU memory");
        } else {
            const struct where *where = &places[i];
            const uint8_t *got = where->address ? strictcuda_bytes(where->address) : where->memory;
            assert_null(errors[i]);
            assert_memory_equal(got, bytes + parts[i].offset, size);
        }
        finish_pair(requests[i], responses[i]);
    }
    ferry_buffer_destroy(src);
    free(bytes);
}

static void scatters(void **state)
{
    enum { SIZE = 4097 };
    struct where places[REQUESTS] = {{0}};
    uint8_t here[64], *memory = calloc(1, SIZE);
    (void)state;
    for (size_t i = 0; i < REQUESTS; i++)
        places[i].address = strictcuda_alloc(STRICTCUDA_DEVICE, SIZE);
    scatter_to(places, REQUESTS, SIZE, SIZE_MAX, false);
    scatter_to(places, 1, SIZE, SIZE_MAX, false);
    scatter_to(places, 2, SIZE, SIZE_MAX, true);
    const struct where kept = places[1];
    places[1] = (struct where){.memory = memory};
    scatter_to(places, REQUESTS, SIZE, SIZE_MAX, false);
    places[1] = (struct where){.address = (uintptr_t)here};
    scatter_to(places, REQUESTS, SIZE, 1, false);
    places[1] = (struct where){.address = kept.address, .id = 1};
    scatter_to(places, REQUESTS, SIZE, 1, false);
    places[1] = kept;
    for (size_t i = 0; i < REQUESTS; i++)
        strictcuda_free(places[i].address);
    free(memory);
}

/* CUDA refuses a copy that goes past the end of an allocation, also where another one follows. */
static void end_to_end(void **state)
{
    enum { SIZE = 1 << 16, ROW = 12 };
    uint64_t row[ROW];
    struct where places[ROW];
    TRITONBACKEND_Request *requests[ROW];
    TRITONSERVER_Error *errors[ROW];
    struct ferry_triton_span spans[ROW];
    uint8_t *bytes = make_bytes((size_t)SIZE * ROW, 8);
    ferry_buffer *dst = make_buffer(cuda, (size_t)SIZE * ROW);
    const struct ferry_triton_input input = {.name = "x", .dst = dst};
    (void)state;
    strictcuda_alloc_row(SIZE, row, ROW);
    for (size_t count = 2; count <= ROW; count++) {
        for (size_t i = 0; i < count; i++) {
            memcpy(strictcuda_bytes(row[i]), bytes + i * SIZE, SIZE);
            requests[i] = of_cuda(row[i], SIZE, 0);
        }
        fill(dst, 0x42);
        succeed(
            ferry_triton_gather_wait(cuda, requests, (uint32_t)count, &input, 1, spans, errors));
        for (size_t i = 0; i < count; i++) {
            assert_null(errors[i]);
            finish_request(requests[i]);
            memset(strictcuda_bytes(row[i]), 0, SIZE);
            places[i] = (struct where){.address = row[count % 2 ? i : count - 1 - i]};
        }
        expect_bytes(dst, (struct expected[]){{0, count * SIZE, bytes}}, 1, 0x42);
        scatter_to(places, count, SIZE, SIZE_MAX, false);
    }
    for (size_t i = 0; i < ROW; i++)
        strictcuda_free(row[i]);
    ferry_buffer_destroy(dst);
    free(bytes);
}

/* --- the backend ------------------------------------------------------------------------------ */

static struct host host;

static const char config[] = "backend: \"ferry\"\nmax_batch_size: 8\n"
                             "input { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"
                             "output { name: \"X\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"
                             "instance_group { kind: KIND_GPU gpus: [ %d ] }\n";

static TRITONSERVER_Error *load_on(int gpu)
{
    char text[sizeof config + 16];
    snprintf(text, sizeof text, config, gpu);
    return host_load(&host, "m", text);
}

/* From CUDA's memory to CUDA's memory and to the host's, the short way and the long one. */
static void a_model_of_cudas(void **state)
{
    static const size_t sizes[] = {1, 4097, 256 << 10, (256 << 10) + 1, 3 << 20};
    static const char *const x[] = {"X", NULL};
    uint8_t *bytes = make_bytes(4 << 20, 5);
    (void)state;
    standin_with_gpu(true);
    host_open(&host, FERRY_BACKENDS);
    succeed(load_on(0));
    for (size_t i = 0; i < 4 * COUNT(sizes); i++) {
        const size_t size = sizes[i / 4];
        const bool in_cuda = i % 2, out_cuda = i % 4 / 2;
        const uint64_t in = place(bytes + i, size),
                       out = strictcuda_alloc(STRICTCUDA_DEVICE, size + 1);
        struct where where = {.address = out_cuda ? out : 0, .memory = calloc(1, size)};
        struct call call;
        const struct tensor_data input = {.name = "A",
                                          .bytes = in_cuda ? (void *)(uintptr_t)in : bytes + i,
                                          .size = size,
                                          .shape = {1, (int64_t)size},
                                          .dims = 2,
                                          .type = in_cuda ? TRITONSERVER_MEMORY_GPU
                                                          : TRITONSERVER_MEMORY_CPU};
        strictcuda_bytes(out)[size] = 0x77;
        call_start(&call, &host, "m", &input, 1, x, allocator, &where);
        call_wait(&call);
        TRITONSERVER_Error *error = TRITONSERVER_InferenceResponseError(call.response);
        if (error)
            fail_msg("%zu bytes: %s", size, TRITONSERVER_ErrorMessage(error));
        assert_memory_equal(out_cuda ? strictcuda_bytes(out) : where.memory, bytes + i, size);
        assert_int_equal(strictcuda_bytes(out)[size], 0x77);
        call_finish(&call);
        strictcuda_free(in);
        strictcuda_free(out);
        free(where.memory);
    }
    host_unload(&host, "m");
    expect_error(load_on(1), TRITONSERVER_ERROR_NOT_FOUND, "cuda:1");
    host_close(&host);
    standin_with_gpu(false);
    free(bytes);
}

/* Outputs that the allocator gives out are where CUDA's other users may read and write them, and
 * nothing is under way on them. */
static void gives_out_addresses(void **state)
{
    enum { SIZE = 70001 };
    static const char *const models[] = {"m"};
    const struct ferry_triton_allocator_params params = {
        .device = cuda, .private_models = models, .private_model_count = 1};
    ferry_triton_allocator *ours = NULL;
    struct ferry_triton_part part = {.shape = (int64_t[]){SIZE}, .dims = 1, .size = SIZE};
    uint8_t *bytes = make_bytes(SIZE, 6), *zeros = calloc(1, SIZE);
    ferry_buffer *src = make_buffer(cuda, SIZE), *found = NULL;
    unsigned long long address = 0;
    size_t offset = 0;
    TRITONSERVER_Error *error;
    (void)state;
    assert_int_equal(ferry_copy_from_host(src, bytes, SIZE, 0), FERRY_OK);
    succeed(ferry_triton_allocator_create(&params, &ours));
    for (int i = 0; i < 3; i++) {
        TRITONBACKEND_Response *response;
        TRITONBACKEND_Output *output;
        void *base = NULL;
        TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_GPU;
        int64_t id = 0;
        TRITONSERVER_InferenceRequest *made = make_request();
        for (size_t k = 0; k < 2; k++)
            succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(made, k ? "z" : "y"));
        succeed(TRITONSERVER_InferenceRequestSetResponseCallback(
            made, ferry_triton_allocator_get(ours), ferry_triton_allocator_userp(ours, "m"),
            drop_response, NULL));
        TRITONBACKEND_Request *request = standin_hand_over(made);
        succeed(TRITONBACKEND_ResponseNew(&response, request));
        succeed(TRITONBACKEND_ResponseOutput(response, &output, "z", TRITONSERVER_TYPE_UINT8,
                                             part.shape, 1));
        succeed(TRITONBACKEND_OutputBuffer(output, &base, SIZE, &type, &id));
        assert_int_equal(type, TRITONSERVER_MEMORY_GPU);
        assert_int_equal(id, 0);
        succeed(ferry_triton_resolve(base, &found, &offset));
        assert_int_equal(ferry_cuda_buffer_get(found, &address), FERRY_OK);
        assert_int_equal((uintptr_t)base, address);
        assert_int_equal(offset, 0);
        assert_memory_equal(strictcuda_bytes(address), zeros, SIZE);
        memset(strictcuda_bytes(address), 0x3c, SIZE); /* what the next one must not see */
        const struct ferry_triton_output output_y = {.name = "y", .src = src, .parts = &part};
        succeed(ferry_triton_scatter_wait(cuda, &request, &response, 1, &output_y, 1, &error));
        assert_null(error);
        finish_pair(request, response);
    }
    succeed(ferry_triton_allocator_destroy(ours));
    ferry_buffer_destroy(src);
    free(bytes);
    free(zeros);
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

#define CUDA_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CUDA_TEST(has_cudas_number),
        CUDA_TEST(gather_of_all_kinds),
        CUDA_TEST(gather_and_wait),
        CUDA_TEST(mixed_in_a_request),
        CUDA_TEST(refuses_what_is_not_cudas),
        CUDA_TEST(passes_through),
        CUDA_TEST(overlap),
        CUDA_TEST(scatters),
        CUDA_TEST(end_to_end),
        CUDA_TEST(a_model_of_cudas),
        CUDA_TEST(gives_out_addresses),
    };
    return cmocka_run_group_tests(tests, open_cuda, close_cuda);
}
