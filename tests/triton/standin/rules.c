#include "core.h"

#include <stdarg.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static unsigned violations;
static char last[512];
static struct kept {
    struct kept *next;
    max_align_t memory[];
} * kept;
static char **logged;
static size_t logged_count;
static _Atomic long live_errors;

void violate(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&lock);
    violations++;
    vsnprintf(last, sizeof last, format, args);
    fprintf(stderr, "stand-in: broken rule: %s\n", last);
    pthread_mutex_unlock(&lock);
    va_end(args);
}

unsigned standin_violations(void)
{
    pthread_mutex_lock(&lock);
    const unsigned count = violations;
    pthread_mutex_unlock(&lock);
    return count;
}

const char *standin_last_violation(void)
{
    static _Thread_local char copy[sizeof last];
    pthread_mutex_lock(&lock);
    memcpy(copy, last, sizeof copy);
    pthread_mutex_unlock(&lock);
    return copy;
}

void *keep(size_t size)
{
    struct kept *one = calloc(1, sizeof *one + size);
    if (!one)
        abort();
    pthread_mutex_lock(&lock);
    one->next = kept;
    kept = one;
    pthread_mutex_unlock(&lock);
    return one->memory;
}

void standin_reset(void)
{
    pthread_mutex_lock(&lock);
    while (kept) {
        struct kept *one = kept;
        kept = one->next;
        free(one);
    }
    for (size_t i = 0; i < logged_count; i++)
        free(logged[i]);
    free(logged);
    logged = NULL;
    logged_count = 0;
    violations = 0;
    last[0] = 0;
    pthread_mutex_unlock(&lock);
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- versions, errors, messages, log ---------------------------------------------------------- */

/* STANDIN_MAJOR, STANDIN_BACKEND_MAJOR: another major version, to try what becomes of it. */
TRITONSERVER_Error *TRITONSERVER_ApiVersion(uint32_t *major, uint32_t *minor)
{
    const char *other = getenv("STANDIN_MAJOR");
    *major = other ? (uint32_t)atoi(other) : 1;
    *minor = 34;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ApiVersion(uint32_t *major, uint32_t *minor)
{
    const char *other = getenv("STANDIN_BACKEND_MAJOR");
    *major = other ? (uint32_t)atoi(other) : 1;
    *minor = 19;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_ErrorNew(TRITONSERVER_Error_Code code, const char *msg)
{
    TRITONSERVER_Error *error = calloc(1, sizeof *error);
    if (!error)
        abort();
    error->code = code;
    error->message = strdup(msg);
    atomic_fetch_add(&live_errors, 1);
    return error;
}

void TRITONSERVER_ErrorDelete(TRITONSERVER_Error *error)
{
    if (!error)
        return;
    atomic_fetch_sub(&live_errors, 1);
    free(error->message);
    free(error);
}

long standin_live_errors(void)
{
    return atomic_load(&live_errors);
}

TRITONSERVER_Error *fail(TRITONSERVER_Error_Code code, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return TRITONSERVER_ErrorNew(code, message);
}

TRITONSERVER_Error_Code TRITONSERVER_ErrorCode(TRITONSERVER_Error *error)
{
    return error->code;
}
const char *TRITONSERVER_ErrorMessage(TRITONSERVER_Error *error)
{
    return error->message;
}

const char *TRITONSERVER_ErrorCodeString(TRITONSERVER_Error *error)
{
    static const char *const names[] = {"Unknown",          "Internal",    "Not found",
                                        "Invalid argument", "Unavailable", "Unsupported",
                                        "Already exists",   "Cancelled"};
    return names[error->code];
}

bool TRITONSERVER_LogIsEnabled(TRITONSERVER_LogLevel level)
{
    return level != TRITONSERVER_LOG_VERBOSE;
}

TRITONSERVER_Error *TRITONSERVER_LogMessage(TRITONSERVER_LogLevel level, const char *filename,
                                            const int line, const char *msg)
{
    (void)level;
    (void)line;
    if (!filename || !msg)
        violate("a log message without a file's name or without words");
    pthread_mutex_lock(&lock);
    logged = realloc(logged, (logged_count + 1) * sizeof *logged);
    if (!logged)
        abort();
    logged[logged_count++] = strdup(msg ? msg : "");
    pthread_mutex_unlock(&lock);
    return NULL;
}

unsigned standin_logged(const char *text)
{
    unsigned count = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < logged_count; i++)
        count += strstr(logged[i], text) != NULL;
    pthread_mutex_unlock(&lock);
    return count;
}

TRITONSERVER_Error *TRITONSERVER_MessageSerializeToJson(TRITONSERVER_Message *message,
                                                        const char **base, size_t *byte_size)
{
    *base = message->json;
    *byte_size = strlen(message->json);
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_MessageDelete(TRITONSERVER_Message *message)
{
    free(message->json);
    free(message);
    return NULL;
}
