#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t calls;   /* since the last ferry__alloc_fail_at */
static _Atomic uint64_t fail_at; /* the call that fails; 0: none */

static bool must_fail(void)
{
    uint64_t call = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1;
    return call == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

/* Size 0 is served as 1, so that NULL means one thing only. What is small is cleared here: glibc's
 * calloc takes nothing from the thread's cache, which what was freed last fills. */
void *ferry__alloc(size_t size)
{
    enum { SMALL = 1024 };
    if (must_fail())
        return NULL;
    if (size > SMALL)
        return calloc(1, size);
    void *memory = malloc(size > 0 ? size : 1);
    return memory ? memset(memory, 0, size) : NULL;
}

void *ferry__alloc_unset(size_t size)
{
    return must_fail() ? NULL : malloc(size > 0 ? size : 1);
}

void *ferry__realloc(void *memory, size_t size)
{
    return must_fail() ? NULL : realloc(memory, size > 0 ? size : 1);
}

void ferry__free(void *memory)
{
    free(memory);
}

uint64_t ferry__alloc_fail_at(uint64_t n)
{
    atomic_store(&fail_at, 0);
    uint64_t before = atomic_exchange(&calls, 0);
    atomic_store(&fail_at, n);
    return before;
}

bool ferry__reserve(void **array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    const size_t wanted = *capacity ? *capacity * 2 : 16;
    void *grown = ferry__realloc(*array, wanted * size);
    if (!grown)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}
