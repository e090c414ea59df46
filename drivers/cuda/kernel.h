/* The arguments of kernel.cu's kernels: what the driver passes and the strict CUDA of the tests
 * reads. Plain C and CUDA alike. */
#ifndef FERRY_DRIVERS_CUDA_KERNEL_H
#define FERRY_DRIVERS_CUDA_KERNEL_H

/* Byte p of the destination, begin <= p < end, becomes byte p + phase of the source, or of the
 * pattern that begins at begin. */
struct cuda_kernel_arguments {
    unsigned long long dst, src;   /* addresses, rounded down to blocks of 16 bytes */
    unsigned long long begin, end; /* begin: below 16 */
    unsigned phase;                /* of the source: below 16 */
    unsigned period;               /* of the pattern */
    unsigned pattern[4];
};

enum { CUDA__KERNEL_BLOCK = 16, CUDA__KERNEL_GROUP = 256 };

/* A piece of a list: offsets from the two addresses of the arguments, which the driver leaves 0. As
 * the engine writes it. */
struct cuda_piece {
    unsigned long long dst, src;
    unsigned size, zero;
};

/* A list of pieces, each in shares, by warps: each takes every warps-th share. */
struct cuda_list_arguments {
    unsigned long long dst, src, list; /* addresses */
    unsigned count, warps, shares;
};

enum { CUDA__WARP = 32, CUDA__LIST_GROUP = 1024 };

#endif
