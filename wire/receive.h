/* Receives. */
#ifndef FERRY_WIRE_RECEIVE_H
#define FERRY_WIRE_RECEIVE_H

#include "transfer.h"

/* Goes on with it as far as it can. */
void ferry__wire_receive_pump(struct ferry__wire_transfer *receive);
/* The engine has lent a chunk: the peer hears so. */
void ferry__wire_receive_chunk(struct ferry__wire_chunk *chunk);

/* A piece comes from UCX: where its bytes go; NULL: they are dropped. */
struct ferry__wire_request *
ferry__wire_piece_came(void *peer, const struct ferry__wire_piece_header *piece, size_t size);
void ferry__wire_piece_received(void *peer, struct ferry__wire_request *request, bool good);

#endif
