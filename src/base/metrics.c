#include "base/metrics.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* --- counting --------------------------------------------------------------------------------- */

struct counts {
    _Atomic uint64_t operations, bytes, errors, timed, time_ns;
    _Atomic uint64_t buckets[FERRY_TIME_BUCKETS];
};

/* The padding keeps two threads' counts off one cache line, wherever the allocator puts them. */
struct ferry__shard {
    char front[64];
    struct counts counts[FERRY_OPERATION_COUNT][FERRY_PATH_COUNT];
    char back[64];
};

/* The last shard is there from the start: it takes the threads above FERRY__THREADS_MAX and the
 * counts of a thread whose own shard found no memory. Only there do threads meet. */
static struct ferry__shard *shared_shard(struct ferry__metrics *metrics)
{
    return atomic_load_explicit(&metrics->shards[FERRY__THREADS_MAX], memory_order_relaxed);
}

int ferry__metrics_init(struct ferry__metrics *metrics)
{
    memset(metrics, 0, sizeof *metrics);
    struct ferry__shard *shared = ferry__alloc(sizeof *shared);
    if (!shared)
        return ENOMEM;
    int error = pthread_mutex_init(&metrics->lock, NULL);
    if (error != 0) {
        ferry__free(shared);
        return error;
    }
    atomic_store(&metrics->shards[FERRY__THREADS_MAX], shared);
    return 0;
}

void ferry__metrics_finish(struct ferry__metrics *metrics)
{
    for (unsigned i = 0; i <= FERRY__THREADS_MAX; i++)
        ferry__free(atomic_load_explicit(&metrics->shards[i], memory_order_acquire));
    pthread_mutex_destroy(&metrics->lock);
}

/* No lock: only the thread that has the number makes its shard. */
static FERRY__COLD struct ferry__shard *make_shard(struct ferry__metrics *metrics, unsigned number)
{
    struct ferry__shard *shard = ferry__alloc(sizeof *shard);
    if (!shard)
        return shared_shard(metrics);
    atomic_store_explicit(&metrics->shards[number], shard, memory_order_release);
    return shard;
}

/* A counter with one writer needs no locked instruction. */
static inline void add_own(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

static inline void add_shared(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* This thread's shard; is_own: nobody else writes it. */
static inline struct ferry__shard *find_shard(struct ferry__metrics *metrics, bool *is_own)
{
    unsigned number = ferry__thread_number();
    struct ferry__shard *shard =
        atomic_load_explicit(&metrics->shards[number], memory_order_relaxed);
    if (!shard)
        shard = make_shard(metrics, number);
    *is_own = shard != shared_shard(metrics);
    return shard;
}

/* Of a thread that has no shard of its own yet, or none at all. */
static FERRY__COLD void count_first(struct ferry__metrics *metrics, enum ferry_operation operation,
                                    enum ferry_path path, uint64_t operations, uint64_t bytes)
{
    bool is_own;
    struct counts *counts = &find_shard(metrics, &is_own)->counts[operation][path];
    void (*add)(_Atomic uint64_t *, uint64_t) = is_own ? add_own : add_shared;
    add(&counts->operations, operations);
    add(&counts->bytes, bytes);
}

void ferry__count_many(struct ferry__metrics *metrics, enum ferry_operation operation,
                       enum ferry_path path, uint64_t operations, uint64_t bytes)
{
    const unsigned number = ferry__thread_number();
    struct ferry__shard *shard =
        atomic_load_explicit(&metrics->shards[number], memory_order_relaxed);
    if (!FERRY__LIKELY(shard && number < FERRY__THREADS_MAX)) {
        count_first(metrics, operation, path, operations, bytes);
        return;
    }
    struct counts *counts = &shard->counts[operation][path];
    add_own(&counts->operations, operations);
    add_own(&counts->bytes, bytes);
}

/* Of buckets that begin with one of at most first; each takes up to four times as much. */
static unsigned bucket_of(uint64_t value, uint64_t first, unsigned buckets)
{
    unsigned i = 0;
    while (i < buckets - 1 && value > first << (2 * i))
        i++;
    return i;
}

void ferry__count_timed_many(struct ferry__metrics *metrics, enum ferry_operation operation,
                             enum ferry_path path, uint64_t operations, uint64_t bytes,
                             enum ferry_status status, uint64_t time_ns)
{
    bool is_own;
    struct counts *counts = &find_shard(metrics, &is_own)->counts[operation][path];
    void (*add)(_Atomic uint64_t *, uint64_t) = is_own ? add_own : add_shared;
    add(&counts->operations, operations);
    add(&counts->bytes, status ? 0 : bytes);
    add(&counts->errors, status ? operations : 0);
    add(&counts->timed, operations);
    add(&counts->time_ns, operations * time_ns);
    add(&counts->buckets[bucket_of(time_ns, FERRY_TIME_BUCKET_NS, FERRY_TIME_BUCKETS)], operations);
}

void ferry__count_submission(struct ferry__metrics *metrics, uint64_t operations, uint64_t commands)
{
    FERRY__ADD(metrics, submissions, 1);
    FERRY__ADD(metrics, submitted_operations, operations);
    FERRY__ADD(metrics, submitted_commands, commands);
    FERRY__ADD(metrics, submission_operations[bucket_of(operations, 1, FERRY_COUNT_BUCKETS)], 1);
}

void ferry__raise(_Atomic uint64_t *peak, uint64_t value)
{
    uint64_t before = atomic_load_explicit(peak, memory_order_relaxed);
    while (before < value && !atomic_compare_exchange_weak_explicit(
                                 peak, &before, value, memory_order_acq_rel, memory_order_relaxed))
        continue;
}

/* --- reading ---------------------------------------------------------------------------------- */

enum kind { COUNTER, GAUGE };

/* What a reset starts anew: the counters, and what histograms count. */
static const struct scalar {
    enum kind kind;
    size_t index;
} scalars[] = {
#define FERRY_STAT(field, kind, unit, help) {kind, FERRY__SCALAR_INDEX(field)},
#include <ferry/stats.inc>
#undef FERRY_STAT
};
enum { SCALARS = sizeof scalars / sizeof *scalars };

static const size_t histograms[] = {
#define FERRY_STAT(field, kind, unit, help)
#define FERRY_STAT_HISTOGRAM(field, sum, help) FERRY__SCALAR_INDEX(field),
#include <ferry/stats.inc>
#undef FERRY_STAT
};
enum { HISTOGRAMS = sizeof histograms / sizeof *histograms };

/* Both have them in the order of the list, and nothing else behind the operations. */
enum { SCALAR_NUMBERS = sizeof(struct ferry__scalars) / sizeof(uint64_t) };
static_assert(sizeof(struct ferry_stats) ==
                  sizeof((struct ferry_stats *)0)->operations + sizeof(struct ferry__scalars),
              "the statistics are the operations and the scalars");

static _Atomic uint64_t *numbers_of(struct ferry__scalars *scalars_of)
{
    return (_Atomic uint64_t *)scalars_of;
}

/* The peaks and the values whose peaks they are: a reset starts a peak from its value. */
static const struct peak {
    size_t peak, value;
} peaks[] = {
    {FERRY__SCALAR_INDEX(staging_upload_peak_bytes), FERRY__SCALAR_INDEX(staging_upload_bytes)},
    {FERRY__SCALAR_INDEX(staging_readback_peak_bytes), FERRY__SCALAR_INDEX(staging_readback_bytes)},
    {FERRY__SCALAR_INDEX(memory_peak_bytes), FERRY__SCALAR_INDEX(memory_in_use_bytes)},
};

enum { FIELDS = 5 + FERRY_TIME_BUCKETS };
static_assert(sizeof(struct ferry_operation_stats) == FIELDS * sizeof(uint64_t) &&
                  sizeof(struct counts) == FIELDS * sizeof(_Atomic uint64_t) &&
                  offsetof(struct ferry_operation_stats, buckets) ==
                      offsetof(struct counts, buckets),
              "the two are the same numbers in the same order");

static_assert((int)FERRY_OPERATION_COUNT <= (int)FERRY_OPERATIONS_MAX &&
                  (int)FERRY_PATH_COUNT <= (int)FERRY_PATHS_MAX,
              "the public struct has room for all");

/* Under the lock: so many paths of an operation, from one on. The sums only grow, so what a reset
 * saw is never more than what is read later. */
static void sum_shards(struct ferry__metrics *metrics, unsigned operation, unsigned path,
                       unsigned count, struct ferry_operation_stats *out)
{
    memset(out, 0, count * sizeof *out);
    for (unsigned i = 0; i <= FERRY__THREADS_MAX; i++) {
        struct ferry__shard *shard =
            atomic_load_explicit(&metrics->shards[i], memory_order_acquire);
        if (!shard)
            continue;
        _Atomic uint64_t *numbers = (_Atomic uint64_t *)&shard->counts[operation][path];
        uint64_t *sums = (uint64_t *)out;
        for (unsigned n = 0; n < count * FIELDS; n++)
            sums[n] += atomic_load_explicit(&numbers[n], memory_order_relaxed);
    }
}

static void subtract(uint64_t *from, const uint64_t *what, size_t count)
{
    for (size_t i = 0; i < count; i++)
        from[i] -= what[i];
}

/* Likewise, since the last reset. */
static void read_paths(struct ferry__metrics *metrics, unsigned operation, unsigned path,
                       unsigned count, struct ferry_operation_stats *out)
{
    sum_shards(metrics, operation, path, count, out);
    subtract((uint64_t *)out, (const uint64_t *)&metrics->operations_base[operation][path],
             (size_t)count * FIELDS);
}

/* Of what has a place in the statistics as much as lies in the first size bytes. */
static void put_part(void *out, size_t size, size_t at, const void *part, size_t part_size)
{
    if (at < size)
        memcpy((char *)out + at, part, part_size < size - at ? part_size : size - at);
}

void ferry__metrics_read(struct ferry__metrics *metrics, struct ferry_stats *out, size_t size)
{
    memset(out, 0, size);
    pthread_mutex_lock(&metrics->lock);
    for (unsigned operation = 0; operation < FERRY_OPERATION_COUNT; operation++) {
        struct ferry_operation_stats paths[FERRY_PATH_COUNT];
        read_paths(metrics, operation, 0, FERRY_PATH_COUNT, paths);
        put_part(out, size, operation * sizeof *out->operations, paths, sizeof paths);
    }
    for (unsigned i = 0; i < SCALAR_NUMBERS; i++) {
        const uint64_t number = atomic_load(&numbers_of(&metrics->now)[i]) -
                                atomic_load(&numbers_of(&metrics->base)[i]);
        put_part(out, size, sizeof out->operations + i * sizeof number, &number, sizeof number);
    }
    pthread_mutex_unlock(&metrics->lock);
}

void ferry__metrics_read_one(struct ferry__metrics *metrics, enum ferry_operation operation,
                             enum ferry_path path, struct ferry_operation_stats *out)
{
    pthread_mutex_lock(&metrics->lock);
    read_paths(metrics, operation, path, 1, out);
    pthread_mutex_unlock(&metrics->lock);
}

static void rebase(struct ferry__metrics *metrics, size_t index)
{
    atomic_store(&numbers_of(&metrics->base)[index],
                 atomic_load(&numbers_of(&metrics->now)[index]));
}

void ferry__metrics_reset(struct ferry__metrics *metrics)
{
    pthread_mutex_lock(&metrics->lock);
    for (unsigned operation = 0; operation < FERRY_OPERATION_COUNT; operation++)
        sum_shards(metrics, operation, 0, FERRY_PATH_COUNT, metrics->operations_base[operation]);
    for (unsigned i = 0; i < SCALARS; i++)
        if (scalars[i].kind == COUNTER)
            rebase(metrics, scalars[i].index);
    for (unsigned i = 0; i < HISTOGRAMS * FERRY_COUNT_BUCKETS; i++)
        rebase(metrics, histograms[i / FERRY_COUNT_BUCKETS] + i % FERRY_COUNT_BUCKETS);
    for (unsigned i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        /* A raise that the exchange wipes out came after its value grew: the value is read then. */
        _Atomic uint64_t *now = numbers_of(&metrics->now);
        atomic_exchange(&now[peaks[i].peak], 0);
        ferry__raise(&now[peaks[i].peak], atomic_load(&now[peaks[i].value]));
    }
    pthread_mutex_unlock(&metrics->lock);
}
