#include "engine/ticket.h"

#include "base/alloc.h"
#include "engine/device.h"
#include "engine/op.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

/* Tickets: numbers of ops, and the table in which they are found until nobody can ask any more. */

/* Tickets, what became of them, and the thread that runs the user's callbacks. */

/* --- the table
 * --------------------------------------------------------------------------------- */

static size_t bucket(const struct ferry_device *device, ferry_ticket ticket)
{
    return (ticket >> FERRY__DEVICE_BITS) & (device->table_size - 1);
}

/* More buckets, if there is memory for them; it works with too few. */
static void table_grow(struct ferry_device *device)
{
    const size_t old_size = device->table_size, size = old_size * 2;
    struct ferry__op **old = device->table, **table = ferry__alloc(size * sizeof *table);
    if (!table)
        return;
    device->table = table;
    device->table_size = size;
    for (size_t i = 0; i < old_size; i++) {
        while (old[i]) {
            struct ferry__op *op = old[i];
            old[i] = op->hash_next;
            struct ferry__op **link = &table[bucket(device, op->ticket)];
            op->hash_next = *link;
            *link = op;
        }
    }
    ferry__free(old);
}

void ferry__table_add(struct ferry_device *device, struct ferry__op *op)
{
    if (device->table_count >= device->table_size)
        table_grow(device);
    struct ferry__op **link = &device->table[bucket(device, op->ticket)];
    op->hash_next = *link;
    *link = op;
    device->table_count++;
}

void ferry__table_remove(struct ferry_device *device, struct ferry__op *op)
{
    struct ferry__op **link = &device->table[bucket(device, op->ticket)];
    while (*link != op)
        link = &(*link)->hash_next;
    *link = op->hash_next;
    device->table_count--;
}

struct ferry__op *ferry__table_find(struct ferry_device *device, ferry_ticket ticket)
{
    struct ferry__op *op = device->table[bucket(device, ticket)];
    while (op && op->ticket != ticket)
        op = op->hash_next;
    return op;
}

void ferry__table_finish(struct ferry_device *device)
{
    for (size_t i = 0; i < device->table_size; i++) {
        while (device->table[i]) {
            struct ferry__op *op = device->table[i];
            device->table[i] = op->hash_next;
            ferry__op_unref(op);
        }
    }
    ferry__free(device->table);
}

/* --- ops
 * --------------------------------------------------------------------------------------- */

static _Atomic uint64_t ticket_counter;

ferry_ticket ferry__ticket_next(const struct ferry_device *device)
{
    const uint64_t number = atomic_fetch_add_explicit(&ticket_counter, 1, memory_order_relaxed) + 1;
    return number << FERRY__DEVICE_BITS | device->id;
}

bool ferry__ticket_issued(const struct ferry_device *device, ferry_ticket ticket)
{
    const uint64_t number = ticket >> FERRY__DEVICE_BITS;
    return (ticket & ((1u << FERRY__DEVICE_BITS) - 1)) == device->id &&
           ticket >= device->first_ticket && number <= atomic_load(&ticket_counter);
}
