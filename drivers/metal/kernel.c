#include "state.h"

#include <assert.h>
#include <errno.h>
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

enum { BLOCK = 16, GROUP_THREADS = 256, COMPILE_SECONDS = 5 };

/* The compiler is another process, and may take its time, or for ever: a thread waits for it. */
struct metal_compilation {
    pthread_t thread;
    pthread_mutex_t lock; /* the three below */
    pthread_cond_t changed;
    bool done, compiled, abandoned;
    mtl_id device, pipelines[METAL_KERNEL_COUNT];
    uint64_t group_threads;
    char why[FERRY__WHY_MAX];
};

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

static bool compile(struct metal_compilation *c)
{
    char text[sizeof prelude + sizeof kernels];
    memcpy(text, prelude, sizeof prelude);
    memcpy(text + sizeof prelude - 1, kernels, sizeof kernels);
    mtl_id error = NULL;
    mtl_id library = mtl_new_library(c->device, mtl_string(text), NULL, &error);
    if (!library) {
        say(error, "the kernels do not compile", c->why);
        return false;
    }
    bool all = true;
    c->group_threads = GROUP_THREADS;
    for (int i = 0; i < METAL_KERNEL_COUNT && all; i++) {
        c->pipelines[i] = make_pipeline(c->device, library, names[i], c->why);
        all = c->pipelines[i] &&
              ferry__mtl_check(c->pipelines[i], MTL_ON_PIPELINE, c->why, FERRY__WHY_MAX);
        const uint64_t most = all ? mtl_pipeline_threads(c->pipelines[i]) : 1;
        c->group_threads = most < c->group_threads ? most : c->group_threads;
    }
    mtl_release(library);
    return all;
}

static void discard(struct metal_compilation *c)
{
    void *pool = mtl_pool_push();
    for (int i = 0; i < METAL_KERNEL_COUNT; i++)
        mtl_release(c->pipelines[i]);
    mtl_release(c->device);
    mtl_pool_pop(pool);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    ferry__free(c);
}

/* Whoever comes last discards it. */
static void *compile_thread(void *argument)
{
    struct metal_compilation *c = argument;
    void *pool = mtl_pool_push();
    const bool compiled = compile(c);
    mtl_pool_pop(pool);
    pthread_mutex_lock(&c->lock);
    c->compiled = compiled;
    c->done = true;
    const bool last = c->abandoned;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (last)
        discard(c);
    return NULL;
}

struct metal_compilation *ferry__metal_kernels_begin(mtl_id device, char *why)
{
    struct metal_compilation *c = ferry__alloc(sizeof *c);
    int error = c ? pthread_mutex_init(&c->lock, NULL) : ENOMEM;
    if (error)
        goto free_it;
    if ((error = ferry__cond_init(&c->changed)))
        goto destroy_lock;
    c->device = mtl_retain(device);
    if (!(error = ferry__thread_start(&c->thread, "ferry-metal", compile_thread, c)))
        return c;
    mtl_release(c->device);
    pthread_cond_destroy(&c->changed);
destroy_lock:
    pthread_mutex_destroy(&c->lock);
free_it:
    ferry__free(c);
    ferry__metal_why(FERRY_ERROR_OUT_OF_HOST_MEMORY, why, "no thread to compile the kernels: %s",
                     strerror(error));
    return NULL;
}

/* False: the compiler hangs, and its thread is left to itself. */
static bool wait_for(struct metal_compilation *c)
{
    const uint64_t deadline = ferry__deadline(COMPILE_SECONDS * UINT64_C(1000000000));
    pthread_mutex_lock(&c->lock);
    bool goes_on = true;
    while (goes_on && !c->done)
        goes_on = ferry__cond_wait_until(&c->changed, &c->lock, deadline);
    const bool done = c->done;
    if (!done) {
        c->abandoned = true;
        pthread_detach(c->thread);
    }
    pthread_mutex_unlock(&c->lock);
    return done;
}

bool ferry__metal_kernels_end(struct metal_state *state, struct metal_compilation *c, char *why)
{
    if (!wait_for(c)) {
        ferry__metal_why(FERRY_ERROR_UNSUPPORTED, why, "Metal's compiler took over %d s",
                         COMPILE_SECONDS);
        return false;
    }
    pthread_join(c->thread, NULL);
    const bool compiled = c->compiled;
    for (int i = 0; i < METAL_KERNEL_COUNT && compiled; i++) {
        state->pipelines[i] = c->pipelines[i];
        c->pipelines[i] = NULL;
    }
    state->group_threads = c->group_threads;
    memcpy(why, c->why, FERRY__WHY_MAX);
    discard(c);
    return compiled;
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
