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

/* A better device has a lower rank: hardware, then the host, then software that plays a GPU. */
static int rank(const struct entry *entry)
{
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

static bool is_short_of_memory(enum ferry_status status)
{
    return status == FERRY_ERROR_OUT_OF_HOST_MEMORY || status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
}

/* The driver's own status: NO_DEVICE, where there is nothing that it is for, or what is wrong. */
static enum ferry_status ask(const struct ferry__driver *driver, struct ferry_device_info *infos,
                             size_t capacity, size_t *out_count, char *why)
{
    const int cancel = ferry__cancel_off(); /* it may load a library */
    memset(infos, 0, capacity * sizeof *infos);
    *out_count = 0;
    why[0] = 0;
    const enum ferry_status status = driver->list(infos, capacity, out_count, why);
    ferry__cancel_on(cancel);
    if (status)
        *out_count = 0;
    return status;
}

enum ferry_status ferry__driver_devices(const struct ferry__driver *driver,
                                        struct ferry_device_info *infos, size_t capacity,
                                        size_t *out_count, char *why)
{
    const enum ferry_status status = ask(driver, infos, capacity, out_count, why);
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

/* The best first; within a rank in the drivers' order. name: of its driver alone, and no other is
 * loaded; NULL: of all. A driver that is short of memory is not passed over: its devices may be
 * better than what is left. */
static enum ferry_status list_entries(const char *name, struct entry **out_entries,
                                      size_t *out_count)
{
    enum ferry_status status = FERRY_OK;
    size_t drivers = 0, count = 0;
    while (ferry__drivers[drivers])
        drivers++;
    struct entry *entries = ferry__alloc(drivers * LISTED_MAX * sizeof *entries);
    if (!entries)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory to list devices");
    for (size_t i = 0; i < drivers && !status; i++)
        if (!name || is_of(ferry__drivers[i], name))
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
        status = list_entries(NULL, &entries, &count);
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
    enum ferry_status status = list_entries(NULL, &entries, &count);
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

/* --- opening ---------------------------------------------------------------------------------- */

enum { REASON_MAX = sizeof((struct ferry_device_info *)0)->reason };

static enum ferry_status open_entry(const struct entry *entry, const char *reason,
                                    const struct ferry_device_params *params,
                                    ferry_device **out_device)
{
    struct ferry_device_info info = entry->info;
    snprintf(info.reason, sizeof info.reason, "%s", reason);
    const struct ferry__open_params open_params = {.index = entry->index,
                                                   .map_private = params->map_private,
                                                   .queues = params->queues,
                                                   .no_kernel = params->no_kernel};
    const int cancel = ferry__cancel_off();
    const enum ferry_status status =
        ferry__device_open_as(entry->driver, &open_params, &info, params, out_device);
    ferry__cancel_on(cancel);
    return status;
}

static enum ferry_status open_named(const char *name, const struct ferry_device_params *params,
                                    ferry_device **out_device)
{
    char reason[REASON_MAX];
    size_t count = 0;
    struct entry *entries = NULL;
    enum ferry_status status = list_entries(name, &entries, &count);
    if (status)
        return status;
    snprintf(reason, sizeof reason, params->name ? "asked for as \"%s\"" : "FERRY_DEVICE is \"%s\"",
             name);
    const struct entry *entry = find_entry(entries, count, name);
    status = entry ? open_entry(entry, reason, params, out_device) : no_such_device(name);
    ferry__free(entries);
    return status;
}

/* --- the default ------------------------------------------------------------------------------ */

/* An open of the device that is best. */
struct search {
    const struct ferry_device_params *params;
    ferry_device *device;     /* NULL: not yet */
    enum ferry_status failed; /* that of the last device or driver that was passed over */
    char why[FERRY__WHY_MAX + 64];
    char first[REASON_MAX]; /* of the best one that was passed over; "": none was */
};

/* What is there and does not work is told, and the next one tried. But not for want of memory,
 * which the next one would not cure, nor for the caller's mistakes. */
static enum ferry_status pass_over(struct search *search, enum ferry_status status)
{
    if (is_short_of_memory(status) || status == FERRY_ERROR_INVALID_ARGUMENT ||
        search->params->no_fallback)
        return ferry__fail(status, "%s", search->why);
    ferry__log(FERRY_LOG_WARN, "the default device: passed over: %s", search->why);
    if (!search->first[0])
        snprintf(search->first, sizeof search->first, "passed over: %.140s", search->why);
    search->failed = status;
    return FERRY_OK;
}

static enum ferry_status try_device(struct search *search, const struct entry *entry)
{
    const char *reason =
        entry->info.kind == FERRY_DEVICE_HOST ? "no GPU was found" : "the best GPU that was found";
    if (search->first[0])
        reason = search->first;
    ferry__error_begin();
    const enum ferry_status status = open_entry(entry, reason, search->params, &search->device);
    if (status)
        snprintf(search->why, sizeof search->why, "%.*s", (int)sizeof search->why - 1,
                 ferry_last_error());
    ferry__error_end(FERRY_OK);
    return status ? pass_over(search, status) : FERRY_OK;
}

/* Its devices that are no software, the best first, until one is open. */
static enum ferry_status try_driver(struct search *search, const struct ferry__driver *driver)
{
    struct ferry_device_info infos[LISTED_MAX];
    char why[FERRY__WHY_MAX];
    size_t count;
    enum ferry_status status = ask(driver, infos, LISTED_MAX, &count, why);
    snprintf(search->why, sizeof search->why, "%s: %s", driver->name, why);
    if (status && status != FERRY_ERROR_NO_DEVICE)
        return pass_over(search, status);
    if (!count) {
        ferry__log(FERRY_LOG_INFO, "%s", search->why);
        return FERRY_OK;
    }
    for (size_t i = 0; i < count && i < LISTED_MAX && !status && !search->device; i++) {
        struct entry entry = {driver, (unsigned)i, infos[i]};
        name_entry(&entry);
        if (rank(&entry) < 2)
            status = try_device(search, &entry);
    }
    return status;
}

/* By the drivers' order, in which the host is the last: none is loaded after one whose device could
 * be opened. */
static enum ferry_status open_default(const struct ferry_device_params *params,
                                      ferry_device **out_device)
{
    struct search search = {.params = params};
    enum ferry_status status = FERRY_OK;
    for (size_t i = 0; ferry__drivers[i] && !status && !search.device; i++)
        status = try_driver(&search, ferry__drivers[i]);
    if (status)
        return status;
    if (!search.device)
        return search.failed
                   ? ferry__fail(search.failed, "no device: %s", search.first)
                   : ferry__fail(FERRY_ERROR_NO_DEVICE, "only software devices were found");
    *out_device = search.device;
    return FERRY_OK;
}

enum ferry_status ferry_device_open(const struct ferry_device_params *params,
                                    ferry_device **out_device)
{
    static const struct ferry_device_params defaults;
    if (!params)
        params = &defaults;
    if (!out_device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_device_open: out_device is NULL");
    const enum ferry_status status = ferry__env_check();
    if (status)
        return status;
    const char *name = params->name ? params->name : name_from_environment();
    return name ? open_named(name, params, out_device) : open_default(params, out_device);
}
