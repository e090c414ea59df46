#include "engine/engine.h"
#include "base/log.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/thread.h"
#include "base/tree.h"
#include "driver.h"
#include "engine/callback.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/external.h"
#include "engine/op.h"
#include "engine/reason.h"
#include "engine/register.h"
#include "engine/retire.h"
#include "engine/submission.h"
#include "engine/ticket.h"
#include "engine/waiter.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/*
 * The engine: ops in, submissions out, done. Any thread that waits runs its steps; the engine's own
 * thread runs them where nobody waits. One thread at a time waits in the driver, the others for it.
 */

/* --- the lists of what may be built ----------------------------------------------------------- */

/* What holds staging goes first, since others wait for that. */
void ferry__ready_list(struct ferry__op *op)
{
    struct ferry__queue *queue = &op->device->queues[op->queue];
    op->ready.key = op->holds ? op->ticket : op->ticket | UINT64_C(1) << 63;
    ferry__tree_add(&queue->ready, &op->ready);
    if (op->holds)
        queue->starved = false;
}

void ferry__unpark(struct ferry__op *op)
{
    if (op->deps_unsubmitted)
        return;
    if (!op->type->record && op->state == FERRY__STATE_PARKED) {
        ferry__op_become(op, FERRY__STATE_OPEN);
        ferry__changed(op->device); /* who begins it may wait for this */
        return;
    }
    if (op->state != FERRY__STATE_PARKED)
        return;
    ferry__op_become(op, FERRY__STATE_READY);
    ferry__ready_list(op);
}

/* Meanwhile an edge of it may have been opened again: then it is parked. */
void ferry__ready_again(struct ferry__op *op, enum ferry__op_state from)
{
    if (op->state != from)
        return;
    ferry__op_become(op, FERRY__STATE_PARKED);
    ferry__unpark(op);
}

void ferry__ready_remove(struct ferry__op *op, enum ferry__op_state state)
{
    if (op->state == FERRY__STATE_READY || op->state == FERRY__STATE_RECORDING)
        ferry__tree_remove(&op->device->queues[op->queue].ready, &op->ready);
    ferry__op_become(op, state);
}

/* The key is a number that no ticket has, and greater than all that were given out. */
void ferry__ready_behind(struct ferry__op *op)
{
    struct ferry__queue *queue = &op->device->queues[op->queue];
    if (op->holds || queue->ready.first == queue->ready.last)
        return;
    ferry__tree_remove(&queue->ready, &op->ready);
    op->ready.key = ferry__ticket_next(op->device) | UINT64_C(1) << 63;
    ferry__tree_add(&queue->ready, &op->ready);
}

void ferry__ready_first_of_all(struct ferry__op *op)
{
    const bool listed = op->state == FERRY__STATE_READY || op->state == FERRY__STATE_RECORDING;
    if (listed)
        ferry__tree_remove(&op->device->queues[op->queue].ready, &op->ready);
    op->holds = true;
    if (listed)
        ferry__ready_list(op);
    else
        ferry__ready_again(op, FERRY__STATE_SUSPENDED);
}

/* --- steps ------------------------------------------------------------------------------------ */

void ferry__look_for_loss(struct ferry_device *device)
{
    if (!atomic_load(&device->dead) && device->gpu.driver->status(device->gpu.state))
        ferry__device_lose(device);
}

static bool has_reached(const struct ferry_device *device, const struct ferry__queue *queue,
                        const struct ferry__submission *sub)
{
    return device->gpu.driver->completed(device->gpu.state, queue->event) >= sub->value;
}

void ferry__queue_poll(struct ferry_device *device, unsigned queue)
{
    if (device->polling && ferry__queue_is_next(&device->queues[queue]) &&
        !(device->polled & (1u << queue)))
        device->gpu.driver->wake(device->gpu.state);
}

/* Takes one submission apart that the device is done with. */
static bool retire(struct ferry_device *device)
{
    for (unsigned q = 0; q < device->gpu.limits.queue_count; q++) {
        struct ferry__queue *queue = &device->queues[q];
        struct ferry__submission *sub = ferry__flying_first(queue);
        if (!ferry__queue_is_next(queue))
            continue;
        bool reached = has_reached(device, queue, sub);
        if (!reached) {
            ferry__look_for_loss(device);
            if (atomic_load(&device->dead) != FERRY__LOST)
                continue;
            reached = has_reached(device, queue, sub); /* a loss ends what was under way */
        }
        if (!reached && !sub->result.status) {
            sub->result.status = FERRY_ERROR_DEVICE_LOST;
            if (!sub->result.why[0])
                memcpy(sub->result.why, "the device is lost", sizeof "the device is lost");
        }
        (void)ferry__list_pop(&queue->flying);
        queue->in_flight--;
        queue->retiring++;
        /* The device gets its next chunk first, to do while this one is copied out. */
        if (sub->copies_out && !sub->result.status && !device->no_staging_wait)
            (void)ferry__build(device, q);
        ferry__submission_done(device, sub);
        queue->retiring--;
        ferry__queue_poll(device, q);
        return true;
    }
    return false;
}

/* False: the event of the work of this link has not been signalled. */
static bool retire_work(struct ferry_device *device, struct ferry__link *link, bool lost)
{
    struct ferry__op *op = ferry__work_of(link);
    if (!lost && device->gpu.driver->completed(device->gpu.state, op->event) < op->raised)
        return false;
    if (lost && !op->status)
        op->status = FERRY_ERROR_DEVICE_LOST;
    op->in_flight--;
    if (device->look_at == link)
        device->look_at = link->next;
    ferry__list_remove(&device->works, link);
    ferry__op_try_done(op);
    return true;
}

/* One work that was ended, and whose event has now been signalled. Of many works the first are
 * looked at, and after each wait in the driver all of them, some at a time. */
static bool retire_one(struct ferry_device *device, bool lost)
{
    enum { FIRST_ONES = 16 };
    unsigned looked = 0;
    for (struct ferry__link *link = device->works.first; link && looked++ < FIRST_ONES;
         link = link->next)
        if (retire_work(device, link, lost))
            return true;
    for (looked = 0; device->look_at && looked < FERRY__AT_ONCE; looked++) {
        struct ferry__link *link = device->look_at;
        device->look_at = link->next;
        if (retire_work(device, link, lost))
            return true;
    }
    return false;
}

static bool retire_external(struct ferry_device *device)
{
    const bool lost = atomic_load(&device->dead) == FERRY__LOST;
    unsigned retired = 0;
    while (retired < FERRY__AT_ONCE && retire_one(device, lost))
        retired++;
    if (retired == FERRY__AT_ONCE || device->look_at)
        ferry__breathe(device);
    if (retired || device->look_at)
        return true;
    if (!lost || !device->open_works.first)
        return false;
    ferry__external_end(ferry__work_of(device->open_works.first), FERRY_ERROR_DEVICE_LOST,
                        "the device is lost");
    return true;
}

void ferry__breathe(struct ferry_device *device)
{
    if (device->in_one_breath)
        return;
    ferry__device_unlock(device);
    sched_yield();
    ferry__device_lock(device);
}

bool ferry__step(struct ferry_device *device)
{
    if (ferry__tell_some(device)) {
        ferry__changed(device);
        ferry__breathe(device);
        return true;
    }
    if (device->streams.first && device->streams_step(device))
        return true;
    if (retire(device))
        return true;
    for (unsigned q = 0; q < device->gpu.limits.queue_count; q++)
        if (ferry__build(device, q))
            return true;
    return retire_external(device);
}

/* --- telling ---------------------------------------------------------------------------------- */

static bool can_build(const struct ferry_device *device)
{
    for (unsigned q = 0; q < device->gpu.limits.queue_count; q++) {
        const struct ferry__queue *queue = &device->queues[q];
        if (queue->ready.first && !queue->building && !queue->starved &&
            queue->in_flight < FERRY__IN_FLIGHT_MAX)
            return true;
    }
    return false;
}

void ferry__kick(struct ferry_device *device)
{
    if (device->polling) {
        if (can_build(device) || device->closing.first || device->dead_ops.first ||
            device->to_resume || device->cancels_due)
            device->gpu.driver->wake(device->gpu.state);
    } else if (device->waiters) {
        pthread_cond_broadcast(&device->changed);
    } else if (device->engine_start.done) {
        pthread_cond_signal(&device->engine_work);
    }
}

void ferry__changed(struct ferry_device *device)
{
    if (device->waiters)
        pthread_cond_broadcast(&device->changed);
    if (device->polling && device->poll_done && device->poll_done(device->poll_arg))
        device->gpu.driver->wake(device->gpu.state);
}

bool ferry__op_is_done(void *op)
{
    return atomic_load_explicit(&((struct ferry__op *)op)->done, memory_order_acquire);
}

bool ferry__op_is_told(void *op)
{
    return atomic_load_explicit(&((struct ferry__op *)op)->told, memory_order_acquire);
}

/* --- the engine's thread ---------------------------------------------------------------------- */

static void *run_engine(void *arg)
{
    struct ferry_device *device = arg;
    ferry__device_lock(device);
    while (!device->engine_stop) {
        if (ferry__step(device))
            continue;
        if (device->dead_ops.first || device->to_resume) {
            ferry__reap(device);
            continue;
        }
        /* Threads that wait do its work, one of them in the driver; the last to leave wakes it. */
        if (device->waiters)
            pthread_cond_broadcast(&device->changed);
        if (device->waiters || !ferry__poll_driver(device, NULL, NULL, FERRY_FOREVER))
            ferry__cond_wait(&device->engine_work, &device->lock);
    }
    ferry__device_unlock(device);
    return NULL;
}

enum ferry_status ferry__engine_start(struct ferry_device *device)
{
    const int error = ferry__device_thread(device, &device->engine_start, &device->engine,
                                           "ferry-engine", run_engine);
    if (!error)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no thread for the engine: error %d", error);
}

static bool nothing_lives(void *arg)
{
    const struct ferry_device *device = arg;
    return !device->living.first && !device->reaping && !device->dead_ops.first && !device->bridges;
}

void ferry__engine_finish(struct ferry_device *device)
{
    ferry__device_lock(device);
    do { /* what callbacks submit is done, and calls back, too */
        (void)ferry__wait_until(device, nothing_lives, device, FERRY_FOREVER);
    } while (ferry__callbacks_drain(device) || !nothing_lives(device));
    device->engine_stop = true;
    pthread_cond_broadcast(&device->engine_work);
    const bool started = device->engine_start.done;
    ferry__device_unlock(device);
    if (started)
        pthread_join(device->engine, NULL);
}

/* --- submitting ------------------------------------------------------------------------------- */

static unsigned queue_of(const struct ferry__op *op)
{
    const struct ferry_device *device = op->device;
    enum { UPLOAD, DOWNLOAD, COPY, KERNEL };
    if (op->type->kind == FERRY__OP_BRIDGE_READ)
        return device->role_queue[DOWNLOAD];
    if (op->type->kind == FERRY__OP_BRIDGE_WRITE)
        return device->role_queue[UPLOAD];
    unsigned seen = 0, queue = device->role_queue[COPY];
    bool lists = false;
    for (size_t i = 0; i < op->count; i++) {
        seen |= 1u << ferry__op_transfers(op)[i].operation;
        lists = lists || ferry__op_transfers(op)[i].way == FERRY__WAY_LIST;
    }
    if (seen == 1u << FERRY_OPERATION_UPLOAD)
        queue = device->role_queue[UPLOAD];
    if (seen == 1u << FERRY_OPERATION_DOWNLOAD)
        queue = device->role_queue[DOWNLOAD];
    const bool runs = device->gpu.limits.queues[queue].roles & FERRY__ROLE_KERNEL;
    return lists && !runs ? device->role_queue[KERNEL] : queue;
}

void ferry__choose_queue(struct ferry__op *op)
{
    op->queue = (uint8_t)queue_of(op);
}

enum ferry_status ferry__enqueue(struct ferry__op *op)
{
    op->start_ns = ferry__now_ns();
    const enum ferry_status status = ferry__register(op);
    if (!status && !ferry__op_is_join(op))
        ferry__unpark(op);
    return status;
}

enum ferry_status ferry__enqueue_behind(struct ferry__op *join, struct ferry__op *op)
{
    join->start_ns = op->start_ns = ferry__now_ns();
    const enum ferry_status status = ferry__register_behind(join, op);
    if (!status)
        ferry__unpark(op);
    return status;
}

/* What the calling thread would copy to build op. Under no lock. */
static uint64_t bytes_staged(const struct ferry__op *op)
{
    uint64_t staged = 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct ferry__transfer *transfer = &ferry__op_transfers(op)[i];
        if (transfer->with == FERRY__WITH_STREAM)
            continue;
        if (transfer->path == FERRY_PATH_STAGED ||
            (transfer->path == FERRY_PATH_PIPELINED && op->batch))
            staged += transfer->size;
    }
    return staged;
}

/* An asynchronous call copies at most one chunk: more is left to the engine; and so is what can be
 * joined to others while the device has work, where it is cheaper to let one thread submit. */
static bool may_build_now(const struct ferry__op *op, uint64_t staged)
{
    const struct ferry_device *device = op->device;
    const struct ferry__queue *queue = &device->queues[op->queue];
    return op->state == FERRY__STATE_READY && staged <= device->gpu.upload.chunk_size &&
           ferry__ready_first(queue) == op &&
           !(device->gpu.limits.polls && device->polling && queue->in_flight);
}

enum ferry_status ferry__submit(struct ferry__op *op, ferry_callback callback, void *user,
                                ferry_ticket *out_ticket)
{
    struct ferry_device *device = op->device;
    enum ferry_status status = ferry__engine_start(device);
    if (!status && callback)
        status = ferry__op_set_call(op, callback, user);
    if (status) {
        ferry__op_unref(op);
        return status;
    }
    op->keep = out_ticket != NULL;
    const bool counts = !(op->count == 1 && ferry__op_transfers(op)->internal);
    const uint64_t count = ferry__park_count(op), staged = bytes_staged(op);
    const uint64_t room = counts ? count : 0;
    ferry__choose_queue(op);
    ferry__device_lock(device);
    ferry__await_turn(op);
    if (counts)
        status = ferry__may_park(device, count);
    if (!status) {
        device->parked += room; /* it is op's, also where the lock is given up on the way */
        status = ferry__enqueue(op);
        device->parked -= room;
    }
    if (!status) {
        if (counts)
            ferry__park(op, count);
        if (out_ticket)
            *out_ticket = op->ticket;
        if (may_build_now(op, staged))
            (void)ferry__build(device, op->queue);
        if (op->state < FERRY__STATE_SUBMITTED)
            FERRY__ADD(&device->gpu.metrics, parked, 1);
        ferry__kick(device);
        ferry__reap(device);
    }
    ferry__device_unlock(device);
    ferry__op_unref(op);
    return status;
}

/* What the thread that polls copies for others, at most: they could do that at the same time. */
enum { LEAVE_MAX = 16 << 10 };

enum ferry_status ferry__submit_and_wait(struct ferry__op *op, bool *out_submitted)
{
    struct ferry_device *device = op->device;
    const bool leaves = device->gpu.limits.polls && bytes_staged(op) <= LEAVE_MAX;
    op->keep = op->batch; /* which is as if it were submitted, and its ticket waited for */
    op->has_waiter = !op->batch;
    ferry__choose_queue(op);
    ferry__device_lock(device);
    ferry__await_turn(op);
    enum ferry_status status = ferry__enqueue(op);
    *out_submitted = !status;
    if (!status) {
        ferry__wait_for_op(device, op, leaves);
        if ((status = op->status))
            ferry__set_error(ferry__reason_text(ferry__op_why(op)));
    }
    ferry__device_unlock(device);
    ferry__op_unref(op);
    return status;
}
