/*
 * Loading: batches of copies from the files into the tensors' places. The library reads straight into
 * what the device copies from, several pieces at once, and small tensors that lie side by side as
 * one. Each batch is waited for, so that there is progress to tell.
 */
#include "models.h"

#include <stdio.h>

enum { BATCH_MIN = 8 << 20, BATCH_MAX = 256 << 20, BATCHES_WANTED = 16 };

struct loader {
    const ferry_model *model;
    const struct ferry_tensor_place *places; /* of the tensors from first on, up to end */
    size_t first, end;
    ferry_device *device;
    ferry_batch *batch;
    ferry_model_progress progress;
    void *user;
    uint64_t done, total;
    uint64_t batch_size;
    /* What the next batch begins with: byte `at` of tensor `next`. */
    size_t next;
    uint64_t at;
};

static const struct ferry_tensor_place *place_of(const struct loader *loader, size_t i)
{
    return &loader->places[i - loader->first];
}

static bool wanted(const struct loader *loader, size_t i)
{
    return place_of(loader, i)->buffer && loader->model->tensors.items[i].size > 0;
}

/* Moves on to bytes that are wanted; false: there are none left. */
static bool find_next(struct loader *loader)
{
    const struct ferry__tensors *tensors = &loader->model->tensors;
    while (loader->next < loader->end &&
           (!wanted(loader, loader->next) || loader->at == tensors->items[loader->next].size)) {
        loader->next++;
        loader->at = 0;
    }
    return loader->next < loader->end;
}

/* Records what one batch takes of this file. */
static enum ferry_status record(struct loader *loader, const struct ferry__source *source,
                                uint64_t *out_bytes)
{
    const struct ferry__tensor *items = loader->model->tensors.items;
    uint64_t bytes = 0;
    while (find_next(loader) && bytes < loader->batch_size) {
        const struct ferry__tensor *tensor = &items[loader->next];
        const struct ferry_tensor_place *place = place_of(loader, loader->next);
        if (&loader->model->files[tensor->file] != source)
            break;
        const uint64_t left = tensor->size - loader->at;
        const uint64_t room = loader->batch_size - bytes;
        const uint64_t size = left < room ? left : room;
        enum ferry_status status = ferry_batch_copy_from_file(
            loader->batch, place->buffer, source->fd, tensor->file_offset + loader->at,
            (size_t)size, (size_t)(place->offset + loader->at));
        if (status)
            return status;
        loader->at += size;
        bytes += size;
    }
    *out_bytes = bytes;
    return FERRY_OK;
}

static enum ferry_status load_batch(struct loader *loader)
{
    const size_t file = loader->model->tensors.items[loader->next].file;
    const struct ferry__source *source = &loader->model->files[file];
    ferry_ticket ticket = 0;
    uint64_t bytes = 0;
    enum ferry_status status = record(loader, source, &bytes);
    if (!status)
        status = ferry_batch_submit(loader->batch, NULL, NULL, &ticket);
    if (!status)
        status = ferry_wait(loader->device, ticket, FERRY_FOREVER);
    if (status == FERRY_ERROR_IO) {
        char why[512];
        snprintf(why, sizeof why, "%s", ferry_last_error());
        return ferry__fail(status, "%s: %s", source->path, why);
    }
    loader->done += bytes;
    if (!status && loader->progress)
        loader->progress(loader->done, loader->total, loader->user);
    return status;
}

static enum ferry_status load_all(struct loader *loader)
{
    enum ferry_status status = FERRY_OK;
    while (!status && find_next(loader))
        status = load_batch(loader);
    return status;
}

/* --- checks ------------------------------------------------------------------------------------ */

static enum ferry_status check_place(struct loader *loader, size_t i)
{
    const struct ferry__tensor *tensor = &loader->model->tensors.items[i];
    const struct ferry_tensor_place *place = place_of(loader, i);
    const size_t size = ferry_buffer_size(place->buffer);
    if (!loader->device)
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
    loader->next = loader->first;
    for (size_t i = loader->first; i < loader->end && !status; i++)
        if (place_of(loader, i)->buffer)
            status = check_place(loader, i);
    if (status || loader->total == 0)
        return status;
    status =
        ferry_wait(loader->device, 0, FERRY_FOREVER); /* IN_CALLBACK, DEVICE_LOST: before work */
    if (status)
        return status;
    loader->batch_size = loader->total / BATCHES_WANTED;
    if (loader->batch_size < BATCH_MIN)
        loader->batch_size = BATCH_MIN;
    if (loader->batch_size > BATCH_MAX)
        loader->batch_size = BATCH_MAX;
    status = ferry_batch_create(loader->device, &loader->batch);
    if (!status)
        status = load_all(loader);
    ferry_batch_destroy(loader->batch);
    return status;
}

enum ferry_status ferry_model_load_into(const ferry_model *model,
                                        const struct ferry_tensor_place *places,
                                        ferry_model_progress progress, void *user)
{
    if (!model || (!places && model->tensors.count > 0))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load_into: %s is NULL",
                           !model ? "model" : "places");
    struct loader loader = {.model = model,
                            .places = places,
                            .end = model->tensors.count,
                            .progress = progress,
                            .user = user};
    return load(&loader);
}

enum ferry_status ferry_model_load(const ferry_model *model, ferry_buffer *arena, uint64_t offset,
                                   ferry_model_progress progress, void *user)
{
    if (!model || !arena)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load: %s is NULL",
                           !model ? "model" : "arena");
    const size_t size = ferry_buffer_size(arena);
    if (offset > size || model->arena_size > size - offset)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "the tensors need %llu bytes at offset %llu, "
                           "which exceeds the buffer (%zu)",
                           (unsigned long long)model->arena_size, (unsigned long long)offset, size);
    struct ferry_tensor_place *places = ferry__alloc((model->tensors.count + 1) * sizeof *places);
    if (!places)
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
    if (!model || !buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load_tensor: %s is NULL",
                           !model ? "model" : "buffer");
    if (index >= model->tensors.count)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE, "there is no tensor %zu, only %zu", index,
                           model->tensors.count);
    const struct ferry_tensor_place place = {buffer, offset};
    struct loader loader = {.model = model, .places = &place, .first = index, .end = index + 1};
    return load(&loader);
}
