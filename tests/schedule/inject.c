/*
 * Failures in turn: the same schedule again and again, with the first, the second, ... allocation of
 * host memory failing, or the driver's n-th allocation, import, submission or execution, or the
 * device lost at the n-th; until none is left that fails. Each time the model checks what was said
 * to be done and to have failed, and then that later work is right.
 */
#include "schedule.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two devices, little staging, two queues each. */
#define ON_HOST(named, second)                                                              \
    .name = "inject", .knobs = "queues=2" named, .second_knobs = (second), .failing = true, \
    .params = {.map_private = FERRY_MAP_NEVER, .staging_budget = 16384, .queues = 2}

static const struct config scenario = {ON_HOST("", "align=4,fill_pattern=1")};
static const struct config losing = {ON_HOST("", ""), .losing = true};

/* Devices that reach each other, with copies in several pieces. */
static const struct config peers = {ON_HOST(",peers,max_copy=1000", "peers,max_copy=700")};
static const struct config peers_losing = {ON_HOST(",peers,max_copy=1000", "peers,max_copy=700"),
                                           .losing = true};

#ifdef SCHEDULE_METALSIM
#define METAL .metal = true, .work = metal_work
#else
#define METAL .metal = true
#endif

/* On Metal with one device: its knobs are the process's. */
#define ON_METAL(named)                                         \
    .name = "inject", METAL, .knobs = (named), .failing = true, \
    .params = {.map_private = FERRY_MAP_NEVER, .staging_budget = 16384, .queues = 2}

static const struct config apple = {ON_METAL("apple,disorder")};
static const struct config apple_losing = {ON_METAL("apple"), .losing = true};

/* Managed storage. */
static const struct config amd = {ON_METAL("amd,disorder")};
static const struct config amd_losing = {ON_METAL("amd"), .losing = true};

/* On CUDA a loss is all that is open on a device. */
#define ON_CUDA                                                            \
    .name = "inject", .cuda = true, .knobs = "devices=2", .failing = true, \
    .second_knobs = "devices=2", .params = {.staging_budget = 16384, .queues = 2}

static const struct config cuda = {ON_CUDA};
static const struct config cuda_losing = {ON_CUDA, .losing = true};

/* By what comes before the failure's name; then by whether the device is lost. */
static const struct {
    const char *prefix;
    const struct config *configs[2];
} scenarios[] = {
    {"metal-amd.", {&amd, &amd_losing}}, {"metal.", {&apple, &apple_losing}},
    {"cuda.", {&cuda, &cuda_losing}},    {"peers.", {&peers, &peers_losing}},
    {"", {&scenario, &losing}},
};

static const char *const knobs[] = {"fail_alloc", "import_fail", "fail_submit", "fail_exec",
                                    "lose_at"};

enum { LATER_STEPS = 20 };

/* false: the n-th allocation was not reached, so none failed. */
static bool one_allocation(struct run *run, uint64_t n, size_t steps)
{
    ferry__alloc_fail_at(n);
    bool open = run_open(run, NULL);
    struct lanes *lanes = open ? lanes_create(run) : NULL;
    if (open)
        lanes_rounds(run, lanes, steps);
    bool failed = ferry__alloc_fail_at(0) >= n;
    if (open) {
        lanes_rounds(run, lanes, LATER_STEPS);
        lanes_destroy(run, lanes);
        run_close(run);
    }
    return failed;
}

/* false: nothing failed. */
static bool one_knob(struct run *run, const char *knob, uint64_t n, size_t steps)
{
    char more[64];
    snprintf(more, sizeof more, "%s=%llu", knob, (unsigned long long)n);
    if (!run_open(run, more))
        return true;
    struct lanes *lanes = lanes_create(run);
    lanes_rounds(run, lanes, steps);
    struct ferry_stats stats;
    ferry_device_get_stats(run->devices[0], &stats, sizeof stats);
    uint64_t reached = strcmp(knob, "fail_alloc") == 0    ? stats.device_allocations
                       : strcmp(knob, "import_fail") == 0 ? stats.imports + stats.import_failures
                                                          : stats.submissions;
    lanes_rounds(run, lanes, LATER_STEPS);
    lanes_destroy(run, lanes);
    run_close(run);
    return reached >= n;
}

bool inject(const char *what, uint64_t every, uint64_t seed, size_t steps)
{
    size_t at = 0;
    while (strncmp(what, scenarios[at].prefix, strlen(scenarios[at].prefix)) != 0)
        at++;
    const char *name = what + strlen(scenarios[at].prefix), *knob = NULL;
    bool allocations = strcmp(name, "allocations") == 0;
    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++)
        if (strcmp(name, knobs[i]) == 0)
            knob = knobs[i];
    if (!allocations && knob == NULL)
        return false;
    uint64_t n = 1, tried = 0;
    setenv("FERRY_FILE_IO", "threads", 1); /* an io_uring for each device would take its time */
    for (bool failed = true; failed; n += every, tried++) {
        bool loses = strcmp(name, "lose_at") == 0;
        struct run run = {.config = scenarios[at].configs[loses],
                          .seed = seed,
                          .steps = steps,
                          .refusing = true,
                          .injected = what,
                          .injected_at = n};
        failed = allocations ? one_allocation(&run, n, steps) : one_knob(&run, knob, n, steps);
    }
    printf("schedule: %s: %llu failed in turn\n", what, (unsigned long long)tried - 1);
    return true;
}
