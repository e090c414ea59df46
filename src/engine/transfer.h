/* Transfers: what the user asked to be moved, as an op carries it. */
#ifndef FERRY_ENGINE_TRANSFER_H
#define FERRY_ENGINE_TRANSFER_H

#include "driver.h"
#include "memory/staging.h"

#include <ferry/ferry.h>
#include <stdbool.h>
#include <stdint.h>

struct ferry__blocks;
struct ferry__region;
struct ferry__stream_side;
struct ferry_buffer;

/* A part of a transfer: size bytes from at on. */
struct ferry__piece {
    uint64_t at, size;
};

/* How it is written down: the planner says so once, before the op takes its place. */
enum ferry__way {
    FERRY__WAY_NOTHING,  /* there is nothing to do */
    FERRY__WAY_COMMANDS, /* as it is: copies or fills, whose unaligned ends other commands carry */
    FERRY__WAY_PIECES,  /* a copy that overlaps: pieces no longer than the shift, the safe way on */
    FERRY__WAY_SCRATCH, /* that overlaps with a small shift: pieces through scratch memory */
    FERRY__WAY_TILE,    /* a fill: a tile copied in, then doubling copies within the buffer */
    FERRY__WAY_EACH,    /* blocks: each by itself, in its own way */
    FERRY__WAY_LIST,    /* blocks: by lists that a kernel carries out */
    FERRY__WAY_RMW,     /* the device cannot write these bytes alone: the host merges them */
    FERRY__WAY_COUNT
};

/* What a transfer has beside its buffers, of three that exclude each other. */
enum ferry__with {
    FERRY__WITH_REGION, /* or nothing; a fill has its pattern */
    FERRY__WITH_BLOCKS, /* it is many ranges */
    FERRY__WITH_STREAM, /* the host's side is a stream */
};

/* One operation of the API: an op has one, or a batch's many. Its words are few, since there
 * may be a million of them. Bit-fields side by side are one place to the threads that read and
 * write them: those that change have others between them. */
struct ferry__transfer {
    /* They do not change while it is in flight: also files' threads read them. */
    enum ferry_operation operation : 4;
    enum ferry__with with : 3;
    bool internal : 1; /* the library's own: not counted among what is parked */
    bool untouched;    /* it failed before it could write anything */
    enum ferry__way way : 8;
    bool begun; /* commands are in a submission */
    enum ferry_path path : 8;
    bool by_words;                         /* planned for whole words */
    enum ferry_status status : 8;          /* of its own device work */
    uint8_t pattern_size;                  /* of a fill: its period */
    struct ferry_buffer *dst, *src;        /* NULL: the host, or nothing */
    uint64_t dst_offset, src_offset, size; /* a stream's side has its place there, too */
    union {
        uint8_t pattern[FERRY__PATTERN_MAX]; /* a fill's */
        struct {
            unsigned char *host;
            union {                           /* by with */
                struct ferry__region *region; /* that holds host; NULL: none */
                struct ferry__blocks *blocks;
                struct ferry__stream_side *side; /* referenced */
            };
        };
    };
};

/* NULL: it has none. */
static inline struct ferry__region *ferry__region_of(const struct ferry__transfer *transfer)
{
    return transfer->with == FERRY__WITH_REGION && transfer->operation != FERRY_OPERATION_FILL
               ? transfer->region
               : NULL;
}

static inline struct ferry__blocks *ferry__blocks_of(const struct ferry__transfer *transfer)
{
    return transfer->with == FERRY__WITH_BLOCKS ? transfer->blocks : NULL;
}

static inline struct ferry__stream_side *ferry__side_of(const struct ferry__transfer *transfer)
{
    return transfer->with == FERRY__WITH_STREAM ? transfer->side : NULL;
}

/* Where in its stream a transfer that has one begins. */
static inline uint64_t ferry__side_offset(const struct ferry__transfer *transfer)
{
    return transfer->operation == FERRY_OPERATION_UPLOAD ? transfer->src_offset
                                                         : transfer->dst_offset;
}

/* What an rmw has read, and is to write. */
struct ferry__rmw {
    struct ferry__slice slice;
    struct ferry__piece piece;
};

#endif
