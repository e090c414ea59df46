/* What the CPU does inside the call. */
#ifndef FERRY_PATHS_DIRECT_H
#define FERRY_PATHS_DIRECT_H

#include "base/compiler.h"
#include "base/range.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/submission.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

struct ferry__item;

/* May the CPU do it now, inside the call? */
bool ferry__item_direct_ok(const struct ferry__item *item, uint64_t max);

/* Does it, and counts it; the ticket, or 0, is for the trace. */
void ferry__item_direct(const struct ferry__item *item, ferry_ticket ticket);

/* Asynchronous direct copies block their caller: not for longer than a staging chunk would. */
enum { ASYNC_DIRECT_MAX = 2 << 20, IMPORT_CALL_MIN = 64 << 10 };

static inline bool ferry__buffer_is_idle(const ferry_buffer *buffer)
{
    return atomic_load_explicit(&buffer->word, memory_order_acquire) == 0;
}

/* Would the device read or write registered memory sooner than the CPU copies? */
bool ferry__item_goes_imported(struct ferry_device *device, const struct ferry__item *item);

/* What the caller of an asynchronous operation gave, or nothing. */
struct ferry__reply {
    bool waiting;
    ferry_callback callback;
    void *user;
    ferry_ticket *out_ticket;
};

/* An operation that is done inside its call has a ticket all the same, and a callback to run. */
enum ferry_status ferry__item_run_inside(const struct ferry__item *item,
                                         const struct ferry__reply *reply);

/* A small transfer of a reachable, idle buffer: nothing but the checks, the copy and the counts. */
static inline bool ferry__is_small_direct(const ferry_buffer *buffer, bool allowed, uint64_t size,
                                          uint64_t offset)
{
    return FERRY__LIKELY(allowed && size && size <= FERRY__SMALL_DIRECT &&
                         ferry__in_range(offset, size, buffer->size) &&
                         ferry__buffer_is_idle(buffer) &&
                         !atomic_load_explicit(&buffer->device->dead, memory_order_relaxed) &&
                         !buffer->device->trace && !ferry__inside_callback());
}

#endif
