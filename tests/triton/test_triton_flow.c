#include "host.h"

#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

/* How requests come and go: how many are under way, who sends responses, what statistics say, what
 * becomes of all that when a model goes. */

static struct host host;

static const char plain[] = "backend: \"ferry\"\nmax_batch_size: 0\n"
                            "input { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"
                            "output { name: \"X\" data_type: TYPE_UINT8 dims: [ -1 ] }\n";

static const char batched[] = "backend: \"ferry\"\nmax_batch_size: 8\n"
                              "input { name: \"A\" data_type: TYPE_UINT8 dims: [ 4 ] }\n"
                              "output { name: \"X\" data_type: TYPE_UINT8 dims: [ 4 ] }\n"
                              "dynamic_batching { max_queue_delay_microseconds: 1000 }\n";

static const char *const x[] = {"X", NULL};
static const uint8_t bytes[64] = "What goes in comes out as it was, whatever the server does.";

static TRITONSERVER_Error *load(const char *text, const char *more)
{
    char config[2048];
    snprintf(config, sizeof config, "%s%s", text, more);
    return host_load(&host, "m", config);
}

/* More than goes the short way. */
enum { LONG = (256 << 10) + 1 };
static uint8_t much[LONG];

static void start_long(struct call *call)
{
    const struct tensor_data input = {
        .name = "A", .bytes = much, .size = LONG, .shape = {LONG}, .dims = 1};
    call_start(call, &host, "m", &input, 1, x, NULL, NULL);
}

static void finish_long(struct call *call)
{
    call_wait(call);
    call_expect(call, "X", much, LONG, (int64_t[]){LONG}, 1);
    call_finish(call);
}

/* A request of 32 bytes to the plain model. */
static void start(struct call *call, size_t from)
{
    const struct tensor_data input = {
        .name = "A", .bytes = bytes + from, .size = 32, .shape = {32}, .dims = 1};
    call_start(call, &host, "m", &input, 1, x, NULL, NULL);
}

static void finish(struct call *call, size_t from)
{
    call_wait(call);
    call_expect(call, "X", bytes + from, 32, (int64_t[]){32}, 1);
    call_finish(call);
}

/* --- the in-flight bound ---------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

static void wait_at_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void set_gate(bool open)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = open;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* The first response is not taken: so many batches get under way, and Execute waits with one more.
 * The naps are for a backend that has no bound, which shows itself in them. */
static void run_bound(const char *parameter, unsigned bound)
{
    struct call calls[8];
    succeed(load(plain, parameter));
    set_gate(false);
    host_on_response = wait_at_gate;
    (void)standin_most_in_flight();
    const unsigned before = standin_executions();
    for (size_t i = 0; i < bound + 2; i++)
        start_long(&calls[i]);
    while (standin_executions() - before < bound + 1)
        nap();
    for (int i = 0; i < 20; i++)
        nap();
    set_gate(true);
    for (size_t i = 0; i < bound + 2; i++)
        finish_long(&calls[i]);
    host_on_response = NULL;
    host_unload(&host, "m");
    assert_int_equal(standin_most_in_flight(), bound);
}

static void in_flight_bound(void **state)
{
    (void)state;
    run_bound("", 2);
    run_bound("parameters { key: \"in_flight\" value: { string_value: \"1\" } }", 1);
    run_bound("parameters { key: \"in_flight\" value: { string_value: \"5\" } }", 5);
}

/* --- who sends -------------------------------------------------------------------------------- */

static _Atomic int waited;

static void wait_here(void)
{
    waited = (int)ferry_wait_idle(device) + 1;
}

/* A host may wait for Ferry's work where it is given a response: it is not in Ferry's callback. */
static void responses_come_from_a_thread_that_may_wait(void **state)
{
    struct call call;
    (void)state;
    succeed(load(plain, "parameters { key: \"device\" value: { string_value: \"host\" } }"));
    host_on_response = wait_here;
    start(&call, 3);
    finish(&call, 3);
    host_on_response = NULL;
    assert_int_equal(waited, FERRY_OK + 1);
    host_unload(&host, "m");
}

/* --- statistics ------------------------------------------------------------------------------- */

/* The number behind these words in the model's statistics, and behind key after them. */
static uint64_t statistic(const char *words, const char *key)
{
    TRITONSERVER_Message *message = NULL;
    const char *json = NULL;
    size_t size = 0;
    char pattern[64];
    succeed(TRITONSERVER_ServerModelStatistics(host.server, "m", -1, &message));
    succeed(TRITONSERVER_MessageSerializeToJson(message, &json, &size));
    snprintf(pattern, sizeof pattern, "\"%s\":", words);
    const char *at = strstr(json, pattern);
    if (at && key) {
        snprintf(pattern, sizeof pattern, "\"%s\":", key);
        at = strstr(at, pattern);
    }
    if (!at)
        fail_msg("no %s in %s", pattern, json);
    const uint64_t value = strtoull(strchr(at, ':') + 1, NULL, 10);
    succeed(TRITONSERVER_MessageDelete(message));
    return value;
}

static void one_call(bool long_way)
{
    struct call call;
    if (long_way) {
        start_long(&call);
        finish_long(&call);
    } else {
        start(&call, 0);
        finish(&call, 0);
    }
}

/* A batch of which each step took the device at least the delay, and that as its own time. */
static bool steps_took(int long_way, uint64_t delay_ns)
{
    static const char *const steps[] = {"compute_input", "compute_infer", "compute_output"};
    enum { STEPS = sizeof steps / sizeof *steps };
    uint64_t before[STEPS];
    bool all = true;
    for (size_t i = 0; i < STEPS; i++)
        before[i] = statistic(steps[i], "ns");
    one_call(long_way);
    for (size_t i = 0; i < STEPS; i++)
        all &= statistic(steps[i], "ns") - before[i] >= delay_ns;
    return all;
}

/* Each step of a batch takes the device at least the delay, and its time is told as that step's, on
 * the short way as on the long one. Behind other work, as that of the first batch, which makes zeros
 * in new buffers, two steps may become one submission: not every time. */
static void times_are_those_of_the_device(void **state)
{
    enum { DELAY_NS = 5000000, TRIES = 50 };
    (void)state;
    for (int long_way = 0; long_way < 2; long_way++) {
        bool took = false;
        setenv("FERRY_HOST", "no_map,delay_us=5000", 1);
        succeed(load(plain, "parameters { key: \"device\" value: { string_value: \"host:1\" } }"));
        setenv("FERRY_HOST", "no_map", 1);
        one_call(long_way);
        for (int i = 0; i < TRIES && !took; i++)
            took = steps_took(long_way, DELAY_NS);
        assert_true(took);
        host_unload(&host, "m");
    }
}

/* Statistics count rows, of requests that succeed; and the executions that had any. */
static void statistics_count_rows(void **state)
{
    enum { N = 4 };
    struct call calls[N];
    (void)state;
    succeed(load(batched, ""));
    const unsigned before = standin_executions();
    standin_cancel_next(1);
    for (size_t i = 0; i < N; i++) {
        const struct tensor_data input = {
            .name = "A", .bytes = bytes + i, .size = 12, .shape = {3, 4}, .dims = 2};
        call_start(&calls[i], &host, "m", &input, 1, x, NULL, NULL);
    }
    for (size_t i = 0; i < N; i++) {
        call_wait(&calls[i]);
        if (i)
            call_expect(&calls[i], "X", bytes + i, 12, (int64_t[]){3, 4}, 2);
        else
            call_expect_error(&calls[i], TRITONSERVER_ERROR_CANCELLED, "cancelled");
        call_finish(&calls[i]);
    }
    const unsigned executions = standin_executions() - before;
    assert_int_equal(statistic("inference_count", NULL), 3 * (N - 1));
    assert_int_equal(statistic("success", "count"), N - 1);
    assert_int_equal(statistic("fail", "count"), 1);
    const uint64_t reported = statistic("execution_count", NULL);
    /* One less if the cancelled request was alone in its execution. */
    assert_true(reported == executions || reported + 1 == executions);
    host_unload(&host, "m");
}

/* Requests of other lengths meet in a batch only where the configuration lets them. */
static void ragged_batches(void **state)
{
    enum { N = 6 };
    static const char text[] = "backend: \"ferry\"\nmax_batch_size: 8\n"
                               "input { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ] %s }\n"
                               "output { name: \"X\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"
                               "dynamic_batching { max_queue_delay_microseconds: 5000 }\n";
    (void)state;
    for (int ragged = 0; ragged < 2; ragged++) {
        struct call calls[N];
        char config[512];
        snprintf(config, sizeof config, text, ragged ? "allow_ragged_batch: true" : "");
        succeed(load(config, ""));
        (void)standin_largest_batch();
        for (int64_t i = 0; i < N; i++) {
            const struct tensor_data input = {
                .name = "A", .bytes = bytes, .size = 3 + (size_t)i, .shape = {1, 3 + i}, .dims = 2};
            call_start(&calls[i], &host, "m", &input, 1, x, NULL, NULL);
        }
        for (int64_t i = 0; i < N; i++) {
            call_wait(&calls[i]);
            call_expect(&calls[i], "X", bytes, 3 + (size_t)i, (int64_t[]){1, 3 + i}, 2);
            call_finish(&calls[i]);
        }
        const unsigned largest = standin_largest_batch();
        if (!ragged)
            assert_int_equal(largest, 1);
        host_unload(&host, "m");
    }
}

/* The server's metrics come to say what was done, also if nothing is done after it. */
static void metrics_of_a_quiet_server(void **state)
{
    struct call call;
    (void)state;
    succeed(load(plain, ""));
    for (int i = 0; i < 3; i++) {
        start(&call, 0);
        finish(&call, 0);
    }
    const double wanted = (double)triton_stats().gathered_requests;
    while (standin_metric("ferry_triton_gathered_requests_total", "") < wanted)
        nap();
    host_unload(&host, "m");
}

/* --- requests --------------------------------------------------------------------------------- */

static void a_request_that_names_no_output_gets_all(void **state)
{
    static const char *const none[] = {NULL};
    struct call call;
    const struct tensor_data input = {
        .name = "A", .bytes = bytes, .size = 5, .shape = {5}, .dims = 1};
    (void)state;
    succeed(load(plain, ""));
    call_start(&call, &host, "m", &input, 1, none, NULL, NULL);
    call_wait(&call);
    call_expect(&call, "X", bytes, 5, (int64_t[]){5}, 1);
    call_finish(&call);
    host_unload(&host, "m");
}

static void all_types_of_a_fixed_size(void **state)
{
    static const struct {
        const char *name;
        TRITONSERVER_DataType type;
        size_t size;
    } types[] = {
        {"BOOL", TRITONSERVER_TYPE_BOOL, 1},     {"UINT8", TRITONSERVER_TYPE_UINT8, 1},
        {"UINT16", TRITONSERVER_TYPE_UINT16, 2}, {"UINT32", TRITONSERVER_TYPE_UINT32, 4},
        {"UINT64", TRITONSERVER_TYPE_UINT64, 8}, {"INT8", TRITONSERVER_TYPE_INT8, 1},
        {"INT16", TRITONSERVER_TYPE_INT16, 2},   {"INT32", TRITONSERVER_TYPE_INT32, 4},
        {"INT64", TRITONSERVER_TYPE_INT64, 8},   {"FP16", TRITONSERVER_TYPE_FP16, 2},
        {"FP32", TRITONSERVER_TYPE_FP32, 4},     {"FP64", TRITONSERVER_TYPE_FP64, 8},
        {"BF16", TRITONSERVER_TYPE_BF16, 2},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(types); i++) {
        char config[512];
        struct call call;
        const struct tensor_data input = {.name = "A",
                                          .bytes = bytes,
                                          .size = 7 * types[i].size,
                                          .shape = {7},
                                          .dims = 1,
                                          .datatype = types[i].type};
        snprintf(config, sizeof config,
                 "backend: \"ferry\"\ninput { name: \"A\" data_type: TYPE_%s dims: [ 7 ] }\n"
                 "output { name: \"X\" data_type: TYPE_%s dims: [ 7 ] }\n",
                 types[i].name, types[i].name);
        succeed(load(config, ""));
        call_start(&call, &host, "m", &input, 1, x, NULL, NULL);
        call_wait(&call);
        call_expect(&call, "X", bytes, input.size, (int64_t[]){7}, 1);
        call_finish(&call);
        host_unload(&host, "m");
    }
}

/* --- placement and the end of a model --------------------------------------------------------- */

/* Each of gpus has its instances; without gpus the model is ready, and has none. */
static void instances_of_kind_gpu(void **state)
{
    char more[128];
    struct call call;
    bool ready = false;
    (void)state;
    standin_with_gpu(true);
    succeed(load(plain, "instance_group { kind: KIND_GPU }"));
    succeed(TRITONSERVER_ServerModelIsReady(host.server, "m", -1, &ready));
    assert_true(ready);
    host_unload(&host, "m");
    const long long id = (long long)ferry_triton_device_id(device);
    snprintf(more, sizeof more, "instance_group { kind: KIND_GPU count: 2 gpus: [ %lld, %lld ] }",
             id, id + 1);
    succeed(load(plain, more));
    start(&call, 0);
    finish(&call, 0);
    host_unload(&host, "m");
    standin_with_gpu(false);
}

/* Loaded anew under load: what was sent to the old one is answered by it. */
static void reload_under_load(void **state)
{
    enum { N = 12 };
    static struct call calls[3 * N];
    (void)state;
    succeed(load(plain, ""));
    for (size_t i = 0; i < 3 * N; i++) {
        if (i && i % N == 0)
            succeed(load(plain, ""));
        start(&calls[i], i % 30);
    }
    for (size_t i = 0; i < 3 * N; i++)
        finish(&calls[i], i % 30);
    host_unload(&host, "m");
}

/* The server closes a backend when it goes; its code stays, for threads that return through it. */
static void stays_loaded(void **state)
{
    struct host other;
    struct call call;
    const struct tensor_data input = {
        .name = "A", .bytes = bytes, .size = 5, .shape = {5}, .dims = 1};
    (void)state;
    host_open(&other, FERRY_BACKENDS);
    succeed(host_load(&other, "m", plain));
    call_start(&call, &other, "m", &input, 1, x, NULL, NULL);
    call_wait(&call);
    call_finish(&call);
    host_close(&other);
    void *library = dlopen(FERRY_BACKENDS "/ferry/libtriton_ferry.so", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(library);
    dlclose(library);
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
    const struct CMUnitTest first[] = {TEST(stays_loaded)}; /* before another server has it open */
    const struct CMUnitTest tests[] = {
        TEST(in_flight_bound),
        TEST(responses_come_from_a_thread_that_may_wait),
        TEST(times_are_those_of_the_device),
        TEST(statistics_count_rows),
        TEST(ragged_batches),
        TEST(metrics_of_a_quiet_server),
        TEST(a_request_that_names_no_output_gets_all),
        TEST(all_types_of_a_fixed_size),
        TEST(instances_of_kind_gpu),
        TEST(reload_under_load),
    };
    const int failures = cmocka_run_group_tests(first, open_device, close_device);
    return failures + cmocka_run_group_tests(tests, open_all, close_all);
}
