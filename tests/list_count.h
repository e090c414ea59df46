/* How many devices a driver lists: 0 where it has none, or fails. */
#ifndef FERRY_TESTS_LIST_COUNT_H
#define FERRY_TESTS_LIST_COUNT_H

#include "driver.h"

static inline size_t list_count(const struct ferry__driver *driver, struct ferry_device_info *infos,
                                size_t capacity, char *why)
{
    size_t count = 0;
    return driver->list(infos, capacity, &count, why) ? 0 : count;
}

#endif
