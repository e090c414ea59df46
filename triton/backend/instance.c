#include "backend.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- lists, under the lock -------------------------------------------------------------------- */

static void append(struct slot **list, struct slot *slot)
{
    while (*list)
        list = &(*list)->next;
    slot->next = NULL;
    *list = slot;
}

static struct slot *take_first(struct slot **list)
{
    struct slot *slot = *list;
    if (slot)
        *list = slot->next;
    return slot;
}

/* Under the lock. Nobody is woken where nobody waits: most batches go by without a system call. */
static void wait_for_change(struct instance *instance)
{
    instance->waiting++;
    pthread_cond_wait(&instance->changed, &instance->lock);
    instance->waiting--;
}

static void tell_change(struct instance *instance)
{
    if (instance->waiting)
        pthread_cond_broadcast(&instance->changed);
}

struct slot *instance_take_slot(struct instance *instance)
{
    pthread_mutex_lock(&instance->lock);
    while (!instance->free)
        wait_for_change(instance);
    struct slot *slot = take_first(&instance->free);
    instance->busy++;
    pthread_mutex_unlock(&instance->lock);
    return slot;
}

void instance_give_slot(struct slot *slot)
{
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    slot->next = instance->free;
    instance->free = slot;
    instance->busy--;
    tell_change(instance);
    pthread_mutex_unlock(&instance->lock);
}

void instance_send_later(struct slot *slot)
{
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    append(&instance->to_send, slot);
    pthread_cond_signal(&instance->to_do);
    pthread_mutex_unlock(&instance->lock);
}

/* --- the gather's callback -------------------------------------------------------------------- */

void instance_expect_gather(struct slot *slot)
{
    pthread_mutex_lock(&slot->instance->lock);
    slot->awaits_gather = true;
    pthread_mutex_unlock(&slot->instance->lock);
}

void instance_note_gather(struct slot *slot)
{
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    slot->awaits_gather = false;
    tell_change(instance);
    pthread_mutex_unlock(&instance->lock);
}

void instance_await_gather(struct slot *slot)
{
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    while (slot->awaits_gather)
        wait_for_change(instance);
    pthread_mutex_unlock(&instance->lock);
}

/* --- metrics and memory ----------------------------------------------------------------------- */

enum { METRICS_INTERVAL_NS = 100000000 };

void instance_touch_metrics(struct instance *instance)
{
    if (atomic_load(&instance->metrics_stale))
        return;
    pthread_mutex_lock(&instance->lock);
    atomic_store(&instance->metrics_stale, true);
    pthread_cond_signal(&instance->to_do);
    pthread_mutex_unlock(&instance->lock);
}

static void tell_metrics(struct instance *instance)
{
    atomic_store(&instance->metrics_stale, false); /* what comes from now on may be told or not */
    backend_log(TRITONSERVER_LOG_WARN, "metrics", ferry_triton_metrics_update());
}

/* Under the lock: the sender tells them some time after the first change, and not more often. */
static void wait_with_metrics(struct instance *instance)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += METRICS_INTERVAL_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int error = 0;
    while (!instance->to_send && !instance->stop && !error)
        error = pthread_cond_timedwait(&instance->to_do, &instance->lock, &until);
    if (!error)
        return;
    pthread_mutex_unlock(&instance->lock);
    tell_metrics(instance);
    pthread_mutex_lock(&instance->lock);
}

static bool can_report(void)
{
    return ferry__triton.TRITONSERVER_BufferAttributesNew &&
           ferry__triton.TRITONSERVER_BufferAttributesDelete &&
           ferry__triton.TRITONSERVER_BufferAttributesSetMemoryType &&
           ferry__triton.TRITONSERVER_BufferAttributesSetMemoryTypeId &&
           ferry__triton.TRITONSERVER_BufferAttributesSetByteSize &&
           ferry__triton.TRITONBACKEND_ModelInstanceReportMemoryUsage;
}

/* A server may lack these functions, or have them and not do it: then it is not told. */
static TRITONSERVER_Error *report(const struct instance *instance)
{
    TRITONSERVER_BufferAttributes *usage = NULL;
    TRITONSERVER_Error *error = ferry__triton.TRITONSERVER_BufferAttributesNew(&usage);
    if (error)
        return error;
    error = ferry__triton.TRITONSERVER_BufferAttributesSetMemoryType(usage, instance->memory_type);
    if (!error)
        error =
            ferry__triton.TRITONSERVER_BufferAttributesSetMemoryTypeId(usage, instance->memory_id);
    if (!error)
        error = ferry__triton.TRITONSERVER_BufferAttributesSetByteSize(usage, instance->memory);
    if (!error)
        error =
            ferry__triton.TRITONBACKEND_ModelInstanceReportMemoryUsage(instance->triton, &usage, 1);
    ferry__triton.TRITONSERVER_ErrorDelete(
        ferry__triton.TRITONSERVER_BufferAttributesDelete(usage));
    return error;
}

void instance_count_memory(struct instance *instance, int64_t bytes)
{
    pthread_mutex_lock(&instance->lock); /* also of the order of the reports */
    instance->memory += (uint64_t)bytes;
    if (bytes && can_report())
        ferry__triton.TRITONSERVER_ErrorDelete(report(instance));
    pthread_mutex_unlock(&instance->lock);
}

/* --- the sender thread ------------------------------------------------------------------------ */

static void *run_sender(void *arg)
{
    struct instance *instance = arg;
    pthread_mutex_lock(&instance->lock);
    while (instance->to_send || !instance->stop) {
        struct slot *slot = take_first(&instance->to_send);
        if (slot) {
            pthread_mutex_unlock(&instance->lock);
            finish(slot);
            pthread_mutex_lock(&instance->lock);
        } else if (atomic_load(&instance->metrics_stale)) {
            wait_with_metrics(instance);
        } else {
            pthread_cond_wait(&instance->to_do, &instance->lock);
        }
    }
    pthread_mutex_unlock(&instance->lock);
    return NULL;
}

/* Signals are the server's. */
static TRITONSERVER_Error *start_sender(struct instance *instance)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&instance->sender, NULL, run_sender, instance);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    instance->sending = !error;
    return error ? backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no sender thread: error %d", error)
                 : NULL;
}

/* --- the device ------------------------------------------------------------------------------- */

/* KIND_GPU names a device by its number: that is CUDA's where CUDA has devices, and the index in
 * ferry_device_list elsewhere. */
static TRITONSERVER_Error *name_by_kind(TRITONBACKEND_ModelInstance *triton, char *name,
                                        size_t size)
{
    TRITONSERVER_InstanceGroupKind kind = TRITONSERVER_INSTANCEGROUPKIND_CPU;
    int32_t id = 0;
    size_t count = 0;
    name[0] = 0;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ModelInstanceKind(triton, &kind);
    if (!error && kind == TRITONSERVER_INSTANCEGROUPKIND_GPU)
        error = ferry__triton.TRITONBACKEND_ModelInstanceDeviceId(triton, &id);
    if (error || kind != TRITONSERVER_INSTANCEGROUPKIND_GPU)
        return error;
    struct ferry_device_info infos[64];
    const size_t capacity = sizeof infos / sizeof *infos;
    error = ferry_triton_error(ferry_device_list(infos, capacity, &count), "listing the devices");
    if (error)
        return error;
    if (id < 0 || (size_t)id >= count || (size_t)id >= capacity)
        return backend_fail(TRITONSERVER_ERROR_INVALID_ARG,
                            "KIND_GPU with gpus [%d]: Ferry lists %zu devices, numbered from 0", id,
                            count);
    snprintf(name, size, "%s", infos[id].name);
    for (size_t i = 0; i < count && i < capacity; i++)
        if (!strcmp(infos[i].driver, "cuda"))
            snprintf(name, size, "cuda:%d", (int)id);
    return NULL;
}

static uint64_t direct_uploads(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_DIRECT].operations;
}

/* Does the CPU reach the device's private memory? Seen by what becomes of a byte. */
static bool is_reached(ferry_device *device)
{
    ferry_buffer *buffer = NULL;
    const struct ferry_buffer_params params = {.size = 1, .label = "a try"};
    const uint64_t before = direct_uploads(device);
    bool reached = false;
    if (!ferry_buffer_create(device, &params, &buffer) && !ferry_copy_from_host(buffer, "", 1, 0))
        reached = direct_uploads(device) > before;
    ferry_buffer_destroy(buffer);
    return reached;
}

static TRITONSERVER_Error *open_device(struct instance *instance)
{
    const struct model *model = instance->model;
    struct ferry_device_params params = model->params;
    struct ferry_device_info info;
    char by_kind[sizeof info.name];
    TRITONSERVER_Error *error = name_by_kind(instance->triton, by_kind, sizeof by_kind);
    if (error)
        return error;
    params.name = model->device_name ? model->device_name : by_kind[0] ? by_kind : NULL;
    error = model->has_params ? ferry_triton_device_open(&params, &instance->device)
                              : ferry_triton_device(params.name, &instance->device);
    if (error)
        return error;
    ferry_device_get_info(instance->device, &info);
    if (by_kind[0] && strcmp(by_kind, info.name))
        return backend_fail(TRITONSERVER_ERROR_INVALID_ARG,
                            "parameter device is %s, but gpus names %s", info.name, by_kind);
    if (!strncmp(by_kind, "cuda:", 5) &&
        ferry_triton_device_id(instance->device) != atoi(by_kind + 5))
        return backend_fail(TRITONSERVER_ERROR_INVALID_ARG,
                            "KIND_GPU with gpus [%s]: Ferry does not use that device of CUDA's",
                            by_kind + 5);
    const bool reached = is_reached(instance->device);
    const bool is_host = info.kind == FERRY_DEVICE_HOST;
    instance->memory_type = is_host ? TRITONSERVER_MEMORY_CPU : TRITONSERVER_MEMORY_GPU;
    instance->memory_id = is_host ? 0 : ferry_triton_device_id(instance->device);
    error = work_choose(instance->device, reached, model->operation, &instance->work);
    instance->by_cpu = reached && (instance->work == WORK_NONE || instance->work == WORK_CPU);
    instance->at_once = instance->work == WORK_NONE && !reached;
    return error;
}

/* --- an instance ------------------------------------------------------------------------------ */

static bool make_slots(struct instance *instance)
{
    const struct model *model = instance->model;
    instance->slots = calloc(model->in_flight, sizeof *instance->slots);
    if (!instance->slots)
        return false;
    for (uint32_t i = 0; i < model->in_flight; i++) {
        struct slot *slot = &instance->slots[i];
        slot->instance = instance;
        slot->inputs = calloc(model->input_count, sizeof *slot->inputs);
        slot->outputs = calloc(model->output_count, sizeof *slot->outputs);
        slot->in_place = calloc(model->input_count, sizeof *slot->in_place);
        slot->sizes = calloc(model->input_count, sizeof *slot->sizes);
        slot->wrapped = calloc(model->input_count, sizeof(*slot->wrapped));
        if (!slot->inputs || !slot->outputs || !slot->in_place || !slot->sizes || !slot->wrapped)
            return false;
        append(&instance->free, slot);
    }
    return true;
}

TRITONSERVER_Error *instance_create(TRITONBACKEND_ModelInstance *triton, const struct model *model,
                                    struct instance **out_instance)
{
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance)
        return backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
    instance->triton = triton;
    instance->model = model;
    pthread_mutex_init(&instance->lock, NULL);
    pthread_cond_init(&instance->changed, NULL);
    pthread_cond_init(&instance->to_do, NULL);
    TRITONSERVER_Error *error = open_device(instance);
    if (!error && !make_slots(instance))
        error = backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
    if (!error)
        error = start_sender(instance);
    if (error)
        instance_destroy(instance);
    else
        *out_instance = instance;
    return error;
}

static void drain(struct instance *instance)
{
    pthread_mutex_lock(&instance->lock);
    while (instance->busy)
        wait_for_change(instance);
    instance->stop = true;
    pthread_cond_signal(&instance->to_do);
    pthread_mutex_unlock(&instance->lock);
    pthread_join(instance->sender, NULL);
}

void instance_destroy(struct instance *instance)
{
    if (instance->sending) {
        drain(instance);
        tell_metrics(instance);
    }
    /* The callback of the last gather may still be returning. */
    if (instance->device)
        (void)!ferry_wait_idle(instance->device);
    for (uint32_t i = 0; instance->slots && i < instance->model->in_flight; i++)
        slot_free(&instance->slots[i]);
    free(instance->slots);
    if (instance->device)
        ferry_triton_device_release(instance->device);
    pthread_cond_destroy(&instance->to_do);
    pthread_cond_destroy(&instance->changed);
    pthread_mutex_destroy(&instance->lock);
    free(instance);
}
