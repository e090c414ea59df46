/* Triton's functions, found in the running process. Used by the library and the backend. */
#ifndef FERRY_TRITON_CALLS_H
#define FERRY_TRITON_CALLS_H

#include "types.h"

struct ferry__triton_calls {
#define TRITON_CALL(returns, name, parameters) returns(*name) parameters;
#define TRITON_OPTIONAL TRITON_CALL
#include <ferry/triton_api/calls.inc>
#undef TRITON_CALL
#undef TRITON_OPTIONAL
};

/* Valid after ferry__triton_find has returned NULL once. */
extern struct ferry__triton_calls ferry__triton;

/*
 * Finds the server's functions: among the symbols that all see, else in each library of the
 * process, for a host that loaded the server for itself alone. NULL, or why not, in words that live
 * until this thread's next call. The first success settles it for the life of the process.
 */
const char *ferry__triton_find(void);

/* calls_linux.c, calls_macos.c: calls visit for each library of the process, until it is true.
 * False: there was no memory to find them all. */
bool ferry__triton_each_library(bool (*visit)(const char *path, void *user), void *user);

#endif
