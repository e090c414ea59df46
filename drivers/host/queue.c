/*
 * A queue's submissions and the thread that carries them out. The head of the list is the one at
 * work; it leaves the list when it has ended. A loss ends all submissions, but not before every
 * thread has stopped copying: what the commands use may be freed then.
 */
#include "host_internal.h"

#include <stdio.h>
#include <string.h>

void ferry__host_end_head(struct host_queue *queue, enum ferry_status status, uint64_t device_ns,
                          const char *why)
{
    struct host_device *device = queue->device;
    struct host_submission *s = queue->head;
    queue->head = s->next;
    if (!queue->head)
        queue->tail = &queue->head;
    if (!device->closing) {
        *s->result = (struct ferry__result){.status = status, .device_ns = device_ns};
        snprintf(s->result->why, sizeof s->result->why, "%s", why);
    }
    ferry__host_memory_let_go(device, s);
    atomic_store_explicit(&queue->event.value, s->value, memory_order_release);
    ferry__free(s);
}

/* All that comes before the first command of the head. false: the device is lost. */
static bool wait_for_turn(struct host_queue *queue)
{
    struct host_device *device = queue->device;
    const struct host_submission *s = queue->head;
    while (!atomic_load(&device->losing) && !ferry__host_reached(s->waits, s->wait_count))
        pthread_cond_wait(&device->changed, &device->lock);
    ferry__host_hold_back(queue);
    return !atomic_load(&device->losing);
}

/* One submission, with the lock held but for the copying. false: the device is lost. */
static bool serve(struct host_queue *queue)
{
    struct host_device *device = queue->device;
    if (!wait_for_turn(queue))
        return false;
    struct host_submission *s = queue->head;
    device->running++;
    pthread_mutex_unlock(&device->lock);
    uint64_t begin = ferry__now_ns();
    ferry__host_carry_out(device, s);
    uint64_t device_ns = ferry__now_ns() - begin;
    pthread_mutex_lock(&device->lock);
    device->running--;
    if (s->outcome == FERRY_ERROR_DEVICE_LOST)
        ferry__host_lose_locked(device);
    if (atomic_load(&device->losing)) {
        if (device->running == 0 && !atomic_load(&device->lost))
            ferry__host_finish_loss(device);
        return false;
    }
    ferry__host_end_head(queue, s->outcome, device_ns > 0 ? device_ns : 1, s->why);
    pthread_cond_broadcast(&device->changed);
    return true;
}

static void *work(void *arg)
{
    struct host_queue *queue = arg;
    struct host_device *device = queue->device;
    pthread_mutex_lock(&device->lock);
    for (;;) {
        while (!queue->head && !device->closing && !atomic_load(&device->losing))
            pthread_cond_wait(&queue->work, &device->lock);
        if (!queue->head || atomic_load(&device->losing) || !serve(queue))
            break;
    }
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

static struct host_submission *make(const struct ferry__submission_info *info)
{
    size_t commands = info->count * sizeof(struct host_command);
    struct host_submission *s =
        ferry__alloc(sizeof *s + commands + info->wait_count * sizeof *info->waits);
    if (s) {
        s->value = info->value;
        s->count = info->count;
        s->result = info->result;
        s->stop_after = UINT64_MAX;
        s->waits = (struct ferry_sync *)(void *)&s->commands[info->count];
        s->wait_count = info->wait_count;
        if (info->wait_count > 0)
            memcpy(s->waits, info->waits, info->wait_count * sizeof *info->waits);
    }
    return s;
}

/* Puts it into its queue; the lock is held. */
static void append(struct host_queue *queue, struct host_submission *s)
{
    struct host_device *device = queue->device;
    ferry__host_memory_hold(s);
    s->number = ++device->submissions;
    queue->event.submitted = s->value;
    *queue->tail = s;
    queue->tail = &s->next;
    pthread_cond_signal(&queue->work);
    if (ferry__host_knob(&device->knobs, HOST_OUT_OF_ORDER))
        pthread_cond_broadcast(&device->changed);
}

static enum ferry_status start(struct host_queue *queue, char *why)
{
    if (queue->started)
        return FERRY_OK;
    int error = ferry__thread_start(&queue->thread, "ferry-host", work, queue);
    if (error) {
        snprintf(why, FERRY__WHY_MAX, "no thread for a queue of the host driver: errno %d", error);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    queue->started = true;
    return FERRY_OK;
}

static enum ferry_status enqueue(struct host_queue *queue, struct host_submission *s, char *why)
{
    struct host_device *device = queue->device;
    pthread_mutex_lock(&device->lock);
    const char *breach = ferry__host_check_order(queue, s);
    const bool lost = atomic_load(&device->lost);
    if (!lost)
        append(queue, s);
    pthread_mutex_unlock(&device->lock);
    if (lost) {
        ferry__free(s);
        snprintf(why, FERRY__WHY_MAX, "the host device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (breach)
        ferry__host_breach(breach);
    return FERRY_OK;
}

enum ferry_status ferry__host_submit(void *state, const struct ferry__submission_info *info,
                                     char *why)
{
    struct host_device *device = state;
    if (ferry__host_is_hopeless(device, info, why))
        return ferry__host_breach(why);
    struct host_queue *queue = &device->queues[info->queue];
    enum ferry_status status = ferry__host_submit_admit(device, info->count, why);
    if (!status)
        status = start(queue, why);
    if (status)
        return status;
    struct host_submission *s = make(info);
    if (!s) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for %zu commands", info->count);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    status = ferry__host_take_in(queue, info, s, why);
    if (status) {
        ferry__free(s);
        return status;
    }
    return enqueue(queue, s, why);
}

void ferry__host_queues_finish(struct host_device *device)
{
    bool busy = false;
    pthread_mutex_lock(&device->lock);
    device->closing = true;
    for (uint32_t i = 0; i < device->limits.queue_count; i++) {
        busy |= device->queues[i].head != NULL;
        pthread_cond_broadcast(&device->queues[i].work);
    }
    if (busy)
        ferry__host_lose_locked(device);
    pthread_mutex_unlock(&device->lock);
    for (uint32_t i = 0; i < device->limits.queue_count; i++)
        if (device->queues[i].started)
            pthread_join(device->queues[i].thread, NULL);
    if (busy)
        ferry__host_breach("close while submissions have not ended");
}
