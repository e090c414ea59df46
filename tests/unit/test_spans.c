/* Sets of ranges against an array with an entry for each byte, as lists and as bitmaps. */
#include "base/base.h"
#include "base/spans.h"
#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { UNITS = 4096, RANGES = 1200 };

static uint64_t seed = 88172645463325252u;

static uint64_t below(uint64_t limit)
{
    return random_next(&seed) % limit;
}

struct set {
    unsigned char has[UNITS];
    struct ferry__spans *spans;
};

struct shape {
    size_t count;
    uint64_t longest, unit;
    bool sorted;
};

static int by_begin(const void *a, const void *b)
{
    const uint64_t x = ((const struct ferry__span *)a)->begin;
    const uint64_t y = ((const struct ferry__span *)b)->begin;
    return (x > y) - (x < y);
}

static struct set make(const struct shape *shape)
{
    static struct ferry__span ranges[RANGES];
    struct set set = {{0}, NULL};
    for (size_t i = 0; i < shape->count; i++) {
        const uint64_t begin = below(UNITS), size = 1 + below(shape->longest);
        const uint64_t end = begin + size < UNITS ? begin + size : UNITS;
        memset(set.has + begin, 1, end - begin);
        ranges[i] = (struct ferry__span){begin * shape->unit, end * shape->unit};
    }
    if (shape->sorted)
        qsort(ranges, shape->count, sizeof *ranges, by_begin);
    set.spans = ferry__spans_make(ranges, shape->count);
    assert_non_null(set.spans);
    return set;
}

/* unit: of the bytes. What is in the set is what it was made of. */
static void check_next(const struct set *set, uint64_t unit)
{
    size_t hint = 0;
    struct ferry__span span;
    uint64_t at = 0;
    unsigned char seen[UNITS] = {0};
    while (ferry__spans_next(set->spans, at, &hint, &span)) {
        assert_true(span.begin < span.end && span.begin >= at);
        memset(seen + span.begin / unit, 1, (span.end - span.begin) / unit);
        at = span.end;
    }
    assert_memory_equal(seen, set->has, UNITS);
}

static void check_meet(const struct set *a, const struct set *b)
{
    bool meet = false;
    for (size_t i = 0; i < UNITS; i++)
        meet |= a->has[i] && b->has[i];
    assert_int_equal(ferry__spans_meet(a->spans, b->spans), meet);
    assert_int_equal(ferry__spans_meet(b->spans, a->spans), meet);
}

static void check_range(const struct set *set, uint64_t unit)
{
    const uint64_t first = below(UNITS), size = 1 + below(8);
    const uint64_t end = first + size < UNITS ? first + size : UNITS;
    bool meet = false;
    for (uint64_t i = first; i < end; i++)
        meet |= set->has[i];
    /* Also where only a part of a unit is asked for. */
    const uint64_t from = first * unit + (unit > 1 ? below(unit - 1) : 0);
    assert_int_equal(ferry__spans_meet_range(set->spans, from, end * unit), meet);
}

/* What is left holds all that the other one has not, and nothing new; what is removed whole is
 * gone. */
static void check_remove(struct set *set, const struct set *other, uint64_t unit)
{
    const bool bitmaps = set->spans->words && other->spans->words;
    const bool left = ferry__spans_remove(set->spans, other->spans);
    size_t hint = 0, must = 0, found = 0;
    struct ferry__span span;
    for (uint64_t at = 0; left && ferry__spans_next(set->spans, at, &hint, &span); at = span.end)
        for (uint64_t i = span.begin / unit; i < span.end / unit; i++) {
            assert_true(set->has[i]);
            assert_true(!bitmaps || !other->has[i]);
            found += !other->has[i];
        }
    for (size_t i = 0; i < UNITS; i++)
        must += set->has[i] && !other->has[i];
    assert_int_equal(found, must);
    assert_true(left || !must);
}

static void follow_the_array(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {1, 1, 1, false},    {20, 3, 1, false},        {17, 300, 4096, true}, {257, 1, 1, false},
        {300, 2, 48, true},  {RANGES, 1, 4096, false}, {RANGES, 9, 1, false}, {400, 1, 1024, true},
        {200, 40, 3, false}, {RANGES, 1, 997, true},
    };
    const size_t count = sizeof shapes / sizeof *shapes;
    for (size_t round = 0; round < 20; round++)
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < count; k++) {
                struct shape second = shapes[k];
                second.unit = shapes[i].unit;
                struct set a = make(&shapes[i]), b = make(&second);
                check_next(&a, shapes[i].unit);
                check_meet(&a, &b);
                check_range(&a, shapes[i].unit);
                assert_true(ferry__spans_equal(a.spans, a.spans));
                check_remove(&a, &b, shapes[i].unit);
                free(a.spans);
                free(b.spans);
            }
}

/* Spread too wide for a bitmap, or of sizes with nothing in common: a list, sorted by digits. */
static void wide_ones_are_lists(void **state)
{
    (void)state;
    static struct ferry__span ranges[RANGES];
    for (size_t i = 0; i < RANGES; i++) {
        const uint64_t begin = (uint64_t)((i * 7919) % RANGES) << 36 | 5;
        ranges[i] = (struct ferry__span){begin, begin + 3};
    }
    struct ferry__spans *spans = ferry__spans_make(ranges, RANGES);
    assert_non_null(spans);
    assert_null(spans->words);
    assert_int_equal(spans->count, RANGES);
    for (size_t i = 0; i < RANGES; i++)
        assert_true(spans->list[i].begin == ((uint64_t)i << 36 | 5));
    assert_true(ferry__spans_meet_range(spans, (UINT64_C(9) << 36) + 7, UINT64_C(10) << 36));
    assert_false(ferry__spans_meet_range(spans, (UINT64_C(9) << 36) + 8, UINT64_C(10) << 36 | 5));
    free(spans);
}

/* Of two granules, and two lists that interleave. */
static void granules_differ(void **state)
{
    (void)state;
    static struct ferry__span even[RANGES], odd[RANGES], fine[RANGES];
    for (size_t i = 0; i < RANGES; i++) {
        even[i] = (struct ferry__span){8192 * i, 8192 * i + 4096};
        odd[i] = (struct ferry__span){8192 * i + 4096, 8192 * i + 8192};
        fine[i] = (struct ferry__span){8192 * i + 4096, 8192 * i + 4160};
    }
    struct ferry__spans *a = ferry__spans_make(even, RANGES), *b = ferry__spans_make(odd, RANGES);
    struct ferry__spans *c = ferry__spans_make(fine, RANGES);
    assert_true(a && b && c && a->words && b->words);
    assert_false(ferry__spans_meet(a, b));
    assert_false(ferry__spans_meet(a, c));
    assert_true(ferry__spans_meet(b, c));
    assert_true(ferry__spans_meet(c, b));
    assert_true(ferry__spans_remove(b, a));
    assert_false(ferry__spans_remove(b, b));
    free(a);
    free(b);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follow_the_array),
        cmocka_unit_test(wide_ones_are_lists),
        cmocka_unit_test(granules_differ),
    };
    return cmocka_run_group_tests_name("spans", tests, NULL, NULL);
}
