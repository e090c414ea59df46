#include "host.h"

#include <stdio.h>

/* examples/triton_backend.c, in the stand-in's server. */

static struct host host;
static const char *const wanted[] = {"OUTPUT", NULL};

static const char text[] = "backend: \"smallest\"\nmax_batch_size: 8\n"
                           "input { name: \"INPUT\" data_type: TYPE_FP32 dims: [ -1 ] }\n"
                           "output { name: \"OUTPUT\" data_type: TYPE_FP32 dims: [ -1 ] }\n"
                           "dynamic_batching { max_queue_delay_microseconds: 20000 }\n";

static void example(void **state)
{
    enum { N = 24, FLOATS = 1000 };
    static struct call calls[N];
    uint8_t *bytes = make_bytes(4 * FLOATS * N, 1);
    (void)state;
    succeed(host_load(&host, "m", text));
    (void)standin_largest_batch();
    standin_cancel_next(1);
    for (size_t i = 0; i < N; i++) {
        struct tensor_data input = {.name = "INPUT",
                                    .bytes = bytes + 4 * FLOATS * i,
                                    .size = i == 5 ? 0 : 4 * FLOATS,
                                    .shape = {1, i == 5 ? 0 : FLOATS},
                                    .dims = 2,
                                    .datatype = TRITONSERVER_TYPE_FP32};
        if (i == 7) {
            input.type = TRITONSERVER_MEMORY_GPU;
            input.bytes = (const uint8_t *)0x1234;
        }
        call_start(&calls[i], &host, "m", &input, 1, wanted, NULL, NULL);
    }
    for (size_t i = 0; i < N; i++) {
        const int64_t shape[] = {1, i == 5 ? 0 : FLOATS};
        call_wait(&calls[i]);
        if (i == 0)
            call_expect_error(&calls[i], TRITONSERVER_ERROR_CANCELLED, "cancelled");
        else if (i == 7)
            call_expect_error(&calls[i], TRITONSERVER_ERROR_UNSUPPORTED, "not Ferry's");
        else
            call_expect(&calls[i], "OUTPUT", bytes + 4 * FLOATS * i, 4 * (size_t)shape[1], shape,
                        2);
        call_finish(&calls[i]);
    }
    assert_true(standin_largest_batch() > 1);
    host_unload(&host, "m");
    free(bytes);
}

static int open_all(void **state)
{
    setenv("FERRY_DEVICE", "host", 1);
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
    const struct CMUnitTest tests[] = {TEST(example)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
