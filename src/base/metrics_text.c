#include "base/metrics.h"

#include "base/status.h"
#include "base/text.h"

#include <assert.h>
#include <ferry/ferry.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum kind { COUNTER, GAUGE };
enum unit { NONE, BYTES, SECONDS };

/* A number: which of struct ferry__scalars it is, and what it is. */
static const struct scalar {
    const char *field, *help;
    enum kind kind;
    enum unit unit;
    size_t index;
} scalars[] = {
#define FERRY_STAT(field, kind, unit, help) {#field, help, kind, unit, FERRY__SCALAR_INDEX(field)},
#include <ferry/stats.inc>
#undef FERRY_STAT
};
enum { SCALARS = sizeof scalars / sizeof *scalars };

static const struct histogram {
    const char *field, *help;
    size_t index, sum;
} histograms[] = {
#define FERRY_STAT(field, kind, unit, help)
#define FERRY_STAT_HISTOGRAM(field, sum, help) \
    {#field, help, FERRY__SCALAR_INDEX(field), FERRY__SCALAR_INDEX(sum)},
#include <ferry/stats.inc>
#undef FERRY_STAT
};
enum { HISTOGRAMS = sizeof histograms / sizeof *histograms };

static const uint64_t *numbers_in(const struct ferry_stats *stats)
{
    return (const uint64_t *)((const char *)stats + sizeof stats->operations);
}

static const char *const operation_names[] = {
    [FERRY_OPERATION_UPLOAD] = "upload",
    [FERRY_OPERATION_DOWNLOAD] = "download",
    [FERRY_OPERATION_COPY] = "copy",
    [FERRY_OPERATION_FILL] = "fill",
};
static_assert(sizeof operation_names / sizeof *operation_names == FERRY_OPERATION_COUNT,
              "an operation has no name");

const char *ferry__operation_name(enum ferry_operation operation)
{
    return operation_names[operation];
}

static bool is_used(const struct ferry_operation_stats *stats)
{
    static const struct ferry_operation_stats none;
    return memcmp(stats, &none, sizeof none) != 0;
}

/* What a text tells of: devices with names, or one without (NULL). */
struct told {
    const struct ferry_named_stats *named;
    size_t count;
};

/* Operations and paths that never met are left out of the texts. */
typedef void (*visit_fn)(struct ferry__text *text, const char *device,
                         const struct ferry_operation_stats *stats, const char *operation,
                         const char *path, const void *user);

static void visit(struct ferry__text *text, const struct ferry_named_stats *named, visit_fn fn,
                  const void *user)
{
    for (unsigned operation = 0; operation < FERRY_OPERATION_COUNT; operation++) {
        for (unsigned path = 0; path < FERRY_PATH_COUNT; path++) {
            const struct ferry_operation_stats *one = &named->stats->operations[operation][path];
            if (is_used(one))
                fn(text, named->name, one, operation_names[operation], ferry_path_name(path), user);
        }
    }
}

static void visit_all(struct ferry__text *text, const struct told *told, visit_fn fn,
                      const void *user)
{
    for (size_t i = 0; i < told->count; i++)
        visit(text, &told->named[i], fn, user);
}

/* --- Prometheus ------------------------------------------------------------------------------- */

enum { LABELS_MAX = 128 };

static void put_family(struct ferry__text *text, const char *name, const char *help,
                       const char *type)
{
    ferry__put(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_value(struct ferry__text *text, uint64_t value, enum unit unit)
{
    if (unit == SECONDS)
        ferry__put_seconds(text, value);
    else
        ferry__put(text, "%" PRIu64, value);
}

/* A line: labels are those besides the device's. */
static void put_sample(struct ferry__text *text, const char *name, const char *suffix,
                       const char *device, const char *labels, uint64_t value, enum unit unit)
{
    ferry__put(text, "%s%s", name, suffix);
    if (device) {
        ferry__put(text, "{device=");
        ferry__put_label(text, device);
        ferry__put(text, "%s%s}", labels[0] != '\0' ? "," : "", labels);
    } else if (labels[0] != '\0') {
        ferry__put(text, "{%s}", labels);
    }
    ferry__put(text, " ");
    put_value(text, value, unit);
    ferry__put(text, "\n");
}

struct buckets {
    const uint64_t *counts;
    unsigned count;
    uint64_t first, sum; /* as bucket_of() has it; of all that was counted */
    enum unit unit;
};

/* The count is that of the buckets: the two must agree also in a snapshot taken while counting. */
static void put_histogram(struct ferry__text *text, const char *name, const char *device,
                          const char *labels, const struct buckets *buckets)
{
    uint64_t so_far = 0;
    for (unsigned i = 0; i < buckets->count; i++) {
        char bucket[LABELS_MAX + 32];
        struct ferry__text more = {bucket, sizeof bucket, 0};
        so_far += buckets->counts[i];
        ferry__put(&more, "%s%sle=\"", labels, labels[0] != '\0' ? "," : "");
        if (i < buckets->count - 1)
            put_value(&more, buckets->first << (2 * i), buckets->unit);
        else
            ferry__put(&more, "+Inf");
        ferry__put(&more, "\"");
        put_sample(text, name, "_bucket", device, bucket, so_far, NONE);
    }
    put_sample(text, name, "_sum", device, labels, buckets->sum, buckets->unit);
    put_sample(text, name, "_count", device, labels, so_far, NONE);
}

/* The counters of one operation on one path. */
static const struct family {
    const char *name, *help;
    size_t offset;
} families[] = {
    {"ferry_operations_total", "Operations done",
     offsetof(struct ferry_operation_stats, operations)},
    {"ferry_operation_bytes_total", "Bytes of operations that succeeded",
     offsetof(struct ferry_operation_stats, bytes)},
    {"ferry_operation_errors_total", "Operations that failed",
     offsetof(struct ferry_operation_stats, errors)},
};

static void put_labels(char labels[LABELS_MAX], const char *operation, const char *path)
{
    snprintf(labels, LABELS_MAX, "operation=\"%s\",path=\"%s\"", operation, path);
}

static void prometheus_family(struct ferry__text *text, const char *device,
                              const struct ferry_operation_stats *stats, const char *operation,
                              const char *path, const void *user)
{
    const struct family *family = user;
    char labels[LABELS_MAX];
    put_labels(labels, operation, path);
    put_sample(text, family->name, "", device, labels,
               *(const uint64_t *)((const char *)stats + family->offset), NONE);
}

static void prometheus_duration(struct ferry__text *text, const char *device,
                                const struct ferry_operation_stats *stats, const char *operation,
                                const char *path, const void *user)
{
    char labels[LABELS_MAX];
    put_labels(labels, operation, path);
    put_histogram(text, user, device, labels,
                  &(struct buckets){stats->buckets, FERRY_TIME_BUCKETS, FERRY_TIME_BUCKET_NS,
                                    stats->time_ns, SECONDS});
}

/* Nanoseconds become seconds in name and value; counters end in _total. */
static void prometheus_scalar(struct ferry__text *text, const struct told *told,
                              const struct scalar *scalar)
{
    int length = (int)strlen(scalar->field) - (scalar->unit == SECONDS ? (int)strlen("_ns") : 0);
    char name[80];
    snprintf(name, sizeof name, "ferry_%.*s%s%s", length, scalar->field,
             scalar->unit == SECONDS ? "_seconds" : "", scalar->kind == COUNTER ? "_total" : "");
    put_family(text, name, scalar->help, scalar->kind == COUNTER ? "counter" : "gauge");
    for (size_t i = 0; i < told->count; i++)
        put_sample(text, name, "", told->named[i].name, "",
                   numbers_in(told->named[i].stats)[scalar->index], scalar->unit);
}

static void prometheus_histogram(struct ferry__text *text, const struct told *told,
                                 const struct histogram *histogram)
{
    char name[80];
    snprintf(name, sizeof name, "ferry_%s", histogram->field);
    put_family(text, name, histogram->help, "histogram");
    for (size_t i = 0; i < told->count; i++) {
        const uint64_t *numbers = numbers_in(told->named[i].stats);
        put_histogram(text, name, told->named[i].name, "",
                      &(struct buckets){numbers + histogram->index, FERRY_COUNT_BUCKETS, 1,
                                        numbers[histogram->sum], NONE});
    }
}

/* Not of a device: what the numbers after it come from. */
static void prometheus_build(struct ferry__text *text)
{
    static const char name[] = "ferry_build_info";
    put_family(text, name, "The version, drivers and libraries of this build; always 1", "gauge");
    ferry__put(text, "%s{version=\"%s\",drivers=\"%s\",libraries=\"%s\"} 1\n", name,
               ferry_version_string(), ferry_build_drivers(), ferry_build_libraries());
}

static void format_prometheus(struct ferry__text *text, const struct told *told)
{
    static const char duration[] = "ferry_operation_duration_seconds";
    prometheus_build(text);
    for (unsigned i = 0; i < sizeof families / sizeof *families; i++) {
        put_family(text, families[i].name, families[i].help, "counter");
        visit_all(text, told, prometheus_family, &families[i]);
    }
    put_family(text, duration, "Time from call to completion of the operations that were timed",
               "histogram");
    visit_all(text, told, prometheus_duration, duration);
    for (unsigned i = 0; i < SCALARS; i++)
        prometheus_scalar(text, told, &scalars[i]);
    for (unsigned i = 0; i < HISTOGRAMS; i++)
        prometheus_histogram(text, told, &histograms[i]);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void json_array(struct ferry__text *text, const uint64_t *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ferry__put(text, "%s%" PRIu64, i == 0 ? "[" : ",", values[i]);
    ferry__put(text, "]");
}

static void json_operation(struct ferry__text *text, const char *device,
                           const struct ferry_operation_stats *stats, const char *operation,
                           const char *path, const void *user)
{
    (void)device;
    size_t start = *(const size_t *)user;
    ferry__put(text, "%s{\"operation\":\"%s\",\"path\":\"%s\",\"operations\":%" PRIu64,
               text->length == start ? "" : ",", operation, path, stats->operations);
    ferry__put(text, ",\"bytes\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"timed\":%" PRIu64,
               stats->bytes, stats->errors, stats->timed);
    ferry__put(text, ",\"time_ns\":%" PRIu64 ",\"buckets\":", stats->time_ns);
    json_array(text, stats->buckets, FERRY_TIME_BUCKETS);
    ferry__put(text, "}");
}

static void json_device(struct ferry__text *text, const struct ferry_named_stats *named)
{
    const uint64_t *numbers = numbers_in(named->stats);
    ferry__put(text, "{");
    if (named->name) {
        ferry__put(text, "\"device\":");
        ferry__put_json(text, named->name);
        ferry__put(text, ",");
    }
    ferry__put(text, "\"operations\":[");
    size_t start = text->length;
    visit(text, named, json_operation, &start);
    ferry__put(text, "]");
    for (unsigned i = 0; i < SCALARS; i++)
        ferry__put(text, ",\"%s\":%" PRIu64, scalars[i].field, numbers[scalars[i].index]);
    for (unsigned i = 0; i < HISTOGRAMS; i++) {
        ferry__put(text, ",\"%s\":", histograms[i].field);
        json_array(text, numbers + histograms[i].index, FERRY_COUNT_BUCKETS);
    }
    ferry__put(text, "}");
}

static void format_json(struct ferry__text *text, const struct told *told)
{
    bool is_list = told->count != 1 || told->named->name;
    if (is_list)
        ferry__put(text, "[");
    for (size_t i = 0; i < told->count; i++) {
        ferry__put(text, i == 0 ? "" : ",\n");
        json_device(text, &told->named[i]);
    }
    ferry__put(text, is_list ? "]\n" : "\n");
}

/* --- both ------------------------------------------------------------------------------------- */

static enum ferry_status format_told(const struct told *told, enum ferry_stats_format format,
                                     char *out, size_t capacity, size_t *out_size)
{
    static void (*const formats[])(struct ferry__text *, const struct told *) = {
        [FERRY_STATS_PROMETHEUS] = format_prometheus,
        [FERRY_STATS_JSON] = format_json,
    };
    if (!out_size)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "out_size is NULL");
    if (!out && capacity > 0)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "out is NULL, but capacity is %zu",
                           capacity);
    if ((size_t)format >= sizeof formats / sizeof *formats)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "unknown stats format %d", (int)format);
    struct ferry__text text = {.out = out, .capacity = capacity};
    formats[format](&text, told);
    *out_size = text.length;
    return FERRY_OK;
}

enum ferry_status ferry_stats_format(const struct ferry_stats *stats,
                                     enum ferry_stats_format format, char *out, size_t capacity,
                                     size_t *out_size)
{
    if (!stats)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "stats is NULL");
    return format_told(&(struct told){&(struct ferry_named_stats){NULL, stats}, 1}, format, out,
                       capacity, out_size);
}

enum ferry_status ferry_stats_format_named(const struct ferry_named_stats *named, size_t count,
                                           enum ferry_stats_format format, char *out,
                                           size_t capacity, size_t *out_size)
{
    if (!named && count > 0)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "named is NULL, but count is %zu", count);
    for (size_t i = 0; i < count; i++) {
        if (!named[i].name || !named[i].stats)
            return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "named[%zu].%s is NULL", i,
                               !named[i].name ? "name" : "stats");
    }
    return format_told(&(struct told){named, count}, format, out, capacity, out_size);
}
