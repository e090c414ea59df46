/* The metadata of GGUF. Of it only the alignment and what tells of splits is looked at when a model is
 * opened; all of it is told to who asks for it. */
#include "gguf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    DEPTH_MAX = 4,           /* arrays in arrays */
    PAIRS_MAX = 65536,       /* of metadata */
    ELEMENTS_MAX = 16 << 20, /* of arrays, that are walked over one by one: strings and arrays */
    ALIGNMENT_MAX = 1 << 20,
    SHOWN_MAX = 16, /* values of an array that are told */
};

enum { VALUE_STRING = 8, VALUE_ARRAY = 9 };

/* Bytes of each type of value; 0: its length is told in the file. */
static const uint8_t value_sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* The fewest bytes that a value can have. */
static uint64_t value_least(uint64_t type)
{
    static const uint8_t least[] = {[VALUE_STRING] = 8, [VALUE_ARRAY] = 12};
    return value_sizes[type] != 0 ? value_sizes[type] : least[type];
}

static enum ferry_status check_type(struct ferry__gguf_reader *reader, uint64_t type)
{
    if (type >= sizeof value_sizes)
        return ferry__source_wrong(reader->source, "byte %llu: there is no type of value %llu",
                                   (unsigned long long)reader->at, (unsigned long long)type);
    return FERRY_OK;
}

/* What an array begins with: the file has room for its values, which are not too many. */
static enum ferry_status begin_array(struct ferry__gguf_reader *reader, int depth,
                                     uint64_t *out_type, uint64_t *out_count)
{
    uint64_t type = 0, count = 0;
    enum ferry_status status = ferry__gguf_number(reader, 4, &type);
    if (!status)
        status = ferry__gguf_number(reader, 8, &count);
    if (!status)
        status = check_type(reader, type);
    if (status)
        return status;
    if (depth > DEPTH_MAX)
        return ferry__source_wrong(reader->source, "byte %llu: arrays lie deeper than %d",
                                   (unsigned long long)reader->at, DEPTH_MAX);
    if (count > (reader->source->size - reader->at) / value_least(type))
        return ferry__source_wrong(reader->source,
                                   "byte %llu: the file has no room for an array of "
                                   "%llu",
                                   (unsigned long long)reader->at, (unsigned long long)count);
    *out_type = type;
    *out_count = count;
    if (value_sizes[type] != 0)
        return FERRY_OK;
    if (count > ELEMENTS_MAX - reader->elements)
        return ferry__source_wrong(reader->source,
                                   "byte %llu: with an array of %llu there are over %d strings and "
                                   "arrays in arrays",
                                   (unsigned long long)reader->at, (unsigned long long)count,
                                   ELEMENTS_MAX);
    reader->elements += count;
    return FERRY_OK;
}

static enum ferry_status skip_value(struct ferry__gguf_reader *reader, uint64_t type, int depth);

static enum ferry_status skip_values(struct ferry__gguf_reader *reader, uint64_t type,
                                     uint64_t count, int depth)
{
    enum ferry_status status = FERRY_OK;
    if (value_sizes[type] != 0)
        return ferry__gguf_skip(reader, count * value_sizes[type]);
    for (uint64_t i = 0; i < count && !status; i++)
        status = skip_value(reader, type, depth);
    return status;
}

static enum ferry_status skip_array(struct ferry__gguf_reader *reader, int depth)
{
    uint64_t type = 0, count = 0;
    const enum ferry_status status = begin_array(reader, depth, &type, &count);
    return status ? status : skip_values(reader, type, count, depth);
}

static enum ferry_status skip_value(struct ferry__gguf_reader *reader, uint64_t type, int depth)
{
    uint64_t length = 0;
    if (type == VALUE_ARRAY)
        return skip_array(reader, depth + 1);
    if (type != VALUE_STRING)
        return ferry__gguf_skip(reader, value_sizes[type]);
    enum ferry_status status = ferry__gguf_number(reader, 8, &length);
    return !status ? ferry__gguf_skip(reader, length) : status;
}

/* --- when a model is opened ------------------------------------------------------------------- */

static const char *const keys[] = {
    [FERRY__GGUF_ALIGNMENT] = "general.alignment",
    [FERRY__GGUF_SPLIT_NUMBER] = "split.no",
    [FERRY__GGUF_SPLIT_COUNT] = "split.count",
    [FERRY__GGUF_SPLIT_TENSORS] = "split.tensors.count",
};

/* A key, and the type of its value. */
static enum ferry_status read_key(struct ferry__gguf_reader *reader, char *key, size_t *out_length,
                                  uint64_t *out_type)
{
    enum ferry_status status =
        ferry__gguf_string(reader, "a key", key, FERRY__GGUF_KEY_MAX, out_length);
    if (!status)
        status = ferry__gguf_number(reader, 4, out_type);
    return status ? status : check_type(reader, *out_type);
}

static enum ferry_status read_pair(struct ferry__gguf_reader *reader,
                                   struct ferry__gguf_metadata *metadata)
{
    static const bool whole[] = {true,  true,  true,  true, true, true, false,
                                 false, false, false, true, true, false};
    size_t length = 0;
    uint64_t type = 0;
    enum ferry_status status = read_key(reader, metadata->key, &length, &type);
    if (status)
        return status;
    for (enum ferry__gguf_key key = 0; key < FERRY__GGUF_KEY_COUNT; key++) {
        if (strlen(keys[key]) != length || memcmp(keys[key], metadata->key, length) != 0)
            continue;
        if (!whole[type] || metadata->seen[key])
            return ferry__source_wrong(reader->source, "%s is %s", keys[key],
                                       whole[type] ? "there twice" : "not a whole number");
        metadata->seen[key] = true;
        return ferry__gguf_number(reader, value_sizes[type], &metadata->values[key]);
    }
    return skip_value(reader, type, 0);
}

static enum ferry_status check_count(const struct ferry__gguf_reader *reader, uint64_t count)
{
    if (count > (reader->source->size - reader->at) / 13) /* a key's length, a type, a value */
        return ferry__source_wrong(reader->source, "the file has no room for %llu keys",
                                   (unsigned long long)count);
    if (count > PAIRS_MAX)
        return ferry__source_wrong(reader->source, "it has %llu keys, over %d",
                                   (unsigned long long)count, PAIRS_MAX);
    return FERRY_OK;
}

enum ferry_status ferry__gguf_read_metadata(struct ferry__gguf_reader *reader, uint64_t count,
                                            struct ferry__gguf_metadata *metadata)
{
    enum ferry_status status = check_count(reader, count);
    for (uint64_t i = 0; i < count && !status; i++)
        status = read_pair(reader, metadata);
    if (status)
        return status;
    if (!metadata->seen[FERRY__GGUF_ALIGNMENT])
        metadata->values[FERRY__GGUF_ALIGNMENT] = 32;
    const uint64_t alignment = metadata->values[FERRY__GGUF_ALIGNMENT];
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > ALIGNMENT_MAX)
        return ferry__source_wrong(reader->source,
                                   "general.alignment is %llu: not a power of 2 up "
                                   "to %d",
                                   (unsigned long long)alignment, ALIGNMENT_MAX);
    return FERRY_OK;
}

/* --- telling ---------------------------------------------------------------------------------- */

/* As the format's description calls them; of arrays by the type of their values. */
static const char *const type_names[][2] = {
    {"uint8", "uint8[]"},     {"int8", "int8[]"},   {"uint16", "uint16[]"},   {"int16", "int16[]"},
    {"uint32", "uint32[]"},   {"int32", "int32[]"}, {"float32", "float32[]"}, {"bool", "bool[]"},
    {"string", "string[]"},   {"array", "array[]"}, {"uint64", "uint64[]"},   {"int64", "int64[]"},
    {"float64", "float64[]"},
};

static_assert(sizeof type_names / sizeof *type_names == sizeof value_sizes, "a name for each type");

static void add_words(struct ferry__told *told, const char *words)
{
    ferry__told_add(told, words, strlen(words));
}

static double float_of(uint64_t bits, size_t size)
{
    const uint32_t low = (uint32_t)bits;
    float single;
    double number;
    memcpy(&single, &low, sizeof single);
    memcpy(&number, &bits, sizeof number);
    return size == sizeof single ? (double)single : number;
}

static enum ferry_status add_number(struct ferry__gguf_reader *reader, uint64_t type,
                                    struct ferry__told *told)
{
    enum { INT8 = 1, INT16 = 3, INT32 = 5, FLOAT32 = 6, BOOL = 7, INT64 = 11, FLOAT64 = 12 };
    const size_t size = value_sizes[type];
    char text[40];
    uint64_t number = 0;
    const enum ferry_status status = ferry__gguf_number(reader, size, &number);
    if (status)
        return status;
    const bool is_signed = type == INT8 || type == INT16 || type == INT32 || type == INT64;
    const uint64_t sign = UINT64_C(1) << (8 * size - 1);
    if (type == BOOL)
        snprintf(text, sizeof text, "%s", number ? "true" : "false");
    else if (type == FLOAT32 || type == FLOAT64)
        snprintf(text, sizeof text, "%.*g", type == FLOAT32 ? 9 : 17, float_of(number, size));
    else if (is_signed)
        snprintf(text, sizeof text, "%" PRId64, (int64_t)((number ^ sign) - sign));
    else
        snprintf(text, sizeof text, "%" PRIu64, number);
    add_words(told, text);
    return FERRY_OK;
}

/* However long it is, it is read through the reader's window. */
static enum ferry_status add_string(struct ferry__gguf_reader *reader, struct ferry__told *told)
{
    char piece[512];
    uint64_t left = 0;
    enum ferry_status status = ferry__gguf_number(reader, 8, &left);
    while (!status && left > 0 && !ferry__told_full(told)) {
        const size_t size = left < sizeof piece ? (size_t)left : sizeof piece;
        status = ferry__gguf_get(reader, piece, size);
        if (!status)
            ferry__told_add(told, piece, size);
        left -= size;
    }
    told->pair.cut |= left > 0;
    return status ? status : ferry__gguf_skip(reader, left);
}

/* Of arrays in arrays it is told only that they are there. */
static enum ferry_status add_element(struct ferry__gguf_reader *reader, uint64_t type,
                                     struct ferry__told *told)
{
    if (type == VALUE_ARRAY) {
        add_words(told, "[...]");
        told->pair.cut = true;
        return skip_value(reader, type, 1);
    }
    if (type != VALUE_STRING)
        return add_number(reader, type, told);
    add_words(told, "\"");
    const enum ferry_status status = add_string(reader, told);
    add_words(told, "\"");
    return status;
}

static enum ferry_status add_array(struct ferry__gguf_reader *reader, struct ferry__told *told)
{
    uint64_t type = 0, count = 0;
    enum ferry_status status = begin_array(reader, 1, &type, &count);
    if (status)
        return status;
    told->pair.type = type_names[type][1];
    told->pair.count = count;
    add_words(told, "[");
    for (uint64_t i = 0; i < count && i < SHOWN_MAX && !status; i++) {
        add_words(told, i == 0 ? "" : ", ");
        status = add_element(reader, type, told);
    }
    if (!status && count > SHOWN_MAX) {
        add_words(told, ", ...");
        told->pair.cut = true;
        status = skip_values(reader, type, count - SHOWN_MAX, 1);
    }
    add_words(told, "]");
    return status;
}

static enum ferry_status tell_pair(struct ferry__gguf_reader *reader, char *key,
                                   struct ferry__told *told)
{
    size_t length = 0;
    uint64_t type = 0;
    enum ferry_status status = read_key(reader, key, &length, &type);
    if (status)
        return status;
    ferry__told_begin(told, key, length, type_names[type][0]);
    if (type == VALUE_ARRAY)
        status = add_array(reader, told);
    else
        status = type == VALUE_STRING ? add_string(reader, told) : add_number(reader, type, told);
    if (!status)
        ferry__told_end(told);
    return status;
}

enum ferry_status ferry__gguf_tell(const struct ferry__source *source, struct ferry__told *told)
{
    struct work {
        struct ferry__gguf_reader reader;
        char key[FERRY__GGUF_KEY_MAX + 1];
    } *work = ferry__alloc(sizeof *work);
    uint32_t version = 0;
    uint64_t tensors = 0, pairs = 0;
    if (!work)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory to read its metadata",
                           source->path);
    work->reader.source = source;
    enum ferry_status status = ferry__gguf_begin(&work->reader, &version, &tensors, &pairs);
    if (!status)
        status = check_count(&work->reader, pairs);
    for (uint64_t i = 0; i < pairs && !status; i++)
        status = tell_pair(&work->reader, work->key, told);
    ferry__free(work);
    return status;
}
