/* ferry load: what it found and did, as tables and as JSON. */
#include "load.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

bool load_shows(const struct load *load, const struct ferry_tensor_info *tensor)
{
    return !load->match || fnmatch(load->match, tensor->name, 0) == 0;
}

static void print_shape(const struct ferry_tensor_info *tensor, const char *separator)
{
    for (uint32_t i = 0; i < tensor->rank; i++)
        printf("%s%" PRIu64, i == 0 ? "" : separator, tensor->shape[i]);
}

/* --- tables ----------------------------------------------------------------------------------- */

static uint64_t offset_of(const struct cargo *cargo, size_t i,
                          const struct ferry_tensor_info *tensor)
{
    return cargo->places ? cargo->places[i].offset : tensor->arena_offset;
}

static void print_head(const struct cargo *cargo)
{
    const struct ferry_model_info *info = &cargo->info;
    char bytes[CLI_TEXT_MAX], shown[CLI_SHOWN_MAX];
    if (info->format == FERRY_MODEL_BYTES)
        printf("%s: not a model: %s plain bytes (%s)\n", cli_show(shown, cargo->name),
               cargo->places ? "moved as" : "it is", cli_size(bytes, info->bytes));
    else
        printf("%s: %s, %zu tensor%s, %s in %zu file%s\n", cli_show(shown, cargo->name),
               ferry_model_format_name(info->format), info->tensors, info->tensors == 1 ? "" : "s",
               cli_size(bytes, info->bytes), info->files, info->files == 1 ? "" : "s");
}

static void print_table(const struct load *load, const struct cargo *cargo)
{
    const struct ferry_model_info *info = &cargo->info;
    char shown[CLI_SHOWN_MAX];
    print_head(cargo);
    if (load->list)
        load_print_metadata(cargo);
    if (info->format == FERRY_MODEL_BYTES || info->tensors == 0)
        return;
    printf("  %14s %14s  %-8s name [shape]\n", "offset", "bytes", "type");
    for (size_t i = 0; i < info->tensors; i++) {
        const struct ferry_tensor_info tensor = load_tensor(cargo, i);
        if (!load_shows(load, &tensor))
            continue;
        printf("  %14" PRIu64 " %14" PRIu64 "  %-8s %s [", offset_of(cargo, i, &tensor),
               tensor.size, tensor.type, cli_show(shown, tensor.name));
        print_shape(&tensor, " ");
        puts("]");
    }
}

/* --- totals ----------------------------------------------------------------------------------- */

enum { TYPES_MAX = 64 };

struct totals {
    const char *types[TYPES_MAX]; /* the last stands for all that have no room of their own */
    size_t tensors[TYPES_MAX];
    uint64_t bytes[TYPES_MAX];
    size_t count;
};

static struct totals sum(const struct load *load, const struct cargo *cargo)
{
    struct totals totals = {.count = 0};
    for (size_t i = 0; i < cargo->info.tensors; i++) {
        const struct ferry_tensor_info tensor = load_tensor(cargo, i);
        size_t at = 0;
        if (!load_shows(load, &tensor))
            continue;
        while (at < totals.count && at < TYPES_MAX - 1 &&
               strcmp(totals.types[at], tensor.type) != 0)
            at++;
        totals.count += at == totals.count;
        totals.types[at] = at < TYPES_MAX - 1 ? tensor.type : "others";
        totals.tensors[at]++;
        totals.bytes[at] += tensor.size;
    }
    return totals;
}

static void print_totals(const struct load *load, const struct cargo *cargo)
{
    const struct totals totals = sum(load, cargo);
    char bytes[CLI_TEXT_MAX];
    for (size_t i = 0; i < totals.count; i++)
        printf("  %zu of type %s, %s\n", totals.tensors[i], totals.types[i],
               cli_size(bytes, totals.bytes[i]));
    printf("  in one buffer %s\n", cli_size(bytes, cargo->info.arena_size));
}

static void json_totals(const struct load *load, const struct cargo *cargo)
{
    const struct totals totals = sum(load, cargo);
    printf(", \"arena_bytes\": %" PRIu64 ", \"totals\": [", cargo->info.arena_size);
    for (size_t i = 0; i < totals.count; i++)
        printf("%s{\"type\": \"%s\", \"tensors\": %zu, \"bytes\": %" PRIu64 "}", i == 0 ? "" : ", ",
               totals.types[i], totals.tensors[i], totals.bytes[i]);
    fputs("]", stdout);
}

/* --- what was done ---------------------------------------------------------------------------- */

static void print_steps(const struct cargo *cargo)
{
    char bytes[CLI_TEXT_MAX], times[4][CLI_TEXT_MAX];
    printf("  opened in %s, memory made in %s\n", cli_time(times[0], cargo->open_ns),
           cli_time(times[1], cargo->make_ns));
    printf("  loaded %s in %s, %.2f GB/s", cli_size(bytes, cargo->info.bytes),
           cli_time(times[2], cargo->load_ns), cli_rate(cargo->info.bytes, cargo->load_ns));
    if (cargo->verified)
        printf("; read back in %s, every byte as in the file\n",
               cli_time(times[3], cargo->check_ns));
    else
        puts("; not read back (--verify)");
}

void load_tell(const struct load *load, const struct cargo *cargo, enum cli_exit end)
{
    if (end != CLI_DONE) {
        cli_complain("load: %s", cargo->why);
        return;
    }
    if (load->quiet)
        return;
    print_table(load, cargo);
    if (load->list) {
        print_totals(load, cargo);
        return;
    }
    print_steps(cargo);
    if (load->bench)
        load_bench_print(&cargo->bench, cargo->info.bytes);
}

/* Linux counts in KiB, macOS in bytes. */
static uint64_t peak_of_process(void)
{
    struct rusage usage;
    const uint64_t unit = LOAD_PEAK_UNIT;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * unit : 0;
}

void load_tell_peak(const struct load *load)
{
    struct ferry_stats stats;
    char staging[CLI_TEXT_MAX], process[CLI_TEXT_MAX], read[CLI_TEXT_MAX], direct[CLI_TEXT_MAX];
    ferry_device_get_stats(load->device, &stats, sizeof stats);
    const uint64_t peak = stats.staging_upload_peak_bytes + stats.staging_readback_peak_bytes;
    if (load->json)
        printf(", \"staging_peak_bytes\": %" PRIu64 ", \"process_peak_bytes\": %" PRIu64
               ", \"file_read_bytes\": %" PRIu64 ", \"file_read_direct_bytes\": %" PRIu64,
               peak, peak_of_process(), stats.file_read_bytes, stats.file_read_direct_bytes);
    else if (!load->quiet)
        printf("at most %s of staging; the process had %s at most; "
               "read %s from files, %s of it past the system's cache\n",
               cli_size(staging, peak), cli_size(process, peak_of_process()),
               cli_size(read, stats.file_read_bytes),
               cli_size(direct, stats.file_read_direct_bytes));
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void json_tensors(const struct load *load, const struct cargo *cargo)
{
    const char *separator = "\n    ";
    fputs(", \"tensors\": [", stdout);
    for (size_t i = 0; i < cargo->info.tensors; i++) {
        const struct ferry_tensor_info tensor = load_tensor(cargo, i);
        if (!load_shows(load, &tensor))
            continue;
        printf("%s{\"name\": ", separator);
        separator = ",\n    ";
        cli_json_string(stdout, tensor.name);
        printf(", \"type\": \"%s\", \"shape\": [", tensor.type);
        print_shape(&tensor, ", ");
        printf("], \"bytes\": %" PRIu64 ", \"offset\": %" PRIu64 ", \"file\": %zu, "
               "\"file_offset\": %" PRIu64 "}",
               tensor.size, offset_of(cargo, i, &tensor), tensor.file, tensor.file_offset);
    }
    fputs("]", stdout);
}

static void json_step(const char *before, const char *step, uint64_t bytes, uint64_t ns)
{
    printf("%s\n    {\"step\": \"%s\", \"bytes\": %" PRIu64
           ", \"seconds\": %.9f, \"bytes_per_second\": %.0f}",
           before, step, bytes, (double)ns / 1e9, cli_rate(bytes, ns) * 1e9);
}

static void json_steps(const struct load *load, const struct cargo *cargo)
{
    const uint64_t bytes = cargo->info.bytes;
    fputs(",\n   \"steps\": [", stdout);
    json_step("", "open", 0, cargo->open_ns);
    if (!load->list) {
        json_step(",", "make", bytes, cargo->make_ns);
        json_step(",", "load", bytes, cargo->load_ns);
    }
    if (cargo->verified)
        json_step(",", "compare", bytes, cargo->check_ns);
    fputs("]", stdout);
}

void load_json(const struct load *load, const struct cargo *cargo, enum cli_exit end)
{
    const struct ferry_model_info *info = &cargo->info;
    fputs("{\"file\": ", stdout);
    cli_json_string(stdout, cargo->name);
    printf(", \"exit\": %d", (int)end);
    if (end != CLI_DONE) {
        fputs(", \"error\": ", stdout);
        cli_json_string(stdout, cargo->why);
        fputs("}", stdout);
        return;
    }
    printf(", \"verified\": %s, \"format\": \"%s\", \"format_version\": %u, \"bytes\": %" PRIu64,
           cargo->verified ? "true" : "false", ferry_model_format_name(info->format), info->version,
           info->bytes);
    json_steps(load, cargo);
    fputs(",\n   \"parts\": [", stdout);
    for (size_t i = 0; i < info->files; i++) {
        fputs(i == 0 ? "" : ", ", stdout);
        cli_json_string(stdout, ferry_model_file_name(cargo->model, i));
    }
    fputs("]", stdout);
    if (load->list) {
        json_totals(load, cargo);
        load_json_metadata(cargo);
    }
    if (load->bench)
        load_bench_json(&cargo->bench);
    json_tensors(load, cargo);
    fputs("}", stdout);
}
