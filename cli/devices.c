/* ferry devices: what there is, the best first. */
#include "cli.h"

#include <stdlib.h>

enum { DRIVERS_MAX = 16 };

static void print_paths(FILE *out, uint32_t paths, const char *before, const char *between,
                        const char *after)
{
    const char *separator = "";
    for (enum ferry_path path = FERRY_PATH_DIRECT; path < FERRY_PATH_COUNT; path++) {
        if ((paths >> path & 1) == 0 || path == FERRY_PATH_NONE)
            continue;
        fprintf(out, "%s%s%s%s", separator, before, ferry_path_name(path), after);
        separator = between;
    }
}

static void print_table(const struct ferry_device_info *infos, size_t count)
{
    char memory[CLI_TEXT_MAX], largest[CLI_TEXT_MAX];
    printf("%-12s %-10s %10s %14s %6s  %s\n", "name", "kind", "memory", "largest buffer", "queues",
           "description");
    for (size_t i = 0; i < count; i++)
        printf("%-12s %-10s %10s %14s %6u  %s\n", infos[i].name,
               ferry_device_kind_name(infos[i].kind), cli_size(memory, infos[i].total_memory),
               cli_size(largest, infos[i].max_buffer_size), infos[i].queues, infos[i].description);
}

/* A line for each driver that has no device: what a user wonders about who sees no GPU here. */
static void print_absent(const struct ferry_driver_info *drivers, size_t count)
{
    char shown[CLI_SHOWN_MAX];
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (drivers[i].device_count > 0)
            continue;
        printf("%sno %s device: %s\n", any ? "" : "\n", drivers[i].name,
               cli_show(shown, drivers[i].reason));
        any = true;
    }
}

static void print_json_drivers(const struct ferry_driver_info *drivers, size_t count)
{
    fputs("\n ],\n \"drivers\": [", stdout);
    for (size_t i = 0; i < count; i++) {
        printf("%s\n  {\"name\": \"%s\", \"built_in\": %s, \"devices\": %u, \"reason\": ",
               i == 0 ? "" : ",", drivers[i].name, drivers[i].built_in ? "true" : "false",
               drivers[i].device_count);
        cli_json_string(stdout, drivers[i].reason);
        fputs("}", stdout);
    }
    fputs("\n ]}\n", stdout);
}

static void print_json(const struct ferry_device_info *infos, size_t count)
{
    cli_json_head(stdout, "devices");
    fputs("\"devices\": [", stdout);
    for (size_t i = 0; i < count; i++) {
        const struct ferry_device_info *info = &infos[i];
        printf("%s\n  {\"name\": ", i == 0 ? "" : ",");
        cli_json_string(stdout, info->name);
        fputs(", \"driver\": ", stdout);
        cli_json_string(stdout, info->driver);
        fputs(", \"description\": ", stdout);
        cli_json_string(stdout, info->description);
        printf(", \"kind\": \"%s\", \"unified\": %s,\n", ferry_device_kind_name(info->kind),
               info->unified ? "true" : "false");
        printf("   \"total_memory\": %llu, \"max_buffer_size\": %llu, \"max_allocation\": %llu,\n",
               (unsigned long long)info->total_memory, (unsigned long long)info->max_buffer_size,
               (unsigned long long)info->max_allocation);
        fputs("   \"uuid\": \"", stdout);
        for (size_t k = 0; k < sizeof info->uuid; k++)
            printf("%02x", info->uuid[k]);
        fputs("\",\n", stdout);
        printf("   \"import_granularity\": %llu, \"queues\": %u, \"paths\": [",
               (unsigned long long)info->import_granularity, info->queues);
        print_paths(stdout, info->paths, "\"", ", ", "\"");
        fputs("]}", stdout);
    }
}

static void print_thresholds(const struct ferry_device_info *info)
{
    static const char *const names[] = {
#define FERRY_THRESHOLD(name, help) #name,
#include <ferry/thresholds.inc>
#undef FERRY_THRESHOLD
    };
    const uint64_t values[] = {
#define FERRY_THRESHOLD(name, help) info->thresholds.name,
#include <ferry/thresholds.inc>
#undef FERRY_THRESHOLD
    };
    for (size_t i = 0; i < CLI_COUNT(names); i++) {
        char size[CLI_TEXT_MAX] = "max";
        if (values[i] != UINT64_MAX)
            cli_size(size, values[i]);
        printf("  %-24s %10s  %s\n", names[i], size,
               (info->measured >> i & 1) != 0 ? "measured" : "");
    }
    if (info->measuring_ns == 0)
        puts("  nothing was measured");
    else
        printf("  measured in %.1f ms\n", (double)info->measuring_ns / 1e6);
}

/* What only an open device knows. */
static enum ferry_status print_open(const struct ferry_device_info *infos, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ferry_device_info info;
        ferry_device *device;
        enum ferry_status status =
            ferry_device_open(&(struct ferry_device_params){.name = infos[i].name}, &device);
        if (status)
            return status;
        ferry_device_get_info(device, &info);
        ferry_device_close(device);
        printf("\n%s: %u queues in use; paths ", info.name, info.queues);
        print_paths(stdout, info.paths, "", ", ", "");
        putchar('\n');
        print_thresholds(&info);
    }
    return FERRY_OK;
}

/* The list may grow between the two calls: a device was plugged in. */
static enum ferry_status list_all(struct ferry_device_info **out_infos, size_t *out_count)
{
    size_t capacity = 0, count = 8;
    struct ferry_device_info *infos = NULL;
    enum ferry_status status = FERRY_OK;
    while (!status && count > capacity) {
        capacity = count;
        free(infos);
        infos = calloc(capacity, sizeof *infos);
        if (!infos)
            return FERRY_ERROR_OUT_OF_HOST_MEMORY;
        status = ferry_device_list(infos, capacity, &count);
    }
    *out_infos = infos;
    *out_count = count;
    return status;
}

enum cli_exit cli_devices(int argc, char **argv)
{
    bool json = false, verbose = false;
    const struct cli_option options[] = {
        {"json", CLI_FLAG, &json, NULL, "print JSON instead of a table"},
        {"verbose", CLI_FLAG, &verbose, NULL, "open each, and print its thresholds too"},
    };
    const struct cli_manual manual = {
        .name = "devices",
        .text = "Lists the devices that --device accepts, the best first. Where a driver has no "
                "device,\n"
                "it says why.",
        .examples = "  ferry devices\n"
                    "  ferry devices --verbose\n"
                    "  ferry devices --json | python3 -m json.tool\n",
        .options = options,
        .option_count = CLI_COUNT(options),
    };
    int first = 0;
    enum cli_exit end = CLI_DONE;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;

    struct ferry_device_info *infos = NULL;
    struct ferry_driver_info drivers[DRIVERS_MAX];
    size_t count = 0, driver_count = 0;
    enum ferry_status status = list_all(&infos, &count);
    if (!status)
        status = ferry_driver_list(drivers, DRIVERS_MAX, &driver_count);
    if (!status && json) {
        print_json(infos, count);
        print_json_drivers(drivers, driver_count);
    } else if (!status) {
        print_table(infos, count);
        print_absent(drivers, driver_count);
        status = verbose ? print_open(infos, count) : FERRY_OK;
    }
    if (status) {
        cli_complain("devices: %s: %s", ferry_status_text(status), ferry_last_error());
        end = CLI_DEVICE;
    }
    free(infos);
    return end;
}
