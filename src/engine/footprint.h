/* What an op touches (R1). */
#ifndef FERRY_ENGINE_FOOTPRINT_H
#define FERRY_ENGINE_FOOTPRINT_H

#include "engine/order.h"

#include <ferry/ferry.h>

struct ferry__op;
struct ferry__transfer;
struct ferry_buffer;
struct ferry_device;

/* What op touches, (footprint.c). The transfers' paths are chosen. Not under the lock. */
enum ferry_status ferry__footprint_transfers(struct ferry__op *op);

/* The same of external work, by the uses that it keeps. */
enum ferry_status ferry__footprint_uses(struct ferry__op *op);

/* op uses the buffers, and holds them from now on. */
enum ferry_status ferry__uses_keep(struct ferry__op *op, const struct ferry_use *uses,
                                   size_t count);

/* Is a byte of [begin, end) among what op, which has not been let go, touches of the buffer? Looks
 * at all of it. */
bool ferry__footprint_touches(const struct ferry__op *op, const struct ferry_buffer *buffer,
                              uint64_t begin, uint64_t end);

/* How many uses from the first on are of one buffer: one step gives references for all of them. */
size_t ferry__uses_alike(const struct ferry_use *uses, size_t count);

void ferry__footprint_free(struct ferry__op *op);
size_t ferry__footprint_buffers(const struct ferry__op *op); /* distinct ones */

/* What ranges are rounded out to on the device: words, or bytes where a kernel copies them. What is
 * recorded reads no further, since whoever writes beside it is not ordered against it. */
uint64_t ferry__word(const struct ferry_device *device);

/* Do copies read and write whole words there? Once they do not, they never will again. */
bool ferry__by_words(const struct ferry_device *device);

/* Of a range that a transfer writes. It is planned. */
struct ferry__range ferry__footprint_write(const struct ferry__transfer *transfer, uint64_t offset,
                                           uint64_t size);

/* Of what is not planned, and no op's. */
struct ferry__range ferry__footprint(struct ferry_buffer *buffer, bool write, uint64_t offset,
                                     uint64_t size);

#endif
