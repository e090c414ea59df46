#include "engine/waiter.h"

#include "base/clock.h"
#include "base/thread.h"
#include "driver.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/external.h"
#include "engine/op.h"
#include "engine/retire.h"
#include "engine/submission.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* Before a waiter blocks it polls: a cross-CPU wake-up costs 25 us, and a small submission as much,
 * on a CPU Vulkan. */
static const uint64_t POLL_NS = 100 * 1000;

/* So long a helper polls in the driver at a time: shorter than what drivers sleep for. */
static const uint64_t SLICE_NS = 25 * 1000;

/* So long an op is left to a helper before its own thread looks after it. */
static const uint64_t LEAVE_NS = 30 * 1000;

/* How often events are looked at that are too many to wait for. */
static const uint64_t LOOK_NS = 1000 * 1000;

/* How often a driver is asked whether its device is lost, where no work of ours would tell. */
static const uint64_t LOST_NS = UINT64_C(1000) * 1000 * 1000;

/* --- waiting ---------------------------------------------------------------------------------- */

enum { EXTERNALS_MAX = 8, POINTS_MAX = FERRY__QUEUES_MAX + EXTERNALS_MAX };

struct points {
    struct ferry_sync list[POINTS_MAX];
    size_t count;
    size_t external_count;
    uint32_t polled; /* queues */
};

static void list_points(struct ferry_device *device, struct points *points)
{
    points->count = points->external_count = 0;
    points->polled = 0;
    for (unsigned q = 0; q < device->gpu.limits.queue_count; q++) {
        const struct ferry__queue *queue = &device->queues[q];
        if (!ferry__queue_is_next(queue))
            continue;
        points->list[points->count++] =
            (struct ferry_sync){queue->event, ferry__flying_first(queue)->value};
        points->polled |= 1u << q;
    }
    for (struct ferry__link *link = device->works.first;
         link && points->external_count < EXTERNALS_MAX; link = link->next) {
        const struct ferry__op *op = ferry__work_of(link);
        points->list[points->count++] = (struct ferry_sync){op->event, op->raised};
        points->external_count++;
    }
}

bool ferry__poll_driver(struct ferry_device *device, bool (*done)(void *arg), void *arg,
                        uint64_t deadline_ns)
{
    struct points points;
    if (device->polling)
        return false;
    list_points(device, &points);
    if (!points.count && !device->open_works.first && !device->streams.first)
        return false;
    /* With more external work than is waited for, the rest is looked at now and then; with work
     * that the user holds, and nothing of ours, whether the device is lost. */
    uint64_t timeout = points.external_count == EXTERNALS_MAX ? LOOK_NS
                       : points.count                         ? FERRY_FOREVER
                                                              : LOST_NS;
    if (deadline_ns != FERRY_FOREVER) {
        const uint64_t now = ferry__now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
        if (left < timeout)
            timeout = left;
    }
    device->polling = true;
    device->polled = points.polled;
    device->poll_done = done;
    device->poll_arg = arg;
    ferry__device_unlock(device);
    device->gpu.driver->wait_any(device->gpu.state, points.list, points.count, timeout);
    ferry__device_lock(device);
    device->polling = false;
    device->look_at = device->works.first;
    ferry__look_for_loss(device);
    return true;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void yield(struct ferry_device *device)
{
    ferry__device_unlock(device);
    sched_yield();
    ferry__device_lock(device);
}

static bool has_work(const struct ferry_device *device)
{
    for (unsigned q = 0; q < device->gpu.limits.queue_count; q++)
        if (ferry__queue_is_next(&device->queues[q]))
            return true;
    return false;
}

/* What may be asked without the lock. */
static bool asks_no_lock(bool (*done)(void *arg))
{
    return done == ferry__op_is_done || done == ferry__op_is_told;
}

/* Spins until it is done, the time is over, or the caller is the one that helps. */
static void spin(struct ferry_device *device, bool (*done)(void *arg), void *arg, uint64_t until_ns,
                 bool *helps)
{
    ferry__device_unlock(device);
    while (!done(arg) && ferry__now_ns() < until_ns && !*helps) {
        sched_yield();
        if (!atomic_load(&device->has_helper))
            *helps = !atomic_exchange(&device->has_helper, true);
    }
    ferry__device_lock(device);
}

/* One of the threads that wait, the helper, polls in the driver, where it sees ends soonest. The
 * others keep off the lock and the driver: each looks at its own op, and whether it is to be the
 * next helper. In slices, in which the driver does not sleep. */
static void poll_together(struct ferry_device *device, bool (*done)(void *arg), void *arg,
                          uint64_t now_ns, uint64_t until_ns, bool *helps)
{
    if (!*helps)
        *helps = !atomic_exchange(&device->has_helper, true);
    if (!*helps)
        spin(device, done, arg, until_ns, helps);
    else if (!has_work(device) ||
             !ferry__poll_driver(device, done, arg, sooner(now_ns + SLICE_NS, until_ns)))
        yield(device);
}

/* Polls for a little while, as the caller is about to block. */
static void poll_shortly(struct ferry_device *device, bool (*done)(void *arg), void *arg,
                         uint64_t now_ns, uint64_t until_ns, bool *helps)
{
    if (device->gpu.limits.polls && asks_no_lock(done)) {
        poll_together(device, done, arg, now_ns, until_ns, helps);
        return;
    }
    yield(device);
}

static void stop_helping(struct ferry_device *device, bool *helps)
{
    if (*helps)
        atomic_store(&device->has_helper, false);
    *helps = false;
}

/* Two threads in a driver that polls hold each other up: while another one is the helper, that one
 * submits this op, too. */
static void leave_to_helper(struct ferry_device *device, struct ferry__op *op, bool *helps)
{
    if (!device->polling || !atomic_load(&device->has_helper))
        return;
    ferry__kick(device);
    spin(device, ferry__op_is_done, op, ferry__now_ns() + LEAVE_NS, helps);
}

static bool wait_until(struct ferry_device *device, bool (*done)(void *arg), void *arg,
                       uint64_t deadline_ns, struct ferry__op *left)
{
    uint64_t poll_until = 0;
    bool is_done, helps = false;
    const int cancel = ferry__cancel_off();
    device->waiters++;
    if (left)
        leave_to_helper(device, left, &helps);
    while (!(is_done = done(arg))) {
        bool helped = ferry__step(device);
        if (!helped && (device->dead_ops.first || device->to_resume)) {
            ferry__reap(device);
            helped = true;
        }
        if (helped && deadline_ns == FERRY_FOREVER)
            continue;
        const uint64_t now = ferry__now_ns();
        if (now >= deadline_ns)
            break; /* also where there is always something to help with */
        if (helped)
            continue;
        if (!poll_until)
            poll_until = now + POLL_NS;
        if (now < poll_until) {
            poll_shortly(device, done, arg, now, sooner(poll_until, deadline_ns), &helps);
            continue;
        }
        stop_helping(device, &helps);
        if (!ferry__poll_driver(device, done, arg, deadline_ns))
            (void)ferry__cond_wait_until(&device->changed, &device->lock, deadline_ns);
    }
    stop_helping(device, &helps);
    device->waiters--;
    if (device->living.first)
        ferry__kick(device);
    ferry__reap(device);
    ferry__cancel_on(cancel);
    return is_done || done(arg); /* the lock was given up since it was asked */
}

void ferry__wait_for_op(struct ferry_device *device, struct ferry__op *op, bool leaves)
{
    (void)wait_until(device, ferry__op_is_done, op, FERRY_FOREVER, leaves ? op : NULL);
}

bool ferry__wait_until(struct ferry_device *device, bool (*done)(void *arg), void *arg,
                       uint64_t deadline_ns)
{
    return wait_until(device, done, arg, deadline_ns, NULL);
}
