#include "host.h"

#include <dlfcn.h>
#include <stdio.h>

/* Backends that break a rule are seen to: else the tests of ours could not fail. */

static struct host host;

static void send_one(const char *model) {
    static struct call call;
    const struct tensor_data input = {.name = "A", .bytes = (const uint8_t *)"abc", .size = 3,
                                      .shape = {3}, .dims = 1};
    static const char *const none[] = {NULL};
    call_start(&call, &host, model, &input, 1, none, NULL, NULL);
    pthread_mutex_lock(&call.lock);
    while (!call.releases && strcmp(model, "not_drained"))
        pthread_cond_wait(&call.changed, &call.lock);
    pthread_mutex_unlock(&call.lock);
    if (call.response) succeed(TRITONSERVER_InferenceResponseDelete(call.response));
}

static void load(const char *model) {
    succeed(host_load(&host, model, "backend: \"bad\"\nmax_batch_size: 0\n"
                                 "input { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"));
}

static void expect_violation(const char *words) {
    if (!standin_violations() || !strstr(standin_last_violation(), words))
        fail_msg("not seen: \"%s\", but: \"%s\"", words, standin_last_violation());
    standin_reset();
}

static void two_final_responses(void **state) {
    (void)state;
    load("two_finals");
    send_one("two_finals");
    host_unload(&host, "two_finals");
    expect_violation("2 final responses");
}

static void kept_array(void **state) {
    (void)state;
    load("keeps_array");
    send_one("keeps_array");
    send_one("keeps_array");
    host_unload(&host, "keeps_array");
    expect_violation("from an old array");
}

static void statistics_after_release(void **state) {
    (void)state;
    load("late_statistics");
    send_one("late_statistics");
    host_unload(&host, "late_statistics");
    expect_violation("ReportStatistics");
}

static void finalize_without_draining(void **state) {
    (void)state;
    load("not_drained");
    send_one("not_drained");
    host_unload(&host, "not_drained");
    expect_violation("1 requests are not released");
}

/* No breach: an Execute that fails leaves the requests to the server. */
static void execute_that_fails(void **state) {
    struct call call;
    const struct tensor_data input = {.name = "A", .bytes = (const uint8_t *)"abc", .size = 3,
                                      .shape = {3}, .dims = 1};
    static const char *const none[] = {NULL};
    (void)state;
    load("refuses");
    call_start(&call, &host, "refuses", &input, 1, none, NULL, NULL);
    call_wait(&call);
    call_expect_error(&call, TRITONSERVER_ERROR_UNAVAILABLE, "not today");
    call_finish(&call);
    host_unload(&host, "refuses");
}

static int open_host(void **state) {
    (void)state;
    host_open(&host, BAD_BACKENDS);
    return 0;
}

static int close_host(void **state) {
    (void)state;
    host_close(&host);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(two_final_responses), TEST(kept_array), TEST(statistics_after_release),
        TEST(execute_that_fails),  TEST(finalize_without_draining),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
