#include "base/alloc.h"
#include "base/env.h"
#include "base/log.h"
#include "base/pages.h"
#include "base/status.h"
#include "base/system.h"
#include "base/thread.h"
#include "driver.h"
#include "engine/device.h"
#include "memory/staging.h"
#include "paths/file.h"

#include <errno.h>
#include <ferry/ferry.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The threads that read and write files, started as they are needed. */

/* --- requests --------------------------------------------------------------------------------- */

bool ferry__file_advance(struct ferry__file_request *request, int64_t moved)
{
    struct pollfd ready = {request->fd, request->write ? POLLOUT : POLLIN, 0};
    if (moved == -EINTR)
        return false;
    if (request->way != FERRY__FILE_CACHED && (moved == -EAGAIN || moved == -EWOULDBLOCK))
        return poll(&ready, 1, 10) < 0 && errno != EINTR;
    if (moved < 0)
        request->error = (int)-moved;
    if (moved <= 0)
        return true;
    request->moved += (uint64_t)moved;
    /* Where direct I/O ends within a block the file does. */
    return request->moved == request->size ||
           (ferry__file_is_past(request->way) && moved % FERRY__FILE_BLOCK);
}

static int64_t move_some(const struct ferry__file_request *request)
{
    unsigned char *memory = request->memory + request->moved;
    size_t size = (size_t)(request->size - request->moved);
    const uint64_t offset = request->offset + request->moved;
    if (request->way == FERRY__FILE_CACHED) {
        if (!request->moved && size > FERRY__FILE_PROBE)
            size = FERRY__FILE_PROBE;
        return ferry__file_read_cached(request->fd, memory, size, offset);
    }
    const ssize_t moved = request->write ? pwrite(request->fd, memory, size, (off_t)offset)
                                         : pread(request->fd, memory, size, (off_t)offset);
    return moved < 0 ? -errno : moved;
}

static void carry_out(const struct ferry__file_io *io, struct ferry__file_request *request)
{
    if (atomic_load(&io->device->dead) != FERRY__ALIVE) {
        request->error = ECANCELED;
        return;
    }
    while (!ferry__file_advance(request, move_some(request)))
        ;
}

static void *run(void *arg);

/* Under the lock, or alone. One more, while there are few: without it the others do the work. */
static int add_thread(struct ferry__file_io *io)
{
    const int error = ferry__thread_start(&io->threads[io->thread_count], "ferry-file", run, io);
    io->thread_count += !error;
    return error;
}

/* Under the lock. */
static int add_if_needed(struct ferry__file_io *io)
{
    if (io->idle_threads > io->queued || io->thread_count >= io->threads_max)
        return 0;
    return add_thread(io);
}

/* The threads wait for a disk, and not for a CPU: more of them. */
static void expect_waits(struct ferry__file_io *io)
{
    ferry__lock(&io->lock);
    io->threads_max = FERRY__FILE_THREADS;
    if (io->queued)
        (void)add_if_needed(io);
    ferry__unlock(&io->lock);
}

/* Direct I/O is the ring's, where there is one. */
static bool ring_takes(struct ferry__file_io *io, struct ferry__file_request *request)
{
    if (!io->ring || request->way != FERRY__FILE_DIRECT)
        return false;
    const int error = ferry__file_ring_begin(io->ring, request);
    if (error)
        ferry__file_refused(io, request, error);
    return true;
}

/* --- memory beside the chunks' ---------------------------------------------------------------- */

/* It counts as staging, and is kept while any of the threads has work. */
struct ferry__file_aside {
    unsigned char *memory; /* pages: whole blocks */
    uint64_t room, taken;  /* bytes of memory, and of it with all round it */
    struct ferry__file_aside *next;
};

/* Huge pages, where there are any: a read into small ones reaches the disk as many short pieces,
 * which took twice as long and more. */
static bool map_aside(struct ferry__file_aside *aside)
{
    bool huge;
    aside->memory = ferry__pages_map(aside->room, &huge);
    return aside->memory;
}

static struct ferry__file_aside *make_aside(struct ferry_device *device)
{
    struct ferry__gpu *gpu = &device->gpu;
    /* A chunk that begins and ends within a block. */
    const uint64_t room = atomic_load(&device->slots)->slot_size + 2 * FERRY__FILE_BLOCK;
    const uint64_t taken = room + sizeof(struct ferry__file_aside);
    if (!ferry__staging_hold(gpu, &gpu->upload, taken, false))
        return NULL;
    struct ferry__file_aside *aside = ferry__alloc(sizeof *aside);
    if (aside) {
        aside->room = room;
        aside->taken = taken;
        if (map_aside(aside))
            return aside;
    }
    ferry__free(aside);
    ferry__staging_unhold(&gpu->upload, taken);
    return NULL;
}

static void free_asides(struct ferry_device *device, struct ferry__file_aside *list)
{
    while (list) {
        struct ferry__file_aside *aside = list;
        list = aside->next;
        ferry__staging_unhold(&device->gpu.upload, aside->taken);
        munmap(aside->memory, aside->room);
        ferry__free(aside);
    }
}

/* NULL: neither memory nor room in the budget. */
static struct ferry__file_aside *take_aside(struct ferry__file_io *io)
{
    ferry__lock(&io->lock);
    struct ferry__file_aside *aside = io->asides;
    if (aside)
        io->asides = aside->next;
    ferry__unlock(&io->lock);
    return aside ? aside : make_aside(io->device);
}

static void give_aside(struct ferry__file_io *io, struct ferry__file_aside *aside)
{
    ferry__lock(&io->lock);
    aside->next = io->asides;
    io->asides = aside;
    ferry__unlock(&io->lock);
}

/* Through the cache where there is no such memory to be had. */
static void carry_out_aside(struct ferry__file_io *io, struct ferry__file_request *request)
{
    struct ferry__gpu *gpu = &io->device->gpu;
    struct ferry__file_aside *aside = take_aside(io);
    if (!aside || request->size > aside->room) {
        if (aside)
            give_aside(io, aside);
        ferry__file_plainly(request);
        carry_out(io, request);
        return;
    }
    request->memory = aside->memory;
    ferry__staging_note_use(gpu, &gpu->upload, aside->taken, true);
    carry_out(io, request);
    ferry__file_from_aside(request);
    ferry__staging_note_use(gpu, &gpu->upload, aside->taken, false);
    give_aside(io, aside);
}

/* --- the threads ------------------------------------------------------------------------------ */

/* All of a chunk, unless the ring takes the rest. */
static void see_to(struct ferry__file_io *io, struct ferry__file_request *request)
{
    for (;;) {
        if (request->way == FERRY__FILE_ASIDE)
            carry_out_aside(io, request);
        else
            carry_out(io, request);
        if (!ferry__file_over(request) || ring_takes(io, request))
            return;
        expect_waits(io);
    }
}

/* Under the lock, which it gives up on the way. */
static void wait_for_work(struct ferry__file_io *io)
{
    struct ferry__file_aside *list = io->asides;
    if (!list || io->idle_threads + 1 < io->thread_count) {
        io->idle_threads++;
        ferry__cond_wait(&io->work, &io->lock);
        io->idle_threads--;
        return;
    }
    io->asides = NULL;
    ferry__unlock(&io->lock);
    free_asides(io->device, list);
    ferry__lock(&io->lock);
}

static void *run(void *arg)
{
    struct ferry__file_io *io = arg;
    ferry__lock(&io->lock);
    while (io->requests.first || !io->stop) {
        struct ferry__link *link = ferry__list_pop(&io->requests);
        if (!link) {
            wait_for_work(io);
            continue;
        }
        io->queued--;
        ferry__unlock(&io->lock);
        see_to(io, FERRY__OF_LINK(link, struct ferry__file_request, link));
        ferry__lock(&io->lock);
    }
    ferry__unlock(&io->lock);
    return NULL;
}

/* 0, or ENOMEM: there is not one thread for it. */
static int begin_by_threads(struct ferry__file_io *io, struct ferry__file_request *request)
{
    int error = 0;
    ferry__lock(&io->lock);
    if (request->way != FERRY__FILE_CACHED)
        io->threads_max = FERRY__FILE_THREADS;
    if (add_if_needed(io))
        error = ENOMEM;
    if (io->thread_count) {
        error = 0;
        ferry__list_push(&io->requests, &request->link);
        io->queued++;
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
    request->refused = true;
    if (ferry__file_over(request))
        ferry__file_begin(io, request);
}

void ferry__file_begin(struct ferry__file_io *io, struct ferry__file_request *request)
{
    request->moved = 0;
    request->error = 0;
    if (!ring_takes(io, request))
        (void)begin_by_threads(io, request); /* one was started with io */
}

/* --- beginning and end ------------------------------------------------------------------------ */

static struct ferry__file_io *make_io(struct ferry_device *device)
{
    struct ferry__file_io *io = ferry__alloc(sizeof *io);
    const char *choice = ferry__env("FERRY_FILE_IO");
    if (!io)
        goto failed;
    io->device = device;
    if (pthread_mutex_init(&io->lock, NULL))
        goto free_io;
    if (ferry__cond_init(&io->work))
        goto destroy_lock;
    io->through_cache = choice && !strcmp(choice, "cache");
    if (!choice || !strcmp(choice, "auto"))
        io->ring = ferry__file_ring_start(io);
    io->threads_max = ferry__cpu_count();
    if (io->threads_max > FERRY__FILE_THREADS)
        io->threads_max = FERRY__FILE_THREADS;
    if (!add_thread(io))
        return io;
    if (io->ring)
        ferry__file_ring_finish(io->ring);
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
    ferry__lock(&io->lock);
    io->stop = true;
    pthread_cond_broadcast(&io->work);
    ferry__unlock(&io->lock);
    if (io->ring)
        ferry__file_ring_finish(io->ring);
    for (unsigned i = 0; i < io->thread_count; i++)
        pthread_join(io->threads[i], NULL);
    free_asides(io->device, io->asides);
    pthread_cond_destroy(&io->work);
    pthread_mutex_destroy(&io->lock);
    ferry__free(io);
}

enum ferry_status ferry__files_start(struct ferry_device *device)
{
    struct ferry__file_io *none = NULL;
    const enum ferry_status status = ferry__slots_start(device);
    if (status || device->files)
        return status;
    struct ferry__file_io *io = make_io(device);
    if (!io)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (!atomic_compare_exchange_strong(&device->files, &none, io))
        free_io(io); /* another thread was faster */
    return FERRY_OK;
}

void ferry__files_finish(struct ferry_device *device)
{
    if (!device->files)
        return;
    free_io(device->files);
    device->files = NULL;
}
