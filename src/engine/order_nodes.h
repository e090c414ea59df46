/* What the files of the order share. */
#ifndef FERRY_ENGINE_ORDER_NODES_H
#define FERRY_ENGINE_ORDER_NODES_H

#include "base/spans.h"
#include "engine/buffer.h"
#include "engine/order.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes that are asked for: spans, or where there are none all of them. */
struct ferry__bytes {
    uint64_t begin, end;
    const struct ferry__spans *spans;
};

/* Spans are walked over so much faster than pieces. */
enum { FERRY__SPANS_A_STEP = 8 };

static inline struct ferry__order *ferry__order_of(const struct ferry__range *range)
{
    return &range->buffer->order;
}

static inline struct ferry__write_piece *ferry__piece_of(struct ferry__interval *interval)
{
    return (struct ferry__write_piece *)interval; /* its first member */
}

static inline struct ferry__read_group *ferry__group_of(struct ferry__interval *interval)
{
    return (struct ferry__read_group *)interval;
}

static inline bool ferry__meet_spans(const struct ferry__bytes *bytes,
                                     const struct ferry__spans *spans)
{
    return bytes->spans ? ferry__spans_meet(bytes->spans, spans)
                        : ferry__spans_meet_range(spans, bytes->begin, bytes->end);
}

/* The spans of an entry of list_writes, and of list_reads: all of a group have the same bytes. */
static inline struct ferry__spans *ferry__written(struct ferry__interval *node)
{
    return ferry__piece_of(node)->range->spans;
}

static inline struct ferry__spans *ferry__read_by(struct ferry__interval *node)
{
    return ferry__group_of(node)->first->spans;
}

/* Those that read just a range's bytes; NULL: there are none, or it would take long to find
 * them. */
struct ferry__interval *ferry__order_equal(const struct ferry__range *range);

#define FERRY__FOR_MEETING(node, meeting, tree)                                        \
    for (struct ferry__interval *node = ferry__meeting_first((meeting), (tree)); node; \
         node = ferry__meeting_next((meeting), node))

#endif
