#include "models.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char index_suffix[] = ".safetensors.index.json";
static const char safetensors_suffix[] = ".safetensors";
static const char gguf_suffix[] = ".gguf";

bool ferry__ends_with(const char *text, const char *suffix)
{
    size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

static bool five_digits(const char *text, unsigned *out)
{
    unsigned value = 0;
    for (int i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *out = value;
    return true;
}

bool ferry__part_name(const char *name, const char *suffix, struct ferry__part *out)
{
    enum { TAIL = 15 }; /* -00001-of-00003 */
    struct ferry__part part;
    if (!ferry__ends_with(name, suffix) || strlen(name) < strlen(suffix) + TAIL)
        return false;
    part.prefix = strlen(name) - strlen(suffix) - TAIL;
    const char *tail = name + part.prefix;
    if (tail[0] != '-' || !five_digits(tail + 1, &part.part) || strncmp(tail + 6, "-of-", 4) != 0 ||
        !five_digits(tail + 10, &part.parts))
        return false;
    if (part.part < 1 || part.part > part.parts)
        return false;
    *out = part;
    return true;
}

size_t ferry__directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash ? 0 : (size_t)(slash - path) + 1;
}

void ferry__paths_free(struct ferry__paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        ferry__free(paths->items[i]);
    ferry__free(paths->items);
    *paths = (struct ferry__paths){NULL, 0, 0};
}

enum ferry_status ferry__paths_add(struct ferry__paths *paths, const char *directory,
                                   size_t directory_length, const char *name)
{
    char *path = ferry__alloc(directory_length + strlen(name) + 1);
    if (path && paths->count == paths->capacity) {
        size_t capacity = paths->capacity == 0 ? 16 : paths->capacity * 2;
        char **items = ferry__realloc(paths->items, capacity * sizeof *items);
        if (items) {
            paths->items = items;
            paths->capacity = capacity;
        }
    }
    if (!path || paths->count == paths->capacity) {
        ferry__free(path);
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory for the names of files");
    }
    memcpy(path, directory, directory_length);
    memcpy(path + directory_length, name, strlen(name)); /* the memory was zeroed */
    paths->items[paths->count++] = path;
    return FERRY_OK;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The files that end so; the directory's path comes with a slash. */
static enum ferry_status list(const char *directory, const char *suffix, struct ferry__paths *out)
{
    enum ferry_status status = FERRY_OK;
    DIR *stream = opendir(directory);
    if (!stream)
        return ferry__fail(ferry__status_of_errno(errno), "cannot read %s: %s", directory,
                           strerror(errno));
    const struct dirent *entry;
    while (!status && (errno = 0, entry = readdir(stream)))
        if (entry->d_name[0] != '.' && ferry__ends_with(entry->d_name, suffix))
            status = ferry__paths_add(out, directory, strlen(directory), entry->d_name);
    if (!status && errno)
        status = ferry__fail(ferry__status_of_errno(errno), "reading %s: %s", directory,
                             strerror(errno));
    closedir(stream);
    if (out->count > 0)
        qsort(out->items, out->count, sizeof *out->items, compare_paths);
    return status;
}

/* Files that are called parts are all the parts of one thing. */
static enum ferry_status check_parts(const char *directory, const char *suffix,
                                     const struct ferry__paths *paths)
{
    struct ferry__part first, part;
    if (!ferry__part_name(paths->items[0], suffix, &first))
        return FERRY_OK;
    for (size_t i = 0; i < paths->count; i++) {
        if (!ferry__part_name(paths->items[i], suffix, &part) || part.prefix != first.prefix ||
            part.parts != first.parts || part.part != i + 1 ||
            strncmp(paths->items[i], paths->items[0], first.prefix) != 0)
            return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                               "%s: %s is not part %zu of %u of one "
                               "model",
                               directory, paths->items[i], i + 1, first.parts);
    }
    if (paths->count != first.parts)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s has %zu of a model's %u parts",
                           directory, paths->count, first.parts);
    return FERRY_OK;
}

enum ferry_status ferry__directory_read(const char *path, struct ferry__paths *out)
{
    static const char *const suffixes[] = {index_suffix, safetensors_suffix, gguf_suffix};
    struct ferry__paths name = {NULL, 0, 0}, paths = {NULL, 0, 0};
    enum ferry_status status =
        ferry__paths_add(&name, path, strlen(path), ferry__ends_with(path, "/") ? "" : "/");
    for (size_t i = 0; !status && paths.count == 0 && i < 3; i++) {
        const char *directory = name.items[0], *suffix = suffixes[i];
        status = list(directory, suffix, &paths);
        if (status || paths.count == 0)
            continue;
        struct ferry__part part;
        if (paths.count > 1 && suffix != safetensors_suffix &&
            !ferry__part_name(paths.items[0], suffix, &part))
            status = ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                                 "%s holds %zu models, %s and %s among "
                                 "them: name one",
                                 path, paths.count, paths.items[0], paths.items[1]);
        else
            status = check_parts(directory, suffix, &paths);
    }
    if (!status && paths.count == 0)
        status = ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                             "%s has neither safetensors nor GGUF files", path);
    ferry__paths_free(&name);
    if (!status)
        *out = paths;
    else
        ferry__paths_free(&paths);
    return status;
}

enum ferry_status ferry__parts_of(const char *path, const struct ferry__part *part,
                                  struct ferry__paths *out)
{
    struct ferry__paths paths = {NULL, 0, 0};
    enum ferry_status status = FERRY_OK;
    for (unsigned i = 1; i <= part->parts && !status; i++) {
        char name[32];
        snprintf(name, sizeof name, "-%05u-of-%05u%s", i, part->parts, gguf_suffix);
        status = ferry__paths_add(&paths, path, part->prefix, name);
    }
    if (!status)
        *out = paths;
    else
        ferry__paths_free(&paths);
    return status;
}
