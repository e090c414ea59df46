#include "engine/external.h"

#include "base/alloc.h"
#include "engine/buffer.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/footprint.h"
#include "engine/join.h"
#include "engine/judge.h"
#include "engine/op.h"
#include "engine/work_event.h"

#include <ferry/ferry.h>
#include <stdio.h>

/* External work as the engine sees it: listed while it is not done, and ended. */

void ferry__external_end(struct ferry__op *work, enum ferry_status status, const char *why)
{
    struct ferry_device *device = work->device;
    const bool by_stream = device->gpu.limits.events_by_stream;
    const bool recorded = work->own_event && work->own_event->recorded;
    work->ended = true;
    ferry__list_remove(&device->open_works, &work->work);
    if (status) {
        work->status = status;
        char text[FERRY__WHY_MAX];
        snprintf(text, sizeof text, "external work %llu: %s", (unsigned long long)work->ticket,
                 why);
        ferry__op_explain(work, text);
    }
    if (status || (by_stream && !recorded)) {
        /* What follows waits for this alone: the event is raised once all before it is done. */
        work->unsignalled = work->own_event;
    } else if (work->own_event) {
        work->in_flight = 1;
        ferry__list_push(&device->works, &work->work);
        if (device->polling)
            device->gpu.driver->wake(device->gpu.state);
    }
    /* Where nothing can be waited for that is not recorded, what follows stays parked till then. */
    if (work->own_event && !(by_stream && work->unsignalled))
        ferry__op_submitted(work);
    ferry__op_try_done(work);
    ferry__kick(device);
    ferry__reap(device);
}

/* Last of all its event is raised, where it is Ferry's to raise, and goes back to the others. */
static void judge_external(struct ferry__op *work)
{
    struct ferry_device *device = work->device;
    ferry__judge_uses(work);
    if (work->unsignalled)
        device->gpu.driver->event_signal(device->gpu.state, work->event, work->raised);
    if (!work->own_event)
        return;
    work->own_event->aside = work->status != FERRY_OK;
    ferry__work_event_give(device, work->own_event);
}

static void release_uses(struct ferry__op *op)
{
    for (size_t i = 0, times; i < op->use_count; i += times) {
        times = ferry__uses_alike(op->uses + i, op->use_count - i);
        ferry__buffer_unref_times(op->uses[i].buffer, (unsigned)times);
    }
    ferry__free(op->uses);
    op->uses = NULL;
    op->use_count = 0;
}

static void release_marker(struct ferry__op *op)
{
    ferry__join_release(op);
    release_uses(op);
}

const struct ferry__op_type ferry__external_type = {
    .kind = FERRY__OP_EXTERNAL,
    .judge = judge_external,
    .release = release_uses,
};

const struct ferry__op_type ferry__marker_type = {
    .kind = FERRY__OP_JOIN,
    .judge = ferry__judge_uses,
    .release = release_marker,
};
