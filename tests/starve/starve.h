/*
 * Memory that fails when a test says so. starve_malloc.c: every malloc of the process, that of
 * libraries too; for builds without sanitizers on glibc. starve_wrap.c: those that the program's own
 * objects call, by the linker's --wrap. starve_ours.c: those of ferry__alloc.
 */
#ifndef STARVE_H
#define STARVE_H

#include <stdbool.h>
#include <stdint.h>

/* The n-th allocation from now on (1: the next) fails, and so do all after it if all is set; 0: none
 * does. */
void starve_at(uint64_t n, bool all);

/* Has one failed since then? And stop it. */
bool starve_end(void);

/* Is every malloc counted, or only Ferry's own? */
extern const bool starve_is_whole;

#endif
