/* Any bytes as frames of the wire: a frame is taken apart inside its bytes, written again it is the
 * same, and neither side of a handshake lets anybody in who does not know the secret. */
#include "fuzz.h"

#include "handshake.h"

#include <stdlib.h>
#include <string.h>

static void check(bool good)
{
    if (!good)
        abort();
}

/* The frame's bytes again, whatever the zero in its header was. */
static void check_again(const uint8_t *bytes, size_t used, const struct ferry__wire_frame *frame)
{
    static uint8_t again[FERRY_WIRE_FRAME_MAX];
    check(frame->rest >= bytes && frame->rest + frame->rest_size == bytes + used);
    check(ferry__wire_frame_put(again, frame) == used);
    check(!memcmp(again, bytes, 6) && !memcmp(again + 8, bytes + 8, used - 8));
}

static void show(const struct ferry__wire_frame *frame)
{
    char words[FERRY_WIRE_WORDS_MAX + 1];
    if (frame->rest_size > FERRY_WIRE_WORDS_MAX)
        return;
    ferry__wire_show(words, sizeof words, frame->rest, frame->rest_size);
    check(strlen(words) < sizeof words);
}

static const struct ferry__wire_secret secret = {.size = 16, .bytes = "not to be guessed"};

/* Both roles hear all frames, in their order. */
static void shake(const uint8_t *data, size_t size)
{
    static struct ferry__wire_handshake sides[2];
    static uint8_t out[FERRY_WIRE_FRAME_MAX];
    for (int role = 0; role < 2; role++) {
        const char *wrong = NULL;
        bool greeted = false;
        size_t used = 0;
        check(ferry__wire_hello(&sides[role], (enum ferry__wire_role)role, &secret, 1000, out));
        for (size_t at = 0; at < size; at += used) {
            struct ferry__wire_frame frame;
            char why[FERRY_WIRE_WHY_MAX] = "";
            if (ferry__wire_frame_get(data + at, size - at, &frame, &used, &wrong) !=
                FERRY_WIRE_GOT_FRAME)
                break;
            if (frame.type == FERRY_WIRE_HELLO && !greeted) {
                const enum ferry_status status = ferry__wire_hello_came(&sides[role], &frame, why);
                greeted = !status;
                check(greeted == !why[0]);
                if (greeted)
                    check(ferry__wire_prove(&sides[role], "address", 7, out));
            } else if (frame.type == FERRY_WIRE_PROVE && greeted) {
                check(ferry__wire_prove_came(&sides[role], &frame, why) == FERRY_ERROR_IO);
                check(why[0]);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ferry__wire_piece_header piece;
    check(!ferry__wire_crypto_start());
    check(ferry__wire_piece_get(data, size, &piece) == (size >= FERRY_WIRE_PIECE));
    for (size_t at = 0, used = 0; at < size; at += used) {
        struct ferry__wire_frame frame;
        const char *why = NULL;
        const enum ferry__wire_got got =
            ferry__wire_frame_get(data + at, size - at, &frame, &used, &why);
        check((got == FERRY_WIRE_GOT_WRONG) == (why && got != FERRY_WIRE_GOT_UNKNOWN));
        if (got == FERRY_WIRE_GOT_UNKNOWN) {
            check(used <= FERRY_WIRE_HEADER + FERRY_WIRE_SKIPPED_MAX);
            continue;
        }
        if (got != FERRY_WIRE_GOT_FRAME)
            break;
        check(used <= size - at && used <= FERRY_WIRE_FRAME_MAX);
        check_again(data + at, used, &frame);
        show(&frame);
    }
    shake(data, size);
    return 0;
}
