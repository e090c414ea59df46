/* The push constants of kernel.comp: what the strict Vulkan of the tests reads too. */
#ifndef FERRY_DRIVERS_VULKAN_KERNEL_H
#define FERRY_DRIVERS_VULKAN_KERNEL_H

#include <stdint.h>

/* Byte p of the destination, begin <= p < end, becomes byte p + phase of the source, or of the
 * pattern that begins at begin. */
struct vulkan_kernel_arguments {
    uint64_t dst, src;   /* addresses, rounded down to blocks of 16 bytes; src 0: a fill */
    uint32_t begin, end; /* begin: below 16 */
    uint32_t phase;      /* of the source: below 16 */
    uint32_t period;     /* of the pattern */
    uint32_t pattern[8]; /* over and over: whole words at any byte of it */
};

/* Of blocks.comp: what the entries' offsets count from, the list and its length. The driver leaves
 * the two 0, since entries are addresses. */
struct vulkan_blocks_arguments {
    uint64_t dst, src, list;
    uint32_t count, zero;
};

#endif
