#include "base/alloc.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "base/thread.h"
#include "driver.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "memory/host_memory.h"
#include "memory/host_pages.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Host memory that the user registers, or gets from here. */

static enum ferry_status check(struct ferry_device *device, const char *what)
{
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: device is NULL", what);
    return ferry__device_dead(device, what);
}

/* From here on pages that are made by several threads are had sooner than the driver's memory. */
enum { PAGES_FROM = 32 << 20 };
static const uint64_t PIECE_MAX = (uint64_t)64 << 30; /* more at once is refused by some systems */

/* The driver's own shared memory, of which the host is to see size bytes from a page on. Drivers
 * align it to FERRY_BUFFER_ALIGNMENT, most to a page. */
static bool alloc_shared(struct ferry_device *device, struct ferry__region *region, uint64_t size,
                         char *why)
{
    const struct ferry__gpu *gpu = &device->gpu;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct ferry__memory *memory = &region->memory;
    for (uint64_t more = 0; more <= page; more += page) {
        const enum ferry_status status = gpu->driver->memory_alloc(
            gpu->state, FERRY__MEMORY_SHARED, size + more, "ferry_host_alloc", memory, why);
        if (status)
            break;
        const bool good = memory->cached && memory->coherent && memory->host;
        const uint64_t past = (uintptr_t)memory->host % page;
        if (good && (!past || more)) {
            region->memory_base = memory->host;
            region->base = memory->host + (past ? page - past : 0);
            region->imported = true;
            if (device->zeroed && !memory->zeroed)
                memset(region->base, 0, size);
            return true;
        }
        gpu->driver->memory_free(gpu->state, memory);
        if (!good)
            break;
    }
    *memory = (struct ferry__memory){0};
    return false;
}

static void note_pages(struct ferry_device *device, uint64_t size,
                       const struct ferry__pages_made *made)
{
    FERRY__ADD(&device->gpu.metrics, host_pages_bytes, size);
    if (made->huge)
        FERRY__ADD(&device->gpu.metrics, host_pages_huge_bytes, size);
    if (made->near)
        FERRY__ADD(&device->gpu.metrics, host_pages_near_bytes, size);
}

static void drop_pieces(struct ferry_device *device, struct ferry__region *region)
{
    while (region->more) {
        struct ferry__region *piece = region->more;
        region->more = piece->more;
        piece->pages = false; /* they stay the first one's */
        ferry__region_unref(&device->gpu, piece);
    }
}

static uint64_t piece_max(const struct ferry_device *device)
{
    enum { HUGE_PAGE = 2 << 20 };
    const uint64_t most = ferry__least(device->gpu.limits.max_allocation, PIECE_MAX);
    return most < HUGE_PAGE ? most : ferry__round_down(most, HUGE_PAGE);
}

static struct ferry__region *next_piece(const struct ferry__region *first, uint64_t at,
                                        uint64_t size)
{
    struct ferry__region *piece = ferry__alloc(sizeof *piece);
    if (!piece)
        return NULL;
    piece->base = first->base + at;
    piece->size = size;
    piece->allocated = piece->pages = true;
    atomic_init(&piece->refs, 1);
    return piece;
}

/* Makes all of size bytes known to the device, in pieces, or none of them. */
static bool import_pieces(struct ferry_device *device, struct ferry__region *region, uint64_t size,
                          char *why)
{
    const uint64_t most = piece_max(device);
    struct ferry__region *last = region;
    for (uint64_t at = 0; at < size; at += most) {
        const uint64_t length = ferry__least(most, size - at);
        struct ferry__region *piece = at ? next_piece(region, at, length) : region;
        if (piece && at) {
            last->more = piece;
            last = piece;
        }
        if (piece && !ferry__region_import_pages(&device->gpu, piece, piece->base, length, why))
            continue;
        drop_pieces(device, region);
        if (region->imported)
            device->gpu.driver->memory_free(device->gpu.state, &region->memory);
        region->imported = false;
        region->memory = (struct ferry__memory){0};
        ferry__memory_settle(&device->gpu); /* the pages may be unmapped now */
        return false;
    }
    region->size = ferry__least(most, size);
    return true;
}

/* Pages of the system, made known to the device. False: it refuses them, or there are none
 * (base is NULL). */
static bool alloc_pages(struct ferry_device *device, struct ferry__region *region, uint64_t size,
                        char *why)
{
    struct ferry__pages_made made = {false, false};
    const int node = ferry__numa_node("/sys", device->gpu.limits.pci);
    region->base = ferry__pages_make(size, node, &made);
    if (!region->base)
        return false;
    region->pages = true;
    if (!device->gpu.limits.import_granularity || !import_pieces(device, region, size, why))
        return false;
    note_pages(device, size, &made);
    return true;
}

/* Memory that the device can reach: its own shared memory, or our pages, imported; where there is
 * much of it the other way round. */
static enum ferry_status alloc_memory(struct ferry_device *device, struct ferry__region *region,
                                      uint64_t size)
{
    char why[FERRY__WHY_MAX] = "";
    const bool pages_first = size >= PAGES_FROM && device->gpu.limits.import_granularity;
    if (pages_first && alloc_pages(device, region, size, why))
        return FERRY_OK;
    unsigned char *refused = region->pages ? region->base : NULL;
    region->pages = false;
    if (alloc_shared(device, region, size, why)) {
        if (refused)
            munmap(refused, size);
        return FERRY_OK;
    }
    region->pages = refused;
    region->base = refused;
    if (!pages_first && alloc_pages(device, region, size, why))
        return FERRY_OK;
    if (!region->base)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %llu bytes",
                           (unsigned long long)size);
    const enum ferry_status status =
        ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_host_alloc,
                        "ferry_host_alloc of %llu bytes is staged: %s", (unsigned long long)size,
                        why[0] ? why : "the device cannot import");
    if (status)
        munmap(region->base, size);
    return status;
}

/* All pieces in the table, or none. */
static enum ferry_status add_pieces(struct ferry_device *device, struct ferry__region *region)
{
    enum ferry_status status = FERRY_OK;
    struct ferry__region *piece = region;
    for (; piece && !status; piece = piece->more)
        status = ferry__regions_add(&device->gpu, piece);
    if (!status)
        return FERRY_OK;
    ferry__lock(&device->gpu.host_lock);
    for (struct ferry__region *added = region; added && added->more != piece; added = added->more)
        if (ferry__regions_exact(&device->gpu, added->base) == added)
            ferry__regions_remove(&device->gpu, added);
    ferry__unlock(&device->gpu.host_lock);
    return status;
}

static void unref_pieces(struct ferry_device *device, struct ferry__region *region)
{
    while (region) {
        struct ferry__region *piece = region;
        region = piece->more;
        ferry__region_unref(&device->gpu, piece);
    }
}

enum ferry_status ferry_host_alloc(ferry_device *device, size_t size, void **out_memory)
{
    enum ferry_status status = check(device, "ferry_host_alloc");
    if (status)
        return status;
    if (!out_memory || !size)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_host_alloc: %s",
                           size ? "out_memory is NULL" : "size is 0");
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (size > SIZE_MAX - page || size > INT64_MAX)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes", size);
    struct ferry__region *region = ferry__alloc(sizeof *region);
    if (!region)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *region);
    region->size = ferry__round_up(size, page);
    region->allocated = true;
    atomic_init(&region->refs, 1);
    status = alloc_memory(device, region, region->size);
    if (status) {
        ferry__free(region);
        return status;
    }
    unsigned char *base = region->base;
    status = add_pieces(device, region);
    if (status)
        unref_pieces(device, region);
    else
        *out_memory = base;
    return status;
}

void ferry_host_free(ferry_device *device, void *memory)
{
    if (!memory || !device)
        return;
    if (atomic_load(&device->dead) >= FERRY__CLOSED)
        return; /* it went with the device */
    ferry__lock(&device->gpu.host_lock);
    struct ferry__region *region = ferry__regions_exact(&device->gpu, memory);
    if (region && !region->allocated)
        region = NULL;
    for (struct ferry__region *piece = region; piece; piece = piece->more)
        ferry__regions_remove(&device->gpu, piece);
    ferry__unlock(&device->gpu.host_lock);
    if (!region)
        ferry__log(FERRY_LOG_ERROR, "ferry_host_free: %p was not allocated by ferry_host_alloc",
                   memory);
    unref_pieces(device, region);
}

enum ferry_status ferry_host_register(ferry_device *device, void *memory, size_t size,
                                      unsigned flags)
{
    enum ferry_status status = check(device, "ferry_host_register");
    if (status)
        return status;
    if (!memory || !size || (flags & ~(unsigned)FERRY_HOST_READ_ONLY) ||
        (uintptr_t)memory > UINTPTR_MAX - size)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_host_register: memory %p, size %zu or flags 0x%x is not valid",
                           memory, size, flags);
    struct ferry__region *region = ferry__alloc(sizeof *region);
    if (!region)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *region);
    char why[FERRY__WHY_MAX] = "the device cannot import";
    region->base = memory;
    region->size = size;
    region->read_only = flags & FERRY_HOST_READ_ONLY;
    atomic_init(&region->refs, 1);
    if (device->gpu.limits.import_granularity)
        status = ferry__region_import_pages(&device->gpu, region, memory, size, why);
    if (status == FERRY_ERROR_INVALID_ARGUMENT)
        status = ferry__fail(status, "ferry_host_register: %s", why);
    else if (status || !device->gpu.limits.import_granularity)
        status =
            ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_register,
                            "registered memory (%zu bytes at %p) is staged: %s", size, memory, why);
    if (!status)
        status = ferry__regions_add(&device->gpu, region);
    if (status)
        ferry__region_unref(&device->gpu, region);
    return status;
}

enum ferry_status ferry_host_unregister(ferry_device *device, void *memory)
{
    enum ferry_status status = ferry__in_callback("ferry_host_unregister");
    if (status)
        return status;
    if (!device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_host_unregister: device is NULL");
    if (atomic_load(&device->dead) >= FERRY__CLOSED)
        return ferry__device_dead(device, "ferry_host_unregister");
    ferry__lock(&device->gpu.host_lock);
    struct ferry__region *region = ferry__regions_exact(&device->gpu, memory);
    if (!region || region->allocated) {
        ferry__unlock(&device->gpu.host_lock);
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_host_unregister: %p is not the start of registered memory",
                           memory);
    }
    ferry__regions_remove(&device->gpu, region); /* no operation finds it from now on */
    const int cancel = ferry__cancel_off();
    while (atomic_load(&region->refs) > 1)
        ferry__cond_wait(&device->gpu.region_freed, &device->gpu.host_lock);
    ferry__unlock(&device->gpu.host_lock);
    ferry__cancel_on(cancel);
    ferry__region_unref(&device->gpu, region);
    /* From here on the user may free it, or register it with others. */
    ferry__memory_settle(&device->gpu);
    return FERRY_OK;
}
