/* ferry metrics: moves bytes once, and prints what the library counted. */
#include "cli.h"
#include "input.h"
#include "journey.h"

#include <stdlib.h>

enum { GENERATED = 16 << 20 };

struct metrics {
    const char *device_name;
    enum ferry_path path;
    bool json;
    ferry_device *device;
};

static enum cli_exit move_file(const struct metrics *metrics, const char *name)
{
    struct journey journey = {.device = metrics->device, .repeat = 1, .quiet = true};
    struct input input;
    enum cli_exit end = CLI_DEVICE;
    if (input_open(&input, name, journey.why)) {
        end = journey_run(&journey, &input);
        input_close(&input);
    }
    if (end != CLI_DONE)
        cli_complain("metrics: %s", journey.why);
    return end;
}

/* There and back, with no file. */
static enum cli_exit move_generated(const struct metrics *metrics)
{
    ferry_buffer *buffer = NULL;
    unsigned char *bytes = calloc(1, GENERATED);
    enum ferry_status status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (!bytes) {
        cli_complain("metrics: out of host memory");
        return CLI_DEVICE;
    }
    status = ferry_buffer_create(metrics->device, &(struct ferry_buffer_params){.size = GENERATED},
                                 &buffer);
    if (!status)
        status = ferry_copy_from_host(buffer, bytes, GENERATED, 0);
    if (!status)
        status = ferry_copy_to_host(buffer, bytes, GENERATED, 0);
    if (status)
        cli_complain("metrics: %s", ferry_last_error());
    ferry_buffer_destroy(buffer);
    free(bytes);
    return !status ? CLI_DONE : CLI_DEVICE;
}

static enum cli_exit print_stats(const struct metrics *metrics)
{
    struct ferry_stats stats;
    struct ferry_device_info info;
    const enum ferry_stats_format format =
        metrics->json ? FERRY_STATS_JSON : FERRY_STATS_PROMETHEUS;
    size_t size = 0;
    ferry_device_get_info(metrics->device, &info);
    ferry_device_get_stats(metrics->device, &stats, sizeof stats);
    const struct ferry_named_stats named = {.name = info.name, .stats = &stats};
    enum ferry_status status = ferry_stats_format_named(&named, 1, format, NULL, 0, &size);
    char *text = !status ? malloc(size + 1) : NULL;
    if (text)
        status = ferry_stats_format_named(&named, 1, format, text, size + 1, &size);
    if (!text || status) {
        cli_complain("metrics: %s", !text ? "out of host memory" : ferry_last_error());
        free(text);
        return CLI_DEVICE;
    }
    fputs(text, stdout);
    free(text);
    return CLI_DONE;
}

static const char text[] =
    "Moves each file through private memory once, as transfer does; without a file, 16 MiB there\n"
    "and back. Then it prints the library's metrics of that run in Prometheus's text format. Your\n"
    "own program gets the same text from ferry_stats_format (docs/metrics.md).";

static const char examples[] = "  ferry metrics\n"
                               "  ferry metrics --device vulkan --path staged model.bin\n"
                               "  ferry metrics model.bin > /var/lib/node_exporter/ferry.prom\n";

enum cli_exit cli_metrics(int argc, char **argv)
{
    struct metrics metrics = {.device_name = NULL};
    const struct cli_option options[] = {
        {"device", CLI_TEXT, &metrics.device_name, "NAME", "the device (ferry devices)"},
        {"path", CLI_PATH, &metrics.path, "PATH", "auto, direct, staged, pipelined or imported"},
        {"json", CLI_FLAG, &metrics.json, NULL, "print JSON instead of Prometheus's text"},
    };
    const struct cli_manual manual = {
        .name = "metrics",
        .operands = "[FILE...]",
        .text = text,
        .examples = examples,
        .options = options,
        .option_count = CLI_COUNT(options),
    };
    int first = 0;
    enum cli_exit end = CLI_DONE;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;
    const struct ferry_device_params params = {.name = metrics.device_name, .path = metrics.path};
    if (ferry_device_open(&params, &metrics.device)) {
        cli_complain("metrics: cannot open the device: %s", ferry_last_error());
        return CLI_DEVICE;
    }
    if (first == argc)
        end = move_generated(&metrics);
    for (int i = first; i < argc; i++)
        end = cli_worse(end, move_file(&metrics, argv[i]));
    end = cli_worse(end, print_stats(&metrics));
    ferry_device_close(metrics.device);
    return end;
}
