#include "backend.h"

#include <string.h>

/*
 * What is done on the device: out becomes in, as external work on the two. This is the place for a
 * kernel of your own. On Vulkan (work_vulkan.c) it is commands on a queue, between begin and end.
 * On the host device the CPU does it: begin, wait for what it depends on, work, end; there the copy
 * from private memory is Ferry's, before the work. On Metal the copy is all. Where the CPU reaches
 * the inputs and has nothing to do with them they are the outputs, and so they are on CUDA, whose
 * memory any of the server's parts may use.
 */

static bool is_driver(ferry_device *device, const char *driver)
{
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    return !strcmp(info.driver, driver);
}

TRITONSERVER_Error *work_choose(ferry_device *device, bool is_reached, enum operation operation,
                                enum work *out_work)
{
    struct ferry_device_info info;
    ferry_device_get_info(device, &info);
    const bool is_host = is_driver(device, "host");
    if (operation == OPERATION_INVERT && !is_host)
        return backend_fail(TRITONSERVER_ERROR_UNSUPPORTED,
                            "operation invert runs on the CPU and needs the device \"host\", not "
                            "%s",
                            info.name);
    if (operation == OPERATION_INVERT)
        *out_work = WORK_CPU;
    else if (is_host)
        *out_work = is_reached ? WORK_NONE : WORK_COPY;
    else if (is_driver(device, "cuda"))
        *out_work = WORK_NONE;
    else
        *out_work = vulkan_work_is_there() && is_driver(device, "vulkan") ? WORK_QUEUE : WORK_COPY;
    return NULL;
}

struct work_copy work_copy_of(const struct slot *slot, size_t input)
{
    const size_t begin = slot->inputs[input].offset;
    const struct ferry_triton_span *first = &slot->spans[input * slot->count];
    if (slot->in_place[input])
        return (struct work_copy){.to_offset = begin};
    if (first->buffer && first->buffer != slot->in.buffer) /* passed through */
        return (struct work_copy){first->buffer, first->offset, begin, first->size};
    return (struct work_copy){slot->in.buffer, begin, begin, slot->sizes[input]};
}

/* --- Ferry's copy ----------------------------------------------------------------------------- */

static enum ferry_status begin_copies(struct slot *slot)
{
    ferry_batch *batch = NULL;
    enum ferry_status status = ferry_batch_create(slot->instance->device, &batch);
    for (size_t i = 0; i < slot->instance->model->input_count && !status; i++) {
        const struct work_copy copy = work_copy_of(slot, i);
        if (copy.size)
            status = ferry_batch_copy_buffer(batch, slot->out.buffer, copy.from, copy.size,
                                             copy.to_offset, copy.from_offset);
    }
    if (!status)
        status = ferry_batch_submit(batch, NULL, NULL, &slot->copied);
    ferry_batch_destroy(batch);
    return status;
}

static void finish_copies(struct slot *slot)
{
    slot_fail(slot, ferry_wait(slot->instance->device, slot->copied, FERRY_FOREVER),
              "the copy on the device");
}

/* --- the CPU's work --------------------------------------------------------------------------- */

static enum ferry_status begin_on_cpu(struct slot *slot)
{
    const struct ferry_use use = {.buffer = slot->out.buffer,
                                  .access = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
    enum ferry_status status = begin_copies(slot);
    if (!status)
        status = ferry_external_begin(slot->instance->device, &use, 1, &slot->work);
    return status;
}

static void invert(uint8_t *to, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)~from[i];
}

static void do_on_cpu(struct slot *slot)
{
    for (size_t i = 0; i < slot->instance->model->input_count; i++) {
        uint8_t *to = slot->out_bytes + slot->inputs[i].offset;
        const uint8_t *from = slot->in_place[i] ? slot->in_place[i] : to;
        invert(to, from, slot->sizes[i]);
    }
}

/* If what came before failed, so does this: an OK would say that out holds good bytes. */
static void finish_on_cpu(struct slot *slot)
{
    ferry_device *device = slot->instance->device;
    enum ferry_status status = ferry_wait(device, slot->work.ready, FERRY_FOREVER);
    if (status) {
        slot_fail(slot, status, "before the work");
    } else if (slot->work.signal.event) {
        status = FERRY_ERROR_UNSUPPORTED; /* the CPU cannot signal a device's event */
        slot_fail(slot, status, "external work by the CPU on a device with events");
    } else {
        do_on_cpu(slot);
    }
    slot_fail(slot, ferry_external_end(device, slot->work.ticket, status), "ending the work");
}

/* --- a queue's -------------------------------------------------------------------------------- */

/* The work's own ticket is done when the device is through with it. */
static void finish_on_queue(struct slot *slot)
{
    slot_fail(slot, ferry_wait(slot->instance->device, slot->work.ticket, FERRY_FOREVER),
              "the work on the device");
}

/* --- which of them ---------------------------------------------------------------------------- */

static const struct {
    enum ferry_status (*begin)(struct slot *slot);
    void (*finish)(struct slot *slot);
} ways[] = {
    [WORK_NONE] = {NULL, NULL},
    [WORK_COPY] = {begin_copies, finish_copies},
    [WORK_CPU] = {begin_on_cpu, finish_on_cpu},
    [WORK_QUEUE] = {vulkan_work_submit, finish_on_queue},
};

enum ferry_status work_begin(struct slot *slot)
{
    const enum work work = slot->instance->work;
    if (!ways[work].begin)
        return FERRY_OK;
    const enum ferry_status status = ways[work].begin(slot);
    slot->has_work = !status;
    return status;
}

void work_finish(struct slot *slot)
{
    if (slot->has_work)
        ways[slot->instance->work].finish(slot);
    slot->has_work = false;
}
