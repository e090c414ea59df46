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

/* What the kernel that runs may read and write. */
struct sim_bounds {
    const uchar *read, *read_end, *write, *write_end;
    bool broken;
};

extern _Thread_local struct sim_bounds sim_bounds;

static inline bool sim_may_read(const void *p, uint64_t size)
{
    const uchar *at = p;
    bool may =
        at >= sim_bounds.read && at + size <= sim_bounds.read_end && (uintptr_t)p % size == 0;
    sim_bounds.broken |= !may;
    return may;
}

static inline bool sim_may_write(void *p, uint64_t size)
{
    const uchar *at = p;
    bool may =
        at >= sim_bounds.write && at + size <= sim_bounds.write_end && (uintptr_t)p % size == 0;
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
