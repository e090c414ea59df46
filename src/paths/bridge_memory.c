#include "paths/bridge_memory.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "driver.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "engine/register.h"
#include "engine/retire.h"
#include "engine/traced.h"
#include "memory/pool.h"
#include "memory/staging.h"
#include "paths/bridge.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

/*
 * The memory of a copy between two devices. It counts in the budget of both: of each chunk a part
 * lies in readback staging of the source's device, and another in staging of the destination's.
 * Both are taken under both devices' locks, or neither, once both halves may begin; so a bridge
 * that waits holds nothing of either device. Of those that wait on a device the oldest comes first.
 */

enum { GRAIN = 65536 }; /* memory that the other device may import comes in multiples of it */

void ferry__bridge_lock_both(struct ferry__bridge *bridge)
{
    const bool first = bridge->source->id < bridge->destination->id;
    ferry__device_lock(first ? bridge->source : bridge->destination);
    ferry__device_lock(first ? bridge->destination : bridge->source);
    bridge->source->in_one_breath++; /* neither lock may be taken again beside the other */
    bridge->destination->in_one_breath++;
}

void ferry__bridge_unlock_both(struct ferry__bridge *bridge)
{
    bridge->source->in_one_breath--;
    bridge->destination->in_one_breath--;
    ferry__device_unlock(bridge->source);
    ferry__device_unlock(bridge->destination);
}

static void await_turn(const struct ferry__op *op)
{
    ferry__device_lock(op->device);
    ferry__await_turn(op);
    ferry__device_unlock(op->device);
}

void ferry__bridge_lock_in_turn(struct ferry__bridge *bridge)
{
    const struct ferry__op *read = bridge->read, *write = bridge->write;
    ferry__bridge_lock_both(bridge);
    while (ferry__is_claimed(read) || ferry__is_claimed(write)) {
        ferry__bridge_unlock_both(bridge);
        await_turn(read);
        await_turn(write);
        ferry__bridge_lock_both(bridge);
    }
}

static struct ferry__staging *near_staging(const struct ferry__bridge *bridge)
{
    return &bridge->source->gpu.readback;
}

static struct ferry__staging *far_staging(const struct ferry__bridge *bridge)
{
    return bridge->merges ? &bridge->destination->gpu.readback : &bridge->destination->gpu.upload;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A chunk, and what is round it, is at most a chunk of either staging, and half of its budget. */
static uint64_t chunk_max(const struct ferry__staging *staging)
{
    const uint64_t most = least(staging->chunk_size, staging->budget / 2);
    const uint64_t round = most >= 4 * GRAIN ? 2 * GRAIN : 4 * FERRY_BUFFER_ALIGNMENT;
    return most - round;
}

void ferry__bridge_measure(struct ferry__bridge *bridge)
{
    const struct ferry__limits *near = &bridge->source->gpu.limits;
    const struct ferry__limits *far = &bridge->destination->gpu.limits;
    const uint64_t most = least(chunk_max(near_staging(bridge)), chunk_max(far_staging(bridge)));
    const uint64_t align = far->copy_alignment;
    if (bridge->peer) { /* no chunk comes to the host: of each only a token does */
        bridge->chunk = least(bridge->size, far->max_copy);
        bridge->near_size = ferry__round_up(FERRY__BRIDGE_TOKEN, FERRY_BUFFER_ALIGNMENT);
        return;
    }
    const uint64_t atom = near->atom > FERRY_BUFFER_ALIGNMENT ? near->atom : FERRY_BUFFER_ALIGNMENT;
    bridge->chunk = least(bridge->size, most);
    bridge->near_size = ferry__round_up(bridge->chunk + 2 * (uint64_t)near->copy_alignment,
                                        bridge->chunk >= GRAIN ? (uint64_t)GRAIN : atom);
    bridge->edge = ferry__round_up(bridge->chunk + 2 * align, FERRY_BUFFER_ALIGNMENT);
    bridge->far_size = bridge->edge + FERRY_BUFFER_ALIGNMENT;
}

/* --- native memory ---------------------------------------------------------------------------- */

/* Where peers read their tokens to is kept for the next copy: making page-locked memory and giving
 * it back takes a device longer than a small copy. */
static bool token_take(struct ferry_device *device, struct ferry__memory *out_memory)
{
    ferry__device_lock(device);
    const bool found = device->token_count > 0;
    if (found)
        *out_memory = device->tokens[--device->token_count];
    ferry__device_unlock(device);
    return found;
}

static bool token_keep(struct ferry_device *device, const struct ferry__memory *memory)
{
    ferry__device_lock(device);
    const bool room = device->token_count < FERRY__TOKENS_MAX;
    if (room)
        device->tokens[device->token_count++] = *memory;
    ferry__device_unlock(device);
    return room;
}

void ferry__bridge_trim(struct ferry_device *device)
{
    struct ferry__memory memory;
    while (token_take(device, &memory))
        device->gpu.driver->memory_free(device->gpu.state, &memory);
}

static void slot_free(struct ferry__bridge *bridge, struct ferry__bridge_slot *slot)
{
    const bool kept = bridge->peer && slot->near.size && token_keep(bridge->source, &slot->near);
    if (slot->far.size)
        bridge->destination->gpu.driver->memory_free(bridge->destination->gpu.state, &slot->far);
    if (slot->near.size && !kept)
        bridge->source->gpu.driver->memory_free(bridge->source->gpu.state, &slot->near);
    *slot = (struct ferry__bridge_slot){0};
}

/* Can the destination's device work on the source's staging memory? */
static bool import_near(struct ferry__bridge *bridge, struct ferry__bridge_slot *slot)
{
    char why[FERRY__WHY_MAX] = "";
    const struct ferry__limits *limits = &bridge->destination->gpu.limits;
    const uint64_t grain = limits->import_granularity;
    if (!grain || !slot->near.coherent || !slot->near.cached || slot->near.size % grain ||
        (uintptr_t)slot->near.host % grain || bridge->by_words)
        return false;
    const struct ferry__driver *driver = bridge->destination->gpu.driver;
    void *const state = bridge->destination->gpu.state;
    /* Where memory can be known to the device, what is not is not worth making known for one
     * copy. */
    const enum ferry_status status =
        driver->host_find
            ? driver->host_find(state, slot->near.host, slot->near.size, &slot->far, why)
            : driver->host_import(state, slot->near.host, slot->near.size, false, &slot->far, why);
    if (status && driver->host_find) {
        slot->far = (struct ferry__memory){0};
        return false;
    }
    if (status) {
        slot->far = (struct ferry__memory){0};
        FERRY__ADD(&bridge->destination->gpu.metrics, import_failures, 1);
        return false;
    }
    FERRY__ADD(&bridge->destination->gpu.metrics, imports, 1);
    return true;
}

/* Asks again once what lies idle was given back. */
static enum ferry_status ask(struct ferry_device *device, enum ferry__memory_kind use,
                             uint64_t size, struct ferry__memory *out_memory)
{
    char why[FERRY__WHY_MAX] = "";
    enum ferry_status status;
    bool again;
    do {
        status = device->gpu.driver->memory_alloc(device->gpu.state, use, size, "ferry bridge",
                                                  out_memory, why);
        again = status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY && ferry__memory_trim(&device->gpu);
    } while (again);
    if (!status)
        return FERRY_OK;
    *out_memory = (struct ferry__memory){0};
    return ferry__fail(status, "no memory for a copy between devices: %s", why);
}

static enum ferry_status slot_alloc(struct ferry__bridge *bridge, struct ferry__bridge_slot *slot,
                                    bool may_share, bool *out_shared)
{
    const enum ferry__memory_kind use =
        bridge->merges ? FERRY__MEMORY_READBACK : FERRY__MEMORY_UPLOAD;
    *out_shared = false;
    if (bridge->peer && token_take(bridge->source, &slot->near))
        return FERRY_OK;
    const enum ferry_status status =
        ask(bridge->source, FERRY__MEMORY_READBACK, bridge->near_size, &slot->near);
    if (status || bridge->peer)
        return status;
    *out_shared = may_share && import_near(bridge, slot);
    return *out_shared ? FERRY_OK : ask(bridge->destination, use, bridge->far_size, &slot->far);
}

/* All that are in the budgets, or none. */
static enum ferry_status slots_alloc(struct ferry__bridge *bridge)
{
    struct ferry__bridge_slot *slots = bridge->slots;
    bool shared = false, second = false;
    enum ferry_status status = slot_alloc(bridge, &slots[0], true, &shared);
    if (!status && bridge->reserved > 1)
        status = slot_alloc(bridge, &slots[1], shared, &second);
    if (!status && bridge->reserved > 1 && shared && !second) { /* import both, or copy both */
        slot_free(bridge, &slots[0]);
        status = slot_alloc(bridge, &slots[0], false, &shared);
    }
    bridge->shared = shared;
    for (size_t i = 0; i < FERRY__BRIDGE_SLOTS && status; i++)
        slot_free(bridge, &slots[i]);
    return status;
}

/* --- the devices' lists, under both locks ----------------------------------------------------- */

static struct ferry__bridge_wait *wait_of(struct ferry__link *link)
{
    return link ? FERRY__OF_LINK(link, struct ferry__bridge_wait, link) : NULL;
}

static void list_add(struct ferry_device *device, struct ferry__bridge_wait *wait)
{
    const ferry_ticket ticket = wait->bridge->write->ticket;
    struct ferry__link *behind = device->bridge_waits.last;
    while (behind && wait_of(behind)->bridge->write->ticket > ticket)
        behind = behind->previous;
    ferry__list_insert(&device->bridge_waits, behind, &wait->link);
    device->staging_came = ferry__bridge_wake;
}

static void begin_to_wait(struct ferry__bridge *bridge)
{
    bridge->waits[0] = (struct ferry__bridge_wait){.bridge = bridge, .half = bridge->read};
    bridge->waits[1] = (struct ferry__bridge_wait){.bridge = bridge, .half = bridge->write};
    list_add(bridge->source, &bridge->waits[0]);
    list_add(bridge->destination, &bridge->waits[1]);
    bridge->memory = FERRY__BRIDGE_WAITS;
}

void ferry__bridge_wake(struct ferry_device *device)
{
    const struct ferry__bridge_wait *first = wait_of(device->bridge_waits.first);
    if (!first)
        return;
    struct ferry__op *half = first->half;
    half->resumed = true;
    ferry__ready_again(half, FERRY__STATE_SUSPENDED);
}

static void end_waiting(struct ferry__bridge *bridge)
{
    ferry__list_remove(&bridge->source->bridge_waits, &bridge->waits[0].link);
    ferry__list_remove(&bridge->destination->bridge_waits, &bridge->waits[1].link);
    ferry__bridge_wake(bridge->source);
    ferry__bridge_wake(bridge->destination);
}

/* --- the budgets ----------------------------------------------------------------------------- */

static void unreserve(struct ferry__bridge *bridge)
{
    ferry__staging_unreserve(&bridge->source->gpu, near_staging(bridge),
                             bridge->reserved * bridge->near_size);
    ferry__staging_unreserve(&bridge->destination->gpu, far_staging(bridge),
                             bridge->reserved * bridge->far_size);
    bridge->reserved = 0;
}

static bool reserve(struct ferry__bridge *bridge, unsigned slots)
{
    if (!ferry__staging_reserve(&bridge->source->gpu, near_staging(bridge),
                                slots * bridge->near_size))
        return false;
    if (ferry__staging_reserve(&bridge->destination->gpu, far_staging(bridge),
                               slots * bridge->far_size)) {
        bridge->reserved = slots;
        return true;
    }
    ferry__staging_unreserve(&bridge->source->gpu, near_staging(bridge), slots * bridge->near_size);
    ferry__staging_freed(bridge->source); /* who found it taken meanwhile asks again */
    return false;
}

/* Under both locks, by one that waits: has it its turn, and is there room? One slot will do. */
static bool try_to_reserve(struct ferry__bridge *bridge)
{
    if (bridge->waits[0].link.previous || bridge->waits[1].link.previous)
        return false;
    if ((bridge->size <= bridge->chunk || !reserve(bridge, 2)) && !reserve(bridge, 1))
        return false;
    bridge->memory = FERRY__BRIDGE_ASKS;
    end_waiting(bridge);
    return true;
}

/* A waiting call that may not wait for staging. */
static bool is_refused(const struct ferry__bridge *bridge)
{
    return bridge->write->has_waiter &&
           (bridge->source->no_staging_wait || bridge->destination->no_staging_wait);
}

/* Counted, and traced when the half that writes is looked at again. */
static void note_wait(struct ferry__bridge *bridge)
{
    FERRY__ADD(&bridge->destination->gpu.metrics, staging_waits, 1);
    if (bridge->destination->trace)
        ferry__trace_starved(bridge->write);
}

/* Under both locks. True: the caller is to ask the drivers. */
static bool take_part(struct ferry__bridge *bridge, bool *out_again)
{
    *out_again = false;
    if (bridge->memory >= FERRY__BRIDGE_ASKS || bridge->read->deps_unsubmitted ||
        bridge->write->deps_unsubmitted)
        return false;
    const bool first = bridge->memory == FERRY__BRIDGE_NEEDS;
    if (first)
        begin_to_wait(bridge);
    if (try_to_reserve(bridge))
        return true;
    *out_again = true;
    if (first)
        note_wait(bridge);
    return false;
}

/* Gives up what it may not wait for. */
static void refuse(struct ferry__bridge *bridge)
{
    ferry__bridge_lock_both(bridge);
    const bool refused = bridge->memory == FERRY__BRIDGE_WAITS && is_refused(bridge);
    if (refused) {
        bridge->memory = FERRY__BRIDGE_FAILED;
        end_waiting(bridge);
        FERRY__ADD(&bridge->destination->gpu.metrics, staging_exhaustions, 1);
        ferry__kick(bridge->source);
        ferry__kick(bridge->destination);
    }
    ferry__bridge_unlock_both(bridge);
    if (refused)
        ferry__bridge_fail(bridge, FERRY_ERROR_POOL_EXHAUSTED,
                           "no staging is free for a copy between devices");
}

/* It holds staging that others may wait for: from now on it is built before them. Under the
 * lock. */
static void go_first(struct ferry__op *half)
{
    half->resumed = true;
    ferry__ready_first_of_all(half);
}

static void ask_drivers(struct ferry__bridge *bridge)
{
    const enum ferry_status status = slots_alloc(bridge);
    if (status)
        ferry__bridge_fail(bridge, status, ferry_last_error());
    ferry__lock(&bridge->lock);
    for (unsigned i = 0; i < bridge->reserved && !status; i++)
        bridge->slots[i].state = FERRY__SLOT_FREE;
    ferry__unlock(&bridge->lock);
    ferry__bridge_lock_both(bridge);
    bridge->memory = status ? FERRY__BRIDGE_FAILED : FERRY__BRIDGE_HAS;
    go_first(bridge->read);
    go_first(bridge->write);
    ferry__kick(bridge->source);
    ferry__kick(bridge->destination);
    ferry__bridge_unlock_both(bridge);
}

bool ferry__bridge_memory(struct ferry__op *half)
{
    struct ferry__bridge *bridge = half->bridge;
    if (FERRY__LIKELY(atomic_load(&bridge->memory) == FERRY__BRIDGE_HAS))
        return true;
    bool ask = false, again = false;
    if (atomic_load(&bridge->alone))
        return false;
    for (int attempt = 0; attempt < 2 && !ask && (again || !attempt); attempt++) {
        if (attempt) { /* idle chunks have their part of the budgets */
            ferry__staging_trim(&bridge->source->gpu, near_staging(bridge));
            ferry__staging_trim(&bridge->destination->gpu, far_staging(bridge));
        }
        ferry__bridge_lock_both(bridge);
        ask = take_part(bridge, &again);
        ferry__kick(bridge->source);
        ferry__kick(bridge->destination);
        ferry__bridge_unlock_both(bridge);
    }
    if (ask)
        ask_drivers(bridge);
    else if (again && is_refused(bridge))
        refuse(bridge);
    const int memory = atomic_load(&bridge->memory);
    if (memory == FERRY__BRIDGE_FAILED)
        ferry__op_resume(half == bridge->read ? bridge->write : bridge->read);
    return memory == FERRY__BRIDGE_HAS;
}

void ferry__bridge_memory_give(struct ferry__bridge *bridge)
{
    struct ferry_device *const both[] = {bridge->source, bridge->destination};
    for (size_t i = 0; i < FERRY__BRIDGE_SLOTS; i++)
        slot_free(bridge, &bridge->slots[i]);
    if (!bridge->held)
        return;
    ferry__bridge_lock_both(bridge);
    if (bridge->memory == FERRY__BRIDGE_WAITS)
        end_waiting(bridge);
    if (bridge->reserved)
        unreserve(bridge);
    for (size_t i = 0; i < 2; i++) {
        both[i]->bridges--;
        ferry__staging_returned(both[i]);
        pthread_cond_broadcast(&both[i]->changed);
        ferry__kick(both[i]);
    }
    ferry__bridge_unlock_both(bridge);
}
