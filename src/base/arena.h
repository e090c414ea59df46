/* Offsets in a block: a two-level segregated fit. */
#ifndef FERRY_BASE_ARENA_H
#define FERRY_BASE_ARENA_H

#include <stdbool.h>
#include <stdint.h>

struct ferry__arena;

struct ferry__arena *ferry__arena_create(uint64_t size); /* NULL: no memory */
void ferry__arena_destroy(struct ferry__arena *arena);

/* size is rounded up to FERRY_BUFFER_ALIGNMENT; false: no room, or no host memory. */
bool ferry__arena_take(struct ferry__arena *arena, uint64_t size, uint64_t *out_offset,
                       void **out_range);
void ferry__arena_give(struct ferry__arena *arena, void *range); /* never fails, never allocates */
uint64_t ferry__arena_used(const struct ferry__arena *arena);    /* bytes handed out */

#endif
