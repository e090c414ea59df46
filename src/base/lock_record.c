#include "base/lock_record.h"

#include "base/log.h"

#include <assert.h>
#include <stdatomic.h>
#include <time.h>

#ifdef NDEBUG

bool ferry__lock_holds(struct ferry__holds *out)
{
    (void)out;
    return false;
}

#else

enum { HELD_MAX = 8 };
static _Thread_local struct held {
    const pthread_mutex_t *mutex;
    unsigned rank;
    uint64_t since_ns;
} held_locks[HELD_MAX];
static _Thread_local unsigned held_count;
static _Atomic uint64_t holds[FERRY__HOLDS], longest_ns, over_100us;

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* NULL: it was taken by other means, as drivers do. */
static struct held *find(const pthread_mutex_t *mutex)
{
    unsigned i = 0;
    while (i < held_count && held_locks[i].mutex != mutex)
        i++;
    return i < held_count ? &held_locks[i] : NULL;
}

static void begin(struct held *held)
{
    if (held && held->rank < FERRY__LOCK_POOL)
        held->since_ns = cpu_ns();
}

static void end(const struct held *held)
{
    unsigned i = 0;
    if (!held || held->rank >= FERRY__LOCK_POOL)
        return;
    const uint64_t taken = cpu_ns() - held->since_ns;
    for (uint64_t left = taken; left && i < FERRY__HOLDS - 1; left /= 2)
        i++;
    atomic_fetch_add_explicit(&holds[i], 1, memory_order_relaxed);
    if (taken > 100000)
        atomic_fetch_add_explicit(&over_100us, 1, memory_order_relaxed);
    uint64_t longest = atomic_load_explicit(&longest_ns, memory_order_relaxed);
    while (longest < taken && !atomic_compare_exchange_weak(&longest_ns, &longest, taken))
        ;
}

/* Before it may wait for ever. */
void ferry__lock_taking(const pthread_mutex_t *mutex, unsigned rank)
{
    assert(held_count < HELD_MAX);
    for (unsigned i = 0; i < held_count; i++)
        assert(held_locks[i].rank < rank);
    held_locks[held_count++] = (struct held){.mutex = mutex, .rank = rank};
}

void ferry__lock_taken(const pthread_mutex_t *mutex)
{
    begin(find(mutex));
}

/* Not always the last that was taken. */
void ferry__lock_releasing(const pthread_mutex_t *mutex)
{
    struct held *held = find(mutex);
    assert(held);
    end(held);
    for (held_count--; held < held_locks + held_count; held++)
        held[0] = held[1];
}

unsigned ferry__lock_rank(const pthread_mutex_t *mutex)
{
    const struct held *held = find(mutex);
    assert(held);
    return held->rank;
}

void ferry__lock_waiting(const pthread_mutex_t *mutex)
{
    end(find(mutex));
}

void ferry__lock_waited(const pthread_mutex_t *mutex)
{
    begin(find(mutex));
}

bool ferry__lock_holds(struct ferry__holds *out)
{
    for (unsigned i = 0; i < FERRY__HOLDS; i++)
        out->counts[i] = atomic_exchange(&holds[i], 0);
    out->longest_ns = atomic_exchange(&longest_ns, 0);
    out->over_100us = atomic_exchange(&over_100us, 0);
    return true;
}

#endif
