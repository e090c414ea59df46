#include "control.h"

#include "match.h"
#include "memory.h"
#include "receive.h"
#include "send.h"
#include "transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The control connection of a peer: bytes and frames. */

/* --- out -------------------------------------------------------------------------------------- */

void ferry__wire_control_bytes(ferry_peer *peer, const void *bytes, size_t size)
{
    struct ferry__wire_bytes *out = &peer->out;
    if (peer->state == FERRY_WIRE_DEAD || peer->untold)
        return;
    if (out->capacity - out->size < size) {
        size_t capacity = out->capacity ? out->capacity : 4096;
        while (capacity - out->size < size)
            capacity *= 2;
        uint8_t *larger =
            capacity <= FERRY_WIRE_OUT_MAX ? ferry__wire_realloc(out->bytes, capacity) : NULL;
        if (!larger) {
            /* Perhaps inside UCX: the loop ends the peer. */
            peer->untold =
                capacity > FERRY_WIRE_OUT_MAX ? FERRY_ERROR_IO : FERRY_ERROR_OUT_OF_HOST_MEMORY;
            return;
        }
        out->bytes = larger;
        out->capacity = capacity;
    }
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
}

void ferry__wire_control_put(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    uint8_t bytes[FERRY_WIRE_FRAME_MAX];
    ferry__wire_control_bytes(peer, bytes, ferry__wire_frame_put(bytes, frame));
}

void ferry__wire_control_flush(ferry_peer *peer)
{
    struct ferry__wire_bytes *out = &peer->out;
    size_t sent = 0;
    if (peer->fd < 0 || peer->state == FERRY_WIRE_DIALLING)
        return;
    while (sent < out->size) {
        const ssize_t took = send(peer->fd, out->bytes + sent, out->size - sent, MSG_NOSIGNAL);
        if (took < 0 && errno == EINTR)
            continue;
        if (took < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            out->size = 0;
            ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the control connection broke: %s",
                                 strerror(errno));
            return;
        }
        if (took <= 0)
            break;
        sent += (size_t)took;
    }
    if (!sent)
        return;
    memmove(out->bytes, out->bytes + sent, out->size - sent);
    out->size -= sent;
    peer->out_ns = ferry__wire_now_ns();
}

/* --- in --------------------------------------------------------------------------------------- */

static struct ferry__wire_transfer *find_send(ferry_peer *peer, uint64_t number)
{
    struct ferry__wire_node *node = ferry__wire_map_find(&peer->sends, number);
    return node ? FERRY_WIRE_OF(node, struct ferry__wire_transfer, number) : NULL;
}

static struct ferry__wire_announced *find_announced(ferry_peer *peer, uint64_t number)
{
    struct ferry__wire_node *node = ferry__wire_map_find(&peer->announced, number);
    return node ? FERRY_WIRE_OF(node, struct ferry__wire_announced, node) : NULL;
}

static void goodbye_came(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    char words[FERRY_WIRE_WORDS_MAX + 1];
    ferry__wire_show(words, sizeof words, frame->rest, frame->rest_size);
    ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the peer has closed the connection%s%s",
                         words[0] ? ": " : "", words);
}

static void refused_came(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    char words[FERRY_WIRE_WORDS_MAX + 1];
    ferry__wire_show(words, sizeof words, frame->rest, frame->rest_size);
    ferry__wire_peer_end(
        peer, frame->status == FERRY_ERROR_UNSUPPORTED ? FERRY_ERROR_UNSUPPORTED : FERRY_ERROR_IO,
        "the other side refuses: %s", words);
}

static void ready_came(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    struct ferry__wire_announced *announced = find_announced(peer, frame->number);
    if (!announced)
        return;
    announced->ready = true;
    if (!announced->receive)
        return;
    announced->receive->ready = true;
    ferry__wire_transfer_moved(announced->receive);
    ferry__wire_receive_pump(announced->receive);
}

/* The sender has given up. */
static void sender_ended(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    struct ferry__wire_announced *announced = find_announced(peer, frame->number);
    if (!announced)
        return;
    struct ferry__wire_transfer *receive = announced->receive;
    ferry__wire_announced_drop(peer, announced);
    if (receive)
        ferry__wire_transfer_fail_there(receive, frame);
}

/* A frame of a peer that has proved itself. Of transfers that have ended, there may still be some
 * on their way. */
static void act(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    struct ferry__wire_transfer *send = NULL;
    switch (frame->type) {
    case FERRY_WIRE_HEARTBEAT: return;
    case FERRY_WIRE_GOODBYE: goodbye_came(peer, frame); return;
    case FERRY_WIRE_REFUSED: refused_came(peer, frame); return;
    case FERRY_WIRE_ANNOUNCE: ferry__wire_announce_came(peer, frame); return;
    case FERRY_WIRE_READY: ready_came(peer, frame); return;
    case FERRY_WIRE_MATCH:
    case FERRY_WIRE_CREDIT:
    case FERRY_WIRE_ACK:
        send = find_send(peer, frame->number);
        if (!send)
            return;
        if (frame->type == FERRY_WIRE_MATCH)
            ferry__wire_match_came(send);
        else if (frame->type == FERRY_WIRE_CREDIT)
            ferry__wire_credit_came(send, frame);
        else
            ferry__wire_ack_came(send, frame);
        return;
    case FERRY_WIRE_END:
        send = find_send(peer, frame->number);
        if (!frame->side)
            sender_ended(peer, frame);
        else if (send)
            ferry__wire_end_came(send, frame);
        return;
    case FERRY_WIRE_HELLO:
    case FERRY_WIRE_PROVE:
    case FERRY_WIRE_TYPES: break;
    }
    ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the peer sent a frame %d out of turn",
                         (int)frame->type);
}

/* A frame of whoever has connected. */
static void act_unproven(ferry_peer *peer, const struct ferry__wire_frame *frame)
{
    if (frame->type == FERRY_WIRE_REFUSED)
        refused_came(peer, frame);
    else if (peer->state == FERRY_WIRE_GREETING && frame->type == FERRY_WIRE_HELLO)
        ferry__wire_peer_hello(peer, frame);
    else if (peer->state == FERRY_WIRE_PROVING && frame->type == FERRY_WIRE_PROVE)
        ferry__wire_peer_proof(peer, frame);
    else
        ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the other side sent a frame %d out of turn",
                             (int)frame->type);
}

static bool is_unproven(const ferry_peer *peer)
{
    return peer->state < FERRY_WIRE_CONNECTING;
}

/* All frames in the bytes that came. */
static void act_on_all(ferry_peer *peer)
{
    struct ferry__wire_bytes *in = &peer->in;
    struct ferry__wire_frame frame;
    size_t at = 0;
    while (peer->state != FERRY_WIRE_DEAD && at < in->size) {
        const char *why = NULL;
        size_t used = 0;
        if (peer->skip) {
            used = peer->skip < in->size - at ? peer->skip : in->size - at;
            peer->skip -= used;
            at += used;
            continue;
        }
        const enum ferry__wire_got got =
            ferry__wire_frame_get(in->bytes + at, in->size - at, &frame, &used, &why);
        if (got == FERRY_WIRE_GOT_PART)
            break;
        if (got == FERRY_WIRE_GOT_WRONG) {
            ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the other side sent %s", why);
            return;
        }
        if (got == FERRY_WIRE_GOT_UNKNOWN) {
            peer->skip = used;
            continue;
        }
        if (is_unproven(peer))
            act_unproven(peer, &frame);
        else
            act(peer, &frame);
        at += used;
    }
    if (peer->state == FERRY_WIRE_DEAD)
        return;
    memmove(in->bytes, in->bytes + at, in->size - at);
    in->size -= at;
}

/* Room to read into; 0: none. */
static size_t room(ferry_peer *peer)
{
    struct ferry__wire_bytes *in = &peer->in;
    const size_t capacity = is_unproven(peer) ? FERRY_WIRE_UNPROVEN_BYTES : FERRY_WIRE_IN;
    if (in->capacity < capacity) {
        uint8_t *larger = ferry__wire_realloc(in->bytes, capacity);
        if (!larger)
            return 0;
        in->bytes = larger;
        in->capacity = capacity;
    }
    return in->capacity - in->size;
}

bool ferry__wire_control_read(ferry_peer *peer)
{
    const size_t capacity = room(peer);
    if (!capacity) {
        ferry__wire_peer_end(peer, FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for frames");
        return true;
    }
    const ssize_t got = recv(peer->fd, peer->in.bytes + peer->in.size, capacity, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (got <= 0) {
        ferry__wire_peer_end(peer, FERRY_ERROR_IO, "the other side is gone%s%s",
                             got ? ": " : " without a goodbye", got ? strerror(errno) : "");
        return true;
    }
    if (is_unproven(peer) && (peer->unproven_bytes += (size_t)got) > FERRY_WIRE_UNPROVEN_BYTES) {
        ferry__wire_peer_end(peer, FERRY_ERROR_IO,
                             "the other side sent more than %d bytes and proved nothing",
                             FERRY_WIRE_UNPROVEN_BYTES);
        return true;
    }
    peer->in.size += (size_t)got;
    peer->in_ns = ferry__wire_now_ns();
    act_on_all(peer);
    return true;
}
