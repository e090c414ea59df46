#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "base/thread.h"
#include "engine/callback.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "engine/ticket.h"
#include "engine/waiter.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

/* What the user asks of tickets, and waits for. */

/* --- asking ----------------------------------------------------------------------------------- */

static enum ferry_status check_ticket(ferry_device *device, ferry_ticket ticket, const char *what)
{
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: device is NULL", what);
    if (atomic_load(&device->dead) >= FERRY__CLOSED)
        return ferry__device_dead(device, what);
    if (ticket && !ferry__ticket_issued(device, ticket))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: ticket %llu was not given out by this device (%s)", what,
                           (unsigned long long)ticket, device->gpu.info.name);
    return FERRY_OK;
}

enum ferry_status ferry_poll(ferry_device *device, ferry_ticket ticket)
{
    enum ferry_status status = check_ticket(device, ticket, "ferry_poll");
    if (status || !ticket)
        return status;
    ferry__device_lock(device);
    status = ferry__ticket_status(device, ticket);
    ferry__device_unlock(device);
    return status;
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
    ferry__device_lock(device);
    struct ferry__op *op = ferry__ticket_find(device, ticket);
    if (op && ferry__op_is_told(op))
        op = NULL;
    if (op) {
        ferry__op_ref(op);
        if (timeout_ns)
            (void)ferry__wait_until(device, ferry__op_is_told, op, ferry__deadline(timeout_ns));
    }
    status = ferry__ticket_status(device, ticket);
    if (status == FERRY_PENDING)
        status = time_is_over(op, timeout_ns);
    ferry__device_unlock(device);
    if (op)
        ferry__op_unref(op);
    return status;
}

/* --- several tickets ------------------------------------------------------------------------- */

/* How many are asked before the lock is given up. */
enum { ASKED_AT_ONCE = 256 };

struct many {
    struct ferry_device *device;
    const ferry_ticket *tickets;
    size_t count, index;
    uint64_t seen; /* of device->awaited_done */
};

/* NULL: it is done. */
static struct ferry__op *op_of(const struct many *many, size_t i)
{
    const ferry_ticket ticket = many->tickets[i];
    struct ferry__op *op = ticket ? ferry__ticket_find(many->device, ticket) : NULL;
    return op && !atomic_load(&op->told) ? op : NULL;
}

/* All of them, or so many that the lock is to be given up. Those before index were done when they
 * were last looked at, and stay so. */
static bool some_are_done(void *arg)
{
    struct many *many = arg;
    size_t asked = 0;
    while (many->index < many->count && asked < ASKED_AT_ONCE && !op_of(many, many->index)) {
        many->index++;
        asked++;
    }
    return many->index == many->count || asked == ASKED_AT_ONCE;
}

/* False: the deadline came first. */
static bool await_all(struct many *many, uint64_t timeout_ns)
{
    const uint64_t deadline_ns = ferry__deadline(timeout_ns);
    while (many->index < many->count) {
        if (!some_are_done(many) &&
            !(timeout_ns && ferry__wait_until(many->device, some_are_done, many, deadline_ns)))
            return false;
        ferry__breathe(many->device);
    }
    return true;
}

/* Those that are not are marked: device->awaited_done counts the ends of such. */
static bool find_done(struct many *many)
{
    many->seen = many->device->awaited_done;
    for (many->index = 0; many->index < many->count; many->index++) {
        struct ferry__op *op = op_of(many, many->index);
        if (!op)
            return true;
        op->awaited = true;
        ferry__breathe_each(many->device, many->index, ASKED_AT_ONCE);
    }
    return false;
}

static bool one_has_ended(void *arg)
{
    const struct many *many = arg;
    return many->device->awaited_done != many->seen;
}

static bool await_any(struct many *many, uint64_t timeout_ns)
{
    const uint64_t deadline_ns = ferry__deadline(timeout_ns);
    bool found;
    while (!(found = find_done(many)))
        if (!timeout_ns || !ferry__wait_until(many->device, one_has_ended, many, deadline_ns))
            break;
    return found;
}

static enum ferry_status check_tickets(ferry_device *device, const ferry_ticket *tickets,
                                       size_t count, uint64_t timeout_ns, const char *what)
{
    enum ferry_status status = timeout_ns ? ferry__in_callback(what) : FERRY_OK;
    if (status)
        return status;
    if (!device || (count && !tickets) || count > SIZE_MAX / sizeof *tickets)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: no device or no tickets: device %p, %zu tickets at %p", what,
                           (void *)device, count, (const void *)tickets);
    if (!count)
        return check_ticket(device, 0, what);
    for (size_t i = 0; i < count && !status; i++)
        status = check_ticket(device, tickets[i], what);
    return status;
}

enum ferry_status ferry_wait_all(ferry_device *device, const ferry_ticket *tickets, size_t count,
                                 uint64_t timeout_ns)
{
    enum ferry_status status = check_tickets(device, tickets, count, timeout_ns, "ferry_wait_all");
    if (status)
        return status;
    struct many many = {.device = device, .tickets = tickets, .count = count};
    ferry__device_lock(device);
    if (!await_all(&many, timeout_ns))
        status = ferry__fail(FERRY_ERROR_TIMEOUT,
                             "ferry_wait_all: operation %llu, number %zu of %zu, is not done after "
                             "%llu ns",
                             (unsigned long long)tickets[many.index], many.index, count,
                             (unsigned long long)timeout_ns);
    for (size_t i = 0; i < count && !status; i++) {
        status = ferry__ticket_status(device, tickets[i]);
        ferry__breathe_each(device, i, ASKED_AT_ONCE);
    }
    ferry__device_unlock(device);
    return status;
}

enum ferry_status ferry_wait_any(ferry_device *device, const ferry_ticket *tickets, size_t count,
                                 uint64_t timeout_ns, size_t *out_index)
{
    enum ferry_status status = check_tickets(device, tickets, count, timeout_ns, "ferry_wait_any");
    if (status)
        return status;
    if (!count || !out_index)
        return ferry__fail(
            FERRY_ERROR_INVALID_ARGUMENT,
            "ferry_wait_any: no tickets, or nowhere to put the index: %zu tickets, out_index %p",
            count, (void *)out_index);
    struct many many = {.device = device, .tickets = tickets, .count = count};
    ferry__device_lock(device);
    if (!await_any(&many, timeout_ns))
        status = ferry__fail(FERRY_ERROR_TIMEOUT,
                             "ferry_wait_any: none of %zu operations is done after %llu ns", count,
                             (unsigned long long)timeout_ns);
    ferry__device_unlock(device);
    if (!status)
        *out_index = many.index;
    return status;
}

/* --- all of a device ------------------------------------------------------------------------- */

struct idle_question {
    struct ferry_device *device;
    ferry_ticket last;
};

static bool all_done(void *arg)
{
    const struct idle_question *question = arg;
    const struct ferry__op *first = ferry__living(question->device->living.first);
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
    ferry__device_lock(device);
    struct idle_question question = {device, device->last_ticket};
    (void)ferry__wait_until(device, all_done, &question, FERRY_FOREVER);
    const uint64_t pushed = device->callbacks.pushed;
    const int cancel = ferry__cancel_off();
    while (device->callbacks.returned < pushed)
        ferry__cond_wait(&device->callbacks.idle, &device->lock);
    ferry__device_unlock(device);
    ferry__cancel_on(cancel);
    return FERRY_OK;
}
