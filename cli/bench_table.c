/* ferry bench: the whole table, a row for each contestant, told as it is measured
 * (bench_rows.c). */
#include "bench.h"
#include "progress.h"

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
    bool odd, free, large, both_ways; /* free: never pinned; large: with --large only */
    bool any;                         /* of any size that is asked for */
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
     .count = 11,
     .any = true},
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
     .count = 6,
     .any = true},
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
    {"both ways at once, the time of an upload and a download",
     UPLOAD,
     {64 * KIB, MIB, 16 * MIB, 256 * MIB},
     {FERRY_WAY(AUTO, BOTH, 2), FERRY_WAY(DIRECT, BOTH, 2), FERRY_WAY(PIPELINED, BOTH, 2),
      FERRY_WAY(IMPORTED, BOTH, 2)},
     .count = 4,
     .free = true,
     .both_ways = true,
     .any = true},
};

struct table {
    struct bench_session *session;
    const struct bench_plan *plan;
    const struct bench_filter *filter;
    uint64_t budget_ns; /* of one group */
    size_t groups, done;
    struct progress progress;
};

/* --- what was asked for ----------------------------------------------------------------------- */

static bool has_operation(const struct bench_filter *filter, const struct section *section,
                          int operation)
{
    return (section->operations & 1u << operation) != 0 &&
           (filter->operation < 0 || filter->operation == operation);
}

static bool has_size(const struct section *section, uint64_t size)
{
    for (size_t i = 0; i < SIZES_MAX && section->sizes[i] > 0; i++)
        if (section->sizes[i] == size)
            return true;
    return false;
}

/* The i-th size of a section that is asked for; 0: there is none. One that stands in no list is
 * measured where any may be. */
static size_t size_at(const struct bench_filter *filter, const struct section *section, size_t i)
{
    if (filter->size == 0)
        return i < SIZES_MAX ? section->sizes[i] : 0;
    return i == 0 && (section->any || has_size(section, filter->size)) ? (size_t)filter->size : 0;
}

static bool has_section(const struct bench_filter *filter, const struct section *section)
{
    return (filter->large || !section->large || filter->size >= 1024 * MIB) &&
           (!filter->both_ways || section->both_ways);
}

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
           (spec->operation != FERRY_OPERATION_COPY || peer->copy) &&
           (spec->operation != FERRY_OPERATION_FILL || peer->fill);
}

/* What there is to measure in this operation: forced paths are for transfers, the naive way is
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

static bool is_asked_for(const struct bench_filter *filter, const struct bench_spec *spec)
{
    return filter->path < 0 || spec->kind == BENCH_MEMCPY || spec->kind == BENCH_MEMCPY_TWO ||
           (spec->kind == BENCH_FERRY && (int)spec->path == filter->path);
}

/* A group of yardsticks alone is none. */
static bool has_contestant(const struct bench_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        if (group->specs[i].kind == BENCH_FERRY)
            return true;
    return false;
}

static struct bench_group plan(const struct table *table, const struct section *section,
                               enum ferry_operation operation, size_t size)
{
    struct bench_group group = {.size = size,
                                .odd = section->odd,
                                .pinned =
                                    table->session->pins && !section->free && size <= PINNED_MAX,
                                .budget_ns = table->budget_ns,
                                .iterations = table->plan->iterations};
    for (size_t i = 0; i < section->count; i++) {
        struct bench_spec spec = section->specs[i];
        spec.operation = operation;
        if (belongs(table->session, &spec, group.pinned) && is_asked_for(table->filter, &spec))
            group.specs[group.count++] = spec;
    }
    return group;
}

/* --- all of them ------------------------------------------------------------------------------ */

static enum cli_exit run_group(struct table *table, struct bench_group *group, bool *first)
{
    progress_steps(&table->progress, table->done, table->groups, "groups");
    enum cli_exit end = bench_group_run(table->session, group);
    progress_stop(&table->progress);
    if (end == CLI_DONE)
        bench_rows_print(table->plan, group, *first);
    *first = false;
    bench_group_free(group);
    table->done++;
    return end;
}

/* Calls run for each group that is asked for, or counts them where run is NULL. */
static enum cli_exit walk(struct table *table, bool only_count)
{
    enum cli_exit end = CLI_DONE;
    bool first = true;
    for (size_t i = 0; i < CLI_COUNT(sections); i++) {
        const struct section *section = &sections[i];
        bool headed = only_count || !has_section(table->filter, section);
        for (int operation = 0; operation < FERRY_OPERATION_COUNT; operation++) {
            for (size_t k = 0; has_section(table->filter, section) && end == CLI_DONE; k++) {
                const size_t size = size_at(table->filter, section, k);
                if (size == 0 || !has_operation(table->filter, section, operation))
                    break;
                struct bench_group group =
                    plan(table, section, (enum ferry_operation)operation, size);
                if (!has_contestant(&group))
                    continue;
                table->groups += only_count;
                if (!headed)
                    bench_rows_section(table->plan, section->heading);
                headed = true;
                end = only_count ? CLI_DONE : run_group(table, &group, &first);
            }
        }
    }
    return end;
}

enum cli_exit bench_table(struct bench_session *session, const struct bench_plan *plan,
                          const struct bench_filter *filter)
{
    struct table table = {.session = session, .plan = plan, .filter = filter};
    (void)walk(&table, true);
    if (table.groups == 0) {
        cli_complain("bench: no row of the table is of that size, operation and path");
        return CLI_USAGE;
    }
    table.budget_ns = plan->budget_ns / table.groups;
    bench_rows_begin(session, plan);
    progress_start(&table.progress, "bench", plan->quiet);
    const enum cli_exit end = walk(&table, false);
    bench_rows_end(plan);
    return end;
}
