/* Ranges of bytes, and rounding. */
#ifndef FERRY_BASE_RANGE_H
#define FERRY_BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* Is size 0 or [offset, offset + size) inside [0, total)? Cannot wrap. */
static inline bool ferry__in_range(uint64_t offset, uint64_t size, uint64_t total)
{
    return offset <= total && size <= total - offset;
}

/* Do two ranges share a byte? */
static inline bool ferry__overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b ? b - a < a_size && b_size > 0 : a - b < b_size && a_size > 0;
}

static inline uint64_t ferry__round_up(uint64_t n, uint64_t power_of_2)
{
    return (n + power_of_2 - 1) & ~(power_of_2 - 1);
}

static inline uint64_t ferry__round_down(uint64_t n, uint64_t power_of_2)
{
    return n & ~(power_of_2 - 1);
}

static inline uint64_t ferry__least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t ferry__most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
