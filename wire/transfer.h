/* Transfers: a send or a receive, and the chunks of staging that it has from the engine. */
#ifndef FERRY_WIRE_TRANSFER_H
#define FERRY_WIRE_TRANSFER_H

#include "frame.h"
#include "ucp.h"
#include "wire.h"

#include <ferry/stream.h>

enum {
    FERRY_WIRE_CREDITS_MAX = 32, /* of a transfer at once */
    FERRY_WIRE_DEPTH = 8,        /* chunks of a transfer at once */
    FERRY_WIRE_CHUNK = 1 << 20,  /* bytes of a chunk at most */
};

#define FERRY_WIRE_LET_GO_NS (500 * FERRY_WIRE_MS) /* until what is cancelled has left UCX */

/* What other threads tell of a transfer, under wire->lock. */
enum {
    FERRY_WIRE_TOLD_NEW = 1 << 0,
    FERRY_WIRE_TOLD_BEGUN = 1 << 1,
    FERRY_WIRE_TOLD_CHUNK = 1 << 2,
    FERRY_WIRE_TOLD_STOP = 1 << 3,   /* the engine goes on no more */
    FERRY_WIRE_TOLD_CANCEL = 1 << 4, /* ferry_wire_cancel */
    FERRY_WIRE_TOLD_ENDED = 1 << 5,
};

struct ferry__wire_transfer;
struct ferry__wire_announced;

/* Staging of the engine's that is the wire's until it is done. */
struct ferry__wire_chunk {
    struct ferry__wire_request request;      /* the first, so that a request is its chunk */
    struct ferry_stream_chunk stream;        /* a copy */
    const struct ferry_stream_chunk *theirs; /* what it is given back by */
    struct ferry__wire_transfer *transfer;
    struct ferry__wire_chunk *next;
    size_t moved;                          /* bytes that are through */
    bool busy;                             /* UCX has its memory */
    struct ferry__wire_piece_header piece; /* that is on its way */
    /* Of a receive: */
    struct ferry__wire_node credit;
    /* Of a send: */
    unsigned tries;
    bool waits; /* for an ACK of its piece */
    bool again; /* its piece is to be sent once more */
};

/* What a receiver has made room for. */
struct ferry__wire_credit {
    uint64_t id, at;
    uint32_t size, used;
    bool busy; /* a piece for it is on its way */
};

struct ferry__wire_transfer {
    ferry_wire *wire;
    ferry_peer *peer; /* a reference */
    bool send;
    uint64_t tag, size;
    ferry_device *device;
    uint32_t chunk_max;
    uint8_t id[FERRY_WIRE_ID];

    bool stream_ended; /* under wire->stream_lock */

    uint64_t called_ns;
    _Atomic uint64_t matched_ns, first_ns; /* met the other side; of the first credit; 0: not yet */

    /* Under wire->lock: */
    struct ferry__wire_node ticket;       /* in wire->tickets; its key is the ticket */
    unsigned told;                        /* of FERRY_WIRE_TOLD_ */
    bool known_to_inbox;                  /* NEW was told: the rest may be */
    bool queued;                          /* in the inbox */
    struct ferry__wire_transfer *in_next; /* of the inbox */
    ferry_stream *stream;                 /* once it has begun */
    struct ferry__wire_chunk *came, **came_end;
    enum ferry_status told_status, ended_status; /* of STOP, and of ENDED */
    char told_why[FERRY_WIRE_WHY_MAX];

    /* The thread's: */
    struct ferry__wire_transfer *next, **back; /* of wire->transfers */
    struct ferry__wire_transfer *tag_next;     /* a receive's that waits for its tag */
    bool known, begun, matched, ready, over, confirmed;
    enum ferry_status status; /* once it is over */
    char why[FERRY_WIRE_WHY_MAX];
    uint64_t since_ns; /* of the last progress */
    uint64_t over_ns;
    uint64_t asked, arrived, done;           /* bytes wanted of the stream, given by it, through */
    uint64_t staged;                         /* counted in peer->staged and wire->staged */
    unsigned wants;                          /* that no chunk has answered */
    struct ferry__wire_chunk *chunks;        /* that are the wire's */
    struct ferry__wire_announced *announced; /* a receive's */
    uint64_t remote;                         /* its number; a receive's */
    struct ferry__wire_node number;          /* in peer->sends */
    struct ferry__wire_credit credits[FERRY_WIRE_CREDITS_MAX];
    unsigned credit_count;
    uint64_t credited;              /* bytes that there were credits for */
    struct ferry__wire_chunk *held; /* the last one, until the peer has confirmed */
};

enum ferry_status ferry__wire_stream_want(struct ferry__wire_transfer *transfer, size_t size);

/* Acts on what other threads have told. */
void ferry__wire_transfer_told(struct ferry__wire_transfer *transfer, unsigned told,
                               struct ferry__wire_chunk *came);
void ferry__wire_transfer_fail(struct ferry__wire_transfer *transfer, enum ferry_status status,
                               const char *format, ...) FERRY_WIRE_PRINTF(3, 4);
/* On the other side: END says why. A device's failure there is IO here. */
void ferry__wire_transfer_fail_there(struct ferry__wire_transfer *transfer,
                                     const struct ferry__wire_frame *frame);
/* A chunk is the engine's again, unless UCX has it. */
void ferry__wire_chunk_done(struct ferry__wire_chunk *chunk);
void ferry__wire_transfer_give_back(struct ferry__wire_transfer *transfer);
void ferry__wire_transfer_moved(struct ferry__wire_transfer *transfer); /* it made progress */
void ferry__wire_transfer_matched(struct ferry__wire_transfer *transfer);
/* False: it has no such ticket. On any thread. */
bool ferry__wire_transfer_cancel(ferry_wire *wire, ferry_device *device, ferry_ticket ticket);
/* How many bytes of staging a receive's bytes may come into. */
void ferry__wire_set_staged(struct ferry__wire_transfer *transfer, uint64_t staged);
void ferry__wire_transfer_tick(struct ferry__wire_transfer *transfer, uint64_t now);

#endif
