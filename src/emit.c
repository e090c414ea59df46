#include "internal.h"

#include <string.h>

/*
 * From operations to commands: what the planner chose is written down for the driver, and staging is
 * filled. One thread at a time does this for a queue, without the device's lock.
 */

bool ferry__reserve(void **array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    const size_t wanted = *capacity ? *capacity * 2 : 16;
    void *grown = ferry__realloc(*array, wanted * size);
    if (!grown)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

#define RESERVE(sub, list)                                                                 \
    ferry__reserve((void **)&(sub)->list##s, &(sub)->list##_capacity, (sub)->list##_count, \
                   sizeof *(sub)->list##s)

static enum ferry_status no_memory(void)
{
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a submission");
}

/* --- copies and fills within the limits -------------------------------------------------------- */

/* What the device can do with this memory; src may be NULL. */
static const struct ferry__limits *limits_for(const struct ferry_device *device,
                                              const struct ferry__memory *dst,
                                              const struct ferry__memory *src)
{
    return dst->no_kernel || (src && src->no_kernel) ? &device->limits_no_kernel : &device->limits;
}

enum ferry_status ferry__emit_copy(struct ferry_device *device, struct ferry__sub *sub,
                                   const struct ferry__memory *dst, uint64_t dst_offset,
                                   const struct ferry__memory *src, uint64_t src_offset,
                                   uint64_t size)
{
    struct ferry__span spans[3];
    const size_t count =
        ferry__plan_copy_spans(limits_for(device, dst, src), dst_offset, src_offset, size, spans);
    if (!count)
        return ferry__fail(FERRY_ERROR_INTERNAL, "%llu bytes from %llu to %llu cannot be copied",
                           (unsigned long long)size, (unsigned long long)src_offset,
                           (unsigned long long)dst_offset);
    for (size_t i = 0; i < count; i++) {
        const uint64_t end = spans[i].at + spans[i].size;
        for (uint64_t at = spans[i].at; at < end; at += device->limits.max_copy) {
            const uint64_t left = end - at;
            const enum ferry_status status = ferry__add_command(
                device, sub,
                (struct ferry__command){
                    .kind = FERRY__COPY,
                    .engine = spans[i].engine,
                    .dst = dst,
                    .src = src,
                    .dst_offset = dst_offset + at,
                    .src_offset = src_offset + at,
                    .size = left < device->limits.max_copy ? left : device->limits.max_copy});
            if (status)
                return status;
            if (left <= device->limits.max_copy)
                break; /* max_copy may be near UINT64_MAX */
        }
    }
    return FERRY_OK;
}

static enum ferry_status emit_fill_span(struct ferry_device *device, struct ferry__sub *sub,
                                        const struct ferry__item *item,
                                        const struct ferry__span *span)
{
    const uint64_t offset = item->dst->offset + item->dst_offset, end = span->at + span->size;
    for (uint64_t at = span->at; at < end; at += device->limits.max_copy) {
        const uint64_t left = end - at;
        struct ferry__command command = {
            .kind = FERRY__FILL,
            .engine = span->engine,
            .pattern_size = item->pattern_size,
            .dst = item->dst->memory,
            .dst_offset = offset + at,
            .size = left < device->limits.max_copy ? left : device->limits.max_copy};
        for (unsigned i = 0; i < item->pattern_size; i++)
            command.pattern[i] = item->pattern[(at + i) % item->pattern_size];
        const enum ferry_status status = ferry__add_command(device, sub, command);
        if (status)
            return status;
        if (left <= device->limits.max_copy)
            break;
    }
    return FERRY_OK;
}

/* --- staging ---------------------------------------------------------------------------------- */

/* Writes have landed in a slice: the device shall see them. */
static enum ferry_status flush_slice(struct ferry_device *device, const struct ferry__slice *slice,
                                     uint64_t size)
{
    const struct ferry__memory *memory = &slice->chunk->memory;
    if (memory->coherent)
        return FERRY_OK;
    const uint64_t atom = device->limits.atom;
    const uint64_t begin = ferry__round_down(slice->offset, atom);
    const uint64_t end = ferry__round_up(slice->offset + size, atom);
    return device->driver->flush(device->state, memory, begin, end - begin);
}

static enum ferry_status take_upload(struct ferry_device *device, struct ferry__sub *sub,
                                     uint64_t want, uint64_t min, uint64_t phase,
                                     struct ferry__slice *out)
{
    if (!RESERVE(sub, upload))
        return no_memory();
    const enum ferry_status status =
        ferry__staging_take(device, &device->upload, NULL, want, min, phase, out);
    if (status)
        return status;
    sub->uploads[sub->upload_count++] = *out;
    sub->staged += out->taken;
    return FERRY_OK;
}

/* What was in reach of an item is emitted; how it goes on. */
static enum ferry__emitted emitted(enum ferry_status status, enum ferry_status *out_status)
{
    if (!status)
        return FERRY__EMIT_DONE;
    if (status == FERRY_ERROR_POOL_EXHAUSTED)
        return FERRY__EMIT_STARVED;
    *out_status = status;
    return FERRY__EMIT_FAILED;
}

/* A submission of pipelined transfers is one chunk, so that the next one's copying overlaps it. What
 * shall be one submission (a batch, a staged transfer) ends only where staging does. */
static bool is_full(const struct ferry_device *device, const struct ferry__sub *sub,
                    const struct ferry__op *op, const struct ferry__item *item)
{
    if (sub->command_count >= FERRY__COMMANDS_MAX)
        return true;
    return !op->batch && item->path == FERRY_PATH_PIPELINED &&
           sub->staged >= device->upload.chunk_size;
}

/* So many of n bytes at offset that what follows them is aligned. */
static uint64_t aligned_part(uint64_t offset, uint64_t n, uint64_t left, uint64_t align)
{
    if (n >= left)
        return left;
    const uint64_t end = ferry__round_down(offset + n, align);
    return end > offset ? end - offset : n;
}

static enum ferry__emitted emit_staged_upload(struct ferry_device *device, struct ferry__sub *sub,
                                              struct ferry__op *op, struct ferry__item *item,
                                              enum ferry_status *out_status)
{
    while (op->item_done < item->size) {
        if (is_full(device, sub, op, item))
            return FERRY__EMIT_MORE;
        struct ferry__slice slice;
        const uint64_t offset = item->dst->offset + item->dst_offset + op->item_done;
        const uint64_t left = item->size - op->item_done, align = device->limits.copy_alignment;
        enum ferry_status status =
            take_upload(device, sub, left, left < align ? left : align, offset, &slice);
        if (status)
            return emitted(status, out_status);
        const uint64_t n = aligned_part(offset, slice.size, left, align);
        ferry__copy_chunk(ferry__slice_host(&slice), item->host + op->item_done, n, 0,
                          device->cpus_taken);
        status = flush_slice(device, &slice, n);
        if (!status)
            status = ferry__emit_copy(device, sub, item->dst->memory, offset, &slice.chunk->memory,
                                      slice.offset, n);
        if (status)
            return emitted(status, out_status);
        op->item_done += n;
    }
    return FERRY__EMIT_DONE;
}

static enum ferry_status take_readback(struct ferry_device *device, struct ferry__sub *sub,
                                       uint64_t want, uint64_t min, uint64_t phase,
                                       struct ferry__copy_out *out)
{
    if (!RESERVE(sub, out))
        return no_memory();
    const enum ferry_status status = ferry__staging_take(
        device, &device->readback, &device->queues[sub->queue], want, min, phase, &out->slice);
    if (status)
        return status;
    sub->outs[sub->out_count++] = *out; /* gives the slice back, whatever comes */
    sub->staged += out->slice.taken;
    return FERRY_OK;
}

static enum ferry__emitted emit_staged_download(struct ferry_device *device, struct ferry__sub *sub,
                                                struct ferry__op *op, struct ferry__item *item,
                                                enum ferry_status *out_status)
{
    const uint64_t align = device->limits.copy_alignment;
    while (op->item_done < item->size) {
        if (is_full(device, sub, op, item))
            return FERRY__EMIT_MORE;
        const uint64_t offset = item->src->offset + item->src_offset + op->item_done;
        const uint64_t left = item->size - op->item_done;
        /* Whole words are read, also those that only end or begin in the range: no kernel needed.
         * Where the memory ends within a word, the bytes alone. */
        uint64_t begin = ferry__round_down(offset, align);
        uint64_t want = ferry__round_up(offset + left, align) - begin;
        if (begin + want > item->src->memory->size) {
            begin = offset;
            want = left;
        }
        struct ferry__copy_out out = {
            .dst = item->host + op->item_done, .skip = offset - begin, .whole = item->size};
        enum ferry_status status =
            take_readback(device, sub, want, want < 2 * align ? want : 2 * align, begin, &out);
        if (status)
            return emitted(status, out_status);
        const uint64_t read =
            out.slice.size < want ? ferry__round_down(out.slice.size, align) : want;
        const uint64_t n = read - out.skip < left ? read - out.skip : left;
        status = ferry__emit_copy(device, sub, &out.slice.chunk->memory, out.slice.offset,
                                  item->src->memory, begin, read);
        if (status)
            return emitted(status, out_status);
        sub->outs[sub->out_count - 1].size = n;
        op->item_done += n;
    }
    return FERRY__EMIT_DONE;
}

/* --- imports ---------------------------------------------------------------------------------- */

static enum ferry__emitted emit_imported(struct ferry_device *device, struct ferry__sub *sub,
                                         struct ferry__item *item, enum ferry_status *out_status)
{
    const struct ferry__region *region = item->region;
    const uint64_t host_offset = (uint64_t)(item->host - region->memory_base);
    enum ferry_status status;
    if (item->operation == FERRY_OPERATION_UPLOAD)
        status =
            ferry__emit_copy(device, sub, item->dst->memory, item->dst->offset + item->dst_offset,
                             &region->memory, host_offset, item->size);
    else
        status = ferry__emit_copy(device, sub, &region->memory, host_offset, item->src->memory,
                                  item->src->offset + item->src_offset, item->size);
    return emitted(status, out_status);
}

/* --- bounces: the host merges what the device cannot write alone ------------------------------- */

/* The words that a piece of the destination lies in, and for copies those of its source. */
struct bounce {
    uint64_t dst, dst_begin, dst_size;
    uint64_t src, src_begin, src_size;
};

static struct bounce bounce_ranges(const struct ferry_device *device,
                                   const struct ferry__item *item, struct ferry__piece piece)
{
    const uint64_t align = device->limits.copy_alignment;
    struct bounce b = {.dst = item->dst->offset + item->dst_offset + piece.at};
    b.dst_begin = ferry__round_down(b.dst, align);
    b.dst_size = ferry__round_up(b.dst + piece.size, align) - b.dst_begin;
    if (item->operation == FERRY_OPERATION_COPY) {
        b.src = item->src->offset + item->src_offset + piece.at;
        b.src_begin = ferry__round_down(b.src, align);
        b.src_size = ferry__round_up(b.src + piece.size, align) - b.src_begin;
    }
    return b;
}

void ferry__bounce_merge(struct ferry_device *device, struct ferry__op *op)
{
    const struct ferry__item *item = &op->items[op->next_item];
    const struct ferry__piece piece = op->bounce_piece;
    const struct bounce b = bounce_ranges(device, item, piece);
    unsigned char *words = ferry__slice_host(&op->bounce);
    unsigned char *to = words + (b.dst - b.dst_begin);
    if (item->operation == FERRY_OPERATION_UPLOAD)
        ferry__copy_host(to, item->host + piece.at, piece.size);
    else if (item->operation == FERRY_OPERATION_FILL)
        ferry__fill_host(to, piece.size, item->pattern, item->pattern_size,
                         piece.at % item->pattern_size);
    else
        ferry__copy_host(to, words + b.dst_size + (b.src - b.src_begin), piece.size);
}

/* Reads the words at the piece's ends, and its source. */
static enum ferry_status bounce_read(struct ferry_device *device, struct ferry__sub *sub,
                                     struct ferry__op *op, const struct ferry__item *item,
                                     bool *out_any)
{
    const uint64_t align = device->limits.copy_alignment;
    const struct bounce b = bounce_ranges(device, item, op->bounce_piece);
    const struct ferry__memory *words = &op->bounce.chunk->memory;
    const uint64_t at = op->bounce.offset, last = b.dst_size - align;
    const bool head = b.dst != b.dst_begin;
    const bool tail = b.dst + op->bounce_piece.size != b.dst_begin + b.dst_size;
    enum ferry_status status = FERRY_OK;
    *out_any = head || tail || b.src_size;
    if (head || (tail && !last))
        status = ferry__emit_copy(device, sub, words, at, item->dst->memory, b.dst_begin, align);
    if (!status && tail && last)
        status = ferry__emit_copy(device, sub, words, at + last, item->dst->memory,
                                  b.dst_begin + last, align);
    if (!status && b.src_size)
        status = ferry__emit_copy(device, sub, words, at + b.dst_size, item->src->memory,
                                  b.src_begin, b.src_size);
    return status;
}

static enum ferry_status bounce_write(struct ferry_device *device, struct ferry__sub *sub,
                                      struct ferry__op *op, const struct ferry__item *item)
{
    const struct bounce b = bounce_ranges(device, item, op->bounce_piece);
    enum ferry_status status = flush_slice(device, &op->bounce, b.dst_size);
    if (!status)
        status = ferry__emit_copy(device, sub, item->dst->memory, b.dst_begin,
                                  &op->bounce.chunk->memory, op->bounce.offset, b.dst_size);
    op->item_done += op->bounce_piece.size;
    return status;
}

/* The next piece of a bounce: one chunk of staging holds its words. */
static enum ferry_status bounce_begin(struct ferry_device *device, struct ferry__sub *sub,
                                      struct ferry__op *op, const struct ferry__item *item,
                                      uint64_t end)
{
    const bool copy = item->operation == FERRY_OPERATION_COPY;
    const uint64_t align = device->limits.copy_alignment;
    const uint64_t most = device->readback.chunk_size / (copy ? 2 : 1) - 4 * align;
    const uint64_t from = copy ? item->src->offset + item->src_offset : UINT64_MAX;
    op->bounce_piece = ferry__plan_piece(&device->limits, item->dst->offset + item->dst_offset,
                                         from, end, op->item_done, most);
    const struct bounce b = bounce_ranges(device, item, op->bounce_piece);
    if (!RESERVE(sub, out))
        return no_memory();
    const uint64_t size = b.dst_size + b.src_size;
    return ferry__staging_take(device, &device->readback, op, size, size, 0, &op->bounce);
}

enum ferry__emitted ferry__emit_bounce(struct ferry_device *device, struct ferry__sub *sub,
                                       struct ferry__op *op, struct ferry__item *item, uint64_t end,
                                       enum ferry_status *out_status)
{
    enum ferry_status status;
    while (op->item_done < end) {
        if (is_full(device, sub, op, item))
            return FERRY__EMIT_MORE;
        bool reads = false;
        if (!op->bounce_ready) {
            if ((status = bounce_begin(device, sub, op, item, end)))
                return emitted(status, out_status);
            status = bounce_read(device, sub, op, item, &reads);
            if (!status && !reads)
                ferry__bounce_merge(device, op);
        } else {
            if (!RESERVE(sub, out))
                return emitted(no_memory(), out_status);
            status = FERRY_OK;
        }
        op->bounce_ready = false;
        sub->staged += op->bounce.taken;
        sub->outs[sub->out_count++] =
            (struct ferry__copy_out){.slice = op->bounce, .bounce = reads && !status ? op : NULL};
        if (status)
            return emitted(status, out_status);
        if (reads)
            return FERRY__EMIT_BLOCKED;
        if ((status = bounce_write(device, sub, op, item)))
            return emitted(status, out_status);
    }
    return FERRY__EMIT_DONE;
}

/* --- copies between buffers, and fills --------------------------------------------------------- */

static enum ferry__emitted emit_pieces(struct ferry_device *device, struct ferry__sub *sub,
                                       struct ferry__op *op, const struct ferry__item *item,
                                       bool scratch, enum ferry_status *out_status)
{
    const uint64_t dst = item->dst->offset + item->dst_offset;
    const uint64_t src = item->src->offset + item->src_offset;
    const struct ferry__memory *memory = item->dst->memory;
    struct ferry__slice slice = {0};
    uint64_t most = dst < src ? src - dst : dst - src;
    if (scratch) {
        const uint64_t align = device->limits.copy_alignment;
        const enum ferry_status status =
            take_upload(device, sub, device->upload.chunk_size, FERRY__STAGING_MIN / 4, 0, &slice);
        if (status)
            return emitted(status, out_status);
        most = ferry__round_down(slice.size, align);
    }
    while (op->item_done < item->size) {
        if (sub->command_count >= FERRY__COMMANDS_MAX)
            return FERRY__EMIT_MORE;
        const struct ferry__piece piece =
            ferry__plan_piece(&device->limits, dst, src, item->size, op->item_done, most);
        enum ferry_status status = FERRY_OK;
        if (scratch)
            status = ferry__emit_copy(device, sub, &slice.chunk->memory, slice.offset, memory,
                                      src + piece.at, piece.size);
        if (!status)
            status = ferry__emit_copy(device, sub, memory, dst + piece.at,
                                      scratch ? &slice.chunk->memory : memory,
                                      scratch ? slice.offset : src + piece.at, piece.size);
        if (status)
            return emitted(status, out_status);
        op->item_done += piece.size;
    }
    return FERRY__EMIT_DONE;
}

static enum ferry__emitted emit_copy(struct ferry_device *device, struct ferry__sub *sub,
                                     struct ferry__op *op, struct ferry__item *item,
                                     enum ferry_status *out_status)
{
    const uint64_t dst = item->dst->offset + item->dst_offset;
    const uint64_t src = item->src->offset + item->src_offset;
    const bool same = item->dst->memory->native == item->src->memory->native;
    if (same && dst == src)
        return FERRY__EMIT_DONE;
    switch (ferry__plan_copy(&device->limits, dst, src, item->size, same)) {
    case FERRY__COPY_SPANS:
        return emitted(ferry__emit_copy(device, sub, item->dst->memory, dst, item->src->memory, src,
                                        item->size),
                       out_status);
    case FERRY__COPY_PIECES: return emit_pieces(device, sub, op, item, false, out_status);
    case FERRY__COPY_SCRATCH: return emit_pieces(device, sub, op, item, true, out_status);
    case FERRY__COPY_BOUNCE: break;
    }
    return ferry__emit_bounce(device, sub, op, item, item->size, out_status);
}

/* Puts size bytes of the pattern, from at on, into a slice of staging. */
static enum ferry_status take_tile(struct ferry_device *device, struct ferry__sub *sub,
                                   const struct ferry__item *item, uint64_t at, uint64_t size,
                                   struct ferry__slice *out)
{
    const enum ferry_status status = take_upload(device, sub, size, size, 0, out);
    if (status)
        return status;
    ferry__fill_host(ferry__slice_host(out), size, item->pattern, item->pattern_size,
                     at % item->pattern_size);
    return flush_slice(device, out, size);
}

static enum ferry_status emit_fill_command(struct ferry_device *device, struct ferry__sub *sub,
                                           const struct ferry__item *item)
{
    struct ferry__fill_span spans[3];
    const uint64_t offset = item->dst->offset + item->dst_offset;
    const size_t count = ferry__plan_fill_spans(limits_for(device, item->dst->memory, NULL), offset,
                                                item->size, item->pattern_size, spans);
    enum ferry_status status = FERRY_OK;
    for (size_t i = 0; i < count && !status; i++) { /* first what may starve */
        struct ferry__slice tile;
        const struct ferry__span *span = &spans[i].span;
        if (!spans[i].tile)
            continue;
        status = take_tile(device, sub, item, span->at, span->size, &tile);
        if (!status)
            status = ferry__emit_copy(device, sub, item->dst->memory, offset + span->at,
                                      &tile.chunk->memory, tile.offset, span->size);
    }
    for (size_t i = 0; i < count && !status; i++)
        if (!spans[i].tile)
            status = emit_fill_span(device, sub, item, &spans[i].span);
    return status;
}

/* A tile, then what is filled is copied behind itself, twice as much each time. */
static enum ferry_status emit_fill_tile(struct ferry_device *device, struct ferry__sub *sub,
                                        const struct ferry__item *item)
{
    enum { TILE_PATTERNS = 128 };
    const struct ferry__memory *memory = item->dst->memory;
    const uint64_t offset = item->dst->offset + item->dst_offset;
    const uint64_t tile_size = (uint64_t)item->pattern_size * TILE_PATTERNS;
    uint64_t filled = item->size < tile_size ? item->size : tile_size;
    struct ferry__slice tile;
    enum ferry_status status = take_tile(device, sub, item, 0, filled, &tile);
    if (!status)
        status =
            ferry__emit_copy(device, sub, memory, offset, &tile.chunk->memory, tile.offset, filled);
    while (!status && filled < item->size) {
        const uint64_t left = item->size - filled, n = filled < left ? filled : left;
        status = ferry__emit_copy(device, sub, memory, offset + filled, memory, offset, n);
        filled += n;
    }
    return status;
}

static enum ferry__emitted emit_fill(struct ferry_device *device, struct ferry__sub *sub,
                                     struct ferry__op *op, struct ferry__item *item,
                                     enum ferry_status *out_status)
{
    switch (ferry__plan_fill(limits_for(device, item->dst->memory, NULL),
                             item->dst->offset + item->dst_offset, item->size,
                             item->pattern_size)) {
    case FERRY__FILL_COMMAND: return emitted(emit_fill_command(device, sub, item), out_status);
    case FERRY__FILL_TILE: return emitted(emit_fill_tile(device, sub, item), out_status);
    case FERRY__FILL_BOUNCE: break;
    }
    return ferry__emit_bounce(device, sub, op, item, item->size, out_status);
}

/* --- one item, one op -------------------------------------------------------------------------- */

static enum ferry__emitted emit_upload(struct ferry_device *device, struct ferry__sub *sub,
                                       struct ferry__op *op, struct ferry__item *item,
                                       enum ferry_status *out_status)
{
    const uint64_t offset = item->dst->offset + item->dst_offset;
    struct ferry__span spans[3];
    if (item->path == FERRY_PATH_IMPORTED)
        return emit_imported(device, sub, item, out_status);
    /* Staging has the destination's phase, so the device needs no more than that. */
    if (!ferry__plan_copy_spans(&device->limits, offset, offset, item->size, spans))
        return ferry__emit_bounce(device, sub, op, item, item->size, out_status);
    return emit_staged_upload(device, sub, op, item, out_status);
}

static enum ferry__emitted emit_item(struct ferry_device *device, struct ferry__sub *sub,
                                     struct ferry__op *op, struct ferry__item *item,
                                     enum ferry_status *out_status)
{
    if (!item->size)
        return FERRY__EMIT_DONE;
    if (item->file)
        return ferry__file_emit(device, sub, op, item, out_status);
    switch (item->operation) {
    case FERRY_OPERATION_UPLOAD: return emit_upload(device, sub, op, item, out_status);
    case FERRY_OPERATION_DOWNLOAD:
        if (item->path == FERRY_PATH_IMPORTED)
            return emit_imported(device, sub, item, out_status);
        return emit_staged_download(device, sub, op, item, out_status);
    case FERRY_OPERATION_COPY: return emit_copy(device, sub, op, item, out_status);
    case FERRY_OPERATION_FILL: return emit_fill(device, sub, op, item, out_status);
    case FERRY_OPERATION_COUNT: break;
    }
    return FERRY__EMIT_DONE;
}

enum ferry__emitted ferry__emit(struct ferry_device *device, struct ferry__sub *sub,
                                struct ferry__op *op, enum ferry_status *out_status)
{
    if (op->bridge) {
        op->items[0].untouched = false;
        return ferry__bridge_emit(device, sub, op, out_status);
    }
    while (op->next_item < op->count) {
        struct ferry__item *item = &op->items[op->next_item];
        const uint64_t before = sub->added;
        const enum ferry__emitted result = emit_item(device, sub, op, item, out_status);
        if (sub->added > before) {
            item->begun = true;
            item->untouched = false; /* though an earlier submission was refused */
        }
        if (result != FERRY__EMIT_DONE)
            return result;
        op->next_item++;
        op->item_done = 0;
        sub->items++;
        if (sub->command_count >= FERRY__COMMANDS_MAX && op->next_item < op->count)
            return FERRY__EMIT_MORE;
    }
    return FERRY__EMIT_DONE;
}
