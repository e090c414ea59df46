/*
 * Events for external work (knob "events"), as a device whose user has an API of his own gives them
 * out; and what that API would do with them.
 */
#include "host_internal.h"

#include <stdio.h>

struct host_event *ferry__host_event_find(struct host_device *device, uint64_t handle)
{
    for (uint32_t i = 0; i < device->limits.queue_count; i++)
        if (&device->queues[i].event == ferry__host_event(handle))
            return &device->queues[i].event;
    for (struct host_event *event = device->events; event; event = event->next)
        if (event == ferry__host_event(handle) && !event->dead)
            return event;
    return NULL;
}

enum ferry_status ferry__host_event_create(void *state, uint64_t *out_event, char *why)
{
    struct host_device *device = state;
    struct host_event *event = ferry__alloc(sizeof *event);
    if (!event) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for an event");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    event->device = device;
    pthread_mutex_lock(&device->lock);
    event->next = device->events;
    device->events = event;
    pthread_mutex_unlock(&device->lock);
    *out_event = (uint64_t)(uintptr_t)event;
    return FERRY_OK;
}

void ferry__host_event_destroy(void *state, uint64_t handle)
{
    struct host_device *device = state;
    const char *breach = NULL;
    pthread_mutex_lock(&device->lock);
    struct host_event *event = ferry__host_event_find(device, handle);
    if (!event || event->of_queue) {
        breach = "event_destroy of what event_create did not give";
    } else if (ferry__host_is_awaited(device, handle)) {
        breach = "event_destroy while a submission waits for the event";
        event->dead = true;
    } else {
        struct host_event **link = &device->events;
        while (*link != event)
            link = &(*link)->next;
        *link = event->next;
        ferry__free(event);
    }
    pthread_mutex_unlock(&device->lock);
    if (breach)
        ferry__host_breach(breach);
}

void ferry__host_event_raise(void *state, uint64_t handle, uint64_t value)
{
    struct host_device *device = state;
    pthread_mutex_lock(&device->lock);
    struct host_event *event = ferry__host_event_find(device, handle);
    bool good = event && !event->of_queue;
    if (good)
        ferry__host_event_raise_to(event, value);
    pthread_mutex_unlock(&device->lock);
    if (!good)
        ferry__host_breach("event_signal of what event_create did not give");
}

void ferry__host_events_finish(struct host_device *device)
{
    uint64_t count = 0;
    while (device->events) {
        struct host_event *event = device->events;
        device->events = event->next;
        count += !event->dead;
        ferry__free(event);
    }
    ferry__host_check_left("events", count, 0);
}

uint64_t ferry__host_event_value(uint64_t event)
{
    return ferry__host_completed(NULL, event);
}

bool ferry__host_event_wait(uint64_t handle, uint64_t value)
{
    struct host_event *event = ferry__host_event(handle);
    struct host_device *device = event->device;
    pthread_mutex_lock(&device->lock);
    while (atomic_load(&event->value) < value && !atomic_load(&device->lost))
        pthread_cond_wait(&device->changed, &device->lock);
    bool reached = atomic_load(&event->value) >= value;
    pthread_mutex_unlock(&device->lock);
    return reached;
}

void ferry__host_event_signal(uint64_t handle, uint64_t value)
{
    struct host_event *event = ferry__host_event(handle);
    pthread_mutex_lock(&event->device->lock);
    ferry__host_event_raise_to(event, value);
    pthread_mutex_unlock(&event->device->lock);
}
