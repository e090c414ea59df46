#include "engine/commands.h"

#include "base/alloc.h"
#include "base/interval.h"
#include "base/status.h"
#include "driver.h"
#include "engine/device.h"
#include "engine/submission.h"

#include <ferry/ferry.h>

/*
 * Barriers within a submission: a command gets one if it touches what a command since the last one
 * touches, so that all between two barriers are independent, and the driver may merge them. Copies
 * that lie end to end are one command.
 */

static bool meets(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
    return a < b_end && b < a_end;
}

/* Where a range of memory is: what the host reaches by its address, so that imports of the same
 * pages are seen to be the same, and the rest in its native allocation. */
struct extent {
    const void *space;
    uint64_t begin, end;
};

static struct extent extent_of(const struct ferry__memory *memory, uint64_t offset, uint64_t size)
{
    static const char host_space;
    if (!memory->host)
        return (struct extent){memory->native, offset, offset + size};
    const uint64_t begin = (uint64_t)(uintptr_t)memory->host + offset;
    return (struct extent){&host_space, begin, begin + size};
}

/* Of a list of blocks: what lies between them too. */
static struct extent extent_written(const struct ferry__command *command)
{
    const bool listed = command->kind == FERRY__BLOCKS;
    return extent_of(command->dst, command->dst_offset,
                     listed ? command->list.dst_span : command->size);
}

static struct extent extent_read(const struct ferry__command *command)
{
    if (command->kind == FERRY__FILL)
        return (struct extent){0};
    const bool listed = command->kind == FERRY__BLOCKS;
    return extent_of(command->src, command->src_offset,
                     listed ? command->list.src_span : command->size);
}

static bool extents_meet(struct extent a, struct extent b)
{
    return a.space == b.space && meets(a.begin, a.end, b.begin, b.end);
}

static bool commands_meet(const struct ferry__command *a, const struct ferry__command *b)
{
    const struct extent a_written = extent_written(a), b_written = extent_written(b);
    return extents_meet(a_written, b_written) || extents_meet(extent_read(a), b_written) ||
           extents_meet(extent_read(b), a_written);
}

/* NULL: nothing of it was touched since the last barrier. */
static struct ferry__hull *look_for_hull(struct ferry__submission *sub, const void *space)
{
    for (size_t i = 0; i < sub->hull_count; i++)
        if (sub->hulls[i].space == space)
            return &sub->hulls[i];
    return NULL;
}

static struct ferry__hull *find_hull(struct ferry__submission *sub, const void *space)
{
    struct ferry__hull *found = look_for_hull(sub, space);
    if (found)
        return found;
    if (sub->hull_count == FERRY__HULLS_MAX)
        return NULL;
    struct ferry__hull *hull = &sub->hulls[sub->hull_count++];
    *hull =
        (struct ferry__hull){.space = space, .write_begin = UINT64_MAX, .read_begin = UINT64_MAX};
    return hull;
}

static void widen(uint64_t *begin, uint64_t *end, struct extent extent)
{
    if (extent.begin < *begin)
        *begin = extent.begin;
    if (extent.end > *end)
        *end = extent.end;
}

/* Notes what a command touches. False: too many memories to keep track of. */
static bool note(struct ferry__submission *sub, const struct ferry__command *command)
{
    const struct extent written = extent_written(command), read = extent_read(command);
    struct ferry__hull *hull = find_hull(sub, written.space);
    if (!hull)
        return false;
    widen(&hull->write_begin, &hull->write_end, written);
    if (!read.space)
        return true;
    if (!(hull = find_hull(sub, read.space)))
        return false;
    widen(&hull->read_begin, &hull->read_end, read);
    return true;
}

/* The hulls of where a command writes and reads. NULL: nothing there was touched. */
struct hulls {
    const struct ferry__hull *written, *read;
};

static bool meets_hulls(struct hulls hulls, struct extent written, struct extent read)
{
    const struct ferry__hull *hull = hulls.written;
    if (hull && (meets(written.begin, written.end, hull->write_begin, hull->write_end) ||
                 meets(written.begin, written.end, hull->read_begin, hull->read_end)))
        return true;
    return hulls.read &&
           meets(read.begin, read.end, hulls.read->write_begin, hulls.read->write_end);
}

static bool meets_indexed(struct hulls hulls, struct extent written, struct extent read)
{
    const struct ferry__hull *hull = hulls.written;
    if (hull && (ferry__intervals_meet(&hull->written, written.begin, written.end) ||
                 ferry__intervals_meet(&hull->read, written.begin, written.end)))
        return true;
    return hulls.read && ferry__intervals_meet(&hulls.read->written, read.begin, read.end);
}

/* Puts commands into the exact sets, up to the last one, which may still grow. Their memories have
 * hulls. False: no host memory. */
static bool index_run(struct ferry__submission *sub)
{
    for (; sub->indexed + 1 < sub->command_count; sub->indexed++) {
        const struct ferry__command *command = &sub->commands[sub->indexed];
        const struct extent written = extent_written(command), read = extent_read(command);
        if (!ferry__intervals_add(&find_hull(sub, written.space)->written, &sub->intervals,
                                  written.begin, written.end) ||
            (read.space && !ferry__intervals_add(&find_hull(sub, read.space)->read, &sub->intervals,
                                                 read.begin, read.end)))
            return false;
    }
    return true;
}

/* Does it touch what a command since the last barrier touches? The hulls say no quickly; where they
 * cannot, a few commands are asked themselves, and many by the sets of what they touch. */
static bool meets_run(struct ferry__submission *sub, const struct ferry__command *command)
{
    enum { FEW = 16 };
    const struct extent written = extent_written(command), read = extent_read(command);
    const struct hulls hulls = {look_for_hull(sub, written.space),
                                read.space ? look_for_hull(sub, read.space) : NULL};
    if (!meets_hulls(hulls, written, read))
        return false;
    size_t asked = sub->run;
    if (sub->command_count - sub->run > FEW) {
        if (!index_run(sub))
            return true;
        if (meets_indexed(hulls, written, read))
            return true;
        asked = sub->indexed;
    }
    for (size_t i = asked; i < sub->command_count; i++)
        if (commands_meet(&sub->commands[i], command))
            return true;
    return false;
}

void ferry__run_begin(struct ferry__submission *sub)
{
    sub->run = sub->indexed = sub->command_count;
    sub->hull_count = 0;
    ferry__interval_pool_clear(&sub->intervals);
}

/* Does a copy go on where the last one ends, on both sides? Then they are one. Nothing lies between
 * them that either could touch, so the longer one does not overlap itself either. */
static bool joins(const struct ferry__submission *sub, const struct ferry__command *command,
                  uint64_t max_copy)
{
    if (sub->command_count == 0 || command->barrier || command->kind != FERRY__COPY)
        return false;
    const struct ferry__command *last = &sub->commands[sub->command_count - 1];
    return last->kind == FERRY__COPY && last->engine == command->engine &&
           last->dst == command->dst && last->src == command->src &&
           last->dst_offset + last->size == command->dst_offset &&
           last->src_offset + last->size == command->src_offset &&
           last->size <= max_copy - command->size;
}

enum ferry_status ferry__add_command(const struct ferry_device *device,
                                     struct ferry__submission *sub, struct ferry__command command)
{
    if (!ferry__reserve((void **)&sub->commands, &sub->command_capacity, sub->command_count,
                        sizeof *sub->commands))
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a submission");
    command.barrier = sub->command_count > sub->run && meets_run(sub, &command);
    if (command.barrier)
        ferry__run_begin(sub);
    if (!note(sub, &command)) {
        command.barrier = true;
        ferry__run_begin(sub);
        note(sub, &command);
    }
    sub->added++;
    if (joins(sub, &command, device->gpu.limits.max_copy))
        sub->commands[sub->command_count - 1].size += command.size;
    else
        sub->commands[sub->command_count++] = command;
    return FERRY_OK;
}
