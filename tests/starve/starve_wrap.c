#include "starve_count.h"

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
