#include "measure.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct member {
    struct bench_team *team;
    unsigned index;
    pthread_t thread;
};

struct bench_team {
    unsigned threads, made; /* made: of the others, those that run */
    struct member members[BENCH_THREADS_MAX];
    pthread_mutex_t lock; /* guards run, over, work and state */
    pthread_cond_t wake;
    uint64_t run;
    bool over;
    void (*work)(void *state, unsigned index);
    void *state;
    _Atomic unsigned ready, done;
    _Atomic uint64_t go; /* the run that has begun */
};

/* Yields, so that more threads than CPUs get on. */
static void await_count(_Atomic unsigned *counter, unsigned count)
{
    while (atomic_load_explicit(counter, memory_order_acquire) < count)
        sched_yield();
}

static void *member_main(void *argument)
{
    struct member *member = argument;
    struct bench_team *team = member->team;
    for (uint64_t run = 1;; run++) {
        pthread_mutex_lock(&team->lock);
        while (team->run < run && !team->over)
            pthread_cond_wait(&team->wake, &team->lock);
        bool over = team->over;
        pthread_mutex_unlock(&team->lock);
        if (over)
            return NULL;
        bench_place(member->index);
        atomic_fetch_add(&team->ready, 1);
        while (atomic_load_explicit(&team->go, memory_order_acquire) < run)
            sched_yield();
        team->work(team->state, member->index);
        atomic_fetch_add(&team->done, 1);
    }
}

struct bench_team *bench_team_create(unsigned threads)
{
    struct bench_team *team = calloc(1, sizeof *team);
    if (!team)
        return NULL;
    team->threads = threads;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    for (unsigned i = 1; i < threads; i++) {
        struct member *member = &team->members[i];
        *member = (struct member){.team = team, .index = i};
        if (pthread_create(&member->thread, NULL, member_main, member) != 0) {
            bench_team_destroy(team);
            return NULL;
        }
        team->made++;
    }
    return team;
}

void bench_team_destroy(struct bench_team *team)
{
    if (!team)
        return;
    pthread_mutex_lock(&team->lock);
    team->over = true;
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
    for (unsigned i = 1; i <= team->made; i++)
        pthread_join(team->members[i].thread, NULL);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

uint64_t bench_team_run(struct bench_team *team, void (*work)(void *state, unsigned index),
                        void *state)
{
    pthread_mutex_lock(&team->lock);
    team->work = work;
    team->state = state;
    atomic_store(&team->ready, 0);
    atomic_store(&team->done, 0);
    uint64_t run = ++team->run;
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
    bench_place(0);
    await_count(&team->ready, team->made);
    uint64_t began = bench_now_ns();
    atomic_store_explicit(&team->go, run, memory_order_release);
    work(state, 0);
    await_count(&team->done, team->made);
    return bench_now_ns() - began;
}
