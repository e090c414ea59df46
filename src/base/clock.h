/* Time, in nanoseconds. */
#ifndef FERRY_BASE_CLOCK_H
#define FERRY_BASE_CLOCK_H

#include <stdint.h>

uint64_t ferry__now_ns(void); /* CLOCK_MONOTONIC */

/* now + timeout_ns, that does not wrap. */
uint64_t ferry__deadline(uint64_t timeout_ns);

#endif
