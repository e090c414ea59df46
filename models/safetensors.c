/* safetensors: 8 bytes that tell the header's length, the header in JSON, the tensors without a gap. */
#include "models.h"

#include <stdlib.h>
#include <string.h>

enum { METADATA_KEYS_MAX = 65536 };

/* --- what a tensor's object says ---------------------------------------------------------------- */

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

/* An array of whole numbers, as far as there is room for them. */
struct numbers {
    bool is_array, all_whole;
    size_t count, first_other; /* the first that is no whole number */
    uint64_t values[FERRY_TENSOR_RANK_MAX];
};

enum field { FIELD_DTYPE, FIELD_SHAPE, FIELD_OFFSETS, FIELD_COUNT };

static const char *const field_names[] = {
    [FIELD_DTYPE] = "dtype", [FIELD_SHAPE] = "shape", [FIELD_OFFSETS] = "data_offsets"};

struct fields {
    bool seen[FIELD_COUNT], dtype_is_string;
    struct ferry__json_text dtype;
    struct numbers shape, offsets;
};

/* These return false where the JSON is wrong. */
static bool read_numbers(struct ferry__json *json, struct numbers *out)
{
    *out = (struct numbers){.all_whole = true};
    out->is_array = ferry__json_next(json) == FERRY__JSON_ARRAY;
    if (!out->is_array)
        return ferry__json_skip(json);
    while (ferry__json_next(json) != FERRY__JSON_ARRAY_END) {
        uint64_t value = 0;
        const bool whole =
            json->event == FERRY__JSON_NUMBER && ferry__json_whole(json->text, &value);
        if (!ferry__json_skip(json))
            return false;
        if (!whole && out->all_whole)
            out->first_other = out->count;
        out->all_whole = out->all_whole && whole;
        if (out->count < FERRY_TENSOR_RANK_MAX)
            out->values[out->count] = value;
        out->count++;
    }
    return true;
}

static bool read_field(struct ferry__json *json, enum field field, struct fields *out)
{
    switch (field) {
    case FIELD_DTYPE:
        out->dtype_is_string = ferry__json_next(json) == FERRY__JSON_STRING;
        out->dtype = json->text;
        return ferry__json_skip(json);
    case FIELD_SHAPE: return read_numbers(json, &out->shape);
    case FIELD_OFFSETS: return read_numbers(json, &out->offsets);
    case FIELD_COUNT: break;
    }
    return ferry__json_next(json) && ferry__json_skip(json); /* another key: nobody looks at it */
}

static enum ferry_status read_fields(struct ferry__json_file *file, const char *name,
                                     struct fields *out)
{
    struct ferry__json *json = &file->json;
    *out = (struct fields){.dtype = {NULL, 0}};
    while (ferry__json_next(json) == FERRY__JSON_KEY) {
        enum field field = 0;
        while (field < FIELD_COUNT && !ferry__json_is(json->text, field_names[field]))
            field++;
        if (field < FIELD_COUNT && out->seen[field])
            return ferry__source_wrong(file->source, "tensor \"%s\" has two keys %s",
                                       ferry__show(name).text, field_names[field]);
        if (field < FIELD_COUNT)
            out->seen[field] = true;
        if (!read_field(json, field, out))
            break;
    }
    return json->wrong ? ferry__json_file_wrong(file) : FERRY_OK;
}

/* --- whether it can be so ------------------------------------------------------------------------ */

static enum ferry_status check_type(const struct ferry__source *source, const char *name,
                                    const struct fields *fields, const struct type **out)
{
    if (!fields->dtype_is_string)
        return ferry__source_wrong(source, "tensor \"%s\" has no dtype", ferry__show(name).text);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!ferry__json_is(fields->dtype, types[i].name))
            continue;
        *out = &types[i];
        return FERRY_OK;
    }
    return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                       "%s: tensor \"%s\" is of type \"%s\", which is not known", source->path,
                       ferry__show(name).text, ferry__json_show(fields->dtype).text);
}

static enum ferry_status check_shape(const struct ferry__source *source, const char *name,
                                     const struct numbers *shape, struct ferry__tensor *tensor,
                                     uint64_t *out_elements)
{
    const struct ferry__shown shown = ferry__show(name);
    uint64_t elements = 1;
    if (!shape->is_array)
        return ferry__source_wrong(source, "tensor \"%s\" has no shape", shown.text);
    if (shape->count > FERRY_TENSOR_RANK_MAX)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: tensor \"%s\" has %zu dimensions, over %d",
                           source->path, shown.text, shape->count, FERRY_TENSOR_RANK_MAX);
    if (!shape->all_whole)
        return ferry__source_wrong(source, "dimension %zu of tensor \"%s\" is not a whole number",
                                   shape->first_other, shown.text);
    tensor->rank = (uint32_t)shape->count;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        tensor->shape[i] = shape->values[i];
        if (__builtin_mul_overflow(elements, tensor->shape[i], &elements))
            return ferry__source_wrong(source, "the shape of tensor \"%s\" is too large",
                                       shown.text);
    }
    *out_elements = elements;
    return FERRY_OK;
}

static enum ferry_status check_offsets(const struct ferry__source *source, const char *name,
                                       const struct numbers *offsets, uint64_t data,
                                       struct ferry__tensor *tensor)
{
    const uint64_t begin = offsets->values[0], end = offsets->values[1];
    if (offsets->count != 2 || !offsets->all_whole)
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

static enum ferry_status check_fields(const struct ferry__source *source, const char *name,
                                      const struct fields *fields, uint64_t data,
                                      struct ferry__tensor *tensor)
{
    const struct type *type = NULL;
    uint64_t elements = 0, bits = 0;
    enum ferry_status status = check_type(source, name, fields, &type);
    if (!status)
        status = check_shape(source, name, &fields->shape, tensor, &elements);
    if (status)
        return status;
    if (__builtin_mul_overflow(elements, type->bits, &bits) || bits % 8)
        return ferry__source_wrong(source, "tensor \"%s\" has %llu elements of %u bits: %s",
                                   ferry__show(name).text, (unsigned long long)elements, type->bits,
                                   bits % 8 ? "no whole bytes" : "too large");
    tensor->type = type->name;
    tensor->size = bits / 8;
    return check_offsets(source, name, &fields->offsets, data, tensor);
}

/* --- the header ---------------------------------------------------------------------------------- */

/* The key is the last event. */
static enum ferry_status read_tensor(struct ferry__json_file *file, size_t number, uint64_t data,
                                     struct ferry__tensors *tensors)
{
    struct ferry__tensor tensor = {.file = number};
    struct fields fields;
    const char *name = file->name;
    const size_t length = ferry__json_copy(file->json.text, file->name, sizeof file->name);
    const enum ferry__json_event event = ferry__json_next(&file->json);
    if (event == FERRY__JSON_WRONG)
        return ferry__json_file_wrong(file);
    if (event != FERRY__JSON_OBJECT)
        return ferry__source_wrong(file->source, "tensor \"%s\" is not an object",
                                   ferry__show(name).text);
    enum ferry_status status = read_fields(file, name, &fields);
    if (!status)
        status = check_fields(file->source, name, &fields, data, &tensor);
    return status ? status : ferry__tensors_add(tensors, file->source, &tensor, name, length);
}

static int compare_keys(const void *a, const void *b)
{
    return ferry__json_compare(*(const struct ferry__json_text *)a,
                               *(const struct ferry__json_text *)b);
}

static enum ferry_status read_metadata(struct ferry__json_file *file, struct ferry__json_text *keys)
{
    const struct ferry__source *source = file->source;
    size_t count = 0;
    if (ferry__json_next(&file->json) != FERRY__JSON_OBJECT)
        return file->json.wrong ? ferry__json_file_wrong(file)
                                : ferry__source_wrong(source, "__metadata__ is not an object");
    while (ferry__json_next(&file->json) == FERRY__JSON_KEY) {
        if (count == METADATA_KEYS_MAX)
            return ferry__source_wrong(source, "__metadata__ has over %d keys", METADATA_KEYS_MAX);
        keys[count++] = file->json.text;
        if (ferry__json_next(&file->json) != FERRY__JSON_STRING && !file->json.wrong)
            return ferry__source_wrong(source, "\"%s\" in __metadata__ is not a string",
                                       ferry__json_show(keys[count - 1]).text);
    }
    if (file->json.wrong)
        return ferry__json_file_wrong(file);
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (!compare_keys(&keys[i - 1], &keys[i]))
            return ferry__source_wrong(source, "\"%s\" is in __metadata__ twice",
                                       ferry__json_show(keys[i]).text);
    }
    return FERRY_OK;
}

static enum ferry_status check_metadata(struct ferry__json_file *file, bool *seen)
{
    if (*seen)
        return ferry__source_wrong(file->source, "__metadata__ is there twice");
    *seen = true;
    struct ferry__json_text *keys = ferry__alloc(METADATA_KEYS_MAX * sizeof *keys);
    if (!keys)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for its metadata's keys",
                           file->source->path);
    enum ferry_status status = read_metadata(file, keys);
    ferry__free(keys);
    return status;
}

static enum ferry_status read_header(struct ferry__json_file *file, size_t number, uint64_t data,
                                     struct ferry__tensors *tensors)
{
    enum ferry_status status = FERRY_OK;
    bool has_metadata = false;
    while (!status && ferry__json_next(&file->json) == FERRY__JSON_KEY)
        status = ferry__json_is(file->json.text, "__metadata__")
                     ? check_metadata(file, &has_metadata)
                     : read_tensor(file, number, data, tensors);
    return status ? status : ferry__json_file_finish(file);
}

/* The header, which is length bytes of JSON after 8. */
static enum ferry_status open_header(const struct ferry__source *source, uint64_t *out_length,
                                     struct ferry__json_file **out_file)
{
    unsigned char bytes[8];
    uint64_t length = 0;
    if (source->size < 8)
        return ferry__source_wrong(source,
                                   "it has %llu bytes, and safetensors begin with 8 that "
                                   "tell a length",
                                   (unsigned long long)source->size);
    const enum ferry_status status = ferry__source_read(source, bytes, sizeof bytes, 0);
    if (status)
        return status;
    for (size_t i = 0; i < 8; i++)
        length |= (uint64_t)bytes[i] << (8 * i);
    if (length > source->size - 8)
        return ferry__source_wrong(source, "its header is %llu bytes long, the file %llu",
                                   (unsigned long long)length, (unsigned long long)source->size);
    *out_length = length;
    return ferry__json_file_open(source, 8, length, out_file);
}

enum ferry_status ferry__safetensors_parse(const struct ferry__source *source, size_t number,
                                           struct ferry__tensors *tensors)
{
    uint64_t length = 0;
    struct ferry__json_file *file = NULL;
    const size_t first = tensors->count;
    enum ferry_status status = open_header(source, &length, &file);
    if (status)
        return status;
    status = read_header(file, number, 8 + length, tensors);
    ferry__json_file_close(file);
    return status ? status : ferry__tensors_settle(tensors, first, source, 8 + length, false);
}

/* --- metadata ------------------------------------------------------------------------------------ */

/* The object was checked when the model was opened; what is no string now ends it. */
static void tell_object(struct ferry__json_file *file, struct ferry__told *told)
{
    if (ferry__json_next(&file->json) != FERRY__JSON_OBJECT)
        return;
    while (ferry__json_next(&file->json) == FERRY__JSON_KEY) {
        const size_t length = ferry__json_copy(file->json.text, file->name, sizeof file->name);
        ferry__told_begin(told, file->name, length, "string");
        if (ferry__json_next(&file->json) != FERRY__JSON_STRING)
            return;
        const size_t size = ferry__json_copy(file->json.text, told->scratch, sizeof told->scratch);
        told->pair.cut = size >= sizeof told->scratch;
        ferry__told_add(told, told->scratch, told->pair.cut ? sizeof told->scratch - 1 : size);
        ferry__told_end(told);
    }
}

enum ferry_status ferry__safetensors_tell(const struct ferry__source *source,
                                          struct ferry__told *told)
{
    uint64_t length = 0;
    struct ferry__json_file *file = NULL;
    enum ferry_status status = open_header(source, &length, &file);
    if (status)
        return status;
    while (ferry__json_next(&file->json) == FERRY__JSON_KEY)
        if (ferry__json_is(file->json.text, "__metadata__"))
            tell_object(file, told);
        else if (!ferry__json_next(&file->json) || !ferry__json_skip(&file->json))
            break;
    status = file->json.wrong ? ferry__json_file_wrong(file) : FERRY_OK;
    ferry__json_file_close(file);
    return status;
}
