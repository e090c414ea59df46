/*
 * Other ways for the same bytes, measured beside Ferry's in the same rounds: each an adapter over a
 * library that is opened at run time. An adapter knows nothing of Ferry.
 *
 * What can fail returns NULL, or the reason in words, which lives until the next failure.
 * Operations take effect in the order of their calls, and may be done later than they return:
 * finish waits for them all. One thread uses a device. Sizes and offsets are in bytes; offsets are
 * multiples of 4.
 */
#ifndef FERRY_BENCH_PEER_H
#define FERRY_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_WHY_MAX = 256, PEER_PATTERN = 4 };

/* The device that Ferry is measured on, and so the one that a peer is to open. */
struct peer_wish {
    uint8_t uuid[16]; /* zero: it has none */
    bool cpu;         /* it is the CPU in truth */
};

/* Scattered blocks, by one of the ways that an interface has for them. */
enum peer_way { PEER_BLOCKS_LOOP, PEER_BLOCKS_BATCH, PEER_BLOCKS_KERNEL };
enum peer_direction { PEER_UP, PEER_DOWN, PEER_WITHIN };
struct peer_block {
    size_t to, from, size; /* offsets on either side */
};

/* Optional: copy, fill, both, blocks, and host_alloc with host_free; NULL where a peer has none. */
struct peer {
    const char *name;
    const char *(*open)(const struct peer_wish *wish, void **out_device);
    void (*close)(void *device);
    const char *(*make)(void *device, size_t size, void **out_buffer);
    void (*destroy)(void *device, void *buffer);
    const char *(*upload)(void *device, void *to, size_t offset, const void *from, size_t size);
    const char *(*download)(void *device, void *to, void *from, size_t offset, size_t size);
    const char *(*copy)(void *device, void *to, void *from, size_t offset, size_t size);
    const char *(*fill)(void *device, void *to, size_t offset, size_t size,
                        const unsigned char *pattern); /* PEER_PATTERN bytes, so is size */
    /* Up to the buffer's beginning and down from an offset, at the same time. Waits for both. */
    const char *(*both)(void *device, void *buffer, const void *up, size_t offset, void *down,
                        size_t size);
    /* Between the buffer and host memory, or within the buffer. Waits until all is done. */
    const char *(*blocks)(void *device, enum peer_way way, enum peer_direction direction,
                          void *buffer, void *host, const struct peer_block *blocks, size_t count);
    const char *(*finish)(void *device);
    const char *(*host_alloc)(void *device, size_t size, void **out_memory); /* page-locked */
    void (*host_free)(void *device, void *memory);
};

enum peer_id { PEER_LIBPLACEBO, PEER_LIBPLACEBO_STAGED, PEER_OPENCL, PEER_CUDA, PEER_COUNT };

extern const struct peer peer_libplacebo, peer_libplacebo_staged, peer_opencl, peer_cuda;

/* --- the library of an adapter (library.c) ---------------------------------------------------- */

/* A function of the library, and where its address goes. */
struct peer_symbol {
    const char *name;
    size_t offset;
};

/*
 * Opens a library by its name, for good, and writes its functions' addresses into the struct at
 * functions. The reason lives until the next failing call.
 */
const char *peer_library(const char *name, const struct peer_symbol *symbols, size_t count,
                         void *functions);

#endif
