#include "base/env.h"
#include "base/status.h"
#include "driver.h"

#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>

static const struct ferry__driver *in_this_build(const char *name)
{
    for (const struct ferry__driver *const *driver = ferry__drivers; *driver; driver++)
        if (!strcmp((*driver)->name, name))
            return *driver;
    return NULL;
}

static struct ferry_driver_info describe(const char *name)
{
    const struct ferry__driver *driver = in_this_build(name);
    struct ferry_driver_info info = {.built_in = driver != NULL};
    char why[FERRY__WHY_MAX] = "";
    snprintf(info.name, sizeof info.name, "%s", name);
    if (!driver) {
        snprintf(info.reason, sizeof info.reason, "not in this build of the library");
        return info;
    }
    struct ferry_device_info first;
    info.device_count = (uint32_t)driver->list(&first, 1, why);
    if (!info.device_count)
        snprintf(info.reason, sizeof info.reason, "%.*s", (int)sizeof info.reason - 1,
                 *why ? why : "it found no device");
    return info;
}

enum ferry_status ferry_driver_list(struct ferry_driver_info *infos, size_t capacity,
                                    size_t *out_count)
{
    size_t count = 0;
    if (!out_count || (!infos && capacity))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_driver_list: %s is NULL",
                           out_count ? "infos" : "out_count");
    const enum ferry_status status = ferry__env_check();
    if (status)
        return status;
    for (; ferry__driver_names[count]; count++)
        if (count < capacity)
            infos[count] = describe(ferry__driver_names[count]);
    *out_count = count;
    return FERRY_OK;
}
