/* Statuses, reasons, the log. */
#include "promises.h"

#include <pthread.h>
#include <unistd.h>

enum { SIZE = 4096 };

/* "FERRY_OK is 0, FERRY_PENDING is 1 (ferry_poll only), the rest are errors." */
static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(FERRY_OK, 0);
    assert_int_equal(FERRY_PENDING, 1);
}

/* "A static string, never NULL: "FERRY_ERROR_UNKNOWN" for no status." */
static void test_names(void **state)
{
    (void)state;
    for (int i = -3; i < 40; i++) {
        assert_non_null(ferry_status_name((enum ferry_status)i));
        assert_non_null(ferry_status_text((enum ferry_status)i));
        assert_non_null(ferry_path_name((enum ferry_path)i));
    }
    assert_string_equal(ferry_status_name((enum ferry_status)999), "FERRY_ERROR_UNKNOWN");
    assert_ptr_equal(ferry_status_name(FERRY_ERROR_IO), ferry_status_name(FERRY_ERROR_IO));
}

/* "The FERRY_VERSION of the library in use" */
static void test_version(void **state)
{
    (void)state;
    assert_int_equal(ferry_version(), FERRY_VERSION);
}

/* "The string is this thread's own and lives until its next failing call": calls that succeed leave it
 * alone, whatever failed inside that Ferry recovered from. */
static void test_last_error_survives_success(void **state)
{
    (void)state;
    ferry_device *device = open_queued(NULL);
    struct mirror mirror = make_mirror(device, 3 << 20, FERRY_STORAGE_PRIVATE, 1);
    unsigned char *got = xmalloc(3 << 20);
    ferry_ticket ticket = 0;
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_host(mirror.buffer, got, 1, mirror.size));
    const char *text = ferry_last_error();
    char before[512];
    snprintf(before, sizeof before, "%s", text);
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, mirror.size, 0));
    OK(ferry_copy_to_host_async(mirror.buffer, got, mirror.size, 0, NULL, NULL, &ticket));
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
    OK(ferry_wait_idle(device));
    OK(ferry_device_trim(device));
    assert_ptr_equal(ferry_last_error(), text);
    assert_string_equal(text, before);
    free(got);
    drop_mirror(&mirror);
    ferry_device_close(device);
}

/* The same where imports are refused and memory is short. */
static void test_last_error_survives_recovery(void **state)
{
    (void)state;
    static const char *const knobs[] = {"fail_alloc=3", "fail_alloc=4", "fail_alloc=5",
                                        "import_fail=1", "import_fail=2"};
    suite_skip_unless(suite->knobs_variable != NULL, "this driver has no test knobs");
    unsigned succeeded = 0;
    unsigned char *bytes = scribbled(9 << 20, 2);
    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++) {
        struct ferry_device_params params = suite->params;
        params.map_private = FERRY_MAP_NEVER;
        params.path = i < 3 ? FERRY_PATH_PIPELINED : FERRY_PATH_IMPORTED;
        ferry_device *device = open_with(knobs[i], &params);
        ferry_buffer *buffer = NULL;
        IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_copy_from_host(NULL, bytes, 1, 0));
        char before[512];
        snprintf(before, sizeof before, "%s", ferry_last_error());
        if (!ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 9 << 20}, &buffer) &&
            !ferry_copy_from_host(buffer, bytes, 9 << 20, 0)) {
            assert_string_equal(ferry_last_error(), before);
            succeeded++;
        }
        ferry_buffer_destroy(buffer);
        ferry_device_close(device);
    }
    free(bytes);
    assert_true(succeeded > 0);
}

/* "the reason, in words and with the numbers, is in ferry_last_error()" */
static void test_reasons_have_numbers(void **state)
{
    struct fixture *fixture = *state;
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    char byte = 0;
    IS(FERRY_ERROR_OUT_OF_RANGE, ferry_copy_from_host(buffer, &byte, 1, 4711));
    expect_words("4711");
    expect_words("4096");
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_wait(fixture->device, 987654321, 0));
    expect_words("987654321");
    ferry_buffer_destroy(buffer);
}

static void *first_error(void *arg)
{
    bool *right = arg;
    *right = ferry_last_error()[0] == '\0';
    return NULL;
}

/* "Never NULL; "" when nothing failed yet. The string is this thread's own" */
static void test_last_error_of_a_thread(void **state)
{
    (void)state;
    pthread_t thread;
    bool right = false;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_zero_buffer(NULL));
    assert_int_equal(pthread_create(&thread, NULL, first_error, &right), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(right);
    assert_true(ferry_last_error()[0] != '\0');
}

/* "inside a callback, why that operation failed" */
static void test_last_error_in_callback(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    static unsigned char got[SIZE];
    static struct note note;
    note_init(&note);
    struct ferry_external held = hold(fixture->device, buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_to_host_async(buffer, got, SIZE, 0, note_callback, &note, NULL));
    release_failed(fixture->device, &held);
    OK(ferry_wait_idle(fixture->device));
    assert_int_equal(note.status, FERRY_ERROR_EXECUTION_FAILED);
    assert_non_null(strstr(note.error, "external work"));
    ferry_buffer_destroy(buffer);
}

/* --- the log ------------------------------------------------------------------------------------- */

static struct {
    _Atomic unsigned messages, line_feeds, urgent;
} heard;

static void hear(enum ferry_log_level level, const char *message, void *user)
{
    (void)user;
    heard.messages++;
    heard.line_feeds += strchr(message, '\n') != NULL;
    heard.urgent += level == FERRY_LOG_ERROR;
}

/* "message is one line without a line feed"; "Sends messages of this level and the more urgent ones" */
static void test_log(void **state)
{
    struct fixture *fixture = *state;
    (void)fixture;
    ferry_buffer *buffer = NULL;
    memset(&heard, 0, sizeof heard);
    ferry_set_log(hear, NULL, FERRY_LOG_INFO);
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_create(fixture->device, &(struct ferry_buffer_params){.label = "a\nb"},
                           &buffer));
    assert_true(heard.messages > 0);
    assert_int_equal(heard.line_feeds, 0);
    const unsigned before = heard.messages;
    ferry_set_log(hear, NULL, FERRY_LOG_ERROR);
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_zero_buffer(NULL));
    assert_int_equal(heard.messages, before);
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
}

/* "A failure with neither ticket nor callback is logged at ERROR." */
static void test_log_of_nobody(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    ferry_buffer *buffer = make_buffer(fixture->device, SIZE, FERRY_STORAGE_PRIVATE);
    static unsigned char got[SIZE];
    struct ferry_external held = hold(fixture->device, buffer, FERRY_ACCESS_WRITE);
    OK(ferry_copy_to_host_async(buffer, got, SIZE, 0, NULL, NULL, NULL));
    memset(&heard, 0, sizeof heard);
    ferry_set_log(hear, NULL, FERRY_LOG_ERROR);
    release_failed(fixture->device, &held);
    OK(ferry_wait_idle(fixture->device));
    /* A thread of the library's may log it after what it is about is done. */
    for (unsigned i = 0; i < 10000 && !heard.urgent; i++)
        usleep(1000);
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    assert_int_equal(heard.urgent, 1);
    ferry_buffer_destroy(buffer);
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_numbers),
    SUITE_TEST(test_names),
    SUITE_TEST(test_version),
    SUITE_TEST(test_last_error_survives_success),
    SUITE_TEST(test_last_error_survives_recovery),
    SUITE_TEST(test_reasons_have_numbers),
    SUITE_TEST(test_last_error_of_a_thread),
    SUITE_TEST(test_last_error_in_callback),
    SUITE_TEST(test_log),
    SUITE_TEST(test_log_of_nobody),
};

SUITE_GROUP(errors);
