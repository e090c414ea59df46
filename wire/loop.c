#include "loop.h"

#include "control.h"
#include "memory.h"
#include "peer.h"
#include "transfer.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The thread of a wire: while bytes move it goes round; else it sleeps in poll(). */

enum {
    PROGRESS_MAX = 64, /* calls of UCX for one peer, before the others have their turn */
    POLLED_FIRST = 64, /* descriptors: the bell, the listeners and some peers */
};

/* While bytes move the thread looks again and again for so long before it sleeps: waking it up
 * takes longer than a piece does. Others that want its CPU have it meanwhile. */
#define SPIN_NS UINT64_C(300000)
#define SPIN_ALONE_NS UINT64_C(20000)

#define TICK_NS (50 * FERRY_WIRE_MS)
#define AGAIN_NS (5 * FERRY_WIRE_MS) /* where there was no memory to hear of all */

void ferry__wire_wake(ferry_wire *wire)
{
    if (!wire->asleep)
        return;
    wire->asleep = false;
    ferry__wire_ring(wire->bell[1]);
}

/* --- what other threads want ------------------------------------------------------------------ */

static struct ferry__wire_transfer *take_inbox(ferry_wire *wire)
{
    pthread_mutex_lock(&wire->lock);
    struct ferry__wire_transfer *all = wire->inbox;
    wire->inbox = NULL;
    wire->inbox_end = &wire->inbox;
    pthread_mutex_unlock(&wire->lock);
    return all;
}

static bool do_inbox(ferry_wire *wire)
{
    struct ferry__wire_transfer *transfer = take_inbox(wire), *next;
    const bool any = transfer;
    for (; transfer; transfer = next) {
        pthread_mutex_lock(&wire->lock);
        next = transfer->in_next;
        const unsigned told = transfer->told;
        struct ferry__wire_chunk *came = transfer->came;
        transfer->told = 0;
        transfer->came = NULL;
        transfer->came_end = &transfer->came;
        transfer->queued = false;
        pthread_mutex_unlock(&wire->lock);
        ferry__wire_transfer_told(transfer, told, came);
    }
    return any;
}

/* Has the peer a receive that has all its bytes, of which the engine has yet to say how it ended?
 * The sender is to hear that, though the user may know already. */
static bool is_finishing(const ferry_peer *peer)
{
    for (const struct ferry__wire_transfer *at = peer->wire->transfers; at; at = at->next)
        if (at->peer == peer && !at->send && !at->over && at->matched && at->done == at->size)
            return true;
    return false;
}

/* The user has closed the peer. True: it is to be seen to again. */
static bool close_peer(ferry_peer *peer)
{
    const uint64_t now = ferry__wire_now_ns();
    if (peer->state == FERRY_WIRE_DEAD)
        return false;
    if (!peer->closing_ns)
        peer->closing_ns = now;
    if (peer->state == FERRY_WIRE_OPEN && is_finishing(peer) &&
        now - peer->closing_ns < FERRY_WIRE_LET_GO_NS)
        return true;
    ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the peer was closed");
    return false;
}

/* Peers that were asked for, and those that the user has closed. */
static void do_peers(ferry_wire *wire)
{
    pthread_mutex_lock(&wire->lock);
    ferry_peer *dialled = wire->dialled, *next;
    const bool closing = wire->peer_closing;
    wire->dialled = NULL;
    wire->peer_closing = false;
    pthread_mutex_unlock(&wire->lock);
    for (; dialled; dialled = next) {
        next = dialled->accept_next;
        dialled->accept_next = NULL;
        ferry__wire_peer_add(dialled);
        ferry__wire_peer_dial(dialled, 0);
    }
    bool again = false;
    for (ferry_peer *peer = closing ? wire->peers : NULL; peer; peer = peer->next) {
        pthread_mutex_lock(&wire->lock);
        const bool this_one = peer->closing;
        pthread_mutex_unlock(&wire->lock);
        if (this_one && close_peer(peer))
            again = true;
    }
    if (!again)
        return;
    pthread_mutex_lock(&wire->lock);
    wire->peer_closing = true;
    pthread_mutex_unlock(&wire->lock);
}

/* --- descriptors ------------------------------------------------------------------------------ */

static void take_connections(ferry_wire *wire, int listener)
{
    struct ferry__wire_place from;
    for (;;) {
        const int fd = ferry__wire_take(listener, &from);
        if (fd < 0)
            return;
        ferry_peer *peer = wire->unproven < FERRY_WIRE_UNPROVEN_MAX
                               ? ferry__wire_peer_make(wire, FERRY_WIRE_SERVER)
                               : NULL;
        if (!peer) {
            FERRY_WIRE_ADD(wire, refused, 1);
            close(fd);
            continue;
        }
        peer->fd = fd;
        ferry__wire_name(&from, peer->info.address);
        ferry__wire_peer_add(peer);
        ferry__wire_peer_greet(peer);
    }
}

static bool grow_polled(ferry_wire *wire)
{
    const size_t capacity = wire->polled_capacity ? 2 * wire->polled_capacity : POLLED_FIRST;
    struct pollfd *larger = ferry__wire_realloc(wire->polled, capacity * sizeof *larger);
    if (!larger)
        return false;
    wire->polled = larger;
    wire->polled_capacity = capacity;
    return true;
}

bool ferry__wire_loop_prepare(ferry_wire *wire)
{
    return grow_polled(wire);
}

/* There is room. */
static void add_polled(ferry_wire *wire, int fd, short events)
{
    wire->polled[wire->polled_count++] = (struct pollfd){.fd = fd, .events = events};
}

/* The bell, the listeners, and two of each peer. False: there is no memory for all of them. */
static bool list_polled(ferry_wire *wire)
{
    bool all = true;
    wire->polled_count = 0;
    add_polled(wire, wire->bell[0], POLLIN);
    for (size_t i = 0; i < wire->listener_count; i++)
        add_polled(wire, wire->listeners[i], POLLIN);
    for (ferry_peer *peer = wire->peers; peer; peer = peer->next) {
        const bool dialling = peer->state == FERRY_WIRE_DIALLING;
        if (wire->polled_capacity - wire->polled_count < 2 && !grow_polled(wire)) {
            peer->poll_at = 0;
            all = false;
            continue;
        }
        peer->poll_at = wire->polled_count;
        add_polled(wire, peer->fd,
                   dialling || peer->out.size ? POLLOUT | (dialling ? 0 : POLLIN) : POLLIN);
        add_polled(wire, peer->link.fd, POLLIN);
    }
    return all;
}

/* --- one round -------------------------------------------------------------------------------- */

static bool progress(ferry_peer *peer)
{
    bool any = false;
    for (int i = 0; i < PROGRESS_MAX && ferry__wire_link_progress(&peer->link); i++)
        any = true;
    return any;
}

/* Has the peer something on its way that is worth asking for again and again? */
static bool is_hot(const ferry_peer *peer)
{
    return peer->state == FERRY_WIRE_CONNECTING ||
           (peer->state == FERRY_WIRE_OPEN && !peer->link_failed_ns &&
            (peer->moving || peer->link.requests));
}

/* The other side may have said why, and that its bytes have arrived; or its words are still on their
 * way, which is another than that of the bytes. */
static void check_failed_link(ferry_peer *peer)
{
    const uint64_t now = ferry__wire_now_ns();
    while (peer->state == FERRY_WIRE_OPEN && ferry__wire_control_read(peer))
        ;
    if (!peer->link_failed_ns)
        peer->link_failed_ns = now;
    if (peer->state == FERRY_WIRE_OPEN && now - peer->link_failed_ns >= FERRY_WIRE_LAST_WORDS_NS)
        ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the data connection failed: %s",
                             ferry__wire_link_why(&peer->link));
}

static void check_link(ferry_peer *peer)
{
    if (peer->state == FERRY_WIRE_CONNECTING)
        ferry__wire_peer_connecting(peer);
    if (peer->untold) {
        const enum ferry_status untold = peer->untold;
        peer->untold = FERRY_OK; /* the goodbye may have room */
        ferry__wire_peer_end(peer, untold,
                             untold == FERRY_ERROR_IO
                                 ? "the peer does not read what it is told"
                                 : "no host memory for what the peer is to be told");
    }
    if (peer->state == FERRY_WIRE_OPEN && peer->link.error)
        check_failed_link(peer);
}

/* A peer that poll() has something of. */
static bool serve_polled(ferry_peer *peer, const struct pollfd *polled)
{
    bool any = false;
    if (polled[0].fd < 0 || polled[0].fd != peer->fd)
        return false;
    if (peer->state == FERRY_WIRE_DIALLING && polled[0].revents) {
        const int error = ferry__wire_dialled(peer->fd);
        if (error)
            ferry__wire_peer_dial(peer, error);
        else
            ferry__wire_peer_greet(peer);
        return true;
    }
    if (polled[1].fd >= 0 && polled[1].revents)
        any |= progress(peer);
    if (polled[0].revents & (POLLIN | POLLHUP | POLLERR))
        any |= ferry__wire_control_read(peer);
    return any;
}

/* *out_hot: something is on its way. */
static bool serve(ferry_wire *wire, bool polled, bool *out_hot)
{
    bool any = false;
    *out_hot = false;
    for (ferry_peer *peer = wire->peers; peer; peer = peer->next) {
        if (polled && peer->poll_at)
            any |= serve_polled(peer, &wire->polled[peer->poll_at]);
        if (is_hot(peer)) {
            *out_hot = true;
            any |= progress(peer);
            if (peer->state != FERRY_WIRE_DEAD)
                any |= ferry__wire_control_read(peer);
        }
        check_link(peer);
        if (peer->state != FERRY_WIRE_DEAD && peer->out.size)
            ferry__wire_control_flush(peer);
    }
    return any;
}

/* Peers that are no more leave the list; others may still have references to them. */
static void reap(ferry_wire *wire)
{
    for (ferry_peer *peer = wire->peers, *next; peer; peer = next) {
        next = peer->next;
        if (peer->state != FERRY_WIRE_DEAD)
            continue;
        *peer->back = next;
        if (next)
            next->back = peer->back;
        wire->peer_count--;
        ferry__wire_peer_unref(peer);
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static void tick_peer(ferry_peer *peer, uint64_t now)
{
    const uint64_t beat = peer->wire->params.heartbeat_ns;
    const uint64_t silence = FERRY_WIRE_MISSED * FERRY_WIRE_MS * peer->heartbeat_ms;
    if (peer->state < FERRY_WIRE_OPEN) {
        if (now >= peer->deadline_ns)
            ferry__wire_peer_end(peer, FERRY_ERROR_IO, "no connection within %d s",
                                 (int)(FERRY_WIRE_PROOF_NS / (1000 * FERRY_WIRE_MS)));
        return;
    }
    if (peer->state == FERRY_WIRE_DEAD)
        return;
    if (now > peer->in_ns && now - peer->in_ns > silence) {
        FERRY_WIRE_ADD(peer->wire, lost, 1);
        ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the peer was silent for %llu ms",
                             (unsigned long long)((now - peer->in_ns) / FERRY_WIRE_MS));
        return;
    }
    if (now > peer->out_ns && now - peer->out_ns >= beat && !peer->out.size)
        ferry__wire_control_put(peer, &(struct ferry__wire_frame){.type = FERRY_WIRE_HEARTBEAT});
    ferry__wire_control_flush(peer);
}

static void tick(ferry_wire *wire)
{
    const uint64_t now = ferry__wire_now_ns(), beat = wire->params.heartbeat_ns / 4;
    bool ends = false;
    if (now < wire->tick_ns)
        return;
    for (ferry_peer *peer = wire->peers; peer; peer = peer->next) {
        tick_peer(peer, now);
        ends |= peer->link_failed_ns != 0;
    }
    for (struct ferry__wire_transfer *at = wire->transfers; at; at = at->next)
        ferry__wire_transfer_tick(at, now);
    const bool near = wire->transfers || wire->unproven || ends;
    wire->tick_ns = now + (near && TICK_NS < beat ? TICK_NS : beat);
}

/* Until something comes, or until the next tick. True: poll() has told. */
static bool sleep_until_told(ferry_wire *wire)
{
    for (ferry_peer *peer = wire->peers; peer; peer = peer->next)
        if (peer->link.fd >= 0 && !ferry__wire_link_arm(&peer->link))
            return false;
    const bool all = list_polled(wire);
    pthread_mutex_lock(&wire->lock);
    wire->asleep = !wire->inbox && !wire->dialled && !wire->peer_closing;
    const bool sleeps = wire->asleep;
    pthread_mutex_unlock(&wire->lock);
    const uint64_t now = ferry__wire_now_ns();
    const uint64_t rest = wire->tick_ns > now ? wire->tick_ns - now : 0;
    const uint64_t left = all || rest < AGAIN_NS ? rest : AGAIN_NS;
    (void)poll(wire->polled, wire->polled_count,
               sleeps ? (int)((left + FERRY_WIRE_MS - 1) / FERRY_WIRE_MS) : 0);
    pthread_mutex_lock(&wire->lock);
    wire->asleep = false;
    pthread_mutex_unlock(&wire->lock);
    if (wire->polled[0].revents)
        ferry__wire_hush(wire->bell[0]);
    for (size_t i = 0; i < wire->listener_count; i++)
        if (wire->polled[1 + i].revents)
            take_connections(wire, wire->listeners[i]);
    return true;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Closing: every peer goes, and then each transfer as the engine ends it. True: all are gone. */
static bool wind_up(ferry_wire *wire)
{
    pthread_mutex_lock(&wire->lock);
    const bool closing = wire->closing;
    /* What was begun before the close may not have been looked at yet. */
    const bool told = wire->inbox || wire->dialled;
    pthread_mutex_unlock(&wire->lock);
    if (!closing)
        return false;
    for (size_t i = 0; i < wire->listener_count; i++)
        close(wire->listeners[i]);
    wire->listener_count = 0;
    bool again = false;
    for (ferry_peer *peer = wire->peers; peer; peer = peer->next)
        again |= close_peer(peer);
    reap(wire);
    return !again && !told && !wire->transfers && !wire->peers;
}

static void finish(ferry_wire *wire)
{
    while (wire->contexts) {
        struct ferry__wire_context *context = wire->contexts;
        wire->contexts = context->next;
        ferry__wire_context_close(context);
    }
    pthread_mutex_lock(&wire->lock);
    wire->finished = true;
    const bool abandoned = wire->abandoned;
    pthread_cond_broadcast(&wire->changed);
    pthread_mutex_unlock(&wire->lock);
    if (abandoned)
        ferry__wire_free(wire);
}

void *ferry__wire_run(void *argument)
{
    ferry_wire *wire = argument;
    uint64_t idle_ns = 0; /* since when nothing has come; 0: something has */
    bool polled = false, hot = false;
    for (;;) {
        bool any = do_inbox(wire);
        do_peers(wire);
        any |= serve(wire, polled, &hot);
        polled = false;
        tick(wire);
        reap(wire);
        if (wind_up(wire))
            break;
        if (any) {
            idle_ns = 0;
            continue;
        }
        const uint64_t now = ferry__wire_now_ns();
        idle_ns = idle_ns ? idle_ns : now;
        if (hot && now - idle_ns < SPIN_NS) {
            if (now - idle_ns > SPIN_ALONE_NS)
                sched_yield();
            continue;
        }
        polled = sleep_until_told(wire);
        idle_ns = 0;
    }
    finish(wire);
    return NULL;
}
