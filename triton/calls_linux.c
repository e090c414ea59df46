#define _GNU_SOURCE
#include "calls.h"

#include <link.h>
#include <stdlib.h>
#include <string.h>

struct paths {
    char **all;
    size_t count, capacity;
};

static int note(struct dl_phdr_info *info, size_t size, void *user)
{
    struct paths *paths = user;
    (void)size;
    if (!info->dlpi_name || !info->dlpi_name[0])
        return 0;
    if (paths->count == paths->capacity) {
        const size_t capacity = paths->capacity ? 2 * paths->capacity : 64;
        char **all = realloc(paths->all, capacity * sizeof *all);
        if (!all)
            return 1;
        paths->all = all;
        paths->capacity = capacity;
    }
    char *copy = strdup(info->dlpi_name);
    if (!copy)
        return 1;
    paths->all[paths->count++] = copy;
    return 0;
}

/* Noted first and visited then: the loader's lock is held while it lists. */
bool ferry__triton_each_library(bool (*visit)(const char *path, void *user), void *user)
{
    struct paths paths = {0};
    const bool all = !dl_iterate_phdr(note, &paths);
    bool done = false;
    for (size_t i = 0; i < paths.count; i++) {
        done = done || visit(paths.all[i], user);
        free(paths.all[i]);
    }
    free(paths.all);
    return all || done;
}
