#include "host.h"

#include <stdio.h>
#include <time.h>

/* The backend's two ways: which batches Execute's thread carries out and answers, and what they
 * cost; what the backend's memory is, and what it reports of it. */

static struct host host;
static const char *const x[] = {"X", NULL};

enum {
    SHORT_BYTES = 256 << 10
}; /* the largest that goes the short way where something is waited
                                     for */

static const char text[] = "backend: \"ferry\"\nmax_batch_size: 0\n"
                           "input { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"
                           "output { name: \"X\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"
                           "parameters { key: \"in_flight\" value: { string_value: \"1\" } }\n"
                           "parameters { key: \"device\" value: { string_value: \"host:1\" } }\n";

/* knobs: of the device host:1, which is opened for the model alone. */
static void load(const char *knobs, const char *more)
{
    char config[2048];
    snprintf(config, sizeof config, "%s%s", text, more);
    setenv("FERRY_HOST", knobs, 1);
    succeed(host_load(&host, "m", config));
    setenv("FERRY_HOST", "no_map", 1);
}

static void call_with(const uint8_t *bytes, size_t size, uint8_t mask)
{
    struct call call;
    const struct tensor_data input = {
        .name = "A", .bytes = bytes, .size = size, .shape = {(int64_t)size}, .dims = 1};
    uint8_t *wanted = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        wanted[i] = bytes[i] ^ mask;
    call_start(&call, &host, "m", &input, 1, x, NULL, NULL);
    call_wait(&call);
    call_expect(&call, "X", wanted, size, (int64_t[]){(int64_t)size}, 1);
    call_finish(&call);
    free(wanted);
}

static ferry_device *the_models_device(void)
{
    ferry_device *of = NULL;
    succeed(ferry_triton_device("host:1", &of)); /* the model has it open */
    return of;
}

static const size_t sizes[] = {0, 1, 33, 4097, SHORT_BYTES, SHORT_BYTES + 1, 3 << 20};

/* Where the CPU reaches the memory all of it is done inside Execute. The input is handed through to
 * the output: nothing is submitted, and no buffer is made. */
static void where_the_cpu_reaches_the_memory(void **state)
{
    uint8_t *bytes = make_bytes(4 << 20, 1);
    (void)state;
    load("", "");
    ferry_device *of = the_models_device();
    struct ferry_memory_info before, after;
    assert_int_equal(ferry_device_get_memory(of, &before), FERRY_OK);
    (void)standin_most_in_flight();
    const uint64_t in_place = triton_stats().in_place;
    for (size_t i = 0; i < COUNT(sizes); i++)
        call_with(bytes + i, sizes[i], 0);
    assert_int_equal(triton_stats().in_place - in_place, COUNT(sizes) - 1); /* 0 bytes: nowhere */
    assert_int_equal(standin_most_in_flight(), 0);
    assert_int_equal(submissions(of), 0);
    assert_int_equal(ferry_device_get_memory(of, &after), FERRY_OK);
    assert_int_equal(after.allocation_count, before.allocation_count);
    ferry_triton_device_release(of);
    host_unload(&host, "m");
    free(bytes);
}

/* Work of the CPU's reads the input where it is, too. */
static void work_in_place(void **state)
{
    uint8_t *bytes = make_bytes(4 << 20, 2);
    (void)state;
    load("", "parameters { key: \"operation\" value: { string_value: \"invert\" } }\n");
    const uint64_t in_place = triton_stats().in_place;
    (void)standin_most_in_flight();
    for (size_t i = 0; i < COUNT(sizes); i++)
        call_with(bytes + i, sizes[i], 0xff);
    assert_int_equal(triton_stats().in_place - in_place, COUNT(sizes) - 1);
    assert_int_equal(standin_most_in_flight(), 0);
    host_unload(&host, "m");
    free(bytes);
}

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, true};

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

/* Where something is waited for, only what is short is waited for inside Execute. Of what is long
 * Execute returns though nobody takes the response. */
static void where_a_device_is_waited_for(void **state)
{
    uint8_t *bytes = make_bytes(4 << 20, 3);
    (void)state;
    load("no_map", "");
    host_on_response = wait_at_gate;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct call call;
        const struct tensor_data input = {.name = "A",
                                          .bytes = bytes + i,
                                          .size = sizes[i],
                                          .shape = {(int64_t)sizes[i]},
                                          .dims = 1};
        (void)standin_most_in_flight();
        set_gate(sizes[i] <= SHORT_BYTES);
        call_start(&call, &host, "m", &input, 1, x, NULL, NULL);
        while (sizes[i] > SHORT_BYTES && !standin_most_in_flight())
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        set_gate(true);
        call_wait(&call);
        call_expect(&call, "X", bytes + i, sizes[i], input.shape, 1);
        call_finish(&call);
        if (sizes[i] <= SHORT_BYTES)
            assert_int_equal(standin_most_in_flight(), 0);
    }
    host_on_response = NULL;
    host_unload(&host, "m");
    free(bytes);
}

/* A batch of several requests goes through one buffer: one upload each, one download each. */
static void batches_are_gathered(void **state)
{
    enum { N = 8 };
    static const char batched[] = "max_batch_size: 8\n"
                                  "dynamic_batching { max_queue_delay_microseconds: 200000 "
                                  "preferred_batch_size: [ 8 ] }\n";
    static const char head[] = "backend: \"ferry\"\n"
                               "input { name: \"A\" data_type: TYPE_UINT8 dims: [ 1000 ] }\n"
                               "output { name: \"X\" data_type: TYPE_UINT8 dims: [ 1000 ] }\n"
                               "parameters { key: \"device\" value: { string_value: \"host:1\" } "
                               "}\n";
    uint8_t *bytes = make_bytes(N * 1000, 4);
    struct call calls[N];
    char config[1024];
    (void)state;
    snprintf(config, sizeof config, "%s%s", head, batched);
    setenv("FERRY_HOST", "", 1);
    succeed(host_load(&host, "m", config));
    setenv("FERRY_HOST", "no_map", 1);
    (void)standin_most_in_flight();
    (void)standin_largest_batch();
    for (size_t i = 0; i < N; i++) {
        const struct tensor_data input = {
            .name = "A", .bytes = bytes + i * 1000, .size = 1000, .shape = {1, 1000}, .dims = 2};
        call_start(&calls[i], &host, "m", &input, 1, x, NULL, NULL);
    }
    for (size_t i = 0; i < N; i++) {
        call_wait(&calls[i]);
        call_expect(&calls[i], "X", bytes + i * 1000, 1000, (int64_t[]){1, 1000}, 2);
        call_finish(&calls[i]);
    }
    assert_true(standin_largest_batch() > 1);
    assert_int_equal(standin_most_in_flight(), 0);
    host_unload(&host, "m");
    free(bytes);
}

/* Two inputs of one request, each where the other is in the way: of an odd size, without a byte, in
 * place or not. */
static void two_inputs(void **state)
{
    static const char two[] = "backend: \"ferry\"\nmax_batch_size: 0\n"
                              "input [ { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ] },\n"
                              "        { name: \"B\" data_type: TYPE_UINT8 dims: [ -1 ] } ]\n"
                              "output [ { name: \"X\" data_type: TYPE_UINT8 dims: [ -1 ] },\n"
                              "         { name: \"Y\" data_type: TYPE_UINT8 dims: [ -1 ] } ]\n"
                              "parameters { key: \"device\" value: { string_value: \"host:1\" } }\n"
                              "parameters { key: \"operation\" value: { string_value: \"%s\" } }\n";
    static const char *const operations[] = {"identity", "invert"}, *const knobs[] = {"", "no_map"};
    static const char *const both[] = {"X", "Y", NULL};
    static const size_t pairs[][2] = {{1001, 0}, {0, 1001}, {1001, 999}, {4096, 1}, {1, 70000}};
    uint8_t *bytes = make_bytes(70000, 6), *inverted = make_bytes(70000, 6);
    (void)state;
    for (size_t i = 0; i < 70000; i++)
        inverted[i] = (uint8_t)~bytes[i];
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *wanted = i / 2 ? inverted : bytes;
        char config[1024];
        snprintf(config, sizeof config, two, operations[i / 2]);
        setenv("FERRY_HOST", knobs[i % 2], 1);
        succeed(host_load(&host, "m", config));
        setenv("FERRY_HOST", "no_map", 1);
        for (size_t k = 0; k < COUNT(pairs); k++) {
            const size_t a = pairs[k][0], b = pairs[k][1];
            struct call call;
            const struct tensor_data inputs[] = {
                {.name = "A", .bytes = bytes, .size = a, .shape = {(int64_t)a}, .dims = 1},
                {.name = "B", .bytes = bytes, .size = b, .shape = {(int64_t)b}, .dims = 1}};
            call_start(&call, &host, "m", inputs, 2, both, NULL, NULL);
            call_wait(&call);
            call_expect(&call, "X", wanted, a, inputs[0].shape, 1);
            call_expect(&call, "Y", wanted, b, inputs[1].shape, 1);
            call_finish(&call);
        }
        host_unload(&host, "m");
    }
    free(bytes);
    free(inverted);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* What the server says that the model's instances use. */
static uint64_t reported(const char *type)
{
    TRITONSERVER_Message *message = NULL;
    const char *json = NULL;
    size_t size = 0;
    char pattern[96];
    succeed(TRITONSERVER_ServerModelStatistics(host.server, "m", -1, &message));
    succeed(TRITONSERVER_MessageSerializeToJson(message, &json, &size));
    snprintf(pattern, sizeof pattern,
             "\"memory_usage\":[{\"type\":\"%s\",\"id\":0,\"byte_size\":", type);
    const char *at = strstr(json, pattern);
    if (!at)
        fail_msg("no %s in %s", pattern, json);
    const uint64_t value = strtoull(at + strlen(pattern), NULL, 10);
    succeed(TRITONSERVER_MessageDelete(message));
    return value;
}

/* The server is told of the buffers; those of a large batch go when none has come for long. */
static void memory_is_reported_and_given_back(void **state)
{
    enum { LARGE = 1 << 20, SMALL = 1000, PATIENCE = 256 };
    uint8_t *bytes = make_bytes(LARGE, 5);
    (void)state;
    load("no_map", "");
    call_with(bytes, SMALL, 0);
    assert_int_equal(reported("CPU"), 2 * SMALL);
    call_with(bytes, LARGE, 0);
    assert_int_equal(reported("CPU"), 2 * LARGE);
    for (int i = 0; i < PATIENCE - 1; i++)
        call_with(bytes + i, SMALL - (size_t)i, 0);
    assert_int_equal(reported("CPU"), 2 * LARGE);
    call_with(bytes, LARGE / 4, 0); /* it is needed after all */
    for (int i = 0; i < PATIENCE - 1; i++)
        call_with(bytes + i, SMALL - (size_t)i, 0);
    assert_int_equal(reported("CPU"), 2 * LARGE);
    call_with(bytes, 1, 0);
    assert_int_equal(reported("CPU"), 2 * SMALL);
    host_unload(&host, "m");
    free(bytes);
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
        TEST(where_the_cpu_reaches_the_memory),  TEST(work_in_place),
        TEST(where_a_device_is_waited_for),      TEST(batches_are_gathered),
        TEST(memory_is_reported_and_given_back), TEST(two_inputs),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
