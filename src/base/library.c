#include "base/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* About as much address space as a large library takes. */
static bool has_room(void)
{
    enum { ROOM = 64 << 20 };
    void *memory = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    munmap(memory, ROOM);
    return true;
}

/* The system tells the reason in words only. That a file could not be mapped is said for want of
 * memory, and where the file may not be executed. */
static bool is_of_memory(const char *why)
{
    return strstr(why, "out of memory") || strstr(why, "allocate memory") ||
           (strstr(why, "map") && !has_room());
}

enum ferry_status ferry__library_open(const char *name, void **out_library, char *out_why,
                                      size_t why_size)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library) {
        *out_library = library;
        return FERRY_OK;
    }
    const char *why = dlerror();
    snprintf(out_why, why_size, "%s", why ? why : "out of memory"); /* even for the reason */
    return is_of_memory(out_why) ? FERRY_ERROR_OUT_OF_HOST_MEMORY : FERRY_ERROR_NO_DEVICE;
}
