/* How an op takes its place in the order. */
#ifndef FERRY_ENGINE_REGISTER_H
#define FERRY_ENGINE_REGISTER_H

#include <ferry/ferry.h>

struct ferry__op;

/* Gives op its ticket, finds what it depends on, and takes its place on all its buffers. On failure
 * (OUT_OF_HOST_MEMORY) nothing has changed, but that joins may stand for some. Under
 * device->lock. */
enum ferry_status ferry__register(struct ferry__op *op);

#endif
