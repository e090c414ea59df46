#include "send.h"

#include "control.h"
#include "crc32c.h"

#include <string.h>

/* Sends: announced at once, and then a piece for each credit. */

void (*ferry__wire_corrupt)(unsigned char *bytes, size_t size, unsigned tries);

void ferry__wire_announce(struct ferry__wire_transfer *send)
{
    ferry_peer *peer = send->peer;
    send->number.key = ++peer->next_number;
    send->ready = send->begun;
    if (!ferry__wire_map_add(&peer->sends, &send->number)) {
        send->known = false;
        ferry__wire_transfer_fail(send, FERRY_ERROR_OUT_OF_HOST_MEMORY,
                                  "no host memory for a send");
        return;
    }
    ferry__wire_control_put(peer, &(struct ferry__wire_frame){.type = FERRY_WIRE_ANNOUNCE,
                                                              .number = send->number.key,
                                                              .tag = send->tag,
                                                              .size = send->size,
                                                              .chunk = send->chunk_max,
                                                              .flags = send->begun,
                                                              .rest = send->id,
                                                              .rest_size = FERRY_WIRE_ID});
}

void ferry__wire_send_begun(struct ferry__wire_transfer *send)
{
    send->ready = true;
    ferry__wire_control_put(send->peer, &(struct ferry__wire_frame){.type = FERRY_WIRE_READY,
                                                                    .number = send->number.key});
}

void ferry__wire_match_came(struct ferry__wire_transfer *send)
{
    if (!send->matched && !send->over)
        ferry__wire_transfer_matched(send);
}

void ferry__wire_credit_came(struct ferry__wire_transfer *send,
                             const struct ferry__wire_frame *frame)
{
    if (send->over)
        return;
    if (!send->matched || !send->ready || send->credit_count == FERRY_WIRE_CREDITS_MAX ||
        frame->at != send->credited || !frame->chunk || frame->chunk > send->size - frame->at) {
        ferry__wire_peer_end(send->peer, FERRY_ERROR_IO,
                             "the peer made room for bytes %llu to %llu of a send of %llu",
                             (unsigned long long)frame->at,
                             (unsigned long long)(frame->at + frame->chunk),
                             (unsigned long long)send->size);
        return;
    }
    if (!send->first_ns)
        send->first_ns = ferry__wire_now_ns();
    send->credits[send->credit_count++] =
        (struct ferry__wire_credit){.id = frame->credit, .at = frame->at, .size = frame->chunk};
    send->credited += frame->chunk;
    ferry__wire_transfer_moved(send);
    ferry__wire_send_pump(send);
}

/* The credit for the next bytes of a chunk; NULL: there is none, or it is in use. */
static struct ferry__wire_credit *credit_for(struct ferry__wire_transfer *send,
                                             const struct ferry__wire_chunk *chunk)
{
    const uint64_t at = chunk->stream.at + chunk->moved;
    for (unsigned i = 0; i < send->credit_count; i++) {
        struct ferry__wire_credit *credit = &send->credits[i];
        if (at >= credit->at && at - credit->at < credit->size)
            return credit->busy || at - credit->at != credit->used ? NULL : credit;
    }
    return NULL;
}

static void send_piece(struct ferry__wire_chunk *chunk)
{
    struct ferry__wire_transfer *send = chunk->transfer;
    chunk->request.memory = (unsigned char *)chunk->stream.memory + chunk->moved;
    chunk->request.size = chunk->piece.size;
    chunk->busy = chunk->waits = true;
    chunk->again = false;
    if (ferry__wire_corrupt)
        ferry__wire_corrupt(chunk->request.memory, chunk->request.size, chunk->tries);
    ferry__wire_link_send(&send->peer->link, &chunk->piece, &chunk->request);
}

static void send_next(struct ferry__wire_chunk *chunk)
{
    struct ferry__wire_credit *credit = credit_for(chunk->transfer, chunk);
    if (!credit)
        return;
    const uint64_t room = credit->size - credit->used, left = chunk->stream.size - chunk->moved;
    credit->busy = true;
    chunk->tries = 0;
    chunk->piece = (struct ferry__wire_piece_header){
        .credit = credit->id, .at = credit->used, .size = (uint32_t)(left < room ? left : room)};
    chunk->piece.crc =
        ferry__crc32c((unsigned char *)chunk->stream.memory + chunk->moved, chunk->piece.size);
    send_piece(chunk);
}

/* Wants as many bytes of the engine as there are credits for, never over the end of a credit. */
static void want(struct ferry__wire_transfer *send)
{
    for (unsigned i = 0; i < send->credit_count && send->wants < FERRY_WIRE_DEPTH; i++) {
        const struct ferry__wire_credit *credit = &send->credits[i];
        const uint64_t end = credit->at + credit->size;
        if (send->asked >= end)
            continue;
        const uint64_t size = end - send->asked;
        const size_t some = size < send->chunk_max ? (size_t)size : send->chunk_max;
        if (ferry__wire_stream_want(send, some))
            return;
        send->asked += some;
        send->wants++;
        if (send->asked < end)
            i--;
    }
}

void ferry__wire_send_pump(struct ferry__wire_transfer *send)
{
    if (send->over || !send->begun || !send->matched)
        return;
    want(send);
    for (struct ferry__wire_chunk *chunk = send->chunks, *next; chunk && !send->over;
         chunk = next) {
        next = chunk->next;
        if (chunk->busy || chunk->moved == chunk->stream.size)
            continue;
        if (chunk->again)
            send_piece(chunk);
        else if (!chunk->waits)
            send_next(chunk);
    }
}

/* The chunk is through, but for the last, which keeps the send open until the peer has said that it
 * has all. */
static void through(struct ferry__wire_chunk *chunk)
{
    struct ferry__wire_transfer *send = chunk->transfer;
    if (chunk->busy || chunk->moved < chunk->stream.size)
        return;
    if (chunk->stream.at + chunk->stream.size == send->size && !send->confirmed)
        send->held = chunk;
    else
        ferry__wire_chunk_done(chunk);
}

/* UCX has done with a piece. It may be that the ACK was there before. */
void ferry__wire_piece_sent(void *user, struct ferry__wire_request *request, bool good)
{
    struct ferry__wire_chunk *chunk = (struct ferry__wire_chunk *)(void *)request;
    struct ferry__wire_transfer *send = chunk->transfer;
    (void)user;
    (void)good; /* the link has failed then, which ends the peer */
    chunk->busy = false;
    if (send->over)
        ferry__wire_chunk_done(chunk);
    else if (!chunk->waits)
        through(chunk);
}

static struct ferry__wire_chunk *waiting_chunk(struct ferry__wire_transfer *send, uint64_t credit)
{
    for (struct ferry__wire_chunk *chunk = send->chunks; chunk; chunk = chunk->next)
        if (chunk->waits && chunk->piece.credit == credit)
            return chunk;
    return NULL;
}

/* The receiver's checksum was another. */
static void once_more(struct ferry__wire_chunk *chunk)
{
    struct ferry__wire_transfer *send = chunk->transfer;
    FERRY_WIRE_ADD(send->wire, retries, 1);
    chunk->again = true;
    chunk->waits = false;
    if (++chunk->tries == FERRY_WIRE_TRIES)
        ferry__wire_transfer_fail(
            send, FERRY_ERROR_IO, "bytes %llu to %llu arrived with a wrong checksum %d times",
            (unsigned long long)(chunk->stream.at + chunk->moved),
            (unsigned long long)(chunk->stream.at + chunk->moved + chunk->piece.size),
            FERRY_WIRE_TRIES);
}

static void use_credit(struct ferry__wire_transfer *send, uint64_t id, uint32_t size)
{
    for (unsigned i = 0; i < send->credit_count; i++) {
        struct ferry__wire_credit *credit = &send->credits[i];
        if (credit->id != id)
            continue;
        credit->busy = false;
        credit->used += size;
        if (credit->used == credit->size)
            memmove(credit, credit + 1, (--send->credit_count - i) * sizeof *credit);
        return;
    }
}

void ferry__wire_ack_came(struct ferry__wire_transfer *send, const struct ferry__wire_frame *frame)
{
    struct ferry__wire_chunk *chunk = waiting_chunk(send, frame->credit);
    if (send->over)
        return;
    if (!chunk || frame->chunk != chunk->piece.size) {
        ferry__wire_peer_end(send->peer, FERRY_ERROR_IO, "the peer has bytes that were not sent");
        return;
    }
    ferry__wire_transfer_moved(send);
    if (frame->status) {
        once_more(chunk);
    } else {
        chunk->waits = false;
        chunk->moved += chunk->piece.size;
        send->done += chunk->piece.size;
        FERRY_WIRE_ADD(send->wire, bytes_sent, chunk->piece.size);
        atomic_fetch_add_explicit(&send->peer->bytes_sent, chunk->piece.size, memory_order_relaxed);
        use_credit(send, frame->credit, frame->chunk);
        through(chunk);
    }
    ferry__wire_send_pump(send);
}

void ferry__wire_end_came(struct ferry__wire_transfer *send, const struct ferry__wire_frame *frame)
{
    if (send->over)
        return;
    ferry__wire_transfer_moved(send);
    send->confirmed = true;
    if (frame->status) {
        ferry__wire_transfer_fail_there(send, frame);
    } else if (send->done != send->size) {
        ferry__wire_peer_end(send->peer, FERRY_ERROR_IO,
                             "the peer has ended a send of %llu bytes after %llu",
                             (unsigned long long)send->size, (unsigned long long)send->done);
    } else if (send->held) {
        ferry__wire_chunk_done(send->held);
    }
}
