/* Tickets, and what became of them (R11). */
#ifndef FERRY_ENGINE_TICKET_H
#define FERRY_ENGINE_TICKET_H

#include "base/tree.h"

#include <ferry/ferry.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__op;
struct ferry__reason;
struct ferry_device;

enum {
    FERRY__DEVICE_BITS = 12,    /* a ticket's low bits are the device's id, a process-wide counter
                                   is above them */
    FERRY__REASONS_KEPT = 4096, /* of failed operations that nobody holds any more */
};

/* A device's, under its lock. */
struct ferry__tickets {
    struct ferry__tree held; /* ops that failed and are still held by somebody */
    /* What failed and is held by nobody: pages by their first ticket. */
    struct ferry__tree failed;
    struct ferry__reason **reasons; /* a ring of FERRY__REASONS_KEPT */
    uint32_t reason_count;          /* ever; the latest is the last one's number */
};

/* False: no host memory. */
bool ferry__tickets_init(struct ferry__tickets *tickets);
void ferry__tickets_finish(struct ferry__tickets *tickets);

ferry_ticket ferry__ticket_next(const struct ferry_device *device);

/* Is ticket one of this device's that was given out? */
bool ferry__ticket_issued(const struct ferry_device *device, ferry_ticket ticket);

/* The op of a ticket, if it is in flight or failed not long ago. One that is done is good for no
 * longer than the lock is held. */
struct ferry__op *ferry__ticket_find(const struct ferry_device *device, ferry_ticket ticket);

/* What became of an issued ticket: PENDING, OK, or its failure, with its reason in
 * ferry_last_error(). */
enum ferry_status ferry__ticket_status(const struct ferry_device *device, ferry_ticket ticket);

/* The last that held a failed op has let it go: its ticket and its status are kept until close.
 * Takes over the op's memory, so that it cannot fail. */
void ferry__ticket_keep(struct ferry_device *device, struct ferry__op *op);

#endif
