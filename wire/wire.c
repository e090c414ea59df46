#include "wire.h"

#include "loop.h"
#include "memory.h"
#include "peer.h"
#include "system.h"
#include "transfer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The front door: wires and peers. */

/* The wires of the process, for tickets that are to be cancelled. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static ferry_wire *all;

/* --- opening ---------------------------------------------------------------------------------- */

static bool copy_text(char **out, const char *text)
{
    *out = text ? ferry__wire_copy_text(text) : NULL;
    return !text || *out;
}

/* "FIRST-LAST", and nothing else: UCX takes what it cannot read in silence. */
static bool are_ports(const char *text)
{
    unsigned ports[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        for (; *text >= '0' && *text <= '9' && ports[i] <= UINT16_MAX; text++)
            ports[i] = 10 * ports[i] + (unsigned)(*text - '0');
        if (!ports[i] || ports[i] > UINT16_MAX || *text++ != (i ? '\0' : '-'))
            return false;
    }
    return ports[0] <= ports[1];
}

static enum ferry_status take_params(ferry_wire *wire, const struct ferry_wire_params *params)
{
    static const struct ferry_wire_params none;
    uint64_t any = 0;
    wire->params = *(params ? params : &none);
    struct ferry_wire_params *own = &wire->params;
    for (size_t i = 0; i < sizeof own->reserved / sizeof *own->reserved; i++)
        any |= own->reserved[i];
    if (any || own->flags & ~FERRY_WIRE_NO_FALLBACK)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT,
                                "a flag or a reserved word of the wire's parameters is not zero");
    if (own->interface && strlen(own->interface) >= FERRY_WIRE_DEVICES_MAX)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT,
                                "the interface's name has more than %d characters",
                                FERRY_WIRE_DEVICES_MAX - 1);
    if (own->data_ports && !are_ports(own->data_ports))
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT,
                                "data ports \"%.40s\" are not FIRST-LAST, from 1 to 65535",
                                own->data_ports);
    own->max_peers = own->max_peers ? own->max_peers : 1024;
    own->staging_budget = own->staging_budget ? own->staging_budget : 64u << 20;
    own->heartbeat_ns = own->heartbeat_ns ? own->heartbeat_ns : 1000 * FERRY_WIRE_MS;
    own->stall_ns = own->stall_ns ? own->stall_ns : 30000 * FERRY_WIRE_MS;
    own->match_ns = own->match_ns ? own->match_ns : 60000 * FERRY_WIRE_MS;
    if (own->heartbeat_ns < 10 * FERRY_WIRE_MS || own->heartbeat_ns > 3600000 * FERRY_WIRE_MS)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT,
                                "a heartbeat of %llu ns is not from 10 ms to an hour",
                                (unsigned long long)own->heartbeat_ns);
    if (!copy_text(&wire->transports, own->transports) ||
        !copy_text(&wire->interface, own->interface) ||
        !copy_text(&wire->data_ports, own->data_ports))
        return ferry__wire_fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a wire");
    return own->secret_file ? ferry__wire_secret_read(&wire->secret, own->secret_file) : FERRY_OK;
}

static enum ferry_status needs_secret(const struct ferry__wire_place *place)
{
    char name[FERRY_WIRE_NAME_MAX];
    if (ferry__wire_is_loopback(place))
        return FERRY_OK;
    ferry__wire_name(place, name);
    return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT,
                            "%s is not on this machine's loopback: a secret is needed", name);
}

static enum ferry_status start_listening(ferry_wire *wire)
{
    struct ferry__wire_place places[FERRY_WIRE_PLACES_MAX], bound = {.size = sizeof bound.address};
    size_t count = 0;
    if (!wire->params.listen)
        return FERRY_OK;
    enum ferry_status status = ferry__wire_resolve(wire->params.listen, true, places, &count);
    for (size_t i = 0; !status && i < count && !wire->secret.size; i++)
        status = needs_secret(&places[i]);
    /* Of a name with several addresses the first that can be had: port 0 is another on each. */
    for (size_t i = 0; !status && i < count && !wire->listener_count; i++) {
        status = ferry__wire_listen(&places[i], &wire->listeners[0]);
        if (!status)
            wire->listener_count = 1;
        else if (i + 1 < count)
            status = FERRY_OK;
    }
    if (status)
        return status;
    if (getsockname(wire->listeners[0], (struct sockaddr *)&bound.address, &bound.size))
        return ferry__wire_fail(FERRY_ERROR_IO, "the listener's address: %s", strerror(errno));
    ferry__wire_name(&bound, wire->address);
    return FERRY_OK;
}

static enum ferry_status start_locks(ferry_wire *wire)
{
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    const int error = pthread_mutex_init(&wire->lock, NULL) |
                      pthread_mutex_init(&wire->stream_lock, &recursive) |
                      ferry__wire_cond_init(&wire->changed);
    pthread_mutexattr_destroy(&recursive);
    if (error || !ferry__wire_bell(wire->bell))
        return ferry__wire_fail(FERRY_ERROR_IO, "no pipe for a wire's thread: %s", strerror(errno));
    return FERRY_OK;
}

static void *run(void *wire)
{
    ferry__wire_thread_set_name("ferry-wire");
    return ferry__wire_run(wire);
}

static enum ferry_status start_thread(ferry_wire *wire)
{
    sigset_t blocked, before;
    if (!ferry__wire_loop_prepare(wire))
        return ferry__wire_fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a wire");
    sigfillset(&blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    const int error = pthread_create(&wire->thread, NULL, run, wire);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? ferry__wire_fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no thread for a wire: %s",
                                    strerror(error))
                 : FERRY_OK;
}

void ferry__wire_free(ferry_wire *wire)
{
    for (ferry_peer *peer = wire->handles, *next; peer; peer = next) {
        next = peer->handle_next;
        ferry__wire_peer_unref(peer);
    }
    for (ferry_peer *peer = wire->accepted, *next; peer; peer = next) {
        next = peer->accept_next;
        ferry__wire_peer_unref(peer);
    }
    for (size_t i = 0; i < wire->listener_count; i++)
        close(wire->listeners[i]);
    for (int i = 0; i < 2; i++)
        if (wire->bell[i] >= 0)
            close(wire->bell[i]);
    ferry__wire_map_finish(&wire->tickets);
    ferry__wire_wipe(&wire->secret, sizeof wire->secret);
    free(wire->polled);
    free(wire->transports);
    free(wire->interface);
    free(wire->data_ports);
    pthread_mutex_destroy(&wire->lock);
    pthread_mutex_destroy(&wire->stream_lock);
    pthread_cond_destroy(&wire->changed);
    free(wire);
}

enum ferry_status ferry_wire_open(const struct ferry_wire_params *params, ferry_wire **out_wire)
{
    if (!out_wire)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_wire_open: out_wire is NULL");
    enum ferry_status status = ferry__wire_ucp_start();
    if (status || (status = ferry__wire_crypto_start()))
        return status;
    ferry_wire *wire = ferry__wire_alloc(sizeof *wire);
    if (!wire)
        return ferry__wire_fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a wire");
    wire->bell[0] = wire->bell[1] = -1;
    wire->inbox_end = &wire->inbox;
    wire->accepted_end = &wire->accepted;
    if ((status = start_locks(wire)) || (status = take_params(wire, params)) ||
        (status = start_listening(wire)) || (status = start_thread(wire))) {
        ferry__wire_free(wire);
        return status;
    }
    pthread_mutex_lock(&all_lock);
    wire->all_next = all;
    all = wire;
    pthread_mutex_unlock(&all_lock);
    *out_wire = wire;
    return FERRY_OK;
}

/* --- closing ---------------------------------------------------------------------------------- */

/* Under wire->lock. False: the time is over. */
static bool wait_until(ferry_wire *wire, uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX)
        return !pthread_cond_wait(&wire->changed, &wire->lock);
    return ferry__wire_cond_wait_until(&wire->changed, &wire->lock, deadline_ns);
}

static uint64_t deadline_of(uint64_t timeout_ns)
{
    const uint64_t now = ferry__wire_now_ns();
    return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

static void leave_all(ferry_wire *wire)
{
    pthread_mutex_lock(&all_lock);
    ferry_wire **at = &all;
    while (*at != wire)
        at = &(*at)->all_next;
    *at = wire->all_next;
    pthread_mutex_unlock(&all_lock);
}

void ferry_wire_close(ferry_wire *wire)
{
    if (!wire)
        return;
    leave_all(wire);
    const uint64_t deadline = deadline_of(FERRY_WIRE_CLOSE_NS);
    pthread_mutex_lock(&wire->lock);
    wire->closing = true;
    wire->peer_closing = true;
    ferry__wire_wake(wire);
    while (!wire->finished && wait_until(wire, deadline))
        ;
    /* What waits for its turn on a buffer ends when that has come: the thread stays until then. */
    const bool finished = wire->finished;
    wire->abandoned = !finished;
    const pthread_t thread = wire->thread;
    pthread_mutex_unlock(&wire->lock);
    if (!finished) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    ferry__wire_free(wire);
}

/* --- peers ------------------------------------------------------------------------------------ */

/* Under wire->lock: the user has the peer from now on. */
static void hand_out(ferry_peer *peer)
{
    ferry_wire *wire = peer->wire;
    peer->handed = true;
    peer->handle_next = wire->handles;
    peer->handle_back = &wire->handles;
    if (peer->handle_next)
        peer->handle_next->handle_back = &peer->handle_next;
    wire->handles = peer;
}

static enum ferry_status make_dialled(ferry_wire *wire, const char *address, ferry_peer **out_peer)
{
    struct ferry__wire_place places[FERRY_WIRE_PLACES_MAX];
    size_t count = 0;
    enum ferry_status status = ferry__wire_resolve(address, false, places, &count);
    for (size_t i = 0; !status && i < count && !wire->secret.size; i++)
        status = needs_secret(&places[i]);
    if (status)
        return status;
    ferry_peer *peer = ferry__wire_peer_make(wire, FERRY_WIRE_CLIENT);
    if (!peer)
        return ferry__wire_fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a peer");
    memcpy(peer->places, places, sizeof places);
    peer->place_count = count;
    ferry__wire_name(&places[0], peer->info.address);
    *out_peer = peer;
    return FERRY_OK;
}

/* Gives a peer up: the thread ends it. Under wire->lock. */
static void give_up(ferry_peer *peer)
{
    peer->closing = true;
    peer->wire->peer_closing = true;
    ferry__wire_wake(peer->wire);
}

enum ferry_status ferry_wire_connect(ferry_wire *wire, const char *address, uint64_t timeout_ns,
                                     ferry_peer **out_peer)
{
    ferry_peer *peer = NULL;
    char why[sizeof peer->info.reason] = "";
    if (!wire || !address || !out_peer)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_wire_connect: %s is NULL",
                                !wire      ? "the wire"
                                : !address ? "the address"
                                           : "out_peer");
    const uint64_t deadline = deadline_of(timeout_ns);
    enum ferry_status status = ferry_stream_in_callback("ferry_wire_connect");
    if (status || (status = make_dialled(wire, address, &peer)))
        return status;
    ferry__wire_peer_ref(peer);
    pthread_mutex_lock(&wire->lock);
    peer->accept_next = wire->dialled;
    wire->dialled = peer;
    ferry__wire_wake(wire);
    bool in_time = true;
    while (!peer->open && !peer->dead && (in_time = wait_until(wire, deadline)))
        ;
    if (peer->open) {
        hand_out(peer);
    } else if (peer->dead) {
        status = peer->status;
        snprintf(why, sizeof why, "%s", peer->info.reason);
    } else {
        status = FERRY_ERROR_TIMEOUT;
        give_up(peer);
    }
    pthread_mutex_unlock(&wire->lock);
    if (!status) {
        *out_peer = peer;
        return FERRY_OK;
    }
    ferry__wire_peer_unref(peer);
    return status == FERRY_ERROR_TIMEOUT
               ? ferry__wire_fail(status, "no connection with \"%.100s\" within %llu ms", address,
                                  (unsigned long long)(timeout_ns / FERRY_WIRE_MS))
               : ferry__wire_fail(status, "connect to \"%.100s\": %s", address, why);
}

/* Under wire->lock: the first that is there still. */
static ferry_peer *next_accepted(ferry_wire *wire)
{
    for (;;) {
        ferry_peer *peer = wire->accepted;
        if (!peer)
            return NULL;
        wire->accepted = peer->accept_next;
        if (!wire->accepted)
            wire->accepted_end = &wire->accepted;
        peer->accept_next = NULL;
        if (!peer->dead)
            return peer;
        ferry__wire_peer_unref(peer);
    }
}

enum ferry_status ferry_wire_accept(ferry_wire *wire, uint64_t timeout_ns, ferry_peer **out_peer)
{
    ferry_peer *peer = NULL;
    if (!wire || !out_peer)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_wire_accept: %s is NULL",
                                wire ? "out_peer" : "the wire");
    if (!wire->address[0])
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "this wire does not listen");
    const uint64_t deadline = deadline_of(timeout_ns);
    const enum ferry_status status = ferry_stream_in_callback("ferry_wire_accept");
    if (status)
        return status;
    pthread_mutex_lock(&wire->lock);
    while (!(peer = next_accepted(wire)) && wait_until(wire, deadline))
        ;
    if (peer)
        hand_out(peer);
    pthread_mutex_unlock(&wire->lock);
    if (!peer)
        return ferry__wire_fail(FERRY_ERROR_TIMEOUT, "nobody has connected within %llu ms",
                                (unsigned long long)(timeout_ns / FERRY_WIRE_MS));
    *out_peer = peer;
    return FERRY_OK;
}

void ferry_peer_close(ferry_peer *peer)
{
    if (!peer)
        return;
    ferry_wire *wire = peer->wire;
    pthread_mutex_lock(&wire->lock);
    *peer->handle_back = peer->handle_next;
    if (peer->handle_next)
        peer->handle_next->handle_back = peer->handle_back;
    give_up(peer);
    pthread_mutex_unlock(&wire->lock);
    ferry__wire_peer_unref(peer);
}

void ferry_peer_get_info(ferry_peer *peer, struct ferry_peer_info *out_info)
{
    if (!peer || !out_info)
        return;
    pthread_mutex_lock(&peer->wire->lock);
    *out_info = peer->info;
    pthread_mutex_unlock(&peer->wire->lock);
    out_info->bytes_sent = atomic_load(&peer->bytes_sent);
    out_info->bytes_received = atomic_load(&peer->bytes_received);
}

enum ferry_status ferry_wire_address(ferry_wire *wire, char *out, size_t capacity, size_t *out_size)
{
    if (!wire || (!out && capacity))
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_wire_address: %s is NULL",
                                wire ? "out" : "the wire");
    if (capacity)
        snprintf(out, capacity, "%s", wire->address);
    if (out_size)
        *out_size = strlen(wire->address);
    return FERRY_OK;
}

enum ferry_status ferry_wire_cancel(ferry_device *device, ferry_ticket ticket)
{
    bool found = false;
    pthread_mutex_lock(&all_lock);
    for (ferry_wire *wire = all; wire && !found; wire = wire->all_next)
        found = ferry__wire_transfer_cancel(wire, device, ticket);
    pthread_mutex_unlock(&all_lock);
    return found ? FERRY_OK : ferry_stream_cancel(device, ticket, "it was cancelled");
}
