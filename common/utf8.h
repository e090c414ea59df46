/* UTF-8, as RFC 3629 has it: no overlong forms, no surrogates, nothing over U+10FFFF. */
#ifndef FERRY_COMMON_UTF8_H
#define FERRY_COMMON_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that lies at the first of left bytes, and its code point; 0: none. */
unsigned ferry__utf8_read(const void *at, size_t left, uint32_t *out_code);

/* Writes a code point, at most 4 bytes; returns how many. */
unsigned ferry__utf8_write(uint32_t code, char *out);

#endif
