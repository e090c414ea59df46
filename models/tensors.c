#include "common/show.h"
#include "models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *ferry__copy_text(const char *text, size_t length)
{
    char *copy = ferry__alloc(length + 1); /* zeroed */
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

struct ferry__shown ferry__show(const char *name)
{
    struct ferry__shown shown;
    ferry__show_text(shown.text, sizeof shown.text, name);
    return shown;
}

static enum ferry_status make_room(struct ferry__tensors *tensors,
                                   const struct ferry__source *source)
{
    if (tensors->count < tensors->capacity)
        return FERRY_OK;
    if (tensors->count == FERRY__TENSORS_MAX)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: the model would have more than %d tensors",
                           source->path, FERRY__TENSORS_MAX);
    size_t capacity = tensors->capacity == 0 ? 64 : tensors->capacity * 2;
    struct ferry__tensor *items = ferry__realloc(tensors->items, capacity * sizeof *items);
    if (!items)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for %zu tensors",
                           source->path, capacity);
    tensors->items = items;
    tensors->capacity = capacity;
    return FERRY_OK;
}

enum ferry_status ferry__tensors_add(struct ferry__tensors *tensors,
                                     const struct ferry__source *source,
                                     const struct ferry__tensor *tensor, const char *name,
                                     size_t name_length)
{
    if (memchr(name, 0, name_length))
        return ferry__source_wrong(source, "the name of tensor \"%s\" holds a byte 0",
                                   ferry__show(name).text);
    enum ferry_status status = make_room(tensors, source);
    if (status)
        return status;
    char *copy = ferry__copy_text(name, name_length);
    if (!copy)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for a tensor's name",
                           source->path);
    struct ferry__tensor *item = &tensors->items[tensors->count++];
    *item = *tensor;
    item->name = copy;
    return FERRY_OK;
}

enum ferry_status ferry__tensors_fit(struct ferry__tensors *tensors)
{
    const size_t count = tensors->count;
    if (count == tensors->capacity || !count)
        return FERRY_OK;
    struct ferry__tensor *items = ferry__realloc(tensors->items, count * sizeof *items);
    if (!items)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory for %zu tensors", count);
    tensors->items = items;
    tensors->capacity = count;
    return FERRY_OK;
}

void ferry__tensors_free(struct ferry__tensors *tensors)
{
    for (size_t i = 0; i < tensors->count; i++)
        ferry__free(tensors->items[i].name);
    ferry__free(tensors->items);
    *tensors = (struct ferry__tensors){NULL, 0, 0};
}

/* As they lie; an empty tensor before the one that begins where it does. */
static int compare_places(const void *a, const void *b)
{
    const struct ferry__tensor *x = a, *y = b;
    if (x->file_offset != y->file_offset)
        return x->file_offset < y->file_offset ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

enum ferry_status ferry__tensors_settle(struct ferry__tensors *tensors, size_t first,
                                        const struct ferry__source *source, uint64_t begin,
                                        bool gaps)
{
    const size_t count = tensors->count - first;
    struct ferry__tensor *items = count > 0 ? tensors->items + first : NULL;
    uint64_t at = begin;
    if (count > 0)
        qsort(items, count, sizeof *items, compare_places);
    for (size_t i = 0; i < count; i++) {
        const uint64_t from = items[i].file_offset, size = items[i].size;
        const struct ferry__shown name = ferry__show(items[i].name);
        if (from > source->size || size > source->size - from)
            return ferry__source_wrong(source,
                                       "tensor \"%s\" is %llu bytes at %llu, past the file's "
                                       "end (%llu)",
                                       name.text, (unsigned long long)size,
                                       (unsigned long long)from, (unsigned long long)source->size);
        if (from < at)
            return ferry__source_wrong(source,
                                       "tensor \"%s\" begins at %llu, before the end of the "
                                       "one before it (%llu)",
                                       name.text, (unsigned long long)from, (unsigned long long)at);
        if (from > at && !gaps)
            return ferry__source_wrong(source,
                                       "tensor \"%s\" begins at %llu, the one before it ends "
                                       "at %llu: the bytes between belong to none",
                                       name.text, (unsigned long long)from, (unsigned long long)at);
        at = from + size;
    }
    if (at < source->size && !gaps)
        return ferry__source_wrong(source, "the tensors end at byte %llu, the file at %llu",
                                   (unsigned long long)at, (unsigned long long)source->size);
    return FERRY_OK;
}
