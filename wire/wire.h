/*
 * A wire: what it was opened with, and all that belongs to it. One thread does all but the front
 * door: the fields are that thread's own, but for those that a lock guards. It reads the control
 * connections, progresses UCX, matches sends with receives, and tells the streams (ferry/stream.h)
 * what came.
 */
#ifndef FERRY_WIRE_WIRE_H
#define FERRY_WIRE_WIRE_H

#include "crypto.h"
#include "map.h"
#include "socket.h"

#include <ferry/wire.h>
#include <pthread.h>
#include <stdatomic.h>

struct pollfd;

#define FERRY_WIRE_CLOSE_NS (2000 * FERRY_WIRE_MS) /* that ferry_wire_close waits */

struct ferry__wire_counters {
#define FERRY_WIRE_STAT(field, kind, help) _Atomic uint64_t field;
#include <ferry/wire_stats.inc>
#undef FERRY_WIRE_STAT
};

#define FERRY_WIRE_ADD(wire, field, n) \
    ((void)atomic_fetch_add_explicit(&(wire)->counters.field, (uint64_t)(n), memory_order_relaxed))

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

void ferry__wire_free(ferry_wire *wire);

#endif
