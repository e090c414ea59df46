/*
 * What the files of libferry_wire share. One thread a wire does all but the front door: its fields
 * are that thread's own, but for those that the lock guards. It reads the control connections,
 * progresses UCX, matches sends with receives, and tells the streams (ferry/stream.h) what came.
 */
#ifndef FERRY_WIRE_INTERNAL_H
#define FERRY_WIRE_INTERNAL_H

#include "handshake.h"
#include "map.h"
#include "socket.h"
#include "ucp.h"

#include <ferry/stream.h>
#include <ferry/wire.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    FERRY_WIRE_UNPROVEN_MAX = 64,     /* connections that have proved nothing yet */
    FERRY_WIRE_UNPROVEN_BYTES = 4096, /* that such a one may send */
    FERRY_WIRE_ANNOUNCED_MAX = 4096,  /* sends of a peer that wait for a receive */
    FERRY_WIRE_CREDITS_MAX = 32,      /* of a transfer at once */
    FERRY_WIRE_DEPTH = 8,             /* chunks of a transfer at once */
    FERRY_WIRE_TRIES = 4,             /* of a piece */
    FERRY_WIRE_IN = 64 << 10,         /* bytes read of a control connection at once */
    FERRY_WIRE_OUT_MAX = 4 << 20,     /* that a peer may leave unread */
    FERRY_WIRE_MISSED = 5,            /* heartbeats */
    FERRY_WIRE_CHUNK = 1 << 20,       /* bytes of a chunk at most */
};

#define FERRY_WIRE_MS UINT64_C(1000000)
#define FERRY_WIRE_PROOF_NS (5000 * FERRY_WIRE_MS) /* until a connection has proved itself */
#define FERRY_WIRE_LET_GO_NS (500 * FERRY_WIRE_MS) /* until what is cancelled has left UCX */
#define FERRY_WIRE_CLOSE_NS (2000 * FERRY_WIRE_MS) /* that ferry_wire_close waits */

struct ferry__wire_counters {
#define FERRY_WIRE_STAT(field, kind, help) _Atomic uint64_t field;
#include <ferry/wire_stats.inc>
#undef FERRY_WIRE_STAT
};

#define FERRY_WIRE_ADD(wire, field, n) \
    ((void)atomic_fetch_add_explicit(&(wire)->counters.field, (uint64_t)(n), memory_order_relaxed))

/* --- transfers: a send or a receive ----------------------------------------------------------- */

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

/* A send as its receiver knows it. */
struct ferry__wire_announced {
    struct ferry__wire_node node; /* in peer->announced, by its number */
    uint64_t tag, size;
    uint32_t chunk;
    bool ready;
    struct ferry__wire_transfer *receive; /* NULL: none yet */
    struct ferry__wire_announced *next;   /* of its tag */
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

    /* Under wire->lock: */
    struct ferry__wire_node ticket;       /* in wire->tickets; its key is the ticket */
    unsigned told;                        /* of FERRY_WIRE_TOLD_ */
    bool known_to_inbox;                  /* NEW was told: the rest may be */
    bool queued;                          /* in the inbox */
    struct ferry__wire_transfer *in_next; /* of the inbox */
    ferry_stream *stream;                 /* once it has begun */
    struct ferry__wire_chunk *came, **came_end;
    enum ferry_status told_status;
    char told_why[FERRY_WIRE_WHY_MAX];

    /* The thread's: */
    struct ferry__wire_transfer *next, **back; /* of wire->transfers */
    struct ferry__wire_transfer *tag_next;     /* a receive's that waits for its tag */
    bool known, begun, matched, ready, over, confirmed;
    enum ferry_status status; /* once it is over */
    char why[FERRY_WIRE_WHY_MAX];
    uint64_t since_ns; /* of the last progress */
    uint64_t first_ns; /* of the first credit */
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

/* --- peers ------------------------------------------------------------------------------------ */

enum ferry__wire_state {
    FERRY_WIRE_DIALLING,   /* the control connection is being made */
    FERRY_WIRE_GREETING,   /* the other side's HELLO is to come */
    FERRY_WIRE_PROVING,    /* its proof */
    FERRY_WIRE_CONNECTING, /* the data connection is being made */
    FERRY_WIRE_OPEN,
    FERRY_WIRE_DEAD,
};

/* Sends that came and receives that wait, of one tag: never both. */
struct ferry__wire_tag {
    struct ferry__wire_node node;
    struct ferry__wire_announced *announced, **announced_end;
    struct ferry__wire_transfer *receives, **receives_end;
};

struct ferry__wire_bytes {
    uint8_t *bytes;
    size_t size, capacity;
};

struct ferry_peer {
    ferry_wire *wire;
    _Atomic unsigned refs;    /* the user's, the thread's, each transfer's */
    _Atomic unsigned waiting; /* sends that no receive has met */

    /* Under wire->lock: */
    bool open, dead, closing; /* closing: the user has closed it */
    bool handed;              /* the user has it */
    enum ferry_status status; /* why it is dead */
    struct ferry_peer_info info;
    struct ferry_peer *accept_next;
    struct ferry_peer *handle_next, **handle_back; /* of wire->handles */

    _Atomic uint64_t bytes_sent, bytes_received;

    /* The thread's: */
    struct ferry_peer *next, **back; /* of wire->peers */
    enum ferry__wire_state state;
    enum ferry__wire_role role;
    int fd;
    struct ferry__wire_place places[FERRY_WIRE_PLACES_MAX];
    size_t place_count, place;
    uint64_t deadline_ns; /* of the handshake */
    uint64_t closing_ns;  /* since when it is to close */
    uint64_t in_ns, out_ns;
    size_t unproven_bytes;
    size_t skip; /* bytes of an unknown frame that are still to come */
    struct ferry__wire_bytes in, out;
    bool unread;                             /* it does not read what it is told */
    struct ferry__wire_handshake *handshake; /* NULL: it is over */
    uint32_t version, heartbeat_ms;          /* the other side's */
    struct ferry__wire_link link;
    bool same_host, ipv6;
    struct ferry__wire_map sends, announced, credits, tags;
    size_t announced_count; /* that no receive has met */
    uint64_t next_number, next_credit;
    unsigned moving; /* transfers that are matched and not over */
    uint64_t staged; /* bytes of staging that its bytes may come into */
    size_t poll_at;  /* where its descriptors are in wire->polled */
};

struct ferry_wire {
    struct ferry_wire_params params;
    char *transports, *interface, *data_ports; /* copies */
    struct ferry__wire_secret secret;
    int listeners[FERRY_WIRE_PLACES_MAX];
    size_t listener_count;
    char address[FERRY_WIRE_NAME_MAX];
    int bell[2];
    pthread_t thread;
    struct ferry__wire_counters counters;
    struct ferry_wire *all_next; /* under the lock of all wires */

    pthread_mutex_t stream_lock; /* recursive: held while a stream is used that may end */
    pthread_mutex_t lock;        /* guards what says so; a leaf */
    pthread_cond_t changed;
    bool closing, abandoned, finished, asleep;
    struct ferry__wire_transfer *inbox, **inbox_end;
    struct ferry__wire_map tickets;
    struct ferry_peer *accepted, **accepted_end; /* that wait for ferry_wire_accept */
    struct ferry_peer *handles;                  /* that the user has, or may have */
    struct ferry_peer *dialled;                  /* new ones, for the thread */
    bool peer_closing;                           /* some peer's closing is set */

    /* The thread's: */
    struct ferry_peer *peers;
    size_t peer_count, unproven;
    struct ferry__wire_transfer *transfers;
    struct ferry__wire_context *contexts;
    uint64_t staged;
    struct pollfd *polled;
    size_t polled_count, polled_capacity;
    uint64_t tick_ns; /* when deadlines are looked at next */
};

/* --- loop.c ----------------------------------------------------------------------------------- */

void *ferry__wire_run(void *wire);
/* Under wire->lock: the thread looks at what is new. */
void ferry__wire_wake(ferry_wire *wire);

/* --- peer.c ----------------------------------------------------------------------------------- */

ferry_peer *ferry__wire_peer_make(ferry_wire *wire, enum ferry__wire_role role);
void ferry__wire_peer_ref(ferry_peer *peer);
void ferry__wire_peer_unref(ferry_peer *peer);
/* The thread takes a peer on: a dialled one, or one that was taken from a listener. */
void ferry__wire_peer_add(ferry_peer *peer);
void ferry__wire_peer_dial(ferry_peer *peer);
void ferry__wire_peer_greet(ferry_peer *peer);
/* The data connection, while it is being made. */
void ferry__wire_peer_connecting(ferry_peer *peer);
/* It is no more: its transfers fail, and UCX lets go of their memory. */
void ferry__wire_peer_end(ferry_peer *peer, enum ferry_status status, const char *format, ...)
    FERRY_WIRE_PRINTF(3, 4);
void ferry__wire_peer_hello(ferry_peer *peer, const struct ferry__wire_frame *frame);
void ferry__wire_peer_proof(ferry_peer *peer, const struct ferry__wire_frame *frame);

/* --- control.c -------------------------------------------------------------------------------- */

/* Reads what there is and acts on it. True: something came. */
bool ferry__wire_control_read(ferry_peer *peer);
void ferry__wire_control_put(ferry_peer *peer, const struct ferry__wire_frame *frame);
void ferry__wire_control_bytes(ferry_peer *peer, const void *bytes, size_t size);
/* Sends what there is to send, as far as the system takes it. */
void ferry__wire_control_flush(ferry_peer *peer);

/* --- match.c ---------------------------------------------------------------------------------- */

void ferry__wire_announce_came(ferry_peer *peer, const struct ferry__wire_frame *frame);
/* A receive looks for its send, or waits for it. False: no memory. */
bool ferry__wire_match_receive(struct ferry__wire_transfer *receive);
void ferry__wire_match_forget(struct ferry__wire_transfer *receive); /* it waits no more */
void ferry__wire_announced_drop(ferry_peer *peer, struct ferry__wire_announced *announced);
void ferry__wire_match_finish(ferry_peer *peer);

/* --- transfer.c ------------------------------------------------------------------------------- */

enum ferry_status ferry__wire_stream_want(struct ferry__wire_transfer *transfer, size_t size);

/* Acts on what other threads have told. */
void ferry__wire_transfer_told(struct ferry__wire_transfer *transfer, unsigned told,
                               struct ferry__wire_chunk *came);
void ferry__wire_transfer_fail(struct ferry__wire_transfer *transfer, enum ferry_status status,
                               const char *format, ...) FERRY_WIRE_PRINTF(3, 4);
/* A chunk is the engine's again, unless UCX has it. */
void ferry__wire_chunk_done(struct ferry__wire_chunk *chunk);
void ferry__wire_transfer_give_back(struct ferry__wire_transfer *transfer);
void ferry__wire_transfer_moved(struct ferry__wire_transfer *transfer); /* it made progress */
void ferry__wire_transfer_matched(struct ferry__wire_transfer *transfer);
/* False: it has no such ticket. On any thread. */
bool ferry__wire_transfer_cancel(ferry_wire *wire, ferry_device *device, ferry_ticket ticket);
void ferry__wire_transfer_tick(struct ferry__wire_transfer *transfer, uint64_t now);

/* --- send.c, receive.c ------------------------------------------------------------------------ */

extern const struct ferry__wire_link_events ferry__wire_events;

/* Goes on with a transfer as far as it can. */
void ferry__wire_send_pump(struct ferry__wire_transfer *send);
void ferry__wire_receive_pump(struct ferry__wire_transfer *receive);
void ferry__wire_send_begun(struct ferry__wire_transfer *send);
void ferry__wire_announce(struct ferry__wire_transfer *send);
void ferry__wire_match_came(struct ferry__wire_transfer *send);
void ferry__wire_credit_came(struct ferry__wire_transfer *send,
                             const struct ferry__wire_frame *frame);
void ferry__wire_ack_came(struct ferry__wire_transfer *send, const struct ferry__wire_frame *frame);
void ferry__wire_end_came(struct ferry__wire_transfer *send, const struct ferry__wire_frame *frame);
void ferry__wire_receive_chunk(struct ferry__wire_chunk *chunk);
void ferry__wire_set_staged(struct ferry__wire_transfer *transfer, uint64_t staged);

/* Tests: changes a piece on its way into UCX. NULL: nothing does. */
extern void (*ferry__wire_corrupt)(unsigned char *bytes, size_t size, unsigned tries);

/* --- wire.c ----------------------------------------------------------------------------------- */

void ferry__wire_free(ferry_wire *wire);

#endif
