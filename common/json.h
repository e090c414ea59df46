/*
 * JSON (RFC 8259) of a file or a server that is not to be trusted, read event by event from memory.
 *
 * Nothing is allocated, nothing is copied but what the caller asks for, and nothing recurses.
 * Strict: UTF-8 without a byte order mark, numbers and escapes as the grammar has them, no lone
 * surrogate, no control character in a string, one value and nothing after it. The reader keeps to
 * its limits before it goes on, so time and memory are bounded by the text's length.
 *
 * What is said twice in an object is the caller's to refuse: ferry__json_compare.
 */
#ifndef FERRY_COMMON_JSON_H
#define FERRY_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FERRY__JSON_DEPTH_MAX = 64,        /* objects and arrays in each other */
    FERRY__JSON_NODES_MAX = 16 << 20,  /* values, keys too */
    FERRY__JSON_KEY_MAX = 65535,       /* bytes of a key, as it stands in the text */
    FERRY__JSON_STRING_MAX = 16777216, /* bytes of a string, as it stands in the text */
    FERRY__JSON_NUMBER_MAX = 1024,     /* characters of a number */
};

enum ferry__json_event {
    FERRY__JSON_WRONG, /* wrong says why; every further event is WRONG too */
    FERRY__JSON_OBJECT,
    FERRY__JSON_OBJECT_END,
    FERRY__JSON_ARRAY,
    FERRY__JSON_ARRAY_END,
    FERRY__JSON_KEY,
    FERRY__JSON_STRING,
    FERRY__JSON_NUMBER,
    FERRY__JSON_TRUE,
    FERRY__JSON_FALSE,
    FERRY__JSON_NULL,
    FERRY__JSON_END, /* the text's */
};

/* A key, a string without its quotes, or a number or word: as it stands in the text, which it is a
 * part of. */
struct ferry__json_text {
    const char *at;
    size_t size;
};

struct ferry__json {
    const char *begin, *at, *end;
    struct ferry__json_text text; /* of the last event */
    const char *wrong;            /* what is wrong, at the byte `at`; NULL: nothing */
    enum ferry__json_event event; /* the last one */
    uint32_t nodes, depth, state;
    uint64_t objects; /* a bit for each level: it is an object */
};

void ferry__json_init(struct ferry__json *json, const void *text, size_t size);

enum ferry__json_event ferry__json_next(struct ferry__json *json);

/* After the event that a value begins with: reads to its end. False: WRONG. */
bool ferry__json_skip(struct ferry__json *json);

/* The byte of the text at which it is wrong, from 0 on. */
size_t ferry__json_where(const struct ferry__json *json);

/* Of keys and strings, escapes resolved. A string may hold bytes 0. */
bool ferry__json_is(struct ferry__json_text text, const char *words);
int ferry__json_compare(struct ferry__json_text a, struct ferry__json_text b); /* as memcmp */

/* Writes at most capacity - 1 bytes and a 0; returns how many the whole has without that 0, which
 * is at most text.size. */
size_t ferry__json_copy(struct ferry__json_text text, char *out, size_t capacity);

/* A number without sign, fraction and exponent, below 2^63. */
bool ferry__json_whole(struct ferry__json_text text, uint64_t *out);

#endif
