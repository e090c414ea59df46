#include "base/arena.h"

#include "base/alloc.h"

#include <assert.h>
#include <ferry/ferry.h>

/* Everything below counts in granules. Sizes of one bin have the same highest bit and the same
 * BIN_BITS bits after it; sizes below BINS have a bin each. */
enum { GRANULE_BITS = 8, BIN_BITS = 4, BINS = 1 << BIN_BITS, SCAN_MAX = 8, NODES_PER_SLAB = 63 };
static_assert(FERRY_BUFFER_ALIGNMENT == 1 << GRANULE_BITS, "a granule is the alignment");

struct node {
    uint64_t offset, size;
    struct node *before, *after;        /* the neighbours in the block */
    struct node *free_prev, *free_next; /* in its bin, or free_next: of the spare nodes */
    bool is_free;
};

struct slab {
    struct slab *next;
    struct node nodes[NODES_PER_SLAB];
};

struct level {
    uint32_t bins_used; /* bit i: bins[i] is not empty */
    struct node *bins[BINS];
};

struct ferry__arena {
    uint64_t used;
    uint64_t levels_used; /* bit i: levels[i] has a bin that is not empty */
    struct node *spare;
    struct slab *slabs;
    struct node first; /* covers the start of the block for ever, so that an arena of one range
                          needs no slab */
    struct level levels[];
};

struct bin {
    unsigned level, index;
};

static unsigned highest_bit(uint64_t value)
{
    return 63 - (unsigned)__builtin_clzll(value);
}

/* The bin that a free range of this size is kept in. */
static struct bin bin_of(uint64_t size)
{
    if (size < BINS)
        return (struct bin){.level = 0, .index = (unsigned)size};
    unsigned top = highest_bit(size);
    return (struct bin){.level = top - BIN_BITS + 1,
                        .index = (unsigned)(size >> (top - BIN_BITS)) & (BINS - 1)};
}

static void bin_add(struct ferry__arena *arena, struct node *node)
{
    struct bin bin = bin_of(node->size);
    struct level *level = &arena->levels[bin.level];
    node->is_free = true;
    node->free_prev = NULL;
    node->free_next = level->bins[bin.index];
    if (node->free_next)
        node->free_next->free_prev = node;
    level->bins[bin.index] = node;
    level->bins_used |= UINT32_C(1) << bin.index;
    arena->levels_used |= UINT64_C(1) << bin.level;
}

static void bin_remove(struct ferry__arena *arena, struct node *node)
{
    struct bin bin = bin_of(node->size);
    struct level *level = &arena->levels[bin.level];
    node->is_free = false;
    if (node->free_next)
        node->free_next->free_prev = node->free_prev;
    if (node->free_prev) {
        node->free_prev->free_next = node->free_next;
        return;
    }
    level->bins[bin.index] = node->free_next;
    if (node->free_next)
        return;
    level->bins_used &= ~(UINT32_C(1) << bin.index);
    if (level->bins_used == 0)
        arena->levels_used &= ~(UINT64_C(1) << bin.level);
}

/* A free range of any bin above this one: whichever it is, it is large enough. */
static struct node *find_above(const struct ferry__arena *arena, struct bin bin)
{
    if ((arena->levels_used >> bin.level & 1) != 0) {
        const struct level *level = &arena->levels[bin.level];
        uint32_t bins = level->bins_used & (uint32_t)(~UINT64_C(0) << (bin.index + 1));
        if (bins != 0)
            return level->bins[__builtin_ctz(bins)];
    }
    uint64_t levels = arena->levels_used & ~UINT64_C(0) << bin.level << 1;
    if (levels == 0)
        return NULL;
    const struct level *level = &arena->levels[__builtin_ctzll(levels)];
    return level->bins[__builtin_ctz(level->bins_used)];
}

/* A range of the size's own bin may be too small: a few are looked at, the tightest taken. */
static struct node *find(const struct ferry__arena *arena, uint64_t size)
{
    struct bin bin = bin_of(size);
    if ((arena->levels_used >> bin.level & 1) != 0) {
        struct node *best = NULL;
        struct node *node = arena->levels[bin.level].bins[bin.index];
        for (unsigned i = 0; i < SCAN_MAX && node; i++, node = node->free_next)
            if (node->size >= size && (!best || node->size < best->size))
                best = node;
        if (best)
            return best;
    }
    return find_above(arena, bin);
}

static struct node *node_new(struct ferry__arena *arena)
{
    if (!arena->spare) {
        struct slab *slab = ferry__alloc(sizeof *slab);
        if (!slab)
            return NULL;
        slab->next = arena->slabs;
        arena->slabs = slab;
        for (unsigned i = 0; i < NODES_PER_SLAB; i++) {
            slab->nodes[i].free_next = arena->spare;
            arena->spare = &slab->nodes[i];
        }
    }
    struct node *node = arena->spare;
    arena->spare = node->free_next;
    return node;
}

struct ferry__arena *ferry__arena_create(uint64_t size)
{
    uint64_t granules = size >> GRANULE_BITS;
    unsigned levels = bin_of(granules).level + 1;
    struct ferry__arena *arena = ferry__alloc(sizeof *arena + levels * sizeof *arena->levels);
    if (!arena)
        return NULL;
    arena->first.size = granules;
    if (granules > 0)
        bin_add(arena, &arena->first);
    return arena;
}

void ferry__arena_destroy(struct ferry__arena *arena)
{
    if (!arena)
        return;
    while (arena->slabs) {
        struct slab *next = arena->slabs->next;
        ferry__free(arena->slabs);
        arena->slabs = next;
    }
    ferry__free(arena);
}

/* What is over size becomes a free range after node. */
static void split(struct ferry__arena *arena, struct node *node, uint64_t size, struct node *rest)
{
    *rest = (struct node){.offset = node->offset + size,
                          .size = node->size - size,
                          .before = node,
                          .after = node->after};
    if (rest->after)
        rest->after->before = rest;
    node->after = rest;
    node->size = size;
    bin_add(arena, rest);
}

bool ferry__arena_take(struct ferry__arena *arena, uint64_t size, uint64_t *out_offset,
                       void **out_range)
{
    uint64_t granules = (size >> GRANULE_BITS) + ((size & (FERRY_BUFFER_ALIGNMENT - 1)) != 0);
    if (granules == 0)
        granules = 1;
    struct bin own = bin_of(granules);
    if (arena->levels_used >> own.level == 0)
        return false;
    struct node *node = find(arena, granules);
    if (!node)
        return false;
    struct node *rest = NULL;
    if (node->size > granules && !(rest = node_new(arena)))
        return false;
    bin_remove(arena, node);
    if (rest)
        split(arena, node, granules, rest);
    arena->used += granules;
    *out_offset = node->offset << GRANULE_BITS;
    *out_range = node;
    return true;
}

/* node takes over the range after it, whose node becomes a spare one. */
static void absorb_next(struct ferry__arena *arena, struct node *node)
{
    struct node *next = node->after;
    node->size += next->size;
    node->after = next->after;
    if (node->after)
        node->after->before = node;
    next->free_next = arena->spare;
    arena->spare = next;
}

void ferry__arena_give(struct ferry__arena *arena, void *range)
{
    struct node *node = range;
    assert(!node->is_free);
    arena->used -= node->size;
    if (node->after && node->after->is_free) {
        bin_remove(arena, node->after);
        absorb_next(arena, node);
    }
    if (node->before && node->before->is_free) {
        node = node->before;
        bin_remove(arena, node);
        absorb_next(arena, node);
    }
    bin_add(arena, node);
}

uint64_t ferry__arena_used(const struct ferry__arena *arena)
{
    return arena->used << GRANULE_BITS;
}
