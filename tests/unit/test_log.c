/* The log: levels, where messages go, one write for each, and user functions at the same time. */
#include "barrier.h"
#include "base.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* Standard error goes into a socket that keeps writes apart. */
struct capture {
    int saved, ends[2];
};

static void capture_begin(struct capture *capture)
{
    capture->saved = dup(STDERR_FILENO);
    assert_true(capture->saved >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, capture->ends), 0);
    assert_true(dup2(capture->ends[0], STDERR_FILENO) >= 0);
    close(capture->ends[0]);
}

/* The next write, or "" where there was none. */
static void capture_next(struct capture *capture, char *out, size_t capacity)
{
    ssize_t length = recv(capture->ends[1], out, capacity - 1, MSG_DONTWAIT);
    out[length > 0 ? length : 0] = '\0';
}

static void capture_end(struct capture *capture)
{
    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    close(capture->ends[1]);
}

static void default_is_warn_to_stderr(void **state)
{
    (void)state;
    struct capture capture;
    char text[2048];
    capture_begin(&capture);
    errno = 4321;
    ferry__log(FERRY_LOG_INFO, "too quiet");
    ferry__log(FERRY_LOG_WARN, "seen %d\ntwice", 1);
    ferry__log(FERRY_LOG_ERROR, "worse");
    int error = errno;
    capture_next(&capture, text, sizeof text);
    char second[2048], third[2048];
    capture_next(&capture, second, sizeof second);
    capture_next(&capture, third, sizeof third);
    capture_end(&capture);
    assert_string_equal(text, "ferry: warning: seen 1 twice\n");
    assert_string_equal(second, "ferry: error: worse\n");
    assert_string_equal(third, "");
    assert_int_equal(error, 4321);
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    char message[5001], text[6000];
    memset(message, 'x', 5000);
    message[5000] = '\0';
    struct capture capture;
    capture_begin(&capture);
    ferry__log(FERRY_LOG_ERROR, "%s", message);
    capture_next(&capture, text, sizeof text);
    capture_end(&capture);
    size_t length = strlen(text);
    assert_in_range(length, 500, 2000);
    assert_string_equal(text + length - 5, "x...\n");
}

struct seen {
    int calls;
    enum ferry_log_level level;
    char message[100];
};

static void remember(enum ferry_log_level level, const char *message, void *user)
{
    struct seen *seen = user;
    seen->calls++;
    seen->level = level;
    strncpy(seen->message, message, sizeof seen->message - 1);
}

static void levels(void **state)
{
    (void)state;
    for (int set = FERRY_LOG_NONE; set <= FERRY_LOG_DEBUG; set++) {
        for (int level = FERRY_LOG_ERROR; level <= FERRY_LOG_DEBUG; level++) {
            struct seen seen = {0};
            ferry_set_log(remember, &seen, (enum ferry_log_level)set);
            ferry__log((enum ferry_log_level)level, "level %d", level);
            assert_int_equal(seen.calls, level <= set);
            if (seen.calls > 0) {
                assert_int_equal(seen.level, level);
                assert_memory_equal(seen.message, "level ", 6);
            }
        }
    }
    struct seen seen = {0};
    ferry_set_log(remember, &seen, FERRY_LOG_DEBUG);
    ferry__log(FERRY_LOG_NONE, "no level");
    assert_int_equal(seen.calls, 0);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

/* Two threads meet inside the function: no lock is held while it runs. */
static void meet(enum ferry_log_level level, const char *message, void *user)
{
    (void)level;
    (void)message;
    barrier_wait(user);
}

static void *log_once(void *arg)
{
    (void)arg;
    ferry__log(FERRY_LOG_ERROR, "meet");
    return NULL;
}

static void no_lock_round_the_function(void **state)
{
    (void)state;
    alarm(60);
    struct barrier barrier;
    barrier_init(&barrier, 2);
    ferry_set_log(meet, &barrier, FERRY_LOG_ERROR);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, log_once, NULL), 0);
    log_once(NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    alarm(0);
}

/* fn and user change together. */
enum { PAIRS = 2000 };
static _Atomic int mismatches, pair_calls;
static char users[2];

static void expect_0(enum ferry_log_level level, const char *message, void *user)
{
    (void)level;
    (void)message;
    mismatches += user != &users[0];
    pair_calls++;
}

static void expect_1(enum ferry_log_level level, const char *message, void *user)
{
    (void)level;
    (void)message;
    mismatches += user != &users[1];
    pair_calls++;
}

static void *log_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < PAIRS; i++)
        ferry__log(FERRY_LOG_ERROR, "%u", i);
    return NULL;
}

static void set_while_logging(void **state)
{
    (void)state;
    ferry_set_log(expect_0, &users[0], FERRY_LOG_ERROR);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, log_many, NULL), 0);
    for (unsigned i = 0; i < PAIRS; i++)
        ferry_set_log(i % 2 == 0 ? expect_1 : expect_0, &users[i % 2 == 0], FERRY_LOG_ERROR);
    assert_int_equal(pthread_join(thread, NULL), 0);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    assert_int_equal(mismatches, 0);
    assert_int_equal(pair_calls, PAIRS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_is_warn_to_stderr), /* first: nothing was set yet */
        cmocka_unit_test(long_messages_are_cut),      cmocka_unit_test(levels),
        cmocka_unit_test(no_lock_round_the_function), cmocka_unit_test(set_while_logging),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
