/* ferry bench --compare: an earlier table, as --csv printed it. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 512, KEY_COLUMNS = 9 };

struct line {
    char key[LINE_MAX_BYTES]; /* its first columns, a comma after each */
    struct bench_figure time;
    bool measured;
};

struct bench_record {
    struct line *lines;
    size_t count, capacity;
};

static const char head[] = "contestant,operation,mode,n,path,memory,size,odd,pinned,rounds,ns,";

/* The bytes of the first columns, with their commas; 0: there are not so many. */
static size_t key_length(const char *line)
{
    const char *at = line;
    for (int i = 0; i < KEY_COLUMNS; i++) {
        at = strchr(at, ',');
        if (!at)
            return 0;
        at++;
    }
    return (size_t)(at - line);
}

static bool add(struct bench_record *record, const char *line)
{
    if (record->count == record->capacity) {
        const size_t capacity = record->capacity > 0 ? 2 * record->capacity : 64;
        struct line *lines = realloc(record->lines, capacity * sizeof *lines);
        if (!lines)
            return false;
        record->lines = lines;
        record->capacity = capacity;
    }
    struct line *added = &record->lines[record->count++];
    const size_t length = key_length(line);
    unsigned rounds;
    memcpy(added->key, line, length);
    added->key[length] = 0;
    added->measured = sscanf(line + length, "%u,%lf,%lf,%lf", &rounds, &added->time.median,
                             &added->time.low, &added->time.high) == 4;
    return true;
}

static bool read_lines(struct bench_record *record, FILE *file, const char *name, char *why)
{
    char line[LINE_MAX_BYTES];
    for (bool first = true; fgets(line, sizeof line, file); first = false) {
        if (first && strncmp(line, head, sizeof head - 1) != 0)
            break;
        if (first)
            continue;
        if (key_length(line) == 0)
            break;
        if (!add(record, line)) {
            snprintf(why, CLI_WHY_MAX, "%s: out of host memory", name);
            return false;
        }
    }
    if (feof(file) && record->count > 0)
        return true;
    snprintf(why, CLI_WHY_MAX, "%s: this is not what ferry bench --csv prints", name);
    return false;
}

struct bench_record *bench_record_read(const char *name, char *why)
{
    struct bench_record *record = calloc(1, sizeof *record);
    FILE *file = record ? fopen(name, "re") : NULL;
    if (!file) {
        snprintf(why, CLI_WHY_MAX, "%s: %s", name, strerror(errno));
        free(record);
        return NULL;
    }
    const bool good = read_lines(record, file, name, why);
    fclose(file);
    if (!good) {
        bench_record_free(record);
        return NULL;
    }
    return record;
}

void bench_record_free(struct bench_record *record)
{
    if (!record)
        return;
    free(record->lines);
    free(record);
}

bool bench_record_find(const struct bench_record *record, const char *row,
                       struct bench_figure *out_time)
{
    for (size_t i = 0; i < record->count; i++) {
        if (!record->lines[i].measured || strcmp(record->lines[i].key, row) != 0)
            continue;
        *out_time = record->lines[i].time;
        return true;
    }
    return false;
}
