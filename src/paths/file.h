/*
 * Transfers from and to files: a transfer with a file is read in pieces straight into memory that the
 * device copies from (or into the buffer's own, where the host reaches that), and written from such
 * memory. file.c: the API. file_pieces.c: pieces and their commands. file_io.c: who reads and
 * writes, and the memory for it; file_uring.c: the same by io_uring.
 */
#ifndef FERRY_PATHS_FILE_H
#define FERRY_PATHS_FILE_H

#include "driver.h"

#include <ferry/ferry.h>
#include <pthread.h>

struct ferry__file_ring;
struct ferry__op;
struct ferry_device;

enum {
    FERRY__FILE_BLOCK = 4096,   /* direct I/O: addresses, offsets and sizes are multiples of it */
    FERRY__FILE_SLOT = 1 << 20, /* bytes of a slot at most */
    FERRY__FILE_SLOTS = 16,     /* a device's, in each direction, at most */
    FERRY__FILE_DEPTH = 8,      /* an op's pieces at once */
};

/* One read or write. */
struct ferry__file_request {
    int fd;
    bool write, direct;
    unsigned char *memory;
    uint64_t size, offset;
    uint64_t moved; /* less than size without an error: the file has ended */
    int error;      /* an errno; 0: none */
    struct ferry__file_request *next;
};

/* Staging memory for one piece. */
struct ferry__file_slot {
    struct ferry__memory memory;
    uint64_t base; /* the first byte at a multiple of FERRY__FILE_BLOCK */
    bool write;
    struct ferry__file_slot *next;
};

struct ferry__file_io {
    struct ferry_device *device;
    uint64_t slot_size; /* bytes of the longest piece */
    unsigned slots_max;
    /* Ops that wait for a slot, by direction, the first one first; under device->lock. */
    struct ferry__op *hungry_first[2], *hungry_last[2];

    struct ferry__file_ring *ring; /* NULL: threads do it */
    pthread_mutex_t lock;          /* guards all below; a leaf */
    pthread_cond_t work;
    pthread_t threads[FERRY__FILE_DEPTH]; /* what the ring does not do is theirs */
    unsigned thread_count, idle_threads;
    bool stop;
    struct ferry__file_request *first, *last;
    struct ferry__file_slot *idle[2]; /* by direction: write or not */
    unsigned slots[2];
};

/* --- file_io.c -------------------------------------------------------------------------------- */

/* Begins a request; ferry__file_done is called when it is over, on another thread. */
void ferry__file_begin(struct ferry__file_io *io, struct ferry__file_request *request);
/* The ring does not take a request, for this errno: the threads do, from where it is. */
void ferry__file_refused(struct ferry__file_io *io, struct ferry__file_request *request, int error);
/* What became of a system call: bytes, or a negative errno. True: the request is over. */
bool ferry__file_advance(struct ferry__file_request *request, int64_t moved);

/* POOL_EXHAUSTED: all are in use, and op is resumed when one comes back. */
enum ferry_status ferry__file_slot_take(struct ferry__op *op, bool write,
                                        struct ferry__file_slot **out_slot);
void ferry__file_slot_give(struct ferry_device *device, struct ferry__file_slot *slot);
/* What was offered to op and it did not take is the next one's. Under no lock. */
void ferry__file_had_turn(struct ferry__op *op);
void ferry__file_sated(struct ferry__op *op); /* it waits for no slot any more */
/* A look at op: something has changed. Under device->lock. */
void ferry__file_resume(struct ferry__op *op);

/* --- file_pieces.c ---------------------------------------------------------------------------- */

/* Under no lock. */
void ferry__file_done(struct ferry__file_io *io, struct ferry__file_request *request);

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
