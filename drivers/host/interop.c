/* What the user's own GPU interface would do with the events that it is given. */
#include "host_internal.h"

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
