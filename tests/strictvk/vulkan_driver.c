#include "vulkan_driver.h"

const struct ferry__driver *const driver = &ferry__vulkan_driver;

static int open_as(void **out, const struct ferry__open_params *params)
{
    struct fixture *f = calloc(1, sizeof *f);
    enum ferry_status status = driver->open(params, &f->state, &f->limits, f->why);
    if (status != FERRY_OK) {
        fprintf(stderr, "no Vulkan device: %s\n", f->why);
        free(f);
        return -1;
    }
    *out = f;
    return 0;
}

int open_default(void **out)
{
    return open_as(out, &(struct ferry__open_params){0});
}

int open_unmapped(void **out)
{
    return open_as(out, &(struct ferry__open_params){.map_private = FERRY_MAP_NEVER});
}

int close_it(void **out)
{
    struct fixture *f = *out;
    driver->close(f->state);
    free(f);
    return 0;
}

/* --- memory and submissions ------------------------------------------------------------------- */

struct ferry__memory alloc(struct fixture *f, enum ferry__memory_kind use, uint64_t size)
{
    struct ferry__memory memory;
    enum ferry_status status = driver->memory_alloc(f->state, use, size, "test", &memory, f->why);
    if (status != FERRY_OK)
        fail_msg("%llu bytes: %s", (unsigned long long)size, f->why);
    assert_true(memory.size >= size);
    assert_int_equal(memory.offset % FERRY_BUFFER_ALIGNMENT, 0);
    assert_int_equal((uintptr_t)memory.host % FERRY_BUFFER_ALIGNMENT, 0);
    return memory;
}

void release(struct fixture *f, struct ferry__memory *memory)
{
    driver->memory_free(f->state, memory);
}

void flush(struct fixture *f, const struct ferry__memory *memory)
{
    uint64_t size = (memory->size + f->limits.atom - 1) / f->limits.atom * f->limits.atom;
    if (!memory->coherent)
        assert_int_equal(driver->flush(f->state, memory, 0, size), FERRY_OK);
}

static void invalidate(struct fixture *f, const struct ferry__memory *memory)
{
    uint64_t size = (memory->size + f->limits.atom - 1) / f->limits.atom * f->limits.atom;
    if (!memory->coherent)
        assert_int_equal(driver->invalidate(f->state, memory, 0, size), FERRY_OK);
}

unsigned queue_for(const struct fixture *f, unsigned role)
{
    for (unsigned i = 0; i < f->limits.queue_count; i++)
        if (f->limits.queues[i].roles & role)
            return i;
    fail_msg("no queue with the role %u", role);
    return 0;
}

struct ferry_sync submit(struct fixture *f, unsigned role, const struct ferry__command *commands,
                         size_t count, const struct ferry_sync *waits, size_t wait_count,
                         struct ferry__result *result)
{
    unsigned queue = queue_for(f, role);
    const struct ferry__submission_info info = {
        .queue = queue,
        .commands = commands,
        .count = count,
        .waits = waits,
        .wait_count = wait_count,
        .value = f->value[queue] + 1,
        .result = result,
    };
    result->status = FERRY_PENDING;
    if (driver->submit(f->state, &info, f->why) != FERRY_OK)
        fail_msg("submit: %s", f->why);
    f->value[queue]++;
    return (struct ferry_sync){f->limits.queues[queue].event, f->value[queue]};
}

void wait_for(struct fixture *f, struct ferry_sync point)
{
    while (driver->completed(f->state, point.event) < point.value)
        driver->wait_any(f->state, &point, 1, FERRY_FOREVER);
}

void run(struct fixture *f, unsigned role, const struct ferry__command *commands, size_t count)
{
    struct ferry__result result;
    wait_for(f, submit(f, role, commands, count, NULL, 0, &result));
    assert_int_equal(result.status, FERRY_OK);
    assert_string_equal(result.why, "");
}

struct ferry__command copy(const struct ferry__memory *dst, uint64_t dst_offset,
                           const struct ferry__memory *src, uint64_t src_offset, uint64_t size)
{
    return (struct ferry__command){.kind = FERRY__COPY,
                                   .dst = dst,
                                   .dst_offset = dst_offset,
                                   .src = src,
                                   .src_offset = src_offset,
                                   .size = size};
}

struct ferry__command after(struct ferry__command command)
{
    command.barrier = true;
    return command;
}

unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 7 + (i >> 8) * 3 + 1);
}

void put(struct fixture *f, const struct ferry__memory *dst, const void *bytes, uint64_t size)
{
    struct ferry__memory staging = alloc(f, FERRY__MEMORY_UPLOAD, size);
    memcpy(staging.host, bytes, size);
    flush(f, &staging);
    const struct ferry__command command = copy(dst, 0, &staging, 0, size);
    run(f, FERRY__ROLE_UPLOAD, &command, 1);
    release(f, &staging);
}

static void get(struct fixture *f, const struct ferry__memory *src, void *bytes, uint64_t size)
{
    struct ferry__memory staging = alloc(f, FERRY__MEMORY_READBACK, size);
    const struct ferry__command command = copy(&staging, 0, src, 0, size);
    run(f, FERRY__ROLE_DOWNLOAD, &command, 1);
    invalidate(f, &staging);
    memcpy(bytes, staging.host, size);
    release(f, &staging);
}

void assert_bytes(struct fixture *f, const struct ferry__memory *memory,
                  const unsigned char *expected, uint64_t size)
{
    unsigned char *found = malloc(size);
    get(f, memory, found, size);
    assert_memory_equal(found, expected, size);
    free(found);
}
