/* A GPU: a driver and its device, and the memory that is got of it. */
#ifndef FERRY_MEMORY_GPU_H
#define FERRY_MEMORY_GPU_H

#include "base/compiler.h"
#include "base/metrics.h"
#include "base/tree.h"
#include "driver.h"
#include "memory/pool.h"
#include "memory/staging.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

struct ferry__gpu {
    const struct ferry__driver *driver;
    void *state;
    struct ferry__limits limits;
    struct ferry__limits limits_no_kernel; /* for memory that kernels do not reach */
    atomic_bool kernels_there;             /* once true, for ever */
    struct ferry_device_info info;
    struct ferry__metrics metrics;
    bool no_fallback;
    struct ferry__memory_pool pool;
    struct ferry__staging upload, readback;
    /* Gives back what the rooms above keep of the device's memory; NULL: nothing yet. Under the
     * pool's lock. */
    void (*_Atomic trim_above)(struct ferry__gpu *gpu);

    pthread_mutex_t host_lock;  /* guards the regions */
    struct ferry__tree regions; /* by address */
    _Atomic bool regions_any;
    pthread_cond_t region_freed;
};

/* What the device can do now: its kernels may still have to be compiled. Once they are there they
 * stay, so what was planned without them is right with them. */
static inline const struct ferry__limits *ferry__limits_now(const struct ferry__gpu *gpu)
{
    return atomic_load_explicit(&gpu->kernels_there, memory_order_acquire) ? &gpu->limits
                                                                           : &gpu->limits_no_kernel;
}

/* Something could use the kernels: has the driver make them, and says whether they are there. Waits
 * for them where waits is set (the CPU may reach the bytes beside, so the host cannot merge words)
 * or fallbacks are forbidden, as long as the driver trusts its compiler. */
bool ferry__kernels_needed(struct ferry__gpu *gpu, bool waits);

/* Counts a fallback, logs it once; UNSUPPORTED where the user forbade them. */
enum ferry_status ferry__fallback(struct ferry__gpu *gpu, _Atomic uint64_t *count,
                                  const char *format, ...) FERRY__PRINTF(3, 4) FERRY__COLD;

/* Waits until all that was freed is given back to the device's driver. */
static inline void ferry__memory_settle(struct ferry__gpu *gpu)
{
    if (gpu->driver->memory_settle)
        gpu->driver->memory_settle(gpu->state);
}

/* Shows the device what the host wrote there, and the host what the device wrote, in whole atoms;
 * nothing to do for coherent memory. */
enum ferry_status ferry__memory_flush(struct ferry__gpu *gpu, const struct ferry__memory *memory,
                                      uint64_t offset, uint64_t size);
enum ferry_status ferry__memory_invalidate(struct ferry__gpu *gpu,
                                           const struct ferry__memory *memory, uint64_t offset,
                                           uint64_t size);

#endif
