/* ferry triton: the backend "ferry" in a Triton server of this process, every byte compared. */
#include "triton.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char how_to_get[] =
    "A server library is libtritonserver.so: in the container images of the Triton Inference\n"
    "Server it is /opt/tritonserver/lib/libtritonserver.so; run this command there, or build the\n"
    "server's core from source (docs/triton.md). --backends names a folder with ferry/ in it, and\n"
    "in that libtriton_ferry.so.";

/* What Triton calls the parts of a request's time, in the order in which they come. */
static const struct {
    const char *name, *label;
} phases[] = {
    {"queue", "queue"},
    {"compute_input", "gather"},
    {"compute_infer", "work"},
    {"compute_output", "scatter"},
};

/* The number at the end of this path of keys in the server's own JSON, each looked for behind the
 * one before; 0: there is none. */
static uint64_t number_at(const char *json, const char *const *keys, size_t count)
{
    char quoted[CLI_TEXT_MAX];
    for (size_t i = 0; i < count && json; i++) {
        snprintf(quoted, sizeof quoted, "\"%s\"", keys[i]);
        json = strstr(json, quoted);
        if (json)
            json += strlen(quoted);
    }
    return json ? strtoull(json + strspn(json, ": \t\n"), NULL, 10) : 0;
}

static uint64_t of_phase(const char *statistics, const char *phase, const char *key)
{
    return number_at(statistics, (const char *[]){"inference_stats", phase, key}, 3);
}

static void print_phases(FILE *out, const char *statistics)
{
    char text[CLI_TEXT_MAX];
    if (!statistics) {
        fputs("\nTriton's statistics: this server keeps none\n", out);
        return;
    }
    fprintf(out,
            "\nTriton's statistics\n  requests %llu in %llu executions; a request's time in the "
            "mean:\n",
            (unsigned long long)number_at(statistics, (const char *[]){"inference_count"}, 1),
            (unsigned long long)number_at(statistics, (const char *[]){"execution_count"}, 1));
    for (size_t i = 0; i < CLI_COUNT(phases); i++) {
        uint64_t count = of_phase(statistics, phases[i].name, "count");
        uint64_t ns = of_phase(statistics, phases[i].name, "ns");
        fprintf(out, "  %-16s %-8s %s\n", phases[i].name, phases[i].label,
                cli_time(text, count > 0 ? ns / count : 0));
    }
}

/* A metric's line: its name with labels, and its value; false: it is none of Ferry's, or 0. */
static bool read_metric(const char *line, size_t length, size_t *out_name)
{
    size_t name = length;
    while (name > 0 && line[name - 1] != ' ')
        name--;
    *out_name = name;
    return name > 1 && strncmp(line, "ferry_", strlen("ferry_")) == 0 &&
           strtod(line + name, NULL) != 0;
}

static void print_metrics(FILE *out, const char *metrics, bool json)
{
    bool any = false;
    while (metrics && *metrics != 0) {
        size_t length = strcspn(metrics, "\n"), name = 0;
        bool is_bucket =
            strstr(metrics, "_bucket{") && (size_t)(strstr(metrics, "_bucket{") - metrics) < length;
        if (read_metric(metrics, length, &name) && json) {
            char copy[512];
            snprintf(copy, sizeof copy, "%.*s", (int)(name - 1), metrics);
            fputs(any ? ", " : "", out);
            cli_json_string(out, copy);
            fprintf(out, ": %.*s", (int)(length - name), metrics + name);
            any = true;
        } else if (read_metric(metrics, length, &name) && !is_bucket) {
            fprintf(out, "  %.*s\n", (int)length, metrics);
        }
        metrics += length + (metrics[length] != 0);
    }
}

/* --- the two forms of the report -------------------------------------------------------------- */

static void print_text(FILE *out, const struct triton_options *options,
                       const struct triton_server *server, const struct ferry_device_info *info,
                       const struct triton_result *result, const char *statistics,
                       const char *metrics)
{
    char bytes[CLI_TEXT_MAX], time[CLI_TEXT_MAX], median[CLI_TEXT_MAX], worst[CLI_TEXT_MAX];
    char shown[CLI_SHOWN_MAX];
    fprintf(out, "server   %s (TRITONSERVER API %u.%u)\ndevice   %s (%s), instance of kind %s\n",
            cli_show(shown, options->server), server->major, server->minor, info->name,
            info->description, options->kind);
    fprintf(out, "requests %llu of %s, %llu at a time, every byte compared, in %s\n",
            (unsigned long long)result->done, cli_size(bytes, options->bytes),
            (unsigned long long)options->concurrency, cli_time(time, result->time_ns));
    fprintf(out,
            "rate     %.0f requests/s, %.3f GB/s in and as much out; a request takes %s (median), "
            "%s (worst)\n",
            result->time_ns > 0 ? (double)result->done * 1e9 / (double)result->time_ns : 0,
            cli_rate(result->done * options->bytes, result->time_ns),
            cli_time(median, result->median_ns), cli_time(worst, result->worst_ns));
    print_phases(out, statistics);
    fprintf(out, "\nFerry's metrics in the server's%s\n",
            metrics ? "" : ": this server has no metrics");
    print_metrics(out, metrics, false);
}

static void print_json(FILE *out, const struct triton_options *options,
                       const struct triton_server *server, const struct ferry_device_info *info,
                       const struct triton_result *result, const char *statistics,
                       const char *metrics)
{
    fputs("{\"server\": ", out);
    cli_json_string(out, options->server);
    fprintf(out, ", \"api\": \"%u.%u\", \"device\": ", server->major, server->minor);
    cli_json_string(out, info->name);
    fprintf(out,
            ", \"kind\": \"%s\", \"requests\": %llu, \"concurrency\": %llu, \"bytes\": %llu, "
            "\"time_ns\": %llu, \"median_ns\": %llu, \"worst_ns\": %llu,\n \"statistics\": %s,\n "
            "\"metrics\": ",
            options->kind, (unsigned long long)result->done,
            (unsigned long long)options->concurrency, (unsigned long long)options->bytes,
            (unsigned long long)result->time_ns, (unsigned long long)result->median_ns,
            (unsigned long long)result->worst_ns, statistics ? statistics : "null");
    fputs(metrics ? "{" : "null", out);
    print_metrics(out, metrics, true);
    fputs(metrics ? "}}\n" : "}\n", out);
}

/* Writes the report, all of it: what becomes of the server after this does not matter to it. */
static enum cli_exit tell(FILE *out, const struct triton_options *options,
                          const struct triton_server *server, ferry_device *device,
                          const struct triton_result *result, char *why)
{
    struct ferry_device_info info;
    char *statistics = NULL;
    if (!triton_statistics(server, &statistics, why))
        return CLI_DEVICE;
    char *metrics = triton_metrics(server);
    ferry_device_get_info(device, &info);
    if (options->json)
        print_json(out, options, server, &info, result, statistics, metrics);
    else
        print_text(out, options, server, &info, result, statistics, metrics);
    free(metrics);
    free(statistics);
    if (fflush(out) == 0 && !ferror(out))
        return CLI_DONE;
    snprintf(why, CLI_WHY_MAX, "cannot write the output: %s", strerror(errno));
    return CLI_DEVICE;
}

static enum cli_exit run(FILE *out, const struct triton_options *options)
{
    struct triton_server server = {.repository = ""};
    struct triton_result result = {0};
    ferry_device *device = NULL;
    char why[CLI_WHY_MAX] = "", late[CLI_WHY_MAX] = "";
    enum cli_exit end = CLI_DEVICE;
    if (triton_server_open(&server, options->server, why) &&
        triton_good(ferry_triton_device(options->device, &device), "the device", why) &&
        triton_server_start(&server, options, ferry_triton_device_id(device), why)) {
        end = triton_drive(&server, options, device, &result, why);
        if (end == CLI_DONE)
            end = tell(out, options, &server, device, &result, why);
    }
    if (end != CLI_DONE)
        cli_complain("triton: %s", why);
    ferry_triton_device_release(device);
    if (!triton_server_close(&server, late)) {
        cli_complain("triton: %s", late);
        end = cli_worse(end, CLI_DEVICE);
    }
    return end;
}

/* The report goes where stdout went; what the server prints to stdout, its log, goes to stderr. */
static FILE *take_stdout(void)
{
    fflush(stdout);
    int own = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    FILE *out = own >= 0 ? fdopen(own, "w") : NULL;
    if (!out || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return NULL;
    return out;
}

static enum cli_exit run_apart(const struct triton_options *options)
{
    FILE *out = take_stdout();
    if (!out) {
        cli_complain("triton: cannot write the output: %s", strerror(errno));
        return CLI_DEVICE;
    }
    enum cli_exit end = run(out, options);
    fclose(out);
    return end;
}

static const char text[] =
    "Starts a Triton server in this process, loads the backend \"ferry\" with a model whose\n"
    "output is its input, sends requests, and compares every byte that comes back. Prints the\n"
    "throughput (making and comparing the bytes included), Triton's statistics and Ferry's\n"
    "metrics.";

static const char examples[] =
    "  ferry triton --server /opt/tritonserver/lib/libtritonserver.so --backends build/backends\n"
    "  ferry triton --server LIB --backends DIR --requests 10000 --concurrency 64 --bytes 4096\n"
    "  ferry triton --server LIB --backends DIR --private --json\n";

enum cli_exit cli_triton(int argc, char **argv)
{
    struct triton_options given = {
        .kind = "cpu", .requests = 1000, .concurrency = 16, .bytes = 65536};
    const struct cli_option options[] = {
        {"server", CLI_TEXT, &given.server, "LIB", "the server library, libtritonserver.so"},
        {"backends", CLI_TEXT, &given.backends, "DIR", "the folder with ferry/libtriton_ferry.so"},
        {"requests", CLI_NUMBER, &given.requests, "N", "send N requests (1000)"},
        {"concurrency", CLI_NUMBER, &given.concurrency, "C", "keep C in flight (16)"},
        {"bytes", CLI_SIZE, &given.bytes, "B", "the size of each request (64K)"},
        {"device", CLI_TEXT, &given.device, "NAME", "the device (ferry devices)"},
        {"kind", CLI_TEXT, &given.kind, "KIND", "the model's instance: cpu, model or gpu (cpu)"},
        {"private", CLI_FLAG, &given.private_outputs, NULL, "keep the outputs in private memory"},
        {"json", CLI_FLAG, &given.json, NULL, "print JSON instead of text"},
    };
    const struct cli_manual manual = {.name = "triton",
                                      .text = text,
                                      .examples = examples,
                                      .options = options,
                                      .option_count = CLI_COUNT(options)};
    int first = 0;
    enum cli_exit end = CLI_DONE;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;
    if (!given.server || !given.backends) {
        cli_complain("triton: --%s is missing", !given.server ? "server" : "backends");
        fprintf(stderr, "%s\n", how_to_get);
        return CLI_USAGE;
    }
    for (const char *at = given.device; at && *at != 0; at++) {
        if (!isalnum((unsigned char)*at) && *at != ':' && *at != '_') {
            cli_complain("triton: no device is called \"%s\"", given.device);
            return CLI_USAGE;
        }
    }
    if (strcmp(given.kind, "cpu") != 0 && strcmp(given.kind, "model") != 0 &&
        strcmp(given.kind, "gpu") != 0) {
        cli_complain("triton: --kind takes cpu, model or gpu, not \"%s\"", given.kind);
        return CLI_USAGE;
    }
    return run_apart(&given);
}
