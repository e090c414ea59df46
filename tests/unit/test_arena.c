/* The offset allocator against a plain model that keeps one owner for each granule. */
#include "base/base.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GRANULE = FERRY_BUFFER_ALIGNMENT };

struct range {
    uint64_t offset, granules;
    void *handle;
};

static struct range take(struct ferry__arena *arena, uint64_t size)
{
    struct range range = {.granules = (size + GRANULE - 1) / GRANULE};
    assert_true(ferry__arena_take(arena, size, &range.offset, &range.handle));
    assert_int_equal(range.offset % GRANULE, 0);
    return range;
}

static bool fails(struct ferry__arena *arena, uint64_t size)
{
    uint64_t offset = 77;
    void *handle = &offset;
    bool taken = ferry__arena_take(arena, size, &offset, &handle);
    assert_true(taken || (offset == 77 && handle == &offset)); /* no outputs on failure */
    return !taken;
}

static void whole_block(void **state)
{
    (void)state;
    /* Sizes at and beside the borders of the size classes. */
    static const uint64_t granules[] = {1, 2, 15, 16, 17, 31, 32, 33, 34, 100, 4095, 4097, 262144};
    for (size_t i = 0; i < sizeof granules / sizeof *granules; i++) {
        uint64_t size = granules[i] * GRANULE;
        struct ferry__arena *arena = ferry__arena_create(size + GRANULE - 1); /* the rest is lost */
        assert_non_null(arena);
        assert_true(fails(arena, size + 1));
        struct range all = take(arena, size);
        assert_int_equal(all.offset, 0);
        assert_int_equal(ferry__arena_used(arena), size);
        assert_true(fails(arena, 1));
        ferry__arena_give(arena, all.handle);
        assert_int_equal(ferry__arena_used(arena), 0);
        all = take(arena, size - GRANULE + 1); /* rounded up to all of it */
        assert_true(fails(arena, 1));
        ferry__arena_give(arena, all.handle);
        ferry__arena_destroy(arena);
    }
}

static void no_room(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, GRANULE - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ferry__arena *arena = ferry__arena_create(sizes[i]);
        assert_non_null(arena);
        assert_true(fails(arena, 1));
        assert_true(fails(arena, UINT64_MAX));
        assert_int_equal(ferry__arena_used(arena), 0);
        ferry__arena_destroy(arena);
    }
    ferry__arena_destroy(NULL);
}

static void huge(void **state)
{
    (void)state;
    const uint64_t half = UINT64_C(1) << 62, all = UINT64_C(1) << 63;
    struct ferry__arena *arena = ferry__arena_create(all);
    assert_non_null(arena);
    assert_true(fails(arena, UINT64_MAX));
    assert_true(fails(arena, UINT64_MAX - GRANULE));
    assert_true(fails(arena, all + 1));
    struct range low = take(arena, half), high = take(arena, half - 5);
    assert_int_equal(low.offset + high.offset, half);
    assert_int_equal(ferry__arena_used(arena), all);
    assert_true(fails(arena, 1));
    ferry__arena_give(arena, low.handle);
    ferry__arena_give(arena, high.handle);
    low = take(arena, all);
    ferry__arena_give(arena, low.handle);
    ferry__arena_destroy(arena);
}

/* Three neighbours given in every order: the block must be whole again each time. */
static void coalesces(void **state)
{
    (void)state;
    static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                          {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct ferry__arena *arena = ferry__arena_create(100 * GRANULE);
    assert_non_null(arena);
    for (unsigned i = 0; i < 6; i++) {
        struct range ranges[3] = {take(arena, 10 * GRANULE), take(arena, 33 * GRANULE),
                                  take(arena, 57 * GRANULE)};
        for (unsigned n = 0; n < 3; n++)
            ferry__arena_give(arena, ranges[orders[i][n]].handle);
        struct range all = take(arena, 100 * GRANULE);
        ferry__arena_give(arena, all.handle);
    }
    ferry__arena_destroy(arena);
}

/* A hole of the size asked for is used before a large range is cut. */
static void good_fit(void **state)
{
    (void)state;
    struct ferry__arena *arena = ferry__arena_create(10000 * GRANULE);
    assert_non_null(arena);
    struct range hole = take(arena, 36 * GRANULE);
    struct range fence = take(arena, GRANULE);
    struct range larger = take(arena, 37 * GRANULE); /* the same size class */
    struct range end = take(arena, GRANULE);
    ferry__arena_give(arena, hole.handle);
    ferry__arena_give(arena, larger.handle);
    struct range again = take(arena, 36 * GRANULE);
    assert_int_equal(again.offset, hole.offset);
    struct range again_larger = take(arena, 37 * GRANULE);
    assert_int_equal(again_larger.offset, larger.offset);
    (void)fence;
    (void)end;
    ferry__arena_destroy(arena); /* with ranges handed out */
}

static void allocation_failures(void **state)
{
    (void)state;
    ferry__alloc_fail_at(1);
    assert_null(ferry__arena_create(1 << 20));
    struct ferry__arena *arena = ferry__arena_create(1000 * GRANULE);
    assert_non_null(arena);
    struct range ranges[1000];
    unsigned failures = 0;
    for (unsigned i = 0; i < 1000; i++) {
        ferry__alloc_fail_at(1);
        uint64_t offset;
        if (ferry__arena_take(arena, GRANULE, &offset, &ranges[i].handle))
            continue;
        failures++;
        assert_int_equal(ferry__arena_used(arena), (uint64_t)i * GRANULE); /* nothing changed */
        ranges[i] = take(arena, GRANULE);
    }
    assert_true(failures > 0);
    assert_true(fails(arena, 1));
    ferry__alloc_fail_at(0);
    for (unsigned i = 0; i < 1000; i++)
        ferry__arena_give(arena, ranges[i * 7 % 1000].handle);
    assert_int_equal(ferry__alloc_fail_at(0), 0); /* giving does not allocate */
    struct range all = take(arena, 1000 * GRANULE);
    (void)all;
    ferry__arena_destroy(arena);
}

/* --- random ----------------------------------------------------------------------------------- */

enum { BLOCK = 3000, LIVE_MAX = 400, STEPS = 60000 };

struct model {
    uint16_t owner[BLOCK]; /* 0: free */
    struct range live[LIVE_MAX];
    unsigned live_count;
    uint64_t used, random;
};

static uint32_t random_below(struct model *model, uint32_t limit)
{
    model->random = model->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((model->random >> 33) % limit);
}

static uint64_t longest_hole(const struct model *model)
{
    uint64_t longest = 0, run = 0;
    for (unsigned i = 0; i < BLOCK; i++) {
        run = model->owner[i] == 0 ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void model_set(struct model *model, const struct range *range, uint16_t from, uint16_t to)
{
    assert_true(range->offset / GRANULE + range->granules <= BLOCK);
    for (uint64_t i = 0; i < range->granules; i++) {
        uint16_t *owner = &model->owner[range->offset / GRANULE + i];
        assert_int_equal(*owner, from);
        *owner = to;
    }
}

static void step_take(struct model *model, struct ferry__arena *arena)
{
    static const uint32_t limits[] = {2, 16, 64, 700};
    struct range range = {.granules = 1 + random_below(model, limits[random_below(model, 4)])};
    uint64_t size = range.granules * GRANULE - random_below(model, GRANULE);
    if (ferry__arena_take(arena, size, &range.offset, &range.handle)) {
        model_set(model, &range, 0, 1);
        model->used += range.granules;
        model->live[model->live_count++] = range;
    } else {
        /* A hole that is larger by a size class (a sixteenth) would have been found. */
        uint64_t found_for_sure = range.granules + range.granules / 16 + 1;
        assert_true(longest_hole(model) < found_for_sure);
    }
}

static void step_give(struct model *model, struct ferry__arena *arena)
{
    unsigned i = random_below(model, model->live_count);
    struct range range = model->live[i];
    model->live[i] = model->live[--model->live_count];
    model_set(model, &range, 1, 0);
    model->used -= range.granules;
    ferry__arena_give(arena, range.handle);
}

static void random_against_model(void **state)
{
    (void)state;
    static struct model model;
    model.random = 1;
    struct ferry__arena *arena = ferry__arena_create(BLOCK * GRANULE);
    assert_non_null(arena);
    for (unsigned i = 0; i < STEPS; i++) {
        /* Phases of filling and of emptying, so that both ends are reached. */
        bool filling = i / 500 % 2 == 0;
        bool taking = random_below(&model, 8) < (filling ? 6u : 2u);
        if (model.live_count < LIVE_MAX && (taking || model.live_count == 0))
            step_take(&model, arena);
        else
            step_give(&model, arena);
        assert_int_equal(ferry__arena_used(arena), model.used * GRANULE);
    }
    while (model.live_count > 0)
        step_give(&model, arena);
    assert_int_equal(ferry__arena_used(arena), 0);
    struct range all = take(arena, BLOCK * GRANULE);
    assert_int_equal(all.offset, 0);
    ferry__arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_block),
        cmocka_unit_test(no_room),
        cmocka_unit_test(huge),
        cmocka_unit_test(coalesces),
        cmocka_unit_test(good_fit),
        cmocka_unit_test(allocation_failures),
        cmocka_unit_test(random_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
