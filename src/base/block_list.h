/* A list of blocks, as the engine writes it for a device and drivers read it. */
#ifndef FERRY_BASE_BLOCK_LIST_H
#define FERRY_BASE_BLOCK_LIST_H

#include <stdbool.h>
#include <stdint.h>

struct ferry__memory;

/* One block of a FERRY__BLOCKS, as its list holds it for the device. */
struct ferry__block_entry {
    uint64_t dst, src; /* in the two ferry__memory; or addresses, where the driver tells them */
    uint32_t size, zero;
};

/* What FERRY__BLOCKS adds, a copy by a list; docs/drivers.md says what holds of the blocks. */
struct ferry__block_list {
    const struct ferry__memory *memory; /* upload memory; flushed */
    uint64_t offset;                    /* of count entries; a multiple of 8 */
    uint32_t count;
    uint64_t dst_span, src_span; /* the blocks lie within so much from the two offsets on */
};

/* Lies next end to end with the blocks that lists have from first on, so that they may be one? */
static inline bool ferry__list_follows(const struct ferry__block_list *first, uint64_t blocks,
                                       const struct ferry__block_list *next)
{
    return next->memory == first->memory &&
           next->offset == first->offset + blocks * sizeof(struct ferry__block_entry);
}

#endif
