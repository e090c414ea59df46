#include "engine/buffer.h"
#include "api/transfer.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/sharing.h"
#include "base/status.h"
#include "base/words.h"
#include "driver.h"
#include "engine/callback.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/failure.h"
#include "engine/op.h"
#include "engine/question.h"
#include "engine/submission.h"
#include "engine/waiter.h"
#include "memory/pool.h"
#include "paths/direct.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* The label is kept as it will stand in messages: buffer "weights". */
static enum ferry_status set_label(struct ferry_buffer *buffer, const char *label)
{
    if (!label)
        return FERRY_OK;
    const size_t size = strlen(label) + sizeof "buffer \"\"";
    buffer->label = ferry__alloc(size);
    if (!buffer->label)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY,
                           "no host memory for a label of %zu bytes", size);
    snprintf(buffer->label, size, "buffer \"%s\"", label);
    return FERRY_OK;
}

static void count_made(struct ferry_device *device, uint64_t size)
{
    struct ferry__scalars *now = &device->gpu.metrics.now;
    FERRY__ADD(&device->gpu.metrics, allocations, 1);
    FERRY__ADD(&device->gpu.metrics, memory_allocated_bytes, size);
    const uint64_t in_use = atomic_fetch_add(&now->memory_in_use_bytes, size) + size;
    ferry__raise(&now->memory_peak_bytes, in_use);
}

static enum ferry_status zero_new(struct ferry_buffer *buffer)
{
    struct ferry__transfer transfer;
    if (ferry__direct_zero(buffer))
        return FERRY_OK;
    const enum ferry_status status =
        ferry__transfer_fill(&transfer, buffer, buffer->size, 0, "", 1);
    if (status)
        return status;
    transfer.internal = true;
    return ferry__transfer_submit(&transfer, NULL, NULL, NULL);
}

static enum ferry_status check_params(ferry_device *device,
                                      const struct ferry_buffer_params *params,
                                      ferry_buffer **out_buffer)
{
    if (!device || !params || !out_buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_buffer_create: %s is NULL",
                           !device   ? "device"
                           : !params ? "params"
                                     : "out_buffer");
    const enum ferry_status status = ferry__device_dead(device, "ferry_buffer_create");
    if (status)
        return status;
    if (!params->size)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_buffer_create: size is 0");
    if (params->storage != FERRY_STORAGE_PRIVATE && params->storage != FERRY_STORAGE_SHARED)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_buffer_create: unknown storage %d",
                           (int)params->storage);
    if (!ferry__all_zero(params->reserved, sizeof params->reserved))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_create: reserved words are not 0");
    if (params->flags & ~(uint64_t)FERRY_BUFFER_EXPORTABLE)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_create: unknown flags 0x%llx",
                           (unsigned long long)params->flags);
    if (params->flags && params->storage != FERRY_STORAGE_PRIVATE)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_buffer_create: a shared buffer cannot be exportable");
    if (params->size > device->gpu.info.max_buffer_size)
        return ferry__fail(FERRY_ERROR_OUT_OF_DEVICE_MEMORY,
                           "ferry_buffer_create: size %zu exceeds the device's largest, %llu",
                           params->size, (unsigned long long)device->gpu.info.max_buffer_size);
    return FERRY_OK;
}

static struct ferry_buffer *new_buffer(struct ferry_device *device, uint64_t size,
                                       enum ferry_storage storage)
{
    struct ferry_buffer *buffer = ferry__alloc(sizeof *buffer);
    if (!buffer) {
        (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *buffer);
        return NULL;
    }
    buffer->device = device;
    buffer->size = (size_t)size;
    buffer->storage = storage;
    atomic_init(&buffer->refs, 1);
    return buffer;
}

/* It has its memory: from here on it is the device's. */
static void enter_buffer(struct ferry_buffer *buffer)
{
    ferry__direct_reach(buffer);
    ferry__device_ref(buffer->device);
    ferry__buffer_link(buffer);
    count_made(buffer->device, buffer->size);
}

enum ferry_status ferry__buffer_wrap(struct ferry_device *device,
                                     const struct ferry__memory *memory, uint64_t size,
                                     void (*release)(void *user), void *user,
                                     ferry_buffer **out_buffer)
{
    struct ferry_buffer *buffer = new_buffer(device, size, FERRY_STORAGE_PRIVATE);
    if (!buffer)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    buffer->memory = memory;
    buffer->release = release;
    buffer->release_user = user;
    enter_buffer(buffer);
    *out_buffer = buffer;
    return FERRY_OK;
}

enum ferry_status ferry_buffer_create(ferry_device *device,
                                      const struct ferry_buffer_params *params,
                                      ferry_buffer **out_buffer)
{
    enum ferry_status status = check_params(device, params, out_buffer);
    if (status)
        return status;
    struct ferry_buffer *buffer = new_buffer(device, params->size, params->storage);
    if (!buffer)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if ((status = set_label(buffer, params->label)))
        goto free_buffer;
    status = params->flags
                 ? ferry__memory_take_shared(&device->gpu, params->size, NULL, &buffer->place)
                 : ferry__memory_take(&device->gpu, params->storage, params->size, params->label,
                                      &buffer->place);
    if (status) {
        status = ferry__fail(status, "ferry_buffer_create: size %zu: %s", params->size,
                             ferry_last_error());
        goto free_label;
    }
    buffer->memory = &buffer->place.block->memory;
    buffer->offset = buffer->place.offset;
    enter_buffer(buffer);
    if ((params->zeroed || device->zeroed) && !buffer->place.zeroed &&
        (status = zero_new(buffer))) {
        ferry_buffer_destroy(buffer);
        return status;
    }
    *out_buffer = buffer;
    return FERRY_OK;
free_label:
    ferry__free(buffer->label);
free_buffer:
    ferry__free(buffer);
    return status;
}

/* --- given to others, and taken from them ----------------------------------------------------- */

enum ferry_status ferry_buffer_export(ferry_buffer *buffer, enum ferry_handle handle, int *out_fd,
                                      size_t *out_size, size_t *out_offset)
{
    char why[FERRY__WHY_MAX] = "";
    uint64_t size = 0;
    int fd = -1;
    if (!buffer || !out_fd || !out_size || !out_offset)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_export: an argument is NULL");
    enum ferry_status status = ferry__device_dead(buffer->device, "ferry_buffer_export");
    if (status)
        return status;
    if (handle != FERRY_HANDLE_OPAQUE_FD && handle != FERRY_HANDLE_DMA_BUF)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_export: unknown kind of handle %d", (int)handle);
    const struct ferry__gpu *gpu = &buffer->device->gpu;
    if (!buffer->place.block || !buffer->place.block->shared)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                           "ferry_buffer_export: %s was not made with FERRY_BUFFER_EXPORTABLE",
                           ferry__label(buffer));
    status = gpu->driver->sharing->give(gpu->state, buffer->memory, handle, &fd, &size, why);
    if (status)
        return ferry__fail(status, "ferry_buffer_export: %s: %s", ferry__label(buffer), why);
    *out_fd = fd;
    *out_size = (size_t)size;
    *out_offset = (size_t)(buffer->memory->offset + buffer->offset);
    return FERRY_OK;
}

static enum ferry_status check_import(ferry_device *device,
                                      const struct ferry_import_params *params,
                                      ferry_buffer **out_buffer)
{
    if (!device || !params || !out_buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_import: an argument is NULL");
    const enum ferry_status status = ferry__device_dead(device, "ferry_buffer_import");
    if (status)
        return status;
    if (params->handle != FERRY_HANDLE_OPAQUE_FD && params->handle != FERRY_HANDLE_DMA_BUF)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_import: unknown kind of handle %d", (int)params->handle);
    if (params->fd < 0 || !params->memory_size)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_import: descriptor %d with %zu bytes of memory",
                           params->fd, params->memory_size);
    if (params->offset % FERRY_BUFFER_ALIGNMENT)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_import: offset %zu is not a multiple of %d",
                           params->offset, FERRY_BUFFER_ALIGNMENT);
    if (!ferry__all_zero(params->reserved, sizeof params->reserved))
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_import: reserved words are not 0");
    if (params->offset < params->memory_size &&
        params->size <= params->memory_size - params->offset)
        return FERRY_OK;
    return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                       "ferry_buffer_import: size %zu at offset %zu exceeds the memory (%zu)",
                       params->size, params->offset, params->memory_size);
}

enum ferry_status ferry_buffer_import(ferry_device *device,
                                      const struct ferry_import_params *params,
                                      ferry_buffer **out_buffer)
{
    enum ferry_status status = check_import(device, params, out_buffer);
    if (status)
        return status;
    const size_t size = params->size ? params->size : params->memory_size - params->offset;
    struct ferry_buffer *buffer = new_buffer(device, size, FERRY_STORAGE_PRIVATE);
    if (!buffer)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if ((status = set_label(buffer, params->label)))
        goto free_buffer;
    status = ferry__memory_take_shared(&device->gpu, size, params, &buffer->place);
    if (status) {
        status = ferry__fail(status, "ferry_buffer_import: %s", ferry_last_error());
        goto free_label;
    }
    buffer->memory = &buffer->place.block->memory;
    buffer->offset = buffer->place.offset;
    enter_buffer(buffer);
    *out_buffer = buffer;
    return FERRY_OK;
free_label:
    ferry__free(buffer->label);
free_buffer:
    ferry__free(buffer);
    return status;
}

void ferry_buffer_destroy(ferry_buffer *buffer)
{
    if (!buffer)
        return;
    struct ferry_device *device = buffer->device;
    if (atomic_load(&device->dead) == FERRY__FORKED) { /* the parent's locks: host memory only */
        ferry__failed_finish(&buffer->failures);
        ferry__free(buffer->label);
        ferry__free(buffer);
        return;
    }
    struct ferry__scalars *now = &device->gpu.metrics.now;
    FERRY__ADD(&device->gpu.metrics, deallocations, 1);
    FERRY__ADD(&device->gpu.metrics, memory_freed_bytes, buffer->size);
    atomic_fetch_sub(&now->memory_in_use_bytes, buffer->size);
    ferry__buffer_unref(buffer);
}

size_t ferry_buffer_size(const ferry_buffer *buffer)
{
    return buffer ? buffer->size : 0;
}

enum ferry_storage ferry_buffer_storage(const ferry_buffer *buffer)
{
    return buffer ? buffer->storage : FERRY_STORAGE_PRIVATE;
}

ferry_device *ferry_buffer_device(const ferry_buffer *buffer)
{
    return buffer ? buffer->device : NULL;
}

enum ferry_status ferry__buffer_well(struct ferry_buffer *buffer)
{
    enum ferry_status status = FERRY_OK;
    ferry__device_lock(buffer->device);
    const struct ferry__failed *failed = ferry__failed_find(&buffer->failures, 0, buffer->size);
    if (failed) {
        status = failed->status;
        ferry__set_error(ferry__failed_why(failed));
    }
    ferry__device_unlock(buffer->device);
    return status;
}

/* --- waiting for a buffer --------------------------------------------------------------------- */

static enum ferry_status time_is_over(const ferry_buffer *buffer, const struct ferry__op *all,
                                      uint64_t timeout_ns, const char *what)
{
    const struct ferry__op *external = ferry__external_before(all);
    if (external)
        return ferry__fail(FERRY_ERROR_TIMEOUT,
                           "%s: %s is still in use after %llu ns, by external work %llu", what,
                           ferry__label(buffer), (unsigned long long)timeout_ns,
                           (unsigned long long)external->ticket);
    return ferry__fail(FERRY_ERROR_TIMEOUT, "%s: %s is still in use after %llu ns", what,
                       ferry__label(buffer), (unsigned long long)timeout_ns);
}

static enum ferry_status wait_idle(ferry_buffer *buffer, uint64_t timeout_ns, const char *what)
{
    struct ferry_device *device = buffer->device;
    struct ferry__op *all = NULL;
    if (!(atomic_load_explicit(&buffer->word, memory_order_acquire) & ~FERRY__BUFFER_FAILED))
        return FERRY_OK;
    ferry__device_lock(device);
    enum ferry_status status = ferry__question_ask(buffer, 0, buffer->size, &all);
    if (all && !ferry__wait_until(device, ferry__op_is_done, all, ferry__deadline(timeout_ns)))
        status = time_is_over(buffer, all, timeout_ns, what);
    ferry__device_unlock(device);
    if (all)
        ferry__op_unref(all);
    return status;
}

static enum ferry_status check_wait(ferry_buffer *buffer, const char *what)
{
    const enum ferry_status status = ferry__in_callback(what);
    if (status)
        return status;
    if (!buffer)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: buffer is NULL", what);
    return FERRY_OK;
}

enum ferry_status ferry_buffer_wait(ferry_buffer *buffer, uint64_t timeout_ns)
{
    enum ferry_status status = check_wait(buffer, "ferry_buffer_wait");
    if (status)
        return status;
    /* Of a device that is lost everything ends; of one that is closed nothing is in flight. */
    if (atomic_load(&buffer->device->dead) > FERRY__LOST)
        return ferry__device_dead(buffer->device, "ferry_buffer_wait");
    return wait_idle(buffer, timeout_ns, "ferry_buffer_wait");
}

static enum ferry_status check_ticket(ferry_buffer *buffer, size_t offset, size_t size,
                                      const ferry_ticket *out_ticket)
{
    if (!buffer || !out_ticket)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_buffer_ticket: %s is NULL",
                           buffer ? "out_ticket" : "buffer");
    if (!ferry__in_range(offset, size, buffer->size))
        return ferry__fail(FERRY_ERROR_OUT_OF_RANGE,
                           "ferry_buffer_ticket: size %zu at offset %zu exceeds %s (%zu bytes)",
                           size, offset, ferry__label(buffer), buffer->size);
    if (atomic_load(&buffer->device->dead) > FERRY__LOST)
        return ferry__device_dead(buffer->device, "ferry_buffer_ticket");
    return FERRY_OK;
}

enum ferry_status ferry_buffer_ticket(ferry_buffer *buffer, size_t offset, size_t size,
                                      ferry_ticket *out_ticket)
{
    enum ferry_status status = check_ticket(buffer, offset, size, out_ticket);
    if (status)
        return status;
    struct ferry_device *device = buffer->device;
    const uint64_t end = size ? offset + size : buffer->size;
    ferry_ticket ticket = 0;
    if (atomic_load_explicit(&buffer->word, memory_order_acquire) & ~FERRY__BUFFER_FAILED &&
        offset < end) {
        struct ferry__op *all = NULL;
        if ((status = ferry__engine_start(device)))
            return status;
        ferry__device_lock(device);
        status = ferry__question_ask(buffer, offset, end, &all);
        if (all) {
            all->keep = true;
            ticket = all->ticket;
        }
        ferry__kick(device);
        ferry__device_unlock(device);
        if (all)
            ferry__op_unref(all);
    }
    if (!status)
        *out_ticket = ticket;
    return status;
}

enum ferry_status ferry_buffer_contents(ferry_buffer *buffer, void **out_contents)
{
    enum ferry_status status = check_wait(buffer, "ferry_buffer_contents");
    if (status)
        return status;
    if (!out_contents)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT,
                           "ferry_buffer_contents: out_contents is NULL");
    if (buffer->storage != FERRY_STORAGE_SHARED || !buffer->host)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "ferry_buffer_contents: %s is private",
                           ferry__label(buffer));
    if ((status = ferry__device_dead(buffer->device, "ferry_buffer_contents")))
        return status;
    if ((status = wait_idle(buffer, FERRY_FOREVER, "ferry_buffer_contents")) ||
        (status = ferry__buffer_well(buffer)))
        return status;
    *out_contents = buffer->host;
    return FERRY_OK;
}
