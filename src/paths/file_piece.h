/* A piece of a file: read or written at once. */
#ifndef FERRY_PATHS_FILE_PIECE_H
#define FERRY_PATHS_FILE_PIECE_H

#include "paths/file.h"

#include <ferry/ferry.h>
#include <stdatomic.h>

struct ferry__transfer;
struct ferry__op;
struct ferry_device;

enum ferry__piece_state {
    FERRY__PIECE_FREE,
    FERRY__PIECE_MOVING, /* read or written */
    FERRY__PIECE_HERE,   /* read: the device may copy it */
    FERRY__PIECE_AWAY,   /* the device copies it into staging */
};

struct ferry__file_piece {
    struct ferry__file_request request; /* the first, so that a request is its piece */
    _Atomic int state;
    struct ferry__op *op;
    struct ferry__file_slot *slot; /* NULL: the buffer's own memory */
    size_t transfer;               /* where it begins */
    uint64_t file_offset, size;
    uint64_t skip;            /* where in the slot's memory that lies */
    bool edge;                /* part of a word, that the host has to merge */
    size_t end_transfer;      /* what it was read for ends at this transfer, */
    uint64_t end_done;        /* with so many bytes of it */
    enum ferry_status status; /* of making it visible to the device */
};

struct ferry__files {
    struct ferry__file_piece reads[FERRY__FILE_DEPTH];
    unsigned first, count;                             /* of them, in order */
    struct ferry__file_piece moves[FERRY__FILE_DEPTH]; /* written, or straight */
    size_t ahead_transfer;                             /* what is read next */
    uint64_t ahead_done;
    bool straight;         /* into and out of the buffers' own memory */
    _Atomic size_t broken; /* 1 + the transfer that failed last */
    unsigned char edge[FERRY_BUFFER_ALIGNMENT];
};

struct ferry__file_piece *ferry__piece_find_free(struct ferry__files *files);
void ferry__piece_begin(struct ferry__file_piece *piece);
enum ferry_status ferry__piece_explain(const struct ferry__file_piece *piece,
                                       const struct ferry__transfer *transfer, char *why);

/* Nothing comes after this piece that would tell. Under no lock. */
void ferry__piece_tell(struct ferry__file_piece *piece, enum ferry_status status, const char *why);

/* Bytes of it that were moved. */
uint64_t ferry__piece_arrived(const struct ferry__file_piece *piece);

#endif
