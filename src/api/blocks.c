#include "engine/blocks.h"
#include "api/transfer.h"
#include "base/compiler.h"
#include "base/range.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/op.h"

#include <ferry/ferry.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

/* The front door of scattered blocks and rows: a list is checked whole before anything moves. */

/* What a call has been given. */
struct given {
    const char *what;
    enum ferry_operation operation;
    ferry_buffer *dst, *src; /* NULL: the host's side */
    const void *host;
    const struct ferry_block *list;
    size_t count;
    bool by_rows;
    const struct ferry_rows *rows;
};

static struct given by_list(const char *what, enum ferry_operation operation, ferry_buffer *dst,
                            ferry_buffer *src, const void *host, const struct ferry_block *list,
                            size_t count)
{
    return (struct given){.what = what,
                          .operation = operation,
                          .dst = dst,
                          .src = src,
                          .host = host,
                          .list = list,
                          .count = count};
}

static struct given by_rows(const char *what, enum ferry_operation operation, ferry_buffer *dst,
                            ferry_buffer *src, const void *host, const struct ferry_rows *rows)
{
    return (struct given){.what = what,
                          .operation = operation,
                          .dst = dst,
                          .src = src,
                          .host = host,
                          .by_rows = true,
                          .rows = rows};
}

static enum ferry_status check_given(const struct given *given)
{
    const char *missing = NULL;
    if (!given->dst && given->operation != FERRY_OPERATION_DOWNLOAD)
        missing = "dst";
    else if (!given->src && given->operation != FERRY_OPERATION_UPLOAD)
        missing = "src";
    else if (given->by_rows && !given->rows)
        missing = "rows";
    else if (!given->by_rows && !given->list && given->count)
        missing = "the list";
    if (missing)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %s is NULL", given->what, missing);
    const ferry_buffer *buffers[] = {given->dst, given->src};
    for (size_t i = 0; i < 2; i++)
        if (buffers[i] && atomic_load_explicit(&buffers[i]->device->dead, memory_order_relaxed))
            return ferry__device_dead(buffers[i]->device, given->what);
    return FERRY_OK;
}

/* One side of a block. */
struct side {
    const struct given *given;
    const ferry_buffer *buffer; /* NULL: the host */
    const char *name;
    uint64_t lowest, limit; /* where a block that has bytes may lie */
};

static struct side side_of(const struct given *given, const ferry_buffer *buffer, const char *name)
{
    const uint64_t host = (uint64_t)(uintptr_t)given->host;
    return (struct side){.given = given,
                         .buffer = buffer,
                         .name = name,
                         .lowest = !buffer && !host,
                         .limit = buffer ? buffer->size : UINTPTR_MAX - host};
}

static enum ferry_status fail_range(const struct side *side, size_t i, uint64_t offset,
                                    uint64_t size)
{
    char what[96];
    snprintf(what, sizeof what, "%s: block %zu, %s", side->given->what, i, side->name);
    return ferry__range(side->buffer, what, offset, size);
}

static enum ferry_status fail_host(const struct side *side, size_t i, uint64_t offset,
                                   uint64_t size)
{
    const uint64_t host = (uint64_t)(uintptr_t)side->given->host;
    if (!host && !offset)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: block %zu, %s: the host address is NULL and the size is %" PRIu64,
                           side->given->what, i, side->name, size);
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                       "%s: block %zu, %s: size %" PRIu64 " at offset %" PRIu64
                       " from host address 0x%" PRIx64 " is past the end of all addresses",
                       side->given->what, i, side->name, size, offset, host);
}

/* Is it within its side? Cannot wrap. */
static inline bool side_fits(const struct side *side, uint64_t offset, uint64_t size)
{
    return offset >= side->lowest && ferry__in_range(offset, size, side->limit);
}

/* What does not fit; but at the host nothing may lie anywhere. */
static enum ferry_status side_fail(const struct side *side, size_t i, uint64_t offset,
                                   uint64_t size)
{
    if (side_fits(side, offset, size) || (!side->buffer && !size))
        return FERRY_OK;
    return side->buffer ? fail_range(side, i, offset, size) : fail_host(side, i, offset, size);
}

/* Block by block, to find what is wrong with one. */
static enum ferry_status check_each(const struct given *given, const struct side sides[2])
{
    uint64_t total = 0;
    for (size_t i = 0; i < given->count; i++) {
        const struct ferry_block block = given->list[i];
        enum ferry_status status = side_fail(&sides[0], i, block.dst_offset, block.size);
        if (!status)
            status = side_fail(&sides[1], i, block.src_offset, block.size);
        if (status)
            return status;
        if (block.size > UINT64_MAX - total)
            return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                               "%s: the sizes of %zu blocks are more than 2^64 bytes together",
                               given->what, given->count);
        total += block.size;
    }
    return FERRY_OK;
}

/* Is what the blocks lie within all that there is to check? Where no sum can have wrapped, and none
 * is empty: an empty one has a place too. */
static bool tells_all(const struct ferry__blocks *blocks)
{
    enum { PLACE_BITS = 62, SIZE_BITS = 32 };
    return !((blocks->dst_all | blocks->src_all) >> PLACE_BITS) &&
           !((blocks->size_all | blocks->count) >> SIZE_BITS) && !blocks->some_empty;
}

static enum ferry_status check_list(const struct given *given, const struct side sides[2],
                                    struct ferry__blocks *blocks, uint64_t *out_total)
{
    if (given->count > SIZE_MAX / sizeof *given->list)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: a list of %zu blocks is larger than memory", given->what,
                           given->count);
    *out_total = ferry__blocks_measure(blocks);
    const bool fits = blocks->dst_begin >= sides[0].lowest && blocks->dst_end <= sides[0].limit &&
                      blocks->src_begin >= sides[1].lowest && blocks->src_end <= sides[1].limit;
    return FERRY__LIKELY(fits && tells_all(blocks)) ? FERRY_OK : check_each(given, sides);
}

/* The first row and the last say what holds of all: strides are not negative. */
static enum ferry_status check_rows(const struct given *given, const struct side sides[2],
                                    struct ferry__blocks *blocks, uint64_t *out_total)
{
    const struct ferry_rows *rows = given->rows;
    const uint64_t last = rows->rows ? rows->rows - 1 : 0;
    const uint64_t offsets[2] = {rows->dst_offset, rows->src_offset};
    const uint64_t strides[2] = {rows->dst_stride, rows->src_stride};
    uint64_t ends[2];
    *out_total = (uint64_t)rows->rows * rows->row_size;
    if (!rows->rows)
        return FERRY_OK;
    if (*out_total / rows->rows != rows->row_size)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "%s: %zu rows of %zu bytes are more than 2^64 bytes together",
                           given->what, rows->rows, rows->row_size);
    for (size_t i = 0; i < 2; i++) {
        if (last && strides[i] > (UINT64_MAX - offsets[i]) / last)
            return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                               "%s: %s: %zu rows at a stride of %" PRIu64 " from %" PRIu64
                               " on are past 2^64",
                               given->what, sides[i].name, rows->rows, strides[i], offsets[i]);
        const uint64_t end = offsets[i] + last * strides[i];
        ends[i] = end + rows->row_size;
        enum ferry_status status = side_fail(&sides[i], 0, offsets[i], rows->row_size);
        if (!status)
            status = side_fail(&sides[i], last, end, rows->row_size);
        if (status)
            return status;
    }
    blocks->dst_begin = rows->dst_offset;
    blocks->dst_end = ends[0];
    blocks->src_begin = rows->src_offset;
    blocks->src_end = ends[1];
    blocks->dst_all = rows->dst_offset | rows->row_size | (last ? rows->dst_stride : 0);
    blocks->src_all = rows->src_offset | rows->row_size | (last ? rows->src_stride : 0);
    blocks->dst_ascends = !last || rows->dst_stride >= rows->row_size;
    blocks->size_each = rows->row_size;
    return FERRY_OK;
}

/* Checks what was given; its transfer borrows the list, and blocks, which the caller has. */
static enum ferry_status make(const struct given *given, struct ferry__transfer *transfer,
                              struct ferry__blocks *blocks)
{
    const struct side sides[2] = {side_of(given, given->dst, "dst"),
                                  side_of(given, given->src, "src")};
    uint64_t total = 0;
    enum ferry_status status = check_given(given);
    if (status)
        return status;
    *blocks = (struct ferry__blocks){.count = given->by_rows ? given->rows->rows : given->count,
                                     .list = given->list};
    if (given->by_rows)
        blocks->rows = *given->rows;
    status = given->by_rows ? check_rows(given, sides, blocks, &total)
                            : check_list(given, sides, blocks, &total);
    if (status)
        return status;
    *transfer = (struct ferry__transfer){.operation = given->operation,
                                         .dst = given->dst,
                                         .src = given->src,
                                         .dst_offset = blocks->dst_begin,
                                         .src_offset = blocks->src_begin,
                                         .size = total,
                                         .host = (unsigned char *)(uintptr_t)given->host,
                                         .with = FERRY__WITH_BLOCKS,
                                         .blocks = blocks};
    return FERRY_OK;
}

/* --- what becomes of it ----------------------------------------------------------------------- */

static enum ferry_status run(const struct given *given)
{
    struct ferry__transfer transfer;
    struct ferry__blocks blocks;
    enum ferry_status status = ferry__in_callback(given->what);
    if (!status)
        status = make(given, &transfer, &blocks);
    return status ? status : ferry__transfer_wait(&transfer);
}

static enum ferry_status submit(const struct given *given, ferry_callback cb, void *user,
                                ferry_ticket *out_ticket)
{
    struct ferry__transfer transfer;
    struct ferry__blocks blocks;
    const enum ferry_status status = make(given, &transfer, &blocks);
    return status ? status : ferry__transfer_submit(&transfer, cb, user, out_ticket);
}

static enum ferry_status add(ferry_batch *batch, const struct given *given)
{
    struct ferry__transfer transfer;
    struct ferry__blocks blocks;
    enum ferry_status status = make(given, &transfer, &blocks);
    if (status)
        return status;
    if (!ferry__blocks_keep(&transfer, true))
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu blocks",
                           blocks.count);
    status = ferry__batch_add(batch, given->what, &transfer);
    if (status)
        ferry__blocks_free(transfer.blocks);
    return status;
}

/* --- the operations that wait ----------------------------------------------------------------- */

enum ferry_status ferry_copy_blocks_from_host(ferry_buffer *dst, const void *src,
                                              const struct ferry_block *blocks, size_t count)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_UPLOAD, dst, NULL, src, blocks, count);
    return run(&given);
}

enum ferry_status ferry_copy_blocks_to_host(ferry_buffer *src, void *dst,
                                            const struct ferry_block *blocks, size_t count)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_DOWNLOAD, NULL, src, dst, blocks, count);
    return run(&given);
}

enum ferry_status ferry_copy_blocks(ferry_buffer *dst, ferry_buffer *src,
                                    const struct ferry_block *blocks, size_t count)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_COPY, dst, src, NULL, blocks, count);
    return run(&given);
}

enum ferry_status ferry_copy_rows_from_host(ferry_buffer *dst, const void *src,
                                            const struct ferry_rows *rows)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_UPLOAD, dst, NULL, src, rows);
    return run(&given);
}

enum ferry_status ferry_copy_rows_to_host(ferry_buffer *src, void *dst,
                                          const struct ferry_rows *rows)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_DOWNLOAD, NULL, src, dst, rows);
    return run(&given);
}

enum ferry_status ferry_copy_rows(ferry_buffer *dst, ferry_buffer *src,
                                  const struct ferry_rows *rows)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_COPY, dst, src, NULL, rows);
    return run(&given);
}

/* --- the operations that do not wait ---------------------------------------------------------- */

enum ferry_status ferry_copy_blocks_from_host_async(ferry_buffer *dst, const void *src,
                                                    const struct ferry_block *blocks, size_t count,
                                                    ferry_callback cb, void *user,
                                                    ferry_ticket *out_ticket)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_UPLOAD, dst, NULL, src, blocks, count);
    return submit(&given, cb, user, out_ticket);
}

enum ferry_status ferry_copy_blocks_to_host_async(ferry_buffer *src, void *dst,
                                                  const struct ferry_block *blocks, size_t count,
                                                  ferry_callback cb, void *user,
                                                  ferry_ticket *out_ticket)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_DOWNLOAD, NULL, src, dst, blocks, count);
    return submit(&given, cb, user, out_ticket);
}

enum ferry_status ferry_copy_blocks_async(ferry_buffer *dst, ferry_buffer *src,
                                          const struct ferry_block *blocks, size_t count,
                                          ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_COPY, dst, src, NULL, blocks, count);
    return submit(&given, cb, user, out_ticket);
}

enum ferry_status ferry_copy_rows_from_host_async(ferry_buffer *dst, const void *src,
                                                  const struct ferry_rows *rows, ferry_callback cb,
                                                  void *user, ferry_ticket *out_ticket)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_UPLOAD, dst, NULL, src, rows);
    return submit(&given, cb, user, out_ticket);
}

enum ferry_status ferry_copy_rows_to_host_async(ferry_buffer *src, void *dst,
                                                const struct ferry_rows *rows, ferry_callback cb,
                                                void *user, ferry_ticket *out_ticket)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_DOWNLOAD, NULL, src, dst, rows);
    return submit(&given, cb, user, out_ticket);
}

enum ferry_status ferry_copy_rows_async(ferry_buffer *dst, ferry_buffer *src,
                                        const struct ferry_rows *rows, ferry_callback cb,
                                        void *user, ferry_ticket *out_ticket)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_COPY, dst, src, NULL, rows);
    return submit(&given, cb, user, out_ticket);
}

/* --- in batches ------------------------------------------------------------------------------- */

enum ferry_status ferry_batch_copy_blocks_from_host(ferry_batch *batch, ferry_buffer *dst,
                                                    const void *src,
                                                    const struct ferry_block *blocks, size_t count)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_UPLOAD, dst, NULL, src, blocks, count);
    return add(batch, &given);
}

enum ferry_status ferry_batch_copy_blocks_to_host(ferry_batch *batch, ferry_buffer *src, void *dst,
                                                  const struct ferry_block *blocks, size_t count)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_DOWNLOAD, NULL, src, dst, blocks, count);
    return add(batch, &given);
}

enum ferry_status ferry_batch_copy_blocks(ferry_batch *batch, ferry_buffer *dst, ferry_buffer *src,
                                          const struct ferry_block *blocks, size_t count)
{
    const struct given given =
        by_list(__func__, FERRY_OPERATION_COPY, dst, src, NULL, blocks, count);
    return add(batch, &given);
}

enum ferry_status ferry_batch_copy_rows_from_host(ferry_batch *batch, ferry_buffer *dst,
                                                  const void *src, const struct ferry_rows *rows)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_UPLOAD, dst, NULL, src, rows);
    return add(batch, &given);
}

enum ferry_status ferry_batch_copy_rows_to_host(ferry_batch *batch, ferry_buffer *src, void *dst,
                                                const struct ferry_rows *rows)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_DOWNLOAD, NULL, src, dst, rows);
    return add(batch, &given);
}

enum ferry_status ferry_batch_copy_rows(ferry_batch *batch, ferry_buffer *dst, ferry_buffer *src,
                                        const struct ferry_rows *rows)
{
    const struct given given = by_rows(__func__, FERRY_OPERATION_COPY, dst, src, NULL, rows);
    return add(batch, &given);
}
