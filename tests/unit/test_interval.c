/* The tree of intervals and the set of bytes on it, against an array that has a flag for each byte. */
#include "base/base.h"
#include "base/interval.h"
#include "random.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { UNIVERSE = 48 };

/* --- the tree ---------------------------------------------------------------------------------- */

static struct ferry__interval *first_of(const struct ferry__intervals *tree)
{
    return ferry__interval_after(tree, 0);
}

/* Walks both ways; the intervals are disjoint, in order, and as many as there should be. */
static void check_walk(const struct ferry__intervals *tree, size_t count)
{
    struct ferry__interval *node = first_of(tree), *last = NULL;
    size_t seen = 0;
    for (; node; last = node, node = ferry__interval_next(node), seen++) {
        assert_true(node->begin < node->end);
        assert_true(!last || last->end <= node->begin);
        assert_ptr_equal(ferry__interval_previous(node), last);
    }
    assert_int_equal(seen, count);
}

/* One node for each byte that is in; a byte at a time, in random order. */
static void tree_follows_the_model(void **state)
{
    (void)state;
    static struct ferry__interval nodes[UNIVERSE];
    struct ferry__intervals tree = {0};
    bool in[UNIVERSE] = {false};
    size_t count = 0;
    uint64_t seed = 1;
    for (int step = 0; step < 20000; step++) {
        const uint64_t at = random_next(&seed) % UNIVERSE;
        if (in[at]) {
            ferry__interval_remove(&tree, &nodes[at]);
            count--;
        } else {
            nodes[at] = (struct ferry__interval){.begin = at, .end = at + 1};
            ferry__interval_insert(&tree, &nodes[at]);
            count++;
        }
        in[at] = !in[at];
        check_walk(&tree, count);
        const uint64_t from = random_next(&seed) % UNIVERSE;
        uint64_t expected = from;
        while (expected < UNIVERSE && !in[expected])
            expected++;
        assert_ptr_equal(ferry__interval_after(&tree, from),
                         expected < UNIVERSE ? &nodes[expected] : NULL);
    }
}

static size_t depth_of(const struct ferry__interval *node)
{
    size_t depth = 0;
    for (; node; node = node->parent)
        depth++;
    return depth;
}

/* Whatever the order in which they come, the tree stays shallow: 2^16 nodes in a random tree are
 * about 2.99 * 16 deep at most, and 96 is far beyond what chance gives. */
static void shallow_in_every_order(void **state)
{
    (void)state;
    enum { COUNT = 1 << 16, DEEPEST = 96 };
    struct ferry__interval *nodes = calloc(COUNT, sizeof *nodes);
    assert_non_null(nodes);
    for (int order = 0; order < 3; order++) {
        struct ferry__intervals tree = {0};
        for (uint64_t i = 0; i < COUNT; i++) {
            const uint64_t at = order == 0   ? i
                                : order == 1 ? COUNT - 1 - i
                                             : (i * UINT64_C(40503)) % COUNT;
            nodes[i] = (struct ferry__interval){.begin = 2 * at, .end = 2 * at + 1};
            ferry__interval_insert(&tree, &nodes[i]);
        }
        check_walk(&tree, COUNT);
        for (size_t i = 0; i < COUNT; i++)
            assert_true(depth_of(&nodes[i]) <= DEEPEST);
    }
    free(nodes);
}

static void ends_of_the_range(void **state)
{
    (void)state;
    struct ferry__intervals tree = {0};
    struct ferry__interval low = {.begin = 0, .end = 1},
                           high = {.begin = UINT64_MAX - 1, .end = UINT64_MAX};
    assert_null(ferry__interval_after(&tree, 0));
    assert_false(ferry__intervals_meet(&tree, 0, UINT64_MAX));
    ferry__interval_insert(&tree, &high);
    ferry__interval_insert(&tree, &low);
    assert_ptr_equal(ferry__interval_after(&tree, 0), &low);
    assert_ptr_equal(ferry__interval_after(&tree, 1), &high);
    assert_null(ferry__interval_after(&tree, UINT64_MAX));
    assert_false(ferry__intervals_meet(&tree, 1, UINT64_MAX - 1));
    assert_true(ferry__intervals_meet(&tree, 1, UINT64_MAX));
    ferry__interval_remove(&tree, &low);
    ferry__interval_remove(&tree, &high);
    assert_null(tree.root);
}

/* --- overlapping intervals, and stamps ----------------------------------------------------------- */

struct bag {
    struct ferry__intervals tree;
    struct ferry__interval nodes[UNIVERSE];
    bool in[UNIVERSE];
};

static bool has(const struct bag *bag, uint64_t begin, uint64_t end)
{
    for (size_t i = 0; i < UNIVERSE; i++)
        if (bag->in[i] && bag->nodes[i].begin == begin && bag->nodes[i].end == end)
            return true;
    return false;
}

static void check_meeting(struct bag *bag, struct ferry__meeting meeting)
{
    size_t expected = 0, seen = 0;
    for (size_t i = 0; i < UNIVERSE; i++)
        expected += bag->in[i] && bag->nodes[i].begin < meeting.end &&
                    bag->nodes[i].end > meeting.begin && bag->nodes[i].stamp > meeting.newer;
    const struct ferry__interval *last = NULL;
    for (struct ferry__interval *node = ferry__meeting_first(&meeting, &bag->tree); node;
         last = node, node = ferry__meeting_next(&meeting, node), seen++) {
        assert_true(node->begin < meeting.end && node->end > meeting.begin);
        assert_true(node->stamp > meeting.newer);
        assert_true(!last || last->begin < node->begin ||
                    (last->begin == node->begin && last->end < node->end));
    }
    assert_int_equal(seen, expected);
}

static void change(struct bag *bag, size_t i, uint64_t *seed, uint64_t stamp)
{
    struct ferry__interval *node = &bag->nodes[i];
    if (bag->in[i] && random_next(seed) % 3 == 0) {
        node->stamp = stamp;
        ferry__interval_changed(node);
    } else if (bag->in[i]) {
        assert_ptr_equal(ferry__interval_equal(&bag->tree, node->begin, node->end), node);
        ferry__interval_remove(&bag->tree, node);
        bag->in[i] = false;
        assert_null(ferry__interval_equal(&bag->tree, node->begin, node->end));
    } else {
        const uint64_t begin = random_next(seed) % UNIVERSE;
        const uint64_t end = begin + 1 + random_next(seed) % (UNIVERSE - begin);
        if (has(bag, begin, end))
            return;
        *node = (struct ferry__interval){.begin = begin, .end = end, .stamp = stamp};
        ferry__interval_insert(&bag->tree, node);
        bag->in[i] = true;
    }
}

static void meetings_follow_the_model(void **state)
{
    (void)state;
    struct bag bag = {0};
    uint64_t seed = 99;
    for (uint64_t stamp = 1; stamp < 20000; stamp++) {
        change(&bag, random_next(&seed) % UNIVERSE, &seed, stamp);
        const uint64_t begin = random_next(&seed) % UNIVERSE;
        check_meeting(&bag, (struct ferry__meeting){
                                .begin = begin,
                                .end = begin + 1 + random_next(&seed) % (UNIVERSE - begin),
                                .newer = random_next(&seed) % 2
                                             ? (stamp > 100 ? stamp - random_next(&seed) % 100 : 1)
                                             : 0});
    }
}

/* --- sets of bytes ------------------------------------------------------------------------------ */

static void check_set(const struct ferry__intervals *set, const bool *in)
{
    size_t runs = 0;
    for (size_t i = 0; i < UNIVERSE; i++)
        runs += in[i] && (i == 0 || !in[i - 1]);
    check_walk(set, runs); /* what touches is one */
    for (uint64_t begin = 0; begin < UNIVERSE; begin++) {
        bool meets = false;
        for (uint64_t end = begin + 1; end <= UNIVERSE; end++) {
            meets = meets || in[end - 1];
            assert_int_equal(ferry__intervals_meet(set, begin, end), meets);
        }
    }
}

static void sets_follow_the_model(void **state)
{
    (void)state;
    struct ferry__interval_pool pool = {0};
    uint64_t seed = 7;
    for (int round = 0; round < 300; round++) {
        struct ferry__intervals set = {0};
        bool in[UNIVERSE] = {false};
        const uint64_t longest = 1 + random_next(&seed) % 12;
        for (int step = 0; step < 12; step++) {
            const uint64_t begin = random_next(&seed) % UNIVERSE;
            uint64_t end = begin + 1 + random_next(&seed) % longest;
            end = end < UNIVERSE ? end : UNIVERSE;
            assert_true(ferry__intervals_add(&set, &pool, begin, end));
            memset(in + begin, true, end - begin);
            check_set(&set, in);
        }
        ferry__interval_pool_clear(&pool);
    }
    ferry__interval_pool_finish(&pool);
}

/* All sets of three intervals in a universe of 7 bytes. */
static void every_small_set(void **state)
{
    (void)state;
    enum { BYTES = 7, CHOICES = BYTES * (BYTES + 1) / 2 };
    uint64_t begins[CHOICES], ends[CHOICES];
    size_t choices = 0;
    for (uint64_t begin = 0; begin < BYTES; begin++)
        for (uint64_t end = begin + 1; end <= BYTES; end++, choices++)
            begins[choices] = begin, ends[choices] = end;
    assert_int_equal(choices, CHOICES);
    struct ferry__interval_pool pool = {0};
    for (size_t n = 0; n < CHOICES * CHOICES * CHOICES; n++) {
        const size_t picks[] = {n % CHOICES, n / CHOICES % CHOICES, n / CHOICES / CHOICES};
        struct ferry__intervals set = {0};
        bool in[UNIVERSE] = {false};
        for (size_t i = 0; i < 3; i++) {
            assert_true(ferry__intervals_add(&set, &pool, begins[picks[i]], ends[picks[i]]));
            memset(in + begins[picks[i]], true, ends[picks[i]] - begins[picks[i]]);
        }
        check_set(&set, in);
        ferry__interval_pool_clear(&pool);
    }
    ferry__interval_pool_finish(&pool);
}

/* Without memory nothing changes, and with memory again it goes on; what is joined needs none. */
static void no_memory(void **state)
{
    (void)state;
    struct ferry__interval_pool pool = {0};
    struct ferry__intervals set = {0};
    (void)ferry__alloc_fail_at(1);
    assert_false(ferry__intervals_add(&set, &pool, 4, 8));
    assert_null(set.root);
    uint64_t at = 0;
    bool failed = false;
    for (; at < 1000; at++) {
        (void)ferry__alloc_fail_at(at > 10);
        if (!ferry__intervals_add(&set, &pool, 4 * at, 4 * at + 1)) {
            failed = true;
            break;
        }
    }
    assert_true(failed);
    check_walk(&set, at);
    (void)ferry__alloc_fail_at(1);
    assert_true(ferry__intervals_add(&set, &pool, 0, 4 * at));
    (void)ferry__alloc_fail_at(0);
    check_walk(&set, 1);
    assert_true(ferry__intervals_add(&set, &pool, 8 * at, 8 * at + 1));
    check_walk(&set, 2);
    ferry__interval_pool_finish(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_follows_the_model),
        cmocka_unit_test(shallow_in_every_order),
        cmocka_unit_test(ends_of_the_range),
        cmocka_unit_test(meetings_follow_the_model),
        cmocka_unit_test(sets_follow_the_model),
        cmocka_unit_test(every_small_set),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests_name("interval", tests, NULL, NULL);
}
