/* ferry bench: how the rows of the table are told: text, JSON, CSV, Markdown. */
#include "bench.h"

enum { KEY_MAX = 192 };

static const char *name_of(const struct bench_spec *spec)
{
    switch (spec->kind) {
    case BENCH_MEMCPY: return "memcpy";
    case BENCH_MEMCPY_TWO: return "memcpy by two";
    case BENCH_FERRY: return "ferry";
    case BENCH_SEED: return "seed";
    case BENCH_PEER: break;
    }
    return bench_peers[spec->peer]->name;
}

static const char *const memories[] = {[BENCH_PAGEABLE] = "pageable",
                                       [BENCH_REGISTERED] = "registered",
                                       [BENCH_ALLOCATED] = "allocated"};

static const char *const modes[] = {
    [BENCH_WAITING] = "waiting", [BENCH_ASYNC] = "async",     [BENCH_BATCH] = "batch",
    [BENCH_MANY] = "many",       [BENCH_THREADS] = "threads", [BENCH_BOTH] = "both"};

/* The yardstick of a group is its first contestant, if that is a memcpy. */
struct row {
    const struct bench_group *group;
    const struct bench_entry *entry;
    struct bench_figure time, ratio, then; /* then: of the record */
    bool has_ratio, has_then;
    const char *verdict; /* beside the record */
};

/* As a row of CSV begins: what it is of. */
static void put_key(char *out, size_t capacity, const struct bench_group *group,
                    const struct bench_spec *spec);
static const char *compare(const struct bench_figure *now, const struct bench_figure *then);

static struct row make_row(const struct bench_plan *plan, const struct bench_group *group, size_t i)
{
    const struct bench_entry *entry = &group->entries[i], *yardstick = &group->entries[0];
    struct row row = {.group = group, .entry = entry};
    if (!entry->measured)
        return row;
    row.time = bench_time(&entry->way, group->rounds);
    row.has_ratio = yardstick->spec.kind == BENCH_MEMCPY && yardstick->measured;
    if (row.has_ratio)
        row.ratio = bench_ratio(&entry->way, &yardstick->way, group->rounds);
    char key[KEY_MAX];
    put_key(key, sizeof key, group, &entry->spec);
    row.has_then = plan->record && bench_record_find(plan->record, key, &row.then);
    if (row.has_then)
        row.verdict = compare(&row.time, &row.then);
    return row;
}

static const char *path_of(const struct bench_spec *spec)
{
    return spec->kind == BENCH_FERRY ? ferry_path_name(spec->path) : "";
}

static const char *time_text(char *text, double ns)
{
    if (ns >= 1000)
        return cli_time(text, (uint64_t)(ns + 0.5));
    snprintf(text, CLI_TEXT_MAX, "%.1f ns", ns);
    return text;
}

/* Bytes of all that one time covers. */
static double bytes_of(const struct row *row)
{
    return (double)row->group->size * (row->entry->spec.mode == BENCH_BOTH ? 2 : 1);
}

/* Spreads that overlap are told apart by nobody. */
static const char *compare(const struct bench_figure *now, const struct bench_figure *then)
{
    if (now->low > then->high)
        return "slower";
    return now->high < then->low ? "faster" : "the same";
}

static void put_key(char *out, size_t capacity, const struct bench_group *group,
                    const struct bench_spec *spec)
{
    snprintf(out, capacity, "%s,%s,%s,%u,%s,%s,%zu,%d,%d,", name_of(spec),
             bench_operation_name(spec->operation), modes[spec->mode], spec->n > 0 ? spec->n : 1,
             path_of(spec), memories[spec->memory], group->size, group->odd, group->pinned);
}

static void put_who(char *who, size_t capacity, const struct bench_spec *spec)
{
    const char *name = spec->kind == BENCH_FERRY ? path_of(spec) : name_of(spec);
    if (spec->mode == BENCH_BOTH)
        snprintf(who, capacity, "%s, both ways", name);
    else if (spec->n > 1 || spec->mode == BENCH_THREADS)
        snprintf(who, capacity, "%s, %s %u", name, modes[spec->mode], spec->n);
    else if (spec->memory != BENCH_PAGEABLE)
        snprintf(who, capacity, "%s, %s", name, memories[spec->memory]);
    else
        snprintf(who, capacity, "%s", name);
}

static void print_text(const struct row *row)
{
    char who[64], median[CLI_TEXT_MAX], low[CLI_TEXT_MAX], high[CLI_TEXT_MAX];
    put_who(who, sizeof who, &row->entry->spec);
    if (!row->entry->measured) {
        printf("    %-29s not measured: %s\n", who, row->entry->why);
        return;
    }
    printf("    %-29s %10s  %10s to %-10s %8.2f GB/s", who, time_text(median, row->time.median),
           time_text(low, row->time.low), time_text(high, row->time.high),
           bytes_of(row) / row->time.median);
    if (row->has_ratio)
        printf("  %6.2f of memcpy (%.2f to %.2f)", row->ratio.median, row->ratio.low,
               row->ratio.high);
    if (row->has_then)
        printf("  %5.2f times then: %s", row->then.median / row->time.median, row->verdict);
    puts("");
}

static void print_json(const struct row *row)
{
    const struct bench_spec *spec = &row->entry->spec;
    printf("\"contestant\": \"%s\", \"operation\": \"%s\", \"mode\": \"%s\", \"n\": %u, "
           "\"path\": \"%s\", \"memory\": \"%s\", \"size\": %zu, \"odd\": %s, \"pinned\": %s, ",
           name_of(spec), bench_operation_name(spec->operation), modes[spec->mode],
           spec->n > 0 ? spec->n : 1, path_of(spec), memories[spec->memory], row->group->size,
           row->group->odd ? "true" : "false", row->group->pinned ? "true" : "false");
    if (!row->entry->measured) {
        fputs("\"why\": ", stdout);
        cli_json_string(stdout, row->entry->why);
        return;
    }
    printf("\"rounds\": %zu, \"ns\": %.6g, \"ns_low\": %.6g, \"ns_high\": %.6g, \"gb_s\": %.6g",
           row->group->rounds, row->time.median, row->time.low, row->time.high,
           bytes_of(row) / row->time.median);
    if (row->has_ratio)
        printf(", \"of_memcpy\": %.6g, \"of_memcpy_low\": %.6g, \"of_memcpy_high\": %.6g",
               row->ratio.median, row->ratio.low, row->ratio.high);
}

/* A contestant that was not measured has no figures. */
static void print_csv(const struct row *row)
{
    char key[KEY_MAX];
    put_key(key, sizeof key, row->group, &row->entry->spec);
    fputs(key, stdout);
    if (row->entry->measured)
        printf("%zu,%.6g,%.6g,%.6g,%.6g,", row->group->rounds, row->time.median, row->time.low,
               row->time.high, bytes_of(row) / row->time.median);
    else
        fputs(",,,,,", stdout);
    if (row->has_ratio)
        printf("%.6g,%.6g,%.6g\n", row->ratio.median, row->ratio.low, row->ratio.high);
    else
        puts(",,");
}

static void print_markdown(const struct row *row, bool compared)
{
    const struct bench_spec *spec = &row->entry->spec;
    char who[64], size[CLI_TEXT_MAX], median[CLI_TEXT_MAX], low[CLI_TEXT_MAX], high[CLI_TEXT_MAX];
    put_who(who, sizeof who, spec);
    printf("| %s | %s | %s | ", bench_operation_name(spec->operation),
           cli_size(size, row->group->size), who);
    if (!row->entry->measured)
        printf("not measured: %s | | | |", row->entry->why);
    else
        printf("%s | %s to %s | %.2f | ", time_text(median, row->time.median),
               time_text(low, row->time.low), time_text(high, row->time.high),
               bytes_of(row) / row->time.median);
    if (row->entry->measured && row->has_ratio)
        printf("%.2f |", row->ratio.median);
    else if (row->entry->measured)
        fputs("|", stdout);
    if (compared && row->has_then)
        printf(" %.2f times, %s |", row->then.median / row->time.median, row->verdict);
    else if (compared)
        fputs(" |", stdout);
    puts("");
}

void bench_rows_begin(const struct bench_session *session, const struct bench_plan *plan)
{
    switch (plan->format) {
    case BENCH_TEXT: bench_print_device(session); break;
    case BENCH_CSV:
        puts("contestant,operation,mode,n,path,memory,size,odd,pinned,rounds,ns,ns_low,ns_high,"
             "gb_s,of_memcpy,of_memcpy_low,of_memcpy_high");
        break;
    case BENCH_JSON:
        fputs("{", stdout);
        bench_json_device(session);
        fputs(" \"rows\": [\n", stdout);
        break;
    case BENCH_MARKDOWN:
        printf("%s (%s)\n\n| operation | size | way | time | spread | GB/s | of memcpy |%s\n"
               "|---|---|---|---|---|---|---|%s\n",
               session->info.name, session->info.description, plan->record ? " beside then |" : "",
               plan->record ? "---|" : "");
        break;
    }
    fflush(stdout);
}

void bench_rows_section(const struct bench_plan *plan, const char *heading)
{
    if (plan->format == BENCH_TEXT)
        printf("\n%s\n", heading);
}

void bench_rows_end(const struct bench_plan *plan)
{
    if (plan->format == BENCH_JSON)
        fputs("\n]}\n", stdout);
}

void bench_rows_print(const struct bench_plan *plan, const struct bench_group *group, bool first)
{
    char size[CLI_TEXT_MAX];
    if (plan->format == BENCH_TEXT)
        printf("  %s, %s%s\n", bench_operation_name(group->specs[0].operation),
               cli_size(size, group->size), group->pinned ? ", pinned" : "");
    for (size_t i = 0; i < group->count; i++) {
        const struct row row = make_row(plan, group, i);
        switch (plan->format) {
        case BENCH_TEXT: print_text(&row); break;
        case BENCH_CSV: print_csv(&row); break;
        case BENCH_MARKDOWN: print_markdown(&row, plan->record != NULL); break;
        case BENCH_JSON:
            fputs(first && i == 0 ? "  {" : ",\n  {", stdout);
            print_json(&row);
            fputs("}", stdout);
            break;
        }
    }
    fflush(stdout);
}
