#include "base/clock.h"

#include <signal.h>
#include <stdint.h>
#include <time.h>

uint64_t ferry__now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t ferry__deadline(uint64_t timeout_ns)
{
    uint64_t now = ferry__now_ns();
    return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}
