/* ferry triton: the backend "ferry" in a Triton server of this process, every byte compared. */
#include "triton.h"
#include "backend/json_tree.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

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

static const struct json *find_model(const struct json *statistics)
{
    const struct json *models = json_get(statistics, "model_stats");
    return models != NULL ? models->first : NULL;
}

static void print_phases(const struct json *model)
{
    const struct json *inference = json_get(model, "inference_stats");
    char text[CLI_TEXT_MAX];
    if (model == NULL) {
        puts("\nTriton's statistics: this server keeps none");
        return;
    }
    printf("\nTriton's statistics\n  requests %s in %s executions; a request's time in the mean:\n",
           json_text(json_get(model, "inference_count"), "0"),
           json_text(json_get(model, "execution_count"), "0"));
    for (size_t i = 0; i < CLI_COUNT(phases); i++) {
        const struct json *phase = json_get(inference, phases[i].name);
        uint64_t count = strtoull(json_text(json_get(phase, "count"), "0"), NULL, 10);
        uint64_t ns = strtoull(json_text(json_get(phase, "ns"), "0"), NULL, 10);
        printf("  %-16s %-8s %s\n", phases[i].name, phases[i].label,
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

static void print_metrics(const char *metrics, bool json)
{
    bool any = false;
    while (metrics != NULL && *metrics != 0) {
        size_t length = strcspn(metrics, "\n"), name = 0;
        bool is_bucket = strstr(metrics, "_bucket{") != NULL &&
                         (size_t)(strstr(metrics, "_bucket{") - metrics) < length;
        if (read_metric(metrics, length, &name) && json) {
            char copy[512];
            snprintf(copy, sizeof copy, "%.*s", (int)(name - 1), metrics);
            fputs(any ? ", " : "", stdout);
            cli_json_string(stdout, copy);
            printf(": %.*s", (int)(length - name), metrics + name);
            any = true;
        } else if (read_metric(metrics, length, &name) && !is_bucket) {
            printf("  %.*s\n", (int)length, metrics);
        }
        metrics += length + (metrics[length] != 0);
    }
}

/* --- the two forms of the report -------------------------------------------------------------- */

static void print_text(const struct triton_options *options, const struct triton_server *server,
                       const struct ferry_device_info *info, const struct triton_result *result,
                       const struct json *statistics, const char *metrics)
{
    char bytes[CLI_TEXT_MAX], time[CLI_TEXT_MAX], median[CLI_TEXT_MAX], worst[CLI_TEXT_MAX];
    char shown[CLI_SHOWN_MAX];
    printf("server   %s (TRITONSERVER API %u.%u)\ndevice   %s (%s), instance of kind %s\n",
           cli_show(shown, options->server), server->major, server->minor, info->name,
           info->description, options->kind);
    printf("requests %llu of %s, %llu at a time, every byte compared, in %s\n",
           (unsigned long long)result->done, cli_size(bytes, options->bytes),
           (unsigned long long)options->concurrency, cli_time(time, result->time_ns));
    printf("rate     %.0f requests/s, %.3f GB/s in and as much out; a request takes %s (median), "
           "%s (worst)\n",
           result->time_ns > 0 ? (double)result->done * 1e9 / (double)result->time_ns : 0,
           cli_rate(result->done * options->bytes, result->time_ns),
           cli_time(median, result->median_ns), cli_time(worst, result->worst_ns));
    print_phases(find_model(statistics));
    printf("\nFerry's metrics in the server's%s\n",
           metrics != NULL ? "" : ": this server has no metrics");
    print_metrics(metrics, false);
}

static void print_json(const struct triton_options *options, const struct triton_server *server,
                       const struct ferry_device_info *info, const struct triton_result *result,
                       const char *statistics, const char *metrics)
{
    fputs("{\"server\": ", stdout);
    cli_json_string(stdout, options->server);
    printf(", \"api\": \"%u.%u\", \"device\": ", server->major, server->minor);
    cli_json_string(stdout, info->name);
    printf(", \"kind\": \"%s\", \"requests\": %llu, \"concurrency\": %llu, \"bytes\": %llu, "
           "\"time_ns\": %llu, \"median_ns\": %llu, \"worst_ns\": %llu,\n \"statistics\": %s,\n "
           "\"metrics\": ",
           options->kind, (unsigned long long)result->done,
           (unsigned long long)options->concurrency, (unsigned long long)options->bytes,
           (unsigned long long)result->time_ns, (unsigned long long)result->median_ns,
           (unsigned long long)result->worst_ns, statistics != NULL ? statistics : "null");
    fputs(metrics != NULL ? "{" : "null", stdout);
    print_metrics(metrics, true);
    fputs(metrics != NULL ? "}}\n" : "}\n", stdout);
}

static enum cli_exit tell(const struct triton_options *options, const struct triton_server *server,
                          ferry_device *device, const struct triton_result *result, char *why)
{
    struct ferry_device_info info;
    char *statistics = NULL;
    if (!triton_statistics(server, &statistics, why))
        return CLI_DEVICE;
    char *metrics = triton_metrics(server);
    const char *wrong = NULL;
    struct json *parsed =
        statistics != NULL ? json_parse(statistics, strlen(statistics), &wrong) : NULL;
    ferry_device_get_info(device, &info);
    if (options->json)
        print_json(options, server, &info, result, statistics, metrics);
    else
        print_text(options, server, &info, result, parsed, metrics);
    json_free(parsed);
    free(metrics);
    free(statistics);
    return CLI_DONE;
}

static enum cli_exit run(const struct triton_options *options)
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
            end = tell(options, &server, device, &result, why);
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

static const char text[] =
    "Starts a Triton server in this process, loads the backend \"ferry\" with a model whose\n"
    "output is its input, sends requests, compares every byte that comes back, and tells the\n"
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
        {"concurrency", CLI_NUMBER, &given.concurrency, "C", "C of them at a time (16)"},
        {"bytes", CLI_NUMBER, &given.bytes, "B", "each of B bytes (65536)"},
        {"device", CLI_TEXT, &given.device, "NAME", "the device (ferry devices)"},
        {"kind", CLI_TEXT, &given.kind, "KIND", "the model's instance: cpu, model or gpu (cpu)"},
        {"private", CLI_FLAG, &given.private_outputs, NULL, "outputs in private memory"},
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
    if (given.server == NULL || given.backends == NULL) {
        cli_complain("triton: --%s is missing", given.server == NULL ? "server" : "backends");
        fprintf(stderr, "%s\n", how_to_get);
        return CLI_USAGE;
    }
    for (const char *at = given.device; at != NULL && *at != 0; at++) {
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
    return run(&given);
}
