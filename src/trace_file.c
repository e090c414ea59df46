#include "trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file that this process closed last: opened again, it goes on. One trace is open at a time. */
static struct {
    dev_t device;
    ino_t inode;
    uint64_t end;
} last;

/* %p in the name stands for the process id. False: it is too long. */
static bool expand(const char *name, char path[PATH_MAX])
{
    size_t length = 0;
    while (*name != '\0' && length < PATH_MAX) {
        bool is_pid = name[0] == '%' && name[1] == 'p';
        length += is_pid ? (size_t)snprintf(path + length, PATH_MAX - length, "%ld", (long)getpid())
                         : (path[length] = *name, 1u);
        name += is_pid ? 2 : 1;
    }
    if (length >= PATH_MAX)
        return false;
    path[length] = '\0';
    return true;
}

static bool write_at(int fd, const char *text, size_t length, uint64_t offset)
{
    while (length > 0) {
        ssize_t written = pwrite(fd, text, length, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        text += written;
        length -= (size_t)written;
        offset += (uint64_t)written;
    }
    return true;
}

static bool is_last(const struct stat *now)
{
    return last.end > 0 && now->st_dev == last.device && now->st_ino == last.inode &&
           (uint64_t)now->st_size == last.end + FERRY__TRACE_END_SIZE;
}

/* False: errno. */
static bool begin(struct ferry__trace_file *file, const char *first)
{
    struct stat now;
    char text[512];
    if (fstat(file->fd, &now) != 0)
        return false;
    file->end = is_last(&now) ? last.end : 0;
    if (file->end > 0)
        return true;
    if (S_ISREG(now.st_mode) && ftruncate(file->fd, 0) != 0)
        return false;
    int length = snprintf(text, sizeof text - FERRY__TRACE_END_SIZE, "[\n%s", first);
    return ferry__trace_file_append(file, text, (size_t)length);
}

bool ferry__trace_file_open(struct ferry__trace_file *file, const char *name, const char *first,
                            char *why, size_t why_size)
{
    char path[PATH_MAX];
    if (!expand(name, path)) {
        snprintf(why, why_size, "the name is longer than %d bytes", PATH_MAX - 1);
        return false;
    }
    file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (file->fd < 0) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return false;
    }
    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        snprintf(why, why_size, "%s: another process writes it; %%p in the name is the process id",
                 path);
    else if (!begin(file, first))
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
    else
        return true;
    close(file->fd);
    return false;
}

bool ferry__trace_file_append(struct ferry__trace_file *file, char *text, size_t length)
{
    memcpy(text + length, FERRY__TRACE_END, FERRY__TRACE_END_SIZE);
    if (write_at(file->fd, text, length + FERRY__TRACE_END_SIZE, file->end)) {
        file->end += length;
        return true;
    }
    /* A full disk takes a part: it is cut off, and the end put back where it was. */
    int error = errno;
    if (file->end > 0 && ftruncate(file->fd, (off_t)file->end) == 0)
        (void)write_at(file->fd, FERRY__TRACE_END, FERRY__TRACE_END_SIZE, file->end);
    errno = error;
    return false;
}

void ferry__trace_file_close(struct ferry__trace_file *file)
{
    struct stat now;
    last.end = 0;
    if (fstat(file->fd, &now) == 0) {
        last.device = now.st_dev;
        last.inode = now.st_ino;
        last.end = file->end;
    }
    close(file->fd);
}

void ferry__trace_file_forget(struct ferry__trace_file *file)
{
    last.end = 0;
    close(file->fd);
}
