#include "cuda_internal.h"

#include <sched.h>

enum {
    SPIN_NS = 200000,   /* polled: at the beginning, and around the time that is expected */
    EARLY_NS = 100000,  /* before that time a wait is awake again: timers are late by half of it */
    NAP_MIN_NS = 50000, /* shorter naps are not worth their call */
    NAP_MAX_NS = 1000000,
};

/* --- waking
 * ------------------------------------------------------------------------------------ */

int ferry__cuda_wake_init(struct cuda *c)
{
    int error = pthread_mutex_init(&c->wake.lock, NULL);
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

/* --- what has been reached
 * --------------------------------------------------------------------- */

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

/* --- waiting
 * ----------------------------------------------------------------------------------- */

struct wait {
    struct cuda *c;
    const struct ferry_sync *points;
    size_t count;
    uint64_t seen; /* of wake */
    uint64_t start_ns, deadline_ns;
    uint64_t expected_ns; /* the earliest of the points; 0: not known */
};

/* One read, so that polling takes no lock: wake raises it under the lock. */
static bool woken(struct wait *wait)
{
    pthread_mutex_lock(&wait->c->wake.lock);
    const bool result = wait->c->wake.calls != wait->seen;
    pthread_mutex_unlock(&wait->c->wake.lock);
    return result;
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

/* Until when a wait may sleep; 0: it polls on. Before the earliest end that is to be expected; from
 * then on it polls for an eighth of the wait so far, and then sleeps by short naps: each at most a
 * 64th of the wait, so that it is late by no more than that. */
static uint64_t sleep_until(const struct wait *wait, uint64_t now)
{
    const uint64_t waited = now - wait->start_ns;
    uint64_t until;
    if (wait->expected_ns > now + EARLY_NS)
        until = wait->expected_ns - EARLY_NS;
    else if (waited < SPIN_NS || now < wait->expected_ns + SPIN_NS + waited / 8)
        return 0;
    else
        until = now + sooner(NAP_MIN_NS + waited / 64, NAP_MAX_NS);
    until = sooner(until, wait->deadline_ns);
    return until >= now + NAP_MIN_NS ? until : 0;
}

static void find_expected(struct wait *wait)
{
    wait->expected_ns = 0;
    for (size_t i = 0; i < wait->count; i++) {
        struct cuda_queue *queue = cuda_queue_of(wait->points[i].event);
        const uint64_t expected =
            queue ? ferry__cuda_queue_expected(queue, wait->points[i].value) : 0;
        if (!expected) {
            wait->expected_ns = 0;
            return;
        }
        wait->expected_ns = wait->expected_ns ? sooner(wait->expected_ns, expected) : expected;
    }
}

/* Polls until there is something to return for (true), or it is time to sleep. */
static bool poll(struct wait *wait, uint64_t *out_until)
{
    struct cuda_scope scope;
    bool over = false;
    *out_until = 0;
    if (ferry__cuda_enter(wait->c, &scope, NULL))
        return true;
    while (!over && !*out_until) {
        over = any_reached(wait->c, wait->points, wait->count) || woken(wait);
        const uint64_t now = ferry__now_ns();
        if (over || now >= wait->deadline_ns) {
            over = true;
            break;
        }
        *out_until = sleep_until(wait, now);
        if (!*out_until)
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
    struct wait wait = {.c = c, .points = points, .count = count, .start_ns = ferry__now_ns()};
    uint64_t until;
    wait.deadline_ns = ferry__deadline(timeout_ns);
    /* A wake with nobody waiting is kept for the next wait; one with several wakes them all. */
    pthread_mutex_lock(&c->wake.lock);
    wait.seen = c->wake.seen;
    pthread_mutex_unlock(&c->wake.lock);
    if (!count) {
        nap(&wait, wait.deadline_ns);
        look_for_loss(c);
    } else {
        find_expected(&wait);
        while (!poll(&wait, &until))
            nap(&wait, until);
    }
    pthread_mutex_lock(&c->wake.lock);
    c->wake.seen = c->wake.calls;
    pthread_mutex_unlock(&c->wake.lock);
}
