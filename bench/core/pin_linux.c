#define _GNU_SOURCE
#include "measure.h"

#include <sched.h>

static cpu_set_t before;
static bool pinned;
static int cpu = -1; /* chosen once: the threads of a device that was opened pinned stay there */

bool bench_pin(void)
{
    if (pinned)
        return true;
    if (cpu < 0)
        cpu = sched_getcpu();
    if (cpu < 0 || sched_getaffinity(0, sizeof before, &before) != 0)
        return false;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)cpu, &one);
    pinned = sched_setaffinity(0, sizeof one, &one) == 0;
    return pinned;
}

void bench_unpin(void)
{
    if (pinned)
        sched_setaffinity(0, sizeof before, &before);
    pinned = false;
}

void bench_place(unsigned index)
{
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2)
        return;
    CPU_ZERO(&one);
    unsigned skip = index % (unsigned)CPU_COUNT(&all);
    for (unsigned i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, &all) || skip-- > 0)
            continue;
        CPU_SET(i, &one);
        break;
    }
    if (sched_setaffinity(0, sizeof one, &one) == 0)
        sched_setaffinity(0, sizeof all, &all);
}
