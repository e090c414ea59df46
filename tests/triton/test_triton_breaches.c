#include "support.h"

/* Each rule of the API that the stand-in knows, broken on purpose: it must be seen, in its words.
 * Else the tests of what is ours could not fail. Rules that take a server are in
 * test_triton_rules.c. */

static const int64_t shape[] = {1};

static TRITONSERVER_Error *give(TRITONSERVER_ResponseAllocator *allocator, const char *name,
                                size_t size, TRITONSERVER_MemoryType type, int64_t id, void *userp,
                                void **buffer, void **buffer_userp,
                                TRITONSERVER_MemoryType *actual_type, int64_t *actual_id)
{
    static uint8_t memory[64];
    (void)allocator;
    (void)name;
    (void)size;
    (void)type;
    (void)id;
    *buffer = memory;
    *buffer_userp = NULL;
    *actual_type = userp ? (TRITONSERVER_MemoryType)100 : TRITONSERVER_MEMORY_CPU;
    *actual_id = 0;
    return NULL;
}

static TRITONSERVER_Error *refuse(TRITONSERVER_ResponseAllocator *allocator, void *buffer,
                                  void *buffer_userp, size_t size, TRITONSERVER_MemoryType type,
                                  int64_t id)
{
    (void)allocator;
    (void)buffer;
    (void)buffer_userp;
    (void)size;
    (void)type;
    (void)id;
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "not mine");
}

static TRITONSERVER_InferenceResponse *sent;

static void keep(TRITONSERVER_InferenceResponse *response, const uint32_t flags, void *userp)
{
    (void)flags;
    (void)userp;
    sent = response;
}

/* What a breach needs, made anew for each. */
static struct {
    TRITONSERVER_ResponseAllocator *allocator;
    TRITONSERVER_InferenceRequest *made;
    TRITONBACKEND_Request *request;
    TRITONBACKEND_Response *response;
    TRITONBACKEND_Input *input;
    TRITONBACKEND_Output *output;
} my;

static void set_up(void *userp)
{
    succeed(TRITONSERVER_ResponseAllocatorNew(&my.allocator, give, refuse, NULL));
    my.made = make_request();
    add_input(my.made, "x");
    add_data(my.made, "x", "abc", 3);
    succeed(TRITONSERVER_InferenceRequestAddRequestedOutput(my.made, "y"));
    succeed(
        TRITONSERVER_InferenceRequestSetResponseCallback(my.made, my.allocator, userp, keep, NULL));
    my.request = standin_hand_over(my.made);
    succeed(TRITONBACKEND_RequestInput(my.request, "x", &my.input));
    succeed(TRITONBACKEND_ResponseNew(&my.response, my.request));
    succeed(TRITONBACKEND_ResponseOutput(my.response, &my.output, "y", TRITONSERVER_TYPE_UINT8,
                                         shape, 1));
}

static void ignore(TRITONSERVER_Error *error)
{
    TRITONSERVER_ErrorDelete(error);
}

static void answer(void)
{
    ignore(TRITONBACKEND_ResponseSend(my.response, 1, NULL));
}

static void release(void)
{
    ignore(TRITONBACKEND_RequestRelease(my.request, 1));
}

static void get_output(TRITONSERVER_MemoryType type)
{
    void *buffer = NULL;
    int64_t id = 0;
    ignore(TRITONBACKEND_OutputBuffer(my.output, &buffer, 3, &type, &id));
}

static void get_input(uint32_t index, TRITONSERVER_MemoryType type)
{
    const void *buffer = NULL;
    uint64_t size = 0;
    int64_t id = 0;
    ignore(TRITONBACKEND_InputBuffer(my.input, index, &buffer, &size, &type, &id));
}

static void report(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    ignore(TRITONBACKEND_ModelInstanceReportStatistics(NULL, my.request, true, a, b, c, d));
}

/* --- requests and responses ------------------------------------------------------------------- */

static void release_unanswered(void)
{
    release();
}
static void answer_twice(void)
{
    answer(), answer();
}
static void answer_unfinally(void)
{
    ignore(TRITONBACKEND_ResponseSend(my.response, 0, NULL));
}
static void release_twice(void)
{
    answer(), release(), release();
}
static void release_oddly(void)
{
    ignore(TRITONBACKEND_RequestRelease(my.request, 2));
}

static void respond_twice(void)
{
    ignore(TRITONBACKEND_ResponseNew(&my.response, my.request));
}

static void use_released_request(void)
{
    bool cancelled;
    answer(), release();
    ignore(TRITONBACKEND_RequestIsCancelled(my.request, &cancelled));
}

static void use_released_input(void)
{
    answer(), release(), get_input(0, TRITONSERVER_MEMORY_CPU);
}

static void report_released(void)
{
    answer(), release(), report(1, 2, 3, 4);
}

static void use_sent_response(void)
{
    answer();
    ignore(TRITONBACKEND_ResponseOutput(my.response, &my.output, "y", 1, shape, 1));
}

static void use_sent_output(void)
{
    answer(), get_output(TRITONSERVER_MEMORY_CPU);
}

static void add_data_under_way(void)
{
    ignore(TRITONSERVER_InferenceRequestAppendInputData(my.made, "x", "d", 1, 0, 0));
}

static void delete_under_way(void)
{
    ignore(TRITONSERVER_InferenceRequestDelete(my.made));
}

static void delete_response_twice(void)
{
    answer();
    ignore(TRITONSERVER_InferenceResponseDelete(sent));
    ignore(TRITONSERVER_InferenceResponseDelete(sent));
}

/* --- tensors ---------------------------------------------------------------------------------- */

static void make_unasked_output(void)
{
    ignore(TRITONBACKEND_ResponseOutput(my.response, &my.output, "z", 1, shape, 1));
}

static void get_output_twice(void)
{
    get_output(TRITONSERVER_MEMORY_CPU), get_output(TRITONSERVER_MEMORY_CPU);
}

static void ask_for_odd_memory(void)
{
    get_output((TRITONSERVER_MemoryType)100);
}
static void prefer_odd_memory(void)
{
    get_input(0, (TRITONSERVER_MemoryType)100);
}
static void get_input_beyond(void)
{
    get_input(1, TRITONSERVER_MEMORY_CPU);
}
static void give_odd_memory(void)
{
    get_output(TRITONSERVER_MEMORY_GPU);
}

static void do_not_take_back(void)
{
    get_output(TRITONSERVER_MEMORY_CPU);
    answer();
    ignore(TRITONSERVER_InferenceResponseDelete(sent));
}

/* --- statistics, metrics, log ----------------------------------------------------------------- */

static void report_twice(void)
{
    report(1, 2, 3, 4), report(1, 2, 3, 4);
}
static void report_disorder(void)
{
    report(1, 3, 2, 4);
}
static void report_future(void)
{
    report(1, 2, 3, UINT64_MAX);
}
static void report_nothing(void)
{
    report(0, 0, 0, 0);
}

static void report_empty_batch(void)
{
    ignore(TRITONBACKEND_ModelInstanceReportBatchStatistics(NULL, 0, 1, 2, 3, 4));
}

static TRITONSERVER_Metric *make_metric(TRITONSERVER_MetricKind kind, const char *name)
{
    TRITONSERVER_MetricFamily *family = NULL;
    TRITONSERVER_Metric *metric = NULL;
    succeed(TRITONSERVER_MetricFamilyNew(&family, kind, name, "help"));
    succeed(TRITONSERVER_MetricNew(&metric, family, NULL, 0));
    return metric;
}

static void make_family_twice(void)
{
    TRITONSERVER_MetricFamily *family = NULL;
    for (int i = 0; i < 2; i++)
        ignore(TRITONSERVER_MetricFamilyNew(&family, TRITONSERVER_METRIC_KIND_GAUGE, "twice", ""));
}

static void lower_a_counter(void)
{
    ignore(TRITONSERVER_MetricIncrement(make_metric(TRITONSERVER_METRIC_KIND_COUNTER, "a"), -1));
}

static void set_a_counter(void)
{
    ignore(TRITONSERVER_MetricSet(make_metric(TRITONSERVER_METRIC_KIND_COUNTER, "b"), 1));
}

static void label_by_number(void)
{
    TRITONSERVER_ParameterDelete(
        TRITONSERVER_ParameterNew("label", TRITONSERVER_PARAMETER_INT, "1"));
}

static void log_nothing(void)
{
    ignore(TRITONSERVER_LogMessage(0, NULL, 0, NULL));
}

static void leave_options_unset(void)
{
    TRITONSERVER_ServerOptions *options = NULL;
    TRITONSERVER_Server *server = NULL;
    succeed(TRITONSERVER_ServerOptionsNew(&options));
    succeed(TRITONSERVER_ServerOptionsSetModelControlMode(options,
                                                          TRITONSERVER_MODEL_CONTROL_EXPLICIT));
    succeed(TRITONSERVER_ServerNew(&server, options));
    succeed(TRITONSERVER_ServerOptionsDelete(options));
    succeed(TRITONSERVER_ServerDelete(server));
}

/* --- all of them ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*commit)(void);
    const char *words;
} breaches[] = {
#define BREACH(name, words) \
    {                       \
#name, name, words  \
    }
    BREACH(release_unanswered, "RequestRelease: the request had 0 final responses"),
    BREACH(release_twice, "RequestRelease: the request is not the backend's"),
    BREACH(release_oddly, "RequestRelease: "),
    BREACH(answer_twice, "ResponseSend: the response was sent"),
    BREACH(answer_unfinally, "ResponseSend: not final"),
    BREACH(respond_twice, "ResponseNew: a second response"),
    BREACH(use_released_request, "RequestIsCancelled: the request is not the backend's"),
    BREACH(use_released_input, "InputBuffer: the request is not the backend's"),
    BREACH(report_released, "ReportStatistics: the request is not the backend's"),
    BREACH(use_sent_response, "ResponseOutput: the response was sent"),
    BREACH(use_sent_output, "OutputBuffer: the response was sent"),
    BREACH(add_data_under_way, "AppendInputData: the request is not the host's"),
    BREACH(delete_under_way, "InferenceRequestDelete: the request is not the host's"),
    BREACH(delete_response_twice, "InferenceResponseDelete: twice"),
    BREACH(make_unasked_output, "ResponseOutput: \"z\" was not asked for"),
    BREACH(get_output_twice, "OutputBuffer: twice for \"y\""),
    BREACH(ask_for_odd_memory, "OutputBuffer: memory type 100 does not exist"),
    BREACH(prefer_odd_memory, "InputBuffer: memory type 100 does not exist"),
    BREACH(give_odd_memory, "an allocator gave memory of type 100"),
    BREACH(get_input_beyond, "InputBuffer: index 1 of 1"),
    BREACH(do_not_take_back, "an allocator does not release: not mine"),
    BREACH(report_twice, "ReportStatistics: twice"),
    BREACH(report_disorder, "ReportStatistics: the times are not in order"),
    BREACH(report_future, "ReportStatistics: the times are not in order"),
    BREACH(report_nothing, "ReportStatistics: the times are not in order"),
    BREACH(report_empty_batch, "ReportBatchStatistics: batch size 0"),
    BREACH(make_family_twice, "MetricFamilyNew: \"twice\" is there already"),
    BREACH(lower_a_counter, "MetricIncrement: a counter by -1"),
    BREACH(set_a_counter, "MetricSet: \"b\" is no gauge"),
    BREACH(label_by_number, "a label that is no string"),
    BREACH(log_nothing, "a log message without"),
    BREACH(leave_options_unset, "ServerNew: options that the server leaves uninitialised"),
};

static void all_are_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(breaches); i++) {
        const bool odd = breaches[i].commit == give_odd_memory;
        set_up(odd ? &my : NULL);
        if (standin_violations())
            fail_msg("without a breach: %s", standin_last_violation());
        breaches[i].commit();
        if (!standin_violations() || !strstr(standin_last_violation(), breaches[i].words))
            fail_msg("%s was not seen, but \"%s\"", breaches[i].name, standin_last_violation());
        succeed(TRITONSERVER_ResponseAllocatorDelete(my.allocator));
        standin_reset();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(all_are_seen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
