/* Carrying out: a thread for each queue, one for completed handlers, one for notifications. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern void _Block_release(const void *block);

struct sim_worker {
    pthread_t thread;
    pthread_cond_t todo;
    struct sim_commands *first;
    bool stop, stopped;
    struct sim_worker *next;
};

struct notice {
    mtl_block block;
    struct sim_listener *listener;
    struct sim_event *event; /* retained */
    uint64_t value;
    struct notice *next;
};

/* Guarded by sim.lock. */
static struct {
    struct sim_commands *completed; /* the first is the oldest */
    struct notice *notices;
    uint64_t in_flight; /* committed, and not let go */
    bool running, stop;
    pthread_t completion, notification;
    pthread_cond_t to_complete, to_notify;
} threads = {.to_complete = PTHREAD_COND_INITIALIZER, .to_notify = PTHREAD_COND_INITIALIZER};

static _Thread_local bool on_handler_thread;

bool sim_on_handler_thread(void)
{
    return on_handler_thread;
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- items ------------------------------------------------------------------------------------ */

static bool is_usable(struct sim_commands *commands, const void *object)
{
    if (!object || sim_is_alive(object))
        return true;
    sim_breach(METALSIM_LIFETIME, "a command buffer%s runs on an object that is dead",
               commands->retains ? "" : " with unretained references");
    commands->fail_code = MTL_ERROR_INVALID_RESOURCE;
    return false;
}

static void scramble(unsigned char *p, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        p[i] = (unsigned char)(0xd0 + i % 7);
}

/* A copy is cut to 32 bits without a word, as Metal does. */
static void run_copy(const struct sim_item *item, uint64_t part)
{
    struct sim_buffer *dst = item->dst, *src = item->src;
    unsigned char *to = sim_buffer_open(dst, true), *from = sim_buffer_open(src, false);
    uint64_t size = (item->size & UINT32_MAX) / part;
    bool overlap = dst == src && item->src_offset < item->dst_offset + item->size &&
                   item->dst_offset < item->src_offset + item->size;
    if (to && from && overlap)
        scramble(to + item->dst_offset, size);
    else if (to && from)
        memcpy(to + item->dst_offset, from + item->src_offset, size);
    if (to)
        sim_buffer_close(dst, true);
    if (from)
        sim_buffer_close(src, false);
    sim_lock();
    sim.counts.truncations += item->size > UINT32_MAX;
    sim_unlock();
}

static void run_fill(const struct sim_item *item, uint64_t part)
{
    unsigned char *to = sim_buffer_open(item->dst, true);
    if (!to)
        return;
    memset(to + item->dst_offset, (int)item->value, item->size / part);
    sim_buffer_close(item->dst, true);
}

static void run_kernel(struct sim_commands *commands, const struct sim_item *item, uint64_t part)
{
    struct sim_dispatch dispatch = *item->dispatch;
    bool usable = is_usable(commands, dispatch.pipeline);
    for (int i = 0; i < SIM_BINDINGS; i++)
        usable = usable && is_usable(commands, dispatch.buffer[i]);
    bool opened[SIM_BINDINGS] = {false};
    for (int i = 0; usable && i < SIM_BINDINGS; i++)
        if (dispatch.buffer[i])
            usable = opened[i] = sim_buffer_open(dispatch.buffer[i], i == 0) != NULL;
    dispatch.threads /= part;
    if (usable)
        sim_run_dispatch(&dispatch);
    for (int i = 0; i < SIM_BINDINGS; i++)
        if (opened[i])
            sim_buffer_close(dispatch.buffer[i], i == 0);
}

/* Goes on when the event is there, and not at all where the device went first: not even commands
 * that are to fail half-way may run ahead of what they wait for. */
static bool wait_for_event(struct sim_commands *commands, const struct sim_item *item)
{
    const struct sim_event *event = item->dst;
    sim_lock();
    while (event->value < item->value && !sim.removed)
        pthread_cond_wait(&sim.changed, &sim.lock);
    const bool there = event->value >= item->value;
    if (!there)
        commands->fail_code = MTL_ERROR_DEVICE_REMOVED;
    sim_unlock();
    return there;
}

/* part: 2 does half of it only. */
static void run_item(struct sim_commands *commands, const struct sim_item *item, uint64_t part)
{
    if (!is_usable(commands, item->dst) || !is_usable(commands, item->src))
        return;
    switch (item->kind) {
    case SIM_COPY: run_copy(item, part); break;
    case SIM_FILL: run_fill(item, part); break;
    case SIM_SYNCHRONIZE: sim_buffer_synchronize(item->dst); break;
    case SIM_DISPATCH: run_kernel(commands, item, part); break;
    case SIM_SIGNAL: sim_event_raise(item->dst, item->value); break;
    case SIM_WAIT: break; /* run_items does it */
    }
}

/* --- order: commands of one encoder on untracked buffers have none ---------------------------- */

static bool is_untracked(const struct sim_item *item)
{
    if (item->kind != SIM_COPY && item->kind != SIM_FILL)
        return false;
    const struct sim_buffer *dst = item->dst, *src = item->src;
    return sim_is_alive(dst) && !dst->tracked && (!src || (sim_is_alive(src) && !src->tracked));
}

static void run_items(struct sim_commands *commands)
{
    size_t count = commands->item_count;
    size_t whole = commands->fail_code ? count / 2 : count;
    for (size_t i = 0; i < whole;) {
        size_t end = i + 1;
        if (commands->items[i].kind == SIM_WAIT && !wait_for_event(commands, &commands->items[i]))
            return;
        while (end < whole && is_untracked(&commands->items[i]) &&
               is_untracked(&commands->items[end]) &&
               commands->items[i].encoder == commands->items[end].encoder)
            end++;
        for (size_t j = end; j > i; j--)
            run_item(commands, &commands->items[j - 1], 1);
        i = end;
    }
    if (whole < count && commands->items[whole].kind < SIM_WAIT)
        run_item(commands, &commands->items[whole], 2);
}

/* --- queues' threads -------------------------------------------------------------------------- */

static void complete_locked(struct sim_commands *commands)
{
    struct sim_commands **link = &threads.completed;
    while (*link)
        link = &(*link)->next;
    commands->next = NULL;
    *link = commands;
    pthread_cond_signal(&threads.to_complete);
}

static void *work(void *argument)
{
    struct sim_worker *worker = argument;
    sim_lock();
    for (;;) {
        while (!worker->first && !worker->stop)
            pthread_cond_wait(&worker->todo, &sim.lock);
        struct sim_commands *commands = worker->first;
        if (!commands)
            break;
        worker->first = commands->next;
        commands->status = SIM_SCHEDULED;
        const bool gone = sim.removed; /* what runs on a device that is gone touches no memory */
        sim.removed = sim.removed || commands->last;
        if (gone)
            commands->fail_code = MTL_ERROR_DEVICE_REMOVED;
        unsigned delay = (unsigned)(sim_random_locked() % (sim.config.delay_us + 1));
        sim_unlock();
        if (delay)
            usleep(delay);
        commands->start = now_seconds();
        if (!gone)
            run_items(commands);
        commands->end = now_seconds();
        sim_lock();
        complete_locked(commands);
    }
    worker->stopped = true;
    sim_unlock();
    return NULL;
}

/* Joins the workers that have ended. Locked, and unlocks meanwhile. */
static void join_stopped(bool all)
{
    struct sim_worker **link = &sim.workers;
    while (*link) {
        struct sim_worker *worker = *link;
        if (!worker->stopped && !(all && worker->stop)) {
            link = &worker->next;
            continue;
        }
        *link = worker->next;
        sim_unlock();
        pthread_join(worker->thread, NULL);
        pthread_cond_destroy(&worker->todo);
        free(worker);
        sim_lock();
        link = &sim.workers;
    }
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    if (pthread_create(thread, NULL, run, argument)) {
        fprintf(stderr, "metalsim: no thread\n");
        abort();
    }
}

struct sim_worker *sim_worker_start(void)
{
    struct sim_worker *worker = calloc(1, sizeof *worker);
    pthread_cond_init(&worker->todo, NULL);
    sim_lock();
    join_stopped(false);
    worker->next = sim.workers;
    sim.workers = worker;
    start_thread(&worker->thread, work, worker);
    sim_unlock();
    return worker;
}

void sim_worker_stop(struct sim_worker *worker)
{
    sim_lock();
    worker->stop = true;
    pthread_cond_signal(&worker->todo);
    sim_unlock();
}

/* --- completed handlers ----------------------------------------------------------------------- */

static void call_handlers(struct sim_commands *commands)
{
    for (unsigned i = 0; i < commands->handler_count; i++) {
        mtl_block block = commands->handlers[i];
        ((void (*)(const struct mtl_closure *, mtl_id))block->invoke)(
            (const struct mtl_closure *)block, (mtl_id)commands);
        sim_lock();
        sim.counts.handlers++;
        sim_unlock();
    }
}

/* What the command buffer held is released here, as Metal does: inside a pool of its own. */
static void let_go(struct sim_commands *commands)
{
    sim_lock();
    commands->handlers_done = true;
    pthread_cond_broadcast(&sim.changed);
    sim_unlock();
    void *pool = sim_own_pool_push();
    for (unsigned i = 0; i < commands->handler_count; i++)
        _Block_release(commands->handlers[i]);
    commands->handler_count = 0;
    for (size_t i = 0; i < commands->kept_count; i++)
        sim_release(commands->kept[i]);
    commands->kept_count = 0;
    sim_release(commands);
    sim_own_pool_pop(pool);
    sim_lock();
    threads.in_flight--;
    pthread_cond_broadcast(&sim.changed);
    sim_unlock();
}

/* The oldest; any, if completion has no order. */
static struct sim_commands *take_completed_locked(void)
{
    size_t count = 0;
    for (struct sim_commands *c = threads.completed; c; c = c->next)
        count++;
    size_t pick = sim.config.disorder && count ? sim_random_locked() % count : 0;
    struct sim_commands **link = &threads.completed;
    for (; pick; pick--)
        link = &(*link)->next;
    struct sim_commands *commands = *link;
    if (commands)
        *link = commands->next;
    return commands;
}

static void *complete(void *argument)
{
    (void)argument;
    on_handler_thread = true;
    sim_lock();
    for (;;) {
        while (!threads.completed && !threads.stop)
            pthread_cond_wait(&threads.to_complete, &sim.lock);
        if (!threads.completed)
            break;
        if (sim.config.disorder) { /* so that there is something to choose from */
            const unsigned delay_us = sim.config.delay_us;
            sim_unlock();
            usleep(delay_us);
            sim_lock();
        }
        struct sim_commands *commands = take_completed_locked();
        struct sim_error *error = NULL;
        if (commands->fail_code) {
            sim_unlock();
            error = sim_error_make(commands->fail_code);
            sim_lock();
        }
        commands->error = error;
        commands->status = error ? SIM_FAILED : SIM_COMPLETED;
        commands->queue->out--;
        pthread_cond_broadcast(&sim.changed);
        sim_unlock();
        call_handlers(commands);
        let_go(commands);
        sim_lock();
    }
    sim_unlock();
    return NULL;
}

/* --- notifications ---------------------------------------------------------------------------- */

static void *notify(void *argument)
{
    (void)argument;
    sim_lock();
    for (;;) {
        while (!threads.notices && !threads.stop)
            pthread_cond_wait(&threads.to_notify, &sim.lock);
        struct notice *notice = threads.notices;
        if (!notice)
            break;
        threads.notices = notice->next;
        unsigned delay = (unsigned)(sim_random_locked() % (sim.config.delay_us + 1));
        sim_unlock();
        usleep(delay);
        mtl_block block = notice->block;
        ((void (*)(const struct mtl_closure *, mtl_id, uint64_t))block->invoke)(
            (const struct mtl_closure *)block, (mtl_id)notice->event, notice->value);
        sim_lock();
        notice->listener->pending--;
        sim_unlock();
        _Block_release(block);
        void *pool = sim_own_pool_push();
        sim_release(notice->event);
        sim_own_pool_pop(pool);
        free(notice);
        sim_lock();
    }
    sim_unlock();
    return NULL;
}

static void start_threads_locked(void)
{
    if (threads.running)
        return;
    threads.running = true;
    threads.stop = false;
    start_thread(&threads.completion, complete, NULL);
    start_thread(&threads.notification, notify, NULL);
}

void sim_notify_later(mtl_block block, struct sim_listener *listener, struct sim_event *event,
                      uint64_t value)
{
    struct notice *notice = malloc(sizeof *notice);
    *notice = (struct notice){block, listener, sim_retain(event), value, NULL};
    struct notice **link = &threads.notices;
    while (*link)
        link = &(*link)->next;
    *link = notice;
    pthread_cond_signal(&threads.to_notify);
    start_threads_locked();
}

void sim_stop_threads(void)
{
    sim_lock();
    while (threads.in_flight) /* also what nobody waits for */
        pthread_cond_wait(&sim.changed, &sim.lock);
    bool running = threads.running;
    threads.stop = true;
    pthread_cond_signal(&threads.to_complete);
    pthread_cond_signal(&threads.to_notify);
    sim_unlock();
    if (running) {
        pthread_join(threads.completion, NULL);
        pthread_join(threads.notification, NULL);
    }
    sim_lock();
    threads.running = false;
    join_stopped(true);
    sim_unlock();
}

/* --- commit ----------------------------------------------------------------------------------- */

/* Is this the one to fail? Locked. */
static int injected_failure_locked(void)
{
    if (sim.fail_every && sim.counts.commits % sim.fail_every == 0)
        return sim.fail_code;
    if (sim.fail_commands > 1) {
        sim.fail_commands--;
        return 0;
    }
    if (sim.fail_commands == 1 && sim.fail_victims == 0)
        sim.fail_commands = 0;
    else if (sim.fail_commands == 1)
        sim.fail_victims--;
    else
        return 0;
    return sim.fail_code;
}

void sim_commit(struct sim_commands *commands)
{
    sim_retain(commands);
    sim_lock();
    start_threads_locked();
    commands->status = SIM_COMMITTED;
    threads.in_flight++;
    commands->queue->uncommitted--;
    sim.counts.commits++;
    commands->fail_code = injected_failure_locked();
    commands->last = commands->fail_code && sim.loses;
    commands->next = NULL;
    struct sim_worker *worker = commands->queue->worker;
    struct sim_commands **link = &worker->first;
    while (*link)
        link = &(*link)->next;
    *link = commands;
    pthread_cond_signal(&worker->todo);
    sim_unlock();
}
