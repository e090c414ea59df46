#include "internal.h"

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
