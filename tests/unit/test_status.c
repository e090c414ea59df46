/* Names, texts and the last error of each thread; also the allocation wrapper. */
#include "base/base.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void names_and_texts(void **state)
{
    (void)state;
#define FERRY_STATUS(value, name, text)                                               \
    assert_string_equal(ferry_status_name((enum ferry_status)value), "FERRY_" #name); \
    assert_string_equal(ferry_status_text(FERRY_##name), text);
#include <ferry/status.inc>
#undef FERRY_STATUS
    static const int none[] = {-1, 15, 1000, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_string_equal(ferry_status_name((enum ferry_status)none[i]), "FERRY_ERROR_UNKNOWN");
        assert_non_null(ferry_status_text((enum ferry_status)none[i]));
    }
}

static void path_names(void **state)
{
    (void)state;
    static const char *const names[] = {"auto",   "direct",  "staged", "pipelined", "imported",
                                        "device", "bridged", "none",   "blocks",    "peer"};
    for (unsigned i = 0; i < FERRY_PATH_COUNT; i++)
        assert_string_equal(ferry_path_name((enum ferry_path)i), names[i]);
    assert_string_equal(ferry_path_name(FERRY_PATH_COUNT), "unknown");
    assert_string_equal(ferry_path_name((enum ferry_path) - 1), "unknown");
}

static void version(void **state)
{
    (void)state;
    assert_int_equal(ferry_version(), FERRY_VERSION);
}

static void *other_thread(void *arg)
{
    bool *right = arg;
    *right = strcmp(ferry_last_error(), "") == 0;
    (void)ferry__fail(FERRY_ERROR_IO, "of another thread");
    *right = *right && strcmp(ferry_last_error(), "of another thread") == 0;
    return NULL;
}

static void last_error(void **state)
{
    (void)state;
    assert_string_equal(ferry_last_error(), "");
    assert_int_equal(ferry__fail(FERRY_ERROR_OUT_OF_RANGE, "size %d at offset %d", 4097, 12),
                     FERRY_ERROR_OUT_OF_RANGE);
    assert_string_equal(ferry_last_error(), "size 4097 at offset 12");
    pthread_t thread;
    bool right = false;
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &right), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(right);
    assert_string_equal(ferry_last_error(), "size 4097 at offset 12");
    ferry__set_error("a reason");
    assert_string_equal(ferry_last_error(), "a reason");
    ferry__set_error(ferry_last_error());
    assert_string_equal(ferry_last_error(), "a reason");
    (void)ferry__fail(FERRY_ERROR_IO, "more: %s", ferry_last_error());
    assert_string_equal(ferry_last_error(), "more: a reason");
}

static void long_errors_are_cut(void **state)
{
    (void)state;
    char reason[2001];
    memset(reason, 'x', 2000);
    reason[2000] = '\0';
    (void)ferry__fail(FERRY_ERROR_IO, "%s", reason);
    size_t length = strlen(ferry_last_error());
    assert_true(length >= 200 && length <= 1999);
    assert_memory_equal(ferry_last_error(), reason, length);
    ferry__set_error("");
    ferry__set_error(reason);
    assert_int_equal(strlen(ferry_last_error()), length);
}

static void count_call(enum ferry_log_level level, const char *message, void *user)
{
    assert_int_equal(level, FERRY_LOG_INFO);
    assert_non_null(strstr(message, "FERRY_ERROR_TIMEOUT"));
    assert_non_null(strstr(message, "after 5 ns"));
    ++*(int *)user;
}

static void failures_are_logged_once(void **state)
{
    (void)state;
    int calls = 0;
    ferry_set_log(count_call, &calls, FERRY_LOG_DEBUG);
    (void)ferry__fail(FERRY_ERROR_TIMEOUT, "after %d ns", 5);
    assert_int_equal(calls, 1);
    ferry__set_error("was logged");
    assert_int_equal(calls, 1);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

static void allocations_fail_when_told(void **state)
{
    (void)state;
    ferry__alloc_fail_at(2);
    unsigned char *memory = ferry__alloc(100);
    assert_non_null(memory);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(memory[i], 0);
    memset(memory, 5, 100);
    assert_null(ferry__realloc(memory, 200)); /* keeps the memory */
    assert_int_equal(memory[99], 5);
    memory = ferry__realloc(memory, 300); /* once only */
    assert_non_null(memory);
    assert_int_equal(memory[99], 5);
    void *empty = ferry__alloc(0);
    assert_non_null(empty);
    ferry__free(empty);
    ferry__free(memory);
    ferry__free(NULL);
    assert_int_equal(ferry__alloc_fail_at(1), 4);
    assert_null(ferry__alloc(1));
    assert_int_equal(ferry__alloc_fail_at(0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_error), /* first: nothing has failed yet */
        cmocka_unit_test(names_and_texts),
        cmocka_unit_test(path_names),
        cmocka_unit_test(version),
        cmocka_unit_test(long_errors_are_cut),
        cmocka_unit_test(failures_are_logged_once),
        cmocka_unit_test(allocations_fail_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
