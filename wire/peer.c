#include "peer.h"

#include "control.h"
#include "match.h"
#include "memory.h"
#include "receive.h"
#include "send.h"
#include "transfer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Peers from the first connection to the last word. */

ferry_peer *ferry__wire_peer_make(ferry_wire *wire, enum ferry__wire_role role)
{
    ferry_peer *peer = ferry__wire_alloc(sizeof *peer);
    if (!peer)
        return NULL;
    peer->wire = wire;
    peer->role = role;
    peer->fd = -1;
    peer->link.fd = -1;
    peer->handshake = ferry__wire_alloc(sizeof *peer->handshake);
    if (!peer->handshake) {
        free(peer);
        return NULL;
    }
    atomic_init(&peer->refs, 1);
    return peer;
}

void ferry__wire_peer_ref(ferry_peer *peer)
{
    atomic_fetch_add(&peer->refs, 1);
}

void ferry__wire_peer_unref(ferry_peer *peer)
{
    if (!peer || atomic_fetch_sub(&peer->refs, 1) > 1)
        return;
    free(peer->handshake);
    free(peer->in.bytes);
    free(peer->out.bytes);
    free(peer);
}

void ferry__wire_peer_add(ferry_peer *peer)
{
    ferry_wire *wire = peer->wire;
    peer->next = wire->peers;
    peer->back = &wire->peers;
    if (peer->next)
        peer->next->back = &peer->next;
    wire->peers = peer;
    wire->peer_count++;
    peer->in_ns = peer->out_ns = ferry__wire_now_ns();
    peer->deadline_ns = peer->in_ns + FERRY_WIRE_PROOF_NS;
    if (peer->role == FERRY_WIRE_SERVER)
        wire->unproven++;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* The last word: why, unless it is the other side that has gone. */
static void say_goodbye(ferry_peer *peer, enum ferry_status status, const char *why)
{
    const bool early = peer->state < FERRY_WIRE_CONNECTING;
    if (peer->fd < 0 || peer->state == FERRY_WIRE_DIALLING)
        return;
    ferry__wire_control_put(
        peer, &(struct ferry__wire_frame){.type = early ? FERRY_WIRE_REFUSED : FERRY_WIRE_GOODBYE,
                                          .status = (uint16_t)status,
                                          .rest = (const uint8_t *)why,
                                          .rest_size = strlen(why)});
}

/* What was on its way fails, after UCX has let go of it. */
static void end_transfers(ferry_peer *peer, enum ferry_status status, const char *why)
{
    ferry__wire_link_close(&peer->link);
    for (struct ferry__wire_transfer *transfer = peer->wire->transfers; transfer;
         transfer = transfer->next) {
        if (transfer->peer != peer)
            continue;
        for (struct ferry__wire_chunk *chunk = transfer->chunks; chunk; chunk = chunk->next) {
            chunk->request.link = NULL;
            chunk->busy = false;
        }
        ferry__wire_transfer_fail(transfer, status, "%s", why);
        ferry__wire_transfer_give_back(transfer);
    }
    ferry__wire_match_finish(peer);
    ferry__wire_map_finish(&peer->sends);
    ferry__wire_map_finish(&peer->credits);
}

static void tell_end(ferry_peer *peer, enum ferry__wire_state before, enum ferry_status status,
                     const char *why)
{
    ferry_wire *wire = peer->wire;
    pthread_mutex_lock(&wire->lock);
    peer->dead = true;
    peer->status = status;
    snprintf(peer->info.reason, sizeof peer->info.reason, "%.*s", (int)sizeof peer->info.reason - 1,
             why);
    peer->info.there = false;
    const bool closing = peer->closing || wire->closing;
    pthread_cond_broadcast(&wire->changed);
    pthread_mutex_unlock(&wire->lock);
    if (before < FERRY_WIRE_OPEN && !closing) {
        FERRY_WIRE_ADD(wire, refused, 1);
        ferry__wire_log(FERRY_LOG_INFO, "wire: no connection with %s: %s", peer->info.address, why);
    } else if (before == FERRY_WIRE_OPEN) {
        FERRY_WIRE_ADD(wire, peers, -1);
    }
}

void ferry__wire_peer_end(ferry_peer *peer, enum ferry_status status, const char *format, ...)
{
    char why[FERRY_WIRE_WHY_MAX];
    const enum ferry__wire_state before = peer->state;
    va_list arguments;
    if (before == FERRY_WIRE_DEAD)
        return;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    if (peer->role == FERRY_WIRE_SERVER && before < FERRY_WIRE_CONNECTING)
        peer->wire->unproven--;
    say_goodbye(peer, status, why);
    peer->state = FERRY_WIRE_DEAD;
    ferry__wire_control_flush(peer);
    tell_end(peer, before, status, why);
    end_transfers(peer, status, why);
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}

/* --- the beginning ---------------------------------------------------------------------------- */

/* Dials the next of the addresses that a name stands for. */
void ferry__wire_peer_dial(ferry_peer *peer, int error)
{
    char name[FERRY_WIRE_NAME_MAX] = "";
    if (peer->fd >= 0)
        close(peer->fd);
    for (peer->fd = -1; peer->fd < 0 && peer->place < peer->place_count; peer->place++) {
        peer->fd = ferry__wire_dial(&peer->places[peer->place]);
        if (peer->fd < 0)
            error = errno;
    }
    if (peer->fd >= 0)
        return;
    ferry__wire_name(&peer->places[peer->place_count - 1], name);
    ferry__wire_peer_end(peer, FERRY_ERROR_IO, "cannot connect to %s: %s", name, strerror(error));
}

/* The control connection is there. */
void ferry__wire_peer_greet(ferry_peer *peer)
{
    uint8_t bytes[FERRY_WIRE_FRAME_MAX];
    ferry_wire *wire = peer->wire;
    const uint64_t beat = wire->params.heartbeat_ns;
    ferry__wire_tune(peer->fd, FERRY_WIRE_MISSED * beat);
    peer->state = FERRY_WIRE_GREETING;
    const size_t size =
        ferry__wire_hello(peer->handshake, peer->role, &wire->secret,
                          (uint32_t)((beat + FERRY_WIRE_MS - 1) / FERRY_WIRE_MS), bytes);
    if (!size)
        ferry__wire_peer_end(peer, FERRY_ERROR_INTERNAL, "the system gives no random bytes");
    else if (peer->role == FERRY_WIRE_CLIENT)
        ferry__wire_control_bytes(peer, bytes, size);
}

/* The context for the interface that the peer came by. */
static enum ferry_status find_context(ferry_peer *peer, struct ferry__wire_context **out_context)
{
    ferry_wire *wire = peer->wire;
    struct ferry__wire_ucp_settings settings = {.transports = wire->transports,
                                                .data_ports = wire->data_ports};
    if (!ferry__wire_interface(peer->fd, settings.devices, sizeof settings.devices, &settings.ipv6,
                               &peer->same_host))
        return ferry__wire_fail(FERRY_ERROR_IO, "no interface has the connection's address");
    if (wire->interface)
        snprintf(settings.devices, sizeof settings.devices, "%s", wire->interface);
    for (struct ferry__wire_context *at = wire->contexts; at; at = at->next)
        if (at->settings.ipv6 == settings.ipv6 && !strcmp(at->settings.devices, settings.devices)) {
            *out_context = at;
            return FERRY_OK;
        }
    const enum ferry_status status = ferry__wire_context_open(&settings, out_context);
    if (status)
        return status;
    (*out_context)->next = wire->contexts;
    wire->contexts = *out_context;
    return FERRY_OK;
}

static const struct ferry__wire_link_events link_events = {.piece = ferry__wire_piece_came,
                                                           .received = ferry__wire_piece_received,
                                                           .sent = ferry__wire_piece_sent};

/* Makes the worker, and proves with its address that this side knows the secret. */
static enum ferry_status prove(ferry_peer *peer)
{
    uint8_t bytes[FERRY_WIRE_FRAME_MAX];
    struct ferry__wire_context *context = NULL;
    void *address = NULL;
    size_t size = 0;
    enum ferry_status status = find_context(peer, &context);
    if (status ||
        (status = ferry__wire_link_open(&peer->link, context, &link_events, peer, &address, &size)))
        return status;
    const size_t frame = ferry__wire_prove(peer->handshake, address, size, bytes);
    ferry__wire_link_address_free(&peer->link, address);
    if (!frame)
        return ferry__wire_fail(FERRY_ERROR_INTERNAL,
                                "UCX's worker address of %zu bytes does not fit into a frame",
                                size);
    ferry__wire_control_bytes(peer, bytes, frame);
    return FERRY_OK;
}

void ferry__wire_peer_hello(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    char why[FERRY_WIRE_WHY_MAX];
    enum ferry_status status = ferry__wire_hello_came(peer->handshake, frame, why);
    if (status) {
        ferry__wire_peer_end(peer, status, "%s", why);
        return;
    }
    peer->version = peer->handshake->version;
    peer->heartbeat_ms = peer->handshake->heartbeat_ms;
    if (peer->role == FERRY_WIRE_SERVER)
        ferry__wire_control_bytes(peer, peer->handshake->hellos[FERRY_WIRE_SERVER],
                                  peer->handshake->hello_sizes[FERRY_WIRE_SERVER]);
    else
        status = prove(peer);
    if (status)
        ferry__wire_peer_end(peer, status, "%s", ferry_last_error());
    else if (peer->state == FERRY_WIRE_GREETING)
        peer->state = FERRY_WIRE_PROVING;
}

void ferry__wire_peer_proof(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    char why[FERRY_WIRE_WHY_MAX];
    ferry_wire *wire = peer->wire;
    const enum ferry__wire_role other =
        peer->role == FERRY_WIRE_CLIENT ? FERRY_WIRE_SERVER : FERRY_WIRE_CLIENT;
    enum ferry_status status = ferry__wire_prove_came(peer->handshake, frame, why);
    if (status) {
        ferry__wire_peer_end(peer, status, "%s", why);
        return;
    }
    if (peer->role == FERRY_WIRE_SERVER &&
        wire->peer_count - wire->unproven >= wire->params.max_peers) {
        ferry__wire_peer_end(peer, FERRY_ERROR_POOL_EXHAUSTED, "there are %u peers already",
                             wire->params.max_peers);
        return;
    }
    if (peer->role == FERRY_WIRE_SERVER)
        status = prove(peer);
    if (!status)
        status = ferry__wire_link_connect(&peer->link, peer->handshake->addresses[other]);
    if (status) {
        ferry__wire_peer_end(peer, status, "%s", ferry_last_error());
        return;
    }
    if (peer->role == FERRY_WIRE_SERVER)
        wire->unproven--;
    free(peer->handshake);
    peer->handshake = NULL;
    peer->state = FERRY_WIRE_CONNECTING;
}

/* Do the bytes go a slower way than the one asked for? */
static bool falls_back(const ferry_peer *peer)
{
    static const char *const faster[] = {"rc", "ud", "dc", "ib", "gga"};
    static const char *const here[] = {"posix", "sysv", "shm", "sm"};
    const char *wanted = peer->wire->transports;
    bool asked = false;
    if (!strstr(peer->link.transports, "tcp"))
        return false;
    if (wanted && wanted[0] == '^')
        return false;
    for (size_t i = 0; wanted && i < sizeof faster / sizeof *faster; i++)
        asked |= strstr(wanted, faster[i]) != NULL;
    for (size_t i = 0; peer->same_host && i < sizeof here / sizeof *here; i++)
        asked |= !wanted || strstr(wanted, here[i]);
    return asked;
}

static void become_open(ferry_peer *peer)
{
    ferry_wire *wire = peer->wire;
    peer->state = FERRY_WIRE_OPEN;
    FERRY_WIRE_ADD(wire, connected, 1);
    FERRY_WIRE_ADD(wire, peers, 1);
    pthread_mutex_lock(&wire->lock);
    snprintf(peer->info.transports, sizeof peer->info.transports, "%s", peer->link.transports);
    snprintf(peer->info.interface, sizeof peer->info.interface, "%s",
             peer->link.context->settings.devices);
    peer->info.version = peer->version;
    peer->info.there = true;
    peer->straight = !peer->link.registers;
    peer->open = true;
    if (peer->role == FERRY_WIRE_SERVER && !peer->closing) {
        ferry__wire_peer_ref(peer);
        *wire->accepted_end = peer;
        wire->accepted_end = &peer->accept_next;
    }
    pthread_cond_broadcast(&wire->changed);
    pthread_mutex_unlock(&wire->lock);
}

void ferry__wire_peer_connecting(ferry_peer *peer)
{
    ferry_wire *wire = peer->wire;
    const int connected = ferry__wire_link_connected(&peer->link);
    if (connected < 0)
        ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the data connection on \"%s\" failed: %s",
                             peer->link.context->settings.devices,
                             ferry__wire_link_why(&peer->link));
    if (connected <= 0)
        return;
    if (falls_back(peer)) {
        peer->info.fallback = true;
        FERRY_WIRE_ADD(wire, fallbacks, 1);
        if (wire->params.flags & FERRY_WIRE_NO_FALLBACK) {
            ferry__wire_peer_end(peer, FERRY_ERROR_UNSUPPORTED,
                                 "the bytes would go by %s, not by %s, and no fallback is allowed",
                                 peer->link.transports,
                                 wire->transports ? wire->transports : "shared memory");
            return;
        }
        ferry__wire_log(FERRY_LOG_WARN, "wire: the bytes of %s go by %s, not by %s",
                        peer->info.address, peer->link.transports,
                        wire->transports ? wire->transports : "shared memory");
    }
    become_open(peer);
}
