#include "paths/plan.h"

#include "base/range.h"
#include "driver.h"

#include <ferry/ferry.h>
#include <string.h>

/* Below this an unaligned copy is one kernel rather than a copy command with kernels at its
 * ends. */
enum { SPLIT_FROM = 65536 };

static bool prefers_kernel(const struct ferry__limits *limits, uint64_t size)
{
    return limits->has_kernel && limits->kernel_copy_from && size >= limits->kernel_copy_from;
}

size_t ferry__plan_copy_spans(const struct ferry__limits *limits, uint64_t dst, uint64_t src,
                              uint64_t size, struct ferry__span out[3])
{
    const uint64_t align = limits->copy_alignment;
    if (((dst | src | size) & (align - 1)) == 0) {
        out[0] = (struct ferry__span){
            0, size, prefers_kernel(limits, size) ? FERRY__ENGINE_KERNEL : FERRY__ENGINE_COPY};
        return 1;
    }
    if (!limits->has_kernel)
        return 0;
    if (((dst ^ src) & (align - 1)) || size < SPLIT_FROM || prefers_kernel(limits, size)) {
        out[0] = (struct ferry__span){0, size, FERRY__ENGINE_KERNEL};
        return 1;
    }
    const uint64_t head = ferry__round_up(dst, align) - dst;
    const uint64_t body = ferry__round_down(size - head, align);
    const struct ferry__span spans[3] = {{0, head, FERRY__ENGINE_KERNEL},
                                         {head, body, FERRY__ENGINE_COPY},
                                         {head + body, size - head - body, FERRY__ENGINE_KERNEL}};
    size_t count = 0;
    for (size_t i = 0; i < 3; i++)
        if (spans[i].size)
            out[count++] = spans[i];
    return count;
}

enum ferry__way ferry__plan_copy(const struct ferry__limits *limits, uint64_t dst, uint64_t src,
                                 uint64_t size, bool same)
{
    struct ferry__span spans[3];
    if (!ferry__plan_copy_spans(limits, dst, src, size, spans))
        return FERRY__WAY_RMW;
    if (!same || !ferry__overlap(dst, size, src, size))
        return FERRY__WAY_COMMANDS;
    const uint64_t shift = dst < src ? src - dst : dst - src;
    return size / FERRY__PIECES_MAX <= shift ? FERRY__WAY_PIECES : FERRY__WAY_SCRATCH;
}

struct ferry__piece ferry__plan_piece(const struct ferry__limits *limits, uint64_t dst,
                                      uint64_t src, uint64_t size, uint64_t done, uint64_t max)
{
    const uint64_t left = size - done;
    uint64_t piece = left < max ? left : max;
    /* Pieces of an aligned copy stay aligned; the last one takes what is left. */
    if (piece < left && piece > limits->copy_alignment)
        piece = ferry__round_down(piece, limits->copy_alignment);
    return (struct ferry__piece){dst < src ? done : left - piece, piece};
}

unsigned ferry__pattern_period(const uint8_t *pattern, unsigned pattern_size)
{
    for (unsigned period = 1; period < pattern_size; period++) {
        if (pattern_size % period)
            continue;
        if (memcmp(pattern, pattern + period, pattern_size - period) == 0)
            return period;
    }
    return pattern_size;
}

/* Copies of a tile to this range are within the copy command's rules. */
static bool tile_ok(const struct ferry__limits *limits, uint64_t offset, uint64_t size)
{
    return ((offset | size) & (limits->copy_alignment - 1)) == 0;
}

enum ferry__way ferry__plan_fill(const struct ferry__limits *limits, uint64_t offset, uint64_t size,
                                 unsigned period)
{
    if (limits->has_kernel)
        return FERRY__WAY_COMMANDS;
    const uint64_t align = limits->fill_alignment;
    const bool power = (period & (period - 1)) == 0;
    const bool aligned = ((offset | size) & (align - 1)) == 0;
    if (power && period <= limits->fill_pattern && (aligned || limits->copy_alignment == 1) &&
        ferry__round_up(offset, align) < ferry__round_down(offset + size, align))
        return FERRY__WAY_COMMANDS;
    return tile_ok(limits, offset, size) ? FERRY__WAY_TILE : FERRY__WAY_RMW;
}

size_t ferry__plan_fill_spans(const struct ferry__limits *limits, uint64_t offset, uint64_t size,
                              unsigned period, struct ferry__fill_span out[3])
{
    const uint64_t align = limits->fill_alignment;
    const bool command = (period & (period - 1)) == 0 && period <= limits->fill_pattern;
    const uint64_t start = ferry__round_up(offset, align);
    const uint64_t end = ferry__round_down(offset + size, align);
    if (!command || start >= end) {
        out[0] = (struct ferry__fill_span){{0, size, FERRY__ENGINE_KERNEL}, false};
        return 1;
    }
    const bool kernel = limits->has_kernel;
    const enum ferry__engine ends = kernel ? FERRY__ENGINE_KERNEL : FERRY__ENGINE_COPY;
    const uint64_t head = start - offset, body = end - start;
    const struct ferry__fill_span spans[3] = {
        {{0, head, ends}, !kernel},
        {{head, body, FERRY__ENGINE_COPY}, false},
        {{head + body, size - head - body, ends}, !kernel},
    };
    size_t count = 0;
    for (size_t i = 0; i < 3; i++)
        if (spans[i].span.size)
            out[count++] = spans[i];
    return count;
}

static enum ferry_path staged_path(const struct ferry__path_question *q)
{
    return q->size <= q->chunk ? FERRY_PATH_STAGED : FERRY_PATH_PIPELINED;
}

static enum ferry_path auto_path(const struct ferry__path_question *q)
{
    if (q->registered || (q->import_ok && q->import_cheap))
        return FERRY_PATH_IMPORTED;
    return staged_path(q);
}

enum ferry_path ferry__plan_path(const struct ferry__path_question *q, bool *out_fallback)
{
    *out_fallback = false;
    switch (q->forced) {
    case FERRY_PATH_DIRECT: break;
    case FERRY_PATH_STAGED:
        if (q->size <= q->budget)
            return FERRY_PATH_STAGED;
        break;
    case FERRY_PATH_PIPELINED: return FERRY_PATH_PIPELINED;
    case FERRY_PATH_IMPORTED:
        if (q->registered || q->import_ok)
            return FERRY_PATH_IMPORTED;
        break;
    case FERRY_PATH_AUTO:
    case FERRY_PATH_DEVICE:
    case FERRY_PATH_BRIDGED:
    case FERRY_PATH_NONE:
    case FERRY_PATH_BLOCKS:
    case FERRY_PATH_PEER:
    case FERRY_PATH_COUNT: return auto_path(q);
    }
    *out_fallback = true;
    return q->forced == FERRY_PATH_DIRECT ? auto_path(q) : staged_path(q);
}
