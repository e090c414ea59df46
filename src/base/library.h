/* Libraries that are opened while the process runs. */
#ifndef FERRY_BASE_LIBRARY_H
#define FERRY_BASE_LIBRARY_H

#include <ferry/ferry.h>
#include <stddef.h>

/* Opens a library, for this process's whole life. NO_DEVICE, or OUT_OF_HOST_MEMORY: out_why holds
 * the system's words. */
enum ferry_status ferry__library_open(const char *name, void **out_library, char *out_why,
                                      size_t why_size);

#endif
