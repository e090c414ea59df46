/* ferry bench: how fast the device is, beside memcpy, a naive upload and the targets. */
#include "bench_blocks.h"
#include "wire.h"

#include <string.h>

/* Leaves time for making and checking what is measured within 40 s. */
#define QUICK_NS 26000000000u
#define TABLE_NS 90000000000u

struct options {
    const char *device_name, *format, *operation, *path, *record;
    const char *wire; /* where a ferry receive listens */
    struct wire_options wire_options;
    uint64_t time_ns; /* 0: not given */
    uint64_t size, iterations;
    bool quick, large, blocks, no_peers, both_ways, json, csv;
};

void bench_print_device(const struct bench_session *session)
{
    printf("device: %s (%s)\n", session->info.name, session->info.description);
    printf("how:    medians of rounds (a tenth of them lies below, a tenth above what is in "
           "brackets); up to 1 MiB %s\n",
           session->pins ? "pinned to one CPU" : "not pinned, so that small sizes vary");
    for (enum peer_id peer = 0; peer < PEER_COUNT; peer++) {
        const char *why = session->peer_why[peer];
        printf("%s  %s%s%s\n", peer == 0 ? "peers:" : "      ", bench_peers[peer]->name,
               why[0] != 0 ? ": not measured: " : "", why);
    }
    puts("");
}

void bench_json_device(const struct bench_session *session)
{
    printf("\"ferry\": \"%s\",\n \"device\": {\"name\": ", ferry_version_string());
    cli_json_string(stdout, session->info.name);
    fputs(", \"description\": ", stdout);
    cli_json_string(stdout, session->info.description);
    printf(", \"kind\": \"%s\"},\n \"pinned\": %s,\n \"peers\": [\n",
           ferry_device_kind_name(session->info.kind), session->pins ? "true" : "false");
    for (enum peer_id peer = 0; peer < PEER_COUNT; peer++) {
        const char *why = session->peer_why[peer];
        printf("  {\"name\": \"%s\", \"measured\": %s", bench_peers[peer]->name,
               why[0] != 0 ? "false, \"why\": " : "true");
        if (why[0] != 0)
            cli_json_string(stdout, why);
        printf("}%s\n", peer + 1 < PEER_COUNT ? "," : "],");
    }
}

/* Options that say two things at once; NULL: none do. */
static const char *find_clash(const struct options *given)
{
    if (given->json + given->csv + (given->format != NULL) > 1)
        return "--json, --csv and --format are two formats";
    if (given->wire && (given->quick || given->csv || given->blocks || given->both_ways ||
                        given->operation || given->path || given->record || given->format))
        return "--wire has --device, --seconds, --size, --secret-file, --transports and --json "
               "only";
    if (!given->wire && (given->wire_options.secret_file || given->wire_options.transports))
        return "--secret-file and --transports are of --wire";
    if (given->quick && given->csv)
        return "--quick has no --csv";
    if (given->quick && given->large)
        return "--quick has no --large";
    if (given->quick &&
        (given->size > 0 || given->operation || given->path || given->both_ways || given->record))
        return "--quick measures all targets: it has no --size, --operation, --path, --both-ways "
               "and --compare";
    if (given->blocks && (given->quick || given->path || given->record))
        return "--blocks has no --quick, --path and --compare";
    if (given->both_ways && given->operation)
        return "--both-ways is of uploads and downloads: it has no --operation";
    return NULL;
}

/* The index of a word among names; -1: it is none, or not given, which *good tells apart. */
static int choose(const char *option, const char *word, const char *(*name_of)(int), int count,
                  bool *good)
{
    char names[128] = "";
    if (!word)
        return -1;
    for (int i = 0; i < count; i++) {
        if (strcmp(word, name_of(i)) == 0)
            return i;
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                 i == 0          ? ""
                 : i + 1 < count ? ", "
                                 : " or ",
                 name_of(i));
    }
    cli_complain("bench: --%s takes %s, not \"%s\"", option, names, word);
    *good = false;
    return -1;
}

static const char *format_name(int format)
{
    static const char *const names[] = {[BENCH_TEXT] = "text",
                                        [BENCH_JSON] = "json",
                                        [BENCH_CSV] = "csv",
                                        [BENCH_MARKDOWN] = "markdown"};
    return names[format];
}

static const char *operation_name(int operation)
{
    return ferry_operation_name((enum ferry_operation)operation);
}

static const char *path_name(int path)
{
    return ferry_path_name((enum ferry_path)path);
}

static enum cli_exit bench_device(const struct options *given, const struct bench_plan *plan,
                                  const struct bench_filter *filter)
{
    struct bench_session session;
    enum cli_exit end = CLI_DEVICE;
    if (bench_session_open(&session, given->device_name, !given->no_peers))
        end = given->quick    ? bench_quick(&session, plan)
              : given->blocks ? bench_blocks(&session, plan, filter)
                              : bench_table(&session, plan, filter);
    bench_session_close(&session);
    return end;
}

static enum cli_exit run(const struct options *given)
{
    bool good = true;
    const struct bench_filter filter = {
        .size = given->size,
        .operation =
            choose("operation", given->operation, operation_name, FERRY_OPERATION_COUNT, &good),
        .path = choose("path", given->path, path_name, FERRY_PATH_IMPORTED + 1, &good),
        .both_ways = given->both_ways,
        .large = given->large,
    };
    const int format = choose("format", given->format, format_name, BENCH_MARKDOWN + 1, &good);
    struct bench_plan plan = {
        .budget_ns = given->time_ns > 0 ? given->time_ns
                     : given->quick     ? QUICK_NS
                                        : TABLE_NS,
        .iterations = given->iterations,
        .format = given->json  ? BENCH_JSON
                  : given->csv ? BENCH_CSV
                               : BENCH_TEXT,
    };
    char why[CLI_WHY_MAX];
    if (format >= 0)
        plan.format = (enum bench_format)format;
    if (given->blocks && plan.format == BENCH_MARKDOWN) {
        cli_complain("bench: --blocks has text, JSON and CSV only");
        return CLI_USAGE;
    }
    if (given->quick && (plan.format == BENCH_CSV || plan.format == BENCH_MARKDOWN)) {
        cli_complain("bench: --quick has text and JSON only");
        return CLI_USAGE;
    }
    if (!good)
        return CLI_USAGE;
    if (given->record) {
        plan.record = bench_record_read(given->record, why);
        if (!plan.record) {
            cli_complain("bench: %s", why);
            return CLI_DEVICE;
        }
    }
    const enum cli_exit end = bench_device(given, &plan, &filter);
    bench_record_free((struct bench_record *)plan.record);
    return end;
}

static const char text[] =
    "Measures how fast bytes travel, and compares the bytes. For comparison it also runs memcpy\n"
    "with one and with two threads, and a naive upload, which allocates everything again in each\n"
    "call. They take turns, so that other load on the machine slows all of them alike.\n"
    "docs/benchmarks.md explains how to read the table.";

static const char examples[] = "  ferry bench --quick\n"
                               "  ferry bench --size 4M --operation upload\n"
                               "  ferry bench --blocks --size 4K\n"
                               "  ferry bench --device host --csv > table.csv\n"
                               "  ferry bench --device host --compare table.csv\n"
                               "  ferry bench --quick --device vulkan --json > targets.json\n"
                               "  ferry bench --wire 127.0.0.1:7700\n";

enum cli_exit cli_bench(int argc, char **argv)
{
    struct options given = {.time_ns = 0};
    const struct cli_option options[] = {
        {"quick", CLI_FLAG, &given.quick, NULL, "only the targets, met or missed, within 40 s"},
        {"blocks", CLI_FLAG, &given.blocks, NULL, "scattered blocks of an arena: sizes by counts"},
        {"device", CLI_TEXT, &given.device_name, "NAME", "the device (ferry devices)"},
        {"seconds", CLI_SECONDS, &given.time_ns, "S", "measure for about S seconds in all"},
        {"large", CLI_FLAG, &given.large, NULL, "also measure 1 GiB"},
        {"size", CLI_SIZE, &given.size, "BYTES", "this size only: 4096, 64K, 16M, 1G"},
        {"operation", CLI_TEXT, &given.operation, "NAME", "upload, download, copy or fill only"},
        {"path", CLI_TEXT, &given.path, "PATH", "this path only, and memcpy"},
        {"both-ways", CLI_FLAG, &given.both_ways, NULL,
         "only uploads and downloads at the same time"},
        {"iterations", CLI_NUMBER, &given.iterations, "N",
         "N rounds of each, however long they take"},
        {"compare", CLI_TEXT, &given.record, "FILE",
         "compare with an earlier run, printed by --csv"},
        {"no-peers", CLI_FLAG, &given.no_peers, NULL, "only Ferry, memcpy and a naive upload"},
        {"format", CLI_TEXT, &given.format, "FORMAT", "text, json, csv or markdown"},
        {"wire", CLI_TEXT, &given.wire, "ADDR", "the connection to a ferry receive"},
        {"secret-file", CLI_TEXT, &given.wire_options.secret_file, "FILE",
         "the secret that both ends share"},
        {"transports", CLI_TEXT, &given.wire_options.transports, "LIST",
         "UCX's transports: tcp, posix, rc"},
        {"json", CLI_FLAG, &given.json, NULL, "print JSON instead of lines"},
        {"csv", CLI_FLAG, &given.csv, NULL, "print CSV instead of lines"},
    };
    const struct cli_manual manual = {
        .name = "bench",
        .text = text,
        .examples = examples,
        .options = options,
        .option_count = CLI_COUNT(options),
    };
    int first = 0;
    enum cli_exit end = CLI_DONE;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;
    const char *clash = find_clash(&given);
    if (clash) {
        cli_complain("bench: %s (ferry bench --help)", clash);
        return CLI_USAGE;
    }
    if (given.wire) {
        given.wire_options.device_name = given.device_name;
        return wire_bench(&given.wire_options, given.wire, given.size, given.time_ns, given.json);
    }
    return run(&given);
}
