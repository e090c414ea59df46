/* What became of an op, and of the bytes that it was to write (R9). Under device->lock, which is
 * given up on the way where they are many. */
#ifndef FERRY_ENGINE_JUDGE_H
#define FERRY_ENGINE_JUDGE_H

#include <stdint.h>

struct ferry__op;
struct ferry_buffer;

/* Bytes were written that may have failed before, when no more than up_to writes had. */
void ferry__buffer_covered(struct ferry_buffer *buffer, uint64_t offset, uint64_t size,
                           uint64_t up_to);

/* One operation after another, as if they had been done in that order. */
void ferry__judge_transfers(struct ferry__op *op);

/* The user's work. What it only writes is well when it ends well; what it reads too may be so only
 * in part. */
void ferry__judge_uses(struct ferry__op *op);

#endif
