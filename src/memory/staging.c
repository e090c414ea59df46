#include "memory/staging.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "memory/gpu.h"
#include "memory/pool.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

/*
 * Staging memory: chunks of native memory that slices are cut from, one after another; a chunk is
 * used anew when all its slices are back. Slices never share an atom or a cache line.
 */

/* A chunk stays in a CPU's cache. On a GPU, where several threads copy it, handing one over takes
 * as long as copying 1 MiB. */
enum { CHUNK_CPU = 2 << 20, CHUNK_GPU = 4 << 20, CHUNKS_WANTED = 4, LINE = 64 };

int ferry__staging_init(struct ferry__staging *staging, enum ferry__memory_kind use,
                        uint64_t budget, bool by_cpu)
{
    const uint64_t most = by_cpu ? CHUNK_CPU : CHUNK_GPU;
    uint64_t chunk = ferry__round_down(budget / CHUNKS_WANTED, FERRY__STAGING_MIN);
    if (chunk < FERRY__STAGING_MIN)
        chunk = FERRY__STAGING_MIN;
    if (chunk > most)
        chunk = most;
    staging->use = use;
    staging->chunk_size = chunk;
    staging->budget = staging->limit = budget < chunk ? chunk : budget;
    return pthread_mutex_init(&staging->lock, NULL);
}

static void free_chunks(struct ferry__gpu *gpu, struct ferry__staging *staging)
{
    struct ferry__chunk **link = &staging->chunks;
    while (*link) {
        struct ferry__chunk *chunk = *link;
        if (chunk->slices) {
            link = &chunk->next;
            continue;
        }
        *link = chunk->next;
        staging->allocated -= staging->chunk_size;
        gpu->driver->memory_free(gpu->state, &chunk->memory);
        FERRY__ADD(&gpu->metrics, device_frees, 1);
        ferry__free(chunk);
    }
}

void ferry__staging_trim(struct ferry__gpu *gpu, struct ferry__staging *staging)
{
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    free_chunks(gpu, staging);
    ferry__unlock(&staging->lock);
}

void ferry__staging_finish(struct ferry__gpu *gpu, struct ferry__staging *staging)
{
    free_chunks(gpu, staging);
    pthread_mutex_destroy(&staging->lock);
}

/* What is held for streams keeps nobody from one chunk, or from all that they need at once. */
static bool fits(const struct ferry__staging *staging, uint64_t bytes)
{
    return staging->allocated + bytes <= staging->limit ||
           (staging->held && staging->allocated == staging->held);
}

static bool fits_chunk(const struct ferry__staging *staging)
{
    return fits(staging, staging->chunk_size);
}

/* Streams' slots that lie idle go before anybody waits for staging. Gives up the lock for that. */
static void make_room(struct ferry__gpu *gpu, struct ferry__staging *staging)
{
    void (*const trim)(struct ferry__gpu *) = atomic_load(&gpu->trim_above);
    if (!trim || !staging->held)
        return;
    ferry__unlock(&staging->lock);
    trim(gpu);
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
}

static enum ferry_status add_chunk(struct ferry__gpu *gpu, struct ferry__staging *staging)
{
    char why[FERRY__WHY_MAX] = "";
    struct ferry__chunk *chunk = ferry__alloc(sizeof *chunk);
    if (!chunk)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *chunk);
    const char *label = staging->use == FERRY__MEMORY_UPLOAD ? "ferry upload" : "ferry readback";
    const enum ferry_status status = gpu->driver->memory_alloc(
        gpu->state, staging->use, staging->chunk_size, label, &chunk->memory, why);
    if (status) {
        ferry__free(chunk);
        return ferry__fail(status, "no staging memory of %llu bytes: %s",
                           (unsigned long long)staging->chunk_size, why);
    }
    FERRY__ADD(&gpu->metrics, device_allocations, 1);
    chunk->next = staging->chunks;
    staging->chunks = chunk;
    staging->allocated += staging->chunk_size;
    return FERRY_OK;
}

/* Asks the gpu, and again once the buffers' memory that lies idle was given back to it. Gives up
 * the lock for that: the buffers' memory trims staging under its own. */
static enum ferry_status grow(struct ferry__gpu *gpu, struct ferry__staging *staging)
{
    const enum ferry_status status = add_chunk(gpu, staging);
    if (status != FERRY_ERROR_OUT_OF_DEVICE_MEMORY)
        return status;
    ferry__unlock(&staging->lock);
    const bool more = ferry__memory_trim(gpu);
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    if (!more)
        return status;
    /* Meanwhile another thread may have had the last of the budget. */
    const bool room = fits_chunk(staging);
    return room ? add_chunk(gpu, staging) : FERRY_OK;
}

/* Where a slice would begin in a chunk. */
static uint64_t slice_start(const struct ferry__gpu *gpu, const struct ferry__chunk *chunk,
                            uint64_t phase)
{
    const uint64_t grain = gpu->limits.atom > LINE ? gpu->limits.atom : LINE;
    return ferry__round_up(chunk->used, grain) + (phase & (gpu->limits.copy_alignment - 1));
}

static uint64_t chunk_room(const struct ferry__gpu *gpu, const struct ferry__chunk *chunk,
                           uint64_t phase, uint64_t chunk_size)
{
    const uint64_t start = slice_start(gpu, chunk, phase);
    return start < chunk_size ? chunk_size - start : 0;
}

static struct ferry__chunk *roomiest(const struct ferry__gpu *gpu,
                                     const struct ferry__staging *staging, const void *owner,
                                     uint64_t want, uint64_t phase, uint64_t *out_room)
{
    struct ferry__chunk *best = NULL;
    *out_room = 0;
    for (struct ferry__chunk *chunk = staging->chunks; chunk; chunk = chunk->next) {
        if (chunk->slices && chunk->owner != owner)
            continue;
        const uint64_t room = chunk_room(gpu, chunk, phase, staging->chunk_size);
        if (room <= *out_room)
            continue;
        best = chunk;
        *out_room = room;
        if (room >= want)
            break;
    }
    return best;
}

/* Under the lock. */
static void publish(struct ferry__gpu *gpu, const struct ferry__staging *staging)
{
    struct ferry__scalars *now = &gpu->metrics.now;
    const bool upload = staging->use == FERRY__MEMORY_UPLOAD;
    atomic_store_explicit(upload ? &now->staging_upload_bytes : &now->staging_readback_bytes,
                          staging->in_use, memory_order_relaxed);
    ferry__raise(upload ? &now->staging_upload_peak_bytes : &now->staging_readback_peak_bytes,
                 staging->in_use);
}

static void take_from(struct ferry__gpu *gpu, struct ferry__staging *staging,
                      struct ferry__chunk *chunk, const void *owner, uint64_t size, uint64_t phase,
                      struct ferry__slice *out)
{
    const uint64_t start = slice_start(gpu, chunk, phase);
    *out = (struct ferry__slice){chunk, start, size, start + size - chunk->used};
    chunk->owner = owner;
    chunk->used = start + size;
    chunk->slices++;
    staging->in_use += out->taken;
    publish(gpu, staging);
}

/* There is some staging, but no memory for more, for this cause: smaller than asked for, and enough
 * to go on with. Where that is forbidden each operation that wants more asks again, and ends with
 * the cause: UNSUPPORTED is none of an operation's own statuses. Gives up the lock to say so. */
static enum ferry_status stay_small(struct ferry__gpu *gpu, struct ferry__staging *staging,
                                    enum ferry_status cause)
{
    const uint64_t limit = staging->allocated - staging->reserved;
    if (!gpu->no_fallback)
        staging->limit = limit;
    ferry__unlock(&staging->lock);
    const enum ferry_status status =
        ferry__fallback(gpu, &gpu->metrics.now.fallback_staging,
                        "staging memory does not grow beyond %llu bytes: %s",
                        (unsigned long long)limit, ferry_last_error());
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    return status ? cause : FERRY_OK;
}

enum ferry_status ferry__staging_take(struct ferry__gpu *gpu, struct ferry__staging *staging,
                                      const void *owner, uint64_t want, uint64_t min,
                                      uint64_t phase, struct ferry__slice *out_slice)
{
    enum ferry_status status = FERRY_OK;
    uint64_t room;
    if (!gpu->limits.whole_readback)
        owner = NULL;
    if (want > staging->chunk_size)
        want = staging->chunk_size;
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    struct ferry__chunk *chunk = roomiest(gpu, staging, owner, want, phase, &room);
    if (room < min && !fits_chunk(staging))
        make_room(gpu, staging);
    chunk = room < min ? roomiest(gpu, staging, owner, want, phase, &room) : chunk;
    if (room < want && fits_chunk(staging)) {
        status = grow(gpu, staging);
        if (status && staging->chunks)
            status = stay_small(gpu, staging, status);
        else if (status &&
                 staging->reserved >
                     staging->held) /* what holds it gives it back, and then it is asked again */
            status = FERRY_ERROR_POOL_EXHAUSTED;
        chunk = roomiest(gpu, staging, owner, want, phase, &room);
    }
    if (!status && room < min)
        status = FERRY_ERROR_POOL_EXHAUSTED;
    if (!status)
        take_from(gpu, staging, chunk, owner, want < room ? want : room, phase, out_slice);
    ferry__unlock(&staging->lock);
    return status;
}

void ferry__staging_give_all(struct ferry__gpu *gpu, struct ferry__staging *staging,
                             const struct ferry__slice *slice, unsigned count)
{
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    struct ferry__chunk *chunk = slice->chunk;
    chunk->slices -= count;
    if (!chunk->slices)
        chunk->used = 0;
    staging->in_use -= slice->taken;
    publish(gpu, staging);
    ferry__unlock(&staging->lock);
}

void ferry__staging_give(struct ferry__gpu *gpu, struct ferry__staging *staging,
                         const struct ferry__slice *slice)
{
    ferry__staging_give_all(gpu, staging, slice, 1);
}

bool ferry__staging_reserve(struct ferry__gpu *gpu, struct ferry__staging *staging, uint64_t bytes)
{
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    if (!fits(staging, bytes) && staging->allocated)
        make_room(gpu, staging);
    const bool room = fits(staging, bytes) || !staging->allocated;
    if (room) {
        staging->allocated += bytes;
        staging->reserved += bytes;
        staging->in_use += bytes;
        publish(gpu, staging);
    }
    ferry__unlock(&staging->lock);
    return room;
}

void ferry__staging_unreserve(struct ferry__gpu *gpu, struct ferry__staging *staging,
                              uint64_t bytes)
{
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    staging->allocated -= bytes;
    staging->reserved -= bytes;
    staging->in_use -= bytes;
    publish(gpu, staging);
    ferry__unlock(&staging->lock);
}

bool ferry__staging_hold(struct ferry__gpu *gpu, struct ferry__staging *staging, uint64_t bytes,
                         bool even)
{
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    if (staging->allocated + bytes > staging->limit)
        free_chunks(gpu, staging);
    const bool room = even || staging->allocated + bytes <= staging->limit;
    if (room) {
        staging->allocated += bytes;
        staging->reserved += bytes;
        staging->held += bytes;
    }
    ferry__unlock(&staging->lock);
    return room;
}

void ferry__staging_unhold(struct ferry__staging *staging, uint64_t bytes)
{
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    staging->allocated -= bytes;
    staging->reserved -= bytes;
    staging->held -= bytes;
    ferry__unlock(&staging->lock);
}

void ferry__staging_note_use(struct ferry__gpu *gpu, struct ferry__staging *staging, uint64_t bytes,
                             bool begins)
{
    ferry__lock_as(&staging->lock, FERRY__LOCK_STAGING);
    staging->in_use += begins ? bytes : -bytes;
    publish(gpu, staging);
    ferry__unlock(&staging->lock);
}
