/* Copies between two devices. */
#ifndef FERRY_PATHS_BRIDGE_H
#define FERRY_PATHS_BRIDGE_H

#include "engine/submission.h"

#include <ferry/ferry.h>

struct ferry__bridge;
struct ferry__item;
struct ferry__op;
struct ferry_device;

enum ferry__emitted ferry__bridge_emit(struct ferry_device *device, struct ferry__sub *sub,
                                       struct ferry__op *op, enum ferry_status *out_status);

/* A submission of a bridge's half is done on the device. Under no lock. */
void ferry__bridge_copy_out(struct ferry__op *half, const struct ferry__sub *sub);

/* The half is done. Under no lock. */
void ferry__bridge_half_done(struct ferry__op *half);

/* The half will not be carried out: its partner is put on the device's list to be poked. Under the
 * half's device's lock. */
void ferry__bridge_give_up(struct ferry__op *half, enum ferry_status status, const char *why);
void ferry__bridge_poke_all(struct ferry__op *list); /* under no lock */

/* A half has let go of the bridge. */
void ferry__bridge_unref(struct ferry__bridge *bridge);

/* A copy between two devices; as ferry__submit. Takes over the item. */
enum ferry_status ferry__bridge_submit(struct ferry__item *item, bool waiting, ferry_callback cb,
                                       void *user, ferry_ticket *out_ticket);

/* Staging of the device has come back: the first that waits for it looks again. Under its lock. */
void ferry__bridge_wake(struct ferry_device *device);

#endif
