/* The control connection of a peer. */
#ifndef FERRY_WIRE_CONTROL_H
#define FERRY_WIRE_CONTROL_H

#include "peer.h"

enum {
    FERRY_WIRE_IN = 64 << 10,     /* bytes read of it at once */
    FERRY_WIRE_OUT_MAX = 4 << 20, /* that a peer may leave unread */
};

/* Reads what there is and acts on it. True: something came. */
bool ferry__wire_control_read(ferry_peer *peer);
void ferry__wire_control_put(ferry_peer *peer, const struct ferry__wire_frame *frame);
void ferry__wire_control_bytes(ferry_peer *peer, const void *bytes, size_t size);
/* Sends what there is to send, as far as the system takes it. */
void ferry__wire_control_flush(ferry_peer *peer);

#endif
