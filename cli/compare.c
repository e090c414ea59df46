#include "compare.h"

#include "cli.h"

#include <string.h>

/* memcmp does not say where; it finds the block, and a loop the byte. */
enum { BLOCK = 65536 };

size_t compare_bytes(const void *expected, const void *got, size_t size)
{
    const unsigned char *a = expected, *b = got;
    for (size_t at = 0; at < size; at += BLOCK) {
        size_t length = size - at < BLOCK ? size - at : BLOCK;
        if (memcmp(a + at, b + at, length) == 0)
            continue;
        while (a[at] == b[at])
            at++;
        return at;
    }
    return size;
}

void compare_why(char *why, const void *expected, const void *got, size_t offset,
                 unsigned long long base)
{
    snprintf(why, CLI_WHY_MAX, "the byte at offset %llu came back as 0x%02x, not 0x%02x",
             base + offset, ((const unsigned char *)got)[offset],
             ((const unsigned char *)expected)[offset]);
}
