/* One event of a trace, and its text in the Trace Event Format. */
#ifndef FERRY_TRACE_EVENT_H
#define FERRY_TRACE_EVENT_H

#include <ferry/ferry.h>

struct ferry__text;

enum { FERRY__TRACE_LABEL_MAX = 48, FERRY__TRACE_NAME_MAX = 16, FERRY__TRACE_WORDS_MAX = 112 };

/* Numbers no two tracks share: a device's id is its process, and in its tracks. */
enum ferry__track {
    FERRY__TRACK_OPERATIONS,
    FERRY__TRACK_CALLBACKS,
    FERRY__TRACK_STAGING,
    FERRY__TRACK_STREAMS,
    FERRY__TRACK_QUEUES,
    FERRY__TRACKS_MAX = 16
};
enum { FERRY__TRACE_ITSELF = 1 << 12 }; /* the process of what concerns no device */

enum ferry__event_kind {
    FERRY__EVENT_OPERATION,
    FERRY__EVENT_BATCH,
    FERRY__EVENT_BATCHED,
    FERRY__EVENT_BATCH_END,
    FERRY__EVENT_EXTERNAL,
    FERRY__EVENT_SUBMISSION,
    FERRY__EVENT_WAIT,
    FERRY__EVENT_CALLBACK,
    FERRY__EVENT_STREAM,
    FERRY__EVENT_NAMES
};

struct ferry__event {
    enum ferry__event_kind kind;
    unsigned device;
    enum ferry__track track;
    enum ferry_status status;
    uint64_t id, begin_ns, end_ns;
    ferry_ticket ticket;
    uint64_t count; /* of a batch or a submission: operations; of external work: buffers */
    union {
        struct {
            enum ferry_operation operation;
            enum ferry_path path;
            uint64_t size, dst_offset, src_offset;
            char dst[FERRY__TRACE_LABEL_MAX], src[FERRY__TRACE_LABEL_MAX]; /* "": not a buffer */
        } transfer;
        struct {
            uint64_t value, commands, staged, device_ns;
        } submission;
        struct {
            char name[FERRY__TRACE_NAME_MAX], words[FERRY__TRACE_WORDS_MAX];
        } stream;
        struct {
            char device[2 * FERRY__TRACE_LABEL_MAX];
            unsigned queues;
        } names;
    };
};

void ferry__put_event(struct ferry__text *text, const struct ferry__event *event);
void ferry__put_lost(struct ferry__text *text, uint64_t lost);

#endif
