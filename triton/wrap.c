#include "cuda.h"
#include "internal.h"

#include <stdlib.h>

/*
 * Memory of CUDA's own in a plan: where a move has no buffer it has an address, and here it gets a
 * buffer that is wrapped round it.
 */

bool ferry__triton_plan_is_on(struct ferry__triton_plan *plan, int64_t cuda)
{
    if (!plan->is_asked)
        plan->cuda = ferry__triton_cuda_ordinal(plan->device);
    plan->is_asked = true;
    return plan->cuda == cuda && cuda >= 0;
}

ferry_buffer *ferry__triton_plan_wrap(struct ferry__triton_plan *plan, uintptr_t address,
                                      size_t size, TRITONSERVER_Error **out_error)
{
    ferry_buffer *buffer = NULL;
    ferry_buffer **wraps = realloc(plan->wraps, (plan->wrap_count + 1) * sizeof(*plan->wraps));
    if (!wraps) {
        *out_error = ferry__triton_no_memory((plan->wrap_count + 1) * sizeof(*plan->wraps));
        return NULL;
    }
    plan->wraps = wraps;
    const enum ferry_status status = ferry__triton_cuda_wrap(plan->device, address, size, &buffer);
    *out_error = ferry__triton_status(status, "GPU memory");
    if (status)
        return NULL;
    plan->wraps[plan->wrap_count++] = buffer;
    return buffer;
}

enum { WRAPS_MAX = 8 };

/* One side of a move, if that is a buffer. */
struct side {
    ferry_buffer **buffer;
    size_t *offset;
};

static bool is_unwrapped(struct ferry__triton_move *move, bool written, struct side *out)
{
    const bool has_src = move->kind == FERRY_TRITON_COPY || move->kind == FERRY_TRITON_DOWN;
    const bool has_dst = move->kind == FERRY_TRITON_COPY || move->kind == FERRY_TRITON_UP;
    *out = written ? (struct side){&move->dst, &move->dst_offset}
                   : (struct side){&move->src, &move->src_offset};
    return (written ? has_dst : has_src) && !*out->buffer;
}

/* A part that is to be wrapped, and in which of the wraps. */
struct foreign {
    size_t begin, end, wrap;
    struct side side;
};

struct wraps {
    struct {
        size_t begin, end;
    } of[WRAPS_MAX];
    size_t count;
};

static int compare_begins(const void *a, const void *b)
{
    const struct foreign *first = a, *second = b;
    return (first->begin > second->begin) - (first->begin < second->begin);
}

/* How many there are; parts has room for all, or is NULL. */
static size_t list_foreign(struct ferry__triton_plan *plan, bool written, struct foreign *parts)
{
    size_t count = 0;
    struct side side;
    for (size_t i = 0; i < plan->count; i++) {
        struct ferry__triton_move *move = &plan->moves[i];
        if (!is_unwrapped(move, written, &side))
            continue;
        if (parts)
            parts[count] = (struct foreign){
                .begin = *side.offset, .end = *side.offset + move->size, .side = side};
        count++;
    }
    return count;
}

/*
 * Parts that lie end to end are in different wraps: they may be of two allocations, which no copy of
 * CUDA's may cross, and copies that lie end to end in one buffer become one. Those that overlap are of
 * one allocation, and share a wrap. False: too many wraps.
 */
static bool share_out(struct foreign *parts, size_t count, struct wraps *wraps)
{
    wraps->count = 0;
    qsort(parts, count, sizeof *parts, compare_begins);
    for (size_t i = 0; i < count; i++) {
        size_t wrap = 0;
        while (wrap < wraps->count && wraps->of[wrap].end == parts[i].begin)
            wrap++;
        if (wrap == WRAPS_MAX)
            return false;
        if (wrap == wraps->count) {
            wraps->of[wraps->count].begin = parts[i].begin;
            wraps->of[wraps->count++].end = parts[i].end;
        }
        if (wraps->of[wrap].end < parts[i].end)
            wraps->of[wrap].end = parts[i].end;
        parts[i].wrap = wrap;
    }
    return true;
}

static bool wrap_parts(struct ferry__triton_plan *plan, struct foreign *parts, size_t count)
{
    struct wraps wraps;
    ferry_buffer *buffers[WRAPS_MAX];
    TRITONSERVER_Error *error = NULL;
    if (!share_out(parts, count, &wraps))
        return false;
    for (size_t i = 0; i < wraps.count; i++) {
        buffers[i] = ferry__triton_plan_wrap(plan, wraps.of[i].begin,
                                             wraps.of[i].end - wraps.of[i].begin, &error);
        ferry__triton_delete(error);
        if (!buffers[i])
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        *parts[i].side.buffer = buffers[parts[i].wrap];
        *parts[i].side.offset -= wraps.of[parts[i].wrap].begin;
    }
    return true;
}

static bool wrap_side(struct ferry__triton_plan *plan, bool written)
{
    struct foreign few[FERRY_TRITON_FEW_MOVES], *parts = few;
    const size_t count = list_foreign(plan, written, NULL);
    if (!count)
        return true;
    if (count > FERRY_TRITON_FEW_MOVES && !(parts = malloc(count * sizeof *parts)))
        return false;
    (void)list_foreign(plan, written, parts);
    const bool wrapped = wrap_parts(plan, parts, count);
    if (parts != few)
        free(parts);
    return wrapped;
}

bool ferry__triton_plan_wrap_all(struct ferry__triton_plan *plan)
{
    return wrap_side(plan, false) && wrap_side(plan, true);
}
