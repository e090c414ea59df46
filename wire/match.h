/* Which receive meets which send. */
#ifndef FERRY_WIRE_MATCH_H
#define FERRY_WIRE_MATCH_H

#include "frame.h"
#include "peer.h"
#include "transfer.h"

enum { FERRY_WIRE_ANNOUNCED_MAX = 4096 }; /* sends of a peer that wait for a receive */

/* A send as its receiver knows it. */
struct ferry__wire_announced {
    struct ferry__wire_node node; /* in peer->announced, by its number */
    uint64_t tag, size;
    uint32_t chunk;
    bool ready;
    struct ferry__wire_transfer *receive; /* NULL: none yet */
    struct ferry__wire_announced *next;   /* of its tag */
};

/* Sends that came and receives that wait, of one tag: never both. */
struct ferry__wire_tag {
    struct ferry__wire_node node;
    struct ferry__wire_announced *announced, **announced_end;
    struct ferry__wire_transfer *receives, **receives_end;
};

void ferry__wire_announce_came(ferry_peer *peer, const struct ferry__wire_frame *frame);
/* A receive looks for its send, or waits for it. False: no memory. */
bool ferry__wire_match_receive(struct ferry__wire_transfer *receive);
void ferry__wire_match_forget(struct ferry__wire_transfer *receive); /* it waits no more */
void ferry__wire_announced_drop(ferry_peer *peer, struct ferry__wire_announced *announced);
void ferry__wire_match_finish(ferry_peer *peer);

#endif
