#include "memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t calls;   /* since the last ferry__wire_alloc_fail_at */
static _Atomic uint64_t fail_at; /* the call that fails; 0: none */

static bool must_fail(void)
{
    const uint64_t call = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1;
    return call == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

void *ferry__wire_alloc(size_t size)
{
    return must_fail() ? NULL : calloc(1, size);
}

void *ferry__wire_realloc(void *memory, size_t size)
{
    return must_fail() ? NULL : realloc(memory, size);
}

char *ferry__wire_copy_text(const char *text)
{
    return must_fail() ? NULL : strdup(text);
}

uint64_t ferry__wire_alloc_fail_at(uint64_t n)
{
    atomic_store(&fail_at, 0);
    const uint64_t before = atomic_exchange(&calls, 0);
    atomic_store(&fail_at, n);
    return before;
}
