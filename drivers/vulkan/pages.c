#include "vk.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A GPU's driver locks imported pages for writing, whatever the import is for. NVIDIA's
 * (580.159.04, on an H200) does not refuse pages that may not be written: it hangs, or has no
 * memory to give from then on. So they are asked first.
 */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE \
    23 /* Linux 5.14: faults pages in as a write would, and writes nothing */
#endif

/* Does this kernel know the advice? It does if it takes it for a page that can be written. */
static bool can_ask(void)
{
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return false;
    const bool taken = madvise(page, size, MADV_POPULATE_WRITE) == 0;
    munmap(page, size);
    return taken;
}

bool ferry__vulkan_may_write(void *host, uint64_t size, bool read_only)
{
    if (madvise(host, size, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno == EINVAL && !can_ask())
        return !read_only; /* the caller's word has to do */
    return false;
}
