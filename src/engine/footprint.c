#include "engine/footprint.h"

#include "base/alloc.h"
#include "base/range.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/order.h"

#include <ferry/ferry.h>
#include <stdlib.h>

/*
 * Footprints (R1): the bytes that an op touches on the device, as ranges by buffer, kind and begin.
 * Where the device reads and writes whole words only, both sides are rounded out to words, since
 * what lies beside the bytes in a word is read, and written back.
 */

bool ferry__by_words(const struct ferry_device *device)
{
    const struct ferry__limits *limits = ferry__limits_now(&device->gpu);
    return limits->copy_alignment > 1 && !limits->has_kernel;
}

uint64_t ferry__word(const struct ferry_device *device)
{
    return ferry__by_words(device) ? device->gpu.limits.copy_alignment : 1;
}

static struct ferry__range range_of(struct ferry_buffer *buffer, bool write, uint64_t offset,
                                    uint64_t size, bool by_words)
{
    const uint64_t word = by_words ? buffer->device->gpu.limits.copy_alignment : 1;
    const uint64_t end = ferry__round_up(offset + size, word);
    return (struct ferry__range){.buffer = buffer,
                                 .order = &buffer->order,
                                 .begin = ferry__round_down(offset, word),
                                 .end = end < buffer->size ? end : buffer->size,
                                 .kind = write ? FERRY__RANGE_WRITE : FERRY__RANGE_READ};
}

struct ferry__range ferry__footprint(struct ferry_buffer *buffer, bool write, uint64_t offset,
                                     uint64_t size)
{
    return range_of(buffer, write, offset, size, ferry__by_words(buffer->device));
}

struct ferry__range ferry__footprint_write(const struct ferry__transfer *transfer)
{
    return range_of(transfer->dst, true, transfer->dst_offset, transfer->size, transfer->by_words);
}

static struct ferry__range footprint_read(const struct ferry__transfer *transfer)
{
    return range_of(transfer->src, false, transfer->src_offset, transfer->size, transfer->by_words);
}

static bool is_before(const struct ferry__range *a, const struct ferry__range *b)
{
    if (a->buffer != b->buffer)
        return (uintptr_t)a->buffer < (uintptr_t)b->buffer;
    return a->kind != b->kind ? a->kind < b->kind : a->begin < b->begin;
}

static int compare(const void *a, const void *b)
{
    return is_before(a, b) ? -1 : is_before(b, a);
}

static void sort(struct ferry__range *ranges, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (is_before(&ranges[i], &ranges[i - 1])) {
            qsort(ranges, count, sizeof *ranges, compare);
            return;
        }
}

/* What touches or overlaps is one range. */
static size_t merge(struct ferry__op *op, size_t count)
{
    struct ferry__range *ranges = op->ranges;
    size_t kept = 0;
    sort(ranges, count);
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

static enum ferry_status reserve(struct ferry__op *op, size_t count)
{
    op->ranges = &op->one_range;
    if (count <= 1)
        return FERRY_OK;
    struct ferry__range *ranges = ferry__alloc(count * sizeof *ranges);
    if (!ranges)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY,
                           "no host memory for what %u operations touch", op->count);
    op->ranges = ranges;
    return FERRY_OK;
}

enum ferry_status ferry__footprint_transfers(struct ferry__op *op)
{
    size_t count = 0;
    for (size_t i = 0; i < op->count; i++)
        count += op->transfers[i].size ? !!op->transfers[i].dst + !!op->transfers[i].src : 0;
    const enum ferry_status status = reserve(op, count);
    if (status)
        return status;
    count = 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct ferry__transfer *transfer = &op->transfers[i];
        if (transfer->size && transfer->dst)
            op->ranges[count++] = ferry__footprint_write(transfer);
        if (transfer->size && transfer->src)
            op->ranges[count++] = footprint_read(transfer);
    }
    op->range_count = merge(op, count);
    return FERRY_OK;
}

enum ferry_status ferry__footprint_uses(struct ferry__op *op, const struct ferry_use *uses,
                                        size_t count)
{
    const enum ferry_status status = reserve(op, count);
    if (status)
        return status;
    if (!(op->uses = ferry__alloc(count * sizeof *op->uses)))
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu uses", count);
    for (size_t i = 0; i < count; i++) {
        struct ferry_use *use = &op->uses[i];
        *use = uses[i];
        if (!use->size)
            use->size = use->buffer->size - use->offset;
        ferry__buffer_ref(use->buffer);
        op->ranges[i] =
            ferry__footprint(use->buffer, use->access & FERRY_ACCESS_WRITE, use->offset, use->size);
    }
    op->use_count = count;
    op->range_count = merge(op, count);
    return FERRY_OK;
}

void ferry__footprint_free(struct ferry__op *op)
{
    for (size_t i = 0; i < op->range_count; i++)
        if (op->ranges[i].kind == FERRY__RANGE_WRITE)
            ferry__free(op->ranges[i].write.spare);
    if (op->ranges != &op->one_range)
        ferry__free(op->ranges);
}

size_t ferry__footprint_buffers(const struct ferry__op *op)
{
    size_t count = 0;
    for (size_t i = 0; i < op->range_count; i++)
        count += !i || op->ranges[i].buffer != op->ranges[i - 1].buffer;
    return count;
}
