#include "env.h"
#include "internal.h"
#include "trace_event.h"
#include "trace_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * FERRY_TRACE: what the devices of this process do, in the Trace Event Format. Whoever does it puts an
 * event into a list; a thread of the trace's own writes the list out. The list has an end: what
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

/* --- the writer -------------------------------------------------------------------------------- */

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

/* --- one trace a process ----------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&current_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&current_lock);
}

/* The writer is the parent's, and the events: the trace is left as it is, whoever holds its lock. */
static void after_fork_in_child(void)
{
    if (current != NULL)
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
    if (trace == NULL)
        return NULL;
    trace->last_id = ids_given;
    trace->events = ferry__alloc(EVENTS_MAX * sizeof *trace->events);
    trace->written = ferry__alloc(EVENTS_MAX * sizeof *trace->written);
    snprintf(first, sizeof first,
             "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":"
             "\"ferry, process %ld\"}}",
             FERRY__TRACE_ITSELF, (long)getpid());
    if (trace->events == NULL || trace->written == NULL ||
        pthread_mutex_init(&trace->lock, NULL) != 0)
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

/* --- events ------------------------------------------------------------------------------------- */

/* Under the lock; keep: so many more must fit behind it. False: it is lost. */
static bool add(struct ferry__trace *trace, const struct ferry__event *event, size_t keep)
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

static void add_one(const struct ferry_device *device, const struct ferry__event *event)
{
    struct ferry__trace *trace = device->trace;
    if (atomic_load(&device->dead) == FERRY__FORKED)
        return;
    pthread_mutex_lock(&trace->lock);
    add(trace, event, 0);
    pthread_mutex_unlock(&trace->lock);
}

static void copy_label(char label[FERRY__TRACE_LABEL_MAX], const struct ferry_buffer *buffer)
{
    static const char quote[] = "buffer \""; /* that the label begins with, and '"' ends it */
    if (buffer == NULL)
        label[0] = '\0';
    else if (buffer->label == NULL)
        snprintf(label, FERRY__TRACE_LABEL_MAX, "buffer");
    else
        snprintf(label, FERRY__TRACE_LABEL_MAX, "%.*s", (int)(strlen(buffer->label) - sizeof quote),
                 buffer->label + sizeof quote - 1);
}

static struct ferry__event item_event(const struct ferry_device *device,
                                      const struct ferry__item *item)
{
    struct ferry__event event = {
        .kind = FERRY__EVENT_OPERATION, .device = device->id, .status = item->status};
    event.item.operation = item->operation;
    event.item.path = item->path;
    event.item.size = item->size;
    event.item.dst_offset = item->dst_offset;
    event.item.src_offset = item->src_offset;
    copy_label(event.item.dst, item->dst);
    copy_label(event.item.src, item->src);
    return event;
}

void ferry__trace_item(const struct ferry_device *device, const struct ferry__item *item,
                       ferry_ticket ticket, uint64_t begin_ns)
{
    struct ferry__event event = item_event(device, item);
    event.ticket = ticket;
    event.begin_ns = begin_ns;
    event.end_ns = ferry__now_ns();
    add_one(device, &event);
}

/* Of a batch the begin and the end are both written, or neither. */
static void trace_batch(const struct ferry__op *op, uint64_t end_ns)
{
    struct ferry__trace *trace = op->device->trace;
    struct ferry__event event = {.kind = FERRY__EVENT_BATCH,
                                 .device = op->device->id,
                                 .status = op->status,
                                 .begin_ns = op->start_ns,
                                 .end_ns = end_ns,
                                 .ticket = op->ticket,
                                 .count = op->count};
    struct ferry__event end = event;
    end.kind = FERRY__EVENT_BATCH_END;
    pthread_mutex_lock(&trace->lock);
    const bool begun = add(trace, &event, 1);
    for (size_t i = 0; i < op->count; i++) {
        event = item_event(op->device, &op->items[i]);
        event.kind = begun ? FERRY__EVENT_BATCHED : FERRY__EVENT_OPERATION;
        event.ticket = op->ticket;
        event.begin_ns = op->start_ns;
        event.end_ns = end_ns;
        add(trace, &event, begun);
    }
    if (begun)
        add(trace, &end, 0);
    pthread_mutex_unlock(&trace->lock);
}

void ferry__trace_op(struct ferry__op *op, uint64_t end_ns)
{
    if (atomic_load(&op->device->dead) == FERRY__FORKED)
        return;
    if (op->starved_ns != 0)
        ferry__trace_wait(op);
    if (op->batch) {
        trace_batch(op, end_ns);
        return;
    }
    struct ferry__event event = {.kind = FERRY__EVENT_EXTERNAL,
                                 .device = op->device->id,
                                 .status = op->status,
                                 .count = op->use_count};
    if (op->kind == FERRY__OP_ITEMS || op->kind == FERRY__OP_BRIDGE_WRITE)
        event = item_event(op->device, &op->items[0]);
    else if (op->kind != FERRY__OP_EXTERNAL)
        return;
    event.ticket = op->ticket;
    event.begin_ns = op->start_ns;
    event.end_ns = end_ns;
    add_one(op->device, &event);
}

void ferry__trace_submission(const struct ferry_device *device, const struct ferry__sub *sub,
                             uint64_t end_ns)
{
    struct ferry__event event = {.kind = FERRY__EVENT_SUBMISSION,
                                 .device = device->id,
                                 .track = (enum ferry__track)(FERRY__TRACK_QUEUES + sub->queue),
                                 .status = sub->record.status,
                                 .begin_ns = sub->submitted_ns,
                                 .end_ns = end_ns,
                                 .count = sub->items};
    event.submission.value = sub->value;
    event.submission.commands = sub->command_count;
    event.submission.staged = sub->staged;
    event.submission.device_ns = sub->record.device_ns;
    add_one(device, &event);
}

void ferry__trace_wait(struct ferry__op *op)
{
    add_one(op->device, &(struct ferry__event){.kind = FERRY__EVENT_WAIT,
                                               .device = op->device->id,
                                               .track = FERRY__TRACK_STAGING,
                                               .ticket = op->ticket,
                                               .begin_ns = op->starved_ns,
                                               .end_ns = ferry__now_ns()});
    op->starved_ns = 0;
}

void ferry__trace_callback(const struct ferry_device *device, const struct ferry__call *call,
                           uint64_t begin_ns)
{
    add_one(device, &(struct ferry__event){.kind = FERRY__EVENT_CALLBACK,
                                           .device = device->id,
                                           .track = FERRY__TRACK_CALLBACKS,
                                           .status = call->status,
                                           .ticket = call->ticket,
                                           .begin_ns = begin_ns,
                                           .end_ns = ferry__now_ns()});
}

/* --- devices ------------------------------------------------------------------------------------ */

/* A track without a name is of little use: this waits until there is room for it. */
static void introduce(const struct ferry_device *device)
{
    struct ferry__trace *trace = device->trace;
    struct ferry__event event = {.kind = FERRY__EVENT_NAMES, .device = device->id};
    snprintf(event.names.device, sizeof event.names.device, "%s (%.40s)", device->info.name,
             device->info.description);
    event.names.queues = device->limits.queue_count;
    pthread_mutex_lock(&trace->lock);
    while (trace->count == EVENTS_MAX)
        pthread_cond_wait(&trace->room, &trace->lock);
    add(trace, &event, 0);
    pthread_mutex_unlock(&trace->lock);
}

void ferry__trace_open(struct ferry_device *device)
{
    const char *name = ferry__env("FERRY_TRACE");
    char why[512] = "";
    if (name == NULL || name[0] == '\0')
        return;
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&current_lock);
    if (current == NULL)
        current = start(name, why, sizeof why);
    if (current != NULL)
        current->refs++;
    device->trace = current;
    pthread_mutex_unlock(&current_lock);
    if (device->trace != NULL)
        introduce(device);
    else if (!atomic_exchange(&warned, true))
        ferry__log(FERRY_LOG_WARN, "FERRY_TRACE: there is no trace: %s (not repeated)", why);
}

void ferry__trace_close(struct ferry_device *device)
{
    if (device->trace == NULL)
        return;
    pthread_mutex_lock(&current_lock);
    if (--device->trace->refs == 0) {
        current = NULL;
        finish(device->trace); /* before another device opens the same file */
    }
    pthread_mutex_unlock(&current_lock);
}
