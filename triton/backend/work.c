#include "backend.h"

#include <string.h>

/*
 * What is done on the device: out becomes in, by a copy on the device, and then the model's own
 * work is done on out. On the host device that work is the CPU's, as external work: begin, wait for
 * what it depends on, work, end. On a GPU put your kernel between begin and end: your queue waits
 * for each of work.waits, runs the kernel, signals work.signal, and end follows the submission, so
 * that no thread waits. The buffers' native handles are in ferry/metal.h and ferry/vulkan.h.
 */

static bool is_host(ferry_device *device) {
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    return !strcmp(info.driver, "host");
}

TRITONSERVER_Error *work_check(ferry_device *device, enum operation operation) {
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    if (operation == OPERATION_IDENTITY || is_host(device)) return NULL;
    return backend_fail(TRITONSERVER_ERROR_UNSUPPORTED,
                        "operation invert is done by the CPU, on the device \"host\", not on %s",
                        info.name);
}

enum ferry_storage work_storage(ferry_device *device, enum operation operation) {
    return is_host(device) && operation != OPERATION_IDENTITY ? FERRY_STORAGE_SHARED
                                                              : FERRY_STORAGE_PRIVATE;
}

/* Without a need to wait for more: the copy was the work, or the external work may begin. */
static void on_copied(enum ferry_status status, ferry_ticket ticket, void *user) {
    struct slot *slot = user;
    (void)status; /* the external work's ready and the scatter tell it */
    (void)ticket;
    slot->compute_end_ns = backend_now_ns();
    instance_set(slot, &slot->copied);
}

/* One copy for each input, from where its parts are to the same place in out. */
static enum ferry_status submit_copies(struct slot *slot) {
    const struct model *model = slot->instance->model;
    ferry_batch *batch = NULL;
    enum ferry_status status = ferry_batch_create(slot->instance->device, &batch);
    for (size_t i = 0; i < model->input_count && !status; i++) {
        const size_t begin = slot->inputs[i].offset;
        const size_t end = i + 1 < model->input_count ? slot->inputs[i + 1].offset : slot->size;
        const struct ferry_triton_span *first = &slot->spans[i * slot->count];
        status = first->buffer && first->buffer != slot->in /* passed through */
                     ? ferry_batch_copy_buffer(batch, slot->out, first->buffer, first->size, begin,
                                               first->offset)
                     : ferry_batch_copy_buffer(batch, slot->out, slot->in, end - begin, begin,
                                               begin);
    }
    if (!status) status = ferry_batch_submit(batch, on_copied, slot, NULL);
    ferry_batch_destroy(batch);
    return status;
}

enum ferry_status work_submit(struct slot *slot) {
    const struct instance *instance = slot->instance;
    enum ferry_status status = submit_copies(slot);
    if (status || !is_host(instance->device)) return status;
    const struct ferry_use use = {slot->out, FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
    status = ferry_external_begin(instance->device, &use, 1, &slot->work);
    slot->has_work = !status;
    return status;
}

/* The work itself. */
static void invert(uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)~bytes[i];
}

void work_run(struct slot *slot) {
    const struct instance *instance = slot->instance;
    /* If what came before failed, so does this: an OK would say that out holds good bytes. */
    enum ferry_status status = ferry_wait(instance->device, slot->work.ready, FERRY_FOREVER);
    if (status) {
        slot_fail(slot, status, "before the work");
    } else if (slot->work.signal.event) {
        status = FERRY_ERROR_UNSUPPORTED; /* the CPU cannot signal a device's event */
        slot_fail(slot, status, "external work by the CPU on a device with events");
    } else if (instance->model->operation == OPERATION_INVERT) {
        invert(slot->out_bytes, slot->size);
    }
    slot->compute_end_ns = backend_now_ns();
    slot->has_work = false;
    status = ferry_external_end(instance->device, slot->work.ticket, status);
    if (status) slot_fail(slot, status, "ending the work");
}
