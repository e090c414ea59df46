/* What an op touches, put together: few ranges as they are, many of one buffer and kind as one with
 * spans. Under no lock. */
#ifndef FERRY_ENGINE_COLLECT_H
#define FERRY_ENGINE_COLLECT_H

#include "base/spans.h"
#include "engine/order.h"

#include <ferry/ferry.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__op;

/* More ranges of one buffer and kind than this take one place together. */
enum { FERRY__RANGES_FEW = 16 };

/* All ranges of one buffer and kind. */
struct ferry__bucket {
    struct ferry_buffer *buffer;
    enum ferry__range_kind kind;
    uint32_t count;
    struct ferry__spans *made; /* all of them, made already; NULL */
};

struct ferry__collect {
    struct ferry__op *op;
    size_t count, capacity, run; /* run: where the latest one begins */
    bool many;                   /* else they are the op's own */
    struct ferry__span *spans;   /* NULL: none yet */
    uint32_t *bucket_of;         /* each span's */
    struct ferry__bucket *buckets;
    size_t bucket_count, bucket_capacity;
    uint32_t *slots; /* of a table by buffer and kind: 1 + the bucket; 0: none */
    size_t slot_count;
    uint32_t recent[2]; /* looked at first */
    bool short_of_memory;
};

/* Room for that many ranges at most. */
enum ferry_status ferry__collect_begin(struct ferry__collect *collect, struct ferry__op *op,
                                       size_t capacity);
void ferry__collect_add(struct ferry__collect *collect, struct ferry_buffer *buffer, bool write,
                        struct ferry__span span);

/* Begins a run of ranges of one buffer and kind. False: they need not be added, since memory is
 * short. */
bool ferry__collect_run(struct ferry__collect *collect, struct ferry_buffer *buffer, bool write);

/* Adds to the run. What begins where the last range of it ends, or within that, makes it longer. */
static inline void ferry__collect_put(struct ferry__collect *collect, struct ferry__span span)
{
    struct ferry__span *last = collect->spans + collect->count;
    if (collect->count > collect->run && span.begin <= last[-1].end &&
        span.begin >= last[-1].begin) {
        if (span.end > last[-1].end)
            last[-1].end = span.end;
        return;
    }
    *last = span;
    collect->bucket_of[collect->count++] = collect->recent[0];
}

void ferry__collect_run_end(struct ferry__collect *collect);

/* All that is touched of a buffer in this way, made already: takes it over. */
void ferry__collect_take(struct ferry__collect *collect, struct ferry_buffer *buffer, bool write,
                         struct ferry__spans *spans);

/* Are there so many that they become spans? Else runs are not for them. */
static inline bool ferry__collects_spans(const struct ferry__collect *collect)
{
    return collect->many;
}

/* They are op's, by buffer, kind and begin. On failure op has none. */
enum ferry_status ferry__collect_end(struct ferry__collect *collect);

#endif
