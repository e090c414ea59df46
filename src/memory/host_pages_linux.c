#define _GNU_SOURCE
#include "memory/host_pages.h"

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum { PREFERRED = 1, NODES_MAX = 64 }; /* linux/mempolicy.h: MPOL_PREFERRED */

bool ferry__pages_bind(void *pages, uint64_t size, int node)
{
    if (node < 0 || node >= NODES_MAX)
        return false;
    const unsigned long mask = 1ul << node;
    return !syscall(SYS_mbind, pages, size, PREFERRED, &mask, NODES_MAX + 1ul, 0);
}

bool ferry__pages_populate(void *pages, uint64_t size)
{
    return !madvise(pages, size, MADV_POPULATE_WRITE);
}
