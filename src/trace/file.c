#include "trace/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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

/* Does it begin as a trace of some process's does? Before first's last word, the process. */
static bool is_trace(int fd, const char *first)
{
    char wanted[FERRY__TRACE_FIRST_MAX + 2], there[sizeof wanted];
    const char *process = strrchr(first, ' ');
    const int length =
        snprintf(wanted, sizeof wanted, "[\n%.*s", process ? (int)(process - first) : 0, first);
    return process && pread(fd, there, (size_t)length, 0) == length &&
           !memcmp(there, wanted, (size_t)length);
}

/* Whose file is it? NULL: ours to write, from the beginning if it is not the one closed last. */
static const char *refuse(int fd, const struct stat *now, const char *first)
{
    if (!S_ISREG(now->st_mode))
        return "it is no regular file";
    if (now->st_uid != geteuid())
        return "it belongs to another user";
    if (now->st_nlink > 1)
        return "it has another name too (a hard link)";
    if (now->st_size > 0 && !is_trace(fd, first))
        return "there is a file already, and it is no trace";
    return NULL;
}

/* A new file that nobody else may read, or one that is there. -1: errno. */
static int open_file(const char *path)
{
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    const int fd = open(path, flags | O_CREAT | O_EXCL, S_IRUSR | S_IWUSR);
    return fd < 0 && errno == EEXIST ? open(path, flags) : fd;
}

/* NULL: done. Else the reason, in words or errno's. */
static const char *begin(struct ferry__trace_file *file, const char *first)
{
    struct stat now;
    char text[FERRY__TRACE_FIRST_MAX + 16];
    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return "another process writes it; %p in the name is the process id";
    if (fstat(file->fd, &now) != 0)
        return strerror(errno);
    const char *why = refuse(file->fd, &now, first);
    if (why)
        return why;
    file->end = is_last(&now) ? last.end : 0;
    if (file->end > 0)
        return NULL;
    if (fchmod(file->fd, S_IRUSR | S_IWUSR) != 0 || ftruncate(file->fd, 0) != 0)
        return strerror(errno);
    int length = snprintf(text, sizeof text - FERRY__TRACE_END_SIZE, "[\n%s", first);
    return ferry__trace_file_append(file, text, (size_t)length) ? NULL : strerror(errno);
}

bool ferry__trace_file_open(struct ferry__trace_file *file, const char *name, const char *first,
                            char *why, size_t why_size)
{
    char path[PATH_MAX];
    if (!expand(name, path)) {
        snprintf(why, why_size, "the name is longer than %d bytes", PATH_MAX - 1);
        return false;
    }
    file->fd = open_file(path);
    if (file->fd < 0) {
        snprintf(why, why_size, "%s: %s", path,
                 errno == ELOOP ? "it is a symbolic link" : strerror(errno));
        return false;
    }
    const char *wrong = begin(file, first);
    if (!wrong)
        return true;
    snprintf(why, why_size, "%s: %s", path, wrong);
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
