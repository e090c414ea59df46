/* What carries out the commands of a submission. */
#include "host_internal.h"

#include <string.h>

enum {
    PIECE = 1 << 20,     /* bytes between looks at whether the device is lost */
    FILL_STEP = 1 << 16, /* the source of a step stays in the cache */
};

/* Each step copies what is there already: a multiple of the pattern, so that its phase is kept. */
static void fill(unsigned char *to, uint64_t size, const uint8_t *pattern, uint64_t period)
{
    if (period == 1) {
        memset(to, pattern[0], size);
        return;
    }
    uint64_t done = size < period ? size : period;
    memcpy(to, pattern, done);
    while (done < size) {
        uint64_t step = done < FILL_STEP ? done : FILL_STEP - FILL_STEP % period;
        step = step < size - done ? step : size - done;
        memcpy(to + done, to, step);
        done += step;
    }
}

/* Does the first bytes of a list. false: the device is lost meanwhile. */
static bool run_blocks(struct host_device *device, const struct host_command *command,
                       uint64_t bytes)
{
    uint64_t since = 0;
    for (uint32_t i = 0; i < command->block_count && bytes > 0; i++) {
        const struct ferry__block_entry *block =
            &command->blocks[(i + command->block_first) % command->block_count];
        const uint64_t size = block->size < bytes ? block->size : bytes;
        if (since >= PIECE) {
            since = 0;
            if (atomic_load_explicit(&device->losing, memory_order_relaxed))
                return false;
        }
        memcpy((void *)(uintptr_t)block->dst, (const void *)(uintptr_t)block->src, size);
        bytes -= size;
        since += size;
    }
    return true;
}

/* Does the first bytes of a command. false: the device is lost meanwhile. */
static bool run(struct host_device *device, const struct host_command *command, uint64_t bytes)
{
    if (command->list)
        return run_blocks(device, command, bytes);
    uint64_t piece = PIECE - PIECE % command->pattern_size;
    for (uint64_t done = 0; done < bytes; done += piece) {
        uint64_t size = piece < bytes - done ? piece : bytes - done;
        if (atomic_load_explicit(&device->losing, memory_order_relaxed))
            return false;
        if (command->from)
            memcpy(command->to + done, command->from + done, size);
        else
            fill(command->to + done, size, command->pattern, command->pattern_size);
    }
    return true;
}

void ferry__host_carry_out(struct host_device *device, const struct host_submission *s)
{
    uint64_t left = s->stop_after;
    for (size_t i = 0; i < s->count && left > 0; i++) {
        uint64_t bytes = s->commands[i].size < left ? s->commands[i].size : left;
        if (!run(device, &s->commands[i], bytes))
            return;
        left -= bytes;
    }
}
