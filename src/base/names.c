#include "base/build.h"
#include "base/metrics.h"

#include <ferry/ferry.h>

/* What values are called, and what this build of the library is made of. */

#define TEXT_OF(number) #number
#define DOTTED(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *ferry_version_string(void)
{
    return DOTTED(FERRY_VERSION_MAJOR, FERRY_VERSION_MINOR, FERRY_VERSION_PATCH);
}

const char *ferry_build_drivers(void)
{
    return ferry__build_drivers;
}

const char *ferry_build_libraries(void)
{
    return ferry__build_libraries;
}

const char *ferry_operation_name(enum ferry_operation operation)
{
    return (unsigned)operation < FERRY_OPERATION_COUNT ? ferry__operation_name(operation)
                                                       : "unknown";
}

const char *ferry_device_kind_name(enum ferry_device_kind kind)
{
    static const char *const names[] = {
        [FERRY_DEVICE_HOST] = "host",
        [FERRY_DEVICE_SOFTWARE] = "software",
        [FERRY_DEVICE_INTEGRATED] = "integrated",
        [FERRY_DEVICE_DISCRETE] = "discrete",
        [FERRY_DEVICE_VIRTUAL] = "virtual",
    };
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}
