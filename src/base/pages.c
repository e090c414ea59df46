#include "base/pages.h"

#include <stddef.h>
#include <sys/mman.h>

static unsigned char *map(uint64_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void *ferry__pages_map(uint64_t size, bool *out_huge)
{
    *out_huge = false;
    if (size < FERRY__HUGE_PAGE)
        return map(size);
    if (size > SIZE_MAX - FERRY__HUGE_PAGE)
        return NULL;
    unsigned char *pages = map(size + FERRY__HUGE_PAGE);
    if (!pages)
        return NULL;
    const uint64_t before = -(uintptr_t)pages & (FERRY__HUGE_PAGE - 1);
    if (before)
        munmap(pages, before);
    munmap(pages + before + size, FERRY__HUGE_PAGE - before);
    *out_huge = ferry__pages_huge(pages + before, size);
    return pages + before;
}
