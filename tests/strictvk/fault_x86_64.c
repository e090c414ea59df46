#define _GNU_SOURCE /* REG_ERR */
#include "strict.h"

#include <ucontext.h>

bool fault_tells(void)
{
    return true;
}

/* Bit 1 of the processor's error code for a page fault. */
bool fault_writes(const void *context)
{
    return ((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2;
}
