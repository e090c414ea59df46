#define _GNU_SOURCE
#include "load_bench.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

bool load_bench_forget(int fd)
{
    /* What is not on the disk yet cannot be forgotten. */
    return fdatasync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
}

bool load_bench_can_forget(int fd)
{
    return posix_fadvise(fd, 0, 1, POSIX_FADV_NORMAL) == 0;
}

int load_bench_open_direct(const char *path)
{
    return open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

void load_bench_use_huge(void *memory, size_t size)
{
    (void)!madvise(memory, size, MADV_HUGEPAGE); /* then in small ones */
}
