#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "common/env.h"

#include <stdlib.h>

const char *ferry__env(const char *name)
{
    return secure_getenv(name);
}
