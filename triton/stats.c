#include "internal.h"

#include <string.h>

struct ferry__triton_counters ferry__triton_counters;

void ferry_triton_get_stats(struct ferry_triton_stats *out_stats, size_t size)
{
    const struct ferry_triton_stats now = {
#define FERRY_TRITON_STAT(field, help) .field = atomic_load(&ferry__triton_counters.field),
#include <ferry/triton_stats.inc>
#undef FERRY_TRITON_STAT
    };
    if (!out_stats)
        return;
    memcpy(out_stats, &now, size < sizeof now ? size : sizeof now);
}
