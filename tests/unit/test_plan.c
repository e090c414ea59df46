/* The planner, asked about every small case: what it answers is carried out on a model. */
#include "base/range.h"
#include "paths/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { AREA = 768, SCRATCH = 48 };

static const uint32_t alignments[] = {1, 2, 4, 8, 16};
enum { ALIGNMENTS = sizeof alignments / sizeof alignments[0] };

/* Asks about many: cheaper than cmocka's own, and names the case. */
#define HOLDS(condition, text, ...)                         \
    do {                                                    \
        if (!(condition))                                   \
            fail_msg("%s: " text, #condition, __VA_ARGS__); \
    } while (0)

struct copy {
    struct ferry__limits limits;
    uint64_t dst, src, size;
};

#define COPY_TEXT "align %u kernel %d from %llu, %llu bytes from %llu to %llu"
#define COPY_WORDS(c)                                                                    \
    (c)->limits.copy_alignment, (c)->limits.has_kernel,                                  \
        (unsigned long long)(c)->limits.kernel_copy_from, (unsigned long long)(c)->size, \
        (unsigned long long)(c)->src, (unsigned long long)(c)->dst

/* --- arithmetic -------------------------------------------------------------------------------- */

static void ranges(void **state)
{
    (void)state;
    enum { MOST = 6 };
    for (uint64_t a = 0; a < MOST; a++)
        for (uint64_t n = 0; n < MOST; n++)
            for (uint64_t b = 0; b < MOST; b++) {
                assert_int_equal(ferry__in_range(a, n, b), a + n <= b);
                for (uint64_t m = 0; m < MOST; m++) {
                    bool shares = false;
                    for (uint64_t at = a; at < a + n; at++)
                        shares |= at >= b && at < b + m;
                    assert_int_equal(ferry__overlap(a, n, b, m), shares);
                }
            }
    assert_false(ferry__in_range(1, UINT64_MAX, UINT64_MAX)); /* their sum wraps to 0 */
    assert_false(ferry__in_range(UINT64_MAX, 2, UINT64_MAX));
    assert_true(ferry__in_range(UINT64_MAX, 0, UINT64_MAX));
    assert_true(ferry__overlap(UINT64_MAX - 1, 1, UINT64_MAX - 3, 3));
    assert_false(ferry__overlap(0, 4, UINT64_MAX, 1));
}

static void rounding(void **state)
{
    (void)state;
    for (size_t i = 0; i < ALIGNMENTS; i++)
        for (uint64_t n = 0; n < 100; n++) {
            const uint64_t align = alignments[i];
            const uint64_t up = ferry__round_up(n, align), down = ferry__round_down(n, align);
            assert_true(up >= n && up - n < align && up % align == 0);
            assert_true(down <= n && n - down < align && down % align == 0);
        }
}

/* --- copies ------------------------------------------------------------------------------------ */

/* Spans lie end to end, are within their engine's rules, and are missing only where they must. */
static void check_spans(const struct copy *c)
{
    struct ferry__span spans[3];
    const uint64_t align = c->limits.copy_alignment;
    const bool aligned = c->dst % align == 0 && c->src % align == 0 && c->size % align == 0;
    const size_t count = ferry__plan_copy_spans(&c->limits, c->dst, c->src, c->size, spans);
    HOLDS(count <= 3 && (count > 0) == (aligned || c->limits.has_kernel), COPY_TEXT, COPY_WORDS(c));
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        HOLDS(spans[i].at == at && spans[i].size > 0, COPY_TEXT, COPY_WORDS(c));
        at += spans[i].size;
        if (spans[i].engine == FERRY__ENGINE_KERNEL) {
            HOLDS(c->limits.has_kernel, COPY_TEXT, COPY_WORDS(c));
            continue;
        }
        HOLDS((c->dst + spans[i].at) % align == 0 && (c->src + spans[i].at) % align == 0 &&
                  spans[i].size % align == 0,
              COPY_TEXT, COPY_WORDS(c));
    }
    HOLDS(!count || at == c->size, COPY_TEXT, COPY_WORDS(c));
}

static void set_byte_names(unsigned char *bytes)
{
    for (size_t i = 0; i < AREA; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 256);
}

/* One piece, as the engine does it: in one command, or through memory of its own. */
static void move_piece(const struct copy *c, unsigned char *area, struct ferry__piece piece,
                       enum ferry__way way)
{
    unsigned char scratch[AREA];
    struct ferry__span spans[3];
    const uint64_t to = c->dst + piece.at, from = c->src + piece.at;
    if (way == FERRY__WAY_PIECES) {
        HOLDS(!ferry__overlap(to, piece.size, from, piece.size), COPY_TEXT, COPY_WORDS(c));
        HOLDS(ferry__plan_copy_spans(&c->limits, to, from, piece.size, spans), COPY_TEXT,
              COPY_WORDS(c));
    } else if (way == FERRY__WAY_SCRATCH) {
        HOLDS(ferry__plan_copy_spans(&c->limits, 0, from, piece.size, spans), COPY_TEXT,
              COPY_WORDS(c));
        HOLDS(ferry__plan_copy_spans(&c->limits, to, 0, piece.size, spans), COPY_TEXT,
              COPY_WORDS(c));
    }
    memcpy(scratch, area + from, piece.size);
    memcpy(area + to, scratch, piece.size);
}

/* Every byte once, none outside, no byte read after it was overwritten: as memmove. */
static void check_pieces(const struct copy *c, enum ferry__way way, uint64_t most)
{
    unsigned char area[AREA], want[AREA];
    unsigned char seen[AREA] = {0};
    unsigned pieces = 0;
    set_byte_names(area);
    memcpy(want, area, AREA);
    memmove(want + c->dst, want + c->src, c->size);
    for (uint64_t done = 0; done < c->size; pieces++) {
        const struct ferry__piece piece =
            ferry__plan_piece(&c->limits, c->dst, c->src, c->size, done, most);
        HOLDS(piece.size > 0 && piece.size <= most && piece.at <= c->size &&
                  piece.size <= c->size - piece.at,
              COPY_TEXT, COPY_WORDS(c));
        HOLDS(piece.at == (c->dst < c->src ? done : c->size - done - piece.size), COPY_TEXT,
              COPY_WORDS(c));
        for (uint64_t i = 0; i < piece.size; i++)
            HOLDS(!seen[piece.at + i]++, COPY_TEXT, COPY_WORDS(c));
        move_piece(c, area, piece, way);
        done += piece.size;
    }
    HOLDS(memcmp(area, want, AREA) == 0, COPY_TEXT, COPY_WORDS(c));
    if (way == FERRY__WAY_PIECES) /* rounding may halve them, and the last is what is left */
        HOLDS(pieces <= 2 * FERRY__PIECES_MAX + 2, "%u pieces: " COPY_TEXT, pieces, COPY_WORDS(c));
}

static void check_way(const struct copy *c, unsigned *ways)
{
    struct ferry__span spans[3];
    const bool any = ferry__plan_copy_spans(&c->limits, c->dst, c->src, c->size, spans) > 0;
    const enum ferry__way apart = ferry__plan_copy(&c->limits, c->dst, c->src, c->size, false);
    HOLDS(apart == (any ? FERRY__WAY_COMMANDS : FERRY__WAY_RMW), COPY_TEXT, COPY_WORDS(c));
    if (c->dst == c->src) /* nothing to do in one memory: nobody asks */
        return;
    const enum ferry__way way = ferry__plan_copy(&c->limits, c->dst, c->src, c->size, true);
    const uint64_t shift = c->dst < c->src ? c->src - c->dst : c->dst - c->src;
    ways[way]++;
    HOLDS((way == FERRY__WAY_RMW) == !any, COPY_TEXT, COPY_WORDS(c));
    HOLDS(way != FERRY__WAY_COMMANDS || shift >= c->size, COPY_TEXT, COPY_WORDS(c));
    if (way == FERRY__WAY_PIECES)
        check_pieces(c, way, shift);
    else if (way != FERRY__WAY_COMMANDS)
        check_pieces(c, way, SCRATCH);
}

static const uint64_t copy_sizes[] = {1,   2,   3,   4,   5,   7,   8,   9,   15,  16,  17,  24,
                                      31,  32,  33,  48,  63,  64,  65,  127, 128, 129, 191, 192,
                                      193, 255, 256, 257, 319, 320, 321, 448, 511, 512};
enum { COPY_SIZES = sizeof copy_sizes / sizeof copy_sizes[0] };

static void every_offset(struct copy *c, unsigned *ways)
{
    const uint64_t most = 2 * c->limits.copy_alignment + 3;
    for (size_t s = 0; s < COPY_SIZES; s++)
        for (c->dst = 0; c->dst <= most; c->dst++)
            for (c->src = 0; c->src <= most; c->src++) {
                c->size = copy_sizes[s];
                check_spans(c);
                check_way(c, ways);
            }
}

static void copies(void **state)
{
    (void)state;
    unsigned ways[FERRY__WAY_COUNT] = {0};
    static const uint64_t kernel_from[] = {0, 32};
    for (size_t i = 0; i < ALIGNMENTS; i++) {
        struct copy c = {.limits = {.copy_alignment = alignments[i], .max_copy = UINT64_MAX}};
        every_offset(&c, ways);
        c.limits.has_kernel = true;
        for (size_t k = 0; k < 2; k++) {
            c.limits.kernel_copy_from = kernel_from[k];
            every_offset(&c, ways);
        }
    }
    for (int way = 0; way < FERRY__WAY_COUNT; way++) /* every answer was given, and no other */
        assert_int_equal(ways[way] > 0, way != FERRY__WAY_NOTHING && way != FERRY__WAY_TILE &&
                                            way != FERRY__WAY_EACH && way != FERRY__WAY_LIST);
}

/* From some size on an unaligned copy is a copy command with kernels at its ends. */
static void copies_with_ends(void **state)
{
    (void)state;
    bool three = false;
    for (size_t i = 0; i < ALIGNMENTS; i++)
        for (uint64_t offset = 0; offset < 40; offset++)
            for (uint64_t size = 65536 - 20; size < 65536 + 40; size++) {
                const struct copy c = {{.copy_alignment = alignments[i], .has_kernel = true},
                                       offset,
                                       offset + 64,
                                       size};
                struct ferry__span spans[3];
                check_spans(&c);
                three |= ferry__plan_copy_spans(&c.limits, c.dst, c.src, size, spans) == 3;
            }
    assert_true(three);
}

static void copies_above_4_gib(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 40) + 5};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (uint64_t offset = 0; offset < 6; offset++) {
            struct copy c = {{.copy_alignment = 4, .has_kernel = true}, offset, offset, sizes[s]};
            check_spans(&c);
            c.src = c.dst + sizes[s] / 2;
            assert_int_equal(ferry__plan_copy(&c.limits, c.dst, c.src, c.size, true),
                             FERRY__WAY_PIECES);
            c.src = c.dst + 4;
            assert_int_equal(ferry__plan_copy(&c.limits, c.dst, c.src, c.size, true),
                             FERRY__WAY_SCRATCH);
        }
}

/* --- fills ------------------------------------------------------------------------------------- */

struct fill {
    struct ferry__limits limits;
    uint64_t offset, size;
    unsigned period;
};

#define FILL_TEXT "copy align %u fill align %u pattern %u kernel %d: %llu bytes at %llu of %u"
#define FILL_WORDS(f)                                                                           \
    (f)->limits.copy_alignment, (f)->limits.fill_alignment, (f)->limits.fill_pattern,           \
        (f)->limits.has_kernel, (unsigned long long)(f)->size, (unsigned long long)(f)->offset, \
        (f)->period

static void check_fill_span(const struct fill *f, const struct ferry__fill_span *part)
{
    const struct ferry__span *span = &part->span;
    struct ferry__span copy[3];
    const uint64_t begin = f->offset + span->at;
    if (part->tile) {
        HOLDS(span->size < f->limits.fill_alignment, FILL_TEXT, FILL_WORDS(f));
        HOLDS(ferry__plan_copy_spans(&f->limits, begin, 0, span->size, copy), FILL_TEXT,
              FILL_WORDS(f));
        return;
    }
    if (span->engine == FERRY__ENGINE_KERNEL) {
        HOLDS(f->limits.has_kernel, FILL_TEXT, FILL_WORDS(f));
        return;
    }
    HOLDS(begin % f->limits.fill_alignment == 0 && span->size % f->limits.fill_alignment == 0,
          FILL_TEXT, FILL_WORDS(f));
    HOLDS((f->period & (f->period - 1)) == 0 && f->period <= f->limits.fill_pattern, FILL_TEXT,
          FILL_WORDS(f));
}

static void check_fill(const struct fill *f, unsigned *ways)
{
    struct ferry__fill_span parts[3];
    const enum ferry__way way = ferry__plan_fill(&f->limits, f->offset, f->size, f->period);
    const uint64_t align = f->limits.copy_alignment;
    const bool copyable = f->offset % align == 0 && f->size % align == 0;
    ways[way]++;
    if (way != FERRY__WAY_COMMANDS) {
        HOLDS(!f->limits.has_kernel, FILL_TEXT, FILL_WORDS(f));
        HOLDS((way == FERRY__WAY_TILE) == copyable, FILL_TEXT, FILL_WORDS(f));
        return;
    }
    const size_t count = ferry__plan_fill_spans(&f->limits, f->offset, f->size, f->period, parts);
    uint64_t at = 0;
    HOLDS(count >= 1 && count <= 3, FILL_TEXT, FILL_WORDS(f));
    for (size_t i = 0; i < count; i++) {
        HOLDS(parts[i].span.at == at && parts[i].span.size > 0, FILL_TEXT, FILL_WORDS(f));
        check_fill_span(f, &parts[i]);
        at += parts[i].span.size;
    }
    HOLDS(at == f->size, FILL_TEXT, FILL_WORDS(f));
}

static void every_fill(struct fill *f, unsigned *ways)
{
    for (f->period = 1; f->period <= FERRY__PATTERN_MAX; f->period++)
        for (f->offset = 0; f->offset < 20; f->offset++)
            for (f->size = 1; f->size < 40; f->size++)
                check_fill(f, ways);
}

static void fills(void **state)
{
    (void)state;
    unsigned ways[FERRY__WAY_COUNT] = {0};
    static const uint32_t patterns[] = {0, 1, 4, 16};
    for (size_t i = 0; i < ALIGNMENTS; i++)
        for (size_t j = 0; j < ALIGNMENTS; j++)
            for (size_t p = 0; p < 4; p++)
                for (int kernel = 0; kernel < 2; kernel++) {
                    struct fill f = {.limits = {.copy_alignment = alignments[i],
                                                .fill_alignment = alignments[j],
                                                .fill_pattern = patterns[p],
                                                .has_kernel = kernel}};
                    every_fill(&f, ways);
                }
    for (int way = 0; way < FERRY__WAY_COUNT; way++)
        assert_int_equal(ways[way] > 0, way == FERRY__WAY_COMMANDS || way == FERRY__WAY_TILE ||
                                            way == FERRY__WAY_RMW);
}

static unsigned shortest_period(const uint8_t *pattern, unsigned size)
{
    for (unsigned period = 1;; period++) {
        bool repeats = size % period == 0;
        for (unsigned i = 0; i < size; i++)
            repeats = repeats && pattern[i] == pattern[i % period];
        if (repeats)
            return period;
    }
}

/* All patterns of two different bytes. */
static void periods(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= FERRY__PATTERN_MAX; size++)
        for (unsigned bits = 0; bits < 1u << size; bits++) {
            uint8_t pattern[FERRY__PATTERN_MAX];
            for (unsigned i = 0; i < size; i++)
                pattern[i] = bits >> i & 1;
            HOLDS(ferry__pattern_period(pattern, size) == shortest_period(pattern, size),
                  "%u bytes, bits 0x%x", size, bits);
        }
}

/* --- paths ------------------------------------------------------------------------------------- */

static bool can_carry(const struct ferry__path_question *q, enum ferry_path path)
{
    switch (path) {
    case FERRY_PATH_STAGED: return q->size <= q->budget;
    case FERRY_PATH_PIPELINED: return true;
    case FERRY_PATH_IMPORTED: return q->registered || q->import_ok;
    default: return false;
    }
}

static void check_path(const struct ferry__path_question *q)
{
    bool fallback = q->size % 2; /* is written whatever it was */
    const enum ferry_path path = ferry__plan_path(q, &fallback);
    const bool forced = q->forced != FERRY_PATH_AUTO;
    const bool had = forced && can_carry(q, q->forced);
    const bool good = can_carry(q, path) && (!had || path == q->forced) &&
                      fallback == (forced && !had) &&
                      (forced || path != FERRY_PATH_IMPORTED || q->registered || q->import_cheap);
    HOLDS(good, "forced %d, %llu bytes, registered %d import %d cheap %d: path %d", q->forced,
          (unsigned long long)q->size, q->registered, q->import_ok, q->import_cheap, path);
}

static void paths(void **state)
{
    (void)state;
    enum { CHUNK = 1024, BUDGET = 4096 };
    static const uint64_t sizes[] = {1, CHUNK - 1, CHUNK, CHUNK + 1, BUDGET, BUDGET + 1, 1 << 30};
    for (int forced = FERRY_PATH_AUTO; forced <= FERRY_PATH_IMPORTED; forced++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (unsigned bits = 0; bits < 8; bits++)
                check_path(&(struct ferry__path_question){
                    .forced = (enum ferry_path)forced,
                    .size = sizes[s],
                    .registered = bits & 1,
                    .import_ok = bits & 2,
                    .import_cheap = bits & 4,
                    .chunk = CHUNK,
                    .budget = BUDGET,
                });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(rounding),
        cmocka_unit_test(copies),
        cmocka_unit_test(copies_with_ends),
        cmocka_unit_test(copies_above_4_gib),
        cmocka_unit_test(fills),
        cmocka_unit_test(periods),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
