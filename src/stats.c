#include "base.h"
#include "text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
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
    if (shared == NULL)
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
    if (shard == NULL)
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
    *is_own = true;
    if (FERRY__LIKELY(shard != NULL && number < FERRY__THREADS_MAX))
        return shard;
    if (shard == NULL)
        shard = make_shard(metrics, number);
    *is_own = shard != shared_shard(metrics);
    return shard;
}

void ferry__count(struct ferry__metrics *metrics, enum ferry_operation operation,
                  enum ferry_path path, uint64_t bytes)
{
    bool is_own;
    struct counts *counts = &find_shard(metrics, &is_own)->counts[operation][path];
    if (FERRY__LIKELY(is_own)) {
        add_own(&counts->operations, 1);
        add_own(&counts->bytes, bytes);
    } else {
        add_shared(&counts->operations, 1);
        add_shared(&counts->bytes, bytes);
    }
}

static unsigned bucket_of(uint64_t time_ns)
{
    unsigned i = 0;
    while (i < FERRY_TIME_BUCKETS - 1 && time_ns > (uint64_t)FERRY_TIME_BUCKET_NS << (2 * i))
        i++;
    return i;
}

void ferry__count_timed(struct ferry__metrics *metrics, enum ferry_operation operation,
                        enum ferry_path path, uint64_t bytes, enum ferry_status status,
                        uint64_t time_ns)
{
    bool is_own;
    struct counts *counts = &find_shard(metrics, &is_own)->counts[operation][path];
    void (*add)(_Atomic uint64_t *, uint64_t) = is_own ? add_own : add_shared;
    bool failed = status != FERRY_OK;
    add(&counts->operations, 1);
    add(&counts->bytes, failed ? 0 : bytes);
    add(&counts->errors, failed);
    add(&counts->timed, 1);
    add(&counts->time_ns, time_ns);
    add(&counts->buckets[bucket_of(time_ns)], 1);
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
enum unit { NONE, BYTES, SECONDS };

/* A scalar: where it is in struct ferry_stats and in struct ferry__scalars, and what it is. */
static const struct scalar {
    const char *field, *help;
    enum kind kind;
    enum unit unit;
    size_t offset, atomic_offset;
} scalars[] = {
#define FERRY_STAT(field, kind, unit, help)                                                        \
    {#field, help, kind, unit, offsetof(struct ferry_stats, field),                                \
     offsetof(struct ferry__scalars, field)},
#include <ferry/stats.inc>
#undef FERRY_STAT
};
enum { SCALARS = sizeof scalars / sizeof *scalars };

/* The peaks and the values whose peaks they are: a reset starts a peak from its value. */
static const struct peak {
    size_t peak, value;
} peaks[] = {
#define PEAK(peak_field, value_field)                                                              \
    {offsetof(struct ferry__scalars, peak_field), offsetof(struct ferry__scalars, value_field)}
    PEAK(staging_upload_peak_bytes, staging_upload_bytes),
    PEAK(staging_readback_peak_bytes, staging_readback_bytes),
    PEAK(memory_peak_bytes, memory_in_use_bytes),
#undef PEAK
};

static _Atomic uint64_t *atomic_at(struct ferry__scalars *of, size_t offset)
{
    return (_Atomic uint64_t *)((char *)of + offset);
}

static uint64_t value_at(const struct ferry_stats *stats, const struct scalar *scalar)
{
    return *(const uint64_t *)((const char *)stats + scalar->offset);
}

enum { FIELDS = 5 + FERRY_TIME_BUCKETS };
static_assert(sizeof(struct ferry_operation_stats) == FIELDS * sizeof(uint64_t) &&
                  sizeof(struct counts) == FIELDS * sizeof(_Atomic uint64_t) &&
                  offsetof(struct ferry_operation_stats, buckets) ==
                      offsetof(struct counts, buckets),
              "the two are the same numbers in the same order");

/* Under the lock. The sums only grow, so what a reset saw is never more than what is read later. */
static void sum_shards(struct ferry__metrics *metrics,
                       struct ferry_operation_stats out[FERRY_OPERATION_COUNT][FERRY_PATH_COUNT])
{
    enum { NUMBERS = FERRY_OPERATION_COUNT * FERRY_PATH_COUNT * FIELDS };
    memset(out, 0, FERRY_OPERATION_COUNT * sizeof *out);
    uint64_t *sums = (uint64_t *)out;
    for (unsigned i = 0; i <= FERRY__THREADS_MAX; i++) {
        struct ferry__shard *shard =
            atomic_load_explicit(&metrics->shards[i], memory_order_acquire);
        if (shard == NULL)
            continue;
        _Atomic uint64_t *numbers = (_Atomic uint64_t *)shard->counts;
        for (unsigned n = 0; n < NUMBERS; n++)
            sums[n] += atomic_load_explicit(&numbers[n], memory_order_relaxed);
    }
}

static void subtract(uint64_t *from, const uint64_t *what, size_t count)
{
    for (size_t i = 0; i < count; i++)
        from[i] -= what[i];
}

void ferry__metrics_read(struct ferry__metrics *metrics, struct ferry_stats *out)
{
    pthread_mutex_lock(&metrics->lock);
    sum_shards(metrics, out->operations);
    subtract((uint64_t *)out->operations, (const uint64_t *)metrics->operations_base,
             sizeof out->operations / sizeof(uint64_t));
    for (unsigned i = 0; i < SCALARS; i++) {
        uint64_t now = atomic_load(atomic_at(&metrics->now, scalars[i].atomic_offset));
        uint64_t base = atomic_load(atomic_at(&metrics->base, scalars[i].atomic_offset));
        *(uint64_t *)((char *)out + scalars[i].offset) = now - base;
    }
    pthread_mutex_unlock(&metrics->lock);
}

void ferry__metrics_reset(struct ferry__metrics *metrics)
{
    pthread_mutex_lock(&metrics->lock);
    sum_shards(metrics, metrics->operations_base);
    for (unsigned i = 0; i < SCALARS; i++) {
        if (scalars[i].kind != COUNTER)
            continue;
        uint64_t now = atomic_load(atomic_at(&metrics->now, scalars[i].atomic_offset));
        atomic_store(atomic_at(&metrics->base, scalars[i].atomic_offset), now);
    }
    for (unsigned i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        /* A raise that the exchange wipes out came after its value grew: the value is read then. */
        _Atomic uint64_t *peak = atomic_at(&metrics->now, peaks[i].peak);
        atomic_exchange(peak, 0);
        ferry__raise(peak, atomic_load(atomic_at(&metrics->now, peaks[i].value)));
    }
    pthread_mutex_unlock(&metrics->lock);
}

/* --- text ------------------------------------------------------------------------------------- */

static const char *const operation_names[] = {
    [FERRY_OPERATION_UPLOAD] = "upload",
    [FERRY_OPERATION_DOWNLOAD] = "download",
    [FERRY_OPERATION_COPY] = "copy",
    [FERRY_OPERATION_FILL] = "fill",
};
static_assert(sizeof operation_names / sizeof *operation_names == FERRY_OPERATION_COUNT,
              "an operation has no name");

const char *ferry__operation_name(enum ferry_operation operation)
{
    return operation_names[operation];
}

static bool is_used(const struct ferry_operation_stats *stats)
{
    static const struct ferry_operation_stats none;
    return memcmp(stats, &none, sizeof none) != 0;
}

/* Operations and paths that never met are left out of the texts. */
typedef void (*visit_fn)(struct ferry__text *text, const struct ferry_operation_stats *stats,
                         const char *operation, const char *path, const void *user);

static void visit(struct ferry__text *text, const struct ferry_stats *stats, visit_fn fn,
                  const void *user)
{
    for (unsigned operation = 0; operation < FERRY_OPERATION_COUNT; operation++) {
        for (unsigned path = 0; path < FERRY_PATH_COUNT; path++) {
            const struct ferry_operation_stats *one = &stats->operations[operation][path];
            if (is_used(one))
                fn(text, one, operation_names[operation], ferry_path_name(path), user);
        }
    }
}

/* The counters of one operation on one path. */
static const struct family {
    const char *name, *help;
    size_t offset;
} families[] = {
    {"ferry_operations_total", "Operations done",
     offsetof(struct ferry_operation_stats, operations)},
    {"ferry_operation_bytes_total", "Bytes of operations that succeeded",
     offsetof(struct ferry_operation_stats, bytes)},
    {"ferry_operation_errors_total", "Operations that failed",
     offsetof(struct ferry_operation_stats, errors)},
};

static void prometheus_family(struct ferry__text *text, const struct ferry_operation_stats *stats,
                              const char *operation, const char *path, const void *user)
{
    const struct family *family = user;
    ferry__put(text, "%s{operation=\"%s\",path=\"%s\"} %" PRIu64 "\n", family->name, operation,
               path, *(const uint64_t *)((const char *)stats + family->offset));
}

#define DURATION "ferry_operation_duration_seconds"

/* The count is that of the buckets: the two must agree also in a snapshot taken while counting. */
static void prometheus_histogram(struct ferry__text *text,
                                 const struct ferry_operation_stats *stats, const char *operation,
                                 const char *path, const void *user)
{
    (void)user;
    uint64_t sum = 0;
    for (unsigned i = 0; i < FERRY_TIME_BUCKETS; i++) {
        sum += stats->buckets[i];
        ferry__put(text, DURATION "_bucket{operation=\"%s\",path=\"%s\",le=\"", operation, path);
        if (i < FERRY_TIME_BUCKETS - 1)
            ferry__put_seconds(text, (uint64_t)FERRY_TIME_BUCKET_NS << (2 * i));
        else
            ferry__put(text, "+Inf");
        ferry__put(text, "\"} %" PRIu64 "\n", sum);
    }
    ferry__put(text, DURATION "_sum{operation=\"%s\",path=\"%s\"} ", operation, path);
    ferry__put_seconds(text, stats->time_ns);
    ferry__put(text, "\n" DURATION "_count{operation=\"%s\",path=\"%s\"} %" PRIu64 "\n", operation,
               path, sum);
}

/* Nanoseconds become seconds in name and value; counters end in _total. */
static void prometheus_scalar(struct ferry__text *text, const struct scalar *scalar, uint64_t value)
{
    int length = (int)strlen(scalar->field) - (scalar->unit == SECONDS ? (int)strlen("_ns") : 0);
    char name[80];
    snprintf(name, sizeof name, "ferry_%.*s%s%s", length, scalar->field,
             scalar->unit == SECONDS ? "_seconds" : "", scalar->kind == COUNTER ? "_total" : "");
    ferry__put(text, "# HELP %s %s\n# TYPE %s %s\n%s ", name, scalar->help, name,
               scalar->kind == COUNTER ? "counter" : "gauge", name);
    if (scalar->unit == SECONDS)
        ferry__put_seconds(text, value);
    else
        ferry__put(text, "%" PRIu64, value);
    ferry__put(text, "\n");
}

static void format_prometheus(struct ferry__text *text, const struct ferry_stats *stats)
{
    for (unsigned i = 0; i < sizeof families / sizeof *families; i++) {
        ferry__put(text, "# HELP %s %s\n# TYPE %s counter\n", families[i].name, families[i].help,
                   families[i].name);
        visit(text, stats, prometheus_family, &families[i]);
    }
    ferry__put(text, "# HELP " DURATION
                     " Time from call to completion of the operations that were timed\n"
                     "# TYPE " DURATION " histogram\n");
    visit(text, stats, prometheus_histogram, NULL);
    for (unsigned i = 0; i < SCALARS; i++)
        prometheus_scalar(text, &scalars[i], value_at(stats, &scalars[i]));
}

static void json_operation(struct ferry__text *text, const struct ferry_operation_stats *stats,
                           const char *operation, const char *path, const void *user)
{
    size_t start = *(const size_t *)user;
    ferry__put(text, "%s{\"operation\":\"%s\",\"path\":\"%s\",\"operations\":%" PRIu64,
               text->length == start ? "" : ",", operation, path, stats->operations);
    ferry__put(text, ",\"bytes\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"timed\":%" PRIu64,
               stats->bytes, stats->errors, stats->timed);
    ferry__put(text, ",\"time_ns\":%" PRIu64 ",\"buckets\":[", stats->time_ns);
    for (unsigned i = 0; i < FERRY_TIME_BUCKETS; i++)
        ferry__put(text, "%s%" PRIu64, i == 0 ? "" : ",", stats->buckets[i]);
    ferry__put(text, "]}");
}

static void format_json(struct ferry__text *text, const struct ferry_stats *stats)
{
    ferry__put(text, "{\"operations\":[");
    size_t start = text->length;
    visit(text, stats, json_operation, &start);
    ferry__put(text, "]");
    for (unsigned i = 0; i < SCALARS; i++)
        ferry__put(text, ",\"%s\":%" PRIu64, scalars[i].field, value_at(stats, &scalars[i]));
    ferry__put(text, "}\n");
}

enum ferry_status ferry_stats_format(const struct ferry_stats *stats,
                                     enum ferry_stats_format format, char *out, size_t capacity,
                                     size_t *out_size)
{
    static void (*const formats[])(struct ferry__text *, const struct ferry_stats *) = {
        [FERRY_STATS_PROMETHEUS] = format_prometheus,
        [FERRY_STATS_JSON] = format_json,
    };
    if (stats == NULL || out_size == NULL)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s is NULL",
                           stats == NULL ? "stats" : "out_size");
    if (out == NULL && capacity > 0)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "out is NULL, but capacity is %zu",
                           capacity);
    if ((size_t)format >= sizeof formats / sizeof *formats)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "there is no stats format %d",
                           (int)format);
    struct ferry__text text = {.out = out, .capacity = capacity};
    formats[format](&text, stats);
    *out_size = text.length;
    return FERRY_OK;
}
