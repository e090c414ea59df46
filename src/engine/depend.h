/* What ops wait for, and the end of one. All under device->lock. */
#ifndef FERRY_ENGINE_DEPEND_H
#define FERRY_ENGINE_DEPEND_H

#include <ferry/ferry.h>

struct ferry__op;
struct ferry_device;

/* A join that was made is told how far it is. Nothing depends on it yet. */
void ferry__join_begin(struct ferry__op *op);

/* op is wholly in the submission being built, which has commands: what depends on it may follow in
 * the same queue. */
void ferry__op_followed(struct ferry__op *op);

/* That submission was refused: what has not followed yet waits until op is done. */
void ferry__op_unfollowed(struct ferry__op *op);

/* What an op of transfers counts while it is parked: each of them, and of a list each block, which
 * is as much as is kept for it. Rows are kept as one, however many they are. */
uint64_t ferry__park_count(const struct ferry__op *op);

/* May so many more operations and blocks be parked? POOL_EXHAUSTED. */
enum ferry_status ferry__may_park(const struct ferry_device *device, uint64_t count);

/* Counts a registered op as parked, as so many, until it is handed over. */
void ferry__park(struct ferry__op *op, uint64_t count);

/* op is wholly handed to the device. Both may give up the lock on the way. */
void ferry__op_submitted(struct ferry__op *op);

/* Completes op, and whatever that completes, if nothing is outstanding. What is much is left to
 * ferry__step. It may give up the lock on the way: without a reference the caller looks at op no
 * more. */
void ferry__op_try_done(struct ferry__op *op);

/* op, which has not begun, has failed with op->status: its user hears of it now. It keeps its place
 * in the order until all before it is done: what comes after it may follow that by it alone. */
void ferry__op_tell(struct ferry__op *op);

/* Goes on with that, FERRY__AT_ONCE at a time. False: there was nothing. */
bool ferry__tell_some(struct ferry_device *device);

/* External work that op, which is not done, waits for or is; NULL: none that it is known to. Under
 * device->lock. */
const struct ferry__op *ferry__external_before(const struct ferry__op *op);

#endif
