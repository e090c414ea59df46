/*
 * GGUF, as its files see it. gguf_reader.c: bytes, numbers and strings of a header. gguf_metadata.c:
 * the metadata. gguf.c: tensors, and the file.
 */
#ifndef FERRY_MODELS_GGUF_H
#define FERRY_MODELS_GGUF_H

#include "models.h"

enum { FERRY__GGUF_WINDOW = 32 << 10, FERRY__GGUF_KEY_MAX = 65535 /* bytes */ };

/* --- gguf_reader.c ---------------------------------------------------------------------------- */

struct ferry__gguf_reader {
    const struct ferry__source *source;
    uint64_t at;           /* next byte of the file */
    uint64_t elements;     /* of arrays, walked over so far */
    uint64_t window_begin; /* of what window holds */
    size_t window_size;
    unsigned char window[FERRY__GGUF_WINDOW];
};

enum ferry_status ferry__gguf_get(struct ferry__gguf_reader *reader, void *memory, size_t size);
enum ferry_status ferry__gguf_skip(struct ferry__gguf_reader *reader, uint64_t size);
/* Little-endian numbers of up to 8 bytes. */
enum ferry_status ferry__gguf_number(struct ferry__gguf_reader *reader, size_t size, uint64_t *out);
/* A string of at most max bytes into text, which has one more. */
enum ferry_status ferry__gguf_string(struct ferry__gguf_reader *reader, const char *what,
                                     char *text, size_t max, size_t *out_length);
/* What a file begins with: magic, version, and how many tensors and pairs of metadata there are. */
enum ferry_status ferry__gguf_begin(struct ferry__gguf_reader *reader, uint32_t *out_version,
                                    uint64_t *out_tensors, uint64_t *out_pairs);

/* --- gguf_metadata.c -------------------------------------------------------------------------- */

/* The keys that are looked at; whole numbers all. */
enum ferry__gguf_key {
    FERRY__GGUF_ALIGNMENT,
    FERRY__GGUF_SPLIT_NUMBER,
    FERRY__GGUF_SPLIT_COUNT,
    FERRY__GGUF_SPLIT_TENSORS,
    FERRY__GGUF_KEY_COUNT
};

struct ferry__gguf_metadata {
    bool seen[FERRY__GGUF_KEY_COUNT];
    uint64_t values[FERRY__GGUF_KEY_COUNT]; /* the alignment is there always */
    char key[FERRY__GGUF_KEY_MAX + 1];
};

/* Walks over count pairs. */
enum ferry_status ferry__gguf_read_metadata(struct ferry__gguf_reader *reader, uint64_t count,
                                            struct ferry__gguf_metadata *out);

#endif
