#include "api/device.h"
#include "base/alloc.h"
#include "base/env.h"
#include "base/log.h"
#include "base/status.h"
#include "base/thread.h"
#include "common/show.h"
#include "driver.h"
#include "engine/device.h"

#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>

/* Devices: which there are, which is the best, and opening one of them by its name. */

enum {
    NAMES_MAX = 1024,
    LISTED_MAX = 64, /* of each driver */
};

/* --- the list --------------------------------------------------------------------------------- */

struct entry {
    const struct ferry__driver *driver;
    unsigned index; /* in the driver's list */
    struct ferry_device_info info;
};

/* A better device has a lower rank: hardware, then the host, then software that plays a GPU, then
 * what is opened by its name only. */
static int rank(const struct entry *entry)
{
    if (entry->driver->by_name_only)
        return 3;
    if (entry->info.kind == FERRY_DEVICE_HOST)
        return 1;
    return entry->info.kind == FERRY_DEVICE_SOFTWARE ? 2 : 0;
}

uint32_t ferry__device_paths(uint64_t import_granularity)
{
    const uint32_t paths = 1u << FERRY_PATH_STAGED | 1u << FERRY_PATH_PIPELINED |
                           1u << FERRY_PATH_DEVICE | 1u << FERRY_PATH_BRIDGED |
                           1u << FERRY_PATH_NONE | 1u << FERRY_PATH_DIRECT;
    return import_granularity ? paths | 1u << FERRY_PATH_IMPORTED : paths;
}

static void name_entry(struct entry *entry)
{
    struct ferry_device_info *info = &entry->info;
    char description[sizeof info->description];
    ferry__show_text(description, sizeof description, info->description);
    memcpy(info->description, description, sizeof description);
    snprintf(info->name, sizeof info->name, "%s:%u", entry->driver->name, entry->index);
    snprintf(info->driver, sizeof info->driver, "%s", entry->driver->name);
    info->paths = ferry__device_paths(info->import_granularity);
}

static bool is_of(const struct ferry__driver *driver, const char *name)
{
    const size_t length = strlen(driver->name);
    return strncmp(name, driver->name, length) == 0 && (!name[length] || name[length] == ':');
}

/* After those that are as good. */
static void insert(struct entry *entries, size_t count, const struct entry *entry)
{
    size_t at = count;
    for (; at && rank(&entries[at - 1]) > rank(entry); at--)
        entries[at] = entries[at - 1];
    entries[at] = *entry;
}

/* What a list is for. */
enum listing { LISTING_ALL, LISTING_OPEN };

static bool is_wanted(const struct ferry__driver *driver, enum listing listing, const char *name)
{
    if (listing == LISTING_ALL)
        return true;
    return name ? is_of(driver, name) : !driver->by_name_only;
}

static bool is_short_of_memory(enum ferry_status status)
{
    return status == FERRY_ERROR_OUT_OF_HOST_MEMORY || status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
}

enum ferry_status ferry__driver_devices(const struct ferry__driver *driver,
                                        struct ferry_device_info *infos, size_t capacity,
                                        size_t *out_count, char *why)
{
    const int cancel = ferry__cancel_off(); /* it may load a library */
    memset(infos, 0, capacity * sizeof *infos);
    *out_count = 0;
    why[0] = 0;
    const enum ferry_status status = driver->list(infos, capacity, out_count, why);
    ferry__cancel_on(cancel);
    if (!status)
        return FERRY_OK;
    *out_count = 0;
    if (is_short_of_memory(status))
        return ferry__fail(status, "%s: %s", driver->name, why);
    return FERRY_OK;
}

static enum ferry_status add_entries(const struct ferry__driver *driver, struct entry *entries,
                                     size_t *count)
{
    struct ferry_device_info infos[LISTED_MAX];
    char why[FERRY__WHY_MAX];
    size_t found;
    const enum ferry_status status = ferry__driver_devices(driver, infos, LISTED_MAX, &found, why);
    if (status)
        return status;
    if (!found)
        ferry__log(FERRY_LOG_INFO, "%s: %s", driver->name, why);
    for (size_t i = 0; i < found && i < LISTED_MAX; i++) {
        struct entry entry = {driver, (unsigned)i, infos[i]};
        name_entry(&entry);
        insert(entries, (*count)++, &entry);
    }
    return FERRY_OK;
}

/* The best first; within a rank in the drivers' order. To open one (name; NULL: the best) no driver
 * is loaded that does not come into question. A driver that is short of memory is not passed over:
 * its devices may be better than what is left. */
static enum ferry_status list_entries(enum listing listing, const char *name,
                                      struct entry **out_entries, size_t *out_count)
{
    enum ferry_status status = FERRY_OK;
    size_t drivers = 0, count = 0;
    while (ferry__drivers[drivers])
        drivers++;
    struct entry *entries = ferry__alloc(drivers * LISTED_MAX * sizeof *entries);
    if (!entries)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory to list devices");
    for (size_t i = 0; i < drivers && !status; i++)
        if (is_wanted(ferry__drivers[i], listing, name))
            status = add_entries(ferry__drivers[i], entries, &count);
    if (status) {
        ferry__free(entries);
        return status;
    }
    *out_entries = entries;
    *out_count = count;
    return FERRY_OK;
}

enum ferry_status ferry_device_list(struct ferry_device_info *infos, size_t capacity,
                                    size_t *out_count)
{
    size_t count = 0;
    if (!out_count || (!infos && capacity))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_device_list: %s is NULL",
                           out_count ? "infos" : "out_count");
    struct entry *entries = NULL;
    enum ferry_status status = ferry__env_check();
    if (!status)
        status = list_entries(LISTING_ALL, NULL, &entries, &count);
    if (status)
        return status;
    for (size_t i = 0; i < count && i < capacity; i++)
        infos[i] = entries[i].info;
    *out_count = count;
    ferry__free(entries);
    return FERRY_OK;
}

/* --- choosing one ----------------------------------------------------------------------------- */

static bool matches(const struct entry *entry, const char *name)
{
    return strcmp(entry->info.name, name) == 0 || strcmp(entry->driver->name, name) == 0;
}

/* The first in the list that has this name; NULL: none. */
static const struct entry *find_entry(const struct entry *entries, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (matches(&entries[i], name))
            return &entries[i];
    return NULL;
}

static void join_names(const struct entry *entries, size_t count, char *names)
{
    size_t length = 0;
    names[0] = 0;
    for (size_t i = 0; i < count && length < NAMES_MAX; i++)
        length += (size_t)snprintf(names + length, NAMES_MAX - length, "%s%s", i ? ", " : "",
                                   entries[i].info.name);
}

static enum ferry_status no_such_device(const char *name)
{
    char names[NAMES_MAX];
    size_t count = 0;
    struct entry *entries = NULL;
    enum ferry_status status = list_entries(LISTING_ALL, NULL, &entries, &count);
    if (status)
        return status;
    join_names(entries, count, names);
    ferry__free(entries);
    for (const struct ferry__driver *const *driver = ferry__drivers; *driver; driver++) {
        struct ferry_device_info info;
        char why[FERRY__WHY_MAX];
        if (!is_of(*driver, name))
            continue;
        if ((status = ferry__driver_devices(*driver, &info, 1, &count, why)))
            return status;
        if (!count && why[0])
            return ferry__fail(FERRY_ERROR_NO_DEVICE, "no device \"%.64s\": %s; there are: %s",
                               name, why, names);
    }
    return ferry__fail(FERRY_ERROR_NO_DEVICE, "no device \"%.64s\"; there are: %s", name, names);
}

static const char *name_from_environment(void)
{
    const char *name = ferry__env("FERRY_DEVICE");
    return name && name[0] ? name : NULL;
}

/* name: NULL, or asked for by the user or by the environment. */
static enum ferry_status choose(const struct entry *entries, size_t count, const char *name,
                                bool by_user, const struct entry **out_entry, char *reason)
{
    enum { REASON_MAX = sizeof((struct ferry_device_info *)0)->reason };
    if (name) {
        *out_entry = find_entry(entries, count, name);
        if (!*out_entry)
            return no_such_device(name);
        snprintf(reason, REASON_MAX, by_user ? "asked for as \"%s\"" : "FERRY_DEVICE is \"%s\"",
                 name);
        return FERRY_OK;
    }
    if (!count || rank(&entries[0]) == 2)
        return ferry__fail(FERRY_ERROR_NO_DEVICE, "there is no device but software ones");
    *out_entry = &entries[0];
    snprintf(reason, REASON_MAX, rank(&entries[0]) ? "no GPU was found" : "the best of %zu devices",
             count);
    return FERRY_OK;
}

/* --- opening it ------------------------------------------------------------------------------- */

enum ferry_status ferry_device_open(const struct ferry_device_params *params,
                                    ferry_device **out_device)
{
    static const struct ferry_device_params defaults;
    const struct entry *entry = NULL;
    size_t count = 0;
    if (!params)
        params = &defaults;
    if (!out_device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_device_open: out_device is NULL");
    enum ferry_status status = ferry__env_check();
    if (status)
        return status;
    const char *name = params->name ? params->name : name_from_environment();
    struct entry *entries = NULL;
    if ((status = list_entries(LISTING_OPEN, name, &entries, &count)))
        return status;
    struct ferry_device_info info;
    char reason[sizeof info.reason];
    status = choose(entries, count, name, params->name != NULL, &entry, reason);
    if (!status) {
        info = entry->info;
        memcpy(info.reason, reason, sizeof info.reason);
        const int cancel = ferry__cancel_off();
        status =
            ferry__device_open_as(entry->driver,
                                  &(struct ferry__open_params){.index = entry->index,
                                                               .map_private = params->map_private,
                                                               .queues = params->queues},
                                  &info, params, out_device);
        ferry__cancel_on(cancel);
    }
    ferry__free(entries);
    return status;
}
