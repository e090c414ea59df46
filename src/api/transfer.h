/* From operations to items. */
#ifndef FERRY_API_TRANSFER_H
#define FERRY_API_TRANSFER_H

#include "engine/buffer.h"
#include "engine/order.h"

#include <ferry/ferry.h>

struct ferry__item;

enum ferry_status ferry__range(const struct ferry_buffer *buffer, const char *name, uint64_t offset,
                               uint64_t size);

/* Checks and fills an item: takes references to buffers. The checks are those of the API. */
enum ferry_status ferry__item_upload(struct ferry__item *item, ferry_buffer *dst, const void *src,
                                     uint64_t size, uint64_t dst_offset);
enum ferry_status ferry__item_download(struct ferry__item *item, ferry_buffer *src, void *dst,
                                       uint64_t size, uint64_t src_offset);
enum ferry_status ferry__item_copy(struct ferry__item *item, ferry_buffer *dst, ferry_buffer *src,
                                   uint64_t size, uint64_t dst_offset, uint64_t src_offset);
enum ferry_status ferry__item_fill(struct ferry__item *item, ferry_buffer *dst, uint64_t size,
                                   uint64_t offset, const void *pattern, size_t pattern_size);

/* Carries out an item that was checked, as its function's caller wants it. */
enum ferry_status ferry__item_wait(struct ferry__item *item);
enum ferry_status ferry__item_submit(struct ferry__item *item, ferry_callback cb, void *user,
                                     ferry_ticket *out_ticket);
enum ferry_status ferry__batch_add(ferry_batch *batch, const char *what,
                                   const struct ferry__item *item);

#endif
