#include "vk.h"

#include <sched.h>
#include <stdio.h>

enum {
    SIGNAL_TRIES = 3,          /* when memory is short */
    NAP_MAX_NS = 1000000,      /* between two questions, where only asking tells */
    SLEEP_MAX_NS = 1000000000, /* a driver that does not notice its device's loss */
    POINTS_MAX = 31,           /* waited for at once in vkWaitSemaphores */
};

/* --- semaphores ------------------------------------------------------------------------------- */

enum ferry_status ferry__vulkan_semaphore(struct vulkan *v, VkSemaphore *out_semaphore, char *why)
{
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
        .pNext = &type,
    };
    VkSemaphore semaphore = VK_NULL_HANDLE;
    VkResult result = v->vk.CreateSemaphore(v->device, &create, NULL, &semaphore);
    if (result != VK_SUCCESS)
        return ferry__vulkan_fail(v, result, "vkCreateSemaphore", why);
    *out_semaphore = semaphore;
    return FERRY_OK;
}

bool ferry__vulkan_counter(struct vulkan *v, VkSemaphore semaphore, uint64_t *out_value)
{
    VkResult result = v->vk.GetSemaphoreCounterValue(v->device, semaphore, out_value);
    if (result == VK_SUCCESS)
        return true;
    *out_value = 0;
    ferry__vulkan_fail(v, result, "vkGetSemaphoreCounterValue", NULL);
    return false;
}

uint64_t ferry__vulkan_completed(void *state, uint64_t event)
{
    struct vulkan *v = state;
    for (uint32_t i = 0; i < v->queue_count; i++)
        if (event == vulkan_event(v->queues[i].event))
            return ferry__vulkan_queue_retire(v, &v->queues[i]);
    uint64_t value;
    ferry__vulkan_counter(v, ferry_vulkan_semaphore((struct ferry_sync){.event = event}), &value);
    return value;
}

/* --- waking ----------------------------------------------------------------------------------- */

enum ferry_status ferry__vulkan_wake_init(struct vulkan *v, char *why)
{
    if (pthread_mutex_init(&v->wake.lock, NULL))
        goto fail;
    if (ferry__cond_init(&v->wake.cond))
        goto destroy_lock;
    if (pthread_mutex_init(&v->signal_lock, NULL))
        goto destroy_cond;
    return FERRY_OK;

destroy_cond:
    pthread_cond_destroy(&v->wake.cond);
destroy_lock:
    pthread_mutex_destroy(&v->wake.lock);
fail:
    snprintf(why, FERRY__WHY_MAX, "no host memory for the device's locks");
    return FERRY_ERROR_OUT_OF_HOST_MEMORY;
}

void ferry__vulkan_wake_finish(struct vulkan *v)
{
    if (v->wake.semaphore)
        v->vk.DestroySemaphore(v->device, v->wake.semaphore, NULL);
    pthread_mutex_destroy(&v->signal_lock);
    pthread_cond_destroy(&v->wake.cond);
    pthread_mutex_destroy(&v->wake.lock);
}

static bool signal_to(struct vulkan *v, VkSemaphore semaphore, uint64_t value)
{
    const VkSemaphoreSignalInfo signal = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO,
        .semaphore = semaphore,
        .value = value,
    };
    VkResult result = VK_SUCCESS;
    for (int tries = 0; tries < SIGNAL_TRIES; tries++) {
        result = v->vk.SignalSemaphore(v->device, &signal);
        if (result == VK_SUCCESS)
            return true;
        if (result == VK_ERROR_DEVICE_LOST)
            break;
    }
    /* Whoever waits for it must not wait for ever. */
    ferry__log(FERRY_LOG_ERROR,
               "vulkan: vkSignalSemaphore gave VkResult %d; the device counts as "
               "lost",
               (int)result);
    return false;
}

void ferry__vulkan_wake(void *state)
{
    struct vulkan *v = state;
    pthread_mutex_lock(&v->wake.lock);
    v->wake.calls++;
    if (v->wake.on_semaphore && !signal_to(v, v->wake.semaphore, ++v->wake.value))
        atomic_store(&v->lost, true); /* those asleep look again within SLEEP_MAX_NS */
    pthread_cond_broadcast(&v->wake.cond);
    pthread_mutex_unlock(&v->wake.lock);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static bool reached(struct vulkan *v, const struct ferry_sync *points, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        if (!ferry__vulkan_counter(v, ferry_vulkan_semaphore(points[i]), &value) ||
            value >= points[i].value)
            return true;
    }
    return atomic_load(&v->lost);
}

/* Has wake been called since a wait last returned? */
static bool woken(struct vulkan *v)
{
    pthread_mutex_lock(&v->wake.lock);
    bool result = v->wake.calls != v->wake.seen;
    pthread_mutex_unlock(&v->wake.lock);
    return result;
}

/* Asleep until wake or the time. */
static void nap(struct vulkan *v, uint64_t until_ns)
{
    pthread_mutex_lock(&v->wake.lock);
    while (v->wake.calls == v->wake.seen && !atomic_load(&v->lost))
        if (!ferry__cond_wait_until(&v->wake.cond, &v->wake.lock, until_ns))
            break;
    pthread_mutex_unlock(&v->wake.lock);
}

/* Asleep until a point, wake or the time. */
static void sleep_on_points(struct vulkan *v, const struct ferry_sync *points, size_t count,
                            uint64_t timeout_ns)
{
    VkSemaphore semaphores[POINTS_MAX + 1];
    uint64_t values[POINTS_MAX + 1];
    pthread_mutex_lock(&v->wake.lock);
    if (v->wake.calls != v->wake.seen) {
        pthread_mutex_unlock(&v->wake.lock);
        return;
    }
    v->wake.on_semaphore++;
    semaphores[0] = v->wake.semaphore;
    values[0] = v->wake.value + 1;
    pthread_mutex_unlock(&v->wake.lock);

    uint32_t used = 1;
    for (size_t i = 0; i < count && used <= POINTS_MAX; i++, used++) {
        semaphores[used] = ferry_vulkan_semaphore(points[i]);
        values[used] = points[i].value;
    }
    const VkSemaphoreWaitInfo wait = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .flags = VK_SEMAPHORE_WAIT_ANY_BIT,
        .semaphoreCount = used,
        .pSemaphores = semaphores,
        .pValues = values,
    };
    VkResult result = v->vk.WaitSemaphores(v->device, &wait, timeout_ns);
    pthread_mutex_lock(&v->wake.lock);
    v->wake.on_semaphore--;
    pthread_mutex_unlock(&v->wake.lock);
    if (result != VK_SUCCESS && result != VK_TIMEOUT)
        ferry__vulkan_fail(v, result, "vkWaitSemaphores", NULL);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the first of the points should be reached; 0: not known of one of them. */
static uint64_t expected(struct vulkan *v, const struct ferry_sync *points, size_t count)
{
    uint64_t soonest = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t of_this = 0;
        for (uint32_t q = 0; q < v->queue_count; q++)
            if (points[i].event == vulkan_event(v->queues[q].event))
                of_this = ferry__vulkan_queue_expected(&v->queues[q], points[i].value);
        if (!of_this)
            return 0;
        soonest = sooner(soonest, of_this);
    }
    return soonest;
}

static void wait_for(struct vulkan *v, const struct ferry_sync *points, size_t count,
                     uint64_t deadline_ns)
{
    if (count == 0) {
        nap(v, deadline_ns);
        return;
    }
    struct ferry__patience patience = {.start_ns = ferry__now_ns(), .deadline_ns = deadline_ns};
    patience.expected_ns = expected(v, points, count);
    const uint64_t most = count > POINTS_MAX ? NAP_MAX_NS : SLEEP_MAX_NS;
    uint64_t now = patience.start_ns, until;
    while (now < deadline_ns && !woken(v) && !reached(v, points, count)) {
        const enum ferry__rest rest = ferry__rest(&patience, now, &until);
        if (rest == FERRY__REST_POLL)
            sched_yield();
        else if (rest == FERRY__REST_BLOCK && v->any_blocks)
            sleep_on_points(v, points, count, sooner(deadline_ns - now, most));
        else
            nap(v, until);
        now = ferry__now_ns();
    }
}

void ferry__vulkan_wait_any(void *state, const struct ferry_sync *points, size_t count,
                            uint64_t timeout_ns)
{
    struct vulkan *v = state;
    wait_for(v, points, count, ferry__deadline(timeout_ns));
    pthread_mutex_lock(&v->wake.lock);
    v->wake.seen = v->wake.calls;
    pthread_mutex_unlock(&v->wake.lock);
}

/* --- events for external work ----------------------------------------------------------------- */

enum ferry_status ferry__vulkan_event_create(void *state, uint64_t *out_event, char *why)
{
    VkSemaphore semaphore = VK_NULL_HANDLE;
    enum ferry_status status = ferry__vulkan_semaphore(state, &semaphore, why);
    if (!status)
        *out_event = vulkan_event(semaphore);
    return status;
}

void ferry__vulkan_event_destroy(void *state, uint64_t event)
{
    struct vulkan *v = state;
    v->vk.DestroySemaphore(v->device, ferry_vulkan_semaphore((struct ferry_sync){.event = event}),
                           NULL);
}

void ferry__vulkan_event_signal(void *state, uint64_t event, uint64_t value)
{
    struct vulkan *v = state;
    VkSemaphore semaphore = ferry_vulkan_semaphore((struct ferry_sync){.event = event});
    uint64_t now;
    pthread_mutex_lock(&v->signal_lock);
    /* Where the value cannot be read, raising it is the lesser evil. */
    bool passed = ferry__vulkan_counter(v, semaphore, &now) && now >= value;
    bool signalled = passed || atomic_load(&v->lost) || signal_to(v, semaphore, value);
    pthread_mutex_unlock(&v->signal_lock);
    if (!signalled)
        ferry__vulkan_lose(v);
}
