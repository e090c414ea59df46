/* What every file of the library uses: memory, errors, log, threads, time, metrics, host copies. */
#ifndef FERRY_BASE_H
#define FERRY_BASE_H

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#define FERRY__PRINTF(text, first) __attribute__((format(printf, text, first)))
#define FERRY__COLD __attribute__((cold, noinline))
#define FERRY__LIKELY(x) __builtin_expect(!!(x), 1)

/* --- memory (alloc.c): tests make the n-th call fail ------------------------------------------ */

void *ferry__alloc(size_t size); /* zeroed; NULL: none */
void *ferry__realloc(void *memory, size_t size);
void ferry__free(void *memory);

/* Tests: the n-th allocation from now (1: the next) fails, once; 0: none. Returns how many there
 * were since the last call. */
uint64_t ferry__alloc_fail_at(uint64_t n);

/* --- errors (status.c) ------------------------------------------------------------------------ */

/* Sets this thread's ferry_last_error(), logs it at INFO, returns status. */
enum ferry_status ferry__fail(enum ferry_status status, const char *format, ...)
    FERRY__PRINTF(2, 3) FERRY__COLD;

/* Sets this thread's ferry_last_error() to why, logs nothing: for a reason that was logged. */
void ferry__set_error(const char *why);

/* What fails between these two on this thread leaves the user's ferry_last_error() alone, unless the
 * status says that it was not recovered from. In between, ferry_last_error() is of what was tried,
 * and so it stays until something else is. They nest. */
void ferry__error_begin(void);
void ferry__error_end(enum ferry_status status);

/* --- log (log.c) ------------------------------------------------------------------------------ */

void ferry__log(enum ferry_log_level level, const char *format, ...)
    FERRY__PRINTF(2, 3) FERRY__COLD;

/* A message that is logged while this thread holds locks taken by these is kept until it has released
 * the last of them: the user's function runs under no lock of ours. */
void ferry__lock(pthread_mutex_t *mutex);
void ferry__unlock(pthread_mutex_t *mutex);
/* May return though nobody has signalled, as any wait on a condition. */
void ferry__cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
/* Before a wait: gives what was kept to the log. True: the lock was given up for that. */
bool ferry__log_kept(pthread_mutex_t *mutex);

/* The level until the program sets one (FERRY_LOG). */
void ferry__log_default(enum ferry_log_level level);

/* --- threads and time (thread.c) -------------------------------------------------------------- */

uint64_t ferry__now_ns(void); /* CLOCK_MONOTONIC */

/* A condition variable on CLOCK_MONOTONIC; waiting until deadline_ns (UINT64_MAX: for ever) returns
 * false when the time is over. */
int ferry__cond_init(pthread_cond_t *cond);
bool ferry__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);

/* now + timeout_ns, that does not wrap. */
uint64_t ferry__deadline(uint64_t timeout_ns);

/* Starts a joinable thread with all signals blocked and the given name (at most 15 characters). */
int ferry__thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg);

/* pthread_cancel waits until the thread has left Ferry, or locks would stay held. Returns what
 * ferry__cancel_on is to be given. */
int ferry__cancel_off(void);
void ferry__cancel_on(int before);

/* This thread's number, from 0 on; given to another thread once this one has ended. */
enum { FERRY__THREADS_MAX = 256 }; /* threads above it get this number and share one shard */
unsigned ferry__thread_number(void);

/* --- metrics (stats.c) ------------------------------------------------------------------------ */

/* What follows the operations in ferry_stats, as atomic counters. */
struct ferry__scalars {
#define FERRY_STAT(field, kind, unit, help) _Atomic uint64_t field;
#define FERRY_STAT_HISTOGRAM(field, sum, help) _Atomic uint64_t field[FERRY_COUNT_BUCKETS];
#include <ferry/stats.inc>
#undef FERRY_STAT
};

struct ferry__shard; /* one thread's counts of operations */

struct ferry__metrics {
    struct ferry__scalars now;
    struct ferry__scalars base; /* what a reset takes off the counters */
    struct ferry_operation_stats operations_base[FERRY_OPERATION_COUNT][FERRY_PATH_COUNT];
    _Atomic(struct ferry__shard *) shards[FERRY__THREADS_MAX + 1];
    pthread_mutex_t lock; /* making shards, reading and resetting */
};

int ferry__metrics_init(struct ferry__metrics *metrics); /* 0, or an errno */
void ferry__metrics_finish(struct ferry__metrics *metrics);

/* Counts a done operation. The first is for small direct ones: no lock, no clock, two plain stores
 * into this thread's shard. */
void ferry__count(struct ferry__metrics *metrics, enum ferry_operation operation,
                  enum ferry_path path, uint64_t bytes);
void ferry__count_timed(struct ferry__metrics *metrics, enum ferry_operation operation,
                        enum ferry_path path, uint64_t bytes, enum ferry_status status,
                        uint64_t time_ns);

/* Counts a submission that was handed over. */
void ferry__count_submission(struct ferry__metrics *metrics, uint64_t operations,
                             uint64_t commands);

#define FERRY__ADD(metrics, field, n) \
    ((void)atomic_fetch_add_explicit(&(metrics)->now.field, (uint64_t)(n), memory_order_relaxed))

/* Raises a peak. */
void ferry__raise(_Atomic uint64_t *peak, uint64_t value);

const char *ferry__operation_name(enum ferry_operation operation);

void ferry__metrics_read(struct ferry__metrics *metrics, struct ferry_stats *out);
void ferry__metrics_reset(struct ferry__metrics *metrics); /* the peaks too */

/* --- host copies (copy_host.c) ---------------------------------------------------------------- */

/* memcpy, by several threads above a few MiB; the ranges do not overlap. Never slower than one
 * thread on a busy machine: the caller does whatever no helper has begun. */
void ferry__copy_host(void *dst, const void *src, size_t size);

/* The same for a chunk of a transfer through staging: by several threads sooner, since more chunks
 * follow at once. whole: bytes of the transfer, where dst is the user's; 0: dst is staging, and read
 * again soon. cpus_taken: CPUs that are left to the device. */
void ferry__copy_chunk(void *dst, const void *src, size_t size, uint64_t whole,
                       unsigned cpus_taken);

/* memmove, in the same way where the ranges do not overlap. */
void ferry__move_host(void *dst, const void *src, size_t size);

/* Repeats pattern (1 to 16 bytes) from dst on; the pattern begins at phase bytes. */
void ferry__fill_host(void *dst, size_t size, const void *pattern, size_t pattern_size,
                      size_t phase);

/* --- offsets in a block (arena.c): a two-level segregated fit --------------------------------- */

/* Hands out ranges of [0, size). Pure bookkeeping on host memory; not locked. Constant time. */
struct ferry__arena;
struct ferry__arena *ferry__arena_create(uint64_t size); /* NULL: no memory */
void ferry__arena_destroy(struct ferry__arena *arena);

/* size is rounded up to FERRY_BUFFER_ALIGNMENT; false: no room, or no host memory. */
bool ferry__arena_take(struct ferry__arena *arena, uint64_t size, uint64_t *out_offset,
                       void **out_range);
void ferry__arena_give(struct ferry__arena *arena, void *range); /* never fails, never allocates */
uint64_t ferry__arena_used(const struct ferry__arena *arena);    /* bytes handed out */

#endif
