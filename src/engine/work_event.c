#include "engine/work_event.h"
#include "base/log.h"

#include "base/alloc.h"
#include "base/status.h"
#include "driver.h"
#include "engine/device.h"

#include <ferry/ferry.h>
#include <pthread.h>

/*
 * Events of external work are a device's, and used again: making and destroying one for each work
 * costs, and drivers race there with what still looks at it. An event comes back when its work is
 * done and no submission waits for it; its value only grows. One whose work ended with an error is
 * kept aside, since the user's own GPU may raise it yet.
 */

static enum ferry_status event_make(struct ferry_device *device,
                                    struct ferry__work_event **out_event)
{
    char why[FERRY__WHY_MAX] = "";
    struct ferry__work_event *event = ferry__alloc(sizeof *event);
    if (!event)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *event);
    const enum ferry_status status =
        device->gpu.driver->event_create(device->gpu.state, &event->handle, why);
    if (status) {
        ferry__free(event);
        return ferry__fail(status, "no event for external work: %s", why);
    }
    ferry__device_lock(device);
    event->all_next = device->events;
    device->events = event;
    ferry__device_unlock(device);
    *out_event = event;
    return FERRY_OK;
}

enum ferry_status ferry__work_event_take(struct ferry_device *device,
                                         struct ferry__work_event **out_event)
{
    ferry__device_lock(device);
    struct ferry__work_event *event = device->events_free;
    if (event)
        device->events_free = event->free_next;
    ferry__device_unlock(device);
    const enum ferry_status status = event ? FERRY_OK : event_make(device, &event);
    if (status)
        return status;
    event->users = 1;
    event->recorded = false;
    event->value++;
    *out_event = event;
    return FERRY_OK;
}

void ferry__work_event_give(struct ferry_device *device, struct ferry__work_event *event)
{
    if (--event->users || event->aside)
        return;
    event->free_next = device->events_free;
    device->events_free = event;
}

void ferry__work_events_finish(struct ferry_device *device)
{
    while (device->events) {
        struct ferry__work_event *event = device->events;
        device->events = event->all_next;
        device->gpu.driver->event_destroy(device->gpu.state, event->handle);
        ferry__free(event);
    }
    device->events_free = NULL;
}
