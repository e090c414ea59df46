#include "measure.h"

#include <string.h>

/* The compiler may not leave out a copy that nobody reads. */
static void copy(unsigned char *to, const unsigned char *from, size_t size)
{
    memcpy(to, from, size);
    __asm__ volatile("" : : "r"(to) : "memory");
}

struct share {
    const struct bench_memcpy *yardstick;
    uint64_t calls;
    unsigned threads;
};

static void copy_share(void *state, unsigned index)
{
    const struct share *share = state;
    const struct bench_memcpy *yardstick = share->yardstick;
    size_t part = yardstick->size / share->threads, begin = part * index;
    size_t size = index == share->threads - 1 ? yardstick->size - begin : part;
    for (uint64_t i = 0; i < share->calls; i++)
        copy(yardstick->to + begin, yardstick->from + begin, size);
}

uint64_t bench_run_memcpy(void *state, uint64_t calls)
{
    const struct bench_memcpy *yardstick = state;
    if (yardstick->team) {
        struct share share = {yardstick, calls, 2};
        return bench_team_run(yardstick->team, copy_share, &share);
    }
    uint64_t began = bench_now_ns();
    for (uint64_t i = 0; i < calls; i++)
        copy(yardstick->to, yardstick->from, yardstick->size);
    return bench_now_ns() - began;
}
