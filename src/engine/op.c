#include "engine/op.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/status.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/footprint.h"
#include "engine/reason.h"
#include "engine/ticket.h"

#include <assert.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* The life of an op: made, referenced, let go once it is done. */

struct ferry__op *ferry__op_create(struct ferry_device *device, const struct ferry__op_type *type,
                                   unsigned room)
{
    const size_t size = sizeof(struct ferry__op) + room * sizeof(struct ferry__range);
    struct ferry__op *op = ferry__alloc(size);
    assert(room >= 1 && room <= 15);
    if (!op) {
        (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes", size);
        return NULL;
    }
    op->device = device;
    op->type = type;
    op->room = (uint8_t)(room & 15);
    atomic_init(&op->refs, 1);
    return op;
}

void ferry__op_become(struct ferry__op *op, enum ferry__op_state state)
{
#define TO(name) (1u << FERRY__STATE_##name)
    static const unsigned next[FERRY__STATE_COUNT] = {
        [FERRY__STATE_PARKED] = TO(READY) | TO(OPEN) | TO(SUBMITTED),
        [FERRY__STATE_READY] = TO(RECORDING) | TO(PARKED) | TO(RECORDED),
        [FERRY__STATE_RECORDING] = TO(READY) | TO(BLOCKED) | TO(SUSPENDED) | TO(RECORDED),
        [FERRY__STATE_BLOCKED] = TO(READY) | TO(PARKED),
        [FERRY__STATE_SUSPENDED] = TO(READY) | TO(PARKED),
        [FERRY__STATE_OPEN] = TO(SUBMITTED) | TO(DONE),
        [FERRY__STATE_RECORDED] = TO(SUBMITTED) | TO(DONE),
        [FERRY__STATE_SUBMITTED] = TO(DONE),
    };
#undef TO
    assert(next[op->state] & 1u << state);
    (void)next;
    op->state = state;
}

void ferry__op_ref(struct ferry__op *op)
{
    atomic_fetch_add_explicit(&op->refs, 1, memory_order_relaxed);
}

/* Lets go what only an op in flight needs. */
static void let_go(struct ferry__op *op)
{
    for (size_t i = 0; i < ferry__op_edge_count(op); i++)
        ferry__op_unref(ferry__op_from(op, i));
    if (op->many_edges)
        ferry__free(op->edges);
    op->many_edges = false;
    op->one_edge.from = NULL;
    if (op->type->release)
        op->type->release(op);
}

/* It failed, and its ticket may be asked for: that is kept, in the op's own memory. */
static bool keep_failure(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    ferry__device_lock(device);
    const bool kept = op->kept;
    if (kept)
        ferry__ticket_keep(device, op);
    ferry__device_unlock(device);
    return kept;
}

void ferry__op_unref(struct ferry__op *op)
{
    if (atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel) != 1)
        return;
    let_go(op);
    ferry__footprint_free(op);
    if (op->has_call)
        ferry__free(ferry__op_take_call(op));
    if (op->status && keep_failure(op))
        return;
    ferry__reason_unref(op->why);
    ferry__free(op);
}

void ferry__op_unref_locked(struct ferry__op *op)
{
    atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel);
}

/* --- why it failed: the call has the reason, while it has not had its turn ------------------- */

enum ferry_status ferry__op_set_call(struct ferry__op *op, ferry_callback callback, void *user)
{
    struct ferry__call *call = NULL;
    const enum ferry_status status = ferry__call_prepare(op->device, callback, user, &call);
    if (call) {
        op->call = call;
        op->has_call = true;
    }
    return status;
}

struct ferry__call *ferry__op_take_call(struct ferry__op *op)
{
    struct ferry__call *call = op->call;
    op->has_call = false;
    op->why = call->why;
    call->why = NULL;
    return call;
}

static struct ferry__reason **why_of(struct ferry__op *op)
{
    return op->has_call ? &op->call->why : &op->why;
}

struct ferry__reason *ferry__op_why(const struct ferry__op *op)
{
    return op->has_call ? op->call->why : op->why;
}

void ferry__op_set_why(struct ferry__op *op, struct ferry__reason *why)
{
    struct ferry__reason **place = why_of(op), *old = *place;
    *place = ferry__reason_ref(why);
    ferry__reason_unref(old);
}

/* Ops that fail one after another mostly fail for the same: then they share the text. */
void ferry__op_explain(struct ferry__op *op, const char *text)
{
    struct ferry_device *device = op->device;
    if (ferry__op_why(op))
        return;
    if (!device->reason || strcmp(ferry__reason_text(device->reason), text) != 0) {
        ferry__reason_unref(device->reason);
        device->reason = ferry__reason_make(text);
    }
    ferry__op_set_why(op, device->reason);
}

void ferry__op_resume(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    ferry__device_lock(device);
    op->resumed = true;
    ferry__ready_again(op, FERRY__STATE_SUSPENDED);
    ferry__kick(device);
    ferry__device_unlock(device);
}

static void resume_all(struct ferry__op *list)
{
    while (list) {
        struct ferry__op *op = list;
        struct ferry_device *device = op->device;
        list = op->resume_next;
        ferry__op_resume(op);
        ferry__op_unref(op);
        ferry__device_unref(device);
    }
}

void ferry__reap(struct ferry_device *device)
{
    while (device->dead_ops.first || device->to_resume) {
        struct ferry__list dead = ferry__list_take(&device->dead_ops);
        struct ferry__op *to_resume = device->to_resume;
        struct ferry__link *link;
        device->to_resume = NULL;
        device->reaping++;
        ferry__device_unlock(device);
        resume_all(to_resume);
        while ((link = ferry__list_pop(&dead))) {
            struct ferry__op *op = FERRY__OF_LINK(link, struct ferry__op, dead);
            if (op->type->done)
                op->type->done(op);
            let_go(op);
            ferry__op_unref(op);
        }
        ferry__device_lock(device);
        if (--device->reaping == 0)
            ferry__changed(device);
    }
}
