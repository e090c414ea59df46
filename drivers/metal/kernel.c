#include "state.h"

#include <assert.h>
#include <string.h>

/* What makes Metal's language of kernels.inc. */
static const char prelude[] = "#include <metal_stdlib>\n"
                              "using namespace metal;\n"
                              "#define BUFFER(n) [[buffer(n)]]\n"
                              "#define POSITION [[thread_position_in_grid]]\n"
                              "#define GET(p) (*(p))\n"
                              "#define PUT(p, v) (*(p) = (v))\n";
#define METAL_KERNELS(...) static const char kernels[] = #__VA_ARGS__;
#include "kernels.inc"

enum { BLOCK = 16, GROUP_THREADS = 256 };

/* The kernels' arguments, as the host lays them out. */
struct copy_args {
    uint64_t dst, src, size;
};

struct fill_args {
    uint64_t dst, size;
    uint32_t pattern_size, is_block;
    uint8_t block[BLOCK], pattern[FERRY__PATTERN_MAX];
};

static_assert(sizeof(struct copy_args) == 24 && sizeof(struct fill_args) == 56,
              "the kernels see the same layout");

static const char *const names[METAL_KERNEL_COUNT] = {
    [METAL_KERNEL_COPY] = "ferry_copy", [METAL_KERNEL_FILL] = "ferry_fill"};

/* The first line of an NSError's text. */
static void say(mtl_id error, const char *what, char *why)
{
    const char *text = error ? mtl_utf8(mtl_error_text(error)) : NULL;
    text = text ? text : "no reason given";
    ferry__metal_why(FERRY_ERROR_UNSUPPORTED, why, "%s: %.*s", what, (int)strcspn(text, "\n"),
                     text);
}

static mtl_id make_pipeline(mtl_id device, mtl_id library, const char *name, char *why)
{
    mtl_id error = NULL;
    mtl_id function = mtl_new_function(library, mtl_string(name));
    mtl_id pipeline = function ? mtl_new_pipeline(device, function, &error) : NULL;
    if (!pipeline)
        say(error, name, why);
    mtl_release(function);
    return pipeline;
}

bool ferry__metal_kernels_make(struct metal_state *state, char *why)
{
    char text[sizeof prelude + sizeof kernels];
    memcpy(text, prelude, sizeof prelude);
    memcpy(text + sizeof prelude - 1, kernels, sizeof kernels);
    mtl_id error = NULL;
    mtl_id library = mtl_new_library(state->device, mtl_string(text), NULL, &error);
    if (!library) {
        say(error, "the kernels do not compile", why);
        return false;
    }
    bool all = true;
    for (int i = 0; i < METAL_KERNEL_COUNT && all; i++) {
        state->pipelines[i] = make_pipeline(state->device, library, names[i], why);
        all = state->pipelines[i] &&
              ferry__mtl_check(state->pipelines[i], MTL_ON_PIPELINE, why, FERRY__WHY_MAX);
    }
    mtl_release(library);
    state->group_threads = GROUP_THREADS;
    for (int i = 0; i < METAL_KERNEL_COUNT; i++) {
        uint64_t most = all ? mtl_pipeline_threads(state->pipelines[i]) : 1;
        state->group_threads = most < state->group_threads ? most : state->group_threads;
        if (!all) {
            mtl_release(state->pipelines[i]);
            state->pipelines[i] = NULL;
        }
    }
    return all;
}

/* One thread for each 16-byte block of the destination that the range touches. */
static void dispatch(const struct metal_state *state, mtl_id encoder, uint64_t dst, uint64_t size)
{
    uint64_t blocks = (dst % BLOCK + size + BLOCK - 1) / BLOCK;
    uint64_t groups = (blocks + state->group_threads - 1) / state->group_threads;
    mtl_dispatch(encoder, (struct mtl_size){groups, 1, 1},
                 (struct mtl_size){state->group_threads, 1, 1});
}

/* Buffers are bound from their start, and offsets passed as numbers: any offset will do then. */
void ferry__metal_kernel_copy(const struct metal_state *state, mtl_id encoder,
                              const struct ferry__command *command)
{
    const struct metal_memory *dst = command->dst->native, *src = command->src->native;
    struct copy_args args = {command->dst->offset + command->dst_offset,
                             command->src->offset + command->src_offset, command->size};
    mtl_set_pipeline(encoder, state->pipelines[METAL_KERNEL_COPY]);
    mtl_set_buffer(encoder, dst->buffer, 0, 0);
    mtl_set_buffer(encoder, src->buffer, 0, 1);
    mtl_set_bytes(encoder, &args, sizeof args, 2);
    dispatch(state, encoder, args.dst, args.size);
}

void ferry__metal_kernel_fill(const struct metal_state *state, mtl_id encoder,
                              const struct ferry__command *command)
{
    const struct metal_memory *dst = command->dst->native;
    struct fill_args args = {
        command->dst->offset + command->dst_offset, command->size, command->pattern_size,
        BLOCK % command->pattern_size == 0,         {0},           {0}};
    memcpy(args.pattern, command->pattern, command->pattern_size);
    /* A pattern that fits a block evenly looks the same in every block of the destination. */
    unsigned phase = command->pattern_size - (unsigned)(args.dst % command->pattern_size);
    for (unsigned i = 0; args.is_block && i < BLOCK; i++)
        args.block[i] = command->pattern[(phase + i) % command->pattern_size];
    mtl_set_pipeline(encoder, state->pipelines[METAL_KERNEL_FILL]);
    mtl_set_buffer(encoder, dst->buffer, 0, 0);
    mtl_set_bytes(encoder, &args, sizeof args, 1);
    dispatch(state, encoder, args.dst, args.size);
}
