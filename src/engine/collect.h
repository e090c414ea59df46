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
};

struct ferry__collect {
    struct ferry__op *op;
    size_t count, capacity;
    struct ferry__span *spans; /* NULL: few, in op->ranges */
    uint32_t *bucket_of;       /* each span's */
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

/* They are op->ranges, by buffer, kind and begin. On failure op has none. */
enum ferry_status ferry__collect_end(struct ferry__collect *collect);

#endif
