/* The end of a submission. */
#ifndef FERRY_ENGINE_RETIRE_H
#define FERRY_ENGINE_RETIRE_H

#include "engine/submission.h"

#include <ferry/ferry.h>

struct ferry__due;
struct ferry__op;
struct ferry__submission;
struct ferry_device;

/* The device is done with a submission: copies out, gives back, completes. Under device->lock;
 * gives it up on the way. Eats the submission. */
void ferry__submission_done(struct ferry_device *device, struct ferry__submission *sub);

/* Staging has come back: what waits for it may be built; halves of copies between devices, too, are
 * told by the second. Under device->lock. */
void ferry__staging_freed(struct ferry_device *device);
void ferry__staging_returned(struct ferry_device *device);

/* Forgets all waits but the first few. Under the lock. */
void ferry__submission_drop_waits(struct ferry_device *device, struct ferry__submission *sub,
                                  size_t kept);
void ferry__op_fail_transfers(struct ferry__op *op, size_t first, size_t last,
                              enum ferry_status status, const char *why);

/* A waiting operation that fails before it was begun has changed nothing, and its caller knows. An
 * asynchronous one has failed all the same for those that read its bytes. */
void ferry__op_note_untouched(struct ferry__op *op);

/* What an rmw has read will not be written: the transfer has failed. */
void ferry__op_drop_rmw(struct ferry__op *op);

/* The rest of op will not be carried out. */
void ferry__op_give_up(struct ferry__op *op, enum ferry_status status, const char *why);

/* Room for count more of what is due. False: no host memory. */
bool ferry__due_room(struct ferry__submission *sub, size_t count);
void ferry__due_add(struct ferry__submission *sub, struct ferry__due due); /* there is room */

/* What is due for a slice of upload staging, and of readback staging: given back, the latter copied
 * out before. */
void ferry__due_upload(struct ferry_device *device, struct ferry__submission *sub,
                       const struct ferry__due *due);
void ferry__due_readback(struct ferry_device *device, struct ferry__submission *sub,
                         const struct ferry__due *due);

#endif
