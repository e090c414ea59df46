/* The events of external work, used again. */
#ifndef FERRY_ENGINE_WORK_EVENT_H
#define FERRY_ENGINE_WORK_EVENT_H

#include <ferry/ferry.h>

struct ferry__op;
struct ferry_device;

/* An event of external work (work_event.c). Under device->lock. */
struct ferry__work_event {
    struct ferry__work_event *all_next, *free_next;
    uint64_t handle;
    uint64_t value;     /* that its latest work raises */
    uint64_t waited_by; /* the submission that was last found to wait for it */
    unsigned users;     /* its work until that is done, and submissions that wait */
    bool aside;         /* a work of it ended with an error */
    bool recorded;      /* its work's end, in the user's stream (limits.events_by_stream) */
};

/* An event whose value is that which work shall raise, with one user. Not under the lock. */
enum ferry_status ferry__work_event_take(struct ferry_device *device,
                                         struct ferry__work_event **out_event);

/* A user less. Under the lock. */
void ferry__work_event_give(struct ferry_device *device, struct ferry__work_event *event);
void ferry__work_events_finish(struct ferry_device *device);

#endif
