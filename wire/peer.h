/*
 * A peer: its control connection, its way for the bytes, and what the two sides have told each
 * other.
 */
#ifndef FERRY_WIRE_PEER_H
#define FERRY_WIRE_PEER_H

#include "handshake.h"
#include "ucp.h"
#include "wire.h"

enum {
    FERRY_WIRE_UNPROVEN_MAX = 64,     /* connections that have proved nothing yet */
    FERRY_WIRE_UNPROVEN_BYTES = 4096, /* that such a one may send */
    FERRY_WIRE_MISSED = 5,            /* heartbeats */
};

#define FERRY_WIRE_LAST_WORDS_NS (1000 * FERRY_WIRE_MS) /* after its data connection has ended */
#define FERRY_WIRE_PROOF_NS (5000 * FERRY_WIRE_MS)      /* until a connection has proved itself */

enum ferry__wire_state {
    FERRY_WIRE_DIALLING,   /* the control connection is being made */
    FERRY_WIRE_GREETING,   /* the other side's HELLO is to come */
    FERRY_WIRE_PROVING,    /* its proof */
    FERRY_WIRE_CONNECTING, /* the data connection is being made */
    FERRY_WIRE_OPEN,
    FERRY_WIRE_DEAD,
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
    bool straight;            /* UCX takes memory that it was not told of as well as any */
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
    uint64_t deadline_ns;    /* of the handshake */
    uint64_t link_failed_ns; /* since when it has no data connection any more; 0: it has */
    uint64_t closing_ns;     /* since when it is to close */
    uint64_t in_ns, out_ns;
    size_t unproven_bytes;
    size_t skip; /* bytes of an unknown frame that are still to come */
    struct ferry__wire_bytes in, out;
    enum ferry_status untold;                /* not OK: a frame could not be put into out */
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

ferry_peer *ferry__wire_peer_make(ferry_wire *wire, enum ferry__wire_role role);
void ferry__wire_peer_ref(ferry_peer *peer);
void ferry__wire_peer_unref(ferry_peer *peer);
/* The thread takes a peer on: a dialled one, or one that was taken from a listener. */
void ferry__wire_peer_add(ferry_peer *peer);
/* error: why the one before has failed. */
void ferry__wire_peer_dial(ferry_peer *peer, int error);
void ferry__wire_peer_greet(ferry_peer *peer);
/* The data connection, while it is being made. */
void ferry__wire_peer_connecting(ferry_peer *peer);
/* It is no more: its transfers fail, and UCX lets go of their memory. */
void ferry__wire_peer_end(ferry_peer *peer, enum ferry_status status, const char *format, ...)
    FERRY_WIRE_PRINTF(3, 4);
void ferry__wire_peer_hello(ferry_peer *peer, const struct ferry__wire_frame *frame);
void ferry__wire_peer_proof(ferry_peer *peer, const struct ferry__wire_frame *frame);

#endif
