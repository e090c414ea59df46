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

bool ferry__host_reached(const struct ferry_sync *points, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (atomic_load(&ferry__host_event(points[i].event)->value) < points[i].value)
            return false;
    return true;
}

uint64_t ferry__host_completed(void *state, uint64_t event)
{
    (void)state;
    return atomic_load_explicit(&ferry__host_event(event)->value, memory_order_acquire);
}

static bool any_reached(const struct ferry_sync *points, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ferry__host_reached(&points[i], 1))
            return true;
    return false;
}

void ferry__host_wait_any(void *state, const struct ferry_sync *points, size_t count,
                          uint64_t timeout_ns)
{
    struct host_device *device = state;
    uint64_t deadline = ferry__deadline(timeout_ns);
    pthread_mutex_lock(&device->lock);
    /* A wake with nobody waiting is kept for the next wait; one with several wakes them all. */
    uint64_t seen = device->wakes_seen;
    while (device->wakes == seen && !atomic_load(&device->lost) && !any_reached(points, count) &&
           ferry__cond_wait_until(&device->changed, &device->lock, deadline)) {
    }
    device->wakes_seen = device->wakes;
    pthread_mutex_unlock(&device->lock);
}

void ferry__host_wake(void *state)
{
    struct host_device *device = state;
    pthread_mutex_lock(&device->lock);
    device->wakes++;
    pthread_cond_broadcast(&device->changed);
    pthread_mutex_unlock(&device->lock);
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

/* A value never falls: what is behind it already changes nothing. */
void ferry__host_event_raise_to(struct host_event *event, uint64_t value)
{
    if (atomic_load(&event->value) < value) {
        atomic_store_explicit(&event->value, value, memory_order_release);
        pthread_cond_broadcast(&event->device->changed);
    }
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
