/* model.safetensors.index.json: which tensor of a model is in which of its files. */
#include "models.h"

#include <stdlib.h>
#include <string.h>

/* Files beside the index only. */
static bool plain_name(const char *name, size_t length)
{
    return name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) == length;
}

static enum ferry_status no_memory(const struct ferry__source *source)
{
    return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for its tensors",
                       source->path);
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
    bool memory = sorted && index->files;
    for (size_t i = 0; memory && i < index->count; i++)
        sorted[i] = index->entries[i].file_name;
    if (memory)
        qsort(sorted, index->count, sizeof *sorted, compare_files);
    for (size_t i = 0; memory && i < index->count; i++) {
        if (i > 0 && !strcmp(sorted[i], sorted[i - 1]))
            continue;
        index->files[index->file_count] = ferry__copy_text(sorted[i], strlen(sorted[i]));
        memory = index->files[index->file_count];
        index->file_count += memory;
    }
    ferry__free(sorted);
    return memory ? FERRY_OK : no_memory(source);
}

static char *copy_json(struct ferry__json_text text, size_t *out_length)
{
    char *copy = ferry__alloc(text.size + 1);
    if (copy)
        *out_length = ferry__json_copy(text, copy, text.size + 1);
    return copy;
}

static enum ferry_status make_room(const struct ferry__source *source, struct ferry__index *index,
                                   size_t *capacity)
{
    if (index->count < *capacity)
        return FERRY_OK;
    if (index->count == FERRY__TENSORS_MAX)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: it lists more than %d tensors",
                           source->path, FERRY__TENSORS_MAX);
    const size_t larger = *capacity ? 2 * *capacity : 64;
    struct ferry__index_entry *entries =
        ferry__realloc(index->entries, larger * sizeof *index->entries);
    if (!entries)
        return no_memory(source);
    index->entries = entries;
    *capacity = larger;
    return FERRY_OK;
}

/* The key is the last event, the file's name the next. */
static enum ferry_status read_entry(struct ferry__json_file *file, struct ferry__index *index)
{
    const struct ferry__json_text tensor = file->json.text;
    struct ferry__index_entry *entry = &index->entries[index->count];
    size_t tensor_length = 0, file_length = 0;
    const enum ferry__json_event event = ferry__json_next(&file->json);
    if (event == FERRY__JSON_WRONG)
        return ferry__json_file_wrong(file);
    *entry = (struct ferry__index_entry){NULL, NULL};
    if (event == FERRY__JSON_STRING) {
        index->count++;
        entry->tensor = copy_json(tensor, &tensor_length);
        entry->file_name = copy_json(file->json.text, &file_length);
        if (!entry->tensor || !entry->file_name)
            return no_memory(file->source);
    }
    if (!entry->file_name || !plain_name(entry->file_name, file_length))
        return ferry__source_wrong(file->source,
                                   "tensor \"%s\" is in no file of the same directory",
                                   ferry__json_show(tensor).text);
    if (strlen(entry->tensor) != tensor_length)
        return ferry__source_wrong(file->source, "the name of tensor \"%s\" holds a byte 0",
                                   ferry__show(entry->tensor).text);
    return FERRY_OK;
}

static enum ferry_status read_map(struct ferry__json_file *file, struct ferry__index *index)
{
    size_t capacity = 0;
    enum ferry_status status = FERRY_OK;
    if (index->entries)
        return ferry__source_wrong(file->source, "weight_map is there twice");
    if (ferry__json_next(&file->json) != FERRY__JSON_OBJECT)
        return ferry__json_skip(&file->json) ? FERRY_OK : ferry__json_file_wrong(file);
    while (!status && ferry__json_next(&file->json) == FERRY__JSON_KEY) {
        status = make_room(file->source, index, &capacity);
        if (!status)
            status = read_entry(file, index);
    }
    return !status && file->json.wrong ? ferry__json_file_wrong(file) : status;
}

static int compare_entries(const void *a, const void *b)
{
    const struct ferry__index_entry *x = a, *y = b;
    return strcmp(x->tensor, y->tensor);
}

static enum ferry_status sort_entries(const struct ferry__source *source,
                                      struct ferry__index *index)
{
    if (!index->count)
        return ferry__source_wrong(source, "it has no weight_map");
    qsort(index->entries, index->count, sizeof *index->entries, compare_entries);
    for (size_t i = 1; i < index->count; i++) {
        if (!compare_entries(&index->entries[i - 1], &index->entries[i]))
            return ferry__source_wrong(source, "it tells of tensor \"%s\" twice",
                                       ferry__show(index->entries[i].tensor).text);
    }
    return collect_files(source, index);
}

static enum ferry_status read_index(struct ferry__json_file *file, struct ferry__index *index)
{
    enum ferry_status status = FERRY_OK;
    while (!status && ferry__json_next(&file->json) == FERRY__JSON_KEY)
        if (ferry__json_is(file->json.text, "weight_map"))
            status = read_map(file, index);
        else if (!ferry__json_next(&file->json) || !ferry__json_skip(&file->json))
            status = ferry__json_file_wrong(file);
    if (!status)
        status = ferry__json_file_finish(file);
    return status ? status : sort_entries(file->source, index);
}

enum ferry_status ferry__index_parse(const struct ferry__source *source, struct ferry__index *out)
{
    struct ferry__json_file *file = NULL;
    struct ferry__index index = {NULL, 0, NULL, 0};
    enum ferry_status status = ferry__json_file_open(source, 0, source->size, &file);
    if (status)
        return status;
    status = read_index(file, &index);
    ferry__json_file_close(file);
    if (status)
        ferry__index_free(&index);
    else
        *out = index;
    return status;
}

const struct ferry__index_entry *ferry__index_find(const struct ferry__index *index,
                                                   const char *tensor)
{
    const struct ferry__index_entry key = {.tensor = (char *)tensor};
    return bsearch(&key, index->entries, index->count, sizeof key, compare_entries);
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
