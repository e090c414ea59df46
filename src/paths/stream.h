/*
 * Transfers whose host's side is a stream (ferry/stream.h): pieces of them lie in slots of staging
 * memory, which the stream fills or empties while the device copies others. stream.c: from pieces
 * to commands. stream_piece.c: what becomes of a piece. stream_slot.c: the slots. stream_end.c: how
 * a stream begins, fails, and ends.
 */
#ifndef FERRY_PATHS_STREAM_H
#define FERRY_PATHS_STREAM_H

#include "base/list.h"
#include "driver.h"
#include "engine/submission.h"

#include <ferry/ferry.h>
#include <ferry/stream.h>
#include <pthread.h>
#include <stdatomic.h>

struct ferry__transfer;
struct ferry__op;
struct ferry_device;

enum {
    FERRY__STREAM_BLOCK = 4096,    /* the largest block of a stream */
    FERRY__STREAM_DEPTH = 32,      /* pieces of an op at once, at most */
    FERRY__STREAM_DEPTH_USUAL = 2, /* where the stream does not say */
    FERRY__STREAM_WANTS = 64,
};

/* The host's side of transfers: a table of functions and whose they are. */
struct ferry__stream_side {
    struct ferry_stream_methods methods;
    void *user;
    uint64_t gap; /* transfers of one side that are so near in it are moved as one; 0: none are */
    bool whole_blocks; /* straight into memory only where all is blocks */
    _Atomic unsigned refs;
    void (*release)(struct ferry__stream_side *side);
};

/* Staging memory for one piece. */
struct ferry__stream_slot {
    struct ferry__memory memory;
    unsigned char *pages; /* of ours, that it is; NULL: it is the driver's */
    uint64_t base;        /* the first byte at a multiple of FERRY__STREAM_BLOCK */
    uint64_t id;
    bool write;
    struct ferry_stream *stream; /* that has it */
    struct ferry__stream_slot *next;
};

enum ferry__piece_state {
    FERRY__PIECE_FREE,
    FERRY__PIECE_MOVING, /* the stream has it */
    FERRY__PIECE_HERE,   /* a source has filled it: the device may copy it */
    FERRY__PIECE_AWAY,   /* the device copies it into staging */
};

struct ferry__stream_piece {
    struct ferry_stream_chunk chunk; /* the first, so that a chunk is its piece */
    _Atomic int state;
    struct ferry_stream *stream;
    const struct ferry__stream_side *side;
    struct ferry__stream_slot *slot; /* NULL: the buffer's own memory */
    size_t transfer;                 /* where it begins */
    uint64_t skip;                   /* where in the slot's memory the device copies */
    bool write;
    bool edge;                /* part of a word, that the host has to merge */
    size_t end_transfer;      /* what a source fills it for ends at this transfer, */
    uint64_t end_done;        /* with so many bytes of it */
    uint64_t moved;           /* of chunk.size */
    enum ferry_status status; /* of that, and of making it visible to the device */
};

/* An op's, from its first piece on; one whose methods are the user's: from the beginning. */
struct ferry_stream {
    struct ferry__op *op;
    struct ferry__stream_piece reads[FERRY__STREAM_DEPTH];
    unsigned first, count;                                 /* of them, in order */
    struct ferry__stream_piece moves[FERRY__STREAM_DEPTH]; /* written, or straight */
    size_t ahead_transfer;                                 /* what is read next */
    uint64_t ahead_done;
    bool looked; /* whether it goes straight into and out of the buffers' own memory: */
    bool straight;
    _Atomic size_t broken; /* 1 + the transfer that failed last */
    unsigned char edge[FERRY_BUFFER_ALIGNMENT];

    _Atomic bool over; /* it has failed, or was cancelled: status and why tell */
    /* Under device->lock: */
    bool begun;
    bool begins;     /* the methods' begin is being called, or was */
    bool cancel_due; /* the methods' cancel is to be called, */
    bool cancelled;  /* and was: never again */
    bool ended;      /* end is called ahead of the op's turn */
    enum ferry_status status;
    char why[FERRY__WHY_MAX];
    size_t wants[FERRY__STREAM_WANTS];
    unsigned want_first, want_count;
    uint8_t hungry; /* for a slot: 1 to fill it, 2 to empty it */
    bool offered;   /* it was resumed for one: who is hungry next gets what it leaves */
    struct ferry__link hungry_link;
    struct ferry__link link; /* in device->streams: those that have begun */
};

/* --- stream.c --------------------------------------------------------------------------------- */

/* Commands for a transfer, as far as pieces of it are there. */
enum ferry__emitted ferry__stream_emit(struct ferry_device *device, struct ferry__submission *sub,
                                       struct ferry__op *op, struct ferry__transfer *transfer,
                                       enum ferry_status *out_status);

/* --- stream_piece.c --------------------------------------------------------------------------- */

struct ferry__stream_piece *ferry__piece_find_free(struct ferry_stream *stream, unsigned depth);
/* It is the stream's until that has answered. */
void ferry__piece_begin(struct ferry__stream_piece *piece);
/* The range of the stream that the operation is about which a chunk is of, to tell of it. */
void ferry__chunk_whole(const struct ferry_stream_chunk *chunk, uint64_t *out_size,
                        uint64_t *out_offset);
/* Nothing comes after this piece that would tell. Under no lock. */
void ferry__piece_tell(struct ferry__stream_piece *piece, enum ferry_status status,
                       const char *why);

/* --- stream_end.c ----------------------------------------------------------------------------- */

/* NULL: no host memory. */
struct ferry_stream *ferry__stream_create(struct ferry__op *op);
/* One of the user's has it before it is submitted, so that it can be cancelled. */
enum ferry_status ferry__stream_prepare(struct ferry__op *op);
void ferry__stream_free(struct ferry__op *op);
/* op is done: its streams are told. Under no lock. */
void ferry__stream_done(struct ferry__op *op);
/* The rest of op will not be carried out. Under device->lock. */
void ferry__stream_abandon(struct ferry__op *op, enum ferry_status status, const char *why);
/* Its turn has come. False: it is over already. Under no lock. */
bool ferry__stream_begin(struct ferry_stream *stream, const struct ferry__transfer *transfer);
/* What a stream may fail with. */
enum ferry_status ferry__stream_status(enum ferry_status status);
/* One of the user's cannot go on. Under no lock. */
void ferry__stream_stop(struct ferry_stream *stream, enum ferry_status status, const char *why);
/* Calls what is due. Under device->lock, which it gives up on the way. False: nothing was. */
bool ferry__streams_step(struct ferry_device *device);
/* All of the device's end. Under no lock. */
void ferry__streams_close(struct ferry_device *device);
/* The next chunk that is wanted: size bytes at most; 0: none is. */
size_t ferry__stream_wanted(struct ferry_stream *stream, const struct ferry__stream_side *side);
void ferry__stream_want_met(struct ferry_stream *stream, const struct ferry__stream_side *side);

void ferry__side_ref(struct ferry__stream_side *side);
void ferry__side_unref(struct ferry__stream_side *side); /* NULL is fine */

/* --- stream_slot.c ---------------------------------------------------------------------------- */

struct ferry__stream_slots {
    struct ferry_device *device;
    uint64_t slot_size; /* bytes of the longest piece */
    unsigned slots_max;
    /* Streams that wait for a slot, by direction, the first one first; under device->lock. */
    struct ferry__list hungry[2];
    _Atomic uint64_t last_id;
    pthread_mutex_t lock;               /* guards all below */
    struct ferry__stream_slot *idle[2]; /* by direction: write or not */
    unsigned slots[2];
};

enum ferry_status ferry__slots_start(struct ferry_device *device);
void ferry__slots_trim(struct ferry_device *device);
void ferry__slots_finish(struct ferry_device *device);

/* POOL_EXHAUSTED: all are in use, and the op is resumed when one comes back. */
enum ferry_status ferry__slot_take(struct ferry_stream *stream, bool write,
                                   struct ferry__stream_slot **out_slot);
void ferry__slot_give(struct ferry_device *device, struct ferry__stream_slot *slot);
/* What was offered to it and it did not take is the next one's. Under no lock. */
void ferry__slot_had_turn(struct ferry_stream *stream);
void ferry__slot_sated(struct ferry_stream *stream); /* it waits for no slot any more */
/* A look at the op: something has changed. Under device->lock. */
void ferry__stream_resume(struct ferry__op *op);

#endif
