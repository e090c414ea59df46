/* Reserved words of parameter structs. */
#ifndef FERRY_BASE_WORDS_H
#define FERRY_BASE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reserved words of a parameter struct are zero, so that they may mean something some day. */
static inline bool ferry__all_zero(const uint64_t *words, size_t size)
{
    uint64_t any = 0;
    for (size_t i = 0; i < size / sizeof *words; i++)
        any |= words[i];
    return !any;
}

#endif
