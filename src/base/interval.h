/* Intervals of bytes in address order: a tree whose nodes lie in what uses it, and a set of bytes
 * built on it. Not locked. Every operation takes O(log n) expected steps, and no recursion. */
#ifndef FERRY_BASE_INTERVAL_H
#define FERRY_BASE_INTERVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__interval_slab;

struct ferry__interval {
    uint64_t begin, end; /* end is not in it; begin < end */
    uint64_t stamp;      /* the user's: how new it is; meetings see those over 0 only */
    /* The tree's: the latest end and the newest stamp below, itself included. */
    uint64_t reach, newest;
    struct ferry__interval *parent, *left, *right;
};

/* All zero: empty. A node must stay at its address while it is in a tree. */
struct ferry__intervals {
    struct ferry__interval *root;
};

/* Of disjoint intervals the first that ends after at; NULL: none. It holds at or lies wholly after
 * it. */
struct ferry__interval *ferry__interval_after(const struct ferry__intervals *tree, uint64_t at);
struct ferry__interval *ferry__interval_next(const struct ferry__interval *node);
struct ferry__interval *ferry__interval_previous(const struct ferry__interval *node);
/* The node with just these ends; NULL: none. */
struct ferry__interval *ferry__interval_equal(const struct ferry__intervals *tree, uint64_t begin,
                                              uint64_t end);
/* Begin, end and stamp are set. No other node has both ends. */
void ferry__interval_insert(struct ferry__intervals *tree, struct ferry__interval *node);
void ferry__interval_remove(struct ferry__intervals *tree, struct ferry__interval *node);
/* Its stamp was raised, or an end moved that leaves it where it is in the order. */
void ferry__interval_changed(struct ferry__interval *node);

/* Those that meet [begin, end) and are newer than a stamp, in order of their begins; the intervals
 * may overlap. What does not meet or is older is passed over by whole subtrees. */
struct ferry__meeting {
    uint64_t begin, end, newer;
};

struct ferry__interval *ferry__meeting_first(const struct ferry__meeting *meeting,
                                             const struct ferry__intervals *tree);
struct ferry__interval *ferry__meeting_next(const struct ferry__meeting *meeting,
                                            struct ferry__interval *node);
/* Node, or the first after it that meets; NULL: there is none. */
struct ferry__interval *ferry__meeting_at(const struct ferry__meeting *meeting,
                                          struct ferry__interval *node);
/* The first that comes no earlier than one with these ends would. */
struct ferry__interval *ferry__meeting_from(const struct ferry__meeting *meeting,
                                            const struct ferry__intervals *tree, uint64_t begin,
                                            uint64_t end);

static inline bool ferry__intervals_meet(const struct ferry__intervals *tree, uint64_t begin,
                                         uint64_t end)
{
    const struct ferry__interval *found = ferry__interval_after(tree, begin);
    return found && found->begin < end;
}

/* Memory for nodes that are given back all at once. All zero: empty. */
struct ferry__interval_pool {
    struct ferry__interval_slab *slabs, *current;
    size_t used; /* in current */
};

void ferry__interval_pool_clear(struct ferry__interval_pool *pool); /* keeps the memory */
void ferry__interval_pool_finish(struct ferry__interval_pool *pool);

/* Adds [begin, end) to a set of bytes whose nodes are the pool's: what it meets or touches becomes
 * one interval with it. False: no host memory; the set is unchanged. */
bool ferry__intervals_add(struct ferry__intervals *set, struct ferry__interval_pool *pool,
                          uint64_t begin, uint64_t end);

#endif
