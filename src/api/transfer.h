/* From operations to transfers. */
#ifndef FERRY_API_TRANSFER_H
#define FERRY_API_TRANSFER_H

#include "engine/buffer.h"
#include "engine/order.h"

#include <ferry/ferry.h>

struct ferry__transfer;

enum ferry_status ferry__range(const struct ferry_buffer *buffer, const char *name, uint64_t offset,
                               uint64_t size);

/* Checks and fills a transfer: takes references to buffers. The checks are those of the API. */
enum ferry_status ferry__transfer_upload(struct ferry__transfer *transfer, ferry_buffer *dst,
                                         const void *src, uint64_t size, uint64_t dst_offset);
enum ferry_status ferry__transfer_download(struct ferry__transfer *transfer, ferry_buffer *src,
                                           void *dst, uint64_t size, uint64_t src_offset);
enum ferry_status ferry__transfer_copy(struct ferry__transfer *transfer, ferry_buffer *dst,
                                       ferry_buffer *src, uint64_t size, uint64_t dst_offset,
                                       uint64_t src_offset);
enum ferry_status ferry__transfer_fill(struct ferry__transfer *transfer, ferry_buffer *dst,
                                       uint64_t size, uint64_t offset, const void *pattern,
                                       size_t pattern_size);

/* Carries out a transfer that was checked, as its function's caller wants it. */
enum ferry_status ferry__transfer_wait(struct ferry__transfer *transfer);
enum ferry_status ferry__transfer_submit(struct ferry__transfer *transfer, ferry_callback cb,
                                         void *user, ferry_ticket *out_ticket);
enum ferry_status ferry__batch_add(ferry_batch *batch, const char *what,
                                   const struct ferry__transfer *transfer);
/* The one added last; NULL: none. */
const struct ferry__transfer *ferry__batch_last(const ferry_batch *batch);

#endif
