/*
 * The limits, the disorder and the delays of other devices, as the knobs say. A driver of a real
 * device has the first only, and asks the device for them.
 */
#include "host_internal.h"

#include <stdio.h>
#include <unistd.h>

enum { QUEUES_THERE_ARE = 4 }; /* unless the knob says another number */
enum {
    YIELDS_MAX = 2,   /* out of order: how many newer submissions may pass one */
    GRACE_NS = 500000 /* out of order: how long one waits for a newer one to come */
};

static uint64_t minimum(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t ferry__host_memory_of(const struct host_knobs *knobs)
{
    uint64_t there_is = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return ferry__host_knob(knobs, HOST_MEMORY) ? ferry__host_knob(knobs, HOST_MEMORY) : there_is;
}

uint64_t ferry__host_allocation_max(const struct host_knobs *knobs)
{
    return minimum(ferry__host_memory_of(knobs), ferry__host_knob(knobs, HOST_MAX_ALLOCATION));
}

uint32_t ferry__host_queues_of(const struct host_knobs *knobs)
{
    uint64_t queues = ferry__host_knob(knobs, HOST_QUEUES);
    return queues ? (uint32_t)queues : QUEUES_THERE_ARE;
}

/* What each of count queues is for: as on a GPU, transfers apart from copies between buffers. */
static unsigned roles_of(uint32_t queue, uint32_t count, bool runs_kernels)
{
    static const unsigned few[][3] = {
        {FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD | FERRY__ROLE_COPY, 0, 0},
        {FERRY__ROLE_UPLOAD | FERRY__ROLE_DOWNLOAD, FERRY__ROLE_COPY, 0},
        {FERRY__ROLE_UPLOAD, FERRY__ROLE_DOWNLOAD, FERRY__ROLE_COPY},
    };
    unsigned roles = few[minimum(count, 3) - 1][queue % 3];
    return roles & FERRY__ROLE_COPY && runs_kernels ? roles | FERRY__ROLE_KERNEL : roles;
}

enum ferry_status ferry__host_limits(struct host_device *device,
                                     const struct ferry__open_params *params, char *why)
{
    const struct host_knobs *knobs = &device->knobs;
    struct ferry__limits *limits = &device->limits;
    uint64_t align = ferry__host_knob(knobs, HOST_ALIGN);
    uint32_t queues = ferry__host_queues_of(knobs);
    bool has_kernel = ferry__host_knob(knobs, HOST_KERNEL);
    bool has_blocks = (has_kernel || align == 1) && ferry__host_knob(knobs, HOST_BLOCKS);
    uint32_t standard = ferry__host_knob(knobs, HOST_QUEUES) ? queues : 1;
    *limits = (struct ferry__limits){
        .copy_alignment = (uint32_t)align,
        .fill_alignment = (uint32_t)align,
        .fill_pattern = (uint32_t)ferry__host_knob(knobs, HOST_FILL_PATTERN),
        .max_copy = ferry__host_knob(knobs, HOST_MAX_COPY) / align * align,
        .total_memory = ferry__host_memory_of(knobs),
        .max_allocation = ferry__host_allocation_max(knobs),
        .import_granularity =
            ferry__host_knob(knobs, HOST_NO_IMPORT) ? 0 : (uint64_t)sysconf(_SC_PAGESIZE),
        .import_cheap = !ferry__host_knob(knobs, HOST_NO_IMPORT) &&
                        !ferry__host_knob(knobs, HOST_IMPORT_COSTLY),
        .has_kernel = has_kernel,
        .kernels_later = ferry__host_knob(knobs, HOST_LATE_KERNEL) > 0,
        .kernel_copy_from = has_kernel ? ferry__host_knob(knobs, HOST_KERNEL_FROM) : 0,
        .blocks_max = has_blocks ? (uint32_t)ferry__host_knob(knobs, HOST_BLOCKS) : 0,
        .block_size_max = (uint32_t)ferry__host_knob(knobs, HOST_BLOCK_SIZE),
        .blocks_copy_from = ferry__host_knob(knobs, HOST_BLOCKS_COPY_FROM),
        .atom = ferry__host_knob(knobs, HOST_NONCOHERENT) ? 64 : 1,
        .has_events = ferry__host_knob(knobs, HOST_EVENTS),
        .queue_count = params->queues ? (uint32_t)minimum(params->queues, queues) : standard,
    };
    if (limits->max_copy == 0) {
        snprintf(why, FERRY__WHY_MAX, "FERRY_HOST: max_copy=%llu is less than align=%llu",
                 (unsigned long long)ferry__host_knob(knobs, HOST_MAX_COPY),
                 (unsigned long long)align);
        return FERRY_ERROR_INVALID_ARGUMENT;
    }
    device->map_private =
        !ferry__host_knob(knobs, HOST_NO_MAP) && params->map_private != FERRY_MAP_NEVER;
    for (uint32_t i = 0; i < limits->queue_count; i++) {
        struct host_queue *queue = &device->queues[i];
        queue->roles = roles_of(i, limits->queue_count, has_kernel || has_blocks);
        limits->queues[i].roles = queue->roles;
        limits->queues[i].event = (uint64_t)(uintptr_t)&queue->event;
    }
    return FERRY_OK;
}

bool ferry__host_kernels(void *state, uint64_t timeout_ns)
{
    struct host_device *device = state;
    _Atomic uint64_t *late = &device->knobs.value[HOST_LATE_KERNEL];
    uint64_t left = atomic_load(late);
    while (left && left != UINT64_MAX && !timeout_ns &&
           !atomic_compare_exchange_weak(late, &left, left - 1))
        ;
    if (timeout_ns)
        atomic_store(late, 0);
    return !left || timeout_ns;
}

/* A head of another queue that was submitted later and could run now; 0: none. */
static struct host_queue *newer_one(const struct host_queue *queue)
{
    struct host_device *device = queue->device;
    for (uint32_t i = 0; i < device->limits.queue_count; i++) {
        struct host_submission *s = device->queues[i].head;
        if (s && s->number > queue->head->number && ferry__host_reached(s->waits, s->wait_count))
            return &device->queues[i];
    }
    return NULL;
}

/* Lets newer submissions of other queues pass. The newest one waits for nobody: no deadlock. */
static void let_pass(struct host_queue *queue)
{
    struct host_device *device = queue->device;
    uint64_t deadline = ferry__deadline(GRACE_NS);
    for (int yields = 0; yields < YIELDS_MAX && !atomic_load(&device->losing);) {
        const struct host_queue *other = newer_one(queue);
        if (!other) {
            if (!ferry__cond_wait_until(&device->changed, &device->lock, deadline))
                return;
            continue;
        }
        uint64_t number = other->head->number;
        while (!atomic_load(&device->losing) && other->head && other->head->number == number)
            pthread_cond_wait(&device->changed, &device->lock);
        yields++;
    }
}

/* Holds the head of a queue back as the knobs say; the lock is held. */
void ferry__host_hold_back(struct host_queue *queue)
{
    struct host_device *device = queue->device;
    if (ferry__host_knob(&device->knobs, HOST_OUT_OF_ORDER))
        let_pass(queue);
    if (atomic_load(&device->losing) || !queue->head->delay_ns)
        return; /* a loss has ended the head */
    const uint64_t deadline = ferry__deadline(queue->head->delay_ns);
    while (!atomic_load(&device->losing) &&
           ferry__cond_wait_until(&device->changed, &device->lock, deadline)) {
    }
}

/* Commands without a barrier between them may run in any order: so they do. */
static void shuffle(struct host_command *commands, size_t count, uint64_t *seed)
{
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && !commands[end].barrier; end++) {
        }
        for (size_t i = end - first; i > 1; i--) {
            size_t other = first + (size_t)(ferry__host_random(seed) % i);
            struct host_command last = commands[first + i - 1];
            commands[first + i - 1] = commands[other];
            commands[other] = last;
        }
    }
}

/* Decides at submission what the knobs do to it, so that it does not depend on the threads. */
void ferry__host_imitate(struct host_queue *queue, struct host_submission *s)
{
    struct host_device *device = queue->device;
    uint64_t delay = ferry__host_knob(&device->knobs, HOST_DELAY_US) * 1000;
    s->delay_ns = delay ? delay + ferry__host_random(&queue->random) % (delay / 2) : 0;
    shuffle(s->commands, s->count, &queue->random);
    for (size_t i = 0; i < s->count; i++)
        if (s->commands[i].list)
            s->commands[i].block_first =
                (uint32_t)(ferry__host_random(&queue->random) % s->commands[i].block_count);
    ferry__host_fail_later(device, s);
}
