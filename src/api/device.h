/* Opening and closing a device. */
#ifndef FERRY_API_DEVICE_H
#define FERRY_API_DEVICE_H

#include "engine/device.h"

#include <ferry/ferry.h>

struct ferry__driver;
struct ferry__open_params;

uint32_t ferry__device_paths(uint64_t import_granularity);

/* A driver's devices, the best first. None: *out_count is 0, and why says the reason. Fails for
 * want of memory only. */
enum ferry_status ferry__driver_devices(const struct ferry__driver *driver,
                                        struct ferry_device_info *infos, size_t capacity,
                                        size_t *out_count, char *why);

/* Opens a driver's device, or the user's own (open_params->wrapped). */
enum ferry_status ferry__device_open_as(const struct ferry__driver *driver,
                                        const struct ferry__open_params *open_params,
                                        const struct ferry_device_info *info,
                                        const struct ferry_device_params *params,
                                        ferry_device **out_device);
void ferry__device_close_now(struct ferry_device *device);

#endif
