#include "common/env.h"
#include "cuda.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The devices that are open, each once. Opening one is slow, and nobody else may open it meanwhile:
 * here a lock is held across it. */
struct entry {
    ferry_device *device;
    struct ferry_device_params params; /* as it was opened with; the name aside */
    char name[sizeof((struct ferry_device_info *)0)->name];
    int64_t id;
    size_t references;
    atomic_uchar ways[FERRY_TRITON_MOVE_COUNT]; /* enum ferry__triton_way */
    struct entry *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards entries and what is in them */
static struct entry *entries;

/* For ferry_triton_device_id, which callbacks ask while the lock may be held across a close. */
static pthread_mutex_t id_lock = PTHREAD_MUTEX_INITIALIZER; /* guards entries against changes */

/* Where the device is in ferry_device_list; -1: it is not. */
static TRITONSERVER_Error *find_id(const char *name, int64_t *out_id)
{
    struct ferry_device_info *infos = NULL;
    size_t capacity = 0, count = 8;
    enum ferry_status status = FERRY_OK;
    while (!status && count > capacity) {
        free(infos);
        capacity = count;
        infos = calloc(capacity, sizeof *infos);
        if (!infos)
            return ferry__triton_no_memory(capacity * sizeof *infos);
        status = ferry_device_list(infos, capacity, &count);
    }
    *out_id = -1;
    for (size_t i = 0; !status && i < count && *out_id < 0; i++)
        if (!strcmp(infos[i].name, name))
            *out_id = (int64_t)i;
    free(infos);
    return ferry__triton_status(status, "listing the devices");
}

static const char *difference(const struct ferry_device_params *a,
                              const struct ferry_device_params *b)
{
    if (a->path != b->path)
        return "path";
    if (a->map_private != b->map_private)
        return "map_private";
    if (a->staging_budget != b->staging_budget)
        return "staging_budget";
    if (a->pool_budget != b->pool_budget)
        return "pool_budget";
    if (a->no_fallback != b->no_fallback)
        return "no_fallback";
    if (a->no_staging_wait != b->no_staging_wait)
        return "no_staging_wait";
    if (a->no_measuring != b->no_measuring)
        return "no_measuring";
    if (memcmp(&a->thresholds, &b->thresholds, sizeof a->thresholds))
        return "thresholds";
    return a->queues != b->queues ? "queues" : NULL;
}

/* One more user of what is open. exact: only with the same parameters. */
static TRITONSERVER_Error *join(struct entry *entry, const struct ferry_device_params *params,
                                bool exact, ferry_device **out_device)
{
    const char *other = exact ? difference(&entry->params, params) : NULL;
    if (other)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "the device %s is already open with a different %s: all models "
                                  "in the process share it, "
                                  "and must agree",
                                  entry->name, other);
    entry->references++;
    *out_device = entry->device;
    return NULL;
}

static struct entry *find_name(const char *name)
{
    struct entry *entry = entries;
    while (entry && strcmp(entry->name, name))
        entry = entry->next;
    return entry;
}

/* What a device was asked for as, and turned out to be: "vulkan" is "vulkan:0". So that a device
 * that is open need not be opened once more to see that it is. */
struct alias {
    struct alias *next;
    char name[sizeof((struct entry *)0)->name];
    char asked[];
};
static struct alias *aliases; /* under the lock; kept as long as the process */

static const char *asked_name(const struct ferry_device_params *params)
{
    const char *environment = ferry__env("FERRY_DEVICE");
    return params->name ? params->name : environment ? environment : "";
}

static struct entry *find_asked(const char *asked)
{
    const struct alias *alias = aliases;
    while (alias && strcmp(alias->asked, asked))
        alias = alias->next;
    return find_name(alias ? alias->name : asked);
}

/* Without memory for it the next one opens the device once more. */
static void remember(const char *asked, const char *name)
{
    struct alias *alias = aliases;
    while (alias && strcmp(alias->asked, asked))
        alias = alias->next;
    if (!alias) {
        alias = calloc(1, sizeof *alias + strlen(asked) + 1);
        if (!alias)
            return;
        memcpy(alias->asked, asked, strlen(asked) + 1);
        alias->next = aliases;
        aliases = alias;
    }
    snprintf(alias->name, sizeof alias->name, "%s", name);
}

static TRITONSERVER_Error *open_new(const struct ferry_device_params *params, bool exact,
                                    ferry_device **out_device)
{
    struct ferry_device_info info;
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return ferry__triton_no_memory(sizeof *entry);
    TRITONSERVER_Error *error =
        ferry__triton_status(ferry_device_open(params, &entry->device), "opening the device %s",
                             params->name ? params->name : "(the best)");
    if (error) {
        free(entry);
        return error;
    }
    ferry_device_get_info(entry->device, &info);
    remember(asked_name(params), info.name);
    struct entry *same = find_name(info.name); /* by another name */
    entry->id = ferry__triton_cuda_ordinal(entry->device);
    if (!same && entry->id < 0)
        error = find_id(info.name, &entry->id);
    if (same || error) {
        ferry_device_close(entry->device);
        free(entry);
        return error ? error : join(same, params, exact, out_device);
    }
    memcpy(entry->name, info.name, sizeof entry->name);
    entry->params = *params;
    entry->params.name = NULL;
    entry->references = 1;
    pthread_mutex_lock(&id_lock);
    entry->next = entries;
    entries = entry;
    pthread_mutex_unlock(&id_lock);
    *out_device = entry->device;
    return NULL;
}

/* A server's models share a device: none sees what another one's buffers held. */
static TRITONSERVER_Error *open_device(struct ferry_device_params params, bool exact,
                                       ferry_device **out_device)
{
    params.zeroed = true;
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    if (!out_device)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG,
                                  "ferry_triton_device: out_device is NULL");
    pthread_mutex_lock(&lock);
    struct entry *open = find_asked(asked_name(&params));
    error = open ? join(open, &params, exact, out_device) : open_new(&params, exact, out_device);
    pthread_mutex_unlock(&lock);
    return error;
}

TRITONSERVER_Error *ferry_triton_device(const char *name, ferry_device **out_device)
{
    return open_device((struct ferry_device_params){.name = name}, false, out_device);
}

TRITONSERVER_Error *ferry_triton_device_open(const struct ferry_device_params *params,
                                             ferry_device **out_device)
{
    static const struct ferry_device_params defaults;
    return open_device(params ? *params : defaults, true, out_device);
}

static void close_entry(struct entry *entry)
{
    struct ferry_stats last;
    pthread_mutex_lock(&id_lock);
    struct entry **link = &entries;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    pthread_mutex_unlock(&id_lock);
    (void)!ferry_wait_idle(entry->device); /* so that the last numbers are the last */
    ferry_device_get_stats(entry->device, &last, sizeof last);
    ferry__triton_metrics_close(entry->name, &last);
    ferry_device_close(entry->device);
    free(entry);
}

void ferry_triton_device_release(ferry_device *device)
{
    pthread_mutex_lock(&lock);
    struct entry *entry = entries;
    while (entry && entry->device != device)
        entry = entry->next;
    if (entry && !--entry->references)
        close_entry(entry);
    pthread_mutex_unlock(&lock);
}

int64_t ferry_triton_device_id(const ferry_device *device)
{
    pthread_mutex_lock(&id_lock);
    const struct entry *entry = entries;
    while (entry && entry->device != device)
        entry = entry->next;
    const int64_t id = entry ? entry->id : -1;
    pthread_mutex_unlock(&id_lock);
    return id;
}

atomic_uchar *ferry__triton_ways(const ferry_device *device)
{
    pthread_mutex_lock(&id_lock);
    struct entry *entry = entries;
    while (entry && entry->device != device)
        entry = entry->next;
    pthread_mutex_unlock(&id_lock);
    return entry ? entry->ways : NULL;
}

void ferry__triton_each_device(void (*visit)(const char *name, ferry_device *device, void *user),
                               void *user)
{
    pthread_mutex_lock(&id_lock);
    for (struct entry *entry = entries; entry; entry = entry->next)
        visit(entry->name, entry->device, user);
    pthread_mutex_unlock(&id_lock);
}
