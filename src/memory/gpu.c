#include "memory/gpu.h"

#include "base/log.h"
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
        ferry__log(FERRY_LOG_WARN, "%s: %s (said once; counted in the metrics)", gpu->info.name,
                   text);
    return FERRY_OK;
}
