/*
 * GGUF, versions 2 and 3, little-endian: magic, version, counts, metadata, tensor descriptions,
 * padding, tensors. Of the metadata only the alignment and what tells of splits is looked at; the
 * rest is walked over. Facts: ggml's docs/gguf.md; block sizes: ggml's type table.
 */
#include "models.h"

#include <string.h>

enum {
    WINDOW = 32 << 10,
    DEPTH_MAX = 4,   /* arrays in arrays */
    KEY_MAX = 65535, /* bytes */
    NAME_MAX_BYTES = 1024,
    DIMENSIONS_MAX = 4,
    ALIGNMENT_MAX = 1 << 20,
    HEADER_MAX = 256 << 20,  /* bytes before the tensors' own */
    PAIRS_MAX = 65536,       /* of metadata */
    ELEMENTS_MAX = 16 << 20, /* of arrays, that are walked over one by one: strings and arrays */
};

struct reader {
    const struct ferry__source *source;
    uint64_t at;           /* next byte of the file */
    uint64_t elements;     /* of arrays, walked over so far */
    uint64_t window_begin; /* of what window holds */
    size_t window_size;
    unsigned char window[WINDOW];
};

static enum ferry_status get(struct reader *reader, void *memory, size_t size)
{
    unsigned char *out = memory;
    const uint64_t left = reader->source->size - reader->at;
    if (reader->at > HEADER_MAX)
        return ferry__source_wrong(reader->source, "its header has over %d bytes", HEADER_MAX);
    if (size > left)
        return ferry__source_wrong(reader->source,
                                   "the header ends at byte %llu, %zu bytes too soon",
                                   (unsigned long long)reader->source->size, (size_t)(size - left));
    while (size > 0) {
        uint64_t skip = reader->at - reader->window_begin;
        if (skip >= reader->window_size) {
            uint64_t rest = reader->source->size - reader->at;
            size_t piece = rest < WINDOW ? (size_t)rest : WINDOW;
            enum ferry_status status =
                ferry__source_read(reader->source, reader->window, piece, reader->at);
            if (status)
                return status;
            reader->window_begin = reader->at;
            reader->window_size = piece;
            skip = 0;
        }
        size_t there = reader->window_size - (size_t)skip;
        size_t piece = size < there ? size : there;
        memcpy(out, reader->window + skip, piece);
        out += piece;
        size -= piece;
        reader->at += piece;
    }
    return FERRY_OK;
}

static enum ferry_status skip(struct reader *reader, uint64_t size)
{
    if (size > reader->source->size - reader->at)
        return ferry__source_wrong(reader->source, "%llu bytes at %llu lie past the file's end",
                                   (unsigned long long)size, (unsigned long long)reader->at);
    reader->at += size;
    return FERRY_OK;
}

/* Little-endian numbers of up to 8 bytes. */
static enum ferry_status get_number(struct reader *reader, size_t size, uint64_t *out)
{
    unsigned char bytes[8] = {0};
    enum ferry_status status = get(reader, bytes, size);
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    if (!status)
        *out = value;
    return status;
}

/* A string of at most max bytes into text, which has one more. */
static enum ferry_status get_string(struct reader *reader, const char *what, char *text, size_t max,
                                    size_t *out_length)
{
    uint64_t length = 0;
    enum ferry_status status = get_number(reader, 8, &length);
    if (status)
        return status;
    if (length > max)
        return ferry__source_wrong(reader->source, "%s at byte %llu is %llu bytes long, over %zu",
                                   what, (unsigned long long)reader->at, (unsigned long long)length,
                                   max);
    status = get(reader, text, (size_t)length);
    text[length] = '\0';
    *out_length = (size_t)length;
    return status;
}

/* --- metadata ---------------------------------------------------------------------------------- */

enum { VALUE_STRING = 8, VALUE_ARRAY = 9 };

/* Bytes of each type of value; 0: its length is told in the file. */
static const uint8_t value_sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* The fewest bytes that a value can have. */
static uint64_t value_least(uint64_t type)
{
    static const uint8_t least[] = {[VALUE_STRING] = 8, [VALUE_ARRAY] = 12};
    return value_sizes[type] != 0 ? value_sizes[type] : least[type];
}

static enum ferry_status check_type(struct reader *reader, uint64_t type)
{
    if (type >= sizeof value_sizes)
        return ferry__source_wrong(reader->source, "byte %llu: there is no type of value %llu",
                                   (unsigned long long)reader->at, (unsigned long long)type);
    return FERRY_OK;
}

static enum ferry_status skip_value(struct reader *reader, uint64_t type, int depth);

static enum ferry_status skip_array(struct reader *reader, int depth)
{
    uint64_t type = 0, count = 0;
    enum ferry_status status = get_number(reader, 4, &type);
    if (!status)
        status = get_number(reader, 8, &count);
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
    if (value_sizes[type] != 0)
        return skip(reader, count * value_sizes[type]);
    if (count > ELEMENTS_MAX - reader->elements)
        return ferry__source_wrong(reader->source,
                                   "byte %llu: with an array of %llu there are over %d strings and "
                                   "arrays in arrays",
                                   (unsigned long long)reader->at, (unsigned long long)count,
                                   ELEMENTS_MAX);
    reader->elements += count;
    for (uint64_t i = 0; i < count && !status; i++)
        status = skip_value(reader, type, depth);
    return status;
}

static enum ferry_status skip_value(struct reader *reader, uint64_t type, int depth)
{
    uint64_t length = 0;
    if (type == VALUE_ARRAY)
        return skip_array(reader, depth + 1);
    if (type != VALUE_STRING)
        return skip(reader, value_sizes[type]);
    enum ferry_status status = get_number(reader, 8, &length);
    return !status ? skip(reader, length) : status;
}

/* The keys that are looked at; whole numbers all. */
enum key { KEY_ALIGNMENT, KEY_SPLIT_NUMBER, KEY_SPLIT_COUNT, KEY_SPLIT_TENSORS, KEY_COUNT };

static const char *const keys[] = {
    [KEY_ALIGNMENT] = "general.alignment",
    [KEY_SPLIT_NUMBER] = "split.no",
    [KEY_SPLIT_COUNT] = "split.count",
    [KEY_SPLIT_TENSORS] = "split.tensors.count",
};

struct metadata {
    bool seen[KEY_COUNT];
    uint64_t values[KEY_COUNT];
    char key[KEY_MAX + 1];
};

static enum ferry_status read_pair(struct reader *reader, struct metadata *metadata)
{
    static const bool whole[] = {true,  true,  true,  true, true, true, false,
                                 false, false, false, true, true, false};
    size_t length = 0;
    uint64_t type = 0;
    enum ferry_status status = get_string(reader, "a key", metadata->key, KEY_MAX, &length);
    if (!status)
        status = get_number(reader, 4, &type);
    if (!status)
        status = check_type(reader, type);
    if (status)
        return status;
    for (enum key key = 0; key < KEY_COUNT; key++) {
        if (strlen(keys[key]) != length || memcmp(keys[key], metadata->key, length) != 0)
            continue;
        if (!whole[type] || metadata->seen[key])
            return ferry__source_wrong(reader->source, "%s is %s", keys[key],
                                       whole[type] ? "there twice" : "not a whole number");
        metadata->seen[key] = true;
        return get_number(reader, value_sizes[type], &metadata->values[key]);
    }
    return skip_value(reader, type, 0);
}

static enum ferry_status read_metadata(struct reader *reader, uint64_t count,
                                       struct metadata *metadata)
{
    enum ferry_status status = FERRY_OK;
    if (count > (reader->source->size - reader->at) / 13) /* a key's length, a type, a value */
        return ferry__source_wrong(reader->source, "the file has no room for %llu keys",
                                   (unsigned long long)count);
    if (count > PAIRS_MAX)
        return ferry__source_wrong(reader->source, "it has %llu keys, over %d",
                                   (unsigned long long)count, PAIRS_MAX);
    for (uint64_t i = 0; i < count && !status; i++)
        status = read_pair(reader, metadata);
    if (status)
        return status;
    if (!metadata->seen[KEY_ALIGNMENT])
        metadata->values[KEY_ALIGNMENT] = 32;
    const uint64_t alignment = metadata->values[KEY_ALIGNMENT];
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > ALIGNMENT_MAX)
        return ferry__source_wrong(reader->source,
                                   "general.alignment is %llu: not a power of 2 up "
                                   "to %d",
                                   (unsigned long long)alignment, ALIGNMENT_MAX);
    return FERRY_OK;
}

/* --- tensors ----------------------------------------------------------------------------------- */

/* Elements of a block, and bytes. What has no name here is no longer used, or not known. */
static const struct type {
    const char *name;
    uint16_t elements, bytes;
} types[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},
    [3] = {"Q4_1", 32, 20},      [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},
    [8] = {"Q8_0", 32, 34},      [10] = {"Q2_K", 256, 84},    [11] = {"Q3_K", 256, 110},
    [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},   [14] = {"Q6_K", 256, 210},
    [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66}, [17] = {"IQ2_XS", 256, 74},
    [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},   [20] = {"IQ4_NL", 32, 18},
    [21] = {"IQ3_S", 256, 110},  [22] = {"IQ2_S", 256, 82},   [23] = {"IQ4_XS", 256, 136},
    [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},        [26] = {"I32", 1, 4},
    [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},        [29] = {"IQ1_M", 256, 56},
    [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},   [35] = {"TQ2_0", 256, 66},
    [39] = {"MXFP4", 32, 17},    [40] = {"NVFP4", 64, 36},    [41] = {"Q1_0", 128, 18},
};

/* innermost: the length of rows, which are made of whole blocks. */
static enum ferry_status measure(const struct ferry__source *source, const char *name,
                                 uint64_t type, uint64_t innermost, struct ferry__tensor *tensor)
{
    const struct ferry__shown shown = ferry__show(name);
    if (type >= sizeof types / sizeof *types || !types[type].name)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "%s: tensor \"%s\" is of type %llu, which is not "
                           "known",
                           source->path, shown.text, (unsigned long long)type);
    uint64_t size = 1;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (__builtin_mul_overflow(size, tensor->shape[i], &size))
            return ferry__source_wrong(source, "the shape of tensor \"%s\" is too large",
                                       shown.text);
    }
    if (innermost % types[type].elements != 0)
        return ferry__source_wrong(source,
                                   "tensor \"%s\" has rows of %llu, and %s comes in blocks "
                                   "of %u",
                                   shown.text, (unsigned long long)innermost, types[type].name,
                                   types[type].elements);
    if (__builtin_mul_overflow(size / types[type].elements, types[type].bytes, &size))
        return ferry__source_wrong(source, "the shape of tensor \"%s\" is too large", shown.text);
    tensor->type = types[type].name;
    tensor->size = size;
    return FERRY_OK;
}

/* file_offset is told from the beginning of the data, which is not known before the last of them. */
static enum ferry_status read_tensor(struct reader *reader, size_t file, uint64_t alignment,
                                     struct ferry__tensors *tensors)
{
    char name[NAME_MAX_BYTES + 1];
    struct ferry__tensor tensor = {.file = file};
    size_t length = 0;
    uint64_t rank = 0, type = 0, innermost = 1;
    enum ferry_status status = get_string(reader, "a name", name, NAME_MAX_BYTES, &length);
    if (!status)
        status = get_number(reader, 4, &rank);
    if (status)
        return status;
    if (rank > DIMENSIONS_MAX)
        return ferry__source_wrong(reader->source, "tensor \"%s\" has %llu dimensions, over %d",
                                   ferry__show(name).text, (unsigned long long)rank,
                                   DIMENSIONS_MAX);
    tensor.rank = (uint32_t)rank;
    for (uint32_t i = 0; i < tensor.rank && !status; i++) /* the innermost first */
        status = get_number(reader, 8, &tensor.shape[tensor.rank - 1 - i]);
    if (!status)
        status = get_number(reader, 4, &type);
    if (!status)
        status = get_number(reader, 8, &tensor.file_offset);
    if (status)
        return status;
    if (tensor.rank > 0)
        innermost = tensor.shape[tensor.rank - 1];
    if (tensor.file_offset % alignment != 0)
        return ferry__source_wrong(reader->source,
                                   "tensor \"%s\" begins at %llu, not a multiple of "
                                   "%llu",
                                   ferry__show(name).text, (unsigned long long)tensor.file_offset,
                                   (unsigned long long)alignment);
    status = measure(reader->source, name, type, innermost, &tensor);
    return !status ? ferry__tensors_add(tensors, reader->source, &tensor, name, length) : status;
}

static enum ferry_status read_tensors(struct reader *reader, size_t file, uint64_t count,
                                      uint64_t alignment, struct ferry__tensors *tensors)
{
    const size_t first = tensors->count;
    enum ferry_status status = FERRY_OK;
    if (count > (reader->source->size - reader->at) / 24) /* one without name and dimensions */
        return ferry__source_wrong(reader->source, "the file has no room for %llu tensors",
                                   (unsigned long long)count);
    if (count > FERRY__TENSORS_MAX - first)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: %llu tensors are more than %d",
                           reader->source->path, (unsigned long long)count, FERRY__TENSORS_MAX);
    for (uint64_t i = 0; i < count && !status; i++)
        status = read_tensor(reader, file, alignment, tensors);
    if (status)
        return status;
    const uint64_t begin = (reader->at + alignment - 1) & ~(alignment - 1);
    for (size_t i = first; i < tensors->count; i++) {
        struct ferry__tensor *tensor = &tensors->items[i];
        if (__builtin_add_overflow(tensor->file_offset, begin, &tensor->file_offset))
            return ferry__source_wrong(reader->source, "tensor \"%s\" lies past the file's end",
                                       ferry__show(tensor->name).text);
    }
    return ferry__tensors_settle(tensors, first, reader->source, begin, true);
}

/* --- the file ---------------------------------------------------------------------------------- */

static enum ferry_status read_counts(struct reader *reader, struct ferry__gguf *gguf,
                                     uint64_t *tensors, uint64_t *pairs)
{
    unsigned char magic[4];
    uint64_t version = 0;
    enum ferry_status status = get(reader, magic, sizeof magic);
    if (!status && memcmp(magic, "GGUF", 4) != 0)
        return ferry__source_wrong(reader->source, "it does not begin with GGUF");
    if (!status)
        status = get_number(reader, 4, &version);
    if (status)
        return status;
    if (version != 2 && version != 3)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: GGUF version %llu%s; 2 and 3 can be read",
                           reader->source->path, (unsigned long long)version,
                           (version & 0xffff) == 0 ? " (in big-endian order)" : "");
    gguf->version = (uint32_t)version;
    status = get_number(reader, 8, tensors);
    return !status ? get_number(reader, 8, pairs) : status;
}

enum ferry_status ferry__gguf_parse(const struct ferry__source *source, size_t file,
                                    struct ferry__tensors *tensors, struct ferry__gguf *out)
{
    struct work {
        struct reader reader;
        struct metadata metadata;
    } *work = ferry__alloc(sizeof *work);
    if (!work)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory to read it",
                           source->path);
    work->reader.source = source;
    struct ferry__gguf gguf = {0};
    uint64_t count = 0, pairs = 0;
    enum ferry_status status = read_counts(&work->reader, &gguf, &count, &pairs);
    if (!status)
        status = read_metadata(&work->reader, pairs, &work->metadata);
    if (!status)
        status =
            read_tensors(&work->reader, file, count, work->metadata.values[KEY_ALIGNMENT], tensors);
    if (!status) {
        gguf.has_split = work->metadata.seen[KEY_SPLIT_COUNT];
        gguf.split_number = work->metadata.values[KEY_SPLIT_NUMBER];
        gguf.split_count = work->metadata.values[KEY_SPLIT_COUNT];
        gguf.split_tensors = work->metadata.values[KEY_SPLIT_TENSORS];
        *out = gguf;
    }
    ferry__free(work);
    return status;
}
