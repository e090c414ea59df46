#include "peer.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

const char *peer_library(const char *name, const struct peer_symbol *symbols, size_t count,
                         void *functions)
{
    static char why[PEER_WHY_MAX];
    /* Never closed: threads that a driver made live on in it. */
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(why, sizeof why, "%s", dlerror());
        return why;
    }
    for (size_t i = 0; i < count; i++) {
        void *address = dlsym(library, symbols[i].name);
        if (!address) {
            snprintf(why, sizeof why, "%s has no %s", name, symbols[i].name);
            return why;
        }
        memcpy((char *)functions + symbols[i].offset, &address, sizeof address);
    }
    return NULL;
}
