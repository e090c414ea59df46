/* Finds where two ranges of memory differ. */
#ifndef FERRY_CLI_COMPARE_H
#define FERRY_CLI_COMPARE_H

#include <stddef.h>

/* The offset of the first byte that differs; size: none does. */
size_t compare_bytes(const void *expected, const void *got, size_t size);

/* Says which byte came back wrong, in words: base is the offset of the range in the whole. why has
 * CLI_WHY_MAX bytes. */
void compare_why(char *why, const void *expected, const void *got, size_t offset,
                 unsigned long long base);

#endif
