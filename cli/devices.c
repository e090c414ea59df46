/* ferry devices: what there is, the best first. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

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

static void print_json_device(const struct ferry_device_info *info)
{
    fputs("\n  {\"name\": ", stdout);
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
    printf("\",\n   \"import_granularity\": %llu, \"queues\": %u, \"paths\": [",
           (unsigned long long)info->import_granularity, info->queues);
    print_paths(stdout, info->paths, "\"", ", ", "\"");
    putchar(']');
}

struct threshold {
    const char *name;
    uint64_t value; /* UINT64_MAX: no limit */
    bool measured;
};

#define FERRY_THRESHOLD(name, help) +1
enum {
    THRESHOLD_COUNT = 0
#include <ferry/thresholds.inc>
};
#undef FERRY_THRESHOLD

static void read_thresholds(const struct ferry_device_info *info, struct threshold *out)
{
    const struct threshold all[THRESHOLD_COUNT] = {
#define FERRY_THRESHOLD(name, help) {#name, info->thresholds.name, false},
#include <ferry/thresholds.inc>
#undef FERRY_THRESHOLD
    };
    for (size_t i = 0; i < THRESHOLD_COUNT; i++) {
        out[i] = all[i];
        out[i].measured = (info->measured >> i & 1) != 0;
    }
}

/* What only an open device knows. Closed again at once. */
static enum ferry_status open_info(const char *name, struct ferry_device_info *out)
{
    ferry_device *device;
    enum ferry_status status =
        ferry_device_open(&(struct ferry_device_params){.name = name}, &device);
    if (status)
        return status;
    ferry_device_get_info(device, out);
    ferry_device_close(device);
    return FERRY_OK;
}

enum { ROLES = 3 }; /* of role_queues, the first */

static void print_open(const struct ferry_device_info *info)
{
    static const char *const roles[ROLES] = {"uploads", "downloads", "copies and fills"};
    printf("\n%s: %u %s in use; paths ", info->name, info->queues,
           info->queues == 1 ? "queue" : "queues");
    print_paths(stdout, info->paths, "", ", ", "");
    putchar('\n');
    for (size_t i = 0; i < ROLES && info->queues > 1; i++)
        printf("%s%s by queue %u%s", i == 0 ? "  " : ", ", roles[i], info->role_queues[i],
               i == ROLES - 1 ? "\n" : "");
    struct threshold thresholds[THRESHOLD_COUNT];
    read_thresholds(info, thresholds);
    for (size_t i = 0; i < THRESHOLD_COUNT; i++) {
        char size[CLI_TEXT_MAX] = "max";
        if (thresholds[i].value != UINT64_MAX)
            cli_size(size, thresholds[i].value);
        printf("  %-24s %10s%s\n", thresholds[i].name, size,
               thresholds[i].measured ? "  measured" : "");
    }
    if (info->measuring_ns == 0)
        puts("  nothing was measured");
    else
        printf("  measured in %.1f ms\n", (double)info->measuring_ns / 1e6);
}

static void print_json_open(const struct ferry_device_info *info)
{
    printf(",\n   \"open\": {\"queues\": %u, \"upload_queue\": %u, \"download_queue\": %u, "
           "\"copy_queue\": %u, \"paths\": [",
           info->queues, info->role_queues[0], info->role_queues[1], info->role_queues[2]);
    print_paths(stdout, info->paths, "\"", ", ", "\"");
    fputs("],\n    \"thresholds\": {", stdout);
    struct threshold thresholds[THRESHOLD_COUNT];
    read_thresholds(info, thresholds);
    for (size_t i = 0; i < THRESHOLD_COUNT; i++) {
        printf("%s\"%s\": ", i == 0 ? "" : ", ", thresholds[i].name);
        if (thresholds[i].value == UINT64_MAX)
            fputs("null", stdout);
        else
            printf("%llu", (unsigned long long)thresholds[i].value);
    }
    fputs("},\n    \"measured\": [", stdout);
    const char *separator = "";
    for (size_t i = 0; i < THRESHOLD_COUNT; i++) {
        if (!thresholds[i].measured)
            continue;
        printf("%s\"%s\"", separator, thresholds[i].name);
        separator = ", ";
    }
    printf("], \"measuring_seconds\": %.9f}", (double)info->measuring_ns / 1e9);
}

/* ferry_last_error(), without the name that stands before it here already. */
static const char *why_not_open(const char *name)
{
    char prefix[64];
    int length = snprintf(prefix, sizeof prefix, "opening %s: ", name);
    const char *why = ferry_last_error();
    return strncmp(why, prefix, (size_t)length) == 0 ? why + length : why;
}

/* Each device is opened by itself: one that cannot be opened does not hide the others. */
static bool print_opened(const char *name, bool json)
{
    struct ferry_device_info info;
    enum ferry_status status = open_info(name, &info);
    if (!status && json)
        print_json_open(&info);
    else if (!status)
        print_open(&info);
    if (!status)
        return true;
    char shown[CLI_SHOWN_MAX];
    if (json) {
        fputs(",\n   \"open\": {\"error\": ", stdout);
        cli_json_string(stdout, why_not_open(name));
        putchar('}');
    } else {
        printf("\n%s cannot be opened: %s\n", name, cli_show(shown, why_not_open(name)));
    }
    return false;
}

/* How many of the devices could not be opened; without verbose, none is opened. */
static size_t print_all(const struct ferry_device_info *infos, size_t count,
                        const struct ferry_driver_info *drivers, size_t driver_count, bool verbose,
                        bool json)
{
    size_t failed = 0;
    if (json) {
        cli_json_head(stdout, "devices");
        fputs("\"devices\": [", stdout);
    } else {
        print_table(infos, count);
        print_absent(drivers, driver_count);
    }
    for (size_t i = 0; i < count; i++) {
        if (json && i > 0)
            putchar(',');
        if (json)
            print_json_device(&infos[i]);
        if (verbose && !print_opened(infos[i].name, json))
            failed++;
        if (json)
            putchar('}');
    }
    if (json)
        print_json_drivers(drivers, driver_count);
    return failed;
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
        {"verbose", CLI_FLAG, &verbose, NULL, "open each, and print its paths and thresholds too"},
    };
    const struct cli_manual manual = {
        .name = "devices",
        .text = "Lists the devices that --device accepts, the best first. If a driver has no "
                "device,\n"
                "says why.",
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
    size_t failed = 0;
    if (!status)
        failed = print_all(infos, count, drivers, driver_count, verbose, json);
    if (status)
        cli_complain("devices: %s: %s", ferry_status_text(status), ferry_last_error());
    else if (failed > 0)
        cli_complain("devices: %zu of %zu cannot be opened", failed, count);
    if (status || failed > 0)
        end = CLI_DEVICE;
    free(infos);
    return end;
}
