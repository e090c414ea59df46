#include "backend.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- lists, under the lock -------------------------------------------------------------------- */

static void append(struct slot **list, struct slot *slot) {
    while (*list) list = &(*list)->next;
    slot->next = NULL;
    *list = slot;
}

static struct slot *take_first(struct slot **list) {
    struct slot *slot = *list;
    if (slot) *list = slot->next;
    return slot;
}

struct slot *instance_take_slot(struct instance *instance) {
    pthread_mutex_lock(&instance->lock);
    while (!instance->free) pthread_cond_wait(&instance->changed, &instance->lock);
    struct slot *slot = take_first(&instance->free);
    slot->submitted = slot->copied = slot->done = false;
    slot->has_work = slot->awaits_copied = false;
    slot->step = STEP_DEVICE;
    instance->busy++;
    pthread_mutex_unlock(&instance->lock);
    return slot;
}

void instance_give_slot(struct slot *slot) {
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    slot->next = instance->free;
    instance->free = slot;
    instance->busy--;
    pthread_cond_broadcast(&instance->changed);
    pthread_mutex_unlock(&instance->lock);
}

/* Whichever of the flags comes last hands the slot over. A callback may be later than one of an
 * operation that does not depend on its own: the slot is the batch's until all have come. */
void instance_set(struct slot *slot, bool *flag) {
    struct instance *instance = slot->instance;
    pthread_mutex_lock(&instance->lock);
    *flag = true;
    if (slot->submitted && slot->copied && slot->has_work && slot->step == STEP_DEVICE) {
        slot->step = STEP_WORK;
        append(&instance->to_work, slot);
    } else if (slot->submitted && slot->done && (slot->copied || !slot->awaits_copied) &&
               slot->step != STEP_SEND) {
        slot->step = STEP_SEND;
        append(&instance->to_send, slot);
    }
    pthread_cond_broadcast(&instance->changed);
    pthread_mutex_unlock(&instance->lock);
}

/* --- the sender thread ------------------------------------------------------------------------ */

static void tell_metrics(struct instance *instance, uint64_t interval_ns) {
    const uint64_t now = backend_now_ns();
    if (now - instance->metrics_ns < interval_ns) return;
    instance->metrics_ns = now;
    backend_log(TRITONSERVER_LOG_WARN, "metrics", ferry_triton_metrics_update());
}

static void *run_sender(void *arg) {
    enum { METRICS_INTERVAL_NS = 100000000 };
    struct instance *instance = arg;
    pthread_mutex_lock(&instance->lock);
    for (;;) {
        struct slot *slot = take_first(&instance->to_work);
        const bool is_work = slot != NULL;
        if (!slot) slot = take_first(&instance->to_send);
        if (!slot && instance->stop) break;
        if (!slot) {
            pthread_cond_wait(&instance->changed, &instance->lock);
            continue;
        }
        pthread_mutex_unlock(&instance->lock);
        if (is_work) {
            work_run(slot);
        } else {
            answer(slot);
            tell_metrics(instance, METRICS_INTERVAL_NS);
            instance_give_slot(slot);
        }
        pthread_mutex_lock(&instance->lock);
    }
    pthread_mutex_unlock(&instance->lock);
    return NULL;
}

/* Signals are the server's. */
static TRITONSERVER_Error *start_sender(struct instance *instance) {
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
                                        size_t size) {
    TRITONSERVER_InstanceGroupKind kind = TRITONSERVER_INSTANCEGROUPKIND_CPU;
    int32_t id = 0;
    size_t count = 0;
    name[0] = 0;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ModelInstanceKind(triton, &kind);
    if (!error && kind == TRITONSERVER_INSTANCEGROUPKIND_GPU)
        error = ferry__triton.TRITONBACKEND_ModelInstanceDeviceId(triton, &id);
    if (error || kind != TRITONSERVER_INSTANCEGROUPKIND_GPU) return error;
    struct ferry_device_info infos[64];
    const size_t capacity = sizeof infos / sizeof *infos;
    error = ferry_triton_error(ferry_device_list(infos, capacity, &count), "listing the devices");
    if (error) return error;
    if (id < 0 || (size_t)id >= count || (size_t)id >= capacity)
        return backend_fail(TRITONSERVER_ERROR_INVALID_ARG,
                            "KIND_GPU with gpus [%d]: Ferry lists %zu devices, from 0 on", id,
                            count);
    snprintf(name, size, "%s", infos[id].name);
    return NULL;
}

static TRITONSERVER_Error *open_device(struct instance *instance) {
    const struct model *model = instance->model;
    struct ferry_device_params params = model->params;
    struct ferry_device_info info;
    char by_kind[sizeof info.name];
    TRITONSERVER_Error *error = name_by_kind(instance->triton, by_kind, sizeof by_kind);
    if (error) return error;
    params.name = model->device_name ? model->device_name : by_kind[0] ? by_kind : NULL;
    error = model->has_params ? ferry_triton_device_open(&params, &instance->device)
                              : ferry_triton_device(params.name, &instance->device);
    if (error) return error;
    ferry_device_get_info(instance->device, &info);
    if (by_kind[0] && strcmp(by_kind, info.name))
        return backend_fail(TRITONSERVER_ERROR_INVALID_ARG,
                            "parameter device is %s, but gpus names %s", info.name, by_kind);
    return work_check(instance->device, model->operation);
}

/* --- an instance ------------------------------------------------------------------------------ */

static void free_slot(struct slot *slot) {
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

static bool make_slots(struct instance *instance) {
    const struct model *model = instance->model;
    instance->slots = calloc(model->in_flight, sizeof *instance->slots);
    if (!instance->slots) return false;
    for (uint32_t i = 0; i < model->in_flight; i++) {
        struct slot *slot = &instance->slots[i];
        slot->instance = instance;
        slot->inputs = calloc(model->input_count, sizeof *slot->inputs);
        slot->outputs = calloc(model->output_count, sizeof *slot->outputs);
        if (!slot->inputs || !slot->outputs) return false;
        append(&instance->free, slot);
    }
    return true;
}

TRITONSERVER_Error *instance_create(TRITONBACKEND_ModelInstance *triton, const struct model *model,
                                    struct instance **out_instance) {
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance) return backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
    instance->triton = triton;
    instance->model = model;
    pthread_mutex_init(&instance->lock, NULL);
    pthread_cond_init(&instance->changed, NULL);
    TRITONSERVER_Error *error = open_device(instance);
    if (!error && !make_slots(instance))
        error = backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
    if (!error) error = start_sender(instance);
    if (error) instance_destroy(instance);
    else *out_instance = instance;
    return error;
}

static void drain(struct instance *instance) {
    pthread_mutex_lock(&instance->lock);
    while (instance->busy) pthread_cond_wait(&instance->changed, &instance->lock);
    instance->stop = true;
    pthread_cond_broadcast(&instance->changed);
    pthread_mutex_unlock(&instance->lock);
    pthread_join(instance->sender, NULL);
}

void instance_destroy(struct instance *instance) {
    if (instance->sending) {
        drain(instance);
        tell_metrics(instance, 0);
    }
    /* The callbacks that handed over the last batch may still be returning. */
    if (instance->device) (void)!ferry_wait_idle(instance->device);
    for (uint32_t i = 0; instance->slots && i < instance->model->in_flight; i++)
        free_slot(&instance->slots[i]);
    free(instance->slots);
    if (instance->device) ferry_triton_device_release(instance->device);
    pthread_cond_destroy(&instance->changed);
    pthread_mutex_destroy(&instance->lock);
    free(instance);
}
