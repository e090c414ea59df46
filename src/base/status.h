/* Errors: the reason that ferry_last_error() gives. */
#ifndef FERRY_BASE_STATUS_H
#define FERRY_BASE_STATUS_H

#include "base/compiler.h"

#include <ferry/ferry.h>

/* Sets this thread's ferry_last_error(), logs it at INFO, returns status. */
enum ferry_status ferry__fail(enum ferry_status status, const char *format, ...)
    FERRY__PRINTF(2, 3) FERRY__COLD;

/* Sets this thread's ferry_last_error() to why, logs nothing: for a reason that was logged. */
void ferry__set_error(const char *why);

/* What fails between these two on this thread leaves the user's ferry_last_error() alone, unless
 * the status says that it was not recovered from. In between, ferry_last_error() is of what was
 * tried, and so it stays until something else is. They nest. */
void ferry__error_begin(void);
void ferry__error_end(enum ferry_status status);

/* Of a system call about a file that failed: a want of memory is told as such, all else as IO. */
enum ferry_status ferry__status_of_errno(int error);

#endif
