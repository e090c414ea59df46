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

/* In words of its own, which stay in registers: this is most of what checking a list costs. */
uint64_t ferry__blocks_measure(struct ferry__blocks *blocks)
{
    uint64_t dst_begin = UINT64_MAX, dst_end = 0, src_begin = UINT64_MAX, src_end = 0;
    uint64_t dst_all = 0, src_all = 0, size_all = 0, size_common = UINT64_MAX, total = 0;
    bool descends = false;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct ferry_block *block = &blocks->list[i];
        const uint64_t dst = block->dst_offset, src = block->src_offset, size = block->size;
        if (!size) {
            blocks->some_empty = true;
            continue;
        }
        const uint64_t dst_last = dst + size, src_last = src + size;
        dst_all |= dst;
        src_all |= src;
        size_all |= size;
        size_common &= size;
        total += size;
        descends |= dst < dst_end;
        dst_begin = dst < dst_begin ? dst : dst_begin;
        src_begin = src < src_begin ? src : src_begin;
        dst_end = dst_last > dst_end ? dst_last : dst_end;
        src_end = src_last > src_end ? src_last : src_end;
    }
    blocks->dst_begin = size_all ? dst_begin : 0;
    blocks->dst_end = dst_end;
    blocks->src_begin = size_all ? src_begin : 0;
    blocks->src_end = src_end;
    blocks->dst_all = dst_all | size_all;
    blocks->src_all = src_all | size_all;
    blocks->size_all = size_all;
    blocks->size_each = size_common == size_all && !blocks->some_empty ? size_all : 0;
    blocks->dst_ascends = !descends;
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
    ferry__free(blocks->read);
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

static inline uint64_t offset_of(const struct ferry_block *block, bool dst)
{
    return dst ? block->dst_offset : block->src_offset;
}

/* Blocks of one size, which is count granules, and no more than a word has bits. */
static inline bool put_equal(struct ferry__spans *spans, const struct side *side, bool dst,
                             uint64_t count)
{
    const struct ferry_block *block = side->blocks->list;
    const struct ferry_block *const end = block + side->blocks->count;
    const uint64_t first = spans->first - (side->base >> spans->shift);
    const uint64_t ones = UINT64_MAX >> (64 - count);
    const unsigned shift = spans->shift;
    uint64_t *const words = spans->words, met = 0;
    bool apart = true;
    for (; block < end; block++) {
        const uint64_t at = (offset_of(block, dst) >> shift) - first, bit = at % 64;
        if (count > 1 && bit > 64 - count) {
            apart &= ferry__spans_put_long(spans, at, at + count);
            continue;
        }
        const uint64_t word = words[at / 64], mask = ones << bit;
        met |= word & mask;
        words[at / 64] = word | mask;
    }
    return apart && !met;
}

static inline bool put_list(struct ferry__spans *spans, const struct side *side, bool dst)
{
    const struct ferry_block *block = side->blocks->list;
    const struct ferry_block *const end = block + side->blocks->count;
    const uint64_t base = side->base;
    bool apart = true;
    for (; block < end; block++) {
        const uint64_t begin = base + offset_of(block, dst);
        apart &= ferry__spans_put(spans, begin, begin + block->size);
    }
    return apart;
}

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
    const uint64_t granules = side->blocks->size_each >> spans->shift;
    if (!side->blocks->list)
        return put_rows(spans, side);
    if (granules == 1)
        return side->dst ? put_equal(spans, side, true, 1) : put_equal(spans, side, false, 1);
    if (granules && granules <= 64)
        return side->dst ? put_equal(spans, side, true, granules)
                         : put_equal(spans, side, false, granules);
    return side->dst ? put_list(spans, side, true) : put_list(spans, side, false);
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

enum { FEW = 16 }; /* blocks: sorted in place, sooner than a bitmap for them is cleared */

static void sort_touches(struct touch *touches, size_t count)
{
    if (count > 2 * FEW) {
        qsort(touches, count, sizeof *touches, by_begin);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        const struct touch touch = touches[i];
        size_t at = i;
        for (; at && touches[at - 1].begin > touch.begin; at--)
            touches[at] = touches[at - 1];
        touches[at] = touch;
    }
}

/* Sorted by where they begin, a touch meets an earlier one if that ends behind its begin. */
static bool touches_apart(struct touch *touches, size_t count)
{
    uint64_t end = 0, write_end = 0;
    sort_touches(touches, count);
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

/* Room for two touches of each block. */
static bool listed_apart(const struct side *sides, size_t count, struct touch *touches)
{
    const struct ferry__blocks *blocks = sides->blocks;
    size_t used = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < blocks->count; i++) {
            const struct ferry_block block = ferry__blocks_at(blocks, i);
            const uint64_t begin = begin_of(&sides[s], block);
            if (!block.size ||
                (count == 2 && begin_of(&sides[0], block) == begin_of(&sides[1], block)))
                continue;
            touches[used++] = (struct touch){begin, begin + block.size, sides[s].dst};
        }
    return touches_apart(touches, used);
}

static bool sorted_apart(const struct side *sides, size_t count)
{
    struct touch few[2 * FEW];
    if (sides->blocks->count <= FEW)
        return listed_apart(sides, count, few);
    struct touch *touches = ferry__alloc_unset(sides->blocks->count * count * sizeof *touches);
    const bool apart = touches && listed_apart(sides, count, touches);
    ferry__free(touches);
    return apart;
}

/* All of a side, as an empty bitmap. NULL: no host memory, or it would be too large. */
static struct ferry__spans *bitmap_for(const struct side *side, uint64_t all)
{
    const struct ferry__blocks *blocks = side->blocks;
    const uint64_t begin = side->dst ? blocks->dst_begin : blocks->src_begin;
    const uint64_t end = side->dst ? blocks->dst_end : blocks->src_end;
    return ferry__spans_bitmap(side->base + begin, side->base + end, all,
                               BITS_LEAST + BITS_EACH * blocks->count);
}

/* A bitmap is kept where it is also what the order is to know of a buffer. */
static void keep(struct ferry__spans **kept, struct ferry__spans *spans, const struct side *side)
{
    const uint64_t bits = (spans->end - spans->begin) >> spans->shift;
    if (side->base || bits > ferry__spans_dense(side->blocks->count)) {
        ferry__free(spans);
        return;
    }
    ferry__free(*kept);
    *kept = spans;
}

/* Where the two sides are one memory's: exactly, also of blocks that stay where they are. */
static bool moved_apart(const struct side sides[2], uint64_t all)
{
    struct ferry__spans *spans = bitmap_for(&sides[0], all);
    if (!spans)
        return sorted_apart(sides, 2);
    const bool apart = put_moved(spans, sides) && !meet_read(spans, &sides[1]);
    ferry__free(spans);
    return apart;
}

/* Likewise, but mostly no block stays, and both bitmaps will be asked for soon. */
static bool within_apart(struct ferry__blocks *blocks, const struct side sides[2])
{
    const uint64_t all = blocks->dst_all | blocks->src_all | sides[0].base | sides[1].base;
    struct ferry__spans *written = bitmap_for(&sides[0], all);
    struct ferry__spans *read = written ? bitmap_for(&sides[1], all) : NULL;
    bool apart = read && put_side(written, &sides[0]);
    if (apart) {
        (void)put_side(read, &sides[1]);
        apart = !ferry__spans_meet(written, read);
    }
    if (apart) {
        keep(&blocks->written, written, &sides[0]);
        keep(&blocks->read, read, &sides[1]);
        return true;
    }
    ferry__free(written);
    ferry__free(read);
    return moved_apart(sides, all);
}

/* Where they are not. */
static bool written_apart(struct ferry__blocks *blocks, const struct side *side)
{
    struct ferry__spans *spans = bitmap_for(side, blocks->dst_all | side->base);
    if (!spans)
        return sorted_apart(side, 1);
    const bool apart = put_side(spans, side);
    if (apart)
        keep(&blocks->written, spans, side);
    else
        ferry__free(spans);
    return apart;
}

bool ferry__blocks_are_apart(struct ferry__blocks *blocks, bool native, uint64_t dst_base,
                             uint64_t src_base)
{
    const uint64_t begin = dst_base + blocks->dst_begin, end = dst_base + blocks->dst_end;
    const bool meet =
        native && begin < src_base + blocks->src_end && src_base + blocks->src_begin < end;
    const bool shifted = meet && dst_base != src_base; /* else buffers' own offsets do */
    const struct side sides[] = {{blocks, true, shifted ? dst_base : 0},
                                 {blocks, false, shifted ? src_base : 0}};
    if (!meet && blocks->dst_ascends)
        return true;
    if (blocks->count <= FEW)
        return sorted_apart(sides, meet ? 2 : 1);
    return meet ? within_apart(blocks, sides) : written_apart(blocks, sides);
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
