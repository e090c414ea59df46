/* How long a test, or a step of one, may take before SIGALRM ends it as one that hangs: a little
 * before CTest would (FERRY_TEST_TIMEOUT), and many times what any takes under a sanitizer on a
 * loaded machine. */
#ifndef FERRY_TESTS_HANG_H
#define FERRY_TESTS_HANG_H

enum { HANG_SECONDS = 900 };

#endif
