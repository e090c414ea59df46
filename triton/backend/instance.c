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

struct slot *instance_take_slot(struct instance *instance)
{
    pthread_mutex_lock(&instance->lock);
    while (!instance->free)
        pthread_cond_wait(&instance->changed, &instance->lock);
    struct slot *slot = take_first(&instance->free);
    slot->has_work = false;
    slot->pending = 2;
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
    pthread_cond_broadcast(&instance->changed);
    pthread_mutex_unlock(&instance->lock);
}

void instance_expect(struct slot *slot)
{
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    slot->pending++;
    pthread_mutex_unlock(&instance->lock);
}

/* Callbacks may come in another order than their operations were submitted in, where those do not
 * depend on each other: the slot is the batch's until all have. */
void instance_leave(struct slot *slot)
{
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    slot->pending--;
    if (!slot->pending)
        append(&instance->to_send, slot);
    else if (slot->pending == 1 && slot->has_work)
        append(&instance->to_work, slot);
    pthread_cond_broadcast(&instance->changed);
    pthread_mutex_unlock(&instance->lock);
}

/* --- the sender thread ------------------------------------------------------------------------ */

enum { METRICS_INTERVAL_NS = 100000000 };

static void tell_metrics(struct instance *instance)
{
    instance->metrics_ns = backend_now_ns();
    instance->metrics_stale = false;
    backend_log(TRITONSERVER_LOG_WARN, "metrics", ferry_triton_metrics_update());
}

/* Under the lock, which it gives back meanwhile. A quiet server's metrics are told in time too. */
static void wait_for_slot(struct instance *instance)
{
    struct timespec until;
    if (!instance->metrics_stale) {
        pthread_cond_wait(&instance->changed, &instance->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += METRICS_INTERVAL_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_cond_timedwait(&instance->changed, &instance->lock, &until) != ETIMEDOUT)
        return;
    pthread_mutex_unlock(&instance->lock);
    tell_metrics(instance);
    pthread_mutex_lock(&instance->lock);
}

static void finish(struct slot *slot)
{
    struct instance *instance = slot->instance;
    answer(slot);
    instance_give_slot(slot);
    if (backend_now_ns() - instance->metrics_ns >= METRICS_INTERVAL_NS)
        tell_metrics(instance);
    else
        instance->metrics_stale = true;
}

static void *run_sender(void *arg)
{
    struct instance *instance = arg;
    pthread_mutex_lock(&instance->lock);
    for (;;) {
        struct slot *work = take_first(&instance->to_work);
        struct slot *done = work ? NULL : take_first(&instance->to_send);
        if (!work && !done && instance->stop)
            break;
        if (!work && !done) {
            wait_for_slot(instance);
            continue;
        }
        pthread_mutex_unlock(&instance->lock);
        if (work)
            work_run(work);
        else
            finish(done);
        pthread_mutex_lock(&instance->lock);
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

/* KIND_GPU names a device by its number: the index in ferry_device_list. */
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
                            "KIND_GPU with gpus [%d]: Ferry lists %zu devices, from 0 on", id,
                            count);
    snprintf(name, size, "%s", infos[id].name);
    return NULL;
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
    return work_check(instance->device, model->operation);
}

/* --- an instance ------------------------------------------------------------------------------ */

static void free_slot(struct slot *slot)
{
    vulkan_work_finish(slot);
    ferry_buffer_destroy(slot->in);
    ferry_buffer_destroy(slot->out);
    free(slot->requests);
    free(slot->responses);
    free(slot->good);
    free(slot->errors);
    free(slot->fresh);
    free(slot->spans);
    free(slot->parts);
    free(slot->inputs);
    free(slot->outputs);
}

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
        if (!slot->inputs || !slot->outputs)
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
        pthread_cond_wait(&instance->changed, &instance->lock);
    instance->stop = true;
    pthread_cond_broadcast(&instance->changed);
    pthread_mutex_unlock(&instance->lock);
    pthread_join(instance->sender, NULL);
}

void instance_destroy(struct instance *instance)
{
    if (instance->sending) {
        drain(instance);
        tell_metrics(instance);
    }
    /* The callbacks that handed over the last batch may still be returning. */
    if (instance->device)
        (void)!ferry_wait_idle(instance->device);
    for (uint32_t i = 0; instance->slots && i < instance->model->in_flight; i++)
        free_slot(&instance->slots[i]);
    free(instance->slots);
    if (instance->device)
        ferry_triton_device_release(instance->device);
    pthread_cond_destroy(&instance->changed);
    pthread_mutex_destroy(&instance->lock);
    free(instance);
}
