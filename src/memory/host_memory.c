#include "memory/host_memory.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "base/tree.h"
#include "driver.h"
#include "memory/gpu.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

/*
 * Host memory that the device can reach: registered by the user, handed out by us, or imported for
 * one transfer. The table is sorted by address and its ranges do not overlap.
 */

static struct ferry__region *region_of(struct ferry__node *node)
{
    return node ? FERRY__OF_NODE(node, struct ferry__region, node) : NULL;
}

/* The last that begins at address or before it; NULL: none. */
static struct ferry__region *table_at(const struct ferry__gpu *gpu, const void *address)
{
    return region_of(ferry__tree_floor(&gpu->regions, (uint64_t)(uintptr_t)address));
}

struct ferry__region *ferry__region_find(struct ferry__gpu *gpu, const void *host, uint64_t size)
{
    if (!atomic_load_explicit(&gpu->regions_any, memory_order_acquire))
        return NULL;
    const unsigned char *address = host;
    struct ferry__region *found = NULL;
    ferry__lock(&gpu->host_lock);
    struct ferry__region *region = table_at(gpu, address);
    if (region && ferry__in_range((uint64_t)(address - region->base), size, region->size)) {
        atomic_fetch_add(&region->refs, 1);
        found = region;
    }
    ferry__unlock(&gpu->host_lock);
    return found;
}

bool ferry__regions_meet(struct ferry__gpu *gpu, const void *host, uint64_t size)
{
    if (!atomic_load_explicit(&gpu->regions_any, memory_order_acquire))
        return false;
    const uint64_t begin = (uint64_t)(uintptr_t)host;
    ferry__lock(&gpu->host_lock);
    const struct ferry__region *last =
        region_of(ferry__tree_floor(&gpu->regions, begin + size - 1));
    const bool meet = last && begin < (uint64_t)(uintptr_t)last->base + last->size;
    ferry__unlock(&gpu->host_lock);
    return meet;
}

void ferry__pages_free(struct ferry__gpu *gpu, struct ferry__memory *memory, void *pages,
                       uint64_t size)
{
    if (gpu->driver->memory_free_pages) {
        gpu->driver->memory_free_pages(gpu->state, memory, pages, size);
        return;
    }
    gpu->driver->memory_free(gpu->state, memory);
    munmap(pages, size);
}

static void region_release(struct ferry__gpu *gpu, struct ferry__region *region)
{
    const bool known = (region->imported || region->allocated) && region->memory.size;
    if (known && region->pages)
        ferry__pages_free(gpu, &region->memory, region->base, region->size);
    else if (known)
        gpu->driver->memory_free(gpu->state, &region->memory);
    else if (region->pages)
        munmap(region->base, region->size);
    ferry__free(region);
}

void ferry__region_unref(struct ferry__gpu *gpu, struct ferry__region *region)
{
    if (!region)
        return;
    const unsigned before = atomic_fetch_sub(&region->refs, 1);
    if (before == 1) {
        region_release(gpu, region);
    } else if (before == 2) {
        /* host_unregister may wait for the table's reference to be the only one. */
        ferry__lock(&gpu->host_lock);
        pthread_cond_broadcast(&gpu->region_freed);
        ferry__unlock(&gpu->host_lock);
    }
}

/* Memory that others have made known to the device is used as it is. */
static enum ferry_status find_known(struct ferry__gpu *gpu, struct ferry__region *region,
                                    const void *host, uint64_t size, char *why)
{
    if (!gpu->driver->host_find)
        return FERRY_ERROR_UNSUPPORTED;
    const enum ferry_status status =
        gpu->driver->host_find(gpu->state, host, size, &region->memory, why);
    region->imported = !status;
    if (!status)
        region->memory_base = (unsigned char *)(uintptr_t)host;
    return status;
}

enum ferry_status ferry__region_import_pages(struct ferry__gpu *gpu, struct ferry__region *region,
                                             const void *host, uint64_t size, char *why)
{
    const uint64_t grain = gpu->limits.import_granularity;
    const uintptr_t begin = (uintptr_t)host & ~(uintptr_t)(grain - 1);
    const uint64_t end = ferry__round_up((uint64_t)(uintptr_t)host + size, grain);
    enum ferry_status status = find_known(gpu, region, host, size, why);
    if (status == FERRY_ERROR_UNSUPPORTED) {
        region->memory_base = (unsigned char *)begin;
        status = gpu->driver->host_import(gpu->state, region->memory_base, end - begin,
                                          region->read_only, &region->memory, why);
        if (status == FERRY_ERROR_INVALID_ARGUMENT) /* no import is refused for what it is */
            status = FERRY_ERROR_UNSUPPORTED;
    }
    region->imported = !status;
    if (region->imported)
        FERRY__ADD(&gpu->metrics, imports, 1);
    else
        FERRY__ADD(&gpu->metrics, import_failures, 1);
    return status;
}

enum ferry_status ferry__region_import(struct ferry__gpu *gpu, const void *host, uint64_t size,
                                       bool read_only, struct ferry__region **out_region)
{
    char why[FERRY__WHY_MAX] = "";
    struct ferry__region *region = ferry__alloc(sizeof *region);
    if (!region)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *region);
    region->base = (unsigned char *)(uintptr_t)host;
    region->size = size;
    region->read_only = read_only;
    region->for_call = true;
    atomic_init(&region->refs, 1);
    const enum ferry_status status = ferry__region_import_pages(gpu, region, host, size, why);
    if (status) {
        ferry__free(region);
        return ferry__fail(status, "importing %llu bytes at %p: %s", (unsigned long long)size, host,
                           why);
    }
    *out_region = region;
    return FERRY_OK;
}

enum ferry_status ferry__region_look(struct ferry__gpu *gpu, const void *host, uint64_t size,
                                     struct ferry__region **out_region)
{
    /* Below this, a copy to staging costs no more than asking for the memory's bounds. */
    enum { KNOWN_FROM = 16 << 10 };
    char why[FERRY__WHY_MAX] = "";
    struct ferry__region *region = NULL;
    enum ferry_status status;
    if (!gpu->driver->host_find)
        return FERRY_OK;
    if (size < KNOWN_FROM) {
        status = gpu->driver->host_find(gpu->state, host, size, NULL, why);
    } else if ((region = ferry__alloc(sizeof *region))) {
        region->base = (unsigned char *)(uintptr_t)host;
        region->size = size;
        atomic_init(&region->refs, 1);
        status = find_known(gpu, region, host, size, why);
    } else {
        status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
        snprintf(why, sizeof why, "no host memory for %zu bytes", sizeof *region);
    }
    if (!status) {
        *out_region = region;
        return FERRY_OK;
    }
    ferry__free(region);
    if (status == FERRY_ERROR_UNSUPPORTED)
        return FERRY_OK;
    return ferry__fail(status, "%llu bytes: %s", (unsigned long long)size, why);
}

enum ferry_status ferry__regions_add(struct ferry__gpu *gpu, struct ferry__region *region)
{
    enum ferry_status status = FERRY_OK;
    ferry__lock(&gpu->host_lock);
    /* The last that begins in it or before: no other can meet it, since none overlap. */
    const struct ferry__region *other = table_at(gpu, region->base + (region->size - 1));
    if (other &&
        (other->base >= region->base || (uint64_t)(region->base - other->base) < other->size)) {
        status = ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                             "%llu bytes at %p overlap registered memory (%llu bytes at %p)",
                             (unsigned long long)region->size, (void *)region->base,
                             (unsigned long long)other->size, (void *)other->base);
    } else {
        region->node.key = (uint64_t)(uintptr_t)region->base;
        ferry__tree_add(&gpu->regions, &region->node);
        atomic_store_explicit(&gpu->regions_any, true, memory_order_release);
    }
    ferry__unlock(&gpu->host_lock);
    return status;
}

struct ferry__region *ferry__regions_exact(struct ferry__gpu *gpu, const void *memory)
{
    struct ferry__region *region = table_at(gpu, memory);
    return region && region->base == memory ? region : NULL;
}

void ferry__regions_remove(struct ferry__gpu *gpu, struct ferry__region *region)
{
    ferry__tree_remove(&gpu->regions, &region->node);
    atomic_store_explicit(&gpu->regions_any, gpu->regions.root, memory_order_release);
}

void ferry__host_finish(struct ferry__gpu *gpu)
{
    while (gpu->regions.first) {
        struct ferry__region *region = region_of(gpu->regions.first);
        ferry__regions_remove(gpu, region);
        ferry__region_unref(gpu, region);
    }
}
