/*
 * Files as streams (stream.h): a chunk is a request, which reads or writes a part of a file. file.c:
 * the streams. file_io.c: who reads and writes; file_uring.c: the same by io_uring.
 */
#ifndef FERRY_PATHS_FILE_H
#define FERRY_PATHS_FILE_H

#include "paths/stream.h"

#include <ferry/ferry.h>
#include <ferry/stream.h>
#include <pthread.h>
#include <stdatomic.h>

struct ferry__file_ring;
struct ferry_device;

enum {
    FERRY__FILE_BLOCK = FERRY__STREAM_BLOCK, /* direct I/O: addresses, offsets and sizes are
                                                multiples of it */
    FERRY__FILE_DEPTH = 8,                   /* chunks of an op at once */
    FERRY__FILE_THREADS = 8,                 /* a device's */
};

/* A file that the user has open, as the host's side of transfers. */
struct ferry__file {
    struct ferry__stream_side side; /* the first */
    struct ferry_device *device;
    int fd;
    bool write, direct;    /* direct: it was opened for that */
    _Atomic int cached_fd; /* the same, to write parts of blocks through the cache; -1: not yet */
};

/* One read or write. */
struct ferry__file_request {
    const struct ferry__file *file;
    ferry_stream *stream;
    const struct ferry_stream_chunk *chunk;
    uint64_t before; /* of the chunk, moved by requests before this one */
    int fd;
    bool write, direct;
    unsigned char *memory;
    uint64_t size, offset;
    uint64_t moved; /* less than size without an error: the file has ended */
    int error;      /* an errno; 0: none */
    struct ferry__file_request *next;
};

struct ferry__file_io {
    struct ferry_device *device;
    struct ferry__file_ring *ring; /* NULL: threads do it */
    pthread_mutex_t lock;          /* guards all below */
    pthread_cond_t work;
    pthread_t threads[FERRY__FILE_THREADS]; /* what the ring does not do is theirs */
    unsigned thread_count, idle_threads;
    bool stop;
    struct ferry__file_request *first, *last;
};

/* --- file.c ----------------------------------------------------------------------------------- */

/* An open file, whose flags (fcntl) are these, as a stream. NULL: no host memory. */
struct ferry__stream_side *ferry__file_side(struct ferry_device *device, int fd, int flags,
                                            bool write);
/* Is it this file, to be moved this way? Then transfers of a batch share it. */
bool ferry__file_is(const struct ferry__stream_side *side, int fd, int flags, bool write);
/* A request is over. Under no lock. */
void ferry__file_done(struct ferry__file_io *io, struct ferry__file_request *request);

/* --- file_io.c -------------------------------------------------------------------------------- */

enum ferry_status ferry__files_start(struct ferry_device *device);
void ferry__files_finish(struct ferry_device *device);

/* Begins a request; ferry__file_done is called when it is over, on another thread. */
void ferry__file_begin(struct ferry__file_io *io, struct ferry__file_request *request);
/* The ring does not take a request, for this errno: the threads do, from where it is. */
void ferry__file_refused(struct ferry__file_io *io, struct ferry__file_request *request, int error);
/* What became of a system call: bytes, or a negative errno. True: the request is over. */
bool ferry__file_advance(struct ferry__file_request *request, int64_t moved);

/* --- file_uring.c, file_uring_none.c ---------------------------------------------------------- */

/* NULL: the system has no io_uring, or does not let us. */
struct ferry__file_ring *ferry__file_ring_start(struct ferry__file_io *io);
/* 0, or an errno: the ring takes nothing any more. */
int ferry__file_ring_begin(struct ferry__file_ring *ring, struct ferry__file_request *request);
void ferry__file_ring_finish(struct ferry__file_ring *ring);

/* --- file_linux.c, file_macos.c --------------------------------------------------------------- */

/* Are these flags of fcntl(F_GETFL) of a file opened for direct I/O? */
bool ferry__file_is_direct(int flags);
/* The same file once more, for writing through the system's cache; -1: cannot be had. */
int ferry__file_reopen(int fd);

#endif
