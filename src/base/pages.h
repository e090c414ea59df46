/* Pages of memory of our own. */
#ifndef FERRY_BASE_PAGES_H
#define FERRY_BASE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

enum { FERRY__HUGE_PAGE = 2 << 20 };

/* Zeroed pages, which munmap gives back. From FERRY__HUGE_PAGE bytes on they begin at a huge page,
 * and the system is asked to use huge ones; out_huge: it takes that. NULL: no memory. */
void *ferry__pages_map(uint64_t size, bool *out_huge);

/* --- of one system (system_linux.c, system_macos.c) ------------------------------------------- */

bool ferry__pages_huge(void *pages, uint64_t size);

#endif
