#include "paths/stream.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/status.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "engine/ticket.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

/*
 * How a stream begins, fails, and ends. While a function of the user's runs its op cannot be done:
 * it is being recorded, or counted in op->moving.
 */

struct ferry_stream *ferry__stream_create(struct ferry__op *op)
{
    struct ferry_stream *stream = ferry__alloc(sizeof *stream);
    if (!stream) {
        (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *stream);
        return NULL;
    }
    stream->op = op;
    op->stream = stream;
    return stream;
}

enum ferry_status ferry__stream_prepare(struct ferry__op *op)
{
    const struct ferry__stream_side *side = ferry__side_of(ferry__op_transfers(op));
    if (!side || !side->methods.cancel || ferry__stream_create(op))
        return FERRY_OK;
    return FERRY_ERROR_OUT_OF_HOST_MEMORY;
}

void ferry__side_ref(struct ferry__stream_side *side)
{
    atomic_fetch_add_explicit(&side->refs, 1, memory_order_relaxed);
}

void ferry__side_unref(struct ferry__stream_side *side)
{
    if (side && atomic_fetch_sub_explicit(&side->refs, 1, memory_order_acq_rel) == 1)
        side->release(side);
}

/* The user's own: the only transfer of its op. NULL: the library's. */
static const struct ferry__stream_side *told_side(const struct ferry_stream *stream)
{
    const struct ferry__stream_side *side =
        stream->op->count ? ferry__side_of(ferry__op_transfers(stream->op)) : NULL;
    return side && side->methods.cancel ? side : NULL;
}

/* --- the device's list of those that have begun ----------------------------------------------- */

static struct ferry_stream *stream_of(struct ferry__link *link)
{
    return link ? FERRY__OF_LINK(link, struct ferry_stream, link) : NULL;
}

/* --- failing ---------------------------------------------------------------------------------- */

/* Under device->lock. False: it was over before. */
static bool end_it(struct ferry_stream *stream, enum ferry_status status, const char *why)
{
    if (atomic_load(&stream->over))
        return false;
    struct ferry__op *op = stream->op;
    stream->status = status;
    snprintf(stream->why, sizeof stream->why, "%s", why && why[0] ? why : "the stream has failed");
    atomic_store(&stream->over, true);
    if (told_side(stream)) { /* perhaps nothing of it is to be recorded any more */
        if (!ferry__op_transfers(op)->status)
            ferry__op_transfers(op)->status = status;
        ferry__op_explain(op, stream->why);
    }
    ferry__stream_resume(op);
    return true;
}

/* Under device->lock: the next step of the engine calls cancel. */
static void cancel_later(struct ferry_stream *stream)
{
    struct ferry_device *device = stream->op->device;
    if (!stream->begun || stream->cancelled || !told_side(stream))
        return;
    stream->cancelled = stream->cancel_due = true;
    device->cancels_due = true;
    stream->op->moving++;
}

static void cancel_all(struct ferry_device *device)
{
    while (device->cancels_due) {
        struct ferry_stream *stream = stream_of(device->streams.first);
        while (stream && !stream->cancel_due)
            stream = stream_of(stream->link.next);
        if (!stream) {
            device->cancels_due = false;
            return;
        }
        struct ferry__op *op = stream->op;
        const struct ferry__stream_side *side = told_side(stream);
        stream->cancel_due = false;
        ferry__device_unlock(device);
        side->methods.cancel(side->user, stream, stream->status, stream->why);
        ferry__device_lock(device);
        op->moving--;
        ferry__op_try_done(op);
    }
}

void ferry__stream_abandon(struct ferry__op *op, enum ferry_status status, const char *why)
{
    struct ferry_stream *stream = op->stream;
    if (!stream || !told_side(stream))
        return;
    (void)end_it(stream, status, why);
    cancel_later(stream);
}

void ferry__stream_stop(struct ferry_stream *stream, enum ferry_status status, const char *why)
{
    struct ferry_device *device = stream->op->device;
    if (!told_side(stream))
        return; /* of a batch, the other transfers go on */
    ferry__device_lock(device);
    if (end_it(stream, status, why))
        cancel_later(stream);
    ferry__kick(device);
    ferry__device_unlock(device);
}

/* Under device->lock. */
static void end_all(struct ferry_device *device)
{
    const bool lost = atomic_load(&device->dead) != FERRY__ALIVE;
    const char *why = lost ? "the device is lost" : "the device was closed";
    device->streams_over = true;
    for (struct ferry__link *link = device->streams.first; link; link = link->next)
        if (end_it(stream_of(link), lost ? FERRY_ERROR_DEVICE_LOST : FERRY_ERROR_IO, why))
            cancel_later(stream_of(link));
}

bool ferry__streams_step(struct ferry_device *device)
{
    if (!device->streams_over && atomic_load(&device->dead) != FERRY__ALIVE)
        end_all(device);
    if (!device->cancels_due)
        return false;
    cancel_all(device);
    return true;
}

void ferry__streams_close(struct ferry_device *device)
{
    ferry__device_lock(device);
    end_all(device);
    cancel_all(device);
    ferry__kick(device);
    ferry__device_unlock(device);
}

/* Its turn may be long in coming, and what it does then is nothing: told now. Its side, whose end
 * is to be called; the caller has a reference, since the stream may go as soon as the lock does.
 * NULL: it has begun. Under device->lock. */
static struct ferry__stream_side *tell_ahead(struct ferry_stream *stream)
{
    struct ferry__op *op = stream->op;
    if (stream->begins || op->state >= FERRY__STATE_RECORDED)
        return NULL;
    struct ferry__stream_side *side = op->one.side;
    ferry__side_ref(side);
    op->status = stream->status;
    stream->ended = true;
    ferry__op_tell(op);
    return side;
}

static void tell_end(const struct ferry__stream_side *side, enum ferry_status status)
{
    if (side->methods.end)
        side->methods.end(side->user, status);
}

enum ferry_status ferry_stream_cancel(ferry_device *device, ferry_ticket ticket, const char *why)
{
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_stream_cancel: device is NULL");
    if (!ferry__ticket_issued(device, ticket))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_stream_cancel: ticket %llu was not given out by this device",
                           (unsigned long long)ticket);
    ferry__device_lock(device);
    const struct ferry__op *op = ferry__ticket_find(device, ticket);
    const bool lives = op && !atomic_load(&op->done);
    struct ferry_stream *stream = lives && op->type->kind == FERRY__OP_TRANSFER ? op->stream : NULL;
    const bool wrong = lives && !(stream && told_side(stream));
    const bool ends =
        stream && !wrong && end_it(stream, FERRY_ERROR_IO, why ? why : "it was cancelled");
    struct ferry__stream_side *ahead = ends ? tell_ahead(stream) : NULL;
    if (ends)
        cancel_later(stream);
    cancel_all(device);
    ferry__kick(device);
    ferry__device_unlock(device);
    if (ahead) {
        tell_end(ahead, FERRY_ERROR_IO);
        ferry__side_unref(ahead);
    }
    if (!wrong)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                       "ferry_stream_cancel: ticket %llu does not belong to a stream",
                       (unsigned long long)ticket);
}

/* --- beginning and end ------------------------------------------------------------------------ */

bool ferry__stream_begin(struct ferry_stream *stream, const struct ferry__transfer *transfer)
{
    struct ferry_device *device = stream->op->device;
    const struct ferry_stream_methods *methods = &transfer->side->methods;
    if (!methods->cancel)
        return true; /* the library's own */
    ferry__device_lock(device);
    const bool first = !stream->begun;
    if (first && device->streams_over)
        (void)end_it(stream, FERRY_ERROR_IO, "the device was closed");
    const bool begins = first && !atomic_load(&stream->over);
    stream->begins = stream->begins || begins;
    ferry__device_unlock(device);
    if (!begins)
        return !atomic_load(&stream->over);
    if (methods->begin)
        methods->begin(transfer->side->user, stream);
    ferry__device_lock(device);
    stream->begun = true;
    ferry__list_insert(&device->streams, NULL, &stream->link);
    if (device->streams_over)
        (void)end_it(stream, FERRY_ERROR_IO, "the device was closed");
    if (atomic_load(&stream->over)) /* meanwhile, and by others */
        cancel_later(stream);
    ferry__device_unlock(device);
    return !atomic_load(&stream->over);
}

void ferry__stream_done(struct ferry__op *op)
{
    struct ferry_stream *stream = op->stream;
    const struct ferry__stream_side *side = stream ? told_side(stream) : NULL;
    if (!side)
        return;
    ferry__device_lock(op->device);
    if (stream->begun)
        ferry__list_remove(&op->device->streams, &stream->link);
    const enum ferry_status status = op->status;
    const bool ended = stream->ended;
    ferry__device_unlock(op->device);
    if (!ended)
        tell_end(side, status);
}

void ferry__stream_free(struct ferry__op *op)
{
    struct ferry_stream *stream = op->stream;
    if (!stream)
        return;
    for (unsigned i = 0; i < FERRY__STREAM_DEPTH; i++)
        if (stream->reads[i].slot)
            ferry__slot_give(op->device, stream->reads[i].slot);
    ferry__slot_sated(stream);
    ferry__free(stream);
    op->stream = NULL;
}

/* --- what is wanted --------------------------------------------------------------------------- */

size_t ferry__stream_wanted(struct ferry_stream *stream, const struct ferry__stream_side *side)
{
    struct ferry_device *device = stream->op->device;
    if (side->methods.flags & FERRY_STREAM_EAGER)
        return SIZE_MAX;
    ferry__device_lock(device);
    const size_t size = stream->want_count ? stream->wants[stream->want_first] : 0;
    ferry__device_unlock(device);
    return size;
}

void ferry__stream_want_met(struct ferry_stream *stream, const struct ferry__stream_side *side)
{
    struct ferry_device *device = stream->op->device;
    if (side->methods.flags & FERRY_STREAM_EAGER)
        return;
    ferry__device_lock(device);
    stream->want_first = (stream->want_first + 1) % FERRY__STREAM_WANTS;
    stream->want_count--;
    ferry__device_unlock(device);
}

enum ferry_status ferry_stream_want(ferry_stream *stream, size_t size)
{
    if (!stream || !size)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_stream_want: %s",
                           stream ? "size is 0" : "stream is NULL");
    struct ferry_device *device = stream->op->device;
    ferry__device_lock(device);
    const bool room = stream->want_count < FERRY__STREAM_WANTS;
    if (room) {
        const unsigned at = (stream->want_first + stream->want_count++) % FERRY__STREAM_WANTS;
        stream->wants[at] = size;
        ferry__stream_resume(stream->op);
        ferry__kick(device);
    }
    ferry__device_unlock(device);
    if (room)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_POOL_EXHAUSTED,
                       "ferry_stream_want: %d chunks are wanted already", FERRY__STREAM_WANTS);
}

enum ferry_status ferry__stream_status(enum ferry_status status)
{
    const bool may = status == FERRY_ERROR_IO || status == FERRY_ERROR_INVALID_ARGUMENT ||
                     status == FERRY_ERROR_OUT_OF_HOST_MEMORY;
    return may ? status : FERRY_ERROR_INTERNAL;
}

void ferry_stream_fail(ferry_stream *stream, enum ferry_status status, const char *why)
{
    if (!stream)
        return;
    status = ferry__stream_status(status);
    struct ferry_device *device = stream->op->device;
    ferry__device_lock(device);
    if (end_it(stream, status, why))
        stream->cancelled = true; /* it knows */
    ferry__kick(device);
    ferry__device_unlock(device);
}

bool ferry_stream_over(const ferry_stream *stream)
{
    return atomic_load(&stream->over);
}
