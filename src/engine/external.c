#include "engine/external.h"

#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/judge.h"
#include "engine/op.h"
#include "engine/work_event.h"

#include <ferry/ferry.h>
#include <stdio.h>

/* External work as the engine sees it: listed while it is not done, and ended. */

void ferry__works_add(struct ferry__works *list, struct ferry__op *work)
{
    work->work_before = list->last;
    work->work_after = NULL;
    *(list->last ? &list->last->work_after : &list->first) = work;
    list->last = work;
    list->count++;
}

void ferry__works_remove(struct ferry__works *list, struct ferry__op *work)
{
    *(work->work_before ? &work->work_before->work_after : &list->first) = work->work_after;
    *(work->work_after ? &work->work_after->work_before : &list->last) = work->work_before;
    list->count--;
}

void ferry__external_end(struct ferry__op *work, enum ferry_status status, const char *why)
{
    struct ferry_device *device = work->device;
    work->ended = true;
    ferry__works_remove(&device->open_works, work);
    if (status) {
        work->status = status;
        snprintf(work->why, sizeof work->why, "external work %llu: %s",
                 (unsigned long long)work->ticket, why);
        /* What follows waits for this alone: the event is raised once all before it is done. */
        work->unsignalled = work->own_event;
    } else if (work->own_event) {
        work->in_flight = 1;
        ferry__works_add(&device->works, work);
        if (device->polling)
            device->gpu.driver->wake(device->gpu.state);
    }
    if (work->own_event)
        ferry__op_submitted(work);
    ferry__op_try_done(work);
    ferry__kick(device);
    ferry__reap(device);
}

const struct ferry__op_type ferry__external_type = {
    .kind = FERRY__OP_EXTERNAL,
    .judge = ferry__judge_uses,
};

const struct ferry__op_type ferry__marker_type = {
    .kind = FERRY__OP_MARKER,
    .judge = ferry__judge_uses,
};
