/* Where nobody has written down how the processor tells a read from a write. */
#include "strict.h"

bool fault_tells(void)
{
    return false;
}

bool fault_writes(const void *context)
{
    (void)context;
    return true;
}
