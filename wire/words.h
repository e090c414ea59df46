/* Reasons and log lines of libferry_wire. */
#ifndef FERRY_WIRE_WORDS_H
#define FERRY_WIRE_WORDS_H

#include <ferry/ferry.h>

#define FERRY_WIRE_PRINTF(text, first) __attribute__((format(printf, text, first)))

#define FERRY_WIRE_MS UINT64_C(1000000)

enum { FERRY_WIRE_WHY_MAX = 512 };

/* Sets ferry_last_error(), and returns status. */
enum ferry_status ferry__wire_fail(enum ferry_status status, const char *format, ...)
    FERRY_WIRE_PRINTF(2, 3);

void ferry__wire_log(enum ferry_log_level level, const char *format, ...) FERRY_WIRE_PRINTF(2, 3);

/* snprintf, for a text of a peer's: what a terminal would obey is escaped. */
void ferry__wire_show(char *out, size_t capacity, const void *text, size_t size);

uint64_t ferry__wire_now_ns(void); /* CLOCK_MONOTONIC */

#endif
