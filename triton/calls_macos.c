#include "calls.h"

#include <mach-o/dyld.h>

bool ferry__triton_each_library(bool (*visit)(const char *path, void *user), void *user)
{
    for (uint32_t i = 0; i < _dyld_image_count(); i++) {
        const char *path = _dyld_get_image_name(i);
        if (path && visit(path, user))
            break;
    }
    return true;
}
