#include "starve.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

const bool starve_is_whole = false;

/* The linker looks for these on behalf of libraries, too. */
#define PUBLIC __attribute__((visibility("default")))

/* The linker calls these what the program's objects call malloc, and malloc what is really called. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
PUBLIC void *__wrap_malloc(size_t size);
PUBLIC void *__wrap_calloc(size_t count, size_t size);
PUBLIC void *__wrap_realloc(void *memory, size_t size);

static _Atomic uint64_t calls, first; /* first 0: none fails */
static _Atomic bool on, failed;

void starve_at(uint64_t n, bool all)
{
    atomic_store(&calls, 0);
    atomic_store(&failed, false);
    atomic_store(&on, all);
    atomic_store(&first, n);
}

bool starve_end(void)
{
    atomic_store(&first, 0);
    return atomic_load(&failed);
}

static bool fails(void)
{
    const uint64_t at = atomic_load(&first);
    if (!at)
        return false;
    const uint64_t call = atomic_fetch_add(&calls, 1) + 1;
    if (call != at && !(call > at && atomic_load(&on)))
        return false;
    atomic_store(&failed, true);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}
