/* What the measuring programs share: they end where something fails. */
#ifndef FERRY_BENCH_PROGRAM_H
#define FERRY_BENCH_PROGRAM_H

#include <ferry/ferry.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline void check(enum ferry_status status, const char *what)
{
    if (!status)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, ferry_status_name(status), ferry_last_error());
    exit(1);
}

#define CHECK(call) check(call, #call)

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void *need(void *memory)
{
    if (memory)
        return memory;
    fprintf(stderr, "no memory\n");
    exit(1);
}

#endif
