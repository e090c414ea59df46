/*
 * Loading: windows of a file, read with pread into memory that the device reaches at full speed,
 * and one batch of uploads from each. There are two windows: while the device takes one, the other
 * is read. Files are never mapped: faults, page by page, would be slower than reading.
 */
#include "models.h"

#include <stdio.h>
#include <string.h>

enum {
    WINDOW_MAX = 8 << 20,
    GAP_MAX = 64 << 10, /* bytes between tensors that are read along rather than left out */
};

struct slot {
    unsigned char *memory;
    ferry_ticket ticket;
    uint64_t bytes; /* of tensors, in flight */
};

struct loader {
    const ferry_model *model;
    const struct ferry_tensor_place *places;
    ferry_device *device;
    ferry_batch *batch;
    ferry_model_progress progress;
    void *user;
    uint64_t done, total;
    uint64_t window; /* bytes of a slot */
    struct slot slots[2];
    size_t turn;
    /* Where the next window begins: byte `at` of tensor `next`. */
    size_t next;
    uint64_t at;
};

static bool wanted(const struct loader *loader, size_t i)
{
    return loader->places[i].buffer != NULL && loader->model->tensors.items[i].size > 0;
}

/* Moves on to bytes that are wanted; false: there are none left. */
static bool find_next(struct loader *loader)
{
    const struct ferry__tensors *tensors = &loader->model->tensors;
    while (loader->next < tensors->count &&
           (!wanted(loader, loader->next) || loader->at == tensors->items[loader->next].size)) {
        loader->next++;
        loader->at = 0;
    }
    return loader->next < tensors->count;
}

/* Where a window that begins here ends: with the last tensor that is near and fits, or within it. */
static uint64_t window_end(const struct loader *loader, uint64_t begin)
{
    const struct ferry__tensor *items = loader->model->tensors.items;
    const uint64_t limit = begin + loader->window;
    uint64_t end = begin;
    for (size_t i = loader->next; i < loader->model->tensors.count && end < limit; i++) {
        if (!wanted(loader, i))
            continue;
        const uint64_t from = i == loader->next ? begin : items[i].file_offset;
        if (items[i].file != items[loader->next].file || from >= limit || from - end > GAP_MAX)
            break;
        const uint64_t to = items[i].file_offset + items[i].size;
        end = to < limit ? to : limit;
    }
    return end;
}

/* Records the upload of what the window [begin, end) holds of tensors, and moves on. */
static enum ferry_status record(struct loader *loader, struct slot *slot, uint64_t begin,
                                uint64_t end)
{
    const size_t file = loader->model->tensors.items[loader->next].file;
    slot->bytes = 0;
    while (find_next(loader)) {
        const struct ferry__tensor *tensor = &loader->model->tensors.items[loader->next];
        const struct ferry_tensor_place *place = &loader->places[loader->next];
        const uint64_t from = tensor->file_offset + loader->at;
        if (tensor->file != file || from >= end)
            break;
        const uint64_t left = tensor->size - loader->at;
        const uint64_t size = left < end - from ? left : end - from;
        enum ferry_status status =
            ferry_batch_copy_from_host(loader->batch, place->buffer, slot->memory + (from - begin),
                                       (size_t)size, (size_t)(place->offset + loader->at));
        if (status != FERRY_OK)
            return status;
        loader->at += size;
        slot->bytes += size;
    }
    return FERRY_OK;
}

/* Waits for the device to have taken a slot's bytes. */
static enum ferry_status finish(struct loader *loader, struct slot *slot)
{
    enum ferry_status status = ferry_wait(loader->device, slot->ticket, FERRY_FOREVER);
    slot->ticket = 0;
    if (status == FERRY_OK && slot->bytes > 0) {
        loader->done += slot->bytes;
        if (loader->progress != NULL)
            loader->progress(loader->done, loader->total, loader->user);
    }
    slot->bytes = 0;
    return status;
}

static enum ferry_status load_window(struct loader *loader)
{
    const struct ferry__tensor *tensor = &loader->model->tensors.items[loader->next];
    struct slot *slot = &loader->slots[loader->turn++ % 2];
    enum ferry_status status = finish(loader, slot);
    if (status != FERRY_OK)
        return status;
    const uint64_t begin = tensor->file_offset + loader->at;
    const uint64_t end = window_end(loader, begin);
    status = ferry__source_read(&loader->model->files[tensor->file], slot->memory,
                                (size_t)(end - begin), begin);
    if (status == FERRY_OK)
        status = record(loader, slot, begin, end);
    return status == FERRY_OK ? ferry_batch_submit(loader->batch, NULL, NULL, &slot->ticket)
                              : status;
}

static enum ferry_status load_all(struct loader *loader)
{
    enum ferry_status status = FERRY_OK;
    while (status == FERRY_OK && find_next(loader))
        status = load_window(loader);
    for (size_t i = 0; i < 2; i++) { /* the older one first; both, whatever becomes of them */
        struct slot *slot = &loader->slots[(loader->turn + i) % 2];
        char why[512];
        snprintf(why, sizeof why, "%s", ferry_last_error());
        enum ferry_status end = finish(loader, slot);
        if (status == FERRY_OK)
            status = end;
        else
            ferry__set_error(why); /* the first failure is the reason */
    }
    return status;
}

/* --- checks ------------------------------------------------------------------------------------ */

static enum ferry_status check_place(struct loader *loader, size_t i)
{
    const struct ferry__tensor *tensor = &loader->model->tensors.items[i];
    const struct ferry_tensor_place *place = &loader->places[i];
    const size_t size = ferry_buffer_size(place->buffer);
    if (loader->device == NULL)
        loader->device = ferry_buffer_device(place->buffer);
    if (ferry_buffer_device(place->buffer) != loader->device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "the buffer for tensor \"%s\" is of another "
                           "device than those before it",
                           ferry__show(tensor->name).text);
    if (place->offset > size || tensor->size > size - place->offset)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "tensor \"%s\" of %llu bytes at offset %llu "
                           "exceeds its buffer (%zu)",
                           ferry__show(tensor->name).text, (unsigned long long)tensor->size,
                           (unsigned long long)place->offset, size);
    loader->total += tensor->size;
    return FERRY_OK;
}

static enum ferry_status load(struct loader *loader)
{
    enum ferry_status status = FERRY_OK;
    for (size_t i = 0; i < loader->model->tensors.count && status == FERRY_OK; i++) {
        if (loader->places[i].buffer != NULL)
            status = check_place(loader, i);
    }
    if (status != FERRY_OK || loader->total == 0)
        return status;
    status =
        ferry_wait(loader->device, 0, FERRY_FOREVER); /* IN_CALLBACK, DEVICE_LOST: before work */
    if (status != FERRY_OK)
        return status;
    loader->window = loader->total < WINDOW_MAX ? loader->total + GAP_MAX : WINDOW_MAX;
    for (size_t i = 0; i < 2 && status == FERRY_OK; i++)
        status = ferry_host_alloc(loader->device, (size_t)loader->window,
                                  (void **)&loader->slots[i].memory);
    if (status == FERRY_OK)
        status = ferry_batch_create(loader->device, &loader->batch);
    if (status == FERRY_OK)
        status = load_all(loader);
    ferry_batch_destroy(loader->batch);
    for (size_t i = 0; i < 2; i++)
        ferry_host_free(loader->device, loader->slots[i].memory);
    return status;
}

enum ferry_status ferry_model_load_into(const ferry_model *model,
                                        const struct ferry_tensor_place *places,
                                        ferry_model_progress progress, void *user)
{
    if (model == NULL || (places == NULL && model->tensors.count > 0))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load_into: %s is NULL",
                           model == NULL ? "model" : "places");
    struct loader loader = {.model = model, .places = places, .progress = progress, .user = user};
    return load(&loader);
}

enum ferry_status ferry_model_load(const ferry_model *model, ferry_buffer *arena, uint64_t offset,
                                   ferry_model_progress progress, void *user)
{
    if (model == NULL || arena == NULL)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load: %s is NULL",
                           model == NULL ? "model" : "arena");
    const size_t size = ferry_buffer_size(arena);
    if (offset > size || model->arena_size > size - offset)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "the tensors need %llu bytes at offset %llu, "
                           "which exceeds the buffer (%zu)",
                           (unsigned long long)model->arena_size, (unsigned long long)offset, size);
    struct ferry_tensor_place *places = ferry__alloc((model->tensors.count + 1) * sizeof *places);
    if (places == NULL)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory for %zu places",
                           model->tensors.count);
    for (size_t i = 0; i < model->tensors.count; i++)
        places[i] =
            (struct ferry_tensor_place){arena, offset + model->tensors.items[i].arena_offset};
    enum ferry_status status = ferry_model_load_into(model, places, progress, user);
    ferry__free(places);
    return status;
}

enum ferry_status ferry_model_load_tensor(const ferry_model *model, size_t index,
                                          ferry_buffer *buffer, uint64_t offset)
{
    if (model == NULL || buffer == NULL)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load_tensor: %s is NULL",
                           model == NULL ? "model" : "buffer");
    if (index >= model->tensors.count)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE, "there is no tensor %zu, only %zu", index,
                           model->tensors.count);
    struct ferry_tensor_place *places = ferry__alloc(model->tensors.count * sizeof *places);
    if (places == NULL)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory for %zu places",
                           model->tensors.count);
    places[index] = (struct ferry_tensor_place){buffer, offset};
    enum ferry_status status = ferry_model_load_into(model, places, NULL, NULL);
    ferry__free(places);
    return status;
}
