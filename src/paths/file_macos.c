#include "paths/file.h"

#include <stdbool.h>

/* There is F_NOCACHE, which asks nothing of addresses and sizes, and so nothing of us. */
bool ferry__file_is_direct(int flags)
{
    (void)flags;
    return false;
}

int ferry__file_reopen(int fd)
{
    (void)fd;
    return -1;
}
