#include "base/alloc.h"
#include "base/log.h"
#include "base/range.h"
#include "base/status.h"
#include "base/thread.h"
#include "driver.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "memory/host_memory.h"

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

/* Memory that the device can reach: its own shared memory, or our pages, imported. */
static enum ferry_status alloc_memory(struct ferry_device *device, struct ferry__region *region,
                                      uint64_t size)
{
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status = device->gpu.driver->memory_alloc(
        device->gpu.state, FERRY__MEMORY_SHARED, size, "ferry_host_alloc", &region->memory, why);
    if (!status && region->memory.cached && region->memory.coherent && region->memory.host) {
        region->base = region->memory_base = region->memory.host;
        region->imported = true;
        if (device->zeroed && !region->memory.zeroed)
            memset(region->base, 0, size);
        return FERRY_OK;
    }
    if (!status)
        device->gpu.driver->memory_free(device->gpu.state, &region->memory);
    region->memory = (struct ferry__memory){0};
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %llu bytes",
                           (unsigned long long)size);
    region->base = pages;
    if (device->gpu.limits.import_granularity &&
        !ferry__region_import_pages(&device->gpu, region, pages, size, why))
        return FERRY_OK;
    status = ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_host_alloc,
                             "ferry_host_alloc of %llu bytes is staged: %s",
                             (unsigned long long)size, why[0] ? why : "the device cannot import");
    if (status)
        munmap(pages, size);
    return status;
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
    status = ferry__regions_add(&device->gpu, region);
    if (status)
        ferry__region_unref(&device->gpu, region);
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
    if (region && region->allocated)
        ferry__regions_remove(&device->gpu, region);
    else
        region = NULL;
    ferry__unlock(&device->gpu.host_lock);
    if (!region)
        ferry__log(FERRY_LOG_ERROR, "ferry_host_free: %p is not of ferry_host_alloc", memory);
    ferry__region_unref(&device->gpu, region);
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
                           "ferry_host_register: memory %p, size %zu, flags 0x%x", memory, size,
                           flags);
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
    if (device->gpu.driver->memory_settle)
        device->gpu.driver->memory_settle(device->gpu.state);
    return FERRY_OK;
}
