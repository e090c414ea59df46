#include "file.h"

#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * Reads and writes by io_uring, begun and looked after by one thread of our own: what another thread
 * began would be cancelled when that thread ends. What goes through the system's cache is left to the
 * kernel's threads, or it would be copied by ours, one after another.
 */

enum { ENTRIES = 64 };

struct ferry__file_ring {
    struct ferry__file_io *io;
    struct io_uring uring;
    pthread_t thread;
    int bell; /* an eventfd, that the ring reads: something was begun */
    uint64_t rung;
    pthread_mutex_t lock;                     /* guards all below */
    struct ferry__file_request *first, *last; /* to be given to the kernel */
    bool stop;
};

/* Under the lock. */
static void append(struct ferry__file_ring *ring, struct ferry__file_request *request)
{
    request->next = NULL;
    *(ring->first ? &ring->last->next : &ring->first) = request;
    ring->last = request;
}

static void push(struct io_uring_sqe *entry, struct ferry__file_request *request)
{
    unsigned char *memory = request->memory + request->moved;
    const unsigned size = (unsigned)(request->size - request->moved);
    const uint64_t offset = request->offset + request->moved;
    if (request->write)
        io_uring_prep_write(entry, request->fd, memory, size, offset);
    else
        io_uring_prep_read(entry, request->fd, memory, size, offset);
    if (!request->direct)
        entry->flags |= IOSQE_ASYNC;
    io_uring_sqe_set_data(entry, request);
}

static void listen_to_bell(struct ferry__file_ring *ring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring);
    io_uring_prep_read(entry, ring->bell, &ring->rung, sizeof ring->rung, 0);
    io_uring_sqe_set_data(entry, NULL);
}

/* As many as there is room for. False: it is over. */
static bool push_all(struct ferry__file_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    while (ring->first && io_uring_sq_space_left(&ring->uring) > 1) { /* one for the bell */
        struct ferry__file_request *request = ring->first;
        ring->first = request->next;
        push(io_uring_get_sqe(&ring->uring), request);
    }
    const bool stop = ring->stop;
    pthread_mutex_unlock(&ring->lock);
    return !stop;
}

static void look_after(struct ferry__file_ring *ring, struct ferry__file_request *request,
                       int result)
{
    if (ferry__file_advance(request, result)) {
        ferry__file_done(ring->io, request);
        return;
    }
    pthread_mutex_lock(&ring->lock);
    append(ring, request);
    pthread_mutex_unlock(&ring->lock);
}

static void *run(void *arg)
{
    struct ferry__file_ring *ring = arg;
    listen_to_bell(ring);
    while (push_all(ring)) {
        struct io_uring_cqe *entry;
        (void)io_uring_submit_and_wait(&ring->uring,
                                       1); /* what it does not take now it takes later */
        while (!io_uring_peek_cqe(&ring->uring, &entry)) {
            struct ferry__file_request *request = io_uring_cqe_get_data(entry);
            const int result = entry->res;
            io_uring_cqe_seen(&ring->uring, entry);
            if (request)
                look_after(ring, request, result);
            else
                listen_to_bell(ring);
        }
    }
    return NULL;
}

static void ring_bell(const struct ferry__file_ring *ring)
{
    const uint64_t one = 1;
    (void)!write(ring->bell, &one, sizeof one);
}

void ferry__file_ring_begin(struct ferry__file_ring *ring, struct ferry__file_request *request)
{
    pthread_mutex_lock(&ring->lock);
    const bool first = !ring->first;
    append(ring, request);
    pthread_mutex_unlock(&ring->lock);
    if (first)
        ring_bell(ring);
}

struct ferry__file_ring *ferry__file_ring_start(struct ferry__file_io *io)
{
    struct ferry__file_ring *ring = ferry__alloc(sizeof *ring);
    if (!ring)
        return NULL;
    ring->io = io;
    if (io_uring_queue_init(ENTRIES, &ring->uring, 0))
        goto free_ring;
    if ((ring->bell = eventfd(0, EFD_CLOEXEC)) < 0)
        goto exit_uring;
    if (pthread_mutex_init(&ring->lock, NULL))
        goto close_bell;
    if (!ferry__thread_start(&ring->thread, "ferry-file", run, ring))
        return ring;
    pthread_mutex_destroy(&ring->lock);
close_bell:
    close(ring->bell);
exit_uring:
    io_uring_queue_exit(&ring->uring);
free_ring:
    ferry__free(ring);
    return NULL;
}

void ferry__file_ring_finish(struct ferry__file_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->stop = true;
    pthread_mutex_unlock(&ring->lock);
    ring_bell(ring);
    pthread_join(ring->thread, NULL);
    pthread_mutex_destroy(&ring->lock);
    io_uring_queue_exit(&ring->uring);
    close(ring->bell);
    ferry__free(ring);
}
