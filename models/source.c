#include "models.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_MAX = 1 << 30 }; /* systems read at most 2^31 - 1 bytes or so at once */

enum ferry_status ferry__source_open(struct ferry__source *source, const char *path)
{
    struct stat about;
    *source = (struct ferry__source){.fd = -1};
    /* NONBLOCK: the open of a pipe without a writer must not hang. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ferry__fail(ferry__status_of_errno(errno), "cannot open %s: %s", path,
                           strerror(errno));
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(fd);
        return ferry__fail(FERRY_ERROR_IO, "%s is not a regular file", path);
    }
    source->path = ferry__copy_text(path, strlen(path));
    if (!source->path) {
        close(fd);
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory to open %s", path);
    }
    source->fd = fd;
    source->size = (uint64_t)about.st_size;
    return FERRY_OK;
}

void ferry__source_close(struct ferry__source *source)
{
    if (source->fd >= 0)
        close(source->fd);
    ferry__free(source->path);
    *source = (struct ferry__source){.fd = -1};
}

enum ferry_status ferry__source_read(const struct ferry__source *source, void *memory, size_t size,
                                     uint64_t offset)
{
    if (offset > source->size || size > source->size - offset)
        return ferry__fail(FERRY_ERROR_IO, "%s: %zu bytes at %llu lie past its end (%llu)",
                           source->path, size, (unsigned long long)offset,
                           (unsigned long long)source->size);
    if (source->memory) {
        if (size > 0)
            memcpy(memory, source->memory + offset, size);
        return FERRY_OK;
    }
    for (size_t done = 0; done < size;) {
        size_t piece = size - done < READ_MAX ? size - done : READ_MAX;
        ssize_t n =
            pread(source->fd, (unsigned char *)memory + done, piece, (off_t)(offset + done));
        if (n > 0)
            done += (size_t)n;
        else if (n == 0)
            return ferry__fail(FERRY_ERROR_IO, "%s ends at byte %llu; it had %llu when opened",
                               source->path, (unsigned long long)(offset + done),
                               (unsigned long long)source->size);
        else if (errno != EINTR)
            return ferry__fail(ferry__status_of_errno(errno), "reading %s at byte %llu: %s",
                               source->path, (unsigned long long)(offset + done), strerror(errno));
    }
    return FERRY_OK;
}

enum ferry_status ferry__source_wrong(const struct ferry__source *source, const char *format, ...)
{
    char why[320];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s: %s", source->path, why);
}
