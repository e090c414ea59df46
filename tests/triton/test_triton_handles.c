#include "support.h"

#include <pthread.h>
#include <stdatomic.h>

/* Numbers that are no addresses, that do not meet, and that mean an offset inside. */
static void stand_for_buffers(void **state)
{
    enum { N = 40 };
    ferry_buffer *buffers[N], *found;
    void *bases[N];
    size_t offset;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        buffers[i] = make_buffer(device, 1 + 4096 * (i % 3));
        succeed(ferry_triton_handle_create(buffers[i], &bases[i]));
        assert_non_null(bases[i]);
        assert_true((uintptr_t)bases[i] >> 47 != 0); /* no user's address on any system */
    }
    for (size_t i = 0; i < N; i++) {
        const size_t last = ferry_buffer_size(buffers[i]) - 1;
        succeed(ferry_triton_resolve(bases[i], &found, &offset));
        assert_ptr_equal(found, buffers[i]);
        assert_int_equal(offset, 0);
        succeed(ferry_triton_resolve((uint8_t *)bases[i] + last, &found, &offset));
        assert_ptr_equal(found, buffers[i]);
        assert_int_equal(offset, last);
        expect_error(ferry_triton_resolve((uint8_t *)bases[i] + last + 1, &found, &offset),
                     TRITONSERVER_ERROR_NOT_FOUND, "not Ferry's memory");
        expect_error(ferry_triton_resolve((uint8_t *)bases[i] - 1, &found, &offset),
                     TRITONSERVER_ERROR_NOT_FOUND, "not Ferry's memory");
    }
    for (size_t i = 0; i < N; i += 2)
        ferry_triton_handle_destroy(bases[i]);
    for (size_t i = 0; i < N; i++) {
        TRITONSERVER_Error *error = ferry_triton_resolve(bases[i], &found, &offset);
        assert_int_equal(error == NULL, i % 2);
        TRITONSERVER_ErrorDelete(error);
        if (i % 2)
            ferry_triton_handle_destroy(bases[i]);
        ferry_buffer_destroy(buffers[i]);
    }
}

static void know_what_is_foreign(void **state)
{
    ferry_buffer *found = NULL;
    size_t offset = 0;
    int here = 0;
    void *heap = malloc(64);
    const void *foreign[] = {
        NULL, &here, heap, (void *)1, (void *)UINTPTR_MAX, (void *)((uintptr_t)1 << 54)};
    (void)state;
    for (size_t i = 0; i < COUNT(foreign); i++)
        expect_error(ferry_triton_resolve(foreign[i], &found, &offset),
                     TRITONSERVER_ERROR_NOT_FOUND, "not Ferry's memory");
    free(heap);
    expect_error(ferry_triton_handle_create(NULL, &heap), TRITONSERVER_ERROR_INVALID_ARG, "buffer");
    expect_error(ferry_triton_resolve(&here, NULL, &offset), TRITONSERVER_ERROR_INVALID_ARG,
                 "out_buffer");
}

/* A handle that is given back is not given out again at once: a stale one finds nothing. */
static void do_not_come_back_soon(void **state)
{
    ferry_buffer *buffer = make_buffer(device, 64), *found;
    void *first = NULL, *base = NULL;
    size_t offset;
    (void)state;
    succeed(ferry_triton_handle_create(buffer, &first));
    ferry_triton_handle_destroy(first);
    for (int i = 0; i < 1000; i++) {
        succeed(ferry_triton_handle_create(buffer, &base));
        assert_ptr_not_equal(base, first);
        ferry_triton_handle_destroy(base);
    }
    expect_error(ferry_triton_resolve(first, &found, &offset), TRITONSERVER_ERROR_NOT_FOUND, "not");
    ferry_buffer_destroy(buffer);
}

/* One device for all who ask, whatever they call it. */
static void share_the_device(void **state)
{
    ferry_device *again = NULL, *other = NULL;
    struct ferry_device_info info;
    (void)state;
    succeed(ferry_triton_device("host", &again));
    assert_ptr_equal(again, device);
    ferry_device_get_info(device, &info);
    setenv("FERRY_HOST", "mistaken", 1); /* nothing is opened, or it would fail */
    succeed(ferry_triton_device(info.name, &other));
    assert_ptr_equal(other, device);
    ferry_triton_device_release(other);
    succeed(ferry_triton_device("host", &other));
    assert_ptr_equal(other, device);
    ferry_triton_device_release(other);
    setenv("FERRY_HOST", "no_map", 1);
    succeed(ferry_triton_device("host:1", &other));
    assert_ptr_not_equal(other, device);
    assert_int_equal(ferry_triton_device_id(other) - ferry_triton_device_id(device), 1);
    ferry_triton_device_release(other);
    assert_int_equal(ferry_triton_device_id(other), -1);
    ferry_triton_device_release(again);
    assert_true(ferry_triton_device_id(device) >= 0);

    const struct ferry_device_params same = {.name = "host"};
    succeed(ferry_triton_device_open(&same, &again));
    assert_ptr_equal(again, device);
    ferry_triton_device_release(again);
    const struct ferry_device_params differs = {.name = "host", .staging_budget = 8192};
    expect_error(ferry_triton_device_open(&differs, &again), TRITONSERVER_ERROR_INVALID_ARG,
                 "staging_budget");
    expect_error(ferry_triton_device("atlantis", &again), TRITONSERVER_ERROR_NOT_FOUND, "atlantis");
}

static _Atomic int stop;

static void *churn(void *arg)
{
    ferry_buffer *buffer = arg, *found;
    size_t offset;
    while (!atomic_load(&stop)) {
        void *base = NULL;
        ferry_device *mine = NULL;
        succeed(ferry_triton_handle_create(buffer, &base));
        succeed(ferry_triton_resolve((uint8_t *)base + 3, &found, &offset));
        assert_ptr_equal(found, buffer);
        assert_int_equal(offset, 3);
        ferry_triton_handle_destroy(base);
        succeed(ferry_triton_device("host", &mine));
        assert_ptr_equal(mine, device);
        ferry_triton_device_release(mine);
    }
    return NULL;
}

static void many_threads(void **state)
{
    enum { N = 4 };
    pthread_t threads[N];
    ferry_buffer *buffers[N];
    (void)state;
    atomic_store(&stop, 0);
    for (size_t i = 0; i < N; i++) {
        buffers[i] = make_buffer(device, 100);
        assert_int_equal(pthread_create(&threads[i], NULL, churn, buffers[i]), 0);
    }
    for (int i = 0; i < 200; i++) {
        void *base = NULL;
        succeed(ferry_triton_handle_create(buffers[0], &base));
        ferry_triton_handle_destroy(base);
    }
    atomic_store(&stop, 1);
    for (size_t i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        ferry_buffer_destroy(buffers[i]);
    }
}

static void log_and_errors(void **state)
{
    TRITONSERVER_Error *error;
    ferry_ticket ticket = 0;
    (void)state;
    assert_null(ferry_triton_error(FERRY_OK, "nothing"));
    const enum ferry_status status = ferry_wait(device, (ferry_ticket)-1, 0);
    error = ferry_triton_error(status, "waiting");
    expect_error(error, TRITONSERVER_ERROR_INVALID_ARG, "waiting: ferry_wait");
    expect_error(ferry_triton_error(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, "a"),
                 TRITONSERVER_ERROR_UNAVAILABLE, "a: ");
    expect_error(ferry_triton_error(FERRY_ERROR_DEVICE_LOST, "b"), TRITONSERVER_ERROR_INTERNAL,
                 "b: ");
    expect_error(ferry_triton_log((enum ferry_log_level)77), TRITONSERVER_ERROR_INVALID_ARG, "77");
    succeed(ferry_triton_log(FERRY_LOG_INFO));
    assert_int_equal(ferry_poll(device, (ferry_ticket)-1), FERRY_ERROR_INVALID_ARGUMENT);
    assert_true(standin_logged("ferry_poll") > 0);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    (void)ticket;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stand_for_buffers), TEST(know_what_is_foreign), TEST(do_not_come_back_soon),
        TEST(share_the_device),  TEST(many_threads),         TEST(log_and_errors),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
