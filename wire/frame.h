/* Frames of the control connection: a header of 8 bytes (the payload's size, the type, zero), and
 * the payload. Little-endian. docs/wire.md lists them. */
#ifndef FERRY_WIRE_FRAME_H
#define FERRY_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FERRY_WIRE_HEADER = 8,
    FERRY_WIRE_PAYLOAD_MAX = 2048,    /* of a frame that this version knows */
    FERRY_WIRE_SKIPPED_MAX = 1 << 20, /* of one that it does not */
    FERRY_WIRE_WORDS_MAX = 400,       /* of a reason */
    FERRY_WIRE_NONCE = 32,
    FERRY_WIRE_PROOF = 32,
    FERRY_WIRE_ID = 16,
    FERRY_WIRE_VERSION = 1,
};

#define FERRY_WIRE_MAGIC UINT64_C(0x4552495759524546) /* "FERYWIRE" */

enum ferry__wire_type {
    FERRY_WIRE_HELLO = 1,
    FERRY_WIRE_PROVE = 2,
    FERRY_WIRE_REFUSED = 3,
    FERRY_WIRE_HEARTBEAT = 16,
    FERRY_WIRE_GOODBYE = 17,
    FERRY_WIRE_ANNOUNCE = 18,
    FERRY_WIRE_READY = 19,
    FERRY_WIRE_MATCH = 20,
    FERRY_WIRE_CREDIT = 21,
    FERRY_WIRE_ACK = 22,
    FERRY_WIRE_END = 23,
    FERRY_WIRE_TYPES = 24
};

/* The fields of all frames; which of them a type has, frame.c tells. */
struct ferry__wire_frame {
    enum ferry__wire_type type;
    uint64_t magic, number, tag, size, at, credit;
    uint32_t features, heartbeat_ms, chunk, flags;
    uint16_t version_min, version_max, role, side, status;
    const uint8_t *rest; /* what follows the fields: a nonce, a proof and an address, words */
    size_t rest_size;
};

enum ferry__wire_got {
    FERRY_WIRE_GOT_PART,    /* more bytes are needed */
    FERRY_WIRE_GOT_FRAME,   /* of *out_used bytes */
    FERRY_WIRE_GOT_UNKNOWN, /* a frame of a later version, of *out_used bytes, which may be more
                               than there are */
    FERRY_WIRE_GOT_WRONG,   /* no such frame: *out_why says why */
};

/* The first frame of some bytes. rest points into them. */
enum ferry__wire_got ferry__wire_frame_get(const uint8_t *bytes, size_t size,
                                           struct ferry__wire_frame *out, size_t *out_used,
                                           const char **out_why);

/* Writes a frame: at most FERRY_WIRE_HEADER + FERRY_WIRE_PAYLOAD_MAX bytes. Its size. */
size_t ferry__wire_frame_put(uint8_t *out, const struct ferry__wire_frame *frame);

/* Of any width up to 8 bytes, little-endian. */
void ferry__wire_put(uint8_t *out, uint64_t value, size_t width);
uint64_t ferry__wire_get(const uint8_t *bytes, size_t width);

/* The header of a piece on the data connection. */
struct ferry__wire_piece_header {
    uint64_t credit;
    uint32_t at, size, crc;
};
enum { FERRY_WIRE_PIECE = 20 };

void ferry__wire_piece_put(uint8_t *out, const struct ferry__wire_piece_header *piece);
bool ferry__wire_piece_get(const uint8_t *bytes, size_t size, struct ferry__wire_piece_header *out);

#endif
