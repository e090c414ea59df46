/* Where the downloads of a batch land in host memory. */
#ifndef FERRY_PATHS_LANDING_H
#define FERRY_PATHS_LANDING_H

#include <ferry/ferry.h>
#include <stddef.h>

struct ferry__transfer;
struct ferry_device;

/* Of downloads that overlap there, the bytes of the later one stay: which of those that are planned
 * as imported are staged instead. */
enum ferry_status ferry__landings_plan(struct ferry_device *device,
                                       struct ferry__transfer *transfers, size_t count);

#endif
