#include "trace/trace.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/env.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "trace/event.h"
#include "trace/file.h"

#include <errno.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * FERRY_TRACE: what the devices of this process do, in the Trace Event Format. Whoever does it puts
 * an event into a list; a thread of the trace's own writes the list out. The list has an end: what
 * does not fit is counted, and the count is written.
 */

enum { EVENTS_MAX = 16384, TEXT_SIZE = 64 << 10, EVENT_TEXT_MAX = 2048 };
static const uint64_t WRITE_NS = 100 * 1000 * 1000;

struct ferry__trace {
    unsigned refs; /* of devices, under current_lock */
    pthread_t writer;
    pthread_mutex_t lock; /* guards the next six; a leaf */
    pthread_cond_t work, room;
    struct ferry__event *events;
    size_t count;
    uint64_t lost, last_id;
    bool stop, failed;
    /* The writer's own: */
    struct ferry__trace_file file;
    struct ferry__event *written;
    bool told_lost;
    char text[TEXT_SIZE];
};

static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the next two */
static struct ferry__trace *current;
static uint64_t ids_given; /* in earlier traces of this process: the file may be the same */
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static atomic_bool warned;

/* --- the writer ------------------------------------------------------------------------------- */

static bool append(struct ferry__trace *trace, struct ferry__text *text)
{
    bool good = ferry__trace_file_append(&trace->file, text->out, text->length);
    text->length = 0;
    return good;
}

/* False: errno. */
static bool write_events(struct ferry__trace *trace, size_t count, uint64_t lost)
{
    struct ferry__text text = {trace->text, TEXT_SIZE, 0};
    for (size_t i = 0; i < count; i++) {
        ferry__put_event(&text, &trace->written[i]);
        if (text.length > TEXT_SIZE - EVENT_TEXT_MAX && !append(trace, &text))
            return false;
    }
    if (lost > 0)
        ferry__put_lost(&text, lost);
    return text.length == 0 || append(trace, &text);
}

static void tell_lost(struct ferry__trace *trace)
{
    if (!trace->told_lost)
        ferry__log(FERRY_LOG_WARN,
                   "FERRY_TRACE: events come faster than they are written; some are "
                   "lost, and the trace says how many (not repeated)");
    trace->told_lost = true;
}

static void *run_writer(void *arg)
{
    struct ferry__trace *trace = arg;
    bool stop = false, good = true;
    pthread_mutex_lock(&trace->lock);
    while (!stop) {
        uint64_t deadline_ns = ferry__deadline(WRITE_NS);
        while (!trace->stop && trace->count < EVENTS_MAX / 2 &&
               ferry__cond_wait_until(&trace->work, &trace->lock, deadline_ns))
            continue;
        struct ferry__event *events = trace->events;
        size_t count = trace->count;
        uint64_t lost = trace->lost;
        trace->events = trace->written;
        trace->written = events;
        trace->count = 0;
        trace->lost = 0;
        stop = trace->stop;
        pthread_cond_broadcast(&trace->room);
        pthread_mutex_unlock(&trace->lock);
        if (lost > 0)
            tell_lost(trace);
        bool was_good = good;
        good = good && write_events(trace, count, lost);
        if (was_good && !good)
            ferry__log(FERRY_LOG_WARN, "FERRY_TRACE: the trace ends here, writing it failed: %s",
                       strerror(errno));
        pthread_mutex_lock(&trace->lock);
        trace->failed = !good;
    }
    pthread_mutex_unlock(&trace->lock);
    return NULL;
}

/* --- one trace a process ---------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&current_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&current_lock);
}

/* The writer is the parent's, and the events: the trace is left as it is, whoever holds its
 * lock. */
static void after_fork_in_child(void)
{
    if (current)
        ferry__trace_file_forget(&current->file);
    current = NULL;
    atomic_store(&warned, false);
    pthread_mutex_unlock(&current_lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static void discard(struct ferry__trace *trace)
{
    ferry__free(trace->events);
    ferry__free(trace->written);
    ferry__free(trace);
}

/* NULL: why says the reason. */
static struct ferry__trace *start(const char *name, char *why, size_t why_size)
{
    char first[FERRY__TRACE_FIRST_MAX];
    struct ferry__trace *trace = ferry__alloc(sizeof *trace);
    snprintf(why, why_size, "no host memory");
    if (!trace)
        return NULL;
    trace->last_id = ids_given;
    trace->events = ferry__alloc(EVENTS_MAX * sizeof *trace->events);
    trace->written = ferry__alloc(EVENTS_MAX * sizeof *trace->written);
    snprintf(first, sizeof first,
             "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":"
             "\"ferry, process %ld\"}}",
             FERRY__TRACE_ITSELF, (long)getpid());
    if (!trace->events || !trace->written || pthread_mutex_init(&trace->lock, NULL) != 0)
        goto discard;
    if (ferry__cond_init(&trace->work) != 0)
        goto destroy_lock;
    if (ferry__cond_init(&trace->room) != 0)
        goto destroy_work;
    if (!ferry__trace_file_open(&trace->file, name, first, why, why_size))
        goto destroy_room;
    int error = ferry__thread_start(&trace->writer, "ferry-trace", run_writer, trace);
    if (error == 0)
        return trace;
    snprintf(why, why_size, "no thread to write it: error %d", error);
    ferry__trace_file_close(&trace->file);
destroy_room:
    pthread_cond_destroy(&trace->room);
destroy_work:
    pthread_cond_destroy(&trace->work);
destroy_lock:
    pthread_mutex_destroy(&trace->lock);
discard:
    discard(trace);
    return NULL;
}

static void finish(struct ferry__trace *trace)
{
    pthread_mutex_lock(&trace->lock);
    trace->stop = true;
    pthread_cond_signal(&trace->work);
    pthread_mutex_unlock(&trace->lock);
    pthread_join(trace->writer, NULL);
    ids_given = trace->last_id;
    ferry__trace_file_close(&trace->file);
    pthread_cond_destroy(&trace->room);
    pthread_cond_destroy(&trace->work);
    pthread_mutex_destroy(&trace->lock);
    discard(trace);
}

/* --- events ----------------------------------------------------------------------------------- */

bool ferry__trace_add_locked(struct ferry__trace *trace, const struct ferry__event *event,
                             size_t keep)
{
    if (trace->failed)
        return false;
    if (trace->count + keep >= EVENTS_MAX) {
        trace->lost++;
        return false;
    }
    struct ferry__event *at = &trace->events[trace->count++];
    *at = *event;
    at->id = trace->last_id +=
        event->kind < FERRY__EVENT_BATCHED || event->kind > FERRY__EVENT_BATCH_END;
    if (trace->count == EVENTS_MAX / 2)
        pthread_cond_signal(&trace->work);
    return true;
}

void ferry__trace_add(struct ferry__trace *trace, const struct ferry__event *event)
{
    pthread_mutex_lock(&trace->lock);
    ferry__trace_add_locked(trace, event, 0);
    pthread_mutex_unlock(&trace->lock);
}

void ferry__trace_lock(struct ferry__trace *trace)
{
    pthread_mutex_lock(&trace->lock);
}

void ferry__trace_unlock(struct ferry__trace *trace)
{
    pthread_mutex_unlock(&trace->lock);
}

/* --- devices ---------------------------------------------------------------------------------- */

/* A track without a name is of little use: this waits until there is room for it. */
static void introduce(struct ferry__trace *trace, const struct ferry__event *names)
{
    pthread_mutex_lock(&trace->lock);
    while (trace->count == EVENTS_MAX)
        pthread_cond_wait(&trace->room, &trace->lock);
    ferry__trace_add_locked(trace, names, 0);
    pthread_mutex_unlock(&trace->lock);
}

struct ferry__trace *ferry__trace_open(const struct ferry__event *names)
{
    struct ferry__trace *trace;
    const char *name = ferry__env("FERRY_TRACE");
    char why[512] = "";
    if (!name || name[0] == '\0')
        return NULL;
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&current_lock);
    if (!current)
        current = start(name, why, sizeof why);
    if (current)
        current->refs++;
    trace = current;
    pthread_mutex_unlock(&current_lock);
    if (trace)
        introduce(trace, names);
    else if (!atomic_exchange(&warned, true))
        ferry__log(FERRY_LOG_WARN, "FERRY_TRACE: there is no trace: %s (not repeated)", why);
    return trace;
}

void ferry__trace_close(struct ferry__trace *trace)
{
    if (!trace)
        return;
    pthread_mutex_lock(&current_lock);
    if (--trace->refs == 0) {
        current = NULL;
        finish(trace); /* before another device opens the same file */
    }
    pthread_mutex_unlock(&current_lock);
}
