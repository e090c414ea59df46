#include "base/system.h"

#include "base/clock.h"
#include "base/lock_record.h"
#include "base/log.h"
#include "base/pages.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

void ferry__thread_set_name(const char *name)
{
    pthread_setname_np(name);
}

unsigned ferry__cpu_count(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

/* Macs choose the size of pages themselves. */
bool ferry__pages_huge(void *pages, uint64_t size)
{
    (void)pages;
    (void)size;
    return false;
}

int ferry__short_lock_init(pthread_mutex_t *lock)
{
    return pthread_mutex_init(lock, NULL);
}

int ferry__cond_init(pthread_cond_t *cond)
{
    return pthread_cond_init(cond, NULL);
}

/* There is no attribute for the clock here, but a wait for a time from now on. */
bool ferry__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    if (ferry__log_kept(lock))
        return true;
    ferry__lock_waiting(lock);
    uint64_t now = ferry__now_ns();
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
    struct timespec time = {.tv_sec = (time_t)(left / 1000000000u),
                            .tv_nsec = (long)(left % 1000000000u)};
    const int error = deadline_ns == UINT64_MAX
                          ? pthread_cond_wait(cond, lock)
                          : pthread_cond_timedwait_relative_np(cond, lock, &time);
    ferry__lock_waited(lock);
    return error != ETIMEDOUT;
}
