/* Text put together piece by piece, with the quoting of JSON and of Prometheus. */
#ifndef FERRY_BASE_TEXT_H
#define FERRY_BASE_TEXT_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

/* Counts all that is put, keeps what there is room for. */
struct ferry__text {
    char *out;
    size_t capacity, length;
};

void ferry__put(struct ferry__text *text, const char *format, ...) FERRY__PRINTF(2, 3);

/* To the nanosecond. By integers: the same in every locale, and exact. */
void ferry__put_seconds(struct ferry__text *text, uint64_t time_ns);
void ferry__put_microseconds(struct ferry__text *text, uint64_t time_ns);

/* In double quotes; what is not UTF-8 becomes U+FFFD, and what a terminal would obey is escaped. */
void ferry__put_json(struct ferry__text *text, const char *string);
void ferry__put_label(struct ferry__text *text, const char *string); /* a label's value */

#endif
