#include "starve.h"

#include "base/base.h"

const bool starve_is_whole = false;

static uint64_t first;

/* Of Ferry's own there is one hook, for one failure: all is not more than that here. */
void starve_at(uint64_t n, bool all)
{
    (void)all;
    first = n;
    ferry__alloc_fail_at(n);
}

bool starve_end(void)
{
    return ferry__alloc_fail_at(0) >= first && first > 0;
}
