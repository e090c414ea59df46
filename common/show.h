/* Text that others have written (names in files, labels, what a device or a server calls itself) as
 * it may be shown: in a message, a log, a terminal. */
#ifndef FERRY_COMMON_SHOW_H
#define FERRY_COMMON_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* May a character stand as it is? Not those that a terminal obeys (C0, DEL, C1), that end a line,
 * or that turn the order of what is read or hide in it (bidirectional marks, tags, byte order
 * mark). */
bool ferry__is_shown(uint32_t code);

/* Those become \n, \x1b or \u202e, and so do bytes that are not UTF-8. What does not fit into
 * capacity (at least 4) is cut, and ends in "...". Returns the length. What was shown stays as it
 * is when it is shown again; out is not text. */
size_t ferry__show_text(char *out, size_t capacity, const char *text);

#endif
