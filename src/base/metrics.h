/* Counters of what was done. */
#ifndef FERRY_BASE_METRICS_H
#define FERRY_BASE_METRICS_H

#include "base/thread.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__shard;

/* What follows the operations in ferry_stats, as atomic counters. */
struct ferry__scalars {
#define FERRY_STAT(field, kind, unit, help) _Atomic uint64_t field;
#define FERRY_STAT_HISTOGRAM(field, sum, help) _Atomic uint64_t field[FERRY_COUNT_BUCKETS];
#include <ferry/stats.inc>
#undef FERRY_STAT
};
#define FERRY__SCALAR_INDEX(field) (offsetof(struct ferry__scalars, field) / sizeof(uint64_t))

struct ferry__metrics {
    struct ferry__scalars now;
    struct ferry__scalars base; /* what a reset takes off the counters */
    struct ferry_operation_stats operations_base[FERRY_OPERATIONS_MAX][FERRY_PATHS_MAX];
    _Atomic(struct ferry__shard *) shards[FERRY__THREADS_MAX + 1];
    pthread_mutex_t lock; /* making shards, reading and resetting */
};

int ferry__metrics_init(struct ferry__metrics *metrics); /* 0, or an errno */
void ferry__metrics_finish(struct ferry__metrics *metrics);

/* Counts done operations. The first is for small direct ones: no lock, no clock, two plain stores
 * into this thread's shard. */
void ferry__count_many(struct ferry__metrics *metrics, enum ferry_operation operation,
                       enum ferry_path path, uint64_t operations, uint64_t bytes);
static inline void ferry__count(struct ferry__metrics *metrics, enum ferry_operation operation,
                                enum ferry_path path, uint64_t bytes)
{
    ferry__count_many(metrics, operation, path, 1, bytes);
}
void ferry__count_timed_many(struct ferry__metrics *metrics, enum ferry_operation operation,
                             enum ferry_path path, uint64_t operations, uint64_t bytes,
                             enum ferry_status status, uint64_t time_ns); /* of each */
static inline void ferry__count_timed(struct ferry__metrics *metrics,
                                      enum ferry_operation operation, enum ferry_path path,
                                      uint64_t bytes, enum ferry_status status, uint64_t time_ns)
{
    ferry__count_timed_many(metrics, operation, path, 1, bytes, status, time_ns);
}

/* Counts a submission that was handed over. */
void ferry__count_submission(struct ferry__metrics *metrics, uint64_t operations,
                             uint64_t commands);
#define FERRY__ADD(metrics, field, n) \
    ((void)atomic_fetch_add_explicit(&(metrics)->now.field, (uint64_t)(n), memory_order_relaxed))

/* Raises a peak. */
void ferry__raise(_Atomic uint64_t *peak, uint64_t value);
const char *ferry__operation_name(enum ferry_operation operation);
/* The first size bytes of the statistics: a waiter's stack may have no room for all of them. */
void ferry__metrics_read(struct ferry__metrics *metrics, struct ferry_stats *out, size_t size);
void ferry__metrics_read_one(struct ferry__metrics *metrics, enum ferry_operation operation,
                             enum ferry_path path, struct ferry_operation_stats *out);
/* One of those that follow the operations. */
#define FERRY__READ(metrics, field) \
    (atomic_load(&(metrics)->now.field) - atomic_load(&(metrics)->base.field))
void ferry__metrics_reset(struct ferry__metrics *metrics); /* the peaks too */

#endif
