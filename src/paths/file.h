/*
 * Files as streams (stream.h): a chunk is a request, which reads or writes a part of a file.
 * file.c: the streams, and which way a chunk is read. file_io.c: the threads that read and write;
 * file_uring.c: direct I/O by io_uring.
 */
#ifndef FERRY_PATHS_FILE_H
#define FERRY_PATHS_FILE_H

#include "base/list.h"
#include "paths/stream.h"

#include <ferry/ferry.h>
#include <ferry/stream.h>
#include <pthread.h>
#include <stdatomic.h>

struct ferry__file_ring;
struct ferry__file_aside;
struct ferry_device;

enum {
    FERRY__FILE_BLOCK = FERRY__STREAM_BLOCK, /* direct I/O: addresses, offsets and sizes are
                                                multiples of it */
    FERRY__FILE_THREADS = 16,                /* a device's, at most */
    FERRY__FILE_PROBE =
        4096, /* what is not in the cache is looked for so: the system reads ahead of
                                 what it is asked for, though nobody waits for it */
};

/* A file that the user has open, as the host's side of transfers. */
struct ferry__file {
    struct ferry__stream_side side; /* the first */
    struct ferry_device *device;
    int fd;
    bool write, direct;   /* direct: it was opened for that */
    _Atomic int again_fd; /* the same, opened by us: to write parts of blocks through the cache,
                                  or to read what is not in that; -1: not yet */
    _Atomic bool no_direct_io; /* it cannot be read so */
    _Atomic bool no_nowait;    /* the system does not tell what is in its cache */
};

/* How a part of a chunk is moved. */
enum ferry__file_way {
    FERRY__FILE_CACHED, /* read, as far as it is in the system's cache */
    FERRY__FILE_DIRECT, /* past that */
    FERRY__FILE_ASIDE,  /* past it too, into memory beside the chunk's, whose addresses do not do */
    FERRY__FILE_PLAIN,  /* through it, however long that takes */
};

/* One read or write, of a part of a chunk. */
struct ferry__file_request {
    struct ferry__file *file;
    ferry_stream *stream;
    const struct ferry_stream_chunk *chunk;
    uint64_t before; /* of the chunk, moved by the parts before this one */
    enum ferry__file_way way;
    int fd;
    bool write;
    bool refused; /* by a ring that nothing may stand in for */
    unsigned char *memory;
    uint64_t size, offset;
    uint64_t moved;          /* less than size without an error: the file has ended */
    int error;               /* an errno; 0: none */
    struct ferry__link link; /* of those that are to be begun */
};

struct ferry__file_io {
    struct ferry_device *device;
    struct ferry__file_ring *ring; /* of direct I/O; NULL: threads do that, too */
    bool through_cache;            /* no direct I/O, but on files that are open for that */
    pthread_mutex_t lock;          /* guards all below */
    pthread_cond_t work;
    pthread_t threads[FERRY__FILE_THREADS];
    unsigned thread_count, idle_threads;
    unsigned threads_max; /* those that the CPUs have use for; more once they wait for a disk */
    bool stop;
    struct ferry__list requests;
    unsigned queued;                  /* of them */
    struct ferry__file_aside *asides; /* memory to read into that none of them has */
};

/* --- file.c ----------------------------------------------------------------------------------- */

/* An open file, whose flags (fcntl) are these, as a stream. NULL: no host memory. */
struct ferry__stream_side *ferry__file_side(struct ferry_device *device, int fd, int flags,
                                            bool write);
/* Is it this file, to be moved this way? Then transfers of a batch share it. */
bool ferry__file_is(const struct ferry__stream_side *side, int fd, int flags, bool write);
/* Past the system's cache? */
static inline bool ferry__file_is_past(enum ferry__file_way way)
{
    return way == FERRY__FILE_DIRECT || way == FERRY__FILE_ASIDE;
}
/* There is no memory beside the chunk's: through the cache. */
void ferry__file_plainly(struct ferry__file_request *request);
/* What was read into memory beside the chunk's goes where it is wanted. */
void ferry__file_from_aside(const struct ferry__file_request *request);
/* A request is over. Under no lock. True: the next part of its chunk is to be begun. */
bool ferry__file_over(struct ferry__file_request *request);

/* --- file_io.c -------------------------------------------------------------------------------- */

enum ferry_status ferry__files_start(struct ferry_device *device);
void ferry__files_finish(struct ferry_device *device);

/* Begins a request, on another thread, and what comes after it of its chunk. */
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

/* Reads what is in the system's cache: bytes, 0 at the file's end, or a negative errno: -EAGAIN
 * where the first byte is not in it, -EOPNOTSUPP where the system does not say. */
int64_t ferry__file_read_cached(int fd, void *memory, size_t size, uint64_t offset);
/* Are these flags of fcntl(F_GETFL) of a file opened for direct I/O? */
bool ferry__file_is_direct(int flags);
/* The same file once more, to be written through the system's cache, or to be read past it; -1:
 * cannot be had. */
int ferry__file_reopen(int fd, bool write);

#endif
