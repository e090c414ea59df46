#include "api/device.h"

#include "api/calibrate.h"
#include "base/alloc.h"
#include "base/env.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/sharing.h"
#include "base/status.h"
#include "base/thread.h"
#include "base/words.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/external.h"
#include "engine/op.h"
#include "engine/reason.h"
#include "engine/submission.h"
#include "engine/ticket.h"
#include "engine/traced.h"
#include "engine/work_event.h"
#include "memory/host_memory.h"
#include "memory/pool.h"
#include "memory/staging.h"
#include "paths/bridge.h"
#include "paths/file.h"
#include "paths/stream.h"
#include "trace/trace.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* A device: opening, asking and closing it. Which one is opened: device_list.c. */

static const uint64_t STAGING_BUDGET = 64 << 20, POOL_BUDGET = 256 << 20, PARKED_MAX = 4 << 20;

/* --- opening ---------------------------------------------------------------------------------- */

static enum ferry_status forced_path(const struct ferry_device_params *params,
                                     enum ferry_path *out_path)
{
    const char *name = ferry__env("FERRY_PATH");
    *out_path = params->path;
    if ((unsigned)params->path > FERRY_PATH_IMPORTED)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_device_open: path %s cannot be forced",
                           ferry_path_name(params->path));
    if (params->path != FERRY_PATH_AUTO || !name || !name[0])
        return FERRY_OK;
    for (int path = FERRY_PATH_AUTO; path <= FERRY_PATH_IMPORTED; path++) {
        if (strcmp(name, ferry_path_name((enum ferry_path)path)))
            continue;
        *out_path = (enum ferry_path)path;
        return FERRY_OK;
    }
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                       "FERRY_PATH is \"%s\", not auto, direct, staged, pipelined or imported",
                       name);
}

/* The first queue with these roles; -1: none. */
static int find_queue(const struct ferry__limits *limits, unsigned roles)
{
    for (unsigned q = 0; q < limits->queue_count; q++)
        if ((limits->queues[q].roles & roles) == roles)
            return (int)q;
    return -1;
}

static void pick_queues(struct ferry_device *device)
{
    static const unsigned roles[] = {FERRY__ROLE_UPLOAD, FERRY__ROLE_DOWNLOAD, FERRY__ROLE_COPY,
                                     FERRY__ROLE_KERNEL};
    const struct ferry__limits *limits = &device->gpu.limits;
    for (size_t role = 0; role < sizeof roles / sizeof *roles; role++) {
        /* Where unaligned work is the kernel's, each queue in use must run it. */
        const bool runs = limits->copy_alignment > 1 || roles[role] == FERRY__ROLE_COPY;
        const unsigned kernel = limits->has_kernel && runs ? FERRY__ROLE_KERNEL : 0;
        int q = find_queue(limits, roles[role] | kernel);
        if (q < 0)
            q = find_queue(limits, kernel ? kernel : roles[role]);
        device->role_queue[role] = q < 0 ? 0 : (unsigned)q;
        device->gpu.info.role_queues[role] = (uint8_t)device->role_queue[role];
    }
    for (unsigned q = 0; q < limits->queue_count; q++)
        device->queues[q].event = limits->queues[q].event;
}

static int init_locks(struct ferry_device *device)
{
    int error = ferry__short_lock_init(&device->lock);
    if (!error)
        error = pthread_mutex_init(&device->gpu.host_lock, NULL);
    if (!error)
        error = ferry__cond_init(&device->changed);
    if (!error)
        error = ferry__cond_init(&device->engine_work);
    if (!error)
        error = ferry__cond_init(&device->turn);
    if (!error)
        error = ferry__cond_init(&device->callbacks.work);
    if (!error)
        error = ferry__cond_init(&device->callbacks.idle);
    if (!error)
        error = ferry__cond_init(&device->gpu.region_freed);
    return error;
}

static struct ferry_device *make_device(const struct ferry_device_params *params,
                                        enum ferry_path path, enum ferry_device_kind kind)
{
    const bool by_cpu = kind == FERRY_DEVICE_HOST || kind == FERRY_DEVICE_SOFTWARE;
    struct ferry_device *device = ferry__alloc(sizeof *device);
    if (!device)
        return NULL;
    if (!ferry__tickets_init(&device->tickets))
        goto free_tickets;
    if (ferry__metrics_init(&device->gpu.metrics))
        goto free_tickets;
    if (init_locks(device))
        goto free_metrics;
    const uint64_t staging = params->staging_budget ? params->staging_budget : STAGING_BUDGET;
    if (ferry__memory_init(&device->gpu, params->pool_budget ? params->pool_budget : POOL_BUDGET) ||
        ferry__staging_init(&device->gpu.upload, FERRY__MEMORY_UPLOAD, staging, by_cpu) ||
        ferry__staging_init(&device->gpu.readback, FERRY__MEMORY_READBACK, staging, by_cpu))
        goto free_metrics;
    atomic_init(&device->refs, 1);
    device->close_now = ferry__device_close_now;
    device->path = path;
    device->map = params->map_private;
    device->gpu.no_fallback = params->no_fallback;
    device->no_staging_wait = params->no_staging_wait;
    device->zeroed = params->zeroed;
    device->no_kernel = params->no_kernel;
    device->cpus_taken = by_cpu;
    device->parked_max = params->parked_max ? params->parked_max : PARKED_MAX;
    return device;
free_metrics:
    ferry__metrics_finish(&device->gpu.metrics);
free_tickets:
    ferry__tickets_finish(&device->tickets);
    ferry__free(device);
    return NULL;
}

/* A chunk is one allocation of the driver's. */
static void limit_chunks(struct ferry_device *device)
{
    struct ferry__staging *const both[] = {&device->gpu.upload, &device->gpu.readback};
    const uint64_t largest =
        ferry__round_down(device->gpu.limits.max_allocation, FERRY__STAGING_MIN);
    for (size_t i = 0; i < 2; i++)
        if (largest && both[i]->chunk_size > largest)
            both[i]->chunk_size = largest;
}

/* But for what no command can do. */
static void forbid_kernels(struct ferry__limits *limits)
{
    limits->blocks_max = 0;
    limits->kernel_copy_from = 0;
    limits->kernel_decided = true;
}

static void discard_device(struct ferry_device *device)
{
    ferry__staging_finish(&device->gpu, &device->gpu.upload);
    ferry__staging_finish(&device->gpu, &device->gpu.readback);
    ferry__memory_finish(&device->gpu);
    ferry__tickets_finish(&device->tickets);
    ferry__device_unref(device);
}

static enum ferry_status check_params(const struct ferry_device_params *params)
{
    if ((unsigned)params->map_private > FERRY_MAP_ALWAYS)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_device_open: unknown map_private %d", (int)params->map_private);
    if (!ferry__all_zero(params->reserved, sizeof params->reserved))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_device_open: reserved words are not 0");
    if (params->staging_budget && params->staging_budget < FERRY__STAGING_MIN)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_device_open: staging_budget %llu is below the smallest, %d",
                           (unsigned long long)params->staging_budget, FERRY__STAGING_MIN);
    return FERRY_OK;
}

/* What the limits say of the device to its users. */
static void note_limits(struct ferry__gpu *gpu)
{
    gpu->info.queues = gpu->limits.queue_count;
    gpu->info.total_memory = gpu->limits.total_memory;
    gpu->info.max_allocation = gpu->limits.max_allocation;
    gpu->info.max_buffer_size =
        ferry__round_down(gpu->limits.max_allocation, FERRY_BUFFER_ALIGNMENT);
    if (gpu->info.max_buffer_size > SIZE_MAX / 2)
        gpu->info.max_buffer_size = SIZE_MAX / 2;
    gpu->info.import_granularity = gpu->limits.import_granularity;
    gpu->info.paths = ferry__device_paths(gpu->limits.import_granularity);
    if (gpu->limits.blocks_max)
        gpu->info.paths |= 1u << FERRY_PATH_BLOCKS;
    if (gpu->driver->sharing && gpu->driver->sharing->reaches)
        gpu->info.paths |= 1u << FERRY_PATH_PEER;
}

enum ferry_status ferry__device_open_as(const struct ferry__driver *driver,
                                        const struct ferry__open_params *open_params,
                                        const struct ferry_device_info *info,
                                        const struct ferry_device_params *params,
                                        ferry_device **out_device)
{
    char why[FERRY__WHY_MAX] = "";
    enum ferry_path path;
    struct ferry__threshold_choice choice;
    enum ferry_status status = check_params(params);
    if (status || (status = forced_path(params, &path)) ||
        (status = ferry__thresholds_choose(params, &choice)))
        return status;
    struct ferry_device *device = make_device(params, path, info->kind);
    if (!device)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a device");
    device->gpu.driver = driver;
    device->gpu.info = *info;
    status = driver->open(open_params, &device->gpu.state, &device->gpu.limits, why);
    if (status) {
        discard_device(device);
        return ferry__fail(status, "opening %s: %s", info->name, why);
    }
    limit_chunks(device);
    if (device->no_kernel)
        forbid_kernels(&device->gpu.limits);
    note_limits(&device->gpu);
    if (!device->gpu.limits.atom)
        device->gpu.limits.atom = 1;
    device->gpu.limits_no_kernel = device->gpu.limits;
    device->gpu.limits_no_kernel.has_kernel = false;
    device->gpu.limits_no_kernel.blocks_max = 0;
    atomic_init(&device->gpu.kernels_there, !device->gpu.limits.kernels_later);
    pick_queues(device);
    ferry__thresholds_default(device, &choice);
    if (!ferry__devices_add(device)) {
        device->gpu.driver->close(device->gpu.state);
        discard_device(device);
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "opening %s: %d devices are open already, the most there may be",
                           info->name, (1 << FERRY__DEVICE_BITS) - 1);
    }
    device->first_ticket = ferry__ticket_next(device);
    if (!open_params->wrapped)
        ferry__thresholds_measure(device, &choice);
    ferry__device_trace(device);
    ferry__log(FERRY_LOG_INFO, "opened %s (%s): %s", device->gpu.info.name,
               device->gpu.info.description, device->gpu.info.reason);
    *out_device = device;
    return FERRY_OK;
}

/* --- closing ---------------------------------------------------------------------------------- */

/* Nobody can end external work any more. */
static void end_externals(struct ferry_device *device)
{
    ferry__device_lock(device);
    while (device->open_works.first) {
        struct ferry__op *op = ferry__work_of(device->open_works.first);
        ferry__log(FERRY_LOG_ERROR, "%s is closed, but external work %llu was not ended",
                   device->gpu.info.name, (unsigned long long)op->ticket);
        ferry__external_end(op, FERRY_ERROR_DEVICE_LOST, "the device was closed");
    }
    ferry__device_unlock(device);
}

/* What is still alive is good for destroy only: its memory goes with the device. */
static void orphan_buffers(struct ferry_device *device)
{
    ferry__device_lock(device);
    for (struct ferry__link *link = device->buffers.first; link; link = link->next) {
        struct ferry_buffer *buffer = FERRY__OF_LINK(link, struct ferry_buffer, of_device);
        if (!buffer->release)
            ferry__memory_give(&device->gpu, &buffer->place);
        buffer->zombie = true;
    }
    ferry__device_unlock(device);
}

void ferry__device_close_now(struct ferry_device *device)
{
    end_externals(device);
    ferry__streams_close(device);
    ferry__engine_finish(device);
    ferry__callbacks_finish(device);
    ferry__trace_close(device->trace);
    ferry__files_finish(device);
    ferry__slots_finish(device);
    ferry__devices_remove(device);
    orphan_buffers(device);
    atomic_store(&device->dead, FERRY__CLOSED);
    ferry__bridge_trim(device);
    ferry__host_finish(&device->gpu);
    ferry__tickets_finish(&device->tickets);
    ferry__submissions_free(device);
    ferry__work_events_finish(device);
    ferry__free(device->follows.list);
    ferry__reason_unref(device->reason);
    ferry__staging_finish(&device->gpu, &device->gpu.upload);
    ferry__staging_finish(&device->gpu, &device->gpu.readback);
    ferry__memory_finish(&device->gpu);
    device->gpu.driver->close(device->gpu.state);
    ferry__device_unref(device);
}

void ferry_device_close(ferry_device *device)
{
    if (!device)
        return;
    if (atomic_load(&device->dead) == FERRY__FORKED)
        return; /* the parent's threads and locks */
    const int cancel = ferry__cancel_off();
    if (ferry__inside_callback())
        ferry__close_later(device);
    else
        ferry__device_close_now(device);
    ferry__cancel_on(cancel);
}
