#include "starve_count.h"

#include <stddef.h>

const bool starve_is_whole = true;

/* Seen by libraries, too: what hides names of ours must not hide these. */
#define PUBLIC __attribute__((visibility("default")))
PUBLIC void *malloc(size_t size);
PUBLIC void *calloc(size_t count, size_t size);
PUBLIC void *realloc(void *memory, size_t size);

/* glibc's own, under which its malloc is called however the name malloc is taken. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return fails() ? NULL : __libc_realloc(memory, size);
}
