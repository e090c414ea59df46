/* The blocks of a transfer: a list of them, or rows. */
#ifndef FERRY_ENGINE_BLOCKS_H
#define FERRY_ENGINE_BLOCKS_H

#include "engine/op.h"
#include "engine/transfer.h"

#include <ferry/ferry.h>
#include <stdint.h>

struct ferry__region;

enum { FERRY__BLOCK_REGIONS_MAX = 8, FERRY__BLOCK_STAGED = 0xFF };

/* A transfer that has this moves these blocks, not one range: its size is their sum, its offsets
 * are where the first byte of them lies. Offsets of the host's side count from its pointer, which
 * may be NULL. Made on the stack of a call; what outlives that is a copy (ferry__blocks_keep). */
struct ferry__blocks {
    size_t count;
    const struct ferry_block *list; /* NULL: rows */
    struct ferry_rows rows;
    uint64_t dst_begin, dst_end, src_begin, src_end; /* all bytes lie within */
    uint64_t dst_all, src_all;                       /* begins and sizes of all blocks, or'ed */
    uint64_t size_all, size_each; /* sizes, or'ed; the size that all have, 0: they differ */
    bool some_empty;              /* blocks of no bytes, of which nothing above tells */
    bool dst_ascends;             /* each is written where the one before it ends, or behind that */
    struct ferry__spans *written, *read; /* what is, of a buffer, if that was found out; NULL */
    bool kept, owned;                    /* not on a stack; nor is the list the caller's */
    bool apart;                          /* it is known that they touch nothing of each other's */
    uint64_t before, after; /* blocks of a batch's lists before this one; of those that may
                               lie end to end with it, behind it */
    size_t merged;          /* operations of a batch that are one list; 0: it is one by itself */
    struct ferry_block *merged_as; /* each of them, where they are traced; NULL */
    /* Registered memory that the host's side of blocks lies in, where the device reaches it, and
     * which of it by block; NULL: all in the first, or where there is none, nowhere. */
    struct ferry__region *regions[FERRY__BLOCK_REGIONS_MAX];
    unsigned region_count;
    uint8_t *region_of;
    uint32_t kinds; /* bit i: some are in region i; the last bit: some are staged */
    /* The cursor: whose op is recorded owns it. */
    size_t next;
    uint64_t done;              /* bytes of that block */
    unsigned kind;              /* the blocks of one region after another: FERRY__WAY_LIST */
    struct ferry__transfer now; /* that block, as a transfer by itself: FERRY__WAY_EACH */
};

/* How many ranges a transfer moves, and the i-th: offsets in dst and src, or from its host pointer
 * on. */
static inline size_t ferry__transfer_parts(const struct ferry__transfer *transfer)
{
    return transfer->with == FERRY__WITH_BLOCKS ? transfer->blocks->count : 1;
}

static inline struct ferry_block ferry__blocks_at(const struct ferry__blocks *blocks, size_t i)
{
    const struct ferry_rows *rows = &blocks->rows;
    if (blocks->list)
        return blocks->list[i];
    return (struct ferry_block){rows->dst_offset + i * rows->dst_stride,
                                rows->src_offset + i * rows->src_stride, rows->row_size};
}

static inline struct ferry_block ferry__transfer_part(const struct ferry__transfer *transfer,
                                                      size_t i)
{
    if (transfer->with == FERRY__WITH_BLOCKS)
        return ferry__blocks_at(transfer->blocks, i);
    return (struct ferry_block){transfer->dst_offset, transfer->src_offset, transfer->size};
}

/* How many operations of the API it is. */
static inline size_t ferry__transfer_operations(const struct ferry__transfer *transfer)
{
    const struct ferry__blocks *blocks = ferry__blocks_of(transfer);
    return blocks && blocks->merged ? blocks->merged : 1;
}

/* The transfer that commands are written for: where blocks go one by one, the one that is at it. */
static inline struct ferry__transfer *ferry__transfer_now(struct ferry__op *op)
{
    struct ferry__transfer *transfer = &ferry__op_transfers(op)[op->next_transfer];
    return transfer->with == FERRY__WITH_BLOCKS ? &transfer->blocks->now : transfer;
}

/* Makes what a transfer's blocks are outlive the call, and the list too where copied says so.
 * False: no host memory; nothing has changed. */
bool ferry__blocks_keep(struct ferry__transfer *transfer, bool copied);
/* What is to be known of a list whose blocks alone are; how many bytes they are. Sums may wrap
 * where the or'ed places or sizes are so large, or the blocks so many. */
uint64_t ferry__blocks_measure(struct ferry__blocks *blocks);
void ferry__blocks_free(struct ferry__blocks *blocks); /* NULL, and one on a stack: nothing */

/* What is written, or read, where a bitmap is the smaller set, and there is memory; else NULL. */
struct ferry__spans *ferry__blocks_spans(const struct ferry__blocks *blocks, bool dst);

/* Do the blocks write no byte twice, and does none read what another writes? native: both sides are
 * of one memory, in which their offsets count from dst_base and src_base. Without host memory to
 * find out: false. May note what is written and read. */
bool ferry__blocks_are_apart(struct ferry__blocks *blocks, bool native, uint64_t dst_base,
                             uint64_t src_base);

#endif
