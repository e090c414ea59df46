#include "journey.h"

#include "compare.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_NS 500000000u

enum {
    WINDOW_MAX = 256 << 20, /* of the file at a time; five such are in memory */
    WINDOW_MIN = 4096,
    STREAM_WINDOW = 64 << 20,
    SAMPLES_MAX = 65536, /* passes whose times are kept */
    SCRUB = 0xa5,        /* what memory holds before bytes are copied to it */
};

/* The memory of a journey. yard is where the yardstick's bytes go. */
struct hold {
    ferry_buffer *a, *b;
    unsigned char *source, *result, *yard;
    uint64_t *samples[STEP_COUNT];
    uint64_t pass_ns[STEP_COUNT];
    size_t recorded, recorded_reads;
};

static enum cli_exit device_failed(struct journey *journey, const struct input *input,
                                   const char *what)
{
    snprintf(journey->why, sizeof journey->why, "%s: %s: %s", input->name, what,
             ferry_last_error());
    return CLI_DEVICE;
}

/* --- memory ----------------------------------------------------------------------------------- */

static size_t first_window(ferry_device *device, const struct input *input)
{
    struct ferry_device_info info;
    struct ferry_memory_info memory;
    uint64_t window = input->size > 0 ? input->size : STREAM_WINDOW;
    ferry_device_get_info(device, &info);
    if (window > WINDOW_MAX)
        window = WINDOW_MAX;
    if (window > info.max_buffer_size)
        window = info.max_buffer_size;
    /* Two buffers, and the library's staging, which is device memory on some devices. */
    if (!ferry_device_get_memory(device, &memory) && window > memory.available / 4)
        window = memory.available / 4;
    return window > WINDOW_MIN || window == input->size ? (size_t)window : WINDOW_MIN;
}

static enum ferry_status make_buffers(ferry_device *device, size_t window, struct hold *hold)
{
    enum ferry_status status = ferry_buffer_create(
        device, &(struct ferry_buffer_params){.size = window, .label = "transfer a"}, &hold->a);
    if (!status)
        status = ferry_buffer_create(
            device, &(struct ferry_buffer_params){.size = window, .label = "transfer b"}, &hold->b);
    if (status) {
        ferry_buffer_destroy(hold->a);
        hold->a = NULL;
    }
    return status;
}

static bool make_host_memory(struct hold *hold, size_t window)
{
    hold->source = malloc(window);
    hold->result = malloc(window);
    hold->yard = malloc(window);
    bool good = hold->source && hold->result && hold->yard;
    for (int step = 0; step < STEP_COUNT; step++) {
        hold->samples[step] = malloc(SAMPLES_MAX * sizeof *hold->samples[step]);
        good = good && hold->samples[step];
    }
    return good;
}

static void give_back(struct hold *hold)
{
    ferry_buffer_destroy(hold->a);
    ferry_buffer_destroy(hold->b);
    free(hold->source);
    free(hold->result);
    free(hold->yard);
    for (int step = 0; step < STEP_COUNT; step++)
        free(hold->samples[step]);
}

/* What is free is a guess on some devices, so smaller windows are tried where it was wrong. */
static enum cli_exit take_memory(struct journey *journey, const struct input *input,
                                 struct hold *hold)
{
    size_t window = first_window(journey->device, input);
    enum ferry_status status = make_buffers(journey->device, window, hold);
    while (status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY && window / 2 >= WINDOW_MIN) {
        window /= 2;
        status = make_buffers(journey->device, window, hold);
    }
    if (status)
        return device_failed(journey, input, "making private buffers");
    journey->window = window;
    if (!make_host_memory(hold, window)) {
        snprintf(journey->why, sizeof journey->why, "%s: no host memory for 3 times %zu bytes",
                 input->name, window);
        return CLI_DEVICE;
    }
    return CLI_DONE;
}

/* --- one window ------------------------------------------------------------------------------- */

/*
 * Every byte that is to be written holds something else before, so that old bytes cannot pass for
 * new ones, and so that no copy meets colder memory than another: all of it was just written.
 */
static enum ferry_status scrub(struct hold *hold, size_t size)
{
    const unsigned char pattern = SCRUB;
    memset(hold->result, SCRUB, size);
    memset(hold->yard, SCRUB, size);
    enum ferry_status status = ferry_fill_buffer(hold->a, size, 0, &pattern, 1);
    return status ? status : ferry_fill_buffer(hold->b, size, 0, &pattern, 1);
}

static void measure_memcpy(struct hold *hold, size_t size)
{
    uint64_t began = cli_now_ns();
    memcpy(hold->yard, hold->source, size);
    /* The compiler must not think that nobody looks. */
    __asm__ volatile("" : : "r"(hold->yard) : "memory");
    hold->pass_ns[STEP_MEMCPY] += cli_now_ns() - began;
}

/* The three moves; on a failure *out_what says which. */
static enum ferry_status move(struct hold *hold, size_t size, const char **out_what)
{
    enum ferry_status status = FERRY_OK;
    uint64_t t0 = cli_now_ns();
    *out_what = "host to private";
    status = ferry_copy_from_host(hold->a, hold->source, size, 0);
    if (status)
        return status;
    uint64_t t1 = cli_now_ns();
    *out_what = "private to private";
    status = ferry_copy_buffer(hold->b, hold->a, size, 0, 0);
    if (status)
        return status;
    uint64_t t2 = cli_now_ns();
    *out_what = "private to host";
    status = ferry_copy_to_host(hold->b, hold->result, size, 0);
    if (status)
        return status;
    uint64_t t3 = cli_now_ns();
    hold->pass_ns[STEP_UPLOAD] += t1 - t0;
    hold->pass_ns[STEP_COPY] += t2 - t1;
    hold->pass_ns[STEP_DOWNLOAD] += t3 - t2;
    return FERRY_OK;
}

static enum cli_exit one_window(struct journey *journey, const struct input *input,
                                struct hold *hold, size_t size, uint64_t base)
{
    const char *what = "filling the private buffers";
    if (scrub(hold, size))
        return device_failed(journey, input, what);
    /* The second to read the source finds it warmer, so they take turns. */
    bool memcpy_first = journey->passes % 2 == 0;
    if (memcpy_first)
        measure_memcpy(hold, size);
    if (move(hold, size, &what))
        return device_failed(journey, input, what);
    if (!memcpy_first)
        measure_memcpy(hold, size);

    uint64_t began = cli_now_ns();
    size_t wrong = compare_bytes(hold->source, hold->result, size);
    hold->pass_ns[STEP_COMPARE] += cli_now_ns() - began;
    if (wrong == size)
        return CLI_DONE;
    char words[CLI_WHY_MAX];
    compare_why(words, hold->source, hold->result, wrong, base);
    snprintf(journey->why, sizeof journey->why, "%.400s: %.500s", input->name, words);
    return CLI_CHECK;
}

/* --- passes ----------------------------------------------------------------------------------- */

/* Reads the next window; size 0: there is none. */
static bool read_window(struct journey *journey, struct input *input, struct hold *hold,
                        size_t *out_size)
{
    uint64_t began = cli_now_ns();
    ssize_t got = input_read(input, hold->source, journey->window, journey->why);
    hold->pass_ns[STEP_READ] += cli_now_ns() - began;
    *out_size = got < 0 ? 0 : (size_t)got;
    return got >= 0;
}

static enum cli_exit first_pass(struct journey *journey, struct input *input, struct hold *hold,
                                struct progress *progress, uint64_t total)
{
    int more = 1;
    uint64_t bytes = 0, windows = 0;
    while (more == 1) {
        size_t size = 0;
        if (!read_window(journey, input, hold, &size))
            return CLI_DEVICE;
        enum cli_exit end = one_window(journey, input, hold, size, bytes);
        if (end != CLI_DONE)
            return end;
        bytes += size;
        windows++;
        progress_bytes(progress, journey->passes * input->size + bytes, total);
        more = input_more(input, journey->why);
    }
    journey->bytes = bytes;
    journey->windows = windows;
    return more < 0 ? CLI_DEVICE : CLI_DONE;
}

static enum cli_exit next_pass(struct journey *journey, struct input *input, struct hold *hold,
                               struct progress *progress, uint64_t total)
{
    if (journey->windows == 1) {
        progress_bytes(progress, journey->passes * journey->bytes, total);
        return one_window(journey, input, hold, (size_t)journey->bytes, 0);
    }
    if (!input_rewind(input, journey->why))
        return CLI_DEVICE;
    return first_pass(journey, input, hold, progress, total);
}

static void record_pass(struct journey *journey, struct hold *hold)
{
    if (hold->recorded < SAMPLES_MAX) {
        for (int step = 0; step < STEP_COUNT; step++)
            hold->samples[step][hold->recorded] = hold->pass_ns[step];
        hold->recorded++;
        if (journey->passes == 0 || journey->windows > 1)
            hold->recorded_reads++;
    }
    memset(hold->pass_ns, 0, sizeof hold->pass_ns);
    journey->passes++;
}

/* A stream of several windows is gone once it was read. */
static bool goes_on(const struct journey *journey, const struct input *input, uint64_t began_ns)
{
    if (journey->bytes == 0 || (journey->windows > 1 && !input->seekable))
        return false;
    if (journey->repeat > 0)
        return journey->passes < journey->repeat;
    return cli_now_ns() - began_ns < LEAST_NS;
}

static enum cli_exit all_passes(struct journey *journey, struct input *input, struct hold *hold)
{
    struct progress progress;
    progress_start(&progress, input->name, journey->quiet);
    uint64_t began = progress.began_ns;
    uint64_t total = input->size * (journey->repeat > 0 ? journey->repeat : 1);
    enum cli_exit end = first_pass(journey, input, hold, &progress, total);
    while (end == CLI_DONE) {
        record_pass(journey, hold);
        if (!goes_on(journey, input, began))
            break;
        end = next_pass(journey, input, hold, &progress, total);
    }
    progress_stop(&progress);
    return end;
}

/* --- what it came to -------------------------------------------------------------------------- */

/* Names the paths an operation took between the two readings, the one with most bytes first. */
static void name_paths(char *out, const struct ferry_stats *before, const struct ferry_stats *after,
                       enum ferry_operation operation)
{
    bool named[FERRY_PATH_COUNT] = {false};
    size_t length = 0;
    out[0] = 0;
    for (;;) {
        int best = -1;
        uint64_t most = 0;
        for (int path = 0; path < FERRY_PATH_COUNT; path++) {
            const struct ferry_operation_stats *now = &after->operations[operation][path];
            const struct ferry_operation_stats *then = &before->operations[operation][path];
            uint64_t weight = now->operations - then->operations + (now->bytes - then->bytes);
            if (!named[path] && weight > most) {
                best = path;
                most = weight;
            }
        }
        if (best < 0)
            return;
        named[best] = true;
        length += (size_t)snprintf(out + length, JOURNEY_PATHS_MAX - length, "%s%s",
                                   length == 0 ? "" : "+", ferry_path_name(best));
        if (length >= JOURNEY_PATHS_MAX)
            return;
    }
}

enum cli_exit journey_run(struct journey *journey, struct input *input)
{
    static const enum ferry_operation moves[STEP_COUNT] = {
        [STEP_UPLOAD] = FERRY_OPERATION_UPLOAD,
        [STEP_COPY] = FERRY_OPERATION_COPY,
        [STEP_DOWNLOAD] = FERRY_OPERATION_DOWNLOAD,
    };
    struct ferry_stats before, after;
    struct hold hold = {.a = NULL};
    enum cli_exit end = take_memory(journey, input, &hold);
    if (end == CLI_DONE) {
        ferry_device_get_stats(journey->device, &before, sizeof before);
        end = all_passes(journey, input, &hold);
        ferry_device_get_stats(journey->device, &after, sizeof after);
    }
    if (end == CLI_DONE) {
        for (int step = STEP_UPLOAD; step <= STEP_DOWNLOAD; step++)
            name_paths(journey->paths[step], &before, &after, moves[step]);
        for (int step = 0; step < STEP_COUNT; step++)
            journey->ns[step] = cli_median(hold.samples[step],
                                           step == STEP_READ ? hold.recorded_reads : hold.recorded);
    }
    give_back(&hold);
    return end;
}
