/* The user's own memory as a buffer, where the driver's record of it is one allocation. */
#ifndef FERRY_INTEROP_WRAPPED_H
#define FERRY_INTEROP_WRAPPED_H

#include <ferry/ferry.h>

struct ferry__memory;

/* Takes memory->native, of ferry__alloc, for itself, whatever comes: it is freed with the buffer,
 * and then release is called. Where this fails nothing was borrowed, and release is not called. */
enum ferry_status ferry__wrap_native(ferry_device *device, const struct ferry__memory *memory,
                                     size_t size, void (*release)(void *user), void *user,
                                     ferry_buffer **out_buffer);

#endif
