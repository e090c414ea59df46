#include "engine/collect.h"

#include "base/alloc.h"
#include "base/spans.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/op.h"
#include "engine/order.h"

#include <ferry/ferry.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static enum ferry_status no_memory(const struct ferry__collect *collect)
{
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY,
                       "no host memory for the %zu ranges that an operation touches",
                       collect->capacity);
}

enum ferry_status ferry__collect_begin(struct ferry__collect *collect, struct ferry__op *op,
                                       size_t capacity)
{
    *collect = (struct ferry__collect){.op = op, .capacity = capacity};
    if (capacity <= op->room)
        return FERRY_OK;
    if (capacity <= FERRY__RANGES_FEW) {
        struct ferry__range *ranges = ferry__alloc(capacity * sizeof *ranges);
        if (ranges)
            ferry__op_set_ranges(op, ranges);
        return ranges ? FERRY_OK : no_memory(collect);
    }
    collect->many = true;
    return capacity > UINT32_MAX ? no_memory(collect) : FERRY_OK;
}

static bool spans_reserve(struct ferry__collect *collect)
{
    if (!collect->spans)
        collect->spans = ferry__alloc_unset(collect->capacity * sizeof *collect->spans);
    if (!collect->bucket_of)
        collect->bucket_of = ferry__alloc_unset(collect->capacity * sizeof *collect->bucket_of);
    return collect->spans && collect->bucket_of;
}

/* --- buckets ---------------------------------------------------------------------------------- */

static bool is_bucket(const struct ferry__bucket *bucket, const struct ferry_buffer *buffer,
                      enum ferry__range_kind kind)
{
    return bucket->buffer == buffer && bucket->kind == kind;
}

static size_t slot_of(const struct ferry__collect *collect, const struct ferry_buffer *buffer,
                      enum ferry__range_kind kind)
{
    const uint64_t key = (uint64_t)(uintptr_t)buffer / 16 * 2 + (unsigned)kind;
    return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (collect->slot_count - 1);
}

static bool slots_grow(struct ferry__collect *collect)
{
    const size_t count = collect->slot_count ? 2 * collect->slot_count : 32;
    uint32_t *slots = ferry__alloc(count * sizeof *slots);
    if (!slots)
        return false;
    ferry__free(collect->slots);
    collect->slots = slots;
    collect->slot_count = count;
    for (size_t i = 0; i < collect->bucket_count; i++) {
        size_t at = slot_of(collect, collect->buckets[i].buffer, collect->buckets[i].kind);
        while (slots[at])
            at = (at + 1) & (count - 1);
        slots[at] = (uint32_t)i + 1;
    }
    return true;
}

/* UINT32_MAX: no host memory. */
static uint32_t find_bucket(struct ferry__collect *collect, struct ferry_buffer *buffer,
                            enum ferry__range_kind kind)
{
    if (2 * collect->bucket_count >= collect->slot_count && !slots_grow(collect))
        return UINT32_MAX;
    size_t at = slot_of(collect, buffer, kind);
    while (collect->slots[at]) {
        const uint32_t found = collect->slots[at] - 1;
        if (is_bucket(&collect->buckets[found], buffer, kind))
            return found;
        at = (at + 1) & (collect->slot_count - 1);
    }
    if (!ferry__reserve((void **)&collect->buckets, &collect->bucket_capacity,
                        collect->bucket_count, sizeof *collect->buckets))
        return UINT32_MAX;
    collect->buckets[collect->bucket_count++] =
        (struct ferry__bucket){.buffer = buffer, .kind = kind};
    return (collect->slots[at] = (uint32_t)collect->bucket_count) - 1;
}

/* Bucket by bucket, and mostly the one of the last range or of the one before. */
static uint32_t bucket_of(struct ferry__collect *collect, struct ferry_buffer *buffer,
                          enum ferry__range_kind kind)
{
    if (!collect->bucket_count)
        return collect->recent[0] = collect->recent[1] = find_bucket(collect, buffer, kind);
    uint32_t which = collect->recent[0];
    if (is_bucket(&collect->buckets[which], buffer, kind))
        return which;
    which = collect->recent[1];
    if (!is_bucket(&collect->buckets[which], buffer, kind))
        which = find_bucket(collect, buffer, kind);
    if (which == UINT32_MAX)
        return which;
    collect->recent[1] = collect->recent[0];
    return collect->recent[0] = which;
}

void ferry__collect_add(struct ferry__collect *collect, struct ferry_buffer *buffer, bool write,
                        struct ferry__span span)
{
    const enum ferry__range_kind kind = write ? FERRY__RANGE_WRITE : FERRY__RANGE_READ;
    if (!collect->many) {
        ferry__op_ranges(collect->op)[collect->count++] = (struct ferry__range){
            .buffer = buffer, .begin = span.begin, .end = span.end, .kind = kind};
        return;
    }
    const uint32_t which = bucket_of(collect, buffer, kind);
    if (which == UINT32_MAX || collect->short_of_memory || !spans_reserve(collect)) {
        collect->short_of_memory = true;
        return;
    }
    collect->buckets[which].count++;
    collect->bucket_of[collect->count] = which;
    collect->spans[collect->count++] = span;
}

bool ferry__collect_run(struct ferry__collect *collect, struct ferry_buffer *buffer, bool write)
{
    const enum ferry__range_kind kind = write ? FERRY__RANGE_WRITE : FERRY__RANGE_READ;
    collect->run = collect->count;
    if (!spans_reserve(collect) || bucket_of(collect, buffer, kind) == UINT32_MAX)
        collect->short_of_memory = true;
    return !collect->short_of_memory;
}

void ferry__collect_run_end(struct ferry__collect *collect)
{
    collect->buckets[collect->recent[0]].count += (uint32_t)(collect->count - collect->run);
}

void ferry__collect_take(struct ferry__collect *collect, struct ferry_buffer *buffer, bool write,
                         struct ferry__spans *spans)
{
    const enum ferry__range_kind kind = write ? FERRY__RANGE_WRITE : FERRY__RANGE_READ;
    const uint32_t which = bucket_of(collect, buffer, kind);
    if (which != UINT32_MAX) {
        collect->buckets[which].made = spans;
        return;
    }
    collect->short_of_memory = true;
    ferry__free(spans);
}

/* --- few of them ------------------------------------------------------------------------------ */

static bool is_before(const struct ferry__range *a, const struct ferry__range *b)
{
    if (a->buffer != b->buffer)
        return (uintptr_t)a->buffer < (uintptr_t)b->buffer;
    return a->kind != b->kind ? a->kind < b->kind : a->begin < b->begin;
}

static void sort_few(struct ferry__range *ranges, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k && is_before(&ranges[k], &ranges[k - 1]); k--) {
            const struct ferry__range swap = ranges[k];
            ranges[k] = ranges[k - 1];
            ranges[k - 1] = swap;
        }
}

/* What touches or overlaps is one range. */
static unsigned merge_few(struct ferry__op *op, size_t count)
{
    struct ferry__range *ranges = ferry__op_ranges(op);
    unsigned kept = 0;
    sort_few(ranges, count);
    for (size_t i = 0; i < count; i++) {
        struct ferry__range *last = kept ? &ranges[kept - 1] : NULL;
        ranges[i].op = op;
        if (!last || last->buffer != ranges[i].buffer || last->kind != ranges[i].kind ||
            last->end < ranges[i].begin)
            ranges[kept++] = ranges[i];
        else if (last->end < ranges[i].end)
            last->end = ranges[i].end;
    }
    return kept;
}

/* --- many of them ----------------------------------------------------------------------------- */

/* The spans bucket by bucket. False: no host memory. */
static bool distribute(struct ferry__collect *collect)
{
    if (collect->bucket_count == 1 || !collect->count)
        return true;
    struct ferry__span *spans = ferry__alloc_unset(collect->count * sizeof *spans);
    uint32_t *at = ferry__alloc(collect->bucket_count * sizeof *at);
    const bool enough = spans && at;
    if (enough) {
        for (size_t i = 1; i < collect->bucket_count; i++)
            at[i] = at[i - 1] + collect->buckets[i - 1].count;
        for (size_t i = 0; i < collect->count; i++)
            spans[at[collect->bucket_of[i]]++] = collect->spans[i];
        ferry__free(collect->spans);
        collect->spans = spans;
        spans = NULL;
    }
    ferry__free(spans);
    ferry__free(at);
    return enough;
}

static void add_range(struct ferry__op *op, struct ferry__range range)
{
    const size_t count = ferry__op_range_count(op);
    ferry__op_ranges(op)[count] = range;
    ferry__op_set_range_count(op, count + 1);
}

/* A bucket's ranges to the end of op's: one with spans, or few that are left when all that touches
 * is put together. False: no host memory. */
static bool take_bucket(struct ferry__op *op, struct ferry__bucket *bucket,
                        struct ferry__span *from)
{
    struct ferry__range range = {.op = op, .buffer = bucket->buffer, .kind = bucket->kind};
    if (!bucket->made && bucket->count == 1) {
        range.begin = from->begin;
        range.end = from->end;
        add_range(op, range);
        return true;
    }
    struct ferry__spans *spans =
        bucket->made ? bucket->made : ferry__spans_make(from, bucket->count);
    bucket->made = NULL;
    if (!spans)
        return false;
    struct ferry__span few[FERRY__RANGES_FEW + 1] = {{0, 0}};
    size_t count = 0, hint = 0;
    for (uint64_t at = 0; count <= FERRY__RANGES_FEW; at = few[count++].end)
        if (!ferry__spans_next(spans, at, &hint, &few[count]))
            break;
    if (count > FERRY__RANGES_FEW) {
        range.begin = spans->begin;
        range.end = spans->end;
        range.spans = spans;
        add_range(op, range);
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        range.begin = few[i].begin;
        range.end = few[i].end;
        add_range(op, range);
    }
    ferry__free(spans);
    return true;
}

struct place {
    uintptr_t buffer; /* the bucket's, and its kind: many are sorted by them */
    enum ferry__range_kind kind;
    uint32_t bucket;
    struct ferry__span *spans;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->buffer != y->buffer)
        return x->buffer < y->buffer ? -1 : 1;
    return (x->kind > y->kind) - (x->kind < y->kind);
}

static bool take_buckets(struct ferry__collect *collect)
{
    struct ferry__op *op = collect->op;
    size_t room = 0;
    struct place *places = ferry__alloc(collect->bucket_count * sizeof *places);
    struct ferry__span *spans = collect->spans;
    for (size_t i = 0; i < collect->bucket_count && places; i++) {
        const struct ferry__bucket *bucket = &collect->buckets[i];
        places[i] = (struct place){(uintptr_t)bucket->buffer, bucket->kind, (uint32_t)i, spans};
        if (bucket->count)
            spans += bucket->count;
        room +=
            bucket->count && bucket->count < FERRY__RANGES_FEW ? bucket->count : FERRY__RANGES_FEW;
    }
    struct ferry__range *ranges = places ? ferry__alloc(room * sizeof *ranges) : NULL;
    bool enough = ranges != NULL;
    if (enough) {
        ferry__op_set_ranges(op, ranges);
        qsort(places, collect->bucket_count, sizeof *places, compare_places);
    }
    for (size_t i = 0; i < collect->bucket_count && enough; i++)
        enough = take_bucket(op, &collect->buckets[places[i].bucket], places[i].spans);
    ferry__free(places);
    return enough;
}

enum ferry_status ferry__collect_end(struct ferry__collect *collect)
{
    struct ferry__op *op = collect->op;
    if (!collect->many) {
        ferry__op_set_range_count(op, merge_few(op, collect->count));
        return FERRY_OK;
    }
    const bool enough = !collect->short_of_memory &&
                        (!collect->bucket_count || (distribute(collect) && take_buckets(collect)));
    for (size_t i = 0; i < collect->bucket_count; i++)
        ferry__free(collect->buckets[i].made);
    ferry__free(collect->spans);
    ferry__free(collect->bucket_of);
    ferry__free(collect->buckets);
    ferry__free(collect->slots);
    return enough ? FERRY_OK : no_memory(collect);
}
