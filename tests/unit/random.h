/* Random numbers that are the same on every machine (xorshift64). */
#ifndef FERRY_TEST_RANDOM_H
#define FERRY_TEST_RANDOM_H

#include <stdint.h>

/* *seed is not 0. */
static inline uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

#endif
