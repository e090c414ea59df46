#include "backend.h"

#include <string.h>

/*
 * What is done on the device: out becomes in, as external work on the two. This is the place for a
 * kernel of your own. On Vulkan (work_vulkan.c) it is commands on a queue, between begin and end;
 * all of it is submitted at once, and no thread waits. On the host device the CPU does it, on the
 * sender thread: begin, wait for what it depends on, work, end. There the copy from private memory
 * is Ferry's, before the work. On other devices the copy is all.
 */

static bool is_driver(ferry_device *device, const char *driver)
{
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    return !strcmp(info.driver, driver);
}

static bool is_host(ferry_device *device)
{
    return is_driver(device, "host");
}

TRITONSERVER_Error *work_check(ferry_device *device, enum operation operation)
{
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    if (operation == OPERATION_IDENTITY || is_host(device))
        return NULL;
    return backend_fail(TRITONSERVER_ERROR_UNSUPPORTED,
                        "operation invert is done by the CPU, on the device \"host\", not on %s",
                        info.name);
}

enum ferry_storage work_storage(ferry_device *device, enum operation operation)
{
    return is_host(device) && operation != OPERATION_IDENTITY ? FERRY_STORAGE_SHARED
                                                              : FERRY_STORAGE_PRIVATE;
}

struct work_copy work_copy_of(const struct slot *slot, size_t input)
{
    const size_t begin = slot->inputs[input].offset;
    const size_t end = input + 1 < slot->instance->model->input_count
                           ? slot->inputs[input + 1].offset
                           : slot->size;
    const struct ferry_triton_span *first = &slot->spans[input * slot->count];
    if (first->buffer && first->buffer != slot->in) /* passed through */
        return (struct work_copy){first->buffer, first->offset, begin, first->size};
    return (struct work_copy){slot->in, begin, begin, end - begin};
}

/* The device is through with the copy, or with the work. */
static void on_copied(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct slot *slot = user;
    (void)status; /* the external work's ready and the scatter tell it */
    (void)ticket;
    slot->compute_end_ns = backend_now_ns();
    instance_leave(slot);
}

static enum ferry_status submit_copies(struct slot *slot)
{
    ferry_batch *batch = NULL;
    enum ferry_status status = ferry_batch_create(slot->instance->device, &batch);
    for (size_t i = 0; i < slot->instance->model->input_count && !status; i++) {
        const struct work_copy copy = work_copy_of(slot, i);
        status = ferry_batch_copy_buffer(batch, slot->out, copy.from, copy.size, copy.to_offset,
                                         copy.from_offset);
    }
    if (!status) {
        instance_expect(slot);
        status = ferry_batch_submit(batch, on_copied, slot, NULL);
        if (status)
            instance_leave(slot);
    }
    ferry_batch_destroy(batch);
    return status;
}

static enum ferry_status submit_on_host(struct slot *slot)
{
    const struct ferry_use use = {slot->out, FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
    enum ferry_status status = submit_copies(slot);
    if (!status)
        status = ferry_external_begin(slot->instance->device, &use, 1, &slot->work);
    slot->has_work = !status;
    return status;
}

/* A byte of out is behind the work in Ferry's order: when it is there the work is done. */
static enum ferry_status submit_on_vulkan(struct slot *slot)
{
    enum ferry_status status = vulkan_work_submit(slot);
    if (status)
        return status;
    instance_expect(slot);
    status = ferry_copy_to_host_async(slot->out, &slot->probe, 1, 0, on_copied, slot, NULL);
    if (status)
        instance_leave(slot);
    return status;
}

enum ferry_status work_submit(struct slot *slot)
{
    ferry_device *device = slot->instance->device;
    if (is_host(device))
        return submit_on_host(slot);
    return vulkan_work_is_there() && is_driver(device, "vulkan") ? submit_on_vulkan(slot)
                                                                 : submit_copies(slot);
}

/* The work itself. */
static void invert(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)~bytes[i];
}

void work_run(struct slot *slot)
{
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
    if (status)
        slot_fail(slot, status, "ending the work");
}
