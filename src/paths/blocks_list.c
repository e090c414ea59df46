#include "base/range.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/retire.h"
#include "engine/submission.h"
#include "memory/host_memory.h"
#include "memory/staging.h"
#include "paths/blocks.h"
#include "paths/launch.h"
#include "paths/record.h"

#include <ferry/ferry.h>
#include <string.h>

/* Blocks by lists that a kernel carries out: straight from or to registered memory, else through
 * staging, which the host gathers into, or scatters from. */

enum { FIRST_LAUNCH = 2048, PHASE = 16, ENTRY = sizeof(struct ferry__block_entry) };

/* --- one list --------------------------------------------------------------------------------- */

static struct ferry__ends ends_of(const struct ferry__transfer *transfer, unsigned kind)
{
    const struct ferry__region *region =
        ferry__blocks_by_host(transfer) && kind < FERRY__BLOCK_REGIONS_MAX
            ? transfer->blocks->regions[kind]
            : NULL;
    struct ferry__ends ends = {0};
    if (transfer->dst) {
        ends.dst = transfer->dst->memory;
        ends.dst_base = transfer->dst->offset;
    }
    if (transfer->src) {
        ends.src = transfer->src->memory;
        ends.src_base = transfer->src->offset;
    }
    if (!region)
        return ends;
    const uint64_t base =
        (uint64_t)(uintptr_t)transfer->host - (uint64_t)(uintptr_t)region->memory_base;
    if (transfer->dst) {
        ends.src = &region->memory;
        ends.src_base = base;
    } else {
        ends.dst = &region->memory;
        ends.dst_base = base;
    }
    return ends;
}

/* Goes on to the next block of the kind that is at it, if it is not at one. False: there is
 * none. */
static bool find_next(const struct ferry__blocks *blocks, unsigned kind, size_t *next)
{
    const unsigned wanted = kind == FERRY__BLOCK_REGIONS_MAX ? FERRY__BLOCK_STAGED : kind;
    for (; *next < blocks->count; ++*next)
        if (ferry__blocks_at(blocks, *next).size &&
            (!blocks->region_of || blocks->region_of[*next] == wanted))
            return true;
    return false;
}

/* Where bytes that are to be at this phase begin in staging, from at on. */
static uint64_t phased(uint64_t at, uint64_t phase)
{
    return at + ((phase - at) & (PHASE - 1));
}

/* How many blocks a submission has at most: few at first, so that the device begins soon, and then
 * as many as it has already. */
static uint64_t launch_max(const struct ferry_device *device, const struct ferry__blocks *blocks)
{
    const uint64_t max = ferry__most(blocks->before + blocks->next, FIRST_LAUNCH);
    return ferry__least(max, device->gpu.limits.blocks_max);
}

static bool is_full(const struct ferry_device *device, const struct ferry__submission *sub)
{
    return sub->blocks >= sub->blocks_max || sub->command_count >= FERRY__COMMANDS_MAX ||
           sub->block_bytes >= FERRY__BLOCKS_BYTES_MAX ||
           sub->staged >= device->gpu.upload.chunk_size;
}

/* So many bytes of a block go in one entry now. */
static uint64_t piece_of(const struct ferry_device *device, uint64_t left, uint64_t room)
{
    return ferry__least(ferry__least(left, device->gpu.limits.block_size_max), room);
}

/* How many entries what is left may need, with what may lie end to end with it, and how many a
 * submission may still have. */
static uint64_t entries_wanted(const struct ferry_device *device,
                               const struct ferry__submission *sub,
                               const struct ferry__transfer *transfer)
{
    const struct ferry__blocks *blocks = transfer->blocks;
    const uint64_t cut = transfer->size / device->gpu.limits.block_size_max;
    const uint64_t left = blocks->count - blocks->next + cut + 1 + blocks->after;
    return ferry__least(left, sub->blocks_max - sub->blocks);
}

/* Behind the list before, if what is left there has room for all; else in a slice of its own. */
static enum ferry_status take_list(struct ferry_device *device, struct ferry__submission *sub,
                                   const struct ferry__blocks *blocks, uint64_t wanted,
                                   const struct ferry__ends *ends)
{
    const struct ferry__launch *last = &sub->launch;
    struct ferry__slice slice;
    if (last->goes_on &&
        last->capacity - last->count >= ferry__least(wanted, blocks->count - blocks->next))
        return ferry__launch_open(sub, last->memory, last->offset + (uint64_t)last->count * ENTRY,
                                  last->capacity - last->count, ends);
    const enum ferry_status status =
        ferry__take_upload(device, sub, wanted * ENTRY + PHASE, ENTRY + PHASE, 0, &slice);
    if (status)
        return status;
    const uint64_t capacity = (slice.size - PHASE) / ENTRY;
    return ferry__launch_open(sub, &slice.chunk->memory, ferry__round_up(slice.offset, PHASE),
                              ferry__least(capacity, wanted), ends);
}

/* What a launch's blocks lie in, now that some from one to before another of a list are among them:
 * exactly where they ascend, else as all of the list does. */
static void hull_widen(struct ferry__launch_hull *hull, const struct ferry__blocks *blocks,
                       const struct ferry__ends *ends, size_t from, size_t to)
{
    uint64_t begin = blocks->dst_begin, end = blocks->dst_end;
    if (blocks->dst_ascends) {
        begin = ferry__blocks_at(blocks, from).dst_offset;
        end = ferry__blocks_at(blocks, to - 1).dst_offset + blocks->size_each;
    }
    hull->dst_begin = ferry__least(hull->dst_begin, ends->dst_base + begin);
    hull->src_begin = ferry__least(hull->src_begin, ends->src_base + blocks->src_begin);
    hull->dst_end = ferry__most(hull->dst_end, ends->dst_base + end);
    hull->src_end = ferry__most(hull->src_end, ends->src_base + blocks->src_end);
}

/* Writes count entries of blocks of one size; where both sides are one memory, none for a block
 * that is there already. How many entries. */
static inline uint64_t write_equal(struct ferry__block_entry *entry,
                                   const struct ferry__blocks *blocks,
                                   const struct ferry__ends *ends, size_t count, bool one_memory)
{
    const struct ferry__block_entry *const first = entry;
    const struct ferry_block *block = blocks->list + blocks->next;
    const struct ferry_block *const end = block + count;
    const uint64_t dst_base = ends->dst_base, src_base = ends->src_base;
    const uint32_t size = (uint32_t)blocks->size_each;
    for (; block < end; block++) {
        const uint64_t dst = dst_base + block->dst_offset, src = src_base + block->src_offset;
        *entry = (struct ferry__block_entry){.dst = dst, .src = src, .size = size};
        entry += !one_memory || dst != src;
    }
    return (uint64_t)(entry - first);
}

/* Whole blocks of one size, as many as there is room for. How many bytes. */
static uint64_t add_equal(struct ferry__launch *launch, struct ferry__blocks *blocks,
                          const struct ferry__ends *ends, uint64_t room)
{
    const uint64_t size = blocks->size_each;
    const uint64_t left = ferry__least(blocks->count - blocks->next, room / size);
    const size_t count = (size_t)ferry__least(launch->capacity - launch->count, left);
    struct ferry__block_entry *entry = launch->entries + launch->count;
    if (!count)
        return 0;
    const uint64_t written = ends->dst->native == ends->src->native
                                 ? write_equal(entry, blocks, ends, count, true)
                                 : write_equal(entry, blocks, ends, count, false);
    hull_widen(&launch->hull, blocks, ends, blocks->next, blocks->next + count);
    launch->hull.bytes += written * size;
    launch->count += (uint32_t)written;
    blocks->next += count;
    return count * size;
}

/* The same of any sizes. */
static uint64_t add_whole(const struct ferry_device *device, struct ferry__launch *launch,
                          struct ferry__blocks *blocks, const struct ferry__ends *ends,
                          uint64_t room)
{
    const uint64_t max = device->gpu.limits.block_size_max;
    if (blocks->list && blocks->size_each && blocks->size_each <= max)
        return add_equal(launch, blocks, ends, room);
    const uint64_t dst_base = ends->dst_base, src_base = ends->src_base;
    const bool one_memory = ends->dst->native == ends->src->native;
    struct ferry__block_entry *entry = launch->entries + launch->count;
    const struct ferry__block_entry *end = launch->entries + launch->capacity;
    struct ferry__launch_hull hull = launch->hull;
    uint64_t added = 0;
    size_t i = blocks->next;
    for (; i < blocks->count && entry < end; i++) {
        const struct ferry_block block = ferry__blocks_at(blocks, i);
        if (!block.size)
            continue;
        if (block.size > max || added + block.size > room)
            break;
        const uint64_t dst = dst_base + block.dst_offset, src = src_base + block.src_offset;
        added += block.size;
        if (one_memory && dst == src) /* it is there */
            continue;
        *entry++ =
            (struct ferry__block_entry){.dst = dst, .src = src, .size = (uint32_t)block.size};
        ferry__hull_add(&hull, dst, src, block.size);
    }
    launch->count = (uint32_t)(entry - launch->entries);
    launch->hull = hull;
    blocks->next = i;
    return added;
}

/* The next block, or a part of it. How many bytes. */
static uint64_t add_piece(const struct ferry_device *device, struct ferry__launch *launch,
                          struct ferry__blocks *blocks, const struct ferry__ends *ends,
                          uint64_t room)
{
    const struct ferry_block block = ferry__blocks_at(blocks, blocks->next);
    const uint64_t dst = ends->dst_base + block.dst_offset + blocks->done;
    const uint64_t src = ends->src_base + block.src_offset + blocks->done;
    const uint64_t size = piece_of(device, block.size - blocks->done, room);
    if (dst != src || ends->dst->native != ends->src->native) /* else it is there */
        ferry__launch_add(launch, dst, src, size);
    blocks->done += size;
    if (blocks->done == block.size) {
        blocks->next++;
        blocks->done = 0;
    }
    return size;
}

/* Blocks whose both sides the device reaches. */
static enum ferry_status fill_reached(struct ferry_device *device, struct ferry__submission *sub,
                                      struct ferry__transfer *transfer)
{
    struct ferry__blocks *blocks = transfer->blocks;
    struct ferry__launch *launch = &sub->launch;
    const struct ferry__ends ends = ferry__ends_locate(device, ends_of(transfer, blocks->kind));
    if (launch->entries && (launch->dst != ends.dst || launch->src != ends.src ||
                            launch->count == launch->capacity || launch->staged))
        ferry__launch_close(device, sub);
    if (!launch->entries) {
        const enum ferry_status status =
            take_list(device, sub, blocks, entries_wanted(device, sub, transfer), &ends);
        if (status)
            return status;
    }
    const uint32_t first = launch->count;
    const bool plain = !blocks->region_of;
    transfer->begun = true;
    transfer->untouched = false;
    while (launch->count < launch->capacity && sub->block_bytes < FERRY__BLOCKS_BYTES_MAX &&
           find_next(blocks, blocks->kind, &blocks->next)) {
        const uint64_t room = FERRY__BLOCKS_BYTES_MAX - sub->block_bytes;
        uint64_t added = 0;
        if (plain && !blocks->done)
            added = add_whole(device, launch, blocks, &ends, room);
        if (!added)
            added = add_piece(device, launch, blocks, &ends, room);
        sub->block_bytes += added;
    }
    sub->blocks += launch->count - first;
    return ferry__launch_flush(device, launch, first);
}

/* Whole blocks into a slice, from at on, of blocks that are all staged: as long as each is an entry
 * and fits before end. Where the bytes end. */
static uint64_t gather_whole(const struct ferry_device *device, struct ferry__launch *launch,
                             const struct ferry__transfer *transfer, const struct ferry__ends *ends,
                             uint64_t at, uint64_t end)
{
    struct ferry__blocks *blocks = transfer->blocks;
    const uint64_t max = device->gpu.limits.block_size_max;
    const uint64_t dst_base = ends->dst_base, src_at = ends->src_at;
    unsigned char *const slice = ends->src->host;
    const uintptr_t host = (uintptr_t)transfer->host;
    struct ferry__block_entry *entry = launch->entries + launch->count;
    const struct ferry__block_entry *const entries_end = launch->entries + launch->capacity;
    struct ferry__launch_hull hull = launch->hull;
    size_t i = blocks->next;
    for (; i < blocks->count && entry < entries_end; i++) {
        const struct ferry_block block = ferry__blocks_at(blocks, i);
        const uint64_t dst = dst_base + block.dst_offset, src = phased(at, dst - src_at);
        if (!block.size)
            continue;
        if (block.size > max || src >= end || block.size > end - src)
            break;
        memcpy(slice + src, (const void *)(host + block.src_offset), block.size);
        *entry++ = (struct ferry__block_entry){
            .dst = dst, .src = src_at + src, .size = (uint32_t)block.size};
        ferry__hull_add(&hull, dst, src_at + src, block.size);
        at = src + block.size;
    }
    launch->count = (uint32_t)(entry - launch->entries);
    launch->hull = hull;
    blocks->next = i;
    return at;
}

/* The host gathers blocks behind their list, in one slice. */
static enum ferry_status fill_gathered(struct ferry_device *device, struct ferry__submission *sub,
                                       struct ferry__transfer *transfer)
{
    struct ferry__blocks *blocks = transfer->blocks;
    struct ferry__launch *launch = &sub->launch;
    struct ferry__ends ends = ends_of(transfer, FERRY__BLOCK_REGIONS_MAX);
    const uint64_t each = transfer->size / blocks->count + PHASE + ENTRY;
    const uint64_t fit = device->gpu.upload.chunk_size / each + 1;
    uint64_t wanted = ferry__least(entries_wanted(device, sub, transfer), fit);
    struct ferry__slice slice;
    ferry__launch_close(device, sub);
    enum ferry_status status =
        ferry__take_upload(device, sub, wanted * each + PHASE, 8 * PHASE, 0, &slice);
    if (status)
        return status;
    wanted = ferry__least(wanted, slice.size / each + 1);
    while (wanted > 1 && wanted * ENTRY + 4 * PHASE > slice.size)
        wanted /= 2;
    ends.src = &slice.chunk->memory;
    ends = ferry__ends_locate(device, ends);
    status = ferry__launch_open(sub, ends.src, ferry__round_up(slice.offset, PHASE), wanted, &ends);
    if (status)
        return status;
    launch->staged = true;
    const uint64_t end = slice.offset + slice.size;
    uint64_t at = launch->offset + wanted * ENTRY;
    if (!blocks->region_of && !blocks->done)
        at = gather_whole(device, launch, transfer, &ends, at, end);
    while (launch->count < launch->capacity &&
           find_next(blocks, FERRY__BLOCK_REGIONS_MAX, &blocks->next)) {
        const struct ferry_block block = ferry__blocks_at(blocks, blocks->next);
        const uint64_t dst = ends.dst_base + block.dst_offset + blocks->done;
        at = phased(at, dst - ends.src_at);
        if (at >= end)
            break;
        const uint64_t size = piece_of(device, block.size - blocks->done, end - at);
        memcpy(ends.src->host + at,
               (const void *)(ferry__block_host(transfer, block) + blocks->done), size);
        ferry__launch_add(launch, dst, ends.src_at + at, size);
        at += size;
        blocks->done += size;
        if (blocks->done == block.size) {
            blocks->next++;
            blocks->done = 0;
        }
    }
    sub->blocks += launch->count;
    sub->block_bytes += launch->hull.bytes;
    return ferry__flush_slice(device, &slice, at - slice.offset);
}

/* --- downloads through staging ---------------------------------------------------------------- */

/* A slice of readback staging is filled with blocks, one behind the other, each at its phase: the
 * same walk lists them for the device, and finds them when it is done. */
struct walk {
    struct ferry_device *device;
    struct ferry__transfer *transfer;
    struct ferry__ends ends;
    size_t next;
    uint64_t done, at, end;
    /* The piece that it is at: */
    struct ferry_block block;
    uint64_t from, size; /* in the block, and how much */
};

static bool walk_on(struct walk *walk)
{
    const struct ferry__blocks *blocks = walk->transfer->blocks;
    if (!find_next(blocks, FERRY__BLOCK_REGIONS_MAX, &walk->next))
        return false;
    walk->block = ferry__blocks_at(blocks, walk->next);
    walk->from = walk->done;
    const uint64_t src = walk->ends.src_base + walk->block.src_offset + walk->done;
    walk->at = phased(walk->at, src - walk->ends.dst_at);
    if (walk->at >= walk->end)
        return false;
    walk->size = piece_of(walk->device, walk->block.size - walk->done, walk->end - walk->at);
    walk->done += walk->size;
    if (walk->done == walk->block.size) {
        walk->next++;
        walk->done = 0;
    }
    return true;
}

static struct walk walk_begin(struct ferry_device *device, struct ferry__transfer *transfer,
                              const struct ferry__slice *slice, size_t next, uint64_t done)
{
    struct ferry__ends ends = ends_of(transfer, FERRY__BLOCK_REGIONS_MAX);
    ends.dst = &slice->chunk->memory;
    return (struct walk){.device = device,
                         .transfer = transfer,
                         .ends = ferry__ends_locate(device, ends),
                         .next = next,
                         .done = done,
                         .at = slice->offset,
                         .end = slice->offset + slice->size};
}

/* The blocks of a slice go where they belong: count of them, from a place in the list on. */
static void scatter(struct ferry_device *device, const struct ferry__due *due)
{
    struct ferry__transfer *transfer = due->what;
    struct walk walk = walk_begin(device, transfer, &due->slice, due->skip, due->whole);
    for (unsigned i = 0; i < due->count && walk_on(&walk); i++) {
        memcpy((void *)(ferry__block_host(transfer, walk.block) + walk.from),
               due->slice.chunk->memory.host + walk.at, walk.size);
        walk.at += walk.size;
    }
}

/* Where no list came of it, since staging was short for that, the op is none of the submission's:
 * it may be gone. */
static void due_scatter(struct ferry_device *device, struct ferry__submission *sub,
                        const struct ferry__due *due)
{
    if (due->count && !sub->result.status)
        scatter(device, due);
    ferry__staging_give(&device->gpu, &device->gpu.readback, &due->slice);
}

/* A slice for which there is no list goes back at once, as if it had not been taken: one that the
 * submission gave back would count as staging that returns, for which the op is tried again. */
static void take_back(struct ferry_device *device, struct ferry__submission *sub, size_t index)
{
    if (sub->due_count != index + 1)
        return;
    sub->due_count = index;
    sub->staged -= sub->dues[index].slice.taken;
    ferry__staging_give(&device->gpu, &device->gpu.readback, &sub->dues[index].slice);
}

static enum ferry_status fill_scattered(struct ferry_device *device, struct ferry__submission *sub,
                                        struct ferry__transfer *transfer)
{
    struct ferry__blocks *blocks = transfer->blocks;
    struct ferry__launch *launch = &sub->launch;
    const uint64_t each = transfer->size / blocks->count + PHASE;
    const uint64_t fit = device->gpu.readback.chunk_size / each + 1;
    const uint64_t wanted = ferry__least(entries_wanted(device, sub, transfer), fit);
    struct ferry__due due = {.run = due_scatter,
                             .reads = true,
                             .what = transfer,
                             .skip = blocks->next,
                             .whole = blocks->done};
    ferry__launch_close(device, sub);
    if (!ferry__due_room(sub, 2))
        return ferry__no_memory();
    enum ferry_status status =
        ferry__staging_take(&device->gpu, &device->gpu.readback, &device->queues[sub->queue],
                            wanted * each + PHASE, 2 * PHASE, 0, &due.slice);
    if (status)
        return status;
    const size_t index = sub->due_count;
    ferry__due_add(sub, due); /* gives the slice back, whatever comes */
    sub->staged += due.slice.taken;
    struct walk walk = walk_begin(device, transfer, &due.slice, blocks->next, blocks->done);
    if ((status = take_list(device, sub, blocks, wanted, &walk.ends))) {
        take_back(device, sub, index);
        return status;
    }
    launch->staged = true;
    while (launch->count < launch->capacity && walk_on(&walk)) {
        ferry__launch_add(launch, walk.ends.dst_at + walk.at,
                          walk.ends.src_base + walk.block.src_offset + walk.from, walk.size);
        walk.at += walk.size;
    }
    if ((status = ferry__launch_flush(device, launch, 0)))
        return status;
    sub->dues[index].count = launch->count;
    sub->copies_out = true;
    sub->blocks += launch->count;
    sub->block_bytes += launch->hull.bytes;
    blocks->next = walk.next;
    blocks->done = walk.done;
    return FERRY_OK;
}

/* --- a transfer by lists ---------------------------------------------------------------------- */

static enum ferry_status fill(struct ferry_device *device, struct ferry__submission *sub,
                              struct ferry__transfer *transfer)
{
    if (transfer->blocks->kind < FERRY__BLOCK_REGIONS_MAX)
        return fill_reached(device, sub, transfer);
    return transfer->operation == FERRY_OPERATION_UPLOAD ? fill_gathered(device, sub, transfer)
                                                         : fill_scattered(device, sub, transfer);
}

enum ferry__emitted ferry__emit_list(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__transfer *transfer,
                                     enum ferry_status *out_status)
{
    struct ferry__blocks *blocks = transfer->blocks;
    if (!sub->blocks_max)
        sub->blocks_max = launch_max(device, blocks);
    for (; blocks->kind <= FERRY__BLOCK_REGIONS_MAX; blocks->kind++, blocks->next = 0) {
        if (!(blocks->kinds >> blocks->kind & 1))
            continue;
        while (find_next(blocks, blocks->kind, &blocks->next)) {
            if (is_full(device, sub))
                return FERRY__EMIT_MORE;
            const enum ferry_status status = fill(device, sub, transfer);
            if (status)
                return ferry__emit_result(status, out_status);
        }
    }
    return FERRY__EMIT_DONE;
}
