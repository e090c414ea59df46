#include "base/alloc.h"
#include "base/log.h"
#include "base/thread.h"
#include "paths/file.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/*
 * Direct I/O by io_uring, begun and looked after by one thread of our own: what another began
 * would be cancelled when that thread ends. What is in the system's cache is not for it: one task
 * would copy that, one piece after another.
 *
 * While nothing is in flight the thread sleeps on a condition, else in the kernel, where a bell
 * wakes it. A sandbox may refuse either once it is set up: then what the kernel has not taken goes
 * to the other threads (file_io.c), for good.
 */

enum { ENTRIES = 64 };

struct ferry__file_ring {
    struct ferry__file_io *io;
    struct io_uring uring;
    pthread_t thread;
    int bell; /* an eventfd, that the ring reads: something was begun */
    uint64_t rung;
    bool listening;           /* the bell is being read; the thread's own, as the next */
    unsigned in_flight;       /* taken by the kernel, or about to be */
    pthread_mutex_t lock;     /* guards all below; a leaf */
    pthread_cond_t work;      /* something was begun while the thread was not in the kernel */
    struct ferry__list begun; /* requests that are to be given to the kernel */
    bool inside;              /* the thread is in the kernel, or on its way */
    bool stop;
    int broken; /* an errno: the ring takes nothing any more */
};

static struct ferry__file_request *request_of(struct ferry__link *link)
{
    return link ? FERRY__OF_LINK(link, struct ferry__file_request, link) : NULL;
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
    io_uring_sqe_set_data(entry, request);
}

static void listen_to_bell(struct ferry__file_ring *ring)
{
    if (ring->listening)
        return;
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring);
    io_uring_prep_read(entry, ring->bell, &ring->rung, sizeof ring->rung, 0);
    io_uring_sqe_set_data(entry, NULL);
    ring->listening = true;
}

/* Waits for work, and takes as much as there is room for. False: it is over. */
static bool push_all(struct ferry__file_ring *ring)
{
    ferry__lock(&ring->lock);
    ring->inside = false;
    while (!ring->begun.first && !ring->in_flight && !ring->stop)
        ferry__cond_wait(&ring->work, &ring->lock);
    while (ring->begun.first && io_uring_sq_space_left(&ring->uring) > 1) { /* one for the bell */
        push(io_uring_get_sqe(&ring->uring), request_of(ferry__list_pop(&ring->begun)));
        ring->in_flight++;
    }
    const bool more = ring->in_flight > 0;
    ring->inside = more;
    ferry__unlock(&ring->lock);
    if (more)
        listen_to_bell(ring);
    return more;
}

static void look_after(struct ferry__file_ring *ring, struct ferry__file_request *request,
                       int result)
{
    if (ferry__file_advance(request, result)) {
        if (ferry__file_over(request))
            ferry__file_begin(ring->io, request);
        return;
    }
    ferry__lock(&ring->lock);
    const int broken = ring->broken;
    if (!broken)
        ferry__list_push(&ring->begun, &request->link);
    ferry__unlock(&ring->lock);
    if (broken)
        ferry__file_refused(ring->io, request, broken);
}

/* What the kernel is done with. */
static void reap(struct ferry__file_ring *ring)
{
    struct io_uring_cqe *entry;
    while (!io_uring_peek_cqe(&ring->uring, &entry)) {
        struct ferry__file_request *request = io_uring_cqe_get_data(entry);
        const int result = entry->res;
        io_uring_cqe_seen(&ring->uring, entry);
        if (request) {
            ring->in_flight--;
            look_after(ring, request, result);
        } else {
            ring->listening = false;
        }
    }
}

/* --- when the kernel refuses ------------------------------------------------------------------ */

/* What may be tried again, now that some of it has come back; but not for ever. */
static bool will_pass(int error, unsigned failures)
{
    enum { FAILURES_MAX = 100 };
    return failures < FAILURES_MAX && (error == EINTR || error == EAGAIN || error == EBUSY);
}

static void nap(uint64_t ns)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
}

/* Those entries of the ring that the kernel has not taken, as a list; they are none any more. */
static struct ferry__list take_back(struct ferry__file_ring *ring)
{
    struct ferry__list list = {NULL, NULL};
    struct io_uring_sq *queue = &ring->uring.sq;
    const unsigned mask = *queue->kring_mask;
    unsigned first = queue->sqe_tail - io_uring_sq_ready(&ring->uring);
    for (unsigned at = queue->sqe_tail; at != first; at--) {
        struct ferry__file_request *request =
            (struct ferry__file_request *)(uintptr_t)queue->sqes[(at - 1) & mask].user_data;
        if (!request)
            continue;
        ferry__list_insert(&list, NULL, &request->link);
        ring->in_flight--;
    }
    return list;
}

static void refuse_all(struct ferry__file_ring *ring, struct ferry__list list, int error)
{
    while (list.first)
        ferry__file_refused(ring->io, request_of(ferry__list_pop(&list)), error);
}

/* The ring is good for nothing but what the kernel has already: that ends in memory, which can be
 * looked at without asking. */
static void wind_up(struct ferry__file_ring *ring, int error)
{
    enum { NAP_NS = 1000 * 1000, NAP_MAX_NS = 16 * NAP_NS };
    ferry__lock(&ring->lock);
    ring->broken = error;
    const struct ferry__list waiting = ferry__list_take(&ring->begun);
    ferry__unlock(&ring->lock);
    refuse_all(ring, take_back(ring), error);
    refuse_all(ring, waiting, error);
    for (uint64_t ns = NAP_NS; ring->in_flight; ns = ns < NAP_MAX_NS ? 2 * ns : ns) {
        reap(ring);
        nap(ns);
    }
}

static void *run(void *arg)
{
    struct ferry__file_ring *ring = arg;
    unsigned failures = 0; /* one after another */
    while (push_all(ring)) {
        const int result = io_uring_submit_and_wait(&ring->uring, 1);
        reap(ring);
        failures = result < 0 ? failures + 1 : 0;
        if (!failures)
            continue;
        if (!will_pass(-result, failures)) {
            wind_up(ring, -result);
            break;
        }
        nap(failures * (uint64_t)10000);
    }
    return NULL;
}

/* --- from other threads ----------------------------------------------------------------------- */

/* Under the lock. False: there is no bell any more. */
static bool ring_bell(const struct ferry__file_ring *ring)
{
    const uint64_t one = 1;
    ssize_t written;
    do
        written = write(ring->bell, &one, sizeof one);
    while (written < 0 && errno == EINTR);
    return written == sizeof one;
}

int ferry__file_ring_begin(struct ferry__file_ring *ring, struct ferry__file_request *request)
{
    ferry__lock(&ring->lock);
    /* Of several only the first rings: the thread takes all. */
    if (!ring->broken && !ring->begun.first && ring->inside && !ring_bell(ring))
        ring->broken = errno;
    const int broken = ring->broken;
    if (!broken) {
        ferry__list_push(&ring->begun, &request->link);
        if (!ring->inside)
            pthread_cond_signal(&ring->work);
    }
    ferry__unlock(&ring->lock);
    return broken;
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
    if (ferry__cond_init(&ring->work))
        goto destroy_lock;
    if (!ferry__thread_start(&ring->thread, "ferry-file", run, ring))
        return ring;
    pthread_cond_destroy(&ring->work);
destroy_lock:
    pthread_mutex_destroy(&ring->lock);
close_bell:
    close(ring->bell);
exit_uring:
    io_uring_queue_exit(&ring->uring);
free_ring:
    ferry__free(ring);
    return NULL;
}

/* All requests are done: the thread is not in the kernel for long. */
void ferry__file_ring_finish(struct ferry__file_ring *ring)
{
    ferry__lock(&ring->lock);
    ring->stop = true;
    pthread_cond_signal(&ring->work);
    ferry__unlock(&ring->lock);
    pthread_join(ring->thread, NULL);
    pthread_cond_destroy(&ring->work);
    pthread_mutex_destroy(&ring->lock);
    io_uring_queue_exit(&ring->uring);
    close(ring->bell);
    ferry__free(ring);
}
