#include "engine/device.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/thread.h"
#include "engine/ticket.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

/* A device as the engine sees it: its state, its references, and all devices of the process, for
 * fork. */

/* --- all devices of the process: for fork ----------------------------------------------------- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static struct ferry_device *all_devices;
static unsigned last_id;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    ferry__lock(&all_lock);
}
static void after_fork(void)
{
    ferry__unlock(&all_lock);
}

/* In the child the devices' threads are gone and their locks as they were: nothing is touched. */
static void after_fork_in_child(void)
{
    for (struct ferry_device *device = all_devices; device; device = device->all_next)
        atomic_store(&device->dead, FERRY__FORKED);
    all_devices = NULL;
    ferry__unlock(&all_lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static bool id_taken(unsigned id)
{
    for (const struct ferry_device *device = all_devices; device; device = device->all_next)
        if (device->id == id)
            return true;
    return false;
}

bool ferry__devices_add(struct ferry_device *device)
{
    enum { IDS = (1 << FERRY__DEVICE_BITS) - 1 };
    unsigned tried = 0;
    pthread_once(&fork_once, watch_forks);
    ferry__lock(&all_lock);
    do
        last_id = last_id % IDS + 1;
    while (id_taken(last_id) && ++tried < IDS);
    const bool found = tried < IDS;
    if (found) {
        device->id = last_id;
        device->all_next = all_devices;
        all_devices = device;
    }
    ferry__unlock(&all_lock);
    return found;
}

void ferry__devices_remove(struct ferry_device *device)
{
    ferry__lock(&all_lock);
    struct ferry_device **link = &all_devices;
    while (*link && *link != device)
        link = &(*link)->all_next;
    if (*link)
        *link = device->all_next;
    ferry__unlock(&all_lock);
}

/* --- states ----------------------------------------------------------------------------------- */

enum ferry_status ferry__device_dead(const struct ferry_device *device, const char *what)
{
    static const char *const why[] = {
        [FERRY__LOST] = "is lost",
        [FERRY__CLOSED] = "is closed",
        [FERRY__FORKED] = "belongs to the process before fork()",
    };
    const int dead = atomic_load(&device->dead);
    if (FERRY__LIKELY(dead == FERRY__ALIVE))
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_DEVICE_LOST, "%s: device %s %s", what, device->gpu.info.name,
                       why[dead]);
}

int ferry__device_thread(struct ferry_device *device, struct ferry__start *start, pthread_t *thread,
                         const char *name, void *(*run)(void *device))
{
    int error = 0;
    ferry__device_lock(device);
    while (start->busy) {
        const int cancel = ferry__cancel_off();
        ferry__cond_wait(&device->turn, &device->lock);
        ferry__cancel_on(cancel);
    }
    if (!start->done) {
        start->busy = true;
        ferry__device_unlock(device);
        error = ferry__thread_start(thread, name, run, device);
        ferry__device_lock(device);
        start->busy = false;
        start->done = !error;
        pthread_cond_broadcast(&device->turn);
    }
    ferry__device_unlock(device);
    return error;
}

void ferry__device_lose(struct ferry_device *device)
{
    int alive = FERRY__ALIVE;
    if (!atomic_compare_exchange_strong(&device->dead, &alive, FERRY__LOST))
        return;
    ferry__log(FERRY_LOG_ERROR, "device %s (%s) is lost", device->gpu.info.name,
               device->gpu.info.description);
}

void ferry__device_ref(struct ferry_device *device)
{
    atomic_fetch_add(&device->refs, 1);
}

void ferry__device_unref(struct ferry_device *device)
{
    if (atomic_fetch_sub(&device->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&device->lock);
    pthread_mutex_destroy(&device->gpu.host_lock);
    pthread_cond_destroy(&device->changed);
    pthread_cond_destroy(&device->engine_work);
    pthread_cond_destroy(&device->turn);
    pthread_cond_destroy(&device->callbacks.work);
    pthread_cond_destroy(&device->callbacks.idle);
    pthread_cond_destroy(&device->gpu.region_freed);
    ferry__metrics_finish(&device->gpu.metrics);
    ferry__free(device);
}
