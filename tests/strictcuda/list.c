/* What the kernel that copies by a list touches. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* --- taking it --------------------------------------------------------------------------------- */

/* All pieces lie in one allocation on each side, as in the driver's contract: their hull. */
static bool find_side(const struct work *work, const struct cuda_list_arguments *from, bool dst,
                      struct span *out)
{
    unsigned long long low = ~0ull, high = 0;
    for (unsigned i = 0; i < from->count; i++) {
        const struct cuda_piece *piece = &work->pieces[i];
        const unsigned long long at = dst ? piece->dst : piece->src;
        low = at < low ? at : low;
        high = at + piece->size > high ? at + piece->size : high;
    }
    const unsigned long long base = dst ? from->dst : from->src;
    return sim_find_span("cuLaunchKernel by a list", base + low, high - low, dst, out);
}

static bool refuse(struct work *work, const char *why)
{
    sim_breach(STRICTCUDA_LAUNCH, "cuLaunchKernel by a list: %s", why);
    free(work->pieces);
    work->pieces = NULL;
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
    if (!from->count || from->warps != warps || from->list % 8)
        return refuse(work, "no pieces, or not by the warps that it has");
    const size_t bytes = from->count * sizeof *work->pieces;
    if (!sim_find_span("cuLaunchKernel by a list", from->list, bytes, false, &work->listed))
        return false;
    if (!work->listed.range)
        return refuse(work, "the list is not page-locked");
    if (!(work->pieces = malloc(bytes)))
        abort();
    memcpy(work->pieces, work->listed.bytes, bytes);
    work->list = *from;
    if (!sizes_are_right(work))
        return refuse(work, "a piece of no bytes");
    if (!find_side(work, from, true, &work->dst) || !find_side(work, from, false, &work->src))
        return refuse(work, "a piece outside its memory");
    if (!work->dst.range || !work->src.range)
        return refuse(work, "memory that is not page-locked");
    const bool inside =
        sim_range_is_device(work->dst.range) && sim_range_is_device(work->src.range);
    if (groups > UNITS / (inside ? 2u : 8u))
        return refuse(work, "more of the units than are its");
    work->list.dst = (unsigned long long)(uintptr_t)work->dst.bytes + from->dst - work->dst.address;
    work->list.src = (unsigned long long)(uintptr_t)work->src.bytes + from->src - work->src.address;
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
        const struct cuda_piece *piece = &work->pieces[i];
        const unsigned char *dst = (const unsigned char *)(uintptr_t)work->list.dst + piece->dst;
        const unsigned char *src = (const unsigned char *)(uintptr_t)work->list.src + piece->src;
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
