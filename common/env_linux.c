#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "common/env.h"

#include <stdlib.h>
#include <sys/auxv.h>

const char *ferry__env(const char *name)
{
    return secure_getenv(name);
}

bool ferry__env_is_another_users(void)
{
    return getauxval(AT_SECURE) != 0;
}
