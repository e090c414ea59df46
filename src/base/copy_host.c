#include "base/copy_host.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "base/system.h"
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* Measured on two CPUs of a Zen 5 with 32 MiB of last-level cache. Below PARALLEL_MIN waking a
 * helper costs more than it gains. From STREAM_MIN on stores that go round the cache win, since
 * nothing of the destination is read first. */
#define MIB ((size_t)1 << 20)
#define PARALLEL_MIN (4 * MIB)
#define STREAM_MIN (32 * MIB)
#define PIECE (MIB / 4)
/* Chunks of a transfer follow each other closely, and each is short: helpers begin sooner, in
 * smaller pieces, and stay awake for the next one. */
#define CHUNK_PARALLEL_MIN (MIB / 2)
#define CHUNK_PIECE (MIB / 8)
/* Shorter ones are shared with a helper that is awake; and one is woken where many follow in a row:
 * on 16 CPUs beside an H200 2 MiB of 256 KiB each took a fifth longer so, and 16 MiB a quarter
 * less. */
#define ROW_PARALLEL_MIN (2 * CHUNK_PIECE)
#define ROW_MIN (8 * MIB)
#define PAGE ((size_t)4096)
#define WINDOW ((size_t)32 << 10)

enum { JOBS = 8, HELPERS_MAX = 7, YIELDS_MAX = 200, NAP_NS = 20000, LINGER_NS = 100000 };

/* --- copying round the cache ------------------------------------------------------------------ */

/* The C library does so by itself from a size on that differs wildly between machines (100 and 288
 * MiB were seen), and is asked for each part alone. */
#if defined(__SSE2__)
#include <emmintrin.h>

enum { LINE = 64 };

static void copy_stream(unsigned char *dst, const unsigned char *src, size_t size)
{
    size_t head = -(uintptr_t)dst % LINE;
    if (head > size)
        head = size;
    memcpy(dst, src, head);
    dst += head;
    src += head;
    size -= head;
    for (; size >= LINE; dst += LINE, src += LINE, size -= LINE) {
        __m128i *to = (__m128i *)dst;
        const __m128i *from = (const __m128i *)src;
        __m128i line[] = {_mm_loadu_si128(from), _mm_loadu_si128(from + 1),
                          _mm_loadu_si128(from + 2), _mm_loadu_si128(from + 3)};
        _mm_stream_si128(to, line[0]);
        _mm_stream_si128(to + 1, line[1]);
        _mm_stream_si128(to + 2, line[2]);
        _mm_stream_si128(to + 3, line[3]);
    }
    memcpy(dst, src, size);
    _mm_sfence(); /* such stores are not ordered before the release that says they are done */
}
#else
static void copy_stream(unsigned char *dst, const unsigned char *src, size_t size)
{
    memcpy(dst, src, size);
}
#endif

static void copy_cached(unsigned char *dst, const unsigned char *src, size_t size)
{
    memcpy(dst, src, size);
}

/* --- work: a range cut in parts --------------------------------------------------------------- */

/* Part i is [i * part - skew, (i + 1) * part - skew) of [0, size). Constant while it is shared. */
struct work {
    void (*run)(const struct work *work, size_t begin, size_t end);
    void (*copy)(unsigned char *dst, const unsigned char *src, size_t size);
    unsigned char *dst;
    const unsigned char *src;
    size_t size, part, skew;
    size_t window; /* fills: the repeated bytes before dst, a multiple of the pattern */
    uint32_t count;
    bool more; /* another job is likely to follow at once */
};

static void run_part(const struct work *work, uint32_t i)
{
    size_t begin = i == 0 ? 0 : i * work->part - work->skew;
    size_t end = i == work->count - 1 ? work->size : (i + 1) * work->part - work->skew;
    work->run(work, begin, end);
}

/* --- the jobs that helpers may join ------------------------------------------------------------
 *
 * A helper touches a caller's work only after it has claimed a part of it, and the caller waits for
 * claimed parts only. So a helper that sleeps between finding a job and claiming a part holds up
 * nobody: its claim fails, since the generation has moved on. */

struct job {
    _Atomic bool taken;
    _Atomic uint32_t done;  /* parts */
    _Atomic uint64_t claim; /* generation << 32 | parts that nobody has begun */
    _Atomic(const struct work *) work;
};

static struct {
    pthread_once_t once;
    pthread_mutex_t lock; /* guards sleeping, and that no wake-up is lost */
    pthread_cond_t wake;
    unsigned sleeping;
    _Atomic unsigned lingering; /* helpers that are awake, with nothing to do */
    _Atomic unsigned helpers;   /* 0: none, or the child of a fork */
    struct job jobs[JOBS];
} pool = {
    .once = PTHREAD_ONCE_INIT,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
};

/* Does one part of the job; false: there is none left to begin. *more is that of the work. */
static bool run_one(struct job *job, bool *more)
{
    uint64_t claim = atomic_load_explicit(&job->claim, memory_order_acquire);
    const struct work *work;
    do {
        if ((uint32_t)claim == 0)
            return false;
        work = atomic_load_explicit(&job->work, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&job->claim, &claim, claim - 1,
                                                    memory_order_acquire, memory_order_acquire));
    *more = work->more; /* after the part the work may be gone */
    run_part(work, work->count - (uint32_t)claim);
    atomic_fetch_add_explicit(&job->done, 1, memory_order_release);
    return true;
}

static struct job *open_job(void)
{
    for (unsigned i = 0; i < JOBS; i++)
        if ((uint32_t)atomic_load_explicit(&pool.jobs[i].claim, memory_order_acquire) != 0)
            return &pool.jobs[i];
    return NULL;
}

/* Wakes one helper for so many parts, unless enough are awake: it wakes the next, so that the
 * caller pays for one at most. */
static void wake_one(uint32_t parts)
{
    if (parts <= atomic_load_explicit(&pool.lingering, memory_order_relaxed))
        return;
    pthread_mutex_lock(&pool.lock);
    bool wake = pool.sleeping > 0;
    pthread_mutex_unlock(&pool.lock);
    if (wake)
        pthread_cond_signal(&pool.wake);
}

/* Yields for a while, until there is a job: a wake-up takes longer than a chunk. */
static struct job *linger(void)
{
    const uint64_t end = ferry__now_ns() + LINGER_NS;
    struct job *job;
    atomic_fetch_add_explicit(&pool.lingering, 1, memory_order_relaxed);
    while (!(job = open_job()) && ferry__now_ns() < end)
        sched_yield();
    atomic_fetch_sub_explicit(&pool.lingering, 1, memory_order_relaxed);
    return job;
}

static struct job *sleep_for_job(void)
{
    struct job *job;
    pthread_mutex_lock(&pool.lock);
    while (!(job = open_job())) {
        pool.sleeping++;
        pthread_cond_wait(&pool.wake, &pool.lock);
        pool.sleeping--;
    }
    bool wake = pool.sleeping > 0;
    pthread_mutex_unlock(&pool.lock);
    if (wake)
        pthread_cond_signal(&pool.wake);
    return job;
}

static void *help(void *unused)
{
    (void)unused;
    bool more = false;
    for (;;) {
        struct job *job = more ? linger() : NULL;
        if (!job)
            job = sleep_for_job();
        while (run_one(job, &more))
            continue;
    }
    return NULL;
}

/* In the child of a fork there are no helpers, and jobs of threads that are not there. */
static void after_fork(void)
{
    atomic_store(&pool.helpers, 0);
}

/* All CPUs of a small machine, about half of a large one: memory is busy before all CPUs are. */
static unsigned helpers_wanted(unsigned cpus)
{
    unsigned wanted = cpus <= 4 ? cpus - 1 : cpus / 2 + 1;
    return wanted > HELPERS_MAX ? HELPERS_MAX : wanted;
}

static void start_helpers(void)
{
    unsigned wanted = helpers_wanted(ferry__cpu_count());
    if (wanted == 0 || pthread_atfork(NULL, NULL, after_fork) != 0)
        return;
    unsigned started = 0;
    pthread_t thread;
    while (started < wanted && ferry__thread_start(&thread, "ferry-copy", help, NULL) == 0) {
        pthread_detach(thread);
        started++;
    }
    atomic_store(&pool.helpers, started);
}

static unsigned helper_count(void)
{
    pthread_once(&pool.once, start_helpers);
    return atomic_load_explicit(&pool.helpers, memory_order_relaxed);
}

/* --- the caller's side ------------------------------------------------------------------------ */

static struct job *take_job(void)
{
    for (unsigned i = 0; i < JOBS; i++) {
        bool expected = false;
        if (atomic_compare_exchange_strong_explicit(&pool.jobs[i].taken, &expected, true,
                                                    memory_order_acquire, memory_order_relaxed))
            return &pool.jobs[i];
    }
    return NULL;
}

static void publish(struct job *job, const struct work *work)
{
    uint64_t generation = (atomic_load_explicit(&job->claim, memory_order_relaxed) >> 32) + 1;
    atomic_store_explicit(&job->done, 0, memory_order_relaxed);
    atomic_store_explicit(&job->work, work, memory_order_relaxed);
    atomic_store_explicit(&job->claim, generation << 32 | work->count, memory_order_release);
    wake_one(work->count - 1); /* the caller does one */
}

/* Yields, and naps when that does not help, as when a helper has a lower priority. */
static void wait_done(struct job *job, uint32_t count)
{
    const struct timespec nap = {.tv_nsec = NAP_NS};
    for (unsigned i = 0; atomic_load_explicit(&job->done, memory_order_acquire) != count; i++)
        if (i < YIELDS_MAX)
            sched_yield();
        else
            nanosleep(&nap, NULL);
}

/* In parts that begin with a page of dst, so that no two threads write to one. */
static void cut(struct work *work)
{
    size_t part = work->part, skew = (uintptr_t)work->dst & (PAGE - 1);
    while ((work->size + skew) / part >= UINT32_MAX)
        part *= 2;
    work->part = part;
    work->skew = skew;
    work->count = (uint32_t)((work->size + skew + part - 1) / part);
}

/* Does the work, with helpers where parallel says so and there are any. */
static void run(struct work *work, bool parallel)
{
    struct job *job = parallel && helper_count() > 0 ? take_job() : NULL;
    bool more;
    if (!job) {
        work->run(work, 0, work->size);
        return;
    }
    cut(work);
    publish(job, work);
    while (run_one(job, &more))
        continue;
    wait_done(job, work->count);
    atomic_store_explicit(&job->taken, false, memory_order_release);
}

/* --- copies ----------------------------------------------------------------------------------- */

static void copy_part(const struct work *work, size_t begin, size_t end)
{
    work->copy(work->dst + begin, work->src + begin, end - begin);
}

void ferry__copy_host(void *dst, const void *src, size_t size)
{
    if (FERRY__LIKELY(size < PARALLEL_MIN)) {
        if (size > 0)
            memcpy(dst, src, size);
        return;
    }
    struct work work = {.run = copy_part,
                        .copy = size < STREAM_MIN ? copy_cached : copy_stream,
                        .dst = dst,
                        .src = src,
                        .size = size,
                        .part = PIECE};
    run(&work, true);
}

void ferry__copy_chunk(void *dst, const void *src, size_t size, uint64_t whole, uint64_t next,
                       unsigned cpus_taken)
{
    const bool awake = atomic_load_explicit(&pool.lingering, memory_order_relaxed) > 0;
    const size_t enough = awake || next >= ROW_MIN ? ROW_PARALLEL_MIN : CHUNK_PARALLEL_MIN;
    struct work work = {.run = copy_part,
                        .copy = whole < STREAM_MIN ? copy_cached : copy_stream,
                        .dst = dst,
                        .src = src,
                        .size = size,
                        .part = CHUNK_PIECE,
                        .more = true};
    run(&work, size >= enough && helper_count() > cpus_taken);
}

void ferry__move_host(void *dst, const void *src, size_t size)
{
    uintptr_t to = (uintptr_t)dst, from = (uintptr_t)src;
    uintptr_t distance = to > from ? to - from : from - to;
    if (distance >= size)
        ferry__copy_host(dst, src, size);
    else
        memmove(dst, src, size);
}

/* --- fills ------------------------------------------------------------------------------------ */

/* Repeats the window that lies before dst; part starts may be anywhere in it. */
static void repeat_part(const struct work *work, size_t begin, size_t end)
{
    const unsigned char *window = work->dst - work->window;
    size_t at = begin % work->window;
    while (begin < end) {
        size_t length = work->window - at < end - begin ? work->window - at : end - begin;
        work->copy(work->dst + begin, window + at, length);
        begin += length;
        at = 0;
    }
}

static bool all_equal(const unsigned char *pattern, size_t size)
{
    return memcmp(pattern, pattern + 1, size - 1) == 0;
}

/* The window is small enough to stay in the cache, and doubled up from one pattern. */
static void fill_pattern(unsigned char *dst, size_t size, const unsigned char *pattern,
                         size_t pattern_size, size_t phase)
{
    size_t window = WINDOW / pattern_size * pattern_size;
    size_t limit = size < window ? size : window;
    size_t done = limit < pattern_size ? limit : pattern_size;
    for (size_t i = 0; i < done; i++)
        dst[i] = pattern[(phase + i) % pattern_size];
    while (done < limit) {
        size_t length = limit - done < done ? limit - done : done;
        memcpy(dst + done, dst, length);
        done += length;
    }
    if (size == done)
        return;
    struct work work = {.run = repeat_part,
                        .copy = size - done < STREAM_MIN ? copy_cached : copy_stream,
                        .dst = dst + done,
                        .size = size - done,
                        .part = PIECE,
                        .window = window};
    run(&work, size - done >= PARALLEL_MIN);
}

/* One memset runs at four times the speed of one memcpy: two threads were slower at every size. */
void ferry__fill_host(void *dst, size_t size, const void *pattern, size_t pattern_size,
                      size_t phase)
{
    const unsigned char *bytes = pattern;
    if (size == 0)
        return;
    if (all_equal(bytes, pattern_size))
        memset(dst, bytes[0], size);
    else
        fill_pattern(dst, size, bytes, pattern_size, phase % pattern_size);
}
