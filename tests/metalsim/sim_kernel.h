/* What makes C of the text of drivers/metal/kernels.inc. Every load and store is checked. */
#ifndef METALSIM_SIM_KERNEL_H
#define METALSIM_SIM_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* A vector that is filled word by word is no error, in either language. */
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

typedef unsigned char uchar;
typedef unsigned int uint __attribute__((may_alias));
typedef unsigned long ulong;
typedef unsigned int uint4 __attribute__((vector_size(16), may_alias));

/* What the kernel that runs may read and write: one range of each, or those of a list. */
struct sim_span {
    const uchar *begin, *end;
};

struct sim_bounds {
    const uchar *read, *read_end, *write, *write_end;
    const struct sim_span *reads, *writes; /* sorted, and none meets another */
    uint64_t read_count, write_count;
    struct sim_span list;
    bool broken;
};

extern _Thread_local struct sim_bounds sim_bounds;

static inline bool sim_in_spans(const struct sim_span *spans, uint64_t count, const uchar *at,
                                uint64_t size)
{
    uint64_t low = 0, high = count;
    while (high - low > 1) {
        const uint64_t middle = (low + high) / 2;
        if (spans[middle].begin <= at)
            low = middle;
        else
            high = middle;
    }
    return count && at >= spans[low].begin && at + size <= spans[low].end;
}

static inline bool sim_may_read(const void *p, uint64_t size)
{
    const uchar *at = p;
    const bool inside = (at >= sim_bounds.read && at + size <= sim_bounds.read_end) ||
                        (at >= sim_bounds.list.begin && at + size <= sim_bounds.list.end) ||
                        sim_in_spans(sim_bounds.reads, sim_bounds.read_count, at, size);
    const bool may = inside && (uintptr_t)p % size == 0;
    sim_bounds.broken |= !may;
    return may;
}

static inline bool sim_may_write(void *p, uint64_t size)
{
    const uchar *at = p;
    const bool inside = (at >= sim_bounds.write && at + size <= sim_bounds.write_end) ||
                        sim_in_spans(sim_bounds.writes, sim_bounds.write_count, at, size);
    const bool may = inside && (uintptr_t)p % size == 0;
    sim_bounds.broken |= !may;
    return may;
}

#define kernel static
#define device
#define constant const
#define BUFFER(n)
#define POSITION
#define GET(p) (*((void)sim_may_read((p), sizeof *(p)), (p)))
#define PUT(p, v) ((void)(sim_may_write((p), sizeof *(p)) && ((*(p) = (v)), true)))

#endif
