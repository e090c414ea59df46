/* ferry bench --blocks: which fields are measured, and with whom. */
#include "bench_blocks.h"
#include "progress.h"

#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { JOBS_MAX = 6 };

static const size_t sizes[] = {KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB};
static const size_t counts[] = {1000, 10000, 100000};
static const struct {
    enum ferry_operation operation;
    enum bench_memory memory;
} sides[] = {
    {FERRY_OPERATION_UPLOAD, BENCH_ALLOCATED},   {FERRY_OPERATION_UPLOAD, BENCH_PAGEABLE},
    {FERRY_OPERATION_DOWNLOAD, BENCH_ALLOCATED}, {FERRY_OPERATION_DOWNLOAD, BENCH_PAGEABLE},
    {FERRY_OPERATION_COPY, BENCH_ALLOCATED},
};

enum { CELLS_MAX = 5 * 5 * 3 + 5 };

struct table {
    struct blocks_cell cells[CELLS_MAX];
    size_t count;
};

/* Larger ones take more memory, and time, than they tell. */
static size_t bytes_max(const struct bench_session *session, const struct bench_filter *filter)
{
    const bool gpu = session->info.kind == FERRY_DEVICE_DISCRETE ||
                     session->info.kind == FERRY_DEVICE_INTEGRATED;
    return gpu ? (filter->large ? 4096 * MIB : 1024 * MIB) : 128 * MIB;
}

static void add(struct table *table, const struct bench_session *session,
                const struct bench_filter *filter, struct blocks_cell cell)
{
    const size_t most = bytes_max(session, filter);
    if ((filter->size > 0 && filter->size != cell.block) ||
        (filter->operation >= 0 && (enum ferry_operation)filter->operation != cell.operation) ||
        filter->both_ways != cell.both || cell.block * cell.count > most ||
        2 * cell.block * cell.count > session->info.max_buffer_size)
        return;
    table->cells[table->count++] = cell;
}

static void make_table(struct table *table, const struct bench_session *session,
                       const struct bench_filter *filter)
{
    for (size_t side = 0; side < CLI_COUNT(sides); side++)
        for (size_t size = 0; size < CLI_COUNT(sizes); size++)
            for (size_t count = 0; count < CLI_COUNT(counts); count++)
                add(table, session, filter,
                    (struct blocks_cell){.operation = sides[side].operation,
                                         .memory = sides[side].memory,
                                         .block = sizes[size],
                                         .count = counts[count]});
    for (size_t size = 0; size < CLI_COUNT(sizes); size++)
        add(table, session, filter,
            (struct blocks_cell){.operation = FERRY_OPERATION_UPLOAD,
                                 .memory = BENCH_ALLOCATED,
                                 .block = sizes[size],
                                 .count = sizes[size] > 16 * KIB ? 1000 : 10000,
                                 .both = true});
}

/* --- one field -------------------------------------------------------------------------------- */

struct field {
    struct blocks_cell cell;
    struct blocks_list lists[BLOCKS_LISTS], rows; /* rows: in order */
    struct blocks_job jobs[JOBS_MAX];
    size_t count, rounds;
    struct bench_team *team;
};

static void add_job(struct field *field, struct bench_session *session, enum blocks_who who,
                    bool two)
{
    struct blocks_job *job = &field->jobs[field->count++];
    const char *why = NULL;
    *job = (struct blocks_job){
        .who = who, .cell = field->cell, .lists = field->lists, .team = field->team, .two = two};
    if (who == BLOCKS_ROWS)
        job->lists = &field->rows;
    if (who == BLOCKS_FERRY || who == BLOCKS_ROWS) {
        job->device = bench_session_device(
            session, &(struct bench_spec){.kind = BENCH_FERRY, .path = FERRY_PATH_AUTO}, false);
        why = job->device ? NULL : ferry_last_error();
    } else if (who != BLOCKS_MEMCPY) {
        job->peer = bench_peers[PEER_CUDA];
        job->peer_device = bench_session_peer(session, PEER_CUDA, false, &why);
    }
    if (why)
        snprintf(job->why, sizeof job->why, "%s", why);
    else
        (void)blocks_job_open(job);
}

/* Beside CUDA's own ways where that is the device, else beside memcpy. */
static bool set_up(struct field *field, struct bench_session *session)
{
    const struct blocks_cell *cell = &field->cell;
    const unsigned odd = cell->operation == FERRY_OPERATION_COPY; /* what is read lies between */
    const bool made =
        cell->both ? blocks_list_make(&field->lists[1], cell, FERRY_OPERATION_DOWNLOAD, 1, false)
                   : blocks_list_make(&field->rows, cell, cell->operation, odd, true);
    if (!made || !blocks_list_make(&field->lists[0], cell, cell->operation, odd, false))
        return false;
    if (cell->both && !(field->team = bench_team_create(2)))
        return false;
    add_job(field, session, BLOCKS_FERRY, false);
    add_job(field, session, cell->both ? BLOCKS_FERRY : BLOCKS_ROWS, cell->both);
    if (cell->both)
        return true;
    if (session->peer_why[PEER_CUDA][0] == 0)
        for (enum blocks_who who = BLOCKS_LOOP; who <= BLOCKS_KERNEL; who++)
            add_job(field, session, who, false);
    else
        add_job(field, session, BLOCKS_MEMCPY, false);
    return true;
}

static void give_back(struct field *field)
{
    for (size_t i = 0; i < field->count; i++)
        blocks_job_close(&field->jobs[i]);
    bench_team_destroy(field->team);
    for (unsigned i = 0; i < BLOCKS_LISTS; i++)
        blocks_list_free(&field->lists[i]);
    blocks_list_free(&field->rows);
}

static enum cli_exit measure(struct field *field, const struct bench_plan *plan, uint64_t budget_ns)
{
    struct bench_way *ways[JOBS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < field->count; i++)
        if (field->jobs[i].measured)
            ways[count++] = &field->jobs[i].way;
    if (!field->jobs[0].measured || count == 0) {
        cli_complain("bench: %s", field->jobs[0].why);
        return CLI_DEVICE;
    }
    field->rounds = plan->iterations > 0 ? bench_measure_rounds(ways, count, plan->iterations)
                                         : bench_measure(ways, count, budget_ns);
    for (size_t i = 0; i < field->count; i++) {
        struct blocks_job *job = &field->jobs[i];
        if (job->measured && (field->rounds == 0 || !blocks_job_check(job))) {
            cli_complain("bench: %s", job->why);
            return field->rounds == 0 ? CLI_DEVICE : CLI_CHECK;
        }
    }
    return CLI_DONE;
}

enum cli_exit bench_blocks(struct bench_session *session, const struct bench_plan *plan,
                           const struct bench_filter *filter)
{
    struct table table = {.count = 0};
    struct progress progress;
    enum cli_exit end = CLI_DONE;
    make_table(&table, session, filter);
    progress_start(&progress, "bench", plan->quiet);
    blocks_rows_begin(session, plan);
    for (size_t i = 0; i < table.count && end == CLI_DONE; i++) {
        struct field field = {.cell = table.cells[i]};
        if (set_up(&field, session))
            end = measure(&field, plan, plan->budget_ns / table.count);
        else
            end = CLI_DEVICE;
        progress_stop(&progress);
        if (end == CLI_DONE)
            blocks_rows_print(plan, field.jobs, field.count, field.rounds, i == 0);
        give_back(&field);
        progress_steps(&progress, i + 1, table.count, "fields");
    }
    blocks_rows_end(plan);
    return end;
}
