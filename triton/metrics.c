#include "common/show.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Ferry's numbers as Triton's custom metrics. Triton's counters are only ever increased, so each
 * update adds what has come since the last. A family's name stays for the life of the process even
 * if it is deleted: families and metrics are made once and kept.
 */

enum { DEVICES_MAX = 64, COMBINATIONS = FERRY_OPERATION_COUNT * FERRY_PATH_COUNT, LABELS_MAX = 4 };

struct label {
    const char *name, *value;
};

struct family {
    TRITONSERVER_MetricFamily *triton;
    bool tried; /* it was made, or could not be */
};

/* A number, and the metric that tells it. */
static const struct scalar {
    const char *name, *help;
    size_t offset;
    enum { COUNTER, GAUGE } kind;
    double scale;
} scalars[] = {
#define NONE 1
#define BYTES 1
#define SECONDS 1e-9
#define NAME_COUNTER(field) "ferry_" #field "_total"
#define NAME_GAUGE(field) "ferry_" #field
#define FERRY_STAT(field, kind, unit, help) \
    {NAME_##kind(field), help, offsetof(struct ferry_stats, field), kind, unit},
#include <ferry/stats.inc>
#undef FERRY_STAT
};
enum { SCALARS = sizeof scalars / sizeof *scalars };

/* Of struct ferry_operation_stats, by operation and path. The names are those of Ferry's own text,
 * where the last three are one histogram: Triton's histograms take no sums of others. */
static const struct scalar operation_scalars[] = {
    {"ferry_operations_total", "Operations done",
     offsetof(struct ferry_operation_stats, operations), COUNTER, 1},
    {"ferry_operation_bytes_total", "Bytes of operations that succeeded",
     offsetof(struct ferry_operation_stats, bytes), COUNTER, 1},
    {"ferry_operation_errors_total", "Operations that failed",
     offsetof(struct ferry_operation_stats, errors), COUNTER, 1},
    {"ferry_operation_duration_seconds_count", "Operations that were timed",
     offsetof(struct ferry_operation_stats, timed), COUNTER, 1},
    {"ferry_operation_duration_seconds_sum", "Time of the operations that were timed",
     offsetof(struct ferry_operation_stats, time_ns), COUNTER, 1e-9},
};
enum { OPERATION_SCALARS = sizeof operation_scalars / sizeof *operation_scalars };

static const struct scalar bucket = {"ferry_operation_duration_seconds_bucket",
                                     "Operations that were timed and took at most le seconds", 0,
                                     COUNTER, 1};

/* The layer's own. */
static const struct scalar own_scalars[] = {
#define FERRY_TRITON_STAT(field, help) \
    {"ferry_triton_" #field "_total", help, offsetof(struct ferry_triton_stats, field), COUNTER, 1},
#include <ferry/triton_stats.inc>
#undef FERRY_TRITON_STAT
};
enum { OWN_SCALARS = sizeof own_scalars / sizeof *own_scalars };

struct operation_metrics {
    TRITONSERVER_Metric *scalars[OPERATION_SCALARS], *buckets[FERRY_TIME_BUCKETS];
};

/* What was told of a device so far, and by which metrics. */
struct device {
    char name[sizeof((struct ferry_device_info *)0)->name];
    struct ferry_stats told;
    TRITONSERVER_Metric *scalars[SCALARS];
    struct operation_metrics operations[COMBINATIONS];
};

static struct {
    pthread_mutex_t lock; /* guards all below */
    bool absent;          /* the server has no metrics */
    struct family scalars[SCALARS], operations[OPERATION_SCALARS], own[OWN_SCALARS], buckets;
    TRITONSERVER_Metric *own_metrics[OWN_SCALARS];
    struct ferry_triton_stats told;
    struct device *devices[DEVICES_MAX];
    size_t device_count;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- making them, under the lock -------------------------------------------------------------- */

/* What cannot be made is done without, and said once. */
static void give_up(const char *name, TRITONSERVER_Error *error)
{
    if (ferry__triton.TRITONSERVER_ErrorCode(error) == TRITONSERVER_ERROR_UNSUPPORTED) {
        state.absent = true;
    } else {
        char message[256], shown[256];
        snprintf(message, sizeof message, "ferry: no metric %s: %s", name,
                 ferry__triton.TRITONSERVER_ErrorMessage(error));
        ferry__show_text(shown, sizeof shown, message);
        ferry__triton_delete(
            ferry__triton.TRITONSERVER_LogMessage(TRITONSERVER_LOG_WARN, "ferry", 0, shown));
    }
    ferry__triton_delete(error);
}

/* Where a field is in nanoseconds its name says so, and its metric is in seconds. */
static void write_name(const struct scalar *scalar, char *name, size_t size)
{
    const char *unit = scalar->scale == SECONDS ? strstr(scalar->name, "_ns") : NULL;
    if (unit)
        snprintf(name, size, "%.*s_seconds%s", (int)(unit - scalar->name), scalar->name, unit + 3);
    else
        snprintf(name, size, "%s", scalar->name);
}

static TRITONSERVER_MetricFamily *family_of(struct family *family, const struct scalar *scalar)
{
    char name[96];
    if (family->tried)
        return family->triton;
    family->tried = true;
    write_name(scalar, name, sizeof name);
    TRITONSERVER_Error *error = ferry__triton.TRITONSERVER_MetricFamilyNew(
        &family->triton,
        scalar->kind == GAUGE ? TRITONSERVER_METRIC_KIND_GAUGE : TRITONSERVER_METRIC_KIND_COUNTER,
        name, scalar->help);
    if (!error)
        return family->triton;
    family->triton = NULL;
    give_up(name, error);
    return NULL;
}

static TRITONSERVER_Metric *make(TRITONSERVER_MetricFamily *family, const char *name,
                                 const struct label *labels, size_t count)
{
    const TRITONSERVER_Parameter *parameters[LABELS_MAX] = {NULL};
    TRITONSERVER_Metric *metric = NULL;
    TRITONSERVER_Error *error = NULL;
    if (!family)
        return NULL;
    for (size_t i = 0; i < count; i++)
        parameters[i] = ferry__triton.TRITONSERVER_ParameterNew(
            labels[i].name, TRITONSERVER_PARAMETER_STRING, labels[i].value);
    error = ferry__triton.TRITONSERVER_MetricNew(&metric, family, parameters, count);
    for (size_t i = 0; i < count; i++)
        ferry__triton.TRITONSERVER_ParameterDelete((TRITONSERVER_Parameter *)parameters[i]);
    if (!error)
        return metric;
    give_up(name, error);
    return NULL;
}

/* --- telling ---------------------------------------------------------------------------------- */

/* A number went from told to now. One that fell was reset, and counts from 0. */
static void tell(TRITONSERVER_Metric *metric, const struct scalar *scalar, uint64_t told,
                 uint64_t now)
{
    TRITONSERVER_Error *error = NULL;
    if (scalar->kind == GAUGE)
        error = ferry__triton.TRITONSERVER_MetricSet(metric, (double)now * scalar->scale);
    else if (now != told)
        error = ferry__triton.TRITONSERVER_MetricIncrement(
            metric, (double)(now > told ? now - told : now) * scalar->scale);
    ferry__triton_delete(error);
}

static uint64_t at(const void *numbers, size_t offset)
{
    return *(const uint64_t *)((const char *)numbers + offset);
}

/* Tells one number, by a metric that is made for it at first. */
static void update(TRITONSERVER_Metric **metric, struct family *family, const struct scalar *scalar,
                   const struct label *labels, size_t label_count, uint64_t told, uint64_t now)
{
    if (state.absent)
        return;
    if (!*metric)
        *metric = make(family_of(family, scalar), scalar->name, labels, label_count);
    if (*metric)
        tell(*metric, scalar, told, now);
}

static const char *const operation_names[] = {
    [FERRY_OPERATION_UPLOAD] = "upload",
    [FERRY_OPERATION_DOWNLOAD] = "download",
    [FERRY_OPERATION_COPY] = "copy",
    [FERRY_OPERATION_FILL] = "fill",
};

/* The counters of an operation on a path that have met. */
static void update_operation(struct device *device, unsigned operation, unsigned path,
                             const struct ferry_operation_stats *now)
{
    struct operation_metrics *metrics = &device->operations[operation * FERRY_PATH_COUNT + path];
    const struct ferry_operation_stats *told = &device->told.operations[operation][path];
    struct label labels[LABELS_MAX] = {{"device", device->name},
                                       {"operation", operation_names[operation]},
                                       {"path", ferry_path_name((enum ferry_path)path)}};
    uint64_t told_sum = 0, now_sum = 0;
    if (!now->operations && !now->errors && !told->operations && !told->errors)
        return;
    for (size_t i = 0; i < OPERATION_SCALARS; i++)
        update(&metrics->scalars[i], &state.operations[i], &operation_scalars[i], labels, 3,
               at(told, operation_scalars[i].offset), at(now, operation_scalars[i].offset));
    for (size_t i = 0; i < FERRY_TIME_BUCKETS; i++) {
        char bound[32] = "+Inf";
        if (i < FERRY_TIME_BUCKETS - 1)
            snprintf(bound, sizeof bound, "%.9f",
                     (double)((uint64_t)FERRY_TIME_BUCKET_NS << (2 * i)) * 1e-9);
        labels[3] = (struct label){"le", bound};
        told_sum += told->buckets[i];
        now_sum += now->buckets[i];
        update(&metrics->buckets[i], &state.buckets, &bucket, labels, 4, told_sum, now_sum);
    }
}

static void update_device(struct device *device, const struct ferry_stats *now)
{
    const struct label label = {"device", device->name};
    for (size_t i = 0; i < SCALARS && !state.absent; i++)
        update(&device->scalars[i], &state.scalars[i], &scalars[i], &label, 1,
               at(&device->told, scalars[i].offset), at(now, scalars[i].offset));
    for (unsigned operation = 0; operation < FERRY_OPERATION_COUNT; operation++)
        for (unsigned path = 0; path < FERRY_PATH_COUNT && !state.absent; path++)
            update_operation(device, operation, path, &now->operations[operation][path]);
    device->told = *now;
}

static struct device *find_device(const char *name)
{
    for (size_t i = 0; i < state.device_count; i++)
        if (!strcmp(state.devices[i]->name, name))
            return state.devices[i];
    if (state.device_count == DEVICES_MAX)
        return NULL;
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        return NULL;
    snprintf(device->name, sizeof device->name, "%s", name);
    state.devices[state.device_count++] = device;
    return device;
}

static void visit(const char *name, ferry_device *device, void *user)
{
    struct ferry_stats now;
    struct device *told = find_device(name);
    (void)user;
    ferry_device_get_stats(device, &now, sizeof now);
    if (told)
        update_device(told, &now);
}

static void update_own(void)
{
    struct ferry_triton_stats now;
    ferry_triton_get_stats(&now, sizeof now);
    for (size_t i = 0; i < OWN_SCALARS && !state.absent; i++)
        update(&state.own_metrics[i], &state.own[i], &own_scalars[i], NULL, 0,
               at(&state.told, own_scalars[i].offset), at(&now, own_scalars[i].offset));
    state.told = now;
}

static bool are_there(void)
{
    return ferry__triton.TRITONSERVER_MetricFamilyNew && ferry__triton.TRITONSERVER_MetricNew &&
           ferry__triton.TRITONSERVER_MetricIncrement && ferry__triton.TRITONSERVER_MetricSet &&
           ferry__triton.TRITONSERVER_ParameterNew && ferry__triton.TRITONSERVER_ParameterDelete;
}

TRITONSERVER_Error *ferry_triton_metrics_update(void)
{
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    pthread_mutex_lock(&state.lock);
    state.absent = state.absent || !are_there();
    if (!state.absent)
        update_own();
    if (!state.absent)
        ferry__triton_each_device(visit, NULL);
    pthread_mutex_unlock(&state.lock);
    return NULL;
}

void ferry__triton_metrics_close(const char *name, const struct ferry_stats *last)
{
    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < state.device_count; i++) {
        struct device *device = state.devices[i];
        if (strcmp(device->name, name))
            continue;
        if (!state.absent)
            update_device(device, last);
        memset(&device->told, 0, sizeof device->told);
    }
    pthread_mutex_unlock(&state.lock);
}
