/* The user's own work: events that are recorded in his streams, and waits put into them. */
#include "cuda_internal.h"

#include <stdio.h>

/* --- events ----------------------------------------------------------------------------------- */

enum ferry_status ferry__cuda_event_create(void *state, uint64_t *out_event, char *why)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    struct cuda_event *event = ferry__alloc(sizeof *event);
    if (!event) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for an event");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (!status) {
        const cu_result result = c->cu.EventCreate(&event->event, CU_EVENT_NO_TIMING);
        if (result)
            status = ferry__cuda_fail(c, result, "cuEventCreate", why);
        ferry__cuda_leave(c, &scope);
    }
    if (status) {
        ferry__free(event);
        return status;
    }
    event->point.external = true;
    *out_event = (uint64_t)(uintptr_t)event;
    return FERRY_OK;
}

void ferry__cuda_event_destroy(void *state, uint64_t handle)
{
    struct cuda *c = state;
    struct cuda_event *event = cuda_event_of(handle);
    struct cuda_scope scope;
    if (!ferry__cuda_enter(c, &scope, NULL)) {
        (void)c->cu.EventDestroy(event->event);
        ferry__cuda_leave(c, &scope);
    }
    ferry__free(event);
}

static void reach(struct cuda_event *event, uint64_t value)
{
    uint64_t reached = atomic_load(&event->reached);
    while (reached < value && !atomic_compare_exchange_weak(&event->reached, &reached, value)) {
    }
}

void ferry__cuda_event_signal(void *state, uint64_t event, uint64_t value)
{
    reach(cuda_event_of(event), value);
    ferry__cuda_wake(state);
}

uint64_t ferry__cuda_event_reached(struct cuda *c, struct cuda_event *event)
{
    const uint64_t recorded = atomic_load(&event->recorded);
    if (atomic_load(&event->reached) < recorded) {
        unsigned errors = atomic_load(&event->query_errors);
        if (ferry__cuda_query_tells(c, c->cu.EventQuery(event->event), &errors, "cuEventQuery"))
            reach(event, recorded);
        atomic_store(&event->query_errors, errors);
    }
    return atomic_load(&event->reached);
}

cu_result ferry__cuda_put_wait(struct cuda *c, cu_stream stream, const struct ferry_sync *wait)
{
    struct cuda_queue *queue = cuda_queue_of(wait->event);
    if (queue)
        return ferry__cuda_queue_wait(c, stream, queue, wait->value);
    struct cuda_event *event = cuda_event_of(wait->event);
    /* What was not recorded was raised by the host: there is nothing to wait for. */
    if (atomic_load(&event->reached) >= wait->value || atomic_load(&event->recorded) < wait->value)
        return CU_SUCCESS;
    return c->cu.StreamWaitEvent(stream, event->event, 0);
}

/* --- the user's streams ----------------------------------------------------------------------- */

/* A handle that CUDA does not take, or one of another context, is the caller's mistake. */
static enum ferry_status stream_failed(struct cuda *c, cu_result result, const char *call,
                                       char *why)
{
    if (result == CU_ERROR_STREAM_CAPTURE_IMPLICIT ||
        result == CU_ERROR_STREAM_CAPTURE_UNSUPPORTED) {
        snprintf(why, FERRY__WHY_MAX, "the legacy stream cannot be used while a stream captures");
        return FERRY_ERROR_UNSUPPORTED;
    }
    const enum ferry_status status = ferry__cuda_fail(c, result, call, why);
    return result == CU_ERROR_INVALID_HANDLE || result == CU_ERROR_INVALID_CONTEXT ||
                   result == CU_ERROR_INVALID_VALUE
               ? FERRY_ERROR_INVALID_ARGUMENT
               : status;
}

/* Within enter and leave. */
static enum ferry_status check_capture(struct cuda *c, cu_stream stream, char *why)
{
    cu_capture_status capture = CU_CAPTURE_NONE;
    const cu_result result = c->cu.StreamIsCapturing(stream, &capture);
    if (result)
        return stream_failed(c, result, "cuStreamIsCapturing", why);
    if (capture == CU_CAPTURE_NONE)
        return FERRY_OK;
    snprintf(why, FERRY__WHY_MAX,
             "the stream is capturing a graph: its work would run later, out of Ferry's order");
    return FERRY_ERROR_UNSUPPORTED;
}

enum ferry_status ferry__cuda_stream_check(struct cuda *c, cu_stream stream, char *why)
{
    struct cuda_scope scope;
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (status)
        return status;
    status = check_capture(c, stream, why);
    ferry__cuda_leave(c, &scope);
    return status;
}

enum ferry_status ferry__cuda_stream_wait(struct cuda *c, cu_stream stream,
                                          const struct ferry_sync *waits, size_t count, char *why)
{
    struct cuda_scope scope;
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (status)
        return status;
    status = check_capture(c, stream, why);
    for (size_t i = 0; i < count && !status; i++) {
        const cu_result result = ferry__cuda_put_wait(c, stream, &waits[i]);
        if (result)
            status = stream_failed(c, result, "cuStreamWaitEvent", why);
    }
    ferry__cuda_leave(c, &scope);
    return status;
}

enum ferry_status ferry__cuda_stream_record(struct cuda *c, cu_stream stream,
                                            const struct ferry_sync *sync, char *why)
{
    struct cuda_event *event = cuda_event_of(sync->event);
    struct cuda_scope scope;
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (status)
        return status;
    status = check_capture(c, stream, why);
    if (!status) {
        const cu_result result = c->cu.EventRecord(event->event, stream);
        if (result)
            status = stream_failed(c, result, "cuEventRecord", why);
        else
            atomic_store(&event->recorded, sync->value);
    }
    ferry__cuda_leave(c, &scope);
    return status;
}
