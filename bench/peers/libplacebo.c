/*
 * libplacebo on its Vulkan backend, by both of its ways: pl_buf_write and pl_buf_read on the buffer
 * itself, and "staged", through a mapped buffer of the same size and pl_buf_copy. It has no fills.
 */
#include "peer.h"

#include <libplacebo/vulkan.h>
#include <stdlib.h>
#include <string.h>

struct functions {
    __typeof__(pl_log_create) *create_log;
    __typeof__(pl_log_destroy) *destroy_log;
    __typeof__(pl_vulkan_create) *create_vulkan;
    __typeof__(pl_vulkan_destroy) *destroy_vulkan;
    __typeof__(pl_buf_create) *create_buffer;
    __typeof__(pl_buf_destroy) *destroy_buffer;
    __typeof__(pl_buf_write) *write;
    __typeof__(pl_buf_read) *read;
    __typeof__(pl_buf_copy) *copy;
    __typeof__(pl_buf_poll) *poll;
};

/* pl_log_create is a macro: its version is in the name of the function. */
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define SYMBOL(name, member)                           \
    {                                                  \
        TEXT(name), offsetof(struct functions, member) \
    }

static const struct peer_symbol symbols[] = {
    SYMBOL(pl_log_create, create_log),
    SYMBOL(pl_log_destroy, destroy_log),
    SYMBOL(pl_vulkan_create, create_vulkan),
    SYMBOL(pl_vulkan_destroy, destroy_vulkan),
    SYMBOL(pl_buf_create, create_buffer),
    SYMBOL(pl_buf_destroy, destroy_buffer),
    SYMBOL(pl_buf_write, write),
    SYMBOL(pl_buf_read, read),
    SYMBOL(pl_buf_copy, copy),
    SYMBOL(pl_buf_poll, poll),
};

struct device {
    struct functions pl;
    pl_log log;
    pl_vulkan vulkan;
    pl_gpu gpu;
    pl_buf last; /* what the last operation wrote, to wait for */
    bool staged;
};

struct buffer {
    pl_buf private, staging; /* staging: the staged way's only */
};

static void placebo_close(void *state)
{
    struct device *device = state;
    if (device->vulkan)
        device->pl.destroy_vulkan(&device->vulkan);
    if (device->log)
        device->pl.destroy_log(&device->log);
    free(device);
}

static const char *set_up(struct device *device, const struct peer_wish *wish)
{
    static const uint8_t none[sizeof wish->uuid];
    if (memcmp(wish->uuid, none, sizeof none) == 0)
        return "the device has no UUID, so it is none of Vulkan's";
    const char *failed = peer_library("libplacebo.so." TEXT(PL_API_VER), symbols,
                                      sizeof symbols / sizeof *symbols, &device->pl);
    if (failed)
        return failed;
    device->log = device->pl.create_log(PL_API_VER, pl_log_params(.log_level = PL_LOG_NONE));
    struct pl_vulkan_params params = {
        .async_transfer = true, .async_compute = true, .queue_count = 1};
    memcpy(params.device_uuid, wish->uuid, sizeof params.device_uuid);
    device->vulkan = device->pl.create_vulkan(device->log, &params);
    if (!device->vulkan)
        return "libplacebo opens no device with that UUID";
    device->gpu = device->vulkan->gpu;
    return NULL;
}

static const char *open_device(const struct peer_wish *wish, bool staged, void **out_device)
{
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        return "out of host memory";
    device->staged = staged;
    const char *failed = set_up(device, wish);
    if (failed)
        placebo_close(device);
    else
        *out_device = device;
    return failed;
}

static const char *placebo_open(const struct peer_wish *wish, void **out_device)
{
    return open_device(wish, false, out_device);
}

static const char *placebo_open_staged(const struct peer_wish *wish, void **out_device)
{
    return open_device(wish, true, out_device);
}

static void placebo_destroy(void *state, void *made)
{
    struct device *device = state;
    struct buffer *buffer = made;
    device->last = NULL;
    device->pl.destroy_buffer(device->gpu, &buffer->private);
    device->pl.destroy_buffer(device->gpu, &buffer->staging);
    free(buffer);
}

static const char *placebo_make(void *state, size_t size, void **out_buffer)
{
    struct device *device = state;
    struct buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return "out of host memory";
    buffer->private = device->pl.create_buffer(
        device->gpu,
        pl_buf_params(.size = size, .host_writable = !device->staged,
                      .host_readable = !device->staged, .memory_type = PL_BUF_MEM_DEVICE));
    if (device->staged)
        buffer->staging =
            device->pl.create_buffer(device->gpu, pl_buf_params(.size = size, .host_mapped = true,
                                                                .memory_type = PL_BUF_MEM_HOST));
    if (!buffer->private || (device->staged && !buffer->staging)) {
        placebo_destroy(device, buffer);
        return "libplacebo makes no buffer of that size";
    }
    *out_buffer = buffer;
    return NULL;
}

static const char *placebo_finish(void *state)
{
    struct device *device = state;
    while (device->last && device->pl.poll(device->gpu, device->last, UINT64_MAX))
        ;
    return NULL;
}

static const char *placebo_upload(void *state, void *to, size_t offset, const void *from,
                                  size_t size)
{
    struct device *device = state;
    const struct buffer *buffer = to;
    if (device->staged) {
        memcpy(buffer->staging->data + offset, from, size);
        device->pl.copy(device->gpu, buffer->private, offset, buffer->staging, offset, size);
    } else {
        device->pl.write(device->gpu, buffer->private, offset, from, size);
    }
    device->last = buffer->private;
    return NULL;
}

static const char *placebo_download(void *state, void *to, void *from, size_t offset, size_t size)
{
    struct device *device = state;
    const struct buffer *buffer = from;
    if (!device->staged)
        return device->pl.read(device->gpu, buffer->private, offset, to, size) ? NULL
                                                                               : "a read failed";
    device->pl.copy(device->gpu, buffer->staging, offset, buffer->private, offset, size);
    device->last = buffer->staging;
    placebo_finish(device);
    memcpy(to, buffer->staging->data + offset, size);
    return NULL;
}

static const char *placebo_copy(void *state, void *to, void *from, size_t offset, size_t size)
{
    struct device *device = state;
    const struct buffer *target = to, *source = from;
    device->pl.copy(device->gpu, target->private, offset, source->private, offset, size);
    device->last = target->private;
    return NULL;
}

const struct peer peer_libplacebo = {
    .name = "libplacebo",
    .open = placebo_open,
    .close = placebo_close,
    .make = placebo_make,
    .destroy = placebo_destroy,
    .upload = placebo_upload,
    .download = placebo_download,
    .copy = placebo_copy,
    .finish = placebo_finish,
};

/* Its copies are those of the other way. */
const struct peer peer_libplacebo_staged = {
    .name = "libplacebo staged",
    .open = placebo_open_staged,
    .close = placebo_close,
    .make = placebo_make,
    .destroy = placebo_destroy,
    .upload = placebo_upload,
    .download = placebo_download,
    .finish = placebo_finish,
};
