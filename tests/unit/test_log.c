/* The log: levels, where messages go, one write for each, and user functions at the same time. */
#include "barrier.h"
#include "base/base.h"
#include "hang.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
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
    assert_string_equal(text, "ferry: warning: seen 1\\ntwice\n");
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
    assert_true(length >= 500 && length <= 2000);
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
    alarm(HANG_SECONDS);
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

/* --- a function that was replaced --------------------------------------------------------------- */

struct replaced {
    _Atomic bool entered, set_returned, seen_returned;
};

/* Gives the other thread every chance to return from ferry_set_log too early. */
static void linger(enum ferry_log_level level, const char *message, void *user)
{
    struct replaced *replaced = user;
    (void)level;
    (void)message;
    replaced->entered = true;
    for (int i = 0; i < 50 && !replaced->set_returned; i++)
        usleep(1000);
    replaced->seen_returned = replaced->set_returned;
}

/* "Once this returns the function set before is called no more, and does not run any more." */
static void replaced_function_has_returned(void **state)
{
    (void)state;
    alarm(HANG_SECONDS);
    for (int round = 0; round < 3; round++) {
        struct replaced replaced = {0};
        ferry_set_log(linger, &replaced, FERRY_LOG_ERROR);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, log_once, NULL), 0);
        while (!replaced.entered)
            usleep(100);
        ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
        replaced.set_returned = true;
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_false(replaced.seen_returned);
    }
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    alarm(0);
}

static void replace_inside(enum ferry_log_level level, const char *message, void *user)
{
    (void)level;
    (void)message;
    barrier_wait(user); /* two at once: neither may wait for the other */
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

static void replaced_inside_itself(void **state)
{
    (void)state;
    alarm(HANG_SECONDS);
    struct barrier barrier;
    barrier_init(&barrier, 2);
    ferry_set_log(replace_inside, &barrier, FERRY_LOG_ERROR);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, log_once, NULL), 0);
    log_once(NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    alarm(0);
}

/* --- locks of ours ------------------------------------------------------------------------------ */

static void held_back_under_a_lock(void **state)
{
    (void)state;
    pthread_mutex_t outer = PTHREAD_MUTEX_INITIALIZER, inner = PTHREAD_MUTEX_INITIALIZER;
    struct seen seen = {0};
    ferry_set_log(remember, &seen, FERRY_LOG_ERROR);
    ferry__lock_as(&outer, FERRY__LOCK_POOL);
    ferry__log(FERRY_LOG_ERROR, "first");
    ferry__lock(&inner);
    errno = 1234;
    ferry__log(FERRY_LOG_ERROR, "second");
    ferry__unlock(&inner);
    assert_int_equal(seen.calls, 0);
    ferry__unlock(&outer);
    assert_int_equal(errno, 1234);
    assert_int_equal(seen.calls, 2);
    assert_string_equal(seen.message, "second");
    ferry__lock_as(&outer, FERRY__LOCK_POOL); /* a wait does not keep it for ever */
    ferry__log(FERRY_LOG_ERROR, "third");
    assert_true(ferry__cond_wait_until(&(pthread_cond_t)PTHREAD_COND_INITIALIZER, &outer, 0));
    assert_int_equal(seen.calls, 3);
    ferry__unlock(&outer);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

/* --- fork --------------------------------------------------------------------------------------- */

static _Atomic bool stop_logging;

static void ignore(enum ferry_log_level level, const char *message, void *user)
{
    (void)level;
    (void)message;
    (void)user;
}

static void *log_until_told(void *arg)
{
    (void)arg;
    while (!stop_logging)
        ferry__log(FERRY_LOG_ERROR, "again");
    return NULL;
}

/* In the child of a fork the log works, whatever the other threads were at. */
static void forked_while_others_log(void **state)
{
    (void)state;
    enum { FORKS = 200, THREADS = 3 };
    pthread_t threads[THREADS];
    stop_logging = false;
    ferry_set_log(ignore, NULL, FERRY_LOG_ERROR);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_until_told, NULL), 0);
    int bad = 0;
    for (int i = 0; i < FORKS && !bad; i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(HANG_SECONDS);
            ferry__log(FERRY_LOG_ERROR, "of the child");
            ferry_set_log(NULL, NULL, FERRY_LOG_NONE); /* waits for nobody who is not there */
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        bad = status;
    }
    stop_logging = true;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_is_warn_to_stderr), /* first: nothing was set yet */
        cmocka_unit_test(long_messages_are_cut),          cmocka_unit_test(levels),
        cmocka_unit_test(no_lock_round_the_function),     cmocka_unit_test(set_while_logging),
        cmocka_unit_test(replaced_function_has_returned), cmocka_unit_test(replaced_inside_itself),
        cmocka_unit_test(held_back_under_a_lock),         cmocka_unit_test(forked_while_others_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
