/* The part of a driver that shares private memory with other devices, processes and APIs. */
#ifndef FERRY_BASE_SHARING_H
#define FERRY_BASE_SHARING_H

#include <ferry/ferry.h>

struct ferry__memory;

/* memory_free takes what these give. Failing functions write the reason to why, of FERRY__WHY_MAX
 * bytes. The three are NULL where the system has nothing of the kind. */
struct ferry__sharing {
    /* As memory_alloc of private memory. */
    enum ferry_status (*alloc)(void *state, uint64_t size, struct ferry__memory *out_memory,
                               char *why);
    /* A new descriptor of all of it; out_size: of the native allocation. */
    enum ferry_status (*give)(void *state, const struct ferry__memory *memory,
                              enum ferry_handle handle, int *out_fd, uint64_t *out_size, char *why);
    /* fd stays the caller's. */
    enum ferry_status (*take)(void *state, enum ferry_handle handle, int fd, uint64_t size,
                              struct ferry__memory *out_memory, char *why);
    /* Does the device read what memory_alloc gave for private use on another of the same driver, at
     * full speed? Then that may be the source of its copy commands. May work and wait. NULL: no. */
    bool (*reaches)(void *state, void *other);
};

#endif
