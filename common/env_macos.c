#include "common/env.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

const char *ferry__env(const char *name)
{
    return issetugid() ? NULL : getenv(name);
}
