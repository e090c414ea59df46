/* Kernels load whole words or blocks, and take what is theirs: other work may write the bytes beside
 * meanwhile. So where a CPU runs them the thread sanitizer does not look at their loads and stores,
 * and is shown the bytes that they copy. */
#ifndef TESTS_SEEN_H
#define TESTS_SEEN_H

#include <stddef.h>

/* The sanitizer's own, where the program has it. */
extern void __tsan_read_range(void *bytes, long size) __attribute__((weak));
extern void __tsan_write_range(void *bytes, long size) __attribute__((weak));

static inline void seen_reading(const void *bytes, size_t size)
{
    if (__tsan_read_range)
        __tsan_read_range((void *)bytes, (long)size);
}

static inline void seen_writing(void *bytes, size_t size)
{
    if (__tsan_write_range)
        __tsan_write_range(bytes, (long)size);
}

#endif
