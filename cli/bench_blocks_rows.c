/* How the fields of ferry bench --blocks are told: text, JSON, CSV. */
#include "bench_blocks.h"

static const char *name_of(const struct blocks_job *job)
{
    static const char *const names[BLOCKS_WHO] = {
        [BLOCKS_FERRY] = "ferry",    [BLOCKS_ROWS] = "ferry, rows", [BLOCKS_MEMCPY] = "memcpy loop",
        [BLOCKS_LOOP] = "cuda loop", [BLOCKS_BATCH] = "cuda batch", [BLOCKS_KERNEL] = "cuda kernel",
    };
    if (job->cell.both)
        return job->two ? "ferry, two arenas" : "ferry, one arena";
    return names[job->who];
}

static const char *memory_of(const struct blocks_cell *cell)
{
    if (cell->operation == FERRY_OPERATION_COPY)
        return "device";
    return cell->memory == BENCH_PAGEABLE ? "pageable" : "page-locked";
}

static double bytes_of(const struct blocks_cell *cell)
{
    return (double)cell->block * (double)cell->count * (cell->both ? 2 : 1);
}

void blocks_rows_begin(const struct bench_session *session, const struct bench_plan *plan)
{
    if (plan->format == BENCH_JSON) {
        fputs("{", stdout);
        bench_json_device(session);
        fputs(" \"blocks\": [\n", stdout);
    } else if (plan->format == BENCH_CSV) {
        puts("contestant,operation,both,memory,block,count,rounds,ns,ns_low,ns_high,gb_s,"
             "ferry_ratio,ferry_ratio_low,ferry_ratio_high");
    } else {
        bench_print_device(session);
    }
    fflush(stdout);
}

/* ratio: how many times as fast the first of the field is. */
struct row {
    const struct blocks_job *job;
    size_t rounds;
    bool first;
    struct bench_figure time, ratio;
};

static void print_text(const struct row *row)
{
    char median[CLI_TEXT_MAX];
    printf("    %-18s ", name_of(row->job));
    if (!row->job->measured) {
        printf("not measured: %s\n", row->job->why);
        return;
    }
    printf("%10s  %8.2f GB/s  %8.1f ns a block",
           cli_time(median, (uint64_t)(row->time.median + 0.5)),
           bytes_of(&row->job->cell) / row->time.median,
           row->time.median / (double)row->job->cell.count);
    if (row->first)
        puts("");
    else
        printf("  ferry %.2f times as fast (%.2f to %.2f)\n", row->ratio.median, row->ratio.low,
               row->ratio.high);
}

static void print_csv(const struct row *row)
{
    const struct blocks_cell *cell = &row->job->cell;
    printf("\"%s\",%s,%d,%s,%zu,%zu,", name_of(row->job), bench_operation_name(cell->operation),
           cell->both, memory_of(cell), cell->block, cell->count);
    if (!row->job->measured)
        puts(",,,,,,,");
    else
        printf("%zu,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g\n", row->rounds, row->time.median,
               row->time.low, row->time.high, bytes_of(cell) / row->time.median, row->ratio.median,
               row->ratio.low, row->ratio.high);
}

static void print_json(const struct row *row)
{
    const struct blocks_cell *cell = &row->job->cell;
    printf("  {\"contestant\": \"%s\", \"operation\": \"%s\", \"both\": %s, \"memory\": \"%s\", "
           "\"block\": %zu, \"count\": %zu, ",
           name_of(row->job), bench_operation_name(cell->operation), cell->both ? "true" : "false",
           memory_of(cell), cell->block, cell->count);
    if (!row->job->measured) {
        fputs("\"why\": ", stdout);
        cli_json_string(stdout, row->job->why);
    } else {
        printf("\"rounds\": %zu, \"ns\": %.6g, \"ns_low\": %.6g, \"ns_high\": %.6g, "
               "\"gb_s\": %.6g, \"ferry_ratio\": %.6g, \"ferry_ratio_low\": %.6g, "
               "\"ferry_ratio_high\": %.6g",
               row->rounds, row->time.median, row->time.low, row->time.high,
               bytes_of(cell) / row->time.median, row->ratio.median, row->ratio.low,
               row->ratio.high);
    }
    fputs("}", stdout);
}

void blocks_rows_print(const struct bench_plan *plan, const struct blocks_job *jobs, size_t count,
                       size_t rounds, bool first)
{
    char size[CLI_TEXT_MAX];
    const struct blocks_cell *cell = &jobs[0].cell;
    if (plan->format == BENCH_TEXT)
        printf("  %s, %s, %zu blocks of %s\n",
               cell->both ? "both ways at once" : bench_operation_name(cell->operation),
               memory_of(cell), cell->count, cli_size(size, cell->block));
    for (size_t i = 0; i < count; i++) {
        struct row row = {.job = &jobs[i], .rounds = rounds, .first = i == 0};
        if (jobs[i].measured) {
            row.time = bench_time(&jobs[i].way, rounds);
            row.ratio = bench_ratio(&jobs[0].way, &jobs[i].way, rounds);
        }
        if (plan->format == BENCH_TEXT) {
            print_text(&row);
        } else if (plan->format == BENCH_CSV) {
            print_csv(&row);
        } else {
            fputs(first && i == 0 ? "" : ",\n", stdout);
            print_json(&row);
        }
    }
    fflush(stdout);
}

void blocks_rows_end(const struct bench_plan *plan)
{
    if (plan->format == BENCH_JSON)
        fputs("\n]}\n", stdout);
}
