/*
 * safetensors: 8 bytes that tell the header's length, the header in JSON, the tensors without a gap.
 * And the index of a model in several such files. JSON is read by jansson.
 */
#include "models.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100000000 }; /* as in the format's own reader */

static enum ferry_status parse_json(const struct ferry__source *source, uint64_t offset,
                                    uint64_t length, json_t **out)
{
    json_error_t error;
    if (length > HEADER_MAX)
        return ferry__source_wrong(source, "its JSON is %llu bytes long, over %d",
                                   (unsigned long long)length, HEADER_MAX);
    char *text = ferry__alloc((size_t)length + 1);
    if (text == NULL)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for %llu bytes of JSON",
                           source->path, (unsigned long long)length);
    enum ferry_status status = ferry__source_read(source, text, (size_t)length, offset);
    json_t *root = NULL;
    if (status == FERRY_OK) {
        root = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
        if (root == NULL)
            status = ferry__source_wrong(source, "its JSON is wrong at line %d, column %d: %s",
                                         error.line, error.column, ferry__show(error.text).text);
    }
    if (status == FERRY_OK && !json_is_object(root)) {
        json_decref(root);
        status = ferry__source_wrong(source, "its JSON is not an object");
    }
    ferry__free(text);
    if (status == FERRY_OK)
        *out = root;
    return status;
}

/* --- a file of tensors ------------------------------------------------------------------------- */

static const struct type {
    const char *name;
    unsigned bits;
} types[] = {
    {"BOOL", 8},        {"U8", 8},          {"I8", 8},      {"F8_E4M3", 8}, {"F8_E5M2", 8},
    {"F8_E8M0", 8},     {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U16", 16},
    {"I16", 16},        {"F16", 16},        {"BF16", 16},   {"U32", 32},    {"I32", 32},
    {"F32", 32},        {"U64", 64},        {"I64", 64},    {"F64", 64},    {"C64", 64},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
};

static bool whole(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static enum ferry_status read_type(const struct ferry__source *source, const char *name,
                                   const json_t *value, const struct type **out)
{
    if (!json_is_string(value))
        return ferry__source_wrong(source, "tensor \"%s\" has no dtype", ferry__show(name).text);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, json_string_value(value)) == 0) {
            *out = &types[i];
            return FERRY_OK;
        }
    }
    return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                       "%s: tensor \"%s\" is of type \"%s\", which is not "
                       "known",
                       source->path, ferry__show(name).text,
                       ferry__show(json_string_value(value)).text);
}

static enum ferry_status read_shape(const struct ferry__source *source, const char *name,
                                    const json_t *value, struct ferry__tensor *tensor,
                                    uint64_t *out_elements)
{
    const struct ferry__shown shown = ferry__show(name);
    uint64_t elements = 1;
    if (!json_is_array(value))
        return ferry__source_wrong(source, "tensor \"%s\" has no shape", shown.text);
    if (json_array_size(value) > FERRY_TENSOR_RANK_MAX)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: tensor \"%s\" has %zu dimensions, over %d",
                           source->path, shown.text, json_array_size(value), FERRY_TENSOR_RANK_MAX);
    tensor->rank = (uint32_t)json_array_size(value);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (!whole(json_array_get(value, i), &tensor->shape[i]))
            return ferry__source_wrong(
                source, "dimension %u of tensor \"%s\" is not a whole number", i, shown.text);
        if (__builtin_mul_overflow(elements, tensor->shape[i], &elements))
            return ferry__source_wrong(source, "the shape of tensor \"%s\" is too large",
                                       shown.text);
    }
    *out_elements = elements;
    return FERRY_OK;
}

static enum ferry_status read_place(const struct ferry__source *source, const char *name,
                                    const json_t *value, uint64_t data,
                                    struct ferry__tensor *tensor)
{
    uint64_t begin = 0, end = 0;
    if (json_array_size(value) != 2 || !whole(json_array_get(value, 0), &begin) ||
        !whole(json_array_get(value, 1), &end))
        return ferry__source_wrong(source, "tensor \"%s\" has no data_offsets of two whole numbers",
                                   ferry__show(name).text);
    /* data is small and begin below 2^63: nothing wraps. */
    if (end < begin || end - begin != tensor->size)
        return ferry__source_wrong(source,
                                   "tensor \"%s\" has %llu bytes by its shape, and lies from "
                                   "%llu to %llu",
                                   ferry__show(name).text, (unsigned long long)tensor->size,
                                   (unsigned long long)begin, (unsigned long long)end);
    tensor->file_offset = data + begin;
    return FERRY_OK;
}

static enum ferry_status read_tensor(const struct ferry__source *source, size_t file, uint64_t data,
                                     const char *name, const json_t *value,
                                     struct ferry__tensors *tensors)
{
    struct ferry__tensor tensor = {.file = file};
    const struct type *type = NULL;
    uint64_t elements = 0, bits = 0;
    if (!json_is_object(value))
        return ferry__source_wrong(source, "tensor \"%s\" is not an object",
                                   ferry__show(name).text);
    enum ferry_status status = read_type(source, name, json_object_get(value, "dtype"), &type);
    if (status == FERRY_OK)
        status = read_shape(source, name, json_object_get(value, "shape"), &tensor, &elements);
    if (status != FERRY_OK)
        return status;
    if (__builtin_mul_overflow(elements, type->bits, &bits) || bits % 8 != 0)
        return ferry__source_wrong(source, "tensor \"%s\" has %llu elements of %u bits: %s",
                                   ferry__show(name).text, (unsigned long long)elements, type->bits,
                                   bits % 8 != 0 ? "no whole bytes" : "too large");
    tensor.type = type->name;
    tensor.size = bits / 8;
    status = read_place(source, name, json_object_get(value, "data_offsets"), data, &tensor);
    return status == FERRY_OK ? ferry__tensors_add(tensors, source, &tensor, name, strlen(name))
                              : status;
}

static enum ferry_status check_metadata(const struct ferry__source *source, json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return ferry__source_wrong(source, "__metadata__ is not an object");
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return ferry__source_wrong(source, "\"%s\" in __metadata__ is not a string",
                                       ferry__show(key).text);
    }
    return FERRY_OK;
}

enum ferry_status ferry__safetensors_parse(const struct ferry__source *source, size_t file,
                                           struct ferry__tensors *tensors)
{
    unsigned char bytes[8];
    uint64_t length = 0;
    json_t *root = NULL, *value;
    const char *name;
    const size_t first = tensors->count;
    if (source->size < 8)
        return ferry__source_wrong(source,
                                   "it has %llu bytes, and safetensors begin with 8 that "
                                   "tell a length",
                                   (unsigned long long)source->size);
    enum ferry_status status = ferry__source_read(source, bytes, sizeof bytes, 0);
    for (size_t i = 0; i < 8; i++)
        length |= (uint64_t)bytes[i] << (8 * i);
    if (status == FERRY_OK && length > source->size - 8)
        return ferry__source_wrong(source, "its header is %llu bytes long, the file %llu",
                                   (unsigned long long)length, (unsigned long long)source->size);
    if (status == FERRY_OK)
        status = parse_json(source, 8, length, &root);
    if (status != FERRY_OK)
        return status;
    json_object_foreach(root, name, value)
    {
        status = strcmp(name, "__metadata__") == 0
                     ? check_metadata(source, value)
                     : read_tensor(source, file, 8 + length, name, value, tensors);
        if (status != FERRY_OK)
            break;
    }
    json_decref(root);
    return status == FERRY_OK ? ferry__tensors_settle(tensors, first, source, 8 + length, false)
                              : status;
}

/* --- the index --------------------------------------------------------------------------------- */

/* Files beside the index only. */
static bool plain_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each file once; the names are those of the entries until then. */
static enum ferry_status collect_files(const struct ferry__source *source,
                                       struct ferry__index *index)
{
    char **sorted = ferry__alloc((index->count + 1) * sizeof *sorted);
    index->files = ferry__alloc((index->count + 1) * sizeof *index->files);
    bool memory = sorted != NULL && index->files != NULL;
    for (size_t i = 0; memory && i < index->count; i++)
        sorted[i] = index->entries[i].file_name;
    if (memory)
        qsort(sorted, index->count, sizeof *sorted, compare_files);
    for (size_t i = 0; memory && i < index->count; i++) {
        if (i > 0 && strcmp(sorted[i], sorted[i - 1]) == 0)
            continue;
        index->files[index->file_count] = ferry__copy_text(sorted[i], strlen(sorted[i]));
        memory = index->files[index->file_count] != NULL;
        index->file_count += memory;
    }
    ferry__free(sorted);
    return memory ? FERRY_OK
                  : ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for its files",
                                source->path);
}

static enum ferry_status read_entry(const struct ferry__source *source, const char *tensor,
                                    const json_t *file, struct ferry__index *index)
{
    if (!json_is_string(file) || !plain_name(json_string_value(file)))
        return ferry__source_wrong(source, "tensor \"%s\" is in no file of the same directory",
                                   ferry__show(tensor).text);
    struct ferry__index_entry *entry = &index->entries[index->count];
    entry->tensor = ferry__copy_text(tensor, strlen(tensor));
    entry->file_name = ferry__copy_text(json_string_value(file), strlen(json_string_value(file)));
    index->count++;
    return entry->tensor != NULL && entry->file_name != NULL
               ? FERRY_OK
               : ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for its tensors",
                             source->path);
}

enum ferry_status ferry__index_parse(const struct ferry__source *source, struct ferry__index *out)
{
    json_t *root = NULL, *file;
    const char *tensor;
    struct ferry__index index = {NULL, 0, NULL, 0};
    enum ferry_status status = parse_json(source, 0, source->size, &root);
    if (status != FERRY_OK)
        return status;
    json_t *map = json_object_get(root, "weight_map");
    if (json_object_size(map) == 0)
        status = ferry__source_wrong(source, "it has no weight_map");
    else if ((index.entries = ferry__alloc(json_object_size(map) * sizeof *index.entries)) == NULL)
        status = ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for %zu tensors",
                             source->path, json_object_size(map));
    else
        json_object_foreach(map, tensor, file)
        {
            status = read_entry(source, tensor, file, &index);
            if (status != FERRY_OK)
                break;
        }
    if (status == FERRY_OK)
        status = collect_files(source, &index);
    json_decref(root);
    if (status == FERRY_OK)
        *out = index;
    else
        ferry__index_free(&index);
    return status;
}

void ferry__index_free(struct ferry__index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        ferry__free(index->entries[i].tensor);
        ferry__free(index->entries[i].file_name);
    }
    for (size_t i = 0; i < index->file_count; i++)
        ferry__free(index->files[i]);
    ferry__free(index->entries);
    ferry__free(index->files);
    *index = (struct ferry__index){NULL, 0, NULL, 0};
}
