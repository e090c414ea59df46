/* What the tests of the Metal driver share: a simulated machine, and one open device of it. */
#ifndef METAL_WORLD_H
#define METAL_WORLD_H

#include "base/base.h"
#include "driver.h"
#include "metalsim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct ferry__driver ferry__metal_driver;
static const struct ferry__driver *const driver = &ferry__metal_driver;

struct world {
    void *state;
    struct ferry__limits limits;
    uint64_t values[FERRY__QUEUES_MAX];
    char why[FERRY__WHY_MAX];
};

static inline void start_machine(const struct metalsim_config *config)
{
    assert_int_equal(metalsim_reset(config), 0);
}

/* Opens, and asks for nothing more. */
static inline void open_bare(struct world *world, struct ferry__open_params params)
{
    *world = (struct world){0};
    if (driver->open(&params, &world->state, &world->limits, world->why) != FERRY_OK)
        fail_msg("open: %s", world->why);
}

/* With the kernels, as the engine has them once it needed them. */
static inline void open_with(struct world *world, struct ferry__open_params params)
{
    open_bare(world, params);
    (void)driver->kernels(world->state, UINT64_MAX);
}

static inline void open_world(struct world *world, struct metalsim_config config)
{
    start_machine(&config);
    open_with(world, (struct ferry__open_params){0});
}

/* Nothing may be left over. */
static inline void close_world(struct world *world)
{
    driver->close(world->state);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

static inline struct metalsim_counts counts(void)
{
    struct metalsim_counts now;
    metalsim_get_counts(&now);
    return now;
}

static inline struct ferry__memory alloc(struct world *world, enum ferry__memory_kind use,
                                         uint64_t size)
{
    struct ferry__memory memory = {0};
    if (driver->memory_alloc(world->state, use, size, "test", &memory, world->why) != FERRY_OK)
        fail_msg("alloc of %llu: %s", (unsigned long long)size, world->why);
    assert_true(memory.size >= size);
    assert_int_equal(memory.offset % FERRY_BUFFER_ALIGNMENT, 0);
    return memory;
}

static inline void give(struct world *world, struct ferry__memory *memory)
{
    driver->memory_free(world->state, memory);
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

static inline void wait_value(struct world *world, unsigned queue, uint64_t value)
{
    struct ferry_sync point = {world->limits.queues[queue].event, value};
    while (driver->completed(world->state, point.event) < value)
        driver->wait_any(world->state, &point, 1, UINT64_MAX);
}

/* Submits, waits; how it ended. */
static inline struct ferry__result run(struct world *world, const struct ferry__command *commands,
                                       size_t count)
{
    struct ferry__result result = {.status = FERRY_PENDING};
    enum ferry_status status = submit(world, 0, commands, count, NULL, 0, &result);
    if (status)
        return (struct ferry__result){.status = status};
    wait_value(world, 0, world->values[0]);
    return result;
}

static inline struct ferry__command copy(const struct ferry__memory *dst, uint64_t dst_offset,
                                         const struct ferry__memory *src, uint64_t src_offset,
                                         uint64_t size)
{
    return (struct ferry__command){.kind = FERRY__COPY,
                                   .dst = dst,
                                   .dst_offset = dst_offset,
                                   .src = src,
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
    for (uint8_t i = 0; i < pattern_size; i++)
        command.pattern[i] = (uint8_t)(0x31 + 7 * i);
    return command;
}

static inline struct ferry__command by_kernel(struct ferry__command command)
{
    command.engine = FERRY__ENGINE_KERNEL;
    return command;
}

static inline void number_bytes(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251 + 1);
}

/* The engine's part: what the host wrote, for the device to see. */
static inline void flush(struct world *world, const struct ferry__memory *memory)
{
    if (!memory->coherent)
        assert_int_equal(driver->flush(world->state, memory, 0, memory->size), FERRY_OK);
}

static inline void invalidate(struct world *world, const struct ferry__memory *memory)
{
    if (!memory->coherent)
        assert_int_equal(driver->invalidate(world->state, memory, 0, memory->size), FERRY_OK);
}

/* The bytes of any memory, by way of the simulator. */
static inline void peek(const struct ferry__memory *memory, uint64_t offset, void *out, size_t size)
{
    void *buffer = *(void **)memory->native; /* struct metal_memory begins with its buffer */
    memcpy(out, metalsim_open(buffer) + memory->offset + offset, size);
    metalsim_close(buffer);
}

#endif
