/* ferry bench --wire: how fast private memory gets to that of another machine. */
#include "wire.h"

#include <stdlib.h>

enum { ROUNDS = 5 };
#define ROUND_NS UINT64_C(400000000) /* a round at least, once it is known how long one takes */

static const struct size_row {
    uint64_t size, at_once;
} rows[] = {{64, 64}, {4 << 10, 64}, {64 << 10, 32}, {1 << 20, 8}, {16 << 20, 4}, {64 << 20, 3}};

/* What is to be measured. */
struct wire_job {
    const struct size_row *rows;
    size_t count;
    uint64_t round_ns;
    bool json;
};

struct leaving {
    struct wire_end *end;
    const struct size_row *row;
};

static enum ferry_status start_message(void *user, uint64_t turn, ferry_ticket *out_ticket)
{
    const struct leaving *leaving = user;
    const uint64_t size = leaving->row->size;
    return ferry_send_async(leaving->end->peer, WIRE_TAG, leaving->end->buffer, (size_t)size,
                            (size_t)(turn % leaving->row->at_once * size), NULL, NULL, out_ticket);
}

/* Sends count messages, and waits for all. */
static enum ferry_status send_all(struct wire_end *end, const struct size_row *row, uint64_t count)
{
    const struct wire_header header = {WIRE_BENCH, row->size, row->at_once, count};
    struct leaving leaving = {end, row};
    const enum ferry_status status = wire_send_header(end, &header);
    return status ? status : wire_in_turns(end, count, row->at_once, start_message, &leaving);
}

/* The median time of a message. */
static enum ferry_status measure(struct wire_end *end, const struct size_row *row,
                                 uint64_t round_ns, uint64_t *out_ns)
{
    uint64_t times[ROUNDS], count = row->at_once;
    enum ferry_status status = wire_end_buffer(end, row->at_once * row->size);
    if (!status)
        status = ferry_zero_buffer(end->buffer);
    for (int round = -2; round < ROUNDS && !status; round++) {
        const uint64_t began_ns = cli_now_ns();
        status = send_all(end, row, count);
        const uint64_t taken = cli_now_ns() - began_ns;
        if (round >= 0)
            times[round] = taken * 1000 / count;
        else if (taken < round_ns)
            count = taken > 0 ? count * (round_ns / taken + 1) : count * 2;
    }
    *out_ns = cli_median(times, ROUNDS);
    return status;
}

static void tell_row(const struct size_row *row, uint64_t picoseconds, bool json, bool first)
{
    char size[CLI_TEXT_MAX];
    const double ns = (double)picoseconds * 1e-3;
    if (json)
        printf("%s\n  {\"size\": %llu, \"in_flight\": %llu, \"messages_per_second\": %.1f, "
               "\"bytes_per_second\": %.0f}",
               first ? "" : ",", (unsigned long long)row->size, (unsigned long long)row->at_once,
               1e9 / ns, (double)row->size * 1e9 / ns);
    else
        printf("%10s %10llu %14.0f %10.3f\n", cli_size(size, row->size),
               (unsigned long long)row->at_once, 1e9 / ns, (double)row->size / ns);
    fflush(stdout);
}

static enum cli_exit measure_all(struct wire_end *end, const struct wire_job *job)
{
    struct ferry_device_info device;
    ferry_device_get_info(end->device, &device);
    if (job->json) {
        cli_json_head(stdout, "bench");
        cli_json_device(stdout, &device);
        fputs(" \"wire\": {", stdout);
        wire_json_way(end);
        fputs(", \"rows\": [", stdout);
    } else {
        printf("from private memory of %s to that of %s, by %s on %s\n"
               "%10s %10s %14s %10s\n",
               device.name, end->info.address, end->info.transports, end->info.interface, "size",
               "in flight", "messages/s", "GB/s");
    }
    for (size_t i = 0; i < job->count; i++) {
        uint64_t picoseconds = 0;
        if (measure(end, &job->rows[i], job->round_ns, &picoseconds)) {
            cli_complain("bench: %s", ferry_last_error());
            return CLI_DEVICE;
        }
        tell_row(&job->rows[i], picoseconds, job->json, i == 0);
    }
    if (job->json)
        puts("]}}");
    return CLI_DONE;
}

/* One size: as many at once as of the largest row that is no larger. */
static struct size_row row_of(uint64_t size)
{
    size_t i = CLI_COUNT(rows) - 1;
    while (i > 0 && rows[i].size > size)
        i--;
    return (struct size_row){size, rows[i].at_once};
}

enum cli_exit wire_bench(const struct wire_options *options, const char *address, uint64_t size,
                         uint64_t time_ns, bool json)
{
    const struct wire_header last = {WIRE_END, 0, 0, 0};
    const struct size_row only = row_of(size);
    struct wire_job job = {rows, CLI_COUNT(rows), ROUND_NS, json};
    struct wire_end end;
    if (size > WIRE_BENCH_MAX) {
        cli_complain("bench: --wire measures sizes up to 1G");
        return CLI_USAGE;
    }
    if (size > 0) {
        job.rows = &only;
        job.count = 1;
    }
    if (time_ns > 0)
        job.round_ns = time_ns / (job.count * ROUNDS);
    enum cli_exit result = wire_end_open(&end, "bench", options, NULL);
    if (result == CLI_DONE)
        result = wire_end_connect(&end, "bench", address);
    if (result == CLI_DONE)
        result = measure_all(&end, &job);
    if (result == CLI_DONE && wire_send_header(&end, &last)) {
        cli_complain("bench: %s", ferry_last_error());
        result = CLI_DEVICE;
    }
    wire_end_close(&end);
    return result;
}
