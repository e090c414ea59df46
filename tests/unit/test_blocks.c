/* What is found out about a list of blocks, against an array with an entry for each unit of its
 * bytes: of one size and of many, in every way that they can lie. */
#include "base/base.h"
#include "base/spans.h"
#include "engine/blocks.h"
#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { UNITS = 6000, BLOCKS = 700, ROUNDS = 6000 };

static uint64_t seed = 88172645463325252u;

static uint64_t below(uint64_t limit)
{
    return random_next(&seed) % limit;
}

/* One list, in units; what is true of it. */
struct shape {
    struct ferry_block list[BLOCKS];
    size_t count;
    uint64_t unit, dst_base, src_base;
    bool native;
    unsigned char writes[2 * UNITS], reads[2 * UNITS]; /* how many blocks do */
};

enum layout { ANYWHERE, ASCENDING, SHUFFLED, LAYOUTS, BETWEEN };

/* Offsets for blocks of at most longest units: anywhere, or none of which touch; or with room for
 * another between each two. */
static void place(uint64_t *offsets, size_t count, uint64_t longest, enum layout layout)
{
    for (size_t i = 0; i < count; i++)
        offsets[i] = layout == ANYWHERE  ? below(UNITS - longest)
                     : layout == BETWEEN ? 2 * i * longest
                                         : i * longest;
    for (size_t i = count; layout >= SHUFFLED && i > 1; i--) {
        const size_t k = (size_t)below(i);
        const uint64_t swap = offsets[i - 1];
        offsets[i - 1] = offsets[k];
        offsets[k] = swap;
    }
}

static void make(struct shape *shape)
{
    static const uint64_t units[] = {1, 4, 48, 4096};
    static uint64_t dst[BLOCKS], src[BLOCKS];
    const uint64_t longest = 1 + below(below(2) ? 3 : 130);
    const uint64_t most = UNITS / 2 / longest < BLOCKS ? UNITS / 2 / longest : BLOCKS;
    const bool equal = below(2), one_ahead = below(3) == 0;
    const uint64_t empty = below(4) ? 0 : 5, stay = below(4) ? 0 : 9;
    *shape = (struct shape){.count = 1 + (size_t)below(most), .unit = units[below(4)]};
    shape->native = below(2);
    if (shape->native && below(2)) {
        shape->dst_base = below(100);
        shape->src_base = below(2) ? shape->dst_base : below(100);
    }
    const bool between = below(3) == 0;
    place(dst, shape->count, longest, between ? BETWEEN : (enum layout)below(LAYOUTS));
    place(src, shape->count, longest, between ? BETWEEN : (enum layout)below(LAYOUTS));
    for (size_t i = 0; i < shape->count; i++) {
        const uint64_t size = empty && !below(empty) ? 0 : equal ? longest : 1 + below(longest);
        const uint64_t at = stay && !below(stay) ? dst[i] : src[i];
        const uint64_t from = between ? at + longest : one_ahead ? at + UNITS / 2 - 1 : at;
        shape->list[i] = (struct ferry_block){(size_t)dst[i], (size_t)from, (size_t)size};
    }
}

/* Does it stay where it is, so that it does nothing? */
static bool stays(const struct shape *shape, const struct ferry_block *block)
{
    return shape->native &&
           shape->dst_base + block->dst_offset == shape->src_base + block->src_offset;
}

static bool are_apart(struct shape *shape)
{
    bool apart = true;
    for (size_t i = 0; i < shape->count; i++) {
        const struct ferry_block *block = &shape->list[i];
        for (size_t k = 0; k < block->size && !stays(shape, block); k++) {
            shape->writes[shape->dst_base + block->dst_offset + k]++;
            shape->reads[shape->src_base + block->src_offset + k] = 1;
        }
    }
    for (size_t i = 0; i < sizeof shape->writes; i++)
        apart &= shape->writes[i] < 2 && !(shape->native && shape->writes[i] && shape->reads[i]);
    return apart;
}

/* In bytes. */
static struct ferry__blocks scale(struct shape *shape)
{
    for (size_t i = 0; i < shape->count; i++) {
        shape->list[i].dst_offset *= shape->unit;
        shape->list[i].src_offset *= shape->unit;
        shape->list[i].size *= shape->unit;
    }
    return (struct ferry__blocks){.count = shape->count, .list = shape->list};
}

static void check_measures(const struct ferry__blocks *blocks, uint64_t total)
{
    uint64_t begin = UINT64_MAX, end = 0, sum = 0, all = 0, each = 0;
    bool ascends = true, equal = true;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct ferry_block block = blocks->list[i];
        sum += block.size;
        equal &= block.size && block.size == blocks->list[0].size;
        if (!block.size)
            continue;
        each = block.size;
        ascends &= block.dst_offset >= end;
        all |= block.dst_offset | block.size;
        begin = block.dst_offset < begin ? block.dst_offset : begin;
        end = block.dst_offset + block.size > end ? block.dst_offset + block.size : end;
    }
    assert_int_equal(total, sum);
    assert_int_equal(blocks->dst_begin, sum ? begin : 0);
    assert_int_equal(blocks->dst_end, end);
    assert_int_equal(blocks->dst_all, all);
    assert_int_equal(blocks->dst_ascends, ascends);
    assert_int_equal(blocks->size_each, equal ? each : 0);
}

/* What was noted on the way is a whole side, no more and no less. */
static void check_noted(const struct shape *shape, const struct ferry__spans *spans, bool dst)
{
    static unsigned char touched[2 * UNITS], noted[2 * UNITS];
    struct ferry__span span;
    size_t hint = 0;
    if (!spans)
        return;
    memset(touched, 0, sizeof touched);
    memset(noted, 0, sizeof noted);
    for (size_t i = 0; i < shape->count; i++) {
        const struct ferry_block *block = &shape->list[i];
        const size_t offset = dst ? block->dst_offset : block->src_offset;
        memset(touched + offset / shape->unit, 1, block->size / shape->unit);
    }
    for (uint64_t at = 0; ferry__spans_next(spans, at, &hint, &span); at = span.end)
        memset(noted + span.begin / shape->unit, 1, (span.end - span.begin) / shape->unit);
    assert_memory_equal(touched, noted, sizeof noted);
}

static void test_lists(void **state)
{
    static struct shape shape;
    unsigned answers[2][2] = {{0}}, noted[2] = {0};
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        make(&shape);
        const bool apart = are_apart(&shape);
        struct ferry__blocks blocks = scale(&shape);
        check_measures(&blocks, ferry__blocks_measure(&blocks));
        assert_int_equal(ferry__blocks_are_apart(&blocks, shape.native, shape.dst_base * shape.unit,
                                                 shape.src_base * shape.unit),
                         apart);
        answers[shape.native][apart]++;
        noted[0] += blocks.written != NULL;
        noted[1] += blocks.read != NULL;
        check_noted(&shape, blocks.written, true);
        check_noted(&shape, blocks.read, false);
        ferry__free(blocks.written);
        ferry__free(blocks.read);
    }
    for (unsigned i = 0; i < 2; i++)
        assert_true(answers[i][0] > ROUNDS / 50 && answers[i][1] > ROUNDS / 50 && noted[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
