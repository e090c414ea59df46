#include "receive.h"

#include "control.h"
#include "crc32c.h"

/* Receives: room is asked of the engine once both sides are ready, and each chunk of it is a credit
 * for the sender. */

/* May so many bytes more come in? Two chunks a peer always may. */
static bool has_room(const struct ferry__wire_transfer *receive, uint64_t size)
{
    const ferry_wire *wire = receive->wire;
    return receive->peer->staged + size <= 2 * (uint64_t)receive->chunk_max ||
           wire->staged + size <= wire->params.staging_budget;
}

void ferry__wire_receive_pump(struct ferry__wire_transfer *receive)
{
    if (!receive->begun || !receive->matched || !receive->ready)
        return;
    while (!receive->over && receive->asked < receive->size && receive->wants < FERRY_WIRE_DEPTH) {
        const uint64_t left = receive->size - receive->asked;
        const size_t size = left < receive->chunk_max ? (size_t)left : receive->chunk_max;
        if (receive->asked - receive->done >= FERRY_WIRE_DEPTH * (uint64_t)receive->chunk_max ||
            !has_room(receive, size) || ferry__wire_stream_want(receive, size))
            return;
        /* The chunk may be there already: it is taken later, on this thread. */
        receive->asked += size;
        receive->wants++;
        ferry__wire_set_staged(receive, receive->asked - receive->done);
    }
}

void ferry__wire_receive_chunk(struct ferry__wire_chunk *chunk)
{
    struct ferry__wire_transfer *receive = chunk->transfer;
    ferry_peer *peer = receive->peer;
    chunk->credit.key = ++peer->next_credit;
    if (!receive->first_ns)
        receive->first_ns = ferry__wire_now_ns();
    ferry__wire_set_staged(receive, receive->asked - receive->done);
    if (!ferry__wire_map_add(&peer->credits, &chunk->credit)) {
        ferry__wire_transfer_fail(receive, FERRY_ERROR_OUT_OF_HOST_MEMORY,
                                  "no host memory for a chunk");
        return;
    }
    ferry__wire_control_put(peer,
                            &(struct ferry__wire_frame){.type = FERRY_WIRE_CREDIT,
                                                        .number = receive->remote,
                                                        .credit = chunk->credit.key,
                                                        .at = chunk->stream.at,
                                                        .chunk = (uint32_t)chunk->stream.size});
}

/* --- what comes in ---------------------------------------------------------------------------- */

struct ferry__wire_request *
ferry__wire_piece_came(void *user, const struct ferry__wire_piece_header *piece, size_t size)
{
    ferry_peer *peer = user;
    struct ferry__wire_node *node = ferry__wire_map_find(&peer->credits, piece->credit);
    struct ferry__wire_chunk *chunk =
        node ? FERRY_WIRE_OF(node, struct ferry__wire_chunk, credit) : NULL;
    if (!chunk || chunk->busy || chunk->transfer->over || size != piece->size || !size ||
        piece->at != chunk->moved || size > chunk->stream.size - chunk->moved)
        return NULL;
    chunk->busy = true;
    chunk->piece = *piece;
    chunk->request.memory = (unsigned char *)chunk->stream.memory + chunk->moved;
    chunk->request.size = size;
    return &chunk->request;
}

void ferry__wire_piece_received(void *user, struct ferry__wire_request *request, bool good)
{
    struct ferry__wire_chunk *chunk = (struct ferry__wire_chunk *)(void *)request;
    struct ferry__wire_transfer *receive = chunk->transfer;
    ferry_peer *peer = user;
    const uint32_t size = chunk->piece.size;
    chunk->busy = false;
    if (receive->over) {
        ferry__wire_chunk_done(chunk);
        return;
    }
    if (!good)
        return; /* the link has failed, which ends the peer */
    const bool right = ferry__crc32c(request->memory, size) == chunk->piece.crc;
    ferry__wire_control_put(peer, &(struct ferry__wire_frame){.type = FERRY_WIRE_ACK,
                                                              .number = receive->remote,
                                                              .credit = chunk->piece.credit,
                                                              .chunk = size,
                                                              .status = !right});
    ferry__wire_transfer_moved(receive);
    if (!right) {
        FERRY_WIRE_ADD(receive->wire, checksum_failures, 1);
        return;
    }
    chunk->moved += size;
    receive->done += size;
    FERRY_WIRE_ADD(receive->wire, bytes_received, size);
    atomic_fetch_add_explicit(&peer->bytes_received, size, memory_order_relaxed);
    ferry__wire_set_staged(receive, receive->asked - receive->done);
    if (chunk->moved == chunk->stream.size)
        ferry__wire_chunk_done(chunk);
    ferry__wire_receive_pump(receive);
}
