#include "state.h"

#include <string.h>

enum { REPAIRS_MAX = 16 };

struct metal_queue *ferry__metal_queue_of(struct metal_state *state, uint64_t event)
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
    const struct metal_queue *queue = ferry__metal_queue_of(state, event);
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
            e->asked = point->value > e->asked ? point->value : e->asked;
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
        if (!ferry__metal_queue_of(state, points[i].event))
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

/* --- raising, where the GPU does not ---------------------------------------------------------- */

/*
 * Metal does not signal the events of a command buffer that failed, nor do we all of them until
 * somebody looks: here they are raised, or whoever waits would hang. A shared event may be set
 * while a later command buffer signals a higher value; should that lower it, the later one's
 * handler raises it again.
 */
void ferry__metal_raise(struct metal_state *state, mtl_id event, uint64_t value)
{
    pthread_mutex_lock(&state->raise_lock);
    if (mtl_event_value(event) < value)
        mtl_event_set(event, value);
    pthread_mutex_unlock(&state->raise_lock);
}

static void retry(const struct mtl_closure *block, mtl_id commands);

/* Only the GPU can signal an event that is not shared. The lock keeps the values in order. */
static bool signal_own(struct metal_state *state)
{
    static const struct mtl_block_description description = {
        .size = sizeof(struct mtl_closure),
        .copy = copy_block,
        .dispose = dispose_block,
        .signature = "v16@?0@8",
    };
    pthread_mutex_lock(&state->raise_lock);
    const bool open = !state->closed;
    mtl_id commands = open ? mtl_new_commands_retained(state->repair) : NULL;
    for (unsigned i = 0; i < state->queue_count && commands; i++)
        if (atomic_load(&state->queues[i].failed))
            mtl_encode_signal(commands, state->queues[i].own,
                              atomic_load(&state->queues[i].completed));
    if (commands) {
        struct mtl_closure block = mtl_closure((void (*)(void))retry, &description, state);
        mtl_add_completed(commands, &block.head);
        mtl_commit(commands);
    }
    pthread_mutex_unlock(&state->raise_lock);
    return commands || !open;
}

void ferry__metal_repair(struct metal_state *state)
{
    if (!atomic_load(&state->lost) && !signal_own(state))
        ferry__metal_lose(state, "no command buffer to tell the other queues of a failure");
}

/* The signal itself may fail. */
static void retry(const struct mtl_closure *block, mtl_id commands)
{
    struct metal_state *state = block->captured;
    void *pool = mtl_pool_push();
    if (mtl_commands_status(commands) == MTL_COMMANDS_COMPLETED)
        atomic_store(&state->repairs_failed, 0);
    else if (atomic_fetch_add(&state->repairs_failed, 1) < REPAIRS_MAX)
        ferry__metal_repair(state);
    else
        ferry__metal_lose(state, "the other queues cannot be told of a failure");
    mtl_pool_pop(pool);
}

/* --- events for external work ----------------------------------------------------------------- */

/* From now on the queues' shared events may be waited for; what was submitted before did not signal
 * them, and its handlers will. */
static void show_queues(struct metal_state *state)
{
    if (atomic_exchange(&state->external, true))
        return;
    void *pool = mtl_pool_push();
    for (unsigned i = 0; i < state->queue_count; i++)
        ferry__metal_raise(state, state->queues[i].event, atomic_load(&state->queues[i].completed));
    mtl_pool_pop(pool);
}

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
    show_queues(state);
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
    /* Nobody waits for it any more; but an answer that never came would keep the state for ever. */
    if (mtl_event_value(entry->event) < entry->asked)
        mtl_event_set(entry->event, entry->asked);
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
