#include "paths/bridge.h"

#include "base/alloc.h"
#include "base/copy_host.h"
#include "base/log.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/judge.h"
#include "engine/op.h"
#include "engine/reason.h"
#include "engine/retire.h"
#include "engine/submission.h"
#include "paths/bridge_memory.h"
#include "paths/choose.h"
#include "paths/record.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/*
 * A copy between two devices: two halves, each an op of its own device, that hand two chunks of
 * host memory to and fro. While one chunk is read from the source's device the other is written to
 * the destination's. Neither device ever waits for the other: a half with nothing to do leaves its
 * queue, and is resumed when its partner is done with a chunk.
 *
 * Where the destination's device reaches the source's memory (peers) it copies from there itself,
 * in one piece. The source's half reads a token of the piece, which comes after all that the piece
 * depends on there, and stays in flight until the copy is done, so that nobody writes what is being
 * read.
 *
 * Where the destination can import the source's staging memory both devices work on that; else the
 * host copies a chunk from one to the other. Where the destination cannot write single bytes the
 * words at both ends are read first, and merged.
 */

void ferry__bridge_fail(struct ferry__bridge *bridge, enum ferry_status status, const char *why)
{
    ferry__lock(&bridge->lock);
    if (!bridge->status) {
        bridge->status = status;
        snprintf(bridge->why, sizeof bridge->why, "%s", why);
    }
    ferry__unlock(&bridge->lock);
}

static void resume_write(struct ferry__bridge *bridge)
{
    if (!atomic_load(&bridge->alone))
        ferry__op_resume(bridge->write);
}

static void resume_partner(const struct ferry__op *half)
{
    if (half == half->bridge->read)
        resume_write(half->bridge);
    else
        ferry__op_resume(half->bridge->read);
}

/* Peers: the source's half is done when nothing of it is being read any more. Under the bridge's
 * lock. */
static bool is_read(const struct ferry__bridge *bridge)
{
    for (size_t i = 0; i < FERRY__BRIDGE_SLOTS; i++)
        if (bridge->slots[i].state > FERRY__SLOT_FREE &&
            (!bridge->status || bridge->slots[i].state == FERRY__SLOT_WRITING))
            return false;
    return bridge->status || bridge->write_at == bridge->size;
}

/* The source's half ends early: not before the other device has read what it is reading, and until
 * then nothing that follows may be submitted. Under the source's device->lock; the bridge has
 * failed, so that no more is begun. */
static void stay_while_read(struct ferry__op *half)
{
    struct ferry__bridge *bridge = half->bridge;
    if (!bridge->peer || half != bridge->read)
        return;
    ferry__lock(&bridge->lock);
    half->stays = !is_read(bridge);
    ferry__unlock(&bridge->lock);
    half->in_flight += half->stays;
}

/* Under no lock. */
static void leave_when_read(struct ferry__bridge *bridge)
{
    struct ferry__op *half = bridge->read;
    if (!bridge->peer)
        return;
    ferry__device_lock(bridge->source);
    ferry__lock(&bridge->lock);
    const bool leaves = half->stays && is_read(bridge);
    ferry__unlock(&bridge->lock);
    if (leaves) {
        half->stays = false;
        half->in_flight--;
        ferry__op_try_done(half);
        ferry__kick(bridge->source);
    }
    ferry__device_unlock(bridge->source);
}

static void give_up(struct ferry__op *half, enum ferry_status status, const char *why)
{
    struct ferry__bridge *bridge = half->bridge;
    struct ferry__op *other = half == bridge->read ? bridge->write : bridge->read;
    ferry__bridge_fail(bridge, status, why);
    stay_while_read(half);
    if (atomic_load(&bridge->alone))
        return;
    other->resume_next = half->device->to_resume;
    half->device->to_resume = other;
    ferry__op_ref(other);
    ferry__device_ref(other->device); /* both may be done, and it closed, before the poke */
}

/* --- letting go ------------------------------------------------------------------------------- */

void ferry__bridge_unref(struct ferry__bridge *bridge)
{
    if (atomic_fetch_sub(&bridge->refs, 1) != 1)
        return;
    ferry__bridge_memory_give(bridge);
    if (bridge->held) {
        ferry__op_unref(bridge->read);
        ferry__op_unref(bridge->write);
    }
    pthread_mutex_destroy(&bridge->lock);
    ferry__device_unref(bridge->source);
    ferry__device_unref(bridge->destination);
    ferry__free(bridge);
}

/* --- where a chunk lies ----------------------------------------------------------------------- */

/* Of the words read from the source, those wanted begin here. */
static uint64_t near_skip(const struct ferry__bridge *bridge, const struct ferry__bridge_slot *slot)
{
    return slot->src & (bridge->source->gpu.limits.copy_alignment - 1);
}

/* In far, the chunk has the destination's phase. */
static uint64_t far_begin(const struct ferry__bridge *bridge, const struct ferry__bridge_slot *slot)
{
    if (bridge->shared)
        return near_skip(bridge, slot);
    return slot->dst & (bridge->destination->gpu.limits.copy_alignment - 1);
}

/* The next chunk: of blocks it is of one of them. */
static void next_chunk(struct ferry__bridge *bridge, struct ferry__bridge_slot *slot)
{
    const struct ferry__blocks *blocks = ferry__blocks_of(&bridge->read->one);
    const uint64_t align = bridge->destination->gpu.limits.copy_alignment;
    struct ferry_block block = {bridge->read_at, bridge->read_at, bridge->size - bridge->read_at};
    if (blocks) {
        while ((block = ferry__blocks_at(blocks, bridge->block)).size == bridge->block_done) {
            bridge->block++;
            bridge->block_done = 0;
        }
        block.dst_offset += bridge->block_done;
        block.src_offset += bridge->block_done;
        block.size -= bridge->block_done;
    }
    slot->at = bridge->read_at;
    slot->src = bridge->src + block.src_offset;
    slot->dst = bridge->dst + block.dst_offset;
    slot->size = block.size;
    if (slot->size > bridge->chunk)
        slot->size = ferry__round_down(slot->dst + bridge->chunk, align) - slot->dst;
    bridge->read_at += slot->size;
    bridge->block_done += slot->size;
}

/* --- the source's half ------------------------------------------------------------------------ */

static struct ferry__bridge_slot *find_slot(struct ferry__bridge *bridge,
                                            enum ferry__bridge_step state)
{
    for (size_t i = 0; i < 2; i++)
        if (bridge->slots[i].state == state)
            return &bridge->slots[i];
    return NULL;
}

static void due_chunk(struct ferry_device *device, struct ferry__submission *sub,
                      const struct ferry__due *due);

/* When the submission is done the half's chunks in it go a step on. There is room. */
static void add_due(struct ferry__submission *sub, struct ferry__op *half)
{
    const struct ferry__due *last = sub->due_count ? &sub->dues[sub->due_count - 1] : NULL;
    if (!last || last->run != due_chunk || last->what != half)
        ferry__due_add(sub, (struct ferry__due){.run = due_chunk, .what = half});
}

static enum ferry_status read_chunk(struct ferry_device *device, struct ferry__submission *sub,
                                    struct ferry__bridge *bridge, struct ferry__bridge_slot *slot)
{
    const uint64_t align = device->gpu.limits.copy_alignment;
    const struct ferry__memory *memory = bridge->read->one.src->memory;
    const uint64_t skip = near_skip(bridge, slot), begin = slot->src - skip;
    uint64_t size = ferry__round_up(skip + slot->size, align);
    if (begin + size > memory->size)
        size = skip + slot->size;
    if (bridge->peer && size > FERRY__BRIDGE_TOKEN)
        size = FERRY__BRIDGE_TOKEN;
    return ferry__emit_copy(device, sub, &slot->near, 0, memory, begin, size);
}

/* OK: a chunk may be read. Else how it stands. Under the bridge's lock. */
static enum ferry__emitted look_at_read(const struct ferry__bridge *bridge)
{
    if (bridge->peer && (bridge->status || bridge->read_at == bridge->size))
        return is_read(bridge) ? FERRY__EMIT_DONE : FERRY__EMIT_BLOCKED;
    return bridge->status ? FERRY__EMIT_DONE : FERRY__EMIT_BLOCKED;
}

static enum ferry__emitted emit_read(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__bridge *bridge, enum ferry_status *out_status)
{
    ferry__lock(&bridge->lock);
    struct ferry__bridge_slot *slot = find_slot(bridge, FERRY__SLOT_FREE);
    if (bridge->status || !slot || bridge->read_at == bridge->size) {
        const enum ferry__emitted how = look_at_read(bridge);
        ferry__unlock(&bridge->lock);
        return how;
    }
    slot->state = FERRY__SLOT_READING;
    next_chunk(bridge, slot);
    slot->sub = sub;
    const bool last = bridge->read_at == bridge->size;
    ferry__unlock(&bridge->lock);
    add_due(sub, bridge->read);
    *out_status = read_chunk(device, sub, bridge, slot);
    if (*out_status)
        return FERRY__EMIT_FAILED;
    if (last && bridge->peer)
        return FERRY__EMIT_BLOCKED; /* until it is written */
    return last ? FERRY__EMIT_DONE : FERRY__EMIT_MORE;
}

/* A chunk has arrived on the host: on to the other device's memory. */
static enum ferry_status carry_over(struct ferry__bridge *bridge, struct ferry__bridge_slot *slot)
{
    const uint64_t skip = near_skip(bridge, slot), begin = far_begin(bridge, slot);
    if (bridge->peer)
        return FERRY_OK;
    enum ferry_status status =
        ferry__memory_invalidate(&bridge->source->gpu, &slot->near, skip, slot->size);
    if (status || bridge->shared)
        return status;
    ferry__copy_chunk(slot->far.host + begin, slot->near.host + skip, slot->size, 0, 0,
                      bridge->source->cpus_taken + bridge->destination->cpus_taken);
    return ferry__memory_flush(&bridge->destination->gpu, &slot->far, begin, slot->size);
}

/* --- the destination's half ------------------------------------------------------------------- */

/* The words that the chunk's ends lie in, if only parts of them are of the chunk. */
struct ends {
    bool head, tail;
    uint64_t head_at, tail_at; /* of those words in the destination's memory */
};

static struct ends find_ends(const struct ferry__bridge *bridge,
                             const struct ferry__bridge_slot *slot)
{
    const uint64_t align = bridge->destination->gpu.limits.copy_alignment;
    const uint64_t begin = slot->dst, end = begin + slot->size;
    if (!bridge->merges)
        return (struct ends){0};
    return (struct ends){begin % align != 0, end % align != 0, ferry__round_down(begin, align),
                         ferry__round_down(end, align)};
}

static enum ferry_status read_ends(struct ferry_device *device, struct ferry__submission *sub,
                                   struct ferry__bridge *bridge, struct ferry__bridge_slot *slot,
                                   const struct ends *ends)
{
    const uint64_t align = device->gpu.limits.copy_alignment;
    const struct ferry__memory *memory = bridge->write->one.dst->memory;
    enum ferry_status status = FERRY_OK;
    if (ends->head)
        status =
            ferry__emit_copy(device, sub, &slot->far, bridge->edge, memory, ends->head_at, align);
    if (!status && ends->tail)
        status = ferry__emit_copy(device, sub, &slot->far, bridge->edge + align, memory,
                                  ends->tail_at, align);
    return status;
}

/* Puts the bytes round the chunk where they were. */
static enum ferry_status merge_ends(struct ferry__bridge *bridge, struct ferry__bridge_slot *slot)
{
    struct ferry_device *device = bridge->destination;
    const uint64_t align = device->gpu.limits.copy_alignment;
    const struct ends ends = find_ends(bridge, slot);
    const uint64_t begin = far_begin(bridge, slot), end = begin + slot->size;
    const unsigned char *words = slot->far.host + bridge->edge;
    enum ferry_status status =
        ferry__memory_invalidate(&device->gpu, &slot->far, bridge->edge, 2 * align);
    if (ends.head)
        memcpy(slot->far.host, words, begin);
    if (ends.tail)
        memcpy(slot->far.host + end, words + align + end % align, align - end % align);
    if (!status)
        status = ferry__memory_flush(&device->gpu, &slot->far, 0, ferry__round_up(end, align));
    return status;
}

static enum ferry_status write_chunk(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__bridge *bridge, struct ferry__bridge_slot *slot)
{
    const uint64_t align = device->gpu.limits.copy_alignment, begin = far_begin(bridge, slot);
    const struct ferry__memory *memory = bridge->write->one.dst->memory;
    const uint64_t to = slot->dst;
    if (bridge->peer)
        return ferry__emit_copy(device, sub, memory, to, &bridge->foreign, slot->src, slot->size);
    if (!bridge->merges)
        return ferry__emit_copy(device, sub, memory, to, &slot->far, begin, slot->size);
    return ferry__emit_copy(device, sub, memory, to - begin, &slot->far, 0,
                            ferry__round_up(begin + slot->size, align));
}

static struct ferry__bridge_slot *next_to_write(struct ferry__bridge *bridge)
{
    for (size_t i = 0; i < 2; i++) {
        struct ferry__bridge_slot *slot = &bridge->slots[i];
        if (slot->at == bridge->write_at &&
            (slot->state == FERRY__SLOT_READ || slot->state == FERRY__SLOT_MERGED))
            return slot;
    }
    return NULL;
}

static enum ferry__emitted emit_write(struct ferry_device *device, struct ferry__submission *sub,
                                      struct ferry__bridge *bridge, enum ferry_status *out_status)
{
    while (bridge->write_at < bridge->size) {
        ferry__lock(&bridge->lock);
        struct ferry__bridge_slot *slot = next_to_write(bridge);
        if ((*out_status = bridge->status))
            ferry__set_error(bridge->why);
        struct ends ends = {0};
        if (slot && slot->state == FERRY__SLOT_READ)
            ends = find_ends(bridge, slot);
        const bool merge = ends.head || ends.tail;
        if (slot && !*out_status) {
            slot->state = merge ? FERRY__SLOT_MERGING : FERRY__SLOT_WRITING;
            slot->sub = sub;
            bridge->write_at += merge ? 0 : slot->size;
        }
        /* What was not begun has changed nothing. */
        bridge->write->one.untouched =
            *out_status && !bridge->write_at && bridge->write->has_waiter;
        ferry__unlock(&bridge->lock);
        if (*out_status)
            return FERRY__EMIT_FAILED;
        if (!slot)
            return FERRY__EMIT_BLOCKED;
        add_due(sub, bridge->write);
        *out_status = merge ? read_ends(device, sub, bridge, slot, &ends)
                            : write_chunk(device, sub, bridge, slot);
        if (*out_status) /* what of it was recorded reads the source till the submission is done */
            return FERRY__EMIT_FAILED;
        if (merge)
            return FERRY__EMIT_BLOCKED;
    }
    return FERRY__EMIT_DONE;
}

static bool has_failed(struct ferry__bridge *bridge)
{
    ferry__lock(&bridge->lock);
    const bool failed = bridge->status != FERRY_OK;
    ferry__unlock(&bridge->lock);
    return failed;
}

static enum ferry__emitted record(struct ferry_device *device, struct ferry__submission *sub,
                                  struct ferry__op *op, enum ferry_status *out_status)
{
    struct ferry__bridge *bridge = op->bridge;
    op->one.untouched = false;
    const bool room = ferry__due_room(sub, 1);
    if (!room)
        *out_status = ferry__no_memory();
    if (!ferry__bridge_memory(op) && !has_failed(bridge))
        return FERRY__EMIT_BLOCKED;
    const enum ferry__emitted result = !room ? FERRY__EMIT_FAILED
                                       : op == bridge->read
                                           ? emit_read(device, sub, bridge, out_status)
                                           : emit_write(device, sub, bridge, out_status);
    if (result == FERRY__EMIT_FAILED) {
        ferry__bridge_fail(bridge, *out_status, ferry_last_error());
        ferry__device_lock(device);
        stay_while_read(op);
        ferry__device_unlock(device);
        resume_partner(op);
    }
    return result;
}

/* --- the steps of a chunk --------------------------------------------------------------------- */

static enum ferry_status step(struct ferry__bridge *bridge, struct ferry__bridge_slot *slot,
                              enum ferry__bridge_step *next)
{
    switch (slot->state) {
    case FERRY__SLOT_READING: *next = FERRY__SLOT_READ; return carry_over(bridge, slot);
    case FERRY__SLOT_MERGING: *next = FERRY__SLOT_MERGED; return merge_ends(bridge, slot);
    case FERRY__SLOT_WRITING:
    case FERRY__SLOT_NONE:
    case FERRY__SLOT_FREE:
    case FERRY__SLOT_READ:
    case FERRY__SLOT_MERGED: *next = FERRY__SLOT_FREE; break;
    }
    return FERRY_OK;
}

static void due_chunk(struct ferry_device *device, struct ferry__submission *sub,
                      const struct ferry__due *due)
{
    const struct ferry__op *half = due->what;
    struct ferry__bridge *bridge = half->bridge;
    (void)device;
    const char *why = sub->result.status ? sub->result.why : "staging memory cannot be reached";
    for (size_t i = 0; i < 2; i++) {
        struct ferry__bridge_slot *slot = &bridge->slots[i];
        enum ferry__bridge_step next = FERRY__SLOT_FREE;
        ferry__lock(&bridge->lock);
        const bool mine = slot->sub == sub;
        ferry__unlock(&bridge->lock);
        if (!mine)
            continue;
        enum ferry_status status = sub->result.status;
        if (!status)
            status = step(bridge, slot, &next);
        if (status)
            ferry__bridge_fail(bridge, status, why);
        ferry__lock(&bridge->lock);
        slot->sub = NULL;
        slot->state = next;
        ferry__unlock(&bridge->lock);
    }
    ferry__op_resume(bridge->read);
    resume_write(bridge);
    leave_when_read(bridge);
}

/* The source's half is done, and what became of it is known: the other may be judged. */
static void half_done(struct ferry__op *half)
{
    if (half->type->kind != FERRY__OP_BRIDGE_READ || atomic_load(&half->bridge->alone))
        return;
    struct ferry__op *write = half->bridge->write;
    struct ferry_device *device = write->device;
    struct ferry__reason *why =
        half->why; /* it has no callback, as the other may, and no lock here */
    if (half->status) {
        ferry__bridge_fail(half->bridge, half->status, ferry__reason_text(why));
        ferry__op_resume(write);
    }
    ferry__device_lock(device);
    if (half->status && !write->one.status) {
        write->one.status = half->status;
        ferry__op_set_why(write, why);
    }
    write->deps_undone--;
    ferry__op_try_done(write);
    ferry__kick(device);
    ferry__device_unlock(device);
}

/* --- the halves as ops ------------------------------------------------------------------------ */

static void release(struct ferry__op *half)
{
    ferry__transfers_release(half);
    if (half->bridge)
        ferry__bridge_unref(half->bridge);
    half->bridge = NULL;
}

const struct ferry__op_type ferry__bridge_read_type = {
    .kind = FERRY__OP_BRIDGE_READ,
    .record = record,
    .abandon = give_up,
    .judge = ferry__judge_transfers,
    .done = half_done,
    .release = release,
};

const struct ferry__op_type ferry__bridge_write_type = {
    .kind = FERRY__OP_BRIDGE_WRITE,
    .record = record,
    .abandon = give_up,
    .judge = ferry__judge_transfers,
    .release = release,
};
