#include "engine/order.h"

#include "base/alloc.h"
#include "base/interval.h"
#include "base/spans.h"
#include "engine/buffer.h"
#include "engine/op.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static struct ferry__order *order_of(const struct ferry__range *range)
{
    return &range->buffer->order;
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct ferry__write_piece *piece_of(struct ferry__interval *interval)
{
    return (struct ferry__write_piece *)interval; /* its first member */
}

static struct ferry__read_group *group_of(struct ferry__interval *interval)
{
    return (struct ferry__read_group *)interval;
}

/* Bytes that are asked for: spans, or where there are none all of them. */
struct bytes {
    uint64_t begin, end;
    const struct ferry__spans *spans;
};

struct answer {
    void (*follow)(void *arg, struct ferry__op *from);
    void *arg;
};

/* One that is done is only about to leave, which it does in pieces. */
static bool is_over(const struct ferry__op *op)
{
    return atomic_load_explicit(&op->done, memory_order_relaxed);
}

static void say(const struct answer *answer, struct ferry__op *from)
{
    if (!is_over(from))
        answer->follow(answer->arg, from);
}

static bool meet_spans(const struct bytes *bytes, const struct ferry__spans *spans)
{
    return bytes->spans ? ferry__spans_meet(bytes->spans, spans)
                        : ferry__spans_meet_range(spans, bytes->begin, bytes->end);
}

/* The spans of an entry of list_writes, and of list_reads: all of a group have the same bytes. */
static struct ferry__spans *written(struct ferry__interval *node)
{
    return piece_of(node)->range->spans;
}

static struct ferry__spans *read_by(struct ferry__interval *node)
{
    return group_of(node)->first->spans;
}

#define FOR_MEETING(node, meeting, tree)                                               \
    for (struct ferry__interval *node = ferry__meeting_first((meeting), (tree)); node; \
         node = ferry__meeting_next((meeting), node))

static void say_readers(const struct ferry__read_group *group, uint64_t newer,
                        const struct answer *answer)
{
    for (const struct ferry__range *reader = group->first; reader && reader->op->ticket > newer;
         reader = reader->read.next)
        say(answer, reader->op);
}

static void ask_readers(const struct ferry__order *order, struct ferry__meeting meeting,
                        const struct answer *answer)
{
    FOR_MEETING(node, &meeting, &order->reads)
    say_readers(group_of(node), meeting.newer, answer);
}

/* Entries that are newer than a ticket. */
static void ask_lists(const struct ferry__order *order, bool write, const struct bytes *bytes,
                      uint64_t newer, const struct answer *answer)
{
    const struct ferry__meeting meeting = {bytes->begin, bytes->end, newer};
    FOR_MEETING(node, &meeting, &order->list_writes)
    if (meet_spans(bytes, written(node)))
        say(answer, piece_of(node)->range->op);
    if (!write)
        return;
    FOR_MEETING(node, &meeting, &order->list_reads)
    if (meet_spans(bytes, read_by(node)))
        say_readers(group_of(node), newer, answer);
}

/* What was read before the latest write of a byte is behind that write. */
static void ask_for_write(const struct ferry__order *order, const struct bytes *bytes,
                          const struct answer *answer)
{
    const uint64_t begin = bytes->begin, end = bytes->end;
    struct ferry__interval *node = ferry__interval_after(&order->writes, begin);
    uint64_t at = begin;
    for (; node && node->begin < end; node = ferry__interval_next(node)) {
        if (at < node->begin) {
            ask_readers(order, (struct ferry__meeting){at, node->begin, 0}, answer);
            at = node->begin;
        }
        const uint64_t piece_end = node->end < end ? node->end : end;
        say(answer, piece_of(node)->range->op);
        ask_readers(order, (struct ferry__meeting){at, piece_end, node->stamp}, answer);
        at = piece_end;
    }
    if (at < end)
        ask_readers(order, (struct ferry__meeting){at, end, 0}, answer);
    ask_lists(order, true, bytes, 0, answer);
}

/* What stands for the older writes that those of a group follow; the ticket up to which it does. */
static uint64_t ask_joint(const struct ferry__interval *equal, const struct answer *answer)
{
    const struct ferry__read_group *group = (const struct ferry__read_group *)equal;
    if (!group || !group->after)
        return 0;
    say(answer, group->after->op);
    return group->after->op->ticket;
}

static void ask_for_read(const struct ferry__order *order, const struct bytes *bytes,
                         const struct answer *answer)
{
    struct ferry__meeting meeting = {bytes->begin, bytes->end, 0};
    meeting.newer =
        ask_joint(ferry__interval_equal(&order->reads, bytes->begin, bytes->end), answer);
    FOR_MEETING(node, &meeting, &order->writes)
    say(answer, piece_of(node)->range->op);
    ask_lists(order, false, bytes, meeting.newer, answer);
}

/* Of the pieces those that spans meet: as many steps as the fewer of the two are. */
static void ask_pieces(const struct ferry__order *order, const struct bytes *bytes, uint64_t newer,
                       const struct answer *answer)
{
    struct ferry__span span;
    size_t hint = 0;
    for (uint64_t at = bytes->begin; ferry__spans_next(bytes->spans, at, &hint, &span);) {
        struct ferry__interval *node = ferry__interval_after(&order->writes, span.begin);
        if (!node || node->begin >= bytes->end)
            return;
        at = node->begin;
        if (node->begin >= span.end)
            continue;
        if (node->stamp > newer)
            say(answer, piece_of(node)->range->op);
        at = node->end;
    }
}

/* Those that read just these bytes, too. Few others begin and end where they do. */
static struct ferry__interval *equal_list(const struct ferry__order *order,
                                          const struct bytes *bytes)
{
    enum { TRIED_MAX = 8 };
    struct ferry__interval *node =
        ferry__interval_equal(&order->list_reads, bytes->begin, bytes->end);
    for (unsigned i = 0; i < TRIED_MAX && node; i++) {
        if (node->begin != bytes->begin || node->end != bytes->end)
            return NULL;
        if (ferry__spans_equal(read_by(node), bytes->spans))
            return node;
        node = ferry__interval_next(node);
    }
    return NULL;
}

static void ask_spans(const struct ferry__order *order, bool write, const struct bytes *bytes,
                      const struct answer *answer)
{
    const struct ferry__meeting meeting = {bytes->begin, bytes->end, 0};
    const uint64_t newer = write ? 0 : ask_joint(equal_list(order, bytes), answer);
    ask_pieces(order, bytes, newer, answer);
    if (write)
        FOR_MEETING(node, &meeting, &order->reads)
    if (ferry__spans_meet_range(bytes->spans, node->begin, node->end))
        say_readers(group_of(node), 0, answer);
    ask_lists(order, write, bytes, newer, answer);
}

void ferry__order_ask(const struct ferry__order *order, bool write, uint64_t begin, uint64_t end,
                      void (*follow)(void *arg, struct ferry__op *from), void *arg)
{
    const struct bytes bytes = {begin, end, NULL};
    const struct answer answer = {follow, arg};
    if (write)
        ask_for_write(order, &bytes, &answer);
    else
        ask_for_read(order, &bytes, &answer);
}

void ferry__order_ask_range(const struct ferry__range *range,
                            void (*follow)(void *arg, struct ferry__op *from), void *arg)
{
    const bool write = range->kind == FERRY__RANGE_WRITE;
    const struct bytes bytes = {range->begin, range->end, range->spans};
    const struct answer answer = {follow, arg};
    if (range->spans)
        ask_spans(order_of(range), write, &bytes, &answer);
    else
        ferry__order_ask(order_of(range), write, range->begin, range->end, follow, arg);
}

static bool any_reads(const struct ferry__read_group *group)
{
    const struct ferry__range *reader = group->first;
    while (reader && is_over(reader->op))
        reader = reader->read.next;
    return reader;
}

static bool lists_busy(const struct ferry__order *order, bool write, const struct bytes *bytes,
                       uint64_t newer)
{
    const struct ferry__meeting meeting = {bytes->begin, bytes->end, newer};
    FOR_MEETING(node, &meeting, &order->list_writes)
    if (meet_spans(bytes, written(node)) && !is_over(piece_of(node)->range->op))
        return true;
    if (!write)
        return false;
    FOR_MEETING(node, &meeting, &order->list_reads)
    if (meet_spans(bytes, read_by(node)) && any_reads(group_of(node)))
        return true;
    return false;
}

/* Is there any that is newer than a ticket, and would have to be followed? */
static bool busy(const struct ferry__order *order, bool write, const struct bytes *bytes,
                 uint64_t newer)
{
    const struct ferry__meeting meeting = {bytes->begin, bytes->end, newer};
    FOR_MEETING(node, &meeting, &order->writes)
    if (!is_over(piece_of(node)->range->op))
        return true;
    if (write)
        FOR_MEETING(node, &meeting, &order->reads)
    if (any_reads(group_of(node)))
        return true;
    return lists_busy(order, write, bytes, newer);
}

bool ferry__order_busy(const struct ferry__order *order, bool write, uint64_t begin, uint64_t end)
{
    const struct bytes bytes = {begin, end, NULL};
    return busy(order, write, &bytes, 0);
}

bool ferry__order_newer(const struct ferry__order *order, uint64_t begin, uint64_t end,
                        uint64_t ticket)
{
    const struct bytes bytes = {begin, end, NULL};
    return busy(order, true, &bytes, ticket);
}

bool ferry__order_splits(const struct ferry__order *order, uint64_t begin, uint64_t end)
{
    const struct ferry__interval *node = ferry__interval_after(&order->writes, begin);
    return node && node->begin < begin && node->end > end;
}

/* --- entering --------------------------------------------------------------------------------- */

static void link_piece(struct ferry__write_piece *piece, struct ferry__range *range, uint64_t begin,
                       uint64_t end)
{
    *piece = (struct ferry__write_piece){
        .interval = {.begin = begin, .end = end, .stamp = range->op->ticket}, .range = range};
    ferry__interval_insert(&order_of(range)->writes, &piece->interval);
}

static void unlink_piece(struct ferry__intervals *writes, struct ferry__interval *node)
{
    ferry__interval_remove(writes, node);
    node->stamp = 0;
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
static struct ferry__write_piece *carve(const struct ferry__range *range,
                                        struct ferry__write_piece *spare)
{
    const uint64_t begin = range->begin, end = range->end;
    struct ferry__intervals *writes = &order_of(range)->writes;
    struct ferry__interval *node = ferry__interval_after(writes, begin), *next;
    for (; node && node->begin < end; node = next) {
        next = ferry__interval_next(node);
        const uint64_t old_end = node->end;
        if (node->begin < begin) {
            node->end = begin;
            ferry__interval_changed(node);
            if (old_end > end) {
                add_piece(spare, piece_of(node)->range, end, old_end);
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
    range->read.group = group;
    range->read.previous = NULL;
    range->read.next = group->first;
    if (group->first)
        group->first->read.previous = range;
    group->first = range;
}

static struct ferry__intervals *reads_of(const struct ferry__range *range)
{
    return range->spans ? &order_of(range)->list_reads : &order_of(range)->reads;
}

static void enter_read(struct ferry__range *range, uint64_t stamp)
{
    struct ferry__intervals *reads = reads_of(range);
    const struct bytes bytes = {range->begin, range->end, range->spans};
    struct ferry__interval *equal = range->spans
                                        ? equal_list(order_of(range), &bytes)
                                        : ferry__interval_equal(reads, range->begin, range->end);
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

/* What a write has covered of the lists: who comes later follows that write instead. */
static void carve_lists(const struct ferry__range *range)
{
    struct ferry__intervals *lists = &order_of(range)->list_writes;
    const struct ferry__meeting meeting = {range->begin, range->end, 0};
    struct ferry__interval *node = ferry__meeting_first(&meeting, lists), *next;
    for (; node; node = next) {
        next = ferry__meeting_next(&meeting, node);
        const bool left = range->spans
                              ? ferry__spans_remove(written(node), range->spans)
                              : ferry__spans_remove_range(written(node), range->begin, range->end);
        if (left)
            continue;
        unlink_piece(lists, node);
    }
}

static void enter_list(struct ferry__range *range)
{
    struct ferry__write_piece *own = &range->write.own;
    *own = (struct ferry__write_piece){
        .interval = {.begin = range->begin, .end = range->end, .stamp = range->op->ticket},
        .range = range};
    ferry__interval_insert(&order_of(range)->list_writes, &own->interval);
}

void ferry__order_enter(struct ferry__range *range)
{
    range->entered = true;
    if (range->kind == FERRY__RANGE_READ) {
        enter_read(range, range->op->ticket);
        return;
    }
    carve_lists(range);
    if (range->spans) {
        enter_list(range);
        return;
    }
    ferry__free(carve(range, range->write.own.next));
    link_piece(&range->write.own, range, range->begin, range->end);
}

/* --- leaving ---------------------------------------------------------------------------------- */

/* The group's memory is that of a range that leaves: the first gives it a place. */
static void group_move(struct ferry__read_group *group, struct ferry__intervals *reads)
{
    struct ferry__read_group *home = &group->first->read.own;
    ferry__interval_remove(reads, &group->interval);
    *home = *group;
    group->first = NULL;
    home->first->read.group = home;
    if (home->after)
        home->after->after.serves = home;
    ferry__interval_insert(reads, &home->interval);
}

static void leave_read(struct ferry__range *range)
{
    struct ferry__intervals *reads = reads_of(range);
    struct ferry__read_group *own = &range->read.own, *group = range->read.group;
    struct ferry__range *next = range->read.next, *previous = range->read.previous;
    const bool is_home = own->first;
    if (next)
        next->read.previous = previous;
    if (previous) {
        previous->read.next = next;
    } else {
        if (next)
            next->read.group = group;
        if (group)
            group->first = next;
    }
    if (!is_home)
        return;
    if (own->first) {
        group_move(own, reads);
        return;
    }
    ferry__interval_remove(reads, &own->interval);
    if (own->after)
        own->after->after.serves = NULL;
}

static void leave_write(struct ferry__range *range)
{
    struct ferry__intervals *writes =
        range->spans ? &order_of(range)->list_writes : &order_of(range)->writes;
    struct ferry__write_piece *piece = &range->write.own, *others = piece->next;
    if (piece->interval.stamp)
        ferry__interval_remove(writes, &piece->interval);
    while ((piece = others)) {
        others = piece->next;
        if (piece->interval.stamp)
            ferry__interval_remove(writes, &piece->interval);
        ferry__free(piece);
    }
    range->write.own.next = NULL;
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
        if (range->after.serves)
            range->after.serves->after = NULL;
        range->after.serves = NULL;
        break;
    }
}

/* --- crowds ----------------------------------------------------------------------------------- */

static bool is_crowd(const struct ferry__read_group *group, size_t most)
{
    const struct ferry__range *reader = group->first;
    for (size_t i = 0; i < most && reader; i++)
        reader = reader->read.next;
    return reader;
}

static struct ferry__read_group *crowd_among(const struct ferry__range *range,
                                             struct ferry__interval *node, size_t most)
{
    const struct ferry__meeting meeting = {range->begin, range->end, 0};
    const struct bytes bytes = {range->begin, range->end, range->spans};
    for (; node; node = ferry__meeting_next(&meeting, node)) {
        const struct ferry__spans *spans = read_by(node);
        if (is_crowd(group_of(node), most) &&
            (spans           ? meet_spans(&bytes, spans)
             : !range->spans ? true
                             : ferry__spans_meet_range(range->spans, node->begin, node->end)))
            return group_of(node);
    }
    return NULL;
}

struct ferry__read_group *ferry__order_crowd(const struct ferry__range *range,
                                             struct ferry__read_group *behind, size_t most)
{
    const struct ferry__meeting meeting = {range->begin, range->end, 0};
    const struct ferry__order *order = order_of(range);
    struct ferry__read_group *found = NULL;
    if (!behind)
        found = crowd_among(range, ferry__meeting_first(&meeting, &order->reads), most);
    else
        found = crowd_among(range, ferry__meeting_next(&meeting, &behind->interval), most);
    if (!found && (!behind || !behind->first->spans))
        found = crowd_among(range, ferry__meeting_first(&meeting, &order->list_reads), most);
    return found;
}

void ferry__order_join_reads(struct ferry__read_group *group, struct ferry__range *joint)
{
    struct ferry__read_group *home = &joint->read.own;
    joint->spans = group->first->spans;
    group->first->spans = NULL;
    struct ferry__intervals *reads = reads_of(joint);
    ferry__interval_remove(reads, &group->interval);
    group->first->read.group = NULL; /* they stay a list, of no group */
    *home = *group;
    home->first = group->first = NULL;
    if (home->after)
        home->after->after.serves = home;
    group_push(home, joint);
    joint->entered = true;
    ferry__interval_insert(reads, &home->interval);
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
