#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "system.h"

#include <time.h>

int ferry__wire_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int error = pthread_condattr_init(&attr);
    if (error)
        return error;
    error = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!error)
        error = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return error;
}

bool ferry__wire_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                      .tv_nsec = (long)(deadline_ns % 1000000000u)};
    return !pthread_cond_timedwait(cond, lock, &deadline);
}

void ferry__wire_thread_set_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}
