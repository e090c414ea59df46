/* ferry load: a model's tensors into private memory, and every byte read back and compared. */
#include "cli.h"
#include "compare.h"
#include "load_bench.h"
#include "progress.h"

#include <ferry/model.h>
#include <inttypes.h>
#include <stdlib.h>

enum { PIECE = 8 << 20 }; /* bytes compared at a time */

struct load {
    const char *device_name;
    enum ferry_path path;
    bool separate, bench, json, quiet;
    ferry_device *device;
};

/* One model on its way. */
struct cargo {
    const char *name; /* as the user wrote it */
    ferry_model *model;
    struct ferry_model_info info;
    struct ferry_tensor_place *places;
    ferry_buffer *arena;
    uint64_t load_ns;
    struct load_bench_times times[2];
    char why[CLI_WHY_MAX];
};

/* --- moving ----------------------------------------------------------------------------------- */

static struct ferry_tensor_info tensor_at(const struct cargo *cargo, size_t index)
{
    struct ferry_tensor_info tensor = {.name = "", .type = ""};
    if (ferry_model_get_tensor(cargo->model, index, &tensor))
        abort(); /* index is below the model's own count */
    return tensor;
}

static enum ferry_status create(const struct load *load, uint64_t size, const char *label,
                                ferry_buffer **out)
{
    return ferry_buffer_create(load->device,
                               &(struct ferry_buffer_params){.size = (size_t)size,
                                                             .storage = FERRY_STORAGE_PRIVATE,
                                                             .label = label},
                               out);
}

/* One buffer for all, or one for each tensor that has bytes. */
static enum ferry_status make_buffers(const struct load *load, struct cargo *cargo)
{
    enum ferry_status status = FERRY_OK;
    cargo->places = calloc(cargo->info.tensors + 1, sizeof *cargo->places);
    if (!cargo->places)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (!load->separate && cargo->info.arena_size > 0)
        status = create(load, cargo->info.arena_size, cargo->name, &cargo->arena);
    for (size_t i = 0; i < cargo->info.tensors && !status; i++) {
        const struct ferry_tensor_info tensor = tensor_at(cargo, i);
        if (!load->separate)
            cargo->places[i] = (struct ferry_tensor_place){cargo->arena, tensor.arena_offset};
        else if (tensor.size > 0)
            status = create(load, tensor.size, tensor.name, &cargo->places[i].buffer);
    }
    return status;
}

static void destroy_buffers(const struct load *load, struct cargo *cargo)
{
    ferry_buffer_destroy(cargo->arena);
    for (size_t i = 0; cargo->places && load->separate && i < cargo->info.tensors; i++)
        ferry_buffer_destroy(cargo->places[i].buffer);
    free(cargo->places);
}

static void show_progress(uint64_t done, uint64_t total, void *user)
{
    progress_bytes(user, done, total);
}

static enum cli_exit move(const struct load *load, struct cargo *cargo)
{
    struct progress progress;
    enum ferry_status status = make_buffers(load, cargo);
    if (status) {
        snprintf(cargo->why, sizeof cargo->why, "%s: making %s: %s", cargo->name,
                 load->separate ? "buffers" : "one buffer for all (--separate makes many)",
                 cargo->places ? ferry_last_error() : ferry_status_text(status));
        return CLI_DEVICE;
    }
    progress_start(&progress, cargo->name, load->quiet);
    const uint64_t began_ns = cli_now_ns();
    status = ferry_model_load_into(cargo->model, cargo->places, show_progress, &progress);
    cargo->load_ns = cli_now_ns() - began_ns;
    progress_stop(&progress);
    if (!status)
        return CLI_DONE;
    cli_why(cargo->why, cargo->name);
    return CLI_DEVICE;
}

/* --- comparing -------------------------------------------------------------------------------- */

static enum cli_exit compare_tensor(struct cargo *cargo, size_t index, unsigned char *from_file,
                                    unsigned char *from_device)
{
    const struct ferry_tensor_info tensor = tensor_at(cargo, index);
    const struct ferry_tensor_place *place = &cargo->places[index];
    for (uint64_t at = 0; at < tensor.size;) {
        const size_t size = tensor.size - at < PIECE ? (size_t)(tensor.size - at) : PIECE;
        if (ferry_model_read(cargo->model, index, from_file, size, at) ||
            ferry_copy_to_host(place->buffer, from_device, size, (size_t)(place->offset + at))) {
            cli_why(cargo->why, cargo->name);
            return CLI_DEVICE;
        }
        const size_t same = compare_bytes(from_file, from_device, size);
        if (same < size) {
            compare_why(cargo->why, from_file, from_device, same, tensor.file_offset + at);
            return CLI_CHECK;
        }
        at += size;
    }
    return CLI_DONE;
}

static enum cli_exit compare_all(struct cargo *cargo)
{
    unsigned char *from_file = malloc(PIECE), *from_device = malloc(PIECE);
    enum cli_exit end = CLI_DONE;
    if (!from_file || !from_device) {
        snprintf(cargo->why, sizeof cargo->why, "out of host memory");
        end = CLI_DEVICE;
    }
    for (size_t i = 0; i < cargo->info.tensors && end == CLI_DONE; i++)
        end = compare_tensor(cargo, i, from_file, from_device);
    free(from_file);
    free(from_device);
    return end;
}

/* --- telling ---------------------------------------------------------------------------------- */

static void print_shape(const struct ferry_tensor_info *tensor, const char *separator)
{
    for (uint32_t i = 0; i < tensor->rank; i++)
        printf("%s%" PRIu64, i == 0 ? "" : separator, tensor->shape[i]);
}

static void print_table(const struct cargo *cargo)
{
    const struct ferry_model_info *info = &cargo->info;
    char bytes[CLI_TEXT_MAX], shown[CLI_SHOWN_MAX];
    if (info->format == FERRY_MODEL_BYTES)
        printf("%s: not a model: moved as plain bytes (%s)\n", cli_show(shown, cargo->name),
               cli_size(bytes, info->bytes));
    else
        printf("%s: %s, %zu tensor%s, %s in %zu file%s\n", cli_show(shown, cargo->name),
               ferry_model_format_name(info->format), info->tensors, info->tensors == 1 ? "" : "s",
               cli_size(bytes, info->bytes), info->files, info->files == 1 ? "" : "s");
    if (info->format == FERRY_MODEL_BYTES || info->tensors == 0)
        return;
    printf("  %14s %14s  %-8s name [shape]\n", "offset", "bytes", "type");
    for (size_t i = 0; i < info->tensors; i++) {
        const struct ferry_tensor_info tensor = tensor_at(cargo, i);
        printf("  %14" PRIu64 " %14" PRIu64 "  %-8s %s [", cargo->places[i].offset, tensor.size,
               tensor.type, cli_show(shown, tensor.name));
        print_shape(&tensor, " ");
        puts("]");
    }
}

static void tell(const struct load *load, const struct cargo *cargo, enum cli_exit end)
{
    char bytes[CLI_TEXT_MAX], time[CLI_TEXT_MAX];
    if (end != CLI_DONE) {
        cli_complain("load: %s", cargo->why);
        return;
    }
    if (load->quiet)
        return;
    print_table(cargo);
    printf("  loaded %s in %s, %.2f GB/s; read back, every byte as in the file\n",
           cli_size(bytes, cargo->info.bytes), cli_time(time, cargo->load_ns),
           cli_rate(cargo->info.bytes, cargo->load_ns));
    if (load->bench)
        load_bench_print(cargo->times, cargo->info.bytes);
}

static void json_tensors(const struct cargo *cargo)
{
    fputs(", \"tensors\": [", stdout);
    for (size_t i = 0; i < cargo->info.tensors; i++) {
        const struct ferry_tensor_info tensor = tensor_at(cargo, i);
        fputs(i == 0 ? "\n    {\"name\": " : ",\n    {\"name\": ", stdout);
        cli_json_string(stdout, tensor.name);
        printf(", \"type\": \"%s\", \"shape\": [", tensor.type);
        print_shape(&tensor, ", ");
        printf("], \"bytes\": %" PRIu64 ", \"offset\": %" PRIu64 ", \"file\": %zu, "
               "\"file_offset\": %" PRIu64 "}",
               tensor.size, cargo->places[i].offset, tensor.file, tensor.file_offset);
    }
    fputs("]", stdout);
}

static void json_model(const struct load *load, const struct cargo *cargo, enum cli_exit end)
{
    const struct ferry_model_info *info = &cargo->info;
    fputs("{\"file\": ", stdout);
    cli_json_string(stdout, cargo->name);
    printf(", \"exit\": %d", (int)end);
    if (end != CLI_DONE) {
        fputs(", \"error\": ", stdout);
        cli_json_string(stdout, cargo->why);
        fputs("}", stdout);
        return;
    }
    printf(", \"verified\": true, \"format\": \"%s\", \"format_version\": %u, \"bytes\": %" PRIu64
           ",\n   \"steps\": [\n    {\"step\": \"load\", \"bytes\": %" PRIu64
           ", \"seconds\": %.9f, \"bytes_per_second\": %.0f}],\n   \"parts\": [",
           ferry_model_format_name(info->format), info->version, info->bytes, info->bytes,
           (double)cargo->load_ns / 1e9, cli_rate(info->bytes, cargo->load_ns) * 1e9);
    for (size_t i = 0; i < info->files; i++) {
        fputs(i == 0 ? "" : ", ", stdout);
        cli_json_string(stdout, ferry_model_file_name(cargo->model, i));
    }
    fputs("]", stdout);
    if (load->bench)
        load_bench_json(cargo->times);
    json_tensors(cargo);
    fputs("}", stdout);
}

/* --- the command ------------------------------------------------------------------------------ */

static enum cli_exit load_model(const struct load *load, const char *name, bool first)
{
    struct cargo cargo = {.name = name};
    enum cli_exit end = CLI_DEVICE;
    if (!ferry_model_open(name, &cargo.model)) {
        ferry_model_get_info(cargo.model, &cargo.info);
        end = move(load, &cargo);
    } else {
        snprintf(cargo.why, sizeof cargo.why, "%s", ferry_last_error());
    }
    if (end == CLI_DONE)
        end = compare_all(&cargo);
    const struct load_bench bench = {cargo.model, cargo.places};
    if (end == CLI_DONE && load->bench && !load_bench_run(&bench, cargo.times, cargo.why))
        end = CLI_DEVICE;
    tell(load, &cargo, end);
    if (load->json) {
        fputs(first ? "\n  " : ",\n  ", stdout);
        json_model(load, &cargo, end);
    }
    destroy_buffers(load, &cargo);
    ferry_model_close(cargo.model);
    return end;
}

static enum cli_exit load_all(const struct load *load, char *const *names, int count)
{
    enum cli_exit worst = CLI_DONE;
    struct ferry_device_info info;
    ferry_device_get_info(load->device, &info);
    if (load->json) {
        cli_json_head(stdout, "load");
        cli_json_device(stdout, &info);
        printf("\"path\": \"%s\", \"separate\": %s,\n \"files\": [", ferry_path_name(load->path),
               load->separate ? "true" : "false");
    }
    for (int i = 0; i < count; i++)
        worst = cli_worse(worst, load_model(load, names[i], i == 0));
    if (load->json)
        printf("\n], \"exit\": %d}\n", (int)worst);
    return worst;
}

static const char text[] =
    "Loads every tensor of a model into private memory, reads it back and compares every byte.\n"
    "FILE: safetensors or GGUF, one of the parts NAME-00001-of-00003.gguf of a GGUF, a\n"
    "model.safetensors.index.json, or a directory with these. Any other file is moved as it is.";

static const char examples[] = "  ferry load model.safetensors\n"
                               "  ferry load --separate model-00001-of-00003.gguf\n"
                               "  ferry load --json models/tiny/ > report.json\n";

enum cli_exit cli_load(int argc, char **argv)
{
    struct load load = {.device_name = NULL};
    const struct cli_option options[] = {
        {"device", CLI_TEXT, &load.device_name, "NAME", "the device (ferry devices)"},
        {"path", CLI_PATH, &load.path, "PATH", "auto, direct, staged, pipelined or imported"},
        {"separate", CLI_FLAG, &load.separate, NULL, "a buffer for each tensor, not one for all"},
        {"bench", CLI_FLAG, &load.bench, NULL, "measure it, beside reading into host memory"},
        {"json", CLI_FLAG, &load.json, NULL, "print JSON instead of tables"},
        {"quiet", CLI_FLAG, &load.quiet, NULL, "print errors, and JSON, only"},
    };
    const struct cli_manual manual = {
        .name = "load",
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
    const struct ferry_device_params params = {.name = load.device_name, .path = load.path};
    if (ferry_device_open(&params, &load.device)) {
        cli_complain("load: cannot open the device: %s", ferry_last_error());
        return CLI_DEVICE;
    }
    load.quiet = load.quiet || load.json;
    end = load_all(&load, argv + first, argc - first);
    ferry_device_close(load.device);
    return end;
}
