#include "api/external.h"

#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/external.h"
#include "engine/footprint.h"
#include "engine/join.h"
#include "engine/op.h"
#include "engine/register.h"
#include "engine/ticket.h"
#include "engine/waiter.h"
#include "engine/work_event.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

/*
 * The user's own work as an op: it takes its place like any other, is handed over when the user
 * says so, and done when its event is reached, or, without events, when the user says so.
 */

static enum ferry_status check_use(const ferry_device *device, const struct ferry_use *use,
                                   size_t index)
{
    const unsigned both = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE;
    if (!use->buffer || !use->access || (use->access & ~both))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_external_begin: use %zu is not valid: buffer %p, access 0x%x",
                           index, (void *)use->buffer, use->access);
    if (use->buffer->device != device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_external_begin: use %zu: %s belongs to another device (%s)",
                           index, ferry__label(use->buffer), use->buffer->device->gpu.info.name);
    if (ferry__in_range(use->offset, use->size, use->buffer->size) &&
        use->offset < use->buffer->size)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                       "ferry_external_begin: use %zu: size %zu at offset %zu exceeds %s (%zu "
                       "bytes)",
                       index, use->size, use->offset, ferry__label(use->buffer), use->buffer->size);
}

static enum ferry_status check_uses(const ferry_device *device, const struct ferry_use *uses,
                                    size_t count)
{
    enum ferry_status status = FERRY_OK;
    if (count > SIZE_MAX / sizeof *uses)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_external_begin: %zu uses are too many", count);
    for (size_t i = 0; i < count && !status; i++)
        status = check_use(device, &uses[i], i);
    return status;
}

/* An op that uses the buffers as the user said, and holds them. A join needs no place of its own:
 * it follows what the work must. */
static enum ferry_status make_op(struct ferry_device *device, const struct ferry__op_type *type,
                                 const struct ferry_use *uses, size_t count,
                                 struct ferry__op **out_op)
{
    const bool join = type->kind == FERRY__OP_JOIN;
    struct ferry__op *op = join ? ferry__join_create(device, type)
                                : ferry__op_create(device, type, count < 16 ? (unsigned)count : 1);
    if (!op)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (ferry__uses_keep(op, uses, count) || (!join && ferry__footprint_uses(op))) {
        ferry__op_unref(op);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    op->keep = true;
    *out_op = op;
    return FERRY_OK;
}

static bool may_begin(void *arg)
{
    return ((struct ferry__op *)arg)->deps_unsubmitted == 0;
}
static bool is_ready(void *arg)
{
    return ((struct ferry__op *)arg)->deps_undone == 0;
}

/* False: there is no room for it. */
static bool list_wait(struct ferry_external *out, uint64_t event, uint64_t value)
{
    size_t at = 0;
    while (at < out->wait_count && out->waits[at].event != event)
        at++;
    if (at == sizeof out->waits / sizeof *out->waits)
        return false;
    if (at == out->wait_count)
        out->waits[out->wait_count++].value = 0;
    out->waits[at].event = event;
    if (out->waits[at].value < value)
        out->waits[at].value = value;
    return true;
}

/* out: a struct ferry_external. */
static bool list_work(void *out, struct ferry__op *work)
{
    return list_wait(out, work->event, work->raised);
}

/* What the user's queue has to wait for, as the join of all before the work knows. False: more
 * events than fit. */
static bool list_waits(const struct ferry__op *ready, struct ferry_external *out)
{
    out->wait_count = 0;
    if (atomic_load(&ready->done)) /* it has let its join go, or is about to */
        return true;
    const struct ferry__join *join = ready->join;
    bool fits = true;
    for (size_t q = 0; q < FERRY__QUEUES_MAX && fits; q++)
        if (join->latest[q])
            fits = list_wait(out, ready->device->queues[q].event, join->latest[q]);
    return fits && ferry__join_each_work(ready, list_work, out);
}

/* Registers both in one step: ready first, so that it has the smaller ticket. */
static enum ferry_status enter(struct ferry__op *ready, struct ferry__op *work,
                               struct ferry_external *out)
{
    struct ferry_device *device = work->device;
    ferry__await_turn(work);
    const enum ferry_status status = ferry__enqueue_behind(ready, work);
    if (status)
        return status;
    ferry__list_push(&device->open_works, &work->work);
    FERRY__ADD(&device->gpu.metrics, external_works, 1);
    ferry__kick(device);
    (void)ferry__wait_until(device, may_begin, work, FERRY_FOREVER);
    *out = (struct ferry_external){.ready = ready->ticket, .ticket = work->ticket};
    if (!work->own_event)
        return FERRY_OK;
    out->signal = (struct ferry_sync){work->event, work->raised};
    if (!list_waits(ready, out)) {
        (void)ferry__wait_until(device, is_ready, work, FERRY_FOREVER);
        out->wait_count = 0;
    }
    return FERRY_OK;
}

enum ferry_status ferry__external_begin(ferry_device *device, const struct ferry_use *uses,
                                        size_t count, bool by_event,
                                        struct ferry_external *out_external)
{
    enum ferry_status status = ferry__in_callback("ferry_external_begin");
    if (status)
        return status;
    if (!device || !uses || !count || !out_external)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_external_begin: an argument is NULL or 0: device %p, uses %p, "
                           "count %zu, out_external %p",
                           (void *)device, (const void *)uses, count, (void *)out_external);
    struct ferry__op *ready = NULL, *work = NULL;
    if ((status = ferry__device_dead(device, "ferry_external_begin")) ||
        (status = check_uses(device, uses, count)) || (status = ferry__engine_start(device)) ||
        (status = make_op(device, &ferry__marker_type, uses, count, &ready)) ||
        (status = make_op(device, &ferry__external_type, uses, count, &work)))
        goto release;
    if (by_event) {
        if ((status = ferry__work_event_take(device, &work->own_event)))
            goto release;
        work->event = work->own_event->handle;
        work->raised = work->own_event->value;
    }
    ferry__choose_queue(work);
    ferry__device_lock(device);
    status = enter(ready, work, out_external);
    if (status && work->own_event)
        ferry__work_event_give(device, work->own_event);
    ferry__device_unlock(device);
release:
    if (ready)
        ferry__op_unref(ready);
    if (work)
        ferry__op_unref(work);
    return status;
}

enum ferry_status ferry_external_begin(ferry_device *device, const struct ferry_use *uses,
                                       size_t count, struct ferry_external *out_external)
{
    const bool by_event =
        device && device->gpu.limits.has_events && !device->gpu.limits.events_by_stream;
    return ferry__external_begin(device, uses, count, by_event, out_external);
}

/* What becomes of work on a device: a ticket that follows it may say no more (R10). */
static bool may_end(enum ferry_status status)
{
    return !status || status == FERRY_ERROR_EXECUTION_FAILED || status == FERRY_ERROR_DEVICE_LOST ||
           status == FERRY_ERROR_IO || status == FERRY_ERROR_INTERNAL;
}

/* Under the lock. */
static enum ferry_status find_open(ferry_device *device, ferry_ticket ticket,
                                   struct ferry__op **out_work)
{
    const bool issued = ferry__ticket_issued(device, ticket);
    struct ferry__op *work = issued ? ferry__ticket_find(device, ticket) : NULL;
    if (issued && atomic_load(&device->dead) &&
        (!work || (work->type->kind == FERRY__OP_EXTERNAL && work->ended)))
        return ferry__device_dead(device, "ferry_external_end");
    if (!work || work->type->kind != FERRY__OP_EXTERNAL || work->ended)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_external_end: ticket %llu is not of external work in progress",
                           (unsigned long long)ticket);
    *out_work = work;
    return FERRY_OK;
}

enum ferry_status
ferry__external_record(ferry_device *device, ferry_ticket ticket,
                       enum ferry_status (*record)(void *user, struct ferry_sync sync), void *user)
{
    struct ferry__op *work = NULL;
    struct ferry_sync sync = {0};
    if (atomic_load(&device->dead) >= FERRY__CLOSED)
        return ferry__device_dead(device, "ferry_external_end");
    ferry__device_lock(device);
    enum ferry_status status = find_open(device, ticket, &work);
    if (!status && !work->own_event)
        status = ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                             "external work %llu was begun without a stream",
                             (unsigned long long)ticket);
    if (!status) {
        sync = (struct ferry_sync){work->event, work->raised};
        ferry__op_ref(work);
    }
    ferry__device_unlock(device);
    if (status)
        return status;
    status = record(user, sync);
    ferry__device_lock(device);
    if (!status && !work->ended)
        work->own_event->recorded = true;
    ferry__device_unlock(device);
    ferry__op_unref(work);
    return status;
}

enum ferry_status ferry_external_end(ferry_device *device, ferry_ticket ticket,
                                     enum ferry_status status)
{
    struct ferry__op *work = NULL;
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_external_end: device is NULL");
    if (atomic_load(&device->dead) >= FERRY__CLOSED)
        return ferry__device_dead(device, "ferry_external_end");
    if (!may_end(status))
        return ferry__fail(
            FERRY_ERROR_INVALID_ARGUMENT,
            "ferry_external_end: external work cannot end with status %d (%s), only with OK, "
            "EXECUTION_FAILED, DEVICE_LOST, IO or INTERNAL",
            (int)status, ferry_status_name(status));
    ferry__device_lock(device);
    const enum ferry_status result = find_open(device, ticket, &work);
    if (!result)
        ferry__external_end(work, status, ferry_status_text(status));
    ferry__device_unlock(device);
    return result;
}
