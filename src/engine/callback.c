#include "engine/callback.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/thread.h"
#include "engine/device.h"
#include "engine/reason.h"
#include "engine/traced.h"

#include <ferry/ferry.h>
#include <pthread.h>

/* --- the callback thread ---------------------------------------------------------------------- */

static _Thread_local bool inside_callback;
static _Thread_local struct ferry_device
    *closing; /* by callbacks on this thread, one after another */

bool ferry__inside_callback(void)
{
    return inside_callback;
}

enum ferry_status ferry__in_callback(const char *what)
{
    if (FERRY__LIKELY(!inside_callback))
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_IN_CALLBACK, "%s waits, which is not allowed inside a callback",
                       what);
}

void ferry__close_later(struct ferry_device *device)
{
    for (const struct ferry_device *other = closing; other; other = other->close_next)
        if (other == device)
            return;
    ferry__log(FERRY_LOG_WARN, "%s is closed inside a callback: done after it",
               device->gpu.info.name);
    device->close_next = closing;
    closing = device;
}

static void run_call(struct ferry_device *device, struct ferry__call *call)
{
    const uint64_t begin_ns = device->trace ? ferry__now_ns() : 0;
    ferry__set_error(call->status ? ferry__reason_text(call->why) : "");
    inside_callback = true;
    call->callback(call->status, call->ticket, call->user);
    inside_callback = false;
    if (begin_ns)
        ferry__trace_callback(device, call, begin_ns);
    FERRY__ADD(&device->gpu.metrics, callbacks, 1);
    ferry__reason_unref(call->why);
    ferry__free(call);
}

static void *run_close(void *arg)
{
    struct ferry_device *device = arg;
    device->close_now(device);
    return NULL;
}

/* On a thread of its own: closing waits for the device's callback thread, and of two devices'
 * threads each may have been asked to close the other's. False: there is no thread. */
static bool close_elsewhere(struct ferry_device *device)
{
    pthread_t thread;
    if (ferry__thread_start(&thread, "ferry-close", run_close, device))
        return false;
    pthread_detach(thread);
    return true;
}

/* Closes what callbacks asked for; true: our own device too, last, and this thread with it. */
static bool close_asked(struct ferry_device *own)
{
    bool own_too = false;
    while (closing) {
        struct ferry_device *device = closing;
        closing = device->close_next;
        if (close_elsewhere(device))
            continue;
        if (device == own)
            own_too = true;
        else
            device->close_now(device);
    }
    return own_too;
}

/* Runs the first call in the list, without the lock; true: it asked to close this device. */
static bool run_first(struct ferry_device *device)
{
    struct ferry__callback_thread *callbacks = &device->callbacks;
    struct ferry__link *link = ferry__list_pop(&callbacks->calls);
    struct ferry__call *call = FERRY__OF_LINK(link, struct ferry__call, link);
    ferry__device_unlock(device);
    run_call(device, call);
    const bool close_own = close_asked(device);
    ferry__device_lock(device);
    callbacks->returned++;
    pthread_cond_broadcast(&callbacks->idle);
    return close_own;
}

static void *run_callbacks(void *arg)
{
    struct ferry_device *device = arg;
    struct ferry__callback_thread *callbacks = &device->callbacks;
    ferry__device_lock(device);
    while (!callbacks->closing)
        if (callbacks->calls.first)
            callbacks->closing = run_first(device);
        else if (callbacks->stop)
            break;
        else
            ferry__cond_wait(&callbacks->work, &device->lock);
    const bool closing_own = callbacks->closing;
    ferry__device_unlock(device);
    if (closing_own) { /* nobody joins this thread; it ends with the device */
        pthread_detach(pthread_self());
        device->close_now(device);
    }
    return NULL;
}

bool ferry__callbacks_drain(struct ferry_device *device)
{
    struct ferry__callback_thread *callbacks = &device->callbacks;
    const bool any = callbacks->returned < callbacks->pushed;
    while (callbacks->returned < callbacks->pushed)
        if (callbacks->closing)
            run_first(device); /* this is the thread that runs them */
        else
            ferry__cond_wait(&callbacks->idle, &device->lock);
    return any;
}

enum ferry_status ferry__callbacks_start(struct ferry_device *device)
{
    struct ferry__callback_thread *callbacks = &device->callbacks;
    const int error = ferry__device_thread(device, &callbacks->start, &callbacks->thread,
                                           "ferry-callback", run_callbacks);
    if (!error)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no thread for callbacks: error %d", error);
}

enum ferry_status ferry__call_prepare(struct ferry_device *device, ferry_callback callback,
                                      void *user, struct ferry__call **out_call)
{
    if (!callback)
        return FERRY_OK;
    const enum ferry_status status = ferry__callbacks_start(device);
    if (status)
        return status;
    struct ferry__call *call = ferry__alloc(sizeof *call);
    if (!call)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *call);
    call->callback = callback;
    call->user = user;
    *out_call = call;
    return FERRY_OK;
}

void ferry__call_done(struct ferry_device *device, struct ferry__call *call, ferry_ticket ticket)
{
    if (!call)
        return;
    call->ticket = ticket;
    ferry__device_lock(device);
    ferry__callbacks_push(device, call);
    ferry__device_unlock(device);
}

void ferry__callbacks_push(struct ferry_device *device, struct ferry__call *call)
{
    struct ferry__callback_thread *callbacks = &device->callbacks;
    ferry__list_push(&callbacks->calls, &call->link);
    callbacks->pushed++;
    pthread_cond_signal(&callbacks->work);
}

void ferry__callbacks_finish(struct ferry_device *device)
{
    struct ferry__callback_thread *callbacks = &device->callbacks;
    ferry__device_lock(device);
    callbacks->stop = true;
    pthread_cond_broadcast(&callbacks->work);
    const bool join = callbacks->start.done && !callbacks->closing;
    ferry__device_unlock(device);
    if (join)
        pthread_join(callbacks->thread, NULL);
}
