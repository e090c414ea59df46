#include "host.h"

#include <stdatomic.h>
#include <stdio.h>

static struct host host;

/* Requests of all sizes meet in a batch; one without B is the backend's to refuse. */
static const char model_text[] = "backend: \"ferry\"\n"
                                 "max_batch_size: 16\n"
                                 "input [ { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ]\n"
                                 "          allow_ragged_batch: true },\n"
                                 "        { name: \"B\" data_type: TYPE_UINT8 dims: [ -1 ]\n"
                                 "          allow_ragged_batch: true optional: true } ]\n"
                                 "output [ { name: \"X\" data_type: TYPE_UINT8 dims: [ -1 ] },\n"
                                 "         { name: \"Y\" data_type: TYPE_UINT8 dims: [ -1 ] } ]\n"
                                 "dynamic_batching { max_queue_delay_microseconds: 2000 }\n";

static const char one_text[] = "backend: \"ferry\"\nmax_batch_size: 0\n"
                               "input { name: \"A\" data_type: TYPE_UINT8 dims: [ -1, -1 ] }\n"
                               "output { name: \"X\" data_type: TYPE_UINT8 dims: [ -1, -1 ] }\n"
                               "parameters { key: \"device\" value: { string_value: \"host\" } }\n";

static TRITONSERVER_Error *load(const char *name, const char *text, const char *more)
{
    char config[4096];
    snprintf(config, sizeof config, "%s%s", text, more);
    return host_load(&host, name, config);
}

static struct tensor_data tensor(const char *name, const uint8_t *bytes, size_t size)
{
    return (struct tensor_data){
        .name = name, .bytes = bytes, .size = size, .shape = {1, (int64_t)size}, .dims = 2};
}

static const char *const both[] = {"X", "Y", NULL}, *const only_x[] = {"X", NULL};

static const size_t sizes[] = {0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};

/* Two inputs and outputs of every awkward size, batched as the server likes; each byte checked. */
static void run_sizes(const char *model, uint8_t mask)
{
    enum { N = COUNT(sizes), ROUNDS = 3 };
    static struct call calls[N * ROUNDS];
    uint8_t *bytes = make_bytes(70000, 1), *wanted = malloc(70000);
    for (size_t i = 0; i < 70000; i++)
        wanted[i] = bytes[i] ^ mask;
    for (size_t i = 0; i < N * ROUNDS; i++) {
        const struct tensor_data inputs[] = {
            tensor("A", bytes + i, sizes[i % N]),
            tensor("B", bytes + 2 * i, sizes[(i * 7 + 3) % N]),
        };
        call_start(&calls[i], &host, model, inputs, 2, i % 4 == 3 ? only_x : both, NULL, NULL);
    }
    for (size_t i = 0; i < N * ROUNDS; i++) {
        const size_t a = sizes[i % N], b = sizes[(i * 7 + 3) % N];
        call_wait(&calls[i]);
        call_expect(&calls[i], "X", wanted + i, a, (int64_t[]){1, (int64_t)a}, 2);
        if (i % 4 != 3)
            call_expect(&calls[i], "Y", wanted + 2 * i, b, (int64_t[]){1, (int64_t)b}, 2);
        call_finish(&calls[i]);
    }
    free(bytes);
    free(wanted);
}

static void identity(void **state)
{
    (void)state;
    (void)standin_largest_batch();
    const struct ferry_triton_stats before = triton_stats();
    succeed(load("m", model_text, ""));
    run_sizes("m", 0);
    host_unload(&host, "m");
    assert_true(standin_largest_batch() > 1);
    assert_int_equal(triton_stats().gathered_requests - before.gathered_requests, 3 * COUNT(sizes));
    assert_true(triton_stats().gathers - before.gathers < 3 * COUNT(sizes));
}

/* Requests without a byte: responses with outputs without a byte. */
static void empty_requests(void **state)
{
    static struct call calls[5];
    const struct tensor_data inputs[] = {tensor("A", NULL, 0), tensor("B", NULL, 0)};
    (void)state;
    succeed(load("m", model_text, ""));
    for (size_t i = 0; i < COUNT(calls); i++)
        call_start(&calls[i], &host, "m", inputs, 2, both, NULL, NULL);
    for (size_t i = 0; i < COUNT(calls); i++) {
        call_wait(&calls[i]);
        call_expect(&calls[i], "X", NULL, 0, (int64_t[]){1, 0}, 2);
        call_expect(&calls[i], "Y", NULL, 0, (int64_t[]){1, 0}, 2);
        call_finish(&calls[i]);
    }
    host_unload(&host, "m");
}

/* The external work comes after the gather and before the scatter, or the bytes would differ. */
static void work_on_the_device(void **state)
{
    (void)state;
    succeed(load("m", model_text,
                 "parameters { key: \"operation\" value: { string_value: \"invert\" } }\n"
                 "parameters { key: \"device\" value: { string_value: \"host:1\" } }\n"
                 "parameters { key: \"in_flight\" value: { string_value: \"1\" } }\n"
                 "instance_group { kind: KIND_MODEL count: 2 }\n"));
    run_sizes("m", 0xff);
    host_unload(&host, "m");
}

/* Buffers that grew are zeroed, each in a submission of its own; fills there are no others. */
static uint64_t fills(void)
{
    struct ferry_stats stats;
    uint64_t count = 0;
    ferry_device_get_stats(device, &stats, sizeof stats);
    for (size_t path = 0; path < FERRY_PATH_COUNT; path++)
        count += stats.operations[FERRY_OPERATION_FILL][path].operations;
    return count;
}

/* One gather, one copy on the device and one scatter for a batch: three submissions. */
static void few_submissions(void **state)
{
    uint8_t *bytes = make_bytes(8192, 2);
    static struct call calls[8];
    (void)state;
    succeed(
        load("m", model_text, "parameters { key: \"device\" value: { string_value: \"host\" } }"));
    (void)standin_largest_batch();
    const uint64_t before = submissions(device) - fills(), gathers = triton_stats().gathers;
    for (size_t i = 0; i < COUNT(calls); i++) {
        const struct tensor_data inputs[] = {tensor("A", bytes + i, 4096), tensor("B", bytes, 100)};
        call_start(&calls[i], &host, "m", inputs, 2, both, NULL, NULL);
    }
    for (size_t i = 0; i < COUNT(calls); i++) {
        call_wait(&calls[i]);
        call_expect(&calls[i], "X", bytes + i, 4096, (int64_t[]){1, 4096}, 2);
        call_finish(&calls[i]);
    }
    host_unload(&host, "m");
    const uint64_t batches = triton_stats().gathers - gathers;
    assert_true(batches >= 1 && batches <= COUNT(calls));
    assert_true(submissions(device) - fills() - before <= 3 * batches);
    free(bytes);
}

static void kinds_of_instances(void **state)
{
    static const struct {
        const char *more, *words;
        bool gpu;
    } cases[] = {
        {"instance_group { kind: KIND_CPU count: 3 }", NULL, false},
        {"instance_group { kind: KIND_MODEL }", NULL, false},
        {"instance_group { kind: KIND_GPU gpus: [ 0 ] }", "does not support GPUs", false},
        {"instance_group { kind: KIND_GPU gpus: [ 99 ] }", "gpus [99]", true},
    };
    char config[160], words[64];
    struct ferry_device_info info;
    struct call call;
    const int64_t id = ferry_triton_device_id(device);
    const struct tensor_data input = tensor("A", (const uint8_t *)"abc", 3);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *text = cases[i].gpu ? model_text : one_text;
        standin_with_gpu(cases[i].gpu);
        if (cases[i].words) {
            expect_error(load("m", text, cases[i].more), TRITONSERVER_ERROR_INVALID_ARG,
                         cases[i].words);
            continue;
        }
        succeed(load("m", text, cases[i].more));
        call_start(&call, &host, "m", &input, 1, only_x, NULL, NULL);
        call_wait(&call);
        call_expect(&call, "X", "abc", 3, (int64_t[]){1, 3}, 2);
        call_finish(&call);
        host_unload(&host, "m");
    }
    /* KIND_GPU: the number is the index in Ferry's list, and must fit the parameter. */
    standin_with_gpu(true);
    ferry_device_get_info(device, &info);
    snprintf(config, sizeof config, "instance_group { kind: KIND_GPU gpus: [ %lld ] }",
             (long long)id);
    succeed(load("m", one_text, config));
    host_unload(&host, "m");
    snprintf(config, sizeof config, "instance_group { kind: KIND_GPU gpus: [ %lld ] }",
             (long long)id + 1);
    snprintf(words, sizeof words, "parameter device is %s", info.name);
    expect_error(load("m", one_text, config), TRITONSERVER_ERROR_INVALID_ARG, words);
    standin_with_gpu(false);
}

#define INPUT(type) "input { name: \"A\" data_type: " type " dims: [ 4 ] }\n"
#define OUTPUT(type) "output { name: \"X\" data_type: " type " dims: [ 4 ] }\n"
#define PARAMETER(name, value)                                                               \
    "backend: \"ferry\"\n" INPUT("TYPE_FP32")                                                \
        OUTPUT("TYPE_FP32") "parameters { key: \"" name "\" value: { string_value: \"" value \
                            "\" } }\n"

/* What cannot work is refused when the model is loaded, in words. */
static void refusals_at_load(void **state)
{
    static const struct {
        const char *text, *words;
        TRITONSERVER_Error_Code code;
    } cases[] = {
        {"backend: \"ferry\"\n" INPUT("TYPE_FP32")
             OUTPUT("TYPE_FP32") "model_transaction_policy { decoupled: true }",
         "decoupled: true", TRITONSERVER_ERROR_UNSUPPORTED},
        {"backend: \"ferry\"\n" INPUT("TYPE_STRING") OUTPUT("TYPE_STRING"), "TYPE_STRING (BYTES)",
         TRITONSERVER_ERROR_UNSUPPORTED},
        {"backend: \"ferry\"\n" INPUT("TYPE_FP32") OUTPUT("TYPE_STRING"), "\"X\" is TYPE_STRING",
         TRITONSERVER_ERROR_UNSUPPORTED},
        {"backend: \"ferry\"\n" INPUT("TYPE_FP32") OUTPUT("TYPE_FP16"), "a different data_type",
         TRITONSERVER_ERROR_INVALID_ARG},
        {"backend: \"ferry\"\n" INPUT("TYPE_FP32") "output { name: \"X\" data_type: TYPE_FP32 "
                                                   "dims: [ 4, 1 ] }",
         "different dims", TRITONSERVER_ERROR_INVALID_ARG},
        {"backend: \"ferry\"\ninput { name: \"A\" data_type: TYPE_FP32 dims: [ 1 ] "
         "reshape { shape: [ ] } }\noutput { name: \"X\" data_type: TYPE_FP32 dims: [ 1 ] }",
         "a different reshape", TRITONSERVER_ERROR_INVALID_ARG},
        {"backend: \"ferry\"\n" OUTPUT("TYPE_FP32"), "0 inputs and 1 outputs",
         TRITONSERVER_ERROR_INVALID_ARG},
        {"backend: \"ferry\"\n" INPUT("TYPE_FP32"), "1 inputs and 0 outputs",
         TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("device", ""), "parameter device", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("device", "atlantis"), "atlantis", TRITONSERVER_ERROR_NOT_FOUND},
        {PARAMETER("path", "scenic"), "\"scenic\": it takes auto", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("in_flight", "0"), "from 1 to 64", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("in_flight", "65"), "from 1 to 64", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("in_flight", "2x"), "from 1 to 64", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("staging_budget", "4095"), "from 4096 on", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("staging_budget", "99999999999G"), "from 4096 on",
         TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("pool_budget", "-1"), "over 0", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("fallback", "maybe"), "allowed or forbidden", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("operation", "magic"), "identity or invert", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("devcie", "host"), "unknown parameter devcie", TRITONSERVER_ERROR_INVALID_ARG},
        {PARAMETER("staging_budget",
                   "1M") "parameters { key: \"device\" value: { string_value: \"host\" } }",
         "already open with a different staging_budget", TRITONSERVER_ERROR_INVALID_ARG},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        expect_error(host_load(&host, "m", cases[i].text), cases[i].code, cases[i].words);
    succeed(host_load(&host, "m",
                      PARAMETER("device", "host:1") "parameters { key: \"staging_budget\" value: { "
                                                    "string_value: \"1M\" } }\n"
                                                    "parameters { key: \"pool_budget\" value: { "
                                                    "string_value: \"4M\" } }\n"
                                                    "parameters { key: \"fallback\" value: { "
                                                    "string_value: \"forbidden\" } }\n"
                                                    "parameters { key: \"path\" value: { "
                                                    "string_value: \"staged\" } }\n"
                                                    "parameters { key: \"in_flight\" value: { "
                                                    "string_value: \"1\" } }\n"));
    host_unload(&host, "m");
}

/* A request that fails for a reason of its own leaves the others of its batch alone. */
static void partly_failed_batches(void **state)
{
    uint8_t *bytes = make_bytes(5000, 3);
    static struct call calls[12];
    (void)state;
    succeed(load("m", model_text, ""));
    for (size_t i = 0; i < COUNT(calls); i++) {
        struct tensor_data inputs[] = {tensor("A", bytes + i, 1000), tensor("B", bytes, 31)};
        if (i % 3 == 1) {
            inputs[1].type = TRITONSERVER_MEMORY_GPU;
            inputs[1].bytes = (const uint8_t *)0x1234;
        }
        call_start(&calls[i], &host, "m", inputs, i % 3 == 2 ? 1 : 2, both, NULL, NULL);
    }
    for (size_t i = 0; i < COUNT(calls); i++) {
        call_wait(&calls[i]);
        if (i % 3 == 0)
            call_expect(&calls[i], "X", bytes + i, 1000, (int64_t[]){1, 1000}, 2);
        else if (i % 3 == 1)
            call_expect_error(&calls[i], TRITONSERVER_ERROR_UNSUPPORTED, "\"B\"");
        else
            call_expect_error(&calls[i], TRITONSERVER_ERROR_INVALID_ARG, "\"B\"");
        call_finish(&calls[i]);
    }
    host_unload(&host, "m");
    free(bytes);
}

/* A batch that the device fails, at whatever step, is answered with the reason; the next ones are
 * well again. The first submission is the backend's own, to learn how memory is reached, and the first
 * upload and download of a gather and a scatter go alone. */
static void failed_batches(void **state)
{
    static const struct {
        const char *knobs, *words;
    } steps[] = {
        /* The first four make zeros in the buffers. */
        {"no_map,fail_exec=5", "gathering the inputs, 2 copies: a knob"},
        {"no_map,fail_exec=7", "the copy on the device: a knob"},
        {"no_map,fail_exec=8", "scattering the outputs, 2 copies: a knob"},
    };
    uint8_t *bytes = make_bytes(1000, 4);
    const struct tensor_data inputs[] = {tensor("A", bytes, 1000), tensor("B", bytes, 31)};
    struct call call;
    (void)state;
    for (size_t step = 0; step < COUNT(steps); step++) {
        setenv("FERRY_HOST", steps[step].knobs, 1);
        succeed(load("m", model_text,
                     "parameters { key: \"device\" value: { string_value: \"host:1\" } }"));
        setenv("FERRY_HOST", "no_map", 1);
        for (int i = 0; i < 3; i++) {
            call_start(&call, &host, "m", inputs, 2, both, NULL, NULL);
            call_wait(&call);
            if (i)
                call_expect(&call, "X", bytes, 1000, (int64_t[]){1, 1000}, 2);
            else
                call_expect_error(&call, TRITONSERVER_ERROR_INTERNAL, steps[step].words);
            call_finish(&call);
        }
        host_unload(&host, "m");
    }
    free(bytes);
}

/* The device is too small for the batch: an error, in words. */
static void no_memory(void **state)
{
    uint8_t *bytes = make_bytes(3 << 20, 5);
    const struct tensor_data inputs[] = {tensor("A", bytes, 3 << 20), tensor("B", bytes, 1)};
    struct call call;
    (void)state;
    setenv("FERRY_HOST", "no_map,memory=2M", 1);
    succeed(load("m", model_text,
                 "parameters { key: \"device\" value: { string_value: \"host:1\" } }"));
    setenv("FERRY_HOST", "no_map", 1);
    call_start(&call, &host, "m", inputs, 2, both, NULL, NULL);
    call_wait(&call);
    call_expect_error(&call, TRITONSERVER_ERROR_UNAVAILABLE, "memory for the batch");
    call_finish(&call);
    host_unload(&host, "m");
    free(bytes);
}

/* Inputs in private memory pass through; outputs stay there. */
static void private_memory_all_the_way(void **state)
{
    uint8_t *bytes = make_bytes(4097, 6);
    static const char *const models[] = {"m"};
    ferry_triton_allocator *allocator = NULL;
    ferry_buffer *buffer = make_buffer(device, 8192);
    void *base = NULL;
    struct call call;
    (void)state;
    succeed(ferry_triton_allocator_create(
        &(struct ferry_triton_allocator_params){
            .device = device, .private_models = models, .private_model_count = 1},
        &allocator));
    succeed(load("m", one_text, ""));
    assert_int_equal(ferry_copy_from_host(buffer, bytes, 4097, 17), FERRY_OK);
    succeed(ferry_triton_handle_create(buffer, &base));
    struct tensor_data input = tensor("A", (uint8_t *)base + 17, 4097);
    input.type = TRITONSERVER_MEMORY_GPU;
    const struct ferry_triton_stats before = triton_stats();
    call_start(&call, &host, "m", &input, 1, only_x, ferry_triton_allocator_get(allocator),
               ferry_triton_allocator_userp(allocator, "m"));
    call_wait(&call);
    call_expect(&call, "X", bytes, 4097, (int64_t[]){1, 4097}, 2);
    call_finish(&call);
    assert_int_equal(triton_stats().passed_through - before.passed_through, 1);
    assert_int_equal(triton_stats().allocations_private - before.allocations_private, 1);
    ferry_triton_handle_destroy(base);
    host_unload(&host, "m");
    succeed(ferry_triton_allocator_destroy(allocator));
    ferry_buffer_destroy(buffer);
    free(bytes);
}

/* The model's device is another one than that of its inputs and outputs: bridged both ways. */
static void private_memory_of_another_device(void **state)
{
    uint8_t *bytes = make_bytes(4097, 9);
    static const char *const models[] = {"m"};
    ferry_triton_allocator *allocator = NULL;
    ferry_buffer *buffer = make_buffer(device, 4097);
    void *base = NULL;
    struct call call;
    (void)state;
    succeed(ferry_triton_allocator_create(
        &(struct ferry_triton_allocator_params){
            .device = device, .private_models = models, .private_model_count = 1},
        &allocator));
    succeed(load("m", model_text,
                 "parameters { key: \"device\" value: { string_value: \"host:1\" } }"));
    assert_int_equal(ferry_copy_from_host(buffer, bytes, 4097, 0), FERRY_OK);
    succeed(ferry_triton_handle_create(buffer, &base));
    struct tensor_data inputs[] = {tensor("A", base, 4097), tensor("B", bytes, 33)};
    inputs[0].type = TRITONSERVER_MEMORY_GPU;
    const uint64_t before = triton_stats().bridged;
    call_start(&call, &host, "m", inputs, 2, both, ferry_triton_allocator_get(allocator),
               ferry_triton_allocator_userp(allocator, "m"));
    call_wait(&call);
    call_expect(&call, "X", bytes, 4097, (int64_t[]){1, 4097}, 2);
    call_expect(&call, "Y", bytes, 33, (int64_t[]){1, 33}, 2);
    call_finish(&call);
    assert_int_equal(triton_stats().bridged - before, 3);
    ferry_triton_handle_destroy(base);
    host_unload(&host, "m");
    succeed(ferry_triton_allocator_destroy(allocator));
    ferry_buffer_destroy(buffer);
    free(bytes);
}

/* Unloaded with batches on their way: all are answered, and none later. */
static void unload_in_flight(void **state)
{
    enum { N = 40 };
    static struct call calls[N];
    uint8_t *bytes = make_bytes(70000, 7);
    (void)state;
    setenv("FERRY_HOST", "no_map,delay_us=2000", 1);
    succeed(load("m", model_text,
                 "parameters { key: \"device\" value: { string_value: \"host:1\" } }\n"
                 "parameters { key: \"in_flight\" value: { string_value: \"4\" } }\n"
                 "instance_group { kind: KIND_CPU count: 2 }"));
    setenv("FERRY_HOST", "no_map", 1);
    for (size_t i = 0; i < N; i++) {
        const struct tensor_data inputs[] = {tensor("A", bytes + i, 4097), tensor("B", bytes, 3)};
        call_start(&calls[i], &host, "m", inputs, 2, both, NULL, NULL);
    }
    host_unload(&host, "m");
    assert_int_equal(standin_outstanding(), 0);
    for (size_t i = 0; i < N; i++) {
        call_wait(&calls[i]);
        call_expect(&calls[i], "X", bytes + i, 4097, (int64_t[]){1, 4097}, 2);
        call_finish(&calls[i]);
    }
    free(bytes);
}

/* --- many at once ----------------------------------------------------------------------------- */

static void *send_some(void *arg)
{
    const char *model = arg;
    uint8_t *bytes = make_bytes(5000, 8);
    struct call calls[4];
    for (int round = 0; round < 8; round++) {
        for (size_t i = 0; i < COUNT(calls); i++) {
            const struct tensor_data inputs[] = {tensor("A", bytes + i, 4097),
                                                 tensor("B", bytes, sizes[i])};
            call_start(&calls[i], &host, model, inputs, 2, both, NULL, NULL);
        }
        for (size_t i = 0; i < COUNT(calls); i++) {
            call_wait(&calls[i]);
            call_expect(&calls[i], "X", bytes + i, 4097, (int64_t[]){1, 4097}, 2);
            call_finish(&calls[i]);
        }
    }
    free(bytes);
    return NULL;
}

static void many_instances_and_models(void **state)
{
    static const char *const models[] = {"m1", "m2"};
    pthread_t threads[4];
    (void)state;
    for (size_t i = 0; i < 2; i++)
        succeed(load(models[i], model_text, "instance_group { kind: KIND_CPU count: 3 }"));
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_some, (void *)models[i % 2]), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 2; i++)
        host_unload(&host, models[i]);
}

/* The statistics and metrics that a running server shows. */
static void statistics(void **state)
{
    TRITONSERVER_Message *message = NULL;
    const char *json = NULL;
    size_t size = 0;
    struct call call;
    const struct tensor_data input = tensor("A", (const uint8_t *)"abc", 3);
    (void)state;
    succeed(load("m", one_text, ""));
    call_start(&call, &host, "m", &input, 1, only_x, NULL, NULL);
    call_wait(&call);
    call_finish(&call);
    succeed(TRITONSERVER_ServerModelStatistics(host.server, "m", -1, &message));
    succeed(TRITONSERVER_MessageSerializeToJson(message, &json, &size));
    assert_non_null(strstr(json, "\"success\":{\"count\":1"));
    succeed(TRITONSERVER_MessageDelete(message));
    host_unload(&host, "m");
    assert_true(standin_metric("ferry_triton_gathers_total", "") >= 1);
}

static int open_all(void **state)
{
    const int result = open_device(state);
    host_open(&host, FERRY_BACKENDS);
    return result;
}

static int close_all(void **state)
{
    host_close(&host);
    return close_device(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(identity),
        TEST(empty_requests),
        TEST(work_on_the_device),
        TEST(few_submissions),
        TEST(kinds_of_instances),
        TEST(refusals_at_load),
        TEST(partly_failed_batches),
        TEST(failed_batches),
        TEST(no_memory),
        TEST(private_memory_all_the_way),
        TEST(private_memory_of_another_device),
        TEST(unload_in_flight),
        TEST(many_instances_and_models),
        TEST(statistics),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
