#include "cuda_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Lists of blocks: long ones are cut, so that all warps end together; copies of still longer ones
 * are as fast by the copy engines, which take nothing from the user's kernels. */
enum { BLOCKS_MAX = 1 << 20, BLOCK_SIZE_MAX = 64 << 10, BLOCKS_COPY_FROM = 512 << 10 };

/* --- the context of every entry --------------------------------------------------------------- */

/* Where the context cannot be entered nothing can be asked any more. */
static enum ferry_status lose_context(struct cuda *c, cu_result result, const char *call, char *why)
{
    char text[FERRY__WHY_MAX];
    ferry__cuda_result(&c->cu, result, call, text);
    ferry__cuda_lose(c, text);
    if (why)
        snprintf(why, FERRY__WHY_MAX, "%s", text);
    return FERRY_ERROR_DEVICE_LOST;
}

enum ferry_status ferry__cuda_enter(struct cuda *c, struct cuda_scope *out_scope, char *why)
{
    cu_context ignored;
    cu_result result = c->cu.CtxPushCurrent(c->context);
    if (result)
        return lose_context(c, result, "cuCtxPushCurrent", why);
    out_scope->mode = CU_CAPTURE_RELAXED;
    result = c->cu.ThreadExchangeStreamCaptureMode(&out_scope->mode);
    if (!result)
        return FERRY_OK;
    (void)c->cu.CtxPopCurrent(&ignored);
    return lose_context(c, result, "cuThreadExchangeStreamCaptureMode", why);
}

void ferry__cuda_leave(struct cuda *c, struct cuda_scope *scope)
{
    cu_context ignored;
    (void)c->cu.ThreadExchangeStreamCaptureMode(&scope->mode);
    (void)c->cu.CtxPopCurrent(&ignored);
}

bool ferry__cuda_forked(const struct cuda *c)
{
    return c->process != (long)getpid();
}

/* --- loss ------------------------------------------------------------------------------------- */

void ferry__cuda_lose(struct cuda *c, const char *why)
{
    pthread_mutex_lock(&c->wake.lock);
    if (!atomic_load(&c->lost))
        snprintf(c->wake.lost_why, sizeof c->wake.lost_why, "%s", why);
    atomic_store(&c->lost, true);
    pthread_cond_broadcast(&c->wake.cond);
    pthread_mutex_unlock(&c->wake.lock);
}

void ferry__cuda_lost_why(struct cuda *c, char *why)
{
    pthread_mutex_lock(&c->wake.lock);
    snprintf(why, FERRY__WHY_MAX, "%s", c->wake.lost_why);
    pthread_mutex_unlock(&c->wake.lock);
}

enum ferry_status ferry__cuda_fail(struct cuda *c, cu_result result, const char *call, char *why)
{
    char text[FERRY__WHY_MAX];
    const enum ferry_status status = ferry__cuda_result(&c->cu, result, call, text);
    if (why)
        snprintf(why, FERRY__WHY_MAX, "%s", text);
    if (ferry__cuda_is_sticky(result))
        ferry__cuda_lose(c, text);
    return status;
}

enum ferry_status ferry__cuda_status(void *state)
{
    struct cuda *c = state;
    return atomic_load(&c->lost) ? FERRY_ERROR_DEVICE_LOST : FERRY_OK;
}

/* --- open and close --------------------------------------------------------------------------- */

/* By how many queues there are: what each is for. */
static const unsigned roles[CUDA__QUEUES_MAX][CUDA__QUEUES_MAX] = {
    {FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD | FERRY__ROLE_COPY},
    {FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD, FERRY__ROLE_COPY},
    {FERRY__ROLE_UPLOAD, FERRY__ROLE_DOWNLOAD, FERRY__ROLE_COPY},
};

static enum ferry_status make_queues(struct cuda *c, uint32_t limit, char *why)
{
    const uint32_t count = limit && limit < CUDA__QUEUES_MAX ? limit : CUDA__QUEUES_MAX;
    ferry__cuda_words_init(c);
    for (uint32_t i = 0; i < count; i++) {
        const enum ferry_status status =
            ferry__cuda_queue_init(c, &c->queues[i], roles[count - 1][i], why);
        if (status)
            return status;
        c->queue_count++;
    }
    return FERRY_OK;
}

static void describe_limits(const struct cuda *c, const struct ferry_device_info *info,
                            bool has_kernel, struct ferry__limits *out)
{
    *out = (struct ferry__limits){
        .copy_alignment = 1,
        .fill_alignment = 1,
        .fill_pattern = 4,
        .max_copy = (uint64_t)1 << 40,
        .max_allocation = info->max_allocation,
        .total_memory = info->total_memory,
        .import_granularity = info->import_granularity,
        .import_lasting = true,
        .has_kernel = has_kernel,
        .blocks_max = has_kernel ? BLOCKS_MAX : 0,
        .block_size_max = BLOCK_SIZE_MAX,
        .blocks_copy_from = BLOCKS_COPY_FROM,
        .atom = 1,
        .has_events = true,
        .events_by_stream = true,
        .polls = true,
        .queue_count = c->queue_count,
    };
    for (uint32_t i = 0; i < c->queue_count; i++) {
        out->queues[i].event = (uint64_t)(uintptr_t)&c->queues[i];
        out->queues[i].roles = c->queues[i].roles | (has_kernel ? FERRY__ROLE_KERNEL : 0u);
    }
}

/* Where sysfs has it. */
static void find_pci(const struct cuda *c, struct ferry__limits *out)
{
    int domain = 0, bus = 0, slot = 0;
    if (c->cu.DeviceGetAttribute(&domain, CU_ATTRIBUTE_PCI_DOMAIN, c->device) ||
        c->cu.DeviceGetAttribute(&bus, CU_ATTRIBUTE_PCI_BUS, c->device) ||
        c->cu.DeviceGetAttribute(&slot, CU_ATTRIBUTE_PCI_DEVICE, c->device))
        return;
    snprintf(out->pci, sizeof out->pci, "%04x:%02x:%02x.0", (unsigned)domain & 0xffff,
             (unsigned)bus & 0xff, (unsigned)slot & 0x1f);
}

/* With the context current: the kernels are compiled while all else is made. */
static enum ferry_status set_up(struct cuda *c, const struct ferry__open_params *params,
                                const struct ferry_device_info *info,
                                struct ferry__limits *out_limits, char *why)
{
    int read_only = 0, units = 0;
    c->kernels.copies = !params->no_kernel;
    ferry__cuda_kernels_start(c);
    if (!c->cu.DeviceGetAttribute(&read_only, CU_ATTRIBUTE_READ_ONLY_HOST_REGISTER, c->device))
        c->read_only_registers = read_only != 0;
    if (!c->cu.DeviceGetAttribute(&units, CU_ATTRIBUTE_UNITS, c->device) && units > 0)
        c->kernels.units = (unsigned)units;
    ferry__cuda_share_init(c);
    const enum ferry_status status = make_queues(c, params->queues, why);
    const bool has_kernel = ferry__cuda_kernels_join(c);
    if (!status && !has_kernel)
        ferry__log(FERRY_LOG_INFO, "cuda: no kernels: %s", c->kernels.why);
    if (!status && !c->words)
        ferry__log(FERRY_LOG_INFO, "cuda: the device writes no values: each end is asked for");
    if (status)
        return status;
    describe_limits(c, info, has_kernel, out_limits);
    find_pci(c, out_limits);
    return FERRY_OK;
}

/* The context: the user's, or the device's primary one, which is retained. */
static enum ferry_status get_context(struct cuda *c, const struct ferry__open_params *params,
                                     struct cuda_found *found, char *why)
{
    cu_context users = (cu_context)(uintptr_t)params->wrapped;
    const enum ferry_status status = users ? ferry__cuda_find_wrapped(&c->cu, users, found, why)
                                           : ferry__cuda_find(&c->cu, params->index, found, why);
    if (status)
        return status;
    c->device = found->device;
    c->ordinal = found->ordinal;
    c->wrapped = users != NULL;
    c->context = users;
    if (users)
        return FERRY_OK;
    const cu_result result = c->cu.DevicePrimaryCtxRetain(&c->context, c->device);
    if (!result)
        return FERRY_OK;
    c->context = NULL;
    return ferry__cuda_fail(c, result, "cuDevicePrimaryCtxRetain", why);
}

static enum ferry_status open_device(struct cuda *c, const struct ferry__open_params *params,
                                     struct ferry__limits *out_limits, char *why)
{
    struct cuda_found found = {0};
    struct cuda_scope scope;
    enum ferry_status status = ferry__cuda_load(&c->cu, why);
    if (!status)
        status = get_context(c, params, &found, why);
    if (!status)
        status = ferry__cuda_enter(c, &scope, why);
    if (status)
        return status;
    status = set_up(c, params, &found.info, out_limits, why);
    ferry__cuda_leave(c, &scope);
    return status;
}

static struct cuda *create(char *why)
{
    struct cuda *c = ferry__alloc(sizeof *c);
    if (!c)
        goto fail;
    c->process = (long)getpid();
    if (ferry__cuda_wake_init(c))
        goto free_state;
    if (ferry__cuda_peers_init(c))
        goto finish_wake;
    if (!ferry__cuda_freeing_init(c))
        return c;
    ferry__cuda_peers_finish(c);
finish_wake:
    ferry__cuda_wake_finish(c);
free_state:
    ferry__free(c);
fail:
    snprintf(why, FERRY__WHY_MAX, "no host memory for the device");
    return NULL;
}

enum ferry_status ferry__cuda_open(const struct ferry__open_params *params, void **out_state,
                                   struct ferry__limits *out_limits, char *why)
{
    struct cuda *c = create(why);
    if (!c)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    const enum ferry_status status = open_device(c, params, out_limits, why);
    if (status)
        ferry__cuda_close(c);
    else
        *out_state = c;
    return status;
}

/* What needs the context. */
static void take_down(struct cuda *c)
{
    struct cuda_scope scope;
    const bool inside = !ferry__cuda_enter(c, &scope, NULL);
    for (uint32_t i = 0; i < c->queue_count; i++)
        ferry__cuda_queue_finish(c, &c->queues[i]);
    ferry__cuda_words_finish(c);
    ferry__cuda_kernels_free(c);
    if (inside)
        ferry__cuda_leave(c, &scope);
    if (!c->wrapped)
        (void)c->cu.DevicePrimaryCtxRelease(c->device);
}

void ferry__cuda_close(void *state)
{
    struct cuda *c = state;
    if (ferry__cuda_forked(c))
        return; /* the parent's threads, locks and context are not there to be ended */
    ferry__cuda_freeing_finish(c);
    if (c->context)
        take_down(c);
    ferry__cuda_peers_finish(c);
    ferry__cuda_wake_finish(c);
    ferry__free(c);
}

const struct ferry__driver ferry__cuda_driver = {
    .name = "cuda",
    .list = ferry__cuda_list,
    .open = ferry__cuda_open,
    .close = ferry__cuda_close,
    .status = ferry__cuda_status,
    .memory_alloc = ferry__cuda_memory_alloc,
    .memory_free = ferry__cuda_memory_free,
    .memory_free_pages = ferry__cuda_memory_free_pages,
    .memory_settle = ferry__cuda_memory_settle,
    .host_import = ferry__cuda_host_import,
    .host_find = ferry__cuda_host_find,
    .sharing = &ferry__cuda_sharing,
    .address = ferry__cuda_kernel_address,
    .submit = ferry__cuda_submit,
    .completed = ferry__cuda_completed,
    .wait_any = ferry__cuda_wait_any,
    .wake = ferry__cuda_wake,
    .event_create = ferry__cuda_event_create,
    .event_destroy = ferry__cuda_event_destroy,
    .event_signal = ferry__cuda_event_signal,
    .memory_available = ferry__cuda_memory_available,
};
