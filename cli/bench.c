/* ferry bench: how fast the device is, beside memcpy, the seed's design and the targets. */
#include "bench.h"

/* Leaves time for making and checking what is measured within 40 s. */
#define QUICK_NS 26000000000u
#define TABLE_NS 90000000000u

struct options {
    const char *device_name;
    uint64_t time_ns; /* 0: not given */
    bool quick, large, no_peers, json, csv;
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
    if (given->json && given->csv)
        return "--json and --csv are two formats";
    if (given->quick && given->csv)
        return "--quick has no --csv";
    if (given->quick && given->large)
        return "--quick has no --large";
    return NULL;
}

static enum cli_exit bench_device(const struct options *given)
{
    const enum bench_format format = given->json ? BENCH_JSON : given->csv ? BENCH_CSV : BENCH_TEXT;
    const uint64_t usual_ns = given->quick ? QUICK_NS : TABLE_NS;
    const uint64_t budget_ns = given->time_ns > 0 ? given->time_ns : usual_ns;
    struct bench_session session;
    enum cli_exit end = CLI_DEVICE;
    if (bench_session_open(&session, given->device_name, !given->no_peers))
        end = given->quick ? bench_quick(&session, budget_ns, format)
                           : bench_table(&session, budget_ns, given->large, format);
    bench_session_close(&session);
    return end;
}

static const char text[] =
    "Measures how fast bytes travel, beside memcpy by one thread and by two and beside the seed's\n"
    "design, and compares the bytes. Contestants take turns, so that what else the machine does\n"
    "hits all alike. docs/benchmarks.md tells how it measures and how to read it.";

static const char examples[] = "  ferry bench --quick\n"
                               "  ferry bench --device host --csv > table.csv\n"
                               "  ferry bench --quick --device vulkan --json > targets.json\n";

enum cli_exit cli_bench(int argc, char **argv)
{
    struct options given = {.time_ns = 0};
    const struct cli_option options[] = {
        {"quick", CLI_FLAG, &given.quick, NULL, "the targets, each met or missed, within 40 s"},
        {"device", CLI_TEXT, &given.device_name, "NAME", "the device (ferry devices)"},
        {"seconds", CLI_SECONDS, &given.time_ns, "S", "measure for about so long in all"},
        {"large", CLI_FLAG, &given.large, NULL, "also 1 GiB"},
        {"no-peers", CLI_FLAG, &given.no_peers, NULL, "only Ferry, memcpy and the seed's design"},
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
    if (clash != NULL) {
        cli_complain("bench: %s (ferry bench --help)", clash);
        return CLI_USAGE;
    }
    return bench_device(&given);
}
