#include "state.h"

#include <string.h>

static struct metal_queue *queue_of_event(struct metal_state *state, uint64_t event)
{
    for (unsigned i = 0; i < state->queue_count; i++)
        if ((uint64_t)(uintptr_t)state->queues[i].event == event)
            return &state->queues[i];
    return NULL;
}

/* A queue's value is what its handlers have seen to: the event itself may be ahead of them, when
 * the records are not written yet. */
uint64_t ferry__metal_completed(void *opened, uint64_t event)
{
    struct metal_state *state = opened;
    const struct metal_queue *queue = queue_of_event(state, event);
    if (queue)
        return atomic_load(&queue->completed);
    void *pool = mtl_pool_push();
    uint64_t value = mtl_event_value((mtl_id)(uintptr_t)event);
    mtl_pool_pop(pool);
    return value;
}

void ferry__metal_changed_locked(struct metal_state *state)
{
    state->changes++;
    pthread_cond_broadcast(&state->changed);
}

/* --- notifications ---------------------------------------------------------------------------- */

static void copy_block(void *to, const void *from)
{
    (void)from;
    struct metal_state *state = ((struct mtl_closure *)to)->captured;
    atomic_fetch_add(&state->references, 1);
}

static void dispose_block(const void *block)
{
    ferry__metal_state_release(((const struct mtl_closure *)block)->captured);
}

/* Sends no message and releases nothing: needs no pool. */
static void notified(const struct mtl_closure *block, mtl_id event, uint64_t value)
{
    (void)event, (void)value;
    struct metal_state *state = block->captured;
    pthread_mutex_lock(&state->lock);
    ferry__metal_changed_locked(state);
    pthread_mutex_unlock(&state->lock);
}

static void notify(struct metal_state *state, mtl_id event, uint64_t value)
{
    static const struct mtl_block_description description = {
        .size = sizeof(struct mtl_closure),
        .copy = copy_block,
        .dispose = dispose_block,
        .signature = "v24@?0@8Q16",
    };
    struct mtl_closure block = mtl_closure((void (*)(void))notified, &description, state);
    void *pool = mtl_pool_push();
    mtl_event_notify(event, state->listener, value, &block.head);
    mtl_pool_pop(pool);
}

/* Asks to be told of the value, once. */
static void subscribe(struct metal_state *state, const struct ferry_sync *point)
{
    mtl_id event = (mtl_id)(uintptr_t)point->event;
    bool ask = false;
    pthread_mutex_lock(&state->lock);
    for (struct metal_event *e = state->events; e; e = e->next)
        if (e->event == event && e->notified != point->value) {
            e->notified = point->value;
            ask = true;
        }
    pthread_mutex_unlock(&state->lock);
    if (ask)
        notify(state, event, point->value);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static bool is_reached(struct metal_state *state, const struct ferry_sync *points, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ferry__metal_completed(state, points[i].event) >= points[i].value)
            return true;
    return false;
}

/* Sleeps until something changed after changes was read; false: the wait is over. */
static bool sleep_until_change(struct metal_state *state, uint64_t changes, uint64_t deadline)
{
    bool goes_on = true;
    pthread_mutex_lock(&state->lock);
    while (goes_on && state->changes == changes && !state->woken)
        goes_on = ferry__cond_wait_until(&state->changed, &state->lock, deadline);
    goes_on = goes_on && !state->woken;
    state->woken = false;
    pthread_mutex_unlock(&state->lock);
    return goes_on;
}

void ferry__metal_wait_any(void *opened, const struct ferry_sync *points, size_t count,
                           uint64_t timeout_ns)
{
    struct metal_state *state = opened;
    uint64_t deadline = ferry__deadline(timeout_ns);
    for (size_t i = 0; i < count; i++)
        if (!queue_of_event(state, points[i].event))
            subscribe(state, &points[i]);
    bool goes_on = true;
    while (goes_on && !atomic_load(&state->lost)) {
        pthread_mutex_lock(&state->lock);
        uint64_t changes = state->changes;
        pthread_mutex_unlock(&state->lock);
        goes_on = !is_reached(state, points, count) && sleep_until_change(state, changes, deadline);
    }
}

void ferry__metal_wake(void *opened)
{
    struct metal_state *state = opened;
    pthread_mutex_lock(&state->lock);
    state->woken = true;
    ferry__metal_changed_locked(state);
    pthread_mutex_unlock(&state->lock);
}

/* --- events for external work ----------------------------------------------------------------- */

enum ferry_status ferry__metal_event_create(void *opened, uint64_t *out_event, char *why)
{
    struct metal_state *state = opened;
    struct metal_event *entry = ferry__alloc(sizeof *entry);
    if (!entry)
        return ferry__metal_why(FERRY_ERROR_OUT_OF_HOST_MEMORY, why, "out of host memory");
    void *pool = mtl_pool_push();
    entry->event = mtl_new_shared_event(state->device);
    if (entry->event)
        mtl_set_label(entry->event, state->label);
    mtl_pool_pop(pool);
    if (!entry->event) {
        ferry__free(entry);
        return ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why,
                                "Metal gave no shared event");
    }
    pthread_mutex_lock(&state->lock);
    entry->next = state->events;
    state->events = entry;
    pthread_mutex_unlock(&state->lock);
    *out_event = (uint64_t)(uintptr_t)entry->event;
    return FERRY_OK;
}

void ferry__metal_event_destroy(void *opened, uint64_t event)
{
    struct metal_state *state = opened;
    struct metal_event *entry = NULL;
    pthread_mutex_lock(&state->lock);
    for (struct metal_event **link = &state->events; *link && !entry;) {
        if ((uint64_t)(uintptr_t)(*link)->event == event) {
            entry = *link;
            *link = entry->next;
        } else {
            link = &(*link)->next;
        }
    }
    pthread_mutex_unlock(&state->lock);
    if (!entry)
        return;
    void *pool = mtl_pool_push();
    mtl_release(entry->event);
    mtl_pool_pop(pool);
    ferry__free(entry);
}

void ferry__metal_event_signal(void *opened, uint64_t event, uint64_t value)
{
    (void)opened;
    void *pool = mtl_pool_push();
    mtl_event_set((mtl_id)(uintptr_t)event, value);
    mtl_pool_pop(pool);
}
