/* Sends. */
#ifndef FERRY_WIRE_SEND_H
#define FERRY_WIRE_SEND_H

#include "transfer.h"

enum { FERRY_WIRE_TRIES = 4 }; /* of a piece */

/* Goes on with it as far as it can. */
void ferry__wire_send_pump(struct ferry__wire_transfer *send);
void ferry__wire_send_begun(struct ferry__wire_transfer *send);
void ferry__wire_announce(struct ferry__wire_transfer *send);
void ferry__wire_match_came(struct ferry__wire_transfer *send);
void ferry__wire_credit_came(struct ferry__wire_transfer *send,
                             const struct ferry__wire_frame *frame);
void ferry__wire_ack_came(struct ferry__wire_transfer *send, const struct ferry__wire_frame *frame);
void ferry__wire_end_came(struct ferry__wire_transfer *send, const struct ferry__wire_frame *frame);

/* UCX has done with a piece. */
void ferry__wire_piece_sent(void *peer, struct ferry__wire_request *request, bool good);

/* Tests: changes a piece on its way into UCX. NULL: nothing does. */
extern void (*ferry__wire_corrupt)(unsigned char *bytes, size_t size, unsigned tries);

#endif
