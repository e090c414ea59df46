/* The engine: ops in, submissions out, done. */
#ifndef FERRY_ENGINE_ENGINE_H
#define FERRY_ENGINE_ENGINE_H

#include "base/tree.h"
#include "engine/op.h"
#include "engine/submission.h"

#include <ferry/ferry.h>

struct ferry_device;

/* The queue that is to carry op out, which is not registered yet. Under no lock. */
void ferry__choose_queue(struct ferry__op *op);

/* Registers op, in its turn; if it depends on nothing that is not handed over it may be built.
 * Under the lock. */
enum ferry_status ferry__enqueue(struct ferry__op *op);
/* A join with it, that is all before it. */
enum ferry_status ferry__enqueue_behind(struct ferry__op *join, struct ferry__op *op);

/* Registers op and hands over what can be. For asynchronous ops: the callback and *out_ticket, if
 * not NULL. */
enum ferry_status ferry__submit(struct ferry__op *op, ferry_callback callback, void *user,
                                ferry_ticket *out_ticket);

/* Submits, waits, returns the op's status, with its reason. Eats the reference. Not submitted: that
 * failed. */
enum ferry_status ferry__submit_and_wait(struct ferry__op *op, bool *out_submitted);
enum ferry_status ferry__engine_start(struct ferry_device *device);
void ferry__engine_finish(struct ferry_device *device); /* waits for all, stops the thread */

/* A parked op whose dependencies are all handed over: it goes on its queue's list, to be built;
 * external work is the user's from then on. Any other stays as it is. Under device->lock. */
void ferry__unpark(struct ferry__op *op);
/* Likewise one that left the list, if it is in this state. */
void ferry__ready_again(struct ferry__op *op, enum ferry__op_state from);
/* Takes it from there, if it is there; it is in that state next. */
void ferry__ready_remove(struct ferry__op *op, enum ferry__op_state state);
void ferry__ready_list(struct ferry__op *op); /* which is ready, and was taken from there */
/* It has filled a submission (R7a): behind all that is ready now, not behind what comes later. */
void ferry__ready_behind(struct ferry__op *op);
/* It holds staging that others may wait for: from now on it goes before them. */
void ferry__ready_first_of_all(struct ferry__op *op);

/* The first op that its queue may build; NULL: none. */
static inline struct ferry__op *ferry__ready_first(const struct ferry__queue *queue)
{
    struct ferry__node *node = queue->ready.first;
    return node ? FERRY__OF_NODE(node, struct ferry__op, ready) : NULL;
}

/* Somebody must look: work came in that no thread waits for. Under device->lock. */
void ferry__kick(struct ferry_device *device);

/* What a thread in ferry__wait_until waits for may have come true: it is woken where it sleeps, on
 * the condition or in the driver. After every such change, under device->lock. */
void ferry__changed(struct ferry_device *device);

/* A submission of this queue is the next to be waited for: who waits in the driver shall, too. */
void ferry__queue_poll(struct ferry_device *device, unsigned queue);

/* Lets other threads have the lock, in the middle of long work under it, but where all of that is
 * one step (device->in_one_breath). */
void ferry__breathe(struct ferry_device *device);

/* Likewise in a walk over many: after each so many of them. */
static inline void ferry__breathe_each(struct ferry_device *device, size_t i, size_t many)
{
    if (i % many == many - 1)
        ferry__breathe(device);
}

/* Runs one step, under device->lock, which it gives up on the way. False: nothing to do now. */
bool ferry__step(struct ferry_device *device);

/* Asks the driver whether the device is lost. Under device->lock. */
void ferry__look_for_loss(struct ferry_device *device);

#endif
