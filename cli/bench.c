/* ferry bench: how fast the device is, beside memcpy, the seed's design and the targets. */
#include "bench.h"

/* Leaves time for making and checking what is measured within 40 s. */
#define QUICK_NS 26000000000u

struct options {
    const char *device_name;
    uint64_t time_ns; /* 0: not given */
    bool quick, json;
};

void bench_print_device(const struct bench_session *session)
{
    printf("device: %s (%s)\n", session->info.name, session->info.description);
    printf("how:    medians of rounds (a tenth of them lies below, a tenth above what is in "
           "brackets); up to 1 MiB %s\n\n",
           session->pins ? "pinned to one CPU" : "not pinned, so that small sizes vary");
}

void bench_json_device(const struct bench_session *session)
{
    printf("\"ferry\": \"%u.%u.%u\",\n \"device\": {\"name\": ", ferry_version() >> 16,
           ferry_version() >> 8 & 0xff, ferry_version() & 0xff);
    cli_json_string(stdout, session->info.name);
    fputs(", \"description\": ", stdout);
    cli_json_string(stdout, session->info.description);
    printf(", \"kind\": \"%s\"},\n \"pinned\": %s,\n", cli_kind_name(session->info.kind),
           session->pins ? "true" : "false");
}

static const char text[] =
    "Measures how fast bytes travel, beside memcpy by one thread and by two and beside the seed's\n"
    "design, and compares them. Contestants take turns, so that a busy machine is as busy for all.\n"
    "docs/benchmarks.md tells how it measures and how to read it.";

static const char examples[] = "  ferry bench --quick\n"
                               "  ferry bench --quick --device vulkan --json > targets.json\n";

enum cli_exit cli_bench(int argc, char **argv)
{
    struct options given = {.time_ns = 0};
    const struct cli_option options[] = {
        {"quick", CLI_FLAG, &given.quick, NULL, "the targets, each met or missed, within 40 s"},
        {"device", CLI_TEXT, &given.device_name, "NAME", "the device (ferry devices)"},
        {"seconds", CLI_SECONDS, &given.time_ns, "S", "measure for about so long in all"},
        {"json", CLI_FLAG, &given.json, NULL, "print JSON instead of lines"},
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
    struct bench_session session;
    end = CLI_DEVICE;
    if (bench_session_open(&session, given.device_name))
        end = bench_quick(&session, given.time_ns > 0 ? given.time_ns : QUICK_NS,
                          given.json ? BENCH_JSON : BENCH_TEXT);
    bench_session_close(&session);
    return end;
}
