/* Failed bytes (R9): what a failed write was to cover, until a write has covered it. Each buffer
 * keeps them as disjoint intervals, each with its status and reason. Under the device's lock. */
#ifndef FERRY_ENGINE_FAILURE_H
#define FERRY_ENGINE_FAILURE_H

#include "base/interval.h"

#include <ferry/ferry.h>

struct ferry__reason;

struct ferry__failed {
    struct ferry__interval interval; /* stamped with the count of failures when it came */
    enum ferry_status status;
    struct ferry__reason *reason;
};

/* All zero: nothing has failed. */
struct ferry__failures {
    struct ferry__intervals tree;
    uint64_t count; /* of failed writes, ever */
    /* Used where there is no host memory: one interval that may hold more than failed. */
    struct ferry__failed last_resort;
    bool last_resort_used;
};

/* The first failed interval that shares a byte with [begin, end); NULL: none. */
const struct ferry__failed *ferry__failed_find(const struct ferry__failures *failures,
                                               uint64_t begin, uint64_t end);
/* Its reason in words. */
const char *ferry__failed_why(const struct ferry__failed *failed);

/* A write of [begin, end) has failed, for a reason that it shares. Without host memory the bytes
 * between it and what failed before may count as failed, too: never too few. */
void ferry__failed_add(struct ferry__failures *failures, uint64_t begin, uint64_t end,
                       enum ferry_status status, struct ferry__reason *reason);

/* A write has covered [begin, end): what failed there is well again, if it failed no later than
 * when the count was up_to. Without host memory an interval that would be cut in two stays
 * whole. */
void ferry__failed_cover(struct ferry__failures *failures, uint64_t begin, uint64_t end,
                         uint64_t up_to);

static inline bool ferry__failed_any(const struct ferry__failures *failures)
{
    return failures->tree.root != NULL;
}

void ferry__failed_finish(struct ferry__failures *failures);

#endif
