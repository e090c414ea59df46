/* How scattered blocks travel. */
#ifndef FERRY_PATHS_BLOCKS_H
#define FERRY_PATHS_BLOCKS_H

#include "engine/op.h"

#include <ferry/ferry.h>
#include <stdint.h>

struct ferry__blocks;
struct ferry__submission;
struct ferry_device;

static inline bool ferry__blocks_by_host(const struct ferry__transfer *transfer)
{
    return transfer->operation != FERRY_OPERATION_COPY;
}

/* The address of a block on the host's side. */
static inline uintptr_t ferry__block_host(const struct ferry__transfer *transfer,
                                          struct ferry_block block)
{
    const bool upload = transfer->operation == FERRY_OPERATION_UPLOAD;
    return (uintptr_t)transfer->host + (upload ? block.src_offset : block.dst_offset);
}

/* Chooses how a transfer of blocks goes; takes the regions that they lie in. */
enum ferry_status ferry__blocks_plan(struct ferry_device *device, struct ferry__transfer *transfer);

/* Once more, all through staging. */
enum ferry_status ferry__blocks_plan_staged(struct ferry_device *device,
                                            struct ferry__transfer *transfer);
/* Does the device reach the host's side of the block? Of a transfer that is planned. */
bool ferry__block_is_imported(struct ferry_device *device, const struct ferry__transfer *transfer,
                              size_t i);

/* Does a kernel carry them by a list, as far as is known of the host's memory now? */
bool ferry__blocks_go_by_list(struct ferry_device *device, const struct ferry__transfer *transfer);

/* Is all of their host memory registered, as one? */
bool ferry__blocks_in_region(struct ferry_device *device, const struct ferry__transfer *transfer);

/* Operations of a batch that follow each other between the same two places become one list where
 * that is faster and changes nothing. How many transfers are left. */
size_t ferry__transfers_merge(struct ferry_device *device, struct ferry__transfer *transfers,
                              size_t count);

/* Gives the regions back; blocks may be NULL. */
void ferry__blocks_unplan(struct ferry_device *device, struct ferry__blocks *blocks);

enum ferry__emitted ferry__emit_each(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__op *op, struct ferry__transfer *transfer,
                                     enum ferry_status *out_status);
enum ferry__emitted ferry__emit_list(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__transfer *transfer,
                                     enum ferry_status *out_status);

#endif
