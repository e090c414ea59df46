/* ferry explain: which way an operation would go, and why, before anything moves. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

struct explain {
    const char *device_name, *operation, *memory;
    uint64_t size, count;
    bool json;
};

static bool find_operation(const char *name, enum ferry_operation *out)
{
    for (int operation = 0; operation < FERRY_OPERATION_COUNT; operation++)
        if (!strcmp(name, ferry_operation_name((enum ferry_operation)operation))) {
            *out = (enum ferry_operation)operation;
            return true;
        }
    cli_complain("explain: --operation is upload, download, copy or fill, not %s", name);
    return false;
}

static bool is_registered(const char *memory, bool *out)
{
    *out = !strcmp(memory, "registered");
    if (*out || !strcmp(memory, "pageable"))
        return true;
    cli_complain("explain: --memory is pageable or registered, not %s", memory);
    return false;
}

static void print(const struct explain *explain, const struct ferry_device_info *info,
                  const struct ferry_explanation *out)
{
    char block[CLI_TEXT_MAX];
    if (explain->json) {
        cli_json_head(stdout, "explain");
        printf("\"device\": \"%s\", \"operation\": \"%s\", \"size\": %llu, \"count\": %llu,\n"
               "  \"path\": \"%s\", \"engine\": \"%s\", \"bytes_per_second\": %llu,\n"
               "  \"reason\": \"%s\"\n}\n",
               info->name, explain->operation, (unsigned long long)explain->size,
               (unsigned long long)explain->count, ferry_path_name(out->path), out->engine,
               (unsigned long long)out->bytes_per_second, out->reason);
        return;
    }
    printf("%s: %s of %llu x %s, host memory %s\n", info->name, explain->operation,
           (unsigned long long)explain->count, cli_size(block, explain->size), explain->memory);
    printf("  path    %s\n  engine  %s\n  why     %s\n", ferry_path_name(out->path), out->engine,
           out->reason);
}

static enum cli_exit ask(const struct explain *explain, enum ferry_operation operation,
                         bool registered)
{
    ferry_device *device = NULL;
    void *host = NULL;
    struct ferry_device_info info;
    struct ferry_explanation out;
    const struct ferry_device_params params = {.name = explain->device_name};
    enum ferry_status status = ferry_device_open(&params, &device);
    if (!status)
        ferry_device_get_info(device, &info);
    if (!status && registered)
        status = ferry_host_alloc(device, explain->size ? explain->size : 1, &host);
    if (!status)
        status = ferry_explain(device, NULL, operation, host, explain->size, explain->count, &out);
    if (status)
        cli_complain("explain: %s", ferry_last_error());
    else
        print(explain, &info, &out);
    if (device)
        ferry_host_free(device, host);
    ferry_device_close(device);
    return status ? CLI_DEVICE : CLI_DONE;
}

enum cli_exit cli_explain(int argc, char **argv)
{
    struct explain explain = {
        .operation = "upload", .memory = "pageable", .size = 1 << 20, .count = 1};
    const struct cli_option options[] = {
        {"device", CLI_TEXT, &explain.device_name, "NAME", "the device (ferry devices)"},
        {"operation", CLI_TEXT, &explain.operation, "NAME", "upload, download, copy or fill"},
        {"size", CLI_SIZE, &explain.size, "SIZE", "bytes of each block; default 1M"},
        {"count", CLI_NUMBER, &explain.count, "N", "how many blocks; default 1"},
        {"memory", CLI_TEXT, &explain.memory, "KIND", "host memory: pageable or registered"},
        {"json", CLI_FLAG, &explain.json, NULL, "print JSON instead of text"},
    };
    const struct cli_manual manual = {
        .name = "explain",
        .text =
            "Says which path an operation would take on a device, and what would carry it out.\n"
            "If a faster way is not taken, says which condition is missing. Nothing is "
            "moved.",
        .examples = "  ferry explain --size 4K --count 20000\n"
                    "  ferry explain --operation download --size 1G --memory registered\n",
        .options = options,
        .option_count = CLI_COUNT(options),
    };
    int first = 0;
    bool registered = false;
    enum cli_exit end = CLI_DONE;
    enum ferry_operation operation = FERRY_OPERATION_UPLOAD;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;
    if (first < argc) {
        cli_complain("explain: takes no files");
        return CLI_USAGE;
    }
    if (!find_operation(explain.operation, &operation) ||
        !is_registered(explain.memory, &registered))
        return CLI_USAGE;
    return ask(&explain, operation, registered);
}
