/* Whether the environment makes sense. */
#ifndef FERRY_BASE_ENV_H
#define FERRY_BASE_ENV_H

#include "common/env.h"

#include <ferry/ferry.h>

/* FERRY_LOG is heeded; a value that is none of a variable's words is INVALID_ARGUMENT; names that
 * are nearly one of ours are logged, once in a process. */
enum ferry_status ferry__env_check(void);

#endif
