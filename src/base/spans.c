#include "base/spans.h"

#include "base/alloc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    BITMAP_LEAST = 256, /* fewer ranges are a list */
    BITS_EACH = 64,     /* a bitmap has no more words than ranges, so that it is the smaller one */
    SORT_FEW = 256,     /* fewer are sorted in place */
    DIGIT = 11,         /* bits of a digit when sorting */
    GRANULE_MAX = 40,
};

/* --- making ----------------------------------------------------------------------------------- */

static bool is_sorted(const struct ferry__span *ranges, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (ranges[i].begin < ranges[i - 1].begin)
            return false;
    return true;
}

static void sort_few(struct ferry__span *ranges, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct ferry__span range = ranges[i];
        size_t at = i;
        for (; at && ranges[at - 1].begin > range.begin; at--)
            ranges[at] = ranges[at - 1];
        ranges[at] = range;
    }
}

/* By their begins less the lowest, digit by digit from the last on; digits that all share are left
 * out. False: no host memory. */
static bool sort_many(struct ferry__span *ranges, size_t count, uint64_t lowest, uint64_t varies)
{
    struct ferry__span *from = ranges, *to = ferry__alloc_unset(count * sizeof *to);
    struct ferry__span *other = to;
    if (!to)
        return false;
    for (unsigned shift = 0; shift < 64 && varies >> shift; shift += DIGIT) {
        uint32_t at[1 << DIGIT] = {0}, sum = 0;
        if (!(varies >> shift & ((1u << DIGIT) - 1)))
            continue;
        for (size_t i = 0; i < count; i++)
            at[(from[i].begin - lowest) >> shift & ((1u << DIGIT) - 1)]++;
        for (size_t digit = 0; digit < 1 << DIGIT; digit++) {
            const uint32_t here = at[digit];
            at[digit] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            to[at[(from[i].begin - lowest) >> shift & ((1u << DIGIT) - 1)]++] = from[i];
        struct ferry__span *swap = from;
        from = to;
        to = swap;
    }
    if (from != ranges)
        memcpy(ranges, from, count * sizeof *ranges);
    ferry__free(other);
    return true;
}

/* Of sorted ranges: what touches is one. */
static size_t merge(struct ferry__span *ranges, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!kept || ranges[kept - 1].end < ranges[i].begin)
            ranges[kept++] = ranges[i];
        else if (ranges[kept - 1].end < ranges[i].end)
            ranges[kept - 1].end = ranges[i].end;
    return kept;
}

static struct ferry__spans *make_list(struct ferry__span *ranges, size_t count, uint64_t lowest,
                                      uint64_t varies)
{
    if (!is_sorted(ranges, count)) {
        if (count <= SORT_FEW)
            sort_few(ranges, count);
        else if (!sort_many(ranges, count, lowest, varies))
            return NULL;
    }
    count = merge(ranges, count);
    struct ferry__spans *spans = ferry__alloc_unset(sizeof *spans + count * sizeof *ranges);
    if (!spans)
        return NULL;
    *spans =
        (struct ferry__spans){.count = count, .list = (struct ferry__span *)(void *)spans->memory};
    memcpy(spans->list, ranges, count * sizeof *ranges);
    return spans;
}

/* Bits from first on, of which there is at least one, of a word. */
static uint64_t bits(uint64_t first, uint64_t count)
{
    return (count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1) << first;
}

static void clear_bits(struct ferry__spans *spans, uint64_t at, uint64_t end)
{
    while (at < end) {
        const uint64_t room = 64 - at % 64, n = room < end - at ? room : end - at;
        spans->words[at / 64] &= ~bits(at % 64, n);
        at += n;
    }
}

struct ferry__spans *ferry__spans_bitmap(uint64_t begin, uint64_t end, uint64_t all,
                                         uint64_t bits_max)
{
    unsigned shift = all ? (unsigned)__builtin_ctzll(all) : GRANULE_MAX;
    shift = shift < GRANULE_MAX ? shift : GRANULE_MAX;
    if ((end - begin) >> shift > bits_max)
        return NULL;
    const uint64_t first = begin >> shift & ~UINT64_C(63);
    const size_t word_count = (size_t)(((end - 1) >> shift) - first) / 64 + 1;
    struct ferry__spans *spans = ferry__alloc(sizeof *spans + word_count * sizeof *spans->words);
    if (!spans)
        return NULL;
    *spans = (struct ferry__spans){.begin = begin,
                                   .end = end,
                                   .words = spans->memory,
                                   .word_count = word_count,
                                   .first = first,
                                   .shift = shift};
    return spans;
}

bool ferry__spans_put_long(struct ferry__spans *spans, uint64_t at, uint64_t last)
{
    uint64_t met = 0;
    while (at < last) {
        const uint64_t room = 64 - at % 64, n = room < last - at ? room : last - at;
        const uint64_t mask = bits(at % 64, n);
        met |= spans->words[at / 64] & mask;
        spans->words[at / 64] |= mask;
        at += n;
    }
    return !met;
}

uint64_t ferry__spans_dense(size_t count)
{
    return count > BITMAP_LEAST ? BITS_EACH * (uint64_t)count : 0;
}

struct ferry__spans *ferry__spans_make(struct ferry__span *ranges, size_t count)
{
    uint64_t begin = UINT64_MAX, end = 0, all = 0;
    for (size_t i = 0; i < count; i++) {
        begin = ranges[i].begin < begin ? ranges[i].begin : begin;
        end = ranges[i].end > end ? ranges[i].end : end;
        all |= ranges[i].begin | ranges[i].end;
    }
    struct ferry__spans *spans = ferry__spans_bitmap(begin, end, all, ferry__spans_dense(count));
    for (size_t i = 0; spans && i < count; i++)
        (void)ferry__spans_put(spans, ranges[i].begin, ranges[i].end);
    if (!spans && (spans = make_list(ranges, count, begin, end - begin))) {
        spans->begin = begin;
        spans->end = end;
    }
    return spans;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* The first bit from at on that is set, or is not. */
static uint64_t find_bit(const struct ferry__spans *spans, uint64_t at, bool set)
{
    const uint64_t end = (uint64_t)spans->word_count * 64, flip = set ? 0 : UINT64_MAX;
    while (at < end) {
        const uint64_t word = (spans->words[at / 64] ^ flip) >> at % 64;
        if (word)
            return at + (uint64_t)__builtin_ctzll(word);
        at += 64 - at % 64;
    }
    return end;
}

static bool next_in_bitmap(const struct ferry__spans *spans, uint64_t at, struct ferry__span *out)
{
    const uint64_t granule = at >> spans->shift;
    const uint64_t first =
        find_bit(spans, granule > spans->first ? granule - spans->first : 0, true);
    if (first == (uint64_t)spans->word_count * 64)
        return false;
    const uint64_t begin = (spans->first + first) << spans->shift;
    out->begin = begin < at ? at : begin;
    out->end = (spans->first + find_bit(spans, first, false)) << spans->shift;
    return true;
}

bool ferry__spans_next(const struct ferry__spans *spans, uint64_t at, size_t *hint,
                       struct ferry__span *out)
{
    if (spans->words)
        return next_in_bitmap(spans, at, out);
    /* Steps that double, then halves: near ones are found at once, far ones soon. */
    size_t low = *hint, step = 1;
    while (low + step < spans->count && spans->list[low + step].end <= at) {
        low += step;
        step *= 2;
    }
    size_t high = low + step < spans->count ? low + step : spans->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (spans->list[middle].end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    *hint = low;
    if (low == spans->count)
        return false;
    *out = spans->list[low];
    if (out->begin < at)
        out->begin = at;
    return true;
}

bool ferry__spans_meet_range(const struct ferry__spans *spans, uint64_t begin, uint64_t end)
{
    struct ferry__span span;
    size_t hint = 0;
    return begin < spans->end && end > spans->begin &&
           ferry__spans_next(spans, begin, &hint, &span) && span.begin < end;
}

/* Bitmaps of one granule lie word on word. */
static bool words_fit(const struct ferry__spans *a, const struct ferry__spans *b)
{
    return a->words && b->words && a->shift == b->shift;
}

struct overlap {
    size_t a, b, count; /* words */
};

static struct overlap words_overlap(const struct ferry__spans *a, const struct ferry__spans *b)
{
    const uint64_t a_first = a->first / 64, b_first = b->first / 64;
    const uint64_t first = a_first > b_first ? a_first : b_first;
    const uint64_t a_last = a_first + a->word_count, b_last = b_first + b->word_count;
    const uint64_t last = a_last < b_last ? a_last : b_last;
    return (struct overlap){.a = (size_t)(first - a_first),
                            .b = (size_t)(first - b_first),
                            .count = last > first ? (size_t)(last - first) : 0};
}

bool ferry__spans_meet(const struct ferry__spans *a, const struct ferry__spans *b)
{
    if (a->begin >= b->end || b->begin >= a->end)
        return false;
    if (words_fit(a, b)) {
        const struct overlap words = words_overlap(a, b);
        for (size_t i = 0; i < words.count; i++)
            if (a->words[words.a + i] & b->words[words.b + i])
                return true;
        return false;
    }
    struct ferry__span x, y;
    size_t a_hint = 0, b_hint = 0;
    for (uint64_t at = 0; ferry__spans_next(a, at, &a_hint, &x); at = y.begin) {
        if (!ferry__spans_next(b, x.begin, &b_hint, &y))
            return false;
        if (y.begin < x.end)
            return true;
    }
    return false;
}

bool ferry__spans_equal(const struct ferry__spans *a, const struct ferry__spans *b)
{
    if (a->begin != b->begin || a->end != b->end || !a->words != !b->words)
        return false;
    if (a->words)
        return words_fit(a, b) && a->word_count == b->word_count &&
               memcmp(a->words, b->words, a->word_count * sizeof *a->words) == 0;
    return a->count == b->count && memcmp(a->list, b->list, a->count * sizeof *a->list) == 0;
}

/* --- taking out ------------------------------------------------------------------------------- */

static bool any_bit(const struct ferry__spans *spans)
{
    return find_bit(spans, 0, true) < (uint64_t)spans->word_count * 64;
}

static bool remove_words(struct ferry__spans *spans, const struct ferry__spans *other)
{
    const struct overlap words = words_overlap(spans, other);
    for (size_t i = 0; i < words.count; i++)
        spans->words[words.a + i] &= ~other->words[words.b + i];
    return any_bit(spans);
}

/* Whole granules only. */
static void clear_range(struct ferry__spans *spans, uint64_t begin, uint64_t end)
{
    const uint64_t granule = (UINT64_C(1) << spans->shift) - 1;
    const uint64_t last = spans->first + (uint64_t)spans->word_count * 64;
    uint64_t from = (begin >> spans->shift) + !!(begin & granule), to = end >> spans->shift;
    from = from < spans->first ? spans->first : from;
    to = to > last ? last : to;
    if (from < to)
        clear_bits(spans, from - spans->first, to - spans->first);
}

/* Whole ranges only. */
static bool remove_from_list(struct ferry__spans *spans, const struct ferry__spans *other)
{
    struct ferry__span inner = {0, 0};
    size_t hint = 0, kept = 0;
    for (size_t i = 0; i < spans->count; i++) {
        const struct ferry__span span = spans->list[i];
        if (!ferry__spans_next(other, span.begin, &hint, &inner) || inner.begin > span.begin ||
            inner.end < span.end)
            spans->list[kept++] = span;
    }
    spans->count = kept;
    return kept;
}

bool ferry__spans_remove(struct ferry__spans *spans, const struct ferry__spans *other)
{
    struct ferry__span inner = {0, 0};
    size_t hint = 0;
    if (words_fit(spans, other))
        return remove_words(spans, other);
    if (!spans->words)
        return remove_from_list(spans, other);
    for (uint64_t at = spans->begin; ferry__spans_next(other, at, &hint, &inner); at = inner.end) {
        if (inner.begin >= spans->end)
            break;
        clear_range(spans, inner.begin, inner.end);
    }
    return any_bit(spans);
}

bool ferry__spans_remove_range(struct ferry__spans *spans, uint64_t begin, uint64_t end)
{
    struct ferry__span list[] = {{begin, end}};
    const struct ferry__spans range = {.begin = begin, .end = end, .count = 1, .list = list};
    if (!spans->words)
        return remove_from_list(spans, &range);
    clear_range(spans, begin, end);
    return any_bit(spans);
}
