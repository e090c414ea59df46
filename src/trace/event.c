#include "trace/event.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "base/text.h"

#include <assert.h>
#include <ferry/ferry.h>
#include <inttypes.h>
#include <stdio.h>

static void put_head(struct ferry__text *text, const struct ferry__event *event,
                     const char *category, const char *name, char phase, uint64_t time_ns)
{
    ferry__put(text,
               ",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"%c\",\"pid\":%u,\"tid\":%u,\"ts\":",
               name, category, phase, event->device,
               event->device * (unsigned)FERRY__TRACKS_MAX + (unsigned)event->track);
    ferry__put_microseconds(text, time_ns);
    if (phase != 'X')
        ferry__put(text, ",\"id\":\"%" PRIu64 "\"", event->id);
}

static void put_end(struct ferry__text *text, const struct ferry__event *event,
                    const char *category, const char *name)
{
    put_head(text, event, category, name, 'e', event->end_ns);
    ferry__put(text, "}");
}

/* The last of an event's arguments. */
static void put_result(struct ferry__text *text, const struct ferry__event *event)
{
    if (event->ticket != 0)
        ferry__put(text, "\"ticket\":%" PRIu64 ",", event->ticket);
    ferry__put(text, "\"status\":\"%s\"}}", ferry_status_name(event->status));
}

static void put_place(struct ferry__text *text, const char *what, const char *label,
                      uint64_t offset)
{
    if (label[0] == '\0') {
        ferry__put(text, "\"%s\":\"host\",", what);
        return;
    }
    ferry__put(text, "\"%s\":", what);
    ferry__put_json(text, label);
    ferry__put(text, ",\"%s_offset\":%" PRIu64 ",", what, offset);
}

static void put_transfer(struct ferry__text *text, const struct ferry__event *event, char phase)
{
    put_head(text, event, "operation", ferry__operation_name(event->transfer.operation), phase,
             event->begin_ns);
    ferry__put(text, ",\"args\":{\"size\":%" PRIu64 ",\"path\":\"%s\",", event->transfer.size,
               ferry_path_name(event->transfer.path));
    put_place(text, "dst", event->transfer.dst, event->transfer.dst_offset);
    /* The source on another device is not at hand. */
    if (event->transfer.operation != FERRY_OPERATION_FILL &&
        event->transfer.path != FERRY_PATH_BRIDGED && event->transfer.path != FERRY_PATH_PEER)
        put_place(text, "src", event->transfer.src, event->transfer.src_offset);
    put_result(text, event);
}

static void put_operation(struct ferry__text *text, const struct ferry__event *event)
{
    put_transfer(text, event, 'b');
    put_end(text, event, "operation", ferry__operation_name(event->transfer.operation));
}

static void put_batched(struct ferry__text *text, const struct ferry__event *event)
{
    put_transfer(text, event, 'n');
}

static void put_batch(struct ferry__text *text, const struct ferry__event *event)
{
    put_head(text, event, "operation", "batch", 'b', event->begin_ns);
    ferry__put(text, ",\"args\":{\"operations\":%" PRIu64 ",", event->count);
    put_result(text, event);
}

static void put_batch_end(struct ferry__text *text, const struct ferry__event *event)
{
    put_end(text, event, "operation", "batch");
}

static void put_external(struct ferry__text *text, const struct ferry__event *event)
{
    put_head(text, event, "external", "external work", 'b', event->begin_ns);
    ferry__put(text, ",\"args\":{\"buffers\":%" PRIu64 ",", event->count);
    put_result(text, event);
    put_end(text, event, "external", "external work");
}

/* The time that the device worked is known, not when: it is drawn at the end. */
static void put_device_time(struct ferry__text *text, const struct ferry__event *event)
{
    uint64_t most = event->end_ns - event->begin_ns, device_ns = event->submission.device_ns;
    if (device_ns == 0)
        return;
    put_head(text, event, "queue", "device", 'b',
             event->end_ns - (device_ns < most ? device_ns : most));
    ferry__put(text, ",\"args\":{\"device_us\":");
    ferry__put_microseconds(text, device_ns);
    ferry__put(text, "}}");
    put_end(text, event, "queue", "device");
}

static void put_submission(struct ferry__text *text, const struct ferry__event *event)
{
    char name[24];
    snprintf(name, sizeof name, "queue %u", (unsigned)event->track - (unsigned)FERRY__TRACK_QUEUES);
    put_head(text, event, "queue", name, 'b', event->begin_ns);
    ferry__put(text,
               ",\"args\":{\"submission\":%" PRIu64 ",\"operations\":%" PRIu64
               ",\"commands\":%" PRIu64 ",\"staged_bytes\":%" PRIu64 ",",
               event->submission.value, event->count, event->submission.commands,
               event->submission.staged);
    put_result(text, event);
    put_device_time(text, event);
    put_end(text, event, "queue", name);
}

static void put_wait(struct ferry__text *text, const struct ferry__event *event)
{
    put_head(text, event, "staging", "staging wait", 'b', event->begin_ns);
    ferry__put(text, ",\"args\":{\"ticket\":%" PRIu64 "}}", event->ticket);
    put_end(text, event, "staging", "staging wait");
}

static void put_callback(struct ferry__text *text, const struct ferry__event *event)
{
    put_head(text, event, "callback", "callback", 'X', event->begin_ns);
    ferry__put(text, ",\"dur\":");
    ferry__put_microseconds(text, event->end_ns - event->begin_ns);
    ferry__put(text, ",\"args\":{");
    put_result(text, event);
}

static void put_stream(struct ferry__text *text, const struct ferry__event *event)
{
    put_head(text, event, "stream", event->stream.name, 'b', event->begin_ns);
    ferry__put(text, ",\"args\":{\"words\":");
    ferry__put_json(text, event->stream.words);
    ferry__put(text, ",");
    put_result(text, event);
    put_end(text, event, "stream", event->stream.name);
}

static void put_track_name(struct ferry__text *text, unsigned device, unsigned track,
                           const char *name)
{
    ferry__put(text,
               ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%u,\"tid\":%u,"
               "\"args\":{\"name\":\"%s\"}}",
               device, device * (unsigned)FERRY__TRACKS_MAX + track, name);
}

static void put_names(struct ferry__text *text, const struct ferry__event *event)
{
    ferry__put(text, ",\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%u,\"args\":{\"name\":",
               event->device);
    ferry__put_json(text, event->names.device);
    ferry__put(text, "}}");
    put_track_name(text, event->device, FERRY__TRACK_OPERATIONS, "operations");
    put_track_name(text, event->device, FERRY__TRACK_CALLBACKS, "callbacks");
    put_track_name(text, event->device, FERRY__TRACK_STAGING, "staging waits");
    put_track_name(text, event->device, FERRY__TRACK_STREAMS, "streams");
    for (unsigned q = 0; q < event->names.queues; q++) {
        char name[24];
        snprintf(name, sizeof name, "queue %u", q);
        put_track_name(text, event->device, (unsigned)FERRY__TRACK_QUEUES + q, name);
    }
}

void ferry__put_event(struct ferry__text *text, const struct ferry__event *event)
{
    static void (*const puts[])(struct ferry__text *, const struct ferry__event *) = {
        [FERRY__EVENT_OPERATION] = put_operation, [FERRY__EVENT_BATCH] = put_batch,
        [FERRY__EVENT_BATCHED] = put_batched,     [FERRY__EVENT_BATCH_END] = put_batch_end,
        [FERRY__EVENT_EXTERNAL] = put_external,   [FERRY__EVENT_SUBMISSION] = put_submission,
        [FERRY__EVENT_WAIT] = put_wait,           [FERRY__EVENT_CALLBACK] = put_callback,
        [FERRY__EVENT_STREAM] = put_stream,       [FERRY__EVENT_NAMES] = put_names,
    };
    puts[event->kind](text, event);
}

void ferry__put_lost(struct ferry__text *text, uint64_t lost)
{
    ferry__put(text,
               ",\n{\"name\":\"events lost\",\"ph\":\"i\",\"s\":\"g\",\"pid\":%d,\"tid\":%d,"
               "\"ts\":",
               FERRY__TRACE_ITSELF, FERRY__TRACE_ITSELF * FERRY__TRACKS_MAX);
    ferry__put_microseconds(text, ferry__now_ns());
    ferry__put(text, ",\"args\":{\"count\":%" PRIu64 "}}", lost);
}
