#include "base/log.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/list.h"
#include "base/lock_record.h"
#include "base/thread.h"
#include "common/show.h"

#include <assert.h>
#include <errno.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 1024 };

struct settings {
    ferry_log_fn fn;
    void *user;
};

/* One call of the user's function, on the stack of the thread that makes it. */
struct call {
    uint64_t settings_number;
    struct ferry__link link; /* of calls */
    struct call *outer;      /* of this thread, which logs in the function */
};

/* A message that was logged while a lock of ours was held. */
struct held_back {
    struct ferry__link link;
    enum ferry_log_level level;
    char message[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next four; not in a call */
static pthread_cond_t returned = PTHREAD_COND_INITIALIZER;
static struct settings settings;
static uint64_t settings_number; /* how often they were set */
static struct ferry__list calls; /* that run */
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static _Atomic int threshold = FERRY_LOG_WARN; /* what is below costs one load */
static bool set_by_program;                    /* under the lock, as above */

static _Thread_local struct call *own_call; /* that this thread is in */
/* This thread's locks, of ferry__lock, and what was logged under them: one, so that it is found
 * once. */
static _Thread_local struct own_locks {
    unsigned count;
    struct ferry__list held;
} own_locks;

static const char *const level_names[] = {
    [FERRY_LOG_NONE] = "",       [FERRY_LOG_ERROR] = "error: ", [FERRY_LOG_WARN] = "warning: ",
    [FERRY_LOG_INFO] = "info: ", [FERRY_LOG_DEBUG] = "debug: ",
};

/* --- the calls that run ----------------------------------------------------------------------- */

static bool one_runs_since_before(uint64_t number)
{
    for (struct ferry__link *link = calls.first; link; link = link->next)
        if (FERRY__OF_LINK(link, struct call, link)->settings_number < number)
            return true;
    return false;
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

/* The other threads are gone, and with them their calls. */
static void after_fork_in_child(void)
{
    calls = (struct ferry__list){NULL, NULL};
    for (struct call *call = own_call; call; call = call->outer)
        ferry__list_push(&calls, &call->link);
    returned = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pthread_mutex_unlock(&lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

void ferry_set_log(ferry_log_fn fn, void *user, enum ferry_log_level level)
{
    const int cancel = ferry__cancel_off();
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&lock);
    settings = (struct settings){.fn = fn, .user = user};
    const uint64_t number = ++settings_number;
    atomic_store(&threshold, (int)level);
    set_by_program = true;
    /* Inside a log function it would wait for itself, or two for each other. */
    while (!own_call && one_runs_since_before(number))
        pthread_cond_wait(&returned, &lock);
    pthread_mutex_unlock(&lock);
    ferry__cancel_on(cancel);
}

/* --- a message -------------------------------------------------------------------------------- */

/* One write, so that lines of several threads and processes do not mix. */
static void write_stderr(enum ferry_log_level level, const char *message)
{
    char line[MESSAGE_MAX + 32];
    int length = snprintf(line, sizeof line, "ferry: %s%s\n", level_names[level], message);
    ssize_t written;
    do
        written = write(STDERR_FILENO, line, (size_t)length);
    while (written < 0 && errno == EINTR);
}

static void format_message(char *message, const char *format, va_list args)
{
    char raw[MESSAGE_MAX + 1]; /* one more than is shown, so that what was cut is seen to be */
    if (vsnprintf(raw, sizeof raw, format, args) < 0)
        raw[0] = '\0';
    ferry__show_text(message, MESSAGE_MAX, raw);
}

/* Under no lock of ours. */
static void deliver(enum ferry_log_level level, const char *message)
{
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&lock);
    const struct settings now = settings;
    struct call call = {.settings_number = settings_number, .outer = own_call};
    if (now.fn)
        ferry__list_push(&calls, &call.link);
    pthread_mutex_unlock(&lock);
    if (!now.fn) {
        write_stderr(level, message);
        return;
    }
    own_call = &call;
    now.fn(level, message, now.user);
    own_call = call.outer;
    pthread_mutex_lock(&lock);
    ferry__list_remove(&calls, &call.link);
    pthread_cond_broadcast(&returned);
    pthread_mutex_unlock(&lock);
}

static void hold_back(enum ferry_log_level level, const char *message)
{
    const size_t size = strlen(message) + 1;
    struct held_back *held = ferry__alloc(sizeof *held + size);
    if (!held) { /* rather elsewhere than not at all */
        write_stderr(level, message);
        return;
    }
    held->level = level;
    memcpy(held->message, message, size);
    ferry__list_push(&own_locks.held, &held->link);
}

static FERRY__COLD void deliver_held(void)
{
    const int saved_errno = errno, cancel = ferry__cancel_off();
    while (own_locks.held.first && !own_locks.count) {
        struct ferry__link *link = ferry__list_pop(&own_locks.held);
        struct held_back *held = FERRY__OF_LINK(link, struct held_back, link);
        deliver(held->level, held->message);
        ferry__free(held);
    }
    ferry__cancel_on(cancel);
    errno = saved_errno;
}

void ferry__log(enum ferry_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed) ||
        level <= FERRY_LOG_NONE || level > FERRY_LOG_DEBUG)
        return;
    const int saved_errno = errno;
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    format_message(message, format, args);
    va_end(args);
    const int cancel = ferry__cancel_off();
    if (own_locks.count)
        hold_back(level, message);
    else
        deliver(level, message);
    ferry__cancel_on(cancel);
    errno = saved_errno;
}

void ferry__log_default(enum ferry_log_level level)
{
    pthread_mutex_lock(&lock);
    if (!set_by_program)
        atomic_store(&threshold, (int)level);
    pthread_mutex_unlock(&lock);
}

/* --- locks under which the log waits ---------------------------------------------------------- */

void ferry__lock_as(pthread_mutex_t *mutex, unsigned rank)
{
    ferry__lock_taking(mutex, rank);
    pthread_mutex_lock(mutex);
    ferry__lock_taken(mutex);
    own_locks.count++;
}

void ferry__lock(pthread_mutex_t *mutex)
{
    ferry__lock_as(mutex, FERRY__LOCK_LEAF);
}

void ferry__unlock(pthread_mutex_t *mutex)
{
    struct own_locks *own = &own_locks;
    ferry__lock_releasing(mutex);
    own->count--;
    pthread_mutex_unlock(mutex);
    if (own->held.first && !own->count)
        deliver_held();
}

bool ferry__log_kept(pthread_mutex_t *mutex)
{
    if (!own_locks.held.first || own_locks.count != 1)
        return false;
    const unsigned rank = ferry__lock_rank(mutex);
    ferry__unlock(mutex);
    ferry__lock_as(mutex, rank);
    return true;
}

void ferry__cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    if (ferry__log_kept(mutex))
        return; /* as if it had been woken: the caller looks again */
    ferry__lock_waiting(mutex);
    pthread_cond_wait(cond, mutex);
    ferry__lock_waited(mutex);
}
