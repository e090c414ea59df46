#include "state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/*
 * The kernels are compiled when they are first needed, by a thread of their own, since the compiler
 * is another process and may take its time, or for ever. Until they are there the device works all
 * the same: what a blit cannot do goes through the host.
 */

/* What makes Metal's language of kernels.inc. */
static const char prelude[] = "#include <metal_stdlib>\n"
                              "using namespace metal;\n"
                              "#define BUFFER(n) [[buffer(n)]]\n"
                              "#define POSITION [[thread_position_in_grid]]\n"
                              "#define GET(p) (*(p))\n"
                              "#define PUT(p, v) (*(p) = (v))\n";
#define METAL_KERNELS(...) static const char kernels[] = #__VA_ARGS__;
#include "kernels.inc"

enum { GROUP_THREADS = 256, COMPILE_SECONDS = 5 };
static const uint64_t SECOND = UINT64_C(1000000000);

struct metal_compilation {
    pthread_t thread;
    pthread_mutex_t lock; /* the three below */
    pthread_cond_t changed;
    bool done, compiled, abandoned;
    uint64_t begun_ns, ended_ns;
    mtl_id device, pipelines[METAL_KERNEL_COUNT];
    uint64_t group_threads;
    char why[FERRY__WHY_MAX];
};

static const char *const names[METAL_KERNEL_COUNT] = {
    [METAL_KERNEL_COPY] = "ferry_copy",
    [METAL_KERNEL_FILL] = "ferry_fill",
    [METAL_KERNEL_LIST] = "ferry_list",
};

/* --- compiling -------------------------------------------------------------------------------- */

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
    c->ended_ns = ferry__now_ns();
    c->done = true;
    const bool last = c->abandoned;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (last)
        discard(c);
    return NULL;
}

static struct metal_compilation *begin(mtl_id device, char *why)
{
    struct metal_compilation *c = ferry__alloc(sizeof *c);
    int error = c ? pthread_mutex_init(&c->lock, NULL) : ENOMEM;
    if (error)
        goto free_it;
    if ((error = ferry__cond_init(&c->changed)))
        goto destroy_lock;
    c->device = mtl_retain(device);
    c->begun_ns = ferry__now_ns();
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

/* --- whoever needs them ----------------------------------------------------------------------- */

/* Once. */
static void tell_missing(struct metal_state *state, const char *why)
{
    if (!atomic_exchange(&state->kernels_missed, true))
        ferry__log(FERRY_LOG_WARN, "metal: unaligned work goes through the host: %s", why);
}

/* NULL: there is no thread for it now. */
static struct metal_compilation *compilation_of(struct metal_state *state)
{
    char why[FERRY__WHY_MAX] = "";
    pthread_mutex_lock(&state->kernels_lock);
    if (!state->compilation)
        state->compilation = begin(state->device, why);
    struct metal_compilation *c = state->compilation;
    pthread_mutex_unlock(&state->kernels_lock);
    if (!c)
        tell_missing(state, why);
    return c;
}

/* Waits no longer than the compiler is trusted for, counted from when it began. */
static bool wait_for(struct metal_state *state, struct metal_compilation *c, uint64_t deadline)
{
    const uint64_t patience = c->begun_ns + COMPILE_SECONDS * SECOND;
    const uint64_t until = deadline < patience ? deadline : patience;
    pthread_mutex_lock(&c->lock);
    while (!c->done && ferry__cond_wait_until(&c->changed, &c->lock, until))
        ;
    const bool done = c->done;
    pthread_mutex_unlock(&c->lock);
    if (!done && ferry__now_ns() >= patience) {
        char why[FERRY__WHY_MAX];
        ferry__metal_why(FERRY_ERROR_UNSUPPORTED, why, "Metal's compiler took over %d s",
                         COMPILE_SECONDS);
        tell_missing(state, why);
    }
    return done;
}

/* The first who finds them done takes them. */
static bool take(struct metal_state *state, struct metal_compilation *c)
{
    pthread_mutex_lock(&state->kernels_lock);
    const bool first = !state->kernels_taken;
    state->kernels_taken = true;
    for (int i = 0; i < METAL_KERNEL_COUNT && first && c->compiled; i++) {
        state->pipelines[i] = c->pipelines[i];
        c->pipelines[i] = NULL;
    }
    if (first && c->compiled) {
        state->group_threads = c->group_threads;
        atomic_store(&state->kernels_compiled, true);
    }
    pthread_mutex_unlock(&state->kernels_lock);
    if (first && c->compiled)
        ferry__log(FERRY_LOG_INFO, "metal: kernels compiled in %" PRIu64 " ms",
                   (c->ended_ns - c->begun_ns) / 1000000);
    else if (first)
        tell_missing(state, c->why);
    return c->compiled;
}

/* Where kernels carry out everything, they do so from when no submission of blits is being written
 * down: one that came to lie between theirs could hang the GPU. */
bool ferry__metal_kernels_turn_on(struct metal_state *state)
{
    if (atomic_load(&state->kernels_compiled) && !state->blitting)
        atomic_store(&state->kernels_on, true);
    return atomic_load(&state->kernels_on);
}

static bool turn_on(struct metal_state *state, uint64_t deadline)
{
    pthread_mutex_lock(&state->lock);
    bool waits = true;
    while (!ferry__metal_kernels_turn_on(state) && waits)
        waits = ferry__cond_wait_until(&state->changed, &state->lock, deadline);
    pthread_mutex_unlock(&state->lock);
    return atomic_load(&state->kernels_on);
}

bool ferry__metal_kernels(void *opened, uint64_t timeout_ns)
{
    struct metal_state *state = opened;
    if (atomic_load(&state->kernels_on))
        return true;
    const uint64_t deadline = ferry__deadline(timeout_ns);
    struct metal_compilation *c = compilation_of(state);
    return c && wait_for(state, c, deadline) && take(state, c) && turn_on(state, deadline);
}

void ferry__metal_kernels_close(struct metal_state *state)
{
    struct metal_compilation *c = state->compilation;
    if (!c)
        return;
    (void)wait_for(state, c, UINT64_MAX);
    pthread_mutex_lock(&c->lock);
    const bool done = c->done;
    c->abandoned = !done;
    if (!done)
        pthread_detach(c->thread);
    pthread_mutex_unlock(&c->lock);
    if (done) {
        pthread_join(c->thread, NULL);
        discard(c);
    }
}
