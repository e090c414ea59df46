#include "report.h"

static const struct {
    const char *text, *key;
    bool moves; /* has a path, and is worth comparing with memcpy */
} steps[STEP_COUNT] = {
    [STEP_READ] = {"file to host memory", "read", false},
    [STEP_UPLOAD] = {"host to private", "upload", true},
    [STEP_COPY] = {"private to private", "copy", true},
    [STEP_DOWNLOAD] = {"private to host", "download", true},
    [STEP_COMPARE] = {"compare every byte", "compare", false},
    [STEP_MEMCPY] = {"memcpy, to compare with", "memcpy", false},
};

static unsigned long long number(uint64_t value)
{
    return value;
}

void report_device(struct report *report, const struct ferry_device_info *info)
{
    if (report->json) {
        cli_json_head(stdout, "transfer");
        cli_json_device(stdout, info);
        printf("\"path\": \"%s\",\n \"files\": [", ferry_path_name(report->path));
    } else if (!report->quiet) {
        printf("device: %s (%s)\n", info->name, info->description);
        printf("why:    %s%s\n", info->reason,
               info->kind == FERRY_DEVICE_HOST ? "; host memory, correct, but not GPU speed" : "");
    }
}

/* --- tables ----------------------------------------------------------------------------------- */

static void print_step(const struct journey *journey, enum step step)
{
    uint64_t ns = journey->ns[step];
    char time[CLI_TEXT_MAX];
    printf("  %-24s %14llu %12s", steps[step].text, number(journey->bytes), cli_time(time, ns));
    if (ns > 0 && journey->bytes > 0)
        printf(" %8.2f", cli_rate(journey->bytes, ns));
    else
        printf(" %8s", "-");
    if (steps[step].moves && ns > 0 && journey->bytes > 0)
        printf(" %8.0f %%  %s\n", 100 * (double)journey->ns[STEP_MEMCPY] / (double)ns,
               journey->paths[step]);
    else
        printf(" %10s  %s\n", "-", steps[step].moves ? journey->paths[step] : "-");
}

static void print_table(const char *name, const struct journey *journey)
{
    char window[CLI_TEXT_MAX], shown[CLI_SHOWN_MAX];
    printf("\n%s: %llu byte%s", cli_show(shown, name), number(journey->bytes),
           journey->bytes == 1 ? "" : "s");
    if (journey->windows > 1)
        printf(", in %llu windows of %s", number(journey->windows),
               cli_size(window, journey->window));
    if (journey->passes > 1)
        printf(", %llu passes, their medians", number(journey->passes));
    else if (journey->repeat > 1)
        printf(", one pass, because it cannot be read again");
    printf("\n  %-24s %14s %12s %8s %10s  %s\n", "step", "bytes", "time", "GB/s", "of memcpy",
           "path");
    for (enum step step = STEP_READ; step < STEP_COUNT; step++)
        print_step(journey, step);
    printf("  every byte came back as it went\n");
}

static void print_reference(const struct reference *reference)
{
    char size[CLI_TEXT_MAX], ferry[CLI_TEXT_MAX], plain[CLI_TEXT_MAX], seed[CLI_TEXT_MAX];
    cli_size(size, reference->size);
    if (!reference->measured) {
        printf("  %-8s not measured: %s\n", size, reference->why);
        return;
    }
    printf("  %-8s Ferry %s; memcpy %s: %.0f %% of its speed; a naive upload %s: %.1f times as "
           "fast\n",
           size, cli_time(ferry, reference->ferry_ns), cli_time(plain, reference->memcpy_ns),
           100 * (double)reference->memcpy_ns / (double)reference->ferry_ns,
           cli_time(seed, reference->seed_ns),
           (double)reference->seed_ns / (double)reference->ferry_ns);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void print_json_steps(const struct journey *journey)
{
    printf(", \"verified\": true,\n   \"bytes\": %llu, \"window\": %llu, \"windows\": %llu, "
           "\"passes\": %llu,\n"
           "   \"steps\": [",
           number(journey->bytes), number(journey->window), number(journey->windows),
           number(journey->passes));
    for (enum step step = STEP_READ; step < STEP_COUNT; step++) {
        uint64_t ns = journey->ns[step];
        printf("%s\n    {\"step\": \"%s\", \"bytes\": %llu, \"seconds\": %.9f, "
               "\"bytes_per_second\": %.0f",
               step == STEP_READ ? "" : ",", steps[step].key, number(journey->bytes),
               (double)ns / 1e9, cli_rate(journey->bytes, ns) * 1e9);
        if (steps[step].moves) {
            printf(", \"of_memcpy\": %.6f, \"path\": ",
                   ns > 0 ? (double)journey->ns[STEP_MEMCPY] / (double)ns : 0);
            cli_json_string(stdout, journey->paths[step]);
        }
        fputs("}", stdout);
    }
    fputs("]", stdout);
}

static void print_json_file(struct report *report, const char *name, const struct journey *journey,
                            enum cli_exit end)
{
    printf("%s\n  {\"file\": ", report->files == 0 ? "" : ",");
    cli_json_string(stdout, name);
    printf(", \"exit\": %d", (int)end);
    if (end == CLI_DONE) {
        print_json_steps(journey);
    } else {
        fputs(", \"error\": ", stdout);
        cli_json_string(stdout, journey->why);
    }
    fputs("}", stdout);
}

static void print_json_references(const struct reference *references, size_t count,
                                  enum cli_exit end)
{
    fputs("],\n \"uploads\": [", stdout);
    for (size_t i = 0; i < count; i++) {
        const struct reference *reference = &references[i];
        printf("%s\n  {\"bytes\": %zu", i == 0 ? "" : ",", reference->size);
        if (reference->measured) {
            printf(", \"seconds\": %.9f, \"memcpy_seconds\": %.9f, \"naive_seconds\": %.9f",
                   (double)reference->ferry_ns / 1e9, (double)reference->memcpy_ns / 1e9,
                   (double)reference->seed_ns / 1e9);
        } else {
            fputs(", \"not_measured\": ", stdout);
            cli_json_string(stdout, reference->why);
        }
        fputs("}", stdout);
    }
    printf("], \"exit\": %d}\n", (int)end);
}

/* --- both ------------------------------------------------------------------------------------- */

void report_file(struct report *report, const char *name, const struct journey *journey,
                 enum cli_exit end)
{
    if (end != CLI_DONE)
        cli_complain("%s", journey->why);
    if (report->json)
        print_json_file(report, name, journey, end);
    else if (!report->quiet && end == CLI_DONE)
        print_table(name, journey);
    report->files++;
}

void report_references(struct report *report, const struct reference *references, size_t count,
                       enum cli_exit end)
{
    if (report->json) {
        print_json_references(references, count, end);
        return;
    }
    if (report->quiet || count == 0)
        return;
    printf("\none upload, the median; a naive upload makes its staging and its commands anew in "
           "each call\n");
    for (size_t i = 0; i < count; i++)
        print_reference(&references[i]);
}
