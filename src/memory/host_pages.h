/* Pages of host memory: many at once, made by several threads, near a GPU. */
#ifndef FERRY_MEMORY_HOST_PAGES_H
#define FERRY_MEMORY_HOST_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* What was had of what was asked for. */
struct ferry__pages_made {
    bool huge; /* the system was asked for huge pages, and has them */
    bool near; /* they are of the node that was asked for */
};

/* Zeroed pages, all of them there already; NULL: no memory. node: -1: any. */
void *ferry__pages_make(uint64_t size, int node, struct ferry__pages_made *out);

/* The NUMA node of a PCI device ("0000:3b:00.0"), as the file system under root tells ("/sys");
 * -1: it has none, or pci is empty. */
int ferry__numa_node(const char *root, const char *pci);

/* --- of one system (host_pages_linux.c, host_pages_macos.c) ----------------------------------- */

bool ferry__pages_bind(void *pages, uint64_t size, int node);
/* Makes the system give all of these pages now. False: it knows no such call. */
bool ferry__pages_populate(void *pages, uint64_t size);

#endif
