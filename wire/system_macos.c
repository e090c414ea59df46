#include "system.h"

#include <time.h>

/* macOS waits for a time from now on; its conditions have no clock. */
int ferry__wire_cond_init(pthread_cond_t *cond)
{
    return pthread_cond_init(cond, NULL);
}

bool ferry__wire_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    const uint64_t left = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    const struct timespec wait = {.tv_sec = (time_t)(left / 1000000000u),
                                  .tv_nsec = (long)(left % 1000000000u)};
    return left && !pthread_cond_timedwait_relative_np(cond, lock, &wait);
}

void ferry__wire_thread_set_name(const char *name)
{
    pthread_setname_np(name);
}
