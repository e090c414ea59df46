#include "engine/blocks.h"

#include "base/alloc.h"
#include "base/range.h"
#include "base/spans.h"
#include "engine/op.h"

#include <ferry/ferry.h>
#include <stdlib.h>
#include <string.h>

/* --- their memory ----------------------------------------------------------------------------- */

bool ferry__blocks_keep(struct ferry__transfer *transfer, bool copied)
{
    const struct ferry__blocks *from = transfer->blocks;
    struct ferry__blocks *blocks = ferry__alloc(sizeof *blocks);
    struct ferry_block *list = NULL;
    if (!blocks)
        return false;
    if (from->list && copied) {
        if (!(list = ferry__alloc_unset(from->count * sizeof *list))) {
            ferry__free(blocks);
            return false;
        }
        memcpy(list, from->list, from->count * sizeof *list);
    }
    *blocks = *from;
    blocks->owned = list != NULL;
    if (list)
        blocks->list = list;
    blocks->kept = true;
    transfer->blocks = blocks;
    return true;
}

uint64_t ferry__blocks_measure(struct ferry__blocks *blocks)
{
    uint64_t total = 0;
    blocks->dst_begin = blocks->src_begin = UINT64_MAX;
    blocks->dst_ascends = true;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct ferry_block block = ferry__blocks_at(blocks, i);
        const uint64_t dst_end = block.dst_offset + block.size;
        const uint64_t src_end = block.src_offset + block.size;
        if (!block.size)
            continue;
        blocks->dst_ascends &= block.dst_offset >= blocks->dst_end;
        blocks->dst_begin = ferry__least(blocks->dst_begin, block.dst_offset);
        blocks->src_begin = ferry__least(blocks->src_begin, block.src_offset);
        blocks->dst_end = dst_end > blocks->dst_end ? dst_end : blocks->dst_end;
        blocks->src_end = src_end > blocks->src_end ? src_end : blocks->src_end;
        blocks->dst_all |= block.dst_offset | block.size;
        blocks->src_all |= block.src_offset | block.size;
        total += block.size;
    }
    return total;
}

void ferry__blocks_free(struct ferry__blocks *blocks)
{
    if (!blocks || !blocks->kept)
        return;
    if (blocks->owned)
        ferry__free((void *)(uintptr_t)blocks->list);
    ferry__free(blocks->region_of);
    ferry__free(blocks->written);
    ferry__free(blocks->merged_as);
    ferry__free(blocks);
}

/* --- do they touch each other? ---------------------------------------------------------------- */

/* One side of the blocks, in the memory that both are seen in. */
struct side {
    const struct ferry__blocks *blocks;
    bool dst;
    uint64_t base;
};

static inline uint64_t begin_of(const struct side *side, struct ferry_block block)
{
    return side->base + (side->dst ? block.dst_offset : block.src_offset);
}

enum { BITS_EACH = 1024, BITS_LEAST = 1 << 16 }; /* a larger bitmap is slower than sorting */

static bool put_rows(struct ferry__spans *spans, const struct side *side)
{
    const struct ferry__blocks *blocks = side->blocks;
    bool apart = true;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct ferry_block block = ferry__blocks_at(blocks, i);
        const uint64_t begin = begin_of(side, block);
        apart &= ferry__spans_put(spans, begin, begin + block.size);
    }
    return apart;
}

/* Puts a side of all blocks into a bitmap. False: some touch others. */
static bool put_side(struct ferry__spans *spans, const struct side *side)
{
    const struct ferry_block *list = side->blocks->list;
    const uint64_t base = side->base;
    bool apart = true;
    if (!list)
        return put_rows(spans, side);
    const struct ferry_block *const end = list + side->blocks->count;
    if (side->dst)
        for (; list < end; list++)
            apart &= ferry__spans_put(spans, base + list->dst_offset,
                                      base + list->dst_offset + list->size);
    else
        for (; list < end; list++)
            apart &= ferry__spans_put(spans, base + list->src_offset,
                                      base + list->src_offset + list->size);
    return apart;
}

/* Puts what is written, but by blocks that are copied onto themselves, which do nothing. */
static bool put_moved(struct ferry__spans *spans, const struct side sides[2])
{
    const struct ferry__blocks *blocks = sides->blocks;
    bool apart = true;
    for (size_t i = 0; i < blocks->count && apart; i++) {
        const struct ferry_block block = ferry__blocks_at(blocks, i);
        const uint64_t begin = begin_of(&sides[0], block);
        if (begin != begin_of(&sides[1], block))
            apart = ferry__spans_put(spans, begin, begin + block.size);
    }
    return apart;
}

static bool meet_read(const struct ferry__spans *spans, const struct side *side)
{
    const struct ferry__blocks *blocks = side->blocks;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct ferry_block block = ferry__blocks_at(blocks, i);
        const uint64_t begin = begin_of(side, block);
        if (block.size && begin != begin_of(side - 1, block) &&
            ferry__spans_meet_range(spans, begin, begin + block.size))
            return true;
    }
    return false;
}

struct touch {
    uint64_t begin, end;
    bool writes;
};

static int by_begin(const void *a, const void *b)
{
    const uint64_t x = ((const struct touch *)a)->begin, y = ((const struct touch *)b)->begin;
    return (x > y) - (x < y);
}

/* Sorted by where they begin, a touch meets an earlier one if that ends behind its begin. */
static bool touches_apart(struct touch *touches, size_t count)
{
    uint64_t end = 0, write_end = 0;
    qsort(touches, count, sizeof *touches, by_begin);
    for (size_t i = 0; i < count; i++) {
        const struct touch *touch = &touches[i];
        if (touch->begin < (touch->writes ? end : write_end))
            return false;
        if (touch->end > end)
            end = touch->end;
        if (touch->writes && touch->end > write_end)
            write_end = touch->end;
    }
    return true;
}

static bool sorted_apart(const struct side *sides, size_t count)
{
    const struct ferry__blocks *blocks = sides->blocks;
    struct touch *touches = ferry__alloc(blocks->count * count * sizeof *touches);
    size_t used = 0;
    if (!touches)
        return false;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < blocks->count; i++) {
            const struct ferry_block block = ferry__blocks_at(blocks, i);
            const uint64_t begin = begin_of(&sides[s], block);
            if (!block.size ||
                (count == 2 && begin_of(&sides[0], block) == begin_of(&sides[1], block)))
                continue;
            touches[used++] = (struct touch){begin, begin + block.size, sides[s].dst};
        }
    const bool apart = touches_apart(touches, used);
    ferry__free(touches);
    return apart;
}

/* Where the two sides are one memory's. */
static bool within_apart(const struct side sides[2])
{
    const struct ferry__blocks *blocks = sides->blocks;
    const uint64_t dst_begin = sides[0].base + blocks->dst_begin;
    const uint64_t dst_end = sides[0].base + blocks->dst_end;
    const uint64_t all = blocks->dst_all | blocks->src_all | sides[0].base | sides[1].base;
    struct ferry__spans *spans =
        ferry__spans_bitmap(dst_begin, dst_end, all, BITS_LEAST + BITS_EACH * blocks->count);
    if (!spans)
        return sorted_apart(sides, 2);
    const bool apart = put_moved(spans, sides) && !meet_read(spans, &sides[1]);
    ferry__free(spans);
    return apart;
}

/* Where they are not. The bitmap is kept where it is also what the order is to know of a buffer. */
static bool written_apart(struct ferry__blocks *blocks, const struct side *side)
{
    const uint64_t begin = side->base + blocks->dst_begin, end = side->base + blocks->dst_end;
    const uint64_t all = blocks->dst_all | side->base;
    const uint64_t dense = side->base ? 0 : ferry__spans_dense(blocks->count);
    struct ferry__spans *spans = ferry__spans_bitmap(begin, end, all, dense);
    const bool keep = spans;
    if (!spans)
        spans = ferry__spans_bitmap(begin, end, all, BITS_LEAST + BITS_EACH * blocks->count);
    if (!spans)
        return sorted_apart(side, 1);
    const bool apart = put_side(spans, side);
    if (keep && apart) {
        ferry__free(blocks->written);
        blocks->written = spans;
    } else {
        ferry__free(spans);
    }
    return apart;
}

bool ferry__blocks_are_apart(struct ferry__blocks *blocks, bool native, uint64_t dst_base,
                             uint64_t src_base)
{
    const struct side sides[] = {{blocks, true, dst_base}, {blocks, false, src_base}};
    const uint64_t begin = dst_base + blocks->dst_begin, end = dst_base + blocks->dst_end;
    const bool meet =
        native && begin < src_base + blocks->src_end && src_base + blocks->src_begin < end;
    if (meet)
        return within_apart(sides);
    return blocks->dst_ascends || written_apart(blocks, sides);
}

struct ferry__spans *ferry__blocks_spans(const struct ferry__blocks *blocks, bool dst)
{
    const struct side side = {blocks, dst, 0};
    struct ferry__spans *spans = ferry__spans_bitmap(
        dst ? blocks->dst_begin : blocks->src_begin, dst ? blocks->dst_end : blocks->src_end,
        dst ? blocks->dst_all : blocks->src_all, ferry__spans_dense(blocks->count));
    if (spans)
        (void)put_side(spans, &side);
    return spans;
}
