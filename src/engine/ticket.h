/* Tickets, and what became of them. */
#ifndef FERRY_ENGINE_TICKET_H
#define FERRY_ENGINE_TICKET_H

#include <ferry/ferry.h>

struct ferry__op;
struct ferry_device;

/* The device id is in a ticket's low bits, a process-wide counter above it. */
enum { FERRY__DEVICE_BITS = 12 };

ferry_ticket ferry__ticket_next(const struct ferry_device *device);

/* Is ticket one of this device's that was given out? */
bool ferry__ticket_issued(const struct ferry_device *device, ferry_ticket ticket);

/* The table of tickets, under device->lock. */
void ferry__table_add(struct ferry_device *device, struct ferry__op *op);
void ferry__table_finish(struct ferry_device *device);
void ferry__table_remove(struct ferry_device *device, struct ferry__op *op);
struct ferry__op *ferry__table_find(struct ferry_device *device, ferry_ticket ticket);

#endif
