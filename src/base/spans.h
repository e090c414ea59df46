/* Many ranges of bytes as one set: a sorted list of them, or, where that is smaller, a bit for each
 * granule of the bytes that they lie in. Not locked. */
#ifndef FERRY_BASE_SPANS_H
#define FERRY_BASE_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__span {
    uint64_t begin, end; /* end is not in it; begin < end */
};

struct ferry__spans {
    uint64_t begin, end; /* all lie within */
    size_t count;        /* of list */
    uint64_t *words;     /* NULL: list has them, in order; none touches the next */
    size_t word_count;
    uint64_t first; /* the granule of the first bit, a multiple of 64 */
    unsigned shift; /* of a granule */
    struct ferry__span *list;
    uint64_t memory[];
};

/* A set of those ranges (more than none, in any order, which it changes). NULL: no host memory. */
struct ferry__spans *ferry__spans_make(struct ferry__span *ranges, size_t count);

/* None yet, as a bitmap, for ranges within [begin, end), whose begins and ends, or'ed, are all.
 * NULL: no host memory, or it would have more than bits_max bits. */
struct ferry__spans *ferry__spans_bitmap(uint64_t begin, uint64_t end, uint64_t all,
                                         uint64_t bits_max);

/* Ones that lie over more than a word of a bitmap. */
bool ferry__spans_put_long(struct ferry__spans *spans, uint64_t at, uint64_t last);

/* A range more into a bitmap. False: some of it was there. */
static inline bool ferry__spans_put(struct ferry__spans *spans, uint64_t begin, uint64_t end)
{
    const uint64_t at = (begin >> spans->shift) - spans->first;
    const uint64_t count = (end >> spans->shift) - (begin >> spans->shift);
    if (at % 64 + count > 64 || !count)
        return ferry__spans_put_long(spans, at, at + count);
    uint64_t *word = &spans->words[at / 64];
    const uint64_t mask = UINT64_MAX >> (64 - count) << at % 64, before = *word;
    *word = before | mask;
    return !(before & mask);
}

/* At most so many bits has the bitmap of a set of count ranges that ferry__spans_make gives; 0: it
 * gives a list. */
uint64_t ferry__spans_dense(size_t count);

/* Of its ranges the first that ends after at, or what is left of it from at on. False: none does.
 * hint, 0 at first, goes with an at that only grows. */
bool ferry__spans_next(const struct ferry__spans *spans, uint64_t at, size_t *hint,
                       struct ferry__span *out);

/* Do they share a byte? */
bool ferry__spans_meet(const struct ferry__spans *a, const struct ferry__spans *b);
bool ferry__spans_meet_range(const struct ferry__spans *spans, uint64_t begin, uint64_t end);

/* So many steps it takes to go through all of it: a range of a list is one, or many words. */
static inline size_t ferry__spans_steps(const struct ferry__spans *spans)
{
    enum { WORDS_A_STEP = 16 };
    return spans->words ? spans->word_count / WORDS_A_STEP + 1 : spans->count;
}

/* The same bytes? False also where that would take long to find out. */
bool ferry__spans_equal(const struct ferry__spans *a, const struct ferry__spans *b);

/* Takes bytes out of spans that are in other ones, or in a range: all of them, or fewer where that
 * is not quickly done. False: nothing is left. */
bool ferry__spans_remove(struct ferry__spans *spans, const struct ferry__spans *other);
bool ferry__spans_remove_range(struct ferry__spans *spans, uint64_t begin, uint64_t end);

#endif
