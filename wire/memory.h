/* Memory of libferry_wire: tests make the n-th call fail. */
#ifndef FERRY_WIRE_MEMORY_H
#define FERRY_WIRE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *ferry__wire_alloc(size_t size); /* zeroed; NULL: none */
void *ferry__wire_realloc(void *memory, size_t size);
char *ferry__wire_copy_text(const char *text);

/* Tests: the n-th allocation from now (1: the next) fails, once; 0: none. Returns how many there
 * were since the last call. */
uint64_t ferry__wire_alloc_fail_at(uint64_t n);

#endif
