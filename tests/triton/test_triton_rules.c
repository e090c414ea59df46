#include "host.h"

#include <dlfcn.h>
#include <stdio.h>

/* Backends that break a rule are seen to: else the tests of ours could not fail. */

static struct host host;

static void send_one(const char *model)
{
    static struct call call;
    const struct tensor_data input = {
        .name = "A", .bytes = (const uint8_t *)"abc", .size = 3, .shape = {3}, .dims = 1};
    static const char *const none[] = {NULL};
    call_start(&call, &host, model, &input, 1, none, NULL, NULL);
    pthread_mutex_lock(&call.lock);
    while (!call.releases && strcmp(model, "not_drained"))
        pthread_cond_wait(&call.changed, &call.lock);
    pthread_mutex_unlock(&call.lock);
    if (call.response)
        succeed(TRITONSERVER_InferenceResponseDelete(call.response));
}

static void load(const char *model)
{
    succeed(host_load(&host, model,
                      "backend: \"bad\"\nmax_batch_size: 0\n"
                      "input { name: \"A\" data_type: TYPE_UINT8 dims: [ -1 ] }\n"));
}

static void expect_violation(const char *words)
{
    if (!standin_violations() || !strstr(standin_last_violation(), words))
        fail_msg("not seen: \"%s\", but: \"%s\"", words, standin_last_violation());
    standin_reset();
}

static void two_final_responses(void **state)
{
    (void)state;
    load("two_finals");
    send_one("two_finals");
    host_unload(&host, "two_finals");
    expect_violation("2 final responses");
}

static void kept_array(void **state)
{
    (void)state;
    load("keeps_array");
    send_one("keeps_array");
    send_one("keeps_array");
    host_unload(&host, "keeps_array");
    expect_violation("from an old array");
}

static void statistics_after_release(void **state)
{
    (void)state;
    load("late_statistics");
    send_one("late_statistics");
    host_unload(&host, "late_statistics");
    expect_violation("ReportStatistics");
}

static void finalize_without_draining(void **state)
{
    (void)state;
    load("not_drained");
    send_one("not_drained");
    host_unload(&host, "not_drained");
    expect_violation("1 requests are not released");
}

static void answers_and_fails(void **state)
{
    (void)state;
    load("answers_and_fails");
    send_one("answers_and_fails");
    host_unload(&host, "answers_and_fails");
    expect_violation("ResponseNew: the request is not the backend's");
}

static void statistics_of_another_instance(void **state)
{
    (void)state;
    load("other_instance");
    send_one("other_instance");
    host_unload(&host, "other_instance");
    expect_violation("another instance had the request");
}

/* The server finalizes also what failed to initialize: a backend must be ready for it. */
static void finalized_after_a_failure(void **state)
{
    static const char *const models[] = {"model_fails", "instance_fails"};
    static const char *const words[] = {"ModelFinalize: not today",
                                        "ModelInstanceFinalize: not today"};
    (void)state;
    for (size_t i = 0; i < COUNT(models); i++) {
        expect_error(host_load(&host, models[i], "backend: \"bad\"\n"),
                     TRITONSERVER_ERROR_UNAVAILABLE, "not today");
        expect_violation(words[i]);
    }
}

static void never_released(TRITONSERVER_InferenceRequest *request, const uint32_t flags,
                           void *userp)
{
    (void)request;
    (void)flags;
    (void)userp;
    fail_msg("a request that was refused is the host's still");
}

static void never_answered(TRITONSERVER_InferenceResponse *response, const uint32_t flags,
                           void *userp)
{
    (void)response;
    (void)flags;
    (void)userp;
    fail_msg("a request that was refused gets no response");
}

/* What the server refuses before a backend sees it. */
static void requests_that_do_not_fit(void **state)
{
    static const struct {
        struct tensor_data input;
        const char *output, *words;
    } cases[] = {
        {{.name = "A", .size = 6, .shape = {2, 3}, .dims = 2}, "Z", "unexpected output"},
        {{.name = "B", .size = 6, .shape = {2, 3}, .dims = 2}, "X", "unexpected input"},
        {{.name = "A", .size = 6, .shape = {2, 3}, .dims = 2, .datatype = TRITONSERVER_TYPE_INT8},
         "X",
         "is TYPE_INT8"},
        {{.name = "A", .size = 6, .shape = {3, 2}, .dims = 2}, "X", "unexpected shape"},
        {{.name = "A", .size = 3, .shape = {3}, .dims = 1}, "X", "unexpected shape"},
        {{.name = "A", .size = 15, .shape = {5, 3}, .dims = 2}, "X", "batch size 5 of at most 4"},
        {{.name = "A", .size = 5, .shape = {2, 3}, .dims = 2}, "X", "5 bytes, not 6"},
    };
    (void)state;
    succeed(host_load(&host, "fits",
                      "backend: \"bad\"\nmax_batch_size: 4\n"
                      "input { name: \"A\" data_type: TYPE_UINT8 dims: [ 3 ] }\n"
                      "output { name: \"X\" data_type: TYPE_UINT8 dims: [ 3 ] }\n"));
    for (size_t i = 0; i < COUNT(cases); i++) {
        TRITONSERVER_InferenceRequest *request = NULL;
        const struct tensor_data *input = &cases[i].input;
        succeed(TRITONSERVER_InferenceRequestNew(&request, host.server, "fits", -1));
        succeed(TRITONSERVER_InferenceRequestAddInput(
            request, input->name, input->datatype ? input->datatype : TRITONSERVER_TYPE_UINT8,
            input->shape, input->dims));
        add_data(request, input->name, "abcdefghijklmno", input->size);
        succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(request, cases[i].output));
        succeed(TRITONSERVER_InferenceRequestSetReleaseCallback(request, never_released, NULL));
        succeed(TRITONSERVER_InferenceRequestSetResponseCallback(request, NULL, NULL,
                                                                 never_answered, NULL));
        expect_error(TRITONSERVER_ServerInferAsync(host.server, request, NULL),
                     TRITONSERVER_ERROR_INVALID_ARG, cases[i].words);
        succeed(TRITONSERVER_InferenceRequestDelete(request));
    }
    host_unload(&host, "fits");
}

/* No breach: an Execute that fails leaves the requests to the server. */
static void execute_that_fails(void **state)
{
    struct call call;
    const struct tensor_data input = {
        .name = "A", .bytes = (const uint8_t *)"abc", .size = 3, .shape = {3}, .dims = 1};
    static const char *const none[] = {NULL};
    (void)state;
    load("refuses");
    call_start(&call, &host, "refuses", &input, 1, none, NULL, NULL);
    call_wait(&call);
    call_expect_error(&call, TRITONSERVER_ERROR_UNAVAILABLE, "not today");
    call_finish(&call);
    host_unload(&host, "refuses");
}

static int open_host(void **state)
{
    (void)state;
    host_open(&host, BAD_BACKENDS);
    return 0;
}

static int close_host(void **state)
{
    (void)state;
    host_close(&host);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_final_responses),       TEST(kept_array),
        TEST(statistics_after_release),  TEST(execute_that_fails),
        TEST(answers_and_fails),         TEST(statistics_of_another_instance),
        TEST(finalized_after_a_failure), TEST(requests_that_do_not_fit),
        TEST(finalize_without_draining), /* the last: its call is never released */
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
