#include "measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Long against reading the clock and short against a scheduler's time slice. */
#define SAMPLE_NS 100000u

enum { CALLS_MAX = 1 << 20 };

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Twice at least, so that nothing that is measured meets memory, or a pool, for the first time. */
static bool warm(struct bench_way *way)
{
    const uint64_t enough_ns = way->sample_ns > 0 ? way->sample_ns : SAMPLE_NS;
    way->calls = 1;
    if (way->run(way->state, 1) == BENCH_FAILED)
        return false;
    for (;;) {
        uint64_t ns = way->run(way->state, way->calls);
        if (ns == BENCH_FAILED)
            return false;
        if (ns >= enough_ns || way->calls >= CALLS_MAX)
            return true;
        way->calls *= 2;
    }
}

static bool sample(struct bench_way *way, size_t round)
{
    if (way->settle && way->run(way->state, 1) == BENCH_FAILED)
        return false;
    uint64_t ns = way->run(way->state, way->calls);
    if (ns == BENCH_FAILED)
        return false;
    way->samples[round] = (double)ns / (double)way->calls / (double)way->items;
    return true;
}

/* At least so many rounds, and at most, and between them until budget_ns is over. */
static size_t measure(struct bench_way *const *ways, size_t count, size_t least, size_t most,
                      uint64_t budget_ns)
{
    uint64_t began = bench_now_ns();
    for (size_t i = 0; i < count; i++)
        if (!warm(ways[i]))
            return 0;
    size_t round = 0;
    while (round < most && (round < least || bench_now_ns() - began < budget_ns)) {
        for (size_t i = 0; i < count; i++)
            if (!sample(ways[(round + i) % count], round))
                return 0;
        round++;
    }
    return round;
}

size_t bench_measure(struct bench_way *const *ways, size_t count, uint64_t budget_ns)
{
    return measure(ways, count, BENCH_ROUNDS_MIN, BENCH_ROUNDS_MAX, budget_ns);
}

size_t bench_measure_rounds(struct bench_way *const *ways, size_t count, size_t rounds)
{
    if (rounds > BENCH_ROUNDS_MAX)
        rounds = BENCH_ROUNDS_MAX;
    return measure(ways, count, rounds, rounds, 0);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct bench_figure figure(double *values, size_t count)
{
    if (count == 0)
        return (struct bench_figure){0, 0, 0};
    qsort(values, count, sizeof *values, compare);
    double middle = values[count / 2];
    if (count % 2 == 0)
        middle = (middle + values[count / 2 - 1]) / 2;
    size_t tenth = count / 10;
    return (struct bench_figure){middle, values[tenth], values[count - 1 - tenth]};
}

struct bench_figure bench_time(const struct bench_way *way, size_t rounds)
{
    double values[BENCH_ROUNDS_MAX];
    memcpy(values, way->samples, rounds * sizeof *values);
    return figure(values, rounds);
}

struct bench_figure bench_ratio(const struct bench_way *way, const struct bench_way *yardstick,
                                size_t rounds)
{
    double values[BENCH_ROUNDS_MAX];
    for (size_t i = 0; i < rounds; i++)
        values[i] = way->samples[i] > 0 ? yardstick->samples[i] / way->samples[i] : 0;
    return figure(values, rounds);
}
