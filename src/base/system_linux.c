#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/system.h"

#include "base/lock_record.h"
#include "base/log.h"
#include "base/pages.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void ferry__thread_set_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

unsigned ferry__cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than the set has bits */
    return online > 0 ? (unsigned)online : 1;
}

bool ferry__pages_huge(void *pages, uint64_t size)
{
    return !madvise(pages, size, MADV_HUGEPAGE);
}

/* glibc has it; not all of Linux is that. */
#ifdef __GLIBC__
enum { SHORT_LOCK = PTHREAD_MUTEX_ADAPTIVE_NP };
#else
enum { SHORT_LOCK = PTHREAD_MUTEX_DEFAULT };
#endif

int ferry__short_lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    int error = pthread_mutexattr_init(&attr);
    if (error != 0)
        return error;
    error = pthread_mutexattr_settype(&attr, SHORT_LOCK);
    if (error == 0)
        error = pthread_mutex_init(lock, &attr);
    pthread_mutexattr_destroy(&attr);
    return error;
}

int ferry__cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int error = pthread_condattr_init(&attr);
    if (error != 0)
        return error;
    error = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (error == 0)
        error = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return error;
}

bool ferry__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    if (ferry__log_kept(lock))
        return true;
    ferry__lock_waiting(lock);
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                             .tv_nsec = (long)(deadline_ns % 1000000000u)};
    const int error = deadline_ns == UINT64_MAX ? pthread_cond_wait(cond, lock)
                                                : pthread_cond_timedwait(cond, lock, &until);
    ferry__lock_waited(lock);
    return error != ETIMEDOUT;
}
