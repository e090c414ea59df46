/* How an op takes its place in the order. */
#ifndef FERRY_ENGINE_REGISTER_H
#define FERRY_ENGINE_REGISTER_H

#include <ferry/ferry.h>
#include <stdbool.h>
#include <stddef.h>

struct ferry__op;
struct ferry_device;

/* What an op is to follow: each once. All zero: nothing. */
struct ferry__follows {
    struct ferry__op **list;
    size_t count, capacity;
    bool short_of_memory;
    bool held; /* with a reference to each, since the lock is given up meanwhile */
};

/* An op with many ranges, or with many to follow, registers in pieces: the lock is given up on the
 * way. What takes its place on one of the same buffers waits until it has: so each op is wholly
 * before another, or behind. */
struct ferry__claim {
    const struct ferry__op *op;
    struct ferry__claim *next;
};

/* Until no other has a claim on a buffer of op's, which is to take its place. Under device->lock,
 * which is given up meanwhile; whoever holds another's asks whether it has to wait, and waits
 * without that. */
void ferry__await_turn(const struct ferry__op *op);
bool ferry__is_claimed(const struct ferry__op *op);

/* Gives op its ticket, finds what it depends on, and takes its place on all its buffers. On failure
 * (OUT_OF_HOST_MEMORY) nothing has changed, but that joins may stand for some. Under
 * device->lock, in op's turn. */
enum ferry_status ferry__register(struct ferry__op *op);

/* The same for a join that follows what op must, and for op, which follows it alone: the join is
 * all that is before op. */
enum ferry_status ferry__register_behind(struct ferry__op *join, struct ferry__op *op);

#endif
