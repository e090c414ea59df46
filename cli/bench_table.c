/* ferry bench: the whole table, a row for each contestant, printed as it is measured. */
#include "bench.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define PINNED_MAX MIB

enum { SIZES_MAX = 9 };

enum { UPLOAD = 1 << FERRY_OPERATION_UPLOAD, DOWNLOAD = 1 << FERRY_OPERATION_DOWNLOAD };
enum { COPY = 1 << FERRY_OPERATION_COPY, FILL = 1 << FERRY_OPERATION_FILL };

#define YARDSTICKS               \
    {.kind = BENCH_MEMCPY},      \
    {                            \
        .kind = BENCH_MEMCPY_TWO \
    }
#define TRANSFERS (UPLOAD | DOWNLOAD)
#define ALL (TRANSFERS | COPY | FILL)

struct section {
    const char *heading;
    unsigned operations; /* bits 1 << enum ferry_operation */
    size_t sizes[SIZES_MAX];
    struct bench_spec specs[BENCH_ENTRIES_MAX];
    size_t count;
    bool odd, free, large; /* free: never pinned; large: with --large only */
};

static const struct section sections[] = {
    {"one after the other, waiting",
     TRANSFERS,
     {256, 4 * KIB, 64 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB},
     {YARDSTICKS,
      FERRY_WAY(AUTO, WAITING, 1),
      FERRY_WAY(DIRECT, WAITING, 1),
      FERRY_WAY(STAGED, WAITING, 1),
      FERRY_WAY(PIPELINED, WAITING, 1),
      FERRY_WAY(IMPORTED, WAITING, 1),
      {.kind = BENCH_SEED},
      PEER_WAY(LIBPLACEBO),
      PEER_WAY(LIBPLACEBO_STAGED),
      PEER_WAY(OPENCL)},
     .count = 11},
    {"from and to host memory that the device knows, waiting",
     TRANSFERS,
     {256, 64 * KIB, MIB, 16 * MIB, 256 * MIB},
     {YARDSTICKS, FERRY_FROM(PAGEABLE), FERRY_FROM(REGISTERED), FERRY_FROM(ALLOCATED),
      PEER_FROM(CUDA, PAGEABLE), PEER_FROM(CUDA, ALLOCATED)},
     .count = 7},
    {"on the device, waiting",
     COPY | FILL,
     {256, 4 * KIB, 64 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB},
     {YARDSTICKS, FERRY_WAY(AUTO, WAITING, 1), PEER_WAY(LIBPLACEBO), PEER_WAY(OPENCL),
      PEER_WAY(CUDA)},
     .count = 6},
    {"large, waiting",
     ALL,
     {1024 * MIB},
     {YARDSTICKS, FERRY_WAY(AUTO, WAITING, 1)},
     .count = 3,
     .large = true},
    {"odd addresses, waiting",
     ALL,
     {255, 64 * KIB + 1, 16 * MIB + 1},
     {YARDSTICKS, FERRY_WAY(AUTO, WAITING, 1), FERRY_WAY(DIRECT, WAITING, 1),
      FERRY_WAY(STAGED, WAITING, 1), FERRY_WAY(PIPELINED, WAITING, 1),
      FERRY_WAY(IMPORTED, WAITING, 1)},
     .count = 7,
     .odd = true},
    {"8 in flight",
     ALL,
     {256, 64 * KIB, MIB, 16 * MIB},
     {YARDSTICKS, FERRY_WAY(AUTO, ASYNC, 8), FERRY_WAY(STAGED, ASYNC, 8)},
     .count = 4},
    {"batches, the time of one item",
     ALL,
     {256, 4 * KIB},
     {YARDSTICKS, FERRY_WAY(AUTO, BATCH, 64), FERRY_WAY(AUTO, BATCH, 1000),
      FERRY_WAY(STAGED, BATCH, 64), FERRY_WAY(STAGED, BATCH, 1000), PEER_BATCH(LIBPLACEBO, 1000),
      PEER_BATCH(LIBPLACEBO_STAGED, 1000), PEER_BATCH(OPENCL, 1000), PEER_BATCH(CUDA, 1000)},
     .count = 10},
    {"threads, the time of all for one operation",
     ALL,
     {64 * KIB, MIB},
     {FERRY_WAY(AUTO, THREADS, 1), FERRY_WAY(AUTO, THREADS, 2), FERRY_WAY(AUTO, THREADS, 4),
      FERRY_WAY(AUTO, THREADS, 8), FERRY_WAY(STAGED, THREADS, 1), FERRY_WAY(STAGED, THREADS, 2),
      FERRY_WAY(STAGED, THREADS, 4), FERRY_WAY(STAGED, THREADS, 8)},
     .count = 8,
     .free = true},
};

struct table {
    struct bench_session *session;
    enum bench_format format;
    uint64_t budget_ns; /* of one group */
    bool first;         /* no row was printed yet */
};

static bool on_device(const struct bench_spec *spec)
{
    return spec->operation == FERRY_OPERATION_COPY || spec->operation == FERRY_OPERATION_FILL;
}

/* A batch of a peer's is measured in uploads. */
static bool belongs_peer(const struct bench_session *session, const struct bench_spec *spec)
{
    const struct peer *peer = bench_peers[spec->peer];
    return session->peer_why[spec->peer][0] == 0 &&
           (spec->mode != BENCH_BATCH || spec->operation == FERRY_OPERATION_UPLOAD) &&
           (spec->operation != FERRY_OPERATION_COPY || peer->copy != NULL) &&
           (spec->operation != FERRY_OPERATION_FILL || peer->fill != NULL);
}

/* What there is to measure in this operation: forced paths are for transfers, the seed's design is
 * its upload, and two threads need two CPUs. */
static bool belongs(const struct bench_session *session, const struct bench_spec *spec, bool pinned)
{
    switch (spec->kind) {
    case BENCH_SEED: return spec->operation == FERRY_OPERATION_UPLOAD;
    case BENCH_MEMCPY_TWO: return !pinned;
    case BENCH_PEER: return belongs_peer(session, spec);
    case BENCH_FERRY: return spec->path == FERRY_PATH_AUTO || !on_device(spec);
    case BENCH_MEMCPY: break;
    }
    return true;
}

static struct bench_group plan(const struct table *table, const struct section *section,
                               enum ferry_operation operation, size_t size)
{
    struct bench_group group = {.size = size,
                                .odd = section->odd,
                                .pinned =
                                    table->session->pins && !section->free && size <= PINNED_MAX,
                                .budget_ns = table->budget_ns};
    for (size_t i = 0; i < section->count; i++) {
        struct bench_spec spec = section->specs[i];
        spec.operation = operation;
        if (belongs(table->session, &spec, group.pinned))
            group.specs[group.count++] = spec;
    }
    return group;
}

/* --- rows ------------------------------------------------------------------------------------- */

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

static const char *const modes[] = {[BENCH_WAITING] = "waiting",
                                    [BENCH_ASYNC] = "async",
                                    [BENCH_BATCH] = "batch",
                                    [BENCH_THREADS] = "threads"};

/* The yardstick of a group is its first contestant, if that is a memcpy. */
struct row {
    const struct bench_group *group;
    const struct bench_entry *entry;
    struct bench_figure time, ratio;
    bool has_ratio;
};

static struct row make_row(const struct bench_group *group, size_t i)
{
    const struct bench_entry *entry = &group->entries[i], *yardstick = &group->entries[0];
    struct row row = {.group = group, .entry = entry};
    if (!entry->measured)
        return row;
    row.time = bench_time(&entry->way, group->rounds);
    row.has_ratio = yardstick->spec.kind == BENCH_MEMCPY && yardstick->measured;
    if (row.has_ratio)
        row.ratio = bench_ratio(&entry->way, &yardstick->way, group->rounds);
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

static void print_text(const struct row *row)
{
    const struct bench_spec *spec = &row->entry->spec;
    char who[64], median[CLI_TEXT_MAX], low[CLI_TEXT_MAX], high[CLI_TEXT_MAX];
    const char *name = spec->kind == BENCH_FERRY ? path_of(spec) : name_of(spec);
    if (spec->n > 1 || spec->mode == BENCH_THREADS)
        snprintf(who, sizeof who, "%s, %s %u", name, modes[spec->mode], spec->n);
    else if (spec->memory != BENCH_PAGEABLE)
        snprintf(who, sizeof who, "%s, %s", name, memories[spec->memory]);
    else
        snprintf(who, sizeof who, "%s", name);
    if (!row->entry->measured) {
        printf("    %-29s not measured: %s\n", who, row->entry->why);
        return;
    }
    printf("    %-29s %10s  %10s to %-10s %8.2f GB/s", who, time_text(median, row->time.median),
           time_text(low, row->time.low), time_text(high, row->time.high),
           (double)row->group->size / row->time.median);
    if (row->has_ratio)
        printf("  %6.2f of memcpy (%.2f to %.2f)", row->ratio.median, row->ratio.low,
               row->ratio.high);
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
           (double)row->group->size / row->time.median);
    if (row->has_ratio)
        printf(", \"of_memcpy\": %.6g, \"of_memcpy_low\": %.6g, \"of_memcpy_high\": %.6g",
               row->ratio.median, row->ratio.low, row->ratio.high);
}

/* A contestant that was not measured has no figures. */
static void print_csv(const struct row *row)
{
    const struct bench_spec *spec = &row->entry->spec;
    printf("%s,%s,%s,%u,%s,%s,%zu,%d,%d,", name_of(spec), bench_operation_name(spec->operation),
           modes[spec->mode], spec->n > 0 ? spec->n : 1, path_of(spec), memories[spec->memory],
           row->group->size, row->group->odd, row->group->pinned);
    if (row->entry->measured)
        printf("%zu,%.6g,%.6g,%.6g,%.6g,", row->group->rounds, row->time.median, row->time.low,
               row->time.high, (double)row->group->size / row->time.median);
    else
        fputs(",,,,,", stdout);
    if (row->has_ratio)
        printf("%.6g,%.6g,%.6g\n", row->ratio.median, row->ratio.low, row->ratio.high);
    else
        puts(",,");
}

static void print_group(struct table *table, const struct bench_group *group)
{
    char size[CLI_TEXT_MAX];
    if (table->format == BENCH_TEXT)
        printf("  %s, %s%s\n", bench_operation_name(group->specs[0].operation),
               cli_size(size, group->size), group->pinned ? ", pinned" : "");
    for (size_t i = 0; i < group->count; i++) {
        const struct row row = make_row(group, i);
        switch (table->format) {
        case BENCH_TEXT: print_text(&row); break;
        case BENCH_CSV: print_csv(&row); break;
        case BENCH_JSON:
            fputs(table->first ? "  {" : ",\n  {", stdout);
            print_json(&row);
            fputs("}", stdout);
            break;
        }
        table->first = false;
    }
    fflush(stdout);
}

/* --- all of them ------------------------------------------------------------------------------ */

static enum cli_exit run_section(struct table *table, const struct section *section)
{
    enum cli_exit end = CLI_DONE;
    if (table->format == BENCH_TEXT)
        printf("\n%s\n", section->heading);
    for (int operation = 0; operation < FERRY_OPERATION_COUNT; operation++) {
        if ((section->operations & 1u << operation) == 0)
            continue;
        for (size_t i = 0; i < SIZES_MAX && section->sizes[i] > 0 && end == CLI_DONE; i++) {
            struct bench_group group =
                plan(table, section, (enum ferry_operation)operation, section->sizes[i]);
            end = bench_group_run(table->session, &group);
            if (end == CLI_DONE)
                print_group(table, &group);
            bench_group_free(&group);
        }
    }
    return end;
}

static size_t count_groups(bool large)
{
    size_t groups = 0;
    for (size_t i = 0; i < CLI_COUNT(sections); i++) {
        size_t sizes = 0;
        while (sizes < SIZES_MAX && sections[i].sizes[sizes] > 0)
            sizes++;
        for (int operation = 0; operation < FERRY_OPERATION_COUNT; operation++) {
            if ((large || !sections[i].large) && (sections[i].operations & 1u << operation) != 0)
                groups += sizes;
        }
    }
    return groups;
}

enum cli_exit bench_table(struct bench_session *session, uint64_t budget_ns, bool large,
                          enum bench_format format)
{
    struct table table = {session, format, budget_ns / count_groups(large), true};
    enum cli_exit end = CLI_DONE;
    switch (format) {
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
    }
    for (size_t i = 0; i < CLI_COUNT(sections) && end == CLI_DONE; i++) {
        if (large || !sections[i].large)
            end = run_section(&table, &sections[i]);
    }
    if (format == BENCH_JSON)
        fputs("\n]}\n", stdout);
    return end;
}
