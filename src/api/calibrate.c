#include "api/calibrate.h"

#include "base/clock.h"
#include "base/env.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/window.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/submission.h"
#include "memory/pool.h"

#include <assert.h>
#include <errno.h>
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Which way is faster from which size on. A GPU is asked when it is opened, by a handful of real
 * transfers; the answers stay between bounds that make no answer bad, and where there is no time,
 * or no clear answer, the default stays. Where a CPU carries out the device's commands nothing is
 * measured: both ways are the same memcpy there, and the direct one saves a submission.
 */

#define MS(n) ((uint64_t)(n)*1000 * 1000)

enum {
    SIZE_MIN = FERRY__SMALL_DIRECT, /* the bounds of every answer */
    HOST_SIZE_MAX = 2 << 20,        /* of transfers: touching their pages takes time */
    COPY_SIZE_MAX = 4 << 20,        /* of copies on the device */
    ROUNDS = 3,
    WINDOW_SIZE_MIN = 256, /* of reads by the CPU from memory that it does not cache */
    WINDOW_SIZE_MAX = 32 << 10,
    WARM_UP_MIN = 4 << 10,
    WARM_UP_STEP = 64,
};

/* No transfer is begun after this, so that opening stays under 20 ms. */
static const uint64_t TIME_MAX_NS = MS(11);

enum threshold {
#define FERRY_THRESHOLD(name, help) THRESHOLD_##name,
#include <ferry/thresholds.inc>
#undef FERRY_THRESHOLD
    THRESHOLD_COUNT
};

static const char *const names[] = {
#define FERRY_THRESHOLD(name, help) #name,
#include <ferry/thresholds.inc>
#undef FERRY_THRESHOLD
};

static_assert(sizeof(struct ferry_thresholds) == THRESHOLD_COUNT * sizeof(uint64_t), "a word each");

static uint64_t *value_of(struct ferry_thresholds *thresholds, unsigned i)
{
    return (uint64_t *)(void *)thresholds + i;
}

/* --- what is given ---------------------------------------------------------------------------- */

/* "65536", "64K", "1M", "max". */
static bool parse_bytes(const char *text, uint64_t *out)
{
    static const char units[] = "KMG";
    char *end;
    if (strcmp(text, "max") == 0) {
        *out = UINT64_MAX;
        return true;
    }
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    const unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (errno || (*end && !unit) || (unit && end[1]) || number > UINT64_MAX >> shift)
        return false;
    *out = (uint64_t)number << shift;
    return true;
}

/* Says which part of FERRY_THRESHOLDS is wrong, and what would be right. */
static enum ferry_status wrong_name(const char *word)
{
    char all[256] = "";
    for (unsigned i = 0; i < THRESHOLD_COUNT; i++) {
        const size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s%s", i ? ", " : "", names[i]);
    }
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                       "FERRY_THRESHOLDS: no threshold is called \"%.64s\"; there are %s", word,
                       all);
}

/* One word of FERRY_THRESHOLDS. */
static enum ferry_status parse_word(char *word, struct ferry__threshold_choice *choice)
{
    if (strcmp(word, "default") == 0 || strcmp(word, "measure") == 0) {
        choice->measure = word[0] == 'm' ? FERRY__MEASURE_ALWAYS : FERRY__MEASURE_NEVER;
        return FERRY_OK;
    }
    char *equals = strchr(word, '=');
    if (!equals)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "FERRY_THRESHOLDS: \"%.64s\" is not default, measure or NAME=BYTES",
                           word);
    *equals = '\0';
    unsigned i = 0;
    while (i < THRESHOLD_COUNT && strcmp(word, names[i]))
        i++;
    if (i == THRESHOLD_COUNT)
        return wrong_name(word);
    uint64_t value;
    if (!parse_bytes(equals + 1, &value))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "FERRY_THRESHOLDS: %s takes bytes, such as 65536, 64K, 1M or max, not "
                           "\"%.64s\"",
                           word, equals + 1);
    /* 0 means that none is given. */
    if (!*value_of(&choice->given, i))
        *value_of(&choice->given, i) = value ? value : 1;
    return FERRY_OK;
}

enum ferry_status ferry__thresholds_choose(const struct ferry_device_params *params,
                                           struct ferry__threshold_choice *out_choice)
{
    char words[512];
    const char *environment = ferry__env("FERRY_THRESHOLDS");
    *out_choice = (struct ferry__threshold_choice){
        .given = params->thresholds,
        .measure = params->no_measuring ? FERRY__MEASURE_NEVER : FERRY__MEASURE_GPU};
    if (!environment)
        return FERRY_OK;
    const size_t length = strlen(environment);
    if (length >= sizeof words)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "FERRY_THRESHOLDS has %zu characters; at most %zu are read", length,
                           sizeof words - 1);
    memcpy(words, environment, length + 1);
    char *rest = words;
    for (char *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        const enum ferry_status status = parse_word(word, out_choice);
        if (status)
            return status;
    }
    if (params->no_measuring)
        out_choice->measure = FERRY__MEASURE_NEVER;
    return FERRY_OK;
}

static void set_kernel(struct ferry_device *device)
{
    const uint64_t from = device->gpu.info.thresholds.kernel_copy_from;
    device->gpu.limits.kernel_copy_from = from == UINT64_MAX ? 0 : from;
}

void ferry__thresholds_default(struct ferry_device *device,
                               const struct ferry__threshold_choice *choice)
{
    const struct ferry__limits *limits = &device->gpu.limits;
    const bool cpu = device->cpus_taken > 0;
    struct ferry_thresholds *thresholds = &device->gpu.info.thresholds;
    *thresholds = (struct ferry_thresholds){
        .direct_write_max = UINT64_MAX,
        .direct_copy_max = cpu ? UINT64_MAX : 64 << 10,
        /* H200: 1 MiB takes 41 us from registered memory, 49 us by the CPU; 64 KiB 20 us and 3
         * us. */
        .direct_registered_max = cpu ? UINT64_MAX : 512 << 10,
        .import_from = limits->import_granularity && limits->import_cheap ? 256 << 10 : UINT64_MAX,
        .kernel_copy_from =
            limits->has_kernel && limits->kernel_copy_from ? limits->kernel_copy_from : UINT64_MAX,
    };
    struct ferry_thresholds given = choice->given;
    for (unsigned i = 0; i < THRESHOLD_COUNT; i++)
        if (*value_of(&given, i))
            *value_of(thresholds, i) = *value_of(&given, i);
    set_kernel(device);
}

/* --- what is measured ------------------------------------------------------------------------- */

struct probe {
    struct ferry_device *device;
    ferry_buffer *near, *far; /* private */
    unsigned char *pages;     /* of the host, and not registered */
    void *registered;         /* NULL: none to be had */
    uint64_t end_ns;
};

/* One way to do one thing. */
struct way {
    enum ferry_path path;
    bool direct;           /* the CPU may do it */
    bool registered, copy; /* from registered memory; from buffer to buffer */
    bool read;             /* a download */
    uint64_t kernel_from;
};

static const struct way by_cpu = {.path = FERRY_PATH_DIRECT, .direct = true};
static const struct way staged = {.path = FERRY_PATH_PIPELINED};
static const struct way imported = {.path = FERRY_PATH_IMPORTED};
static const struct way registered = {.path = FERRY_PATH_IMPORTED, .registered = true};
static const struct way read_by_cpu = {.path = FERRY_PATH_AUTO, .direct = true, .read = true};
static const struct way read_staged = {.path = FERRY_PATH_STAGED, .read = true};
static const struct way copied_by_cpu = {.direct = true, .copy = true};
static const struct way copied = {.copy = true};
static const struct way copied_by_kernel = {.copy = true, .kernel_from = 1};

enum answer { NO, YES, UNKNOWN };

/* Is the second way clearly faster? The best of some rounds that take turns: what else the machine
 * does makes times longer, never shorter. One clearly slower round is enough for a no. */
static enum answer is_faster(const struct ferry__race *race, uint64_t size)
{
    uint64_t best[2] = {UINT64_MAX, UINT64_MAX};
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 2; i++) {
            const uint64_t time = race->time(race->arg, i == 1, size);
            if (!time)
                return UNKNOWN;
            if (time < best[i])
                best[i] = time;
        }
        if (best[1] / 2 > best[0])
            return NO;
    }
    return best[1] < best[0] - best[0] / 8 ? YES : NO;
}

bool ferry__crossover(const struct ferry__race *race, uint64_t *out_from)
{
    uint64_t from = UINT64_MAX;
    for (uint64_t size = race->largest; size >= race->smallest; size /= 2) {
        const enum answer answer = is_faster(race, size);
        if (answer == UNKNOWN)
            return false;
        if (answer == NO)
            break;
        from = size;
    }
    *out_from = from;
    return true;
}

/* Of one threshold: two ways. */
struct contest {
    struct probe *probe;
    const struct way *ways[2];
};

/* The time that size bytes take; 0: it failed, or there is no time left. */
static uint64_t time_of(void *arg, bool second, uint64_t size)
{
    const struct contest *contest = arg;
    const struct probe *probe = contest->probe;
    const struct way *way = contest->ways[second];
    struct ferry_device *device = probe->device;
    struct ferry_buffer *near = probe->near, *far = probe->far;
    device->path = way->path;
    device->gpu.limits.kernel_copy_from = way->kernel_from;
    near->direct_write = way->direct;
    near->cpu = far->cpu = way->direct && way->copy;
    near->window = way->direct && way->read;
    const uint64_t start = ferry__now_ns();
    if (start >= probe->end_ns)
        return 0;
    const enum ferry_status status =
        way->copy   ? ferry_copy_buffer(far, near, size, 0, 0)
        : way->read ? ferry_copy_to_host(near, probe->pages, size, 0)
                    : ferry_copy_from_host(near, way->registered ? probe->registered : probe->pages,
                                           size, 0);
    return status ? 0 : ferry__now_ns() - start + 1;
}

/* An import that is given back after the transfer's end is not seen whole. */
static bool imports_in_time(const struct ferry__gpu *gpu)
{
    return gpu->limits.import_granularity && !gpu->driver->memory_settle;
}

static bool can_measure(const struct probe *probe, enum threshold threshold)
{
    const struct ferry__limits *limits = &probe->device->gpu.limits;
    const struct ferry_buffer *near = probe->near;
    const bool writes = near->host && near->memory->coherent;
    switch (threshold) {
    case THRESHOLD_direct_write_max: return writes;
    case THRESHOLD_direct_copy_max: return writes && near->memory->cached;
    case THRESHOLD_direct_registered_max: return writes && probe->registered;
    case THRESHOLD_import_from: return imports_in_time(&probe->device->gpu);
    case THRESHOLD_kernel_copy_from: return limits->has_kernel && !limits->kernel_decided;
    case THRESHOLD_direct_read_max:
        return writes && !near->memory->cached && ferry__window_is_fast();
    case THRESHOLD_COUNT: break;
    }
    return false;
}

/* The first transfers of each way are slow, and do not count: memory is made, pages are touched.
 * They grow until the largest; where that would take longer than there is time, it is not begun.
 * Less than some pages cannot be imported. */
static bool warm_up(struct contest *contest, bool second, uint64_t largest)
{
    uint64_t size = contest->ways[second]->path == FERRY_PATH_IMPORTED ? SIZE_MIN : WARM_UP_MIN;
    if (!time_of(contest, second, size))
        return false;
    for (;; size = size * WARM_UP_STEP < largest ? size * WARM_UP_STEP : largest) {
        const uint64_t time = time_of(contest, second, size);
        if (!time)
            return false;
        if (size == largest)
            return true;
        if (ferry__now_ns() + WARM_UP_STEP * time > contest->probe->end_ns)
            return false;
    }
}

static void measure_one(struct probe *probe, enum threshold threshold)
{
    static const struct {
        const struct way *first, *second;
        bool is_max; /* the first way's largest size, not the second's smallest */
    } questions[] = {
        [THRESHOLD_direct_write_max] = {&by_cpu, &staged, true},
        [THRESHOLD_direct_copy_max] = {&copied_by_cpu, &copied, true},
        [THRESHOLD_direct_registered_max] = {&by_cpu, &registered, true},
        [THRESHOLD_import_from] = {&staged, &imported, false},
        [THRESHOLD_kernel_copy_from] = {&copied, &copied_by_kernel, false},
        [THRESHOLD_direct_read_max] = {&read_by_cpu, &read_staged, true},
    };
    struct ferry_device_info *info = &probe->device->gpu.info;
    struct contest contest = {probe, {questions[threshold].first, questions[threshold].second}};
    struct ferry__race race = {.time = time_of,
                               .arg = &contest,
                               .smallest = SIZE_MIN,
                               .largest = contest.ways[0]->copy ? COPY_SIZE_MAX : HOST_SIZE_MAX};
    if (contest.ways[0]->read) {
        race.smallest = WINDOW_SIZE_MIN;
        race.largest = WINDOW_SIZE_MAX;
    }
    uint64_t *value = value_of(&info->thresholds, threshold), from;
    const uint64_t before = *value;
    if (contest.ways[0]->read)
        *value = race.largest;
    const bool known = can_measure(probe, threshold) && warm_up(&contest, false, race.largest) &&
                       warm_up(&contest, true, race.largest) && ferry__crossover(&race, &from);
    *value = before;
    if (!known)
        return;
    /* Of the sizes that were looked at, the largest at which the first way is as good. What is true
     * of larger ones was not asked. */
    if (questions[threshold].is_max) {
        if (from == UINT64_MAX)
            from = before > race.largest ? before : race.largest;
        else if (from > race.smallest)
            from /= 2;
        else if (contest.ways[0]->read)
            from = 0;
    }
    *value = from;
    info->measured |= UINT64_C(1) << threshold;
}

static bool probe_init(struct probe *probe)
{
    const struct ferry_buffer_params params = {.size = COPY_SIZE_MAX, .label = "ferry thresholds"};
    struct ferry_device *device = probe->device;
    void *pages = NULL;
    if (ferry_buffer_create(device, &params, &probe->near) ||
        ferry_buffer_create(device, &params, &probe->far) ||
        posix_memalign(&pages, 4096, HOST_SIZE_MAX))
        return false;
    probe->pages = pages;
    memset(pages, 1, HOST_SIZE_MAX);
    /* Where nothing can be imported it may be a fallback, of which the user should hear later. */
    if (!device->gpu.limits.import_granularity || !probe->near->host)
        return true;
    if (ferry_host_alloc(device, HOST_SIZE_MAX, &probe->registered))
        probe->registered = NULL;
    return true;
}

static void probe_finish(struct probe *probe)
{
    ferry_host_free(probe->device, probe->registered);
    free(probe->pages);
    ferry_buffer_destroy(probe->far);
    ferry_buffer_destroy(probe->near);
    (void)ferry__memory_trim(&probe->device->gpu);
    ferry__metrics_reset(&probe->device->gpu.metrics);
}

void ferry__thresholds_measure(struct ferry_device *device,
                               const struct ferry__threshold_choice *choice)
{
    static const enum threshold order[] = {
        /* what is worth the most first, the slowest last */
        THRESHOLD_direct_read_max,  THRESHOLD_direct_registered_max, THRESHOLD_kernel_copy_from,
        THRESHOLD_direct_write_max, THRESHOLD_direct_copy_max,       THRESHOLD_import_from};
    struct ferry_thresholds given = choice->given;
    if (choice->measure == FERRY__MEASURE_NEVER ||
        (choice->measure == FERRY__MEASURE_GPU && device->cpus_taken))
        return;
    const uint64_t start = ferry__now_ns();
    const enum ferry_path path = device->path;
    struct probe probe = {.device = device, .end_ns = start + TIME_MAX_NS};
    ferry__error_begin(); /* what cannot be measured keeps its default */
    if (probe_init(&probe))
        for (size_t i = 0; i < THRESHOLD_COUNT; i++)
            if (!*value_of(&given, order[i]))
                measure_one(&probe, order[i]);
    probe_finish(&probe);
    ferry__error_end(FERRY_OK);
    device->path = path;
    set_kernel(device);
    device->gpu.info.measuring_ns = ferry__now_ns() - start;
    ferry__log(FERRY_LOG_INFO, "%s: thresholds measured in %llu us", device->gpu.info.name,
               (unsigned long long)(device->gpu.info.measuring_ns / 1000));
}
