// The copy and the fill kernel: scripts/ptx.sh makes kernel.inc of this file.
//
// It is C and CUDA at once: the strict CUDA of the tests compiles it for the CPU, where it sets the
// macros. A thread writes one block of 16 bytes of the destination: whole by one store, and at the
// two ends of the range by single bytes. Nothing outside the range is written, not even with what
// was there. A load takes a whole block of the source, in which at least one byte is of the range.
#include "kernel.h"

#ifndef KERNEL
#define KERNEL extern "C" __attribute__((global)) void
#define DEVICE static __attribute__((device))
#define THREAD \
    ((unsigned long long)__nvvm_read_ptx_sreg_ctaid_x() * CUDA__KERNEL_GROUP + \
     __nvvm_read_ptx_sreg_tid_x())
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
    const unsigned long long at = THREAD;
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
    const unsigned long long at = THREAD;
    const struct part part = part_of(&args, at);
    if (part.last == part.first + CUDA__KERNEL_BLOCK) {
        ((block *)args.dst)[at] = pattern_block(&args, at);
        return;
    }
    for (unsigned long long i = part.first; i < part.last; i++)
        ((unsigned char *)args.dst)[i] =
            (unsigned char)pattern_byte(&args, (unsigned)((i - args.begin) % args.period));
}
