/* CRC32C (Castagnoli), by the processor's instruction where it has one. */
#ifndef FERRY_WIRE_CRC32C_H
#define FERRY_WIRE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of size bytes; of nothing it is 0. */
uint32_t ferry__crc32c(const void *bytes, size_t size);

/* The same by tables: for processors without the instruction, and for comparing. */
uint32_t ferry__crc32c_portable(const void *bytes, size_t size);

#endif
