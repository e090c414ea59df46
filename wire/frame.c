#include "frame.h"

#include <string.h>

struct field {
    uint8_t offset, width; /* in struct ferry__wire_frame; the same width in the frame */
};

#define FIELD(name)                                                                           \
    {                                                                                         \
        offsetof(struct ferry__wire_frame, name), sizeof((struct ferry__wire_frame *)0)->name \
    }

enum { FIELDS_MAX = 8 };

/* What a frame has: fields in their order, and what may follow them. */
static const struct layout {
    struct field fields[FIELDS_MAX];
    uint16_t rest_min, rest_max;
} layouts[FERRY_WIRE_TYPES] = {
    [FERRY_WIRE_HELLO] = {{FIELD(magic), FIELD(version_min), FIELD(version_max), FIELD(role),
                           FIELD(status), FIELD(features), FIELD(heartbeat_ms)},
                          FERRY_WIRE_NONCE,
                          1024},
    [FERRY_WIRE_PROVE] = {{{0, 0}}, FERRY_WIRE_PROOF + 1, FERRY_WIRE_PAYLOAD_MAX},
    [FERRY_WIRE_REFUSED] = {{FIELD(status)}, 0, FERRY_WIRE_WORDS_MAX},
    [FERRY_WIRE_HEARTBEAT] = {{{0, 0}}, 0, 0},
    [FERRY_WIRE_GOODBYE] = {{{0, 0}}, 0, FERRY_WIRE_WORDS_MAX},
    [FERRY_WIRE_ANNOUNCE] = {{FIELD(number), FIELD(tag), FIELD(size), FIELD(at), FIELD(chunk),
                              FIELD(flags)},
                             FERRY_WIRE_ID,
                             FERRY_WIRE_ID},
    [FERRY_WIRE_READY] = {{FIELD(number)}, 0, 0},
    [FERRY_WIRE_MATCH] = {{FIELD(number)}, 0, 0},
    [FERRY_WIRE_CREDIT] = {{FIELD(number), FIELD(credit), FIELD(at), FIELD(chunk)}, 0, 0},
    [FERRY_WIRE_ACK] = {{FIELD(number), FIELD(credit), FIELD(chunk), FIELD(status)}, 0, 0},
    [FERRY_WIRE_END] = {{FIELD(number), FIELD(side), FIELD(status)}, 0, FERRY_WIRE_WORDS_MAX},
};

static bool is_known(uint64_t type)
{
    return (type >= FERRY_WIRE_HELLO && type <= FERRY_WIRE_REFUSED) ||
           (type >= FERRY_WIRE_HEARTBEAT && type < FERRY_WIRE_TYPES);
}

void ferry__wire_put(uint8_t *out, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

uint64_t ferry__wire_get(const uint8_t *bytes, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

/* A field of this width of the struct, in the machine's own order. */
static uint64_t load(const void *at, size_t width)
{
    switch (width) {
    case 2: return *(const uint16_t *)at;
    case 4: return *(const uint32_t *)at;
    default: return *(const uint64_t *)at;
    }
}

static void store(void *at, uint64_t value, size_t width)
{
    switch (width) {
    case 2: *(uint16_t *)at = (uint16_t)value; break;
    case 4: *(uint32_t *)at = (uint32_t)value; break;
    default: *(uint64_t *)at = value; break;
    }
}

/* The fields of a payload; false: it is too short, or too long. */
static bool get_payload(const struct layout *layout, const uint8_t *bytes, size_t size,
                        struct ferry__wire_frame *out)
{
    size_t at = 0;
    for (size_t i = 0; i < FIELDS_MAX && layout->fields[i].width; i++) {
        const size_t width = layout->fields[i].width;
        if (size - at < width)
            return false;
        store((char *)out + layout->fields[i].offset, ferry__wire_get(bytes + at, width), width);
        at += width;
    }
    out->rest = bytes + at;
    out->rest_size = size - at;
    return out->rest_size >= layout->rest_min && out->rest_size <= layout->rest_max;
}

enum ferry__wire_got ferry__wire_frame_get(const uint8_t *bytes, size_t size,
                                           struct ferry__wire_frame *out, size_t *out_used,
                                           const char **out_why)
{
    if (size < FERRY_WIRE_HEADER)
        return FERRY_WIRE_GOT_PART;
    const uint64_t payload = ferry__wire_get(bytes, 4), type = ferry__wire_get(bytes + 4, 2);
    *out_used = FERRY_WIRE_HEADER + (size_t)payload;
    if (!is_known(type)) {
        *out_why = "a frame of more than 1 MiB";
        return payload <= FERRY_WIRE_SKIPPED_MAX ? FERRY_WIRE_GOT_UNKNOWN : FERRY_WIRE_GOT_WRONG;
    }
    if (payload > FERRY_WIRE_PAYLOAD_MAX) {
        *out_why = "a frame that is too long";
        return FERRY_WIRE_GOT_WRONG;
    }
    if (size < *out_used)
        return FERRY_WIRE_GOT_PART;
    *out = (struct ferry__wire_frame){.type = (enum ferry__wire_type)type};
    if (get_payload(&layouts[type], bytes + FERRY_WIRE_HEADER, (size_t)payload, out))
        return FERRY_WIRE_GOT_FRAME;
    *out_why = "a frame of the wrong size";
    return FERRY_WIRE_GOT_WRONG;
}

size_t ferry__wire_frame_put(uint8_t *out, const struct ferry__wire_frame *frame)
{
    const struct layout *layout = &layouts[frame->type];
    size_t at = FERRY_WIRE_HEADER;
    for (size_t i = 0; i < FIELDS_MAX && layout->fields[i].width; i++) {
        const size_t width = layout->fields[i].width;
        ferry__wire_put(out + at, load((const char *)frame + layout->fields[i].offset, width),
                        width);
        at += width;
    }
    const size_t rest = frame->rest_size <= layout->rest_max ? frame->rest_size : layout->rest_max;
    if (rest)
        memcpy(out + at, frame->rest, rest);
    at += rest;
    ferry__wire_put(out, at - FERRY_WIRE_HEADER, 4);
    ferry__wire_put(out + 4, frame->type, 2);
    ferry__wire_put(out + 6, 0, 2);
    return at;
}

void ferry__wire_piece_put(uint8_t *out, const struct ferry__wire_piece_header *piece)
{
    ferry__wire_put(out, piece->credit, 8);
    ferry__wire_put(out + 8, piece->at, 4);
    ferry__wire_put(out + 12, piece->size, 4);
    ferry__wire_put(out + 16, piece->crc, 4);
}

bool ferry__wire_piece_get(const uint8_t *bytes, size_t size, struct ferry__wire_piece_header *out)
{
    if (size < FERRY_WIRE_PIECE)
        return false;
    *out = (struct ferry__wire_piece_header){.credit = ferry__wire_get(bytes, 8),
                                             .at = (uint32_t)ferry__wire_get(bytes + 8, 4),
                                             .size = (uint32_t)ferry__wire_get(bytes + 12, 4),
                                             .crc = (uint32_t)ferry__wire_get(bytes + 16, 4)};
    return true;
}
