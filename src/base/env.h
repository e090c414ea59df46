/* The environment, which the library and all that is built beside it reads in this one way. */
#ifndef FERRY_BASE_ENV_H
#define FERRY_BASE_ENV_H

#include <ferry/ferry.h>

/* What getenv gives; NULL also where the process has more rights than whoever started it (setuid,
 * setgid, file capabilities): its environment is that caller's, and may name code to load or files
 * to write. */
const char *ferry__env(const char *name);

/* Of the library (env.c): FERRY_LOG is heeded; a value that is none of a variable's words is
 * INVALID_ARGUMENT; names that are nearly one of ours are logged, once in a process. */
enum ferry_status ferry__env_check(void);

#endif
