#include "state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_COPY = 1u << 31,         /* Metal cuts a copy of 4 GiB or more to 32 bits, without a word */
    KERNEL_COPY_FROM = 1u << 20, /* where it was measured to be faster at a larger size */
    BLOCKS_MAX = 1 << 20,
    BLOCK_SIZE_MAX = 64 << 10,     /* longer ones are cut, so that all end together */
    BLOCKS_COPY_FROM = 256u << 10, /* where blits may be: not measured */
};

enum ferry_status ferry__metal_why(enum ferry_status status, char *why, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, FERRY__WHY_MAX, format, list);
    va_end(list);
    return status;
}

/* --- opening ---------------------------------------------------------------------------------- */

static enum ferry_status pick_device(const struct ferry__open_params *params, mtl_id *out_device,
                                     char *why)
{
    const struct ferry_metal_device *wrapped = params->wrapped;
    mtl_id devices[METAL_DEVICES_MAX];
    size_t count = wrapped ? 0 : ferry__metal_copy_devices(devices, why);
    *out_device = wrapped ? mtl_retain(wrapped->device) : NULL;
    for (size_t i = 0; i < count; i++) {
        if (i == params->index)
            *out_device = mtl_retain(devices[i]);
        mtl_release(devices[i]);
    }
    if (*out_device)
        return FERRY_OK;
    return count ? ferry__metal_why(FERRY_ERROR_NO_DEVICE, why,
                                    "Metal has %zu devices, no number %u", count, params->index)
                 : FERRY_ERROR_NO_DEVICE;
}

static enum ferry_status make_state(struct metal_state **out_state, char *why)
{
    struct metal_state *state = ferry__alloc(sizeof *state);
    if (!state)
        return ferry__metal_why(FERRY_ERROR_OUT_OF_HOST_MEMORY, why, "out of host memory");
    int error = pthread_mutex_init(&state->lock, NULL);
    if (error)
        goto free_state;
    if ((error = pthread_mutex_init(&state->kernels_lock, NULL)))
        goto destroy_lock;
    if ((error = pthread_mutex_init(&state->residency_lock, NULL)))
        goto destroy_kernels_lock;
    if ((error = pthread_mutex_init(&state->raise_lock, NULL)))
        goto destroy_residency_lock;
    if ((error = ferry__cond_init(&state->changed)))
        goto destroy_raise_lock;
    atomic_init(&state->references, 1);
    *out_state = state;
    return FERRY_OK;
destroy_raise_lock:
    pthread_mutex_destroy(&state->raise_lock);
destroy_residency_lock:
    pthread_mutex_destroy(&state->residency_lock);
destroy_kernels_lock:
    pthread_mutex_destroy(&state->kernels_lock);
destroy_lock:
    pthread_mutex_destroy(&state->lock);
free_state:
    ferry__free(state);
    return ferry__metal_why(FERRY_ERROR_OUT_OF_HOST_MEMORY, why, "no lock: %s", strerror(error));
}

static void metal_close(void *opened)
{
    struct metal_state *state = opened;
    ferry__metal_drain(state);
    void *pool = mtl_pool_push();
    void (*release)(void *user) = state->release;
    void *user = state->release_user;
    pthread_mutex_lock(&state->raise_lock);
    state->closed = true;
    pthread_mutex_unlock(&state->raise_lock);
    while (state->events)
        ferry__metal_event_destroy(state, (uint64_t)(uintptr_t)state->events->event);
    for (unsigned i = 0; i < state->queue_count; i++)
        ferry__metal_queue_close(&state->queues[i]);
    ferry__metal_kernels_close(state);
    for (int i = 0; i < METAL_KERNEL_COUNT; i++)
        mtl_release(state->pipelines[i]);
    ferry__metal_residency_close(state);
    mtl_release(state->repair);
    mtl_release(state->label);
    mtl_release(state->device);
    mtl_pool_pop(pool);
    ferry__metal_state_release(state);
    if (release)
        release(user);
}

static enum ferry_status check_buffers(struct metal_state *state, char *why)
{
    mtl_id buffer = mtl_new_buffer(state->device, FERRY_BUFFER_ALIGNMENT, MTL_OPTION_PRIVATE);
    if (!buffer)
        return ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why, "Metal gave no buffer");
    bool right = ferry__mtl_check(buffer, MTL_ON_BUFFER, why, FERRY__WHY_MAX);
    mtl_release(buffer);
    return right ? FERRY_OK : FERRY_ERROR_UNSUPPORTED;
}

static enum ferry_status open_queues(struct metal_state *state,
                                     const struct ferry__open_params *params, char *why)
{
    const struct ferry_metal_device *wrapped = params->wrapped;
    mtl_id queue = wrapped ? wrapped->queue : NULL;
    enum ferry_status status = check_buffers(state, why);
    if (!status)
        status = ferry__metal_queues_open(state, params->queues, queue, why);
    if (status)
        return status;
    const uint64_t page = ferry__metal_page_size(state->device);
    state->import_page = ferry__metal_can_import(state, page) ? page : 0;
    ferry__metal_residency_open(state, queue != NULL);
    return FERRY_OK;
}

static enum ferry_status open_objects(struct metal_state *state,
                                      const struct ferry__open_params *params, char *why)
{
    state->class = ferry__metal_class(state->device);
    state->unified = ferry__metal_is_unified(state->device);
    state->map_always = params->map_private == FERRY_MAP_ALWAYS;
    state->label = mtl_retain(mtl_string("ferry"));
    const enum ferry_status status = open_queues(state, params, why);
    if (status)
        return status;
    state->listener = mtl_class_new(ferry__mtl.listener_class);
    return state->listener ? FERRY_OK
                           : ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why,
                                              "Metal gave no shared event listener");
}

/* --- limits ----------------------------------------------------------------------------------- */

enum engine { AUTO, BLIT, KERNEL, CALIBRATE, ENGINES };

/* Who asks for one engine, or to have both measured, has the kernels from the start. */
static enum engine choose_engine(struct metal_state *state)
{
    static const char *const names[ENGINES] = {"auto", "blit", "kernel", "calibrate"};
    const int choice = ferry__metal_choice("FERRY_METAL_ENGINE", names, ENGINES);
    const enum engine engine = choice == ENGINES ? AUTO : (enum engine)choice;
    if (engine == KERNEL || engine == CALIBRATE)
        (void)ferry__metal_kernels(state, UINT64_MAX);
    else if (state->map_always) /* the first private buffer needs them */
        (void)ferry__metal_kernels(state, 0);
    return engine;
}

/* Where kernels carry out all there is, and where from which size they copy; 0: only where a blit
 * cannot. On an Apple GPU command buffers of blits alone, between others, can hang the channel of
 * the blits: there it is all or nothing. */
static uint64_t kernel_copy_from(struct metal_state *state)
{
    const enum engine engine = choose_engine(state);
    const bool apple = state->class == METAL_APPLE;
    const bool measures = engine == CALIBRATE && atomic_load(&state->kernels_on);
    const enum metal_faster faster =
        measures ? ferry__metal_calibrate(state) : METAL_FASTER_UNKNOWN;
    state->all_kernels =
        engine == KERNEL || (apple && engine != BLIT && faster != METAL_FASTER_BLIT);
    return state->all_kernels ? 1 : faster == METAL_FASTER_KERNEL ? KERNEL_COPY_FROM : 0;
}

static void fill_limits(struct metal_state *state, struct ferry__limits *out)
{
    static const unsigned roles[METAL_QUEUES_MAX][METAL_QUEUES_MAX] = {
        {FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD | FERRY__ROLE_COPY},
        {FERRY__ROLE_UPLOAD | FERRY__ROLE_COPY, FERRY__ROLE_DOWNLOAD},
        {FERRY__ROLE_UPLOAD, FERRY__ROLE_DOWNLOAD, FERRY__ROLE_COPY},
    };
    *out = (struct ferry__limits){
        .copy_alignment = 4,
        .fill_alignment = 4,
        .fill_pattern = 1,
        .max_copy = MAX_COPY,
        .max_allocation = ferry__metal_max_buffer(state->device),
        .total_memory = mtl_working_set_size(state->device),
        .import_granularity = state->import_page,
        .has_kernel = true,
        .kernels_later = true,
        .blocks_max = BLOCKS_MAX,
        .block_size_max = BLOCK_SIZE_MAX,
        .kernel_decided = true,
        .atom = state->unified ? 1 : 4,
        .whole_readback = state->class == METAL_DISCRETE,
        .has_events = true,
        .queue_count = state->queue_count,
    };
    out->kernel_copy_from = kernel_copy_from(state);
    out->blocks_copy_from = state->all_kernels ? 0 : BLOCKS_COPY_FROM;
    out->import_cheap =
        out->import_granularity && (state->class == METAL_APPLE || state->class == METAL_INTEL);
    for (unsigned i = 0; i < state->queue_count; i++) {
        out->queues[i].event = (uint64_t)(uintptr_t)state->queues[i].event;
        out->queues[i].roles = roles[state->queue_count - 1][i] | FERRY__ROLE_KERNEL;
    }
}

/* What was found out: scripts/metal_report.sh reads it. */
static void tell(const struct metal_state *state, const struct ferry__limits *limits)
{
    ferry__log(FERRY_LOG_INFO, "metal: class %s, imports %s, residency set %s",
               ferry__metal_class_name(state->class),
               limits->import_granularity ? "right both ways" : "none",
               state->residency ? "in use" : "none");
}

static enum ferry_status metal_open(const struct ferry__open_params *params, void **out_state,
                                    struct ferry__limits *out_limits, char *why)
{
    const enum ferry_status loaded = ferry__mtl_load();
    if (loaded)
        return ferry__metal_why(loaded, why, "%s", ferry__mtl_why());
    struct metal_state *state = NULL;
    enum ferry_status status = make_state(&state, why);
    if (status)
        return status;
    void *pool = mtl_pool_push();
    status = pick_device(params, &state->device, why);
    if (!status && !ferry__mtl_check(state->device, MTL_ON_DEVICE, why, FERRY__WHY_MAX))
        status = FERRY_ERROR_UNSUPPORTED;
    if (!status)
        status = open_objects(state, params, why);
    if (!status) {
        fill_limits(state, out_limits);
        tell(state, out_limits);
        const struct ferry_metal_device *wrapped = params->wrapped;
        state->release = wrapped ? wrapped->release : NULL; /* of a failed open it is not called */
        state->release_user = wrapped ? wrapped->user : NULL;
    }
    mtl_pool_pop(pool);
    if (status) {
        metal_close(state);
        return status;
    }
    *out_state = state;
    return FERRY_OK;
}

static enum ferry_status metal_status(void *opened)
{
    struct metal_state *state = opened;
    return atomic_load(&state->lost) ? FERRY_ERROR_DEVICE_LOST : FERRY_OK;
}

const struct ferry__driver ferry__metal_driver = {
    .name = "metal",
    .list = ferry__metal_list,
    .open = metal_open,
    .close = metal_close,
    .status = metal_status,
    .memory_alloc = ferry__metal_memory_alloc,
    .memory_free = ferry__metal_memory_free,
    .host_import = ferry__metal_host_import,
    .flush = ferry__metal_flush,
    .invalidate = ferry__metal_invalidate,
    .kernels = ferry__metal_kernels,
    .submit = ferry__metal_submit,
    .completed = ferry__metal_completed,
    .wait_any = ferry__metal_wait_any,
    .wake = ferry__metal_wake,
    .event_create = ferry__metal_event_create,
    .event_destroy = ferry__metal_event_destroy,
    .event_signal = ferry__metal_event_signal,
    .memory_available = ferry__metal_memory_available,
};
