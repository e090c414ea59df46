/* What the kernel that copies by a list touches. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* --- taking it --------------------------------------------------------------------------------- */

/* What one side of a list lies in; in the store, from its first byte to its last. */
struct side {
    struct work *work;
    bool dst, inside; /* inside: all of it in the device's memory */
    struct range *last;
    struct span *hull;
};

/* A list holds what it touches until it has ended. */
static void hold(struct work *work, struct range *range)
{
    for (size_t i = 0; i < work->range_count; i++)
        if (work->ranges[i] == range)
            return;
    work->ranges = realloc(work->ranges, (work->range_count + 1) * sizeof *work->ranges);
    if (!work->ranges)
        abort();
    work->ranges[work->range_count++] = range;
}

/* Each piece lies in one allocation, whichever that is. Where it is in the store. */
static bool find_piece(struct side *side, unsigned long long address, size_t size,
                       unsigned long long *out_stored)
{
    struct span span;
    if (!sim_find_span("cuLaunchKernel by a list", address, size, side->dst, &span) || !span.range)
        return false;
    if (span.range != side->last)
        hold(side->work, span.range);
    side->last = span.range;
    side->inside &= sim_range_is_device(span.range);
    struct span *hull = side->hull;
    unsigned char *const end = hull->size && hull->bytes + hull->size > span.bytes + size
                                   ? hull->bytes + hull->size
                                   : span.bytes + size;
    if (!hull->size || span.bytes < hull->bytes)
        hull->bytes = span.bytes;
    hull->size = (size_t)(end - hull->bytes);
    *out_stored = (unsigned long long)(uintptr_t)span.bytes;
    return true;
}

static bool find_pieces(struct work *work, const struct cuda_list_arguments *from, bool *out_inside)
{
    struct side dst = {work, true, true, NULL, &work->dst};
    struct side src = {work, false, true, NULL, &work->src};
    for (unsigned i = 0; i < from->count; i++) {
        const struct cuda_piece *piece = &work->pieces[i];
        struct cuda_piece *stored = &work->stored[i];
        *stored = *piece;
        if (!find_piece(&dst, from->dst + piece->dst, piece->size, &stored->dst) ||
            !find_piece(&src, from->src + piece->src, piece->size, &stored->src))
            return false;
    }
    *out_inside = dst.inside && src.inside;
    return true;
}

void sim_list_drop(struct work *work)
{
    free(work->pieces);
    free(work->stored);
    free(work->ranges);
    work->pieces = work->stored = NULL;
    work->ranges = NULL;
}

static bool refuse(struct work *work, const char *why)
{
    sim_breach(STRICTCUDA_LAUNCH, "cuLaunchKernel by a list: %s", why);
    sim_list_drop(work);
    return false;
}

static bool sizes_are_right(const struct work *work)
{
    for (unsigned i = 0; i < work->list.count; i++)
        if (!work->pieces[i].size || work->pieces[i].zero)
            return false;
    return true;
}

bool sim_list_take(struct work *work, const struct cuda_list_arguments *from, unsigned groups)
{
    const unsigned warps = groups * (CUDA__LIST_GROUP / CUDA__WARP);
    bool inside;
    if (!from->count || from->warps != warps || !from->shares || from->list % 8)
        return refuse(work, "no pieces, or not by the warps that it has");
    const size_t bytes = from->count * sizeof *work->pieces;
    if (!sim_find_span("cuLaunchKernel by a list", from->list, bytes, false, &work->listed))
        return false;
    if (!work->listed.range)
        return refuse(work, "the list is not page-locked");
    work->pieces = malloc(bytes);
    work->stored = malloc(bytes);
    if (!work->pieces || !work->stored)
        abort();
    memcpy(work->pieces, work->listed.bytes, bytes);
    work->list = *from;
    if (!sizes_are_right(work))
        return refuse(work, "a piece of no bytes");
    if (!find_pieces(work, from, &inside))
        return refuse(work, "a piece outside its memory, or in memory that is not page-locked");
    if (groups > UNITS / (inside ? 2u : 8u))
        return refuse(work, "more of the units than are its");
    work->list.dst = work->list.src = 0;
    if (sim_lists_conflict(work, work))
        sim_breach(STRICTCUDA_RACE, "two pieces of a list touch the same bytes");
    return true;
}

bool sim_list_is_kept(const struct work *work)
{
    const size_t bytes = work->list.count * sizeof *work->pieces;
    return !memcmp(work->pieces, work->listed.bytes, bytes);
}

/* --- what touches what ------------------------------------------------------------------------- */

struct touch {
    const unsigned char *begin, *end;
    unsigned owner; /* of a list by itself: one for each piece */
    bool writes;
};

static size_t touches_of(const struct work *work, unsigned owner, bool each, struct touch *out)
{
    if (work->kind != WORK_KERNEL || work->kernel != KERNEL_LIST) {
        out[0] = (struct touch){work->dst.bytes, work->dst.bytes + work->dst.size, owner, true};
        out[1] = (struct touch){work->src.bytes, work->src.bytes + work->src.size, owner, false};
        return work->src.size ? 2 : 1;
    }
    for (unsigned i = 0; i < work->list.count; i++) {
        const struct cuda_piece *piece = &work->stored[i];
        const unsigned char *dst = (const unsigned char *)(uintptr_t)piece->dst;
        const unsigned char *src = (const unsigned char *)(uintptr_t)piece->src;
        const unsigned own = each ? i : owner;
        out[2 * (size_t)i] = (struct touch){dst, dst + piece->size, own, true};
        out[2 * (size_t)i + 1] = (struct touch){src, src + piece->size, own, false};
    }
    return 2 * (size_t)work->list.count;
}

static int by_begin(const void *a, const void *b)
{
    const struct touch *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* The two that reach furthest so far, of different owners. */
struct furthest {
    const struct touch *first, *second;
};

static void reach(struct furthest *furthest, const struct touch *touch)
{
    if (furthest->first && furthest->first->owner == touch->owner) {
        if (touch->end > furthest->first->end)
            furthest->first = touch;
    } else if (!furthest->first || touch->end > furthest->first->end) {
        furthest->second = furthest->first;
        furthest->first = touch;
    } else if (!furthest->second || touch->end > furthest->second->end) {
        furthest->second = touch;
    }
}

static bool meets(const struct furthest *furthest, const struct touch *touch)
{
    const struct touch *other = furthest->first && furthest->first->owner == touch->owner
                                    ? furthest->second
                                    : furthest->first;
    return other && other->end > touch->begin;
}

bool sim_lists_conflict(const struct work *a, const struct work *b)
{
    const size_t room = 4 + 2 * ((size_t)a->list.count + b->list.count);
    struct touch *touches = malloc(room * sizeof *touches);
    if (!touches)
        abort();
    size_t count = touches_of(a, 0, a == b, touches);
    if (a != b)
        count += touches_of(b, 1, false, touches + count);
    qsort(touches, count, sizeof *touches, by_begin);
    struct furthest all = {NULL, NULL}, writing = {NULL, NULL};
    bool met = false;
    for (size_t i = 0; i < count && !met; i++) {
        met = meets(touches[i].writes ? &all : &writing, &touches[i]);
        reach(&all, &touches[i]);
        if (touches[i].writes)
            reach(&writing, &touches[i]);
    }
    free(touches);
    return met;
}
