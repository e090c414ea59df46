#include "memory/gpu.h"

#include "base/log.h"
#include "base/range.h"
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

enum ferry_status ferry__fallback(struct ferry__gpu *gpu, _Atomic uint64_t *count,
                                  const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const uint64_t before = atomic_fetch_add(count, 1);
    if (gpu->no_fallback)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "fallbacks are forbidden: %s", text);
    if (!before)
        ferry__log(FERRY_LOG_WARN, "%s: %s (not repeated; counted in the metrics)", gpu->info.name,
                   text);
    return FERRY_OK;
}

/* What the driver does with the atoms that a range lies in. */
typedef enum ferry_status sync_function(void *state, const struct ferry__memory *memory,
                                        uint64_t offset, uint64_t size);

static enum ferry_status sync_atoms(struct ferry__gpu *gpu, sync_function *sync,
                                    const struct ferry__memory *memory, uint64_t offset,
                                    uint64_t size)
{
    if (memory->coherent)
        return FERRY_OK;
    const uint64_t begin = ferry__round_down(offset, gpu->limits.atom);
    const uint64_t end = ferry__round_up(offset + size, gpu->limits.atom);
    return sync(gpu->state, memory, begin, end - begin);
}

enum ferry_status ferry__memory_flush(struct ferry__gpu *gpu, const struct ferry__memory *memory,
                                      uint64_t offset, uint64_t size)
{
    return sync_atoms(gpu, gpu->driver->flush, memory, offset, size);
}

enum ferry_status ferry__memory_invalidate(struct ferry__gpu *gpu,
                                           const struct ferry__memory *memory, uint64_t offset,
                                           uint64_t size)
{
    return sync_atoms(gpu, gpu->driver->invalidate, memory, offset, size);
}

bool ferry__kernels_needed(struct ferry__gpu *gpu, bool waits)
{
    if (!gpu->limits.has_kernel || atomic_load(&gpu->kernels_there))
        return gpu->limits.has_kernel;
    const uint64_t timeout = waits || gpu->no_fallback ? UINT64_MAX : 0;
    if (!gpu->driver->kernels(gpu->state, timeout))
        return false;
    atomic_store(&gpu->kernels_there, true);
    return true;
}
