#include "env.h"
#include "host_internal.h"

#include <stdio.h>
#include <unistd.h>

enum { QUEUES_THERE_ARE = 4 }; /* unless the knob says another number */

static uint64_t knob(const struct host_knobs *knobs, enum host_knob which)
{
    return atomic_load(&knobs->value[which]);
}

static uint64_t minimum(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t memory_of(const struct host_knobs *knobs)
{
    uint64_t there_is = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return knob(knobs, HOST_MEMORY) ? knob(knobs, HOST_MEMORY) : there_is;
}

static uint32_t queues_of(const struct host_knobs *knobs)
{
    uint64_t queues = knob(knobs, HOST_QUEUES);
    return queues ? (uint32_t)queues : QUEUES_THERE_ARE;
}

static size_t host_list(struct ferry_device_info *infos, size_t capacity, char *why)
{
    struct host_knobs knobs;
    ferry__host_knobs_default(&knobs);
    if (!ferry__host_knobs_parse(&knobs, ferry__env("FERRY_HOST"), why)) {
        ferry__host_knobs_default(&knobs); /* the devices are there all the same; open tells */
    }
    size_t count = (size_t)knob(&knobs, HOST_DEVICES);
    for (size_t i = 0; i < count && i < capacity; i++) {
        struct ferry_device_info *info = &infos[i];
        uint64_t memory = memory_of(&knobs);
        snprintf(info->driver, sizeof info->driver, "host");
        snprintf(info->description, sizeof info->description, "host memory, %ld processors",
                 sysconf(_SC_NPROCESSORS_ONLN));
        info->kind = FERRY_DEVICE_HOST;
        info->unified = true;
        info->total_memory = memory;
        info->max_allocation = minimum(memory, knob(&knobs, HOST_MAX_ALLOCATION));
        info->max_buffer_size = info->max_allocation;
        info->import_granularity =
            knob(&knobs, HOST_NO_IMPORT) ? 0 : (uint64_t)sysconf(_SC_PAGESIZE);
        info->queues = queues_of(&knobs);
    }
    return count;
}

/* What each of count queues is for: as on a GPU, transfers apart from copies between buffers. */
static unsigned roles_of(uint32_t queue, uint32_t count, bool has_kernel)
{
    static const unsigned few[][3] = {
        {FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD | FERRY__ROLE_COPY, 0, 0},
        {FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD, FERRY__ROLE_COPY, 0},
        {FERRY__ROLE_UPLOAD, FERRY__ROLE_DOWNLOAD, FERRY__ROLE_COPY},
    };
    unsigned roles = few[minimum(count, 3) - 1][queue % 3];
    return roles & FERRY__ROLE_COPY && has_kernel ? roles | FERRY__ROLE_KERNEL : roles;
}

static enum ferry_status set_limits(struct host_device *device,
                                    const struct ferry__open_params *params, char *why)
{
    const struct host_knobs *knobs = &device->knobs;
    struct ferry__limits *limits = &device->limits;
    uint64_t align = knob(knobs, HOST_ALIGN);
    uint32_t queues = queues_of(knobs);
    bool has_kernel = knob(knobs, HOST_KERNEL);
    uint32_t standard = knob(knobs, HOST_QUEUES) ? queues : 1;
    *limits = (struct ferry__limits){
        .copy_alignment = (uint32_t)align,
        .fill_alignment = (uint32_t)align,
        .fill_pattern = (uint32_t)knob(knobs, HOST_FILL_PATTERN),
        .max_copy = knob(knobs, HOST_MAX_COPY) / align * align,
        .total_memory = memory_of(knobs),
        .max_allocation = minimum(memory_of(knobs), knob(knobs, HOST_MAX_ALLOCATION)),
        .import_granularity = knob(knobs, HOST_NO_IMPORT) ? 0 : (uint64_t)sysconf(_SC_PAGESIZE),
        .import_cheap = !knob(knobs, HOST_NO_IMPORT) && !knob(knobs, HOST_IMPORT_COSTLY),
        .has_kernel = has_kernel,
        .kernel_copy_from = has_kernel ? knob(knobs, HOST_KERNEL_FROM) : 0,
        .atom = knob(knobs, HOST_NONCOHERENT) ? 64 : 1,
        .has_events = knob(knobs, HOST_EVENTS),
        .queue_count = params->queues ? (uint32_t)minimum(params->queues, queues) : standard,
    };
    if (limits->max_copy == 0) {
        snprintf(why, FERRY__WHY_MAX, "FERRY_HOST: max_copy=%llu is less than align=%llu",
                 (unsigned long long)knob(knobs, HOST_MAX_COPY), (unsigned long long)align);
        return FERRY_ERROR_INVALID_ARGUMENT;
    }
    device->map_private = !knob(knobs, HOST_NO_MAP) && params->map_private != FERRY_MAP_NEVER;
    for (uint32_t i = 0; i < limits->queue_count; i++) {
        struct host_queue *queue = &device->queues[i];
        queue->roles = roles_of(i, limits->queue_count, has_kernel);
        limits->queues[i].roles = queue->roles;
        limits->queues[i].event = (uint64_t)(uintptr_t)&queue->event;
    }
    return FERRY_OK;
}

/* Locks, conditions and queues. An errno, or 0. */
static int set_up(struct host_device *device)
{
    int error = pthread_mutex_init(&device->lock, NULL);
    if (error) {
        return error;
    }
    error = ferry__cond_init(&device->changed);
    if (error) {
        pthread_mutex_destroy(&device->lock);
        return error;
    }
    for (uint32_t i = 0; i < FERRY__QUEUES_MAX; i++) {
        struct host_queue *queue = &device->queues[i];
        error = ferry__cond_init(&queue->work);
        if (error) {
            while (i-- > 0) {
                pthread_cond_destroy(&device->queues[i].work);
            }
            pthread_cond_destroy(&device->changed);
            pthread_mutex_destroy(&device->lock);
            return error;
        }
        queue->device = device;
        queue->event.device = device;
        queue->event.of_queue = true;
        queue->tail = &queue->head;
        queue->random = knob(&device->knobs, HOST_SEED) + i + 1;
    }
    device->random = knob(&device->knobs, HOST_SEED);
    device->process = (unsigned)getpid();
    return 0;
}

static enum ferry_status host_open(const struct ferry__open_params *params, void **out_state,
                                   struct ferry__limits *out_limits, char *why)
{
    if (params->wrapped) {
        snprintf(why, FERRY__WHY_MAX, "the host driver has no devices to wrap");
        return FERRY_ERROR_UNSUPPORTED;
    }
    struct host_device *device = ferry__alloc(sizeof *device);
    if (!device) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a device");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    enum ferry_status status = FERRY_ERROR_INVALID_ARGUMENT;
    ferry__host_knobs_default(&device->knobs);
    if (!ferry__host_knobs_parse(&device->knobs, ferry__env("FERRY_HOST"), why)) {
        goto free_device;
    }
    if (params->index >= knob(&device->knobs, HOST_DEVICES)) {
        snprintf(why, FERRY__WHY_MAX, "host:%u does not exist, there are %llu", params->index,
                 (unsigned long long)knob(&device->knobs, HOST_DEVICES));
        status = FERRY_ERROR_NO_DEVICE;
        goto free_device;
    }
    status = set_limits(device, params, why);
    if (status != FERRY_OK) {
        goto free_device;
    }
    if (set_up(device) != 0) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a device's locks");
        status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
        goto free_device;
    }
    *out_state = device;
    *out_limits = device->limits;
    return FERRY_OK;

free_device:
    ferry__free(device);
    return status;
}

static void host_close(void *state)
{
    struct host_device *device = state;
    if (device->process != (unsigned)getpid()) {
        return; /* a forked child: its parent's threads and locks are not there to be ended */
    }
    ferry__host_queues_finish(device);
    ferry__host_events_finish(device);
    ferry__host_memory_finish(device);
    for (uint32_t i = 0; i < FERRY__QUEUES_MAX; i++) {
        pthread_cond_destroy(&device->queues[i].work);
    }
    pthread_cond_destroy(&device->changed);
    pthread_mutex_destroy(&device->lock);
    ferry__free(device);
}

static enum ferry_status host_status(void *state)
{
    struct host_device *device = state;
    return atomic_load_explicit(&device->lost, memory_order_acquire) ? FERRY_ERROR_DEVICE_LOST
                                                                     : FERRY_OK;
}

uint64_t ferry__host_random(uint64_t *seed)
{
    *seed += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = *seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool ferry__host_fires(struct host_device *device, enum host_knob which)
{
    _Atomic uint64_t *left = &device->knobs.value[which];
    uint64_t n = atomic_load(left);
    while (n > 0 && n < UINT64_MAX && !atomic_compare_exchange_weak(left, &n, n - 1)) {
    }
    if (n == 1 || n == UINT64_MAX) {
        return true;
    }
    uint64_t every = which == HOST_LOSE_AT ? 0 : knob(&device->knobs, HOST_FAIL_EVERY);
    if (every == 0) {
        return false;
    }
    uint64_t seed = atomic_fetch_add(&device->random, 0x9e3779b97f4a7c15u);
    return every == UINT64_MAX || ferry__host_random(&seed) % every == 0;
}

bool ferry__host_set(void *state, const char *name, uint64_t n)
{
    struct host_device *device = state;
    enum host_knob which = ferry__host_knob_live(name);
    if (which == HOST_KNOB_COUNT) {
        return false;
    }
    atomic_store(&device->knobs.value[which], n);
    return true;
}

enum ferry_status ferry__host_breach(const char *why)
{
    ferry__log(FERRY_LOG_ERROR, "host driver: contract: %s", why);
    return FERRY_ERROR_INTERNAL;
}

const struct ferry__driver ferry__host_driver = {
    .name = "host",
    .list = host_list,
    .open = host_open,
    .close = host_close,
    .status = host_status,
    .memory_alloc = ferry__host_memory_alloc,
    .memory_free = ferry__host_memory_free,
    .host_import = ferry__host_import,
    .flush = ferry__host_flush,
    .invalidate = ferry__host_invalidate,
    .submit = ferry__host_submit,
    .completed = ferry__host_completed,
    .wait_any = ferry__host_wait_any,
    .wake = ferry__host_wake,
    .event_create = ferry__host_event_create,
    .event_destroy = ferry__host_event_destroy,
    .event_signal = ferry__host_event_raise,
    .memory_available = ferry__host_memory_available,
};
