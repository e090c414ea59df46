#include "base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 1024 };

struct settings {
    ferry_log_fn fn;
    void *user;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards settings, never held in a call */
static struct settings settings;
static _Atomic int threshold = FERRY_LOG_WARN; /* what is below costs one load */

static const char *const level_names[] = {
    [FERRY_LOG_NONE] = "",       [FERRY_LOG_ERROR] = "error: ", [FERRY_LOG_WARN] = "warning: ",
    [FERRY_LOG_INFO] = "info: ", [FERRY_LOG_DEBUG] = "debug: ",
};

void ferry_set_log(ferry_log_fn fn, void *user, enum ferry_log_level level)
{
    pthread_mutex_lock(&lock);
    settings = (struct settings){.fn = fn, .user = user};
    atomic_store(&threshold, (int)level);
    pthread_mutex_unlock(&lock);
}

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
    int length = vsnprintf(message, MESSAGE_MAX, format, args);
    if (length < 0)
        message[0] = '\0';
    else if (length >= MESSAGE_MAX)
        strcpy(message + MESSAGE_MAX - sizeof "...", "...");
    for (char *at = message; *at != '\0'; at++) {
        if (*at == '\n' || *at == '\r')
            *at = ' ';
    }
}

void ferry__log(enum ferry_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed) ||
        level <= FERRY_LOG_NONE || level > FERRY_LOG_DEBUG)
        return;
    int saved_errno = errno;
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    format_message(message, format, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    struct settings now = settings;
    pthread_mutex_unlock(&lock);
    if (now.fn != NULL)
        now.fn(level, message, now.user);
    else
        write_stderr(level, message);
    errno = saved_errno;
}
