#include "engine/order_nodes.h"

#include "base/interval.h"
#include "base/spans.h"
#include "engine/op.h"
#include "engine/order.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- asking ----------------------------------------------------------------------------------- */

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
    FERRY__FOR_MEETING(node, &meeting, &order->reads)
    say_readers(ferry__group_of(node), meeting.newer, answer);
}

/* Entries that are newer than a ticket. */
static void ask_lists(const struct ferry__order *order, bool write,
                      const struct ferry__bytes *bytes, uint64_t newer, const struct answer *answer)
{
    const struct ferry__meeting meeting = {bytes->begin, bytes->end, newer};
    FERRY__FOR_MEETING(node, &meeting, &order->list_writes)
    if (ferry__meet_spans(bytes, ferry__written(node)))
        say(answer, ferry__piece_of(node)->range->op);
    if (!write)
        return;
    FERRY__FOR_MEETING(node, &meeting, &order->list_reads)
    if (ferry__meet_spans(bytes, ferry__read_by(node)))
        say_readers(ferry__group_of(node), newer, answer);
}

/* What was read before the latest write of a byte is behind that write. */
static void ask_for_write(const struct ferry__order *order, const struct ferry__bytes *bytes,
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
        say(answer, ferry__piece_of(node)->range->op);
        ask_readers(order, (struct ferry__meeting){at, piece_end, node->stamp}, answer);
        at = piece_end;
    }
    if (at < end)
        ask_readers(order, (struct ferry__meeting){at, end, 0}, answer);
    ask_lists(order, true, bytes, 0, answer);
}

/* The ticket up to which one stands for the older writes that those of a group follow; 0: none. */
static uint64_t joint_ticket(const struct ferry__interval *equal)
{
    const struct ferry__read_group *group = (const struct ferry__read_group *)equal;
    return group && group->after ? group->after->op->ticket : 0;
}

static uint64_t ask_joint(const struct ferry__interval *equal, const struct answer *answer)
{
    const uint64_t ticket = joint_ticket(equal);
    if (ticket)
        say(answer, ((const struct ferry__read_group *)equal)->after->op);
    return ticket;
}

static void ask_for_read(const struct ferry__order *order, const struct ferry__bytes *bytes,
                         const struct answer *answer)
{
    struct ferry__meeting meeting = {bytes->begin, bytes->end, 0};
    meeting.newer =
        ask_joint(ferry__interval_equal(&order->reads, bytes->begin, bytes->end), answer);
    FERRY__FOR_MEETING(node, &meeting, &order->writes)
    say(answer, ferry__piece_of(node)->range->op);
    ask_lists(order, false, bytes, meeting.newer, answer);
}

/* Of the pieces those that spans meet: as many steps as the fewer of the two are. */
static void ask_pieces(const struct ferry__order *order, const struct ferry__bytes *bytes,
                       uint64_t newer, const struct answer *answer)
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
            say(answer, ferry__piece_of(node)->range->op);
        at = node->end;
    }
}

/* Few others begin and end where they do. */
static struct ferry__interval *equal_list(const struct ferry__order *order,
                                          const struct ferry__bytes *bytes)
{
    enum { TRIED_MAX = 8 };
    struct ferry__interval *node =
        ferry__interval_equal(&order->list_reads, bytes->begin, bytes->end);
    for (unsigned i = 0; i < TRIED_MAX && node; i++) {
        if (node->begin != bytes->begin || node->end != bytes->end)
            return NULL;
        if (ferry__spans_equal(ferry__read_by(node), bytes->spans))
            return node;
        node = ferry__interval_next(node);
    }
    return NULL;
}

struct ferry__interval *ferry__order_equal(const struct ferry__range *range)
{
    const struct ferry__order *order = ferry__order_of(range);
    const struct ferry__bytes bytes = {range->begin, range->end, range->spans};
    return range->spans ? equal_list(order, &bytes)
                        : ferry__interval_equal(&order->reads, range->begin, range->end);
}

static void ask_spans(const struct ferry__order *order, bool write,
                      const struct ferry__bytes *bytes, const struct answer *answer)
{
    const struct ferry__meeting meeting = {bytes->begin, bytes->end, 0};
    const uint64_t newer = write ? 0 : ask_joint(equal_list(order, bytes), answer);
    ask_pieces(order, bytes, newer, answer);
    if (write)
        FERRY__FOR_MEETING(node, &meeting, &order->reads)
    if (ferry__spans_meet_range(bytes->spans, node->begin, node->end))
        say_readers(ferry__group_of(node), 0, answer);
    ask_lists(order, write, bytes, newer, answer);
}

void ferry__order_ask(const struct ferry__order *order, bool write, uint64_t begin, uint64_t end,
                      void (*follow)(void *arg, struct ferry__op *from), void *arg)
{
    const struct ferry__bytes bytes = {begin, end, NULL};
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
    const struct ferry__bytes bytes = {range->begin, range->end, range->spans};
    const struct answer answer = {follow, arg};
    if (range->spans)
        ask_spans(ferry__order_of(range), write, &bytes, &answer);
    else
        ferry__order_ask(ferry__order_of(range), write, range->begin, range->end, follow, arg);
}

/* --- in parts --------------------------------------------------------------------------------- */

/* Readers in [parts->at, end) that are newer than a ticket, from where it was left. False: there
 * are more, and no room for them. answer NULL: counts alone. */
static bool some_readers(struct ferry__order_parts *parts, uint64_t end, uint64_t newer,
                         size_t *room, const struct answer *answer)
{
    const struct ferry__meeting meeting = {parts->at, end, newer};
    struct ferry__interval *node = ferry__meeting_from(
        &meeting, &ferry__order_of(parts->range)->reads, parts->begin, parts->end);
    for (; node; node = ferry__meeting_next(&meeting, node)) {
        const struct ferry__range *reader = ferry__group_of(node)->first;
        parts->begin = node->begin;
        parts->end = node->end;
        if (!*room)
            return false;
        for (; reader && reader->op->ticket > newer && *room; reader = reader->read.next)
            --*room;
        if (answer)
            say_readers(ferry__group_of(node), newer, answer);
    }
    parts->begin = parts->end = 0;
    return true;
}

/* Goes on as ask_for_write does. False: there is more. */
static bool some_of_write(struct ferry__order_parts *parts, size_t *room,
                          const struct answer *answer)
{
    const struct ferry__range *range = parts->range;
    while (parts->at < range->end) {
        struct ferry__interval *node =
            ferry__interval_after(&ferry__order_of(range)->writes, parts->at);
        const bool in_piece = node && node->begin <= parts->at;
        uint64_t end = !node ? range->end : in_piece ? node->end : node->begin;
        if (end > range->end)
            end = range->end;
        if (!*room)
            return false;
        if (!parts->end) { /* its readers come next */
            --*room;
            if (in_piece && answer)
                say(answer, ferry__piece_of(node)->range->op);
        }
        if (!some_readers(parts, end, in_piece ? node->stamp : 0, room, answer))
            return false;
        parts->at = end;
    }
    return true;
}

static bool some_of_read(struct ferry__order_parts *parts, size_t *room,
                         const struct answer *answer)
{
    const struct ferry__range *range = parts->range;
    const struct ferry__meeting meeting = {parts->at, range->end, parts->newer};
    FERRY__FOR_MEETING(node, &meeting, &ferry__order_of(range)->writes)
    {
        parts->at = node->begin > parts->at ? node->begin : parts->at;
        if (!*room)
            return false;
        --*room;
        if (answer)
            say(answer, ferry__piece_of(node)->range->op);
    }
    return true;
}

/* Goes on as ask_spans does, up to the lists. False: there is more. */
static bool some_of_spans(struct ferry__order_parts *parts, size_t *room,
                          const struct answer *answer)
{
    const struct ferry__range *range = parts->range;
    const struct ferry__order *order = ferry__order_of(range);
    struct ferry__span span;
    while (ferry__spans_next(range->spans, parts->at, &parts->hint, &span)) {
        struct ferry__interval *piece = ferry__interval_after(&order->writes, span.begin);
        if (!piece || piece->begin >= range->end)
            break;
        if (!*room)
            return false;
        --*room;
        const bool meets = piece->begin < span.end;
        if (meets && piece->stamp > parts->newer && answer)
            say(answer, ferry__piece_of(piece)->range->op);
        parts->at = meets ? piece->end : piece->begin;
    }
    parts->at = range->end;
    if (range->kind == FERRY__RANGE_READ)
        return true;
    const struct ferry__meeting meeting = {range->begin, range->end, 0};
    struct ferry__interval *node =
        ferry__meeting_from(&meeting, &order->reads, parts->begin, parts->end);
    for (; node; node = ferry__meeting_next(&meeting, node)) {
        parts->begin = node->begin;
        parts->end = node->end;
        if (!*room)
            return false;
        --*room;
        if (answer && ferry__spans_meet_range(range->spans, node->begin, node->end))
            say_readers(ferry__group_of(node), 0, answer);
    }
    return true;
}

/* What it takes to find out whether they share a byte, in pieces that are walked over. */
static size_t steps(const struct ferry__bytes *bytes, const struct ferry__spans *spans)
{
    if (!bytes->spans)
        return 1;
    const size_t mine = ferry__spans_steps(bytes->spans), other = ferry__spans_steps(spans);
    return 1 + (mine < other ? mine : other) / FERRY__SPANS_A_STEP;
}

/* Of the lists those of this part. False: there are more. */
static bool some_lists(struct ferry__order_parts *parts, size_t *room, const struct answer *answer)
{
    const struct ferry__range *range = parts->range;
    struct ferry__order *order = ferry__order_of(range);
    const struct ferry__bytes bytes = {range->begin, range->end, range->spans};
    const struct ferry__meeting meeting = {range->begin, range->end, parts->newer};
    const bool writes = parts->part == FERRY__PART_LIST_WRITES;
    struct ferry__interval *node =
        parts->listed
            ? ferry__meeting_at(&meeting, parts->list)
            : ferry__meeting_first(&meeting, writes ? &order->list_writes : &order->list_reads);
    for (; node && *room; node = ferry__meeting_next(&meeting, node)) {
        const struct ferry__spans *spans = writes ? ferry__written(node) : ferry__read_by(node);
        const size_t taken = steps(&bytes, spans);
        *room -= taken < *room ? taken : *room;
        if (!answer || !ferry__meet_spans(&bytes, spans))
            continue;
        if (writes)
            say(answer, ferry__piece_of(node)->range->op);
        else
            say_readers(ferry__group_of(node), parts->newer, answer);
    }
    parts->list = node;
    parts->listed = node;
    return !node;
}

static bool some_bytes(struct ferry__order_parts *parts, size_t *room, const struct answer *answer)
{
    const struct ferry__range *range = parts->range;
    if (!parts->begun) {
        parts->begun = true;
        parts->at = range->begin;
    }
    if (range->spans)
        return some_of_spans(parts, room, answer);
    return range->kind == FERRY__RANGE_WRITE ? some_of_write(parts, room, answer)
                                             : some_of_read(parts, room, answer);
}

/* From where it was left. False: there is more. */
static bool some(struct ferry__order_parts *parts, size_t *room, const struct answer *answer)
{
    const bool write = parts->range->kind == FERRY__RANGE_WRITE;
    for (; parts->part < FERRY__PARTS; parts->part++)
        if (parts->part == FERRY__PART_BYTES                  ? !some_bytes(parts, room, answer)
            : parts->part == FERRY__PART_LIST_WRITES || write ? !some_lists(parts, room, answer)
                                                              : false)
            return false;
    return true;
}

bool ferry__order_ask_some(struct ferry__order_parts *parts, size_t most,
                           void (*follow)(void *arg, struct ferry__op *from), void *arg)
{
    const struct ferry__range *range = parts->range;
    const struct answer answer = {follow, arg};
    size_t room = most;
    if (!parts->begun && range->kind != FERRY__RANGE_WRITE)
        parts->newer = ask_joint(ferry__order_equal(range), &answer);
    const bool all = some(parts, &room, &answer);
    ferry__order_of(range)->list_walk = parts->listed ? &parts->list : NULL;
    return !all;
}

bool ferry__order_is_much(const struct ferry__range *range, size_t most)
{
    struct ferry__order_parts parts = {.range = range};
    size_t room = most;
    if (range->kind == FERRY__RANGE_AFTER)
        return false;
    if (range->kind == FERRY__RANGE_READ)
        parts.newer = joint_ticket(ferry__order_equal(range));
    return !some(&parts, &room, NULL) || !room;
}

/* --- is it busy? ------------------------------------------------------------------------------ */

static bool any_reads(const struct ferry__read_group *group)
{
    const struct ferry__range *reader = group->first;
    while (reader && is_over(reader->op))
        reader = reader->read.next;
    return reader;
}

static bool lists_busy(const struct ferry__order *order, bool write,
                       const struct ferry__bytes *bytes, uint64_t newer)
{
    const struct ferry__meeting meeting = {bytes->begin, bytes->end, newer};
    FERRY__FOR_MEETING(node, &meeting, &order->list_writes)
    if (ferry__meet_spans(bytes, ferry__written(node)) &&
        !is_over(ferry__piece_of(node)->range->op))
        return true;
    if (!write)
        return false;
    FERRY__FOR_MEETING(node, &meeting, &order->list_reads)
    if (ferry__meet_spans(bytes, ferry__read_by(node)) && any_reads(ferry__group_of(node)))
        return true;
    return false;
}

/* Is there any that is newer than a ticket, and would have to be followed? */
static bool busy(const struct ferry__order *order, bool write, const struct ferry__bytes *bytes,
                 uint64_t newer)
{
    const struct ferry__meeting meeting = {bytes->begin, bytes->end, newer};
    FERRY__FOR_MEETING(node, &meeting, &order->writes)
    if (!is_over(ferry__piece_of(node)->range->op))
        return true;
    if (write)
        FERRY__FOR_MEETING(node, &meeting, &order->reads)
    if (any_reads(ferry__group_of(node)))
        return true;
    return lists_busy(order, write, bytes, newer);
}

bool ferry__order_busy(const struct ferry__order *order, bool write, uint64_t begin, uint64_t end)
{
    const struct ferry__bytes bytes = {begin, end, NULL};
    return busy(order, write, &bytes, 0);
}

bool ferry__order_alone(const struct ferry__range *range)
{
    const struct ferry__order *order = ferry__order_of(range);
    const struct ferry__meeting meeting = {range->begin, range->end, 0};
    return !ferry__intervals_meet(&order->writes, range->begin, range->end) &&
           !ferry__meeting_first(&meeting, &order->list_writes) &&
           (range->kind == FERRY__RANGE_READ ||
            (!ferry__meeting_first(&meeting, &order->reads) &&
             !ferry__meeting_first(&meeting, &order->list_reads)));
}

bool ferry__order_newer(const struct ferry__order *order, uint64_t begin, uint64_t end,
                        uint64_t ticket)
{
    const struct ferry__bytes bytes = {begin, end, NULL};
    return busy(order, true, &bytes, ticket);
}

bool ferry__order_splits(const struct ferry__order *order, uint64_t begin, uint64_t end)
{
    const struct ferry__interval *node = ferry__interval_after(&order->writes, begin);
    return node && node->begin < begin && node->end > end;
}
