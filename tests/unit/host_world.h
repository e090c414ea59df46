/* What the tests of the host driver share: one open device, and its log. */
#ifndef HOST_WORLD_H
#define HOST_WORLD_H

#include "base/base.h"
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct ferry__driver *const driver = &ferry__host_driver;

/* One open device and what a test wants of it. */
struct world {
    void *state;
    struct ferry__limits limits;
    uint64_t values[FERRY__QUEUES_MAX];
    char why[FERRY__WHY_MAX];
};

static char logged[512]; /* the last message at ERROR; written by the thread that submits */

static inline void note(enum ferry_log_level level, const char *message, void *user)
{
    (void)user;
    if (level == FERRY_LOG_ERROR)
        snprintf(logged, sizeof logged, "%s", message);
}

static inline void open_with(struct world *world, const char *knobs,
                             struct ferry__open_params params)
{
    *world = (struct world){0};
    logged[0] = 0;
    ferry_set_log(note, NULL, FERRY_LOG_ERROR);
    setenv("FERRY_HOST", knobs, 1);
    if (driver->open(&params, &world->state, &world->limits, world->why) != FERRY_OK)
        fail_msg("open with \"%s\": %s", knobs, world->why);
}

static inline void open_world(struct world *world, const char *knobs)
{
    open_with(world, knobs, (struct ferry__open_params){0});
}

/* Nothing may have been said that the test did not take note of. */
static inline void close_world(struct world *world)
{
    driver->close(world->state);
    assert_string_equal(logged, "");
    unsetenv("FERRY_HOST");
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

static inline struct ferry__memory alloc(struct world *world, enum ferry__memory_kind use,
                                         uint64_t size)
{
    struct ferry__memory memory;
    if (driver->memory_alloc(world->state, use, size, "test", &memory, world->why) != FERRY_OK)
        fail_msg("alloc of %llu: %s", (unsigned long long)size, world->why);
    assert_true(memory.size >= size);
    assert_int_equal(memory.offset % FERRY_BUFFER_ALIGNMENT, 0);
    return memory;
}

static inline enum ferry_status submit(struct world *world, unsigned queue,
                                       const struct ferry__command *commands, size_t count,
                                       const struct ferry_sync *waits, size_t wait_count,
                                       struct ferry__result *result)
{
    struct ferry__submission_info info = {
        .queue = queue,
        .commands = commands,
        .count = count,
        .waits = waits,
        .wait_count = wait_count,
        .value = world->values[queue] + 1,
        .result = result,
    };
    enum ferry_status status = driver->submit(world->state, &info, world->why);
    world->values[queue] += status == FERRY_OK;
    return status;
}

static inline struct ferry_sync point_of(const struct world *world, unsigned queue)
{
    return (struct ferry_sync){world->limits.queues[queue].event, world->values[queue]};
}

static inline void wait_for(struct world *world, struct ferry_sync point)
{
    while (driver->completed(world->state, point.event) < point.value)
        driver->wait_any(world->state, &point, 1, FERRY_FOREVER);
}

/* Submits to queue 0 and waits for it to end. */
static inline struct ferry__result run(struct world *world, const struct ferry__command *commands,
                                       size_t count)
{
    struct ferry__result result = {.status = FERRY_PENDING};
    assert_int_equal(submit(world, 0, commands, count, NULL, 0, &result), FERRY_OK);
    wait_for(world, point_of(world, 0));
    return result;
}

static inline struct ferry__command copy(const struct ferry__memory *dst, uint64_t dst_offset,
                                         const struct ferry__memory *src, uint64_t src_offset,
                                         uint64_t size)
{
    return (struct ferry__command){.kind = FERRY__COPY,
                                   .dst = dst,
                                   .src = src,
                                   .dst_offset = dst_offset,
                                   .src_offset = src_offset,
                                   .size = size};
}

static inline struct ferry__command fill(const struct ferry__memory *dst, uint64_t offset,
                                         uint64_t size, uint8_t pattern_size)
{
    struct ferry__command command = {.kind = FERRY__FILL,
                                     .dst = dst,
                                     .dst_offset = offset,
                                     .size = size,
                                     .pattern_size = pattern_size};
    for (uint8_t i = 0; i < sizeof command.pattern; i++)
        command.pattern[i] = (uint8_t)(0x31 + 7 * i);
    return command;
}

#endif
