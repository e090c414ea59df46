/* Reading memory that a device lets the CPU reach, and that the CPU does not cache. */
#ifndef FERRY_BASE_WINDOW_H
#define FERRY_BASE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

/* A plain load there fetches a few bytes across the link, each time anew; a streaming one fetches a
 * line. Is there such a thing on this CPU? */
bool ferry__window_is_fast(void);

/* Copies out of it. Sees what the device had written before the caller knew it to be done. */
void ferry__copy_window(void *dst, const void *src, size_t size);

#endif
