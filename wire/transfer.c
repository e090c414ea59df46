#include "transfer.h"

#include "control.h"
#include "loop.h"
#include "match.h"
#include "memory.h"
#include "receive.h"
#include "send.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What sends and receives have in common: what the engine tells of them, how they fail, when they
 * end. */

/* --- the thread's ----------------------------------------------------------------------------- */

/* The engine may end a stream at any time, from another thread, while the wire has no chunk of it:
 * end() waits while the stream is used here. It may also come inside these calls. */
enum ferry_status ferry__wire_stream_want(struct ferry__wire_transfer *transfer, size_t size)
{
    enum ferry_status status = FERRY_ERROR_IO;
    pthread_mutex_lock(&transfer->wire->stream_lock);
    if (!transfer->stream_ended)
        status = ferry_stream_want(transfer->stream, size);
    pthread_mutex_unlock(&transfer->wire->stream_lock);
    return status;
}

static void fail_stream(struct ferry__wire_transfer *transfer)
{
    pthread_mutex_lock(&transfer->wire->stream_lock);
    if (!transfer->stream_ended)
        ferry_stream_fail(transfer->stream, transfer->status, transfer->why);
    pthread_mutex_unlock(&transfer->wire->stream_lock);
}

void ferry__wire_transfer_moved(struct ferry__wire_transfer *transfer)
{
    transfer->since_ns = ferry__wire_now_ns();
}

void ferry__wire_transfer_matched(struct ferry__wire_transfer *transfer)
{
    transfer->matched = true;
    atomic_store(&transfer->matched_ns, ferry__wire_now_ns());
    transfer->peer->moving++;
    if (transfer->send)
        atomic_fetch_sub(&transfer->peer->waiting, 1);
    ferry__wire_transfer_moved(transfer);
}

void ferry__wire_set_staged(struct ferry__wire_transfer *transfer, uint64_t staged)
{
    const uint64_t more = staged - transfer->staged; /* may wrap: less */
    transfer->staged = staged;
    transfer->peer->staged += more;
    transfer->wire->staged += more;
    FERRY_WIRE_ADD(transfer->wire, staging_bytes, more);
}

/* Takes a chunk out of the transfer's list; it has been there. */
static void unlink_chunk(struct ferry__wire_chunk *chunk)
{
    struct ferry__wire_chunk **at = &chunk->transfer->chunks;
    while (*at != chunk)
        at = &(*at)->next;
    *at = chunk->next;
}

void ferry__wire_chunk_done(struct ferry__wire_chunk *chunk)
{
    struct ferry__wire_transfer *transfer = chunk->transfer;
    const bool whole = chunk->moved == chunk->stream.size;
    if (chunk->busy || chunk->request.link)
        return;
    unlink_chunk(chunk);
    if (!transfer->send)
        ferry__wire_map_remove(&transfer->peer->credits, &chunk->credit);
    if (transfer->held == chunk)
        transfer->held = NULL;
    ferry_stream_done(transfer->stream, chunk->theirs, chunk->moved,
                      whole              ? FERRY_OK
                      : transfer->status ? transfer->status
                                         : FERRY_ERROR_IO,
                      whole ? "" : transfer->why);
    free(chunk);
}

/* Of a transfer that is over: all that UCX does not have. */
void ferry__wire_transfer_give_back(struct ferry__wire_transfer *transfer)
{
    if (!transfer->over)
        return;
    for (struct ferry__wire_chunk *chunk = transfer->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        ferry__wire_chunk_done(chunk);
    }
    if (!transfer->send)
        ferry__wire_set_staged(transfer, 0);
}

static void count_end(struct ferry__wire_transfer *transfer, enum ferry_status status)
{
    ferry_wire *wire = transfer->wire;
    const uint64_t taken = transfer->first_ns ? ferry__wire_now_ns() - transfer->first_ns : 0;
    if (status) {
        FERRY_WIRE_ADD(wire, failures, 1);
    } else if (transfer->send) {
        FERRY_WIRE_ADD(wire, sends, 1);
        FERRY_WIRE_ADD(wire, sending_ns, taken);
    } else {
        FERRY_WIRE_ADD(wire, receives, 1);
        FERRY_WIRE_ADD(wire, receiving_ns, taken);
    }
    FERRY_WIRE_ADD(wire, in_flight, -1); /* last: what is not in flight any more is counted */
}

/* It moves no more: nothing waits for it, and no time runs. */
static void settle(struct ferry__wire_transfer *transfer)
{
    transfer->over = true;
    transfer->over_ns = ferry__wire_now_ns();
    if (transfer->matched)
        transfer->peer->moving--;
    else if (transfer->send)
        atomic_fetch_sub(&transfer->peer->waiting, 1);
    else if (transfer->known && transfer->peer->state != FERRY_WIRE_DEAD)
        ferry__wire_match_forget(transfer);
}

/* What became of it, to the other side, unless that has said so itself. */
static void tell_end(struct ferry__wire_transfer *transfer, enum ferry_status status)
{
    ferry_peer *peer = transfer->peer;
    const char *why = transfer->why[0] ? transfer->why : ferry_status_text(status);
    const struct ferry__wire_frame frame = {.type = FERRY_WIRE_END,
                                            .number = transfer->send ? transfer->number.key
                                                                     : transfer->remote,
                                            .side = !transfer->send,
                                            .status = (uint16_t)status,
                                            .rest = (const uint8_t *)why,
                                            .rest_size = status ? strlen(why) : 0};
    if (transfer->send ? !transfer->known || transfer->confirmed : !transfer->announced)
        return;
    transfer->confirmed = true;
    if (transfer->announced)
        ferry__wire_announced_drop(peer, transfer->announced);
    if (peer->state == FERRY_WIRE_OPEN)
        ferry__wire_control_put(peer, &frame);
}

void ferry__wire_transfer_fail_there(struct ferry__wire_transfer *transfer,
                                     const struct ferry__wire_frame *frame)
{
    char words[FERRY_WIRE_WORDS_MAX + 1];
    ferry__wire_show(words, sizeof words, frame->rest, frame->rest_size);
    ferry__wire_transfer_fail(transfer,
                              frame->status == FERRY_ERROR_INVALID_ARGUMENT
                                  ? FERRY_ERROR_INVALID_ARGUMENT
                                  : FERRY_ERROR_IO,
                              "the %s: %s", transfer->send ? "receiver" : "sender", words);
}

void ferry__wire_transfer_fail(struct ferry__wire_transfer *transfer, enum ferry_status status,
                               const char *format, ...)
{
    va_list arguments;
    /* One whose bytes are all through is the engine's to end. */
    if (transfer->over || (transfer->matched && transfer->done == transfer->size &&
                           !transfer->chunks && transfer->size))
        return;
    va_start(arguments, format);
    vsnprintf(transfer->why, sizeof transfer->why, format, arguments);
    va_end(arguments);
    /* What the engine lets a stream say. */
    transfer->status =
        status == FERRY_ERROR_INVALID_ARGUMENT || status == FERRY_ERROR_OUT_OF_HOST_MEMORY
            ? status
            : FERRY_ERROR_IO;
    settle(transfer);
    tell_end(transfer, transfer->status);
    if (transfer->begun)
        fail_stream(transfer);
    ferry__wire_transfer_give_back(transfer);
}

/* The last that is heard of a transfer. */
static void ended(struct ferry__wire_transfer *transfer, enum ferry_status status)
{
    ferry_peer *peer = transfer->peer;
    if (!transfer->over)
        settle(transfer);
    tell_end(transfer, status);
    if (transfer->send && transfer->known)
        ferry__wire_map_remove(&peer->sends, &transfer->number);
    if (!transfer->send)
        ferry__wire_set_staged(transfer, 0);
    count_end(transfer, status);
    *transfer->back = transfer->next;
    if (transfer->next)
        transfer->next->back = transfer->back;
    ferry__wire_peer_unref(peer);
    free(transfer);
}

static void begin_known(struct ferry__wire_transfer *transfer)
{
    ferry_wire *wire = transfer->wire;
    transfer->next = wire->transfers;
    transfer->back = &wire->transfers;
    if (transfer->next)
        transfer->next->back = &transfer->next;
    wire->transfers = transfer;
    ferry__wire_transfer_moved(transfer);
    if (transfer->peer->state != FERRY_WIRE_OPEN) {
        ferry__wire_transfer_fail(transfer, FERRY_ERROR_IO, "%s", transfer->peer->info.reason);
        return;
    }
    transfer->known = true;
    if (transfer->send)
        ferry__wire_announce(transfer);
    else if (!ferry__wire_match_receive(transfer))
        ferry__wire_transfer_fail(transfer, FERRY_ERROR_OUT_OF_HOST_MEMORY,
                                  "no host memory for a receive");
}

static void take_chunk(struct ferry__wire_chunk *chunk)
{
    struct ferry__wire_transfer *transfer = chunk->transfer;
    chunk->next = transfer->chunks;
    transfer->chunks = chunk;
    transfer->arrived += chunk->stream.size;
    if (transfer->wants)
        transfer->wants--;
    /* A chunk may be shorter than what was wanted. */
    if (!transfer->wants)
        transfer->asked = transfer->arrived;
    if (!transfer->send && !transfer->over)
        ferry__wire_receive_chunk(chunk);
}

void ferry__wire_transfer_told(struct ferry__wire_transfer *transfer, unsigned told,
                               struct ferry__wire_chunk *came)
{
    if (told & FERRY_WIRE_TOLD_BEGUN)
        transfer->begun = true;
    if (told & FERRY_WIRE_TOLD_NEW)
        begin_known(transfer);
    if (told & FERRY_WIRE_TOLD_BEGUN) {
        ferry__wire_transfer_moved(transfer);
        if (transfer->over)
            fail_stream(transfer);
        else if (transfer->send && !(told & FERRY_WIRE_TOLD_NEW))
            ferry__wire_send_begun(transfer);
    }
    for (struct ferry__wire_chunk *chunk = came, *next; chunk; chunk = next) {
        next = chunk->next;
        take_chunk(chunk);
    }
    if (told & FERRY_WIRE_TOLD_STOP)
        ferry__wire_transfer_fail(transfer, transfer->told_status, "%s", transfer->told_why);
    if (told & FERRY_WIRE_TOLD_CANCEL && !transfer->over) {
        FERRY_WIRE_ADD(transfer->wire, cancelled, 1);
        ferry__wire_transfer_fail(transfer, FERRY_ERROR_IO, "it was cancelled");
    }
    ferry__wire_transfer_give_back(transfer);
    if (told & FERRY_WIRE_TOLD_ENDED)
        ended(transfer, transfer->ended_status);
    else if (!transfer->over && transfer->send)
        ferry__wire_send_pump(transfer);
    else if (!transfer->over)
        ferry__wire_receive_pump(transfer);
}

static bool is_late(uint64_t now, uint64_t since, uint64_t limit)
{
    return limit != UINT64_MAX && now - since >= limit && now >= since;
}

void ferry__wire_transfer_tick(struct ferry__wire_transfer *transfer, uint64_t now)
{
    const struct ferry_wire_params *params = &transfer->wire->params;
    ferry_peer *peer = transfer->peer;
    if (transfer->over) {
        if (transfer->chunks && is_late(now, transfer->over_ns, FERRY_WIRE_LET_GO_NS))
            ferry__wire_peer_end(peer, FERRY_ERROR_IO,
                                 "the peer did not let go of a transfer that had ended");
        return;
    }
    if (transfer->send && !transfer->matched &&
        is_late(now, transfer->since_ns, params->match_ns)) {
        FERRY_WIRE_ADD(transfer->wire, unmatched, 1);
        ferry__wire_transfer_fail(transfer, FERRY_ERROR_IO,
                                  "nobody received tag %llu within %llu ms",
                                  (unsigned long long)transfer->tag,
                                  (unsigned long long)(params->match_ns / FERRY_WIRE_MS));
    } else if (transfer->matched && transfer->begun && transfer->ready &&
               is_late(now, transfer->since_ns, params->stall_ns)) {
        FERRY_WIRE_ADD(transfer->wire, stalls, 1);
        ferry__wire_transfer_fail(
            transfer, FERRY_ERROR_IO, "no progress for %llu ms, after %llu of %llu bytes",
            (unsigned long long)(params->stall_ns / FERRY_WIRE_MS),
            (unsigned long long)transfer->done, (unsigned long long)transfer->size);
    }
}

/* --- what the engine tells, on any thread ----------------------------------------------------- */

/* The thread looks at it; nothing that is told before NEW is lost. Under wire->lock. */
static void tell(struct ferry__wire_transfer *transfer, unsigned told)
{
    ferry_wire *wire = transfer->wire;
    if (told & FERRY_WIRE_TOLD_NEW)
        transfer->known_to_inbox = true;
    transfer->told |= told;
    if (transfer->queued || !transfer->known_to_inbox)
        return;
    transfer->queued = true;
    transfer->in_next = NULL;
    *wire->inbox_end = transfer;
    wire->inbox_end = &transfer->in_next;
    ferry__wire_wake(wire);
}

static void when_begun(void *user, ferry_stream *stream)
{
    struct ferry__wire_transfer *transfer = user;
    pthread_mutex_lock(&transfer->wire->lock);
    transfer->stream = stream;
    tell(transfer, FERRY_WIRE_TOLD_BEGUN);
    pthread_mutex_unlock(&transfer->wire->lock);
}

static void when_chunk(void *user, ferry_stream *stream,
                       const struct ferry_stream_chunk *stream_chunk)
{
    struct ferry__wire_transfer *transfer = user;
    struct ferry__wire_chunk *chunk = ferry__wire_alloc(sizeof *chunk);
    if (!chunk) {
        ferry_stream_done(stream, stream_chunk, 0, FERRY_ERROR_OUT_OF_HOST_MEMORY,
                          "no host memory for a chunk");
        return;
    }
    chunk->stream = *stream_chunk;
    chunk->theirs = stream_chunk;
    chunk->transfer = transfer;
    chunk->request.allocation = stream_chunk->allocation;
    chunk->request.allocation_size = stream_chunk->allocation_size;
    chunk->request.allocation_id = stream_chunk->allocation_id;
    pthread_mutex_lock(&transfer->wire->lock);
    *transfer->came_end = chunk;
    transfer->came_end = &chunk->next;
    tell(transfer, FERRY_WIRE_TOLD_CHUNK);
    pthread_mutex_unlock(&transfer->wire->lock);
}

static void when_stopped(void *user, ferry_stream *stream, enum ferry_status status,
                         const char *why)
{
    struct ferry__wire_transfer *transfer = user;
    (void)stream;
    pthread_mutex_lock(&transfer->wire->lock);
    transfer->told_status = status;
    snprintf(transfer->told_why, sizeof transfer->told_why, "%s", why);
    tell(transfer, FERRY_WIRE_TOLD_STOP);
    pthread_mutex_unlock(&transfer->wire->lock);
}

/* The whole of it, and in it how long it waited for the other side, and moved bytes. */
static void trace(struct ferry__wire_transfer *transfer, enum ferry_status status)
{
    const struct ferry_peer *peer = transfer->peer;
    const uint64_t now = ferry__wire_now_ns(), matched_ns = atomic_load(&transfer->matched_ns);
    const uint64_t first_ns = atomic_load(&transfer->first_ns);
    char words[320]; /* the trace cuts it */
    struct ferry_stream_event event = {.name = transfer->send ? "send" : "receive",
                                       .words = words,
                                       .begin_ns = transfer->called_ns,
                                       .end_ns = now,
                                       .status = status};
    pthread_mutex_lock(&transfer->wire->lock);
    event.ticket = transfer->ticket.key;
    snprintf(words, sizeof words, "tag %llu, %llu bytes, %s %s by %s",
             (unsigned long long)transfer->tag, (unsigned long long)transfer->size,
             transfer->send ? "to" : "from", peer->info.address, peer->info.transports);
    pthread_mutex_unlock(&transfer->wire->lock);
    ferry_stream_trace(transfer->device, &event);
    event.name = "waits for peer";
    event.end_ns = matched_ns ? matched_ns : now;
    ferry_stream_trace(transfer->device, &event);
    event.name = "moves bytes";
    event.begin_ns = first_ns;
    event.end_ns = now;
    if (first_ns)
        ferry_stream_trace(transfer->device, &event);
}

static void when_ended(void *user, enum ferry_status status)
{
    struct ferry__wire_transfer *transfer = user;
    ferry_wire *wire = transfer->wire;
    pthread_mutex_lock(&wire->stream_lock);
    transfer->stream_ended = true;
    pthread_mutex_unlock(&wire->stream_lock);
    if (ferry_stream_traced(transfer->device)) /* which is there until this returns */
        trace(transfer, status);
    pthread_mutex_lock(&wire->lock);
    transfer->ended_status = status;
    ferry__wire_map_remove(&wire->tickets, &transfer->ticket);
    tell(transfer, FERRY_WIRE_TOLD_ENDED);
    pthread_mutex_unlock(&wire->lock);
}

static const struct ferry_stream_methods methods = {.version = FERRY_STREAM_VERSION,
                                                    .depth = FERRY_WIRE_DEPTH,
                                                    .begin = when_begun,
                                                    .chunk = when_chunk,
                                                    .cancel = when_stopped,
                                                    .end = when_ended};

/* --- the front door --------------------------------------------------------------------------- */

struct call {
    const char *what;
    ferry_peer *peer;
    bool send;
    uint64_t tag;
    ferry_buffer *buffer;
    size_t size, offset;
};

/* *out_flags: of FERRY_STREAM_. Where UCX takes any memory as it is, what the CPU reaches itself
 * needs no staging. */
static enum ferry_status check(const struct call *call, uint32_t *out_flags)
{
    ferry_peer *peer = call->peer;
    char why[sizeof peer->info.reason] = "";
    if (!peer || !call->buffer)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %s is NULL", call->what,
                                peer ? "the buffer" : "the peer");
    pthread_mutex_lock(&peer->wire->lock);
    if (peer->dead)
        snprintf(why, sizeof why, "%.*s", (int)sizeof why - 1, peer->info.reason);
    *out_flags = peer->straight ? FERRY_STREAM_STRAIGHT : 0;
    pthread_mutex_unlock(&peer->wire->lock);
    if (why[0])
        return ferry__wire_fail(FERRY_ERROR_IO, "%s: %s", call->what, why);
    if (call->send && atomic_load(&peer->waiting) >= FERRY_WIRE_ANNOUNCED_MAX)
        return ferry__wire_fail(FERRY_ERROR_POOL_EXHAUSTED,
                                "%s: %d sends are already waiting for this peer to receive them",
                                call->what, FERRY_WIRE_ANNOUNCED_MAX);
    return FERRY_OK;
}

static struct ferry__wire_transfer *make(const struct call *call)
{
    struct ferry__wire_transfer *transfer = ferry__wire_alloc(sizeof *transfer);
    if (!transfer)
        return NULL;
    transfer->wire = call->peer->wire;
    transfer->peer = call->peer;
    transfer->send = call->send;
    transfer->tag = call->tag;
    transfer->size = call->size;
    transfer->device = ferry_buffer_device(call->buffer);
    transfer->came_end = &transfer->came;
    transfer->called_ns = ferry__wire_now_ns();
    const size_t chunk_max = ferry_stream_chunk_max(transfer->device);
    transfer->chunk_max = chunk_max < FERRY_WIRE_CHUNK ? (uint32_t)chunk_max : FERRY_WIRE_CHUNK;
    if (!transfer->chunk_max || (call->send && !ferry__wire_random(transfer->id, FERRY_WIRE_ID))) {
        free(transfer);
        return NULL;
    }
    ferry__wire_peer_ref(call->peer);
    if (call->send)
        atomic_fetch_add(&call->peer->waiting, 1);
    return transfer;
}

static enum ferry_status submit(const struct call *call, ferry_callback cb, void *user,
                                ferry_ticket *out_ticket)
{
    struct ferry_stream_methods told = methods;
    ferry_ticket ticket = 0;
    enum ferry_status status = check(call, &told.flags);
    if (status)
        return status;
    struct ferry__wire_transfer *transfer = make(call);
    if (!transfer)
        return ferry__wire_fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "%s: no host memory", call->what);
    ferry_wire *wire = transfer->wire;
    status = (call->send ? ferry_stream_send : ferry_stream_receive)(
        call->buffer, call->size, call->offset, &told, transfer, cb, user, &ticket);
    if (status) {
        if (call->send)
            atomic_fetch_sub(&call->peer->waiting, 1);
        ferry__wire_peer_unref(transfer->peer);
        free(transfer);
        return status;
    }
    FERRY_WIRE_ADD(wire, in_flight, 1);
    pthread_mutex_lock(&wire->lock);
    transfer->ticket.key = ticket;
    /* What cannot be in the table cannot be cancelled by its ticket, and goes on. */
    if (!(transfer->told & FERRY_WIRE_TOLD_ENDED))
        (void)ferry__wire_map_add(&wire->tickets, &transfer->ticket);
    tell(transfer, FERRY_WIRE_TOLD_NEW);
    pthread_mutex_unlock(&wire->lock);
    if (out_ticket)
        *out_ticket = ticket;
    return FERRY_OK;
}

static enum ferry_status wait_for(const struct call *call)
{
    ferry_ticket ticket = 0;
    enum ferry_status status = ferry_stream_in_callback(call->what);
    if (!status)
        status = submit(call, NULL, NULL, &ticket);
    return status ? status : ferry_wait(ferry_buffer_device(call->buffer), ticket, UINT64_MAX);
}

enum ferry_status ferry_send(ferry_peer *peer, uint64_t tag, ferry_buffer *src, size_t size,
                             size_t offset)
{
    return wait_for(&(struct call){"ferry_send", peer, true, tag, src, size, offset});
}

enum ferry_status ferry_receive(ferry_peer *peer, uint64_t tag, ferry_buffer *dst, size_t size,
                                size_t offset)
{
    return wait_for(&(struct call){"ferry_receive", peer, false, tag, dst, size, offset});
}

enum ferry_status ferry_send_async(ferry_peer *peer, uint64_t tag, ferry_buffer *src, size_t size,
                                   size_t offset, ferry_callback cb, void *user,
                                   ferry_ticket *out_ticket)
{
    return submit(&(struct call){"ferry_send", peer, true, tag, src, size, offset}, cb, user,
                  out_ticket);
}

enum ferry_status ferry_receive_async(ferry_peer *peer, uint64_t tag, ferry_buffer *dst,
                                      size_t size, size_t offset, ferry_callback cb, void *user,
                                      ferry_ticket *out_ticket)
{
    return submit(&(struct call){"ferry_receive", peer, false, tag, dst, size, offset}, cb, user,
                  out_ticket);
}

bool ferry__wire_transfer_cancel(ferry_wire *wire, ferry_device *device, ferry_ticket ticket)
{
    bool found = false;
    pthread_mutex_lock(&wire->lock);
    struct ferry__wire_node *node = ferry__wire_map_find(&wire->tickets, ticket);
    if (node) {
        struct ferry__wire_transfer *transfer =
            FERRY_WIRE_OF(node, struct ferry__wire_transfer, ticket);
        found = transfer->device == device;
        if (found)
            tell(transfer, FERRY_WIRE_TOLD_CANCEL);
    }
    pthread_mutex_unlock(&wire->lock);
    return found;
}
