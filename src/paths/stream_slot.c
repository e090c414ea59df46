#include "base/alloc.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/pages.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "memory/host_memory.h"
#include "memory/host_pages.h"
#include "memory/pool.h"
#include "paths/stream.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

/*
 * Slots of staging memory for streams: a device's, apart from what other transfers use, since none
 * of those shall wait for a disk or a network.
 */

enum {
    SLOT_MAX = 2 << 20,   /* bytes of a slot at most: a thread copies them in 250 us */
    SLOT_MIN = 256 << 10, /* unless the budget is smaller than two of these */
    SLOTS = 24,           /* a device's, in each direction, at most */
    /* Room to begin at a block, for a block's part before and after, and for words. */
    SLOT_EXTRA = 4 * FERRY__STREAM_BLOCK,
};

void ferry__stream_resume(struct ferry__op *op)
{
    op->resumed = true;
    ferry__ready_again(op, FERRY__STATE_SUSPENDED);
}

static void free_memory(struct ferry__gpu *gpu, struct ferry__stream_slot *slot)
{
    if (slot->pages)
        ferry__pages_free(gpu, &slot->memory, slot->pages, slot->memory.size);
    else
        gpu->driver->memory_free(gpu->state, &slot->memory);
}

/* Huge pages of ours, where those are better than memory of the driver's own. False: they are not,
 * or cannot be had. */
static bool make_huge(struct ferry__gpu *gpu, struct ferry__stream_slot *slot, uint64_t size)
{
    char why[FERRY__WHY_MAX] = "";
    struct ferry__pages_made made = {false, false};
    if (!gpu->limits.import_lasting || !gpu->limits.import_granularity || size < FERRY__HUGE_PAGE)
        return false;
    const uint64_t whole = ferry__round_up(size, gpu->limits.import_granularity);
    unsigned char *pages =
        ferry__pages_make(whole, ferry__numa_node("/sys", gpu->limits.pci), &made);
    if (!pages)
        return false;
    if (!made.huge ||
        gpu->driver->host_import(gpu->state, pages, whole, false, &slot->memory, why)) {
        munmap(pages, whole);
        return false;
    }
    slot->pages = pages;
    return true;
}

/* As the driver has it. */
static enum ferry_status make_plain(struct ferry__gpu *gpu, struct ferry__stream_slot *slot,
                                    uint64_t size)
{
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status;
    do
        status = gpu->driver->memory_alloc(
            gpu->state, slot->write ? FERRY__MEMORY_READBACK : FERRY__MEMORY_UPLOAD, size,
            "ferry stream", &slot->memory, why);
    while (status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY && ferry__memory_trim(gpu));
    if (status)
        (void)!ferry__fail(status, "no staging memory of %llu bytes for a stream: %s",
                           (unsigned long long)size, why);
    return status;
}

static struct ferry__stream_slot *make_slot(struct ferry_device *device, bool write,
                                            enum ferry_status *out_status)
{
    struct ferry__gpu *gpu = &device->gpu;
    const uint64_t size = device->slots->slot_size + SLOT_EXTRA;
    struct ferry__stream_slot *slot = ferry__alloc(sizeof *slot);
    *out_status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (!slot) {
        (void)!ferry__fail(*out_status, "no host memory for a slot of a stream");
        return NULL;
    }
    slot->write = write;
    *out_status = make_huge(gpu, slot, size) ? FERRY_OK : make_plain(gpu, slot, size);
    if (*out_status) {
        ferry__free(slot);
        return NULL;
    }
    FERRY__ADD(&gpu->metrics, device_allocations, 1);
    slot->id = atomic_fetch_add(&device->slots->last_id, 1) + 1;
    slot->base = -(uintptr_t)slot->memory.host & (FERRY__STREAM_BLOCK - 1);
    return slot;
}

/* Under device->lock, as the next. */
static void hungry_remove(struct ferry_stream *stream)
{
    struct ferry__stream_slots *slots = stream->op->device->slots;
    if (!stream->hungry)
        return;
    ferry__list_remove(&slots->hungry[stream->hungry - 1], &stream->hungry_link);
    stream->hungry = 0;
}

static void hungry_add(struct ferry_stream *stream, bool write)
{
    struct ferry__stream_slots *slots = stream->op->device->slots;
    if (stream->hungry == 1 + write)
        return;
    hungry_remove(stream);
    stream->hungry = 1 + write;
    ferry__list_push(&slots->hungry[write], &stream->hungry_link);
}

/* Where a slot lies idle, the first that waits for one is resumed: one, however many wait. */
static void offer(struct ferry__stream_slots *slots, bool write)
{
    struct ferry__link *first = slots->hungry[write].first;
    ferry__lock_as(&slots->lock, FERRY__LOCK_STAGING);
    const bool idle = slots->idle[write];
    ferry__unlock(&slots->lock);
    if (!idle || !first)
        return;
    struct ferry_stream *stream = FERRY__OF_LINK(first, struct ferry_stream, hungry_link);
    hungry_remove(stream);
    stream->offered = true;
    ferry__stream_resume(stream->op);
}

void ferry__slot_had_turn(struct ferry_stream *stream)
{
    struct ferry_device *device = stream->op->device;
    ferry__device_lock(device);
    if (stream->offered) {
        stream->offered = false;
        offer(device->slots, false);
        offer(device->slots, true);
        ferry__kick(device);
    }
    ferry__device_unlock(device);
}

void ferry__slot_sated(struct ferry_stream *stream)
{
    ferry__device_lock(stream->op->device);
    hungry_remove(stream);
    ferry__device_unlock(stream->op->device);
    ferry__slot_had_turn(stream);
}

static struct ferry__staging *staging_of(struct ferry_device *device, bool write)
{
    return write ? &device->gpu.readback : &device->gpu.upload;
}

static uint64_t bytes_of(const struct ferry__stream_slots *slots)
{
    return slots->slot_size + SLOT_EXTRA;
}

/* One more slot, counted among those there are, and in the budget of staging; two are always to be
 * had. */
static struct ferry__stream_slot *add_slot(struct ferry_device *device, bool write, bool even,
                                           enum ferry_status *out_status)
{
    struct ferry__staging *staging = staging_of(device, write);
    const uint64_t bytes = bytes_of(device->slots);
    *out_status = FERRY_ERROR_POOL_EXHAUSTED;
    if (!ferry__staging_hold(&device->gpu, staging, bytes, even))
        return NULL;
    struct ferry__stream_slot *slot = make_slot(device, write, out_status);
    if (!slot)
        ferry__staging_unhold(staging, bytes);
    return slot;
}

/* An idle slot; else *out_more: so many are there with one that may be made, and counts as made.
 * NULL out_more: none may. */
static struct ferry__stream_slot *take_idle(struct ferry__stream_slots *slots, bool write,
                                            unsigned *out_more)
{
    ferry__lock_as(&slots->lock, FERRY__LOCK_STAGING);
    struct ferry__stream_slot *slot = slots->idle[write];
    const bool more = out_more && !slot && slots->slots[write] < slots->slots_max;
    if (slot)
        slots->idle[write] = slot->next;
    if (more)
        slots->slots[write]++;
    if (out_more)
        *out_more = more ? slots->slots[write] : 0;
    ferry__unlock(&slots->lock);
    return slot;
}

/* One was not to be had. True: there are none at all. */
static bool lost_one(struct ferry__stream_slots *slots, bool write)
{
    ferry__lock_as(&slots->lock, FERRY__LOCK_STAGING);
    const bool none = --slots->slots[write] == 0;
    ferry__unlock(&slots->lock);
    return none;
}

enum ferry_status ferry__slot_take(struct ferry_stream *stream, bool write,
                                   struct ferry__stream_slot **out_slot)
{
    struct ferry_device *device = stream->op->device;
    struct ferry__stream_slots *slots = device->slots;
    enum ferry_status status = FERRY_OK;
    unsigned more;
    ferry__device_lock(device); /* so that none comes back unseen */
    struct ferry__stream_slot *slot = take_idle(slots, write, &more);
    if (!slot && more) {
        ferry__device_unlock(device);
        slot = add_slot(device, write, more <= 2, &status);
        ferry__device_lock(device);
        if (!slot) {
            more = lost_one(slots, write);
            slot = take_idle(slots, write, NULL);
        }
    }
    if (slot)
        status = FERRY_OK;
    else if (!more)
        status = FERRY_ERROR_POOL_EXHAUSTED;
    if (status == FERRY_ERROR_POOL_EXHAUSTED)
        hungry_add(stream, write);
    else
        hungry_remove(stream);
    ferry__device_unlock(device);
    if (slot) {
        slot->next = NULL;
        slot->stream = stream;
        ferry__staging_note_use(&device->gpu, staging_of(device, write), bytes_of(slots), true);
    }
    *out_slot = slot;
    return status;
}

void ferry__slot_give(struct ferry_device *device, struct ferry__stream_slot *slot)
{
    struct ferry__stream_slots *slots = device->slots;
    const bool write = slot->write;
    ferry__staging_note_use(&device->gpu, staging_of(device, write), bytes_of(slots), false);
    ferry__device_lock(device);
    ferry__lock_as(&slots->lock, FERRY__LOCK_STAGING);
    slot->next = slots->idle[write];
    slots->idle[write] = slot; /* whoever trims may free it from here on */
    ferry__unlock(&slots->lock);
    offer(slots, write);
    ferry__kick(device);
    ferry__device_unlock(device);
}

/* All that lie idle, as a list. */
static struct ferry__stream_slot *take_all(struct ferry__stream_slots *slots)
{
    struct ferry__stream_slot *list = NULL;
    ferry__lock_as(&slots->lock, FERRY__LOCK_STAGING);
    for (int write = 0; write < 2; write++) {
        while (slots->idle[write]) {
            struct ferry__stream_slot *slot = slots->idle[write];
            slots->idle[write] = slot->next;
            slots->slots[write]--;
            slot->next = list;
            list = slot;
        }
    }
    ferry__unlock(&slots->lock);
    return list;
}

void ferry__slots_trim(struct ferry_device *device)
{
    struct ferry__stream_slots *slots = device->slots;
    struct ferry__stream_slot *list = slots ? take_all(slots) : NULL;
    while (list) {
        struct ferry__stream_slot *slot = list;
        list = slot->next;
        free_memory(&device->gpu, slot);
        ferry__staging_unhold(staging_of(device, slot->write), bytes_of(slots));
        FERRY__ADD(&device->gpu.metrics, device_frees, 1);
        ferry__free(slot);
    }
}

static void trim_gpu(struct ferry__gpu *gpu)
{
    ferry__slots_trim((struct ferry_device *)((char *)gpu - offsetof(struct ferry_device, gpu)));
}

/* --- beginning and end ------------------------------------------------------------------------ */

static struct ferry__stream_slots *make_slots(struct ferry_device *device)
{
    struct ferry__stream_slots *slots = ferry__alloc(sizeof *slots);
    const uint64_t chunk = device->gpu.upload.chunk_size;
    /* A slot is one allocation. */
    const uint64_t largest =
        ferry__round_down(device->gpu.limits.max_allocation, FERRY__STREAM_BLOCK);
    if (!slots)
        return NULL;
    slots->device = device;
    /* A quarter of the budget, a chunk of it at least, stays for other transfers. */
    const uint64_t most = device->gpu.upload.budget / 4 * 3;
    uint64_t size = ferry__round_down(most / SLOTS, FERRY__STREAM_BLOCK);
    size = size < SLOT_MIN ? SLOT_MIN : size < SLOT_MAX ? size : SLOT_MAX;
    slots->slot_size = ferry__least(chunk, size);
    if (slots->slot_size > largest - SLOT_EXTRA && largest > SLOT_EXTRA)
        slots->slot_size = largest - SLOT_EXTRA;
    const uint64_t count = most / bytes_of(slots);
    slots->slots_max = count < 2 ? 2 : count < SLOTS ? (unsigned)count : SLOTS;
    if (!pthread_mutex_init(&slots->lock, NULL))
        return slots;
    ferry__free(slots);
    return NULL;
}

static void free_slots(struct ferry__stream_slots *slots)
{
    pthread_mutex_destroy(&slots->lock);
    ferry__free(slots);
}

enum ferry_status ferry__slots_start(struct ferry_device *device)
{
    if (device->slots)
        return FERRY_OK;
    struct ferry__stream_slots *slots = make_slots(device);
    if (!slots)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a stream");
    atomic_store(&device->gpu.trim_above, trim_gpu);
    ferry__device_lock(device);
    const bool first = !device->slots;
    if (first) {
        device->streams_step = ferry__streams_step;
        device->slots = slots;
    }
    ferry__device_unlock(device);
    if (!first) /* another thread was faster */
        free_slots(slots);
    return FERRY_OK;
}

void ferry__slots_finish(struct ferry_device *device)
{
    if (!device->slots)
        return;
    ferry__slots_trim(device);
    free_slots(device->slots);
    device->slots = NULL;
}
