/* What driver.h promises to a driver, checked. Every other driver may rely on it without
 * looking. */
#include "base/range.h"
#include "host_internal.h"

#include <stdio.h>
#include <string.h>

#define ULL(x) ((unsigned long long)(x))

/* One side of a command: the words of a breach say which. */
struct side {
    const char *name;
    const struct ferry__memory *handle;
    uint64_t offset;
};

static const char *kind_name(const struct ferry__command *command)
{
    static const char *const names[] = {
        [FERRY__COPY] = "copy", [FERRY__FILL] = "fill", [FERRY__BLOCKS] = "list of blocks"};
    return names[command->kind];
}

/* Checks bounds; gives the address that the device reaches. */
static bool locate(const struct side *side, uint64_t size, size_t index, unsigned char **out_bytes,
                   char *why)
{
    const struct ferry__memory *handle = side->handle;
    if (!handle || !handle->native) {
        snprintf(why, FERRY__WHY_MAX, "command %zu has no %s", index, side->name);
        return false;
    }
    const struct host_memory *memory = handle->native;
    if (side->offset > handle->size || size > handle->size - side->offset) {
        snprintf(why, FERRY__WHY_MAX,
                 "command %zu: %s of %llu bytes at %llu exceeds \"%s\" of %llu", index, side->name,
                 ULL(size), ULL(side->offset), memory->label, ULL(handle->size));
        return false;
    }
    if (handle->offset % FERRY_BUFFER_ALIGNMENT != 0 || handle->offset > memory->size ||
        handle->size > memory->size - handle->offset) {
        snprintf(why, FERRY__WHY_MAX, "command %zu: %s is %llu bytes at %llu of \"%s\" of %llu",
                 index, side->name, ULL(handle->size), ULL(handle->offset), memory->label,
                 ULL(memory->size));
        return false;
    }
    *out_bytes = memory->bytes + handle->offset + side->offset;
    return true;
}

/* The rules of what carries it out. */
static bool check_engine(const struct host_queue *queue, const struct ferry__command *command,
                         size_t index, char *why)
{
    const struct ferry__limits *limits = &queue->device->limits;
    bool fill = command->kind == FERRY__FILL;
    if (command->engine == FERRY__ENGINE_KERNEL) {
        const bool runs =
            command->kind == FERRY__BLOCKS ? limits->blocks_max != 0 : limits->has_kernel;
        if (!runs || !(queue->roles & FERRY__ROLE_KERNEL)) {
            snprintf(why, FERRY__WHY_MAX, "command %zu: a kernel on a queue that runs none", index);
            return false;
        }
        if (ferry__host_knob(&queue->device->knobs, HOST_LATE_KERNEL) > 0) {
            snprintf(why, FERRY__WHY_MAX, "command %zu: a kernel before it is compiled", index);
            return false;
        }
        return true;
    }
    uint64_t align = fill ? limits->fill_alignment : limits->copy_alignment;
    uint64_t src_offset = fill ? 0 : command->src_offset;
    if ((command->dst_offset | src_offset | command->size) % align != 0) {
        snprintf(why, FERRY__WHY_MAX,
                 "command %zu: %s of %llu bytes from %llu to %llu: not multiples of %llu", index,
                 kind_name(command), ULL(command->size), ULL(src_offset), ULL(command->dst_offset),
                 ULL(align));
        return false;
    }
    if (fill && (limits->fill_pattern == 0 || limits->fill_pattern % command->pattern_size != 0)) {
        snprintf(why, FERRY__WHY_MAX, "command %zu: a pattern of %u bytes, where %u is native",
                 index, command->pattern_size, limits->fill_pattern);
        return false;
    }
    return true;
}

static bool check_shape(const struct host_queue *queue, const struct ferry__command *command,
                        size_t index, char *why)
{
    if (command->kind < FERRY__COPY || command->kind > FERRY__BLOCKS ||
        (command->engine != FERRY__ENGINE_COPY && command->engine != FERRY__ENGINE_KERNEL)) {
        snprintf(why, FERRY__WHY_MAX, "command %zu is of kind %d and engine %d", index,
                 (int)command->kind, (int)command->engine);
        return false;
    }
    const bool listed = command->kind == FERRY__BLOCKS;
    if (listed && command->engine != FERRY__ENGINE_KERNEL) {
        snprintf(why, FERRY__WHY_MAX, "command %zu: a list of blocks is for the kernel", index);
        return false;
    }
    uint64_t max = listed ? FERRY__BLOCKS_BYTES_MAX : queue->device->limits.max_copy;
    if (command->size == 0 || command->size > max) {
        snprintf(why, FERRY__WHY_MAX, "command %zu: %s of %llu bytes, not from 1 to %llu", index,
                 kind_name(command), ULL(command->size), ULL(max));
        return false;
    }
    if (command->kind == FERRY__FILL &&
        (command->pattern_size == 0 || command->pattern_size > FERRY__PATTERN_MAX)) {
        snprintf(why, FERRY__WHY_MAX, "command %zu: a pattern of %u bytes", index,
                 command->pattern_size);
        return false;
    }
    return true;
}

uint64_t ferry__host_address(const struct ferry__memory *handle)
{
    const struct host_memory *memory = handle->native;
    return (uintptr_t)memory->bytes + handle->offset;
}

/* Looks the list up, and checks each block by itself. */
static bool look_up_list(const struct host_queue *queue, const struct ferry__command *command,
                         size_t index, struct host_command *out, char *why)
{
    const struct ferry__limits *limits = &queue->device->limits;
    const struct ferry__block_list *list = &command->list;
    const struct side side = {"list", list->memory, list->offset};
    unsigned char *bytes;
    uint64_t total = 0;
    const uint64_t dst_begin = ferry__host_address(command->dst) + command->dst_offset;
    const uint64_t src_begin = ferry__host_address(command->src) + command->src_offset;
    if (list->count < 1 || list->count > limits->blocks_max ||
        list->offset % sizeof out->blocks->dst != 0) {
        snprintf(why, FERRY__WHY_MAX, "command %zu: %u blocks, not from 1 to %u, at %llu", index,
                 list->count, limits->blocks_max, ULL(list->offset));
        return false;
    }
    if (!locate(&side, list->count * sizeof *out->blocks, index, &bytes, why))
        return false;
    out->list = list->memory->native;
    out->blocks = (const struct ferry__block_entry *)(const void *)bytes;
    out->block_count = list->count;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct ferry__block_entry block = out->blocks[i];
        if (block.size < 1 || block.size > limits->block_size_max || block.zero ||
            block.dst < dst_begin || block.src < src_begin ||
            !ferry__in_range(block.dst - dst_begin, block.size, list->dst_span) ||
            !ferry__in_range(block.src - src_begin, block.size, list->src_span)) {
            snprintf(why, FERRY__WHY_MAX,
                     "command %zu: block %u: %u bytes from %#llx to %#llx: outside its limits",
                     index, i, block.size, ULL(block.src), ULL(block.dst));
            return false;
        }
        total += block.size;
    }
    if (total != command->size)
        snprintf(why, FERRY__WHY_MAX, "command %zu: its blocks are %llu bytes, not %llu", index,
                 ULL(total), ULL(command->size));
    return total == command->size;
}

/* Memory is the device's own; what a copy command reads may be a peer's. */
static bool check_owners(const struct host_queue *queue, const struct ferry__command *command,
                         size_t index, char *why)
{
    const struct host_memory *dst = command->dst->native;
    const struct host_memory *src = command->kind == FERRY__FILL ? dst : command->src->native;
    const bool peers = command->kind == FERRY__COPY && command->engine == FERRY__ENGINE_COPY &&
                       ferry__host_reaches(queue->device, src->device);
    if (dst->device == queue->device && (src->device == queue->device || peers))
        return true;
    snprintf(why, FERRY__WHY_MAX, "command %zu: \"%s\" is another device's", index,
             dst->device == queue->device ? src->label : dst->label);
    return false;
}

static bool look_up(const struct host_queue *queue, const struct ferry__command *command,
                    size_t index, struct host_command *out, char *why)
{
    const bool fill = command->kind == FERRY__FILL, listed = command->kind == FERRY__BLOCKS;
    struct side dst = {"destination", command->dst, command->dst_offset};
    struct side src = {"source", command->src, command->src_offset};
    unsigned char *from = NULL;
    out->list = NULL;
    out->to_span = listed ? command->list.dst_span : command->size;
    out->from_span = listed ? command->list.src_span : command->size;
    if (!check_shape(queue, command, index, why) ||
        !locate(&dst, out->to_span, index, &out->to, why) ||
        (!fill && !locate(&src, out->from_span, index, &from, why)) ||
        !check_engine(queue, command, index, why) ||
        (listed && !look_up_list(queue, command, index, out, why)))
        return false;
    out->dst = command->dst->native;
    out->src = fill ? NULL : command->src->native;
    if (!check_owners(queue, command, index, why))
        return false;
    out->from = listed ? NULL : from; /* the blocks of a list have addresses */
    out->to = listed ? NULL : out->to;
    out->size = command->size;
    out->barrier = command->barrier;
    out->pattern_size = fill ? command->pattern_size : 1;
    memcpy(out->pattern, command->pattern, sizeof out->pattern);
    if (out->dst->read_only) {
        snprintf(why, FERRY__WHY_MAX, "command %zu writes an import that is read-only", index);
        return false;
    }
    if (!fill && !listed && out->to < from + out->size && from < out->to + out->size) {
        snprintf(why, FERRY__WHY_MAX, "command %zu: copy of %llu bytes overlaps itself", index,
                 ULL(out->size));
        return false;
    }
    return true;
}

static enum ferry_status check(const struct host_queue *queue,
                               const struct ferry__submission_info *info,
                               struct host_command *commands, char *why)
{
    if (!info->commands) {
        snprintf(why, FERRY__WHY_MAX, "%zu commands at NULL", info->count);
        return FERRY_ERROR_INTERNAL;
    }
    for (size_t i = 0; i < info->count; i++)
        if (!look_up(queue, &info->commands[i], i, &commands[i], why))
            return FERRY_ERROR_INTERNAL;
    return ferry__host_check_barriers(commands, info->count, why);
}

/* --- all but the commands --------------------------------------------------------------------- */

/* It will end at once, with these words. */
static void refuse(struct host_submission *s, const char *why)
{
    s->outcome = FERRY_ERROR_INTERNAL;
    snprintf(s->why, sizeof s->why, "%s", why);
    s->count = 0;
    s->wait_count = 0;
}

enum ferry_status ferry__host_take_in(struct host_queue *queue,
                                      const struct ferry__submission_info *info,
                                      struct host_submission *s, char *why)
{
    enum ferry_status status = check(queue, info, s->commands, why);
    if (status == FERRY_ERROR_OUT_OF_HOST_MEMORY)
        return status;
    const char *breach = status ? NULL : ferry__host_check_owners(s);
    if (breach) {
        status = FERRY_ERROR_INTERNAL;
        snprintf(why, FERRY__WHY_MAX, "%s", breach);
    }
    if (!status) {
        ferry__host_imitate(queue, s);
    } else {
        ferry__host_breach(why);
        refuse(s, why);
    }
    return FERRY_OK;
}

enum ferry_status ferry__host_breach(const char *why)
{
    ferry__log(FERRY_LOG_ERROR, "host driver: contract: %s", why);
    return FERRY_ERROR_INTERNAL;
}

bool ferry__host_is_hopeless(struct host_device *device, const struct ferry__submission_info *info,
                             char *why)
{
    if (info->queue >= device->limits.queue_count) {
        snprintf(why, FERRY__WHY_MAX, "queue %u of %u", info->queue, device->limits.queue_count);
    } else if (info->count == 0 || !info->result || (info->wait_count > 0 && !info->waits)) {
        snprintf(why, FERRY__WHY_MAX, "a submission of %zu commands and %zu waits, result %s",
                 info->count, info->wait_count, info->result ? "given" : "missing");
    } else if (info->value <= device->queues[info->queue].event.submitted) {
        snprintf(why, FERRY__WHY_MAX, "value %llu submitted after %llu",
                 (unsigned long long)info->value,
                 (unsigned long long)device->queues[info->queue].event.submitted);
    } else {
        return false;
    }
    return true;
}

static const char *disorder(const struct host_queue *queue, const struct host_submission *s)
{
    for (size_t i = 0; i < s->wait_count; i++) {
        const struct host_event *event = ferry__host_event_find(queue->device, s->waits[i].event);
        if (!event)
            return "a wait for an event that does not exist";
        if (event->of_queue && s->waits[i].value > event->submitted)
            return "a wait for a value that was not submitted yet";
    }
    return s->value == queue->event.submitted + 1 ? NULL : "a value that does not grow by 1";
}

const char *ferry__host_check_order(struct host_queue *queue, struct host_submission *s)
{
    const char *breach = disorder(queue, s);
    if (!breach)
        breach = ferry__host_check_borrowed(s);
    if (breach)
        refuse(s, breach);
    return breach;
}

bool ferry__host_is_awaited(struct host_device *device, uint64_t handle)
{
    for (uint32_t i = 0; i < device->limits.queue_count; i++) {
        for (struct host_submission *s = device->queues[i].head; s; s = s->next) {
            for (size_t w = 0; w < s->wait_count; w++)
                if (s->waits[w].event == handle)
                    return true;
        }
    }
    return false;
}

void ferry__host_check_left(const char *what, uint64_t count, uint64_t bytes)
{
    char why[FERRY__WHY_MAX];
    if (!count)
        return;
    snprintf(why, sizeof why, "close while %llu %s of %llu bytes are not given back", ULL(count),
             what, ULL(bytes));
    (void)ferry__host_breach(why);
}
