/* The order by bytes against an oracle that keeps the last writer and the readers since of each byte:
 * no operation that must be followed is missing, none is named that shares no byte, and joints change
 * neither. */
#include "base/alloc.h"
#include "base/base.h"
#include "base/spans.h"
#include "engine/buffer.h"
#include "engine/op.h"
#include "engine/order.h"
#include "random.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { BYTES = 40, LIVE = 60, RANGES = 3 }; /* LIVE: bits of a mask */

struct node {
    /* A struct ferry__op, of which only the ticket counts, and whether it is done: its own array is never used. */
    _Alignas(struct ferry__op) unsigned char op[sizeof(struct ferry__op)];
    struct ferry__range ranges[RANGES];
    uint64_t bytes[RANGES]; /* of each range: a bit for each byte */
    size_t count;
    bool live, joint;
    bool going; /* it is done, and leaves one range after another */
    size_t left;
    uint64_t after; /* all that are before it, as slots; the joints between them not */
};

struct world {
    struct ferry_buffer buffer; /* of which its order alone counts */
    struct node nodes[LIVE];
    uint64_t ticket, seed;
    /* The oracle's; joints are unknown to it. */
    uint64_t writer[BYTES]; /* a bit, or 0 */
    uint64_t readers[BYTES];
    /* What the order said of the operation that is entering. */
    uint64_t said, closure, must, range_said[RANGES], range_closure[RANGES];
    size_t joints_made, asked, parted, alone;
};

static struct ferry__op *op_of(struct node *node)
{
    return (struct ferry__op *)(void *)node->op;
}

static struct node *node_of(struct ferry__op *op)
{
    return (struct node *)op;
}

static size_t slot_of(const struct world *world, const struct node *node)
{
    return (size_t)(node - world->nodes);
}

/* Joints stand for what they follow: they are looked through. */
static void note(void *arg, struct ferry__op *from)
{
    struct world *world = arg;
    const struct node *node = node_of(from);
    world->asked++;
    assert_true(node->live);
    if (node->joint) {
        world->said |= node->after;
        world->closure |= node->after;
    } else {
        world->said |= UINT64_C(1) << slot_of(world, node);
        world->closure |= node->after | UINT64_C(1) << slot_of(world, node);
    }
}

static size_t free_slot(const struct world *world)
{
    size_t slot = 0;
    while (slot < LIVE && (world->nodes[slot].live || world->nodes[slot].going))
        slot++;
    return slot;
}

/* Leaves out what is done. */
static uint64_t live_mask(const struct world *world)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < LIVE; i++)
        if (world->nodes[i].live)
            mask |= UINT64_C(1) << i;
    return mask;
}

/* All in flight that share a byte of which one writes it, and those of them that are not hidden by a
 * later write. */
static void ask_oracle(const struct world *world, bool write, uint64_t bytes, uint64_t *must,
                       uint64_t *may)
{
    for (uint64_t i = 0; i < BYTES; i++)
        if (bytes >> i & 1)
            *must |= world->writer[i] | (write ? world->readers[i] : 0);
    for (size_t i = 0; i < LIVE; i++) {
        const struct node *node = &world->nodes[i];
        if (!node->live || node->joint)
            continue;
        for (size_t r = 0; r < node->count; r++)
            if (node->bytes[r] & bytes && (write || node->ranges[r].kind == FERRY__RANGE_WRITE))
                *may |= UINT64_C(1) << i;
    }
}

static void tell_oracle(struct world *world, const struct node *node)
{
    const uint64_t bit = UINT64_C(1) << slot_of(world, node);
    for (size_t r = 0; r < node->count; r++)
        for (uint64_t i = 0; i < BYTES; i++)
            if (node->ranges[r].kind == FERRY__RANGE_READ && node->bytes[r] >> i & 1)
                world->readers[i] |= bit;
    for (size_t r = 0; r < node->count; r++)
        for (uint64_t i = 0; i < BYTES; i++) {
            if (node->ranges[r].kind == FERRY__RANGE_WRITE && node->bytes[r] >> i & 1) {
                world->writer[i] = bit;
                world->readers[i] = 0;
            }
        }
}

static bool leave_one(struct world *world);

/* In parts, between which those that are done leave. */
static struct ferry__read_group *find_crowd(struct world *world, const struct ferry__range *range,
                                            struct ferry__order_crowds *crowds, size_t most)
{
    for (;;) {
        struct ferry__read_group *group =
            ferry__order_crowd_some(range, crowds, most, 1 + random_next(&world->seed) % 3);
        if (group || !crowds->more)
            return group;
        (void)leave_one(world);
    }
}

/* A joint of all readers in a crowd, as a write does it that would follow them all. */
static void join_crowds(struct world *world, const struct ferry__range *range, size_t most)
{
    struct ferry__order_crowds crowds = {0};
    struct ferry__read_group *group = NULL;
    const bool parts = random_next(&world->seed) % 2;
    while (range->kind == FERRY__RANGE_WRITE &&
           (group = parts ? find_crowd(world, range, &crowds, most)
                          : ferry__order_crowd(range, group, most))) {
        const size_t slot = free_slot(world);
        size_t live = 0;
        for (struct ferry__range *reader = group->first; reader; reader = reader->read.next)
            live += node_of(reader->op)->live;
        if (slot == LIVE)
            break;
        if (live <= most)
            continue;
        struct node *joint = &world->nodes[slot];
        *joint = (struct node){.live = true, .joint = true, .count = 1};
        for (struct ferry__range *reader = group->first; reader; reader = reader->read.next) {
            const struct node *member = node_of(reader->op);
            const uint64_t bit = UINT64_C(1) << slot_of(world, member);
            joint->after |= member->after | (member->live && !member->joint ? bit : 0);
        }
        op_of(joint)->ticket = group->interval.stamp;
        joint->ranges[0] = (struct ferry__range){.op = op_of(joint),
                                                 .buffer = &world->buffer,
                                                 .begin = group->interval.begin,
                                                 .end = group->interval.end,
                                                 .kind = FERRY__RANGE_READ};
        ferry__order_join_reads(group, &joint->ranges[0]);
        group = joint->ranges[0].read.group;
        world->joints_made++;
    }
    world->buffer.order.list_walk = NULL;
}

/* Also where the reader writes the same bytes besides: that write the joint does not stand for. */
static void join_writes(struct world *world, struct node *node, size_t most)
{
    const size_t slot = free_slot(world);
    size_t reads = 0, which = 0;
    for (size_t r = 0; r < node->count; r++)
        if (node->ranges[r].kind == FERRY__RANGE_READ) {
            reads++;
            which = r;
        }
    if (reads != 1 || slot == LIVE ||
        (size_t)__builtin_popcountll(world->range_said[which]) <= most)
        return;
    struct node *joint = &world->nodes[slot];
    *joint = (struct node){
        .live = true, .joint = true, .count = 1, .after = world->range_closure[which]};
    op_of(joint)->ticket = op_of(node)->ticket - 1;
    joint->ranges[0] = (struct ferry__range){.op = op_of(joint), .kind = FERRY__RANGE_AFTER};
    ferry__order_join_writes(&node->ranges[which], &joint->ranges[0]);
    world->joints_made++;
}

static bool meets_own(const struct node *node, const struct ferry__range *range, uint64_t bytes)
{
    for (size_t r = 0; r < node->count; r++)
        if (node->bytes[r] & bytes && range->kind == node->ranges[r].kind)
            return true;
    return false;
}

static uint64_t mask_of(uint64_t begin, uint64_t end)
{
    return ((UINT64_C(1) << (end - begin)) - 1) << begin;
}

/* Bytes of a range as several ranges with gaps, now and then the same again. */
static uint64_t make_spans(struct world *world, struct ferry__range *range)
{
    struct ferry__span spans[BYTES];
    size_t count = 0;
    uint64_t bytes = 0, step = 1 + random_next(&world->seed) % 3;
    const bool any = random_next(&world->seed) % 2;
    for (uint64_t at = range->begin; at < range->end; at += step + 1) {
        const uint64_t size = any ? 1 + random_next(&world->seed) % step : 1;
        const uint64_t end = at + size < range->end ? at + size : range->end;
        spans[count++] = (struct ferry__span){at, end};
        bytes |= mask_of(at, end);
    }
    range->spans = ferry__spans_make(spans, count);
    assert_non_null(range->spans);
    range->begin = range->spans->begin;
    range->end = range->spans->end;
    return bytes;
}

static struct ferry__range random_range(struct world *world, uint64_t longest)
{
    const uint64_t begin = random_next(&world->seed) % BYTES;
    const uint64_t size = 1 + random_next(&world->seed) % longest;
    return (struct ferry__range){.buffer = &world->buffer,
                                 .begin = begin,
                                 .end = begin + size < BYTES ? begin + size : BYTES,
                                 .kind = random_next(&world->seed) % 2 ? FERRY__RANGE_READ
                                                                       : FERRY__RANGE_WRITE};
}

struct shape {
    uint64_t longest, most_ranges;
    size_t crowd;   /* more than this many are joined */
    bool repeat;    /* the same few ranges again and again */
    unsigned lists; /* one in that many ranges has spans; 0: none */
};

/* Ranges that an operation may have: those of one kind are disjoint. */
static struct node make_node(struct world *world, const struct shape *shape)
{
    struct node made = {.live = true};
    const size_t wanted = 1 + random_next(&world->seed) % shape->most_ranges;
    for (size_t i = 0; i < wanted; i++) {
        struct ferry__range range = random_range(world, shape->longest);
        if (shape->repeat) {
            range.begin -= range.begin % (BYTES / 2);
            range.end = range.begin + BYTES / 2;
        }
        uint64_t bytes = mask_of(range.begin, range.end);
        if (shape->lists && random_next(&world->seed) % shape->lists == 0)
            bytes = make_spans(world, &range);
        if (meets_own(&made, &range, bytes)) {
            ferry__free(range.spans);
            continue;
        }
        made.bytes[made.count] = bytes;
        made.ranges[made.count++] = range;
    }
    return made;
}

/* One that is done leaves one of its places, the last one with its slot. False: there is none. */
static bool leave_one(struct world *world)
{
    size_t slot = 0;
    while (slot < LIVE && !world->nodes[slot].going)
        slot++;
    if (slot == LIVE)
        return false;
    struct node *node = &world->nodes[slot];
    if (node->left < node->count && !ferry__order_leave_some(&node->ranges[node->left], 1))
        node->left++;
    if (node->left < node->count)
        return true;
    for (size_t r = 0; r < node->count; r++)
        ferry__free(node->ranges[r].spans);
    memset(node, 0x55, sizeof *node); /* whoever still looks at it is seen */
    *node = (struct node){.live = false};
    return true;
}

/* At once or in parts, between which those that are done leave. */
static void ask_one(struct world *world, const struct ferry__range *range)
{
    const size_t most = random_next(&world->seed) % 4;
    if (!most) {
        ferry__order_ask_range(range, note, world);
        return;
    }
    struct ferry__order_parts parts = {.range = range};
    const bool much = ferry__order_is_much(range, most);
    bool parted = false;
    while (ferry__order_ask_some(&parts, most, note, world)) {
        parted = true;
        (void)leave_one(world);
    }
    world->parted += parted;
    assert_true(much || !parted);
}

static void enter_one(struct world *world, struct ferry__range *range)
{
    const size_t most = random_next(&world->seed) % 4;
    struct ferry__order_parts lists = {.range = range};
    if (!most) {
        ferry__order_enter(range);
        return;
    }
    while (ferry__order_enter_some(range, most)) {
        world->parted++;
        (void)leave_one(world);
    }
    while (ferry__order_cover_some(&lists, most)) {
        world->parted++;
        (void)leave_one(world);
    }
}

/* What the order says that it follows: none is missing, and each shares a byte, or is before one
 * that does. */
static void ask(struct world *world, const struct shape *shape, const struct node *made)
{
    world->said = world->closure = 0;
    uint64_t must = 0, may = 0;
    for (size_t r = 0; r < made->count; r++) {
        const struct ferry__range *range = &made->ranges[r];
        const bool write = range->kind == FERRY__RANGE_WRITE;
        join_crowds(world, range, shape->crowd);
        ask_oracle(world, write, made->bytes[r], &must, &may);
        const size_t asked = world->asked;
        const uint64_t said = world->said, closure = world->closure;
        world->said = world->closure = 0;
        ask_one(world, range);
        if (!range->spans) {
            const bool busy =
                ferry__order_busy(&world->buffer.order, write, range->begin, range->end);
            /* A joint may outlive here what it stands for, and who followed it. */
            assert_true(world->asked != asked || !busy || world->joints_made);
            assert_true(busy || !world->said);
        }
        world->range_said[r] = world->said;
        world->range_closure[r] = world->closure;
        world->said |= said;
        world->closure |= closure;
    }
    must &= live_mask(world);
    world->must = must;
    assert_int_equal(must & ~world->closure, 0);
    uint64_t allowed = may;
    for (size_t i = 0; i < LIVE; i++)
        if (may >> i & 1)
            allowed |= world->nodes[i].after;
    assert_int_equal(world->said & ~allowed, 0);
}

/* None of its ranges has anything to follow, and the order sees that at a glance. */
static bool is_alone(const struct world *world, const struct node *made)
{
    for (size_t r = 0; r < made->count; r++)
        if (!ferry__order_alone(&made->ranges[r]))
            return false;
    assert_int_equal(world->must, 0);
    return true;
}

static void enter(struct world *world, const struct shape *shape)
{
    struct node made = make_node(world, shape);
    ask(world, shape, &made);
    const size_t slot = free_slot(world);
    if (slot == LIVE) {
        for (size_t r = 0; r < made.count; r++)
            ferry__free(made.ranges[r].spans);
        return;
    }
    struct node *node = &world->nodes[slot];
    const bool alone = is_alone(world, &made);
    world->alone += alone;
    *node = made;
    op_of(node)->ticket = world->ticket += 2; /* the one between is a joint's */
    node->after = world->closure;
    for (size_t r = 0; r < node->count; r++) {
        struct ferry__range *range = &node->ranges[r];
        range->op = op_of(node);
        if (alone) {
            ferry__order_enter_alone(range);
            continue;
        }
        /* Without need there is no spare: a use of it would crash. */
        if (range->kind == FERRY__RANGE_WRITE && !range->spans &&
            ferry__order_splits(&world->buffer.order, range->begin, range->end))
            assert_non_null(range->write.own.next =
                                ferry__alloc(sizeof(struct ferry__write_piece)));
        enter_one(world, range);
    }
    tell_oracle(world, node);
    join_writes(world, node, shape->crowd);
}

/* Ends one that has nothing live before it, or goes on with one that has ended. */
static void end(struct world *world)
{
    const size_t from = random_next(&world->seed) % LIVE;
    if (random_next(&world->seed) % 2 && leave_one(world))
        return;
    for (size_t i = 0; i < LIVE; i++) {
        struct node *node = &world->nodes[(from + i) % LIVE];
        if (!node->live || node->after)
            continue;
        const uint64_t bit = UINT64_C(1) << slot_of(world, node);
        node->live = false;
        node->going = true;
        atomic_store(&op_of(node)->done, true);
        for (size_t at = 0; at < BYTES; at++) {
            world->writer[at] &= ~bit;
            world->readers[at] &= ~bit;
        }
        for (size_t other = 0; other < LIVE; other++)
            world->nodes[other].after &= ~bit;
        return;
    }
}

static size_t run_shape(const struct shape *shape, uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->seed = seed;
    for (int step = 0; step < 20000; step++) {
        /* Long runs of entering, then of ending. */
        const bool entering = (step / 50) % 3 != 2 && free_slot(world) + 4 < LIVE;
        if (entering)
            enter(world, shape);
        else
            end(world);
    }
    while (live_mask(world) || leave_one(world))
        end(world);
    assert_int_equal(live_mask(world), 0);
    assert_null(world->buffer.order.writes.root);
    assert_null(world->buffer.order.reads.root);
    assert_null(world->buffer.order.list_writes.root);
    assert_null(world->buffer.order.list_reads.root);
    assert_null(world->buffer.order.list_walk);
    const size_t joints = world->joints_made;
    assert_true(world->alone);
    assert_true(world->parted || shape->longest == 1 || shape->lists == 1);
    free(world);
    return joints;
}

static void follows_the_oracle(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {.longest = 1, .most_ranges = 1, .crowd = LIVE},
        {.longest = 8, .most_ranges = 1, .crowd = LIVE},
        {.longest = BYTES, .most_ranges = 1, .crowd = LIVE},
        {.longest = 6, .most_ranges = 3, .crowd = LIVE},
        {.longest = BYTES, .most_ranges = 3, .crowd = LIVE},
        {.longest = BYTES, .most_ranges = 1, .crowd = LIVE, .lists = 1},
        {.longest = BYTES, .most_ranges = 3, .crowd = LIVE, .lists = 2},
        {.longest = 12, .most_ranges = 3, .crowd = LIVE, .lists = 3},
        {.longest = 4, .most_ranges = 2, .crowd = LIVE, .repeat = true, .lists = 2},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint64_t seed = 1; seed <= 5; seed++)
            (void)run_shape(&shapes[i], seed * 104729 + i);
}

static void joints_change_nothing(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {.longest = 3, .most_ranges = 1, .crowd = 1},
        {.longest = BYTES, .most_ranges = 1, .crowd = 1},
        {.longest = BYTES, .most_ranges = 2, .crowd = 2},
        {.longest = 4, .most_ranges = 1, .crowd = 2, .repeat = true},
        {.longest = 4, .most_ranges = 2, .crowd = 4, .repeat = true},
        {.longest = BYTES, .most_ranges = 2, .crowd = 1, .lists = 2},
        {.longest = 4, .most_ranges = 1, .crowd = 2, .repeat = true, .lists = 1},
        {.longest = 4, .most_ranges = 2, .crowd = 1, .repeat = true, .lists = 2},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint64_t seed = 1; seed <= 5; seed++)
            assert_true(run_shape(&shapes[i], seed * 7919 + i) > 0);
}

/* --- cost: what is asked and answered, not time --------------------------------------------------- */

static void count_one(void *arg, struct ferry__op *from)
{
    (void)from;
    ++*(size_t *)arg;
}

/* A read of all behind many writes, again and again: the first asks for all, the others for one. */
static void later_readers_share_a_joint(void **state)
{
    (void)state;
    enum { WRITES = 1000 };
    struct ferry_buffer buffer = {0};
    struct node *nodes = calloc(WRITES + 4, sizeof *nodes);
    assert_non_null(nodes);
    for (size_t i = 0; i < WRITES; i++) {
        op_of(&nodes[i])->ticket = i + 1;
        nodes[i].ranges[0] = (struct ferry__range){.op = op_of(&nodes[i]),
                                                   .buffer = &buffer,
                                                   .begin = 2 * i,
                                                   .end = 2 * i + 1,
                                                   .kind = FERRY__RANGE_WRITE};
        ferry__order_enter(&nodes[i].ranges[0]);
    }
    size_t asked = 0;
    ferry__order_ask(&buffer.order, false, 0, 2 * WRITES, count_one, &asked);
    assert_int_equal(asked, WRITES);
    struct node *reader = &nodes[WRITES], *joint = &nodes[WRITES + 1], *late = &nodes[WRITES + 2];
    op_of(joint)->ticket = WRITES + 1;
    op_of(reader)->ticket = WRITES + 2;
    reader->ranges[0] = (struct ferry__range){
        .op = op_of(reader), .buffer = &buffer, .end = 2 * WRITES, .kind = FERRY__RANGE_READ};
    ferry__order_enter(&reader->ranges[0]);
    joint->ranges[0] = (struct ferry__range){.op = op_of(joint), .kind = FERRY__RANGE_AFTER};
    ferry__order_join_writes(&reader->ranges[0], &joint->ranges[0]);
    asked = 0;
    ferry__order_ask(&buffer.order, false, 0, 2 * WRITES, count_one, &asked);
    assert_int_equal(asked, 1);
    /* A write in between is asked for besides. */
    op_of(late)->ticket = WRITES + 3;
    late->ranges[0] = (struct ferry__range){
        .op = op_of(late), .buffer = &buffer, .begin = 7, .end = 9, .kind = FERRY__RANGE_WRITE};
    ferry__order_enter(&late->ranges[0]);
    asked = 0;
    ferry__order_ask(&buffer.order, false, 0, 2 * WRITES, count_one, &asked);
    assert_int_equal(asked, 2);
    ferry__order_leave(&joint->ranges[0]);
    asked = 0;
    ferry__order_ask(&buffer.order, false, 0, 2 * WRITES, count_one, &asked);
    assert_int_equal(asked, WRITES + 1 - 1); /* the late one took the byte of the fifth */
    free(nodes);
}

/* --- a crowd's cost --------------------------------------------------------------------------- */

/* Reads of the same bytes, each in a page of its own: home came first, and the group lies there. */
enum { HOME, BESIDE, FAR, NEWEST, READERS };

struct crowd {
    struct ferry_buffer buffer;
    struct node *readers[READERS];
    size_t page;
};

static void crowd_begin(struct crowd *crowd)
{
    *crowd = (struct crowd){.page = (size_t)sysconf(_SC_PAGESIZE)};
    assert_true(sizeof(struct node) <= crowd->page);
    for (size_t i = 0; i < READERS; i++) {
        struct node *node =
            mmap(NULL, crowd->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(node != MAP_FAILED);
        op_of(node)->ticket = i + 1;
        node->ranges[0] = (struct ferry__range){
            .op = op_of(node), .buffer = &crowd->buffer, .end = BYTES, .kind = FERRY__RANGE_READ};
        ferry__order_enter(&node->ranges[0]);
        crowd->readers[i] = node;
    }
    assert_int_equal(mprotect(crowd->readers[FAR], crowd->page, PROT_NONE), 0);
}

static void crowd_end(struct crowd *crowd)
{
    assert_int_equal(mprotect(crowd->readers[FAR], crowd->page, PROT_READ | PROT_WRITE), 0);
    for (size_t i = 0; i < READERS; i++) {
        ferry__order_leave(&crowd->readers[i]->ranges[0]);
        assert_int_equal(munmap(crowd->readers[i], crowd->page), 0);
    }
    assert_null(crowd->buffer.order.reads.root);
}

/* However many there are: who is neither its neighbour nor the newest is not looked at. */
static void the_first_of_a_crowd_leaves(void **state)
{
    (void)state;
    struct crowd crowd;
    crowd_begin(&crowd);
    ferry__order_leave(&crowd.readers[HOME]->ranges[0]);
    assert_true(ferry__order_busy(&crowd.buffer.order, true, 0, 1));
    crowd_end(&crowd);
}

static void a_crowd_is_joined(void **state)
{
    (void)state;
    struct crowd crowd;
    struct node joint = {.joint = true};
    crowd_begin(&crowd);
    op_of(&joint)->ticket = READERS + 1;
    struct ferry__range *range = &joint.ranges[0];
    *range = (struct ferry__range){
        .op = op_of(&joint), .buffer = &crowd.buffer, .end = BYTES, .kind = FERRY__RANGE_READ};
    ferry__order_join_reads(&crowd.readers[HOME]->ranges[0].read.own, range);
    assert_true(ferry__order_busy(&crowd.buffer.order, true, 0, 1));
    ferry__order_leave(range);
    assert_false(ferry__order_busy(&crowd.buffer.order, true, 0, 1));
    crowd_end(&crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_oracle),          cmocka_unit_test(joints_change_nothing),
        cmocka_unit_test(the_first_of_a_crowd_leaves), cmocka_unit_test(a_crowd_is_joined),
        cmocka_unit_test(later_readers_share_a_joint),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
