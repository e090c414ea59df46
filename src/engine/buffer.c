#include "engine/buffer.h"

#include "base/alloc.h"
#include "base/log.h"
#include "engine/device.h"
#include "engine/failure.h"
#include "engine/op.h"
#include "memory/pool.h"

#include <stdatomic.h>

/* A buffer as the engine sees it: its place in the device's list, its references. */

const char *ferry__label(const struct ferry_buffer *buffer)
{
    return buffer->label ? buffer->label : "buffer";
}

void ferry__buffer_link(struct ferry_buffer *buffer)
{
    struct ferry_device *device = buffer->device;
    ferry__device_lock(device);
    ferry__list_push(&device->buffers, &buffer->of_device);
    ferry__device_unlock(device);
}

static void unlink_buffer(struct ferry_buffer *buffer)
{
    struct ferry_device *device = buffer->device;
    ferry__device_lock(device);
    ferry__list_remove(&device->buffers, &buffer->of_device);
    ferry__device_unlock(device);
}

void ferry__buffer_ref_times(struct ferry_buffer *buffer, unsigned times)
{
    atomic_fetch_add_explicit(&buffer->refs, times, memory_order_relaxed);
}

void ferry__buffer_ref(struct ferry_buffer *buffer)
{
    ferry__buffer_ref_times(buffer, 1);
}

void ferry__buffer_unref(struct ferry_buffer *buffer)
{
    ferry__buffer_unref_times(buffer, 1);
}

void ferry__buffer_unref_times(struct ferry_buffer *buffer, unsigned times)
{
    if (atomic_fetch_sub_explicit(&buffer->refs, times, memory_order_acq_rel) != times)
        return;
    struct ferry_device *device = buffer->device;
    unlink_buffer(buffer);
    if (buffer->release)
        buffer->release(buffer->release_user);
    else if (!buffer->zombie)
        ferry__memory_give(&device->gpu, &buffer->place);
    ferry__failed_finish(&buffer->failures);
    ferry__free(buffer->label);
    ferry__free(buffer);
    ferry__device_unref(device);
}
