/* The environment: wrong values are refused, nearly right names and values are told. */
#include "base/base.h"
#include "base/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static const struct {
    const char *name, *words;
} variables[] = {
#define FERRY_VARIABLE(name, reader, form, words, help) {name, words},
#include <ferry/environment.inc>
#undef FERRY_VARIABLE
};

static void expect(const char *name, const char *value, enum ferry_status status, const char *why)
{
    setenv(name, value, 1);
    assert_int_equal(ferry__env_check(), status);
    if (why)
        assert_string_equal(ferry_last_error(), why);
    unsetenv(name);
}

/* Every word of every variable is taken, and so is none; a word that is not of the list is not. */
static void test_words(void **state)
{
    (void)state;
    unsigned lists = 0;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        char words[256], *rest = words;
        expect(variables[i].name, "", FERRY_OK, NULL);
        if (!*variables[i].words)
            continue;
        strcpy(words, variables[i].words);
        for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
            expect(variables[i].name, word, FERRY_OK, NULL);
        expect(variables[i].name, "sideways", FERRY_ERROR_INVALID_ARGUMENT, NULL);
        assert_non_null(strstr(ferry_last_error(), variables[i].name));
        lists++;
    }
    assert_true(lists >= 6);
}

static void test_messages(void **state)
{
    (void)state;
    expect("FERRY_FILE_IO", "bogus", FERRY_ERROR_INVALID_ARGUMENT,
           "FERRY_FILE_IO is \"bogus\", not auto, threads or cache");
    expect("FERRY_FILE_IO", "thread", FERRY_ERROR_INVALID_ARGUMENT,
           "FERRY_FILE_IO is \"thread\", not auto, threads or cache; did you mean \"threads\"?");
    expect(
        "FERRY_PATH", "dierct", FERRY_ERROR_INVALID_ARGUMENT,
        "FERRY_PATH is \"dierct\", not auto, direct, staged, pipelined or imported; did you mean "
        "\"direct\"?");
    expect(
        "FERRY_LOG", "warning", FERRY_ERROR_INVALID_ARGUMENT,
        "FERRY_LOG is \"warning\", not none, error, warn, info or debug; did you mean \"warn\"?");
    expect("FERRY_PATH", "pipe", FERRY_ERROR_INVALID_ARGUMENT,
           "FERRY_PATH is \"pipe\", not auto, direct, staged, pipelined or imported; did you mean "
           "\"pipelined\"?");
    expect("FERRY_PATH", "di", FERRY_ERROR_INVALID_ARGUMENT,
           "FERRY_PATH is \"di\", not auto, direct, staged, pipelined or imported");
    expect("FERRY_LOG", "WARN", FERRY_ERROR_INVALID_ARGUMENT,
           "FERRY_LOG is \"WARN\", not none, error, warn, info or debug");
}

/* Longer than any word, and than the table of the comparison. */
static void test_long_values(void **state)
{
    (void)state;
    char value[5000];
    memset(value, 'd', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (size_t size = 1; size < sizeof value; size = size * 2 + 1)
        expect("FERRY_PATH", value + sizeof value - 1 - size, FERRY_ERROR_INVALID_ARGUMENT, NULL);
}

static void test_devices_are_not_opened(void **state)
{
    (void)state;
    ferry_device *device = NULL;
    size_t count = 7;
    setenv("FERRY_FILE_IO", "bogus", 1);
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_null(device);
    assert_int_equal(ferry_device_list(NULL, 0, &count), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_driver_list(NULL, 0, &count), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(count, 7);
    unsetenv("FERRY_FILE_IO");
}

/* --- names: looked at once in a process, so each in its own ----------------------------------- */

static char heard[512];

static void hear(enum ferry_log_level level, const char *message, void *user)
{
    (void)level, (void)user;
    strncat(heard, message, sizeof heard - 1 - strlen(heard));
}

/* What is logged about a variable of this name; in a child, whose exit is 0 if that is it. */
static void expect_name(const char *name, const char *message)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv(name, "1", 1);
        ferry_set_log(hear, NULL, FERRY_LOG_WARN);
        const bool good = !ferry__env_check() && !strcmp(heard, message);
        heard[0] = '\0';
        _exit(!good || ferry__env_check() || heard[0]);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void test_names(void **state)
{
    (void)state;
    expect_name("FERRY_DEVCE",
                "the environment has FERRY_DEVCE, which does nothing: did you mean FERRY_DEVICE?");
    expect_name("FERY_PATH",
                "the environment has FERY_PATH, which does nothing: did you mean FERRY_PATH?");
    expect_name("FERRY_TRHESHOLD", "the environment has FERRY_TRHESHOLD, which does nothing: did "
                                   "you mean FERRY_THRESHOLDS?");
    /* Somebody else's. */
    expect_name("FERRY_HOME", "");
    expect_name("FERRY_TERMINAL", "");
    expect_name("FERRY_", "");
    expect_name("F", "");
}

/* --- the log's level -------------------------------------------------------------------------- */

static void test_log_level(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        ferry__log(FERRY_LOG_DEBUG, "before");
        setenv("FERRY_LOG", "debug", 1);
        bool good = !ferry__env_check();
        ferry__log(FERRY_LOG_DEBUG, "asked for");
        ferry_set_log(NULL, NULL, FERRY_LOG_ERROR);
        good = good && !ferry__env_check();
        ferry__log(FERRY_LOG_DEBUG, "the program has its own");
        _exit(!good);
    }
    close(ends[1]);
    char text[256] = "";
    size_t size = 0;
    ssize_t got;
    while ((got = read(ends[0], text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)got;
    close(ends[0]);
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_string_equal(text, "ferry: debug: asked for\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: a level that was set stays set, and names are looked at once in a process. */
        cmocka_unit_test(test_log_level),   cmocka_unit_test(test_names),
        cmocka_unit_test(test_words),       cmocka_unit_test(test_messages),
        cmocka_unit_test(test_long_values), cmocka_unit_test(test_devices_are_not_opened),
    };
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i].name);
    return cmocka_run_group_tests_name("env", tests, NULL, NULL);
}
