#define _GNU_SOURCE
#include "paths/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/uio.h>

bool ferry__file_is_direct(int flags)
{
    return flags & O_DIRECT;
}

int ferry__file_reopen(int fd, bool write)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, (write ? O_WRONLY : O_RDONLY | O_DIRECT) | O_CLOEXEC);
}

int64_t ferry__file_read_cached(int fd, void *memory, size_t size, uint64_t offset)
{
    const struct iovec part = {memory, size};
    const ssize_t got = preadv2(fd, &part, 1, (off_t)offset, RWF_NOWAIT);
    if (got >= 0)
        return got;
    /* Old systems, and some file systems, know no such flag. */
    return errno == ENOSYS || errno == EINVAL ? -EOPNOTSUPP : -errno;
}
