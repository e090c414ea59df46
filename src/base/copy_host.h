/* Copies and fills by the CPU, by several threads where that is faster. */
#ifndef FERRY_BASE_COPY_HOST_H
#define FERRY_BASE_COPY_HOST_H

#include <stddef.h>
#include <stdint.h>

/* memcpy, by several threads above a few MiB; the ranges do not overlap. Never slower than one
 * thread on a busy machine: the caller does whatever no helper has begun. */
void ferry__copy_host(void *dst, const void *src, size_t size);

/* The same for a chunk of a transfer through staging: by several threads sooner, since more chunks
 * follow at once. whole: bytes of the transfer, where dst is the user's; 0: dst is staging, and
 * read again soon. next: about how many bytes of other transfers follow: a helper that is woken is
 * there for them. cpus_taken: CPUs that are left to the device. */
void ferry__copy_chunk(void *dst, const void *src, size_t size, uint64_t whole, uint64_t next,
                       unsigned cpus_taken);

/* memmove, in the same way where the ranges do not overlap. */
void ferry__move_host(void *dst, const void *src, size_t size);

/* Repeats pattern (1 to 16 bytes) from dst on; the pattern begins at phase bytes. */
void ferry__fill_host(void *dst, size_t size, const void *pattern, size_t pattern_size,
                      size_t phase);

#endif
