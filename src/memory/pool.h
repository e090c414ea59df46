/* Native memory for buffers. */
#ifndef FERRY_MEMORY_POOL_H
#define FERRY_MEMORY_POOL_H

#include "base/list.h"
#include "driver.h"

#include <ferry/ferry.h>
#include <pthread.h>

struct ferry__arena;
struct ferry__gpu;

/* One native allocation that buffers live in. */
struct ferry__block {
    struct ferry__memory memory;
    struct ferry__arena *arena; /* NULL: of one buffer alone */
    enum ferry__memory_kind use;
    bool fresh;       /* no buffer has lived here yet */
    bool shared;      /* others may have it: no second buffer lives here */
    uint64_t idle_ns; /* since when it has been empty */
    struct ferry__link link;
};

struct ferry__memory_pool {
    pthread_mutex_t lock;         /* guards all below */
    struct ferry__list blocks[2]; /* with arenas, by storage */
    struct ferry__list idle;      /* empty ones, the latest first */
    uint64_t idle_bytes, budget;
    uint64_t next_block[2]; /* size of the next arena block, by storage */
    uint64_t allocated;     /* bytes asked of the driver and not given back */
};

struct ferry__place {
    struct ferry__block *block;
    void *range; /* in its arena */
    uint64_t offset;
    bool zeroed; /* known to hold zeros */
};

int ferry__memory_init(struct ferry__gpu *gpu, uint64_t budget); /* an errno, or 0 */
void ferry__memory_finish(struct ferry__gpu *gpu);
enum ferry_status ferry__memory_take(struct ferry__gpu *gpu, enum ferry_storage storage,
                                     uint64_t size, const char *label,
                                     struct ferry__place *out_place);
/* Memory that can be given to others, or, with params, that others have given. */
enum ferry_status ferry__memory_take_shared(struct ferry__gpu *gpu, uint64_t size,
                                            const struct ferry_import_params *params,
                                            struct ferry__place *out_place);
void ferry__memory_give(struct ferry__gpu *gpu, const struct ferry__place *place);
bool ferry__memory_trim(struct ferry__gpu *gpu); /* false: nothing lay idle */

#endif
