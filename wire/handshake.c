#include "handshake.h"

#include <stdio.h>
#include <string.h>

static const char *const labels[2] = {"ferry wire 1 client", "ferry wire 1 server"};

/* A HELLO as both sides have it. */
static size_t keep_hello(struct ferry__wire_handshake *handshake, enum ferry__wire_role role,
                         const struct ferry__wire_frame *frame)
{
    handshake->hello_sizes[role] = ferry__wire_frame_put(handshake->hellos[role], frame);
    return handshake->hello_sizes[role];
}

size_t ferry__wire_hello(struct ferry__wire_handshake *handshake, enum ferry__wire_role role,
                         const struct ferry__wire_secret *secret, uint32_t heartbeat_ms,
                         uint8_t *out)
{
    uint8_t nonce[FERRY_WIRE_NONCE];
    if (!ferry__wire_random(nonce, sizeof nonce))
        return 0;
    *handshake = (struct ferry__wire_handshake){.role = role, .secret = secret};
    const struct ferry__wire_frame frame = {
        .type = FERRY_WIRE_HELLO,
        .magic = FERRY_WIRE_MAGIC,
        .version_min = FERRY_WIRE_VERSION,
        .version_max = FERRY_WIRE_VERSION,
        .role = (uint16_t)role,
        .features = secret->size ? FERRY_WIRE_FEATURE_SECRET : 0,
        .heartbeat_ms = heartbeat_ms,
        .rest = nonce,
        .rest_size = sizeof nonce,
    };
    const size_t size = keep_hello(handshake, role, &frame);
    memcpy(out, handshake->hellos[role], size);
    return size;
}

enum ferry_status ferry__wire_hello_came(struct ferry__wire_handshake *handshake,
                                         const struct ferry__wire_frame *frame,
                                         char why[FERRY_WIRE_WHY_MAX])
{
    const bool secret = handshake->secret->size,
               theirs = frame->features & FERRY_WIRE_FEATURE_SECRET;
    const enum ferry__wire_role other =
        handshake->role == FERRY_WIRE_CLIENT ? FERRY_WIRE_SERVER : FERRY_WIRE_CLIENT;
    if (frame->magic != FERRY_WIRE_MAGIC) {
        snprintf(why, FERRY_WIRE_WHY_MAX, "this is not a Ferry wire");
        return FERRY_ERROR_IO;
    }
    if (frame->version_min > FERRY_WIRE_VERSION || frame->version_max < FERRY_WIRE_VERSION) {
        snprintf(why, FERRY_WIRE_WHY_MAX,
                 "this side speaks version %d of the protocol, the other side versions %u to %u",
                 FERRY_WIRE_VERSION, frame->version_min, frame->version_max);
        return FERRY_ERROR_UNSUPPORTED;
    }
    if (frame->role != other) {
        snprintf(why, FERRY_WIRE_WHY_MAX, "both sides claim to be the %s",
                 other == FERRY_WIRE_SERVER ? "client" : "server");
        return FERRY_ERROR_IO;
    }
    if (secret != theirs) {
        snprintf(why, FERRY_WIRE_WHY_MAX, "the %s has a secret, and the %s has none",
                 secret == (handshake->role == FERRY_WIRE_CLIENT) ? "client" : "server",
                 secret == (handshake->role == FERRY_WIRE_CLIENT) ? "server" : "client");
        return FERRY_ERROR_IO;
    }
    if (!frame->heartbeat_ms) {
        snprintf(why, FERRY_WIRE_WHY_MAX, "a HELLO with a heartbeat of 0 ms");
        return FERRY_ERROR_IO;
    }
    keep_hello(handshake, other, frame);
    handshake->version = FERRY_WIRE_VERSION;
    handshake->heartbeat_ms = frame->heartbeat_ms;
    return FERRY_OK;
}

struct transcript {
    size_t size;
    uint8_t bytes[64 + 2 * (FERRY_WIRE_FRAME_MAX + 4) + 2 * (FERRY_WIRE_ADDRESS_MAX + 4)];
};

/* With its size before it, so that no two lists of parts make the same bytes. */
static void add(struct transcript *transcript, const void *bytes, size_t size)
{
    ferry__wire_put(transcript->bytes + transcript->size, size, 4);
    memcpy(transcript->bytes + transcript->size + 4, bytes, size);
    transcript->size += 4 + size;
}

/* The proof of whoever has this role. */
static bool make_proof(const struct ferry__wire_handshake *handshake, enum ferry__wire_role role,
                       uint8_t out[FERRY_WIRE_PROOF])
{
    struct transcript transcript = {0};
    add(&transcript, labels[role], strlen(labels[role]));
    for (int side = 0; side < 2; side++)
        add(&transcript, handshake->hellos[side], handshake->hello_sizes[side]);
    for (int side = 0; side <= (int)role; side++)
        add(&transcript, handshake->addresses[side], handshake->address_sizes[side]);
    return ferry__wire_mac(handshake->secret, transcript.bytes, transcript.size, out);
}

size_t ferry__wire_prove(struct ferry__wire_handshake *handshake, const void *address,
                         size_t address_size, uint8_t *out)
{
    uint8_t rest[FERRY_WIRE_PROOF + FERRY_WIRE_ADDRESS_MAX];
    const enum ferry__wire_role role = handshake->role;
    if (!address_size || address_size > FERRY_WIRE_ADDRESS_MAX)
        return 0;
    memcpy(handshake->addresses[role], address, address_size);
    handshake->address_sizes[role] = address_size;
    if (!make_proof(handshake, role, rest))
        return 0;
    memcpy(rest + FERRY_WIRE_PROOF, address, address_size);
    return ferry__wire_frame_put(
        out, &(struct ferry__wire_frame){.type = FERRY_WIRE_PROVE,
                                         .rest = rest,
                                         .rest_size = FERRY_WIRE_PROOF + address_size});
}

enum ferry_status ferry__wire_prove_came(struct ferry__wire_handshake *handshake,
                                         const struct ferry__wire_frame *frame,
                                         char why[FERRY_WIRE_WHY_MAX])
{
    const enum ferry__wire_role other =
        handshake->role == FERRY_WIRE_CLIENT ? FERRY_WIRE_SERVER : FERRY_WIRE_CLIENT;
    const size_t size = frame->rest_size - FERRY_WIRE_PROOF;
    uint8_t proof[FERRY_WIRE_PROOF];
    if (size > FERRY_WIRE_ADDRESS_MAX) {
        snprintf(why, FERRY_WIRE_WHY_MAX, "a worker's address of %zu bytes", size);
        return FERRY_ERROR_IO;
    }
    memcpy(handshake->addresses[other], frame->rest + FERRY_WIRE_PROOF, size);
    handshake->address_sizes[other] = size;
    if (make_proof(handshake, other, proof) && ferry__wire_equal(proof, frame->rest, sizeof proof))
        return FERRY_OK;
    snprintf(why, FERRY_WIRE_WHY_MAX, "the two sides do not have the same secret");
    return FERRY_ERROR_IO;
}
