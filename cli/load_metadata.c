/* ferry load --list: what the files tell of themselves besides their tensors. */
#include "load.h"

#include "common/show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- a table ---------------------------------------------------------------------------------- */

enum { SHOWN_KEY = 64, SHOWN_VALUE = 96, LINE_MAX_BYTES = 200 };

/* What has been told of the first file: the others mostly say the same, and that is said once. */
struct lines {
    const struct cargo *cargo;
    char (*items)[LINE_MAX_BYTES];
    size_t count, capacity;
    size_t file; /* of the last line that was printed */
    bool sorted;
    bool no_memory; /* then more is said than need be */
};

static int compare_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void keep(struct lines *lines, const char *line)
{
    if (lines->count == lines->capacity) {
        const size_t larger = lines->capacity ? 2 * lines->capacity : 64;
        void *items = realloc(lines->items, larger * sizeof *lines->items);
        lines->no_memory = lines->no_memory || !items;
        if (lines->no_memory)
            return;
        lines->items = items;
        lines->capacity = larger;
    }
    memcpy(lines->items[lines->count++], line, LINE_MAX_BYTES);
}

static bool is_kept(const struct lines *lines, const char *line)
{
    return lines->count > 0 &&
           bsearch(line, lines->items, lines->count, sizeof *lines->items, compare_lines);
}

static void make_line(char *out, const struct ferry_model_metadata *pair)
{
    char key[SHOWN_KEY], value[SHOWN_VALUE], count[32] = "";
    ferry__show_text(key, sizeof key, pair->key);
    ferry__show_text(value, sizeof value, pair->value);
    if (pair->cut && pair->type[strlen(pair->type) - 1] == ']')
        snprintf(count, sizeof count, " (%" PRIu64 ")", pair->count);
    memset(out, 0, LINE_MAX_BYTES);
    snprintf(out, LINE_MAX_BYTES, "%s = %s%s", key, value, count);
}

static void print_pair(const struct ferry_model_metadata *pair, void *user)
{
    struct lines *lines = user;
    char line[LINE_MAX_BYTES], shown[CLI_SHOWN_MAX];
    make_line(line, pair);
    if (pair->file > 0 && !lines->sorted && lines->count > 0) /* the first file's are all there */
        qsort(lines->items, lines->count, sizeof *lines->items, compare_lines);
    lines->sorted = pair->file > 0;
    if (pair->file == 0)
        keep(lines, line);
    else if (is_kept(lines, line))
        return;
    if (pair->file > lines->file)
        printf("  in %s:\n",
               cli_show(shown, ferry_model_file_name(lines->cargo->model, pair->file)));
    lines->file = pair->file;
    printf("  %s%s\n", pair->file > 0 ? "  " : "", line);
}

void load_print_metadata(const struct cargo *cargo)
{
    struct lines lines = {.cargo = cargo};
    if (ferry_model_read_metadata(cargo->model, print_pair, &lines))
        cli_complain("load: metadata of %s: %s", cargo->name, ferry_last_error());
    free(lines.items);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void json_pair(const struct ferry_model_metadata *pair, void *user)
{
    const char **separator = user;
    printf("%s{\"file\": %zu, \"key\": ", *separator, pair->file);
    cli_json_string(stdout, pair->key);
    printf(", \"type\": \"%s\", \"count\": %" PRIu64 ", \"whole\": %s, \"value\": ", pair->type,
           pair->count, pair->cut ? "false" : "true");
    cli_json_string(stdout, pair->value);
    fputs("}", stdout);
    *separator = ",\n    ";
}

void load_json_metadata(const struct cargo *cargo)
{
    const char *separator = "\n    ";
    fputs(", \"metadata\": [", stdout);
    const enum ferry_status status = ferry_model_read_metadata(cargo->model, json_pair, &separator);
    fputs("]", stdout);
    if (!status)
        return;
    fputs(", \"metadata_error\": ", stdout);
    cli_json_string(stdout, ferry_last_error());
}
