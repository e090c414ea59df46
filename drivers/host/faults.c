/* Failures, the loss of the device, and the luck that decides them. */
#include "host_internal.h"

#include <stdio.h>

uint64_t ferry__host_random(uint64_t *seed)
{
    *seed += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = *seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool ferry__host_fires(struct host_device *device, enum host_knob which)
{
    _Atomic uint64_t *left = &device->knobs.value[which];
    uint64_t n = atomic_load(left);
    while (n > 0 && n < UINT64_MAX && !atomic_compare_exchange_weak(left, &n, n - 1)) {
    }
    if (n == 1 || n == UINT64_MAX)
        return true;
    uint64_t every = which == HOST_LOSE_AT ? 0 : ferry__host_knob(&device->knobs, HOST_FAIL_EVERY);
    if (every == 0)
        return false;
    uint64_t seed = atomic_fetch_add(&device->random, 0x9e3779b97f4a7c15u);
    return every == UINT64_MAX || ferry__host_random(&seed) % every == 0;
}

bool ferry__host_set(void *state, const char *name, uint64_t n)
{
    struct host_device *device = state;
    enum host_knob which = ferry__host_knob_live(name);
    if (which == HOST_KNOB_COUNT)
        return false;
    atomic_store(&device->knobs.value[which], n);
    return true;
}

enum ferry_status ferry__host_submit_admit(struct host_device *device, size_t count, char *why)
{
    if (atomic_load(&device->lost)) {
        snprintf(why, FERRY__WHY_MAX, "the host device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (ferry__host_fires(device, HOST_FAIL_SUBMIT)) {
        snprintf(why, FERRY__WHY_MAX, "a submission of %zu commands fails by a knob", count);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    return FERRY_OK;
}

/* Where half of a submission's bytes are done it is to fail, or the device to be lost. */
void ferry__host_fail_later(struct host_device *device, struct host_submission *s)
{
    bool fails = ferry__host_fires(device, HOST_FAIL_EXEC);
    bool loses = ferry__host_fires(device, HOST_LOSE_AT);
    if (!fails && !loses)
        return;
    uint64_t total = 0;
    for (size_t i = 0; i < s->count; i++)
        total += s->commands[i].size;
    s->stop_after = total / 2;
    s->outcome = loses ? FERRY_ERROR_DEVICE_LOST : FERRY_ERROR_EXECUTION_FAILED;
    snprintf(s->why, sizeof s->why, "a knob stops a submission after %llu of %llu bytes",
             (unsigned long long)s->stop_after, (unsigned long long)total);
}

/* No thread copies any more. */
void ferry__host_finish_loss(struct host_device *device)
{
    for (uint32_t i = 0; i < device->limits.queue_count; i++)
        while (device->queues[i].head)
            ferry__host_end_head(&device->queues[i], FERRY_ERROR_DEVICE_LOST, 0,
                                 "the host device was lost");
    atomic_store_explicit(&device->lost, true, memory_order_release);
    pthread_cond_broadcast(&device->changed);
}

void ferry__host_lose_locked(struct host_device *device)
{
    if (atomic_exchange(&device->losing, true))
        return;
    for (uint32_t i = 0; i < device->limits.queue_count; i++)
        pthread_cond_broadcast(&device->queues[i].work);
    pthread_cond_broadcast(&device->changed);
    if (device->running == 0)
        ferry__host_finish_loss(device);
}

void ferry__host_lose(void *state)
{
    struct host_device *device = state;
    pthread_mutex_lock(&device->lock);
    ferry__host_lose_locked(device);
    pthread_mutex_unlock(&device->lock);
}
