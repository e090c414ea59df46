/* ferry load: a model's tensors into private memory; every byte read back and compared. */
#include "load.h"

#include "compare.h"
#include "load_synthetic.h"
#include "progress.h"

#include <stdlib.h>
#include <string.h>

/* Bytes compared at a time; larger models than VERIFY_MAX are not, unless that is asked for. */
enum { PIECE = 8 << 20, PIECE_MIN = 64 << 10, VERIFY_MAX = 1 << 30 };

/* --- moving ----------------------------------------------------------------------------------- */

struct ferry_tensor_info load_tensor(const struct cargo *cargo, size_t index)
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
        const struct ferry_tensor_info tensor = load_tensor(cargo, i);
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

/* Of --memory: three eighths for staging each way, an eighth for comparing, an eighth for headers and
 * lists. */
static uint64_t staging_budget(const struct load *load)
{
    const uint64_t budget = load->memory / 8 * 3;
    return load->memory == 0 ? 0 : budget < 4096 ? 4096 : budget;
}

static uint64_t in_flight(const struct load *load)
{
    return staging_budget(load);
}

/* What lists and headers take, about: 300 bytes a tensor, and what lies in front of the first. */
static bool fits(const struct load *load, struct cargo *cargo)
{
    char needs[CLI_TEXT_MAX], most[CLI_TEXT_MAX];
    uint64_t header = 0;
    for (size_t i = 0; i < cargo->info.tensors; i++) {
        const struct ferry_tensor_info tensor = load_tensor(cargo, i);
        if (i == 0 || tensor.file_offset < header)
            header = tensor.file_offset;
    }
    const uint64_t need = header + 300 * (uint64_t)cargo->info.tensors;
    if (load->memory == 0 || need <= load->memory / 8)
        return true;
    snprintf(cargo->why, sizeof cargo->why,
             "%s: its header and the lists of its tensors take about %s, and may take an eighth of "
             "--memory %s",
             cargo->name, cli_size(needs, need), cli_size(most, load->memory));
    return false;
}

static enum cli_exit move(const struct load *load, struct cargo *cargo)
{
    struct progress progress;
    uint64_t began_ns = cli_now_ns();
    enum ferry_status status = make_buffers(load, cargo);
    cargo->make_ns = cli_now_ns() - began_ns;
    if (status) {
        snprintf(cargo->why, sizeof cargo->why, "%s: making %s: %s", cargo->name,
                 load->separate ? "buffers" : "one buffer for all (--separate makes many)",
                 cargo->places ? ferry_last_error() : ferry_status_text(status));
        return CLI_DEVICE;
    }
    progress_start(&progress, cargo->name, load->quiet);
    began_ns = cli_now_ns();
    status = ferry_model_load_as(cargo->model,
                                 &(struct ferry_model_load_params){.places = cargo->places,
                                                                   .memory = in_flight(load),
                                                                   .progress = show_progress,
                                                                   .user = &progress});
    cargo->load_ns = cli_now_ns() - began_ns;
    progress_stop(&progress);
    if (!status)
        return CLI_DONE;
    cli_why(cargo->why, cargo->name);
    return CLI_DEVICE;
}

/* --- comparing -------------------------------------------------------------------------------- */

static enum cli_exit compare_tensor(struct cargo *cargo, size_t index, unsigned char *from_file,
                                    unsigned char *from_device, size_t piece)
{
    const struct ferry_tensor_info tensor = load_tensor(cargo, index);
    const struct ferry_tensor_place *place = &cargo->places[index];
    for (uint64_t at = 0; at < tensor.size;) {
        const size_t size = tensor.size - at < piece ? (size_t)(tensor.size - at) : piece;
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

static enum cli_exit compare_all(const struct load *load, struct cargo *cargo)
{
    struct progress progress;
    size_t piece = PIECE;
    if (load->memory != 0 && load->memory / 16 < piece)
        piece = load->memory / 16 < PIECE_MIN ? PIECE_MIN : (size_t)(load->memory / 16);
    unsigned char *from_file = malloc(piece), *from_device = malloc(piece);
    enum cli_exit end = CLI_DONE;
    uint64_t done = 0;
    const uint64_t began_ns = cli_now_ns();
    if (!from_file || !from_device) {
        snprintf(cargo->why, sizeof cargo->why, "out of host memory");
        end = CLI_DEVICE;
    }
    progress_start(&progress, cargo->name, load->quiet);
    for (size_t i = 0; i < cargo->info.tensors && end == CLI_DONE; i++) {
        end = compare_tensor(cargo, i, from_file, from_device, piece);
        done += load_tensor(cargo, i).size;
        progress_bytes(&progress, done, cargo->info.bytes);
    }
    progress_stop(&progress);
    cargo->check_ns = cli_now_ns() - began_ns;
    cargo->verified = end == CLI_DONE;
    free(from_file);
    free(from_device);
    return end;
}

/* --- the command ------------------------------------------------------------------------------ */

static enum cli_exit open_model(struct cargo *cargo)
{
    const uint64_t began_ns = cli_now_ns();
    const enum ferry_status status = ferry_model_open(cargo->name, &cargo->model);
    cargo->open_ns = cli_now_ns() - began_ns;
    if (status) {
        snprintf(cargo->why, sizeof cargo->why, "%s", ferry_last_error());
        return CLI_DEVICE;
    }
    ferry_model_get_info(cargo->model, &cargo->info);
    return CLI_DONE;
}

static enum cli_exit move_and_check(const struct load *load, struct cargo *cargo)
{
    const bool verify = load->verify || (!load->no_verify && cargo->info.bytes <= VERIFY_MAX);
    enum cli_exit end = fits(load, cargo) ? move(load, cargo) : CLI_DEVICE;
    if (end == CLI_DONE && verify)
        end = compare_all(load, cargo);
    const struct load_bench bench = {load->device, cargo->model, cargo->places, in_flight(load)};
    if (end == CLI_DONE && load->bench && !load_bench_run(&bench, &cargo->bench, cargo->why))
        end = CLI_DEVICE;
    return end;
}

static enum cli_exit load_model(const struct load *load, const char *name, bool first)
{
    struct cargo cargo = {.name = name};
    enum cli_exit end = open_model(&cargo);
    if (end == CLI_DONE && !load->list)
        end = move_and_check(load, &cargo);
    load_tell(load, &cargo, end);
    if (load->json) {
        fputs(first ? "\n  " : ",\n  ", stdout);
        load_json(load, &cargo, end);
    }
    destroy_buffers(load, &cargo);
    ferry_model_close(cargo.model);
    return end;
}

static void json_head(const struct load *load)
{
    struct ferry_device_info info;
    cli_json_head(stdout, "load");
    if (load->device) {
        ferry_device_get_info(load->device, &info);
        cli_json_device(stdout, &info);
        printf("\"path\": \"%s\", ", ferry_path_name(load->path));
    }
    printf("\"separate\": %s,\n \"files\": [", load->separate ? "true" : "false");
}

static enum cli_exit load_all(const struct load *load, char *const *names, int count)
{
    enum cli_exit worst = CLI_DONE;
    bool any = false;
    if (load->json)
        json_head(load);
    for (int i = 0; i < count; i++) {
        const enum cli_exit end = load_model(load, names[i], i == 0);
        worst = cli_worse(worst, end);
        any = any || end == CLI_DONE;
    }
    if (load->json)
        printf("\n]");
    if (load->device && (any || load->json))
        load_tell_peak(load);
    if (load->json)
        printf(", \"exit\": %d}\n", (int)worst);
    return worst;
}

static enum cli_exit load_synthetic(const struct load *load, char *const *names, int count)
{
    char **all = calloc((size_t)count + 2, sizeof *all);
    const char *made = all ? load_synthetic_make(load->synthetic) : NULL;
    enum cli_exit end = CLI_DEVICE;
    if (made) {
        all[0] = (char *)(uintptr_t)made;
        memcpy(all + 1, names, (size_t)count * sizeof *all);
        end = load_all(load, all, count + 1);
        load_synthetic_remove();
    }
    free(all);
    return end;
}

static const char text[] =
    "Loads every tensor of a model into private memory. Reads a model of up to 1 GiB back, and\n"
    "compares every byte.\n"
    "FILE: safetensors or GGUF, one of the parts NAME-00001-of-00003.gguf of a GGUF, a\n"
    "model.safetensors.index.json, or a directory with these. Any other file is loaded as plain "
    "bytes.";

static const char examples[] = "  ferry load model.safetensors\n"
                               "  ferry load --memory 64M --verify models/large/\n"
                               "  ferry load --list --match '*.attn.*' model.gguf\n"
                               "  ferry load --bench --synthetic 8G\n"
                               "  ferry load --json models/tiny/ > report.json\n";

static bool check_options(const struct load *load, int files)
{
    if (load->verify && load->no_verify)
        cli_complain("load: --verify or --no-verify, not both");
    else if (load->list && (load->bench || load->verify || load->device_name))
        cli_complain("load: --list loads nothing: no --bench, --verify or --device");
    else if (load->list && load->synthetic != 0)
        cli_complain("load: --list of a synthetic model tells nothing");
    else if (files == 0 && load->synthetic == 0)
        cli_complain("load: no file is named (ferry load --help)");
    else if (load->memory != 0 && load->memory < 1 << 20)
        cli_complain("load: --memory is 1M at least");
    else
        return true;
    return false;
}

enum cli_exit cli_load(int argc, char **argv)
{
    struct load load = {.device_name = NULL};
    const struct cli_option options[] = {
        {"device", CLI_TEXT, &load.device_name, "NAME", "the device (ferry devices)"},
        {"path", CLI_PATH, &load.path, "PATH", "auto, direct, staged, pipelined or imported"},
        {"separate", CLI_FLAG, &load.separate, NULL, "a buffer for each tensor, not one for all"},
        {"memory", CLI_SIZE, &load.memory, "SIZE", "use at most this much host memory"},
        {"verify", CLI_FLAG, &load.verify, NULL, "compare every byte, also over 1 GiB"},
        {"no-verify", CLI_FLAG, &load.no_verify, NULL, "compare nothing"},
        {"list", CLI_FLAG, &load.list, NULL, "print its tensors and metadata; load nothing"},
        {"match", CLI_TEXT, &load.match, "GLOB", "print only tensors whose names match"},
        {"synthetic", CLI_SIZE, &load.synthetic, "SIZE", "make a model of this size, and load it"},
        {"bench", CLI_FLAG, &load.bench, NULL, "measure it, and other ways to read the files"},
        {"json", CLI_FLAG, &load.json, NULL, "print JSON instead of tables"},
        {"quiet", CLI_FLAG, &load.quiet, NULL, "print only errors and JSON"},
    };
    const struct cli_manual manual = {
        .name = "load",
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
    if (!check_options(&load, argc - first))
        return CLI_USAGE;
    const struct ferry_device_params params = {
        .name = load.device_name, .path = load.path, .staging_budget = staging_budget(&load)};
    if (!load.list && ferry_device_open(&params, &load.device)) {
        cli_complain("load: cannot open the device: %s", ferry_last_error());
        return CLI_DEVICE;
    }
    load.quiet = load.quiet || load.json;
    end = load.synthetic ? load_synthetic(&load, argv + first, argc - first)
                         : load_all(&load, argv + first, argc - first);
    ferry_device_close(load.device);
    return end;
}
