/* Events: a queue's value, and those who wait for one. */
#include "host_internal.h"

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

/* A value never falls: what is behind it already changes nothing. */
void ferry__host_event_raise_to(struct host_event *event, uint64_t value)
{
    if (atomic_load(&event->value) < value) {
        atomic_store_explicit(&event->value, value, memory_order_release);
        pthread_cond_broadcast(&event->device->changed);
    }
}
