#include "cuda_internal.h"

#include <sched.h>

/* So long a wait polls without giving its CPU up: to yield takes as long as the end of a small
 * submission would be seen late by. */
enum { KEEP_NS = 20 * 1000 };

/* --- waking ----------------------------------------------------------------------------------- */

int ferry__cuda_wake_init(struct cuda *c)
{
    int error = ferry__short_lock_init(&c->wake.lock);
    if (error)
        return error;
    error = ferry__cond_init(&c->wake.cond);
    if (error)
        pthread_mutex_destroy(&c->wake.lock);
    return error;
}

void ferry__cuda_wake_finish(struct cuda *c)
{
    pthread_cond_destroy(&c->wake.cond);
    pthread_mutex_destroy(&c->wake.lock);
}

void ferry__cuda_wake(void *state)
{
    struct cuda *c = state;
    pthread_mutex_lock(&c->wake.lock);
    c->wake.calls++;
    pthread_cond_broadcast(&c->wake.cond);
    pthread_mutex_unlock(&c->wake.lock);
}

/* --- what has been reached -------------------------------------------------------------------- */

/* What is known without asking CUDA, and what there is to ask for. */
static uint64_t known(uint64_t event)
{
    struct cuda_queue *queue = cuda_queue_of(event);
    return atomic_load_explicit(queue ? &queue->retired : &cuda_event_of(event)->reached,
                                memory_order_acquire);
}

static uint64_t asked_for(uint64_t event)
{
    struct cuda_queue *queue = cuda_queue_of(event);
    return atomic_load(queue ? &queue->submitted : &cuda_event_of(event)->recorded);
}

/* Within enter and leave. */
static uint64_t look(struct cuda *c, uint64_t event)
{
    struct cuda_queue *queue = cuda_queue_of(event);
    return queue ? ferry__cuda_queue_retire(c, queue)
                 : ferry__cuda_event_reached(c, cuda_event_of(event));
}

uint64_t ferry__cuda_completed(void *state, uint64_t event)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    uint64_t value = known(event);
    if (value >= asked_for(event))
        return value;
    const bool inside = !ferry__cuda_enter(c, &scope, NULL);
    if (inside || atomic_load(&c->lost))
        value = look(c, event);
    if (inside)
        ferry__cuda_leave(c, &scope);
    return value;
}

/* Within enter and leave. */
static bool any_reached(struct cuda *c, const struct ferry_sync *points, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint64_t event = points[i].event;
        if (known(event) >= points[i].value || look(c, event) >= points[i].value)
            return true;
    }
    return atomic_load(&c->lost);
}

/* --- waiting ---------------------------------------------------------------------------------- */

struct wait {
    struct cuda *c;
    const struct ferry_sync *points;
    size_t count;
    uint64_t seen; /* of wake */
    struct ferry__patience patience;
};

static bool woken(const struct wait *wait)
{
    return atomic_load_explicit(&wait->c->wake.calls, memory_order_acquire) != wait->seen;
}

/* Asleep until wake or the time. */
static void nap(struct wait *wait, uint64_t until_ns)
{
    struct cuda *c = wait->c;
    pthread_mutex_lock(&c->wake.lock);
    while (c->wake.calls == wait->seen && !atomic_load(&c->lost) &&
           ferry__cond_wait_until(&c->wake.cond, &c->wake.lock, until_ns)) {
    }
    pthread_mutex_unlock(&c->wake.lock);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the first of the points should be reached; 0: not known. */
static uint64_t find_expected(const struct wait *wait)
{
    uint64_t soonest = UINT64_MAX;
    for (size_t i = 0; i < wait->count; i++) {
        struct cuda_queue *queue = cuda_queue_of(wait->points[i].event);
        const uint64_t expected =
            queue ? ferry__cuda_queue_expected(queue, wait->points[i].value) : 0;
        if (!expected)
            return 0;
        soonest = sooner(soonest, expected);
    }
    return soonest;
}

/* Polls until there is something to return for (true), or it is time to sleep. CUDA tells only when
 * it is asked, so that a block is a nap. */
static bool poll(struct wait *wait, uint64_t *out_until)
{
    struct cuda_scope scope;
    bool over = false, rests = false;
    if (ferry__cuda_enter(wait->c, &scope, NULL))
        return true;
    while (!over && !rests) {
        over = any_reached(wait->c, wait->points, wait->count) || woken(wait);
        const uint64_t now = ferry__now_ns();
        over |= now >= wait->patience.deadline_ns;
        rests = !over && ferry__rest(&wait->patience, now, out_until) != FERRY__REST_POLL;
        if (!over && !rests && now - wait->patience.start_ns > KEEP_NS)
            sched_yield();
    }
    ferry__cuda_leave(wait->c, &scope);
    return over;
}

/* With nothing of Ferry's in flight no query tells that the context has faulted: one is made. */
static void look_for_loss(struct cuda *c)
{
    struct cuda_scope scope;
    if (atomic_load(&c->lost) || ferry__cuda_enter(c, &scope, NULL))
        return;
    const cu_result result = c->cu.StreamQuery(c->queues[0].stream);
    if (ferry__cuda_is_sticky(result))
        (void)ferry__cuda_fail(c, result, "cuStreamQuery", NULL);
    ferry__cuda_leave(c, &scope);
}

void ferry__cuda_wait_any(void *state, const struct ferry_sync *points, size_t count,
                          uint64_t timeout_ns)
{
    struct cuda *c = state;
    struct wait wait = {.c = c, .points = points, .count = count};
    uint64_t until;
    wait.patience = (struct ferry__patience){.start_ns = ferry__now_ns(),
                                             .deadline_ns = ferry__deadline(timeout_ns)};
    /* A wake with nobody waiting is kept for the next wait; one with several wakes them all. */
    pthread_mutex_lock(&c->wake.lock);
    wait.seen = c->wake.seen;
    pthread_mutex_unlock(&c->wake.lock);
    if (!count) {
        nap(&wait, wait.patience.deadline_ns);
        look_for_loss(c);
    } else {
        wait.patience.expected_ns = find_expected(&wait);
        while (!poll(&wait, &until))
            nap(&wait, until);
    }
    pthread_mutex_lock(&c->wake.lock);
    c->wake.seen = c->wake.calls;
    pthread_mutex_unlock(&c->wake.lock);
}
