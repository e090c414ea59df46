/* Opening and closing. The limits come from imitation.c; a real driver asks its device for them. */
#include "base/env.h"
#include "host_internal.h"

#include <stdio.h>
#include <unistd.h>

/* Locks, conditions and queues. An errno, or 0. */
static int set_up(struct host_device *device)
{
    int error = pthread_mutex_init(&device->lock, NULL);
    if (error)
        return error;
    error = ferry__cond_init(&device->changed);
    if (error) {
        pthread_mutex_destroy(&device->lock);
        return error;
    }
    for (uint32_t i = 0; i < FERRY__QUEUES_MAX; i++) {
        struct host_queue *queue = &device->queues[i];
        error = ferry__cond_init(&queue->work);
        if (error) {
            while (i-- > 0)
                pthread_cond_destroy(&device->queues[i].work);
            pthread_cond_destroy(&device->changed);
            pthread_mutex_destroy(&device->lock);
            return error;
        }
        queue->device = device;
        queue->event.device = device;
        queue->event.of_queue = true;
        queue->tail = &queue->head;
        queue->random = ferry__host_knob(&device->knobs, HOST_SEED) + i + 1;
    }
    device->random = ferry__host_knob(&device->knobs, HOST_SEED);
    device->process = (unsigned)getpid();
    return 0;
}

static enum ferry_status host_open(const struct ferry__open_params *params, void **out_state,
                                   struct ferry__limits *out_limits, char *why)
{
    if (params->wrapped) {
        snprintf(why, FERRY__WHY_MAX, "the host driver has no devices to wrap");
        return FERRY_ERROR_UNSUPPORTED;
    }
    struct host_device *device = ferry__alloc(sizeof *device);
    if (!device) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a device");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    enum ferry_status status = FERRY_ERROR_INVALID_ARGUMENT;
    ferry__host_knobs_default(&device->knobs);
    if (!ferry__host_knobs_parse(&device->knobs, ferry__env("FERRY_HOST"), why))
        goto free_device;
    if (params->index >= ferry__host_knob(&device->knobs, HOST_DEVICES)) {
        snprintf(why, FERRY__WHY_MAX, "host:%u does not exist, there are %llu", params->index,
                 (unsigned long long)ferry__host_knob(&device->knobs, HOST_DEVICES));
        status = FERRY_ERROR_NO_DEVICE;
        goto free_device;
    }
    status = ferry__host_limits(device, params, why);
    if (status)
        goto free_device;
    if (set_up(device) != 0) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a device's locks");
        status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
        goto free_device;
    }
    *out_state = device;
    *out_limits = device->limits;
    return FERRY_OK;

free_device:
    ferry__free(device);
    return status;
}

static void host_close(void *state)
{
    struct host_device *device = state;
    if (device->process != (unsigned)getpid())
        return; /* a forked child: its parent's threads and locks are not there to be ended */
    ferry__host_queues_finish(device);
    ferry__host_events_finish(device);
    ferry__host_memory_finish(device);
    for (uint32_t i = 0; i < FERRY__QUEUES_MAX; i++)
        pthread_cond_destroy(&device->queues[i].work);
    pthread_cond_destroy(&device->changed);
    pthread_mutex_destroy(&device->lock);
    ferry__free(device);
}

static enum ferry_status host_status(void *state)
{
    struct host_device *device = state;
    return atomic_load_explicit(&device->lost, memory_order_acquire) ? FERRY_ERROR_DEVICE_LOST
                                                                     : FERRY_OK;
}

const struct ferry__driver ferry__host_driver = {
    .name = "host",
    .list = ferry__host_list,
    .open = host_open,
    .close = host_close,
    .status = host_status,
    .memory_alloc = ferry__host_memory_alloc,
    .memory_free = ferry__host_memory_free,
    .host_import = ferry__host_import,
    .sharing = &ferry__host_sharing,
    .address = ferry__host_address,
    .flush = ferry__host_flush,
    .invalidate = ferry__host_invalidate,
    .kernels = ferry__host_kernels,
    .submit = ferry__host_submit,
    .completed = ferry__host_completed,
    .wait_any = ferry__host_wait_any,
    .wake = ferry__host_wake,
    .event_create = ferry__host_event_create,
    .event_destroy = ferry__host_event_destroy,
    .event_signal = ferry__host_event_raise,
    .memory_available = ferry__host_memory_available,
};
