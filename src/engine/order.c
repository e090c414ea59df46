#include "engine/order.h"

#include "base/interval.h"
#include "engine/op.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- asking
 * ------------------------------------------------------------------------------------ */

static struct ferry__write_piece *piece_of(struct ferry__interval *interval)
{
    return (struct ferry__write_piece *)interval; /* its first member */
}

static struct ferry__read_group *group_of(struct ferry__interval *interval)
{
    return (struct ferry__read_group *)interval;
}

static void ask_readers(const struct ferry__order *order, struct ferry__meeting meeting,
                        void (*follow)(void *arg, struct ferry__op *from), void *arg)
{
    for (struct ferry__interval *node = ferry__meeting_first(&meeting, &order->reads); node;
         node = ferry__meeting_next(&meeting, node))
        for (const struct ferry__range *reader = group_of(node)->first;
             reader && reader->op->ticket > meeting.newer; reader = reader->read.next)
            follow(arg, reader->op);
}

/* What was read before the latest write of a byte is behind that write. */
static void ask_for_write(const struct ferry__order *order, uint64_t begin, uint64_t end,
                          void (*follow)(void *arg, struct ferry__op *from), void *arg)
{
    struct ferry__interval *node = ferry__interval_after(&order->writes, begin);
    uint64_t at = begin;
    for (; node && node->begin < end; node = ferry__interval_next(node)) {
        if (at < node->begin) {
            ask_readers(order, (struct ferry__meeting){at, node->begin, 0}, follow, arg);
            at = node->begin;
        }
        const uint64_t piece_end = node->end < end ? node->end : end;
        follow(arg, piece_of(node)->range->op);
        ask_readers(order, (struct ferry__meeting){at, piece_end, node->stamp}, follow, arg);
        at = piece_end;
    }
    if (at < end)
        ask_readers(order, (struct ferry__meeting){at, end, 0}, follow, arg);
}

static void ask_for_read(const struct ferry__order *order, uint64_t begin, uint64_t end,
                         void (*follow)(void *arg, struct ferry__op *from), void *arg)
{
    struct ferry__meeting meeting = {begin, end, 0};
    struct ferry__interval *equal = ferry__interval_equal(&order->reads, begin, end);
    if (equal && group_of(equal)->after) {
        follow(arg, group_of(equal)->after->op);
        meeting.newer = group_of(equal)->after_ticket;
    }
    for (struct ferry__interval *node = ferry__meeting_first(&meeting, &order->writes); node;
         node = ferry__meeting_next(&meeting, node))
        follow(arg, piece_of(node)->range->op);
}

void ferry__order_ask(const struct ferry__order *order, bool write, uint64_t begin, uint64_t end,
                      void (*follow)(void *arg, struct ferry__op *from), void *arg)
{
    if (write)
        ask_for_write(order, begin, end, follow, arg);
    else
        ask_for_read(order, begin, end, follow, arg);
}

bool ferry__order_busy(const struct ferry__order *order, bool write, uint64_t begin, uint64_t end)
{
    const struct ferry__meeting meeting = {begin, end, 0};
    return ferry__intervals_meet(&order->writes, begin, end) ||
           (write && ferry__meeting_first(&meeting, &order->reads));
}

bool ferry__order_splits(const struct ferry__order *order, uint64_t begin, uint64_t end)
{
    const struct ferry__interval *node = ferry__interval_after(&order->writes, begin);
    return node && node->begin < begin && node->end > end;
}

/* --- entering
 * ---------------------------------------------------------------------------------- */

static void link_piece(struct ferry__write_piece *piece, struct ferry__range *range, uint64_t begin,
                       uint64_t end)
{
    *piece = (struct ferry__write_piece){
        .interval = {.begin = begin, .end = end, .stamp = range->op->ticket},
        .range = range,
        .next = range->write.pieces,
        .linked = true};
    range->write.pieces = piece;
    ferry__interval_insert(&range->order->writes, &piece->interval);
}

/* Takes [begin, end) from the pieces that have it. At most one has bytes on both sides: its second
 * half is the spare piece. */
static void carve(struct ferry__range *range)
{
    const uint64_t begin = range->begin, end = range->end;
    struct ferry__intervals *writes = &range->order->writes;
    struct ferry__interval *node = ferry__interval_after(writes, begin), *next;
    for (; node && node->begin < end; node = next) {
        next = ferry__interval_next(node);
        const uint64_t old_end = node->end;
        if (node->begin < begin) {
            node->end = begin;
            ferry__interval_changed(node);
            if (old_end > end)
                link_piece(range->write.spare, piece_of(node)->range, end, old_end);
        } else if (old_end > end) {
            node->begin = end;
        } else {
            ferry__interval_remove(writes, node);
            piece_of(node)->linked = false;
        }
    }
}

static void group_push(struct ferry__read_group *group, struct ferry__range *range)
{
    range->read.group = group;
    range->read.previous = NULL;
    range->read.next = group->first;
    if (group->first)
        group->first->read.previous = range;
    group->first = range;
    group->count++;
}

static void enter_read(struct ferry__range *range, uint64_t stamp)
{
    struct ferry__intervals *reads = &range->order->reads;
    struct ferry__interval *equal = ferry__interval_equal(reads, range->begin, range->end);
    if (equal) {
        if (equal->stamp < stamp)
            equal->stamp = stamp;
        ferry__interval_changed(equal);
        group_push(group_of(equal), range);
        return;
    }
    range->read.own = (struct ferry__read_group){
        .interval = {.begin = range->begin, .end = range->end, .stamp = stamp}};
    group_push(&range->read.own, range);
    ferry__interval_insert(reads, &range->read.own.interval);
}

void ferry__order_enter(struct ferry__range *range)
{
    range->entered = true;
    if (range->kind == FERRY__RANGE_READ) {
        enter_read(range, range->op->ticket);
        return;
    }
    range->write.pieces = NULL;
    carve(range);
    link_piece(&range->write.own, range, range->begin, range->end);
}

/* --- leaving
 * ----------------------------------------------------------------------------------- */

/* The group's memory is that of a range that leaves: another of its ranges gives it a place. */
static void group_move(struct ferry__read_group *group, struct ferry__intervals *reads)
{
    struct ferry__read_group *home = &group->first->read.own;
    ferry__interval_remove(reads, &group->interval);
    *home = *group;
    for (struct ferry__range *range = home->first; range; range = range->read.next)
        range->read.group = home;
    if (home->after)
        home->after->serves = home;
    ferry__interval_insert(reads, &home->interval);
}

static void leave_read(struct ferry__range *range)
{
    struct ferry__read_group *group = range->read.group;
    struct ferry__intervals *reads = &range->order->reads;
    if (!group)
        return; /* a joint stands for it */
    *(range->read.previous ? &range->read.previous->read.next : &group->first) = range->read.next;
    if (range->read.next)
        range->read.next->read.previous = range->read.previous;
    range->read.group = NULL;
    if (--group->count == 0) {
        ferry__interval_remove(reads, &group->interval);
        if (group->after)
            group->after->serves = NULL;
    } else if (group == &range->read.own) {
        group_move(group, reads);
    }
}

static void leave_write(struct ferry__range *range)
{
    for (struct ferry__write_piece *piece = range->write.pieces; piece; piece = piece->next)
        if (piece->linked)
            ferry__interval_remove(&range->order->writes, &piece->interval);
    range->write.pieces = NULL;
}

void ferry__order_leave(struct ferry__range *range)
{
    if (!range->entered)
        return;
    range->entered = false;
    switch (range->kind) {
    case FERRY__RANGE_READ: leave_read(range); break;
    case FERRY__RANGE_WRITE: leave_write(range); break;
    case FERRY__RANGE_AFTER:
        if (range->serves)
            range->serves->after = NULL;
        range->serves = NULL;
        break;
    }
}

/* --- crowds
 * ------------------------------------------------------------------------------------ */

struct ferry__read_group *ferry__order_crowd(const struct ferry__order *order,
                                             struct ferry__read_group *behind, uint64_t begin,
                                             uint64_t end, size_t most)
{
    const struct ferry__meeting meeting = {begin, end, 0};
    struct ferry__interval *node = behind ? ferry__meeting_next(&meeting, &behind->interval)
                                          : ferry__meeting_first(&meeting, &order->reads);
    while (node && group_of(node)->count <= most)
        node = ferry__meeting_next(&meeting, node);
    return node ? group_of(node) : NULL;
}

void ferry__order_join_reads(struct ferry__read_group *group, struct ferry__range *joint)
{
    struct ferry__read_group *home = &joint->read.own;
    struct ferry__intervals *reads = &joint->order->reads;
    struct ferry__range *next;
    ferry__interval_remove(reads, &group->interval);
    for (struct ferry__range *range = group->first; range; range = next) {
        next = range->read.next;
        range->read.group = NULL;
        range->read.next = range->read.previous = NULL;
    }
    *home = *group;
    home->first = NULL;
    home->count = 0;
    if (home->after)
        home->after->serves = home;
    group_push(home, joint);
    joint->entered = true;
    ferry__interval_insert(reads, &home->interval);
}

void ferry__order_join_writes(struct ferry__range *reader, struct ferry__range *joint)
{
    struct ferry__read_group *group = reader->read.group;
    if (group->after)
        group->after->serves = NULL;
    group->after = joint;
    group->after_ticket = joint->op->ticket; /* the reader may write these bytes, too */
    joint->serves = group;
    joint->entered = true;
}
