#include "api/device.h"
#include "base/env.h"
#include "base/status.h"
#include "driver.h"

#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>

enum { DRIVERS_MAX = 16 }; /* more than there will be */

static const struct ferry__driver *in_this_build(const char *name)
{
    for (const struct ferry__driver *const *driver = ferry__drivers; *driver; driver++)
        if (!strcmp((*driver)->name, name))
            return *driver;
    return NULL;
}

static enum ferry_status describe(const char *name, struct ferry_driver_info *out_info)
{
    const struct ferry__driver *driver = in_this_build(name);
    char why[FERRY__WHY_MAX] = "not in this build of the library";
    struct ferry_device_info first;
    size_t count = 0;
    if (driver) {
        const enum ferry_status status = ferry__driver_devices(driver, &first, 1, &count, why);
        if (status)
            return status;
    }
    *out_info =
        (struct ferry_driver_info){.built_in = driver != NULL, .device_count = (uint32_t)count};
    snprintf(out_info->name, sizeof out_info->name, "%s", name);
    if (!count)
        snprintf(out_info->reason, sizeof out_info->reason, "%.*s",
                 (int)sizeof out_info->reason - 1, *why ? why : "it found no device");
    return FERRY_OK;
}

enum ferry_status ferry_driver_list(struct ferry_driver_info *infos, size_t capacity,
                                    size_t *out_count)
{
    size_t count = 0;
    if (!out_count || (!infos && capacity))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_driver_list: %s is NULL",
                           out_count ? "infos" : "out_count");
    struct ferry_driver_info found[DRIVERS_MAX];
    enum ferry_status status = ferry__env_check();
    for (; !status && count < DRIVERS_MAX && ferry__driver_names[count]; count++)
        status = describe(ferry__driver_names[count], &found[count]);
    if (status)
        return status;
    for (size_t i = 0; i < count && i < capacity; i++)
        infos[i] = found[i];
    *out_count = count;
    return FERRY_OK;
}
