#include "engine/order.h"

#include "base/alloc.h"
#include "base/interval.h"
#include "base/spans.h"
#include "engine/op.h"
#include "engine/order_nodes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- entering --------------------------------------------------------------------------------- */

static void link_piece(struct ferry__write_piece *piece, struct ferry__range *range, uint64_t begin,
                       uint64_t end)
{
    *piece = (struct ferry__write_piece){
        .interval = {.begin = begin, .end = end, .stamp = range->op->ticket}, .range = range};
    ferry__interval_insert(&ferry__order_of(range)->writes, &piece->interval);
}

static void unlink_piece(struct ferry__intervals *writes, struct ferry__interval *node)
{
    ferry__interval_remove(writes, node);
    node->stamp = 0;
}

/* Whoever is at node in the lists, which leaves them, is at the next one. Was anybody? */
static bool walk_past(const struct ferry__order *order, const struct ferry__interval *node)
{
    const bool there = order->list_walk && *order->list_walk == node;
    if (there)
        *order->list_walk = ferry__interval_next(node);
    return there;
}

/* It was node: which has come back as the last of all that have its ends. */
static void walk_to(const struct ferry__order *order, struct ferry__interval *node)
{
    const struct ferry__interval *next = *order->list_walk;
    if (!next || next->begin != node->begin || next->end != node->end)
        *order->list_walk = node;
}

/* What lies behind a range that was cut out of another one's piece. */
static void add_piece(struct ferry__write_piece *piece, struct ferry__range *range, uint64_t begin,
                      uint64_t end)
{
    struct ferry__write_piece *others = range->write.own.next;
    link_piece(piece, range, begin, end);
    piece->next = others;
    range->write.own.next = piece;
}

/* Takes [begin, end) from the pieces that have it. At most one has bytes on both sides: its second
 * half is the spare piece. What is left of that. */
static struct ferry__write_piece *carve(const struct ferry__range *range, uint64_t begin,
                                        uint64_t end, struct ferry__write_piece *spare)
{
    struct ferry__intervals *writes = &ferry__order_of(range)->writes;
    struct ferry__interval *node = ferry__interval_after(writes, begin), *next;
    for (; node && node->begin < end; node = next) {
        next = ferry__interval_next(node);
        const uint64_t old_end = node->end;
        if (node->begin < begin) {
            node->end = begin;
            ferry__interval_changed(node);
            if (old_end > end) {
                add_piece(spare, ferry__piece_of(node)->range, end, old_end);
                spare = NULL;
            }
        } else if (old_end > end) {
            node->begin = end;
        } else {
            unlink_piece(writes, node);
        }
    }
    return spare;
}

static void group_push(struct ferry__read_group *group, struct ferry__range *range)
{
    struct ferry__range *next = group->first;
    range->leads = true;
    range->read.group = group;
    range->read.next = next;
    if (next) {
        next->leads = false;
        next->read.previous = range;
    }
    group->first = range;
}

static struct ferry__intervals *reads_of(const struct ferry__range *range)
{
    return range->spans ? &ferry__order_of(range)->list_reads : &ferry__order_of(range)->reads;
}

static void enter_read(struct ferry__range *range, uint64_t stamp)
{
    struct ferry__intervals *reads = reads_of(range);
    struct ferry__interval *equal = ferry__order_equal(range);
    if (equal) {
        if (equal->stamp < stamp)
            equal->stamp = stamp;
        ferry__interval_changed(equal);
        group_push(ferry__group_of(equal), range);
        return;
    }
    range->read.own = (struct ferry__read_group){
        .interval = {.begin = range->begin, .end = range->end, .stamp = stamp}};
    group_push(&range->read.own, range);
    ferry__interval_insert(reads, &range->read.own.interval);
}

/* What a write has covered of a list: who comes later follows that write instead. */
static void carve_list(const struct ferry__range *range, struct ferry__interval *node)
{
    struct ferry__spans *spans = ferry__written(node);
    const bool left = range->spans ? ferry__spans_remove(spans, range->spans)
                                   : ferry__spans_remove_range(spans, range->begin, range->end);
    if (!left)
        unlink_piece(&ferry__order_of(range)->list_writes, node);
}

bool ferry__order_cover_some(struct ferry__order_parts *parts, size_t most)
{
    const struct ferry__range *range = parts->range;
    struct ferry__order *order = ferry__order_of(range);
    const struct ferry__meeting meeting = {range->begin, range->end, 0};
    if (range->kind != FERRY__RANGE_WRITE)
        return false;
    struct ferry__interval *node = parts->listed
                                       ? ferry__meeting_at(&meeting, parts->list)
                                       : ferry__meeting_first(&meeting, &order->list_writes);
    for (size_t taken = 0; taken < most && node;) {
        struct ferry__interval *next = ferry__meeting_next(&meeting, node);
        taken += 1 + ferry__spans_steps(ferry__written(node)) / FERRY__SPANS_A_STEP;
        if (node != &range->write.own.interval)
            carve_list(range, node);
        node = next;
    }
    parts->list = node;
    parts->listed = node;
    order->list_walk = node ? &parts->list : NULL;
    return node;
}

static void enter_list(struct ferry__range *range)
{
    struct ferry__write_piece *own = &range->write.own;
    *own = (struct ferry__write_piece){
        .interval = {.begin = range->begin, .end = range->end, .stamp = range->op->ticket},
        .range = range};
    ferry__interval_insert(&ferry__order_of(range)->list_writes, &own->interval);
}

/* Where the first pieces that [at, the range's end) meets end, and the next begins. */
static uint64_t end_of_part(const struct ferry__range *range, uint64_t at, size_t most)
{
    const struct ferry__interval *node = ferry__interval_after(&ferry__order_of(range)->writes, at);
    for (size_t i = 0; i < most && node && node->begin < range->end; i++)
        node = ferry__interval_next(node);
    return node && node->begin < range->end ? node->begin : range->end;
}

static void enter_write(struct ferry__range *range, uint64_t end)
{
    struct ferry__write_piece *own = &range->write.own;
    if (own->interval.stamp) { /* it is there, and grows */
        (void)!carve(range, own->interval.end, end, NULL);
        own->interval.end = end;
        ferry__interval_changed(&own->interval);
        return;
    }
    ferry__free(carve(range, range->begin, end, own->next));
    link_piece(own, range, range->begin, end);
}

void ferry__order_enter(struct ferry__range *range)
{
    struct ferry__order_parts parts = {.range = range};
    (void)ferry__order_enter_some(range, SIZE_MAX);
    (void)ferry__order_cover_some(&parts, SIZE_MAX);
}

void ferry__order_enter_alone(struct ferry__range *range)
{
    range->entered = true;
    if (range->kind == FERRY__RANGE_READ)
        enter_read(range, range->op->ticket);
    else if (range->spans)
        enter_list(range);
    else
        link_piece(&range->write.own, range, range->begin, range->end);
}

bool ferry__order_enter_some(struct ferry__range *range, size_t most)
{
    const struct ferry__interval *own = &range->write.own.interval;
    range->entered = true;
    if (range->kind == FERRY__RANGE_READ || range->spans) {
        if (range->spans && range->kind == FERRY__RANGE_WRITE)
            enter_list(range);
        else
            enter_read(range, range->op->ticket);
        return false;
    }
    enter_write(range, end_of_part(range, own->stamp ? own->end : range->begin, most));
    return own->end < range->end;
}

/* --- leaving ---------------------------------------------------------------------------------- */

/* The group's memory is that of a range that leaves: the first gives it a place. */
static void group_move(struct ferry__read_group *group, struct ferry__intervals *reads)
{
    const struct ferry__order *order = ferry__order_of(group->first);
    struct ferry__read_group *home = &group->first->read.own;
    const bool there = walk_past(order, &group->interval);
    ferry__interval_remove(reads, &group->interval);
    *home = *group;
    group->first = NULL;
    home->first->read.group = home;
    if (home->after)
        home->after->after.serves = home;
    ferry__interval_insert(reads, &home->interval);
    if (there)
        walk_to(order, &home->interval);
}

static void leave_read(struct ferry__range *range)
{
    struct ferry__intervals *reads = reads_of(range);
    struct ferry__read_group *own = &range->read.own;
    struct ferry__range *next = range->read.next;
    struct ferry__range **walk = range->buffer->order.walk;
    const bool is_home = own->first;
    if (walk && *walk == range)
        *walk = next;
    if (range->leads) {
        struct ferry__read_group *group = range->read.group;
        if (next) {
            next->leads = true;
            next->read.group = group;
        }
        if (group)
            group->first = next;
    } else {
        range->read.previous->read.next = next;
        if (next)
            next->read.previous = range->read.previous;
    }
    if (!is_home)
        return;
    if (own->first) {
        group_move(own, reads);
        return;
    }
    (void)walk_past(ferry__order_of(range), &own->interval);
    ferry__interval_remove(reads, &own->interval);
    if (own->after)
        own->after->after.serves = NULL;
}

/* So many of its pieces, and itself last. False: that was all. */
static bool leave_write(struct ferry__range *range, size_t most)
{
    struct ferry__intervals *writes =
        range->spans ? &ferry__order_of(range)->list_writes : &ferry__order_of(range)->writes;
    struct ferry__write_piece *own = &range->write.own, *piece;
    for (size_t i = 0; i < most && (piece = own->next); i++) {
        own->next = piece->next;
        if (piece->interval.stamp)
            ferry__interval_remove(writes, &piece->interval);
        ferry__free(piece);
    }
    if (own->next)
        return true;
    if (own->interval.stamp) {
        (void)walk_past(ferry__order_of(range), &own->interval);
        unlink_piece(writes, &own->interval);
    }
    return false;
}

bool ferry__order_leave_some(struct ferry__range *range, size_t most)
{
    if (!range->entered)
        return false;
    switch (range->kind) {
    case FERRY__RANGE_READ: leave_read(range); break;
    case FERRY__RANGE_WRITE:
        if (leave_write(range, most))
            return true;
        break;
    case FERRY__RANGE_AFTER:
        if (range->after.serves)
            range->after.serves->after = NULL;
        range->after.serves = NULL;
        break;
    case FERRY__RANGE_FAR: break;
    }
    range->entered = false;
    return false;
}

void ferry__order_leave(struct ferry__range *range)
{
    (void)ferry__order_leave_some(range, SIZE_MAX);
}

/* --- crowds ----------------------------------------------------------------------------------- */

static bool is_crowd(const struct ferry__read_group *group, size_t most)
{
    const struct ferry__range *reader = group->first;
    for (size_t i = 0; i < most && reader; i++)
        reader = reader->read.next;
    return reader;
}

/* Is it one, and would a write of the range have to follow it? */
static bool is_crowd_for(const struct ferry__range *range, struct ferry__interval *node,
                         size_t most)
{
    const struct ferry__bytes bytes = {range->begin, range->end, range->spans};
    const struct ferry__spans *spans = ferry__read_by(node);
    return is_crowd(ferry__group_of(node), most) &&
           (spans           ? ferry__meet_spans(&bytes, spans)
            : !range->spans ? true
                            : ferry__spans_meet_range(range->spans, node->begin, node->end));
}

/* Who read before the latest write of all these bytes is behind that. */
static struct ferry__meeting meeting_readers(const struct ferry__range *range)
{
    const struct ferry__interval *node =
        ferry__interval_after(&ferry__order_of(range)->writes, range->begin);
    const bool covers = node && node->begin <= range->begin && node->end >= range->end;
    return (struct ferry__meeting){range->begin, range->end, covers ? node->stamp : 0};
}

static struct ferry__read_group *crowd_among(const struct ferry__range *range,
                                             struct ferry__interval *node, size_t most)
{
    const struct ferry__meeting meeting = meeting_readers(range);
    while (node && !is_crowd_for(range, node, most))
        node = ferry__meeting_next(&meeting, node);
    return node ? ferry__group_of(node) : NULL;
}

struct ferry__read_group *ferry__order_crowd(const struct ferry__range *range,
                                             struct ferry__read_group *behind, size_t most)
{
    const struct ferry__meeting meeting = meeting_readers(range);
    const struct ferry__order *order = ferry__order_of(range);
    struct ferry__read_group *found = NULL;
    if (!behind)
        found = crowd_among(range, ferry__meeting_first(&meeting, &order->reads), most);
    else
        found = crowd_among(range, ferry__meeting_next(&meeting, &behind->interval), most);
    if (!found && (!behind || !behind->first->spans))
        found = crowd_among(range, ferry__meeting_first(&meeting, &order->list_reads), most);
    return found;
}

struct ferry__read_group *ferry__order_group(const struct ferry__order *order, uint64_t begin,
                                             uint64_t end)
{
    struct ferry__interval *node = ferry__interval_equal(&order->reads, begin, end);
    return node ? ferry__group_of(node) : NULL;
}

struct ferry__read_group *ferry__order_crowd_some(const struct ferry__range *range,
                                                  struct ferry__order_crowds *crowds, size_t most,
                                                  size_t tried)
{
    const struct ferry__meeting meeting = meeting_readers(range);
    struct ferry__order *order = ferry__order_of(range);
    struct ferry__interval *node =
        crowds->listed
            ? ferry__meeting_at(&meeting, crowds->list)
            : ferry__meeting_from(&meeting, &order->reads, crowds->begin, crowds->end + 1);
    struct ferry__read_group *found = NULL;
    for (size_t i = 0; i < tried && !found && (node || !crowds->listed); i++) {
        if (!node) {
            crowds->listed = true;
            node = ferry__meeting_first(&meeting, &order->list_reads);
            continue;
        }
        if (!crowds->listed) {
            crowds->begin = node->begin;
            crowds->end = node->end;
        }
        found = is_crowd_for(range, node, most) ? ferry__group_of(node) : NULL;
        node = ferry__meeting_next(&meeting, node);
    }
    crowds->list = node;
    crowds->more = node || !crowds->listed;
    order->list_walk = crowds->listed ? &crowds->list : NULL;
    return found;
}

void ferry__order_join_reads(struct ferry__read_group *group, struct ferry__range *joint)
{
    struct ferry__read_group *home = &joint->read.own;
    joint->spans = group->first->spans;
    group->first->spans = NULL;
    struct ferry__intervals *reads = reads_of(joint);
    const struct ferry__order *order = ferry__order_of(joint);
    const bool there = walk_past(order, &group->interval);
    ferry__interval_remove(reads, &group->interval);
    group->first->read.group = NULL; /* they stay a list, of no group */
    *home = *group;
    home->first = group->first = NULL;
    if (home->after)
        home->after->after.serves = home;
    group_push(home, joint);
    joint->entered = true;
    ferry__interval_insert(reads, &home->interval);
    if (there)
        walk_to(order, &home->interval);
}

void ferry__order_join_writes(struct ferry__range *reader, struct ferry__range *joint)
{
    struct ferry__read_group *group = reader->read.group;
    if (group->after)
        group->after->after.serves = NULL;
    group->after = joint;
    joint->after.serves = group;
    joint->entered = true;
}
