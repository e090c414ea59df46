/* Which allocation fails: what the ways to take malloc's place have in common. In one file of a program. */
#ifndef STARVE_COUNT_H
#define STARVE_COUNT_H

#include "starve.h"

#include <errno.h>
#include <stdatomic.h>

static _Atomic uint64_t calls, first; /* first 0: none fails */
static _Atomic bool on, failed;

void starve_at(uint64_t n, bool all)
{
    atomic_store(&calls, 0);
    atomic_store(&failed, false);
    atomic_store(&on, all);
    atomic_store(&first, n);
}

bool starve_end(void)
{
    atomic_store(&first, 0);
    return atomic_load(&failed);
}

static bool fails(void)
{
    const uint64_t at = atomic_load(&first);
    if (!at)
        return false;
    const uint64_t call = atomic_fetch_add(&calls, 1) + 1;
    if (call != at && !(call > at && atomic_load(&on)))
        return false;
    atomic_store(&failed, true);
    errno = ENOMEM;
    return true;
}

#endif
