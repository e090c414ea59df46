/*
 * The handshake: who may speak, in which version, and that both know the secret. Bytes in, bytes out:
 * it touches no socket.
 *
 *   client                                     server
 *   HELLO: versions, features, nonce   ->
 *                                      <-      HELLO: the same
 *   PROVE: proof, worker's address     ->
 *                                      <-      PROVE: the same
 *
 * A proof is the HMAC of its sender's label, both HELLOs, the client's address and, in the server's,
 * the server's. So none can be replayed, sent back, or made of an older version's.
 */
#ifndef FERRY_WIRE_HANDSHAKE_H
#define FERRY_WIRE_HANDSHAKE_H

#include "crypto.h"
#include "frame.h"
#include "words.h"

enum ferry__wire_role {
    FERRY_WIRE_CLIENT,
    FERRY_WIRE_SERVER,
};

enum {
    FERRY_WIRE_FEATURE_SECRET = 1 << 0, /* this side has one */
    FERRY_WIRE_ADDRESS_MAX = 1536,      /* of a worker */
    FERRY_WIRE_FRAME_MAX = FERRY_WIRE_HEADER + FERRY_WIRE_PAYLOAD_MAX,
};

struct ferry__wire_handshake {
    enum ferry__wire_role role;
    const struct ferry__wire_secret *secret;
    uint32_t version, heartbeat_ms; /* agreed upon; the other side's */
    uint8_t hellos[2][FERRY_WIRE_FRAME_MAX];
    size_t hello_sizes[2]; /* by role */
    uint8_t addresses[2][FERRY_WIRE_ADDRESS_MAX];
    size_t address_sizes[2];
};

/* Writes this side's HELLO to out (FERRY_WIRE_FRAME_MAX bytes); its size, 0: no random bytes. */
size_t ferry__wire_hello(struct ferry__wire_handshake *handshake, enum ferry__wire_role role,
                         const struct ferry__wire_secret *secret, uint32_t heartbeat_ms,
                         uint8_t *out);

/* The other side's HELLO. Not OK: refused, with the words in why. */
enum ferry_status ferry__wire_hello_came(struct ferry__wire_handshake *handshake,
                                         const struct ferry__wire_frame *frame,
                                         char why[FERRY_WIRE_WHY_MAX]);

/* Writes this side's PROVE, with its worker's address; its size, 0: it could not be made. */
size_t ferry__wire_prove(struct ferry__wire_handshake *handshake, const void *address,
                         size_t address_size, uint8_t *out);

/* The other side's PROVE: its address is then in handshake->addresses. */
enum ferry_status ferry__wire_prove_came(struct ferry__wire_handshake *handshake,
                                         const struct ferry__wire_frame *frame,
                                         char why[FERRY_WIRE_WHY_MAX]);

#endif
