/* The driver on devices that fail. */
#include "strict_driver.h"

/* A little of everything. Whatever fails, it ends, and in words. */
static enum ferry_status work(char *why)
{
    void *state;
    struct ferry__limits limits;
    enum ferry_status status = driver->open(&(struct ferry__open_params){0}, &state, &limits, why);
    if (status != FERRY_OK)
        return status;
    struct ferry__memory memory[2];
    size_t made = 0;
    while (made < 2 && status == FERRY_OK) {
        enum ferry__memory_kind use = made ? FERRY__MEMORY_PRIVATE : FERRY__MEMORY_READBACK;
        status = driver->memory_alloc(state, use, SIZE, "", &memory[made], why);
        made += status == FERRY_OK;
    }
    uint64_t event = 0;
    if (status == FERRY_OK)
        status = driver->event_create(state, &event, why);
    for (uint64_t value = 1; value <= 3 && status == FERRY_OK; value++) {
        struct ferry__result result = {.status = FERRY_PENDING};
        struct ferry__command command = copy(&memory[0], 0, &memory[1], 0, SIZE);
        const struct ferry_sync wait = {event, value};
        const struct ferry__submission_info info = {.commands = &command,
                                                    .count = 1,
                                                    .waits = &wait,
                                                    .wait_count = 1,
                                                    .value = value,
                                                    .result = &result};
        status = driver->submit(state, &info, why);
        driver->event_signal(state, event, value);
        const struct ferry_sync point = {limits.queues[0].event, value};
        while (status == FERRY_OK && driver->completed(state, point.event) < value)
            driver->wait_any(state, &point, 1, FERRY_FOREVER);
        if (status == FERRY_OK) {
            assert_int_not_equal(result.status, FERRY_PENDING);
            status = result.status;
            if (status != FERRY_OK)
                snprintf(why, FERRY__WHY_MAX, "%s", result.why);
        }
    }
    if (status == FERRY_OK)
        status = driver->invalidate(state, &memory[0], 0, SIZE);
    if (status == FERRY_OK)
        status = driver->flush(state, &memory[0], 0, SIZE);
    if (event)
        driver->event_destroy(state, event);
    while (made)
        driver->memory_free(state, &memory[--made]);
    driver->close(state);
    return status;
}

static void test_every_call_fails(void **unused)
{
    (void)unused;
    static const struct {
        const char *result;
        enum ferry_status status;
    } kinds[] = {
        {"device", FERRY_ERROR_OUT_OF_DEVICE_MEMORY},
        {"lost", FERRY_ERROR_DEVICE_LOST},
        {"host", FERRY_ERROR_OUT_OF_HOST_MEMORY},
        {"map", FERRY_ERROR_OUT_OF_HOST_MEMORY},
        {"many", FERRY_ERROR_OUT_OF_DEVICE_MEMORY},
        {"handle", FERRY_ERROR_UNSUPPORTED},
        {"unknown", FERRY_ERROR_INTERNAL},
    };
    char why[FERRY__WHY_MAX], options[128];
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        /* Compiling the kernels takes most of the time: the first two will do. */
        setenv("FERRY_VULKAN_ENGINE", kind < 2 ? "auto" : "copy", 1);
        unsigned failed = 0;
        for (unsigned n = 1;; n++) {
            snprintf(options, sizeof options, "kind=discrete,memory=private,fail=any:%u:%s", n,
                     kinds[kind].result);
            assert_int_equal(set(options), 0);
            snprintf(why, sizeof why, "nothing");
            enum ferry_status status = work(why);
            if (calls() < n)
                break;
            failed += status != FERRY_OK;
            /* Some failures do not matter (a query pool, one look at a counter, a signal that is
             * tried again). Without the list there is no device. Nothing else comes of it. */
            if (status == kinds[kind].status || status == FERRY_ERROR_NO_DEVICE)
                assert_string_not_equal(why, "nothing");
            else
                assert_int_equal(status, FERRY_OK);
            assert_true(n < 1000);
        }
        assert_true(failed > 15);
    }
    unsetenv("FERRY_VULKAN_ENGINE");
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    assert_int_equal(set(""), 0);
    assert_int_equal(work(why), FERRY_OK);
}

/* The call that loses the device, and the call whose work is lost. */
static void test_loss(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "lose=2,kind=discrete");
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__command command = copy(&a, 0, &b, 0, 100);
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
    assert_int_equal(driver->status(f.v), FERRY_OK);
    const struct ferry__submission_info info = {
        .commands = &command, .count = 1, .value = 2, .result = &f.result};
    assert_int_equal(driver->submit(f.v, &info, f.why), FERRY_ERROR_DEVICE_LOST);
    assert_int_equal(driver->status(f.v), FERRY_ERROR_DEVICE_LOST);
    assert_int_equal(driver->submit(f.v, &info, f.why), FERRY_ERROR_DEVICE_LOST);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

static void test_loss_while_waiting(void **unused)
{
    (void)unused;
    static const char *const options[] = {"drop=2", "drop=2,kind=discrete"};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        open_with(&f, options[i]);
        struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
        struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
        struct ferry__command command = copy(&a, 0, &b, 0, 100);
        wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
        assert_int_equal(f.result.status, FERRY_OK);
        wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL)); /* must not hang */
        assert_int_equal(f.result.status, FERRY_ERROR_DEVICE_LOST);
        assert_true(strlen(f.result.why) > 0);
        assert_int_equal(driver->status(f.v), FERRY_ERROR_DEVICE_LOST);
        struct ferry_sync never = {f.limits.queues[0].event, 1000};
        driver->wait_any(f.v, &never, 1, FERRY_FOREVER); /* nor this */
        driver->memory_free(f.v, &a);
        driver->memory_free(f.v, &b);
        driver->close(f.v);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_call_fails),
    cmocka_unit_test(test_loss),
    cmocka_unit_test(test_loss_while_waiting),
};

GROUP(failures);
