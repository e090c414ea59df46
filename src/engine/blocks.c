#include "engine/blocks.h"

#include "base/alloc.h"
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
        if (!(list = ferry__alloc(from->count * sizeof *list))) {
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

void ferry__blocks_free(struct ferry__blocks *blocks)
{
    if (!blocks || !blocks->kept)
        return;
    if (blocks->owned)
        ferry__free((void *)(uintptr_t)blocks->list);
    ferry__free(blocks->region_of);
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

/* Each begins where the one before it ends, or behind that: what a list that was made in order
 * is. */
static bool is_ascending(const struct side *side)
{
    uint64_t end = 0;
    for (size_t i = 0; i < side->blocks->count; i++) {
        const struct ferry_block block = ferry__blocks_at(side->blocks, i);
        const uint64_t begin = begin_of(side, block);
        if (!block.size)
            continue;
        if (begin < end)
            return false;
        end = begin + block.size;
    }
    return true;
}

/* A bit for each granule of the bytes that blocks lie in. */
struct bitmap {
    uint64_t *words, first; /* first: the granule of bit 0 */
    uint64_t bits;
    unsigned shift; /* of a granule */
};

enum { BITS_EACH = 1024, BITS_LEAST = 1 << 16 }; /* a larger bitmap is slower than sorting */

/* The widest granule that no block lies partly in. False: that makes too many bits, or no
 * memory. */
static bool bitmap_init(struct bitmap *map, const struct side *sides, size_t count, uint64_t begin,
                        uint64_t end)
{
    uint64_t all = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < sides[s].blocks->count; i++) {
            const struct ferry_block block = ferry__blocks_at(sides[s].blocks, i);
            all |= block.size ? begin_of(&sides[s], block) | block.size : 0;
        }
    for (map->shift = 0; map->shift < 40 && !(all >> map->shift & 1); map->shift++) {
    }
    map->first = begin >> map->shift;
    map->bits = ((end - 1) >> map->shift) - map->first + 1;
    if (map->bits > BITS_LEAST && map->bits / BITS_EACH > sides->blocks->count)
        return false;
    return (map->words = ferry__alloc((map->bits / 64 + 1) * sizeof *map->words));
}

/* The bits of [begin, end): were all clear? Sets them if told to. */
static bool bitmap_take(struct bitmap *map, uint64_t begin, uint64_t end, bool set)
{
    uint64_t at = (begin >> map->shift) - map->first;
    const uint64_t last = (end >> map->shift) - map->first;
    while (at < last) {
        const uint64_t n = 64 - at % 64 < last - at ? 64 - at % 64 : last - at;
        const uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << at % 64;
        if (map->words[at / 64] & mask)
            return false;
        if (set)
            map->words[at / 64] |= mask;
        at += n;
    }
    return true;
}

/* Takes all that is written, then asks for what is read. A block that is copied onto itself does
 * neither. */
static bool bitmap_apart(struct bitmap *map, const struct side *sides, size_t count)
{
    const struct ferry__blocks *blocks = sides->blocks;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < blocks->count; i++) {
            const struct ferry_block block = ferry__blocks_at(blocks, i);
            const uint64_t begin = begin_of(&sides[s], block);
            if (count == 2 && begin_of(&sides[0], block) == begin_of(&sides[1], block))
                continue;
            if (!bitmap_take(map, begin, begin + block.size, sides[s].dst))
                return false;
        }
    return true;
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

bool ferry__blocks_are_apart(const struct ferry__blocks *blocks, bool native, uint64_t dst_base,
                             uint64_t src_base)
{
    const struct side sides[] = {{blocks, true, dst_base}, {blocks, false, src_base}};
    uint64_t begin = dst_base + blocks->dst_begin, end = dst_base + blocks->dst_end;
    const uint64_t src_begin = src_base + blocks->src_begin, src_end = src_base + blocks->src_end;
    const bool meet = native && begin < src_end && src_begin < end;
    if (!meet && is_ascending(&sides[0]))
        return true;
    if (meet) {
        begin = src_begin < begin ? src_begin : begin;
        end = src_end > end ? src_end : end;
    }
    struct bitmap map;
    const size_t count = meet ? 2 : 1;
    if (!bitmap_init(&map, sides, count, begin, end))
        return sorted_apart(sides, count);
    const bool apart = bitmap_apart(&map, sides, count);
    ferry__free(map.words);
    return apart;
}
