#include "memory/host_pages.h"

#include <stdbool.h>

/* Macs have one node. */
bool ferry__pages_bind(void *pages, uint64_t size, int node)
{
    (void)pages;
    (void)size;
    (void)node;
    return false;
}

bool ferry__pages_populate(void *pages, uint64_t size)
{
    (void)pages;
    (void)size;
    return false;
}
