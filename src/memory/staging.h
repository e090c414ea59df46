/* Staging memory. */
#ifndef FERRY_MEMORY_STAGING_H
#define FERRY_MEMORY_STAGING_H

#include "driver.h"

#include <ferry/ferry.h>
#include <pthread.h>

struct ferry__gpu;

enum { FERRY__STAGING_MIN = 4096 }; /* the smallest staging budget and chunk */

struct ferry__chunk {
    struct ferry__memory memory;
    const void *owner; /* of all its slices, where that matters */
    uint64_t used;
    unsigned slices;
    struct ferry__chunk *next;
};

struct ferry__staging {
    enum ferry__memory_kind use;
    uint64_t budget, chunk_size;
    pthread_mutex_t lock; /* guards all below */
    struct ferry__chunk *chunks;
    uint64_t limit; /* the budget, or less once memory was short */
    uint64_t allocated, in_use;
    uint64_t reserved; /* of both: memory that is not the staging's own, */
    uint64_t held;     /* and of that: what may lie idle */
};

struct ferry__slice {
    struct ferry__chunk *chunk;
    uint64_t offset, size; /* as asked for, in chunk->memory */
    uint64_t taken;        /* with padding */
};

int ferry__staging_init(struct ferry__staging *staging, enum ferry__memory_kind use,
                        uint64_t budget, bool by_cpu);
void ferry__staging_finish(struct ferry__gpu *gpu, struct ferry__staging *staging);

/* A slice of min to want bytes whose offset is phase modulo copy_alignment. POOL_EXHAUSTED: nothing
 * is free now. Anything else but OK: none can be had at all. Where readback memory is given to the
 * host whole (limits.whole_readback), only slices of one owner are in a chunk together. */
enum ferry_status ferry__staging_take(struct ferry__gpu *gpu, struct ferry__staging *staging,
                                      const void *owner, uint64_t want, uint64_t min,
                                      uint64_t phase, struct ferry__slice *out_slice);
void ferry__staging_give(struct ferry__gpu *gpu, struct ferry__staging *staging,
                         const struct ferry__slice *slice);
/* Several of one chunk at once: taken is the sum of theirs. */
void ferry__staging_give_all(struct ferry__gpu *gpu, struct ferry__staging *staging,
                             const struct ferry__slice *slice, unsigned count);
void ferry__staging_trim(struct ferry__gpu *gpu, struct ferry__staging *staging);

/* Takes bytes out of the budget for memory that is not the staging's own, and gives them back.
 * False: there are not as many now; where nothing is in use any number may be had. */
bool ferry__staging_reserve(struct ferry__gpu *gpu, struct ferry__staging *staging, uint64_t bytes);
void ferry__staging_unreserve(struct ferry__gpu *gpu, struct ferry__staging *staging,
                              uint64_t bytes);

/* The same for memory that is kept while it lies idle, and is in use at times: slots of streams.
 * What the staging has idle makes room for it; even where there is none: it is had all the same. */
bool ferry__staging_hold(struct ferry__gpu *gpu, struct ferry__staging *staging, uint64_t bytes,
                         bool even);
void ferry__staging_unhold(struct ferry__staging *staging, uint64_t bytes);
void ferry__staging_note_use(struct ferry__gpu *gpu, struct ferry__staging *staging, uint64_t bytes,
                             bool begins);

static inline unsigned char *ferry__slice_host(const struct ferry__slice *slice)
{
    return slice->chunk->memory.host + slice->offset;
}

#endif
