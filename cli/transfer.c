/* ferry transfer: files through private memory, every byte compared. */
#include "cli.h"
#include "journey.h"
#include "reference.h"
#include "report.h"

static const size_t reference_sizes[] = {64 << 10, 64 << 20};

struct transfer {
    const char *device_name;
    enum ferry_path path;
    uint64_t repeat;
    struct report report;
    ferry_device *device;
};

static enum cli_exit transfer_file(struct transfer *transfer, const char *name)
{
    struct journey journey = {
        .device = transfer->device, .repeat = transfer->repeat, .quiet = transfer->report.quiet};
    struct input input;
    enum cli_exit end = CLI_DEVICE;
    if (input_open(&input, name, journey.why)) {
        end = journey_run(&journey, &input);
        input_close(&input);
    }
    report_file(&transfer->report, name, &journey, end);
    return end;
}

/* worst: of what was done with the files. */
static enum cli_exit measure_references(struct transfer *transfer, enum cli_exit worst)
{
    struct reference references[CLI_COUNT(reference_sizes)];
    ferry_device *plain = NULL;
    enum cli_exit end = CLI_DONE;
    size_t count = 0;
    if (reference_open_plain(transfer->device, &plain)) {
        cli_complain("opening the device once more: %s", ferry_last_error());
        end = CLI_DEVICE;
    }
    for (; end == CLI_DONE && count < CLI_COUNT(reference_sizes); count++) {
        references[count] = (struct reference){.size = reference_sizes[count]};
        end = reference_measure(transfer->device, plain, &references[count]);
        if (end != CLI_DONE) {
            cli_complain("%s", references[count].why);
            break;
        }
    }
    ferry_device_close(plain);
    worst = cli_worse(worst, end);
    report_references(&transfer->report, references, count, worst);
    return worst;
}

static enum cli_exit transfer_all(struct transfer *transfer, char *const *names, int count)
{
    struct ferry_device_info info;
    enum cli_exit worst = CLI_DONE;
    bool any = false;
    ferry_device_get_info(transfer->device, &info);
    transfer->report.path = transfer->path;
    report_device(&transfer->report, &info);
    for (int i = 0; i < count; i++) {
        enum cli_exit end = transfer_file(transfer, names[i]);
        any = any || end == CLI_DONE;
        worst = cli_worse(worst, end);
    }
    /* A quiet run is a check, and these are figures. */
    if (any && (transfer->report.json || !transfer->report.quiet))
        return measure_references(transfer, worst);
    report_references(&transfer->report, NULL, 0, worst);
    return worst;
}

static const char text[] =
    "Moves each file from host memory to a private buffer, from there to another, and back, and\n"
    "compares every byte. Files larger than the device's memory are moved in windows; - is\n"
    "standard input. A file that takes less than half a second is moved repeatedly.";

static const char examples[] = "  ferry transfer model.bin\n"
                               "  ferry transfer --device vulkan --path staged model.bin\n"
                               "  ferry transfer --json *.bin > report.json\n"
                               "  zcat model.gz | ferry transfer -\n";

enum cli_exit cli_transfer(int argc, char **argv)
{
    struct transfer transfer = {.device_name = NULL};
    const struct cli_option options[] = {
        {"device", CLI_TEXT, &transfer.device_name, "NAME", "the device (ferry devices)"},
        {"path", CLI_PATH, &transfer.path, "PATH", "auto, direct, staged, pipelined or imported"},
        {"repeat", CLI_NUMBER, &transfer.repeat, "N",
         "move each file N times, however long it takes"},
        {"json", CLI_FLAG, &transfer.report.json, NULL, "print JSON instead of tables"},
        {"quiet", CLI_FLAG, &transfer.report.quiet, NULL, "print only errors and JSON"},
    };
    const struct cli_manual manual = {
        .name = "transfer",
        .operands = "FILE...",
        .text = text,
        .examples = examples,
        .options = options,
        .option_count = CLI_COUNT(options),
    };
    int first = 0;
    enum cli_exit end = CLI_DONE;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;

    const struct ferry_device_params params = {.name = transfer.device_name, .path = transfer.path};
    if (ferry_device_open(&params, &transfer.device)) {
        cli_complain("transfer: cannot open the device: %s", ferry_last_error());
        return CLI_DEVICE;
    }
    end = transfer_all(&transfer, argv + first, argc - first);
    ferry_device_close(transfer.device);
    return end;
}
