/* From operations to commands. */
#ifndef FERRY_PATHS_RECORD_H
#define FERRY_PATHS_RECORD_H

#include "base/alloc.h"
#include "engine/submission.h"

#include <ferry/ferry.h>

struct ferry__transfer;
struct ferry__limits;
struct ferry__memory;
struct ferry__op;
struct ferry__slice;
struct ferry_device;

/* Adds the commands of a copy whose ranges do not overlap. */
enum ferry_status ferry__emit_copy(struct ferry_device *device, struct ferry__submission *sub,
                                   const struct ferry__memory *dst, uint64_t dst_offset,
                                   const struct ferry__memory *src, uint64_t src_offset,
                                   uint64_t size);

/* A part of a transfer, up to end, whose bytes the host merges into the words round them. */
enum ferry__emitted ferry__emit_rmw(struct ferry_device *device, struct ferry__submission *sub,
                                    struct ferry__op *op, struct ferry__transfer *transfer,
                                    uint64_t end, enum ferry_status *out_status);
#define FERRY__RESERVE(sub, list)                                                          \
    ferry__reserve((void **)&(sub)->list##s, &(sub)->list##_capacity, (sub)->list##_count, \
                   sizeof *(sub)->list##s)
enum ferry_status ferry__no_memory(void);

/* What the device can do with this memory; src may be NULL. */
const struct ferry__limits *ferry__limits_for(const struct ferry_device *device,
                                              const struct ferry__memory *dst,
                                              const struct ferry__memory *src);

/* Writes have landed in a slice: the device shall see them. */
enum ferry_status ferry__flush_slice(struct ferry_device *device, const struct ferry__slice *slice,
                                     uint64_t size);
enum ferry_status ferry__take_upload(struct ferry_device *device, struct ferry__submission *sub,
                                     uint64_t want, uint64_t min, uint64_t phase,
                                     struct ferry__slice *out);

/* What was in reach of a transfer is emitted; how it goes on. */
enum ferry__emitted ferry__emit_result(enum ferry_status status, enum ferry_status *out_status);

/* A submission of pipelined transfers is one chunk, so that the next one's copying overlaps it.
 * What shall be one submission (a batch, a staged transfer) ends only where staging does. */
bool ferry__submission_is_full(const struct ferry_device *device,
                               const struct ferry__submission *sub, const struct ferry__op *op,
                               const struct ferry__transfer *transfer);
enum ferry__emitted ferry__emit_staged_upload(struct ferry_device *device,
                                              struct ferry__submission *sub, struct ferry__op *op,
                                              struct ferry__transfer *transfer,
                                              enum ferry_status *out_status);
enum ferry__emitted ferry__emit_staged_download(struct ferry_device *device,
                                                struct ferry__submission *sub, struct ferry__op *op,
                                                struct ferry__transfer *transfer,
                                                enum ferry_status *out_status);
enum ferry__emitted ferry__emit_imported(struct ferry_device *device, struct ferry__submission *sub,
                                         struct ferry__transfer *transfer,
                                         enum ferry_status *out_status);
enum ferry__emitted ferry__emit_device_copy(struct ferry_device *device,
                                            struct ferry__submission *sub, struct ferry__op *op,
                                            struct ferry__transfer *transfer,
                                            enum ferry_status *out_status);
enum ferry__emitted ferry__emit_fill(struct ferry_device *device, struct ferry__submission *sub,
                                     const struct ferry__transfer *transfer,
                                     enum ferry_status *out_status);

/* Transfers, alone and in batches. */
/* Writes one transfer down: what is its size, and one block of those of a list. */
enum ferry__emitted ferry__emit_transfer(struct ferry_device *device, struct ferry__submission *sub,
                                         struct ferry__op *op, struct ferry__transfer *transfer,
                                         enum ferry_status *out_status);
extern const struct ferry__op_type ferry__transfer_type;
void ferry__transfers_release(struct ferry__op *op);

#endif
