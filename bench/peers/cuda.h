/* What the files of the CUDA adapter share. */
#ifndef FERRY_BENCH_PEERS_CUDA_H
#define FERRY_BENCH_PEERS_CUDA_H

#include "peer.h"

struct functions {
    int (*init)(unsigned flags);
    int (*error_string)(int error, const char **out_text);
    int (*device_count)(int *out_count);
    int (*device_get)(int *out_device, int index);
    int (*device_uuid)(unsigned char *out_uuid, int device);
    int (*context_retain)(void **out_context, int device);
    int (*context_release)(int device);
    int (*context_use)(void *context);
    int (*stream_create)(void **out_stream, unsigned flags);
    int (*stream_destroy)(void *stream);
    int (*stream_wait)(void *stream);
    int (*memory_alloc)(uint64_t *out_address, size_t size);
    int (*memory_free)(uint64_t address);
    int (*host_alloc)(void **out_memory, size_t size);
    int (*host_free)(void *memory);
    int (*upload)(uint64_t to, const void *from, size_t size, void *stream);
    int (*download)(void *to, uint64_t from, size_t size, void *stream);
    int (*copy)(uint64_t to, uint64_t from, size_t size, void *stream);
    int (*fill)(uint64_t to, unsigned word, size_t words, void *stream);
};

struct blocks_state;

struct device {
    struct functions cuda;
    int device;
    void *context, *stream, *other; /* other: for the second way of both, NULL: not needed so far */
    struct blocks_state *blocks;    /* NULL: not needed so far */
};

struct buffer {
    uint64_t address;
};

/* NULL: it was no error. */
const char *peer_cuda_why(const struct device *device, int error);

/* cuda_blocks.c */
const char *peer_cuda_blocks(void *device, enum peer_way way, enum peer_direction direction,
                             void *buffer, void *host, const struct peer_block *blocks,
                             size_t count);
void peer_cuda_blocks_close(struct device *device);

#endif
