/* Memory: tests make the n-th call fail. */
#ifndef FERRY_BASE_ALLOC_H
#define FERRY_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *ferry__alloc(size_t size);       /* zeroed; NULL: none */
void *ferry__alloc_unset(size_t size); /* its bytes may be anything */
void *ferry__realloc(void *memory, size_t size);
void ferry__free(void *memory);

/* Tests: the n-th allocation from now (1: the next) fails, once; 0: none. Returns how many there
 * were since the last call. */
uint64_t ferry__alloc_fail_at(uint64_t n);

/* Grows an array to hold one more. False: no host memory. */
bool ferry__reserve(void **array, size_t *capacity, size_t count, size_t size);

#endif
