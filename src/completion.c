#include "internal.h"

#include <string.h>

/* Tickets, what became of them, and the thread that runs the user's callbacks. */

/* --- the table --------------------------------------------------------------------------------- */

static size_t bucket(const struct ferry_device *device, ferry_ticket ticket)
{
    return (ticket >> FERRY__DEVICE_BITS) & (device->table_size - 1);
}

/* More buckets, if there is memory for them; it works with too few. */
static void table_grow(struct ferry_device *device)
{
    const size_t old_size = device->table_size, size = old_size * 2;
    struct ferry__op **old = device->table, **table = ferry__alloc(size * sizeof *table);
    if (!table)
        return;
    device->table = table;
    device->table_size = size;
    for (size_t i = 0; i < old_size; i++) {
        while (old[i]) {
            struct ferry__op *op = old[i];
            old[i] = op->hash_next;
            struct ferry__op **link = &table[bucket(device, op->ticket)];
            op->hash_next = *link;
            *link = op;
        }
    }
    ferry__free(old);
}

void ferry__table_add(struct ferry_device *device, struct ferry__op *op)
{
    if (device->table_count >= device->table_size)
        table_grow(device);
    struct ferry__op **link = &device->table[bucket(device, op->ticket)];
    op->hash_next = *link;
    *link = op;
    device->table_count++;
}

void ferry__table_remove(struct ferry_device *device, struct ferry__op *op)
{
    struct ferry__op **link = &device->table[bucket(device, op->ticket)];
    while (*link != op)
        link = &(*link)->hash_next;
    *link = op->hash_next;
    device->table_count--;
}

struct ferry__op *ferry__table_find(struct ferry_device *device, ferry_ticket ticket)
{
    struct ferry__op *op = device->table[bucket(device, ticket)];
    while (op && op->ticket != ticket)
        op = op->hash_next;
    return op;
}

void ferry__table_finish(struct ferry_device *device)
{
    for (size_t i = 0; i < device->table_size; i++) {
        while (device->table[i]) {
            struct ferry__op *op = device->table[i];
            device->table[i] = op->hash_next;
            ferry__op_unref(op);
        }
    }
    ferry__free(device->table);
}

/* --- asking ------------------------------------------------------------------------------------ */

static enum ferry_status check_ticket(ferry_device *device, ferry_ticket ticket, const char *what)
{
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: device is NULL", what);
    if (atomic_load(&device->dead) >= FERRY__CLOSED)
        return ferry__device_dead(device, what);
    if (ticket && !ferry__ticket_issued(device, ticket))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: ticket %llu was not given out by this device (%s)", what,
                           (unsigned long long)ticket, device->info.name);
    return FERRY_OK;
}

/* Under the lock. */
static enum ferry_status result_of(const struct ferry__op *op)
{
    if (!op)
        return FERRY_OK;
    if (!atomic_load(&op->done))
        return FERRY_PENDING;
    if (op->status)
        ferry__set_error(op->why);
    return op->status;
}

enum ferry_status ferry_poll(ferry_device *device, ferry_ticket ticket)
{
    enum ferry_status status = check_ticket(device, ticket, "ferry_poll");
    if (status || !ticket)
        return status;
    pthread_mutex_lock(&device->lock);
    status = result_of(ferry__table_find(device, ticket));
    pthread_mutex_unlock(&device->lock);
    return status;
}

/* The external work of this ticket, if it is not done; NULL: it is, or there is none. */
static const struct ferry__op *external_undone(struct ferry_device *device, ferry_ticket ticket)
{
    const struct ferry__op *op = ticket ? ferry__table_find(device, ticket) : NULL;
    return op && !atomic_load(&op->done) ? op : NULL;
}

/* The latest that op is behind: where that is done, one of those that it depends on may still be
 * behind another. No more of them are asked than a message is worth. */
const struct ferry__op *ferry__external_before(const struct ferry__op *op)
{
    enum { ASKED_MAX = 16 };
    if (op->kind == FERRY__OP_EXTERNAL)
        return op;
    const struct ferry__op *external = external_undone(op->device, op->behind);
    for (size_t i = 0; i < op->edge_count && i < ASKED_MAX && !external && op->behind; i++) {
        const struct ferry__op *from = op->edges[i].from;
        if (!atomic_load(&from->done))
            external =
                from->kind == FERRY__OP_EXTERNAL ? from : external_undone(op->device, from->behind);
    }
    return external;
}

static enum ferry_status time_is_over(const struct ferry__op *op, uint64_t timeout_ns)
{
    const struct ferry__op *external = ferry__external_before(op);
    if (external)
        return ferry__fail(FERRY_ERROR_TIMEOUT,
                           "ferry_wait: operation %llu is not done after %llu ns: external work "
                           "%llu is not",
                           (unsigned long long)op->ticket, (unsigned long long)timeout_ns,
                           (unsigned long long)external->ticket);
    return ferry__fail(FERRY_ERROR_TIMEOUT, "ferry_wait: operation %llu is not done after %llu ns",
                       (unsigned long long)op->ticket, (unsigned long long)timeout_ns);
}

enum ferry_status ferry_wait(ferry_device *device, ferry_ticket ticket, uint64_t timeout_ns)
{
    enum ferry_status status = timeout_ns ? ferry__in_callback("ferry_wait") : FERRY_OK;
    if (status || (status = check_ticket(device, ticket, "ferry_wait")) || !ticket)
        return status;
    pthread_mutex_lock(&device->lock);
    struct ferry__op *op = ferry__table_find(device, ticket);
    if (op) {
        ferry__op_ref(op);
        if (!ferry__op_is_done(op) && timeout_ns)
            (void)ferry__wait_until(device, ferry__op_is_done, op, ferry__deadline(timeout_ns));
        status = result_of(op);
        if (status == FERRY_PENDING)
            status = time_is_over(op, timeout_ns);
    }
    pthread_mutex_unlock(&device->lock);
    if (op)
        ferry__op_unref(op);
    return status;
}

struct idle_question {
    struct ferry_device *device;
    ferry_ticket last;
};

static bool all_done(void *arg)
{
    const struct idle_question *question = arg;
    const struct ferry__op *first = question->device->live_first;
    return !first || first->ticket > question->last;
}

enum ferry_status ferry_wait_idle(ferry_device *device)
{
    enum ferry_status status = ferry__in_callback("ferry_wait_idle");
    if (status)
        return status;
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_wait_idle: device is NULL");
    if (atomic_load(&device->dead) >= FERRY__CLOSED)
        return ferry__device_dead(device, "ferry_wait_idle");
    pthread_mutex_lock(&device->lock);
    struct idle_question question = {device, device->last_ticket};
    (void)ferry__wait_until(device, all_done, &question, FERRY_FOREVER);
    const uint64_t pushed = device->caller.pushed;
    const int cancel = ferry__cancel_off();
    while (device->caller.returned < pushed)
        pthread_cond_wait(&device->caller.idle, &device->lock);
    pthread_mutex_unlock(&device->lock);
    ferry__cancel_on(cancel);
    return FERRY_OK;
}

/* --- the callback thread ------------------------------------------------------------------------ */

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
    ferry__log(FERRY_LOG_WARN, "%s is closed inside a callback: done after it", device->info.name);
    device->close_next = closing;
    closing = device;
}

static void run_call(struct ferry_device *device, struct ferry__call *call)
{
    const uint64_t begin_ns = device->trace ? ferry__now_ns() : 0;
    ferry__set_error(call->why);
    inside_callback = true;
    call->callback(call->status, call->ticket, call->user);
    inside_callback = false;
    if (begin_ns)
        ferry__trace_callback(device, call, begin_ns);
    FERRY__ADD(&device->metrics, callbacks, 1);
    ferry__free(call);
}

static void *run_close(void *arg)
{
    ferry__device_close_now(arg);
    return NULL;
}

/* On a thread of its own: closing waits for the device's callback thread, and of two devices' threads
 * each may have been asked to close the other's. False: there is no thread. */
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
            ferry__device_close_now(device);
    }
    return own_too;
}

/* Runs the first call in the list, without the lock; true: it asked to close this device. */
static bool run_first(struct ferry_device *device)
{
    struct ferry__caller *caller = &device->caller;
    struct ferry__call *call = caller->first;
    caller->first = call->next;
    if (!caller->first)
        caller->last = NULL;
    pthread_mutex_unlock(&device->lock);
    run_call(device, call);
    const bool close_own = close_asked(device);
    pthread_mutex_lock(&device->lock);
    caller->returned++;
    pthread_cond_broadcast(&caller->idle);
    return close_own;
}

static void *run_caller(void *arg)
{
    struct ferry_device *device = arg;
    struct ferry__caller *caller = &device->caller;
    pthread_mutex_lock(&device->lock);
    while (!caller->closing)
        if (caller->first)
            caller->closing = run_first(device);
        else if (caller->stop)
            break;
        else
            pthread_cond_wait(&caller->work, &device->lock);
    const bool closing_own = caller->closing;
    pthread_mutex_unlock(&device->lock);
    if (closing_own) { /* nobody joins this thread; it ends with the device */
        pthread_detach(pthread_self());
        ferry__device_close_now(device);
    }
    return NULL;
}

bool ferry__caller_drain(struct ferry_device *device)
{
    struct ferry__caller *caller = &device->caller;
    const bool any = caller->returned < caller->pushed;
    while (caller->returned < caller->pushed)
        if (caller->closing)
            run_first(device); /* this is the thread that runs them */
        else
            pthread_cond_wait(&caller->idle, &device->lock);
    return any;
}

enum ferry_status ferry__caller_start(struct ferry_device *device)
{
    struct ferry__caller *caller = &device->caller;
    int error = 0;
    pthread_mutex_lock(&device->lock);
    if (!caller->started) {
        error = ferry__thread_start(&caller->thread, "ferry-callback", run_caller, device);
        caller->started = !error;
    }
    pthread_mutex_unlock(&device->lock);
    if (!error)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no thread for callbacks: error %d", error);
}

enum ferry_status ferry__call_prepare(struct ferry_device *device, ferry_callback callback,
                                      void *user, struct ferry__call **out_call)
{
    if (!callback)
        return FERRY_OK;
    const enum ferry_status status = ferry__caller_start(device);
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
    pthread_mutex_lock(&device->lock);
    ferry__caller_push(device, call);
    pthread_mutex_unlock(&device->lock);
}

void ferry__caller_push(struct ferry_device *device, struct ferry__call *call)
{
    struct ferry__caller *caller = &device->caller;
    call->next = NULL;
    *(caller->last ? &caller->last->next : &caller->first) = call;
    caller->last = call;
    caller->pushed++;
    pthread_cond_signal(&caller->work);
}

void ferry__caller_finish(struct ferry_device *device)
{
    struct ferry__caller *caller = &device->caller;
    pthread_mutex_lock(&device->lock);
    caller->stop = true;
    pthread_cond_broadcast(&caller->work);
    const bool join = caller->started && !caller->closing;
    pthread_mutex_unlock(&device->lock);
    if (join)
        pthread_join(caller->thread, NULL);
}
