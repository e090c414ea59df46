#include "memory/pool.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/sharing.h"
#include "base/status.h"
#include "driver.h"
#include "memory/gpu.h"
#include "memory/staging.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

/*
 * Native memory for buffers. Small buffers share blocks through an arena; one of half a block or
 * more gets a block of its own. Empty blocks are kept, the latest first, under a budget and until
 * they are old.
 */

enum { FIRST_BLOCK = 1 << 20, LAST_BLOCK = 64 << 20, SMALLEST_BLOCK = 64 << 10 };
enum { BLOCKS_PER_DEVICE = 64 }; /* a block is at most this part of the device's memory */
static const uint64_t KEEP_NS = UINT64_C(10) * 1000 * 1000 * 1000;

int ferry__memory_init(struct ferry__gpu *gpu, uint64_t budget)
{
    struct ferry__memory_pool *pool = &gpu->pool;
    pool->budget = budget;
    pool->next_block[0] = pool->next_block[1] = FIRST_BLOCK;
    return pthread_mutex_init(&pool->lock, NULL);
}

static uint64_t block_size(const struct ferry__gpu *gpu, enum ferry_storage storage)
{
    uint64_t size = gpu->pool.next_block[storage];
    const uint64_t most =
        ferry__round_down(gpu->limits.total_memory / BLOCKS_PER_DEVICE, SMALLEST_BLOCK);
    if (size > most)
        size = most;
    if (size < SMALLEST_BLOCK)
        size = SMALLEST_BLOCK;
    return size < gpu->limits.max_allocation ? size : gpu->limits.max_allocation;
}

static void publish(struct ferry__gpu *gpu)
{
    atomic_store_explicit(&gpu->metrics.now.memory_pooled_bytes, gpu->pool.idle_bytes,
                          memory_order_relaxed);
}

static void block_free(struct ferry__gpu *gpu, struct ferry__block *block)
{
    gpu->pool.allocated -= block->memory.size;
    gpu->driver->memory_free(gpu->state, &block->memory);
    FERRY__ADD(&gpu->metrics, device_frees, 1);
    ferry__arena_destroy(block->arena);
    ferry__free(block);
}

static struct ferry__block *block_of(struct ferry__link *link)
{
    return link ? FERRY__OF_LINK(link, struct ferry__block, link) : NULL;
}

static void idle_unlink(struct ferry__memory_pool *pool, struct ferry__block *block)
{
    ferry__list_remove(&pool->idle, &block->link);
    pool->idle_bytes -= block->memory.size;
}

/* Gives back the oldest empty blocks: those over the budget, and those that nobody wanted. */
static void idle_shrink(struct ferry__gpu *gpu, uint64_t budget, uint64_t now)
{
    struct ferry__memory_pool *pool = &gpu->pool;
    for (struct ferry__block *block; (block = block_of(pool->idle.last)) != NULL;) {
        if (pool->idle_bytes <= budget && now - block->idle_ns <= KEEP_NS)
            break;
        idle_unlink(pool, block);
        block_free(gpu, block);
    }
    publish(gpu);
}

static void idle_add(struct ferry__gpu *gpu, struct ferry__block *block)
{
    struct ferry__memory_pool *pool = &gpu->pool;
    block->idle_ns = ferry__now_ns();
    ferry__list_insert(&pool->idle, NULL, &block->link);
    pool->idle_bytes += block->memory.size;
    idle_shrink(gpu, pool->budget, block->idle_ns);
}

bool ferry__memory_trim(struct ferry__gpu *gpu)
{
    ferry__lock_as(&gpu->pool.lock, FERRY__LOCK_POOL);
    const bool any = gpu->pool.idle.first != NULL;
    idle_shrink(gpu, 0, ferry__now_ns());
    ferry__unlock(&gpu->pool.lock);
    return any;
}

void ferry__memory_finish(struct ferry__gpu *gpu)
{
    struct ferry__memory_pool *pool = &gpu->pool;
    idle_shrink(gpu, 0, ferry__now_ns());
    for (int storage = 0; storage < 2; storage++) {
        struct ferry__link *link;
        while ((link = ferry__list_pop(&pool->blocks[storage])))
            block_free(gpu, block_of(link));
    }
    pthread_mutex_destroy(&pool->lock);
}

static enum ferry_status block_create(struct ferry__gpu *gpu, enum ferry_storage storage,
                                      uint64_t size, bool shared, const char *label,
                                      struct ferry__block **out_block)
{
    static const enum ferry__memory_kind uses[] = {
        [FERRY_STORAGE_PRIVATE] = FERRY__MEMORY_PRIVATE,
        [FERRY_STORAGE_SHARED] = FERRY__MEMORY_SHARED,
    };
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    struct ferry__block *block = ferry__alloc(sizeof *block);
    if (!block)
        goto fail;
    block->use = uses[storage];
    block->fresh = true;
    if (shared && !(block->arena = ferry__arena_create(size)))
        goto free_block;
    status = gpu->driver->memory_alloc(gpu->state, block->use, size, shared ? "ferry block" : label,
                                       &block->memory, why);
    if (status)
        goto free_arena;
    gpu->pool.allocated += block->memory.size;
    FERRY__ADD(&gpu->metrics, device_allocations, 1);
    *out_block = block;
    return FERRY_OK;
free_arena:
    ferry__arena_destroy(block->arena);
free_block:
    ferry__free(block);
fail:
    return ferry__fail(status, "no memory for %llu bytes: %s", (unsigned long long)size,
                       why[0] ? why : ferry_status_text(status));
}

/* Everything that lies idle. Under the pool's lock. */
static void give_back_idle(struct ferry__gpu *gpu)
{
    idle_shrink(gpu, 0, ferry__now_ns());
    ferry__staging_trim(gpu, &gpu->upload);
    ferry__staging_trim(gpu, &gpu->readback);
    void (*const trim_above)(struct ferry__gpu *) = atomic_load(&gpu->trim_above);
    if (trim_above)
        trim_above(gpu);
}

/* Asks the gpu, and again once everything that lies idle was given back to it. */
static enum ferry_status block_get(struct ferry__gpu *gpu, enum ferry_storage storage,
                                   uint64_t size, bool shared, const char *label,
                                   struct ferry__block **out_block)
{
    enum ferry_status status = block_create(gpu, storage, size, shared, label, out_block);
    if (status != FERRY_ERROR_OUT_OF_DEVICE_MEMORY)
        return status;
    give_back_idle(gpu);
    return block_create(gpu, storage, size, shared, label, out_block);
}

static struct ferry__block *idle_take(struct ferry__memory_pool *pool, enum ferry_storage storage,
                                      uint64_t size, bool shared)
{
    const enum ferry__memory_kind use =
        storage == FERRY_STORAGE_PRIVATE ? FERRY__MEMORY_PRIVATE : FERRY__MEMORY_SHARED;
    for (struct ferry__link *link = pool->idle.first; link; link = link->next) {
        struct ferry__block *block = block_of(link);
        if (block->use != use || !!block->arena != shared || block->memory.size < size)
            continue;
        if (!shared && block->memory.size > size + size / 4)
            continue;
        idle_unlink(pool, block);
        return block;
    }
    return NULL;
}

static void place_in(struct ferry__block *block, uint64_t offset, void *range,
                     struct ferry__place *out)
{
    *out = (struct ferry__place){block, range, offset,
                                 block->fresh && !block->arena && block->memory.zeroed};
    block->fresh = false;
}

static bool place_in_block(struct ferry__block *block, uint64_t size,
                           struct ferry__place *out_place)
{
    uint64_t offset;
    void *range;
    if (!ferry__arena_take(block->arena, size, &offset, &range))
        return false;
    place_in(block, offset, range, out_place);
    return true;
}

static enum ferry_status place_shared(struct ferry__gpu *gpu, enum ferry_storage storage,
                                      uint64_t size, bool *out_hit, struct ferry__place *out_place)
{
    struct ferry__memory_pool *pool = &gpu->pool;
    *out_hit = true;
    for (struct ferry__link *link = pool->blocks[storage].first; link; link = link->next)
        if (place_in_block(block_of(link), size, out_place))
            return FERRY_OK;
    struct ferry__block *block = idle_take(pool, storage, size, true);
    if (!block) {
        *out_hit = false;
        const enum ferry_status status =
            block_get(gpu, storage, block_size(gpu, storage), true, NULL, &block);
        if (status)
            return status;
        if (pool->next_block[storage] < LAST_BLOCK)
            pool->next_block[storage] *= 2;
    }
    ferry__list_insert(&pool->blocks[storage], NULL, &block->link);
    if (place_in_block(block, size, out_place))
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory to place %llu bytes",
                       (unsigned long long)size);
}

static enum ferry_status place_alone(struct ferry__gpu *gpu, enum ferry_storage storage,
                                     uint64_t size, const char *label, bool *out_hit,
                                     struct ferry__place *out_place)
{
    struct ferry__block *block = idle_take(&gpu->pool, storage, size, false);
    *out_hit = block != NULL;
    if (!block) {
        const enum ferry_status status = block_get(gpu, storage, size, false, label, &block);
        if (status)
            return status;
    }
    place_in(block, 0, NULL, out_place);
    return FERRY_OK;
}

enum ferry_status ferry__memory_take(struct ferry__gpu *gpu, enum ferry_storage storage,
                                     uint64_t size, const char *label,
                                     struct ferry__place *out_place)
{
    struct ferry__memory_pool *pool = &gpu->pool;
    bool hit;
    enum ferry_status status;
    const uint64_t rounded = ferry__round_up(size, FERRY_BUFFER_ALIGNMENT);
    ferry__error_begin(); /* there may be memory at the second attempt */
    ferry__lock_as(&pool->lock, FERRY__LOCK_POOL);
    const bool shared = rounded < block_size(gpu, storage) / 2;
    status = shared ? place_shared(gpu, storage, rounded, &hit, out_place)
                    : place_alone(gpu, storage, rounded, label, &hit, out_place);
    /* A whole block may be too much where the buffer alone is not. */
    if (shared && status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY)
        status = place_alone(gpu, storage, rounded, label, &hit, out_place);
    if (pool->idle.last)
        idle_shrink(gpu, pool->budget, ferry__now_ns());
    publish(gpu);
    ferry__unlock(&pool->lock);
    ferry__error_end(status);
    if (status)
        return status;
    if (hit)
        FERRY__ADD(&gpu->metrics, pool_hits, 1);
    else
        FERRY__ADD(&gpu->metrics, pool_misses, 1);
    return FERRY_OK;
}

static enum ferry_status share(struct ferry__gpu *gpu, uint64_t size,
                               const struct ferry_import_params *params,
                               struct ferry__memory *out_memory, char *why)
{
    const struct ferry__sharing *sharing = gpu->driver->sharing;
    return params ? sharing->take(gpu->state, params->handle, params->fd, params->memory_size,
                                  out_memory, why)
                  : sharing->alloc(gpu->state, ferry__round_up(size, FERRY_BUFFER_ALIGNMENT),
                                   out_memory, why);
}

enum ferry_status ferry__memory_take_shared(struct ferry__gpu *gpu, uint64_t size,
                                            const struct ferry_import_params *params,
                                            struct ferry__place *out_place)
{
    const struct ferry__sharing *sharing = gpu->driver->sharing;
    char why[FERRY__WHY_MAX] = "";
    if (!sharing || !sharing->alloc)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s cannot share memory with other processes",
                           gpu->info.name);
    struct ferry__block *block = ferry__alloc(sizeof *block);
    if (!block)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *block);
    block->use = FERRY__MEMORY_PRIVATE;
    block->fresh = block->shared = true;
    ferry__lock_as(&gpu->pool.lock, FERRY__LOCK_POOL);
    enum ferry_status status = share(gpu, size, params, &block->memory, why);
    if (status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY) {
        give_back_idle(gpu);
        status = share(gpu, size, params, &block->memory, why);
    }
    if (status) {
        ferry__unlock(&gpu->pool.lock);
        ferry__free(block);
        return ferry__fail(status, "%s", why);
    }
    gpu->pool.allocated += block->memory.size;
    publish(gpu);
    ferry__unlock(&gpu->pool.lock);
    FERRY__ADD(&gpu->metrics, device_allocations, 1);
    place_in(block, params ? params->offset : 0, NULL, out_place);
    return FERRY_OK;
}

void ferry__memory_give(struct ferry__gpu *gpu, const struct ferry__place *place)
{
    struct ferry__memory_pool *pool = &gpu->pool;
    struct ferry__block *block = place->block;
    ferry__lock_as(&pool->lock, FERRY__LOCK_POOL);
    if (block->arena) {
        ferry__arena_give(block->arena, place->range);
        if (ferry__arena_used(block->arena) == 0) {
            const int storage =
                block->use == FERRY__MEMORY_PRIVATE ? FERRY_STORAGE_PRIVATE : FERRY_STORAGE_SHARED;
            ferry__list_remove(&pool->blocks[storage], &block->link);
            idle_add(gpu, block);
        }
    } else if (block->shared) {
        block_free(gpu, block);
        publish(gpu);
    } else {
        idle_add(gpu, block);
    }
    ferry__unlock(&pool->lock);
}
