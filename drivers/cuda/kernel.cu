// The kernels that copy, fill, and copy by a list: scripts/ptx.sh makes kernel.inc of this file.
//
// It is C and CUDA at once: the strict CUDA of the tests compiles it for the CPU, where it sets the
// macros. To copy and to fill, a thread writes one block of 16 bytes of the destination: whole by one store, and at the
// two ends of the range by single bytes. Nothing outside the range is written, not even with what
// was there. A load takes a whole block of the source, in which at least one byte is of the range.
#include "kernel.h"

#ifndef KERNEL
#define KERNEL extern "C" __attribute__((global)) void
#define LIST_KERNEL \
    extern "C" __attribute__((global)) __attribute__((launch_bounds(CUDA__LIST_GROUP))) void
#define DEVICE static __attribute__((device))
#define THREAD_OF(group) \
    ((unsigned long long)__nvvm_read_ptx_sreg_ctaid_x() * (group) + __nvvm_read_ptx_sreg_tid_x())
#endif

typedef unsigned block __attribute__((vector_size(16)));

DEVICE unsigned pattern_byte(const struct cuda_kernel_arguments *args, unsigned index)
{
    return args->pattern[index / 4] >> (8 * (index % 4)) & 0xffu;
}

// The next four bytes of the pattern; index is that of the first, and moves on.
DEVICE unsigned pattern_word(const struct cuda_kernel_arguments *args, unsigned *index)
{
    unsigned word = 0;
    for (unsigned bits = 0; bits < 32; bits += 8) {
        word |= pattern_byte(args, *index) << bits;
        *index = *index + 1 < args->period ? *index + 1 : 0;
    }
    return word;
}

DEVICE block pattern_block(const struct cuda_kernel_arguments *args, unsigned long long at)
{
    unsigned index = (unsigned)((at * CUDA__KERNEL_BLOCK - args->begin) % args->period);
    const unsigned first = pattern_word(args, &index), second = pattern_word(args, &index);
    const unsigned third = pattern_word(args, &index), fourth = pattern_word(args, &index);
    return (block){first, second, third, fourth};
}

// Of the two blocks of the source in which the bytes lie, those bytes.
DEVICE block shifted_block(const block *src, unsigned phase)
{
    block low = src[0], high = src[1];
    if (phase & 4) {
        low = (block){low[1], low[2], low[3], high[0]};
        high = (block){high[1], high[2], high[3], 0};
    }
    if (phase & 8) {
        low = (block){low[2], low[3], high[0], high[1]};
        high = (block){high[2], 0, 0, 0};
    }
    const unsigned bits = 8 * (phase & 3);
    if (bits == 0)
        return low;
    const block next = {low[1], low[2], low[3], high[0]};
    return low >> bits | next << (32 - bits);
}

// The part of the range that lies in a block: first == last where there is none.
struct part {
    unsigned long long first, last;
};

DEVICE struct part part_of(const struct cuda_kernel_arguments *args, unsigned long long at)
{
    struct part part = {at * CUDA__KERNEL_BLOCK, (at + 1) * CUDA__KERNEL_BLOCK};
    if (part.first < args->begin)
        part.first = args->begin;
    if (part.last > args->end)
        part.last = args->end;
    return part;
}

KERNEL ferry_copy(struct cuda_kernel_arguments args)
{
    const unsigned long long at = THREAD_OF(CUDA__KERNEL_GROUP);
    const struct part part = part_of(&args, at);
    const block *src = (const block *)args.src + at;
    if (part.last == part.first + CUDA__KERNEL_BLOCK) {
        ((block *)args.dst)[at] = args.phase == 0 ? src[0] : shifted_block(src, args.phase);
        return;
    }
    for (unsigned long long i = part.first; i < part.last; i++)
        ((unsigned char *)args.dst)[i] = ((const unsigned char *)args.src)[i + args.phase];
}

KERNEL ferry_fill(struct cuda_kernel_arguments args)
{
    const unsigned long long at = THREAD_OF(CUDA__KERNEL_GROUP);
    const struct part part = part_of(&args, at);
    if (part.last == part.first + CUDA__KERNEL_BLOCK) {
        ((block *)args.dst)[at] = pattern_block(&args, at);
        return;
    }
    for (unsigned long long i = part.first; i < part.last; i++)
        ((unsigned char *)args.dst)[i] =
            (unsigned char)pattern_byte(&args, (unsigned)((i - args.begin) % args.period));
}

// The bytes from one place to another by the lanes of a warp, one after the other.
DEVICE void copy_bytes(unsigned long long dst, unsigned long long src, unsigned size, unsigned lane)
{
    for (unsigned i = lane; i < size; i += CUDA__WARP)
        ((unsigned char *)dst)[i] = ((const unsigned char *)src)[i];
}

// So many blocks a lane are on their way at once: what lies in host memory is far away.
#define STEP(n) \
    for (; at + (n - 1) * CUDA__WARP < count; at += n * CUDA__WARP) { \
        block some[n]; \
        for (unsigned i = 0; i < n; i++) \
            some[i] = phase == 0 ? src[at + i * CUDA__WARP] \
                                 : shifted_block(src + at + i * CUDA__WARP, phase); \
        for (unsigned i = 0; i < n; i++) \
            dst[at + i * CUDA__WARP] = some[i]; \
    }

DEVICE void copy_aligned(block *dst, const block *src, unsigned count, unsigned lane)
{
    const unsigned phase = 0;
    unsigned at = lane;
    STEP(8)
    STEP(4)
    STEP(2)
    STEP(1)
}

DEVICE void copy_shifted(block *dst, const block *src, unsigned phase, unsigned count,
                         unsigned lane)
{
    unsigned at = lane;
    STEP(2)
    STEP(1)
}

DEVICE void copy_piece(unsigned long long dst, unsigned long long src, unsigned size, unsigned lane)
{
    const unsigned head = (unsigned)(-dst % CUDA__KERNEL_BLOCK);
    if (size < head + CUDA__KERNEL_BLOCK) {
        copy_bytes(dst, src, size, lane);
        return;
    }
    const unsigned count = (size - head) / CUDA__KERNEL_BLOCK;
    const unsigned phase = (unsigned)((src + head) % CUDA__KERNEL_BLOCK);
    block *const to = (block *)(dst + head);
    const block *const from = (const block *)(src + head - phase);
    const unsigned done = head + count * CUDA__KERNEL_BLOCK;
    copy_bytes(dst, src, head, lane);
    if (phase == 0)
        copy_aligned(to, from, count, lane);
    else
        copy_shifted(to, from, phase, count, lane);
    copy_bytes(dst + done, src + done, size - done, lane);
}

// The part of a piece that is a share: they have whole blocks, the last what is left, maybe nothing.
DEVICE void copy_share(const struct cuda_list_arguments *args, struct cuda_piece piece,
                       unsigned share, unsigned lane)
{
    const unsigned each =
        ((piece.size - 1) / (args->shares * CUDA__KERNEL_BLOCK) + 1) * CUDA__KERNEL_BLOCK;
    const unsigned long long begin = (unsigned long long)share * each;
    if (begin >= piece.size)
        return;
    const unsigned left = piece.size - (unsigned)begin;
    copy_piece(args->dst + piece.dst + begin, args->src + piece.src + begin,
               left < each ? left : each, lane);
}

// The next piece is fetched while one is copied.
LIST_KERNEL ferry_list(struct cuda_list_arguments args)
{
    const unsigned thread = (unsigned)THREAD_OF(CUDA__LIST_GROUP);
    const unsigned warp = thread / CUDA__WARP, lane = thread % CUDA__WARP;
    const struct cuda_piece *list = (const struct cuda_piece *)args.list;
    const unsigned count = args.count * args.shares;
    if (warp >= count)
        return;
    struct cuda_piece next = list[warp / args.shares];
    for (unsigned i = warp; i < count; i += args.warps) {
        const struct cuda_piece piece = next;
        if (i + args.warps < count)
            next = list[(i + args.warps) / args.shares];
        copy_share(&args, piece, i % args.shares, lane);
    }
}
