#include "load_bench.h"

/* There is no call for it. */
bool load_bench_forget(int fd)
{
    (void)fd;
    return false;
}

bool load_bench_can_forget(int fd)
{
    (void)fd;
    return false;
}

int load_bench_open_direct(const char *path)
{
    (void)path;
    return -1;
}

void load_bench_use_huge(void *memory, size_t size)
{
    (void)memory;
    (void)size;
}
