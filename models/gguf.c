/*
 * GGUF, versions 2 and 3, little-endian: magic, version, counts, metadata, tensor descriptions,
 * padding, tensors. Facts: ggml's docs/gguf.md; block sizes: ggml's type table.
 */
#include "gguf.h"

#include <string.h>

enum { NAME_MAX_BYTES = 1024, DIMENSIONS_MAX = 4 };

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
static enum ferry_status read_tensor(struct ferry__gguf_reader *reader, size_t file,
                                     uint64_t alignment, struct ferry__tensors *tensors)
{
    char name[NAME_MAX_BYTES + 1];
    struct ferry__tensor tensor = {.file = file};
    size_t length = 0;
    uint64_t rank = 0, type = 0, innermost = 1;
    enum ferry_status status = ferry__gguf_string(reader, "a name", name, NAME_MAX_BYTES, &length);
    if (!status)
        status = ferry__gguf_number(reader, 4, &rank);
    if (status)
        return status;
    if (rank > DIMENSIONS_MAX)
        return ferry__source_wrong(reader->source, "tensor \"%s\" has %llu dimensions, over %d",
                                   ferry__show(name).text, (unsigned long long)rank,
                                   DIMENSIONS_MAX);
    tensor.rank = (uint32_t)rank;
    for (uint32_t i = 0; i < tensor.rank && !status; i++) /* the innermost first */
        status = ferry__gguf_number(reader, 8, &tensor.shape[tensor.rank - 1 - i]);
    if (!status)
        status = ferry__gguf_number(reader, 4, &type);
    if (!status)
        status = ferry__gguf_number(reader, 8, &tensor.file_offset);
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

static enum ferry_status read_tensors(struct ferry__gguf_reader *reader, size_t file,
                                      uint64_t count, uint64_t alignment,
                                      struct ferry__tensors *tensors)
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

enum ferry_status ferry__gguf_parse(const struct ferry__source *source, size_t file,
                                    struct ferry__tensors *tensors, struct ferry__gguf *out)
{
    struct work {
        struct ferry__gguf_reader reader;
        struct ferry__gguf_metadata metadata;
    } *work = ferry__alloc(sizeof *work);
    if (!work)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory to read it",
                           source->path);
    work->reader.source = source;
    struct ferry__gguf gguf = {0};
    uint64_t count = 0, pairs = 0;
    enum ferry_status status = ferry__gguf_begin(&work->reader, &gguf.version, &count, &pairs);
    if (!status)
        status = ferry__gguf_read_metadata(&work->reader, pairs, &work->metadata);
    if (!status)
        status = read_tensors(&work->reader, file, count,
                              work->metadata.values[FERRY__GGUF_ALIGNMENT], tensors);
    if (!status) {
        gguf.has_split = work->metadata.seen[FERRY__GGUF_SPLIT_COUNT];
        gguf.split_number = work->metadata.values[FERRY__GGUF_SPLIT_NUMBER];
        gguf.split_count = work->metadata.values[FERRY__GGUF_SPLIT_COUNT];
        gguf.split_tensors = work->metadata.values[FERRY__GGUF_SPLIT_TENSORS];
        *out = gguf;
    }
    ferry__free(work);
    return status;
}
