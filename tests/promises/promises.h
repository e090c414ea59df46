/* What the tests of the promises share, besides the suite's. */
#ifndef FERRY_TESTS_PROMISES_H
#define FERRY_TESTS_PROMISES_H

#include "suite.h"

/* Runs body in a forked child; the test fails if that does not return 0 within a minute. */
void in_child(int (*body)(void *arg), void *arg);

/* The configuration's device, with private buffers that the CPU does not reach: work on them goes through the device. */
ferry_device *queued_device(void);

#endif
