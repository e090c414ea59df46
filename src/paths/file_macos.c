#include "paths/file.h"

#include <errno.h>
#include <stdbool.h>

/* There is F_NOCACHE, which asks nothing of addresses and sizes, and so nothing of us. */
bool ferry__file_is_direct(int flags)
{
    (void)flags;
    return false;
}

int ferry__file_reopen(int fd, bool write)
{
    (void)fd;
    (void)write;
    return -1;
}

int64_t ferry__file_read_cached(int fd, void *memory, size_t size, uint64_t offset)
{
    (void)fd;
    (void)memory;
    (void)size;
    (void)offset;
    return -EOPNOTSUPP;
}
