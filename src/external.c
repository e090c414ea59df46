#include "internal.h"

#include <stdio.h>
#include <string.h>

/*
 * The user's own work as an op: it takes its place like any other, is handed over when the user says
 * so, and done when its event is reached, or, without events, when the user says so.
 */

static enum ferry_status check_uses(struct ferry_device *device, const struct ferry_use *uses,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const unsigned both = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE;
        if (!uses[i].buffer || !uses[i].access || (uses[i].access & ~both))
            return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                               "ferry_external_begin: use %zu: buffer %p, access 0x%x", i,
                               (void *)uses[i].buffer, uses[i].access);
        if (uses[i].buffer->device != device)
            return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                               "ferry_external_begin: use %zu: %s belongs to another device (%s)",
                               i, ferry__label(uses[i].buffer), uses[i].buffer->device->info.name);
    }
    return FERRY_OK;
}

/* An op that uses the buffers as the user said. Its items, of size 0, hold the references. */
static enum ferry_status make_op(struct ferry_device *device, enum ferry__op_kind kind,
                                 const struct ferry_use *uses, size_t count,
                                 struct ferry__op **out_op)
{
    struct ferry__op *op = ferry__op_create(device, kind);
    if (!op)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (!(op->items = ferry__alloc(count * sizeof *op->items)))
        goto fail;
    op->count = count;
    for (size_t i = 0; i < count; i++) {
        op->items[i].dst = uses[i].buffer;
        ferry__buffer_ref(uses[i].buffer);
    }
    if (count > 2 && !(op->uses = ferry__alloc(count * sizeof *op->uses))) {
        op->uses = op->one_use;
        goto fail;
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < op->use_count && op->uses[at].buffer != uses[i].buffer)
            at++;
        if (at == op->use_count)
            op->uses[op->use_count++] =
                (struct ferry__use_node){.buffer = uses[i].buffer, .op = op};
        op->uses[at].access |= uses[i].access;
    }
    op->keep = true;
    *out_op = op;
    return FERRY_OK;
fail:
    ferry__op_unref(op);
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu buffers", count);
}

static bool is_handed(void *arg)
{
    return ((struct ferry__op *)arg)->unhanded == 0;
}
static bool is_ready(void *arg)
{
    return ((struct ferry__op *)arg)->undone == 0;
}

/* What the user's queue has to wait for. False: more events than fit, or something that never came
 * to the device, but depends on what did. */
static bool list_waits(const struct ferry__op *work, struct ferry_external *out)
{
    out->wait_count = 0;
    for (size_t i = 0; i < work->edge_count; i++) {
        const struct ferry__op *from = work->edges[i].from;
        size_t at = 0;
        if (atomic_load(&from->done))
            continue;
        if (!from->value)
            return false;
        while (at < out->wait_count && out->waits[at].event != from->event)
            at++;
        if (at == sizeof out->waits / sizeof *out->waits)
            return false;
        if (at == out->wait_count)
            out->waits[out->wait_count++].value = 0;
        out->waits[at].event = from->event;
        if (out->waits[at].value < from->value)
            out->waits[at].value = from->value;
    }
    return true;
}

/* Registers both in one step: ready first, so that it has the smaller ticket. */
static enum ferry_status enter(struct ferry__op *ready, struct ferry__op *work,
                               struct ferry_external *out)
{
    struct ferry_device *device = work->device;
    enum ferry_status status = ferry__enter(ready);
    if (status)
        return status;
    if ((status = ferry__enter(work)))
        return status;
    FERRY__ADD(&device->metrics, external_works, 1);
    ferry__kick(device);
    (void)ferry__wait_until(device, is_handed, work, FERRY_FOREVER);
    *out = (struct ferry_external){.ready = ready->ticket, .ticket = work->ticket};
    if (!device->limits.has_events)
        return FERRY_OK;
    out->signal = (struct ferry_sync){work->event, work->value};
    if (!list_waits(work, out)) {
        (void)ferry__wait_until(device, is_ready, work, FERRY_FOREVER);
        out->wait_count = 0;
    }
    return FERRY_OK;
}

enum ferry_status ferry_external_begin(ferry_device *device, const struct ferry_use *uses,
                                       size_t count, struct ferry_external *out_external)
{
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status = ferry__in_callback("ferry_external_begin");
    if (status)
        return status;
    if (!device || !uses || !count || !out_external)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_external_begin: device %p, uses %p, count %zu, out %p",
                           (void *)device, (const void *)uses, count, (void *)out_external);
    struct ferry__op *ready = NULL, *work = NULL;
    if ((status = ferry__device_dead(device, "ferry_external_begin")) ||
        (status = check_uses(device, uses, count)) || (status = ferry__engine_start(device)) ||
        (status = make_op(device, FERRY__OP_READY, uses, count, &ready)) ||
        (status = make_op(device, FERRY__OP_EXTERNAL, uses, count, &work)))
        goto release;
    if (device->limits.has_events) {
        status = device->driver->event_create(device->state, &work->event, why);
        if (status) {
            status = ferry__fail(status, "no event for external work: %s", why);
            goto release;
        }
        work->value = 1;
        work->owns_event = true;
    }
    pthread_mutex_lock(&device->lock);
    status = enter(ready, work, out_external);
    pthread_mutex_unlock(&device->lock);
release:
    if (ready)
        ferry__op_unref(ready);
    if (work)
        ferry__op_unref(work);
    return status;
}

void ferry__external_end(struct ferry__op *work, enum ferry_status status, const char *why)
{
    struct ferry_device *device = work->device;
    work->ended = true;
    if (status) {
        work->status = status;
        snprintf(work->why, sizeof work->why, "external work %llu: %s",
                 (unsigned long long)work->ticket, why);
        /* What follows waits for this alone: the event is raised once all before it is done. */
        work->unsignalled = work->owns_event;
    } else if (work->owns_event) {
        work->pending = 1;
        device->externals++;
        if (device->polling)
            device->driver->wake(device->state);
    }
    if (work->owns_event)
        ferry__op_handed(work);
    ferry__op_try_done(work);
    ferry__kick(device);
    ferry__reap(device);
}

enum ferry_status ferry_external_end(ferry_device *device, ferry_ticket ticket,
                                     enum ferry_status status)
{
    enum ferry_status result = FERRY_OK;
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_external_end: device is NULL");
    if (atomic_load(&device->dead) >= FERRY__CLOSED)
        return ferry__device_dead(device, "ferry_external_end");
    if (status == FERRY_PENDING || (unsigned)status > FERRY_ERROR_INTERNAL)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_external_end: status %d is no result", (int)status);
    pthread_mutex_lock(&device->lock);
    struct ferry__op *work =
        ferry__ticket_issued(device, ticket) ? ferry__table_find(device, ticket) : NULL;
    if (!work || work->kind != FERRY__OP_EXTERNAL || work->ended)
        result = ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                             "ferry_external_end: ticket %llu is not of external work in progress",
                             (unsigned long long)ticket);
    else
        ferry__external_end(work, status, ferry_status_text(status));
    pthread_mutex_unlock(&device->lock);
    return result;
}
