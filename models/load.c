/*
 * Loading: batches of copies from the files into the tensors' places. The library reads straight into
 * what the device copies from, several pieces at once, and small tensors that lie side by side as
 * one. Two batches are on their way at once, so that nothing runs dry between them; each is waited for,
 * so that there is progress to tell.
 */
#include "models.h"

#include <stdio.h>

enum {
    BATCH_MIN = 8 << 20,
    BATCH_MAX = 256 << 20,
    BATCHES_WANTED = 16,
    TRANSFERS_MAX = 4096, /* of one batch: their list is memory, too */
    IN_FLIGHT = 2,
};

/* A batch that was submitted. */
struct flight {
    ferry_ticket ticket;
    uint64_t bytes;
    const struct ferry__source *source;
};

struct loader {
    const ferry_model *model;
    /* Of the tensors from first on, up to end; NULL: all in the arena. */
    const struct ferry_tensor_place *places;
    struct ferry_tensor_place arena;
    size_t first, end;
    ferry_device *device;
    ferry_batch *batch;
    ferry_model_progress progress;
    void *user;
    uint64_t done, total;
    uint64_t memory, batch_size;
    /* What the next batch begins with: byte `at` of tensor `next`. */
    size_t next;
    uint64_t at;
};

static struct ferry_tensor_place place_of(const struct loader *loader, size_t i)
{
    struct ferry_tensor_place place = loader->arena;
    if (loader->places)
        return loader->places[i - loader->first];
    place.offset += loader->model->tensors.items[i].arena_offset;
    return place;
}

static bool wanted(const struct loader *loader, size_t i)
{
    return place_of(loader, i).buffer && loader->model->tensors.items[i].size > 0;
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
    unsigned transfers = 0;
    while (find_next(loader) && bytes < loader->batch_size && transfers++ < TRANSFERS_MAX) {
        const struct ferry__tensor *tensor = &items[loader->next];
        const struct ferry_tensor_place place = place_of(loader, loader->next);
        if (&loader->model->files[tensor->file] != source)
            break;
        const uint64_t left = tensor->size - loader->at;
        const uint64_t room = loader->batch_size - bytes;
        const uint64_t size = left < room ? left : room;
        enum ferry_status status = ferry_batch_copy_from_file(
            loader->batch, place.buffer, source->fd, tensor->file_offset + loader->at, (size_t)size,
            (size_t)(place.offset + loader->at));
        if (status)
            return status;
        loader->at += size;
        bytes += size;
    }
    *out_bytes = bytes;
    return FERRY_OK;
}

static enum ferry_status begin_batch(struct loader *loader, struct flight *out)
{
    const size_t file = loader->model->tensors.items[loader->next].file;
    struct flight flight = {.source = &loader->model->files[file]};
    enum ferry_status status = record(loader, flight.source, &flight.bytes);
    if (!status)
        status = ferry_batch_submit(loader->batch, NULL, NULL, &flight.ticket);
    if (!status)
        *out = flight;
    return status;
}

/* What a call of the library failed with, with the file's name before the words. */
static enum ferry_status named(enum ferry_status status, const struct ferry__source *source)
{
    char why[512];
    if (status != FERRY_ERROR_IO)
        return status;
    snprintf(why, sizeof why, "%s", ferry_last_error());
    return ferry__fail(status, "%s: %s", source->path, why);
}

static enum ferry_status end_batch(struct loader *loader, const struct flight *flight)
{
    enum ferry_status status = ferry_wait(loader->device, flight->ticket, FERRY_FOREVER);
    status = named(status, flight->source);
    loader->done += flight->bytes;
    if (!status && loader->progress)
        loader->progress(loader->done, loader->total, loader->user);
    return status;
}

/* What was begun is waited for, also after a failure. */
static enum ferry_status load_all(struct loader *loader)
{
    struct flight flights[IN_FLIGHT];
    enum ferry_status status = FERRY_OK;
    size_t first = 0, count = 0;
    while (count > 0 || (!status && find_next(loader))) {
        while (!status && count < IN_FLIGHT && find_next(loader)) {
            const size_t file = loader->model->tensors.items[loader->next].file;
            status = named(begin_batch(loader, &flights[(first + count) % IN_FLIGHT]),
                           &loader->model->files[file]);
            count += !status;
        }
        if (count == 0)
            break;
        if (!status)
            status = end_batch(loader, &flights[first]);
        else
            (void)!ferry_wait(loader->device, flights[first].ticket, FERRY_FOREVER);
        first = (first + 1) % IN_FLIGHT;
        count--;
    }
    return status;
}

/* --- checks ------------------------------------------------------------------------------------ */

static enum ferry_status check_place(struct loader *loader, size_t i)
{
    const struct ferry__tensor *tensor = &loader->model->tensors.items[i];
    const struct ferry_tensor_place place = place_of(loader, i);
    const size_t size = ferry_buffer_size(place.buffer);
    if (!loader->device)
        loader->device = ferry_buffer_device(place.buffer);
    if (ferry_buffer_device(place.buffer) != loader->device)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "the buffer for tensor \"%s\" is of another "
                           "device than those before it",
                           ferry__show(tensor->name).text);
    if (place.offset > size || tensor->size > size - place.offset)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "tensor \"%s\" of %llu bytes at offset %llu "
                           "exceeds its buffer (%zu)",
                           ferry__show(tensor->name).text, (unsigned long long)tensor->size,
                           (unsigned long long)place.offset, size);
    loader->total += tensor->size;
    return FERRY_OK;
}

static uint64_t batch_size(const struct loader *loader)
{
    const uint64_t most = loader->memory ? loader->memory / IN_FLIGHT : BATCH_MAX;
    uint64_t size = loader->total / BATCHES_WANTED;
    if (size < BATCH_MIN)
        size = BATCH_MIN;
    if (size > BATCH_MAX)
        size = BATCH_MAX;
    return size < most ? size : most > 0 ? most : 1;
}

static enum ferry_status load(struct loader *loader)
{
    enum ferry_status status = FERRY_OK;
    loader->next = loader->first;
    for (size_t i = loader->first; i < loader->end && !status; i++)
        if (place_of(loader, i).buffer)
            status = check_place(loader, i);
    if (status || loader->total == 0)
        return status;
    status =
        ferry_wait(loader->device, 0, FERRY_FOREVER); /* IN_CALLBACK, DEVICE_LOST: before work */
    if (status)
        return status;
    loader->batch_size = batch_size(loader);
    status = ferry_batch_create(loader->device, &loader->batch);
    if (!status)
        status = load_all(loader);
    ferry_batch_destroy(loader->batch);
    return status;
}

static enum ferry_status check_arena(const ferry_model *model, ferry_buffer *arena, uint64_t offset)
{
    const size_t size = ferry_buffer_size(arena);
    if (offset <= size && model->arena_size <= size - offset)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                       "the tensors need %llu bytes at offset %llu, "
                       "which exceeds the buffer (%zu)",
                       (unsigned long long)model->arena_size, (unsigned long long)offset, size);
}

enum ferry_status ferry_model_load_as(const ferry_model *model,
                                      const struct ferry_model_load_params *params)
{
    if (!model || !params)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load_as: %s is NULL",
                           !model ? "model" : "params");
    for (size_t i = 0; i < sizeof params->reserved / sizeof *params->reserved; i++)
        if (params->reserved[i] != 0)
            return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                               "ferry_model_load_as: reserved words are not 0");
    if (!params->arena == !params->places && model->tensors.count > 0)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_model_load_as: exactly one of arena and places must be given");
    struct loader loader = {.model = model,
                            .places = params->places,
                            .arena = {params->arena, params->offset},
                            .end = model->tensors.count,
                            .memory = params->memory,
                            .progress = params->progress,
                            .user = params->user};
    const enum ferry_status status =
        params->arena ? check_arena(model, params->arena, params->offset) : FERRY_OK;
    return !status ? load(&loader) : status;
}

enum ferry_status ferry_model_load_into(const ferry_model *model,
                                        const struct ferry_tensor_place *places,
                                        ferry_model_progress progress, void *user)
{
    if (!model || (!places && model->tensors.count > 0))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load_into: %s is NULL",
                           !model ? "model" : "places");
    return ferry_model_load_as(model, &(struct ferry_model_load_params){
                                          .places = places, .progress = progress, .user = user});
}

enum ferry_status ferry_model_load(const ferry_model *model, ferry_buffer *arena, uint64_t offset,
                                   ferry_model_progress progress, void *user)
{
    if (!model || !arena)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load: %s is NULL",
                           !model ? "model" : "arena");
    return ferry_model_load_as(
        model, &(struct ferry_model_load_params){
                   .arena = arena, .offset = offset, .progress = progress, .user = user});
}

enum ferry_status ferry_model_load_tensor(const ferry_model *model, size_t index,
                                          ferry_buffer *buffer, uint64_t offset)
{
    if (!model || !buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_load_tensor: %s is NULL",
                           !model ? "model" : "buffer");
    if (index >= model->tensors.count)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE, "there is no tensor %zu: the model has %zu",
                           index, model->tensors.count);
    const struct ferry_tensor_place place = {buffer, offset};
    struct loader loader = {.model = model, .places = &place, .first = index, .end = index + 1};
    return load(&loader);
}
