/* Which path a transfer takes. */
#ifndef FERRY_PATHS_CHOOSE_H
#define FERRY_PATHS_CHOOSE_H

#include <ferry/ferry.h>

struct ferry__transfer;
struct ferry_device;

/* Counts an operation that the host merges into words: a fallback, which may be forbidden. */
enum ferry_status ferry__note_rmw(struct ferry_device *device, uint64_t size);

/* Chooses the path; takes a region where there is one. */
enum ferry_status ferry__transfer_plan(struct ferry_device *device,
                                       struct ferry__transfer *transfer);
/* Lets go of the registered host memory that planning found. */
void ferry__transfer_drop_region(struct ferry_device *device, struct ferry__transfer *transfer);

/* Path and way of one block of a transfer: it borrows its region. */
void ferry__transfer_plan_block(struct ferry_device *device, struct ferry__transfer *block);
/* Gives back all that transfers have: their buffers, regions, lists and streams. */
void ferry__transfers_finish(struct ferry_device *device, struct ferry__transfer *transfers,
                             size_t count);

#endif
