#include "load_bench.h"

/* There is no call for it. */
bool load_bench_forget(int fd)
{
    (void)fd;
    return false;
}
