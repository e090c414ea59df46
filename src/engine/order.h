/* Order by bytes: which operations in flight a new one on a buffer must follow.
 *
 * Each buffer keeps the bytes that operations in flight write, by their latest writer, and those
 * that they read. What is kept lies in the ranges of the operations themselves, so nothing here
 * allocates or fails. Operations that are done may still be there, on their way out: those are
 * followed by nobody. All of it is under the device's lock. */
#ifndef FERRY_ENGINE_ORDER_H
#define FERRY_ENGINE_ORDER_H

#include "base/interval.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__op;
struct ferry__spans;
struct ferry_buffer;

/* All zero: nothing is in flight. */
struct ferry__order {
    struct ferry__intervals writes; /* disjoint pieces; stamped with their writer's ticket */
    struct ferry__intervals reads;  /* groups; stamped with their newest reader's ticket */
    /* The same of ranges that are many (spans), by what they lie in. These overlap, and may hold
     * bytes that another has written since. */
    struct ferry__intervals list_writes, list_reads;
    uint64_t late; /* what came up to this ticket may not know of all that has entered before it */
    /* Somebody's place among readers, and among lists, who gave up the lock; NULL. */
    struct ferry__range **walk;
    struct ferry__interval **list_walk;
};

/* Bytes whose latest writer is the range's operation. Its stamp is 0 once they were overwritten,
 * and it is in the tree no more. */
struct ferry__write_piece {
    struct ferry__interval interval;
    struct ferry__range *range;
    struct ferry__write_piece *next; /* of the range */
};

/* All that read just these bytes, the newest first. It lies in one of them. */
struct ferry__read_group {
    struct ferry__interval interval;
    struct ferry__range *first; /* NULL: no group lies here */
    /* Stands for all writes that a reader of these bytes must follow, up to its own ticket; NULL:
     * nothing does. */
    struct ferry__range *after;
};

enum ferry__range_kind {
    FERRY__RANGE_READ,
    FERRY__RANGE_WRITE,
    FERRY__RANGE_AFTER,
    FERRY__RANGE_FAR, /* none: the op's ranges lie elsewhere */
};

/* Bytes of a buffer that an operation uses in one way: its footprint, or a part of it. Where they
 * are many ranges they are one all the same, which takes one place. There may be a million of them:
 * a reader's bounds are those of its interval. */
struct ferry__range {
    struct ferry__op *op;
    struct ferry_buffer *buffer;
    struct ferry__spans *spans; /* the bytes between that count; NULL: all. The range's own */
    enum ferry__range_kind kind : 8;
    bool entered;
    bool leads; /* readers that are a list: it is the first of them */
    union {
        struct {
            uint64_t begin, end;
        };
        struct {
            uint64_t bounds[2]; /* begin and end */
            /* Until it enters own.next is a spare one, for ferry__order_splits; then the others
             * that were made of it, which go with it. All of ferry__alloc. */
            struct ferry__write_piece own;
        } write;
        struct {
            struct ferry__read_group own;
            struct ferry__range *next; /* of the list */
            union {
                struct ferry__read_group *group; /* it leads; NULL: a joint stands for them */
                struct ferry__range *previous;   /* it does not */
                struct ferry__range *joint;      /* it has not entered: one that is to serve later
                                               readers of the same bytes; NULL */
            };
        } read;
        struct {
            uint64_t bounds[2];
            struct ferry__read_group *serves; /* whose readers ask it */
        } after;
        struct {
            struct ferry__range *list;
            uint32_t count;
        } far;
    };
};

static_assert(offsetof(struct ferry__range, read.own.interval.begin) ==
                      offsetof(struct ferry__range, begin) &&
                  offsetof(struct ferry__range, read.own.interval.end) ==
                      offsetof(struct ferry__range, end),
              "a reader's bounds are those of its interval");

/* Calls follow for each operation that one must follow which reads (or writes) [begin, end) and
 * comes now; for some more than once. */
void ferry__order_ask(const struct ferry__order *order, bool write, uint64_t begin, uint64_t end,
                      void (*follow)(void *arg, struct ferry__op *from), void *arg);

/* The same for all bytes of a range that has not entered. */
void ferry__order_ask_range(const struct ferry__range *range,
                            void (*follow)(void *arg, struct ferry__op *from), void *arg);

/* The same in parts, of a range that has not entered. In between ranges may leave, and none may
 * enter. All zero but for the range: it begins. It goes on to the end: meanwhile the order knows
 * where it is. */
struct ferry__order_parts {
    const struct ferry__range *range;
    enum { FERRY__PART_BYTES, FERRY__PART_LIST_WRITES, FERRY__PART_LIST_READS, FERRY__PARTS } part;
    struct ferry__interval *list; /* of the part's lists the next one, where listed */
    bool listed;
    uint64_t at;         /* all from the range's begin to here was asked */
    uint64_t begin, end; /* the read group that comes next; 0, 0: none of these bytes was asked */
    uint64_t newer;      /* a read's: what stands for the writes up to there was followed */
    size_t hint;         /* of the range's spans: ferry__spans_next */
    bool begun;
};

/* Some of it: so many pieces and readers, or as much of lists. False: that was all. */
bool ferry__order_ask_some(struct ferry__order_parts *parts, size_t most,
                           void (*follow)(void *arg, struct ferry__op *from), void *arg);

/* Would it take that many? */
bool ferry__order_is_much(const struct ferry__range *range, size_t most);

/* Would it have to follow any? */
bool ferry__order_busy(const struct ferry__order *order, bool write, uint64_t begin, uint64_t end);

/* Does it, which has not entered, meet none that it would have to follow, not even a done one that
 * is still there? Then there is nothing to ask for, and nothing to split. */
bool ferry__order_alone(const struct ferry__range *range);

/* Has any come since a ticket that it, a write, would have to follow? */
bool ferry__order_newer(const struct ferry__order *order, uint64_t begin, uint64_t end,
                        uint64_t ticket);

/* Would a write of [begin, end) leave a piece on both its sides of what is one piece now? Then its
 * range needs a spare one, of ferry__alloc. */
bool ferry__order_splits(const struct ferry__order *order, uint64_t begin, uint64_t end);

/* A range takes its place; its op has its ticket, and it is newer than all others. */
void ferry__order_enter(struct ferry__range *range);
/* The same of one that is alone. */
void ferry__order_enter_alone(struct ferry__range *range);
/* The same in parts, likewise: those bytes that were not taken yet are their writers'. False: that
 * was all, but for the lists: what is a write's of them is taken by cover_some, in parts. */
bool ferry__order_enter_some(struct ferry__range *range, size_t most);
bool ferry__order_cover_some(struct ferry__order_parts *parts, size_t most);

/* Its op is done, and so is all that it followed. Nothing where it has not entered. */
void ferry__order_leave(struct ferry__range *range);
/* The same in parts: so many pieces that later writes made of it. False: that was all. */
bool ferry__order_leave_some(struct ferry__range *range, size_t most);

/* --- crowds: one operation that stands for many, so that many times many stay few ------------- */

/* The first group behind another (NULL: of all) with more than most readers that a write of this
 * range would have to follow; NULL: there is none. */
struct ferry__read_group *ferry__order_crowd(const struct ferry__range *range,
                                             struct ferry__read_group *behind, size_t most);

/* The group of just these bytes, without spans; NULL: there is none. */
struct ferry__read_group *ferry__order_group(const struct ferry__order *order, uint64_t begin,
                                             uint64_t end);

/* The same as order_crowd for who gives up the lock in between: the next one, first those without
 * spans. All zero: the first. Tries so many groups; NULL: there is none among them, and if not for
 * more, none at all. Whoever is through, or stops, sets the order's list_walk to NULL. */
struct ferry__order_crowds {
    uint64_t begin, end; /* of the latest without spans */
    bool more;
    bool listed;                  /* all of those were tried */
    struct ferry__interval *list; /* of the others the next */
};

struct ferry__read_group *ferry__order_crowd_some(const struct ferry__range *range,
                                                  struct ferry__order_crowds *crowds, size_t most,
                                                  size_t tried);

/* The joint, a range of an operation that follows every reader of the group, stands for them. The
 * group is its own from then on. */
void ferry__order_join_reads(struct ferry__read_group *group, struct ferry__range *joint);

/* The joint's operation, whose ticket is the smaller one, follows all writes that a reader of this
 * range, which has entered, follows: later readers of just these bytes follow it instead. */
void ferry__order_join_writes(struct ferry__range *reader, struct ferry__range *joint);

#endif
