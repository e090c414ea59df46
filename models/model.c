/* Which files make a model, and what its tensors are. */
#include "models.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *ferry_model_format_name(enum ferry_model_format format)
{
    static const char *const names[] = {
        [FERRY_MODEL_BYTES] = "bytes",
        [FERRY_MODEL_SAFETENSORS] = "safetensors",
        [FERRY_MODEL_GGUF] = "gguf",
    };
    return (size_t)format < sizeof names / sizeof *names ? names[format] : "unknown";
}

/* --- files ------------------------------------------------------------------------------------- */

/* Opens all; what was opened stays for ferry_model_close. */
static enum ferry_status open_files(ferry_model *model, const struct ferry__paths *paths)
{
    enum ferry_status status = FERRY_OK;
    model->files = ferry__alloc(paths->count * sizeof *model->files);
    if (!model->files)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory for %zu files", paths->count);
    for (size_t i = 0; i < paths->count && !status; i++) {
        status = ferry__source_open(&model->files[i], paths->items[i]);
        model->file_count += !status;
    }
    return status;
}

static enum ferry_status read_bytes(ferry_model *model)
{
    const struct ferry__source *source = &model->files[0];
    const char *name = source->path + ferry__directory_length(source->path);
    const struct ferry__tensor tensor = {
        .type = "U8", .rank = 1, .shape = {source->size}, .size = source->size};
    return ferry__tensors_add(&model->tensors, source, &tensor, name, strlen(name));
}

static enum ferry_status read_safetensors(ferry_model *model)
{
    enum ferry_status status = FERRY_OK;
    for (size_t i = 0; i < model->file_count && !status; i++)
        status = ferry__safetensors_parse(&model->files[i], i, &model->tensors);
    return status;
}

/* What the parts say of themselves agrees with their names and number. */
static enum ferry_status read_gguf(ferry_model *model)
{
    uint64_t told = 0;
    for (size_t i = 0; i < model->file_count; i++) {
        const struct ferry__source *source = &model->files[i];
        struct ferry__gguf gguf = {0};
        enum ferry_status status = ferry__gguf_parse(source, i, &model->tensors, &gguf);
        if (status)
            return status;
        if (gguf.has_split && (gguf.split_number != i || gguf.split_count != model->file_count))
            return ferry__source_wrong(source,
                                       "it is part %llu of %llu (from 0 on), and was opened "
                                       "as part %zu of %zu",
                                       (unsigned long long)gguf.split_number,
                                       (unsigned long long)gguf.split_count, i, model->file_count);
        if (gguf.split_tensors != 0)
            told = gguf.split_tensors;
        model->version = gguf.version;
    }
    if (told != 0 && told != model->tensors.count)
        return ferry__source_wrong(&model->files[0],
                                   "all parts have %zu tensors, and it tells of "
                                   "%llu",
                                   model->tensors.count, (unsigned long long)told);
    return FERRY_OK;
}

/* --- what a path stands for -------------------------------------------------------------------- */

/* Is there room for the header that its first 8 bytes tell of, and does that begin as JSON does? */
static bool begins_as_safetensors(const struct ferry__source *source)
{
    unsigned char bytes[9];
    uint64_t length = 0;
    if (source->size < sizeof bytes || ferry__source_read(source, bytes, sizeof bytes, 0))
        return false;
    for (size_t i = 0; i < 8; i++)
        length |= (uint64_t)bytes[i] << (8 * i);
    return length >= 2 && length <= source->size - 8 && bytes[8] == '{';
}

static bool begins_as_gguf(const struct ferry__source *source)
{
    unsigned char bytes[4];
    return source->size >= sizeof bytes && !ferry__source_read(source, bytes, sizeof bytes, 0) &&
           memcmp(bytes, "GGUF", sizeof bytes) == 0;
}

/* The names are the files' word, their first bytes the proof: a file that is called a model and
 * does not begin as one is wrong, not plain bytes. */
static enum ferry_model_format format_of(const struct ferry__source *source)
{
    if (ferry__ends_with(source->path, ".gguf") || begins_as_gguf(source))
        return FERRY_MODEL_GGUF;
    if (ferry__ends_with(source->path, ".safetensors") || begins_as_safetensors(source))
        return FERRY_MODEL_SAFETENSORS;
    return FERRY_MODEL_BYTES;
}

static enum ferry_status read_files(ferry_model *model)
{
    static enum ferry_status (*const readers[])(ferry_model *) = {
        [FERRY_MODEL_BYTES] = read_bytes,
        [FERRY_MODEL_SAFETENSORS] = read_safetensors,
        [FERRY_MODEL_GGUF] = read_gguf,
    };
    model->format = format_of(&model->files[0]);
    return readers[model->format](model);
}

static enum ferry_status open_paths(ferry_model *model, const struct ferry__paths *paths)
{
    enum ferry_status status = open_files(model, paths);
    return !status ? read_files(model) : status;
}

/* Every tensor that the index tells of is in the file that it names. Files may hold more. */
static enum ferry_status check_index(const ferry_model *model, const struct ferry__source *source,
                                     const struct ferry__index *index)
{
    size_t found = 0;
    for (size_t i = 0; i < model->tensors.count; i++) {
        const struct ferry__tensor *tensor = &model->tensors.items[i];
        const struct ferry__index_entry *entry = ferry__index_find(index, tensor->name);
        const char *path = model->files[tensor->file].path;
        if (!entry)
            continue;
        if (strcmp(entry->file_name, path + ferry__directory_length(path)) != 0)
            return ferry__source_wrong(source, "tensor \"%s\" is to be in %s, and is in %s",
                                       ferry__show(tensor->name).text, entry->file_name, path);
        found++;
    }
    if (found != index->count)
        return ferry__source_wrong(source, "it tells of %zu tensors, its files hold %zu of them",
                                   index->count, found);
    return FERRY_OK;
}

static enum ferry_status open_index(ferry_model *model, const char *path)
{
    struct ferry__source source;
    struct ferry__index index = {NULL, 0, NULL, 0};
    struct ferry__paths paths = {NULL, 0, 0};
    enum ferry_status status = ferry__source_open(&source, path);
    if (status)
        return status;
    status = ferry__index_parse(&source, &index);
    for (size_t i = 0; i < index.file_count && !status; i++)
        status = ferry__paths_add(&paths, path, ferry__directory_length(path), index.files[i]);
    if (!status)
        status = open_files(model, &paths);
    if (!status) {
        model->format = FERRY_MODEL_SAFETENSORS;
        status = read_safetensors(model);
    }
    if (!status)
        status = check_index(model, &source, &index);
    ferry__paths_free(&paths);
    ferry__index_free(&index);
    ferry__source_close(&source);
    return status;
}

static enum ferry_status open_path(ferry_model *model, const char *path)
{
    struct stat about;
    struct ferry__part part;
    struct ferry__paths paths = {NULL, 0, 0};
    enum ferry_status status;
    if (ferry__ends_with(path, ".safetensors.index.json"))
        return open_index(model, path);
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        status = ferry__directory_read(path, &paths);
    else if (ferry__part_name(path, ".gguf", &part))
        status = ferry__parts_of(path, &part, &paths);
    else
        status = ferry__paths_add(&paths, "", 0, path);
    if (!status)
        status = ferry__ends_with(paths.items[0], ".index.json") ? open_index(model, paths.items[0])
                                                                 : open_paths(model, &paths);
    ferry__paths_free(&paths);
    return status;
}

/* --- the whole --------------------------------------------------------------------------------- */

static _Thread_local const struct ferry__tensor *sorting; /* qsort passes no argument along */

static int compare_names(const void *a, const void *b)
{
    return strcmp(sorting[*(const size_t *)a].name, sorting[*(const size_t *)b].name);
}

static enum ferry_status sort_names(ferry_model *model)
{
    const size_t count = model->tensors.count;
    model->by_name = ferry__alloc((count + 1) * sizeof *model->by_name);
    if (!model->by_name)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory for %zu names", count);
    for (size_t i = 0; i < count; i++)
        model->by_name[i] = i;
    sorting = model->tensors.items;
    qsort(model->by_name, count, sizeof *model->by_name, compare_names);
    for (size_t i = 1; i < count; i++) {
        const struct ferry__tensor *tensor = &sorting[model->by_name[i]];
        if (strcmp(tensor->name, sorting[model->by_name[i - 1]].name) == 0)
            return ferry__source_wrong(&model->files[tensor->file], "there are two tensors \"%s\"",
                                       ferry__show(tensor->name).text);
    }
    return FERRY_OK;
}

/* Sums of sizes that lie in files, below 2^63 each: an overflow is still possible with many. */
static enum ferry_status place_tensors(ferry_model *model)
{
    for (size_t i = 0; i < model->tensors.count; i++) {
        struct ferry__tensor *tensor = &model->tensors.items[i];
        uint64_t start = 0, end = 0;
        bool wraps = __builtin_add_overflow(model->arena_size, FERRY_BUFFER_ALIGNMENT - 1, &start);
        start &= ~(uint64_t)(FERRY_BUFFER_ALIGNMENT - 1);
        if (wraps || __builtin_add_overflow(start, tensor->size, &end))
            return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                               "the tensors have more than 2^64 bytes together");
        tensor->arena_offset = start;
        model->arena_size = end;
        model->bytes += tensor->size;
    }
    return FERRY_OK;
}

enum ferry_status ferry_model_open(const char *path, ferry_model **out_model)
{
    if (!path || !out_model)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_open: %s is NULL",
                           !path ? "path" : "out_model");
    ferry_model *model = ferry__alloc(sizeof *model);
    if (!model)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory to open %s", path);
    enum ferry_status status = open_path(model, path);
    if (!status)
        status = ferry__tensors_fit(&model->tensors);
    if (!status)
        status = sort_names(model);
    if (!status)
        status = place_tensors(model);
    if (!status)
        *out_model = model;
    else
        ferry_model_close(model);
    return status;
}

void ferry_model_close(ferry_model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->file_count; i++)
        ferry__source_close(&model->files[i]);
    ferry__tensors_free(&model->tensors);
    ferry__free(model->files);
    ferry__free(model->by_name);
    ferry__free(model);
}

void ferry_model_get_info(const ferry_model *model, struct ferry_model_info *out_info)
{
    *out_info = (struct ferry_model_info){.format = model->format,
                                          .version = model->version,
                                          .files = model->file_count,
                                          .tensors = model->tensors.count,
                                          .bytes = model->bytes,
                                          .arena_size = model->arena_size};
}

const char *ferry_model_file_name(const ferry_model *model, size_t file)
{
    return file < model->file_count ? model->files[file].path : NULL;
}

enum ferry_status ferry_model_get_tensor(const ferry_model *model, size_t index,
                                         struct ferry_tensor_info *out_info)
{
    if (!model || !out_info)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_get_tensor: %s is NULL",
                           !model ? "model" : "out_info");
    if (index >= model->tensors.count)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE, "there is no tensor %zu, only %zu", index,
                           model->tensors.count);
    const struct ferry__tensor *tensor = &model->tensors.items[index];
    *out_info = (struct ferry_tensor_info){.name = tensor->name,
                                           .type = tensor->type,
                                           .rank = tensor->rank,
                                           .size = tensor->size,
                                           .arena_offset = tensor->arena_offset,
                                           .file = tensor->file,
                                           .file_offset = tensor->file_offset};
    memcpy(out_info->shape, tensor->shape, sizeof tensor->shape);
    return FERRY_OK;
}

enum ferry_status ferry_model_find_tensor(const ferry_model *model, const char *name,
                                          size_t *out_index)
{
    if (!model || !name || !out_index)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_find_tensor: an argument is "
                                                         "NULL");
    size_t low = 0, high = model->tensors.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, model->tensors.items[model->by_name[middle]].name);
        if (order == 0) {
            *out_index = model->by_name[middle];
            return FERRY_OK;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "there is no tensor \"%s\"",
                       ferry__show(name).text);
}

enum ferry_status ferry_model_read(const ferry_model *model, size_t index, void *memory,
                                   size_t size, uint64_t offset)
{
    struct ferry_tensor_info info = {.size = 0};
    enum ferry_status status = ferry_model_get_tensor(model, index, &info);
    if (status)
        return status;
    if (offset > info.size || size > info.size - offset)
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "size %zu at offset %llu exceeds tensor \"%s\" "
                           "(%llu)",
                           size, (unsigned long long)offset, ferry__show(info.name).text,
                           (unsigned long long)info.size);
    if (!memory && size > 0)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_read: memory is NULL");
    return ferry__source_read(&model->files[info.file], memory, size, info.file_offset + offset);
}
