#include "memory/host_pages.h"

#include "base/pages.h"
#include "base/range.h"
#include "base/system.h"
#include "base/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * One thread gets new pages from the system at a few GB/s, most of it spent on zeroing them:
 * several are faster, and huge pages need fewer calls. Memory of another node than the GPU's is
 * slower for both, for as long as it lives.
 */

enum { STEP = 32 << 20, THREADS_MAX = 16 };

struct touching {
    unsigned char *pages;
    uint64_t size;
    _Atomic uint64_t next;
};

static void touch(unsigned char *pages, uint64_t size)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (ferry__pages_populate(pages, size))
        return;
    for (uint64_t at = 0; at < size; at += page)
        *(volatile unsigned char *)(pages + at) = 0;
}

static void *touch_some(void *arg)
{
    struct touching *touching = arg;
    for (;;) {
        const uint64_t at = atomic_fetch_add(&touching->next, STEP);
        if (at >= touching->size)
            return NULL;
        touch(touching->pages + at, ferry__least(STEP, touching->size - at));
    }
}

/* By this thread and as many more as there are other CPUs, and work for. */
static void touch_all(unsigned char *pages, uint64_t size)
{
    struct touching touching = {.pages = pages, .size = size};
    pthread_t threads[THREADS_MAX];
    const uint64_t cpus = ferry__cpu_count(), steps = (size + STEP - 1) / STEP;
    const uint64_t wanted = ferry__least(ferry__least(cpus, steps), THREADS_MAX);
    unsigned count = 0;
    while (count + 1 < wanted &&
           !ferry__thread_start(&threads[count], "ferry-pages", touch_some, &touching))
        count++;
    touch_some(&touching);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

void *ferry__pages_make(uint64_t size, int node, struct ferry__pages_made *out)
{
    unsigned char *pages = ferry__pages_map(size, &out->huge);
    if (!pages)
        return NULL;
    out->near = ferry__pages_bind(pages, size, node);
    touch_all(pages, size);
    return pages;
}

int ferry__numa_node(const char *root, const char *pci)
{
    char path[256];
    int node = -1;
    if (!pci[0] || strchr(pci, '/') ||
        snprintf(path, sizeof path, "%s/bus/pci/devices/%s/numa_node", root, pci) >=
            (int)sizeof path)
        return -1;
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%d", &node) != 1)
        node = -1;
    fclose(file);
    return node;
}
