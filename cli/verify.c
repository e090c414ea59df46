/* ferry verify: random operations on a device against plain arrays. */
#include "cli.h"
#include "model.h"
#include "progress.h"

#include <time.h>
#include <unistd.h>

struct verify {
    const char *device_name;
    enum ferry_path path;
    uint64_t seed, seconds_ns, operations; /* operations 0: until the time is over */
    bool json, quiet;
};

static enum cli_exit run(const struct verify *verify, struct model *model, char *why)
{
    struct progress progress;
    enum cli_exit end = CLI_DONE;
    progress_start(&progress, NULL, verify->quiet);
    while (end == CLI_DONE) {
        if (verify->operations > 0 ? model_operations(model) == verify->operations
                                   : cli_now_ns() - progress.began_ns >= verify->seconds_ns)
            break;
        end = model_step(model, why);
        if (verify->operations == 0)
            progress_operations(&progress, model_operations(model), verify->seconds_ns);
        else
            progress_steps(&progress, model_operations(model), verify->operations, "operations");
    }
    if (end == CLI_DONE)
        end = model_finish(model, why);
    progress_stop(&progress);
    return end;
}

static void print_json(const struct verify *verify, const struct ferry_device_info *info,
                       const struct model *model, enum cli_exit end, const char *why)
{
    cli_json_head(stdout, "verify");
    cli_json_device(stdout, info);
    printf("\"path\": \"%s\", \"seed\": %llu, \"operations\": %llu, \"bytes\": %llu, "
           "\"exit\": %d",
           ferry_path_name(verify->path), (unsigned long long)verify->seed,
           (unsigned long long)model_operations(model), (unsigned long long)model_bytes(model),
           (int)end);
    if (end != CLI_DONE) {
        fputs(", \"error\": ", stdout);
        cli_json_string(stdout, why);
    }
    fputs("}\n", stdout);
}

static void tell(const struct verify *verify, ferry_device *device, const struct model *model,
                 enum cli_exit end, const char *why)
{
    struct ferry_device_info info;
    char bytes[CLI_TEXT_MAX];
    ferry_device_get_info(device, &info);
    if (end != CLI_DONE)
        cli_complain("verify: %s; replay with: ferry verify --device %s --path %s --seed %llu "
                     "--operations %llu",
                     why, info.name, ferry_path_name(verify->path),
                     (unsigned long long)verify->seed, (unsigned long long)model_operations(model));
    if (verify->json)
        print_json(verify, &info, model, end, why);
    else if (end == CLI_DONE && !verify->quiet)
        printf("%s: %llu operations on %s, all as on plain arrays (seed %llu)\n", info.name,
               (unsigned long long)model_operations(model), cli_size(bytes, model_bytes(model)),
               (unsigned long long)verify->seed);
}

static enum cli_exit verify_device(const struct verify *verify)
{
    const struct ferry_device_params params = {.name = verify->device_name, .path = verify->path};
    ferry_device *device = NULL;
    if (ferry_device_open(&params, &device)) {
        cli_complain("verify: cannot open the device: %s", ferry_last_error());
        return CLI_DEVICE;
    }
    char why[CLI_WHY_MAX] = "out of host memory";
    enum cli_exit end = CLI_DEVICE;
    struct model *model = model_create(device, verify->seed);
    if (model) {
        end = run(verify, model, why);
        tell(verify, device, model, end, why);
    } else {
        cli_complain("verify: %s", why);
    }
    model_destroy(model);
    ferry_device_close(device);
    return end;
}

static const char text[] =
    "Runs random operations on a device's buffers and the same ones on plain arrays, and\n"
    "compares the bytes: waiting and asynchronous operations, batches, overlaps, odd sizes and\n"
    "offsets. The same seed gives the same operations. Run this first when something looks wrong.";

static const char examples[] = "  ferry verify\n"
                               "  ferry verify --device vulkan --seconds 60\n"
                               "  ferry verify --device host --seed 7 --operations 1000\n";

enum cli_exit cli_verify(int argc, char **argv)
{
    struct verify verify = {.seed = (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid(),
                            .seconds_ns = 5000000000u};
    const struct cli_option options[] = {
        {"device", CLI_TEXT, &verify.device_name, "NAME", "the device (ferry devices)"},
        {"path", CLI_PATH, &verify.path, "PATH", "auto, direct, staged, pipelined or imported"},
        {"seconds", CLI_SECONDS, &verify.seconds_ns, "S", "run for S seconds; 5 if not given"},
        {"operations", CLI_NUMBER, &verify.operations, "N",
         "run N operations, however long they take"},
        {"seed", CLI_SEED, &verify.seed, "N", "the seed; if not given, a new one is printed"},
        {"json", CLI_FLAG, &verify.json, NULL, "print JSON instead of a line"},
        {"quiet", CLI_FLAG, &verify.quiet, NULL, "print only errors and JSON"},
    };
    const struct cli_manual manual = {
        .name = "verify",
        .text = text,
        .examples = examples,
        .options = options,
        .option_count = CLI_COUNT(options),
    };
    int first = 0;
    enum cli_exit end = CLI_DONE;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;
    return verify_device(&verify);
}
