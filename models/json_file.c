/* JSON in a file: a header or an index, an object as the whole. */
#include "models.h"

enum { JSON_MAX = 100000000 }; /* as in the reader of safetensors' own authors */

static enum ferry_status begin(struct ferry__json_file *file, uint64_t offset, uint64_t length)
{
    const struct ferry__source *source = file->source;
    file->bytes = ferry__alloc((size_t)length);
    if (!file->bytes)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory for %llu bytes of JSON",
                           source->path, (unsigned long long)length);
    enum ferry_status status = ferry__source_read(source, file->bytes, (size_t)length, offset);
    if (status)
        return status;
    ferry__json_init(&file->json, file->bytes, (size_t)length);
    if (ferry__json_next(&file->json) == FERRY__JSON_WRONG)
        return ferry__json_file_wrong(file);
    return file->json.event == FERRY__JSON_OBJECT
               ? FERRY_OK
               : ferry__source_wrong(source, "its JSON is not an object");
}

enum ferry_status ferry__json_file_open(const struct ferry__source *source, uint64_t offset,
                                        uint64_t length, struct ferry__json_file **out)
{
    if (length > JSON_MAX)
        return ferry__source_wrong(source, "its JSON is %llu bytes long, over %d",
                                   (unsigned long long)length, JSON_MAX);
    struct ferry__json_file *file = ferry__alloc(sizeof *file);
    if (!file)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no memory to read its JSON",
                           source->path);
    file->source = source;
    enum ferry_status status = begin(file, offset, length);
    if (status)
        ferry__json_file_close(file);
    else
        *out = file;
    return status;
}

void ferry__json_file_close(struct ferry__json_file *file)
{
    ferry__free(file->bytes);
    ferry__free(file);
}

enum ferry_status ferry__json_file_wrong(const struct ferry__json_file *file)
{
    return ferry__source_wrong(file->source, "its JSON is wrong at byte %zu: %s",
                               ferry__json_where(&file->json), file->json.wrong);
}

enum ferry_status ferry__json_file_finish(struct ferry__json_file *file)
{
    return ferry__json_next(&file->json) == FERRY__JSON_END ? FERRY_OK
                                                            : ferry__json_file_wrong(file);
}

struct ferry__shown ferry__json_show(struct ferry__json_text text)
{
    char name[sizeof(struct ferry__shown)];
    ferry__json_copy(text, name, sizeof name);
    return ferry__show(name);
}
