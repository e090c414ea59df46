#include "state.h"

#include <stdio.h>
#include <string.h>

enum { DRAIN_SECONDS = 5 };

/* --- lifetime --------------------------------------------------------------------------------- */

void ferry__metal_state_release(struct metal_state *state)
{
    if (atomic_fetch_sub(&state->references, 1) != 1)
        return;
    /* Not before: answers that are on their way come through it, also after close. */
    if (state->listener) {
        void *pool = mtl_pool_push();
        mtl_release(state->listener);
        mtl_pool_pop(pool);
    }
    pthread_cond_destroy(&state->changed);
    pthread_mutex_destroy(&state->raise_lock);
    pthread_mutex_destroy(&state->residency_lock);
    pthread_mutex_destroy(&state->kernels_lock);
    pthread_mutex_destroy(&state->lock);
    ferry__free(state);
}

void ferry__metal_submission_release(struct metal_submission *submission)
{
    if (atomic_fetch_sub(&submission->references, 1) != 1)
        return;
    ferry__metal_state_release(submission->queue->state);
    ferry__free(submission);
}

/* The block holds its submission: from when Metal copies it until Metal lets go of it. */
static void copy_block(void *to, const void *from)
{
    (void)from;
    struct metal_submission *submission = ((struct mtl_closure *)to)->captured;
    atomic_fetch_add(&submission->references, 1);
}

static void dispose_block(const void *block)
{
    ferry__metal_submission_release(((const struct mtl_closure *)block)->captured);
}

/* --- how a command buffer ended --------------------------------------------------------------- */

static const enum ferry_status statuses[] = {
    [MTL_ERROR_INTERNAL] = FERRY_ERROR_INTERNAL,
    [MTL_ERROR_TIMEOUT] = FERRY_ERROR_EXECUTION_FAILED,
    [MTL_ERROR_PAGE_FAULT] = FERRY_ERROR_EXECUTION_FAILED,
    [MTL_ERROR_ACCESS_REVOKED] = FERRY_ERROR_DEVICE_LOST,
    [MTL_ERROR_NOT_PERMITTED] = FERRY_ERROR_EXECUTION_FAILED,
    [MTL_ERROR_OUT_OF_MEMORY] = FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
    [MTL_ERROR_INVALID_RESOURCE] = FERRY_ERROR_EXECUTION_FAILED,
    [MTL_ERROR_MEMORYLESS] = FERRY_ERROR_EXECUTION_FAILED,
    [MTL_ERROR_DEVICE_REMOVED] = FERRY_ERROR_DEVICE_LOST,
    [MTL_ERROR_STACK_OVERFLOW] = FERRY_ERROR_EXECUTION_FAILED,
};

/* The same number means something else in another domain. */
static enum ferry_status status_of(int64_t code, const char *domain)
{
    const char *own = ferry__mtl.error_domain ? mtl_utf8(*ferry__mtl.error_domain) : NULL;
    bool known = code > 0 && code < (int64_t)(sizeof statuses / sizeof *statuses);
    if (!known || !statuses[code] || (own && strcmp(domain, own)))
        return FERRY_ERROR_EXECUTION_FAILED;
    return statuses[code];
}

static void read_failure(mtl_id commands, struct ferry__result *out)
{
    mtl_id error = mtl_commands_error(commands);
    int64_t code = mtl_error_code(error);
    const char *text = mtl_utf8(mtl_error_text(error)), *domain = mtl_utf8(mtl_error_domain(error));
    domain = domain ? domain : "no domain";
    out->status = status_of(code, domain);
    snprintf(out->why, sizeof out->why, "the command buffer failed: %s (%s %lld)",
             text ? text : "no reason given", domain, (long long)code);
}

static void read_result(mtl_id commands, struct ferry__result *out)
{
    *out = (struct ferry__result){.status = FERRY_OK};
    if (mtl_commands_status(commands) != MTL_COMMANDS_COMPLETED)
        read_failure(commands, out);
    if (MTL_RESPONDS(commands, gpu_start) && MTL_RESPONDS(commands, gpu_end)) {
        double seconds = mtl_gpu_end(commands) - mtl_gpu_start(commands);
        out->device_ns = seconds > 0 && seconds < 1e6 ? (uint64_t)(seconds * 1e9) : 0;
    }
}

/* --- in the order of values, whatever the order of completion --------------------------------- */

/* Has all that it waited for been reported? The device may well be ahead of our handlers. */
static bool may_be_reported(const struct metal_state *state,
                            const struct metal_submission *submission)
{
    for (unsigned q = 0; q < state->queue_count; q++)
        if (atomic_load(&state->queues[q].completed) < submission->waits[q])
            return false;
    return submission->done;
}

/* Takes what is done off the head of the list, and reports it: its records are written. */
static bool report_queue_locked(struct metal_queue *queue, struct metal_submission **taken)
{
    bool any = false;
    while (queue->first && may_be_reported(queue->state, queue->first)) {
        struct metal_submission *submission = queue->first;
        queue->first = submission->next;
        submission->next = *taken;
        *taken = submission;
        atomic_store(&queue->completed, submission->value);
        any = true;
    }
    if (!queue->first)
        queue->last = NULL;
    return any;
}

/* One queue's report may be what another's waits for. */
static void report_locked(struct metal_state *state, struct metal_submission **taken)
{
    bool any = true;
    while (any) {
        any = false;
        for (unsigned i = 0; i < state->queue_count; i++)
            any |= report_queue_locked(&state->queues[i], taken);
    }
    ferry__metal_changed_locked(state);
}

/* All that was submitted counts as ended: nobody waits for it any more, and its records may go.
 * Whoever sees the loss sees all results, too. */
static void lose_locked(struct metal_state *state, const char *why, struct metal_submission **taken)
{
    for (unsigned i = 0; i < state->queue_count; i++)
        for (struct metal_submission *s = state->queues[i].first; s; s = s->next) {
            if (s->result && !s->done) {
                s->result->status = FERRY_ERROR_DEVICE_LOST;
                snprintf(s->result->why, sizeof s->result->why, "%s", why);
            }
            s->result = NULL;
            s->done = true;
            memset(s->waits, 0, sizeof s->waits);
        }
    report_locked(state, taken);
    atomic_store(&state->lost, true);
}

/* What is to be done once the lock is free. The objects are retained: the state may be closed. */
struct after {
    mtl_id shared[METAL_QUEUES_MAX];
    bool repairs;
    struct metal_submission *taken;
};

static void finish(struct metal_state *state, struct after *after)
{
    if (after->repairs)
        ferry__metal_repair(state);
    for (int i = 0; i < METAL_QUEUES_MAX; i++) {
        if (after->shared[i])
            ferry__metal_raise(state, after->shared[i], atomic_load(&state->queues[i].completed));
        mtl_release(after->shared[i]);
    }
    while (after->taken) {
        struct metal_submission *next = after->taken->next;
        ferry__metal_submission_release(after->taken);
        after->taken = next;
    }
}

static void note_after_locked(struct metal_state *state, struct after *after)
{
    for (unsigned i = 0; i < state->queue_count; i++) {
        const struct metal_queue *queue = &state->queues[i];
        const bool failed = atomic_load(&queue->failed);
        if (failed || atomic_load(&state->external))
            after->shared[i] = mtl_retain(queue->event);
        after->repairs |= failed && queue->own;
    }
}

void ferry__metal_lose(struct metal_state *state, const char *why)
{
    struct after after = {.taken = NULL};
    pthread_mutex_lock(&state->lock);
    lose_locked(state, why, &after.taken);
    pthread_mutex_unlock(&state->lock);
    finish(state, &after);
}

/* On a thread of Metal's. The block that calls holds the submission, and that the state. */
static void complete(struct metal_submission *submission, mtl_id commands)
{
    struct metal_queue *queue = submission->queue;
    struct metal_state *state = queue->state;
    struct ferry__result result;
    struct after after = {.taken = NULL};
    read_result(commands, &result);

    pthread_mutex_lock(&state->lock);
    queue->in_flight--;
    if (submission->result)
        *submission->result = result;
    submission->done = true;
    if (result.status)
        atomic_store(&queue->failed, true);
    if (result.status == FERRY_ERROR_DEVICE_LOST && !atomic_load(&state->lost)) {
        lose_locked(state, result.why, &after.taken);
        for (unsigned i = 0; i < state->queue_count; i++)
            atomic_store(&state->queues[i].failed, true);
    }
    report_locked(state, &after.taken);
    note_after_locked(state, &after);
    pthread_mutex_unlock(&state->lock);
    finish(state, &after);
}

static void completed(const struct mtl_closure *block, mtl_id commands)
{
    void *pool = mtl_pool_push();
    complete(block->captured, commands);
    mtl_pool_pop(pool);
}

struct mtl_closure ferry__metal_completed_closure(struct metal_submission *submission)
{
    static const struct mtl_block_description description = {
        .size = sizeof(struct mtl_closure),
        .copy = copy_block,
        .dispose = dispose_block,
        .signature = "v16@?0@8",
    };
    return mtl_closure((void (*)(void))completed, &description, submission);
}

/* --- after a loss ----------------------------------------------------------------------------- */

static bool is_busy(const struct metal_state *state)
{
    for (unsigned i = 0; i < state->queue_count; i++)
        if (state->queues[i].in_flight)
            return true;
    return false;
}

void ferry__metal_drain(struct metal_state *state)
{
    if (!atomic_load(&state->lost))
        return;
    pthread_mutex_lock(&state->lock);
    uint64_t deadline = ferry__deadline(DRAIN_SECONDS * UINT64_C(1000000000));
    while (!state->drained && is_busy(state))
        state->drained = !ferry__cond_wait_until(&state->changed, &state->lock, deadline);
    pthread_mutex_unlock(&state->lock);
}
