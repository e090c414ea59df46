#include "engine/footprint.h"

#include "base/alloc.h"
#include "base/range.h"
#include "base/spans.h"
#include "base/status.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/collect.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/order.h"

#include <ferry/ferry.h>

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

static struct ferry__span span_of(const struct ferry_buffer *buffer, uint64_t offset, uint64_t size,
                                  uint64_t word)
{
    const uint64_t end = ferry__round_up(offset + size, word);
    return (struct ferry__span){ferry__round_down(offset, word),
                                end < buffer->size ? end : buffer->size};
}

static struct ferry__range range_of(struct ferry_buffer *buffer, bool write,
                                    struct ferry__span span)
{
    return (struct ferry__range){.buffer = buffer,
                                 .begin = span.begin,
                                 .end = span.end,
                                 .kind = write ? FERRY__RANGE_WRITE : FERRY__RANGE_READ};
}

struct ferry__range ferry__footprint(struct ferry_buffer *buffer, bool write, uint64_t offset,
                                     uint64_t size)
{
    return range_of(buffer, write, span_of(buffer, offset, size, ferry__word(buffer->device)));
}

static uint64_t word_of(const struct ferry__transfer *transfer, const struct ferry_buffer *buffer)
{
    return transfer->by_words ? buffer->device->gpu.limits.copy_alignment : 1;
}

/* Of a range that a transfer writes, or reads. */
static struct ferry__span span_written(const struct ferry__transfer *transfer, uint64_t offset,
                                       uint64_t size)
{
    return span_of(transfer->dst, offset, size, word_of(transfer, transfer->dst));
}

static struct ferry__span span_read(const struct ferry__transfer *transfer, uint64_t offset,
                                    uint64_t size)
{
    return span_of(transfer->src, offset, size, word_of(transfer, transfer->src));
}

struct ferry__range ferry__footprint_write(const struct ferry__transfer *transfer, uint64_t offset,
                                           uint64_t size)
{
    return range_of(transfer->dst, true, span_written(transfer, offset, size));
}

/* One side of the ranges of a transfer. */
struct side {
    struct ferry_buffer *buffer;
    uint64_t word;
    bool write;
};

static struct ferry__span span_at(const struct side *side, struct ferry_block part)
{
    return span_of(side->buffer, side->write ? part.dst_offset : part.src_offset, part.size,
                   side->word);
}

static void collect_blocks(struct ferry__collect *collect, const struct ferry__blocks *blocks,
                           const struct side *side)
{
    if (!ferry__collect_run(collect, side->buffer, side->write))
        return;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct ferry_block part = ferry__blocks_at(blocks, i);
        if (part.size)
            ferry__collect_put(collect, span_at(side, part));
    }
    ferry__collect_run_end(collect);
}

/* All blocks of a side as one set; NULL: one by one. */
static struct ferry__spans *spans_of(const struct side *side, struct ferry__blocks *blocks)
{
    if (side->word != 1)
        return NULL;
    struct ferry__spans **known = side->write ? &blocks->written : &blocks->read;
    struct ferry__spans *spans = *known;
    *known = NULL;
    return spans ? spans : ferry__blocks_spans(blocks, side->write);
}

static void collect_side(struct ferry__collect *collect, struct ferry__transfer *transfer,
                         const struct side *side, bool alone)
{
    struct ferry__blocks *blocks = ferry__blocks_of(transfer);
    struct ferry__spans *spans;
    if (!side->buffer || !transfer->size)
        return;
    if (!ferry__collects_spans(collect)) {
        for (size_t i = 0; i < ferry__transfer_parts(transfer); i++) {
            const struct ferry_block part = ferry__transfer_part(transfer, i);
            if (part.size)
                ferry__collect_add(collect, side->buffer, side->write, span_at(side, part));
        }
    } else if (!blocks) {
        ferry__collect_add(collect, side->buffer, side->write,
                           span_at(side, ferry__transfer_part(transfer, 0)));
    } else if (alone && (spans = spans_of(side, blocks))) {
        ferry__collect_take(collect, side->buffer, side->write, spans);
    } else {
        collect_blocks(collect, blocks, side);
    }
}

enum ferry_status ferry__footprint_transfers(struct ferry__op *op)
{
    struct ferry__collect collect;
    size_t count = 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct ferry__transfer *transfer = &ferry__op_transfers(op)[i];
        const size_t sides = (size_t) !!transfer->dst + !!transfer->src;
        count += transfer->size ? sides * ferry__transfer_parts(transfer) : 0;
    }
    const enum ferry_status status = ferry__collect_begin(&collect, op, count);
    if (status)
        return status;
    for (size_t i = 0; i < op->count; i++) {
        struct ferry__transfer *transfer = &ferry__op_transfers(op)[i];
        const uint64_t dst_word = transfer->dst ? word_of(transfer, transfer->dst) : 1;
        const uint64_t src_word = transfer->src ? word_of(transfer, transfer->src) : 1;
        const struct side dst = {transfer->dst, dst_word, true};
        const struct side src = {transfer->src, src_word, false};
        collect_side(&collect, transfer, &dst, op->count == 1);
        collect_side(&collect, transfer, &src, op->count == 1);
    }
    return ferry__collect_end(&collect);
}

size_t ferry__uses_alike(const struct ferry_use *uses, size_t count)
{
    enum { AT_ONCE_MAX = 1 << 20 }; /* far from what a count of references holds */
    size_t alike = 1;
    while (alike < count && alike < AT_ONCE_MAX && uses[alike].buffer == uses->buffer)
        alike++;
    return alike;
}

enum ferry_status ferry__uses_keep(struct ferry__op *op, const struct ferry_use *uses, size_t count)
{
    if (!(op->uses = ferry__alloc(count * sizeof *op->uses)))
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu uses", count);
    for (size_t i = 0; i < count; i++) {
        op->uses[i] = uses[i];
        if (!uses[i].size)
            op->uses[i].size = uses[i].buffer->size - uses[i].offset;
    }
    for (size_t i = 0, times; i < count; i += times) {
        times = ferry__uses_alike(uses + i, count - i);
        ferry__buffer_ref_times(uses[i].buffer, (unsigned)times);
    }
    op->use_count = count;
    return FERRY_OK;
}

enum ferry_status ferry__footprint_uses(struct ferry__op *op)
{
    struct ferry__collect collect;
    const enum ferry_status status = ferry__collect_begin(&collect, op, op->use_count);
    if (status)
        return status;
    const uint64_t word = ferry__word(op->device);
    for (size_t i = 0; i < op->use_count; i++) {
        const struct ferry_use *use = &op->uses[i];
        ferry__collect_add(&collect, use->buffer, use->access & FERRY_ACCESS_WRITE,
                           span_of(use->buffer, use->offset, use->size, word));
    }
    return ferry__collect_end(&collect);
}

static bool span_meets(struct ferry__span span, uint64_t begin, uint64_t end)
{
    return span.begin < end && begin < span.end;
}

static bool transfer_touches(const struct ferry__transfer *transfer,
                             const struct ferry_buffer *buffer, uint64_t begin, uint64_t end)
{
    const size_t parts = transfer->size ? ferry__transfer_parts(transfer) : 0;
    bool touches = false;
    for (size_t p = 0; p < parts && !touches; p++) {
        const struct ferry_block part = ferry__transfer_part(transfer, p);
        if (part.size && transfer->dst == buffer)
            touches = span_meets(span_written(transfer, part.dst_offset, part.size), begin, end);
        if (part.size && transfer->src == buffer)
            touches |= span_meets(span_read(transfer, part.src_offset, part.size), begin, end);
    }
    return touches;
}

/* Of ranges with spans a later write may have taken bytes out. */
bool ferry__footprint_touches(const struct ferry__op *op, const struct ferry_buffer *buffer,
                              uint64_t begin, uint64_t end)
{
    bool touches = false;
    for (size_t i = 0; i < op->count && !touches; i++)
        touches = transfer_touches(&ferry__op_transfers(op)[i], buffer, begin, end);
    if (op->type->kind != FERRY__OP_EXTERNAL)
        return touches;
    const uint64_t word = ferry__word(op->device);
    for (size_t i = 0; i < op->use_count && !touches; i++) {
        const struct ferry_use *use = &op->uses[i];
        touches = use->buffer == buffer &&
                  span_meets(span_of(buffer, use->offset, use->size, word), begin, end);
    }
    return touches;
}

void ferry__footprint_free(struct ferry__op *op)
{
    struct ferry__range *ranges = ferry__op_ranges(op);
    const size_t count = ferry__op_range_count(op);
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].kind == FERRY__RANGE_WRITE)
            ferry__free(ranges[i].write.own.next);
        ferry__free(ranges[i].spans);
    }
    if (ranges != op->own_ranges)
        ferry__free(ranges);
}

size_t ferry__footprint_buffers(const struct ferry__op *op)
{
    const struct ferry__range *ranges = ferry__op_ranges(op);
    size_t count = 0;
    for (size_t i = 0; i < ferry__op_range_count(op); i++)
        count += !i || ranges[i].buffer != ranges[i - 1].buffer;
    return count;
}
