#include "base/interval.h"

#include "base/alloc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A treap: ordered by address, and a heap by a priority that is a hash of the node's own address,
 * so that it needs no memory and no state. Its depth is that of a random tree, whatever the order
 * in which intervals come.
 */

static uint64_t priority(const struct ferry__interval *node)
{
    uint64_t x = (uint64_t)(uintptr_t)node; /* splitmix64's mixing steps */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* --- the tree --------------------------------------------------------------------------------- */

struct ferry__interval *ferry__interval_after(const struct ferry__intervals *tree, uint64_t at)
{
    struct ferry__interval *best = NULL;
    if (!tree->root || tree->root->reach <= at)
        return NULL; /* behind all, as in address order */
    for (struct ferry__interval *node = tree->root; node;) {
        if (node->end > at) {
            best = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return best;
}

struct ferry__interval *ferry__interval_next(const struct ferry__interval *node)
{
    if (node->right) {
        struct ferry__interval *next = node->right;
        while (next->left)
            next = next->left;
        return next;
    }
    while (node->parent && node->parent->right == node)
        node = node->parent;
    return node->parent;
}

struct ferry__interval *ferry__interval_previous(const struct ferry__interval *node)
{
    if (node->left) {
        struct ferry__interval *previous = node->left;
        while (previous->right)
            previous = previous->right;
        return previous;
    }
    while (node->parent && node->parent->left == node)
        node = node->parent;
    return node->parent;
}

struct ferry__interval *ferry__interval_equal(const struct ferry__intervals *tree, uint64_t begin,
                                              uint64_t end)
{
    struct ferry__interval *node = tree->root;
    while (node && (node->begin != begin || node->end != end))
        node = begin < node->begin || (begin == node->begin && end < node->end) ? node->left
                                                                                : node->right;
    return node;
}

/* Where the pointer to node is. */
static struct ferry__interval **link_to(struct ferry__intervals *tree, struct ferry__interval *node)
{
    struct ferry__interval *parent = node->parent;
    if (!parent)
        return &tree->root;
    return parent->left == node ? &parent->left : &parent->right;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What node knows of all below it. False: it knew that. */
static bool sum_up(struct ferry__interval *node)
{
    uint64_t reach = node->end, newest = node->stamp;
    if (node->left) {
        reach = larger(reach, node->left->reach);
        newest = larger(newest, node->left->newest);
    }
    if (node->right) {
        reach = larger(reach, node->right->reach);
        newest = larger(newest, node->right->newest);
    }
    const bool changed = node->reach != reach || node->newest != newest;
    node->reach = reach;
    node->newest = newest;
    return changed;
}

void ferry__interval_changed(struct ferry__interval *node)
{
    while (node && sum_up(node))
        node = node->parent;
}

/* Node changes places with its parent, and the order of the addresses stays. */
static void rotate_up(struct ferry__intervals *tree, struct ferry__interval *node)
{
    struct ferry__interval *parent = node->parent;
    const bool left = parent->left == node;
    struct ferry__interval *middle = left ? node->right : node->left;
    *link_to(tree, parent) = node;
    node->parent = parent->parent;
    *(left ? &parent->left : &parent->right) = middle;
    if (middle)
        middle->parent = parent;
    *(left ? &node->right : &node->left) = parent;
    parent->parent = node;
    (void)sum_up(parent);
    (void)sum_up(node);
}

void ferry__interval_insert(struct ferry__intervals *tree, struct ferry__interval *node)
{
    struct ferry__interval **link = &tree->root, *parent = NULL;
    while (*link) {
        parent = *link;
        parent->reach = larger(parent->reach, node->end);
        parent->newest = larger(parent->newest, node->stamp);
        link =
            node->begin < parent->begin || (node->begin == parent->begin && node->end < parent->end)
                ? &parent->left
                : &parent->right;
    }
    node->left = node->right = NULL;
    node->parent = parent;
    node->reach = node->end;
    node->newest = node->stamp;
    *link = node;
    while (node->parent && priority(node->parent) < priority(node))
        rotate_up(tree, node);
}

void ferry__interval_remove(struct ferry__intervals *tree, struct ferry__interval *node)
{
    while (node->left && node->right)
        rotate_up(tree, priority(node->left) > priority(node->right) ? node->left : node->right);
    struct ferry__interval *child = node->left ? node->left : node->right;
    *link_to(tree, node) = child;
    if (child)
        child->parent = node->parent;
    ferry__interval_changed(node->parent);
}

/* --- what meets a range ----------------------------------------------------------------------- */

static bool may_meet(const struct ferry__meeting *meeting, const struct ferry__interval *node)
{
    return node && node->reach > meeting->begin && node->newest > meeting->newer;
}

static struct ferry__interval *leftmost(const struct ferry__meeting *meeting,
                                        struct ferry__interval *node)
{
    while (may_meet(meeting, node->left))
        node = node->left;
    return node;
}

struct ferry__interval *ferry__meeting_at(const struct ferry__meeting *meeting,
                                          struct ferry__interval *node)
{
    while (node && node->begin < meeting->end) {
        if (node->end > meeting->begin && node->stamp > meeting->newer)
            return node;
        if (may_meet(meeting, node->right)) {
            node = leftmost(meeting, node->right);
            continue;
        }
        while (node->parent && node->parent->right == node)
            node = node->parent;
        node = node->parent;
    }
    return NULL;
}

struct ferry__interval *ferry__meeting_first(const struct ferry__meeting *meeting,
                                             const struct ferry__intervals *tree)
{
    if (!may_meet(meeting, tree->root))
        return NULL;
    return ferry__meeting_at(meeting, leftmost(meeting, tree->root));
}

struct ferry__interval *ferry__meeting_next(const struct ferry__meeting *meeting,
                                            struct ferry__interval *node)
{
    if (may_meet(meeting, node->right))
        return ferry__meeting_at(meeting, leftmost(meeting, node->right));
    while (node->parent && node->parent->right == node)
        node = node->parent;
    return ferry__meeting_at(meeting, node->parent);
}

struct ferry__interval *ferry__meeting_from(const struct ferry__meeting *meeting,
                                            const struct ferry__intervals *tree, uint64_t begin,
                                            uint64_t end)
{
    struct ferry__interval *node = tree->root, *best = NULL;
    while (node) {
        const bool before = node->begin < begin || (node->begin == begin && node->end < end);
        if (!before)
            best = node;
        node = before ? node->right : node->left;
    }
    return ferry__meeting_at(meeting, best);
}

/* --- memory for nodes ------------------------------------------------------------------------- */

enum { SLAB_FIRST = 62, SLAB_MAX = 4096 };

struct ferry__interval_slab {
    struct ferry__interval_slab *next;
    size_t capacity;
    struct ferry__interval nodes[];
};

static struct ferry__interval_slab *add_slab(struct ferry__interval_pool *pool)
{
    size_t capacity = pool->current ? 2 * pool->current->capacity : SLAB_FIRST;
    if (capacity > SLAB_MAX)
        capacity = SLAB_MAX;
    struct ferry__interval_slab *slab = ferry__alloc(sizeof *slab + capacity * sizeof *slab->nodes);
    if (!slab)
        return NULL;
    slab->capacity = capacity;
    *(pool->current ? &pool->current->next : &pool->slabs) = slab;
    return slab;
}

static struct ferry__interval *node_take(struct ferry__interval_pool *pool)
{
    if (!pool->current || pool->used == pool->current->capacity) {
        struct ferry__interval_slab *next = pool->current ? pool->current->next : pool->slabs;
        if (!next && !(next = add_slab(pool)))
            return NULL;
        pool->current = next;
        pool->used = 0;
    }
    return &pool->current->nodes[pool->used++];
}

void ferry__interval_pool_clear(struct ferry__interval_pool *pool)
{
    pool->current = NULL;
    pool->used = 0;
}

void ferry__interval_pool_finish(struct ferry__interval_pool *pool)
{
    while (pool->slabs) {
        struct ferry__interval_slab *slab = pool->slabs;
        pool->slabs = slab->next;
        ferry__free(slab);
    }
    ferry__interval_pool_clear(pool);
}

/* --- sets of bytes ---------------------------------------------------------------------------- */

bool ferry__intervals_add(struct ferry__intervals *set, struct ferry__interval_pool *pool,
                          uint64_t begin, uint64_t end)
{
    /* One that ends where this begins is touched, too. */
    struct ferry__interval *first = ferry__interval_after(set, begin ? begin - 1 : 0);
    if (!first || first->begin > end) {
        struct ferry__interval *node = node_take(pool);
        if (!node)
            return false;
        *node = (struct ferry__interval){.begin = begin, .end = end};
        ferry__interval_insert(set, node);
        return true;
    }
    if (first->begin > begin)
        first->begin = begin;
    if (first->end >= end)
        return true;
    first->end = end;
    struct ferry__interval *next;
    while ((next = ferry__interval_next(first)) && next->begin <= end) {
        if (next->end > end)
            first->end = next->end;
        ferry__interval_remove(set, next);
    }
    ferry__interval_changed(first);
    return true;
}
