/* Copies between two devices. */
#ifndef FERRY_PATHS_BRIDGE_H
#define FERRY_PATHS_BRIDGE_H

#include "engine/submission.h"

#include <ferry/ferry.h>

struct ferry__bridge;
struct ferry__transfer;
struct ferry__op;
struct ferry_device;

/* A half has let go of the bridge. */
void ferry__bridge_unref(struct ferry__bridge *bridge);

/* A copy between two devices; as ferry__submit. Takes over the transfer. */
enum ferry_status ferry__bridge_submit(struct ferry__transfer *transfer, bool waiting,
                                       ferry_callback cb, void *user, ferry_ticket *out_ticket);

/* Staging of the device has come back: the first that waits for it looks again. Under its lock. */
void ferry__bridge_wake(struct ferry_device *device);

/* Gives back what copies that are over have left for the next ones. Under no lock. */
void ferry__bridge_trim(struct ferry_device *device);

#endif
