#include "internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * Which numbers stand for which buffers: ranges, sorted by base, searched by halves.
 *
 * Handles are numbers from a range in which no system has addresses: bits 54 and up of a user's
 * pointer are the same on every 64-bit machine we know, and here bit 54 alone is set. Whoever takes
 * one for an address faults at once, whatever it adds. They are handed out upwards with gaps
 * between, and come round only when the range is used up, so that a stale handle finds nothing.
 */
static_assert(sizeof(uintptr_t) == 8, "handles need 64-bit pointers");

#define FIRST ((uintptr_t)1 << 54)
#define LAST (((uintptr_t)1 << 55) - 1)
#define GAP ((uintptr_t)4096)

static struct {
    pthread_rwlock_t lock; /* guards all below */
    struct ferry__triton_range *ranges;
    size_t count, capacity;
    uintptr_t next; /* where to look for a free range */
} table = {.lock = PTHREAD_RWLOCK_INITIALIZER, .next = FIRST};

bool ferry__triton_is_handle(uintptr_t base)
{
    return base >= FIRST && base <= LAST;
}

/* The first range whose base is above this one's. */
static size_t above(uintptr_t base)
{
    size_t low = 0, high = table.count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (table.ranges[middle].base <= base)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uintptr_t rounded(size_t size)
{
    return (size + 2 * GAP - 1) & ~(GAP - 1);
}

/* Numbers that no live range has, with a gap behind; 0: there are none. */
static uintptr_t find_free(size_t size)
{
    const uintptr_t length = rounded(size);
    if (length < size || length > LAST - FIRST)
        return 0;
    for (int round = 0; round < 2; round++, table.next = FIRST) {
        uintptr_t base = table.next;
        size_t i = above(base);
        if (i && table.ranges[i - 1].base >= FIRST &&
            table.ranges[i - 1].base + rounded(table.ranges[i - 1].size) > base)
            base = table.ranges[i - 1].base + rounded(table.ranges[i - 1].size);
        for (; i < table.count && table.ranges[i].base - base < length; i++)
            base = table.ranges[i].base + rounded(table.ranges[i].size);
        if (base <= LAST && LAST - base >= length)
            return base;
    }
    return 0;
}

static bool grow(void)
{
    if (table.count < table.capacity)
        return true;
    const size_t capacity = table.capacity ? 2 * table.capacity : 64;
    struct ferry__triton_range *ranges = realloc(table.ranges, capacity * sizeof *ranges);
    if (!ranges)
        return false;
    table.ranges = ranges;
    table.capacity = capacity;
    return true;
}

uintptr_t ferry__triton_table_add(uintptr_t base, ferry_buffer *buffer, bool is_gpu)
{
    const size_t size = ferry_buffer_size(buffer);
    pthread_rwlock_wrlock(&table.lock);
    if (!grow())
        base = 0;
    else if (!base && (base = find_free(size)))
        table.next = base + rounded(size);
    if (base) {
        const size_t at = above(base);
        memmove(&table.ranges[at + 1], &table.ranges[at],
                (table.count - at) * sizeof *table.ranges);
        table.ranges[at] = (struct ferry__triton_range){base, size, buffer, is_gpu};
        table.count++;
    }
    pthread_rwlock_unlock(&table.lock);
    return base;
}

bool ferry__triton_table_remove(uintptr_t base)
{
    pthread_rwlock_wrlock(&table.lock);
    const size_t after = above(base);
    const bool found = after && table.ranges[after - 1].base == base;
    if (found) {
        memmove(&table.ranges[after - 1], &table.ranges[after],
                (table.count - after) * sizeof *table.ranges);
        table.count--;
    }
    pthread_rwlock_unlock(&table.lock);
    return found;
}

bool ferry__triton_table_find(uintptr_t base, struct ferry__triton_range *out)
{
    pthread_rwlock_rdlock(&table.lock);
    const size_t after = above(base);
    const bool found = after && base - table.ranges[after - 1].base < table.ranges[after - 1].size;
    if (found)
        *out = table.ranges[after - 1];
    pthread_rwlock_unlock(&table.lock);
    return found;
}

/* --- the public functions --------------------------------------------------------------------- */

TRITONSERVER_Error *ferry_triton_handle_create(ferry_buffer *buffer, void **out_base)
{
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    if (!buffer || !out_base)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_handle_create: %s is NULL",
                                  buffer ? "out_base" : "buffer");
    const uintptr_t base = ferry__triton_table_add(0, buffer, true);
    if (!base)
        return ferry__triton_no_memory(sizeof(struct ferry__triton_range));
    *out_base = (void *)base;
    return NULL;
}

void ferry_triton_handle_destroy(void *base)
{
    if (base)
        (void)ferry__triton_table_remove((uintptr_t)base);
}

TRITONSERVER_Error *ferry_triton_resolve(const void *base, ferry_buffer **out_buffer,
                                         size_t *out_offset)
{
    struct ferry__triton_range range;
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    if (!out_buffer || !out_offset)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_resolve: %s is NULL",
                                  out_buffer ? "out_offset" : "out_buffer");
    if (!base || !ferry__triton_table_find((uintptr_t)base, &range))
        return ferry__triton_fail(TRITONSERVER_ERROR_NOT_FOUND,
                                  "ferry_triton_resolve: %p is not Ferry's memory", base);
    *out_buffer = range.buffer;
    *out_offset = (uintptr_t)base - range.base;
    return NULL;
}
