#include "backend.h"

#include <stdio.h>
#include <stdlib.h>

/* The memory of a slot: its arrays, its buffers. */

/* So many batches in a row that use less than a quarter of a buffer, and it is made smaller. */
enum { PATIENCE = 256, ROOMY = 4 };

void slot_fail(struct slot *slot, enum ferry_status status, const char *what)
{
    struct instance *instance = slot->instance;
    if (!status)
        return;
    pthread_mutex_lock(&instance->lock);
    if (!slot->status) {
        slot->status = status;
        snprintf(slot->why, sizeof slot->why, "%s: %.200s", what, ferry_last_error());
    }
    pthread_mutex_unlock(&instance->lock);
}

static bool grow(void **array, size_t count, size_t size)
{
    void *larger = realloc(*array, count * size);
    if (larger)
        *array = larger;
    return larger != NULL;
}

bool slot_reserve(struct slot *slot, uint32_t count)
{
    const struct model *model = slot->instance->model;
    if (count <= slot->capacity)
        return true;
    if (!grow((void **)&slot->requests, count, sizeof *slot->requests) ||
        !grow((void **)&slot->responses, count, sizeof *slot->responses) ||
        !grow((void **)&slot->good, count, sizeof *slot->good) ||
        !grow((void **)&slot->errors, count, sizeof *slot->errors) ||
        !grow((void **)&slot->fresh, count, sizeof *slot->fresh) ||
        !grow((void **)&slot->spans, count * model->input_count, sizeof *slot->spans) ||
        !grow((void **)&slot->parts, count * model->output_count, sizeof *slot->parts))
        return false;
    slot->capacity = count;
    return true;
}

static size_t size_of(const struct room *room)
{
    return room->buffer ? ferry_buffer_size(room->buffer) : 0;
}

/* The size that the buffer is to have for a batch of this one; 0: none. Where that is less than it
 * has, nothing large has come for long. */
static size_t size_wanted(struct room *room, size_t size)
{
    const size_t has = size_of(room);
    if (size > has)
        return size;
    if (!has || size >= has / ROOMY) {
        room->small = 0;
        room->peak = 0;
        return has;
    }
    if (size > room->peak)
        room->peak = size;
    return ++room->small < PATIENCE ? has : room->peak;
}

static enum ferry_status make_room(struct slot *slot, struct room *room, size_t size,
                                   struct ferry_buffer_params *params)
{
    const size_t has = size_of(room), wanted = size_wanted(room, size);
    enum ferry_status status = FERRY_OK;
    if (wanted == has)
        return FERRY_OK;
    ferry_buffer_destroy(room->buffer);
    *room = (struct room){.buffer = NULL};
    params->size = wanted;
    if (wanted)
        status = ferry_buffer_create(slot->instance->device, params, &room->buffer);
    instance_count_memory(slot->instance, (int64_t)size_of(room) - (int64_t)has);
    return status;
}

enum ferry_status slot_make_buffers(struct slot *slot, size_t in, size_t out)
{
    const bool is_shared = slot->instance->work == WORK_CPU;
    struct ferry_buffer_params inputs = {.label = "inputs"};
    struct ferry_buffer_params outputs = {
        .storage = is_shared ? FERRY_STORAGE_SHARED : FERRY_STORAGE_PRIVATE, .label = "outputs"};
    void *bytes = NULL;
    enum ferry_status status = make_room(slot, &slot->in, in, &inputs);
    if (!status)
        status = make_room(slot, &slot->out, out, &outputs);
    if (!status && is_shared && slot->out.buffer)
        status = ferry_buffer_contents(slot->out.buffer, &bytes);
    slot->out_bytes = bytes;
    return status;
}

void slot_drop_buffers(struct slot *slot)
{
    const int64_t bytes = (int64_t)(size_of(&slot->in) + size_of(&slot->out));
    ferry_buffer_destroy(slot->in.buffer);
    ferry_buffer_destroy(slot->out.buffer);
    slot->in = slot->out = (struct room){.buffer = NULL};
    slot->out_bytes = NULL;
    instance_count_memory(slot->instance, -bytes);
}

void slot_free(struct slot *slot)
{
    vulkan_work_finish(slot);
    ferry_batch_destroy(slot->batch);
    ferry_buffer_destroy(slot->in.buffer);
    ferry_buffer_destroy(slot->out.buffer);
    free(slot->requests);
    free(slot->responses);
    free(slot->good);
    free(slot->errors);
    free(slot->fresh);
    free(slot->spans);
    free(slot->parts);
    free(slot->inputs);
    free(slot->outputs);
    free(slot->in_place);
    free(slot->wrapped);
    free(slot->sizes);
}
