#include "base/alloc.h"
#include "base/env.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/range.h"
#include "base/status.h"
#include "base/thread.h"
#include "driver.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "memory/pool.h"
#include "paths/file.h"
#include "paths/file_op.h"

#include <errno.h>
#include <ferry/ferry.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/*
 * Who reads and writes files: io_uring, else threads of our own, started as they are needed. Slots
 * of staging memory are a device's, apart from what other transfers use: none of those ever waits
 * for a disk.
 */

/* Room to begin at a block, for a block's part before and after, and for words. */
enum { SLOT_EXTRA = 4 * FERRY__FILE_BLOCK };

/* --- requests
 * ---------------------------------------------------------------------------------- */

bool ferry__file_advance(struct ferry__file_request *request, int64_t moved)
{
    struct pollfd ready = {request->fd, request->write ? POLLOUT : POLLIN, 0};
    if (moved == -EINTR)
        return false;
    if (moved == -EAGAIN || moved == -EWOULDBLOCK)
        return poll(&ready, 1, 10) < 0 && errno != EINTR;
    if (moved < 0)
        request->error = (int)-moved;
    if (moved <= 0)
        return true;
    request->moved += (uint64_t)moved;
    /* Where direct I/O ends within a block the file does. */
    return request->moved == request->size || (request->direct && moved % FERRY__FILE_BLOCK);
}

static void carry_out(struct ferry__file_request *request)
{
    int64_t moved;
    do {
        unsigned char *memory = request->memory + request->moved;
        const size_t size = (size_t)(request->size - request->moved);
        const off_t offset = (off_t)(request->offset + request->moved);
        moved = request->write ? pwrite(request->fd, memory, size, offset)
                               : pread(request->fd, memory, size, offset);
        if (moved < 0)
            moved = -errno;
    } while (!ferry__file_advance(request, moved));
}

static void *run(void *arg)
{
    struct ferry__file_io *io = arg;
    ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    while (io->first || !io->stop) {
        struct ferry__file_request *request = io->first;
        if (!request) {
            io->idle_threads++;
            ferry__cond_wait(&io->work, &io->lock);
            io->idle_threads--;
            continue;
        }
        io->first = request->next;
        ferry__unlock(&io->lock);
        if (atomic_load(&io->device->dead) == FERRY__ALIVE)
            carry_out(request);
        else
            request->error = ECANCELED;
        ferry__file_done(io, request);
        ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    }
    ferry__unlock(&io->lock);
    return NULL;
}

/* Under the lock, or alone. One more, while there are few: without it the others do the work. */
static int add_thread(struct ferry__file_io *io)
{
    const int error = ferry__thread_start(&io->threads[io->thread_count], "ferry-file", run, io);
    io->thread_count += !error;
    return error;
}

/* 0, or an errno: there is not one thread for it. */
static int begin_by_threads(struct ferry__file_io *io, struct ferry__file_request *request)
{
    int error = 0;
    request->next = NULL;
    ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    if (!io->idle_threads && io->thread_count < FERRY__FILE_DEPTH)
        error = add_thread(io);
    if (io->thread_count) {
        error = 0;
        *(io->first ? &io->last->next : &io->first) = request;
        io->last = request;
        pthread_cond_signal(&io->work);
    }
    ferry__unlock(&io->lock);
    return error;
}

void ferry__file_refused(struct ferry__file_io *io, struct ferry__file_request *request, int error)
{
    struct ferry_device *device = io->device;
    ferry__error_begin(); /* it is told as the operation's */
    const enum ferry_status status =
        ferry__fallback(&device->gpu, &device->gpu.metrics.now.fallback_file_io,
                        "files are read and written by threads: io_uring: %s", strerror(error));
    ferry__error_end(FERRY_OK);
    if (!status && !(error = begin_by_threads(io, request)))
        return;
    request->error = error;
    ferry__file_done(io, request);
}

void ferry__file_begin(struct ferry__file_io *io, struct ferry__file_request *request)
{
    request->next = NULL;
    request->moved = 0;
    request->error = 0;
    if (!io->ring) {
        (void)begin_by_threads(io, request); /* one was started with io */
        return;
    }
    const int error = ferry__file_ring_begin(io->ring, request);
    if (error)
        ferry__file_refused(io, request, error);
}

/* --- slots
 * ------------------------------------------------------------------------------------- */

void ferry__file_resume(struct ferry__op *op)
{
    op->resumed = true;
    if (!op->waits)
        return;
    op->waits = false;
    ferry__ready_push(op);
}

static struct ferry__file_slot *make_slot(struct ferry_device *device, bool write,
                                          enum ferry_status *out_status)
{
    char why[FERRY__WHY_MAX] = "";
    struct ferry__file_slot *slot = ferry__alloc(sizeof *slot);
    const uint64_t size = device->files->slot_size + SLOT_EXTRA;
    *out_status = FERRY_ERROR_OUT_OF_HOST_MEMORY;
    for (bool again = slot; again;) {
        *out_status = device->gpu.driver->memory_alloc(
            device->gpu.state, write ? FERRY__MEMORY_READBACK : FERRY__MEMORY_UPLOAD, size,
            "ferry file", &slot->memory, why);
        again = *out_status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY && ferry__memory_trim(&device->gpu);
    }
    if (*out_status) {
        (void)!ferry__fail(*out_status, "no staging memory of %llu bytes for a file: %s",
                           (unsigned long long)size, why);
        ferry__free(slot);
        return NULL;
    }
    FERRY__ADD(&device->gpu.metrics, device_allocations, 1);
    slot->write = write;
    slot->base = -(uintptr_t)slot->memory.host & (FERRY__FILE_BLOCK - 1);
    return slot;
}

/* Under device->lock, as the next. */
static void hungry_remove(struct ferry__op *op)
{
    struct ferry__file_io *io = op->device->files;
    if (!op->hungry)
        return;
    struct ferry__op **first = &io->hungry_first[op->hungry - 1];
    struct ferry__op **last = &io->hungry_last[op->hungry - 1];
    *(op->hungry_before ? &op->hungry_before->hungry_after : first) = op->hungry_after;
    *(op->hungry_after ? &op->hungry_after->hungry_before : last) = op->hungry_before;
    op->hungry = 0;
}

static void hungry_add(struct ferry__op *op, bool write)
{
    struct ferry__file_io *io = op->device->files;
    if (op->hungry == 1 + write)
        return;
    hungry_remove(op);
    op->hungry = 1 + write;
    op->hungry_before = io->hungry_last[write];
    op->hungry_after = NULL;
    *(op->hungry_before ? &op->hungry_before->hungry_after : &io->hungry_first[write]) = op;
    io->hungry_last[write] = op;
}

/* Where a slot lies idle, to_resume the first that waits for one: one op, however many wait. */
static void offer(struct ferry__file_io *io, bool write)
{
    struct ferry__op *op = io->hungry_first[write];
    ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    const bool idle = io->idle[write];
    ferry__unlock(&io->lock);
    if (!idle || !op)
        return;
    hungry_remove(op);
    op->offered = true;
    ferry__file_resume(op);
}

void ferry__file_had_turn(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    ferry__device_lock(device);
    if (op->offered) {
        op->offered = false;
        offer(device->files, false);
        offer(device->files, true);
        ferry__kick(device);
    }
    ferry__device_unlock(device);
}

void ferry__file_sated(struct ferry__op *op)
{
    ferry__device_lock(op->device);
    hungry_remove(op);
    ferry__device_unlock(op->device);
    ferry__file_had_turn(op);
}

/* An idle slot; else *out_more: one may be made, and counts as made. NULL out_more: none may. */
static struct ferry__file_slot *take_idle(struct ferry__file_io *io, bool write, bool *out_more)
{
    ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    struct ferry__file_slot *slot = io->idle[write];
    const bool more = out_more && !slot && io->slots[write] < io->slots_max;
    if (slot)
        io->idle[write] = slot->next;
    if (more)
        io->slots[write]++;
    if (out_more)
        *out_more = more;
    ferry__unlock(&io->lock);
    return slot;
}

/* One was not to be had. True: there are none at all. */
static bool lost_one(struct ferry__file_io *io, bool write)
{
    ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    const bool none = --io->slots[write] == 0;
    ferry__unlock(&io->lock);
    return none;
}

enum ferry_status ferry__file_slot_take(struct ferry__op *op, bool write,
                                        struct ferry__file_slot **out_slot)
{
    struct ferry_device *device = op->device;
    struct ferry__file_io *io = device->files;
    enum ferry_status status = FERRY_OK;
    bool more;
    ferry__device_lock(device); /* so that none comes back unseen */
    struct ferry__file_slot *slot = take_idle(io, write, &more);
    if (!slot && more) {
        ferry__device_unlock(device);
        slot = make_slot(device, write, &status);
        ferry__device_lock(device);
        if (!slot) {
            more = lost_one(io, write);
            slot = take_idle(io, write, NULL);
        }
    }
    if (slot)
        status = FERRY_OK;
    else if (!more)
        status = FERRY_ERROR_POOL_EXHAUSTED;
    if (status == FERRY_ERROR_POOL_EXHAUSTED)
        hungry_add(op, write);
    else
        hungry_remove(op);
    ferry__device_unlock(device);
    if (slot)
        slot->next = NULL;
    *out_slot = slot;
    return status;
}

void ferry__file_slot_give(struct ferry_device *device, struct ferry__file_slot *slot)
{
    struct ferry__file_io *io = device->files;
    ferry__device_lock(device);
    ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    slot->next = io->idle[slot->write];
    io->idle[slot->write] = slot;
    ferry__unlock(&io->lock);
    offer(io, slot->write);
    ferry__kick(device);
    ferry__device_unlock(device);
}

void ferry__files_trim(struct ferry_device *device)
{
    struct ferry__file_io *io = device->files;
    if (!io)
        return;
    ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    for (int write = 0; write < 2; write++) {
        while (io->idle[write]) {
            struct ferry__file_slot *slot = io->idle[write];
            io->idle[write] = slot->next;
            io->slots[write]--;
            device->gpu.driver->memory_free(device->gpu.state, &slot->memory);
            FERRY__ADD(&device->gpu.metrics, device_frees, 1);
            ferry__free(slot);
        }
    }
    ferry__unlock(&io->lock);
}

static void trim_gpu(struct ferry__gpu *gpu)
{
    ferry__files_trim((struct ferry_device *)((char *)gpu - offsetof(struct ferry_device, gpu)));
}

/* --- beginning and end
 * ------------------------------------------------------------------------- */

static struct ferry__file_io *make_io(struct ferry_device *device)
{
    struct ferry__file_io *io = ferry__alloc(sizeof *io);
    const char *choice = ferry__env("FERRY_FILE_IO");
    if (!io)
        goto failed;
    io->device = device;
    io->slot_size = device->gpu.upload.chunk_size < FERRY__FILE_SLOT ? device->gpu.upload.chunk_size
                                                                     : FERRY__FILE_SLOT;
    /* A slot is one allocation. */
    const uint64_t largest =
        ferry__round_down(device->gpu.limits.max_allocation, FERRY__FILE_BLOCK);
    if (io->slot_size > largest - SLOT_EXTRA && largest > SLOT_EXTRA)
        io->slot_size = largest - SLOT_EXTRA;
    const uint64_t slots = device->gpu.upload.budget / io->slot_size;
    io->slots_max = slots < 2 ? 2 : slots < FERRY__FILE_SLOTS ? (unsigned)slots : FERRY__FILE_SLOTS;
    if (pthread_mutex_init(&io->lock, NULL))
        goto free_io;
    if (ferry__cond_init(&io->work))
        goto destroy_lock;
    if (!choice || strcmp(choice, "threads"))
        io->ring = ferry__file_ring_start(io);
    if (io->ring || !add_thread(io))
        return io;
    pthread_cond_destroy(&io->work);
destroy_lock:
    pthread_mutex_destroy(&io->lock);
free_io:
    ferry__free(io);
failed:
    (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory or thread to read files");
    return NULL;
}

static void free_io(struct ferry__file_io *io)
{
    ferry__lock_as(&io->lock, FERRY__LOCK_STAGING);
    io->stop = true;
    pthread_cond_broadcast(&io->work);
    ferry__unlock(&io->lock);
    if (io->ring)
        ferry__file_ring_finish(io->ring);
    for (unsigned i = 0; i < io->thread_count; i++)
        pthread_join(io->threads[i], NULL);
    pthread_cond_destroy(&io->work);
    pthread_mutex_destroy(&io->lock);
    ferry__free(io);
}

enum ferry_status ferry__files_start(struct ferry_device *device)
{
    struct ferry__file_io *none = NULL;
    if (device->files)
        return FERRY_OK;
    struct ferry__file_io *io = make_io(device);
    if (!io)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    atomic_store(&device->gpu.trim_above, trim_gpu);
    if (!atomic_compare_exchange_strong(&device->files, &none, io))
        free_io(io); /* another thread was faster */
    return FERRY_OK;
}

void ferry__files_finish(struct ferry_device *device)
{
    if (!device->files)
        return;
    ferry__files_trim(device);
    free_io(device->files);
    device->files = NULL;
}
